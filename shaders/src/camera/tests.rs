//! Pixels and rays there and back, through every kind of lens.

use glam::{Vec2, Vec3, vec2, vec3};

use super::{Camera, Distortion};

fn posed(distortion: Distortion) -> Camera {
    let mut camera = Camera::look_at(vec3(1.0, -3.0, 2.0), vec3(0.2, 0.1, -0.3), Vec3::Z, 0.9, 640, 480);
    camera.focal = vec2(610.0, 590.0);
    camera.centre = vec2(333.0, 228.0);
    camera.distortion = distortion;
    camera
}

fn lenses() -> [Distortion; 5] {
    [
        Distortion::default(),
        Distortion { k1: 0.058, k2: -0.081, p1: -0.001, p2: 0.0002, ..Default::default() },
        Distortion { k1: -0.28, k2: 0.07, k3: -0.01, p1: 0.002, p2: -0.003, ..Default::default() },
        Distortion { k1: 0.1, k2: 0.02, k3: 0.01, k4: 0.005, ..Default::default() },
        Distortion { k1: -0.03, k2: 0.01, k3: -0.004, k4: 0.0007, fisheye: true, ..Default::default() },
    ]
}

fn worst_round_trip(camera: &Camera, through: &Camera) -> f32 {
    let mut worst = 0.0_f32;
    for j in 0..=8 {
        for i in 0..=8 {
            let pixel = vec2(80.0 * i as f32, 60.0 * j as f32);
            let ray = camera.ray(pixel);
            assert!((ray.direction.length() - 1.0).abs() < 1e-5);
            let (back, depth) = through.project(ray.at(2.7)).expect("in front");
            assert!(depth > 0.0 && depth <= 2.7 + 1e-4);
            worst = worst.max(back.distance(pixel));
        }
    }
    worst
}

#[test]
fn a_pixel_comes_back_through_its_ray() {
    for lens in lenses() {
        let camera = posed(lens);
        let worst = worst_round_trip(&camera, &camera);
        // Single precision at 640 pixels: a few units in the last place of the coordinates.
        assert!(worst < 5e-3, "{lens:?}: {worst} px");
    }
}

#[test]
fn another_lens_does_not_bring_it_back() {
    let camera = posed(lenses()[2]);
    let mut other = camera.clone();
    other.distortion.k1 += 0.01;
    assert!(worst_round_trip(&camera, &other) > 0.5);
}

#[test]
fn the_axes_are_where_the_convention_says() {
    let camera = Camera::look_at(Vec3::ZERO, Vec3::Y, Vec3::Z, 1.0, 100, 80);
    assert!(camera.ray(vec2(50.0, 40.0)).direction.distance(Vec3::Y) < 1e-6, "the middle looks ahead");
    assert!(camera.ray(vec2(99.5, 40.0)).direction.x > 0.3, "x goes right");
    assert!(camera.ray(vec2(50.0, 0.5)).direction.z > 0.3, "y goes down");
    let (pixel, depth) = camera.project(vec3(0.0, 2.0, 0.0)).expect("in front");
    assert!(pixel.distance(vec2(50.0, 40.0)) < 1e-4 && (depth - 2.0).abs() < 1e-6);
    assert!(camera.project(vec3(0.0, -2.0, 0.0)).is_none(), "behind");
    assert!((camera.fov_y() - 1.0).abs() < 1e-6);
    assert!(camera.forward().distance(Vec3::Y) < 1e-6 && camera.up().distance(Vec3::Z) < 1e-6);
}

#[test]
fn distortion_follows_the_published_formula() {
    // Worked by hand: m = (0.5, 0.25), u = 0.3125, radial = 1 + 0.1 u - 0.2 u^2 = 1.01171875.
    let lens = Distortion { k1: 0.1, k2: -0.2, p1: 0.01, p2: 0.02, ..Default::default() };
    let d = lens.distort(vec2(0.5, 0.25));
    let expected = vec2(0.505_859_4 + 0.0025 + 0.02 * 0.8125, 0.252_929_7 + 0.01 * 0.4375 + 0.005);
    assert!(d.distance(expected) < 1e-6, "{d} against {expected}");
    // A fisheye with no coefficients is equidistant: 45 degrees lies at radius pi / 4.
    let fisheye = Distortion { fisheye: true, ..Default::default() };
    assert!(fisheye.distort(vec2(1.0, 0.0)).distance(vec2(std::f32::consts::FRAC_PI_4, 0.0)) < 1e-6);
}

#[test]
fn points_beyond_the_fold_are_not_shown() {
    // r (1 - 0.3 r^2) grows up to r = 1 / sqrt(0.9).
    let camera = posed(Distortion { k1: -0.3, ..Default::default() });
    assert!((camera.distortion.limit() - (1.0_f32 / 0.9).sqrt()).abs() < 1e-4);
    let at = |r: f32| camera.world_from_camera.transform_point3(vec3(r, 0.0, -1.0));
    assert!(camera.project(at(1.0)).is_some());
    assert!(camera.project(at(1.2)).is_none());
    // r (1 - 0.3 r^2) is 0 again at r = 1.83: without the limit this point would land near the middle of the picture.
    assert!(camera.project(at(1.83)).is_none());
}

#[test]
fn a_fisheye_sees_past_ninety_degrees() {
    let mut camera = posed(Distortion { fisheye: true, ..Default::default() });
    camera.focal = Vec2::splat(150.0);
    let side = camera.direction_in_camera(camera.centre + vec2(150.0 * 1.8, 0.0));
    assert!((side.x - 1.8_f32.sin()).abs() < 1e-4 && side.z > 0.2, "{side}");
}

#[test]
fn resizing_keeps_the_view() {
    let camera = posed(lenses()[1]);
    let half = camera.resized(320, 240);
    let (a, b) = (camera.ray(vec2(100.0, 60.0)), half.ray(vec2(50.0, 30.0)));
    assert!(a.direction.distance(b.direction) < 1e-6);
    assert_eq!((half.width, half.height), (320, 240));
}

#[test]
fn an_orbit_looks_at_its_centre_from_its_radius() {
    let centre = vec3(0.1, 0.2, 0.3);
    let cameras = Camera::orbit(centre, 2.5, 0.4, 7, 0.8, [64, 48]);
    assert_eq!(cameras.len(), 7);
    for camera in &cameras {
        assert!((camera.position().distance(centre) - 2.5).abs() < 1e-5);
        let (pixel, _) = camera.project(centre).expect("in front");
        assert!(pixel.distance(vec2(32.0, 24.0)) < 1e-3 && camera.up().z > 0.5);
    }
    // From straight above there is no upright direction; some orthonormal frame must come out all the same.
    let above = Camera::look_at(Vec3::Z, Vec3::ZERO, Vec3::Z, 0.8, 8, 8);
    assert!((above.world_from_camera.matrix3.determinant() - 1.0).abs() < 1e-5);
}

#[test]
fn the_inverse_pose_is_the_inverse() {
    let camera = posed(lenses()[1]);
    let pose = camera.world_from_camera * camera.camera_from_world();
    assert!(pose.abs_diff_eq(glam::Affine3A::IDENTITY, 1e-5));
}
