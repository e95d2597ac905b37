//! The denoiser: Stable Diffusion's U-Net (Rombach et al. 2022), and its multi-view form, whose attention runs over all
//! views of a ring together and which is told their cameras (Shi et al. 2024, `MVDream`). Names are diffusers'.

use burn::tensor::activation::{gelu, silu};
use burn::tensor::{Device, Tensor};
use retort_fields::error::Result;
use retort_fields::field::tensor;
use retort_fields::ops::attend::{Groups, attend};
use retort_fields::ops::norm::Norm;
use retort_fields::rng::Rng;

use super::config::UnetConfig;
use super::files::Weights;
use super::ldm;
use crate::prior::layers::{Layers, Names, Shape, double, embed, pictures, rows, waves};

/// Epsilon of the norm before attention (`transformer_2d.py`), and of those within.
const ATTENTION_EPS: f32 = 1e-6;
const INNER_EPS: f32 = 1e-5;

/// The denoiser.
#[derive(Clone)]
pub struct Unet {
    config: UnetConfig,
    layers: Layers,
}

/// What the network is asked: `b` scenes of `v` views, `n = b·v`.
pub struct Question<'a> {
    /// Noisy latents `[n, c, side, side]`.
    pub noisy: Tensor<4>,
    /// The step of each scene.
    pub times: &'a [u32],
    /// The text of each scene, `[b·tokens, width]`.
    pub texts: Tensor<2>,
    /// The camera of each view, `[n, camera_dim]`, where it is told.
    pub cameras: Option<Tensor<2>>,
}

/// A level of the wiring: residual blocks, each with an attention behind it or not.
struct Level {
    name: String,
    /// Widths of what comes in to each residual block.
    inputs: Vec<usize>,
    width: usize,
    attends: bool,
    heads: usize,
    depth: usize,
}

/// The levels on the way down.
fn down(config: &UnetConfig) -> Vec<Level> {
    let mut before = config.block_out_channels[0];
    let level = |(i, &width): (usize, &usize)| {
        let mut inputs = vec![width; config.layers_per_block];
        inputs[0] = std::mem::replace(&mut before, width);
        let (attends, heads, depth) = (config.attends(i), config.heads(i), config.depth(i));
        Level { name: format!("down_blocks.{i}"), inputs, width, attends, heads, depth }
    };
    config.block_out_channels.iter().enumerate().map(level).collect()
}

/// The levels on the way up. What comes in is what comes from below beside what was kept on the way down.
fn up(config: &UnetConfig) -> Vec<Level> {
    let levels = config.levels();
    let mut kept = vec![config.block_out_channels[0]];
    for (i, &width) in config.block_out_channels.iter().enumerate() {
        kept.extend(std::iter::repeat_n(width, config.layers_per_block + usize::from(i + 1 < levels)));
    }
    let mut from_below = config.block_out_channels[levels - 1];
    let level = |i: usize| {
        let of = levels - 1 - i;
        let width = config.block_out_channels[of];
        let inputs = (0..=config.layers_per_block)
            .map(|_| std::mem::replace(&mut from_below, width) + kept.pop().expect("as many kept as are asked for"))
            .collect();
        let (attends, heads, depth) = (config.attends(of), config.heads(of), config.depth(of));
        Level { name: format!("up_blocks.{i}"), inputs, width, attends, heads, depth }
    };
    (0..levels).map(level).collect()
}

/// A residual block's weights; without `time` as the autoencoder has it.
pub fn res_shapes(names: &mut Names, name: &str, inputs: usize, width: usize, time: Option<usize>) {
    names.add(&format!("{name}.norm1"), &[inputs]);
    names.add(&format!("{name}.conv1"), &[width, inputs, 3, 3]);
    if let Some(time) = time {
        names.add(&format!("{name}.time_emb_proj"), &[width, time]);
    }
    names.add(&format!("{name}.norm2"), &[width]);
    names.add(&format!("{name}.conv2"), &[width, width, 3, 3]);
    if inputs != width {
        names.add(&format!("{name}.conv_shortcut"), &[width, inputs, 1, 1]);
    }
}

