//! LLFF (Mildenhall et al. 2019): `poses_bounds.npy`, `[n, 17]`, and photos in `images/`, matched by order of name.
//!
//! A row is a `[3, 5]` matrix, row-major, then the near and far depth. The columns of the matrix are the camera's down,
//! right and back axes and its position in the world, then height, width and focal length in pixels.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use glam::{DMat3, DVec2, dvec3};
use npyz::{DType, NpyFile, Order, TypeChar};
use retort_shaders::Distortion;

use super::Layout;
use super::raw::{Extent, Focal, Intrinsics, Raw, RawFrame, folder_of, rigid};
use crate::error::{Error, Result};

const ROW: usize = 17;

/// Reads a `poses_bounds.npy` and finds the photos beside it.
///
/// # Errors
/// As [`super::load`]; also when there are not as many photos as rows, since only their order matches them.
pub fn read(path: &Path) -> Result<Raw> {
    let rows = rows(path)?;
    let n = rows.len() / ROW;
    let photos = photos(&folder_of(path), n).map_err(|e| e.file(path))?;
    let mut raw = Raw {
        layout: Layout::Llff,
        frames: Vec::with_capacity(n),
        points: Vec::new(),
        skipped: Vec::new(),
        extent: Extent::Unknown,
        level: true,
    };
    for (i, (row, photo)) in rows.chunks_exact(ROW).zip(photos).enumerate() {
        let at = |e: Error| Error { what: format!("row {i}: {}", e.what), ..e }.file(path);
        raw.frames.push(frame(row, photo).map_err(at)?);
    }
    Ok(raw)
}

fn frame(row: &[f64], path: PathBuf) -> Result<RawFrame> {
    let column = |c: usize| dvec3(row[c], row[5 + c], row[10 + c]);
    let (down, right, back, position, lens) = (column(0), column(1), column(2), column(3), column(4));
    let world_from_camera = rigid(DMat3::from_cols(right, -down, back), position)?;
    let (near, far) = (row[15], row[16]);
    if !(near.is_finite() && far.is_finite() && near > 0.0 && near < far) {
        return Err(
            Error::new(format!("impossible depth bounds {near} to {far}")).remedy("run the reconstruction again")
        );
    }
    let intrinsics = Intrinsics {
        size: Some(DVec2::new(lens.y, lens.x)),
        focal: [Some(Focal::Pixels(lens.z)), None],
        centre: [None, None],
        distortion: Distortion::default(),
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(RawFrame {
        name,
        path,
        mask: None,
        world_from_camera,
        intrinsics: intrinsics.check()?,
        split: None,
        near_far: Some([near, far]),
    })
}

/// The numbers of the file, `[n * 17]`.
fn rows(path: &Path) -> Result<Vec<f64>> {
    let damaged = |e: std::io::Error| {
        Error::new(format!("not a readable .npy file: {e}"))
            .file(path)
            .remedy("copy it or run the reconstruction again")
    };
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
    let npy = NpyFile::new(BufReader::new(file)).map_err(damaged)?;
    let shape = npy.shape().to_vec();
    if !matches!(shape[..], [n, columns] if n > 0 && columns == ROW as u64) || npy.order() != Order::C {
        let what = format!("an array of shape {shape:?}, not [n, 17] in row-major order");
        return Err(Error::new(what).file(path).remedy("write poses_bounds.npy with LLFF's imgs2poses"));
    }
    let bytes = match npy.dtype() {
        DType::Plain(t) if t.type_char() == TypeChar::Float => t.size_field(),
        _ => 0,
    };
    if !matches!(bytes, 4 | 8) {
        return Err(Error::new("numbers that are neither f32 nor f64").file(path).remedy("save it as float64"));
    }
    // Before any memory is taken: a header may declare anything.
    if shape[0].checked_mul(ROW as u64 * bytes).is_none_or(|declared| declared > length) {
        let what = format!("{} rows are declared in {length} bytes of file", shape[0]);
        return Err(Error::new(what).file(path).remedy("the file is cut short: copy it again"));
    }
    if bytes == 8 {
        npy.into_vec::<f64>().map_err(damaged)
    } else {
        npy.into_vec::<f32>().map_err(damaged).map(|v| v.into_iter().map(f64::from).collect())
    }
}

/// The `n` photos by name, of the largest copy that has as many.
fn photos(folder: &Path, n: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in ["images", "images_2", "images_4", "images_8"] {
        let inside = std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten().map(|e| e.path());
        let mut photos: Vec<PathBuf> = inside.filter(|p| is_photo(p)).collect();
        if photos.len() == n {
            photos.sort();
            return Ok(photos);
        }
        if !photos.is_empty() {
            found.push(format!("{} in {name}/", photos.len()));
        }
    }
    let found = if found.is_empty() { "none in images/".to_owned() } else { found.join(", ") };
    Err(Error::new(format!("{n} poses, but {found} photos"))
        .remedy("put back the photos that the poses were computed for: only their order matches them"))
}

fn is_photo(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    matches!(extension.as_str(), "png" | "jpg" | "jpeg")
}
