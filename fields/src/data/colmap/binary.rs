//! COLMAP's binary files: little-endian, no padding, a count and then the records. Every count is compared with the
//! bytes that the file still has before anything is taken for it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use glam::DVec3;

use super::{Image, Lens, Model, Point};
use crate::error::{Error, Result};

/// The fewest bytes of one record in each file.
const CAMERA: u64 = 4 + 4 + 8 + 8 + 3 * 8;
const IMAGE: u64 = 4 + 7 * 8 + 4 + 1 + 8;
const POINT: u64 = 8 + 3 * 8 + 3 + 8 + 8;

/// A file read from front to back, with the bytes that are left.
struct Reader {
    file: BufReader<File>,
    left: u64,
    path: PathBuf,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let left = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        Ok(Self { file: BufReader::with_capacity(1 << 16, file), left, path: path.to_path_buf() })
    }

    fn short(&self, what: &str) -> Error {
        Error::new(format!("{what} goes beyond the end of the file"))
            .file(&self.path)
            .remedy("the file is cut short or damaged: copy it or run the reconstruction again")
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.left = self.left.checked_sub(N as u64).ok_or_else(|| self.short("a record"))?;
        self.file.read_exact(&mut bytes).map_err(|e| Error::io(&self.path, &e))?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn f64s<const N: usize>(&mut self) -> Result<[f64; N]> {
        let mut out = [0.0; N];
        for v in &mut out {
            *v = f64::from_le_bytes(self.take()?);
        }
        Ok(out)
    }

    /// A number of records of at least `size` bytes each.
    fn count(&mut self, size: u64) -> Result<u64> {
        let n = self.u64()?;
        let fits = n.checked_mul(size).is_some_and(|bytes| bytes <= self.left);
        if fits { Ok(n) } else { Err(self.short(&format!("a list of {n} records"))) }
    }

    /// Passes over `n` records of `size` bytes.
    fn skip(&mut self, size: u64) -> Result<()> {
        let bytes = self.count(size)? * size;
        self.left -= bytes;
        let offset = i64::try_from(bytes).map_err(|_| self.short("a list"))?;
        self.file.seek_relative(offset).map_err(|e| Error::io(&self.path, &e))
    }

    /// A text that ends with a zero byte.
    fn text(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        // No file system has longer paths; without a limit a damaged file would be read to its end.
        let limit = self.left.min(1 << 16);
        let n = (&mut self.file).take(limit).read_until(0, &mut bytes).map_err(|e| Error::io(&self.path, &e))?;
        self.left -= n as u64;
        if bytes.pop() != Some(0) {
            return Err(self.short("a name"));
        }
        String::from_utf8(bytes).map_err(|_| Error::new("a name is not UTF-8").file(&self.path))
    }
}

pub(super) fn cameras(path: &Path) -> Result<Vec<Lens>> {
    let mut r = Reader::open(path)?;
    let n = r.count(CAMERA)?;
    let mut out = Vec::new();
    for _ in 0..n {
        let id = r.u32()?;
        let model = Model::by_number(r.take().map(i32::from_le_bytes)?).map_err(|e| e.file(path))?;
        let (width, height) = (r.u64()?, r.u64()?);
        let params = (0..model.arity()).map(|_| r.f64s::<1>().map(|[v]| v)).collect::<Result<_>>()?;
        out.push(Lens { id, model, width, height, params });
    }
    Ok(out)
}

pub(super) fn images(path: &Path) -> Result<Vec<Image>> {
    let mut r = Reader::open(path)?;
    let n = r.count(IMAGE)?;
    let mut out = Vec::new();
    for _ in 0..n {
        let _id = r.u32()?;
        let (rotation, translation, camera, name) = (r.f64s()?, r.f64s()?, r.u32()?, r.text()?);
        // The features seen in the image: x, y and the number of the point.
        r.skip(3 * 8)?;
        out.push(Image { name, camera, rotation, translation });
    }
    Ok(out)
}

pub(super) fn points(path: &Path) -> Result<Vec<Point>> {
    let mut r = Reader::open(path)?;
    let n = r.count(POINT)?;
    let mut out = Vec::new();
    for _ in 0..n {
        let _id = r.u64()?;
        let position = DVec3::from(r.f64s::<3>()?);
        let colour = r.take()?;
        let [_error] = r.f64s()?;
        // The images that see it: image and feature.
        r.skip(2 * 4)?;
        if position.is_finite() {
            out.push((position, colour));
        }
    }
    Ok(out)
}
