//! Plenoxels' regularisers on a part of the vertices that is drawn anew for each step: total variation
//! `Σ_c √(Δx² + Δy² + Δz² + ε)` and the Cauchy loss `log(1 + 2σ²)` that keeps empty space empty.
//!
//! The part is a run of rows, so of neighbours along x, as in the published code: a random hundredth costs a hundredth.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::links::Links;
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply1};
use crate::rng::Rng;

/// The row of a neighbour that is not there.
pub(super) const MISSING: u32 = u32::MAX;
/// Keeps the root's slope finite.
pub(super) const EPS: f32 = 1e-9;
/// The share of the rows that is looked at, and the least number of them.
const SHARE: usize = 100;
const LEAST: usize = 1024;
/// Where an exponential density stops growing: `log(1 + 2σ²)` has its slope there already.
pub(super) const THICKEST: f32 = 12.0;

/// Which regulariser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// Total variation; differences count `scale` times.
    Variation {
        /// `R / 256`: the published weights belong to a grid of 256³ vertices.
        scale: f32,
    },
    /// The Cauchy loss of densities `max(0, value)`.
    CauchyLinear,
    /// The Cauchy loss of densities `exp(value)`.
    CauchyExp,
}

#[derive(Debug)]
pub(super) struct Regulariser {
    pub(super) penalty: Penalty,
    pub(super) channels: usize,
    /// A vertex and its next neighbours along x, y and z, as rows.
    pub(super) around: Arc<Vec<[u32; 4]>>,
}

/// Rows of a drawn part with their neighbours.
pub(super) fn draw(links: &Links, rng: &mut Rng) -> Vec<[u32; 4]> {
    let rows = links.rows();
    let wanted = rows.div_ceil(SHARE).max(LEAST).min(rows);
    let first = rng.below(rows.max(1));
    let r = links.resolution() as usize;
    let around = |(row, vertex): (usize, usize)| {
        let place = links.place(vertex);
        let next = |a: usize, by: usize| {
            if place[a] + 1 < r { links.row(vertex + by).unwrap_or(MISSING) } else { MISSING }
        };
        [row as u32, next(0, 1), next(1, r), next(2, r * r)]
    };
    let from = |first: usize| links.vertices_from(first).enumerate().map(move |(i, vertex)| (first + i, vertex));
    from(first).chain(from(0)).take(wanted).map(around).collect()
}

/// `Δ` of one channel to each neighbour.
fn differences(values: &[f32], channels: usize, rows: [u32; 4], k: usize, scale: f32) -> [f32; 3] {
    let own = values[rows[0] as usize * channels + k];
    [1, 2, 3].map(|a| {
        let there = rows[a] != MISSING;
        if there { scale * (values[rows[a] as usize * channels + k] - own) } else { 0.0 }
    })
}

impl Regulariser {
    fn value(&self, values: &[f32], rows: [u32; 4]) -> f32 {
        let channels = self.channels;
        let own = &values[rows[0] as usize * channels..][..channels];
        match self.penalty {
            Penalty::Variation { scale } => (0..channels)
                .map(|k| {
                    (differences(values, channels, rows, k, scale).iter().map(|d| d * d).sum::<f32>() + EPS).sqrt()
                })
                .sum(),
            Penalty::CauchyLinear => own.iter().map(|v| (2.0 * v.max(0.0).powi(2)).ln_1p()).sum(),
            Penalty::CauchyExp => own.iter().map(|v| (2.0 * (2.0 * v.min(THICKEST)).exp()).ln_1p()).sum(),
        }
    }

    fn add_gradient(&self, values: &[f32], rows: [u32; 4], g: f32, out: &mut [f32]) {
        let channels = self.channels;
        let at = rows[0] as usize * channels;
        for k in 0..channels {
            let own = values[at + k];
            match self.penalty {
                Penalty::Variation { scale } => {
                    let d = differences(values, channels, rows, k, scale);
                    let by = g * scale / (d.iter().map(|d| d * d).sum::<f32>() + EPS).sqrt();
                    out[at + k] -= by * (d[0] + d[1] + d[2]);
                    for a in (0..3).filter(|a| rows[a + 1] != MISSING) {
                        out[rows[a + 1] as usize * channels + k] += by * d[a];
                    }
                }
                Penalty::CauchyLinear => {
                    let sigma = own.max(0.0);
                    out[at + k] += g * 4.0 * sigma / (1.0 + 2.0 * sigma * sigma);
                }
                Penalty::CauchyExp => {
                    let square = 2.0 * (2.0 * own.min(THICKEST)).exp();
                    out[at + k] += g * 2.0 * square / (1.0 + square);
                }
            }
        }
    }
}

impl Kernel for Regulariser {
    fn output_shape(&self, _inputs: &[[usize; 2]]) -> [usize; 2] {
        [self.around.len(), 1]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        for (out, &rows) in output.iter_mut().zip(&*self.around) {
            *out = self.value(inputs[0], rows);
        }
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(out) = &mut grads[0] else { return };
        for (&g, &rows) in grad.iter().zip(&*self.around) {
            self.add_gradient(inputs[0], rows, g, out);
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// The regulariser of `values` `[rows, C]` over a part of the vertices that `rng` draws, `[1]`: the mean over vertices of
/// the sum over channels.
pub fn penalty(values: Tensor<2>, links: &Links, penalty: Penalty, rng: &mut Rng) -> Tensor<1> {
    let channels = values.dims()[1];
    let around = Arc::new(draw(links, rng));
    apply1(values, Regulariser { penalty, channels, around }).mean()
}
