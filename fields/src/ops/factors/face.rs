//! Factorised grids on tensors.

use burn::tensor::Tensor;

use super::{cpu, spec::FactorSpec};
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply3};

#[derive(Debug)]
pub(super) struct Factors {
    pub(super) spec: FactorSpec,
}

impl Kernel for Factors {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.spec.out_dim()]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(&self.spec, inputs[0], inputs[1], inputs[2], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let [x, factors, basis] = grads else { return };
        if let Some(x) = x {
            cpu::backward_to_points(&self.spec, inputs[0], inputs[1], inputs[2], grad, x);
        }
        if factors.is_none() && basis.is_none() {
            return;
        }
        let (mut no_factors, mut no_basis) = (Vec::new(), Vec::new());
        let factors = factors.as_mut().unwrap_or_else(|| zeroed(&mut no_factors, inputs[1].len()));
        let basis = basis.as_mut().unwrap_or_else(|| zeroed(&mut no_basis, inputs[2].len()));
        cpu::backward(&self.spec, inputs[0], inputs[1], inputs[2], grad, factors, basis);
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

fn zeroed(values: &mut Vec<f32>, n: usize) -> &mut Vec<f32> {
    values.resize(n, 0.0);
    values
}

/// Samples a factorised grid at points `x` `[n, 3]` in `[0, 1]³`: the density feature and the latent, `[n, 1 + latent]`.
/// `factors` is `[rows, sigma_rank + app_rank]` as [`FactorSpec`] lays it out, `basis` `[latent, products]`;
/// differentiable in all three. Outside the cube the feature is `spec.outside` and the latent 0, without gradient.
pub fn factors(x: Tensor<2>, factors: Tensor<2>, basis: Tensor<2>, spec: &FactorSpec) -> Tensor<2> {
    apply3(x, factors, basis, Factors { spec: spec.clone() })
}
