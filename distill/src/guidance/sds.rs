//! Score distillation sampling (Poole et al. 2023, `DreamFusion`): `g = w(t) (ε̂(z_t; y) − ε)`.

use retort_fields::error::Result;

use super::{Guidance, Guided, Scene, Settings};

/// The loss; it remembers nothing.
#[derive(Default)]
pub struct Sds;

impl Guidance for Sds {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        let noised = scene.noised(settings);
        let seen = scene.guided(settings, &noised);
        let gradient = (seen.clone() - noised.noise.clone()) * scene.weights(settings.weight, &noised.times);
        Ok(scene.say(gradient, noised, seen, settings))
    }
}
