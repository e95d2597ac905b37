//! Small files of other trainers, from which the fuzzer starts: random numbers in the shapes that they have.

use std::io::Cursor;

use serde::Serialize;
use serde_json::{Value, json};

use super::npz::{NpzWriter, Number};
use super::written::{Py, checkpoint, dict, tensor, text};
use super::{Held, ingp};
use crate::files::splats::Source;
use crate::rng::Rng;

fn random(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.range(-1.0, 1.0)).collect()
}

/// A `state_dict` of random numbers.
fn state(shapes: &[(String, Vec<usize>)]) -> Py {
    let mut rng = Rng::new(1, "seeds");
    let pair =
        |(name, shape): &(String, Vec<usize>)| (name.clone(), tensor(shape, &random(&mut rng, shape.iter().product())));
    Py::Dict(shapes.iter().map(pair).collect())
}

fn layers(name: &str, widths: &[[usize; 2]], step: usize, biases: bool) -> Vec<(String, Vec<usize>)> {
    let layer = |(i, [out, input]): (usize, &[usize; 2])| {
        let bias = biases.then(|| (format!("{name}.{}.bias", step * i), vec![*out]));
        std::iter::once((format!("{name}.{}.weight", step * i), vec![*out, *input])).chain(bias)
    };
    widths.iter().enumerate().flat_map(layer).collect()
}

/// Planes and lines of a grid of 5 × 4 × 3, as their axes are paired.
fn factors(plane: &str, line: &str, rank: usize) -> Vec<(String, Vec<usize>)> {
    const SIZE: [usize; 3] = [5, 4, 3];
    let modes = [[0, 1, 2], [0, 2, 1], [1, 2, 0]].into_iter().enumerate();
    let pair = |(i, [a, b, c]): (usize, [usize; 3])| {
        [(format!("{plane}.{i}"), vec![1, rank, SIZE[b], SIZE[a]]), (format!("{line}.{i}"), vec![1, rank, SIZE[c], 1])]
    };
    modes.flat_map(pair).collect()
}

/// A model as torch-ngp and PVD save it.
fn model(shapes: &[(String, Vec<usize>)]) -> Py {
    let Py::Dict(mut pairs) = state(shapes) else { return Py::None };
    for name in ["aabb_train", "aabb_infer"] {
        pairs.push((name.into(), tensor(&[6], &[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])));
    }
    dict([("epoch", Py::Int(1)), ("global_step", Py::Int(77)), ("model", Py::Dict(pairs))])
}

fn tensorf() -> Py {
    let mut shapes = factors("density_plane", "density_line", 2);
    shapes.extend(factors("app_plane", "app_line", 2));
    shapes.push(("basis_mat.weight".into(), vec![4, 6]));
    shapes.extend(layers("renderModule.mlp", &[[8, 4 + 3 + 2 * (8 + 6)], [8, 8], [3, 8]], 2, true));
    let list = |numbers: &[i64]| Py::List(numbers.iter().map(|n| Py::Int(*n)).collect());
    let settings = dict([
        ("aabb", tensor(&[2, 3], &[-1.4, -1.2, -0.7, 1.5, 1.1, 1.3])),
        ("gridSize", list(&[5, 4, 3])),
        ("density_n_comp", list(&[2, 2, 2])),
        ("appearance_n_comp", list(&[2, 2, 2])),
        ("app_dim", Py::Int(4)),
        ("density_shift", Py::Int(-2)),
        ("distance_scale", Py::Int(25)),
        ("fea2denseAct", text("softplus")),
        ("near_far", Py::List(vec![Py::Float(2.0), Py::Float(6.0)])),
        ("step_ratio", Py::Float(0.5)),
        ("shadingMode", text("MLP_Fea")),
        ("pos_pe", Py::Int(6)),
        ("view_pe", Py::Int(2)),
        ("fea_pe", Py::Int(2)),
    ]);
    dict([("kwargs", settings), ("state_dict", state(&shapes))])
}

fn splatfacto() -> Py {
    let parts = [("means", 3), ("scales", 3), ("quats", 4), ("features_dc", 3), ("opacities", 1)];
    let mut shapes: Vec<_> =
        parts.iter().map(|(name, width)| (format!("_model.gauss_params.{name}"), vec![3, *width])).collect();
    shapes.push(("_model.gauss_params.features_rest".into(), vec![3, 3, 3]));
    dict([("step", Py::Int(5)), ("pipeline", state(&shapes))])
}

/// Checkpoints of every trainer that is known, and one of values.
pub fn torch() -> Vec<(&'static str, Vec<u8>)> {
    let colour = |seen: usize| layers("color_net", &[[8, seen], [8, 8], [3, 8]], 1, false);
    let sigma = |input: usize| layers("sigma_net", &[[8, input], [6, 8]], 1, false);
    let mut planes = factors("sigma_mat", "sigma_vec", 2);
    planes.extend(factors("color_mat", "color_vec", 3));
    planes.push(("basis_mat.weight".into(), vec![5, 9]));
    planes.extend(colour(21));
    let mut deep = layers("nerf_mlp", &[[6, 15], [6, 6], [6, 21], [4, 6]], 1, true);
    deep.extend(sigma(4).into_iter().chain(colour(21)));
    let voxels = vec![("tensor_volume.0".to_string(), vec![1, 28, 2, 2, 2])];
    let values = dict([
        ("none", Py::None),
        ("numbers", Py::Tuple(vec![Py::Bool(true), Py::Int(-3), Py::Int(70_000), Py::Float(0.5)])),
        ("bytes", Py::Array(vec![2, 3], vec![1, 2, 3, 4, 5, 6])),
        ("list", Py::List(vec![text("a"), tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])])),
    ]);
    let roots = [
        ("values", values),
        ("tensorf", tensorf()),
        ("splatfacto", splatfacto()),
        ("planes", model(&planes)),
        ("deep", model(&deep)),
        ("voxels", model(&voxels)),
    ];
    roots.iter().map(|(name, root)| (*name, checkpoint(root))).collect()
}

