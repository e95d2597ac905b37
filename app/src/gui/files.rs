//! Opening and saving: what the state does with files. A file that fails changes nothing.

use std::path::{Path, PathBuf};

use retort_fields::compose::Subject;
use retort_fields::compose::file::{self, Entry, SceneFile};
use retort_fields::compose::project::is_project;
use retort_fields::error::{Error, Result};
use retort_fields::field::RenderOptions;
use retort_fields::files::any::{self, FileKind};

use super::assets::{Asset, AssetId};
use super::background::{self, Ask, Loaded, LoadedScene, Message, Written};
use super::document::{History, Item, ItemId};
use super::state::{After, Asker, Dialog, Purpose, State};
use super::timeline;
use crate::output;
use crate::pictures::Picture;

/// The longer side of an exported picture, pixels, unless another is asked for.
const EXPORT: u32 = 1280;

impl State {
    /// Opens the scene that comes with the program.
    pub fn open_demo(&mut self) {
        let device = self.device.clone();
        self.background.start("opening the demo", move || {
            let (field, made) = background::demo(&device)?;
            Ok(Message::Field(Box::new(Loaded { field, made, path: None, name: "demo".into() })))
        });
    }

    /// Opens what `path` names: a field or a scene; photos go to the panel of trainings.
    pub fn open(&mut self, path: &Path) {
        let is_scene = file::scene_path(path).is_some();
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        // The meta.json of a folder of Gaussians is known by what is in it.
        let is_photos = is_json && any::kind_of(path).is_ok_and(|kind| matches!(kind, FileKind::Ours));
        if !is_scene && (path.is_dir() || is_photos) {
            self.train.data = path.display().to_string();
            self.news = format!("{}: choose a kind and train", super::name_of(path));
        } else if is_scene && self.history.is_changed() {
            self.dialog = Some(Dialog::Unsaved(After::Open(path.to_path_buf())));
        } else {
            self.load(path);
        }
    }

    /// Loads a field or a scene on a thread.
    pub(super) fn load(&mut self, path: &Path) {
        let (file, device) = (path.to_path_buf(), self.device.clone());
        let what = format!("opening {}", super::name_of(path));
        self.background.start(&what, move || background::open_any(&file, &device));
    }

    /// A field is there: it takes the place of the demo, or joins what is open.
    pub(super) fn opened_field(&mut self, loaded: Loaded) {
        let Loaded { field, made, path, name } = loaded;
        let is_demo = path.is_none();
        if let Some(path) = &path {
            self.recent.note(path);
        }
        let (notes, lies) = (made.notes.clone(), made.lies);
        let asset = self.assets.add(field, made, path, name.clone());
        let mut item = Item::new(asset, &name);
        if lies {
            // It stands, and typed values show how it was put up.
            item.rotate = [90.0, 0.0, 0.0];
        }
        if self.document().is_empty() && !self.history.is_changed() || self.is_demo {
            self.history = History::opened(vec![item], &self.history);
            let first = self.history.now().items().next().map(|item| item.id);
            self.selected = first;
            (self.scene_path, self.is_demo, self.homing) = (None, is_demo, true);
        } else {
            match self.history.add(&format!("Open {name}"), item, false) {
                Ok(id) => self.selected = Some(id),
                Err(error) => self.trouble("opening", error),
            }
        }
        self.news = [vec![format!("{name} is open")], notes].concat().join("; ");
    }

    /// A scene is there: it takes the place of what is open.
    pub(super) fn opened_scene(&mut self, loaded: LoadedScene) {
        let LoadedScene { path, fields, objects, camera_path } = loaded;
        self.recent.note(&path);
        let mut names = Vec::new();
        let mut ids: Vec<AssetId> = Vec::new();
        for Loaded { field, made, path, name } in fields {
            names.push(name.clone());
            ids.push(self.assets.add(field, made, path, name));
        }
        let items = objects.iter().map(|(at, entry)| Item::of_entry(entry, ids[*at], &names[*at])).collect();
        self.timeline.begin(&camera_path);
        self.history = History::opened(items, &self.history).with_path(camera_path);
        self.selected = None;
        self.reselect();
        (self.is_demo, self.homing) = (false, true);
        self.news = format!("{} is open", super::name_of(&path));
        self.scene_path = Some(path);
    }

    /// Asks for the name of a file, with a proposal.
    pub fn ask_name(&mut self, purpose: Purpose) {
        let proposed = match &purpose {
            Purpose::Open | Purpose::Measure(_) => PathBuf::new(),
            Purpose::SaveField(id) => {
                let asset = self.document().get(*id).and_then(|item| self.assets.get(item.asset));
                let name = asset.map_or_else(|| "field".into(), |asset| asset.name.clone());
                let kind = asset.map(|asset| asset.field.kind());
                PathBuf::from(kind.map_or(name.clone(), |kind| output::field_name(&name, kind)))
            }
            Purpose::SaveScene(_) => self.scene_path.clone().unwrap_or_else(|| file::NAME.into()),
            Purpose::ExportPicture(_) => PathBuf::from("retort.png"),
            Purpose::ExportMesh => PathBuf::from("retort.glb"),
            Purpose::Path(what) => self.path_name(*what),
        };
        self.dialog = Some(Dialog::Name(purpose, proposed.display().to_string()));
    }

