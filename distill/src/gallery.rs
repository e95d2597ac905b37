//! The views of a conversion and the teacher's pictures of them, made when first needed.
//!
//! Whatever is asked for depends on the seed and the step alone, so a run that is taken up again sees the same views:
//! pictures that were lost with the old process are made again.

use glam::Vec2;
use rayon::prelude::*;
use retort_fields::field::{RenderOptions, Scene, values};
use retort_fields::registry::AnyField;
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
}

impl Gallery {
    /// At most `wanted` views, `height` pixels high.
    pub fn new(wanted: usize, height: u32, seed: u64) -> Self {
        Self { seed, wanted, height, cameras: Vec::new(), pictures: Vec::new() }
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

    /// Makes pictures until there are `count`.
    pub fn fill_some(&mut self, teacher: &AnyField, count: usize) {
        self.know_cameras(teacher.scene());
        while self.pictures.len() < count.min(self.wanted) {
            let camera = &self.cameras[self.pictures.len()];
            self.pictures.push(values(teacher.render(camera, &RenderOptions::default()).pixels));
        }
    }

    /// Makes the pictures that step `step` (from 0) may look at: one more with each step, until all are there.
    pub fn fill_one(&mut self, teacher: &AnyField, step: u64) {
        let already = self.pictures.len();
        self.fill_some(teacher, already.max(step as usize + 1));
    }

    /// The view and picture of step `step`.
    pub fn pick(&self, step: u64) -> (&Camera, &[f32]) {
        let among = self.known_at(step);
        self.at(Rng::at(self.seed, "pick a view", step).below(among))
    }

    /// The pictures that step `step` can count on, whatever was made ahead.
    fn known_at(&self, step: u64) -> usize {
        (step as usize + 1).min(self.pictures.len()).max(1)
    }

    /// The `index`-th view and picture.
    pub fn at(&self, index: usize) -> (&Camera, &[f32]) {
        (&self.cameras[index], &self.pictures[index])
    }

    /// `n` rays through random places of random views, `[n, 3]` origins and unit directions.
    pub fn rays(&mut self, scene: &Scene, n: usize, step: u64) -> (Vec<f32>, Vec<f32>) {
        self.know_cameras(scene);
        let (mut origins, mut directions) = (vec![0.0; 3 * n], vec![0.0; 3 * n]);
        let seed = Rng::at(self.seed, "rays", step).next_u64();
        origins.par_chunks_mut(3).zip(directions.par_chunks_mut(3)).enumerate().for_each(|(i, (o, d))| {
            let mut rng = Rng::at(seed, "ray", i as u64);
            let camera = &self.cameras[rng.below(self.cameras.len())];
            let pixel = Vec2::new(rng.uniform() * camera.width as f32, rng.uniform() * camera.height as f32);
            let ray = camera.ray(pixel);
            o.copy_from_slice(&ray.origin.to_array());
            d.copy_from_slice(&ray.direction.to_array());
        });
        (origins, directions)
    }

    /// `n` rays through pixel centres of pictures that are there, with the pixels `[n, 5]`.
    pub fn rays_with_pixels(&self, n: usize, step: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (mut origins, mut directions, mut pixels) = (vec![0.0; 3 * n], vec![0.0; 3 * n], vec![0.0; 5 * n]);
        let seed = Rng::at(self.seed, "pixels", step).next_u64();
        let among = self.known_at(step);
        origins.par_chunks_mut(3).zip(directions.par_chunks_mut(3)).zip(pixels.par_chunks_mut(5)).enumerate().for_each(
            |(i, ((o, d), p))| {
                let mut rng = Rng::at(seed, "ray", i as u64);
                let (camera, picture) = self.at(rng.below(among));
                let (x, y) = (rng.below(camera.width as usize), rng.below(camera.height as usize));
                let ray = camera.ray(Vec2::new(x as f32 + 0.5, y as f32 + 0.5));
                o.copy_from_slice(&ray.origin.to_array());
                d.copy_from_slice(&ray.direction.to_array());
                p.copy_from_slice(&picture[5 * (y * camera.width as usize + x)..][..5]);
            },
        );
        (origins, directions, pixels)
    }
}
