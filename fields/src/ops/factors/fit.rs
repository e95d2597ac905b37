//! A factorised grid from values at its own grid points, without gradients: alternating least squares (Carroll and Chang
//! 1970, Harshman 1970), with a ridge.
//!
//! At a grid point every factor is one row of the table. With all factors of a mode but one held, the rows of that one
//! are independent small problems. For the row `p`, seen by the points `v` with products `h_v` of the other factors, what
//! remains to be said `e_v` `[width]`, weights `w_v` and the basis `B` `[width, rank]`, the change `δ` of `p` solves
//!
//! `(BᵀB ∘ Σ w_v h_v h_vᵀ + λ) δ = Σ w_v h_v ∘ Bᵀe_v − λ p`,
//!
//! and the basis solves the same with the products themselves.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::spec::{AXES, FactorSpec, Form};
use crate::ops::simd::Tier;
use crate::parts::cholesky::solve;

/// Points whose outer products are summed at a time.
const BLOCK: usize = 8;
/// Points that one task updates.
const TASK: usize = 4096;
/// Parts of the points that the basis is summed over.
const PARTS: usize = 16;
/// The ridge, as a part of the mean diagonal.
const RIDGE: f64 = 1e-3;

/// What the grid is to say at some of its grid points.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Grid points along each axis, `[n]`.
    pub at: &'a [[u16; 3]],
    /// Values `[n, width]`.
    pub values: &'a [f32],
    /// How much each point counts, `[n]`.
    pub weight: &'a [f32],
    /// A value at an end of this range or beyond asks for that end or anything beyond it.
    pub held: [f32; 2],
}

/// One factor of a mode: a plane or a line.
struct Factor {
    /// Its first row in the table.
    first: usize,
    /// From a grid point to its row.
    strides: [usize; 3],
    /// Its rows, `[rows, rank]`.
    values: Vec<f32>,
    /// The points of row `i` are `order[start[i]..start[i + 1]]`.
    start: Vec<u32>,
    order: Vec<u32>,
}

impl Factor {
    fn new(first: usize, rows: usize, strides: [usize; 3], at: &[[u16; 3]]) -> Self {
        let mut factor =
            Self { first, strides, values: Vec::new(), start: vec![0; rows + 1], order: vec![0; at.len()] };
        let row: Vec<usize> = at.iter().map(|at| factor.row(*at)).collect();
        row.iter().for_each(|&row| factor.start[row + 1] += 1);
        for i in 0..rows {
            factor.start[i + 1] += factor.start[i];
        }
        let mut next = factor.start.clone();
        for (point, &row) in row.iter().enumerate() {
            factor.order[next[row] as usize] = point as u32;
            next[row] += 1;
        }
        factor
    }

    #[inline(always)]
    fn row(&self, at: [u16; 3]) -> usize {
        usize::from(at[0]) * self.strides[0]
            + usize::from(at[1]) * self.strides[1]
            + usize::from(at[2]) * self.strides[2]
    }

    #[inline(always)]
    fn at(&self, at: [u16; 3], rank: usize) -> &[f32] {
        &self.values[self.row(at) * rank..][..rank]
    }

    /// The points of a row.
    fn points(&self, row: usize) -> &[u32] {
        &self.order[self.start[row] as usize..self.start[row + 1] as usize]
    }
}

/// The factors of each mode.
fn modes_of(spec: &FactorSpec, at: &[[u16; 3]]) -> Vec<Vec<Factor>> {
    let length = |axis: usize| spec.resolution[axis] as usize;
    let line = |axis: usize| {
        let mut strides = [0; 3];
        strides[axis] = 1;
        Factor::new(spec.line_row(axis), length(axis), strides, at)
    };
    match spec.form {
        Form::Lines => vec![(0..3).map(line).collect()],
        Form::Planes => (0..3)
            .map(|mode| {
                let [a, b, c] = AXES[mode];
                let mut strides = [0; 3];
                (strides[a], strides[b]) = (1, length(a));
                vec![Factor::new(spec.plane_row(mode), length(a) * length(b), strides, at), line(c)]
            })
            .collect(),
    }
}

