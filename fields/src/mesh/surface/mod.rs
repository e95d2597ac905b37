//! The surface on which a function takes a level, by marching cubes (Lorensen and Cline 1987) on a [`Grid`].
//!
//! Why marching cubes and not surface nets or tetrahedra: with the table of [`table`] every edge has exactly two
//! triangles and every vertex one fan, whatever the values are; nets pinch where two sheets meet in a cell, and
//! tetrahedra give twice the triangles and a grain along their diagonals.
//!
//! A point is inside where `value > level`. Around the grid lies a layer of points that are outside, so that a surface
//! that reaches the box's faces is closed there, a thousandth of a cell beyond them. Each edge of the grid whose ends
//! differ has one vertex, at `t = (level - a) / (b - a)`, held away from the ends by the same thousandth: a value that
//! equals the level gives thin triangles there, but none without area.
//!
//! Signs are kept as bits, 64 points to a word, and the vertex of an edge is found by its rank: the number of vertices
//! before its word, plus those before it in the word. So nothing is stored per cell, and planes are worked on in
//! parallel.

mod table;
#[cfg(test)]
mod tests;

use glam::{DVec3, IVec3, Vec3};
use rayon::prelude::*;

use super::Mesh;
use super::grid::{Grid, asked};
use crate::error::{Error, Result};
use table::TRIANGLES;

/// The most vertices of a surface; more than this is noise.
pub const MAX_VERTICES: usize = 1 << 26;
/// How near a vertex comes to a point of the grid, in cells.
const NEAREST: f64 = 1e-3;

/// The surface of `grid` at `level`: closed, manifold, with outward triangles, shared vertices and their normals (of
/// the grid's gradient). It has no triangles where all points are on one side and none of those inside.
///
/// # Errors
/// When a value is a NaN, the level is not finite, the grid's fields do not belong together, or there are more than
/// [`MAX_VERTICES`] vertices.
pub fn surface(grid: &Grid, level: f32) -> Result<Mesh> {
    grid.check_self()?;
    if !(level.abs() < f32::MAX) {
        return Err(Error::new(format!("the level of the surface is {level}")).remedy("give a number"));
    }
    let signs = Signs::of(grid, level)?;
    let planes = signs.planes;
    let vertices: Vec<usize> = (0..planes).into_par_iter().map(|k| signs.vertices_in(k)).collect();
    let count: usize = vertices.iter().sum();
    if count > MAX_VERTICES {
        return Err(Error::new(format!("the surface has {count} vertices, more than {MAX_VERTICES}"))
            .remedy("it is noise at this level: choose another level, or a lower resolution"));
    }
    let ranks = signs.ranks(&vertices);
    let mut positions = vec![Vec3::ZERO; count];
    let mut normals = vec![Vec3::ZERO; count];
    let places = parts(&mut positions, &vertices).into_par_iter().zip(parts(&mut normals, &vertices));
    places.enumerate().for_each(|(k, (positions, normals))| {
        let mut to = positions.iter_mut().zip(normals);
        signs.visit_edges(k, |axis, at| {
            let (position, normal) = to.next().expect("there is a place for every crossing");
            (*position, *normal) = vertex(grid, f64::from(level), axis, at);
        });
    });
    let faces: Vec<usize> = (0..planes).into_par_iter().map(|k| signs.triangles_in(k)).collect();
    let mut triangles = vec![[0; 3]; faces.iter().sum()];
    parts(&mut triangles, &faces).into_par_iter().enumerate().for_each(|(k, triangles)| {
        let mut to = triangles.iter_mut();
        signs.visit_cells(k, |case, at| {
            for corners in &TRIANGLES[usize::from(case)] {
                let triangle = to.next().expect("there is a place for every triangle");
                *triangle = corners.map(|edge| signs.rank(&ranks, edge, at));
            }
        });
    });
    Ok(Mesh { positions, normals, triangles, ..Mesh::default() })
}

/// `values` in consecutive parts of these lengths.
fn parts<'a, T>(mut values: &'a mut [T], lengths: &[usize]) -> Vec<&'a mut [T]> {
    let mut cut = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (part, rest) = values.split_at_mut(length);
        cut.push(part);
        values = rest;
    }
    cut
}

