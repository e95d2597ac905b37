//! The camera that a person moves: around a target, sideways, nearer, or through the scene. The world's +Z is up.
//!
//! The state is a target, a distance and two angles; the eye is at
//! `target + distance (cos e cos a, cos e sin a, sin e)`, and there is no roll. Drags are in points of a view whose
//! height is given, so that a movement feels the same in every window. The map of buttons and keys is `SuperSplat`'s.

use glam::{Vec2, Vec3, vec3};
use retort_shaders::{Aabb, Camera};

/// Radians that a drag over the height of the view turns.
const TURN: f32 = 3.5;
/// The highest and lowest elevation: at a pole, left and right would change places.
pub(crate) const STEEPEST: f32 = 1.55;
/// The part of the distance that is left after a scroll of one notch (50 points).
const NOTCH: f32 = 0.9;
/// The nearest and farthest distance to the target, scene units.
pub(crate) const DISTANCES: [f32; 2] = [1e-3, 1e4];
/// Distances to the target that a second of flying covers.
const PACE: f32 = 0.8;

/// What a drag with the main button does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The eye goes around the target.
    #[default]
    Orbit,
    /// The eye stays and looks around.
    Fly,
}

/// A camera without roll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orbit {
    /// What the eye looks at, scene units.
    pub target: Vec3,
    /// From the target to the eye, scene units, above 0.
    pub distance: f32,
    /// The eye's direction from the target around +Z, radians from +X.
    pub azimuth: f32,
    /// The eye's height over the horizon of the target, radians, within ±1.55.
    pub elevation: f32,
    /// Vertical field of view, radians.
    pub fov_y: f32,
    /// What a drag does.
    pub mode: Mode,
}

impl Default for Orbit {
    fn default() -> Self {
        Self { target: Vec3::ZERO, distance: 3.0, azimuth: 0.0, elevation: 0.5, fov_y: 0.66, mode: Mode::Orbit }
    }
}

impl Orbit {
    /// The controller that sees what `camera` sees, turning around `target`; the camera's roll and any offset of the
    /// target from its axis are lost.
    pub fn looking(camera: &Camera, target: Vec3) -> Self {
        let back = -camera.forward();
        let distance = camera.position().distance(target).clamp(DISTANCES[0], DISTANCES[1]);
        Self {
            target: camera.position() - distance * back,
            distance,
            azimuth: back.y.atan2(back.x),
            elevation: back.z.clamp(-1.0, 1.0).asin().clamp(-STEEPEST, STEEPEST),
            fov_y: camera.fov_y(),
            mode: Mode::Orbit,
        }
    }

    /// From the target to the eye, length 1.
    fn back(&self) -> Vec3 {
        let (e, a) = (self.elevation, self.azimuth);
        vec3(e.cos() * a.cos(), e.cos() * a.sin(), e.sin())
    }

    /// Where the eye is, scene units.
    pub fn eye(&self) -> Vec3 {
        self.target + self.distance * self.back()
    }

    /// To the right in the picture and upward in it, length 1 each.
    fn sides(&self) -> (Vec3, Vec3) {
        let right = vec3(-self.azimuth.sin(), self.azimuth.cos(), 0.0);
        (right, self.back().cross(right))
    }

    /// The camera for a picture of `width` × `height` pixels.
    pub fn camera(&self, width: u32, height: u32) -> Camera {
        Camera::look_at(self.eye(), self.target, Vec3::Z, self.fov_y, width, height)
    }

    /// A drag of `by` points with the main button in a view `height` points high: around the target, or looking around.
    pub fn drag(&mut self, by: Vec2, height: f32) {
        match self.mode {
            Mode::Orbit => self.orbit(by, height),
            Mode::Fly => self.look(by, height),
        }
    }

    /// Turns around the target: the scene follows the pointer.
    pub fn orbit(&mut self, by: Vec2, height: f32) {
        let turn = TURN * by / height.max(1.0);
        self.azimuth = (self.azimuth - turn.x).rem_euclid(std::f32::consts::TAU);
        self.elevation = (self.elevation + turn.y).clamp(-STEEPEST, STEEPEST);
    }

    /// Looks around: the eye stays, the target moves.
    pub fn look(&mut self, by: Vec2, height: f32) {
        let eye = self.eye();
        // A drag over the picture turns by what the picture shows.
        self.orbit(-by * (self.fov_y / TURN), height);
        self.target = eye - self.distance * self.back();
    }

