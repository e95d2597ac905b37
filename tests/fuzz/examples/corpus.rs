//! Writes the files from which the fuzzer starts: `cargo run --example corpus -- FOLDER`. Each is read once first, so that
//! none is a file that is refused at its door.

use std::io::Cursor;
use std::path::Path;

use glam::{Vec2, Vec3};
use retort_fuzz::files::archive::Archive;
use retort_fuzz::files::splats::{Source, Splats, rest_per_splat};
use retort_fuzz::files::trainers::{ingp, pytorch, seeds, svox2};
use retort_fuzz::inputs::{NPZ, PARTS, SOG, TORCH, format, parts_of};
use retort_fuzz::mesh::glb::{GlbOptions, to_glb};
use retort_fuzz::mesh::obj::to_obj;
use retort_fuzz::mesh::{Mesh, Texture, import};
use retort_fuzz::rng::Rng;
use serde_json::json;

fn splats(n: usize, degree: u32) -> Splats {
    let mut rng = Rng::new(u64::from(degree), "corpus");
    let mut splats = Splats::zeros(n, degree);
    splats.means.as_flattened_mut().iter_mut().for_each(|v| *v = rng.range(-2.0, 2.0));
    splats.log_scales.as_flattened_mut().iter_mut().for_each(|v| *v = rng.range(-5.0, -1.0));
    splats.raw_opacity.iter_mut().for_each(|v| *v = rng.range(-3.0, 3.0));
    splats.sh_dc.as_flattened_mut().iter_mut().for_each(|v| *v = rng.range(-1.0, 1.0));
    splats.sh_rest.iter_mut().for_each(|v| *v = rng.range(-0.5, 0.5));
    splats
}

fn written(name: &str, splats: &Splats) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    format(name).write(splats, &mut out).expect("memory can be written");
    let bytes = out.into_inner();
    format(name).read(&mut Source::memory(&bytes)).expect("what was written is read");
    bytes
}

/// SPZ of version 2 without its gzip: three Gaussians of degree 1, all bytes alike.
fn old_spz() -> Vec<u8> {
    let mut bytes = vec![PARTS];
    bytes.extend(b"NGSP");
    bytes.extend([2_u32, 3].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([1, 12, 0, 0]);
    bytes.extend([100; 3 * (9 + 1 + 3 + 3 + 3 + 9)]);
    bytes
}

/// A `.ksplat` of two Gaussians in one full bucket.
fn ksplat(level: u16, degree: u16) -> Vec<u8> {
    let mut bytes = vec![0; 4096 + 1024];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(1, &[1]);
    [(4, 1_u32), (8, 1), (12, 2), (16, 2)].iter().for_each(|(at, value)| put(*at, &value.to_le_bytes()));
    put(20, &level.to_le_bytes());
    [(0, 2_u32), (4, 2)].iter().for_each(|(at, value)| put(4096 + at, &value.to_le_bytes()));
    put(4096 + 40, &degree.to_le_bytes());
    if level > 0 {
        let fields = [(8, 2_u32), (12, 1), (24, 32767), (32, 1), (36, 0)];
        fields.iter().for_each(|(at, value)| put(4096 + at, &value.to_le_bytes()));
        put(4096 + 16, &6_f32.to_le_bytes());
        put(4096 + 20, &12_u16.to_le_bytes());
        bytes.extend([0; 12]);
    }
    let [centre, shape, harmonic] = [[4, 4, 4], [2, 2, 2], [2, 2, 1]][usize::from(level)];
    let stride = 3 * centre + 7 * shape + 4 + rest_per_splat(u32::from(degree)) * harmonic;
    bytes.extend(vec![0x3c; 2 * stride]);
    format("ksplat").read(&mut Source::memory(&bytes)).expect("the seed is read");
    bytes
}

/// `(0, 0, 0)`, `(1, 0, 0)`, `(0, 1, 0)`
const CORNERS: &str = "data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA";

fn meshes() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Mesh {
        positions: vec![Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z],
        triangles: vec![[0, 1, 2], [0, 2, 3], [0, 3, 1]],
        ..Mesh::default()
    };
    let painted = Mesh { colours: vec![[0.2, 0.4, 0.6], [1.0; 3], [0.0; 3], [0.5, 0.1, 0.9]], ..plain.clone() };
    let texture = Texture { width: 2, height: 2, rgb: (0..12).map(|i| 20 * i).collect() };
    let uvs = vec![Vec2::ZERO, Vec2::X, Vec2::Y, Vec2::ONE];
    let textured = Mesh { uvs, texture: Some(texture), ..plain.clone() };
    let glb = |mesh: &Mesh| to_glb(mesh, &GlbOptions { generator: "corpus", lit: true }).expect("a mesh is written");
    let obj = |mesh: &Mesh| to_obj(mesh, "corpus", "corpus").expect("a mesh is written").obj.into_bytes();
    let gltf = json!({
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "rotation": [0.0, 0.0, 0.0, 1.0], "children": [1]}, {"mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 4}]}],
        "accessors": [{
            "bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [0, 0, 0],
            "sparse": {
                "count": 1, "indices": {"bufferView": 0, "componentType": 5121}, "values": {"bufferView": 0},
            },
        }],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36, "uri": CORNERS}],
    });
    let all = vec![
        ("plain.glb", glb(&plain)),
        ("painted.glb", glb(&painted)),
        ("textured.glb", glb(&textured)),
        ("loose.gltf", gltf.to_string().into_bytes()),
        ("plain.obj", obj(&plain)),
        ("painted.obj", obj(&painted)),
        (
            "faces.obj",
            b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\ng a\nf 1/1/1 -3/1/1 3//1 4\nl 1 2\n".to_vec(),
        ),
    ];
    let read = |(_, bytes): &(&str, Vec<u8>)| drop(import::read_bytes(bytes, None).expect("the seed is read"));
    all.iter().for_each(read);
    all
}

