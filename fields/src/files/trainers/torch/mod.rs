//! A restricted reader of PyTorch's checkpoints (`.pth`, `.th`, `.pt`, `.ckpt`).
//!
//! Such a file is a Python pickle, which is a program: whoever loads one with Python runs it. Here it is read as data. A
//! stack machine ([`pickle`]) makes lists, dictionaries, texts, numbers and tensors; the few functions that torch and
//! numpy need to name are on a list ([`known`]), rebuilt from their documented arguments; a file that names any other is
//! refused by that name, before anything of it is looked at. Tensors are not read until they are asked for, and then only
//! after shape, strides and type agree with what the file holds.
//!
//! The layout is that of `torch/serialization.py`, version 2.15, and of older ones since 0.4.

mod known;
mod legacy;
mod pickle;
#[cfg(test)]
mod tests;
mod value;
#[cfg(test)]
pub(super) mod written;
mod zip;

use std::collections::HashMap;

pub use value::{Dtype, TensorRef, Value, first_of, shown};

use self::value::{Id, Tree};
use crate::error::{Error, Result};
use crate::files::splats::Source;

/// The longest pickle: tensors are beside it, so that of the largest models has a few megabytes.
const MOST_PICKLE: u64 = 64 << 20;

/// Where a storage lies in the file.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    bytes: u64,
}

/// A checkpoint whose tensors have not been read yet.
pub struct Checkpoint {
    tree: Tree,
    root: Id,
    parts: HashMap<String, Part>,
}

/// Whether a file that begins with `head` (a few hundred bytes of it, or all) is one of torch's.
pub fn recognises(head: &[u8]) -> bool {
    // The pickle is the first member; the name follows 30 bytes of a header, its length stands in the 27th.
    let name = head.get(26..28).map(|n| usize::from(u16::from_le_bytes([n[0], n[1]])));
    let name = name.and_then(|length| head.get(30..30 + length));
    let zip = head.starts_with(b"PK\x03\x04") && name.is_some_and(|n| n == b"data.pkl" || n.ends_with(b"/data.pkl"));
    zip || head.starts_with(legacy::MAGIC)
}

impl Checkpoint {
    /// Reads a file but for its tensors. It takes at most about fifty times the memory of its pickle, which is at most
    /// 64 MiB.
    ///
    /// # Errors
    /// When it is not one of torch's, is cut short or damaged, or asks for anything but tensors and plain values.
    pub fn open(source: &mut Source<'_>) -> Result<Self> {
        let head = source.head(legacy::MAGIC.len())?;
        if head.starts_with(legacy::MAGIC) {
            let (tree, root, parts) = legacy::parts(source)?;
            return Ok(Self { tree, root, parts });
        }
        if !head.starts_with(b"PK") {
            let what = "not a checkpoint of torch, or one from before version 0.4";
            return Err(Error::new(what).remedy("load it with Python and save it again with torch.save"));
        }
        let (text, parts) = zip::parts(source)?;
        let (tree, root, _) = pickle::read(&text)?;
        Ok(Self { tree, root, parts })
    }

    /// What was saved.
    pub fn root(&self) -> Value<'_> {
        Value { tree: &self.tree, id: self.root }
    }

    /// The elements of a tensor in row-major order, as single precision. It takes three times the memory of its elements.
    ///
    /// # Errors
    /// When the file is cut short, or the storage is smaller than was said.
    pub fn read_f32(&self, source: &mut Source<'_>, tensor: &TensorRef) -> Result<Vec<f32>> {
        let bytes = self.elements(source, tensor)?;
        if tensor.dtype == Dtype::F32 {
            return Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        Ok(bytes.chunks_exact(tensor.dtype.size()).map(|b| tensor.dtype.value(b) as f32).collect())
    }

    /// The elements of a tensor of whole numbers in row-major order.
    ///
    /// # Errors
    /// As [`Checkpoint::read_f32`], and when they are fractions.
    pub fn read_whole(&self, source: &mut Source<'_>, tensor: &TensorRef) -> Result<Vec<i64>> {
        if tensor.dtype.is_float() {
            return Err(Error::new(format!("a tensor of {:?} where whole numbers belong", tensor.dtype)));
        }
        let bytes = self.elements(source, tensor)?;
        Ok(bytes.chunks_exact(tensor.dtype.size()).map(|b| tensor.dtype.whole(b)).collect())
    }

    /// The elements of a tensor in row-major order, as they are in the file: little endian.
    ///
    /// # Errors
    /// As [`Checkpoint::read_f32`].
    pub fn elements(&self, source: &mut Source<'_>, tensor: &TensorRef) -> Result<Vec<u8>> {
        let (start, size) = (self.start_of(tensor)?, tensor.dtype.size());
        // Within the storage, which is within the file: no sum here can be too large.
        source.seek(start + (tensor.first * size) as u64)?;
        let bytes = source.exactly((tensor.span * size) as u64)?;
        if tensor.is_contiguous() {
            return Ok(bytes);
        }
        Ok(tensor.places().flat_map(|at| bytes[at * size..][..size].iter().copied()).collect())
    }

    /// Whether the file holds the storage of a tensor whole: then its shape can be believed.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, tensor: &TensorRef) -> Result<()> {
        self.start_of(tensor).map(drop)
    }

    /// Where the storage of a tensor begins in the file, which holds all of it.
    fn start_of(&self, tensor: &TensorRef) -> Result<u64> {
        let storage = self.tree.storages.get(tensor.storage);
        let storage = storage.ok_or_else(|| Error::new("a tensor without a storage"))?;
        let size = storage.dtype.size();
        let lies = |has: u64| {
            let what = format!(
                "its storage {} should have {} values of {size} bytes, and has {has} bytes",
                shown(&storage.key),
                storage.elements
            );
            Error::new(what).remedy("the file is cut short or damaged: copy or download it again")
        };
        let part = self.parts.get(&storage.key).ok_or_else(|| lies(0))?;
        if storage.elements.checked_mul(size).is_none_or(|need| need as u64 > part.bytes) {
            return Err(lies(part.bytes));
        }
        Ok(part.start)
    }
}
