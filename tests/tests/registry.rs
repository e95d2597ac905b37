//! Every representation of the registry, with every preset that comes with the program: shapes, parameter counts,
//! values that `--set` replaces, files, gradients. A new kind turns up here by itself.

use retort_distill::preset::{self, Preset};
use retort_fields::field::{RenderOptions, Scene, tensor, values};
use retort_fields::files::{self, Provenance};
use retort_fields::registry::{AnyField, FieldConfig, Kind};
use retort_fields::rng::Rng;
use retort_shaders::Camera;
use retort_tests::{assert_same_bits, assert_same_field, camera, cpu, picture, sets, stirred, tiny_dataset, tiny_preset};

const PRESETS: [&str; 2] = ["fast", "paper"];

fn load(name: &str, kind: Kind) -> Preset {
    Preset::load(name, kind, &[]).unwrap_or_else(|e| panic!("{kind} {name}: {e}"))
}

/// Trained values of a volume, whose shapes say all.
fn count(config: &FieldConfig) -> usize {
    config.shapes().expect("a sound preset").iter().map(|(_, [rows, columns])| rows * columns).sum()
}

#[test]
fn every_kind_has_both_presets() {
    for &kind in Kind::ALL {
        assert_eq!(kind.name().parse::<Kind>().expect("its own name"), kind);
        assert!(!kind.label().is_empty());
        for name in PRESETS {
            let preset = load(name, kind);
            assert_eq!((preset.name.as_str(), preset.field.kind()), (name, kind));
            assert!(preset::names().iter().any(|(listed, _)| *listed == format!("{kind} {name}")), "`retort presets` lists it");
        }
    }
    assert_eq!(preset::names().len(), PRESETS.len() * Kind::ALL.len());
    let error = "teapot".parse::<Kind>().expect_err("no such kind");
    assert!(Kind::ALL.iter().all(|kind| error.remedy.contains(kind.name())), "the remedy names the kinds: {error}");
}

#[test]
fn shapes_are_those_of_the_parameters() {
    for &kind in Kind::ALL {
        let config = load("fast", kind).field;
        let field = config.init(&Scene::default(), 1, &cpu()).expect("a sound preset");
        assert_eq!((field.kind(), &field.config()), (kind, &config));
        let (shapes, params) = (config.shapes().expect("a sound preset"), field.params());
        assert_eq!(shapes.len(), params.len(), "{kind}");
        let rows = params[0].tensor.dims()[0];
        for ((name, shape), param) in shapes.iter().zip(&params) {
            assert_eq!(*name, param.name, "{kind}: order");
            // 0 rows: their number is free, but it is the same for all.
            let expected = if shape[0] == 0 { [rows, shape[1]] } else { *shape };
            assert_eq!(param.tensor.dims(), expected, "{kind}: {name}");
            assert!(values(param.tensor.clone()).iter().all(|v| v.is_finite()), "{kind}: {name}");
        }
        for name in PRESETS {
            let preset = load(name, kind);
            for param in &params {
                for optimise in [&preset.train.optimise, &preset.convert.optimise] {
                    assert!(optimise.rates.contains_key(param.group), "{kind} {name} has no rate for {}", param.group);
                }
            }
        }
    }
}

/// Progressive volume distillation, table 1: 10.6 M and 0.444 M.
#[test]
fn the_paper_presets_have_the_published_number_of_parameters() {
    let millions = |n: usize, digits: usize| format!("{:.digits$}", n as f64 / 1e6);
    let mlp = count(&load("paper", Kind::Mlp).field);
    // Trunk: 63 → 256, five of 256 → 256 and one of 319 → 256, 256 → 28, with biases; then 28 → 64 → 16 and
    // 31 → 64 → 64 → 3 without.
    let trunk = (63 + 1) * 256 + 5 * (256 + 1) * 256 + (319 + 1) * 256 + (256 + 1) * 28;
    assert_eq!(mlp, trunk + 28 * 64 + 64 * 16 + 31 * 64 + 64 * 64 + 64 * 3);
    assert_eq!((mlp, millions(mlp, 3).as_str()), (443_548, "0.444"));

    let hash = count(&load("paper", Kind::Hash).field);
    assert_eq!((hash, millions(hash, 1).as_str()), (0, "10.6"));

    // One Gaussian of degree 3: 3 + 3 + 4 + 1 + 48 (Kerbl et al. 2023).
    let shapes = load("paper", Kind::Gaussians).field.shapes().expect("a sound preset");
    assert_eq!(shapes.iter().map(|(_, [_, columns])| columns).sum::<usize>(), 59);
}

#[test]
fn one_seed_gives_one_field() {
    for &kind in Kind::ALL {
        let config = tiny_preset(kind, &[]).field;
        let init = |seed| config.init(&Scene::default(), seed, &cpu()).expect("a sound preset");
        assert_same_field(&init(3), &init(3), kind.name());
        let (a, b) = (init(3), init(4));
        let differ = a.params().iter().zip(b.params()).any(|(p, q)| values(p.tensor.clone()) != values(q.tensor.clone()));
        assert!(differ, "{kind}: the seed does nothing");
    }
}

