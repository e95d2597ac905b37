//! Checkpoints of torch-ngp (github.com/ashawkey/torch-ngp) and of progressive volume distillation, which is built on it
//! (Fang et al. 2023, github.com/megvii-research/AAAI2023-PVD): `.pth`.
//!
//! `model` is a `state_dict`; which network it is of shows in its names: a hash grid ([`hash`], `encoder.embeddings`), planes
//! and lines ([`planes`], `sigma_mat.i`), a deep network ([`network`], `nerf_mlp.i`), a voxel grid ([`voxels`],
//! `tensor_volume.0`). Common to them are the box `aabb_infer`, `±bound`, and the occupancy `density_bitfield`: cascades of
//! `128³` bits in Morton order, cascade `c` over `±min(2ᶜ, bound)`.
//!
//! The axes and units are the file's own: the trainers swap the photos' x, y, z to z, x, y of theirs and scale them by a
//! number that is not in the file. Hash functions do not turn, so +Y stays up.

mod hash;
mod network;
mod planes;
#[cfg(test)]
mod tests;
mod voxels;

use std::collections::HashMap;

use glam::Vec3;
use retort_shaders::Aabb;
use serde_json::{Value as Json, json};

use super::assembly::{Layers, Parts, Place, SH, Tensor, Weights, occupancy, reached, touched};
use super::torch::{Checkpoint, TensorRef, Value};
use crate::error::{Error, Result};
use crate::files::archive::Archive;
use crate::files::splats::Source;
use crate::parts::occupancy::Occupancy;

/// Samples along the diagonal of the unit box, `max_steps` of both.
const SAMPLES: u32 = 1024;
/// What PVD clamps log-densities to, unless it was told otherwise.
const PVD_RANGE: [f32; 2] = [-2.0, 7.0];
/// The widest range there is.
const WHOLE_RANGE: [f32; 2] = [-30.0, 15.0];
/// What a `state_dict` has beside parameters.
const BUFFERS: &[&str] = &[
    "aabb_train",
    "aabb_infer",
    "density_grid",
    "density_bitfield",
    "step_counter",
    "encoder.offsets",
    "encoder_bg.offsets",
];

/// Whether a checkpoint is one of these.
pub(super) fn recognises(root: Value<'_>) -> bool {
    let state = state_of(root);
    let has = |name: &str| state.get(name).is_some();
    (has("aabb_infer") || has("aabb_train"))
        && [
            "encoder.embeddings",
            "encoder.params",
            "sigma_mat.0",
            "nerf_mlp.0.weight",
            "tensor_volume.0",
            "sigma_net.weights",
        ]
        .iter()
        .any(|name| has(name))
}

/// The field, and what a person should know of it.
///
/// # Errors
/// When the file is damaged, or the model is one that no kind can hold; the message names it.
pub(super) fn read(file: &Checkpoint, source: &mut Source<'_>) -> Result<(Archive, Vec<String>)> {
    let mut notes = Vec::new();
    let tensors = named(file.root(), &mut notes);
    let mut model = Model { weights: Weights { file, source, tensors }, bound: 0.0, notes };
    model.bound = model.bound()?;
    let has = |name: &str| model.weights.has(name);
    if has("bg_net.0.weight") {
        model.notes.push("its background network was left out".into());
    }
    let parts = if has("encoder.params") {
        return Err(fused("--tcnn"));
    } else if has("sigma_net.weights") {
        return Err(fused("--ff"));
    } else if has("nerf_mlp.0.weight") {
        network::read(&mut model)?
    } else if has("tensor_volume.0") {
        voxels::read(&mut model)?
    } else if has("sigma_mat.0") {
        planes::read(&mut model)?
    } else {
        hash::read(&mut model)?
    };
    let steps = file.root().get("global_step").and_then(Value::count).unwrap_or(0);
    model.notes.push(
        "it is in the trainer's own axes, with +Y up, and its scale to the photos is not in the file: turn it in a project"
            .into(),
    );
    Ok((Parts { steps, ..parts }.archive(), model.notes))
}

