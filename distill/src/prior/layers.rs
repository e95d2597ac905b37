//! What denoisers are made of, on rows: everything is `[rows, channels]`, channels last, a row is a place of a view or a
//! word. Weights are looked up by name, linear ones as `[inputs, outputs]`, so that a network is its wiring alone.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::activation::silu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use half::{bf16, f16};
use retort_fields::error::{Error, Result};
use retort_fields::field::tensor;
use retort_fields::ops::conv::conv;
use retort_fields::ops::linear::{Act, linear};
use retort_fields::ops::norm::{Norm, norm};
use retort_fields::rng::Rng;
use safetensors::Dtype;

/// A weight's name and its shape in a file, outputs first.
pub type Shape = (String, Vec<usize>);

/// Collects the names and shapes of a network's weights.
#[derive(Default)]
pub struct Names(pub Vec<Shape>);

impl Names {
    /// A weight of this shape, outputs first.
    pub fn bare(&mut self, name: &str, shape: &[usize]) {
        self.0.push((format!("{name}.weight"), shape.to_vec()));
    }

    /// A weight and a bias.
    pub fn add(&mut self, name: &str, shape: &[usize]) {
        self.bare(name, shape);
        self.0.push((format!("{name}.bias"), shape[..1].to_vec()));
    }
}

/// Named weights, each as a matrix or a row, and low-rank additions to them.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    weights: BTreeMap<String, Tensor<2>>,
    /// `A [inputs, rank]` and `B [rank, outputs]` beside the linear maps of these names.
    adapters: BTreeMap<String, [Tensor<2>; 2]>,
    /// Which of the weights are trained besides the adapters.
    trained: BTreeSet<String>,
}

/// The values of a tensor of a file, in float32.
///
/// # Errors
/// When it is of another kind than float16, bfloat16 and float32.
pub fn floats(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
    let pairs = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        Dtype::F16 => Ok(pairs.map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Ok(pairs.map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        Dtype::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        other => Err(Error::new(format!("a tensor is of {other:?}, not of float16, bfloat16 or float32"))),
    }
}

/// A weight of a file as it is kept: linear maps and 1 × 1 convolutions as `[inputs, outputs]`, 3 × 3 convolutions as
/// `[9·inputs, outputs]` by the neighbour's row, its column, the channel, rows as `[1, n]`. Tables, which are looked up
/// and not multiplied, stay as they are.
///
/// # Errors
/// When values are not finite, or the shape is of none of these.
pub fn kept((name, shape): &Shape, values: Vec<f32>, table: bool, device: &Device) -> Result<Tensor<2>> {
    if values.iter().any(|v| !v.is_finite()) {
        return Err(Error::new(format!("{name} is not finite")));
    }
    // Laid out here and not by views of tensors: products round by layout, and what is read again from a checkpoint lies
    // in one piece.
    let (values, shape) = match shape[..] {
        [o] => (values, [1, o]),
        [rows, columns] if table => (values, [rows, columns]),
        [o, i] | [o, i, 1, 1] => (turned(&values, [o, i, 1]), [i, o]),
        [o, i, 3, 3] => (turned(&values, [o, i, 9]), [9 * i, o]),
        _ => return Err(Error::new(format!("{name} is {shape:?}, which no layer here has"))),
    };
    Ok(tensor(values, shape, device))
}

/// A weight in float16, for a GPU that multiplies such numbers: half the memory. What is not multiplied stays as it is.
pub fn half(weight: Tensor<2>) -> Tensor<2> {
    if weight.dims()[0] > 1 { weight.cast(FloatDType::F16) } else { weight }
}

fn is_half(weight: &Tensor<2>) -> bool {
    weight.dtype() == DType::F16
}

/// `x W` in the weight's precision; sums, norms and attention are float32 always.
fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    if is_half(&weight) { x.cast(FloatDType::F16).matmul(weight).cast(FloatDType::F32) } else { x.matmul(weight) }
}

