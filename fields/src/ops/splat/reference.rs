//! The slow and obvious rasteriser: every pixel goes through all Gaussians in order of depth, in double precision.
//!
//! It is written from the definitions and shares no formula with the fast path: covariance products in full, a plain
//! inverse, `exp(-½ dᵀ Σ⁻¹ d)`. It is generic over its number: run with [`Dual`] numbers it gives exact derivatives,
//! one parameter at a time, which is how [`gradient`] checks the hand-written backward pass.

use std::ops::{Add, Div, Mul, Sub};

use rayon::prelude::*;

use super::spec::{SplatGrads, SplatParams, SplatSpec};

/// A number that the rasteriser can compute with.
pub trait Real:
    Copy + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// A constant.
    fn of(value: f64) -> Self;
    /// The value, for comparisons.
    fn value(self) -> f64;
    /// e to its power.
    #[must_use]
    fn exp(self) -> Self;
    /// Its square root.
    #[must_use]
    fn sqrt(self) -> Self;
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn value(self) -> f64 {
        self
    }
    fn exp(self) -> Self {
        self.exp()
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

/// A value and its derivative with respect to one chosen parameter.
#[derive(Clone, Copy, Debug)]
pub struct Dual {
    /// The value.
    pub v: f64,
    /// The derivative.
    pub d: f64,
}

impl Add for Dual {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { v: self.v + o.v, d: self.d + o.d }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self { v: self.v - o.v, d: self.d - o.d }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        Self { v: self.v * o.v, d: self.d * o.v + self.v * o.d }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, o: Self) -> Self {
        let v = self.v / o.v;
        Self { v, d: (self.d - v * o.d) / o.v }
    }
}

impl Real for Dual {
    fn of(v: f64) -> Self {
        Self { v, d: 0.0 }
    }
    fn value(self) -> f64 {
        self.v
    }
    fn exp(self) -> Self {
        let v = self.v.exp();
        Self { v, d: v * self.d }
    }
    fn sqrt(self) -> Self {
        let v = self.v.sqrt();
        Self { v, d: self.d / (2.0 * v) }
    }
}

/// A Gaussian's parameters in one row, in the order of [`PARTS`], with a shift of its place on the picture.
type Row<R> = Vec<R>;

/// Where each parameter starts in a [`Row`]: mean, log scale, rotation, raw opacity, shift in pixels, SH.
const PARTS: [usize; 6] = [0, 3, 6, 10, 11, 13];

fn rows<R: Real>(spec: &SplatSpec, p: &SplatParams) -> Vec<Row<R>> {
    let w = spec.rest_width();
    let row = |i: usize| {
        let parts: [&[f32]; 4] = [
            &p.means[i * 3..i * 3 + 3],
            &p.log_scales[i * 3..i * 3 + 3],
            &p.rotations[i * 4..i * 4 + 4],
            &p.raw_opacity[i..=i],
        ];
        let colour: [&[f32]; 2] = [&p.sh_dc[i * 3..i * 3 + 3], &p.sh_rest[i * w..(i + 1) * w]];
        let values = parts.concat().into_iter().chain([0.0, 0.0]).chain(colour.concat());
        values.map(|v| R::of(f64::from(v))).collect()
    };
    (0..p.raw_opacity.len()).map(row).collect()
}

struct Flat<R> {
    mean: [R; 2],
    /// Σ₂⁻¹: xx, xy, yy.
    conic: [R; 3],
    opacity: R,
    colour: [R; 3],
    depth: R,
}

fn sum3<R: Real>(f: impl Fn(usize) -> R) -> R {
    f(0) + f(1) + f(2)
}

