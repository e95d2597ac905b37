//! The map on a CPU: a strip of rows at a time goes through one product of matrices and, while a cache holds it, through
//! the activation.

use rayon::prelude::*;

use super::Act;
use crate::ops::gemm::{Finish, Left, PAD, Product, Right, Start, packed};
use crate::ops::simd::Tier;
use crate::parts::fast_math::{exp, vectorised};

/// Rows of a strip: whole tiles of a product.
const STRIP: usize = 48;
/// Blocks that the gradient of the weights is summed in, whatever the number of threads.
const BLOCKS: usize = 16;

/// `y [n, o]` of `x [n, i]`, `w [i, o]` and `b [o]`.
pub fn forward(act: Act, inputs: [&[f32]; 3], y: &mut [f32]) {
    forward_with(Tier::best(), act, inputs, y);
}

pub(super) fn forward_with(tier: Tier, act: Act, [x, w, b]: [&[f32]; 3], y: &mut [f32]) {
    let o = b.len();
    let i = w.len() / o;
    let weights = packed(tier, i, o, |row, column| w[row * o + column]);
    let mut bias = b.to_vec();
    bias.resize(o.next_multiple_of(PAD), 0.0);
    product(tier, (x, i), (&weights, Start::Bias(&bias)), o, y);
    if act == Act::Silu {
        y.par_chunks_mut(STRIP * o).for_each(|y| {
            vectorised(
                #[inline(always)]
                || y.iter_mut().for_each(|y| *y /= 1.0 + exp(-*y)),
            );
        });
    }
}

/// `y [n, o] = start + x [n, i] · weights`, strip by strip.
fn product(tier: Tier, (x, i): (&[f32], usize), (weights, start): (&[f32], Start<'_>), o: usize, y: &mut [f32]) {
    let padded = o.next_multiple_of(PAD);
    y.par_chunks_mut(STRIP * o).zip(x.par_chunks(STRIP * i)).for_each_init(
        || vec![0.0; if padded == o { 0 } else { STRIP * padded }],
        |out, (y, x)| {
            let m = y.len() / o;
            let direct = padded == o;
            let c = if direct { &mut *y } else { &mut out[..m * padded] };
            let (a, b) = (Left::Rows(x, i), Right::Packed(weights));
            tier.run(Product { shape: [m, i, o], a, b, c, c_row: padded, start, finish: Finish::Keep });
            if !direct {
                y.chunks_exact_mut(o).zip(out.chunks_exact(padded)).for_each(|(y, out)| y.copy_from_slice(&out[..o]));
            }
        },
    );
}

/// The gradients of `x`, `w` and `b` that are wanted, given that of `y`.
pub fn backward(act: Act, [x, w, b]: [&[f32]; 3], grad: &[f32], wanted: [bool; 3]) -> [Option<Vec<f32>>; 3] {
    let (tier, o) = (Tier::best(), b.len());
    let i = w.len() / o;
    let sloped = (act == Act::Silu).then(|| {
        let mut z = vec![0.0; grad.len()];
        forward_with(tier, Act::None, [x, w, b], &mut z);
        z.par_chunks_mut(STRIP * o).zip(grad.par_chunks(STRIP * o)).for_each(|(z, grad)| {
            vectorised(
                #[inline(always)]
                || {
                    for (z, grad) in z.iter_mut().zip(grad) {
                        let sigmoid = (1.0 + exp(-*z)).recip();
                        *z = grad * sigmoid * (1.0 + *z * (1.0 - sigmoid));
                    }
                },
            );
        });
        z
    });
    let grad = sloped.as_deref().unwrap_or(grad);
    let of_x = wanted[0].then(|| {
        let turned = packed(tier, o, i, |row, column| w[column * o + row]);
        let mut of_x = vec![0.0; x.len()];
        product(tier, (grad, o), (&turned, Start::Zero), i, &mut of_x);
        of_x
    });
    let of_w = wanted[1].then(|| weights_gradient(tier, (x, i), (grad, o)));
    let of_b = wanted[2].then(|| {
        let mut of_b = vec![0.0; o];
        grad.chunks_exact(o).for_each(|row| of_b.iter_mut().zip(row).for_each(|(sum, g)| *sum += g));
        of_b
    });
    [of_x, of_w, of_b]
}

/// `xᵀ · grad`, `[i, o]`, summed in blocks of rows.
fn weights_gradient(tier: Tier, (x, i): (&[f32], usize), (grad, o): (&[f32], usize)) -> Vec<f32> {
    let padded = o.next_multiple_of(PAD);
    let block = (x.len() / i).div_ceil(BLOCKS).max(1);
    let one = |(x, grad): (&[f32], &[f32])| {
        let m = x.len() / i;
        let mut wide = Vec::new();
        if padded != o {
            wide = vec![0.0; m * padded];
            wide.chunks_exact_mut(padded)
                .zip(grad.chunks_exact(o))
                .for_each(|(to, from)| to[..o].copy_from_slice(from));
        }
        let mut sum = vec![0.0; i * padded];
        let b = Right::Rows(if padded == o { grad } else { &wide }, padded);
        let a = Left::Columns(x, i);
        tier.run(Product {
            shape: [i, m, o],
            a,
            b,
            c: &mut sum,
            c_row: padded,
            start: Start::Zero,
            finish: Finish::Keep,
        });
        sum
    };
    let sums: Vec<_> = x.par_chunks(block * i).zip(grad.par_chunks(block * o)).map(one).collect();
    let mut all = vec![0.0; i * o];
    for sum in sums {
        for (to, from) in all.chunks_exact_mut(o).zip(sum.chunks_exact(padded)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
    all
}
