//! Which Gaussian falls on which tile, nearest first.
//!
//! Depths are sorted once for the whole picture (stable radix sort, so that equal depths keep the order of their
//! indices), then a counting sort by tile keeps that order inside every tile. A tile counts only where the ellipse
//! `alpha ≥ 1/255` crosses the rectangle around its pixel centres, up to rounding.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::project::{ALPHA_MIN, Splat};

/// Side of a tile in pixels.
pub const TILE: usize = 16;
/// Gaussians in a piece of parallel work, and the most pieces; fixed, so that results do not depend on the threads.
const PIECE: usize = 2048;
const PIECES: usize = 32;

/// The tiles of a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grid {
    /// Pixels across and down.
    pub size: [usize; 2],
    /// Tiles across and down.
    pub tiles: [usize; 2],
}

impl Grid {
    /// The tiles that cover `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        Self { size: [width, height], tiles: [width.div_ceil(TILE), height.div_ceil(TILE)] }
    }

    /// Tiles in all.
    pub fn len(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// The first pixel of tile `t`, x and y.
    pub fn origin(&self, t: usize) -> [usize; 2] {
        [t % self.tiles[0] * TILE, t / self.tiles[0] * TILE]
    }
}

/// The crossings of Gaussians and tiles.
#[derive(Debug, Default)]
pub struct Bins {
    /// Crossings of tile `t` are `tile_start[t]..tile_start[t + 1]`.
    pub tile_start: Vec<u32>,
    /// The rank by depth of each crossing's Gaussian, tile by tile, nearest first.
    pub rank: Vec<u32>,
    /// Crossings of rank `r` are `places[place_start[r]..place_start[r + 1]]`.
    pub place_start: Vec<u32>,
    /// Where in `rank` the crossings are, Gaussian by Gaussian.
    pub places: Vec<u32>,
}

/// Sorts pairs of a depth's bits (of a number from 0, so that the bits sort as it does) and anything, stable.
pub fn depth_order(mut items: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    const DIGITS: [(u32, usize); 3] = [(0, 11), (11, 11), (22, 10)];
    let mut counts = vec![[0_u32; 2048]; 3];
    for (key, _) in &items {
        for (count, (shift, bits)) in counts.iter_mut().zip(DIGITS) {
            count[(key >> shift) as usize & ((1 << bits) - 1)] += 1;
        }
    }
    let mut spare = vec![(0, 0); items.len()];
    for (count, (shift, bits)) in counts.iter_mut().zip(DIGITS) {
        if count.iter().any(|&c| c as usize == items.len()) {
            continue;
        }
        let mut sum = 0;
        for c in count.iter_mut() {
            sum += std::mem::replace(c, sum);
        }
        for &item in &items {
            let slot = &mut count[(item.0 >> shift) as usize & ((1 << bits) - 1)];
            spare[*slot as usize] = item;
            *slot += 1;
        }
        std::mem::swap(&mut items, &mut spare);
    }
    items
}

/// The least integer that is not below `x`, for `x` from 0. (`f32::ceil` is a call on a plain x86-64.)
#[inline(always)]
fn ceil(x: f32) -> usize {
    let whole = x as usize;
    whole + usize::from((whole as f32) < x)
}

/// Columns of tiles that `splat` crosses in the rows of pixels from `first` to `last`, as a half-open range.
#[inline(always)]
fn columns(splat: &Splat, ellipse: &Ellipse, first: f32, last: f32, tiles: usize) -> (usize, usize) {
    let (d0, d1) = (first - splat.mean[1], last - splat.mean[1]);
    let right = ellipse.extent(splat, ellipse.turn.clamp(d0, d1), 1.0);
    let left = ellipse.extent(splat, (-ellipse.turn).clamp(d0, d1), -1.0);
    // Pixel column c has its centre at c + ½; half a hundredth of a pixel makes up for rounding.
    let low = splat.mean[0] + left - 0.505;
    let high = splat.mean[0] + right - 0.495;
    if !(high >= 0.0 && low <= high) {
        return (0, 0);
    }
    let (c0, c1) = (ceil(low.max(0.0)), high as usize);
    if c0 > c1 {
        return (0, 0);
    }
    let t1 = (c1 / TILE + 1).min(tiles);
    ((c0 / TILE).min(t1), t1)
}

