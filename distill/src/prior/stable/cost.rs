//! What a model of this size costs, before it is asked: so that nobody waits for a step that takes an hour, or for the
//! memory to run out.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use retort_fields::device::{has_halves, is_cpu};
use retort_fields::error::{Error, Result};
use retort_fields::field::values;
use retort_fields::ops::attend::SCORES;

use super::config::{ClipConfig, UnetConfig, VaeConfig};
use super::{text, unet, vae};
use crate::prior::layers::Shape;

/// Tokens of a text.
const TOKENS: f64 = 77.0;

/// Operations (a multiplication and an addition are two) and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Of the denoiser, for one picture.
    pub denoise: f64,
    /// Of the way into latents, for one picture; the way back costs as much again.
    pub encode: f64,
    /// Bytes of all weights.
    pub weights: f64,
    /// Bytes at work: what a step holds besides.
    pub work: f64,
    /// Pictures that the denoiser is asked of at a step, with and without the prompt.
    pub pictures: f64,
}

fn elements((_, shape): &Shape) -> f64 {
    shape.iter().map(|d| *d as f64).product()
}

/// The level that a weight's name is of: 0 the outer one, and whether it works on twice that side.
fn level(name: &str, levels: usize) -> (usize, f64) {
    let number = || name.split('.').find_map(|part| part.parse::<usize>().ok()).unwrap_or(0);
    let up = if name.contains("upsamplers") { 4.0 } else { 1.0 };
    // What halves the side is asked at every second place.
    let down = if name.contains("downsamplers") { 0.25 } else { 1.0 };
    match () {
        () if name.contains("down_blocks.") => (number(), down),
        () if name.contains("up_blocks.") => ((levels - 1).saturating_sub(number()), up),
        () if name.contains("mid_block.") => (levels - 1, 1.0),
        () => (0, 1.0),
    }
}

/// Operations of the denoiser on latents of this side.
pub fn denoiser(config: &UnetConfig, side: usize) -> f64 {
    let places = |level: usize| ((side >> level) * (side >> level)) as f64;
    let mut all = 0.0;
    for shape in unet::shapes(config) {
        let (name, dims) = &shape;
        if dims.len() < 2 || name.starts_with("time_embedding") || name.contains("time_emb_proj") {
            continue;
        }
        let (level, times) = level(name, config.levels());
        let of_text = name.contains("attn2.to_k") || name.contains("attn2.to_v");
        let rows = if of_text { TOKENS } else { places(level) * times };
        all += 2.0 * elements(&shape) * rows;
        if let Some(width) = name.contains("attn1.to_q").then(|| dims[0] as f64) {
            all += 4.0 * width * places(level) * (places(level) + TOKENS);
        }
    }
    all
}

/// Operations of the way into latents for pictures of this side.
pub fn encoder(config: &VaeConfig, side: usize) -> f64 {
    let levels = config.block_out_channels.len();
    let places = |level: usize| ((side >> level) * (side >> level)) as f64;
    let mut all = 0.0;
    for shape in vae::shapes(config) {
        let (name, dims) = &shape;
        if dims.len() < 2 || !(name.starts_with("encoder") || name.starts_with("quant")) {
            continue;
        }
        let (of, times) = level(name, levels);
        let inner = name.contains("conv_out") || name.starts_with("quant");
        all += 2.0 * elements(&shape) * places(if inner { levels - 1 } else { of }) * times;
        if name.contains("to_q") {
            all += 4.0 * dims[0] as f64 * places(levels - 1) * places(levels - 1);
        }
    }
    all
}

impl Cost {
    /// Of a model of these parts on this device.
    pub fn of(unet: &UnetConfig, vae: &VaeConfig, clip: &ClipConfig, device: &Device) -> Self {
        let side = unet.sample_size * vae.factor();
        let shapes = [unet::shapes(unet), vae::shapes(vae), text::shapes(clip)].concat();
        let widest = *vae.block_out_channels.first().unwrap_or(&1) as f64;
        let pictures = if unet.camera_dim > 0 { 8.0 } else { 2.0 };
        let scores = (SCORES * 4) as f64;
        Self {
            denoise: denoiser(unet, unet.sample_size),
            encode: encoder(vae, side),
            weights: if has_halves(device) { 2.0 } else { 4.0 } * shapes.iter().map(elements).sum::<f64>(),
            // Twice a map of attention's scores, and a dozen of the autoencoder's largest pictures for each view.
            work: 2.0 * scores + 12.0 * 4.0 * widest * (side * side) as f64 * pictures / 2.0,
            pictures,
        }
    }

    /// Operations of a step of score distillation.
    pub fn step(&self) -> f64 {
        // In once; the way back computes each piece once more, and then goes back.
        self.denoise * self.pictures + 3.0 * self.encode * self.pictures / 2.0
    }

    /// Refuses a model that this machine has no memory for.
    ///
    /// # Errors
    /// When weights and work are more than is free. On a GPU that cannot be asked, so nothing is refused.
    pub fn fits(&self, device: &Device) -> Result<()> {
        let Some(free) = is_cpu(device).then(available).flatten() else { return Ok(()) };
        let needed = self.weights + self.work;
        if needed > free {
            let (needed, free) = (gib(needed), gib(free));
            let what = format!("the model needs about {needed} of memory, {free} are free");
            return Err(Error::new(what).remedy("close other programs, use a smaller model, or --prior builtin"));
        }
        Ok(())
    }

    /// What a person should know before it starts.
    pub fn words(&self, device: &Device) -> String {
        let step = self.step();
        let step_words =
            if step < 1e11 { format!("{:.1} GFLOP", step / 1e9) } else { format!("{:.1} TFLOP", step / 1e12) };
        let mut words =
            format!("{} of weights, about {} at work, {step_words} a step", gib(self.weights), gib(self.work));
        if is_cpu(device) {
            let seconds = step / speed();
            words += &match seconds {
                s if s < 1.0 => "; on this processor that is less than a second".into(),
                s if s < 90.0 => format!("; on this processor that is about {s:.0} s"),
                s => format!("; on this processor that is about {:.0} minutes: use --device gpu", s / 60.0),
            };
        }
        words
    }
}

fn gib(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / f64::from(1 << 30))
}

/// Operations a second of this machine's products of matrices, by one.
fn speed() -> f64 {
    const N: usize = 512;
    let device = Device::flex();
    let a = Tensor::<2>::ones([N, N], &device);
    let product = |a: &Tensor<2>| values(a.clone().matmul(a.clone()))[0];
    product(&a);
    let begun = Instant::now();
    product(&a);
    2.0 * (N * N * N) as f64 / begun.elapsed().as_secs_f64().max(1e-6)
}

/// Bytes of memory that are free, where the system tells.
fn available() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}
