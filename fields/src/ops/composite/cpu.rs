//! Compositing on the CPU.
//!
//! `αᵢ = 1 - exp(-σᵢ dtᵢ)`, `Tᵢ = Π_{j<i} (1 - αⱼ)`, `wᵢ = Tᵢ αᵢ`; a ray gives `Σ wᵢ (rgbᵢ, 1, tᵢ)`. A ray ends at the
//! first sample with `Tᵢ < stop`, which gets no weight. Backwards, with `gᵢ = grad · (rgbᵢ, 1, tᵢ)`:
//! `∂/∂σᵢ = dtᵢ (Tᵢ₊₁ gᵢ - Σ_{j>i} wⱼ gⱼ)` and `∂/∂rgbᵢ = wᵢ grad`.
//!
//! The exponentials are the work. They are taken a window of samples at a time, whichever rays those belong to, so they
//! fill the lanes even where rays have few samples. `1 - exp` is computed as one function: thin samples keep all digits.

use crate::parts::fast_math::{exp_m1, vectorised};
use crate::parts::packed::{RAYS_PER_TASK, ray_count, split_rows};
use rayon::prelude::*;
use std::ops::Range;

/// Samples whose alpha is computed together.
const WINDOW: usize = 256;

/// The alphas of samples that are asked for in rising order.
struct Alphas<'a> {
    sigma: &'a [f32],
    dt: &'a [f32],
    /// The samples that `values` holds.
    held: Range<usize>,
    values: [f32; WINDOW],
}

impl<'a> Alphas<'a> {
    fn new(sigma: &'a [f32], dt: &'a [f32]) -> Self {
        Self { sigma, dt, held: 0..0, values: [0.0; WINDOW] }
    }

    #[inline(always)]
    fn at(&mut self, sample: usize) -> f32 {
        if sample >= self.held.end {
            self.fill(sample);
        }
        self.values[sample - self.held.start]
    }

    #[inline(never)]
    fn fill(&mut self, first: usize) {
        self.held = first..(first + WINDOW).min(self.sigma.len());
        let (sigma, dt) = (&self.sigma[self.held.clone()], &self.dt[self.held.clone()]);
        let values = &mut self.values;
        vectorised(
            #[inline(always)]
            || {
                for ((value, &sigma), &dt) in values.iter_mut().zip(sigma).zip(dt) {
                    *value = -exp_m1(-sigma * dt);
                }
            },
        );
    }

    /// Visits the samples of one ray with their weights until it ends. Gives the light left and the samples visited.
    #[inline(always)]
    fn walk(&mut self, rows: Range<usize>, stop: f32, mut visit: impl FnMut(usize, f32)) -> (f32, usize) {
        let mut light = 1.0;
        for sample in rows.clone() {
            // Not `light >= stop`: a NaN goes on, so that it is seen in the picture.
            if light < stop {
                return (light, sample - rows.start);
            }
            let alpha = self.at(sample);
            visit(sample, light * alpha);
            light *= 1.0 - alpha;
        }
        (light, rows.len())
    }
}

/// The rows of ray `index`.
#[inline(always)]
fn rows(ray_start: &[u32], index: usize) -> Range<usize> {
    ray_start[index] as usize..ray_start[index + 1] as usize
}

fn check(ray_start: &[u32], sigma: &[f32], dt: &[f32]) -> usize {
    assert_eq!(sigma.len(), dt.len(), "sigma and dt are [n]");
    ray_count(ray_start, sigma.len())
}

/// Composites `sigma [n]` (per scene unit, not negative), `rgb [n, 3]`, `t [n]`, `dt [n]` (scene units) into
/// `out [r, 5]`: premultiplied colour, alpha, and `Σ w t`. A ray ends where less than `stop` of its light is left.
pub fn forward(ray_start: &[u32], sigma: &[f32], rgb: &[f32], t: &[f32], dt: &[f32], stop: f32, out: &mut [f32]) {
    let rays = check(ray_start, sigma, dt);
    assert_eq!((rgb.len(), t.len()), (3 * sigma.len(), sigma.len()), "rgb is [n, 3], t is [n]");
    assert_eq!(out.len(), 5 * rays, "out is [r, 5]");
    let rgb = rgb.as_chunks::<3>().0;
    out.par_chunks_mut(5 * RAYS_PER_TASK).enumerate().for_each(|(task, out)| {
        let mut alphas = Alphas::new(sigma, dt);
        for (i, out) in out.as_chunks_mut::<5>().0.iter_mut().enumerate() {
            let mut sum = [0.0; 5];
            alphas.walk(rows(ray_start, task * RAYS_PER_TASK + i), stop, |s, w| {
                let [r, g, b] = rgb[s];
                sum = [sum[0] + w * r, sum[1] + w * g, sum[2] + w * b, sum[3] + w, sum[4] + w * t[s]];
            });
            *out = sum;
        }
    });
}