    /// Moves eye and target sideways, so that what is at the target's distance stays under the pointer.
    pub fn pan(&mut self, by: Vec2, height: f32) {
        let per_point = 2.0 * self.distance * (0.5 * self.fov_y).tan() / height.max(1.0);
        let (right, up) = self.sides();
        self.target += per_point * (by.y * up - by.x * right);
    }

    /// Goes nearer (above 0) or farther by `points` of scrolling.
    pub fn zoom(&mut self, points: f32) {
        let factor = NOTCH.powf(points / 50.0);
        self.distance = (self.distance * factor).clamp(DISTANCES[0], DISTANCES[1]);
    }

    /// Moves for `seconds` by `way`: right, up and forward in the picture, each −1 to 1, at `speed` times the usual pace.
    pub fn fly(&mut self, way: Vec3, speed: f32, seconds: f32) {
        let (right, up) = self.sides();
        let step = way.x * right + way.y * up - way.z * self.back();
        self.target += PACE * self.distance * speed * seconds * step;
    }

    /// Looks at `point` from where the eye's direction is now, twice as near at the most.
    pub fn focus(&mut self, point: Vec3) {
        if point.is_finite() {
            let near = self.eye().distance(point);
            self.distance = near.clamp(0.5 * self.distance, self.distance).clamp(DISTANCES[0], DISTANCES[1]);
            self.target = point;
        }
    }

    /// Looks at the target from the direction `back` of it, which need not be of length 1. From above and below, +X is to
    /// the right.
    pub fn look_from(&mut self, back: Vec3) {
        let Some(back) = back.try_normalize() else { return };
        self.elevation = back.z.clamp(-1.0, 1.0).asin().clamp(-STEEPEST, STEEPEST);
        let upright = back.truncate().length() < 1e-3;
        self.azimuth = if upright { -std::f32::consts::FRAC_PI_2 } else { back.y.atan2(back.x) };
    }

