//! `retort bench pairs`: every kind taught by every kind, held against the photos and against training from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use retort_distill::convert::Convert;
use retort_distill::evaluate::evaluate;
use retort_distill::pairs::{Clock, Pair, Point, Scratch, Table, Timed, Took, smaller, timed};
use retort_distill::preset::Preset;
use retort_distill::task::{Progress, Task};
use retort_distill::train::Train;
use retort_fields::data::{Dataset, Photo, Split};
use retort_fields::device::{self, Device, is_cpu};
use retort_fields::error::{Error, Result};
use retort_fields::field::RenderOptions;
use retort_fields::files::{self, Provenance, write_atomically};
use retort_fields::metrics;
use retort_fields::registry::{AnyField, Kind};

use super::train::{exists, options};
use super::{PRESET, Stop, WHITE, made_by, measure, work};
use crate::cli::{self, Common};
use crate::report::{Done, KindDone, Report, clock, size};
use crate::{heatmap, interrupt, output};

/// Test photos, evenly spread, on which everything is measured.
const PHOTOS: usize = 10;
/// Times that a training from photos is measured on its way.
const CURVE: u32 = 24;
/// When a conversion is measured on its way, beside before its first step, as shares of its steps: most of it is learned
/// early.
const PAIR_CURVE: [f32; 6] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.7];

/// When a training is measured. Not before a tenth of it: a young volume is fog everywhere, and ten pictures of it take
/// minutes.
fn curve() -> Vec<f32> {
    (0..CURVE - 1).map(|i| 0.1 + 0.9 * i as f32 / (CURVE - 1) as f32).collect()
}

/// Runs the verb.
///
/// # Errors
/// When the photos are bad, a file cannot be written, a run fails, or it is interrupted; what is done is kept.
pub fn run(args: &cli::Pairs, common: &Common, report: &mut Report) -> Result<(), Stop> {
    exists(&args.data)?;
    if common.time.is_some() {
        let what = "a limit of time does not go with measuring time";
        return Err(Error::new(what).remedy("shorten the runs with --steps or --set instead").into());
    }
    output::make_folder(&args.out)?;
    let kinds = chosen(&args.kinds);
    let data = Arc::new(measure::load(&args.data, &[Split::Train, Split::Test], report)?);
    let bench =
        Bench { args, common, data, device: device::choose(&common.device)?, path: args.out.join("pairs.json") };
    let mut table = bench.begin()?;
    for &kind in &kinds {
        if table.scratch_of(kind).is_none() {
            let row = bench.scratch(kind, report)?;
            table.scratch.push(row);
            bench.keep(&table, &kinds)?;
        }
    }
    for &teacher in &kinds {
        for &student in &kinds {
            if teacher == student
                && table.scratch_of_smaller(teacher).is_none()
                && let Some(row) = bench.smaller_scratch(teacher, report)?
            {
                table.scratch.push(row);
                bench.keep(&table, &kinds)?;
            }
            if table.pair(teacher, student).is_none() {
                let row = bench.pair(teacher, student, report)?;
                table.pairs.push(row);
                bench.keep(&table, &kinds)?;
            }
        }
    }
    bench.keep(&table, &kinds)?;
    report.done(&done(&args.out, &table, &kinds), &text(&args.out, &table, &kinds));
    Ok(())
}

/// The kinds asked for in the order of the registry; all where none is named.
fn chosen(asked: &[Kind]) -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| asked.is_empty() || asked.contains(kind)).collect()
}

/// What every measurement shares.
struct Bench<'a> {
    args: &'a cli::Pairs,
    common: &'a Common,
    data: Arc<Dataset>,
    device: Device,
    path: PathBuf,
}

