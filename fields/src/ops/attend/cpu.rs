//! Attention on a CPU: a strip of queries has its scores against all keys of its group, their softmax and the weighted
//! values while they lie in a cache; the matrix of all scores is never held (Rabe and Staats 2021). The way back makes a
//! strip's scores again.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Groups;
use crate::ops::gemm::{Finish, Left, PAD, Product, Right, Start, packed};
use crate::ops::simd::Tier;
use crate::parts::fast_math::exp;

/// Scores of a strip, 128 KiB of them, and the most and fewest queries: whole tiles of a product.
const STRIP: usize = 1 << 15;
const QUERIES: (usize, usize) = (12, 48);

/// The sizes of one head in one group.
#[derive(Clone, Copy)]
struct Head {
    /// Queries and keys.
    t: usize,
    u: usize,
    /// Channels of all heads, of one, and the latter padded to whole vectors.
    width: usize,
    d: usize,
    padded: usize,
    /// Keys padded to whole vectors.
    keys: usize,
    causal: bool,
    tier: Tier,
}

impl Head {
    fn of(Groups { groups, heads, causal }: Groups, width: usize, [q, k]: [&[f32]; 2], tier: Tier) -> Self {
        let (t, u, d) = (q.len() / width / groups, k.len() / width / groups, width / heads);
        Self { t, u, width, d, padded: d.next_multiple_of(PAD), keys: u.next_multiple_of(PAD), causal, tier }
    }

    fn strip(&self) -> usize {
        (STRIP / self.u).clamp(QUERIES.0, QUERIES.1)
    }

    /// Keys or values of the head, `[d, u]`, packed as a right factor.
    fn packed_turned(&self, rows: &[f32], head: usize) -> Vec<f32> {
        packed(self.tier, self.d, self.u, |channel, key| rows[key * self.width + head * self.d + channel])
    }

    /// The same, `[u, d]`.
    fn packed(&self, rows: &[f32], head: usize) -> Vec<f32> {
        packed(self.tier, self.u, self.d, |key, channel| rows[key * self.width + head * self.d + channel])
    }

    fn product(&self, shape: [usize; 3], a: Left<'_>, b: Right<'_>, start: Start<'_>, (c, c_row): (&mut [f32], usize)) {
        self.tier.run(Product { shape, a, b, c, c_row, start, finish: Finish::Keep });
    }

    /// What `m` queries from `first` on make of the keys `[d, u]`: the shares `[m, u]` in rows of `keys`, not yet
    /// divided by their sums, which are given back.
    fn shares(&self, q: &[f32], (head, first, m): (usize, usize, usize), k: &[f32], shares: &mut [f32]) -> Vec<f32> {
        let q = Left::Rows(&q[first * self.width + head * self.d..], self.width);
        self.product([m, self.d, self.u], q, Right::Packed(k), Start::Zero, (&mut *shares, self.keys));
        let scale = (self.d as f32).sqrt().recip();
        let rows = shares.chunks_exact_mut(self.keys).take(m).enumerate();
        let softmax = |(i, row): (usize, &mut [f32])| {
            let seen = if self.causal { (first + i + 1).min(self.u) } else { self.u };
            row[seen..].fill(0.0);
            self.tier.run(Softmax { row: &mut row[..seen], scale })
        };
        rows.map(softmax).collect()
    }
}

/// `exp(scale · (x − max x))` in place; gives their sum.
struct Softmax<'a> {
    row: &'a mut [f32],
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f32 {
        // Sixteen sums side by side: one alone would wait for itself at every step. A maximum that passes a NaN over is
        // no matter, the NaN's own exponential is one.
        let mut most = [f32::MIN; PAD];
        for row in self.row.chunks(PAD) {
            most.iter_mut().zip(row).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
        }
        let most = most.into_iter().fold(f32::MIN, f32::max);
        let mut sums = [0.0; PAD];
        for row in self.row.chunks_mut(PAD) {
            for (x, sum) in row.iter_mut().zip(&mut sums) {
                *x = exp((*x - most) * self.scale);
                *sum += *x;
            }
        }
        sums.iter().sum()
    }
}

/// `y [b·t, c]` of `q [b·t, c]`, `k` and `v` `[b·u, c]`.
pub fn forward(groups: Groups, width: usize, inputs: [&[f32]; 3], y: &mut [f32]) {
    forward_with(Tier::best(), groups, width, inputs, y);
}

