//! The hash encoding on a CPU: batches of points, one level after the other, indices ahead of the loads.
//!
//! The work is waiting for memory: eight random reads a point and level from tables of several megabytes. So:
//! * a task takes many points through one level before it goes to the next, so that one level's table at a time
//!   competes for the cache;
//! * the indices and weights of a batch are vector code, and its cache lines are asked for one batch ahead;
//! * the gradient of the table is scattered by one owner per level (or per range of a level's entries where there are
//!   more threads than levels), in the order of the points. Each entry's sum is therefore the same whatever the
//!   number of threads: no atomics, no private copies to add up.
//!
//! No multiply-add is fused here, so every tier gives the same bits. It costs nothing: arithmetic is not the limit.

#![expect(unsafe_code, reason = "indices come from the spec and are checked against the table once, not per corner")]
#![expect(clippy::needless_range_loop, reason = "several arrays of one fixed length are walked together, as vectors")]

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::spec::{HashSpec, Level};
use crate::ops::simd::{Tier, opaque, prefetch};

/// Points per batch: indices, weights and gathered features of one batch stay in the first-level cache.
const BATCH: usize = 32;

/// A level whose table is smaller than this many bytes stays in the second-level cache: prefetching it only costs.
const PREFETCH_FROM: usize = 256 << 10;

/// Encodes points `x [n, 3]` in the unit cube into `out [n, levels·F]`, levels concatenated, feature fastest.
///
/// `table` is `[entries, F]`. A coordinate outside `[0, 1]` is clamped; a NaN is taken for 0.
///
/// # Panics
/// When a slice has another length than these shapes say.
pub fn forward(spec: &HashSpec, x: &[f32], table: &[f32], out: &mut [f32]) {
    forward_with(Tier::best(), spec, x, table, out);
}

/// The gradients of [`forward`] with respect to the table (added to `grad_table [entries, F]`) and to the points
/// (written to `grad_x [n, 3]`; 0 along an axis whose coordinate was clamped), given `grad_out [n, levels·F]`.
///
/// The result does not depend on the number of threads.
///
/// # Panics
/// When a slice has another length than these shapes say.
pub fn backward(
    spec: &HashSpec,
    x: &[f32],
    table: &[f32],
    grad_out: &[f32],
    grad_table: &mut [f32],
    grad_x: Option<&mut [f32]>,
) {
    backward_with(Tier::best(), spec, x, table, grad_out, grad_table, grad_x, false);
}

/// [`backward`], but `grad_table` is overwritten: its old contents, even NaN, do not matter.
///
/// The owner of a level clears it just before scattering into it, so the zeros are written into cache and not sent to
/// memory and back. Prefer this with a buffer kept from step to step: a fresh 50 MB allocation is a page fault every
/// 4 KiB, which was measured at twice the time of the whole scatter. (A list of touched entries was considered instead:
/// 65,536 points touch most entries of every level of a 2¹⁹ table, so it would be longer than the table.)
///
/// # Panics
/// When a slice has another length than its shape says.
pub fn backward_overwriting(
    spec: &HashSpec,
    x: &[f32],
    table: &[f32],
    grad_out: &[f32],
    grad_table: &mut [f32],
    grad_x: Option<&mut [f32]>,
) {
    backward_with(Tier::best(), spec, x, table, grad_out, grad_table, grad_x, true);
}

pub(crate) fn forward_with(tier: Tier, spec: &HashSpec, x: &[f32], table: &[f32], out: &mut [f32]) {
    let n = check(spec, x, table, out.len());
    match spec.features() {
        1 => forward_of::<1>(tier, spec, &Points::new(x, n), table, out),
        2 => forward_of::<2>(tier, spec, &Points::new(x, n), table, out),
        4 => forward_of::<4>(tier, spec, &Points::new(x, n), table, out),
        _ => forward_of::<8>(tier, spec, &Points::new(x, n), table, out),
    }
}

