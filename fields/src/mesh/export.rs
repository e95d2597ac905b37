//! From a field to a painted mesh: find the surface, drop small pieces, simplify, unwrap, paint, and compare the result's
//! pictures with the field's.
//!
//! The surface is looked for in two ways. *Density*: where `sigma` crosses a level. *Depth*: pictures of the field's depth
//! are fused into a signed distance (Curless and Levoy 1996), whose zero it is. A density is not made to have a sharp level
//! and a depth is blurred where a field is foggy, so neither wins always: both are tried on a coarse grid, at several
//! levels, and the one that fits the field's own pictures best is made in full.

use std::path::Path;

use glam::Vec3;
use retort_shaders::Aabb;

use super::ask::Asked;
use super::components::{Report, components, kept, report};
use super::grid::Grid;
use super::look::{Look, Looks, views};
use super::simplify::simplified;
use super::surface::{refined, surface};
use super::tsdf::Tsdf;
use super::{Mesh, bake, glb, obj, unwrap};
use crate::error::{Error, Result};
use crate::field::Field;
use crate::files::write_atomically;

/// How the surface is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Whichever fits better.
    Auto,
    /// Where the density crosses a level.
    Density,
    /// From pictures of depth.
    Depth,
}

impl Method {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Density, Self::Depth];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Density => "density",
            Self::Depth => "depth",
        }
    }
}

/// What a mesh is painted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// A texture of so many texels a side.
    Texture(u32),
    /// Colours of the vertices.
    Vertices,
}

/// How a mesh is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How the surface is found.
    pub method: Method,
    /// Where it is: a density per scene unit, or cells outside of the fused surface; nothing tries several.
    pub level: Option<f32>,
    /// Grid points along the longest edge of what there is, 16 to 1024.
    pub resolution: u32,
    /// Triangles at most.
    pub faces: usize,
    /// What it is painted with.
    pub paint: Paint,
    /// Pieces of less than this share of the largest one's area go.
    pub keep: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            level: None,
            resolution: 256,
            faces: 50_000,
            paint: Paint::Texture(2048),
            keep: 0.01,
        }
    }
}

impl Options {
    /// About the size in bytes of the GLB, at most.
    pub fn predicted_size(&self) -> u64 {
        let paint = match self.paint {
            Paint::Texture(side) => glb::Paint::Texture(side),
            Paint::Vertices => glb::Paint::Vertices,
        };
        // A closed mesh has half as many vertices as triangles, and an unwrapped one a fifth more.
        glb::predicted_size(self.faces / 2 + self.faces / 10, self.faces, paint)
    }
}

/// The parts of the work, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The field is drawn, to be compared with.
    Look,
    /// Ways and levels are tried.
    Choose,
    /// The surface is found in full.
    Surface,
    /// Triangles become fewer.
    Simplify,
    /// It is cut open.
    Unwrap,
    /// The field is asked for colours.
    Paint,
    /// Its pictures are compared with the field's.
    Compare,
}

impl Stage {
    /// Each, in order.
    pub const ALL: [Self; 7] =
        [Self::Look, Self::Choose, Self::Surface, Self::Simplify, Self::Unwrap, Self::Paint, Self::Compare];

    /// What is done, in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "drawing",
            Self::Choose => "choosing",
            Self::Surface => "surface",
            Self::Simplify => "simplifying",
            Self::Unwrap => "unwrapping",
            Self::Paint => "painting",
            Self::Compare => "comparing",
        }
    }

    /// Its place in the order, from 0.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|stage| *stage == self).unwrap_or(0)
    }
}

/// A mesh, and how good it is.
#[derive(Clone, Debug)]
pub struct Made {
    /// The mesh, in the dataset's units, +Z up.
    pub mesh: Mesh,
    /// What it is made of, before it was cut open for a texture.
    pub report: Report,
    /// Pieces that were too small.
    pub dropped: usize,
    /// How the surface was found.
    pub method: Method,
    /// Where.
    pub level: f32,
    /// How near its paint is to what the field says on the surface, dB; none for colours of vertices.
    pub texel_psnr: Option<f32>,
    /// How near its pictures are to the field's, dB.
    pub picture_psnr: f32,
    /// Intersection over union of its outline and the field's, 0 to 1.
    pub outline: f32,
}

