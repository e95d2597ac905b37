use super::spec::{HashConfig, HashSpec};
use super::{cpu, reference};
use crate::ops::simd::Tier;
use crate::rng::Rng;

/// Dense, mixed and hashed levels; every number of features.
fn specs() -> Vec<HashSpec> {
    let spec = |levels, features, log2, base, finest| HashSpec::new(levels, features, log2, base, finest).unwrap();
    vec![
        spec(4, 1, 10, 4, 40),
        spec(5, 2, 12, 4, 100),
        spec(3, 4, 19, 3, 20),
        spec(4, 8, 8, 1, 64),
        spec(1, 2, 14, 16, 16),
    ]
}

struct Case {
    x: Vec<f32>,
    table: Vec<f32>,
    grad_out: Vec<f32>,
}

/// Random points, some outside the cube and some on its faces.
fn case(spec: &HashSpec, n: usize) -> Case {
    let mut rng = Rng::new(3, "hash case");
    let mut fill = |count, low, high| -> Vec<f32> { (0..count).map(|_| rng.range(low, high)).collect() };
    let mut x = fill(n * 3, -0.05, 1.05);
    for (i, x) in x.iter_mut().enumerate().filter(|(i, _)| i % 17 == 0) {
        *x = (i / 17 % 2) as f32;
    }
    Case { x, table: fill(spec.param_count(), -1.0, 1.0), grad_out: fill(n * spec.out_dim(), -1.0, 1.0) }
}

type Gradients = (Vec<f32>, Vec<f32>);

fn encode(tier: Tier, spec: &HashSpec, case: &Case) -> Vec<f32> {
    let mut out = vec![f32::NAN; case.grad_out.len()];
    cpu::forward_with(tier, spec, &case.x, &case.table, &mut out);
    out
}

fn gradients(tier: Tier, spec: &HashSpec, case: &Case) -> Gradients {
    let (mut table, mut x) = (vec![0.0; case.table.len()], vec![f32::NAN; case.x.len()]);
    cpu::backward_with(tier, spec, &case.x, &case.table, &case.grad_out, &mut table, Some(&mut x), false);
    (table, x)
}

fn reference_of(spec: &HashSpec, case: &Case) -> (Vec<f32>, Gradients) {
    let mut out = vec![f32::NAN; case.grad_out.len()];
    reference::forward(spec, &case.x, &case.table, &mut out);
    let (mut table, mut x) = (vec![0.0; case.table.len()], vec![f32::NAN; case.x.len()]);
    reference::backward(spec, &case.x, &case.table, &case.grad_out, &mut table, Some(&mut x));
    (out, (table, x))
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

#[test]
fn every_tier_gives_the_bits_of_the_reference() {
    for spec in specs() {
        for n in [0, 1, 63, 1000] {
            let case = case(&spec, n);
            let (out, (table, x)) = reference_of(&spec, &case);
            for tier in Tier::all() {
                assert!(encode(tier, &spec, &case) == out, "{tier:?} forward of {n} points, {:?}", spec.config());
                let (fast_table, fast_x) = gradients(tier, &spec, &case);
                assert!(fast_table == table, "{tier:?} table gradient of {n} points, {:?}", spec.config());
                // Summed in another order, over values of the size of the scale.
                assert!(close(&fast_x, &x, 2e-4), "{tier:?} point gradient of {n} points, {:?}", spec.config());
            }
        }
    }
}

#[test]
fn the_comparison_notices_one_wrong_entry_or_point() {
    let spec = &specs()[1];
    let mut case = case(spec, 63);
    let (out, (table, x)) = reference_of(spec, &case);
    case.x[3] = 1.0 - case.x[3].clamp(0.0, 1.0);
    case.grad_out[20] += 0.01;
    assert!(encode(Tier::best(), spec, &case) != out);
    let (fast_table, fast_x) = gradients(Tier::best(), spec, &case);
    assert!(fast_table != table);
    assert!(!close(&fast_x, &x, 2e-4));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let spec = HashSpec::new(3, 2, 10, 4, 20).unwrap();
    let mut case = case(&spec, 20);
    // Keep away from the kinks: cell borders and the faces of the cube.
    let mut rng = Rng::new(5, "inside cells");
    for x in &mut case.x {
        let inside = |x: f32| {
            spec.levels().iter().all(|l| {
                let f = (x * l.scale + 0.5).fract();
                (0.1..0.9).contains(&f)
            })
        };
        *x = std::iter::repeat_with(|| rng.range(0.02, 0.98)).find(|x| inside(*x)).unwrap();
    }
    let loss = |x: &[f32], table: &[f32]| -> f64 {
        let mut out = vec![0.0; case.grad_out.len()];
        cpu::forward(&spec, x, table, &mut out);
        out.iter().zip(&case.grad_out).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let (table, x) = gradients(Tier::best(), &spec, &case);
    let check = |values: &[f32], analytic: &[f32], h: f32, of: &dyn Fn(&[f32]) -> f64| {
        for i in (0..values.len()).filter(|i| analytic[*i] != 0.0).take(40) {
            let mut moved = values.to_vec();
            moved[i] = values[i] + h;
            let up = of(&moved);
            moved[i] = values[i] - h;
            let numeric = (up - of(&moved)) / f64::from(2.0 * h);
            let analytic = f64::from(analytic[i]);
            assert!((numeric - analytic).abs() < 2e-2 * (1.0 + analytic.abs()), "{i}: {analytic} is not {numeric}");
        }
    };
    // Within a cell the encoding is linear along each axis and in the table: a large step loses nothing.
    check(&case.x, &x, 1e-3, &|x| loss(x, &case.table));
    check(&case.table, &table, 0.1, &|table| loss(&case.x, table));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    // 12 threads for 5 levels: levels are cut into ranges of entries.
    let spec = &specs()[1];
    let case = case(spec, 1000);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (encode(Tier::best(), spec, &case), gradients(Tier::best(), spec, &case)))
    };
    let one = with(1);
    assert!(one == with(2));
    assert!(one == with(12));
}

