//! Text to 3D: a field of any kind goes to where a diffusion model takes its pictures for what the prompt says.
//!
//! A step draws a ring of views, asks a loss ([`crate::guidance`]) what the frozen model would change about them, and
//! goes down `½ Σ (z − stop(z − g))² / n` through the renderer into the field.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use retort_fields::error::{Error, Result};
use retort_fields::field::{Pose, Scene as Frame, values};
use retort_fields::files::archive::Archive;
use retort_fields::registry::AnyField;
use retort_fields::rng::Rng;
use retort_shaders::Aabb;
use serde_json::json;

use crate::guidance::{Guidance, Guided, Scene, Source};
use crate::preset::{OccupancyConfig, Preset};
use crate::prior::{Look, Prior, Prompt, Read};
use crate::run::{Extra, Run, RunConfig, RunOptions};
use crate::task::{Outcome, Progress, Sight, Task};

pub mod blob;
pub mod losses;
mod pictures;
mod preview;
pub mod prompts;
pub mod score;
pub mod shade;
pub mod system;

pub use pictures::photograph;
pub use preview::preview;
pub use system::System;

use pictures::{Drawn, draw, over, resized, shadow, sight};

/// Rings of cameras that the finished field remembers.
const REMEMBERED: usize = 6;

/// Steps that may be skipped because the prior gave no numbers.
const MOST_WRONG: u32 = 5;

/// Where a checkpoint has the particles behind the first.
const PARTICLES: &str = "particles";

/// Between the seeds of particles.
const PARTICLE: u64 = 0x9E37_79B9_7F4A_7C15;

/// What the last step saw, for people: pictures `[n, c, side, side]`.
#[derive(Clone)]
pub struct Shown {
    /// The field's own.
    pub own: Tensor<4>,
    /// With noise.
    pub noisy: Tensor<4>,
    /// What the model sees behind the noise.
    pub clean: Tensor<4>,
    /// The gradient.
    pub gradient: Tensor<4>,
}

/// Generation from a prompt.
pub struct Generate {
    prior: Arc<dyn Prior>,
    prompt: Prompt,
    words: String,
    system: System,
    occupancy: OccupancyConfig,
    guidance: Box<dyn Guidance>,
    run: Run,
    /// Of the particles behind the first.
    others: Vec<Run>,
    before: Option<Before>,
    /// What the last step saw, as latents; decoded for those who ask.
    seen: Option<Shown>,
    /// Steps whose gradient was not a number.
    wrong: u32,
}

/// What an edit starts from.
struct Before {
    /// The field as it was, off the gradient graph.
    field: AnyField,
    /// What it is, in words.
    prompt: Prompt,
    /// Where it may change; everywhere where none is named.
    part: Option<Aabb>,
}

/// How a field made from text is trained: as one from photos, in the resolution that it has.
fn run_config(preset: &Preset) -> RunConfig<'_> {
    RunConfig { growth: &[], ..preset.train.run() }
}

/// Takes those out whose names begin with `prefix`, and the prefix off them.
fn taken<T>(all: &mut Vec<T>, name: fn(&mut T) -> &mut String, prefix: &str) -> Vec<T> {
    let mut own = Vec::new();
    for mut one in std::mem::take(all) {
        match name(&mut one).strip_prefix(prefix).map(String::from) {
            Some(rest) => {
                *name(&mut one) = rest;
                own.push(one);
            }
            None => all.push(one),
        }
    }
    own
}

/// Reads prompts into `prior`, which then is shared.
///
/// # Errors
/// When the prior can make nothing of one.
pub fn ask_all<const N: usize>(mut prior: Box<dyn Prior>, prompts: [&str; N]) -> Result<(Arc<dyn Prior>, [Read; N])> {
    let read: Vec<Read> = prompts.iter().map(|prompt| prior.read(prompt)).collect::<Result<_>>()?;
    let read = read.try_into().map_err(|_| Error::new("as many were read as were given"))?;
    Ok((Arc::from(prior), read))
}

/// Reads one prompt, as [`ask_all`].
///
/// # Errors
/// When the prior can make nothing of it.
pub fn ask(prior: Box<dyn Prior>, prompt: &str) -> Result<(Arc<dyn Prior>, Read)> {
    let (prior, [read]) = ask_all(prior, [prompt])?;
    Ok((prior, read))
}

