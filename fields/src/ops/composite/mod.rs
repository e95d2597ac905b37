//! Compositing packed samples along their rays (Max 1995): colour, alpha, depth.

pub mod cpu;
mod face;
mod gpu;
pub mod reference;

pub use face::composite;

#[cfg(test)]
mod tests;