fn archive() -> Vec<u8> {
    let archive = Archive {
        json: json!({"kind": "mlp", "version": 1, "numbers": [0.5, -3, 1e30]}),
        tensors: vec![("a".into(), [2, 3], vec![0.5; 6]), ("b".into(), [1, 1], vec![-1.0])],
        bytes: vec![("extra.c".into(), vec![1, 2, 3])],
    };
    archive.to_bytes().expect("values fill their shapes")
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("a folder");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    for format in ["ply", "compressed-ply", "spz", "sog", "glb", "splat"] {
        let target = format!("splats_{}", format.replace('-', "_"));
        for degree in [0, 1, 3] {
            let bytes = written(format, &splats(3, degree));
            put(&target, &format!("degree{degree}"), &bytes)?;
            if format == "sog" {
                put(&target, &format!("degree{degree}_parts"), &parts_of(SOG, &bytes))?;
            }
        }
    }
    put("splats_spz", "version2", &old_spz())?;
    for (level, degree) in [(0, 0), (1, 1), (2, 2)] {
        put("splats_ksplat", &format!("level{level}"), &ksplat(level, degree))?;
    }
    meshes().iter().try_for_each(|(name, bytes)| put("mesh", name, bytes))?;
    put("archive", "archive", &archive())?;
    for (name, bytes) in seeds::torch() {
        if name != "values" {
            pytorch::read(&mut Source::memory(&bytes)).map_err(|e| std::io::Error::other(format!("{name}: {e}")))?;
        }
        put("torch", name, &bytes)?;
        put("torch", &format!("{name}_parts"), &parts_of(TORCH, &bytes))?;
    }
    for (functions, packed) in [(1, false), (4, true), (9, true)] {
        let bytes = seeds::npz(functions, packed);
        svox2::read(&mut Source::memory(&bytes)).map_err(std::io::Error::other)?;
        put("npz", &format!("harmonics{functions}"), &bytes)?;
        put("npz", &format!("harmonics{functions}_parts"), &parts_of(NPZ, &bytes))?;
    }
    for (name, bytes) in [("snapshot", seeds::msgpack()), ("mixture", seeds::mixture()), ("packed", seeds::ingp())] {
        ingp::read(&mut Source::memory(&bytes)).map_err(|e| std::io::Error::other(format!("{name}: {e}")))?;
        put("msgpack", name, &bytes)?;
    }
    Ok(())
}
