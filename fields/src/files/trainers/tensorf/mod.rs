//! `TensoRF`'s checkpoints (Chen, Xu, Geiger, Yu, Su: `TensoRF`, ECCV 2022; `.th` of github.com/apchenstu/TensoRF):
//! `TensorVMSplit` as `vm`, `TensorCP` as `cp`.
//!
//! `kwargs` says the shape, `state_dict` has the factors `{density,app}_{plane,line}.i` (`[1, R, y, x]` and `[1, R, n, 1]`;
//! planes xy, xz, yz, lines z, y, x; grid points on the faces of the box), `basis_mat.weight` and `renderModule.mlp.{0,2,4}`;
//! `alphaMask.*` the points, bit by bit, around which there is anything. With `h` the box's longest half edge,
//! `σ = distance_scale · softplus(f + density_shift)` per unit of the photos is `h` times that per scene unit.

#[cfg(test)]
mod tests;

use std::ops::Range;

use glam::Vec3;
use retort_shaders::Aabb;
use serde_json::json;

use super::assembly::{Layers, Parts, Place, Weights, flat, hidden, occupancy, reached, touched};
use super::factors::{self, Names};
use super::torch::{Checkpoint, Dtype, Value, shown};
use crate::error::{Error, Result};
use crate::files::archive::Archive;
use crate::files::splats::Source;
use crate::ops::factors::Form;
use crate::parts::occupancy::Occupancy;

/// Cells of the occupancy grid along an edge.
const CELLS: usize = 128;
/// The remedy where a field cannot be held.
const CONVERT: &str = "render its views with TensoRF and train from those";

/// Whether a checkpoint is one of `TensoRF`'s.
pub(super) fn recognises(root: Value<'_>) -> bool {
    root.get("kwargs").is_some_and(|k| k.get("gridSize").is_some()) && root.get("state_dict").is_some()
}

/// The field, and what a person should know of it.
///
/// # Errors
/// When the file is damaged, or the model is one that `vm` and `cp` cannot hold; the message names the setting.
pub(super) fn read(file: &Checkpoint, source: &mut Source<'_>) -> Result<(Archive, Vec<String>)> {
    let root = file.root();
    let about = About::of(file, source)?;
    let state = root.get("state_dict").ok_or_else(|| missing("state_dict"))?;
    let tensors = state.entries().filter_map(|(name, value)| Some((name.to_string(), value.tensor()?))).collect();
    let mut weights = Weights { file, source, tensors };
    let form = form_of(&weights)?;
    let mut notes = vec![format!("a TensoRF {} model", if form == Form::Planes { "VM" } else { "CP" })];
    let names =
        [Names { plane: "density_plane", line: "density_line" }, Names { plane: "app_plane", line: "app_line" }];
    let made = factors::read(&mut weights, form, names, about.resolution, about.latent)?;
    let colour = colour(&mut weights, &about)?;
    let grid = match root.get("alphaMask.mask") {
        Some(mask) if !mask.is_none() => masked(&about, &mut weights, root)?,
        _ => unmasked(&about)?,
    };
    if made.filled_up {
        notes.push("its axes have different ranks: they were filled up with zeros".into());
    }
    let config = json!({
        "kind": if form == Form::Planes { "vm" } else { "cp" },
        "resolution": about.resolution,
        "bounds": about.scene_box(),
        "sigma_rank": made.spec.sigma_rank,
        "app_rank": made.spec.app_rank,
        "density": "softplus",
        "density_shift": about.shift,
        "density_scale": about.scale,
        "volume": {
            "latent": about.latent,
            "colour_hidden": hidden(&colour),
            "log_sigma_range": [-30.0, 15.0],
            "occupancy_resolution": CELLS,
            "samples_per_diagonal": about.samples(),
            "cone_angle": 0.0,
            "colour_encoding": "fourier",
        },
    });
    let tensors = made.tensors().into_iter().chain([flat("colour_net", &colour)]).collect();
    let parts = Parts { config, place: about.place(), tensors, occupancy: Some(grid), trainer: "TensoRF", steps: 0 };
    Ok((parts.archive(), notes))
}

fn missing(name: &str) -> Error {
    Error::new(format!("a checkpoint of TensoRF without \"{name}\"")).remedy("the file is incomplete")
}

/// What `kwargs` says.
struct About {
    /// Lower and upper corner, photos' units.
    aabb: [Vec3; 2],
    /// Grid points along each axis.
    resolution: [u32; 3],
    /// Width of the appearance feature.
    latent: usize,
    /// Added to the density feature.
    shift: f32,
    /// What the softplus is multiplied with, per scene unit.
    scale: f32,
    /// Length of a step in cells.
    step: f32,
    /// Octaves of the encodings of direction and feature.
    octaves: [usize; 2],
}

