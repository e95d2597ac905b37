//! What a point looks like from several sides, as spherical harmonics: linear least squares with a ridge.

use glam::Vec3;

use super::{cholesky, sh};

/// The `look`-th of `of` directions to a place in the world: from one of the cameras, or from anywhere where there is
/// none. `point` tells places apart, so that neighbours are seen by other cameras.
pub fn direction(cameras: &[Vec3], place: Vec3, point: usize, look: usize, of: usize) -> Vec3 {
    if cameras.is_empty() {
        // Evenly on the sphere: Fibonacci's spiral.
        let z = 1.0 - (2.0 * look as f32 + 1.0) / of as f32;
        let (sin, cos) = (look as f32 * 2.399_963_2).sin_cos();
        let across = (1.0 - z * z).sqrt();
        return Vec3::new(across * cos, across * sin, z);
    }
    // Evenly over the cameras, and others for the next point.
    let from = cameras[(look * cameras.len() / of + point) % cameras.len()];
    (place - from).try_normalize().unwrap_or(Vec3::Z)
}

/// The coefficients of the first `F` functions (1, 4, 9 or 16) for each of three colours that come nearest to `values`
/// `[n, 3]` along unit directions `d` `[n, 3]`. `ridge` holds them small where no direction tells them: the first one's,
/// and that of the others.
pub fn fitted<const F: usize>(d: &[f32], values: &[f32], ridge: [f64; 2]) -> [[f32; F]; 3] {
    let degree = F.isqrt() - 1;
    let mut a = [[0.0_f64; F]; F];
    let mut b = [[0.0_f64; 3]; F];
    (0..F).for_each(|k| a[k][k] = ridge[usize::from(k > 0)]);
    for (d, value) in d.chunks_exact(3).zip(values.chunks_exact(3)) {
        let basis = sh::eval_basis(degree, Vec3::from_slice(d));
        for i in 0..F {
            for j in i..F {
                a[i][j] += f64::from(basis[i] * basis[j]);
            }
            for c in 0..3 {
                b[i][c] += f64::from(basis[i] * value[c]);
            }
        }
    }
    cholesky::solve(a.as_flattened_mut(), b.as_flattened_mut(), F, 3);
    std::array::from_fn(|c| std::array::from_fn(|k| b[k][c] as f32))
}

/// What a sigmoid makes `rgb` of. Colours near 0 and 1 are held away from them.
pub fn logit(rgb: f32) -> f32 {
    const REACHED: [f32; 2] = [0.02, 0.98];
    let held = rgb.clamp(REACHED[0], REACHED[1]);
    (held / (1.0 - held)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Colours that harmonics can say are found again, and those of other directions are not.
    #[test]
    fn least_squares_find_what_is_there() {
        const LOOKS: usize = 14;
        let mut rng = Rng::new(3, "fit");
        let truth: Vec<f32> = (0..27).map(|_| rng.range(-0.2, 0.2)).collect();
        let d: Vec<f32> = (0..LOOKS).flat_map(|l| direction(&[], Vec3::ZERO, 0, l, LOOKS).to_array()).collect();
        assert!(d.chunks(3).all(|d| (Vec3::from_slice(d).length() - 1.0).abs() < 1e-5));
        let colour = |d: &[f32]| -> [f32; 3] {
            let basis = sh::eval_basis(2, Vec3::from_slice(d));
            std::array::from_fn(|c| (0..9).map(|k| truth[c * 9 + k] * basis[k]).sum())
        };
        let values: Vec<f32> = d.chunks(3).flat_map(colour).collect();
        let worst = |d: &[f32]| {
            let found = fitted::<9>(d, &values, [1e-3, 1e-3]);
            found.iter().flatten().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(worst(&d) < 0.03, "{}", worst(&d));
        let turned: Vec<f32> = d.iter().map(|v| -v).collect();
        assert!(worst(&turned) > 0.1, "the comparison is too loose");
        assert!((1.0 / (1.0 + (-logit(0.3)).exp()) - 0.3).abs() < 1e-6 && logit(0.0).is_finite());
    }
}
