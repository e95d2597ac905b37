//! The kernels of sparse grids.

use cubecl::prelude::*;

use crate::ops::gpu::sh::{basis, basis_gradient};

/// Where a coordinate of the unit cube lies among `r` vertices, which stand in the middle of their cells.
#[cube]
fn position(x: f32, r: u32) -> f32 {
    let wanted = x * f32::cast_from(r) - 0.5;
    let mut position = 0.0f32;
    if wanted > 0.0 {
        position = min(wanted, f32::cast_from(r - 1));
    }
    position
}

/// The lower of the two vertices around a position.
#[cube]
fn lower(position: f32, r: u32) -> u32 {
    min(u32::cast_from(position), r - 2)
}

/// The row of a vertex plus one, 0 where it is not kept.
#[cube]
fn row(links: &[u32], vertex: u32) -> u32 {
    let word = (vertex / 32) as usize * 2;
    let bit = vertex % 32;
    let bits = links[word];
    let mut row = 0u32;
    if (bits >> bit) & 1 == 1 {
        row = links[word + 1] + (bits & ((1u32 << bit) - 1)).count_ones() + 1;
    }
    row
}

#[cube(launch)]
pub fn sample(x: &[f32], values: &[f32], links: &[u32], out: &mut [f32], n: u32, channels: u32, r: u32, fill: f32) {
    let channels = channels as usize;
    if ABSOLUTE_POS >= n as usize * channels {
        terminate!();
    }
    let point = ABSOLUTE_POS / channels;
    let channel = ABSOLUTE_POS - point * channels;
    let px = position(x[point * 3], r);
    let py = position(x[point * 3 + 1], r);
    let pz = position(x[point * 3 + 2], r);
    let cx = lower(px, r);
    let cy = lower(py, r);
    let cz = lower(pz, r);
    let fx = px - f32::cast_from(cx);
    let fy = py - f32::cast_from(cy);
    let fz = pz - f32::cast_from(cz);
    let mut sum = 0.0f32;
    #[unroll]
    for c in 0..8usize {
        let ux = comptime!((c & 1) as u32);
        let uy = comptime!((c >> 1 & 1) as u32);
        let uz = comptime!((c >> 2 & 1) as u32);
        let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
        let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
        let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
        let at = row(links, cx + ux + r * (cy + uy + r * (cz + uz)));
        let mut value = fill;
        if at > 0 {
            value = values[(at - 1) as usize * channels + channel];
        }
        sum += wx * wy * wz * value;
    }
    out[ABSOLUTE_POS] = sum;
}

#[cube(launch)]
pub fn to_values(x: &[f32], links: &[u32], grad: &[f32], out: &[Atomic<f32>], n: u32, channels: u32, r: u32) {
    let channels = channels as usize;
    if ABSOLUTE_POS >= n as usize * channels {
        terminate!();
    }
    let g = grad[ABSOLUTE_POS];
    if g == 0.0 {
        terminate!();
    }
    let point = ABSOLUTE_POS / channels;
    let channel = ABSOLUTE_POS - point * channels;
    let px = position(x[point * 3], r);
    let py = position(x[point * 3 + 1], r);
    let pz = position(x[point * 3 + 2], r);
    let cx = lower(px, r);
    let cy = lower(py, r);
    let cz = lower(pz, r);
    let fx = px - f32::cast_from(cx);
    let fy = py - f32::cast_from(cy);
    let fz = pz - f32::cast_from(cz);
    #[unroll]
    for c in 0..8usize {
        let ux = comptime!((c & 1) as u32);
        let uy = comptime!((c >> 1 & 1) as u32);
        let uz = comptime!((c >> 2 & 1) as u32);
        let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
        let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
        let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
        let at = row(links, cx + ux + r * (cy + uy + r * (cz + uz)));
        if at > 0 {
            out[(at - 1) as usize * channels + channel].fetch_add(wx * wy * wz * g);
        }
    }
}

/// `r` between the outermost vertices; beyond them the coordinate was clamped and has no gradient.
#[cube]
fn slope(x: f32, r: u32) -> f32 {
    let wanted = x * f32::cast_from(r) - 0.5;
    let mut slope = 0.0f32;
    if wanted >= 0.0 && wanted <= f32::cast_from(r - 1) {
        slope = f32::cast_from(r);
    }
    slope
}

