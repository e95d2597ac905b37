//! The density grid: cascades of `128³` cells. Cascade `k` is a cube of edge `2ᵏ` around the middle of the unit cube, and a
//! point belongs to the finest that it lies in. Cells are in Morton's order, x in the lowest bit.
//!
//! A value is `σ · √3 / 1024`, the optical thickness of the least step; a cell is occupied where that exceeds
//! `min(0.01, mean of cascade 0)`. An occupancy grid of ours is one cube of 128 or 256 cells along an edge: a cell of it is
//! occupied where one is that it overlaps.

use std::ops::Range;

use glam::Vec3;
use half::f16;
use rayon::prelude::*;

use super::file::Snapshot;
use super::place::Place;
use crate::error::{Error, Result};
use crate::parts::occupancy::Occupancy;

/// Cells along an edge of a cascade.
pub const SIZE: usize = 128;
const CELLS: usize = SIZE * SIZE * SIZE;
/// The thickness above which a cell is occupied at the latest.
const THRESHOLD: f32 = 0.01;
/// Cells of ours along an edge of a box of up to two units, and of a larger one: twice as many take 64 MiB, and are
/// eightfold work where a training asks for them again.
const RESOLUTIONS: [usize; 2] = [128, 256];

/// The cascades of a box.
pub fn cascades(aabb_scale: u32) -> usize {
    aabb_scale.trailing_zeros() as usize + 1
}

/// The seven bits of a coordinate, three apart: in halves of what was apart before.
fn spread(coordinate: usize) -> usize {
    let fours = (coordinate | coordinate << 8) & 0o17_0017;
    let pairs = (fours | fours << 4) & 0o3_030_303;
    (pairs | pairs << 2) & 0o1_111_111
}

/// Where the cell `(x, y, z)` lies in a cascade.
fn morton([x, y, z]: [usize; 3]) -> usize {
    spread(x) | spread(y) << 1 | spread(z) << 2
}

/// Where a field is not empty, as instant-ngp would look there.
///
/// # Errors
/// When the grid has another size than its cascades.
pub fn occupancy(snapshot: &Snapshot<'_>, place: &Place, notes: &mut Vec<String>) -> Result<Occupancy> {
    let resolution = RESOLUTIONS[usize::from(place.aabb_scale > 2)];
    let bytes = snapshot.density_grid_binary.unwrap_or_default();
    let cascades = cascades(place.aabb_scale);
    if let Some(size) = snapshot.density_grid_size.filter(|n| *n as usize != SIZE) {
        let what = format!("snapshot.density_grid_size is {size}, not {SIZE}");
        return Err(Error::new(what).remedy("save it again with the published instant-ngp"));
    }
    if bytes.is_empty() {
        // So it is before training; then nothing is known to be empty.
        notes.push("its density grid is empty, so that all of its box counts as occupied".into());
    } else if bytes.len() != 2 * CELLS * cascades {
        let what = format!("snapshot.density_grid_binary: {} cells, not {cascades} times {SIZE}³", bytes.len() / 2);
        return Err(Error::new(what).remedy("the file is damaged"));
    }
    let occupied = (!bytes.is_empty()).then(|| thresholded(bytes));
    if place.is_cropped() {
        notes.push("its crop box is kept, to whole cells of the occupancy grid".into());
    }
    let bits = bits(resolution, place, occupied.as_deref());
    Occupancy::from_bits(resolution as u32, place.bounds(), &bits)
}

/// Which cells of all cascades are occupied.
fn thresholded(bytes: &[u8]) -> Vec<bool> {
    let values = super::nets::floats(bytes, true);
    let sum: f64 = values[..CELLS].iter().map(|v| f64::from(v.max(0.0))).sum();
    let least = THRESHOLD.min((sum / CELLS as f64) as f32);
    values.par_iter().map(|v| *v > least).collect()
}

/// How the cells of a cube of ours lie in the cascades, along an axis.
///
/// Edges and numbers of cells are powers of two: cells of one grid lie within those of the other, or hold them, and none is
/// in two cascades.
struct Axis {
    /// For each cell of ours, the finest cascade that reaches as far out.
    cascade: Vec<usize>,
    /// For each cascade and each cell of ours, the cells of the cascade that it overlaps.
    overlapped: Vec<Vec<Range<usize>>>,
}

