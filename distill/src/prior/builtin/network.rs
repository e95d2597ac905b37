//! The network of the built-in prior, the same as `assets/prior/train.py` trains: a small U-Net over patches of 2 × 2
//! pixels whose inner level attends over all views of a ring and to the words of the prompt.
//!
//! Everything between its ends is `[rows, channels]`, channels last: a row is a patch of a view.

use std::collections::BTreeMap;

use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use glam::{Vec3, vec2};
use retort_fields::error::{Error, Result};
use retort_fields::field::tensor;
use retort_fields::ops::attend::{Groups, attend as attention};
use retort_fields::ops::norm::Norm;
use retort_shaders::Camera;
use safetensors::SafeTensors;

use super::super::layers::{Layers, Names, Shape, embed, floats, kept};
use super::super::world::picture::SIDE;
use super::super::world::{SLOTS, words::ROWS};

/// Channels of a picture: premultiplied RGBA.
pub const CHANNELS: usize = 4;
/// Side of the picture, of the patches, and of the inner level.
const S: usize = SIDE as usize;
const PATCHES: usize = S / 2;
const INNER: usize = S / 4;
const WIDTH: usize = 64;
const DEEP: usize = 128;
const COND: usize = 256;
const TEXT: usize = 128;
const HEAD: usize = 32;
const BLOCKS: usize = 3;
const GROUPS: usize = 8;
const WAVES: usize = 64;
const EPS: f32 = 1e-5;

/// The linear maps that low-rank adapters are put beside: attention's, as is usual (Hu et al. 2021).
const ADAPTED: [&str; 5] = ["qkv", "out1", "q", "kv", "out2"];

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    pub(super) layers: Layers,
}

/// What the network is asked, `b` scenes of `v` views each, `n = b·v`.
pub struct Question<'a> {
    /// Noisy pictures `[n, 4, 32, 32]`, in units in which a picture is within −1 to 1.
    pub noisy: Tensor<4>,
    /// The noise's time of each scene, 0 to 1.
    pub times: &'a [f32],
    /// The words of each scene.
    pub tokens: &'a [[u16; SLOTS]],
    /// The camera of each view; `None` for one that is not told.
    pub cameras: &'a [Option<Camera>],
}

/// Every weight with its shape in the file.
pub(super) fn shapes() -> Vec<Shape> {
    let names = &mut Names::default();
    names.bare("words.word", &[ROWS, TEXT]);
    names.0.push(("words.slot".into(), vec![SLOTS, TEXT]));
    names.0.push(("place1".into(), vec![PATCHES * PATCHES, WIDTH]));
    names.0.push(("place2".into(), vec![INNER * INNER, DEEP]));
    for (norm, width) in [("words.norm1", TEXT), ("words.norm3", TEXT), ("norm", WIDTH)] {
        names.add(norm, &[width]);
    }
    let maps = [
        ("words.qkv", TEXT, 3 * TEXT),
        ("words.out1", TEXT, TEXT),
        ("words.up", TEXT, 2 * TEXT),
        ("words.down", 2 * TEXT, TEXT),
        ("pooled", TEXT, COND),
        ("time1", 2 * WAVES, COND),
        ("time2", COND, COND),
        ("camera1", 13, COND),
        ("camera2", COND, COND),
        ("into", 4 * CHANNELS + 6, WIDTH),
        ("down", 4 * WIDTH, DEEP),
        ("up", DEEP, 4 * WIDTH),
        ("join", 2 * WIDTH, WIDTH),
        ("out", WIDTH, 4 * CHANNELS),
    ];
    maps.iter().for_each(|(name, i, o)| names.add(name, &[*o, *i]));
    let fine = ["fine1", "fine2", "fine3"].map(|name| (name.to_string(), WIDTH));
    for (name, width) in fine.into_iter().chain((0..BLOCKS).map(|i| (format!("res.{i}"), DEEP))) {
        ["norm1", "norm2"].iter().for_each(|norm| names.add(&format!("{name}.{norm}"), &[width]));
        names.add(&format!("{name}.film"), &[2 * width, COND]);
        ["conv1", "conv2"].iter().for_each(|conv| names.add(&format!("{name}.{conv}"), &[width, width, 3, 3]));
    }
    for name in (0..BLOCKS).map(|i| format!("mix.{i}")) {
        ["norm1", "norm2", "norm3"].iter().for_each(|norm| names.add(&format!("{name}.{norm}"), &[DEEP]));
        let maps = [
            ("qkv", DEEP, 3 * DEEP),
            ("out1", DEEP, DEEP),
            ("q", DEEP, DEEP),
            ("kv", TEXT, 2 * DEEP),
            ("out2", DEEP, DEEP),
            ("up", DEEP, 3 * DEEP),
            ("down", 3 * DEEP, DEEP),
        ];
        maps.iter().for_each(|(map, i, o)| names.add(&format!("{name}.{map}"), &[*o, *i]));
    }
    std::mem::take(&mut names.0)
}