#[cube(launch)]
pub fn to_points(
    x: &[f32],
    values: &[f32],
    links: &[u32],
    grad: &[f32],
    out: &mut [f32],
    n: u32,
    channels: u32,
    r: u32,
    fill: f32,
) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let channels = channels as usize;
    let point = ABSOLUTE_POS;
    let px = position(x[point * 3], r);
    let py = position(x[point * 3 + 1], r);
    let pz = position(x[point * 3 + 2], r);
    let cx = lower(px, r);
    let cy = lower(py, r);
    let cz = lower(pz, r);
    let fx = px - f32::cast_from(cx);
    let fy = py - f32::cast_from(cy);
    let fz = pz - f32::cast_from(cz);
    let mut dx = 0.0f32;
    let mut dy = 0.0f32;
    let mut dz = 0.0f32;
    #[unroll]
    for c in 0..8usize {
        let ux = comptime!((c & 1) as u32);
        let uy = comptime!((c >> 1 & 1) as u32);
        let uz = comptime!((c >> 2 & 1) as u32);
        let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
        let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
        let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
        let at = row(links, cx + ux + r * (cy + uy + r * (cz + uz)));
        let mut along = 0.0f32;
        for k in 0..channels {
            let mut value = fill;
            if at > 0 {
                value = values[(at - 1) as usize * channels + k];
            }
            along += value * grad[point * channels + k];
        }
        dx += if comptime!(ux == 1) { wy * wz * along } else { -(wy * wz * along) };
        dy += if comptime!(uy == 1) { wx * wz * along } else { -(wx * wz * along) };
        dz += if comptime!(uz == 1) { wx * wy * along } else { -(wx * wy * along) };
    }
    out[point * 3] = dx * slope(x[point * 3], r);
    out[point * 3 + 1] = dy * slope(x[point * 3 + 1], r);
    out[point * 3 + 2] = dz * slope(x[point * 3 + 2], r);
}

/// The colour of a channel's sum.
#[cube]
fn shade(sum: f32, #[comptime] clip: bool) -> f32 {
    if comptime!(clip) { min(max(sum + 0.5, 0.0), 1.0) } else { 1.0 / (1.0 + (-sum).exp()) }
}

/// The gradient to a channel's sum.
#[cube]
fn shade_back(sum: f32, g: f32, #[comptime] clip: bool) -> f32 {
    let mut passed = 0.0f32;
    if comptime!(clip) {
        let value = sum + 0.5;
        if (value >= 0.0 || g < 0.0) && (value <= 1.0 || g > 0.0) {
            passed = g;
        }
    } else {
        let value = 1.0 / (1.0 + (-sum).exp());
        passed = g * value * (1.0 - value);
    }
    passed
}

#[cube(launch)]
pub fn colour(latent: &[f32], d: &[f32], out: &mut [f32], n: u32, #[comptime] clip: bool) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let point = ABSOLUTE_POS;
    let b = basis(d[point * 3], d[point * 3 + 1], d[point * 3 + 2], 2u32);
    #[unroll]
    for c in 0..3usize {
        let mut sum = 0.0f32;
        #[unroll]
        for k in 0..9usize {
            sum += latent[point * 27 + c * 9 + k] * b[k];
        }
        out[point * 3 + c] = shade(sum, clip);
    }
}

#[cube(launch)]
pub fn colour_back(
    latent: &[f32],
    d: &[f32],
    grad: &[f32],
    to_latent: &mut [f32],
    to_d: &mut [f32],
    n: u32,
    #[comptime] clip: bool,
) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let point = ABSOLUTE_POS;
    let b = basis(d[point * 3], d[point * 3 + 1], d[point * 3 + 2], 2u32);
    let mut of_basis = Array::<f32>::new(16usize);
    #[unroll]
    for k in 0..16usize {
        of_basis[k] = 0.0;
    }
    #[unroll]
    for c in 0..3usize {
        let mut sum = 0.0f32;
        #[unroll]
        for k in 0..9usize {
            sum += latent[point * 27 + c * 9 + k] * b[k];
        }
        let g = shade_back(sum, grad[point * 3 + c], clip);
        #[unroll]
        for k in 0..9usize {
            to_latent[point * 27 + c * 9 + k] = g * b[k];
            of_basis[k] += g * latent[point * 27 + c * 9 + k];
        }
    }
    let to = basis_gradient(d[point * 3], d[point * 3 + 1], d[point * 3 + 2], 2u32, &of_basis);
    to_d[point * 3] = to[0];
    to_d[point * 3 + 1] = to[1];
    to_d[point * 3 + 2] = to[2];
}

