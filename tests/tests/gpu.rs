//! The whole path on a GPU against the CPU: the same field, the same batch, one step, and what it moved.
//!
//! Adam's `eps` is large here, so that a step is about proportional to the gradient. With a small one a first step is the
//! gradient's sign, and a gradient that is nought but for rounding would move a parameter by the whole rate.

use std::sync::OnceLock;

use burn::tensor::Device;
use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::preset::Preset;
use retort_distill::task::Task;
use retort_distill::train::Train;
use retort_fields::device;
use retort_fields::field::{tensor, values};
use retort_fields::registry::{AnyField, Kind};
use retort_tests::{advance, cpu, stirred, tiny_dataset, tiny_preset, tiny_scene};

fn gpu() -> Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    let found = GPU.get_or_init(|| {
        device::choose("gpu").unwrap_or_else(|e| panic!("{e}: run `tests/run`, which installs Mesa's software adapter"))
    });
    found.clone()
}

/// What a task made of its field in `steps` steps.
struct Moved {
    losses: Vec<f32>,
    /// Name, values before, and how far each went.
    params: Vec<(&'static str, Vec<f32>, Vec<f32>)>,
}

fn run(task: &mut dyn Task, steps: usize) -> Moved {
    let all =
        |field: &AnyField| -> Vec<_> { field.params().iter().map(|p| (p.name, values(p.tensor.clone()))).collect() };
    let before = all(&task.current());
    let losses = advance(task, steps).iter().map(|p| p.loss).collect();
    let after = all(&task.current());
    let change = |b: &[f32], a: &[f32]| b.iter().zip(a).map(|(b, a)| a - b).collect();
    let params = before.into_iter().zip(after).map(|((name, b), (_, a))| (name, change(&b, &a), b));
    Moved { losses, params: params.map(|(name, change, before)| (name, before, change)).collect() }
}

/// The largest difference, as a share of the largest entry of `expected`.
fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs())).max(1e-20);
    found.iter().zip(expected).fold(0.0, |worst: f32, (a, b)| {
        let d = (a - b).abs() / scale;
        if d.is_finite() { worst.max(d) } else { f32::INFINITY }
    })
}

/// Changes that are lost in the rounding of a value of about 1, such as the rotation's of a ball.
const STILL: f32 = 1e-7;

/// Everything in which two runs differ by more than `tolerance`.
fn differences(found: &Moved, expected: &Moved, tolerance: f32) -> Vec<String> {
    let mut all = Vec::new();
    let mut note = |what: String, found: &[f32], expected: &[f32]| {
        let off = off(found, expected);
        if off > tolerance {
            all.push(format!("{what} is off by {off}"));
        }
    };
    note("the loss".into(), &found.losses, &expected.losses);
    for ((name, before, change), (_, expected_before, expected_change)) in found.params.iter().zip(&expected.params) {
        note(format!("{name} before"), before, expected_before);
        if change.iter().chain(expected_change).any(|v| !(v.abs() < STILL)) {
            note(format!("the change of {name}"), change, expected_change);
        }
    }
    all
}

/// Fails unless both agree, and unless a run that differs a little is told from them.
fn compare(what: &str, found: &Moved, expected: &Moved, other: &Moved, tolerance: f32) {
    let different = differences(found, expected, tolerance);
    assert!(different.is_empty(), "{what}: {}", different.join(", "));
    let moved = expected.params.iter().filter(|p| p.2.iter().any(|v| v.abs() >= STILL)).count();
    assert!(2 * moved > expected.params.len(), "{what}: {moved} moved, which compares little");
    let noticed = differences(found, other, tolerance);
    let changes = noticed.iter().filter(|n| n.contains("change")).count();
    assert!(changes > 0, "{what}: the comparison does not notice another run: {noticed:?}");
}

fn preset(kind: Kind, more: &[(&str, &str)]) -> Preset {
    let calm: &[(&str, &str)] = &[
        ("train.steps", "4000"),
        ("convert.steps", "4000"),
        // As many rays whatever a sample costs: the CPU puts only lit ones on its gradient graph, and counts others less.
        ("train.samples", "100000000"),
        ("train.optimise.adam.eps", "0.01"),
        ("convert.optimise.adam.eps", "0.01"),
        (
            "convert.stages",
            "[{ level = 'image', share = 1.0, latent = 0.1, sigma = 0.02, rgb = 0.5, pixel = 1.0, alpha = 0.1 }]",
        ),
    ];
    tiny_preset(kind, &[calm, more].concat())
}

fn trained(kind: Kind, steps: usize, more: &[(&str, &str)], device: &Device) -> Moved {
    let options = RunOptions { seed: 4, ..RunOptions::default() };
    let mut task = Train::new(tiny_dataset(), &preset(kind, more), &options, device).expect("a sound preset");
    run(&mut task, steps)
}

fn converted(from: Kind, to: Kind, more: &[(&str, &str)], device: &Device) -> Moved {
    let teacher = stirred(from, &tiny_scene(false), 3);
    let teacher = teacher.map(|t| tensor(values(t.clone()), t.dims(), device));
    let options = RunOptions { seed: 4, ..RunOptions::default() };
    let mut task = Convert::new(&teacher, &preset(to, more), &options, device).expect("a pair that fits");
    run(&mut task, 1)
}

/// Over a refresh of the occupancy grid, at step 8.
#[test]
fn steps_of_training_a_hash_field_are_the_cpus() {
    let on = |device: &Device, background: &str| {
        trained(Kind::Hash, 10, &[("train.background", background), ("train.occupancy.every", "8")], device)
    };
    let [random, white] = ["\"random\"", "\"white\""];
    compare("hash", &on(&gpu(), random), &on(&cpu(), random), &on(&cpu(), white), 1e-3);
}

#[test]
fn a_step_of_training_gaussians_is_the_cpus() {
    let on = |device: &Device, ssim: &str| trained(Kind::Gaussians, 1, &[("train.ssim", ssim)], device);
    compare("gaussians", &on(&gpu(), "0.2"), &on(&cpu(), "0.2"), &on(&cpu(), "0.21"), 1e-3);
}

#[test]
fn a_step_of_conversion_is_the_cpus() {
    for (from, to) in [(Kind::Hash, Kind::Mlp), (Kind::Gaussians, Kind::Hash), (Kind::Hash, Kind::Gaussians)] {
        let what = format!("{from} to {to}");
        let other = converted(from, to, &[("convert.background", "\"white\"")], &cpu());
        compare(&what, &converted(from, to, &[], &gpu()), &converted(from, to, &[], &cpu()), &other, 1e-3);
    }
}