/// Which points are inside: one bit each, in rows along x, with a layer of points outside around the grid. Here points
/// are counted with that layer: point 1 is the grid's first.
struct Signs {
    /// Words of a row.
    words: usize,
    /// Rows of a plane.
    rows: usize,
    /// Planes.
    planes: usize,
    /// `[planes, rows, words]`.
    bits: Vec<u64>,
}

impl Signs {
    fn of(grid: &Grid, level: f32) -> Result<Self> {
        let [nx, ny, nz] = grid.resolution.map(|n| n as usize);
        let (words, rows, planes) = ((nx + 2).div_ceil(64), ny + 2, nz + 2);
        let mut bits = vec![0_u64; words * rows * planes];
        let filled = bits.par_chunks_exact_mut(words * rows).skip(1).zip(grid.values.par_chunks_exact(nx * ny));
        let numbers = filled.map(|(plane, values)| {
            let lines = plane.chunks_exact_mut(words).skip(1).zip(values.chunks_exact(nx));
            for (line, values) in lines {
                for (x, value) in (1..).zip(values) {
                    line[x / 64] |= u64::from(*value > level) << (x % 64);
                }
            }
            values.iter().all(|v| !v.is_nan())
        });
        if !numbers.reduce(|| true, |a, b| a & b) {
            return Err(Error::new("a value of the grid is not a number")
                .remedy("the training diverged: use an earlier state of it"));
        }
        Ok(Self { words, rows, planes, bits })
    }

    /// How far on the neighbour of a word along y or z is.
    fn stride(&self, axis: usize) -> usize {
        if axis == 1 { self.words } else { self.words * self.rows }
    }

    /// The word with every bit replaced by that of the next point along x.
    fn next(&self, word: usize) -> u64 {
        let beyond = if (word + 1).is_multiple_of(self.words) { 0 } else { self.bits[word + 1] };
        self.bits[word] >> 1 | beyond << 63
    }

    /// The points of a word from which the edge along `axis` crosses the surface.
    fn crossings(&self, axis: usize, word: usize) -> u64 {
        let here = self.bits[word];
        match axis {
            0 => here ^ self.next(word),
            // The last rows and planes are outside, and so is what would lie behind them.
            _ => here ^ self.bits.get(word + self.stride(axis)).unwrap_or(&0),
        }
    }

    /// The words of a plane.
    fn plane_words(&self, k: usize) -> std::ops::Range<usize> {
        let size = self.words * self.rows;
        k * size..(k + 1) * size
    }

    /// The number of vertices on edges that begin in plane `k`.
    fn vertices_in(&self, k: usize) -> usize {
        let of = |word| (0..3).map(|axis| self.crossings(axis, word).count_ones() as usize).sum::<usize>();
        self.plane_words(k).map(of).sum()
    }

    /// The number of vertices before each word, given that of each plane.
    fn ranks(&self, vertices: &[usize]) -> Vec<u32> {
        let mut ranks = vec![0; self.bits.len()];
        let starts = vertices.iter().scan(0, |before, &n| {
            *before += n as u32;
            Some(*before - n as u32)
        });
        let starts: Vec<u32> = starts.collect();
        ranks.par_chunks_exact_mut(self.words * self.rows).zip(starts).enumerate().for_each(|(k, (ranks, start))| {
            let mut rank = start;
            for (to, word) in ranks.iter_mut().zip(self.plane_words(k)) {
                *to = rank;
                rank += (0..3).map(|axis| self.crossings(axis, word).count_ones()).sum::<u32>();
            }
        });
        ranks
    }

    /// The vertex on an edge of the cell whose lowest corner is `at`.
    fn rank(&self, ranks: &[u32], edge: u8, at: [usize; 3]) -> u32 {
        let axis = usize::from(edge / 4);
        let (low, high) = ((edge & 1) as usize, (edge >> 1 & 1) as usize);
        let [x, y, z] = match axis {
            0 => [at[0], at[1] + low, at[2] + high],
            1 => [at[0] + low, at[1], at[2] + high],
            _ => [at[0] + low, at[1] + high, at[2]],
        };
        let word = x / 64 + self.words * (y + self.rows * z);
        let before: u32 = (0..axis).map(|axis| self.crossings(axis, word).count_ones()).sum();
        let within = self.crossings(axis, word) & ((1 << (x % 64)) - 1);
        ranks[word] + before + within.count_ones()
    }

