//! An object of a scene: a field, where it stands, and its edits.

use std::sync::Arc;

use glam::{Mat3, Quat, Vec3};
use rayon::prelude::*;
use retort_shaders::Aabb;

use super::edit::{self, Edit};
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::field::{Filtered, Scene, tensor, values};
use crate::parts::contraction::Contraction;
use crate::parts::occupancy::Occupancy;
use crate::registry::AnyField;

/// Scales that a transform may have.
const SCALES: std::ops::RangeInclusive<f32> = 1e-3..=1e3;
/// The farthest that an object may be moved, scene units.
const FARTHEST: f32 = 1e3;
/// The step for primitives in a bounded scene, in their own units: that of volumes of 1024 samples.
pub(super) const PRIMITIVE_STEP: f32 = 2.0 * 1.732_050_8 / 1024.0;
/// The grid by which primitives say where they are.
const GRID: u32 = 128;

/// A field in a scene.
#[derive(Clone, Debug)]
pub struct Object {
    /// The field.
    pub field: AnyField,
    /// Its own transform in the scene: turned and scaled about the scene's origin, then moved. The identity leaves it
    /// where its photos had it.
    pub transform: Similarity,
    /// What is changed about it.
    pub edits: Vec<Edit>,
}

impl From<AnyField> for Object {
    fn from(field: AnyField) -> Self {
        Self { field, transform: Similarity::default(), edits: Vec::new() }
    }
}

impl Object {
    /// Whether transform and edits are within their ranges.
    ///
    /// # Errors
    /// When one is not; the message names it.
    pub fn check(&self) -> Result<()> {
        let Similarity { scale, rotation, translation } = self.transform;
        if !SCALES.contains(&scale) {
            return Err(Error::new(format!("scale = {scale} is out of range")).remedy("use 0.001 to 1000"));
        }
        if !(translation.abs().max_element() <= FARTHEST && translation.is_finite()) {
            let what = format!("move = {translation} is out of range");
            return Err(Error::new(what).remedy("use scene units, within -1000 and 1000"));
        }
        if !(rotation.is_finite() && (rotation.length_squared() - 1.0).abs() < 1e-3) {
            return Err(Error::new("rotate is no rotation").remedy("use three angles in degrees"));
        }
        self.edits.iter().try_for_each(Edit::check)
    }

    /// Whether it is its field and nothing else.
    pub fn is_plain(&self) -> bool {
        self.transform == Similarity::default() && self.edits.is_empty()
    }
}

/// From the units of a field of scene `own` to those of `scene`: through the coordinates of the photos, which both know,
/// and then by its own `transform`.
pub fn scene_from_object(scene: &Scene, own: &Scene, transform: &Similarity) -> Similarity {
    let (ours, its) = (&scene.scene_from_dataset, &own.scene_from_dataset);
    if ours == its {
        return *transform;
    }
    // In double precision: frames of surveys lie far from their origins.
    let turn = |s: &Similarity| s.rotation.as_dquat().normalize();
    let rotation = turn(ours) * turn(its).inverse();
    let scale = f64::from(ours.scale) / f64::from(its.scale);
    let shift = ours.translation.as_dvec3() - scale * (rotation * its.translation.as_dvec3());
    let translation = f64::from(transform.scale) * (turn(transform) * shift) + transform.translation.as_dvec3();
    Similarity {
        scale: (scale * f64::from(transform.scale)) as f32,
        rotation: (turn(transform) * rotation).as_quat(),
        translation: translation.as_vec3(),
    }
}

/// An object in its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The object; its field collects no gradients.
    pub object: Object,
    /// From its own scene units to those of the composition.
    pub scene_from_object: Similarity,
    /// What its colours are multiplied by.
    pub colour: Mat3,
    /// Where its field is not empty, in its own warped units.
    pub grid: Arc<Occupancy>,
    /// Primitives through a filter that no step of a ray misses: most of them are flat.
    filtered: Option<Filtered>,
}

