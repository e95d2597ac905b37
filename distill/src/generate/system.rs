//! How text becomes a field: which loss, how much noise when, what else is asked of the field. One TOML file for each
//! published system, and for what suits the built-in prior.

use std::collections::BTreeMap;
use std::path::Path;

use retort_fields::error::{Error, Result};
use retort_fields::registry::Kind;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::blob::Blob;
use super::losses;
use super::pictures::Background;
use super::shade::Shading;
use crate::guidance::{Loss, Settings};
use crate::preset::{Preset, set};
use crate::schedule::Schedule;

// `BUILT_IN: &[(&str, &str)]`, the systems that come with the program: name, text; see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/systems.rs"));

/// What is other than in a kind's preset for every system, by the kind's name and dotted keys.
const KINDS: &str = include_str!("kinds.toml");

/// The preset of a kind that a system begins from.
const KIND_PRESET: &str = "fast";

/// A system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its name; not in the file.
    #[serde(skip)]
    pub name: String,
    /// Steps.
    pub steps: u32,
    /// Rings of views a step.
    pub rings: usize,
    /// Pixels of primitives that are drawn along each side of one that is shown, up to 512 along the picture: a primitive's
    /// smallest size is a drawn pixel.
    pub finer: u32,
    /// Pixels along a side that are drawn, where they are fewer than the model sees; all of them where none is named.
    #[serde(default)]
    pub drawn: Option<Schedule>,
    /// Whether the field is sized for pictures of hundreds of pixels, as in `kinds.toml`.
    #[serde(default)]
    pub large: bool,
    /// Fields that grow together under one loss, as vsd's particles: its apprentice learns from all of them.
    #[serde(default = "one")]
    pub particles: usize,
    /// What is behind the field for a model that sees no alpha.
    #[serde(default)]
    pub background: Background,
    /// The density that the field begins with; what its kind begins with where none is named.
    #[serde(default)]
    pub blob: Option<Blob>,
    /// When the field is shown lit; never where nothing is said.
    #[serde(default)]
    pub shading: Option<Shading>,
    /// The loss and its settings.
    pub guidance: Settings,
    /// Weights of what is asked of the pictures besides, by name; see [`losses`].
    #[serde(default)]
    pub losses: BTreeMap<String, Schedule>,
    /// What is other than in the kind's preset, by the kind's name and dotted keys.
    #[serde(default)]
    pub kinds: BTreeMap<String, BTreeMap<String, Value>>,
}

fn one() -> usize {
    1
}

/// The systems that come with the program, with their texts.
pub fn names() -> Vec<(&'static str, &'static str)> {
    BUILT_IN.to_vec()
}

impl System {
    /// The system called `name`, or of a TOML file, and the preset of the field that it makes. Overrides whose key begins
    /// with `field.` or `train.` are of the preset.
    ///
    /// # Errors
    /// When there is none, the text is not understood, or a value is out of its range.
    pub fn load(name: &str, kind: Kind, loss: Option<Loss>, overrides: &[(String, String)]) -> Result<(Self, Preset)> {
        let text = match BUILT_IN.iter().find(|(n, _)| *n == name) {
            Some((_, text)) => (*text).to_string(),
            None if Path::new(name).extension().is_some_and(|e| e == "toml") => {
                std::fs::read_to_string(name).map_err(|e| Error::io(Path::new(name), &e))?
            }
            None => {
                let names: Vec<_> = BUILT_IN.iter().map(|s| s.0).collect();
                return Err(Error::new(format!("there is no system \"{name}\""))
                    .remedy(format!("use {}, or a .toml file", names.join(", "))));
            }
        };
        let of_field = |key: &str| key.starts_with("field.") || key.starts_with("train.");
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| Error::new(format!("not TOML: {e}")))?;
        if let Some(loss) = loss {
            set(&mut table, "guidance.loss", &format!("\"{loss}\""))?;
        }
        for (key, value) in overrides.iter().filter(|(key, _)| !of_field(key)) {
            set(&mut table, key, value)?;
        }
        let mut system: Self = table.try_into().map_err(|e: toml::de::Error| {
            Error::new(format!("system: {}", e.to_string().trim())).remedy("`retort presets` shows what there is")
        })?;
        system.name = name.to_string();
        system.check()?;
        let common: BTreeMap<String, BTreeMap<String, Value>> =
            toml::from_str(KINDS).map_err(|e| Error::new(format!("kinds.toml: {e}")))?;
        let large = format!("{kind} large");
        let large = if system.large { common.get(&large) } else { None };
        let own = [common.get(kind.name()), large, system.kinds.get(kind.name())].into_iter().flatten().flatten();
        let mut all: Vec<(String, String)> = own.map(|(k, v)| (k.clone(), v.to_string())).collect();
        all.extend(overrides.iter().filter(|(key, _)| of_field(key)).cloned());
        let mut preset = Preset::load(KIND_PRESET, kind, &all)?;
        preset.train.steps = system.steps;
        Ok((system, preset))
    }

    /// What a person should know of it who makes a field of this kind.
    pub fn notes(&self, kind: Kind) -> Vec<String> {
        let asks = self.shading.is_some() || self.losses.contains_key(losses::ORIENT);
        let note = "Gaussians have no surfaces: what the system asks of them (shading, orient) is left out";
        if asks && kind == Kind::Gaussians { vec![note.into()] } else { Vec::new() }
    }

    fn check(&self) -> Result<()> {
        let bad = |what: &str, remedy: &str| Err(Error::new(format!("system: {what} is out of range")).remedy(remedy));
        if self.steps == 0 || !(1..=16).contains(&self.rings) || !(1..=16).contains(&self.finer) {
            return bad("steps, rings or finer", "use at least 1 step, 1 to 16 rings, 1 to 16 times finer");
        }
        if !(1..=16).contains(&self.particles) {
            return bad("particles", "use 1 to 16");
        }
        if self.drawn.as_ref().is_some_and(|s| !s.is_sound() || s.at(0.0) < 8.0 || s.at(1.0) < 8.0) {
            return bad("drawn", "use at least 8 pixels");
        }
        if self.blob.is_some_and(|b| !b.is_sound()) {
            return bad("blob", "use a height of 0 to 20 and a width of 0.01 to 10");
        }
        if self.shading.is_some_and(|s| !s.is_sound()) {
            return bad("shading", "use shares of 0 to 1");
        }
        if let Some((name, _)) = self.losses.iter().find(|(_, s)| !s.is_sound()) {
            return bad(&format!("losses.{name}"), "use a number or rising points");
        }
        if let Some(name) = self.losses.keys().find(|name| losses::ALL.iter().all(|(n, _)| n != name)) {
            let names: Vec<_> = losses::ALL.iter().map(|(n, _)| *n).collect();
            return bad(&format!("losses.{name}"), &format!("use {}", names.join(", ")));
        }
        self.guidance.check()
    }
}
