//! Stable Diffusion 1.x and 2.x (Rombach et al. 2022) and multi-view models of their shape (Shi et al. 2024, `MVDream`), from
//! a folder in diffusers' layout that a person points to: tokenizer, text encoder, denoiser, autoencoder, scheduler.
//!
//! A folder named with `+FILE` or `+FILE*0.7` behind it has the adapters of that file merged in. Latents are the
//! posterior's mean, not a sample of it: its deviation is a hundredth of the latents' own, and a run repeats.
//!
//! On a GPU that multiplies float16 the maps and convolutions are kept and computed so, which is how these models are
//! published and run elsewhere; sums, norms, attention, gradients of weights and everything on a CPU are float32.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_fields::error::{Error, Result};
use retort_fields::field::tensor;
use retort_fields::rng::Rng;

use super::noise::Noise;
use super::pupil::{Learner, Pupil};
use super::sampler::{Plan, Sampler, Spacing};
use super::{Apprentice, Asked, Look, Prior, Prompt, Read, Side, Sides, Text, Trail};

pub mod config;
pub mod cost;
pub mod files;
pub mod ldm;
pub mod lora;
pub mod text;
pub mod tokens;
pub mod unet;
pub mod vae;

use config::{ClipConfig, SchedulerConfig, UnetConfig, VaeConfig, read};
use files::Weights;
use text::TextEncoder;
use tokens::Tokens;
use unet::{Question, Unet};
use vae::Vae;

/// Views of a ring of a multi-view model, a quarter turn apart.
const RING: usize = 4;
/// Numbers that tell a camera: its matrix.
const CAMERA: usize = 16;

/// A model of a diffusers folder.
pub struct Stable {
    name: String,
    denoiser: Denoiser,
    vae: Vae,
    text: TextEncoder,
    tokens: Tokens,
    scheduler: SchedulerConfig,
    costs: String,
}

/// What both the prior and its apprentices are: a denoiser, its noise, and the texts that it was told.
#[derive(Clone)]
struct Denoiser {
    unet: Unet,
    noise: Noise,
    velocity: bool,
    /// What no text means, `[tokens, width]`.
    nothing: Tensor<2>,
    /// What each prompt means: alone, and with each side of [`Side::ALL`].
    prompts: Arc<Vec<[Tensor<2>; 5]>>,
}

/// A folder and the adapters that are merged into it, as `DIR+FILE*0.7+FILE` names them.
fn named(name: &str) -> Result<(PathBuf, Vec<(PathBuf, f32)>)> {
    // A folder's own name may have a plus in it.
    if Path::new(name).is_dir() {
        return Ok((name.into(), Vec::new()));
    }
    let mut parts = name.split('+');
    let folder = PathBuf::from(parts.next().unwrap_or_default());
    let adapter = |part: &str| match part.rsplit_once('*') {
        None => Ok((part.into(), 1.0)),
        Some((file, scale)) => match scale.parse::<f32>() {
            Ok(scale) if scale.is_finite() => Ok((file.into(), scale)),
            _ => Err(Error::new(format!("\"{scale}\" is no weight of adapters")).remedy("use FILE*0.7")),
        },
    };
    Ok((folder, parts.map(adapter).collect::<Result<_>>()?))
}

/// Whether this names a folder, perhaps with adapters.
pub fn is_folder(name: &str) -> bool {
    Path::new(name).is_dir() || name.split('+').next().is_some_and(|folder| Path::new(folder).is_dir())
}

/// The denoiser's configuration, in either of the two ways that it is written.
fn unet_config(folder: &Path) -> Result<UnetConfig> {
    let path = folder.join("unet/config.json");
    let value: serde_json::Value = read(&path)?;
    let odd = |e: Error| e.file(&path);
    let not_understood = |e: serde_json::Error| odd(Error::new(format!("not understood: {e}")));
    let config = if value.get("model_channels").is_some() {
        let config: ldm::LdmConfig = serde_json::from_value(value).map_err(not_understood)?;
        config.unet().map_err(odd)?
    } else {
        serde_json::from_value(value).map_err(not_understood)?
    };
    config.check().map_err(odd)?;
    Ok(config)
}

