//! Paths come back as they were written, and files of both viewers are read.

use glam::{Vec3, vec3};
use serde_json::json;

use super::*;

fn path(looped: bool) -> CameraPath {
    let key = |time: f32, azimuth: f32| Keyframe {
        time,
        target: vec3(0.1, 0.0, 0.2),
        distance: 2.5,
        azimuth,
        elevation: 0.3,
        roll: 0.0,
        fov_y: 0.8,
    };
    let keyframes = vec![key(0.0, 0.0), key(0.75, 1.0), key(2.0, 2.0)];
    CameraPath { keyframes, fps: 12.0, seconds: if looped { 3.0 } else { 2.0 }, looped }
}

#[test]
fn what_is_written_is_read_again() {
    for looped in [false, true] {
        let path = path(looped);
        let text = text(&path, [64, 36]).unwrap();
        assert!(is_path(&text));
        let file = parse(&text).unwrap();
        assert_eq!((file.size, file.cameras.len()), ([64, 36], path.frames()));
        assert_eq!((file.path.fps, file.path.seconds, file.path.looped), (12.0, path.seconds, looped));
        for (a, b) in file.path.keyframes.iter().zip(&path.keyframes) {
            assert!(a.eye().distance(b.eye()) < 1e-4 && a.target.distance(b.target) < 1e-4, "{a:?} {b:?}");
            assert!((a.time - b.time).abs() < 1e-6 && (a.fov_y - b.fov_y).abs() < 1e-5);
        }
        for (a, b) in file.cameras.iter().zip(path.cameras(64, 36)) {
            assert!(a.world_from_camera.abs_diff_eq(b.world_from_camera, 1e-5));
            assert!((a.focal - b.focal).length() < 1e-2 && a.centre == b.centre);
        }
    }
    assert!(text(&CameraPath::default(), [8, 8]).is_err(), "without a key");
}

