//! Turning Gaussians in space, spherical harmonics with them, exactly.
//!
//! Where a Gaussian showed the colour `Σ aₖ Yₖ(d)` along `d`, the turned one shows it along `R d`, so its coefficients
//! are `a′ⱼ = Σₖ aₖ ∫ Yₖ(R⁻¹ d) Yⱼ(d) dd` ([`turned_harmonics`]). Bands do not mix.

use glam::{Quat, Vec3};
use rayon::prelude::*;

use super::{SH_MAX, Splats, rest_per_splat};
use crate::parts::sh_turn::turned_harmonics;

/// The signs of harmonics after a half turn about Z, coefficients 1 to 15: those of odd order change.
pub const HALF_TURN_Z: [f32; 15] = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0];

/// Turns everything around the origin by the unit quaternion `turn`.
pub fn turned(splats: &mut Splats, turn: Quat) {
    if turn == Quat::IDENTITY {
        return;
    }
    splats.means.par_iter_mut().for_each(|m| *m = (turn * Vec3::from(*m)).to_array());
    splats.rotations.par_iter_mut().for_each(|q| {
        let r = turn * Quat::from_xyzw(q[1], q[2], q[3], q[0]);
        *q = [r.w, r.x, r.y, r.z];
    });
    let degree = splats.sh_degree.min(SH_MAX) as usize;
    let width = rest_per_splat(splats.sh_degree);
    if degree == 0 {
        return;
    }
    let m = turned_harmonics(turn);
    splats.sh_rest.par_chunks_exact_mut(width).for_each(|row| {
        for band in 1..=degree {
            let (first, size) = (band * band, 2 * band + 1);
            let mut old = [[0.0_f32; 3]; 7];
            let from = &mut row[3 * (first - 1)..][..3 * size];
            old.iter_mut().zip(from.chunks_exact(3)).for_each(|(a, c)| a.copy_from_slice(c));
            for (j, new) in from.chunks_exact_mut(3).enumerate() {
                for (channel, new) in new.iter_mut().enumerate() {
                    *new = (0..size).map(|k| m[first + k][first + j] * old[k][channel]).sum();
                }
            }
        }
    });
}

/// Turns everything half around Z: from +X right, +Y down to +X left, +Y up, and back again. No value is rounded; twice
/// changes the signs of the quaternions, which are free.
pub fn flip_xy(splats: &mut Splats) {
    splats.means.par_iter_mut().for_each(|m| *m = [-m[0], -m[1], m[2]]);
    // k · (w, x, y, z).
    splats.rotations.par_iter_mut().for_each(|q| *q = [-q[3], -q[2], q[1], q[0]]);
    let width = rest_per_splat(splats.sh_degree);
    if width > 0 {
        splats.sh_rest.par_chunks_exact_mut(width).for_each(|row| {
            let signs = row.chunks_exact_mut(3).zip(HALF_TURN_Z);
            signs.for_each(|(rgb, sign)| rgb.iter_mut().for_each(|v| *v *= sign));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::finite::tests::apart;
    use super::super::gaussians::tests::sample;
    use super::*;
    use crate::parts::sh;

    fn colour(s: &Splats, i: usize, d: Vec3) -> [f32; 3] {
        let basis = sh::eval_basis(3, d);
        let rest = |c: usize| s.rest(i).chunks_exact(3).zip(&basis[1..]).map(|(a, y)| a[c] * y).sum::<f32>();
        std::array::from_fn(|c| s.sh_dc[i][c] * basis[0] + rest(c))
    }

    #[test]
    fn what_is_seen_turns_with_the_gaussians() {
        for degree in 0..=3 {
            let splats = sample(5, degree);
            let turn = Quat::from_rotation_y(0.8) * Quat::from_rotation_x(-2.1);
            let mut moved = splats.clone();
            turned(&mut moved, turn);
            let mut unturned = 0.0_f32;
            for i in 0..5 {
                let d = Vec3::new(0.2 * i as f32 - 0.5, 0.3, 0.6).normalize();
                let (before, after) = (colour(&splats, i, d), colour(&moved, i, turn * d));
                (0..3).for_each(|c| assert!((before[c] - after[c]).abs() < 2e-6, "{before:?} became {after:?}"));
                unturned = unturned.max((colour(&splats, i, turn * d)[0] - before[0]).abs());
                let centre = turn * Vec3::from(splats.means[i]);
                assert!(centre.abs_diff_eq(moved.means[i].into(), 1e-6));
            }
            assert!(degree == 0 || unturned > 0.01, "the negative control: colours differ without the turn");
        }
    }

    #[test]
    fn a_half_turn_is_a_turn() {
        let splats = sample(6, 3);
        let (mut a, mut b) = (splats.clone(), splats.clone());
        flip_xy(&mut a);
        turned(&mut b, Quat::from_rotation_z(std::f32::consts::PI));
        assert!(apart(&a, &b).all_within(2e-6), "{:?}", apart(&a, &b));
        assert!(!apart(&a, &splats).all_within(0.1), "the negative control");
        flip_xy(&mut a);
        assert!(apart(&a, &splats).all_within(0.0));
    }
}
