//! The parts of a glTF document that a mesh is made of (glTF 2.0, chapter 5 and its JSON schema), and no others.
//!
//! Skins, animations, cameras and extras are passed over without being kept, so nothing that is wrong with them matters.

use std::collections::BTreeMap;

use glam::{Mat4, Quat, Vec3};
use serde::Deserialize;

use crate::error::{Error, Result};

/// The most JSON objects of a document. Each becomes at most 300 bytes.
const MAX_OBJECTS: usize = 4 << 20;

/// A document.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Document {
    pub extensions_required: Vec<String>,
    pub accessors: Vec<Accessor>,
    pub buffers: Vec<Buffer>,
    pub buffer_views: Vec<View>,
    pub images: Vec<Image>,
    pub materials: Vec<Material>,
    pub meshes: Vec<MeshEntry>,
    pub nodes: Vec<Node>,
    pub samplers: Vec<Sampler>,
    pub scene: Option<usize>,
    pub scenes: Vec<Scene>,
    pub textures: Vec<TextureEntry>,
}

impl Document {
    /// Reads the JSON.
    ///
    /// # Errors
    /// When it is not JSON of that form, or has millions of parts.
    pub(super) fn new(json: &[u8]) -> Result<Self> {
        if json.iter().map(|b| usize::from(*b == b'{')).sum::<usize>() > MAX_OBJECTS {
            return Err(Error::new("the glTF document has more than four million parts"));
        }
        // Exporters on Windows may put a byte order mark first.
        let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        serde_json::from_slice(json).map_err(|e| {
            Error::new(format!("not a readable glTF document: {e}")).remedy("copy or export the file again")
        })
    }
}

/// An entry of a list by its number.
///
/// # Errors
/// When the list is shorter.
pub(super) fn entry<'a, T>(list: &'a [T], at: usize, what: &str) -> Result<&'a T> {
    list.get(at).ok_or_else(|| {
        Error::new(format!("{what} {at} is named, and there are {}", list.len()))
            .remedy("the file is damaged: export it again")
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Accessor {
    pub buffer_view: Option<usize>,
    pub byte_offset: u64,
    pub component_type: u32,
    pub normalized: bool,
    pub count: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub sparse: Option<Sparse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sparse {
    pub count: u64,
    pub indices: SparsePart,
    pub values: SparsePart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SparsePart {
    pub buffer_view: usize,
    pub byte_offset: u64,
    pub component_type: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Buffer {
    pub byte_length: u64,
    pub uri: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct View {
    pub buffer: usize,
    pub byte_offset: u64,
    pub byte_length: u64,
    pub byte_stride: Option<u64>,
    pub extensions: Names,
}

/// Extensions by name.
pub(super) type Names = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Image {
    pub buffer_view: Option<usize>,
    pub mime_type: Option<String>,
    pub uri: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MeshEntry {
    pub primitives: Vec<Primitive>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Primitive {
    pub attributes: BTreeMap<String, usize>,
    pub indices: Option<usize>,
    pub material: Option<usize>,
    pub mode: Option<u32>,
    pub extensions: Names,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub children: Vec<usize>,
    pub mesh: Option<usize>,
    pub skin: Option<usize>,
    pub matrix: Option<[f32; 16]>,
    pub translation: Option<[f32; 3]>,
    /// x, y, z, w.
    pub rotation: Option<[f32; 4]>,
    pub scale: Option<[f32; 3]>,
}

impl Node {
    /// Its place in its parent.
    pub(super) fn parent_from_node(&self) -> Mat4 {
        if let Some(columns) = &self.matrix {
            return Mat4::from_cols_array(columns);
        }
        let [x, y, z, w] = self.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]);
        let turn = Quat::from_xyzw(x, y, z, w);
        let turn = if turn.length_squared() > 1e-12 { turn.normalize() } else { Quat::IDENTITY };
        let vector = |v: Option<[f32; 3]>, otherwise| v.map_or(otherwise, Vec3::from);
        Mat4::from_scale_rotation_translation(vector(self.scale, Vec3::ONE), turn, vector(self.translation, Vec3::ZERO))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Scene {
    pub nodes: Vec<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Sampler {
    pub wrap_s: Option<u32>,
    pub wrap_t: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TextureEntry {
    pub sampler: Option<usize>,
    pub source: Option<usize>,
    pub extensions: Names,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Material {
    pub pbr_metallic_roughness: BaseColour,
    pub emissive_factor: Option<[f32; 3]>,
    pub emissive_texture: Option<TextureUse>,
    pub alpha_mode: Option<String>,
    pub extensions: MaterialExtensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct BaseColour {
    pub base_color_factor: Option<[f32; 4]>,
    pub base_color_texture: Option<TextureUse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MaterialExtensions {
    #[serde(rename = "KHR_materials_pbrSpecularGlossiness")]
    pub specular_glossiness: Option<Diffuse>,
}

/// The base colour of the older way to describe a material.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Diffuse {
    pub diffuse_factor: Option<[f32; 4]>,
    pub diffuse_texture: Option<TextureUse>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextureUse {
    pub index: usize,
    #[serde(default)]
    pub tex_coord: u32,
    #[serde(default)]
    pub extensions: TextureUseExtensions,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TextureUseExtensions {
    #[serde(rename = "KHR_texture_transform")]
    pub transform: Option<TextureTransform>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TextureTransform {
    pub offset: [f32; 2],
    pub rotation: f32,
    pub scale: Option<[f32; 2]>,
    pub tex_coord: Option<u32>,
}
