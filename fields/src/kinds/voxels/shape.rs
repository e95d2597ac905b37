//! Which vertices a grid has: those that it begins with, and those that are left when it grows or is pruned.
//!
//! As in Plenoxels, a new grid is the ball in the scene's box or all of the box; later a vertex is kept if light of the
//! views reaches a cell beside it, and a finer grid has the values of the coarser one, interpolated.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Voxels, VoxelsConfig};
use crate::error::{Error, Result};
use crate::field::{Reshape, Scene, tensor, values};
use crate::ops::voxels::Links;
use crate::ops::voxels::cpu::{self, Corners};
use crate::ops::voxels::links::RESOLUTIONS;
use crate::parts::occupancy::Occupancy;

/// The most vertices that are held: 28 values each, and as many again for the gradient and each moment of the
/// optimiser. It is what a full grid of 256³ has: 1.9 GB of values.
const MOST_ROWS: usize = 1 << 24;

/// Vertices whose values are interpolated at a time.
const CHUNK: usize = 1 << 16;

/// Refuses a grid that is larger than can be held.
pub(super) fn check_rows(rows: usize, resolution: u32) -> Result<()> {
    if rows <= MOST_ROWS {
        return Ok(());
    }
    let gigabytes = rows as f64 * 28.0 * 4.0 / 1e9;
    let what =
        format!("field.resolution: a grid of {resolution}³ would keep {rows} vertices ({gigabytes:.1} GB of values)");
    Err(Error::new(what).remedy(format!("begin coarser, or prune more: at most {MOST_ROWS} vertices are held")))
}

fn is_ball(config: &VoxelsConfig, scene: &Scene) -> bool {
    config.ball || scene.unbounded
}

/// The vertices of line `(y, z)` that a new grid has. In half cells from the middle, vertex `i` stands at `2i + 1 − R`;
/// those are kept that are nearer than a cell's diagonal, 2√3, to the ball that touches the box: every point of the ball
/// has all its corners.
fn first_in_line(resolution: u32, ball: bool, y: usize, z: usize) -> Range<usize> {
    let r = u64::from(resolution);
    if !ball {
        return 0..resolution as usize;
    }
    let radius = f64::from(resolution) + 2.0 * 3.0_f64.sqrt();
    let square = |i: usize| (2 * i as u64 + 1).abs_diff(r).pow(2);
    let Some(left) = ((radius * radius) as u64).checked_sub(square(y) + square(z)) else { return 0..0 };
    let reach = left.isqrt().min(r - 1);
    // |2i + 1 − R| ≤ reach
    let first = (r - 1).saturating_sub(reach).div_ceil(2);
    first as usize..(u64::midpoint(r - 1, reach) + 1) as usize
}

/// How many vertices a new grid has; takes no memory.
pub(super) fn first_rows(config: &VoxelsConfig, scene: &Scene) -> usize {
    let (r, ball) = (config.resolution as usize, is_ball(config, scene));
    let line = |(y, z): (usize, usize)| first_in_line(config.resolution, ball, y, z).len();
    (0..r).flat_map(|z| (0..r).map(move |y| (y, z))).map(line).sum()
}

/// The vertices of a new grid.
pub(super) fn first_links(config: &VoxelsConfig, scene: &Scene) -> Links {
    chosen(config.resolution, |y, z, line| {
        line[first_in_line(config.resolution, is_ball(config, scene), y, z)].fill(true);
    })
}

/// The vertices that `choose(y, z, line)` sets in each line along x.
fn chosen(resolution: u32, choose: impl Fn(usize, usize, &mut [bool]) + Sync) -> Links {
    let r = resolution as usize;
    let mut bits = vec![0_u32; (r * r * r).div_ceil(32)];
    let layer = |z: usize| {
        let mut lines = vec![false; r * r];
        lines.chunks_exact_mut(r).enumerate().for_each(|(y, line)| choose(y, z, line));
        lines
    };
    // A few layers at a time: all of them would be a byte for each vertex.
    for first in (0..r).step_by(16) {
        let layers: Vec<_> = (first..r.min(first + 16)).into_par_iter().map(layer).collect();
        for (z, layer) in (first..).zip(layers) {
            let at = z * r * r;
            layer.iter().enumerate().filter(|(_, kept)| **kept).for_each(|(i, _)| {
                bits[(at + i) / 32] |= 1 << ((at + i) % 32);
            });
        }
    }
    Links::new(resolution, &bits)
}

/// Which vertices are asked for by a point of an occupied cell: vertex `i` of `R` counts for points from `(i − ½) / R` to
/// `(i + 3/2) / R`, and the outermost ones for all beyond.
struct Wanted {
    /// For every layer of cells, the vertices above or below an occupied one, `[G, R, R]`.
    layers: Vec<Vec<bool>>,
    /// For every vertex along an axis, the cells that it counts for.
    cells: Vec<Range<usize>>,
}

impl Wanted {
    fn new(resolution: u32, grid: &Occupancy) -> Self {
        let (r, g) = (resolution as usize, grid.resolution() as usize);
        let cells: Vec<Range<usize>> = (0..r)
            .map(|i| {
                let low = (i as f64 - 0.5) / r as f64 * g as f64;
                let high = (i as f64 + 1.5) / r as f64 * g as f64;
                low.max(0.0) as usize..(high.ceil() as usize).min(g)
            })
            .collect();
        let layer = |z: usize| {
            let mut rows = vec![false; g * r];
            for (y, line) in rows.chunks_exact_mut(r).enumerate() {
                let occupied: Vec<bool> = (0..g).map(|x| grid.is_occupied(x + g * (y + g * z))).collect();
                line.iter_mut().zip(&cells).for_each(|(v, cells)| *v = occupied[cells.clone()].contains(&true));
            }
            let mut layer = vec![false; r * r];
            for (line, cells) in layer.chunks_exact_mut(r).zip(&cells) {
                for y in cells.clone() {
                    line.iter_mut().zip(&rows[y * r..][..r]).for_each(|(v, row)| *v |= row);
                }
            }
            layer
        };
        let layers = (0..g).into_par_iter().map(layer).collect();
        Self { layers, cells }
    }

