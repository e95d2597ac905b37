use std::io::Cursor;

use glam::{DMat3, DQuat, DVec3, Vec3};
use serde_json::{Value, json};

use super::super::finite::tests::apart;
use super::super::gaussians::tests::sample;
use super::super::turn::turned;
use super::*;
use crate::rng::Rng;

fn written(splats: &Splats) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    KhrGlb.write(splats, &mut out).expect("written");
    out.into_inner()
}

fn read(bytes: &[u8]) -> Result<Splats> {
    KhrGlb.read(&mut Source::memory(bytes))
}

/// The document and the second chunk.
fn taken_apart(glb: &[u8]) -> (Value, Vec<u8>) {
    let length = u32::from_le_bytes(glb[12..16].try_into().expect("four")) as usize;
    (serde_json::from_slice(&glb[20..20 + length]).expect("json"), glb[28 + length..].to_vec())
}

fn put_together(document: &Value, bin: &[u8]) -> Vec<u8> {
    let mut text = serde_json::to_vec(document).expect("json");
    text.resize(text.len().next_multiple_of(4), b' ');
    let mut glb = b"glTF\x02\0\0\0".to_vec();
    glb.extend(((28 + text.len() + bin.len()) as u32).to_le_bytes());
    glb.extend((text.len() as u32).to_le_bytes());
    glb.extend(b"JSON");
    glb.extend(text);
    glb.extend((bin.len() as u32).to_le_bytes());
    glb.extend(b"BIN\0");
    glb.extend(bin);
    glb
}

/// What comes of a file whose document is changed.
fn changed(splats: &Splats, change: impl Fn(&mut Value)) -> Result<Splats> {
    let (mut document, bin) = taken_apart(&written(splats));
    change(&mut document);
    read(&put_together(&document, &bin))
}

#[test]
fn a_round_trip_loses_nothing() {
    for degree in 0..=3 {
        let splats = Splats { antialias: degree == 2, ..sample(200, degree) };
        let bytes = written(&splats);
        assert!(KhrGlb.recognises(&bytes[..bytes.len().min(4096)]));
        let back = read(&bytes).expect("read");
        assert_eq!((back.antialias, &back.notes), (splats.antialias, &Vec::new()));
        assert!(apart(&splats, &back).all_within(2e-6), "{degree}: {:?}", apart(&splats, &back));
        assert_eq!((&back.means, &back.sh_dc, &back.sh_rest), (&splats.means, &splats.sh_dc, &splats.sh_rest));
        let about = KhrGlb.peek(&mut Source::memory(&bytes)).expect("peeked");
        assert_eq!((about.count, about.sh_degree), (200, degree));
        let mut off = back;
        off.rotations[5][2] += 1e-4;
        assert!(!apart(&splats, &off).all_within(2e-6), "the negative control");
    }
}

#[test]
fn the_file_is_what_the_text_asks_for() {
    let splats = sample(7, 1);
    let bytes = written(&splats);
    assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().expect("four")) as usize, bytes.len());
    let (document, bin) = taken_apart(&bytes);
    let primitive = &document["meshes"][0]["primitives"][0];
    assert_eq!(document["extensionsUsed"], json!([EXTENSION]));
    assert_eq!(primitive["mode"], 0);
    let about = json!({"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "projection": "perspective",
        "sortingMethod": "cameraDistance"});
    assert_eq!(primitive["extensions"][EXTENSION], about);
    assert_eq!(bin.len() as u64, document["buffers"][0]["byteLength"]);
    let value = |name: &str, i: usize, k: usize, columns: usize| {
        let accessor = primitive["attributes"][name].as_u64().expect("there") as usize;
        let view = &document["bufferViews"][document["accessors"][accessor]["bufferView"].as_u64().expect("") as usize];
        let at = view["byteOffset"].as_u64().expect("a number") as usize + 4 * (i * columns + k);
        f32::from_le_bytes(bin[at..at + 4].try_into().expect("four"))
    };
    assert_eq!(value("POSITION", 3, 0, 3), -splats.means[3][0]);
    assert_eq!(value("POSITION", 3, 2, 3), splats.means[3][2]);
    assert_eq!(value(&own("SCALE"), 3, 1, 3), splats.log_scales[3][1].exp());
    // The coefficient of order −1 is of y, which points the other way.
    assert_eq!(value(&own("SH_DEGREE_1_COEF_0"), 3, 2, 3), -splats.rest(3)[2]);
    assert_eq!(value(&own("SH_DEGREE_1_COEF_1"), 3, 2, 3), splats.rest(3)[5]);
    let least = document["accessors"][0]["min"][1].as_f64().expect("a number") as f32;
    assert_eq!(least, splats.means.iter().map(|m| -m[1]).fold(f32::INFINITY, f32::min));
    // Half grey is 0.214 in light.
    assert_eq!(fallback([0.0, 9.0, -9.0], 0.0), [55, 255, 0, 128]);
}

