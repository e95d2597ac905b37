//! Questions and bad news, before everything else.

use std::path::Path;

use eframe::egui::{Button, Context, Grid, Id, Key, KeyboardShortcut, Modal, ScrollArea, TextEdit, Ui};
use retort_fields::compose::project::is_project;
use retort_fields::files::any;

use super::copy_line;
use crate::gui::background::Ask;
use crate::gui::document::ItemId;
use crate::gui::measure::Measured;
use crate::gui::shortcuts::ALL;
use crate::gui::state::{After, Asker, Dialog, Purpose, State, Trouble};
use crate::gui::timeline::PathUse;

/// The width of a dialog, points.
const WIDTH: f32 = 420.0;

/// What buttons the pointer has, for the sheet: what is done, and with what.
const POINTER: &[(&str, &str)] = &[
    ("Around the target; look around when flying", "left drag"),
    ("Sideways", "right drag, or Shift + middle drag"),
    ("Around the target", "middle drag, or Shift + right drag"),
    ("Nearer, farther", "wheel, Ctrl + middle drag, or Alt + right drag"),
    ("Look at a point", "double click, or middle click"),
    ("Move", "W A S D, Q down, E up; Shift faster, Alt slower"),
];

/// Shows the one that is open; bad news first.
pub fn show(ctx: &Context, state: &mut State, aspect: f32) {
    if let Some(trouble) = state.troubles.front().cloned() {
        if bad_news(ctx, &trouble) {
            state.troubles.pop_front();
        }
        return;
    }
    match state.dialog.clone() {
        Some(Dialog::Unsaved(after)) => unsaved(ctx, state, &after),
        Some(Dialog::Name(purpose, text)) => name(ctx, state, purpose, text, aspect),
        Some(Dialog::Keys) => keys(ctx, state),
        Some(Dialog::Recover) => recover(ctx, state),
        Some(Dialog::Measured(found)) => measured(ctx, state, &found),
        None => {}
    }
}

/// Shows what went wrong; true when it was read.
fn bad_news(ctx: &Context, trouble: &Trouble) -> bool {
    let modal = Modal::new(Id::unique("trouble")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        let mut tried = trouble.tried.clone();
        if let Some(first) = tried.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        ui.heading(format!("{tried} did not work"));
        if let Some(file) = &trouble.file {
            ui.label(file.display().to_string());
        }
        ui.label(&trouble.what);
        if !trouble.remedy.is_empty() {
            ui.add_space(4.0);
            ui.strong(format!("What helps: {}", trouble.remedy));
        }
        ui.add_space(8.0);
        ui.button("OK").clicked()
    });
    modal.inner || modal.should_close() || ctx.input(|input| input.key_pressed(Key::Enter))
}

fn unsaved(ctx: &Context, state: &mut State, after: &After) {
    let modal = Modal::new(Id::unique("unsaved")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        let closing = *after == After::Close;
        ui.heading(if closing { "Close the window?" } else { "Open another scene?" });
        if state.history.is_changed() {
            ui.label("The scene has changes that are not saved.");
        }
        if closing && state.jobs.is_busy() {
            ui.label("A job is at work: it stops after a checkpoint, and the terminal says how to go on with it.");
        }
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            let changed = state.history.is_changed() && !state.document().is_empty();
            if changed && ui.button("Save…").clicked() {
                state.ask_name(Purpose::SaveScene(Some(after.clone())));
            }
            if ui.button(if closing { "Close without saving" } else { "Open without saving" }).clicked() {
                state.dialog = None;
                state.give_up(after.clone());
            }
            if ui.button("Cancel").clicked() {
                state.dialog = None;
            }
        });
    });
    if modal.should_close() && matches!(state.dialog, Some(Dialog::Unsaved(_))) {
        state.dialog = None;
    }
}

