//! The Adam optimiser's step, fused (Kingma and Ba 2014, arXiv 1412.6980; Loshchilov and Hutter 2017, arXiv
//! 1711.05101).

pub mod cpu;
mod face;
mod gpu;
pub mod reference;

pub use cpu::AdamSpec;
pub use face::{Moments, ema, step};

#[cfg(test)]
mod tests;
