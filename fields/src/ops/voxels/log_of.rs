//! The logarithm of a density that is stored as itself (Plenoxels: `sigma = max(0, value)`), held to a range.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply1};

const CHUNK: usize = 16_384;

/// `ln(x)` held to `[low, high]`. Below the range the slope is that at its lower end, and as at the upper end it counts
/// only where it leads back inside: Plenoxels' own `max(0, x)` would leave a negative density without a gradient.
#[derive(Debug)]
pub(super) struct LogOf {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl LogOf {
    fn back(&self, x: f32, g: f32) -> f32 {
        let (least, most) = (self.low.exp(), self.high.exp());
        let passes = (x >= least || g < 0.0) && (x <= most || g > 0.0);
        if passes { g / x.clamp(least, most) } else { 0.0 }
    }
}

impl Kernel for LogOf {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        output.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).for_each(|(out, x)| {
            // A NaN goes through: the guard on the loss should see it.
            let log = |x: f32| if x <= 0.0 { self.low } else { x.ln().clamp(self.low, self.high) };
            out.iter_mut().zip(x).for_each(|(o, &x)| *o = log(x));
        });
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(result) = &mut grads[0] else { return };
        let rows = inputs[0].par_chunks(CHUNK).zip(grad.par_chunks(CHUNK));
        result.par_chunks_mut(CHUNK).zip(rows).for_each(|(out, (x, g))| {
            out.iter_mut().zip(x).zip(g).for_each(|((o, &x), &g)| *o += self.back(x, g));
        });
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// `ln(x)` of `x` `[n, c]`, held to `[low, high]`.
pub fn log_of(x: Tensor<2>, low: f32, high: f32) -> Tensor<2> {
    apply1(x, LogOf { low, high })
}
