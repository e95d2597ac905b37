//! Progressive volume distillation (Fang et al., "One is All: Bridging the Gap Between Neural Radiance Fields
//! Architectures with Progressive Volume Distillation", AAAI 2023), extended to Gaussians.
//!
//! A student of one kind learns a teacher of another, level by level: latents, then densities and colours at points,
//! then pixels. Views are drawn, photos are not needed. The student inherits where the teacher is empty, and its colour
//! network where both have the same. Between latents of different widths a small linear map is learned. A level that a
//! pair has no place for is dropped: Gaussians have no latent.

mod adaptor;
mod fits;
mod lesson;
mod seeds;
mod start;
mod teacher;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use retort_fields::compose::Subject;
use retort_fields::error::{Error, Result};
use retort_fields::field::{Field, Filtered, RenderOptions, Volume, over, tensor, values};
use retort_fields::ops::ssim::ssim;
use retort_fields::registry::AnyField;
use retort_fields::render::volume::render_rays;
use retort_shaders::Camera;
use serde_json::Value;

use crate::active::Active;
use crate::gallery::{Gallery, Rays};
use crate::loss::difference;
use crate::own_space::{OwnSpace, STOP, fill};
use crate::preset::{ConvertConfig, Level, Preset, Stage};
use crate::run::{Extra, REACH_RAYS, Run, RunOptions};
use crate::task::{Outcome, Progress, Task};
use crate::train::descend_primitives;
use crate::views;

use adaptor::Adaptor;
use lesson::{Asked, Lesson, volume_loss};

/// Views on which student and teacher are compared while the work goes on, and their height in pixels for volumes.
const PROBE_VIEWS: u64 = 2;
const PROBE_SIZE: u32 = 64;
/// A teacher whose pictures are nowhere more opaque than this shows nothing.
const NOTHING: f32 = 0.02;

/// A conversion.
pub struct Convert {
    teacher: Subject,
    config: ConvertConfig,
    stages: Vec<Stage>,
    gallery: Gallery,
    active: Active,
    /// Where the latents' widths differ.
    adaptor: Option<Adaptor>,
    probes: Vec<(Camera, Vec<f32>)>,
    run: Run,
    work: String,
    /// What a teacher of primitives says of points.
    filtered: Option<Filtered>,
    /// Of a student that learns from pictures alone.
    own_space: OwnSpace,
}

impl Convert {
    /// A conversion of `teacher`, a field or a scene of several, into a new field of the preset's kind.
    ///
    /// # Errors
    /// When the teacher shows nothing, no stage is left for the pair, or a value of the preset is out of its range.
    pub fn new(teacher: impl Into<Subject>, preset: &Preset, options: &RunOptions, device: &Device) -> Result<Self> {
        let begun = Instant::now();
        let teacher = teacher.into();
        let config = preset.convert.clone();
        let mut student = preset.field.init(teacher.scene(), options.seed, device)?;
        let probes = probe_views(&teacher, options.seed, probe_size(&teacher, &student, &config))?;
        let mut gallery = Gallery::new(config.views, config.view_size, options.seed);
        start::inherit(&teacher, &mut student)?;
        let has_begun = start::take_over(&teacher, &mut student, &config)?;
        let stages = stages_for(&teacher, &student, &config, has_begun)?;
        if let Some(primitives) = student.as_primitives_mut()
            && !primitives.take_over(&*teacher, gallery.some_cameras(teacher.scene(), seeds::VIEWS))
        {
            let seeds = seeds::seeds_from(&teacher, &mut gallery, config.seeds.max(1), options.seed)?;
            primitives.plant(&seeds, device);
        }
        let mut run = Run::new(&student, &config.run(), options)?;
        run.count(begun.elapsed().as_secs_f32());
        run.note = warning(&teacher, &student, &config, options.seed);
        let work = format!("convert {} to {}", teacher.name(), student.kind());
        let active = Active::new(&config.active, config.views);
        let adaptor = Adaptor::between(&*teacher, &*student, options.seed);
        let asks_points = stages.iter().any(|stage| stage.level == Level::Volume);
        let asking = student.as_volume().filter(|_| asks_points);
        let filtered = asking.and_then(|student| start::filtered(&teacher, student, grown(&config)));
        let own_space = OwnSpace::new(&student, &preset.train);
        Ok(Self { teacher, config, stages, gallery, active, adaptor, probes, run, work, filtered, own_space })
    }

