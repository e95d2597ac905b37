//! One thread per Gaussian: its place on the picture, and its gradients. See [`crate::ops::splat::project`].
//!
//! [`Given::camera`] is rotation (0), translation (9), eye (12), focal lengths (15), centre (17), size (19), lower (21)
//! and upper (23) bounds of the slopes, near plane (25).

use std::f32::consts::LOG2_E;

use cubecl::prelude::*;

use crate::ops::gpu::sh::{basis, basis_gradient};

const BLUR: f32 = 0.3;
const ALPHA_MIN: f32 = 0.003_921_569;
/// log₂ of it.
const FAINTEST: f32 = -7.994_353_3;
const FOLD: f32 = 0.849_321_8;
const C0: f32 = 0.282_094_8;

/// What both passes are given.
#[derive(CubeLaunch, CubeType)]
pub struct Given {
    /// `[n, 3]`
    pub means: Box<[f32]>,
    /// `[n, 3]`
    pub log_scales: Box<[f32]>,
    /// `[n, 4]`
    pub rotations: Box<[f32]>,
    /// `[n, 1]`
    pub raw_opacity: Box<[f32]>,
    /// `[n, 3]`
    pub dc: Box<[f32]>,
    /// `[n, rest_width]`
    pub rest: Box<[f32]>,
    /// See above.
    pub camera: Box<[f32]>,
    /// How many Gaussians there are.
    pub n: u32,
    /// Coefficients of `rest`.
    pub rest_width: u32,
    /// The highest degree in use.
    pub degree: u32,
    /// Whether opacity makes up for the blur: 1 or 0.
    pub antialias: u32,
}

/// Where gradients go, shaped as what they are of.
#[derive(CubeLaunch, CubeType)]
pub struct Gradients {
    /// `[n, 3]`
    pub means: Box<[f32]>,
    /// `[n, 3]`
    pub log_scales: Box<[f32]>,
    /// `[n, 4]`
    pub rotations: Box<[f32]>,
    /// `[n, 1]`
    pub raw_opacity: Box<[f32]>,
    /// `[n, 3]`
    pub dc: Box<[f32]>,
    /// `[n, rest_width]`
    pub rest: Box<[f32]>,
    /// `[n, 2]`: the place on the picture.
    pub mean2d: Box<[f32]>,
}

/// Everything between the parameters and the shape on the picture: centre in camera coordinates (0), bounded slopes
/// (3), whether they were moved (5), unit quaternion (7), 1 / its length (11), scales (12), rotation (15), `J W` (24),
/// the rows of `A` (30), `Σ₂` (36), determinants before and after the blur (39).
#[cube]
fn footprint(given: &Given, i: usize) -> Array<f32> {
    let mut f = Array::<f32>::new(41usize);
    let mx = given.means[i * 3];
    let my = given.means[i * 3 + 1];
    let mz = given.means[i * 3 + 2];
    #[unroll]
    for k in 0..3usize {
        f[k] = given.camera[k * 3] * mx
            + given.camera[k * 3 + 1] * my
            + given.camera[k * 3 + 2] * mz
            + given.camera[9 + k];
    }
    let inverse_z = 1.0 / f[2];
    #[unroll]
    for k in 0..2usize {
        let slope = f[k] * inverse_z;
        let bounded = min(max(slope, given.camera[21 + k]), given.camera[23 + k]);
        f[3 + k] = bounded;
        f[5 + k] = 0.0;
        if bounded != slope {
            f[5 + k] = 1.0;
        }
        let across = given.camera[15 + k] * inverse_z;
        let along = across * bounded;
        #[unroll]
        for j in 0..3usize {
            f[24 + k * 3 + j] = across * given.camera[k * 3 + j] - along * given.camera[6 + j];
        }
    }
    let w0 = given.rotations[i * 4];
    let x0 = given.rotations[i * 4 + 1];
    let y0 = given.rotations[i * 4 + 2];
    let z0 = given.rotations[i * 4 + 3];
    let inverse = 1.0 / max((w0 * w0 + x0 * x0 + y0 * y0 + z0 * z0).sqrt(), 1e-12);
    let w = w0 * inverse;
    let x = x0 * inverse;
    let y = y0 * inverse;
    let z = z0 * inverse;
    f[7] = w;
    f[8] = x;
    f[9] = y;
    f[10] = z;
    f[11] = inverse;
    f[15] = 1.0 - 2.0 * (y * y + z * z);
    f[16] = 2.0 * (x * y - w * z);
    f[17] = 2.0 * (x * z + w * y);
    f[18] = 2.0 * (x * y + w * z);
    f[19] = 1.0 - 2.0 * (x * x + z * z);
    f[20] = 2.0 * (y * z - w * x);
    f[21] = 2.0 * (x * z - w * y);
    f[22] = 2.0 * (y * z + w * x);
    f[23] = 1.0 - 2.0 * (x * x + y * y);
    #[unroll]
    for j in 0..3usize {
        f[12 + j] = given.log_scales[i * 3 + j].exp();
        #[unroll]
        for k in 0..2usize {
            f[30 + k * 3 + j] =
                (f[24 + k * 3] * f[15 + j] + f[25 + k * 3] * f[18 + j] + f[26 + k * 3] * f[21 + j]) * f[12 + j];
        }
    }
    let nx = f[31] * f[35] - f[32] * f[34];
    let ny = f[32] * f[33] - f[30] * f[35];
    let nz = f[30] * f[34] - f[31] * f[33];
    let xx = f[30] * f[30] + f[31] * f[31] + f[32] * f[32];
    let xy = f[30] * f[33] + f[31] * f[34] + f[32] * f[35];
    let yy = f[33] * f[33] + f[34] * f[34] + f[35] * f[35];
    f[36] = xx + BLUR;
    f[37] = xy;
    f[38] = yy + BLUR;
    f[39] = nx * nx + ny * ny + nz * nz;
    f[40] = f[39] + BLUR * (xx + yy) + BLUR * BLUR;
    f
}

