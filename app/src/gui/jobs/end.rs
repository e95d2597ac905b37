//! The end of the window while a job is at work: what it has learned so far is kept, with the command line that goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use retort_distill::job::Event;
use retort_fields::error::{Error, Result};
use retort_fields::files::{write_atomically, write_with};

use super::{Jobs, Phase, Stage};
use crate::commands::work::quoted;
use crate::gui::files::free_name;
use crate::output;

/// A job that the end of the window has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its checkpoint, in a place that stays.
    pub checkpoint: PathBuf,
    /// Steps done.
    pub steps: u32,
    /// The command line that goes on with it.
    pub line: String,
}

impl Jobs {
    /// Ends all jobs; waits until the one at work has finished its step, and moves its checkpoint into `folder`. Nothing
    /// where no job has done a step.
    ///
    /// # Errors
    /// When the job fails at its last step, or the checkpoint cannot be written or moved.
    pub fn end(&mut self, folder: &Path) -> Result<Option<Unfinished>> {
        self.rows
            .iter_mut()
            .filter(|row| row.phase == Phase::Waiting)
            .for_each(|row| row.phase = Phase::Cancelled(None));
        let Some(active) = self.active.take() else { return Ok(None) };
        self.student = None;
        let id = active.id;
        let Stage::Running(mut job) = active.stage else {
            self.set_phase(id, Phase::Cancelled(None));
            return Ok(None);
        };
        job.control().cancel();
        let (from, steps) = match std::iter::from_fn(|| job.next_event()).last() {
            Some(Event::Cancelled { checkpoint: Some(from), steps }) if steps > 0 => (from, steps),
            Some(Event::Failed(error)) => return Err(error),
            _ => return Ok(None),
        };
        let Some(row) = self.row(id) else { return Ok(None) };
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e))?;
        let out = free_name(folder, &row.order.name, |out| out.exists() || output::checkpoint_path(out).exists());
        let checkpoint = output::checkpoint_path(&out);
        let mut source = File::open(&from).map_err(|e| Error::io(&from, &e))?;
        write_with(&checkpoint, |file| {
            std::io::copy(&mut source, file).map(drop).map_err(|e| Error::io(&checkpoint, &e))
        })?;
        let line = format!("{} -o {} --resume", row.order.line, quoted(&out.display().to_string()));
        // For who did not see what was said.
        write_atomically(&out.with_extension("txt"), format!("{line}\n").as_bytes())?;
        self.set_phase(id, Phase::Cancelled(Some(checkpoint.clone())));
        Ok(Some(Unfinished { checkpoint, steps, line }))
    }
}
