//! An atlas of a mesh: charts that are cut open, flattened without overlap and packed into one square texture.
//!
//! The crate `uvunwrap` does the work: charts grow by normals as in xatlas, are flattened by least squares conformal maps
//! (Lévy 2002) with as-rigid-as-possible steps after them, and are split until no triangle is turned over or overlaps. Its
//! cost grows faster than a chart does, so a chart's area is held to a few thousand triangles' worth. Charts are packed
//! twice: first fast, which also tells how many there are, and then by their shapes where those are few. Packing thousands
//! by shape takes minutes and gains little.

use glam::{Vec2, Vec3};
use rayon::prelude::*;
use uvunwrap::{Atlas, Density, MeshInput, Options, Packing};

use super::{Mesh, sound};
use crate::error::{Error, Result};

/// Empty texels around each chart: two charts are twice that apart, and a chart is that far from the border.
pub const PADDING: u32 = 2;
/// Sides of a texture that are accepted, in texels.
pub const SIDES: std::ops::RangeInclusive<u32> = 32..=8192;
/// About the most triangles in a chart; flattening takes about the 1.5th power of their number.
const CHART_TRIANGLES: f32 = 5000.0;
/// The most charts that are packed by their shapes.
const SHAPED_CHARTS: u32 = 1000;

/// A mesh with texture coordinates.
#[derive(Clone, Debug)]
pub struct Unwrapped {
    /// The same triangles in the same order; vertices on the borders of charts appear once for each chart. What the vertices
    /// had is carried along, the texture is not.
    pub mesh: Mesh,
    /// For each vertex, the vertex of the mesh before that it comes from, `[n]`.
    pub source: Vec<u32>,
    /// How many charts there are.
    pub charts: u32,
    /// The share of the texture that triangles cover, in `[0, 1]`.
    pub utilisation: f32,
}

/// Unwraps a mesh for a texture of `side` by `side` texels.
///
/// # Errors
/// When the mesh is empty, broken or in too many pieces for the texture, or `side` is not within [`SIDES`].
pub fn unwrap(mesh: &Mesh, side: u32) -> Result<Unwrapped> {
    match unwrap_while(mesh, side, || true)? {
        Some(done) => Ok(done),
        None => Err(Error::new("unwrapping was stopped")),
    }
}

/// As [`unwrap`], but asks `go_on` again and again, from any thread; `None` when it was told to stop.
///
/// # Errors
/// As [`unwrap`].
pub fn unwrap_while(mesh: &Mesh, side: u32, go_on: impl Fn() -> bool + Sync) -> Result<Option<Unwrapped>> {
    if !SIDES.contains(&side) {
        return Err(Error::new(format!("a texture of {side} texels a side")).remedy(format!(
            "choose between {} and {}",
            SIDES.start(),
            SIDES.end()
        )));
    }
    sound::check(mesh)?;
    let area: f32 = mesh.triangles.par_iter().map(|t| f64::from(area(mesh, *t))).sum::<f64>() as f32;
    if !(area > 0.0 && area.is_finite()) {
        return Err(
            Error::new("the mesh has no surface that could be unwrapped").remedy("lower the level, or check the crop")
        );
    }
    let (corners, indices) = flat(mesh);
    let share = CHART_TRIANGLES / mesh.triangles.len() as f32;
    let fast = Options {
        max_chart_area: if share < 1.0 { area * share } else { 0.0 },
        density: Density::Auto { page_size: side },
        padding: PADDING,
        packing: Packing::Fast,
        ..Options::default()
    };
    let run = |input: MeshInput<'_>, options: &Options| match uvunwrap::generate_with_progress(
        &[input],
        options,
        |_| go_on(),
    ) {
        Ok(atlas) => Ok(Some(atlas)),
        Err(uvunwrap::Error::Cancelled) => Ok(None),
        Err(uvunwrap::Error::ChartTooLarge { .. }) => Err(pieces(side)),
        Err(other) => Err(Error::new(format!("the mesh cannot be unwrapped: {other}"))),
    };
    let Some(first) = run(MeshInput::new(&corners, &indices), &fast)? else { return Ok(None) };
    let Some(taken) = Laid::new(&first, None, side) else { return Err(pieces(side)) };
    if first.chart_count > SHAPED_CHARTS {
        return Ok(Some(taken.onto(mesh)));
    }
    // The islands that were found are packed again, as they are.
    let again: Vec<[f32; 3]> = taken.source.iter().map(|&v| mesh.positions[v as usize].to_array()).collect();
    let islands: Vec<[f32; 2]> = taken.uvs.iter().map(|uv| [uv.x, 1.0 - uv.y]).collect();
    let input = MeshInput { existing_uvs: Some(&islands), ..MeshInput::new(&again, &first.meshes[0].indices) };
    let Some(second) = run(input, &Options { packing: Packing::Shape, ..fast })? else { return Ok(None) };
    let better = Laid::new(&second, Some(&taken.source), side).filter(|b| b.utilisation > taken.utilisation);
    Ok(Some(better.unwrap_or(taken).onto(mesh)))
}

