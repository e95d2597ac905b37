//! Arrays of `NumPy` in a zip file (`.npz`), as far as svox2 writes them: little-endian numbers in C order.
//!
//! An array is `\x93NUMPY`, two bytes of version, the length of a header, and the header, a Python dictionary of `descr`,
//! `fortran_order` and `shape`. It is taken apart here because its numbers have to be checked before they are multiplied.
//! Nothing is unpickled: an array of objects is refused.

use std::io::{Read, Seek, Write};

use zip::result::ZipError;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::error::{Error, Result};

/// Deflate gives at most this many times what it is given.
const DEFLATE: u64 = 1040;
/// Headers of numbers are 118 bytes, or a multiple of 64 more.
const MAX_HEADER: usize = 1024;
/// Entries that take more than a 32-bit length.
const LARGE: u64 = 0xffff_0000;

/// What the numbers of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
}

impl Number {
    fn of(descr: &str) -> Option<Self> {
        Some(match descr {
            "<f2" => Self::F16,
            "<f4" => Self::F32,
            "<f8" => Self::F64,
            "<i4" => Self::I32,
            "<i8" => Self::I64,
            _ => return None,
        })
    }

    fn descr(self) -> &'static str {
        match self {
            Self::F16 => "<f2",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
        }
    }

    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The number at the beginning of `bytes`; 0 where they are too short.
    #[inline]
    pub fn at(self, bytes: &[u8]) -> f64 {
        match self {
            Self::F16 => bytes.first_chunk().map_or(0.0, |b| half::f16::from_le_bytes(*b).to_f64()),
            Self::F32 => bytes.first_chunk().map_or(0.0, |b| f64::from(f32::from_le_bytes(*b))),
            Self::F64 => bytes.first_chunk().map_or(0.0, |b| f64::from_le_bytes(*b)),
            Self::I32 => bytes.first_chunk().map_or(0.0, |b| f64::from(i32::from_le_bytes(*b))),
            Self::I64 => bytes.first_chunk().map_or(0.0, |b| i64::from_le_bytes(*b) as f64),
        }
    }
}

/// A file of arrays.
pub struct Npz<R> {
    zip: ZipArchive<R>,
}

/// One array, ready to be read.
pub struct Array<R> {
    name: String,
    /// What its numbers are.
    pub number: Number,
    /// Its shape; its product is known to be what is there.
    pub shape: Vec<u64>,
    reader: R,
}

fn damaged(what: String) -> Error {
    Error::new(what).remedy("the file is damaged: copy or download it again")
}

fn zip_error(name: &str, error: &ZipError) -> Error {
    damaged(format!("{name}: {error}"))
}

impl<R: Read + Seek> Npz<R> {
    /// The arrays in `file`.
    ///
    /// # Errors
    /// When it is no zip file, or cut short.
    pub fn open(file: R) -> Result<Self> {
        let zip = ZipArchive::new(file).map_err(|e| damaged(format!("no .npz file, or one that is cut short: {e}")))?;
        Ok(Self { zip })
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.zip.file_names().any(|file| file.strip_suffix(".npy") == Some(name))
    }

    /// The array called `name`; `None` where there is none.
    ///
    /// # Errors
    /// When its header is damaged, or says other than what is there.
    pub fn array(&mut self, name: &str) -> Result<Option<Array<impl Read + '_>>> {
        let mut file = match self.zip.by_name(&format!("{name}.npy")) {
            Err(ZipError::FileNotFound) => return Ok(None),
            other => other.map_err(|e| zip_error(name, &e))?,
        };
        let (size, packed) = (file.size(), file.compressed_size());
        if size > packed.saturating_mul(DEFLATE).saturating_add(64) {
            return Err(damaged(format!("{name}: {size} bytes are said to come out of {packed}")));
        }
        let (text, header) = header(name, &mut file)?;
        let (number, shape) = described(name, &text)?;
        let bytes = shape.iter().try_fold(number.bytes() as u64, |all, n| all.checked_mul(*n));
        if bytes != size.checked_sub(header) {
            let what = format!("{name}: an array of shape {shape:?}, and {} bytes", size.saturating_sub(header));
            return Err(damaged(what));
        }
        Ok(Some(Array { name: name.into(), number, shape, reader: file }))
    }

    /// The array called `name`, which has to be there.
    ///
    /// # Errors
    /// As [`Npz::array`], and when it is missing.
    pub fn needed(&mut self, name: &str) -> Result<Array<impl Read + '_>> {
        self.array(name)?.ok_or_else(|| Error::new(format!("{name} is missing")).remedy("give a file that svox2 saved"))
    }
}

