//! Differentiable pictures.

pub mod volume;
