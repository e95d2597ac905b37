//! Factorised grids on a CPU.
//!
//! The work is moving rows: a point of `vm` reads 3 · 6 taps of all ranks. So:
//! * forward, a task takes neighbouring points (a ray's samples, which share taps) through all modes, keeps the products
//!   of eight points in the first-level cache, and leads them through the basis together: the products, ten times as
//!   wide as the latent, never reach memory;
//! * backward, the gradients of table and basis are scattered by one owner per mode and sixteen columns, in the order of
//!   the points. Owners share no value: the sums are the same whatever the number of threads, without atomics, copies
//!   or sorting. A copy of the table's gradient for each thread would be 8 to 70 MB to clear and to add; what an owner
//!   costs instead is reading the latent's gradient again, 64 bytes a point from the second-level cache.
//! * Points whose gradient is zero, such as those behind a surface, are left out at once.
//!
//! Nothing is fused, so every tier gives the same bits.

#![expect(unsafe_code, reason = "taps come from the spec and are checked against the table once, not per tap")]
#![expect(clippy::needless_range_loop, reason = "several arrays of one fixed length are walked together, as vectors")]

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::spec::{AXES, FactorSpec, Form, SLACK};
use crate::ops::simd::{Tier, prefetch};

/// Points that go through the basis together.
const BATCH: usize = 8;
/// Points of a task.
const TASK: usize = 1024;
/// Points between asking for a plane's taps and adding to them.
const AHEAD: usize = 6;
/// Columns that are one vector.
const LANES: usize = 16;

/// Runs `$body` for every piece of `$range`: pieces of sixteen columns first, then of eight and four, then single ones.
/// `$first` is the piece's first column and `$C` the number of its columns, a constant.
macro_rules! in_pieces {
    ($range:expr, $first:ident, $C:ident => $body:block) => {{
        let (mut at, end) = ($range.start, $range.end);
        in_pieces!(@ 16, at, end, $first, $C => $body);
        in_pieces!(@ 8, at, end, $first, $C => $body);
        in_pieces!(@ 4, at, end, $first, $C => $body);
        in_pieces!(@ 1, at, end, $first, $C => $body);
        let _ = at;
    }};
    (@ $width:literal, $at:ident, $end:ident, $first:ident, $C:ident => $body:block) => {{
        const $C: usize = $width;
        while $at + $C <= $end {
            let $first = $at;
            $body
            $at += $C;
        }
    }};
}

/// Where a point lies: the cell along each axis, and how far into it.
#[derive(Clone, Copy, Default)]
struct Place {
    cell: [u32; 3],
    fraction: [f32; 3],
}

/// The six taps of a mode: first values in the table, and weights.
struct Taps {
    at: [usize; 6],
    weight: [f32; 6],
}

/// A [`FactorSpec`] with what each point would otherwise compute again.
struct Plan<'a> {
    spec: &'a FactorSpec,
    columns: usize,
    last: [f32; 3],
    top: [u32; 3],
    /// Values before the plane of each mode.
    planes: [usize; 3],
    /// Values before the line of each axis.
    lines: [usize; 3],
    /// Values from one row of a mode's plane to the next.
    stride: [usize; 3],
}

impl<'a> Plan<'a> {
    fn new(spec: &'a FactorSpec) -> Self {
        let columns = spec.columns();
        let planes = if spec.form == Form::Planes { [0, 1, 2].map(|m| spec.plane_row(m) * columns) } else { [0; 3] };
        Self {
            spec,
            columns,
            last: spec.cells().to_array(),
            top: spec.resolution.map(|r| r - 2),
            planes,
            lines: [0, 1, 2].map(|a| spec.line_row(a) * columns),
            stride: [0, 1, 2].map(|m| spec.plane_size(m)[0] * columns),
        }
    }

    /// Nothing for a point outside the cube, or a NaN.
    #[inline(always)]
    fn place(&self, x: &[f32; 3]) -> Option<Place> {
        if !x.iter().all(|v| (-SLACK..=1.0 + SLACK).contains(v)) {
            return None;
        }
        let mut place = Place::default();
        for a in 0..3 {
            let position = x[a].clamp(0.0, 1.0) * self.last[a];
            let cell = (position as u32).min(self.top[a]);
            place.cell[a] = cell;
            place.fraction[a] = position - cell as f32;
        }
        Some(place)
    }

