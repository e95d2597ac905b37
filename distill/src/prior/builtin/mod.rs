//! The prior that comes with the program: a small multi-view model of a little world ([`super::world`]), so that text
//! becomes 3D with no download and no GPU. It knows a few dozen words, and says which it does not.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_fields::error::{Error, Result};
use retort_fields::rng::Rng;

use super::noise::Noise;
use super::pupil::{Learner, Pupil};
use super::world::picture::{DISTANCE, FIELD_OF_VIEW, RING, SIDE, ring};
use super::world::prompt::understand;
use super::world::{Description, SLOTS, words::NULL};
use super::{Apprentice, Asked, Look, Prior, Prompt, Read, Text};

pub mod network;

use network::{Network, Question};

/// The weights, in float16; `assets/prior/README.md` says how they were made.
const WEIGHTS: &[u8] = include_bytes!("../../../../assets/prior/prior.safetensors");
/// Steps of its noise.
const STEPS: usize = 1000;

/// The built-in prior.
pub struct Builtin {
    network: Arc<Network>,
    noise: Noise,
    prompts: Vec<Description>,
}

impl Builtin {
    /// The prior on a device.
    ///
    /// # Errors
    /// When the weights that came with the program are damaged.
    pub fn new(device: &Device) -> Result<Self> {
        let network = Network::read(WEIGHTS, device)
            .map_err(|e| e.file("assets/prior/prior.safetensors").remedy("build the program from a whole checkout"))?;
        Ok(Self::of(network))
    }

    /// The same with weights from a file, such as `assets/prior/train.py` writes.
    ///
    /// # Errors
    /// When it cannot be read, or holds other tensors.
    pub fn from_file(path: &Path, device: &Device) -> Result<Self> {
        // Larger than any that this network can have, in float32.
        const MOST: u64 = 64 << 20;
        let size = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
        if size > MOST {
            return Err(Error::new(format!("{size} bytes are more than a prior has")).file(path));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
        let remedy = "give a file that assets/prior/train.py exported";
        Ok(Self::of(Network::read(&bytes, device).map_err(|e| e.file(path).remedy(remedy))?))
    }

    fn of(network: Network) -> Self {
        Self { network: Arc::new(network), noise: Noise::cosine(STEPS), prompts: Vec::new() }
    }

    /// What a prompt that it has read asks for.
    pub fn description(&self, prompt: Prompt) -> Option<&Description> {
        self.prompts.get(prompt.0)
    }
}

/// What both the prior and its apprentices are asked.
fn epsilon(network: &Network, noise: &Noise, tokens: &[[u16; SLOTS]], asked: &Asked<'_>) -> Tensor<4> {
    let steps = noise.steps() as f32;
    let times: Vec<f32> = asked.times.iter().map(|&t| (t as f32 + 0.5) / steps).collect();
    let cameras: Vec<_> = asked.looks.iter().map(|look| asked.posed.then(|| look.camera.clone())).collect();
    let question = Question { noisy: asked.noisy.clone(), times: &times, tokens, cameras: &cameras };
    let velocity = network.velocity(question);
    let per = asked.looks.len() / asked.times.len();
    noise.epsilon_of_velocity(asked.noisy.clone(), velocity, asked.times, per)
}

fn tokens_of(prompts: &[Description], texts: &[Text]) -> Vec<[u16; SLOTS]> {
    let of = |text: &Text| text.prompt().and_then(|p| prompts.get(p.0)).map_or([NULL; SLOTS], Description::tokens);
    texts.iter().map(of).collect()
}

impl Prior for Builtin {
    fn name(&self) -> &'static str {
        "built-in"
    }

    fn side(&self) -> u32 {
        SIDE
    }

    fn sees_alpha(&self) -> bool {
        true
    }

    fn ring(&self) -> usize {
        RING
    }

    fn noise(&self) -> &Noise {
        &self.noise
    }

    fn read(&mut self, prompt: &str) -> Result<Read> {
        let understood = understand(prompt)?;
        self.prompts.push(understood.description);
        Ok(Read {
            prompt: Prompt(self.prompts.len() - 1),
            meaning: understood.description.words(),
            unknown: understood.unknown,
            notes: understood.notes,
        })
    }

    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4> {
        epsilon(&self.network, &self.noise, &tokens_of(&self.prompts, asked.texts), &asked)
    }

    fn looks(&self, scenes: usize, rng: &mut Rng) -> Vec<Look> {
        let one = |from| Look::around(from, DISTANCE, FIELD_OF_VIEW, SIDE);
        (0..scenes).flat_map(|_| ring(rng)).map(one).collect()
    }

    fn apprentice(&self, seed: u64, rank: usize) -> Box<dyn Apprentice> {
        let network = if rank == 0 { self.network.trainable() } else { self.network.adapted(rank, seed) };
        let learner = Copy { network, noise: self.noise.clone(), prompts: self.prompts.clone() };
        Box::new(Pupil::new(learner))
    }
}

/// The network as it learns.
struct Copy {
    network: Network,
    noise: Noise,
    prompts: Vec<Description>,
}

impl Learner for Copy {
    fn epsilon(&self, asked: &Asked<'_>) -> Tensor<4> {
        epsilon(&self.network, &self.noise, &tokens_of(&self.prompts, asked.texts), asked)
    }

    fn trained_mut(&mut self) -> Vec<&mut Tensor<2>> {
        self.network.layers.trained_mut()
    }
}

#[cfg(test)]
mod tests;
