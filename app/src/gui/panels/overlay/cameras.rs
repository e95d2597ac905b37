//! The cameras that a field was trained from, as pyramids; a click on one looks through it.

use eframe::egui::{Color32, Pos2, Sense, Ui};
use glam::{Affine3A, Vec2, Vec3};
use retort_fields::data::Similarity;
use retort_fields::field::{Pose, Scene};
use retort_shaders::Camera;

use super::canvas::{Canvas, distance_to};

/// The length of a pyramid, as a part of the radius of the ring of cameras.
const LENGTH: f32 = 0.08;
/// The height of the picture of a pose, pixels; only its shape counts.
const HEIGHT: f32 = 100.0;
/// How near the pointer is to a line that it means, points.
const GRIP: f32 = 6.0;
/// What is left of a line behind a surface.
const BEHIND: f32 = 0.3;
const COLOUR: Color32 = Color32::from_rgb(240, 180, 60);

/// The camera of a pose of a field that was moved by `transform`.
pub fn camera_of(pose: &Pose, transform: &Similarity) -> Camera {
    let width = (HEIGHT * pose.aspect).max(1.0);
    let rotation = (transform.rotation * pose.rotation).normalize();
    Camera {
        world_from_camera: Affine3A::from_rotation_translation(rotation, transform.point(pose.position)),
        width: width as u32,
        height: HEIGHT as u32,
        focal: Vec2::splat(0.5 * HEIGHT / (0.5 * pose.fov_y).tan()),
        centre: 0.5 * Vec2::new(width, HEIGHT),
        ..Camera::look_at(Vec3::ZERO, Vec3::X, Vec3::Z, 1.0, 1, 1)
    }
}

/// The lines of a camera's pyramid, `length` long.
fn pyramid(camera: &Camera, length: f32) -> Vec<[Vec3; 2]> {
    let (width, height) = (camera.width as f32, camera.height as f32);
    let apex = camera.position();
    let corner = |x: f32, y: f32| {
        let ray = camera.ray(Vec2::new(x * width, y * height));
        ray.at(length / ray.direction.dot(camera.forward()).max(1e-3))
    };
    let corners = [corner(0.0, 0.0), corner(1.0, 0.0), corner(1.0, 1.0), corner(0.0, 1.0)];
    let mut lines: Vec<[Vec3; 2]> = corners.iter().map(|corner| [apex, *corner]).collect();
    lines.extend((0..4).map(|i| [corners[i], corners[(i + 1) % 4]]));
    // A peak shows which side is up.
    let peak = corner(0.5, -0.35);
    lines.extend([[corners[0], peak], [peak, corners[1]]]);
    lines
}

/// Draws the cameras of `scene`, moved by `transform`; gives the one that was clicked.
pub fn show(ui: &Ui, canvas: &Canvas, scene: &Scene, transform: &Similarity) -> Option<Camera> {
    let length = LENGTH * scene.extent.max(0.1) * transform.scale;
    let all: Vec<(Camera, Vec<[Vec3; 2]>)> = scene
        .cameras
        .iter()
        .map(|pose| camera_of(pose, transform))
        .map(|camera| {
            let lines = pyramid(&camera, length);
            (camera, lines)
        })
        .collect();
    // A finger that is lifted is nowhere any more, but it is then that it clicks.
    let lifted = || ui.input(|input| input.pointer.interact_pos().filter(|_| input.pointer.any_released()));
    let pointer = ui.ctx().pointer_hover_pos().or_else(lifted).filter(|at| canvas.rect.contains(*at));
    let meant = pointer.and_then(|at| nearest(canvas, &all, at));
    for (i, (_, lines)) in all.iter().enumerate() {
        let colour = if meant == Some(i) { Color32::WHITE } else { COLOUR };
        lines.iter().for_each(|line| canvas.line(*line, 1.0, BEHIND, |_| colour));
    }
    let (at, meant) = (pointer?, meant?);
    // Over the picture for as long as the pointer is there, so that the picture does not take the click.
    let grip = eframe::egui::Rect::from_center_size(at, eframe::egui::Vec2::splat(2.0 * GRIP));
    let response = ui.interact(grip, ui.scope_id().with(("camera", meant)), Sense::click());
    let response = response.on_hover_text(format!("Camera {}: click to look through it", meant + 1));
    response.clicked().then(|| all[meant].0.clone())
}

/// The pyramid with a line under the pointer.
fn nearest(canvas: &Canvas, all: &[(Camera, Vec<[Vec3; 2]>)], at: Pos2) -> Option<usize> {
    let distance = |lines: &Vec<[Vec3; 2]>| {
        let ends = |[a, b]: &[Vec3; 2]| Some(distance_to(at, canvas.project(*a)?, canvas.project(*b)?));
        lines.iter().filter_map(ends).fold(f32::INFINITY, f32::min)
    };
    let found = all.iter().map(|(_, lines)| distance(lines)).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    found.filter(|(_, distance)| *distance < GRIP).map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_becomes_the_camera_that_it_was() {
        let camera = Camera::look_at(Vec3::new(2.0, 1.0, 0.5), Vec3::ZERO, Vec3::Z, 0.7, 150, 100);
        let again = camera_of(&Pose::of(&camera), &Similarity::default());
        assert!(again.position().distance(camera.position()) < 1e-5);
        assert!(again.forward().distance(camera.forward()) < 1e-5 && again.up().distance(camera.up()) < 1e-5);
        assert_eq!((again.width, again.height), (150, 100));
        assert!((again.fov_y() - 0.7).abs() < 1e-4);
        let moved = Similarity { scale: 2.0, translation: Vec3::Z, ..Similarity::default() };
        let moved = camera_of(&Pose::of(&camera), &moved);
        assert!(
            moved.position().distance(Vec3::new(4.0, 2.0, 2.0)) < 1e-5
                && moved.forward().distance(camera.forward()) < 1e-5
        );
        // The pyramid opens along the view.
        let lines = pyramid(&camera, 0.1);
        assert_eq!(lines.len(), 10);
        for [apex, corner] in &lines[..4] {
            assert!(((*corner - *apex).dot(camera.forward()) - 0.1).abs() < 1e-4);
        }
    }
}
