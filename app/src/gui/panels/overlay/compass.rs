//! The small cross of axes in the corner: it shows how the camera is turned, and a click on an end looks along that axis.

use eframe::egui::{Align2, Color32, FontId, Pos2, Rect, Role, Sense, Stroke, Ui, Vec2, WidgetInfo, pos2, vec2};
use glam::Vec3;
use retort_shaders::Camera;

use super::grid::COLOURS;

/// From the middle to an end, points.
const ARM: f32 = 30.0;
/// The size of an end, points.
const END: f32 = 8.0;
/// From the corner of the picture to the middle, points.
const MARGIN: Vec2 = vec2(52.0, 52.0);

/// An end of an axis.
struct End {
    axis: usize,
    positive: bool,
    /// In the world, length 1.
    way: Vec3,
    at: Pos2,
    /// Above 0 towards whoever looks.
    near: f32,
}

/// The ends, the farthest first.
fn ends(middle: Pos2, camera: &Camera) -> Vec<End> {
    let axes = camera.world_from_camera.matrix3;
    let [right, up, back] = [axes.x_axis, axes.y_axis, axes.z_axis].map(Vec3::from);
    let end = |(axis, positive): (usize, bool)| {
        let way = if positive { Vec3::AXES[axis] } else { -Vec3::AXES[axis] };
        let at = middle + ARM * vec2(right.dot(way), -up.dot(way));
        End { axis, positive, way, at, near: back.dot(way) }
    };
    let mut all: Vec<End> = (0..3).flat_map(|axis| [true, false].map(|positive| (axis, positive))).map(end).collect();
    all.sort_by(|a, b| a.near.total_cmp(&b.near));
    all
}

/// Shows it in the corner of `rect`; gives the direction from the target to the eye that was asked for.
pub fn show(ui: &Ui, rect: Rect, camera: &Camera) -> Option<Vec3> {
    let middle = pos2(rect.right() - MARGIN.x, rect.bottom() - MARGIN.y);
    if rect.width() < 3.0 * MARGIN.x || rect.height() < 3.0 * MARGIN.y {
        return None;
    }
    let painter = ui.painter_at(rect);
    let mut asked = None;
    for End { axis, positive, way, at, near } in ends(middle, camera) {
        let sign = if positive { "" } else { "-" };
        let name = format!("Look from {sign}{}", ["x", "y", "z"][axis]);
        let place = Rect::from_center_size(at, Vec2::splat(2.0 * END));
        let response = ui.interact(place, ui.scope_id().with(&name), Sense::click()).on_hover_text(&name);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
        if response.clicked() {
            asked = Some(way);
        }
        // What is behind is darker.
        let colour = COLOURS[axis].gamma_multiply(0.75 + 0.25 * near);
        if positive {
            painter.line_segment([middle, at], Stroke::new(2.0, colour));
            painter.circle_filled(at, END, colour);
            let letter = ["X", "Y", "Z"][axis];
            painter.text(at, Align2::CENTER_CENTER, letter, FontId::proportional(11.0), Color32::BLACK);
        } else {
            painter.circle(at, END - 1.0, Color32::from_black_alpha(90), Stroke::new(1.5, colour));
        }
        if response.hovered() {
            painter.circle_stroke(at, END + 1.0, Stroke::new(1.5, Color32::WHITE));
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_points_at_the_eye_is_in_front_and_in_the_middle() {
        let camera = Camera::look_at(Vec3::X * 3.0, Vec3::ZERO, Vec3::Z, 0.6, 60, 40);
        let all = ends(pos2(100.0, 100.0), &camera);
        let last = all.last().expect("six");
        assert!(last.axis == 0 && last.positive && last.at.distance(pos2(100.0, 100.0)) < 1e-3);
        let up = all.iter().find(|end| end.axis == 2 && end.positive).expect("z");
        assert!(up.at.distance(pos2(100.0, 100.0 - ARM)) < 1e-3, "{}", up.at);
        let right = all.iter().find(|end| end.axis == 1 && end.positive).expect("y");
        assert!(right.at.distance(pos2(100.0 + ARM, 100.0)) < 1e-3, "{}", right.at);
    }
}
