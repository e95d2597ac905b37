//! `retort generate`: a prompt in, a field out.

use std::path::Path;

use retort_distill::generate::{Generate, System, ask};
use retort_distill::prior::builtin::Builtin;
use retort_distill::prior::{Prior, Read};
use retort_fields::device::{self, Device};
use retort_fields::error::{Error, Result};
use retort_fields::files::{self, Provenance};

use super::train::options;
use super::work::{Finished, Place};
use super::{Stop, made_by, work};
use crate::cli::{self, Common};
use crate::output;
use crate::report::{Done, Report, clock, size};

/// The system where none is named: what suits the built-in prior.
pub const SYSTEM: &str = "quick";

/// Runs the verb.
///
/// # Errors
/// When the prompt means nothing to the prior, the result cannot be written, or generation fails or is interrupted.
pub fn run(args: &cli::Generate, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let name = common.preset.as_deref().unwrap_or(SYSTEM);
    let (system, preset) = System::load(name, args.to, args.loss, &common.set)?;
    let out = output::field_path(args.out.as_deref(), &output::field_name(&file_stem(&args.prompt), args.to), args.to)?;
    let place = Place::claim(out, common)?;
    let device = device::choose(&common.device)?;
    let (prior, read) = ask(prior(&args.prior, &device)?, &args.prompt)?;
    tell(prior.name(), &read, report);

    let options = options(common);
    let (asked, presets) = ((prior, &read), (&system, &preset));
    let task = match place.resumed() {
        Some(checkpoint) => Generate::resume(asked, presets, checkpoint, &options, &device)?,
        None => Generate::new(asked, presets, &options, &device)?,
    };
    let provenance = |steps, seconds| Provenance {
        made_by: made_by(),
        from: format!("made from text: {} ({}, {})", read.meaning, args.prior, system.guidance.loss),
        steps,
        seconds,
        seed: common.seed,
        preset: system.name.clone(),
        ..Provenance::default()
    };
    let ended = work::run_keeping(Box::new(task), &place.checkpoint, common.time, report);
    let Finished { field, outcome, seconds } = match ended {
        Ok(finished) => finished,
        Err((Stop::Interrupted(error), Some(field))) => {
            // Somebody who stops has seen what there is: it is kept, and can be gone on from.
            let (_, notes) = files::any::save(&field, &provenance(0, 0.0), &place.out)?;
            report.notes(&notes);
            report.note(&format!("{} holds what there was; --resume needs --overwrite to go on", place.out.display()));
            return Err(Stop::Interrupted(error));
        }
        Err((stop, _)) => return Err(stop),
    };
    let provenance = provenance(outcome.steps, seconds);
    let (bytes, notes) = files::any::save(&field, &provenance, &place.out)?;
    report.notes(&notes);
    place.finish();
    done(&place, (outcome.steps, seconds), bytes, report);
    Ok(())
}

/// Tells what was made, in so many steps and seconds.
pub fn done(place: &Place, (steps, seconds): (u32, f32), bytes: u64, report: &mut Report) {
    let out = place.out.display().to_string();
    let text = format!("{out}: {}, {steps} steps in {}", size(bytes), clock(f64::from(seconds)));
    let (out, seconds, steps, bytes) = (Some(out), Some(seconds), Some(steps), Some(bytes));
    report.done(&Done { out, seconds, steps, bytes, ..Done::default() }, &text);
}

/// The prior of this name.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn prior(name: &str, device: &Device) -> Result<Box<dyn Prior>> {
    if name == "builtin" {
        return Ok(Box::new(Builtin::new(device)?));
    }
    let path = Path::new(name);
    if path.is_dir() {
        let what = "folders of diffusion models cannot be read by this version";
        return Err(Error::new(what).file(path).remedy("use --prior builtin"));
    }
    Ok(Box::new(Builtin::from_file(path, device)?))
}

/// What the prior made of the prompt, and what it did not.
pub fn tell(name: &str, read: &Read, report: &mut Report) {
    report.note(&format!("the {name} prior, a small demonstration, reads: {}", read.meaning));
    if !read.unknown.is_empty() {
        report.note(&format!("it does not know: {}", read.unknown.join(", ")));
    }
    report.notes(&read.notes);
}

/// A file's name for a prompt: its first words.
pub fn file_stem(prompt: &str) -> String {
    let words: Vec<String> = prompt
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && !["a", "an", "the"].contains(w))
        .take(6)
        .map(str::to_string)
        .collect();
    if words.is_empty() { "generated".into() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::file_stem;

    #[test]
    fn a_prompt_becomes_a_files_name() {
        assert_eq!(file_stem("A red mushroom on a green table!"), "red-mushroom-on-green-table");
        assert_eq!(file_stem("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_stem("…"), "generated");
    }
}
