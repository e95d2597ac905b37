//! A glTF 2.0 document, as `.glb` or as JSON with buffers in other files or in its text, as loose triangles with paint.
//!
//! All triangle primitives of all nodes of the default scene are taken, at their places. A material counts for its base
//! colour: factor times texture times the vertices' colours, all linear; emission where the base colour is black.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use glam::{Mat3, Mat4, Vec2, Vec3};

use super::super::glb::ours_from_gltf;
use super::super::sound::smooth_normals;
use super::accessor::{Buffers, compressed};
use super::document::{Document, Material, MeshEntry, Primitive, TextureUse, entry};
use super::loose::{Coat, Loose, Wrap};
use super::source::Source;
use crate::error::{Error, Result};

/// Extensions that may be required: read here, or without a meaning for the colour and shape of a still mesh.
const KNOWN: [&str; 5] = [
    "KHR_materials_unlit",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
    "KHR_lights_punctual",
];

/// Reads a document whose references lead into `folder`.
///
/// # Errors
/// When it is damaged, compressed, or needs what is not known here.
pub(super) fn read(bytes: &[u8], folder: Option<&Path>) -> Result<Loose> {
    let (json, bin) = if bytes.starts_with(b"glTF") { chunks(bytes)? } else { (bytes, None) };
    let document = Document::new(json)?;
    refuse_unknown(&document)?;
    let mut source = Source::new(folder);
    let buffers = Buffers { document: &document, bytes: buffers(&document, bin, &mut source)? };
    let total = bytes.len() as u64 + buffers.bytes.iter().map(|b| b.len() as u64).sum::<u64>();
    let mut reader = Reader { buffers: &buffers, loose: Loose::new(total), coats: BTreeMap::new() };
    reader.scene()?;
    reader.coats(&mut source)?;
    Ok(reader.loose)
}

/// The JSON and the bytes of a `.glb` file.
fn chunks(file: &[u8]) -> Result<(&[u8], Option<&[u8]>)> {
    let cut = || Error::new("the .glb file is cut short or damaged").remedy("copy or download it again");
    let word =
        |at: usize| file.get(at..at + 4).and_then(|b| b.as_array()).map(|b| u32::from_le_bytes(*b)).ok_or_else(cut);
    let version = word(4)?;
    if version != 2 {
        return Err(Error::new(format!("it is glTF version {version}, and 2 is read")).remedy("export it as glTF 2.0"));
    }
    let length = word(8)? as usize;
    let file = file.get(..length).ok_or_else(cut)?;
    let (mut json, mut bin, mut at) = (None, None, 12);
    while at < file.len() {
        let size = word(at)? as usize;
        let kind = file.get(at + 4..at + 8).ok_or_else(cut)?;
        let chunk = file.get(at + 8..).and_then(|rest| rest.get(..size)).ok_or_else(cut)?;
        match kind {
            b"JSON" if json.is_none() => json = Some(chunk),
            b"BIN\0" if bin.is_none() => bin = Some(chunk),
            _ => {}
        }
        at += 8 + size;
    }
    Ok((json.ok_or_else(cut)?, bin))
}

fn refuse_unknown(document: &Document) -> Result<()> {
    let required = &document.extensions_required;
    let Some(name) = required.iter().find(|n| !KNOWN.contains(&n.as_str()) && !n.starts_with("KHR_materials_")) else {
        return Ok(());
    };
    if name.contains("draco") || name.contains("meshopt") {
        return Err(compressed(name));
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    Err(Error::new(format!("it requires the extension {shown}, which is not read"))
        .remedy("export it without that extension"))
}

fn buffers<'a>(document: &'a Document, bin: Option<&'a [u8]>, source: &mut Source<'_>) -> Result<Vec<Cow<'a, [u8]>>> {
    let mut all = Vec::with_capacity(document.buffers.len());
    for (at, buffer) in document.buffers.iter().enumerate() {
        let bytes = match (&buffer.uri, bin) {
            (Some(uri), _) => Cow::Owned(source.uri(uri)?),
            (None, Some(bin)) if at == 0 => Cow::Borrowed(bin),
            // A stand-in that only compressed views refer to; others meet its emptiness.
            (None, _) => Cow::Borrowed(&[][..]),
        };
        if (bytes.len() as u64) < buffer.byte_length && (buffer.uri.is_some() || !bytes.is_empty()) {
            let what = format!("buffer {at} has {} of {} bytes", bytes.len(), buffer.byte_length);
            return Err(Error::new(what).remedy("a file is cut short: copy or download it again"));
        }
        all.push(bytes);
    }
    Ok(all)
}