/// The unit vector from the eye to a centre, and 1 / distance.
#[cube]
fn view(given: &Given, i: usize) -> Array<f32> {
    let mut d = Array::<f32>::new(4usize);
    let x = given.means[i * 3] - given.camera[12];
    let y = given.means[i * 3 + 1] - given.camera[13];
    let z = given.means[i * 3 + 2] - given.camera[14];
    d[3] = 1.0 / max((x * x + y * y + z * z).sqrt(), 1e-12);
    d[0] = x * d[3];
    d[1] = y * d[3];
    d[2] = z * d[3];
    d
}

/// Channel `c` of the colour before it is bounded below by 0.
#[cube]
fn raw_colour(given: &Given, b: &Array<f32>, i: usize, #[comptime] c: usize) -> f32 {
    let mut colour = C0 * given.dc[i * 3 + c] + 0.5;
    let coefficients = (given.degree + 1) * (given.degree + 1);
    #[unroll]
    for k in 1..16usize {
        if comptime!(k as u32) < coefficients {
            colour += b[k] * given.rest[i * given.rest_width as usize + (k - 1) * 3 + c];
        }
    }
    colour
}

#[cube(launch)]
pub fn project(given: &Given, out: &mut [f32]) {
    if ABSOLUTE_POS >= given.n as usize {
        terminate!();
    }
    let i = ABSOLUTE_POS;
    let f = footprint(given, i);
    let mut opacity = 1.0 / (1.0 + (-given.raw_opacity[i]).exp());
    if given.antialias == 1 {
        opacity *= (f[39] / f[40]).sqrt();
    }
    let root = FOLD / (f[38] * f[40]).sqrt();
    let lxx = f[38] * root;
    let lyx = -(f[37] * root);
    let lyy = FOLD / f[38].sqrt();
    let mean_x = given.camera[15] * f[0] / f[2] + given.camera[17];
    let mean_y = given.camera[16] * f[1] / f[2] + given.camera[18];
    let peak = opacity.ln() * LOG2_E;
    let reach = max(peak - FAINTEST, 0.0).sqrt() / FOLD;
    let half_x = reach * f[36].sqrt() * 1.0001 + 1e-3;
    let half_y = reach * f[38].sqrt() * 1.0001 + 1e-3;
    let d = view(given, i);
    let b = basis(d[0], d[1], d[2], given.degree);
    let red = raw_colour(given, &b, i, 0usize);
    let green = raw_colour(given, &b, i, 1usize);
    let blue = raw_colour(given, &b, i, 2usize);
    let sum = mean_x + mean_y + half_x + half_y + lxx + lyx + lyy + peak + f[2] + red + green + blue;
    let mut radius = 0.0f32;
    // Written so that a NaN is not seen.
    if f[2] >= given.camera[25]
        && opacity >= ALPHA_MIN
        && sum.abs() < 3e38
        && mean_x + half_x >= 0.5
        && mean_x - half_x <= given.camera[19] - 0.5
        && mean_y + half_y >= 0.5
        && mean_y - half_y <= given.camera[20] - 0.5
    {
        let middle = 0.5 * (f[36] + f[38]);
        let spread = 0.5 * (f[36] - f[38]);
        radius = (3.0 * (middle + (spread * spread + f[37] * f[37]).sqrt()).sqrt()).ceil();
    }
    let to = i * 13;
    out[to] = mean_x;
    out[to + 1] = mean_y;
    out[to + 2] = lxx;
    out[to + 3] = lyx;
    out[to + 4] = lyy;
    out[to + 5] = peak;
    out[to + 6] = max(red, 0.0);
    out[to + 7] = max(green, 0.0);
    out[to + 8] = max(blue, 0.0);
    out[to + 9] = f[2];
    out[to + 10] = half_x;
    out[to + 11] = half_y;
    out[to + 12] = radius;
}

