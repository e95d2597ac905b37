//! COLMAP's sparse models, binary and text (Schönberger and Frahm 2016): cameras, posed images and, where present,
//! points.
//!
//! A pose in the file takes world to camera, a quaternion `w, x, y, z` and a translation, in `OpenCV` axes (x right, y
//! down, looking along +Z): `x_camera = R x_world + t`. Ours is the inverse, with y and z turned over.

mod binary;
mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use glam::{DAffine3, DMat3, DQuat, DVec2, DVec3};
use retort_shaders::Distortion;

use super::Layout;
use super::raw::{Extent, Focal, Intrinsics, Raw, RawFrame, find_photo, folder_of, rigid};
use crate::error::{Error, Result};

/// A camera of the file: model, size, parameters.
#[derive(Clone, Debug, PartialEq)]
struct Lens {
    id: u32,
    model: Model,
    width: u64,
    height: u64,
    params: Vec<f64>,
}

/// A posed image of the file.
#[derive(Clone, Debug, PartialEq)]
struct Image {
    name: String,
    camera: u32,
    /// `w, x, y, z` of the rotation world to camera.
    rotation: [f64; 4],
    translation: [f64; 3],
}

/// A point of the file.
type Point = (DVec3, [u8; 3]);

/// The camera models that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    SimplePinhole,
    Pinhole,
    SimpleRadial,
    Radial,
    OpenCv,
    OpenCvFisheye,
}

impl Model {
    /// Every model that can be read: its number in binary files, its name in text files, how many parameters it has.
    const ALL: [(Self, i32, &'static str, usize); 6] = [
        (Self::SimplePinhole, 0, "SIMPLE_PINHOLE", 3),
        (Self::Pinhole, 1, "PINHOLE", 4),
        (Self::SimpleRadial, 2, "SIMPLE_RADIAL", 4),
        (Self::Radial, 3, "RADIAL", 5),
        (Self::OpenCv, 4, "OPENCV", 8),
        (Self::OpenCvFisheye, 5, "OPENCV_FISHEYE", 8),
    ];

    fn by_number(number: i32) -> Result<Self> {
        let found = Self::ALL.iter().find(|m| m.1 == number);
        found.map(|m| m.0).ok_or_else(|| Self::unknown(&format!("number {number}")))
    }

    fn by_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|m| m.2 == name);
        found.map(|m| m.0).ok_or_else(|| Self::unknown(name))
    }

    fn unknown(which: &str) -> Error {
        Error::new(format!("camera model {which} is not supported"))
            .remedy("undistort with `colmap image_undistorter`, or use OPENCV or OPENCV_FISHEYE")
    }

    /// How many parameters it has.
    fn arity(self) -> usize {
        Self::ALL.iter().find(|m| m.0 == self).map_or(0, |m| m.3)
    }
}

impl Lens {
    fn intrinsics(&self) -> Result<Intrinsics> {
        let p = &self.params;
        if p.len() != self.model.arity() {
            let what = format!("camera {} has {} parameters, not {}", self.id, p.len(), self.model.arity());
            return Err(Error::new(what));
        }
        let (one_focal, k) = match self.model {
            Model::SimplePinhole | Model::SimpleRadial | Model::Radial => (true, &p[3..]),
            Model::Pinhole | Model::OpenCv | Model::OpenCvFisheye => (false, &p[4..]),
        };
        let k = |i: usize| k.get(i).map_or(0.0, |v| *v as f32);
        let distortion = match self.model {
            Model::OpenCv => Distortion { k1: k(0), k2: k(1), p1: k(2), p2: k(3), ..Default::default() },
            Model::OpenCvFisheye => {
                Distortion { k1: k(0), k2: k(1), k3: k(2), k4: k(3), fisheye: true, ..Default::default() }
            }
            _ => Distortion { k1: k(0), k2: k(1), ..Default::default() },
        };
        let (fy, centre) = if one_focal { (p[0], [p[1], p[2]]) } else { (p[1], [p[2], p[3]]) };
        let intrinsics = Intrinsics {
            size: Some(DVec2::new(self.width as f64, self.height as f64)),
            focal: [Some(Focal::Pixels(p[0])), Some(Focal::Pixels(fy))],
            centre: centre.map(Some),
            distortion,
        };
        intrinsics.check().map_err(|e| Error { what: format!("camera {}: {}", self.id, e.what), ..e })
    }
}

impl Image {
    fn world_from_camera(&self) -> Result<DAffine3> {
        let [w, x, y, z] = self.rotation;
        let q = DQuat::from_xyzw(x, y, z, w);
        let is_unit = (q.length() - 1.0).abs() < 0.02;
        if !is_unit {
            return Err(Error::new("the rotation is not a unit quaternion").remedy("run the reconstruction again"));
        }
        let world_from_cv = DMat3::from_quat(q.normalize()).transpose();
        let position = -(world_from_cv * DVec3::from(self.translation));
        rigid(world_from_cv * DMat3::from_diagonal(DVec3::new(1.0, -1.0, -1.0)), position)
    }
}

