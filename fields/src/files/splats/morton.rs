//! The order along a Z curve (Morton 1966): neighbours in it are neighbours in space.
//!
//! A centre's key interleaves the bits of its three coordinates in a cube around all of them,
//! `key = … z₁ y₁ x₁ z₀ y₀ x₀`, 10 bits each. Where more than [`FEW`] share a cell of that cube, as most do beside a few
//! far-away ones, they are ordered again in a cube of their own.

use rayon::prelude::*;

/// A cell with at most so many centres is left as it is.
const FEW: usize = 256;
/// Bits for each coordinate: with 32 for the row, a key is one word, which sorts fastest.
const BITS: u32 = 10;

/// The rows of `means` in order along the curve, `[n]`, at most 2³² of them; equal ones stay in the order that they have.
pub(super) fn order(means: &[[f32; 3]]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..means.len() as u32).collect();
    // Ranges whose members share a cell; a stack, since nesting goes by the file.
    let mut todo = vec![(0, means.len())];
    while let Some((mut start, end)) = todo.pop() {
        let part = &mut order[start..end];
        let Some(keyed) = keyed(means, part) else { continue };
        part.iter_mut().zip(&keyed).for_each(|(to, key)| *to = *key as u32);
        for cell in keyed.chunk_by(|a, b| a >> 32 == b >> 32) {
            if cell.len() > FEW {
                todo.push((start, start + cell.len()));
            }
            start += cell.len();
        }
    }
    order
}

/// Keys, in the upper halves, and rows in order; none where all lie in one place.
fn keyed(means: &[[f32; 3]], rows: &[u32]) -> Option<Vec<u64>> {
    let all = || [[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]];
    let both = |[a, b]: [[f32; 3]; 2], [c, d]: [[f32; 3]; 2]| {
        [std::array::from_fn(|k| a[k].min(c[k])), std::array::from_fn(|k| b[k].max(d[k]))]
    };
    let some = rows
        .par_chunks(4096)
        .map(|rows| rows.iter().map(|row| means[*row as usize]).fold(all(), |found, mean| both(found, [mean, mean])));
    let [min, max] = some.reduce(all, both).map(|end: [f32; 3]| end.map(f64::from));
    let side = (0..3).map(|k| max[k] - min[k]).fold(0.0, f64::max);
    if side <= 0.0 {
        return None;
    }
    // In `f64`, where no side is too long; the farthest falls into the last cell.
    let cells = f64::from(1 << BITS) * (1.0 - f64::EPSILON) / side;
    let key = |row: u32| {
        let cell = |k: usize| spread(((f64::from(means[row as usize][k]) - min[k]) * cells) as u32) << k;
        u64::from(cell(0) | cell(1) | cell(2)) << 32 | u64::from(row)
    };
    let mut keyed: Vec<u64> = rows.par_iter().map(|row| key(*row)).collect();
    keyed.par_sort_unstable();
    Some(keyed)
}

/// 10 bits with two zeros after each.
fn spread(bits: u32) -> u32 {
    let mut x = bits & 0x3FF;
    x = (x | x << 16) & 0x0300_00FF;
    x = (x | x << 8) & 0x0300_F00F;
    x = (x | x << 4) & 0x030C_30C3;
    (x | x << 2) & 0x0924_9249
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The mean side of the boxes around runs of 256.
    fn compactness(means: &[[f32; 3]], order: &[u32]) -> f32 {
        let side = |run: &[u32]| {
            let range = |k: usize| {
                let values = run.iter().map(|row| means[*row as usize][k]);
                values.clone().fold(f32::MIN, f32::max) - values.fold(f32::MAX, f32::min)
            };
            (0..3).map(range).fold(0.0, f32::max)
        };
        let runs: Vec<f32> = order.chunks(256).map(side).collect();
        runs.iter().sum::<f32>() / runs.len() as f32
    }

    #[test]
    fn bits_are_interleaved() {
        for x in 0..1024 {
            let want = (0..10).map(|bit| (x >> bit & 1) << (3 * bit)).sum::<u32>();
            assert_eq!(spread(x), want);
        }
    }

    #[test]
    fn runs_are_compact_even_beside_far_away_ones() {
        let mut rng = Rng::new(0, "morton");
        let mut means: Vec<[f32; 3]> = (0..8192).map(|_| std::array::from_fn(|_| rng.uniform())).collect();
        let as_they_are: Vec<u32> = (0..8192).collect();
        // 32 runs fill the unit cube: a perfect one would have a side of about ⅓.
        assert!(compactness(&means, &as_they_are) > 0.9, "the negative control");
        let found = order(&means);
        assert!(compactness(&means, &found) < 0.65, "{}", compactness(&means, &found));
        let mut rows = found.clone();
        rows.sort_unstable();
        assert_eq!(rows, as_they_are, "every row once");
        means[77] = [1e30, -3e38, 1e30];
        means[99] = [3e38, 3e38, 0.0];
        let mut found = order(&means);
        found.retain(|row| *row != 77 && *row != 99);
        assert!(compactness(&means, &found) < 0.65, "{}", compactness(&means, &found));
    }

    #[test]
    fn those_in_one_place_stay_as_they_are() {
        assert_eq!(order(&[[1.0; 3]; 1000]), (0..1000).collect::<Vec<_>>());
        assert!(order(&[]).is_empty());
    }
}
