//! A voxel grid without training: another field is asked at every vertex. Its density is taken as it is; its colour, seen
//! from some of the scene's cameras, gives the harmonics by least squares.

use std::sync::Arc;

use glam::Vec3;
use rayon::prelude::*;

use super::shape::{check_rows, links_within, places};
use super::{Density, Voxels};
use crate::error::Result;
use crate::field::{Source, tensor};
use crate::ops::voxels::Colour;
use crate::ops::voxels::colour::{COEFFICIENTS, FUNCTIONS};
use crate::parts::looks::{self, direction, logit};

/// Directions from which a vertex is looked at.
const LOOKS: usize = 14;
/// Vertices that are asked about at a time.
const CHUNK: usize = 4096;
/// What holds coefficients small where no camera tells them; the first function is told by any.
const RIDGE: [f64; 2] = [1e-3, 0.1];

/// The coefficients `[27]` whose colours come nearest to `rgb` `[LOOKS, 3]` along `d` `[LOOKS, 3]`.
fn fitted(colour: Colour, d: &[f32], rgb: &[f32]) -> [f32; COEFFICIENTS] {
    let sums = rgb.iter().map(|rgb| match colour {
        Colour::Clip => rgb - 0.5,
        Colour::Sigmoid => logit(*rgb),
    });
    let sums: Vec<f32> = sums.collect();
    let found = looks::fitted::<FUNCTIONS>(d, &sums, RIDGE);
    std::array::from_fn(|i| found[i / FUNCTIONS][i % FUNCTIONS])
}

impl Voxels {
    /// See [`crate::field::Volume::take_over`].
    pub(super) fn taken_over(&mut self, source: &Source<'_>) -> Result<bool> {
        let resolution = source.resolution.unwrap_or(self.config.resolution);
        let links = links_within(&self.config, &self.core.scene, resolution, &self.core.occupancy)?;
        if links.rows() == 0 {
            return Ok(false);
        }
        check_rows(links.rows(), resolution)?;
        let scene = &self.core.scene;
        let warp = scene.warp();
        let cameras: Vec<Vec3> = scene.cameras.iter().map(|pose| pose.position).collect();
        let vertices: Vec<usize> = links.vertices().collect();
        let [low, high] = self.config.volume.log_sigma_range;
        let (mut density, mut harmonics) = (Vec::with_capacity(vertices.len()), Vec::new());
        for vertices in vertices.chunks(CHUNK) {
            let unit = places(&links, vertices);
            let at = |p: &[f32; 3]| scene.bounds.min + Vec3::from(*p) * scene.bounds.size();
            let x: Vec<Vec3> = unit.as_chunks::<3>().0.iter().map(at).collect();
            let looks = |(place, vertex): (&Vec3, &usize)| {
                let world = warp.inverse(*place);
                (0..LOOKS)
                    .flat_map(|look| direction(&cameras, world, *vertex, look, LOOKS).to_array())
                    .collect::<Vec<_>>()
            };
            let d: Vec<f32> = x.iter().zip(vertices).flat_map(looks).collect();
            let x: Vec<f32> = x.iter().flat_map(Vec3::to_array).collect();
            let said = (source.ask)(&x, &d);
            density.extend(said.log_sigma.iter().map(|log| match self.config.density {
                Density::Exp => log.clamp(low, high),
                Density::Linear => log.min(high).exp(),
            }));
            let colour = self.config.colour;
            let rows = d.par_chunks(3 * LOOKS).zip(said.rgb.par_chunks(3 * LOOKS)).with_min_len(64);
            let fits: Vec<_> = rows.map(|(d, rgb)| fitted(colour, d, rgb)).collect();
            harmonics.extend(fits.into_iter().flatten());
        }
        if density.iter().chain(&harmonics).any(|v| !v.is_finite()) {
            return Ok(false);
        }
        let device = self.density.device();
        self.density = tensor(density, [vertices.len(), 1], &device);
        self.sh = tensor(harmonics, [vertices.len(), COEFFICIENTS], &device);
        self.config.resolution = resolution;
        self.links = Arc::new(links);
        Ok(true)
    }
}
