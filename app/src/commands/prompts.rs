//! `retort bench prompts`: losses held against scenes that are known exactly, on prompts that were never taught.

use std::path::Path;
use std::time::Instant;

use retort_distill::generate::score::{Score, score};
use retort_distill::generate::{Generate, System, ask, prompts};
use retort_distill::guidance::Loss;
use retort_distill::prior::world::prompt::understand;
use retort_distill::task::Task;
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::RenderOptions;
use retort_fields::files::write_atomically;
use serde::{Deserialize, Serialize};

use super::generate::{SYSTEM, prior};
use super::train::options;
use super::{Stop, WHITE, work};
use crate::cli::{self, Common};
use crate::pictures::Picture;
use crate::report::{Done, Report};
use crate::{interrupt, output};

/// Side of a row's picture in pixels.
const SIDE: u32 = 128;

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    prompt: String,
    loss: String,
    seed: u64,
    seconds: f32,
    two: bool,
    right: bool,
    score: Score,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Table {
    /// What rows must share to be comparable.
    work: String,
    rows: Vec<Row>,
}

/// Runs the verb.
///
/// # Errors
/// When a file cannot be written, a run fails, or it is interrupted; what is done is kept.
pub fn run(args: &cli::Prompts, common: &Common, report: &mut Report) -> Result<(), Stop> {
    output::make_folder(&args.out)?;
    let path = args.out.join("prompts.json");
    let mut table = begin(args, common, &path)?;
    let losses = if args.losses.is_empty() { vec![Loss::Mvsds] } else { args.losses.clone() };
    let sets = [(prompts::ONE, false), (prompts::TWO, true)];
    for &loss in &losses {
        for seed in 0..args.seeds {
            for (prompt, two) in sets.iter().flat_map(|(set, two)| set.iter().take(args.count).map(move |p| (*p, *two)))
            {
                let done = table.rows.iter().any(|r| r.prompt == prompt && r.loss == loss.name() && r.seed == seed);
                if !done {
                    let row = one(args, common, (prompt, two), loss, seed, report)?;
                    report.note(&line(&row));
                    table.rows.push(row);
                    keep(&table, &path)?;
                }
            }
        }
    }
    report.done(&Done { out: Some(args.out.display().to_string()), ..Done::default() }, &text(&table, &losses));
    Ok(())
}

fn begin(args: &cli::Prompts, common: &Common, path: &Path) -> Result<Table> {
    let sets: Vec<String> = common.set.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let sets = sets.concat();
    let steps = common.steps.map_or_else(String::new, |n| format!(" steps={n}"));
    let system = common.preset.as_deref().unwrap_or(SYSTEM);
    let work = format!("{} by {} {system}{steps}{sets}", args.to, args.prior);
    let begun = work::table(path, common, &work, |table: &Table| &table.work)?;
    Ok(begun.unwrap_or_else(|| Table { work, rows: Vec::new() }))
}

fn keep(table: &Table, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(table).map_err(|e| Error::new(e.to_string()))?;
    write_atomically(path, text.as_bytes())
}

fn one(
    args: &cli::Prompts,
    common: &Common,
    (prompt, two): (&str, bool),
    loss: Loss,
    seed: u64,
    report: &mut Report,
) -> Result<Row, Stop> {
    let device = device::choose(&common.device)?;
    let name = common.preset.as_deref().unwrap_or(SYSTEM);
    let (system, preset) = System::load(name, args.to, Some(loss), &common.set)?;
    let (prior, read) = ask(prior(&args.prior, &device)?, prompt)?;
    let mut options = options(common);
    options.seed = seed;
    let started = Instant::now();
    let mut task = Generate::new((prior, &read), (&system, &preset), &options, &device)?;
    report.begin(None);
    while let std::ops::ControlFlow::Continue(progress) = task.step()? {
        report.progress(&progress);
        if interrupt::requested() {
            report.end();
            return Err(Stop::Interrupted(Error::new("interrupted").remedy("continue with --resume")));
        }
    }
    report.end();
    let (field, seconds) = (task.current(), started.elapsed().as_secs_f32());
    let description = understand(prompt)?.description;
    let score = score(&field, &description);
    let views = field
        .scene()
        .cameras
        .iter()
        .take(4)
        .map(|pose| Picture::of_frame(&field.render(&pose.camera(SIDE, SIDE), &RenderOptions::default()), WHITE));
    let file = format!("{loss}-{seed}-{}.png", prompt.replace(' ', "-"));
    Picture::side_by_side(&views.collect::<Vec<_>>()).write_png(&args.out.join(file))?;
    Ok(Row { prompt: prompt.into(), loss: loss.name().into(), seed, seconds, two, right: score.right(), score })
}

fn line(row: &Row) -> String {
    let Score { psnr, iou, things, colours, relation, front, .. } = row.score;
    let mut wrong: Vec<&str> = Vec::new();
    for (is, what) in [(things, "thing"), (colours, "colour"), (relation, "relation"), (front, "front")] {
        if !is {
            wrong.push(what);
        }
    }
    let verdict = if wrong.is_empty() { "right".into() } else { format!("wrong {}", wrong.join(", ")) };
    format!(
        "{} ({}, seed {}): {verdict}, {psnr:.1} dB, IoU {iou:.2}, {:.0} s",
        row.prompt, row.loss, row.seed, row.seconds
    )
}

/// The table for people: a line for each loss and number of things.
fn text(table: &Table, losses: &[Loss]) -> String {
    let mut text =
        String::from("loss    things  right    thing colour relation front  PSNR dB   IoU  Janus  seconds\n");
    for loss in losses {
        for two in [false, true] {
            let rows: Vec<&Row> = table.rows.iter().filter(|r| r.loss == loss.name() && r.two == two).collect();
            if rows.is_empty() {
                continue;
            }
            let n = rows.len();
            let count = |is: &dyn Fn(&Score) -> bool| rows.iter().filter(|r| is(&r.score)).count();
            let mean = |of: &dyn Fn(&Row) -> f32| rows.iter().map(|r| of(r)).sum::<f32>() / n as f32;
            let janus: Vec<f32> = rows.iter().filter_map(|r| r.score.janus).collect();
            text += &format!(
                "{:7} {:6}  {:>2}/{n:<3}   {:>5} {:>6} {:>8} {:>5}  {:>7.1}  {:>4.2}  {:>5.2}  {:>7.0}\n",
                loss.name(),
                if two { "two" } else { "one" },
                rows.iter().filter(|r| r.right).count(),
                count(&|s| s.things),
                count(&|s| s.colours),
                count(&|s| s.relation),
                count(&|s| s.front),
                mean(&|r| r.score.psnr),
                mean(&|r| r.score.iou),
                janus.iter().sum::<f32>() / janus.len().max(1) as f32,
                mean(&|r| r.seconds),
            );
        }
    }
    text.trim_end().to_string()
}