/// What an object says of points: the rows among those asked where it shows something, its log-densities there per scene
/// unit of the composition, and its latent `[rows, k]` with `k` (none of primitives).
pub struct Said {
    /// Rising.
    pub rows: Vec<u32>,
    /// `[rows, 3]`, in the object's own warped units.
    pub position: Vec<f32>,
    /// `[rows]`
    pub log_sigma: Vec<f32>,
    /// `[rows, k]`
    pub latent: Vec<f32>,
    /// `k`
    pub width: usize,
}

impl Placed {
    /// Puts `object` into `scene`.
    pub fn new(object: Object, scene: &Scene) -> Self {
        let field = object.field.frozen();
        let scene_from_object = scene_from_object(scene, field.scene(), &object.transform);
        let grid = grid_of(&field);
        let filtered = field.as_primitives().map(|primitives| primitives.filtered(0.5 * PRIMITIVE_STEP));
        let colour = edit::colour(&object.edits);
        Self { colour, object: Object { field, ..object }, scene_from_object, grid, filtered }
    }

    /// Whether directions are the same to it as to the composition.
    pub fn is_upright(&self) -> bool {
        self.scene_from_object.rotation == Quat::IDENTITY
    }

    fn warp(&self) -> Contraction {
        self.object.field.scene().warp()
    }

    /// Where a point `x` of the composition (warped) is to the object, if the object shows anything there.
    fn place(&self, x: Vec3) -> Option<Vec3> {
        // An unbounded field stays where it is: its warped space is the composition's.
        let own =
            if self.scene_from_object == Similarity::default() { x } else { self.scene_from_object.inverse_point(x) };
        let edits = &self.object.edits;
        let shown = self.grid.contains(own) && (edits.is_empty() || edit::shows(edits, self.warp().inverse(own)));
        shown.then_some(own)
    }

    /// What it says of `x` `[n, 3]`, warped positions of the composition.
    pub fn ask(&self, x: &[f32]) -> Said {
        let found: Vec<(u32, Vec3)> = (0..x.len() / 3)
            .into_par_iter()
            .with_min_len(1024)
            .filter_map(|i| Some((i as u32, self.place(Vec3::from_slice(&x[3 * i..]))?)))
            .collect();
        let rows: Vec<u32> = found.iter().map(|(row, _)| *row).collect();
        let position: Vec<f32> = found.iter().flat_map(|(_, x)| x.to_array()).collect();
        let (mut log_sigma, latent, width) = self.block1(&position);
        // Density is per unit of length: what is twice as large is half as dense.
        let shift = self.scene_from_object.scale.ln();
        if shift != 0.0 {
            log_sigma.iter_mut().for_each(|l| *l -= shift);
        }
        Said { rows, position, log_sigma, latent, width }
    }

    fn block1(&self, position: &[f32]) -> (Vec<f32>, Vec<f32>, usize) {
        let (field, n) = (&self.object.field, position.len() / 3);
        if n == 0 {
            return (Vec::new(), Vec::new(), 0);
        }
        if let Some(volume) = field.as_volume() {
            let said = volume.block1(tensor(position.to_vec(), [n, 3], &field.device()));
            let width = said.latent.dims()[1];
            return (values(said.log_sigma), values(said.latent), width);
        }
        // One density whichever way it is looked at: block 1 is not told.
        let said = self.filtered.as_ref().map(|p| p.sample(position, &Vec3::Z.to_array().repeat(n)).log_sigma);
        (said.unwrap_or_else(|| vec![f32::NEG_INFINITY; n]), Vec::new(), 0)
    }

    /// Its colours `[n, 3]` at `position` `[n, 3]` (its own, warped) with `latent` `[n, k]`, seen along `d` `[n, 3]`
    /// (unit, of the composition).
    pub fn block2(&self, position: &[f32], latent: Vec<f32>, d: &[f32]) -> Vec<f32> {
        let (field, n) = (&self.object.field, d.len() / 3);
        if n == 0 {
            return Vec::new();
        }
        let own_d = if self.is_upright() {
            d.to_vec()
        } else {
            let turn = Mat3::from_quat(self.scene_from_object.rotation.inverse());
            d.chunks_exact(3).flat_map(|d| (turn * Vec3::from_slice(d)).to_array()).collect()
        };
        let mut rgb = if let Some(volume) = field.as_volume() {
            let (device, width) = (field.device(), latent.len() / n);
            values(volume.block2(tensor(latent, [n, width], &device), tensor(own_d, [n, 3], &device)))
        } else {
            self.filtered.as_ref().map_or_else(|| vec![0.0; 3 * n], |p| p.sample(position, &own_d).rgb)
        };
        self.paint(&mut rgb);
        rgb
    }

