//! The panel of conversions: the selected object, or the scene as it is seen (baking), taught to another kind.

use eframe::egui::Ui;

use super::{copy_line, heading, recipe};
use crate::gui::recipe::Teacher;
use crate::gui::state::State;

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    heading(ui, "Convert");
    ui.horizontal(|ui| {
        ui.radio_value(&mut state.convert.teacher, Teacher::Selected, "Selected object")
            .on_hover_text("Teaches the selected object, with its edits, to a new field of another kind");
        ui.radio_value(&mut state.convert.teacher, Teacher::Scene, "Whole scene (bake)")
            .on_hover_text("Teaches everything that is visible, as it is seen, to one new field");
    });
    recipe::show(ui, "convert", &mut state.convert.recipe);
    ui.horizontal(|ui| {
        let bake = state.convert.teacher == Teacher::Scene;
        let possible = if bake { !state.document().is_empty() } else { state.selection().is_some() };
        let name = if bake { "Bake" } else { "Convert" };
        ui.add_enabled_ui(possible, |ui| {
            if ui.button(name).clicked() {
                state.start_convert();
            }
        });
        copy_line(ui, &state.convert_line());
    });
    ui.add_space(8.0);
}
