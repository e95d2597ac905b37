use burn::tensor::{Device, DeviceKind};

use super::cpu::{AdamSpec, ema_with, step_with};
use super::{Moments, cpu, ema, reference, step};
use crate::field::{tensor, values};
use crate::ops::gpu::testing;
use crate::ops::simd::Tier;
use crate::rng::Rng;

#[derive(Clone, PartialEq)]
struct State {
    param: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

fn state(n: usize) -> State {
    let mut rng = Rng::new(1, "adam state");
    let param = (0..n).map(|_| rng.normal()).collect();
    State { param, m: vec![0.0; n], v: vec![0.0; n] }
}

/// A gradient with runs of zeros longer than a block, single zeros, and magnitudes over ten decades.
fn gradient(n: usize, t: u32) -> Vec<f32> {
    let mut rng = Rng::at(2, "adam gradient", u64::from(t));
    let value = |rng: &mut Rng| rng.normal() * 10_f32.powf(rng.range(-9.0, 1.0));
    (0..n).map(|i| if i / 200 % 3 == 1 || rng.below(4) == 0 { 0.0 } else { value(&mut rng) }).collect()
}

fn specs() -> [AdamSpec; 3] {
    [
        AdamSpec::default(),
        AdamSpec { weight_decay: 0.01, beta2: 0.99, ..AdamSpec::default() },
        AdamSpec { beta2: 0.99, eps: 1e-15, skip_zero_grad: true, ..AdamSpec::default() },
    ]
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 3e-6 * b.abs().max(1e-12))
}

fn run(tier: Tier, n: usize, steps: u32, spec: &AdamSpec) -> State {
    let mut s = state(n);
    for t in 1..=steps {
        step_with(tier, &mut s.param, &gradient(n, t), &mut s.m, &mut s.v, 1e-2, t, spec);
    }
    s
}

#[test]
fn every_tier_agrees_with_the_reference_and_with_each_other() {
    for spec in specs() {
        for n in [0, 1, 63, 1000, 70_001] {
            let mut expected = state(n);
            for t in 1..=3 {
                let State { param, m, v } = &mut expected;
                reference::step(param, &gradient(n, t), m, v, 1e-2, t, &spec);
            }
            let portable = run(Tier::Portable, n, 3, &spec);
            for tier in Tier::all() {
                let got = run(tier, n, 3, &spec);
                assert!(got == portable, "{tier:?} differs from the portable code, n = {n}, {spec:?}");
                assert!(close(&got.v, &expected.v), "{tier:?}: v, n = {n}, {spec:?}");
                // A mean of opposite gradients cancels, so compare on the scale of the parameters and of the largest.
                let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 + 1e-5 * b.abs());
                assert!(near(&got.m, &expected.m), "{tier:?}: m, n = {n}, {spec:?}");
                assert!(near(&got.param, &expected.param), "{tier:?}: parameters, n = {n}, {spec:?}");
            }
        }
    }
}

#[test]
fn the_first_step_is_the_rate_against_the_sign() {
    let spec = AdamSpec { eps: 1e-15, ..AdamSpec::default() };
    let (mut p, mut m, mut v) = ([1.0, 1.0, 1.0], [0.0; 3], [0.0; 3]);
    cpu::step(&mut p, &[3.0, -2e-8, 0.0], &mut m, &mut v, 0.1, 1, &spec);
    assert!(close(&p, &[0.9, 1.1, 1.0]), "{p:?}");
}

#[test]
fn zero_gradients_keep_value_and_moments_where_asked() {
    let spec = AdamSpec { skip_zero_grad: true, weight_decay: 0.1, ..AdamSpec::default() };
    let n = 500;
    let mut s = run(Tier::best(), n, 2, &spec);
    let before = s.clone();
    let grad = gradient(n, 7);
    cpu::step(&mut s.param, &grad, &mut s.m, &mut s.v, 1e-2, 3, &spec);
    for (i, grad) in grad.into_iter().enumerate() {
        let kept = s.param[i] == before.param[i] && s.m[i] == before.m[i] && s.v[i] == before.v[i];
        assert_eq!(kept, grad == 0.0, "entry {i}, gradient {grad}");
    }
}

#[test]
fn a_nan_gradient_is_not_taken_for_zero() {
    let spec = AdamSpec { skip_zero_grad: true, ..AdamSpec::default() };
    let (mut p, mut m, mut v) = ([1.0; 2], [0.0; 2], [0.0; 2]);
    cpu::step(&mut p, &[f32::NAN, 0.0], &mut m, &mut v, 0.1, 1, &spec);
    assert!(p[0].is_nan() && p[1] == 1.0);
}

