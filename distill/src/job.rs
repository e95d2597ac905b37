//! The one runner of long work: a [`Task`] on its own named thread, with progress, pause, cancel and checkpoints.
//!
//! The thread never waits for whoever watches: events go through a bounded channel and a progress event is dropped when
//! nobody reads, while the last event (done, cancelled or failed) is handed over by the thread's own end and cannot be
//! lost. Orders are obeyed between steps. A snapshot of the field is made only when asked for, and the latest wins.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use retort_fields::error::Error;
use retort_fields::registry::AnyField;

use crate::task::{Outcome, Progress, Sight, Task};

/// Events that may wait to be read.
const WAITING: usize = 64;
/// As much as a program's first thread has: gradient graphs are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// How a job runs.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// The thread's name.
    pub name: String,
    /// Where checkpoints go; none are written without it.
    pub checkpoint: Option<PathBuf>,
    /// The time between two checkpoints. One more is written when the job is cancelled.
    pub checkpoint_every: Duration,
    /// The job is done after the step in which it has run this long, pauses not counted. A task that plans its steps by
    /// the clock ends by itself and more tidily; then this is the backstop.
    pub time_limit: Option<Duration>,
    /// The least time between two progress events; a new stage and a note are told at once.
    pub progress_every: Duration,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            name: "job".into(),
            checkpoint: None,
            // A step and the writing itself still fit into the 30 s that nobody should lose.
            checkpoint_every: Duration::from_secs(25),
            time_limit: None,
            progress_every: Duration::from_millis(100),
        }
    }
}

/// What happens in a job.
#[derive(Debug)]
pub enum Event {
    /// A step was done.
    Progress {
        /// What the step reached. Its PSNR is the newest known; its note holds the notes of events left out before.
        progress: Progress,
        /// How long the job has run, pauses not counted.
        elapsed: Duration,
    },
    /// It waits until it is resumed.
    Paused,
    /// It goes on.
    Resumed,
    /// A checkpoint is on the disk.
    Checkpoint(PathBuf),
    /// The work is complete. Last event.
    Done(Outcome),
    /// It was cancelled, after a checkpoint if it has a place for one. Last event.
    Cancelled {
        /// Where to go on from.
        checkpoint: Option<PathBuf>,
        /// Steps done in all.
        steps: u32,
    },
    /// The work could not go on, or panicked. Last event.
    Failed(Error),
}

/// A running job. Dropping it cancels it and waits for its end.
pub struct Job {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<End>>,
    /// The last event of a job whose thread could not even start.
    stillborn: Option<Event>,
    fields: Vec<AnyField>,
}

/// The last event, and the fields if there are sound ones.
type End = (Event, Vec<AnyField>);

/// Gives orders to a job from any thread. They are obeyed after the step that is being done.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    paused: bool,
    cancelled: bool,
    snapshot_wanted: bool,
    snapshot: Option<AnyField>,
    sights: Sights,
}

/// What is asked of sights.
#[derive(Default)]
struct Sights {
    wanted: bool,
    /// Whether somebody has ever looked.
    watched: bool,
    newest: Option<Vec<Sight>>,
}

impl Shared {
    /// The orders, even if a thread panicked while it held them: they are plain flags.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Pauses the job after this step.
    pub fn pause(&self) {
        self.order(|o| o.paused = true);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.order(|o| o.paused = false);
    }

    /// Ends the job after this step and a checkpoint; a paused one too.
    pub fn cancel(&self) {
        self.order(|o| o.cancelled = true);
    }

    /// Asks for the field as it is after this step.
    pub fn request_snapshot(&self) {
        self.order(|o| o.snapshot_wanted = true);
    }

    /// Takes the newest snapshot that has not been taken.
    pub fn take_snapshot(&self) -> Option<AnyField> {
        self.shared.orders().snapshot.take()
    }

    /// Asks for what the work looks at after this step, and once more at its end.
    pub fn request_sights(&self) {
        self.order(|o| (o.sights.wanted, o.sights.watched) = (true, true));
    }

