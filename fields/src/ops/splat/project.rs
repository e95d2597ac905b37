//! From a Gaussian in space to a Gaussian on the picture, and its gradients back.
//!
//! EWA splatting (Zwicker et al. 2001) as in 3D Gaussian splatting (Kerbl et al. 2023): with `J` the Jacobian of the
//! perspective at the centre, `W` the camera's rotation and `R S` the axes of the Gaussian,
//! `A = J W R S` (2x3) and `Σ₂ = A Aᵀ + 0.3 I`. The density on the picture is `exp(-½ |Lᵀ d|²)` with `L Lᵀ = Σ₂⁻¹`
//! (Cholesky). Nothing here subtracts large numbers that nearly agree: `det Σ₂ = |a₁×a₂|² + 0.3 (|a₁|² + |a₂|²) + 0.09`
//! for the rows `a₁, a₂` of `A`, so that long thin Gaussians keep their shape in single precision.

use super::spec::{SplatParams, SplatSpec, sh_coefficients};
use crate::parts::sh;

/// Variance in square pixels that every projected Gaussian is widened by.
pub const BLUR: f32 = 0.3;
/// The faintest alpha that is drawn.
pub const ALPHA_MIN: f32 = 1.0 / 255.0;
/// The Jacobian is taken no further outside the picture than this part of its half-width (3DGS: 1.3 in all).
const MARGIN: f32 = 0.3;
/// `√(½ log₂ e)`: folded into the Cholesky factor so that the density is `2^-(u² + v²)`.
pub const FOLD: f32 = 0.849_321_8;

type Mat3 = [[f32; 3]; 3];

/// The camera in the form that projection uses: +Z forward, y down, the window's top left pixel at the origin.
#[derive(Clone, Debug)]
pub struct Camera {
    rotation: Mat3,
    translation: [f32; 3],
    eye: [f32; 3],
    focal: [f32; 2],
    centre: [f32; 2],
    size: [f32; 2],
    /// Bounds of x/z and y/z for the Jacobian.
    low: [f32; 2],
    high: [f32; 2],
    near: f32,
    antialias: bool,
    sh_degree: u32,
    rest_width: usize,
}

impl Camera {
    /// The camera of `spec`.
    pub fn new(spec: &SplatSpec) -> Self {
        let m = &spec.camera_from_world;
        let row = |i: usize, sign: f32| [sign * m[i][0], sign * m[i][1], sign * m[i][2]];
        let rotation = [row(0, 1.0), row(1, -1.0), row(2, -1.0)];
        let translation = [m[0][3], -m[1][3], -m[2][3]];
        let eye = transposed_times(&rotation, translation).map(|v| -v);
        let window = spec.drawn();
        let full = [spec.width as f32, spec.height as f32];
        let start = [window.x as f32, window.y as f32];
        let bound = |a: usize, edge: f32| (edge - spec.centre[a]) / spec.focal[a];
        let margin = |a: usize| MARGIN * 0.5 * full[a] / spec.focal[a];
        Self {
            rotation,
            translation,
            eye,
            focal: spec.focal,
            centre: [spec.centre[0] - start[0], spec.centre[1] - start[1]],
            size: [window.width as f32, window.height as f32],
            low: [bound(0, 0.0) - margin(0), bound(1, 0.0) - margin(1)],
            high: [bound(0, full[0]) + margin(0), bound(1, full[1]) + margin(1)],
            near: spec.near,
            antialias: spec.antialias,
            sh_degree: spec.sh_degree,
            rest_width: spec.rest_width(),
        }
    }

    /// Its numbers for a device: rotation, translation, eye, focal lengths, centre, size, bounds, near plane; 26 in all.
    pub fn flat(&self) -> Vec<f32> {
        let Self { rotation, translation, eye, focal, centre, size, low, high, near, .. } = self;
        let pairs = [focal, centre, size, low, high];
        let numbers = rotation.iter().flatten().chain(translation).chain(eye).chain(pairs.into_iter().flatten());
        numbers.chain([near]).copied().collect()
    }
}

