//! The table of all conversions: what each student reaches, how long it takes, and how long photos would have taken.
//!
//! Time is that of the work alone: the clocks stand while something is measured. There are two: seconds on the wall,
//! and seconds of processors, which other jobs on the machine do not lengthen. How many times longer photos take is
//! said by the second where there is one. A student's time from photos is read off the curve of a training from scratch,
//! between two measurements in a straight line.

use std::ops::{AddAssign, ControlFlow};
use std::time::Instant;

use retort_fields::device::is_cpu;
use retort_fields::error::Result;
use retort_fields::registry::{AnyField, Kind};
use serde::{Deserialize, Serialize};

use crate::task::{Progress, Task};

/// What work took so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// On the wall.
    pub seconds: f32,
    /// Of all processors together; `None` where the system does not tell, or a GPU does the work.
    pub cpu: Option<f32>,
}

impl Took {
    /// What counts when two times are compared.
    fn counts(self) -> f32 {
        self.cpu.unwrap_or(self.seconds)
    }
}

impl AddAssign for Took {
    fn add_assign(&mut self, more: Self) {
        self.seconds += more.seconds;
        self.cpu = self.cpu.zip(more.cpu).map(|(a, b)| a + b);
    }
}

/// The two clocks, running.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun: Instant,
    cpu: Option<f32>,
}

impl Clock {
    /// Starts; `host` says whether the processors do the work.
    pub fn start(host: bool) -> Self {
        Self { begun: Instant::now(), cpu: if host { processor_seconds() } else { None } }
    }

    /// What went by since.
    pub fn took(&self) -> Took {
        let cpu = self.cpu.and_then(|begun| processor_seconds().map(|now| now - begun));
        Took { seconds: self.begun.elapsed().as_secs_f32(), cpu }
    }
}

/// Processor time of this process, user and system, in hundredths of a second: Linux tells it in a file.
fn processor_seconds() -> Option<f32> {
    /// Ticks a second of every Linux that one meets.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second entry is the program's name in parentheses, which may itself hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut entries = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || entries.next()?.parse::<f64>().ok();
    Some(((ticks()? + ticks()?) / TICKS) as f32)
}

/// A measurement on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// What the work took until then.
    pub took: Took,
    /// PSNR on test photos, dB.
    pub psnr: f32,
}

/// The name of the row of a smaller field of a kind, from photos; what one of the full size is compressed to.
pub fn smaller(kind: &str) -> String {
    format!("smaller {kind}")
}

/// A field trained from photos, and on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Its kind, or [`smaller`] of it.
    pub kind: String,
    /// PSNR on test photos, dB.
    pub psnr: f32,
    /// How long it took.
    pub took: Took,
    /// Steps.
    pub steps: u32,
    /// Size of its file.
    pub bytes: u64,
    /// The way there, in rising order of time.
    pub curve: Vec<Point>,
}

/// A student taught by a field; by one of its own kind, it is a smaller one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The teacher's kind.
    pub teacher: String,
    /// The student's kind.
    pub student: String,
    /// PSNR on test photos, dB.
    pub psnr: f32,
    /// PSNR against the teacher, dB.
    pub psnr_teacher: f32,
    /// How long it took.
    pub took: Took,
    /// Steps.
    pub steps: u32,
    /// Size of its file.
    pub bytes: u64,
    /// The way there, in rising order of time; the first is before any step.
    pub curve: Vec<Point>,
}

/// Everything measured so far, and on what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it was measured on and how: rows of other work do not belong to it.
    pub work: String,
    /// Trainings from photos.
    pub scratch: Vec<Scratch>,
    /// Conversions.
    pub pairs: Vec<Pair>,
}

/// How long photos take to what a student reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FromPhotos {
    /// Seconds, of processors where they are known.
    Takes(f32),
    /// The whole training, these seconds, did not reach it.
    MoreThan(f32),
}

