//! Gaussians as a density, for volume-level distillation.
//!
//! `σ(x) = Σ κᵢ exp(−½ dᵢ²)` with `κᵢ = −ln(1 − min(oᵢ, 0.99)) / (√(2π) s̃ᵢ)` and `s̃ᵢ = (vᵀ Σᵢ⁻¹ v)^(−½)`, the width of
//! the Gaussian along the ray: the integral through an isolated Gaussian's centre then gives back its opacity. Colour is
//! the mean, weighted by the terms of that sum. Overlap and the order of depth differ from what is drawn, so this serves
//! a start and not the last word.
//!
//! A grid that reads this at its points sees most Gaussians of a surface, which are flat, either not at all or as thick as
//! its cells. Through a filter of width `h` the squared scales grow by `h²` and the density falls as the volume grows:
//! `κᵢ = −ln(1 − min(oᵢ, 0.99)) / (√(2π) min s) Π s / √(s² + h²)`, whichever way it is looked at. A uniform grid lists, for each cell, the Gaussians whose three-sigma box reaches it.

use glam::{Mat3, Quat, Vec3};
use rayon::prelude::*;

use crate::field::PointSample;
use crate::ops::splat::sh_coefficients;
use crate::parts::contraction::Contraction;
use crate::parts::occupancy::Occupancy;
use crate::parts::sh;
use crate::rng::Rng;

/// Gaussians fainter than this are not looked at (3D Gaussian splatting prunes them).
const FAINT: f32 = 0.005;
/// Standard deviations that a Gaussian reaches.
const REACH: f32 = 3.0;
/// Cells of the look-up grid along each axis.
const CELLS: usize = 64;

struct One {
    mean: Vec3,
    /// Inverse covariance.
    inverse: Mat3,
    /// Square root of the covariance, to draw points.
    spread: Mat3,
    /// Half-sizes of the three-sigma box.
    reach: Vec3,
    /// `−ln(1 − min(o, 0.99)) / √(2π)`, or κ through a filter.
    strength: f32,
    /// Opacity times volume: how many points are drawn from it.
    mass: f32,
    /// Where its colours start.
    row: usize,
}

/// The look-up structure.
pub struct Mixture {
    ones: Vec<One>,
    sh_dc: Vec<f32>,
    sh_rest: Vec<f32>,
    degree: u32,
    /// Width of the filter, 0 for none.
    width: f32,
    min: Vec3,
    cells_per_unit: Vec3,
    cell_start: Vec<u32>,
    items: Vec<u32>,
    /// Running sum of the masses, to draw from.
    cumulative: Vec<f64>,
}

impl std::fmt::Debug for Mixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mixture of {}", self.ones.len())
    }
}

impl Mixture {
    /// From parameters as stored: centres `[n, 3]`, log-scales `[n, 3]`, rotations `[n, 4]`, opacity logits `[n]`,
    /// colour coefficients `[n, 3]` and `[n, rest]` of `degree`; through a filter of this width, 0 for none.
    pub fn new(
        [means, log_scales, rotations, raw_opacity]: [Vec<f32>; 4],
        [sh_dc, sh_rest]: [Vec<f32>; 2],
        degree: u32,
        width: f32,
    ) -> Self {
        let ones: Vec<One> = (0..raw_opacity.len())
            .filter_map(|i| {
                let at = |v: &[f32]| Vec3::from_slice(&v[3 * i..]);
                one(i, at(&means), at(&log_scales), &rotations[4 * i..4 * i + 4], raw_opacity[i])
            })
            .map(|one| if width > 0.0 { one.through(width) } else { one })
            .collect();
        let (mut min, mut max) = (Vec3::splat(f32::MAX), Vec3::splat(f32::MIN));
        for o in &ones {
            min = min.min(o.mean - o.reach);
            max = max.max(o.mean + o.reach);
        }
        if ones.is_empty() {
            (min, max) = (Vec3::NEG_ONE, Vec3::ONE);
        }
        let cells_per_unit = Vec3::splat(CELLS as f32) / (max - min).max(Vec3::splat(1e-6));
        let mut cumulative = Vec::with_capacity(ones.len());
        let mut total = 0.0;
        for o in &ones {
            total += f64::from(o.mass);
            cumulative.push(total);
        }
        let mut mixture = Self {
            ones,
            sh_dc,
            sh_rest,
            degree,
            width,
            min,
            cells_per_unit,
            cell_start: Vec::new(),
            items: Vec::new(),
            cumulative,
        };
        mixture.fill_cells();
        mixture
    }

