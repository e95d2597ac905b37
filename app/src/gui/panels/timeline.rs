//! The timeline: the way of the camera as keys on an axis of time, what is done with them, and what is made of it.

use eframe::egui::{
    Align2, Color32, CursorIcon, DragValue, FontId, ProgressBar, Rect, Response, Sense, Shape, Stroke, Ui, pos2, vec2,
};
use retort_render::path::{MAX_SECONDS, RATES};

use super::copy_line;
use crate::gui::shortcuts::Action;
use crate::gui::state::{Purpose, State};
use crate::gui::timeline::PathUse;

/// The height of the axis, points.
const HEIGHT: f32 = 40.0;
/// Space at both ends of it, points.
const MARGIN: f32 = 12.0;
/// How far from a key the pointer still takes it, points.
const GRIP: f32 = 8.0;
/// The least time that the axis shows, seconds.
const LEAST: f32 = 4.0;
/// The largest side of exported pictures, pixels.
const MAX_SIDE: u32 = 8192;

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    ui.add_space(2.0);
    ui.horizontal_wrapped(|ui| keys(ui, state));
    axis(ui, state);
    ui.horizontal_wrapped(|ui| files(ui, state));
    ui.add_space(2.0);
}

/// An action as a button, with its keys as the hint.
fn button(ui: &mut Ui, state: &mut State, action: Action, name: &str) {
    let hint = format!("{} ({})", action.name(), action.keys(ui.ctx()));
    ui.add_enabled_ui(action.is_possible(state), |ui| {
        if ui.button(name).on_hover_text(hint).clicked() {
            action.perform(state, 1.0);
        }
    });
}

fn keys(ui: &mut Ui, state: &mut State) {
    button(ui, state, Action::Play, if state.timeline.playing { "Pause" } else { "Play" });
    button(ui, state, Action::AddKey, "Add key");
    button(ui, state, Action::RemoveKey, "Remove key");
    let (at, path) = (state.timeline.at, state.document().path());
    let (mut fps, mut seconds, mut looped, empty) = (path.fps, path.seconds, path.looped, path.is_empty());
    ui.label(format!("{at:.2} s of"));
    let drag = DragValue::new(&mut seconds).speed(0.02).range(0.0..=MAX_SECONDS).max_decimals(2).suffix(" s");
    let response = ui.add_enabled(!empty, drag.update_while_editing(false));
    if response.on_hover_text("How long it takes; its keys move along").changed() && seconds > 0.0 {
        let gesture = ui.input(|input| input.pointer.any_down()).then_some(SECONDS);
        state.change_path("Change length", gesture, |path| path.stretch(seconds));
    }
    let drag = DragValue::new(&mut fps).speed(0.1).range(RATES[0]..=RATES[1]).max_decimals(3).suffix(" fps");
    if ui.add(drag.update_while_editing(false)).on_hover_text("Pictures a second").changed() {
        let gesture = ui.input(|input| input.pointer.any_down()).then_some(RATE);
        state.change_path("Change fps", gesture, |path| path.fps = fps);
    }
    if ui.checkbox(&mut looped, "Loop").on_hover_text("Comes back to its first key").changed() {
        state.change_path("Change loop", None, |path| path.set_looped(looped));
    }
    ui.add_enabled_ui(!empty, |ui| {
        if ui.button("Clear").on_hover_text("Takes all keys away").clicked() {
            state.clear_keys();
        }
    });
    if ui.input(|input| input.pointer.any_released()) {
        state.history.end_gesture();
    }
}

/// Names of drags, for history.
const SECONDS: u64 = 0x7165_0001;
const RATE: u64 = 0x7165_0002;
const MOVE: u64 = 0x7165_0003;

/// From seconds to points and back.
struct Scale {
    rect: Rect,
    /// Seconds that the axis shows.
    shown: f32,
}

impl Scale {
    fn x(&self, time: f32) -> f32 {
        self.rect.left() + MARGIN + time / self.shown * (self.rect.width() - 2.0 * MARGIN)
    }

    fn time(&self, x: f32) -> f32 {
        ((x - self.rect.left() - MARGIN) / (self.rect.width() - 2.0 * MARGIN) * self.shown).clamp(0.0, self.shown)
    }
}

fn axis(ui: &mut Ui, state: &mut State) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), Sense::click_and_drag());
    // While a key is held the axis stays as it is: it would run away under the pointer.
    let id = response.id.with("shown");
    let fits = LEAST.max(1.15 * state.document().path().seconds).max(state.timeline.at);
    let shown = match ui.data(|data| data.get_temp::<f32>(id)).filter(|_| state.timeline.held.is_some()) {
        Some(shown) => shown,
        None => fits,
    };
    ui.data_mut(|data| data.insert_temp(id, shown));
    let scale = Scale { rect, shown };
    touch(ui, &response, state, &scale);
    paint(ui, state, &scale);
}