    /// Asks for the name of a picture of the view, whose shape is `aspect` (width over height).
    pub fn ask_picture(&mut self, aspect: f32) {
        let size = if aspect >= 1.0 { [1.0, 1.0 / aspect] } else { [aspect, 1.0] };
        let size = size.map(|side| ((EXPORT as f32 * side.max(0.05)).round() as u32).max(1));
        self.ask_name(Purpose::ExportPicture(size));
    }

    /// Lets the person choose in the system's own dialog.
    pub fn browse(&mut self, ask: Ask, asker: Asker) {
        self.asker = Some(asker);
        if cfg!(target_os = "macos") {
            // Its dialogs belong to the first thread.
            self.chosen(match background::choose(ask) {
                Message::Chosen(path) => path,
                _ => None,
            });
        } else {
            self.background.start("choosing a file", move || Ok(background::choose(ask)));
        }
    }

    pub(super) fn chosen(&mut self, path: Option<PathBuf>) {
        let (Some(path), Some(asker)) = (path, self.asker.take()) else { return };
        match (asker, &mut self.dialog) {
            (Asker::Dialog, Some(Dialog::Name(_, text))) => *text = path.display().to_string(),
            (Asker::Photos, _) => self.train.data = path.display().to_string(),
            _ => {}
        }
    }

    /// The name was given: does what it was asked for.
    pub fn named(&mut self, purpose: Purpose, text: &str) {
        self.dialog = None;
        let path = PathBuf::from(text.trim());
        let done = match purpose {
            Purpose::Open => {
                self.open(&path);
                Ok(())
            }
            Purpose::Measure(id) => self.measure(id, &path),
            Purpose::SaveField(id) => self.save_field(id, &path),
            Purpose::SaveScene(after) => self.save_scene(&path, after),
            Purpose::ExportPicture(size) => self.export_picture(&path, size),
            Purpose::ExportMesh => self.export_mesh(&path),
            Purpose::Path(what) => self.path_named(what, &path),
        };
        if let Err(error) = done {
            self.trouble("saving", error);
        }
    }

    /// Saves the scene where it was saved before, or asks where.
    pub fn save(&mut self) {
        match self.scene_path.clone() {
            Some(path) => self.named(Purpose::SaveScene(None), &path.display().to_string()),
            None => self.ask_name(Purpose::SaveScene(None)),
        }
    }

    /// Writes the field of an object. Edited Gaussians are written as they look; edits of other kinds are the scene's.
    ///
    /// # Errors
    /// When the name means another format, or there is no such object.
    fn save_field(&mut self, id: ItemId, path: &Path) -> Result<()> {
        let gone = || Error::new("the object is not there any more");
        let item = self.document().get(id).ok_or_else(gone)?;
        let asset = self.assets.get(item.asset).ok_or_else(gone)?;
        let kind = asset.field.kind();
        let path = output::field_path(Some(path), &output::field_name(&asset.name, kind), kind)?;
        let merged = asset.field.as_primitives().is_some() && !item.is_plain();
        let foreign = path.extension().is_none_or(|ending| ending != any::ENDING);
        let (asset, field, made) = (asset.id, asset.field.clone(), asset.made.clone());
        let object = item.object(field.clone());
        self.background.start(&format!("saving {}", super::name_of(&path)), move || {
            if merged && let Some(field) = Subject::of(vec![object])?.as_field() {
                any::save(field, &made, &path)?;
                return Ok(Message::Exported(path));
            }
            // Another format is an export: the object stays what is to be saved with the scene.
            if foreign {
                any::save(&field, &made, &path)?;
                return Ok(Message::Exported(path));
            }
            background::save(vec![Written { asset, field, made, path }], None)
        });
        Ok(())
    }

    /// The scene as a file says it; `name` is asked once for what a field is called there.
    pub(super) fn scene_file(&self, mut name: impl FnMut(&Asset) -> PathBuf) -> SceneFile {
        let mut names: Vec<(AssetId, PathBuf)> = Vec::new();
        let mut objects: Vec<Entry> = Vec::new();
        for item in self.document().items() {
            let Some(asset) = self.assets.get(item.asset) else { continue };
            let known = names.iter().find(|(id, _)| *id == asset.id).map(|(_, file)| file.clone());
            let file = known.unwrap_or_else(|| {
                let file = name(asset);
                names.push((asset.id, file.clone()));
                file
            });
            objects.push(item.entry(file));
        }
        let camera_path = timeline::entry_of(self.document().path());
        SceneFile { version: file::VERSION, objects, camera_path }
    }