/// The `state_dict`, which may stand alone.
fn state_of(root: Value<'_>) -> Value<'_> {
    root.get("model").unwrap_or(root)
}

fn fused(option: &str) -> Error {
    Error::new(format!("it was trained with {option}: the weights are in a fused library's own order"))
        .remedy(format!("train it without {option}"))
}

/// A model on its way to a field.
struct Model<'a, 'f, 's> {
    weights: Weights<'a, 'f, 's>,
    /// Half the edge of the box.
    bound: f32,
    notes: Vec<String>,
}

/// The tensors by name: the running averages of the parameters where the file has them, with which torch-ngp renders.
fn named<'a>(root: Value<'a>, notes: &mut Vec<String>) -> HashMap<String, &'a TensorRef> {
    let mut tensors: Vec<(&str, &TensorRef)> =
        state_of(root).entries().filter_map(|(name, value)| Some((name, value.tensor()?))).collect();
    if let Some(averages) = root.get("ema").and_then(|ema| ema.get("shadow_params")) {
        let averages: Vec<&TensorRef> = averages.items().filter_map(Value::tensor).collect();
        // They have no names, but the order of the parameters.
        let of: Vec<usize> = (0..tensors.len()).filter(|i| !BUFFERS.contains(&tensors[*i].0)).collect();
        if of.len() == averages.len() && of.iter().zip(&averages).all(|(i, a)| tensors[*i].1.shape == a.shape) {
            of.iter().zip(averages).for_each(|(i, average)| tensors[*i].1 = average);
            notes.push("its running averages (EMA) were read, with which its trainer renders".into());
        } else {
            notes.push("its running averages (EMA) do not fit the model and were left out".into());
        }
    }
    tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect()
}

/// A box `[x, y, z, x, y, z]`.
fn corners(values: &[f32]) -> Option<[Vec3; 2]> {
    let (low, high) = (Vec3::from_slice(values.get(..3)?), Vec3::from_slice(values.get(3..6)?));
    (low.is_finite() && high.is_finite() && high.cmpgt(low).all()).then_some([low, high])
}

