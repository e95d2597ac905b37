//! Camera paths as nerfstudio's viewer saves them, read and written: keyframes, and every camera between them.
//!
//! Its world has +Z up and its cameras the axes of ours, so its scene units are taken as ours without a change; they fit
//! where both were normalised alike. Two generations of its viewer write keyframes: the older one the matrix column by
//! column in a string (as three.js has it) and the time in `properties`, from 0 to 1; the newer one row by row in a
//! list, with the seconds from the key before. What we write is the newer form, with two keys of our own in a keyframe
//! that it leaves alone: `time` in seconds, and `distance` to what the camera looks at.

use std::path::Path;

use glam::{Affine3A, Mat4, Vec2, vec2};
use retort_fields::error::{Error, Result};
use retort_fields::files::write_atomically;
use retort_render::path::{APART, CameraPath, Keyframe, MAX_FRAMES, MAX_KEYS, common_distance};
use retort_shaders::{Camera, Distortion};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_SIDE, straight, text_of};

/// What helps where a file is none.
pub const FORM: &str = "give a camera path of nerfstudio's viewer, or one that Retort saved";
/// The distance to what a camera looks at where nothing tells it, scene units.
const DISTANCE: f32 = 1.0;

/// A camera path as its file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathFile {
    /// Its keys; none where the file has only cameras.
    pub path: CameraPath,
    /// The pictures' width and height, pixels.
    pub size: [u32; 2],
    /// The camera of every picture.
    pub cameras: Vec<Camera>,
}

/// Whether a text is a camera path and not a camera: one of its lists is there.
pub fn is_path(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        camera_path: Option<IgnoredAny>,
        keyframes: Option<IgnoredAny>,
    }
    serde_json::from_str::<Probe>(text).is_ok_and(|probe| probe.camera_path.is_some() || probe.keyframes.is_some())
}

/// Reads a camera path.
///
/// # Errors
/// When the file is missing, too long, none, or has a camera or a key that cannot be.
pub fn read(path: &Path) -> Result<PathFile> {
    parse(&text_of(path)?).map_err(|e| e.file(path).remedy(FORM))
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    keyframes: Vec<ReadKey>,
    camera_type: Option<String>,
    render_width: f64,
    render_height: f64,
    fps: Option<f32>,
    seconds: Option<f32>,
    #[serde(default)]
    is_cycle: bool,
    default_transition_sec: Option<f32>,
    #[serde(default)]
    camera_path: Vec<ReadCamera>,
}

#[derive(Deserialize)]
struct ReadCamera {
    camera_to_world: Vec<f32>,
    fov: f32,
}

#[derive(Deserialize)]
struct ReadKey {
    matrix: Value,
    fov: f32,
    properties: Option<Value>,
    #[serde(default)]
    override_transition_enabled: Option<bool>,
    override_transition_sec: Option<f32>,
    time: Option<f32>,
    distance: Option<f32>,
}

/// A camera path from its text.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<PathFile> {
    let file: Read = serde_json::from_str(text).map_err(|e| Error::new(format!("not a camera path: {e}")))?;
    if let Some(other) = file.camera_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("perspective")) {
        let what = format!("its camera_type is \"{other}\"; this version draws perspective views");
        return Err(Error::new(what).remedy("choose Perspective in the viewer and save the path again"));
    }
    let side = |name: &str, value: f64| {
        let fits = (1.0..=f64::from(MAX_SIDE)).contains(&value) && value.fract() == 0.0;
        let wrong = || Error::new(format!("{name} = {value} is not 1 to {MAX_SIDE} pixels"));
        fits.then_some(value as u32).ok_or_else(wrong)
    };
    let size = [side("render_width", file.render_width)?, side("render_height", file.render_height)?];
    if file.camera_path.len() > MAX_FRAMES || file.keyframes.len() > MAX_KEYS {
        let what = format!("{} cameras and {} keys are too many", file.camera_path.len(), file.keyframes.len());
        return Err(Error::new(what).remedy(format!("use at most {MAX_FRAMES} and {MAX_KEYS}")));
    }
    let camera = |(i, frame): (usize, &ReadCamera)| {
        let pose = pose(&frame.camera_to_world, true);
        seen(pose, frame.fov, size).map_err(|what| Error::new(format!("camera {i} of camera_path: {what}")))
    };
    let mut cameras = file.camera_path.iter().enumerate().map(camera).collect::<Result<Vec<Camera>>>()?;
    let path = keys(&file, size, cameras.len())?;
    path.check().map_err(|e| Error::new(e.to_string()))?;
    if cameras.is_empty() {
        cameras = path.cameras(size[0], size[1]);
    }
    if cameras.is_empty() {
        return Err(Error::new("there is no camera in it"));
    }
    Ok(PathFile { path, size, cameras })
}