/// What a name is asked for: the heading, the button, and what the system's own dialog is asked.
fn wording(purpose: &Purpose) -> (&'static str, &'static str, Ask) {
    match purpose {
        Purpose::Open => ("Open a field or a scene", "Open", Ask::Open),
        Purpose::Measure(_) => ("Measure against photos", "Measure", Ask::Folder),
        Purpose::SaveField(_) => {
            ("Save the field", "Save", Ask::Save(&["safetensors", "ply", "spz", "sog", "splat", "glb", "ingp", "npz"]))
        }
        Purpose::SaveScene(_) => ("Save the scene", "Save", Ask::Save(&["toml", "retort"])),
        Purpose::ExportMesh => ("Export a mesh", "Export", Ask::Save(&["glb"])),
        Purpose::ExportPicture(_) => ("Export a picture", "Export", Ask::Save(&["png"])),
        Purpose::Path(what) => what.wording(),
    }
}

fn name(ctx: &Context, state: &mut State, mut purpose: Purpose, mut text: String, aspect: f32) {
    let (title, verb, ask) = wording(&purpose);
    let mut done = false;
    let mut cancelled = false;
    let modal = Modal::new(Id::unique("name")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        ui.heading(title);
        ui.horizontal(|ui| {
            let label = ui.label("File");
            let response = ui.add(TextEdit::singleline(&mut text).desired_width(320.0)).labelled_by(label.id);
            done |= response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            if !ui.memory(|memory| memory.focused().is_some()) && !done {
                response.request_focus();
            }
            if ui.button("Browse…").on_hover_text("Chooses in a dialog of the system").clicked() {
                state.browse(ask, Asker::Dialog);
            }
        });
        explain(ui, state, &mut purpose, Path::new(text.trim()), aspect);
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            let replaces = writes(&purpose) && Path::new(text.trim()).is_file();
            ui.add_enabled_ui(!text.trim().is_empty(), |ui| {
                done |= ui.button(if replaces { "Replace" } else { verb }).clicked();
            });
            cancelled = ui.button("Cancel").clicked();
        });
    });
    // The system's dialog may have answered meanwhile.
    if let Some(Dialog::Name(..)) = &state.dialog {
        if done && !text.trim().is_empty() {
            state.named(purpose, &text);
        } else if cancelled || modal.should_close() {
            state.dialog = None;
        } else {
            state.dialog = Some(Dialog::Name(purpose, text));
        }
    }
}

/// Whether the name is of a file that is written.
fn writes(purpose: &Purpose) -> bool {
    !matches!(purpose, Purpose::Open | Purpose::Measure(_) | Purpose::Path(PathUse::Load))
}

/// What a person should know before the file is written.
fn explain(ui: &mut Ui, state: &State, purpose: &mut Purpose, path: &Path, aspect: f32) {
    match purpose {
        Purpose::Open => {
            ui.weak("A field of Retort or of another program (its content says which), a scene.toml or its folder, a .retort project; photos go to the panel of trainings.");
        }
        Purpose::Measure(_) => {
            ui.weak("A folder of posed photos of the same scene: PSNR and SSIM on those that were not trained on.");
        }
        Purpose::SaveScene(_) if is_project(path) => {
            ui.weak("A project: one file with all of its fields in it.");
        }
        Purpose::SaveScene(_) => {
            let in_memory = state.document().items().filter_map(|item| state.assets.get(item.asset));
            let n = in_memory.filter(|asset| asset.path.is_none()).count();
            if n > 0 {
                ui.weak(format!("{n} of its fields have no file yet and are written beside it."));
            }
            ui.weak("A name that ends in .retort makes one file of it all.");
        }
        Purpose::SaveField(id) => {
            ui.weak(format!("The ending says the format: {}.", any::endings().join(", ")));
            if has_edits(state, *id) {
                ui.weak("Edits of a volume are not in its own file: save the scene, or bake it first.");
            }
        }
        Purpose::ExportMesh => {
            ui.weak("A GLB with what is set in the panel of meshes, on the right.");
        }
        Purpose::Path(_) => {}
        Purpose::ExportPicture(size) => {
            ui.horizontal(|ui| {
                let label = ui.label("Width");
                let mut width = size[0];
                let drag = eframe::egui::DragValue::new(&mut width).range(16..=8192);
                if ui.add(drag).labelled_by(label.id).changed() {
                    *size = [width, ((width as f32 / aspect.max(0.01)).round() as u32).clamp(16, 8192)];
                }
                ui.label(format!("x {}", size[1]));
            });
        }
    }
    if let Purpose::Path(what) = purpose {
        ui.weak(state.path_hint(*what));
    }
    if writes(purpose) && path.is_file() {
        ui.colored_label(ui.visuals().warn_fg_color, "This file is there already and is replaced.");
    }
}

