//! Trilinear interpolation on a sparse grid on a CPU.
//!
//! * The corners of all points are found once ([`Corners`]) and shared by density and colour, forward and backward.
//! * Gathering asks for the rows of a point a few points ahead; the eight rows of a point are four pairs of neighbours.
//! * Scattering goes by slabs: points are put in order of the slab of layers that their cell lies in. A slab writes to
//!   its own layers and the first of the next, and rows are in the order of layers, so all even slabs can be written at
//!   once, then all odd ones: no atomics, and sums do not depend on the number of threads.
//!
//! No multiply-add is fused, so every tier gives the same bits.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::links::Links;
use crate::ops::simd::{Tier, prefetch};

/// The row of a vertex that is not kept.
const MISSING: u32 = u32::MAX;
/// Points that one task takes.
const TASK: usize = 2048;
/// Points ahead of the one in hand whose rows are asked for.
const AHEAD: usize = 6;
/// Slabs that a grid is cut into, about.
const SLABS: usize = 32;

/// Where points of the unit cube lie in a grid. A vertex `i` of `R` along an axis stands in the middle of a cell of size
/// `1 / R`, at `(i + ½) / R`; outside the outermost vertices values are those of the boundary.
#[derive(Debug)]
pub struct Corners {
    /// Rows of the eight corners; corner `c` lies up along axis `a` where bit `a` of `c` is set.
    rows: Vec<[u32; 8]>,
    /// Position between the corners along each axis, in `[0, 1]`.
    fraction: Vec<[f32; 3]>,
    /// Points by slab; those of slab `s` are `order[start[s]..start[s + 1]]`.
    order: Vec<u32>,
    start: Vec<usize>,
    /// Layers in a slab.
    layers: usize,
}

impl Corners {
    /// Finds the corners around `x` `[n, 3]`. Coordinates outside the outermost vertices are clamped, a NaN is taken for
    /// 0.
    pub fn find(links: &Links, x: &[f32]) -> Self {
        let n = x.len() / 3;
        let r = links.resolution() as usize;
        let layers = r.div_ceil(SLABS);
        let mut rows = vec![[MISSING; 8]; n];
        let mut fraction = vec![[0.0; 3]; n];
        let mut slab = vec![0_u8; n];
        let tasks = rows.par_chunks_mut(TASK).zip(fraction.par_chunks_mut(TASK)).zip(slab.par_chunks_mut(TASK));
        tasks.zip(x.par_chunks(3 * TASK)).for_each(|(((rows, fraction), slab), x)| {
            Tier::best().run(Find { links, x, rows, fraction, slab, layers });
        });
        // A counting sort, which keeps the order of the points within a slab.
        let mut start = vec![0; r.div_ceil(layers) + 1];
        slab.iter().for_each(|&s| start[s as usize + 1] += 1);
        (1..start.len()).for_each(|s| start[s] += start[s - 1]);
        let mut next = start.clone();
        let mut order = vec![0; n];
        for (point, &s) in slab.iter().enumerate() {
            order[next[s as usize]] = point as u32;
            next[s as usize] += 1;
        }
        Self { rows, fraction, order, start, layers }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

struct Find<'a> {
    links: &'a Links,
    x: &'a [f32],
    rows: &'a mut [[u32; 8]],
    fraction: &'a mut [[f32; 3]],
    slab: &'a mut [u8],
    layers: usize,
}

impl WithSimd for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let r = self.links.resolution() as usize;
        for (i, x) in self.x.as_chunks::<3>().0.iter().enumerate() {
            let mut cell = [0; 3];
            for a in 0..3 {
                let wanted = x[a] * r as f32 - 0.5;
                let position = if wanted > 0.0 { wanted.min((r - 1) as f32) } else { 0.0 };
                cell[a] = (position as usize).min(r - 2);
                self.fraction[i][a] = position - cell[a] as f32;
            }
            let base = cell[0] + r * (cell[1] + r * cell[2]);
            for (c, row) in self.rows[i].iter_mut().enumerate() {
                let vertex = base + (c & 1) + r * ((c >> 1 & 1) + r * (c >> 2));
                *row = self.links.row(vertex).unwrap_or(MISSING);
            }
            self.slab[i] = (cell[2] / self.layers) as u8;
        }
    }
}

