//! The panel of generation: a prompt in, a field out. It says at once what the prior makes of the words, and which words
//! there are.

use eframe::egui::{CollapsingHeader, ComboBox, Grid, RichText, TextEdit, Ui};
use retort_distill::generate::system;
use retort_distill::guidance::Loss;
use retort_distill::prior::world::prompt::understand;
use retort_distill::prior::world::words::{COLOURS, PATTERNS, SHAPES, SIZES, THINGS, Word};
use retort_fields::registry::Kind;

use super::copy_line;
use super::recipe::limits;
use crate::gui::recipe::GenerateForm;
use crate::gui::state::State;

/// Shows it; closed at first, for who comes with fields of their own.
pub fn show(ui: &mut Ui, state: &mut State) {
    let title = RichText::new("Generate from text").strong();
    CollapsingHeader::new(title).id_salt("generate").show(ui, |ui| form(ui, state));
}

fn form(ui: &mut Ui, state: &mut State) {
    let form = &mut state.generate;
    let label = ui.label("Prompt");
    let hint = "a red mushroom on a green table";
    let edit = TextEdit::multiline(&mut form.prompt).hint_text(hint).desired_rows(2).desired_width(f32::INFINITY);
    ui.add(edit).labelled_by(label.id);
    let possible = understood(ui, &form.prompt);
    vocabulary(ui, &mut form.prompt);
    recipe(ui, form);
    ui.horizontal(|ui| {
        ui.add_enabled_ui(possible, |ui| {
            if ui.button("Generate").on_hover_text("With the built-in prior, a small demonstration").clicked() {
                state.start_generate();
            }
        });
        copy_line(ui, &state.generate_line());
    });
    ui.add_space(8.0);
}

/// What the prior makes of the prompt; whether that is anything.
fn understood(ui: &mut Ui, prompt: &str) -> bool {
    if prompt.trim().is_empty() {
        return false;
    }
    match understand(prompt) {
        Ok(read) => {
            ui.weak(format!("Reads: {}", read.description.words()));
            if !read.unknown.is_empty() {
                let text = format!("Not known: {}", read.unknown.join(", "));
                ui.colored_label(ui.visuals().warn_fg_color, text);
            }
            read.notes.iter().for_each(|note| {
                ui.weak(note);
            });
            true
        }
        Err(error) => {
            ui.colored_label(ui.visuals().error_fg_color, error.what.clone());
            false
        }
    }
}

/// Every word, to be clicked into the prompt.
fn vocabulary(ui: &mut Ui, prompt: &mut String) {
    CollapsingHeader::new("Words").id_salt("words").show(ui, |ui| {
        let mut list = |ui: &mut Ui, title: &str, words: &mut dyn Iterator<Item = &'static Word>| {
            ui.label(RichText::new(title).small().strong());
            ui.horizontal_wrapped(|ui| {
                for word in words {
                    let also = word.others.join(", ");
                    let button = ui.small_button(word.name);
                    let button = if also.is_empty() { button } else { button.on_hover_text(format!("also: {also}")) };
                    if button.clicked() {
                        let gap = if prompt.is_empty() || prompt.ends_with(' ') { "" } else { " " };
                        *prompt += &format!("{gap}{}", word.name);
                    }
                }
            });
        };
        list(ui, "Shapes", &mut THINGS[..SHAPES].iter());
        list(ui, "Things", &mut THINGS[SHAPES..].iter());
        list(ui, "Colours and materials", &mut COLOURS.iter().map(|c| &c.word));
        list(ui, "Patterns", &mut PATTERNS.iter());
        list(ui, "Sizes", &mut SIZES.iter());
        ui.weak("Two things: on, under, next to, left of, right of, in front of, behind.");
    });
}

fn recipe(ui: &mut Ui, form: &mut GenerateForm) {
    let recipe = &mut form.recipe;
    Grid::new(("generate", "recipe")).num_columns(2).show(ui, |ui| {
        let label = ui.label("To");
        let shown = ComboBox::from_id_salt(("generate", "kind")).selected_text(recipe.kind.name()).show_ui(ui, |ui| {
            for kind in Kind::ALL {
                ui.selectable_value(&mut recipe.kind, *kind, kind.name()).on_hover_text(kind.label());
            }
        });
        shown.response.labelled_by(label.id).on_hover_text(recipe.kind.label());
        ui.end_row();
        let label = ui.label("System");
        let shown = ComboBox::from_id_salt(("generate", "system")).selected_text(&recipe.preset).show_ui(ui, |ui| {
            for (name, text) in system::names().into_iter().filter(|(name, _)| *name != "edit") {
                let about = text.lines().next().unwrap_or_default().trim_start_matches("# ");
                ui.selectable_value(&mut recipe.preset, name.to_string(), name).on_hover_text(about);
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Loss");
        let chosen = form.loss.map_or("the system's", Loss::name);
        let shown = ComboBox::from_id_salt(("generate", "loss")).selected_text(chosen).show_ui(ui, |ui| {
            ui.selectable_value(&mut form.loss, None, "the system's");
            for loss in Loss::ALL.iter().filter(|loss| **loss != Loss::Dds) {
                ui.selectable_value(&mut form.loss, Some(*loss), loss.name());
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        limits(ui, "the system's", recipe);
    });
    let label = ui.label("Set").on_hover_text("key=value on each line, as --set has it");
    let edit = TextEdit::multiline(&mut recipe.set).hint_text("guidance.scale=7.5").code_editor().desired_rows(1);
    ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id);
}