    fn cell_range(&self, o: &One) -> ([usize; 3], [usize; 3]) {
        let to_cell = |p: Vec3| {
            let c = (p - self.min) * self.cells_per_unit;
            [0, 1, 2].map(|a| (c[a].max(0.0) as usize).min(CELLS - 1))
        };
        (to_cell(o.mean - o.reach), to_cell(o.mean + o.reach))
    }

    fn fill_cells(&mut self) {
        let visit = |mixture: &Self, f: &mut dyn FnMut(usize, u32)| {
            for (i, o) in (0..).zip(&mixture.ones) {
                let (low, high) = mixture.cell_range(o);
                for z in low[2]..=high[2] {
                    for y in low[1]..=high[1] {
                        for x in low[0]..=high[0] {
                            f(x + CELLS * (y + CELLS * z), i);
                        }
                    }
                }
            }
        };
        let mut start = vec![0_u32; CELLS.pow(3) + 1];
        visit(self, &mut |cell, _| start[cell + 1] += 1);
        for cell in 0..CELLS.pow(3) {
            start[cell + 1] += start[cell];
        }
        let mut next = start.clone();
        let mut items = vec![0_u32; start[CELLS.pow(3)] as usize];
        visit(self, &mut |cell, i| {
            items[next[cell] as usize] = i;
            next[cell] += 1;
        });
        self.cell_start = start;
        self.items = items;
    }

    fn near(&self, x: Vec3) -> &[u32] {
        let c = (x - self.min) * self.cells_per_unit;
        if c.cmplt(Vec3::ZERO).any() || c.cmpgt(Vec3::splat(CELLS as f32)).any() {
            return &[];
        }
        let [x, y, z] = [0, 1, 2].map(|a| (c[a] as usize).min(CELLS - 1));
        let cell = x + CELLS * (y + CELLS * z);
        &self.items[self.cell_start[cell] as usize..self.cell_start[cell + 1] as usize]
    }

    /// Density and colour at `x` `[n, 3]` seen along unit `d` `[n, 3]`.
    pub fn sample(&self, x: &[f32], d: &[f32]) -> PointSample {
        let n = x.len() / 3;
        let mut log_sigma = vec![f32::NEG_INFINITY; n];
        let mut rgb = vec![0.0; 3 * n];
        log_sigma.par_iter_mut().zip(rgb.par_chunks_exact_mut(3)).enumerate().with_min_len(256).for_each(
            |(i, (log_sigma, rgb))| {
                let (sigma, colour) = self.at(Vec3::from_slice(&x[3 * i..]), Vec3::from_slice(&d[3 * i..]));
                *log_sigma = sigma.ln();
                rgb.copy_from_slice(&colour.to_array());
            },
        );
        PointSample { log_sigma, rgb }
    }

    fn at(&self, x: Vec3, d: Vec3) -> (f32, Vec3) {
        let basis = sh::eval_basis(self.degree as usize, d);
        let (mut sigma, mut colour) = (0.0, Vec3::ZERO);
        for &i in self.near(x) {
            let o = &self.ones[i as usize];
            let offset = x - o.mean;
            let square = offset.dot(o.inverse * offset);
            if square < REACH * REACH {
                // Along the ray a Gaussian is as wide as its inverse covariance says; through a filter it has one density.
                let per_length = if self.width > 0.0 { 1.0 } else { d.dot(o.inverse * d).sqrt() };
                let density = o.strength * per_length * (-0.5 * square).exp();
                sigma += density;
                colour += density * self.colour(o.row, &basis);
            }
        }
        (sigma, if sigma > 0.0 { colour / sigma } else { Vec3::ZERO })
    }

    fn colour(&self, row: usize, basis: &[f32; 16]) -> Vec3 {
        let mut sum = Vec3::splat(0.5) + basis[0] * Vec3::from_slice(&self.sh_dc[3 * row..]);
        let count = sh_coefficients(self.degree) - 1;
        for (k, coefficient) in self.sh_rest[3 * count * row..3 * count * (row + 1)].chunks_exact(3).enumerate() {
            sum += basis[k + 1] * Vec3::from_slice(coefficient);
        }
        // Volumes cannot show more than 1; Gaussians can.
        sum.clamp(Vec3::ZERO, Vec3::ONE)
    }

