//! Variational score distillation (Wang et al. 2023, `ProlificDreamer`): `g = w(t) (ε̂(z_t; y) − ε_φ(z_t; y, c))`, where
//! an apprentice φ learns the noise in the scene's own pictures, seen from the camera c.

use retort_fields::error::Result;

use super::parts::Class;
use super::{Guidance, Guided, Scene, Settings};
use crate::prior::Kept;

/// The loss with its apprentice.
#[derive(Default)]
pub struct Vsd(Class);

impl Guidance for Vsd {
    fn guide(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<Guided> {
        self.0.guide(scene, settings, 0.0)
    }

    fn keep(&mut self) -> Kept {
        self.0.keep()
    }

    fn take_up(&mut self, kept: Kept) {
        self.0.take_up(kept);
    }
}
