//! Selecting a part of an object and what is done with it, measuring, and putting upright. A selection is a region
//! ([`retort_fields::compose::region`]) in the object's own units; what becomes of it is an edit of the object.

use glam::{EulerRot, Quat, Vec2, Vec3};
use retort_fields::compose::region::{Corners, How, Outline, Region, Shape, Sphere, Stroke};
use retort_fields::compose::{Edit, floaters, scene_from_object};
use retort_fields::data::Similarity;
use retort_fields::error::{Error, Result};
use retort_render::gizmo::{Change, Deed};
use retort_shaders::Camera;

use super::background::Message;
use super::document::{Item, ItemId, Part};
use super::pictures::{Drawn, Marked};
use super::state::State;

/// Pieces below this share of the largest one are floaters.
pub const FLOATER: f32 = 0.02;
/// The brush's radius, points.
pub const BRUSHES: [f32; 2] = [2.0, 300.0];

/// What a drag with the main button does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tool {
    /// Moves the camera.
    #[default]
    Look,
    /// Selects what is seen in a rectangle.
    Rectangle,
    /// Selects what is seen in an outline.
    Lasso,
    /// Selects what is near the surface that it goes over.
    Brush,
    /// Selects a sphere, from its middle on a surface outward.
    Sphere,
    /// Selects a cube, likewise.
    Box,
    /// Moves the object.
    Move,
    /// Turns it.
    Turn,
    /// Makes it larger or smaller.
    Scale,
    /// Measures between two points.
    Measure,
    /// Puts the object on the ground that three points show.
    Ground,
}

impl Tool {
    /// All of them, in the order of the row of tools: name, and what it does.
    pub const ALL: [(Self, &str, &str); 11] = [
        (Self::Look, "Look", "Drags move the camera (Esc)"),
        (Self::Rectangle, "Rectangle", "Selects what is seen in a rectangle (R)"),
        (Self::Lasso, "Lasso", "Selects what is seen in an outline (L)"),
        (Self::Brush, "Brush", "Selects what is near the surface ([B], size by [ and ])"),
        (Self::Sphere, "Ball", "Selects a ball around a point of a surface (O)"),
        (Self::Box, "Box", "Selects a cube around a point of a surface (X)"),
        (Self::Move, "Move", "Moves the object by its arrows (1)"),
        (Self::Turn, "Turn", "Turns the object by its rings (2)"),
        (Self::Scale, "Scale", "Makes the object larger or smaller (3)"),
        (Self::Measure, "Measure", "Measures between two points, and sets the scale (M)"),
        (Self::Ground, "Ground", "Puts the object upright on three points of its ground"),
    ];

    /// What its handles do, where it has handles.
    pub fn deed(self) -> Option<Deed> {
        match self {
            Self::Move => Some(Deed::Move),
            Self::Turn => Some(Deed::Turn),
            Self::Scale => Some(Deed::Scale),
            _ => None,
        }
    }

    /// Whether it selects.
    pub fn selects(self) -> bool {
        matches!(self, Self::Rectangle | Self::Lasso | Self::Brush | Self::Sphere | Self::Box)
    }

    /// How many points it takes by clicks.
    pub fn clicks(self) -> usize {
        match self {
            Self::Measure => 2,
            Self::Ground => 3,
            _ => 0,
        }
    }
}

/// A drag of a tool over the picture, in its points.
pub struct Sweep<'a> {
    /// Where the pointer went, points of a picture that `camera` sees.
    pub path: &'a [Vec2],
    /// One pixel a point.
    pub camera: &'a Camera,
    /// The picture that was seen.
    pub drawn: Option<&'a Drawn>,
    /// How it changes what was selected.
    pub how: How,
}

