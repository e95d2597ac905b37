//! The way of a camera through time: keyframes, and the views between them.
//!
//! What is interpolated is what a person steers ([`crate::orbit`]): the target, the logarithm of the distance, and the
//! angles, each the short way round. So a path between two views of an object goes around it instead of through it, and
//! the horizon stays level, which neither straight lines nor quaternions give. Each value follows a cubic Hermite spline
//! with the slopes of Catmull and Rom (1974) for unevenly spaced keys: at a key, the slope of the parabola through it
//! and its neighbours. The path passes through its keys and its speed has no jumps.

use std::f32::consts::{PI, TAU};

use glam::{Affine3A, Mat3, Mat3A, Vec2, Vec3, Vec3A, vec2, vec3};
use retort_shaders::{Camera, Distortion};
use thiserror::Error;

use crate::orbit::{DISTANCES, Mode, Orbit, STEEPEST};

/// The most keyframes of a path.
pub const MAX_KEYS: usize = 1000;
/// The most pictures of a path.
pub const MAX_FRAMES: usize = 100_000;
/// The longest path, seconds.
pub const MAX_SECONDS: f32 = 3600.0;
/// Frames a second that a path may have.
pub const RATES: [f32; 2] = [1.0, 240.0];
/// The smallest and largest vertical field of view, radians.
pub const FOVS: [f32; 2] = [0.02, 3.0];
/// The shortest time between two keys, seconds.
pub const APART: f32 = 1e-3;
/// Where the viewing direction is this close to the vertical, what is to the right says where one looks.
const POLE: f32 = 0.9999;

/// Why there can be no such path.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PathError {
    /// Two keys are at one time.
    #[error("two keys are at {0:.3} s; the camera cannot be at two places at once")]
    SameTime(f32),
    /// A value is out of its range or not a number; what it is, and what it may be.
    #[error("{0}")]
    OutOfRange(String),
}

/// Where the camera is at one time, and what it sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keyframe {
    /// Seconds from the start, 0 or more.
    pub time: f32,
    /// What the eye looks at, scene units.
    pub target: Vec3,
    /// From the target to the eye, scene units, above 0.
    pub distance: f32,
    /// The eye's direction from the target around +Z, radians from +X.
    pub azimuth: f32,
    /// The eye's height over the horizon of the target, radians, within ±π/2.
    pub elevation: f32,
    /// How far the picture is turned clockwise, radians; 0 where the horizon is level.
    pub roll: f32,
    /// Vertical field of view, radians.
    pub fov_y: f32,
}

impl Keyframe {
    /// What a person sees at `time` seconds.
    pub fn of_orbit(orbit: &Orbit, time: f32) -> Self {
        let Orbit { target, distance, azimuth, elevation, fov_y, .. } = *orbit;
        Self { time, target, distance, azimuth, elevation, roll: 0.0, fov_y }
    }

    /// What `camera` sees at `time` seconds, as if it looked at something at `distance` scene units. A lens and a
    /// principal point beside the middle are lost.
    pub fn of_camera(camera: &Camera, distance: f32, time: f32) -> Self {
        let distance = distance.clamp(DISTANCES[0], DISTANCES[1]);
        let pose = camera.world_from_camera.matrix3;
        let (right, up, back) = (Vec3::from(pose.x_axis), Vec3::from(pose.y_axis), Vec3::from(pose.z_axis));
        let azimuth = if back.z.abs() < POLE { back.y.atan2(back.x) } else { (-right.x).atan2(right.y) };
        let level = vec3(-azimuth.sin(), azimuth.cos(), 0.0);
        Self {
            time,
            target: camera.position() - distance * back,
            distance,
            azimuth,
            elevation: back.z.clamp(-1.0, 1.0).asin(),
            roll: (-up.dot(level)).atan2(right.dot(level)),
            fov_y: camera.fov_y(),
        }
    }

    /// To the right in the picture, upward in it, and from the target to the eye, length 1 each.
    fn axes(&self) -> [Vec3; 3] {
        let ((sin_a, cos_a), (sin_e, cos_e)) = (self.azimuth.sin_cos(), self.elevation.sin_cos());
        let back = vec3(cos_e * cos_a, cos_e * sin_a, sin_e);
        let right = vec3(-sin_a, cos_a, 0.0);
        let up = back.cross(right);
        let (sin, cos) = self.roll.sin_cos();
        [cos * right + sin * up, cos * up - sin * right, back]
    }

    /// Where the eye is, scene units.
    pub fn eye(&self) -> Vec3 {
        self.target + self.distance * self.axes()[2]
    }

