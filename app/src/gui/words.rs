//! What the state does with prompts: new objects, and changes of the selected one.

use std::path::PathBuf;

use glam::Vec3;
use retort_distill::prior::world::prompt::understand;
use retort_fields::compose::Edit;
use retort_fields::compose::region::Region;
use retort_fields::error::{Error, Result};
use retort_fields::registry::AnyField;
use retort_shaders::Aabb;

use super::document::{Item, ItemId};
use super::jobs::{JobId, Lesson, Order};
use super::recipe::Recipe;
use super::state::{Shot, State};
use crate::commands::edit::{SYSTEM, edited, words_of};
use crate::commands::generate::file_stem;
use crate::commands::work::quoted;

/// Points along each side of the box in which a region is looked for.
const LOOKED: usize = 32;

/// What an edit by words changes.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The object.
    pub item: ItemId,
    /// Its field.
    pub field: AnyField,
    /// What it is, in words.
    pub source: String,
    /// The part that may change, in the object's own units; everything where none is selected.
    pub region: Option<Region>,
}

impl Changed {
    /// The box around the part that may change, as far as the field reaches.
    pub fn part(&self) -> Option<Aabb> {
        let (region, bounds) = (self.region.as_ref()?, self.field.scene().bounds);
        let place = |i: usize| (i as f32 + 0.5) / LOOKED as f32;
        let inside = (0..LOOKED.pow(3)).filter_map(|i| {
            let at = Vec3::new(place(i % LOOKED), place(i / LOOKED % LOOKED), place(i / LOOKED.pow(2)));
            let at = bounds.min + at * (bounds.max - bounds.min);
            region.contains(at).then_some(at)
        });
        let cell = 0.5 * (bounds.max - bounds.min) / LOOKED as f32;
        inside.fold(None, |so_far: Option<Aabb>, at| {
            let around = so_far.unwrap_or(Aabb::new(at, at));
            Some(Aabb::new(around.min.min(at - cell), around.max.max(at + cell)))
        })
    }
}

impl State {
    /// Starts the generation that the panel describes, or tells why not.
    pub fn start_generate(&mut self) {
        let ordered = self
            .generate_orders()
            .and_then(|orders| orders.into_iter().try_for_each(|order| self.jobs.order(order).map(drop)));
        self.ordered("generating", ordered);
    }

    /// Starts the change of the selected object that the panel describes, or tells why not.
    pub fn start_edit(&mut self) {
        let ordered = self.edit_order().and_then(|order| self.jobs.order(order));
        self.ordered("editing", ordered);
    }

    /// An order for each seed.
    fn generate_orders(&self) -> Result<Vec<Order>> {
        let form = &self.generate;
        let parsed = form.recipe.parse()?;
        let (prompt, model) = (form.prompt.trim().to_string(), form.model.trim().to_string());
        let words = if form.is_built_in() { understand(&prompt)?.description.words() } else { prompt.clone() };
        let (from, stem) = (format!("made from text: {words} ({model})"), file_stem(&prompt));
        let lesson = Lesson::Words { prompt, model, loss: form.loss, changed: None };
        let order = self.order_of((&form.recipe, parsed), lesson, from, &stem, self.generate_line());
        let one = |i: u64| {
            let mut order = order.clone();
            order.options.seed += i;
            if form.seeds > 1 {
                order.name += &format!("-seed-{}", order.options.seed);
            }
            order
        };
        Ok((0..form.seeds.max(1)).map(one).collect())
    }

    fn edit_order(&self) -> Result<Order> {
        let form = &self.generate;
        let parsed = form.recipe.parse()?;
        let none = || Error::new("no object is selected").remedy("select the object to change");
        let (item, asset) = self.selection().ok_or_else(none)?;
        if item.locked {
            return Err(Error::new(format!("{} is locked", item.name)).remedy("unlock it first"));
        }
        let source = match form.source.trim() {
            "" => words_of(&asset.made).ok_or_else(|| {
                Error::new(format!("what {} shows is not known", item.name)).remedy("say what it is now")
            })?,
            said => said.to_string(),
        };
        let (prompt, model) = (form.prompt.trim().to_string(), form.model.trim().to_string());
        let from = edited(&item.name, &source, &prompt);
        let region = self.part().cloned();
        let changed = Changed { item: item.id, field: asset.field.clone(), source, region };
        let lesson = Lesson::Words { prompt, model, loss: None, changed: Some(Box::new(changed)) };
        let recipe = Recipe { kind: asset.field.kind(), preset: SYSTEM.into(), ..form.recipe.clone() };
        Ok(self.order_of((&recipe, parsed), lesson, from, &file_stem(&form.prompt), self.edit_line()))
    }

    /// Puts a changed object in the place of what it was: within the part that was selected, or altogether.
    pub(super) fn put_beside(&mut self, label: &str, item: Item, changed: Changed) -> Result<ItemId> {
        let Changed { item: before, region, .. } = changed;
        let Some(was) = self.document().get(before).cloned() else { return self.history.add(label, item, false) };
        let mut item = Item { asset: item.asset, name: item.name, visible: true, locked: false, ..was };
        item.edits.extend(region.clone().map(Edit::Keep));
        self.history.add_beside(label, item, |document| {
            let Some(was) = document.get_mut(before) else { return };
            match region {
                Some(region) => was.edits.push(Edit::Erase(region)),
                None => was.visible = false,
            }
        })
    }

    /// What was generated goes into the gallery, with its last views.
    pub(super) fn remember(&mut self, job: JobId, item: ItemId, name: &str) {
        let sight = self.jobs.row(job).and_then(|row| row.sight.clone());
        self.gallery.extend(sight.map(|sight| Shot { item, name: name.to_string(), sight }));
    }

    /// What the selected object is, in words, if it was made from a prompt.
    pub fn known_source(&self) -> Option<String> {
        words_of(&self.selection()?.1.made)
    }

    /// The command line of the panel of generation.
    pub fn generate_line(&self) -> String {
        self.generate.line(&self.device)
    }

    /// The command line of an edit; a selected part, which is a box there, is left out.
    pub fn edit_line(&self) -> String {
        let form = &self.generate;
        let named = |(_, asset): (_, &super::assets::Asset)| {
            asset.path.clone().unwrap_or_else(|| format!("{}.safetensors", asset.name).into())
        };
        let input: PathBuf = self.selection().map_or_else(|| "field.safetensors".into(), named);
        let mut line = format!("retort edit {} {}", quoted(&input.display().to_string()), quoted(form.prompt.trim()));
        for (flag, text) in [("--source", &form.source), ("--steps", &form.recipe.steps), ("--seed", &form.recipe.seed)]
        {
            if !text.trim().is_empty() {
                line += &format!(" {flag} {}", quoted(text.trim()));
            }
        }
        if !form.is_built_in() {
            line += &format!(" --prior {}", quoted(form.model.trim()));
        }
        line
    }

    /// Shows one object alone, such as one of several that were made of a prompt.
    pub fn show_alone(&mut self, id: ItemId, name: &str) {
        self.change(&format!("Show {name} alone"), None, |document| {
            document.hide_all();
            if let Some(item) = document.get_mut(id) {
                item.visible = true;
            }
        });
        self.selected = Some(id);
    }
}