/// A Gaussian on the picture: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Splat {
    /// Centre in pixels of the window.
    pub mean: [f32; 2],
    /// `u = lxx dx + lyx dy`, `v = lyy dy`, folded by [`FOLD`].
    pub lxx: f32,
    /// See `lxx`.
    pub lyx: f32,
    /// See `lxx`.
    pub lyy: f32,
    /// log₂ of the opacity: `alpha = 2^(peak - u² - v²)`.
    pub peak: f32,
    /// Colour, at least 0.
    pub colour: [f32; 3],
    /// Distance along the view axis.
    pub depth: f32,
    /// Half-width and half-height of the box in which `alpha ≥ 1/255`.
    pub half: [f32; 2],
    /// Which Gaussian it is.
    pub index: u32,
}

/// Sums over pixels that the rasteriser hands back for one Gaussian. With `q = ∂L/∂alpha · alpha` where alpha is not
/// clamped, and `(u, v)` as in [`Splat`].
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct SplatSums {
    /// `Σ q`
    pub q: f32,
    /// `Σ q u`, `Σ q v`
    pub first: [f32; 2],
    /// `Σ q u²`, `Σ q u v`, `Σ q v²`
    pub second: [f32; 3],
    /// `∂L/∂colour`
    pub colour: [f32; 3],
    /// `∂L/∂depth`
    pub depth: f32,
}

impl SplatSums {
    /// Floats in all.
    pub const WIDTH: usize = 10;

    /// Adds the sums over other pixels.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        self.q += other.q;
        self.depth += other.depth;
        for k in 0..2 {
            self.first[k] += other.first[k];
        }
        for k in 0..3 {
            self.second[k] += other.second[k];
            self.colour[k] += other.colour[k];
        }
    }
}

/// Gradients of one Gaussian, apart from `sh_rest`, which is written in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowGrads {
    pub mean: [f32; 3],
    pub log_scale: [f32; 3],
    pub rotation: [f32; 4],
    pub raw_opacity: f32,
    pub sh_dc: [f32; 3],
    pub mean2d: [f32; 2],
}

fn transposed_times(m: &Mat3, v: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|j| m[0][j] * v[0] + m[1][j] * v[1] + m[2][j] * v[2])
}

#[inline(always)]
fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline(always)]
fn row<const N: usize>(values: &[f32], i: usize) -> [f32; N] {
    std::array::from_fn(|k| values[i * N + k])
}

