//! Real spherical harmonics up to degree 3: 16 functions of a unit direction, in the order and with the signs that
//! 3D Gaussian splatting (Kerbl et al. 2023) and instant-ngp (Müller et al. 2022, there "degree 4") share.
//!
//! `Y_l^m` is at index `l(l + 1) + m`; odd `m` carries the Condon–Shortley sign. instant-ngp takes a direction in
//! `[0, 1]³` and maps it to `[-1, 1]³` itself; here a direction is a unit vector as it is. The polynomials are
//! homogeneous, as 3DGS writes them; on the sphere that makes no difference to a value, and a gradient is the same
//! after its part along the direction is removed.

use glam::Vec3;
use rayon::prelude::*;

/// The number of functions of degree at most 3.
pub const COUNT: usize = 16;

/// `√(1/4π)`.
pub const C0: f32 = 0.282_094_8;
/// `√(3/4π)`.
pub const C1: f32 = 0.488_602_52;
/// `√(15/4π)`, `√(5/16π)`, `√(15/16π)`: for `xy yz xz`, `2z² - x² - y²`, `x² - y²`.
pub const C2: [f32; 3] = [1.092_548_5, 0.315_391_57, 0.546_274_24];
/// `√(35/32π)`, `√(105/4π)`, `√(21/32π)`, `√(7/16π)`, `√(105/16π)`: for `|m| = 3`, `-2`, `±1`, `0`, `2`.
pub const C3: [f32; 5] = [0.590_043_6, 2.890_611_4, 0.457_045_8, 0.373_176_34, 1.445_305_7];

/// The number of functions of degree at most `degree`.
pub const fn count(degree: usize) -> usize {
    (degree + 1) * (degree + 1)
}

/// The functions of degree at most `degree` (0 to 3) at the unit vector `d`; the rest of the 16 are zero.
#[inline(always)]
pub fn eval_basis(degree: usize, d: Vec3) -> [f32; COUNT] {
    let mut b = [0.0; COUNT];
    b[0] = C0;
    if degree == 0 {
        return b;
    }
    let Vec3 { x, y, z } = d;
    b[1] = -C1 * y;
    b[2] = C1 * z;
    b[3] = -C1 * x;
    if degree == 1 {
        return b;
    }
    let (xx, yy, zz) = (x * x, y * y, z * z);
    b[4] = C2[0] * x * y;
    b[5] = -C2[0] * y * z;
    b[6] = C2[1] * (2.0 * zz - xx - yy);
    b[7] = -C2[0] * x * z;
    b[8] = C2[2] * (xx - yy);
    if degree == 2 {
        return b;
    }
    b[9] = -C3[0] * y * (3.0 * xx - yy);
    b[10] = C3[1] * x * y * z;
    b[11] = -C3[2] * y * (4.0 * zz - xx - yy);
    b[12] = C3[3] * z * (2.0 * zz - 3.0 * xx - 3.0 * yy);
    b[13] = -C3[2] * x * (4.0 * zz - xx - yy);
    b[14] = C3[4] * z * (xx - yy);
    b[15] = -C3[0] * x * (xx - 3.0 * yy);
    b
}

