//! The picture in the middle, and the hands on it: buttons, wheel, double click and the slider between teacher and
//! student. What a button does is `SuperSplat`'s map.

use std::sync::Arc;

use eframe::egui::{
    self, Align2, Color32, ColorImage, CursorIcon, FontId, PointerButton, Pos2, Rect, Response, Sense, Stroke,
    TextureOptions, Ui, WidgetInfo, pos2, vec2,
};
use glam::Vec2;
use retort_render::orbit::Mode as Steering;

use super::{hands, overlay, path_lines};
use crate::gui::app::Shown;
use crate::gui::pictures::{Drawn, Mode};
use crate::gui::shortcuts::Action;
use crate::gui::state::{Compare, State};

/// Scrolled points that a dragged point stands for.
const DRAG_ZOOM: f32 = 2.0;
/// How far from the slider the pointer still takes it, points.
const GRIP: f32 = 6.0;

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State, shown: &mut Shown) {
    egui::Panel::top("view").show(ui, |ui| {
        tools(ui, state);
        super::tools::row(ui, state);
    });
    let rect = ui.available_rect_before_wrap();
    let response = ui.allocate_rect(rect, Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(egui::accesskit::Role::Image, true, "picture"));
    shown.picture = Some(rect);
    shown.aspect = rect.width() / rect.height().max(1.0);
    ui.painter().rect_filled(rect, 0.0, colour(state.backdrop.colour()));

    let newest = state.pictures.newest();
    let used = hands::work(ui, &response, state, &mut shown.drag, newest.as_deref());
    steer(ui, &response, state, newest.as_deref().filter(|_| !used), used);
    let scale = ui.ctx().pixels_per_point();
    let wanted = state.view((rect.width() * scale) as u32, (rect.height() * scale) as u32);
    let is_empty = wanted.is_none();
    if let Some(view) = wanted {
        state.pictures.want(view);
    }
    if let Some(drawn) = newest.filter(|_| !is_empty) {
        upload(ui, shown, &drawn);
        paint(ui, rect, state, shown, &drawn);
        hands::draw(ui, &ui.painter_at(rect), rect, state, &shown.drag);
    } else {
        let text = match (is_empty, state.document().is_empty(), state.background.busy().next()) {
            (true, false, _) => "Nothing is visible: Shift+H shows everything",
            (true, true, None) => "Drop a field, a scene or a folder of photos here",
            _ => "Opening…",
        };
        words(ui, rect.center(), Align2::CENTER_CENTER, text);
    }
}

/// The row above the picture.
fn tools(ui: &mut Ui, state: &mut State) {
    ui.horizontal(|ui| {
        for mode in Mode::ALL {
            ui.selectable_value(&mut state.mode, mode, mode.name());
        }
        ui.separator();
        let steering = if state.orbit.mode == Steering::Orbit { "Orbit" } else { "Fly" };
        if ui.button(steering).on_hover_text("Goes around the target, or flies (V)").clicked() {
            state.toggle_steering();
        }
        if ui.button("Frame").on_hover_text("Looks at the selected object (F)").clicked() {
            Action::Frame.perform(state, 1.0);
        }
        if ui.button("Reset").on_hover_text("Looks at everything (Shift+F)").clicked() {
            state.reset_view();
        }
        if state.jobs.student().is_some() {
            ui.separator();
            ui.checkbox(&mut state.follow, "Student").on_hover_text("Shows what is being taught");
            ui.selectable_value(&mut state.compare, Compare::Split, "Split");
            ui.selectable_value(&mut state.compare, Compare::SideBySide, "Side by side");
            ui.selectable_value(&mut state.compare, Compare::Difference, "Difference");
        }
    });
}

fn colour([r, g, b]: [f32; 3]) -> Color32 {
    let byte = |v: f32| (v * 255.0).round() as u8;
    Color32::from_rgb(byte(r), byte(g), byte(b))
}

/// The pictures onto the graphics card, if they are others than those there.
fn upload(ui: &Ui, shown: &mut Shown, drawn: &Arc<Drawn>) {
    let Ok(images) = &drawn.images else { return };
    if shown.number == drawn.number {
        return;
    }
    shown.number = drawn.number;
    shown.textures.truncate(images.len());
    for (i, image) in images.iter().enumerate() {
        let pixels = ColorImage::from_rgba_unmultiplied([image.width, image.height], &image.rgba);
        match shown.textures.get_mut(i) {
            Some(texture) => texture.set(pixels, TextureOptions::LINEAR),
            None => shown.textures.push(ui.ctx().load_texture(format!("view {i}"), pixels, TextureOptions::LINEAR)),
        }
    }
}