    /// Calls `visit` with the axis and the lower end of every crossed edge that begins in plane `k`, in the vertices'
    /// order.
    fn visit_edges(&self, k: usize, mut visit: impl FnMut(usize, [usize; 3])) {
        for word in self.plane_words(k) {
            for axis in 0..3 {
                each_bit(self.crossings(axis, word), |bit| {
                    visit(axis, [64 * (word % self.words) + bit, word / self.words % self.rows, k]);
                });
            }
        }
    }

    /// Calls `visit` with the case and the lowest corner of every cell between planes `k` and `k + 1` that the surface
    /// goes through.
    fn visit_cells(&self, k: usize, mut visit: impl FnMut(u8, [usize; 3])) {
        if k + 1 == self.planes {
            return;
        }
        let (up, over) = (self.stride(1), self.stride(2));
        for word in self.plane_words(k).take((self.rows - 1) * self.words) {
            let near = [word, word + up, word + over, word + up + over];
            let here = near.map(|w| self.bits[w]);
            let next = near.map(|w| self.next(w));
            let any = here.iter().chain(&next).fold(0, |a, b| a | b);
            let all = here.iter().chain(&next).fold(u64::MAX, |a, b| a & b);
            each_bit(any & !all, |bit| {
                let case = (0..4).fold(0, |case, pair| {
                    let (a, b) = (here[pair] >> bit & 1, next[pair] >> bit & 1);
                    case | (a | b << 1) << (2 * pair)
                });
                visit(case as u8, [64 * (word % self.words) + bit, word / self.words % self.rows, k]);
            });
        }
    }

    /// The number of triangles between planes `k` and `k + 1`.
    fn triangles_in(&self, k: usize) -> usize {
        let mut count = 0;
        self.visit_cells(k, |case, _| count += TRIANGLES[usize::from(case)].len());
        count
    }
}