/// Fits the ranks `columns` of `table` and, if `learn`, the `basis` `[width, modes · rank]` to what is wanted, starting
/// from what both are. Returns the weighted mean squared difference that is left.
///
/// # Panics
/// When a slice has another length than the others say, or a point lies outside the grid.
pub fn fit(
    spec: &FactorSpec,
    wanted: &Wanted<'_>,
    columns: Range<usize>,
    table: &mut [f32],
    basis: &mut [f32],
    learn: bool,
    sweeps: u32,
) -> f32 {
    let rank = columns.len();
    let mut modes = modes_of(spec, wanted.at);
    let width = basis.len() / (modes.len() * rank);
    assert_eq!(wanted.values.len(), wanted.at.len() * width, "values are [n, width]");
    for factor in modes.iter_mut().flatten() {
        let rows = factor.start.len() - 1;
        let row = |row| &table[(factor.first + row) * spec.columns() + columns.start..][..rank];
        factor.values = (0..rows).flat_map(row).copied().collect();
    }
    let mut work = Work { wanted, rank, width, modes, basis: basis.to_vec(), said: vec![0.0; wanted.values.len()] };
    work.say();
    for _ in 0..sweeps {
        for mode in 0..work.modes.len() {
            for factor in 0..work.modes[mode].len() {
                work.improve(mode, factor);
            }
        }
        if learn {
            work.improve_basis();
        }
    }
    work.balance(learn);
    basis.copy_from_slice(&work.basis);
    for factor in work.modes.iter().flatten() {
        for (row, values) in factor.values.chunks_exact(rank).enumerate() {
            table[(factor.first + row) * spec.columns() + columns.start..][..rank].copy_from_slice(values);
        }
    }
    work.left()
}

/// A fit on its way.
struct Work<'a> {
    wanted: &'a Wanted<'a>,
    rank: usize,
    width: usize,
    modes: Vec<Vec<Factor>>,
    basis: Vec<f32>,
    /// What the grid says at the points, `[n, width]`.
    said: Vec<f32>,
}

/// What is still to be said.
#[inline(always)]
fn missing(wanted: f32, said: f32, [low, high]: [f32; 2]) -> f32 {
    let e = wanted - said;
    if wanted <= low {
        (low - said).min(0.0)
    } else if wanted >= high {
        (high - said).max(0.0)
    } else {
        e
    }
}

