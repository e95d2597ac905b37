//! Presets: everything that a run depends on but its input, as TOML.
//!
//! A preset belongs to a kind of representation and says its shape (`[field]`), how it is trained from photos
//! (`[train]`) and how it is taught by another field (`[convert]`). `[smaller]` changes some of it for a smaller field, to
//! which one of the same kind is compressed (`retort bench pairs`). `paper` holds the published values; `fast` is for a
//! CPU. `--set train.rays=2048` changes one value; an unknown key is an error.

use std::collections::BTreeMap;
use std::path::Path;

use retort_fields::error::{Error, Result};
use retort_fields::ops::adam::AdamSpec;
use retort_fields::registry::{FieldConfig, Kind};
use retort_fields::rng::Rng;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::active::ActiveConfig;
use crate::schedule::Schedule;

// `BUILT_IN: &[(&str, &str, &str)]`, the presets that come with the program: kind, name, text. It lists the folder
// `presets`; see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name; not in the file.
    #[serde(skip)]
    pub name: String,
    /// The shape of the field.
    pub field: FieldConfig,
    /// Training from photos.
    pub train: TrainConfig,
    /// Being taught by another field.
    pub convert: ConvertConfig,
    /// What is other for a smaller field, by dotted keys; see [`Preset::to_smaller`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub smaller: BTreeMap<String, Value>,
}

/// How a difference is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Mean squared difference.
    Mse,
    /// Mean Huber loss, quadratic below 0.1 (Instant-NGP).
    Huber,
    /// Mean absolute difference.
    L1,
    /// Root of the sum of squares over the whole batch, as PVD's code has it: its gradient does not shrink with the error.
    Norm,
}

/// What photos with alpha are compared over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// A new colour for each ray or picture: transparency cannot be faked by colour.
    Random,
    /// White.
    White,
    /// Black.
    Black,
}

impl Background {
    /// A colour for each of `n` rays or pictures of a step, `[n, 3]`; random ones depend on `seed` and `step` alone.
    pub fn colours(self, n: usize, seed: u64, step: u32) -> Vec<f32> {
        match self {
            Self::White => vec![1.0; 3 * n],
            Self::Black => vec![0.0; 3 * n],
            Self::Random => {
                let mut rng = Rng::at(seed, "background", u64::from(step));
                (0..3 * n).map(|_| rng.uniform()).collect()
            }
        }
    }
}

/// The optimiser: Adam and the learning rate of each parameter group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimise {
    /// Adam's constants.
    pub adam: AdamSpec,
    /// For weight matrices, where it is given, Adam in the basis of their curvature.
    #[serde(default)]
    pub soap: Option<crate::soap::SoapSpec>,
    /// Learning rates by group; the field names its groups.
    pub rates: BTreeMap<String, Schedule>,
}

impl Optimise {
    fn check(&self) -> Result<()> {
        let bad = |what: &str, remedy: &str| Err(Error::new(format!("preset: {what} is out of range")).remedy(remedy));
        let adam = &self.adam;
        if !(0.0..1.0).contains(&adam.beta1) || !(0.0..1.0).contains(&adam.beta2) {
            return bad("adam.beta1 or adam.beta2", "use 0 to below 1");
        }
        // Without eps, a parameter that never had a gradient would become 0 / 0.
        if !(adam.eps > 0.0 && adam.eps.is_finite() && (0.0..1.0).contains(&adam.weight_decay)) {
            return bad("adam.eps or adam.weight_decay", "use eps > 0, and a decay from 0 to below 1");
        }
        if self.soap.is_some_and(|soap| soap.every == 0 || !(0.0..1.0).contains(&soap.beta)) {
            return bad("optimise.soap", "use every >= 1 and a beta from 0 to below 1");
        }
        match self.rates.iter().find(|(_, schedule)| !schedule.is_sound()) {
            Some((group, _)) => bad(&format!("the rate of {group}"), "use a number or rising points"),
            None => Ok(()),
        }
    }
}