fn paint(ui: &mut Ui, rect: Rect, state: &mut State, shown: &Shown, drawn: &Drawn) {
    let painter = ui.painter_at(rect);
    if let Err(problem) = &drawn.images {
        let text = format!("{}\n{}", problem.what, problem.remedy);
        words(ui, rect.center(), Align2::CENTER_CENTER, &text);
        return;
    }
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    match &shown.textures[..] {
        [one] => {
            painter.image(one.id(), rect, whole, Color32::WHITE);
            overlay::show(ui, rect, state, drawn);
            if state.timeline.shown && !state.timeline.playing {
                let size = rect.size();
                let camera = state.orbit.camera(size.x.max(1.0) as u32, size.y.max(1.0) as u32);
                path_lines::draw(&painter, rect, &camera, state.document().path(), state.chosen_key());
            }
        }
        [.., difference] if state.compare == Compare::Difference => {
            painter.image(difference.id(), rect, whole, Color32::WHITE);
            words(ui, rect.left_top() + vec2(8.0, 8.0), Align2::LEFT_TOP, "difference of teacher and student, 4 times");
        }
        [teacher, student, ..] if state.compare == Compare::SideBySide => {
            let (left, right) = rect.split_left_right_at_fraction(0.5);
            painter.image(teacher.id(), left, whole, Color32::WHITE);
            painter.image(student.id(), right, whole, Color32::WHITE);
            painter.vline(rect.center().x, rect.y_range(), Stroke::new(2.0, Color32::WHITE));
            words(ui, left.left_top() + vec2(8.0, 8.0), Align2::LEFT_TOP, "teacher");
            words(ui, right.left_top() + vec2(8.0, 8.0), Align2::LEFT_TOP, "student");
        }
        [teacher, student, ..] => {
            let x = rect.left() + state.split * rect.width();
            let part = |from: f32, to: f32| {
                let uv = Rect::from_min_max(pos2(from, 0.0), pos2(to, 1.0));
                let at = |share: f32| rect.left() + share * rect.width();
                (Rect::from_min_max(pos2(at(from), rect.top()), pos2(at(to), rect.bottom())), uv)
            };
            let ((left, left_uv), (right, right_uv)) = (part(0.0, state.split), part(state.split, 1.0));
            painter.image(teacher.id(), left, left_uv, Color32::WHITE);
            painter.image(student.id(), right, right_uv, Color32::WHITE);
            painter.vline(x, rect.y_range(), Stroke::new(2.0, Color32::WHITE));
            words(ui, rect.left_top() + vec2(8.0, 8.0), Align2::LEFT_TOP, "teacher");
            words(ui, rect.right_top() + vec2(-8.0, 8.0), Align2::RIGHT_TOP, "student");
            slider(ui, rect, x, state);
        }
        [] => {}
    }
}

/// The line between teacher and student.
fn slider(ui: &Ui, rect: Rect, x: f32, state: &mut State) {
    let grip = Rect::from_min_max(pos2(x - GRIP, rect.top()), pos2(x + GRIP, rect.bottom()));
    let response =
        ui.interact(grip, ui.scope_id().with("split"), Sense::drag()).on_hover_cursor(CursorIcon::ResizeHorizontal);
    if let Some(at) = response.interact_pointer_pos().filter(|_| response.dragged()) {
        state.split = ((at.x - rect.left()) / rect.width().max(1.0)).clamp(0.0, 1.0);
    }
}

/// Text on a dark plate, readable over any picture.
pub(super) fn words(ui: &Ui, at: Pos2, align: Align2, text: &str) {
    let painter = ui.painter();
    let galley = painter.layout_no_wrap(text.into(), FontId::proportional(14.0), Color32::WHITE);
    let rect = align.anchor_size(at, galley.size());
    painter.rect_filled(rect.expand2(vec2(6.0, 3.0)), 4.0, Color32::from_black_alpha(150));
    painter.galley(rect.min, galley, Color32::WHITE);
}

/// Buttons and wheel move the camera; the main button only if no tool has `used` it.
fn steer(ui: &Ui, response: &Response, state: &mut State, drawn: Option<&Drawn>, used: bool) {
    let (modifiers, delta) = (ui.input(|input| input.modifiers), response.drag_delta());
    let (by, height) = (Vec2::new(delta.x, delta.y), response.rect.height());
    if response.dragged() {
        state.timeline.playing = false;
    }
    let orbit = &mut state.orbit;
    let turned = modifiers.shift || modifiers.ctrl;
    if response.dragged_by(PointerButton::Primary) && !used {
        orbit.drag(by, height);
    } else if response.dragged_by(PointerButton::Secondary) {
        match (turned, modifiers.alt) {
            (true, _) => orbit.orbit(by, height),
            (_, true) => orbit.zoom(-DRAG_ZOOM * by.y),
            _ => orbit.pan(by, height),
        }
    } else if response.dragged_by(PointerButton::Middle) {
        match (modifiers.shift, modifiers.ctrl) {
            (true, _) => orbit.pan(by, height),
            (_, true) => orbit.zoom(-DRAG_ZOOM * by.y),
            _ => orbit.orbit(by, height),
        }
    }
    if response.hovered() {
        let scrolled = ui.input(|input| input.smooth_scroll_delta().y);
        if scrolled != 0.0 {
            orbit.zoom(scrolled);
        }
    }
    let twice = response.double_clicked() && !used;
    if twice || response.clicked_by(PointerButton::Middle) {
        let at = response.interact_pointer_pos().or(response.hover_pos());
        if let (Some(at), Some(drawn)) = (at, drawn) {
            let place = (at - response.rect.min) / response.rect.size();
            state.focus(drawn, Vec2::new(place.x, place.y));
        }
    }
}
