//! Training from photos, on a tiny procedural scene: it learns, one seed gives one result, a checkpoint goes on bit for
//! bit, and a run that diverges says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use retort_distill::RunOptions;
use retort_distill::preset::Preset;
use retort_distill::task::{Progress, Task};
use retort_distill::train::Train;
use retort_fields::data::{Dataset, Pixels, Split};
use retort_fields::error::Result;
use retort_fields::field::Primitives;
use retort_fields::files::archive::Archive;
use retort_fields::files::{self, Provenance};
use retort_fields::registry::{AnyField, Kind};
use retort_tests::{
    advance, assert_same_bits, assert_same_field, camera, cpu, finish, is_finite, mean_loss, picture, psnr_on,
    tiny_dataset, tiny_preset,
};

/// Steps that are announced where fewer are taken: quality is measured twenty times in a run, which takes longer than
/// tiny steps do.
const MANY: (&str, &str) = ("train.steps", "4000");

fn begin(preset: &Preset, seed: u64) -> Train {
    let options = RunOptions { seed, ..RunOptions::default() };
    Train::new(tiny_dataset(), preset, &options, &cpu()).expect("a sound preset")
}

fn resume(preset: &Preset, path: &Path) -> Result<Train> {
    Train::resume(tiny_dataset(), preset, path, &RunOptions::default(), &cpu())
}

fn gaussians_of(field: &AnyField) -> usize {
    field.as_primitives().map_or(0, Primitives::count)
}

fn losses(steps: &[Progress]) -> Vec<f32> {
    steps.iter().map(|p| p.loss).collect()
}

#[test]
fn every_kind_learns() {
    for &kind in Kind::ALL {
        let mut task = begin(&tiny_preset(kind, &[MANY]), 1);
        let data = tiny_dataset();
        let before = psnr_on(&task.current(), &data, Split::Test);
        let steps = advance(&mut task, 120);
        let after = psnr_on(&task.current(), &data, Split::Test);
        let (first, last) = (mean_loss(&steps[..10]), mean_loss(&steps[110..]));
        assert!(last < 0.6 * first, "{kind}: the loss went from {first} to {last}");
        assert!(after > before + 5.0 && after > 14.0, "{kind}: {before:.2} dB to {after:.2} dB on unseen views");
    }
}

#[test]
fn progress_counts_and_measures() {
    let mut task = begin(&tiny_preset(Kind::Gaussians, &[("train.steps", "40")]), 1);
    let (steps, outcome) = finish(&mut task);
    assert_eq!(steps.iter().map(|p| p.step).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert!(steps.iter().all(|p| p.of == 40 && p.stage == "photos" && p.note.is_none()));
    assert_eq!(steps.iter().filter(|p| p.psnr.is_some()).count(), 20, "measured twenty times");
    assert!(outcome.steps == 40 && outcome.psnr.is_some_and(|psnr| psnr > 8.0), "{outcome:?}");
    assert!(task.step().is_ok_and(|flow| flow.is_break()), "it stays at its end");
    let field = task.current();
    assert!(!field.device().is_autodiff(), "the result collects no gradients");
}

#[test]
fn steps_and_time_of_the_options_win() {
    let preset = tiny_preset(Kind::Gaussians, &[]);
    let run = |options: &RunOptions| {
        let mut task = Train::new(tiny_dataset(), &preset, options, &cpu()).expect("a sound preset");
        finish(&mut task).1.steps
    };
    assert_eq!(run(&RunOptions { steps: Some(7), ..RunOptions::default() }), 7);
    assert_eq!(run(&RunOptions { time: Some(Duration::ZERO), ..RunOptions::default() }), 1, "no time: one step");
    let both = RunOptions { steps: Some(3), time: Some(Duration::ZERO), ..RunOptions::default() };
    assert_eq!(run(&both), 3, "a number of steps is exact");
}

#[test]
fn one_seed_gives_one_result() {
    for &kind in Kind::ALL {
        // The rows of Gaussians change after steps 20 and 40.
        let run = |seed: u64, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut task = begin(&tiny_preset(kind, &[MANY, ("train.ema", "0.9")]), seed);
                let steps = advance(&mut task, 45);
                (task.current(), losses(&steps))
            })
        };
        let (a, b, c) = (run(3, 2), run(3, 2), run(3, 1));
        assert_same_bits(&a.1, &b.1, &format!("{kind}: losses"));
        assert_same_field(&a.0, &b.0, &format!("{kind}: again"));
        assert_same_bits(&a.1, &c.1, &format!("{kind}: losses on one thread"));
        assert_same_field(&a.0, &c.0, &format!("{kind}: on one thread"));
        let other = run(4, 2);
        assert_ne!(other.1, a.1, "{kind}: another seed is another run");
        if kind == Kind::Gaussians {
            assert_ne!(gaussians_of(&a.0), 300, "their number changed on the way");
        }
    }
}

