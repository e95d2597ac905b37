//! The menu bar.

use eframe::egui::{Button, MenuBar, ThemePreference, Ui};

use crate::commands::work::quoted;
use crate::gui::app::Shown;
use crate::gui::pictures::Mode;
use crate::gui::shortcuts::Action;
use crate::gui::state::{Backdrop, Purpose, State};

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State, shown: &Shown) {
    MenuBar::new().ui(ui, |ui| {
        ui.menu_button("File", |ui| file(ui, state, shown.aspect));
        ui.menu_button("Edit", |ui| edit(ui, state, shown.aspect));
        ui.menu_button("View", |ui| view(ui, state, shown));
        ui.menu_button("Help", |ui| {
            entry(ui, state, shown.aspect, Action::Keys);
            ui.weak(format!("Retort {}", env!("CARGO_PKG_VERSION")));
        });
    });
}

/// An action as a menu shows it.
fn entry(ui: &mut Ui, state: &mut State, aspect: f32, action: Action) {
    entry_called(ui, state, aspect, action, action.name());
}

fn entry_called(ui: &mut Ui, state: &mut State, aspect: f32, action: Action, name: &str) {
    let button = Button::new(name).shortcut_text(action.keys(ui.ctx()));
    if ui.add_enabled(action.is_possible(state), button).clicked() {
        action.perform(state, aspect);
    }
}

fn file(ui: &mut Ui, state: &mut State, aspect: f32) {
    entry(ui, state, aspect, Action::Open);
    let recent = state.recent.files().to_vec();
    ui.add_enabled_ui(!recent.is_empty(), |ui| {
        ui.menu_button("Open recent", |ui| {
            for path in &recent {
                if ui.button(path.display().to_string()).clicked() {
                    state.open(path);
                }
            }
        });
    });
    if ui.button("Open the demo").clicked() {
        state.open_demo();
    }
    ui.separator();
    for action in [Action::Save, Action::SaveAs, Action::SaveField, Action::Export] {
        entry(ui, state, aspect, action);
    }
    if ui.add_enabled(!state.document().is_empty(), Button::new("Export mesh…")).clicked() {
        state.ask_name(Purpose::ExportMesh);
    }
    ui.separator();
    entry(ui, state, aspect, Action::Quit);
}

fn edit(ui: &mut Ui, state: &mut State, aspect: f32) {
    let named =
        |verb: &str, label: Option<&str>| label.map_or(verb.to_string(), |l| format!("{verb} {}", l.to_lowercase()));
    let (undo, redo) = (named("Undo", state.history.undo_label()), named("Redo", state.history.redo_label()));
    entry_called(ui, state, aspect, Action::Undo, &undo);
    entry_called(ui, state, aspect, Action::Redo, &redo);
    ui.separator();
    for action in [Action::Duplicate, Action::Delete, Action::Toggle, Action::ShowAll] {
        entry(ui, state, aspect, action);
    }
    ui.separator();
    for action in [Action::SelectAll, Action::SelectNone, Action::Invert] {
        entry(ui, state, aspect, action);
    }
    super::tools::clean_up(ui, state);
}

fn view(ui: &mut Ui, state: &mut State, shown: &Shown) {
    for action in [Action::Frame, Action::Reset, Action::Steering, Action::Timeline] {
        entry(ui, state, shown.aspect, action);
    }
    ui.separator();
    for mode in Mode::ALL {
        ui.radio_value(&mut state.mode, mode, mode.name());
    }
    ui.separator();
    ui.menu_button("Background", |ui| {
        for backdrop in Backdrop::ALL {
            ui.radio_value(&mut state.backdrop, backdrop, backdrop.name());
        }
    });
    ui.menu_button("Theme", |ui| {
        let mut theme = ui.ctx().options(|options| options.theme_preference);
        let before = theme;
        for (value, name) in
            [(ThemePreference::Dark, "Dark"), (ThemePreference::Light, "Light"), (ThemePreference::System, "System")]
        {
            ui.radio_value(&mut theme, value, name);
        }
        if theme != before {
            ui.ctx().set_theme(theme);
        }
    });
    let grid = format!("Grid ({})", Action::Grid.keys(ui.ctx()));
    ui.checkbox(&mut state.overlays.grid, grid);
    ui.checkbox(&mut state.overlays.axes, "Axes");
    ui.checkbox(&mut state.overlays.cameras, "Cameras")
        .on_hover_text("From where the selected field's photos were taken");
    ui.checkbox(&mut state.overlays.outlines, "Outlines of edits");
    ui.checkbox(&mut state.follow, "Show the student while it learns");
    ui.separator();
    if ui.button("Copy camera (JSON)").on_hover_text("for `retort render --camera FILE`").clicked() {
        let camera = state.orbit.camera(1280, ((1280.0 / shown.aspect.max(0.01)) as u32).max(1));
        ui.ctx().copy_text(serde_json::to_string(&camera).unwrap_or_default());
    }
    let scene = state.scene_path.clone().unwrap_or_else(|| "scene.toml".into());
    let line = format!("retort render {} --camera camera.json -o view.png", quoted(&scene.display().to_string()));
    if ui.button("Copy command line").on_hover_text(&line).clicked() {
        ui.ctx().copy_text(line);
    }
}
