//! Convolutions of 3 × 3 pixels over small square pictures, channels last: what a denoiser is made of.
//!
//! `y[p, o] = b[o] + Σ_{q, i} x[p + q, i] w[q, i, o]` over the nine neighbours `q`, with zeros beyond the edge.

pub mod cpu;
mod face;
pub mod reference;

pub use face::conv;

#[cfg(test)]
mod tests;
