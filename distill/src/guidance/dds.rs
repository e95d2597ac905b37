//! The delta denoising score (Hertz et al. 2023), for edits: `g = M ⊙ (ε̂(z_t; y) − ε̂(z⁰_t; y⁰))`, the same noise on the
//! scene and on what it was. What the model always gets wrong cancels, so what the prompts agree on stays.

use retort_fields::error::{Error, Result};

use super::parts::classifier_free;
use super::{Guidance, Guided, Scene, Settings};

/// The loss; it remembers nothing.
#[derive(Default)]
pub struct Dds;

impl Guidance for Dds {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        let source = scene.source.as_ref().ok_or_else(|| {
            Error::new("dds needs a scene to start from").remedy("use `retort edit`, or another loss")
        })?;
        let noised = scene.noised(settings);
        let scale = settings.scale.at(scene.share);
        let ask = |prompt, noisy: &_, times: &[u32]| {
            let [with, without] = scene.both(prompt, noisy, times);
            classifier_free(&with, without, scale)
        };
        let before = scene.with_noise(source.latents.clone(), noised.noise.clone(), &noised.times);
        let seen = ask(scene.prompt, &noised.noisy, &noised.times);
        let was = ask(source.prompt, &before, &noised.times);
        let mut gradient = (seen.clone() - was) * scene.weights(settings.weight, &noised.times);
        if let Some(mask) = &source.mask {
            gradient = gradient * mask.clone();
        }
        Ok(scene.say(gradient, noised, seen, settings))
    }
}