#[test]
fn a_checkpoint_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    for &kind in Kind::ALL {
        for ema in ["0.0", "0.9"] {
            let preset = tiny_preset(kind, &[MANY, ("train.ema", ema)]);
            let mut whole = begin(&preset, 5);
            let all = losses(&advance(&mut whole, 48));
            // Before, at and after a change of the rows; at the start; right after a refresh of the grid.
            for cut in [0, 13, 20, 41] {
                let what = format!("{kind} with ema {ema}, cut at {cut}");
                let mut first = begin(&preset, 5);
                advance(&mut first, cut);
                first.save_checkpoint(&path).expect("a writable folder");
                assert_same_field(&first.current(), &resume(&preset, &path).expect("our own").current(), &what);
                drop(first);
                // The seed and the number of steps are those of the first sitting.
                let options = RunOptions { seed: 77, steps: Some(60), time: None };
                let mut second = Train::resume(tiny_dataset(), &preset, &path, &options, &cpu()).expect("our own");
                let rest = advance(&mut second, 48 - cut);
                assert_eq!(rest[0].step, cut as u32 + 1, "{what}: steps go on counting");
                assert_eq!(rest[0].of, 4000, "{what}");
                assert_same_bits(&losses(&rest), &all[cut..], &format!("{what}: losses"));
                assert_same_field(&second.current(), &whole.current(), &what);
            }
        }
    }
}

/// A grid that has been cut, refined and regularised goes on like any other.
#[test]
fn a_checkpoint_goes_on_after_a_change_of_shape() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    // At steps 10 and 16 of 4000.
    let growth = "[{ at = 0.0025, prune = 1e-3, shrink = true }, { at = 0.004, resolution = 20 }]";
    let more = [MANY, ("train.growth", growth), ("train.penalties", "{ l1 = 1e-3, tv_sigma = 1e-3, tv_app = 1e-3 }")];
    for kind in [Kind::Vm, Kind::Cp] {
        let preset = tiny_preset(kind, &more);
        let mut whole = begin(&preset, 5);
        let first = whole.current().config();
        let all = losses(&advance(&mut whole, 24));
        assert_ne!(whole.current().config(), first, "{kind}: its shape is another");
        for cut in [10, 13] {
            let what = format!("{kind}, cut at {cut}");
            let mut task = begin(&preset, 5);
            advance(&mut task, cut);
            task.save_checkpoint(&path).expect("a writable folder");
            let mut second = resume(&preset, &path).expect("our own");
            assert_same_bits(&losses(&advance(&mut second, 24 - cut)), &all[cut..], &format!("{what}: losses"));
            assert_same_field(&second.current(), &whole.current(), &what);
        }
        files::save(&whole.current(), &Provenance::default(), &path).expect("a writable folder");
        let (loaded, _) = files::load(&path, &cpu()).expect("our own file");
        assert_same_bits(&picture(&whole.current(), &camera(24, 1)), &picture(&loaded, &camera(24, 1)), kind.name());
    }
}

/// The last step's checkpoint is a finished run.
#[test]
fn a_checkpoint_of_the_end_is_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let preset = tiny_preset(Kind::Gaussians, &[]);
    let mut task = begin(&preset, 5);
    let (_, outcome) = finish(&mut task);
    task.save_checkpoint(&path).expect("a writable folder");
    let (steps, again) = finish(&mut resume(&preset, &path).expect("our own"));
    assert!(steps.is_empty() && again == outcome, "{again:?} and {outcome:?}");
}

