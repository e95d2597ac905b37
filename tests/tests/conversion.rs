//! Conversion among all kinds, from tiny teachers trained on a tiny procedural scene: every directed pair learns, drops
//! the stages that it has no place for, inherits what is empty, and goes on from a checkpoint bit for bit.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::preset::Preset;
use retort_distill::task::{Progress, Task};
use retort_distill::train::Train;
use retort_fields::error::Result;
use retort_fields::field::{Scene, Volume, tensor, values};
use retort_fields::files::archive::Archive;
use retort_fields::parts::occupancy::Occupancy;
use retort_fields::registry::{AnyField, Kind};
use retort_fields::rng::Rng;
use retort_shaders::Aabb;
use retort_tests::{
    advance, assert_same_bits, assert_same_field, cpu, finish, is_finite, psnr_between, stirred, tiny_dataset,
    tiny_preset, tiny_scene,
};

/// Three stages of which the first two are over after 4 steps each, in a run of 4000 announced steps: quality is
/// measured twenty times in a run, which takes longer than tiny steps do.
const QUICK: &[(&str, &str)] = &[
    ("convert.steps", "4000"),
    (
        "convert.stages",
        "[{ level = 'latent', share = 0.001, latent = 1.0, sigma = 0.02 }, \
          { level = 'volume', share = 0.001, sigma = 0.02, rgb = 1.0 }, \
          { level = 'image', share = 0.998, sigma = 0.001, rgb = 0.1, pixel = 1.0, alpha = 0.1 }]",
    ),
];

/// A trained tiny field, made once.
fn teacher(kind: Kind) -> &'static AnyField {
    static TEACHERS: OnceLock<Vec<AnyField>> = OnceLock::new();
    let all = TEACHERS.get_or_init(|| {
        let train = |kind: Kind| {
            let preset = tiny_preset(kind, &[("train.steps", "4000")]);
            let mut task = Train::new(tiny_dataset(), &preset, &RunOptions::default(), &cpu()).expect("a sound preset");
            advance(&mut task, 120);
            task.current()
        };
        Kind::ALL.iter().map(|&kind| train(kind)).collect()
    });
    all.iter().find(|field| field.kind() == kind).expect("one of each")
}

/// All directed pairs.
fn pairs() -> impl Iterator<Item = (Kind, Kind)> {
    Kind::ALL.iter().flat_map(|&from| Kind::ALL.iter().map(move |&to| (from, to)))
}

fn begin(teacher: &AnyField, preset: &Preset) -> Result<Convert> {
    Convert::new(teacher, preset, &RunOptions::default(), &cpu())
}

/// The width of a kind's latent, if it has one that can be taught.
fn latents(kind: Kind) -> Option<usize> {
    teacher(kind).as_volume().and_then(Volume::latent_dim)
}

/// The stages that were gone through, each with its first step.
fn stages(steps: &[Progress]) -> Vec<(String, u32)> {
    let mut seen: Vec<(String, u32)> = Vec::new();
    for progress in steps {
        if seen.last().is_none_or(|(name, _)| *name != progress.stage) {
            seen.push((progress.stage.clone(), progress.step));
        }
    }
    seen
}

fn losses(steps: &[Progress]) -> Vec<f32> {
    steps.iter().map(|p| p.loss).collect()
}

#[test]
fn every_pair_learns() {
    let shares = "[{ level = 'latent', share = 0.006, latent = 1.0, sigma = 0.02 }, \
                   { level = 'volume', share = 0.012, sigma = 0.02, rgb = 1.0 }, \
                   { level = 'image', share = 0.982, sigma = 0.001, rgb = 0.1, pixel = 1.0, alpha = 0.1 }]";
    for (from, to) in pairs() {
        let preset = tiny_preset(to, &[("convert.steps", "4000"), ("convert.stages", shares)]);
        let mut task = begin(teacher(from), &preset).expect("a pair that fits");
        let before = psnr_between(teacher(from), &task.current());
        let steps = advance(&mut task, 160);
        let after = psnr_between(teacher(from), &task.current());
        // Gaussians start on what the teacher shows; a volume starts as fog.
        let least = if to == Kind::Gaussians { 23.0 } else { 15.0 };
        // What a student takes over without training may be good already.
        assert!(
            after > least && (after > before + 4.0 || before > least),
            "{from} to {to}: {before:.2} dB to {after:.2} dB"
        );
        // Tiny students may be too coarse, and say so; nothing else happens.
        let quiet = |p: &Progress| p.note.as_ref().is_none_or(|note| note.contains("too coarse"));
        assert!(steps.iter().all(|p| p.loss.is_finite() && quiet(p)), "{from} to {to}");
    }
}

