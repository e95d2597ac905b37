//! Files by hand, for what our writers never write.

use std::path::Path;

use glam::Vec3;
use serde_json::{Value, json};

use super::super::super::glb::to_png;
use super::super::super::srgb;
use super::super::{read, read_bytes};
use super::{OBJ, Written, colour_at, near, quarters};

#[test]
fn several_materials_share_one_texture_and_keep_their_colours() {
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({}));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
    file.push(
        "materials",
        json!({ "pbrMetallicRoughness": {
        "baseColorTexture": { "index": texture }, "baseColorFactor": [0.214, 1.0, 1.0, 1.0] } }),
    );
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorFactor": [0.0, 0.214, 1.0, 1.0] } }));
    for (depth, material) in [(0.0, 0), (-1.0, 1), (-2.0, 2)] {
        let square = file.square(depth, 0.0, 1.0, material);
        file.primitive(square);
    }
    let mesh = file.read().unwrap().mesh;
    assert_eq!(mesh.triangles.len(), 6);
    // glTF's y is our z, and its depth -z our y.
    let at = |x, z, y| colour_at(&mesh, Vec3::new(x, y, z));
    assert_eq!([at(0.25, 0.75, 0.0), at(0.75, 0.75, 0.0)], [[255, 0, 0], [0, 255, 0]], "upright");
    assert_eq!([at(0.25, 0.25, 0.0), at(0.75, 0.25, 0.0)], [[0, 0, 255], [255; 3]]);
    assert!(near(at(0.25, 0.75, 1.0), [128, 0, 0], 1) && near(at(0.75, 0.25, 1.0), [128, 255, 255], 1));
    assert!(near(at(0.5, 0.5, 2.0), [0, 128, 255], 1));
}

#[test]
fn repeats_mirrors_and_clamped_borders_are_written_out() {
    let at = |sampler: Value, from: f32, to: f32| {
        let mut file = Written::new();
        let texture = file.texture(&quarters(), sampler);
        file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
        let square = file.square(0.0, from, to, 0);
        file.primitive(square);
        let done = file.read().unwrap();
        assert!(done.notes.is_empty());
        let size = done.mesh.texture.as_ref().map(|t| [t.width, t.height]).unwrap();
        // The colours along a row in the upper quarter of each repeat, where v is a quarter past a whole number.
        let row = |v: f32, u: f32| {
            colour_at(&done.mesh, Vec3::new((u - from) / (to - from), 0.0, 1.0 - (v - from) / (to - from)))
        };
        (size, [0.25, 0.75, 1.25, 1.75, 2.25].map(|u| row(1.25, u)))
    };
    let [red, green] = [[255, 0, 0], [0, 255, 0]];
    let [blue, white] = [[0, 0, 255], [255; 3]];
    assert_eq!(at(json!({}), 0.0, 3.0).1, [red, green, red, green, red]);
    assert_eq!(at(json!({ "wrapS": 33648 }), 0.0, 3.0).1, [red, green, green, red, red]);
    assert_eq!(at(json!({ "wrapS": 33071, "wrapT": 33071 }), 0.0, 3.0).1, [blue, white, white, white, white]);
    let moved = |from: f32| {
        let mut file = Written::new();
        let texture = file.texture(&quarters(), json!({}));
        file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
        let square = file.square(0.0, from, from + 1.0, 0);
        file.primitive(square);
        file.read().unwrap().mesh
    };
    assert_eq!(moved(-7.0).texture.unwrap(), quarters(), "a whole repeat away needs no other texture");
    assert_eq!(colour_at(&moved(-7.0), Vec3::new(0.25, 0.0, 0.75)), red);
    let half = moved(0.5);
    assert_eq!(colour_at(&half, Vec3::new(0.25, 0.0, 0.75)), white);
    assert!(half.texture.unwrap().width > 8);
}