struct Reader<'a> {
    buffers: &'a Buffers<'a>,
    loose: Loose,
    /// The coats of the materials that are in use; `None` is the default one.
    coats: BTreeMap<Option<usize>, u32>,
}

impl<'a> Reader<'a> {
    fn document(&self) -> &'a Document {
        self.buffers.document
    }

    /// Takes all nodes of the default scene; of all roots where there is no scene.
    fn scene(&mut self) -> Result<()> {
        let document = self.document();
        let roots: Vec<usize> = match (document.scene, document.scenes.first()) {
            (Some(at), _) => entry(&document.scenes, at, "scene")?.nodes.clone(),
            (None, Some(first)) => first.nodes.clone(),
            (None, None) => {
                let mut is_child = vec![false; document.nodes.len()];
                let children = document.nodes.iter().flat_map(|n| &n.children);
                children.for_each(|&c| is_child.get_mut(c).into_iter().for_each(|c| *c = true));
                (0..document.nodes.len()).filter(|&n| !is_child[n]).collect()
            }
        };
        let mut seen = vec![false; document.nodes.len()];
        // The last is taken first, so children and roots are stacked backwards to keep the file's order.
        let mut stack: Vec<(usize, Mat4)> = roots.into_iter().rev().map(|n| (n, Mat4::IDENTITY)).collect();
        while let Some((at, scene_from_parent)) = stack.pop() {
            let node = entry(&document.nodes, at, "node")?;
            if std::mem::replace(&mut seen[at], true) {
                return Err(Error::new(format!("node {at} has two parents or is its own ancestor"))
                    .remedy("the file is damaged: export it again"));
            }
            let scene_from_node = scene_from_parent * node.parent_from_node();
            if !scene_from_node.is_finite() {
                return Err(Error::new(format!("the place of node {at} is not a number")));
            }
            if let Some(mesh) = node.mesh {
                if node.skin.is_some() {
                    self.loose.note("skins are left out: figures stand as they were modelled");
                }
                self.mesh(entry(&document.meshes, mesh, "mesh")?, scene_from_node)?;
            }
            stack.extend(node.children.iter().rev().map(|&c| (c, scene_from_node)));
        }
        Ok(())
    }

    fn mesh(&mut self, mesh: &'a MeshEntry, scene_from_mesh: Mat4) -> Result<()> {
        for primitive in &mesh.primitives {
            match primitive.mode.unwrap_or(4) {
                mode @ 4..=6 => self.primitive(primitive, mode, scene_from_mesh)?,
                0..=3 => self.loose.note("points and lines are left out"),
                mode => return Err(Error::new(format!("a primitive has mode {mode}, which glTF does not know"))),
            }
        }
        Ok(())
    }

    fn primitive(&mut self, primitive: &'a Primitive, mode: u32, scene_from_mesh: Mat4) -> Result<()> {
        let Some(&position) = primitive.attributes.get("POSITION") else {
            // Nothing but an extension could say where it is.
            return match primitive.extensions.keys().next() {
                Some(name) => Err(compressed(name)),
                None => Ok(()),
            };
        };
        if let Some(name) = primitive.extensions.keys().find(|n| n.contains("draco"))
            && entry(&self.document().accessors, position, "accessor")?.buffer_view.is_none()
        {
            return Err(compressed(name));
        }
        let count = self.buffers.count(position)?;
        let corners = primitive.indices.map_or(Ok(count), |at| self.buffers.count(at))?;
        self.loose.expect(count, if mode == 4 { corners / 3 } else { corners })?;
        let first = self.loose.positions.len() as u32;
        let positions: Vec<[f32; 3]> = self.buffers.floats(position, "position")?;
        let indices = match primitive.indices {
            Some(at) => self.buffers.indices(at)?,
            None => (0..positions.len() as u32).collect(),
        };
        if let Some(wrong) = indices.iter().find(|i| **i as usize >= positions.len()) {
            return Err(Error::new(format!(
                "index {wrong} is not among the {} vertices of its primitive",
                positions.len()
            ))
            .remedy("the file is damaged: export it again"));
        }
        let (coat, uses) = self.coat(primitive.material)?;
        let mut triangles = triangles(&indices, mode);
        self.attributes(primitive, &positions, &triangles, uses.as_ref(), scene_from_mesh)?;
        if scene_from_mesh.determinant() < 0.0 {
            triangles.iter_mut().for_each(|t| t.swap(1, 2));
        }
        self.loose.triangles.extend(triangles.iter().map(|t| t.map(|v| v + first)));
        self.loose.coat_of.resize(self.loose.triangles.len(), coat);
        Ok(())
    }

    /// Adds the vertices of a primitive.
    fn attributes(
        &mut self,
        primitive: &Primitive,
        positions: &[[f32; 3]],
        triangles: &[[u32; 3]],
        uses: Option<&TextureUse>,
        scene_from_mesh: Mat4,
    ) -> Result<()> {
        let n = positions.len();
        let attribute = |name: &str| primitive.attributes.get(name).copied();
        let same = |what: &str, count: usize| {
            if count == n {
                Ok(())
            } else {
                Err(Error::new(format!("a primitive has {n} vertices and {count} {what}")))
            }
        };
        let placed: Vec<Vec3> = positions.iter().map(|p| Vec3::from(*p)).collect();
        let normals: Vec<Vec3> = match attribute("NORMAL") {
            Some(at) => self.buffers.floats::<3>(at, "normal")?.into_iter().map(Vec3::from).collect(),
            None => smooth_normals(&placed, triangles),
        };
        same("normals", normals.len())?;
        let uvs = match uses.map(|u| attribute(&format!("TEXCOORD_{}", set_of(u)))) {
            Some(Some(at)) => self.buffers.floats::<2>(at, "texture coordinate")?,
            _ => vec![[0.0; 2]; n],
        };
        same("texture coordinates", uvs.len())?;
        let tints = match attribute("COLOR_0") {
            Some(at) => self.buffers.floats::<3>(at, "colour")?,
            None => vec![[1.0; 3]; n],
        };
        same("colours", tints.len())?;
        // Normals go with the inverse transpose; the cofactors are that but for a factor, and exist for a flat matrix too.
        let m = Mat3::from_mat4(scene_from_mesh);
        let cofactors = Mat3::from_cols(m.y_axis.cross(m.z_axis), m.z_axis.cross(m.x_axis), m.x_axis.cross(m.y_axis));
        let sign = if m.determinant() < 0.0 { -1.0 } else { 1.0 };
        let turned = |n: Vec3| (sign * (cofactors * n)).try_normalize().unwrap_or(Vec3::Y);
        let loose = &mut self.loose;
        loose.positions.extend(placed.iter().map(|p| ours_from_gltf(scene_from_mesh.transform_point3(*p))));
        loose.normals.extend(normals.into_iter().map(|n| ours_from_gltf(turned(n))));
        loose.uvs.extend(uvs.into_iter().map(|uv| transformed(Vec2::from(uv), uses)));
        loose.tints.extend(tints.into_iter().map(|c| c.map(|v| v.clamp(0.0, 1.0))));
        Ok(())
    }

    /// The number of a material's coat, and where its texture is.
    fn coat(&mut self, material: Option<usize>) -> Result<(u32, Option<TextureUse>)> {
        let entry = match material {
            Some(at) => Some(entry(&self.document().materials, at, "material")?),
            None => None,
        };
        let next = self.coats.len() as u32;
        let number = *self.coats.entry(material).or_insert(next);
        Ok((number, entry.and_then(|m| base_of(m).1.cloned())))
    }

    /// Reads the materials that are in use, and their pictures, each once.
    fn coats(&mut self, source: &mut Source<'_>) -> Result<()> {
        let document = self.document();
        let mut pictures = BTreeMap::new();
        self.loose.coats = vec![Coat::default(); self.coats.len()];
        for (material, number) in std::mem::take(&mut self.coats) {
            let Some(material) = material.and_then(|at| document.materials.get(at)) else { continue };
            if material.alpha_mode.as_deref().is_some_and(|mode| mode != "OPAQUE") {
                self.loose.note("transparent materials are read as opaque");
            }
            let (factor, uses) = base_of(material);
            let mut coat =
                Coat { factor: factor.map(|v| if v.is_finite() { v.clamp(0.0, 1.0) } else { 1.0 }), ..Coat::default() };
            if let Some(uses) = uses {
                let texture = entry(&document.textures, uses.index, "texture")?;
                let image = texture.source.ok_or_else(|| {
                    let by = texture.extensions.keys().next().map_or("no picture", String::as_str);
                    Error::new(format!("texture {} is given by {by}, which is not read", uses.index))
                        .remedy("export it with PNG or JPEG textures")
                })?;
                if let Entry::Vacant(free) = pictures.entry(image) {
                    let bytes = self.image(image, source)?;
                    self.loose.textures.push(source.picture(&bytes)?);
                    free.insert(self.loose.textures.len() - 1);
                }
                coat.texture = pictures.get(&image).copied();
                let sampler = texture.sampler.and_then(|at| document.samplers.get(at));
                coat.wrap = [sampler.and_then(|s| s.wrap_s), sampler.and_then(|s| s.wrap_t)].map(wrap);
            }
            self.loose.coats[number as usize] = coat;
        }
        Ok(())
    }

    fn image(&self, at: usize, source: &mut Source<'_>) -> Result<Cow<'a, [u8]>> {
        let image = entry(&self.document().images, at, "image")?;
        if let Some(kind) = image.mime_type.as_deref().filter(|k| !["image/png", "image/jpeg", "image/jpg"].contains(k))
        {
            let shown: String = kind.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(Error::new(format!("image {at} is {shown}, which is not read"))
                .remedy("export it with PNG or JPEG textures"));
        }
        match (&image.uri, image.buffer_view) {
            (Some(uri), _) => Ok(Cow::Owned(source.uri(uri)?)),
            (None, Some(view)) => Ok(Cow::Borrowed(self.buffers.view(view)?.1)),
            (None, None) => Err(Error::new(format!("image {at} has no bytes"))),
        }
    }
}