    #[inline(always)]
    fn taps<const PLANES: bool>(&self, mode: usize, place: &Place) -> Taps {
        let row = |a: usize| place.cell[a] as usize * self.columns;
        let f = place.fraction;
        if PLANES {
            let [a, b, c] = AXES[mode];
            let corner = self.planes[mode] + place.cell[b] as usize * self.stride[mode] + row(a);
            let above = corner + self.stride[mode];
            let end = self.lines[c] + row(c);
            let (fa, fb, fc) = (f[a], f[b], f[c]);
            let (ra, rb) = (1.0 - fa, 1.0 - fb);
            Taps {
                at: [corner, corner + self.columns, above, above + self.columns, end, end + self.columns],
                weight: [ra * rb, fa * rb, ra * fb, fa * fb, 1.0 - fc, fc],
            }
        } else {
            let [x, y, z] = [0, 1, 2].map(|a| self.lines[a] + row(a));
            Taps {
                at: [x, x + self.columns, y, y + self.columns, z, z + self.columns],
                weight: [1.0 - f[0], f[0], 1.0 - f[1], f[1], 1.0 - f[2], f[2]],
            }
        }
    }
}

/// `C` columns of a row.
///
/// # Safety
/// `at + C` is at most the length of `table`.
#[inline(always)]
unsafe fn load<const C: usize>(table: &[f32], at: usize) -> [f32; C] {
    debug_assert!(at + C <= table.len());
    // SAFETY: as the caller promises; arrays of floats have the alignment of a float.
    unsafe { table.as_ptr().add(at).cast::<[f32; C]>().read() }
}

/// The weighted sum of some taps' columns from `first` on.
#[inline(always)]
fn blend<const C: usize, const N: usize>(table: &[f32], at: [usize; N], weight: [f32; N], first: usize) -> [f32; C] {
    let mut sum = [0.0; C];
    for t in 0..N {
        // SAFETY: a place's cell is at most the last but one, so every tap is a row of the table, and `first + C` at
        // most the number of columns; `check` compared the table's length with the spec.
        let row: [f32; C] = unsafe { load(table, at[t] + first) };
        for i in 0..C {
            sum[i] += weight[t] * row[i];
        }
    }
    sum
}

/// The factors of a mode at a point: a plane and a line (the third is one), or three lines.
#[inline(always)]
fn factors<const PLANES: bool, const C: usize>(table: &[f32], taps: &Taps, first: usize) -> [[f32; C]; 3] {
    let ([a, b, c, d, e, f], [p, q, r, s, t, u]) = (taps.at, taps.weight);
    if PLANES {
        [blend(table, [a, b, c, d], [p, q, r, s], first), blend(table, [e, f], [t, u], first), [1.0; C]]
    } else {
        [blend(table, [a, b], [p, q], first), blend(table, [c, d], [r, s], first), blend(table, [e, f], [t, u], first)]
    }
}

#[inline(always)]
fn times<const C: usize>(mut a: [f32; C], b: [f32; C]) -> [f32; C] {
    // Not by `from_fn`: a closure that stays apart would be compiled for the oldest machine.
    for i in 0..C {
        a[i] *= b[i];
    }
    a
}

#[inline(always)]
fn product<const PLANES: bool, const C: usize>([a, b, c]: [[f32; C]; 3]) -> [f32; C] {
    let ab = times(a, b);
    if PLANES { ab } else { times(ab, c) }
}

/// The sum of the lanes, halves first.
#[inline(always)]
fn total<const C: usize>(mut v: [f32; C]) -> f32 {
    let mut n = C;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            v[i] += v[i + n];
        }
    }
    v[0]
}

/// Samples at `x [n, 3]` into `out [n, 1 + latent]`; see [`super::factors`].
///
/// # Panics
/// When a slice has another length than the spec says.
pub fn forward(spec: &FactorSpec, x: &[f32], table: &[f32], basis: &[f32], out: &mut [f32]) {
    forward_with(Tier::best(), spec, x, table, basis, out);
}

pub(crate) fn forward_with(tier: Tier, spec: &FactorSpec, x: &[f32], table: &[f32], basis: &[f32], out: &mut [f32]) {
    check(spec, x, table, basis, out.len());
    let plan = &Plan::new(spec);
    let (products, lanes) = (spec.products(), spec.latent.next_multiple_of(LANES));
    // `[products, lanes]`: what one product adds to all latents is one vector.
    let mut across = vec![0.0; products * lanes];
    for (k, row) in basis.chunks_exact(products).enumerate() {
        for (j, value) in row.iter().enumerate() {
            across[j * lanes + k] = *value;
        }
    }
    let across = &across;
    out.par_chunks_mut(TASK * spec.out_dim()).zip(x.par_chunks(TASK * 3)).for_each(|(out, x)| match spec.form {
        Form::Planes => tier.run(Forward::<true> { plan, x, table, across, out }),
        Form::Lines => tier.run(Forward::<false> { plan, x, table, across, out }),
    });
}

