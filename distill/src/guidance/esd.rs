//! Entropic score distillation (Wang et al. 2024, "Taming Mode Collapse"): as variational distillation, but the scene's
//! own score is `λ ε_φ(z_t) + (1 − λ) ε_φ(z_t; c)`. The part that does not know the camera pushes views apart from one
//! another, which keeps them from all showing the front.

use retort_fields::error::Result;

use super::parts::Class;
use super::{Guidance, Guided, Scene, Settings};

/// The loss with its apprentice.
#[derive(Default)]
pub struct Esd(Class);

impl Guidance for Esd {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        Ok(self.0.guide(scene, settings, settings.lambda))
    }
}