    /// The camera for a picture of `width` × `height` pixels.
    pub fn camera(&self, width: u32, height: u32) -> Camera {
        let [right, up, back] = self.axes();
        let size = vec2(width as f32, height as f32);
        Camera {
            world_from_camera: Affine3A {
                matrix3: Mat3A::from(Mat3::from_cols(right, up, back)),
                translation: Vec3A::from(self.eye()),
            },
            width,
            height,
            focal: Vec2::splat(0.5 * size.y / (0.5 * self.fov_y).tan()),
            centre: 0.5 * size,
            distortion: Distortion::default(),
        }
    }

    /// The same view for a person to go on from; its roll is lost.
    pub fn orbit(&self, mode: Mode) -> Orbit {
        Orbit {
            target: self.target,
            distance: self.distance.clamp(DISTANCES[0], DISTANCES[1]),
            azimuth: self.azimuth.rem_euclid(TAU),
            elevation: self.elevation.clamp(-STEEPEST, STEEPEST),
            fov_y: self.fov_y,
            mode,
        }
    }

    /// What is interpolated: target, logarithm of the distance, azimuth, elevation, roll, field of view.
    fn values(&self) -> [f32; 8] {
        let [x, y, z] = self.target.to_array();
        [x, y, z, self.distance.ln(), self.azimuth, self.elevation, self.roll, self.fov_y]
    }

    fn of_values(time: f32, [x, y, z, log, azimuth, elevation, roll, fov_y]: [f32; 8]) -> Self {
        Self {
            time,
            target: vec3(x, y, z),
            distance: log.exp(),
            azimuth,
            elevation: elevation.clamp(-0.5 * PI, 0.5 * PI),
            roll,
            fov_y: fov_y.clamp(FOVS[0], FOVS[1]),
        }
    }

    fn check(&self) -> Result<(), PathError> {
        let wrong = |what: &str, range: &str| {
            Err(PathError::OutOfRange(format!("the key at {:.3} s: {what}; use {range}", self.time)))
        };
        if !(0.0..=MAX_SECONDS).contains(&self.time) {
            return Err(PathError::OutOfRange(format!("a key at {} s; use 0 to {MAX_SECONDS} s", self.time)));
        }
        if !(self.target.is_finite() && self.target.abs().max_element() <= 1e6) {
            return wrong("its place is no place", "scene units within a million");
        }
        if !(DISTANCES[0]..=DISTANCES[1]).contains(&self.distance) {
            return wrong("its distance to the target", "0.001 to 10000 scene units");
        }
        if ![self.azimuth, self.elevation, self.roll].iter().all(|angle| angle.abs() <= 1e3) {
            return wrong("its angles are no angles", "degrees");
        }
        if !(FOVS[0]..=FOVS[1]).contains(&self.fov_y) {
            return wrong("its field of view", "2 to 170 degrees");
        }
        Ok(())
    }
}

/// Half of an angle's turn at the most: `angle` plus whole turns, next to `near`.
fn next_to(near: f32, angle: f32) -> f32 {
    near + (angle - near + PI).rem_euclid(TAU) - PI
}

/// The distance at which the cameras look at one place: that where their axes come closest to each other; `otherwise`
/// where there is no such place in front of them.
pub fn common_distance(cameras: &[Camera], otherwise: f32) -> f32 {
    // Sum over the axes of (1 - f f^T) (x - p) = 0.
    let (mut matrix, mut right) = (Mat3::ZERO, Vec3::ZERO);
    for camera in cameras {
        let f = camera.forward();
        let across = Mat3::IDENTITY - Mat3::from_cols(f * f.x, f * f.y, f * f.z);
        (matrix, right) = (matrix + across, right + across * camera.position());
    }
    if !(matrix.determinant() > 1e-3 * cameras.len() as f32) {
        return otherwise;
    }
    let place = matrix.inverse() * right;
    let ahead: Vec<f32> = cameras.iter().map(|c| (place - c.position()).dot(c.forward())).collect();
    let mean = ahead.iter().sum::<f32>() / ahead.len().max(1) as f32;
    if ahead.iter().all(|d| *d > 0.0) && mean.is_finite() { mean } else { otherwise }
}

/// A camera's way. Its keys are in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraPath {
    /// Where it passes, each later than the one before.
    pub keyframes: Vec<Keyframe>,
    /// Pictures a second.
    pub fps: f32,
    /// How long it takes, seconds: not before the last key, and later where it is a loop.
    pub seconds: f32,
    /// Whether it ends where it began.
    pub looped: bool,
}

impl Default for CameraPath {
    fn default() -> Self {
        Self { keyframes: Vec::new(), fps: 24.0, seconds: 0.0, looped: false }
    }
}

