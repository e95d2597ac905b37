//! Everything that the window shows and does, without the toolkit that draws it: tests drive this, and so does the
//! window. What takes time happens elsewhere and is read by [`State::poll`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use glam::Vec3;
use retort_distill::task::Sight;
use retort_fields::compose::{Edit, Object};
use retort_fields::error::{Error, Result};
use retort_fields::field::Scene;
use retort_fields::registry::Kind;
use retort_render::orbit::{Mode as Steering, Orbit};

use super::assets::{Asset, Assets};
use super::background::{Background, Message};
use super::document::{Document, History, Item, ItemId};
use super::jobs::{Jobs, Lesson, Unfinished};
use super::measure::Measured;
use super::meshing::MeshForm;
use super::panels::overlay::Overlays;
use super::pictures::{Drawn, Mode, Pictures, Source, View};
use super::recent::Recent;
use super::recipe::{ConvertForm, GenerateForm, Recipe, Teacher, TrainForm};
use super::recovery::Recovery;
use super::select::Tool;
use super::timeline::{PathUse, Timeline};
use crate::views;

/// The most pixels of a picture in the viewport.
const MOST_PIXELS: f32 = 2.1e6;
/// The same while something is being taught, which needs the processor more.
const WHILE_LEARNING: f32 = 2.5e5;

/// The colour behind the scene.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backdrop {
    /// A grey that suits both themes.
    #[default]
    Grey,
    /// White, as photos with alpha are compared over.
    White,
    /// Black.
    Black,
}

impl Backdrop {
    /// All of them, in the order of menus.
    pub const ALL: [Self; 3] = [Self::Grey, Self::White, Self::Black];

    /// Its name in menus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grey => "Grey",
            Self::White => "White",
            Self::Black => "Black",
        }
    }

    /// sRGB.
    pub fn colour(self) -> [f32; 3] {
        match self {
            Self::Grey => [0.32, 0.33, 0.35],
            Self::White => [1.0; 3],
            Self::Black => [0.0; 3],
        }
    }
}

/// How teacher and student are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Left and right of a line.
    #[default]
    Split,
    /// Where they differ.
    Difference,
    /// Each whole, in half of the width.
    SideBySide,
}

/// What went wrong, for a dialog.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What was tried: `"opening lego.safetensors"`.
    pub tried: String,
    /// Why it did not work, and what helps.
    pub what: String,
    /// The file that it is about.
    pub file: Option<PathBuf>,
    /// What helps.
    pub remedy: String,
}

/// What happens once the open scene is saved or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// The window closes.
    Close,
    /// A scene is opened.
    Open(PathBuf),
}

/// What a name is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    /// A file to open.
    Open,
    /// The selected object's field.
    SaveField(ItemId),
    /// The scene; then something else.
    SaveScene(Option<After>),
    /// Photos to measure an object against.
    Measure(ItemId),
    /// A picture of the view, of this size.
    ExportPicture([u32; 2]),
    /// A mesh of what is visible.
    ExportMesh,
    /// The way of the camera: its file, its pictures or its film.
    Path(PathUse),
}

/// A question that the person has to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Dialog {
    /// There are changes that are not saved, or work that is not done.
    Unsaved(After),
    /// For the name of a file, as far as it is typed.
    Name(Purpose, String),
    /// How near an object came to photos.
    Measured(Box<Measured>),
    /// The sheet of keys and buttons.
    Keys,
    /// What is to become of what was not saved before the program ended.
    Recover,
}

/// Who asked the system for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The dialog for a name.
    Dialog,
    /// The panel of trainings.
    Photos,
}

/// Something generated, as it was seen last.
pub struct Shot {
    /// The object.
    pub item: ItemId,
    /// Its name.
    pub name: String,
    /// Its views.
    pub sight: Sight,
}

