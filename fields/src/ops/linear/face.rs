//! The map on tensors.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

use super::{Act, cpu, reference};
use crate::ops::kernel::{Kernel, Memo, apply3};

#[derive(Debug)]
struct Linear(Act);

impl Kernel for Linear {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], inputs[1][1]]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(self.0, [inputs[0], inputs[1], inputs[2]], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let wanted = [0, 1, 2].map(|i| grads[i].is_some());
        let all = cpu::backward(self.0, [inputs[0], inputs[1], inputs[2]], grad, wanted);
        for (to, from) in grads.iter_mut().zip(all) {
            if to.is_some() {
                *to = from;
            }
        }
    }
}

/// Maps rows `x [n, i]` by `w [i, o]`, adds the bias `b [1, o]`, and lets `act` follow: `[n, o]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn linear(x: Tensor<2>, w: Tensor<2>, b: Tensor<2>, act: Act) -> Tensor<2> {
    let [inputs, outputs] = w.dims();
    assert!(x.dims()[1] == inputs && b.dims() == [1, outputs], "a linear map's shapes");
    // On a GPU the stock operations are fused there.
    if matches!(x.device().without_autodiff().as_dispatch(), DispatchDevice::Flex(_)) {
        apply3(x, w, b, Linear(act))
    } else {
        reference::linear(x, w, b, act)
    }
}
