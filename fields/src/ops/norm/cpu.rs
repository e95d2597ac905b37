//! Normalisation on a CPU: three passes over a view while a cache holds it (its mean, its variance, the result with its
//! activation), where stock operations write the picture anew for each of a dozen steps.

use rayon::prelude::*;

use super::Norm;
use crate::parts::fast_math::{exp, vectorised};

/// Places whose values are summed in single precision; sums of these are summed in double.
const BLOCK: usize = 256;
/// Lanes of a sum.
const LANES: usize = 16;
/// Values that are worth a task.
const TASK: usize = 1 << 13;

/// The sum of a few values, in lanes.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for values in values.chunks(LANES) {
        lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum()
}

/// The mean and the reciprocal deviation of a view, for each channel, and room for sums.
struct Stats {
    mean: Vec<f32>,
    root: Vec<f32>,
    part: Vec<f32>,
    totals: Vec<f64>,
}

impl Stats {
    fn room(width: usize, groups: usize) -> Self {
        let [mean, root, part] = [(); 3].map(|()| vec![0.0; width]);
        Self { mean, root, part, totals: vec![0.0; groups] }
    }

    #[inline(always)]
    fn of(&mut self, eps: f32, x: &[f32]) {
        self.mean.fill(0.0);
        self.total(
            x,
            #[inline(always)]
            |x, _| x,
        );
        share(&self.totals, x.len(), &mut self.mean);
        self.total(
            x,
            #[inline(always)]
            |x, mean| (x - mean) * (x - mean),
        );
        share(&self.totals, x.len(), &mut self.root);
        self.root.iter_mut().for_each(|v| *v = (*v + eps).sqrt().recip());
    }

    /// The sum of `term(x, mean)` over all places and the channels of each group.
    #[inline(always)]
    fn total(&mut self, x: &[f32], term: impl Fn(f32, f32) -> f32) {
        let Self { mean, part, totals, .. } = self;
        let (width, per_group) = (mean.len(), mean.len() / totals.len());
        totals.fill(0.0);
        for block in x.chunks(BLOCK * width) {
            part.fill(0.0);
            for row in block.chunks_exact(width) {
                part.iter_mut().zip(row).zip(&*mean).for_each(|((part, &x), &mean)| *part += term(x, mean));
            }
            for (total, part) in totals.iter_mut().zip(part.chunks_exact(per_group)) {
                *total += f64::from(sum(part));
            }
        }
    }
}

/// Each group's part of its total, for each of its channels.
fn share(totals: &[f64], values: usize, out: &mut [f32]) {
    let (per_group, part) = (out.len() / totals.len(), totals.len() as f64 / values as f64);
    out.chunks_exact_mut(per_group).zip(totals).for_each(|(out, total)| out.fill((total * part) as f32));
}

/// The row of a table of one row, or of one for each view.
fn row_of(table: &[f32], view: usize, width: usize) -> &[f32] {
    if table.len() == width { table } else { &table[view * width..][..width] }
}

/// `y [n·p, c]` of `x [n·p, c]`, `scale` and `shift` of one row or `n`.
pub fn forward(spec: Norm, width: usize, [x, scale, shift]: [&[f32]; 3], y: &mut [f32]) {
    let per_view = x.len() / spec.views;
    let views = y.par_chunks_mut(per_view).zip(x.par_chunks(per_view)).enumerate();
    views.with_min_len(TASK.div_ceil(per_view)).for_each_init(
        || Stats::room(width, spec.groups),
        |stats, (view, (y, x))| {
            let (scale, shift) = (row_of(scale, view, width), row_of(shift, view, width));
            vectorised(
                #[inline(always)]
                || {
                    stats.of(spec.eps, x);
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        for c in 0..width {
                            let z = (x[c] - stats.mean[c]) * stats.root[c] * scale[c] + shift[c];
                            y[c] = if spec.silu { z / (1.0 + exp(-z)) } else { z };
                        }
                    }
                },
            );
        },
    );
}

/// The gradients of `x`, `scale` and `shift`, given that of `y`. Views are summed one after another, so the result does
/// not depend on the number of threads.
pub fn backward(spec: Norm, width: usize, [x, scale, shift]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
    let per_view = x.len() / spec.views;
    let mut grad_x = vec![0.0; x.len()];
    // What each view says of its scale and its shift.
    let mut said = vec![0.0; 2 * spec.views * width];
    let views = grad_x.par_chunks_mut(per_view).zip(x.par_chunks(per_view)).zip(grad.par_chunks(per_view));
    views.zip(said.par_chunks_mut(2 * width)).enumerate().with_min_len(TASK.div_ceil(per_view)).for_each_init(
        || Stats::room(width, spec.groups),
        |stats, (view, (((grad_x, x), grad), said))| {
            let (scale, shift) = (row_of(scale, view, width), row_of(shift, view, width));
            vectorised(
                #[inline(always)]
                || {
                    stats.of(spec.eps, x);
                    view_backward(spec, stats, [x, scale, shift, grad], grad_x, said);
                },
            );
        },
    );
    let gather = |which: usize, table: &[f32]| {
        let mut sum = vec![0.0; table.len()];
        for (view, said) in said.chunks_exact(2 * width).enumerate() {
            let at = if table.len() == width { 0 } else { view * width };
            sum[at..][..width].iter_mut().zip(&said[which * width..]).for_each(|(sum, said)| *sum += said);
        }
        sum
    };
    let (of_scale, of_shift) = (gather(0, scale), gather(1, shift));
    [grad_x, of_scale, of_shift]
}

/// With `g` the gradient before the activation: `dx = (g s − mean(g s) − x̂ mean(g s x̂)) / √(variance + ε)`.
#[inline(always)]
fn view_backward(spec: Norm, stats: &Stats, given: [&[f32]; 4], grad_x: &mut [f32], said: &mut [f32]) {
    let [x, scale, shift, grad] = given;
    let width = scale.len();
    let (of_scale, of_shift) = said.split_at_mut(width);
    for ((to, x), grad) in grad_x.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width)) {
        for c in 0..width {
            let hat = (x[c] - stats.mean[c]) * stats.root[c];
            let z = hat * scale[c] + shift[c];
            let sigmoid = (1.0 + exp(-z)).recip();
            let slope = if spec.silu { sigmoid * (1.0 + z * (1.0 - sigmoid)) } else { 1.0 };
            to[c] = grad[c] * slope;
            of_scale[c] += to[c] * hat;
            of_shift[c] += to[c];
        }
    }
    let per_group = width / spec.groups;
    let share = (per_group as f32 * (x.len() / width) as f32).recip();
    for first in (0..width).step_by(per_group) {
        let group = first..first + per_group;
        let of = |said: &[f32]| sum_of(&said[group.clone()], &scale[group.clone()]) * share;
        let (plain, along) = (of(of_shift), of(of_scale));
        for (to, x) in grad_x.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            for c in group.clone() {
                let hat = (x[c] - stats.mean[c]) * stats.root[c];
                to[c] = (to[c] * scale[c] - plain - hat * along) * stats.root[c];
            }
        }
    }
}

#[inline(always)]
fn sum_of(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
