//! Long work of the window: conversions and trainings, one after the other, each on the job runner's own thread.
//!
//! A job is prepared on a thread too (photos are read, first views are drawn), so that the window never waits. A job
//! that fails or panics fails alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::generate::{Generate, System, ask, ask_all};
use retort_distill::guidance::Loss;
use retort_distill::job::{Event, Job, JobOptions, panicked};
use retort_distill::preset::Preset;
use retort_distill::task::{Progress, Sight, Task};
use retort_distill::train::Train;
use retort_fields::compose::{Object, Subject};
use retort_fields::data::{self, LoadOptions, Split};
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::files::Provenance;
use retort_fields::registry::{AnyField, Kind};

use crate::commands::generate::prior;
use crate::commands::{made_by, measure, work};
use crate::report::Pace;

use super::recipe::BUILT_IN;
use super::words::Changed;

/// The time between two snapshots of the student.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// Rows of finished jobs that are kept.
const ROWS: usize = 50;

/// Names a job for as long as the program runs.
pub type JobId = u64;

/// What a job learns from.
#[derive(Clone, Debug)]
pub enum Lesson {
    /// A field, or a scene of several as it is seen.
    Teacher {
        /// Its visible objects.
        objects: Vec<Object>,
        /// What the teacher's photos with alpha were compared over.
        background: Option<[f32; 3]>,
    },
    /// Posed photos.
    Photos(PathBuf),
    /// A prompt.
    Words {
        /// What to make.
        prompt: String,
        /// The diffusion model, as `--prior` names it.
        model: String,
        /// The loss, where other than the preset's.
        loss: Option<Loss>,
        /// What is changed; something new is made where it is none.
        changed: Option<Box<Changed>>,
    },
}

impl Lesson {
    /// Whether what the work looks at is made at once, as the built-in model's is; a large model's takes a while, and is
    /// made for who looks.
    fn is_quickly_seen(&self) -> bool {
        matches!(self, Self::Words { model, .. } if model == BUILT_IN)
    }
}

/// A job as it was ordered.
#[derive(Clone, Debug)]
pub struct Order {
    /// What it learns from.
    pub lesson: Lesson,
    /// That in words: `"converted from lego (hash)"`.
    pub from: String,
    /// The kind of field that is made.
    pub kind: Kind,
    /// The preset's name or file.
    pub preset: String,
    /// Values of the preset that are changed.
    pub set: Vec<(String, String)>,
    /// How long and from which seed.
    pub options: RunOptions,
    /// Where it computes.
    pub device: String,
    /// The name of what it makes.
    pub name: String,
    /// The command line that would do the same.
    pub line: String,
    /// The checkpoint to go on from.
    pub resume: Option<PathBuf>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Others come first.
    Waiting,
    /// Photos are read, views are drawn.
    Preparing,
    /// It learns.
    Running,
    /// Until it is resumed.
    Paused,
    /// It is complete.
    Done,
    /// It was cancelled; the checkpoint can be gone on from.
    Cancelled(Option<PathBuf>),
    /// It could not go on: what is wrong, with what helps.
    Failed(String),
}

impl Phase {
    /// Whether it will not change any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Cancelled(_) | Self::Failed(_))
    }

    /// In a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled(_) => "cancelled",
            Self::Failed(_) => "failed",
        }
    }
}

/// A job as the window shows it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its own.
    pub id: JobId,
    /// As it was ordered.
    pub order: Order,
    /// Where it stands.
    pub phase: Phase,
    /// What the last step reached.
    pub progress: Option<Progress>,
    /// How long it has run, pauses not counted.
    pub elapsed: Duration,
    /// Seconds until it is done, as far as one can tell.
    pub left: Option<f64>,
    /// The loss.
    pub loss: Curve,
    /// PSNR in dB.
    pub psnr: Curve,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The field as it was looked at last, where the work looks at more than its pictures.
    pub sight: Option<Sight>,
}

/// What a job has made.
pub struct Made {
    /// The job.
    pub id: JobId,
    /// The field.
    pub field: AnyField,
    /// Others that were made beside it.
    pub others: Vec<AnyField>,
    /// How it came about.
    pub made: Provenance,
    /// Its name.
    pub name: String,
}

/// The student of the running job as it was a moment ago.
#[derive(Clone, Debug)]
pub struct Student {
    /// The job.
    pub job: JobId,
    /// Rises with every snapshot.
    pub number: u64,
    /// The field.
    pub field: AnyField,
}