#[test]
fn progress_counts_and_measures() {
    let teacher = teacher(Kind::Hash);
    let mut task = begin(teacher, &tiny_preset(Kind::Gaussians, &[("convert.steps", "40")])).expect("a pair that fits");
    let (steps, outcome) = finish(&mut task);
    assert_eq!(steps.iter().map(|p| p.step).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert!(steps.iter().all(|p| p.of == 40 && p.stage == "image" && p.note.is_none()));
    assert_eq!(steps.iter().filter(|p| p.psnr.is_some()).count(), 20, "measured twenty times");
    let (said, measured) = (outcome.psnr.expect("it is measured"), psnr_between(teacher, &task.current()));
    assert!((said - measured).abs() < 4.0, "{said:.2} dB is said, {measured:.2} dB measured on other views");
    assert!(outcome.steps == 40 && task.step().is_ok_and(|flow| flow.is_break()), "it stays at its end");
    assert!(!task.current().device().is_autodiff(), "the result collects no gradients");
}

/// The shares are of the stages that are left: of 4000 steps, 4.4 and 12.4, or 12.4 (a step belongs to the stage that it
/// begins in).
#[test]
fn stages_without_a_place_are_dropped() {
    let named = |list: &[(&str, u32)]| list.iter().map(|(name, step)| ((*name).to_string(), *step)).collect::<Vec<_>>();
    let shares = "[{ level = 'latent', share = 0.0011, latent = 1.0 }, { level = 'volume', share = 0.0031, sigma = 1.0 }, \
                   { level = 'image', share = 0.9958, pixel = 1.0 }]";
    for (from, to) in pairs() {
        let run = |more: &[(&str, &str)]| {
            let values =
                [&[("convert.steps", "4000"), ("convert.stages", shares), ("convert.rays", "32")], more].concat();
            let mut task = begin(teacher(from), &tiny_preset(to, &values)).expect("a pair that fits");
            stages(&advance(&mut task, 20))
        };
        let both = latents(from).is_some() && latents(to).is_some();
        let expected: &[(&str, u32)] = match to {
            Kind::Gaussians => &[("image", 1)],
            // What Gaussians are at points is where these begin.
            Kind::Voxels | Kind::Vm | Kind::Cp if from == Kind::Gaussians => &[("image", 1)],
            _ if both => &[("latent", 1), ("volume", 6), ("image", 18)],
            _ => &[("volume", 1), ("image", 14)],
        };
        assert_eq!(run(&[]), named(expected), "{from} to {to}");
        if latents(to).is_some() {
            let other_width = run(&[("field.volume.latent", "9")]);
            assert_eq!(other_width, named(expected), "{from} to {to}: a latent of another width has its place");
        }
    }
    let latent_only = ("convert.stages", "[{ level = 'latent', share = 1.0, latent = 1.0 }]");
    for (from, to) in [(Kind::Hash, Kind::Gaussians), (Kind::Gaussians, Kind::Mlp)] {
        let error = begin(teacher(from), &tiny_preset(to, &[latent_only])).err().expect("no stage is left");
        assert!(error.what.contains("no stage") && error.remedy.contains("image"), "{error}");
    }
}

/// A voxel grid asks its teacher at every vertex and shows the same at once, before any step.
#[test]
fn voxels_take_over_what_they_can() {
    for &from in Kind::ALL.iter().filter(|kind| **kind != Kind::Voxels) {
        let finer = ("convert.growth", "[{ at = 0.0, resolution = 32 }]");
        for more in [&[finer][..], &[finer, ("field.density", "linear"), ("field.colour", "clip")]] {
            let preset = tiny_preset(Kind::Voxels, more);
            let student = begin(teacher(from), &preset).expect("a pair that fits").current();
            let fresh = preset.field.init(teacher(from).scene(), 0, &cpu()).expect("a sound preset");
            let (taken, drawn) = (psnr_between(teacher(from), &student), psnr_between(teacher(from), &fresh));
            assert!(taken > 20.0 && taken > drawn + 6.0, "{from}, {more:?}: {taken:.2} dB, a new one {drawn:.2} dB");
        }
    }
}

/// Factors are found by least squares, before any step: with the teacher's latent where there is one to share.
#[test]
fn factors_take_over_what_they_can() {
    for to in [Kind::Vm, Kind::Cp] {
        for &from in Kind::ALL.iter().filter(|kind| **kind != to) {
            let preset = tiny_preset(to, &[("convert.growth", "[{ at = 0.0, resolution = 32 }]")]);
            let student = begin(teacher(from), &preset).expect("a pair that fits").current();
            let fresh = preset.field.init(teacher(from).scene(), 0, &cpu()).expect("a sound preset");
            let (taken, drawn) = (psnr_between(teacher(from), &student), psnr_between(teacher(from), &fresh));
            assert!(taken > 15.0 && taken > drawn + 4.0, "{from} to {to}: {taken:.2} dB, a new one {drawn:.2} dB");
        }
    }
}

/// A field of its own kind and another size begins as its teacher, as far as there is room.
#[test]
fn a_field_of_its_own_kind_is_taken_over() {
    let gaussians = teacher(Kind::Gaussians).as_primitives().expect("primitives").count();
    let half = (gaussians / 2).to_string();
    let sizes = [
        (Kind::Hash, ("field.log2_table_size", "14"), 40.0),
        (Kind::Hash, ("field.log2_table_size", "11"), 14.0),
        (Kind::Gaussians, ("field.density.max_gaussians", "0"), 90.0),
        (Kind::Gaussians, ("field.density.max_gaussians", half.as_str()), 14.0),
    ];
    for (kind, size, least) in sizes {
        let preset = tiny_preset(kind, &[size]);
        let student = begin(teacher(kind), &preset).expect("a pair that fits").current();
        let fresh = preset.field.init(teacher(kind).scene(), 0, &cpu()).expect("a sound preset");
        let (taken, drawn) = (psnr_between(teacher(kind), &student), psnr_between(teacher(kind), &fresh));
        assert!(taken > least && taken > drawn + 2.0, "{kind}, {size:?}: {taken:.2} dB, a new one {drawn:.2} dB");
    }
}

/// A student that is too coarse for its teacher is taught all the same, after a word on what to expect.
#[test]
fn a_student_that_is_too_small_is_told_of() {
    let wide = [("convert.view_size", "96")];
    let first_note = |kind: Kind, more: (&str, &str)| {
        let preset = tiny_preset(kind, &[&wide[..], &[more]].concat());
        let mut task = begin(teacher(Kind::Hash), &preset).expect("a pair that fits");
        advance(&mut task, 1)[0].note.clone()
    };
    for kind in [Kind::Voxels, Kind::Vm, Kind::Cp] {
        let grown = |resolution: u32| format!("[{{ at = 0.0, resolution = {resolution} }}]");
        let told = first_note(kind, ("convert.growth", &grown(4))).unwrap_or_else(|| panic!("{kind}: no note"));
        assert!(told.contains("too coarse") && told.contains(" dB") && told.contains(kind.name()), "{told}");
        assert_eq!(first_note(kind, ("convert.growth", &grown(96))), None, "{kind}");
    }
    let told = first_note(Kind::Hash, ("field.finest_resolution", "4")).expect("a note");
    assert!(told.contains("too coarse"), "{told}");
    assert_eq!(first_note(Kind::Hash, ("field.finest_resolution", "512")), None);
    assert_eq!(first_note(Kind::Mlp, ("field.width", "16")), None, "a network's size does not tell");
}

/// A latent of another width learns at the latent level through an adaptor, which a checkpoint keeps.
#[test]
fn latents_of_other_widths_are_led_to_one_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let only = ("convert.stages", "[{ level = 'latent', share = 1.0, latent = 1.0, sigma = 0.0 }]");
    let preset = tiny_preset(Kind::Mlp, &[("convert.steps", "4000"), ("field.volume.latent", "4"), only]);
    let teacher = teacher(Kind::Hash);
    assert_eq!(latents(Kind::Hash), Some(7));
    let mut whole = begin(teacher, &preset).expect("a latent has its place");
    let all = losses(&advance(&mut whole, 80));
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    assert!(mean(&all[70..]) < 0.6 * mean(&all[..5]), "{} to {}", mean(&all[..5]), mean(&all[70..]));
    let mut first = begin(teacher, &preset).expect("a latent has its place");
    advance(&mut first, 40);
    first.save_checkpoint(&path).expect("a writable folder");
    let resume = || Convert::resume(teacher, &preset, &path, &RunOptions::default(), &cpu());
    let mut second = resume().expect("our own");
    let rest = losses(&advance(&mut second, 40));
    assert_same_bits(&rest, &all[40..], "losses");
    assert_same_field(&second.current(), &whole.current(), "the student");
    // Without what the adaptor knew it goes on differently, and without the adaptor not at all.
    let mut archive = Archive::read(&path).expect("our own");
    let kept = archive.tensors.iter_mut().find(|t| t.0.ends_with("adaptor")).expect("the adaptor");
    kept.2.fill(0.1);
    archive.write(&path).expect("a writable folder");
    let other = losses(&advance(&mut resume().expect("of the same shape"), 1));
    assert_ne!(other[0], all[40], "the adaptor matters");
    archive.tensors.retain(|t| !t.0.ends_with("adaptor"));
    archive.write(&path).expect("a writable folder");
    assert!(resume().is_err_and(|e| e.what.contains("adaptor") && !e.remedy.is_empty()));
}

