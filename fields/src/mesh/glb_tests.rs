//! What the written bytes say, read without the reader of this crate; that one is tested on them in `import`.

use glam::{Vec2, Vec3};
use serde_json::Value;

use super::super::samples::{cube, torus};
use super::super::{Mesh, Texture};
use super::{GlbOptions, Paint, gltf_from_ours, ours_from_gltf, predicted_size, to_glb, to_png};

const OPTIONS: GlbOptions<'static> = GlbOptions { generator: "Retort 0.0.0", lit: false };

/// The document and the bytes, found by the lengths in the header.
fn parts(glb: &[u8]) -> (Value, &[u8]) {
    let word = |at: usize| u32::from_le_bytes(glb[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&glb[..4], word(4), word(8)), (&b"glTF"[..], 2, glb.len()));
    let (json, bin) = (word(12), 20 + word(12));
    assert_eq!((&glb[16..20], &glb[bin + 4..bin + 8]), (&b"JSON"[..], &b"BIN\0"[..]));
    assert_eq!((json % 4, word(bin) % 4, bin + 8 + word(bin)), (0, 0, glb.len()));
    (serde_json::from_slice(&glb[20..bin]).unwrap(), &glb[bin + 8..])
}

fn bytes<'a>(document: &Value, bin: &'a [u8], accessor: u64) -> &'a [u8] {
    let view = &document["accessors"][accessor as usize]["bufferView"];
    let view = &document["bufferViews"][view.as_u64().unwrap() as usize];
    let at = |key: &str| view[key].as_u64().unwrap() as usize;
    assert_eq!(at("byteOffset") % 4, 0);
    &bin[at("byteOffset")..][..at("byteLength")]
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn axes_go_there_and_back() {
    assert_eq!(gltf_from_ours(Vec3::Z), Vec3::Y, "up stays up");
    assert_eq!(gltf_from_ours(Vec3::new(1.0, 2.0, 3.0)), Vec3::new(1.0, 3.0, -2.0));
    assert_eq!(ours_from_gltf(gltf_from_ours(Vec3::new(1.0, 2.0, 3.0))), Vec3::new(1.0, 2.0, 3.0));
    let [x, y, z] = Vec3::AXES.map(gltf_from_ours);
    assert!(x.cross(y).dot(z) > 0.0, "a turn, not a mirror");
}

#[test]
fn a_textured_cube_says_what_it_is() {
    let mesh = Mesh { texture: Some(Texture { width: 2, height: 1, rgb: vec![255, 0, 0, 0, 0, 255] }), ..cube() };
    let glb = to_glb(&mesh, &OPTIONS).unwrap();
    let (document, bin) = parts(&glb);
    assert_eq!(document["asset"]["generator"], "Retort 0.0.0");
    assert_eq!(document["extensionsUsed"][0], "KHR_materials_unlit");
    let primitive = &document["meshes"][0]["primitives"][0];
    let attribute = |name: &str| primitive["attributes"][name].as_u64().unwrap();
    let positions = floats(bytes(&document, bin, attribute("POSITION")));
    assert_eq!(positions[3..6], gltf_from_ours(mesh.positions[1]).to_array());
    let accessor = &document["accessors"][attribute("POSITION") as usize];
    assert_eq!(accessor["min"], serde_json::json!([0.0, 0.0, -1.0]));
    assert_eq!(accessor["max"], serde_json::json!([1.0, 1.0, 0.0]));
    assert_eq!(floats(bytes(&document, bin, attribute("NORMAL")))[..3], gltf_from_ours(mesh.normals[0]).to_array());
    assert_eq!(floats(bytes(&document, bin, attribute("TEXCOORD_0")))[..2], mesh.uvs[0].to_array());
    let indices = bytes(&document, bin, primitive["indices"].as_u64().unwrap());
    assert_eq!(indices[..6], [0, 0, 1, 0, 2, 0], "16 bits suffice");
    let view = &document["bufferViews"][document["images"][0]["bufferView"].as_u64().unwrap() as usize];
    let png = &bin[view["byteOffset"].as_u64().unwrap() as usize..][..view["byteLength"].as_u64().unwrap() as usize];
    assert_eq!(image::load_from_memory(png).unwrap().into_rgb8().into_raw(), [255, 0, 0, 0, 0, 255]);
    let lit = to_glb(&mesh, &GlbOptions { lit: true, ..OPTIONS }).unwrap();
    assert!(parts(&lit).0.get("extensionsUsed").is_none());
}

#[test]
fn colours_of_vertices_are_linear() {
    let mesh = Mesh { colours: vec![[0.5, 0.0, 1.0]; 24], uvs: Vec::new(), ..cube() };
    let glb = to_glb(&mesh, &OPTIONS).unwrap();
    let (document, bin) = parts(&glb);
    let at = document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"].as_u64().unwrap();
    assert_eq!(document["accessors"][at as usize]["normalized"], true);
    // 0.2140 of 65535, 0, all, and no alpha.
    let words: Vec<u16> =
        bytes(&document, bin, at)[..8].as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
    assert_eq!(words, [14027, 0, 65535, 65535]);
    assert!(document.get("textures").is_none());
}

#[test]
fn normals_are_unit_and_made_where_missing() {
    let mut mesh = Mesh { normals: Vec::new(), uvs: Vec::new(), ..cube() };
    let of = |mesh: &Mesh| {
        let glb = to_glb(mesh, &OPTIONS).unwrap();
        let (document, bin) = parts(&glb);
        let at = document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"].as_u64().unwrap();
        floats(bytes(&document, bin, at))
    };
    let right: Vec<f32> = cube().normals.iter().flat_map(|n| gltf_from_ours(*n).to_array()).collect();
    assert_eq!(of(&mesh), right);
    mesh.normals = cube().normals.iter().map(|n| *n * 3.0).collect();
    mesh.normals[0] = Vec3::ZERO;
    let found = of(&mesh);
    assert!(found[..3] == [0.0, 1.0, 0.0] && found[3..] == right[3..]);
}

#[test]
fn sizes_are_predicted() {
    for (around, across) in [(20, 10), (300, 250)] {
        let mut mesh = torus(around, across);
        let (vertices, triangles) = (mesh.positions.len(), mesh.triangles.len());
        let near = |mesh: &Mesh, paint| {
            let size = to_glb(mesh, &OPTIONS).unwrap().len() as u64;
            let said = predicted_size(vertices, triangles, paint);
            assert!(said.abs_diff(size) < 1000, "{said} for {size}");
        };
        near(&mesh, Paint::None);
        mesh.colours = vec![[0.5; 3]; vertices];
        near(&mesh, Paint::Vertices);
    }
    let textured = predicted_size(1000, 2000, Paint::Texture(1024)) - predicted_size(1000, 2000, Paint::None);
    assert!((1 << 20..2 << 20).contains(&textured));
}

#[test]
fn broken_meshes_are_refused() {
    assert!(to_glb(&Mesh::default(), &OPTIONS).is_err());
    assert!(to_glb(&Mesh { uvs: vec![Vec2::ZERO], ..cube() }, &OPTIONS).is_err());
    assert!(to_png(&Texture { width: 2, height: 2, rgb: vec![0; 3] }).is_err());
}