#[test]
fn a_checkpoint_of_other_work_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let refused = |what: &str, result: Result<Train>| {
        let error = result.err().unwrap_or_else(|| panic!("it is taken: {what}"));
        assert_eq!(error.file.as_deref(), Some(path.as_path()), "{what}: {error}");
        assert!(!error.remedy.is_empty(), "{what}: {error}");
        error.to_string()
    };
    for &kind in Kind::ALL {
        let preset = tiny_preset(kind, &[MANY, ("train.ema", "0.9")]);
        let mut task = begin(&preset, 1);
        advance(&mut task, 3);
        task.save_checkpoint(&path).expect("a writable folder");
        for &other in Kind::ALL.iter().filter(|k| **k != kind) {
            let error = refused("another kind", resume(&tiny_preset(other, &[]), &path));
            assert!(error.contains(kind.name()) && error.contains(other.name()), "{error}");
        }
        let shape = match kind {
            Kind::Gaussians => ("field.sh_degree", "2"),
            Kind::Voxels => ("field.resolution", "15"),
            _ => ("field.volume.latent", "8"),
        };
        refused("another shape", resume(&tiny_preset(kind, &[MANY, shape]), &path));
        let on = |data: Dataset| Train::resume(Arc::new(data), &preset, &path, &RunOptions::default(), &cpu());
        let named = Dataset { path: "chair".into(), ..(*tiny_dataset()).clone() };
        assert!(refused("photos of another name", on(named)).contains("chair"));
        let mut fewer = (*tiny_dataset()).clone();
        fewer.photos.remove(0);
        refused("other photos", on(fewer));

        // A field is no checkpoint, and a damaged checkpoint is none either.
        let good = Archive::read(&path).expect("our own");
        let damaged = |what: &str, change: &dyn Fn(&mut Archive)| {
            let mut archive = good.clone();
            change(&mut archive);
            archive.write(&path).expect("a writable folder");
            refused(what, resume(&preset, &path));
        };
        let starting = |archive: &Archive, prefix: &str| {
            archive.tensors.iter().position(|(name, ..)| name.starts_with(prefix)).expect("it is there")
        };
        for prefix in ["adam.m.", "adam.v.", "average."] {
            damaged("a NaN", &|a| {
                let at = starting(a, prefix);
                a.tensors[at].2[0] = f32::NAN;
            });
            damaged("another shape", &|a| {
                let at = starting(a, prefix);
                let ([rows, columns], values) = (a.tensors[at].1, &mut a.tensors[at].2);
                values.truncate((rows - 1) * columns);
                values.extend(vec![0.0; if rows == 1 { columns + 1 } else { 0 }]);
                a.tensors[at].1 = if rows == 1 { [1, columns + 1] } else { [rows - 1, columns] };
            });
        }
        for gone in ["average.", "adam.v."] {
            damaged("a tensor is missing", &|a| drop(a.tensors.remove(starting(a, gone))));
        }
        damaged("no counters", &|a| a.json["counters"] = "3".into());
        damaged("a step that is none", &|a| a.json["counters"]["step"] = (-3).into());
        damaged("no optimiser", &|a| a.json["adam_t"] = "many".into());
        damaged("another version", &|a| a.json["version"] = 99.into());
        files::save(&task.current(), &Provenance::default(), &path).expect("a writable folder");
        assert!(refused("a field", resume(&preset, &path)).contains("not a checkpoint"));
        std::fs::write(&path, b"not a checkpoint at all").expect("a writable folder");
        refused("some text", resume(&preset, &path));
        std::fs::remove_file(&path).expect("it was there");
        refused("nothing", resume(&preset, &path));
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let preset = tiny_preset(Kind::Gaussians, &[]);
    let mut task = begin(&preset, 1);
    advance(&mut task, 3);
    let missing = folder.path().join("no/such/folder/run.checkpoint");
    let error = task.save_checkpoint(&missing).expect_err("the folder is missing");
    assert!(error.file.as_ref() == Some(&missing) && !error.remedy.is_empty(), "{error}");
    assert!(!missing.exists() && std::fs::read_dir(folder.path()).expect("it is there").count() == 0);
    assert_eq!(advance(&mut task, 1)[0].step, 4, "the run itself goes on");
}

