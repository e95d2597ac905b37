//! Score distillation of a ring of views together (Shi et al. 2024, `MVDream`): the scene is compared with the pictures
//! that the model sees behind the noise, `L = ½ ‖z − x̂₀‖²`, whose spread is brought back to that of the prediction
//! without guidance.

use retort_fields::error::Result;

use super::parts::{classifier_free, rescaled};
use super::{Guidance, Guided, Scene, Settings};

/// The loss; it remembers nothing.
#[derive(Default)]
pub struct Mvsds;

impl Guidance for Mvsds {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        let noised = scene.noised(settings);
        let [with, without] = scene.both(scene.prompt, &noised.noisy, &noised.times);
        let seen = classifier_free(&with, without, settings.scale.at(scene.share));
        let [guided, plain] = [seen.clone(), with].map(|e| scene.clean(noised.noisy.clone(), e, &noised.times));
        let target = rescaled(guided, plain, settings.rescale.at(scene.share), scene.per());
        let gradient = scene.latents.clone() - target.clone();
        let mut said = scene.say(gradient, noised, seen, settings);
        said.clean = target;
        Ok(said)
    }
}