    /// Stands back until the sphere around `bounds` fills the view; the direction stays.
    pub fn frame(&mut self, bounds: &Aabb) {
        let radius = 0.5 * bounds.size().length();
        if radius.is_finite() && radius > 0.0 {
            self.target = bounds.centre();
            self.distance = (radius / (0.5 * self.fov_y).sin()).clamp(DISTANCES[0], DISTANCES[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use glam::vec2;

    use super::*;

    const HEIGHT: f32 = 400.0;

    fn some() -> Orbit {
        Orbit { target: vec3(0.2, -0.1, 0.3), distance: 4.0, azimuth: 0.8, elevation: 0.4, ..Orbit::default() }
    }

    /// The pixel of `point` in a picture of 600 × 400.
    fn pixel(orbit: &Orbit, point: Vec3) -> Vec2 {
        orbit.camera(600, 400).project(point).expect("in front").0
    }

    #[test]
    fn it_looks_at_its_target_and_is_made_from_a_camera() {
        let orbit = some();
        assert!(pixel(&orbit, orbit.target).distance(vec2(300.0, 200.0)) < 1e-2);
        let again = Orbit::looking(&orbit.camera(600, 400), orbit.target);
        assert!(again.eye().distance(orbit.eye()) < 1e-4 && again.target.distance(orbit.target) < 1e-4, "{again:?}");
        assert!((again.azimuth - orbit.azimuth).abs() < 1e-4 && (again.fov_y - orbit.fov_y).abs() < 1e-4);
    }

    #[test]
    fn orbiting_keeps_the_target_and_the_scene_follows_the_pointer() {
        let mut orbit = some();
        // A point in front of the target moves with the drag.
        let (right, up) = orbit.sides();
        let point = orbit.target + 0.5 * orbit.back() + 0.05 * right - 0.05 * up;
        let before = pixel(&orbit, point);
        orbit.orbit(vec2(10.0, 6.0), HEIGHT);
        let after = pixel(&orbit, point);
        assert!(after.x > before.x && after.y > before.y, "{before} became {after}");
        assert!((orbit.eye().distance(orbit.target) - 4.0).abs() < 1e-4);
        for _ in 0..100 {
            orbit.orbit(vec2(0.0, 50.0), HEIGHT);
        }
        assert!(orbit.elevation <= STEEPEST && orbit.camera(6, 4).world_from_camera.is_finite());
        assert!(orbit.camera(6, 4).up().z > 0.0, "upright at the pole");
    }

    #[test]
    fn panning_keeps_the_target_plane_under_the_pointer() {
        let mut orbit = some();
        let point = orbit.target;
        orbit.pan(vec2(37.0, -21.0), HEIGHT);
        let moved = pixel(&orbit, point) - vec2(300.0, 200.0);
        assert!(moved.distance(vec2(37.0, -21.0)) < 0.05, "{moved}");
        assert_eq!((orbit.azimuth, orbit.elevation, orbit.distance), (0.8, 0.4, 4.0));
    }

    #[test]
    fn looking_around_keeps_the_eye() {
        let mut orbit = Orbit { mode: Mode::Fly, ..some() };
        let (eye, target) = (orbit.eye(), orbit.target);
        orbit.drag(vec2(30.0, 10.0), HEIGHT);
        assert!(orbit.eye().distance(eye) < 1e-4 && orbit.target.distance(target) > 0.05);
        // What was in the middle follows the pointer here as well.
        let moved = pixel(&orbit, target) - vec2(300.0, 200.0);
        assert!(moved.x > 20.0 && moved.y > 5.0, "{moved}");
    }

    #[test]
    fn zooming_there_and_back_ends_where_it_began() {
        let mut orbit = some();
        orbit.zoom(150.0);
        assert!((orbit.distance - 4.0 * NOTCH.powi(3)).abs() < 1e-4);
        orbit.zoom(-150.0);
        assert!((orbit.distance - 4.0).abs() < 1e-4);
        orbit.zoom(1e9);
        assert_eq!(orbit.distance, DISTANCES[0]);
        orbit.zoom(-1e9);
        assert_eq!(orbit.distance, DISTANCES[1]);
    }

    #[test]
    fn flying_forward_goes_where_one_looks() {
        let mut orbit = some();
        let (eye, forward) = (orbit.eye(), -orbit.back());
        orbit.fly(Vec3::Z, 1.0, 0.5);
        assert!((orbit.eye() - eye).distance(0.5 * PACE * 4.0 * forward) < 1e-4);
        let eye = orbit.eye();
        orbit.fly(Vec3::X, 3.0, 0.1);
        let step = orbit.eye() - eye;
        assert!(step.dot(forward).abs() < 1e-4 && step.z.abs() < 1e-5 && step.length() > 0.9, "{step}");
    }

    #[test]
    fn it_looks_along_axes() {
        let mut orbit = some();
        for back in [Vec3::X, -Vec3::X, Vec3::Y, -Vec3::Y, Vec3::Z, -Vec3::Z] {
            let target = orbit.target;
            orbit.look_from(2.0 * back);
            assert!((orbit.eye() - target).normalize_or_zero().distance(back) < 0.03, "{back}");
            assert_eq!((orbit.target, orbit.distance), (target, 4.0));
            if back.z != 0.0 {
                assert!(orbit.sides().0.distance(Vec3::X) < 1e-3, "{back}");
            }
        }
        let kept = orbit;
        orbit.look_from(Vec3::ZERO);
        assert_eq!(orbit, kept);
    }

    #[test]
    fn focus_and_frame() {
        let mut orbit = some();
        let point = orbit.target + vec3(0.3, 0.2, 0.1);
        orbit.focus(point);
        assert!(pixel(&orbit, point).distance(vec2(300.0, 200.0)) < 1e-2 && orbit.distance <= 4.0);
        let kept = orbit;
        orbit.focus(Vec3::NAN);
        orbit.frame(&Aabb::new(Vec3::ZERO, Vec3::ZERO));
        assert_eq!(orbit, kept, "nothing to look at");
        let bounds = Aabb::new(vec3(1.0, 2.0, 3.0), vec3(2.0, 4.0, 4.0));
        orbit.frame(&bounds);
        for corner in 0..8 {
            let side = vec3((corner & 1) as f32, (corner >> 1 & 1) as f32, (corner >> 2) as f32);
            let at = pixel(&orbit, bounds.min + side * bounds.size());
            assert!((0.0..=400.0).contains(&at.y), "{at} is outside");
        }
    }
}