fn attention_shapes(names: &mut Names, config: &UnetConfig, name: &str, width: usize, depth: usize) {
    let ends: &[usize] = if config.use_linear_projection { &[width, width] } else { &[width, width, 1, 1] };
    names.add(&format!("{name}.norm"), &[width]);
    names.add(&format!("{name}.proj_in"), ends);
    names.add(&format!("{name}.proj_out"), ends);
    for block in (0..depth).map(|i| format!("{name}.transformer_blocks.{i}")) {
        for (attention, from) in [("attn1", width), ("attn2", config.cross_attention_dim)] {
            names.bare(&format!("{block}.{attention}.to_q"), &[width, width]);
            names.bare(&format!("{block}.{attention}.to_k"), &[width, from]);
            names.bare(&format!("{block}.{attention}.to_v"), &[width, from]);
            names.add(&format!("{block}.{attention}.to_out.0"), &[width, width]);
        }
        ["norm1", "norm2", "norm3"].iter().for_each(|norm| names.add(&format!("{block}.{norm}"), &[width]));
        names.add(&format!("{block}.ff.net.0.proj"), &[8 * width, width]);
        names.add(&format!("{block}.ff.net.2"), &[width, 4 * width]);
    }
}

/// Every weight with its shape in the file.
pub fn shapes(config: &UnetConfig) -> Vec<Shape> {
    let (time, levels) = (config.time_width(), config.levels());
    let (first, inner) = (config.block_out_channels[0], config.block_out_channels[levels - 1]);
    let names = &mut Names::default();
    names.add("conv_in", &[first, config.in_channels, 3, 3]);
    names.add("time_embedding.linear_1", &[time, first]);
    names.add("time_embedding.linear_2", &[time, time]);
    if config.camera_dim > 0 {
        names.add("camera_embed.0", &[time, config.camera_dim]);
        names.add("camera_embed.2", &[time, time]);
    }
    for (way, ends) in [(down(config), "downsamplers"), (up(config), "upsamplers")] {
        for (i, level) in way.iter().enumerate() {
            for (j, &inputs) in level.inputs.iter().enumerate() {
                res_shapes(names, &format!("{}.resnets.{j}", level.name), inputs, level.width, Some(time));
                if level.attends {
                    attention_shapes(
                        names,
                        config,
                        &format!("{}.attentions.{j}", level.name),
                        level.width,
                        level.depth,
                    );
                }
            }
            if i + 1 < levels {
                names.add(&format!("{}.{ends}.0.conv", level.name), &[level.width, level.width, 3, 3]);
            }
        }
    }
    res_shapes(names, "mid_block.resnets.0", inner, inner, Some(time));
    attention_shapes(names, config, "mid_block.attentions.0", inner, config.depth(levels - 1));
    res_shapes(names, "mid_block.resnets.1", inner, inner, Some(time));
    names.add("conv_norm_out", &[first]);
    names.add("conv_out", &[config.out_channels, first, 3, 3]);
    std::mem::take(&mut names.0)
}

/// What passes through the network beside the picture.
struct Pass<'a> {
    /// The time (and camera) of each view after its activation, `[n, time width]`.
    time: Tensor<2>,
    texts: Tensor<2>,
    views: usize,
    scenes: usize,
    /// Told each block's name and answer, for those who compare.
    watch: &'a mut dyn FnMut(&str, &Tensor<2>),
}

impl Unet {
    /// The denoiser of a folder's weights.
    ///
    /// # Errors
    /// When the configuration is not understood, or a tensor is missing or of another shape.
    pub fn load(config: UnetConfig, weights: &Weights, device: &Device) -> Result<Self> {
        config.check()?;
        let aliases = |name: &str| ldm::name(&config, name).into_iter().collect();
        let layers = weights.layers(&shapes(&config), aliases, |_| false, device)?;
        Ok(Self { config, layers })
    }

    /// Its configuration.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Its weights, to change.
    pub fn layers_mut(&mut self) -> &mut Layers {
        &mut self.layers
    }

