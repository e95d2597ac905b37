//! The jobs: where they stand, their curves, and what can be ordered of them.

use eframe::egui::{ProgressBar, ScrollArea, Ui};
use egui_plot::{Line, Plot};

use super::{copy_line, heading};
use crate::gui::jobs::{Curve, JobId, Phase, Row};
use crate::gui::state::State;
use crate::report::clock;

/// The width of a curve, points.
const CURVE: f32 = 230.0;

/// What was ordered of a job.
enum Wish {
    Pause(JobId, bool),
    Cancel(JobId),
    GoOn(JobId),
}

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    ui.horizontal(|ui| {
        heading_line(ui);
        let over = state.jobs.rows().iter().any(|row| row.phase.is_over());
        ui.add_enabled_ui(over, |ui| {
            if ui.small_button("Clear finished").clicked() {
                state.jobs.clear();
            }
        });
    });
    let mut wish = None;
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        // The job at work first, then those that wait, then the newest of those that are over.
        let mut rows: Vec<&Row> = state.jobs.rows().iter().collect();
        rows.sort_by_key(|row| match row.phase {
            Phase::Running | Phase::Paused | Phase::Preparing => (0, row.id as i64),
            Phase::Waiting => (1, row.id as i64),
            _ => (2, -(row.id as i64)),
        });
        for row in rows {
            ui.push_id(row.id, |ui| one(ui, row, &mut wish));
            ui.separator();
        }
    });
    match wish {
        Some(Wish::Pause(id, paused)) => state.jobs.pause(id, paused),
        Some(Wish::Cancel(id)) => state.jobs.cancel(id),
        Some(Wish::GoOn(id)) => {
            if let Err(error) = state.jobs.go_on(id) {
                state.trouble("going on", error);
            }
        }
        None => {}
    }
}

fn heading_line(ui: &mut Ui) {
    ui.scope(|ui| heading(ui, "Jobs"));
}

fn one(ui: &mut Ui, row: &Row, wish: &mut Option<Wish>) {
    ui.horizontal_top(|ui| {
        ui.vertical(|ui| {
            ui.set_width((ui.available_width() - 2.0 * CURVE - 24.0).max(240.0));
            ui.label(format!("{}: {}", row.order.name, row.phase.name()));
            if let Some(p) = row.progress.as_ref().filter(|_| !matches!(row.phase, Phase::Failed(_))) {
                let share = p.step as f32 / p.of.max(1) as f32;
                ui.add(ProgressBar::new(share).text(format!("{} {}/{}", p.stage, p.step, p.of)).desired_height(16.0));
            } else if row.phase == Phase::Preparing {
                ui.spinner();
            }
            ui.label(numbers(row));
            if let Phase::Failed(why) = &row.phase {
                ui.colored_label(ui.visuals().error_fg_color, why);
            }
            for note in row.notes.iter().rev().take(2) {
                ui.weak(note);
            }
            ui.horizontal(|ui| {
                orders(ui, row, wish);
                copy_line(ui, &row.order.line);
            });
        });
        if row.loss.points().len() > 1 {
            curve(ui, "loss", &row.loss);
        }
        if row.psnr.points().len() > 1 {
            curve(ui, "PSNR, dB", &row.psnr);
        }
    });
}

/// Loss, PSNR and time, as far as they are known.
fn numbers(row: &Row) -> String {
    let progress = row.progress.as_ref();
    let loss = progress.filter(|p| p.loss.is_finite()).map(|p| format!("loss {:.5}", p.loss));
    let last = row.psnr.points().last();
    let psnr = last.map(|[_, psnr]| format!("{psnr:.2} dB"));
    let took = (row.elapsed.as_secs() > 0).then(|| clock(row.elapsed.as_secs_f64()));
    let left = row.left.filter(|_| !row.phase.is_over()).map(|s| format!("{} left", clock(s)));
    [loss, psnr, took, left].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn orders(ui: &mut Ui, row: &Row, wish: &mut Option<Wish>) {
    let going = matches!(row.phase, Phase::Running | Phase::Preparing);
    if going && ui.button("Pause").clicked() {
        *wish = Some(Wish::Pause(row.id, true));
    }
    if row.phase == Phase::Paused && ui.button("Resume").clicked() {
        *wish = Some(Wish::Pause(row.id, false));
    }
    if matches!(row.phase, Phase::Cancelled(Some(_)))
        && ui.button("Go on").on_hover_text("From the checkpoint of when it was cancelled").clicked()
    {
        *wish = Some(Wish::GoOn(row.id));
    }
    if !row.phase.is_over() && ui.button("Cancel").clicked() {
        *wish = Some(Wish::Cancel(row.id));
    }
}

fn curve(ui: &mut Ui, name: &str, curve: &Curve) {
    Plot::new(name)
        .width(CURVE)
        .height(110.0)
        .show_axes([false, true])
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_drag(false)
        .allow_boxed_zoom(false)
        .y_axis_label(name)
        .show(ui, |plot| plot.line(Line::new(name, curve.points().to_vec())));
}
