//! For tests: what a field's parts say of points, by the reference kernels alone, and models of random numbers that trainers'
//! checkpoints could hold.

use serde_json::Value as Json;

use super::torch::written::{Py, checkpoint, dict, tensor};
use super::{Held, pytorch};
use crate::error::Result;
use crate::files::archive::Archive;
use crate::files::splats::Source;
use crate::ops::factors::{self, FactorSpec, Form};
use crate::ops::hash_encode::spec::{HashConfig, HashSpec};
use crate::ops::mlp::spec::{Activation, Layer, MlpSpec};
use crate::ops::{hash_encode, mlp};
use crate::parts::sh;
use crate::rng::Rng;

/// Log-densities `[n]` and colours `[n, 3]` that the parts of a field give at scene points and directions `[n, 3]`.
pub(super) fn evaluate(parts: &Archive, x: &[f32], d: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let config = &parts.json["config"];
    let unit = unit(parts, x);
    let latent = count(&config["volume"]["latent"]);
    let out = match config["kind"].as_str().unwrap() {
        "voxels" => return voxels(parts, &unit, d),
        "hash" => hash(parts, &unit, latent),
        "mlp" => deep(parts, x, latent),
        kind => planes(parts, kind == "vm", &unit, latent),
    };
    let low_high = floats(&config["volume"]["log_sigma_range"]);
    let rows = out.chunks_exact(1 + latent);
    let log_sigma = rows.clone().map(|row| row[0].clamp(low_high[0], low_high[1])).collect();
    let waves = config["volume"]["colour_encoding"] == "fourier";
    let seen: Vec<f32> = rows.zip(d.as_chunks::<3>().0).flat_map(|(row, d)| seen(&row[1..], d, waves)).collect();
    let mut net = plain(seen.len() / (x.len() / 3), &counts(&config["volume"]["colour_hidden"]), 3);
    net.layers.iter_mut().for_each(|layer| layer.bias = waves);
    net.layers.last_mut().unwrap().activation = Activation::Sigmoid;
    (log_sigma, through(&net, &seen, values(parts, "colour_net")))
}

/// What the colour network sees of a point.
fn seen(latent: &[f32], d: &[f32; 3], waves: bool) -> Vec<f32> {
    if !waves {
        return latent.iter().copied().chain(sh::eval_basis(3, (*d).into())).collect();
    }
    let mut seen = [latent, d.as_slice()].concat();
    for part in [latent, d.as_slice()] {
        for octave in [1.0, 2.0] {
            seen.extend(part.iter().map(|v| (octave * v).sin()));
            seen.extend(part.iter().map(|v| (octave * v).cos()));
        }
    }
    seen
}

fn unit(parts: &Archive, x: &[f32]) -> Vec<f32> {
    let own = floats(&parts.json["config"]["bounds"]);
    let bounds = &parts.json["scene"]["bounds"];
    let bounds = if own.is_empty() { [floats(&bounds["min"]), floats(&bounds["max"])].concat() } else { own };
    x.iter().enumerate().map(|(i, v)| (v - bounds[i % 3]) / (bounds[3 + i % 3] - bounds[i % 3])).collect()
}

fn hash(parts: &Archive, unit: &[f32], latent: usize) -> Vec<f32> {
    let config = &parts.json["config"];
    let [levels, features] = ["levels", "features"].map(|name| count(&config[name]));
    let [log2, base, finest] =
        ["log2_table_size", "base_resolution", "finest_resolution"].map(|name| count(&config[name]) as u32);
    let log2_growth = config["log2_growth"].as_f64().map(|v| v as f32);
    let spec = HashSpec::new(levels, features, log2, base, finest).unwrap();
    let far_points = config["far_points"] == true;
    let spec = HashSpec::from_config(HashConfig { log2_growth, far_points, ..spec.config().clone() }).unwrap();
    let mut encoded = vec![0.0; unit.len() / 3 * spec.out_dim()];
    hash_encode::reference::forward(&spec, unit, values(parts, "table"), &mut encoded);
    let net = plain(spec.out_dim(), &counts(&config["sigma_hidden"]), 1 + latent);
    through(&net, &encoded, values(parts, "sigma_net"))
}

fn deep(parts: &Archive, x: &[f32], latent: usize) -> Vec<f32> {
    let config = &parts.json["config"];
    let [octaves, depth, width, skip, bottleneck] =
        ["frequencies", "depth", "width", "skip", "bottleneck"].map(|name| count(&config[name]));
    let trunk = (0..depth).map(|i| Layer {
        out: if i + 1 == depth { bottleneck } else { width },
        bias: true,
        activation: if i + 1 == depth { Activation::None } else { Activation::Relu },
        concat_input: i > 0 && i == skip,
    });
    let head = plain(bottleneck, &counts(&config["sigma_hidden"]), 1 + latent);
    let net = MlpSpec { input: 3 + 6 * octaves, layers: trunk.chain(head.layers).collect() };
    let encoded: Vec<f32> = x.as_chunks::<3>().0.iter().flat_map(|x| waves_of(x, octaves)).collect();
    through(&net, &encoded, values(parts, "density_net"))
}

