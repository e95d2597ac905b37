//! What a student begins with: where the teacher is empty, its colour network, and what needs no training.

use std::sync::Arc;

use retort_fields::compose::Subject;
use retort_fields::error::Result;
use retort_fields::field::{AskBlock1, Field, Filtered, PointSample, Source, Volume, tensor, values};
use retort_fields::parts::occupancy::Occupancy;
use retort_fields::registry::AnyField;

use crate::preset::ConvertConfig;

use super::latent_of;
use super::lesson::in_world;

/// Cells along the scene's longest edge that a network is taken to tell apart.
const NETWORK: f32 = 128.0;

/// Gives the student the teacher's empty space, and its colour network where both have the same.
///
/// # Errors
/// When the student's occupancy grid is not possible over the teacher's box.
pub fn inherit(teacher: &Subject, student: &mut AnyField) -> Result<()> {
    if are_of_one_width(teacher, student) {
        let known: Vec<_> = teacher.params().into_iter().map(|p| (p.name, p.tensor.clone())).collect();
        for param in student.params_mut() {
            let same = known.iter().find(|(name, t)| *name == param.name && t.dims() == param.tensor.dims());
            if let Some((_, tensor)) = same.filter(|(name, _)| *name == "colour_net") {
                *param.tensor = tensor.clone();
            }
        }
    }
    let Some(volume) = student.as_volume_mut() else { return Ok(()) };
    let resolution = volume.occupancy().resolution();
    if let Some(taught) = teacher.as_volume() {
        volume.set_occupancy(Arc::new(resampled(taught.occupancy(), resolution)?));
    } else if let Some(primitives) = teacher.as_primitives() {
        volume.set_occupancy(Arc::new(primitives.occupancy_grid(resolution)));
    }
    Ok(())
}

/// Whether both have a latent that can be taught, of the same width.
fn are_of_one_width(teacher: &Subject, student: &AnyField) -> bool {
    let width = latent_of(&**teacher);
    width.is_some() && width == latent_of(&**student)
}

/// Gives the student what needs no training, in the resolution that its schedule begins with. Returns whether there was
/// something.
///
/// # Errors
/// When that resolution is out of the kind's range.
pub fn take_over(teacher: &Subject, student: &mut AnyField, config: &ConvertConfig) -> Result<bool> {
    let first = config.growth.iter().take_while(|growth| growth.at <= 0.0);
    let resolution = first.filter_map(|growth| growth.resolution).last();
    let same = has_same_colours(teacher, student);
    let Some(volume) = student.as_volume_mut() else { return Ok(false) };
    let filtered = filtered(teacher, volume, resolution);
    let ask = |x: &[f32], d: &[f32]| said_of_points(teacher, filtered.as_ref(), x, d);
    let taught = teacher.as_volume().filter(|_| same);
    let block1 = taught.map(|teacher| {
        move |x: &[f32]| {
            let said = teacher.block1(tensor(x.to_vec(), [x.len() / 3, 3], &teacher.device()));
            (values(said.log_sigma), values(said.latent))
        }
    });
    let block1 = block1.as_ref().map(|block1| block1 as &AskBlock1<'_>);
    volume.take_over(&Source { field: &**teacher, ask: &ask, block1, resolution })
}

/// Whether the student's colour network is the teacher's.
fn has_same_colours(teacher: &Subject, student: &AnyField) -> bool {
    let colours = |field: &dyn Field| {
        let net = field.params().into_iter().find(|p| p.name == "colour_net");
        net.map(|p| values(p.tensor.clone()))
    };
    are_of_one_width(teacher, student) && colours(&**teacher) == colours(&**student)
}

/// Primitives as the student can hold them: a Gaussian filter half as wide as its grain. What is flatter than a cell would
/// else be missed by its points, or be as thick as its cells and as dense as it is flat.
pub fn filtered(teacher: &Subject, student: &dyn Volume, resolution: Option<u32>) -> Option<Filtered> {
    let primitives = teacher.as_primitives()?;
    let grain = student.grain(resolution).unwrap_or_else(|| teacher.scene().bounds.size().max_element() / NETWORK);
    Some(primitives.filtered(0.5 * grain))
}

/// What the teacher says of points `x` `[n, 3]` along directions `d` `[n, k, 3]`; see [`retort_fields::field::Ask`].
pub fn said_of_points(teacher: &Subject, filtered: Option<&Filtered>, x: &[f32], d: &[f32]) -> PointSample {
    let (n, looks) = (x.len() / 3, d.len() / x.len().max(1));
    let repeated = |rows: &[f32], width: usize| -> Vec<f32> {
        rows.chunks_exact(width).flat_map(|row| row.iter().copied().cycle().take(looks * width)).collect()
    };
    if let Some(volume) = teacher.as_volume() {
        let device = volume.device();
        let said = volume.block1(tensor(x.to_vec(), [n, 3], &device));
        let width = said.latent.dims()[1];
        let latent = tensor(repeated(&values(said.latent), width), [n * looks, width], &device);
        let rgb = volume.block2(latent, tensor(d.to_vec(), [n * looks, 3], &device));
        return PointSample { log_sigma: values(said.log_sigma), rgb: values(rgb) };
    }
    let Some(filtered) = filtered else {
        return PointSample { log_sigma: vec![f32::NEG_INFINITY; n], rgb: vec![0.5; d.len()] };
    };
    let said = filtered.sample(&repeated(&in_world(x, teacher.scene().warp()), 3), d);
    PointSample { log_sigma: said.log_sigma.into_iter().step_by(looks.max(1)).collect(), rgb: said.rgb }
}

/// The same occupied space in another resolution; a coarser cell is occupied where any point of it is.
///
/// # Errors
/// As [`Occupancy::from_bits`].
fn resampled(grid: &Occupancy, resolution: u32) -> Result<Occupancy> {
    if grid.resolution() == resolution {
        return Ok(grid.clone());
    }
    let new = Occupancy::new_full(resolution, grid.bounds());
    let parts = (grid.resolution() / resolution).max(1);
    let size = grid.bounds().size() / resolution as f32;
    let cells = (resolution as usize).pow(3);
    let mut bits = vec![0_u64; cells / 64];
    for cell in 0..cells {
        let low = new.cell_centre(cell) - 0.5 * size;
        let any = (0..parts.pow(3)).any(|k| {
            let part = glam::UVec3::new(k % parts, k / parts % parts, k / (parts * parts)).as_vec3();
            grid.contains(low + size * (part + 0.5) / parts as f32)
        });
        bits[cell / 64] |= u64::from(any) << (cell % 64);
    }
    Occupancy::from_bits(resolution, grid.bounds(), &bits)
}
