//! Volume rendering (Kajiya and Von Herzen 1984; Max 1995; Mildenhall et al. 2020):
//! `C = Σ Tᵢ αᵢ cᵢ`, `αᵢ = 1 − exp(−σᵢ δᵢ)`, `Tᵢ = Π_{j<i} (1 − αⱼ)`, on the samples that an occupancy grid leaves.

use std::sync::Arc;

use burn::tensor::Tensor;
use retort_shaders::Camera;

use crate::data::photo_rays;
use crate::field::{Frame, RenderOptions, Volume, tensor, values};
use crate::ops::composite::composite;
use crate::ops::march::{Samples, march};
use crate::ops::pointwise::trunc_exp;
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

/// Rays rendered with their samples.
pub struct RayPicture {
    /// Premultiplied colour, alpha and depth, `[rays, 5]`.
    pub pixels: Tensor<2>,
    /// Where the field was asked.
    pub samples: Arc<Samples>,
}

/// Renders rays with everything on the gradient graph. `origins` and `directions` are `[rays, 3]`, `jitter` `[rays]`
/// shifts each ray's samples by a fraction of a step.
pub fn render_rays(volume: &dyn Volume, origins: &[f32], directions: &[f32], jitter: &[f32], stop: f32) -> RayPicture {
    let samples = Arc::new(march(origins, directions, jitter, volume.occupancy(), &volume.march_spec(), None));
    let pixels = render_samples(volume, &samples, stop);
    RayPicture { pixels, samples }
}

/// Renders samples that are there already, `[rays, 5]`.
pub fn render_samples(volume: &dyn Volume, samples: &Arc<Samples>, stop: f32) -> Tensor<2> {
    let device = volume.device();
    let rays = samples.ray_start.len() - 1;
    let n = samples.t.len();
    if n == 0 {
        return Tensor::zeros([rays, 5], &device);
    }
    let x = tensor(samples.position.clone(), [n, 3], &device);
    let d = tensor(samples.direction.clone(), [n, 3], &device);
    let latent = volume.block1(x);
    let rgb = volume.block2(latent.latent, d);
    composite(trunc_exp(latent.log_sigma), rgb, samples, stop)
}

/// The picture of a volume, ray chunk by ray chunk, so that memory does not grow with the picture.
pub fn render(volume: &dyn Volume, camera: &Camera, options: &RenderOptions) -> Frame {
    let tracked = volume.device().is_autodiff();
    let rows = (options.chunk as u32 / camera.width.max(1)).max(1);
    let mut parts = Vec::new();
    for first in (0..camera.height).step_by(rows as usize) {
        let (origins, directions) = photo_rays(camera, first..camera.height.min(first + rows));
        let jitter = vec![0.5; origins.len() / 3];
        let samples = Arc::new(march(&origins, &directions, &jitter, volume.occupancy(), &volume.march_spec(), None));
        parts.push(if tracked {
            render_samples(volume, &samples, options.stop)
        } else {
            render_live(volume, &samples, options.stop)
        });
    }
    let pixels = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) };
    Frame { pixels, width: camera.width, height: camera.height }
}

/// Renders without gradients, asking for colour only where light still arrives: about half of the samples of an
/// opaque scene lie behind its surface.
fn render_live(volume: &dyn Volume, samples: &Samples, stop: f32) -> Tensor<2> {
    match see(volume, samples, stop) {
        Some(seen) => composite(seen.sigma, seen.rgb, &seen.samples, stop),
        None => Tensor::zeros([samples.ray_start.len() - 1, 5], &volume.device()),
    }
}

/// What a field is at the samples that its own light reaches.
pub struct Seen {
    /// Those samples, packed by ray as before.
    pub samples: Arc<Samples>,
    /// Density per scene unit, `[n, 1]`.
    pub sigma: Tensor<2>,
    /// Clamped log-density, `[n, 1]`.
    pub log_sigma: Tensor<2>,
    /// Latent, `[n, k]`.
    pub latent: Tensor<2>,
    /// Colour, `[n, 3]`.
    pub rgb: Tensor<2>,
}

/// Asks a field, without gradients, for density everywhere and for colour up to where less than `stop` of a ray's
/// light is left; `None` where no sample is left.
pub fn see(volume: &dyn Volume, samples: &Samples, stop: f32) -> Option<Seen> {
    let device = volume.device();
    let n = samples.t.len();
    if n == 0 {
        return None;
    }
    let all = volume.block1(tensor(samples.position.clone(), [n, 3], &device));
    let log_sigma = values(all.log_sigma);
    let sigma: Vec<f32> = log_sigma.iter().map(|l| l.exp()).collect();
    let (rows, lit) = lit_samples(samples, &sigma, stop);
    let kept = rows.len();
    if kept == 0 {
        return None;
    }
    let take = |source: &[f32], width: usize| {
        let chosen = rows.iter().flat_map(|&i| source[i as usize * width..][..width].iter().copied()).collect();
        tensor(chosen, [kept, width], &device)
    };
    let width = all.latent.dims()[1];
    let latent = take(&values(all.latent), width);
    let rgb = volume.block2(latent.clone(), tensor(lit.direction.clone(), [kept, 3], &device));
    Some(Seen { sigma: take(&sigma, 1), log_sigma: take(&log_sigma, 1), samples: Arc::new(lit), latent, rgb })
}

/// The samples before each ray's end, and their old rows.
fn lit_samples(samples: &Samples, sigma: &[f32], stop: f32) -> (Vec<u32>, Samples) {
    let counts = crate::ops::composite::cpu::live_count(&samples.ray_start, sigma, &samples.dt, stop);
    let mut rows = Vec::new();
    let mut lit = Samples { ray_start: vec![0], ..Samples::default() };
    for (ray, &count) in counts.iter().enumerate() {
        let start = samples.ray_start[ray];
        let range = start as usize..(start + count) as usize;
        rows.extend(start..start + count);
        lit.position.extend_from_slice(&samples.position[3 * range.start..3 * range.end]);
        lit.direction.extend_from_slice(&samples.direction[3 * range.start..3 * range.end]);
        lit.t.extend_from_slice(&samples.t[range.clone()]);
        lit.dt.extend_from_slice(&samples.dt[range]);
        lit.ray_start.push(rows.len() as u32);
    }
    (rows, lit)
}

/// Asks the field for its density at cells of its grid and updates the grid (Müller et al. 2022, appendix E.2):
/// values decay by `decay`, fresh ones are taken where larger, and cells below `min(limit, mean)` count as empty.
/// The unit is optical thickness over one step.
pub fn refresh_occupancy(volume: &mut dyn Volume, seed: u64, step: u32, warm_up: bool, decay: f32, limit: f32) {
    let mut grid = Occupancy::clone(volume.occupancy());
    let spacing = volume.march_spec().step;
    let mut rng = Rng::at(seed, "occupancy", u64::from(step));
    let (cells, points) = grid.refresh_points(&mut rng, warm_up);
    let device = volume.device();
    let n = cells.len();
    const CHUNK: usize = 65_536;
    let mut fresh = Vec::with_capacity(n);
    for first in (0..n).step_by(CHUNK) {
        let count = CHUNK.min(n - first);
        let x = tensor(points[3 * first..3 * (first + count)].to_vec(), [count, 3], &device);
        fresh.extend(values(volume.block1(x).log_sigma).into_iter().map(|l| l.exp() * spacing));
    }
    grid.update(decay, &cells, &fresh);
    grid.threshold(limit);
    volume.set_occupancy(Arc::new(grid));
}
