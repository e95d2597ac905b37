//! What can go wrong between a snapshot and a picture.

use retort_shaders::wgsl::NoSuchFile;
use thiserror::Error;

/// An error of the viewport, with what to do about it.
#[derive(Debug, Error)]
pub enum Error {
    /// No adapter, or none that gives a device.
    #[error("no graphics adapter can be used: {0}; install a Vulkan driver (Mesa's lavapipe draws on a CPU)")]
    NoDevice(String),
    /// A buffer is larger than the device binds.
    #[error(
        "the field needs {needed} bytes in one buffer, the graphics adapter binds {most}; draw it by the processor, or convert it to a smaller one"
    )]
    TooLarge {
        /// What is needed.
        needed: u64,
        /// What can be bound.
        most: u64,
    },
    /// A shader that the driver or the compiler refuses.
    #[error("the shader \"{name}\" is refused: {what}")]
    Shader {
        /// Which.
        name: String,
        /// Why.
        what: String,
    },
    /// An import of a shader leads nowhere.
    #[error(transparent)]
    Import(#[from] NoSuchFile),
    /// The device was lost or ran out of memory while it worked.
    #[error("the graphics device failed: {0}; the scene is not lost, open the view again")]
    Device(String),
}

/// What a call gives.
pub type Result<T> = std::result::Result<T, Error>;
