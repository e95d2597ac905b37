//! Marching rays through the occupancy grid (Müller et al. 2022, appendix E): rays in, packed samples out.

pub mod cpu;
mod face;
pub mod gpu;
pub mod reference;
pub mod spec;

pub use cpu::{Marcher, march};
pub use face::{Marched, march_on};
pub use spec::{MarchSpec, Samples};

#[cfg(test)]
mod tests;