/// All jobs.
pub struct Jobs {
    rows: Vec<Row>,
    active: Option<Active>,
    student: Option<Student>,
    /// What the job at work looks at, and the number of these pictures.
    sights: Option<(u64, Vec<Sight>)>,
    /// Whether somebody looks.
    watched: bool,
    next: JobId,
    snapshots: u64,
    /// Where checkpoints go; gone when the program ends.
    folder: Option<tempfile::TempDir>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The job at work.
struct Active {
    id: JobId,
    stage: Stage,
    pace: Pace,
    background: Option<[f32; 3]>,
    asked: Instant,
    /// What was ordered while it was prepared.
    paused: bool,
}

enum Stage {
    Preparing(Receiver<Result<Ready>>),
    Running(Job),
}

/// A job that can begin.
struct Ready {
    task: Box<dyn Task>,
    background: Option<[f32; 3]>,
    notes: Vec<String>,
}

impl Jobs {
    /// No job yet; `wake` is called when one has something to tell.
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let folder = tempfile::tempdir().ok();
        Self {
            rows: Vec::new(),
            active: None,
            student: None,
            sights: None,
            watched: false,
            next: 0,
            snapshots: 0,
            folder,
            wake,
        }
    }

    /// All jobs, the newest last.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The job of this id.
    pub fn row(&self, id: JobId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// The job at work, a paused one too.
    pub fn active(&self) -> Option<&Row> {
        self.row(self.active.as_ref()?.id)
    }

    /// Whether a job is at work or waits.
    pub fn is_busy(&self) -> bool {
        self.rows.iter().any(|row| !row.phase.is_over())
    }

    /// The student of the job at work, once there is a snapshot.
    pub fn student(&self) -> Option<&Student> {
        self.student.as_ref()
    }

    /// What the job at work looks at, with a number that rises; asked for as long as somebody calls this.
    pub fn sights(&mut self) -> Option<(u64, &[Sight])> {
        self.watched = true;
        self.sights.as_ref().map(|(number, sights)| (*number, sights.as_slice()))
    }

    /// Orders a job; it begins when those before it are over.
    ///
    /// # Errors
    /// When the preset does not exist or one of its values is wrong.
    pub fn order(&mut self, order: Order) -> Result<JobId> {
        match &order.lesson {
            Lesson::Words { loss, .. } => System::load(&order.preset, order.kind, *loss, &order.set).map(drop)?,
            _ => Preset::load(&order.preset, order.kind, &order.set).map(drop)?,
        }
        self.next += 1;
        self.rows.push(Row {
            id: self.next,
            order,
            phase: Phase::Waiting,
            progress: None,
            elapsed: Duration::ZERO,
            left: None,
            loss: Curve::default(),
            psnr: Curve::default(),
            notes: Vec::new(),
            sight: None,
        });
        Ok(self.next)
    }

    /// Pauses the job at work, or lets it go on.
    pub fn pause(&mut self, id: JobId, paused: bool) {
        if let Some(active) = self.active.as_mut().filter(|active| active.id == id) {
            active.paused = paused;
            if let Stage::Running(job) = &active.stage {
                if paused { job.control().pause() } else { job.control().resume() }
            }
        }
    }

    /// Cancels a job, waiting or at work.
    pub fn cancel(&mut self, id: JobId) {
        match self.active.as_mut().filter(|active| active.id == id) {
            Some(Active { stage: Stage::Running(job), .. }) => job.control().cancel(),
            Some(_) => {
                // The thread that prepares finds that nobody waits for it.
                self.active = None;
                self.set_phase(id, Phase::Cancelled(None));
            }
            None => self.set_phase(id, Phase::Cancelled(None)),
        }
    }

    /// Goes on with a cancelled job from its checkpoint.
    ///
    /// # Errors
    /// As [`Jobs::order`].
    pub fn go_on(&mut self, id: JobId) -> Result<()> {
        let Some(Row { order, phase: Phase::Cancelled(Some(path)), .. }) = self.row(id) else { return Ok(()) };
        let order = Order { resume: Some(path.clone()), ..order.clone() };
        self.order(order)?;
        self.rows.retain(|row| row.id != id);
        Ok(())
    }

    /// Takes the jobs that are over off the list.
    pub fn clear(&mut self) {
        self.rows.retain(|row| !row.phase.is_over());
    }

    fn set_phase(&mut self, id: JobId, phase: Phase) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id && !row.phase.is_over()) {
            row.phase = phase;
        }
    }

    /// Reads what has happened, begins the next job, and gives what was completed.
    pub fn poll(&mut self) -> Option<Made> {
        let made = self.advance();
        if self.active.is_none() {
            (self.student, self.sights) = (None, None);
            self.begin();
        }
        while self.rows.len() > ROWS && self.rows[0].phase.is_over() {
            self.rows.remove(0);
        }
        made
    }

    /// Prepares the first job that waits.
    fn begin(&mut self) {
        let Some(row) = self.rows.iter_mut().find(|row| row.phase == Phase::Waiting) else { return };
        let (order, id, wake) = (row.order.clone(), row.id, Arc::clone(&self.wake));
        let (sender, receiver) = sync_channel(1);
        let run = move || {
            let ready = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prepare(&order)));
            let _ = sender.send(ready.unwrap_or_else(|panic| Err(panicked(&*panic))));
            wake();
        };
        row.phase = Phase::Preparing;
        // As much stack as the runner has: the first lessons are given here.
        match std::thread::Builder::new().name("preparing".into()).stack_size(8 << 20).spawn(run) {
            Ok(_) => {
                let stage = Stage::Preparing(receiver);
                let (pace, asked) = (Pace::default(), Instant::now());
                self.active = Some(Active { id, stage, pace, background: None, asked, paused: false });
            }
            Err(e) => row.phase = Phase::Failed(format!("no thread could be started: {e}")),
        }
    }

    fn advance(&mut self) -> Option<Made> {
        let active = self.active.as_mut()?;
        let id = active.id;
        if let Stage::Preparing(receiver) = &active.stage {
            let ready = match receiver.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => Err(Error::new("the preparation broke off")),
                Ok(ready) => ready,
            };
            match ready {
                Ok(ready) => self.run(ready),
                Err(error) => {
                    self.active = None;
                    self.set_phase(id, Phase::Failed(error.to_string()));
                }
            }
            return None;
        }
        self.follow()
    }

    /// Starts the runner.
    fn run(&mut self, ready: Ready) {
        let Some(active) = &mut self.active else { return };
        let Some(row) = self.rows.iter_mut().find(|row| row.id == active.id) else { return };
        let limit = row.order.options.time;
        let options = JobOptions {
            name: ready.task.kind_of_work().into(),
            checkpoint: self.folder.as_ref().map(|f| f.path().join(format!("{}.checkpoint", active.id))),
            time_limit: limit.map(|limit| limit.mul_f32(1.0 + work::GRACE)),
            ..JobOptions::default()
        };
        let job = Job::start(ready.task, options);
        if active.paused {
            job.control().pause();
        }
        if row.order.lesson.is_quickly_seen() {
            job.control().request_sights();
        }
        (row.phase, active.background) = (Phase::Running, ready.background);
        row.notes.extend(ready.notes);
        active.stage = Stage::Running(job);
    }

    /// Reads the events of the running job.
    fn follow(&mut self) -> Option<Made> {
        let active = self.active.as_mut()?;
        let Stage::Running(job) = &mut active.stage else { return None };
        let row = self.rows.iter_mut().find(|row| row.id == active.id)?;
        if active.asked.elapsed() >= SNAPSHOT_EVERY {
            active.asked = Instant::now();
            job.control().request_snapshot();
            if std::mem::take(&mut self.watched) || row.order.lesson.is_quickly_seen() {
                job.control().request_sights();
            }
        }
        if let Some(field) = job.control().take_snapshot() {
            self.snapshots += 1;
            self.student = Some(Student { job: active.id, number: self.snapshots, field });
        }
        let end = loop {
            match job.try_next_event() {
                None => break None,
                Some(Event::Progress { progress, elapsed }) => row.note(progress, elapsed, &mut active.pace),
                Some(Event::Paused) => row.phase = Phase::Paused,
                Some(Event::Resumed) => row.phase = Phase::Running,
                Some(Event::Checkpoint(_)) => {}
                Some(end) => break Some(end),
            }
        };
        // Behind the events, so that the last ones are not missed.
        if let Some(sights) = job.control().take_sights().filter(|sights| !sights.is_empty()) {
            self.snapshots += 1;
            row.sight = sights.first().cloned();
            self.sights = Some((self.snapshots, sights));
        }
        let end = end?;
        let active = self.active.take()?;
        let Stage::Running(job) = active.stage else { return None };
        match end {
            Event::Done(outcome) => {
                row.psnr.push(outcome.steps, outcome.psnr.unwrap_or(f32::NAN));
                row.notes.extend(outcome.notes);
                (row.phase, row.left) = (Phase::Done, None);
                // The last step is told by this event alone.
                if let Some(progress) = &mut row.progress {
                    (progress.step, progress.of) = (outcome.steps, outcome.steps);
                }
                let made = row.made(job.join_all(), active.background, outcome.steps);
                if made.is_none() {
                    row.phase = Phase::Failed("it ended without a result".into());
                }
                made
            }
            Event::Cancelled { checkpoint, steps } => {
                row.phase = Phase::Cancelled(checkpoint);
                // Who stops what grows from words has seen enough of it: it is kept.
                let words = matches!(row.order.lesson, Lesson::Words { .. });
                let fields = job.join_all();
                if words && steps > 0 { row.made(fields, active.background, steps) } else { None }
            }
            Event::Failed(error) => {
                row.phase = Phase::Failed(error.to_string());
                None
            }
            _ => None,
        }
    }
}

