//! Triangle meshes: the surface of a field, simplified, unwrapped, painted by the field itself, and written as glTF.
//!
//! Everything here is plain numbers: a field comes in as a closure that is asked at points, or as pictures of its depth.
//! Positions are in whatever unit the caller has; +Z is up until [`Mesh`] is written as glTF, which has +Y up.

pub mod ask;
pub mod bake;
pub mod components;
pub mod export;
mod fill;
pub mod glb;
pub mod grid;
pub mod import;
pub mod look;
pub mod obj;
pub mod raster;
#[cfg(test)]
mod samples;
pub mod simplify;
mod sound;
mod srgb;
pub mod surface;
pub mod teacher;
mod triangles;
pub mod tsdf;
pub mod unwrap;

pub use triangles::{Mesh, Texture};
