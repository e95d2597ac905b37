//! What the tests that cross rooms share: tiny presets, a tiny scene, and comparisons that say what differs.
//!
//! These are helpers of tests: what goes wrong in them is a failed test, so they panic with the reason.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use retort_distill::preset::Preset;
use retort_distill::task::{Outcome, Progress, Task};
use retort_fields::data::{Dataset, Split, procedural};
use retort_fields::field::{RenderOptions, Scene, tensor, values};
use retort_fields::registry::{AnyField, Kind};
use retort_fields::rng::Rng;
use retort_shaders::{Aabb, Camera};

/// The device that these tests compute on.
///
/// # Panics
/// Never: there is always a CPU.
pub fn cpu() -> Device {
    retort_fields::device::choose("cpu").expect("there is always a CPU")
}

/// `--set` values from pairs.
pub fn sets(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
}

/// What each kind has of its own in [`tiny_values`]; one that is not here is small enough.
const OWN: &[(Kind, &[(&str, &str)])] = &[
    (
        Kind::Hash,
        &[
            ("field.sigma_hidden", "[16]"),
            ("field.levels", "4"),
            ("field.log2_table_size", "12"),
            ("field.base_resolution", "4"),
            ("field.finest_resolution", "32"),
        ],
    ),
    (
        Kind::Mlp,
        &[
            ("field.sigma_hidden", "[16]"),
            ("field.frequencies", "4"),
            ("field.depth", "3"),
            ("field.skip", "1"),
            ("field.width", "32"),
            ("field.bottleneck", "12"),
        ],
    ),
    (
        Kind::Voxels,
        &[
            ("field.resolution", "14"),
            ("train.growth", "[{ at = 0.0045, resolution = 20, prune = 1e-3 }]"),
            ("convert.growth", "[{ at = 0.0045, resolution = 20, prune = 1e-3 }]"),
        ],
    ),
    (
        Kind::Vm,
        &[
            ("field.resolution", "[12, 12, 12]"),
            ("field.sigma_rank", "4"),
            ("field.app_rank", "6"),
            ("convert.growth", "[{ at = 0.0, resolution = 14 }]"),
        ],
    ),
    (
        Kind::Cp,
        &[
            ("field.resolution", "[16, 16, 16]"),
            ("field.sigma_rank", "12"),
            ("field.app_rank", "16"),
            ("convert.growth", "[{ at = 0.0, resolution = 20 }]"),
        ],
    ),
    (
        Kind::Gaussians,
        &[
            ("field.sh_degree", "1"),
            ("field.initial", "300"),
            ("field.density.from", "10"),
            ("field.density.every", "20"),
            ("field.density.until", "50"),
            ("field.density.max_gaussians", "800"),
            ("train.sh_every", "20"),
            ("convert.seeds", "400"),
        ],
    ),
];

/// The values that make the `fast` preset of a kind small enough to be trained in a second.
pub fn tiny_values(kind: Kind) -> Vec<(String, String)> {
    const NETWORKS: &[(&str, &str)] = &[("field.volume.latent", "7"), ("field.volume.colour_hidden", "[16]")];
    const VOLUME: &[(&str, &str)] = &[
        ("field.volume.occupancy_resolution", "16"),
        ("field.volume.samples_per_diagonal", "96"),
        ("train.samples", "12288"),
        ("train.rays", "256"),
        ("train.occupancy.warm_up", "32"),
        ("train.occupancy.every", "8"),
        ("convert.rays", "256"),
    ];
    const BOTH: &[(&str, &str)] =
        &[("train.steps", "60"), ("convert.steps", "60"), ("convert.views", "12"), ("convert.view_size", "24")];
    let own = OWN.iter().find(|(own, _)| *own == kind).map_or(&[][..], |(_, values)| values);
    let shared: &[&[_]] = match kind {
        Kind::Gaussians => &[],
        Kind::Voxels => &[VOLUME],
        _ => &[NETWORKS, VOLUME],
    };
    sets(&[BOTH, &shared.concat(), own].concat())
}

/// The tiny preset of a kind, with some more values.
///
/// # Panics
/// When a value does not exist.
pub fn tiny_preset(kind: Kind, more: &[(&str, &str)]) -> Preset {
    let all = [tiny_values(kind), sets(more)].concat();
    Preset::load("fast", kind, &all).unwrap_or_else(|e| panic!("the tiny preset of {kind}: {e}"))
}

/// Eight training and three test views of 24 × 24 pixels of the procedural scene.
pub fn tiny_dataset() -> Arc<Dataset> {
    static DATA: OnceLock<Arc<Dataset>> = OnceLock::new();
    Arc::clone(DATA.get_or_init(|| Arc::new(procedural::dataset(24, 8, 3, 1))))
}

/// The `index`-th camera that looks at the procedural scene, `size × size` pixels.
pub fn camera(size: u32, index: usize) -> Camera {
    procedural::cameras(size, 8, 5, "looks").swap_remove(index)
}

/// The frame of the procedural scene, or the same cameras around a scene without end.
pub fn tiny_scene(unbounded: bool) -> Scene {
    let scene = Scene::from(&*tiny_dataset());
    if !unbounded {
        return scene;
    }
    Scene { bounds: Aabb::cube(2.0), unbounded, near_far: [0.1, 1000.0], ..scene }
}

