//! How a job is to be done: what the panels of conversions and of trainings share.

use eframe::egui::{ComboBox, Grid, TextEdit, Ui};
use retort_fields::registry::Kind;

use super::values;
use crate::gui::recipe::Recipe;

/// Shows it; `about` names the panel where two have the same fields.
pub fn show(ui: &mut Ui, about: &str, recipe: &mut Recipe) {
    Grid::new((about, "recipe")).num_columns(2).show(ui, |ui| {
        kind(ui, about, recipe);
        let label = ui.label("Preset");
        let presets = Recipe::presets(recipe.kind);
        let shown = ComboBox::from_id_salt((about, "preset")).selected_text(&recipe.preset).show_ui(ui, |ui| {
            for preset in presets {
                let name = preset.clone();
                ui.selectable_value(&mut recipe.preset, preset, name);
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        limits(ui, "the preset's", recipe);
    });
    let label = ui.label("Set").on_hover_text("key=value on each line, as --set has it");
    let hint = format!("{about}.rays=2048");
    let edit = TextEdit::multiline(&mut recipe.set).hint_text(hint).code_editor().desired_rows(2);
    ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id);
    values::show(ui, about, recipe);
}

/// The row of the kind that is made.
pub fn kind(ui: &mut Ui, about: &str, recipe: &mut Recipe) {
    let label = ui.label("To");
    let shown = ComboBox::from_id_salt((about, "kind")).selected_text(recipe.kind.name()).show_ui(ui, |ui| {
        for kind in Kind::ALL {
            ui.selectable_value(&mut recipe.kind, *kind, kind.name()).on_hover_text(kind.label());
        }
    });
    shown.response.labelled_by(label.id).on_hover_text(recipe.kind.label());
    ui.end_row();
}

/// Rows for steps (where none are typed they are `steps`), time and seed.
pub fn limits(ui: &mut Ui, steps: &str, recipe: &mut Recipe) {
    for (name, hint, text) in [
        ("Steps", steps, &mut recipe.steps),
        ("Time", "no limit; 90s, 5m", &mut recipe.time),
        ("Seed", "0", &mut recipe.seed),
    ] {
        let label = ui.label(name);
        ui.add(TextEdit::singleline(text).hint_text(hint).desired_width(120.0)).labelled_by(label.id);
        ui.end_row();
    }
}