fn occupancy(field: &AnyField) -> Arc<Occupancy> {
    Arc::clone(field.as_volume().expect("a volume").occupancy())
}

#[test]
fn a_student_inherits_what_is_empty_and_the_colour_network() {
    for (from, to) in pairs().filter(|(from, to)| *from != Kind::Gaussians && *to != Kind::Gaussians) {
        let mut teacher = teacher(from).clone();
        let mut grid = Occupancy::new_empty(16, Aabb::cube(1.0));
        grid.mark(glam::Vec3::splat(-0.6), glam::Vec3::splat(0.5), |p| p.length() < 0.7);
        teacher.as_volume_mut().expect("a volume").set_occupancy(Arc::new(grid.clone()));
        let teacher = &teacher;
        let student = begin(teacher, &tiny_preset(to, QUICK)).expect("a pair that fits").current();
        assert!((0.01..0.5).contains(&grid.occupied_fraction()), "partly empty");
        assert!(occupancy(&student).bits() == grid.bits(), "{from} to {to}: occupancy");
        if latents(from).is_none() || latents(to).is_none() {
            continue;
        }
        let colour = |field: &AnyField| {
            let params = field.params();
            params.iter().find(|p| p.name == "colour_net").map(|p| values(p.tensor.clone())).expect("both have one")
        };
        assert_same_bits(&colour(teacher), &colour(&student), &format!("{from} to {to}: colour network"));
        // Where the widths differ there is nothing to inherit.
        let wide = tiny_preset(to, &[QUICK, &[("field.volume.latent", "9")]].concat());
        let stranger = begin(teacher, &wide).expect("a pair that fits").current();
        assert_ne!(colour(teacher).len(), colour(&stranger).len());
    }
}