impl Stable {
    /// The model of a folder, its weights on `device`.
    ///
    /// # Errors
    /// When a part is missing, damaged or of another family, or the memory does not suffice; the error names file and
    /// tensor.
    pub fn open(name: &str, device: &Device) -> Result<Self> {
        let (folder, adapters) = named(name)?;
        if !folder.is_dir() {
            return Err(Error::new("there is no such folder")
                .file(&folder)
                .remedy("give a model in diffusers' layout"));
        }
        for part in ["tokenizer", "text_encoder", "unet", "vae", "scheduler"] {
            if !folder.join(part).is_dir() {
                let what = format!("this is no folder of Stable Diffusion: it has no {part}/");
                return Err(Error::new(what).file(&folder).remedy("give a model in diffusers' layout"));
            }
        }
        let unet_config = unet_config(&folder)?;
        let vae_config: VaeConfig = read(&folder.join("vae/config.json"))?;
        let clip_config: ClipConfig = read(&folder.join("text_encoder/config.json"))?;
        let scheduler: SchedulerConfig = read(&folder.join("scheduler/scheduler_config.json"))?;
        for (part, checked) in [
            ("vae/config.json", vae_config.check()),
            ("text_encoder/config.json", clip_config.check()),
            ("scheduler/scheduler_config.json", scheduler.check()),
        ] {
            checked.map_err(|e| e.file(folder.join(part)))?;
        }
        if clip_config.hidden_size != unet_config.cross_attention_dim
            || vae_config.latent_channels != unet_config.in_channels
        {
            let what = "text encoder, denoiser and autoencoder are of different families";
            return Err(Error::new(what).file(&folder).remedy("take the folder of one model, whole"));
        }
        let cost = cost::Cost::of(&unet_config, &vae_config, &clip_config, device);
        cost.fits(device).map_err(|e| e.file(&folder))?;

        let part = |name: &str| Weights::open(&folder.join(name));
        let tokens = Tokens::open(&folder.join("tokenizer"), clip_config.max_position_embeddings)?;
        if tokens.largest() as usize >= clip_config.vocab_size {
            let what = format!("the tokenizer has more words than the text encoder's {}", clip_config.vocab_size);
            return Err(Error::new(what).file(&folder).remedy("take the folder of one model, whole"));
        }
        let mut text = TextEncoder::load(clip_config, &part("text_encoder")?, device)?;
        let mut unet = Unet::load(unet_config, &part("unet")?, device)?;
        for (file, scale) in &adapters {
            lora::merge(file, *scale, unet.layers_mut(), text.layers_mut())?;
        }
        let vae = Vae::load(vae_config, &part("vae")?, device)?;
        let (first, last, steps) = (scheduler.beta_start, scheduler.beta_end, scheduler.num_train_timesteps);
        let noise = match scheduler.beta_schedule.as_str() {
            "linear" => Noise::linear(first, last, steps),
            _ => Noise::scaled_linear(first, last, steps),
        };
        let nothing = text.encode(&[tokens.tell("")?.ids]);
        let shown = folder.file_name().map_or_else(|| name.to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self {
            name: shown,
            denoiser: Denoiser { unet, noise, velocity: scheduler.says_velocity(), nothing, prompts: Arc::default() },
            vae,
            text,
            tokens,
            scheduler,
            costs: cost.words(device),
        })
    }

    fn sees_rings(&self) -> bool {
        self.denoiser.unet.config().camera_dim > 0
    }
}

impl Denoiser {
    /// What a text means.
    fn meaning(&self, text: Text) -> Tensor<2> {
        let side = |prompt: Prompt, side: Side| {
            let at = Side::ALL.iter().position(|s| *s == side).unwrap_or(0);
            self.prompts[prompt.0][1 + at].clone()
        };
        match text {
            Text::Nothing => self.nothing.clone(),
            Text::Of(prompt) => self.prompts[prompt.0][0].clone(),
            Text::Seen(prompt, seen) => side(prompt, seen),
            Text::Between(prompt, [a, b], share) => side(prompt, a) * share + side(prompt, b) * (1.0 - share),
        }
    }

