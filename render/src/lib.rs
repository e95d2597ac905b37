//! The viewport: volumes marched and Gaussians drawn by wgpu from plain snapshots, without tensors and without files;
//! and the camera: by hand, and on its way through time.

pub mod error;
pub mod gizmo;
pub mod gpu;
pub mod orbit;
pub mod path;
pub mod splats;
pub mod target;
pub mod viewport;
pub mod volume;

pub use error::{Error, Result};
pub use gpu::Gpu;
pub use viewport::Viewport;
pub use wgpu::TextureFormat;