#[test]
fn repeats_without_number_keep_the_mean_colour() {
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({}));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
    let square = file.square(0.0, 0.0, 20_000.0, 0);
    file.primitive(square);
    let done = file.read().unwrap();
    assert!(done.notes[0].contains("smaller"));
    // Half of each channel's light is encoded as 188.
    let mean = colour_at(&done.mesh, Vec3::new(0.43, 0.0, 0.61));
    assert!(near(mean, [188; 3], 3), "{mean:?}");
    // So often along u alone, the upper half is red and green, the lower one blue and white.
    file.document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] =
        json!({ "KHR_texture_transform": { "scale": [1.0, 1.0 / 20_000.0] } });
    let mesh = file.read().unwrap().mesh;
    let [above, below] = [0.75, 0.25].map(|z| colour_at(&mesh, Vec3::new(0.43, 0.0, z)));
    assert!(near(above, [188, 188, 0], 3) && near(below, [188, 188, 255], 3), "{above:?} {below:?}");
}

#[test]
fn tints_of_vertices_multiply_a_texture() {
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({}));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
    let mut square = file.square(0.0, 0.0, 1.0, 0);
    // Black on the left, white on the right.
    let tints = file.floats(&[[0.0; 3], [1.0; 3], [1.0; 3], [0.0; 3]].concat(), "VEC3");
    square["attributes"]["COLOR_0"] = json!(tints);
    file.primitive(square);
    let mesh = file.read().unwrap().mesh;
    let at = |x, z| colour_at(&mesh, Vec3::new(x, 0.0, z));
    let grey = |linear: f32| (srgb::encode(linear) * 255.0).round() as u8;
    assert!(near(at(0.25, 0.75), [grey(0.25), 0, 0], 2), "{:?}", at(0.25, 0.75));
    assert!(near(at(0.75, 0.25), [grey(0.75); 3], 2) && near(at(0.9, 0.75), [0, grey(0.9), 0], 2));
    assert!(mesh.colours.is_empty() && mesh.texture.is_some());
}

#[test]
fn nodes_place_their_meshes() {
    let mut file = Written::new();
    let square = file.square(0.0, 0.0, 1.0, 0);
    file.push("materials", json!({}));
    file.primitive(square);
    file.document["nodes"] = json!([
        { "mesh": 0, "translation": [0.0, 5.0, 0.0], "children": [1] },
        // A quarter turn about y, twice as large, and mirrored along its x.
        { "mesh": 0, "rotation": [0.0, std::f32::consts::FRAC_1_SQRT_2, 0.0, std::f32::consts::FRAC_1_SQRT_2],
          "scale": [-2.0, 2.0, 2.0] },
        { "mesh": 0, "translation": [9.0, 9.0, 9.0] },
    ]);
    let mesh = file.read().unwrap().mesh;
    assert_eq!(mesh.triangles.len(), 4, "the third node is in no scene");
    let mean = |range: std::ops::Range<usize>| {
        let all: Vec<Vec3> = mesh.triangles[range].iter().flatten().map(|&v| mesh.positions[v as usize]).collect();
        all.iter().sum::<Vec3>() / all.len() as f32
    };
    assert!((mean(0..2) - Vec3::new(0.5, 0.0, 5.5)).length() < 0.2);
    // x of the mesh goes to -z of glTF by the turn, to +z by the mirror, which is our -y.
    assert!((mean(2..4) - Vec3::new(0.0, -1.0, 6.0)).length() < 0.4, "{}", mean(2..4));
    for t in &mesh.triangles {
        let [a, b, c] = t.map(|v| mesh.positions[v as usize]);
        let normal = (b - a).cross(c - a).normalize();
        assert!((normal - mesh.normals[t[0] as usize]).length() < 1e-5, "turned over");
    }
    let front = mesh.normals[mesh.triangles[0][0] as usize];
    assert!((front - Vec3::NEG_Y).length() < 1e-6, "towards the viewer is +z in glTF and -y here");
    file.document["nodes"][1]["children"] = json!([0]);
    assert!(file.read().unwrap_err().what.contains("two parents"));
}

