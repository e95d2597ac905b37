//! Paths pass through their keys, without jumps, and close where they are loops.

use super::*;

/// A key that sees the origin from distance 3.
fn key(time: f32, azimuth: f32) -> Keyframe {
    Keyframe { time, target: Vec3::ZERO, distance: 3.0, azimuth, elevation: 0.4, roll: 0.0, fov_y: 0.7 }
}

fn path(looped: bool) -> CameraPath {
    let mut keyframes = vec![key(0.0, 0.0), key(1.0, 2.0), key(1.5, 3.5), key(4.0, 5.5)];
    keyframes[1].target = vec3(0.3, -0.2, 0.1);
    keyframes[2].distance = 1.5;
    keyframes[3].roll = 0.5;
    CameraPath { keyframes, fps: 20.0, seconds: if looped { 6.0 } else { 4.0 }, looped }
}

/// How far two views differ: places of eye and of what they look at, and the way up.
fn apart(a: &Keyframe, b: &Keyframe) -> f32 {
    let up = a.axes()[1].distance(b.axes()[1]);
    a.eye().distance(b.eye()) + a.target.distance(b.target) + up + (a.fov_y - b.fov_y).abs()
}

#[test]
fn it_passes_through_its_keys() {
    for looped in [false, true] {
        let path = path(looped);
        path.check().expect("sound");
        for key in &path.keyframes {
            let seen = path.at(key.time).expect("a key");
            assert!(apart(&seen, key) < 1e-4, "{looped} {key:?} {seen:?}");
        }
        assert_eq!(path.cameras(30, 20).len(), path.frames());
    }
    // Away from its keys it is elsewhere.
    let path = path(false);
    assert!(path.keyframes.iter().all(|key| apart(&path.at(0.5).expect("a view"), key) > 0.5));
}

#[test]
fn place_and_speed_have_no_jumps() {
    for looped in [false, true] {
        let path = path(looped);
        let (n, h) = (4000, path.seconds / 4000.0);
        let views: Vec<Keyframe> = (0..=n).map(|i| path.at(i as f32 * h).expect("a view")).collect();
        let step = |i: usize| (views[i + 1].eye() - views[i].eye()) / h;
        let fastest = (0..n).map(|i| step(i).length()).fold(0.0, f32::max);
        assert!(fastest < 30.0, "{fastest}");
        // The velocity changes by an acceleration, not at once: single precision moves it by some hundredths.
        let hardest = (1..n).map(|i| step(i).distance(step(i - 1))).fold(0.0, f32::max);
        assert!(hardest < 0.5, "{looped}: {hardest} of {fastest}");
        assert!(views.iter().all(|view| view.distance > 1.0 && view.distance < 4.0));
    }
}

#[test]
fn a_loop_closes() {
    let path = path(true);
    assert!(apart(&path.at(6.0).unwrap(), &path.at(0.0).unwrap()) < 1e-4);
    assert!(apart(&path.at(13.0).unwrap(), &path.at(1.0).unwrap()) < 1e-3);
    let times: Vec<f32> = path.times().collect();
    assert_eq!((times.len(), times[0]), (120, 0.0));
    assert!((times[119] - (6.0 - 0.05)).abs() < 1e-4, "the first picture is not taken twice: {}", times[119]);
    let ends = path_times(&CameraPath { looped: false, seconds: 4.0, ..path });
    assert_eq!((ends.len(), ends[0], ends[79]), (80, 0.0, 4.0));
}

fn path_times(path: &CameraPath) -> Vec<f32> {
    path.times().collect()
}

#[test]
fn between_two_views_of_an_object_it_goes_around_it() {
    let keyframes = vec![key(0.0, 0.2), key(2.0, TAU - 0.2)];
    let path = CameraPath { keyframes, seconds: 2.0, ..CameraPath::default() };
    let middle = path.at(1.0).unwrap();
    assert!(middle.azimuth.abs() < 1e-4, "the short way: {}", middle.azimuth);
    for time in [0.3, 0.9, 1.4] {
        let view = path.at(time).unwrap();
        assert!((view.eye().length() - 3.0).abs() < 1e-4 && (view.elevation - 0.4).abs() < 1e-5, "{view:?}");
        let seen = view.camera(60, 40);
        assert!(seen.project(Vec3::ZERO).unwrap().0.distance(vec2(30.0, 20.0)) < 1e-2);
        assert!(Vec3::from(seen.world_from_camera.matrix3.x_axis).z.abs() < 1e-6, "the horizon is level");
    }
}

#[test]
fn one_key_is_one_view_and_none_is_none() {
    let path = CameraPath { keyframes: vec![key(0.0, 1.0)], ..CameraPath::default() };
    path.check().expect("sound");
    assert_eq!((path.frames(), path.cameras(8, 8).len()), (1, 1));
    assert!(apart(&path.at(-1.0).unwrap(), &path.at(7.0).unwrap()) < 1e-6);
    let looped = CameraPath { looped: true, ..path };
    assert!(looped.check().is_ok() && looped.at(3.0).is_some());
    let none = CameraPath::default();
    assert!(none.check().is_ok() && none.at(0.0).is_none() && none.cameras(8, 8).is_empty());
}

