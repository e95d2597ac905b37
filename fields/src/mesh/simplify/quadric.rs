//! Sums of squared distances to planes and points, as one quadratic form (Garland and Heckbert 1997):
//! `q(x) = x·A x + 2 b·x + c`, with `A = w n nᵀ`, `b = w d n`, `c = w d²` for the plane `n·x + d = 0` of weight `w`,
//! and `A = w I`, `b = -w p`, `c = w |p|²` for the point `p`.

use std::ops::{Add, AddAssign};

use glam::{DMat3, DVec3};

/// A quadratic form over space, `a` symmetric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quadric {
    /// xx, yy, zz, xy, xz, yz of `A`.
    a: [f64; 6],
    b: DVec3,
    c: f64,
}

impl Quadric {
    /// `weight` times the squared distance to the plane through `point` with the unit normal `normal`.
    pub(super) fn plane(normal: DVec3, point: DVec3, weight: f64) -> Self {
        let (n, d) = (normal, -normal.dot(point));
        let a = [n.x * n.x, n.y * n.y, n.z * n.z, n.x * n.y, n.x * n.z, n.y * n.z];
        Self { a: a.map(|v| weight * v), b: weight * d * n, c: weight * d * d }
    }

    /// `weight` times the squared distance to `point`.
    pub(super) fn point(point: DVec3, weight: f64) -> Self {
        Self { a: [weight, weight, weight, 0.0, 0.0, 0.0], b: -weight * point, c: weight * point.length_squared() }
    }

    fn times(&self, x: DVec3) -> DVec3 {
        let [xx, yy, zz, xy, xz, yz] = self.a;
        DVec3::new(xx * x.x + xy * x.y + xz * x.z, xy * x.x + yy * x.y + yz * x.z, xz * x.x + yz * x.y + zz * x.z)
    }

    /// The value at `x`, at least 0: rounding may give less.
    pub(super) fn at(&self, x: DVec3) -> f64 {
        (x.dot(self.times(x)) + 2.0 * self.b.dot(x) + self.c).max(0.0)
    }

    /// Where it is least; nothing where that is a line or a plane.
    pub(super) fn lowest(&self) -> Option<DVec3> {
        let [xx, yy, zz, xy, xz, yz] = self.a;
        let matrix = DMat3::from_cols_array(&[xx, xy, xz, xy, yy, yz, xz, yz, zz]);
        let size = (xx + yy + zz) / 3.0;
        let determinant = matrix.determinant();
        (determinant > 1e-13 * size * size * size).then(|| -(matrix.inverse() * self.b)).filter(|x| x.is_finite())
    }
}

impl Add for Quadric {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let a = std::array::from_fn(|i| self.a[i] + other.a[i]);
        Self { a, b: self.b + other.b, c: self.c + other.c }
    }
}

impl AddAssign for Quadric {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_add_up() {
        let n = DVec3::new(1.0, 2.0, -2.0) / 3.0;
        let (on, x) = (DVec3::new(0.5, 0.1, 0.2), DVec3::new(3.0, -1.0, 2.0));
        let plane = Quadric::plane(n, on, 2.0);
        let expected = 2.0 * n.dot(x - on).powi(2);
        assert!((plane.at(x) - expected).abs() < 1e-12);
        let both = plane + Quadric::point(on, 0.5);
        assert!((both.at(x) - expected - 0.5 * x.distance_squared(on)).abs() < 1e-12);
        assert!(both.at(on) < 1e-12 && both.at(x) > 1.0);
    }

    #[test]
    fn three_planes_meet_where_it_is_lowest() {
        let corner = DVec3::new(1.0, -2.0, 3.0);
        let planes = DVec3::AXES.map(|n| Quadric::plane(n, corner, 0.3));
        let all = planes[0] + planes[1] + planes[2];
        assert!(all.lowest().unwrap().distance(corner) < 1e-9);
        // Two planes meet in a line.
        assert_eq!((planes[0] + planes[1]).lowest(), None);
    }
}
