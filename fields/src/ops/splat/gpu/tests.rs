//! Splatting on wgpu against the CPU's.

use super::super::face::Radii;
use super::*;
use crate::ops::gpu::testing::{compare, download, uniform, upload};
use crate::ops::kernel::Kernel;
use crate::ops::splat::{SplatSpec, Window};

fn spec(antialias: bool, sh_degree: u32) -> SplatSpec {
    SplatSpec {
        width: 75,
        height: 50,
        window: None,
        camera_from_world: [[1.0, 0.0, 0.0, 0.1], [0.0, 0.8, -0.6, 0.0], [0.0, 0.6, 0.8, -4.0]],
        focal: [60.0, 62.0],
        centre: [37.0, 26.0],
        near: 0.2,
        sh_degree,
        sh_stored: sh_degree,
        antialias,
    }
}

/// Values of `n` Gaussians around the origin, some of them behind the camera or invisible.
fn gaussians(n: usize, rest_width: usize) -> [(Vec<f32>, [usize; 2]); 7] {
    let mut means = uniform(1, "means", n * 3, -1.2, 1.2);
    means[2] = 9.0;
    let mut opacity = uniform(4, "opacity", n, -3.0, 3.0);
    opacity[1] = -9.0;
    [
        (means, [n, 3]),
        (uniform(2, "scales", n * 3, -3.5, -1.5), [n, 3]),
        (uniform(3, "rotations", n * 4, -1.0, 1.0), [n, 4]),
        (opacity, [n, 1]),
        (uniform(5, "dc", n * 3, -1.0, 1.5), [n, 3]),
        (uniform(6, "rest", n * rest_width, -0.3, 0.3), [n, rest_width]),
        (vec![0.0; n * 2], [n, 2]),
    ]
}

fn kernel(spec: SplatSpec) -> SplatKernel {
    SplatKernel { spec, radii: Radii::default() }
}

fn check(spec: SplatSpec, n: usize) {
    let values = gaussians(n, spec.rest_width());
    let inputs: Vec<(&[f32], [usize; 2])> = values.iter().map(|(v, shape)| (v.as_slice(), *shape)).collect();
    compare(&kernel(spec), &inputs, 3e-5);
}

#[test]
fn equals_the_cpu() {
    check(spec(false, 3), 300);
}

#[test]
fn equals_the_cpu_antialiased_in_a_window() {
    let window = Some(Window { x: 17, y: 9, width: 40, height: 33 });
    check(SplatSpec { window, ..spec(true, 1) }, 200);
}

#[test]
fn radii_equal_the_cpus() {
    let (host, device) = (kernel(spec(false, 0)), kernel(spec(false, 0)));
    let values = gaussians(200, 0);
    let slices: Vec<&[f32]> = values.iter().map(|(v, _)| v.as_slice()).collect();
    let mut image = vec![0.0; host.spec.pixels() * CHANNELS];
    Kernel::forward(&host, &slices, &mut image);
    let tensors: Vec<_> = values.iter().map(|(v, shape)| upload(v, *shape)).collect();
    let (drawn, _) = GpuKernel::forward(&device, &tensors);
    crate::ops::gpu::testing::assert_close("colours without directions", &download(drawn), &image, 2e-4);
    let radii = |k: &SplatKernel| k.radii.lock().expect("not poisoned").to_vec();
    let (theirs, ours) = (radii(&host), radii(&device));
    assert!(theirs.iter().filter(|r| **r > 0.0).count() > 100);
    assert!(theirs.iter().zip(&ours).all(|(a, b)| (a - b).abs() <= 1.0 && (*a > 0.0) == (*b > 0.0)));
}

#[test]
fn no_gaussians_draw_nothing() {
    let values = gaussians(2, 0).map(|(_, [_, width])| upload(&[], [0, width]));
    let (drawn, memo) = GpuKernel::forward(&kernel(spec(false, 0)), &values);
    assert!(memo.is_none() && download(drawn).iter().all(|v| *v == 0.0));
}
