//! Volume rendering (Kajiya and Von Herzen 1984; Max 1995; Mildenhall et al. 2020):
//! `C = Σ Tᵢ αᵢ cᵢ`, `αᵢ = 1 − exp(−σᵢ δᵢ)`, `Tᵢ = Π_{j<i} (1 − αⱼ)`, on the samples that an occupancy grid leaves.

use std::sync::Arc;

use burn::tensor::Tensor;
use retort_shaders::Camera;

use crate::data::photo_rays;
use crate::field::{Frame, RenderOptions, Volume, tensor, values};
use crate::ops::composite::composite;
use crate::ops::march::gpu::DeviceSamples;
use crate::ops::march::{Marched, Samples, march_on};
use crate::ops::pointwise::trunc_exp;
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

/// Renders rays with everything on the gradient graph: premultiplied colour, alpha and depth, `[rays, 5]`. `origins` and
/// `directions` are `[rays, 3]`, `jitter` `[rays]` shifts each ray's samples by a fraction of a step.
pub fn render_rays(volume: &dyn Volume, origins: &[f32], directions: &[f32], jitter: &[f32], stop: f32) -> Tensor<2> {
    render_samples(volume, found(volume, origins, directions, jitter), stop)
}

/// The samples of rays, on the field's device.
fn found(volume: &dyn Volume, origins: &[f32], directions: &[f32], jitter: &[f32]) -> Marched {
    march_on(&volume.device(), origins, directions, jitter, volume.occupancy(), &volume.march_spec())
}

/// Renders samples that are there already, `[rays, 5]`.
pub fn render_samples(volume: &dyn Volume, samples: impl Into<Marched>, stop: f32) -> Tensor<2> {
    let (device, samples) = (volume.device(), samples.into());
    if samples.count() == 0 {
        return Tensor::zeros([samples.rays(), 5], &device);
    }
    let latent = volume.block1(samples.position(&device));
    let rgb = volume.block2(latent.latent, samples.direction(&device));
    composite(trunc_exp(latent.log_sigma), rgb, &samples, stop)
}

/// The picture of a volume, ray chunk by ray chunk, so that memory does not grow with the picture.
pub fn render(volume: &dyn Volume, camera: &Camera, options: &RenderOptions) -> Frame {
    let tracked = volume.device().is_autodiff();
    let rows = (options.chunk as u32 / camera.width.max(1)).max(1);
    let mut parts = Vec::new();
    for first in (0..camera.height).step_by(rows as usize) {
        let (origins, directions) = photo_rays(camera, first..camera.height.min(first + rows));
        let jitter = vec![0.5; origins.len() / 3];
        match found(volume, &origins, &directions, &jitter) {
            Marched::Host(samples) if !tracked => parts.push(render_live(volume, &samples, options.stop)),
            Marched::Gpu(samples) if !tracked => parts.extend(render_pieces(volume, &samples, options.stop)),
            samples => parts.push(render_samples(volume, &samples, options.stop)),
        }
    }
    let pixels = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) };
    Frame { pixels, width: camera.width, height: camera.height }
}

/// Samples that a picture on a GPU asks a field for at a time: 64 values of each fill half of the 128 MiB that every
/// device binds.
const ASKED: usize = 1 << 18;