#[cube(launch)]
pub fn log_of(x: &[f32], out: &mut [f32], n: u32, low: f32, high: f32) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let value = x[ABSOLUTE_POS];
    let mut log = low;
    // Written so that a NaN stays one.
    if !(value <= 0.0) {
        log = value.ln();
        if log < low {
            log = low;
        }
        if log > high {
            log = high;
        }
    }
    out[ABSOLUTE_POS] = log;
}

#[cube(launch)]
pub fn log_of_back(x: &[f32], grad: &[f32], out: &mut [f32], n: u32, least: f32, most: f32) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let value = x[ABSOLUTE_POS];
    let g = grad[ABSOLUTE_POS];
    let mut passed = 0.0f32;
    if (value >= least || g < 0.0) && (value <= most || g > 0.0) {
        passed = g / min(max(value, least), most);
    }
    out[ABSOLUTE_POS] = passed;
}

/// `Δ` to a neighbour, 0 where there is none.
#[cube]
fn difference(values: &[f32], row: u32, own: f32, channels: usize, k: usize, scale: f32) -> f32 {
    let mut d = 0.0f32;
    if row != 4294967295u32 {
        d = scale * (values[row as usize * channels + k] - own);
    }
    d
}

#[cube(launch)]
pub fn penalty(
    values: &[f32],
    around: &[u32],
    out: &mut [f32],
    n: u32,
    channels: u32,
    scale: f32,
    eps: f32,
    thickest: f32,
    #[comptime] formula: u32,
) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let channels = channels as usize;
    let at = ABSOLUTE_POS * 4;
    let mut sum = 0.0f32;
    for k in 0..channels {
        let own = values[around[at] as usize * channels + k];
        if comptime!(formula == 0) {
            let dx = difference(values, around[at + 1], own, channels, k, scale);
            let dy = difference(values, around[at + 2], own, channels, k, scale);
            let dz = difference(values, around[at + 3], own, channels, k, scale);
            sum += (dx * dx + dy * dy + dz * dz + eps).sqrt();
        } else if comptime!(formula == 1) {
            let sigma = max(own, 0.0);
            sum += (1.0 + 2.0 * sigma * sigma).ln();
        } else {
            sum += (1.0 + 2.0 * (2.0 * min(own, thickest)).exp()).ln();
        }
    }
    out[ABSOLUTE_POS] = sum;
}

#[cube(launch)]
pub fn penalty_back(
    values: &[f32],
    around: &[u32],
    grad: &[f32],
    out: &[Atomic<f32>],
    n: u32,
    channels: u32,
    scale: f32,
    eps: f32,
    thickest: f32,
    #[comptime] formula: u32,
) {
    let channels = channels as usize;
    if ABSOLUTE_POS >= n as usize * channels {
        terminate!();
    }
    let item = ABSOLUTE_POS / channels;
    let k = ABSOLUTE_POS - item * channels;
    let at = item * 4;
    let g = grad[item];
    let place = around[at] as usize * channels + k;
    let own = values[place];
    if comptime!(formula == 0) {
        let dx = difference(values, around[at + 1], own, channels, k, scale);
        let dy = difference(values, around[at + 2], own, channels, k, scale);
        let dz = difference(values, around[at + 3], own, channels, k, scale);
        let by = g * scale / (dx * dx + dy * dy + dz * dz + eps).sqrt();
        out[place].fetch_add(-(by * (dx + dy + dz)));
        if around[at + 1] != 4294967295u32 {
            out[around[at + 1] as usize * channels + k].fetch_add(by * dx);
        }
        if around[at + 2] != 4294967295u32 {
            out[around[at + 2] as usize * channels + k].fetch_add(by * dy);
        }
        if around[at + 3] != 4294967295u32 {
            out[around[at + 3] as usize * channels + k].fetch_add(by * dz);
        }
    } else if comptime!(formula == 1) {
        let sigma = max(own, 0.0);
        out[place].fetch_add(g * 4.0 * sigma / (1.0 + 2.0 * sigma * sigma));
    } else {
        let square = 2.0 * (2.0 * min(own, thickest)).exp();
        out[place].fetch_add(g * 2.0 * square / (1.0 + square));
    }
}
