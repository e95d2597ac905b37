//! How a volume learns from pixels alone: in its own empty space, with as many rays as its samples allow.

use std::sync::Arc;

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use retort_fields::field::tensor;
use retort_fields::ops::march::{Marched, march_on};
use retort_fields::registry::AnyField;
use retort_fields::render::volume;
use retort_fields::rng::Rng;
use serde_json::{Value, json};

use crate::preset::{OccupancyConfig, TrainConfig};
use crate::run::Run;

/// A batch is not smaller than this, however full the grid.
const LEAST_RAYS: usize = 128;
/// Light that is left where a ray ends during training.
pub(crate) const STOP: f32 = 1e-4;

/// What a volume knows of its empty space while it is taught.
pub(crate) struct OwnSpace {
    occupancy: OccupancyConfig,
    /// The most samples of a batch.
    samples: usize,
    /// Samples that a ray had in the last step; a full grid has a hundred times those of a trained one.
    per_ray: f32,
}

impl OwnSpace {
    /// Before the first step.
    pub(crate) fn new(field: &AnyField, config: &TrainConfig) -> Self {
        let per_ray = field.as_volume().map_or(1.0, |v| v.march_spec().most_samples());
        Self { occupancy: config.occupancy.clone(), samples: config.samples, per_ray }
    }

    /// For a checkpoint.
    pub(crate) fn save(&self) -> Value {
        json!({ "per_ray": self.per_ray })
    }

    /// Takes back what [`OwnSpace::save`] gave, alone or among others.
    pub(crate) fn restore(&mut self, saved: &Value) {
        if let Some(per_ray) = saved.get("per_ray").and_then(Value::as_f64) {
            self.per_ray = per_ray as f32;
        }
    }

    /// Looks again for empty space where it is time, and says how many rays this step can afford: as many as are `asked`
    /// for, unless the grid is still so full that they would take minutes.
    pub(crate) fn refreshed(&self, run: &mut Run, asked: usize) -> usize {
        run.refresh_occupancy(&self.occupancy);
        ((self.samples as f32 / self.per_ray.max(1.0)) as usize).clamp(LEAST_RAYS.min(asked), asked)
    }

    /// What the volume shows along rays `[n, 3]` of this step over a backdrop for each, `[n, 3]`.
    ///
    /// # Errors
    /// When the field is no volume.
    pub(crate) fn seen_along(
        &mut self,
        run: &Run,
        origins: &[f32],
        directions: &[f32],
        backdrop: &[f32],
    ) -> Result<Tensor<2>> {
        let Some(volume) = run.field.as_volume() else { return Err(Error::new("not a volume")) };
        let n = origins.len() / 3;
        let jitter = jitter(n, run.seed(), run.step);
        let samples =
            march_on(&volume.device(), origins, directions, &jitter, volume.occupancy(), &volume.march_spec());
        let (samples, cost) = worth_a_gradient(&run.field, samples);
        self.per_ray = cost / n.max(1) as f32;
        Ok(fill(volume::render_samples(volume, &samples, STOP), backdrop))
    }
}

/// The samples that get gradients, and how many they are, those that are only looked at counted as a quarter. On a GPU
/// all get some: to find out would make it wait for the host.
pub(crate) fn worth_a_gradient(field: &AnyField, samples: Marched) -> (Marched, f32) {
    let all = samples.count() as f32;
    let frozen = field.frozen();
    match (samples, frozen.as_volume()) {
        (Marched::Host(samples), Some(volume)) => {
            let lit = volume::lit(volume, &samples, STOP);
            let cost = lit.t.len() as f32 + 0.25 * all;
            (Marched::Host(Arc::new(lit)), cost)
        }
        (samples, _) => (samples, all),
    }
}

/// A shift of each ray's samples, in `[0, 1)` of a step.
pub(crate) fn jitter(n: usize, seed: u64, step: u32) -> Vec<f32> {
    let mut rng = Rng::at(seed, "jitter", u64::from(step));
    (0..n).map(|_| rng.uniform()).collect()
}

/// `rgb + (1 − alpha) · backdrop` of `pixels` `[n, 5]` with a backdrop for each, `[n, 3]`.
pub(crate) fn fill(pixels: Tensor<2>, backdrop: &[f32]) -> Tensor<2> {
    let n = pixels.dims()[0];
    let device = pixels.device();
    let clear = pixels.clone().slice([0..n, 3..4]).neg().add_scalar(1.0);
    pixels.slice([0..n, 0..3]) + clear * tensor(backdrop.to_vec(), [n, 3], &device)
}