#[expect(clippy::too_many_arguments, reason = "the tests choose the tier")]
pub(crate) fn backward_with(
    tier: Tier,
    spec: &HashSpec,
    x: &[f32],
    table: &[f32],
    grad_out: &[f32],
    grad_table: &mut [f32],
    grad_x: Option<&mut [f32]>,
    overwrite: bool,
) {
    let n = check(spec, x, table, grad_out.len());
    assert_eq!(grad_table.len(), spec.param_count(), "the gradient of the table is shaped like the table");
    let points = &Points::new(x, n);
    match spec.features() {
        1 => table_gradient::<1>(tier, spec, points, grad_out, grad_table, overwrite),
        2 => table_gradient::<2>(tier, spec, points, grad_out, grad_table, overwrite),
        4 => table_gradient::<4>(tier, spec, points, grad_out, grad_table, overwrite),
        _ => table_gradient::<8>(tier, spec, points, grad_out, grad_table, overwrite),
    }
    if let Some(grad_x) = grad_x {
        assert_eq!(grad_x.len(), x.len(), "the gradient of the points is shaped like the points");
        match spec.features() {
            1 => point_gradient::<1>(tier, spec, points, table, grad_out, grad_x),
            2 => point_gradient::<2>(tier, spec, points, table, grad_out, grad_x),
            4 => point_gradient::<4>(tier, spec, points, table, grad_out, grad_x),
            _ => point_gradient::<8>(tier, spec, points, table, grad_out, grad_x),
        }
        for (grad, &x) in grad_x.iter_mut().zip(x) {
            if !(0.0..=1.0).contains(&x) {
                *grad = 0.0;
            }
        }
    }
}

/// The number of points, after checking the lengths.
fn check(spec: &HashSpec, x: &[f32], table: &[f32], encoded: usize) -> usize {
    assert_eq!(x.len() % 3, 0, "points are [n, 3]");
    let n = x.len() / 3;
    assert_eq!(table.len(), spec.param_count(), "the table is [entries, F]");
    assert_eq!(encoded, n * spec.out_dim(), "the encoding is [n, levels·F]");
    n
}

/// The points by axis, clamped to the unit cube, padded with zeros to whole batches.
struct Points {
    axes: [Vec<f32>; 3],
}

impl Points {
    fn new(x: &[f32], n: usize) -> Self {
        let axis = |a: usize| {
            let mut values: Vec<f32> = x.iter().skip(a).step_by(3).copied().map(in_unit).collect();
            values.resize(n.next_multiple_of(BATCH), 0.0);
            values
        };
        Self { axes: [axis(0), axis(1), axis(2)] }
    }

    #[inline(always)]
    fn batch(&self, first: usize) -> [&[f32; BATCH]; 3] {
        [0, 1, 2].map(|a| self.axes[a][first..].first_chunk().unwrap_or(&[0.0; BATCH]))
    }
}

