//! Posed photos in: Blender synthetic, `transforms.json`, COLMAP (binary and text) and LLFF, as one [`Dataset`].
//!
//! A reader of one layout ([`blender`], [`transforms`], [`colmap`], [`llff`]) only finds frames: file, pose, lens, split.
//! What all of them need follows here once: count the memory, decode in parallel, fit the intrinsics to the pictures
//! that are really there, normalise the scene ([`normalise`]) and refuse what cannot be trained from.

mod assemble;
pub mod blender;
pub mod colmap;
pub mod llff;
pub mod normalise;
pub mod photo;
pub mod procedural;
pub mod raw;
pub mod rays;
pub mod transforms;
pub mod undistort;

use std::path::{Path, PathBuf};

pub use normalise::Similarity;
pub use photo::Pixels;
pub use rays::{RayBatch, draw_rays, photo_rays};
use retort_shaders::{Aabb, Camera};
pub use undistort::undistorted;

use crate::error::{Error, Result};

/// Posed photos of one scene, in scene units.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The photos, ordered by name within each split as the files give it.
    pub photos: Vec<Photo>,
    /// How the dataset was written.
    pub layout: Layout,
    /// From the dataset's own coordinates to scene units.
    pub scene_from_dataset: Similarity,
    /// Whether the scene goes on beyond the unit ball (contraction to radius 2) or lies within `[-1, 1]^3`.
    pub unbounded: bool,
    /// Where the field lives: `[-1, 1]^3`, or `[-2, 2]^3` for the contracted space of an unbounded scene.
    pub bounds: Aabb,
    /// Sparse points of the reconstruction in scene units; empty where the layout has none.
    pub points: Vec<SparsePoint>,
    /// What was named and could not be used, one line each: `"images/0003.jpg: no such file"`.
    pub skipped: Vec<String>,
    /// The file or folder it was read from.
    pub path: PathBuf,
}

/// One photo and where it was taken.
#[derive(Clone, Debug)]
pub struct Photo {
    /// Its name in the dataset, unique: `"train/r_0"`, `"images/0001.jpg"`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its camera in scene units; the size is that of `pixels`.
    pub camera: Camera,
    /// The picture.
    pub pixels: Pixels,
    /// One byte a pixel, row-major; 0 = ignore this pixel.
    pub mask: Option<Vec<u8>>,
    /// What it is for.
    pub split: Split,
    /// The nearest and farthest content along the optical axis in scene units, where the dataset says (LLFF).
    pub near_far: Option<[f32; 2]>,
}

/// What a photo is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Trained on.
    Train,
    /// Held out; the published numbers are on these.
    Test,
    /// Held out, for choosing settings.
    Val,
}

/// How a dataset was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `transforms_train.json`, `transforms_test.json`, `transforms_val.json`.
    Blender,
    /// One `transforms.json` (instant-ngp, nerfstudio).
    Transforms,
    /// `cameras` and `images`, `.bin` or `.txt`.
    Colmap,
    /// `poses_bounds.npy`.
    Llff,
}

/// One point of a sparse reconstruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparsePoint {
    /// Scene units.
    pub position: [f32; 3],
    /// sRGB, 0–255.
    pub colour: [u8; 3],
}

/// How to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where the dataset has no split of its own, the first of every `n` photos by name is a test photo; none: all train.
    pub hold_every: Option<usize>,
    /// Average blocks of this many pixels squared into one; 1 keeps the photos as they are.
    pub downscale: u32,
    /// The most bytes that decoded photos may take, counted before the first is decoded.
    pub limit_bytes: u64,
    /// Load only these splits; empty: all. The normalisation is that of all cameras either way.
    pub only: Vec<Split>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { hold_every: Some(8), downscale: 1, limit_bytes: 4 << 30, only: Vec::new() }
    }
}

impl Dataset {
    /// The photos of one split.
    pub fn split(&self, split: Split) -> Vec<&Photo> {
        self.photos.iter().filter(|p| p.split == split).collect()
    }

