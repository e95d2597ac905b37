//! Density to begin with. A field that begins as an even fog is pulled everywhere at once; one that begins as a ball in the
//! middle has a thing to make something of (Poole et al. 2023; Lin et al. 2023, `Magic3D`).

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use retort_fields::field::{tensor, values};
use retort_fields::registry::AnyField;
use retort_fields::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::optimiser::Optimiser;
use crate::preset::Optimise;

/// Points of a step, the most steps, and the error of `log_sigma` that is small enough.
const POINTS: usize = 16_384;
const STEPS: u32 = 200;
const GOOD: f32 = 0.05;

/// How the density falls from the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// `log σ = h exp(−r² / 2w²)`: `DreamFusion`'s.
    Bell,
    /// `σ = log(1 + exp(h (1 − r / w)))`: `Magic3D`'s, and threestudio's for most systems.
    Cone,
}

/// A ball of density.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// How it falls.
    pub shape: Shape,
    /// `h`, the value in the middle.
    pub height: f32,
    /// `w`, its radius in scene units. Primitives begin within a ball of it.
    pub width: f32,
}

impl Blob {
    /// Whether everything is within its range.
    pub fn is_sound(&self) -> bool {
        (0.0..=20.0).contains(&self.height) && (0.01..=10.0).contains(&self.width)
    }

    /// The density's logarithm at a distance from the middle.
    fn log_sigma(&self, r: f32) -> f32 {
        match self.shape {
            Shape::Bell => self.height * (-0.5 * (r / self.width).powi(2)).exp(),
            Shape::Cone => {
                let raw = self.height * (1.0 - r / self.width);
                // log(softplus): far out the exponential itself.
                if raw < -15.0 { raw } else { raw.exp().ln_1p().ln() }
            }
        }
    }

    /// Makes it what `field` begins with: volumes are fitted to it with their own rates, primitives are put in their places.
    ///
    /// # Errors
    /// When rates and parameters do not fit each other.
    pub fn begin(&self, field: &mut AnyField, optimise: &Optimise, seed: u64) -> Result<()> {
        if field.as_primitives().is_some() {
            self.gather(field, seed);
            return Ok(());
        }
        let mut optimiser = Optimiser::new(optimise, field)?;
        *field = field.trainable();
        for step in 0..STEPS {
            let Some(volume) = field.as_volume() else { break };
            let mut rng = Rng::at(seed, "blob", u64::from(step));
            let (bounds, [low, high]) = (volume.scene().bounds, volume.log_sigma_range());
            let size = bounds.size();
            let points: Vec<glam::Vec3> = (0..POINTS)
                .map(|_| bounds.min + size * glam::vec3(rng.uniform(), rng.uniform(), rng.uniform()))
                .collect();
            let wanted: Vec<f32> = points.iter().map(|p| self.log_sigma(p.length()).clamp(low, high)).collect();
            let device = volume.device();
            let x = tensor(points.iter().flat_map(glam::Vec3::to_array).collect(), [POINTS, 3], &device);
            let off = volume.block1(x).log_sigma - tensor(wanted, [POINTS, 1], &device);
            let loss: Tensor<1> = off.square().mean();
            let error = values(loss.clone().inner())[0].sqrt();
            if !error.is_finite() {
                return Err(
                    Error::new("the density to begin with could not be fitted").remedy("use a lower blob.height")
                );
            }
            if error < GOOD {
                break;
            }
            let mut grads = loss.backward();
            // Slower and slower: at the full rate a grid's points stay rough, and normals of it point anywhere.
            let slower = 1.0 - step as f32 / STEPS as f32;
            optimiser.step(field, &mut grads, 0.0, |_| slower);
        }
        *field = field.frozen();
        Ok(())
    }

    /// Puts primitives within the ball, as much smaller as they are closer together.
    fn gather(&self, field: &mut AnyField, seed: u64) {
        let size = field.scene().bounds.size();
        let ball = 4.0 / 3.0 * std::f32::consts::PI * self.width.powi(3);
        let closer = (ball / (size.x * size.y * size.z)).cbrt();
        let mut rng = Rng::new(seed, "blob");
        for param in field.params_mut() {
            let ([rows, _], device) = (param.tensor.dims(), param.tensor.device());
            match param.name {
                "means" => {
                    let one = |_| {
                        let way = glam::vec3(rng.normal(), rng.normal(), rng.normal()).normalize_or_zero();
                        (way * self.width * rng.uniform().cbrt()).to_array()
                    };
                    *param.tensor = tensor((0..rows).flat_map(one).collect(), [rows, 3], &device);
                }
                "log_scales" => *param.tensor = param.tensor.clone() + closer.ln(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use retort_fields::field::Scene;
    use retort_fields::registry::Kind;

    use super::*;
    use crate::generate::System;

    #[test]
    fn every_kind_begins_as_a_ball() {
        let blob = Blob { shape: Shape::Cone, height: 10.0, width: 0.5 };
        for &kind in Kind::ALL {
            let (_, preset) = System::load("quick", kind, None, &[]).expect("a system");
            let mut field = preset.field.init(&Scene::default(), 1, &Device::flex()).expect("a field");
            let before = spread(&field);
            blob.begin(&mut field, &preset.train.optimise, 1).expect("begun");
            let (inside, outside) = spread(&field);
            assert!(inside > outside + 1.0, "{kind}: {inside} within, {outside} without");
            assert!(before.0 < before.1 + 0.7, "{kind}: it was one before: {before:?}");
        }
    }

    /// What it is in the middle and around, as the logarithm of density.
    fn spread(field: &AnyField) -> (f32, f32) {
        let points = |r: f32| {
            let mut rng = Rng::new(3, "around");
            let one = |_| (r * glam::vec3(rng.normal(), rng.normal(), rng.normal()).normalize()).to_array();
            (0..200).flat_map(one).collect::<Vec<f32>>()
        };
        let at = |r: f32| {
            let x = points(r);
            let all = match (field.as_volume(), field.as_primitives()) {
                (Some(volume), _) => values(volume.log_sigma(tensor(x, [200, 3], &Device::flex()))),
                (_, Some(primitives)) => primitives.sample(&x, &x).log_sigma,
                _ => Vec::new(),
            };
            all.iter().map(|l| l.max(-6.0)).sum::<f32>() / all.len() as f32
        };
        (at(0.2), at(0.85))
    }

    #[test]
    fn a_ball_falls_as_published() {
        let bell = Blob { shape: Shape::Bell, height: 5.0, width: 0.2 };
        assert!((bell.log_sigma(0.0) - 5.0).abs() < 1e-6 && (bell.log_sigma(0.2) - 3.0327).abs() < 1e-3);
        let cone = Blob { shape: Shape::Cone, height: 10.0, width: 0.5 };
        assert!(
            (cone.log_sigma(0.0) - 10.0_f32.ln()).abs() < 1e-3
                && (cone.log_sigma(0.5) - 2.0_f32.ln().ln()).abs() < 1e-3
        );
        assert!((cone.log_sigma(2.0) + 30.0).abs() < 1e-3, "no logarithm of zero: {}", cone.log_sigma(2.0));
        assert!(bell.is_sound() && !Blob { height: f32::NAN, ..bell }.is_sound());
    }
}