    /// A conversion that goes on from a checkpoint.
    ///
    /// # Errors
    /// As [`Convert::new`], or when the checkpoint is of other work or damaged.
    pub fn resume(
        teacher: impl Into<Subject>,
        preset: &Preset,
        path: &Path,
        options: &RunOptions,
        device: &Device,
    ) -> Result<Self> {
        let mut convert = Self::new(teacher, preset, options, device)?;
        let extra = convert.run.restore(path, &convert.work)?;
        if extra.json.get("teacher").and_then(Value::as_str) != Some(&teacher::fingerprint(&convert.teacher)) {
            return Err(Error::new("the checkpoint is of a conversion of another field")
                .file(path)
                .remedy("give the field of the first run, or start again without --resume"));
        }
        let seed = convert.run.first_seed();
        if seed != options.seed {
            // The views belong to the seed of the first run.
            convert.gallery = Gallery::new(convert.config.views, convert.config.view_size, seed);
            let size = probe_size(&convert.teacher, &convert.run.field, &convert.config);
            convert.probes = probe_views(&convert.teacher, seed, size)?;
        }
        if let Some(adaptor) = &mut convert.adaptor {
            adaptor.restore(&extra).map_err(|e| e.file(path))?;
        }
        convert.active.restore(&extra, &mut convert.gallery, convert.teacher.scene()).map_err(|e| e.file(path))?;
        convert.own_space.restore(&extra.json);
        Ok(convert)
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

    fn volume_step(&mut self) -> Result<Option<f32>> {
        let (gallery, scene) = (&mut self.gallery, self.teacher.scene());
        // Steps that no batch has: the rays are others than those that were learned from.
        let pixels = self.config.views * (self.config.view_size as usize).pow(2);
        self.run.grow(pixels, |i| {
            let rays = gallery.rays(scene, REACH_RAYS, u64::MAX - i);
            (rays.origins, rays.directions)
        })?;
        let (seed, step, stage) = (self.run.seed(), self.run.step, self.stage().clone());
        if stage.level == Level::Image && self.teacher.as_primitives().is_some() {
            return self.picture_step(&stage);
        }
        let rays = self.draw_rays(stage.rays.unwrap_or(self.config.rays));
        let Some(student) = self.run.field.as_volume() else { return Err(Error::new("not a volume")) };
        let (least_light, thin) = (self.config.least_light, self.config.thin);
        let asked = Asked { rays: &rays, filtered: self.filtered.as_ref(), seed, step, least_light, thin };
        let Some(lesson) = Lesson::of(&self.teacher, student, &asked) else {
            // Every ray of the batch missed: nothing to learn from it.
            self.run.step += 1;
            return Ok(Some(0.0));
        };
        let backdrop = self.config.background.colours(rays.len(), seed, step);
        let map = self.adaptor.as_ref().map(Adaptor::on_graph);
        let (loss, picture) = volume_loss(student, &lesson, &stage, &self.config, &backdrop, map.as_ref());
        let (adaptor, adam) = (&mut self.adaptor, &self.config.optimise.adam);
        let done = self.run.descend(
            loss,
            |_| 1.0,
            |_, grads| {
                if let (Some(adaptor), Some(map)) = (adaptor.as_mut(), &map) {
                    adaptor.descend(map, grads, adam);
                }
            },
        )?;
        // To read the colours makes a GPU wait for the host: not for nothing.
        if let Some(picture) = picture.filter(|_| done.is_some() && self.active.judges()) {
            let wanted = fill(lesson.pixels, &backdrop);
            self.active.learn(&rays, &values(picture), &values(wanted), &mut self.gallery, seed);
        }
        Ok(done)
    }

    /// A step of a volume towards the pictures of primitives, in its own empty space, as it learns from photos. What such
    /// a teacher is as a density is thicker than it is drawn: it is good to begin with, and wrong to be held to (on Lego,
    /// Gaussians to voxels: 30.3 dB on the photos, 22.1 dB where points count here as well).
    fn picture_step(&mut self, stage: &Stage) -> Result<Option<f32>> {
        let n = self.own_space.refreshed(&mut self.run, stage.rays.unwrap_or(self.config.rays));
        let rays = self.draw_rays(n);
        let (seed, step) = (self.run.seed(), self.run.step);
        let backdrop = self.config.background.colours(rays.len(), seed, step);
        let picture = self.own_space.seen_along(&self.run, &rays.origins, &rays.directions, &backdrop)?;
        let taught = tensor(rays.pixels.clone(), [rays.len(), 5], &picture.device().without_autodiff());
        let wanted = fill(taught, &backdrop).clamp(0.0, 1.0);
        let seen = self.active.judges().then(|| (values(picture.clone().inner()), values(wanted.clone())));
        let loss = difference(picture, Tensor::from_inner(wanted), self.config.loss) * stage.pixel;
        let done = self.run.descend(loss, |_| 1.0, |_, _| ())?;
        if let Some((picture, wanted)) = seen.filter(|_| done.is_some()) {
            self.active.learn(&rays, &picture, &wanted, &mut self.gallery, seed);
        }
        Ok(done)
    }

    /// The rays of this step, with the teacher's pixels where it is not a volume that can be asked along them.
    fn draw_rays(&mut self, n: usize) -> Rays {
        let step = self.run.step;
        let mut rays = if self.teacher.as_volume().is_some() {
            self.gallery.rays(self.teacher.scene(), n, u64::from(step))
        } else {
            self.gallery.fill_one(&self.teacher, u64::from(step));
            self.gallery.rays_with_pixels(n, u64::from(step))
        };
        self.active.lengthen(&mut rays, self.run.seed(), step);
        rays
    }

    fn primitives_step(&mut self) -> Result<Option<f32>> {
        let (seed, step, stage) = (self.run.seed(), self.run.step, self.stage().clone());
        self.gallery.fill_one(&self.teacher, u64::from(step));
        let view = self.gallery.pick(u64::from(step));
        let (camera, pixels) = self.gallery.at(view);
        let Some(primitives) = self.run.field.as_primitives() else { return Err(Error::new("not primitives")) };
        let probed = primitives.render_probed(camera, u32::MAX);
        let device = probed.frame.pixels.device();
        let n = pixels.len() / 5;
        let backdrop = self.config.background.colours(1, seed, step);
        let backdrop = [backdrop[0], backdrop[1], backdrop[2]];
        let target = tensor(pixels.to_vec(), [n, 5], &device);
        let picture = over(probed.frame.pixels.clone(), backdrop);
        let wanted = over(target.clone(), backdrop).clamp(0.0, 1.0);
        let seen =
            self.active.judges_views().then(|| (values(picture.clone().inner()), values(wanted.clone().inner())));
        let mut loss = difference(picture.clone(), wanted.clone(), self.config.loss) * stage.pixel;
        if self.config.ssim > 0.0 {
            let likeness = ssim(picture, wanted, camera.width, camera.height).reshape([1]);
            loss = loss * (1.0 - self.config.ssim) + likeness.neg().add_scalar(1.0) * (self.config.ssim * stage.pixel);
        }
        if stage.alpha > 0.0 {
            let alpha = |t: Tensor<2>| t.slice([0..n, 3..4]);
            let d = alpha(probed.frame.pixels.clone()) - alpha(target);
            loss = loss + (d.clone() * d).mean() * stage.alpha;
        }
        let densifies = self.run.share() < self.config.densify_until;
        let done = descend_primitives(&mut self.run, loss, camera, probed, densifies)?;
        if let Some((picture, wanted)) = seen.filter(|_| done.is_some()) {
            self.active.learn_view(view, &picture, &wanted, &mut self.gallery, seed);
        }
        Ok(done)
    }

    /// PSNR of the student against the teacher.
    fn probe(&self) -> f32 {
        let field = self.run.current();
        let (mut sum, mut count) = (0.0_f64, 0);
        for (camera, truth) in &self.probes {
            let (picture, truth) = match field.as_volume().filter(|_| self.teacher.as_primitives().is_some()) {
                Some(volume) => some_pixels(volume, camera, truth),
                None => (field.render(camera, &RenderOptions::default()).rgb_over([1.0; 3]), truth.clone()),
            };
            sum += picture.iter().zip(&truth).map(|(a, b)| f64::from(a.clamp(0.0, 1.0) - b).powi(2)).sum::<f64>();
            count += truth.len();
        }
        (-10.0 * (sum / f64::from(count.max(1) as u32)).max(1e-10).log10()) as f32
    }
}

/// The width of a field's latent, where it has one that can be taught.
fn latent_of(field: &dyn Field) -> Option<usize> {
    field.as_volume().and_then(Volume::latent_dim)
}

/// The stages that the pair has a place for.
///
/// Primitives say of points what they are through a filter. A student that has begun with that has no more to learn from
/// it: a fifth of the steps at points cost voxels 0.7 dB on Lego.
///
/// # Errors
/// When there is none.
fn stages_for(teacher: &Subject, student: &AnyField, config: &ConvertConfig, has_begun: bool) -> Result<Vec<Stage>> {
    let (taught, learned) = (latent_of(&**teacher), latent_of(&**student));
    let sees = config.stages.iter().any(|stage| stage.level == Level::Image);
    let knows_points = has_begun && sees && teacher.as_primitives().is_some();
    let fits = |level: Level| match level {
        Level::Latent => learned.is_some() && taught.is_some(),
        Level::Volume => student.as_volume().is_some() && !knows_points,
        Level::Image => true,
    };
    let stages: Vec<Stage> = config.stages.iter().filter(|s| fits(s.level)).cloned().collect();
    if stages.is_empty() {
        return Err(Error::new(format!("no stage of the preset fits {} to {}", teacher.name(), student.kind()))
            .remedy("add a stage with level = \"image\" to convert.stages"));
    }
    Ok(stages)
}

/// The resolution that the student's growth ends with.
fn grown(config: &ConvertConfig) -> Option<u32> {
    config.growth.iter().rev().find_map(|growth| growth.resolution)
}

/// What a person should know before a student that is too coarse for its teacher is taught.
fn warning(teacher: &Subject, student: &AnyField, config: &ConvertConfig, seed: u64) -> Option<String> {
    let grain = student.as_volume()?.grain(grown(config))?;
    let camera = views::draw(teacher.scene(), seed ^ 0x5EED, 0, config.view_size);
    let expected = fits::expected(teacher, grain, &camera).filter(|psnr| *psnr < fits::POOR)?;
    Some(format!(
        "{} of this size is too coarse for its teacher: about {expected:.0} dB of it are to be expected; give it more, see \
         `retort presets`",
        student.kind()
    ))
}

/// Primitives are drawn for a size of pixel and look wrong in another (16 dB apart from a volume that shows the same);
/// volumes do not care, and cost more.
fn probe_size(teacher: &Subject, student: &AnyField, config: &ConvertConfig) -> u32 {
    let drawn = teacher.as_primitives().is_some() || student.as_primitives().is_some();
    if drawn { config.view_size } else { PROBE_SIZE }
}

/// Every third pixel of every third row: as a volume shows it over white, and as the `truth` of the whole picture has it,
/// both `[n, 3]`.
fn some_pixels(volume: &dyn Volume, camera: &Camera, truth: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let places = (0..camera.height).step_by(3).flat_map(|y| (0..camera.width).step_by(3).map(move |x| (x, y)));
    let (mut origins, mut directions, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (x, y) in places {
        let ray = camera.ray(glam::vec2(x as f32 + 0.5, y as f32 + 0.5));
        origins.extend(ray.origin.to_array());
        directions.extend(ray.direction.to_array());
        wanted.extend_from_slice(&truth[3 * (y * camera.width + x) as usize..][..3]);
    }
    let n = origins.len() / 3;
    let pixels = render_rays(volume, &origins, &directions, &vec![0.5; n], STOP);
    (values(fill(pixels, &vec![1.0; 3 * n])), wanted)
}

/// Views that are not learned from, with the teacher's pictures of them over white.
fn probe_views(teacher: &Subject, seed: u64, size: u32) -> Result<Vec<(Camera, Vec<f32>)>> {
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

impl Task for Convert {
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>> {
        if self.run.is_over()? {
            return Ok(self.run.outcome(Some(self.probe())));
        }
        let stage = self.stage().level.name();
        let loss = if self.run.field.as_volume().is_some() { self.volume_step()? } else { self.primitives_step()? };
        let psnr = self.run.measures().then(|| self.probe());
        Ok(self.run.progress(stage, loss, psnr))
    }

    fn current(&self) -> AnyField {
        self.run.current()
    }

    fn save_checkpoint(&mut self, path: &Path) -> Result<()> {
        let teacher = teacher::fingerprint(&self.teacher);
        let mut extra = Extra { json: self.own_space.save(), ..Extra::default() };
        extra.json["teacher"] = teacher.into();
        self.active.save(&mut extra, &self.gallery);
        if let Some(adaptor) = &self.adaptor {
            adaptor.save(&mut extra);
        }
        self.run.save(path, &self.work, extra)
    }

    fn kind_of_work(&self) -> &'static str {
        "conversion"
    }
}
