//! The map by stock operations of tensors; what runs on a GPU.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use super::Act;

/// As [`super::linear`].
pub fn linear(x: Tensor<2>, w: Tensor<2>, b: Tensor<2>, act: Act) -> Tensor<2> {
    let y = x.matmul(w) + b;
    match act {
        Act::None => y,
        Act::Silu => silu(y),
    }
}
