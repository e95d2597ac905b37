//! Entropic score distillation (Wang et al. 2024, "Taming Mode Collapse"): as variational distillation, but the scene's
//! own score is `λ ε_φ(z_t) + (1 − λ) ε_φ(z_t; c)`. The part that does not know the camera pushes views apart from one
//! another, which keeps them from all showing the front.

use retort_fields::error::Result;

use super::parts::Class;
use super::{Guidance, Guided, Scene, Settings};
use crate::prior::Kept;

/// The loss with its apprentice.
#[derive(Default)]
pub struct Esd(Class);

impl Guidance for Esd {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        self.0.guide(scene, settings, settings.lambda.at(scene.share))
    }

    fn keep(&mut self) -> Kept {
        self.0.keep()
    }

    fn take_up(&mut self, kept: Kept) {
        self.0.take_up(kept);
    }
}
