//! Files that are written here and read back, and what the other tests make files with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use glam::{Vec2, Vec3};
use serde_json::{Value, json};

use super::super::bake::{bake, texel_psnr};
use super::super::glb::{GlbOptions, to_glb, to_png};
use super::super::obj::to_obj;
use super::super::samples::{cube, rainbows, torus};
use super::super::unwrap::unwrap;
use super::super::{Mesh, Texture};
use super::{Imported, MeshFormat, read, read_bytes};
use crate::error::Result;

mod by_hand;
mod damage;

const OPTIONS: GlbOptions<'static> = GlbOptions { generator: "Retort 0.0.0", lit: false };

fn textured() -> Mesh {
    let mut mesh = unwrap(&torus(24, 12), 128).unwrap().mesh;
    mesh.texture = Some(bake(&mesh, 128, |p, _| Ok(rainbows(p))).unwrap());
    mesh
}

/// Corners of the triangles: vertices may be in another order.
fn corners(mesh: &Mesh) -> Vec<(Vec3, Vec3, Option<Vec2>)> {
    let at = |v: u32| (mesh.positions[v as usize], mesh.normals[v as usize], mesh.uvs.get(v as usize).copied());
    mesh.triangles.iter().flatten().map(|&v| at(v)).collect()
}

#[track_caller]
fn are_alike(a: &Mesh, b: &Mesh) {
    assert_eq!((a.triangles.len(), &a.texture), (b.triangles.len(), &b.texture));
    for (a, b) in corners(a).into_iter().zip(corners(b)) {
        assert!(a.0 == b.0 && (a.1 - b.1).length() < 1e-6, "{a:?} {b:?}");
        assert!((a.2.unwrap_or_default() - b.2.unwrap_or_default()).length() < 1e-6, "{a:?} {b:?}");
    }
}

#[test]
fn a_glb_is_read_as_it_was_written() {
    let mesh = textured();
    let back = read_bytes(&to_glb(&mesh, &OPTIONS).unwrap(), None).unwrap();
    assert!(back.notes.is_empty());
    are_alike(&mesh, &back.mesh);
    let mut other = mesh.clone();
    other.texture.as_mut().unwrap().rgb[5] ^= 1;
    assert!(std::panic::catch_unwind(|| are_alike(&other, &back.mesh)).is_err());
    let mut painted = torus(24, 12);
    painted.colours = rainbows(&painted.positions);
    let back = read_bytes(&to_glb(&painted, &OPTIONS).unwrap(), None).unwrap().mesh;
    are_alike(&painted, &back);
    let gap = |a: &[[f32; 3]], b: &[[f32; 3]]| {
        a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(gap(&painted.colours, &back.colours) < 1e-4);
    painted.colours.rotate_left(1);
    assert!(gap(&painted.colours, &back.colours) > 1e-2);
    let bare = read_bytes(&to_glb(&cube(), &OPTIONS).unwrap(), None).unwrap().mesh;
    assert!(bare.colours.is_empty() && bare.texture.is_none());
}

#[test]
fn an_obj_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = textured();
    let files = to_obj(&mesh, "thing", "Retort 0.0.0").unwrap();
    let path = folder.path().join("thing.obj");
    std::fs::write(&path, &files.obj).unwrap();
    let lonely = read(&path).unwrap();
    assert!(lonely.notes[0].contains("thing.mtl") && lonely.mesh.texture.is_none());
    std::fs::write(folder.path().join("thing.mtl"), files.mtl.unwrap()).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.remedy.contains("check the path") || error.remedy.contains("beside"), "{error}");
    std::fs::write(folder.path().join("thing.png"), files.png.unwrap()).unwrap();
    are_alike(&mesh, &read(&path).unwrap().mesh);
    let mut painted = Mesh { normals: Vec::new(), ..torus(24, 12) };
    painted.colours = rainbows(&painted.positions);
    let files = to_obj(&painted, "x", "Retort\n0.0.0").unwrap();
    assert!(files.mtl.is_none() && files.png.is_none());
    let back = read_bytes(files.obj.as_bytes(), None).unwrap().mesh;
    let colour = |mesh: &Mesh, v: u32| mesh.colours[v as usize];
    for (a, b) in painted.triangles.iter().flatten().zip(back.triangles.iter().flatten()) {
        assert!((Vec3::from(colour(&painted, *a)) - Vec3::from(colour(&back, *b))).length() < 1e-4);
    }
    assert!(to_obj(&mesh, "a b", "").is_err());
}

