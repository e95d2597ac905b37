//! A sparse grid of vertices and what is read from it (Fridovich-Keil, Yu et al., "Plenoxels: Radiance Fields without
//! Neural Networks", CVPR 2022, arXiv 2112.05131): trilinear interpolation, colour from spherical harmonics, density
//! from a linear value, and the two regularisers.

pub mod colour;
pub mod cpu;
mod face;
mod gpu;
pub mod links;
pub mod log_of;
pub mod penalty;
pub mod reference;

pub use colour::{Colour, sh_colour};
pub use face::{Place, sample};
pub use links::Links;
pub use log_of::log_of;
pub use penalty::{Penalty, penalty};

#[cfg(test)]
mod tests;