/// A finer grid knows as much as a coarser one did; in a coarser one a cell is occupied where any part of it was.
#[test]
fn occupancy_is_inherited_in_any_resolution() {
    let mut rng = Rng::new(1, "points");
    for (old_side, new_side) in [(16, 32), (64, 16), (32, 32)] {
        let mut field = stirred(Kind::Hash, &tiny_scene(false), 3);
        // A lump that the probes see, and specks.
        let mut grid = Occupancy::new_empty(old_side, Aabb::cube(1.0));
        grid.mark(glam::Vec3::splat(-0.4), glam::Vec3::splat(0.5), |p| p.length() < 0.45);
        for _ in 0..20 {
            let speck = glam::Vec3::new(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
            grid.mark(speck, speck, |_| true);
        }
        field.as_volume_mut().expect("a volume").set_occupancy(Arc::new(grid.clone()));
        let side = new_side.to_string();
        let preset = tiny_preset(Kind::Mlp, &[QUICK, &[("field.volume.occupancy_resolution", &side)]].concat());
        let new = occupancy(&begin(&field, &preset).expect("a pair that fits").current());
        assert_eq!(new.resolution(), new_side);
        let mut both = 0;
        for _ in 0..20_000 {
            let p = glam::Vec3::new(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
            both += usize::from(grid.contains(p));
            assert!(new.contains(p) || !grid.contains(p), "{old_side} to {new_side}: {p} is lost");
            assert!(new_side < old_side || new.contains(p) == grid.contains(p), "{old_side} to {new_side}: {p} is new");
        }
        assert!(both > 100, "the test looks at something");
        assert!(new.occupied_fraction() < grid.occupied_fraction() * 3.0, "and most stays empty");
    }
}

#[test]
fn gaussians_tell_where_they_are() {
    let teacher = teacher(Kind::Gaussians);
    let points = teacher.as_primitives().expect("Gaussians").draw_points(2000, &mut Rng::new(1, "points"));
    for to in [Kind::Hash, Kind::Mlp] {
        let grid = occupancy(&begin(teacher, &tiny_preset(to, QUICK)).expect("a pair that fits").current());
        let inside = points.chunks_exact(3).map(glam::Vec3::from_slice).filter(|p| p.abs().max_element() < 1.0);
        let (n, found) = inside.fold((0, 0), |(n, found), p| (n + 1, found + usize::from(grid.contains(p))));
        assert!(n > 500 && found * 100 >= n * 99, "{found} of {n} points lie in occupied cells");
    }
    // One small Gaussian leaves nearly everything empty.
    let mut one = teacher.clone();
    let rows: [(&str, Vec<f32>); 6] = [
        ("means", vec![0.1, 0.0, 0.2]),
        ("log_scales", vec![-2.5; 3]),
        ("rotations", vec![1.0, 0.0, 0.0, 0.0]),
        ("raw_opacity", vec![4.0]),
        ("sh_dc", vec![0.3; 3]),
        ("sh_rest", vec![0.0; 9]),
    ];
    for param in one.params_mut() {
        let (_, row) = rows.iter().find(|(name, _)| *name == param.name).expect("six parameters");
        *param.tensor = tensor(row.clone(), [1, row.len()], &cpu());
    }
    let grid = occupancy(&begin(&one, &tiny_preset(Kind::Hash, QUICK)).expect("it is seen").current());
    assert!(grid.contains(glam::Vec3::new(0.1, 0.0, 0.2)), "where it is");
    assert!(grid.occupied_fraction() < 0.1, "{} of the box is occupied", grid.occupied_fraction());
}

/// The teacher with nothing in it.
fn emptied(kind: Kind) -> AnyField {
    let mut field = teacher(kind).clone();
    if let Some(volume) = field.as_volume_mut() {
        let resolution = volume.occupancy().resolution();
        volume.set_occupancy(Arc::new(Occupancy::new_empty(resolution, Aabb::cube(1.0))));
    } else {
        for param in field.params_mut().into_iter().filter(|p| p.name == "raw_opacity") {
            *param.tensor = param.tensor.clone().mul_scalar(0.0).sub_scalar(20.0);
        }
    }
    field
}

/// A volume that has the density `exp(log_sigma)` everywhere.
fn fog(kind: Kind, log_sigma: f32) -> AnyField {
    let range = format!("[{}, {log_sigma}]", log_sigma - 1e-3);
    let preset = tiny_preset(kind, &[("field.volume.log_sigma_range", &range)]);
    preset.field.init(&tiny_scene(false), 1, &cpu()).expect("a sound preset")
}

#[test]
fn an_empty_teacher_is_refused() {
    for (from, to) in pairs() {
        let mut empty = vec![emptied(from)];
        if from != Kind::Gaussians {
            empty.push(fog(from, -19.0));
        }
        for field in &empty {
            let error =
                begin(field, &tiny_preset(to, &[])).err().unwrap_or_else(|| panic!("{from} to {to}: it is taken"));
            assert!(error.what.contains("shows nothing") && error.remedy.contains("render"), "{from} to {to}: {error}");
        }
    }
    // Thin fog can be taught to a volume, but Gaussians find nothing to stand on.
    let thin = fog(Kind::Hash, -2.0);
    assert!(begin(&thin, &tiny_preset(Kind::Mlp, &[])).is_ok());
    let error = begin(&thin, &tiny_preset(Kind::Gaussians, &[])).err().expect("nowhere opaque");
    assert!(error.what.contains("nowhere opaque") && !error.remedy.is_empty(), "{error}");
}

#[test]
fn one_seed_gives_one_result() {
    for (from, to) in pairs() {
        let run = |seed: u64, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let options = RunOptions { seed, ..RunOptions::default() };
                let mut task = Convert::new(teacher(from), &tiny_preset(to, QUICK), &options, &cpu()).expect("a pair");
                let steps = advance(&mut task, 22);
                (losses(&steps), task.current())
            })
        };
        let (a, b) = (run(3, 2), run(3, 1));
        assert_same_bits(&a.0, &b.0, &format!("{from} to {to}: losses"));
        assert_same_field(&a.1, &b.1, &format!("{from} to {to}"));
        assert_ne!(run(4, 2).0, a.0, "{from} to {to}: another seed is another run");
    }
}

