//! What is asked of the drawn pictures besides the loss: a line each.

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};

/// A loss of pictures `[n, 4, h, w]`, premultiplied RGBA: `[1]`.
type Loss = fn(&Tensor<4>) -> Tensor<1>;

/// All of them by name.
pub const ALL: &[(&str, Loss)] = &[("sparsity", sparsity), ("opaque", opaque)];

/// The loss of this name.
///
/// # Errors
/// When there is none.
pub fn of(name: &str, pictures: &Tensor<4>) -> Result<Tensor<1>> {
    match ALL.iter().find(|(n, _)| *n == name) {
        Some((_, loss)) => Ok(loss(pictures)),
        None => Err(Error::new(format!("there is no loss of pictures \"{name}\""))),
    }
}

/// `mean √(α² + 0.01)` (Poole et al. 2023).
fn sparsity(pictures: &Tensor<4>) -> Tensor<1> {
    (alpha(pictures).square() + 0.01).sqrt().mean()
}

/// The entropy of alpha, which is least where it is 0 or 1.
fn opaque(pictures: &Tensor<4>) -> Tensor<1> {
    let a = alpha(pictures).clamp(1e-3, 1.0 - 1e-3);
    let b = a.clone().neg() + 1.0;
    (a.clone() * a.log() + b.clone() * b.log()).neg().mean()
}

fn alpha(pictures: &Tensor<4>) -> Tensor<4> {
    pictures.clone().narrow(1, 3, 1).clamp(0.0, 1.0)
}