pub(super) fn forward_with(tier: Tier, groups: Groups, width: usize, [q, k, v]: [&[f32]; 3], y: &mut [f32]) {
    let head = Head::of(groups, width, [q, k], tier);
    let (queries, keys) = (head.t * width, head.u * width);
    let packed = |of: usize| {
        let (k, v) = (&k[of / groups.heads * keys..][..keys], &v[of / groups.heads * keys..][..keys]);
        (head.packed_turned(k, of % groups.heads), head.packed(v, of % groups.heads))
    };
    let packed: Vec<_> = (0..groups.groups * groups.heads).into_par_iter().map(packed).collect();
    let strip = head.strip();
    let strips = y.par_chunks_mut(queries).zip(q.par_chunks(queries)).zip(packed.par_chunks(groups.heads));
    strips.for_each(|((y, q), packed)| {
        y.par_chunks_mut(strip * width).enumerate().for_each_init(
            || (vec![0.0; strip * head.keys], vec![0.0; strip * head.padded]),
            |(shares, out), (at, y)| {
                let (first, m) = (at * strip, y.len() / width);
                for (h, (k, v)) in packed.iter().enumerate() {
                    let sums = head.shares(q, (h, first, m), k, shares);
                    let left = Left::Rows(shares, head.keys);
                    let shape = [m, head.u, head.d];
                    head.product(shape, left, Right::Packed(v), Start::Zero, (&mut *out, head.padded));
                    for ((y, out), sum) in y.chunks_exact_mut(width).zip(out.chunks_exact(head.padded)).zip(sums) {
                        let share = sum.recip();
                        let y = &mut y[h * head.d..][..head.d];
                        y.iter_mut().zip(out).for_each(|(y, out)| *y = out * share);
                    }
                }
            },
        );
    });
}

/// The gradients of `q`, `k` and `v`, given that of `y`. Every head of every group is summed by itself, so the result
/// does not depend on the number of threads.
pub fn backward(groups: Groups, width: usize, [q, k, v]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
    let head = Head::of(groups, width, [q, k], Tier::best());
    let (queries, keys) = (head.t * width, head.u * width);
    let one = |of: usize| {
        let (group, h) = (of / groups.heads, of % groups.heads);
        let (q, grad) = (&q[group * queries..][..queries], &grad[group * queries..][..queries]);
        let (k, v) = (&k[group * keys..][..keys], &v[group * keys..][..keys]);
        head_backward(head, h, [q, k, v], grad)
    };
    let heads: Vec<_> = (0..groups.groups * groups.heads).into_par_iter().map(one).collect();
    let mut all = [q, k, v].map(|x| vec![0.0; x.len()]);
    for (which, all) in all.iter_mut().enumerate() {
        let rows = if which == 0 { head.t } else { head.u };
        all.par_chunks_mut(rows * width).zip(heads.par_chunks(groups.heads)).for_each(|(all, heads)| {
            for (h, parts) in heads.iter().enumerate() {
                for (to, from) in all.chunks_exact_mut(width).zip(parts[which].chunks_exact(head.padded)) {
                    to[h * head.d..][..head.d].copy_from_slice(&from[..head.d]);
                }
            }
        });
    }
    all
}

/// One head's gradients in rows of `padded` values.
fn head_backward(head: Head, h: usize, [q, k, v]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
    let Head { t, u, width, d, padded, keys, .. } = head;
    let (keys_turned, values_turned) = (head.packed_turned(k, h), head.packed_turned(v, h));
    let packed_keys = head.packed(k, h);
    let mut grads = [t, u, u].map(|rows| vec![0.0; rows * padded]);
    let strip = head.strip();
    let [mut shares, mut slopes] = [(); 2].map(|()| vec![0.0; strip * keys]);
    let [mut asked, mut wanted] = [(); 2].map(|()| vec![0.0; strip * padded]);
    let scale = (d as f32).sqrt().recip();
    for first in (0..t).step_by(strip) {
        let m = strip.min(t - first);
        let sums = head.shares(q, (h, first, m), &keys_turned, &mut shares);
        for i in 0..m {
            let row = (first + i) * width + h * d;
            asked[i * padded..][..d].copy_from_slice(&q[row..][..d]);
            wanted[i * padded..][..d].copy_from_slice(&grad[row..][..d]);
        }
        let rows = shares.chunks_exact_mut(keys).zip(&sums);
        rows.for_each(|(row, sum)| row.iter_mut().for_each(|p| *p /= sum));
        // dv += pᵀ dy, dp = dy vᵀ, ds = p (dp − Σ p dp) / √d, dq = ds k, dk += dsᵀ q.
        let right = Right::Rows(&wanted, padded);
        head.product([u, m, d], Left::Columns(&shares, keys), right, Start::Add, (&mut grads[2], padded));
        let left = Left::Rows(&wanted, padded);
        head.product([m, d, u], left, Right::Packed(&values_turned), Start::Zero, (&mut slopes, keys));
        for (slopes, shares) in slopes.chunks_exact_mut(keys).zip(shares.chunks_exact(keys)).take(m) {
            let (slopes, shares) = (&mut slopes[..u], &shares[..u]);
            let mean: f32 = slopes.iter().zip(shares).map(|(s, p)| s * p).sum();
            slopes.iter_mut().zip(shares).for_each(|(s, p)| *s = p * (*s - mean) * scale);
        }
        let own = &mut grads[0][first * padded..];
        head.product([m, u, d], Left::Rows(&slopes, keys), Right::Packed(&packed_keys), Start::Zero, (own, padded));
        let right = Right::Rows(&asked, padded);
        head.product([u, m, d], Left::Columns(&slopes, keys), right, Start::Add, (&mut grads[1], padded));
    }
    grads
}
