//! Fewer triangles for the same shape: edges collapse in the order of the error that this makes (Garland and Heckbert
//! 1997).
//!
//! Each vertex carries the sum of the squared distances to the planes of its triangles, weighted by a third of their
//! areas. An edge collapses to the point where the sum of its two ends is least, which is also its price; the cheapest
//! goes first, and the new vertex inherits the sum. To each vertex belongs its own place as well, with a very small
//! weight: on flat parts, where the planes leave the choice, it keeps the triangles well shaped.
//!
//! A collapse is refused where it would change what the surface is (holes close, sheets touch: the link condition, Dey
//! et al. 1999), turn a triangle over or make a sliver. So a closed manifold stays one. Borders are held by planes that
//! stand on their edges.

mod quadric;
mod queue;
#[cfg(test)]
mod tests;
mod topology;

use glam::DVec3;
use rayon::prelude::*;

use super::Mesh;
use super::components::{check, subset, vertex_normals};
use crate::error::{Error, Result};
use quadric::Quadric;
use queue::{Candidate, Queue};
use topology::Topology;

/// The weight of a vertex's own place beside that of its planes.
const PLACE: f64 = 1e-3;
/// The weight of the planes on the border's edges beside that of the surface.
const BORDER: f64 = 100.0;
/// The least cosine between a triangle's normals before and after.
const TURN: f64 = 0.2;
/// The least shape of a new triangle, 1 for one of equal sides, unless it was worse before. A stricter rule leaves more
/// slivers behind, not fewer: it stands in the way of the collapses that would take them out.
const SHAPE: f64 = 1e-3;

/// The mesh with at most `target` triangles, or with as few as can be where that is not possible without harm: compare
/// the count. Normals are computed anew where there were some, and colours mixed.
///
/// # Errors
/// When the mesh does not pass [`check`], or has texture coordinates: a collapse would tear them.
pub fn simplified(mesh: &Mesh, target: usize) -> Result<Mesh> {
    check(mesh)?;
    if !mesh.uvs.is_empty() {
        return Err(Error::new("a mesh with texture coordinates is not simplified").remedy("unwrap it afterwards"));
    }
    if mesh.triangles.len() <= target {
        return Ok(mesh.clone());
    }
    let mut work = Work::of(mesh);
    // What was refused once may pass when everything around it has changed.
    while work.topology.alive > target && work.sweep(target) > 0 {}
    Ok(work.into_mesh(mesh))
}

/// A mesh on its way.
struct Work {
    topology: Topology,
    /// Around `origin` and in lengths of `size`, so that prices are plain numbers whatever the unit.
    positions: Vec<DVec3>,
    origin: DVec3,
    size: f64,
    colours: Vec<[f32; 3]>,
    quadrics: Vec<Quadric>,
    /// How often a vertex has moved.
    age: Vec<u32>,
}

