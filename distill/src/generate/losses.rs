//! What is asked of the drawn pictures besides the loss: a line each.

#![expect(clippy::unnecessary_wraps, reason = "all are of one type, and some ask for nothing of some fields")]

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};

use super::pictures::Drawn;

/// What is asked of what was drawn, `[1]`; none of a field that has no such thing.
type Loss = fn(&Drawn) -> Option<Tensor<1>>;

/// All of them by name.
pub const ALL: &[(&str, Loss)] = &[("sparsity", sparsity), ("opaque", opaque), (ORIENT, orient)];

/// The one that needs to know how surfaces stand.
pub const ORIENT: &str = "orient";

/// The loss of this name.
///
/// # Errors
/// When there is none.
pub fn of(name: &str, drawn: &Drawn) -> Result<Option<Tensor<1>>> {
    match ALL.iter().find(|(n, _)| *n == name) {
        Some((_, loss)) => Ok(loss(drawn)),
        None => Err(Error::new(format!("there is no loss of pictures \"{name}\""))),
    }
}

/// `mean √(α² + 0.01)` (Poole et al. 2023).
fn sparsity(drawn: &Drawn) -> Option<Tensor<1>> {
    Some((alpha(drawn).square() + 0.01).sqrt().mean())
}

/// The entropy of alpha, which is least where it is 0 or 1.
fn opaque(drawn: &Drawn) -> Option<Tensor<1>> {
    let a = alpha(drawn).clamp(1e-3, 1.0 - 1e-3);
    let b = a.clone().neg() + 1.0;
    Some((a.clone() * a.log() + b.clone() * b.log()).neg().mean())
}

/// How much surfaces face away from who looks (Verbin et al. 2022).
fn orient(drawn: &Drawn) -> Option<Tensor<1>> {
    drawn.orientation.clone()
}

fn alpha(drawn: &Drawn) -> Tensor<4> {
    drawn.pictures.clone().narrow(1, 3, 1).clamp(0.0, 1.0)
}