/// Σ and the colour along a direction.
fn seen(s: &Splats, i: usize, d: DVec3) -> (DMat3, [f32; 3]) {
    let q = s.rotations[i].map(f64::from);
    let r = DMat3::from_quat(DQuat::from_xyzw(q[1], q[2], q[3], q[0]));
    let squares = s.log_scales[i].map(|v| (2.0 * f64::from(v)).exp());
    let basis = crate::parts::sh::eval_basis(3, d.as_vec3());
    let rest = |c: usize| s.rest(i).chunks_exact(3).zip(&basis[1..]).map(|(a, y)| a[c] * y).sum::<f32>();
    let colour = std::array::from_fn(|c| s.sh_dc[i][c] * basis[0] + rest(c));
    (r * DMat3::from_diagonal(squares.into()) * r.transpose(), colour)
}

#[test]
fn nodes_put_gaussians_where_they_belong() {
    let splats = sample(20, 3);
    let turn = DQuat::from_rotation_y(0.9) * DQuat::from_rotation_x(-0.4);
    for scale in [DVec3::splat(2.5), DVec3::new(0.5, 3.0, 1.7)] {
        let moved = changed(&splats, |document| {
            document["nodes"] = json!([
                {"children": [2], "translation": [1.0, -2.0, 3.0]},
                {"mesh": 0},
                {"mesh": 0, "rotation": [turn.x, turn.y, turn.z, turn.w], "scale": scale.to_array()},
            ]);
            document["scenes"] = json!([{"nodes": [1]}, {"nodes": [0]}]);
            document["scene"] = json!(1);
        });
        let moved = moved.expect("read");
        // In glTF's axes.
        let [mut own, mut there] = [splats.clone(), moved];
        flip_xy(&mut own);
        flip_xy(&mut there);
        let m = DMat3::from_quat(turn) * DMat3::from_diagonal(scale);
        for i in 0..20 {
            let centre = m * Vec3::from(own.means[i]).as_dvec3() + DVec3::new(1.0, -2.0, 3.0);
            assert!(centre.abs_diff_eq(Vec3::from(there.means[i]).as_dvec3(), 1e-5));
            let d = DVec3::new(0.3, -0.5, 0.1 * i as f64 - 1.0).normalize();
            let ((sigma, colour), (sigma_there, colour_there)) = (seen(&own, i, d), seen(&there, i, turn * d));
            let want = m * sigma * m.transpose();
            let size = want.x_axis.x + want.y_axis.y + want.z_axis.z;
            assert!(want.abs_diff_eq(sigma_there, 2e-5 * size), "{i}: {want} is not {sigma_there}");
            (0..3).for_each(|c| assert!((colour[c] - colour_there[c]).abs() < 1e-5));
            assert!(!sigma.abs_diff_eq(sigma_there, 2e-5 * size), "the negative control");
        }
    }
}

#[test]
fn all_gaussians_of_the_scene_are_one_set() {
    let (splats, half) = (sample(6, 2), std::f64::consts::FRAC_1_SQRT_2);
    let twice = changed(&splats, |document| {
        document["nodes"] = json!([{"mesh": 0}, {"mesh": 0, "rotation": [0.0, 0.0, half, half]}, {"mesh": 1}]);
        document["scenes"][0]["nodes"] = json!([0, 1, 2]);
        let mesh = json!({"primitives": [{"attributes": {"POSITION": 0}}]});
        document["meshes"].as_array_mut().expect("a list").push(mesh);
    });
    let twice = twice.expect("read");
    assert_eq!((twice.len(), twice.notes.len()), (12, 1));
    let mut want = splats.clone();
    turned(&mut want, glam::Quat::from_rotation_z(std::f32::consts::FRAC_PI_2));
    let second = Splats {
        means: twice.means[6..].to_vec(),
        log_scales: twice.log_scales[6..].to_vec(),
        rotations: twice.rotations[6..].to_vec(),
        raw_opacity: twice.raw_opacity[6..].to_vec(),
        sh_dc: twice.sh_dc[6..].to_vec(),
        sh_rest: twice.sh_rest[6 * 24..].to_vec(),
        ..want.clone()
    };
    assert!(apart(&want, &second).all_within(3e-6), "{:?}", apart(&want, &second));
    assert_eq!(twice.means[..6], splats.means);
}

