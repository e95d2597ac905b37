//! Element-wise kernels: the log-density clamp, the truncated exponential, the two encodings of positions and
//! directions, and the two that take block 1's output apart and put block 2's input together.

use burn::tensor::Tensor;
use glam::Vec3;
use rayon::prelude::*;

use crate::device;
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply1, apply2};
use crate::parts::{frequency, sh, trunc_exp as exponential};

const CHUNK: usize = 16_384;
/// Rows of a matrix that one task takes.
const ROWS: usize = 1024;

/// Clamps to a range, passing the gradient on inside it and, at its ends, where it leads back in. A plain clamp would
/// leave a density that has once run out of the range without a gradient for ever.
#[derive(Debug)]
pub(super) struct ClampInward {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Kernel for ClampInward {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        output.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(o, x)| *o = x.clamp(self.low, self.high));
        });
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(result) = &mut grads[0] else { return };
        result.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).zip(grad.par_chunks(CHUNK)).for_each(
            |((out, x), g)| {
                for ((o, &x), &g) in out.iter_mut().zip(x).zip(g) {
                    let inside = (x >= self.low || g < 0.0) && (x <= self.high || g > 0.0);
                    *o += if inside { g } else { 0.0 };
                }
            },
        );
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// `max(low, min(high, x))` of `x` `[n, c]`, with a gradient that leads back into the range.
pub fn clamp_inward(x: Tensor<2>, low: f32, high: f32) -> Tensor<2> {
    apply1(x, ClampInward { low, high })
}

/// `exp(x)` whose gradient is `exp` of the argument clamped to ±12, so that one bad value cannot blow up a step.
#[derive(Debug)]
pub(super) struct TruncExp;

