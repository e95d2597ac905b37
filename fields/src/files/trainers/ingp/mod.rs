//! Snapshots of instant-ngp (Müller et al., "Instant Neural Graphics Primitives with a Multiresolution Hash Encoding", 2022):
//! `.ingp` (`MessagePack` within gzip or zlib) and `.msgpack` (plain). Read to the same function, and written.
//!
//! The root is the configuration of the networks (`encoding`, `network`, `dir_encoding`, `rgb_network`) and `snapshot`:
//!
//! - `params_binary`, `n_params` values of `params_type` (`__half` or `float`): density network, colour network, hash grid.
//!   A network is `tiny-cuda-nn`'s: matrices `[out, in]`, row-major, no biases, a rectifier between; inputs and outputs are
//!   padded (see [`nets`]). The grid is laid out as [`crate::ops::hash_encode::spec`] has it.
//! - `density_grid_binary`, half: the optical thickness of the least step, `128³` cells for each cascade, see [`grid`].
//! - `nerf.dataset`: scale and offset from the photos' coordinates, their poses, `aabb_scale`, see [`place`].
//!
//! There `[log σ, 15 more] = density(grid(x))` and `rgb = sigmoid(colour([log σ, 15 more, SH₄(d)]))`: the colour network sees
//! the density as well. A [`crate::kinds::hash`] has its latent beside the density, so that row of the last matrix is there
//! twice, and all is as it was.
//!
//! `σ` counts per unit of instant-ngp, and without biases no factor can be put into a network: a scene of such a field
//! has that unit, and its box is `[-aabb_scale / 2, aabb_scale / 2]³`. Its axes are instant-ngp's (+Y up), because a hash is
//! not the same after its axes are exchanged; `scene_from_dataset` has the turn.
//!
//! The ending `.ingp` is also that of Gaussians from 3DGRUT, see [`gaussians`].

mod file;
mod gaussians;
mod grid;
mod nets;
mod place;
mod plan;
#[cfg(test)]
mod tests;
mod write;

pub use write::{write, write_plain};

use serde_json::json;

use super::super::archive::Archive;
use super::super::field::{Provenance, VERSION};
use super::super::splats::Source;
use super::Held;
use crate::error::{Error, Result};
use crate::kinds::hash::HashConfig;
use crate::parts::core::{ColourEncoding, VolumeConfig};
use crate::registry::FieldConfig;
use file::{Root, Snapshot};
use plan::Plan;

/// What the log-density of a field of ours is held to, as wide as it may be: instant-ngp does not hold it.
const LOG_SIGMA_RANGE: [f32; 2] = [-30.0, 15.0];

/// Whether a file that begins with `head` may be one.
pub fn recognises(head: &[u8]) -> bool {
    let plain = file::begin(head);
    let says = |word: &str| plain.windows(word.len()).any(|at| at == word.as_bytes());
    let is_map = plain.first().is_some_and(|marker| matches!(marker, 0x80..=0x8f | 0xde | 0xdf));
    is_map && (says("mog_positions") || (says("encoding") && says("otype")))
}

/// Reads a file: the field, or the Gaussians of 3DGRUT; and what a person should know of it.
///
/// Memory is bounded by what comes out of the compression (at most 64 MiB and 32 times the file) and three times that.
///
/// # Errors
/// When it is cut short or damaged, is no radiance field (instant-ngp also keeps pictures and distances), has networks,
/// encodings or activations that a hash field has not, or a number of parameters that its networks do not add up to.
pub fn read(source: &mut Source<'_>) -> Result<(Held, Vec<String>)> {
    let bytes = file::inflated(source)?;
    let root: Root<'_> = file::parse(&bytes)?;
    if root.mog_num.is_some() || root.mog_positions.is_some() {
        return Ok((Held::Gaussians(gaussians::read(&root)?), Vec::new()));
    }
    let (archive, notes) = field(&root)?;
    Ok((Held::Field(Box::new(archive)), notes))
}

/// The snapshot, if it is one that holds a radiance field.
fn snapshot<'a>(root: &'a Root<'a>) -> Result<&'a Snapshot<'a>> {
    let snapshot = root.snapshot.as_ref().ok_or_else(|| {
        Error::new("it holds a configuration of instant-ngp, but no snapshot").remedy("save a snapshot in instant-ngp")
    })?;
    if snapshot.version.unwrap_or(0) < 1 {
        return Err(Error::new(
            "snapshot.version: a snapshot of an old instant-ngp, which newer ones do not read either",
        )
        .remedy("train again with a newer instant-ngp"));
    }
    match snapshot.mode {
        Some(mode) if !mode.eq_ignore_ascii_case("nerf") => {
            let what = format!("snapshot.mode: a snapshot of mode \"{mode}\", not of a radiance field");
            Err(Error::new(what).remedy("give a snapshot of mode nerf"))
        }
        None if snapshot.nerf.is_none() => Err(Error::new("snapshot.mode is missing").remedy("save it again")),
        _ => Ok(snapshot),
    }
}

fn field(root: &Root<'_>) -> Result<(Archive, Vec<String>)> {
    let snapshot = snapshot(root)?;
    let place = place::Place::of(snapshot)?;
    let plan = Plan::of(root, &place)?;
    let params = nets::Params::of(snapshot, &plan)?;
    let mut notes = Vec::new();
    let occupancy = grid::occupancy(snapshot, &place, &mut notes)?;
    if place.turned {
        notes.push("its axes are instant-ngp's, where +Y is up".into());
    }
    let config = FieldConfig::Hash(config(&plan, &place, occupancy.resolution()));
    let made = Provenance {
        made_by: "instant-ngp".into(),
        from: "a snapshot of instant-ngp".into(),
        steps: snapshot.training_step.unwrap_or(0).min(u64::from(u32::MAX)) as u32,
        ..Provenance::default()
    };
    let [sigma_net, colour_net, table] = params.into_parts(&plan)?;
    let [sigmas, colours, entries] = [sigma_net.len(), colour_net.len(), plan.hash.entries()];
    let archive = Archive {
        json: json!({"version": VERSION, "config": config, "scene": place.scene(snapshot), "provenance": made}),
        tensors: vec![
            ("table".into(), [entries, plan.hash.features()], table),
            ("sigma_net".into(), [1, sigmas], sigma_net),
            ("colour_net".into(), [1, colours], colour_net),
        ],
        bytes: vec![("extra.occupancy".into(), occupancy.to_bytes_compact())],
    };
    Ok((archive, notes))
}

fn config(plan: &Plan, place: &place::Place, occupancy_resolution: u32) -> HashConfig {
    let hash = plan.hash.config();
    HashConfig {
        levels: hash.levels,
        features: hash.features,
        log2_table_size: hash.log2_table_size,
        base_resolution: hash.base_resolution,
        finest_resolution: plan.finest,
        log2_growth: hash.log2_growth,
        far_points: false,
        sigma_hidden: vec![plan.sigma.width; plan.sigma.hidden],
        volume: VolumeConfig {
            latent: plan.sigma.output,
            colour_hidden: vec![plan.colour.width; plan.colour.hidden],
            log_sigma_range: LOG_SIGMA_RANGE,
            occupancy_resolution,
            // The least step there is √3 / 1024. In larger boxes it grows with the distance, which this kind has not: a
            // step between the two.
            samples_per_diagonal: (8192 / place.aabb_scale).clamp(512, 2048),
            cone_angle: 0.0,
            colour_encoding: ColourEncoding::Sh,
        },
    }
}