#[test]
fn the_newer_viewers_steps_are_kept_without_our_own_keys() {
    let mut value: Value = serde_json::from_str(&text(&path(true), [64, 36]).unwrap()).unwrap();
    for key in value["keyframes"].as_array_mut().unwrap() {
        key.as_object_mut().unwrap().retain(|name, _| name != "time" && name != "distance");
    }
    let file = parse(&value.to_string()).unwrap();
    let times: Vec<f32> = file.path.keyframes.iter().map(|key| key.time).collect();
    assert!(times.iter().zip([0.0, 0.75, 2.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{times:?}");
    assert!((file.path.seconds - 3.0).abs() < 1e-5 && file.path.looped);
    // Its cameras look at one place, and so do the keys.
    assert!((file.path.keyframes[0].distance - 2.5).abs() < 1e-3, "{:?}", file.path.keyframes[0]);
}

/// As the older viewer writes it: a camera at (1, 2, 3) that looks along -Z, then one turned about the vertical.
fn older() -> Value {
    let key = |matrix: &str, share: f32| {
        let properties = format!("[[\"FOV\",50],[\"NAME\",\"Camera\"],[\"TIME\",{share}]]");
        json!({ "matrix": matrix, "fov": 50, "aspect": 1.5, "properties": properties })
    };
    json!({
        "keyframes": [
            key("[1,0,0,0, 0,1,0,0, 0,0,1,0, 1,2,3,1]", 0.0),
            key("[0,1,0,0, -1,0,0,0, 0,0,1,0, 1,2,4,1]", 0.25),
            key("[1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]", 1.0),
        ],
        "camera_type": "perspective", "render_height": 40, "render_width": 60, "fps": 24, "seconds": 4,
        "is_cycle": false, "smoothness_value": 0.5, "crop": null,
        "camera_path": [
            { "camera_to_world": [1,0,0,1, 0,1,0,2, 0,0,1,3, 0,0,0,1], "fov": 50, "aspect": 1.5 },
            { "camera_to_world": [0,-1,0,1, 1,0,0,2, 0,0,1,4, 0,0,0,1], "fov": 90, "aspect": 1.5 },
        ],
    })
}

#[test]
fn the_older_viewers_paths_are_read() {
    let file = parse(&older().to_string()).unwrap();
    assert_eq!((file.cameras.len(), file.path.keyframes.len(), file.size), (2, 3, [60, 40]));
    let first = &file.cameras[0];
    assert_eq!((first.position(), first.forward()), (vec3(1.0, 2.0, 3.0), Vec3::NEG_Z));
    assert!((first.fov_y().to_degrees() - 50.0).abs() < 1e-3);
    assert!((file.cameras[1].focal.y - 20.0).abs() < 1e-3, "90 degrees over 40 pixels");
    let times: Vec<f32> = file.path.keyframes.iter().map(|key| key.time).collect();
    assert_eq!(times, [0.0, 1.0, 4.0]);
    // Columns or rows, a key is the camera of its picture.
    let keys: Vec<Camera> = file.path.keyframes.iter().map(|key| key.camera(60, 40)).collect();
    for (key, camera) in keys.iter().zip(&file.cameras) {
        assert!(key.world_from_camera.abs_diff_eq(camera.world_from_camera, 1e-3), "{key:?} {camera:?}");
    }
    let wide = fitted(&file.cameras[1], [200, 80]);
    assert!((wide.focal - Vec2::splat(40.0)).length() < 1e-3 && wide.centre == vec2(100.0, 40.0));
}

#[test]
fn keys_alone_are_a_path_and_cameras_alone_are_one() {
    let mut keys = older();
    keys["camera_path"] = json!([]);
    keys["keyframes"].as_array_mut().unwrap().pop();
    let file = parse(&keys.to_string()).unwrap();
    assert_eq!(file.cameras.len(), 96);
    let mut cameras = older();
    cameras["keyframes"] = json!([]);
    let file = parse(&cameras.to_string()).unwrap();
    assert!(file.path.is_empty() && file.cameras.len() == 2 && file.path.fps == 24.0);
}

#[test]
fn impossible_paths_are_named() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = older();
        change(&mut value);
        parse(&value.to_string())
    };
    assert!(with(&|_| ()).is_ok());
    for (word, change) in [
        ("render_width", &(|v: &mut Value| v["render_width"] = json!(0)) as &dyn Fn(&mut Value)),
        ("render_height", &|v| v["render_height"] = json!(1e9)),
        ("equirectangular", &|v| v["camera_type"] = json!("equirectangular")),
        ("camera 1", &|v| v["camera_path"][1]["camera_to_world"][0] = json!(3)),
        ("camera 0", &|v| v["camera_path"][0]["camera_to_world"] = json!([1, 2])),
        ("16 numbers", &|v| v["keyframes"][0]["matrix"] = json!("[1, 2")),
        ("16 numbers", &|v| v["keyframes"][0]["matrix"] = json!({"a": 1})),
        ("last row", &|v| v["camera_path"][0]["camera_to_world"][12] = json!(0.5)),
        ("fov", &|v| v["camera_path"][0]["fov"] = json!(0)),
        ("fov", &|v| v["keyframes"][1]["fov"] = json!(1e30)),
        ("pictures a second", &|v| v["fps"] = json!(0)),
        ("path of", &|v| v["seconds"] = json!(1e9)),
        ("no camera", &|v| (v["camera_path"], v["keyframes"]) = (json!([]), json!([]))),
        ("not a camera path", &|v| v["keyframes"] = json!("many")),
    ] {
        let error = with(change).expect_err(word);
        assert!(error.what.contains(word), "{word}: {error}");
    }
    let many = vec![older()["camera_path"][0].clone(); MAX_FRAMES + 1];
    assert!(with(&|v| v["camera_path"] = json!(many)).unwrap_err().what.contains("too many"));
    assert!(!is_path("[]") && !is_path("{") && !is_path("{\"width\": 3}"));
}