    /// A copy to be trained: adapters of this rank beside the attention's maps, or all weights where the rank is 0.
    pub fn apprentice(&self, rank: usize, seed: u64) -> Self {
        let attends = |name: &str| [".to_q", ".to_k", ".to_v", ".to_out.0"].iter().any(|map| name.ends_with(map));
        let layers = if rank == 0 { self.layers.trainable() } else { self.layers.adapted(rank, seed, attends) };
        Self { config: self.config.clone(), layers }
    }

    /// Lets a copy that is trained be told of cameras by `width` numbers; it begins by passing them over, because the
    /// second map is zero (Wang et al. 2023).
    pub fn tell_cameras(&mut self, width: usize, seed: u64) {
        let (time, device) = (self.config.time_width(), self.layers.device().without_autodiff());
        let mut rng = Rng::new(seed, "camera");
        let scale = 1.0 / (width as f32).sqrt();
        let first = (0..width * time).map(|_| scale * rng.normal()).collect();
        self.layers.add_trained("camera_embed.0.weight", tensor(first, [width, time], &device));
        self.layers.add_trained("camera_embed.0.bias", Tensor::zeros([1, time], &device));
        self.layers.add_trained("camera_embed.2.weight", Tensor::zeros([time, time], &device));
        self.layers.add_trained("camera_embed.2.bias", Tensor::zeros([1, time], &device));
    }

    /// What it answers: noise or velocity, as its scheduler says, shaped like the latents.
    pub fn answer(&self, question: &Question<'_>) -> Tensor<4> {
        self.answer_watched(question, &mut |_, _| ())
    }

    /// The same, telling `watch` the name and the answer of each block.
    ///
    /// # Panics
    /// When times, texts and views are not as many as each other.
    pub fn answer_watched(&self, question: &Question<'_>, watch: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<4> {
        let ([n, _, mut side, _], b) = (question.noisy.dims(), question.times.len());
        assert!(n.is_multiple_of(b), "{n} views of {b} scenes");
        let (l, config) = (&self.layers, &self.config);
        let waves = waves(question.times, config.block_out_channels[0], &l.device());
        let time = embed(l, ["time_embedding.linear_1", "time_embedding.linear_2"], waves);
        watch("time_embedding", &time);
        let width = config.time_width();
        let mut time = time.reshape([b, 1, width]).repeat_dim(1, n / b).reshape([n, width]);
        if let Some(cameras) = &question.cameras {
            time = time + embed(l, ["camera_embed.0", "camera_embed.2"], cameras.clone());
        }
        let pass = &mut Pass { time: silu(time), texts: question.texts.clone(), views: n, scenes: b, watch };

        let mut x = l.conv("conv_in", rows(question.noisy.clone()), side);
        (pass.watch)("conv_in", &x);
        let mut kept = vec![x.clone()];
        let levels = config.levels();
        for (i, level) in down(config).iter().enumerate() {
            for j in 0..level.inputs.len() {
                x = self.block(level, j, x, side, pass);
                kept.push(x.clone());
            }
            if i + 1 < levels {
                x = l.halve(&format!("{}.downsamplers.0.conv", level.name), x, side, 1);
                side /= 2;
                kept.push(x.clone());
            }
            (pass.watch)(&level.name, &x);
        }
        x = self.res("mid_block.resnets.0", x, side, pass);
        let (heads, depth) = (config.heads(levels - 1), config.depth(levels - 1));
        x = self.attention("mid_block.attentions.0", x, heads, depth, pass);
        x = self.res("mid_block.resnets.1", x, side, pass);
        (pass.watch)("mid_block", &x);
        for (i, level) in up(config).iter().enumerate() {
            for j in 0..level.inputs.len() {
                let skipped = kept.pop().expect("as many kept as are asked for");
                x = self.block(level, j, Tensor::cat(vec![x, skipped], 1), side, pass);
            }
            if i + 1 < levels {
                x = l.conv(&format!("{}.upsamplers.0.conv", level.name), double(x, side), 2 * side);
                side *= 2;
            }
            (pass.watch)(&level.name, &x);
        }
        let spec = Norm { views: n, groups: config.norm_num_groups, eps: config.norm_eps, silu: false };
        let x = l.norm("conv_norm_out", x, spec);
        (pass.watch)("conv_norm_out", &x);
        pictures(l.conv("conv_out", silu(x), side), side)
    }

