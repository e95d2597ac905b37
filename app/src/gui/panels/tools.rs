//! The row of tools, and what can be done with what is selected or measured.

use eframe::egui::{Button, Grid, ScrollArea, Ui};
use retort_fields::compose::region::{Part, Shape};

use super::{heading, number};
use crate::gui::select::{BRUSHES, Tool};
use crate::gui::state::State;

/// Shows the row.
pub fn row(ui: &mut Ui, state: &mut State) {
    // The row is as high with every tool: the picture under it must not jump.
    ScrollArea::horizontal().id_salt("tools").show(ui, |ui| ui.horizontal(|ui| tools(ui, state)));
}

fn tools(ui: &mut Ui, state: &mut State) {
    for (tool, name, what) in Tool::ALL {
        if ui.selectable_label(state.tool == tool, name).on_hover_text(what).clicked() {
            state.take(tool);
        }
    }
}

/// Shows what can be set about the tool, and what it measured.
pub fn options(ui: &mut Ui, state: &mut State) {
    if state.tool == Tool::Brush {
        heading(ui, "Brush");
        ui.horizontal(|ui| {
            let label = ui.label("Radius");
            number(ui, "Brush radius, points", &mut state.brush, 0.5, BRUSHES[0]..=BRUSHES[1]).labelled_by(label.id);
        });
    }
    if let Some(length) = state.measured() {
        heading(ui, "Measured");
        ui.horizontal(|ui| measured(ui, state, length));
        ui.weak("Type another length to scale the object to it.");
    }
}

fn measured(ui: &mut Ui, state: &mut State, length: f32) {
    let mut wanted = length;
    let label = ui.label("Length");
    let response = number(ui, "Length, scene units: type another to scale the object", &mut wanted, 0.0, 1e-4..=1e4);
    let response = response.labelled_by(label.id);
    if response.changed() && wanted != length {
        state.set_measured(wanted);
    }
}

/// Shows the selection.
pub fn selection(ui: &mut Ui, state: &mut State) {
    let Some(parts) = state.part().map(|region| region.parts().to_vec()) else { return };
    heading(ui, "Selection");
    ui.horizontal_wrapped(|ui| {
        if ui.button("Erase").on_hover_text("Erases what is selected (Delete)").clicked() {
            state.erase_part();
        }
        if ui.button("Keep").on_hover_text("Erases all that is not selected").clicked() {
            state.keep_part();
        }
        if ui.button("Separate").on_hover_text("Makes an object of its own of it").clicked() {
            state.separate_part(false);
        }
        if ui.button("Copy").on_hover_text("Makes a second object of it").clicked() {
            state.separate_part(true);
        }
        if ui.button("Invert").on_hover_text("Selects what was not selected (Ctrl+I)").clicked() {
            state.invert_part();
        }
        if ui.button("None").on_hover_text("Selects nothing (Ctrl+Shift+A)").clicked() {
            state.select_none();
        }
    });
    last_shape(ui, state, parts);
}

/// The numbers of the last shape, where it has some worth typing.
fn last_shape(ui: &mut Ui, state: &mut State, mut parts: Vec<Part>) {
    let Some(Part::Add(shape) | Part::Remove(shape) | Part::Intersect(shape)) = parts.last_mut() else { return };
    let mut changed = None;
    Grid::new("last shape").num_columns(4).show(ui, |ui| {
        let mut three = |ui: &mut Ui, title: &str, values: &mut [f32; 3]| {
            ui.label(title);
            for (value, axis) in values.iter_mut().zip(["x", "y", "z"]) {
                let response = number(ui, &format!("Selection {title} {axis}"), value, 0.01, -1e4..=1e4);
                if response.changed() {
                    changed = Some(response.dragged().then(|| response.id.value()));
                }
            }
            ui.end_row();
        };
        match shape {
            Shape::Box(corners) => {
                three(ui, "Min", &mut corners.min);
                three(ui, "Max", &mut corners.max);
            }
            Shape::Sphere(sphere) => {
                three(ui, "Centre", &mut sphere.centre);
                ui.label("Radius");
                let response = number(ui, "Selection radius", &mut sphere.radius, 0.01, 1e-3..=1e4);
                if response.changed() {
                    changed = Some(response.dragged().then(|| response.id.value()));
                }
            }
            _ => {}
        }
    });
    if let Some(gesture) = changed {
        state.change_last_shape(gesture, parts);
    }
}

/// What finds things by itself.
pub fn clean_up(ui: &mut Ui, state: &mut State) {
    let button = Button::new("Remove floaters");
    if ui.add(button).on_hover_text("Erases loose pieces and haze beside the object").clicked() {
        state.clear_floaters();
    }
}
