//! Small networks on tensors.

use burn::tensor::Tensor;

use super::{cpu, spec::MlpSpec};
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};

#[derive(Debug)]
pub(super) struct Mlp {
    pub(super) spec: MlpSpec,
}

impl Kernel for Mlp {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.spec.output_dim()]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(&self.spec, inputs[0], inputs[1], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let (x, params) = grads.split_at_mut(1);
        let mut unwanted = Vec::new();
        let grad_params = params[0].as_mut().unwrap_or_else(|| {
            unwanted.resize(inputs[1].len(), 0.0);
            &mut unwanted
        });
        cpu::backward(&self.spec, inputs[0], inputs[1], grad, x[0].as_deref_mut(), grad_params);
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Applies the network with parameters `[1, param_count]` to `x` `[n, input]`, giving `[n, output]`; differentiable in
/// both.
pub fn mlp(x: Tensor<2>, params: Tensor<2>, spec: &MlpSpec) -> Tensor<2> {
    apply2(x, params, Mlp { spec: spec.clone() })
}
