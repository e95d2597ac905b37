//! Meshes of other programs: glTF 2.0 (`.glb`, `.gltf`) and Wavefront `.obj`, as one [`Mesh`] with one texture.
//!
//! A file is recognised by what it holds. What is up in it (+Y in both) becomes our +Z. Memory stays below about 300 bytes
//! for each byte of the files, beyond a fixed part for at most four million vertices and for pictures of at most 2²⁷ pixels.

use std::path::Path;

use super::Mesh;
use crate::error::{Error, Result};

mod accessor;
mod atlas;
mod document;
mod gltf;
mod loose;
mod obj;
mod paint;
mod source;
#[cfg(test)]
mod tests;

/// A mesh that was read.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The triangles of the file, +Z up. Painted by a texture or by colours of the vertices, or not at all where all is white.
    pub mesh: Mesh,
    /// What a person should know of how it was read: `"points and lines are left out"`.
    pub notes: Vec<String>,
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshFormat {
    /// glTF 2.0 in one file.
    Glb,
    /// glTF 2.0 as JSON.
    Gltf,
    /// Wavefront.
    Obj,
}

impl MeshFormat {
    /// Which of them a file is, by its first bytes (a few thousand suffice).
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"glTF") {
            return Some(Self::Glb);
        }
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        if text.trim_ascii_start().starts_with(b"{") {
            let has = |word: &[u8]| text.windows(word.len()).any(|w| w == word);
            return (has(b"\"asset\"") || has(b"\"meshes\"") || has(b"\"accessors\"")).then_some(Self::Gltf);
        }
        obj::looks_like(text).then_some(Self::Obj)
    }
}

/// Reads a mesh file and what it refers to.
///
/// # Errors
/// When it is missing, damaged, compressed, of no format that is read, or holds no triangle.
pub fn read(path: &Path) -> Result<Imported> {
    let about = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
    if !about.is_file() {
        return Err(Error::new("not a plain file").file(path).remedy("name a mesh file"));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    read_bytes(&bytes, path.parent()).map_err(|e| e.file(path))
}

/// Reads a mesh file that is in memory; files that it refers to are looked for in `folder`.
///
/// # Errors
/// As [`read`], and when it refers to files and there is no folder.
pub fn read_bytes(bytes: &[u8], folder: Option<&Path>) -> Result<Imported> {
    let loose = match MeshFormat::of(bytes) {
        Some(MeshFormat::Glb | MeshFormat::Gltf) => gltf::read(bytes, folder)?,
        Some(MeshFormat::Obj) => obj::read(bytes, folder)?,
        None => return Err(Error::new("neither glTF nor OBJ").remedy("export the mesh as .glb")),
    };
    paint::painted(loose)
}