    /// Takes the newest sights that have not been taken.
    pub fn take_sights(&self) -> Option<Vec<Sight>> {
        self.shared.orders().sights.newest.take()
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.shared.orders());
        self.shared.changed.notify_all();
    }
}

impl Job {
    /// Starts `task` on its own thread.
    pub fn start(task: Box<dyn Task>, options: JobOptions) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, events) = sync_channel(WAITING);
        let builder = std::thread::Builder::new().name(options.name.clone()).stack_size(STACK_BYTES);
        let runner = Runner::new(task, options, Arc::clone(&shared), sender);
        let (thread, stillborn) = match builder.spawn(move || run(runner)) {
            Ok(thread) => (Some(thread), None),
            Err(e) => (None, Some(Event::Failed(Error::new(format!("no thread could be started: {e}"))))),
        };
        Self { shared, events, thread, stillborn, fields: Vec::new() }
    }

    /// A handle to give orders with, from any thread.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Waits for the next event. After the last one (done, cancelled or failed) there is nothing.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.recv().ok().or_else(|| self.end())
    }

    /// The next event if there is one already.
    pub fn try_next_event(&mut self) -> Option<Event> {
        match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.end(),
        }
    }

    /// Waits for the job's end and gives the field as it was then; none where the job failed. Events that nobody has
    /// read are lost.
    pub fn join(self) -> Option<AnyField> {
        self.join_all().into_iter().next()
    }

    /// As [`Job::join`]; behind the field are those that were made beside it ([`Task::others`]).
    pub fn join_all(mut self) -> Vec<AnyField> {
        while self.next_event().is_some() {}
        std::mem::take(&mut self.fields)
    }

    /// The last event, once: the runner lets go of the channel only when it returns.
    fn end(&mut self) -> Option<Event> {
        let Some(thread) = self.thread.take() else { return self.stillborn.take() };
        let (event, fields) = thread.join().unwrap_or_else(|panic| (Event::Failed(panicked(&*panic)), Vec::new()));
        self.fields = fields;
        Some(event)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.control().cancel();
        while self.next_event().is_some() {}
    }
}

/// The thread's whole life.
fn run(runner: Runner) -> End {
    let work = move || {
        let mut runner = runner;
        match runner.work() {
            Ok(event) => {
                runner.look_once_more();
                let others = runner.task.others();
                (event, std::iter::once(runner.task.current()).chain(others).collect())
            }
            Err(error) => (Event::Failed(error), Vec::new()),
        }
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| (Event::Failed(panicked(&*panic)), Vec::new()))
}

/// The error that a panic becomes.
pub fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    // Tensor libraries give whole paragraphs; the contract is one line.
    let line = text.unwrap_or("unknown cause").split_whitespace().collect::<Vec<_>>().join(" ");
    Error::new(format!("the work broke off: {line}"))
        .remedy("this is a fault in the program: please report it; a checkpoint written before can be resumed")
}

/// What the thread holds.
struct Runner {
    task: Box<dyn Task>,
    options: JobOptions,
    shared: Arc<Shared>,
    events: SyncSender<Event>,
    clock: Clock,
    checkpoint_at: Instant,
    told_at: Option<Instant>,
    /// The newest progress, without its note.
    last: Progress,
    /// Notes that have not been told yet.
    notes: Vec<String>,
}

impl Runner {
    fn new(task: Box<dyn Task>, options: JobOptions, shared: Arc<Shared>, events: SyncSender<Event>) -> Self {
        Self {
            task,
            options,
            shared,
            events,
            clock: Clock::start(),
            checkpoint_at: Instant::now(),
            told_at: None,
            last: Progress::default(),
            notes: Vec::new(),
        }
    }

