//! The outlines of the selected object's edits: boxes and spheres as lines, also through what hides them.

use eframe::egui::{Color32, Painter, Pos2, Rect, Stroke};
use glam::{Vec2, Vec3};
use retort_fields::compose::Edit;
use retort_shaders::Camera;

use crate::gui::document::Item;

/// Straight pieces of a circle.
const PIECES: usize = 48;

/// Draws them; `camera` is that of the picture in `rect`, one pixel a point.
pub fn draw(painter: &Painter, rect: Rect, camera: &Camera, item: &Item) {
    let transform = item.transform();
    let on_screen = |x: Vec3| -> Option<Pos2> {
        let (Vec2 { x, y }, _) = camera.project(transform.point(x))?;
        Some(rect.min + eframe::egui::vec2(x, y))
    };
    let line = |a: Vec3, b: Vec3, colour: Color32| {
        if let (Some(a), Some(b)) = (on_screen(a), on_screen(b)) {
            painter.line_segment([a, b], Stroke::new(1.5, colour));
        }
    };
    let (kept, taken) = (Color32::from_rgb(90, 200, 120), Color32::from_rgb(230, 90, 80));
    for edit in &item.edits {
        match edit {
            Edit::Crop(corners) | Edit::EraseBox(corners) => {
                let colour = if matches!(edit, Edit::Crop(_)) { kept } else { taken };
                let (min, max) = (Vec3::from(corners.min), Vec3::from(corners.max));
                let corner = |i: usize| {
                    let side = Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2 & 1) as f32);
                    min + side * (max - min)
                };
                for (i, axis) in (0..8).flat_map(|i| [1, 2, 4].map(|axis| (i, axis))) {
                    if i & axis == 0 {
                        line(corner(i), corner(i | axis), colour);
                    }
                }
            }
            Edit::EraseSphere(sphere) => {
                let centre = Vec3::from(sphere.centre);
                for (a, b) in [(Vec3::X, Vec3::Y), (Vec3::Y, Vec3::Z), (Vec3::Z, Vec3::X)] {
                    let at = |i: usize| {
                        let (sin, cos) = (std::f32::consts::TAU * i as f32 / PIECES as f32).sin_cos();
                        centre + sphere.radius * (cos * a + sin * b)
                    };
                    (0..PIECES).for_each(|i| line(at(i), at(i + 1), taken));
                }
            }
            _ => {}
        }
    }
}
