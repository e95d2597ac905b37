//! Where Gaussians begin: on what the teacher shows, flat on its surface, in the colours that it has from several sides.
//!
//! A pixel's depth gives the place (`ConeGS` and others seed from a volume's depth), the depths around it the normal. The
//! colour along the pixel's own ray is the pixel's; how it changes with the direction is what the teacher says of the
//! place, as harmonics by least squares.

use glam::{Vec2, Vec3};
use rayon::prelude::*;
use retort_fields::error::{Error, Result};
use retort_fields::field::Seed;
use retort_fields::parts::contraction::Contraction;
use retort_fields::parts::looks::{direction, fitted};
use retort_fields::parts::sh;
use retort_fields::registry::AnyField;
use retort_fields::rng::Rng;
use retort_shaders::Camera;

use crate::gallery::Gallery;

use super::start::said_of_points;

/// Views that seeds are taken from.
const VIEWS: usize = 24;
/// Directions from which a seed is looked at.
const LOOKS: usize = 8;
/// Seeds that are asked about at a time.
const CHUNK: usize = 4096;

fn env(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Points on what the teacher shows: a pixel's colour at its depth.
///
/// # Errors
/// When the teacher is nowhere opaque.
pub fn seeds_from(teacher: &AnyField, gallery: &mut Gallery, count: usize, seed: u64) -> Result<Vec<Seed>> {
    gallery.fill_some(teacher, gallery.wanted().min(VIEWS));
    let mut rng = Rng::new(seed, "seeds");
    let (mut seeds, mut own) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let plain = env("GS_DETAIL", 0.3);
    for _ in 0..count * 40 {
        if seeds.len() == count {
            break;
        }
        let (camera, pixels) = gallery.at(rng.below(gallery.len()));
        let picture = Picture { camera, pixels, along_ray: teacher.as_volume().is_some() };
        let [x, y] = [camera.width, camera.height].map(|side| rng.below(side as usize));
        let p = picture.pixel(x, y);
        // More where there is more to see.
        let wanted = plain + picture.detail(x, y);
        if p[3] > 0.5 && rng.uniform() < wanted {
            let at = Vec2::new(x as f32 + rng.uniform(), y as f32 + rng.uniform());
            let (place, ray) = picture.place(x, y, at);
            let rgb = [0, 1, 2].map(|c| (p[c] / p[3]).clamp(0.0, 1.0));
            let mut one = Seed::round(place.to_array(), rgb, 0.0, env("GS_OP", 0.5));
            if let Some(normal) = picture.normal(x, y) {
                (one.normal, one.flatness) = (normal.to_array(), env("GS_FLAT", 0.4));
            }
            seeds.push(one);
            own.push(ray);
        }
    }
    if seeds.is_empty() {
        return Err(Error::new("the teacher is nowhere opaque: Gaussians have nothing to start from")
            .remedy("look at it with `retort render`"));
    }
    let positions: Vec<_> = seeds.iter().map(|s| s.position).collect();
    for (seed, scale) in seeds.iter_mut().zip(crate::neighbours::spacing(&positions)) {
        seed.scale = scale * env("GS_SCALE", 1.0);
    }
    if env("GS_SH", 1.0) > 0.0 {
        colour(teacher, &mut seeds, &own);
    }
    Ok(seeds)
}

/// Gives the seeds the harmonics of what the teacher says of their places; along its `own` direction each keeps its
/// colour.
fn colour(teacher: &AnyField, seeds: &mut [Seed], own: &[Vec3]) {
    let scene = teacher.scene();
    let warp = if scene.unbounded { Contraction::Ball } else { Contraction::Identity };
    let cameras: Vec<Vec3> = scene.cameras.iter().map(|pose| pose.position).collect();
    for (part, (seeds, own)) in seeds.chunks_mut(CHUNK).zip(own.chunks(CHUNK)).enumerate() {
        let x: Vec<f32> = seeds.iter().flat_map(|s| warp.apply(s.position.into()).to_array()).collect();
        let look = |(i, s): (usize, &Seed)| {
            let point = part * CHUNK + i;
            (0..LOOKS)
                .flat_map(|look| direction(&cameras, s.position.into(), point, look, LOOKS).to_array())
                .collect::<Vec<_>>()
        };
        let d: Vec<f32> = seeds.iter().enumerate().flat_map(&look).collect();
        let said = said_of_points(teacher, scene.unbounded, &x, &d);
        let looks = d.par_chunks(3 * LOOKS).zip(said.rgb.par_chunks(3 * LOOKS));
        seeds.par_iter_mut().zip(own).zip(looks).with_min_len(64).for_each(|((seed, own), (d, rgb))| {
            let sums: Vec<f32> = rgb.iter().map(|rgb| rgb - 0.5).collect();
            let found = fitted::<9>(d, &sums, [1e-3, 0.3]);
            if found.iter().flatten().all(|v| v.is_finite()) {
                let basis = sh::eval_basis(2, *own);
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
        let mut across = [Vec3::ZERO; 2];
        for axis in 0..2 {
            let ends = self.beside(x, y, axis)?;
            if ends.iter().any(|&(x, y)| self.pixel(x, y)[3] < 0.8) {
                return None;
            }
            let [a, b] = ends.map(|end| self.place(end.0, end.1, middle(end)).0);
            across[axis] = b - a;
            if across[axis].length() > 12.0 * footprint {
                return None;
            }
        }
        across[0].cross(across[1]).try_normalize()
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
