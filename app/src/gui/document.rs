//! The scene that is open: objects with their places and edits, and its history. Weights are never in it; an object
//! names its field by an id (see [`super::assets`]), so that a step of history costs a few hundred bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use glam::Vec3;
use retort_fields::compose::file::Entry;
use retort_fields::compose::region::Region;
use retort_fields::compose::{Edit, MAX_OBJECTS, Object};
use retort_fields::data::Similarity;
use retort_fields::error::{Error, Result};
use retort_fields::registry::AnyField;
use retort_render::path::CameraPath;
use retort_shaders::Aabb;

use super::assets::AssetId;

/// Steps that can be undone; older ones are forgotten, and with them fields that nothing else uses.
pub const STEPS: usize = 200;
/// The most edits of an object, as scene files have it.
const MAX_EDITS: usize = 256;

/// Names an object for as long as the program runs.
pub type ItemId = u64;

/// An object of the scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its own.
    pub id: ItemId,
    /// Its field.
    pub asset: AssetId,
    /// What people call it.
    pub name: String,
    /// Whether it is shown, taught and saved as visible.
    pub visible: bool,
    /// Whether changes are refused.
    pub locked: bool,
    /// Where its origin is moved to, scene units of the first object.
    pub shift: [f32; 3],
    /// Degrees about x, then y, then z.
    pub rotate: [f32; 3],
    /// Its size, 1 as it was.
    pub scale: f32,
    /// What is changed about it, in this order.
    pub edits: Vec<Edit>,
}

impl Item {
    /// A field as it is.
    pub fn new(asset: AssetId, name: impl Into<String>) -> Self {
        Self {
            id: 0,
            asset,
            name: name.into(),
            visible: true,
            locked: false,
            shift: [0.0; 3],
            rotate: [0.0; 3],
            scale: 1.0,
            edits: Vec::new(),
        }
    }

    /// What a scene file says of the object, whose field is `asset` and which is called `name` if the file says nothing.
    pub fn of_entry(entry: &Entry, asset: AssetId, name: &str) -> Self {
        let name = if entry.name.is_empty() { name } else { &entry.name };
        Self {
            visible: entry.visible,
            locked: entry.locked,
            shift: entry.shift,
            rotate: entry.rotate,
            scale: entry.scale,
            edits: entry.edits.clone(),
            ..Self::new(asset, name)
        }
    }

    /// What a scene file says of it; `field` is the name of its field's file there.
    pub fn entry(&self, field: std::path::PathBuf) -> Entry {
        Entry {
            field,
            shift: self.shift,
            rotate: self.rotate,
            scale: self.scale,
            visible: self.visible,
            edits: self.edits.clone(),
            name: self.name.clone(),
            locked: self.locked,
        }
    }

    /// Where it stands in the scene.
    pub fn transform(&self) -> Similarity {
        self.entry(std::path::PathBuf::new()).transform()
    }

    /// As it is put together with others.
    pub fn object(&self, field: AnyField) -> Object {
        Object { field, transform: self.transform(), edits: self.edits.clone() }
    }

    /// Whether it is its field and nothing else.
    pub fn is_plain(&self) -> bool {
        self.transform() == Similarity::default() && self.edits.is_empty()
    }

    /// The box around `bounds`, a box in its own units, as the scene has it.
    pub fn placed(&self, bounds: &Aabb) -> Aabb {
        let transform = self.transform();
        let corner = |i: usize| {
            let side = Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2 & 1) as f32);
            transform.point(bounds.min + side * bounds.size())
        };
        Aabb::around((0..8).map(corner)).unwrap_or(*bounds)
    }

    /// Whether values are within what scenes can have.
    fn check(&self) -> Result<()> {
        if self.edits.len() > MAX_EDITS {
            return Err(Error::new(format!("{}: too many edits", self.name)).remedy(format!("use at most {MAX_EDITS}")));
        }
        let numbers = self.shift.iter().chain(&self.rotate).all(|v| v.abs() <= 1000.0);
        if !numbers || !(1e-3..=1e3).contains(&self.scale) {
            let what = format!("{}: it cannot be moved, turned or scaled that far", self.name);
            return Err(Error::new(what).remedy("use -1000 to 1000, and a scale from 0.001 to 1000"));
        }
        self.edits.iter().try_for_each(Edit::check)
    }
}

