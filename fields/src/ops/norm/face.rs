//! Normalisation on tensors.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

use super::{Norm, cpu, reference};
use crate::ops::kernel::{Kernel, Memo, apply3};

#[derive(Debug)]
struct Normalise {
    spec: Norm,
    width: usize,
}

impl Kernel for Normalise {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(self.spec, self.width, [inputs[0], inputs[1], inputs[2]], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let all = cpu::backward(self.spec, self.width, [inputs[0], inputs[1], inputs[2]], grad);
        for (to, from) in grads.iter_mut().zip(all) {
            if let Some(to) = to {
                *to = from;
            }
        }
    }
}

/// Normalises `x [n·p, c]` of `n` views; `scale` and `shift` are `[1, c]`, or `[n, c]` where each view has its own:
/// `[n·p, c]`.
///
/// # Panics
/// When rows do not fall into views, channels into groups, or scales and shifts are of another shape.
pub fn norm(x: Tensor<2>, scale: Tensor<2>, shift: Tensor<2>, spec: Norm) -> Tensor<2> {
    let [rows, width] = x.dims();
    let one_or_each = |t: &Tensor<2>| t.dims() == [1, width] || t.dims() == [spec.views, width];
    assert!(
        rows.is_multiple_of(spec.views)
            && width.is_multiple_of(spec.groups)
            && one_or_each(&scale)
            && one_or_each(&shift),
        "a normalisation's shapes"
    );
    // On a GPU the stock operations are fused there.
    if matches!(x.device().without_autodiff().as_dispatch(), DispatchDevice::Flex(_)) {
        apply3(x, scale, shift, Normalise { spec, width })
    } else {
        reference::norm(x, scale, shift, spec)
    }
}
