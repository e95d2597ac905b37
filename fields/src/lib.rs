//! Radiance fields: the representations, their differentiable rendering, the hot kernels, datasets and files.
//!
//! Positions are in scene units after normalising; σ is per scene unit; colours are sRGB-encoded in `[0, 1]`. The shapes
//! of tensors stand in brackets: `[n, 3]`.

pub mod compose;
pub mod data;
pub mod device;
pub mod error;
pub mod field;
pub mod files;
pub mod kinds;
pub mod mesh;
pub mod metrics;
pub mod ops;
pub mod parts;
pub mod registry;
pub mod render;
pub mod rng;
pub mod snapshot;