/// The objects, in the order of the outliner, and the way of the camera. Cloning it shares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    items: Vec<Arc<Item>>,
    path: Arc<CameraPath>,
    /// The selected part of an object. It is undone like all else, and not a part of what is saved.
    part: Option<Part>,
}

/// A selected part of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Whose.
    pub item: ItemId,
    /// Which, in the object's own scene units.
    pub region: Region,
}

impl Document {
    /// All objects.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().map(|item| &**item)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The object of this id.
    pub fn get(&self, id: ItemId) -> Option<&Item> {
        self.items().find(|item| item.id == id)
    }

    /// The object of this id, to be changed; other documents that share it keep theirs.
    pub fn get_mut(&mut self, id: ItemId) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == id).map(Arc::make_mut)
    }

    /// Adds an object at the end.
    fn push(&mut self, item: Item) {
        self.items.push(Arc::new(item));
    }

    /// Takes an object away.
    pub fn remove(&mut self, id: ItemId) {
        self.items.retain(|item| item.id != id);
        self.part.take_if(|part| part.item == id);
    }

    /// The selected part.
    pub fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    /// Selects a part, or none.
    pub fn set_part(&mut self, part: Option<Part>) {
        self.part = part;
    }

    /// Hides every object.
    pub fn hide_all(&mut self) {
        let shown: Vec<ItemId> = self.items().filter(|item| item.visible).map(|item| item.id).collect();
        for id in shown {
            if let Some(item) = self.get_mut(id) {
                item.visible = false;
            }
        }
    }

    /// The way of the camera.
    pub fn path(&self) -> &CameraPath {
        &self.path
    }

    /// The way of the camera, to be changed; other documents that share it keep theirs.
    pub fn path_mut(&mut self) -> &mut CameraPath {
        Arc::make_mut(&mut self.path)
    }

    fn check(&self) -> Result<()> {
        if self.len() > MAX_OBJECTS {
            return Err(Error::new("too many objects").remedy(format!("use at most {MAX_OBJECTS}")));
        }
        self.path.check().map_err(|e| Error::new(e.to_string()))?;
        self.items().try_for_each(Item::check)
    }
}

/// A step of history: what it is called, and the document before it.
#[derive(Debug)]
struct Step {
    label: String,
    document: Document,
}

/// A document with its history: every change is one step, and a drag is one as well.
#[derive(Debug, Default)]
pub struct History {
    now: Document,
    undo: VecDeque<Step>,
    redo: Vec<Step>,
    /// The gesture whose changes go into the last step.
    gesture: Option<u64>,
    next_id: ItemId,
    /// Counts every change, undoing included.
    revision: u64,
    /// The document as it is on the disk.
    saved: Document,
}

impl History {
    /// A document that is as it is on the disk, without a past.
    pub fn opened(items: Vec<Item>, after: &Self) -> Self {
        let mut history = Self { next_id: after.next_id, revision: after.revision + 1, ..Self::default() };
        for item in items {
            history.adopt(item);
        }
        history.saved = history.now.clone();
        history
    }

    /// A document of which nothing is on the disk, without a past.
    pub fn recovered(items: Vec<Item>, path: CameraPath, after: &Self) -> Self {
        Self { saved: Document::default(), ..Self::opened(items, after).with_path(path) }
    }

    /// The same with a way of the camera, which is on the disk as well.
    pub fn with_path(mut self, path: CameraPath) -> Self {
        *self.now.path_mut() = path;
        self.saved = self.now.clone();
        self
    }

    fn adopt(&mut self, item: Item) -> ItemId {
        self.next_id += 1;
        self.now.push(Item { id: self.next_id, ..item });
        self.next_id
    }

    /// The document as it is now.
    pub fn now(&self) -> &Document {
        &self.now
    }

    /// Another number after every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether it is other than on the disk.
    pub fn is_changed(&self) -> bool {
        (&self.now.items, &self.now.path) != (&self.saved.items, &self.saved.path)
    }

    /// It is on the disk as it is now.
    pub fn mark_saved(&mut self) {
        self.saved = self.now.clone();
    }

