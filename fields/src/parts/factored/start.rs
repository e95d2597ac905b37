//! A factorised field without training: another field is asked at every grid point that its occupancy grid knows, and
//! alternating least squares find the factors. What no light reaches hardly counts: a surface hides any inside.

use glam::Vec3;
use rayon::prelude::*;

use super::{DensityActivation, Factored};
use crate::error::Result;
use crate::field::{Reshape, Source, tensor, values};
use crate::ops;
use crate::ops::factors::fit::{Wanted, fit, least_squares};
use crate::ops::mlp::spec::MlpSpec;
use crate::parts::core::ColourEncoding;
use crate::parts::looks::{direction, fitted, logit};
use crate::parts::occupancy::Occupancy;
use crate::parts::sh;
use crate::rng::Rng;

/// Points that are asked about at a time.
const CHUNK: usize = 1 << 15;
/// The most grid points that are asked about.
const MOST: usize = 1_200_000;
/// The same for lines: they need fewer, and each costs more.
const MOST_OF_LINES: usize = 400_000;
/// The most grid points whose colour is fitted to lines.
const MOST_COLOURS: usize = 100_000;
/// Colours that show less than this part of what the best does are left to chance.
const LEAST_SHOWN: f32 = 3e-3;
/// Directions from which a point is looked at where the other field has no latent.
const LOOKS: usize = 6;
/// Points by which the colour network's last layer is found.
const SAMPLES: usize = 1 << 14;
/// Values that are wanted as they are.
const FREE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
/// A log-density below or above these looks like them, however far beyond it is.
const SEEN: [f32; 2] = [-4.0, 5.5];
/// What counts at least.
const DARK: f32 = 0.02;
/// Sweeps over all factors.
const SWEEPS: u32 = 8;

impl<const PLANES: bool> Factored<PLANES> {
    /// See [`crate::field::Volume::take_over`].
    pub(super) fn taken_over(&mut self, source: &Source<'_>) -> Result<bool> {
        let keep = Occupancy::clone(&self.core.occupancy);
        self.change_shape(&Reshape { resolution: source.resolution, keep: Some(&keep), shrink: true })?;
        let (at, share) = self.grid_points(&keep);
        if at.is_empty() {
            return Ok(false);
        }
        let (mut log_sigma, mut latent) = (Vec::with_capacity(at.len()), Vec::new());
        for at in at.chunks(CHUNK) {
            let x: Vec<f32> = at.iter().flat_map(|at| self.place(*at).to_array()).collect();
            if let Some(block1) = source.block1 {
                let (said, own) = block1(&x);
                log_sigma.extend(said);
                latent.extend(own);
            } else {
                log_sigma.extend((source.ask)(&x, &self.looks(at, 1)).log_sigma);
            }
        }
        if log_sigma.iter().any(|l| l.is_nan()) || latent.iter().any(|v| !v.is_finite()) {
            return Ok(false);
        }
        let light = self.light(&at, &log_sigma, share);
        let mut table = values(self.factors.clone());
        let mut basis = values(self.basis.clone());
        self.fit_density(&at, &log_sigma, &light, &mut table);

        let (mut at, shown) = self.shown(&at, &log_sigma, &light, &mut latent);
        if source.block1.is_none() {
            latent = self.coefficients(source, &mut at);
        }
        if !latent.is_empty() {
            let wanted = Wanted { at: &at, values: &latent, weight: &shown, held: FREE };
            let columns = self.spec.sigma_rank..self.spec.columns();
            fit(&self.spec, &wanted, columns, &mut table, &mut basis, true, SWEEPS);
        }
        let device = self.factors.device();
        self.factors = tensor(table, [self.spec.rows(), self.spec.columns()], &device);
        self.basis = tensor(basis, [self.spec.latent, self.spec.products()], &device);
        if source.block1.is_none() && !latent.is_empty() {
            self.fit_colours(source, &at);
        }
        Ok(true)
    }

