//! Small multi-layer perceptrons, fused: activations live in cache, one block of rows at a time.

pub mod cpu;
mod face;
mod gpu;
pub mod reference;
pub mod spec;

pub use face::mlp;
pub use spec::{Activation, Layer, MlpSpec};

#[cfg(test)]
mod tests;
