//! Long work: where its result and its checkpoint go, and the run itself under the eyes of the report and of Ctrl-C.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use retort_distill::job::{Event, Job, JobOptions};
use retort_distill::task::{Outcome, Task};
use retort_fields::error::{Error, Result};
use retort_fields::registry::AnyField;
use serde::de::DeserializeOwned;

use super::Stop;
use crate::cli::Common;
use crate::report::Report;
use crate::{interrupt, output};

/// Work plans its steps so that it ends with its time limit. If it is this share late, the runner ends it.
pub const GRACE: f32 = 0.02;

/// The places of a result and its checkpoint, checked before the work begins.
pub struct Place {
    /// The result.
    pub out: PathBuf,
    /// The checkpoint beside it.
    pub checkpoint: PathBuf,
    resume: bool,
}

impl Place {
    /// Checks that `out` can be written, and that there is a checkpoint exactly if one is to be resumed.
    ///
    /// # Errors
    /// When it cannot, or a file is there that was not to be replaced.
    pub fn claim(out: PathBuf, common: &Common) -> Result<Self> {
        output::check(&out, common.overwrite)?;
        let checkpoint = output::checkpoint_path(&out);
        match (common.resume, checkpoint.exists()) {
            (true, false) => {
                let remedy = "start without --resume, or name the output of the interrupted run with -o";
                Err(Error::new("there is no checkpoint to continue from").file(checkpoint).remedy(remedy))
            }
            (false, true) if !common.overwrite => {
                let remedy = "continue it with --resume, or start over with --overwrite";
                Err(Error::new("there is the checkpoint of an interrupted run").file(checkpoint).remedy(remedy))
            }
            _ => Ok(Self { out, checkpoint, resume: common.resume }),
        }
    }

    /// The checkpoint to continue from, if the work is to be continued.
    pub fn resumed(&self) -> Option<&Path> {
        self.resume.then_some(self.checkpoint.as_path())
    }

    /// The result is on the disk: the checkpoint is of no more use.
    pub fn finish(&self) {
        // One that stays does no harm: the next run names it.
        let _ = std::fs::remove_file(&self.checkpoint);
    }
}

/// The table of a bench that is gone on with, or nothing where it begins; `work_of` says of what a table is.
///
/// # Errors
/// When there is one that was not to be replaced, it cannot be read, or it is of other work than `work`.
pub fn table<T: DeserializeOwned>(
    path: &Path,
    common: &Common,
    work: &str,
    work_of: impl Fn(&T) -> &str,
) -> Result<Option<T>> {
    if !common.resume {
        if path.exists() && !common.overwrite {
            let remedy = "continue it with --resume, start over with --overwrite, or name another folder with -o";
            return Err(Error::new("there is a table already").file(path).remedy(remedy));
        }
        output::check(path, true)?;
        return Ok(None);
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, &e)),
    };
    let table: T = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(format!("not a table of this bench: {e}")).file(path).remedy("start over with --overwrite")
    })?;
    if work_of(&table) != work {
        let what = format!("a table of \"{}\", not of \"{work}\"", work_of(&table));
        return Err(Error::new(what).file(path).remedy("give the first run's flags, or another -o"));
    }
    Ok(Some(table))
}

/// What long work gave.
pub struct Finished {
    /// The field.
    pub field: AnyField,
    /// Others that were made beside it.
    pub others: Vec<AnyField>,
    /// Steps and quality.
    pub outcome: Outcome,
    /// How long this run took.
    pub seconds: f32,
}

/// Runs `task` to its end, with checkpoints at `checkpoint`.
///
/// # Errors
/// When it fails, or is interrupted; a checkpoint is written then.
pub fn run(
    task: Box<dyn Task>,
    checkpoint: &Path,
    limit: Option<Duration>,
    report: &mut Report,
) -> Result<Finished, Stop> {
    run_keeping(task, checkpoint, limit, report).map_err(|(stop, _)| stop)
}

