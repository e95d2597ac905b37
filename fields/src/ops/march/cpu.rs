//! The march on the CPU: from block to block, not from step to step.
//!
//! At a place that is not empty the ray keeps every step up to the end of the cell, at an empty one it skips every step
//! up to the end of the largest empty block around it (Amanatides and Woo 1987, on a pyramid). Both ends are moved
//! inwards by more than the rounding of a position, and the next place is always looked up again, so the samples are
//! exactly those of looking every step up. Outside the unit ball of a contracted scene rays are bent; there the end is
//! bounded by the distance to the block's nearest face, as the contraction never lengthens a step.
//!
//! Two passes over tasks of [`RAYS_PER_TASK`] rays: the first finds runs of kept steps, the second, with the rows of
//! every ray known, writes them out.

use super::spec::{Even, Ladder, Lattice, MarchSpec, Samples};
use crate::parts::contraction::Contraction;
use crate::parts::fast_math::vectorised;
use crate::parts::occupancy::Occupancy;
use crate::parts::packed::{RAYS_PER_TASK, split_rows};
use glam::{UVec3, Vec3};
use rayon::prelude::*;

/// A block ends this many cells early, for the rounding of its planes; more for far origins, see [`Ray::new`].
const MARGIN: f32 = 1e-3;

/// Steps `first..first + length` of one ray, all kept.
#[derive(Clone, Copy, Debug)]
struct Run {
    ray: u32,
    first: u32,
    length: u32,
}

/// A march whose buffers are used again.
#[derive(Debug, Default)]
pub struct Marcher {
    runs: Vec<Vec<Run>>,
}

/// Samples along the rays `origins [r, 3]` + t · `directions [r, 3]` (unit vectors) where `grid` is occupied.
///
/// `jitter [r]`, in `[0, 1)`, is each sample's place in its interval: 0.5 for the middle. With a `limit` on the number of
/// samples, the first ray that does not fit and all after it have none; see [`Marcher::march_into`]. A ray that is not
/// finite has none either.
pub fn march(
    origins: &[f32],
    directions: &[f32],
    jitter: &[f32],
    grid: &Occupancy,
    spec: &MarchSpec,
    limit: Option<usize>,
) -> Samples {
    let mut samples = Samples::default();
    Marcher::default().march_into(origins, directions, jitter, grid, spec, limit, &mut samples);
    samples
}

impl Marcher {
    /// As [`march`], into buffers that keep their memory. Returns the number of rays that fitted within the limit.
    #[expect(clippy::too_many_arguments, reason = "three arrays per ray; a struct for them would only be taken apart")]
    pub fn march_into(
        &mut self,
        origins: &[f32],
        directions: &[f32],
        jitter: &[f32],
        grid: &Occupancy,
        spec: &MarchSpec,
        limit: Option<usize>,
        out: &mut Samples,
    ) -> usize {
        let rays = jitter.len();
        assert_eq!((origins.len(), directions.len()), (3 * rays, 3 * rays), "origins and directions are [r, 3]");
        let edges = spec.edges();
        let rays_of = Rays { origins, directions, jitter, grid, spec, edges: &edges };
        out.ray_start.clear();
        out.ray_start.resize(rays + 1, 0);
        self.runs.resize_with(rays.div_ceil(RAYS_PER_TASK), Vec::new);

        let counts = out.ray_start[1..].par_chunks_mut(RAYS_PER_TASK);
        self.runs.par_iter_mut().zip(counts).enumerate().for_each(|(task, (runs, counts))| {
            runs.clear();
            // Not for its lanes: without SSE4.1 rounding a float is a call into the C library.
            vectorised(
                #[inline(always)]
                || {
                    for (i, count) in counts.iter_mut().enumerate() {
                        *count = rays_of.find(task * RAYS_PER_TASK + i, runs);
                    }
                },
            );
        });

        let (fitted, total) = accumulate(&mut out.ray_start, limit);
        out.position.resize(3 * total, 0.0);
        out.direction.resize(3 * total, 0.0);
        out.t.resize(total, 0.0);
        out.dt.resize(total, 0.0);
        let position = split_rows(&mut out.position, 3, &out.ray_start);
        let direction = split_rows(&mut out.direction, 3, &out.ray_start);
        let t = split_rows(&mut out.t, 1, &out.ray_start);
        let dt = split_rows(&mut out.dt, 1, &out.ray_start);
        let rows = position.into_par_iter().zip(direction).zip(t).zip(dt);
        self.runs.par_iter().zip(rows).for_each(|(runs, (((position, direction), t), dt))| {
            let mut rows = Rows { position, direction, t, dt };
            vectorised(
                #[inline(always)]
                || {
                    for &run in runs.iter().take_while(|run| (run.ray as usize) < fitted) {
                        rays_of.write(run, &mut rows);
                    }
                },
            );
        });
        fitted
    }
}