impl Generate {
    /// A new field of the preset's kind for what `read` says of the prompt.
    ///
    /// # Errors
    /// When a value of the preset is out of its range, or the loss is for edits.
    pub fn new(
        (prior, read): (Arc<dyn Prior>, &Read),
        (system, preset): (&System, &Preset),
        options: &RunOptions,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = Rng::new(options.seed, "remembered cameras");
        let looks = prior.looks(REMEMBERED, &mut rng);
        let distance = looks.iter().map(|l| l.camera.position().length()).fold(0.0, f32::max);
        let scene = Frame {
            cameras: looks.iter().map(|look| Pose::of(&look.camera)).collect(),
            extent: 1.1 * distance,
            ..Frame::default()
        };
        let begin = |particle: usize| {
            let seed = options.seed.wrapping_add((particle as u64).wrapping_mul(PARTICLE));
            let mut field = preset.field.init(&scene, seed, device)?;
            if let Some(blob) = &system.blob {
                blob.begin(&mut field, &preset.train.optimise, seed)?;
            }
            Ok((field, RunOptions { seed, ..options.clone() }))
        };
        let (field, first) = begin(0)?;
        let mut made = Self::of((prior, read.prompt, read.meaning.clone()), &field, (system, preset), &first)?;
        for particle in 1..system.particles {
            let (field, options) = begin(particle)?;
            made.others.push(Run::new(&field, &run_config(preset), &options)?);
        }
        Ok(made)
    }

    /// The work on `field`, whichever it is, for a prompt and what it is called in checkpoints.
    fn of(
        (prior, prompt, words): (Arc<dyn Prior>, Prompt, String),
        field: &AnyField,
        (system, preset): (&System, &Preset),
        options: &RunOptions,
    ) -> Result<Self> {
        Ok(Self {
            guidance: system.guidance.loss.start(),
            prior,
            prompt,
            words,
            system: system.clone(),
            occupancy: preset.train.occupancy.clone(),
            run: Run::new(field, &run_config(preset), options)?,
            others: Vec::new(),
            before: None,
            seen: None,
            wrong: 0,
        })
    }

    /// An edit of `field`: from what `source` says it is to what `read` says it should be, within `part`.
    ///
    /// # Errors
    /// As [`Generate::new`], or when the field is of an unbounded scene, which the prior never sees whole.
    pub fn edit(
        (prior, read, source): (Arc<dyn Prior>, &Read, &Read),
        (field, part): (&AnyField, Option<Aabb>),
        (system, preset): (&System, &Preset),
        options: &RunOptions,
    ) -> Result<Self> {
        if system.particles > 1 {
            return Err(Error::new("an edit changes one field").remedy("use particles = 1"));
        }
        if field.scene().unbounded {
            let what = "a field of an unbounded scene cannot be edited by words";
            return Err(Error::new(what).remedy("crop it and convert the crop first"));
        }
        let words = format!("{} from {}", read.meaning, source.meaning);
        let before = Before { field: field.frozen(), prompt: source.prompt, part };
        let work = Self::of((prior, read.prompt, words), field, (system, preset), options)?;
        Ok(Self { before: Some(before), ..work })
    }

    /// Generation that goes on from a checkpoint.
    ///
    /// # Errors
    /// As [`Generate::new`], or when the checkpoint is of other work or damaged.
    pub fn resume(
        asked: (Arc<dyn Prior>, &Read),
        presets: (&System, &Preset),
        path: &Path,
        options: &RunOptions,
        device: &Device,
    ) -> Result<Self> {
        let mut generate = Self::new(asked, presets, options, device)?;
        generate.go_on(path)?;
        Ok(generate)
    }

    /// Takes up what [`Task::save_checkpoint`] wrote of the same work.
    ///
    /// # Errors
    /// When the checkpoint is of other work or damaged.
    pub fn go_on(&mut self, path: &Path) -> Result<()> {
        let mut archive = Archive::read(path)?;
        self.take_up(&mut archive).map_err(|e| e.file(path))
    }

