//! A texture painted by asking for the colour at each texel's own place on the surface.
//!
//! Texel `(i, j)` of `side` has its centre at `((i + ½), (j + ½)) / side` in texture coordinates. Every texel whose square a
//! triangle touches belongs to the surface: its place is the point of the nearest triangle that is nearest to its centre,
//! the centre itself where it lies inside. All squares that are touched have their centre within half a diagonal.

use glam::{Vec2, Vec3};
use rayon::prelude::*;

use super::fill::fill;
use super::{Mesh, Texture, sound, srgb};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Texels or points that are asked for at a time.
pub const ASKED: usize = 1 << 16;
/// Rows that are covered at a time, by one thread.
const ROWS: usize = 32;
/// Rings of texels around the charts that take the nearest colours only: more than a lookup reaches in a texture that was
/// halved twice.
const RINGS: u32 = 4;
/// Half the squared diagonal of a texel: the squared distance within which a texel belongs to a triangle.
const REACH: f32 = 0.5;

/// Where the texels of a texture lie on the surface.
#[derive(Clone, Debug, Default)]
pub struct Texels {
    /// `y · width + x` of each, rising, `[n]`.
    pub index: Vec<u32>,
    /// Their places, `[n]`.
    pub positions: Vec<Vec3>,
    /// The unit normals there, `[n]`; those of the triangles for a mesh without normals.
    pub normals: Vec<Vec3>,
}

/// The texels of a texture of `width` by `height` that the triangles of a mesh touch, by its texture coordinates.
///
/// # Errors
/// When the mesh is broken or has no texture coordinates.
pub fn texels(mesh: &Mesh, width: u32, height: u32) -> Result<Texels> {
    let cover = Cover::new(mesh, width, height)?;
    let (positions, normals) = cover.places(mesh, 0..cover.index.len());
    Ok(Texels { index: cover.index, positions, normals })
}

/// The texture of `side` by `side` texels of an unwrapped mesh. `ask` gives the colours, sRGB-encoded in `[0, 1]`, at
/// points with unit normals, as many as it was given, at most [`ASKED`]; what no triangle touches is filled from around.
///
/// # Errors
/// As [`texels`], what `ask` gives, or when it gives too few colours or one that is not a number.
pub fn bake(mesh: &Mesh, side: u32, mut ask: impl FnMut(&[Vec3], &[Vec3]) -> Result<Vec<[f32; 3]>>) -> Result<Texture> {
    let cover = Cover::new(mesh, side, side)?;
    let count = cover.index.len();
    let mut rgb = vec![0; 3 * side as usize * side as usize];
    let mut known = vec![false; side as usize * side as usize];
    for start in (0..count).step_by(ASKED) {
        let part = start..(start + ASKED).min(count);
        let (positions, normals) = cover.places(mesh, part.clone());
        let colours = answers(&mut ask, &positions, &normals)?;
        for (&at, colour) in cover.index[part].iter().zip(colours) {
            rgb[3 * at as usize..][..3].copy_from_slice(&colour.map(srgb::byte));
            known[at as usize] = true;
        }
    }
    fill(&mut rgb, &known, side as usize, RINGS);
    Ok(Texture { width: side, height: side, rgb })
}

/// The colours of the vertices, `[n]`, for a mesh without a texture; `ask` as in [`bake`].
///
/// # Errors
/// When the mesh is broken, and as [`bake`].
pub fn paint_vertices(
    mesh: &Mesh,
    mut ask: impl FnMut(&[Vec3], &[Vec3]) -> Result<Vec<[f32; 3]>>,
) -> Result<Vec<[f32; 3]>> {
    sound::check(mesh)?;
    let own;
    let normals = if mesh.normals.is_empty() {
        own = sound::smooth_normals(&mesh.positions, &mesh.triangles);
        &own
    } else {
        &mesh.normals
    };
    let mut colours = Vec::with_capacity(mesh.positions.len());
    for (positions, normals) in mesh.positions.chunks(ASKED).zip(normals.chunks(ASKED)) {
        colours.extend(answers(&mut ask, positions, normals)?);
    }
    Ok(colours)
}

/// How near the mesh's own paint is to what `ask` says, dB: both at `points` random places of the surface, each part of it
/// as likely as another. The texture is looked up bilinearly, colours of vertices are interpolated linearly.
///
/// # Errors
/// When the mesh is broken or not painted, and as [`bake`].
pub fn texel_psnr(
    mesh: &Mesh,
    points: usize,
    seed: u64,
    mut ask: impl FnMut(&[Vec3], &[Vec3]) -> Result<Vec<[f32; 3]>>,
) -> Result<f64> {
    sound::check(mesh)?;
    if mesh.texture.is_none() && mesh.colours.is_empty() {
        return Err(Error::new("the mesh is not painted"));
    }
    let spots = scattered(mesh, points, seed);
    let mut squares = 0.0_f64;
    for part in spots.chunks(ASKED) {
        let (positions, normals): (Vec<_>, Vec<_>) = part.iter().map(|s| place(mesh, s)).unzip();
        for (spot, said) in part.iter().zip(answers(&mut ask, &positions, &normals)?) {
            let own = paint(mesh, spot);
            squares += own.iter().zip(said).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
    }
    Ok(-10.0 * (squares / (3 * spots.len().max(1)) as f64).max(1e-12).log10())
}

/// A point of a surface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    /// The triangle that it lies on.
    pub triangle: u32,
    /// How much each of its corners counts, 1 in all.
    pub weights: [f32; 3],
}