impl Network {
    /// The network of a safetensors file.
    ///
    /// # Errors
    /// When it is not one, or a tensor is missing, of another shape or kind, or not finite; the error names it.
    pub fn read(bytes: &[u8], device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::new(format!("not a safetensors file: {e}")))?;
        let mut weights = BTreeMap::new();
        for named in shapes() {
            let (name, shape) = &named;
            let view = file.tensor(name).map_err(|_| Error::new(format!("the prior has no tensor {name}")))?;
            if view.shape() != shape {
                let found = view.shape();
                return Err(Error::new(format!("the prior's {name} is {found:?}, not {shape:?}")));
            }
            // Words and places are looked up, not multiplied.
            let table = name.starts_with("words.word") || !name.ends_with(".weight");
            let values =
                floats(view.dtype(), view.data()).map_err(|e| Error { what: format!("{name}: {}", e.what), ..e })?;
            weights.insert(name.clone(), kept(&named, values, table, device)?);
        }
        Ok(Self { layers: Layers::new(weights) })
    }

    /// The same network, its weights on a gradient graph.
    pub fn trainable(&self) -> Self {
        Self { layers: self.layers.trainable() }
    }

    /// The same network with low-rank adapters beside its attention, on a gradient graph.
    pub fn adapted(&self, rank: usize, seed: u64) -> Self {
        let attends =
            |name: &str| name.starts_with("mix.") && ADAPTED.iter().any(|map| name.rsplit('.').next() == Some(*map));
        Self { layers: self.layers.adapted(rank, seed, attends) }
    }

    /// The number of weights.
    pub fn parameters(&self) -> usize {
        self.layers.parameters()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.layers.device()
    }

    fn get(&self, name: &str) -> Tensor<2> {
        self.layers.get(name)
    }

    fn linear(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        self.layers.linear(name, x)
    }

    fn layer_norm(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        self.layers.layer_norm(name, x, EPS)
    }

    fn conv(&self, name: &str, x: Tensor<2>, side: usize) -> Tensor<2> {
        self.layers.conv(name, x, side)
    }

    /// Two convolutions, the second after a scale and a shift that the condition gives.
    fn res(&self, name: &str, x: Tensor<2>, e: &Tensor<2>, side: usize) -> Tensor<2> {
        let (part, spec) = (|n: &str| format!("{name}.{n}"), of_views(e.dims()[0]));
        let h = self.conv(&part("conv1"), self.layers.norm(&part("norm1"), x.clone(), spec), side);
        let film = self.linear(&part("film"), e.clone());
        x + self.conv(&part("conv2"), self.layers.norm_by(&part("norm2"), h, film, spec), side)
    }

    /// Attention over a scene's patches of all views, attention to its words, a small network at each patch.
    fn mix(&self, name: &str, x: Tensor<2>, text: &Tensor<2>, scenes: usize) -> Tensor<2> {
        let part = |n: &str| format!("{name}.{n}");
        let qkv = self.linear(&part("qkv"), self.layer_norm(&part("norm1"), x.clone()));
        let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(1, i * DEEP, DEEP));
        let x = x + self.linear(&part("out1"), attend(q, k, v, scenes));
        let kv = self.linear(&part("kv"), text.clone());
        let [k, v] = [0, 1].map(|i| kv.clone().narrow(1, i * DEEP, DEEP));
        let q = self.linear(&part("q"), self.layer_norm(&part("norm2"), x.clone()));
        let x = x + self.linear(&part("out2"), attend(q, k, v, scenes));
        let h = self.layers.linear_silu(&part("up"), self.layer_norm(&part("norm3"), x.clone()));
        x + self.linear(&part("down"), h)
    }

    /// The words of `tokens`, mixed once: `[b·11, 128]`.
    fn words(&self, tokens: &[[u16; SLOTS]]) -> Tensor<2> {
        let (b, device) = (tokens.len(), self.device());
        let rows: Vec<i64> = tokens.iter().flatten().map(|&t| i64::from(t)).collect();
        let rows = Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(rows, [b * SLOTS]), &device);
        let x = self.get("words.word.weight").select(0, rows) + self.get("words.slot").repeat_dim(0, b);
        let qkv = self.linear("words.qkv", self.layer_norm("words.norm1", x.clone()));
        let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(1, i * TEXT, TEXT));
        let x = x + self.linear("words.out1", attend(q, k, v, b));
        let h = self.layers.linear_silu("words.up", self.layer_norm("words.norm3", x.clone()));
        x + self.linear("words.down", h)
    }

    /// The velocity `α ε − σ x` of the pictures, `[n, 4, 32, 32]` (Salimans and Ho 2022).
    ///
    /// # Panics
    /// When times, words and cameras are not as many as the pictures ask for.
    pub fn velocity(&self, question: Question<'_>) -> Tensor<4> {
        let Question { noisy, times, tokens, cameras } = question;
        let (n, b) = (noisy.dims()[0], times.len());
        assert!(
            b == tokens.len() && n == cameras.len() && n.is_multiple_of(b),
            "a question for {n} views of {b} scenes"
        );
        let (views, device) = (n / b, self.device());
        let text = self.words(tokens);
        let pooled = text.clone().reshape([b, SLOTS, TEXT]).mean_dim(1).reshape([b, TEXT]);
        let e = embed(&self.layers, ["time1", "time2"], waves(times, &device)) + self.linear("pooled", pooled);
        let seen = embed(&self.layers, ["camera1", "camera2"], poses(cameras, &device));
        let e = e.reshape([b, 1, COND]) + seen.reshape([b, views, COND]);
        let e = silu(e.reshape([n, COND]));

        let patches = noisy.reshape([n, CHANNELS, PATCHES, 2, PATCHES, 2]).permute([0, 2, 4, 1, 3, 5]);
        let patches = patches.reshape([n * PATCHES * PATCHES, 4 * CHANNELS]);
        let x = self.linear("into", Tensor::cat(vec![patches, rays(cameras, &device)], 1));
        let x = at_places(x, self.get("place1"), n);
        let x = self.res("fine1", x, &e, PATCHES);
        let skip = x.clone();
        let x = x.reshape([n, INNER, 2, INNER, 2, WIDTH]).permute([0, 1, 3, 5, 2, 4]);
        let x = self.linear("down", x.reshape([n * INNER * INNER, 4 * WIDTH]));
        let mut x = at_places(x, self.get("place2"), n);
        for i in 0..BLOCKS {
            x = self.res(&format!("res.{i}"), x, &e, INNER);
            x = self.mix(&format!("mix.{i}"), x, &text, b);
        }
        let x = self.linear("up", x).reshape([n, INNER, INNER, WIDTH, 2, 2]).permute([0, 1, 4, 2, 5, 3]);
        let x = Tensor::cat(vec![x.reshape([n * PATCHES * PATCHES, WIDTH]), skip], 1);
        let x = self.res("fine2", self.linear("join", x), &e, PATCHES);
        let x = self.res("fine3", x, &e, PATCHES);
        let x = self.linear("out", self.layers.norm("norm", x, of_views(n)));
        let x = x.reshape([n, PATCHES, PATCHES, CHANNELS, 2, 2]).permute([0, 3, 1, 4, 2, 5]);
        x.reshape([n, CHANNELS, S, S])
    }
}