impl About {
    fn of(file: &Checkpoint, source: &mut Source<'_>) -> Result<Self> {
        let kwargs = file.root().get("kwargs").ok_or_else(|| missing("kwargs"))?;
        let value = |name: &str| kwargs.get(name).ok_or_else(|| missing(&format!("kwargs.{name}")));
        let bad = |name: &str| missing(&format!("a usable kwargs.{name}"));
        let number = |name: &str| value(name)?.number().filter(|v| v.is_finite()).ok_or_else(|| bad(name));
        let count = |name: &str| value(name)?.count().ok_or_else(|| bad(name));
        let refused = |setting: String| Err(Error::new(setting).remedy(CONVERT));

        let corners = value("aabb")?.tensor().filter(|t| t.shape == [2, 3]).ok_or_else(|| bad("aabb"))?;
        let corners = file.read_f32(source, corners)?;
        let aabb = [Vec3::from_slice(&corners), Vec3::from_slice(&corners[3..])];
        let size = aabb[1] - aabb[0];
        if !(aabb[0].is_finite() && size.is_finite() && size.cmpgt(Vec3::ZERO).all()) {
            return Err(bad("aabb"));
        }
        let grid: Option<Vec<u32>> =
            value("gridSize")?.items().map(|n| n.count().and_then(|n| u32::try_from(n).ok())).collect();
        let resolution = grid.and_then(|g| <[u32; 3]>::try_from(g).ok()).ok_or_else(|| bad("gridSize"))?;
        match value("fea2denseAct")?.text().ok_or_else(|| bad("fea2denseAct"))? {
            "softplus" => {}
            other => {
                let other = shown(other);
                return refused(format!("its density is activated by \"{other}\" (fea2denseAct), not by softplus"));
            }
        }
        if value("near_far")?.numbers().is_some_and(|range| range == [0.0, 1.0]) {
            return refused(
                "it is a forward-facing scene in normalised device coordinates (near_far is 0 to 1)".into(),
            );
        }
        let shading = value("shadingMode")?.text().ok_or_else(|| bad("shadingMode"))?;
        let octaves = match shading {
            "MLP_Fea" => [count("view_pe")?, count("fea_pe")?],
            "MLP" => [count("view_pe")?, 0],
            "MLP_PE" => return refused("its colours depend on positions (shadingMode is MLP_PE)".into()),
            "SH" | "RGB" => return refused(format!("its colours come without a network (shadingMode is {shading})")),
            other => return refused(format!("its shadingMode is \"{}\", which is not known", shown(other))),
        };
        if let Some(octaves) = octaves.iter().find(|octaves| **octaves > 2) {
            return refused(format!(
                "its colours see {octaves} octaves of waves (view_pe, fea_pe), and here there are 2"
            ));
        }
        let half = 0.5 * size.max_element();
        Ok(Self {
            aabb,
            resolution,
            latent: count("app_dim")?,
            shift: number("density_shift")? as f32,
            scale: number("distance_scale")? as f32 * half,
            step: number("step_ratio").unwrap_or(0.5) as f32,
            octaves,
        })
    }

    fn size(&self) -> Vec3 {
        self.aabb[1] - self.aabb[0]
    }

    /// Photos' units per scene unit.
    fn half(&self) -> f32 {
        0.5 * self.size().max_element()
    }

    fn centre(&self) -> Vec3 {
        0.5 * (self.aabb[0] + self.aabb[1])
    }

    fn place(&self) -> Place {
        Place {
            bounds: Aabb::cube(1.0),
            scale: 1.0 / self.half(),
            rotation: [0.0, 0.0, 0.0, 1.0],
            translation: -self.centre() / self.half(),
        }
    }

    /// The box in scene units.
    fn scene_box(&self) -> [[f32; 3]; 2] {
        self.aabb.map(|corner| ((corner - self.centre()) / self.half()).to_array())
    }

    /// Samples along the diagonal of the scene's box that make steps as long as the trainer's.
    fn samples(&self) -> u32 {
        let cells = Vec3::from_array(self.resolution.map(|r| (r - 1) as f32));
        let step = (self.size() / cells).element_sum() / 3.0 * self.step / self.half();
        // A step of 0 or below becomes the finest there is.
        let samples = 2.0 * 3.0_f32.sqrt() / step.max(1e-6);
        (samples.round() as u32).clamp(16, 16_384)
    }
}

fn form_of(weights: &Weights<'_, '_, '_>) -> Result<Form> {
    match (weights.has("density_plane.0"), weights.has("density_line.0")) {
        (true, true) => Ok(Form::Planes),
        (false, true) => Ok(Form::Lines),
        _ if weights.has("plane_coef") => Err(Error::new("its planes are of the model TensorVM, in one tensor")
            .remedy("train it as TensorVMSplit, as TensoRF's own configurations do")),
        _ => Err(missing("density_line.0")),
    }
}

