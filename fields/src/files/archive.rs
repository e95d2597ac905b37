//! Named tensors, named bytes and one JSON document in a `.safetensors` file: what fields and checkpoints are made of.
//!
//! Every length in the header is checked against the file before memory is taken; writing goes to a temporary file in
//! the same folder, which is synced and then renamed, so that a full disk or a power cut leaves the old file whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use crate::error::{Error, Result};

/// The metadata key of the JSON document. There is one, since the order of several is not kept and equal fields should
/// give equal files.
const KEY: &str = "retort";
/// A header larger than this is not ours.
const MAX_HEADER: u64 = 16 << 20;

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// The document.
    pub json: Value,
    /// Float tensors `[rows, columns]`, row-major, by name.
    pub tensors: Vec<(String, [usize; 2], Vec<f32>)>,
    /// Byte strings by name.
    pub bytes: Vec<(String, Vec<u8>)>,
}

/// The header of a file: names and shapes without values.
#[derive(Clone, Debug)]
pub struct Header {
    /// The document.
    pub json: Value,
    /// Names and shapes of the float tensors.
    pub tensors: Vec<(String, [usize; 2])>,
    /// Size of the file in bytes.
    pub file_bytes: u64,
}

impl Archive {
    /// Removes and returns the tensor called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&mut self, name: &str) -> Result<([usize; 2], Vec<f32>)> {
        let at = self.tensors.iter().position(|(n, ..)| n == name);
        let at =
            at.ok_or_else(|| Error::new(format!("tensor \"{name}\" is missing")).remedy("the file is incomplete"))?;
        let (_, shape, values) = self.tensors.swap_remove(at);
        Ok((shape, values))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When a tensor's values do not fill its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut views = Vec::with_capacity(self.tensors.len() + self.bytes.len());
        let broken = |name: &str, e: safetensors::SafeTensorError| Error::new(format!("tensor \"{name}\": {e}"));
        for (name, shape, values) in &self.tensors {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values));
            views.push((name.as_str(), view.map_err(|e| broken(name, e))?));
        }
        for (name, bytes) in &self.bytes {
            let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes);
            views.push((name.as_str(), view.map_err(|e| broken(name, e))?));
        }
        let metadata = HashMap::from([(KEY.to_string(), self.json.to_string())]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| Error::new(e.to_string()))
    }

    /// Writes the file, all or nothing; returns its size.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let bytes = self.to_bytes().map_err(|e| e.file(path))?;
        write_atomically(path, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is missing, cut short, not ours, or its header disagrees with its length.
    pub fn read(path: &Path) -> Result<Self> {
        // The header is checked against the length first: `fs::read` would believe any file.
        header(path)?;
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
        Self::from_bytes(&bytes).map_err(|e| e.file(path))
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let json = document(metadata.metadata().as_ref())?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut archive = Self { json, ..Self::default() };
        let mut names: Vec<_> = file.names();
        names.sort_unstable();
        for name in names {
            let view = file.tensor(name).map_err(damaged)?;
            match (view.dtype(), view.shape()) {
                (Dtype::F32, &[rows, columns]) => {
                    let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    archive.tensors.push((name.to_string(), [rows, columns], values));
                }
                (Dtype::U8, &[_]) => archive.bytes.push((name.to_string(), view.data().to_vec())),
                (dtype, shape) => {
                    let what = format!("tensor \"{name}\" is {dtype:?} of shape {shape:?}");
                    return Err(Error::new(what).remedy("fields of Retort hold float32 matrices and bytes"));
                }
            }
        }
        Ok(archive)
    }
}

