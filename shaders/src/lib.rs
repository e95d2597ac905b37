//! What the processor and the shaders must agree on: cameras, boxes and rays, the shaders' text, and the plain numbers
//! that they read, without any device.
//!
//! Conventions, once: right-handed; a camera looks along -Z with +Y up in its own space; the centre of pixel `(i, j)`
//! is at `(i + 0.5, j + 0.5)`, x to the right and y down from the top left corner; transforms are named `a_from_b`.

pub mod aabb;
pub mod camera;
pub mod net;
pub mod snapshot;
pub mod wgsl;

pub use aabb::Aabb;
pub use camera::{Camera, Distortion, Ray};