impl Work {
    fn of(mesh: &Mesh) -> Self {
        let n = mesh.positions.len();
        let origin = mesh.positions.iter().map(|p| p.as_dvec3()).sum::<DVec3>() / n.max(1) as f64;
        let around: Vec<DVec3> = mesh.positions.iter().map(|p| p.as_dvec3() - origin).collect();
        let size = around.iter().map(|p| p.abs().max_element()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let positions: Vec<DVec3> = around.iter().map(|p| p / size).collect();
        let topology = Topology::new(n, &mesh.triangles);
        let mut quadrics = vec![Quadric::default(); n];
        for triangle in &topology.triangles {
            let p = triangle.map(|v| positions[v as usize]);
            let normal = (p[1] - p[0]).cross(p[2] - p[0]);
            let weight = normal.length() / 6.0;
            let Some(unit) = normal.try_normalize() else { continue };
            let plane = Quadric::plane(unit, p[0], weight);
            for (&v, place) in triangle.iter().zip(p) {
                quadrics[v as usize] += plane + Quadric::point(place, PLACE * weight);
            }
            for k in 0..3 {
                let [a, b] = [triangle[k], triangle[(k + 1) % 3]];
                if topology.border[a as usize] && topology.rim.binary_search(&(a.min(b), a.max(b))).is_ok() {
                    let along = p[(k + 1) % 3] - p[k];
                    let Some(across) = along.cross(unit).try_normalize() else { continue };
                    let wall = Quadric::plane(across, p[k], BORDER * along.length_squared());
                    [a, b].iter().for_each(|&v| quadrics[v as usize] += wall);
                }
            }
        }
        Self { topology, positions, origin, size, colours: mesh.colours.clone(), quadrics, age: vec![0; n] }
    }

    /// Where an edge would collapse to, and at what price.
    fn place(&self, a: u32, b: u32) -> (DVec3, f64) {
        let sum = self.quadrics[a as usize] + self.quadrics[b as usize];
        let (p, q) = (self.positions[a as usize], self.positions[b as usize]);
        if self.topology.border[a as usize] != self.topology.border[b as usize] {
            return self.end(a, b);
        }
        let middle = 0.5 * (p + q);
        // A place far off is one that the planes hardly determine.
        let near = |x: &DVec3| x.distance_squared(middle) <= 4.0 * p.distance_squared(q);
        if let Some(x) = sum.lowest().filter(near) {
            return (x, sum.at(x));
        }
        let choices = [middle, p, q].map(|x| (x, sum.at(x)));
        choices.into_iter().reduce(|best, x| if x.1 < best.1 { x } else { best }).expect("there are three")
    }

    /// The better of an edge's two ends, or the one that is on the border, and the price of it.
    fn end(&self, a: u32, b: u32) -> (DVec3, f64) {
        let sum = self.quadrics[a as usize] + self.quadrics[b as usize];
        let [p, q] = [a, b].map(|v| (self.positions[v as usize], sum.at(self.positions[v as usize])));
        match (self.topology.border[a as usize], self.topology.border[b as usize]) {
            (true, false) => p,
            (false, true) => q,
            _ if q.1 < p.1 => q,
            _ => p,
        }
    }

    fn age(&self, a: u32, b: u32) -> u32 {
        self.age[a as usize].wrapping_add(self.age[b as usize])
    }

    /// An edge as the queue takes it.
    fn candidate(&self, a: u32, b: u32) -> (f64, Candidate) {
        let ends = [a.min(b), a.max(b)];
        (self.place(ends[0], ends[1]).1, Candidate { ends, age: self.age(a, b), to_end: false })
    }

    /// Collapses edges, the cheapest first, until `target` triangles are left or no edge may. Gives their number.
    fn sweep(&mut self, target: usize) -> usize {
        let edges = self.topology.edges();
        let all: Vec<(f64, Candidate)> = edges.into_par_iter().map(|(a, b, _)| self.candidate(a, b)).collect();
        let mut queue = Queue::new();
        all.into_iter().for_each(|(price, candidate)| queue.push(price, candidate));
        let (mut of_a, mut of_b, mut ring) = (Vec::new(), Vec::new(), Vec::new());
        let mut collapsed = 0;
        while self.topology.alive > target
            && let Some(Candidate { ends: [a, b], to_end, age, .. }) = queue.pop()
        {
            if self.age(a, b) != age || !self.topology.used(a) || !self.topology.used(b) {
                continue;
            }
            self.topology.around(a, &mut of_a);
            self.topology.around(b, &mut of_b);
            if !self.topology.may_collapse(a, b, &of_a, &of_b) {
                continue;
            }
            let (place, _) = if to_end { self.end(a, b) } else { self.place(a, b) };
            if !self.keeps_shape(a, b, &of_a, place) || !self.keeps_shape(b, a, &of_b, place) {
                if !to_end {
                    queue.push(self.end(a, b).1, Candidate { ends: [a, b], age, to_end: true });
                }
                continue;
            }
            self.merge(a, b, place);
            self.topology.collapse(a, b, &of_b);
            collapsed += 1;
            self.topology.around(a, &mut of_a);
            ring.clear();
            ring.extend(of_a.iter().flat_map(|&t| self.topology.triangles[t as usize]).filter(|&v| v != a));
            ring.sort_unstable();
            ring.dedup();
            for &v in &ring {
                let (price, candidate) = self.candidate(a, v);
                queue.push(price, candidate);
            }
        }
        collapsed
    }

    /// Whether the triangles around `vertex` that do not have `other` still face the same way with it at `place`.
    fn keeps_shape(&self, vertex: u32, other: u32, around: &[u32], place: DVec3) -> bool {
        let corners = |t: &u32| self.topology.triangles[*t as usize];
        let normal = |p: [DVec3; 3]| (p[1] - p[0]).cross(p[2] - p[0]);
        let at = |triangle: [u32; 3]| triangle.map(|v| self.positions[v as usize]);
        let whole: DVec3 = around.iter().map(|t| normal(at(corners(t)))).sum();
        around.iter().map(corners).filter(|t| !t.contains(&other)).all(|triangle| {
            let old = at(triangle);
            let new = triangle.map(|v| if v == vertex { place } else { self.positions[v as usize] });
            let [before, after] = [old, new].map(normal);
            let shape = |p: [DVec3; 3], normal: DVec3| {
                let sides = p[0].distance_squared(p[1]) + p[1].distance_squared(p[2]) + p[2].distance_squared(p[0]);
                2.0 * 3.0_f64.sqrt() * normal.length() / sides
            };
            let was = shape(old, before);
            // A sliver turns over at the least touch: it has to face as all of them together do.
            let before = if was < SHAPE { whole } else { before };
            let turned = before.dot(after) < TURN * before.length() * after.length();
            !turned && shape(new, after) >= was.min(SHAPE)
        })
    }

    /// Moves `a` to `place` with what it inherits of `b`.
    fn merge(&mut self, a: u32, b: u32, place: DVec3) {
        let (a, b) = (a as usize, b as usize);
        if !self.colours.is_empty() {
            let along = self.positions[b] - self.positions[a];
            let share = (place - self.positions[a]).dot(along) / along.length_squared().max(f64::MIN_POSITIVE);
            let t = share.clamp(0.0, 1.0) as f32;
            let other = self.colours[b];
            self.colours[a].iter_mut().zip(other).for_each(|(c, other)| *c += t * (other - *c));
        }
        self.positions[a] = place;
        let inherited = self.quadrics[b];
        self.quadrics[a] += inherited;
        self.age[a] = self.age[a].wrapping_add(1);
    }

    fn into_mesh(self, old: &Mesh) -> Mesh {
        let positions: Vec<_> = self.positions.iter().map(|p| (self.size * *p + self.origin).as_vec3()).collect();
        let triangles = self.topology.into_triangles();
        let all = Mesh { positions, triangles, colours: self.colours, ..Mesh::default() };
        let mut mesh = subset(&all, |_| true);
        if !old.normals.is_empty() {
            mesh.normals = vertex_normals(&mesh.positions, &mesh.triangles);
        }
        mesh
    }
}
