//! 256 values that stand for all: k-means in one dimension (Lloyd 1982).
//!
//! The values start where Panter and Dite (1951) put them for least squares, with a density of the cube root of that of
//! the samples, and settle from there. Sums over sorted samples make a step as cheap as 256 binary searches. Samples
//! where there are few weigh a little more than their number: least squares alone leave the ends of long tails far off.

use rayon::prelude::*;

/// Values in a codebook.
pub const SIZE: usize = 256;
/// Bins of equal weight that the start is made from.
const BINS: usize = 2048;
const STEPS: usize = 60;
/// The power of a bin's width that its samples weigh. Measured on trained Gaussians: the sum of squares grows by 2 to 8
/// %, the largest error of colours falls by a third.
const LIFT: f32 = 1.0 / 6.0;

/// Ascending values; those that are not needed repeat the last one.
#[derive(Clone, Debug)]
pub struct Codebook {
    /// `[256]`
    pub values: [f32; SIZE],
}

impl Codebook {
    /// Fits to samples, `[value, weight]`, finite and with weights above 0.
    pub fn fit(mut samples: Vec<[f32; 2]>) -> Self {
        samples.par_sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        let mut values: Vec<f32> = Vec::new();
        for sample in &samples {
            if values.len() <= SIZE && values.last() != Some(&sample[0]) {
                values.push(sample[0]);
            }
        }
        if values.len() > SIZE {
            let edges = edges(&Sums::new(&samples));
            lift(&mut samples, &edges);
            let sums = Sums::new(&samples);
            values = start(&edges);
            for _ in 0..STEPS {
                let next = sums.settled(&values);
                if next == values {
                    break;
                }
                values = next;
            }
        }
        let last = values.last().copied().unwrap_or(0.0);
        Self { values: std::array::from_fn(|k| values.get(k).copied().unwrap_or(last)) }
    }

    /// The index of the value that is nearest to `v`.
    pub fn index(&self, v: f32) -> u8 {
        let above = self.values.partition_point(|value| *value < v).min(SIZE - 1);
        let below = above.saturating_sub(1);
        if v - self.values[below] <= self.values[above] - v { below as u8 } else { above as u8 }
    }
}

/// Ends of bins of equal weight, ascending.
fn edges(sums: &Sums<'_>) -> Vec<f32> {
    let n = sums.samples.len();
    let at = |b: usize| sums.weight.partition_point(|w| *w < sums.weight[n] * b as f64 / BINS as f64);
    (0..=BINS).map(|b| sums.samples[at(b).min(n - 1)][0]).collect()
}

/// Gives samples weight where there are few.
fn lift(samples: &mut [[f32; 2]], edges: &[f32]) {
    let all = edges[BINS] - edges[0];
    let mut b = 0;
    for sample in samples {
        while b + 1 < BINS && sample[0] > edges[b + 1] {
            b += 1;
        }
        let width = ((edges[b + 1] - edges[b]) / all).max(1e-6);
        sample[1] *= width.powf(LIFT);
    }
}

/// Values spread with the cube root of the density of the weighed samples.
fn start(edges: &[f32]) -> Vec<f32> {
    let mut shares = vec![0.0; BINS + 1];
    for b in 0..BINS {
        // A bin of width w has density 1 / w, and w^LIFT / w once weighed: its share is w times the cube root of that.
        shares[b + 1] = shares[b] + f64::from(edges[b + 1] - edges[b]).powf(1.0 - f64::from(1.0 - LIFT) / 3.0);
    }
    let value = |k: usize| {
        let goal = shares[BINS] * (k as f64 + 0.5) / SIZE as f64;
        let b = shares.partition_point(|s| *s < goal).clamp(1, BINS) - 1;
        let part = (goal - shares[b]) / (shares[b + 1] - shares[b]).max(f64::MIN_POSITIVE);
        edges[b] + part.clamp(0.0, 1.0) as f32 * (edges[b + 1] - edges[b])
    };
    (0..SIZE).map(value).collect()
}

/// Sums over all samples before each, in ascending order.
struct Sums<'a> {
    samples: &'a [[f32; 2]],
    weight: Vec<f64>,
    value: Vec<f64>,
}

impl<'a> Sums<'a> {
    fn new(samples: &'a [[f32; 2]]) -> Self {
        let (mut weight, mut value) = (vec![0.0; samples.len() + 1], vec![0.0; samples.len() + 1]);
        for (i, [v, w]) in samples.iter().map(|s| s.map(f64::from)).enumerate() {
            weight[i + 1] = weight[i] + w;
            value[i + 1] = value[i] + w * v;
        }
        Self { samples, weight, value }
    }

    /// Each value in the middle of the samples that are nearest to it. One that has none goes to where the error is.
    fn settled(&self, values: &[f32]) -> Vec<f32> {
        let border = |k: usize| match k {
            0 => 0,
            SIZE => self.samples.len(),
            k => {
                let middle = f32::midpoint(values[k - 1], values[k]);
                self.samples.partition_point(|s| s[0] < middle)
            }
        };
        let borders: Vec<usize> = (0..=SIZE).map(border).collect();
        let mut next = Vec::with_capacity(SIZE);
        let mut free = 0;
        for pair in borders.windows(2) {
            let weight = self.weight[pair[1]] - self.weight[pair[0]];
            if weight > 0.0 {
                next.push(((self.value[pair[1]] - self.value[pair[0]]) / weight) as f32);
            } else {
                free += 1;
            }
        }
        // The widest cells are split, so that far-off samples get a value of their own.
        let mut widths: Vec<(f32, f32)> = borders
            .windows(2)
            .filter(|pair| pair[1] > pair[0] + 1)
            .map(|pair| (self.samples[pair[1] - 1][0], self.samples[pair[0]][0]))
            .map(|(high, low)| (high - low, high))
            .collect();
        widths.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        next.extend(widths.iter().take(free).map(|(_, high)| *high));
        while next.len() < SIZE {
            next.push(next.last().copied().unwrap_or(0.0));
        }
        next.sort_unstable_by(f32::total_cmp);
        next
    }
}