#[test]
fn the_comparison_notices_a_wrong_constant() {
    let good = run(Tier::best(), 1000, 3, &specs()[1]);
    let wrong = AdamSpec { beta2: 0.9901, ..specs()[1].clone() };
    let bad = run(Tier::best(), 1000, 3, &wrong);
    assert!(!close(&good.v, &bad.v));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(Tier::best(), 200_000, 2, &specs()[2]))
    };
    assert!(with(1) == with(2));
}

#[test]
fn the_average_follows_on_every_tier() {
    for n in [0, 1, 63, 1000] {
        let param = gradient(n, 1);
        let mut expected = state(n).param;
        reference::ema(&mut expected, &param, 0.95);
        for tier in Tier::all() {
            let mut average = state(n).param;
            ema_with(tier, &mut average, &param, 0.95);
            assert!(average.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{tier:?}");
        }
    }
}

/// As [`run`], on the tests' GPU.
fn run_on_gpu(n: usize, steps: u32, spec: &AdamSpec) -> State {
    testing::device();
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let mut param = tensor(state(n).param, [n, 1], &device);
    let mut moments = Moments::zeros([n, 1], &device);
    for t in 1..=steps {
        param = step(param, tensor(gradient(n, t), [n, 1], &device), &mut moments, 1e-2, t, spec);
    }
    State { param: values(param), m: values(moments.m), v: values(moments.v) }
}

/// As in the comparison of tiers: a mean of opposite gradients cancels.
fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 + 1e-5 * b.abs())
}

#[test]
fn a_gpu_agrees_with_the_cpu() {
    // The last beyond 65,535 groups.
    for n in [1, 1000, 65_536 * 64 + 5] {
        for spec in specs().iter().skip(if n > 1000 { 2 } else { 0 }) {
            let (expected, found) = (run(Tier::best(), n, 3, spec), run_on_gpu(n, 3, spec));
            assert!(close(&found.v, &expected.v), "v, n = {n}, {spec:?}");
            assert!(near(&found.m, &expected.m), "m, n = {n}, {spec:?}");
            assert!(near(&found.param, &expected.param), "parameters, n = {n}, {spec:?}");
        }
    }
    // The negative control.
    let wrong = AdamSpec { beta1: 0.89, beta2: 0.9901, ..specs()[1].clone() };
    let (good, bad) = (run(Tier::best(), 1000, 3, &specs()[1]), run_on_gpu(1000, 3, &wrong));
    assert!(!close(&bad.v, &good.v) && !near(&bad.m, &good.m) && !near(&bad.param, &good.param));
}

#[test]
fn a_gpu_does_not_take_a_nan_gradient_for_zero() {
    testing::device();
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let spec = AdamSpec { skip_zero_grad: true, ..AdamSpec::default() };
    let mut moments = Moments::zeros([3, 1], &device);
    let grad = tensor(vec![f32::NAN, 0.0, -0.0], [3, 1], &device);
    let param = values(step(tensor(vec![1.0; 3], [3, 1], &device), grad, &mut moments, 0.1, 1, &spec));
    assert!(param[0].is_nan() && param[1..] == [1.0; 2], "{param:?}");
}

/// A step is in place, but never under the eyes of somebody who kept the old values.
#[test]
fn snapshots_stay_as_they_are() {
    testing::device();
    for device in [Device::flex(), Device::wgpu(DeviceKind::DefaultDevice)] {
        let mut moments = Moments::zeros([100, 3], &device);
        let grad = tensor(gradient(300, 1), [100, 3], &device);
        let param = tensor(state(300).param, [100, 3], &device);
        let (kept, kept_moments) = (param.clone(), moments.clone());
        let stepped = step(param, grad, &mut moments, 0.1, 1, &AdamSpec::default());
        let average = ema(kept.clone(), &stepped, 0.9);
        assert_eq!(values(kept), state(300).param);
        assert!(values(kept_moments.m).iter().chain(&values(kept_moments.v)).all(|&v| v == 0.0));
        assert_ne!(values(stepped), state(300).param);
        assert_ne!(values(average), state(300).param);
    }
}

#[test]
fn the_average_follows_on_a_gpu() {
    testing::device();
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    for n in [1, 1000, 65_536 * 64 + 5] {
        let (mut expected, param) = (state(n).param, gradient(n, 1));
        let average = ema(tensor(expected.clone(), [n, 1], &device), &tensor(param.clone(), [n, 1], &device), 0.95);
        reference::ema(&mut expected, &param, 0.95);
        assert!(near(&values(average), &expected), "n = {n}");
        let other = ema(tensor(state(n).param, [n, 1], &device), &tensor(param, [n, 1], &device), 0.951);
        assert!(!near(&values(other), &expected), "n = {n}: the comparison would not notice");
    }
}
