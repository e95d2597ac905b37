//! Planes and lines of torch-ngp's `tensoRF` and of PVD's `vm`, as a `vm` field.
//!
//! `sigma_mat.i` `[1, R, b, a]` and `sigma_vec.i` `[1, R, n, 1]` are `TensoRF`'s factors, `σ = exp(f)`; the colour network has
//! no biases and sees `[SH(d), latent]` (PVD) or, of both latent and direction, the value and two octaves of waves
//! (torch-ngp). Positions are measured in `aabb_train`.

use serde_json::json;

use super::{Model, PVD_RANGE, WHOLE_RANGE, check_colour, parts, volume, with};
use crate::error::Result;
use crate::files::trainers::assembly::{Matrix, Parts, SH, flat, hidden};
use crate::files::trainers::factors::{self, Names};
use crate::ops::factors::Form;
use crate::rng::Rng;

/// Grid points at which the clip of PVD's features is looked for.
const PROBES: usize = 4096;

pub(super) fn read(model: &mut Model<'_, '_, '_>) -> Result<Parts> {
    let edge = |name: &str, axis: usize| model.weights.shape(name).and_then(|s| s.get(axis).copied()).unwrap_or(0);
    // Lines z, y, x.
    let resolution = [2, 1, 0].map(|i| edge(&format!("sigma_vec.{i}"), 2) as u32);
    let latent = edge("basis_mat.weight", 0);
    let names = [Names { plane: "sigma_mat", line: "sigma_vec" }, Names { plane: "color_mat", line: "color_vec" }];
    let made = factors::read(&mut model.weights, Form::Planes, names, resolution, latent)?;
    let mut colour = model.weights.network("color_net", 1, false)?;
    let pvd = colour[0].0.columns == latent + SH;
    if pvd {
        colour = model.colour(latent)?;
    } else {
        check_colour(&colour, 5 * (latent + 3))?;
        colour[0].0 = colour[0].0.rearranged(&waves(latent));
        // The field's network has biases there.
        colour.iter_mut().for_each(|(matrix, bias): &mut (Matrix, Vec<f32>)| *bias = vec![0.0; matrix.rows]);
    }
    let (trainer, range) = if pvd { ("PVD", PVD_RANGE) } else { ("torch-ngp", WHOLE_RANGE) };
    model.notes.insert(0, format!("planes and lines of {trainer}"));
    if pvd {
        model.notes.push("its log-density is clamped to -2 to 7, PVD's usual range".into());
        let beyond = made.beyond(PVD_RANGE, PROBES, &mut Rng::new(0, "probes of planes"));
        if beyond > 0.0 {
            let percent = (100.0 * beyond).max(0.1);
            model.notes.push(format!(
                "while it distils, PVD clips colour features to that range as well, which is not done here: at {percent:.1} % \
                 of the grid points where there is anything one of them lies outside"
            ));
        }
    }
    let bounds = model.grid_box()?;
    let (occupancy, cells) = model.occupancy(bounds)?;
    let encoding = if pvd { "sh" } else { "fourier" };
    let more = json!({ "latent": latent, "colour_hidden": hidden(&colour), "colour_encoding": encoding });
    let config = json!({
        "kind": "vm",
        "resolution": resolution,
        "sigma_rank": made.spec.sigma_rank,
        "app_rank": made.spec.app_rank,
        "density": "exp",
        "density_shift": 0.0,
        "density_scale": 1.0,
        "volume": with(volume(range, cells), more),
    });
    let tensors = made.tensors().into_iter().chain([flat("colour_net", &colour)]).collect();
    Ok(parts(bounds, config, tensors, occupancy, trainer))
}

/// Where the columns of `[f, d, waves of f, waves of d]` stand in `[f, waves of f, d, waves of d]`; the waves of both are
/// `sin, cos, sin 2, cos 2`.
fn waves(latent: usize) -> Vec<Option<usize>> {
    let direction = 5 * latent;
    let parts = [0..latent, direction..direction + 3, latent..direction, direction + 3..direction + 15];
    parts.into_iter().flatten().map(Some).collect()
}
