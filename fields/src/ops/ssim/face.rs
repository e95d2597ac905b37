//! SSIM on tensors.

use burn::tensor::Tensor;

use super::{forward, forward_backward};
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};

#[derive(Debug)]
pub(super) struct Ssim {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Kernel for Ssim {
    fn output_shape(&self, _inputs: &[[usize; 2]]) -> [usize; 2] {
        [1, 1]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        output[0] = forward(inputs[0], inputs[1], self.width, self.height);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        assert!(grads[1].is_none(), "SSIM is differentiated in its first picture only");
        if let Some(result) = &mut grads[0] {
            forward_backward(inputs[0], inputs[1], self.width, self.height, result);
            for g in result.iter_mut() {
                *g *= grad[0];
            }
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// The mean SSIM of `picture` against `target`, both `[h·w, 3]`, as `[1, 1]`; differentiable in `picture`.
pub fn ssim(picture: Tensor<2>, target: Tensor<2>, width: u32, height: u32) -> Tensor<2> {
    apply2(picture, target, Ssim { width: width as usize, height: height as usize })
}
