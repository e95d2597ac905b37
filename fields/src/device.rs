//! Where tensors live: the CPU (burn's Flex) or a GPU (wgpu).

use burn::tensor::{Device, DeviceKind};

use crate::error::{Error, Result};

/// The device that `name` asks for: `auto`, `cpu`, `gpu` or `gpu:N`.
///
/// `auto` is the CPU: a software adapter would be far slower than it, and telling one from a real GPU by asking costs
/// seconds at start.
///
/// # Errors
/// When the name is another, or no such GPU answers.
pub fn choose(name: &str) -> Result<Device> {
    match name {
        "auto" | "cpu" => Ok(Device::flex()),
        "gpu" => gpu(None),
        other => match other.strip_prefix("gpu:").map(str::parse) {
            Some(Ok(index)) => gpu(Some(index)),
            _ => Err(Error::new(format!("there is no device \"{other}\"")).remedy("use auto, cpu, gpu or gpu:N")),
        },
    }
}

fn gpu(index: Option<usize>) -> Result<Device> {
    let kind = index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu);
    // wgpu panics where no adapter is found; a person wants a sentence.
    let made = std::panic::catch_unwind(|| {
        let device = Device::wgpu(kind);
        burn::tensor::Tensor::<1>::zeros([1], &device).into_data();
        device
    });
    made.map_err(|_| Error::new("no GPU answers").remedy("install a Vulkan driver, or use --device cpu"))
}

/// Whether tensors of this device lie in host memory.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}