/// The weight of every sample, `weights [n]`; zero behind the end of its ray.
pub fn weights(ray_start: &[u32], sigma: &[f32], dt: &[f32], stop: f32, weights: &mut [f32]) {
    check(ray_start, sigma, dt);
    assert_eq!(weights.len(), sigma.len(), "weights is [n]");
    split_rows(weights, 1, ray_start).into_par_iter().enumerate().for_each(|(task, weights)| {
        let first = task * RAYS_PER_TASK;
        let base = ray_start[first] as usize;
        let mut alphas = Alphas::new(sigma, dt);
        weights.fill(0.0);
        for ray in first..(first + RAYS_PER_TASK).min(ray_start.len() - 1) {
            alphas.walk(rows(ray_start, ray), stop, |s, w| weights[s - base] = w);
        }
    });
}

/// The number of samples of each ray before its end, `[r]`: only these need a colour.
pub fn live_count(ray_start: &[u32], sigma: &[f32], dt: &[f32], stop: f32) -> Vec<u32> {
    let mut counts = vec![0; check(ray_start, sigma, dt)];
    counts.par_chunks_mut(RAYS_PER_TASK).enumerate().for_each(|(task, counts)| {
        let mut alphas = Alphas::new(sigma, dt);
        for (i, count) in counts.iter_mut().enumerate() {
            *count = alphas.walk(rows(ray_start, task * RAYS_PER_TASK + i), stop, |_, _| {}).1 as u32;
        }
    });
    counts
}

/// The gradients to `sigma` and `rgb`, from `grad_out [r, 5]`, into `grad_sigma [n]` and `grad_rgb [n, 3]`, which are
/// overwritten. They are zero behind the end of a ray.
#[expect(clippy::too_many_arguments, reason = "the arrays of the forward pass and their gradients")]
pub fn backward(
    ray_start: &[u32],
    sigma: &[f32],
    rgb: &[f32],
    t: &[f32],
    dt: &[f32],
    stop: f32,
    grad_out: &[f32],
    grad_sigma: &mut [f32],
    grad_rgb: &mut [f32],
) {
    let rays = check(ray_start, sigma, dt);
    let n = sigma.len();
    assert_eq!((rgb.len(), t.len()), (3 * n, n), "rgb is [n, 3], t is [n]");
    assert_eq!((grad_sigma.len(), grad_rgb.len()), (n, 3 * n), "grad_sigma is [n], grad_rgb is [n, 3]");
    assert_eq!(grad_out.len(), 5 * rays, "grad_out is [r, 5]");
    let (rgb, grad_out) = (rgb.as_chunks::<3>().0, grad_out.as_chunks::<5>().0);
    let pieces = split_rows(grad_sigma, 1, ray_start).into_par_iter().zip(split_rows(grad_rgb, 3, ray_start));
    pieces.enumerate().for_each(|(task, (grad_sigma, grad_rgb))| {
        let first = task * RAYS_PER_TASK;
        let base = ray_start[first] as usize;
        let grad_rgb = grad_rgb.as_chunks_mut::<3>().0;
        let mut alphas = Alphas::new(sigma, dt);
        for (ray, grad) in (first..rays).zip(&grad_out[first..]).take(RAYS_PER_TASK) {
            let rows = rows(ray_start, ray);
            // Forwards the weights, kept where the gradient will be; backwards the gradient, with the light after each
            // sample recovered by adding weights from the dark end, where small sums keep their digits.
            let (mut after, live) = alphas.walk(rows.clone(), stop, |s, w| grad_sigma[s - base] = w);
            let mut behind = 0.0;
            for s in (rows.start..rows.start + live).rev() {
                let weight = grad_sigma[s - base];
                let [r, g, b] = rgb[s];
                let worth = grad[0] * r + grad[1] * g + grad[2] * b + grad[3] + grad[4] * t[s];
                grad_sigma[s - base] = dt[s] * (after * worth - behind);
                grad_rgb[s - base] = [weight * grad[0], weight * grad[1], weight * grad[2]];
                behind += weight * worth;
                after += weight;
            }
            let dark = rows.start + live - base..rows.end - base;
            grad_sigma[dark.clone()].fill(0.0);
            grad_rgb[dark].fill([0.0; 3]);
        }
    });
}