fn has_edits(state: &State, id: ItemId) -> bool {
    let item = state.document().get(id);
    item.is_some_and(|item| {
        let volume = state.assets.get(item.asset).is_some_and(|asset| asset.field.as_primitives().is_none());
        volume && !item.is_plain()
    })
}

/// How near an object came to photos.
fn measured(ctx: &Context, state: &mut State, measured: &Measured) {
    let Measured { about, scores, seconds, line } = measured;
    let modal = Modal::new(Id::unique("measured")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        ui.heading(format!("PSNR {:.2} dB, SSIM {:.4}", scores.psnr, scores.ssim));
        ui.label(format!("{about}, in {seconds:.0} s"));
        ScrollArea::vertical().max_height(240.0).show(ui, |ui| {
            Grid::new("views").num_columns(3).striped(true).show(ui, |ui| {
                for (name, psnr, ssim) in &scores.views {
                    ui.label(name);
                    ui.label(format!("{psnr:.2} dB"));
                    ui.label(format!("{ssim:.4}"));
                    ui.end_row();
                }
            });
        });
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            copy_line(ui, line);
            ui.button("Close").clicked()
        })
        .inner
    });
    if modal.inner || modal.should_close() {
        state.dialog = None;
    }
}

/// What was not saved when the program ended.
fn recover(ctx: &Context, state: &mut State) {
    let Some(name) = state.recovery.found.front().map(|left| left.about.name.clone()) else {
        state.dialog = None;
        return;
    };
    let modal = Modal::new(Id::unique("recover")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        ui.heading(format!("Retort was closed before {name} was saved"));
        ui.label("There is a copy of it as it was shortly before.");
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            // What is being opened would come on top of it.
            let free = state.background.busy().next().is_none();
            if ui.add_enabled(free, Button::new("Recover")).clicked() {
                state.recover();
            } else if ui.button("Discard").on_hover_text("Removes the copy").clicked() {
                state.discard_left();
            } else if ui.button("Later").on_hover_text("Asks again at the next start").clicked() {
                state.recover_later();
            }
        });
    });
    if modal.should_close() && state.dialog == Some(Dialog::Recover) {
        state.recover_later();
    }
}

fn keys(ctx: &Context, state: &mut State) {
    let modal = Modal::new(Id::unique("keys")).show(ctx, |ui| {
        ui.set_width(WIDTH);
        ui.heading("Keys and buttons");
        // A small window is lower than the list.
        let height = (ctx.content_rect().height() - 110.0).max(80.0);
        ScrollArea::vertical().max_height(height).show(ui, sheet);
        ui.button("Close").clicked()
    });
    if modal.inner || modal.should_close() {
        state.dialog = None;
    }
}

fn sheet(ui: &mut Ui) {
    Grid::new("keys").num_columns(2).striped(true).show(ui, |ui| {
        for (what, how) in POINTER {
            ui.label(*what);
            ui.label(*how);
            ui.end_row();
        }
        for (_, name, keys) in ALL.iter().filter(|(.., keys)| !keys.is_empty()) {
            ui.label(name.trim_end_matches('…'));
            let known = |key: &KeyboardShortcut| match key.logical_key {
                Key::Questionmark => Some("?".into()),
                // The same on keyboards that do not tell.
                Key::Slash => None,
                _ => Some(ui.ctx().format_shortcut(key)),
            };
            let keys: Vec<String> = keys.iter().filter_map(known).collect();
            ui.label(keys.join(" or "));
            ui.end_row();
        }
    });
}
