//! Training a field from photos.
//!
//! Volumes see batches of rays mixed over all photos (Mildenhall et al. 2020; Müller et al. 2022); primitives see whole
//! photos, one a step (Kerbl et al. 2023: `(1 − λ) L1 + λ (1 − SSIM)`).

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_fields::data::{Dataset, Photo, RayBatch, Split, draw_rays, undistorted};
use retort_fields::error::{Error, Result};
use retort_fields::field::{Frame, ProbedFrame, RenderOptions, Scene, Seed, over, tensor, values};
use retort_fields::ops::ssim::ssim;
use retort_fields::parts::occupancy::Occupancy;
use retort_fields::registry::AnyField;
use retort_fields::render::visible::exclude_unseen;
use retort_fields::render::volume;
use retort_fields::rng::Rng;
use retort_shaders::Camera;

use crate::loss::difference;
use crate::own_space::{OwnSpace, STOP, fill};
use crate::preset::{Loss, Preset, TrainConfig};
use crate::run::{Extra, REACH_RAYS, Run, RunOptions};
use crate::task::{Outcome, Progress, Task};

/// Rays of held-out photos on which progress is measured.
const PROBE_RAYS: usize = 8192;

/// Training from photos.
pub struct Train {
    data: Arc<Dataset>,
    /// Photos that primitives are drawn against, without distortion; empty for volumes.
    flat: Vec<Photo>,
    config: TrainConfig,
    run: Run,
    work: String,
    sees_alpha: bool,
    /// Of volumes.
    own_space: OwnSpace,
}

impl Train {
    /// Training of a new field of the preset's kind.
    ///
    /// # Errors
    /// When there is no photo to train on, or a value of the preset is out of its range.
    pub fn new(data: Arc<Dataset>, preset: &Preset, options: &RunOptions, device: &Device) -> Result<Self> {
        let scene = Scene::from(&*data);
        let mut field = preset.field.init(&scene, options.seed, device)?;
        if let Some(volume) = field.as_volume_mut() {
            let cameras: Vec<_> = data.split(Split::Train).iter().map(|p| p.camera.clone()).collect();
            let mut grid = Occupancy::clone(volume.occupancy());
            exclude_unseen(&mut grid, &scene, &cameras);
            volume.set_occupancy(Arc::new(grid));
        }
        if let Some(primitives) = field.as_primitives_mut() {
            let seeds = seeds_of(&data);
            if !seeds.is_empty() {
                primitives.plant(&seeds, device);
            }
        }
        let run = Run::new(&field, &preset.train.run(), options)?;
        let train = data.split(Split::Train);
        if train.is_empty() {
            return Err(Error::new("there is no photo to train on").file(&data.path).remedy("check the split files"));
        }
        let flat =
            if field.as_primitives().is_some() { train.iter().map(|p| undistorted(p)).collect() } else { Vec::new() };
        let sees_alpha = train.iter().any(|p| p.has_alpha());
        let name = data.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let work = format!("train {} on {name}", preset.field.kind());
        let own_space = OwnSpace::new(&field, &preset.train);
        Ok(Self { data, flat, config: preset.train.clone(), run, work, sees_alpha, own_space })
    }

    /// Training that goes on from a checkpoint.
    ///
    /// # Errors
    /// As [`Train::new`], or when the checkpoint is of other work or damaged.
    pub fn resume(
        data: Arc<Dataset>,
        preset: &Preset,
        path: &Path,
        options: &RunOptions,
        device: &Device,
    ) -> Result<Self> {
        let mut train = Self::new(data, preset, options, device)?;
        let extra = train.run.restore(path, &train.work)?;
        train.own_space.restore(&extra.json);
        Ok(train)
    }

    fn volume_step(&mut self) -> Result<Option<f32>> {
        let (data, seed, step) = (Arc::clone(&self.data), self.run.seed(), self.run.step);
        let photos = data.split(Split::Train);
        let pixels = photos.iter().map(|p| p.camera.width as usize * p.camera.height as usize).sum();
        self.run.grow(pixels, |i| {
            let batch = draw_rays(&photos, REACH_RAYS, seed ^ 0x9A0E, i);
            (batch.origins, batch.directions)
        })?;
        let rays = self.own_space.refreshed(&mut self.run, self.config.rays);
        let batch = draw_rays(&photos, rays, seed, u64::from(step));
        let backdrop = self.config.background.colours(batch.len(), seed, step);
        let picture = self.own_space.seen_along(&self.run, &batch.origins, &batch.directions, &backdrop)?;
        let target = tensor(target_of(&batch, &backdrop), [batch.len(), 3], &picture.device());
        self.run.descend(difference(picture, target, self.config.loss), |_| 1.0, |_, _| ())
    }

    fn primitives_step(&mut self) -> Result<Option<f32>> {
        let (seed, step) = (self.run.seed(), self.run.step);
        let photo = &self.flat[Rng::at(seed, "photo", u64::from(step)).below(self.flat.len())];
        let backdrop = if self.sees_alpha { self.config.background.colours(1, seed, step) } else { vec![0.0; 3] };
        let backdrop = [backdrop[0], backdrop[1], backdrop[2]];
        let Some(primitives) = self.run.field.as_primitives() else { return Err(Error::new("not primitives")) };
        let probed = primitives.render_probed(&photo.camera, step / self.config.sh_every.max(1));
        let device = probed.frame.pixels.device();
        let (width, height) = (photo.camera.width, photo.camera.height);
        let target = tensor(photo.rgb_over(backdrop), [(width * height) as usize, 3], &device);
        let loss = picture_loss(&probed.frame, target, photo, backdrop, self.config.loss, self.config.ssim);
        descend_primitives(&mut self.run, loss, &photo.camera, probed, true)
    }

