//! Files in and out. A field of ours is one `.safetensors`: its tensors, its occupancy, and a JSON description under
//! the metadata key `retort` (kind, version, config, scene, provenance).

pub mod archive;
pub mod field;

pub use archive::{write_atomically, write_with};
pub use field::{Provenance, Summary, from_archive, from_bytes, load, peek, peek_from, save, write_into};