/// What an atlas says, in terms of the mesh that was given first.
struct Laid {
    uvs: Vec<Vec2>,
    source: Vec<u32>,
    triangles: Vec<[u32; 3]>,
    charts: u32,
    utilisation: f32,
}

impl Laid {
    /// `None` when the charts did not find room in one texture.
    fn new(atlas: &Atlas, before: Option<&[u32]>, side: u32) -> Option<Self> {
        if atlas.page_count != 1 || atlas.chart_count == 0 {
            return None;
        }
        let out = &atlas.meshes[0];
        let scale = Vec2::new(atlas.width as f32, atlas.height as f32) / side as f32;
        // Its triangles turn clockwise in the picture. Upside down they turn as seen from outside, so writing can be read.
        let uv = |uv: [f32; 2]| Vec2::new(uv[0] * scale.x, 1.0 - uv[1] * scale.y).clamp(Vec2::ZERO, Vec2::ONE);
        Some(Self {
            uvs: out.vertices.iter().map(|v| uv(v.uv)).collect(),
            source: out.vertices.iter().map(|v| before.map_or(v.xref, |b| b[v.xref as usize])).collect(),
            triangles: out.indices.as_chunks::<3>().0.to_vec(),
            charts: atlas.chart_count,
            utilisation: atlas.utilization * scale.x * scale.y,
        })
    }

    fn onto(self, mesh: &Mesh) -> Unwrapped {
        let Self { uvs, source, triangles, charts, utilisation } = self;
        let mesh = Mesh {
            positions: picked(&mesh.positions, &source),
            normals: picked(&mesh.normals, &source),
            colours: picked(&mesh.colours, &source),
            triangles,
            uvs,
            texture: None,
        };
        Unwrapped { mesh, source, charts, utilisation }
    }
}

/// The values of these vertices, where there are any.
fn picked<T: Copy>(values: &[T], source: &[u32]) -> Vec<T> {
    if values.is_empty() { Vec::new() } else { source.iter().map(|&v| values[v as usize]).collect() }
}

fn flat(mesh: &Mesh) -> (Vec<[f32; 3]>, Vec<u32>) {
    (mesh.positions.iter().map(Vec3::to_array).collect(), mesh.triangles.iter().flatten().copied().collect())
}

fn area(mesh: &Mesh, triangle: [u32; 3]) -> f32 {
    let [a, b, c] = triangle.map(|v| mesh.positions[v as usize]);
    0.5 * (b - a).cross(c - a).length()
}

fn pieces(side: u32) -> Error {
    Error::new(format!("the mesh falls into too many pieces for a texture of {side} texels a side"))
        .remedy("keep fewer parts, take fewer faces, or choose a larger texture")
}

#[cfg(test)]
#[path = "unwrap_tests.rs"]
mod tests;