    fn take_up(&mut self, archive: &mut Archive) -> Result<()> {
        let work = self.work();
        let kept = archive.json.as_object_mut().and_then(|json| json.remove(PARTICLES));
        let documents = kept.and_then(|kept| kept.as_array().cloned()).unwrap_or_default();
        if documents.len() != self.others.len() {
            let (kept, asked) = (documents.len() + 1, self.others.len() + 1);
            return Err(Error::new(format!("the checkpoint has {kept} particles, not {asked}"))
                .remedy("give the particles of the first run, or start again without --resume"));
        }
        for (i, (run, json)) in self.others.iter_mut().zip(documents).enumerate() {
            let prefix = format!("{PARTICLES}.{i}.");
            let mut own = Archive { json, ..Archive::default() };
            own.tensors = taken(&mut archive.tensors, |tensor| &mut tensor.0, &prefix);
            own.bytes = taken(&mut archive.bytes, |bytes| &mut bytes.0, &prefix);
            run.restore_from(&mut own, &work)?;
        }
        let extra = self.run.restore_from(archive, &work)?;
        self.guidance.take_up(extra.tensors);
        Ok(())
    }

    fn work(&self) -> String {
        format!("generate {} {} by {}", self.run.field.kind(), self.words, self.system.guidance.loss)
    }

    /// What the last step saw; none before the first.
    pub fn shown(&self) -> Option<Shown> {
        let Shown { own, noisy, clean, gradient } = self.seen.clone()?;
        let [own, noisy, clean] = [own, noisy, clean].map(|z| self.prior.decode(z));
        Some(Shown { own, noisy, clean, gradient })
    }

    /// The field's pictures of the views, on the gradient graph: as they are drawn, and as the model looks at them,
    /// `[n, c, side, side]`.
    fn pictures(&self, field: &AnyField, looks: &[Look]) -> Result<(Drawn, Tensor<4>)> {
        let (model, share, chance) = (self.prior.side(), self.run.share(), (self.run.seed(), self.run.step));
        let side = self.system.drawn.as_ref().map_or(model, |s| (s.at(share) as u32).clamp(8, model));
        let light = self.system.shading.and_then(|s| s.of(share, looks.first()?, chance));
        let oriented = self.system.losses.get(losses::ORIENT).is_some_and(|weight| weight.at(share) != 0.0);
        let drawn = draw(field, looks, (side, self.system.finer), chance, (light.as_ref(), oriented))?;
        let pictures = drawn.pictures.clone();
        let alpha = self.prior.sees_alpha();
        let seen = if alpha { pictures } else { over(pictures, self.system.background.of(chance)) };
        Ok((drawn, resized(seen, model as usize)))
    }

    /// The gradient as it is, or one that asks for nothing where it is not a number.
    ///
    /// # Errors
    /// When that has happened too often.
    fn sound(&mut self, gradient: Tensor<4>) -> Result<Tensor<4>> {
        // Nought times anything is nought, but for what is not finite.
        if gradient.clone().mul_scalar(0.0).sum().into_scalar::<f32>() == 0.0 {
            return Ok(gradient);
        }
        self.wrong += 1;
        if self.wrong > MOST_WRONG {
            let what = format!("the {} prior gave no numbers in {} steps", self.prior.name(), self.wrong);
            return Err(Error::new(what).remedy("use another prior, a smaller guidance.scale, or --device cpu"));
        }
        self.run.note = Some(format!("step {} was skipped: the prior gave no numbers", self.run.step));
        Ok(Tensor::zeros(gradient.dims(), &gradient.device()))
    }

    /// What an edit starts from, from the same views through the same rays; none where nothing is edited.
    fn source(&self, looks: &[Look]) -> Result<Option<Source>> {
        let Some(before) = &self.before else { return Ok(None) };
        let (_, pictures) = self.pictures(&before.field, looks)?;
        let latents = self.prior.encode(pictures);
        let (side, device) = (latents.dims()[2] as u32, latents.device());
        let mask = before.part.map(|part| {
            let rows: Vec<f32> = looks.iter().flat_map(|look| shadow(&part, look, side)).collect();
            let side = side as usize;
            Tensor::from_data(TensorData::new(rows, [looks.len(), 1, side, side]), &device)
        });
        Ok(Some(Source { latents, prompt: before.prompt, mask }))
    }

    /// What the loss says of the views' latents.
    fn guide(&mut self, latents: &Tensor<4>, looks: &[Look], source: Option<Source>) -> Result<Guided> {
        let scene = Scene {
            prior: self.prior.as_ref(),
            latents: latents.clone(),
            looks,
            prompt: self.prompt,
            source,
            share: self.run.share(),
            step: self.run.step,
            seed: self.run.seed(),
        };
        self.guidance.guide(&scene, &self.system.guidance)
    }

