//! What a march is asked and what it gives, and where along a ray samples may lie.
//!
//! Sample `k` of a ray stands in the interval from `edge(k)` to `edge(k + 1)`, at the fraction `jitter` of it. Without a
//! cone the edges are `start + k · step`, from where the ray enters the box. With a cone (instant-ngp: 1/256) they are
//! the same for all rays: from `near`, `edge(k + 1) = edge(k) + max(step, cone_angle · edge(k))`. There is no upper
//! limit to that: the contraction shrinks far steps more than the cone widens them.

use crate::error::{Error, Result};
use crate::parts::contraction::Contraction;
use glam::Vec3;
use retort_shaders::Aabb;

/// How rays are sampled. Lengths are in scene units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarchSpec {
    /// Bounded scenes: the box that rays are clipped to. Unbounded ones: the box of warped space, `[-2, 2]³`.
    pub bounds: Aabb,
    /// Whether positions are contracted to radius 2.
    pub unbounded: bool,
    /// The distance between samples, or the least one with a cone.
    pub step: f32,
    /// Growth of the step with distance: 0 for bounded scenes, 1/256 for unbounded ones.
    pub cone_angle: f32,
    /// Where rays begin.
    pub near: f32,
    /// Where rays end.
    pub far: f32,
    /// A ray ends after this many samples.
    pub max_samples_per_ray: u32,
}

/// Samples of many rays; ray `i` has the rows `ray_start[i]..ray_start[i + 1]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// `[r + 1]`
    pub ray_start: Vec<u32>,
    /// `[n, 3]` in warped space.
    pub position: Vec<f32>,
    /// `[n, 3]` of the ray.
    pub direction: Vec<f32>,
    /// `[n]` distance from the ray's origin, scene units.
    pub t: Vec<f32>,
    /// `[n]` length of the interval that the sample stands for, scene units.
    pub dt: Vec<f32>,
}

/// More edges than this are not made: a march with a step far too small for its range ends early.
const MAX_EDGES: usize = 1 << 18;

impl MarchSpec {
    /// A bounded scene: the box `[-1, 1]³` with `samples` steps along its diagonal (1024 in torch-ngp).
    pub fn bounded(samples: u32) -> Self {
        Self {
            bounds: Contraction::Identity.bounds(),
            unbounded: false,
            step: 2.0 * 3.0_f32.sqrt() / samples as f32,
            cone_angle: 0.0,
            near: 0.05,
            far: 100.0,
            max_samples_per_ray: 4 * samples,
        }
    }

    /// An unbounded scene, contracted; near its middle the step is that of [`MarchSpec::bounded`].
    pub fn unbounded(samples: u32) -> Self {
        let bounds = Contraction::Ball.bounds();
        Self { bounds, unbounded: true, cone_angle: 1.0 / 256.0, far: 1000.0, ..Self::bounded(samples) }
    }

    /// Whether a march can be made of it.
    ///
    /// # Errors
    /// If a length is not finite or not positive, `far` does not exceed `near`, or there would be too many steps.
    pub fn check(&self) -> Result<()> {
        let finite = [self.step, self.cone_angle, self.near, self.far].iter().all(|v| v.is_finite());
        if !finite || self.step <= 0.0 || self.cone_angle < 0.0 || self.near < 0.0 || self.far <= self.near {
            return Err(Error::new(format!(
                "rays cannot be sampled with step {}, cone {}, near {} and far {}",
                self.step, self.cone_angle, self.near, self.far
            ))
            .remedy("use a positive step, a cone angle of at least 0, and 0 <= near < far"));
        }
        if self.has_ladder() && self.edges().len() >= MAX_EDGES {
            let what = format!("a ray to {} at steps of {} takes too many samples", self.far, self.step);
            return Err(Error::new(what).remedy("use a larger step, a nearer far end, or a cone angle"));
        }
        Ok(())
    }

    /// About how many samples a ray has where nothing is empty.
    pub fn most_samples(&self) -> f32 {
        let path = self.bounds.size().length().min(self.far - self.near);
        (path / self.step).min(self.max_samples_per_ray as f32)
    }

    /// How positions are warped.
    #[inline(always)]
    pub fn warp(&self) -> Contraction {
        Contraction::of(self.unbounded)
    }

    /// Whether all rays share their edges.
    pub(crate) fn has_ladder(&self) -> bool {
        self.unbounded || self.cone_angle > 0.0
    }

