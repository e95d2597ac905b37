//! From where a field is looked at: cameras or a camera path from a file, or a circle around the scene.

pub mod nerfstudio;

use std::path::Path;

use glam::{Affine3A, Mat3A};
use retort_fields::error::{Error, Result};
use retort_fields::field::Scene;
use retort_shaders::Camera;

/// The longest file of cameras that is read, in bytes: a hundred thousand of them.
const MAX_BYTES: u64 = 64 << 20;
/// The largest side of a picture in pixels.
const MAX_SIDE: u32 = 8192;

/// `n` views around the scene, all from the same height, looking at its middle.
pub fn orbit(scene: &Scene, n: usize, size: [u32; 2]) -> Vec<Camera> {
    // A bounded scene fits its box, and from 8/3 of half its side it fills the picture. What is unbounded was
    // photographed from a ring of cameras: a little inside of it, things look as they did to them.
    let (radius, elevation, fov_y) = if scene.unbounded {
        (0.8 * scene.extent.clamp(0.05, 2.0), 0.2, 0.9)
    } else {
        (4.0 / 3.0 * scene.bounds.size().max_element(), 0.5, 0.66)
    };
    let centre = if scene.unbounded { glam::Vec3::ZERO } else { scene.bounds.centre() };
    Camera::orbit(centre, radius, elevation, n, fov_y, size)
}

/// What a file says of the views.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// One for each picture, at least one.
    pub cameras: Vec<Camera>,
    /// Pictures a second, of a camera path.
    pub fps: Option<f32>,
}

impl Given {
    /// The same views in pictures of `size` pixels: those of a path keep their height and square pixels, cameras are
    /// stretched with their pictures.
    pub fn resized(&self, size: [u32; 2]) -> Vec<Camera> {
        let of = |camera: &Camera| match self.fps {
            Some(_) => nerfstudio::fitted(camera, size),
            None => camera.resized(size[0], size[1]),
        };
        self.cameras.iter().map(of).collect()
    }
}

/// The cameras of a JSON file in scene units: one object or a list, as `retort_shaders::Camera` is written, or a camera
/// path as [`nerfstudio`] has it. Which one it is, its content says.
///
/// # Errors
/// When the file is missing, too long, of none of these forms, or holds a camera that cannot be.
pub fn read(path: &Path) -> Result<Given> {
    let text = text_of(path)?;
    if nerfstudio::is_path(&text) {
        let file = nerfstudio::parse(&text).map_err(|e| e.file(path).remedy(nerfstudio::FORM))?;
        return Ok(Given { cameras: file.cameras, fps: Some(file.path.fps) });
    }
    cameras(path, &text).map(|cameras| Given { cameras, fps: None })
}

/// A file's text, if it is not too long for one of cameras.
fn text_of(path: &Path) -> Result<String> {
    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
    if bytes > MAX_BYTES {
        return Err(Error::new(format!("{bytes} bytes are too long for a file of cameras")).file(path).remedy(FORM));
    }
    std::fs::read_to_string(path).map_err(|e| Error::io(path, &e).remedy(FORM))
}

fn cameras(path: &Path, text: &str) -> Result<Vec<Camera>> {
    let many = text.trim_start().starts_with('[');
    let cameras: serde_json::Result<Vec<Camera>> =
        if many { serde_json::from_str(text) } else { serde_json::from_str(text).map(|camera| vec![camera]) };
    let cameras = cameras.map_err(|e| Error::new(format!("not a camera: {e}")).file(path).remedy(FORM))?;
    if cameras.is_empty() {
        return Err(Error::new("there is no camera in it").file(path).remedy(FORM));
    }
    for (i, camera) in cameras.iter().enumerate() {
        check(camera).map_err(|what| Error::new(format!("camera {i}: {what}")).file(path).remedy(FORM))?;
    }
    Ok(cameras)
}

const FORM: &str = "write {\"world_from_camera\": [12 numbers: x, y and z axis, position], \"width\": 400, \
    \"height\": 400, \"focal\": [500, 500], \"centre\": [200, 200]}, a list of such, or a camera path of nerfstudio's";

/// Whether there can be such a camera.
fn check(camera: &Camera) -> Result<(), &'static str> {
    let side = 1..=MAX_SIDE;
    if !side.contains(&camera.width) || !side.contains(&camera.height) {
        return Err("its size is not from 1 to 8192 pixels");
    }
    if !(camera.focal.cmpgt(glam::Vec2::ZERO).all() && camera.focal.is_finite() && camera.centre.is_finite()) {
        return Err("its focal length or centre is no number of pixels");
    }
    if !straight(&camera.world_from_camera) {
        return Err("the axes of world_from_camera are no rotation");
    }
    let d = &camera.distortion;
    if ![d.k1, d.k2, d.k3, d.k4, d.p1, d.p2].iter().all(|k| k.is_finite()) {
        return Err("its distortion is no number");
    }
    Ok(())
}

/// Whether a pose is a rotation and a place.
fn straight(pose: &Affine3A) -> bool {
    let turn = pose.matrix3;
    let rotation = (turn.transpose() * turn).abs_diff_eq(Mat3A::IDENTITY, 1e-3) && turn.determinant() > 0.0;
    rotation && pose.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orbit_sees_the_middle() {
        for unbounded in [false, true] {
            let scene = Scene { unbounded, ..Scene::default() };
            let views = orbit(&scene, 5, [40, 30]);
            assert_eq!(views.len(), 5);
            for view in views {
                let (pixel, depth) = view.project(glam::Vec3::ZERO).expect("in front");
                assert!(pixel.distance(glam::vec2(20.0, 15.0)) < 1e-3 && depth > 0.0);
            }
        }
    }

    #[test]
    fn cameras_are_read_one_or_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let views = orbit(&Scene::default(), 3, [40, 30]);
        std::fs::write(&path, serde_json::to_string(&views).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Given { cameras: views.clone(), fps: None });
        std::fs::write(&path, serde_json::to_string(&views[0]).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().cameras, views[..1]);
    }

    #[test]
    fn impossible_cameras_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let good = serde_json::to_value(&orbit(&Scene::default(), 1, [40, 30])[0]).unwrap();
        let with = |key: &str, value: serde_json::Value| {
            let mut camera = good.clone();
            camera[key] = value;
            camera.to_string()
        };
        for text in [
            String::new(),
            "[]".into(),
            "[1]".into(),
            "{".into(),
            with("width", 0.into()),
            with("height", 100_000.into()),
            with("focal", serde_json::json!([-1.0, 5.0])),
            with("focal", serde_json::json!([1e60, 5.0])),
            with("world_from_camera", serde_json::json!([1, 0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 0])),
            with("world_from_camera", serde_json::json!([2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read(&path).expect_err(&text);
            assert!(error.file.is_some() && error.remedy == FORM, "{text}: {error}");
        }
    }
}
