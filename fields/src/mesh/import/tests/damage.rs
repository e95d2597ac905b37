//! Files that are cut, lie, or are damaged at random.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::super::glb::{container, to_glb, to_png};
use super::super::super::obj::to_obj;
use super::super::super::samples::{rainbows, torus};
use super::super::{MeshFormat, read, read_bytes};
use super::{OBJ, OPTIONS, Written, quarters};
use crate::rng::Rng;

#[test]
fn what_is_not_read_is_refused_by_name() {
    let mut file = Written::new();
    let square = file.square(0.0, 0.0, 1.0, 0);
    file.push("materials", json!({}));
    let at = square["attributes"]["POSITION"].as_u64().unwrap() as usize;
    file.primitive(square);
    let said = |change: &dyn Fn(&mut Value)| {
        let mut other = Written { document: file.document.clone(), bytes: file.bytes.clone() };
        change(&mut other.document);
        other.read().expect_err("it was changed").what
    };
    assert!(
        said(&|d| d["extensionsRequired"] = json!(["KHR_draco_mesh_compression"]))
            .contains("KHR_draco_mesh_compression")
    );
    assert!(
        said(&|d| d["extensionsRequired"] = json!(["EXT_meshopt_compression"])).contains("EXT_meshopt_compression")
    );
    assert!(said(&|d| d["extensionsRequired"] = json!(["ACME_shape"])).contains("ACME_shape"));
    assert!(
        said(&|d| d["bufferViews"][0]["extensions"] = json!({ "EXT_meshopt_compression": {} })).contains("meshopt")
    );
    assert!(
        said(&|d| {
            d["accessors"][at].as_object_mut().unwrap().remove("bufferView");
            d["meshes"][0]["primitives"][0]["extensions"] =
                json!({ "KHR_draco_mesh_compression": { "bufferView": 0 } });
        })
        .contains("KHR_draco_mesh_compression")
    );
    assert!(
        said(&|d| {
            d["materials"][0] = json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": 0 } } });
            d["textures"] = json!([{ "extensions": { "KHR_texture_basisu": { "source": 0 } } }]);
        })
        .contains("KHR_texture_basisu")
    );
    assert!(
        said(&|d| {
            let infinite = json!({ "KHR_texture_transform": { "scale": [1e39, 1.0] } });
            d["materials"][0] = json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": 0 } } });
            d["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = infinite;
            d["textures"] = json!([{ "source": 0 }]);
            d["images"] = json!([{ "uri": format!("data:;base64,{}", STANDARD.encode(to_png(&quarters()).unwrap())) }]);
        })
        .contains("texture coordinate")
    );
    // Lies: what is named must be there.
    assert!(said(&|d| d["accessors"][at]["count"] = json!(5)).contains("reach past"));
    assert!(said(&|d| d["accessors"][at]["count"] = json!(u64::MAX)).contains("vertices"));
    assert!(said(&|d| d["accessors"][at]["byteOffset"] = json!(u64::MAX)).contains("reach past"));
    assert!(said(&|d| d["accessors"][at]["componentType"] = json!(5124)).contains("5124"));
    assert!(said(&|d| d["accessors"][at]["type"] = json!("VEC2")).contains("VEC2"));
    assert!(said(&|d| d["bufferViews"][0]["byteLength"] = json!(1_u64 << 40)).contains("reaches past"));
    assert!(said(&|d| d["bufferViews"][0]["byteStride"] = json!(2)).contains("stride"));
    assert!(said(&|d| d["meshes"][0]["primitives"][0]["material"] = json!(7)).contains("material 7"));
    assert!(said(&|d| d["nodes"][0]["matrix"] = json!(vec![1e39; 16])).contains("number"));
    assert!(said(&|d| d["nodes"][0]["children"] = json!([3])).contains("node 3"));
    assert!(said(&|d| d["meshes"][0]["primitives"][0]["mode"] = json!(9)).contains("mode 9"));
    assert!(said(&|d| d["meshes"][0]["primitives"] = json!([])).contains("no triangles"));
    assert!(said(&|d| d["meshes"] = json!(3)).contains("document"));
}

#[test]
fn damaged_obj_lines_are_named() {
    let said = |text: &str| read_bytes(text.as_bytes(), None).expect_err("it is damaged").what;
    let three = "v 0 0 0\nv 1 0 0\nv 0 1 0\n";
    assert!(said(&format!("{three}f 1 2 9\n")).contains("position 9"));
    assert!(said(&format!("{three}f 1 2/1 3\n")).contains("texture coordinate 1"));
    assert!(said(&format!("{three}f 1 2 0\n")).contains("line 4"));
    assert!(said(&format!("{three}f 1 2 -4\n")).contains("line 4"));
    assert!(said(&format!("{three}f 1 2\n")).contains("three corners"));
    assert!(said(&format!("{three}f 1 2 3/1/1/1\n")).contains("corner"));
    assert!(said(&format!("{three}v 1 x 2\n")).contains("\"x\""));
    assert!(said(&format!("{three}v 1 2\n")).contains("3 numbers"));
    assert!(said(&format!("{three}v nan 0 0\nf 1 2 3\n")).contains("not a number"));
    assert!(said("hello\nworld\n").contains("neither"));
    assert!(said("").contains("neither"));
    assert!(said(three).contains("no triangles"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.obj");
    std::fs::write(folder.path().join("a.mtl"), "newmtl one\nKd 1 0\n").unwrap();
    std::fs::write(&path, OBJ).unwrap();
    assert!(read(&path).unwrap_err().what.contains("line 2 (\"Kd 1 0\")"));
}

/// Files for the damage: each reader path is on the way through at least one.
fn victims() -> Vec<Vec<u8>> {
    let mut file = Written::new();
    let texture = file.texture(&quarters(), json!({ "wrapS": 33648 }));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": texture } } }));
    file.push("materials", json!({ "pbrMetallicRoughness": { "baseColorFactor": [0.1, 0.2, 0.3, 1.0] } }));
    for (depth, from, material) in [(0.0, 0.0, 0), (1.0, -3.5, 0), (2.0, 0.0, 1)] {
        let square = file.square(depth, from, from + 2.0, material);
        file.primitive(square);
    }
    file.document["buffers"] = json!([{ "byteLength": file.bytes.len() }]);
    let mut painted = torus(5, 4);
    painted.colours = rainbows(&painted.positions);
    let obj = format!("{}{OBJ}", to_obj(&painted, "x", "").unwrap().obj);
    vec![
        container(&file.document, &file.bytes).unwrap(),
        to_glb(&painted, &OPTIONS).unwrap(),
        file.json(),
        obj.into_bytes(),
    ]
}

#[test]
fn cut_files_give_errors() {
    for file in victims() {
        assert!(read_bytes(&file, None).is_ok());
        let is_text = MeshFormat::of(&file) == Some(MeshFormat::Obj);
        for k in 0..200 {
            let done = read_bytes(&file[..file.len() * k / 200], None);
            assert!(is_text || done.is_err(), "cut at {k} of 200");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut rng = Rng::new(11, "flips");
    let mut refused = 0;
    for file in victims() {
        for _ in 0..400 {
            let mut other = file.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(other.len());
                other[at] ^= 1 << rng.below(8);
            }
            refused += usize::from(read_bytes(&other, None).is_err());
        }
    }
    assert!(refused > 200, "{refused}");
}