/// Clamps to `[0, 1]`. Not by `clamp`, which hands a NaN on: an index is made of this.
fn in_unit(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// The eight corners of the cells of a batch of points: corner `c` lies up along axis `a` where bit `a` of `c` is set.
struct Corners {
    /// Entries, counted within the level; each below the level's size.
    index: [[u32; BATCH]; 8],
    /// Position within the cell along each axis, in `[0, 1)`.
    fraction: [[f32; BATCH]; 3],
}

impl Corners {
    fn new() -> Self {
        Self { index: [[0; BATCH]; 8], fraction: [[0.0; BATCH]; 3] }
    }

    /// Finds the corners at `level` of a batch of clamped points.
    #[inline(always)]
    fn find(&mut self, level: &Level, points: [&[f32; BATCH]; 3]) {
        let mut cell = [[0_u32; BATCH]; 3];
        for a in 0..3 {
            for p in 0..BATCH {
                let position = points[a][p] * level.scale + 0.5;
                // SAFETY: the position lies between 0.5 and 2²¹ + 1: coordinates are clamped, the scale is checked.
                let whole: i32 = unsafe { position.to_int_unchecked() };
                cell[a][p] = whole as u32;
                self.fraction[a][p] = position - whole as f32;
            }
        }
        let size = level.size as u32;
        let by = if level.hashed {
            [1, 2_654_435_761, 805_459_861]
        } else {
            [1, level.resolution, level.resolution * level.resolution]
        };
        for c in 0..8 {
            let up = [0, 1, 2].map(|a| c as u32 >> a & 1);
            for p in 0..BATCH {
                let [x, y, z] = [0, 1, 2].map(|a: usize| (cell[a][p] + up[a]).wrapping_mul(by[a]));
                self.index[c][p] = if level.hashed {
                    (x ^ y ^ z) & (size - 1)
                } else {
                    // On the far faces the sum exceeds the size, by less than the size.
                    let index = x + y + z;
                    if index >= size { index - size } else { index }
                };
            }
        }
    }

    /// Asks for the cache lines of all corners.
    #[inline(always)]
    fn prefetch<T>(&self, level: &Level, entries: *const T) {
        if level.size * size_of::<T>() >= PREFETCH_FROM {
            for c in 0..8 {
                for p in 0..BATCH {
                    prefetch(entries.wrapping_add(self.index[c][p] as usize));
                }
            }
        }
    }

    /// The product of the three axes' weights at corner `c`.
    #[inline(always)]
    fn weight(&self, c: usize) -> [f32; BATCH] {
        let mut weight = [0.0; BATCH];
        for p in 0..BATCH {
            let [x, y, z] = [0, 1, 2].map(|a| one_way(c >> a & 1 == 1, self.fraction[a][p]));
            weight[p] = x * y * z;
        }
        weight
    }
}

/// The weight along one axis of the corner that lies up it, or not.
#[inline(always)]
fn one_way(up: bool, fraction: f32) -> f32 {
    if up { fraction } else { 1.0 - fraction }
}

/// Calls `visit(first, corners)` for the batches from `rows.start` to `rows.end`, each found one batch ahead of its
/// turn and its lines among the level's `entries` asked for.
#[inline(always)]
fn for_batches<T>(
    level: &Level,
    points: &Points,
    rows: std::ops::Range<usize>,
    entries: *const T,
    mut visit: impl FnMut(usize, &Corners),
) {
    let (mut now, mut ahead) = (&mut Corners::new(), &mut Corners::new());
    ahead.find(level, points.batch(rows.start));
    ahead.prefetch(level, entries);
    for first in rows.clone().step_by(BATCH) {
        std::mem::swap(&mut now, &mut ahead);
        if first + BATCH < rows.end {
            ahead.find(level, points.batch(first + BATCH));
            ahead.prefetch(level, entries);
        }
        visit(first, now);
    }
}

/// Copies the features of a batch's corners to one place, so that the arithmetic after it is plain vector code.
///
/// The loads are kept scalar: gather instructions were 1.2 times slower here, and are many times slower on processors
/// with the mitigations for speculative gathers.
#[inline(always)]
fn gather<const F: usize>(corners: &Corners, entries: &[[f32; F]], gathered: &mut [[[f32; F]; BATCH]; 8]) {
    for c in 0..8 {
        for p in 0..BATCH {
            // SAFETY: `Corners::find` keeps every index below the level's size, and `entries` is the level.
            gathered[c][p] = opaque(unsafe { *entries.get_unchecked(corners.index[c][p] as usize) });
        }
    }
}

/// Rows that one task takes through all levels. Every task walks through the whole table, so: few and large.
fn rows_per_task(n: usize) -> usize {
    n.div_ceil(rayon::current_num_threads()).next_multiple_of(BATCH).max(BATCH)
}

fn forward_of<const F: usize>(tier: Tier, spec: &HashSpec, points: &Points, table: &[f32], out: &mut [f32]) {
    let width = spec.out_dim();
    let rows = rows_per_task(out.len() / width);
    let table = table.as_chunks::<F>().0;
    out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| {
        tier.run(Forward::<F> { spec, points, first: task * rows, table, out });
    });
}

struct Forward<'a, const F: usize> {
    spec: &'a HashSpec,
    points: &'a Points,
    first: usize,
    table: &'a [[f32; F]],
    out: &'a mut [f32],
}

impl<const F: usize> WithSimd for Forward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.spec.out_dim();
        let rows = self.first..self.first + self.out.len() / width;
        let mut gathered = [[[0.0; F]; BATCH]; 8];
        for (l, level) in self.spec.levels().iter().enumerate() {
            let entries = &self.table[level.offset..level.offset + level.size];
            for_batches(level, self.points, rows.clone(), entries.as_ptr(), |first, corners| {
                gather(corners, entries, &mut gathered);
                let mut sum = [[0.0; F]; BATCH];
                for c in 0..8 {
                    let weight = corners.weight(c);
                    for p in 0..BATCH {
                        for f in 0..F {
                            sum[p][f] += weight[p] * gathered[c][p][f];
                        }
                    }
                }
                let at = (first - self.first) * width;
                for (out, sum) in self.out[at..].chunks_exact_mut(width).zip(&sum) {
                    out[l * F..][..F].copy_from_slice(&opaque(*sum));
                }
            });
        }
    }
}

