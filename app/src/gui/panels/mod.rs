//! The panels of the window, a file each. They show the state and change it through its own actions.

pub mod convert;
pub mod dialogs;
pub mod generate;
pub mod hands;
pub mod jobs;
pub mod menu;
pub mod mesh;
pub mod outliner;
pub mod overlay;
mod path_lines;
pub mod properties;
mod recipe;
pub mod status;
pub mod timeline;
pub mod tools;
pub mod train;
mod values;
pub mod viewport;

use eframe::egui::{self, DragValue, Response, Ui};

/// A button that copies a command line, with the line as its hint.
fn copy_line(ui: &mut Ui, line: &str) {
    let button = ui.button("Copy command line").on_hover_text(line);
    if button.clicked() {
        ui.ctx().copy_text(line.into());
    }
}

/// A heading with a line under it.
fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(4.0);
    ui.label(egui::RichText::new(text).strong());
    ui.separator();
}

/// A number that is dragged or typed; `name` is what it is called for those who cannot see where it stands.
fn number(ui: &mut Ui, name: &str, value: &mut f32, speed: f32, range: std::ops::RangeInclusive<f32>) -> Response {
    let drag = DragValue::new(value).speed(speed).range(range).max_decimals(4).update_while_editing(false);
    ui.add(drag).on_hover_text(name)
}
