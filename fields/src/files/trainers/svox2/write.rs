//! A voxel grid as a file that svox2 loads.
//!
//! In the coordinates of the photos where their axes are those of the scene, as it is when the file came from svox2; then
//! what was read is written as it was but for the rounding of densities where the box's half edge is not a power of two.
//! Harmonics are in half precision, as svox2 writes them, where that loses nothing, and else in single.

use std::io::Write;

use glam::{Quat, Vec3};
use half::f16;
use rayon::prelude::*;

use super::npz::{NpzWriter, Number};
use super::{COEFFICIENTS, brighter_than_white};
use crate::error::{Error, Result};
use crate::field::Scene;
use crate::files::archive::Archive;
use crate::files::splats::Sink;
use crate::kinds::voxels::{Density, VoxelsConfig};
use crate::ops::voxels::{Colour, Links};
use crate::registry::FieldConfig;

/// The parts of a field that is to be written.
struct Parts<'a> {
    scene: Scene,
    links: Links,
    density: &'a [f32],
    sh: &'a [f32],
}

impl<'a> Parts<'a> {
    fn of(archive: &'a Archive) -> Result<Self> {
        let document = |name: &str| archive.json.get(name).cloned().unwrap_or_default();
        let understood = |e: serde_json::Error| Error::new(format!("the field's description is not understood: {e}"));
        let config = match serde_json::from_value(document("config")).map_err(understood)? {
            FieldConfig::Voxels(config) => config,
            other => {
                let what = format!("svox2's files hold voxel grids, and this is a field of kind {}", other.kind());
                return Err(Error::new(what).remedy("add --to voxels, or let the name end in .safetensors"));
            }
        };
        let scene: Scene = serde_json::from_value(document("scene")).map_err(understood)?;
        check(&config, &scene)?;
        let missing = |name: &str| Error::new(format!("tensor \"{name}\" is missing"));
        let tensor = |name: &str| {
            let found = archive.tensors.iter().find(|(n, ..)| n == name).map(|(.., values)| values.as_slice());
            found.ok_or_else(|| missing(name))
        };
        let (density, sh) = (tensor("density")?, tensor("sh")?);
        let vertices = archive.bytes.iter().find(|(name, _)| name == "extra.vertices");
        let (_, vertices) = vertices.ok_or_else(|| missing("extra.vertices"))?;
        let links = Links::from_bytes(vertices, config.resolution)?;
        if links.rows() != density.len() || sh.len() != density.len() * COEFFICIENTS {
            let what = format!("{} vertices, {} densities, {} coefficients", links.rows(), density.len(), sh.len());
            return Err(Error::new(what).remedy("the field is damaged"));
        }
        Ok(Self { scene, links, density, sh })
    }
}

/// Refuses what svox2 cannot hold.
fn check(config: &VoxelsConfig, scene: &Scene) -> Result<()> {
    let refused = |what: &str, remedy: &str| Err(Error::new(what).remedy(remedy));
    if config.density != Density::Linear {
        let what = "field.density is exp, and svox2 interpolates the density itself, not its logarithm";
        return refused(what, "convert it to a voxel grid with density = \"linear\" (preset voxels-paper)");
    }
    if config.colour != Colour::Clip {
        let what = "field.colour is sigmoid, and svox2 has no sigmoid around its harmonics";
        return refused(what, "convert it to a voxel grid with colour = \"clip\" (preset voxels-paper)");
    }
    if scene.unbounded {
        return refused("the scene is unbounded, and svox2 has no contraction of space", "convert a bounded scene");
    }
    Ok(())
}

/// Writes the parts of a voxel grid; gives what a person should know of it.
///
/// # Errors
/// When svox2 cannot hold it: another kind, densities by their logarithm, colour by a sigmoid, an unbounded scene; or the
/// place is full.
pub fn write(archive: &Archive, out: &mut dyn Sink) -> Result<Vec<String>> {
    let Parts { scene, links, density, sh } = Parts::of(archive)?;
    let mut notes = Vec::new();
    let frame = scene.scene_from_dataset;
    let (mut half, mut centre, mut unit) = (0.5 * scene.bounds.size(), scene.bounds.centre(), 1.0);
    if frame.rotation.dot(Quat::IDENTITY).abs() > 1.0 - 1e-6 {
        unit = frame.scale;
        (half, centre) = (half / unit, (centre - frame.translation) / unit);
    } else {
        notes.push("its axes are those of the scene here, not of the photos".into());
    }
    let bright = brighter_than_white(density, sh);
    if bright > 0 {
        notes.push(format!("{bright} of its {} vertices are brighter than white, which svox2 draws so", density.len()));
    }
    let mut file = NpzWriter::new(out);
    let three = |v: Vec3| move |out: &mut dyn Write| out.write_all(bytemuck::cast_slice(&v.to_array()));
    file.add("radius", Number::F32, &[3], false, three(half))?;
    file.add("center", Number::F32, &[3], false, three(centre))?;
    let r = links.resolution() as usize;
    file.add("links", Number::I32, &[r; 3], true, |out| write_links(&links, out))?;
    let densities: Vec<f32> = density.par_iter().map(|v| v * unit).collect();
    file.add("density_data", Number::F32, &[densities.len(), 1], false, |out| {
        out.write_all(bytemuck::cast_slice(&densities))
    })?;
    let shape = [density.len(), COEFFICIENTS];
    if sh.par_iter().all(|v| f16::from_f32(*v).to_f32() == *v) {
        file.add("sh_data", Number::F16, &shape, false, |out| {
            sh.chunks(1 << 16).try_for_each(|part| {
                let bytes: Vec<u8> = part.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
                out.write_all(&bytes)
            })
        })?;
    } else {
        file.add("sh_data", Number::F32, &shape, false, |out| out.write_all(bytemuck::cast_slice(sh)))?;
    }
    file.add("basis_type", Number::I64, &[], false, |out| out.write_all(&1_i64.to_le_bytes()))?;
    file.finish()?;
    Ok(notes)
}

/// The links in svox2's order, z fastest; a slab of one x at a time.
fn write_links(links: &Links, out: &mut dyn Write) -> std::io::Result<()> {
    let r = links.resolution() as usize;
    (0..r).try_for_each(|x| {
        let row = |vertex: usize| links.row(vertex).map_or(-1, |row| row as i32);
        let slab: Vec<i32> = (0..r * r).map(|at| row(x + r * (at / r + r * (at % r)))).collect();
        out.write_all(bytemuck::cast_slice(&slab))
    })
}