/// Views that candidates and the result are compared on, and the longer side of their pictures.
const LOOKS: (usize, u32) = (8, 192);
/// Views whose depth is fused, and the longer side of their pictures; a coarse grid needs fewer.
const FUSED: (usize, u32) = (48, 384);
const FUSED_COARSE: (usize, u32) = (24, 128);
/// Grid points along the longest edge while candidates are tried.
const COARSE: u32 = 96;
/// Opacities of a coarse cell's thickness at which the density's level is tried.
const OPACITIES: [f32; 5] = [0.1, 0.2, 0.4, 0.6, 0.8];
/// Distances from the fused surface in cells that are tried.
const DISTANCES: [f32; 3] = [0.0, 0.25, 0.5];
/// The distance in cells at which a fused distance is cut off.
const TRUNCATION: f32 = 3.0;
/// Points at which the paint is compared with the field.
const SPOTS: usize = 50_000;
/// Pictures that a mesh of primitives is painted from, and the longer side of each.
const PAINTED: (usize, u32) = (48, 1024);

/// Makes the mesh. `tell` is told before each part of the work and says whether to go on; `None` when it was not to. The
/// field is compared over the background `over`, sRGB.
///
/// # Errors
/// When there is no surface at the level, or the result would be too large.
pub fn made(
    field: &dyn Field,
    options: &Options,
    over: [f32; 3],
    tell: &mut dyn FnMut(Stage) -> bool,
) -> Result<Option<Made>> {
    let work = Work::new(field)?;
    if !tell(Stage::Look) {
        return Ok(None);
    }
    let looks = Looks::of(field, work.bounds, LOOKS);
    if !tell(Stage::Choose) {
        return Ok(None);
    }
    let (method, level) = work.chosen(options, &looks, over)?;
    if !tell(Stage::Surface) {
        return Ok(None);
    }
    let whole = work.full(method, level, options.resolution)?;
    let pieces = components(&whole).1.len();
    let whole = kept(&whole, options.keep);
    let dropped = pieces - components(&whole).1.len();
    if !tell(Stage::Simplify) {
        return Ok(None);
    }
    let lean = simplified(&whole, options.faces)?;
    let told = report(&lean);
    let Some((mesh, texel_psnr)) = work.painted(lean, options.paint, tell)? else { return Ok(None) };
    if !tell(Stage::Compare) {
        return Ok(None);
    }
    let (picture_psnr, outline) = looks.compare(&mesh, over)?;
    let mesh = in_dataset(mesh, field);
    Ok(Some(Made { mesh, report: told, dropped, method, level, texel_psnr, picture_psnr, outline }))
}

/// Writes an OBJ, and beside it the material and the texture that it names, each all or nothing; gives the size of all.
///
/// # Errors
/// As [`write()`], or when the name cannot stand in such a file.
pub fn write_obj(mesh: &Mesh, generator: &str, path: &Path) -> Result<u64> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let files = obj::to_obj(mesh, &name, generator).map_err(|e| e.file(path))?;
    let beside = [("mtl", files.mtl.map(String::into_bytes)), ("png", files.png)];
    let mut bytes = files.obj.len() as u64;
    // The file that names the others comes last.
    for (ending, part) in beside.into_iter().filter_map(|(ending, part)| Some((ending, part?))) {
        write_atomically(&path.with_extension(ending), &part)?;
        bytes += part.len() as u64;
    }
    write_atomically(path, files.obj.as_bytes())?;
    Ok(bytes)
}

/// The densities of a field on a coarse grid: what a preview takes its surface from while a level is chosen.
///
/// # Errors
/// When the field is empty everywhere.
pub fn densities(field: &dyn Field, resolution: u32) -> Result<Grid> {
    Work::new(field)?.densities(resolution)
}

/// Writes a GLB, all or nothing; gives its size.
///
/// # Errors
/// When the place cannot be written, or the mesh is too large for the format.
pub fn write(mesh: &Mesh, unlit: bool, generator: &str, path: &Path) -> Result<u64> {
    let bytes = glb::to_glb(mesh, &glb::GlbOptions { generator, lit: !unlit }).map_err(|e| e.file(path))?;
    write_atomically(path, &bytes)?;
    Ok(bytes.len() as u64)
}