/// Clicks and drags: a key is jumped to or moved, elsewhere the head is.
fn touch(ui: &Ui, response: &Response, state: &mut State, scale: &Scale) {
    let under = |x: f32, state: &State| {
        let far = |i: &usize| (scale.x(state.document().path().keyframes[*i].time) - x).abs();
        let nearest = (0..state.document().path().keyframes.len()).min_by(|a, b| far(a).total_cmp(&far(b)));
        nearest.filter(|i| far(i) <= GRIP)
    };
    if response.drag_started() {
        // Where the button went down: by now the pointer has moved on.
        let from = ui.input(|input| input.pointer.press_origin());
        state.timeline.held = from.and_then(|from| under(from.x, state));
    }
    if let Some(at) = response.interact_pointer_pos() {
        match state.timeline.held {
            Some(key) if response.dragged() => state.move_key(key, scale.time(at.x), MOVE),
            _ if response.dragged() => state.seek(scale.time(at.x)),
            _ if response.clicked() => {
                let key = under(at.x, state).map(|i| state.document().path().keyframes[i].time);
                state.seek(key.unwrap_or_else(|| scale.time(at.x)));
            }
            _ => {}
        }
    }
    if response.drag_stopped() {
        state.timeline.held = None;
        state.history.end_gesture();
    }
    if response.hover_pos().is_some_and(|at| under(at.x, state).is_some()) {
        ui.ctx().set_cursor_icon(CursorIcon::ResizeHorizontal);
    }
}

fn paint(ui: &Ui, state: &State, scale: &Scale) {
    let (painter, visuals, rect) = (ui.painter_at(scale.rect), ui.visuals(), scale.rect);
    painter.rect_filled(rect, 3.0, visuals.extreme_bg_color);
    let path = state.document().path();
    let middle = rect.top() + 14.0;
    let line = Stroke::new(2.0, visuals.selection.bg_fill);
    if let Some(first) = path.keyframes.first() {
        painter.hline(scale.x(first.time)..=scale.x(path.seconds), middle, line);
    }
    // Ticks at round numbers of seconds, a dozen at the most.
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];
    let step = step.into_iter().find(|step| scale.shown / step <= 12.0).unwrap_or(600.0);
    for i in 0..=(scale.shown / step) as usize {
        let x = scale.x(i as f32 * step);
        painter.vline(x, rect.bottom() - 14.0..=rect.bottom() - 10.0, Stroke::new(1.0, visuals.weak_text_color()));
        let text = format!("{:.*}", usize::from(step < 1.0), i as f32 * step);
        let place = pos2(x, rect.bottom() - 1.0);
        painter.text(place, Align2::CENTER_BOTTOM, text, FontId::proportional(9.0), visuals.weak_text_color());
    }
    for (i, key) in path.keyframes.iter().enumerate() {
        let (x, half) = (scale.x(key.time), 5.5);
        let corners = [pos2(x, middle - half), pos2(x + half, middle), pos2(x, middle + half), pos2(x - half, middle)];
        let chosen = state.chosen_key() == Some(i);
        let fill = if chosen { Color32::from_rgb(240, 180, 60) } else { visuals.strong_text_color() };
        painter.add(Shape::convex_polygon(corners.to_vec(), fill, Stroke::new(1.0, visuals.window_fill)));
    }
    painter.vline(scale.x(state.timeline.at), rect.y_range(), Stroke::new(1.5, visuals.error_fg_color));
}

fn files(ui: &mut Ui, state: &mut State) {
    if let Some((done, of)) = state.timeline.export() {
        let text = format!("{done} of {of}");
        ui.add(ProgressBar::new(done as f32 / of.max(1) as f32).text(text).desired_width(160.0).desired_height(16.0));
        if ui.button("Cancel").on_hover_text("A film that is not whole is dropped").clicked() {
            state.timeline.cancel_export();
        }
        return;
    }
    let empty = state.document().path().is_empty();
    let ask = |ui: &mut Ui, state: &mut State, name: &str, what: PathUse, possible: bool| {
        ui.add_enabled_ui(possible, |ui| {
            if ui.button(name).clicked() {
                state.ask_name(Purpose::Path(what));
            }
        });
    };
    ask(ui, state, "Load path…", PathUse::Load, true);
    ask(ui, state, "Save path…", PathUse::Save, !empty);
    ui.separator();
    let [width, height] = &mut state.timeline.size;
    ui.add(DragValue::new(width).range(16..=MAX_SIDE)).on_hover_text("Width of exported pictures, pixels");
    ui.label("x");
    ui.add(DragValue::new(height).range(16..=MAX_SIDE)).on_hover_text("Height of exported pictures, pixels");
    ask(ui, state, "Export frames…", PathUse::Frames, !empty);
    ask(ui, state, "Export video…", PathUse::Film, !empty);
    copy_line(ui, &state.path_line());
}