/// A convolution of 3 × 3 places with weights in float16, as nine products: products of float16 are summed in float32, what
/// convolutions of float16 are summed in depends on the kernel that is chosen (in float16 itself on Mesa's lavapipe: 3 % off).
fn conv_in_halves(x: Tensor<2>, weight: &Tensor<2>, side: usize) -> Tensor<2> {
    let ([rows, inputs], outputs) = (x.dims(), weight.dims()[1]);
    let (n, device) = (rows / (side * side), x.device());
    let zeros = |shape| Tensor::<4>::zeros(shape, &device).cast(FloatDType::F16);
    let x = x.cast(FloatDType::F16).reshape([n, side, side, inputs]);
    let edge = || zeros([n, 1, side, inputs]);
    let x = Tensor::cat(vec![edge(), x, edge()], 1);
    let edge = || zeros([n, side + 2, 1, inputs]);
    let x = Tensor::cat(vec![edge(), x, edge()], 2);
    let tap = |i: usize| {
        let (row, column) = (i / 3, i % 3);
        let seen = x.clone().slice([0..n, row..row + side, column..column + side, 0..inputs]);
        let weight = weight.clone().slice([i * inputs..(i + 1) * inputs, 0..outputs]);
        seen.reshape([rows, inputs]).matmul(weight).cast(FloatDType::F32)
    };
    (1..9).map(tap).fold(tap(0), |sum: Tensor<2>, tap| sum + tap)
}

/// `[outputs, inputs, taps]` as `[taps, inputs, outputs]`.
fn turned(values: &[f32], [outputs, inputs, taps]: [usize; 3]) -> Vec<f32> {
    let mut turned = vec![0.0; values.len()];
    for (output, row) in values.chunks_exact((inputs * taps).max(1)).enumerate() {
        for (at, value) in row.iter().enumerate() {
            turned[((at % taps) * inputs + at / taps) * outputs + output] = *value;
        }
    }
    turned
}

impl Layers {
    /// Layers of these weights.
    pub fn new(weights: BTreeMap<String, Tensor<2>>) -> Self {
        Self { weights, ..Self::default() }
    }

    /// The same, off any graph but able to meet tensors that are on one.
    pub fn on_graph(&self) -> Self {
        let mut copy = self.clone();
        copy.weights.values_mut().for_each(|weight| *weight = Tensor::from_inner(weight.clone()));
        copy
    }

    /// The same, all weights to be trained.
    pub fn trainable(&self) -> Self {
        let mut copy = self.on_graph();
        // Steps are smaller than float16 can tell apart.
        let leaf = |weight: &Tensor<2>| weight.clone().cast(FloatDType::F32).require_grad();
        copy.weights.values_mut().for_each(|weight| *weight = leaf(weight));
        copy.trained = copy.weights.keys().cloned().collect();
        copy
    }

    /// Puts one more weight in, to be trained.
    pub fn add_trained(&mut self, name: &str, weight: Tensor<2>) {
        self.weights.insert(name.to_string(), Tensor::from_inner(weight).require_grad());
        self.trained.insert(name.to_string());
    }

    /// The same with low-rank adapters beside the linear maps that `chosen` names, to be trained (Hu et al. 2021). It
    /// begins as it is, because one of the factors is zero.
    pub fn adapted(&self, rank: usize, seed: u64, chosen: impl Fn(&str) -> bool) -> Self {
        let mut copy = self.on_graph();
        let mut rng = Rng::new(seed, "adapters");
        for (name, weight) in &self.weights {
            let Some(name) = name.strip_suffix(".weight").filter(|name| chosen(name)) else { continue };
            let ([inputs, outputs], device) = (weight.dims(), weight.device());
            let scale = 1.0 / (rank as f32).sqrt();
            let a = tensor((0..inputs * rank).map(|_| scale * rng.normal()).collect(), [inputs, rank], &device);
            let b = Tensor::zeros([rank, outputs], &device);
            copy.adapters.insert(name.to_string(), [a, b].map(|t| Tensor::from_inner(t).require_grad()));
        }
        copy
    }

