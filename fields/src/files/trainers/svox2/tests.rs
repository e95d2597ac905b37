//! Grids that are made here from the published layout, against a plain evaluation of it; and files that are wrong.

use std::io::{Cursor, Write};

use half::f16;
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::ops::voxels::reference;
use crate::parts::sh::eval_basis;
use crate::rng::Rng;

/// An array of the file: name, type, shape, bytes.
type Part = (&'static str, &'static str, Vec<usize>, Vec<u8>);

/// An array with its header, as `NumPy` writes it.
fn npy(descr: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).chain([String::new()]).collect();
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}\n", shape.join(", "));
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), bytes].concat()
}

fn npz(parts: &[Part], packed: bool) -> Vec<u8> {
    let method = if packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, descr, shape, bytes) in parts {
        zip.start_file(format!("{name}.npy"), FileOptions::default().compression_method(method)).unwrap();
        zip.write_all(&npy(descr, shape, bytes)).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
}

fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// A grid in memory.
#[derive(Clone)]
struct Sample {
    size: [usize; 3],
    radius: Vec3,
    centre: Vec3,
    /// x slowest.
    links: Vec<i32>,
    density: Vec<f32>,
    functions: usize,
    /// `[n, 3 · functions]`, exact in half precision.
    sh: Vec<f32>,
}

fn sample(size: [usize; 3], functions: usize, share: f32) -> Sample {
    let mut rng = Rng::new(size.iter().sum::<usize>() as u64, "grid");
    let vertices = size.iter().product::<usize>();
    let mut links: Vec<i32> = vec![-1; vertices];
    let mut kept = 0;
    for link in &mut links {
        if rng.uniform() < share {
            *link = kept;
            kept += 1;
        } else {
            *link = -1 - rng.below(5) as i32;
        }
    }
    // Rows in an order of their own, and one that nothing leads to.
    let mut order: Vec<i32> = (0..kept).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i + 1));
    }
    links.iter_mut().filter(|l| **l >= 0).for_each(|l| *l = order[*l as usize]);
    let rows = kept as usize + 1;
    let density = (0..rows).map(|_| 10.0 * rng.normal() + 4.0).collect();
    let sh = (0..rows * 3 * functions).map(|_| f16::from_f32(0.4 * rng.normal()).to_f32()).collect();
    Sample { size, radius: Vec3::new(2.0, 1.0, 1.5), centre: Vec3::new(0.5, -3.0, 0.25), links, density, functions, sh }
}

impl Sample {
    fn parts(&self) -> Vec<Part> {
        let rows = self.density.len();
        vec![
            ("radius", "<f4", vec![3], bytes_of(&self.radius.to_array())),
            ("center", "<f4", vec![3], bytes_of(&self.centre.to_array())),
            ("links", "<i4", self.size.to_vec(), bytes_of(&self.links)),
            ("density_data", "<f4", vec![rows, 1], bytes_of(&self.density)),
            ("sh_data", "<f2", vec![rows, 3 * self.functions], halves(&self.sh)),
            ("basis_type", "<i8", vec![], bytes_of(&[1_i64])),
        ]
    }

    /// Density and colour at a point of the box along a direction, as svox2 has them.
    fn ask(&self, p: Vec3, d: Vec3) -> (f32, [f32; 3]) {
        let [nx, ny, nz] = self.size;
        let n = Vec3::new(nx as f32, ny as f32, nz as f32);
        let place = (((p - self.centre) / self.radius) * 0.5 + 0.5) * n - 0.5;
        let place = place.clamp(Vec3::ZERO, n - 1.0);
        let low = place.floor().min(n - 2.0);
        let fraction = place - low;
        let basis = eval_basis(3, d);
        let (mut sigma, mut rgb) = (0.0, [0.5; 3]);
        for corner in 0..8 {
            let up = [0, 1, 2].map(|a| corner >> a & 1);
            let weight: f32 = (0..3).map(|a| if up[a] == 1 { fraction[a] } else { 1.0 - fraction[a] }).product();
            let [x, y, z] = [0, 1, 2].map(|a| low[a] as usize + up[a]);
            let link = self.links[(x * ny + y) * nz + z];
            if link >= 0 {
                sigma += weight * self.density[link as usize];
                for (c, value) in rgb.iter_mut().enumerate() {
                    let row = &self.sh[(link as usize * 3 + c) * self.functions..][..self.functions];
                    *value += weight * row.iter().zip(basis).map(|(a, b)| a * b).sum::<f32>();
                }
            }
        }
        (sigma.max(0.0), rgb.map(|v| v.max(0.0)))
    }