/// The folder of a sparse model below (or at) `folder`: that with `cameras` and `images`, `.bin` or `.txt`.
pub fn find_model(folder: &Path) -> Option<PathBuf> {
    let is_model = |f: &Path| ["bin", "txt"].iter().any(|e| pair(f, e));
    let mut places = vec![folder.to_path_buf()];
    for parent in ["sparse", "colmap/sparse"] {
        let parent = folder.join(parent);
        places.push(parent.join("0"));
        places.push(parent.clone());
        // Where the first model is missing (failed, deleted), the next by name.
        let mut others: Vec<PathBuf> =
            std::fs::read_dir(parent).into_iter().flatten().flatten().map(|e| e.path()).collect();
        others.sort();
        places.extend(others);
    }
    places.into_iter().find(|f| is_model(f))
}

fn pair(folder: &Path, extension: &str) -> bool {
    ["cameras", "images"].iter().all(|n| folder.join(n).with_extension(extension).is_file())
}

/// Reads the sparse model in `folder`, and finds the photos near it.
///
/// # Errors
/// As [`super::load`].
pub fn read(folder: &Path) -> Result<Raw> {
    let extension = if pair(folder, "bin") { "bin" } else { "txt" };
    let file = |name: &str| folder.join(name).with_extension(extension);
    let (cameras, images, points) = (file("cameras"), file("images"), file("points3D"));
    let (lenses, posed, points) = if extension == "bin" {
        (binary::cameras(&cameras)?, binary::images(&images)?, optional(&points, binary::points)?)
    } else {
        (text::cameras(&cameras)?, text::images(&images)?, optional(&points, text::points)?)
    };
    let lenses: HashMap<u32, Intrinsics> = lenses
        .iter()
        .map(|l| Ok((l.id, l.intrinsics()?)))
        .collect::<Result<_>>()
        .map_err(|e: Error| e.file(&cameras))?;
    let mut raw = Raw {
        layout: Layout::Colmap,
        frames: Vec::with_capacity(posed.len()),
        points,
        skipped: Vec::new(),
        extent: Extent::Unknown,
        level: true,
    };
    if posed.is_empty() {
        return Err(Error::new("no posed images").file(&images).remedy("run the reconstruction again"));
    }
    let photos = photo_folder(folder, &posed);
    for image in posed {
        let at = |e: Error| Error { what: format!("{}: {}", image.name, e.what), ..e }.file(&images);
        let world_from_camera = image.world_from_camera().map_err(at)?;
        let unknown = || at(Error::new(format!("camera {} is not in {}", image.camera, cameras.display())));
        let intrinsics = *lenses.get(&image.camera).ok_or_else(unknown)?;
        let Some(path) = photos.as_ref().and_then(|f| find_photo(f, &image.name)) else {
            raw.skipped.push(format!("{}: no such file", image.name));
            continue;
        };
        let mask = photos.as_ref().and_then(|f| mask_of(f, &image.name));
        let name = image.name;
        raw.frames.push(RawFrame { name, path, mask, world_from_camera, intrinsics, split: None, near_far: None });
    }
    Ok(raw)
}

fn optional(path: &Path, read: impl Fn(&Path) -> Result<Vec<Point>>) -> Result<Vec<Point>> {
    if path.is_file() { read(path) } else { Ok(Vec::new()) }
}

/// The folder that the image names are relative to: the first place, from the model's folder upwards, that has a file
/// of those names. Smaller copies (`images_2`) serve where the full size is not there.
fn photo_folder(model: &Path, images: &[Image]) -> Option<PathBuf> {
    let mut roots = vec![model.to_path_buf()];
    for _ in 0..3 {
        let above = roots.last().map(|r| std::path::absolute(r).unwrap_or_else(|_| r.clone())).map(|r| folder_of(&r));
        roots.extend(above);
    }
    let places = roots.iter().flat_map(|root| {
        ["images", "input", "images_2", "images_4", "images_8", "."]
            .map(|n| if n == "." { root.clone() } else { root.join(n) })
    });
    let mut places = places.filter(|p| p.is_dir());
    places.find(|place| images.iter().any(|i| find_photo(place, &i.name).is_some()))
}

/// COLMAP's masks lie in `masks/` beside the photos' folder, as `NAME.EXT.png`; black is ignored.
fn mask_of(photos: &Path, name: &str) -> Option<PathBuf> {
    let file = folder_of(photos).join("masks").join(format!("{name}.png"));
    file.is_file().then_some(file)
}
