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
use retort_fields::files::archive::Archive;
use retort_fields::files::{self, Provenance};
use retort_fields::registry::{AnyField, Kind};
use retort_tests::{
    advance, assert_same_bits, assert_same_field, camera, cpu, finish, is_finite, mean_loss, picture, psnr_on,
    tiny_dataset, tiny_preset,
};

fn begin(preset: &Preset, seed: u64) -> Train {
    let options = RunOptions { seed, ..RunOptions::default() };
    Train::new(tiny_dataset(), preset, &options, &cpu()).expect("a sound preset")
}

fn resume(preset: &Preset, path: &Path) -> retort_fields::error::Result<Train> {
    Train::resume(tiny_dataset(), preset, path, &RunOptions::default(), &cpu())
}

fn gaussians_of(field: &AnyField) -> usize {
    field.as_primitives().map_or(0, retort_fields::field::Primitives::count)
}

#[test]
fn every_kind_learns() {
    for &kind in Kind::ALL {
        let t0 = std::time::Instant::now();
        let mut task = begin(&tiny_preset(kind, &[("train.steps", "150")]), 1);
        let before = psnr_on(&task.current(), &tiny_dataset(), Split::Test);
        let (steps, outcome) = finish(&mut task);
        let after = psnr_on(&task.current(), &tiny_dataset(), Split::Test);
        let (first, last) = (mean_loss(&steps[..10]), mean_loss(&steps[140..]));
        eprintln!("{kind}: psnr {before} -> {after} loss {first} -> {last} {:?} {:?}", outcome.psnr, t0.elapsed());
    }
}

/// Learning rates of all groups of a kind, as `--set` values.
fn with_rates(kind: Kind, rate: &str) -> Preset {
    let plain = tiny_preset(kind, &[]);
    let keys: Vec<String> = plain.train.optimise.rates.keys().map(|g| format!("train.optimise.rates.{g}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|k| (k.as_str(), rate)).chain([("train.steps", "60"), ("train.ema", "0.9")]).collect();
    tiny_preset(kind, &pairs)
}

#[test]
fn probe_rates() {
    for &kind in Kind::ALL {
        for e in ["1e4", "1e5", "1e6", "1e11", "1e12", "1e13", "1e19","1e20","1e21", "3e21", "1e22", "1e36", "1e38"] {
            let rate = format!("[[0.0, 1e-3], [0.82, 1e-3], [0.83, {e}], [0.86, {e}], [0.87, 1e-3]]");
            let t0 = std::time::Instant::now();
            let mut task = begin(&with_rates(kind, &rate), 1);
            let mut log = vec![];
            for _ in 0..400 {
                match task.step() {
                    Ok(std::ops::ControlFlow::Continue(p)) => { if let Some(n) = p.note { log.push(n[..45].to_string()) } }
                    Ok(_) => { log.push("done".into()); break }
                    Err(e) => { log.push(e.to_string()); break }
                }
            }
            eprintln!("{kind} {e} {} {log:?} finite {} {:?}", log.len(), is_finite(&task.current()), t0.elapsed());
        }
    }
}
