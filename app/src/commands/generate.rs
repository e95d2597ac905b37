//! `retort generate`: a prompt in, a field out.

use std::path::{Path, PathBuf};

use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::generate::{Generate, System, ask, preview};
use retort_distill::preset::Preset;
use retort_distill::prior::builtin::Builtin;
use retort_distill::prior::stable::{self, Stable};
use retort_distill::prior::{Prior, Read};
use retort_fields::compose::Subject;
use retort_fields::device::{self, Device};
use retort_fields::error::Result;
use retort_fields::files::{self, Provenance};
use retort_fields::mesh::export::Options;
use retort_fields::registry::AnyField;

use super::mesh::{self, Way};
use super::train::options;
use super::work::{Finished, Place};
use super::{PRESET, Stop, made_by, measure, work};
use crate::cli::{self, Common};
use crate::output;
use crate::pictures::Picture;
use crate::report::{Done, Report, clock, size};

/// The system where none is named: what suits the built-in prior.
pub const SYSTEM: &str = "quick";

/// Steps of a preview, and its guidance: what is usual for pictures.
const PREVIEW: (u32, f32) = (30, 5.0);

/// Runs the verb.
///
/// # Errors
/// When the prompt means nothing to the prior, the result cannot be written, or generation fails or is interrupted.
pub fn run(args: &cli::Generate, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let name = common.preset.as_deref().unwrap_or(SYSTEM);
    let (system, preset) = System::load(name, args.to, args.loss, &common.set)?;
    // A second stage is checked before the first takes its minutes.
    let then = args.then.map(|kind| Preset::load(PRESET, kind, &[])).transpose()?;
    let kind = args.then.unwrap_or(args.to);
    let out = output::field_path(args.out.as_deref(), &output::field_name(&file_stem(&args.prompt), kind), kind)?;
    let place = Place::claim(out, common)?;
    let beside: Vec<PathBuf> = (2..=system.particles).map(|i| numbered(&place.out, i)).collect();
    beside.iter().try_for_each(|path| output::check(path, common.overwrite))?;
    let stage = then.as_ref().map(|_| {
        let stem = format!("{}-first", output::stem(&place.out));
        place.out.with_file_name(output::field_name(&stem, args.to))
    });
    stage.as_deref().map(|path| output::check(path, common.overwrite)).transpose()?;
    args.preview.as_deref().map(|path| output::check(path, common.overwrite)).transpose()?;
    args.mesh.as_deref().map(|path| mesh::claim(path, common)).transpose()?;
    let device = device::choose(&common.device)?;
    let (prior, read) = ask(prior(&args.prior, &device)?, &args.prompt)?;
    tell(prior.name(), &read, report);
    report.notes(&system.notes(args.to));
    if let Some(path) = &args.preview {
        let sight = preview(prior.as_ref(), read.prompt, PREVIEW, common.seed, &device)?;
        let rgb = sight.rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).map(|v| f32::from(v) / 255.0).collect();
        Picture { width: sight.size[0], height: sight.size[1], rgb }.write_png(path)?;
        report.note(&format!("{}: what the model itself draws", path.display()));
    }

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
    let keep = |ended: Result<Finished, (Stop, Option<Box<AnyField>>)>, report: &mut Report| {
        let (stop, field) = match ended {
            Ok(finished) => return Ok(finished),
            Err(stopped) => stopped,
        };
        if let (Stop::Interrupted(_), Some(field)) = (&stop, field) {
            // Somebody who stops has seen what there is: it is kept, and can be gone on from.
            let (_, notes) = files::any::save(&field, &provenance(0, 0.0), &place.out)?;
            report.notes(&notes);
            report.note(&format!("{} holds what there was; --resume needs --overwrite to go on", place.out.display()));
        }
        Err(stop)
    };
    let ended = work::run_keeping(Box::new(task), &place.checkpoint, common.time, report);
    let mut finished = keep(ended, report)?;
    if let Some((preset, stage)) = then.as_ref().zip(stage.as_ref()) {
        // The second stage is a conversion of this file, and is gone on with as one where it is interrupted.
        files::any::save(&finished.field, &provenance(finished.outcome.steps, finished.seconds), stage)?;
        report.note(&format!("distilling it into {kind}"));
        let options = RunOptions { steps: None, time: None, ..options };
        let task = Convert::new(Subject::from(&finished.field), preset, &options, &device)?;
        let second = match work::run_keeping(Box::new(task), &place.checkpoint, None, report) {
            Ok(second) => second,
            Err((Stop::Interrupted(error), _)) => {
                let words = [stage, &place.out].map(|path| work::quoted(&path.to_string_lossy()));
                let line =
                    format!("retort convert {} --to {kind} -o {} --seed {} --resume", words[0], words[1], common.seed);
                return Err(Stop::Interrupted(error.remedy(format!("continue with: {line}"))));
            }
            Err((stop, _)) => return Err(stop),
        };
        let seconds = finished.seconds + second.seconds;
        finished = Finished { field: second.field, seconds, ..finished };
        // One that stays does no harm.
        let _ = std::fs::remove_file(stage);
    }
    let Finished { field, others, outcome, seconds } = finished;
    let made = provenance(outcome.steps, seconds);
    let (bytes, notes) = files::any::save(&field, &made, &place.out)?;
    report.notes(&notes);
    for (other, path) in others.iter().zip(&beside) {
        let (bytes, _) = files::any::save(other, &made, path)?;
        report.note(&format!("{}: {}, another particle", path.display(), size(bytes)));
    }
    place.finish();
    if let Some(path) = &args.mesh {
        let way = Way { options: Options::default(), lit: false, background: measure::background(&made) };
        let Some((mesh, bytes)) = mesh::write(&*field, &way, path, report)? else { return Err(Stop::interrupted()) };
        report.note(&format!("{}: {}\n{}", path.display(), size(bytes), mesh::lines(&mesh).join("\n")));
    }
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

/// The prior of this name: `builtin`, a folder of Stable Diffusion, `FOLDER+ADAPTERS*0.7`, or a file of weights for the
/// built-in one.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn prior(name: &str, device: &Device) -> Result<Box<dyn Prior>> {
    if name == "builtin" {
        return Ok(Box::new(Builtin::new(device)?));
    }
    let path = Path::new(name);
    if stable::is_folder(name) {
        return Ok(Box::new(Stable::open(name, device)?));
    }
    Ok(Box::new(Builtin::from_file(path, device)?))
}

/// What the prior made of the prompt, and what it did not.
pub fn tell(name: &str, read: &Read, report: &mut Report) {
    let what = if name == "built-in" { ", a small demonstration," } else { "" };
    report.note(&format!("the {name} prior{what} reads: {}", read.meaning));
    report.notes(&read.remarks());
}

/// `name-2.safetensors` of `name.safetensors`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(ending) => format!("{stem}-{number}.{}", ending.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    path.with_file_name(name)
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
    use std::path::Path;

    use super::{file_stem, numbered};

    #[test]
    fn particles_are_numbered() {
        assert_eq!(numbered(Path::new("a/b.c.ply"), 2), Path::new("a/b.c-2.ply"));
        assert_eq!(numbered(Path::new("b"), 3), Path::new("b-3"));
    }

    #[test]
    fn a_prompt_becomes_a_files_name() {
        assert_eq!(file_stem("A red mushroom on a green table!"), "red-mushroom-on-green-table");
        assert_eq!(file_stem("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_stem("…"), "generated");
    }
}