/// Renders without gradients on a GPU. Everything is asked for, hidden or not: the samples never leave the device, and
/// to find out what is hidden would make the device wait for the host at every segment.
fn render_pieces(volume: &dyn Volume, samples: &DeviceSamples, stop: f32) -> Vec<Tensor<2>> {
    let pieces = samples.pieces(ASKED).into_iter();
    pieces.map(|piece| render_samples(volume, Marched::Gpu(Arc::new(piece)), stop)).collect()
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

/// Samples of a ray that are asked for at a time: an opaque scene ends most rays within the first such segment, and a
/// contracted one has hundreds of samples behind its surfaces.
const SEGMENT: u32 = 48;

/// Asks a field, without gradients, for density and colour up to where less than `stop` of a ray's light is left;
/// `None` where no sample is left.
///
/// The host leads, on every device: where a ray ends decides what is asked next, and the lessons of a conversion need
/// the rows that are left in host memory as well.
pub fn see(volume: &dyn Volume, samples: &Samples, stop: f32) -> Option<Seen> {
    asked(volume, samples, stop, SEGMENT, true).seen(volume, samples)
}

/// The samples that the field's own light reaches, as [`see`] finds them, without a word on what they show: training
/// puts only these on its gradient graph, and gets the gradients that all would give. In an unbounded scene nine of ten
/// samples lie behind surfaces, and to ask for a density costs a quarter of a training step's share.
pub fn lit(volume: &dyn Volume, samples: &Samples, stop: f32) -> Samples {
    let found = asked(volume, samples, stop, TRAINING_SEGMENT, false);
    let mut rows = found.rows;
    rows.sort_unstable();
    picked(samples, &rows)
}

/// Segments are shorter where one wasted sample costs a fourth of one that counts.
const TRAINING_SEGMENT: u32 = 16;

/// Asks segment by segment; what was found there is kept where `keep` says so.
fn asked(volume: &dyn Volume, samples: &Samples, stop: f32, segment: u32, keep: bool) -> Found {
    let device = volume.device();
    let rays = samples.ray_start.len().saturating_sub(1);
    let mut light = vec![1.0_f32; rays];
    let mut next: Vec<u32> = samples.ray_start[..rays].to_vec();
    let mut alive: Vec<u32> = (0..rays as u32).collect();
    let mut found = Found::default();
    while !alive.is_empty() {
        let end = |ray: u32, next: &[u32]| {
            samples.ray_start[ray as usize + 1].min(next[ray as usize].saturating_add(segment))
        };
        let rows: Vec<u32> = alive.iter().flat_map(|&ray| next[ray as usize]..end(ray, &next)).collect();
        if rows.is_empty() {
            break;
        }
        let x = gathered(&samples.position, 3, &rows);
        let x = tensor(x, [rows.len(), 3], &device);
        let (log_sigma, latent) = if keep {
            let asked = volume.block1(x);
            found.width = asked.latent.dims()[1];
            (values(asked.log_sigma), values(asked.latent))
        } else {
            (values(volume.log_sigma(x)), Vec::new())
        };
        let mut k = 0;
        alive.retain(|&ray| {
            let (first, last) = (next[ray as usize], end(ray, &next));
            let before = k;
            k += (last - first) as usize;
            next[ray as usize] = last;
            let light = &mut light[ray as usize];
            for (row, k) in (first..last).zip(before..) {
                // Not `light >= stop`: a NaN goes on, so that it is seen in the picture.
                if *light < stop {
                    return false;
                }
                found.rows.push(row);
                if keep {
                    found.log_sigma.push(log_sigma[k]);
                    found.latent.extend_from_slice(&latent[k * found.width..][..found.width]);
                }
                *light *= (-log_sigma[k].exp() * samples.dt[row as usize]).exp();
            }
            last < samples.ray_start[ray as usize + 1] && !(*light < stop)
        });
    }
    found
}

/// The rows of `source` `[n, width]`, one after the other.
fn gathered(source: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    rows.iter().flat_map(|&row| source[row as usize * width..][..width].iter().copied()).collect()
}

/// The `rows` of `samples`, in rising order, packed by ray as before.
fn picked(samples: &Samples, rows: &[u32]) -> Samples {
    Samples {
        ray_start: samples.ray_start.iter().map(|&end| rows.partition_point(|&row| row < end) as u32).collect(),
        position: gathered(&samples.position, 3, rows),
        direction: gathered(&samples.direction, 3, rows),
        t: gathered(&samples.t, 1, rows),
        dt: gathered(&samples.dt, 1, rows),
    }
}

/// What was found segment by segment, in the order of asking.
#[derive(Default)]
struct Found {
    rows: Vec<u32>,
    log_sigma: Vec<f32>,
    latent: Vec<f32>,
    width: usize,
}

impl Found {
    /// Brings everything back into the order of rays and asks for colour.
    fn seen(self, volume: &dyn Volume, samples: &Samples) -> Option<Seen> {
        let kept = self.rows.len();
        if kept == 0 {
            return None;
        }
        let mut order: Vec<u32> = (0..kept as u32).collect();
        order.sort_unstable_by_key(|&k| self.rows[k as usize]);
        let rows: Vec<u32> = order.iter().map(|&k| self.rows[k as usize]).collect();
        let log_sigma = gathered(&self.log_sigma, 1, &order);
        let sigma: Vec<f32> = log_sigma.iter().map(|l| l.exp()).collect();
        let lit = picked(samples, &rows);
        let device = volume.device();
        let latent = tensor(gathered(&self.latent, self.width, &order), [kept, self.width], &device);
        let rgb = volume.block2(latent.clone(), tensor(lit.direction.clone(), [kept, 3], &device));
        Some(Seen {
            sigma: tensor(sigma, [kept, 1], &device),
            log_sigma: tensor(log_sigma, [kept, 1], &device),
            samples: Arc::new(lit),
            latent,
            rgb,
        })
    }
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
        fresh.extend(values(volume.log_sigma(x)).into_iter().map(|l| l.exp() * spacing));
    }
    grid.update(decay, &cells, &fresh);
    grid.threshold(limit);
    volume.set_occupancy(Arc::new(grid));
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, DeviceKind};

    use super::*;
    use crate::field::Scene;
    use crate::ops::gpu::testing;
    use crate::registry::{AnyField, FieldConfig};

    /// A fresh field is a fog of density about 1, through which rays end after 9 units; a larger `scale` is denser.
    fn fog(scale: f32, device: &Device) -> AnyField {
        let config: FieldConfig = serde_json::from_value(serde_json::json!({
            "kind": "hash", "levels": 3, "features": 2, "log2_table_size": 10, "base_resolution": 4,
            "finest_resolution": 16, "sigma_hidden": [16],
            "volume": { "latent": 3, "colour_hidden": [16], "log_sigma_range": [-4.0, 7.0],
                        "occupancy_resolution": 16, "samples_per_diagonal": 300, "cone_angle": 0.0 }
        }))
        .expect("a hash field");
        let field = config.init(&Scene::default(), 3, device).expect("sound");
        field.map(|t| if t.dims()[0] == 1 { t * scale } else { t * (3000.0 * scale) })
    }

    fn view() -> Camera {
        Camera::look_at(glam::Vec3::new(2.5, 1.0, 0.5), glam::Vec3::ZERO, glam::Vec3::Z, 0.7, 24, 16)
    }

    /// What is asked for segment by segment shows the same picture as everything at once.
    #[test]
    fn segments_show_what_the_whole_shows() {
        let (origins, directions) = photo_rays(&view(), 0..16);
        for scale in [1.0_f32, 40.0] {
            let field = fog(scale, &Device::flex());
            let volume = field.as_volume().expect("a volume");
            let samples = found(volume, &origins, &directions, &[0.5; 384]).to_host();
            assert!(samples.t.len() > 384 * SEGMENT as usize, "rays have several segments");
            let whole = values(render_samples(volume, &samples, 1e-4));
            let parts = values(render_live(volume, &samples, 1e-4));
            let worst = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "scale {scale}: {worst}");
            let seen = see(volume, &samples, 1e-4).expect("something");
            assert!(scale == 1.0 || seen.samples.t.len() < samples.t.len(), "a dense field ends its rays");
            // The negative control: another end of rays is another picture, where rays do not end at once.
            let short = values(render_live(volume, &samples, 0.9));
            let differs = whole.iter().zip(&short).any(|(a, b)| (a - b).abs() > 1e-3);
            assert!(differs || scale > 1.0, "an early end shows in the fog");
        }
    }

    #[test]
    fn a_gpu_shows_what_the_cpu_shows() {
        testing::device();
        let gpu = Device::wgpu(DeviceKind::DefaultDevice);
        let options = RenderOptions { chunk: 100, ..RenderOptions::default() };
        let picture = |device: &Device, tracked: bool| {
            let field = fog(1.0, device);
            let field = if tracked { field.trainable() } else { field };
            values(field.render(&view(), &options).pixels)
        };
        let expected = picture(&Device::flex(), false);
        for tracked in [false, true] {
            testing::assert_close("the picture", &picture(&gpu, tracked), &expected, 1e-4);
        }
    }

    #[test]
    fn pieces_show_what_the_whole_shows() {
        testing::device();
        let field = fog(1.0, &Device::wgpu(DeviceKind::DefaultDevice));
        let volume = field.as_volume().expect("a volume");
        let (origins, directions) = photo_rays(&view(), 0..16);
        let samples = found(volume, &origins, &directions, &[0.5; 384]);
        let Marched::Gpu(on) = &samples else { panic!("a field on a GPU marches there") };
        let whole = values(render_samples(volume, &samples, 1e-4));
        // With the least, every ray that has samples is on its own.
        for (most, least) in [(usize::MAX, 1), (3000, 10), (1, 100)] {
            let pieces: Vec<_> = on.pieces(most).into_iter().map(|p| Marched::Gpu(Arc::new(p))).collect();
            assert!(pieces.len() >= least && pieces.iter().all(|p| p.count() <= most || p.rays() == 1));
            assert_eq!(pieces.iter().map(Marched::rays).sum::<usize>(), 384);
            if least == 10 {
                let parts: Vec<f32> =
                    pieces.iter().flat_map(|piece| values(render_samples(volume, piece, 1e-4))).collect();
                testing::assert_close("the picture", &parts, &whole, 1e-6);
                // The negative control: the pieces in another order.
                let turned = pieces.iter().rev().flat_map(|piece| values(render_samples(volume, piece, 1e-4)));
                assert!(testing::difference(&turned.collect::<Vec<_>>(), &whole) > 1e-2);
            }
        }
        let empty = found(volume, &[9.0; 6], &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0], &[0.5; 2]);
        let Marched::Gpu(empty) = empty else { panic!("a field on a GPU marches there") };
        assert_eq!(render_pieces(volume, &empty, 1e-4).len(), 1);
        assert!(values(render_pieces(volume, &empty, 1e-4).remove(0)).iter().all(|&v| v == 0.0));
    }
}
