//! What every run has, whatever it learns from: a field on a gradient graph, its optimiser, its moving average, its
//! clock, its checkpoint, and the guard that takes it back when a number stops being one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use retort_fields::field::{DensityEvent, Reshape, tensor, values};
use retort_fields::files::archive::Archive;
use retort_fields::files::{Provenance, from_archive, write_into};
use retort_fields::ops::adam;
use retort_fields::registry::{AnyField, FieldConfig, detached_inner};
use retort_fields::render::visible::reached;
use retort_fields::render::volume;
use retort_fields::rng::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::optimiser::{Optimiser, take_state};
use crate::preset::{ConvertConfig, Growth, OccupancyConfig, Optimise, TrainConfig};
use crate::schedule::Schedule;
use crate::task::{Outcome, Progress};

/// Steps between two copies that the guard can go back to.
const KEEP_EVERY: u32 = 100;
/// Returns after which a run is given up.
const MAX_RETURNS: u32 = 5;
/// The most batches of rays by which it is found where light reaches something.
const REACH_BATCHES: u64 = 64;
/// Rays in such a batch.
pub const REACH_RAYS: usize = 4096;
/// Progress is measured this many times in a run.
const MEASURES: u32 = 20;
/// Steps between two estimates of how many steps fit into a time limit.
const ESTIMATE_EVERY: u32 = 25;

/// How long and from which seed.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The seed of every random choice.
    pub seed: u64,
    /// Steps, where other than the preset's.
    pub steps: Option<u32>,
    /// The time that the run should take. The number of steps follows from the measured speed again and again, so that
    /// schedules reach their end; a run with a time limit is therefore not repeatable bit for bit.
    pub time: Option<Duration>,
}

/// What the names of a task's own tensors begin with in a checkpoint.
const EXTRA: &str = "extra.";

/// The state of a run.
pub struct Run {
    /// The field being taught, on a gradient graph.
    pub field: AnyField,
    /// Steps done.
    pub step: u32,
    /// Steps in all.
    pub of: u32,
    /// Something that a person should know, to be taken by the next progress.
    pub note: Option<String>,
    /// The shape that the field began with: later ones follow from it.
    begun: FieldConfig,
    growth: Vec<Growth>,
    /// Changes of shape that have happened.
    grown: usize,
    penalties: BTreeMap<String, Schedule>,
    optimiser: Optimiser,
    average: Option<AnyField>,
    ema: f32,
    seed: u64,
    returns: u32,
    limit: Option<Duration>,
    /// Seconds of earlier sittings.
    before: f32,
    started: Instant,
    /// Step and second of the last estimate.
    mark: (u32, f32),
    good: Option<Box<Good>>,
}

/// A state to go back to.
struct Good {
    field: AnyField,
    average: Option<AnyField>,
    optimiser: Optimiser,
    step: u32,
    grown: usize,
}

#[derive(Serialize, Deserialize)]
struct Counters {
    step: u32,
    of: u32,
    seed: u64,
    returns: u32,
    seconds: f32,
    work: String,
    grown: usize,
    begun: FieldConfig,
}

/// What a task keeps in a checkpoint beside its run.
#[derive(Debug, Default)]
pub struct Extra {
    /// Small things.
    pub json: Value,
    /// Large ones: name, shape, values.
    pub tensors: Vec<(String, [usize; 2], Vec<f32>)>,
}

/// What of a preset a run needs.
pub struct RunConfig<'a> {
    /// The optimiser.
    pub optimise: &'a Optimise,
    /// Decay of the moving average of the parameters, 0 for none.
    pub ema: f32,
    /// Steps.
    pub steps: u32,
    /// Changes of shape in their order.
    pub growth: &'a [Growth],
    /// Weights of the field's own regularisers, by name.
    pub penalties: &'a BTreeMap<String, Schedule>,
}

impl TrainConfig {
    /// What a run needs of it.
    pub(crate) fn run(&self) -> RunConfig<'_> {
        let Self { optimise, ema, steps, growth, penalties, .. } = self;
        RunConfig { optimise, ema: *ema, steps: *steps, growth, penalties }
    }
}

impl ConvertConfig {
    /// What a run needs of it.
    pub(crate) fn run(&self) -> RunConfig<'_> {
        let Self { optimise, ema, steps, growth, penalties, .. } = self;
        RunConfig { optimise, ema: *ema, steps: *steps, growth, penalties }
    }
}