impl Work<'_> {
    /// The part of the basis that belongs to a mode, `[width, rank]`.
    fn basis_of(&self, mode: usize) -> Vec<f32> {
        let products = self.modes.len() * self.rank;
        self.basis.chunks_exact(products).flat_map(|row| &row[mode * self.rank..][..self.rank]).copied().collect()
    }

    /// Sums up what the grid says.
    fn say(&mut self) {
        self.said.fill(0.0);
        for mode in 0..self.modes.len() {
            let basis = self.basis_of(mode);
            let all: Vec<&Factor> = self.modes[mode].iter().collect();
            let sum = Say { others: &all, own: None, basis: &basis, rank: self.rank, width: self.width };
            sum.add_to(self.wanted.at, &mut self.said);
        }
    }

    /// One factor of a mode, all others held.
    fn improve(&mut self, mode: usize, which: usize) {
        let (rank, width) = (self.rank, self.width);
        let basis = self.basis_of(mode);
        let gram: Vec<f64> = (0..rank * rank)
            .map(|ij| {
                let (i, j) = (ij / rank, ij % rank);
                (0..width).map(|k| f64::from(basis[k * rank + i] * basis[k * rank + j])).sum()
            })
            .collect();
        let factors = &self.modes[mode];
        let others: Vec<&Factor> = (0..factors.len()).filter(|f| *f != which).map(|f| &factors[f]).collect();
        let own = &factors[which];
        let mut change = vec![0.0; own.values.len()];
        let tier = Tier::best();
        let rows = change.par_chunks_mut(rank).zip(own.values.par_chunks(rank)).enumerate().with_min_len(4);
        rows.for_each(|(row, (change, own_row))| {
            let points = own.points(row);
            let sums = Sums { work: self, others: &others, basis: &basis, points };
            let (outer, mut right) = tier.run(sums);
            let mut left: Vec<f64> = outer.iter().zip(&gram).map(|(s, g)| f64::from(*s) * g).collect();
            let ridge = ridged(&mut left, rank);
            right.iter_mut().zip(own_row).for_each(|(b, p)| *b -= ridge * f64::from(*p));
            solve(&mut left, &mut right, rank, 1);
            change.iter_mut().zip(&right).for_each(|(c, x)| *c = *x as f32);
        });
        let mut said = std::mem::take(&mut self.said);
        let strides = own.strides;
        let say = Say { others: &others, own: Some((&change, strides)), basis: &basis, rank, width };
        say.add_to(self.wanted.at, &mut said);
        self.said = said;
        self.modes[mode][which].values.iter_mut().zip(&change).for_each(|(p, c)| *p += c);
    }

    /// The basis, all factors held.
    fn improve_basis(&mut self) {
        let (n, width) = (self.wanted.at.len(), self.width);
        let products = self.modes.len() * self.rank;
        let part = n.div_ceil(PARTS).max(1);
        let tier = Tier::best();
        // Sums of fixed parts, in order: the result does not depend on the number of threads.
        let sums: Vec<_> = (0..n.div_ceil(part))
            .into_par_iter()
            .map(|i| tier.run(BasisSums { work: self, points: i * part..((i + 1) * part).min(n) }))
            .collect();
        let (mut left, mut right) = (vec![0.0_f64; products * products], vec![0.0_f64; products * width]);
        for (outer, beside) in sums {
            left.iter_mut().zip(outer).for_each(|(a, s)| *a += f64::from(s));
            right.iter_mut().zip(beside).for_each(|(b, s)| *b += f64::from(s));
        }
        let ridge = ridged(&mut left, products);
        for (j, row) in right.chunks_exact_mut(width).enumerate() {
            row.iter_mut().enumerate().for_each(|(k, b)| *b -= ridge * f64::from(self.basis[k * products + j]));
        }
        solve(&mut left, &mut right, products, width);
        for (j, row) in right.chunks_exact(width).enumerate() {
            row.iter().enumerate().for_each(|(k, x)| self.basis[k * products + j] += *x as f32);
        }
        self.say();
    }

    /// Shares the size of every product evenly among its factors, and with the basis where that is learned: gradients
    /// take steps of one size in all of them.
    fn balance(&mut self, learn: bool) {
        let (rank, products) = (self.rank, self.modes.len() * self.rank);
        for (mode, factors) in self.modes.iter_mut().enumerate() {
            for r in 0..rank {
                let mut sizes: Vec<f64> = factors.iter().map(|f| f.size(r, rank)).collect();
                let column = mode * rank + r;
                let squares = self.basis.chunks_exact(products).map(|row| f64::from(row[column]).powi(2));
                // A basis learns by smaller steps than the factors.
                let of_basis = 4.0 * (squares.sum::<f64>() / self.width as f64).sqrt();
                if learn {
                    sizes.push(of_basis);
                }
                let all: f64 = sizes.iter().product();
                if !(all > 1e-30) {
                    continue;
                }
                let even = all.powf(1.0 / sizes.len() as f64);
                for (factor, size) in factors.iter_mut().zip(&sizes) {
                    factor.values.iter_mut().skip(r).step_by(rank).for_each(|v| *v *= (even / size) as f32);
                }
                if learn {
                    let scale = (even / of_basis) as f32;
                    self.basis.iter_mut().skip(column).step_by(products).for_each(|b| *b *= scale);
                }
            }
        }
    }

    /// The weighted mean squared difference.
    fn left(&self) -> f32 {
        let (mut sum, mut all) = (0.0_f64, 0.0_f64);
        let points = self.wanted.values.chunks_exact(self.width).zip(self.said.chunks_exact(self.width));
        for ((wanted, said), weight) in points.zip(self.wanted.weight) {
            let e: f32 = wanted.iter().zip(said).map(|(w, s)| missing(*w, *s, self.wanted.held).powi(2)).sum();
            sum += f64::from(weight * e);
            all += f64::from(*weight) * self.width as f64;
        }
        (sum / all.max(1e-30)) as f32
    }
}