fn damaged(error: safetensors::SafeTensorError) -> Error {
    use safetensors::SafeTensorError as E;
    match error {
        E::HeaderTooSmall | E::InvalidHeaderLength | E::MetadataIncompleteBuffer | E::TensorInvalidInfo => {
            Error::new("the file is cut short or damaged").remedy("copy or download it again")
        }
        E::HeaderTooLarge | E::InvalidHeader(_) | E::InvalidHeaderDeserialization(_) => {
            Error::new("not a safetensors file").remedy("give a field that Retort wrote")
        }
        other => Error::new(other.to_string()).remedy("the file is damaged: copy or download it again"),
    }
}

fn document(metadata: Option<&HashMap<String, String>>) -> Result<Value> {
    let text = metadata.and_then(|m| m.get(KEY));
    let text = text.ok_or_else(|| {
        Error::new("a safetensors file, but not a field of Retort").remedy("give a field that Retort wrote")
    })?;
    serde_json::from_str(text)
        .map_err(|e| Error::new(format!("its description is not JSON: {e}")).remedy("give a field that Retort wrote"))
}

/// Reads the header alone.
///
/// # Errors
/// As [`Archive::read`].
pub fn header(path: &Path) -> Result<Header> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() {
        return Err(Error::new("not a file").file(path).remedy("give a .safetensors file"));
    }
    header_of(file, about.len()).map_err(|e| e.file(path))
}

/// Reads the header alone from the beginning of what is `file_bytes` long, a file in an archive for example.
///
/// # Errors
/// As [`Archive::read`]; no file is named.
pub fn header_of(mut file: impl Read, file_bytes: u64) -> Result<Header> {
    let mut length = [0; 8];
    let short = || Error::new("the file is cut short or damaged").remedy("copy or download it again");
    file.read_exact(&mut length).map_err(|_| short())?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER {
        return Err(Error::new("not a safetensors file").remedy("give a field that Retort wrote"));
    }
    if header_bytes + 8 > file_bytes {
        return Err(short());
    }
    let mut buffer = length.to_vec();
    buffer.resize(8 + header_bytes as usize, 0);
    file.read_exact(&mut buffer[8..]).map_err(|_| short())?;
    let metadata = parse_header(&buffer)?;
    if (8 + header_bytes).saturating_add(metadata.data_len() as u64) != file_bytes {
        return Err(short());
    }
    let mut tensors: Vec<(String, [usize; 2])> = metadata
        .tensors()
        .into_iter()
        .filter_map(|(name, info)| match (info.dtype, info.shape.as_slice()) {
            (Dtype::F32, &[rows, columns]) => Some((name, [rows, columns])),
            _ => None,
        })
        .collect();
    tensors.sort();
    let json = document(metadata.metadata().as_ref())?;
    Ok(Header { json, tensors, file_bytes })
}

/// Parses a header without the data behind it: the library's own reader wants both.
fn parse_header(buffer: &[u8]) -> Result<safetensors::tensor::Metadata> {
    serde_json::from_slice(&buffer[8..])
        .map_err(|_| Error::new("not a safetensors file, or a damaged one").remedy("give a field that Retort wrote"))
}

/// Writes `bytes` to `path`, all or nothing. A link stays one: the file that it leads to is replaced.
///
/// # Errors
/// When the folder is missing or cannot be written, `path` is there and no plain file, or the disk is full; the old
/// file, if any, is still there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, &e)))
}

/// Writes what `fill` puts into a file to `path`, all or nothing, as [`write_atomically`] does.
///
/// # Errors
/// As [`write_atomically`], or what `fill` gives.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let io = |e: &std::io::Error| Error::io(path, e);
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        // Renaming over a device or a pipe would destroy it.
        return Err(Error::new("there is something that is not a plain file").file(path).remedy("name a file"));
    }
    let real = std::fs::canonicalize(path);
    let place = real.as_deref().unwrap_or(path);
    let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".retort-").tempfile_in(folder).map_err(|e| io(&e))?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all().map_err(|e| io(&e))?;
    // Temporary files are private; the result should be as readable as any file made here.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(|e| io(&e))?;
    }
    file.persist(place).map_err(|e| io(&e.error))?;
    Ok(())
}