impl Bench<'_> {
    /// What was measured is only comparable with the same data, presets, steps and seed.
    fn work(&self) -> String {
        let common = self.common;
        let sets: Vec<String> = common.set.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let sets = sets.concat();
        let steps = common.steps.map_or_else(String::new, |n| format!(" steps={n}"));
        let preset = common.preset.as_deref().unwrap_or(PRESET);
        format!("{} {preset} seed={}{steps}{sets}", output::stem(&self.args.data), common.seed)
    }

    /// An empty table, or the one to go on with.
    fn begin(&self) -> Result<Table> {
        let work = self.work();
        let begun = work::table(&self.path, self.common, &work, |table: &Table| &table.work)?;
        Ok(begun.unwrap_or_else(|| Table { work, ..Table::default() }))
    }

    /// Writes what is there: the numbers, and the picture.
    fn keep(&self, table: &Table, kinds: &[Kind]) -> Result<()> {
        let json = serde_json::to_vec_pretty(table).map_err(|e| Error::new(e.to_string()))?;
        write_atomically(&self.path, &json)?;
        write_atomically(&self.args.out.join("pairs.svg"), heatmap::svg(table, kinds).as_bytes())
    }

    fn photos(&self) -> Vec<&Photo> {
        let test = self.data.split(Split::Test);
        let all = if test.is_empty() { self.data.split(Split::Train) } else { test };
        let n = all.len().min(PHOTOS);
        (0..n).map(|i| all[i * all.len() / n]).collect()
    }

    /// Mean PSNR on the photos.
    fn psnr(&self, field: &AnyField) -> Result<f32, Stop> {
        let scores = evaluate(field, &self.photos(), WHITE, &mut |_, _, _| !interrupt::requested());
        if interrupt::requested() { Err(self.interrupted()) } else { Ok(scores?.psnr) }
    }

    /// Mean PSNR of two fields from where the photos were taken.
    fn likeness(&self, student: &AnyField, teacher: &AnyField) -> Result<f32> {
        let options = RenderOptions::default();
        let photos = self.photos();
        let mut sum = 0.0;
        for photo in &photos {
            let [a, b] =
                [student, teacher].map(|f| f.render(&photo.camera.without_distortion(), &options).rgb_over(WHITE));
            sum += metrics::psnr(&a, &b)? as f32;
        }
        Ok(sum / photos.len().max(1) as f32)
    }

    fn interrupted(&self) -> Stop {
        let what = "the bench was interrupted; what was finished is kept";
        Stop::Interrupted(Error::new(what).file(&self.path).remedy("continue with the same line and --resume"))
    }

    fn field_path(&self, name: &str) -> PathBuf {
        self.args.out.join(format!("{name}.safetensors"))
    }

    fn preset(&self, kind: Kind) -> Result<Preset> {
        Preset::load(self.common.preset.as_deref().unwrap_or(PRESET), kind, &self.common.set)
    }

    /// Runs a task under the eyes of the report.
    fn run(&self, task: &mut dyn Task, shares: &[f32], name: &str, report: &mut Report) -> Result<Timed, Stop> {
        report.note(name);
        report.begin(None);
        let tell = |progress: &Progress| {
            report.progress(progress);
            !interrupt::requested()
        };
        let done = timed(task, shares, |field| self.psnr(field), tell);
        report.end();
        done?.ok_or_else(|| self.interrupted())
    }

    fn save(&self, done: &Timed, name: &str, from: String, preset: Preset) -> Result<u64> {
        let provenance = Provenance {
            made_by: made_by(),
            from,
            steps: done.steps,
            seconds: done.took.seconds,
            seed: self.common.seed,
            preset: preset.name,
            background: measure::background_of(&self.data),
            ..Provenance::default()
        };
        files::save(&done.field, &provenance, &self.field_path(name))
    }

    fn scratch(&self, kind: Kind, report: &mut Report) -> Result<Scratch, Stop> {
        self.scratch_named(kind.name(), self.preset(kind)?, report)
    }

    /// The row of the smaller field that the self pair is held against, where the preset says of one.
    fn smaller_scratch(&self, kind: Kind, report: &mut Report) -> Result<Option<Scratch>, Stop> {
        let preset = self.preset(kind)?.to_smaller()?;
        preset.map(|preset| self.scratch_named(&smaller(kind.name()), preset, report)).transpose()
    }

    fn scratch_named(&self, name: &str, preset: Preset, report: &mut Report) -> Result<Scratch, Stop> {
        let mut task = Train::new(Arc::clone(&self.data), &preset, &options(self.common), &self.device)?;
        let done = self.run(&mut task, &curve(), &format!("photos -> {name}"), report)?;
        let file = name.replace(' ', "-");
        let bytes = self.save(&done, &file, format!("trained from {}", output::stem(&self.args.data)), preset)?;
        let psnr = done.curve.last().map_or(f32::NAN, |p| p.psnr);
        Ok(Scratch { kind: name.into(), psnr, took: done.took, steps: done.steps, bytes, curve: done.curve })
    }

    fn pair(&self, teacher: Kind, student: Kind, report: &mut Report) -> Result<Pair, Stop> {
        let preset = self.preset(student)?;
        let preset = if teacher == student { preset.to_smaller()?.unwrap_or(preset) } else { preset };
        let (taught_by, _) = files::load(&self.field_path(teacher.name()), &self.device)?;
        let name = format!("{teacher}-to-{student}");
        let clock = Clock::start(is_cpu(&self.device));
        let mut task = Convert::new(&taught_by, &preset, &options(self.common), &self.device)?;
        let start = clock.took();
        let begins = Point { took: start, psnr: self.psnr(&task.current())? };
        let done = self.run(&mut task, &PAIR_CURVE, &format!("{teacher} -> {student}"), report)?;
        // The student's start is made of the teacher, so it belongs to the conversion.
        let whole = |mut took: Took| {
            took += start;
            took
        };
        let later = done.curve.iter().map(|p| Point { took: whole(p.took), ..*p });
        let curve: Vec<_> = std::iter::once(begins).chain(later).collect();
        let bytes = self.save(&done, &name, format!("converted from {teacher}"), preset)?;
        Ok(Pair {
            teacher: teacher.name().into(),
            student: student.name().into(),
            psnr: done.curve.last().map_or(f32::NAN, |p| p.psnr),
            psnr_teacher: self.likeness(&done.field, &taught_by)?,
            curve,
            took: whole(done.took),
            steps: done.steps,
            bytes,
        })
    }
}

