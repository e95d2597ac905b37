//! Views that a conversion looks from: drawn, not read from photos (Fang et al. 2023).
//!
//! Around a bounded scene: looking at its centre from the band of distances and heights that its photos had. In an
//! unbounded one, where only the photographed side is known: between pairs of neighbouring photo poses.

use glam::{Quat, Vec3};
use retort_fields::field::{Pose, Scene};
use retort_fields::rng::Rng;
use retort_shaders::Camera;

/// Without known cameras: the distance, in units of the scene's half-size, and the heights of the published training.
const RADIUS: f32 = 2.7;
const ELEVATION: [f32; 2] = [-0.1, 1.4];
const FOV_Y: f32 = 0.69;
/// Drawn views reach this far beyond the photos' own band, radians and share of the distance.
const MARGIN: f32 = 0.05;

/// The `index`-th view of a scene, `height` pixels high.
pub fn draw(scene: &Scene, seed: u64, index: u64, height: u32) -> Camera {
    let mut rng = Rng::at(seed, "views", index);
    if scene.unbounded && scene.cameras.len() >= 2 {
        return between(&scene.cameras, &mut rng, height);
    }
    around(scene, &mut rng, height)
}

fn around(scene: &Scene, rng: &mut Rng, height: u32) -> Camera {
    let centre = scene.bounds.centre();
    let half = 0.5 * scene.bounds.size().max_element();
    let band = Band::of(&scene.cameras, centre, half);
    // Uniform in the sine of the height is uniform on the sphere.
    let sine = rng.range(band.elevation[0].sin(), band.elevation[1].sin());
    let azimuth = rng.range(0.0, std::f32::consts::TAU);
    let distance = rng.range(band.distance[0], band.distance[1]);
    let flat = (1.0 - sine * sine).max(0.0).sqrt();
    let eye = centre + distance * Vec3::new(flat * azimuth.cos(), flat * azimuth.sin(), sine);
    let width = (height as f32 * band.aspect).round().max(1.0) as u32;
    Camera::look_at(eye, centre, Vec3::Z, band.fov_y, width, height)
}

struct Band {
    distance: [f32; 2],
    elevation: [f32; 2],
    fov_y: f32,
    aspect: f32,
}

impl Band {
    fn of(cameras: &[Pose], centre: Vec3, half: f32) -> Self {
        if cameras.is_empty() {
            let distance = RADIUS * half;
            return Self { distance: [distance; 2], elevation: ELEVATION, fov_y: FOV_Y, aspect: 1.0 };
        }
        let range = |values: Vec<f32>, margin: f32| {
            let low = values.iter().copied().fold(f32::MAX, f32::min);
            let high = values.iter().copied().fold(f32::MIN, f32::max);
            [low - margin, high + margin]
        };
        let distances: Vec<f32> = cameras.iter().map(|c| c.position.distance(centre).max(1e-3)).collect();
        let mean = distances.iter().sum::<f32>() / distances.len() as f32;
        let heights =
            cameras.iter().zip(&distances).map(|(c, d)| ((c.position.z - centre.z) / d).clamp(-1.0, 1.0).asin());
        let elevation = range(heights.collect(), MARGIN);
        // Right below the pole the view's up direction would be lost.
        let elevation = elevation.map(|e| e.clamp(-1.54, 1.54));
        let distance = range(distances, MARGIN * mean).map(|d| d.max(0.2 * mean));
        Self { distance, elevation, fov_y: cameras[0].fov_y, aspect: cameras[0].aspect }
    }
}

fn between(cameras: &[Pose], rng: &mut Rng, height: u32) -> Camera {
    let first = &cameras[rng.below(cameras.len())];
    // One of the few nearest: between far ones the way may lead through a wall.
    let mut others: Vec<&Pose> = cameras.iter().collect();
    others.sort_by(|a, b| {
        a.position.distance_squared(first.position).total_cmp(&b.position.distance_squared(first.position))
    });
    let second = others[(1 + rng.below(4)).min(others.len() - 1)];
    let f = rng.uniform();
    let position = first.position.lerp(second.position, f);
    let wobble = Quat::from_euler(
        glam::EulerRot::XYZ,
        MARGIN * rng.range(-1.0, 1.0),
        MARGIN * rng.range(-1.0, 1.0),
        MARGIN * rng.range(-1.0, 1.0),
    );
    let rotation = (first.rotation.slerp(second.rotation, f) * wobble).normalize();
    let width = (height as f32 * first.aspect).round().max(1.0) as u32;
    Pose { position, rotation, ..first.clone() }.camera(width, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_look_at_a_bounded_scene_from_the_photos_band() {
        let photos = Camera::orbit(Vec3::ZERO, 2.5, 0.4, 12, 0.7, [64, 48]);
        let scene = Scene { cameras: photos.iter().map(Pose::of).collect(), ..Scene::default() };
        for index in 0..50 {
            let view = draw(&scene, 1, index, 30);
            let distance = view.position().length();
            assert!((2.2..2.8).contains(&distance), "distance {distance}");
            assert!(view.forward().dot(-view.position() / distance) > 0.999, "it looks at the centre");
            assert_eq!((view.width, view.height), (40, 30));
        }
        assert_ne!(draw(&scene, 1, 0, 30), draw(&scene, 1, 1, 30));
        assert_eq!(draw(&scene, 1, 7, 30), draw(&scene, 1, 7, 30));
    }

    #[test]
    fn views_of_an_unbounded_scene_lie_between_photos() {
        let photos = Camera::orbit(Vec3::ZERO, 0.8, 0.2, 9, 0.7, [64, 48]);
        let scene = Scene { unbounded: true, cameras: photos.iter().map(Pose::of).collect(), ..Scene::default() };
        for index in 0..50 {
            let view = draw(&scene, 1, index, 30);
            assert!(view.position().length() < 0.81 && view.position().is_finite());
            assert!(view.forward().dot(-view.position()) > 0.0, "it looks where the photos look");
        }
    }
}
