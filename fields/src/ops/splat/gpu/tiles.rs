//! One group of 16 × 16 threads per tile, one thread per pixel; Gaussians are fetched together into shared memory.
//! See [`crate::ops::splat::raster`] for the formulas.

use std::f32::consts::LN_2;

use cubecl::prelude::*;

/// Threads of a tile along each side.
const SIDE: usize = 16;
const PIXELS: usize = 256;
/// Gaussians that lie in shared memory at a time.
const BATCH: usize = 64;
/// Floats of a projected Gaussian, and those of them that pixels need.
const STRIDE: usize = 13;
const NEEDED: usize = 10;
/// Sums over pixels for each Gaussian.
const SUMS: usize = 10;
/// log₂ of 1/255.
const FAINTEST: f32 = -7.994_353_3;
const MOST: f32 = 0.99;
const STOP: f32 = 1e-4;

/// What both passes are given.
#[derive(CubeLaunch, CubeType)]
pub struct Tiles {
    /// `[n, STRIDE]`: the projected Gaussians.
    pub splats: Box<[f32]>,
    /// Gaussians of each tile, nearest first.
    pub list: Box<[u32]>,
    /// Tile `t` has `list[starts[t]..starts[t + 1]]`.
    pub starts: Box<[u32]>,
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
}

/// Fetches the Gaussians `list[from..from + BATCH]`, as far as `end`.
#[cube]
fn fetch(tiles: &Tiles, from: usize, end: usize, near: &mut Shared<[f32]>) {
    let unit = UNIT_POS as usize;
    #[unroll]
    for i in 0..3usize {
        let e = unit + PIXELS * i;
        let g = e / NEEDED;
        if e < BATCH * NEEDED && from + g < end {
            near[e] = tiles.splats[tiles.list[from + g] as usize * STRIDE + e % NEEDED];
        }
    }
}

#[cube(launch)]
pub fn draw(tiles: &Tiles, image: &mut [f32], used: &mut [u32]) {
    let mut near = Shared::<[f32]>::new_slice(BATCH * NEEDED);
    let mut flags = Shared::<[u32]>::new_slice(PIXELS + 1);
    let unit = UNIT_POS as usize;
    let tile = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    let px = CUBE_POS_X * 16 + UNIT_POS % 16;
    let py = CUBE_POS_Y * 16 + UNIT_POS / 16;
    let x = f32::cast_from(px) + 0.5;
    let y = f32::cast_from(py) + 0.5;
    let inside = px < tiles.width && py < tiles.height;
    let start = tiles.starts[tile] as usize;
    let end = tiles.starts[tile + 1] as usize;

    let mut light = 1.0f32;
    let mut red = 0.0f32;
    let mut green = 0.0f32;
    let mut blue = 0.0f32;
    let mut depth = 0.0f32;
    let mut done = 0u32;
    if !inside {
        done = 1;
    }
    let mut last = 0u32;
    let mut from = start;
    let mut open = 1u32;
    while from < end && open > 0 {
        fetch(tiles, from, end, &mut near);
        flags[unit] = done;
        sync_cube();
        if done == 0 {
            let mut count = end - from;
            if count > BATCH {
                count = BATCH;
            }
            for g in 0..count {
                let at = g * NEEDED;
                let dy = y - near[at + 1];
                let u = near[at + 2] * (x - near[at]) + near[at + 3] * dy;
                let v = near[at + 4] * dy;
                let exponent = near[at + 5] - v * v - u * u;
                if done == 0 && exponent >= FAINTEST {
                    let alpha = min((exponent * LN_2).exp(), MOST);
                    let weight = light * alpha;
                    let next = light - weight;
                    if next >= STOP {
                        red += weight * near[at + 6];
                        green += weight * near[at + 7];
                        blue += weight * near[at + 8];
                        depth += weight * near[at + 9];
                        light = next;
                        last = (from - start + g + 1) as u32;
                    } else {
                        done = 1;
                    }
                }
            }
        }
        if UNIT_POS == 0 {
            let mut left = 0u32;
            for i in 0..PIXELS {
                left += 1 - flags[i];
            }
            flags[PIXELS] = left;
        }
        sync_cube();
        // As of the start of this batch: one batch more than needed at most.
        open = flags[PIXELS];
        from += BATCH;
        sync_cube();
    }
    flags[unit] = last;
    sync_cube();
    if UNIT_POS == 0 {
        let mut most = 0u32;
        for i in 0..PIXELS {
            most = max(most, flags[i]);
        }
        used[tile] = most;
    }
    if inside {
        let to = (py * tiles.width + px) as usize * 5;
        image[to] = red;
        image[to + 1] = green;
        image[to + 2] = blue;
        image[to + 3] = 1.0 - light;
        image[to + 4] = depth;
    }
}