    /// Changes the document by one step called `label`. Changes of one `gesture`, a drag for example, are one step until
    /// [`History::end_gesture`]. A change that changes nothing is no step. Returns whether something changed.
    ///
    /// # Errors
    /// When a value would be out of its range; the document stays as it was.
    pub fn change(&mut self, label: &str, gesture: Option<u64>, change: impl FnOnce(&mut Document)) -> Result<bool> {
        let mut next = self.now.clone();
        change(&mut next);
        next.check()?;
        if next == self.now {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.now, next);
        if gesture.is_none() || gesture != self.gesture {
            self.undo.push_back(Step { label: label.into(), document: before });
            if self.undo.len() > STEPS {
                self.undo.pop_front();
            }
        }
        self.gesture = gesture;
        self.redo.clear();
        self.revision += 1;
        Ok(true)
    }

    /// Adds an object and, if asked, hides all others, as one step; gives its id.
    ///
    /// # Errors
    /// As [`History::change`].
    pub fn add(&mut self, label: &str, item: Item, alone: bool) -> Result<ItemId> {
        self.add_beside(label, item, |document| {
            if alone {
                document.hide_all();
            }
        })
    }

    /// Adds an object after `change`, as one step; gives its id.
    ///
    /// # Errors
    /// As [`History::change`].
    pub fn add_beside(&mut self, label: &str, item: Item, change: impl FnOnce(&mut Document)) -> Result<ItemId> {
        self.next_id += 1;
        let item = Item { id: self.next_id, ..item };
        self.change(label, None, |document| {
            change(document);
            document.push(item);
        })?;
        Ok(self.next_id)
    }

    /// The drag is over: the next change is a step of its own.
    pub fn end_gesture(&mut self) {
        self.gesture = None;
    }

    /// What would be undone, for menus.
    pub fn undo_label(&self) -> Option<&str> {
        self.undo.back().map(|step| &*step.label)
    }

    /// What would be done again, for menus.
    pub fn redo_label(&self) -> Option<&str> {
        self.redo.last().map(|step| &*step.label)
    }

    /// Goes one step back; false where there is none.
    pub fn undo(&mut self) -> bool {
        let Some(Step { label, document }) = self.undo.pop_back() else { return false };
        let document = std::mem::replace(&mut self.now, document);
        self.redo.push(Step { label, document });
        self.moved()
    }

    /// Does the step again that was undone last; false where there is none.
    pub fn redo(&mut self) -> bool {
        let Some(Step { label, document }) = self.redo.pop() else { return false };
        let document = std::mem::replace(&mut self.now, document);
        self.undo.push_back(Step { label, document });
        self.moved()
    }

    fn moved(&mut self) -> bool {
        self.gesture = None;
        self.revision += 1;
        true
    }