/// The gradient to `d` of `Σ grad[i] · basis[i]`, over the functions of degree at most `degree` (0 to 3).
#[inline(always)]
pub fn basis_gradient(degree: usize, d: Vec3, grad: &[f32; COUNT]) -> Vec3 {
    let Vec3 { x, y, z } = d;
    let g = grad;
    let mut out = Vec3::ZERO;
    if degree >= 1 {
        out += C1 * Vec3::new(-g[3], -g[1], g[2]);
    }
    if degree >= 2 {
        let (tan, zonal, cross) = (C2[0], C2[1] * g[6], C2[2] * g[8]);
        out.x += tan * (g[4] * y - g[7] * z) + 2.0 * x * (cross - zonal);
        out.y += tan * (g[4] * x - g[5] * z) - 2.0 * y * (cross + zonal);
        out.z += tan * (-g[5] * y - g[7] * x) + 4.0 * z * zonal;
    }
    if degree >= 3 {
        let (xx, yy, zz) = (x * x, y * y, z * z);
        let (a, e) = (C3[0], C3[2]);
        out.x += -6.0 * a * x * y * g[9] + C3[1] * y * z * g[10] + 2.0 * e * x * y * g[11]
            - 6.0 * C3[3] * x * z * g[12]
            - e * (4.0 * zz - 3.0 * xx - yy) * g[13]
            + 2.0 * C3[4] * x * z * g[14]
            - 3.0 * a * (xx - yy) * g[15];
        out.y += -3.0 * a * (xx - yy) * g[9] + C3[1] * x * z * g[10]
            - e * (4.0 * zz - xx - 3.0 * yy) * g[11]
            - 6.0 * C3[3] * y * z * g[12]
            + 2.0 * e * x * y * g[13]
            - 2.0 * C3[4] * y * z * g[14]
            + 6.0 * a * x * y * g[15];
        out.z += C3[1] * x * y * g[10] - 8.0 * e * y * z * g[11] + C3[3] * (6.0 * zz - 3.0 * xx - 3.0 * yy) * g[12]
            - 8.0 * e * x * z * g[13]
            + C3[4] * (xx - yy) * g[14];
    }
    out
}

const CHUNK: usize = 2048;

/// All 16 functions of each unit direction: `direction [n, 3]` to `out [n, 16]`.
///
/// The samples of a ray follow one another and share its direction, so a row that repeats is copied, not computed.
pub fn sh_encode(direction: &[f32], out: &mut [f32]) {
    assert_eq!(direction.len() / 3 * COUNT, out.len(), "out is [n, 16] for direction [n, 3]");
    out.par_chunks_mut(CHUNK * COUNT).zip(direction.par_chunks(CHUNK * 3)).for_each(|(out, direction)| {
        let mut last = Vec3::NAN;
        let mut basis = [0.0; COUNT];
        for (row, d) in out.chunks_exact_mut(COUNT).zip(direction.chunks_exact(3)) {
            let d = Vec3::from_slice(d);
            if d != last {
                basis = eval_basis(3, d);
                last = d;
            }
            row.copy_from_slice(&basis);
        }
    });
}

