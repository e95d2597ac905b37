//! Where instant-ngp has a scene, and where its photos were taken from.
//!
//! `x_ngp = cycle(scale · x_dataset + offset)` with `cycle(x, y, z) = (y, z, x)`, none for Mitsuba's; the box is a cube of
//! edge `aabb_scale` (a power of two) around `(½, ½, ½)`. A scene of ours is `x_ngp − ½`. A camera there looks along +Z with +Y
//! down.

use glam::{Mat3, Quat, Vec3};
use retort_shaders::Aabb;

use super::file::{Extent, Lens, Snapshot, Xform};
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::field::{ASPECTS, MAX_POSES, Pose, Scene};

/// Scale and offset where a file does not say.
const SCALE: f32 = 0.33;
const OFFSET: [f32; 3] = [0.5; 3];
/// The largest box: eight cascades.
pub const MAX_AABB_SCALE: u32 = 128;
/// How far cameras stand around content of half-size 1 where none is known.
const EXTENT: f32 = 2.9;

/// The middle of the box.
pub const CENTRE: Vec3 = Vec3::splat(0.5);

/// `(x, y, z)` to `(y, z, x)`: a third of a turn about the diagonal.
pub fn cycle() -> Quat {
    Quat::from_xyzw(-0.5, -0.5, -0.5, 0.5)
}

/// A scene's frame.
#[derive(Debug)]
pub struct Place {
    /// Edge of the box, instant-ngp's units.
    pub aabb_scale: u32,
    scale: f32,
    offset: Vec3,
    /// Whether the photos' axes are turned, which Mitsuba's are not.
    pub turned: bool,
    crop: Option<Crop>,
}

/// What of the box is drawn: positions that are inside `[min, max]` after `local`.
#[derive(Clone, Copy, Debug)]
struct Crop {
    min: Vec3,
    max: Vec3,
    local: Mat3,
}

impl Place {
    /// The frame that a snapshot says.
    ///
    /// # Errors
    /// When a value is out of its range, or the scene is of a kind that a hash field cannot be.
    pub fn of(snapshot: &Snapshot<'_>) -> Result<Self> {
        let nerf = snapshot.nerf.as_ref();
        let dataset = nerf.and_then(|n| n.dataset.as_ref());
        if dataset.and_then(|d| d.is_hdr) == Some(true) {
            return Err(Error::new("nerf.dataset.is_hdr: its colours are exponentials (HDR), not within 0 to 1")
                .remedy("train it from photos of 8 bits"));
        }
        if let Some(n) = dataset.and_then(|d| d.n_extra_learnable_dims).filter(|n| *n > 0) {
            let what = format!("nerf.dataset.n_extra_learnable_dims: each photo has {n} learnt numbers of its own");
            return Err(Error::new(what).remedy("train it without n_extra_learnable_dims"));
        }
        let aabb_scale = dataset.and_then(|d| d.aabb_scale).or(nerf.and_then(|n| n.aabb_scale)).unwrap_or(1);
        if !aabb_scale.is_power_of_two() || aabb_scale > MAX_AABB_SCALE {
            let what = format!("aabb_scale is {aabb_scale}, not a power of two up to {MAX_AABB_SCALE}");
            return Err(Error::new(what).remedy("the file is damaged"));
        }
        let scale = dataset.and_then(|d| d.scale).unwrap_or(SCALE);
        let offset = Vec3::from(dataset.and_then(|d| d.offset).unwrap_or(OFFSET));
        if !(scale > 0.0 && scale.is_finite() && offset.is_finite()) {
            let what = format!("nerf.dataset.scale or offset is no frame: {scale}, {offset}");
            return Err(Error::new(what).remedy("the file is damaged"));
        }
        let turned = dataset.and_then(|d| d.from_mitsuba) != Some(true);
        let crop = crop(
            snapshot.render_aabb.or(dataset.and_then(|d| d.render_aabb)),
            snapshot.render_aabb_to_local.or(dataset.and_then(|d| d.render_aabb_to_local)),
            0.5 * aabb_scale as f32,
        );
        Ok(Self { aabb_scale, scale, offset, turned, crop })
    }

    /// The box in scene units.
    pub fn bounds(&self) -> Aabb {
        Aabb::cube(0.5 * self.aabb_scale as f32)
    }

