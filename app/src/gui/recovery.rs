//! What is kept of unsaved work in case the program ends without having been asked to.
//!
//! Each window has a folder of its own beside the list of last files, `recovery/window-PID-N`, made when there is
//! something to keep: `scene.toml`, `about.json`, and the fields that have no file, each written once since weights never
//! change. The folder is the window's for as long as it holds a lock on `lock` in there, which the system lets go of
//! however the program ends; so a folder that can be locked belongs to nobody who is alive. A clean end removes it.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use retort_fields::compose::file::{NAME, SceneFile};
use retort_fields::error::{Error, Result};
use retort_fields::files::{self, write_atomically};
use serde::{Deserialize, Serialize};

use super::assets::{Asset, AssetId};
use super::background::{self, LoadedScene, Message, Written};
use super::document::{History, Item};
use super::state::{Dialog, State};

/// The least time between two copies.
const EVERY: Duration = Duration::from_secs(30);
/// How long after the first unsaved change a copy is made: others follow it.
const REST: Duration = Duration::from_secs(5);
/// The folders' names begin so.
const PREFIX: &str = "window-";
const ABOUT: &str = "about.json";
const LOCK: &str = "lock";

/// What a person is told of a copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What was open: the scene file's name.
    pub name: String,
    /// The scene's file, where it has one.
    pub scene: Option<PathBuf>,
}

/// A folder that nobody else touches.
struct Folder {
    path: PathBuf,
    /// Held for as long as this is alive.
    _lock: File,
    /// Whether it stays behind.
    stays: bool,
}

impl Folder {
    /// A new folder in `base`.
    fn make(base: &Path) -> Result<Self> {
        std::fs::create_dir_all(base).map_err(|e| Error::io(base, &e))?;
        let process = std::process::id();
        for n in 0.. {
            let path = base.join(format!("{PREFIX}{process}-{n}"));
            match std::fs::create_dir(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(Error::io(&path, &e)),
                Ok(()) => {}
            }
            // Another window that starts just now may take it for one that was left.
            if let Some(folder) = Self::lock(path, true) {
                return Ok(folder);
            }
        }
        Err(Error::new("there is no name left").file(base))
    }

