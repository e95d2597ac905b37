//! Normalisation by stock operations of tensors; what runs on a GPU.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use super::Norm;

/// As [`super::norm`].
pub fn norm(x: Tensor<2>, scale: Tensor<2>, shift: Tensor<2>, spec: Norm) -> Tensor<2> {
    let ([rows, width], Norm { views, groups, eps, .. }) = (x.dims(), spec);
    let x = x.reshape([views, rows / views, groups, width / groups]);
    let x = x.clone() - x.mean_dim(1).mean_dim(3);
    let root = (x.clone().square().mean_dim(1).mean_dim(3) + eps).sqrt().recip();
    let x = (x * root).reshape([views, rows / views, width]);
    let each = |t: Tensor<2>| {
        let n = t.dims()[0];
        t.reshape([n, 1, width])
    };
    let y = (x * each(scale) + each(shift)).reshape([rows, width]);
    if spec.silu { silu(y) } else { y }
}
