//! Grids of svox2 (Fridovich-Keil, Yu et al., "Plenoxels: Radiance Fields without Neural Networks", CVPR 2022), `.npz`: read to
//! the same function, and written.
//!
//! Arrays: `radius` and `center` `[3]` (half the edges of the box, and its middle), `links` `[X, Y, Z]` of 32 bits (the row
//! of a vertex; below 0 it is empty), `density_data` `[N, 1]`, `sh_data` `[N, 3 · B]` in half precision, channel by channel,
//! `B` = 1, 4 or 9 harmonics, `basis_type` (1 for harmonics). Early files have `data` `[N, 1 + 3 · B]` instead of the two.
//!
//! There vertex `i` of `n` stands at the middle of cell `i` of `n`, values are interpolated trilinearly and stay the same beyond
//! the outermost vertices, `σ = max(0, value)` per unit of the file's coordinates, and the harmonics have the order and signs
//! of 3D Gaussian splatting: all as in [`crate::kinds::voxels`]. So a file is read by putting its rows in another order (x
//! fastest here, z there). What differs: colour here is held to `[0, 1]` at every sample, there from below alone.
//!
//! A grid of ours is a cube of vertices. One with fewer along an axis is that part of a cube; its last layer is there twice,
//! so that it stays the same up to the face of the box.

mod npz;
#[cfg(test)]
mod tests;
mod write;

pub use write::write;

use std::io::{Read, Seek};

use glam::{Quat, Vec3};
use rayon::prelude::*;
use retort_shaders::Aabb;
use serde_json::json;

use super::super::archive::Archive;
use super::super::field::{Provenance, VERSION};
use super::super::splats::Source;
use super::Held;
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::field::Scene;
use crate::kinds::voxels::{Density, VoxelSpace, VoxelsConfig};
use crate::ops::voxels::links::RESOLUTIONS;
use crate::ops::voxels::{Colour, Links};
use crate::parts::occupancy::Occupancy;
use crate::parts::sh::C0;
use crate::registry::FieldConfig;
use npz::{Array, Npz, Number};

/// Harmonics of a vertex of ours, for each channel.
const FUNCTIONS: usize = 9;
/// Coefficients of a vertex of ours.
const COEFFICIENTS: usize = 3 * FUNCTIONS;
/// What the log-density is held to. The lower end is what stands for 0: 6e-6 per unit is nothing on any path.
const LOG_SIGMA_RANGE: [f32; 2] = [-12.0, 15.0];
/// Values that come out of a file take at most this many times its length, and [`SLACK`].
const RATIO: u64 = 32;
/// What a small file may give beside that.
const SLACK: u64 = 64 << 20;
/// How far cameras stand around content of half-size 1; svox2's files do not say.
const EXTENT: f32 = 2.9;
/// Above this much of white, a colour is called brighter than white.
const WHITE: f32 = 1.01;

/// Whether a file that begins with `head` may be one: a zip file whose first entries are these arrays.
pub fn recognises(head: &[u8]) -> bool {
    let says = |word: &[u8]| head.windows(word.len()).any(|at| at == word);
    // `radius` comes first, and `links` may lie beyond what is looked at.
    head.starts_with(b"PK\x03\x04") && (says(b"radius.npy") || says(b"links.npy"))
}

/// Reads a file: the field, and what a person should know of it.
///
/// Memory is bounded by 64 MiB and 32 times the file for its values, four times that for the field's, and a bit for each
/// vertex of the cube.
///
/// # Errors
/// When it is cut short or damaged, its colour is no sum of harmonics of degree 2 or less, it has more than 1024 vertices
/// along an axis, a link leads to no row, or a value is not finite.
pub fn read(source: &mut Source<'_>) -> Result<(Held, Vec<String>)> {
    let most = SLACK.saturating_add(source.bytes().saturating_mul(RATIO));
    let mut file = Npz::open(source.reader())?;
    check_basis(&mut file)?;
    let mut notes = Vec::new();
    if file.has("background_data") {
        notes.push("its background (layers around the box) is left out".into());
    }
    let values = Values::read(&mut file, most)?;
    let grid = Grid::read(&mut file, values.rows)?;
    if grid.copied {
        notes.push("it has fewer vertices along one axis: beyond its box it fades out within a cell".into());
    }
    let archive = archive(&grid, &values, &mut notes)?;
    Ok((Held::Field(Box::new(archive)), notes))
}

