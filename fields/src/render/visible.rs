//! What a set of views can see: cells that lie in no picture are given up for good (as instant-ngp does, Müller et al.
//! 2022), and so are cells in which no ray's light ends (Plenoxels, Fridovich-Keil et al. 2022, prune by this weight).
//!
//! Without the first, an unbounded scene keeps fog where no photo says otherwise, and every ray pays for it.

use std::sync::Arc;

use glam::Vec3;
use rayon::prelude::*;
use retort_shaders::Camera;

use crate::field::{Scene, Volume, values};
use crate::ops::composite::cpu::weights;
use crate::ops::march::march;
use crate::parts::occupancy::Occupancy;
use crate::render::volume::see;

/// Rays asked for at a time.
const CHUNK: usize = 4096;

/// Empties for good the cells of `grid` that lie in none of the pictures.
pub fn exclude_unseen(grid: &mut Occupancy, scene: &Scene, cameras: &[Camera]) {
    let warp = scene.warp();
    let cells = (grid.resolution() as usize).pow(3);
    let half = 0.5 / grid.cells_per_unit();
    let views: Vec<View> = cameras.iter().map(View::of).collect();
    let seen: Vec<bool> = (0..cells)
        .into_par_iter()
        .map(|cell| {
            let centre = grid.cell_centre(cell);
            let world = warp.inverse(centre);
            // A sphere around the cell, in the world: contraction stretches cells along the radius.
            let outer = warp.inverse(centre + half.length() * centre.normalize_or_zero());
            let radius = outer.distance(world).max(half.length());
            views.iter().any(|view| view.sees(world, radius))
        })
        .collect();
    grid.exclude_cells(|cell| !seen[cell]);
}

/// A camera with the cone around its pictures' corners.
struct View {
    position: Vec3,
    forward: Vec3,
    /// Of the cone's half angle.
    cos: f32,
    sin: f32,
}

impl View {
    fn of(camera: &Camera) -> Self {
        let (w, h) = (camera.width as f32, camera.height as f32);
        let forward = camera.forward();
        let corners = [[0.0, 0.0], [w, 0.0], [0.0, h], [w, h], [0.0, 0.5 * h], [w, 0.5 * h]];
        let cos = corners.iter().map(|&c| camera.ray(c.into()).direction.dot(forward)).fold(1.0, f32::min);
        Self { position: camera.position(), forward, cos, sin: (1.0 - cos * cos).max(0.0).sqrt() }
    }

    /// Whether a sphere touches the cone. (The pictures' corners are in it, so a little more than the picture is seen.)
    fn sees(&self, centre: Vec3, radius: f32) -> bool {
        let away = centre - self.position;
        let along = away.dot(self.forward);
        let across = (away.length_squared() - along * along).max(0.0).sqrt();
        if along < -radius {
            return false;
        }
        // The distance to the cone's side, positive outside.
        across * self.cos - along * self.sin <= radius
    }
}

/// Cells of a grid like the volume's in which a sample of these rays has more than `least` of a pixel's colour.
/// `rays` gives origins and unit directions `[n, 3]` batch by batch.
pub fn reached(volume: &dyn Volume, rays: impl Iterator<Item = (Vec<f32>, Vec<f32>)>, least: f32) -> Occupancy {
    let mut grid = Occupancy::new_empty(volume.occupancy().resolution(), volume.occupancy().bounds());
    for (origins, directions) in rays {
        for (origins, directions) in origins.chunks(3 * CHUNK).zip(directions.chunks(3 * CHUNK)) {
            let jitter = vec![0.5; origins.len() / 3];
            let samples = march(origins, directions, &jitter, volume.occupancy(), &volume.march_spec(), None);
            let Some(seen) = see(volume, &Arc::new(samples), 1e-4) else { continue };
            let mut weight = vec![0.0; seen.samples.t.len()];
            weights(&seen.samples.ray_start, &values(seen.sigma), &seen.samples.dt, 1e-4, &mut weight);
            for (position, _) in seen.samples.position.chunks_exact(3).zip(&weight).filter(|(_, w)| **w > least) {
                let at = Vec3::from_slice(position);
                grid.mark(at, at, |_| true);
            }
        }
    }
    grid
}
