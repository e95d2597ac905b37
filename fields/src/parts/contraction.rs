//! The warp that brings an unbounded scene into a ball of radius 2 (Barron et al., "Mip-NeRF 360", 2022, eq. 10).
//!
//! `c(x) = x` inside the unit ball and `c(x) = (2 - 1/|x|) x/|x|` outside it, with the Euclidean norm. `c` is
//! continuously differentiable, its Jacobian `J = (2r - 1)/r² I + 2(1 - r)/r⁴ x xᵀ` is symmetric, and no singular value
//! of it exceeds `(2r - 1)/r² ≤ 1`: a step in the world never grows.

use glam::Vec3;
use rayon::prelude::*;
use retort_shaders::Aabb;

/// The largest distance from the origin that [`Contraction::inverse`] returns, in scene units.
pub const FARTHEST: f32 = 1e6;

/// How positions of the scene become positions that a field is asked at ("warped").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Contraction {
    /// Bounded scenes: nothing changes.
    #[default]
    Identity,
    /// Unbounded scenes: everything into the ball of radius 2.
    Ball,
}

impl Contraction {
    /// That of a scene which is `unbounded`, or not.
    #[inline(always)]
    pub fn of(unbounded: bool) -> Self {
        if unbounded { Self::Ball } else { Self::Identity }
    }

    /// The box of warped space that holds every warped point: `[-1, 1]³` or `[-2, 2]³`.
    pub fn bounds(self) -> Aabb {
        Aabb::cube(if self == Self::Ball { 2.0 } else { 1.0 })
    }

    /// The warped position of `x`.
    #[inline(always)]
    pub fn apply(self, x: Vec3) -> Vec3 {
        let square = x.length_squared();
        if self == Self::Identity || square <= 1.0 {
            return x;
        }
        let inverse = 1.0 / square.sqrt();
        x * ((2.0 - inverse) * inverse)
    }

    /// The position whose warped position is `y`; beyond radius 2 the answer stays at [`FARTHEST`].
    pub fn inverse(self, y: Vec3) -> Vec3 {
        let radius = y.length();
        if self == Self::Identity || radius <= 1.0 {
            return y;
        }
        y * ((2.0 - radius).max(1.0 / FARTHEST).recip() / radius)
    }

    /// `J v` at `x`. As `J` is symmetric this is also `Jᵀ v`, which carries a gradient back to the world.
    pub fn jacobian_vector(self, x: Vec3, v: Vec3) -> Vec3 {
        let square = x.length_squared();
        if self == Self::Identity || square <= 1.0 {
            return v;
        }
        let radius = square.sqrt();
        // The unit vector keeps r⁴ out of it, which would overflow from 4e9 on.
        let outward = x / radius;
        v * ((2.0 * radius - 1.0) / square) + outward * (2.0 * (1.0 - radius) / square * outward.dot(v))
    }

    /// [`Contraction::apply`] to every row of `position [n, 3]`, in place.
    pub fn apply_all(self, position: &mut [f32]) {
        if self == Self::Ball {
            position.par_chunks_mut(3 * 4096).for_each(|chunk| {
                for row in chunk.chunks_exact_mut(3) {
                    self.apply(Vec3::from_slice(row)).write_to_slice(row);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(rng: &mut Rng, reach: f32) -> Vec3 {
        Vec3::new(rng.normal(), rng.normal(), rng.normal()) * reach
    }

    #[test]
    fn the_inverse_undoes_it_and_the_result_is_in_the_ball() {
        let mut rng = Rng::new(3, "contraction");
        for i in 0..2000 {
            let x = random(&mut rng, if i % 2 == 0 { 0.5 } else { 20.0 });
            let y = Contraction::Ball.apply(x);
            assert!(y.length() < 2.0);
            let error = (Contraction::Ball.inverse(y) - x).length() / x.length().max(1.0).powi(2);
            assert!(error < 2e-6, "{x}: {error:e}");
            assert_eq!(Contraction::Identity.apply(x), x);
        }
        assert!(Contraction::Ball.inverse(Vec3::X * 2.5).length() <= FARTHEST * 1.001);
        let mut rows = [3.0, 0.0, 0.0, 0.5, 0.0, 0.0];
        Contraction::Ball.apply_all(&mut rows);
        assert!((rows[0] - 5.0 / 3.0).abs() < 1e-6 && rows[3] == 0.5);
    }

    #[test]
    fn the_jacobian_is_that_of_finite_differences_and_never_stretches() {
        let mut rng = Rng::new(4, "contraction");
        for i in 0..500 {
            let (x, v) = (random(&mut rng, if i % 2 == 0 { 0.7 } else { 3.0 }), random(&mut rng, 1.0));
            if (x.length() - 1.0).abs() < 0.05 {
                continue;
            }
            let (h, x64, v64) = (1e-4, x.as_dvec3(), v.as_dvec3());
            let apply = |x: glam::DVec3| {
                let r = x.length();
                if r <= 1.0 { x } else { x * ((2.0 - 1.0 / r) / r) }
            };
            let numeric = ((apply(x64 + v64 * h) - apply(x64 - v64 * h)) / (2.0 * h)).as_vec3();
            let ours = Contraction::Ball.jacobian_vector(x, v);
            assert!((ours - numeric).length() < 1e-5 * (1.0 + v.length()), "{x} {v}: {ours} against {numeric}");
            // The negative control: the Jacobian without its radial part is noticed.
            let r = x.length();
            if r > 1.2 && (x.dot(v) / r).abs() > 0.3 {
                let wrong = v * ((2.0 * r - 1.0) / (r * r));
                assert!((wrong - numeric).length() > 1e-4);
            }
            assert!(ours.length() <= v.length() * (1.0 + 1e-6));
        }
    }
}
