//! Hash encoding on tensors.

use burn::tensor::Tensor;

use super::{cpu, spec::HashSpec};
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};

#[derive(Debug)]
pub(super) struct HashEncode {
    pub(super) spec: HashSpec,
}

impl Kernel for HashEncode {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.spec.out_dim()]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(&self.spec, inputs[0], inputs[1], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let (x, table) = grads.split_at_mut(1);
        let mut unwanted = Vec::new();
        let grad_table = table[0].as_mut().unwrap_or_else(|| {
            unwanted.resize(inputs[1].len(), 0.0);
            &mut unwanted
        });
        cpu::backward(&self.spec, inputs[0], inputs[1], grad, grad_table, x[0].as_deref_mut());
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Encodes points `x` `[n, 3]` in `[0, 1]³` with `table` `[entries, features]` to `[n, levels · features]`;
/// differentiable in both.
pub fn hash_encode(x: Tensor<2>, table: Tensor<2>, spec: &HashSpec) -> Tensor<2> {
    apply2(x, table, HashEncode { spec: spec.clone() })
}
