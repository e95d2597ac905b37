//! Progressive volume distillation (Fang et al., "One is All: Bridging the Gap Between Neural Radiance Fields
//! Architectures with Progressive Volume Distillation", AAAI 2023), extended to Gaussians.
//!
//! A student of one kind learns a teacher of another, level by level: latents, then densities and colours at points,
//! then pixels. Views are drawn, photos are not needed. The student inherits where the teacher is empty, and its colour
//! network where both have the same. A level that a pair has no place for is dropped: Gaussians have no latent.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_fields::error::{Error, Result};
use retort_fields::field::{PointSample, RenderOptions, Reshape, Seed, Volume, over, tensor, values};
use retort_fields::ops::composite::{composite, cpu::weights};
use retort_fields::ops::march::{Samples, march};
use retort_fields::ops::pointwise::trunc_exp;
use retort_fields::ops::ssim::ssim;
use retort_fields::parts::occupancy::Occupancy;
use retort_fields::registry::AnyField;
use retort_fields::render::visible::reached;
use retort_fields::render::volume;
use retort_fields::rng::Rng;
use retort_shaders::Camera;
use serde_json::{Value, json};

use crate::gallery::Gallery;
use crate::loss::{difference, weighted};
use crate::preset::{Background, ConvertConfig, Level, Preset, Stage};
use crate::run::{Run, RunConfig, RunOptions};
use crate::task::{Outcome, Progress, Task};
use crate::train::{REACH_BATCHES, densify, fill, jitter};
use crate::views;

/// Views on which student and teacher are compared while the work goes on, and their height in pixels for volumes.
const PROBE_VIEWS: u64 = 2;
const PROBE_SIZE: u32 = 64;
/// Times that they are compared in a run.
const PROBES: u32 = 20;
/// Light left where a ray ends.
const STOP: f32 = 1e-4;
/// A teacher whose pictures are nowhere more opaque than this shows nothing.
const NOTHING: f32 = 0.02;

/// A conversion.
pub struct Convert {
    teacher: AnyField,
    config: ConvertConfig,
    stages: Vec<Stage>,
    gallery: Gallery,
    probes: Vec<(Camera, Vec<f32>)>,
    run: Run,
    work: String,
}

/// What the teacher says of a batch of rays.
struct Lesson {
    /// The samples that its light reaches.
    samples: Arc<Samples>,
    log_sigma: Tensor<2>,
    latent: Option<Tensor<2>>,
    rgb: Tensor<2>,
    /// Share of the pixel's colour that each sample has, `[n, 1]`.
    weight: Tensor<2>,
    /// `[rays, 5]`.
    pixels: Tensor<2>,
}

impl Convert {
    /// A conversion of `teacher` into a new field of the preset's kind.
    ///
    /// # Errors
    /// When the teacher shows nothing, no stage is left for the pair, or a value of the preset is out of its range.
    pub fn new(teacher: &AnyField, preset: &Preset, options: &RunOptions, device: &Device) -> Result<Self> {
        let teacher = teacher.frozen();
        let config = preset.convert.clone();
        let mut student = preset.field.init(teacher.scene(), options.seed, device)?;
        let probes = probe_views(&teacher, options.seed, probe_size(&student, &config))?;
        let stages = stages_for(&teacher, &student, &config)?;
        let mut gallery = Gallery::new(config.views, config.view_size, options.seed);
        inherit(&teacher, &mut student)?;
        take_over(&teacher, &mut student, &config)?;
        if student.as_primitives().is_some() {
            let seeds = seeds_from(&teacher, &mut gallery, config.seeds.max(1), options.seed)?;
            if let Some(primitives) = student.as_primitives_mut() {
                primitives.plant(&seeds, device);
            }
        }
        let run = RunConfig {
            optimise: &config.optimise,
            ema: config.ema,
            steps: config.steps,
            growth: &config.growth,
            penalties: &config.penalties,
        };
        let run = Run::new(&student, &run, options)?;
        let work = format!("convert {} to {}", teacher.kind(), student.kind());
        Ok(Self { teacher, config, stages, gallery, probes, run, work })
    }