/// The colour network, which sees `[f, d, γ(f), γ(d)]` with `γ` all sines (of each value its octaves) and then all cosines,
/// and here `[f, d, sin f, cos f, sin 2f, cos 2f, sin d, cos d, sin 2d, cos 2d]`.
fn colour(weights: &mut Weights<'_, '_, '_>, about: &About) -> Result<Layers> {
    let mut layers = weights.network("renderModule.mlp", 2, true)?;
    let (latent, [of_view, of_feature]) = (about.latent, about.octaves);
    let seen = (latent + 3) + 2 * (latent * of_feature + 3 * of_view);
    let (first, last) = (&layers[0].0, layers.last().map_or(0, |(matrix, _)| matrix.rows));
    if first.columns != seen || last != 3 {
        let what = format!("its colour network sees {} values and gives {last}, not {seen} and 3", first.columns);
        return Err(Error::new(what).remedy("the file is damaged, or of a changed version of TensoRF"));
    }
    let mut from: Vec<Option<usize>> = (0..latent + 3).map(Some).collect();
    let mut start = latent + 3;
    for (width, octaves) in [(latent, of_feature), (3, of_view)] {
        for octave in 0..2 {
            for cosine in 0..2 {
                let wave = |i: usize| start + cosine * width * octaves + i * octaves + octave;
                from.extend((0..width).map(|i| (octave < octaves).then(|| wave(i))));
            }
        }
        start += 2 * width * octaves;
    }
    layers[0].0 = first.rearranged(&from);
    Ok(layers)
}

/// The cells of the scene that the box touches.
fn unmasked(about: &About) -> Result<Occupancy> {
    let [low, high] = about.scene_box();
    let touched = [0, 1, 2].map(|a| touched(CELLS, [-1.0, 1.0], 1, [low[a], high[a]]));
    occupancy(CELLS, Aabb::cube(1.0), &reached(&[true], [1; 3], &touched))
}

/// The cells of the scene that touch a cell of the mask with a corner that is set, and the box.
fn masked(about: &About, weights: &mut Weights<'_, '_, '_>, root: Value<'_>) -> Result<Occupancy> {
    let bad = || missing("a usable alphaMask");
    // Of the array: z, y, x.
    let shape = root.get("alphaMask.shape").and_then(Value::numbers).ok_or_else(bad)?;
    let shape: Vec<usize> = shape.iter().rev().map(|n| *n as usize).collect();
    let (&[x, y, z], beyond) = shape.split_first_chunk::<3>().ok_or_else(bad)?;
    let mask = root.get("alphaMask.mask").and_then(Value::array).filter(|m| m.dtype == Dtype::Unsigned(1));
    let mask = mask.ok_or_else(bad)?;
    let points = x.checked_mul(y).and_then(|n| n.checked_mul(z)).ok_or_else(bad)?;
    // Arrays of more axes have leading ones.
    if beyond.iter().any(|n| *n != 1) || points.div_ceil(8) != mask.bytes.len() || points == 0 {
        return Err(bad());
    }
    let corners = root.get("alphaMask.aabb").and_then(Value::tensor).filter(|t| t.count() == 6).ok_or_else(bad)?;
    let corners = weights.file.read_f32(weights.source, corners)?;
    let size = [x, y, z];
    let (low, high) = (Vec3::from_slice(&corners), Vec3::from_slice(&corners[3..]));
    if !(low.is_finite() && high.is_finite() && high.cmpgt(low).all()) || size.iter().any(|n| !(2..=1024).contains(n)) {
        return Err(bad());
    }
    // The first of eight points is the highest bit.
    let set: Vec<bool> = (0..points).map(|i| mask.bytes[i / 8] >> (7 - i % 8) & 1 == 1).collect();
    let (low, high) = ((low - about.centre()) / about.half(), (high - about.centre()) / about.half());
    // A cell of the mask has the points at both of its ends for corners.
    let touched_points = |a: usize| -> Vec<Range<usize>> {
        let cells = touched(CELLS, [-1.0, 1.0], size[a] - 1, [low[a], high[a]]);
        cells.into_iter().map(|r| if r.is_empty() { r } else { r.start..r.end + 1 }).collect()
    };
    let [bottom, top] = about.scene_box();
    let mut grid = reached(&set, size, &[0, 1, 2].map(touched_points));
    let within = [0, 1, 2].map(|a| touched(CELLS, [-1.0, 1.0], 1, [bottom[a], top[a]]));
    let within = reached(&[true], [1; 3], &within);
    grid.iter_mut().zip(within).for_each(|(cell, within)| *cell &= within);
    occupancy(CELLS, Aabb::cube(1.0), &grid)
}
