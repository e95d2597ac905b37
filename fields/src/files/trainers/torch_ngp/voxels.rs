//! PVD's dense grid ("tensors", its Plenoxels) as a `voxels` field: log-density and 27 harmonics at every vertex, sigmoid.
//!
//! `tensor_volume.0` is `[1, 28, z, y, x]` with vertices on the faces of the box; those of `voxels` stand half a cell inside
//! theirs. So the field's box is larger by half a cell on every side, and vertices are where they were.

use serde_json::json;

use super::{Model, PVD_RANGE, parts, volume, with};
use crate::error::{Error, Result};
use crate::files::trainers::assembly::{ANY, Parts};

/// Harmonics of a vertex, three channels of nine.
const HARMONICS: usize = 27;
/// The most vertices that a field holds.
const MOST: usize = 1 << 24;

pub(super) fn read(model: &mut Model<'_, '_, '_>) -> Result<Parts> {
    let name = "tensor_volume.0";
    let shape = model.weights.expect(name, &[1, ANY, ANY, ANY, ANY])?.shape.clone();
    let &[_, channels, _, _, edge] = shape.as_slice() else { return Err(Error::new("a grid without axes")) };
    let refused = |what: String| Err(Error::new(what).remedy("render its views with PVD and train from those"));
    if channels != 1 + HARMONICS {
        return refused(format!(
            "its grid has {channels} values at a vertex, not 28: harmonics of another degree than 2"
        ));
    }
    if shape[2..] != [edge; 3] || !(2..=1024).contains(&edge) || edge.pow(3) > MOST {
        return refused(format!("its grid has {:?} vertices, and here a grid is a cube of at most 256³", &shape[2..]));
    }
    let values = model.weights.take(name, &shape)?;
    let rows = edge.pow(3);
    let (density, harmonics) = values.split_at(rows);
    let sh = (0..rows * HARMONICS).map(|i| harmonics[i % HARMONICS * rows + i / HARMONICS]).collect();
    model.notes.insert(0, "a dense voxel grid of PVD".into());
    model.notes.push("its log-density is clamped to -2 to 7, PVD's usual range".into());
    let mut bounds = model.grid_box()?;
    let margin = 0.5 * bounds.size() / (edge - 1) as f32;
    (bounds.min, bounds.max) = (bounds.min - margin, bounds.max + margin);
    let (occupancy, cells) = model.occupancy(bounds)?;
    let config = json!({
        "kind": "voxels",
        "resolution": edge,
        "ball": false,
        "density": "exp",
        "colour": "sigmoid",
        "initial_sigma": 0.1,
        "volume": with(volume(PVD_RANGE, cells), json!({})),
    });
    let tensors = vec![("density", [rows, 1], density.to_vec()), ("sh", [rows, HARMONICS], sh)];
    Ok(parts(bounds, config, tensors, occupancy, "PVD"))
}
