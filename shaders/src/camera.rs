//! A pinhole camera with lens distortion: pixels to rays and points to pixels.
//!
//! In camera space the view is along -Z and +Y is up. The *image plane* of the lens models has x to the right, y down
//! and unit depth, so a camera-space point `p` lies at `m = (p.x, -p.y) / -p.z`, and a pixel at `focal * d(m) + centre`
//! where `d` is the distortion:
//!
//! - perspective (Brown 1971, OpenCV): with `u = |m|^2`,
//!   `d(m) = m (1 + k1 u + k2 u^2 + k3 u^3 + k4 u^4) + (2 p1 xy + p2 (u + 2x^2), p1 (u + 2y^2) + 2 p2 xy)`;
//! - fisheye (Kannala and Brandt 2006, OpenCV): with `t = atan |m|`,
//!   `d(m) = m / |m| * t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8)`.

use std::f32::consts::PI;

use glam::{Affine3A, Mat3, Mat3A, Vec2, Vec3, Vec3A, vec2, vec3};
use serde::{Deserialize, Serialize};

/// A posed camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// Camera space to world; its linear part is a rotation.
    pub world_from_camera: Affine3A,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Focal lengths along x and y, in pixels.
    pub focal: Vec2,
    /// The principal point in pixels from the top left corner; `(width, height) / 2` is the middle.
    pub centre: Vec2,
    /// The lens; the default is none.
    #[serde(default)]
    pub distortion: Distortion,
}

/// Coefficients of a lens, as in the module's text; all zero and not a fisheye is a perfect pinhole.
///
/// `k4` of a perspective lens is the fourth radial coefficient (of `r^8`), as nerfstudio's `transforms.json` has it. It
/// is not the first of `OpenCV`'s rational denominator, which none of the supported dataset formats writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distortion {
    /// Radial, of `r^2` (fisheye: of `theta^2`).
    pub k1: f32,
    /// Radial, of `r^4` (fisheye: of `theta^4`).
    pub k2: f32,
    /// Radial, of `r^6` (fisheye: of `theta^6`).
    pub k3: f32,
    /// Radial, of `r^8` (fisheye: of `theta^8`).
    pub k4: f32,
    /// Tangential.
    pub p1: f32,
    /// Tangential.
    pub p2: f32,
    /// Equidistant fisheye instead of perspective; `p1` and `p2` are not used then.
    pub fisheye: bool,
}

/// A half-line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ray {
    /// Where it starts, world space.
    pub origin: Vec3,
    /// Where it goes; length 1.
    pub direction: Vec3,
}

impl Ray {
    /// The point at distance `t`.
    pub fn at(&self, t: f32) -> Vec3 {
        self.origin + t * self.direction
    }
}

impl Distortion {
    /// Whether the lens is a perfect pinhole.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// `1 + k1 u + k2 u^2 + k3 u^3 + k4 u^4`.
    fn radial(&self, u: f32) -> f32 {
        1.0 + u * (self.k1 + u * (self.k2 + u * (self.k3 + u * self.k4)))
    }

    /// The derivative of `r * radial(r^2)` with respect to `r`, at `u = r^2`.
    fn radial_slope(&self, u: f32) -> f32 {
        1.0 + u * (3.0 * self.k1 + u * (5.0 * self.k2 + u * (7.0 * self.k3 + u * 9.0 * self.k4)))
    }

    /// The radius (perspective: of the image plane; fisheye: the angle, at most pi) up to which the radial polynomial
    /// grows. Beyond it the model folds back and would put points from far outside the view into the picture.
    pub fn limit(&self) -> f32 {
        // A perspective lens sees less than 90 degrees; radius 16 is 86.4.
        let end = if self.fisheye { PI } else { 16.0 };
        if self.k1 == 0.0 && self.k2 == 0.0 && self.k3 == 0.0 && self.k4 == 0.0 {
            return if self.fisheye { end } else { f32::INFINITY };
        }
        // Fine near the axis, where pictures are: steps grow quadratically from `end / 4096`.
        let radius = |i: usize| end * (i as f32 / 64.0).powi(2);
        let Some(first) = (1..=64).find(|&i| self.radial_slope(radius(i).powi(2)) <= 0.0) else {
            return if self.fisheye { end } else { f32::INFINITY };
        };
        let (mut low, mut high) = (radius(first - 1), radius(first));
        for _ in 0..24 {
            let middle = 0.5 * (low + high);
            if self.radial_slope(middle * middle) > 0.0 { low = middle } else { high = middle }
        }
        low
    }