    /// The noise that `unet` sees.
    fn epsilon(&self, unet: &Unet, asked: &Asked<'_>, cameras: Option<Tensor<2>>) -> Tensor<4> {
        let on_graph = asked.noisy.device().is_autodiff();
        let texts = asked.texts.iter().map(|text| self.meaning(*text)).collect();
        let texts = Tensor::cat(texts, 0);
        let place = |t: Tensor<2>| if on_graph { Tensor::from_inner(t) } else { t };
        let question = Question {
            noisy: asked.noisy.clone(),
            times: asked.times,
            texts: place(texts),
            cameras: cameras.map(place),
        };
        let answer = unet.answer(&question);
        if self.velocity {
            let per = asked.looks.len() / asked.times.len();
            self.noise.epsilon_of_velocity(asked.noisy.clone(), answer, asked.times, per)
        } else {
            answer
        }
    }
}

/// The cameras' matrices with unit positions, row by row, `[n, 16]` (`MVDream`). Up is +Z, as there.
fn matrices(looks: &[Look], device: &Device) -> Tensor<2> {
    let row = |look: &Look| {
        let m = look.camera.world_from_camera.matrix3;
        let [x, y, z, at] = [m.x_axis, m.y_axis, m.z_axis, look.camera.position().normalize_or_zero().into()];
        [x.x, y.x, z.x, at.x, x.y, y.y, z.y, at.y, x.z, y.z, z.z, at.z, 0.0, 0.0, 0.0, 1.0]
    };
    tensor(looks.iter().flat_map(row).collect(), [looks.len(), CAMERA], device)
}

impl Prior for Stable {
    fn name(&self) -> &str {
        &self.name
    }

    fn side(&self) -> u32 {
        (self.denoiser.unet.config().sample_size * self.vae.config().factor()) as u32
    }

    fn sees_alpha(&self) -> bool {
        false
    }

    fn ring(&self) -> usize {
        if self.sees_rings() { RING } else { 1 }
    }

    fn noise(&self) -> &Noise {
        &self.denoiser.noise
    }

    fn read(&mut self, prompt: &str) -> Result<Read> {
        if prompt.trim().is_empty() {
            return Err(Error::new("the prompt is empty").remedy("say what to make"));
        }
        let told = self.tokens.tell(prompt)?;
        // Said once, whatever else is read.
        let mut notes = if self.denoiser.prompts.is_empty() { vec![self.costs.clone()] } else { Vec::new() };
        if told.cut > 0 {
            notes.push(format!("the prompt is too long: its last {} tokens are not read", told.cut));
        }
        let mut texts = vec![told.ids];
        for side in Side::ALL {
            texts.push(self.tokens.tell(&format!("{prompt}, {}", side.words()))?.ids);
        }
        let meanings = texts.into_iter().map(|ids| self.text.encode(&[ids])).collect::<Vec<_>>();
        let meanings = meanings.try_into().map_err(|_| Error::new("a prompt has five meanings"))?;
        let prompts = Arc::make_mut(&mut self.denoiser.prompts);
        prompts.push(meanings);
        let prompt_number = Prompt(prompts.len() - 1);
        Ok(Read { prompt: prompt_number, meaning: prompt.trim().to_string(), unknown: Vec::new(), notes })
    }

    fn encode(&self, pictures: Tensor<4>) -> Tensor<4> {
        self.vae.encode(pictures * 2.0 - 1.0).mean * self.vae.config().scaling_factor
    }

    fn encode_kept(&self, pictures: Tensor<4>) -> (Tensor<4>, Trail) {
        let (posterior, trail) = self.vae.encode_kept(pictures * 2.0 - 1.0);
        (posterior.mean * self.vae.config().scaling_factor, trail)
    }

