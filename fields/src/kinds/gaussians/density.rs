//! Adaptive density control (Kerbl et al. 2023, section 5.2): where the picture pulls hard on a Gaussian's place, small
//! Gaussians are cloned and large ones split; faint and oversized ones go.
//!
//! Everything here is a pure function on slices. [`plan`] says which old row each new row copies, and the same map is
//! applied to the parameters and to the state of the optimiser ([`RowPlan`]).

use glam::{Quat, Vec3};
use serde::{Deserialize, Serialize};

use crate::field::RowPlan;
use crate::ops::splat::SplatParams;
use crate::rng::Rng;

/// When and how the number of Gaussians changes. The defaults are the published ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DensityConfig {
    /// Steps after which density control begins.
    pub from: u32,
    /// The step at which it ends.
    pub until: u32,
    /// Steps between two changes; 0 for never.
    pub every: u32,
    /// Mean length of the gradient with respect to the place in normalised device coordinates from which a Gaussian is
    /// cloned or split.
    pub grad_threshold: f32,
    /// Gaussians up to this part of the scene's extent are cloned, larger ones split.
    pub percent_dense: f32,
    /// Gaussians that one splits into.
    pub split_into: u32,
    /// By which a split Gaussian's children are smaller.
    pub split_shrink: f32,
    /// Gaussians of less opacity go.
    pub prune_opacity: f32,
    /// Gaussians of a greater radius in pixels go, once opacity was reset for the first time; 0 for none.
    pub prune_screen: f32,
    /// Gaussians larger than this part of the scene's extent go, once opacity was reset for the first time; 0 for none.
    pub prune_world: f32,
    /// Steps between two resets of opacity; 0 for never.
    pub opacity_reset_every: u32,
    /// Opacity after a reset, at most.
    pub opacity_reset_to: f32,
    /// Most Gaussians, those with the largest gradient first; 0 for no limit.
    pub max_gaussians: usize,
}

impl Default for DensityConfig {
    fn default() -> Self {
        Self {
            from: 500,
            until: 15_000,
            every: 100,
            grad_threshold: 2e-4,
            percent_dense: 0.01,
            split_into: 2,
            split_shrink: 1.6,
            prune_opacity: 0.005,
            prune_screen: 20.0,
            prune_world: 0.1,
            opacity_reset_every: 3000,
            opacity_reset_to: 0.01,
            max_gaussians: 0,
        }
    }
}

impl DensityConfig {
    /// The name of a value that is out of its range, and what to use instead.
    #[must_use]
    pub fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let sizes = [
            ("grad_threshold", self.grad_threshold),
            ("percent_dense", self.percent_dense),
            ("prune_screen", self.prune_screen),
            ("prune_world", self.prune_world),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
            return Some((name, "use 0 or more"));
        }
        if !(1..=16).contains(&self.split_into) {
            return Some(("split_into", "use 1 to 16"));
        }
        if !(self.split_shrink > 0.0 && self.split_shrink.is_finite()) {
            return Some(("split_shrink", "use more than 0"));
        }
        if !(0.0..1.0).contains(&self.prune_opacity) {
            return Some(("prune_opacity", "use 0 to below 1"));
        }
        let resets = self.opacity_reset_to > 0.0 && self.opacity_reset_to < 1.0;
        (!resets).then_some(("opacity_reset_to", "use more than 0 and less than 1"))
    }

    /// Whether gradients are gathered in `step` (counted from 1).
    #[must_use]
    pub fn gathers(&self, step: u32) -> bool {
        self.every > 0 && step < self.until
    }

    /// Whether rows change after `step`.
    #[must_use]
    pub fn changes(&self, step: u32) -> bool {
        self.gathers(step) && step > self.from && step.is_multiple_of(self.every)
    }

    /// Whether opacity is reset after `step`.
    #[must_use]
    pub fn resets(&self, step: u32) -> bool {
        self.opacity_reset_every > 0 && step < self.until && step.is_multiple_of(self.opacity_reset_every)
    }

    fn prunes_size(&self, step: u32) -> bool {
        self.opacity_reset_every > 0 && step > self.opacity_reset_every
    }
}