    /// The bytes that the photos take in memory, masks included.
    pub fn bytes(&self) -> u64 {
        self.photos.iter().map(|p| p.pixels.bytes() + p.mask.as_ref().map_or(0, Vec::len) as u64).sum()
    }
}

impl Photo {
    /// The pixel in column `x` of row `y`: straight (not premultiplied) sRGB and alpha, `[0, 1]`.
    ///
    /// # Panics
    /// Outside the picture.
    pub fn rgba(&self, x: u32, y: u32) -> [f32; 4] {
        assert!(x < self.camera.width && y < self.camera.height, "pixel ({x}, {y}) is outside the picture");
        self.pixels.rgba(y as usize * self.camera.width as usize + x as usize)
    }

    /// The picture over a plain background, sRGB, `[h * w * 3]`.
    pub fn rgb_over(&self, background: [f32; 3]) -> Vec<f32> {
        let n = self.pixels.len();
        let mut out = Vec::with_capacity(3 * n);
        for i in 0..n {
            let [r, g, b, a] = self.pixels.rgba(i);
            out.extend([r, g, b].iter().zip(background).map(|(c, under)| a * c + (1.0 - a) * under));
        }
        out
    }

    /// Whether the file had an alpha channel (not whether anything in it is transparent).
    pub fn has_alpha(&self) -> bool {
        matches!(self.pixels.channels(), 2 | 4)
    }

    /// Whether the pixel with index `y * width + x` counts.
    pub fn is_used(&self, index: usize) -> bool {
        self.mask.as_ref().is_none_or(|m| m[index] != 0)
    }
}

/// Loads the dataset at `path`: its folder, or the file that describes it. The layout is told by what is there.
///
/// A folder that holds several layouts is read as the first of: a `transforms.json` with its split files, a single
/// `transforms.json`, COLMAP (which knows the lens and sparse points), LLFF. A split that the files give wins over
/// `hold_every`. Naming one split file of a Blender dataset loads that file alone.
///
/// # Errors
/// When nothing is recognised; when a file is missing, cut short, larger than it can be, or holds a pose that is not
/// rigid; when fewer than three photos exist; when the photos exceed `limit_bytes`; when no camera looks at a bounded
/// scene.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Dataset> {
    check_options(options)?;
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
    let raw = if meta.is_dir() { read_folder(path)? } else { read_file(path)? };
    assemble::assemble(raw, path, options).map_err(|e| e.file(path))
}

fn check_options(options: &LoadOptions) -> Result<()> {
    if matches!(options.hold_every, Some(0 | 1)) {
        return Err(Error::new("holding out every photo leaves none to train on").remedy("hold out every 2nd or fewer"));
    }
    if options.downscale == 0 {
        return Err(Error::new("a downscale of 0").remedy("use 1 for full size, 2 for half"));
    }
    Ok(())
}

fn read_folder(folder: &Path) -> Result<raw::Raw> {
    if folder.join("transforms_train.json").is_file() {
        return blender::read(folder);
    }
    let single = folder.join("transforms.json");
    if single.is_file() {
        return transforms::read(&single);
    }
    if let Some(model) = colmap::find_model(folder) {
        return colmap::read(&model);
    }
    let poses = folder.join("poses_bounds.npy");
    if poses.is_file() {
        return llff::read(&poses);
    }
    Err(Error::new("no posed photos found here")
        .file(folder)
        .remedy("expected transforms_train.json, transforms.json, sparse/0/cameras.bin (or .txt), or poses_bounds.npy"))
}

fn read_file(file: &Path) -> Result<raw::Raw> {
    let name = file.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let folder = raw::folder_of(file);
    let head = raw::head(file, 8)?;
    if head.starts_with(b"\x93NUMPY") {
        llff::read(file)
    } else if ["cameras.bin", "cameras.txt", "images.bin", "images.txt"].contains(&name.as_str()) {
        colmap::read(&folder)
    } else if head.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
        || Path::new(&name).extension().is_some_and(|e| e == "json")
    {
        transforms::read(file)
    } else {
        Err(Error::new("not a description of posed photos")
            .file(file)
            .remedy("give a folder, a transforms.json, a COLMAP cameras.bin or a poses_bounds.npy"))
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bad;