    /// Applies the edits of colour to `rgb` `[n, 3]`.
    fn paint(&self, rgb: &mut [f32]) {
        if self.colour != Mat3::IDENTITY {
            rgb.par_chunks_mut(3).with_min_len(4096).for_each(|c| {
                let painted = self.colour * Vec3::from_slice(c);
                painted.clamp(Vec3::ZERO, Vec3::ONE).write_to_slice(c);
            });
        }
    }

    /// The part of the world that a box of its warped units stands for, in its scene units.
    fn unwarped(&self, part: Aabb) -> Aabb {
        if self.warp() == Contraction::Identity {
            return part;
        }
        let point = |k: u32| {
            let at = Vec3::new((k % 3) as f32, (k / 3 % 3) as f32, (k / 9) as f32) * 0.5;
            Contraction::Ball.inverse(part.min + part.size() * at)
        };
        Aabb::around((0..27).map(point)).unwrap_or(part)
    }

    /// Whether the edits leave nothing of a box of its warped units.
    fn hides(&self, part: Aabb) -> bool {
        !self.object.edits.is_empty() && edit::hides(&self.object.edits, self.unwarped(part))
    }

    /// The boxes, in its own warped units, of the cells in which it shows something.
    fn cells(&self) -> impl Iterator<Item = Aabb> + '_ {
        let half = 0.5 / self.grid.cells_per_unit();
        self.grid.occupied().filter_map(move |cell| {
            let centre = self.grid.cell_centre(cell);
            let part = Aabb::new(centre - half, centre + half);
            (!self.hides(part)).then_some(part)
        })
    }

    /// The box of the composition around a box of a bounded object.
    fn moved(&self, part: Aabb) -> Aabb {
        let place = &self.scene_from_object;
        around_turned(part, place.rotation, |x| place.point(x), place.scale)
    }

    /// The box of the composition that holds all that it shows; nothing where it shows nothing.
    pub fn extent(&self) -> Option<Aabb> {
        self.cells().map(|part| self.moved(part)).reduce(Aabb::union)
    }

    /// Occupies the cells of `grid` that it shows something in.
    pub fn mark(&self, grid: &mut Occupancy) {
        if self.object.field.scene().unbounded {
            // The same space in the same cells.
            let size = 1.0 / grid.cells_per_unit();
            for part in self.cells() {
                grid.mark(part.min + 1e-3 * size, part.max - 1e-3 * size, |_| true);
            }
            return;
        }
        let (scale, half) = (self.scene_from_object.scale, 0.5 / grid.cells_per_unit());
        let turn = self.scene_from_object.rotation.inverse();
        let visible = |centre: Vec3| {
            let part = Aabb::new(centre - half, centre + half);
            let own = around_turned(part, turn, |x| self.scene_from_object.inverse_point(x), 1.0 / scale);
            self.object.edits.is_empty() || !self.hides(own)
        };
        // Cells that only touch do not count, or an object that stays where it is would grow by a layer.
        let inset = 2e-3 * half;
        for part in self.cells().map(|part| self.moved(part)) {
            grid.mark(part.min + inset, part.max - inset, visible);
        }
    }

    /// Cells of its grid per scene unit of the composition.
    pub fn cells_per_unit(&self) -> f32 {
        self.grid.cells_per_unit().max_element() / self.scene_from_object.scale
    }

    /// The natural logarithm of the greatest density that it can have, per scene unit of the composition.
    pub fn most_log_sigma(&self) -> f32 {
        let own = self.object.field.as_volume().map_or(12.0, |volume| volume.log_sigma_range()[1]);
        own - self.scene_from_object.scale.ln()
    }
}

