//! The representations, a file each: configuration, parameters, block 1 and block 2.

pub mod cp;
pub mod gaussians;
pub mod hash;
pub mod mlp;
pub mod vm;
pub mod voxels;
