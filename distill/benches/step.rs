//! Training steps of the `fast` presets on the CPU, through tensors and their gradient graph.
//!
//! `hash_step` is the twin of `tests/yardstick/hash_step.py`: the same field, weights and 78,992 samples, and the same
//! first loss. `train_step` (hash) and `voxels_train_step` are the real thing on the demo scene: rays drawn from photos,
//! marching, the occupancy grid's refreshes, and the random background.

#[path = "../../fields/benches/common/mod.rs"]
mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use glam::Vec3;
use retort_distill::RunOptions;
use retort_distill::loss::difference;
use retort_distill::preset::{Loss, Preset};
use retort_distill::task::Task;
use retort_distill::train::Train;
use retort_fields::data::procedural;
use retort_fields::field::{Scene, over, tensor};
use retort_fields::ops::adam::{self, AdamSpec, Moments};
use retort_fields::ops::march::Samples;
use retort_fields::registry::{AnyField, Kind, detached_inner};
use retort_fields::render::volume::render_samples;
use retort_fields::rng::Rng;

use common::{Bench, uniform};

const RAYS: usize = 4096;
/// Light that is left where a ray ends, as in training.
const STOP: f32 = 1e-4;

fn main() {
    let bench = Bench::new();
    if bench.wants("hash_step") {
        hash_step(&bench);
    }
    if bench.wants("train_step") {
        train_step(&bench, "train_step_16", &fast());
    }
    if bench.wants("voxels_train_step") {
        // Of the run's million steps the first 200 are on coarser grids.
        let growth = "[{ at = 1e-4, resolution = 96, prune = 1e-3 }, { at = 2e-4, resolution = 160, prune = 1e-3 }]";
        let values = [("train.growth".to_string(), growth.to_string())];
        let preset = Preset::load("fast", Kind::Voxels, &values).expect("a preset that comes with the program");
        train_step(&bench, "voxels_train_step_16", &preset);
    }
}

fn hash_step(bench: &Bench) {
    let device = Device::flex().autodiff();
    let mut field = yardstick_field(&device);
    let samples = Arc::new(yardstick_samples());
    let target = tensor(uniform("target", 3 * RAYS, 0.0, 1.0), [RAYS, 3], &device);
    let mut moments: Vec<Option<Moments>> = vec![None; field.params().len()];
    let spec = AdamSpec { beta2: 0.99, eps: 1e-15, skip_zero_grad: true, ..AdamSpec::default() };
    let mut t = 0;
    let step = || {
        t += 1;
        let volume = field.as_volume().expect("a hash field is a volume");
        let picture = over(render_samples(volume, &samples, STOP), [1.0; 3]);
        let loss = difference(picture, target.clone(), Loss::Mse);
        let value = loss.clone().inner().into_scalar::<f32>();
        let mut grads = loss.backward();
        for (param, moments) in field.params_mut().into_iter().zip(&mut moments) {
            let grad = param.tensor.grad_remove(&mut grads).expect("every parameter has a gradient");
            let device = grad.device();
            let value = detached_inner(std::mem::replace(param.tensor, Tensor::zeros([1, 1], &device)));
            let moments = moments.get_or_insert_with(|| Moments::zeros(value.dims(), &device));
            *param.tensor = Tensor::from_inner(adam::step(value, grad, moments, 1e-2, t, &spec)).require_grad();
        }
        value
    };
    let n = samples.t.len();
    bench.run("hash_step", n, Some(0.305_344_045_162_200_9), step, f64::from);
}

fn fast() -> Preset {
    Preset::load("fast", Kind::Hash, &[]).expect("a preset that comes with the program")
}

/// The `fast` field with the yardstick's weights.
fn yardstick_field(device: &Device) -> AnyField {
    let config = fast().field;
    let shapes = config.shapes().expect("a possible shape");
    let table = uniform("table", shapes[0].1.iter().product(), -1e-4, 1e-4);
    let network = |name: &str, sizes: &[usize]| -> Vec<f32> {
        let layer = |(k, pair): (usize, &[usize])| {
            let bound = (6.0 / pair[0] as f32).sqrt();
            uniform(&format!("{name}{k}"), pair[0] * pair[1], -bound, bound)
        };
        sizes.windows(2).enumerate().flat_map(layer).collect()
    };
    let mut colour = network("colour", &[31, 64, 64, 3]);
    // There the harmonics come first, here the latent.
    colour[..31 * 64].chunks_exact_mut(31).for_each(|row| row.rotate_left(16));
    let values = [table, network("sigma", &[24, 64, 16]), colour];
    let tensors = values.into_iter().zip(&shapes).map(|(v, (_, shape))| tensor(v, *shape, device)).collect();
    config.build(&Scene::default(), tensors).expect("the shapes fit").trainable()
}

/// The yardstick's samples, of which ray `i` has `counts[i]`; its cube `[0, 1]³` is our box `[-1, 1]³`.
fn yardstick_samples() -> Samples {
    let mut counts = Rng::new(1, "counts");
    let start = uniform("start", 3 * RAYS, 0.25, 0.75);
    let direction = uniform("direction", 3 * RAYS, -1.0, 1.0);
    let dt = 2.0 * 3.0_f32.sqrt() / 1024.0;
    let mut samples = Samples { ray_start: vec![0], ..Samples::default() };
    for ray in 0..RAYS {
        let origin = Vec3::from_slice(&start[3 * ray..]) * 2.0 - 1.0;
        let d = Vec3::from_slice(&direction[3 * ray..]).normalize();
        for k in 0..counts.below(40) {
            let t = k as f32 * dt;
            samples.position.extend((origin + d * t).to_array());
            samples.direction.extend(d.to_array());
            samples.t.push(t);
            samples.dt.push(dt);
        }
        samples.ray_start.push(samples.t.len() as u32);
    }
    samples
}

fn train_step(bench: &Bench, name: &str, preset: &Preset) {
    let data = Arc::new(procedural::dataset(100, 24, 1, 1));
    let options = RunOptions { steps: Some(1_000_000), ..RunOptions::default() };
    let train = Train::new(data, preset, &options, &Device::flex().autodiff());
    let mut train = train.expect("the demo scene can be trained on");
    let mut step = || match train.step().expect("training does not diverge") {
        ControlFlow::Continue(progress) => f64::from(progress.loss),
        ControlFlow::Break(_) => f64::NAN,
    };
    // Until the occupancy grid has found the scene; then whole rounds of its refresh.
    for _ in 0..400 {
        step();
    }
    bench.run(name, RAYS, None, || (0..16).map(|_| step()).sum::<f64>(), |loss| loss / 16.0);
}
