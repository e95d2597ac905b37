//! An axis-aligned box in scene units, and where a ray enters and leaves it (the slab method, Kay and Kajiya 1986).

use glam::Vec3;
use serde::{Deserialize, Serialize};

/// An axis-aligned box, `min <= max` on every axis, in scene units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aabb {
    /// The corner with the smallest coordinates.
    pub min: Vec3,
    /// The corner with the largest coordinates.
    pub max: Vec3,
}

impl Aabb {
    /// The box between two opposite corners, in whatever order they come.
    pub fn new(a: Vec3, b: Vec3) -> Self {
        Self { min: a.min(b), max: a.max(b) }
    }

    /// The cube `[-half, half]^3`.
    pub fn cube(half: f32) -> Self {
        Self::new(Vec3::splat(-half), Vec3::splat(half))
    }

    /// The smallest box around `points`; nothing for no points.
    pub fn around(points: impl IntoIterator<Item = Vec3>) -> Option<Self> {
        points.into_iter().map(|p| Self { min: p, max: p }).reduce(Self::union)
    }

    /// Whether `point` is inside, the faces included. A NaN is outside.
    pub fn contains(&self, point: Vec3) -> bool {
        point.cmpge(self.min).all() && point.cmple(self.max).all()
    }

    /// The smallest box that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The three edge lengths.
    pub fn size(&self) -> Vec3 {
        self.max - self.min
    }

    /// The middle.
    pub fn centre(&self) -> Vec3 {
        0.5 * (self.min + self.max)
    }

    /// The distances, in lengths of `direction`, at which the ray from `origin` enters and leaves the box:
    /// `0 <= t0 < t1`, `t0 = 0` when it starts inside. Nothing when it misses, or when the box lies behind it.
    pub fn intersect_ray(&self, origin: Vec3, direction: Vec3) -> Option<(f32, f32)> {
        let (mut near, mut far) = (0.0_f32, f32::INFINITY);
        for axis in 0..3 {
            let (o, d) = (origin[axis], direction[axis]);
            if d == 0.0 {
                // Parallel to the slab: 0 / 0 would give a NaN for an origin on its face.
                if !(self.min[axis]..=self.max[axis]).contains(&o) {
                    return None;
                }
                continue;
            }
            let (a, b) = ((self.min[axis] - o) / d, (self.max[axis] - o) / d);
            near = near.max(a.min(b));
            far = far.min(a.max(b));
        }
        (near < far && far.is_finite()).then_some((near, far))
    }
}

#[cfg(test)]
mod tests {
    use super::Aabb;
    use glam::{Vec3, vec3};

    #[test]
    fn a_ray_enters_and_leaves_where_the_faces_are() {
        let cube = Aabb::cube(1.0);
        assert_eq!(cube.intersect_ray(vec3(0.0, 0.0, 4.0), Vec3::NEG_Z), Some((3.0, 5.0)));
        assert_eq!(cube.intersect_ray(Vec3::ZERO, vec3(0.0, 2.0, 0.0)), Some((0.0, 0.5)));
        assert_eq!(cube.intersect_ray(vec3(0.0, 0.0, 4.0), Vec3::Z), None, "behind");
        assert_eq!(cube.intersect_ray(vec3(0.0, 1.5, 4.0), Vec3::NEG_Z), None, "beside");
        assert_eq!(cube.intersect_ray(vec3(1.0, 0.0, 4.0), Vec3::NEG_Z), Some((3.0, 5.0)), "along a face");
        assert_eq!(cube.intersect_ray(Vec3::ZERO, Vec3::ZERO), None, "no direction");
    }

    #[test]
    fn points_of_the_interval_are_inside_and_others_are_not() {
        let b = Aabb::new(vec3(0.3, -2.0, 1.0), vec3(-1.0, 0.5, 0.2));
        let (o, d) = (vec3(3.0, 2.0, -1.5), vec3(-1.1, -0.9, 0.7));
        let (t0, t1) = b.intersect_ray(o, d).expect("aimed at the box");
        let grown = Aabb { min: b.min - Vec3::splat(1e-5), max: b.max + Vec3::splat(1e-5) };
        for i in 0..=10 {
            let t = t0 + (t1 - t0) * i as f32 / 10.0;
            assert!(grown.contains(o + t * d));
        }
        assert!(!b.contains(o + (t0 - 0.01) * d) && !b.contains(o + (t1 + 0.01) * d));
    }

    #[test]
    fn union_size_and_centre() {
        let u = Aabb::cube(1.0).union(Aabb::new(vec3(3.0, 0.0, 0.0), vec3(2.0, 0.5, 0.0)));
        assert_eq!((u.size(), u.centre()), (vec3(4.0, 2.0, 2.0), vec3(1.0, 0.0, 0.0)));
        assert_eq!(
            Aabb::around([vec3(1.0, 2.0, 3.0), vec3(0.0, 5.0, 3.0)]).map(|b| b.size()),
            Some(vec3(1.0, 3.0, 0.0))
        );
        assert!(Aabb::around([]).is_none());
        assert!(!u.contains(Vec3::NAN));
    }
}
