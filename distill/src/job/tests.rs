//! The runner on a toy task that counts, waits, fails or panics as told.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::task::fixture::{number_of, tiny_field};

/// Counts to `of`; what happens at `at` is up to `what`.
struct Toy {
    step: u32,
    of: u32,
    at: u32,
    what: What,
    checkpoints: Arc<AtomicU32>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Nothing,
    Panic,
    Fail,
    Note,
}

impl Toy {
    fn new(of: u32) -> Self {
        Self { step: 0, of, at: 3, what: What::Nothing, checkpoints: Arc::default() }
    }

    fn with(of: u32, what: What) -> Self {
        Self { what, ..Self::new(of) }
    }
}

impl Task for Toy {
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>, Error> {
        if self.step == self.of {
            return Ok(ControlFlow::Break(Outcome { steps: self.step, psnr: None, notes: Vec::new() }));
        }
        self.step += 1;
        std::thread::sleep(Duration::from_micros(200));
        let here = self.step == self.at;
        match self.what {
            What::Panic if here => panic!("the toy\nbroke"),
            What::Fail if here => return Err(Error::new("the toy is out of sand").remedy("buy sand")),
            _ => {}
        }
        Ok(ControlFlow::Continue(Progress {
            stage: if 2 * self.step <= self.of { "first".into() } else { "second".into() },
            step: self.step,
            of: self.of,
            loss: 1.0 / self.step as f32,
            psnr: here.then_some(20.0),
            note: (here && self.what == What::Note).then(|| "went back".into()),
        }))
    }

    fn current(&self) -> AnyField {
        tiny_field(self.step)
    }

    fn save_checkpoint(&mut self, path: &Path) -> Result<(), Error> {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        std::fs::write(path, self.step.to_string()).map_err(|e| Error::io(path, &e))
    }

    fn kind_of_work(&self) -> &'static str {
        "counting"
    }
}

fn start(toy: Toy, options: JobOptions) -> Job {
    Job::start(Box::new(toy), options)
}

fn all_events() -> JobOptions {
    JobOptions { progress_every: Duration::ZERO, ..JobOptions::default() }
}

