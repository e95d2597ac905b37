//! Attention within groups of rows: what a denoiser's places ask of each other and of the words (Vaswani et al. 2017).
//!
//! `y[i] = Σ_j p[i, j] v[j]`, `p[i] = softmax_j(q[i] · k[j] / √d)`, by itself for each head of `d` channels.

pub mod cpu;
mod face;
pub mod reference;

pub use face::attend;
pub use reference::SCORES;

/// Which rows see which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Groups that the rows fall into, one after another; a query sees the keys of its own.
    pub groups: usize,
    /// Heads that the channels fall into.
    pub heads: usize,
    /// Whether a query sees the keys up to its own place only.
    pub causal: bool,
}

#[cfg(test)]
mod tests;