/// The mix of a vertex value at a point.
pub(super) fn mixed(values: &[Vec3], corners: [u32; 3], weights: [f32; 3]) -> Vec3 {
    corners.iter().zip(weights).map(|(&v, w)| values[v as usize] * w).sum()
}

fn place(mesh: &Mesh, spot: &Spot) -> (Vec3, Vec3) {
    let corners = mesh.triangles[spot.triangle as usize];
    let face = || {
        let [a, b, c] = corners.map(|v| mesh.positions[v as usize]);
        (b - a).cross(c - a).try_normalize().unwrap_or(Vec3::Z)
    };
    let smooth =
        if mesh.normals.is_empty() { None } else { mixed(&mesh.normals, corners, spot.weights).try_normalize() };
    (mixed(&mesh.positions, corners, spot.weights), smooth.unwrap_or_else(face))
}

fn paint(mesh: &Mesh, spot: &Spot) -> [f32; 3] {
    let corners = mesh.triangles[spot.triangle as usize];
    let sum = |of: &dyn Fn(u32) -> Vec3| corners.iter().zip(spot.weights).map(|(&v, w)| of(v) * w).sum::<Vec3>();
    match &mesh.texture {
        Some(texture) => texture.bilinear(sum(&|v| mesh.uvs[v as usize].extend(0.0)).truncate()),
        None => sum(&|v| Vec3::from(mesh.colours[v as usize])).to_array(),
    }
}

impl Texture {
    /// The colour at texture coordinates, bilinear, `[0, 1]`, sRGB-encoded; the border's goes on outside.
    pub fn bilinear(&self, uv: Vec2) -> [f32; 3] {
        let size = Vec2::new(self.width as f32, self.height as f32);
        let at = (uv * size - 0.5).clamp(Vec2::ZERO, size - 1.0);
        let low = at.floor();
        let (part, low) = (at - low, low.as_uvec2());
        let texel = |dx: u32, dy: u32| {
            let (x, y) = ((low.x + dx).min(self.width - 1) as usize, (low.y + dy).min(self.height - 1) as usize);
            let at = 3 * (y * self.width as usize + x);
            Vec3::from([0, 1, 2].map(|c| f32::from(self.rgb[at + c])))
        };
        let row = |dy| texel(0, dy).lerp(texel(1, dy), part.x);
        (row(0).lerp(row(1), part.y) / 255.0).to_array()
    }
}

fn answers(
    ask: &mut impl FnMut(&[Vec3], &[Vec3]) -> Result<Vec<[f32; 3]>>,
    positions: &[Vec3],
    normals: &[Vec3],
) -> Result<Vec<[f32; 3]>> {
    let mut colours = ask(positions, normals)?;
    if colours.len() != positions.len() {
        return Err(Error::new(format!("{} colours for {} points", colours.len(), positions.len())));
    }
    for colour in &mut colours {
        if colour.iter().any(|v| v.is_nan()) {
            return Err(
                Error::new("a colour of the surface is not a number").remedy("the field has diverged: choose another")
            );
        }
        *colour = colour.map(|v| v.clamp(0.0, 1.0));
    }
    Ok(colours)
}

