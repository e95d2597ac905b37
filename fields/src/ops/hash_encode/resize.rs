//! A hash table of another size, without training.
//!
//! Indices are a hash modulo the size of a level, and sizes are powers of two: entry `i` of the smaller table holds what
//! entries `i, i + size, …` of the larger one held. Those that come to share a place become their mean, each counted by
//! its length, for most entries of a trained table were never read and are next to nothing.

use super::reference::entry;
use super::spec::{HashSpec, Level};

/// The table `[entries, features]` of `to` that says what `table` of `from` says, as far as there is room; `None` where
/// the levels lie at other scales.
pub fn resized(from: &HashSpec, table: &[f32], to: &HashSpec) -> Option<Vec<f32>> {
    let (old, new) = (from.levels(), to.levels());
    let scales = old.iter().zip(new).all(|(a, b)| a.scale == b.scale);
    if from.features() != to.features() || old.len() != new.len() || !scales {
        return None;
    }
    let width = from.features();
    let mut out = vec![0.0; to.param_count()];
    let mut counted = vec![0.0_f32; to.entries()];
    for (old, new) in old.iter().zip(new) {
        places(old, new, |source, target| {
            let value = &table[(old.offset + source) * width..][..width];
            let length = value.iter().map(|v| v * v).sum::<f32>().sqrt() + f32::MIN_POSITIVE;
            let target = new.offset + target;
            counted[target] += length;
            for (sum, v) in out[target * width..][..width].iter_mut().zip(value) {
                *sum += length * v;
            }
        });
    }
    for (row, counted) in out.chunks_exact_mut(width).zip(counted) {
        // A place that nothing comes to stays nought.
        row.iter_mut().filter(|_| counted > 0.0).for_each(|v| *v /= counted);
    }
    Some(out)
}

/// Every pair of an entry of `old` and the entry of `new` that has the same grid points.
fn places(old: &Level, new: &Level, mut pair: impl FnMut(usize, usize)) {
    if old.hashed && new.hashed {
        for i in 0..old.size.max(new.size) {
            pair(i % old.size, i % new.size);
        }
        return;
    }
    // One of them has an entry for each grid point, so the points can be counted through. Those just beyond the far
    // faces have none of their own in a dense level, and would change others' means.
    let side = old.resolution.min(new.resolution);
    for z in 0..side {
        for y in 0..side {
            for x in 0..side {
                pair(entry(old, x, y, z), entry(new, x, y, z));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::forward;
    use super::*;
    use crate::rng::Rng;

    fn spec(log2_table_size: u32) -> HashSpec {
        HashSpec::new(4, 2, log2_table_size, 4, 32).expect("a spec")
    }

    /// The largest difference of the encodings at some points.
    fn differ(a: (&HashSpec, &[f32]), b: (&HashSpec, &[f32])) -> f32 {
        let mut rng = Rng::new(5, "points");
        // Not at the far faces, where a dense level has no points of its own.
        let x: Vec<f32> = (0..300).map(|_| rng.range(0.0, 0.8)).collect();
        let encoded = |(spec, table): (&HashSpec, &[f32])| {
            let mut out = vec![0.0; 100 * spec.out_dim()];
            forward(spec, &x, table, &mut out);
            out
        };
        encoded(a).iter().zip(encoded(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_larger_table_says_the_same_and_the_way_back_as_well() {
        let mut rng = Rng::new(7, "table");
        for (small, large) in [(6, 8), (9, 11), (8, 16)] {
            let (small, large) = (spec(small), spec(large));
            let table: Vec<f32> = (0..small.param_count()).map(|_| rng.range(-1.0, 1.0)).collect();
            let more = resized(&small, &table, &large).expect("the same levels");
            assert!(differ((&small, &table), (&large, &more)) < 1e-6);
            let again = resized(&large, &more, &small).expect("the same levels");
            assert!(differ((&small, &table), (&small, &again)) < 1e-5);
            let mut other = more.clone();
            other.iter_mut().for_each(|v| *v += 0.1);
            assert!(differ((&small, &table), (&large, &other)) > 0.05, "the comparison is too loose");
        }
    }

    #[test]
    fn entries_that_share_a_place_become_their_mean_and_unused_ones_do_not_count() {
        let (large, small) = (spec(12), spec(11));
        let level = large.levels()[3].clone();
        assert!(level.hashed && small.levels()[3].hashed);
        let mut table = vec![0.0; large.param_count()];
        let (first, second) = (level.offset + 3, level.offset + 3 + small.levels()[3].size);
        (table[2 * first], table[2 * first + 1]) = (1.0, 0.5);
        let place = 2 * (small.levels()[3].offset + 3);
        let said = resized(&large, &table, &small).expect("the same levels");
        assert_eq!(said[place..place + 2], [1.0, 0.5], "the other was never read");
        (table[2 * second], table[2 * second + 1]) = (0.0, -0.5);
        let said = resized(&large, &table, &small).expect("the same levels");
        assert!(said[place] < 1.0 && said[place] > 0.5, "{}", said[place]);
    }

    #[test]
    fn other_levels_are_refused() {
        let table = vec![0.0; spec(8).param_count()];
        let other = HashSpec::new(4, 2, 8, 4, 33).expect("a spec");
        assert_eq!(resized(&spec(8), &table, &other), None);
    }
}