/// Turns the counts in `ray_start[1..]` into offsets. Rays from the first that does not fit on become empty.
pub(super) fn accumulate(ray_start: &mut [u32], limit: Option<usize>) -> (usize, usize) {
    let limit = limit.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX));
    let rays = ray_start.len() - 1;
    let (mut total, mut fitted) = (0_u32, rays);
    for (ray, end) in ray_start[1..].iter_mut().enumerate() {
        match total.checked_add(*end).filter(|sum| *sum <= limit && ray < fitted) {
            Some(sum) => total = sum,
            None => fitted = fitted.min(ray),
        }
        *end = total;
    }
    (fitted, total as usize)
}

/// The rows of one task that are still to be written.
struct Rows<'a> {
    position: &'a mut [f32],
    direction: &'a mut [f32],
    t: &'a mut [f32],
    dt: &'a mut [f32],
}

impl<'a> Rows<'a> {
    /// Takes the first `n` rows off.
    #[inline(always)]
    fn take(&mut self, n: usize) -> Rows<'a> {
        Rows {
            position: self.position.split_off_mut(..3 * n).unwrap_or_default(),
            direction: self.direction.split_off_mut(..3 * n).unwrap_or_default(),
            t: self.t.split_off_mut(..n).unwrap_or_default(),
            dt: self.dt.split_off_mut(..n).unwrap_or_default(),
        }
    }
}

/// All that a march is asked.
#[derive(Clone, Copy)]
struct Rays<'a> {
    origins: &'a [f32],
    directions: &'a [f32],
    jitter: &'a [f32],
    grid: &'a Occupancy,
    spec: &'a MarchSpec,
    edges: &'a [f32],
}

impl Rays<'_> {
    #[inline(always)]
    fn ray(&self, ray: usize) -> (Vec3, Vec3) {
        (Vec3::from_slice(&self.origins[3 * ray..]), Vec3::from_slice(&self.directions[3 * ray..]))
    }

    #[inline(always)]
    fn even(&self, ray: usize, start: f32) -> Even {
        let step = self.spec.step;
        Even { start, step, per_step: 1.0 / step, jitter: self.jitter[ray] }
    }

    #[inline(always)]
    fn ladder(&self, ray: usize) -> Ladder<'_> {
        Ladder { edges: self.edges, jitter: self.jitter[ray] }
    }

    /// Appends the runs of one ray and returns its number of samples.
    #[inline(always)]
    fn find(&self, ray: usize, runs: &mut Vec<Run>) -> u32 {
        let (o, d) = self.ray(ray);
        let Some(span) = self.spec.span(o, d, self.grid.bounds()) else { return 0 };
        let (walk, index) = (Ray::new(o, d, span.1, self.grid), ray as u32);
        if !self.spec.has_ladder() {
            walk.find::<false>(&self.even(ray, span.0), self.spec, span, index, runs)
        } else if self.spec.unbounded {
            walk.find::<true>(&self.ladder(ray), self.spec, span, index, runs)
        } else {
            walk.find::<false>(&self.ladder(ray), self.spec, span, index, runs)
        }
    }

    /// Writes the samples of one run.
    #[inline(always)]
    fn write(&self, run: Run, rows: &mut Rows<'_>) {
        let ray = run.ray as usize;
        let (o, d) = self.ray(ray);
        let contraction = self.spec.warp();
        if self.spec.has_ladder() {
            return write_run(&self.ladder(ray), run, o, d, contraction, rows);
        }
        if let Some((start, _)) = self.spec.span(o, d, self.grid.bounds()) {
            write_run(&self.even(ray, start), run, o, d, contraction, rows);
        }
    }
}

#[inline(always)]
fn write_run(lattice: &impl Lattice, run: Run, o: Vec3, d: Vec3, contraction: Contraction, rows: &mut Rows<'_>) {
    let rows = rows.take(run.length as usize);
    for (k, (t, dt)) in (run.first..).zip(rows.t.iter_mut().zip(rows.dt)) {
        (*t, *dt) = (lattice.place(k), lattice.length(k));
    }
    for (row, &t) in rows.position.as_chunks_mut::<3>().0.iter_mut().zip(&*rows.t) {
        *row = contraction.apply(o + d * t).to_array();
    }
    rows.direction.as_chunks_mut::<3>().0.fill(d.to_array());
}

/// One ray, with what crossing cells needs.
struct Ray<'a> {
    grid: &'a Occupancy,
    origin: Vec3,
    direction: Vec3,
    /// `t = plane · slope + offset` where the ray crosses `plane`, in cells; the slope is 0 and the offset infinite on an
    /// axis along which it does not move.
    slope: Vec3,
    offset: Vec3,
    /// 1 where the direction is positive: the face through which a block is left is the upper one.
    upper: UVec3,
    /// How far inside its face a block is taken to end, in cells, with the sign of the direction.
    inset: Vec3,
    margin: f32,
    /// Shortest edge of a cell, and the length of `direction`, for distances along bent rays.
    cell: f32,
    length: f32,
}

