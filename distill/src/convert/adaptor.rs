//! From the student's latent to the teacher's where their widths differ: a linear map that is learned beside the student,
//! `l_t ≈ [l_s, 1] · A`. With it the student's latent has to know what the teacher's knows, in its own words.

use burn::tensor::{Gradients, Tensor};
use retort_fields::error::{Error, Result};
use retort_fields::field::{Field, tensor, values};
use retort_fields::ops::adam::{self, AdamSpec, Moments};
use retort_fields::rng::Rng;
use serde_json::Value;

use super::latent_of;
use crate::run::Extra;

/// Names of its tensors in a checkpoint, and of its count of steps.
const NAMES: [&str; 3] = ["adaptor", "adaptor_m", "adaptor_v"];
const COUNT: &str = "adaptor_t";
/// Its rate: that of small networks everywhere here.
const RATE: f32 = 3e-3;

/// A linear map between latents.
pub struct Adaptor {
    /// `[student + 1, teacher]`, the offset last.
    map: Tensor<2>,
    moments: Moments,
    t: u32,
}

impl Adaptor {
    /// The adaptor that the pair needs: none where the widths are the same, or where one has no latent.
    pub fn between(teacher: &dyn Field, student: &dyn Field, seed: u64) -> Option<Self> {
        let (from, to) = (latent_of(student)?, latent_of(teacher)?);
        if from == to {
            return None;
        }
        let device = student.device().without_autodiff();
        let mut rng = Rng::new(seed, "adaptor");
        let bound = (6.0 / (from + to) as f32).sqrt();
        let weights = (0..from * to).map(|_| rng.range(-bound, bound)).chain(std::iter::repeat_n(0.0, to)).collect();
        let map = tensor(weights, [from + 1, to], &device);
        Some(Self { moments: Moments::zeros([from + 1, to], &device), map, t: 0 })
    }

    /// The map on the gradient graph, for one step.
    pub fn on_graph(&self) -> Tensor<2> {
        Tensor::from_inner(self.map.clone()).require_grad()
    }

    /// The student's latents `[n, student]` in the teacher's words, `[n, teacher]`, by a map that [`Adaptor::on_graph`]
    /// gave.
    pub fn apply(map: &Tensor<2>, latent: Tensor<2>) -> Tensor<2> {
        let [rows, width] = map.dims();
        latent.matmul(map.clone().slice([0..rows - 1, 0..width])) + map.clone().slice([rows - 1..rows, 0..width])
    }

    /// Goes down the gradient of the map that [`Adaptor::on_graph`] gave.
    pub fn descend(&mut self, map: &Tensor<2>, grads: &mut Gradients, spec: &AdamSpec) {
        let Some(grad) = map.grad_remove(grads) else { return };
        // The guard of the run takes its parameters back, not this.
        if grad.clone().mul_scalar(0.0).sum().into_scalar::<f32>() != 0.0 {
            return;
        }
        self.t += 1;
        let before = std::mem::replace(&mut self.map, Tensor::zeros([1, 1], &grad.device()));
        self.map = adam::step(before, grad, &mut self.moments, RATE, self.t, spec);
    }

    /// Puts it into a checkpoint.
    pub fn save(&self, extra: &mut Extra) {
        let tensors = [&self.map, &self.moments.m, &self.moments.v];
        let named = NAMES.iter().zip(tensors).map(|(name, t)| ((*name).to_string(), t.dims(), values(t.clone())));
        extra.tensors.extend(named);
        extra.json[COUNT] = self.t.into();
    }

    /// Takes it out of a checkpoint of the same pair.
    ///
    /// # Errors
    /// When something is missing or of another shape.
    pub fn restore(&mut self, extra: &Extra) -> Result<()> {
        let damaged = || Error::new("the checkpoint lacks the adaptor of latents").remedy("start without --resume");
        let (shape, device) = (self.map.dims(), self.map.device());
        let take = |name: &str| {
            let found = extra.tensors.iter().find(|t| t.0 == name && t.1 == shape).ok_or_else(damaged)?;
            if found.2.iter().any(|v| v.is_nan()) {
                return Err(damaged());
            }
            Ok(tensor(found.2.clone(), shape, &device))
        };
        let t = extra.json.get(COUNT).and_then(Value::as_u64).ok_or_else(damaged)?;
        self.map = take(NAMES[0])?;
        self.moments = Moments { m: take(NAMES[1])?, v: take(NAMES[2])? };
        self.t = t as u32;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use retort_fields::field::Scene;
    use retort_fields::registry::{AnyField, FieldConfig, Kind};

    use super::*;
    use crate::preset::Preset;

    fn field(latent: &str) -> AnyField {
        let set =
            [("field.volume.latent".to_string(), latent.to_string()), ("field.log2_table_size".into(), "8".into())];
        let preset = Preset::load("fast", Kind::Hash, &set).expect("sound");
        let config: FieldConfig = preset.field;
        config.init(&Scene::default(), 1, &Device::flex()).expect("sound").trainable()
    }

    #[test]
    fn a_linear_map_is_found_where_there_is_one() {
        assert!(Adaptor::between(&*field("8"), &*field("8"), 1).is_none(), "none is needed");
        let mut rng = Rng::new(2, "latents");
        let mut draw = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<_>>();
        let device = Device::flex().autodiff();
        let (from, truth) = (tensor(draw(400 * 8), [400, 8], &device), tensor(draw(9 * 15), [9, 15], &device));
        let shuffled = tensor(draw(400 * 15), [400, 15], &device);
        let spec = AdamSpec { beta1: 0.9, beta2: 0.99, eps: 1e-15, weight_decay: 0.0, skip_zero_grad: false };
        let learn = |target: Tensor<2>| {
            let mut adaptor = Adaptor::between(&*field("15"), &*field("8"), 1).expect("widths differ");
            let losses = (0..1500).map(|_| {
                let map = adaptor.on_graph();
                let d = Adaptor::apply(&map, from.clone()) - target.clone();
                let loss = (d.clone() * d).mean();
                let value = loss.clone().inner().into_scalar::<f32>();
                adaptor.descend(&map, &mut loss.backward(), &spec);
                value
            });
            let losses: Vec<f32> = losses.collect();
            losses[losses.len() - 1] / losses[0]
        };
        assert!(learn(Adaptor::apply(&truth, from.clone())) < 1e-3);
        assert!(learn(shuffled) > 0.3, "noise cannot be learned");
    }
}