/// The occupancy grid during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OccupancyConfig {
    /// Steps between two refreshes.
    pub every: u32,
    /// Until this step every cell is looked at, afterwards a part.
    pub warm_up: u32,
    /// What is left of a cell's value at each refresh.
    pub decay: f32,
    /// Cells thinner than this (optical thickness over a step), or than the mean, count as empty.
    pub limit: f32,
}

/// A change of a grid's shape during a run; see [`retort_fields::field::Reshape`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// The share of the run after which it happens.
    pub at: f32,
    /// Cells along the longest edge from then on.
    #[serde(default)]
    pub resolution: Option<u32>,
    /// Cells in which no sample of the views has this weight are given up.
    #[serde(default)]
    pub prune: Option<f32>,
    /// Whether the box shrinks to what is left; needs `prune`.
    #[serde(default)]
    pub shrink: bool,
}

impl Growth {
    fn is_sound(&self) -> bool {
        (0.0..=1.0).contains(&self.at)
            && self.prune.is_none_or(|weight| (0.0..1.0).contains(&weight))
            && (!self.shrink || self.prune.is_some())
    }
}

/// Training from photos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Steps.
    pub steps: u32,
    /// Rays in a batch (volumes).
    pub rays: usize,
    /// The most samples in a batch, about: while the occupancy grid is full, there are fewer rays (volumes).
    pub samples: usize,
    /// How colours are compared.
    pub loss: Loss,
    /// What photos with alpha are compared over.
    pub background: Background,
    /// Decay of the moving average of the parameters, 0 for none.
    pub ema: f32,
    /// The occupancy grid (volumes).
    pub occupancy: OccupancyConfig,
    /// Share of `1 − SSIM` in the loss (primitives).
    pub ssim: f32,
    /// Steps after which one more degree of spherical harmonics is used (primitives).
    pub sh_every: u32,
    /// Changes of shape in their order (grids).
    #[serde(default)]
    pub growth: Vec<Growth>,
    /// Weights of the field's own regularisers, by name; the field names what it has.
    #[serde(default)]
    pub penalties: BTreeMap<String, Schedule>,
    /// The optimiser.
    pub optimise: Optimise,
}

/// Where teacher and student are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Log-density and latent at points.
    Latent,
    /// Log-density and colour at points.
    Volume,
    /// Pixels.
    Image,
}

impl Level {
    /// Its name in progress.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent",
            Self::Volume => "volume",
            Self::Image => "image",
        }
    }
}

/// One stage of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The highest level that it compares at.
    pub level: Level,
    /// Its share of the steps.
    pub share: f32,
    /// Weight of the difference of latents.
    #[serde(default)]
    pub latent: f32,
    /// Weight of the difference of log-densities.
    #[serde(default)]
    pub sigma: f32,
    /// Weight of the difference of colours at points.
    #[serde(default)]
    pub rgb: f32,
    /// Weight of the difference of pixels.
    #[serde(default)]
    pub pixel: f32,
    /// Weight of the difference of alpha.
    #[serde(default)]
    pub alpha: f32,
    /// Rays in a batch, where other than the preset's.
    #[serde(default)]
    pub rays: Option<usize>,
}

impl Stage {
    /// Whether weights and rays can be used.
    fn is_sound(&self) -> bool {
        let weights = [self.latent, self.sigma, self.rgb, self.pixel, self.alpha];
        weights.iter().all(|w| *w >= 0.0 && w.is_finite()) && self.rays.is_none_or(|rays| (1..=1 << 20).contains(&rays))
    }
}

fn each() -> u32 {
    1
}

fn always() -> f32 {
    1.0
}

