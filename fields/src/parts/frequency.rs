//! Positional encoding of `NeRF` (Mildenhall et al. 2020, eq. 4) in the order of nerf-pytorch:
//! `[x, sin(x), cos(x), sin(2x), cos(2x), …, sin(2^(K-1) x), cos(2^(K-1) x)]`, each entry for all three coordinates.
//!
//! There is no factor π. The multiplication by `2^k` is exact, so every frequency is as accurate as the first:
//! 2e-7, for `|2^k x| < 3000`.

use super::fast_math::{sin_cos, vectorised};
use rayon::prelude::*;

/// The most frequencies that can be asked for.
pub const MAX_FREQUENCIES: usize = 16;

/// The width of a row with the most frequencies.
const WIDEST: usize = width(MAX_FREQUENCIES);
const CHUNK: usize = 512;

/// The width of an encoded row: 63 for 10 frequencies, 27 for 4.
pub const fn width(frequencies: usize) -> usize {
    3 + 6 * frequencies
}

/// Encodes `x [n, 3]` to `out [n, width(frequencies)]`.
pub fn encode(x: &[f32], frequencies: usize, out: &mut [f32]) {
    check(x.len(), frequencies, out.len());
    let width = width(frequencies);
    out.par_chunks_mut(CHUNK * width).zip(x.par_chunks(CHUNK * 3)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, x) in out.chunks_exact_mut(width).zip(x.as_chunks::<3>().0) {
                    encode_row(x, frequencies, row);
                }
            },
        );
    });
}

/// One point: all its sines and cosines at once, in lanes.
#[inline(always)]
fn encode_row(x: &[f32; 3], frequencies: usize, row: &mut [f32]) {
    let (mut angle, mut sine, mut cosine) = ([0.0; 64], [0.0; 64], [0.0; 64]);
    let mut scaled = *x;
    for three in angle.as_chunks_mut::<3>().0.iter_mut().take(frequencies) {
        *three = scaled;
        scaled = scaled.map(|v| v + v);
    }
    // Whole lanes: the few entries too many are zeros.
    let lanes = (3 * frequencies).next_multiple_of(16);
    for ((a, s), c) in angle[..lanes].iter().zip(&mut sine[..lanes]).zip(&mut cosine[..lanes]) {
        (*s, *c) = sin_cos(*a);
    }
    let (identity, rest) = row.split_at_mut(3);
    identity.copy_from_slice(x);
    let pairs = sine.as_chunks::<3>().0.iter().zip(cosine.as_chunks::<3>().0);
    for (six, (s, c)) in rest.as_chunks_mut::<6>().0.iter_mut().zip(pairs) {
        *six = [s[0], s[1], s[2], c[0], c[1], c[2]];
    }
}

/// The gradient to `x [n, 3]` from `grad_out [n, width(frequencies)]`.
pub fn encode_backward(x: &[f32], frequencies: usize, grad_out: &[f32], grad_x: &mut [f32]) {
    check(x.len(), frequencies, grad_out.len());
    assert_eq!(x.len(), grad_x.len(), "grad_x has the shape of x");
    let width = width(frequencies);
    let parts = x.par_chunks(CHUNK * 3).zip(grad_out.par_chunks(CHUNK * width));
    grad_x.par_chunks_mut(CHUNK * 3).zip(parts).for_each(|(grad_x, (x, grad))| {
        vectorised(
            #[inline(always)]
            || {
                let mut encoded = [0.0; WIDEST];
                let rows = x.as_chunks::<3>().0.iter().zip(grad.chunks_exact(width));
                for (out, (x, g)) in grad_x.as_chunks_mut::<3>().0.iter_mut().zip(rows) {
                    encode_row(x, frequencies, &mut encoded[..width]);
                    // The slope of every sine is the cosine beside it times 2^k, and of every cosine minus the sine.
                    let (mut sum, mut scale) = ([g[0], g[1], g[2]], 1.0);
                    for (e, g) in encoded[3..].as_chunks::<6>().0.iter().zip(g[3..].as_chunks::<6>().0) {
                        for c in 0..3 {
                            sum[c] += scale * (g[c] * e[c + 3] - g[c + 3] * e[c]);
                        }
                        scale += scale;
                    }
                    *out = sum;
                }
            },
        );
    });
}

fn check(x: usize, frequencies: usize, out: usize) {
    assert!(frequencies <= MAX_FREQUENCIES, "at most {MAX_FREQUENCIES} frequencies, not {frequencies}");
    assert_eq!(x % 3, 0, "x is [n, 3]");
    assert_eq!(x / 3 * width(frequencies), out, "the encoding is [n, {}]", width(frequencies));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The definition, in double precision.
    fn reference(x: &[f32], frequencies: usize) -> Vec<f64> {
        let mut out = Vec::new();
        for point in x.chunks_exact(3) {
            out.extend(point.iter().map(|&v| f64::from(v)));
            for k in 0..frequencies {
                let scale = f64::from(1_u32 << k);
                out.extend(point.iter().map(|&v| (scale * f64::from(v)).sin()));
                out.extend(point.iter().map(|&v| (scale * f64::from(v)).cos()));
            }
        }
        out
    }

    fn points(n: usize) -> Vec<f32> {
        let mut rng = Rng::new(8, "frequency");
        (0..3 * n).map(|_| rng.range(-2.0, 2.0)).collect()
    }

    #[test]
    fn it_is_the_definition_at_every_frequency() {
        for frequencies in [0, 1, 4, 10] {
            let x = points(1500);
            let mut out = vec![f32::NAN; 1500 * width(frequencies)];
            encode(&x, frequencies, &mut out);
            let truth = reference(&x, frequencies);
            let worst = out.iter().zip(&truth).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 3e-7, "{frequencies} frequencies: {worst:e}");
            // The negative control: sine and cosine exchanged.
            if frequencies > 0 {
                let swapped = (f64::from(out[3]) - truth[6]).abs();
                assert!(swapped > 1e-3, "{swapped}");
            }
        }
        encode(&[], 10, &mut []);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (n, frequencies) = (40, 10);
        let x = points(n);
        let w = width(frequencies);
        let mut rng = Rng::new(9, "frequency");
        let grad_out: Vec<f32> = (0..n * w).map(|_| rng.normal()).collect();
        let mut grad = vec![0.0; 3 * n];
        encode_backward(&x, frequencies, &grad_out, &mut grad);
        for i in 0..3 * n {
            let row = i / 3;
            let value = |at: f32| {
                let mut point = x[3 * row..3 * row + 3].to_vec();
                point[i % 3] = at;
                let e = reference(&point, frequencies);
                e.iter().zip(&grad_out[row * w..]).map(|(e, g)| e * f64::from(*g)).sum::<f64>()
            };
            let (above, below) = (x[i] + 1e-5, x[i] - 1e-5);
            let numeric = (value(above) - value(below)) / f64::from(above - below);
            assert!((f64::from(grad[i]) - numeric).abs() < 2e-2 + 1e-4 * numeric.abs(), "{i}: {} {numeric}", grad[i]);
        }
    }
}