/// Refuses colour that is not made of harmonics.
fn check_basis(file: &mut Npz<impl Read + Seek>) -> Result<()> {
    let refused = |name: &str| {
        Err(Error::new(format!("basis_type: its colour is {name}, not a sum of spherical harmonics"))
            .remedy("train it with --basis_type sh"))
    };
    let kind = match file.array("basis_type")? {
        Some(array) => array.numbers()?.first().copied().unwrap_or(1.0),
        None => 1.0,
    };
    match kind {
        4.0 => refused("a texture of directions"),
        255.0 => refused("a network's"),
        1.0 if file.has("basis_data") => refused("a texture of directions"),
        1.0 => Ok(()),
        other => refused(&format!("of type {other}")),
    }
}

/// Rows of an array, as the file's bytes.
struct Rows {
    number: Number,
    columns: usize,
    bytes: Vec<u8>,
}

impl Rows {
    fn read(name: &str, array: Array<impl Read>, most: u64) -> Result<(Self, usize)> {
        let (rows, columns) = match array.shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => {
                return Err(Error::new(format!("{name}: its shape is {:?}", array.shape)).remedy("the file is damaged"));
            }
        };
        let number = array.number;
        if matches!(number, Number::I32 | Number::I64) {
            return Err(Error::new(format!("{name}: its values are whole numbers")).remedy("the file is damaged"));
        }
        let bytes = array.bytes(most)?;
        Ok((Self { number, columns: columns as usize, bytes }, rows as usize))
    }

    #[inline]
    fn at(&self, row: usize, column: usize) -> f32 {
        let each = self.number.bytes();
        let at = (row * self.columns + column) * each;
        self.number.at(self.bytes.get(at..at + each).unwrap_or_default()) as f32
    }
}

/// Densities and harmonics of a file.
struct Values {
    density: Rows,
    /// `None` where they follow the density in its rows.
    sh: Option<Rows>,
    rows: usize,
    /// Harmonics for each channel.
    functions: usize,
}

impl Values {
    fn read(file: &mut Npz<impl Read + Seek>, most: u64) -> Result<Self> {
        let (density, sh, rows, columns) = if file.has("data") {
            let (all, rows) = Rows::read("data", file.needed("data")?, most)?;
            let columns = all.columns.saturating_sub(1);
            (all, None, rows, columns)
        } else {
            let (density, rows) = Rows::read("density_data", file.needed("density_data")?, most)?;
            let (sh, others) = Rows::read("sh_data", file.needed("sh_data")?, most)?;
            if density.columns != 1 || rows != others {
                let shapes = format!("[{rows}, {}] and sh_data [{others}, {}]", density.columns, sh.columns);
                return Err(Error::new(format!("density_data is {shapes}: not a density for each row"))
                    .remedy("the file is damaged"));
            }
            let columns = sh.columns;
            (density, Some(sh), rows, columns)
        };
        if ![3, 12, 27].contains(&columns) {
            let what = format!("sh_data: {columns} coefficients for each vertex, not 3, 12 or 27");
            return Err(Error::new(what).remedy("train it with --sh_dim 9 or less"));
        }
        Ok(Self { density, sh, rows, functions: columns / 3 })
    }

    /// The coefficients of a row, as many of each channel as ours have.
    fn coefficients(&self, row: usize) -> [f32; COEFFICIENTS] {
        std::array::from_fn(|at| {
            let (channel, function) = (at / FUNCTIONS, at % FUNCTIONS);
            let column = channel * self.functions + function;
            match &self.sh {
                _ if function >= self.functions => 0.0,
                Some(sh) => sh.at(row, column),
                None => self.density.at(row, 1 + column),
            }
        })
    }
}

/// Where a file's vertices are.
struct Grid {
    /// Half the edges of its box.
    radius: Vec3,
    centre: Vec3,
    /// Vertices along each axis.
    size: [usize; 3],
    /// Vertices along each axis of ours.
    resolution: usize,
    /// For each vertex of ours that is kept: its index, and its row in the file.
    kept: Vec<(u32, u32)>,
    /// Whether a layer had to be copied.
    copied: bool,
}

