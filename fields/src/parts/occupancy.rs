//! The occupancy grid: which cells of warped space hold anything, so that rays skip the rest.
//!
//! As in instant-ngp (Müller et al. 2022, appendix E): every cell keeps a decayed maximum of the optical thickness
//! `sigma · step` seen in it; a cell is occupied while that exceeds `min(limit, mean)`. Over the bits stands a pyramid of
//! 2, 4 and 8 times coarser grids, a coarse bit set if any bit below it is, which tells how far an empty block reaches.
//!
//! Order: `cell = x + R (y + R z)`, x fastest, for densities, for bits (bit `cell % 64` of word `cell / 64`) and at every
//! level of the pyramid. Without Morton's interleaving an index is two shifts, a kernel on any device can repeat it in
//! one line, and at the resolutions used here (32 KiB of bits at 64³) locality does not matter.

mod file;
mod refresh;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use glam::{UVec3, Vec3};
use rayon::prelude::*;
use retort_shaders::Aabb;

/// The grids of the pyramid: the finest and 2, 4 and 8 times coarser.
pub const LEVELS: usize = 4;
/// The density of a cell that is never occupied and never refreshed, see [`Occupancy::exclude`].
pub const EXCLUDED: f32 = -1.0;
/// Refreshed thicknesses are held to this, so that an infinity does not stay for ever.
const THICKEST: f32 = 1e4;
const CHUNK: usize = 1 << 14;

/// A cubic grid of occupied cells over a box of warped space.
#[derive(Clone, Debug, PartialEq)]
pub struct Occupancy {
    resolution: u32,
    bounds: Aabb,
    /// Cells per unit of warped space, per axis.
    scale: Vec3,
    /// `[R³]` decayed maximum of the optical thickness `sigma · step`, or [`EXCLUDED`].
    density: Vec<f32>,
    /// The bits of each level, the finest first.
    levels: [Vec<u64>; LEVELS],
}

/// Where a ray stands: the largest block around a cell in which every cell is as this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whether the cell is occupied. Then the block is the cell alone.
    pub occupied: bool,
    /// The block's side is `1 << level` cells.
    pub level: u32,
}

impl Occupancy {
    /// A grid in which every cell is occupied and no density is known yet (zero everywhere).
    ///
    /// `resolution` is a power of two from 8 to 512; `bounds` is `[-1, 1]³` for bounded scenes, `[-2, 2]³` contracted.
    ///
    /// # Panics
    /// If the resolution is another one, or the box is empty or not finite: see [`Occupancy::check`].
    pub fn new_full(resolution: u32, bounds: Aabb) -> Self {
        Self::uniform(resolution, bounds, u64::MAX)
    }

    /// A grid in which no cell is occupied, for [`Occupancy::mark`]; otherwise as [`Occupancy::new_full`].
    ///
    /// # Panics
    /// As [`Occupancy::new_full`].
    pub fn new_empty(resolution: u32, bounds: Aabb) -> Self {
        Self::uniform(resolution, bounds, 0)
    }

    fn uniform(resolution: u32, bounds: Aabb, word: u64) -> Self {
        if let Err(error) = Self::check(resolution, bounds) {
            panic!("{error}");
        }
        let cells = (resolution as usize).pow(3);
        Self::assemble(resolution, bounds, vec![0.0; cells], vec![word; cells / 64])
    }

    /// A grid with these bits `[R³ / 64]`; occupied cells get the thickness 1, the others 0.
    ///
    /// # Errors
    /// As [`Occupancy::check`], or if the number of words is not `R³ / 64`.
    pub fn from_bits(resolution: u32, bounds: Aabb, bits: &[u64]) -> Result<Self> {
        Self::check(resolution, bounds)?;
        let cells = (resolution as usize).pow(3);
        if bits.len() != cells / 64 {
            return Err(Error::new(format!(
                "an occupancy grid of {resolution}³ has {} words of bits, not {}",
                cells / 64,
                bits.len()
            )));
        }
        let density = (0..cells).map(|cell| f32::from(u8::from(bit(bits, cell)))).collect();
        Ok(Self::assemble(resolution, bounds, density, bits.to_vec()))
    }

