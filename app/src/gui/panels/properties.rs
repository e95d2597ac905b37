//! The selected object: its name, its place as typed values, and its edits. Every change is a step of history; a drag is
//! one step.

use eframe::egui::{Grid, Response, TextEdit, Ui};
use retort_fields::compose::Edit;
use retort_fields::compose::region::{Corners, Sphere};

use super::{copy_line, heading, number};
use crate::commands::work::quoted;
use crate::gui::document::Item;
use crate::gui::state::State;

/// The part of an object's box that a new crop keeps, and that a new erasure takes.
const KEPT: f32 = 0.6;
const TAKEN: f32 = 0.3;

/// What happened to a value of an object.
struct Changed {
    label: &'static str,
    gesture: Option<u64>,
    item: Item,
}

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    heading(ui, "Object");
    let Some((item, asset)) = state.selection() else {
        ui.weak("Nothing is selected.");
        return;
    };
    let (item, about, bounds) = (item.clone(), asset.label(), asset.field.scene().bounds);
    let (path, from) = (asset.path.clone(), asset.made.from.clone());
    ui.add_enabled_ui(!item.locked, |ui| {
        name(ui, state, &item);
        ui.weak(about).on_hover_text(from);
        let mut changed = None;
        place(ui, &item, &mut changed);
        edits(ui, &item, &mut changed);
        if let Some(Changed { label, gesture, item: new }) = changed {
            state.change_selected(label, gesture, |item| *item = new);
        }
        if ui.input(|input| input.pointer.any_released()) {
            state.history.end_gesture();
        }
        ui.menu_button("Add edit", |ui| {
            let part = |share: f32| {
                let (centre, half) = (bounds.centre(), 0.5 * share * bounds.size());
                Corners { min: (centre - half).to_array(), max: (centre + half).to_array() }
            };
            let sphere =
                Sphere { centre: bounds.centre().to_array(), radius: 0.5 * TAKEN * bounds.size().min_element() };
            let new = [
                ("Crop box", Edit::Crop(part(KEPT))),
                ("Erase box", Edit::EraseBox(part(TAKEN))),
                ("Erase sphere", Edit::EraseSphere(sphere)),
                ("Tint", Edit::Tint([1.0; 3])),
                ("Brightness", Edit::Brightness(1.0)),
                ("Saturation", Edit::Saturation(1.0)),
                ("Temperature", Edit::Temperature(0.0)),
            ];
            for (name, edit) in new {
                if ui.button(name).clicked() {
                    state.add_edit(edit);
                }
            }
        });
    });
    ui.add_space(4.0);
    super::tools::clean_up(ui, state);
    if ui.button("Measure against photos…").on_hover_text("PSNR and SSIM, as `retort eval` tells them").clicked() {
        state.ask_measure();
    }
    if let Some(path) = path {
        copy_line(ui, &format!("retort info {}", quoted(&path.display().to_string())));
    } else {
        ui.weak("In memory: it has no file yet.");
    }
}

fn name(ui: &mut Ui, state: &mut State, item: &Item) {
    ui.horizontal(|ui| {
        let label = ui.label("Name");
        let mut name = item.name.clone();
        let edit = TextEdit::singleline(&mut name).desired_width(f32::INFINITY);
        let response = ui.add(edit).labelled_by(label.id);
        if response.changed() && !name.trim().is_empty() {
            state.change_selected("Rename", Some(response.id.value()), |item| item.name = name);
        }
        if response.lost_focus() {
            state.history.end_gesture();
        }
    });
}

/// Notes a change that `response` made. Typed values are steps of their own; those of a drag belong together.
fn note(changed: &mut Option<Changed>, response: &Response, label: &'static str, item: &Item) {
    if response.changed() {
        let gesture = response.dragged().then(|| response.id.value());
        *changed = Some(Changed { label, gesture, item: item.clone() });
    }
}

fn place(ui: &mut Ui, item: &Item, changed: &mut Option<Changed>) {
    let mut item = item.clone();
    Grid::new("place").num_columns(4).show(ui, |ui| {
        ui.label("Move");
        for (axis, name) in ["Move x", "Move y", "Move z"].into_iter().enumerate() {
            let response = number(ui, name, &mut item.shift[axis], 0.01, -1000.0..=1000.0);
            note(changed, &response, "Move", &item);
        }
        ui.end_row();
        ui.label("Rotate").on_hover_text("Degrees about x, then y, then z");
        for (axis, name) in ["Rotate x", "Rotate y", "Rotate z"].into_iter().enumerate() {
            let response = number(ui, name, &mut item.rotate[axis], 1.0, -360.0..=360.0);
            note(changed, &response, "Rotate", &item);
        }
        ui.end_row();
        ui.label("Scale");
        let response = number(ui, "Scale", &mut item.scale, 0.01, 1e-3..=1e3);
        note(changed, &response, "Scale", &item);
        ui.end_row();
    });
}