    /// A conversion that goes on from a checkpoint.
    ///
    /// # Errors
    /// As [`Convert::new`], or when the checkpoint is of other work or damaged.
    pub fn resume(
        teacher: &AnyField,
        preset: &Preset,
        path: &Path,
        options: &RunOptions,
        device: &Device,
    ) -> Result<Self> {
        let mut convert = Self::new(teacher, preset, options, device)?;
        let extra = convert.run.restore(path, &convert.work)?;
        if extra.get("teacher").and_then(Value::as_str) != Some(&convert.fingerprint()) {
            return Err(Error::new("the checkpoint is of a conversion of another field")
                .file(path)
                .remedy("give the field of the first run, or start again without --resume"));
        }
        let seed = convert.run.first_seed();
        if seed != options.seed {
            // The views belong to the seed of the first run.
            convert.gallery = Gallery::new(convert.config.views, convert.config.view_size, seed);
            let size = probe_size(&convert.run.field, &convert.config);
            convert.probes = probe_views(&convert.teacher, seed, size)?;
        }
        Ok(convert)
    }

    /// A number that tells teachers apart, in hexadecimal: FNV-1a (Fowler, Noll, Vo 1991) over the words of their values.
    fn fingerprint(&self) -> String {
        let mix = |hash: u64, value: &f32| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01B3);
        let params = self.teacher.params();
        let hash = params.iter().fold(0xCBF2_9CE4_8422_2325, |h, p| values(p.tensor.clone()).iter().fold(h, mix));
        format!("{hash:016x}")
    }

    /// The stage that the run is in.
    fn stage(&self) -> &Stage {
        let total: f32 = self.stages.iter().map(|s| s.share).sum();
        let mut end = 0.0;
        let share = self.run.share();
        let found = self.stages.iter().find(|stage| {
            end += stage.share / total;
            share < end
        });
        found.unwrap_or(&self.stages[self.stages.len() - 1])
    }

    /// Changes the student's shape where the preset says so.
    fn grow(&mut self) -> Result<()> {
        while let Some(growth) = self.run.due() {
            let field = self.run.current();
            let Some(volume) = field.as_volume() else { return Ok(()) };
            let scene = self.teacher.scene();
            let keep = growth.prune.map(|least| {
                let gallery = &mut self.gallery;
                // Steps that no batch has: the rays are others than those that were learned from.
                let batches = (0..REACH_BATCHES).map(|i| gallery.rays(scene, 4096, u64::MAX - i));
                let mut keep = reached(volume, batches, least);
                keep.dilate();
                keep
            });
            self.run.reshape(&Reshape { resolution: growth.resolution, keep: keep.as_ref(), shrink: growth.shrink })?;
        }
        Ok(())
    }

    fn volume_step(&mut self) -> Result<Option<f32>> {
        self.grow()?;
        let (seed, step, stage) = (self.run.seed(), self.run.step, self.stage().clone());
        let rays = stage.rays.unwrap_or(self.config.rays);
        let Some(student) = self.run.field.as_volume() else { return Err(Error::new("not a volume")) };
        let march_student = |origins: &[f32], directions: &[f32]| {
            let jitter = jitter(rays, seed, step);
            march(origins, directions, &jitter, student.occupancy(), &student.march_spec(), None)
        };
        let lesson = if let Some(teacher) = self.teacher.as_volume() {
            let (origins, directions) = self.gallery.rays(self.teacher.scene(), rays, u64::from(step));
            lesson_of_volume(teacher, &march_student(&origins, &directions), self.config.least_light)
        } else {
            self.gallery.fill_one(&self.teacher, u64::from(step));
            let (origins, directions, pixels) = self.gallery.rays_with_pixels(rays, u64::from(step));
            lesson_of_primitives(&self.teacher, student, march_student(&origins, &directions), pixels)
        };
        let Some(lesson) = lesson else {
            // Every ray of the batch missed: nothing to learn from it.
            self.run.step += 1;
            return Ok(Some(0.0));
        };
        let backdrop = backdrops(self.config.background, lesson.pixels.dims()[0], seed, step);
        let loss = volume_loss(student, &lesson, &stage, &self.config, &backdrop);
        self.run.descend(loss, |_| 1.0, |_, _| ())
    }

    fn primitives_step(&mut self) -> Result<Option<f32>> {
        let (seed, step, stage) = (self.run.seed(), self.run.step, self.stage().clone());
        self.gallery.fill_one(&self.teacher, u64::from(step));
        let (camera, pixels) = self.gallery.pick(u64::from(step));
        let Some(primitives) = self.run.field.as_primitives() else { return Err(Error::new("not primitives")) };
        let probed = primitives.render_probed(camera, u32::MAX);
        let device = probed.frame.pixels.device();
        let n = pixels.len() / 5;
        let b = backdrops(self.config.background, 1, seed, step);
        let backdrop = [b[0], b[1], b[2]];
        let target = tensor(pixels.to_vec(), [n, 5], &device);
        let picture = over(probed.frame.pixels.clone(), backdrop);
        let wanted = over(target.clone(), backdrop);
        let mut loss = difference(picture.clone(), wanted.clone(), self.config.loss) * stage.pixel;
        if self.config.ssim > 0.0 {
            let likeness = ssim(picture, wanted, camera.width, camera.height).reshape([1]);
            loss = loss * (1.0 - self.config.ssim) + likeness.neg().add_scalar(1.0) * (self.config.ssim * stage.pixel);
        }
        if stage.alpha > 0.0 {
            let alpha = |t: Tensor<2>| t.slice([0..n, 3..4]);
            let d = alpha(probed.frame.pixels) - alpha(target);
            loss = loss + (d.clone() * d).mean() * stage.alpha;
        }
        let extent = self.run.field.scene().extent;
        let (camera, probe, radii) = (camera.clone(), probed.probe, probed.radii);
        let scale = move |group: &str| if group == "means" { extent } else { 1.0 };
        let done = self.run.descend(loss, scale, |field, grads| {
            let grad = probe.grad_remove(grads).map(values);
            if let (Some(primitives), Some(grad)) = (field.as_primitives_mut(), grad) {
                primitives.observe(&camera, &grad, &radii);
            }
        })?;
        if done.is_some() {
            densify(&mut self.run);
        }
        Ok(done)
    }

    /// PSNR of the student against the teacher.
    fn probe(&self) -> f32 {
        let field = self.run.current();
        let (mut sum, mut count) = (0.0_f64, 0);
        for (camera, truth) in &self.probes {
            let picture = field.render(camera, &RenderOptions::default()).rgb_over([1.0; 3]);
            sum += picture.iter().zip(truth).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            count += truth.len();
        }
        (-10.0 * (sum / f64::from(count.max(1) as u32)).max(1e-10).log10()) as f32
    }
}