#[inline(always)]
fn weights(fraction: [f32; 3]) -> [f32; 8] {
    let [x, y, z] = fraction;
    let (xs, ys, zs) = ([1.0 - x, x], [1.0 - y, y], [1.0 - z, z]);
    std::array::from_fn(|c| xs[c & 1] * ys[c >> 1 & 1] * zs[c >> 2])
}

/// Asks for the rows of a point.
#[inline(always)]
fn prefetch_rows<const C: usize>(rows: Option<&[u32; 8]>, values: *const [f32; C]) {
    let Some(rows) = rows else { return };
    for pair in 0..4 {
        // Neighbours along x are neighbours in memory, and a missing row is nowhere: asking does no harm.
        let first = values.wrapping_add(rows[2 * pair] as usize).cast::<f32>();
        let mut line = 0;
        while line < 2 * C {
            prefetch(first.wrapping_add(line));
            line += 16;
        }
        if C > 1 {
            prefetch(first.wrapping_add(2 * C - 1));
        }
    }
}

/// The values around each point, interpolated: `values [rows, C]` to `out [n, C]`; a missing vertex has `fill`
/// throughout. `C` is 1 or 27.
///
/// # Panics
/// When a slice has another length than these shapes say.
pub fn forward(links: &Links, channels: usize, fill: f32, corners: &Corners, values: &[f32], out: &mut [f32]) {
    forward_with(Tier::best(), links, channels, fill, corners, values, out);
}

pub(crate) fn forward_with(
    tier: Tier,
    links: &Links,
    channels: usize,
    fill: f32,
    corners: &Corners,
    values: &[f32],
    out: &mut [f32],
) {
    check(links, channels, corners, values.len(), out.len());
    match channels {
        1 => forward_of::<1>(tier, fill, corners, values, out),
        _ => forward_of::<27>(tier, fill, corners, values, out),
    }
}

fn check(links: &Links, channels: usize, corners: &Corners, values: usize, out: usize) {
    assert!(channels == 1 || channels == 27, "a vertex has 1 or 27 values");
    assert_eq!(values, links.rows() * channels, "values are [rows, C]");
    assert_eq!(out, corners.len() * channels, "results are [n, C]");
}

fn forward_of<const C: usize>(tier: Tier, fill: f32, corners: &Corners, values: &[f32], out: &mut [f32]) {
    let values = values.as_chunks::<C>().0;
    let out = out.as_chunks_mut::<C>().0;
    out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
        tier.run(Forward { corners, values, fill, first: task * TASK, out });
    });
}

struct Forward<'a, const C: usize> {
    corners: &'a Corners,
    values: &'a [[f32; C]],
    fill: f32,
    first: usize,
    out: &'a mut [[f32; C]],
}

impl<const C: usize> WithSimd for Forward<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (i, out) in self.out.iter_mut().enumerate() {
            let point = self.first + i;
            prefetch_rows(self.corners.rows.get(point + AHEAD), self.values.as_ptr());
            let weight = weights(self.corners.fraction[point]);
            let mut sum = [0.0; C];
            for (c, &row) in self.corners.rows[point].iter().enumerate() {
                if row == MISSING {
                    sum.iter_mut().for_each(|sum| *sum += weight[c] * self.fill);
                } else {
                    let value = &self.values[row as usize];
                    for k in 0..C {
                        sum[k] += weight[c] * value[k];
                    }
                }
            }
            *out = sum;
        }
    }
}

/// Adds to `grad_values [rows, C]` the gradient of the values, given `grad [n, C]`, that of the results. The result does
/// not depend on the number of threads.
///
/// # Panics
/// When a slice has another length than these shapes say.
pub fn backward_values(links: &Links, channels: usize, corners: &Corners, grad: &[f32], grad_values: &mut [f32]) {
    backward_values_with(Tier::best(), links, channels, corners, grad, grad_values);
}

pub(crate) fn backward_values_with(
    tier: Tier,
    links: &Links,
    channels: usize,
    corners: &Corners,
    grad: &[f32],
    grad_values: &mut [f32],
) {
    check(links, channels, corners, grad_values.len(), grad.len());
    match channels {
        1 => scatter::<1>(tier, links, corners, grad, grad_values),
        _ => scatter::<27>(tier, links, corners, grad, grad_values),
    }
}

