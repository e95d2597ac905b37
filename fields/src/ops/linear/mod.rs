//! A linear map of rows with its bias and the activation that follows it, in one pass: `y = act(x W + b)`.

pub mod cpu;
mod face;
pub mod reference;

pub use face::linear;

/// What follows the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// `silu(z) = z / (1 + exp(−z))`.
    Silu,
}

#[cfg(test)]
mod tests;