impl Run {
    /// A run that begins with `field`.
    ///
    /// # Errors
    /// When the preset has no rate for a parameter of the field, or a penalty that the field does not know.
    pub fn new(field: &AnyField, config: &RunConfig<'_>, options: &RunOptions) -> Result<Self> {
        let RunConfig { optimise, ema, steps, growth, penalties } = *config;
        let field = field.trainable();
        check_penalties(&field, penalties)?;
        Ok(Self {
            begun: field.config(),
            growth: growth.to_vec(),
            grown: 0,
            penalties: penalties.clone(),
            optimiser: Optimiser::new(optimise, &field)?,
            average: (ema > 0.0).then(|| field.frozen()),
            field,
            step: 0,
            of: options.steps.unwrap_or(steps).max(1),
            note: None,
            ema,
            seed: options.seed,
            returns: 0,
            limit: options.time.filter(|_| options.steps.is_none()),
            before: 0.0,
            started: Instant::now(),
            mark: (0, 0.0),
            good: None,
        })
    }

    /// The share of the run that is over.
    pub fn share(&self) -> f32 {
        (self.step as f32 / self.of as f32).min(1.0)
    }

    /// Whether progress is measured after the step that was done last.
    pub fn measures(&self) -> bool {
        self.step.is_multiple_of((self.of / MEASURES).max(1))
    }

    /// What the last step reached, and the note that there is, which is then said: its `loss`, where that was a number,
    /// and the PSNR, where it was measured.
    pub fn progress(&mut self, stage: &str, loss: Option<f32>, psnr: Option<f32>) -> ControlFlow<Outcome, Progress> {
        ControlFlow::Continue(Progress {
            stage: stage.into(),
            step: self.step,
            of: self.of,
            loss: loss.unwrap_or(f32::NAN),
            psnr,
            note: self.note.take(),
        })
    }

    /// How the run ended.
    pub fn outcome(&self, psnr: Option<f32>) -> ControlFlow<Outcome, Progress> {
        ControlFlow::Break(Outcome { steps: self.step, psnr, notes: Vec::new() })
    }

    /// Whether the last step is done and left numbers only; a run that ended in something else goes back and on.
    ///
    /// # Errors
    /// When the run diverges again and again.
    pub fn is_over(&mut self) -> Result<bool> {
        if self.step < self.of {
            return Ok(false);
        }
        self.mend()?;
        Ok(self.step >= self.of)
    }

    /// Goes back to the last good state if a parameter is not a number. A loss need not tell: Gaussians without a place
    /// are not drawn.
    fn mend(&mut self) -> Result<()> {
        if self.is_sound() { Ok(()) } else { self.go_back("a parameter") }
    }

    /// The seed that the run began with, in its first sitting.
    pub fn first_seed(&self) -> u64 {
        self.seed
    }

