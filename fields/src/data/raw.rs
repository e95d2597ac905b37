//! What a reader of one layout hands on: frames as the files describe them, in double precision and the dataset's own
//! coordinates, before any picture is decoded.

use std::io::Read;
use std::path::{Path, PathBuf};

use glam::{DAffine3, DMat3, DQuat, DVec2, DVec3};
use retort_shaders::Distortion;

use super::{Layout, Split};
use crate::error::{Error, Result};

/// A dataset as its files describe it.
#[derive(Debug)]
pub struct Raw {
    /// How it was written.
    pub layout: Layout,
    /// The frames whose photos exist.
    pub frames: Vec<RawFrame>,
    /// Sparse points in dataset coordinates.
    pub points: Vec<(DVec3, [u8; 3])>,
    /// One line for each frame that was left out.
    pub skipped: Vec<String>,
    /// What the files say about the extent of the scene.
    pub extent: Extent,
    /// Whether the dataset's axes are arbitrary (COLMAP, LLFF), so that the cameras' mean up should become +Z.
    pub level: bool,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct RawFrame {
    /// Unique name.
    pub name: String,
    /// The photo's file, which exists.
    pub path: PathBuf,
    /// The mask's file, which exists.
    pub mask: Option<PathBuf>,
    /// OpenGL camera (-Z forward, +Y up) to the dataset's coordinates; rigid.
    pub world_from_camera: DAffine3,
    /// The lens.
    pub intrinsics: Intrinsics,
    /// The split that the files give it.
    pub split: Option<Split>,
    /// Nearest and farthest content, dataset units.
    pub near_far: Option<[f64; 2]>,
}

/// What the files say about the extent of the scene, in dataset coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Blender synthetic: the object is in `[-1.5, 1.5]^3`.
    Blender,
    /// instant-ngp's box: `aabb_scale` times a cube of half edge `half` about `centre`.
    Box {
        /// Centre of the box.
        centre: DVec3,
        /// Half edge at `aabb_scale` 1.
        half: f64,
        /// More than 1: the scene goes on beyond the object.
        aabb_scale: f64,
    },
    /// Nothing said.
    Unknown,
}

/// A lens as declared: in pixels of the declared size, or as an angle of whatever size the photo has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    /// Declared width and height; none: those of the photo.
    pub size: Option<DVec2>,
    /// Focal lengths along x and y; at least one, and square pixels where there is only one.
    pub focal: [Option<Focal>; 2],
    /// Principal point along x and y, pixels; none: the middle.
    pub centre: [Option<f64>; 2],
    /// The lens.
    pub distortion: Distortion,
}

/// A focal length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Focal {
    /// In pixels.
    Pixels(f64),
    /// As the full field of view in radians.
    Angle(f64),
}

impl Focal {
    /// In pixels, for an edge of `size` pixels.
    pub fn pixels(self, size: f64) -> f64 {
        match self {
            Self::Pixels(f) => f,
            Self::Angle(a) => 0.5 * size / (0.5 * a).tan(),
        }
    }

    /// # Errors
    /// A length that is not positive, or an angle outside `(0, pi)`.
    pub fn check(self) -> Result<Self> {
        let good = match self {
            Self::Pixels(f) => f.is_finite() && f > 0.0,
            Self::Angle(a) => a > 0.0 && a < std::f64::consts::PI,
        };
        good.then_some(self).ok_or_else(|| Error::new(format!("impossible focal length or field of view {self:?}")))
    }
}

impl Intrinsics {
    /// # Errors
    /// When a value is not finite, no focal length is given, or a size or focal length not positive.
    pub fn check(self) -> Result<Self> {
        if self.focal == [None, None] {
            return Err(Error::new("no focal length").remedy("add fl_x (pixels) or camera_angle_x (radians)"));
        }
        for focal in self.focal.into_iter().flatten() {
            focal.check()?;
        }
        if self.size.is_some_and(|s| !(s.is_finite() && s.min_element() >= 1.0 && s.max_element() <= 1e6)) {
            return Err(Error::new(format!("impossible picture size {:?}", self.size)));
        }
        let d = self.distortion;
        let all = [d.k1, d.k2, d.k3, d.k4, d.p1, d.p2].into_iter().map(f64::from);
        if !all.chain(self.centre.into_iter().flatten()).all(f64::is_finite) {
            return Err(Error::new("a principal point or lens coefficient is not a finite number"));
        }
        Ok(self)
    }
}

/// A rigid transform from a matrix that a file gives: finite, no reflection, no scale or shear beyond rounding (1 %).
/// The rounding is removed, so that what comes out is exactly a rotation.
///
/// # Errors
/// When the matrix is anything else.
pub fn rigid(matrix: DMat3, translation: DVec3) -> Result<DAffine3> {
    // Beyond 1e15 units a double no longer tells neighbouring cameras apart.
    if !matrix.is_finite() || translation.abs().max_element() > 1e15 || !translation.is_finite() {
        return Err(Error::new("the pose holds a NaN, an infinity or a position beyond all bounds")
            .remedy("run the reconstruction or export again"));
    }
    let error = matrix.transpose() * matrix - DMat3::IDENTITY;
    let worst = error.to_cols_array().into_iter().fold(0.0_f64, |m, e| m.max(e.abs()));
    if worst > 0.02 || matrix.determinant() < 0.0 {
        return Err(Error::new("the pose is not a rotation and a translation (it scales, shears or mirrors)")
            .remedy("export camera-to-world poses without scale, right-handed"));
    }
    Ok(DAffine3::from_rotation_translation(DQuat::from_mat3(&matrix).normalize(), translation))
}

/// The file of the photo that a dataset calls `name`, relative to `folder`: as it stands, or with an extension added.
pub fn find_photo(folder: &Path, name: &str) -> Option<PathBuf> {
    let candidates = [name.to_owned(), name.replace('\\', "/")];
    candidates.iter().map(|n| folder.join(n)).find_map(|base| {
        if base.is_file() {
            return Some(base);
        }
        ["png", "jpg", "jpeg", "PNG", "JPG", "JPEG"].iter().find_map(|extension| {
            let mut with = base.clone().into_os_string();
            with.push(".");
            with.push(extension);
            let with = PathBuf::from(with);
            with.is_file().then_some(with)
        })
    })
}

/// The folder that a file is in.
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The first `n` bytes of a file, fewer when it is shorter.
///
/// # Errors
/// When it cannot be read.
pub fn head(file: &Path, n: u64) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| Error::io(file, &e))?;
    opened.take(n).read_to_end(&mut head).map_err(|e| Error::io(file, &e))?;
    Ok(head)
}
