//! `retort train`: photos in, a field out.

use std::sync::Arc;

use retort_distill::RunOptions;
use retort_distill::evaluate::Scores;
use retort_distill::preset::Preset;
use retort_distill::train::Train;
use retort_fields::data::{Dataset, Split};
use retort_fields::error::{Error, Result};
use retort_fields::files::{self, Provenance};
use retort_fields::{device, registry::AnyField};

use super::work::{Finished, Place};
use super::{PRESET, Stop, WHITE, made_by, measure, work};
use crate::cli::{self, Common};
use crate::output;
use crate::report::{Done, Report, clock, size};

/// Runs the verb.
///
/// # Errors
/// When the photos are bad, the result cannot be written, training fails or is interrupted.
pub fn run(args: &cli::Train, common: &Common, report: &mut Report) -> Result<(), Stop> {
    exists(&args.data)?;
    let preset = Preset::load(common.preset.as_deref().unwrap_or(PRESET), args.to, &common.set)?;
    let stem = output::stem(&args.data);
    let out = output::field_path(args.out.as_deref(), &output::field_name(&stem, args.to), args.to)?;
    let place = Place::claim(out, common)?;
    let device = device::choose(&common.device)?;
    let dataset = Arc::new(measure::load(&args.data, &[Split::Train, Split::Test], report)?);

    let (data, options) = (Arc::clone(&dataset), options(common));
    let task = match place.resumed() {
        Some(checkpoint) => Train::resume(data, &preset, checkpoint, &options, &device)?,
        None => Train::new(data, &preset, &options, &device)?,
    };
    let Finished { field, outcome, seconds, .. } = work::run(Box::new(task), &place.checkpoint, common.time, report)?;

    let provenance = Provenance {
        made_by: made_by(),
        from: format!("trained from {stem}"),
        steps: outcome.steps,
        seconds,
        seed: common.seed,
        preset: preset.name,
        background: measure::background_of(&dataset),
        ..Provenance::default()
    };
    let (bytes, notes) = files::any::save(&field, &provenance, &place.out)?;
    report.notes(&notes);
    place.finish();

    let mut done = Done {
        out: Some(place.out.display().to_string()),
        seconds: Some(seconds),
        steps: Some(outcome.steps),
        bytes: Some(bytes),
        ..Done::default()
    };
    let scores = held_out(&field, &dataset, report);
    if let Ok(Some((scores, _))) = &scores {
        (done.psnr, done.ssim) = (Some(scores.psnr), Some(scores.ssim));
    }
    report.done(&done, &summary(&done, scores.as_ref().ok().and_then(Option::as_ref)));
    scores.map(drop)
}

/// Training options from the flags.
pub fn options(common: &Common) -> RunOptions {
    RunOptions { seed: common.seed, steps: common.steps, time: common.time }
}

/// A missing input is told before anything else.
///
/// # Errors
/// When there is nothing at `path`.
pub fn exists(path: &std::path::Path) -> Result<()> {
    std::fs::metadata(path).map(drop).map_err(|e| Error::io(path, &e))
}

/// How good the field is on photos it has not seen, and on how many of how many; none where all were trained on.
fn held_out(field: &AnyField, dataset: &Dataset, report: &mut Report) -> Result<Option<(Scores, [usize; 2])>, Stop> {
    let photos = dataset.split(Split::Test);
    if photos.is_empty() {
        return Ok(None);
    }
    let some = measure::affordable(&photos);
    let scores = measure::on_photos(field, &some, WHITE, report)?;
    Ok(Some((scores, [some.len(), photos.len()])))
}

/// The result for people.
fn summary(done: &Done, scores: Option<&(Scores, [usize; 2])>) -> String {
    let (out, bytes) = (done.out.as_deref().unwrap_or_default(), size(done.bytes.unwrap_or_default()));
    let (steps, took) = (done.steps.unwrap_or_default(), clock(f64::from(done.seconds.unwrap_or_default())));
    let quality = scores.map(|(scores, [some, all])| {
        let photos = if some == all { format!("{all} test photos") } else { format!("{some} of {all} test photos") };
        format!("\n  PSNR {:.2} dB, SSIM {:.4} on {photos}", scores.psnr, scores.ssim)
    });
    format!("{out}: {bytes}, {steps} steps in {took}{}", quality.unwrap_or_default())
}