    /// Steps until the end, which is the event that it gives.
    fn work(&mut self) -> Result<Event, Error> {
        loop {
            if self.obey() {
                return self.cancelled();
            }
            match self.task.step()? {
                ControlFlow::Continue(progress) => self.tell(progress),
                ControlFlow::Break(outcome) => return Ok(Event::Done(self.complete(outcome))),
            }
            if self.options.time_limit.is_some_and(|limit| self.clock.elapsed() >= limit) {
                return Ok(Event::Done(self.out_of_time()));
            }
            if self.checkpoint_at.elapsed() >= self.options.checkpoint_every {
                self.checkpoint()?;
            }
        }
    }

    /// What the work looked at last, for those who have looked before.
    fn look_once_more(&self) {
        if self.shared.orders().sights.watched {
            let sights = self.task.sights();
            self.shared.orders().sights.newest = Some(sights);
        }
    }

    /// Obeys orders, waiting while paused. True when the job is to end.
    fn obey(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut orders = shared.orders();
        let mut paused_at = None;
        loop {
            if std::mem::take(&mut orders.snapshot_wanted) {
                orders.snapshot = Some(self.task.current());
            }
            if std::mem::take(&mut orders.sights.wanted) {
                // They may take a while, and whoever gives orders shall not wait for the lock.
                drop(orders);
                let sights = self.task.sights();
                orders = shared.orders();
                orders.sights.newest = Some(sights);
            }
            if orders.cancelled || !orders.paused {
                break;
            }
            if paused_at.is_none() {
                paused_at = Some(Instant::now());
                self.send(Event::Paused);
            }
            orders = shared.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(at) = paused_at {
            self.clock.paused += at.elapsed();
            if !orders.cancelled {
                self.send(Event::Resumed);
            }
        }
        orders.cancelled
    }

    fn tell(&mut self, mut progress: Progress) {
        self.notes.extend(progress.note.take());
        progress.psnr = progress.psnr.or(self.last.psnr);
        let due = self.told_at.is_none_or(|at| at.elapsed() >= self.options.progress_every);
        let now = due || !self.notes.is_empty() || progress.stage != self.last.stage;
        self.last = progress;
        if now {
            let note = (!self.notes.is_empty()).then(|| self.notes.join("; "));
            let progress = Progress { note, ..self.last.clone() };
            if self.send(Event::Progress { progress, elapsed: self.clock.elapsed() }) {
                self.notes.clear();
                self.told_at = Some(Instant::now());
            }
        }
    }

    /// Hands an event over if there is room.
    fn send(&self, event: Event) -> bool {
        self.events.try_send(event).is_ok()
    }

    fn checkpoint(&mut self) -> Result<Option<PathBuf>, Error> {
        self.checkpoint_at = Instant::now();
        let Some(path) = self.options.checkpoint.clone() else { return Ok(None) };
        self.task.save_checkpoint(&path).map_err(|e| at(e, &path))?;
        self.send(Event::Checkpoint(path.clone()));
        Ok(Some(path))
    }

    fn cancelled(&mut self) -> Result<Event, Error> {
        let checkpoint = self.checkpoint()?;
        Ok(Event::Cancelled { checkpoint, steps: self.last.step })
    }

    /// The task's outcome with the notes that nobody was told.
    fn complete(&mut self, mut outcome: Outcome) -> Outcome {
        outcome.psnr = outcome.psnr.or(self.last.psnr);
        let mut notes = std::mem::take(&mut self.notes);
        notes.retain(|note| !outcome.notes.contains(note));
        outcome.notes.splice(0..0, notes);
        outcome
    }

    fn out_of_time(&mut self) -> Outcome {
        let Progress { step, of, .. } = self.last;
        let work = self.task.kind_of_work();
        let note = format!("{work} ended at its time limit, after {step} of {of} steps");
        self.complete(Outcome { steps: step, psnr: None, notes: vec![note] })
    }
}

/// A checkpoint's error names its file and says what can be done.
fn at(error: Error, path: &Path) -> Error {
    error.file(path).remedy("free some space or choose another place with -o, then start with --resume")
}

/// Running time without pauses.
struct Clock {
    started: Instant,
    paused: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), paused: Duration::ZERO }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.paused)
    }
}

#[cfg(test)]
mod tests;
