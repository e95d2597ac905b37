//! As much of glTF 2.0 as Gaussians need: the container, the document and its accessors.
//!
//! A `.glb` is `"glTF"`, 2 and the length of all (u32), then chunks: length, kind (u32) and bytes. The first is the
//! JSON document, the second the bytes of buffer 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::source::{Source, short};
use crate::error::{Error, Result};

/// The extension.
pub const EXTENSION: &str = "KHR_gaussian_splatting";
const MAGIC: u32 = u32::from_le_bytes(*b"glTF");
const JSON: u32 = u32::from_le_bytes(*b"JSON");
const BIN: u32 = u32::from_le_bytes(*b"BIN\0");
/// A document longer than this is not read, bytes: it grows some forty times in memory.
const MAX_JSON: u64 = 8 << 20;
/// Extensions that a file may require: they change nothing in how Gaussians are stored, or are read.
const KNOWN: [&str; 3] = [EXTENSION, "KHR_mesh_quantization", "KHR_materials_unlit"];

/// glTF's number for 32-bit floats.
pub const FLOAT: u32 = 5126;
/// glTF's number for bytes without sign.
pub const BYTE: u32 = 5121;

/// A document. Here and below, names and meanings of fields are glTF's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    pub asset: Asset,
    // Early, so that it is within the first kilobytes of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions_used: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions_required: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene: Option<usize>,
    pub scenes: Vec<Scene>,
    pub nodes: Vec<Node>,
    pub meshes: Vec<Mesh>,
    pub buffers: Vec<Buffer>,
    pub buffer_views: Vec<View>,
    pub accessors: Vec<Accessor>,
}

/// What wrote it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Asset {
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generator: String,
}

/// Roots of the tree.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scene {
    pub nodes: Vec<usize>,
}

/// A place in the tree.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<usize>,
    /// Column-major.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Box<[f64; 16]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translation: Option<[f64; 3]>,
    /// x, y, z, w.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<[f64; 3]>,
}

/// A list of primitives.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mesh {
    pub primitives: Vec<Primitive>,
}

/// Accessors by name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Primitive {
    pub attributes: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    pub extensions: Extensions,
}

/// Extensions of a primitive, of which one is known.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Extensions {
    #[serde(rename = "KHR_gaussian_splatting", skip_serializing_if = "Option::is_none")]
    pub gaussians: Option<GaussianSplatting>,
}

/// The extension's own object.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GaussianSplatting {
    pub kernel: String,
    pub color_space: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sorting_method: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, serde_json::Value>,
    /// Ours: `{"antialias": true}`, for which the extension has no word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extras: Option<serde_json::Value>,
}

/// Bytes: those of the second chunk, unless there is a `uri`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Buffer {
    pub byte_length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A part of a buffer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct View {
    pub buffer: usize,
    pub byte_offset: u64,
    pub byte_length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_stride: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, serde_json::Value>,
}

/// Numbers in a view.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Accessor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_view: Option<usize>,
    pub byte_offset: u64,
    pub component_type: u32,
    #[serde(skip_serializing_if = "is_false")]
    pub normalized: bool,
    pub count: u64,
    #[serde(rename = "type")]
    pub shape: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparse: Option<serde_json::Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_false(v: &bool) -> bool {
    !v
}

/// Reads the document; the second chunk's place and length come with it.
///
/// # Errors
/// When it is cut short or damaged, too long, or requires what is not known.
pub fn document(source: &mut Source<'_>) -> Result<(Document, [u64; 2])> {
    let bytes = source.bytes();
    source.seek(0)?;
    let number = |source: &mut Source<'_>| -> Result<u32> {
        let mut b = [0; 4];
        source.fill(&mut b)?;
        Ok(u32::from_le_bytes(b))
    };
    let [magic, version, length] = [number(source)?, number(source)?, number(source)?];
    if magic != MAGIC || version != 2 {
        return Err(Error::new("not a binary glTF file of version 2").remedy("give a .glb file"));
    }
    if u64::from(length) > bytes {
        return Err(short());
    }
    let [size, kind] = [number(source)?, number(source)?].map(u64::from);
    if kind != u64::from(JSON) || size > MAX_JSON {
        return Err(damaged(&format!("its first chunk is no document, or one of {size} bytes")));
    }
    let text = source.exactly(size)?;
    let document: Document =
        serde_json::from_slice(&text).map_err(|e| damaged(&format!("its document cannot be read: {e}")))?;
    if let Some(name) = document.extensions_required.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(Error::new(format!("it requires {name}, which is not known")).remedy("export it without"));
    }
    // Meshes without bytes of their own have no second chunk; Gaussians always have one.
    let [size, kind] = [number(source)?, number(source)?].map(u64::from);
    let at = 20 + text.len() as u64 + 8;
    if kind != u64::from(BIN) {
        return Err(damaged("its second chunk is not of bytes"));
    }
    if at + size > bytes {
        return Err(short());
    }
    Ok((document, [at, size]))
}