    fn choose(&self, y: usize, z: usize, line: &mut [bool]) {
        let r = line.len();
        for layer in &self.layers[self.cells[z].clone()] {
            line.iter_mut().zip(&layer[y * r..][..r]).for_each(|(v, layer)| *v |= layer);
        }
    }
}

/// The vertices of a new grid that points of an occupied cell ask for.
///
/// # Errors
/// When there is no grid of this resolution.
pub(super) fn links_within(config: &VoxelsConfig, scene: &Scene, resolution: u32, grid: &Occupancy) -> Result<Links> {
    check_resolution(resolution)?;
    let (wanted, ball) = (Wanted::new(resolution, grid), is_ball(config, scene));
    Ok(chosen(resolution, |y, z, line| {
        wanted.choose(y, z, line);
        let within = first_in_line(resolution, ball, y, z);
        line[..within.start].fill(false);
        line[within.end..].fill(false);
    }))
}

fn check_resolution(resolution: u32) -> Result<()> {
    if RESOLUTIONS.contains(&resolution) {
        return Ok(());
    }
    let what = format!("a voxel grid of {resolution}³ vertices is not possible");
    Err(Error::new(what).remedy("use a resolution from 2 to 1024"))
}

/// Places of vertices in the unit cube, `[n, 3]`.
pub(super) fn places(links: &Links, vertices: &[usize]) -> Vec<f32> {
    let r = links.resolution() as f32;
    vertices.iter().flat_map(|&vertex| links.place(vertex).map(|i| (i as f32 + 0.5) / r)).collect()
}

impl Voxels {
    /// See [`crate::field::Volume::reshape`].
    pub(super) fn reshaped(&mut self, change: &Reshape<'_>) -> Result<bool> {
        let resolution = change.resolution.unwrap_or(self.config.resolution);
        check_resolution(resolution)?;
        if change.keep.is_none() && resolution == self.config.resolution {
            return Ok(false);
        }
        let links = self.pruned(resolution, change.keep);
        if links.rows() == 0 || (resolution == self.config.resolution && links.rows() == self.links.rows()) {
            return Ok(false);
        }
        check_rows(links.rows(), resolution)?;
        self.density = self.resampled(&self.density, &links, self.config.empty());
        self.sh = self.resampled(&self.sh, &links, 0.0);
        if let Some(keep) = change.keep.filter(|keep| keep.resolution() == self.core.occupancy.resolution()) {
            // What has no vertex stays empty: rays need not look there again.
            Arc::make_mut(&mut self.core.occupancy).exclude_cells(|cell| !keep.is_occupied(cell));
        }
        self.config.resolution = resolution;
        self.links = Arc::new(links);
        Ok(true)
    }

    /// The vertices of a grid of another resolution: within those that there are and, if `keep` is given, beside what is
    /// to be kept.
    fn pruned(&self, resolution: u32, keep: Option<&Occupancy>) -> Links {
        let wanted = keep.map(|keep| Wanted::new(resolution, keep));
        let ball = is_ball(&self.config, &self.core.scene);
        let (old, r) = (self.links.resolution() as usize, resolution as usize);
        // The old vertices around a new one, along an axis.
        let around = |i: usize| {
            let position = ((i as f32 + 0.5) / r as f32 * old as f32 - 0.5).clamp(0.0, (old - 1) as f32);
            let low = (position as usize).min(old - 2);
            let fraction = position - low as f32;
            // A new vertex that stands on an old one is that one.
            low + usize::from(fraction == 1.0)..low + 1 + usize::from(fraction > 0.0)
        };
        let around: Vec<Range<usize>> = (0..r).map(around).collect();
        chosen(resolution, |y, z, line| {
            match &wanted {
                Some(wanted) => wanted.choose(y, z, line),
                None => line.fill(true),
            }
            let within = first_in_line(resolution, ball, y, z);
            for (x, kept) in line.iter_mut().enumerate().filter(|(_, kept)| **kept) {
                let mut there = around[z]
                    .clone()
                    .flat_map(|z| around[y].clone().map(move |y| (y, z)))
                    .flat_map(|(y, z)| around[x].clone().map(move |x| x + old * (y + old * z)));
                *kept = within.contains(&x) && there.any(|vertex| self.links.row(vertex).is_some());
            }
        })
    }

    /// Values `[rows, C]` of this grid at the vertices of another one.
    fn resampled(&self, old: &Tensor<2>, links: &Links, fill: f32) -> Tensor<2> {
        let (channels, device) = (old.dims()[1], old.device());
        let old = values(old.clone());
        let vertices: Vec<usize> = links.vertices().collect();
        let mut new = vec![0.0; vertices.len() * channels];
        for (vertices, new) in vertices.chunks(CHUNK).zip(new.chunks_mut(CHUNK * channels)) {
            let corners = Corners::find(&self.links, &places(links, vertices));
            cpu::forward(&self.links, channels, fill, &corners, &old, new);
        }
        tensor(new, [vertices.len(), channels], &device)
    }
}
