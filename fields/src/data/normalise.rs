//! From a dataset's own coordinates to scene units.
//!
//! - A bounded scene (an object: a synthetic scene, photos with a transparent background, `aabb_scale <= 1`) has its box
//!   mapped to `[-1, 1]^3`.
//! - An unbounded one gets its origin where the optical axes come nearest to each other (least squares: minimise the
//!   summed squared distance to all axes) and a scale that puts the farthest camera at radius 1; what lies farther out
//!   is contracted (Barron et al. 2022).

use glam::{DAffine3, DMat3, DQuat, DVec3, Quat, Vec3};
use retort_shaders::{Aabb, Camera};
use serde::{Deserialize, Serialize};

use super::raw::{Extent, Raw};
use crate::error::{Error, Result};
use crate::parts::contraction::Contraction;

/// A similarity: `x_scene = scale * (rotation * x) + translation`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    /// Scene units per unit of the dataset.
    pub scale: f32,
    /// Dataset axes to scene axes; the identity where the dataset has +Z up.
    pub rotation: Quat,
    /// Scene units.
    pub translation: Vec3,
}

impl Default for Similarity {
    fn default() -> Self {
        Self { scale: 1.0, rotation: Quat::IDENTITY, translation: Vec3::ZERO }
    }
}

impl Similarity {
    /// A point of the dataset in scene units.
    pub fn point(&self, x: Vec3) -> Vec3 {
        self.scale * (self.rotation * x) + self.translation
    }

    /// A point in scene units in the dataset's coordinates.
    pub fn inverse_point(&self, x: Vec3) -> Vec3 {
        self.rotation.inverse() * ((x - self.translation) / self.scale)
    }
}

/// [`Similarity`] in double precision, which coordinates far from their origin (surveying) need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    pub scale: f64,
    pub rotation: DQuat,
    pub translation: DVec3,
    pub unbounded: bool,
}

impl Placement {
    pub fn point(&self, x: DVec3) -> DVec3 {
        self.scale * (self.rotation * x) + self.translation
    }

    /// A rigid camera pose of the dataset as one in scene units: the rotation turns, the position moves and scales.
    pub fn pose(&self, pose: &DAffine3) -> DAffine3 {
        let rotation = DMat3::from_quat(self.rotation) * pose.matrix3;
        DAffine3 { matrix3: rotation, translation: self.point(pose.translation) }
    }

    pub fn similarity(&self) -> Similarity {
        Similarity {
            scale: self.scale as f32,
            rotation: self.rotation.as_quat(),
            translation: self.translation.as_vec3(),
        }
    }

    pub fn bounds(&self) -> Aabb {
        Contraction::of(self.unbounded).bounds()
    }

    /// `centre` to the origin and `half` to 1.
    fn new(centre: DVec3, half: f64, rotation: DQuat, unbounded: bool) -> Self {
        let scale = 1.0 / half;
        Self { scale, rotation, translation: DVec3::ZERO - scale * (rotation * centre), unbounded }
    }
}

/// Where the scene goes. `transparent`: the photos show an object before a transparent background.
/// `half_angles`: half the wider field of view of each frame, radians.
pub(super) fn place(raw: &Raw, transparent: bool, half_angles: &[f64]) -> Result<Placement> {
    let poses: Vec<&DAffine3> = raw.frames.iter().map(|f| &f.world_from_camera).collect();
    let rotation = if raw.level { level(&poses) } else { DQuat::IDENTITY };
    let boxed = |centre, half| Ok(Placement::new(centre, half, rotation, false));
    match raw.extent {
        Extent::Blender => {
            // Synthetic scenes of other makers in the same files are not always of the usual size.
            let distance = median(poses.iter().map(|p| p.translation.length()).collect());
            if (2.0..=10.0).contains(&distance) {
                return boxed(DVec3::ZERO, 1.5);
            }
            let (centre, half) = seen_sphere(raw, &poses, half_angles)?;
            boxed(centre, half)
        }
        Extent::Box { centre, half, aabb_scale } if aabb_scale <= 1.0 || transparent => {
            boxed(centre, half * aabb_scale)
        }
        Extent::Unknown if transparent => {
            let (centre, half) = seen_sphere(raw, &poses, half_angles)?;
            boxed(centre, half)
        }
        _ => {
            let origin = focus(&poses).unwrap_or_else(|| ahead(raw, &poses));
            let farthest = poses.iter().map(|p| p.translation.distance(origin)).fold(0.0, f64::max);
            // All photos from one place, and nothing known of how far they see: any unit will do.
            let half = if farthest > 1e-9 * (1.0 + origin.length()) { farthest } else { 1.0 };
            Ok(Placement::new(origin, half, rotation, true))
        }
    }
}

/// The sphere about the cameras' common focus that the median camera sees whole: objects are photographed so.
fn seen_sphere(raw: &Raw, poses: &[&DAffine3], half_angles: &[f64]) -> Result<(DVec3, f64)> {
    let centre = focus(poses).unwrap_or_else(|| ahead(raw, poses));
    let seen = poses.iter().zip(half_angles).map(|(p, a)| p.translation.distance(centre) * a.min(1.2).tan());
    let half = median(seen.collect());
    if half > 1e-9 * (1.0 + centre.length()) {
        Ok((centre, half))
    } else {
        Err(Error::new("all cameras are in one place").remedy("photograph the object from around it"))
    }
}

