//! The viewport: volumes marched and Gaussians drawn by wgpu from plain snapshots, without tensors and without files.

pub mod orbit;
