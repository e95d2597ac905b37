//! `retort edit`: a field and a prompt in, the changed field out.

use std::path::{Path, PathBuf};

use retort_distill::generate::{Generate, System, ask_all};
use retort_fields::compose::file::{Entry, SceneFile, VERSION};
use retort_fields::compose::region::Corners;
use retort_fields::compose::{Edit, Object, Subject};
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::files::any::ENDING;
use retort_fields::files::{self, Provenance};
use retort_fields::registry::AnyField;
use retort_shaders::Aabb;

use super::convert::check_input;
use super::generate::{done, file_stem, prior, tell};
use super::train::{exists, options};
use super::work::{Finished, Place};
use super::{Stop, made_by, name_of, open, work};
use crate::cli::{self, Common};
use crate::output;
use crate::report::Report;

/// The system of edits.
pub const SYSTEM: &str = "edit";

/// Runs the verb.
///
/// # Errors
/// When the field or a prompt is bad, the result cannot be written, or the work fails or is interrupted.
pub fn run(args: &cli::Edit, common: &Common, report: &mut Report) -> Result<(), Stop> {
    exists(&args.input)?;
    let told = open::peek(&args.input)?;
    let device = device::choose(&common.device)?;
    let (subject, made) = open::load(&args.input, &device)?;
    let field = subject.as_field().ok_or_else(|| {
        Error::new(format!("a {} is not one field", told.what)).file(&args.input).remedy("convert it to a field first")
    })?;
    let source = source(args, &made)?;
    let kind = field.kind();
    let (system, preset) = System::load(common.preset.as_deref().unwrap_or(SYSTEM), kind, None, &common.set)?;
    let out = place_of(args, field)?;
    check_input(&told.files, &out)?;
    let place = Place::claim(out, common)?;
    let part = args.part.map(|c| Aabb::new(glam::vec3(c[0], c[1], c[2]), glam::vec3(c[3], c[4], c[5])));
    let (prior, [read, was]) = ask_all(prior(&args.prior, &device)?, [&args.prompt, &source])?;
    tell(prior.name(), &was, report);
    tell(prior.name(), &read, report);

    let asked = (prior, &read, &was);
    let mut task = Generate::edit(asked, (field, part), (&system, &preset), &options(common))?;
    if let Some(checkpoint) = place.resumed() {
        task.go_on(checkpoint)?;
    }
    let Finished { field: changed, outcome, seconds, .. } =
        work::run(Box::new(task), &place.checkpoint, common.time, report)?;
    let provenance = Provenance {
        made_by: made_by(),
        from: edited(&name_of(&args.input), &was.meaning, &read.meaning),
        steps: outcome.steps,
        seconds,
        seed: common.seed,
        preset: system.name,
        ..made.clone()
    };
    let bytes = match part {
        None => save(&changed, &provenance, &place.out, report)?,
        Some(part) => save_part((field, &made), (&changed, &provenance), part, &place.out, common, report)?,
    };
    place.finish();
    done(&place, (outcome.steps, seconds), bytes, report);
    Ok(())
}

/// What the field is, in words: as it was said, or as it was made.
fn source(args: &cli::Edit, made: &Provenance) -> Result<String> {
    if let Some(source) = &args.source {
        return Ok(source.clone());
    }
    words_of(made).ok_or_else(|| {
        Error::new("what the field shows is not known").file(&args.input).remedy("say it with --source \"a red ball\"")
    })
}

/// What an edited field's origin says: what it was, and what it became.
pub fn edited(name: &str, source: &str, prompt: &str) -> String {
    format!("{name} edited from \"{source}\" to \"{prompt}\"")
}

/// The prompt that a field was made from, or edited to.
pub fn words_of(made: &Provenance) -> Option<String> {
    let (from, edited) = (&made.from, made.from.contains(" edited from \""));
    let words = if edited {
        from.strip_suffix('"')?.rsplit_once(" to \"")?.1
    } else {
        from.strip_prefix("made from text: ")?.rsplit_once(" (")?.0
    };
    Some(words.to_string())
}

/// Where the result goes: a field, or for a part of one a scene. Parts of Gaussians are Gaussians again.
fn place_of(args: &cli::Edit, field: &AnyField) -> Result<PathBuf> {
    let (stem, kind) = (file_stem(&args.prompt), field.kind());
    let whole = args.part.is_none() || field.as_primitives().is_some();
    if whole {
        return output::field_path(args.out.as_deref(), &output::field_name(&stem, kind), kind);
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.toml")));
    if out.extension().is_none_or(|e| e != "toml") {
        let what = "a field with a changed part is a scene of two";
        return Err(Error::new(what).file(out).remedy("name a .toml file; `retort convert` makes one field of it"));
    }
    Ok(out)
}

fn save(field: &AnyField, made: &Provenance, out: &Path, report: &Report) -> Result<u64> {
    let (bytes, notes) = files::any::save(field, made, out)?;
    report.notes(&notes);
    Ok(bytes)
}

/// The field without the part, and the changed field's part: nothing outside it is another.
fn save_part(
    (field, was): (&AnyField, &Provenance),
    (changed, made): (&AnyField, &Provenance),
    part: Aabb,
    out: &Path,
    common: &Common,
    report: &Report,
) -> Result<u64> {
    let corners = Corners { min: part.min.to_array(), max: part.max.to_array() };
    let edits = [Edit::EraseBox(corners), Edit::Crop(corners)];
    let objects = [field, changed].into_iter().zip(&edits).map(|(field, edit)| {
        let mut object = Object::from(field.clone());
        object.edits = vec![edit.clone()];
        object
    });
    if let Some(merged) = Subject::of(objects.collect())?.as_field().filter(|_| field.as_primitives().is_some()) {
        return save(merged, made, out, report);
    }
    let stem = output::stem(out);
    let mut entries = Vec::new();
    let mut bytes = 0;
    for ((field, made, what), edit) in [(field, was, "before"), (changed, made, "after")].into_iter().zip(edits) {
        let name = format!("{stem}-{what}.{ENDING}");
        let path = out.with_file_name(&name);
        output::check(&path, common.overwrite)?;
        bytes += save(field, made, &path, report)?;
        entries.push(Entry {
            field: PathBuf::from(name),
            shift: [0.0; 3],
            rotate: [0.0; 3],
            scale: 1.0,
            visible: true,
            edits: vec![edit],
            name: String::new(),
            locked: false,
        });
    }
    let scene = SceneFile { version: VERSION, objects: entries, camera_path: None };
    scene.write(out)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_remembers_its_words() {
        let made = |from: &str| Provenance { from: from.into(), ..Provenance::default() };
        let words = |from: &str| words_of(&made(from));
        assert_eq!(words("made from text: a red ball (builtin, mvsds)").as_deref(), Some("a red ball"));
        let from = edited("x (1)", "a cup next to a ball", "a cup next to a cone");
        assert_eq!(words(&from).as_deref(), Some("a cup next to a cone"));
        assert_eq!(words("converted from lego (hash)"), None);
    }
}