impl Factor {
    /// Root mean square of a rank's values in the rows that have points.
    fn size(&self, r: usize, rank: usize) -> f64 {
        let rows = (0..self.start.len() - 1).filter(|&row| self.start[row + 1] > self.start[row]);
        let (sum, n) =
            rows.fold((0.0, 0), |(sum, n), row| (sum + f64::from(self.values[row * rank + r]).powi(2), n + 1));
        (sum / f64::from(n.max(1))).sqrt()
    }
}

/// Adds the ridge to the diagonal and returns it.
fn ridged(a: &mut [f64], n: usize) -> f64 {
    let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
    let ridge = RIDGE * trace / n as f64 + 1e-9;
    (0..n).for_each(|i| a[i * n + i] += ridge);
    ridge
}

/// The rows `[outputs, width]` by which `from` `[n, width]` comes nearest to `wanted` `[n, outputs]`, with a ridge.
pub fn least_squares(from: &[f32], wanted: &[f32], width: usize) -> Vec<Vec<f32>> {
    let n = from.len() / width;
    let outputs = wanted.len() / n.max(1);
    let (mut left, mut right) = (vec![0.0_f64; width * width], vec![0.0_f64; width * outputs]);
    for (x, y) in from.chunks_exact(width).zip(wanted.chunks_exact(outputs)) {
        for (i, xi) in x.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            left[i * width..][..width].iter_mut().zip(x).for_each(|(a, xj)| *a += f64::from(xi * xj));
            right[i * outputs..][..outputs].iter_mut().zip(y).for_each(|(b, y)| *b += f64::from(xi * y));
        }
    }
    ridged(&mut left, width);
    solve(&mut left, &mut right, width, outputs);
    (0..outputs).map(|c| (0..width).map(|i| right[i * outputs + c] as f32).collect()).collect()
}

/// Multiplies the factors' rows at a point into `out` `[rank]`.
#[inline(always)]
fn multiply(factors: &[&Factor], at: [u16; 3], out: &mut [f32]) {
    let rank = out.len();
    out.copy_from_slice(factors[0].at(at, rank));
    for factor in &factors[1..] {
        let row = factor.at(at, rank);
        for i in 0..rank {
            out[i] *= row[i];
        }
    }
}

/// `outer += Σ h hᵀ` over a block `[BLOCK, n]`; the upper half, and a little of the lower.
#[inline(always)]
fn add_outer(outer: &mut [f32], h: &[f32], n: usize) {
    for i in 0..n {
        let from = i & !15;
        let row = &mut outer[i * n + from..(i + 1) * n];
        let len = row.len();
        for half in 0..BLOCK / 4 {
            let line = |j: usize| &h[(4 * half + j) * n + from..][..len];
            let (a, b, c, d) = (line(0), line(1), line(2), line(3));
            let f = i - from;
            let (fa, fb, fc, fd) = (a[f], b[f], c[f], d[f]);
            for x in 0..len {
                row[x] += (fa * a[x] + fb * b[x]) + (fc * c[x] + fd * d[x]);
            }
        }
    }
}

/// The sums over the points of a row: `Σ w h hᵀ` `[rank, rank]` and `Σ w h ∘ Bᵀe` `[rank]`.
struct Sums<'a> {
    work: &'a Work<'a>,
    others: &'a [&'a Factor],
    basis: &'a [f32],
    points: &'a [u32],
}

impl WithSimd for Sums<'_> {
    type Output = (Vec<f32>, Vec<f64>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Self::Output {
        let Work { wanted, rank, width, said, .. } = self.work;
        let (rank, width) = (*rank, *width);
        let (mut outer, mut right) = (vec![0.0; rank * rank], vec![0.0_f32; rank]);
        let (mut block, mut q) = (vec![0.0_f32; BLOCK * rank], vec![0.0_f32; rank]);
        for points in self.points.chunks(BLOCK) {
            block[points.len() * rank..].fill(0.0);
            for (&point, h) in points.iter().zip(block.chunks_exact_mut(rank)) {
                let point = point as usize;
                multiply(self.others, wanted.at[point], h);
                q.fill(0.0);
                for k in 0..width {
                    let e = missing(wanted.values[point * width + k], said[point * width + k], wanted.held);
                    let row = &self.basis[k * rank..][..rank];
                    for i in 0..rank {
                        q[i] += e * row[i];
                    }
                }
                let (weight, root) = (wanted.weight[point], wanted.weight[point].sqrt());
                for i in 0..rank {
                    right[i] += weight * h[i] * q[i];
                    h[i] *= root;
                }
            }
            add_outer(&mut outer, &block, rank);
        }
        (outer, right.into_iter().map(f64::from).collect())
    }
}