/// The stages that the pair has a place for.
fn stages_for(teacher: &AnyField, student: &AnyField, config: &ConvertConfig) -> Result<Vec<Stage>> {
    let latent = |f: &AnyField| f.as_volume().and_then(Volume::latent_dim);
    let fits = |level: Level| match level {
        Level::Latent => latent(student).is_some() && latent(student) == latent(teacher),
        Level::Volume => student.as_volume().is_some(),
        Level::Image => true,
    };
    let stages: Vec<Stage> = config.stages.iter().filter(|s| fits(s.level)).cloned().collect();
    if stages.is_empty() {
        return Err(Error::new(format!("no stage of the preset fits {} to {}", teacher.kind(), student.kind()))
            .remedy("add a stage with level = \"image\" to convert.stages"));
    }
    Ok(stages)
}

/// Primitives are drawn for a size of pixel and look wrong in another; volumes do not care, and cost more.
fn probe_size(student: &AnyField, config: &ConvertConfig) -> u32 {
    if student.as_primitives().is_some() { config.view_size } else { PROBE_SIZE }
}

/// Views that are not learned from, with the teacher's pictures of them over white.
fn probe_views(teacher: &AnyField, seed: u64, size: u32) -> Result<Vec<(Camera, Vec<f32>)>> {
    let mut most = 0.0_f32;
    let probes: Vec<_> = (0..PROBE_VIEWS)
        .map(|i| {
            let camera = views::draw(teacher.scene(), seed ^ 0x5EED, i, size);
            let frame = teacher.render(&camera, &RenderOptions::default());
            most = values(frame.pixels.clone()).chunks_exact(5).map(|p| p[3]).fold(most, f32::max);
            (camera, frame.rgb_over([1.0; 3]))
        })
        .collect();
    if !(most > NOTHING) {
        return Err(Error::new("the teacher shows nothing: it is empty where it is looked at")
            .remedy("look at it with `retort render`"));
    }
    Ok(probes)
}