    /// Image-plane point of a pinhole to that of this lens. It does not test [`Distortion::limit`].
    pub fn distort(&self, m: Vec2) -> Vec2 {
        if self.fisheye {
            let r = m.length();
            let theta = r.atan();
            return if r > 1e-8 { m * (theta * self.radial(theta * theta) / r) } else { m };
        }
        let (u, xy) = (m.length_squared(), m.x * m.y);
        let tangential = vec2(
            2.0 * self.p1 * xy + self.p2 * (u + 2.0 * m.x * m.x),
            self.p1 * (u + 2.0 * m.y * m.y) + 2.0 * self.p2 * xy,
        );
        m * self.radial(u) + tangential
    }

    /// The inverse of [`Distortion::distort`] for a perspective lens, by Newton's method from the distorted point.
    /// Where the lens has no inverse (a corner beyond the fold) it gives the nearest point that the method reached.
    fn undistort(&self, d: Vec2) -> Vec2 {
        let (mut m, mut best) = (d, (f32::INFINITY, d));
        for _ in 0..20 {
            let error = self.distort(m) - d;
            let size = error.length_squared();
            if size < best.0 {
                best = (size, m);
            }
            if size <= 1e-14 * (1.0 + d.length_squared()) {
                break;
            }
            // The Jacobian is symmetric: [[a, b], [b, c]].
            let u = m.length_squared();
            let radial = self.radial(u);
            let slope = self.k1 + u * (2.0 * self.k2 + u * (3.0 * self.k3 + u * 4.0 * self.k4));
            let a = radial + 2.0 * m.x * m.x * slope + 2.0 * self.p1 * m.y + 6.0 * self.p2 * m.x;
            let b = 2.0 * m.x * m.y * slope + 2.0 * self.p1 * m.x + 2.0 * self.p2 * m.y;
            let c = radial + 2.0 * m.y * m.y * slope + 6.0 * self.p1 * m.y + 2.0 * self.p2 * m.x;
            let determinant = a * c - b * b;
            if determinant.abs() < 1e-6 {
                break;
            }
            m -= vec2(c * error.x - b * error.y, a * error.y - b * error.x) / determinant;
        }
        best.1
    }

    /// The angle from the axis that a fisheye shows at image-plane radius `r`.
    fn fisheye_angle(&self, r: f32) -> f32 {
        let limit = self.limit();
        let mut theta = r.min(limit);
        for _ in 0..20 {
            let u = theta * theta;
            let step = (theta * self.radial(u) - r) / self.radial_slope(u).max(1e-3);
            theta = (theta - step).clamp(0.0, limit);
            if step.abs() < 1e-7 {
                break;
            }
        }
        theta
    }

    /// The unit camera-space direction (-Z forward, +Y up) of an image-plane point of this lens.
    fn direction(&self, d: Vec2) -> Vec3 {
        if self.fisheye {
            let r = d.length();
            let theta = self.fisheye_angle(r);
            let side = if r > 1e-8 { d * (theta.sin() / r) } else { d };
            return vec3(side.x, -side.y, -theta.cos()).normalize_or(Vec3::NEG_Z);
        }
        let m = if self.is_none() { d } else { self.undistort(d) };
        vec3(m.x, -m.y, -1.0).normalize_or(Vec3::NEG_Z)
    }
}

impl Camera {
    /// The ray through `pixel` (pixels from the top left corner; the centre of the first pixel is `(0.5, 0.5)`).
    pub fn ray(&self, pixel: Vec2) -> Ray {
        let direction = self.world_from_camera.transform_vector3(self.direction_in_camera(pixel));
        Ray { origin: self.position(), direction: direction.normalize_or(self.forward()) }
    }

    /// The unit direction of `pixel` in camera space (-Z forward, +Y up), the lens undone.
    pub fn direction_in_camera(&self, pixel: Vec2) -> Vec3 {
        self.distortion.direction((pixel - self.centre) / self.focal)
    }