/// The gradients of each Gaussian that was seen, from its sums over pixels. Those of others stay as they are: zero.
#[cube(launch)]
pub fn spread(given: &Given, splats: &[f32], sums: &[f32], to: &mut Gradients) {
    if ABSOLUTE_POS >= given.n as usize {
        terminate!();
    }
    let i = ABSOLUTE_POS;
    let mut any = 0.0f32;
    #[unroll]
    for k in 0..10usize {
        any += sums[i * 10 + k].abs();
    }
    if splats[i * 13 + 12] == 0.0 || any == 0.0 {
        terminate!();
    }
    let f = footprint(given, i);
    let root = 1.0 / (f[38] * f[40]).sqrt();
    let lxx = f[38] * root;
    let lyx = -(f[37] * root);
    let lyy = 1.0 / f[38].sqrt();
    let q = sums[i * 10];
    let u = sums[i * 10 + 1] / FOLD;
    let v = sums[i * 10 + 2] / FOLD;
    let uu = sums[i * 10 + 3] / (FOLD * FOLD);
    let uv = sums[i * 10 + 4] / (FOLD * FOLD);
    let vv = sums[i * 10 + 5] / (FOLD * FOLD);
    let mut mean2d = Array::<f32>::new(2usize);
    mean2d[0] = lxx * u;
    mean2d[1] = lyx * u + lyy * v;

    let mut gxx = 0.5 * lxx * lxx * uu;
    let mut gxy = 0.5 * lxx * (lyx * uu + lyy * uv);
    let mut gyy = 0.5 * (lyx * lyx * uu + 2.0 * lyx * lyy * uv + lyy * lyy * vv);
    if given.antialias == 1 {
        let before = 0.5 * q / f[39];
        let after = 0.5 * q / f[40];
        gxx += (f[38] - BLUR) * before - f[38] * after;
        gxy -= f[37] * (before - after);
        gyy += (f[36] - BLUR) * before - f[36] * after;
    }

    let mut turned = Array::<f32>::new(9usize);
    let mut d_jw = Array::<f32>::new(6usize);
    let mut d_scale = Array::<f32>::new(3usize);
    #[unroll]
    for k in 0..6usize {
        d_jw[k] = 0.0;
    }
    #[unroll]
    for j in 0..3usize {
        let da0 = 2.0 * (gxx * f[30 + j] + gxy * f[33 + j]);
        let da1 = 2.0 * (gxy * f[30 + j] + gyy * f[33 + j]);
        d_scale[j] = 0.0;
        #[unroll]
        for k in 0..3usize {
            let dm = f[24 + k] * da0 + f[27 + k] * da1;
            let axis = f[15 + k * 3 + j] * f[12 + j];
            turned[k * 3 + j] = dm * f[12 + j];
            d_scale[j] += dm * axis;
            d_jw[k] += da0 * axis;
            d_jw[3 + k] += da1 * axis;
        }
        to.log_scales[i * 3 + j] = d_scale[j];
    }
    rotation_gradient(&f, &turned, i, to);

    // Through the colour.
    let d = view(given, i);
    let b = basis(d[0], d[1], d[2], given.degree);
    let mut weights = Array::<f32>::new(16usize);
    #[unroll]
    for k in 0..16usize {
        weights[k] = 0.0;
    }
    let width = given.rest_width as usize;
    let coefficients = (given.degree + 1) * (given.degree + 1);
    #[unroll]
    for c in 0..3usize {
        let mut g = 0.0f32;
        if raw_colour(given, &b, i, c) > 0.0 {
            g = sums[i * 10 + 6 + c];
        }
        to.dc[i * 3 + c] = C0 * g;
        #[unroll]
        for k in 1..16usize {
            if comptime!(k as u32) < coefficients {
                let at = i * width + (k - 1) * 3 + c;
                weights[k] += given.rest[at] * g;
                to.rest[at] = b[k] * g;
            }
        }
    }
    let to_view = basis_gradient(d[0], d[1], d[2], given.degree, &weights);
    let along = to_view[0] * d[0] + to_view[1] * d[1] + to_view[2] * d[2];

    // Through the place on the picture, the depth and J.
    let inverse_z = 1.0 / f[2];
    let mut dp = Array::<f32>::new(3usize);
    dp[2] = sums[i * 10 + 9];
    #[unroll]
    for k in 0..2usize {
        let focal = given.camera[15 + k] * inverse_z;
        dp[k] = focal * mean2d[k];
        dp[2] -= focal * f[k] * inverse_z * mean2d[k];
        let mut across = 0.0f32;
        let mut forward = 0.0f32;
        #[unroll]
        for j in 0..3usize {
            across += d_jw[k * 3 + j] * given.camera[k * 3 + j];
            forward += d_jw[k * 3 + j] * given.camera[6 + j];
        }
        dp[2] -= focal * inverse_z * across;
        if f[5 + k] == 1.0 {
            dp[2] += focal * inverse_z * f[3 + k] * forward;
        } else {
            dp[k] -= focal * inverse_z * forward;
            dp[2] += 2.0 * focal * inverse_z * f[3 + k] * forward;
        }
    }
    #[unroll]
    for j in 0..3usize {
        let place = given.camera[j] * dp[0] + given.camera[3 + j] * dp[1] + given.camera[6 + j] * dp[2];
        to.means[i * 3 + j] = place + (to_view[j] - along * d[j]) * d[3];
    }
    to.raw_opacity[i] = q / (1.0 + given.raw_opacity[i].exp());
    to.mean2d[i * 2] = mean2d[0];
    to.mean2d[i * 2 + 1] = mean2d[1];
}