#[test]
fn a_checkpoint_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    for (i, (from, to)) in pairs().enumerate() {
        let preset = tiny_preset(to, &[QUICK, &[("convert.ema", "0.9")]].concat());
        let mut whole = begin(teacher(from), &preset).expect("a pair that fits");
        let all = losses(&advance(&mut whole, 24));
        // In each stage, and after Gaussians have changed their number; with most teachers one of these.
        let cuts = [0, 3, 6, 21];
        let cuts = if [Kind::Hash, Kind::Gaussians].contains(&from) { &cuts } else { &cuts[i % 4..][..1] };
        for &cut in cuts {
            let what = format!("{from} to {to}, cut at {cut}");
            let mut first = begin(teacher(from), &preset).expect("a pair that fits");
            advance(&mut first, cut);
            first.save_checkpoint(&path).expect("a writable folder");
            drop(first);
            let options = RunOptions { seed: 77, steps: Some(60), time: None };
            let mut second = Convert::resume(teacher(from), &preset, &path, &options, &cpu()).expect("our own");
            let rest = advance(&mut second, 24 - cut);
            assert_eq!((rest[0].step, rest[0].of), (cut as u32 + 1, 4000), "{what}");
            assert_same_bits(&losses(&rest), &all[cut..], &format!("{what}: losses"));
            assert_same_field(&second.current(), &whole.current(), &what);
        }
    }
}