    /// The seed of this step's random choices; another one after each return, so that the same batch does not lead
    /// into the same hole.
    pub fn seed(&self) -> u64 {
        self.seed.wrapping_add(u64::from(self.returns).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Plans as many steps as another run that it goes along with.
    pub(crate) fn keep_pace(&mut self, with: &Self) {
        self.of = with.of;
    }

    /// The field without gradients: its moving average where it has one.
    pub fn current(&self) -> AnyField {
        let mut current = self.field.frozen();
        if let Some(average) = &self.average {
            for (param, average) in current.params_mut().into_iter().zip(average.params()) {
                *param.tensor = average.tensor.clone();
            }
        }
        current
    }

    /// Goes down the gradient of `loss` `[1]` by one step and returns its value; `None` where it was not a number and
    /// the run went back to its last good state. `scale` multiplies a parameter group's rate; `after` sees the field
    /// and the gradients after the step.
    ///
    /// # Errors
    /// When the run diverges again and again.
    pub fn descend(
        &mut self,
        loss: Tensor<1>,
        scale: impl Fn(&str) -> f32,
        mut after: impl FnMut(&mut AnyField, &mut burn::tensor::Gradients),
    ) -> Result<Option<f32>> {
        if self.step.is_multiple_of(KEEP_EVERY) {
            if !self.is_sound() {
                return self.go_back("a parameter").map(|()| None);
            }
            self.keep();
        }
        let loss = self.penalised(loss);
        let value = loss.clone().inner().into_scalar::<f32>();
        if !value.is_finite() {
            return self.go_back("the loss").map(|()| None);
        }
        let mut grads = loss.backward();
        drop(loss);
        let share = self.share();
        self.optimiser.step(&mut self.field, &mut grads, share, scale);
        after(&mut self.field, &mut grads);
        self.update_average();
        self.step += 1;
        self.settle();
        Ok(Some(value))
    }

    /// Where the field is a volume and it is time, looks again for where it is empty.
    pub(crate) fn refresh_occupancy(&mut self, config: &OccupancyConfig) {
        let (step, seed) = (self.step, self.seed());
        if step == 0 || !step.is_multiple_of(config.every) {
            return;
        }
        let mut frozen = self.field.frozen();
        let (Some(asked), Some(kept)) = (frozen.as_volume_mut(), self.field.as_volume_mut()) else { return };
        volume::refresh_occupancy(asked, seed, step, step < config.warm_up, config.decay, config.limit);
        kept.set_occupancy(Arc::clone(asked.occupancy()));
    }

    /// Takes the field that density control made of this one; the optimiser and the average follow its rows.
    pub fn follow(&mut self, field: &AnyField, events: &[DensityEvent]) {
        self.optimiser.follow(events);
        if let Some(average) = &mut self.average {
            for event in events {
                follow_rows(average, field, event);
            }
        }
        self.field = field.trainable();
    }

    /// The loss with the field's own regularisers.
    fn penalised(&self, mut loss: Tensor<1>) -> Tensor<1> {
        let Some(volume) = self.field.as_volume() else { return loss };
        for (name, weight) in &self.penalties {
            let weight = weight.at(self.share());
            let mut rng = Rng::at(self.seed(), name, u64::from(self.step));
            if let Some(penalty) = Some(()).filter(|()| weight != 0.0).and_then(|()| volume.penalty(name, &mut rng)) {
                loss = loss + penalty * weight;
            }
        }
        loss
    }

    /// Changes the field's shape where the preset says so. `rays` gives the `i`-th batch of [`REACH_RAYS`] rays
    /// (origins and unit directions, `[n, 3]`) of those by which it is found where light reaches something; there are
    /// about as many as `pixels`, the pixels of all pictures, up to a quarter of a million.
    ///
    /// # Errors
    /// When the asked shape is out of the kind's range.
    pub fn grow(&mut self, pixels: usize, mut rays: impl FnMut(u64) -> (Vec<f32>, Vec<f32>)) -> Result<()> {
        let batches = (pixels.div_ceil(REACH_RAYS) as u64).clamp(1, REACH_BATCHES);
        while let Some(growth) = self.growth.get(self.grown).filter(|next| next.at <= self.share()).cloned() {
            self.grown += 1;
            let field = self.current();
            let Some(volume) = field.as_volume() else { return Ok(()) };
            let keep = growth.prune.map(|least| {
                let mut keep = reached(volume, (0..batches).map(&mut rays), least);
                keep.dilate();
                keep
            });
            self.reshape(&Reshape { resolution: growth.resolution, keep: keep.as_ref(), shrink: growth.shrink })?;
        }
        Ok(())
    }

    /// Changes the field's shape; the optimiser and the average start over, and so does what the guard goes back to.
    fn reshape(&mut self, change: &Reshape<'_>) -> Result<()> {
        let mut frozen = self.field.frozen();
        let Some(volume) = frozen.as_volume_mut() else { return Ok(()) };
        if volume.reshape(change)? {
            self.optimiser.renew();
            self.average = self.average.take().map(|_| frozen.clone());
            self.field = frozen.trainable();
            self.keep();
        }
        Ok(())
    }

    fn update_average(&mut self) {
        let Some(average) = &mut self.average else { return };
        // Early on an average would mostly be of the first values (Adam's own correction, in another place).
        let decay = self.ema.min((1.0 + self.step as f32) / (10.0 + self.step as f32));
        for (average, param) in average.params_mut().into_iter().zip(self.field.params()) {
            let device = average.tensor.device();
            let old = std::mem::replace(average.tensor, Tensor::zeros([1, 1], &device));
            *average.tensor = adam::ema(old, &detached_inner(param.tensor.clone()), decay);
        }
    }

    fn settle(&mut self) {
        let Some(limit) = self.limit else { return };
        let used = self.seconds();
        if used >= limit.as_secs_f32() {
            self.of = self.step;
        } else if self.step.is_multiple_of(ESTIMATE_EVERY) && self.step > self.mark.0 {
            // The speed of late, not of the slow start.
            let speed = (self.step - self.mark.0) as f32 / (used - self.mark.1).max(1e-3);
            self.of = self.step + ((limit.as_secs_f32() - used) * speed).ceil().max(1.0) as u32;
            self.mark = (self.step, used);
        }
    }

    /// Counts the seconds that the field's start took before the run.
    pub fn count(&mut self, seconds: f32) {
        self.before += seconds;
        self.mark.1 += seconds;
    }

    /// Seconds that the run has taken, earlier sittings included.
    pub fn seconds(&self) -> f32 {
        self.before + self.started.elapsed().as_secs_f32()
    }

    /// Whether every parameter and its average are numbers.
    fn is_sound(&self) -> bool {
        [Some(&self.field), self.average.as_ref()].into_iter().flatten().flat_map(|field| field.params()).all(|p| {
            // Nought times anything is nought, but for what is not finite.
            detached_inner(p.tensor.clone()).mul_scalar(0.0).sum().into_scalar::<f32>() == 0.0
        })
    }

    /// Keeps a copy to go back to.
    fn keep(&mut self) {
        self.good = Some(Box::new(Good {
            field: self.field.frozen(),
            average: self.average.clone(),
            optimiser: self.optimiser.clone(),
            step: self.step,
            grown: self.grown,
        }));
    }

    /// Goes back to the last good state, because `what` is not a number.
    fn go_back(&mut self, what: &str) -> Result<()> {
        self.returns += 1;
        let hopeless = || {
            Error::new(format!("diverged at step {}", self.step))
                .remedy("lower the learning rates: --set train.optimise.rates.GROUP=VALUE")
        };
        let good = self.good.as_ref().filter(|_| self.returns <= MAX_RETURNS).ok_or_else(hopeless)?;
        self.note = Some(format!(
            "{what} was not a number at step {}: back to step {} with half the learning rate",
            self.step, good.step
        ));
        let brake = self.optimiser.brake * 0.5;
        self.field = good.field.trainable();
        self.average.clone_from(&good.average);
        self.optimiser = good.optimiser.clone();
        self.optimiser.brake = brake;
        self.step = good.step;
        self.grown = good.grown;
        Ok(())
    }

    /// Writes everything needed to go on bit for bit; `work` names the kind of run and its input, `extra` is the task's.
    ///
    /// # Errors
    /// When the place cannot be written, or the run diverges again and again.
    pub fn save(&mut self, path: &Path, work: &str, extra: Extra) -> Result<()> {
        self.archived(work, extra).and_then(|archive| archive.write(path).map(drop)).map_err(|e| e.file(path))
    }

    /// What [`Run::save`] writes.
    ///
    /// # Errors
    /// When the run diverges again and again.
    pub(crate) fn archived(&mut self, work: &str, extra: Extra) -> Result<Archive> {
        // A checkpoint that cannot be loaded would take the place of one that can.
        self.mend()?;
        let counters = Counters {
            step: self.step,
            of: self.of,
            seed: self.seed,
            returns: self.returns,
            seconds: self.seconds(),
            work: work.to_string(),
            grown: self.grown,
            begun: self.begun.clone(),
        };
        let counters = serde_json::to_value(counters).map_err(|e| Error::new(e.to_string()))?;
        let mut archive = Archive { json: json!({ "counters": counters, "extra": extra.json }), ..Archive::default() };
        write_into(&mut archive, &self.field, &Provenance::default(), true)?;
        self.optimiser.write_into(&mut archive);
        if let Some(average) = &self.average {
            for param in average.params() {
                archive.tensors.push((
                    format!("average.{}", param.name),
                    param.tensor.dims(),
                    values(param.tensor.clone()),
                ));
            }
        }
        let named = extra.tensors.into_iter().map(|(name, shape, data)| (format!("{EXTRA}{name}"), shape, data));
        archive.tensors.extend(named);
        Ok(archive)
    }

    /// Takes up a run that [`Run::save`] wrote; `self` is a fresh run of the same preset. Returns what the task saved.
    ///
    /// # Errors
    /// When the file is not a checkpoint of this work, or is damaged.
    pub fn restore(&mut self, path: &Path, work: &str) -> Result<Extra> {
        let mut archive = Archive::read(path)?;
        self.restore_from(&mut archive, work).map_err(|e| e.file(path))
    }

    /// As [`Run::restore`].
    pub(crate) fn restore_from(&mut self, archive: &mut Archive, work: &str) -> Result<Extra> {
        let mut json = archive.json.clone();
        let counters = json.get_mut("counters").map(Value::take).unwrap_or_default();
        let counters: Counters = serde_json::from_value(counters)
            .map_err(|_| Error::new("not a checkpoint").remedy("start again without --resume"))?;
        if counters.work != work {
            return Err(Error::new(format!("a checkpoint of \"{}\", not of \"{work}\"", counters.work))
                .remedy("give the same input and kind, or start again without --resume"));
        }
        let device = self.field.device().without_autodiff();
        // The description is shared with fields, whose reader knows none of the run's own keys.
        if let Some(object) = archive.json.as_object_mut() {
            object.remove("counters");
            object.remove("extra");
        }
        let tensors = std::mem::take(&mut archive.tensors);
        let (extra, own): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|(name, ..)| name.starts_with(EXTRA));
        archive.tensors = own;
        let (field, _) = from_archive(archive, &device)?;
        if counters.begun != self.begun {
            return Err(Error::new("the checkpoint is of a field of another shape")
                .remedy("give the preset and values of the first run, or start again without --resume"));
        }
        if field.scene() != self.field.scene() {
            return Err(Error::new("the checkpoint is of another scene")
                .remedy("give the input of the first run, or start again without --resume"));
        }
        self.field = field.trainable();
        self.optimiser.read_from(archive, &self.field)?;
        if self.average.is_some() {
            let mut average = self.field.frozen();
            for param in average.params_mut() {
                let name = format!("average.{}", param.name);
                *param.tensor = take_state(archive, &name, param.tensor.dims(), &device)?;
            }
            self.average = Some(average);
        }
        self.step = counters.step;
        self.grown = counters.grown;
        self.of = counters.of;
        self.seed = counters.seed;
        self.returns = counters.returns;
        self.before = counters.seconds;
        self.mark = (counters.step, counters.seconds);
        self.keep();
        let json = json.get_mut("extra").map(Value::take).unwrap_or_default();
        let named = extra.into_iter().map(|(name, shape, data)| (name[EXTRA.len()..].to_string(), shape, data));
        Ok(Extra { json, tensors: named.collect() })
    }
}

/// Whether the field has every regulariser that the preset weighs.
fn check_penalties(field: &AnyField, penalties: &BTreeMap<String, Schedule>) -> Result<()> {
    let known = |name: &str| field.as_volume().is_some_and(|v| v.penalty(name, &mut Rng::new(0, name)).is_some());
    match penalties.keys().find(|name| !known(name)) {
        Some(name) => {
            Err(Error::new(format!("preset: penalties.{name} is no regulariser of a field of {}", field.kind()))
                .remedy("take it out; `retort presets` shows which there are"))
        }
        None => Ok(()),
    }
}

/// Lets a moving average follow what density control made of `field`: rows that are new begin with their own values.
fn follow_rows(average: &mut AnyField, field: &AnyField, event: &DensityEvent) {
    for (average, param) in average.params_mut().into_iter().zip(field.params()) {
        match event {
            DensityEvent::Rows(plan) => {
                let shape @ [_, width] = param.tensor.dims();
                let (old, mut rows) = (values(average.tensor.clone()), values(param.tensor.clone()));
                for (i, &source) in plan.sources.iter().enumerate().filter(|(i, _)| !plan.fresh[*i]) {
                    rows[i * width..][..width].copy_from_slice(&old[source as usize * width..][..width]);
                }
                *average.tensor = tensor(rows, shape, &average.tensor.device());
            }
            DensityEvent::Reset(name) if *name == param.name => *average.tensor = detached_inner(param.tensor.clone()),
            DensityEvent::Reset(_) => {}
        }
    }
}