/// `[x, sin x, cos x, sin 2x, cos 2x, …]`.
pub(super) fn waves_of(x: &[f32], octaves: usize) -> Vec<f32> {
    let octave = |k: usize| {
        (x.iter().map(move |v| ((1 << k) as f32 * v).sin())).chain(x.iter().map(move |v| ((1 << k) as f32 * v).cos()))
    };
    x.iter().copied().chain((0..octaves).flat_map(octave)).collect()
}

fn planes(parts: &Archive, planes: bool, unit: &[f32], latent: usize) -> Vec<f32> {
    let config = &parts.json["config"];
    let number = |name: &str| config[name].as_f64().unwrap() as f32;
    let exp = config["density"] == "exp";
    let scale = number("density_scale").ln();
    let resolution: Vec<u32> = counts(&config["resolution"]).into_iter().map(|n| n as u32).collect();
    let spec = FactorSpec {
        form: if planes { Form::Planes } else { Form::Lines },
        resolution: resolution.try_into().unwrap(),
        sigma_rank: count(&config["sigma_rank"]),
        app_rank: count(&config["app_rank"]),
        latent,
        offset: number("density_shift") + if exp { scale } else { 0.0 },
        outside: -40.0,
    };
    let mut out = vec![0.0; unit.len() / 3 * (1 + latent)];
    factors::reference::forward(&spec, unit, values(parts, "factors"), values(parts, "basis"), &mut out);
    if !exp {
        out.chunks_exact_mut(1 + latent).for_each(|row| row[0] = f64::from(row[0]).exp().ln_1p().ln() as f32 + scale);
    }
    out
}

fn voxels(parts: &Archive, unit: &[f32], d: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let edge = count(&parts.json["config"]["resolution"]);
    let (density, harmonics) = (values(parts, "density"), values(parts, "sh"));
    let (mut log_sigma, mut rgb) = (Vec::new(), Vec::new());
    for (x, d) in unit.as_chunks::<3>().0.iter().zip(d.as_chunks::<3>().0) {
        let at = x.map(|v| (v * edge as f32 - 0.5).clamp(0.0, (edge - 1) as f32));
        let cell = at.map(|v| (v as usize).min(edge - 2));
        let mut value = [0.0; 28];
        for corner in 0..8 {
            let up = |a: usize| corner >> a & 1;
            let weight: f32 = (0..3).map(|a| (at[a] - cell[a] as f32 - (1 - up(a)) as f32).abs()).product();
            let row = cell[0] + up(0) + edge * (cell[1] + up(1) + edge * (cell[2] + up(2)));
            value[0] += weight * density[row];
            (0..27).for_each(|k| value[1 + k] += weight * harmonics[row * 27 + k]);
        }
        log_sigma.push(value[0].clamp(-2.0, 7.0));
        let basis = sh::eval_basis(2, (*d).into());
        let sum = |c: usize| (0..9).map(|k| value[1 + 9 * c + k] * basis[k]).sum::<f32>();
        rgb.extend([0, 1, 2].map(|c| sigmoid(sum(c))));
    }
    (log_sigma, rgb)
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn values<'a>(parts: &'a Archive, name: &str) -> &'a [f32] {
    &parts.tensors.iter().find(|(n, ..)| n == name).unwrap().2
}

fn count(json: &Json) -> usize {
    json.as_u64().unwrap_or(0) as usize
}

fn counts(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(count).collect()
}

fn floats(json: &Json) -> Vec<f32> {
    json.as_array().map_or_else(
        || json.as_f64().map(|v| v as f32).into_iter().collect(),
        |all| all.iter().flat_map(floats).collect(),
    )
}

fn plain(input: usize, hidden: &[usize], output: usize) -> MlpSpec {
    let relu = hidden.iter().map(|&out| Layer::new(out, Activation::Relu));
    MlpSpec { input, layers: relu.chain([Layer::new(output, Activation::None)]).collect() }
}

fn through(net: &MlpSpec, x: &[f32], parameters: &[f32]) -> Vec<f32> {
    assert_eq!(net.param_count(), parameters.len(), "the parameters of {net:?}");
    let mut out = vec![0.0; x.len() / net.input * net.output_dim()];
    mlp::reference::forward(net, x, parameters, &mut out);
    out
}

/// A model of random numbers: tensors by name.
#[derive(Clone, Default)]
pub(super) struct Toy {
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Toy {
    /// Adds a tensor of values within `±reach`.
    pub fn add(&mut self, rng: &mut Rng, name: &str, shape: &[usize], reach: f32) {
        let values = (0..shape.iter().product()).map(|_| rng.range(-reach, reach)).collect();
        self.tensors.push((name.to_string(), shape.to_vec(), values));
    }

    pub fn get(&self, name: &str) -> &[f32] {
        &self.tensors.iter().find(|(n, ..)| n == name).unwrap_or_else(|| panic!("{name}")).2
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|(n, ..)| n == name)
    }