impl Sweep<'_> {
    /// The surface under a point of the picture, scene units.
    fn surface(&self, at: Vec2) -> Option<Vec3> {
        let size = Vec2::new(self.camera.width as f32, self.camera.height as f32);
        self.drawn?.point(0, at / size)
    }

    /// The scene units that a point of the picture is wide at `x`.
    fn unit(&self, x: Vec3) -> f32 {
        self.camera.project(x).map_or(0.0, |(_, depth)| depth / self.camera.focal.y)
    }

    /// What `tool` selects, in the units of an object that stands at `place`; nothing where it met nothing.
    fn shape(&self, tool: Tool, brush: f32, place: &Similarity) -> Option<Shape> {
        let (first, last) = (*self.path.first()?, *self.path.last()?);
        match tool {
            Tool::Rectangle => {
                let (low, high) = (first.min(last), first.max(last));
                let corners = [low, Vec2::new(high.x, low.y), high, Vec2::new(low.x, high.y)];
                (high - low).cmpgt(Vec2::ONE).all().then(|| self.outline(&corners, place))
            }
            Tool::Lasso => {
                let corners = thinned(self.path);
                (corners.len() > 2).then(|| self.outline(&corners, place))
            }
            Tool::Brush => {
                let mut hits = self.path.iter().filter_map(|at| self.surface(*at));
                let start = hits.next()?;
                let radius = brush * self.unit(start);
                // Nearer points say nothing new.
                let mut points = vec![start];
                for hit in hits {
                    if points.last().is_some_and(|last| last.distance(hit) > 0.25 * radius) {
                        points.push(hit);
                    }
                }
                let points = points.into_iter().map(|x| place.inverse_point(x)).collect();
                Some(Shape::Stroke(Stroke::new(points, radius / place.scale)))
            }
            Tool::Sphere | Tool::Box => {
                let centre = self.surface(first)?;
                // A click alone is as large as the brush.
                let points = if first.distance(last) > 2.0 { first.distance(last) } else { brush };
                let (radius, centre) = (points * self.unit(centre) / place.scale, place.inverse_point(centre));
                Some(if tool == Tool::Sphere {
                    Shape::Sphere(Sphere { centre: centre.to_array(), radius })
                } else {
                    Shape::Box(Corners { min: (centre - radius).to_array(), max: (centre + radius).to_array() })
                })
            }
            _ => None,
        }
    }

    fn outline(&self, corners: &[Vec2], place: &Similarity) -> Shape {
        let (camera, back) = (self.camera, place.rotation.inverse());
        let corner = |at: &Vec2| {
            let m = (*at - camera.centre) / camera.focal;
            [m.x, -m.y]
        };
        Shape::Outline(Outline {
            eye: place.inverse_point(camera.position()).to_array(),
            right: (back * Vec3::from(camera.world_from_camera.matrix3.x_axis)).to_array(),
            up: (back * camera.up()).to_array(),
            corners: corners.iter().map(corner).collect(),
        })
    }
}

/// A path without points that are nearer than a few to the last one that stays, at most some hundreds.
fn thinned(path: &[Vec2]) -> Vec<Vec2> {
    const MOST: usize = 400;
    let mut least = 3.0;
    loop {
        let mut kept: Vec<Vec2> = Vec::new();
        for at in path {
            if kept.last().is_none_or(|last| last.distance(*at) >= least) {
                kept.push(*at);
            }
        }
        if kept.len() <= MOST {
            return kept;
        }
        least *= 1.5;
    }
}

/// The angles of a scene file for a turn: degrees about x, then y, then z.
fn angles(turn: Quat) -> [f32; 3] {
    let (z, y, x) = turn.to_euler(EulerRot::ZYX);
    [x, y, z].map(f32::to_degrees)
}

impl Item {
    /// Puts it where `change` about `place` leaves it.
    fn moved(&mut self, change: &Change, place: Vec3) {
        let old = self.transform();
        let (scale, rotation, translation) = change.after(place, old.scale, old.rotation, old.translation);
        (self.scale, self.shift) = (scale, translation.to_array());
        if change.turn != Quat::IDENTITY {
            self.rotate = angles(rotation);
        }
    }
}

impl State {
    /// Takes a tool.
    pub fn take(&mut self, tool: Tool) {
        self.tool = tool;
        self.points.clear();
    }

    /// From an object's own units to those of the scene, which are the first visible object's.
    pub fn place_of(&self, item: &Item) -> Option<Similarity> {
        let first = self.document().items().find(|item| item.visible)?;
        let scene = self.assets.get(first.asset)?.field.scene();
        Some(scene_from_object(scene, self.assets.get(item.asset)?.field.scene(), &item.transform()))
    }

    /// The selected object, unless it is locked; else the reason is in the status bar.
    fn free(&mut self) -> Option<Item> {
        let found = self.selection().map(|(item, _)| item.clone());
        let why = match &found {
            None => "Select an object first",
            Some(item) if item.locked => "The object is locked",
            Some(item) if !item.visible => "The object is hidden",
            Some(_) => return found,
        };
        self.news = why.into();
        None
    }

