//! The panel of generation: a prompt in, a field out. It says at once what the prior makes of the words, and which words
//! there are. While one grows, what the model sees at each step.

use eframe::egui::{
    Button, CollapsingHeader, ColorImage, ComboBox, DragValue, Grid, Image, RichText, TextEdit, TextureHandle,
    TextureOptions, Ui, vec2,
};
use retort_distill::generate::system;
use retort_distill::guidance::Loss;
use retort_distill::prior::world::prompt::understand;
use retort_distill::prior::world::words::{COLOURS, PATTERNS, SHAPES, SIZES, THINGS, Word};
use retort_distill::task::Sight;

use super::copy_line;
use super::recipe::{kind, limits};
use crate::gui::recipe::GenerateForm;
use crate::gui::state::State;

/// Shows it; closed at first, for who comes with fields of their own.
pub fn show(ui: &mut Ui, state: &mut State, textures: &mut Textures) {
    let title = RichText::new("Generate from text").strong();
    CollapsingHeader::new(title).id_salt("generate").show(ui, |ui| {
        form(ui, state);
        CollapsingHeader::new("What the model sees").id_salt("sights").show(ui, |ui| sights(ui, state, textures));
        if !state.gallery.is_empty() {
            CollapsingHeader::new("Gallery")
                .id_salt("gallery")
                .show(ui, |ui| gallery(ui, state, &mut textures.gallery));
        }
    });
}

/// Pictures on the graphics card.
#[derive(Default)]
pub struct Textures {
    /// The number of the sights that are there.
    number: u64,
    sights: Vec<TextureHandle>,
    gallery: Vec<TextureHandle>,
}

fn texture(ui: &Ui, sight: &Sight) -> TextureHandle {
    let pixels = ColorImage::from_rgba_premultiplied(sight.size, &sight.rgba);
    ui.ctx().load_texture(sight.name, pixels, TextureOptions::NEAREST)
}

/// A strip of views as wide as the panel.
fn strip<'a>(ui: &Ui, sight: &Sight, texture: &'a TextureHandle) -> Image<'a> {
    let [width, height] = sight.size.map(|s| s as f32);
    let wide = ui.available_width() - 2.0 * ui.spacing().button_padding.x;
    Image::new(texture).fit_to_exact_size(vec2(wide, wide * height / width))
}

/// What was generated: a click shows it alone.
fn gallery(ui: &mut Ui, state: &mut State, textures: &mut Vec<TextureHandle>) {
    for shot in state.gallery.iter().skip(textures.len()) {
        textures.push(texture(ui, &shot.sight));
    }
    let mut chosen = None;
    for (shot, texture) in state.gallery.iter().zip(textures.iter()).rev() {
        let there = state.document().get(shot.item).is_some();
        let picture = strip(ui, &shot.sight, texture).alt_text(format!("Show {} alone", shot.name));
        if ui.add_enabled(there, Button::image(picture)).on_hover_text(&shot.name).clicked() {
            chosen = Some((shot.item, shot.name.clone()));
        }
    }
    if let Some((item, name)) = chosen {
        state.show_alone(item, &name);
    }
}

/// The pictures of the last step: the field's own, with noise, what the model sees behind it, and the gradient.
fn sights(ui: &mut Ui, state: &mut State, textures: &mut Textures) {
    let Some((number, sights)) = state.jobs.sights() else {
        ui.weak("Nothing is being generated.");
        return;
    };
    if textures.number != number {
        textures.number = number;
        textures.sights = sights.iter().map(|sight| texture(ui, sight)).collect();
    }
    for (sight, texture) in sights.iter().zip(&textures.sights) {
        ui.label(sight.name);
        let picture = strip(ui, sight, texture).alt_text(sight.name);
        ui.add(picture);
    }
}

fn form(ui: &mut Ui, state: &mut State) {
    let form = &mut state.generate;
    let label = ui.label("Prompt");
    let hint = "a red mushroom on a green table";
    let edit = TextEdit::multiline(&mut form.prompt).hint_text(hint).desired_rows(2).desired_width(f32::INFINITY);
    ui.add(edit).labelled_by(label.id);
    let label = ui.label("Model");
    let hint = "builtin, or a folder of Stable Diffusion in diffusers' layout";
    let model = TextEdit::singleline(&mut form.model).hint_text(hint).desired_width(f32::INFINITY);
    ui.add(model).labelled_by(label.id).on_hover_text(hint);
    let possible = if form.is_built_in() {
        let possible = understood(ui, &form.prompt);
        vocabulary(ui, &mut form.prompt);
        possible
    } else {
        !form.prompt.trim().is_empty()
    };
    ui.checkbox(&mut form.edits, "Change the selected object").on_hover_text(
        "What is selected with the tools may change, the rest of the object stays; without a selection all of it",
    );
    if form.edits {
        return change(ui, state, possible);
    }
    recipe(ui, form);
    ui.horizontal(|ui| {
        ui.add_enabled_ui(possible, |ui| {
            let hint = "The built-in model is a small demonstration; Stable Diffusion wants a large GPU";
            if ui.button("Generate").on_hover_text(hint).clicked() {
                state.start_generate();
            }
        });
        copy_line(ui, &state.generate_line());
    });
    ui.add_space(8.0);
}

/// What an edit of the selected object asks besides.
fn change(ui: &mut Ui, state: &mut State, possible: bool) {
    let known = state.known_source();
    let form = &mut state.generate;
    let label = ui.label("It is now");
    let hint = known.clone().unwrap_or_else(|| "a red ball".into());
    let source = TextEdit::singleline(&mut form.source).hint_text(hint).desired_width(f32::INFINITY);
    ui.add(source).labelled_by(label.id);
    Grid::new(("edit", "recipe")).num_columns(2).show(ui, |ui| limits(ui, "the system's", &mut form.recipe));
    let possible = possible && (known.is_some() || !form.source.trim().is_empty()) && state.selection().is_some();
    ui.horizontal(|ui| {
        ui.add_enabled_ui(possible, |ui| {
            if ui.button("Change").clicked() {
                state.start_edit();
            }
        });
        copy_line(ui, &state.edit_line());
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
        kind(ui, "generate", recipe);
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
            for loss in Loss::makers() {
                ui.selectable_value(&mut form.loss, Some(loss), loss.name());
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        limits(ui, "the system's", recipe);
        let label = ui.label("Seeds");
        let seeds = DragValue::new(&mut form.seeds).range(1..=16).speed(0.05);
        ui.add(seeds)
            .labelled_by(label.id)
            .on_hover_text("So many objects, one after the other, each of its own chance");
        ui.end_row();
    });
    let label = ui.label("Set").on_hover_text("key=value on each line, as --set has it");
    let edit = TextEdit::multiline(&mut recipe.set).hint_text("guidance.scale=7.5").code_editor().desired_rows(1);
    ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id);
}
