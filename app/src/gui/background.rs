//! What takes its time beside jobs: opening, saving and asking the system for a file name, each on a thread of its own.
//! What it gives comes back as a [`Message`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use retort_distill::job::panicked;
use retort_fields::compose::file::{self, Entry, SceneFile};
use retort_fields::compose::floaters::Cleared;
use retort_fields::compose::place::Place;
use retort_fields::compose::project::{self, Packed};
use retort_fields::compose::{Object, Subject, open};
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::files::{self, Provenance, any};
use retort_fields::registry::AnyField;
use retort_render::path::CameraPath;

use super::assets::{Asset, AssetId};
use super::document::ItemId;
use super::measure::Measured;
use super::meshing::Preview;
use super::recovery::{Kept, Left};
use super::timeline;
use crate::commands::demo::TEACHER;
use crate::output;
use crate::views::nerfstudio::PathFile;

/// Messages that may wait to be read.
const WAITING: usize = 64;

/// A field from a file.
pub struct Loaded {
    /// The field.
    pub field: AnyField,
    /// How it came about.
    pub made: Provenance,
    /// Its file; none for the demo and for what comes out of a project.
    pub path: Option<PathBuf>,
    /// A name for it.
    pub name: String,
}

/// A scene from a file: its fields, each once, and its objects with the index of their field.
pub struct LoadedScene {
    /// The scene file.
    pub path: PathBuf,
    /// Its fields.
    pub fields: Vec<Loaded>,
    /// Its objects.
    pub objects: Vec<(usize, Entry)>,
    /// The way of its camera.
    pub camera_path: CameraPath,
}

/// What a field is to be written from.
pub struct Written {
    /// Which.
    pub asset: AssetId,
    /// The field.
    pub field: AnyField,
    /// How it came about.
    pub made: Provenance,
    /// Where it goes.
    pub path: PathBuf,
}

impl Written {
    /// A field that is open, to be written to `path`.
    pub fn new(asset: &Asset, path: PathBuf) -> Self {
        Self { asset: asset.id, field: asset.field.clone(), made: asset.made.clone(), path }
    }
}

/// What the window asked the system to choose a name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A file to open.
    Open,
    /// A file of cameras to open.
    Cameras,
    /// A folder.
    Folder,
    /// A place to write, of files that end like one of these.
    Save(&'static [&'static str]),
}

/// What has been done.
pub enum Message {
    /// A field is open.
    Field(Box<Loaded>),
    /// A scene is open.
    Scene(Box<LoadedScene>),
    /// Fields were written, and the scene file if it was one.
    Saved {
        /// Fields that have a file now.
        fields: Vec<(AssetId, PathBuf)>,
        /// The scene file, and what was written into it.
        scene: Option<(PathBuf, u64)>,
    },
    /// A picture was written.
    Exported(PathBuf),
    /// A mesh was written, and this is to be said of it.
    Meshed(PathBuf, Vec<String>),
    /// The surface at a level was drawn, or could not be.
    MeshPreview(Box<Result<Preview>>),
    /// An object was measured against photos.
    Measured(Box<Measured>),
    /// Floaters of an object were looked for.
    Floaters(ItemId, Box<Option<Cleared>>),
    /// A copy of what is not saved was written, or could not be.
    Kept(Kept),
    /// What a window left that is not alive any more is open.
    Recovered(Box<(LoadedScene, Left)>),
    /// The way of a camera was read: for pictures of this size.
    Path(Box<PathFile>),
    /// Somebody called this off.
    CalledOff(String),
    /// A name was chosen, or none.
    Chosen(Option<PathBuf>),
    /// It did not work: what was tried, and the error.
    Failed(String, Error),
}

/// The threads at work.
pub struct Background {
    sender: SyncSender<(u64, Message)>,
    messages: Receiver<(u64, Message)>,
    busy: Vec<(u64, String)>,
    next: u64,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Background {
    /// Nothing is done yet; `wake` is called whenever there is a message.
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let (sender, messages) = sync_channel(WAITING);
        Self { sender, messages, busy: Vec::new(), next: 0, wake }
    }

    /// What is being done, in words.
    pub fn busy(&self) -> impl Iterator<Item = &str> {
        self.busy.iter().map(|(_, what)| &**what)
    }

    /// Does `work`, which is called `what` ("opening x"), on a thread.
    pub fn start(&mut self, what: &str, work: impl FnOnce() -> Result<Message> + Send + 'static) {
        self.busy.push((self.next + 1, what.into()));
        self.run(what, work);
    }

    /// Does `work` on a thread, of which nobody needs to know.
    pub fn start_unseen(&mut self, work: impl FnOnce() -> Result<Message> + Send + 'static) {
        self.run("keeping a copy", work);
    }