    /// What was put on the graph to be trained, to be stepped.
    pub fn trained_mut(&mut self) -> Vec<&mut Tensor<2>> {
        let Self { weights, adapters, trained } = self;
        let weights = weights.iter_mut().filter(|(name, _)| trained.contains(*name)).map(|(_, weight)| weight);
        adapters.values_mut().flatten().chain(weights).collect()
    }

    /// The adapters' factors by the name of the map that they are beside.
    #[cfg(test)]
    pub(super) fn adapters_mut(&mut self) -> &mut BTreeMap<String, [Tensor<2>; 2]> {
        &mut self.adapters
    }

    /// Changes how each weight is kept.
    #[cfg(test)]
    pub(super) fn each(&mut self, keep: impl Fn(Tensor<2>) -> Tensor<2>) {
        self.weights.values_mut().for_each(|weight| *weight = keep(weight.clone()));
    }

    /// Whether anything is kept in float16.
    pub fn has_halves(&self) -> bool {
        self.weights.values().any(is_half)
    }

    /// Adds `[inputs, outputs]` to the map of this name.
    ///
    /// # Errors
    /// When there is none, or it is of another shape.
    pub fn merge(&mut self, name: &str, change: Tensor<2>) -> Result<()> {
        let weight =
            self.weights.get_mut(&format!("{name}.weight")).ok_or_else(|| Error::new(format!("there is no {name}")))?;
        if weight.dims() != change.dims() {
            let ([i, o], [ci, co]) = (weight.dims(), change.dims());
            return Err(Error::new(format!("{name} maps {i} to {o} values, not {ci} to {co}")));
        }
        let kept: FloatDType = weight.dtype().into();
        *weight = (weight.clone().cast(FloatDType::F32) + change).cast(kept);
        Ok(())
    }

    /// Names of the linear maps and convolutions.
    pub fn maps(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().filter_map(|name| name.strip_suffix(".weight"))
    }

    /// The number of weights.
    pub fn parameters(&self) -> usize {
        self.weights.values().map(|w| w.dims().iter().product::<usize>()).sum()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.weights.values().next().expect("a network has weights").device()
    }

    /// A weight as it is kept.
    ///
    /// # Panics
    /// When there is none of the name: a network asks for what it was loaded with.
    pub fn get(&self, name: &str) -> Tensor<2> {
        self.weights.get(name).cloned().unwrap_or_else(|| panic!("the network has no {name}"))
    }