/// The outline `u² + v² = reach²` on which alpha is 1/255.
struct Ellipse {
    square: f32,
    /// dy of the outline's rightmost point.
    turn: f32,
}

impl Ellipse {
    #[inline(always)]
    fn new(splat: &Splat) -> Self {
        let square = (splat.peak - ALPHA_MIN.log2()).max(0.0) * 1.0001 + 1e-4;
        let shear = splat.lyx / splat.lyy;
        let turn = -square.sqrt() * shear / ((1.0 + shear * shear).sqrt() * splat.lyy);
        Self { square, turn }
    }

    /// dx of the outline at `dy`, on the right for `side` 1 and on the left for -1.
    #[inline(always)]
    fn extent(&self, splat: &Splat, dy: f32, side: f32) -> f32 {
        let v = splat.lyy * dy;
        let u = (self.square - v * v).max(0.0).sqrt();
        (side * u - splat.lyx * dy) / splat.lxx
    }
}

/// The crossings of one piece of the depth order: a tile each, Gaussian by Gaussian, and how many each Gaussian has.
struct Piece {
    tiles: Vec<u32>,
    crossings: Vec<u32>,
    counts: Vec<u32>,
}

fn cross(splats: &[Splat], grid: &Grid) -> Piece {
    let mut piece = Piece {
        tiles: Vec::with_capacity(splats.len() * 4),
        crossings: Vec::with_capacity(splats.len()),
        counts: vec![0; grid.len()],
    };
    let bottom = grid.size[1] as f32 - 1.0;
    for splat in splats {
        let before = piece.tiles.len();
        let first = ceil((splat.mean[1] - splat.half[1] - 0.5).max(0.0));
        let last = (splat.mean[1] + splat.half[1] - 0.5).min(bottom);
        if last >= 0.0 && first <= last as usize {
            let last = last as usize;
            let ellipse = Ellipse::new(splat);
            for ty in first / TILE..=last / TILE {
                let y0 = first.max(ty * TILE) as f32 + 0.5;
                let y1 = last.min(ty * TILE + TILE - 1) as f32 + 0.5;
                let (t0, t1) = columns(splat, &ellipse, y0, y1, grid.tiles[0]);
                for t in ty * grid.tiles[0] + t0..ty * grid.tiles[0] + t1 {
                    piece.tiles.push(t as u32);
                    piece.counts[t] += 1;
                }
            }
        }
        piece.crossings.push((piece.tiles.len() - before) as u32);
    }
    piece
}

/// Sorts `splats`, which are in order of depth, into tiles.
pub fn bin(splats: &[Splat], grid: &Grid) -> Bins {
    let length = splats.len().div_ceil(PIECES).max(PIECE);
    let mut pieces: Vec<Piece> = splats.par_chunks(length).map(|chunk| cross(chunk, grid)).collect();

    let mut tile_start = Vec::with_capacity(grid.len() + 1);
    let mut total = 0_u32;
    for t in 0..grid.len() {
        tile_start.push(total);
        for piece in &mut pieces {
            total += std::mem::replace(&mut piece.counts[t], total);
        }
    }
    tile_start.push(total);

    // Every crossing has a place of its own, so that the order of these stores does not matter.
    let rank: Vec<AtomicU32> = (0..total).map(|_| AtomicU32::new(0)).collect();
    pieces.par_iter_mut().enumerate().for_each(|(k, piece)| {
        let mut crossing = piece.tiles.iter_mut();
        for (r, &count) in (k * length..).zip(&piece.crossings) {
            for tile in crossing.by_ref().take(count as usize) {
                let next = &mut piece.counts[*tile as usize];
                rank[*next as usize].store(r as u32, Ordering::Relaxed);
                *tile = *next;
                *next += 1;
            }
        }
    });

    let mut place_start = Vec::with_capacity(splats.len() + 1);
    let mut sum = 0;
    place_start.push(0);
    for count in pieces.iter().flat_map(|p| &p.crossings) {
        sum += count;
        place_start.push(sum);
    }
    let mut places = Vec::with_capacity(total as usize);
    for piece in &pieces {
        places.extend_from_slice(&piece.tiles);
    }
    let rank = rank.into_iter().map(AtomicU32::into_inner).collect();
    Bins { tile_start, rank, place_start, places }
}
