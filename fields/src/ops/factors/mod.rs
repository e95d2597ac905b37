//! Sampling of factorised grids (Chen, Xu, Geiger, Yu, Su: `TensoRF`, ECCV 2022): planes times lines (`vm`) and lines
//! times lines times lines (`cp`), summed to a density feature and led through a linear basis to a latent, in one kernel.

pub mod cpu;
mod face;
pub mod fit;
mod gpu;
pub mod penalty;
pub mod reference;
pub mod reshape;
pub mod spec;

pub use face::factors;
pub use spec::{FactorSpec, Form};

#[cfg(test)]
mod tests;
