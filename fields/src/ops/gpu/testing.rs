//! Comparing a kernel's GPU form with its CPU form, forward and backward.

use std::panic::catch_unwind;
use std::sync::OnceLock;

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::TensorData;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::wgpu::WgpuDevice;

use crate::ops::gpu::adds_floats;
use crate::ops::kernel::{CubeTensor, Kernel, KernelBackend};
use crate::rng::Rng;

/// The device that wgpu prefers: a GPU, or else a software adapter.
pub fn device() -> CubeDevice {
    static DEVICE: OnceLock<Option<CubeDevice>> = OnceLock::new();
    let found = DEVICE.get_or_init(|| {
        let device = CubeDevice::Wgpu(WgpuDevice::default());
        // An OpenGL adapter may stand in where there is no Vulkan; it cannot run all kernels.
        catch_unwind(|| device.client()).ok().filter(adds_floats).map(|_| device)
    });
    found.clone().expect(
        "no Vulkan adapter: these tests compare GPU kernels with the CPU. Run `tests/run`, which installs Mesa's \
         software adapter (lavapipe), or install `mesa-vulkan-drivers` 24 or newer",
    )
}

pub fn upload(values: &[f32], shape: [usize; 2]) -> CubeTensor {
    Cube::float_from_data(TensorData::new(values.to_vec(), shape), &device())
}

pub fn download(tensor: CubeTensor) -> Vec<f32> {
    let data = burn::backend::read_sync(Cube::float_into_data(tensor)).expect("readable");
    data.try_into_vec::<f32>().expect("float32")
}

pub fn uniform(seed: u64, name: &str, n: usize, low: f32, high: f32) -> Vec<f32> {
    let mut rng = Rng::new(seed, name);
    (0..n).map(|_| low + (high - low) * rng.uniform()).collect()
}

/// The largest difference, relative to the largest entry of `expected`; infinite where either is not finite.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-20_f32, |m, v| m.max(v.abs()));
    found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| {
        let d = (a - b).abs() / scale;
        if d.is_finite() { worst.max(d) } else { f32::INFINITY }
    })
}

/// Asserts that `found` equals `expected` to `tolerance`, and that it would not if one entry were off (the negative
/// control).
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    let d = difference(found, expected);
    assert!(d <= tolerance, "{what}: off by {d} of the largest entry, allowed {tolerance}");
    let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(scale > 0.0, "{what}: all zero, which compares nothing");
    let mut spoilt = found.to_vec();
    spoilt[found.len() / 2] += 3.0 * tolerance * scale;
    assert!(difference(&spoilt, expected) > tolerance, "{what}: the comparison misses a wrong entry");
}

/// Runs `kernel` on both, forward and backward with a random gradient, and compares the output and every gradient.
pub fn compare(kernel: &dyn Kernel, inputs: &[(&[f32], [usize; 2])], tolerance: f32) {
    assert!(kernel.gpu().is_some(), "{kernel:?} has a GPU form");
    let slices: Vec<&[f32]> = inputs.iter().map(|(values, _)| *values).collect();
    let shapes: Vec<[usize; 2]> = inputs.iter().map(|(_, shape)| *shape).collect();
    let shape = kernel.output_shape(&shapes);
    let mut expected = vec![0.0; shape[0] * shape[1]];
    let memo = kernel.forward(&slices, &mut expected);
    let grad = uniform(7, "gradient", expected.len(), -1.0, 1.0);
    let mut expected_grads: Vec<_> = slices.iter().map(|s| Some(vec![0.0; s.len()])).collect();
    kernel.backward(&slices, &memo, &grad, &mut expected_grads);

    let tensors: Vec<_> = inputs.iter().map(|(values, shape)| upload(values, *shape)).collect();
    let (out, memo) = Cube::run(tensors.clone(), kernel);
    assert_close("output", &download(out), &expected, tolerance);
    let wanted = vec![true; inputs.len()];
    let grads = Cube::run_backward(tensors.clone(), kernel, &memo, upload(&grad, shape), &wanted);
    for (i, (found, expected)) in grads.into_iter().zip(expected_grads).enumerate() {
        let (found, expected) = (found.expect("wanted"), expected.expect("asked for"));
        assert_close(&format!("gradient {i}"), &download(found), &expected, tolerance);
    }
    for one in 0..inputs.len() {
        let wanted: Vec<bool> = (0..inputs.len()).map(|i| i == one).collect();
        let grads = Cube::run_backward(tensors.clone(), kernel, &memo, upload(&grad, shape), &wanted);
        let given: Vec<bool> = grads.iter().map(Option::is_some).collect();
        assert_eq!(given, wanted, "only what is wanted is given");
    }
}
