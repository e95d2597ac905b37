//! Where tensors live: the CPU (burn's Flex) or a GPU (wgpu).

use burn::backend::DispatchDevice;
pub use burn::tensor::Device;
use burn::tensor::DeviceKind;
use burn::tensor::wgpu::WgpuInitError;
use burn_cubecl::CubeDevice;

use crate::error::{Error, Result};
use crate::ops::gpu::{adds_floats, computes_halves};

/// The device that `name` asks for: `auto`, `cpu`, `gpu` or `gpu:N`.
///
/// `auto` is the CPU. A software adapter would be far slower than it, and telling one from a real GPU takes starting the
/// drivers: 0.4 s the first time and 25 ms later (measured with Mesa's), before anything is done.
///
/// # Errors
/// When the name is another, no such GPU answers, or it lacks what the kernels need.
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
    match Device::wgpu_options().device_kind(kind.clone()).init() {
        Ok(device) => able(device),
        // It was made before.
        Err(WgpuInitError::Registration { .. }) => able(Device::wgpu(kind)),
        Err(WgpuInitError::AdapterUnavailable { .. }) => Err(no_gpu(match index {
            Some(index) => format!("there is no discrete GPU {index}"),
            None => "no GPU answers".into(),
        })),
        Err(error) => Err(no_gpu(format!("the GPU cannot be used: {error}"))),
    }
}

fn no_gpu(what: String) -> Error {
    Error::new(what).remedy("install a Vulkan driver, or use --device cpu")
}

/// Refuses a device on which kernels would panic or compute wrongly.
fn able(device: Device) -> Result<Device> {
    // A driver that breaks at its first call is a panic in burn; a person wants a sentence.
    let adds = std::panic::catch_unwind(|| cube(&device).is_some_and(|cube| adds_floats(&cube.client())));
    match adds {
        Ok(true) => Ok(device),
        Ok(false) => Err(Error::new("this graphics adapter has no float atomics, which the kernels need")
            .remedy("install a Vulkan or Metal driver, OpenGL is not enough, or use --device cpu")),
        Err(_) => Err(no_gpu("the GPU does not start".into())),
    }
}

/// The GPU that tensors of this device lie on, if it is one.
pub(crate) fn cube(device: &Device) -> Option<CubeDevice> {
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Cube(cube) => Some(cube.clone()),
        _ => None,
    }
}

/// Whether tensors of this device lie in host memory.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether this is a GPU that multiplies float16: half the memory for weights, and much quicker where it has units for it.
pub fn has_halves(device: &Device) -> bool {
    cube(device).is_some_and(|cube| computes_halves(&cube.client()))
}

#[cfg(test)]
mod tests {
    use burn_cubecl::cubecl::wgpu::{WgpuBackend, WgpuDevice};

    use super::*;

    #[test]
    fn the_gpu_of_these_tests_is_one() {
        crate::ops::gpu::testing::device();
        for _ in 0..2 {
            let device = choose("gpu").expect("a Vulkan adapter, as for all tests of kernels");
            assert!(!is_cpu(&device) && cube(&device.autodiff()).is_some());
        }
        let cpu = choose("auto").expect("there is always a CPU");
        assert!(is_cpu(&cpu) && is_cpu(&cpu.clone().autodiff()) && cube(&cpu).is_none());
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error() {
        let error = choose("gpu:4242").expect_err("nobody has that many");
        assert!(error.what.contains("4242") && error.remedy.contains("--device cpu"), "{error}");
        assert!(choose("gpu:one").is_err() && choose("tpu").is_err());
    }

    /// OpenGL has no float atomics in wgpu, on no adapter; where there is no OpenGL, that is an error as well.
    #[test]
    fn an_adapter_that_cannot_run_the_kernels_is_an_error() {
        let error = able(WgpuDevice::default().on(WgpuBackend::Gl).into()).expect_err("OpenGL is not enough");
        assert!(error.remedy.contains("Vulkan") && error.remedy.contains("--device cpu"), "{error}");
    }
}
