//! A copy of a denoiser that learns what the scene's own pictures look like (Wang et al. 2023): the same for every prior.

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use retort_fields::field::{tensor, values};
use retort_fields::ops::adam::{self, AdamSpec, Moments};
use retort_fields::registry::detached_inner;

use super::{Apprentice, Asked, Kept};

/// What the loss is multiplied by on its way back, a power of two: through a denoiser in float16 small gradients would
/// vanish, and in float32 it changes nothing.
const SCALE: f32 = 4096.0;

/// A denoiser with weights on a gradient graph.
pub trait Learner: Send {
    /// The noise that it sees in what is asked, on the graph.
    fn epsilon(&self, asked: &Asked<'_>) -> Tensor<4>;

    /// The weights that are trained, each a leaf of the graph.
    fn trained_mut(&mut self) -> Vec<&mut Tensor<2>>;
}

/// The pupil: `AdamW` on the learner's weights.
pub struct Pupil<L> {
    learner: L,
    moments: Vec<Moments>,
    steps: u32,
}

impl<L: Learner> Pupil<L> {
    /// A pupil before its first lesson.
    pub fn new(learner: L) -> Self {
        Self { learner, moments: Vec::new(), steps: 0 }
    }
}

impl<L: Learner> Apprentice for Pupil<L> {
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4> {
        let noisy = Tensor::from_inner(asked.noisy.clone());
        self.learner.epsilon(&Asked { noisy, ..asked }).inner()
    }

    fn learn(&mut self, asked: Asked<'_>, noise: Tensor<4>, rate: f32) -> f32 {
        let noisy = Tensor::from_inner(asked.noisy.clone());
        let seen = self.learner.epsilon(&Asked { noisy, ..asked });
        let loss = (seen - Tensor::from_inner(noise)).square().mean();
        let value = values(loss.clone().inner())[0];
        let mut grads = (loss * SCALE).backward();
        // As ProlificDreamer: AdamW with the library's usual decay.
        let spec = AdamSpec { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01, skip_zero_grad: false };
        self.steps += 1;
        for (i, weight) in self.learner.trained_mut().into_iter().enumerate() {
            let device = weight.device().without_autodiff();
            if self.moments.len() == i {
                self.moments.push(Moments::zeros(weight.dims(), &device));
            }
            let Some(grad) = weight.grad_remove(&mut grads).map(|grad| grad / SCALE) else { continue };
            let old = detached_inner(std::mem::replace(weight, Tensor::zeros([1, 1], &device)));
            let new = adam::step(old, grad, &mut self.moments[i], rate, self.steps, &spec);
            *weight = Tensor::from_inner(new).require_grad();
        }
        value
    }

    fn keep(&mut self) -> Kept {
        let mut kept = vec![("steps".to_string(), [1, 1], vec![self.steps as f32])];
        for (i, weight) in self.learner.trained_mut().into_iter().enumerate() {
            let weight = detached_inner(weight.clone());
            let shape = weight.dims();
            kept.push((format!("weight.{i}"), shape, values(weight)));
            if let Some(Moments { m, v }) = self.moments.get(i) {
                kept.push((format!("m.{i}"), shape, values(m.clone())));
                kept.push((format!("v.{i}"), shape, values(v.clone())));
            }
        }
        kept
    }

    fn take_up(&mut self, kept: &Kept) -> Result<()> {
        let odd =
            |what: &str| Error::new(format!("the loss's apprentice in the checkpoint is of another size: {what}"));
        let find = |name: &str| kept.iter().find(|(n, ..)| n == name).map(|(_, shape, values)| (*shape, values));
        let (_, steps) = find("steps").ok_or_else(|| odd("steps"))?;
        let mut moments = Vec::new();
        for (i, weight) in self.learner.trained_mut().into_iter().enumerate() {
            let device = weight.device().without_autodiff();
            let one = |part: &str| {
                let name = format!("{part}.{i}");
                let (shape, values) =
                    find(&name).filter(|(shape, _)| *shape == weight.dims()).ok_or_else(|| odd(&name))?;
                Ok::<_, Error>(tensor(values.clone(), shape, &device))
            };
            let new = one("weight")?;
            // Before its first lesson it has none.
            if steps.first().is_some_and(|steps| *steps > 0.0) {
                moments.push(Moments { m: one("m")?, v: one("v")? });
            }
            *weight = Tensor::from_inner(new).require_grad();
        }
        (self.moments, self.steps) = (moments, steps.first().copied().unwrap_or(0.0) as u32);
        Ok(())
    }
}