/// The rotation that brings the mean upward direction of the cameras to +Z.
fn level(poses: &[&DAffine3]) -> DQuat {
    let up: DVec3 = poses.iter().map(|p| p.matrix3.y_axis).sum();
    up.try_normalize().map_or(DQuat::IDENTITY, |up| DQuat::from_rotation_arc(up, DVec3::Z))
}

/// The point nearest to all optical axes: the solution of `sum (I - d d^T) (x - o) = 0`. Nothing when the axes are
/// almost parallel (the point is then ill-conditioned) or when it lies behind most cameras.
fn focus(poses: &[&DAffine3]) -> Option<DVec3> {
    let n = poses.len() as f64;
    let mean = poses.iter().map(|p| p.translation).sum::<DVec3>() / n;
    let (mut a, mut b) = (DMat3::ZERO, DVec3::ZERO);
    for pose in poses {
        let d = -pose.matrix3.z_axis;
        let across = DMat3::IDENTITY - DMat3::from_cols(d * d.x, d * d.y, d * d.z);
        a += across * (1.0 / n);
        b += across * (pose.translation - mean) / n;
    }
    // Two eigenvalues are near 1 when the axes are near parallel, so that the determinant is the third: the mean squared
    // sine of the angle between them. 5e-4 is a spread of 1.3 degrees.
    if a.determinant() < 5e-4 {
        return None;
    }
    let x = mean + a.inverse() * b;
    let ahead = poses.iter().filter(|p| (x - p.translation).dot(-p.matrix3.z_axis) > 0.0).count();
    (x.is_finite() && 2 * ahead > poses.len()).then_some(x)
}

/// The mean point at the depth of the content where the dataset knows it (near and far of LLFF, sparse points), and
/// the mean camera position where not.
fn ahead(raw: &Raw, poses: &[&DAffine3]) -> DVec3 {
    let n = poses.len() as f64;
    let near_far: Vec<f64> = raw.frames.iter().filter_map(|f| f.near_far).map(|[a, b]| 2.0 * a * b / (a + b)).collect();
    let depth = if near_far.is_empty() { points_depth(raw, poses) } else { median(near_far) };
    poses.iter().map(|p| p.translation - depth * p.matrix3.z_axis).sum::<DVec3>() / n
}

/// The median depth of the sparse points before the cameras; 0 without points.
fn points_depth(raw: &Raw, poses: &[&DAffine3]) -> f64 {
    let stride = (raw.points.len() / 1000).max(1);
    let depths = poses.iter().flat_map(|pose| {
        let points = raw.points.iter().step_by(stride);
        points.map(|(x, _)| (*x - pose.translation).dot(-pose.matrix3.z_axis)).filter(|d| *d > 0.0)
    });
    median(depths.collect())
}

/// The middle value; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Whether a camera sees any of `bounds`: a grid of its rays is tried.
pub(super) fn sees(camera: &Camera, bounds: &Aabb) -> bool {
    const STEPS: u32 = 16;
    let at = |i: u32, of: u32| of as f32 * i as f32 / STEPS as f32;
    (0..=STEPS).any(|j| {
        (0..=STEPS).any(|i| {
            let ray = camera.ray(glam::vec2(at(i, camera.width), at(j, camera.height)));
            bounds.intersect_ray(ray.origin, ray.direction).is_some()
        })
    })
}

#[cfg(test)]
mod tests {
    use glam::{DAffine3, DVec3, dvec3};

    use super::focus;

    fn looking(eye: DVec3, direction: DVec3) -> DAffine3 {
        let right = direction.cross(DVec3::Z).normalize();
        let rotation = glam::DMat3::from_cols(right, right.cross(direction), -direction);
        DAffine3 { matrix3: rotation, translation: eye }
    }

    #[test]
    fn the_focus_is_where_the_axes_meet() {
        let target = dvec3(100.0, -20.0, 3.0);
        let around: Vec<DAffine3> = (0..12)
            .map(|i| {
                let eye = target + dvec3(f64::from(i).cos(), f64::from(i).sin(), 0.3) * 4.0;
                looking(eye, (target - eye).normalize())
            })
            .collect();
        let found = focus(&around.iter().collect::<Vec<_>>()).expect("the axes meet");
        assert!(found.distance(target) < 1e-9);
        let away: Vec<DAffine3> = around.iter().map(|p| looking(p.translation, p.matrix3.z_axis)).collect();
        assert!(focus(&away.iter().collect::<Vec<_>>()).is_none(), "behind every camera");
        let parallel: Vec<DAffine3> = around.iter().map(|p| looking(p.translation, DVec3::Y)).collect();
        assert!(focus(&parallel.iter().collect::<Vec<_>>()).is_none(), "parallel axes meet nowhere");
    }
}