    fn points(&self) -> Vec<(Vec3, Vec3)> {
        let mut rng = Rng::new(4, "points");
        let each = |_| {
            let p = Vec3::new(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
            let d = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize();
            (p * self.radius + self.centre, d)
        };
        (0..300).map(each).collect()
    }
}

/// A field's archive, evaluated as its kind does.
struct Ours {
    scene: Scene,
    links: Links,
    occupancy: Occupancy,
    density: Vec<f32>,
    sh: Vec<f32>,
}

impl Ours {
    fn of(archive: &Archive) -> Self {
        let FieldConfig::Voxels(config) = serde_json::from_value(archive.json["config"].clone()).unwrap() else {
            panic!("a voxel grid")
        };
        let scene: Scene = serde_json::from_value(archive.json["scene"].clone()).unwrap();
        let links = Links::from_bytes(&archive.bytes[1].1, config.resolution).unwrap();
        assert_eq!(archive.tensors[0].1, [links.rows(), 1]);
        assert_eq!(archive.tensors[1].1, [links.rows(), 27]);
        let occupancy = Occupancy::from_bytes(&archive.bytes[0].1, scene.bounds).unwrap();
        let [density, sh] = [0, 1].map(|i| archive.tensors[i].2.clone());
        Self { scene, links, occupancy, density, sh }
    }