#[test]
fn accumulating_adds_and_overwriting_forgets() {
    let spec = &specs()[1];
    let case = case(spec, 100);
    let (once, _) = gradients(Tier::best(), spec, &case);
    let mut grad = vec![1.0; case.table.len()];
    cpu::backward(spec, &case.x, &case.table, &case.grad_out, &mut grad, None);
    let expected: Vec<f32> = once.iter().map(|g| g + 1.0).collect();
    assert!(close(&grad, &expected, 1e-5));
    grad.fill(f32::NAN);
    cpu::backward_overwriting(spec, &case.x, &case.table, &case.grad_out, &mut grad, None);
    assert!(grad == once);
}

#[test]
fn levels_are_those_of_the_published_configurations() {
    // 16 × 2, T = 2^19, 16 to 2048: level sizes as Instant-NGP prints them.
    let spec = HashSpec::new(16, 2, 19, 16, 2048).unwrap();
    assert_eq!(spec.out_dim(), 32);
    let first: Vec<_> = spec.levels().iter().take(3).map(|l| (l.resolution, l.size, l.hashed)).collect();
    assert_eq!(first, [(16, 4096, false), (23, 12_168, false), (31, 29_792, false)]);
    assert!(spec.levels().iter().all(|l| l.hashed == (l.size == 1 << 19)));
    // The original method's 14 × 2 table: conversion's 10.6 M parameters, latent and colour nets included.
    let spec = HashSpec::new(14, 2, 19, 16, 2048).unwrap();
    assert!((10_000_000..10_700_000).contains(&spec.param_count()), "{}", spec.param_count());
}

#[test]
fn a_nan_point_is_harmless_and_bad_configurations_are_refused() {
    let spec = &specs()[1];
    let mut out = vec![f32::NAN; spec.out_dim()];
    let table = vec![1.0; spec.param_count()];
    cpu::forward(spec, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], &table, &mut out);
    assert!(close(&out, &vec![1.0; out.len()], 1e-5));
    assert!(HashSpec::new(0, 2, 19, 16, 2048).is_err());
    assert!(HashSpec::new(16, 3, 19, 16, 2048).is_err());
    assert!(HashSpec::new(16, 2, 40, 16, 2048).is_err());
    assert!(HashSpec::new(16, 2, 19, 0, 2048).is_err());
    assert!(HashSpec::new(16, 2, 19, 16, 8).is_err());
    assert!(HashSpec::new(2, 2, 19, 16, u32::MAX).is_err());
    let good = HashSpec::new(2, 2, 10, 4, 8).unwrap().config().clone();
    assert!(HashSpec::from_config(HashConfig { growth: f32::NAN, ..good.clone() }).is_err());
    assert!(HashSpec::from_config(HashConfig { log2_growth: Some(f32::NAN), ..good }).is_err());
}

/// The levels that torch-ngp lays out for 16 to 2048: `min(T, (R + 1)³ rounded up to 8)` entries, and scales
/// `16 · 2^(7 l / 15) − 1`.
#[test]
fn far_points_and_an_exact_growth_are_torch_ngps() {
    let ours = HashSpec::new(16, 2, 19, 16, 2048).unwrap();
    let log2_growth = Some((7.0_f64 / 15.0) as f32);
    let theirs = HashSpec::from_config(HashConfig { log2_growth, far_points: true, ..ours.config().clone() }).unwrap();
    let sizes: Vec<_> = theirs.levels().iter().map(|l| l.size).collect();
    assert_eq!(sizes[..6], [4920, 13_824, 32_768, 85_184, 216_000, 524_288]);
    assert!(theirs.levels().iter().zip(ours.levels()).all(|(a, b)| (a.scale - b.scale).abs() < 0.01));
    assert_eq!(theirs.levels()[15].scale, 2047.0);
    assert_eq!((theirs.levels()[0].resolution, ours.levels()[0].resolution), (17, 16));
}

#[test]
fn the_configuration_survives_json() {
    let spec = HashSpec::new(16, 2, 19, 16, 2048).unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<HashSpec>(&json).unwrap(), spec);
    assert!(serde_json::from_str::<HashSpec>(&json.replace("\"features\":2", "\"features\":3")).is_err());
}
