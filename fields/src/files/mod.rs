//! Files in and out. A field of ours is one `.safetensors`: its tensors, its occupancy, and a JSON description under
//! the metadata key `retort` (kind, version, config, scene, provenance). Gaussians come in [`splats`], other trainers'
//! fields in [`trainers`]; [`any`] tells them apart.

pub mod any;
pub mod archive;
pub mod field;
pub mod splats;
pub mod trainers;
pub mod upright;

pub use any::{load, peek};
pub use archive::{write_atomically, write_with};
pub use field::{Provenance, Summary, from_archive, from_bytes, peek_from, save, write_into};