/// The colour factor and the texture of a material.
fn base_of(material: &Material) -> ([f32; 3], Option<&TextureUse>) {
    let rgb = |factor: Option<[f32; 4]>| factor.map_or([1.0; 3], |[r, g, b, _]| [r, g, b]);
    let base = &material.pbr_metallic_roughness;
    let (factor, texture) = match &material.extensions.specular_glossiness {
        Some(older) => (rgb(older.diffuse_factor), older.diffuse_texture.as_ref()),
        None => (rgb(base.base_color_factor), base.base_color_texture.as_ref()),
    };
    // Colours that should not be lit were often written as the emission of a black material.
    match material.emissive_factor {
        Some(light) if factor == [0.0; 3] && light != [0.0; 3] => (light, material.emissive_texture.as_ref()),
        _ => (factor, texture),
    }
}

/// Which set of texture coordinates is used.
fn set_of(uses: &TextureUse) -> u32 {
    uses.extensions.transform.as_ref().and_then(|t| t.tex_coord).unwrap_or(uses.tex_coord)
}

/// `KHR_texture_transform`: scaled, then turned, then moved.
fn transformed(uv: Vec2, uses: Option<&TextureUse>) -> Vec2 {
    let Some(t) = uses.and_then(|u| u.extensions.transform.as_ref()) else { return uv };
    let scaled = uv * Vec2::from(t.scale.unwrap_or([1.0; 2]));
    let (sin, cos) = t.rotation.sin_cos();
    Vec2::new(cos * scaled.x + sin * scaled.y, cos * scaled.y - sin * scaled.x) + Vec2::from(t.offset)
}

fn wrap(code: Option<u32>) -> Wrap {
    match code {
        Some(33071) => Wrap::Clamp,
        Some(33648) => Wrap::Mirror,
        _ => Wrap::Repeat,
    }
}

/// The triangles of a list (4), strip (5) or fan (6).
fn triangles(indices: &[u32], mode: u32) -> Vec<[u32; 3]> {
    match mode {
        4 => indices.as_chunks::<3>().0.to_vec(),
        5 => {
            let turned = |(k, w): (usize, &[u32])| if k % 2 == 0 { [w[0], w[1], w[2]] } else { [w[1], w[0], w[2]] };
            indices.windows(3).enumerate().map(turned).collect()
        }
        _ => {
            let Some((&first, rest)) = indices.split_first() else { return Vec::new() };
            rest.windows(2).map(|w| [first, w[0], w[1]]).collect()
        }
    }
}