/// The gradient to `direction [n, 3]` from `grad_out [n, 16]`.
pub fn sh_encode_backward(direction: &[f32], grad_out: &[f32], grad_direction: &mut [f32]) {
    assert_eq!(direction.len(), grad_direction.len(), "grad_direction is [n, 3]");
    assert_eq!(direction.len() / 3 * COUNT, grad_out.len(), "grad_out is [n, 16]");
    let parts = direction.par_chunks(CHUNK * 3).zip(grad_out.par_chunks(CHUNK * COUNT));
    grad_direction.par_chunks_mut(CHUNK * 3).zip(parts).for_each(|(out, (direction, grad))| {
        for ((out, d), grad) in out.chunks_exact_mut(3).zip(direction.chunks_exact(3)).zip(grad.as_chunks::<COUNT>().0)
        {
            basis_gradient(3, Vec3::from_slice(d), grad).write_to_slice(out);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::f64::consts::{PI, TAU};

    /// `∫ f` over the unit sphere: equal steps in longitude, the midpoint rule in `z`, exact enough at 400 × 32.
    fn sphere_integral(mut f: impl FnMut(Vec3, f64)) {
        let (rings, around) = (400, 32);
        for i in 0..rings {
            let z = -1.0 + 2.0 * (f64::from(i) + 0.5) / f64::from(rings);
            let radius = (1.0 - z * z).sqrt();
            for j in 0..around {
                let (s, c) = (TAU * (f64::from(j) + 0.5) / f64::from(around)).sin_cos();
                f(glam::DVec3::new(radius * c, radius * s, z).as_vec3(), 4.0 * PI / f64::from(rings * around));
            }
        }
    }

    fn gram(change: impl Fn(&mut [f32; COUNT])) -> f64 {
        let mut product = [[0.0_f64; COUNT]; COUNT];
        sphere_integral(|d, weight| {
            let mut b = eval_basis(3, d);
            change(&mut b);
            for i in 0..COUNT {
                for j in 0..COUNT {
                    product[i][j] += weight * f64::from(b[i]) * f64::from(b[j]);
                }
            }
        });
        let at = |i: usize, j: usize| (product[i][j] - if i == j { 1.0 } else { 0.0 }).abs();
        (0..COUNT * COUNT).map(|k| at(k / COUNT, k % COUNT)).fold(0.0, f64::max)
    }

    #[test]
    fn the_basis_is_orthonormal() {
        let error = gram(|_| {});
        assert!(error < 1e-4, "{error:e}");
        // The negative control: one constant off by a part in a thousand.
        assert!(gram(|b| b[12] *= 1.001) > 1e-3);
    }

    #[test]
    fn order_and_signs_are_those_of_3dgs() {
        let b = eval_basis(3, Vec3::Y);
        assert!((b[1] + 0.488_602_5).abs() < 1e-6 && b[2] == 0.0 && (b[9] - 0.590_043_6).abs() < 1e-6);
        let b = eval_basis(3, Vec3::X);
        assert!((b[3] + 0.488_602_5).abs() < 1e-6 && (b[8] - 0.546_274_2).abs() < 1e-6);
        assert!((b[15] + 0.590_043_6).abs() < 1e-6 && (b[13] - 0.457_045_8).abs() < 1e-6);
        let b = eval_basis(3, Vec3::Z);
        assert!((b[6] - 0.630_783_1).abs() < 1e-6 && (b[12] - 0.746_352_7).abs() < 1e-6);
        let low = eval_basis(1, Vec3::new(0.6, 0.0, 0.8));
        assert!(low[4..].iter().all(|&v| v == 0.0) && count(1) == 4);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let mut rng = Rng::new(5, "sh");
        for degree in 0..=3 {
            for _ in 0..50 {
                let d = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or_zero();
                let grad: [f32; COUNT] = std::array::from_fn(|_| rng.normal());
                let dot = |d: Vec3| eval_basis(degree, d).iter().zip(&grad).map(|(b, g)| f64::from(b * g)).sum::<f64>();
                let h = 1e-2;
                let ours = basis_gradient(degree, d, &grad);
                for (axis, unit) in [Vec3::X, Vec3::Y, Vec3::Z].into_iter().enumerate() {
                    // The basis is a cubic, so the error of the central difference is h² times a constant: Richardson.
                    let slope = |h: f32| (dot(d + unit * h) - dot(d - unit * h)) / f64::from(2.0 * h);
                    let numeric = (4.0 * slope(h) - slope(2.0 * h)) / 3.0;
                    assert!(
                        (f64::from(ours[axis]) - numeric).abs() < 2e-3,
                        "degree {degree} axis {axis}: {ours} {numeric}"
                    );
                }
            }
        }
    }

    #[test]
    fn whole_arrays_agree_with_single_directions() {
        let mut rng = Rng::new(6, "sh");
        let n = 5000;
        let mut direction = Vec::new();
        while direction.len() < 3 * n {
            let d = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or_zero().to_array();
            for _ in 0..(1 + rng.below(4)).min(n - direction.len() / 3) {
                direction.extend(d);
            }
        }
        let grad_out: Vec<f32> = (0..n * COUNT).map(|_| rng.normal()).collect();
        let (mut out, mut grad) = (vec![0.0; n * COUNT], vec![0.0; n * 3]);
        sh_encode(&direction, &mut out);
        sh_encode_backward(&direction, &grad_out, &mut grad);
        for i in 0..n {
            let d = Vec3::from_slice(&direction[3 * i..]);
            assert_eq!(out[i * COUNT..][..COUNT], eval_basis(3, d));
            let g = grad_out[i * COUNT..].first_chunk().copied().unwrap_or([0.0; COUNT]);
            assert_eq!(grad[3 * i..][..3], basis_gradient(3, d, &g).to_array());
        }
        sh_encode(&[], &mut []);
    }
}
