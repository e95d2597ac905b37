//! `transforms.json` as instant-ngp and nerfstudio write it: camera-to-world matrices in OpenGL axes (x right, y up,
//! looking along -Z), intrinsics for all frames with overrides in a frame, distortion, masks and `aabb_scale`.

use std::collections::HashSet;
use std::path::Path;

use glam::{DAffine3, DMat3, DVec2, DVec3, dvec3};
use retort_shaders::Distortion;
use serde::Deserialize;

use super::raw::{Extent, Focal, Intrinsics, Raw, RawFrame, find_photo, folder_of, rigid};
use super::{Layout, Split};
use crate::error::{Error, Result};

/// More than any dataset of ours needs; a larger file is not a list of frames.
const LARGEST_FILE: u64 = 512 << 20;

/// The file. Unknown keys are passed over: every tool adds its own.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    #[serde(flatten)]
    pub lens: Lens,
    pub aabb_scale: Option<f64>,
    /// instant-ngp: dataset units to its unit cube, 0.33 where not said.
    pub scale: Option<serde_json::Value>,
    /// instant-ngp: where the dataset's origin lies in its unit cube, 0.5 where not said.
    pub offset: Option<serde_json::Value>,
    pub frames: Vec<Frame>,
    #[serde(default)]
    pub train_filenames: Vec<String>,
    #[serde(default)]
    pub test_filenames: Vec<String>,
    #[serde(default)]
    pub val_filenames: Vec<String>,
}

/// One frame.
#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    pub file_path: String,
    pub transform_matrix: Vec<Vec<f64>>,
    pub mask_path: Option<String>,
    #[serde(flatten)]
    pub lens: Lens,
}

/// What can be said of a lens, for all frames or for one.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Lens {
    pub w: Option<f64>,
    pub h: Option<f64>,
    pub fl_x: Option<f64>,
    pub fl_y: Option<f64>,
    pub camera_angle_x: Option<f64>,
    pub camera_angle_y: Option<f64>,
    pub cx: Option<f64>,
    pub cy: Option<f64>,
    pub k1: Option<f32>,
    pub k2: Option<f32>,
    pub k3: Option<f32>,
    pub k4: Option<f32>,
    pub p1: Option<f32>,
    pub p2: Option<f32>,
    pub is_fisheye: Option<bool>,
    pub camera_model: Option<String>,
}

impl Lens {
    /// The focal lengths along x and y that this level states.
    fn focal(&self) -> [Option<Focal>; 2] {
        let one = |f: Option<f64>, a: Option<f64>| f.map(Focal::Pixels).or(a.map(Focal::Angle));
        [one(self.fl_x, self.camera_angle_x), one(self.fl_y, self.camera_angle_y)]
    }

    /// This lens with what `frame` says instead.
    ///
    /// # Errors
    /// When the model is not supported, no focal length is given, or a value is impossible.
    pub(super) fn with(&self, frame: &Self) -> Result<Intrinsics> {
        // A frame that states its own length along x has square pixels unless it says otherwise.
        let focal = match (frame.focal(), self.focal()) {
            ([Some(x), y], _) => [Some(x), y],
            ([None, own], [x, y]) => [x, own.or(y)],
        };
        let size = match (frame.w.or(self.w), frame.h.or(self.h)) {
            (Some(w), Some(h)) => Some(DVec2::new(w, h)),
            _ => None,
        };
        let k = |own: Option<f32>, all: Option<f32>| own.or(all).unwrap_or(0.0);
        let distortion = Distortion {
            k1: k(frame.k1, self.k1),
            k2: k(frame.k2, self.k2),
            k3: k(frame.k3, self.k3),
            k4: k(frame.k4, self.k4),
            p1: k(frame.p1, self.p1),
            p2: k(frame.p2, self.p2),
            fisheye: self.fisheye(frame)?,
        };
        let centre = [frame.cx.or(self.cx), frame.cy.or(self.cy)];
        Intrinsics { size, focal, centre, distortion }.check()
    }

    fn fisheye(&self, frame: &Self) -> Result<bool> {
        let model = frame.camera_model.as_ref().or(self.camera_model.as_ref()).map(String::as_str);
        match model {
            None => Ok(frame.is_fisheye.or(self.is_fisheye).unwrap_or(false)),
            Some("OPENCV_FISHEYE") => Ok(true),
            Some("PINHOLE" | "SIMPLE_PINHOLE" | "OPENCV" | "SIMPLE_RADIAL" | "RADIAL") => Ok(false),
            Some(other) => Err(Error::new(format!("camera_model {other:?} is not supported"))
                .remedy("undistort the photos to PINHOLE, OPENCV or OPENCV_FISHEYE")),
        }
    }
}

/// Reads a `transforms.json` (of any name) as a dataset of its own.
///
/// # Errors
/// As [`super::load`].
pub fn read(path: &Path) -> Result<Raw> {
    let file = parse(path)?;
    let mut raw = Raw {
        layout: Layout::Transforms,
        frames: Vec::new(),
        points: Vec::new(),
        skipped: Vec::new(),
        extent: extent(&file).map_err(|e| e.file(path))?,
        level: false,
    };
    add_frames(&file, path, None, &mut raw)?;
    Ok(raw)
}

