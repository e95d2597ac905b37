//! The views of a conversion and the teacher's pictures of them, made when first needed.
//!
//! Whatever is asked for depends on the seed and the step alone, so a run that is taken up again sees the same views:
//! pictures that were lost with the old process are made again.

use std::collections::BTreeMap;

use glam::Vec2;
use rayon::prelude::*;
use retort_fields::compose::Subject;
use retort_fields::field::{RenderOptions, Scene, values};
use retort_fields::rng::Rng;
use retort_shaders::Camera;

use crate::views;

/// Drawn views and pictures.
pub struct Gallery {
    seed: u64,
    wanted: usize,
    height: u32,
    cameras: Vec<Camera>,
    /// The teacher's picture of each camera so far, `[h·w·5]`.
    pictures: Vec<Vec<f32>>,
    /// Views that have another's place for a while, with their pictures where those are needed.
    guests: BTreeMap<usize, (Camera, Option<Vec<f32>>)>,
}

/// Rays, and what the teacher's pictures show there if it was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rays {
    /// `[n, 3]`
    pub origins: Vec<f32>,
    /// Unit, `[n, 3]`.
    pub directions: Vec<f32>,
    /// `[n, 5]`, or empty.
    pub pixels: Vec<f32>,
    /// The view of each, `[n]`.
    pub views: Vec<u32>,
}

impl Rays {
    fn zeros(n: usize, pixels: usize) -> Self {
        let zeros = |width: usize| vec![0.0; n * width];
        Self { origins: zeros(3), directions: zeros(3), pixels: zeros(pixels), views: vec![0; n] }
    }

    /// The number of rays.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Adds the `ray`-th of `others`.
    pub fn push(&mut self, others: &Self, ray: usize) {
        self.origins.extend_from_slice(&others.origins[3 * ray..][..3]);
        self.directions.extend_from_slice(&others.directions[3 * ray..][..3]);
        if !others.pixels.is_empty() {
            self.pixels.extend_from_slice(&others.pixels[5 * ray..][..5]);
        }
        self.views.push(others.views[ray]);
    }

    /// Puts the `ray`-th of `others` in place of the `slot`-th.
    pub fn replace(&mut self, slot: usize, others: &Self, ray: usize) {
        self.origins[3 * slot..][..3].copy_from_slice(&others.origins[3 * ray..][..3]);
        self.directions[3 * slot..][..3].copy_from_slice(&others.directions[3 * ray..][..3]);
        if !others.pixels.is_empty() {
            self.pixels[5 * slot..][..5].copy_from_slice(&others.pixels[5 * ray..][..5]);
        }
        self.views[slot] = others.views[ray];
    }
}

impl Gallery {
    /// At most `wanted` views, `height` pixels high.
    pub fn new(wanted: usize, height: u32, seed: u64) -> Self {
        Self { seed, wanted, height, cameras: Vec::new(), pictures: Vec::new(), guests: BTreeMap::new() }
    }

