//! What the `#[cube]` kernels share: how many threads to start, buffers, and the tests' comparison with the CPU.
//!
//! Kernels index raw row-major buffers and start one thread per unit of work, in groups of [`UNITS`]. A device takes at
//! most 65,535 groups along one axis, so a launch folds its groups into two. Nothing here needs subgroups or doubles.

pub(crate) mod math;
#[allow(clippy::trivially_copy_pass_by_ref, reason = "local arrays of a kernel are no values")]
pub(crate) mod sh;

use burn::tensor::{DType, Shape};
use cubecl::client::Client;
use cubecl::features::{AtomicUsage, TypeUsage};
use cubecl::prelude::{BufferArg, CubeCount, CubeDim, Scalar, Type};
use cubecl::server::Handle;

use crate::ops::kernel::CubeTensor;

/// Threads in a group.
pub const UNITS: u32 = 64;

/// Groups along x before a launch folds into y.
const FOLD: u32 = 32_768;

/// The groups that `units` threads need. A kernel must leave threads beyond its last unit idle.
///
/// # Panics
/// If `units` does not fit 32 bits, which indices on the device have.
pub fn groups(units: usize) -> CubeCount {
    let groups = u32::try_from(units).expect("a kernel has fewer than 2³² units of work").div_ceil(UNITS);
    let x = groups.clamp(1, FOLD);
    CubeCount::Static(x, groups.div_ceil(x), 1)
}

/// A group of [`UNITS`] threads.
pub fn group() -> CubeDim {
    CubeDim::new_1d(UNITS)
}

/// Whether the device adds to float32 values atomically, as the gradients of the hash table and of Gaussians do. Vulkan
/// drivers do; OpenGL does not, and there a sum would silently stay zero.
pub fn adds_floats(client: &Client) -> bool {
    client.properties().atomic_type_usage(Type::atomic(f32::elem_type_native())).contains(AtomicUsage::Add)
}

/// Whether the adapter keeps, converts and multiplies float16.
pub fn computes_halves(client: &Client) -> bool {
    let needed = TypeUsage::Buffer | TypeUsage::Conversion | TypeUsage::Arithmetic | TypeUsage::DotProduct;
    client.properties().type_usage(half::f16::elem_type_native()).is_superset(needed)
}

/// Refuses a device on which [`adds_floats`] is false.
///
/// # Panics
/// On such a device.
pub fn require_float_atomics(client: &Client) {
    assert!(adds_floats(client), "this graphics adapter has no float atomics: use a Vulkan or Metal one, or the CPU");
}

/// Device memory for a float32 tensor, not yet written, on the device of `like`.
pub fn empty(like: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
    let handle = like.client.empty(shape[0] * shape[1] * size_of::<f32>());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), Shape::from(shape), handle, DType::F32)
}

/// A float32 tensor of zeros on the device of `like`.
pub fn zeros(like: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
    burn_cubecl::ops::numeric::zeros(like.device.clone(), Shape::from(shape), DType::F32)
}

/// The two dimensions of a tensor.
pub fn dims(tensor: &CubeTensor) -> [usize; 2] {
    tensor.meta.shape().dims()
}

/// A tensor as a kernel's argument: all its elements.
#[expect(unsafe_code, reason = "a kernel takes a buffer on the word of its caller")]
pub fn arg(tensor: &CubeTensor) -> BufferArg {
    // SAFETY: the tensor's buffer holds at least as many elements as its shape says.
    unsafe { BufferArg::from_raw_parts(tensor.handle.clone(), tensor.meta.num_elements()) }
}

/// Values on the device that are not a tensor.
#[derive(Clone, Debug)]
pub struct Buffer {
    handle: Handle,
    len: usize,
}

impl Buffer {
    /// Uploads `values`; at least one element, as devices have no empty buffers.
    pub fn new<T: bytemuck::NoUninit + bytemuck::Zeroable>(client: &Client, values: &[T]) -> Self {
        let spare = [T::zeroed()];
        let values = if values.is_empty() { &spare } else { values };
        Self { handle: client.create_from_slice(bytemuck::cast_slice(values)), len: values.len() }
    }

    /// Memory for `len` values of four bytes, not yet written.
    pub fn uninit(client: &Client, len: usize) -> Self {
        let len = len.max(1);
        Self { handle: client.empty(len * 4), len }
    }

    /// The values of a contiguous float32 tensor.
    pub fn of(tensor: &CubeTensor) -> Self {
        Self { handle: tensor.handle.clone(), len: tensor.meta.num_elements() }
    }

    /// As a kernel's argument.
    #[expect(unsafe_code, reason = "a kernel takes a buffer on the word of its caller")]
    pub fn arg(&self) -> BufferArg {
        // SAFETY: the buffer was made with this many elements.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len) }
    }

    /// Downloads the values.
    pub fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, client: &Client) -> Vec<T> {
        let bytes = client.read_one(self.handle.clone()).expect("reading a buffer back from the GPU");
        bytemuck::pod_collect_to_vec(&bytes[..self.len * size_of::<T>()])
    }
}

#[cfg(test)]
pub(crate) mod testing;