/// The whole state.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct State {
    /// The scene and its history.
    pub history: History,
    /// The fields that it names.
    pub assets: Assets,
    /// The object whose properties are shown.
    pub selected: Option<ItemId>,
    /// Conversions and trainings.
    pub jobs: Jobs,
    /// Opening and saving.
    pub background: Background,
    /// The thread that draws.
    pub pictures: Pictures,
    /// From where the scene is seen.
    pub orbit: Orbit,
    /// What of it is shown.
    pub mode: Mode,
    /// What is behind it.
    pub backdrop: Backdrop,
    /// What a drag in the picture does.
    pub tool: Tool,
    /// The brush's radius, points.
    pub brush: f32,
    /// Points that were clicked to measure or to put upright, scene units.
    pub points: Vec<Vec3>,
    /// What is drawn over it.
    pub overlays: Overlays,
    /// Whether the viewport follows a student that is being taught.
    pub follow: bool,
    /// How it is compared with its teacher.
    pub compare: Compare,
    /// Where the picture is divided between teacher (left) and student, 0 to 1.
    pub split: f32,
    /// The panel of conversions.
    pub convert: ConvertForm,
    /// The panel of generation.
    pub generate: GenerateForm,
    /// What was generated since the program began, the newest last.
    pub gallery: Vec<Shot>,
    /// The panel of trainings.
    pub train: TrainForm,
    /// The panel of meshes.
    pub mesh: MeshForm,
    /// Where fields are computed.
    pub device: String,
    /// The scene's file.
    pub scene_path: Option<PathBuf>,
    /// Files that were opened last.
    pub recent: Recent,
    /// Copies of what is not saved.
    pub recovery: Recovery,
    /// Where checkpoints are kept that the end of the window has left.
    unfinished: Option<PathBuf>,
    /// The panel of the camera's way.
    pub timeline: Timeline,
    /// What went wrong and has not been read yet.
    pub troubles: VecDeque<Trouble>,
    /// The question that is open.
    pub dialog: Option<Dialog>,
    /// The last news, for the status bar.
    pub news: String,
    /// Whether the window is to close.
    pub close: bool,
    /// Who asked the system for a name.
    pub(super) asker: Option<Asker>,
    /// What to do once the scene is saved.
    pub(super) after: Option<After>,
    /// Whether the scene is the demo as it came.
    pub(super) is_demo: bool,
    /// Whether the next picture decides where one looks from.
    pub(super) homing: bool,
    /// The revision for which unused fields were let go.
    kept: u64,
    /// The visible objects without what cannot be seen, and the number of this state.
    shown: (Vec<Item>, u64),
}