    /// Writes the scene, and beside it the fields that have no file yet; a project with all its fields in it.
    ///
    /// # Errors
    /// When the name means another format, or there is nothing to save.
    pub fn save_scene(&mut self, path: &Path, after: Option<After>) -> Result<()> {
        let path = scene_file(path)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
        let folder = folder.canonicalize().map_err(|e| Error::io(&folder, &e))?;
        let revision = self.history.revision();
        let what = format!("saving {}", super::name_of(&path));
        let mut written: Vec<Written> = Vec::new();
        if is_project(&path) {
            let scene = self.scene_file(|asset| {
                let lower = |path: &Path| path.to_string_lossy().to_lowercase();
                let taken = |name: &Path| written.iter().any(|other| lower(&other.path) == lower(name));
                let name = free_name(Path::new(""), &asset.name, taken);
                written.push(Written::new(asset, name.clone()));
                name
            });
            self.background.start(&what, move || background::pack(path, &scene, &written, revision));
        } else {
            let scene = self.scene_file(|asset| {
                let file = asset.path.clone().unwrap_or_else(|| {
                    let taken = |name: &Path| name.exists() || written.iter().any(|other| other.path == name);
                    let file = free_name(&folder, &asset.name, taken);
                    written.push(Written::new(asset, file.clone()));
                    file
                });
                relative(&file, &folder)
            });
            self.background.start(&what, move || background::save(written, Some((path, scene, revision))));
        }
        self.after = after;
        Ok(())
    }

    pub(super) fn saved(&mut self, fields: &[(AssetId, PathBuf)], scene: Option<(PathBuf, u64)>) {
        for (asset, path) in fields {
            self.assets.saved(*asset, path);
            self.news = format!("{} written", path.display());
        }
        let Some((path, revision)) = scene else {
            fields.iter().for_each(|(_, path)| self.recent.note(path));
            return;
        };
        if revision == self.history.revision() {
            self.history.mark_saved();
        }
        self.is_demo = false;
        self.recent.note(&path);
        self.news = format!("{} written", path.display());
        self.scene_path = Some(path);
        if let Some(after) = self.after.take() {
            self.give_up(after);
        }
    }

    /// Draws the view at `size` and writes it.
    ///
    /// # Errors
    /// When nothing is visible.
    fn export_picture(&mut self, path: &Path, size: [u32; 2]) -> Result<()> {
        let objects = self.visible();
        if objects.is_empty() {
            return Err(Error::new("nothing is visible").remedy("show an object first"));
        }
        let path = if path.extension().is_some() { path.to_path_buf() } else { path.with_extension("png") };
        let (camera, over) = (self.orbit.camera(size[0], size[1]), self.backdrop.colour());
        self.background.start(&format!("drawing {}", super::name_of(&path)), move || {
            let frame = Subject::of(objects)?.render(&camera, &RenderOptions::default());
            Picture::of_frame(&frame, over).write_png(&path)?;
            Ok(Message::Exported(path))
        });
        Ok(())
    }
}

/// The scene file that `path` means: a folder's, or itself with the usual ending unless it is a project's.
fn scene_file(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.join(file::NAME));
    }
    match path.extension() {
        None => Ok(path.with_extension("toml")),
        Some(ending) if ending.eq_ignore_ascii_case("toml") || is_project(path) => Ok(path.to_path_buf()),
        Some(_) => {
            let what = "a scene is a .toml file, or a .retort project";
            Err(Error::new(what).file(path).remedy("let the name end in .toml or .retort"))
        }
    }
}

/// `name` without what a file cannot be called.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_. ".contains(c) { c } else { '_' }).collect()
}

/// A name in `folder` for a field called `name` that is not taken.
pub(super) fn free_name(folder: &Path, name: &str, taken: impl Fn(&Path) -> bool) -> PathBuf {
    let plain = plain(name);
    let candidate = |i: usize| {
        let number = if i == 0 { String::new() } else { format!("-{}", i + 1) };
        folder.join(format!("{plain}{number}.{}", any::ENDING))
    };
    let mut i = 0;
    while taken(&candidate(i)) {
        i += 1;
    }
    candidate(i)
}

/// The name of `file` as a scene file in `folder` has it: short where it is in there.
fn relative(file: &Path, folder: &Path) -> PathBuf {
    // A file that was just named is not there yet, but its folder is.
    let name = file.file_name().unwrap_or_default();
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = parent.canonicalize().map_or_else(|_| file.to_path_buf(), |parent| parent.join(name));
    whole.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_free_plain_and_short() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().canonicalize().unwrap();
        std::fs::write(folder.join("a_b.safetensors"), "x").unwrap();
        let second = free_name(&folder, "a/b", Path::exists);
        assert_eq!(second, folder.join("a_b-2.safetensors"));
        assert_eq!(free_name(&folder, "a/b", |p| p.exists() || p == second), folder.join("a_b-3.safetensors"));
        assert_eq!(relative(&second, &folder), Path::new("a_b-2.safetensors"));
        let other = tempfile::tempdir().unwrap();
        assert!(relative(&second, &other.path().canonicalize().unwrap()).is_absolute());
        assert_eq!(scene_file(&folder).unwrap(), folder.join("scene.toml"));
        assert_eq!(scene_file(Path::new("a")).unwrap(), Path::new("a.toml"));
        assert_eq!(scene_file(Path::new("a.retort")).unwrap(), Path::new("a.retort"));
        assert!(scene_file(Path::new("a.safetensors")).unwrap_err().remedy.contains(".toml"));
    }
}
