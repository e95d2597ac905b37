//! The convolution by stock operations of tensors; what runs on a GPU.

use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

/// As [`super::conv`].
pub fn conv(x: Tensor<2>, w: Tensor<2>, b: Tensor<2>, side: usize) -> Tensor<2> {
    let ([rows, inputs], outputs) = (x.dims(), w.dims()[1]);
    let n = rows / (side * side);
    let x = x.reshape([n, side, side, inputs]).permute([0, 3, 1, 2]);
    let w = w.reshape([3, 3, inputs, outputs]).permute([3, 2, 0, 1]);
    let y = conv2d(x, w, Some(b.reshape([outputs])), ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    y.permute([0, 2, 3, 1]).reshape([rows, outputs])
}