impl Grid {
    fn read(file: &mut Npz<impl Read + Seek>, rows: usize) -> Result<Self> {
        let three = |name: &str, numbers: Vec<f64>| match numbers[..] {
            [one] => Ok(Vec3::splat(one as f32)),
            [x, y, z] => Ok(Vec3::new(x as f32, y as f32, z as f32)),
            _ => Err(Error::new(format!("{name}: {} numbers, not 3", numbers.len())).remedy("the file is damaged")),
        };
        let radius = file.array("radius")?.map_or(Ok(vec![1.0]), Array::numbers)?;
        let centre = file.array("center")?.map_or(Ok(vec![0.0]), Array::numbers)?;
        let (radius, centre) = (three("radius", radius)?, three("center", centre)?);
        if !(radius.cmpgt(Vec3::splat(1e-6)).all() && radius.is_finite() && centre.is_finite()) {
            let what = format!("radius and center are no box: {radius}, {centre}");
            return Err(Error::new(what).remedy("the file is damaged"));
        }
        let links = file.needed("links")?;
        let whole = matches!(links.number, Number::I32 | Number::I64);
        let size: Vec<usize> = links.shape.iter().map(|n| (*n).min(1 << 20) as usize).collect();
        let sound = size.iter().all(|n| RESOLUTIONS.contains(&(*n as u32)));
        let ([x, y, z], true, true) = (&size[..], whole, sound) else {
            let what = format!("links: a grid of {:?} vertices", links.shape);
            return Err(Error::new(what).remedy("grids of 2 to 1024 vertices along each of three axes are read"));
        };
        let size = [*x, *y, *z];
        let resolution = size.into_iter().max().unwrap_or(2);
        let mut grid = Self { radius, centre, size, resolution, kept: Vec::new(), copied: false };
        grid.read_links(links, rows)?;
        if grid.kept.is_empty() {
            return Err(Error::new("links: no vertex is kept").remedy("its training removed everything"));
        }
        grid.kept.par_sort_unstable();
        Ok(grid)
    }

    /// The vertices that are kept, a slab of one x at a time.
    fn read_links(&mut self, mut links: Array<impl Read>, rows: usize) -> Result<()> {
        let [nx, ny, nz] = self.size;
        let (number, each) = (links.number, links.number.bytes());
        let mut slab = vec![0; ny * nz * each];
        let mut found = 0;
        for x in 0..nx {
            links.fill(&mut slab)?;
            for (at, bytes) in slab.chunks_exact(each).enumerate() {
                let link = number.at(bytes);
                if link < 0.0 {
                    continue;
                }
                let place = [x, at / nz, at % nz];
                found += 1;
                // Rows may be shared, but not so that a small file becomes a large grid.
                if link >= rows as f64 || found > rows {
                    let what = format!("links: vertex {place:?} has row {link}, vertex number {found} of those kept");
                    return Err(Error::new(format!("{what}, and there are {rows} rows")).remedy("the file is damaged"));
                }
                self.keep(place, link as u32);
            }
        }
        links.end()
    }

    /// Keeps a vertex, and where it is the last along an axis that is shorter than ours, the next one as well.
    fn keep(&mut self, place: [usize; 3], row: u32) {
        let r = self.resolution;
        let copies: [bool; 3] = std::array::from_fn(|a| place[a] + 1 == self.size[a] && self.size[a] < r);
        self.copied |= copies.contains(&true);
        for corner in 0..8_usize {
            let up: [usize; 3] = std::array::from_fn(|a| corner >> a & 1);
            if (0..3).all(|a| up[a] == 0 || copies[a]) {
                let [x, y, z] = std::array::from_fn(|a| place[a] + up[a]);
                self.kept.push(((x + r * (y + r * z)) as u32, row));
            }
        }
    }

    /// The box of the cube of vertices in scene units, in which the longest half edge of the file's box is 1.
    fn bounds(&self) -> Aabb {
        let half = self.radius / self.unit();
        let size = Vec3::from(self.size.map(|n| n as f32));
        Aabb { min: -half, max: -half + 2.0 * half * (self.resolution as f32 / size) }
    }

    /// The file's length of one scene unit.
    fn unit(&self) -> f32 {
        self.radius.max_element()
    }

    fn scene(&self) -> Scene {
        let scale = 1.0 / self.unit();
        Scene {
            bounds: self.bounds(),
            scene_from_dataset: Similarity { scale, rotation: Quat::IDENTITY, translation: -self.centre * scale },
            extent: EXTENT,
            ..Scene::default()
        }
    }

    fn links(&self) -> Links {
        let mut bits = vec![0_u32; self.resolution.pow(3).div_ceil(32)];
        self.kept.iter().for_each(|(vertex, _)| bits[*vertex as usize / 32] |= 1 << (vertex % 32));
        Links::new(self.resolution as u32, &bits)
    }

