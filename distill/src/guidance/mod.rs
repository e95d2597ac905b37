//! Score distillation: what a frozen diffusion model would change about the pictures of a scene.
//!
//! Every loss gives a gradient `g = dL/dz` for the latents `z` of some views; the scene then goes down
//! `½ Σ (z − stop(z − g))² / n`. A loss is one file and one line here.

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::prior::{Kept, Look, Prior, Prompt};
use crate::schedule::Schedule;

pub mod asd;
pub mod dds;
pub mod esd;
pub mod mvsds;
mod parts;
pub mod sds;
#[cfg(test)]
mod tests;
pub mod vsd;

pub(crate) use parts::{classifier_free, normals};

/// Weights of the steps of noise, `w(t)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// `1 − ᾱ`: `DreamFusion`'s.
    Sds,
    /// 1.
    Uniform,
    /// `√ᾱ (1 − ᾱ)`.
    Fantasia3d,
    /// `σ / α`: the difference to the picture that the model sees behind the noise.
    Recon,
}

/// The settings of a loss; each uses those that it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which loss.
    pub loss: Loss,
    /// Classifier-free guidance, `ε_u + s (ε_c − ε_u)`.
    pub scale: Schedule,
    /// How far the guided prediction is brought back to the spread of the conditional one, 0 to 1.
    #[serde(default = "none")]
    pub rescale: Schedule,
    /// Whether a model of single pictures is guided away from the sides that a view does not show (Perp-Neg).
    #[serde(default)]
    pub perp_neg: bool,
    /// Weights of the steps.
    pub weight: Weight,
    /// The least noise, as a share of the model's steps.
    pub t_min: Schedule,
    /// The most.
    pub t_max: Schedule,
    /// The most that one value of the gradient may be; 0 for no limit.
    #[serde(default = "none")]
    pub clip: Schedule,
    /// How far the second step of noise of asd is shifted, as a share of what is below.
    #[serde(default = "none")]
    pub eta: Schedule,
    /// The weight of esd's entropy, 0 (as vsd) to 1.
    #[serde(default = "none")]
    pub lambda: Schedule,
    /// Rank of the low-rank adapters of vsd's and esd's apprentice; 0 to train all of its weights.
    #[serde(default)]
    pub rank: usize,
    /// The apprentice's learning rate.
    #[serde(default = "none")]
    pub rate: Schedule,
    /// The apprentice's steps for each of the scene's.
    #[serde(default)]
    pub lessons: u32,
}

fn none() -> Schedule {
    Schedule::Constant(0.0)
}

/// The scene that an edit starts from.
#[derive(Clone)]
pub struct Source {
    /// Its latents from the same views.
    pub latents: Tensor<4>,
    /// What it is.
    pub prompt: Prompt,
    /// Where it may change, `[n, 1, h, w]`, 0 to 1.
    pub mask: Option<Tensor<4>>,
}

/// What a loss looks at.
pub struct Scene<'a> {
    /// The model.
    pub prior: &'a dyn Prior,
    /// Latents of the views, `[n, c, h, w]`, off the gradient graph.
    pub latents: Tensor<4>,
    /// The views: whole rings, one after another.
    pub looks: &'a [Look],
    /// What is asked for.
    pub prompt: Prompt,
    /// Where an edit starts from.
    pub source: Option<Source>,
    /// The share of the run that is over.
    pub share: f32,
    /// The step.
    pub step: u32,
    /// The seed of this step's choices.
    pub seed: u64,
}

/// What a loss says.
pub struct Guided {
    /// `dL/dz`, `[n, c, h, w]`.
    pub gradient: Tensor<4>,
    /// The steps of noise, of each ring.
    pub times: Vec<u32>,
    /// The latents with noise.
    pub noisy: Tensor<4>,
    /// The picture that the model sees behind the noise.
    pub clean: Tensor<4>,
}

/// A loss.
pub trait Guidance: Send {
    /// What it says of a scene.
    ///
    /// # Errors
    /// When the scene lacks something that it needs.
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided>;

    /// What it has learned so far, to go on from.
    fn keep(&mut self) -> Kept {
        Kept::new()
    }

    /// Takes up what [`Guidance::keep`] gave.
    fn take_up(&mut self, kept: Kept) {
        drop(kept);
    }
}

macro_rules! losses {
    ($($(#[$doc:meta])* $variant:ident $module:ident;)*) => {
        /// The losses by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Loss { $($(#[$doc])* $variant),* }

        impl Loss {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($module)),* }
            }

            /// The loss, before its first step.
            pub fn start(self) -> Box<dyn Guidance> {
                match self { $(Self::$variant => Box::new($module::$variant::default())),* }
            }
        }
    };
}

losses! {
    /// Score distillation sampling.
    Sds sds;
    /// Variational score distillation.
    Vsd vsd;
    /// Entropic score distillation.
    Esd esd;
    /// Asynchronous score distillation.
    Asd asd;
    /// Score distillation of several views together, by reconstruction.
    Mvsds mvsds;
    /// The delta denoising score, for edits.
    Dds dds;
}

impl Loss {
    /// Those that make a field from nothing; the other one changes a field.
    pub fn makers() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|loss| *loss != Self::Dds)
    }
}

impl std::str::FromStr for Loss {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|loss| loss.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|l| l.name()).collect();
            Error::new(format!("there is no loss \"{name}\"")).remedy(format!("use {}", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Settings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// When a value is out of its own.
    pub fn check(&self) -> Result<()> {
        let bad = |what: &str, remedy: &str| {
            Err(Error::new(format!("preset: guidance.{what} is out of range")).remedy(remedy))
        };
        for (name, schedule) in [("scale", &self.scale), ("clip", &self.clip)] {
            if !schedule.is_sound() || schedule.at(0.0) < 0.0 || schedule.at(1.0) < 0.0 {
                return bad(name, "use a number of 0 or more, or rising points");
            }
        }
        let shares = [
            ("t_min", &self.t_min),
            ("t_max", &self.t_max),
            ("rescale", &self.rescale),
            ("eta", &self.eta),
            ("lambda", &self.lambda),
        ];
        for (name, schedule) in shares {
            if !schedule.is_sound() || ![0.0, 1.0].iter().all(|&s| (0.0..=1.0).contains(&schedule.at(s))) {
                return bad(name, "use shares, 0 to 1");
            }
        }
        let learns = matches!(self.loss, Loss::Vsd | Loss::Esd);
        let rates = self.rate.is_sound() && [0.0, 1.0].iter().all(|&s| self.rate.at(s) > 0.0);
        if learns && !(rates && (1..=64).contains(&self.lessons)) {
            return bad("rate or lessons", "use a learning rate above 0, and 1 to 64 lessons");
        }
        if self.rank > 128 {
            return bad("rank", "use 0 to 128");
        }
        Ok(())
    }
}
