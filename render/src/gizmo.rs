//! Handles by which an object is moved, turned and scaled in the picture: arrows along the axes, rings around them, and
//! a square in the middle. They are as large on the screen wherever the object is.
//!
//! A drag is taken from its beginning to the pointer each time, never step by step, so it does not drift, and comes back
//! to where it began when the pointer does.

use glam::{Quat, Vec2, Vec3};
use retort_shaders::{Camera, Ray};

/// The length of an arrow and the radius of a ring, as a part of the picture's height.
const SIZE: f32 = 0.16;
/// How near the pointer has to be, as a part of the picture's height.
const REACH: f32 = 0.018;
/// Straight pieces of a ring.
const PIECES: usize = 48;
/// An axis that is looked along this much is not offered for moving: a pixel would be a mile.
const ALONG: f32 = 0.97;
/// A ring that is seen from the side this much is not offered for turning.
const FLAT: f32 = 0.08;

/// What handles do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Moves along an axis, or in the plane of the picture.
    Move,
    /// Turns about an axis.
    Turn,
    /// Makes larger and smaller.
    Scale,
}

/// A handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// That of the axis: 0 is x.
    Axis(usize),
    /// The square in the middle.
    Middle,
}

/// What a drag did: about the gizmo's place, first scaled and turned, then moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// 1 is as large as before.
    pub scale: f32,
    /// The turn.
    pub turn: Quat,
    /// The way, scene units.
    pub shift: Vec3,
}

impl Change {
    const NONE: Self = Self { scale: 1.0, turn: Quat::IDENTITY, shift: Vec3::ZERO };

    /// A scale, a rotation and a translation after this change about `place`.
    pub fn after(&self, place: Vec3, scale: f32, rotation: Quat, translation: Vec3) -> (f32, Quat, Vec3) {
        let arm = self.scale * (self.turn * (translation - place));
        (scale * self.scale, (self.turn * rotation).normalize(), place + arm + self.shift)
    }
}

/// Handles around a place of the scene, as a camera sees them.
#[derive(Clone, Debug)]
pub struct Gizmo<'a> {
    /// The middle, scene units.
    pub place: Vec3,
    /// What they do.
    pub deed: Deed,
    /// Whose picture they are in.
    pub camera: &'a Camera,
}

/// The direction of an axis.
pub fn axis(i: usize) -> Vec3 {
    [Vec3::X, Vec3::Y, Vec3::Z][i]
}

impl Gizmo<'_> {
    /// The length of the handles, scene units; nothing if the place is behind the camera.
    fn length(&self) -> Option<f32> {
        let (_, depth) = self.camera.project(self.place)?;
        Some(SIZE * depth * self.camera.height as f32 / self.camera.focal.y)
    }

    fn pixel(&self, x: Vec3) -> Option<Vec2> {
        self.camera.project(x).map(|(pixel, _)| pixel)
    }

    /// From the camera to the place, length 1.
    fn sight(&self) -> Vec3 {
        (self.place - self.camera.position()).normalize_or(self.camera.forward())
    }

    /// The handle's line in the picture, pixels; nothing where it cannot be used from here. The middle is a point.
    pub fn line(&self, handle: Handle) -> Option<Vec<Vec2>> {
        let length = self.length()?;
        let Handle::Axis(i) = handle else { return Some(vec![self.pixel(self.place)?]) };
        let along = self.sight().dot(axis(i)).abs();
        match self.deed {
            Deed::Scale => None,
            Deed::Move if along > ALONG => None,
            Deed::Move => Some(vec![self.pixel(self.place)?, self.pixel(self.place + length * axis(i))?]),
            Deed::Turn if along < FLAT => None,
            Deed::Turn => {
                let (a, b) = (axis((i + 1) % 3), axis((i + 2) % 3));
                let at = |k: usize| {
                    let (sin, cos) = (std::f32::consts::TAU * k as f32 / PIECES as f32).sin_cos();
                    self.pixel(self.place + length * (cos * a + sin * b))
                };
                (0..=PIECES).map(at).collect()
            }
        }
    }

    /// The handle under `pixel`.
    pub fn pick(&self, pixel: Vec2) -> Option<Handle> {
        let reach = REACH * self.camera.height as f32;
        let middle = (self.deed != Deed::Turn).then_some(Handle::Middle);
        let all = middle.into_iter().chain((0..3).map(Handle::Axis));
        let near = all.filter_map(|handle| {
            let line = self.line(handle)?;
            let distance = match &line[..] {
                // The square is larger than a line.
                [point] => 0.6 * point.distance(pixel),
                line => line.windows(2).map(|w| distance(pixel, w[0], w[1])).fold(f32::INFINITY, f32::min),
            };
            (distance < reach).then_some((distance, handle))
        });
        near.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, handle)| handle)
    }

    /// What a drag of `handle` from pixel `from` to pixel `to` does.
    pub fn drag(&self, handle: Handle, from: Vec2, to: Vec2) -> Change {
        let (a, b) = (self.camera.ray(from), self.camera.ray(to));
        match (self.deed, handle) {
            (Deed::Move, Handle::Axis(i)) => {
                let way = nearest(&b, self.place, axis(i)).zip(nearest(&a, self.place, axis(i)));
                Change { shift: way.map_or(Vec3::ZERO, |(b, a)| (b - a) * axis(i)), ..Change::NONE }
            }
            (Deed::Move, Handle::Middle) => {
                let plane = |ray: &Ray| hit(ray, self.place, self.camera.forward());
                Change { shift: plane(&b).zip(plane(&a)).map_or(Vec3::ZERO, |(b, a)| b - a), ..Change::NONE }
            }
            (Deed::Turn, Handle::Axis(i)) => {
                let arm = |ray: &Ray| hit(ray, self.place, axis(i)).map(|x| x - self.place);
                let angle = arm(&a).zip(arm(&b)).map_or(0.0, |(a, b)| a.cross(b).dot(axis(i)).atan2(a.dot(b)));
                Change { turn: Quat::from_axis_angle(axis(i), angle), ..Change::NONE }
            }
            (Deed::Scale, _) => {
                // Up or to the right is larger: the height of the picture is eight times.
                let way = (to.x - from.x - (to.y - from.y)) / self.camera.height as f32;
                Change { scale: 8.0_f32.powf(way), ..Change::NONE }
            }
            (Deed::Turn, Handle::Middle) => Change::NONE,
        }
    }
}