    /// Whether the document, now or in a step that can be reached, has an object of this field.
    pub fn uses(&self, asset: AssetId) -> bool {
        let steps = self.undo.iter().chain(&self.redo).map(|step| &step.document);
        steps.chain([&self.now, &self.saved]).any(|document| document.items().any(|item| item.asset == asset))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use retort_fields::compose::region::Corners;

    use super::*;

    fn crop(size: f32) -> Edit {
        Edit::Crop(Corners { min: [-size; 3], max: [size; 3] })
    }

    fn two() -> History {
        History::opened(vec![Item::new(1, "one"), Item::new(2, "two")], &History::default())
    }

    /// Bytes that the history holds, shared objects counted once.
    fn held(history: &History) -> usize {
        let steps = history.undo.iter().chain(&history.redo);
        let documents = steps.map(|s| &s.document).chain([&history.now, &history.saved]);
        let mut seen = HashSet::new();
        let mut bytes = 0;
        for document in documents {
            bytes += document.items.capacity() * size_of::<Arc<Item>>();
            for item in &document.items {
                if seen.insert(Arc::as_ptr(item)) {
                    bytes += size_of::<Item>() + item.edits.capacity() * size_of::<Edit>() + item.name.capacity();
                }
            }
        }
        bytes
    }

    #[test]
    fn one_action_is_one_step_there_and_back() {
        let mut history = two();
        let id = history.now().items().next().unwrap().id;
        assert!(!history.is_changed() && history.undo_label().is_none());
        history.change("Crop", None, |d| d.get_mut(id).unwrap().edits.push(crop(0.5))).unwrap();
        history.change("Rename", None, |d| d.get_mut(id).unwrap().name = "first".into()).unwrap();
        history.change("Delete", None, |d| d.remove(id)).unwrap();
        assert!(history.now().get(id).is_none() && history.is_changed());
        assert_eq!(history.undo_label(), Some("Delete"));
        assert!(history.undo() && history.now().get(id).unwrap().name == "first");
        assert!(history.undo() && history.now().get(id).unwrap().name == "one");
        assert!(history.undo() && history.now().get(id).unwrap().edits.is_empty());
        assert!(!history.undo() && !history.is_changed());
        assert_eq!(history.redo_label(), Some("Crop"));
        assert!(history.redo() && history.now().get(id).unwrap().edits.len() == 1);
        // A new change forgets what was undone.
        history.change("Hide", None, Document::hide_all).unwrap();
        assert!(!history.redo() && history.undo_label() == Some("Hide"));
    }

    #[test]
    fn a_drag_is_one_step_and_nothing_is_none() {
        let mut history = two();
        let id = history.now().items().next().unwrap().id;
        for i in 1..=50 {
            history.change("Move", Some(7), |d| d.get_mut(id).unwrap().shift[0] = i as f32).unwrap();
        }
        history.end_gesture();
        history.change("Move", Some(7), |d| d.get_mut(id).unwrap().shift[0] = 60.0).unwrap();
        assert!(!history.change("Move", None, |d| d.get_mut(id).unwrap().shift[0] = 60.0).unwrap());
        assert!(history.undo() && history.now().get(id).unwrap().shift[0] == 50.0);
        assert!(history.undo() && history.now().get(id).unwrap().shift[0] == 0.0);
        assert!(!history.undo());
    }

    #[test]
    fn impossible_values_change_nothing() {
        let mut history = two();
        let id = history.now().items().next().unwrap().id;
        let before = history.now().clone();
        for bad in [f32::NAN, 0.0, -1.0, 1e9] {
            assert!(history.change("Scale", None, |d| d.get_mut(id).unwrap().scale = bad).is_err(), "{bad}");
        }
        let edit = Edit::Brightness(-1.0);
        assert!(history.change("Brightness", None, |d| d.get_mut(id).unwrap().edits.push(edit)).is_err());
        assert!(history.change("Move", None, |d| d.get_mut(id).unwrap().shift[2] = f32::INFINITY).is_err());
        assert!(*history.now() == before && history.undo_label().is_none());
    }

    #[test]
    fn memory_is_flat_over_a_thousand_edits_and_undos() {
        let mut history = two();
        let id = history.now().items().next().unwrap().id;
        let mut most = [0; 4];
        for (round, most) in most.iter_mut().enumerate() {
            for i in 0..250 {
                let size = 0.1 + 0.001 * (round * 250 + i) as f32;
                history.change("Crop", None, |d| d.get_mut(id).unwrap().edits = vec![crop(size)]).unwrap();
                *most = (*most).max(held(&history));
            }
            while history.undo() {}
            while history.redo() {}
            *most = (*most).max(held(&history));
        }
        assert!(most[0] > 0 && most[3] <= most[0], "{most:?}");
        assert_eq!(history.undo.len(), STEPS);
    }

    #[test]
    fn fields_are_used_until_history_forgets_them() {
        let mut history = two();
        let added = history.add("Convert", Item::new(3, "three"), true).unwrap();
        assert!(history.now().items().all(|item| item.visible == (item.id == added)));
        history.undo();
        assert!(history.uses(3) && !history.uses(4) && history.now().len() == 2);
        assert!(history.now().items().all(|item| item.visible), "one step");
        history.change("Hide", None, Document::hide_all).unwrap();
        assert!(!history.uses(3), "what was undone is gone");
    }

    #[test]
    fn a_scene_file_holds_all_of_an_object() {
        let item = Item {
            name: "chair".into(),
            visible: false,
            locked: true,
            shift: [0.1, 0.2, 0.3],
            rotate: [0.0, 0.0, 90.0],
            scale: 0.5,
            edits: vec![crop(0.5), Edit::Temperature(0.5)],
            ..Item::new(9, "x")
        };
        assert_eq!(Item::of_entry(&item.entry("f.safetensors".into()), 9, "y"), item);
        let plain = Item::of_entry(&Item::new(9, "").entry("f".into()), 9, "file");
        assert!(plain.name == "file" && plain.is_plain() && !item.is_plain());
        let placed = item.placed(&Aabb::cube(1.0));
        assert!(placed.min.distance(Vec3::new(-0.4, -0.3, -0.2)) < 1e-5, "{placed:?}");
    }
}
