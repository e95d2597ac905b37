//! A mesh as one `.glb` file (glTF 2.0, Khronos 2021): one mesh of one primitive, its texture as PNG inside.
//!
//! Layout: 12 bytes of header, a chunk of JSON, a chunk of bytes; everything is aligned to 4. The bytes hold positions
//! (3 × f32), normals (3 × f32), texture coordinates (2 × f32) or linear colours (4 × u16, normalised), indices (u16 where
//! they suffice, else u32) and the PNG. glTF has +Y up and metres: `(x, y, z)` of ours is `(x, z, −y)` there.
//!
//! What is painted is the light that a field sends out, so by default a viewer is told not to light it once more
//! (`KHR_materials_unlit`). Viewers that do not know that see a rough, non-metallic surface.

use std::io::Cursor;

use glam::{Vec2, Vec3};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};

use super::{Mesh, Texture, sound, srgb};
use crate::error::{Error, Result};

/// Bytes of a texel in the PNG of a texture: those of the fields at hand take 0.8 to 1.5, smooth paint less.
const TEXEL_BYTES: f64 = 1.5;
/// Bytes of the header, the JSON and padding.
const FRAME_BYTES: u64 = 1500;
const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;
const U16: u32 = 5123;
const U32: u32 = 5125;
const F32: u32 = 5126;

/// How a mesh is written.
#[derive(Clone, Copy, Debug)]
pub struct GlbOptions<'a> {
    /// The program that writes, with its version: `"Retort 1.2.3"`.
    pub generator: &'a str,
    /// Whether viewers light it: a rough, non-metallic surface instead of the colours as they are.
    pub lit: bool,
}

/// What a mesh is painted with, for [`predicted_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// A texture of that many texels a side.
    Texture(u32),
    /// Colours of the vertices.
    Vertices,
    /// Nothing.
    None,
}

/// The size in bytes that [`to_glb`] will give, to within 1 kB but for the PNG, of which only the usual size is known. An
/// unwrapped mesh has about a tenth more vertices than it had before.
pub fn predicted_size(vertices: usize, triangles: usize, paint: Paint) -> u64 {
    let paint_bytes = match paint {
        Paint::Texture(side) => 8 * vertices as u64 + (TEXEL_BYTES * f64::from(side).powi(2)) as u64,
        Paint::Vertices => 8 * vertices as u64,
        Paint::None => 0,
    };
    FRAME_BYTES + 24 * vertices as u64 + 3 * index_bytes(vertices) as u64 * triangles as u64 + paint_bytes
}

/// Ours in the axes of glTF.
pub(super) fn gltf_from_ours(p: Vec3) -> Vec3 {
    Vec3::new(p.x, p.z, -p.y)
}

/// What glTF has, in our axes.
pub(super) fn ours_from_gltf(p: Vec3) -> Vec3 {
    Vec3::new(p.x, -p.z, p.y)
}