impl Table {
    /// The training of this kind.
    pub fn scratch_of(&self, kind: Kind) -> Option<&Scratch> {
        self.scratch_named(kind.name())
    }

    fn scratch_named(&self, kind: &str) -> Option<&Scratch> {
        self.scratch.iter().find(|s| s.kind == kind)
    }

    /// The training of the smaller field of this kind.
    pub fn scratch_of_smaller(&self, kind: Kind) -> Option<&Scratch> {
        self.scratch_named(&smaller(kind.name()))
    }

    /// The training from photos of what this pair's student is.
    fn scratch_like(&self, pair: &Pair) -> Option<&Scratch> {
        let compressed = Some(smaller(&pair.student)).filter(|_| pair.teacher == pair.student);
        // A preset may have no smaller field.
        compressed.and_then(|name| self.scratch_named(&name)).or_else(|| self.scratch_named(&pair.student))
    }

    /// The conversion of one kind to another.
    pub fn pair(&self, teacher: Kind, student: Kind) -> Option<&Pair> {
        self.pairs.iter().find(|p| p.teacher == teacher.name() && p.student == student.name())
    }
}

impl Scratch {
    /// How long this training took to reach `psnr`.
    pub fn time_to(&self, psnr: f32) -> FromPhotos {
        time_to(&self.curve, psnr).map_or(FromPhotos::MoreThan(self.took.counts()), FromPhotos::Takes)
    }
}

/// When a curve first reached `psnr`, if it did.
fn time_to(curve: &[Point], psnr: f32) -> Option<f32> {
    let mut before = [0.0, f32::NEG_INFINITY];
    for &Point { took, psnr: reached } in curve {
        let seconds = took.counts();
        if reached >= psnr {
            let part = if before[1].is_finite() { (psnr - before[1]) / (reached - before[1]) } else { 1.0 };
            return Some(before[0] + (seconds - before[0]) * part.clamp(0.0, 1.0));
        }
        before = [seconds, reached];
    }
    None
}

/// What a student may lack of the best that could be expected for [`Pair::ratio_within`], dB.
pub const WITHIN: f32 = 1.0;

impl Pair {
    /// What the student lacks of the best that could be expected: of its teacher, or of itself trained from photos,
    /// whichever is lower; dB, negative where it is better.
    pub fn loss(&self, table: &Table) -> Option<f32> {
        Some(table.scratch_named(&self.teacher)?.psnr.min(table.scratch_like(self)?.psnr) - self.psnr)
    }

    /// How many times longer photos take, and whether that is only a lower bound.
    pub fn ratio(&self, table: &Table) -> Option<(f32, bool)> {
        self.ratio_at(table, self.psnr, self.took.counts())
    }

    /// The same where the student first is within [`WITHIN`] of the best that could be expected, if it ever is: how
    /// much sooner one has a good student.
    pub fn ratio_within(&self, table: &Table) -> Option<(f32, bool)> {
        let wanted = self.psnr + self.loss(table)? - WITHIN;
        // A start that is better than wanted is held against photos that take as long to be as good.
        let reached = self.curve.first().map_or(wanted, |start| start.psnr.max(wanted));
        self.ratio_at(table, reached, time_to(&self.curve, reached)?)
    }

    fn ratio_at(&self, table: &Table, psnr: f32, seconds: f32) -> Option<(f32, bool)> {
        let scratch = table.scratch_like(self)?;
        let seconds = seconds.max(1e-3);
        Some(match scratch.time_to(psnr) {
            FromPhotos::Takes(time) => (time / seconds, false),
            FromPhotos::MoreThan(time) => (time / seconds, true),
        })
    }
}

/// A task done, with its times.
#[derive(Debug)]
pub struct Timed {
    /// What came out.
    pub field: AnyField,
    /// What the work alone took.
    pub took: Took,
    /// Steps.
    pub steps: u32,
    /// Measurements on the way, in rising order of time; the last is of the result.
    pub curve: Vec<Point>,
}