fn edits(ui: &mut Ui, item: &Item, changed: &mut Option<Changed>) {
    for (i, edit) in item.edits.iter().enumerate() {
        ui.push_id(i, |ui| {
            ui.horizontal(|ui| {
                ui.label(edit.name().replace('_', " ")).on_hover_text(steps(edit));
                if ui.small_button("Remove").on_hover_text(format!("Removes edit {}", i + 1)).clicked() {
                    let mut new = item.clone();
                    new.edits.remove(i);
                    *changed = Some(Changed { label: "Remove edit", gesture: None, item: new });
                }
            });
            let mut new = item.clone();
            values(ui, i, &mut new, changed);
        });
    }
}

/// How many steps a selection took that an edit is made of.
fn steps(edit: &Edit) -> String {
    match edit {
        Edit::Erase(region) | Edit::Keep(region) => format!("a selection of {} steps", region.parts().len()),
        _ => String::new(),
    }
}

/// Three numbers of an edit, where it has them.
type Three = fn(&mut Edit) -> Option<&mut [f32; 3]>;

fn lower(edit: &mut Edit) -> Option<&mut [f32; 3]> {
    if let Edit::Crop(b) | Edit::EraseBox(b) = edit { Some(&mut b.min) } else { None }
}

fn upper(edit: &mut Edit) -> Option<&mut [f32; 3]> {
    if let Edit::Crop(b) | Edit::EraseBox(b) = edit { Some(&mut b.max) } else { None }
}

fn centre(edit: &mut Edit) -> Option<&mut [f32; 3]> {
    if let Edit::EraseSphere(s) = edit { Some(&mut s.centre) } else { None }
}

/// A row of three coordinates of edit `i`.
fn three(ui: &mut Ui, title: &str, item: &mut Item, i: usize, get: Three, changed: &mut Option<Changed>) {
    ui.label(title);
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let Some(values) = get(&mut item.edits[i]) else { continue };
        let response = number(ui, &format!("{title} {letter}"), &mut values[axis], 0.01, -1e4..=1e4);
        note(changed, &response, "Edit", item);
    }
    ui.end_row();
}

/// The values of edit `i` of `item`.
fn values(ui: &mut Ui, i: usize, item: &mut Item, changed: &mut Option<Changed>) {
    Grid::new("values").num_columns(4).show(ui, |ui| match item.edits[i] {
        Edit::Crop(_) | Edit::EraseBox(_) => {
            three(ui, "Min", item, i, lower, changed);
            three(ui, "Max", item, i, upper, changed);
        }
        Edit::EraseSphere(_) => {
            three(ui, "Centre", item, i, centre, changed);
            ui.label("Radius");
            let Edit::EraseSphere(sphere) = &mut item.edits[i] else { return };
            let response = number(ui, "Radius", &mut sphere.radius, 0.01, 1e-3..=1e4);
            note(changed, &response, "Edit", item);
        }
        Edit::Tint(_) => {
            ui.label("Tint");
            for channel in 0..3 {
                let Edit::Tint(rgb) = &mut item.edits[i] else { continue };
                let name = ["Tint red", "Tint green", "Tint blue"][channel];
                let response = number(ui, name, &mut rgb[channel], 0.01, 0.0..=10.0);
                note(changed, &response, "Tint", item);
            }
        }
        Edit::Brightness(_) | Edit::Saturation(_) | Edit::Temperature(_) => {
            ui.label("Amount");
            let (name, range) = match item.edits[i] {
                Edit::Brightness(_) => ("Brightness", 0.0..=10.0),
                Edit::Saturation(_) => ("Saturation", 0.0..=10.0),
                _ => ("Temperature", -1.0..=1.0),
            };
            let (Edit::Brightness(value) | Edit::Saturation(value) | Edit::Temperature(value)) = &mut item.edits[i]
            else {
                return;
            };
            let response = number(ui, name, value, 0.01, range);
            note(changed, &response, name, item);
        }
        Edit::Erase(_) | Edit::Keep(_) => {}
    });
}
