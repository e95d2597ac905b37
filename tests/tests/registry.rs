//! Every representation of the registry, with every preset that comes with the program: shapes, parameter counts,
//! values that `--set` replaces, files, gradients. A new kind turns up here by itself.

use retort_distill::RunOptions;
use retort_distill::preset::{self, Background, Loss as TrainLoss, Preset, TrainConfig};
use retort_distill::schedule::Schedule;
use retort_distill::train::Train;
use retort_fields::field::{Param, RenderOptions, Scene, tensor, values};
use retort_fields::files::{self, Provenance};
use retort_fields::registry::{AnyField, FieldConfig, Kind};
use retort_fields::rng::Rng;
use retort_shaders::Camera;
use retort_tests::{
    assert_same_bits, assert_same_field, camera, cpu, picture, sets, stirred, tiny_dataset, tiny_preset, tiny_scene,
};

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
            assert!(
                preset::names().iter().any(|(listed, _)| *listed == format!("{kind} {name}")),
                "`retort presets` lists it"
            );
        }
    }
    assert_eq!(preset::names().len(), PRESETS.len() * Kind::ALL.len());
    let error = "teapot".parse::<Kind>().expect_err("no such kind");
    assert!(Kind::ALL.iter().all(|kind| error.remedy.contains(kind.name())), "the remedy names the kinds: {error}");
}

/// What `retort bench pairs` compresses a field of each kind to.
#[test]
fn every_kind_has_a_smaller_field() {
    for &kind in Kind::ALL {
        let preset = load("fast", kind);
        let smaller = preset.to_smaller().expect("sound values").expect("a smaller field");
        assert_eq!((smaller.name.as_str(), smaller.field.kind()), ("fast", kind));
        let size = |preset: &Preset| {
            let finest = preset.convert.growth.iter().filter_map(|growth| growth.resolution).max();
            (finest, preset.convert.seeds, count(&preset.field))
        };
        let (large, small) = (size(&preset), size(&smaller));
        assert!(small.0 <= large.0 && small.1 <= large.1 && small.2 <= large.2 && small != large, "{kind}");
        let wrong = Preset { smaller: [("field.nothing".to_string(), 1.into())].into(), ..preset.clone() };
        assert!(wrong.to_smaller().is_err(), "a value that is not there");
        assert_eq!(Preset { smaller: [].into(), ..preset }.to_smaller().expect("nothing to change"), None);
    }
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
    // Five levels that fit a table of 2¹⁹ (16³, 24³, 34³, 50³, 72³), nine that do not, two values an entry; then the
    // same heads, of which the first begins at 28.
    let entries = 4096 + 13_824 + 39_304 + 125_000 + 373_248 + 9 * (1 << 19);
    assert_eq!(hash, 2 * entries + 28 * 64 + 64 * 16 + 31 * 64 + 64 * 64 + 64 * 3);
    assert_eq!((hash, millions(hash, 1).as_str()), (10_557_216, "10.6"));

    // A vertex of Plenoxels: a density and nine harmonics of three channels; the ball in 256³.
    let voxels = load("paper", Kind::Voxels).field;
    let shapes = voxels.shapes().expect("a sound preset");
    assert_eq!(shapes.iter().map(|(_, [_, columns])| columns).sum::<usize>(), 28);
    // One Gaussian of degree 3: 3 + 3 + 4 + 1 + 48 (Kerbl et al. 2023).
    let shapes = load("paper", Kind::Gaussians).field.shapes().expect("a sound preset");
    assert_eq!(shapes.iter().map(|(_, [_, columns])| columns).sum::<usize>(), 59);
}