/// What has been seen of each Gaussian since the rows last changed; each `[n]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DensityStats {
    /// Sum of the lengths of its gradients, in normalised device coordinates.
    pub grad_sum: Vec<f32>,
    /// Pictures that it was visible in.
    pub count: Vec<u32>,
    /// Its largest radius in pixels.
    pub max_radius: Vec<f32>,
}

impl DensityStats {
    /// Nothing seen of `n` Gaussians.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { grad_sum: vec![0.0; n], count: vec![0; n], max_radius: vec![0.0; n] }
    }

    /// Adds one picture of `width` x `height` pixels: `mean2d` `[n, 2]` is the gradient with respect to the places in
    /// pixels, `radii` `[n]` are in pixels, 0 where not visible.
    pub fn add(&mut self, mean2d: &[f32], radii: &[f32], width: u32, height: u32) {
        // Normalised device coordinates span 2 over the picture.
        let (half_width, half_height) = (width as f32 * 0.5, height as f32 * 0.5);
        for (i, (&radius, grad)) in radii.iter().zip(mean2d.chunks_exact(2)).enumerate() {
            if radius > 0.0 {
                self.grad_sum[i] += (grad[0] * half_width).hypot(grad[1] * half_height);
                self.count[i] += 1;
                self.max_radius[i] = self.max_radius[i].max(radius);
            }
        }
    }

    fn mean_grad(&self, i: usize) -> f32 {
        if self.count[i] == 0 { 0.0 } else { self.grad_sum[i] / self.count[i] as f32 }
    }
}

/// A new row that differs from the one it copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowEdit {
    /// Which new row.
    pub row: u32,
    /// Its mean.
    pub mean: [f32; 3],
    /// Its log scales.
    pub log_scale: [f32; 3],
}

/// What becomes of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Which old row each new row copies.
    pub rows: RowPlan,
    /// Changes after copying, by rising row.
    pub edits: Vec<RowEdit>,
    /// Gaussians cloned, split, and removed for being faint or too large.
    pub counts: [usize; 3],
}

impl Plan {
    /// Makes the edits in the gathered means and log scales, `[n, 3]` each.
    pub fn edit(&self, means: &mut [f32], log_scales: &mut [f32]) {
        for edit in &self.edits {
            let at = edit.row as usize * 3;
            means[at..at + 3].copy_from_slice(&edit.mean);
            log_scales[at..at + 3].copy_from_slice(&edit.log_scale);
        }
    }

    fn push(&mut self, source: usize, fresh: bool) {
        self.rows.sources.push(source as u32);
        self.rows.fresh.push(fresh);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Stay,
    Clone,
    Split,
}

/// One Gaussian as density control sees it.
#[derive(Clone, Copy)]
struct Judged {
    fate: Fate,
    /// Whether the row itself stays, if it does not split.
    kept: bool,
    /// Rows that cloning or splitting adds, if none are to be pruned at once.
    children: usize,
    grad: f32,
}

impl Judged {
    /// Rows more than if it were left alone.
    fn growth(&self) -> usize {
        self.children - usize::from(self.fate == Fate::Split && self.kept).min(self.children)
    }
}

/// The new rows after `step`: those that stay, in order, then clones, then the children of splits. `extent` is the size
/// of the scene in scene units (published: 1.1 times the greatest distance of a camera from their mean). `sh_dc` and
/// `sh_rest` of `params` are not read.
#[must_use]
pub fn plan(
    config: &DensityConfig,
    step: u32,
    stats: &DensityStats,
    params: &SplatParams,
    extent: f32,
    rng: &mut Rng,
) -> Plan {
    let n = params.raw_opacity.len();
    assert_eq!(stats.count.len(), n, "the statistics are of {} Gaussians, not {n}", stats.count.len());
    let mut judged: Vec<Judged> = (0..n).map(|i| judge(config, step, stats, params, extent, i)).collect();
    limit(config, &mut judged);

    let mut plan = Plan::default();
    for (i, row) in judged.iter().enumerate() {
        if row.kept && row.fate != Fate::Split {
            plan.push(i, false);
        }
        plan.counts[2] += usize::from(!row.kept);
    }
    let chosen = |fate: Fate| judged.iter().enumerate().filter(move |(_, row)| row.fate == fate);
    for (i, row) in chosen(Fate::Clone) {
        plan.counts[0] += 1;
        (0..row.children).for_each(|_| plan.push(i, true));
    }
    for (i, row) in chosen(Fate::Split) {
        plan.counts[1] += 1;
        for _ in 0..row.children {
            let (mean, log_scale) = child(config, params, i, rng);
            plan.edits.push(RowEdit { row: plan.rows.sources.len() as u32, mean, log_scale });
            plan.push(i, true);
        }
    }
    plan
}

fn largest_scale(params: &SplatParams, i: usize) -> f32 {
    params.log_scales[i * 3..i * 3 + 3].iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v)).exp()
}