#[test]
fn strips_fans_points_and_quantised_values_are_read() {
    let mut file = Written::new();
    // Positions as normalised bytes, strided by 4; a strip without indices.
    let strip: [[i8; 4]; 4] = [[0, 0, 0, 9], [127, 0, 0, 9], [0, 127, 0, 9], [127, 127, 0, 9]];
    let view = file.view(&strip.concat().iter().map(|v| *v as u8).collect::<Vec<_>>());
    file.document["bufferViews"][view]["byteStride"] = json!(4);
    let at = file.push(
        "accessors",
        json!({
        "bufferView": view, "componentType": 5120, "normalized": true, "type": "VEC3", "count": 4 }),
    );
    file.primitive(json!({ "attributes": { "POSITION": at }, "mode": 5 }));
    file.primitive(json!({ "attributes": { "POSITION": at }, "mode": 0 }));
    // A fan around the first, and one flat triangle.
    let order: Vec<u8> = [0_u16, 1, 3, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let fan = file.accessor(&order, 5123, "SCALAR", 4);
    file.primitive(json!({ "attributes": { "POSITION": at }, "mode": 6, "indices": fan }));
    let flat = file.accessor(&[0, 1, 1], 5121, "SCALAR", 3);
    file.primitive(json!({ "attributes": { "POSITION": at }, "indices": flat }));
    file.document["extensionsRequired"] = json!(["KHR_mesh_quantization"]);
    let done = file.read().unwrap();
    assert_eq!((done.mesh.triangles.len(), done.notes.len()), (4, 1));
    for t in &done.mesh.triangles {
        let [a, b, c] = t.map(|v| done.mesh.positions[v as usize]);
        assert!((b - a).cross(c - a).dot(Vec3::NEG_Y) > 0.99, "{a} {b} {c}");
        assert!((done.mesh.normals[t[0] as usize] - Vec3::NEG_Y).length() < 1e-6);
    }
}

#[test]
fn sparse_values_replace_others() {
    let mut file = Written::new();
    let square = file.square(0.0, 0.0, 1.0, 0);
    file.push("materials", json!({}));
    let at = square["attributes"]["POSITION"].as_u64().unwrap() as usize;
    file.primitive(square);
    let places = file.view(&[2, 0, 0, 0]);
    let values = file.view(&[3.0_f32, 4.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
    file.document["accessors"][at]["sparse"] = json!({
        "count": 1, "indices": { "bufferView": places, "componentType": 5121 }, "values": { "bufferView": values } });
    assert_eq!(file.read().unwrap().mesh.positions[2], Vec3::new(3.0, 0.0, 4.0));
    file.document["accessors"][at]["sparse"]["indices"]["byteOffset"] = json!(3);
    assert_eq!(file.read().unwrap().mesh.positions[0], Vec3::new(3.0, 0.0, 4.0));
    file.bytes[places] = 0;
    let offset = file.document["bufferViews"][places]["byteOffset"].as_u64().unwrap() as usize;
    file.bytes[offset + 3] = 200;
    assert!(file.read().unwrap_err().what.contains("sparse"));
}

#[test]
fn a_texture_transform_and_an_older_material_are_known() {
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({}));
    file.push("materials", json!({ "extensions": { "KHR_materials_pbrSpecularGlossiness": { "diffuseTexture": {
        "index": texture, "extensions": { "KHR_texture_transform": { "offset": [0.5, 0.0], "scale": [0.5, 0.5] } } } } } }));
    file.push(
        "materials",
        json!({ "emissiveFactor": [0.0, 1.0, 0.0],
        "pbrMetallicRoughness": { "baseColorFactor": [0.0, 0.0, 0.0, 1.0] } }),
    );
    for (depth, material) in [(0.0, 0), (-1.0, 1)] {
        let square = file.square(depth, 0.0, 1.0, material);
        file.primitive(square);
    }
    let mesh = file.read().unwrap().mesh;
    // Only the upper right quarter is seen.
    assert_eq!(colour_at(&mesh, Vec3::new(0.25, 0.0, 0.25)), [0, 255, 0]);
    assert_eq!(colour_at(&mesh, Vec3::new(0.75, 0.0, 0.75)), [0, 255, 0]);
    assert_eq!(colour_at(&mesh, Vec3::new(0.5, 1.0, 0.5)), [0, 255, 0]);
    // A quarter turn takes (u, v) to (v, -u): what was below on the left is now right of it.
    file.document["materials"][0] = json!({ "pbrMetallicRoughness": { "baseColorTexture": {
        "index": texture, "extensions": { "KHR_texture_transform": { "rotation": std::f32::consts::FRAC_PI_2 } } } } });
    let mesh = file.read().unwrap().mesh;
    let at = |u: f32, v: f32| colour_at(&mesh, Vec3::new(u, 0.0, 1.0 - v));
    assert_eq!([at(0.25, 0.75), at(0.25, 0.25), at(0.75, 0.75)], [[255; 3], [0, 0, 255], [0, 255, 0]]);
}

#[test]
fn files_beside_a_gltf_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({}));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
    let square = file.square(0.0, 0.0, 1.0, 0);
    file.primitive(square);
    file.document["images"] = json!([{ "uri": "a%20picture.png" }]);
    file.document["buffers"] = json!([{ "byteLength": file.bytes.len(), "uri": "data.bin" }]);
    let text = file.document.to_string();
    let path = folder.path().join("thing.gltf");
    std::fs::write(&path, &text).unwrap();
    std::fs::write(folder.path().join("data.bin"), &file.bytes).unwrap();
    assert!(read(&path).is_err(), "the picture is missing");
    std::fs::write(folder.path().join("a picture.png"), to_png(&quarters()).unwrap()).unwrap();
    assert_eq!(read(&path).unwrap().mesh.texture.unwrap(), quarters());
    assert!(read_bytes(text.as_bytes(), None).unwrap_err().what.contains("another file"));
    std::fs::write(folder.path().join("data.bin"), &file.bytes[1..]).unwrap();
    assert!(read(&path).unwrap_err().what.contains("buffer 0"));
    assert!(read(Path::new("no such file.glb")).is_err() && read(folder.path()).is_err());
}

