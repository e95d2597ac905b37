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
use crate::parts::contraction::Contraction;
use crate::parts::sh;

/// Directions from which a vertex is looked at.
const LOOKS: usize = 14;
/// Vertices that are asked about at a time.
const CHUNK: usize = 4096;
/// What holds coefficients small where no camera tells them; the first function is told by any.
const RIDGE: [f64; 2] = [1e-3, 0.1];
/// Colours that a sigmoid is asked to reach.
const REACHED: [f32; 2] = [0.02, 0.98];

/// The `look`-th direction to a place in the world: from one of the cameras, or from anywhere where there is none.
fn direction(cameras: &[Vec3], place: Vec3, vertex: usize, look: usize) -> Vec3 {
    if cameras.is_empty() {
        // Evenly on the sphere: Fibonacci's spiral.
        let z = 1.0 - (2.0 * look as f32 + 1.0) / LOOKS as f32;
        let (sin, cos) = (look as f32 * 2.399_963_2).sin_cos();
        let across = (1.0 - z * z).sqrt();
        return Vec3::new(across * cos, across * sin, z);
    }
    // Evenly over the cameras, and others for the next vertex.
    let from = cameras[(look * cameras.len() / LOOKS + vertex) % cameras.len()];
    (place - from).try_normalize().unwrap_or(Vec3::Z)
}

/// The coefficients `[27]` whose colours come nearest to `rgb` `[LOOKS, 3]` along `d` `[LOOKS, 3]`: normal equations with
/// a ridge, by Cholesky.
fn fitted(colour: Colour, d: &[f32], rgb: &[f32]) -> [f32; COEFFICIENTS] {
    let mut a = [[0.0_f64; FUNCTIONS]; FUNCTIONS];
    let mut b = [[0.0_f64; 3]; FUNCTIONS];
    (0..FUNCTIONS).for_each(|k| a[k][k] = RIDGE[usize::from(k > 0)]);
    for (d, rgb) in d.chunks_exact(3).zip(rgb.chunks_exact(3)) {
        let basis = sh::eval_basis(2, Vec3::from_slice(d));
        for i in 0..FUNCTIONS {
            for j in 0..=i {
                a[i][j] += f64::from(basis[i] * basis[j]);
            }
            for c in 0..3 {
                let sum = match colour {
                    Colour::Clip => rgb[c] - 0.5,
                    Colour::Sigmoid => {
                        let held = rgb[c].clamp(REACHED[0], REACHED[1]);
                        (held / (1.0 - held)).ln()
                    }
                };
                b[i][c] += f64::from(basis[i] * sum);
            }
        }
    }
    for i in 0..FUNCTIONS {
        for j in 0..=i {
            let done: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            // The ridge keeps the diagonal above zero.
            a[i][j] = if i == j { (a[i][i] - done).max(1e-12).sqrt() } else { (a[i][j] - done) / a[j][j] };
        }
    }
    let mut out = [0.0; COEFFICIENTS];
    for c in 0..3 {
        let mut x = [0.0_f64; FUNCTIONS];
        for i in 0..FUNCTIONS {
            x[i] = (b[i][c] - (0..i).map(|k| a[i][k] * x[k]).sum::<f64>()) / a[i][i];
        }
        for i in (0..FUNCTIONS).rev() {
            x[i] = (x[i] - (i + 1..FUNCTIONS).map(|k| a[k][i] * x[k]).sum::<f64>()) / a[i][i];
        }
        (0..FUNCTIONS).for_each(|k| out[c * FUNCTIONS + k] = x[k] as f32);
    }
    out
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
        let warp = if scene.unbounded { Contraction::Ball } else { Contraction::Identity };
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
                (0..LOOKS).flat_map(|look| direction(&cameras, world, *vertex, look).to_array()).collect::<Vec<_>>()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Colours that harmonics can say are found again, and those of another direction are not.
    #[test]
    fn least_squares_find_what_is_there() {
        let mut rng = Rng::new(3, "fit");
        let truth: Vec<f32> = (0..COEFFICIENTS).map(|_| rng.range(-0.2, 0.2)).collect();
        let colour_at = |colour: Colour, d: Vec3| -> [f32; 3] {
            let basis = sh::eval_basis(2, d);
            std::array::from_fn(|c| {
                let sum: f32 = (0..FUNCTIONS).map(|k| truth[c * FUNCTIONS + k] * basis[k]).sum();
                if colour == Colour::Clip { sum + 0.5 } else { 1.0 / (1.0 + (-sum).exp()) }
            })
        };
        let looks: Vec<Vec3> = (0..LOOKS).map(|look| direction(&[], Vec3::ZERO, 0, look)).collect();
        assert!(looks.iter().all(|d| (d.length() - 1.0).abs() < 1e-5));
        let d: Vec<f32> = looks.iter().flat_map(Vec3::to_array).collect();
        for colour in [Colour::Clip, Colour::Sigmoid] {
            let rgb: Vec<f32> = looks.iter().flat_map(|d| colour_at(colour, *d)).collect();
            let found = fitted(colour, &d, &rgb);
            let worst = found.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.03, "{colour:?}: {worst}");
            let turned: Vec<f32> = d.iter().map(|v| -v).collect();
            let other = fitted(colour, &turned, &rgb);
            assert!(other.iter().zip(&truth).any(|(a, b)| (a - b).abs() > 0.1), "the comparison is too loose");
        }
    }
}