/// The box around `part` after it is moved by `point`, which turns by `turn` and scales by `scale`.
fn around_turned(part: Aabb, turn: Quat, point: impl Fn(Vec3) -> Vec3, scale: f32) -> Aabb {
    let axes = Mat3::from_quat(turn);
    let half = 0.5 * part.size();
    let reach = scale * (axes.x_axis.abs() * half.x + axes.y_axis.abs() * half.y + axes.z_axis.abs() * half.z);
    let centre = point(part.centre());
    Aabb::new(centre - reach, centre + reach)
}

/// Where a field is not empty.
fn grid_of(field: &AnyField) -> Arc<Occupancy> {
    if let Some(volume) = field.as_volume() {
        return Arc::clone(volume.occupancy());
    }
    let full = || Occupancy::new_full(GRID, field.scene().bounds);
    Arc::new(field.as_primitives().map_or_else(full, |primitives| primitives.occupancy_grid(GRID)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point of the photos' coordinates is one place, in whichever field's units it is told.
    #[test]
    fn fields_of_one_dataset_line_up() {
        let frame = |scale: f32, turn: f32, shift: f32| Scene {
            scene_from_dataset: Similarity {
                scale,
                rotation: Quat::from_rotation_y(turn),
                translation: Vec3::new(shift, -3.0, 0.25),
            },
            ..Scene::default()
        };
        let (ours, its) = (frame(2.5, 0.7, 40.0), frame(0.5, -1.1, 7.0));
        let still = scene_from_object(&ours, &its, &Similarity::default());
        let put = Similarity { scale: 0.5, rotation: Quat::from_rotation_z(0.4), translation: Vec3::X };
        let moved = scene_from_object(&ours, &its, &put);
        for x in [Vec3::ZERO, Vec3::new(0.3, -0.4, 0.9), Vec3::new(-12.0, 3.0, 1.0)] {
            let (here, there) = (ours.scene_from_dataset.point(x), its.scene_from_dataset.point(x));
            assert!(still.point(there).distance(here) < 1e-4, "{x}: {} is not {here}", still.point(there));
            assert!(moved.point(there).distance(put.point(here)) < 1e-4, "{x}");
            assert!(there.distance(here) > 1.0, "the negative control");
        }
        assert_eq!(scene_from_object(&ours, &ours, &put), put);
    }

    #[test]
    fn impossible_transforms_are_refused() {
        let (scene, device) = (Scene::default(), burn::tensor::Device::flex());
        let config: crate::registry::FieldConfig = serde_json::from_value(serde_json::json!({
            "kind": "hash", "levels": 2, "features": 2, "log2_table_size": 8, "base_resolution": 4,
            "finest_resolution": 8, "sigma_hidden": [8],
            "volume": { "latent": 3, "colour_hidden": [8], "log_sigma_range": [-4.0, 7.0],
                        "occupancy_resolution": 16, "samples_per_diagonal": 64, "cone_angle": 0.0 }
        }))
        .expect("a hash field");
        let sound = Object::from(config.init(&scene, 1, &device).expect("sound"));
        assert!(sound.check().is_ok() && sound.is_plain());
        let one = Similarity::default();
        for (transform, word) in [
            (Similarity { scale: 0.0, ..one }, "scale"),
            (Similarity { scale: f32::NAN, ..one }, "scale"),
            (Similarity { scale: -1.0, ..one }, "scale"),
            (Similarity { translation: Vec3::splat(1e9), ..one }, "move"),
            (Similarity { translation: Vec3::new(0.0, f32::NAN, 0.0), ..one }, "move"),
            (Similarity { rotation: Quat::from_xyzw(f32::NAN, 0.0, 0.0, 1.0), ..one }, "rotate"),
        ] {
            let error = Object { transform, ..sound.clone() }.check().expect_err(word);
            assert!(error.what.contains(word) && !error.remedy.is_empty(), "{error}");
        }
    }
}