    /// Whether there can be a grid of this shape.
    ///
    /// # Errors
    /// If `resolution` is not a power of two from 8 to 512, or the box is empty or not finite.
    pub fn check(resolution: u32, bounds: Aabb) -> Result<()> {
        if !resolution.is_power_of_two() || !(8..=512).contains(&resolution) {
            let what = format!("an occupancy grid of {resolution}³ cells is not possible");
            return Err(Error::new(what).remedy("use a power of two from 8 to 512"));
        }
        let finite = bounds.min.is_finite() && bounds.max.is_finite();
        if !finite || !(bounds.max - bounds.min).cmpgt(Vec3::ZERO).all() {
            return Err(Error::new(format!(
                "the box of the occupancy grid is empty: {} to {}",
                bounds.min, bounds.max
            )));
        }
        Ok(())
    }

    fn assemble(resolution: u32, bounds: Aabb, density: Vec<f32>, bits: Vec<u64>) -> Self {
        let scale = Vec3::splat(resolution as f32) / (bounds.max - bounds.min);
        let mut grid = Self { resolution, bounds, scale, density, levels: Default::default() };
        grid.set_bits(bits);
        grid
    }

    /// Cells along each axis.
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// The box of warped space that the grid covers.
    pub fn bounds(&self) -> Aabb {
        self.bounds
    }

    /// Cells per unit of warped space, per axis.
    pub fn cells_per_unit(&self) -> Vec3 {
        self.scale
    }

    /// `[R³]` optical thickness per cell; [`EXCLUDED`] where there can be nothing.
    pub fn density(&self) -> &[f32] {
        &self.density
    }

    /// `[R³ / 64]` occupied bits.
    pub fn bits(&self) -> &[u64] {
        &self.levels[0]
    }

    /// The bits at a level of the pyramid, `R >> level` cells along each axis, padded to whole words.
    pub fn level_bits(&self, level: usize) -> &[u64] {
        &self.levels[level]
    }

    /// The share of all cells that is occupied.
    pub fn occupied_fraction(&self) -> f32 {
        let ones: u64 = self.bits().iter().map(|w| u64::from(w.count_ones())).sum();
        (ones as f64 / self.density.len() as f64) as f32
    }

