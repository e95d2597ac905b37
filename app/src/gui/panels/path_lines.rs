//! The way of the camera over the picture: a line, and the camera of each key as a small pyramid.

use eframe::egui::{Color32, Painter, Pos2, Rect, Stroke};
use glam::{Vec2, Vec3, vec2};
use retort_render::path::CameraPath;
use retort_shaders::Camera;

/// Straight pieces between two keys, at the most in all.
const PIECES: usize = 24;
const MOST: usize = 2000;
/// How deep a pyramid is, as a share of the distance to what its camera looks at.
const DEPTH: f32 = 0.07;

/// Draws it; `camera` is that of the picture in `rect`, one pixel a point. The key `chosen` stands out.
pub fn draw(painter: &Painter, rect: Rect, camera: &Camera, path: &CameraPath, chosen: Option<usize>) {
    let on_screen = |x: Vec3| -> Option<Pos2> {
        let (Vec2 { x, y }, _) = camera.project(x)?;
        // What is just before the eye is thrown far away.
        (x.abs() < 1e5 && y.abs() < 1e5).then(|| rect.min + eframe::egui::vec2(x, y))
    };
    let line = |a: Vec3, b: Vec3, colour: Color32| {
        if let (Some(a), Some(b)) = (on_screen(a), on_screen(b)) {
            painter.line_segment([a, b], Stroke::new(1.5, colour));
        }
    };
    let (way, key_colour) = (Color32::from_rgb(90, 160, 240), Color32::from_rgb(200, 220, 250));
    if path.keyframes.len() > 1 {
        let n = (PIECES * path.keyframes.len()).min(MOST);
        let first = path.keyframes.first().map_or(0.0, |key| key.time);
        let span = if path.looped { path.seconds } else { path.seconds - first };
        let points: Vec<Vec3> =
            (0..=n).filter_map(|i| Some(path.at(first + span * i as f32 / n as f32)?.eye())).collect();
        points.windows(2).for_each(|pair| line(pair[0], pair[1], way));
    }
    for (i, key) in path.keyframes.iter().enumerate() {
        let colour = if chosen == Some(i) { Color32::from_rgb(240, 180, 60) } else { key_colour };
        let view = key.camera(3, 2);
        let depth = DEPTH * key.distance;
        let corner = |x: f32, y: f32| {
            let ray = view.ray(vec2(x, y));
            ray.at(depth / ray.direction.dot(view.forward()).max(1e-3))
        };
        let corners = [corner(0.0, 0.0), corner(3.0, 0.0), corner(3.0, 2.0), corner(0.0, 2.0)];
        for (j, &at) in corners.iter().enumerate() {
            line(key.eye(), at, colour);
            line(at, corners[(j + 1) % 4], colour);
        }
        // Which side is up.
        let tip = 0.5 * (corners[0] + corners[1]) + 0.3 * (corners[0] - corners[3]);
        line(corners[0], tip, colour);
        line(tip, corners[1], colour);
    }
}
