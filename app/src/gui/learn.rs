//! Starting jobs, and what becomes of their fields: what the state does with conversions and trainings; for those from
//! words see [`super::words`].

use std::path::{Path, PathBuf};

use retort_fields::error::{Error, Result};

use super::document::Item;
use super::jobs::{Lesson, Made, Order};
use super::recipe::{Parsed, Recipe, Teacher};
use super::state::State;
use crate::output;

impl State {
    /// Starts the conversion that the panel describes, or tells why not.
    pub fn start_convert(&mut self) {
        let ordered = self.convert_order().and_then(|order| self.jobs.order(order));
        self.ordered("converting", ordered);
    }

    /// Starts the training that the panel describes, or tells why not.
    pub fn start_train(&mut self) {
        let ordered = self.train_order().and_then(|order| self.jobs.order(order));
        self.ordered("training", ordered);
    }

    pub(super) fn ordered<T>(&mut self, tried: &str, ordered: Result<T>) {
        match ordered {
            Ok(_) => self.follow = true,
            Err(error) => self.trouble(tried, error),
        }
    }

    fn convert_order(&self) -> Result<Order> {
        let recipe = &self.convert.recipe;
        let parsed = recipe.parse()?;
        let (objects, stem, what) = match self.convert.teacher {
            Teacher::Selected => {
                let none = || Error::new("no object is selected").remedy("select one, or convert the whole scene");
                let (item, asset) = self.selection().ok_or_else(none)?;
                let what = format!("{} ({})", item.name, asset.field.kind());
                (vec![item.object(asset.field.clone())], item.name.clone(), what)
            }
            Teacher::Scene => {
                let objects = self.visible();
                let stem = self.scene_path.as_deref().map_or_else(|| "scene".into(), output::stem);
                let what = format!("scene of {}", objects.len());
                (objects, stem, what)
            }
        };
        if objects.is_empty() {
            return Err(Error::new("nothing is visible").remedy("show an object first"));
        }
        let taught = self.document().items().filter(|item| match self.convert.teacher {
            Teacher::Selected => Some(item.id) == self.selected,
            Teacher::Scene => item.visible,
        });
        let backgrounds: Vec<_> = taught.filter_map(|item| self.assets.get(item.asset)?.made.background).collect();
        let background = backgrounds.first().copied().filter(|b| backgrounds.iter().all(|o| o == b));
        let lesson = Lesson::Teacher { objects, background };
        Ok(self.order_of((recipe, parsed), lesson, format!("converted from {what}"), &stem, self.convert_line()))
    }

    fn train_order(&self) -> Result<Order> {
        let (recipe, data) = (&self.train.recipe, self.train.path());
        let parsed = recipe.parse()?;
        if self.train.data.trim().is_empty() {
            return Err(Error::new("no photos are named").remedy("choose a folder of posed photos"));
        }
        let stem = output::stem(&data);
        Ok(self.order_of(
            (recipe, parsed),
            Lesson::Photos(data),
            format!("trained from {stem}"),
            &stem,
            self.train_line(),
        ))
    }

    /// The order of a panel's recipe and what it was read as, for a field that is named after `stem`.
    pub(super) fn order_of(
        &self,
        (recipe, parsed): (&Recipe, Parsed),
        lesson: Lesson,
        from: String,
        stem: &str,
        line: String,
    ) -> Order {
        Order {
            lesson,
            from,
            kind: recipe.kind,
            preset: recipe.preset.clone(),
            set: parsed.set,
            options: parsed.options,
            device: self.device.clone(),
            name: stem_of(&output::field_name(stem, recipe.kind)),
            line,
            resume: None,
        }
    }

    /// The file that the command line would be given for the teacher; where it has none yet, what it would be called.
    fn teacher_file(&self) -> PathBuf {
        let scene = || self.scene_path.clone().unwrap_or_else(|| "scene.toml".into());
        match (self.convert.teacher, self.selection()) {
            (Teacher::Selected, Some((item, asset))) if item.is_plain() => {
                asset.path.clone().unwrap_or_else(|| format!("{}.safetensors", asset.name).into())
            }
            _ => scene(),
        }
    }

    /// The command line of the panel of conversions. What is not saved yet is named as it would be.
    pub fn convert_line(&self) -> String {
        self.convert.recipe.line("convert", &self.teacher_file(), &self.device)
    }

    /// The command line of the panel of trainings.
    pub fn train_line(&self) -> String {
        let data = self.train.path();
        let data = if data.as_os_str().is_empty() { Path::new("photos") } else { &data };
        self.train.recipe.line("train", data, &self.device)
    }

    /// A job's field becomes an object; it takes the place of what it learned from, which is hidden.
    pub(super) fn take_in(&mut self, made: Made) {
        let Made { id, field, others, made, name } = made;
        let lesson = self.jobs.row(id).map(|row| row.order.lesson.clone());
        let (verb, from_nothing) = match &lesson {
            Some(Lesson::Photos(_)) => ("Train", true),
            Some(Lesson::Words { changed: None, .. }) => ("Generate", true),
            Some(Lesson::Words { .. }) => ("Edit to", false),
            _ => ("Convert to", false),
        };
        let label = format!("{verb} {name}");
        for (number, other) in (2..).zip(others) {
            let name = format!("{name} {number}");
            let asset = self.assets.add(other, made.clone(), None, name.clone());
            if let Err(error) = self.history.add(&label, Item::new(asset, &name), true) {
                self.trouble(&label, error);
            }
        }
        let asset = self.assets.add(field, made, None, name.clone());
        let item = Item::new(asset, &name);
        let added = match lesson {
            Some(Lesson::Words { changed: Some(changed), .. }) => self.put_beside(&label, item, *changed),
            _ => self.history.add(&label, item, true),
        };
        match added {
            Ok(item) => {
                self.selected = Some(item);
                self.remember(id, item, &name);
                (self.is_demo, self.homing) = (false, self.homing || from_nothing);
                self.news = format!("{name} is ready; it is in memory until it is saved");
            }
            Err(error) => self.trouble(&label, error),
        }
    }
}

/// A file's name without its ending.
fn stem_of(name: &str) -> String {
    Path::new(name).file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy().into_owned())
}