impl CameraPath {
    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keyframes.is_empty()
    }

    /// Whether there can be such a path.
    ///
    /// # Errors
    /// When two keys are at one time or a value is out of its range.
    pub fn check(&self) -> Result<(), PathError> {
        let wrong = |what: String| Err(PathError::OutOfRange(what));
        if self.keyframes.len() > MAX_KEYS {
            return wrong(format!("{} keys; use at most {MAX_KEYS}", self.keyframes.len()));
        }
        if !(RATES[0]..=RATES[1]).contains(&self.fps) {
            return wrong(format!("{} pictures a second; use 1 to 240", self.fps));
        }
        if !(0.0..=MAX_SECONDS).contains(&self.seconds) {
            return wrong(format!("a path of {} s; use 0 to {MAX_SECONDS} s", self.seconds));
        }
        self.keyframes.iter().try_for_each(Keyframe::check)?;
        for pair in self.keyframes.windows(2) {
            if !(pair[1].time - pair[0].time >= APART) {
                let turned = pair[1].time < pair[0].time - APART;
                return if turned {
                    wrong("the keys are not in the order of time".into())
                } else {
                    Err(PathError::SameTime(pair[1].time))
                };
            }
        }
        match (self.keyframes.last(), self.looped && self.keyframes.len() > 1) {
            (Some(last), true) if self.seconds - last.time + self.keyframes[0].time < APART => {
                wrong("a loop needs time to come back: make it longer than its last key".into())
            }
            (Some(last), _) if self.seconds < last.time => {
                wrong(format!("the last key is at {:.3} s, the path ends at {:.3} s", last.time, self.seconds))
            }
            _ => Ok(()),
        }
    }

    /// Puts a key in its place, instead of one that is at its time; gives its index. A path that ended before is longer.
    pub fn insert(&mut self, key: Keyframe) -> usize {
        let near = 0.5 / self.fps.max(1.0);
        let at = if let Some(at) = self.keyframes.iter().position(|other| (other.time - key.time).abs() < near) {
            self.keyframes[at] = Keyframe { time: self.keyframes[at].time, ..key };
            at
        } else {
            let at = self.keyframes.partition_point(|other| other.time < key.time);
            self.keyframes.insert(at, key);
            at
        };
        let last = self.keyframes.last().map_or(0.0, |key| key.time);
        if self.seconds <= last {
            self.seconds = if self.looped { last + self.spacing() } else { last };
        }
        at
    }

    /// Takes key `index` away, if there is one; the end comes forward if it was there.
    pub fn remove(&mut self, index: usize) {
        if index < self.keyframes.len() {
            let gone = self.keyframes.remove(index);
            let last = self.keyframes.last().map_or(0.0, |key| key.time);
            if self.keyframes.is_empty() || !self.looped && self.seconds <= gone.time {
                self.seconds = last;
            }
        }
    }

    /// The mean time between keys, seconds; 1 where there is none.
    fn spacing(&self) -> f32 {
        match &self.keyframes[..] {
            [first, .., last] => (last.time - first.time) / (self.keyframes.len() - 1) as f32,
            _ => 1.0,
        }
    }

    /// Moves key `index` to `time` seconds, not past its neighbours; the end moves along if it was there.
    pub fn shift(&mut self, index: usize, time: f32) {
        if index >= self.keyframes.len() {
            return;
        }
        let neighbour = |i: Option<usize>| i.and_then(|i| self.keyframes.get(i)).map(|key| key.time);
        let (before, after) = (neighbour(index.checked_sub(1)), neighbour(Some(index + 1)));
        let end = after.unwrap_or(if self.looped { self.seconds } else { MAX_SECONDS });
        // Half a picture away from them, or less where they are closer than that.
        let gap = (0.5 / self.fps.max(1.0)).min((end - before.unwrap_or(0.0)) / 3.0).max(0.0);
        let before = before.map_or(0.0, |time| time + gap);
        let after = if after.is_some() || self.looped { end - gap } else { end };
        let is_last = index + 1 == self.keyframes.len();
        if let Some(key) = self.keyframes.get_mut(index) {
            let ended = self.seconds <= key.time;
            key.time = time.clamp(before, after.max(before));
            if is_last && !self.looped && (ended || key.time > self.seconds) {
                self.seconds = key.time;
            }
        }
    }

    /// Makes the whole take `seconds`; its keys keep their shares of it.
    pub fn stretch(&mut self, seconds: f32) {
        let factor = seconds / self.seconds;
        if factor.is_finite() && factor > 0.0 {
            self.keyframes.iter_mut().for_each(|key| key.time *= factor);
        }
        self.seconds = seconds;
    }

    /// Makes it a loop, which takes time to come back to its first key, or a way with two ends.
    pub fn set_looped(&mut self, looped: bool) {
        self.looped = looped;
        if let Some(last) = self.keyframes.last().map(|key| key.time) {
            self.seconds = if !looped {
                last
            } else if self.seconds <= last {
                last + self.spacing()
            } else {
                self.seconds
            };
        }
    }

    /// What is seen at `time` seconds: before the first key what it sees, after the last one what that sees; a loop
    /// begins again. Nothing where there is no key.
    pub fn at(&self, time: f32) -> Option<Keyframe> {
        let (first, last) = (self.keyframes.first()?, self.keyframes.last()?);
        let n = self.keyframes.len();
        if n == 1 || !self.looped && (time <= first.time || time >= last.time) {
            let end = if time <= first.time { first } else { last };
            return Some(Keyframe { time, ..*end });
        }
        let within = if self.looped { first.time + (time - first.time).rem_euclid(self.seconds) } else { time };
        let i = self.keyframes.partition_point(|key| key.time <= within).saturating_sub(1) as i64;
        let knots = [i - 1, i, i + 1, i + 2].map(|i| self.knot(i));
        let [_, Some(from), Some(to), _] = knots else { return Some(Keyframe { time, ..*last }) };
        Some(Keyframe::of_values(time, spline(knots, from, to, within)))
    }

    /// Time and values of key `i`; a loop goes on before and after. Nothing beyond the ends of another.
    fn knot(&self, i: i64) -> Option<Knot> {
        let n = self.keyframes.len() as i64;
        let round = i.div_euclid(n);
        if round != 0 && !self.looped {
            return None;
        }
        let key = &self.keyframes[i.rem_euclid(n) as usize];
        Some(Knot { time: key.time + round as f32 * self.seconds, values: key.values() })
    }

    /// The camera at `time` seconds for a picture of `width` × `height` pixels.
    pub fn camera_at(&self, time: f32, width: u32, height: u32) -> Option<Camera> {
        Some(self.at(time)?.camera(width, height))
    }

    /// How many pictures it has: those of its seconds, at least one, at most [`MAX_FRAMES`].
    pub fn frames(&self) -> usize {
        if self.is_empty() { 0 } else { ((self.seconds * self.fps).round() as usize).clamp(1, MAX_FRAMES) }
    }

    /// When the pictures are taken, seconds: the first at the start, the last at the end. The last of a loop is one
    /// before the first again.
    pub fn times(&self) -> impl Iterator<Item = f32> {
        let n = self.frames();
        let steps = if self.looped { n } else { n.saturating_sub(1) }.max(1);
        let seconds = self.seconds;
        (0..n).map(move |i| seconds * i as f32 / steps as f32)
    }

    /// Every camera, for pictures of `width` × `height` pixels.
    pub fn cameras(&self, width: u32, height: u32) -> Vec<Camera> {
        self.times().filter_map(|time| self.camera_at(time, width, height)).collect()
    }
}

