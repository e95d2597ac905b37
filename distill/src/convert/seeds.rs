//! Where Gaussians begin: on what the teacher shows, flat on its surface, in the colours that it has from several sides.
//!
//! A pixel's depth gives the place (`ConeGS` and others seed from a volume's depth), the depths around it the normal. The
//! colour along the pixel's own ray is the pixel's; how it changes with the direction is what the teacher says of the
//! place, as harmonics by least squares.

use glam::{Vec2, Vec3};
use rayon::prelude::*;
use retort_fields::compose::Subject;
use retort_fields::error::{Error, Result};
use retort_fields::field::{Seed, tensor, values};
use retort_fields::parts::looks::{direction, fitted};
use retort_fields::parts::sh;
use retort_fields::rng::Rng;
use retort_shaders::Camera;

use crate::gallery::Gallery;

use super::start::said_of_points;

/// Views that seeds are taken from.
pub const VIEWS: usize = 24;
/// Directions from which a seed is looked at.
const LOOKS: usize = 8;
/// Seeds that are asked about at a time.
const CHUNK: usize = 4096;
/// How thick a surface is taken to be, in pixels: the density over this length gives the opacity.
const THICKNESS: f32 = 2.5;
/// The least and the greatest opacity of a seed.
const OPACITY: [f32; 2] = [0.05, 0.9];
/// The share of the pixels that are taken where there is nothing to see but one colour.
const PLAIN: f32 = 0.3;
/// The extent of a seed across its surface, as a part of that along it.
const FLATNESS: f32 = 0.4;
/// A place of less opacity is none.
const THIN: f32 = 0.2;

/// Points on what the teacher shows: a pixel's colour at its depth.
///
/// # Errors
/// When the teacher is nowhere opaque.
pub fn seeds_from(teacher: &Subject, gallery: &mut Gallery, count: usize, seed: u64) -> Result<Vec<Seed>> {
    gallery.fill_some(teacher, gallery.wanted().min(VIEWS));
    let mut places = candidates(teacher, gallery, count + count / 2, seed);
    let density = density_at(teacher, &places);
    // A depth between two surfaces is a place where there is nothing.
    if let Some(density) = density {
        for (place, sigma) in places.iter_mut().zip(density) {
            let depth = sigma * THICKNESS * place.pixel;
            place.seed.opacity = (1.0 - (-depth).exp()).clamp(OPACITY[0], OPACITY[1]);
        }
        if places.iter().any(|place| place.seed.opacity > THIN) {
            places.retain(|place| place.seed.opacity > THIN);
        }
    }
    places.truncate(count);
    if places.is_empty() {
        return Err(Error::new("the teacher is nowhere opaque: Gaussians have nothing to start from")
            .remedy("look at it with `retort render`"));
    }
    let positions: Vec<_> = places.iter().map(|place| place.seed.position).collect();
    for (place, spacing) in places.iter_mut().zip(crate::neighbours::spacing(&positions)) {
        place.seed.scale = spacing.min(place.pixel);
    }
    colour(teacher, &mut places);
    Ok(places.into_iter().map(|place| place.seed).collect())
}

/// A seed, and the pixel that it comes from.
struct Place {
    seed: Seed,
    /// The direction of the pixel's ray.
    ray: Vec3,
    /// The width of the pixel at its depth, in scene units.
    pixel: f32,
}

/// Places on what the pictures show, more of them where there is more to see.
fn candidates(teacher: &Subject, gallery: &Gallery, count: usize, seed: u64) -> Vec<Place> {
    let mut rng = Rng::new(seed, "seeds");
    let mut places = Vec::with_capacity(count);
    for _ in 0..count * 40 {
        if places.len() == count {
            break;
        }
        let (camera, pixels) = gallery.at(rng.below(gallery.len()));
        let picture = Picture { camera, pixels, along_ray: teacher.as_volume().is_some() };
        let [x, y] = [camera.width, camera.height].map(|side| rng.below(side as usize));
        let p = picture.pixel(x, y);
        if p[3] > 0.5 && rng.uniform() < PLAIN + picture.detail(x, y) {
            let at = Vec2::new(x as f32 + rng.uniform(), y as f32 + rng.uniform());
            let (place, ray) = picture.place(x, y, at);
            let rgb = [0, 1, 2].map(|c| (p[c] / p[3]).clamp(0.0, 1.0));
            let mut seed = Seed::round(place.to_array(), rgb, 0.0, 0.5);
            if let Some(normal) = picture.normal(x, y) {
                (seed.normal, seed.flatness) = (normal.to_array(), FLATNESS);
            }
            places.push(Place { seed, ray, pixel: p[4] / p[3] / camera.focal.x });
        }
    }
    places
}