impl Row {
    /// What the job has made, if anything.
    fn made(&self, fields: Vec<AnyField>, background: Option<[f32; 3]>, steps: u32) -> Option<Made> {
        let mut fields = fields.into_iter();
        let (field, others) = (fields.next()?, fields.collect());
        let Order { from, options, preset, name, .. } = self.order.clone();
        let (made_by, seconds, seed) = (made_by(), self.elapsed.as_secs_f32(), options.seed);
        let more = Provenance::default();
        let made = Provenance { made_by, from, steps, seconds, seed, preset, background, ..more };
        Some(Made { id: self.id, field, others, made, name })
    }

    fn note(&mut self, progress: Progress, elapsed: Duration, pace: &mut Pace) {
        self.left = pace.left(progress.step, progress.of, Instant::now());
        if let Some(limit) = self.order.options.time.filter(|_| self.order.options.steps.is_none()) {
            let until = limit.saturating_sub(elapsed).as_secs_f64();
            self.left = Some(self.left.map_or(until, |left| left.min(until)));
        }
        self.loss.push(progress.step, progress.loss);
        // The newest PSNR is told again and again; a point is one measurement.
        if let Some(psnr) = progress.psnr
            && self.progress.as_ref().and_then(|p| p.psnr) != Some(psnr)
        {
            self.psnr.push(progress.step, psnr);
        }
        self.notes.extend(progress.note.clone());
        (self.progress, self.elapsed) = (Some(progress), elapsed);
    }
}

