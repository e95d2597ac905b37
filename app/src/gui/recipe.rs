//! What a person fills in to start a job, as text until it is understood, and the command line that does the same.

use std::path::{Path, PathBuf};

use retort_distill::RunOptions;
use retort_distill::guidance::Loss;
use retort_distill::preset;
use retort_fields::error::{Error, Result};
use retort_fields::registry::Kind;

use crate::cli;
use crate::commands::PRESET;
use crate::commands::generate::SYSTEM;
use crate::commands::work::quoted;

/// How a job is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The kind of field to make.
    pub kind: Kind,
    /// The preset's name or a TOML file.
    pub preset: String,
    /// Steps; nothing means the preset's.
    pub steps: String,
    /// The longest it may take, such as `90s`; nothing means no limit.
    pub time: String,
    /// Where random choices start; nothing means 0.
    pub seed: String,
    /// A `key=value` of the preset on each line.
    pub set: String,
}

/// A recipe that was understood.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Changed values of the preset.
    pub set: Vec<(String, String)>,
    /// How long and from which seed.
    pub options: RunOptions,
}

impl Recipe {
    /// The usual preset of `kind`.
    pub fn new(kind: Kind) -> Self {
        let nothing = String::new;
        Self { kind, preset: PRESET.into(), steps: nothing(), time: nothing(), seed: nothing(), set: nothing() }
    }

    /// The presets that come with the program for this kind.
    pub fn presets(kind: Kind) -> Vec<String> {
        let names = preset::names().into_iter();
        names.filter_map(|(name, _)| name.strip_prefix(kind.name())?.strip_prefix(' ').map(str::to_string)).collect()
    }

    /// The text of the preset, if it came with the program: every key that can be set.
    pub fn preset_text(&self) -> Option<&'static str> {
        let wanted = format!("{} {}", self.kind, self.preset);
        preset::names().into_iter().find(|(name, _)| *name == wanted).map(|(_, text)| text)
    }

    fn settings(&self) -> Result<Vec<(String, String)>> {
        let lines = self.set.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let parse = |line: &str| cli::setting(line).map_err(|e| wrong("the value", line, &e));
        lines.map(parse).collect()
    }

    /// What the texts say.
    ///
    /// # Errors
    /// When one is no number, time or `key=value`; the message names it.
    pub fn parse(&self) -> Result<Parsed> {
        let filled = |text: &str| Some(text.trim().to_string()).filter(|text| !text.is_empty());
        let steps = filled(&self.steps)
            .map(|text| {
                text.parse().ok().filter(|n| *n > 0).ok_or_else(|| wrong("steps", &text, "use a number above 0"))
            })
            .transpose()?;
        let time =
            filled(&self.time).map(|text| cli::duration(&text).map_err(|e| wrong("time", &text, &e))).transpose()?;
        let seed = filled(&self.seed)
            .map(|text| text.parse().map_err(|_| wrong("the seed", &text, "use a whole number of 0 or more")))
            .transpose()?;
        Ok(Parsed { set: self.settings()?, options: RunOptions { seed: seed.unwrap_or(0), steps, time } })
    }

    /// The flags that say the same.
    fn flags(&self) -> Vec<String> {
        let mut words = vec!["--to".into(), self.kind.to_string(), "--preset".into(), self.preset.clone()];
        for (flag, text) in [("--steps", &self.steps), ("--time", &self.time), ("--seed", &self.seed)] {
            if !text.trim().is_empty() {
                words.extend([flag.to_string(), text.trim().to_string()]);
            }
        }
        for (key, value) in self.settings().unwrap_or_default() {
            words.extend(["--set".to_string(), format!("{key}={value}")]);
        }
        words
    }

    /// `retort convert IN …` or `retort train DATA …`.
    pub fn line(&self, verb: &str, input: &Path, device: &str) -> String {
        let mut words = vec!["retort".to_string(), verb.into(), input.display().to_string()];
        words.extend(self.flags());
        if device != "auto" {
            words.extend(["--device".to_string(), device.into()]);
        }
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn wrong(what: &str, text: &str, remedy: &str) -> Error {
    Error::new(format!("{what} cannot be \"{text}\"")).remedy(remedy)
}

/// What a conversion learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Teacher {
    /// The selected object with its edits.
    #[default]
    Selected,
    /// Every visible object, as the scene shows them: baking.
    Scene,
}

/// The panel of conversions.
#[derive(Clone, Debug)]
pub struct ConvertForm {
    /// What is learned from.
    pub teacher: Teacher,
    /// How.
    pub recipe: Recipe,
}

/// The name of the prior that comes with the program.
pub const BUILT_IN: &str = "builtin";

