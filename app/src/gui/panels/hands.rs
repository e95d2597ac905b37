//! Tools in the picture: what they draw over it while they are used, and what a drag or a click of theirs does.

use eframe::egui::{Align2, Color32, Painter, PointerButton, Pos2, Rect, Response, Shape, Stroke, Ui, vec2};
use glam::Vec2;
use retort_fields::compose::region::How;
use retort_render::gizmo::{Gizmo, Handle};
use retort_shaders::Camera;

use super::viewport::words;
use crate::gui::document::Item;
use crate::gui::pictures::Drawn;
use crate::gui::select::{Sweep, Tool};
use crate::gui::state::State;

/// Names the changes of one drag of a handle in history.
const GESTURE: u64 = u64::MAX;
const LINE: Color32 = Color32::from_rgb(255, 200, 60);

/// What a drag of a tool has done so far.
#[derive(Default)]
pub struct Drag {
    /// Where the pointer was, points of the picture.
    path: Vec<Vec2>,
    /// A handle that is held: which, its object as it stood, and the place of the handles.
    held: Option<(Handle, Item, glam::Vec3)>,
    /// The keys that were held when it began: who lets go of all at once means them, too.
    how: How,
}

impl Drag {
    /// Whether the main button is the tool's now.
    fn is_on(&self) -> bool {
        !self.path.is_empty()
    }
}

/// Lets the tool use the pointer; whether it did, so that the camera is left alone.
pub fn work(ui: &Ui, response: &Response, state: &mut State, drag: &mut Drag, drawn: Option<&Drawn>) -> bool {
    if state.tool == Tool::Look || ui.input(|input| input.modifiers.alt) && !drag.is_on() {
        return false;
    }
    let rect = response.rect;
    let camera = state.orbit.camera((rect.width() as u32).max(1), (rect.height() as u32).max(1));
    let pointer = response.interact_pointer_pos().or(response.hover_pos());
    let at = pointer.map(|at| Vec2::new(at.x - rect.left(), at.y - rect.top()));
    if state.tool.clicks() > 0 {
        if let (true, Some(at), Some(drawn)) = (response.clicked(), at, drawn) {
            state.take_point(drawn, at / Vec2::new(rect.width(), rect.height()));
        }
        return false;
    }
    let held = drag.held.is_some();
    if response.drag_started_by(PointerButton::Primary) {
        begin(ui, rect, state, drag, &camera);
    }
    if !drag.is_on() {
        // A click is a drag that goes nowhere.
        if response.clicked_by(PointerButton::Primary) && state.tool.selects() {
            (drag.path, drag.how) = (at.into_iter().collect(), how(ui));
            finish(state, drag, &camera, drawn);
        }
        return false;
    }
    if let Some(at) = at.filter(|at| drag.path.last() != Some(at)) {
        drag.path.push(at);
    }
    if let (Some((handle, item, place)), Some(deed)) = (&drag.held, state.tool.deed()) {
        let gizmo = Gizmo { place: *place, deed, camera: &camera };
        if let [first, .., last] = drag.path[..] {
            state.transform(item, &gizmo.drag(*handle, first, last), *place, GESTURE);
        }
        // Only the ends of the way count.
        drag.path.drain(1..drag.path.len().saturating_sub(1).max(1));
    }
    if response.drag_stopped_by(PointerButton::Primary) {
        if held {
            state.history.end_gesture();
            *drag = Drag::default();
        } else {
            finish(state, drag, &camera, drawn);
        }
    }
    true
}

/// The main button went down.
fn begin(ui: &Ui, rect: Rect, state: &State, drag: &mut Drag, camera: &Camera) {
    let Some(origin) = ui.input(|input| input.pointer.press_origin()) else { return };
    let at = Vec2::new(origin.x - rect.left(), origin.y - rect.top());
    if let Some(deed) = state.tool.deed() {
        let Some((place, (item, _))) = state.pivot().zip(state.selection()) else { return };
        if let Some(handle) = (Gizmo { place, deed, camera }).pick(at) {
            *drag = Drag { path: vec![at], held: Some((handle, item.clone(), place)), how: How::Set };
        }
    } else {
        *drag = Drag { path: vec![at], held: None, how: how(ui) };
    }
}

/// What the keys that are held make of a selection.
fn how(ui: &Ui) -> How {
    let modifiers = ui.input(|input| input.modifiers);
    match (modifiers.shift, modifiers.ctrl || modifiers.command) {
        (false, false) => How::Set,
        (true, false) => How::Add,
        (false, true) => How::Remove,
        (true, true) => How::Intersect,
    }
}