    /// The cells that a vertex of positive density counts in.
    fn occupancy(&self, densities: &[f32]) -> Result<Occupancy> {
        let r = self.resolution;
        let cells = (r / 2).next_power_of_two().clamp(16, 256);
        let ratio = cells as f64 / r as f64;
        // Vertex `i` counts from `i − ½` to `i + 3/2` cells of the grid, the outermost ones for all beyond; nothing does beyond
        // the file's box.
        let reach = |axis: usize, i: usize| {
            let end = if i + 1 >= self.size[axis] { self.size[axis] as f64 } else { i as f64 + 1.5 };
            let end = end.min(self.size[axis] as f64);
            ((i as f64 - 0.5).max(0.0) * ratio) as usize..((end * ratio).ceil() as usize).min(cells)
        };
        let ranges: [Vec<_>; 3] = [0, 1, 2].map(|axis| (0..r).map(|i| reach(axis, i)).collect());
        let mut bits = vec![0_u64; cells.pow(3) / 64];
        let solid = self.kept.iter().zip(densities).filter(|(_, density)| **density > 0.0);
        for ((vertex, _), _) in solid {
            let vertex = *vertex as usize;
            let [x, y, z] = [vertex % r, vertex / r % r, vertex / (r * r)];
            for z in ranges[2][z].clone() {
                for y in ranges[1][y].clone() {
                    for x in ranges[0][x].clone() {
                        let cell = x + cells * (y + cells * z);
                        bits[cell / 64] |= 1 << (cell % 64);
                    }
                }
            }
        }
        Occupancy::from_bits(cells as u32, self.bounds(), &bits)
    }

    /// Samples along the diagonal of `[-1, 1]³` at half the edge of the smallest cell, as svox2 takes them.
    fn samples(&self) -> u32 {
        let cell = (0..3).map(|a| 2.0 * self.radius[a] / self.unit() / self.size[a] as f32).fold(f32::MAX, f32::min);
        ((2.0 * 3.0_f32.sqrt() / (0.5 * cell)).ceil() as u32).clamp(16, 16_384)
    }
}

fn archive(grid: &Grid, values: &Values, notes: &mut Vec<String>) -> Result<Archive> {
    let unit = grid.unit();
    // Per scene unit: what is thinner the longer a unit is.
    let density: Vec<f32> = grid.kept.par_iter().map(|(_, row)| values.density.at(*row as usize, 0) * unit).collect();
    let sh: Vec<f32> = grid.kept.par_iter().flat_map_iter(|(_, row)| values.coefficients(*row as usize)).collect();
    for (name, data, width) in [("density_data", &density, 1), ("sh_data", &sh, COEFFICIENTS)] {
        if let Some(at) = data.par_iter().position_first(|v| !v.is_finite()) {
            let what = format!("{name}: row {} holds a value that is not a number", grid.kept[at / width].1);
            return Err(Error::new(what).remedy("its training diverged: save an earlier state of it"));
        }
    }
    let bright = brighter_than_white(&density, &sh);
    if bright > 0 {
        notes.push(format!(
            "{bright} of its {} vertices are brighter than white, and are drawn as white",
            density.len()
        ));
    }
    let occupancy = grid.occupancy(&density)?;
    let config = FieldConfig::Voxels(VoxelsConfig {
        resolution: grid.resolution as u32,
        ball: false,
        density: Density::Linear,
        colour: Colour::Clip,
        initial_sigma: 0.1,
        volume: VoxelSpace {
            log_sigma_range: LOG_SIGMA_RANGE,
            occupancy_resolution: occupancy.resolution(),
            samples_per_diagonal: grid.samples(),
            cone_angle: 0.0,
        },
    });
    let made = Provenance { made_by: "svox2".into(), from: "a grid of svox2".into(), ..Provenance::default() };
    let rows = density.len();
    Ok(Archive {
        json: json!({"version": VERSION, "config": config, "scene": grid.scene(), "provenance": made}),
        tensors: vec![("density".into(), [rows, 1], density), ("sh".into(), [rows, COEFFICIENTS], sh)],
        bytes: vec![
            ("extra.occupancy".into(), occupancy.to_bytes_compact()),
            ("extra.vertices".into(), grid.links().to_bytes()),
        ],
    })
}

/// How many vertices that are seen at all are brighter than white on the average over directions.
fn brighter_than_white(density: &[f32], sh: &[f32]) -> usize {
    let bright = |row: &[f32]| (0..3).any(|c| 0.5 + C0 * row[c * FUNCTIONS] > WHITE);
    density.par_iter().zip(sh.par_chunks_exact(COEFFICIENTS)).filter(|(d, row)| **d > 0.0 && bright(row)).count()
}