/// The path of the file's keyframes.
fn keys(file: &Read, size: [u32; 2], frames: usize) -> Result<CameraPath> {
    let mut views = Vec::with_capacity(file.keyframes.len());
    for (i, key) in file.keyframes.iter().enumerate() {
        let (numbers, rows): (Vec<f32>, bool) = match &key.matrix {
            Value::String(text) => (serde_json::from_str(text).unwrap_or_default(), false),
            list => (serde_json::from_value(list.clone()).unwrap_or_default(), true),
        };
        let seen = seen(pose(&numbers, rows), key.fov, size);
        views.push(seen.map_err(|what| Error::new(format!("keyframe {i}: {what}")))?);
    }
    let (fps, n) = (file.fps.unwrap_or(CameraPath::default().fps), views.len());
    let last_frame = frames as f32 / fps.max(1.0);
    let total = file.seconds.filter(|s| *s > 0.0).unwrap_or(if frames > 1 { last_frame } else { n as f32 });
    let times = times(file, total);
    let common = common_distance(&views, DISTANCE);
    let of = |((camera, key), time): ((&Camera, &ReadKey), &f32)| {
        Keyframe::of_camera(camera, key.distance.unwrap_or(common), *time)
    };
    let keyframes: Vec<Keyframe> = views.iter().zip(&file.keyframes).zip(&times).map(of).collect();
    let last = times.last().copied().unwrap_or(0.0);
    let seconds = if n == 1 { total.max(last) } else { times.get(n).copied().unwrap_or(total).max(last) };
    Ok(CameraPath { keyframes, fps, seconds, looped: file.is_cycle })
}

/// When the keys are passed, seconds, and for a loop that has its own times when it is closed. Our own times; or those
/// of the newer viewer, from key to key; or those of the older one, shares of the whole; or evenly over it.
fn times(file: &Read, total: f32) -> Vec<f32> {
    let keys = &file.keyframes;
    if let Some(times) = keys.iter().map(|key| key.time).collect::<Option<Vec<f32>>>() {
        return times;
    }
    if let Some(usual) = file.default_transition_sec {
        let step = |key: &ReadKey| {
            let own = key.override_transition_sec.filter(|_| key.override_transition_enabled == Some(true));
            own.unwrap_or(usual)
        };
        let mut times: Vec<f32> = keys.iter().take(1).map(|_| 0.0).collect();
        for key in keys.iter().skip(1) {
            times.push(times.last().copied().unwrap_or(0.0) + step(key));
        }
        if let Some(first) = keys.first().filter(|_| file.is_cycle) {
            times.push(times.last().copied().unwrap_or(0.0) + step(first));
        }
        return times;
    }
    let shares: Option<Vec<f32>> = keys.iter().map(share).collect();
    let rises = |shares: &Vec<f32>| shares.windows(2).all(|pair| pair[1] > pair[0]);
    if let Some(shares) = shares.filter(rises) {
        return shares.iter().map(|share| share * total).collect();
    }
    let gaps = if file.is_cycle { keys.len() } else { keys.len().saturating_sub(1) }.max(1) as f32;
    (0..keys.len()).map(|i| total * i as f32 / gaps).collect()
}

/// The time of the older viewer: `[["FOV", 50], ["NAME", "Camera 0"], ["TIME", 0.5]]`.
fn share(key: &ReadKey) -> Option<f32> {
    let properties: Value = match key.properties.as_ref()? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let pair = properties.as_array()?.iter().find(|pair| pair.get(0).and_then(Value::as_str) == Some("TIME"))?;
    pair.get(1)?.as_f64().map(|share| share as f32)
}

/// The pose of sixteen numbers, row by row or column by column. Which of the two it is shows in the last row, unless the
/// camera stands at the origin; then `rows` says.
fn pose(numbers: &[f32], rows: bool) -> Result<Affine3A, &'static str> {
    let numbers: &[f32; 16] = numbers.try_into().map_err(|_| "its matrix is not 16 numbers")?;
    if !numbers.iter().all(|v| v.is_finite()) {
        return Err("its matrix has something that is no number");
    }
    let plain = |at: [usize; 3]| at.iter().all(|&i| numbers[i].abs() < 1e-6);
    let rows = match (plain([12, 13, 14]), plain([3, 7, 11])) {
        (true, false) => true,
        (false, true) => false,
        (true, true) => rows,
        (false, false) => return Err("its matrix is no pose: the last row is not 0 0 0 1"),
    };
    let matrix = Mat4::from_cols_array(numbers);
    Ok(Affine3A::from_mat4(if rows { matrix.transpose() } else { matrix }))
}

