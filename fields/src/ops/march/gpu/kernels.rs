//! One ray's walk over its steps. What it is given: `rays [r, 9]` are origin, direction, near, far and jitter, `steps
//! [r, 2]` the first step and the one after the last, `place` the lower corner of the grid and its cells per unit, and
//! `options` the number of rays, the base-2 logarithm of the grid's resolution, the most samples of a ray, whether steps
//! come from `edges`, whether the scene is contracted, and then the first word of each level of the grid.

use cubecl::prelude::*;

/// As in the march on the CPU: a block ends this many cells early.
const MARGIN: f32 = 1e-3;

/// The place of step `k`, and the length of its interval.
#[cube]
fn step_place(edges: &[f32], ladder: bool, near: f32, jitter: f32, step: f32, k: u32) -> (f32, f32) {
    let mut t = near + (f32::cast_from(k) + jitter) * step;
    let mut length = step;
    if ladder {
        length = edges[k as usize + 1] - edges[k as usize];
        t = edges[k as usize] + jitter * length;
    }
    (t, length)
}

/// What the contraction multiplies a position with.
#[cube]
fn warp(unbounded: bool, x: f32, y: f32, z: f32) -> f32 {
    let square = x * x + y * y + z * z;
    let mut factor = 1.0f32;
    if unbounded && square > 1.0 {
        let inverse = 1.0 / square.sqrt();
        factor = (2.0 - inverse) * inverse;
    }
    factor
}

/// How many levels of the grid are empty around a cell: 0 if it is occupied.
#[cube]
fn emptiness(options: &[u32], bits: &[u32], log2: u32, x: u32, y: u32, z: u32) -> u32 {
    let mut levels = 0u32;
    let mut empty = 1u32;
    #[unroll]
    for l in 0..4u32 {
        if empty == 1 {
            let shift = log2 - l;
            let index = (x >> l) | ((y >> l) << shift) | ((z >> l) << (2 * shift));
            empty = 1 - ((bits[(options[5 + l as usize] + index / 32) as usize] >> (index % 32)) & 1);
            if empty == 1 {
                levels += 1;
            }
        }
    }
    levels
}

/// The cell of a coordinate in the grid, upper face included.
#[cube]
fn cell_of(p: f32, log2: u32) -> u32 {
    min(u32::cast_from(p), (1u32 << log2) - 1)
}

/// Where a ray along one axis leaves a block of `side` cells at `low`; beyond everything if it does not move.
#[cube]
fn leaves(low: u32, side: u32, origin: f32, direction: f32, min: f32, scale: f32, margin: f32) -> f32 {
    let mut exit = 1e30f32;
    if direction.abs() > 1e-20 {
        let slope = 1.0 / (direction * scale);
        let mut plane = f32::cast_from(low) + margin;
        if direction > 0.0 {
            plane = f32::cast_from(low + side) - margin;
        }
        exit = plane * slope - (origin - min) * scale * slope;
    }
    exit
}

/// Counts the samples of each ray into `rows [r]`; or, if `write`, writes them to the rows from `rows [r + 1]` on.
#[cube(launch)]
pub fn walk(
    rays: &[f32],
    steps: &[u32],
    edges: &[f32],
    place: &[f32],
    options: &[u32],
    bits: &[u32],
    rows: &mut [u32],
    position: &mut [f32],
    direction: &mut [f32],
    at: &mut [f32],
    lengths: &mut [f32],
    step: f32,
    #[comptime] write: bool,
) {
    if ABSOLUTE_POS >= options[0] as usize {
        terminate!();
    }
    let ray = ABSOLUTE_POS;
    let ox = rays[ray * 9];
    let oy = rays[ray * 9 + 1];
    let oz = rays[ray * 9 + 2];
    let dx = rays[ray * 9 + 3];
    let dy = rays[ray * 9 + 4];
    let dz = rays[ray * 9 + 5];
    let near = rays[ray * 9 + 6];
    let far = rays[ray * 9 + 7];
    let jitter = rays[ray * 9 + 8];
    let log2 = options[1];
    let mut most = options[2];
    let mut row = 0u32;
    if comptime!(write) {
        // A ray that did not fit has no rows.
        row = rows[ray];
        most = rows[ray + 1] - row;
    }
    let ladder = options[3] == 1;
    let unbounded = options[4] == 1;
    let top = f32::cast_from(1u32 << log2);
    let reach = max(max(ox.abs(), oy.abs()), oz.abs()) + max(max(dx.abs(), dy.abs()), dz.abs()) * far;
    let margin = MARGIN + 4.8e-7 * min(reach, 1e9) * max(max(place[3], place[4]), place[5]);

    let mut k = steps[ray * 2];
    let end = steps[ray * 2 + 1];
    let mut kept = 0u32;
    while k < end && kept < most {
        let (t, length) = step_place(edges, ladder, near, jitter, step, k);
        let wx = ox + dx * t;
        let wy = oy + dy * t;
        let wz = oz + dz * t;
        let factor = warp(unbounded, wx, wy, wz);
        let px = (wx * factor - place[0]) * place[3];
        let py = (wy * factor - place[1]) * place[4];
        let pz = (wz * factor - place[2]) * place[5];
        k += 1;
        if px >= 0.0 && py >= 0.0 && pz >= 0.0 && px <= top && py <= top && pz <= top {
            let cx = cell_of(px, log2);
            let cy = cell_of(py, log2);
            let cz = cell_of(pz, log2);
            let levels = emptiness(options, bits, log2, cx, cy, cz);
            if levels == 0 {
                if comptime!(write) {
                    let to = (row + kept) as usize;
                    position[to * 3] = wx * factor;
                    position[to * 3 + 1] = wy * factor;
                    position[to * 3 + 2] = wz * factor;
                    direction[to * 3] = dx;
                    direction[to * 3 + 1] = dy;
                    direction[to * 3 + 2] = dz;
                    at[to] = t;
                    lengths[to] = length;
                }
                kept += 1;
            } else if !unbounded && !ladder {
                let l = levels - 1;
                let side = 1u32 << l;
                let ex = leaves((cx >> l) << l, side, ox, dx, place[0], place[3], margin);
                let ey = leaves((cy >> l) << l, side, oy, dy, place[1], place[4], margin);
                let ez = leaves((cz >> l) << l, side, oz, dz, place[2], place[5], margin);
                let exit = min(min(ex, ey), ez);
                let next = ((exit - near) / step - jitter).ceil();
                if next > f32::cast_from(k) {
                    k = u32::cast_from(min(next, f32::cast_from(end)));
                }
            }
        }
    }
    if comptime!(!write) {
        rows[ray] = kept;
    }
}