/// Being taught by another field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvertConfig {
    /// Steps over all stages.
    pub steps: u32,
    /// Rays in a batch (volumes).
    pub rays: usize,
    /// The most views that are drawn.
    pub views: usize,
    /// Height of a view in pixels.
    pub view_size: u32,
    /// Points that a new set of primitives starts from.
    #[serde(default)]
    pub seeds: usize,
    /// How differences are measured.
    pub loss: Loss,
    /// Samples that the teacher's light reaches with less than this weight are left out.
    pub least_light: f32,
    /// Of so many neighbouring samples that show nothing one stands for all (volumes); 1 to keep each.
    #[serde(default = "each")]
    pub thin: u32,
    /// The share of the run during which primitives are cloned, split and pruned.
    #[serde(default = "always")]
    pub densify_until: f32,
    /// Share of `1 − SSIM` in the pixel loss (primitives).
    #[serde(default)]
    pub ssim: f32,
    /// What transparent pixels are compared over.
    pub background: Background,
    /// Decay of the moving average of the parameters, 0 for none.
    #[serde(default)]
    pub ema: f32,
    /// What the student does not know is taught more often.
    #[serde(default)]
    pub active: ActiveConfig,
    /// The stages in order; those that a pair has no place for are dropped.
    pub stages: Vec<Stage>,
    /// Changes of shape in their order (grids).
    #[serde(default)]
    pub growth: Vec<Growth>,
    /// Weights of the field's own regularisers, by name; the field names what it has.
    #[serde(default)]
    pub penalties: BTreeMap<String, Schedule>,
    /// The optimiser.
    pub optimise: Optimise,
}

/// The presets that come with the program: `"hash fast"` and its text.
pub fn names() -> Vec<(String, &'static str)> {
    let all = Kind::ALL.iter().flat_map(|kind| BUILT_IN.iter().filter(|preset| preset.0 == kind.name()));
    all.map(|(kind, name, text)| (format!("{kind} {name}"), *text)).collect()
}

impl Preset {
    /// The preset `name` of `kind` — one that comes with the program, or a TOML file — with values replaced by
    /// `overrides`, such as `("train.rays", "2048")`.
    ///
    /// # Errors
    /// When there is none, the text is not understood, an override names no value, or a value is out of its range.
    pub fn load(name: &str, kind: Kind, overrides: &[(String, String)]) -> Result<Self> {
        let built_in = BUILT_IN.iter().find(|(k, n, _)| *k == kind.name() && *n == name);
        let (text, file) = match built_in {
            Some((.., text)) => ((*text).to_string(), None),
            None if Path::new(name).extension().is_some_and(|e| e == "toml") => {
                let path = Path::new(name);
                (std::fs::read_to_string(path).map_err(|e| Error::io(path, &e))?, Some(path))
            }
            None => {
                let names: Vec<_> = BUILT_IN.iter().filter(|p| p.0 == kind.name()).map(|p| p.1).collect();
                return Err(Error::new(format!("there is no preset \"{name}\" for {kind}"))
                    .remedy(format!("use {}, or a .toml file", names.join(", "))));
            }
        };
        let locate = |e: Error| if let Some(file) = file { e.file(file) } else { e };
        let mut preset = Self::parse(&text, overrides).map_err(locate)?;
        if preset.field.kind() != kind {
            return Err(locate(
                Error::new(format!("a preset of {}, not of {kind}", preset.field.kind()))
                    .remedy(format!("use --to {}", preset.field.kind())),
            ));
        }
        preset.name = name.to_string();
        Ok(preset)
    }

