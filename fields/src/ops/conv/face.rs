//! The convolution on tensors.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

use super::{cpu, reference};
use crate::ops::kernel::{Kernel, Memo, apply3};

#[derive(Debug)]
struct Conv {
    side: usize,
}

impl Kernel for Conv {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], inputs[1][1]]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(self.side, inputs[0], inputs[1], inputs[2], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let [grad_x, grad_w, grad_b] = grads else { panic!("three inputs have three gradients") };
        if let Some(grad_x) = grad_x {
            cpu::grad_x(self.side, inputs[1], inputs[2].len(), grad, grad_x);
        }
        if let Some(grad_w) = grad_w {
            cpu::grad_w(self.side, inputs[0], grad, inputs[2].len(), grad_w);
        }
        if let Some(grad_b) = grad_b {
            let outputs = grad_b.len();
            grad.chunks_exact(outputs).for_each(|row| row.iter().zip(&mut *grad_b).for_each(|(g, sum)| *sum += g));
        }
    }
}

/// Convolves `n` pictures of `side × side` pixels, `x [n·side², i]` (row-major, channels last), with the weights
/// `w [9·i, o]` (rows by the neighbour's row, its column, the channel) and adds the bias `b [1, o]`: `[n·side², o]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn conv(x: Tensor<2>, w: Tensor<2>, b: Tensor<2>, side: usize) -> Tensor<2> {
    let ([rows, inputs], [taps, outputs]) = (x.dims(), w.dims());
    assert!(
        rows.is_multiple_of(side * side) && taps == 9 * inputs && b.dims() == [1, outputs],
        "a convolution's shapes"
    );
    // On a GPU the stock operation is the quick one.
    if matches!(x.device().without_autodiff().as_dispatch(), DispatchDevice::Flex(_)) {
        apply3(x, w, b, Conv { side })
    } else {
        reference::conv(x, w, b, side)
    }
}
