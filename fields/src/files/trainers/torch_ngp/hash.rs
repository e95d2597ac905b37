//! A hash grid of torch-ngp's `gridencoder`, and two networks without biases, as a `hash` field.
//!
//! The grid is Instant-NGP's but for two things: a dense level has `(R + 1)³` entries and not `R³`, so that cells at the far
//! faces have corners of their own, and the ratio of neighbouring resolutions is rounded once, from double precision:
//! `log₂ b = log₂(finest / 16) / (L − 1)`. With both said in the configuration the table is the file's, entry for entry.
//!
//! `log σ, latent = sigma_net(encode((x + bound) / 2 bound))`; `rgb = sigmoid(color_net([SH(d), latent]))`.

use serde_json::json;

use super::{Model, PVD_RANGE, WHOLE_RANGE, parts, volume, with};
use crate::error::{Error, Result};
use crate::files::trainers::assembly::{ANY, Parts, flat, hidden};
use crate::files::trainers::torch::first_of;
use crate::ops::hash_encode::spec::{HashConfig, HashSpec};

/// Resolution of the coarsest level, and of the finest for a box of half-size 1.
const COARSEST: u32 = 16;
const FINEST: f32 = 2048.0;
/// Levels of PVD's grids; torch-ngp's have 16.
const PVD_LEVELS: usize = 14;

pub(super) fn read(model: &mut Model<'_, '_, '_>) -> Result<Parts> {
    let offsets = model.weights.whole("encoder.offsets")?;
    let &[entries, features] = model.weights.expect("encoder.embeddings", &[ANY, ANY])?.shape.as_slice() else {
        return Err(Error::new("\"encoder.embeddings\" is no matrix"));
    };
    let finest = FINEST * model.bound;
    let spec = grid(&offsets, features, finest)?;
    let table = model.weights.take("encoder.embeddings", &[spec.entries(), features])?;
    let (sigma, latent) = model.sigma(spec.out_dim())?;
    let colour = model.colour(latent)?;
    let pvd = spec.levels().len() == PVD_LEVELS;
    let range = if pvd { PVD_RANGE } else { WHOLE_RANGE };
    let trainer = if pvd { "PVD" } else { "torch-ngp" };
    model.notes.insert(0, format!("a hash grid of {trainer}, as it is known by its {} levels", spec.levels().len()));
    if pvd {
        model.notes.push("its log-density is clamped to -2 to 7, PVD's usual range".into());
    }
    let bounds = model.cube();
    let (occupancy, cells) = model.occupancy(bounds)?;
    let HashConfig { log2_table_size, log2_growth, .. } = *spec.config();
    let config = json!({
        "kind": "hash",
        "levels": spec.levels().len(),
        "features": features,
        "log2_table_size": log2_table_size,
        "base_resolution": COARSEST,
        "finest_resolution": finest as u32,
        "log2_growth": log2_growth,
        "far_points": true,
        "sigma_hidden": hidden(&sigma),
        "volume": with(volume(range, cells), json!({ "latent": latent, "colour_hidden": hidden(&colour) })),
    });
    let tensors = vec![("table", [entries, features], table), flat("sigma_net", &sigma), flat("colour_net", &colour)];
    Ok(parts(bounds, config, tensors, occupancy, trainer))
}

/// The grid whose levels begin at these entries.
fn grid(offsets: &[i64], features: usize, finest: f32) -> Result<HashSpec> {
    let unknown = || {
        let offsets = first_of(offsets);
        let what =
            format!("its hash grid's levels begin at {offsets}, not where those of resolutions 16 to {finest} do");
        Error::new(what).remedy("train it with torch-ngp's usual hashgrid")
    };
    let levels = offsets.len().saturating_sub(1);
    if !(2..=32).contains(&levels) || finest.fract() != 0.0 || !(16.0..=65_536.0).contains(&finest) {
        return Err(unknown());
    }
    let log2_growth = (f64::from(finest) / f64::from(COARSEST)).log2() / (levels - 1) as f64;
    // The most entries of a level are not written down; every level has them, or its own number.
    let spec = (8..=24).find_map(|log2_table_size| {
        let config = HashConfig {
            levels,
            features,
            log2_table_size,
            base_resolution: COARSEST,
            growth: log2_growth.exp2() as f32,
            log2_growth: Some(log2_growth as f32),
            far_points: true,
        };
        let spec = HashSpec::from_config(config).ok()?;
        let ends = spec.levels().iter().map(|level| (level.offset + level.size) as i64);
        [0].into_iter().chain(ends).eq(offsets.iter().copied()).then_some(spec)
    });
    spec.ok_or_else(unknown)
}
