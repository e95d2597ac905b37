//! What score distillation asks of a diffusion model, whatever it is: a frozen denoiser of pictures under a prompt, from
//! where its camera looks. Losses ([`crate::guidance`]) know nothing else of it.

use burn::tensor::Tensor;
use retort_fields::error::Result;
use retort_shaders::Camera;

pub mod builtin;
pub mod noise;
#[cfg(test)]
pub(crate) mod toy;
pub mod world;

use noise::Noise;

/// Where a view is taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The camera.
    pub camera: Camera,
    /// Its angle around the object in radians: 0 in front, a quarter turn later at +X.
    pub azimuth: f32,
    /// Its angle above the ground in radians.
    pub elevation: f32,
}

/// A prompt that a prior has read, by the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt(pub usize);

/// What a prior made of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// To ask with.
    pub prompt: Prompt,
    /// The prompt in the prior's own words.
    pub meaning: String,
    /// Words that mean nothing to it.
    pub unknown: Vec<String>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// What a prior is asked: `b` scenes of `v` views each, `n = b·v`.
#[derive(Clone)]
pub struct Asked<'a> {
    /// Noisy latents `[n, c, h, w]`.
    pub noisy: Tensor<4>,
    /// The step of the noise, of each scene.
    pub times: &'a [u32],
    /// The prompt of each scene; `None` for the model without a text.
    pub texts: &'a [Option<Prompt>],
    /// The views, `n`.
    pub looks: &'a [Look],
    /// Whether the model is told where the views are taken from.
    pub posed: bool,
}

/// A frozen denoiser.
pub trait Prior: Send + Sync {
    /// What it is, for people.
    fn name(&self) -> &str;

    /// Side of its pictures in pixels.
    fn side(&self) -> u32;

    /// Whether its pictures have an alpha channel; others are compared over a background.
    fn sees_alpha(&self) -> bool;

    /// Views of one scene that it looks at together, 1 for a model of single pictures.
    fn ring(&self) -> usize;

    /// How much noise belongs to a step.
    fn noise(&self) -> &Noise;

    /// Takes a prompt in.
    ///
    /// # Errors
    /// When nothing can be made of it.
    fn read(&mut self, prompt: &str) -> Result<Read>;

    /// From pictures `[n, c, side, side]`, values 0 to 1 (premultiplied where there is alpha), to latents; differentiable.
    fn encode(&self, pictures: Tensor<4>) -> Tensor<4> {
        pictures * 2.0 - 1.0
    }

    /// From latents to pictures, for people to look at.
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        ((latents + 1.0) * 0.5).clamp(0.0, 1.0)
    }

    /// The noise that it sees in noisy latents, shaped like them.
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4>;

    /// Cameras by chance as it was taught with, `scenes` rings of [`Prior::ring`] views.
    fn looks(&self, scenes: usize, rng: &mut retort_fields::rng::Rng) -> Vec<Look>;

    /// A copy that learns what the scene's own pictures look like (Wang et al. 2023).
    fn apprentice(&self, seed: u64, study: &Study) -> Box<dyn Apprentice>;
}

/// How an apprentice learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Study {
    /// The rank of its low-rank adapters; 0 to train all weights.
    pub rank: usize,
    /// Its learning rate.
    pub rate: f32,
}

/// A model of the pictures that a scene has now.
pub trait Apprentice: Send {
    /// The noise that it sees, as [`Prior::epsilon`].
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4>;

    /// One step towards seeing `noise` in what is asked; returns the mean squared error before it.
    fn learn(&mut self, asked: Asked<'_>, noise: Tensor<4>) -> f32;
}