/// Gives the student the teacher's empty space, and its colour network where both have the same.
fn inherit(teacher: &AnyField, student: &mut AnyField) -> Result<()> {
    let both_share = {
        let latent = |f: &AnyField| f.as_volume().and_then(Volume::latent_dim);
        latent(teacher).is_some() && latent(teacher) == latent(student)
    };
    if both_share {
        let known: Vec<_> = teacher.params().into_iter().map(|p| (p.name, p.tensor.clone())).collect();
        for param in student.params_mut() {
            let same = known.iter().find(|(name, t)| *name == param.name && t.dims() == param.tensor.dims());
            if let Some((_, tensor)) = same.filter(|(name, _)| *name == "colour_net") {
                *param.tensor = tensor.clone();
            }
        }
    }
    let scene = teacher.scene().clone();
    let Some(volume) = student.as_volume_mut() else { return Ok(()) };
    let resolution = volume.occupancy().resolution();
    let grid = if let Some(taught) = teacher.as_volume() {
        resampled(taught.occupancy(), resolution)?
    } else {
        let mut grid = Occupancy::new_full(resolution, scene.bounds);
        if let Some(primitives) = teacher.as_primitives() {
            primitives.mark_occupied(&mut grid);
        }
        grid.dilate();
        grid
    };
    volume.set_occupancy(Arc::new(grid));
    Ok(())
}

/// Gives the student what needs no training, in the resolution that its schedule begins with.
fn take_over(teacher: &AnyField, student: &mut AnyField, config: &ConvertConfig) -> Result<()> {
    let first = config.growth.iter().take_while(|growth| growth.at <= 0.0);
    let resolution = first.filter_map(|growth| growth.resolution).last();
    let Some(volume) = student.as_volume_mut() else { return Ok(()) };
    let unbounded = volume.march_spec().unbounded;
    volume.take_over(&|x, d| said_of_points(teacher, unbounded, x, d), resolution).map(|_| ())
}

/// What the teacher says of points `x` `[n, 3]` along directions `d` `[n, k, 3]`; see [`retort_fields::field::Ask`].
fn said_of_points(teacher: &AnyField, unbounded: bool, x: &[f32], d: &[f32]) -> PointSample {
    let (n, looks) = (x.len() / 3, d.len() / x.len().max(1));
    let repeated = |rows: &[f32], width: usize| -> Vec<f32> {
        rows.chunks_exact(width).flat_map(|row| row.iter().copied().cycle().take(looks * width)).collect()
    };
    if let Some(volume) = teacher.as_volume() {
        let device = volume.device();
        let said = volume.block1(tensor(x.to_vec(), [n, 3], &device));
        let width = said.latent.dims()[1];
        let latent = tensor(repeated(&values(said.latent), width), [n * looks, width], &device);
        let rgb = volume.block2(latent, tensor(d.to_vec(), [n * looks, 3], &device));
        return PointSample { log_sigma: values(said.log_sigma), rgb: values(rgb) };
    }
    let Some(primitives) = teacher.as_primitives() else {
        return PointSample { log_sigma: vec![f32::NEG_INFINITY; n], rgb: vec![0.5; d.len()] };
    };
    let said = primitives.sample(&repeated(&in_world(x, unbounded), 3), d);
    PointSample { log_sigma: said.log_sigma.into_iter().step_by(looks.max(1)).collect(), rgb: said.rgb }
}