#[test]
fn formats_are_known_by_what_they_hold() {
    let glb = to_glb(&cube(), &OPTIONS).unwrap();
    assert_eq!(MeshFormat::of(&glb[..64]), Some(MeshFormat::Glb));
    assert_eq!(MeshFormat::of(&Written::new().json()), Some(MeshFormat::Gltf));
    assert_eq!(MeshFormat::of(OBJ.as_bytes()), Some(MeshFormat::Obj));
    let long = to_obj(&torus(60, 40), "x", "").unwrap().obj;
    assert_eq!(MeshFormat::of(&long.as_bytes()[..20_000]), Some(MeshFormat::Obj));
    for other in ["ply\nformat ascii 1.0\n", "{ \"frames\": [] }", "solid x\nfacet normal 0 0 1\n", "1 2 3\n", ""] {
        assert_eq!(MeshFormat::of(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_painted_mesh_survives_the_way_through_a_file() {
    let mesh = read_bytes(&to_glb(&textured(), &OPTIONS).unwrap(), None).unwrap().mesh;
    assert!(texel_psnr(&mesh, 5000, 1, |p, _| Ok(rainbows(p))).unwrap() > 40.0);
}

const OBJ: &str = "# by hand\nmtllib a.mtl\no thing\nv 0 0 0\nv 1 0 0\nv 1 1 \\\n 0 # a comment\nv 0 1 0\nvt 0 0\nvt 1 0\n\
    vt 1 1\nvt 0 1\nusemtl one\nf 1/1 2/2 3/3 4/4\ng b\nusemtl two\nv 0 0 -1\nv 1 0 -1\nv 0 1 -1\nf -3 -2 -1\n\
    l 1 2\nf 1 1 2\n";

/// A document of one buffer that is written into its text.
struct Written {
    document: Value,
    bytes: Vec<u8>,
}

impl Written {
    fn new() -> Self {
        let document = json!({
            "asset": { "version": "2.0" }, "scene": 0, "scenes": [{ "nodes": [0] }], "nodes": [{ "mesh": 0 }],
            "meshes": [{ "primitives": [] }], "accessors": [], "bufferViews": [], "materials": [],
        });
        Self { document, bytes: Vec::new() }
    }

    fn push(&mut self, list: &str, value: Value) -> usize {
        if self.document[list].is_null() {
            self.document[list] = json!([]);
        }
        let list = self.document[list].as_array_mut().unwrap();
        list.push(value);
        list.len() - 1
    }

    fn view(&mut self, bytes: &[u8]) -> usize {
        let view = json!({ "buffer": 0, "byteOffset": self.bytes.len(), "byteLength": bytes.len() });
        self.bytes.extend(bytes);
        self.push("bufferViews", view)
    }

    fn accessor(&mut self, bytes: &[u8], component: u32, kind: &str, count: usize) -> usize {
        let view = self.view(bytes);
        self.push("accessors", json!({ "bufferView": view, "componentType": component, "type": kind, "count": count }))
    }

    fn floats(&mut self, values: &[f32], kind: &str) -> usize {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let width = if kind == "VEC2" { 2 } else { 3 };
        self.accessor(&bytes, 5126, kind, values.len() / width)
    }

    fn texture(&mut self, texture: &Texture, sampler: Value) -> usize {
        let view = self.view(&to_png(texture).unwrap());
        let image = self.push("images", json!({ "bufferView": view, "mimeType": "image/png" }));
        let sampler = self.push("samplers", sampler);
        self.push("textures", json!({ "source": image, "sampler": sampler }))
    }

    fn primitive(&mut self, primitive: Value) {
        self.document["meshes"][0]["primitives"].as_array_mut().unwrap().push(primitive);
    }

    /// Two triangles over `[0, 1]²` of glTF's x and y at a depth, with texture coordinates `from..to`.
    fn square(&mut self, depth: f32, from: f32, to: f32, material: usize) -> Value {
        let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let positions = self.floats(&corners.map(|[x, y]| [x, y, depth]).concat(), "VEC3");
        let uv = |v: f32| from + (to - from) * v;
        let uvs = self.floats(&corners.map(|[x, y]| [uv(x), uv(1.0 - y)]).concat(), "VEC2");
        let indices = self.accessor(&[0, 1, 2, 0, 2, 3], 5121, "SCALAR", 6);
        json!({
            "attributes": { "POSITION": positions, "TEXCOORD_0": uvs }, "indices": indices, "material": material,
        })
    }

    fn json(&self) -> Vec<u8> {
        let mut document = self.document.clone();
        let uri = format!("data:application/octet-stream;base64,{}", STANDARD.encode(&self.bytes));
        document["buffers"] = json!([{ "byteLength": self.bytes.len(), "uri": uri }]);
        document.to_string().into_bytes()
    }

    fn read(&self) -> Result<Imported> {
        read_bytes(&self.json(), None)
    }
}

/// The colour of a mesh at a point of its plane, looked up through its triangles.
fn colour_at(mesh: &Mesh, point: Vec3) -> [u8; 3] {
    let found = mesh.triangles.iter().find_map(|t| {
        let [a, b, c] = t.map(|v| mesh.positions[v as usize]);
        let normal = (b - a).cross(c - a);
        let part = |p: Vec3, q: Vec3| (p - point).cross(q - point).dot(normal) / normal.length_squared();
        let weights = [part(b, c), part(c, a), part(a, b)];
        let flat = (point - a).dot(normal).abs() < 1e-4 * normal.length();
        (flat && weights.iter().all(|w| *w > -1e-4)).then_some((t, weights))
    });
    let (t, weights) = found.expect("the point is on the mesh");
    let mix = |of: &dyn Fn(usize) -> Vec3| t.iter().zip(weights).map(|(&v, w)| of(v as usize) * w).sum::<Vec3>();
    let rgb = match &mesh.texture {
        Some(texture) => texture.bilinear(mix(&|v| mesh.uvs[v].extend(0.0)).truncate()),
        None => mix(&|v| mesh.colours.get(v).map_or(Vec3::ONE, |c| Vec3::from(*c))).to_array(),
    };
    rgb.map(|v| (v * 255.0).round() as u8)
}

fn near(a: [u8; 3], b: [u8; 3], by: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= by)
}

/// Four quarters: red, green above, blue, white below; 8 texels a side.
fn quarters() -> Texture {
    let colour = |x, y| match (x < 4, y < 4) {
        (true, true) => [255, 0, 0],
        (false, true) => [0, 255, 0],
        (true, false) => [0, 0, 255],
        (false, false) => [255; 3],
    };
    let rgb = (0..8).flat_map(|y| (0..8).map(move |x| colour(x, y))).flatten().collect();
    Texture { width: 8, height: 8, rgb }
}