    /// Whether only a part of the box is drawn.
    pub fn is_cropped(&self) -> bool {
        self.crop.is_some()
    }

    /// Whether any of the cell from `low` to `high` (scene units) is drawn.
    pub fn draws(&self, low: Vec3, high: Vec3) -> bool {
        let Some(Crop { min, max, local }) = self.crop else { return true };
        let centre = local * (0.5 * (low + high) + CENTRE);
        let half = 0.5 * (high - low);
        // The box around the turned cell.
        let reach = local.x_axis.abs() * half.x + local.y_axis.abs() * half.y + local.z_axis.abs() * half.z;
        (centre + reach).cmpge(min).all() && (centre - reach).cmple(max).all()
    }

    /// The scene.
    pub fn scene(&self, snapshot: &Snapshot<'_>) -> Scene {
        let rotation = if self.turned { cycle() } else { Quat::IDENTITY };
        let offset = if self.turned { Vec3::new(self.offset.y, self.offset.z, self.offset.x) } else { self.offset };
        let cameras = cameras(snapshot);
        let half = 0.5 * self.aabb_scale as f32;
        Scene {
            bounds: self.bounds(),
            scene_from_dataset: Similarity { scale: self.scale, rotation, translation: offset - CENTRE },
            near_far: [0.05, f32::max(100.0, 8.0 * half)],
            extent: ring(&cameras).unwrap_or(EXTENT * half),
            cameras,
            ..Scene::default()
        }
    }
}

/// What is drawn, where that is less than the box of half-size `half`.
fn crop(extent: Option<Extent>, local: Option<[[f32; 3]; 3]>, half: f32) -> Option<Crop> {
    let extent = extent?;
    let (min, max) = (Vec3::from(extent.min), Vec3::from(extent.max));
    let local = Mat3::from_cols_array_2d(&local.unwrap_or(Mat3::IDENTITY.to_cols_array_2d())).transpose();
    // One whose corners are the wrong way round is none.
    let sound = min.cmple(max).all() && local.is_finite();
    let whole = local == Mat3::IDENTITY && (min - CENTRE).cmple(Vec3::splat(-half)).all();
    let whole = whole && (max - CENTRE).cmpge(Vec3::splat(half)).all();
    (sound && !whole).then_some(Crop { min, max, local })
}

/// 1.1 times the radius of the ring of cameras, as a scene of ours has it.
fn ring(cameras: &[Pose]) -> Option<f32> {
    let centre = cameras.iter().map(|p| p.position).sum::<Vec3>() / cameras.len().max(1) as f32;
    let radius = cameras.iter().map(|p| p.position.distance(centre)).fold(0.0, f32::max);
    (radius > 1e-3).then_some(1.1 * radius)
}

fn cameras(snapshot: &Snapshot<'_>) -> Vec<Pose> {
    let dataset = snapshot.nerf.as_ref().and_then(|n| n.dataset.as_ref());
    let Some((xforms, lenses)) = dataset.and_then(|d| Some((d.xforms.as_ref()?, d.metadata.as_ref()?))) else {
        return Vec::new();
    };
    let all: Vec<Pose> = xforms.iter().zip(lenses).filter_map(|(x, lens)| pose(x, lens)).collect();
    let kept = all.len().min(MAX_POSES);
    (0..kept).map(|i| all[i * all.len() / kept].clone()).collect()
}

/// A photo's pose in the scene; `None` where it is none.
fn pose(xform: &Xform, lens: &Lens) -> Option<Pose> {
    let column = |c: usize| Vec3::from(xform.start.map(|row| row[c]));
    // Here cameras look along −Z with +Y up.
    let axes = Mat3::from_cols(column(0), -column(1), -column(2));
    let position = column(3) - CENTRE;
    let rigid = (axes * axes.transpose()).abs_diff_eq(Mat3::IDENTITY, 1e-2) && axes.determinant() > 0.0;
    let [width, height] = lens.resolution;
    let [fx, fy] = lens.focal_length;
    let aspect = (width / height) * (fy / fx);
    let fov_y = 2.0 * (0.5 * height / fy).atan();
    let sound = rigid && position.is_finite() && ASPECTS.contains(&aspect) && fov_y > 0.0 && fov_y < 3.1;
    sound.then(|| Pose { position, rotation: Quat::from_mat3(&axes).normalize(), fov_y, aspect })
}