    /// The most views that there can be.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The pictures that are there.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    fn know_cameras(&mut self, scene: &Scene) {
        if self.cameras.is_empty() {
            self.cameras = (0..self.wanted).map(|i| views::draw(scene, self.seed, i as u64, self.height)).collect();
        }
    }

    /// The first `count` views, or all where there are fewer.
    pub fn some_cameras(&mut self, scene: &Scene, count: usize) -> &[Camera] {
        self.know_cameras(scene);
        &self.cameras[..count.min(self.cameras.len())]
    }

    /// Makes pictures until there are `count`.
    pub fn fill_some(&mut self, teacher: &Subject, count: usize) {
        self.know_cameras(teacher.scene());
        let picture = |camera: &Camera| values(teacher.render(camera, &RenderOptions::default()).pixels);
        while self.pictures.len() < count.min(self.wanted) {
            self.pictures.push(picture(&self.cameras[self.pictures.len()]));
        }
        for (view, (camera, shown)) in &mut self.guests {
            if shown.is_none() && *view < self.pictures.len() {
                *shown = Some(picture(camera));
            }
        }
    }

    /// Makes the pictures that step `step` (from 0) may look at: one more with each step, until all are there.
    pub fn fill_one(&mut self, teacher: &Subject, step: u64) {
        let already = self.pictures.len();
        self.fill_some(teacher, already.max(step as usize + 1));
    }

    /// The view that step `step` looks at; see [`Gallery::at`].
    pub fn pick(&self, step: u64) -> usize {
        let among = self.known_at(step);
        Rng::at(self.seed, "pick a view", step).below(among)
    }

    /// The pictures that step `step` can count on, whatever was made ahead.
    fn known_at(&self, step: u64) -> usize {
        (step as usize + 1).min(self.pictures.len()).max(1)
    }

    /// The `index`-th view and picture.
    pub fn at(&self, index: usize) -> (&Camera, &[f32]) {
        match self.guests.get(&index) {
            Some((camera, Some(picture))) => (camera, picture),
            _ => (&self.cameras[index], &self.pictures[index]),
        }
    }

    /// The `index`-th view.
    pub fn camera(&self, index: usize) -> &Camera {
        self.guests.get(&index).map_or(&self.cameras[index], |(camera, _)| camera)
    }

    /// Gives the place of the `index`-th view to another camera, until [`Gallery::put_back`].
    pub fn exchange(&mut self, index: usize, camera: Camera) {
        self.guests.insert(index, (camera, None));
    }

    /// Every view has its own place again.
    pub fn put_back(&mut self) {
        self.guests.clear();
    }

    /// Takes back what [`Gallery::guests`] gave.
    pub fn welcome(&mut self, guests: Vec<(usize, Camera)>, scene: &Scene) {
        self.know_cameras(scene);
        self.guests = guests.into_iter().map(|(view, camera)| (view, (camera, None))).collect();
    }

    /// The views that have another's place, for a checkpoint.
    pub fn guests(&self) -> Vec<(usize, Camera)> {
        self.guests.iter().map(|(view, (camera, _))| (*view, camera.clone())).collect()
    }

    /// `n` rays through random places of random views.
    pub fn rays(&mut self, scene: &Scene, n: usize, step: u64) -> Rays {
        self.know_cameras(scene);
        let mut rays = Rays::zeros(n, 0);
        let seed = Rng::at(self.seed, "rays", step).next_u64();
        let (origins, directions) = (rays.origins.par_chunks_mut(3), rays.directions.par_chunks_mut(3));
        origins.zip(directions).zip(&mut rays.views).enumerate().for_each(|(i, ((o, d), view))| {
            let mut rng = Rng::at(seed, "ray", i as u64);
            *view = rng.below(self.cameras.len()) as u32;
            let camera = self.camera(*view as usize);
            let pixel = Vec2::new(rng.uniform() * camera.width as f32, rng.uniform() * camera.height as f32);
            let ray = camera.ray(pixel);
            o.copy_from_slice(&ray.origin.to_array());
            d.copy_from_slice(&ray.direction.to_array());
        });
        rays
    }

    /// `n` rays through pixel centres of pictures that are there, with the pixels.
    pub fn rays_with_pixels(&self, n: usize, step: u64) -> Rays {
        let mut rays = Rays::zeros(n, 5);
        let seed = Rng::at(self.seed, "pixels", step).next_u64();
        let among = self.known_at(step);
        let (origins, directions) = (rays.origins.par_chunks_mut(3), rays.directions.par_chunks_mut(3));
        let rows = origins.zip(directions).zip(rays.pixels.par_chunks_mut(5)).zip(&mut rays.views);
        rows.enumerate().for_each(|(i, (((o, d), p), view))| {
            let mut rng = Rng::at(seed, "ray", i as u64);
            *view = rng.below(among) as u32;
            let (camera, picture) = self.at(*view as usize);
            let (x, y) = (rng.below(camera.width as usize), rng.below(camera.height as usize));
            let ray = camera.ray(Vec2::new(x as f32 + 0.5, y as f32 + 0.5));
            o.copy_from_slice(&ray.origin.to_array());
            d.copy_from_slice(&ray.direction.to_array());
            p.copy_from_slice(&picture[5 * (y * camera.width as usize + x)..][..5]);
        });
        rays
    }
}