fn sh_colour<R: Real>(spec: &SplatSpec, sh: &[R], [x, y, z]: [R; 3]) -> [R; 3] {
    let k = R::of;
    let (xx, yy, zz) = (x * x, y * y, z * z);
    let basis = [
        k(0.282_094_791_773_878_14),
        k(-0.488_602_511_902_919_9) * y,
        k(0.488_602_511_902_919_9) * z,
        k(-0.488_602_511_902_919_9) * x,
        k(1.092_548_430_592_079_2) * x * y,
        k(-1.092_548_430_592_079_2) * y * z,
        k(0.315_391_565_252_520_05) * (k(2.0) * zz - xx - yy),
        k(-1.092_548_430_592_079_2) * x * z,
        k(0.546_274_215_296_039_6) * (xx - yy),
        k(-0.590_043_589_926_643_5) * y * (k(3.0) * xx - yy),
        k(2.890_611_442_640_554) * x * y * z,
        k(-0.457_045_799_464_465_8) * y * (k(4.0) * zz - xx - yy),
        k(0.373_176_332_590_115_4) * z * (k(2.0) * zz - k(3.0) * xx - k(3.0) * yy),
        k(-0.457_045_799_464_465_8) * x * (k(4.0) * zz - xx - yy),
        k(1.445_305_721_320_277) * z * (xx - yy),
        k(-0.590_043_589_926_643_5) * x * (xx - k(3.0) * yy),
    ];
    let used = ((spec.sh_degree + 1) * (spec.sh_degree + 1)) as usize;
    std::array::from_fn(|c| {
        let colour = basis[..used].iter().zip(sh.chunks(3)).fold(k(0.5), |sum, (&b, sh)| sum + b * sh[c]);
        if colour.value() > 0.0 { colour } else { k(0.0) }
    })
}

fn turn<R: Real>(q: &[R]) -> [[R; 3]; 3] {
    let k = R::of;
    let length = (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]).sqrt();
    let [w, x, y, z] = [q[0] / length, q[1] / length, q[2] / length, q[3] / length];
    let two = k(2.0);
    [
        [k(1.0) - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y)],
        [two * (x * y + w * z), k(1.0) - two * (x * x + z * z), two * (y * z - w * x)],
        [two * (x * z - w * y), two * (y * z + w * x), k(1.0) - two * (x * x + y * y)],
    ]
}

/// The Gaussian on the picture, `None` if it is behind the near plane or not finite.
fn flatten<R: Real>(spec: &SplatSpec, row: &[R]) -> Option<Flat<R>> {
    let k = R::of;
    let (mean, window) = (&row[..3], spec.drawn());
    // OpenGL to +Z forward, y down.
    let sign = [1.0, -1.0, -1.0];
    let world: [[f64; 4]; 3] = std::array::from_fn(|i| spec.camera_from_world[i].map(|v| sign[i] * f64::from(v)));
    let p: [R; 3] = std::array::from_fn(|i| sum3(|j| k(world[i][j]) * mean[j]) + k(world[i][3]));
    if p[2].value().is_nan() || p[2].value() < f64::from(spec.near) {
        return None;
    }
    let full = [f64::from(spec.width), f64::from(spec.height)];
    let start = [f64::from(window.x), f64::from(window.y)];
    let mut on_picture = [k(0.0); 2];
    let mut jacobian = [[k(0.0); 3]; 2];
    for a in 0..2 {
        let (focal, centre) = (f64::from(spec.focal[a]), f64::from(spec.centre[a]));
        on_picture[a] = k(focal) * p[a] / p[2] + k(centre - start[a]) + row[PARTS[4] + a];
        let margin = 0.3 * 0.5 * full[a] / focal;
        let (low, high) = (-centre / focal - margin, (full[a] - centre) / focal + margin);
        let slope = p[a] / p[2];
        let slope = if slope.value() < low { k(low) } else { slope };
        let slope = if slope.value() > high { k(high) } else { slope };
        jacobian[a][a] = k(focal) / p[2];
        jacobian[a][2] = k(-focal) * slope / p[2];
    }
    let axes = turn(&row[PARTS[2]..PARTS[3]]);
    let variance: [R; 3] = std::array::from_fn(|j| (row[PARTS[1] + j] + row[PARTS[1] + j]).exp());
    let sigma: [[R; 3]; 3] =
        std::array::from_fn(|i| std::array::from_fn(|j| sum3(|m| axes[i][m] * variance[m] * axes[j][m])));
    let jw: [[R; 3]; 2] = std::array::from_fn(|a| std::array::from_fn(|j| sum3(|i| jacobian[a][i] * k(world[i][j]))));
    let cov = |a: usize, b: usize| sum3(|i| sum3(|j| jw[a][i] * sigma[i][j] * jw[b][j]));
    let (xx, xy, yy) = (cov(0, 0), cov(0, 1), cov(1, 1));
    let (bx, by) = (xx + k(0.3), yy + k(0.3));
    let det = bx * by - xy * xy;
    let mut opacity = k(1.0) / (k(1.0) + (k(0.0) - row[PARTS[3]]).exp());
    if spec.antialias {
        opacity = opacity * ((xx * yy - xy * xy) / det).sqrt();
    }
    let eye: [f64; 3] = std::array::from_fn(|j| -(0..3).map(|i| world[i][j] * world[i][3]).sum::<f64>());
    let offset: [R; 3] = std::array::from_fn(|j| mean[j] - k(eye[j]));
    let distance = sum3(|j| offset[j] * offset[j]).sqrt();
    let colour = sh_colour(spec, &row[PARTS[5]..], offset.map(|v| v / distance));
    let flat = Flat { mean: on_picture, conic: [by / det, k(0.0) - xy / det, bx / det], opacity, colour, depth: p[2] };
    let all = [flat.mean.as_slice(), &flat.conic, &flat.colour, &[opacity, det]].concat();
    all.iter().all(|v| v.value().is_finite()).then_some(flat)
}