/// Rows of numbers.
#[derive(Debug)]
pub struct Rows {
    bytes: Vec<u8>,
    stride: usize,
    kind: u32,
    normalized: bool,
    /// Number of rows.
    pub count: usize,
}

impl Document {
    /// Reads what an accessor looks at, `columns` numbers to a row; `bin` is the second chunk's place and length.
    ///
    /// # Errors
    /// When it lies outside the chunk, or is of another shape.
    pub fn rows(&self, accessor: usize, columns: usize, source: &mut Source<'_>, bin: [u64; 2]) -> Result<Rows> {
        let bad = |what: &str| damaged(&format!("accessor {accessor} {what}"));
        let about = self.accessors.get(accessor).ok_or_else(|| bad("is missing"))?;
        let shape = ["SCALAR", "VEC2", "VEC3", "VEC4"][columns - 1];
        if about.shape != shape {
            return Err(bad(&format!("is of type {:?}, not {shape}", about.shape)));
        }
        if about.sparse.is_some() {
            return Err(bad("is sparse").remedy("export it without sparse accessors"));
        }
        let size = match about.component_type {
            5120 | 5121 => 1,
            5122 | 5123 => 2,
            5126 => 4,
            other => return Err(bad(&format!("is of component type {other}"))),
        };
        let view = about.buffer_view.and_then(|view| self.buffer_views.get(view)).ok_or_else(|| bad("has no view"))?;
        if let Some((name, _)) = view.extensions.first_key_value() {
            return Err(Error::new(format!("its buffers are packed by {name}")).remedy("export it without"));
        }
        if view.buffer != 0 || self.buffers.first().is_none_or(|buffer| buffer.uri.is_some()) {
            return Err(bad("looks at a file beside").remedy("export it as one .glb file"));
        }
        let row = size * columns as u64;
        let stride = view.byte_stride.unwrap_or(row);
        let outside = || bad(&format!("of {} rows reaches out of its view or file", about.count));
        let span = (about.count.checked_sub(1)).and_then(|n| n.checked_mul(stride)).and_then(|n| n.checked_add(row));
        let end = span.and_then(|span| span.checked_add(about.byte_offset)).ok_or_else(outside)?;
        let first = view.byte_offset.checked_add(about.byte_offset).ok_or_else(outside)?;
        let whole = view.byte_offset.checked_add(view.byte_length).ok_or_else(outside)?;
        if stride < row || end > view.byte_length || whole > bin[1] {
            return Err(outside());
        }
        source.seek(bin[0] + first)?;
        Ok(Rows {
            bytes: source.exactly(end - about.byte_offset)?,
            stride: stride as usize,
            kind: about.component_type,
            normalized: about.normalized,
            count: about.count as usize,
        })
    }
}

impl Rows {
    /// Row `i`, of as many columns as were asked for.
    pub fn row<const N: usize>(&self, i: usize) -> [f32; N] {
        let bytes = &self.bytes[i * self.stride..];
        match self.kind {
            5120 => std::array::from_fn(|k| self.signed(f32::from(bytes[k] as i8), 127.0)),
            5121 => std::array::from_fn(|k| self.scaled(f32::from(bytes[k]), 255.0)),
            5122 => std::array::from_fn(|k| {
                self.signed(f32::from(i16::from_le_bytes([bytes[2 * k], bytes[2 * k + 1]])), 32_767.0)
            }),
            5123 => std::array::from_fn(|k| {
                self.scaled(f32::from(u16::from_le_bytes([bytes[2 * k], bytes[2 * k + 1]])), 65_535.0)
            }),
            _ => std::array::from_fn(|k| {
                let b = &bytes[4 * k..];
                f32::from_le_bytes([b[0], b[1], b[2], b[3]])
            }),
        }
    }

    fn scaled(&self, v: f32, whole: f32) -> f32 {
        if self.normalized { v / whole } else { v }
    }

    fn signed(&self, v: f32, whole: f32) -> f32 {
        if self.normalized { (v / whole).max(-1.0) } else { v }
    }
}

/// The error of a file that says what cannot be.
pub fn damaged(what: &str) -> Error {
    Error::new(format!("the file is damaged: {what}")).remedy("export or download it again")
}