    /// Directions to grid points, `[n, of, 3]`.
    fn looks(&self, at: &[[u16; 3]], of: usize) -> Vec<f32> {
        let scene = &self.core.scene;
        let warp = scene.warp();
        let cameras: Vec<Vec3> = scene.cameras.iter().map(|pose| pose.position).collect();
        let of_one = |at: &[u16; 3]| {
            let (world, point) = (warp.inverse(self.place(*at)), at.iter().map(|v| usize::from(*v)).sum());
            (0..of).flat_map(|look| direction(&cameras, world, point, look, of).to_array()).collect::<Vec<_>>()
        };
        at.par_iter().flat_map_iter(of_one).collect()
    }

    /// The points whose colour shows, and how much it does; `latent` becomes that of these points.
    fn shown(
        &self,
        at: &[[u16; 3]],
        log_sigma: &[f32],
        light: &[f32],
        latent: &mut Vec<f32>,
    ) -> (Vec<[u16; 3]>, Vec<f32>) {
        // A colour shows as far as its point is opaque.
        let reach = 2.0 * self.cell();
        let opaque = light.iter().zip(log_sigma).map(|(light, log)| light * (1.0 - (-log.exp() * reach).exp()));
        let shown: Vec<f32> = opaque.collect();
        let least = LEAST_SHOWN * shown.iter().copied().fold(0.0, f32::max);
        let most = if PLANES { usize::MAX } else { MOST_COLOURS };
        let mut kept: Vec<usize> = (0..at.len()).filter(|i| shown[*i] > least).collect();
        if kept.len() > most {
            let (mut rng, share) = (Rng::new(kept.len() as u64, "colours"), most as f32 / kept.len() as f32);
            kept.retain(|_| rng.uniform() < share);
        }
        let width = latent.len() / at.len();
        *latent = kept.iter().flat_map(|i| latent[i * width..][..width].iter().copied()).collect();
        (kept.iter().map(|i| at[*i]).collect(), kept.iter().map(|i| shown[*i]).collect())
    }

    /// Latents where the other field has none that this one could read: the linear harmonics of what a sigmoid makes the
    /// colours of, the constant ones first; nothing where the latent is too narrow or another encoding is read.
    fn coefficients(&self, source: &Source<'_>, at: &mut [[u16; 3]]) -> Vec<f32> {
        let width = self.spec.latent;
        if width < 3 || self.core.colour_encoding != ColourEncoding::Sh {
            return Vec::new();
        }
        let mut all = Vec::with_capacity(at.len() * width);
        for at in at.chunks(CHUNK / LOOKS) {
            let x: Vec<f32> = at.iter().flat_map(|at| self.place(*at).to_array()).collect();
            let d = self.looks(at, LOOKS);
            let said = (source.ask)(&x, &d);
            let sums: Vec<f32> = said.rgb.iter().map(|rgb| logit(*rgb)).collect();
            let points = d.par_chunks(3 * LOOKS).zip(sums.par_chunks(3 * LOOKS)).with_min_len(64);
            let fits: Vec<_> = points.map(|(d, sums)| fitted::<4>(d, sums, [1e-3, 0.1])).collect();
            for of_point in fits {
                let one =
                    |i: usize| if i < 12 { of_point[i % 3][i / 3] * if i < 3 { sh::C0 } else { sh::C1 } } else { 0.0 };
                all.extend((0..width).map(one));
            }
        }
        if all.iter().all(|v| v.is_finite()) { all } else { Vec::new() }
    }