/// The text of an array's header, and how many bytes it takes with all before it.
fn header(name: &str, file: &mut impl Read) -> Result<(String, u64)> {
    let short = |e: std::io::Error| damaged(format!("{name}: {e}"));
    let mut start = [0; 10];
    file.read_exact(&mut start).map_err(short)?;
    let (mut length, mut before) = (u32::from(u16::from_le_bytes([start[8], start[9]])), 10);
    if !start.starts_with(b"\x93NUMPY") || !(1..=3).contains(&start[6]) {
        return Err(damaged(format!("{name}: no array of NumPy")));
    }
    if start[6] > 1 {
        let mut high = [0; 2];
        file.read_exact(&mut high).map_err(short)?;
        (length, before) = (length | u32::from(u16::from_le_bytes(high)) << 16, 12);
    }
    if length as usize > MAX_HEADER {
        return Err(damaged(format!("{name}: a header of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text).map_err(short)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), before + u64::from(length)))
}

/// Numbers and shape that a header says.
fn described(name: &str, text: &str) -> Result<(Number, Vec<u64>)> {
    let unknown = || damaged(format!("{name}: its header is not understood: {}", text.trim()));
    let after = |key: &str| Some(text.split_once(&format!("'{key}':"))?.1.trim_start());
    let descr = after("descr").and_then(|t| t.strip_prefix('\'')?.split('\'').next()).ok_or_else(unknown)?;
    let number = Number::of(descr).ok_or_else(|| {
        Error::new(format!("{name}: its numbers are of type {descr}, which is not read"))
            .remedy("give a file that svox2 saved")
    })?;
    if !after("fortran_order").ok_or_else(unknown)?.starts_with("False") {
        return Err(Error::new(format!("{name}: it is stored in Fortran's order")).remedy("save it with svox2"));
    }
    let shape = after("shape").and_then(|t| t.strip_prefix('(')?.split(')').next()).ok_or_else(unknown)?;
    let numbers = shape.split(',').map(str::trim).filter(|n| !n.is_empty());
    let shape: Option<Vec<u64>> = numbers.map(|n| n.parse().ok()).collect();
    Ok((number, shape.ok_or_else(unknown)?))
}

impl<R: Read> Array<R> {
    /// All its bytes, at most `most`.
    ///
    /// # Errors
    /// When there are more, or fewer than its shape says.
    pub fn bytes(mut self, most: u64) -> Result<Vec<u8>> {
        let count = self.shape.iter().product::<u64>() * self.number.bytes() as u64;
        if count > most {
            return Err(damaged(format!("{}: {count} bytes come out of a file that is too small for it", self.name)));
        }
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        self.end()?;
        Ok(bytes)
    }

    /// Its numbers, at most 16 of them.
    ///
    /// # Errors
    /// As [`Array::bytes`].
    pub fn numbers(self) -> Result<Vec<f64>> {
        let number = self.number;
        let bytes = self.bytes(16 * number.bytes() as u64)?;
        Ok(bytes.chunks_exact(number.bytes()).map(|bytes| number.at(bytes)).collect())
    }

    /// The next bytes.
    ///
    /// # Errors
    /// When it ends too soon or is damaged.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes).map_err(|e| damaged(format!("{}: {e}", self.name)))
    }

    /// Whether that was all: the sum over its bytes is checked where it ends.
    ///
    /// # Errors
    /// When it was not, or it is damaged.
    pub fn end(&mut self) -> Result<()> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged(format!("{}: it is longer than it says", self.name))),
            Err(e) => Err(damaged(format!("{}: {e}", self.name))),
        }
    }
}

/// Writes arrays.
pub struct NpzWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> NpzWriter<W> {
    /// A new file in `out`.
    pub fn new(out: W) -> Self {
        Self { zip: ZipWriter::new(out) }
    }

    /// Adds an array, whose numbers `fill` gives.
    ///
    /// # Errors
    /// When the place is full.
    pub fn add(
        &mut self,
        name: &str,
        number: Number,
        shape: &[usize],
        packed: bool,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        let bytes = shape.iter().map(|n| *n as u64).product::<u64>() * number.bytes() as u64;
        let method = if packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        // A fixed time: equal fields give equal files.
        let options = FileOptions::default().compression_method(method).last_modified_time(DateTime::default());
        let failed = |e: ZipError| Error::new(format!("{name}: {e}"));
        self.zip.start_file(format!("{name}.npy"), options.large_file(bytes > LARGE)).map_err(failed)?;
        let shape: String = match shape {
            [one] => format!("({one},)"),
            more => format!("({})", more.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", number.descr());
        // Magic, version, length, text and a line's end are a multiple of 64 bytes.
        let padding = (64 - (10 + text.len() + 1) % 64) % 64;
        text.extend(std::iter::repeat_n(' ', padding));
        text.push('\n');
        let mut put = |bytes: &[u8]| self.zip.write_all(bytes);
        put(b"\x93NUMPY\x01\x00")
            .and_then(|()| put(&(text.len() as u16).to_le_bytes()))
            .and_then(|()| put(text.as_bytes()))
            .and_then(|()| fill(&mut self.zip))
            .map_err(|e| Error::new(format!("{name}: {e}")))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the place is full.
    pub fn finish(mut self) -> Result<()> {
        let mut out = self.zip.finish().map_err(|e| Error::new(e.to_string()))?;
        out.flush().map_err(|e| Error::new(e.to_string()))
    }
}