fn pixel<R: Real>(flats: &[Flat<R>], x: f64, y: f64) -> [R; 5] {
    let k = R::of;
    // In single precision, as two bounded alphas in a row leave the very light at which a pixel is finished.
    let (most, stop) = (f64::from(0.99_f32), f64::from(1e-4_f32));
    let mut light = k(1.0);
    let mut out = [k(0.0); 5];
    for flat in flats {
        let (dx, dy) = (k(x) - flat.mean[0], k(y) - flat.mean[1]);
        let square = flat.conic[0] * dx * dx + k(2.0) * flat.conic[1] * dx * dy + flat.conic[2] * dy * dy;
        let alpha = flat.opacity * (k(-0.5) * square).exp();
        let alpha = if alpha.value() < most { alpha } else { k(most) };
        if alpha.value() < 1.0 / 255.0 {
            continue;
        }
        let next = light * (k(1.0) - alpha);
        if next.value() < stop {
            break;
        }
        let weight = light * alpha;
        let [r, g, b] = flat.colour;
        for (out, value) in out.iter_mut().zip([r, g, b, k(1.0), flat.depth]) {
            *out = *out + weight * value;
        }
        light = next;
    }
    out
}

fn draw<R: Real>(spec: &SplatSpec, rows: &[Row<R>]) -> Vec<R> {
    let mut flats: Vec<Flat<R>> = rows.iter().filter_map(|row| flatten(spec, row)).collect();
    flats.sort_by(|a, b| a.depth.value().total_cmp(&b.depth.value()));
    let window = spec.drawn();
    let pixels = (0..window.height).flat_map(|y| (0..window.width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| pixel(&flats, f64::from(x) + 0.5, f64::from(y) + 0.5)).collect()
}

/// The picture, `[h · w, 5]` as [`super::forward`] draws it.
#[must_use]
pub fn image(spec: &SplatSpec, params: &SplatParams) -> Vec<f64> {
    draw(spec, &rows::<f64>(spec, params))
}

/// The gradient as [`super::backward`] gives it: one pass of dual numbers for every parameter.
#[must_use]
pub fn gradient(spec: &SplatSpec, params: &SplatParams, grad_image: &[f32]) -> SplatGrads {
    let rows = rows::<Dual>(spec, params);
    let n = rows.len();
    let derivative = |i: usize, part: usize| {
        let mut moved = rows.clone();
        moved[i][part].d = 1.0;
        draw(spec, &moved).iter().zip(grad_image).map(|(out, g)| out.d * f64::from(*g)).sum::<f64>() as f32
    };
    let part = |start: usize, width: usize| {
        let places: Vec<_> = (0..n).flat_map(|i| (start..start + width).map(move |k| (i, k))).collect();
        places.into_par_iter().map(|(i, k)| derivative(i, k)).collect::<Vec<f32>>()
    };
    SplatGrads {
        means: part(PARTS[0], 3),
        log_scales: part(PARTS[1], 3),
        rotations: part(PARTS[2], 4),
        raw_opacity: part(PARTS[3], 1),
        mean2d: part(PARTS[4], 2),
        sh_dc: part(PARTS[5], 3),
        sh_rest: part(PARTS[5] + 3, spec.rest_width()),
    }
}