/// How far along a line through `place` it is nearest to a ray.
fn nearest(ray: &Ray, place: Vec3, along: Vec3) -> Option<f32> {
    let (offset, slope) = (place - ray.origin, ray.direction.dot(along));
    let apart = 1.0 - slope * slope;
    (apart > 1e-4).then(|| (slope * ray.direction.dot(offset) - along.dot(offset)) / apart)
}

/// Where a ray meets a plane.
fn hit(ray: &Ray, place: Vec3, normal: Vec3) -> Option<Vec3> {
    let slope = ray.direction.dot(normal);
    let along = (place - ray.origin).dot(normal) / slope;
    (slope.abs() > 1e-4 && along > 0.0).then(|| ray.at(along))
}

/// From a pixel to a straight line between two others.
fn distance(p: Vec2, a: Vec2, b: Vec2) -> f32 {
    let along = b - a;
    let share = (p - a).dot(along) / along.length_squared().max(1e-12);
    p.distance(a + share.clamp(0.0, 1.0) * along)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> Camera {
        Camera::look_at(Vec3::new(3.0, -2.0, 2.0), Vec3::ZERO, Vec3::Z, 0.7, 400, 300)
    }

    fn gizmo(camera: &Camera, deed: Deed) -> Gizmo<'_> {
        Gizmo { place: Vec3::new(0.2, 0.1, -0.1), deed, camera }
    }

    #[test]
    fn handles_are_found_where_they_are_seen() {
        let camera = camera();
        for deed in [Deed::Move, Deed::Turn] {
            let gizmo = gizmo(&camera, deed);
            for i in 0..3 {
                let line = gizmo.line(Handle::Axis(i)).expect("seen");
                // At a ring's first point others may cross; a point of its own is looked for.
                let own = line.iter().skip(1).filter(|p| gizmo.pick(**p) == Some(Handle::Axis(i))).count();
                assert!(own * 2 > line.len() - 1, "{deed:?} {i}: {own} of {}", line.len());
            }
            assert_eq!(gizmo.pick(Vec2::ZERO), None);
        }
        let middle = gizmo(&camera, Deed::Scale).line(Handle::Middle).expect("seen")[0];
        assert_eq!(gizmo(&camera, Deed::Scale).pick(middle), Some(Handle::Middle));
        let behind = Gizmo { place: Vec3::new(6.0, -4.0, 4.0), ..gizmo(&camera, Deed::Move) };
        assert!(behind.line(Handle::Axis(0)).is_none() && behind.pick(Vec2::splat(100.0)).is_none());
    }

    #[test]
    fn what_is_dragged_stays_under_the_pointer() {
        let camera = camera();
        let gizmo = gizmo(&camera, Deed::Move);
        for i in 0..3 {
            let tip = gizmo.place + 0.3 * axis(i);
            let (from, to) = (gizmo.pixel(tip).unwrap(), gizmo.pixel(tip + 0.5 * axis(i)).unwrap());
            let change = gizmo.drag(Handle::Axis(i), from, to);
            assert!(change.shift.distance(0.5 * axis(i)) < 1e-3, "{i}: {change:?}");
            assert_eq!(gizmo.drag(Handle::Axis(i), from, from).shift, Vec3::ZERO);
        }
        let (from, to) = (gizmo.pixel(gizmo.place).unwrap(), Vec2::new(250.0, 90.0));
        let moved = gizmo.place + gizmo.drag(Handle::Middle, from, to).shift;
        assert!(gizmo.pixel(moved).unwrap().distance(to) < 1e-2);
    }

    #[test]
    fn rings_turn_by_the_angle_that_is_drawn() {
        let camera = camera();
        let gizmo = gizmo(&camera, Deed::Turn);
        for i in 0..3 {
            let arm = 0.3 * axis((i + 1) % 3);
            let turned = Quat::from_axis_angle(axis(i), 0.6) * arm;
            let pixel = |x: Vec3| gizmo.pixel(gizmo.place + x).unwrap();
            let change = gizmo.drag(Handle::Axis(i), pixel(arm), pixel(turned));
            assert!((change.turn * arm).distance(turned) < 1e-3, "{i}: {change:?}");
        }
        let bigger =
            Gizmo { deed: Deed::Scale, ..gizmo.clone() }.drag(Handle::Middle, Vec2::ZERO, Vec2::new(150.0, -150.0));
        assert!((bigger.scale - 8.0).abs() < 1e-4, "{bigger:?}");
        // About its place: the place itself stays.
        let change = Change { scale: 2.0, turn: Quat::from_rotation_z(1.0), shift: Vec3::ZERO };
        let (scale, rotation, translation) = change.after(gizmo.place, 0.5, Quat::from_rotation_x(0.3), Vec3::Y);
        let own = Quat::from_rotation_x(0.3).inverse() * ((gizmo.place - Vec3::Y) / 0.5);
        assert!((scale * (rotation * own) + translation).distance(gizmo.place) < 1e-5);
    }
}