fn check(spec: &FactorSpec, x: &[f32], table: &[f32], basis: &[f32], out: usize) {
    assert!(spec.resolution.iter().all(|&r| r >= 2), "a grid has at least two points along each axis");
    assert_eq!(x.len() % 3, 0, "points are [n, 3]");
    assert_eq!(out, x.len() / 3 * spec.out_dim(), "the output is [n, 1 + latent]");
    assert_eq!(table.len(), spec.rows() * spec.columns(), "the table is [rows, ranks]");
    assert_eq!(basis.len(), spec.latent * spec.products(), "the basis is [latent, products]");
}

struct Forward<'a, const PLANES: bool> {
    plan: &'a Plan<'a>,
    x: &'a [f32],
    table: &'a [f32],
    across: &'a [f32],
    out: &'a mut [f32],
}

impl<const PLANES: bool> WithSimd for Forward<'_, PLANES> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let spec = self.plan.spec;
        let (width, count) = (spec.out_dim(), spec.products());
        let mut products = vec![0.0; BATCH * count];
        for (out, x) in self.out.chunks_mut(BATCH * width).zip(self.x.as_chunks::<3>().0.chunks(BATCH)) {
            for ((x, out), products) in x.iter().zip(out.chunks_exact_mut(width)).zip(products.chunks_exact_mut(count))
            {
                let Some(place) = self.plan.place(x) else {
                    products.fill(0.0);
                    out[0] = spec.outside;
                    continue;
                };
                let mut sum = spec.offset;
                for mode in 0..spec.modes() {
                    let taps = self.plan.taps::<PLANES>(mode, &place);
                    in_pieces!(0..spec.sigma_rank, first, C => {
                        sum += total(product::<PLANES, C>(factors::<PLANES, C>(self.table, &taps, first)));
                    });
                    let own = &mut products[mode * spec.app_rank..][..spec.app_rank];
                    in_pieces!(0..spec.app_rank, first, C => {
                        let all = factors::<PLANES, C>(self.table, &taps, spec.sigma_rank + first);
                        own[first..][..C].copy_from_slice(&product::<PLANES, C>(all));
                    });
                }
                out[0] = sum;
            }
            through_basis(&products, self.across, spec.latent, out);
        }
    }
}

/// The latents of a batch, `out [batch, 1 + latent]`, from `products [BATCH, count]`.
#[inline(always)]
fn through_basis(products: &[f32], across: &[f32], latent: usize, out: &mut [f32]) {
    let lanes = latent.next_multiple_of(LANES);
    let count = products.len() / BATCH;
    for first in (0..latent).step_by(LANES) {
        let mut sum = [[0.0; LANES]; BATCH];
        for (j, row) in across.chunks_exact(lanes).enumerate() {
            let Some(row) = row[first..].first_chunk::<LANES>() else { continue };
            for p in 0..BATCH {
                let value = products[p * count + j];
                for i in 0..LANES {
                    sum[p][i] += value * row[i];
                }
            }
        }
        let here = LANES.min(latent - first);
        for (out, sum) in out.chunks_exact_mut(1 + latent).zip(&sum) {
            out[1 + first..][..here].copy_from_slice(&sum[..here]);
        }
    }
}

/// Adds to `grad_table` and `grad_basis` the gradients of [`forward`], given `grad [n, 1 + latent]`. The result does not
/// depend on the number of threads.
///
/// # Panics
/// When a slice has another length than the spec says.
pub fn backward(
    spec: &FactorSpec,
    x: &[f32],
    table: &[f32],
    basis: &[f32],
    grad: &[f32],
    grad_table: &mut [f32],
    grad_basis: &mut [f32],
) {
    backward_with(Tier::best(), spec, x, table, basis, grad, grad_table, grad_basis);
}

/// A place with the row of the gradient that belongs to it.
#[derive(Clone, Copy)]
struct Active {
    place: Place,
    row: u32,
}