    /// Occupies every cell of warped space that a Gaussian reaches within three standard deviations, and no other.
    pub fn mark_occupied(&self, occupancy: &mut Occupancy, warp: Contraction) {
        let side = occupancy.resolution() as usize;
        let mut fresh = vec![false; side.pow(3)];
        for o in &self.ones {
            let centre = warp.apply(o.mean);
            let shrink = if warp == Contraction::Ball { 1.0 / o.mean.length().max(1.0) } else { 1.0 };
            let cell = |p: Vec3| {
                let c = occupancy.in_cells(p);
                [0, 1, 2].map(|a| (c[a].max(0.0) as usize).min(side - 1))
            };
            let (low, high) = (cell(centre - o.reach * shrink), cell(centre + o.reach * shrink));
            for z in low[2]..=high[2] {
                for y in low[1]..=high[1] {
                    fresh[side * (y + side * z) + low[0]..=side * (y + side * z) + high[0]].fill(true);
                }
            }
        }
        let cells: Vec<u32> = (0..fresh.len() as u32).collect();
        let values: Vec<f32> = fresh.iter().map(|&f| f32::from(u8::from(f))).collect();
        occupancy.update(0.0, &cells, &values);
        occupancy.threshold(0.5);
    }

    /// Draws `n` points in proportion to opacity and volume, each from its Gaussian, `[n, 3]`.
    pub fn draw_points(&self, n: usize, rng: &mut Rng) -> Vec<f32> {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let mut points = Vec::with_capacity(3 * n);
        for _ in 0..n {
            let at = f64::from(rng.uniform()) * total;
            let index = self.cumulative.partition_point(|&c| c <= at).min(self.ones.len().saturating_sub(1));
            let point = self
                .ones
                .get(index)
                .map_or(Vec3::ZERO, |o| o.mean + o.spread * Vec3::new(rng.normal(), rng.normal(), rng.normal()));
            points.extend(point.to_array());
        }
        points
    }
}

impl One {
    /// As it is through a filter of this width.
    fn through(self, width: f32) -> Self {
        // The columns of `spread` are the axes, as long as the scales.
        let axes = [self.spread.x_axis, self.spread.y_axis, self.spread.z_axis];
        let scales = axes.map(Vec3::length);
        let wider = scales.map(|s| s.hypot(width));
        let turn = Mat3::from_cols(axes[0] / scales[0], axes[1] / scales[1], axes[2] / scales[2]);
        let spread = turn * Mat3::from_diagonal(wider.into());
        let inverse = turn * Mat3::from_diagonal(Vec3::from(wider.map(|s| 1.0 / (s * s)))) * turn.transpose();
        let thinned: f32 = scales.iter().zip(&wider).map(|(s, w)| s / w).product();
        let flat = scales.iter().copied().fold(f32::MAX, f32::min);
        Self { inverse, spread, reach: reach(spread), strength: self.strength * thinned / flat, ..self }
    }
}

/// Half-sizes of the three-sigma box.
fn reach(spread: Mat3) -> Vec3 {
    let covariance = spread * spread.transpose();
    let variance = Vec3::new(covariance.x_axis.x, covariance.y_axis.y, covariance.z_axis.z);
    REACH * Vec3::from_array(variance.to_array().map(f32::sqrt))
}