/// The sums over points for the basis: `Σ w p pᵀ` and `Σ w p eᵀ` of all modes' products `p`.
struct BasisSums<'a> {
    work: &'a Work<'a>,
    points: Range<usize>,
}

impl WithSimd for BasisSums<'_> {
    type Output = (Vec<f32>, Vec<f32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Self::Output {
        let Work { wanted, rank, width, said, modes, .. } = self.work;
        let (rank, width) = (*rank, *width);
        let products = modes.len() * rank;
        let modes: Vec<Vec<&Factor>> = modes.iter().map(|m| m.iter().collect()).collect();
        let (mut outer, mut right) = (vec![0.0; products * products], vec![0.0_f32; products * width]);
        let mut block = vec![0.0_f32; BLOCK * products];
        let mut e = vec![0.0_f32; width];
        let end = self.points.end;
        for first in self.points.step_by(BLOCK) {
            block.fill(0.0);
            for (point, p) in (first..(first + BLOCK).min(end)).zip(block.chunks_exact_mut(products)) {
                for (factors, p) in modes.iter().zip(p.chunks_exact_mut(rank)) {
                    multiply(factors, wanted.at[point], p);
                }
                let (weight, root) = (wanted.weight[point], wanted.weight[point].sqrt());
                for k in 0..width {
                    e[k] = weight * missing(wanted.values[point * width + k], said[point * width + k], wanted.held);
                }
                for (p, right) in p.iter_mut().zip(right.chunks_exact_mut(width)) {
                    for k in 0..width {
                        right[k] += *p * e[k];
                    }
                    *p *= root;
                }
            }
            add_outer(&mut outer, &block, products);
        }
        (outer, right)
    }
}

/// What a mode says, or what a change of one of its factors adds to that.
struct Say<'a> {
    others: &'a [&'a Factor],
    /// The factor that is not among the others: its change `[rows, rank]`, and from a grid point to its row.
    own: Option<(&'a [f32], [usize; 3])>,
    basis: &'a [f32],
    rank: usize,
    width: usize,
}

impl Say<'_> {
    fn add_to(&self, at: &[[u16; 3]], said: &mut [f32]) {
        let tier = Tier::best();
        // `[rank, width]`: what one product adds to all values is one vector.
        let across: Vec<f32> =
            (0..self.rank * self.width).map(|i| self.basis[i % self.width * self.rank + i / self.width]).collect();
        at.par_chunks(TASK).zip(said.par_chunks_mut(TASK * self.width)).for_each(|(at, said)| {
            tier.run(SayOf { say: self, across: &across, at, said });
        });
    }
}

struct SayOf<'a> {
    say: &'a Say<'a>,
    across: &'a [f32],
    at: &'a [[u16; 3]],
    said: &'a mut [f32],
}

impl WithSimd for SayOf<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (rank, width) = (self.say.rank, self.say.width);
        let mut h = vec![0.0_f32; rank];
        for (at, said) in self.at.iter().zip(self.said.chunks_exact_mut(width)) {
            multiply(self.say.others, *at, &mut h);
            if let Some((change, strides)) = self.say.own {
                let row: usize = (0..3).map(|a| usize::from(at[a]) * strides[a]).sum();
                let change = &change[row * rank..][..rank];
                for i in 0..rank {
                    h[i] *= change[i];
                }
            }
            for (h, row) in h.iter().zip(self.across.chunks_exact(width)) {
                for k in 0..width {
                    said[k] += h * row[k];
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
