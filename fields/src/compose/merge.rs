//! Several sets of Gaussians as one, exactly: each is moved, its harmonics are turned, and edits meet it as a whole.
//!
//! A Gaussian stays or goes by its centre. Every edit of colour is linear and the harmonics are too, so `M c` is applied
//! to the coefficients: `c = ½ + Σ aₖ Yₖ` becomes `½ + (M ½ − ½) + Σ (M aₖ) Yₖ`. Colours are held above 0 when they are
//! drawn and below 1 when pictures are shown, which is where this differs from painting the picture.

use glam::{Mat3, Quat, Vec3};
use retort_shaders::Aabb;

use super::composition::grown;
use super::edit::{colour, shows};
use super::object::{Object, scene_from_object};
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::field::{Field, Scene, tensor, values};
use crate::kinds::gaussians::{Gaussians, GaussiansConfig, SH_C0};
use crate::parts::sh;
use crate::parts::sh_turn::turned_harmonics;
use crate::registry::AnyField;

/// One set of all Gaussians of `objects`; `None` where another kind is among them, or where they are not drawn alike.
///
/// # Errors
/// When a transform or an edit is out of its range, the edits leave nothing, or unbounded and bounded scenes meet.
pub fn merged(objects: &[Object]) -> Result<Option<AnyField>> {
    let sets: Option<Vec<&Gaussians>> = objects
        .iter()
        .map(|object| match &object.field {
            AnyField::Gaussians(set) => Some(set),
            _ => None,
        })
        .collect();
    let Some(sets) = sets.filter(|sets| sets.iter().all(|set| set.config.antialias == sets[0].config.antialias)) else {
        return Ok(None);
    };
    let Some(first) = sets.first() else { return Ok(None) };
    objects.iter().try_for_each(Object::check)?;
    let scene = first.scene().clone();
    if sets.iter().any(|set| set.scene().unbounded != scene.unbounded) {
        return Err(Error::new("an unbounded field cannot be put together with bounded ones")
            .remedy("show it alone, or use fields of bounded scenes"));
    }
    let degree = sets.iter().map(|set| set.config.sh_degree).max().unwrap_or(1);
    let mut rows = Rows::new(degree);
    let mut content: Option<Aabb> = None;
    for (object, set) in objects.iter().zip(&sets) {
        let place = scene_from_object(&scene, set.scene(), &object.transform);
        rows.add(set, object, &place);
        let own = set.scene().bounds;
        let corner = |k: u32| own.min + own.size() * Vec3::new((k & 1) as f32, (k >> 1 & 1) as f32, (k >> 2) as f32);
        let cropped = corners_left(object, (0..8).map(corner)).map(|x| place.point(x));
        content = Aabb::around(content.into_iter().flat_map(|b| [b.min, b.max]).chain(cropped));
    }
    if rows.parts[0].is_empty() {
        return Err(Error::new("the edits leave nothing: no Gaussian is left").remedy("crop or erase less"));
    }
    let scene = if scene.unbounded { scene } else { grown(scene, content)? };
    let config = GaussiansConfig { sh_degree: degree, ..first.config.clone() };
    Ok(Some(AnyField::Gaussians(rows.build(&config, &scene, &first.device())?)))
}

/// The corners of an object's box, drawn in to the boxes that it is cropped to.
fn corners_left(object: &Object, corners: impl Iterator<Item = Vec3>) -> impl Iterator<Item = Vec3> {
    corners.map(|corner| {
        object.edits.iter().fold(corner, |x, edit| match edit {
            super::Edit::Crop(b) => x.clamp(b.min.into(), b.max.into()),
            _ => x,
        })
    })
}

/// Parameters of Gaussians, row by row.
struct Rows {
    degree: u32,
    /// Centres, log-scales, rotations, opacities, constant and other coefficients.
    parts: [Vec<f32>; 6],
}

/// Values in a row of each parameter, but for the last.
const WIDTHS: [usize; 5] = [3, 3, 4, 1, 3];

impl Rows {
    fn new(degree: u32) -> Self {
        Self { degree, parts: Default::default() }
    }

    fn rest(&self) -> usize {
        3 * (sh::count(self.degree as usize) - 1)
    }

    /// Adds what `object` leaves of `set`, put in its place.
    fn add(&mut self, set: &Gaussians, object: &Object, place: &Similarity) {
        let old: Vec<Vec<f32>> = set.params().into_iter().map(|p| values(p.tensor.clone())).collect();
        let (shift, paint) = (place.scale.ln(), colour(&object.edits));
        let still = place.rotation == Quat::IDENTITY;
        let harmonics = turned_harmonics(place.rotation);
        let own_rest = 3 * (sh::count(set.config.sh_degree as usize) - 1);
        let rest = self.rest();
        for i in 0..old[3].len() {
            let row = |part: usize, width: usize| &old[part][i * width..][..width];
            let centre = Vec3::from_slice(row(0, 3));
            if !shows(&object.edits, centre) {
                continue;
            }
            self.parts[0].extend(place.point(centre).to_array());
            self.parts[1].extend(row(1, 3).iter().map(|log| log + shift));
            self.parts[2].extend(turned(row(2, 4), place.rotation, still));
            self.parts[3].extend_from_slice(row(3, 1));
            let mut a = [Vec3::ZERO; sh::COUNT];
            a[0] = Vec3::from_slice(row(4, 3));
            for (a, c) in a[1..].iter_mut().zip(row(5, own_rest).chunks_exact(3)) {
                *a = Vec3::from_slice(c);
            }
            let a = repainted(&a, paint, (!still).then_some(&harmonics));
            self.parts[4].extend(a[0].to_array());
            self.parts[5].extend(a[1..].iter().flat_map(Vec3::to_array).take(rest));
        }
    }

    fn build(self, config: &GaussiansConfig, scene: &Scene, device: &burn::tensor::Device) -> Result<Gaussians> {
        let (n, rest) = (self.parts[3].len(), self.rest());
        let widths = WIDTHS.into_iter().chain([rest]);
        let tensors = self.parts.into_iter().zip(widths).map(|(v, width)| tensor(v, [n, width], device)).collect();
        Gaussians::build(config, scene, tensors)
    }
}

/// The quaternion w, x, y, z after `turn`; of any length, as it is stored.
fn turned(row: &[f32], turn: Quat, still: bool) -> [f32; 4] {
    let own = Quat::from_xyzw(row[1], row[2], row[3], row[0]);
    let q = if still { own } else { turn * own };
    [q.w, q.x, q.y, q.z]
}

/// Coefficients after the edits of colour and after the turn.
fn repainted(
    a: &[Vec3; sh::COUNT],
    paint: Mat3,
    harmonics: Option<&[[f32; sh::COUNT]; sh::COUNT]>,
) -> [Vec3; sh::COUNT] {
    let mut a = *a;
    if paint != Mat3::IDENTITY {
        a.iter_mut().for_each(|c| *c = paint * *c);
        let half = Vec3::splat(0.5);
        a[0] += (paint * half - half) / SH_C0;
    }
    harmonics.map_or(a, |m| std::array::from_fn(|j| (0..sh::COUNT).map(|k| m[k][j] * a[k]).sum()))
}
