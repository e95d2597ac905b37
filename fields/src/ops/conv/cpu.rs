//! The convolution on a CPU: the nine neighbours of a strip of pixels are laid side by side, then one product of
//! matrices of the size of a cache does the rest. A strip of 64 pixels of 64 channels is 144 KiB so laid out, which
//! a second-level cache holds; the picture itself is never unfolded in memory.

use rayon::prelude::*;

use crate::ops::gemm::{Finish, Left, PAD, Product, Right, Start, packed};
use crate::ops::simd::Tier;

/// Pixels of a strip, at least one row of a picture.
const STRIP: usize = 64;

/// Rows of a picture that a strip takes.
fn strip_rows(side: usize) -> usize {
    (STRIP / side).clamp(1, side)
}

/// Lays the neighbours of the pixels of `rows` rows from `first` side by side: `[rows·side, 9·c]`.
fn unfold(side: usize, picture: &[f32], c: usize, first: usize, rows: usize, out: &mut [f32]) {
    for y in 0..rows {
        for x in 0..side {
            let out = &mut out[(y * side + x) * 9 * c..][..9 * c];
            for dy in 0..3 {
                let Some(row) = (first + y + dy).checked_sub(1).filter(|row| *row < side) else {
                    out[3 * dy * c..3 * (dy + 1) * c].fill(0.0);
                    continue;
                };
                // Three neighbours of a row lie side by side in the picture as well.
                let (low, high) = (x.saturating_sub(1), (x + 2).min(side));
                let skipped = usize::from(x == 0);
                let out = &mut out[3 * dy * c..3 * (dy + 1) * c];
                out[..skipped * c].fill(0.0);
                out[skipped * c..(skipped + high - low) * c]
                    .copy_from_slice(&picture[(row * side + low) * c..(row * side + high) * c]);
                out[(skipped + high - low) * c..].fill(0.0);
            }
        }
    }
}

/// `y [n·side², o]` of `x [n·side², i]`, `w [9·i, o]` and `b [o]`.
pub fn forward(side: usize, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    forward_with(Tier::best(), side, x, w, b, y);
}

pub(super) fn forward_with(tier: Tier, side: usize, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    let o = b.len();
    let taps = w.len() / o;
    let weights = packed(tier, taps, o, |row, column| w[row * o + column]);
    let mut bias = b.to_vec();
    bias.resize(o.next_multiple_of(PAD), 0.0);
    convolve(tier, side, x, taps / 9, &weights, Start::Bias(&bias), o, y);
}

/// The gradient of `x`, which is overwritten. A convolution of the output's gradient with the weights
/// turned by half a turn.
pub fn grad_x(side: usize, w: &[f32], o: usize, grad: &[f32], grad_x: &mut [f32]) {
    let tier = Tier::best();
    let i = w.len() / o / 9;
    let weights = packed(tier, 9 * o, i, |row, column| w[((8 - row / o) * i + column) * o + row % o]);
    convolve(tier, side, grad, o, &weights, Start::Zero, i, grad_x);
}

fn convolve(tier: Tier, side: usize, x: &[f32], c: usize, weights: &[f32], start: Start<'_>, o: usize, y: &mut [f32]) {
    let (pixels, rows) = (side * side, strip_rows(side));
    let padded = o.next_multiple_of(PAD);
    y.par_chunks_mut(pixels * o).zip(x.par_chunks(pixels * c)).for_each_init(
        || (vec![0.0; rows * side * 9 * c], vec![0.0; rows * side * padded]),
        |(unfolded, out), (y, x)| {
            for first in (0..side).step_by(rows) {
                let rows = rows.min(side - first);
                unfold(side, x, c, first, rows, unfolded);
                let m = rows * side;
                let y = &mut y[first * side * o..][..m * o];
                let direct = padded == o;
                let target = if direct { &mut *y } else { &mut out[..m * padded] };
                tier.run(Product {
                    shape: [m, 9 * c, o],
                    a: Left::Rows(unfolded, 9 * c),
                    b: Right::Packed(weights),
                    c: target,
                    c_row: padded,
                    start,
                    finish: Finish::Keep,
                });
                if !direct {
                    y.chunks_exact_mut(o)
                        .zip(out.chunks_exact(padded))
                        .for_each(|(y, out)| y.copy_from_slice(&out[..o]));
                }
            }
        },
    );
}

/// The gradient of the weights `[9·i, o]`, added to `grad_w`. Pictures are summed in blocks that depend on their number
/// alone, so the result does not depend on the number of threads.
pub fn grad_w(side: usize, x: &[f32], grad: &[f32], o: usize, grad_w: &mut [f32]) {
    let pixels = side * side;
    let i = grad_w.len() / 9 / o;
    let (n, padded) = (x.len() / (pixels * i), o.next_multiple_of(PAD));
    let per_block = n.div_ceil(16).max(1);
    let tier = Tier::best();
    let rows = strip_rows(side);
    let sums: Vec<Vec<f32>> = x
        .par_chunks(per_block * pixels * i)
        .zip(grad.par_chunks(per_block * pixels * o))
        .map(|(x, grad)| {
            let mut sum = vec![0.0; 9 * i * padded];
            let mut unfolded = vec![0.0; rows * side * 9 * i];
            let mut right = vec![0.0; rows * side * padded];
            for (x, grad) in x.chunks_exact(pixels * i).zip(grad.chunks_exact(pixels * o)) {
                for first in (0..side).step_by(rows) {
                    let rows = rows.min(side - first);
                    let m = rows * side;
                    unfold(side, x, i, first, rows, &mut unfolded);
                    let grad = &grad[first * side * o..][..m * o];
                    right
                        .chunks_exact_mut(padded)
                        .zip(grad.chunks_exact(o))
                        .for_each(|(r, g)| r[..o].copy_from_slice(g));
                    tier.run(Product {
                        shape: [9 * i, m, o],
                        a: Left::Columns(&unfolded, 9 * i),
                        b: Right::Rows(&right, padded),
                        c: &mut sum,
                        c_row: padded,
                        start: Start::Add,
                        finish: Finish::Keep,
                    });
                }
            }
            sum
        })
        .collect();
    for sum in sums {
        let rows = grad_w.chunks_exact_mut(o).zip(sum.chunks_exact(padded));
        rows.for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
    }
}