    /// A folder that was left, if nobody has it.
    fn lock(path: PathBuf, new: bool) -> Option<Self> {
        let file = OpenOptions::new().write(true).create(new).truncate(false).open(path.join(LOCK)).ok()?;
        file.try_lock().ok()?;
        Some(Self { path, _lock: file, stays: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A panic is a crash: just then it is needed.
        if !self.stays && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What a window left that is not alive any more.
pub struct Left {
    folder: Folder,
    /// What it was.
    pub about: About,
}

impl Left {
    /// All in `base`, those alive left out. What is empty is removed.
    fn all_in(base: &Path) -> VecDeque<Self> {
        let Ok(entries) = std::fs::read_dir(base) else { return VecDeque::new() };
        let windows = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
        let folders = windows.filter_map(|entry| Folder::lock(entry.path(), false));
        // A folder without a scene is dropped here, and with that removed.
        let left = folders.filter(|folder| folder.path.join(NAME).is_file()).map(|mut folder| {
            folder.stays = true;
            let text = std::fs::read_to_string(folder.path.join(ABOUT)).unwrap_or_default();
            let about: About = serde_json::from_str(&text).unwrap_or_default();
            let name = if about.name.is_empty() { "the scene".into() } else { about.name };
            Self { folder, about: About { name, ..about } }
        });
        left.collect()
    }

    /// Reads what was left.
    fn open(self, device: &str) -> Result<Message> {
        let loaded = background::open_scene(self.folder.path.join(NAME), device).map_err(|e| {
            let remedy = format!("what is left is kept in {}", self.folder.path.display());
            if e.remedy.is_empty() { e.remedy(remedy) } else { e }
        })?;
        Ok(Message::Recovered(Box::new((loaded, self))))
    }
}

/// A copy to be written.
pub struct Copy {
    folder: PathBuf,
    revision: u64,
    scene: SceneFile,
    about: About,
    fields: Vec<Written>,
    /// Fields that are not needed any more.
    unused: Vec<PathBuf>,
}

/// A copy that was written, or why not: the number of the document, and its fields.
pub struct Kept {
    revision: u64,
    fields: Result<Vec<AssetId>>,
}

impl Copy {
    /// Writes it; the scene last, which names the fields.
    fn write(self) -> Kept {
        let Self { folder, revision, scene, about, fields, unused } = self;
        let write = || {
            for Written { field, made, path, .. } in &fields {
                files::save(field, made, path)?;
            }
            let about = serde_json::to_string(&about).unwrap_or_default();
            write_atomically(&folder.join(ABOUT), about.as_bytes())?;
            scene.write(&folder.join(NAME))?;
            unused.iter().for_each(|path| drop(std::fs::remove_file(path)));
            Ok(fields.iter().map(|written| written.asset).collect())
        };
        Kept { revision, fields: write() }
    }
}

/// The copies of a window, and those that others left.
#[derive(Default)]
pub struct Recovery {
    /// Where all windows have theirs; without it nothing is kept.
    base: Option<PathBuf>,
    own: Option<Folder>,
    /// The document of the newest copy.
    kept: Option<u64>,
    /// When a change was first seen that is not in it.
    since: Option<Instant>,
    /// When a copy was last tried.
    tried: Option<Instant>,
    /// Whether the next one is not to wait.
    soon: bool,
    /// Whether one is being written.
    busy: bool,
    /// Fields that are in the folder.
    written: HashSet<AssetId>,
    /// Whether a person was told that there is no copy.
    told: bool,
    /// What others left, to be asked about.
    pub found: VecDeque<Left>,
    /// What was recovered; it goes once there is a copy of our own.
    replaced: Option<Left>,
}

impl Recovery {
    /// The copies in `settings`, a folder that need not be there; nothing that is wrong with it is a reason not to start.
    pub fn load(settings: Option<&Path>) -> Self {
        let base = settings.map(|folder| folder.join("recovery"));
        let found = base.as_deref().map(Left::all_in).unwrap_or_default();
        Self { base, found, ..Self::default() }
    }

    /// The next copy does not wait: there is something that took long to make.
    pub fn hurry(&mut self) {
        self.soon = true;
    }

    /// What is kept stays behind when the window closes: nobody was asked.
    pub fn leave(&mut self) {
        if let Some(own) = &mut self.own {
            own.stays = true;
        }
    }

    /// Whether there is a copy of the document of this number.
    #[cfg(test)]
    pub fn has(&self, revision: u64) -> bool {
        self.kept == Some(revision) && !self.busy
    }

    /// Whether a copy of document `revision` is to be made now.
    fn is_due(&mut self, revision: u64) -> bool {
        if self.busy || self.kept == Some(revision) {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let rested = self.tried.is_none_or(|at| at.elapsed() >= EVERY);
        self.soon || rested && since.elapsed() >= REST
    }

    /// Nothing is unsaved any more.
    fn clear(&mut self) {
        if !self.busy && (self.own.is_some() || self.since.is_some()) {
            // What it was recovered from is saved as well, or was given up.
            if let Some(Left { mut folder, .. }) = self.replaced.take() {
                folder.stays = false;
            }
            *self = Self {
                base: self.base.take(),
                found: std::mem::take(&mut self.found),
                tried: self.tried,
                ..Self::default()
            };
        }
    }

    /// The file of a field in `folder`, with its name in clear for whoever finds it.
    fn file_of(folder: &Path, asset: &Asset) -> PathBuf {
        folder.join(format!("{}-{}.safetensors", asset.id, super::files::plain(&asset.name)))
    }
}

impl State {
    /// Makes a copy of what is not saved, if it is time. Called once a frame.
    pub(super) fn keep(&mut self) {
        if self.recovery.base.is_none() {
            return;
        }
        if !self.history.is_changed() {
            self.recovery.clear();
            return;
        }
        // Nobody could open what shows nothing; the copy before it is kept.
        let shows = self.document().items().any(|item| item.visible);
        if shows && self.recovery.is_due(self.history.revision()) {
            (self.recovery.soon, self.recovery.tried) = (false, Some(Instant::now()));
            match self.copy() {
                Ok(copy) => {
                    self.recovery.busy = true;
                    self.background.start_unseen(move || Ok(Message::Kept(copy.write())));
                }
                Err(error) => self.heard_kept(Kept { revision: 0, fields: Err(error) }),
            }
        }
    }

    fn copy(&mut self) -> Result<Copy> {
        let folder = match (&self.recovery.own, &self.recovery.base) {
            (Some(own), _) => own.path.clone(),
            (None, Some(base)) => {
                let own = Folder::make(base)?;
                self.recovery.own.insert(own).path.clone()
            }
            (None, None) => return Err(Error::new("there is no folder for settings")),
        };
        let mut fields = Vec::new();
        let scene = self.scene_file(|asset| {
            if let Some(path) = &asset.path {
                return path.canonicalize().unwrap_or_else(|_| path.clone());
            }
            let path = Recovery::file_of(&folder, asset);
            if !self.recovery.written.contains(&asset.id) {
                fields.push(Written::new(asset, path.clone()));
            }
            PathBuf::from(path.file_name().unwrap_or_default())
        });
        let mut unused = Vec::new();
        let gone = |id: &AssetId| self.assets.get(*id).is_none();
        for id in self.recovery.written.iter().filter(|id| gone(id)) {
            let begins = format!("{id}-");
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let own = files.filter(|file| file.file_name().to_string_lossy().starts_with(&begins));
            unused.extend(own.map(|file| file.path()));
        }
        let assets = &self.assets;
        self.recovery.written.retain(|id| assets.get(*id).is_some());
        let name = self.scene_path.as_deref().map_or_else(|| "an unnamed scene".into(), super::name_of);
        let about = About { name, scene: self.scene_path.clone() };
        Ok(Copy { folder, revision: self.history.revision(), scene, about, fields, unused })
    }

    /// A copy was written, or could not be.
    pub(super) fn heard_kept(&mut self, kept: Kept) {
        self.recovery.busy = false;
        match kept.fields {
            Ok(fields) => {
                let recovery = &mut self.recovery;
                recovery.written.extend(fields);
                (recovery.kept, recovery.since, recovery.told) = (Some(kept.revision), None, false);
                // What it was recovered from is in our own copy now.
                if let Some(Left { mut folder, .. }) = recovery.replaced.take() {
                    folder.stays = false;
                }
            }
            // Once, and in the line at the bottom: the work itself goes on as before.
            Err(error) if !self.recovery.told => {
                self.recovery.told = true;
                self.news = format!("Unsaved changes are not kept: {error}");
            }
            Err(_) => {}
        }
    }

    /// Opens the first of what others left.
    pub fn recover(&mut self) {
        self.dialog = None;
        let Some(left) = self.recovery.found.pop_front() else { return };
        // What else is there is asked about at the next start: it would take the place of this.
        self.recovery.found.clear();
        let device = self.device.clone();
        self.background.start(&format!("recovering {}", left.about.name), move || left.open(&device));
    }

    /// Removes the first of what others left.
    pub fn discard_left(&mut self) {
        if let Some(Left { mut folder, .. }) = self.recovery.found.pop_front() {
            folder.stays = false;
        }
        self.ask_to_recover();
    }

    /// Asks again at the next start.
    pub fn recover_later(&mut self) {
        self.recovery.found.clear();
        self.dialog = None;
    }

    /// Asks what is to become of what others left.
    pub(super) fn ask_to_recover(&mut self) {
        self.dialog = (!self.recovery.found.is_empty()).then_some(Dialog::Recover);
    }

    /// What was left takes the place of what is open, as changes that are not saved.
    pub(super) fn recovered(&mut self, loaded: LoadedScene, left: Left) {
        let own = left.folder.path.canonicalize().unwrap_or_else(|_| left.folder.path.clone());
        let mut names = Vec::new();
        let mut ids = Vec::new();
        for field in loaded.fields {
            let in_there = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path.starts_with(&own));
            let path = field.path.filter(|path| !in_there(path));
            // The number that it had in the other window is before its name.
            let name = match (&path, field.name.split_once('-')) {
                (None, Some((_, name))) => name.to_string(),
                _ => field.name,
            };
            names.push(name.clone());
            ids.push(self.assets.add(field.field, field.made, path, name));
        }
        let items = loaded.objects.iter().map(|(at, entry)| Item::of_entry(entry, ids[*at], &names[*at])).collect();
        self.timeline.begin(&loaded.camera_path);
        self.history = History::recovered(items, loaded.camera_path, &self.history);
        self.selected = None;
        self.reselect();
        (self.is_demo, self.homing) = (false, true);
        self.news = format!("{} is as it was; it is not saved", left.about.name);
        self.scene_path.clone_from(&left.about.scene);
        self.recovery.replaced = Some(left);
        self.recovery.hurry();
    }
}

#[cfg(test)]
mod tests;