#[test]
fn the_factorised_paper_presets_have_the_published_number_of_parameters() {
    let millions = |n: usize, digits: usize| format!("{:.digits$}", n as f64 / 1e6);
    // TensoRF, table 1 and its code: VM-192 at 300³ has 69.5 MB, CP-384 at 500³ 2.5 MB, in single precision. The head reads
    // 27 features and the direction, both in two octaves: 150 → 128 → 128 → 3 with biases.
    let at = |kind: Kind, values: &[(&str, &str)]| {
        count(&Preset::load("paper", kind, &sets(values)).expect("a sound preset").field)
    };
    let head = (150 + 1) * 128 + (128 + 1) * 128 + (128 + 1) * 3;
    let vm = at(Kind::Vm, &[("field.resolution", "[300, 300, 300]")]);
    assert_eq!(vm, 3 * (300 * 300 + 300) * (16 + 48) + 144 * 27 + head);
    assert_eq!((vm, millions(4 * vm, 1).as_str()), (17_377_715, "69.5"));
    let cp = at(Kind::Cp, &[("field.resolution", "[500, 500, 500]")]);
    assert_eq!(cp, 3 * 500 * (96 + 288) + 288 * 27 + head);
    assert_eq!((cp, millions(4 * cp, 1).as_str()), (620_003, "2.5"));
    // The last growth of each preset leads there.
    for (kind, edge) in [(Kind::Vm, 300), (Kind::Cp, 500)] {
        assert_eq!(load("paper", kind).train.growth.last().and_then(|g| g.resolution), Some(edge));
    }
    // The VM of progressive volume distillation: the same at 300³ with the small heads, 17.3 M.
    let small: &[_] = &[
        ("field.resolution", "[300, 300, 300]"),
        ("field.volume.latent", "15"),
        ("field.volume.colour_hidden", "[64, 64]"),
        ("field.volume.colour_encoding", "sh"),
    ];
    assert_eq!(at(Kind::Vm, small), 17_337_600 + 144 * 15 + 31 * 64 + 64 * 64 + 64 * 3);
    assert_eq!(millions(at(Kind::Vm, small), 1), "17.3");
}

#[test]
fn one_seed_gives_one_field() {
    for &kind in Kind::ALL {
        let config = tiny_preset(kind, &[]).field;
        let init = |seed| config.init(&Scene::default(), seed, &cpu()).expect("a sound preset");
        assert_same_field(&init(3), &init(3), kind.name());
        let (a, b) = (init(3), init(4));
        let differ =
            a.params().iter().zip(b.params()).any(|(p, q)| values(p.tensor.clone()) != values(q.tensor.clone()));
        assert!(differ, "{kind}: the seed does nothing");
    }
}

#[test]
fn a_loaded_field_draws_the_same_picture_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (kind, unbounded) in everywhere() {
        let field = stirred(kind, &tiny_scene(unbounded), 7);
        let made =
            Provenance { made_by: "a test".into(), from: "noise".into(), steps: 3, seed: 7, ..Provenance::default() };
        let path = folder.path().join("field.safetensors");
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
            assert_same_bits(&a, &b, &format!("{kind} from view {view}, unbounded: {unbounded}"));
        }
        let (from_memory, _) = files::from_bytes(&std::fs::read(&path).expect("it is there"), &cpu()).expect("our own");
        assert_same_field(&loaded, &from_memory, kind.name());
        let again = folder.path().join("again.safetensors");
        files::save(&loaded, &made, &again).expect("a writable folder");
        assert_eq!(std::fs::read(&path).ok(), std::fs::read(&again).ok(), "{kind}: equal fields give equal files");
    }
}

/// Every kind in a bounded scene and in one without end.
fn everywhere() -> impl Iterator<Item = (Kind, bool)> {
    Kind::ALL.iter().flat_map(|&kind| [(kind, false), (kind, true)])
}

