//! Normalisation of a denoiser's rows, with the activation that follows it (Wu and He 2018; Ba et al. 2016).
//!
//! `y = act(x̂ · scale + shift)`, `x̂ = (x − mean) / √(variance + ε)` over the places of a view and the channels of a
//! group. A layer norm is the case of one place a view and one group.

pub mod cpu;
mod face;
pub mod reference;

pub use face::norm;

/// What is normalised together, and what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Views that the rows fall into, one after another.
    pub views: usize,
    /// Groups that the channels fall into.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether `silu(y) = y / (1 + exp(−y))` follows.
    pub silu: bool,
}

#[cfg(test)]
mod tests;