/// The camera of a pose and a vertical field of view in degrees.
fn seen(pose: Result<Affine3A, &'static str>, fov: f32, size: [u32; 2]) -> Result<Camera, &'static str> {
    let world_from_camera = pose?;
    if !straight(&world_from_camera) {
        return Err("the axes of its matrix are no rotation");
    }
    if !(1.2..=171.0).contains(&fov) {
        return Err("its fov is not from 2 to 170 degrees");
    }
    let [width, height] = size;
    let size = vec2(width as f32, height as f32);
    let focal = Vec2::splat(0.5 * size.y / (0.5 * fov.to_radians()).tan());
    Ok(Camera { world_from_camera, width, height, focal, centre: 0.5 * size, distortion: Distortion::default() })
}

/// The same view in a picture of another shape: its vertical field of view stays and pixels stay square.
pub fn fitted(camera: &Camera, [width, height]: [u32; 2]) -> Camera {
    let focal = Vec2::splat(camera.focal.y * height as f32 / camera.height as f32);
    Camera { width, height, focal, centre: 0.5 * vec2(width as f32, height as f32), ..camera.clone() }
}

#[derive(Serialize)]
struct Written {
    default_fov: f32,
    default_transition_sec: f32,
    keyframes: Vec<WrittenKey>,
    camera_type: &'static str,
    render_height: u32,
    render_width: u32,
    fps: f32,
    seconds: f32,
    is_cycle: bool,
    smoothness_value: f32,
    camera_path: Vec<WrittenCamera>,
}

#[derive(Serialize)]
struct WrittenKey {
    matrix: [f32; 16],
    fov: f32,
    aspect: f32,
    override_transition_enabled: bool,
    override_transition_sec: f32,
    time: f32,
    distance: f32,
}

#[derive(Serialize)]
struct WrittenCamera {
    camera_to_world: [f32; 16],
    fov: f32,
    aspect: f32,
}

/// The text of a path for pictures of `size` pixels, as [`parse`] takes it back.
///
/// # Errors
/// When there is no key, or the path cannot be.
pub fn text(path: &CameraPath, size: [u32; 2]) -> Result<String> {
    path.check().map_err(|e| Error::new(e.to_string()))?;
    let (Some(first), Some(last)) = (path.keyframes.first(), path.keyframes.last()) else {
        return Err(Error::new("the path has no key").remedy("add a key first"));
    };
    let aspect = size[0] as f32 / size[1].max(1) as f32;
    let rows = |camera: &Camera| Mat4::from(camera.world_from_camera).transpose().to_cols_array();
    let mut before = if path.looped { last.time - path.seconds } else { first.time - 1.0 };
    let keyframes = path.keyframes.iter().map(|key| {
        let step = (key.time - before).max(APART);
        before = key.time;
        WrittenKey {
            matrix: rows(&key.camera(size[0], size[1])),
            fov: key.fov_y.to_degrees(),
            aspect,
            override_transition_enabled: true,
            override_transition_sec: step,
            time: key.time,
            distance: key.distance,
        }
    });
    let keyframes = keyframes.collect();
    let frame =
        |camera: &Camera| WrittenCamera { camera_to_world: rows(camera), fov: camera.fov_y().to_degrees(), aspect };
    let written = Written {
        default_fov: first.fov_y.to_degrees(),
        default_transition_sec: path.seconds / path.keyframes.len() as f32,
        keyframes,
        camera_type: "perspective",
        render_height: size[1],
        render_width: size[0],
        fps: path.fps,
        seconds: path.seconds,
        is_cycle: path.looped,
        smoothness_value: 0.0,
        camera_path: path.cameras(size[0], size[1]).iter().map(frame).collect(),
    };
    serde_json::to_string(&written).map_err(|e| Error::new(format!("the path cannot be written: {e}")))
}

/// Writes a path, all or nothing.
///
/// # Errors
/// As [`text`], or when the place cannot be written.
pub fn write(file: &Path, path: &CameraPath, size: [u32; 2]) -> Result<()> {
    write_atomically(file, text(path, size).map_err(|e| e.file(file))?.as_bytes())
}

#[cfg(test)]
#[path = "nerfstudio/tests.rs"]
mod tests;