/// The density at each place, per scene unit; nothing where the teacher is no volume.
fn density_at(teacher: &Subject, places: &[Place]) -> Option<Vec<f32>> {
    let volume = teacher.as_volume()?;
    let warp = teacher.scene().warp();
    let mut density = Vec::with_capacity(places.len());
    for places in places.chunks(CHUNK) {
        let x = places.iter().flat_map(|p| warp.apply(p.seed.position.into()).to_array()).collect();
        let log_sigma = values(volume.log_sigma(tensor(x, [places.len(), 3], &volume.device())));
        density.extend(log_sigma.iter().map(|log| log.exp()));
    }
    Some(density)
}

/// Gives the seeds the harmonics of what the teacher says of their places; along its own ray each keeps its
/// colour.
fn colour(teacher: &Subject, places: &mut [Place]) {
    let scene = teacher.scene();
    let warp = scene.warp();
    let cameras: Vec<Vec3> = scene.cameras.iter().map(|pose| pose.position).collect();
    let unfiltered = teacher.as_primitives().map(|primitives| primitives.filtered(0.0));
    for (part, places) in places.chunks_mut(CHUNK).enumerate() {
        let x: Vec<f32> = places.iter().flat_map(|p| warp.apply(p.seed.position.into()).to_array()).collect();
        let look = |(i, p): (usize, &Place)| {
            let (place, point) = (Vec3::from(p.seed.position), part * CHUNK + i);
            (0..LOOKS).flat_map(|look| direction(&cameras, place, point, look, LOOKS).to_array()).collect::<Vec<_>>()
        };
        let d: Vec<f32> = places.iter().enumerate().flat_map(look).collect();
        let said = said_of_points(teacher, unfiltered.as_ref(), &x, &d);
        let looks = d.par_chunks(3 * LOOKS).zip(said.rgb.par_chunks(3 * LOOKS));
        places.par_iter_mut().zip(looks).with_min_len(64).for_each(|(place, (d, rgb))| {
            let sums: Vec<f32> = rgb.iter().map(|rgb| rgb - 0.5).collect();
            let found = fitted::<9>(d, &sums, [1e-3, 0.3]);
            if found.iter().flatten().all(|v| v.is_finite()) {
                let (basis, seed) = (sh::eval_basis(2, place.ray), &mut place.seed);
                seed.harmonics = std::array::from_fn(|k| [0, 1, 2].map(|c| found[c][k + 1]));
                seed.rgb = [0, 1, 2].map(|c| seed.rgb[c] - (1..9).map(|k| found[c][k] * basis[k]).sum::<f32>());
            }
        });
    }
}

/// A teacher's picture.
struct Picture<'a> {
    camera: &'a Camera,
    /// `[h·w, 5]`
    pixels: &'a [f32],
    /// Whether depth is measured along the ray; otherwise along the view axis.
    along_ray: bool,
}

impl Picture<'_> {
    fn pixel(&self, x: usize, y: usize) -> &[f32] {
        &self.pixels[5 * (x + y * self.camera.width as usize)..][..5]
    }

    /// The place in the depth of a pixel on the ray through `at` (pixels), and the ray's direction.
    fn place(&self, x: usize, y: usize, at: Vec2) -> (Vec3, Vec3) {
        let (p, ray) = (self.pixel(x, y), self.camera.ray(at));
        let depth = p[4] / p[3];
        let along = if self.along_ray { depth } else { depth / ray.direction.dot(self.camera.forward()) };
        (ray.at(along), ray.direction)
    }

    /// The neighbours on both sides along an axis of the picture; nothing at its rim.
    fn beside(&self, x: usize, y: usize, axis: usize) -> Option<[(usize, usize); 2]> {
        let (at, side) = if axis == 0 { (x, self.camera.width) } else { (y, self.camera.height) };
        let inside = at > 0 && at + 1 < side as usize;
        inside.then(|| if axis == 0 { [(x - 1, y), (x + 1, y)] } else { [(x, y - 1), (x, y + 1)] })
    }

    /// The normal of the surface at a pixel; nothing at edges.
    fn normal(&self, x: usize, y: usize) -> Option<Vec3> {
        let middle = |(x, y): (usize, usize)| Vec2::new(x as f32 + 0.5, y as f32 + 0.5);
        let p = self.pixel(x, y);
        let footprint = p[4] / p[3] / self.camera.focal.x;
        let across = |axis: usize| {
            let ends = self.beside(x, y, axis)?;
            if ends.iter().any(|&(x, y)| self.pixel(x, y)[3] < 0.8) {
                return None;
            }
            let [a, b] = ends.map(|end| self.place(end.0, end.1, middle(end)).0);
            Some(b - a).filter(|step| step.length() <= 12.0 * footprint)
        };
        across(0)?.cross(across(1)?).try_normalize()
    }

    /// How much the picture changes around a pixel: the mean difference of colour between its neighbours.
    fn detail(&self, x: usize, y: usize) -> f32 {
        let differ = |axis: usize| {
            self.beside(x, y, axis).map_or(0.0, |[a, b]| {
                let (a, b) = (self.pixel(a.0, a.1), self.pixel(b.0, b.1));
                (0..4).map(|c| (a[c] - b[c]).abs()).sum::<f32>()
            })
        };
        0.5 * (differ(0) + differ(1))
    }
}
