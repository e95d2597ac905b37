//! Asynchronous score distillation (Ma et al. 2024, `ScaleDreamer`): `g = w(t) (ε̂(z_t, t; y) − ε(z_t⁺, t⁺; y))`. A
//! little more noise, `t⁺ = t + η (t − t_min) u` with u from 0 to 1, does for the scene's own score what an apprentice
//! would have to learn.

use retort_fields::error::Result;
use retort_fields::rng::Rng;

use super::{Guidance, Guided, Scene, Settings};

/// The loss; it remembers nothing.
#[derive(Default)]
pub struct Asd;

impl Guidance for Asd {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        let noised = scene.noised(settings);
        let seen = scene.guided(settings, &noised);
        let schedule = scene.prior.noise();
        let least = schedule.step_at(settings.t_min.at(scene.share));
        let mut rng = Rng::at(scene.seed, "shift of the noise", u64::from(scene.step));
        let later: Vec<u32> = noised
            .times
            .iter()
            .map(|&t| {
                let shift = settings.eta.at(scene.share) * t.saturating_sub(least) as f32 * rng.uniform();
                (t + shift as u32).min(schedule.steps() - 1)
            })
            .collect();
        let noisier = scene.with_noise(scene.latents.clone(), noised.noise.clone(), &later);
        let own = scene.with_prompt(&noisier, &later);
        let gradient = (seen.clone() - own) * scene.weights(settings.weight, &noised.times);
        Ok(scene.say(gradient, noised, seen, settings))
    }
}
