//! Differentiable pictures.

pub mod visible;
pub mod volume;