/// Runs `task` to its end and measures it at these `shares` of its steps, rising, and at the end, with the clock stopped.
/// `tell` hears of every step and ends the work by returning false; then there is no result.
///
/// # Errors
/// When the task fails, or a measurement does.
pub fn timed<E: From<retort_fields::error::Error>>(
    task: &mut dyn Task,
    shares: &[f32],
    mut measure: impl FnMut(&AnyField) -> Result<f32, E>,
    mut tell: impl FnMut(&Progress) -> bool,
) -> Result<Option<Timed>, E> {
    let host = is_cpu(&task.current().device());
    let none = Took { seconds: 0.0, cpu: Clock::start(host).cpu.map(|_| 0.0) };
    let (mut took, mut curve, mut measured) = (none, Vec::new(), 0);
    loop {
        let clock = Clock::start(host);
        let done = task.step()?;
        took += clock.took();
        match done {
            ControlFlow::Continue(progress) => {
                if !tell(&progress) {
                    return Ok(None);
                }
                let share = shares.get(measured).copied().unwrap_or(f32::INFINITY);
                if progress.step as f32 >= share * progress.of as f32 {
                    measured += 1;
                    curve.push(Point { took, psnr: measure(&task.current())? });
                }
            }
            ControlFlow::Break(outcome) => {
                let field = task.current();
                curve.push(Point { took, psnr: measure(&field)? });
                return Ok(Some(Timed { field, took, steps: outcome.steps, curve }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::task::Outcome;
    use crate::task::fixture::{number_of, tiny_field};

    fn wall(seconds: f32) -> Took {
        Took { seconds, cpu: None }
    }

    fn points(curve: &[[f32; 2]]) -> Vec<Point> {
        curve.iter().map(|&[seconds, psnr]| Point { took: wall(seconds), psnr }).collect()
    }

    fn scratch(curve: &[[f32; 2]]) -> Scratch {
        Scratch { kind: "mlp".into(), psnr: 30.0, took: wall(100.0), steps: 10, bytes: 1, curve: points(curve) }
    }

    #[test]
    fn other_jobs_do_not_lengthen_the_time_that_counts() {
        let busy = Took { seconds: 90.0, cpu: Some(20.0) };
        let mut slow = scratch(&[[1.0, 10.0], [2.0, 29.0]]);
        slow.curve[1].took = busy;
        assert_eq!(slow.time_to(29.0), FromPhotos::Takes(20.0), "and not the 90 seconds on the wall");
        let clock = Clock::start(true);
        let mut sum = 0.0_f64;
        while clock.begun.elapsed().as_millis() < 60 {
            sum += f64::from(clock.begun.elapsed().subsec_nanos()).sqrt();
        }
        let took = clock.took();
        assert!(sum > 0.0 && took.seconds >= 0.06);
        if cfg!(target_os = "linux") {
            assert!(took.cpu.is_some_and(|cpu| cpu >= 0.01), "{took:?}");
        }
        assert_eq!(Clock::start(false).took().cpu, None, "a GPU's work is not the processors'");
    }

    #[test]
    fn the_time_to_a_quality_is_read_off_the_curve() {
        let s = scratch(&[[10.0, 20.0], [50.0, 28.0], [100.0, 30.0]]);
        assert_eq!(s.time_to(24.0), FromPhotos::Takes(30.0));
        assert_eq!(s.time_to(30.0), FromPhotos::Takes(100.0));
        assert_eq!(s.time_to(15.0), FromPhotos::Takes(10.0), "not before it was first measured");
        assert_eq!(s.time_to(30.1), FromPhotos::MoreThan(100.0));
        assert_eq!(scratch(&[]).time_to(1.0), FromPhotos::MoreThan(100.0));
    }

    #[test]
    fn a_pair_is_held_against_the_lower_of_two() {
        let pair = Pair {
            teacher: "hash".into(),
            student: "mlp".into(),
            psnr: 29.0,
            psnr_teacher: 33.0,
            took: wall(5.0),
            steps: 1,
            bytes: 1,
            curve: points(&[[1.0, 20.0], [2.0, 28.5], [5.0, 29.0]]),
        };
        let mut table = Table { scratch: vec![scratch(&[[50.0, 29.0]])], ..Table::default() };
        assert_eq!((pair.loss(&table), pair.ratio(&table)), (None, Some((10.0, false))));
        table.scratch.push(Scratch { kind: "hash".into(), psnr: 29.5, ..scratch(&[]) });
        assert_eq!(pair.loss(&table), Some(0.5));
        table.scratch[0].curve = points(&[[10.0, 20.0], [40.0, 28.5], [50.0, 29.0]]);
        assert_eq!(pair.ratio_within(&table), Some((20.0, false)), "28.5 dB after 40 s and after 2 s");
        let late = Pair { curve: points(&[[1.0, 20.0], [5.0, 28.0]]), ..pair.clone() };
        assert_eq!(late.ratio_within(&table), None, "it is never that good");
        let early = Pair { curve: points(&[[1.0, 28.75], [5.0, 29.0]]), ..pair.clone() };
        assert_eq!(early.ratio_within(&table), Some((45.0, false)), "the start is better than wanted");
        table.scratch[0].curve.clear();
        assert_eq!(pair.ratio(&table), Some((20.0, true)));
    }

    #[test]
    fn a_kind_taught_by_itself_is_held_against_the_smaller_field() {
        let mut table = Table { scratch: vec![scratch(&[[50.0, 29.0]])], ..Table::default() };
        let own = Pair {
            teacher: "mlp".into(),
            student: "mlp".into(),
            psnr: 28.0,
            psnr_teacher: 33.0,
            took: wall(5.0),
            steps: 1,
            bytes: 1,
            curve: Vec::new(),
        };
        assert_eq!(own.loss(&table), Some(2.0), "no smaller field is known");
        table.scratch.push(Scratch { kind: smaller("mlp"), psnr: 28.5, ..scratch(&[[20.0, 28.0]]) });
        assert_eq!((own.loss(&table), own.ratio(&table)), (Some(0.5), Some((4.0, false))));
        let other = Pair { teacher: "hash".into(), ..own };
        assert_eq!(other.ratio(&table).map(|r| r.0), Some(10.0), "another kind's student is of the full size");
    }

    /// Counts to twenty.
    struct Count(u32);

    impl Task for Count {
        fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>> {
            if self.0 == 20 {
                return Ok(ControlFlow::Break(Outcome { steps: 20, ..Outcome::default() }));
            }
            self.0 += 1;
            Ok(ControlFlow::Continue(Progress { step: self.0, of: 20, ..Progress::default() }))
        }
        fn current(&self) -> AnyField {
            tiny_field(self.0)
        }
        fn save_checkpoint(&mut self, _: &Path) -> Result<()> {
            Ok(())
        }
        fn kind_of_work(&self) -> &'static str {
            "counting"
        }
    }

    #[test]
    fn work_is_measured_on_the_way_and_at_its_end() {
        let measure = |field: &AnyField| Ok::<_, retort_fields::error::Error>(number_of(field) as f32);
        let timed_one = timed(&mut Count(0), &[0.1, 0.4, 0.7], measure, |_| true).unwrap().expect("it was let go on");
        let reached: Vec<f32> = timed_one.curve.iter().map(|p| p.psnr).collect();
        assert_eq!((reached, timed_one.steps), (vec![2.0, 8.0, 14.0, 20.0], 20));
        assert!(timed_one.curve.windows(2).all(|w| w[0].took.seconds <= w[1].took.seconds));
        assert!(timed(&mut Count(0), &[0.1, 0.4, 0.7], measure, |p| p.step < 3).unwrap().is_none(), "it was stopped");
    }
}