/// Hard views come after four epochs of four steps at pixel level, which begins with the ninth step or the first.
#[test]
fn active_learning_goes_on_bit_for_bit() {
    const ACTIVE: &[(&str, &str)] =
        &[("convert.views", "4"), ("convert.active", "{ views = true, rays = true, points = true }")];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    for (from, to) in [(Kind::Hash, Kind::Mlp), (Kind::Gaussians, Kind::Hash), (Kind::Hash, Kind::Gaussians)] {
        let run = |active: bool, steps: usize| {
            let none = [ACTIVE[0], ("convert.active", "{}")];
            let preset = tiny_preset(to, &[QUICK, if active { ACTIVE } else { &none }].concat());
            let mut task = begin(teacher(from), &preset).expect("a pair that fits");
            let losses = losses(&advance(&mut task, steps));
            (task, losses, preset)
        };
        let (whole, all, preset) = run(true, 40);
        let cut = 30;
        let (mut first, ..) = run(true, cut);
        first.save_checkpoint(&path).expect("a writable folder");
        let mut second =
            Convert::resume(teacher(from), &preset, &path, &RunOptions::default(), &cpu()).expect("our own");
        let rest = losses(&advance(&mut second, 40 - cut));
        assert_same_bits(&rest, &all[cut..], &format!("{from} to {to}: losses"));
        assert_same_field(&second.current(), &whole.current(), &format!("{from} to {to}"));
        assert!(all.iter().all(|loss| loss.is_finite()));
        // The negative control: without it the run is another one, and its checkpoint does not do.
        let (mut plain, other, _) = run(false, 40);
        assert_ne!(other, all, "{from} to {to}");
        plain.save_checkpoint(&path).expect("a writable folder");
        let error = Convert::resume(teacher(from), &preset, &path, &RunOptions::default(), &cpu()).err();
        assert!(error.is_some_and(|e| e.what.contains("active learning")), "{from} to {to}");
    }
}