/// A grid of 3 × 2 × 2 vertices with every second one kept, its harmonics of `functions` a channel, as bytes or packed.
pub fn npz(functions: usize, packed: bool) -> Vec<u8> {
    let mut rng = Rng::new(2, "seeds");
    let mut bytes = Vec::new();
    let mut file = NpzWriter::new(Cursor::new(&mut bytes));
    let floats = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let links: Vec<u8> = (0..12_i32).flat_map(|i| (if i % 2 == 0 { i / 2 } else { -1 }).to_le_bytes()).collect();
    let halves = random(&mut rng, 18 * functions).into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes());
    let parts = [
        ("radius", Number::F32, vec![3], floats(vec![1.0, 0.75, 0.5])),
        ("center", Number::F32, vec![3], floats(vec![0.0, 0.25, -0.5])),
        ("links", Number::I32, vec![3, 2, 2], links),
        ("density_data", Number::F32, vec![6, 1], floats(random(&mut rng, 6))),
        ("sh_data", Number::F16, vec![6, 3 * functions], halves.collect()),
        ("basis_type", Number::I64, vec![], 1_i64.to_le_bytes().to_vec()),
    ];
    for (name, number, shape, values) in parts {
        file.add(name, number, &shape, packed, |out| out.write_all(&values)).expect("memory can be written");
    }
    file.finish().expect("memory can be written");
    bytes
}

/// A value, or bytes.
enum Node {
    Value(Value),
    Bytes(Vec<u8>),
    Map(Vec<(&'static str, Node)>),
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Map(parts) => serializer.collect_map(parts.iter().map(|(key, node)| (key, node))),
        }
    }
}

/// A snapshot of a small grid and small networks, in half precision.
pub fn msgpack() -> Vec<u8> {
    // Two levels of two features, padded to 16; one layer of 16 neurons to 16 values; those and 16 harmonics to 16.
    let hash = crate::ops::hash_encode::HashSpec::new(2, 2, 8, 4, 2048).expect("a grid");
    let count = 16 * 16 + 16 * 16 + 32 * 16 + 16 * 16 + hash.param_count();
    let mut rng = Rng::new(3, "seeds");
    let halves = random(&mut rng, count).into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
    let network = json!({
        "otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 16, "n_hidden_layers": 1,
    });
    let rows = [[0.0, 0.0, 1.0, 0.7], [1.0, 0.0, 0.0, 1.5], [0.0, 1.0, 0.0, -0.2]];
    let dataset = json!({
        "aabb_scale": 1, "scale": 0.5, "offset": [0.5, 0.25, 0.75], "from_mitsuba": false, "is_hdr": false,
        "n_extra_learnable_dims": 0, "xforms": [{"start": rows, "end": rows}],
        "metadata": [{"resolution": [400, 300], "focal_length": [300.0, 300.0], "lens": null}],
    });
    let snapshot = vec![
        ("density_grid_binary", Node::Bytes(Vec::new())),
        ("density_grid_size", Node::Value(json!(128))),
        ("mode", Node::Value(json!("nerf"))),
        ("n_params", Node::Value(json!(count))),
        ("nerf", Node::Map(vec![("dataset", Node::Value(dataset))])),
        ("params_binary", Node::Bytes(halves)),
        ("params_type", Node::Value(json!("__half"))),
        ("training_step", Node::Value(json!(1234))),
        ("version", Node::Value(json!(1))),
    ];
    let root = Node::Map(vec![
        ("dir_encoding", Node::Value(json!({"otype": "SphericalHarmonics", "degree": 4}))),
        (
            "encoding",
            Node::Value(json!({
                "otype": "HashGrid", "n_levels": 2, "n_features_per_level": 2, "log2_hashmap_size": 8, "base_resolution": 4,
            })),
        ),
        ("network", Node::Value(network.clone())),
        ("rgb_network", Node::Value(network)),
        ("snapshot", Node::Map(snapshot)),
    ]);
    rmp_serde::to_vec_named(&root).expect("memory can be written")
}

/// Gaussians as 3DGRUT keeps them.
pub fn mixture() -> Vec<u8> {
    let mut rng = Rng::new(4, "seeds");
    // Positive: scales are, and nothing else minds.
    let mut halves = |n: usize| {
        let values = random(&mut rng, n).into_iter().map(|v| 0.1 + v.abs());
        Node::Bytes(values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect())
    };
    let root = Node::Map(vec![
        ("mog_num", Node::Value(json!(3))),
        ("mog_sph_degree", Node::Value(json!(1))),
        ("mog_positions", halves(9)),
        ("mog_scales", halves(9)),
        ("mog_rotations", halves(12)),
        ("mog_densities", halves(3)),
        ("mog_features", halves(36)),
        ("precision", Node::Value(json!("half"))),
    ]);
    rmp_serde::to_vec_named(&root).expect("memory can be written")
}

/// The snapshot as we write it, packed.
pub fn ingp() -> Vec<u8> {
    let held = ingp::read(&mut Source::memory(&msgpack())).expect("the seed is a snapshot");
    let (Held::Field(archive), _) = held else { panic!("the seed is a field") };
    let mut out = Cursor::new(Vec::new());
    ingp::write(&archive, &mut out).expect("memory can be written");
    out.into_inner()
}
