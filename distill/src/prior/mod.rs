//! What score distillation asks of a diffusion model, whatever it is: a frozen denoiser of pictures under a prompt, from
//! where its camera looks. Losses ([`crate::guidance`]) know nothing else of it.

use burn::tensor::Tensor;
use retort_fields::error::Result;
use retort_shaders::Camera;

pub mod builtin;
pub mod layers;
pub mod noise;
mod pupil;
pub mod sampler;
pub mod stable;
#[cfg(test)]
pub(crate) mod toy;
pub mod world;

use noise::Noise;
use sampler::{Plan, Sampler, Spacing};

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

/// What a prior is told of a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Text {
    /// Nothing: the model without a text.
    Nothing,
    /// The prompt.
    Of(Prompt),
    /// The prompt and the side that is seen, in words: a model of single pictures has no other way to know it (Poole et
    /// al. 2023).
    Seen(Prompt, Side),
    /// Between two sides, the first with this share.
    Between(Prompt, [Side; 2], f32),
}

impl Text {
    /// The prompt in it.
    pub fn prompt(self) -> Option<Prompt> {
        match self {
            Self::Nothing => None,
            Self::Of(prompt) | Self::Seen(prompt, _) | Self::Between(prompt, ..) => Some(prompt),
        }
    }
}

/// A side of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Its front.
    Front,
    /// Its left or right.
    Side,
    /// Its back.
    Back,
    /// Its top.
    Overhead,
}

impl Side {
    /// All.
    pub const ALL: [Self; 4] = [Self::Front, Self::Side, Self::Back, Self::Overhead];

    /// In a prompt.
    pub fn words(self) -> &'static str {
        match self {
            Self::Front => "front view",
            Self::Side => "side view",
            Self::Back => "back view",
            Self::Overhead => "overhead view",
        }
    }

    /// The side that a view shows: the front and the back an eighth of a turn to each side, the top from above 60°.
    pub fn of(look: &Look) -> Self {
        let degrees = look.turned().to_degrees();
        match () {
            () if look.elevation.to_degrees() > 60.0 => Self::Overhead,
            () if degrees < 45.0 => Self::Front,
            () if degrees > 135.0 => Self::Back,
            () => Self::Side,
        }
    }
}

impl Look {
    /// The view from `azimuth` and `elevation` at `distance` from the origin, with a field of view, all angles in
    /// radians, of a square of `side` pixels.
    pub fn around([azimuth, elevation]: [f32; 2], distance: f32, fov: f32, side: u32) -> Self {
        let level = elevation.cos();
        let eye = distance * glam::vec3(level * azimuth.sin(), -level * azimuth.cos(), elevation.sin());
        let camera = Camera::look_at(eye, glam::Vec3::ZERO, glam::Vec3::Z, fov, side, side);
        Self { camera, azimuth, elevation }
    }

    /// How far it is from the front, whichever way round, 0 to π.
    pub fn turned(&self) -> f32 {
        let turn = self.azimuth.rem_euclid(std::f32::consts::TAU);
        turn.min(std::f32::consts::TAU - turn)
    }
}

/// What a view is and what it is not, in words, for guidance away from other sides (Armandpour et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sides {
    /// What is seen.
    pub is: Text,
    /// What is not, and how much it counts, 0 or less.
    pub is_not: [(Text, f32); 2],
}

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

impl Read {
    /// What a person should know of it, the words that mean nothing first.
    pub fn remarks(&self) -> Vec<String> {
        let unknown =
            (!self.unknown.is_empty()).then(|| format!("the prior does not know: {}", self.unknown.join(", ")));
        unknown.into_iter().chain(self.notes.iter().cloned()).collect()
    }
}

/// What a prior is asked: `b` scenes of `v` views each, `n = b·v`.
#[derive(Clone)]
pub struct Asked<'a> {
    /// Noisy latents `[n, c, h, w]`.
    pub noisy: Tensor<4>,
    /// The step of the noise, of each scene.
    pub times: &'a [u32],
    /// What it is told of each scene.
    pub texts: &'a [Text],
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

    /// From pictures `[n, c, side, side]`, values 0 to 1 (premultiplied RGBA where it sees alpha, else RGB), to latents.
    fn encode(&self, pictures: Tensor<4>) -> Tensor<4> {
        pictures * 2.0 - 1.0
    }

    /// The same with what the way back needs.
    fn encode_kept(&self, pictures: Tensor<4>) -> (Tensor<4>, Trail) {
        (self.encode(pictures), Trail::new())
    }

    /// The gradient of the pictures that left this trail, given that of their latents. Not by a graph through
    /// [`Prior::encode`]: that would hold all that a large encoder computes.
    fn encode_back(&self, trail: Trail, gradient: Tensor<4>) -> Tensor<4> {
        drop(trail);
        gradient * 2.0
    }

    /// From latents to pictures, for people to look at.
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        ((latents + 1.0) * 0.5).clamp(0.0, 1.0)
    }

    /// What it is best told of a scene seen from here.
    fn told(&self, prompt: Prompt, look: &Look) -> Text {
        let _ = look;
        Text::Of(prompt)
    }

    /// The same with what a view is not; none where the model knows its cameras.
    fn sides(&self, prompt: Prompt, look: &Look) -> Option<Sides> {
        let _ = (prompt, look);
        None
    }

    /// The noise that it sees in noisy latents, shaped like them.
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4>;

    /// Cameras by chance as it was taught with, `scenes` rings of [`Prior::ring`] views.
    fn looks(&self, scenes: usize, rng: &mut retort_fields::rng::Rng) -> Vec<Look>;

    /// How it is sampled in so many steps.
    fn plan(&self, steps: u32) -> Plan {
        Plan { sampler: Sampler::Ddim, steps, spacing: Spacing::Trailing, offset: 0, to_one: true }
    }

    /// A copy that learns what the scene's own pictures look like (Wang et al. 2023): low-rank adapters of `rank`, or all
    /// weights where it is 0.
    fn apprentice(&self, seed: u64, rank: usize) -> Box<dyn Apprentice>;
}

/// What goes into each piece of a way into latents, from the first; nothing where the way back needs nothing.
pub type Trail = Vec<Tensor<2>>;

/// Tensors of a checkpoint: name, shape, values.
pub type Kept = Vec<(String, [usize; 2], Vec<f32>)>;

/// A model of the pictures that a scene has now.
pub trait Apprentice: Send {
    /// The noise that it sees, as [`Prior::epsilon`].
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4>;

    /// One step at `rate` towards seeing `noise` in what is asked; returns the mean squared error before it.
    fn learn(&mut self, asked: Asked<'_>, noise: Tensor<4>, rate: f32) -> f32;

    /// What it has learned so far, to go on from.
    fn keep(&mut self) -> Kept;

    /// Takes up what [`Apprentice::keep`] gave of one like it.
    ///
    /// # Errors
    /// When it was of another.
    fn take_up(&mut self, kept: &Kept) -> Result<()>;
}
