//! Changing the shape of a factorised grid: finer or coarser (bilinear planes, linear lines), or cut to a smaller box.

use rayon::prelude::*;

use super::spec::{FactorSpec, Form};

/// A source row with its weight, for each of two.
type Blend = [(usize, f32); 2];

/// For each of `to` points along an axis, the two of `from` points that it lies between.
fn between(from: u32, to: u32) -> Vec<Blend> {
    let step = f64::from(from - 1) / f64::from(to - 1);
    (0..to)
        .map(|i| {
            let position = f64::from(i) * step;
            let low = (position as u32).min(from - 2);
            let f = (position - f64::from(low)) as f32;
            [(low as usize, 1.0 - f), (low as usize + 1, f)]
        })
        .collect()
}

/// The table of the same field sampled on `to`'s grid points; only the resolutions may differ.
pub fn resampled(from: &FactorSpec, table: &[f32], to: &FactorSpec) -> Vec<f32> {
    let blends = [0, 1, 2].map(|a| between(from.resolution[a], to.resolution[a]));
    mapped(from, table, to, &blends)
}

/// The table of the part from grid point `low` to grid point `high`, both in it, and its spec.
pub fn cropped(from: &FactorSpec, table: &[f32], low: [u32; 3], high: [u32; 3]) -> (FactorSpec, Vec<f32>) {
    let resolution = [0, 1, 2].map(|a| high[a] - low[a] + 1);
    let to = FactorSpec { resolution, ..from.clone() };
    let blends = [0, 1, 2].map(|a| (low[a]..=high[a]).map(|i| [(i as usize, 1.0), (i as usize, 0.0)]).collect());
    let table = mapped(from, table, &to, &blends);
    (to, table)
}

/// Every new grid point of every factor from old ones, as `blends` says for each axis.
fn mapped(from: &FactorSpec, table: &[f32], to: &FactorSpec, blends: &[Vec<Blend>; 3]) -> Vec<f32> {
    let columns = to.columns();
    // What each new row is made of: up to four old rows.
    let mut rows: Vec<[(usize, f32); 4]> = Vec::with_capacity(to.rows());
    if from.form == Form::Planes {
        for (mode, [a, b, _]) in super::spec::AXES.into_iter().enumerate() {
            let (first, side) = (from.plane_row(mode), from.resolution[a] as usize);
            for [low, high] in &blends[b] {
                for [left, right] in &blends[a] {
                    let tap = |b: &(usize, f32), a: &(usize, f32)| (first + b.0 * side + a.0, a.1 * b.1);
                    rows.push([tap(low, left), tap(low, right), tap(high, left), tap(high, right)]);
                }
            }
        }
    }
    let lines = if from.form == Form::Planes { [2, 1, 0] } else { [0, 1, 2] };
    for axis in lines {
        let first = from.line_row(axis);
        rows.extend(blends[axis].iter().map(|[a, b]| [(first + a.0, a.1), (first + b.0, b.1), (0, 0.0), (0, 0.0)]));
    }
    let mut new = vec![0.0; rows.len() * columns];
    new.par_chunks_mut(columns).zip(rows.par_iter()).for_each(|(out, taps)| {
        for &(row, weight) in taps.iter().filter(|(_, weight)| *weight != 0.0) {
            out.iter_mut().zip(&table[row * columns..][..columns]).for_each(|(out, value)| *out += weight * value);
        }
    });
    new
}