fn scatter<const C: usize>(tier: Tier, links: &Links, corners: &Corners, grad: &[f32], grad_values: &mut [f32]) {
    let grad = grad.as_chunks::<C>().0;
    let layer = (links.resolution() as usize).pow(2);
    for parity in 0..2 {
        let mut rest = grad_values.as_chunks_mut::<C>().0;
        let mut taken = 0;
        let mut tasks = Vec::with_capacity(SLABS);
        for slab in (parity..corners.start.len() - 1).step_by(2) {
            let points = &corners.order[corners.start[slab]..corners.start[slab + 1]];
            let first = links.rows_before(slab * corners.layers * layer);
            let end = links.rows_before(((slab + 1) * corners.layers + 1) * layer);
            let (own, others) = rest.split_at_mut(end - taken);
            let own = &mut own[first - taken..];
            (rest, taken) = (others, end);
            tasks.push(Scatter { corners, points, grad, first, own });
        }
        tasks.into_par_iter().with_max_len(1).for_each(|task| tier.run(task));
    }
}

struct Scatter<'a, const C: usize> {
    corners: &'a Corners,
    points: &'a [u32],
    grad: &'a [[f32; C]],
    /// The first row that this task owns.
    first: usize,
    own: &'a mut [[f32; C]],
}

impl<const C: usize> WithSimd for Scatter<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let base = self.own.as_ptr().wrapping_sub(self.first);
        for (i, &point) in self.points.iter().enumerate() {
            if let Some(&ahead) = self.points.get(i + AHEAD) {
                prefetch_rows(Some(&self.corners.rows[ahead as usize]), base);
                prefetch(self.grad[ahead as usize].as_ptr());
            }
            let grad = self.grad[point as usize];
            // Behind a surface nothing is learned: about half of the samples.
            if grad.iter().fold(0, |any, g| any | (g.to_bits() << 1)) == 0 {
                continue;
            }
            let weight = weights(self.corners.fraction[point as usize]);
            for (c, &row) in self.corners.rows[point as usize].iter().enumerate() {
                if row != MISSING {
                    let sum = &mut self.own[row as usize - self.first];
                    for k in 0..C {
                        sum[k] += weight[c] * grad[k];
                    }
                }
            }
        }
    }
}

/// Writes to `grad_x [n, 3]` the gradient of the points `x [n, 3]` themselves; 0 along an axis on which the point was
/// clamped.
///
/// # Panics
/// When a slice has another length than these shapes say.
pub fn backward_points(
    links: &Links,
    channels: usize,
    fill: f32,
    corners: &Corners,
    x: &[f32],
    values: &[f32],
    grad: &[f32],
    grad_x: &mut [f32],
) {
    check(links, channels, corners, values.len(), grad.len());
    assert!(x.len() == 3 * corners.len() && grad_x.len() == x.len(), "points are [n, 3]");
    let r = links.resolution() as f32;
    grad_x.par_chunks_mut(3).zip(x.par_chunks(3)).enumerate().with_min_len(TASK).for_each(|(point, (out, x))| {
        let [fx, fy, fz] = corners.fraction[point];
        let grad = &grad[point * channels..][..channels];
        let mut slope = [0.0; 3];
        for (c, &row) in corners.rows[point].iter().enumerate() {
            let along: f32 = if row == MISSING {
                fill * grad.iter().sum::<f32>()
            } else {
                values[row as usize * channels..][..channels].iter().zip(grad).map(|(v, g)| v * g).sum()
            };
            let one = |bit: usize, f: f32| if c >> bit & 1 == 1 { (f, 1.0) } else { (1.0 - f, -1.0) };
            let ((wx, sx), (wy, sy), (wz, sz)) = (one(0, fx), one(1, fy), one(2, fz));
            slope[0] += sx * wy * wz * along;
            slope[1] += wx * sy * wz * along;
            slope[2] += wx * wy * sz * along;
        }
        for a in 0..3 {
            let wanted = x[a] * r - 0.5;
            out[a] = if wanted >= 0.0 && wanted <= r - 1.0 { r * slope[a] } else { 0.0 };
        }
    });
}