/// From the gradient with respect to the rotation matrix to that of the stored quaternion.
#[cube]
fn rotation_gradient(f: &Array<f32>, d: &Array<f32>, i: usize, to: &mut Gradients) {
    let w = f[7];
    let x = f[8];
    let y = f[9];
    let z = f[10];
    let gw = 2.0 * (x * (d[7] - d[5]) + y * (d[2] - d[6]) + z * (d[3] - d[1]));
    let gx = 2.0 * (y * (d[1] + d[3]) + z * (d[2] + d[6]) + w * (d[7] - d[5]) - 2.0 * x * (d[4] + d[8]));
    let gy = 2.0 * (x * (d[1] + d[3]) + z * (d[5] + d[7]) + w * (d[2] - d[6]) - 2.0 * y * (d[0] + d[8]));
    let gz = 2.0 * (x * (d[2] + d[6]) + y * (d[5] + d[7]) + w * (d[3] - d[1]) - 2.0 * z * (d[0] + d[4]));
    let along = gw * w + gx * x + gy * y + gz * z;
    to.rotations[i * 4] = (gw - along * w) * f[11];
    to.rotations[i * 4 + 1] = (gx - along * x) * f[11];
    to.rotations[i * 4 + 2] = (gy - along * y) * f[11];
    to.rotations[i * 4 + 3] = (gz - along * z) * f[11];
}