/// The rotation matrix of a unit quaternion w, x, y, z.
#[inline(always)]
fn matrix([w, x, y, z]: [f32; 4]) -> Mat3 {
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// Everything between the parameters and the shape on the picture; made again in the backward pass.
struct Footprint {
    /// Centre in camera coordinates.
    p: [f32; 3],
    /// x and y of the point at which the Jacobian is taken, and whether it was moved there.
    at: [f32; 2],
    moved: [bool; 2],
    /// Unit quaternion and 1 / length of the stored one.
    unit: [f32; 4],
    inverse_length: f32,
    scale: [f32; 3],
    turn: Mat3,
    /// `J W`, and the rows of `A`.
    jw: [[f32; 3]; 2],
    a: [[f32; 3]; 2],
    /// `Σ₂`: xx, xy, yy, blurred.
    cov: [f32; 3],
    /// Determinant before and after the blur.
    det: [f32; 2],
}

impl Footprint {
    #[inline(always)]
    fn new(camera: &Camera, params: &SplatParams, i: usize) -> Option<Self> {
        let mean = row::<3>(params.means, i);
        let r = &camera.rotation;
        let p: [f32; 3] = std::array::from_fn(|k| dot(r[k], mean) + camera.translation[k]);
        if p[2].is_nan() || p[2] < camera.near {
            return None;
        }
        let inverse_z = 1.0 / p[2];
        let mut at = [0.0; 2];
        let mut moved = [false; 2];
        let mut jw = [[0.0; 3]; 2];
        for k in 0..2 {
            let slope = p[k] * inverse_z;
            let bounded = slope.max(camera.low[k]).min(camera.high[k]);
            moved[k] = bounded != slope;
            at[k] = bounded * p[2];
            let (across, along) = (camera.focal[k] * inverse_z, -camera.focal[k] * bounded * inverse_z);
            jw[k] = std::array::from_fn(|j| across * r[k][j] + along * r[2][j]);
        }
        let quaternion = row::<4>(params.rotations, i);
        let length = quaternion.iter().map(|v| v * v).sum::<f32>().sqrt();
        let inverse_length = 1.0 / length.max(1e-12);
        let unit = quaternion.map(|v| v * inverse_length);
        let turn = matrix(unit);
        let scale = row::<3>(params.log_scales, i).map(f32::exp);
        let a = jw.map(|t| -> [f32; 3] {
            std::array::from_fn(|j| (t[0] * turn[0][j] + t[1] * turn[1][j] + t[2] * turn[2][j]) * scale[j])
        });
        let normal = cross(a[0], a[1]);
        let (xx, xy, yy) = (dot(a[0], a[0]), dot(a[0], a[1]), dot(a[1], a[1]));
        let before = dot(normal, normal);
        let det = [before, before + BLUR * (xx + yy) + BLUR * BLUR];
        let cov = [xx + BLUR, xy, yy + BLUR];
        Some(Self { p, at, moved, unit, inverse_length, scale, turn, jw, a, cov, det })
    }

    /// The Cholesky factor of the inverse covariance: `lxx`, `lyx`, `lyy`, not folded.
    #[inline(always)]
    fn factor(&self) -> [f32; 3] {
        let [_, xy, yy] = self.cov;
        let root = 1.0 / (yy * self.det[1]).sqrt();
        [yy * root, -xy * root, 1.0 / yy.sqrt()]
    }

    /// What the blur leaves of the opacity, 1 without antialiasing.
    #[inline(always)]
    fn compensation(&self, antialias: bool) -> f32 {
        if antialias { (self.det[0] / self.det[1]).sqrt() } else { 1.0 }
    }
}

/// The view direction to a mean and 1 / distance.
#[inline(always)]
fn view(camera: &Camera, mean: [f32; 3]) -> ([f32; 3], f32) {
    let offset: [f32; 3] = std::array::from_fn(|k| mean[k] - camera.eye[k]);
    let inverse = 1.0 / dot(offset, offset).sqrt().max(1e-12);
    (offset.map(|v| v * inverse), inverse)
}

/// Colour before it is bounded below by 0.
#[inline(always)]
fn raw_colour(camera: &Camera, params: &SplatParams, i: usize, basis: &[f32; 16]) -> [f32; 3] {
    let mut colour = row::<3>(params.sh_dc, i).map(|v| sh::C0 * v + 0.5);
    let rest = &params.sh_rest[i * camera.rest_width..(i + 1) * camera.rest_width];
    let used = (sh_coefficients(camera.sh_degree) - 1) * 3;
    for (weight, value) in basis[1..].iter().zip(rest[..used].chunks_exact(3)) {
        for c in 0..3 {
            colour[c] += weight * value[c];
        }
    }
    colour
}

/// The Gaussian `i` on the picture with its radius in pixels (3 σ along the longest axis), if it can be seen. A
/// Gaussian with any value that is not finite cannot.
#[inline(always)]
pub fn project(camera: &Camera, params: &SplatParams, i: usize) -> Option<(Splat, f32)> {
    let foot = Footprint::new(camera, params, i)?;
    let opacity = foot.compensation(camera.antialias) / (1.0 + (-params.raw_opacity[i]).exp());
    if opacity.is_nan() || opacity < ALPHA_MIN {
        return None;
    }
    let [lxx, lyx, lyy] = foot.factor().map(|l| l * FOLD);
    let mean: [f32; 2] = std::array::from_fn(|k| camera.focal[k] * foot.p[k] / foot.p[2] + camera.centre[k]);
    let peak = opacity.log2();
    let reach = (peak - ALPHA_MIN.log2()).max(0.0).sqrt() / FOLD;
    let half = [reach * foot.cov[0].sqrt(), reach * foot.cov[2].sqrt()].map(|h| h * 1.0001 + 1e-3);
    let seen = |k: usize| mean[k] + half[k] >= 0.5 && mean[k] - half[k] <= camera.size[k] - 0.5;
    if !(seen(0) && seen(1)) {
        return None;
    }
    let (direction, _) = view(camera, row(params.means, i));
    let basis = sh::eval_basis(camera.sh_degree as usize, direction.into());
    let colour = raw_colour(camera, params, i, &basis);
    let sum = mean[0] + mean[1] + half[0] + half[1] + lxx + lyx + lyy + peak + foot.p[2] + colour.iter().sum::<f32>();
    if !sum.is_finite() {
        return None;
    }
    let middle = 0.5 * (foot.cov[0] + foot.cov[2]);
    let spread = 0.5 * (foot.cov[0] - foot.cov[2]);
    let radius = 3.0 * (middle + (spread * spread + foot.cov[1] * foot.cov[1]).sqrt()).sqrt();
    let colour = colour.map(|c| c.max(0.0));
    Some((Splat { mean, lxx, lyx, lyy, peak, colour, depth: foot.p[2], half, index: i as u32 }, radius.ceil()))
}

/// Gradient with respect to `Σ₂` as a symmetric matrix (xx, xy, yy).
#[inline(always)]
fn cov_gradient(foot: &Footprint, factor: [f32; 3], sums: &SplatSums, antialias: bool) -> [f32; 3] {
    let [lxx, lyx, lyy] = factor;
    let [uu, uv, vv] = sums.second.map(|s| s / (FOLD * FOLD));
    let mut g = [
        0.5 * lxx * lxx * uu,
        0.5 * lxx * (lyx * uu + lyy * uv),
        0.5 * (lyx * lyx * uu + 2.0 * lyx * lyy * uv + lyy * lyy * vv),
    ];
    if antialias {
        // d ln √(det Σ / det Σ₂) = ½ (Σ⁻¹ - Σ₂⁻¹) : dΣ₂, with the adjugate for the inverse.
        let [xx, xy, yy] = foot.cov;
        let (before, after) = (0.5 * sums.q / foot.det[0], 0.5 * sums.q / foot.det[1]);
        g[0] += (yy - BLUR) * before - yy * after;
        g[1] -= xy * (before - after);
        g[2] += (xx - BLUR) * before - xx * after;
    }
    g
}

/// Gradient with respect to the stored quaternion from that with respect to the matrix.
#[inline(always)]
fn rotation_gradient(foot: &Footprint, d: &Mat3) -> [f32; 4] {
    let [w, x, y, z] = foot.unit;
    let g = [
        2.0 * (x * (d[2][1] - d[1][2]) + y * (d[0][2] - d[2][0]) + z * (d[1][0] - d[0][1])),
        2.0 * (y * (d[0][1] + d[1][0]) + z * (d[0][2] + d[2][0]) + w * (d[2][1] - d[1][2])
            - 2.0 * x * (d[1][1] + d[2][2])),
        2.0 * (x * (d[0][1] + d[1][0]) + z * (d[1][2] + d[2][1]) + w * (d[0][2] - d[2][0])
            - 2.0 * y * (d[0][0] + d[2][2])),
        2.0 * (x * (d[0][2] + d[2][0]) + y * (d[1][2] + d[2][1]) + w * (d[1][0] - d[0][1])
            - 2.0 * z * (d[0][0] + d[1][1])),
    ];
    let along: f32 = g.iter().zip(foot.unit).map(|(g, u)| g * u).sum();
    std::array::from_fn(|k| (g[k] - along * foot.unit[k]) * foot.inverse_length)
}

/// Gradient of colour: to `sh_dc`, into `rest` (overwritten), and to the mean through the view direction.
#[inline(always)]
fn colour_gradient(
    camera: &Camera,
    params: &SplatParams,
    i: usize,
    sums: &SplatSums,
    rest: &mut [f32],
) -> ([f32; 3], [f32; 3]) {
    let (direction, inverse) = view(camera, row(params.means, i));
    let basis = sh::eval_basis(camera.sh_degree as usize, direction.into());
    let colour = raw_colour(camera, params, i, &basis);
    let g: [f32; 3] = std::array::from_fn(|c| if colour[c] > 0.0 { sums.colour[c] } else { 0.0 });
    let used = (sh_coefficients(camera.sh_degree) - 1) * 3;
    let stored = &params.sh_rest[i * camera.rest_width..(i + 1) * camera.rest_width];
    let mut weights = [0.0; 16];
    for (k, (value, out)) in stored[..used].chunks_exact(3).zip(rest[..used].chunks_exact_mut(3)).enumerate() {
        for c in 0..3 {
            out[c] = basis[k + 1] * g[c];
        }
        weights[k + 1] = value[0] * g[0] + value[1] * g[1] + value[2] * g[2];
    }
    rest[used..].fill(0.0);
    let d = sh::basis_gradient(camera.sh_degree as usize, direction.into(), &weights).to_array();
    let along = dot(d, direction);
    (g.map(|v| sh::C0 * v), std::array::from_fn(|k| (d[k] - along * direction[k]) * inverse))
}

/// Gradients of Gaussian `i`, which [`project`] showed, from the sums over its pixels. `rest` is its row of the gradient
/// of `sh_rest`.
#[inline(always)]
pub fn project_backward(
    camera: &Camera,
    params: &SplatParams,
    i: usize,
    sums: &SplatSums,
    rest: &mut [f32],
) -> RowGrads {
    let Some(foot) = Footprint::new(camera, params, i) else {
        rest.fill(0.0);
        return RowGrads::default();
    };
    let factor = foot.factor();
    let [u, v] = sums.first.map(|s| s / FOLD);
    let mean2d = [factor[0] * u, factor[1] * u + factor[2] * v];

    // Σ₂ = A Aᵀ + 0.3 I, A = (J W) (R S).
    let [gxx, gxy, gyy] = cov_gradient(&foot, factor, sums, camera.antialias);
    let da: [[f32; 3]; 2] = [
        std::array::from_fn(|j| 2.0 * (gxx * foot.a[0][j] + gxy * foot.a[1][j])),
        std::array::from_fn(|j| 2.0 * (gxy * foot.a[0][j] + gyy * foot.a[1][j])),
    ];
    let mut d_turn = [[0.0; 3]; 3];
    let mut log_scale = [0.0; 3];
    let mut d_jw = [[0.0; 3]; 2];
    for i in 0..3 {
        for j in 0..3 {
            let dm = foot.jw[0][i] * da[0][j] + foot.jw[1][i] * da[1][j];
            let axis = foot.turn[i][j] * foot.scale[j];
            d_turn[i][j] = dm * foot.scale[j];
            log_scale[j] += dm * axis;
            d_jw[0][i] += da[0][j] * axis;
            d_jw[1][i] += da[1][j] * axis;
        }
    }

    let (sh_dc, through_view) = colour_gradient(camera, params, i, sums, rest);
    let dp = point_gradient(camera, &foot, &d_jw, mean2d, sums.depth);
    let through_place = transposed_times(&camera.rotation, dp);
    RowGrads {
        mean: std::array::from_fn(|k| through_place[k] + through_view[k]),
        log_scale,
        rotation: rotation_gradient(&foot, &d_turn),
        raw_opacity: sums.q / (1.0 + params.raw_opacity[i].exp()),
        sh_dc,
        mean2d,
    }
}

/// Gradient with respect to the centre in camera coordinates: through its place on the picture, its depth and `J`.
#[inline(always)]
fn point_gradient(camera: &Camera, foot: &Footprint, d_jw: &[[f32; 3]; 2], mean2d: [f32; 2], depth: f32) -> [f32; 3] {
    let inverse_z = 1.0 / foot.p[2];
    let mut dp = [0.0, 0.0, depth];
    for k in 0..2 {
        let f = camera.focal[k] * inverse_z;
        dp[k] += f * mean2d[k];
        dp[2] -= f * foot.p[k] * inverse_z * mean2d[k];
        // J has focal / z across and -focal x / z² along, the latter -focal · bound / z where x/z is held at a bound.
        let across = dot(d_jw[k], camera.rotation[k]);
        let along = dot(d_jw[k], camera.rotation[2]);
        let slope = foot.at[k] * inverse_z;
        dp[2] -= f * inverse_z * across;
        if foot.moved[k] {
            dp[2] += f * inverse_z * slope * along;
        } else {
            dp[k] -= f * inverse_z * along;
            dp[2] += 2.0 * f * inverse_z * slope * along;
        }
    }
    dp
}
