//! The march without any skipping: every place of every ray is looked up in the grid.

use super::spec::{Even, Ladder, Lattice, MarchSpec, Samples};
use crate::parts::occupancy::Occupancy;
use glam::Vec3;

/// As [`super::march`], one look-up per step.
pub fn march(
    origins: &[f32],
    directions: &[f32],
    jitter: &[f32],
    grid: &Occupancy,
    spec: &MarchSpec,
    limit: Option<usize>,
) -> Samples {
    let mut out = Samples { ray_start: vec![0], ..Samples::default() };
    let edges = spec.edges();
    let mut full = false;
    for (ray, &jitter) in jitter.iter().enumerate() {
        let (o, d) = (Vec3::from_slice(&origins[3 * ray..]), Vec3::from_slice(&directions[3 * ray..]));
        let mut kept = Vec::new();
        if let Some(span) = spec.span(o, d, grid.bounds()) {
            if spec.has_ladder() {
                keep(&Ladder { edges: &edges, jitter }, o, d, span, grid, spec, &mut kept);
            } else {
                let (start, step) = (span.0, spec.step);
                keep(&Even { start, step, per_step: 1.0 / step, jitter }, o, d, span, grid, spec, &mut kept);
            }
        }
        full |= limit.is_some_and(|limit| out.t.len() + kept.len() > limit);
        if !full {
            for (t, dt, position) in kept {
                out.t.push(t);
                out.dt.push(dt);
                out.position.extend(position.to_array());
                out.direction.extend(d.to_array());
            }
        }
        out.ray_start.push(out.t.len() as u32);
    }
    out
}

fn keep(
    lattice: &impl Lattice,
    o: Vec3,
    d: Vec3,
    (near, far): (f32, f32),
    grid: &Occupancy,
    spec: &MarchSpec,
    kept: &mut Vec<(f32, f32, Vec3)>,
) {
    for k in 0..lattice.limit() {
        let t = lattice.place(k);
        if t >= far || kept.len() == spec.max_samples_per_ray as usize {
            return;
        }
        let position = spec.warp().apply(o + d * t);
        if t >= near && grid.contains(position) {
            kept.push((t, lattice.length(k), position));
        }
    }
}