    /// The pixel that shows a point of the world, and its depth along the optical axis (not along the ray) in scene
    /// units. Nothing for a point at or behind the camera's plane, or beyond the angle where the lens model folds back.
    /// The pixel may lie outside the picture.
    pub fn project(&self, point_world: Vec3) -> Option<(Vec2, f32)> {
        let p = self.camera_from_world().transform_point3(point_world);
        Some((self.project_in_camera(p)?, -p.z))
    }

    /// [`Camera::project`] for a point in camera space.
    pub fn project_in_camera(&self, p: Vec3) -> Option<Vec2> {
        if p.z > -1e-9 || !p.is_finite() {
            return None;
        }
        let m = vec2(p.x, -p.y) / -p.z;
        if self.distortion.is_none() {
            return Some(m * self.focal + self.centre);
        }
        let r = if self.distortion.fisheye { m.length().atan() } else { m.length() };
        (r <= self.distortion.limit()).then(|| self.distortion.distort(m) * self.focal + self.centre)
    }

    /// World to camera space: the exact inverse of the rigid `world_from_camera`.
    pub fn camera_from_world(&self) -> Affine3A {
        let rotation = self.world_from_camera.matrix3.transpose();
        Affine3A { matrix3: rotation, translation: -(rotation * self.world_from_camera.translation) }
    }

    /// Where the camera is, world space.
    pub fn position(&self) -> Vec3 {
        self.world_from_camera.translation.into()
    }

    /// The viewing direction, world space, length 1.
    pub fn forward(&self) -> Vec3 {
        -Vec3::from(self.world_from_camera.matrix3.z_axis)
    }

    /// The picture's upward direction, world space, length 1.
    pub fn up(&self) -> Vec3 {
        self.world_from_camera.matrix3.y_axis.into()
    }

    /// The vertical field of view without the lens, in radians.
    pub fn fov_y(&self) -> f32 {
        2.0 * (0.5 * self.height as f32 / self.focal.y).atan()
    }

    /// Whether a pixel position lies within the picture.
    pub fn in_picture(&self, pixel: Vec2) -> bool {
        pixel.cmpge(Vec2::ZERO).all() && pixel.cmplt(vec2(self.width as f32, self.height as f32)).all()
    }

    /// The same view at another size: focal lengths and principal point scale along.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let scale = vec2(width as f32, height as f32) / vec2(self.width as f32, self.height as f32);
        Self { width, height, focal: self.focal * scale, centre: self.centre * scale, ..self.clone() }
    }

    /// The same pose and intrinsics without the lens.
    #[must_use]
    pub fn without_distortion(&self) -> Self {
        Self { distortion: Distortion::default(), ..self.clone() }
    }

    /// A pinhole at `eye` that looks at `target`, with `up` upward in the picture and a vertical field of view of
    /// `fov_y` radians. Looking along `up` itself, or at one's own place, picks some upright orientation.
    pub fn look_at(eye: Vec3, target: Vec3, up: Vec3, fov_y: f32, width: u32, height: u32) -> Self {
        let back = (eye - target).normalize_or(Vec3::Z);
        let right = up.cross(back);
        let right = if right.length_squared() > 1e-12 * up.length_squared() {
            right.normalize_or(Vec3::X)
        } else {
            back.any_orthonormal_vector()
        };
        let rotation = Mat3::from_cols(right, back.cross(right), back);
        let focal = 0.5 * height as f32 / (0.5 * fov_y).tan();
        Self {
            world_from_camera: Affine3A { matrix3: Mat3A::from(rotation), translation: Vec3A::from(eye) },
            width,
            height,
            focal: Vec2::splat(focal),
            centre: vec2(width as f32, height as f32) * 0.5,
            distortion: Distortion::default(),
        }
    }

    /// `n` pinholes evenly around the vertical (+Z) axis through `centre`, at distance `radius` from it and `elevation`
    /// radians above the horizon, all looking at it. The first stands on the +X side; they go anticlockwise from above.
    pub fn orbit(centre: Vec3, radius: f32, elevation: f32, n: usize, fov_y: f32, size: [u32; 2]) -> Vec<Self> {
        (0..n)
            .map(|i| {
                let azimuth = 2.0 * PI * i as f32 / n as f32;
                let out = vec3(elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin());
                Self::look_at(centre + radius * out, centre, Vec3::Z, fov_y, size[0], size[1])
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "camera/tests.rs"]
mod tests;