    fn parse(text: &str, overrides: &[(String, String)]) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| Error::new(format!("not TOML: {e}")))?;
        for (key, value) in overrides {
            set(&mut table, key, value)?;
        }
        Self::read(table)
    }

    fn read(table: Table) -> Result<Self> {
        let preset: Self = table.try_into().map_err(|e: toml::de::Error| {
            Error::new(format!("preset: {}", e.to_string().trim())).remedy("`retort presets` shows what there is")
        })?;
        preset.check()?;
        Ok(preset)
    }

    /// The preset of a smaller field of the kind, to which one of the full size can be compressed; `None` where the
    /// preset says of none.
    ///
    /// # Errors
    /// When `smaller` names no value, or one that is out of its range.
    pub fn to_smaller(&self) -> Result<Option<Self>> {
        if self.smaller.is_empty() {
            return Ok(None);
        }
        let mut table = Table::try_from(self).map_err(|e| Error::new(format!("preset: {e}")))?;
        for (key, value) in &self.smaller {
            put(&mut table, key, value.clone())?;
        }
        Ok(Some(Self { name: self.name.clone(), ..Self::read(table)? }))
    }

    fn check(&self) -> Result<()> {
        let bad = |what: &str, remedy: &str| Err(Error::new(format!("preset: {what} is out of range")).remedy(remedy));
        let (t, c) = (&self.train, &self.convert);
        self.field.shapes()?;
        if t.steps == 0 || c.steps == 0 {
            return bad("steps", "use at least 1");
        }
        if !(1..=1 << 20).contains(&t.rays) || !(1..=1 << 20).contains(&c.rays) {
            return bad("rays", "use 1 to 1048576");
        }
        if t.occupancy.every == 0 || !(0.0..=1.0).contains(&t.occupancy.decay) {
            return bad("train.occupancy", "use every >= 1 and a decay from 0 to 1");
        }
        if !(0.0..1.0).contains(&t.ema) || !(0.0..1.0).contains(&c.ema) {
            return bad("ema", "use 0 to below 1");
        }
        if !(1..=4096).contains(&c.views) || !(16..=4096).contains(&c.view_size) {
            return bad("convert.views or convert.view_size", "use 1 to 4096 views of 16 to 4096 pixels");
        }
        if c.stages.is_empty() || c.stages.iter().any(|s| !(s.share > 0.0 && s.share.is_finite())) {
            return bad("convert.stages", "use at least one stage, each with a positive share");
        }
        if c.stages.iter().any(|s| !s.is_sound()) {
            return bad("convert.stages", "use weights of 0 or more, and 1 to 1048576 rays");
        }
        if !(0.0..=1.0).contains(&t.ssim) || !(0.0..=1.0).contains(&c.ssim) {
            return bad("ssim", "use 0 to 1");
        }
        if c.seeds > 20_000_000 || !(0.0..1.0).contains(&c.least_light) {
            let remedy = "use at most 20000000 seeds, and light from 0 to below 1";
            return bad("convert.seeds or convert.least_light", remedy);
        }
        if !(1..=64).contains(&c.thin) || !(0.0..=1.0).contains(&c.densify_until) {
            return bad("convert.thin or densify_until", "use 1 to 64, and a share from 0 to 1");
        }
        for (growth, penalties) in [(&t.growth, &t.penalties), (&c.growth, &c.penalties)] {
            if !growth.iter().all(Growth::is_sound) || growth.windows(2).any(|w| w[1].at < w[0].at) {
                return bad("growth", "use rising shares, weights from 0 to below 1, and shrink only with prune");
            }
            if let Some((name, _)) = penalties.iter().find(|(_, weight)| !weight.is_sound()) {
                return bad(&format!("the penalty {name}"), "use a number or rising points");
            }
        }
        [&t.optimise, &c.optimise].into_iter().try_for_each(Optimise::check)
    }
}

/// Replaces the value at a dotted `key`; its text is read as the old value's type.
pub(crate) fn set(table: &mut Table, key: &str, text: &str) -> Result<()> {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("value"));
    put(table, key, parsed.unwrap_or_else(|| Value::String(text.to_string())))
}

/// Replaces the value at a dotted `key`.
fn put(table: &mut Table, key: &str, mut value: Value) -> Result<()> {
    let unknown = || Error::new(format!("--set {key}: no such value")).remedy("`retort presets` shows what there is");
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().ok_or_else(unknown)?;
    let mut at = table;
    for part in parts {
        // A table that is not there yet may be one that is allowed to be: whoever reads the whole knows.
        at = at.entry(part).or_insert_with(|| Table::new().into()).as_table_mut().ok_or_else(unknown)?;
    }
    let old = at.get(last);
    if let (Some(Value::Float(_)), &Value::Integer(whole)) = (old, &value) {
        value = Value::Float(whole as f64);
    }
    at.insert(last.to_string(), value);
    Ok(())
}
