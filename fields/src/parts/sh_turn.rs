//! Harmonics after a rotation: how Gaussians keep their look when they are turned, in a scene or from one file's axes to
//! another's.

use glam::Quat;

use super::sh::{COUNT, eval_basis};

/// Gauss's nodes and weights on `[-1, 1]` for polynomials of degree 7.
const NODES: [(f64, f64); 4] = [
    (-0.861_136_311_594_052_6, 0.347_854_845_137_453_8),
    (-0.339_981_043_584_856_3, 0.652_145_154_862_546_1),
    (0.339_981_043_584_856_3, 0.652_145_154_862_546_1),
    (0.861_136_311_594_052_6, 0.347_854_845_137_453_8),
];
/// Steps in longitude, exact for degree 7.
const AROUND: usize = 8;

/// The matrix that turns harmonics: a colour of coefficients `a` along `R⁻¹ d` is that of `a′` along `d`, with
/// `a′ⱼ = Σₖ m[k][j] aₖ` and `m[k][j] = ∫ Yₖ(R⁻¹ d) Yⱼ(d)`, a polynomial of degree 6 that the nodes integrate exactly.
pub fn turned_harmonics(turn: Quat) -> [[f32; COUNT]; COUNT] {
    let back = turn.inverse();
    let mut m = [[0.0_f64; COUNT]; COUNT];
    for (z, weight) in NODES {
        let across = (1.0 - z * z).sqrt();
        for step in 0..AROUND {
            let (sin, cos) = (std::f64::consts::TAU * step as f64 / AROUND as f64).sin_cos();
            let d = glam::DVec3::new(across * cos, across * sin, z).as_vec3();
            let (own, ours) = (eval_basis(3, back * d), eval_basis(3, d));
            let part = weight * std::f64::consts::TAU / AROUND as f64;
            for k in 0..COUNT {
                for j in 0..COUNT {
                    m[k][j] += part * f64::from(own[k]) * f64::from(ours[j]);
                }
            }
        }
    }
    m.map(|row| row.map(|v| v as f32))
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn turned_harmonics_show_the_same_along_turned_directions() {
        let mut rng = Rng::new(4, "harmonics");
        let turn = Quat::from_rotation_x(0.7) * Quat::from_rotation_z(-1.9);
        let m = turned_harmonics(turn);
        let a: [f32; COUNT] = std::array::from_fn(|_| rng.normal());
        let b: [f32; COUNT] = std::array::from_fn(|j| (0..COUNT).map(|k| m[k][j] * a[k]).sum());
        let value = |a: &[f32; COUNT], d: Vec3| -> f32 { eval_basis(3, d).iter().zip(a).map(|(b, a)| a * b).sum() };
        let mut control = 0.0_f32;
        for _ in 0..200 {
            let d = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(Vec3::Z);
            let (own, moved) = (value(&a, d), value(&b, turn * d));
            assert!((own - moved).abs() < 1e-4, "{own} became {moved}");
            control = control.max((value(&a, turn * d) - own).abs());
        }
        assert!(control > 0.5, "unturned harmonics show something else: {control}");
        // Bands do not mix.
        assert!((0..4).all(|k| (4..COUNT).all(|j| m[k][j].abs() < 1e-5 && m[j][k].abs() < 1e-5)));
    }
}
