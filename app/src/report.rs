//! What the program says, to people and to scripts.
//!
//! People get progress on standard error (a bar on a terminal, plain lines elsewhere) and results on standard output.
//! With `--json`, standard output holds one object a line and nothing else.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use retort_distill::task::Progress;
use retort_fields::error::Error;
use serde::Serialize;

use crate::cli::Common;

/// The time between two plain lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The time between two JSON objects of progress.
const JSON_EVERY: Duration = Duration::from_millis(500);
/// Over how many seconds the pace is averaged.
const PACE_SECONDS: f64 = 8.0;

/// Says things.
pub struct Report {
    json: bool,
    quiet: bool,
    verbose: u8,
    bar: Option<ProgressBar>,
    pace: Pace,
    /// When the last line or object was written, and its stage.
    told: Option<(Instant, String)>,
    /// When the work ends at the latest.
    deadline: Option<Instant>,
}

#[derive(Serialize)]
struct ProgressLine<'a> {
    event: &'static str,
    stage: &'a str,
    step: u32,
    of: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psnr: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<f32>,
}

/// The result of a command; what does not apply is none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Done {
    /// What was written: a file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f32>,
    /// Training steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Size of what was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// PSNR against the teacher in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_teacher: Option<f32>,
    /// PSNR against photos in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f32>,
    /// SSIM against photos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssim: Option<f32>,
    /// One for each of several results.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<KindDone>,
}

/// One of several results.
#[derive(Clone, Debug, Serialize)]
pub struct KindDone {
    /// The kind of field.
    pub kind: &'static str,
    /// Its own result.
    #[serde(flatten)]
    pub done: Done,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    event: &'static str,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'a str,
}

impl Report {
    /// Says what these flags ask for.
    pub fn new(common: &Common) -> Self {
        Self {
            json: common.json,
            quiet: common.quiet,
            verbose: common.verbose,
            bar: None,
            pace: Pace::default(),
            told: None,
            deadline: None,
        }
    }

    /// Whether only what was asked for is said.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Work begins that ends in `limit` at the latest.
    pub fn begin(&mut self, limit: Option<Duration>) {
        self.end();
        self.deadline = limit.map(|limit| Instant::now() + limit);
        if !self.json && !self.quiet && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix:>10} {bar:24} {pos}/{len}  {msg}");
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
            // The template is a constant of ours; without it the bar is only plainer.
            self.bar = Some(if let Ok(style) = style { bar.with_style(style) } else { bar });
        }
    }

    /// The work has ended: the bar goes.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        (self.pace, self.told, self.deadline) = (Pace::default(), None, None);
    }

    /// A step of long work was done.
    pub fn progress(&mut self, progress: &Progress) {
        if let Some(note) = &progress.note {
            self.note(note);
        }
        let left = self.pace.left(progress.step, progress.of, Instant::now());
        let limit = self.deadline.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64());
        let left = match (left, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if self.json {
            self.progress_object(progress, left);
        } else if let Some(bar) = &self.bar {
            bar.set_length(u64::from(progress.of));
            bar.set_position(u64::from(progress.step));
            bar.set_prefix(progress.stage.clone());
            bar.set_message(details(progress, left));
        } else if !self.quiet && self.due(progress, LINE_EVERY) {
            let Progress { stage, step, of, .. } = progress;
            let details = details(progress, left);
            let comma = if details.is_empty() { "" } else { ", " };
            eprintln!("{stage}: {step}/{of}{comma}{details}");
        }
    }

    fn progress_object(&mut self, progress: &Progress, left: Option<f64>) {
        if self.due(progress, JSON_EVERY) {
            write_json(&ProgressLine {
                event: "progress",
                stage: &progress.stage,
                step: progress.step,
                of: progress.of,
                loss: finite(progress.loss),
                psnr: progress.psnr.and_then(finite),
                eta_s: left.map(|s| s as f32),
            });
        }
    }

    /// Whether enough time has passed since the last line, or another stage has begun.
    fn due(&mut self, progress: &Progress, every: Duration) -> bool {
        let due = self.told.as_ref().is_none_or(|(at, stage)| at.elapsed() >= every || *stage != progress.stage);
        if due {
            self.told = Some((Instant::now(), progress.stage.clone()));
        }
        due
    }

    /// Something worth knowing, on standard error.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Several such things.
    pub fn notes(&self, texts: &[String]) {
        texts.iter().for_each(|text| self.note(text));
    }

    /// Something worth knowing for those who asked for more.
    pub fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// The result: an object, or `text` for people; for quiet people only the name of what was written.
    pub fn done(&mut self, done: &Done, text: &str) {
        self.end();
        if self.json {
            write_json(&DoneLine { event: "done", done: &done.finite() });
        } else if self.quiet && done.out.is_some() {
            write_line(done.out.as_deref().unwrap_or_default());
        } else {
            write_line(text);
        }
    }

    /// An answer that is a whole object of its own, or `text`.
    pub fn answer(&self, object: &impl Serialize, text: &str) {
        if self.json { write_json(object) } else { write_line(text) }
    }

    /// What went wrong: an object, or one line on standard error.
    pub fn error(&mut self, error: &Error) {
        self.end();
        if self.json { write_error(error) } else { eprintln!("error: {}", one_line(&error.to_string())) }
    }

    /// Where interrupted work stands: an object like an error's, or one line on standard error.
    pub fn interrupted(&mut self, at: &Error) {
        self.end();
        if self.json {
            write_error(at);
        } else {
            let file = at.file.as_deref().map_or_else(String::new, |file| format!(": {}", file.display()));
            let remedy = if at.remedy.is_empty() { String::new() } else { format!("; {}", at.remedy) };
            eprintln!("{}", one_line(&format!("{}{file}{remedy}", at.what)));
        }
    }
}

