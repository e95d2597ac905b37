//! All values of a preset as widgets. What is changed becomes a line of *Set*, and with that of the command line.

use eframe::egui::{CollapsingHeader, ComboBox, DragValue, RichText, TextEdit, Ui};
use retort_distill::preset::Preset;
use toml::{Table, Value};

use crate::gui::recipe::Recipe;
use crate::gui::values::{count_below, parsed, said, say, text_of, tree, words};

/// Room for the way back beside a list, points.
const ROOM: f32 = 56.0;

/// Shows them; `verb` is the panel's, `convert` or `train`.
pub fn show(ui: &mut Ui, verb: &str, recipe: &mut Recipe) {
    let changed = count_below(&recipe.set, "field") + count_below(&recipe.set, verb);
    let title = if changed == 0 { "All values".into() } else { format!("All values ({changed} changed)") };
    CollapsingHeader::new(title).id_salt((verb, "values")).show(ui, |ui| {
        let Some(text) = recipe.preset_text() else {
            ui.weak("The preset is a file: change it there, or name values under Set.");
            return;
        };
        table(ui, &tree(text, verb), "", &mut recipe.set);
        // What is typed is told at once, not when the job begins.
        let read = recipe.parse().and_then(|read| Preset::load(&recipe.preset, recipe.kind, &read.set));
        if let Err(error) = read {
            ui.colored_label(ui.visuals().error_fg_color, error.to_string());
        }
    });
}

fn table(ui: &mut Ui, values: &Table, key: &str, set: &mut String) {
    let path = |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
    for (name, value) in values.iter().filter(|(_, value)| !value.is_table()) {
        leaf(ui, name, &path(name), value, set);
    }
    for (name, below) in values.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        let key = path(name);
        let changed = count_below(set, &key);
        let title = RichText::new(name);
        let title = if changed > 0 { title.strong() } else { title };
        CollapsingHeader::new(title).id_salt(&key).show(ui, |ui| table(ui, below, &key, set));
    }
}

/// A value with its name, and a way back where it is changed.
fn leaf(ui: &mut Ui, name: &str, key: &str, preset: &Value, set: &mut String) {
    let own = said(set, key).map(str::to_string);
    let now = own.as_deref().map_or_else(|| preset.clone(), |text| parsed(text, preset));
    ui.horizontal(|ui| {
        let text = RichText::new(name);
        let label = ui.label(if own.is_some() { text.strong() } else { text }).on_hover_text(key);
        let (new, response) = widget(ui, key, preset, &now, own.as_deref());
        response.labelled_by(label.id);
        if let Some(new) = new {
            // What is as in the preset needs no line.
            let same = parsed(&new, preset) == *preset;
            say(set, key, (!same).then_some(new.as_str()));
        }
        let back = format!("Back to {}", text_of(preset));
        if own.is_some() && ui.small_button("Reset").on_hover_text(back).clicked() {
            say(set, key, None);
        }
    });
}

/// The widget of a value; gives what it was changed to, as a line has it.
fn widget(
    ui: &mut Ui,
    key: &str,
    preset: &Value,
    now: &Value,
    own: Option<&str>,
) -> (Option<String>, eframe::egui::Response) {
    match (preset, now) {
        (Value::Boolean(_), Value::Boolean(now)) => {
            let mut value = *now;
            let response = ui.checkbox(&mut value, "");
            (response.changed().then(|| value.to_string()), response)
        }
        (Value::Integer(_), Value::Integer(now)) => {
            let mut value = *now;
            let speed = (0.01 * value.abs() as f64).max(0.1);
            let response = ui.add(DragValue::new(&mut value).speed(speed).update_while_editing(false));
            (response.changed().then(|| value.to_string()), response)
        }
        (Value::Float(_), Value::Float(now)) => {
            let mut value = *now;
            // Rates and weights go over many sizes: a drag changes them by parts of themselves.
            let speed = if value == 0.0 { 1e-3 } else { 0.01 * value.abs() };
            let drag = DragValue::new(&mut value).speed(speed).update_while_editing(false);
            let response = ui.add(drag.custom_formatter(|value, _| short(value)));
            (response.changed().then(|| short(value)), response)
        }
        (Value::String(_), Value::String(now)) if words(key).is_some() => {
            let mut word = now.clone();
            let shown = ComboBox::from_id_salt(key).selected_text(&word).show_ui(ui, |ui| {
                for choice in words(key).unwrap_or_default() {
                    ui.selectable_value(&mut word, (*choice).to_string(), *choice);
                }
            });
            ((word != *now).then(|| text_of(&Value::String(word))), shown.response)
        }
        _ => {
            let before = own.map_or_else(|| text_of(preset), str::to_string);
            let mut text = before.clone();
            let width = (ui.available_width() - ROOM).max(ROOM);
            let response = ui.add(TextEdit::singleline(&mut text).code_editor().desired_width(width));
            let kept = !text.trim().is_empty() && text != before;
            (kept.then(|| text.replace('\n', " ")), response)
        }
    }
}

/// A number with as many digits as tell it from its neighbours of single precision, which is what presets hold.
fn short(value: f64) -> String {
    let value = value as f32;
    let size = value.abs();
    if value != 0.0 && !(1e-3..1e6).contains(&size) { format!("{value:e}") } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use retort_fields::registry::Kind;

    use super::*;

    fn click(harness: &mut Harness<'_, Recipe>, label: &str) {
        harness.get_by_label(label).click();
        // A section takes a moment to open.
        (0..6).for_each(|_| harness.step());
    }

    #[test]
    fn a_changed_value_is_shown_and_reset() {
        let set = "convert.rays=512\nconvert.optimise.adam.skip_zero_grad=false\nfield.levels=lots".to_string();
        let recipe = Recipe { set, ..Recipe::new(Kind::Hash) };
        let size = eframe::egui::vec2(360.0, 1600.0);
        let draw = |ui: &mut Ui, recipe: &mut Recipe| show(ui, "convert", recipe);
        let mut harness = Harness::builder().with_size(size).build_ui_state(draw, recipe);
        click(&mut harness, "All values (3 changed)");
        assert!(harness.query_by_label_contains("expected").is_some(), "what is wrong is told at once");
        for section in ["convert", "optimise", "adam"] {
            click(&mut harness, section);
        }
        // A check box puts the preset's own value back, which needs no line.
        click(&mut harness, "skip_zero_grad");
        assert_eq!(harness.state().set, "convert.rays=512\nfield.levels=lots");
        click(&mut harness, "Reset");
        assert_eq!(harness.state().set, "field.levels=lots");
        click(&mut harness, "beta1");
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 1e-15, 0.01, 0.1, 131_072.0, 3e7, -5e-4].map(short);
        assert_eq!(all, ["0", "1e-15", "0.01", "0.1", "131072", "3e7", "-5e-4"]);
        assert!(all.iter().all(|text| format!("v = {text}").parse::<Table>().is_ok()));
    }
}