    /// The selected part of the selected object.
    pub fn part(&self) -> Option<&Region> {
        let part = self.document().part()?;
        (Some(part.item) == self.selected).then_some(&part.region)
    }

    /// What of the picture is coloured.
    pub(super) fn marked(&self) -> Option<Marked> {
        let part = self.document().part()?;
        let item = self.document().get(part.item).filter(|item| item.visible)?;
        Some(Marked { region: part.region.clone(), scene_from_object: self.place_of(item)? })
    }

    fn set_part(&mut self, label: &str, item: ItemId, region: Option<Region>) {
        let part = region.map(|region| Part { item, region });
        self.change_part(label, |document| document.set_part(part));
    }

    /// A step that changes nothing that is saved.
    fn change_part(&mut self, label: &str, change: impl FnOnce(&mut super::document::Document)) {
        if let Err(error) = self.history.change(label, None, change) {
            self.trouble(label, error);
        }
    }

    /// Selects what a drag of the tool went over.
    pub fn sweep(&mut self, sweep: &Sweep<'_>) {
        let Some(item) = self.free() else { return };
        let Some(place) = self.place_of(&item) else { return };
        let Some(shape) = sweep.shape(self.tool, self.brush, &place) else {
            self.news = "Nothing was met there".into();
            return;
        };
        let before = self.part().cloned().unwrap_or_default();
        self.set_part("Select", item.id, Some(before.with(sweep.how, shape)));
    }

    /// Selects all of the object.
    pub fn select_all(&mut self) {
        if let Some(item) = self.free() {
            self.set_part("Select all", item.id, Some(Region::everything()));
        }
    }

    /// Selects nothing.
    pub fn select_none(&mut self) {
        self.change_part("Select none", |document| document.set_part(None));
    }

    /// Selects what was not selected.
    pub fn invert_part(&mut self) {
        if let Some(item) = self.free() {
            let region = self.part().cloned().unwrap_or_default().inverted();
            self.set_part("Invert selection", item.id, Some(region));
        }
    }

    /// Replaces the last shape of the selection, which was typed.
    pub fn change_last_shape(&mut self, gesture: Option<u64>, parts: Vec<retort_fields::compose::region::Part>) {
        let Some(item) = self.selected else { return };
        let part = Some(Part { item, region: parts.into() });
        if let Err(error) = self.history.change("Select", gesture, |document| document.set_part(part)) {
            self.trouble("Select", error);
        }
    }

    /// Adds an edit made of the selection to its object; nothing is selected then.
    fn use_part(&mut self, label: &str, edit: impl FnOnce(Region) -> Edit) {
        let (Some(item), Some(region)) = (self.free(), self.part().cloned()) else { return };
        self.change(label, None, |document| {
            document.set_part(None);
            if let Some(item) = document.get_mut(item.id) {
                item.edits.push(edit(region));
            }
        });
    }

    /// Erases the selected part.
    pub fn erase_part(&mut self) {
        self.use_part("Erase selection", Edit::Erase);
    }

    /// Erases all but the selected part.
    pub fn keep_part(&mut self) {
        self.use_part("Keep selection", Edit::Keep);
    }

    /// Makes an object of its own of the selected part: taken out of this one, or a copy of it.
    pub fn separate_part(&mut self, copy: bool) {
        let (Some(item), Some(region)) = (self.free(), self.part().cloned()) else { return };
        let mut part = Item { name: format!("{} part", item.name), ..item.clone() };
        part.edits.push(Edit::Keep(region.clone()));
        let label = if copy { "Duplicate selection" } else { "Separate selection" };
        match self.history.add_beside(label, part, |document| {
            document.set_part(None);
            if !copy && let Some(item) = document.get_mut(item.id) {
                item.edits.push(Edit::Erase(region));
            }
        }) {
            Ok(id) => {
                self.is_demo = false;
                self.selected = Some(id);
            }
            Err(error) => self.trouble(label, error),
        }
    }