/// The file's bytes. The texture is written where there is one, else the colours of the vertices; normals are made where
/// there are none.
///
/// # Errors
/// When the mesh is broken or the file would be larger than its format allows (4 GiB).
pub fn to_glb(mesh: &Mesh, options: &GlbOptions<'_>) -> Result<Vec<u8>> {
    sound::check(mesh)?;
    let mut file = Parts::default();
    let attributes = file.vertices(mesh);
    let indices = file.indices(mesh);
    let mut material = json!({
        "pbrMetallicRoughness": { "metallicFactor": 0.0, "roughnessFactor": 1.0 },
        "doubleSided": false,
    });
    let mut document = json!({
        "asset": { "version": "2.0", "generator": options.generator },
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": [{ "attributes": attributes, "indices": indices, "material": 0 }] }],
    });
    if let Some(texture) = &mesh.texture {
        let view = file.view(&to_png(texture)?, None);
        material["pbrMetallicRoughness"]["baseColorTexture"] = json!({ "index": 0 });
        document["textures"] = json!([{ "sampler": 0, "source": 0 }]);
        document["images"] = json!([{ "bufferView": view, "mimeType": "image/png" }]);
        // Linear, with smaller copies of the texture far away; the border's colour goes on outside.
        document["samplers"] = json!([{ "magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071 }]);
    }
    if !options.lit {
        material["extensions"] = json!({ "KHR_materials_unlit": {} });
        document["extensionsUsed"] = json!(["KHR_materials_unlit"]);
    }
    document["materials"] = json!([material]);
    document["accessors"] = Value::Array(file.accessors);
    document["bufferViews"] = Value::Array(file.views);
    document["buffers"] = json!([{ "byteLength": file.bytes.len() }]);
    container(&document, &file.bytes)
}

/// The PNG of a texture.
///
/// # Errors
/// When its bytes do not fill its size.
pub fn to_png(texture: &Texture) -> Result<Vec<u8>> {
    if texture.rgb.len() as u64 != 3 * u64::from(texture.width) * u64::from(texture.height) {
        return Err(Error::new("the texture's bytes do not fill its size"));
    }
    let mut png = Cursor::new(Vec::new());
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
        .write_image(&texture.rgb, texture.width, texture.height, ExtendedColorType::Rgb8)
        .map_err(|e| Error::new(format!("the texture cannot be written as PNG: {e}")))?;
    Ok(png.into_inner())
}

/// The bytes of a `.glb` file.
///
/// # Errors
/// When they are more than 4 GiB.
pub(super) fn container(document: &Value, bytes: &[u8]) -> Result<Vec<u8>> {
    let text = document.to_string();
    let chunks: [(&[u8], [u8; 4], u8); 2] = [(text.as_bytes(), *b"JSON", b' '), (bytes, *b"BIN\0", 0)];
    let total = 12 + chunks.iter().map(|(c, ..)| 8 + c.len().next_multiple_of(4)).sum::<usize>();
    let length = u32::try_from(total).map_err(|_| {
        Error::new("the mesh is larger than a .glb file can be (4 GiB)").remedy("take fewer faces or a smaller texture")
    })?;
    let mut file = Vec::with_capacity(total);
    for word in [u32::from_le_bytes(*b"glTF"), 2, length] {
        file.extend(word.to_le_bytes());
    }
    for (chunk, kind, padding) in chunks {
        let padded = chunk.len().next_multiple_of(4);
        file.extend((padded as u32).to_le_bytes());
        file.extend(kind);
        file.extend_from_slice(chunk);
        file.resize(file.len() + padded - chunk.len(), padding);
    }
    Ok(file)
}

/// Bytes of an index; 65535 is not one, it would mean a new strip.
fn index_bytes(vertices: usize) -> usize {
    if vertices < 65536 { 2 } else { 4 }
}

/// The buffer and what it is made of.
#[derive(Default)]
struct Parts {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Parts {
    /// Adds bytes; returns the view's number.
    fn view(&mut self, bytes: &[u8], target: Option<u32>) -> usize {
        let mut view = json!({ "buffer": 0, "byteOffset": self.bytes.len(), "byteLength": bytes.len() });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.views.push(view);
        self.views.len() - 1
    }

    fn accessor(&mut self, accessor: Value) -> usize {
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    fn floats<const N: usize>(&mut self, values: &[[f32; N]]) -> usize {
        let view = self.view(bytemuck::cast_slice(values.as_flattened()), Some(ARRAY_BUFFER));
        let kind = format!("VEC{N}");
        self.accessor(json!({ "bufferView": view, "componentType": F32, "count": values.len(), "type": kind }))
    }

    fn vertices(&mut self, mesh: &Mesh) -> Value {
        let own;
        let normals = if mesh.normals.is_empty() {
            own = sound::smooth_normals(&mesh.positions, &mesh.triangles);
            &own
        } else {
            &mesh.normals
        };
        let positions: Vec<[f32; 3]> = mesh.positions.iter().map(|p| gltf_from_ours(*p).to_array()).collect();
        let unit = |n: &Vec3| gltf_from_ours(n.try_normalize().unwrap_or(Vec3::Z)).to_array();
        let normals: Vec<[f32; 3]> = normals.iter().map(unit).collect();
        let at = self.floats(&positions);
        let bound = |fold: fn(Vec3, Vec3) -> Vec3, start| {
            positions.iter().map(|p| Vec3::from(*p)).fold(Vec3::splat(start), fold).to_array()
        };
        self.accessors[at]["min"] = json!(bound(Vec3::min, f32::INFINITY));
        self.accessors[at]["max"] = json!(bound(Vec3::max, f32::NEG_INFINITY));
        let mut attributes = json!({ "POSITION": at, "NORMAL": self.floats(&normals) });
        if mesh.texture.is_some() {
            let uvs: Vec<[f32; 2]> = mesh.uvs.iter().map(Vec2::to_array).collect();
            attributes["TEXCOORD_0"] = json!(self.floats(&uvs));
        } else if !mesh.colours.is_empty() {
            attributes["COLOR_0"] = json!(self.colours(&mesh.colours));
        }
        attributes
    }

    /// Colours are linear in glTF. Sixteen bits keep the dark ones apart, where eight linear ones would not.
    fn colours(&mut self, colours: &[[f32; 3]]) -> usize {
        let word = |v: f32| (srgb::decode(v) * 65535.0).round() as u16;
        let words: Vec<u16> = colours.iter().flat_map(|c| [word(c[0]), word(c[1]), word(c[2]), u16::MAX]).collect();
        let view = self.view(&little_endian(&words, u16::to_le_bytes), Some(ARRAY_BUFFER));
        let count = colours.len();
        self.accessor(
            json!({ "bufferView": view, "componentType": U16, "normalized": true, "count": count, "type": "VEC4" }),
        )
    }

    fn indices(&mut self, mesh: &Mesh) -> usize {
        let flat = mesh.triangles.as_flattened();
        let (bytes, kind) = if index_bytes(mesh.positions.len()) == 2 {
            (little_endian(flat, |v| (v as u16).to_le_bytes()), U16)
        } else {
            (little_endian(flat, u32::to_le_bytes), U32)
        };
        let view = self.view(&bytes, Some(ELEMENT_ARRAY_BUFFER));
        self.accessor(json!({ "bufferView": view, "componentType": kind, "count": flat.len(), "type": "SCALAR" }))
    }
}

fn little_endian<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|v| bytes(*v)).collect()
}

#[cfg(test)]
#[path = "glb_tests.rs"]
mod tests;