    /// A residual block of a level, and its attention where the level has it.
    fn block(&self, level: &Level, j: usize, x: Tensor<2>, side: usize, pass: &mut Pass<'_>) -> Tensor<2> {
        let x = self.res(&format!("{}.resnets.{j}", level.name), x, side, pass);
        if !level.attends {
            return x;
        }
        self.attention(&format!("{}.attentions.{j}", level.name), x, level.heads, level.depth, pass)
    }

    fn res(&self, name: &str, x: Tensor<2>, side: usize, pass: &mut Pass<'_>) -> Tensor<2> {
        let (l, config) = (&self.layers, &self.config);
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        let time = l.linear(&format!("{name}.time_emb_proj"), pass.time.clone());
        let x = residual(l, name, x, (pass.views, side), Some(time), (groups, eps));
        (pass.watch)(name, &x);
        x
    }

    /// Attention among all places of a scene's views (of one view, where the model is not told of others), to the text,
    /// and a small network at each place.
    fn attention(&self, name: &str, x: Tensor<2>, heads: usize, depth: usize, pass: &mut Pass<'_>) -> Tensor<2> {
        let l = &self.layers;
        // Without a camera's width this is a model of single pictures: each looks at itself alone.
        let together = if self.config.camera_dim > 0 { pass.scenes } else { pass.views };
        let whole = x.clone();
        let groups = self.config.norm_num_groups;
        let spec = Norm { views: pass.views, groups, eps: ATTENTION_EPS, silu: false };
        let x = l.norm(&format!("{name}.norm"), x, spec);
        let mut x = l.linear(&format!("{name}.proj_in"), x);
        for block in (0..depth).map(|i| format!("{name}.transformer_blocks.{i}")) {
            let part = |name: &str| format!("{block}.{name}");
            let h = l.layer_norm(&part("norm1"), x.clone(), INNER_EPS);
            x = x + self.seen(&part("attn1"), h.clone(), h, (together, heads));
            let h = l.layer_norm(&part("norm2"), x.clone(), INNER_EPS);
            x = x + self.seen(&part("attn2"), h, pass.texts.clone(), (pass.scenes, heads));
            let h = l.linear(&part("ff.net.0.proj"), l.layer_norm(&part("norm3"), x.clone(), INNER_EPS));
            let wide = h.dims()[1] / 2;
            let h = h.clone().narrow(1, 0, wide) * gelu(h.narrow(1, wide, wide));
            x = x + l.linear(&part("ff.net.2"), h);
        }
        let x = l.linear(&format!("{name}.proj_out"), x) + whole;
        (pass.watch)(name, &x);
        x
    }

    fn seen(&self, name: &str, x: Tensor<2>, at: Tensor<2>, (groups, heads): (usize, usize)) -> Tensor<2> {
        let map = |map: &str, x: Tensor<2>| self.layers.linear(&format!("{name}.{map}"), x);
        let (q, k, v) = (map("to_q", x), map("to_k", at.clone()), map("to_v", at));
        map("to_out.0", attend(q, k, v, Groups { groups, heads, causal: false }))
    }
}

/// Two convolutions with what the time says between them, beside what came in: Stable Diffusion's residual block.
pub fn residual(
    l: &Layers,
    name: &str,
    x: Tensor<2>,
    (views, side): (usize, usize),
    time: Option<Tensor<2>>,
    (groups, eps): (usize, f32),
) -> Tensor<2> {
    let (part, spec) = (|n: &str| format!("{name}.{n}"), Norm { views, groups, eps, silu: true });
    let h = l.conv(&part("conv1"), l.norm(&part("norm1"), x.clone(), spec), side);
    let h = match time {
        Some(time) => {
            let [rows, width] = h.dims();
            (h.reshape([views, rows / views, width]) + time.reshape([views, 1, width])).reshape([rows, width])
        }
        None => h,
    };
    let h = l.conv(&part("conv2"), l.norm(&part("norm2"), h, spec), side);
    if l.has(&part("conv_shortcut")) { l.linear(&part("conv_shortcut"), x) + h } else { x + h }
}
