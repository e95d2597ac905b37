//! Snapshots that are made here from the published layout, against a plain evaluation of it; and files that are wrong.

mod mixture;
mod refused;

use std::io::Cursor;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use glam::{Quat, Vec3};
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::data::Similarity;
use crate::field::{Pose, Scene};
use crate::files::splats::Splats;
use crate::ops::hash_encode::spec::HashSpec;
use crate::ops::mlp::spec::{Activation, Layer, MlpSpec};
use crate::parts::occupancy::Occupancy;
use crate::parts::sh::eval_basis;
use crate::rng::Rng;

/// A value, or bytes; maps keep their order.
#[derive(Clone)]
enum Node {
    Value(Value),
    Bytes(Vec<u8>),
    Map(Vec<(&'static str, Node)>),
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Node::Value(value) => value.serialize(serializer),
            Node::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Node::Map(parts) => serializer.collect_map(parts.iter().map(|(key, node)| (key, node))),
        }
    }
}

impl Node {
    fn at(&mut self, path: &str) -> &mut Node {
        path.split('/').fold(self, |node, key| match node {
            Node::Map(parts) => {
                let at = parts.iter().position(|(name, _)| *name == key).expect("the key is there");
                &mut parts[at].1
            }
            _ => panic!("{path} leads into a value"),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("writes")
    }
}

/// A small network of the file: its padded matrices.
type Matrices = Vec<(usize, usize, Vec<f32>)>;

/// A snapshot, and what it was made of.
struct Sample {
    root: Node,
    sigma: Matrices,
    colour: Matrices,
    table: Vec<f32>,
    spec: HashSpec,
    aabb_scale: u32,
}

fn matrices(rng: &mut Rng, widths: &[usize]) -> Matrices {
    let each = |pair: &[usize]| {
        let values = (0..pair[0] * pair[1]).map(|_| 1.5 * rng.normal() / (pair[0] as f32).sqrt()).collect();
        (pair[1], pair[0], values)
    };
    widths.windows(2).map(each).collect()
}

/// The kept part of the box: a ball beside the middle, instant-ngp's coordinates.
fn in_ball(p: Vec3) -> bool {
    p.distance(Vec3::new(0.4, 0.6, 0.5)) < 0.3
}

/// Cells whose middle is in the ball.
fn density_grid(cascades: usize) -> Vec<u8> {
    let spread = |i: usize| (0..7).map(|bit| (i >> bit & 1) << (3 * bit)).sum::<usize>();
    let mut bytes = vec![0; cascades << 22];
    for cascade in 0..cascades {
        let place = |i: usize| ((i as f32 + 0.5) / 128.0 - 0.5) * (1 << cascade) as f32 + 0.5;
        let near: Vec<usize> = (0..128).filter(|i| (0.05..0.95).contains(&place(*i))).collect();
        for at in 0..near.len().pow(3) {
            let [x, y, z] = [at, at / near.len(), at / near.len().pow(2)].map(|at| near[at % near.len()]);
            if in_ball(Vec3::new(place(x), place(y), place(z))) {
                let at = 2 * (cascade << 21 | spread(x) | spread(y) << 1 | spread(z) << 2);
                bytes[at..at + 2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
            }
        }
    }
    bytes
}

/// `aabb_scale`, hidden layers `[width, number]` of both networks, whether they are fused.
fn sample(aabb_scale: u32, sigma_hidden: [usize; 2], colour_hidden: [usize; 2], fused: bool) -> Sample {
    let mut rng = Rng::new(u64::from(aabb_scale), "snapshot");
    let spec = HashSpec::new(3, 2, 8, 8, 2048 * aabb_scale).expect("a grid");
    let hidden = |[width, n]: [usize; 2]| std::iter::repeat_n(width, n);
    // Six values, padded.
    let input = if fused { 16 } else { 8 };
    let widths: Vec<usize> = [input].into_iter().chain(hidden(sigma_hidden)).chain([16]).collect();
    let sigma = matrices(&mut rng, &widths);
    let widths: Vec<usize> = [32].into_iter().chain(hidden(colour_hidden)).chain([16]).collect();
    let colour = matrices(&mut rng, &widths);
    let mut table = Vec::new();
    for level in spec.levels() {
        // Finer levels say less, so that the rounding of a position does not count.
        table.extend((0..2 * level.size).map(|_| rng.normal() * (16.0 / level.scale).min(1.0)));
    }
    let all: Vec<f32> =
        sigma.iter().chain(&colour).flat_map(|(.., m)| m.iter().copied()).chain(table.clone()).collect();
    let otype = if fused { "FullyFusedMLP" } else { "CutlassMLP" };
    let network = |[width, n]: [usize; 2]| {
        Node::Value(json!({
            "otype": otype, "activation": "ReLU", "output_activation": "None", "n_neurons": width.max(1), "n_hidden_layers": n,
        }))
    };
    let directions = json!({
        "otype": "Composite",
        "nested": [{"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4}, {"otype": "Identity"}],
    });
    let grid = json!({
        "otype": "HashGrid", "n_levels": 3, "n_features_per_level": 2, "log2_hashmap_size": 8, "base_resolution": 8,
    });
    let rows = [[0.0, 0.0, 1.0, 0.7], [1.0, 0.0, 0.0, 1.5], [0.0, 1.0, 0.0, -0.2]];
    let dataset = json!({
        "n_images": 1, "paths": ["a"], "aabb_scale": aabb_scale, "scale": 0.5, "offset": [0.5, 0.25, 0.75],
        "from_mitsuba": false, "is_hdr": false, "n_extra_learnable_dims": 0,
        "xforms": [{"start": rows, "end": rows}],
        "metadata": [{"resolution": [400, 300], "focal_length": [300.0, 300.0], "lens": null}],
    });
    let root = Node::Map(vec![
        ("dir_encoding", Node::Value(directions)),
        ("encoding", Node::Value(grid)),
        ("envmap", Node::Value(json!({"loss": {"otype": "RelativeL2"}}))),
        ("network", network(sigma_hidden)),
        ("rgb_network", network(colour_hidden)),
        (
            "snapshot",
            Node::Map(vec![
                ("density_grid_binary", Node::Bytes(Vec::new())),
                ("density_grid_size", Node::Value(json!(128))),
                ("mode", Node::Value(json!("nerf"))),
                ("n_params", Node::Value(json!(all.len()))),
                ("nerf", Node::Map(vec![("dataset", Node::Value(dataset))])),
                ("params_binary", Node::Bytes(bytemuck::cast_slice(&all).to_vec())),
                ("params_type", Node::Value(json!("float"))),
                ("training_step", Node::Value(json!(1234))),
                ("version", Node::Value(json!(1))),
            ]),
        ),
    ]);
    Sample { root, sigma, colour, table, spec, aabb_scale }
}

fn run(matrices: &Matrices, input: Vec<f32>) -> Vec<f32> {
    let last = matrices.len() - 1;
    matrices.iter().enumerate().fold(input, |x, (i, (rows, columns, m))| {
        let sum =
            |r: usize| m[r * columns..][..*columns].iter().zip(&x).map(|(w, x)| f64::from(w * x)).sum::<f64>() as f32;
        (0..*rows).map(sum).map(|y| if i < last { y.max(0.0) } else { y }).collect()
    })
}

impl Sample {
    /// Density per unit of instant-ngp and colour at one of its positions along one of its directions.
    fn ask(&self, p: Vec3, d: Vec3) -> (f32, [f32; 3]) {
        let edge = self.aabb_scale as f32;
        let x = ((p - 0.5) / edge + 0.5).to_array();
        let mut seen = vec![0.0; self.spec.out_dim()];
        crate::ops::hash_encode::reference::forward(&self.spec, &x, &self.table, &mut seen);
        seen.resize(self.sigma[0].1, 0.0);
        let latent = run(&self.sigma, seen);
        let colour = run(&self.colour, latent.iter().copied().chain(eval_basis(3, d)).collect());
        (latent[0].exp(), std::array::from_fn(|c| 1.0 / (1.0 + (-colour[c]).exp())))
    }
}

fn plain(input: usize, hidden: &[usize], output: usize, last: Activation) -> MlpSpec {
    let relu = hidden.iter().map(|&out| Layer::new(out, Activation::Relu));
    MlpSpec { input, layers: relu.chain([Layer::new(output, last)]).collect() }
}

/// A field's archive, evaluated as its kind does.
struct Ours {
    config: HashConfig,
    scene: Scene,
    parts: Archive,
    occupancy: Occupancy,
}

impl Ours {
    fn of(archive: &Archive) -> Self {
        let FieldConfig::Hash(config) = serde_json::from_value(archive.json["config"].clone()).unwrap() else {
            panic!("a hash field")
        };
        let scene: Scene = serde_json::from_value(archive.json["scene"].clone()).unwrap();
        let occupancy = Occupancy::from_bytes(&archive.bytes[0].1, scene.bounds).unwrap();
        Self { config, scene, parts: archive.clone(), occupancy }
    }

    fn tensor(&self, name: &str) -> &[f32] {
        &self.parts.tensors.iter().find(|(n, ..)| n == name).expect("the tensor is there").2
    }

    /// Density per scene unit and colour, at scene position and direction.
    fn ask(&self, x: Vec3, d: Vec3) -> (f32, [f32; 3]) {
        let c = &self.config;
        let spec =
            HashSpec::new(c.levels, c.features, c.log2_table_size, c.base_resolution, c.finest_resolution).unwrap();
        let unit = ((x - self.scene.bounds.min) / self.scene.bounds.size()).to_array();
        let mut seen = vec![0.0; spec.out_dim()];
        crate::ops::hash_encode::reference::forward(&spec, &unit, self.tensor("table"), &mut seen);
        let net = plain(seen.len(), &c.sigma_hidden, 1 + c.volume.latent, Activation::None);
        let mut out = vec![0.0; 1 + c.volume.latent];
        crate::ops::mlp::reference::forward(&net, &seen, self.tensor("sigma_net"), &mut out);
        let seen: Vec<f32> = out[1..].iter().copied().chain(eval_basis(3, d)).collect();
        let net = plain(seen.len(), &c.volume.colour_hidden, 3, Activation::Sigmoid);
        let mut rgb = [0.0; 3];
        crate::ops::mlp::reference::forward(&net, &seen, self.tensor("colour_net"), &mut rgb);
        (out[0].exp(), rgb)
    }
}

fn read_bytes(bytes: &[u8]) -> Result<(Archive, Vec<String>)> {
    match read(&mut Source::memory(bytes))? {
        (Held::Field(archive), notes) => Ok((*archive, notes)),
        _ => Err(Error::new("Gaussians")),
    }
}

fn points(aabb_scale: u32) -> Vec<(Vec3, Vec3)> {
    let mut rng = Rng::new(9, "points");
    let each = |i: i32| {
        let reach = if i % 2 == 0 { aabb_scale as f32 } else { 1.0 };
        let p = Vec3::new(rng.range(-0.5, 0.5), rng.range(-0.5, 0.5), rng.range(-0.5, 0.5)) * reach + 0.5;
        (p, Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize())
    };
    (0..60).map(each).collect()
}

/// The largest difference of densities (relative) and colours between a snapshot and a field.
fn difference(sample: &Sample, ours: &Ours) -> f32 {
    let shift = ours.scene.bounds.centre() - 0.5;
    let each = |(p, d): (Vec3, Vec3)| {
        let ((a, rgb), (b, own)) = (sample.ask(p, d), ours.ask(p + shift, d));
        rgb.iter().zip(own).map(|(a, b)| (a - b).abs()).fold((a / b - 1.0).abs(), f32::max)
    };
    points(sample.aabb_scale).into_iter().map(each).fold(0.0, f32::max)
}

fn packed(bytes: &[u8], gzip: bool) -> Vec<u8> {
    use std::io::Write;
    if gzip {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(bytes).and_then(|()| out.finish()).unwrap()
    } else {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
        out.write_all(bytes).and_then(|()| out.finish()).unwrap()
    }
}

#[test]
fn a_snapshot_is_the_same_function() {
    for (scale, sigma, colour, fused) in [(1, [32, 1], [16, 2], true), (2, [0, 0], [24, 1], false)] {
        let mut sample = sample(scale, sigma, colour, fused);
        let bytes = sample.root.bytes();
        assert!(recognises(&bytes[..4096]));
        let (archive, notes) = read_bytes(&bytes).expect("reads");
        assert!(notes.len() == 2 && notes[0].contains("density grid is empty"), "{notes:?}");
        let ours = Ours::of(&archive);
        let error = difference(&sample, &ours);
        assert!(error < 3e-5, "{scale}: {error}");
        assert_eq!(ours.scene.bounds, retort_shaders::Aabb::cube(0.5 * scale as f32));
        assert_eq!(archive.json["provenance"]["steps"], 1234);
        // The negative control: one weight of either network is another.
        for name in ["sigma_net", "colour_net"] {
            let mut other = archive.clone();
            other.tensors.iter_mut().find(|(n, ..)| n == name).unwrap().2[3] += 0.2;
            assert!(difference(&sample, &Ours::of(&other)) > 1e-3);
        }
        // Compressed in either way, and in half precision.
        let gzip = packed(&bytes, true);
        assert!(recognises(&gzip[..gzip.len().min(4096)]));
        assert_eq!(read_bytes(&gzip).unwrap().0.tensors, archive.tensors);
        assert_eq!(read_bytes(&packed(&bytes, false)).unwrap().0.tensors, archive.tensors);
        let Node::Bytes(params) = sample.root.at("snapshot/params_binary") else { panic!("bytes") };
        let half: Vec<u8> =
            nets::floats(params, false).iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        *sample.root.at("snapshot/params_binary") = Node::Bytes(half);
        *sample.root.at("snapshot/params_type") = Node::Value(json!("__half"));
        let (halved, _) = read_bytes(&sample.root.bytes()).expect("reads");
        // Where the type is missing, the length tells.
        *sample.root.at("snapshot/params_type") = Node::Value(json!(null));
        assert_eq!(read_bytes(&sample.root.bytes()).expect("reads").0.tensors, halved.tensors);
        let error = difference(&sample, &Ours::of(&halved));
        assert!((1e-5..0.05).contains(&error), "{error}");
    }
}

#[test]
fn frame_cameras_and_cells_are_the_files() {
    for scale in [1, 2, 8] {
        let mut sample = sample(scale, [16, 1], [16, 1], true);
        let cascades = scale.trailing_zeros() as usize + 1;
        *sample.root.at("snapshot/density_grid_binary") = Node::Bytes(density_grid(cascades));
        let (archive, _) = read_bytes(&sample.root.bytes()).expect("reads");
        let ours = Ours::of(&archive);
        // x_ngp = cycle(scale · x + offset)
        let x = Vec3::new(0.3, -0.2, 0.9);
        let moved = 0.5 * x + Vec3::new(0.5, 0.25, 0.75);
        let ngp = Vec3::new(moved.y, moved.z, moved.x);
        assert!(ours.scene.scene_from_dataset.point(x).abs_diff_eq(ngp - 0.5, 1e-6));
        let pose = &ours.scene.cameras[0];
        assert!(pose.position.abs_diff_eq(Vec3::new(0.2, 1.0, -0.7), 1e-6));
        // The third column is where it looks there: along −Z of the camera here.
        assert!((pose.rotation * Vec3::NEG_Z).abs_diff_eq(Vec3::X, 1e-6));
        assert!((pose.rotation * Vec3::Y).abs_diff_eq(Vec3::NEG_Z, 1e-6));
        assert!((pose.fov_y - 2.0 * 0.5_f32.atan()).abs() < 1e-6 && (pose.aspect - 4.0 / 3.0).abs() < 1e-6);
        let (mut inside, mut wide) = (0, 0);
        for (p, _) in points(scale) {
            let here = ours.occupancy.contains(p - 0.5);
            // Cells of theirs: in the cascade that a point belongs to.
            let cascade = (2.0 * (p - 0.5).abs().max_element()).log2().ceil().max(0.0);
            let each = cascade.exp2() / 128.0;
            let centre = ((p - 0.5) / each).floor() * each + 0.5 * each + 0.5;
            let there = in_ball(centre);
            assert!(here || !there, "{p} of {scale} is occupied there");
            inside += usize::from(there);
            wide += usize::from(here && !there);
        }
        assert!(inside > 3 && (scale > 1 || wide == 0), "{scale}: {inside} {wide}");
        *sample.root.at("snapshot/density_grid_binary") = Node::Bytes(Vec::new());
        let (archive, notes) = read_bytes(&sample.root.bytes()).expect("reads");
        assert!((Ours::of(&archive).occupancy.occupied_fraction() - 1.0).abs() < 1e-6 && notes.len() == 2);
    }
}

#[test]
fn a_crop_and_mitsubas_axes_are_kept() {
    let mut sample = sample(1, [16, 1], [16, 1], true);
    *sample.root.at("snapshot/density_grid_binary") = Node::Bytes(density_grid(1));
    let Node::Value(dataset) = sample.root.at("snapshot/nerf/dataset") else { panic!("a value") };
    dataset["from_mitsuba"] = json!(true);
    dataset["render_aabb"] = json!({"min": [0.45, 0.0, 0.0], "max": [1.0, 1.0, 1.0]});
    let (archive, notes) = read_bytes(&sample.root.bytes()).expect("reads");
    let ours = Ours::of(&archive);
    assert_eq!(notes.len(), 1);
    let frame = ours.scene.scene_from_dataset;
    assert_eq!(frame.rotation, Quat::IDENTITY);
    assert!(frame.point(Vec3::ONE).abs_diff_eq(Vec3::new(0.5, 0.25, 0.75), 1e-6));
    // Within the ball, on either side of the crop at x = −0.05.
    let at = |x: f32| ours.occupancy.contains(Vec3::new(x, 0.1, 0.0));
    assert!(at(-0.04) && at(0.1) && !at(-0.07) && !at(-0.3));
    // Turned by half about the middle, the other side is left.
    let Node::Value(dataset) = sample.root.at("snapshot/nerf/dataset") else { panic!("a value") };
    dataset["render_aabb_to_local"] = json!([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    dataset["render_aabb"] = json!({"min": [-0.45, 0.0, 0.0], "max": [1.0, 1.0, 1.0]});
    let ours = Ours::of(&read_bytes(&sample.root.bytes()).expect("reads").0);
    let at = |x: f32| ours.occupancy.contains(Vec3::new(x, 0.1, 0.0));
    assert!(!at(-0.04) && !at(0.1) && at(-0.07) && at(-0.3));
}

/// A field as it is trained here: a latent beside the density, layers of several widths.
fn own_field(latent: usize) -> Archive {
    let config = HashConfig {
        levels: 3,
        features: 4,
        log2_table_size: 8,
        base_resolution: 16,
        finest_resolution: 500,
        log2_growth: None,
        far_points: false,
        sigma_hidden: vec![24, 40],
        volume: VolumeConfig {
            latent,
            colour_hidden: vec![20],
            log_sigma_range: [-8.0, 7.0],
            occupancy_resolution: 64,
            samples_per_diagonal: 512,
            cone_angle: 0.0,
            colour_encoding: ColourEncoding::Sh,
        },
    };
    let spec = HashSpec::new(3, 4, 8, 16, 500).unwrap();
    let mut rng = Rng::new(latent as u64, "a field");
    let mut random = |n: usize, size: f32| (0..n).map(|_| size * rng.normal()).collect::<Vec<_>>();
    let scene = Scene {
        scene_from_dataset: Similarity { scale: 0.25, rotation: Quat::IDENTITY, translation: Vec3::new(0.1, 0.2, 0.3) },
        cameras: vec![Pose {
            position: Vec3::new(1.0, -2.0, 0.5),
            rotation: Quat::from_xyzw(0.1, 0.7, -0.3, 0.4).normalize(),
            fov_y: 0.8,
            aspect: 1.37,
        }],
        ..Scene::default()
    };
    let mut grid = Occupancy::new_empty(64, scene.bounds);
    grid.mark(Vec3::splat(-0.4), Vec3::new(0.3, 0.9, 0.1), |p| p.length() < 0.7);
    let (sigmas, colours) = (12 * 24 + 24 * 40 + 40 * (1 + latent), (latent + 16) * 20 + 20 * 3);
    Archive {
        json: json!({"version": VERSION, "config": FieldConfig::Hash(config), "scene": scene}),
        tensors: vec![
            ("table".into(), [spec.entries(), 4], random(spec.param_count(), 0.3)),
            ("sigma_net".into(), [1, sigmas], random(sigmas, 0.3)),
            ("colour_net".into(), [1, colours], random(colours, 0.3)),
        ],
        bytes: vec![("extra.occupancy".into(), grid.to_bytes_compact())],
    }
}

fn written(archive: &Archive) -> Result<(Vec<u8>, Vec<String>)> {
    let mut out = Cursor::new(Vec::new());
    let notes = write(archive, &mut out)?;
    Ok((out.into_inner(), notes))
}

#[test]
fn a_field_that_is_written_reads_the_same() {
    for latent in [15, 16, 40] {
        let archive = own_field(latent);
        let (bytes, notes) = written(&archive).expect("writes");
        assert!(recognises(&bytes[..4096]) && notes.len() == 3, "{notes:?}");
        let (again, _) = read_bytes(&bytes).expect("reads");
        let (a, b) = (Ours::of(&archive), Ours::of(&again));
        let differs = |a: &Ours, b: &Ours| {
            let each = |(p, d): (Vec3, Vec3)| {
                let ((s, rgb), (t, own)) = (a.ask(2.0 * (p - 0.5), d), b.ask(2.0 * (p - 0.5), d));
                rgb.iter().zip(own).map(|(a, b)| (a - b).abs()).fold((s / t - 1.0).abs(), f32::max)
            };
            points(1).into_iter().map(each).fold(0.0, f32::max)
        };
        assert!(differs(&a, &b) < 1e-6, "latent {latent}");
        let mut other = archive.clone();
        other.tensors[1].2[7] += 0.1;
        assert!(differs(&Ours::of(&other), &b) > 1e-4, "the negative control");
        // Positions, cameras and cells come back as well.
        let (f, g) = (a.scene.scene_from_dataset, b.scene.scene_from_dataset);
        assert!(f.point(Vec3::ONE).abs_diff_eq(g.point(Vec3::ONE), 1e-6) && f.rotation == g.rotation);
        let (p, q) = (&a.scene.cameras[0], &b.scene.cameras[0]);
        assert!(p.position.abs_diff_eq(q.position, 1e-6) && p.rotation.dot(q.rotation).abs() > 0.999_999);
        assert!((p.fov_y - q.fov_y).abs() < 1e-5 && (p.aspect - q.aspect).abs() < 1e-5);
        for (p, _) in points(2) {
            assert_eq!(a.occupancy.contains(p - 0.5), b.occupancy.contains(p - 0.5));
        }
        // What was read is written as it was, without compression as well.
        let mut out = Cursor::new(Vec::new());
        write_plain(&again, &mut out).expect("writes");
        let (once_more, _) = read_bytes(&out.into_inner()).expect("reads");
        assert_eq!((once_more.tensors, once_more.bytes), (again.tensors, again.bytes));
    }
}