/// The truncation of the backward pass, as in PVD's and torch-ngp's `trunc_exp`.
pub(super) const TRUNCATION: f32 = exponential::GRADIENT_LIMIT;
/// The argument is clamped apart.
const ANY: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl Kernel for TruncExp {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        exponential::forward(inputs[0], ANY, output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        if let Some(result) = &mut grads[0] {
            exponential::backward(inputs[0], grad, ANY, result);
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Truncated exponential of `x` `[n, c]`.
pub fn trunc_exp(x: Tensor<2>) -> Tensor<2> {
    apply1(x, TruncExp)
}

/// Spherical harmonics of a unit direction, bands 0 to 3.
#[derive(Debug)]
pub(super) struct ShEncode;

impl Kernel for ShEncode {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], 16]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        sh::sh_encode(inputs[0], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        if let Some(result) = &mut grads[0] {
            sh::sh_encode_backward(inputs[0], grad, result);
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Unit directions `[n, 3]` to the 16 real spherical harmonics of bands 0 to 3, `[n, 16]`.
pub fn sh_encode(d: Tensor<2>) -> Tensor<2> {
    apply1(d, ShEncode)
}

/// The positional encoding of `NeRF`.
#[derive(Debug)]
pub(super) struct FrequencyEncode {
    pub(super) octaves: usize,
}

impl Kernel for FrequencyEncode {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], 3 + 6 * self.octaves]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        frequency::encode(inputs[0], self.octaves, output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        if let Some(result) = &mut grads[0] {
            frequency::encode_backward(inputs[0], self.octaves, grad, result);
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Positions `[n, 3]` to `[x, sin 2ᵏx, cos 2ᵏx]` for `k < octaves`, `[n, 3 + 6 · octaves]`.
pub fn frequency_encode(x: Tensor<2>, octaves: usize) -> Tensor<2> {
    apply1(x, FrequencyEncode { octaves })
}

/// Some columns of a matrix. Burn's slice is the same; its gradient is several passes of one thread.
#[derive(Debug)]
struct Columns {
    first: usize,
    count: usize,
    /// Columns of the input.
    of: usize,
}

impl Kernel for Columns {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.count]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let rows = output.par_chunks_mut(ROWS * self.count).zip(inputs[0].par_chunks(ROWS * self.of));
        rows.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(self.count).zip(x.chunks_exact(self.of)) {
                out.copy_from_slice(&x[self.first..][..self.count]);
            }
        });
        None
    }

    fn backward(&self, _inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(result) = &mut grads[0] else { return };
        let rows = result.par_chunks_mut(ROWS * self.of).zip(grad.par_chunks(ROWS * self.count));
        rows.for_each(|(out, grad)| {
            for (out, grad) in out.chunks_exact_mut(self.of).zip(grad.chunks_exact(self.count)) {
                out[self.first..][..self.count].copy_from_slice(grad);
            }
        });
    }
}

/// The columns `first..first + count` of `x` `[n, c]`; at least one.
pub fn columns(x: Tensor<2>, first: usize, count: usize) -> Tensor<2> {
    let [n, of] = x.dims();
    if device::is_cpu(&x.device()) {
        return apply1(x, Columns { first, count, of });
    }
    x.slice([0..n, first..first + count])
}

/// A matrix beside the spherical harmonics of a direction, in one pass.
#[derive(Debug)]
struct BesideSh {
    /// Columns of the matrix.
    width: usize,
}

impl Kernel for BesideSh {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.width + sh::COUNT]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let parts = inputs[0].par_chunks(ROWS * self.width).zip(inputs[1].par_chunks(ROWS * 3));
        output.par_chunks_mut(ROWS * (self.width + sh::COUNT)).zip(parts).for_each(|(out, (x, d))| {
            let mut last = Vec3::NAN;
            let mut basis = [0.0; sh::COUNT];
            let rows = x.chunks_exact(self.width).zip(d.as_chunks::<3>().0);
            for (out, (x, &d)) in out.chunks_exact_mut(self.width + sh::COUNT).zip(rows) {
                let d = Vec3::from(d);
                // The samples of a ray follow each other and share its direction.
                if d != last {
                    (last, basis) = (d, sh::eval_basis(3, d));
                }
                out[..self.width].copy_from_slice(x);
                out[self.width..].copy_from_slice(&basis);
            }
        });
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let both = self.width + sh::COUNT;
        if let Some(result) = &mut grads[0] {
            result.par_chunks_mut(ROWS * self.width).zip(grad.par_chunks(ROWS * both)).for_each(|(out, grad)| {
                for (out, grad) in out.chunks_exact_mut(self.width).zip(grad.chunks_exact(both)) {
                    out.copy_from_slice(&grad[..self.width]);
                }
            });
        }
        if let Some(result) = &mut grads[1] {
            let rows = inputs[1].par_chunks(3).zip(grad.par_chunks(both));
            result.par_chunks_mut(3).zip(rows).with_min_len(ROWS).for_each(|(out, (d, grad))| {
                let mut of_basis = [0.0; sh::COUNT];
                of_basis.copy_from_slice(&grad[self.width..]);
                sh::basis_gradient(3, Vec3::from_slice(d), &of_basis).write_to_slice(out);
            });
        }
    }
}

/// `x` `[n, c]` and the 16 spherical harmonics of unit directions `d` `[n, 3]`, `[n, c + 16]`.
pub fn beside_sh(x: Tensor<2>, d: Tensor<2>) -> Tensor<2> {
    if device::is_cpu(&x.device()) {
        let width = x.dims()[1];
        return apply2(x, d, BesideSh { width });
    }
    Tensor::cat(vec![x, sh_encode(d)], 1)
}

/// A matrix, directions, and the sines and cosines of both and of twice both: `[x, d, sin x, cos x, sin 2x, cos 2x,
/// sin d, …]` of `x` `[n, c]` and `d` `[n, 3]`, `[n, 5 (c + 3)]`. By stock operations: only presets for a GPU ask for it.
pub fn beside_waves(x: Tensor<2>, d: Tensor<2>) -> Tensor<2> {
    let waves = |t: &Tensor<2>| [1.0, 2.0].map(|k| t.clone().mul_scalar(k)).map(|t| [t.clone().sin(), t.cos()]);
    let of_both = [waves(&x), waves(&d)];
    Tensor::cat([x, d].into_iter().chain(of_both.into_iter().flatten().flatten()).collect(), 1)
}

#[cfg(test)]
mod tests;
