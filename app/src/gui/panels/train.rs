//! The panel of trainings: posed photos in, a field out.

use eframe::egui::{TextEdit, Ui};

use super::{copy_line, heading, recipe};
use crate::gui::background::Ask;
use crate::gui::state::{Asker, State};

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    heading(ui, "Train");
    ui.horizontal(|ui| {
        let label = ui.label("Photos");
        if ui.button("Browse…").on_hover_text("Chooses a folder of posed photos").clicked() {
            state.browse(Ask::Folder, Asker::Photos);
        }
        let edit = TextEdit::singleline(&mut state.train.data).hint_text("a folder").desired_width(f32::INFINITY);
        ui.add(edit).labelled_by(label.id);
    });
    recipe::show(ui, "train", &mut state.train.recipe);
    ui.horizontal(|ui| {
        ui.add_enabled_ui(!state.train.data.trim().is_empty(), |ui| {
            if ui.button("Train").clicked() {
                state.start_train();
            }
        });
        copy_line(ui, &state.train_line());
    });
}