    /// Density per unit of the file and colour, at a point and along a direction of the file.
    fn ask(&self, p: Vec3, d: Vec3) -> (f32, [f32; 3]) {
        let x = self.scene.scene_from_dataset.point(p);
        let unit = ((x - self.scene.bounds.min) / self.scene.bounds.size()).to_array();
        let (mut sigma, mut row) = ([0.0], [0.0; 27]);
        reference::forward(&self.links, 1, 0.0, &unit, &self.density, &mut sigma);
        reference::forward(&self.links, 27, 0.0, &unit, &self.sh, &mut row);
        let basis = eval_basis(3, d);
        let rgb = [0, 1, 2].map(|c| (0..9).map(|k| row[9 * c + k] * basis[k]).sum::<f32>() + 0.5);
        (sigma[0].max(0.0) * self.scene.scene_from_dataset.scale, rgb.map(|v| v.max(0.0)))
    }
}

fn read_bytes(bytes: &[u8]) -> Result<(Archive, Vec<String>)> {
    match read(&mut Source::memory(bytes))? {
        (Held::Field(archive), notes) => Ok((*archive, notes)),
        _ => Err(Error::new("Gaussians")),
    }
}

fn difference(sample: &Sample, ours: &Ours) -> f32 {
    let each = |(p, d): (Vec3, Vec3)| {
        let ((a, rgb), (b, own)) = (sample.ask(p, d), ours.ask(p, d));
        rgb.iter().zip(own).map(|(a, b)| (a - b).abs()).fold((a - b).abs(), f32::max)
    };
    sample.points().into_iter().map(each).fold(0.0, f32::max)
}

#[test]
fn a_grid_is_the_same_function() {
    for (size, functions, share) in [([6; 3], 9, 0.6), ([9, 4, 6], 4, 0.9), ([2, 7, 3], 1, 0.5), ([11; 3], 9, 0.05)] {
        let sample = sample(size, functions, share);
        let bytes = npz(&sample.parts(), true);
        assert!(recognises(&bytes));
        let (archive, notes) = read_bytes(&bytes).expect("reads");
        let ours = Ours::of(&archive);
        let error = difference(&sample, &ours);
        assert!(error < 1e-4, "{size:?}: {error}");
        assert_eq!(notes.iter().any(|n| n.contains("fewer vertices")), size[0] != size[1]);
        // Where there is anything, rays look.
        let mut empty = 0;
        for (p, d) in sample.points() {
            let here = ours.occupancy.contains(ours.scene.scene_from_dataset.point(p));
            assert!(here || sample.ask(p, d).0 == 0.0, "{p}");
            empty += usize::from(!here);
        }
        assert!(share > 0.1 || empty > 100, "{empty}");
        // The negative controls: one value, one vertex, one axis for another.
        let mut other = archive.clone();
        other.tensors[0].2.iter_mut().for_each(|v| *v *= 1.01);
        assert!(difference(&sample, &Ours::of(&other)) > 1e-2);
        let mut other = Ours::of(&archive);
        other.sh.rotate_right(1);
        assert!(difference(&sample, &other) > 1e-2);
    }
}

#[test]
fn the_frame_is_the_files_box() {
    let (archive, _) = read_bytes(&npz(&sample([8; 3], 9, 0.5).parts(), false)).expect("reads");
    let scene = Ours::of(&archive).scene;
    assert_eq!(scene.bounds, Aabb::new(Vec3::new(-1.0, -0.5, -0.75), Vec3::new(1.0, 0.5, 0.75)));
    let corner = scene.scene_from_dataset.point(Vec3::new(0.5 + 2.0, -3.0 - 1.0, 0.25 + 1.5));
    assert!(corner.abs_diff_eq(Vec3::new(1.0, -0.5, 0.75), 1e-6));
    // A short grid's box is the part of the cube that holds it.
    let (archive, _) = read_bytes(&npz(&sample([8, 4, 8], 9, 0.9).parts(), false)).expect("reads");
    let ours = Ours::of(&archive);
    assert_eq!(ours.scene.bounds, Aabb::new(Vec3::new(-1.0, -0.5, -0.75), Vec3::new(1.0, 1.5, 0.75)));
    assert!(ours.occupancy.contains(Vec3::new(0.1, 0.4, 0.1)) && !ours.occupancy.contains(Vec3::new(0.1, 0.6, 0.1)));
}

#[test]
fn other_forms_of_the_same_file_read_the_same() {
    let sample = sample([5; 3], 4, 0.7);
    let (archive, _) = read_bytes(&npz(&sample.parts(), true)).expect("reads");
    let same = |parts: &[Part]| {
        let (other, notes) = read_bytes(&npz(parts, false)).expect("reads");
        assert_eq!((&other.tensors, &other.bytes), (&archive.tensors, &archive.bytes));
        notes
    };
    let mut parts = sample.parts();
    parts[4] = ("sh_data", "<f4", vec![sample.density.len(), 12], bytes_of(&sample.sh));
    let wide: Vec<f64> = sample.density.iter().map(|v| f64::from(*v)).collect();
    parts[3] = ("density_data", "<f8", vec![wide.len()], bytes_of(&wide));
    let links: Vec<i64> = sample.links.iter().map(|l| i64::from(*l)).collect();
    parts[2] = ("links", "<i8", vec![5; 3], bytes_of(&links));
    parts.remove(5);
    same(&parts);
    // Early files have one array for both.
    let all: Vec<f32> = sample
        .density
        .iter()
        .zip(sample.sh.chunks(12))
        .flat_map(|(d, sh)| [*d].into_iter().chain(sh.iter().copied()))
        .collect();
    let mut parts = sample.parts();
    parts[3] = ("data", "<f4", vec![sample.density.len(), 13], bytes_of(&all));
    parts.remove(4);
    same(&parts);
    let mut parts = sample.parts();
    parts.push(("background_data", "<f4", vec![1, 2, 4], vec![0; 32]));
    assert!(same(&parts).iter().any(|n| n.contains("background")));
}

fn written(archive: &Archive) -> Result<(Vec<u8>, Vec<String>)> {
    let mut out = Cursor::new(Vec::new());
    let notes = write(archive, &mut out)?;
    Ok((out.into_inner(), notes))
}

#[test]
fn what_was_read_is_written_as_it_was() {
    let sample = sample([7; 3], 9, 0.6);
    let (archive, _) = read_bytes(&npz(&sample.parts(), true)).expect("reads");
    let (bytes, _) = written(&archive).expect("writes");
    assert!(recognises(&bytes) && bytes == written(&archive).expect("writes").0);
    let (again, _) = read_bytes(&bytes).expect("reads");
    assert_eq!((&again.tensors, &again.bytes), (&archive.tensors, &archive.bytes));
    assert_eq!(again.json["config"], archive.json["config"]);
    let [a, b] = [&archive, &again].map(|a| Ours::of(a).scene);
    assert_eq!(a.bounds, b.bounds);
    assert!(a.scene_from_dataset.point(Vec3::ONE).abs_diff_eq(b.scene_from_dataset.point(Vec3::ONE), 1e-6));
    assert!(difference(&sample, &Ours::of(&again)) < 1e-4);
    // Half precision where that loses nothing, single where it would.
    let mut file = Npz::open(Cursor::new(&bytes)).expect("opens");
    assert_eq!(file.needed("sh_data").expect("is there").number, Number::F16);
    let mut fine = archive.clone();
    fine.tensors[1].2[3] = 0.123_456_7;
    let (bytes, _) = written(&fine).expect("writes");
    assert_eq!(Npz::open(Cursor::new(&bytes)).unwrap().needed("sh_data").unwrap().number, Number::F32);
    assert_eq!(read_bytes(&bytes).expect("reads").0.tensors, fine.tensors);
    // A scene that is turned against its photos is written in its own axes and units.
    let mut turned = archive.clone();
    turned.json["scene"]["scene_from_dataset"]["rotation"] = json!([0.0, 0.0, 0.6, 0.8]);
    let (bytes, notes) = written(&turned).expect("writes");
    assert!(notes.iter().any(|n| n.contains("axes")));
    let again = Ours::of(&read_bytes(&bytes).expect("reads").0);
    assert_eq!((&again.density, &again.scene.bounds), (&archive.tensors[0].2, &a.bounds));
}

#[test]
fn colour_beyond_white_is_told() {
    let mut sample = sample([4; 3], 1, 0.9);
    sample.density.fill(1.0);
    for (value, bright) in [(4.0, true), (1.0, false)] {
        sample.sh.fill(value);
        let (archive, notes) = read_bytes(&npz(&sample.parts(), true)).expect("reads");
        let words = format!("{0} of its {0} vertices are brighter", archive.tensors[0].1[0]);
        assert_eq!(notes.iter().any(|n| n.contains(&words)), bright, "{notes:?}");
        assert_eq!(written(&archive).expect("writes").1.iter().any(|n| n.contains(&words)), bright);
    }
}

#[test]
fn what_svox2_cannot_hold_is_refused_by_name() {
    let (archive, _) = read_bytes(&npz(&sample([4; 3], 9, 0.9).parts(), true)).expect("reads");
    let refused = |change: &dyn Fn(&mut Archive), words: &str| {
        let mut other = archive.clone();
        change(&mut other);
        let error = written(&other).map(drop).expect_err(words);
        assert!(error.to_string().contains(words), "{words}: {error}");
    };
    refused(&|a| a.json["config"]["density"] = json!("exp"), "field.density");
    refused(&|a| a.json["config"]["colour"] = json!("sigmoid"), "field.colour");
    refused(&|a| a.json["scene"]["unbounded"] = json!(true), "unbounded");
    refused(&|a| a.json["config"]["what"] = json!(1), "not understood");
    refused(&|a| a.bytes.truncate(1), "extra.vertices");
    refused(&|a| drop(a.tensors.remove(0)), "\"density\"");
    refused(&|a| a.tensors[1].2.truncate(27), "coefficients");
    refused(&|a| a.bytes[1].1.truncate(20), "");
}

#[test]
fn wrong_files_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Vec<Part>), words: &str| {
        let mut parts = sample([4; 3], 9, 0.9).parts();
        change(&mut parts);
        for packed in [true, false] {
            let error = read_bytes(&npz(&parts, packed)).map(drop).expect_err(words);
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    };
    for (kind, words) in [(4_i64, "texture"), (255, "network"), (7, "type 7")] {
        refused(&|p| p[5].3 = bytes_of(&[kind]), words);
    }
    refused(&|p| p.push(("basis_data", "<f4", vec![1], vec![0; 4])), "texture");
    for (at, name) in [(2, "links is missing"), (3, "density_data is missing"), (4, "sh_data is missing")] {
        refused(&|p| drop(p.remove(at)), name);
    }
    refused(&|p| p[0].3 = bytes_of(&[1.0_f32, 0.0, 1.0]), "radius");
    refused(&|p| p[1].3 = bytes_of(&[1.0_f32, f32::INFINITY, 1.0]), "center");
    refused(&|p| (p[1].2, p[1].3) = (vec![2], vec![0; 8]), "center");
    refused(&|p| p[2].2 = vec![64], "links");
    refused(&|p| (p[2].2, p[2].3) = (vec![1, 8, 8], vec![255; 256]), "2 to 1024");
    refused(&|p| (p[2].2, p[2].3) = (vec![2, 1, 1025], vec![255; 8200]), "2 to 1024");
    refused(&|p| p[2].3 = vec![255; 256], "no vertex");
    // A link beyond the rows, and more vertices than rows.
    refused(&|p| p[2].3[..4].copy_from_slice(&1_000_000_i32.to_le_bytes()), "has row 1000000");
    refused(&|p| p[2].3 = vec![0; 256], "and there are");
    refused(&|p| p[2].1 = "<f4", "links");
    refused(&|p| p[3].1 = "<i4", "whole numbers");
    refused(&|p| p[3].1 = "|O", "type |O");
    refused(&|p| p[3].1 = ">f4", "type >f4");
    refused(&|p| p[3].2 = vec![usize::MAX, usize::MAX], "density_data: an array of shape");
    refused(&|p| p[3].2[0] += 1, "density_data: an array of shape");
    refused(&|p| p[4].3[..2].copy_from_slice(&f16::NAN.to_le_bytes()), "sh_data: row 0");
    refused(
        &|p| {
            let rows = p[3].2[0];
            (p[4].2, p[4].3) = (vec![rows, 48], vec![0; 96 * rows]);
        },
        "48 coefficients",
    );
    refused(
        &|p| {
            let rows = p[3].2[0] + 1;
            (p[4].2, p[4].3) = (vec![rows, 27], vec![0; 54 * rows]);
        },
        "not a density for each row",
    );
}