    /// PSNR on held-out photos: random rays for volumes, one picture for primitives.
    fn probe(&self) -> Option<f32> {
        let held =
            [Split::Test, Split::Val, Split::Train].into_iter().map(|s| self.data.split(s)).find(|p| !p.is_empty())?;
        let field = self.run.current();
        let mut squares = 0.0_f64;
        let mut count = 0_usize;
        let mut add = |a: &[f32], b: &[f32]| {
            squares += a.iter().zip(b).map(|(a, b)| f64::from(a.clamp(0.0, 1.0) - b).powi(2)).sum::<f64>();
            count += a.len();
        };
        if let Some(volume) = field.as_volume() {
            let batch = draw_rays(&held, PROBE_RAYS, 0, 0);
            let jitter = vec![0.5; batch.len()];
            let picture = volume::render_rays(volume, &batch.origins, &batch.directions, &jitter, STOP);
            let backdrop = vec![1.0; 3 * batch.len()];
            add(&values(fill(picture, &backdrop)), &target_of(&batch, &backdrop));
        } else {
            let photo = undistorted(held[self.run.step as usize % held.len()]);
            let frame = field.render(&photo.camera, &RenderOptions::default());
            add(&frame.rgb_over([1.0; 3]), &photo.rgb_over([1.0; 3]));
        }
        Some((-10.0 * (squares / count.max(1) as f64).log10()) as f32)
    }
}

/// [`Run::descend`] for the loss of one picture of primitives, as [`retort_fields::field::Primitives::render_probed`]
/// gave it, with density control where `densifies` says so. Rates of places are in units of the scene's extent.
///
/// # Errors
/// As [`Run::descend`].
pub(crate) fn descend_primitives(
    run: &mut Run,
    loss: Tensor<1>,
    camera: &Camera,
    probed: ProbedFrame,
    densifies: bool,
) -> Result<Option<f32>> {
    let ProbedFrame { probe, radii, .. } = probed;
    let extent = run.field.scene().extent;
    let scale = |group: &str| if group == "means" { extent } else { 1.0 };
    let done = run.descend(loss, scale, |field, grads| {
        let grad = probe.grad_remove(grads).map(values);
        if let (Some(primitives), Some(grad)) = (field.as_primitives_mut(), grad) {
            primitives.observe(camera, &grad, &radii);
        }
    })?;
    if done.is_some() && densifies {
        densify(run);
    }
    Ok(done)
}

/// Clones, splits and prunes, and lets the optimiser follow.
fn densify(run: &mut Run) {
    let mut rng = Rng::at(run.seed(), "density control", u64::from(run.step));
    let step = run.step;
    // Parameters change by rows: outside the graph, then back onto it.
    let mut frozen = run.field.frozen();
    let events = frozen.as_primitives_mut().map(|p| p.densify(step, &mut rng)).unwrap_or_default();
    if !events.is_empty() {
        run.follow(&frozen, &events);
    }
}

/// What the photos show over a backdrop for each ray `[n, 3]`, `[n, 3]`.
fn target_of(batch: &RayBatch, backdrop: &[f32]) -> Vec<f32> {
    let each = batch.colours.iter().zip(backdrop).enumerate();
    each.map(|(i, (c, b))| c * batch.alphas[i / 3] + b * (1.0 - batch.alphas[i / 3])).collect()
}

fn picture_loss(
    frame: &Frame,
    target: Tensor<2>,
    photo: &Photo,
    backdrop: [f32; 3],
    loss: Loss,
    ssim_share: f32,
) -> Tensor<1> {
    let mut picture = over(frame.pixels.clone(), backdrop);
    if let Some(mask) = &photo.mask {
        let device = picture.device();
        let keep: Vec<f32> = mask.iter().map(|&m| f32::from(u8::from(m != 0))).collect();
        let keep = tensor(keep, [mask.len(), 1], &device);
        // Where the mask says ignore, the picture is taken to be right.
        picture = picture * keep.clone() + target.clone() * keep.neg().add_scalar(1.0);
    }
    let plain = difference(picture.clone(), target.clone(), loss);
    if ssim_share == 0.0 {
        return plain;
    }
    let likeness = ssim(picture, target, frame.width, frame.height).reshape([1]);
    plain * (1.0 - ssim_share) + likeness.neg().add_scalar(1.0) * ssim_share
}

/// Starting points from a sparse reconstruction, each as wide as the distance to its neighbours.
fn seeds_of(data: &Dataset) -> Vec<Seed> {
    let positions: Vec<[f32; 3]> = data.points.iter().map(|p| p.position).collect();
    let spacing = crate::neighbours::spacing(&positions);
    data.points
        .iter()
        .zip(spacing)
        .map(|(p, scale)| Seed::round(p.position, p.colour.map(|c| f32::from(c) / 255.0), scale, 0.1))
        .collect()
}

impl Task for Train {
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>> {
        if self.run.is_over()? {
            return Ok(self.run.outcome(self.probe()));
        }
        let loss = if self.run.field.as_volume().is_some() { self.volume_step()? } else { self.primitives_step()? };
        let psnr = self.run.measures().then(|| self.probe()).flatten();
        Ok(self.run.progress("photos", loss, psnr))
    }

    fn current(&self) -> AnyField {
        self.run.current()
    }

    fn save_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.run.save(path, &self.work, Extra { json: self.own_space.save(), ..Extra::default() })
    }

    fn kind_of_work(&self) -> &'static str {
        "training"
    }
}