/// The panel of generation.
#[derive(Clone, Debug)]
pub struct GenerateForm {
    /// What to make.
    pub prompt: String,
    /// The diffusion model, as `--prior` names it.
    pub model: String,
    /// Whether the selected object is changed, and nothing new is made.
    pub edits: bool,
    /// What the selected object is now, where that is not known or other than what it was made from.
    pub source: String,
    /// The loss, where other than the system's.
    pub loss: Option<Loss>,
    /// How many are made, with seeds that follow the recipe's.
    pub seeds: u64,
    /// How; its preset is a system.
    pub recipe: Recipe,
}

impl GenerateForm {
    /// An empty prompt and what suits the built-in prior.
    pub fn new() -> Self {
        let recipe = Recipe { preset: SYSTEM.into(), ..Recipe::new(Kind::Hash) };
        let (prompt, source) = (String::new(), String::new());
        Self { prompt, model: BUILT_IN.into(), edits: false, source, loss: None, seeds: 1, recipe }
    }

    /// Whether the model is the one that comes with the program.
    pub fn is_built_in(&self) -> bool {
        self.model.trim() == BUILT_IN
    }

    /// `retort generate PROMPT …`.
    pub fn line(&self, device: &str) -> String {
        let mut line = self.recipe.line("generate", Path::new(self.prompt.trim()), device);
        if let Some(loss) = self.loss {
            line += &format!(" --loss {loss}");
        }
        if !self.is_built_in() {
            line += &format!(" --prior {}", quoted(self.model.trim()));
        }
        line
    }
}

/// The panel of trainings.
#[derive(Clone, Debug)]
pub struct TrainForm {
    /// The folder or JSON file of posed photos.
    pub data: String,
    /// How.
    pub recipe: Recipe,
}

impl TrainForm {
    /// The photos' place.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.data.trim())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    fn filled() -> Recipe {
        Recipe {
            steps: " 300 ".into(),
            time: "1m30s".into(),
            seed: "7".into(),
            set: "convert.rays=512\n\n# a remark\n convert.view_size = 64\n".into(),
            ..Recipe::new(Kind::Hash)
        }
    }

    #[test]
    fn what_is_filled_in_is_understood() {
        let parsed = filled().parse().unwrap();
        assert_eq!((parsed.options.steps, parsed.options.seed), (Some(300), 7));
        assert_eq!(parsed.options.time, Some(Duration::from_secs(90)));
        assert_eq!(parsed.set[1], ("convert.view_size".into(), "64".into()));
        let empty = Recipe::new(Kind::Mlp).parse().unwrap();
        assert!(empty.options.steps.is_none() && empty.set.is_empty());
        type Spoil = fn(&mut Recipe);
        let spoils: [(Spoil, &str); 4] = [
            (|r| r.steps = "many".into(), "steps"),
            (|r| r.time = "90".into(), "time"),
            (|r| r.seed = "-1".into(), "seed"),
            (|r| r.set = "rays".into(), "rays"),
        ];
        for (spoil, word) in spoils {
            let mut recipe = filled();
            spoil(&mut recipe);
            let error = recipe.parse().unwrap_err();
            assert!(error.what.contains(word) && !error.remedy.is_empty(), "{error}");
        }
    }

    #[test]
    fn the_command_line_says_the_same() {
        let line = filled().line("convert", Path::new("lego.safetensors"), "cpu");
        let cli = cli::Cli::try_parse_from(line.split_whitespace()).expect(&line);
        let parsed = filled().parse().unwrap();
        assert_eq!((cli.common.steps, cli.common.time), (parsed.options.steps, parsed.options.time));
        assert_eq!((cli.common.seed, &cli.common.set), (7, &parsed.set));
        assert!(matches!(cli.command, Some(cli::Command::Convert(c)) if c.to == Some(Kind::Hash)));
        let form = GenerateForm { prompt: " a red ball".into(), loss: Some(Loss::Sds), ..GenerateForm::new() };
        assert_eq!(form.line("cpu"), "retort generate 'a red ball' --to hash --preset quick --device cpu --loss sds");
        let line = Recipe::new(Kind::Mlp).line("train", Path::new("my photos"), "auto");
        assert_eq!(line, "retort train 'my photos' --to mlp --preset fast");
    }

    #[test]
    fn every_kind_has_presets_with_a_text() {
        for kind in Kind::ALL {
            assert!(Recipe::presets(*kind).contains(&PRESET.to_string()), "{kind}");
            assert!(Recipe::new(*kind).preset_text().is_some_and(|text| text.contains("[convert")), "{kind}");
        }
        assert!(Recipe { preset: "my.toml".into(), ..Recipe::new(Kind::Mlp) }.preset_text().is_none());
    }
}
