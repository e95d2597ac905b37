//! The hot kernels. Each folder holds one operation: `spec` (its shape), `cpu` (rayon and SIMD on plain slices),
//! `reference` (the slow and obvious form that it is checked against), `gpu` (`#[cube]` for wgpu) and `face` (what
//! tensors see).

pub mod adam;
pub mod attend;
pub mod composite;
pub mod conv;
pub mod factors;
mod gemm;
pub mod gpu;
pub mod hash_encode;
pub mod kernel;
pub mod linear;
pub mod march;
pub mod mlp;
pub mod norm;
pub mod pointwise;
mod pointwise_gpu;
pub(crate) mod simd;
pub mod splat;
pub mod ssim;
#[cfg(test)]
pub(crate) mod testing;
pub mod voxels;