#[cube(launch)]
pub fn sums(tiles: &Tiles, used: &[u32], image: &[f32], grad: &[f32], sums: &[Atomic<f32>]) {
    let mut near = Shared::<[f32]>::new_slice(BATCH * NEEDED);
    // Two stages of adding up: 256 pixels to 16 to one.
    let mut parts = Shared::<[f32]>::new_slice(SUMS * PIXELS);
    let mut rows = Shared::<[f32]>::new_slice(SUMS * SIDE);
    let unit = UNIT_POS as usize;
    let tile = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    let px = CUBE_POS_X * 16 + UNIT_POS % 16;
    let py = CUBE_POS_Y * 16 + UNIT_POS / 16;
    let x = f32::cast_from(px) + 0.5;
    let y = f32::cast_from(py) + 0.5;
    let start = tiles.starts[tile] as usize;
    let end = start + used[tile] as usize;

    let mut light = 1.0f32;
    let mut behind = 0.0f32;
    let mut g0 = 0.0f32;
    let mut g1 = 0.0f32;
    let mut g2 = 0.0f32;
    let mut g3 = 0.0f32;
    let mut g4 = 0.0f32;
    let mut done = 1u32;
    if px < tiles.width && py < tiles.height {
        let at = (py * tiles.width + px) as usize * 5;
        g0 = grad[at];
        g1 = grad[at + 1];
        g2 = grad[at + 2];
        g3 = grad[at + 3];
        g4 = grad[at + 4];
        behind = g0 * image[at] + g1 * image[at + 1] + g2 * image[at + 2] + g3 * image[at + 3] + g4 * image[at + 4];
        done = 0;
    }
    let mut from = start;
    while from < end {
        sync_cube();
        fetch(tiles, from, end, &mut near);
        sync_cube();
        let mut count = end - from;
        if count > BATCH {
            count = BATCH;
        }
        for g in 0..count {
            let at = g * NEEDED;
            let dy = y - near[at + 1];
            let u = near[at + 2] * (x - near[at]) + near[at + 3] * dy;
            let v = near[at + 4] * dy;
            let exponent = near[at + 5] - v * v - u * u;
            let mut q = 0.0f32;
            let mut weight = 0.0f32;
            if done == 0 && exponent >= FAINTEST {
                let raw = (exponent * LN_2).exp();
                let taken = light * min(raw, MOST);
                let next = light - taken;
                if next >= STOP {
                    weight = taken;
                    light = next;
                    let s = g0 * near[at + 6] + g1 * near[at + 7] + g2 * near[at + 8] + g3 + g4 * near[at + 9];
                    behind -= weight * s;
                    if raw < MOST {
                        q = weight * s - behind * (weight / next);
                    }
                } else {
                    done = 1;
                }
            }
            parts[unit] = q;
            parts[PIXELS + unit] = q * u;
            parts[2 * PIXELS + unit] = q * v;
            parts[3 * PIXELS + unit] = q * u * u;
            parts[4 * PIXELS + unit] = q * u * v;
            parts[5 * PIXELS + unit] = q * v * v;
            parts[6 * PIXELS + unit] = weight * g0;
            parts[7 * PIXELS + unit] = weight * g1;
            parts[8 * PIXELS + unit] = weight * g2;
            parts[9 * PIXELS + unit] = weight * g4;
            sync_cube();
            if unit < SUMS * SIDE {
                let mut sum = 0.0f32;
                for i in 0..SIDE {
                    sum += parts[unit * SIDE + i];
                }
                rows[unit] = sum;
            }
            sync_cube();
            if unit < SUMS {
                let mut sum = 0.0f32;
                for i in 0..SIDE {
                    sum += rows[unit * SIDE + i];
                }
                if sum != 0.0 {
                    sums[tiles.list[from + g] as usize * SUMS + unit].fetch_add(sum);
                }
            }
        }
        from += BATCH;
    }
}
