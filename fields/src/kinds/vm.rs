//! Vector-matrix decomposition (Chen, Xu, Geiger, Yu, Su: `TensoRF`, ECCV 2022): three planes, each times the line across
//! it, in the two-block form of progressive volume distillation (Fang et al. 2023).
//!
//! Block 1: `f = Σ_m Σ_r P^m_r(x) L^m_r(x)` over the density's ranks, `σ = scale · exp(f + shift)` or
//! `scale · softplus(f + shift)` (published: the latter, with a shift of −10), and `latent = basis · [P^m_r(x) L^m_r(x)]`
//! over the appearance's; block 2: `rgb = sigmoid(colour_net([latent, enc(d)]))`.

use crate::parts::factored::{Factored, FactoredConfig};

/// The shape of a `vm` field.
pub type VmConfig = FactoredConfig;

/// A `vm` field.
pub type Vm = Factored<true>;