/// A range of one level's gradient and who adds to it.
struct Owned<'a, const F: usize> {
    level: usize,
    first_entry: usize,
    grad: &'a mut [[f32; F]],
}

/// Cuts the gradient of the table into at least as many ranges as keep all threads busy.
fn owners<'a, const F: usize>(spec: &HashSpec, mut grad: &'a mut [[f32; F]]) -> Vec<Owned<'a, F>> {
    let threads = rayon::current_num_threads();
    let count = spec.levels().len();
    // A level cut in k is indexed k times, so levels are cut only where threads would idle otherwise.
    let parts = if threads <= count { 1 } else { (2 * threads).div_ceil(count) };
    let mut owners = Vec::with_capacity(count * parts);
    for (l, level) in spec.levels().iter().enumerate() {
        let (mut own, rest) = grad.split_at_mut(level.size);
        grad = rest;
        let part = level.size.div_ceil(parts);
        let mut first_entry = 0;
        while !own.is_empty() {
            let (grad, rest) = own.split_at_mut(part.min(own.len()));
            own = rest;
            let taken = grad.len();
            owners.push(Owned { level: l, first_entry, grad });
            first_entry += taken;
        }
    }
    owners
}

fn table_gradient<const F: usize>(
    tier: Tier,
    spec: &HashSpec,
    points: &Points,
    grad_out: &[f32],
    grad_table: &mut [f32],
    overwrite: bool,
) {
    let owners = owners(spec, grad_table.as_chunks_mut::<F>().0);
    owners.into_par_iter().with_max_len(1).for_each(|owned| {
        if overwrite {
            owned.grad.fill([0.0; F]);
        }
        if !grad_out.is_empty() {
            tier.run(Scatter { spec, points, grad_out, owned });
        }
    });
}

struct Scatter<'a, const F: usize> {
    spec: &'a HashSpec,
    points: &'a Points,
    grad_out: &'a [f32],
    owned: Owned<'a, F>,
}

impl<const F: usize> WithSimd for Scatter<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.spec.out_dim();
        let rows = self.grad_out.len() / width;
        let Owned { level: l, first_entry, grad } = self.owned;
        let level = &self.spec.levels()[l];
        let whole = grad.len() == level.size;
        // Where this task owns only a part, the addresses of the rest are asked for in vain: its other owners' lines.
        let entries = grad.as_ptr().wrapping_sub(first_entry);
        for_batches(level, self.points, 0..rows, entries, |first, corners| {
            let count = BATCH.min(rows - first);
            prefetch_rows(self.grad_out, first + 3 * BATCH, width, l * F);
            let incoming = take_columns::<F>(&self.grad_out[first * width..], width, l, count);
            let mut share = [[[0.0; F]; BATCH]; 8];
            for c in 0..8 {
                let weight = corners.weight(c);
                for p in 0..BATCH {
                    for f in 0..F {
                        share[c][p][f] = weight[p] * incoming[p][f];
                    }
                }
            }
            if whole {
                scatter(corners, &share, grad, count);
            } else {
                scatter_part(corners, &share, first_entry, grad, count);
            }
        });
    }
}

/// Asks for column `column` of the batch of rows from `first` on: the stride leaves a page every batch, and there the
/// processor's own prefetching ends.
#[inline(always)]
fn prefetch_rows(values: &[f32], first: usize, width: usize, column: usize) {
    for p in 0..BATCH {
        prefetch(values.as_ptr().wrapping_add((first + p) * width + column));
    }
}

/// The columns of level `l` of the first `count` rows of `values [.., width]`.
#[inline(always)]
fn take_columns<const F: usize>(values: &[f32], width: usize, l: usize, count: usize) -> [[f32; F]; BATCH] {
    let mut taken = [[0.0; F]; BATCH];
    for (taken, row) in taken.iter_mut().zip(values.chunks_exact(width)).take(count) {
        taken.copy_from_slice(&row[l * F..][..F]);
    }
    taken
}