/// A checkpoint's path that no other test uses.
fn place(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("retort-job-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Every event up to and with the last.
fn events(job: &mut Job) -> Vec<Event> {
    std::iter::from_fn(|| job.next_event()).collect()
}

#[test]
fn it_counts_to_the_end() {
    let mut job = start(Toy::new(20), all_events());
    let events = events(&mut job);
    let steps: Vec<u32> = events
        .iter()
        .filter_map(|e| if let Event::Progress { progress, .. } = e { Some(progress.step) } else { None })
        .collect();
    assert_eq!(steps, (1..=20).collect::<Vec<_>>());
    // The toy measured 20 dB once; it stays the newest known.
    assert!(matches!(events.last(), Some(Event::Done(Outcome { steps: 20, psnr: Some(20.0), .. }))));
    assert!(job.next_event().is_none());
    assert_eq!(job.join().map(|f| number_of(&f)), Some(20));
}

#[test]
fn rare_events_still_tell_stages_and_notes() {
    let slow = JobOptions { progress_every: Duration::from_hours(1), ..JobOptions::default() };
    let mut job = start(Toy::with(20, What::Note), slow);
    let told: Vec<(u32, Option<String>)> = events(&mut job)
        .into_iter()
        .filter_map(|e| if let Event::Progress { progress: p, .. } = e { Some((p.step, p.note)) } else { None })
        .collect();
    assert_eq!(told, [(1, None), (3, Some("went back".into())), (11, None)]);
}

#[test]
fn nobody_listening_loses_progress_but_not_the_end() {
    let mut job = start(Toy::with(1000, What::Note), all_events());
    while !job.thread.as_ref().unwrap().is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let events = events(&mut job);
    assert_eq!(events.len(), WAITING + 1);
    assert!(matches!(events.last(), Some(Event::Done(Outcome { steps: 1000, .. }))));
}

#[test]
fn a_note_that_found_no_room_is_in_the_outcome() {
    let toy = Toy { at: WAITING as u32 + 50, ..Toy::with(1000, What::Note) };
    let mut job = start(toy, all_events());
    while !job.thread.as_ref().unwrap().is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let Some(Event::Done(outcome)) = events(&mut job).pop() else { panic!("it was to be done") };
    assert_eq!(outcome.notes, ["went back"]);
}

#[test]
fn a_pause_holds_and_a_snapshot_is_of_that_step() {
    let mut job = start(Toy::new(100_000), all_events());
    let control = job.control();
    control.pause();
    while !matches!(job.next_event(), Some(Event::Paused)) {}
    let snapshot = || {
        control.request_snapshot();
        loop {
            if let Some(field) = control.take_snapshot() {
                return number_of(&field);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let first = snapshot();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(snapshot(), first, "a paused job took a step");
    control.resume();
    while !matches!(job.next_event(), Some(Event::Progress { progress, .. }) if progress.step > first + 5) {}
    control.cancel();
    assert!(job.join().map(|f| number_of(&f)) > Some(first));
}

#[test]
fn a_cancelled_job_leaves_a_checkpoint() {
    let path = place("cancelled");
    let options = JobOptions { checkpoint: Some(path.clone()), ..all_events() };
    let mut job = start(Toy::new(100_000), options);
    while !matches!(job.next_event(), Some(Event::Progress { progress, .. }) if progress.step == 10) {}
    job.control().cancel();
    let events = events(&mut job);
    let Some(Event::Cancelled { checkpoint, steps }) = events.last() else { panic!("{events:?}") };
    assert_eq!(checkpoint.as_ref(), Some(&path));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), steps.to_string());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_paused_job_can_be_cancelled() {
    let mut job = start(Toy::new(100_000), all_events());
    job.control().pause();
    while !matches!(job.next_event(), Some(Event::Paused)) {}
    job.control().cancel();
    assert!(matches!(events(&mut job).last(), Some(Event::Cancelled { checkpoint: None, .. })));
}

#[test]
fn checkpoints_come_in_between() {
    let path = place("between");
    let toy = Toy::new(50);
    let count = Arc::clone(&toy.checkpoints);
    let every = Duration::from_millis(2);
    let options = JobOptions { checkpoint: Some(path.clone()), checkpoint_every: every, ..JobOptions::default() };
    start(toy, options).join();
    // 50 steps of 0.2 ms at the least are 5 intervals; how many steps fit into one is the machine's affair.
    let written = count.load(Ordering::Relaxed);
    assert!((3..=50).contains(&written), "{written} checkpoints");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_job() {
    let options = JobOptions {
        checkpoint: Some(place("no such folder").join("x")),
        checkpoint_every: Duration::ZERO,
        ..JobOptions::default()
    };
    let mut job = start(Toy::new(50), options);
    let events = events(&mut job);
    let Some(Event::Failed(error)) = events.last() else { panic!("{events:?}") };
    assert!(error.file.is_some() && !error.remedy.is_empty(), "{error}");
    assert!(job.join().is_none());
}

#[test]
fn a_panic_is_a_failure() {
    let mut job = start(Toy::with(20, What::Panic), all_events());
    let events = events(&mut job);
    let Some(Event::Failed(error)) = events.last() else { panic!("{events:?}") };
    assert!(error.what.contains("the toy broke"), "{error}");
    assert!(job.join().is_none());
}

#[test]
fn an_error_is_a_failure_and_keeps_its_parts() {
    let mut job = start(Toy::with(20, What::Fail), all_events());
    let events = events(&mut job);
    let Some(Event::Failed(error)) = events.last() else { panic!("{events:?}") };
    assert_eq!((error.what.as_str(), error.remedy.as_str()), ("the toy is out of sand", "buy sand"));
}

#[test]
fn time_runs_out() {
    let options = JobOptions { time_limit: Some(Duration::from_millis(5)), ..JobOptions::default() };
    let mut job = start(Toy::new(100_000), options);
    let Some(Event::Done(outcome)) = events(&mut job).pop() else { panic!("it was to be done") };
    assert!(outcome.steps < 1000 && outcome.notes[0].starts_with("counting ended at its time limit"), "{outcome:?}");
}

#[test]
fn a_dropped_job_ends() {
    let toy = Toy::new(u32::MAX);
    let alive = Arc::clone(&toy.checkpoints);
    drop(start(toy, JobOptions::default()));
    assert_eq!(Arc::strong_count(&alive), 1, "the task outlived its job");
}