fn done(out: &Path, table: &Table, kinds: &[Kind]) -> Done {
    let rows = kinds.iter().filter_map(|kind| table.scratch_of(*kind).map(|s| (kind, s)));
    let kinds = rows.map(|(kind, s)| KindDone {
        kind: kind.name(),
        done: Done {
            seconds: Some(s.took.seconds),
            steps: Some(s.steps),
            bytes: Some(s.bytes),
            psnr: Some(s.psnr),
            ..Done::default()
        },
    });
    Done { out: Some(out.display().to_string()), kinds: kinds.collect(), ..Done::default() }
}

/// The table for people.
fn text(out: &Path, table: &Table, kinds: &[Kind]) -> String {
    let mut lines = vec![format!(
        "{:<22} {:>8} {:>8} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8}",
        table.work, "start", "PSNR", "teacher", "lost", "time", "size", "photos", "at 1 dB"
    )];
    let alone = kinds.iter().flat_map(|kind| [table.scratch_of(*kind), table.scratch_of_smaller(*kind)]);
    for s in alone.flatten() {
        let (took, bytes) = (clock(f64::from(s.took.seconds)), size(s.bytes));
        lines.push(format!(
            "{:<22} {:>8} {:>8.2} {:>9} {:>8} {took:>8} {bytes:>9}",
            format!("photos -> {}", s.kind),
            "",
            s.psnr,
            "",
            ""
        ));
    }
    for teacher in kinds {
        for student in kinds {
            let Some(p) = table.pair(*teacher, *student) else { continue };
            let loss = p.loss(table).map_or_else(String::new, |loss| format!("{loss:.2}"));
            let times = |ratio: Option<(f32, bool)>| {
                ratio.map_or_else(String::new, |(r, least)| format!("{}x{r:.1}", if least { ">" } else { "" }))
            };
            let (ratio, within) = (times(p.ratio(table)), times(p.ratio_within(table)));
            let start = p.curve.first().map_or(f32::NAN, |point| point.psnr);
            let (took, bytes) = (clock(f64::from(p.took.seconds)), size(p.bytes));
            let compressed = teacher == student && table.scratch_of_smaller(*student).is_some();
            let name =
                format!("{teacher} -> {}", if compressed { smaller(student.name()) } else { student.to_string() });
            lines.push(format!(
                "{name:<22} {start:>8.2} {:>8.2} {:>9.2} {loss:>8} {took:>8} {bytes:>9} {ratio:>8} {within:>8}",
                p.psnr, p.psnr_teacher
            ));
        }
    }
    lines.push("PSNR on test photos before any step and at the end, against the teacher, below the lower of teacher and photos;".into());
    lines.push(
        "photos: times longer from them to the same PSNR, by processor time; at 1 dB: the same where 1 dB is lost"
            .into(),
    );
    lines.push(format!("{}: fields, pairs.json, pairs.svg", out.display()));
    lines.join("\n")
}