#[expect(clippy::too_many_arguments, reason = "the tests choose the tier")]
pub(crate) fn backward_with(
    tier: Tier,
    spec: &FactorSpec,
    x: &[f32],
    table: &[f32],
    basis: &[f32],
    grad: &[f32],
    grad_table: &mut [f32],
    grad_basis: &mut [f32],
) {
    check(spec, x, table, basis, grad.len());
    assert_eq!(grad_table.len(), table.len(), "the gradient of the table is shaped like the table");
    assert_eq!(grad_basis.len(), basis.len(), "the gradient of the basis is shaped like the basis");
    let plan = &Plan::new(spec);
    let width = spec.out_dim();
    let of_task = |(task, (x, grad)): (usize, (&[f32], &[f32]))| {
        let rows = x.as_chunks::<3>().0.iter().zip(grad.chunks_exact(width)).enumerate();
        let counted = rows.filter(|(_, (_, g))| g.iter().fold(0, |any, g| any | (g.to_bits() << 1)) != 0);
        let active = counted
            .filter_map(|(i, (x, _))| plan.place(x).map(|place| Active { place, row: (task * TASK + i) as u32 }));
        active.collect::<Vec<_>>()
    };
    let parts: Vec<_> = x.par_chunks(TASK * 3).zip(grad.par_chunks(TASK * width)).enumerate().map(of_task).collect();
    let active = parts.concat();
    let mut owners = Vec::new();
    for mode in 0..spec.modes() {
        for range in [0..spec.sigma_rank, spec.sigma_rank..spec.columns()] {
            in_pieces!(range, first, C => { owners.push((mode, first, C)); });
        }
    }
    let shared = Shared { table: grad_table.as_mut_ptr(), basis: grad_basis.as_mut_ptr() };
    owners.into_par_iter().with_max_len(1).for_each(|(mode, first, columns)| {
        let given = Given { plan, active: &active, table, basis, grad, shared: &shared, mode, first };
        match (spec.form, columns) {
            (Form::Planes, 16) => tier.run(Scatter::<true, 16>(given)),
            (Form::Planes, 8) => tier.run(Scatter::<true, 8>(given)),
            (Form::Planes, 4) => tier.run(Scatter::<true, 4>(given)),
            (Form::Planes, _) => tier.run(Scatter::<true, 1>(given)),
            (Form::Lines, 16) => tier.run(Scatter::<false, 16>(given)),
            (Form::Lines, 8) => tier.run(Scatter::<false, 8>(given)),
            (Form::Lines, 4) => tier.run(Scatter::<false, 4>(given)),
            (Form::Lines, _) => tier.run(Scatter::<false, 1>(given)),
        }
    });
}

/// The gradients that all owners write to, each to its own columns.
struct Shared {
    table: *mut f32,
    basis: *mut f32,
}

// SAFETY: an owner writes only to its mode's rows and its columns, which no other owner reads or writes.
unsafe impl Sync for Shared {}

/// What an owner works on: the columns from `first` on of a mode.
struct Given<'a> {
    plan: &'a Plan<'a>,
    active: &'a [Active],
    table: &'a [f32],
    basis: &'a [f32],
    grad: &'a [f32],
    shared: &'a Shared,
    mode: usize,
    first: usize,
}

struct Scatter<'a, const PLANES: bool, const C: usize>(Given<'a>);

impl<const PLANES: bool, const C: usize> WithSimd for Scatter<'_, PLANES, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Given { plan, active, table, basis, grad, shared, mode, first } = self.0;
        let spec = plan.spec;
        let (width, count) = (spec.out_dim(), spec.products());
        let rank = first.checked_sub(spec.sigma_rank);
        // The owner's columns of the basis and of its gradient.
        let mut own = vec![[0.0; C]; if rank.is_some() { spec.latent } else { 0 }];
        let mut sums = own.clone();
        let at = |k: usize| k * count + mode * spec.app_rank + rank.unwrap_or(0);
        for (k, own) in own.iter_mut().enumerate() {
            own.copy_from_slice(&basis[at(k)..][..C]);
        }
        for (i, here) in active.iter().enumerate() {
            if let Some(next) = active.get(i + AHEAD).filter(|_| PLANES) {
                // Planes do not fit the cache; lines do.
                for at in &plan.taps::<PLANES>(mode, &next.place).at[..4] {
                    prefetch(table.as_ptr().wrapping_add(at + first));
                    prefetch(shared.table.wrapping_add(at + first).cast_const());
                }
            }
            let taps = plan.taps::<PLANES>(mode, &here.place);
            let all = factors::<PLANES, C>(table, &taps, first);
            let g = &grad[here.row as usize * width..][..width];
            let mut share = [g[0]; C];
            if rank.is_some() {
                let product = product::<PLANES, C>(all);
                share = [0.0; C];
                for ((own, sum), &g) in own.iter().zip(&mut sums).zip(&g[1..]) {
                    for i in 0..C {
                        share[i] += g * own[i];
                        sum[i] += g * product[i];
                    }
                }
            }
            let [a, b, c] = all;
            let ([p, q, r, s, t, u], [o, v, w, x, y, z]) = (taps.at, taps.weight);
            // SAFETY: the taps are rows of the table, and these columns of this mode's rows are this owner's alone.
            unsafe {
                if PLANES {
                    let (plane, line) = (times(share, b), times(share, a));
                    add(shared, p + first, o, plane);
                    add(shared, q + first, v, plane);
                    add(shared, r + first, w, plane);
                    add(shared, s + first, x, plane);
                    add(shared, t + first, y, line);
                    add(shared, u + first, z, line);
                } else {
                    let (along_x, along_y) = (times(share, times(b, c)), times(share, times(c, a)));
                    let along_z = times(share, times(a, b));
                    add(shared, p + first, o, along_x);
                    add(shared, q + first, v, along_x);
                    add(shared, r + first, w, along_y);
                    add(shared, s + first, x, along_y);
                    add(shared, t + first, y, along_z);
                    add(shared, u + first, z, along_z);
                }
            }
        }
        for (k, sum) in sums.iter().enumerate() {
            for (i, sum) in sum.iter().enumerate() {
                // SAFETY: within the basis, whose length was checked; these columns are this owner's alone.
                unsafe { *shared.basis.add(at(k) + i) += sum };
            }
        }
    }
}