/// A tiny field whose parameters are all away from their special first values: what `fast` draws, plus normal noise of
/// standard deviation 0.2 (factors 0.6). Its densities are nowhere at the ends of their range.
///
/// # Panics
/// When the tiny preset is not sound.
pub fn stirred(kind: Kind, scene: &Scene, seed: u64) -> AnyField {
    const WIDE: (&str, &str) = ("field.volume.log_sigma_range", "[-20.0, 12.0]");
    let wide: &[_] = match kind {
        Kind::Gaussians => &[],
        // What is drawn is thinner than that of a network.
        Kind::Voxels => &[WIDE, ("field.initial_sigma", "2.0")],
        _ => &[WIDE],
    };
    let mut field = tiny_preset(kind, wide).field.init(scene, seed, &cpu()).expect("a sound preset");
    let mut rng = Rng::new(seed, "stirring");
    for param in field.params_mut() {
        let shape = param.tensor.dims();
        // Factors are multiplied with each other: products of small numbers would hardly be seen.
        let spread = if param.group == "factors" { 0.6 } else { 0.2 };
        let moved = values(param.tensor.clone()).into_iter().map(|v| v + spread * rng.normal()).collect();
        *param.tensor = tensor(moved, shape, &cpu());
    }
    field
}

/// The picture of a field, `[h·w·5]`: premultiplied colour, alpha, depth.
pub fn picture(field: &AnyField, camera: &Camera) -> Vec<f32> {
    values(field.frozen().render(camera, &RenderOptions::default()).pixels)
}

/// Fails unless `a` and `b` are the same, bit for bit.
///
/// # Panics
/// When they are not.
pub fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: lengths");
    let differ: Vec<usize> = (0..a.len()).filter(|&i| a[i].to_bits() != b[i].to_bits()).collect();
    if let Some(&i) = differ.first() {
        panic!("{what}: {} of {} values differ, the first at {i}: {} and {}", differ.len(), a.len(), a[i], b[i]);
    }
}

/// Fails unless two fields have the same configuration, parameters and state, bit for bit.
///
/// # Panics
/// When they have not.
pub fn assert_same_field(a: &AnyField, b: &AnyField, what: &str) {
    assert_eq!(a.config(), b.config(), "{what}: configuration");
    assert_eq!(a.scene(), b.scene(), "{what}: scene");
    let (a, b) = (a.frozen(), b.frozen());
    for (p, q) in a.params().iter().zip(b.params()) {
        assert_eq!((p.name, p.tensor.dims()), (q.name, q.tensor.dims()), "{what}: shapes");
        assert_same_bits(&values(p.tensor.clone()), &values(q.tensor.clone()), &format!("{what}: {}", p.name));
    }
    for ((name, x), (_, y)) in a.extras(true).iter().zip(b.extras(true)) {
        assert!(*x == y, "{what}: extra \"{name}\" differs");
    }
}

/// Whether every parameter is a number.
pub fn is_finite(field: &AnyField) -> bool {
    field.frozen().params().iter().all(|p| values(p.tensor.clone()).iter().all(|v| v.is_finite()))
}

/// Takes `steps` steps, fewer if the work is over before.
///
/// # Panics
/// When a step fails.
pub fn advance(task: &mut dyn Task, steps: usize) -> Vec<Progress> {
    let mut done = Vec::new();
    for _ in 0..steps {
        match task.step().unwrap_or_else(|e| panic!("{}: {e}", task.kind_of_work())) {
            ControlFlow::Continue(progress) => done.push(progress),
            ControlFlow::Break(_) => break,
        }
    }
    done
}

/// Takes steps until the work is over.
///
/// # Panics
/// When a step fails.
pub fn finish(task: &mut dyn Task) -> (Vec<Progress>, Outcome) {
    let mut done = Vec::new();
    loop {
        match task.step().unwrap_or_else(|e| panic!("{}: {e}", task.kind_of_work())) {
            ControlFlow::Continue(progress) => done.push(progress),
            ControlFlow::Break(outcome) => return (done, outcome),
        }
    }
}

/// PSNR in dB of two pictures in `[0, 1]`.
pub fn psnr(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "pictures of one size");
    let square: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len().max(1) as f64;
    (-10.0 * square.max(1e-12).log10()) as f32
}

/// Mean PSNR in dB of a field over white, on the photos of `split`.
pub fn psnr_on(field: &AnyField, data: &Dataset, split: Split) -> f32 {
    let photos = data.split(split);
    let each = photos.iter().map(|photo| {
        let drawn = field.render(&photo.camera, &RenderOptions::default()).rgb_over([1.0; 3]);
        psnr(&drawn, &photo.rgb_over([1.0; 3]))
    });
    each.sum::<f32>() / photos.len().max(1) as f32
}

/// Mean PSNR in dB between two fields over white, on views that neither was taught from.
pub fn psnr_between(a: &AnyField, b: &AnyField) -> f32 {
    let views = [1, 4, 6].map(|i| camera(24, i));
    let drawn =
        |field: &AnyField, view: &Camera| field.frozen().render(view, &RenderOptions::default()).rgb_over([1.0; 3]);
    views.iter().map(|view| psnr(&drawn(a, view), &drawn(b, view))).sum::<f32>() / views.len() as f32
}

/// The mean loss of some steps.
pub fn mean_loss(steps: &[Progress]) -> f32 {
    steps.iter().map(|p| p.loss).sum::<f32>() / steps.len().max(1) as f32
}