#[test]
fn whole_numbers_are_read() {
    let (mut document, _) = taken_apart(&written(&sample(2, 0)));
    let mut bin = Vec::new();
    let mut views = Vec::new();
    let mut accessors = Vec::new();
    let mut add = |bytes: &[u8], kind: u32, normalized: bool, shape: &str, stride: Option<usize>| {
        let mut view = json!({"buffer": 0, "byteOffset": bin.len(), "byteLength": bytes.len()});
        if let Some(stride) = stride {
            view["byteStride"] = json!(stride);
        }
        views.push(view);
        let view = views.len() - 1;
        let accessor =
            json!({"bufferView": view, "componentType": kind, "normalized": normalized, "count": 2, "type": shape});
        accessors.push(accessor);
        bin.extend(bytes);
        bin.resize(bin.len().next_multiple_of(4), 0);
    };
    let shorts = |v: &[i16]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    add(&shorts(&[1, -2, 3, 0, 4, 5, -6, 0]), 5122, false, "VEC3", Some(8));
    add(&[0; 8], 5121, true, "VEC4", None);
    add(&shorts(&[0, 0, 0, 32_767, -32_768, 0, 0, 0]), 5122, true, "VEC4", None);
    add(&[1, 2, 3, 0, 4, 5, 6, 0], 5121, false, "VEC3", Some(4));
    add(&[51, 0, 0, 0, 204, 0, 0, 0], 5121, true, "SCALAR", Some(4));
    add(&[129, 127, 0, 0, 0, 127, 0, 0], 5120, true, "VEC3", Some(4));
    document["bufferViews"] = json!(views);
    document["accessors"] = json!(accessors);
    document["buffers"][0]["byteLength"] = json!(bin.len());
    let splats = read(&put_together(&document, &bin)).expect("read");
    assert_eq!(splats.means, [[-1.0, 2.0, 3.0], [-4.0, -5.0, -6.0]]);
    assert_eq!(splats.log_scales[1], [4.0_f32.ln(), 5.0_f32.ln(), 6.0_f32.ln()]);
    assert!((splats.raw_opacity[0] - (0.2_f32 / 0.8).ln()).abs() < 1e-6);
    assert!((splats.raw_opacity[0] + splats.raw_opacity[1]).abs() < 1e-6);
    assert_eq!(splats.sh_dc, [[-1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]);
    // No turn, then half a turn about X; after half a turn about Z: about Z, about Y.
    assert_eq!(
        splats.rotations.iter().map(|q| q.map(f32::abs)).collect::<Vec<_>>(),
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    );
}

#[test]
fn linear_colours_become_srgb() {
    let mut splats = sample(3, 1);
    splats.sh_dc = vec![[0.0; 3]; 3];
    let linear = changed(&splats, |document| {
        document["meshes"][0]["primitives"][0]["extensions"][EXTENSION]["colorSpace"] = json!(LINEAR);
    });
    let linear = linear.expect("read");
    assert_eq!(linear.notes.len(), 1);
    // Half the light is 0.735 of the signal, where the signal rises by 0.659.
    assert!((0.5 + C0 * linear.sh_dc[0][1] - 0.735_36).abs() < 1e-4);
    assert!((linear.rest(1)[4] / splats.rest(1)[4] - 0.658_6).abs() < 1e-3);
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let bytes = written(&sample(5, 1));
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        assert!(KhrGlb.peek(&mut Source::memory(&bytes[..length])).is_err());
    }
}