/// The box around what a field shows: its whole box, drawn in to the cells that are not empty.
fn content(field: &dyn Field, asked: &Asked<'_>) -> Result<Aabb> {
    let scene = field.scene();
    // Beyond the unit ball an unbounded scene is contracted: what is there is background.
    let whole = if scene.unbounded { Aabb::cube(1.0) } else { scene.bounds };
    let cells = 64;
    let size = whole.size() / cells as f32;
    let mut found: Option<Aabb> = None;
    for cell in 0..cells * cells * cells {
        let at = glam::UVec3::new(cell % cells, cell / cells % cells, cell / (cells * cells)).as_vec3();
        let part = Aabb::new(whole.min + size * at, whole.min + size * (at + 1.0));
        if asked.may_hold(part) {
            found = Some(found.map_or(part, |old| old.union(part)));
        }
    }
    let part = found
        .ok_or_else(|| Error::new("the field is empty everywhere").remedy("undo its edits, or train it longer"))?;
    let rim = 0.02 * part.size().max_element();
    Ok(Aabb::new((part.min - rim).max(whole.min), (part.max + rim).min(whole.max)))
}

/// A surface on a coarse grid.
struct Candidate {
    method: Method,
    level: f32,
    mesh: Mesh,
}

struct Work<'a> {
    field: &'a dyn Field,
    asked: Asked<'a>,
    bounds: Aabb,
}

impl<'a> Work<'a> {
    fn new(field: &'a dyn Field) -> Result<Self> {
        let asked = Asked::new(field);
        let bounds = content(field, &asked)?;
        let cell = bounds.size().max_element() / (COARSE - 1) as f32;
        Ok(Self { field, asked: asked.for_cells_of(cell), bounds })
    }

    fn densities(&self, resolution: u32) -> Result<Grid> {
        let points = Grid::cubic(self.bounds, resolution);
        Grid::filled_where(self.bounds, points, 0.0, |part| self.asked.may_hold(part), |x| Ok(self.asked.sigma(x)))
    }

    fn distances(&self, resolution: u32, (n, side): (usize, u32)) -> Result<Grid> {
        let points = Grid::cubic(self.bounds, resolution);
        let cell = self.bounds.size().max_element() / (resolution - 1) as f32;
        let mut tsdf = Tsdf::new(self.bounds, points, TRUNCATION * cell)?;
        for camera in views(self.field, self.bounds, n, side) {
            let seen = Look::of(self.field, camera);
            tsdf.fuse(&seen.camera, &seen.depth, &seen.alpha)?;
        }
        Ok(tsdf.into_grid())
    }

    /// The way and the level whose surface fits the field's pictures best: of each way the level whose depth and outline
    /// do, and of the two ways that whose colours do. (The depth of Gaussians is a mean over what is half seen through. A
    /// surface from it fits it, whatever it looks like: on Lego 20.2 dB of pictures, where density has 23.5 dB.)
    fn chosen(&self, options: &Options, looks: &Looks, over: [f32; 3]) -> Result<(Method, f32)> {
        if let (Some(level), Method::Density | Method::Depth) = (options.level, options.method) {
            return Ok((options.method, level));
        }
        let coarse = COARSE.min(options.resolution);
        let cell = self.bounds.size().max_element() / (coarse - 1) as f32;
        let mut finalists = Vec::new();
        for method in [Method::Density, Method::Depth] {
            // A level alone is one of density, as other programs have it.
            let asked = options.method == method
                || options.method == Method::Auto && options.level.is_none_or(|_| method == Method::Density);
            if asked {
                finalists.extend(self.best_level(method, options, looks, (coarse, cell))?);
            }
        }
        let best = match &finalists[..] {
            [] => return Err(no_surface(options.level.unwrap_or(0.0))),
            [density, depth] => {
                let density_psnr = looks.compare(&self.coloured(&density.mesh, looks)?, over)?.0;
                let depth_psnr = looks.compare(&self.coloured(&depth.mesh, looks)?, over)?.0;
                if depth_psnr > density_psnr { depth } else { density }
            }
            [one, ..] => one,
        };
        // Distances are told in cells of the grid that they are used on.
        Ok((best.method, if best.method == Method::Depth { -best.level / cell } else { best.level }))
    }