fn judge(
    config: &DensityConfig,
    step: u32,
    stats: &DensityStats,
    params: &SplatParams,
    extent: f32,
    i: usize,
) -> Judged {
    let opacity = 1.0 / (1.0 + (-params.raw_opacity[i]).exp());
    let rows =
        [&params.means[i * 3..i * 3 + 3], &params.log_scales[i * 3..i * 3 + 3], &params.rotations[i * 4..i * 4 + 4]];
    let sound = opacity >= config.prune_opacity && rows.iter().all(|row| row.iter().all(|v| v.is_finite()));
    if !sound {
        // Its copies would be as faint: neither they nor it remain.
        return Judged { fate: Fate::Stay, kept: false, children: 0, grad: 0.0 };
    }
    let sized = config.prunes_size(step);
    let too_large = |scale: f32| sized && config.prune_world > 0.0 && scale > config.prune_world * extent;
    let too_wide = sized && config.prune_screen > 0.0 && stats.max_radius[i] > config.prune_screen;
    let scale = largest_scale(params, i);
    let kept = !too_wide && !too_large(scale);
    let grad = stats.mean_grad(i);
    let (fate, children) = if grad.is_nan() || grad < config.grad_threshold {
        (Fate::Stay, 0)
    } else if scale <= config.percent_dense * extent {
        (Fate::Clone, usize::from(!too_large(scale)))
    } else {
        let small_enough = !too_large(scale / config.split_shrink);
        (Fate::Split, if small_enough { config.split_into as usize } else { 0 })
    };
    Judged { fate, kept, children, grad }
}

/// Leaves alone the Gaussians for which there is no room, those of the smallest gradients.
fn limit(config: &DensityConfig, judged: &mut [Judged]) {
    if config.max_gaussians == 0 {
        return;
    }
    let kept = judged.iter().filter(|row| row.kept).count();
    let mut room = config.max_gaussians.saturating_sub(kept);
    let mut order: Vec<usize> = (0..judged.len()).filter(|&i| judged[i].fate != Fate::Stay).collect();
    order.sort_by(|&a, &b| judged[b].grad.total_cmp(&judged[a].grad).then(a.cmp(&b)));
    let mut full = false;
    for i in order {
        let growth = judged[i].growth();
        full |= growth > room;
        if full {
            judged[i].fate = Fate::Stay;
            judged[i].children = 0;
        } else {
            room -= growth;
        }
    }
}

/// A child of split Gaussian `i`: its mean is drawn from the Gaussian, its axes are shorter.
fn child(config: &DensityConfig, params: &SplatParams, i: usize, rng: &mut Rng) -> ([f32; 3], [f32; 3]) {
    let log_scale = Vec3::from_slice(&params.log_scales[i * 3..i * 3 + 3]);
    let q = &params.rotations[i * 4..i * 4 + 4];
    let stored = Quat::from_xyzw(q[1], q[2], q[3], q[0]);
    let turn = if stored.length_squared() > 0.0 { stored.normalize() } else { Quat::IDENTITY };
    let scale = log_scale.to_array().map(f32::exp);
    let offset = Vec3::from_array(scale.map(|s| s * rng.normal()));
    let mean = Vec3::from_slice(&params.means[i * 3..i * 3 + 3]) + turn * offset;
    (mean.to_array(), (log_scale - config.split_shrink.ln()).to_array())
}

/// Lowers every opacity to at most `most` (in 0..1). The optimiser's state of `raw_opacity` is to be zeroed with it.
pub fn reset_opacity(raw_opacity: &mut [f32], most: f32) {
    let most = (most / (1.0 - most)).ln();
    for value in raw_opacity {
        *value = value.min(most);
    }
}

#[cfg(test)]
mod tests;