/// As [`run`]; what an interrupt left of the field comes with it.
///
/// # Errors
/// When it fails, or is interrupted; a checkpoint is written then.
pub fn run_keeping(
    task: Box<dyn Task>,
    checkpoint: &Path,
    limit: Option<Duration>,
    report: &mut Report,
) -> Result<Finished, (Stop, Option<Box<AnyField>>)> {
    let work = task.kind_of_work();
    let options = JobOptions {
        name: work.into(),
        checkpoint: Some(checkpoint.to_path_buf()),
        time_limit: limit.map(|limit| limit.mul_f32(1.0 + GRACE)),
        ..JobOptions::default()
    };
    let started = Instant::now();
    report.begin(limit);
    let mut job = Job::start(task, options);
    let watch = interrupt::watch(job.control());
    let end = last_event(&mut job, report);
    drop(watch);
    report.end();
    let mut fields = job.join_all().into_iter();
    match (end, fields.next()) {
        (Some(Event::Done(outcome)), Some(field)) => {
            report.notes(&outcome.notes);
            Ok(Finished { field, others: fields.collect(), outcome, seconds: started.elapsed().as_secs_f32() })
        }
        (Some(Event::Cancelled { steps, .. }), field) => {
            Err((Stop::Interrupted(interrupted(work, steps, checkpoint)), field.filter(|_| steps > 0).map(Box::new)))
        }
        (Some(Event::Failed(error)), _) => Err((Stop::Failed(error), None)),
        _ => Err((Stop::Failed(Error::new(format!("{work} ended without a result"))), None)),
    }
}

/// Reports what happens until the end.
fn last_event(job: &mut Job, report: &mut Report) -> Option<Event> {
    while let Some(event) = job.next_event() {
        match event {
            Event::Progress { progress, .. } => report.progress(&progress),
            Event::Checkpoint(path) => report.detail(&format!("checkpoint {}", path.display())),
            Event::Paused | Event::Resumed => {}
            end => return Some(end),
        }
    }
    None
}

fn interrupted(work: &str, steps: u32, checkpoint: &Path) -> Error {
    let at = if steps > 0 { format!(" at step {steps}") } else { String::new() };
    let what = format!("{work} was interrupted{at}, with a checkpoint");
    Error::new(what).file(checkpoint).remedy(format!("continue with: {}", resume_line(std::env::args_os())))
}

/// The command line that continues this one.
fn resume_line(args: impl Iterator<Item = OsString>) -> String {
    let mut words: Vec<String> = args.map(|arg| quoted(&arg.to_string_lossy())).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    words.join(" ")
}

/// A word as a shell takes it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn claim(out: &Path, flags: &[&str]) -> Result<Place> {
        let cli = Cli::try_parse_from([&["retort"], flags].concat()).expect("known flags");
        Place::claim(out.to_path_buf(), &cli.common)
    }

    #[test]
    fn a_checkpoint_is_continued_or_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a-hash.safetensors");
        assert!(claim(&out, &[]).unwrap().resumed().is_none());
        assert!(claim(&out, &["--resume"]).is_err_and(|e| e.remedy.contains("without --resume")));
        let checkpoint = folder.path().join("a-hash.checkpoint");
        std::fs::write(&checkpoint, "x").unwrap();
        assert!(claim(&out, &[]).is_err_and(|e| e.remedy.contains("--resume") && e.file.as_ref() == Some(&checkpoint)));
        assert!(claim(&out, &["--overwrite"]).unwrap().resumed().is_none());
        let place = claim(&out, &["--resume"]).unwrap();
        assert_eq!(place.resumed(), Some(checkpoint.as_path()));
        place.finish();
        assert!(!checkpoint.exists());
    }

    #[test]
    fn the_line_to_continue_with_can_be_pasted() {
        let line = |words: &[&str]| resume_line(words.iter().map(OsString::from));
        assert_eq!(line(&["retort", "train", "my data", "--to", "hash"]), "retort train 'my data' --to hash --resume");
        assert_eq!(line(&["retort", "--resume", "it's"]), r"retort --resume 'it'\''s'");
    }
}
