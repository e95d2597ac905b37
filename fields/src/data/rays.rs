//! Rays through pixels: mixed batches for training, whole rows for pictures.

use std::ops::Range;

use glam::{Vec2, vec2};
use rayon::prelude::*;
use retort_shaders::Camera;

use super::Photo;
use crate::rng::Rng;

/// Rays and what the photos show along them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RayBatch {
    /// Where the rays start, scene units, `[n * 3]`.
    pub origins: Vec<f32>,
    /// Unit directions, `[n * 3]`.
    pub directions: Vec<f32>,
    /// Straight (not premultiplied) sRGB in `[0, 1]`, `[n * 3]`.
    pub colours: Vec<f32>,
    /// Opacity in `[0, 1]`, `[n]`; 1 for photos without alpha.
    pub alphas: Vec<f32>,
    /// Which of the given photos the ray is of, `[n]`.
    pub photos: Vec<u32>,
    /// Which pixel of it, `y * width + x`, `[n]`.
    pub pixels: Vec<u32>,
}

impl RayBatch {
    /// How many rays.
    pub fn len(&self) -> usize {
        self.alphas.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.alphas.is_empty()
    }
}

/// `n` rays of training step `step`, through the centres of pixels drawn uniformly, with replacement, from all pixels
/// of all photos that no mask ignores.
///
/// Ray `i` depends on `(seed, step, i)` and the photos alone, so a batch is the same for any number of threads.
/// Without photos the batch is empty.
pub fn draw_rays(photos: &[&Photo], n: usize, seed: u64, step: u64) -> RayBatch {
    // Pixels before each photo, then all of them.
    let mut before = Vec::with_capacity(photos.len() + 1);
    before.push(0_usize);
    for photo in photos {
        before.push(before.last().copied().unwrap_or(0) + photo.pixels.len());
    }
    let total = before.last().copied().unwrap_or(0);
    if total == 0 {
        return RayBatch::default();
    }
    let step_seed = Rng::at(seed, "ray batch", step).next_u64();
    let mut batch = RayBatch {
        origins: vec![0.0; 3 * n],
        directions: vec![0.0; 3 * n],
        colours: vec![0.0; 3 * n],
        alphas: vec![0.0; n],
        photos: vec![0; n],
        pixels: vec![0; n],
    };
    let rows = batch.origins.par_chunks_exact_mut(3).zip(batch.directions.par_chunks_exact_mut(3));
    let rows = rows.zip(batch.colours.par_chunks_exact_mut(3)).zip(batch.alphas.par_iter_mut());
    let rows = rows.zip(batch.photos.par_iter_mut().zip(batch.pixels.par_iter_mut()));
    rows.enumerate().with_min_len(256).for_each(|(i, ((((o, d), c), a), (which, pixel)))| {
        let mut rng = Rng::at(step_seed, "ray", i as u64);
        let (p, index) = draw_pixel(photos, &before, &mut rng);
        let photo = photos[p];
        let ray = photo.camera.ray(pixel_centre(index, photo.camera.width as usize));
        let [red, green, blue, alpha] = photo.pixels.rgba(index);
        o.copy_from_slice(&ray.origin.to_array());
        d.copy_from_slice(&ray.direction.to_array());
        c.copy_from_slice(&[red, green, blue]);
        (*a, *which, *pixel) = (alpha, p as u32, index as u32);
    });
    batch
}

/// A photo and one of its pixels that counts, uniform over all such pixels.
fn draw_pixel(photos: &[&Photo], before: &[usize], rng: &mut Rng) -> (usize, usize) {
    let total = before[photos.len()];
    let mut last = (0, 0);
    for _ in 0..64 {
        let drawn = rng.below(total);
        let p = before.partition_point(|&b| b <= drawn) - 1;
        last = (p, drawn - before[p]);
        if photos[p].is_used(last.1) {
            return last;
        }
    }
    // Nearly everything is masked: take the next pixel that counts, in whichever photo has one.
    let after = (0..photos.len()).map(|k| (last.0 + k) % photos.len());
    let mut found = after.filter_map(|p| {
        let n = photos[p].pixels.len();
        (0..n).map(|k| (last.1 + k) % n).find(|&i| photos[p].is_used(i)).map(|i| (p, i))
    });
    found.next().unwrap_or(last)
}

fn pixel_centre(index: usize, width: usize) -> Vec2 {
    vec2((index % width) as f32 + 0.5, (index / width) as f32 + 0.5)
}

/// The rays through all pixels of some rows of a picture: origins and unit directions, `[rows * width * 3]` each.
pub fn photo_rays(camera: &Camera, rows: Range<u32>) -> (Vec<f32>, Vec<f32>) {
    let width = camera.width as usize;
    let n = rows.len() * width;
    let (mut origins, mut directions) = (vec![0.0; 3 * n], vec![0.0; 3 * n]);
    if n == 0 {
        return (origins, directions);
    }
    let first = rows.start as usize * width;
    let pairs = origins.par_chunks_mut(3 * width).zip(directions.par_chunks_mut(3 * width));
    pairs.enumerate().for_each(|(row, (origins, directions))| {
        let pairs = origins.chunks_exact_mut(3).zip(directions.chunks_exact_mut(3));
        for (i, (o, d)) in pairs.enumerate() {
            let ray = camera.ray(pixel_centre(first + row * width + i, width));
            o.copy_from_slice(&ray.origin.to_array());
            d.copy_from_slice(&ray.direction.to_array());
        }
    });
    (origins, directions)
}