    /// The edges that all rays share, from `near` to the first at or beyond `far`; empty where each ray has its own.
    pub(crate) fn edges(&self) -> Vec<f32> {
        let mut edges = Vec::new();
        let possible = self.step > 0.0 && self.near < self.far;
        if !(self.has_ladder() && possible) {
            return edges;
        }
        let mut edge = self.near;
        edges.push(edge);
        while edge < self.far && edges.len() < MAX_EDGES {
            edge += self.step.max(edge * self.cone_angle);
            edges.push(edge);
        }
        edges
    }

    /// The distances between which a ray can have samples; `None` if it has none, or is not finite.
    #[inline(always)]
    pub(crate) fn span(&self, origin: Vec3, direction: Vec3, grid: Aabb) -> Option<(f32, f32)> {
        let (mut near, mut far) = (self.near, self.far);
        if !(origin.is_finite() && direction.is_finite() && direction != Vec3::ZERO) {
            return None;
        }
        if !self.unbounded {
            let (min, max) = (self.bounds.min.max(grid.min), self.bounds.max.min(grid.max));
            for axis in 0..3 {
                let (o, d) = (origin[axis], direction[axis]);
                if d == 0.0 {
                    // Parallel to the slab: it cuts nothing off, or all.
                    if !(min[axis]..=max[axis]).contains(&o) {
                        return None;
                    }
                    continue;
                }
                let (a, b) = ((min[axis] - o) / d, (max[axis] - o) / d);
                near = near.max(a.min(b));
                far = far.min(a.max(b));
            }
        }
        (near < far).then_some((near, far))
    }
}

/// Where the samples of one ray may lie.
pub(crate) trait Lattice {
    /// The place of sample `k`; never falls with `k`.
    fn place(&self, k: u32) -> f32;
    /// The length of the interval of sample `k`.
    fn length(&self, k: u32) -> f32;
    /// About the first `k` at or beyond `t`, at least `from`; exact but for rounding.
    fn first_at(&self, t: f32, from: u32) -> u32;
    /// How many samples there can be at all.
    fn limit(&self) -> u32;

    /// The first `k` at or beyond `t`, exactly.
    #[inline(always)]
    fn exactly_at(&self, t: f32) -> u32 {
        let mut k = self.first_at(t, 0).min(self.limit());
        while k > 0 && self.place(k - 1) >= t {
            k -= 1;
        }
        while k < self.limit() && self.place(k) < t {
            k += 1;
        }
        k
    }
}

/// Equal steps from where the ray enters.
pub(crate) struct Even {
    pub start: f32,
    pub step: f32,
    pub per_step: f32,
    pub jitter: f32,
}

impl Lattice for Even {
    #[inline(always)]
    fn place(&self, k: u32) -> f32 {
        self.start + (k as f32 + self.jitter) * self.step
    }
    #[inline(always)]
    fn length(&self, _: u32) -> f32 {
        self.step
    }
    #[inline(always)]
    fn first_at(&self, t: f32, from: u32) -> u32 {
        // The cast holds negative values and NaN to 0.
        (((t - self.start) * self.per_step - self.jitter).ceil() as u32).max(from)
    }
    #[inline(always)]
    fn limit(&self) -> u32 {
        1 << 22
    }
}

/// Edges that all rays share.
pub(crate) struct Ladder<'a> {
    pub edges: &'a [f32],
    pub jitter: f32,
}

impl Lattice for Ladder<'_> {
    #[inline(always)]
    fn place(&self, k: u32) -> f32 {
        self.edges[k as usize] + self.jitter * self.length(k)
    }
    #[inline(always)]
    fn length(&self, k: u32) -> f32 {
        self.edges[k as usize + 1] - self.edges[k as usize]
    }
    #[inline(always)]
    fn first_at(&self, t: f32, from: u32) -> u32 {
        let (mut k, limit) = (from, self.limit());
        // Most skips are short; a long one is bisected.
        for _ in 0..8 {
            if k >= limit || self.place(k) >= t {
                return k;
            }
            k += 1;
        }
        let mut end = limit;
        while k < end {
            let middle = k + (end - k) / 2;
            if self.place(middle) < t { k = middle + 1 } else { end = middle }
        }
        k
    }
    #[inline(always)]
    fn limit(&self) -> u32 {
        self.edges.len().saturating_sub(1) as u32
    }
}
