//! Canonical polyadic decomposition (Chen, Xu, Geiger, Yu, Su: `TensoRF`, ECCV 2022): products of three lines, in the
//! two-block form of progressive volume distillation (Fang et al. 2023). The smallest of all fields.
//!
//! Block 1: `f = Σ_r X_r(x) Y_r(y) Z_r(z)` over the density's ranks, `σ = scale · exp(f + shift)` or
//! `scale · softplus(f + shift)` (published: the latter, with a shift of −10), and `latent = basis · [X_r Y_r Z_r]` over
//! the appearance's; block 2: `rgb = sigmoid(colour_net([latent, enc(d)]))`.

use crate::parts::factored::{Factored, FactoredConfig};

/// The shape of a `cp` field.
pub type CpConfig = FactoredConfig;

/// A `cp` field.
pub type Cp = Factored<false>;