    /// A colour network for these latents: it leads the first three through its layers as they are, its other units stay
    /// random, and the last layer is that of least squares.
    fn fit_colours(&mut self, source: &Source<'_>, at: &[[u16; 3]]) {
        let spec = self.core.colour_spec.clone();
        let device = self.colour_net.device();
        let mut net = values(self.colour_net.clone());
        let matrices = spec.matrices();
        let Some((last, hidden)) = matrices.split_last() else { return };
        if hidden.iter().any(|m| m.rows < 6) {
            return;
        }
        for (l, matrix) in hidden.iter().enumerate() {
            for unit in 0..6 {
                let row = &mut net[matrix.at + unit * matrix.columns..][..matrix.columns];
                row.fill(0.0);
                // Positive and negative part apart, for the rectifier between.
                let (from, sign) = if l == 0 { (unit / 2, [1.0, -1.0][unit % 2]) } else { (unit, 1.0) };
                row[from] = sign;
            }
        }
        let mut rng = Rng::new(at.len() as u64, "colour network");
        let some: Vec<[u16; 3]> = (0..SAMPLES).map(|_| at[rng.below(at.len())]).collect();
        let x: Vec<f32> = some.iter().flat_map(|at| self.place(*at).to_array()).collect();
        let all = self.looks(&some, LOOKS);
        let d: Vec<f32> = all.chunks_exact(3 * LOOKS).flat_map(|d| d[3 * rng.below(LOOKS)..][..3].to_vec()).collect();
        let rgb = (source.ask)(&x, &d).rgb;
        let latent = self.density(tensor(x, [SAMPLES, 3], &device)).slice([0..SAMPLES, 1..1 + self.spec.latent]);
        let seen = ops::pointwise::beside_sh(latent, tensor(d, [SAMPLES, 3], &device));
        let below = MlpSpec { input: spec.input, layers: spec.layers[..hidden.len()].to_vec() };
        let units = if hidden.is_empty() {
            seen
        } else {
            ops::mlp::mlp(seen, tensor(net[..last.at].to_vec(), [1, last.at], &device), &below)
        };
        let wanted: Vec<f32> = rgb.iter().map(|rgb| logit(*rgb)).collect();
        for (c, row) in least_squares(&values(units), &wanted, last.columns).into_iter().enumerate() {
            net[last.at + c * last.columns..][..last.columns].copy_from_slice(&row);
        }
        let count = net.len();
        if net.iter().all(|v| v.is_finite()) {
            self.colour_net = tensor(net, [1, count], &device);
        }
    }

    /// The length of a cell's shortest edge.
    pub(super) fn cell(&self) -> f32 {
        (self.bounds().size() / self.spec.cells()).min_element()
    }

    /// A grid point in warped scene units.
    fn place(&self, at: [u16; 3]) -> Vec3 {
        self.bounds().min + Vec3::from_array(at.map(f32::from)) / self.spec.cells() * self.bounds().size()
    }

    /// The grid points that are read for some point of an occupied cell: a share of them where there are too many.
    fn grid_points(&self, keep: &Occupancy) -> (Vec<[u16; 3]>, f32) {
        let [rx, ry, rz] = self.spec.resolution.map(|r| r as usize);
        let mut read = vec![false; rx * ry * rz];
        let (bounds, cells) = (self.bounds(), self.spec.cells());
        let half = 0.5 / keep.cells_per_unit();
        for cell in keep.occupied() {
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
        let most = if PLANES { MOST } else { MOST_OF_LINES };
        let share = (most as f32 / count.max(1) as f32).min(1.0);
        let chosen = (0..read.len()).filter(|i| read[*i] && (share >= 1.0 || rng.uniform() < share));
        (chosen.map(|i| [i % rx, i / rx % ry, i / (rx * ry)].map(|v| v as u16)).collect(), share)
    }

    /// The most light that comes to each point along an axis, at least [`DARK`]; the points are a `share` of all.
    fn light(&self, at: &[[u16; 3]], log_sigma: &[f32], share: f32) -> Vec<f32> {
        let size = self.spec.resolution.map(|r| r as usize);
        let strides = [1, size[0], size[0] * size[1]];
        let index = |at: &[u16; 3]| (0..3).map(|a| usize::from(at[a]) * strides[a]).sum::<usize>();
        // Half of what a point absorbs: what lies just under a surface is read beside it.
        let step = 0.5 * self.cell() / share;
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
        let ends = [low.max(SEEN[0]).min(high), high.min(SEEN[1]).max(low)];
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
        fit(&self.spec, &wanted, 0..self.spec.sigma_rank, table, &mut ones, false, SWEEPS);
    }
}