/// Adds `weight · share` to the values from `at` on of the table's gradient.
///
/// # Safety
/// `at + C` is within the table, and nobody else touches these values.
#[inline(always)]
unsafe fn add<const C: usize>(shared: &Shared, at: usize, weight: f32, share: [f32; C]) {
    // SAFETY: as the caller promises; arrays of floats have the alignment of a float.
    let own = unsafe { &mut *shared.table.add(at).cast::<[f32; C]>() };
    for i in 0..C {
        own[i] += weight * share[i];
    }
}

/// Adds to `grad_x [n, 3]` the gradient of [`forward`] to the points. Training does not need it, so it is plain.
///
/// # Panics
/// When a slice has another length than the spec says.
pub fn backward_to_points(
    spec: &FactorSpec,
    x: &[f32],
    table: &[f32],
    basis: &[f32],
    grad: &[f32],
    grad_x: &mut [f32],
) {
    check(spec, x, table, basis, grad.len());
    assert_eq!(grad_x.len(), x.len(), "the gradient of the points is shaped like the points");
    let plan = &Plan::new(spec);
    let rows = x.as_chunks::<3>().0.par_iter().zip(grad.par_chunks(spec.out_dim()));
    grad_x.as_chunks_mut::<3>().0.par_iter_mut().zip(rows).for_each(|(out, (x, grad))| {
        let Some(place) = plan.place(x) else { return };
        for mode in 0..spec.modes() {
            for column in 0..spec.columns() {
                let share = match column.checked_sub(spec.sigma_rank) {
                    None => grad[0],
                    Some(rank) => {
                        let row = basis.iter().skip(mode * spec.app_rank + rank).step_by(spec.products());
                        row.zip(&grad[1..]).map(|(b, g)| b * g).sum()
                    }
                };
                let slope = match spec.form {
                    Form::Planes => slope_of::<true>(plan, table, mode, column, &place),
                    Form::Lines => slope_of::<false>(plan, table, mode, column, &place),
                };
                (0..3).for_each(|a| out[a] += share * slope[a]);
            }
        }
    });
}

/// The derivative of one product by the three coordinates.
fn slope_of<const PLANES: bool>(plan: &Plan, table: &[f32], mode: usize, column: usize, place: &Place) -> [f32; 3] {
    let taps = plan.taps::<PLANES>(mode, place);
    let value = taps.at.map(|at| table[at + column]);
    let [[a], [b], [c]] = factors::<PLANES, 1>(table, &taps, column);
    let mut slope = [0.0; 3];
    if PLANES {
        let [i, j, k] = AXES[mode];
        let (fi, fj) = (place.fraction[i], place.fraction[j]);
        slope[i] = plan.last[i] * b * ((1.0 - fj) * (value[1] - value[0]) + fj * (value[3] - value[2]));
        slope[j] = plan.last[j] * b * ((1.0 - fi) * (value[2] - value[0]) + fi * (value[3] - value[1]));
        slope[k] = plan.last[k] * a * (value[5] - value[4]);
    } else {
        slope[0] = plan.last[0] * (value[1] - value[0]) * b * c;
        slope[1] = plan.last[1] * (value[3] - value[2]) * a * c;
        slope[2] = plan.last[2] * (value[5] - value[4]) * a * b;
    }
    slope
}