#[test]
fn impossible_paths_are_refused() {
    let good = path(false);
    let with = |change: &dyn Fn(&mut CameraPath)| {
        let mut path = good.clone();
        change(&mut path);
        path.check()
    };
    assert_eq!(with(&|p| p.keyframes[1].time = 1.5), Err(PathError::SameTime(1.5)));
    for (word, change) in [
        ("order", &(|p: &mut CameraPath| p.keyframes[1].time = 1.8) as &dyn Fn(&mut CameraPath)),
        ("fps", &|p| p.fps = f32::NAN),
        ("seconds", &|p| p.seconds = 1e9),
        ("end", &|p| p.seconds = 3.0),
        ("loop", &|p| p.looped = true),
        ("target", &|p| p.keyframes[0].target.x = f32::INFINITY),
        ("distance", &|p| p.keyframes[0].distance = 0.0),
        ("angle", &|p| p.keyframes[0].roll = f32::NAN),
        ("fov", &|p| p.keyframes[0].fov_y = 4.0),
        ("time", &|p| p.keyframes[0].time = -1.0),
        ("keys", &|p| p.keyframes = vec![key(0.0, 0.0); MAX_KEYS + 1]),
    ] {
        let error = with(change).expect_err(word);
        assert!(matches!(error, PathError::OutOfRange(_)), "{word}: {error}");
    }
}

#[test]
fn keys_are_put_moved_and_stretched() {
    let mut path = CameraPath::default();
    assert_eq!((path.insert(key(0.0, 0.0)), path.insert(key(4.0, 1.0)), path.insert(key(2.0, 2.0))), (0, 1, 1));
    assert_eq!((path.keyframes.len(), path.seconds), (3, 4.0));
    // One that is there is replaced.
    assert_eq!(path.insert(key(2.01, 0.5)), 1);
    assert_eq!((path.keyframes.len(), path.keyframes[1].azimuth, path.keyframes[1].time), (3, 0.5, 2.0));
    path.shift(1, 9.0);
    assert!(path.keyframes[1].time < 4.0, "not past its neighbour");
    path.shift(2, 6.0);
    assert_eq!((path.keyframes[2].time, path.seconds), (6.0, 6.0));
    path.shift(2, 5.0);
    assert_eq!(path.seconds, 5.0, "the end stays at the last key");
    path.set_looped(true);
    assert_eq!(path.seconds, 7.5);
    path.stretch(15.0);
    assert_eq!((path.keyframes[2].time, path.seconds), (10.0, 15.0));
    path.insert(key(14.0, 0.0));
    assert_eq!(path.seconds, 15.0);
    path.set_looped(false);
    assert_eq!(path.seconds, 14.0);
    path.check().expect("sound");
    path.shift(17, 1.0);
    // Keys closer to each other than pictures are still kept apart.
    path.keyframes[1].time = path.keyframes[0].time + 0.004;
    path.shift(0, 3.0);
    path.shift(1, 0.0);
    path.check().expect("sound");
}

#[test]
fn cameras_become_keys_and_back() {
    for (roll, elevation) in [(0.0, 0.3), (0.7, -0.9), (-2.0, 1.2), (0.0, 1.5)] {
        let key = Keyframe { roll, elevation, target: vec3(0.1, 0.2, 0.3), ..key(1.0, 0.8) };
        let again = Keyframe::of_camera(&key.camera(60, 40), key.distance, 1.0);
        assert!(apart(&key, &again) < 1e-3, "{key:?} became {again:?}");
    }
    // Straight down, where left and right say where one looks.
    let down = Camera::look_at(vec3(0.0, 0.0, 2.0), Vec3::ZERO, Vec3::Y, 0.7, 60, 40);
    let again = Keyframe::of_camera(&down, 2.0, 0.0).camera(60, 40);
    assert!(again.world_from_camera.abs_diff_eq(down.world_from_camera, 1e-3), "{again:?}");
    // A person's view is the same one.
    let orbit = Orbit { target: vec3(0.2, 0.1, 0.0), azimuth: 5.0, ..Orbit::default() };
    let key = Keyframe::of_orbit(&orbit, 0.0);
    assert!(key.camera(60, 40).world_from_camera.abs_diff_eq(orbit.camera(60, 40).world_from_camera, 1e-5));
    assert_eq!(key.orbit(Mode::Orbit), orbit);
}

#[test]
fn cameras_around_a_place_look_at_it() {
    let ring = Camera::orbit(vec3(0.5, 0.0, 0.0), 2.5, 0.4, 6, 0.7, [8, 8]);
    assert!((common_distance(&ring, 1.0) - 2.5).abs() < 1e-3);
    let row: Vec<Camera> = (0..3)
        .map(|i| Camera::look_at(vec3(i as f32, 0.0, 0.0), vec3(i as f32, 5.0, 0.0), Vec3::Z, 0.7, 8, 8))
        .collect();
    assert_eq!(common_distance(&row, 1.0), 1.0, "side by side they look at nothing together");
    assert_eq!(common_distance(&[], 2.0), 2.0);
}