/// A key as numbers.
#[derive(Clone, Copy)]
struct Knot {
    time: f32,
    values: [f32; 8],
}

/// Which of a key's values are angles that come round.
const ROUND: [bool; 8] = [false, false, false, false, true, false, true, false];

/// The values between `from` and `to` at `time`; of their neighbours those that there are.
fn spline([before, _, _, after]: [Option<Knot>; 4], from: Knot, to: Knot, time: f32) -> [f32; 8] {
    let h = to.time - from.time;
    let t = (time - from.time) / h;
    let (t2, t3) = (t * t, t * t * t);
    std::array::from_fn(|i| {
        let near = |near: f32, value: f32| if ROUND[i] { next_to(near, value) } else { value };
        let a = from.values[i];
        let b = near(a, to.values[i]);
        let slope = (b - a) / h;
        // At a key the slope of the parabola through it and its neighbours; at an end that of the piece itself.
        let joined = |own: f32, h: f32, other: f32, g: f32| (own * g + other * h) / (h + g);
        let start = before.map_or(slope, |knot| {
            let g = from.time - knot.time;
            joined(slope, h, (a - near(a, knot.values[i])) / g, g)
        });
        let end = after.map_or(slope, |knot| {
            let g = knot.time - to.time;
            joined(slope, h, (near(b, knot.values[i]) - b) / g, g)
        });
        (2.0 * t3 - 3.0 * t2 + 1.0) * a
            + (t3 - 2.0 * t2 + t) * h * start
            + (3.0 * t2 - 2.0 * t3) * b
            + (t3 - t2) * h * end
    })
}

#[cfg(test)]
#[path = "path/tests.rs"]
mod tests;