    /// The level of one way whose surface fits best in depth and outline, if there is a surface.
    fn best_level(
        &self,
        method: Method,
        options: &Options,
        looks: &Looks,
        (coarse, cell): (u32, f32),
    ) -> Result<Option<Candidate>> {
        let (grid, levels) = match method {
            Method::Depth => (self.distances(coarse, FUSED_COARSE)?, DISTANCES.map(|d| -d * cell).to_vec()),
            _ => (self.densities(coarse)?, OPACITIES.map(|o| -(1.0 - o).ln() / cell).to_vec()),
        };
        let mut best: Option<(f32, Candidate)> = None;
        for level in options.level.map_or(levels, |level| vec![level]) {
            let mesh = kept(&surface(&grid, level)?, options.keep);
            if mesh.triangles.is_empty() {
                continue;
            }
            let misfit = looks.misfit(&mesh, cell)?;
            if best.as_ref().is_none_or(|(least, _)| misfit < *least) {
                best = Some((misfit, Candidate { method, level, mesh }));
            }
        }
        Ok(best.map(|(_, candidate)| candidate))
    }

    /// A candidate with colours at its vertices.
    fn coloured(&self, mesh: &Mesh, looks: &Looks) -> Result<Mesh> {
        let pictures = self.field.as_primitives().map(|_| looks);
        let colours = bake::paint_vertices(mesh, |x, n| Ok(self.paint(pictures, x, n)))?;
        Ok(Mesh { colours, ..mesh.clone() })
    }

    /// The colours at points of a surface with these normals: what the pictures show of them where there are any, and what
    /// the field says otherwise. Gaussians are made for pictures: what their mixture says at a point is another colour than
    /// what is seen there.
    fn paint(&self, pictures: Option<&Looks>, x: &[Vec3], n: &[Vec3]) -> Vec<[f32; 3]> {
        let own = self.asked.colours(x, n);
        match pictures {
            Some(pictures) => pictures.colours(x, n).into_iter().zip(own).map(|(p, own)| p.unwrap_or(own)).collect(),
            None => own,
        }
    }

    /// The surface in full. A level of depth is a distance outside of the fused surface, in cells.
    fn full(&self, method: Method, level: f32, resolution: u32) -> Result<Mesh> {
        let cell = self.bounds.size().max_element() / (resolution - 1) as f32;
        if method == Method::Depth {
            return nonempty(surface(&self.distances(resolution, FUSED)?, -level * cell)?, level);
        }
        let rough = nonempty(surface(&self.densities(resolution)?, level)?, level)?;
        refined(&rough, level, 0.5 * cell, |x| Ok(self.asked.sigma(x)))
    }

    /// The mesh with its paint; `None` when it was not to go on.
    fn painted(
        &self,
        lean: Mesh,
        paint: Paint,
        tell: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<Option<(Mesh, Option<f32>)>> {
        if !tell(Stage::Unwrap) {
            return Ok(None);
        }
        let pictures = self.field.as_primitives().map(|_| Looks::of(self.field, self.bounds, PAINTED));
        let ask = |x: &[Vec3], n: &[Vec3]| Ok(self.paint(pictures.as_ref(), x, n));
        let Paint::Texture(side) = paint else {
            if !tell(Stage::Paint) {
                return Ok(None);
            }
            let colours = bake::paint_vertices(&lean, ask)?;
            return Ok(Some((Mesh { colours, ..lean }, None)));
        };
        let mut mesh = unwrap::unwrap(&lean, side)?.mesh;
        if !tell(Stage::Paint) {
            return Ok(None);
        }
        mesh.texture = Some(bake::bake(&mesh, side, ask)?);
        let psnr = bake::texel_psnr(&mesh, SPOTS, 0, ask)?;
        Ok(Some((mesh, Some(psnr as f32))))
    }
}

fn nonempty(mesh: Mesh, level: f32) -> Result<Mesh> {
    if mesh.triangles.is_empty() { Err(no_surface(level)) } else { Ok(mesh) }
}

fn no_surface(level: f32) -> Error {
    Error::new(format!("the field has no surface at level {level}")).remedy("leave --level out, or try a lower one")
}

/// In the units and axes of the photos, upright.
fn in_dataset(mut mesh: Mesh, field: &dyn Field) -> Mesh {
    let frame = field.scene().scene_from_dataset;
    mesh.positions.iter_mut().for_each(|p| *p = (*p - frame.translation) / frame.scale);
    mesh
}