impl State {
    /// An empty scene; `wake` is called when there is something to poll, from any thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(device: String, settings: Option<PathBuf>, wake: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(wake);
        let for_pictures = Arc::clone(&wake);
        let convert = ConvertForm { teacher: Teacher::Selected, recipe: Recipe::new(Kind::ALL[Kind::ALL.len() - 1]) };
        let recovery = Recovery::load(settings.as_deref());
        let unfinished = settings.as_ref().map(|folder| folder.join("unfinished"));
        let mut state = Self {
            history: History::default(),
            assets: Assets::default(),
            selected: None,
            jobs: Jobs::new(Arc::clone(&wake)),
            background: Background::new(wake),
            pictures: Pictures::start(move || for_pictures())?,
            orbit: Orbit::default(),
            mode: Mode::default(),
            backdrop: Backdrop::default(),
            tool: Tool::default(),
            brush: 24.0,
            points: Vec::new(),
            overlays: Overlays::default(),
            follow: true,
            compare: Compare::default(),
            split: 0.5,
            train: TrainForm { data: String::new(), recipe: Recipe::new(Kind::ALL[0]) },
            mesh: MeshForm::default(),
            generate: GenerateForm::new(),
            gallery: Vec::new(),
            convert,
            device,
            scene_path: None,
            recent: Recent::load(settings),
            recovery,
            unfinished,
            timeline: Timeline::default(),
            troubles: VecDeque::new(),
            dialog: None,
            news: String::new(),
            close: false,
            asker: None,
            after: None,
            is_demo: false,
            homing: true,
            kept: 0,
            shown: (Vec::new(), 0),
        };
        state.ask_to_recover();
        Ok(state)
    }

    /// The open document.
    pub fn document(&self) -> &Document {
        self.history.now()
    }

    /// The selected object and its field.
    pub fn selection(&self) -> Option<(&Item, &Asset)> {
        let item = self.document().get(self.selected?)?;
        Some((item, self.assets.get(item.asset)?))
    }

    /// Reads what has happened on other threads. Call it once a frame.
    pub fn poll(&mut self) {
        while let Some(message) = self.background.next() {
            self.hear(message);
        }
        if let Some(made) = self.jobs.poll() {
            self.take_in(made);
            self.recovery.hurry();
        }
        self.keep();
        if self.homing
            && let Some(scene) = self.pictures.newest().and_then(|drawn| drawn.scene.clone())
            && self.drawn_is_current()
        {
            self.home(&scene);
        }
        if self.kept != self.history.revision() {
            let history = &self.history;
            self.assets.keep(|asset| history.uses(asset));
            self.kept = history.revision();
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Field(loaded) => self.opened_field(*loaded),
            Message::Scene(loaded) => self.opened_scene(*loaded),
            Message::Saved { fields, scene } => self.saved(&fields, scene),
            Message::Measured(measured) => self.measured_photos(*measured),
            Message::Floaters(id, found) => self.cleared(id, *found),
            Message::Kept(kept) => self.heard_kept(kept),
            Message::Recovered(found) => {
                let (loaded, left) = *found;
                self.recovered(loaded, left);
            }
            Message::Exported(path) => self.news = format!("{} written", path.display()),
            Message::MeshPreview(preview) => self.previewed(*preview),
            Message::Meshed(path, lines) => self.news = format!("{} written: {}", path.display(), lines.join(";")),
            Message::Path(file) => self.opened_path(*file),
            Message::CalledOff(what) => self.news = format!("{what} called off"),
            Message::Chosen(path) => self.chosen(path),
            Message::Failed(tried, error) => self.trouble(&tried, error),
        }
    }

    /// Tells the person what went wrong.
    pub fn trouble(&mut self, tried: &str, error: Error) {
        let Error { what, file, remedy } = error;
        self.after = None;
        self.troubles.push_back(Trouble { tried: tried.into(), what, file, remedy });
    }

    /// Does `change` as one step, or tells why not. Locked objects are for the panels to leave alone.
    pub fn change(&mut self, label: &str, gesture: Option<u64>, change: impl FnOnce(&mut Document)) {
        match self.history.change(label, gesture, change) {
            Ok(true) => self.is_demo = false,
            Ok(false) => {}
            Err(error) => self.trouble(label, error),
        }
    }

    /// Changes the selected object, unless it is locked.
    pub fn change_selected(&mut self, label: &str, gesture: Option<u64>, change: impl FnOnce(&mut Item)) {
        let Some(id) = self.selected else { return };
        if self.document().get(id).is_some_and(|item| !item.locked) {
            self.change(label, gesture, |document| {
                if let Some(item) = document.get_mut(id) {
                    change(item);
                }
            });
        }
    }

    /// Adds an edit to the selected object.
    pub fn add_edit(&mut self, edit: Edit) {
        self.change_selected(&format!("Add {}", edit.name().replace('_', " ")), None, |item| item.edits.push(edit));
    }

    /// Takes the selected object away.
    pub fn remove_selected(&mut self) {
        let Some(id) = self.selected else { return };
        if self.document().get(id).is_some_and(|item| !item.locked) {
            self.change("Delete", None, |document| document.remove(id));
            self.selected = self.document().items().last().map(|item| item.id);
        }
    }

    /// Adds a copy of the selected object, which shares its field.
    pub fn duplicate_selected(&mut self) {
        let Some((item, _)) = self.selection() else { return };
        let copy = Item { name: format!("{} copy", item.name), locked: false, ..item.clone() };
        match self.history.add("Duplicate", copy, false) {
            Ok(id) => self.selected = Some(id),
            Err(error) => self.trouble("Duplicate", error),
        }
    }

    /// Hides the selected object, or shows it again.
    pub fn toggle_selected(&mut self) {
        let label = if self.selection().is_some_and(|(item, _)| item.visible) { "Hide" } else { "Show" };
        let Some(id) = self.selected else { return };
        self.change(label, None, |document| {
            if let Some(item) = document.get_mut(id) {
                item.visible = !item.visible;
            }
        });
    }

    /// Shows every object.
    pub fn show_all(&mut self) {
        let all: Vec<ItemId> = self.document().items().map(|item| item.id).collect();
        self.change("Show all", None, |document| {
            for id in all {
                if let Some(item) = document.get_mut(id).filter(|item| !item.visible) {
                    item.visible = true;
                }
            }
        });
    }

    /// Goes a step back in history.
    pub fn undo(&mut self) {
        let label = self.history.undo_label().map(|label| format!("{label} undone"));
        if self.history.undo() {
            self.news = label.unwrap_or_default();
            self.reselect();
        }
    }

    /// Does again what was undone last.
    pub fn redo(&mut self) {
        let label = self.history.redo_label().map(|label| format!("{label} done again"));
        if self.history.redo() {
            self.news = label.unwrap_or_default();
            self.reselect();
        }
    }

    /// The selection stays on an object that is there.
    pub(super) fn reselect(&mut self) {
        if self.selected.is_none_or(|id| self.document().get(id).is_none()) {
            let shown = self.document().items().find(|item| item.visible);
            self.selected = shown.or_else(|| self.document().items().next()).map(|item| item.id);
        }
    }

    /// Closes the window, after a question where something would be lost.
    pub fn request_close(&mut self) {
        if self.history.is_changed() || self.jobs.is_busy() {
            self.dialog = Some(Dialog::Unsaved(After::Close));
        } else {
            self.close = true;
        }
    }

    /// Ends the job at work, whose checkpoint is kept; says how to go on with it where the window was started.
    pub fn end_jobs(&mut self) {
        let Some(folder) = &self.unfinished else { return };
        match self.jobs.end(folder) {
            Ok(Some(Unfinished { checkpoint, steps, line })) => {
                eprintln!("{}: kept after {steps} steps; go on with: {line}", checkpoint.display());
            }
            Ok(None) => {}
            Err(error) => eprintln!("the job at work was lost: {error}"),
        }
    }

    /// Goes on without saving.
    pub fn give_up(&mut self, after: After) {
        match after {
            After::Close => self.close = true,
            After::Open(path) => self.load(&path),
        }
    }

    /// The objects of `document` that are visible, ready to be put together.
    pub fn visible(&self) -> Vec<Object> {
        let shown = self.document().items().filter(|item| item.visible);
        shown.filter_map(|item| Some(item.object(self.assets.get(item.asset)?.field.clone()))).collect()
    }

    /// The number of what is visible; the same number means the same picture.
    pub(super) fn shown_key(&mut self) -> u64 {
        let bare = |item: &Item| Item { id: 0, name: String::new(), locked: false, ..item.clone() };
        let shown: Vec<Item> = self.document().items().filter(|item| item.visible).map(bare).collect();
        if shown != self.shown.0 {
            self.shown = (shown, self.shown.1 + 1);
        }
        self.shown.1
    }

    /// What the viewport of `width` × `height` pixels wants to see; nothing where there is nothing.
    pub fn view(&mut self, width: u32, height: u32) -> Option<View> {
        let scenes = self.scenes();
        if scenes.is_empty() || width == 0 || height == 0 {
            return None;
        }
        let width = if self.is_side_by_side(scenes.len()) { width / 2 } else { width };
        if width == 0 {
            return None;
        }
        let most = if self.jobs.active().is_some() { WHILE_LEARNING } else { MOST_PIXELS };
        let shrink = (most / (width as f32 * height as f32)).sqrt().min(1.0);
        let [width, height] = [width, height].map(|side| ((side as f32 * shrink) as u32).max(1));
        let camera = self.orbit.camera(width, height);
        let live = self.follow && self.jobs.student().is_some();
        let marked = if scenes.len() == 1 && !live { self.marked() } else { None };
        Some(View { scenes, camera, mode: self.mode, background: self.backdrop.colour(), live, marked })
    }

    /// Whether each of `scenes` scenes has a half of the viewport.
    pub fn is_side_by_side(&self, scenes: usize) -> bool {
        scenes > 1 && self.compare == Compare::SideBySide
    }

    /// The scenes of the viewport: teacher and student of a job that is followed, or what is open. Numbers of the three
    /// sorts differ in their remainder by 4.
    fn scenes(&mut self) -> Vec<Source> {
        if let Some(student) = self.jobs.student().filter(|_| self.follow) {
            let taught = Source { key: 4 * student.number + 2, objects: vec![student.field.clone().into()] };
            return match self.jobs.row(student.job).map(|row| &row.order.lesson) {
                Some(Lesson::Teacher { objects, .. }) => {
                    vec![Source { key: 4 * student.job + 1, objects: objects.clone() }, taught]
                }
                _ => vec![taught],
            };
        }
        let key = 4 * self.shown_key();
        let objects = self.visible();
        if objects.is_empty() { Vec::new() } else { vec![Source { key, objects }] }
    }

    /// Whether the newest picture shows what is to be seen now, from wherever.
    fn drawn_is_current(&mut self) -> bool {
        let keys = |scenes: &[Source]| scenes.iter().map(|s| s.key).collect::<Vec<_>>();
        let wanted = keys(&self.scenes());
        self.pictures.newest().is_some_and(|drawn| keys(&drawn.view.scenes) == wanted)
    }

    /// Looks from where the command line does.
    fn home(&mut self, scene: &Scene) {
        let target = if scene.unbounded { Vec3::ZERO } else { scene.bounds.centre() };
        let mode = self.orbit.mode;
        self.orbit = Orbit { mode, ..Orbit::looking(&views::orbit(scene, 1, [4, 3])[0], target) };
        self.homing = false;
    }

    /// Looks at the whole scene again.
    pub fn reset_view(&mut self) {
        if let Some(scene) = self.pictures.newest().and_then(|drawn| drawn.scene.clone()) {
            self.home(&scene);
        }
    }

    /// Looks at the selected object.
    pub fn frame_selected(&mut self) {
        let Some((item, asset)) = self.selection() else { return self.reset_view() };
        let scene = asset.field.scene();
        if scene.unbounded {
            return self.reset_view();
        }
        let bounds = item.placed(&scene.bounds);
        self.orbit.frame(&bounds);
    }

    /// Looks at the point that is seen at `place`, from `(0, 0)` at the top left to `(1, 1)`.
    pub fn focus(&mut self, drawn: &Drawn, place: glam::Vec2) {
        let several = drawn.view.scenes.len() > 1;
        let beside = self.is_side_by_side(drawn.view.scenes.len());
        let which = usize::from(several && place.x > if beside { 0.5 } else { self.split });
        let x = if beside { 2.0 * place.x - which as f32 } else { place.x };
        let place = glam::Vec2::new(x, place.y);
        if let Some(point) = drawn.point(which, place) {
            self.orbit.focus(point);
        }
    }

    /// Changes between going around and flying.
    pub fn toggle_steering(&mut self) {
        self.orbit.mode = match self.orbit.mode {
            Steering::Orbit => Steering::Fly,
            Steering::Fly => Steering::Orbit,
        };
    }
}