    fn run(&mut self, what: &str, work: impl FnOnce() -> Result<Message> + Send + 'static) {
        self.next += 1;
        let (id, sender, title, wake) = (self.next, self.sender.clone(), what.to_string(), Arc::clone(&self.wake));
        let run = move || {
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            // If nobody listens any more, the window is closed.
            let _ = sender.send((id, done.unwrap_or_else(|error| Message::Failed(title, error))));
            wake();
        };
        if let Err(e) = std::thread::Builder::new().name("background".into()).spawn(run) {
            let error = Error::new(format!("no thread could be started: {e}"));
            let _ = self.sender.try_send((id, Message::Failed(what.into(), error)));
        }
    }

    /// The next message, if there is one.
    pub fn next(&mut self) -> Option<Message> {
        let (id, message) = self.messages.try_recv().ok()?;
        self.busy.retain(|(other, _)| *other != id);
        Some(message)
    }
}

/// The field that comes with the program.
///
/// # Errors
/// When there is no such device.
pub fn demo(device: &str) -> Result<(AnyField, Provenance)> {
    files::from_bytes(TEACHER, &device::choose(device)?)
}

/// Opens a field or a scene.
///
/// # Errors
/// When a file cannot be read, or the objects of a scene cannot be put together.
pub fn open_any(path: &Path, device: &str) -> Result<Message> {
    let Some(scene) = file::scene_path(path) else {
        return Ok(Message::Field(Box::new(load(path, device)?)));
    };
    Ok(Message::Scene(Box::new(open_scene(scene, device)?)))
}

/// Opens a scene, each of its fields once.
///
/// # Errors
/// As [`open`].
pub fn open_scene(scene: PathBuf, device: &str) -> Result<LoadedScene> {
    let (mut place, device) = (Place::of(&scene)?, device::choose(device)?);
    let camera_path = timeline::path_of(&place.scene()?).map_err(|e| e.file(&scene))?;
    let mut names: Vec<PathBuf> = Vec::new();
    let mut fields: Vec<Loaded> = Vec::new();
    let mut objects = Vec::new();
    for (entry, _) in file::peek_in(&scene, &mut place)? {
        let at = if let Some(at) = names.iter().position(|name| *name == entry.field) {
            at
        } else {
            let (field, made) = place.load(&entry.field, &device)?;
            fields.push(Loaded { field, made, path: place.file_of(&entry.field), name: output::stem(&entry.field) });
            names.push(entry.field.clone());
            fields.len() - 1
        };
        objects.push((at, entry));
    }
    // A scene that cannot be put together is refused here, before it takes the place of the one that is open.
    let shown = objects.iter().filter(|(_, entry)| entry.visible);
    let shown = shown.map(|(at, entry)| Object {
        field: fields[*at].field.clone(),
        transform: entry.transform(),
        edits: entry.edits.clone(),
    });
    Subject::of(shown.collect()).map_err(|e| e.file(&scene))?;
    Ok(LoadedScene { path: scene, fields, objects, camera_path })
}

fn load(path: &Path, device: &str) -> Result<Loaded> {
    let (field, made) = open::field(path, &device::choose(device)?)?;
    Ok(Loaded { field, made, path: Some(path.to_path_buf()), name: output::stem(path) })
}

/// Writes fields, then the scene file that names them.
///
/// # Errors
/// When a place cannot be written; what was there is unharmed.
pub fn save(fields: Vec<Written>, scene: Option<(PathBuf, SceneFile, u64)>) -> Result<Message> {
    if let Some((_, file, _)) = &scene {
        // What could not be read again is found before anything is written.
        file.text()?;
    }
    let mut written = Vec::with_capacity(fields.len());
    for Written { asset, field, made, path } in fields {
        files::save(&field, &made, &path)?;
        written.push((asset, path));
    }
    let Some((path, file, revision)) = scene else { return Ok(Message::Saved { fields: written, scene: None }) };
    file.write(&path)?;
    Ok(Message::Saved { fields: written, scene: Some((path, revision)) })
}

/// Writes a project: the scene and `fields`, whose paths are their names in it.
///
/// # Errors
/// As [`save`].
pub fn pack(path: PathBuf, scene: &SceneFile, fields: &[Written], revision: u64) -> Result<Message> {
    let all = fields.iter();
    let packed: Vec<Packed> = all.map(|w| Packed { name: w.path.clone(), field: &w.field, made: &w.made }).collect();
    project::write(&path, scene, &packed)?;
    Ok(Message::Saved { fields: Vec::new(), scene: Some((path, revision)) })
}

/// Lets the person choose in a dialog of the system. Where it has none, nothing is chosen.
pub fn choose(ask: Ask) -> Message {
    let dialog = rfd::FileDialog::new();
    Message::Chosen(match ask {
        Ask::Open => {
            let endings = [any::readable(), vec!["toml", project::ENDING]].concat();
            dialog.add_filter("fields and scenes", &endings).pick_file()
        }
        Ask::Cameras => dialog.add_filter("camera paths", &["json"]).pick_file(),
        Ask::Folder => dialog.pick_folder(),
        Ask::Save(endings) => dialog.add_filter(endings.join(", "), endings).save_file(),
    })
}