/// The tiny preset with the rate of some groups following `rate`.
fn with_rate(kind: Kind, groups: &[&str], rate: &str, more: &[(&str, &str)]) -> Preset {
    let keys: Vec<String> = groups.iter().map(|group| format!("train.optimise.rates.{group}")).collect();
    let rates = keys.iter().map(|key| (key.as_str(), rate));
    tiny_preset(kind, &rates.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// A rate beyond all measure from step 104 of 4000 on.
const POISON: &str = "[[0.0, 1e-3], [0.0259, 1e-3], [0.02595, 3e38], [1.0, 3e38]]";

#[test]
fn a_run_that_diverges_goes_back_says_so_and_gives_up() {
    for &kind in Kind::ALL {
        let groups: Vec<String> = tiny_preset(kind, &[]).train.optimise.rates.into_keys().collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        // Colours and densities that are clipped bear any value; a sigmoid does not.
        let sigmoid = ("field.colour", "sigmoid");
        let more: &[_] = if kind == Kind::Voxels { &[MANY, sigmoid] } else { &[MANY] };
        let mut task = begin(&with_rate(kind, &groups, POISON, more), 2);
        advance(&mut task, 100);
        let good = task.current();
        let mut notes = Vec::new();
        let error = loop {
            match task.step() {
                Ok(flow) => {
                    let Progress { note, step, loss, .. } = flow.continue_value().expect("it is far from its end");
                    if let Some(note) = note {
                        assert_eq!((step, loss.is_nan()), (100, true), "{kind}: {note}");
                        assert_same_field(&task.current(), &good, &format!("{kind}, gone back"));
                        notes.push(note);
                    }
                    assert!(step <= 200, "{kind}: it goes on with a rate of 3e38");
                }
                Err(error) => break error,
            }
        };
        assert_eq!(notes.len(), 5, "{kind}: {notes:?}");
        for note in &notes {
            assert!(note.contains("was not a number") && note.contains("back to step 100"), "{kind}: {note}");
            assert!(note.contains("half the learning rate"), "{kind}: {note}");
        }
        assert!(error.what.contains("diverged") && error.remedy.contains("learning rates"), "{kind}: {error}");
    }
}

/// Colours of Gaussians leave all bounds in a few steps; an eighth of the rate is bearable.
#[test]
fn a_run_that_can_go_on_goes_on() {
    let spike = "[[0.0, 1e-3], [0.512, 1e-3], [0.516, 2e37], [0.524, 2e37], [0.528, 1e-3]]";
    let more = [("train.steps", "120"), ("train.ssim", "0.0"), ("field.density.every", "0")];
    let mut task = begin(&with_rate(Kind::Gaussians, &["sh_dc"], spike, &more), 2);
    let (steps, outcome) = finish(&mut task);
    let notes = steps.iter().filter(|p| p.note.is_some()).count();
    assert!((1..=5).contains(&notes), "{notes} returns");
    assert_eq!(outcome.steps, 120);
    assert!(is_finite(&task.current()));
}

/// A resumed run has its checkpoint to go back to.
#[test]
fn a_resumed_run_goes_back_to_its_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let preset = with_rate(Kind::Hash, &["table", "network"], POISON, &[MANY]);
    let mut task = begin(&preset, 2);
    advance(&mut task, 102);
    task.save_checkpoint(&path).expect("a writable folder");
    let saved = task.current();
    let mut second = resume(&preset, &path).expect("our own");
    for _ in 0..20 {
        let steps = advance(&mut second, 1);
        if let Some(note) = &steps[0].note {
            assert!(note.contains("back to step 102"), "{note}");
            return assert_same_field(&second.current(), &saved, "gone back");
        }
    }
    panic!("it goes on with a rate of 3e38");
}

/// What is not a number need not show in the loss: such Gaussians are not drawn. Neither a result nor a checkpoint has any.
#[test]
fn nothing_that_is_not_a_number_is_handed_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.checkpoint");
    let poison = "[[0.0, 1e-3], [0.975, 1e-3], [0.98, 3e38], [1.0, 3e38]]";
    let preset = with_rate(Kind::Gaussians, &["log_scales"], poison, &[("train.steps", "50")]);
    let mut task = begin(&preset, 2);
    advance(&mut task, 50);
    assert!(!is_finite(&task.current()), "the rate is not high enough for this test");
    task.save_checkpoint(&path).expect("a writable folder");
    assert!(is_finite(&task.current()));
    assert!(is_finite(&resume(&preset, &path).expect("a checkpoint that can be read").current()));
    // From here on it either finds an end with numbers or says that there is none.
    let mut end = task.step();
    while end.as_ref().is_ok_and(std::ops::ControlFlow::is_continue) {
        end = task.step();
    }
    assert!(end.is_err_and(|e| e.what.contains("diverged")) || is_finite(&task.current()));
}

#[test]
fn photos_that_show_nothing_do_no_harm() {
    let mut data = (*tiny_dataset()).clone();
    for photo in &mut data.photos {
        photo.pixels = Pixels::U8 { channels: 4, data: vec![0; 4 * 24 * 24] };
    }
    let data = Arc::new(data);
    for &kind in Kind::ALL {
        let preset = tiny_preset(kind, &[MANY]);
        let mut task = Train::new(Arc::clone(&data), &preset, &RunOptions::default(), &cpu()).expect("a sound preset");
        let steps = advance(&mut task, 60);
        assert!(steps.iter().all(|p| p.loss.is_finite() && p.note.is_none()), "{kind}");
        let alpha = picture(&task.current(), &camera(24, 0)).chunks_exact(5).map(|p| p[3]).sum::<f32>() / (24.0 * 24.0);
        assert!(alpha < 0.5, "{kind}: it shows {alpha}");
    }
}

#[test]
fn nothing_to_train_on_is_refused() {
    for &kind in Kind::ALL {
        let mut data = (*tiny_dataset()).clone();
        data.photos.retain(|photo| photo.split == Split::Test);
        let error = Train::new(Arc::new(data), &tiny_preset(kind, &[]), &RunOptions::default(), &cpu()).err();
        let error = error.expect("there are test photos only");
        assert!(error.file.is_some() && !error.remedy.is_empty(), "{error}");
    }
}