impl Axis {
    fn new(resolution: usize, edge: usize) -> Self {
        let cascade = |i: usize| {
            // Distance of the farther face from the middle, in halves of a cell.
            let reach = (2 * i).abs_diff(resolution).max((2 * i + 2).abs_diff(resolution));
            (reach * edge).div_ceil(resolution).next_power_of_two().trailing_zeros() as usize
        };
        let cascades = edge.trailing_zeros() as usize + 1;
        let overlapped = |cascade: usize| {
            let per_cell = (edge * SIZE) as f64 / (resolution << cascade) as f64;
            let place = |i: usize| (i as f64 - 0.5 * resolution as f64) * per_cell + 0.5 * SIZE as f64;
            let range = |i: usize| place(i).floor().max(0.0) as usize..(place(i + 1).ceil() as usize).min(SIZE);
            (0..resolution).map(range).collect()
        };
        Self { cascade: (0..resolution).map(cascade).collect(), overlapped: (0..cascades).map(overlapped).collect() }
    }
}

/// The cells of ours that are occupied, as bits.
fn bits(resolution: usize, place: &Place, occupied: Option<&[bool]>) -> Vec<u64> {
    let edge = place.aabb_scale as usize;
    let each = edge as f32 / resolution as f32;
    let corner = |cell: [usize; 3]| Vec3::from(cell.map(|i| i as f32 * each - 0.5 * edge as f32));
    let axis = Axis::new(resolution, edge);
    let any = |occupied: &[bool], [x, y, z]: [usize; 3]| {
        let cascade = axis.cascade[x].max(axis.cascade[y]).max(axis.cascade[z]);
        let (cells, ranges) = (&occupied[cascade * CELLS..], &axis.overlapped[cascade]);
        ranges[z].clone().any(|z| {
            ranges[y].clone().any(|y| {
                let row = spread(y) << 1 | spread(z) << 2;
                ranges[x].clone().any(|x| cells[row | spread(x)])
            })
        })
    };
    let is_occupied = |cell: [usize; 3]| {
        occupied.is_none_or(|occupied| any(occupied, cell))
            && (!place.is_cropped() || place.draws(corner(cell), corner(cell.map(|i| i + 1))))
    };
    let word = |word: usize| {
        (0..64).fold(0, |bits, bit| {
            let at = 64 * word + bit;
            let cell = [at % resolution, at / resolution % resolution, at / (resolution * resolution)];
            bits | u64::from(is_occupied(cell)) << bit
        })
    };
    (0..resolution.pow(3) / 64).into_par_iter().map(word).collect()
}

/// A density grid of `cascades` cascades in half precision: 1 where `occupied` is, and 0 elsewhere.
pub fn density_grid(occupied: &Occupancy, cascades: usize) -> Vec<u8> {
    let resolution = occupied.resolution() as usize;
    let axis = Axis::new(resolution, 1 << (cascades - 1));
    let one = f16::ONE.to_le_bytes();
    let mut bytes = vec![[0; 2]; cascades * CELLS];
    for (cascade, ranges) in axis.overlapped.iter().enumerate() {
        let layer = &mut bytes[cascade * CELLS..][..CELLS];
        for cell in occupied.occupied() {
            let [x, y, z] = [cell % resolution, cell / resolution % resolution, cell / (resolution * resolution)];
            // Beyond a finer cascade's cube there is none of its cells.
            for z in ranges[z].clone() {
                for y in ranges[y].clone() {
                    ranges[x].clone().for_each(|x| layer[morton([x, y, z])] = one);
                }
            }
        }
    }
    bytes.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::{morton, spread};

    #[test]
    fn codes_are_mortons() {
        assert_eq!([morton([1, 0, 0]), morton([0, 1, 0]), morton([0, 0, 1]), morton([2, 0, 0])], [1, 2, 4, 8]);
        for i in 0..128 {
            assert_eq!(spread(i), (0..7).map(|bit| (i >> bit & 1) << (3 * bit)).sum::<usize>());
        }
        assert_eq!(morton([127, 127, 127]), (1 << 21) - 1);
    }
}