/// Calls `visit` with the place of every bit that is set, the lowest first.
fn each_bit(mut bits: u64, mut visit: impl FnMut(usize)) {
    while bits != 0 {
        visit(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// Position and normal of the vertex on the edge along `axis` from `at`, which is counted with the layer outside.
fn vertex(grid: &Grid, level: f64, axis: usize, at: [usize; 3]) -> (Vec3, Vec3) {
    let step = IVec3::AXES[axis];
    let low = IVec3::from_array(at.map(|v| v as i32)) - 1;
    let ends = [low, low + step];
    let size = IVec3::from_array(grid.resolution.map(|n| n as i32));
    let within = |p: IVec3| p.cmpge(IVec3::ZERO).all() && p.cmplt(size).all();
    let t = match ends.map(within) {
        [false, _] => 1.0 - NEAREST,
        [_, false] => NEAREST,
        _ => {
            let [a, b] = ends.map(|p| held(grid, p));
            ((level - a) / (b - a)).clamp(NEAREST, 1.0 - NEAREST)
        }
    };
    let share = (low.as_dvec3() + t * step.as_dvec3()) / (size - 1).as_dvec3();
    let position = grid.bounds.min.as_dvec3() + (grid.bounds.max.as_dvec3() - grid.bounds.min.as_dvec3()) * share;
    // Where the gradient says nothing, and on the caps, the normal goes from the end inside to the one outside.
    let inside = |p: IVec3| within(p) && held(grid, p) > level;
    let plain = if inside(ends[0]) { step } else { -step }.as_dvec3();
    let normal = if within(ends[0]) && within(ends[1]) {
        let [a, b] = ends.map(|p| gradient(grid, p));
        (-a.lerp(b, t)).try_normalize().unwrap_or(plain)
    } else {
        plain
    };
    (position.as_vec3(), normal.as_vec3())
}

/// The value of a point of the grid, infinities held to the largest number.
fn held(grid: &Grid, p: IVec3) -> f64 {
    let value = grid.value(p.to_array().map(|v| v as u32));
    f64::from(value.clamp(f32::MIN, f32::MAX))
}

/// The gradient at a point of the grid by central differences, one-sided at the border.
fn gradient(grid: &Grid, p: IVec3) -> DVec3 {
    let spacing = grid.spacing().as_dvec3();
    let last = IVec3::from_array(grid.resolution.map(|n| n as i32)) - 1;
    DVec3::from_array(std::array::from_fn(|axis| {
        let step = IVec3::AXES[axis];
        let (a, b) = ((p - step).max(IVec3::ZERO), (p + step).min(last));
        (held(grid, b) - held(grid, a)) / (f64::from(b[axis] - a[axis]) * spacing[axis])
    }))
}

/// Rounds of the search within the bracket that [`refined`] has found.
const ROUNDS: usize = 4;

/// Moves vertices along their normals to where the field itself takes `level`, by asking it again: the grid knows it
/// only at its points. The search is the Illinois variant of the false position (Dowell and Jarratt 1971) between the
/// vertex and the point `step` before or behind it; a good step is half a cell. A vertex without a crossing between the
/// two stays where it is. `ask` gets points `[n, 3]`, at most 2^18 at a time, and gives their values `[n]`.
///
/// # Errors
/// When the mesh has no normals, the level is not finite or the step not positive; what `ask` reports; when it gives
/// another number of values than it got points, or a NaN.
pub fn refined(mesh: &Mesh, level: f32, step: f32, mut ask: impl FnMut(&[Vec3]) -> Result<Vec<f32>>) -> Result<Mesh> {
    if mesh.normals.len() != mesh.positions.len() {
        return Err(Error::new(format!(
            "a mesh of {} vertices has {} normals",
            mesh.positions.len(),
            mesh.normals.len()
        )));
    }
    if !(level.abs() < f32::MAX && step > 0.0 && step.is_finite()) {
        return Err(
            Error::new(format!("level {level} with a step of {step}")).remedy("give a level and a step above 0")
        );
    }
    let mut moved = mesh.clone();
    for (positions, normals) in moved.positions.chunks_mut(1 << 18).zip(mesh.normals.chunks(1 << 18)) {
        // Along the normal: 0 is the vertex.
        let mut search: Vec<Bracket> = Vec::with_capacity(positions.len());
        let above = |v: f32| f64::from(v.clamp(f32::MIN, f32::MAX)) - f64::from(level);
        let mut places = positions.to_vec();
        for value in asked(&places, &mut ask)? {
            // Inside, the surface is further out.
            let far = if value > level { step } else { -step };
            search.push(Bracket { ends: [0.0, f64::from(far)], values: [above(value), 0.0], last: 0 });
        }
        let put = |places: &mut [Vec3], search: &[Bracket], positions: &[Vec3], at: &dyn Fn(&Bracket) -> f64| {
            for (((place, b), p), n) in places.iter_mut().zip(search).zip(positions).zip(normals) {
                *place = *p + at(b) as f32 * *n;
            }
        };
        put(&mut places, &search, positions, &|b| b.ends[1]);
        for (b, value) in search.iter_mut().zip(asked(&places, &mut ask)?) {
            b.values[1] = above(value);
        }
        for _ in 0..ROUNDS {
            put(&mut places, &search, positions, &Bracket::guess);
            search.iter_mut().zip(asked(&places, &mut ask)?).for_each(|(b, value)| b.narrow(above(value)));
        }
        put(&mut places, &search, positions, &Bracket::guess);
        positions.copy_from_slice(&places);
    }
    Ok(moved)
}

/// Two places along a normal between which the level is crossed.
struct Bracket {
    ends: [f64; 2],
    /// Value minus level at both.
    values: [f64; 2],
    /// The end that the last guess replaced, 1 or 2; 0 at first.
    last: usize,
}

impl Bracket {
    fn holds(&self) -> bool {
        (self.values[0] > 0.0) != (self.values[1] > 0.0)
    }

    /// Where the level would be crossed if the field were linear; the vertex where it is not crossed.
    fn guess(&self) -> f64 {
        if !self.holds() {
            return 0.0;
        }
        let t = self.values[0] / (self.values[0] - self.values[1]);
        self.ends[0] + t * (self.ends[1] - self.ends[0])
    }

    fn narrow(&mut self, value: f64) {
        if !self.holds() {
            return;
        }
        let at = self.guess();
        let end = usize::from((value > 0.0) != (self.values[0] > 0.0));
        if self.last == end + 1 {
            // The other end was kept twice: it counts for half, or it would be kept for ever.
            self.values[1 - end] *= 0.5;
        }
        (self.ends[end], self.values[end], self.last) = (at, value, end + 1);
    }
}