/// `[n·p, c]` with what is learned of each of the `p` places added.
fn at_places(x: Tensor<2>, places: Tensor<2>, n: usize) -> Tensor<2> {
    let [rows, width] = x.dims();
    (x.reshape([n, rows / n, width]) + places.unsqueeze()).reshape([rows, width])
}

/// Groups of channels over the places of each view, and the activation.
fn of_views(views: usize) -> Norm {
    Norm { views, groups: GROUPS, eps: EPS, silu: true }
}

/// Attention with heads of 32 channels within each of `b` groups.
fn attend(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, b: usize) -> Tensor<2> {
    let heads = q.dims()[1] / HEAD;
    attention(q, k, v, Groups { groups: b, heads, causal: false })
}

/// Sines and cosines of each time at 64 frequencies from 1 to 1000, `[b, 128]`.
fn waves(times: &[f32], device: &Device) -> Tensor<2> {
    let frequency = |i: usize| (1000.0_f32.ln() * i as f32 / (WAVES - 1) as f32).exp();
    let row = |&t: &f32| {
        let angles: Vec<f32> = (0..WAVES).map(|i| t * frequency(i)).collect();
        angles.iter().map(|a| a.sin()).chain(angles.iter().map(|a| a.cos())).collect::<Vec<_>>()
    };
    tensor(times.iter().flat_map(row).collect(), [times.len(), 2 * WAVES], device)
}

/// Rotation (row-major), unit position and field of view of each camera, `[n, 13]`; zeros for one that is not told.
fn poses(cameras: &[Option<Camera>], device: &Device) -> Tensor<2> {
    let row = |camera: &Option<Camera>| {
        let Some(camera) = camera else { return [0.0; 13] };
        let m = camera.world_from_camera.matrix3;
        let [x, y, z] = [m.x_axis, m.y_axis, m.z_axis].map(Vec3::from);
        let at = camera.position().normalize_or_zero();
        [x.x, y.x, z.x, x.y, y.y, z.y, x.z, y.z, z.z, at.x, at.y, at.z, camera.fov_y()]
    };
    tensor(cameras.iter().flat_map(row).collect(), [cameras.len(), 13], device)
}

/// Direction and moment of the ray through the middle of each patch, `[n·256, 6]`; zeros for cameras not told.
fn rays(cameras: &[Option<Camera>], device: &Device) -> Tensor<2> {
    let mut rows = Vec::with_capacity(cameras.len() * PATCHES * PATCHES * 6);
    for camera in cameras {
        let Some(camera) = camera else {
            rows.resize(rows.len() + PATCHES * PATCHES * 6, 0.0);
            continue;
        };
        let camera = camera.resized(SIDE, SIDE);
        for i in 0..PATCHES * PATCHES {
            let ray = camera.ray(2.0 * vec2((i % PATCHES) as f32, (i / PATCHES) as f32) + 1.0);
            rows.extend(ray.direction.to_array());
            rows.extend(ray.origin.cross(ray.direction).to_array());
        }
    }
    tensor(rows, [cameras.len() * PATCHES * PATCHES, 6], device)
}