impl Model<'_, '_, '_> {
    fn bad_box(name: &str) -> Error {
        Error::new(format!("its \"{name}\" is no box")).remedy("the file is damaged: copy or download it again")
    }

    /// Half the edge of the cube around the origin that all is in.
    fn bound(&mut self) -> Result<f32> {
        let name = if self.weights.has("aabb_infer") { "aabb_infer" } else { "aabb_train" };
        let values = self.weights.take(name, &[6])?;
        let [low, high] = corners(&values).ok_or_else(|| Self::bad_box(name))?;
        if low != -high || high != Vec3::splat(high.x) || !(1e-3..=1e3).contains(&high.x) {
            return Err(Error::new(format!("its box {low} to {high} (aabb_infer) is no cube around the origin"))
                .remedy("save the model before its box is cropped"));
        }
        Ok(high.x)
    }

    /// The box that positions are measured in by grids: smaller once a model was shrunk.
    fn grid_box(&mut self) -> Result<Aabb> {
        let name = if self.weights.has("aabb_train") { "aabb_train" } else { "aabb_infer" };
        let values = self.weights.take(name, &[6])?;
        let [min, max] = corners(&values).ok_or_else(|| Self::bad_box(name))?;
        Ok(Aabb { min, max })
    }

    /// The cube that all is in.
    fn cube(&self) -> Aabb {
        Aabb::cube(self.bound)
    }

    /// The occupancy over `bounds`, where the file has any, and its cells along an edge.
    fn occupancy(&mut self, bounds: Aabb) -> Result<(Option<Occupancy>, u32)> {
        const USUAL: u32 = 128;
        let Some(&[bytes]) = self.weights.shape("density_bitfield") else { return Ok((None, USUAL)) };
        let cascades = 1 + (self.bound.log2().ceil().max(0.0) as usize);
        let cells = bytes.saturating_mul(8) / cascades;
        let Some(edge) = [16_usize, 32, 64, 128, 256, 512].into_iter().find(|edge| edge.pow(3) == cells) else {
            self.notes.push("its occupancy is of an unknown shape and was left out".into());
            return Ok((None, USUAL));
        };
        let bits = self.weights.whole("density_bitfield")?;
        let mut set = vec![false; cells];
        for (cascade, bits) in bits.chunks_exact(cells / 8).enumerate() {
            let half = self.bound.min((cascade as f32).exp2());
            let own: Vec<bool> = (0..cells)
                .map(|cell| {
                    let at = morton(cell % edge, cell / edge % edge, cell / edge / edge);
                    bits[at / 8] >> (at % 8) & 1 == 1
                })
                .collect();
            let touched = [0, 1, 2].map(|a| touched(edge, [bounds.min[a], bounds.max[a]], edge, [-half, half]));
            set.iter_mut().zip(reached(&own, [edge; 3], &touched)).for_each(|(cell, own)| *cell |= own);
        }
        Ok((Some(occupancy(edge, bounds, &set)?), edge as u32))
    }

    /// The colour network that sees `[SH(d), latent]`, and here `[latent, SH(d)]`; no biases.
    fn colour(&mut self, latent: usize) -> Result<Layers> {
        let mut layers = self.weights.network("color_net", 1, false)?;
        let first = &layers[0].0;
        check_colour(&layers, latent + SH)?;
        let from: Vec<_> = (SH..SH + latent).chain(0..SH).map(Some).collect();
        layers[0].0 = first.rearranged(&from);
        Ok(layers)
    }

    /// The density network: its layers, and the width of the latent that it gives beside the log-density.
    fn sigma(&mut self, input: usize) -> Result<(Layers, usize)> {
        let layers = self.weights.network("sigma_net", 1, false)?;
        let (seen, given) = (layers[0].0.columns, layers.last().map_or(0, |(matrix, _)| matrix.rows));
        if seen != input || !(2..=256).contains(&given) {
            let what = format!("its density network sees {seen} values and gives {given}; {input} are given to it");
            return Err(Error::new(what).remedy("the file is damaged, or of a changed version of the trainer"));
        }
        Ok((layers, given - 1))
    }
}

/// Compares a colour network's ends with what is given to it and wanted of it.
fn check_colour(layers: &Layers, seen: usize) -> Result<()> {
    let (first, last) = (layers[0].0.columns, layers.last().map_or(0, |(matrix, _)| matrix.rows));
    if (first, last) == (seen, 3) {
        return Ok(());
    }
    let what = format!("its colour network sees {first} values and gives {last}, not {seen} and 3");
    Err(Error::new(what).remedy("the file is damaged, or of a changed version of the trainer"))
}

/// What every volume's configuration has beside its network.
fn volume(range: [f32; 2], cells: u32) -> Json {
    json!({
        "log_sigma_range": range,
        "occupancy_resolution": cells,
        "samples_per_diagonal": SAMPLES,
        "cone_angle": 0.0,
    })
}

/// Parts of a field that lies where the file says.
fn parts(
    bounds: Aabb,
    config: Json,
    tensors: Vec<Tensor>,
    occupancy: Option<Occupancy>,
    trainer: &'static str,
) -> Parts {
    // Of a photo's position (x, y, z) the trainers make (y, z, x).
    let place = Place { bounds, scale: 1.0, rotation: [-0.5, -0.5, -0.5, 0.5], translation: Vec3::ZERO };
    Parts { config, place, tensors, occupancy, trainer, steps: 0 }
}

/// `into` with the keys of `more`.
fn with(mut into: Json, more: Json) -> Json {
    if let (Some(into), Json::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
    into
}

/// Morton's index of a cell: the bits of x, y and z in turn, x lowest.
fn morton(x: usize, y: usize, z: usize) -> usize {
    let spread = |v: usize| (0..9).fold(0, |all, bit| all | (v >> bit & 1) << (3 * bit));
    spread(x) | spread(y) << 1 | spread(z) << 2
}