/// The same occupied space in another resolution; a coarser cell is occupied where any point of it is.
fn resampled(grid: &Occupancy, resolution: u32) -> Result<Occupancy> {
    if grid.resolution() == resolution {
        return Ok(grid.clone());
    }
    let mut new = Occupancy::new_full(resolution, grid.bounds());
    let parts = (grid.resolution() / resolution).max(1);
    let size = grid.bounds().size() / resolution as f32;
    let cells = (resolution as usize).pow(3);
    let mut bits = vec![0_u64; cells / 64];
    for cell in 0..cells {
        let low = new.cell_centre(cell) - 0.5 * size;
        let any = (0..parts.pow(3)).any(|k| {
            let part = glam::UVec3::new(k % parts, k / parts % parts, k / (parts * parts)).as_vec3();
            grid.contains(low + size * (part + 0.5) / parts as f32)
        });
        bits[cell / 64] |= u64::from(any) << (cell % 64);
    }
    new = Occupancy::from_bits(resolution, new.bounds(), &bits)?;
    Ok(new)
}

/// Points on what the teacher shows: a pixel's colour at its depth.
fn seeds_from(teacher: &AnyField, gallery: &mut Gallery, count: usize, seed: u64) -> Result<Vec<Seed>> {
    gallery.fill_some(teacher, gallery.wanted().min(24));
    let mut rng = Rng::new(seed, "seeds");
    let mut seeds = Vec::with_capacity(count);
    for _ in 0..count * 20 {
        if seeds.len() == count {
            break;
        }
        let (camera, pixels) = gallery.at(rng.below(gallery.len()));
        let i = rng.below(pixels.len() / 5);
        let p = &pixels[5 * i..5 * i + 5];
        if p[3] > 0.5 {
            let at = glam::Vec2::new(
                (i % camera.width as usize) as f32 + rng.uniform(),
                (i / camera.width as usize) as f32 + rng.uniform(),
            );
            let ray = camera.ray(at);
            let depth = p[4] / p[3];
            let along = if teacher.as_volume().is_some() { depth } else { depth / ray.direction.dot(camera.forward()) };
            let rgb = [0, 1, 2].map(|c| (p[c] / p[3]).clamp(0.0, 1.0));
            seeds.push(Seed { position: ray.at(along).to_array(), rgb, scale: 0.0, opacity: 0.5 });
        }
    }
    if seeds.is_empty() {
        return Err(Error::new("the teacher is nowhere opaque: Gaussians have nothing to start from")
            .remedy("look at it with `retort render`"));
    }
    let positions: Vec<_> = seeds.iter().map(|s| s.position).collect();
    for (seed, scale) in seeds.iter_mut().zip(crate::neighbours::spacing(&positions)) {
        seed.scale = scale;
    }
    Ok(seeds)
}

fn backdrops(background: Background, n: usize, seed: u64, step: u32) -> Vec<f32> {
    match background {
        Background::White => vec![1.0; 3 * n],
        Background::Black => vec![0.0; 3 * n],
        Background::Random => {
            let mut rng = Rng::at(seed, "background", u64::from(step));
            (0..3 * n).map(|_| rng.uniform()).collect()
        }
    }
}

fn lesson_of_volume(teacher: &dyn Volume, samples: &Samples, least_light: f32) -> Option<Lesson> {
    let seen = volume::see(teacher, samples, least_light.max(STOP))?;
    let n = seen.samples.t.len();
    let mut weight = vec![0.0; n];
    weights(&seen.samples.ray_start, &values(seen.sigma.clone()), &seen.samples.dt, STOP, &mut weight);
    Some(Lesson {
        pixels: composite(seen.sigma, seen.rgb.clone(), &seen.samples, STOP),
        log_sigma: seen.log_sigma,
        latent: teacher.latent_dim().map(|_| seen.latent),
        rgb: seen.rgb,
        weight: tensor(weight, [n, 1], &teacher.device()),
        samples: seen.samples,
    })
}

fn lesson_of_primitives(
    teacher: &AnyField,
    student: &dyn Volume,
    samples: Samples,
    pixels: Vec<f32>,
) -> Option<Lesson> {
    let n = samples.t.len();
    if n == 0 {
        return None;
    }
    let primitives = teacher.as_primitives()?;
    let world = in_world(&samples.position, student.march_spec().unbounded);
    let said = primitives.sample(&world, &samples.direction);
    let sigma: Vec<f32> = said.log_sigma.iter().map(|l| l.exp()).collect();
    let mut weight = vec![0.0; n];
    weights(&samples.ray_start, &sigma, &samples.dt, STOP, &mut weight);
    // Emptiness is as low as a student can say it; the clamp of the loss brings it into range.
    let log_sigma = said.log_sigma.into_iter().map(|l| l.max(-30.0)).collect();
    let device = student.device().without_autodiff();
    let rays = pixels.len() / 5;
    Some(Lesson {
        samples: Arc::new(samples),
        log_sigma: tensor(log_sigma, [n, 1], &device),
        latent: None,
        rgb: tensor(said.rgb, [n, 3], &device),
        weight: tensor(weight, [n, 1], &device),
        pixels: tensor(pixels, [rays, 5], &device),
    })
}