#[test]
fn an_obj_by_hand_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/q.png"), to_png(&quarters()).unwrap()).unwrap();
    let mtl = "newmtl one\nKd 0 0 0\nmap_Kd -s 1 1 1 -o 0 0 sub\\q.png\n\nnewmtl two\n Kd 0.5 0 1\n";
    std::fs::write(folder.path().join("a.mtl"), mtl).unwrap();
    let path = folder.path().join("a.obj");
    std::fs::write(&path, OBJ).unwrap();
    let done = read(&path).unwrap();
    assert_eq!((done.mesh.triangles.len(), &done.notes[..]), (3, &["points and lines are left out".to_string()][..]));
    let at = |x, z, y| colour_at(&done.mesh, Vec3::new(x, y, z));
    assert_eq!([at(0.25, 0.75, 0.0), at(0.75, 0.25, 0.0)], [[255, 0, 0], [255; 3]]);
    assert_eq!(at(0.25, 0.25, 1.0), [128, 0, 255]);
    assert!((done.mesh.normals[0] - Vec3::NEG_Y).length() < 1e-6);
    // Half the texture, from the middle on, along u.
    std::fs::write(folder.path().join("a.mtl"), mtl.replace("-s 1 1 1 -o 0 0", "-s 0.5 1 -o 0.5")).unwrap();
    let half = read(&path).unwrap().mesh;
    assert_eq!(colour_at(&half, Vec3::new(0.25, 0.0, 0.75)), [0, 255, 0]);
}