    /// Looks for floaters of the selected object on a thread; [`State::cleared`] erases them.
    pub fn clear_floaters(&mut self) {
        let Some(item) = self.free() else { return };
        let Some(field) = self.assets.get(item.asset).map(|asset| asset.field.clone()) else { return };
        let (id, object) = (item.id, item.object(field));
        self.background.start("looking for floaters", move || {
            Ok(Message::Floaters(id, Box::new(floaters::find(&object, FLOATER)?)))
        });
    }

    pub(super) fn cleared(&mut self, id: ItemId, found: Option<floaters::Cleared>) {
        let Some(floaters::Cleared { keep, pieces, .. }) = found else {
            self.news = "No floaters were found".into();
            return;
        };
        let region = Region::from(Shape::Cells(keep));
        self.change("Remove floaters", None, |document| {
            if let Some(item) = document.get_mut(id).filter(|item| !item.locked) {
                item.edits.push(Edit::Keep(region));
            }
        });
        self.news = format!("{pieces} floaters removed");
    }

    /// The place of the selected object's handles: the middle of its box.
    pub fn pivot(&self) -> Option<Vec3> {
        let (item, asset) = self.selection().filter(|(item, _)| item.visible && !item.locked)?;
        Some(self.place_of(item)?.point(asset.field.scene().bounds.centre()))
    }

    /// Moves, turns or scales the selected object to where `change` about `place` leaves it, as it stood in `from` when
    /// the drag began.
    pub fn transform(&mut self, from: &Item, change: &Change, place: Vec3, gesture: u64) {
        if self.refuses_to_move() {
            return;
        }
        let mut item = from.clone();
        item.moved(change, place);
        let label = match self.tool {
            Tool::Turn => "Turn",
            Tool::Scale => "Scale",
            _ => "Move",
        };
        self.change_selected(label, Some(gesture), |now| {
            (now.shift, now.rotate, now.scale) = (item.shift, item.rotate, item.scale);
        });
    }

    fn refuses_to_move(&mut self) -> bool {
        let endless = self.selection().is_some_and(|(_, asset)| asset.field.scene().unbounded);
        if endless {
            self.news = "An unbounded field cannot be moved, turned or scaled".into();
        }
        endless
    }

    /// Takes a point of the scene for the tool that measures or puts upright.
    pub fn take_point(&mut self, drawn: &Drawn, at: Vec2) {
        let Some(point) = drawn.point(0, at) else {
            self.news = "There is no surface".into();
            return;
        };
        if self.points.len() >= self.tool.clicks() {
            self.points.clear();
        }
        self.points.push(point);
        if self.tool == Tool::Ground && self.points.len() == Tool::Ground.clicks() {
            if let Err(error) = self.put_upright() {
                self.trouble("Ground", error);
            }
            self.points.clear();
        }
    }

    /// What was measured, scene units.
    pub fn measured(&self) -> Option<f32> {
        match (self.tool, &self.points[..]) {
            (Tool::Measure, [a, b]) => Some(a.distance(*b)),
            _ => None,
        }
    }

    /// Scales the selected object so that what was measured is `wanted` long.
    pub fn set_measured(&mut self, wanted: f32) {
        let (Some(length), Some(first)) = (self.measured(), self.points.first().copied()) else { return };
        if self.free().is_none() || self.refuses_to_move() || !(length > 0.0 && wanted > 0.0) {
            return;
        }
        let change = Change { scale: wanted / length, turn: Quat::IDENTITY, shift: Vec3::ZERO };
        self.change_selected("Set scale", None, |item| item.moved(&change, first));
        self.points.clear();
    }

    /// Turns the selected object so that the three points lie level, and moves it so that they lie at height 0.
    fn put_upright(&mut self) -> Result<()> {
        let &[a, b, c] = &self.points[..] else { return Ok(()) };
        if self.free().is_none() || self.refuses_to_move() {
            return Ok(());
        }
        let Some(normal) = (b - a).cross(c - a).try_normalize() else {
            return Err(Error::new("the three points lie on a line").remedy("choose points that span the ground"));
        };
        // One looks at a ground from above.
        let normal = if normal.dot(self.orbit.eye() - a) < 0.0 { -normal } else { normal };
        let change =
            Change { scale: 1.0, turn: Quat::from_rotation_arc(normal, Vec3::Z), shift: Vec3::new(0.0, 0.0, -a.z) };
        self.change_selected("Put upright", None, |item| item.moved(&change, a));
        Ok(())
    }
}
