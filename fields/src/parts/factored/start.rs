//! A factorised field without training: another field is asked at every grid point that its occupancy grid knows, and
//! alternating least squares find the factors. What no light reaches hardly counts: a surface hides any inside.

use glam::Vec3;
use rayon::prelude::*;

use super::{DensityActivation, Factored};
use crate::error::Result;
use crate::field::{Reshape, Source, tensor, values};
use crate::ops::factors::fit::{Wanted, fit};
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

/// Points that are asked about at a time.
const CHUNK: usize = 1 << 15;
/// The most grid points that are asked about.
const MOST: usize = 1_200_000;
/// A log-density below or above these looks like them, however far beyond it is.
const SEEN: [f32; 2] = [-4.0, 5.5];
/// What counts at least.
const DARK: f32 = 0.02;
/// Sweeps over all factors.
const SWEEPS: u32 = 8;

fn env(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

impl<const PLANES: bool> Factored<PLANES> {
    /// See [`crate::field::Volume::take_over`].
    pub(super) fn taken_over(&mut self, source: &Source<'_>) -> Result<bool> {
        let Some(latent_of) = source.block1 else { return Ok(false) };
        let keep = Occupancy::clone(&self.core.occupancy);
        self.change_shape(&Reshape { resolution: source.resolution, keep: Some(&keep), shrink: true })?;
        let at = self.grid_points(&keep);
        if at.is_empty() {
            return Ok(false);
        }
        let (mut log_sigma, mut latent) = (Vec::with_capacity(at.len()), Vec::new());
        for at in at.chunks(CHUNK) {
            let x: Vec<f32> = at.iter().flat_map(|at| self.place(at).to_array()).collect();
            let (said, own) = latent_of(&x);
            log_sigma.extend(said);
            latent.extend(own);
        }
        if log_sigma.iter().any(|l| l.is_nan()) || latent.iter().any(|v| !v.is_finite()) {
            return Ok(false);
        }
        let light = self.light(&at, &log_sigma);
        let mut table = values(self.factors.clone());
        let mut basis = values(self.basis.clone());
        self.fit_density(&at, &log_sigma, &light, &mut table);
        // A colour shows as far as its point is opaque.
        let reach = 2.0 * self.cell();
        let shown: Vec<f32> =
            light.iter().zip(&log_sigma).map(|(light, log)| light * (1.0 - (-log.exp() * reach).exp()) + 1e-4).collect();
        let held = [f32::NEG_INFINITY, f32::INFINITY];
        let wanted = Wanted { at: &at, values: &latent, weight: &shown, held };
        let columns = self.spec.sigma_rank..self.spec.columns();
        let sweeps = env("FIT_SWEEPS_APP", SWEEPS as f32) as u32;
        fit(&self.spec, &wanted, columns, &mut table, &mut basis, true, sweeps);
        let device = self.factors.device();
        self.factors = tensor(table, [self.spec.rows(), self.spec.columns()], &device);
        self.basis = tensor(basis, [self.spec.latent, self.spec.products()], &device);
        Ok(true)
    }

    /// The length of a cell's shortest edge.
    fn cell(&self) -> f32 {
        (self.bounds().size() / Vec3::from_array(self.spec.resolution.map(|r| (r - 1) as f32))).min_element()
    }

    fn place(&self, at: &[u16; 3]) -> Vec3 {
        let cells = Vec3::from_array(self.spec.resolution.map(|r| (r - 1) as f32));
        self.bounds().min + Vec3::from_array(at.map(f32::from)) / cells * self.bounds().size()
    }

    /// The grid points that are read for some point of an occupied cell; a part of them where there are too many.
    fn grid_points(&self, keep: &Occupancy) -> Vec<[u16; 3]> {
        let [rx, ry, rz] = self.spec.resolution.map(|r| r as usize);
        let mut read = vec![false; rx * ry * rz];
        let bounds = self.bounds();
        let cells = Vec3::from_array(self.spec.resolution.map(|r| (r - 1) as f32));
        let half = 0.5 / keep.cells_per_unit();
        for cell in (0..keep.density().len()).filter(|cell| keep.bits()[cell / 64] >> (cell % 64) & 1 == 1) {
            let centre = keep.cell_centre(cell);
            let low = ((centre - half - bounds.min) / bounds.size() * cells).floor().max(Vec3::ZERO);
            let high = ((centre + half - bounds.min) / bounds.size() * cells).floor() + 1.0;
            let (low, high) = (low.as_uvec3(), high.clamp(Vec3::ZERO, cells).as_uvec3());
            for z in low.z..=high.z {
                for y in low.y..=high.y {
                    let first = rx * (y as usize + ry * z as usize);
                    read[first + low.x as usize..=first + high.x as usize].fill(true);
                }
            }
        }
        let count = read.iter().filter(|r| **r).count();
        let mut rng = Rng::new(count as u64, "grid points");
        let share = MOST as f32 / count.max(1) as f32;
        let chosen = (0..read.len()).filter(|i| read[*i] && (share >= 1.0 || rng.uniform() < share));
        chosen.map(|i| [i % rx, i / rx % ry, i / (rx * ry)].map(|v| v as u16)).collect()
    }

    /// The most light that comes to each point along an axis, at least [`DARK`].
    fn light(&self, at: &[[u16; 3]], log_sigma: &[f32]) -> Vec<f32> {
        let size = self.spec.resolution.map(|r| r as usize);
        let strides = [1, size[0], size[0] * size[1]];
        let index = |at: &[u16; 3]| (0..3).map(|a| usize::from(at[a]) * strides[a]).sum::<usize>();
        let step = env("FIT_DEPTH", 0.5) * self.cell();
        let mut depth = vec![0.0_f32; size[0] * size[1] * size[2]];
        for (at, log) in at.iter().zip(log_sigma) {
            depth[index(at)] = step * log.exp();
        }
        let mut least = vec![f32::INFINITY; at.len()];
        for axis in 0..3 {
            for back in [false, true] {
                // Optical thickness in front of each point, line by line.
                let mut before = depth.clone();
                let lines = (0..before.len()).filter(|i| i / strides[axis] % size[axis] == 0);
                for first in lines {
                    let mut sum = 0.0;
                    for k in 0..size[axis] {
                        let k = if back { size[axis] - 1 - k } else { k };
                        let own = std::mem::replace(&mut before[first + k * strides[axis]], sum);
                        sum += own;
                    }
                }
                least.par_iter_mut().zip(at).for_each(|(least, at)| *least = least.min(before[index(at)]));
            }
        }
        least.into_iter().map(|depth| (-depth).exp() + DARK).collect()
    }

    fn fit_density(&self, at: &[[u16; 3]], log_sigma: &[f32], weight: &[f32], table: &mut [f32]) {
        let [low, high] = self.config.volume.log_sigma_range;
        let ends = [low.max(env("FIT_LOW", SEEN[0])).min(high), high.min(env("FIT_HIGH", SEEN[1])).max(low)];
        let feature = |log: f32| {
            let raw = match self.config.density {
                DensityActivation::Exp => log,
                DensityActivation::Softplus => {
                    let share = log.exp() / self.config.density_scale;
                    if share > 20.0 { share } else { share.exp_m1().ln() }
                }
            };
            raw - self.spec.offset
        };
        let wanted: Vec<f32> = log_sigma.iter().map(|log| feature(log.clamp(ends[0], ends[1]))).collect();
        let wanted = Wanted { at, values: &wanted, weight, held: ends.map(feature) };
        let mut ones = vec![1.0; self.spec.modes() * self.spec.sigma_rank];
        let sweeps = env("FIT_SWEEPS", SWEEPS as f32) as u32;
        fit(&self.spec, &wanted, 0..self.spec.sigma_rank, table, &mut ones, false, sweeps);
    }
}
