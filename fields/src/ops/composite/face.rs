//! Compositing on tensors.

use burn::tensor::Tensor;

use super::cpu;
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};
use crate::ops::march::Marched;

#[derive(Debug)]
pub(super) struct Composite {
    pub(super) samples: Marched,
    pub(super) stop: f32,
}

impl Kernel for Composite {
    fn output_shape(&self, _inputs: &[[usize; 2]]) -> [usize; 2] {
        [self.samples.rays(), 5]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let s = self.samples.to_host();
        cpu::forward(&s.ray_start, inputs[0], inputs[1], &s.t, &s.dt, self.stop, output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let s = self.samples.to_host();
        let (sigma, rgb) = grads.split_at_mut(1);
        let mut unwanted = [Vec::new(), Vec::new()];
        let [spare_sigma, spare_rgb] = &mut unwanted;
        let grad_sigma = sigma[0].as_mut().unwrap_or_else(|| {
            spare_sigma.resize(inputs[0].len(), 0.0);
            spare_sigma
        });
        let grad_rgb = rgb[0].as_mut().unwrap_or_else(|| {
            spare_rgb.resize(inputs[1].len(), 0.0);
            spare_rgb
        });
        cpu::backward(&s.ray_start, inputs[0], inputs[1], &s.t, &s.dt, self.stop, grad, grad_sigma, grad_rgb);
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Composites densities `[n, 1]` and colours `[n, 3]` of packed samples along their rays, giving premultiplied colour,
/// alpha and depth, `[rays, 5]`. A ray ends where less than `stop` of its light is left. `samples` are best on the side
/// on which the tensors are.
pub fn composite(sigma: Tensor<2>, rgb: Tensor<2>, samples: impl Into<Marched>, stop: f32) -> Tensor<2> {
    apply2(sigma, rgb, Composite { samples: samples.into(), stop })
}