    /// Whether there is a map of this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.contains_key(&format!("{name}.weight"))
    }

    /// `x W + b`, without b where there is none, with the adapters.
    pub fn linear(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        let weight = self.get(&format!("{name}.weight"));
        let y = match self.weights.get(&format!("{name}.bias")) {
            Some(bias) if is_half(&weight) => product(x.clone(), weight) + bias.clone(),
            Some(bias) => linear(x.clone(), weight, bias.clone(), Act::None),
            None => product(x.clone(), weight),
        };
        match self.adapters.get(name) {
            Some([a, b]) => y + x.matmul(a.clone()).matmul(b.clone()),
            None => y,
        }
    }

    /// The same, and `silu` of it.
    pub fn linear_silu(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        let weight = self.get(&format!("{name}.weight"));
        match self.weights.get(&format!("{name}.bias")) {
            Some(bias) if !is_half(&weight) && !self.adapters.contains_key(name) => {
                linear(x, weight, bias.clone(), Act::Silu)
            }
            _ => silu(self.linear(name, x)),
        }
    }

    /// Each row has mean 0 and variance 1, then a scale and a shift.
    pub fn layer_norm(&self, name: &str, x: Tensor<2>, eps: f32) -> Tensor<2> {
        let views = x.dims()[0];
        self.norm(name, x, Norm { views, groups: 1, eps, silu: false })
    }

    /// Rows normalised as `spec` says, with a scale and a shift.
    pub fn norm(&self, name: &str, x: Tensor<2>, spec: Norm) -> Tensor<2> {
        norm(x, self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")), spec)
    }

    /// The same with `film [views, 2·c]` upon it, one more factor (less 1) and one more shift for each view.
    pub fn norm_by(&self, name: &str, x: Tensor<2>, film: Tensor<2>, spec: Norm) -> Tensor<2> {
        let width = x.dims()[1];
        let factor = film.clone().narrow(1, 0, width) + 1.0;
        let scale = factor.clone() * self.get(&format!("{name}.weight"));
        let shift = factor * self.get(&format!("{name}.bias")) + film.narrow(1, width, width);
        norm(x, scale, shift, spec)
    }

    /// A convolution of 3 × 3 places over square pictures of this side.
    pub fn conv(&self, name: &str, x: Tensor<2>, side: usize) -> Tensor<2> {
        let (weight, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        if is_half(&weight) {
            return conv_in_halves(x, &weight, side) + bias;
        }
        conv(x, weight, bias, side)
    }

    /// A convolution of 3 × 3 places at every second one: `before` zeros before the first row and column, one behind the
    /// last. Pictures of half the side come out.
    pub fn halve(&self, name: &str, x: Tensor<2>, side: usize, before: usize) -> Tensor<2> {
        let (w, b) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let ([rows, inputs], [_, outputs]) = (x.dims(), w.dims());
        let n = rows / (side * side);
        let mut x = x.reshape([n, side, side, inputs]).permute([0, 3, 1, 2]);
        if before == 0 {
            let device = x.device();
            x = Tensor::cat(vec![x, Tensor::zeros([n, inputs, 1, side], &device)], 2);
            x = Tensor::cat(vec![x, Tensor::zeros([n, inputs, side + 1, 1], &device)], 3);
        }
        // There are few of these: in float32, whatever the weights are kept in.
        let w = w.cast(FloatDType::F32).reshape([3, 3, inputs, outputs]).permute([3, 2, 0, 1]);
        let options = ConvOptions::new([2, 2], [before, before], [1, 1], 1);
        let y = conv2d(x, w, Some(b.reshape([outputs])), options);
        y.permute([0, 2, 3, 1]).reshape([n * side * side / 4, outputs])
    }
}

/// Twice the side: each place four times.
pub fn double(x: Tensor<2>, side: usize) -> Tensor<2> {
    let [rows, width] = x.dims();
    let n = rows / (side * side);
    let x = x.reshape([n * side, 1, side, width]).repeat_dim(1, 2);
    x.reshape([n * 2 * side * side, 1, width]).repeat_dim(1, 2).reshape([4 * rows, width])
}

/// `[n, c, side, side]` to rows.
pub fn rows(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.permute([0, 2, 3, 1]).reshape([n * h * w, c])
}

/// Rows to `[n, c, side, side]`.
pub fn pictures(x: Tensor<2>, side: usize) -> Tensor<4> {
    let [rows, c] = x.dims();
    x.reshape([rows / (side * side), side, side, c]).permute([0, 3, 1, 2])
}

/// Sines and cosines of times by frequencies that fall from 1 to 1/10000: `[b, width]`, cosines first (Ho et al. 2020).
pub fn waves(times: &[u32], width: usize, device: &Device) -> Tensor<2> {
    let half = width / 2;
    let frequency = |i: usize| (-(10000.0_f32.ln()) * i as f32 / half as f32).exp();
    let row = |&t: &u32| {
        let angles: Vec<f32> = (0..half).map(|i| t as f32 * frequency(i)).collect();
        angles.iter().map(|a| a.cos()).chain(angles.iter().map(|a| a.sin())).collect::<Vec<_>>()
    };
    tensor(times.iter().flat_map(row).collect(), [times.len(), width], device)
}

/// A map, an activation, a map.
pub fn embed(layers: &Layers, names: [&str; 2], x: Tensor<2>) -> Tensor<2> {
    layers.linear(names[1], layers.linear_silu(names[0], x))
}