#[test]
fn damaged_files_give_an_error_and_take_little_memory() {
    let whole = npz(&sample([4; 3], 9, 0.9).parts(), true);
    for cut in (0..whole.len()).step_by(97) {
        assert!(read_bytes(&whole[..cut]).is_err(), "{cut}");
    }
    for head in [&b""[..], b"PK\x03\x04", b"\x93NUMPY", b"ply\n"] {
        assert!(!recognises(head) && read_bytes(head).is_err());
    }
    // Sizes that lie: a header of a grid of a thousand vertices along an edge, and 64 vertices.
    let mut parts = sample([4; 3], 9, 0.9).parts();
    parts[2].2 = vec![1024; 3];
    assert!(read_bytes(&npz(&parts, true)).is_err_and(|e| e.what.contains("links: an array of shape")));
    // A bomb: many rows of nothing.
    let mut parts = sample([4; 3], 9, 0.9).parts();
    let rows = 900_000;
    (parts[3].2, parts[3].3) = (vec![rows, 1], vec![0; 4 * rows]);
    (parts[4].1, parts[4].2, parts[4].3) = ("<f4", vec![rows, 27], vec![0; 108 * rows]);
    assert!(read_bytes(&npz(&parts, true)).is_err_and(|e| e.what.contains("too small for it")));
    // Headers that are no headers.
    let broken = |text: &str| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = FileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file("radius.npy", stored).unwrap();
        let bytes = [b"\x93NUMPY\x02\x00", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        zip.write_all(&bytes).unwrap();
        for (name, descr, shape, bytes) in sample([4; 3], 9, 0.9).parts().iter().skip(1) {
            zip.start_file(format!("{name}.npy"), stored).unwrap();
            zip.write_all(&npy(descr, shape, bytes)).unwrap();
        }
        read_bytes(&zip.finish().unwrap().into_inner()).map(drop)
    };
    let deep = "(".repeat(900);
    let long = " ".repeat(5000);
    for text in ["", "{}", "{'descr': '<f4'", "{'descr': '<f4', 'fortran_order': True, 'shape': (3,)}", &deep, &long] {
        assert!(broken(text).is_err(), "{text}");
    }
    let twice = "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615)}";
    assert!(broken(twice).is_err_and(|e| e.what.contains("shape")));
    let many = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({})}}", "0, ".repeat(200));
    assert!(broken(&many).is_err());
}

/// Bytes that are changed at random: an error or a field, no panic.
#[test]
fn flipped_bytes_never_panic() {
    let mut rng = Rng::new(78, "flips");
    for packed in [true, false] {
        let whole = npz(&sample([3, 4, 3], 1, 0.9).parts(), packed);
        let mut read_well = 0;
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.below(256) as u8;
            }
            read_well += usize::from(read_bytes(&bytes).is_ok());
        }
        assert!(read_well < 1500);
    }
}