fn one(row: usize, mean: Vec3, log_scale: Vec3, rotation: &[f32], raw_opacity: f32) -> Option<One> {
    let opacity = 1.0 / (1.0 + (-raw_opacity).exp());
    let scale = Vec3::from_array(log_scale.to_array().map(f32::exp));
    let turn = Quat::from_xyzw(rotation[1], rotation[2], rotation[3], rotation[0]);
    let sound = mean.is_finite() && scale.is_finite() && turn.is_finite() && turn.length_squared() > 0.0;
    if !sound || !(opacity > FAINT) {
        return None;
    }
    let turn = Mat3::from_quat(turn.normalize());
    // A flat Gaussian has no inverse; a thousandth of its longest axis does not show.
    let scale = scale.max(Vec3::splat(1e-3 * scale.max_element())).max(Vec3::splat(1e-7));
    let spread = turn * Mat3::from_diagonal(scale);
    let inverse = turn * Mat3::from_diagonal(1.0 / (scale * scale)) * turn.transpose();
    Some(One {
        mean,
        inverse,
        spread,
        reach: reach(spread),
        strength: -(1.0 - opacity.min(0.99)).ln() / std::f32::consts::TAU.sqrt(),
        mass: opacity * scale.element_product().cbrt().powi(2),
        row,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transmittance along a ray through the centre of one Gaussian gives back its opacity.
    #[test]
    fn an_isolated_gaussian_keeps_the_alpha_of_its_centre() {
        for opacity in [0.1_f32, 0.5, 0.9] {
            let raw = (opacity / (1.0 - opacity)).ln();
            let log_scales = [0.05_f32.ln(), 0.1_f32.ln(), 0.2_f32.ln()];
            let rotation = [0.9, 0.1, -0.3, 0.2];
            let mean = Vec3::new(0.1, -0.2, 0.3);
            let mixture = Mixture::new(
                [mean.to_array().to_vec(), log_scales.to_vec(), rotation.to_vec(), vec![raw]],
                [vec![0.0; 3], vec![0.0; 9]],
                1,
                0.0,
            );
            let alpha = 1.0 - (-depth(&mixture, mean, Vec3::new(0.3, -0.5, 0.8).normalize())).exp();
            // Cut at three standard deviations: 0.27 % of the optical depth is missing.
            assert!((alpha - f64::from(opacity)).abs() < 0.004, "alpha {alpha} of opacity {opacity}");
        }
    }

    /// The optical depth through a point.
    fn depth(mixture: &Mixture, through: Vec3, direction: Vec3) -> f64 {
        let (steps, reach) = (4000, 1.0_f32);
        let dt = 2.0 * reach / steps as f32;
        let at = |k: i32| through + direction * (-reach + (k as f32 + 0.5) * dt);
        (0..steps).map(|k| f64::from(mixture.at(at(k), direction).0 * dt)).sum()
    }

    /// A flat Gaussian through a filter much wider than it is thick: as opaque from its flat side, and seen by points that
    /// it does not touch.
    #[test]
    fn a_filter_keeps_what_there_is() {
        let (opacity, width) = (0.8_f32, 0.02_f32);
        let scales = [0.2_f32, 0.2, 1e-3];
        let of = |width: f32| {
            Mixture::new(
                [
                    vec![0.0; 3],
                    scales.map(f32::ln).to_vec(),
                    vec![1.0, 0.0, 0.0, 0.0],
                    vec![(opacity / (1.0 - opacity)).ln()],
                ],
                [vec![0.0; 3], vec![0.0; 9]],
                1,
                width,
            )
        };
        let (sharp, soft) = (of(0.0), of(width));
        let face = depth(&soft, Vec3::ZERO, Vec3::Z);
        assert!((face - depth(&sharp, Vec3::ZERO, Vec3::Z)).abs() < 0.02 * face, "{face}");
        let beside = Vec3::new(0.05, 0.0, width);
        assert!(sharp.at(beside, Vec3::Z).0 < 1e-6 && soft.at(beside, Vec3::Z).0 > 1.0);
        // It has one density, and another width keeps another share of it.
        assert!((soft.at(beside, Vec3::Z).0 - soft.at(beside, Vec3::X).0).abs() < 1e-3);
        assert!(of(2.0 * width).at(Vec3::ZERO, Vec3::Z).0 < 0.6 * soft.at(Vec3::ZERO, Vec3::Z).0);
    }

    #[test]
    fn points_are_drawn_from_the_gaussians_and_occupy_their_cells() {
        let means = [0.5, 0.5, 0.5, -0.5, -0.5, -0.5];
        let rotations = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let mixture = Mixture::new(
            [means.to_vec(), vec![0.02_f32.ln(); 6], rotations, vec![2.0, 2.0]],
            [vec![0.0; 6], vec![0.0; 18]],
            1,
            0.0,
        );
        let mut grid = Occupancy::new_full(32, retort_shaders::Aabb::new(Vec3::NEG_ONE, Vec3::ONE));
        mixture.mark_occupied(&mut grid, Contraction::Identity);
        assert!(grid.contains(Vec3::splat(0.5)) && grid.contains(Vec3::splat(-0.5)));
        assert!(!grid.contains(Vec3::ZERO));
        let points = mixture.draw_points(200, &mut Rng::new(3, "points"));
        let near = points.chunks_exact(3).filter(|p| (p[0].abs() - 0.5).abs() < 0.1).count();
        assert_eq!(near, 200);
    }
}
