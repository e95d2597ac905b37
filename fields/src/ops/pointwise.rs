//! Element-wise kernels: the log-density clamp, the truncated exponential, and the two encodings of positions and
//! directions.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply1};
use crate::parts::{frequency, sh};

const CHUNK: usize = 16_384;

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
pub(super) const TRUNCATION: f32 = 12.0;

impl Kernel for TruncExp {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        output.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(o, x)| *o = x.exp());
        });
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(result) = &mut grads[0] else { return };
        result.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).zip(grad.par_chunks(CHUNK)).for_each(
            |((out, x), g)| {
                for ((o, x), g) in out.iter_mut().zip(x).zip(g) {
                    *o += g * x.clamp(-TRUNCATION, TRUNCATION).exp();
                }
            },
        );
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
