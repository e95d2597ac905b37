//! The scene keeps to its space, its distances are honest, and the two ways to a dataset agree.

use glam::{Vec3, vec3};
use retort_shaders::Camera;

use super::shapes::Thing;
use super::{CAMERA_RADIUS, FIELD_OF_VIEW, LOOK_AT, cameras, dataset, light, render, write_dataset};
use crate::data::{LoadOptions, Split, load};
use crate::rng::Rng;

fn in_cube(rng: &mut Rng) -> Vec3 {
    vec3(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0))
}

#[test]
fn everything_lies_in_its_box_and_within_the_radius() {
    let mut rng = Rng::new(1, "procedural points");
    for _ in 0..50_000 {
        let p = in_cube(&mut rng);
        for thing in Thing::ALL {
            let (low, high) = thing.bounds();
            let boxed = p.cmpge(low).all() && p.cmple(high).all();
            assert!(thing.distance(p) > 0.0 || boxed, "{thing:?} sticks out of its box at {p}");
            assert!(thing.distance(p) > 0.0 || p.length() < 0.9, "{thing:?} reaches out to {p}");
        }
    }
}

#[test]
fn a_distance_never_passes_a_surface() {
    let mut rng = Rng::new(2, "procedural points");
    for thing in Thing::ALL {
        let (low, high) = thing.bounds();
        for _ in 0..20_000 {
            let unit = 0.5 * (in_cube(&mut rng) + 1.0);
            let p = low - 0.05 + unit * (high - low + 0.1);
            let q = p + 0.02 * in_cube(&mut rng);
            // From outside, a surface point q would need d(p) <= |p - q|.
            let (dp, dq) = (thing.distance(p), thing.distance(q));
            assert!((dp - dq).abs() <= 1.02 * p.distance(q) + 1e-5, "{thing:?} jumps from {dp} to {dq} near {p}");
        }
    }
}

#[test]
fn every_thing_is_seen() {
    let mut seen = Vec::new();
    for camera in cameras(96, 8, 0, "train") {
        for i in 0..96 * 96 {
            let pixel = glam::vec2((i % 96) as f32 + 0.5, (i / 96) as f32 + 0.5);
            seen.extend(light::thing_at(&camera.ray(pixel)));
        }
    }
    for thing in Thing::ALL {
        assert!(seen.contains(&thing), "{thing:?} hides");
    }
}

#[test]
fn a_picture_has_a_scene_in_the_middle_and_nothing_around() {
    let camera = Camera::look_at(vec3(0.0, -CAMERA_RADIUS, 1.0), LOOK_AT, Vec3::Z, FIELD_OF_VIEW, 48, 48);
    let picture = render(&camera, 4);
    assert_eq!(picture.len(), 48 * 48 * 4);
    let alpha = |x: usize, y: usize| picture[(y * 48 + x) * 4 + 3];
    assert_eq!((alpha(0, 0), alpha(47, 0), alpha(0, 47), alpha(24, 28)), (0, 0, 0, 255));
    let edge = picture.chunks_exact(4).filter(|p| (1..255).contains(&p[3])).count();
    assert!(edge > 40, "only {edge} pixels are covered in part");
    // The outermost pixels stay empty: nothing is cut off.
    assert!((0..48).all(|i| alpha(i, 0) == 0 && alpha(i, 47) == 0 && alpha(0, i) == 0 && alpha(47, i) == 0));
    assert_eq!(picture, render(&camera, 4), "the picture depends on chance");
}

#[test]
fn a_highlight_moves_with_the_eye() {
    let at = vec3(0.13, -0.52, -0.09);
    let seen_from = |eye: Vec3| {
        let camera = Camera::look_at(eye, at, Vec3::Z, FIELD_OF_VIEW, 1, 1);
        light::radiance(&camera.ray(camera.centre)).expect("aimed at the ball")
    };
    let difference = (seen_from(vec3(-1.2, -2.0, 1.2)) - seen_from(vec3(1.5, -2.0, 0.5))).abs().max_element();
    assert!(difference > 0.1, "the ball looks the same from both sides: {difference}");
}

#[test]
fn what_is_written_loads_as_what_is_made_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/scene");
    write_dataset(&folder, 24, 5, 3, 9).unwrap();
    let loaded = load(&folder, &LoadOptions::default()).unwrap();
    let made = dataset(24, 5, 3, 9);
    assert_eq!((loaded.split(Split::Train).len(), loaded.split(Split::Test).len()), (5, 3));
    assert_eq!((loaded.unbounded, loaded.bounds, loaded.layout), (made.unbounded, made.bounds, made.layout));
    assert!((loaded.scene_from_dataset.scale - made.scene_from_dataset.scale).abs() < 1e-6);
    for (a, b) in loaded.photos.iter().zip(&made.photos) {
        assert_eq!((&a.name, a.split, &a.pixels), (&b.name, b.split, &b.pixels));
        assert!(a.camera.world_from_camera.abs_diff_eq(b.camera.world_from_camera, 1e-5), "{}", a.name);
        assert!(a.camera.focal.abs_diff_eq(b.camera.focal, 1e-3) && a.camera.centre == b.camera.centre);
    }
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn seeds_and_splits_give_other_views() {
    let position = |seed, split| cameras(8, 4, seed, split)[0].position();
    assert!(position(1, "train").distance(position(2, "train")) > 1e-3);
    assert!(position(1, "train").distance(position(1, "test")) > 1e-3);
    assert!(cameras(8, 50, 3, "train").iter().all(|c| c.position().z > 0.0));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(write_dataset(dir.path(), 0, 5, 1, 0).is_err());
    assert!(write_dataset(dir.path(), 8, 2, 1, 0).is_err());
    let file = dir.path().join("taken");
    std::fs::write(&file, "x").unwrap();
    let error = write_dataset(&file, 8, 3, 1, 0).unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
}