impl<'a> Ray<'a> {
    #[inline(always)]
    fn new(origin: Vec3, direction: Vec3, far: f32, grid: &'a Occupancy) -> Self {
        let scale = grid.cells_per_unit();
        // Slower than this it does not cross a face within any range, and the slope would overflow.
        let moving = direction.abs().cmpgt(Vec3::splat(1e-20));
        let slope = Vec3::select(moving, 1.0 / (direction * scale), Vec3::ZERO);
        let offset = Vec3::select(moving, -grid.in_cells(origin) * slope, Vec3::INFINITY);
        // A position is rounded relative to its largest summand; four of those roundings are more than occur.
        let reach = origin.abs().max_element() + direction.abs().max_element() * far;
        let margin = MARGIN + 4.0 * f32::EPSILON * reach.min(1e9) * scale.max_element();
        Self {
            grid,
            origin,
            direction,
            slope,
            offset,
            upper: UVec3::from(direction.to_array().map(|d| u32::from(d > 0.0))),
            inset: Vec3::splat(margin).copysign(direction),
            margin,
            cell: scale.max_element().recip(),
            length: direction.length(),
        }
    }

    /// Appends the runs of kept steps and returns their number of steps. `BENT`: the scene is contracted.
    #[inline(always)]
    fn find<const BENT: bool>(
        &self,
        lattice: &impl Lattice,
        spec: &MarchSpec,
        (near, far): (f32, f32),
        ray: u32,
        runs: &mut Vec<Run>,
    ) -> u32 {
        let end = lattice.exactly_at(far);
        let mut k = lattice.exactly_at(near);
        let mut left = spec.max_samples_per_ray;
        let straight = if BENT { self.unit_ball() } else { (f32::NEG_INFINITY, f32::INFINITY) };
        let first_run = runs.len();
        while k < end && left > 0 {
            let t = lattice.place(k);
            let world = self.origin + self.direction * t;
            let warped = if BENT { Contraction::Ball.apply(world) } else { world };
            let Some(cell) = self.grid.locate(warped) else {
                k += 1;
                continue;
            };
            let block = self.grid.block(cell);
            let low = (cell >> block.level) << block.level;
            let exit = if straight.0 < t && t < straight.1 {
                self.straight_exit(low, 1 << block.level).min(straight.1)
            } else {
                t + self.bent_exit(world, warped, low, 1 << block.level)
            };
            let next = lattice.first_at(exit, k + 1).min(end);
            if block.occupied {
                let length = (next - k).min(left);
                left -= length;
                match runs[first_run..].last_mut() {
                    Some(run) if run.first + run.length == k => run.length += length,
                    _ => runs.push(Run { ray, first: k, length }),
                }
            }
            k = next;
        }
        spec.max_samples_per_ray - left
    }

    /// Where the ray, if straight, is about to leave the block of `side` cells at `low`.
    #[inline(always)]
    fn straight_exit(&self, low: UVec3, side: u32) -> f32 {
        let plane = (low + self.upper * side).as_vec3() - self.inset;
        (plane * self.slope + self.offset).min_element()
    }

    /// A distance along the ray, from `world`, within which the warped ray cannot leave the block.
    ///
    /// Within `s` the warped position moves by at most `s · (2r - 1)/r²`, with `r` the least distance from the origin on
    /// the way. Going outwards that is here; going inwards it is that of the closest approach, or half of here if the
    /// step is shorter than that.
    #[inline(always)]
    fn bent_exit(&self, world: Vec3, warped: Vec3, low: UVec3, side: u32) -> f32 {
        let at = self.grid.in_cells(warped);
        let low = low.as_vec3();
        let to_face = (at - low).min(low + side as f32 - at).min_element() - self.margin;
        let room = to_face.max(0.0) * self.cell / self.length;
        let stretched = |r: f32| room * (r * r / (2.0 * r - 1.0));
        let (square, along) = (world.length_squared(), world.dot(self.direction) / self.length);
        if along >= 0.0 {
            return stretched(square.sqrt().max(1.0));
        }
        let closest = (square - along * along).max(1.0).sqrt();
        let half = 0.5 * square.sqrt();
        stretched(closest).max(stretched(half.max(1.0)).min(half / self.length))
    }

    /// Where the ray is inside the unit ball, in which the contraction changes nothing.
    #[inline(always)]
    fn unit_ball(&self) -> (f32, f32) {
        let (o, d) = (self.origin.as_dvec3(), self.direction.as_dvec3());
        let (a, b) = (d.length_squared(), o.dot(d));
        let root = (b * b - a * (o.length_squared() - 1.0)).sqrt();
        // Beside the ball the root is NaN, and no distance is between two of those.
        (((-b - root) / a) as f32, ((-b + root) / a) as f32)
    }
}