/// Adds the shares of the first `count` points to a level that this task owns whole.
#[inline(always)]
fn scatter<const F: usize>(corners: &Corners, share: &[[[f32; F]; BATCH]; 8], grad: &mut [[f32; F]], count: usize) {
    for p in 0..count {
        for c in 0..8 {
            // SAFETY: `Corners::find` keeps every index below the level's size, which is the length of `grad`.
            let entry = unsafe { grad.get_unchecked_mut(corners.index[c][p] as usize) };
            for f in 0..F {
                entry[f] += share[c][p][f];
            }
        }
    }
}

/// Adds what falls on the entries from `first_entry` on. The hits are listed first, without a branch: which owner a
/// corner belongs to is as unpredictable as the hash.
#[inline(always)]
fn scatter_part<const F: usize>(
    corners: &Corners,
    share: &[[[f32; F]; BATCH]; 8],
    first_entry: usize,
    grad: &mut [[f32; F]],
    count: usize,
) {
    let mut hits = [(0_u32, 0_u32); BATCH * 8];
    let mut found = 0;
    for p in 0..count {
        for c in 0..8 {
            let index = corners.index[c][p].wrapping_sub(first_entry as u32);
            hits[found] = (index, (c * BATCH + p) as u32);
            found += usize::from((index as usize) < grad.len());
        }
    }
    let share = share.as_flattened();
    for &(index, from) in &hits[..found] {
        let (entry, share) = (&mut grad[index as usize], &share[from as usize]);
        for f in 0..F {
            entry[f] += share[f];
        }
    }
}

fn point_gradient<const F: usize>(
    tier: Tier,
    spec: &HashSpec,
    points: &Points,
    table: &[f32],
    grad_out: &[f32],
    grad_x: &mut [f32],
) {
    let rows = rows_per_task(grad_x.len() / 3);
    let table = table.as_chunks::<F>().0;
    grad_x.as_chunks_mut::<3>().0.par_chunks_mut(rows).enumerate().for_each(|(task, grad_x)| {
        tier.run(PointGradient::<F> { spec, points, first: task * rows, table, grad_out, grad_x });
    });
}

struct PointGradient<'a, const F: usize> {
    spec: &'a HashSpec,
    points: &'a Points,
    first: usize,
    table: &'a [[f32; F]],
    grad_out: &'a [f32],
    grad_x: &'a mut [[f32; 3]],
}

impl<const F: usize> WithSimd for PointGradient<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.spec.out_dim();
        let rows = self.first..self.first + self.grad_x.len();
        self.grad_x.fill([0.0; 3]);
        let mut gathered = [[[0.0; F]; BATCH]; 8];
        for (l, level) in self.spec.levels().iter().enumerate() {
            let entries = &self.table[level.offset..level.offset + level.size];
            for_batches(level, self.points, rows.clone(), entries.as_ptr(), |first, corners| {
                gather(corners, entries, &mut gathered);
                let count = BATCH.min(rows.end - first);
                prefetch_rows(self.grad_out, first + 3 * BATCH, width, l * F);
                let incoming = take_columns::<F>(&self.grad_out[first * width..], width, l, count);
                let slope = slopes(corners, &gathered, &incoming, level.scale);
                for (p, grad) in self.grad_x[first - self.first..][..count].iter_mut().enumerate() {
                    for a in 0..3 {
                        grad[a] += slope[a][p];
                    }
                }
            });
        }
    }
}

/// The gradient of one level with respect to each axis of a batch of points: the weights' derivatives, `±scale` along
/// the axis, times what the loss gains from each corner's features.
#[inline(always)]
fn slopes<const F: usize>(
    corners: &Corners,
    gathered: &[[[f32; F]; BATCH]; 8],
    incoming: &[[f32; F]; BATCH],
    scale: f32,
) -> [[f32; BATCH]; 3] {
    let mut slope = [[0.0; BATCH]; 3];
    for c in 0..8 {
        let sign = [0, 1, 2].map(|a| if c >> a & 1 == 1 { scale } else { -scale });
        for p in 0..BATCH {
            let mut gain = 0.0;
            for f in 0..F {
                gain += gathered[c][p][f] * incoming[p][f];
            }
            let [x, y, z] = [0, 1, 2].map(|a| one_way(c >> a & 1 == 1, corners.fraction[a][p]));
            slope[0][p] += sign[0] * y * z * gain;
            slope[1][p] += x * sign[1] * z * gain;
            slope[2][p] += x * y * sign[2] * gain;
        }
    }
    slope
}