/// Warped positions `[n, 3]` as they are in the world.
fn in_world(positions: &[f32], unbounded: bool) -> Vec<f32> {
    if !unbounded {
        return positions.to_vec();
    }
    let warp = retort_fields::parts::contraction::Contraction::Ball;
    positions.chunks_exact(3).flat_map(|p| warp.inverse(glam::Vec3::from_slice(p)).to_array()).collect()
}

/// All differences that the stage weighs, in one number.
fn volume_loss(
    student: &dyn Volume,
    lesson: &Lesson,
    stage: &Stage,
    config: &ConvertConfig,
    backdrop: &[f32],
) -> Tensor<1> {
    let device = student.device();
    let n = lesson.samples.t.len();
    let on = |t: &Tensor<2>| Tensor::<2>::from_inner(t.clone());
    let latent = student.block1(tensor(lesson.samples.position.clone(), [n, 3], &device));
    let mut loss = Tensor::<1>::zeros([1], &device);
    if stage.sigma > 0.0 {
        let [low, high] = student.log_sigma_range();
        let target = on(&lesson.log_sigma).clamp(low, high);
        loss = loss + difference(latent.log_sigma.clone(), target, config.loss) * stage.sigma;
    }
    if let Some(target) = lesson.latent.as_ref().filter(|_| stage.latent > 0.0)
        && target.dims()[1] == latent.latent.dims()[1]
    {
        loss = loss + difference(latent.latent.clone(), on(target), config.loss) * stage.latent;
    }
    if stage.rgb == 0.0 && stage.pixel == 0.0 && stage.alpha == 0.0 {
        return loss;
    }
    let directions = tensor(lesson.samples.direction.clone(), [n, 3], &device);
    let rgb = student.block2(latent.latent, directions);
    if stage.rgb > 0.0 {
        loss = loss + weighted(rgb.clone(), on(&lesson.rgb), on(&lesson.weight), config.loss) * stage.rgb;
    }
    if stage.pixel > 0.0 || stage.alpha > 0.0 {
        let pixels = composite(trunc_exp(latent.log_sigma), rgb, &lesson.samples, STOP);
        let target = on(&lesson.pixels);
        let rays = target.dims()[0];
        let alpha = |t: &Tensor<2>| t.clone().slice([0..rays, 3..4]);
        if stage.alpha > 0.0 {
            loss = loss + difference(alpha(&pixels), alpha(&target), config.loss) * stage.alpha;
        }
        loss = loss + difference(fill(pixels, backdrop), fill(target, backdrop), config.loss) * stage.pixel;
    }
    loss
}

impl Task for Convert {
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>> {
        if self.run.is_over()? {
            let psnr = Some(self.probe());
            return Ok(ControlFlow::Break(Outcome { steps: self.run.step, psnr, notes: Vec::new() }));
        }
        let stage = self.stage().level.name();
        let loss = if self.run.field.as_volume().is_some() { self.volume_step()? } else { self.primitives_step()? };
        let every = (self.run.of / PROBES).max(1);
        let measured = self.run.step.is_multiple_of(every).then(|| self.probe());
        Ok(ControlFlow::Continue(Progress {
            stage: stage.into(),
            step: self.run.step,
            of: self.run.of,
            loss: loss.unwrap_or(f32::NAN),
            psnr: measured,
            note: self.run.note.take(),
        }))
    }

    fn current(&self) -> AnyField {
        self.run.current()
    }

    fn save_checkpoint(&mut self, path: &Path) -> Result<()> {
        let teacher = self.fingerprint();
        self.run.save(path, &self.work, &json!({ "teacher": teacher }))
    }

    fn kind_of_work(&self) -> &'static str {
        "conversion"
    }
}