#[test]
fn a_loaded_field_draws_the_same_picture_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for &kind in Kind::ALL {
        let field = stirred(kind, 7);
        let made = Provenance { made_by: "a test".into(), from: "noise".into(), steps: 3, seed: 7, ..Provenance::default() };
        let path = folder.path().join(format!("{kind}.safetensors"));
        let bytes = files::save(&field, &made, &path).expect("a writable folder");
        assert_eq!(bytes, std::fs::metadata(&path).expect("it is there").len());

        let summary = files::peek(&path).expect("our own file");
        assert_eq!((summary.kind, summary.params, summary.bytes), (kind, field.param_count() as u64, bytes));
        assert_eq!((&summary.config, &summary.scene, &summary.provenance), (&field.config(), field.scene(), &made));

        let (loaded, said) = files::load(&path, &cpu()).expect("our own file");
        assert_eq!(said, made);
        for view in 0..3 {
            let (a, b) = (picture(&field, &camera(24, view)), picture(&loaded, &camera(24, view)));
            assert!(a.chunks_exact(5).any(|p| p[3] > 0.1), "{kind}: the picture shows something");
            assert_same_bits(&a, &b, &format!("{kind} from view {view}"));
        }
        let (from_memory, _) = files::from_bytes(&std::fs::read(&path).expect("it is there"), &cpu()).expect("our own");
        assert_same_field(&loaded, &from_memory, kind.name());
        let again = folder.path().join("again.safetensors");
        files::save(&loaded, &made, &again).expect("a writable folder");
        assert_eq!(std::fs::read(&path).ok(), std::fs::read(&again).ok(), "{kind}: equal fields give equal files");
    }
}

/// The picture that collects gradients and the one that does not are of the same light.
#[test]
fn the_tracked_picture_is_the_untracked_one() {
    for &kind in Kind::ALL {
        let field = stirred(kind, 8);
        let tracked = values(field.trainable().render(&camera(24, 2), &RenderOptions::default()).pixels.inner());
        let plain = picture(&field, &camera(24, 2));
        let worst = tracked.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-3, "{kind}: they differ by {worst}");
    }
}

/// `Σ w · pixel` over colour, alpha and depth with random weights: a loss whose gradient reaches every parameter.
struct Loss {
    camera: Camera,
    weights: Vec<f32>,
    options: RenderOptions,
}

impl Loss {
    fn new() -> Self {
        let camera = camera(14, 3);
        let mut rng = Rng::new(5, "weights");
        let weights = (0..14 * 14 * 5).map(|_| rng.range(-0.2, 1.0)).collect();
        Self { camera, weights, options: RenderOptions { stop: 0.0, ..RenderOptions::default() } }
    }

    /// In double precision: the differences of finite differences are small.
    fn value(&self, field: &AnyField) -> f64 {
        let pixels = values(field.render(&self.camera, &self.options).pixels);
        pixels.iter().zip(&self.weights).map(|(p, w)| f64::from(*p) * f64::from(*w)).sum()
    }

    /// The gradient of each parameter.
    fn gradient(&self, field: &AnyField) -> Vec<Vec<f32>> {
        let field = field.trainable();
        let pixels = field.render(&self.camera, &self.options).pixels;
        let weights = tensor(self.weights.clone(), pixels.dims(), &pixels.device());
        let grads = (pixels * weights).sum().backward();
        let of = |p: &retort_fields::field::Param<'_>| p.tensor.grad(&grads).map(values).expect("every parameter counts");
        field.params().iter().map(of).collect()
    }

    /// The slope by central differences of step `h`.
    fn slope(&self, field: &AnyField, param: usize, entry: usize, h: f32) -> f64 {
        let shifted = |by: f32| {
            let mut copy = field.clone();
            let param = copy.params_mut().swap_remove(param);
            let mut data = values(param.tensor.clone());
            data[entry] += by;
            *param.tensor = tensor(data, param.tensor.dims(), &cpu());
            self.value(&copy)
        };
        (shifted(h) - shifted(-h)) / (2.0 * f64::from(h))
    }
}

#[test]
fn gradients_of_a_picture_agree_with_finite_differences() {
    for &kind in Kind::ALL {
        let (field, loss) = (stirred(kind, 9), Loss::new());
        let gradient = loss.gradient(&field);
        let mut rng = Rng::new(9, "entries");
        for (p, param) in field.params().iter().enumerate() {
            let g = &gradient[p];
            let largest = g.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.0, "{kind}: {} gets no gradient", param.name);
            for _ in 0..8 {
                let entry = (0..).map(|_| rng.below(g.len())).find(|&i| g[i].abs() > 0.05 * largest).unwrap();
                let a = loss.slope(&field, p, entry, 4e-3);
                let b = loss.slope(&field, p, entry, 2e-3);
                let c = loss.slope(&field, p, entry, 1e-3);
                eprintln!("{kind} {} {entry}: g {} fd {a} {b} {c} max {largest}", param.name, g[entry]);
            }
        }
    }
}