    /// A step of the field whose turn it is; its loss, unless it was no number.
    fn advance(&mut self) -> Result<Option<f32>> {
        self.run.refresh_occupancy(&self.occupancy);
        let mut rng = Rng::at(self.run.seed(), "looks", u64::from(self.run.step));
        let looks = self.prior.looks(self.system.rings, &mut rng);
        let (drawn, pictures) = self.pictures(&self.run.field, &looks)?;
        let plain = pictures.clone().inner();
        let (latents, trail) = self.prior.encode_kept(plain.clone());
        let source = self.source(&looks)?;
        let guided = self.guide(&latents, &looks, source.clone())?;
        let gradient = self.sound(guided.gradient)?;
        let mut pull = gradient.clone();
        if let Some(Source { latents: before, mask: Some(mask), .. }) = source {
            // Where nothing is to change, it is held to what it was.
            pull = pull * mask.clone() + (latents.clone() - before) * (mask.neg() + 1.0);
        }
        // L = ½ ‖z − stop(z − g)‖² / n has the gradient g / n in the latents. It is pulled through the encoder by the
        // prior itself, and enters the field's graph as a sum that has this gradient and L's value.
        let per = 1.0 / looks.len() as f32;
        let value = pull.clone().square().sum() * (0.5 * per);
        let pulled = self.prior.encode_back(trail, pull) * per;
        let offset = value - (plain * pulled.clone()).sum();
        let mut loss = (pictures * Tensor::from_inner(pulled)).sum() + Tensor::from_inner(offset);
        for (name, weight) in &self.system.losses {
            let weight = weight.at(self.run.share());
            if weight != 0.0
                && let Some(asked) = losses::of(name, &drawn)?
            {
                loss = loss + asked * weight;
            }
        }
        self.seen = Some(Shown { own: latents, noisy: guided.noisy, clean: guided.clean, gradient });
        self.run.descend(loss, |_| 1.0, |_, _| ())
    }
}

impl Task for Generate {
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>> {
        if self.run.is_over()? {
            return Ok(self.run.outcome(None));
        }
        // The first comes last, so that what it saw is shown.
        for i in 0..self.others.len() {
            self.others[i].keep_pace(&self.run);
            std::mem::swap(&mut self.run, &mut self.others[i]);
            let advanced = self.advance();
            std::mem::swap(&mut self.run, &mut self.others[i]);
            advanced?;
        }
        let loss = self.advance()?;
        Ok(self.run.progress("text", loss, None))
    }

    fn current(&self) -> AnyField {
        self.run.current()
    }

    fn others(&self) -> Vec<AnyField> {
        self.others.iter().map(Run::current).collect()
    }

    fn sights(&self) -> Vec<Sight> {
        let Some(Shown { own, noisy, clean, gradient }) = self.shown() else { return Vec::new() };
        // A gradient has any size and sign: the largest value is white or black, none is grey.
        let most = values(gradient.clone().abs().max())[0].max(1e-12);
        let gradient = gradient * (0.5 / most) + 0.5;
        let all = [("the field", own), ("with noise", noisy), ("behind the noise", clean), ("the gradient", gradient)];
        all.into_iter().map(|(name, pictures)| sight(name, pictures)).collect()
    }

    fn save_checkpoint(&mut self, path: &Path) -> Result<()> {
        let work = self.work();
        let mut archive = self.run.archived(&work, Extra { json: json!({}), tensors: self.guidance.keep() })?;
        let mut documents = Vec::new();
        for (i, run) in self.others.iter_mut().enumerate() {
            let own = run.archived(&work, Extra::default())?;
            let name = |name: String| format!("{PARTICLES}.{i}.{name}");
            archive.tensors.extend(own.tensors.into_iter().map(|(n, shape, values)| (name(n), shape, values)));
            archive.bytes.extend(own.bytes.into_iter().map(|(n, bytes)| (name(n), bytes)));
            documents.push(own.json);
        }
        if let (false, Some(json)) = (documents.is_empty(), archive.json.as_object_mut()) {
            json.insert(PARTICLES.into(), documents.into());
        }
        archive.write(path).map(drop)
    }

    fn kind_of_work(&self) -> &'static str {
        "generation"
    }
}

#[cfg(test)]
mod tests;