/// The picture that collects gradients and the one that does not are of the same light.
#[test]
fn the_tracked_picture_is_the_untracked_one() {
    for (kind, unbounded) in everywhere() {
        let field = stirred(kind, &tiny_scene(unbounded), 8);
        let tracked = values(field.trainable().render(&camera(24, 2), &RenderOptions::default()).pixels.inner());
        let plain = picture(&field, &camera(24, 2));
        let worst = |channels: std::ops::Range<usize>| {
            let pixels = tracked.chunks_exact(5).zip(plain.chunks_exact(5));
            let pairs = pixels.flat_map(|(a, b)| channels.clone().map(|c| (a[c] - b[c]).abs()));
            pairs.fold(0.0, f32::max)
        };
        assert!(worst(0..4) < 2e-4, "{kind}: colour or alpha differ by {}", worst(0..4));
        assert!(worst(4..5) < 2e-3, "{kind}: depth differs by {}", worst(4..5));
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
        const SIZE: u32 = 14;
        let mut rng = Rng::new(5, "weights");
        let weights = (0..5 * SIZE * SIZE).map(|_| rng.range(-0.2, 1.0)).collect();
        // A ray that ends early ends elsewhere when a density changes: a kink.
        Self { camera: camera(SIZE, 3), weights, options: RenderOptions { stop: 0.0, ..RenderOptions::default() } }
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
        let of = |p: &Param<'_>| p.tensor.grad(&grads).map(values).expect("every parameter counts");
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

/// Entries of each parameter that are compared.
const ENTRIES: usize = 6;

#[test]
fn gradients_of_a_picture_agree_with_finite_differences() {
    let loss = Loss::new();
    for (kind, unbounded) in everywhere() {
        let field = stirred(kind, &tiny_scene(unbounded), 9);
        let gradient = loss.gradient(&field);
        let mut rng = Rng::new(9, "entries");
        for (p, param) in field.params().iter().enumerate() {
            let (g, what) = (&gradient[p], format!("{kind}, unbounded: {unbounded}, {}", param.name));
            let largest = f64::from(g.iter().fold(0.0_f32, |most, v| most.max(v.abs())));
            assert!(largest > 0.0, "{what}: no gradient");
            let near = |claimed: f64, slope: f64| (claimed - slope).abs() < 0.02 * slope.abs() + 1e-3 * largest;
            let mut compared = 0;
            for _ in 0..4 * ENTRIES {
                // Those that matter: of many parameters most entries are not seen from one camera.
                let among = |rng: &mut Rng| {
                    (0..10_000).map(|_| rng.below(g.len())).find(|&i| f64::from(g[i].abs()) > 0.03 * largest)
                };
                let entry = among(&mut rng).unwrap_or_default();
                let slopes = [4e-3, 2e-3].map(|h| loss.slope(&field, p, entry, h));
                // Where two steps disagree there is a kink between them: a ReLU's, or the edge of a Gaussian.
                if !near(slopes[0], slopes[1]) {
                    continue;
                }
                let claimed = f64::from(g[entry]);
                assert!(near(claimed, slopes[1]), "{what} {entry}: {claimed} and by differences {slopes:?}");
                // The comparison is worth something: it refuses a gradient that is a tenth too large.
                assert!(!near(1.1 * claimed, slopes[1]), "{what} {entry}: the comparison is too loose");
                compared += 1;
                if compared == ENTRIES {
                    break;
                }
            }
            assert!(compared == ENTRIES, "{what}: only {compared} entries are away from kinks");
        }
    }
}

/// An entry without a gradient does nothing to the picture.
#[test]
fn what_gets_no_gradient_does_nothing() {
    let loss = Loss::new();
    for (kind, unbounded) in everywhere() {
        let field = stirred(kind, &tiny_scene(unbounded), 10);
        for (p, g) in loss.gradient(&field).iter().enumerate() {
            let unused = (0..g.len()).filter(|&i| g[i] == 0.0).step_by(g.len().div_ceil(3).max(1));
            for entry in unused.take(3) {
                let slope = loss.slope(&field, p, entry, 1e-3);
                assert!(slope.abs() < 1e-3, "{kind}, unbounded: {unbounded}, parameter {p}, entry {entry}: {slope}");
            }
        }
    }
}

#[test]
fn values_are_replaced_one_by_one() {
    for &kind in Kind::ALL {
        for name in PRESETS {
            let plain = load(name, kind);
            let one = |key: &str, value: &str| {
                Preset::load(name, kind, &sets(&[(key, value)])).expect("a value of every preset")
            };
            let changed = one("train.steps", "17");
            assert_eq!(changed.train.steps, 17);
            let restored = Preset { train: TrainConfig { steps: plain.train.steps, ..changed.train }, ..changed };
            assert_eq!(restored, plain, "{kind} {name}: nothing else changed");
            // A whole number where there is a fraction, a word without quotes, a schedule, a list of tables.
            assert_eq!(one("train.ssim", "1").train.ssim, 1.0);
            assert_eq!(one("train.background", "white").train.background, Background::White);
            assert_eq!(one("train.loss", "\"huber\"").train.loss, TrainLoss::Huber);
            for group in plain.train.optimise.rates.keys() {
                let key = format!("train.optimise.rates.{group}");
                assert_eq!(one(&key, "1").train.optimise.rates[group], Schedule::Constant(1.0));
                let points = one(&key, "[[0.0, 1e-2], [1.0, 1e-3]]").train.optimise.rates[group].clone();
                assert_eq!(points, Schedule::Points(vec![[0.0, 1e-2], [1.0, 1e-3]]));
            }
            let stages = one("convert.stages", "[{ level = \"image\", share = 1.0, pixel = 1.0 }]").convert.stages;
            assert_eq!(stages.len(), 1);
        }
    }
    let both = Preset::load("fast", Kind::Hash, &sets(&[("train.rays", "64"), ("train.rays", "32")])).expect("known");
    assert_eq!(both.train.rays, 32, "the last one counts");
}

/// Values that a field of the kind cannot have.
const IMPOSSIBLE: &[(Kind, &str, &str)] = &[
    (Kind::Hash, "field.levels", "0"),
    (Kind::Hash, "field.features", "3"),
    (Kind::Hash, "field.log2_table_size", "40"),
    (Kind::Hash, "field.finest_resolution", "1"),
    (Kind::Hash, "field.sigma_hidden", "[0]"),
    (Kind::Hash, "field.volume.latent", "0"),
    (Kind::Hash, "field.volume.occupancy_resolution", "100"),
    (Kind::Hash, "field.volume.log_sigma_range", "[3.0, -3.0]"),
    (Kind::Hash, "field.volume.cone_angle", "nan"),
    (Kind::Mlp, "field.depth", "1"),
    (Kind::Mlp, "field.skip", "40"),
    (Kind::Mlp, "field.width", "1000000"),
    (Kind::Mlp, "field.volume.samples_per_diagonal", "1"),
    (Kind::Voxels, "field.resolution", "1"),
    (Kind::Voxels, "field.resolution", "2000"),
    (Kind::Voxels, "field.density", "square"),
    (Kind::Voxels, "field.colour", "grey"),
    (Kind::Voxels, "field.initial_sigma", "0"),
    (Kind::Voxels, "field.volume.latent", "3"),
    (Kind::Voxels, "field.volume.log_sigma_range", "[3.0, -3.0]"),
    (Kind::Vm, "field.resolution", "[128, 128, 1]"),
    (Kind::Vm, "field.resolution", "[4096, 4096, 4096]"),
    (Kind::Vm, "field.resolution", "128"),
    (Kind::Vm, "field.sigma_rank", "0"),
    (Kind::Vm, "field.density", "relu"),
    (Kind::Vm, "field.volume.colour_encoding", "none"),
    (Kind::Cp, "field.app_rank", "100000"),
    (Kind::Cp, "field.density_scale", "nan"),
    (Kind::Cp, "field.bounds", "[[0.0, 0.0, 0.0], [1.0, 1.0, -1.0]]"),
    (Kind::Gaussians, "field.sh_degree", "7"),
    (Kind::Gaussians, "field.initial", "0"),
    (Kind::Gaussians, "field.density.teapot", "1"),
    (Kind::Gaussians, "field.density.split_into", "4000000000"),
    (Kind::Gaussians, "field.density.grad_threshold", "nan"),
    (Kind::Gaussians, "field.density.split_shrink", "0.0"),
    (Kind::Gaussians, "field.density.opacity_reset_to", "1.0"),
];

#[test]
fn values_that_cannot_be_are_refused() {
    let refused = |kind: Kind, name: &str, key: &str, value: &str| {
        let error = Preset::load(name, kind, &sets(&[(key, value)])).err();
        let error = error.unwrap_or_else(|| panic!("{kind} {name}: --set {key}={value} is taken"));
        assert!(!error.remedy.is_empty(), "{kind} {name}: --set {key}={value} has no remedy: {error}");
        error
    };
    for &kind in Kind::ALL {
        for name in PRESETS {
            for key in [
                "train.stepps",
                "field.flavour",
                "teapot",
                "train.steps.more",
                "",
                ".",
                "train",
                "train.",
                "field.kind",
            ] {
                refused(kind, name, key, "3");
            }
            // Keys that are new are named, so that a slip of the pen is found.
            assert!(refused(kind, name, "train.stepps", "3").what.contains("stepps"));
            assert!(refused(kind, name, "field.flavour", "3").what.contains("flavour"));
            let bad = [
                ("train.steps", "0"),
                ("train.steps", "-1"),
                ("train.steps", "1.5"),
                ("train.steps", "many"),
                ("train.steps", "5000000000"),
                ("train.rays", "0"),
                ("train.rays", "100000000"),
                ("train.loss", "l3"),
                ("train.background", "plaid"),
                ("train.ema", "1"),
                ("train.ema", "-0.1"),
                ("train.ema", "nan"),
                ("train.ssim", "nan"),
                ("train.ssim", "2"),
                ("train.occupancy.every", "0"),
                ("train.occupancy.decay", "1.5"),
                ("convert.steps", "0"),
                ("convert.rays", "0"),
                ("convert.views", "0"),
                ("convert.view_size", "8"),
                ("convert.view_size", "100000"),
                ("convert.stages", "[]"),
                ("convert.seeds", "-1"),
                ("convert.seeds", "100000000000"),
                ("convert.stages", "[{ level = \"pixel\", share = 1.0 }]"),
                ("convert.stages", "[{ level = \"image\", share = 0.0 }]"),
                ("convert.stages", "[{ level = \"image\", share = 1.0, rays = 0 }]"),
                ("convert.stages", "[{ level = \"image\", share = 1.0, pixel = nan }]"),
                ("convert.stages", "[{ level = \"image\", share = 1.0, pixels = 1.0 }]"),
                ("train.optimise.adam.beta1", "1.5"),
                ("train.optimise.adam.eps", "nan"),
            ];
            for (key, value) in bad {
                refused(kind, name, key, value);
            }
            let group = load(name, kind).train.optimise.rates.keys().next().cloned().expect("some rate");
            for value in ["nan", "inf", "[]", "[[0.0, 1.0], [0.0, 2.0]]", "[[0.0, nan]]", "fast"] {
                refused(kind, name, &format!("train.optimise.rates.{group}"), value);
            }
        }
    }
    for &(kind, key, value) in IMPOSSIBLE {
        refused(kind, "fast", key, value);
    }
}

/// A learning rate of a group that no parameter has would do nothing.
#[test]
fn a_rate_of_nothing_is_refused() {
    for &kind in Kind::ALL {
        let preset = tiny_preset(kind, &[("train.optimise.rates.tabel", "0.1")]);
        let error = Train::new(tiny_dataset(), &preset, &RunOptions::default(), &cpu()).err().expect("no such group");
        assert!(error.what.contains("tabel") && !error.remedy.is_empty(), "{error}");
    }
}

#[test]
fn presets_are_read_from_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mine.toml");
    let name = path.to_str().expect("a plain path");
    for &kind in Kind::ALL {
        let (_, text) = preset::names().into_iter().find(|(n, _)| *n == format!("{kind} fast")).expect("listed");
        std::fs::write(&path, text).expect("a writable folder");
        let own = Preset::load(name, kind, &sets(&[("train.steps", "9")])).expect("the text of a built-in preset");
        assert_eq!((own.field, own.train.steps), (load("fast", kind).field, 9));
        let other = *Kind::ALL.iter().find(|k| **k != kind).expect("several kinds");
        let error = Preset::load(name, other, &[]).expect_err("of another kind");
        assert!(error.file.as_ref() == Some(&path) && error.remedy.contains(kind.name()), "{error}");

        for bad in [
            format!("teapot = 1\n{text}"),
            text.replace("[train]", "[train]\nstepps = 3"),
            text.replace("[field]", "[field]\nflavour = 3"),
            text.replace("[convert]", "[convert]\nview = 3"),
            text.replace("[train]", "[trian]"),
            text.replacen("steps = ", "", 1),
            text.replace(&format!("kind = \"{kind}\""), "kind = \"teapot\""),
            text.replace("[train]", "[train"),
            String::new(),
            "\0\u{fffd}".into(),
        ] {
            assert_ne!(bad, text, "the edit does something");
            std::fs::write(&path, &bad).expect("a writable folder");
            let error = Preset::load(name, kind, &[]).err().unwrap_or_else(|| panic!("{kind}: it is taken:\n{bad}"));
            assert_eq!(error.file.as_ref(), Some(&path), "{error}");
        }
    }
    std::fs::write(&path, b"\xff\xfe not text").expect("a writable folder");
    assert_eq!(Preset::load(name, Kind::Hash, &[]).expect_err("not text").file.as_ref(), Some(&path));
    let missing = folder.path().join("missing.toml");
    let error = Preset::load(missing.to_str().expect("plain"), Kind::Hash, &[]).expect_err("missing");
    assert!(error.file.as_ref() == Some(&missing) && error.remedy == "check the path", "{error}");
    let error = Preset::load("slow", Kind::Hash, &[]).expect_err("no such preset");
    assert!(error.what.contains("slow") && error.remedy.contains("paper"), "{error}");
}
