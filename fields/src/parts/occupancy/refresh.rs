//! Where to ask the field again: points in cells, for [`Occupancy::update`].
//!
//! instant-ngp's rule: while training is young every cell, later half as many cells as there are, one half of them
//! anywhere and one half among the occupied ones, at a random place in each.

use super::Occupancy;
use crate::rng::Rng;
use glam::Vec3;
use rayon::prelude::*;

/// Points that share a stream of random numbers, so that threads do not change them.
const BATCH: usize = 4096;
/// A random cell that turns out to be excluded is drawn again at most this often, then left out.
const TRIES: usize = 16;

impl Occupancy {
    /// The points of one refresh: cells `[n]` (one may come twice) and a random place in each, `[n, 3]`, warped.
    ///
    /// While `warm_up`, all cells; else a quarter of the number of cells drawn anywhere and a quarter among the occupied
    /// ones. `rng` moves on by one draw, whatever the number of points, so threads do not change the result.
    pub fn refresh_points(&self, rng: &mut Rng, warm_up: bool) -> (Vec<u32>, Vec<f32>) {
        let cells = self.density.len();
        if !warm_up {
            return self.refresh_points_of(rng, cells / 4, cells / 4);
        }
        self.draw(rng, cells, |index, _| (self.density[index] >= 0.0).then_some(index))
    }

    /// A refresh of another size: `uniform` cells drawn anywhere, then `occupied` drawn among the occupied ones.
    pub fn refresh_points_of(&self, rng: &mut Rng, uniform: usize, occupied: usize) -> (Vec<u32>, Vec<f32>) {
        let cells = self.density.len();
        let mut total = 0;
        // before[w]: occupied cells in the words before w, to find the i-th of them.
        let count = |word: &u64| {
            let before = total;
            total += word.count_ones();
            before
        };
        let before: Vec<u32> = self.bits().iter().map(count).collect();
        let wanted = uniform + if total == 0 { 0 } else { occupied };
        self.draw(rng, wanted, |index, rng| {
            if index < uniform {
                return (0..TRIES).map(|_| rng.below(cells)).find(|&cell| self.density[cell] >= 0.0);
            }
            let rank = rng.below(total as usize) as u32;
            let word = before.partition_point(|&b| b <= rank) - 1;
            let mut bits = self.bits()[word];
            for _ in before[word]..rank {
                bits &= bits - 1;
            }
            Some(word * 64 + bits.trailing_zeros() as usize)
        })
    }

    fn draw(
        &self,
        rng: &mut Rng,
        wanted: usize,
        choose: impl Fn(usize, &mut Rng) -> Option<usize> + Sync,
    ) -> (Vec<u32>, Vec<f32>) {
        let seed = rng.next_u64();
        let batch = |first: usize| {
            let mut rng = Rng::at(seed, "occupancy refresh", first as u64);
            let (mut cells, mut position) = (Vec::with_capacity(BATCH), Vec::with_capacity(3 * BATCH));
            for index in first..(first + BATCH).min(wanted) {
                let Some(cell) = choose(index, &mut rng) else { continue };
                let jitter = Vec3::new(rng.uniform(), rng.uniform(), rng.uniform());
                cells.push(cell as u32);
                position.extend((self.bounds.min + (self.cell_corner(cell) + jitter) / self.scale).to_array());
            }
            (cells, position)
        };
        let batches: Vec<_> = (0..wanted.div_ceil(BATCH)).into_par_iter().map(|b| batch(b * BATCH)).collect();
        let (mut cells, mut position) = (Vec::with_capacity(wanted), Vec::with_capacity(3 * wanted));
        for part in batches {
            cells.extend(part.0);
            position.extend(part.1);
        }
        (cells, position)
    }
}