#[test]
fn a_checkpoint_of_other_work_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let resume =
        |from: &AnyField, preset: &Preset| Convert::resume(from, preset, &path, &RunOptions::default(), &cpu());
    let refused = |what: &str, result: Result<Convert>| {
        let error = result.err().unwrap_or_else(|| panic!("it is taken: {what}"));
        assert!(error.file.as_deref() == Some(path.as_path()) && !error.remedy.is_empty(), "{what}: {error}");
    };
    let preset = tiny_preset(Kind::Mlp, QUICK);
    let mut task = begin(teacher(Kind::Hash), &preset).expect("a pair that fits");
    advance(&mut task, 2);
    task.save_checkpoint(&path).expect("a writable folder");
    assert!(resume(teacher(Kind::Hash), &preset).is_ok());
    refused("another student", resume(teacher(Kind::Hash), &tiny_preset(Kind::Gaussians, QUICK)));
    refused("another kind of teacher", resume(teacher(Kind::Gaussians), &preset));
    refused("another teacher in another place", resume(&stirred(Kind::Hash, &Scene::default(), 4), &preset));
    let other = teacher(Kind::Hash).map(|values| values.mul_scalar(1.01));
    refused("another teacher in the same place", resume(&other, &preset));
    let wider = tiny_preset(Kind::Mlp, &[QUICK, &[("field.width", "24")]].concat());
    refused("another shape", resume(teacher(Kind::Hash), &wider));
    let mut archive = Archive::read(&path).expect("our own");
    archive.json["adam_t"] = "many".into();
    archive.write(&path).expect("a writable folder");
    refused("a damaged one", resume(teacher(Kind::Hash), &preset));

    let train = tiny_preset(Kind::Mlp, &[]);
    let mut task = Train::new(tiny_dataset(), &train, &RunOptions::default(), &cpu()).expect("a sound preset");
    task.save_checkpoint(&path).expect("a writable folder");
    refused("a checkpoint of training", resume(teacher(Kind::Hash), &preset));
    std::fs::remove_file(&path).expect("it was there");
    refused("nothing", resume(teacher(Kind::Hash), &preset));
    assert!(!Path::exists(&path), "reading makes no file");
}

/// Contracted space, no known cameras, the same kind again: odd input that is not wrong.
#[test]
fn odd_teachers_can_be_taught_from() {
    let unknown = Scene { cameras: Vec::new(), ..tiny_scene(false) };
    for &to in Kind::ALL {
        for &from in Kind::ALL {
            for scene in [tiny_scene(true), unknown.clone()] {
                let field = stirred(from, &scene, 6);
                let what = format!("{from} to {to}, unbounded: {}", scene.unbounded);
                let mut task = begin(&field, &tiny_preset(to, QUICK)).unwrap_or_else(|e| panic!("{what}: {e}"));
                let steps = advance(&mut task, 12);
                assert!(steps.iter().all(|p| p.loss.is_finite() && p.note.is_none()), "{what}");
                let student = task.current();
                assert!(is_finite(&student) && student.scene() == &scene, "{what}");
            }
        }
    }
}
