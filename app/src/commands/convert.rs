//! `retort convert`: a field or a scene in, a field of another kind out, without photos.

use std::path::{Path, PathBuf};

use retort_distill::convert::Convert;
use retort_distill::evaluate::Scores;
use retort_distill::preset::Preset;
use retort_fields::compose::Subject;
use retort_fields::data::{Dataset, Split};
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::Scene;
use retort_fields::files::{self, Provenance};
use retort_fields::registry::AnyField;

use super::train::{exists, options};
use super::work::{Finished, Place};
use super::{PRESET, Stop, made_by, measure, name_of, open, work};
use crate::cli::{self, Common};
use crate::output;
use crate::report::{Done, Report, clock, size};

/// Runs the verb.
///
/// # Errors
/// When the field or the photos are bad, the result cannot be written, the conversion fails or is interrupted.
pub fn run(args: &cli::Convert, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let Some(kind) = args.to else { return super::rewrite::run(args, common, report) };
    let told = open::peek(&args.input)?;
    let preset = Preset::load(common.preset.as_deref().unwrap_or(PRESET), kind, &common.set)?;
    let default = output::field_name(&output::stem(&args.input), kind);
    let out = output::field_path(args.out.as_deref(), &default, kind)?;
    check_input(&told.files, &out)?;
    let place = Place::claim(out, common)?;
    let device = device::choose(&common.device)?;
    let (teacher, made) = open::load(&args.input, &device)?;
    report.notes(&made.notes);
    let photos = args.data.as_deref().map(|data| test_photos(data, teacher.scene(), report)).transpose()?;

    let options = options(common);
    let task = match place.resumed() {
        Some(checkpoint) => Convert::resume(&teacher, &preset, checkpoint, &options, &device)?,
        None => Convert::new(&teacher, &preset, &options, &device)?,
    };
    let Finished { field, outcome, seconds, .. } = work::run(Box::new(task), &place.checkpoint, common.time, report)?;

    let provenance = Provenance {
        made_by: made_by(),
        from: format!("converted from {} ({})", name_of(&args.input), told.what),
        steps: outcome.steps,
        seconds,
        seed: common.seed,
        preset: preset.name,
        background: made.background,
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
    let measured = compare(&field, &teacher, photos.as_ref(), &made, &mut done, report);
    let teachers = measured.as_ref().ok().and_then(Option::as_ref);
    report.done(&done, &summary(&done, teachers));
    measured.map(drop)
}

/// The result must not be its own input.
///
/// # Errors
/// When it is.
pub fn check_input(inputs: &[PathBuf], out: &Path) -> Result<()> {
    if inputs.iter().any(|input| output::is_same(input, out)) {
        let what = "the result would replace the field that it is made from";
        return Err(Error::new(what).file(out).remedy("choose another name with -o"));
    }
    Ok(())
}

/// The test photos to measure on, in the teacher's frame.
fn test_photos(data: &Path, scene: &Scene, report: &Report) -> Result<Dataset> {
    exists(data)?;
    let mut dataset = measure::load(data, &[Split::Test], report)?;
    measure::chosen(&dataset, Split::Test)?;
    measure::reframe(&mut dataset, scene);
    Ok(dataset)
}

/// Measures the student against its teacher, and both against photos where there are some; gives the teacher's scores.
fn compare(
    student: &AnyField,
    teacher: &Subject,
    photos: Option<&Dataset>,
    made: &Provenance,
    done: &mut Done,
    report: &mut Report,
) -> Result<Option<Scores>, Stop> {
    let over = measure::background(made);
    done.psnr_teacher = Some(measure::on_teacher(student, teacher, over, report)?);
    let Some(dataset) = photos else { return Ok(None) };
    let photos = measure::chosen(dataset, Split::Test)?;
    let scores = measure::on_photos(student, &photos, over, report)?;
    (done.psnr, done.ssim) = (Some(scores.psnr), Some(scores.ssim));
    Ok(Some(measure::on_photos(teacher, &photos, over, report)?))
}

/// The result for people; `teachers` are the teacher's own scores on the photos.
fn summary(done: &Done, teachers: Option<&Scores>) -> String {
    let (out, bytes) = (done.out.as_deref().unwrap_or_default(), size(done.bytes.unwrap_or_default()));
    let (steps, took) = (done.steps.unwrap_or_default(), clock(f64::from(done.seconds.unwrap_or_default())));
    let mut lines = vec![format!("{out}: {bytes}, {steps} steps in {took}")];
    lines.extend(done.psnr_teacher.map(|psnr| format!("  PSNR {psnr:.2} dB against its teacher")));
    if let (Some(psnr), Some(ssim), Some(teacher)) = (done.psnr, done.ssim, teachers) {
        let its = format!("its teacher: {:.2} dB, {:.4}", teacher.psnr, teacher.ssim);
        lines.push(format!("  PSNR {psnr:.2} dB, SSIM {ssim:.4} on test photos ({its})"));
    }
    lines.join("\n")
}
