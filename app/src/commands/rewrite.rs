//! `retort convert IN -o OUT.ext`: the same field in another file's format, without training.

use std::path::Path;
use std::time::Instant;

use retort_fields::compose::Subject;
use retort_fields::compose::file::scene_path;
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::files::Provenance;
use retort_fields::files::any::{self, Target};
use retort_fields::registry::AnyField;

use super::convert::check_input;
use super::{Stop, made_by, name_of, open};
use crate::cli::{self, Common};
use crate::output;
use crate::report::{Done, Report, clock, size};

/// Runs the verb.
///
/// # Errors
/// When the input is bad, the format cannot hold it, or the result cannot be written.
pub fn run(args: &cli::Convert, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    let out = args.out.clone().ok_or_else(|| Error::new("no file to write is named").remedy("name one with -o"))?;
    let out = if out.extension().is_none() { out.with_extension(any::ENDING) } else { out };
    Target::of(&out)?;
    output::check(&out, common.overwrite)?;
    let told = open::peek(&args.input)?;
    check_input(&told.files, &out)?;

    let (what, bytes, notes) = written(&args.input, &out, common)?;
    report.notes(&notes);
    let seconds = started.elapsed().as_secs_f32();
    let done =
        Done { out: Some(out.display().to_string()), seconds: Some(seconds), bytes: Some(bytes), ..Done::default() };
    report.done(&done, &format!("{}: {what}, {} in {}", out.display(), size(bytes), clock(f64::from(seconds))));
    Ok(())
}

/// Writes it; gives what it is, its size and what a person should know.
fn written(input: &Path, out: &Path, common: &Common) -> Result<(String, u64, Vec<String>)> {
    // Gaussians stay as they are: no field is made of them, and no number but the format's own rounding changes.
    if scene_path(input).is_none()
        && let Some(done) = any::transcode(input, out)?
    {
        return Ok((format!("{} Gaussians", done.count), done.bytes, done.notes));
    }
    let (subject, made) = open::load(input, &device::choose(&common.device)?)?;
    let mut notes = made.notes.clone();
    let field = subject.as_field().ok_or_else(|| {
        let what = match subject {
            Subject::Mesh(_) => "a mesh is no field",
            _ => "several objects, or edits of a volume, are not one field",
        };
        Error::new(what).file(input).remedy("add --to KIND: what is seen is taught to a field of that kind")
    })?;
    let what = match field {
        AnyField::Gaussians(_) => format!("{} Gaussians", field.params()[0].tensor.dims()[0]),
        other => format!("{}, {} parameters", other.kind(), other.param_count()),
    };
    let made_by = if made.made_by.is_empty() { made_by() } else { made.made_by.clone() };
    let from = if made.from.is_empty() { format!("read from {}", name_of(input)) } else { made.from.clone() };
    let (bytes, more) = any::save(field, &Provenance { made_by, from, ..made }, out)?;
    notes.extend(more);
    Ok((what, bytes, notes))
}