    /// The occupied cells, in rising order.
    pub fn occupied(&self) -> impl Iterator<Item = usize> + '_ {
        ones(self.bits())
    }

    /// Whether a cell is occupied.
    #[inline]
    pub fn is_occupied(&self, cell: usize) -> bool {
        bit(self.bits(), cell)
    }

    /// The middle of a cell, in warped space.
    pub fn cell_centre(&self, cell: usize) -> Vec3 {
        self.bounds.min + (self.cell_corner(cell) + 0.5) / self.scale
    }

    /// The lower corner of a cell, in cells.
    fn cell_corner(&self, cell: usize) -> Vec3 {
        cell_corner(cell, self.resolution.trailing_zeros())
    }

    /// The position in cells, `[0, R]` inside the grid.
    #[inline(always)]
    pub fn in_cells(&self, point: Vec3) -> Vec3 {
        (point - self.bounds.min) * self.scale
    }

    /// The cell that `point` (warped) lies in, the upper faces included; `None` outside and for a NaN.
    #[inline(always)]
    pub fn locate(&self, point: Vec3) -> Option<UVec3> {
        let p = self.in_cells(point);
        let top = self.resolution as f32;
        let inside = p.x >= 0.0 && p.y >= 0.0 && p.z >= 0.0 && p.x <= top && p.y <= top && p.z <= top;
        inside.then(|| p.as_uvec3().min(UVec3::splat(self.resolution - 1)))
    }

    /// Whether `point` (warped) lies in an occupied cell.
    #[inline]
    pub fn contains(&self, point: Vec3) -> bool {
        self.locate(point).is_some_and(|cell| self.occupied_at(cell, 0))
    }

    /// Whether anything is occupied in the block of side `1 << level` that holds `cell`.
    #[inline(always)]
    fn occupied_at(&self, cell: UVec3, level: u32) -> bool {
        bit(&self.levels[level as usize], level_index(self.resolution, cell, level))
    }

    /// The largest uniform block around `cell` that the pyramid knows: the cell itself if it is occupied.
    #[inline(always)]
    pub fn block(&self, cell: UVec3) -> Block {
        if self.occupied_at(cell, 0) {
            return Block { occupied: true, level: 0 };
        }
        let mut level = 0;
        while level + 1 < LEVELS as u32 && !self.occupied_at(cell, level + 1) {
            level += 1;
        }
        Block { occupied: false, level }
    }

    /// Takes in fresh optical thicknesses: `density = max(density · decay, fresh)` for every cell in `cells [n]`.
    ///
    /// A cell that is named twice decays once. Cells that were not looked at keep their value, so that a refresh of a
    /// small part of the grid cannot empty the rest. The bits stay until [`Occupancy::threshold`].
    pub fn update(&mut self, decay: f32, cells: &[u32], fresh: &[f32]) {
        assert_eq!(cells.len(), fresh.len(), "one fresh value per cell");
        let mut seen = vec![0_u64; self.density.len() / 64];
        for &cell in cells {
            let (word, mask) = (cell as usize / 64, 1_u64 << (cell % 64));
            if seen[word] & mask == 0 {
                seen[word] |= mask;
                if self.density[cell as usize] > 0.0 {
                    self.density[cell as usize] *= decay;
                }
            }
        }
        for (&cell, &fresh) in cells.iter().zip(fresh) {
            let density = &mut self.density[cell as usize];
            // An excluded cell stays excluded. A NaN compares false: the guard on the loss will have seen it.
            if *density >= 0.0 && fresh > *density {
                *density = fresh.min(THICKEST);
            }
        }
    }

    /// Sets the bits to `density > min(limit, mean density)`, rebuilds the pyramid, and returns the threshold used.
    pub fn threshold(&mut self, limit: f32) -> f32 {
        // Sums of fixed chunks, in order: the mean does not depend on the number of threads.
        let parts: Vec<(f64, usize)> = self
            .density
            .par_chunks(CHUNK)
            .map(|chunk| {
                let known = chunk.iter().filter(|&&d| d >= 0.0);
                known.fold((0.0, 0), |(sum, n), &d| (sum + f64::from(d), n + 1))
            })
            .collect();
        let (sum, known) = parts.iter().fold((0.0, 0), |(s, n), part| (s + part.0, n + part.1));
        let threshold = limit.min((sum / known.max(1) as f64) as f32).max(0.0);
        let pack = |cells: &[f32]| cells.iter().rev().fold(0_u64, |word, &d| word << 1 | u64::from(d > threshold));
        let bits = self.density.par_chunks(64).with_min_len(64).map(pack).collect();
        self.set_bits(bits);
        threshold
    }

    /// Occupies every cell that touches an occupied one, corners included; excluded cells stay empty.
    pub fn dilate(&mut self) {
        let side = self.resolution as usize;
        let mut cells: Vec<u8> = (0..self.density.len()).map(|cell| u8::from(bit(self.bits(), cell))).collect();
        for stride in [1, side, side * side] {
            let before = cells.clone();
            // Within one line of the axis: a run of `side · stride` cells holds `stride` of them, interleaved.
            cells.par_chunks_mut(side * stride).zip(before.par_chunks(side * stride)).for_each(|(cells, before)| {
                let reach = cells.len() - stride;
                cells[stride..].iter_mut().zip(&before[..reach]).for_each(|(c, b)| *c |= b);
                cells[..reach].iter_mut().zip(&before[stride..]).for_each(|(c, b)| *c |= b);
            });
        }
        let word = |(cells, density): (&[u8], &[f32])| {
            let pairs = cells.iter().zip(density).rev();
            pairs.fold(0_u64, |word, (&c, &d)| word << 1 | u64::from(c != 0 && d >= 0.0))
        };
        let bits = cells.par_chunks(64).zip(self.density.par_chunks(64)).with_min_len(64).map(word).collect();
        self.set_bits(bits);
    }

    /// Occupies the cells between two corners of warped space whose middle `inside` accepts, with the thickness 1.
    ///
    /// The pyramid follows at once. Excluded cells stay empty. Parts of the box outside the grid are ignored.
    pub fn mark(&mut self, low: Vec3, high: Vec3, mut inside: impl FnMut(Vec3) -> bool) {
        let last = (self.resolution - 1) as f32;
        let (first, end) = (self.in_cells(low), self.in_cells(high));
        // Written so that a NaN marks nothing.
        if !(first.cmple(Vec3::splat(last + 1.0)).all() && end.cmpge(Vec3::ZERO).all() && first.cmple(end).all()) {
            return;
        }
        let (first, end) =
            (first.clamp(Vec3::ZERO, Vec3::splat(last)).as_uvec3(), end.min(Vec3::splat(last)).as_uvec3());
        let shift = self.resolution.trailing_zeros();
        for z in first.z..=end.z {
            for y in first.y..=end.y {
                for x in first.x..=end.x {
                    let cell = (x | y << shift | z << (2 * shift)) as usize;
                    if self.density[cell] >= 0.0 && inside(self.cell_centre(cell)) {
                        self.density[cell] = self.density[cell].max(1.0);
                        self.set_cell(UVec3::new(x, y, z));
                    }
                }
            }
        }
    }

    /// Sets the bit of one cell and those above it.
    fn set_cell(&mut self, cell: UVec3) {
        for (level, bits) in self.levels.iter_mut().enumerate() {
            let index = level_index(self.resolution, cell, level as u32);
            bits[index / 64] |= 1 << (index % 64);
        }
    }

    /// Empties for good every cell for which `outside(cell's lower corner, upper corner)` holds.
    ///
    /// Such cells are not refreshed and do not count in the mean: those that no camera sees, and with a contraction
    /// those outside the ball of radius 2 ([`Occupancy::exclude_outside_ball`]).
    pub fn exclude(&mut self, outside: impl Fn(Vec3, Vec3) -> bool) {
        let (min, scale, shift) = (self.bounds.min, self.scale, self.resolution.trailing_zeros());
        let place = |corner: Vec3| min + corner / scale;
        self.exclude_cells(|cell| {
            let corner = cell_corner(cell, shift);
            outside(place(corner), place(corner + 1.0))
        });
    }

    /// Empties for good every cell for which `outside(cell)` holds, as [`Occupancy::exclude`].
    pub fn exclude_cells(&mut self, outside: impl Fn(usize) -> bool) {
        let mut bits = std::mem::take(&mut self.levels[0]);
        for cell in (0..self.density.len()).filter(|&cell| outside(cell)) {
            self.density[cell] = EXCLUDED;
            bits[cell / 64] &= !(1 << (cell % 64));
        }
        self.set_bits(bits);
    }

    /// Excludes the cells that lie wholly outside the ball of `radius` around the origin: 2 for contracted scenes.
    pub fn exclude_outside_ball(&mut self, radius: f32) {
        self.exclude(|low, high| Vec3::ZERO.clamp(low, high).length_squared() > radius * radius);
    }

    /// Replaces the finest bits and rebuilds the coarser ones from them.
    fn set_bits(&mut self, bits: Vec<u64>) {
        self.levels[0] = bits;
        for level in 1..LEVELS {
            let shift = self.resolution.trailing_zeros() as usize - level;
            let mut coarse = vec![0_u64; (1_usize << (3 * shift)).div_ceil(64)];
            let (fine_shift, mask) = (shift + 1, (2 << shift) - 1);
            ones(&self.levels[level - 1]).for_each(|cell| {
                let (x, y, z) = (cell & mask, (cell >> fine_shift) & mask, cell >> (2 * fine_shift));
                let index = x >> 1 | (y >> 1) << shift | (z >> 1) << (2 * shift);
                coarse[index / 64] |= 1 << (index % 64);
            });
            self.levels[level] = coarse;
        }
    }
}

/// The lower corner of a cell in cells, in a grid of `1 << shift` cells along an edge.
fn cell_corner(cell: usize, shift: u32) -> Vec3 {
    let (cell, mask) = (cell as u32, (1 << shift) - 1);
    UVec3::new(cell & mask, (cell >> shift) & mask, cell >> (2 * shift)).as_vec3()
}

#[inline(always)]
fn bit(bits: &[u64], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

/// The indices of the bits that are set, in rising order.
fn ones(bits: &[u64]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().flat_map(|(word, &bits)| {
        let mut left = bits;
        std::iter::from_fn(move || {
            let at = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(64 * word + at)
        })
    })
}

/// The index of the block that holds `cell`, at a level of the pyramid of a grid of `resolution`.
#[inline(always)]
fn level_index(resolution: u32, cell: UVec3, level: u32) -> usize {
    let shift = resolution.trailing_zeros() - level;
    ((cell.x >> level) | (cell.y >> level) << shift | (cell.z >> level) << (2 * shift)) as usize
}
