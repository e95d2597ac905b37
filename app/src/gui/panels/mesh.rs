//! The panel of meshes: the values of the export, and a preview of its level that follows the view.

use eframe::egui::{
    ColorImage, ComboBox, DragValue, Grid, Image, ProgressBar, Slider, TextureHandle, TextureOptions, Ui,
};
use retort_fields::mesh::export::{Method, Paint};

use super::{copy_line, heading};
use crate::gui::state::{Purpose, State};
use crate::report::size;

/// Levels that the slider reaches, densities per scene unit.
const LEVELS: std::ops::RangeInclusive<f32> = 0.1..=500.0;
/// Sides of textures that are proposed, texels.
const SIDES: [u32; 5] = [512, 1024, 2048, 4096, 8192];

/// Shows it; `texture` is the preview on the graphics card, with its number.
pub fn show(ui: &mut Ui, state: &mut State, texture: &mut Option<(u64, TextureHandle)>) {
    heading(ui, "Mesh");
    values(ui, state);
    level(ui, state);
    if state.mesh.shown {
        preview(ui, state, texture);
    }
    ui.weak(format!("about {} at most", size(state.mesh.options.predicted_size())));
    if let Some((what, share)) = state.mesh.at_work() {
        ui.add(ProgressBar::new(share).text(what));
        if ui.button("Cancel").clicked() {
            state.mesh.cancel();
        }
    }
    ui.horizontal(|ui| {
        let possible = !state.document().is_empty() && state.mesh.at_work().is_none();
        ui.add_enabled_ui(possible, |ui| {
            if ui.button("Export mesh…").on_hover_text("All that is visible, as one GLB").clicked() {
                state.ask_name(Purpose::ExportMesh);
            }
        });
        copy_line(ui, &state.mesh_line());
    });
    ui.add_space(8.0);
}

fn values(ui: &mut Ui, state: &mut State) {
    let form = &mut state.mesh.options;
    Grid::new("mesh").num_columns(2).show(ui, |ui| {
        let label = ui.label("Surface").on_hover_text("Where it is looked for");
        let shown = ComboBox::from_id_salt("method").selected_text(form.method.name()).show_ui(ui, |ui| {
            for method in Method::ALL {
                ui.selectable_value(&mut form.method, method, method.name());
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Resolution").on_hover_text("Grid points along the longest edge");
        ui.add(DragValue::new(&mut form.resolution).range(16..=1024).speed(4)).labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Triangles").on_hover_text("At most");
        ui.add(DragValue::new(&mut form.faces).range(100..=20_000_000).speed(500)).labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Paint");
        let named = |paint: Paint| match paint {
            Paint::Texture(side) => format!("{side} x {side} texture"),
            Paint::Vertices => "colours of vertices".into(),
        };
        let shown = ComboBox::from_id_salt("paint").selected_text(named(form.paint)).show_ui(ui, |ui| {
            for paint in SIDES.map(Paint::Texture).into_iter().chain([Paint::Vertices]) {
                ui.selectable_value(&mut form.paint, paint, named(paint));
            }
        });
        shown.response.labelled_by(label.id);
        ui.end_row();
        let label =
            ui.label("Small pieces").on_hover_text("Those of less than this share of the largest one's area go");
        ui.add(DragValue::new(&mut form.keep).range(0.0..=1.0).speed(0.002)).labelled_by(label.id);
        ui.end_row();
    });
    ui.checkbox(&mut state.mesh.lit, "Lit by the viewer's lights")
        .on_hover_text("Otherwise its colours are shown as they are, which is how the field looks");
}

fn level(ui: &mut Ui, state: &mut State) {
    let mut chosen = state.mesh.options.level.is_some();
    ui.horizontal(|ui| {
        let hint = "Otherwise several are tried, and the one that fits the field's own pictures best is taken";
        if ui.checkbox(&mut chosen, "Choose the level").on_hover_text(hint).changed() {
            state.mesh.options.level = chosen.then(|| state.mesh.suggested());
        }
        ui.checkbox(&mut state.mesh.shown, "Preview").on_hover_text("The surface in the density, as it is seen now");
    });
    if let Some(level) = &mut state.mesh.options.level {
        let slider = Slider::new(level, LEVELS).logarithmic(true).text("density");
        ui.add(slider).on_hover_text("Per scene unit");
    }
}

fn preview(ui: &mut Ui, state: &mut State, texture: &mut Option<(u64, TextureHandle)>) {
    state.follow_preview();
    let Some(preview) = &state.mesh.preview else {
        ui.weak("The preview is being made.");
        return;
    };
    if texture.as_ref().is_none_or(|(number, _)| *number != preview.number) {
        let pixels = ColorImage::from_rgba_unmultiplied(preview.size, &preview.rgba);
        match texture {
            Some((number, handle)) => {
                handle.set(pixels, TextureOptions::LINEAR);
                *number = preview.number;
            }
            None => *texture = Some((preview.number, ui.ctx().load_texture("mesh", pixels, TextureOptions::LINEAR))),
        }
    }
    if let Some((_, handle)) = texture {
        ui.add(Image::new(&*handle).max_width(ui.available_width()).alt_text("The surface at this level"));
        ui.weak(format!("{} triangles of the coarse preview", preview.triangles));
    }
}