/// Parses the file.
pub(super) fn parse(path: &Path) -> Result<File> {
    let length = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
    if length > LARGEST_FILE {
        return Err(Error::new(format!("{length} bytes is too long for a list of frames")).file(path));
    }
    let text = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    serde_json::from_slice(&text).map_err(|e| {
        let remedy = if e.is_eof() {
            "the file is cut short: copy or write it again"
        } else {
            "expected a transforms.json of instant-ngp, nerfstudio or Blender, with plain finite numbers"
        };
        Error::new(e.to_string()).file(path).remedy(remedy)
    })
}

/// instant-ngp places dataset point `x` at `x * scale + offset` in its unit cube.
pub(super) fn extent(file: &File) -> Result<Extent> {
    let Some(aabb_scale) = file.aabb_scale else { return Ok(Extent::Unknown) };
    // Other tools use these two keys for things of their own; what does not have instant-ngp's shape is passed over.
    let scale = file.scale.as_ref().and_then(serde_json::Value::as_f64).unwrap_or(0.33);
    let offset = file.offset.clone().and_then(|o| serde_json::from_value::<[f64; 3]>(o).ok());
    let offset = offset.map_or(DVec3::splat(0.5), DVec3::from);
    if !(scale.is_finite() && scale > 0.0 && aabb_scale.is_finite() && aabb_scale > 0.0 && offset.is_finite()) {
        return Err(Error::new(format!("impossible aabb_scale {aabb_scale} or scale {scale}")));
    }
    Ok(Extent::Box { centre: (DVec3::splat(0.5) - offset) / scale, half: 0.5 / scale, aabb_scale })
}

/// Adds the frames whose photos exist; `split` is that of the whole file.
pub(super) fn add_frames(file: &File, path: &Path, split: Option<Split>, raw: &mut Raw) -> Result<()> {
    let folder = folder_of(path);
    if file.frames.is_empty() {
        return Err(Error::new("frames is empty").file(path).remedy("a scene needs at least three posed photos"));
    }
    let sets = [
        (Split::Train, file.train_filenames.iter().map(|n| plain(n)).collect::<HashSet<_>>()),
        (Split::Test, file.test_filenames.iter().map(|n| plain(n)).collect()),
        (Split::Val, file.val_filenames.iter().map(|n| plain(n)).collect()),
    ];
    let has_sets = sets.iter().any(|(_, s)| !s.is_empty());
    for (i, frame) in file.frames.iter().enumerate() {
        let name = plain(&frame.file_path).to_owned();
        let at = |e: Error| Error { what: format!("frame {i} ({name}): {}", e.what), ..e }.file(path);
        // Checked for every frame, so that a broken file is refused whether or not the photo happens to be there.
        let world_from_camera = pose(&frame.transform_matrix).map_err(at)?;
        let intrinsics = file.lens.with(&frame.lens).map_err(at)?;
        let Some(photo) = find_photo(&folder, &frame.file_path) else {
            raw.skipped.push(format!("{name}: no such file"));
            continue;
        };
        let mask = frame.mask_path.as_ref().map(|m| find_photo(&folder, m).ok_or(m));
        let mask = match mask.transpose() {
            Ok(mask) => mask,
            Err(missing) => {
                raw.skipped.push(format!("{name}: its mask {missing} is missing"));
                continue;
            }
        };
        let own = sets.iter().find(|(_, s)| s.contains(name.as_str())).map(|(s, _)| *s);
        if has_sets && own.is_none() {
            raw.skipped.push(format!("{name}: in none of train_filenames, test_filenames, val_filenames"));
            continue;
        }
        let split = split.or(own);
        raw.frames.push(RawFrame { name, path: photo, mask, world_from_camera, intrinsics, split, near_far: None });
    }
    Ok(())
}

/// `./train/r_0` is `train/r_0`.
fn plain(name: &str) -> &str {
    name.trim_start_matches("./")
}

/// A `[3, 4]` or `[4, 4]` row-major camera-to-world matrix.
fn pose(rows: &[Vec<f64>]) -> Result<DAffine3> {
    let shape =
        || format!("transform_matrix has {} rows of {:?}", rows.len(), rows.iter().map(Vec::len).collect::<Vec<_>>());
    if !(3..=4).contains(&rows.len()) || rows.iter().any(|r| r.len() != 4) {
        return Err(Error::new(shape()).remedy("expected 4 rows of 4 numbers"));
    }
    if rows.len() == 4 && rows[3].iter().zip([0.0, 0.0, 0.0, 1.0]).any(|(a, b)| a.is_nan() || (a - b).abs() > 1e-4) {
        return Err(Error::new("the last row of transform_matrix is not 0 0 0 1").remedy("is it transposed?"));
    }
    let column = |c: usize| dvec3(rows[0][c], rows[1][c], rows[2][c]);
    rigid(DMat3::from_cols(column(0), column(1), column(2)), column(3))
}