/// Random points, each part of the surface as likely as another.
fn scattered(mesh: &Mesh, points: usize, seed: u64) -> Vec<Spot> {
    let mut rng = Rng::new(seed, "points of a surface");
    let mut sum = 0.0_f64;
    let reached: Vec<f64> = mesh
        .triangles
        .iter()
        .map(|t| {
            let [a, b, c] = t.map(|v| mesh.positions[v as usize]);
            sum += f64::from((b - a).cross(c - a).length());
            sum
        })
        .collect();
    let last = reached.len() - 1;
    (0..points)
        .map(|_| {
            let at = sum * (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let triangle = reached.partition_point(|r| *r <= at).min(last) as u32;
            let (root, part) = (rng.uniform().sqrt(), rng.uniform());
            Spot { triangle, weights: [1.0 - root, root * (1.0 - part), root * part] }
        })
        .collect()
}

/// Which triangle each texel belongs to.
pub(super) struct Cover {
    width: u32,
    size: Vec2,
    /// Texels that belong to one, rising.
    pub index: Vec<u32>,
    triangle: Vec<u32>,
}

impl Cover {
    pub(super) fn new(mesh: &Mesh, width: u32, height: u32) -> Result<Self> {
        sound::check(mesh)?;
        if mesh.uvs.is_empty() {
            return Err(Error::new("the mesh has no texture coordinates").remedy("unwrap it first"));
        }
        if width == 0 || height == 0 || u64::from(width) * u64::from(height) > 1 << 28 {
            return Err(Error::new(format!("a texture of {width}x{height} texels")).remedy("choose a smaller one"));
        }
        let size = Vec2::new(width as f32, height as f32);
        let mut bands = vec![Vec::new(); (height as usize).div_ceil(ROWS)];
        for (k, t) in mesh.triangles.iter().enumerate() {
            let y = t.map(|v| mesh.uvs[v as usize].y * size.y);
            if let Some((low, high)) = reached(y, height) {
                (low / ROWS..=high / ROWS).for_each(|band| bands[band].push(k as u32));
            }
        }
        let found: Vec<_> = bands
            .par_iter()
            .enumerate()
            .map(|(band, triangles)| covered_rows(mesh, triangles, band * ROWS, [width, height]))
            .collect();
        let (index, triangle) = found.into_iter().flatten().unzip();
        Ok(Self { width, size, index, triangle })
    }

    /// The place on the surface of the `k`-th texel.
    pub(super) fn spot(&self, mesh: &Mesh, k: usize) -> Spot {
        let (texel, triangle) = (self.index[k], self.triangle[k]);
        let centre = Vec2::new((texel % self.width) as f32, (texel / self.width) as f32) + 0.5;
        let corners = mesh.triangles[triangle as usize].map(|v| mesh.uvs[v as usize] * self.size);
        // A triangle without an area covers nothing, so there is one here.
        let weights = nearest(corners, centre).map_or([1.0, 0.0, 0.0], |(weights, _)| weights);
        Spot { triangle, weights }
    }

    fn places(&self, mesh: &Mesh, part: std::ops::Range<usize>) -> (Vec<Vec3>, Vec<Vec3>) {
        part.into_par_iter().map(|k| place(mesh, &self.spot(mesh, k))).unzip()
    }
}

/// The first and last texel, of `count`, whose centres are within reach of an interval's corners in texels.
fn reached(corners: [f32; 3], count: u32) -> Option<(usize, usize)> {
    let reach = REACH.sqrt();
    let low = corners.into_iter().fold(f32::INFINITY, f32::min) - reach - 0.5;
    let high = corners.into_iter().fold(f32::NEG_INFINITY, f32::max) + reach - 0.5;
    let (low, high) = (low.ceil().max(0.0), high.floor().min(count as f32 - 1.0));
    (low <= high).then_some((low as usize, high as usize))
}

/// Texels and triangles of a band of rows.
fn covered_rows(mesh: &Mesh, triangles: &[u32], first_row: usize, [width, height]: [u32; 2]) -> Vec<(u32, u32)> {
    let rows = ROWS.min(height as usize - first_row);
    let (w, size) = (width as usize, Vec2::new(width as f32, height as f32));
    let mut best = vec![(f32::INFINITY, 0_u32); rows * w];
    for &k in triangles {
        let corners = mesh.triangles[k as usize].map(|v| mesh.uvs[v as usize] * size);
        let (Some((left, right)), Some((top, bottom))) =
            (reached(corners.map(|p| p.x), width), reached(corners.map(|p| p.y), height))
        else {
            continue;
        };
        for y in top.max(first_row)..=bottom.min(first_row + rows - 1) {
            for x in left..=right {
                let slot = &mut best[(y - first_row) * w + x];
                let centre = Vec2::new(x as f32, y as f32) + 0.5;
                if let Some((_, distance)) = nearest(corners, centre).filter(|(_, d)| *d <= REACH && *d < slot.0) {
                    *slot = (distance, k);
                }
            }
        }
    }
    let index = |at: usize| (first_row * w + at) as u32;
    best.iter().enumerate().filter(|(_, b)| b.0 <= REACH).map(|(at, b)| (index(at), b.1)).collect()
}

/// The point of a triangle that is nearest to `p`, as weights of its corners, and its squared distance; `None` where the
/// triangle has no area.
fn nearest(corners: [Vec2; 3], p: Vec2) -> Option<([f32; 3], f32)> {
    let [a, b, c] = corners;
    let area = (b - a).perp_dot(c - a);
    if area == 0.0 {
        return None;
    }
    let inside = [(b - p).perp_dot(c - p) / area, (c - p).perp_dot(a - p) / area, (a - p).perp_dot(b - p) / area];
    if inside.iter().all(|w| *w >= 0.0) {
        let sum: f32 = inside.iter().sum();
        return Some((inside.map(|w| w / sum), 0.0));
    }
    let mut best = ([0.0; 3], f32::INFINITY);
    for k in 0..3 {
        let (from, to) = (corners[k], corners[(k + 1) % 3]);
        let along = to - from;
        let t = ((p - from).dot(along) / along.length_squared().max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        let distance = (from + t * along).distance_squared(p);
        if distance < best.1 {
            let mut weights = [0.0; 3];
            (weights[k], weights[(k + 1) % 3]) = (1.0 - t, t);
            best = (weights, distance);
        }
    }
    Some(best)
}

#[cfg(test)]
#[path = "bake_tests.rs"]
mod tests;