    fn encode_back(&self, trail: Trail, gradient: Tensor<4>) -> Tensor<4> {
        let gradient = gradient * self.vae.config().scaling_factor;
        self.vae.encode_back(trail, gradient, None) * 2.0
    }

    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let pictures = self.vae.decode(latents / self.vae.config().scaling_factor);
        ((pictures + 1.0) * 0.5).clamp(0.0, 1.0)
    }

    fn told(&self, prompt: Prompt, look: &Look) -> Text {
        if self.sees_rings() { Text::Of(prompt) } else { Text::Seen(prompt, Side::of(look)) }
    }

    fn sides(&self, prompt: Prompt, look: &Look) -> Option<Sides> {
        (!self.sees_rings()).then(|| sides(prompt, look))
    }

    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4> {
        let told = asked.posed && self.sees_rings();
        let cameras = told.then(|| matrices(asked.looks, &asked.noisy.device()));
        self.denoiser.epsilon(&self.denoiser.unet, &asked, cameras)
    }

    /// Rings as `MVDream` was taught with; else all around, from a little below to half above, as threestudio has it.
    fn looks(&self, scenes: usize, rng: &mut Rng) -> Vec<Look> {
        let (side, turn) = (self.side(), std::f32::consts::TAU);
        let rings = self.sees_rings();
        let one = |_| {
            let azimuth = turn * rng.uniform();
            let heights = if rings { [0.0, 30.0] } else { [-10.0, 45.0] };
            let fovs = if rings { [15.0, 60.0] } else { [40.0, 70.0] };
            let elevation = rng.range(heights[0], heights[1]).to_radians();
            let fov = rng.range(fovs[0], fovs[1]).to_radians();
            let near = if rings { [0.8, 1.0] } else { [0.9, 1.1] };
            let distance = rng.range(near[0], near[1]) / (0.5 * fov).tan();
            (0..self.ring())
                .map(|i| {
                    let azimuth = (azimuth + turn / RING as f32 * i as f32) % turn;
                    Look::around([azimuth, elevation], distance, fov, side)
                })
                .collect::<Vec<_>>()
        };
        (0..scenes).flat_map(one).collect()
    }

    fn plan(&self, steps: u32) -> Plan {
        let named = self.scheduler.timestep_spacing.as_deref().and_then(|name| name.parse().ok());
        let (offset, to_one) = (self.scheduler.steps_offset, self.scheduler.set_alpha_to_one);
        let spacing = named.unwrap_or(Spacing::Linspace);
        Plan { sampler: Sampler::DpmSolver, steps, spacing, offset, to_one }
    }

    fn apprentice(&self, seed: u64, rank: usize) -> Box<dyn Apprentice> {
        let mut unet = self.denoiser.unet.apprentice(rank, seed);
        if !self.sees_rings() {
            unet.tell_cameras(CAMERA, seed);
        }
        Box::new(Pupil::new(Copy { denoiser: self.denoiser.clone(), unet }))
    }
}

/// Perp-Neg's sides of a view: between front and side, or side and back, less what it is not, by published weights.
fn sides(prompt: Prompt, look: &Look) -> Sides {
    let falls = |[a, b, c]: [f32; 3], r: f32| (a * (-b * r).exp() + c).max(0.0);
    let degrees = look.turned().to_degrees();
    let seen = |side| Text::Seen(prompt, side);
    if look.elevation.to_degrees() > 60.0 {
        return Sides { is: seen(Side::Overhead), is_not: [(seen(Side::Front), 0.0), (seen(Side::Side), 0.0)] };
    }
    if degrees < 90.0 {
        let r = 1.0 - degrees / 90.0;
        let by = [4.0, 0.5, -2.426];
        let is_not = [(seen(Side::Front), -falls(by, r)), (seen(Side::Side), -falls(by, 1.0 - r))];
        return Sides { is: Text::Between(prompt, [Side::Front, Side::Side], r), is_not };
    }
    let r = 2.0 - degrees / 90.0;
    let is_not = [(seen(Side::Side), -falls([1.0, 0.5, -0.606], r)), (seen(Side::Front), -falls([1.0, 0.5, 0.967], r))];
    Sides { is: Text::Between(prompt, [Side::Side, Side::Back], r), is_not }
}

/// The denoiser as it learns.
struct Copy {
    denoiser: Denoiser,
    unet: Unet,
}

impl Learner for Copy {
    fn epsilon(&self, asked: &Asked<'_>) -> Tensor<4> {
        let device = asked.noisy.device().without_autodiff();
        let cameras = asked.posed.then(|| matrices(asked.looks, &device));
        self.denoiser.epsilon(&self.unet, asked, cameras)
    }

    fn trained_mut(&mut self) -> Vec<&mut Tensor<2>> {
        self.unet.layers_mut().trained_mut()
    }
}

#[cfg(test)]
mod tests;