    pub fn state(&self) -> Py {
        Py::Dict(self.tensors.iter().map(|(name, shape, values)| (name.clone(), tensor(shape, values))).collect())
    }

    /// A linear layer, with a bias if there is one.
    pub fn linear(&self, name: &str, x: &[f32]) -> Vec<f32> {
        let weight = self.get(&format!("{name}.weight"));
        let mut out: Vec<f32> =
            weight.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        let bias = format!("{name}.bias");
        if self.has(&bias) {
            out.iter_mut().zip(self.get(&bias)).for_each(|(out, bias)| *out += bias);
        }
        out
    }

    /// Layers with a rectifier between them.
    pub fn network(&self, names: &[&str], x: &[f32]) -> Vec<f32> {
        let mut h = self.linear(names[0], x);
        for name in &names[1..] {
            h.iter_mut().for_each(|v| *v = v.max(0.0));
            h = self.linear(name, &h);
        }
        h
    }
}

/// The parts of the field in a file with this root, and the notes.
pub(super) fn field_of(root: &Py) -> Result<(Archive, Vec<String>)> {
    let file = checkpoint(root);
    match pytorch::read(&mut Source::memory(&file))? {
        (Held::Field(parts), notes) => Ok((*parts, notes)),
        (Held::Gaussians(_), _) => panic!("Gaussians"),
    }
}

/// A `state_dict` as torch-ngp saves it.
pub(super) fn model(state: Py) -> Py {
    dict([("epoch", Py::Int(1)), ("global_step", Py::Int(77)), ("model", state)])
}

/// Points `[n, 3]` within a box, an eighth of them close to its upper faces, and unit directions.
pub(super) fn probes(n: usize, low: [f32; 3], high: [f32; 3], rng: &mut Rng) -> (Vec<f32>, Vec<f32>) {
    let (mut x, mut d) = (Vec::new(), Vec::new());
    for i in 0..n {
        let share = |rng: &mut Rng| if i % 8 == 0 { rng.range(0.97, 0.999) } else { rng.range(0.001, 0.999) };
        x.extend([0, 1, 2].map(|a| low[a] + share(rng) * (high[a] - low[a])));
        d.extend(glam::Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(glam::Vec3::Z).to_array());
    }
    (x, d)
}

/// Compares parts with the trainer's own log-density per scene unit and colour at each probe, and makes sure that neither
/// agrees once a parameter is off.
pub(super) fn check(parts: &Archive, x: &[f32], d: &[f32], theirs: impl Fn(usize) -> (f32, [f32; 3])) {
    let worst = |parts: &Archive| {
        let (log_sigma, rgb) = evaluate(parts, x, d);
        let mut worst = [0.0_f32; 2];
        for (i, (log_sigma, rgb)) in log_sigma.iter().zip(rgb.as_chunks::<3>().0).enumerate() {
            let (sigma, colour) = theirs(i);
            worst[0] = worst[0].max((log_sigma - sigma).abs());
            (0..3).for_each(|c| worst[1] = worst[1].max((rgb[c] - colour[c]).abs()));
        }
        worst
    };
    let [sigma, rgb] = worst(parts);
    assert!(sigma < 1e-4 && rgb < 1e-4, "log σ off by {sigma:e}, colours by {rgb:e}");
    for (i, (name, ..)) in parts.tensors.iter().enumerate() {
        let mut off = parts.clone();
        off.tensors[i].2.iter_mut().step_by(5).for_each(|v| *v = 1.1 * *v + 0.02);
        let [sigma, rgb] = worst(&off);
        assert!(sigma.max(rgb) > 1e-3, "{name} makes no difference: {sigma:e}, {rgb:e}");
    }
}

/// Reads a file with bytes changed here and there, `rounds` times: errors, but no panic. Gives how often it was refused.
pub(super) fn spoiled(file: &[u8], rounds: usize) -> usize {
    let mut rng = Rng::new(rounds as u64, "spoiled bytes");
    // Most of a file is numbers, which may be anything: the pickle is at its beginning, the directory at its end.
    let spoil = |file: &mut Vec<u8>, rng: &mut Rng| {
        let reach = file.len().min(3000);
        let at = rng.below(reach);
        let at = if rng.below(3) == 0 { file.len() - 1 - at } else { at };
        file[at] = rng.below(256) as u8;
    };
    let read = |rng: &mut Rng| {
        let mut file = file.to_vec();
        (0..=rng.below(3)).for_each(|_| spoil(&mut file, rng));
        if rng.below(10) == 0 {
            file.truncate(rng.below(file.len()));
        }
        usize::from(pytorch::read(&mut Source::memory(&file)).is_err())
    };
    (0..rounds).map(|_| read(&mut rng)).sum()
}