#[test]
fn what_the_document_says_is_checked() {
    let splats = sample(9, 1);
    let says = |change: &dyn Fn(&mut Value)| changed(&splats, change).expect_err("refused").what;
    let at =
        |path: &'static str, to: Value| says(&move |document| *document.pointer_mut(path).expect(path) = to.clone());
    assert!(at("/accessors/0/count", json!(u64::MAX)).contains("Gaussians, and is too short"));
    assert!(at("/accessors/0/count", json!(10)).contains("reaches out"));
    assert!(at("/accessors/2/count", json!(8)).contains("for 8 of 9"));
    assert!(at("/accessors/2/byteOffset", json!(u64::MAX)).contains("reaches out"));
    assert!(at("/accessors/2/type", json!("VEC3")).contains("not VEC4"));
    assert!(at("/accessors/2/componentType", json!(5125)).contains("component type 5125"));
    assert!(at("/accessors/2/bufferView", json!(99)).contains("no view"));
    assert!(at("/bufferViews/2/byteLength", json!(u64::MAX)).contains("reaches out"));
    assert!(at("/bufferViews/2/byteOffset", json!(u64::MAX)).contains("reaches out"));
    assert!(at("/bufferViews/2/byteOffset", json!(100_000)).contains("reaches out"));
    assert!(at("/bufferViews/2/buffer", json!(1)).contains("file beside"));
    assert!(at("/scenes/0/nodes", json!([0, 0])).contains("in two places"));
    assert!(at("/nodes/0", json!({"children": [0], "mesh": 0})).contains("in two places"));
    assert!(at("/nodes/0", json!({"children": [7], "mesh": 0})).contains("node 7"));
    assert!(at("/scene", json!(4)).contains("scene 4"));
    assert!(at("/nodes/0/mesh", json!(3)).contains("mesh 3"));
    assert!(at("/nodes/0", json!({})).contains("no Gaussians"));
    assert!(at("/nodes/0", json!({"mesh": 0, "scale": [1, 1, -1]})).contains("mirrors"));
    assert!(at("/nodes/0", json!({"mesh": 0, "scale": [0, 1, 1]})).contains("flattens"));
    assert!(at("/nodes/0", json!({"mesh": 0, "rotation": [0, 0, 0, 0]})).contains("rotation of node 0"));
    let shear = json!({"mesh": 0, "matrix": [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]});
    assert!(at("/nodes/0", shear).contains("shears"));
    assert!(at("/meshes/0/primitives/0/mode", json!(4)).contains("mode"));
    let about = "/meshes/0/primitives/0/extensions/KHR_gaussian_splatting/kernel";
    assert!(at(about, json!("cube")).contains("cube"));
    let about = "/meshes/0/primitives/0/extensions/KHR_gaussian_splatting/colorSpace";
    assert!(at(about, json!("other")).contains("other"));
    assert!(at("/extensionsUsed", json!(7)).contains("document"));
    let packed = says(&|document| document["extensionsRequired"] = json!(["KHR_something"]));
    assert!(packed.contains("KHR_something"));
    let packed = says(&|document| {
        document["meshes"][0]["primitives"][0]["extensions"][EXTENSION]["extensions"] = json!({"SPZ_2": {}});
    });
    assert!(packed.contains("packed by SPZ_2"));
    let part = says(&|document| {
        let attributes = document["meshes"][0]["primitives"][0]["attributes"].as_object_mut().expect("object");
        attributes.remove(&coefficient(1, 2));
    });
    assert!(part.contains("degree 1"));
    let gone = says(&|document| {
        document["meshes"][0]["primitives"][0]["attributes"].as_object_mut().expect("object").remove(&own("SCALE"));
    });
    assert!(gone.contains("SCALE is missing"));
    // Many nodes that show the same: 400 times 9 Gaussians.
    let many = says(&|document| {
        document["nodes"] = json!(vec![json!({"mesh": 0}); 400]);
        document["scenes"][0]["nodes"] = json!((0..400).collect::<Vec<_>>());
    });
    assert!(many.contains("too short"), "{many}");
}

#[test]
fn what_is_no_number_is_refused() {
    let mut splats = sample(3, 1);
    splats.rotations[2][1] = f32::NAN;
    assert!(KhrGlb.write(&splats, &mut Cursor::new(Vec::new())).is_err());
    let bytes = written(&sample(3, 0));
    let (document, bin) = taken_apart(&bytes);
    let spoilt = |column: usize, value: f32| {
        let mut bin = bin.clone();
        let at = document["bufferViews"][column]["byteOffset"].as_u64().expect("a number") as usize;
        bin[at..at + 4].copy_from_slice(&value.to_le_bytes());
        read(&put_together(&document, &bin))
    };
    for column in [0, 2, 3, 4, 5] {
        assert!(spoilt(column, f32::NAN).is_err(), "column {column}");
        assert!(spoilt(column, 0.5).is_ok(), "the negative control");
    }
    assert!(spoilt(3, -0.5).is_err_and(|e| e.what.contains("negative")));
    assert!(spoilt(4, 1.5).is_err_and(|e| e.what.contains("from 0 to 1")));
    assert_eq!(spoilt(3, 0.0).expect("read").log_scales[0][0], -30.0);
    assert_eq!(spoilt(4, 1.0).expect("read").raw_opacity[0], 20.0);
}

#[test]
fn flipped_bytes_give_errors_or_gaussians() {
    let mut rng = Rng::new(8, "flipped bytes of glb");
    let bytes = written(&sample(6, 1));
    let length = bytes.len() - 6 * 128;
    let mut fine = 0;
    for _ in 0..4000 {
        let mut bytes = bytes.clone();
        for _ in 0..=rng.below(2) {
            // In the document, mostly among its digits.
            let at = rng.below(length);
            bytes[at] =
                if bytes[at].is_ascii_digit() { b'0' + rng.below(10) as u8 } else { rng.next_u32() as u8 & 0x7f };
        }
        fine += usize::from(read(&bytes).is_ok());
        let _ = KhrGlb.peek(&mut Source::memory(&bytes));
    }
    assert!((100..3900).contains(&fine), "{fine} of 4000 were read");
    let mesh = put_together(&json!({"asset": {"version": "2.0"}}), &[]);
    assert!(!KhrGlb.recognises(&mesh) && !KhrGlb.recognises(b"glTF") && !KhrGlb.recognises(b""));
    assert!(read(&mesh).is_err());
}