/// An error as an object, also where no command has been understood.
pub fn write_error(error: &Error) {
    let file = error.file.as_deref().map(|f| f.display().to_string());
    write_json(&ErrorLine { event: "error", what: &error.what, file, remedy: &error.remedy });
}

#[derive(Serialize)]
struct DoneLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    done: &'a Done,
}

impl Done {
    /// The same without numbers that JSON does not have: the PSNR of equal pictures is infinite.
    fn finite(&self) -> Self {
        let kinds = self.kinds.iter().map(|k| KindDone { kind: k.kind, done: k.done.finite() }).collect();
        Self {
            psnr_teacher: self.psnr_teacher.and_then(finite),
            psnr: self.psnr.and_then(finite),
            ssim: self.ssim.and_then(finite),
            kinds,
            ..self.clone()
        }
    }
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

/// A reader that goes away early (`retort presets | head`) is no fault.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn write_json(object: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(object) {
        write_line(&text);
    }
}

/// Text without line breaks.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Loss, PSNR and time left, as far as they are known.
fn details(progress: &Progress, left: Option<f64>) -> String {
    let loss = finite(progress.loss).map(|loss| format!("loss {loss:.5}"));
    let psnr = progress.psnr.map(|psnr| format!("{psnr:.2} dB"));
    let left = left.map(|s| format!("{} left", clock(s)));
    [loss, psnr, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Seconds for people: `48 s`, `1 min 5 s`, `2 h 3 min`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// Bytes for people: `312 B`, `4.1 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// How long a step takes, by a moving average over time: stages differ, and so do steps within one.
#[derive(Default)]
pub struct Pace {
    last: Option<(u32, Instant)>,
    seconds_per_step: Option<f64>,
}

impl Pace {
    /// Notes that `step` is done and gives the seconds until `of` are.
    pub fn left(&mut self, step: u32, of: u32, now: Instant) -> Option<f64> {
        if let Some((before, at)) = self.last.filter(|(before, _)| step > *before) {
            let passed = now.duration_since(at).as_secs_f64();
            let fresh = passed / f64::from(step - before);
            let weight = 1.0 - (-passed / PACE_SECONDS).exp();
            self.seconds_per_step = Some(self.seconds_per_step.map_or(fresh, |old| old + weight * (fresh - old)));
        }
        self.last = Some((step, now));
        self.seconds_per_step.map(|s| s * f64::from(of.saturating_sub(step)))
    }
}

#[cfg(test)]
mod tests;
