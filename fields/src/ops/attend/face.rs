//! Attention on tensors.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

use super::{Groups, cpu, reference};
use crate::ops::kernel::{Kernel, Memo, apply3};

#[derive(Debug)]
struct Attend {
    groups: Groups,
    width: usize,
}

impl Kernel for Attend {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(self.groups, self.width, [inputs[0], inputs[1], inputs[2]], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let all = cpu::backward(self.groups, self.width, [inputs[0], inputs[1], inputs[2]], grad);
        for (to, from) in grads.iter_mut().zip(all) {
            if let Some(to) = to {
                *to = from;
            }
        }
    }
}

/// Queries `q [b·t, c]` attend to keys `k [b·u, c]` and bring home their values `v [b·u, c]`, within each of `b` groups
/// and for each head of `c / heads` channels: `[b·t, c]`.
///
/// # Panics
/// When rows do not fall into groups, or channels into heads.
pub fn attend(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, groups: Groups) -> Tensor<2> {
    let ([rows, width], [keys, _]) = (q.dims(), k.dims());
    assert!(
        k.dims() == v.dims()
            && k.dims()[1] == width
            && rows.is_multiple_of(groups.groups)
            && keys.is_multiple_of(groups.groups)
            && width.is_multiple_of(groups.heads),
        "attention's shapes"
    );
    // On a GPU the stock operations are the quick ones.
    if matches!(q.device().without_autodiff().as_dispatch(), DispatchDevice::Flex(_)) {
        apply3(q, k, v, Attend { groups, width })
    } else {
        reference::attend(q, k, v, groups)
    }
}