/// What takes time before the first step.
fn prepare(order: &Order) -> Result<Ready> {
    let device = device::choose(&order.device)?;
    let (options, resume) = (&order.options, order.resume.as_deref());
    let preset = || Preset::load(&order.preset, order.kind, &order.set);
    match &order.lesson {
        Lesson::Words { prompt, model, loss, changed } => {
            let presets = System::load(&order.preset, order.kind, *loss, &order.set)?;
            let (presets, prior) = ((&presets.0, &presets.1), prior(model, &device)?);
            let (mut task, read) = match changed {
                None => {
                    let (prior, read) = ask(prior, prompt)?;
                    (Generate::new((prior, &read), presets, options, &device)?, read)
                }
                Some(changed) => {
                    let (prior, [read, was]) = ask_all(prior, [prompt.as_str(), &changed.source])?;
                    let what = (&changed.field, changed.part());
                    (Generate::edit((prior, &read, &was), what, presets, options)?, read)
                }
            };
            resume.map(|path| task.go_on(path)).transpose()?;
            let notes = [read.remarks(), presets.0.notes(order.kind)].concat();
            Ok(Ready { task: Box::new(task), background: None, notes })
        }
        Lesson::Teacher { objects, background } => {
            let preset = preset()?;
            let teacher = Subject::of(objects.clone())?;
            let task = match resume {
                Some(path) => Convert::resume(&teacher, &preset, path, options, &device)?,
                None => Convert::new(&teacher, &preset, options, &device)?,
            };
            Ok(Ready { task: Box::new(task), background: *background, notes: Vec::new() })
        }
        Lesson::Photos(path) => {
            let preset = preset()?;
            let only = LoadOptions { only: vec![Split::Train, Split::Test], ..LoadOptions::default() };
            let data = Arc::new(data::load(path, &only)?);
            let background = measure::background_of(&data);
            let skipped = data
                .skipped
                .first()
                .map(|first| format!("{} frames are left out, the first: {first}", data.skipped.len()));
            let task = match resume {
                Some(path) => Train::resume(data, &preset, path, options, &device)?,
                None => Train::new(data, &preset, options, &device)?,
            };
            Ok(Ready { task: Box::new(task), background, notes: skipped.into_iter().collect() })
        }
    }
}

mod curve;
mod end;
#[cfg(test)]
mod tests;

pub use curve::Curve;
pub use end::Unfinished;