/// The main button came up: what was gone over is selected.
fn finish(state: &mut State, drag: &mut Drag, camera: &Camera, drawn: Option<&Drawn>) {
    state.sweep(&Sweep { path: &drag.path, camera, drawn, how: drag.how });
    *drag = Drag::default();
}

/// Draws what the tool shows over the picture in `rect`.
pub fn draw(ui: &Ui, painter: &Painter, rect: Rect, state: &State, drag: &Drag) {
    let camera = state.orbit.camera((rect.width() as u32).max(1), (rect.height() as u32).max(1));
    let on_screen = |p: Vec2| -> Pos2 { rect.min + vec2(p.x, p.y) };
    if let Some((place, deed)) = state.pivot().zip(state.tool.deed()) {
        let gizmo = Gizmo { place, deed, camera: &camera };
        let hovered = ui.input(|input| input.pointer.hover_pos()).filter(|at| rect.contains(*at));
        let over = hovered.and_then(|at| gizmo.pick(Vec2::new(at.x - rect.left(), at.y - rect.top())));
        handles(painter, &gizmo, drag.held.as_ref().map_or(over, |held| Some(held.0)), on_screen);
    }
    let hint = match (state.tool.selects(), state.tool.clicks()) {
        (true, _) => "Shift adds, Ctrl takes away, both intersect; Alt looks around; Esc puts the tool away".into(),
        (_, 0) => String::new(),
        (_, n) if state.measured().is_none() => format!("click {} points of a surface", n - state.points.len()),
        _ => String::new(),
    };
    if !hint.is_empty() {
        words(ui, rect.left_bottom() + vec2(10.0, -8.0), Align2::LEFT_BOTTOM, &hint);
    }
    let line = Stroke::new(1.5, LINE);
    let points: Vec<Pos2> = drag.path.iter().map(|p| on_screen(*p)).collect();
    match (state.tool, &points[..]) {
        (Tool::Rectangle, [first, .., last]) => {
            painter.rect_stroke(Rect::from_two_pos(*first, *last), 0.0, line, eframe::egui::StrokeKind::Middle);
        }
        (Tool::Lasso, [_, _, ..]) => {
            painter.add(Shape::closed_line(points, line));
        }
        (Tool::Sphere | Tool::Box, [first, .., last]) => {
            painter.circle_stroke(*first, first.distance(*last), line);
        }
        (Tool::Brush, _) => {
            let width = Stroke::new(2.0 * state.brush, Color32::from_rgba_unmultiplied(255, 200, 60, 60));
            painter.add(Shape::line(points, width));
            if let Some(at) = ui.input(|input| input.pointer.hover_pos()).filter(|at| rect.contains(*at)) {
                painter.circle_stroke(at, state.brush, line);
            }
        }
        _ => {}
    }
    let marks: Vec<Pos2> =
        state.points.iter().filter_map(|x| camera.project(*x)).map(|(pixel, _)| on_screen(pixel)).collect();
    marks.iter().for_each(|at| {
        painter.circle_filled(*at, 4.0, LINE);
    });
    if let [a, b, ..] = marks[..] {
        painter.line_segment([a, b], line);
    }
}

fn handles(painter: &Painter, gizmo: &Gizmo<'_>, lit: Option<Handle>, on_screen: impl Fn(Vec2) -> Pos2) {
    let colours = [Color32::from_rgb(230, 80, 70), Color32::from_rgb(110, 200, 80), Color32::from_rgb(80, 140, 240)];
    for (i, colour) in colours.into_iter().enumerate() {
        let Some(line) = gizmo.line(Handle::Axis(i)) else { continue };
        let stroke = if lit == Some(Handle::Axis(i)) { Stroke::new(4.0, LINE) } else { Stroke::new(2.5, colour) };
        let line: Vec<Pos2> = line.into_iter().map(&on_screen).collect();
        if let [from, to] = line[..] {
            painter.arrow(from, to - from, stroke);
        } else {
            painter.add(Shape::line(line, stroke));
        }
    }
    if gizmo.deed != retort_render::gizmo::Deed::Turn
        && let Some(at) = gizmo.line(Handle::Middle).and_then(|line| line.first().copied())
    {
        let colour = if lit == Some(Handle::Middle) { LINE } else { Color32::WHITE };
        painter.rect_filled(Rect::from_center_size(on_screen(at), vec2(10.0, 10.0)), 1.0, colour);
    }
}
