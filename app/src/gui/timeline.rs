//! The way of the camera: its keys, playing it, its file, and the pictures and films that are made of it. The way itself
//! is part of the document, so every change of it is a step that can be undone.

use std::path::{Path, PathBuf};

use retort_fields::compose::Subject;
use retort_fields::compose::file::{KeyEntry, PathEntry, SceneFile};
use retort_fields::error::{Error, Result};
use retort_render::path::{CameraPath, Keyframe, MAX_SECONDS};

use super::background::{Ask, Message};
use super::export::Export;
use super::name_of;
use super::state::State;
use crate::commands::work::quoted;
use crate::film::{self, Place};
use crate::output;
use crate::views::nerfstudio::{self, PathFile};

/// Seconds from a new last key to the place of the next one.
const STEP: f32 = 2.0;
/// Keys that are this close to each other are one, seconds.
const NEAR: f32 = 1e-3;

/// What the name of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathUse {
    /// The way's own file is written.
    Save,
    /// It is read.
    Load,
    /// A folder for a picture of each frame.
    Frames,
    /// A film.
    Film,
}

impl PathUse {
    /// The heading, the button, and what the system's own dialog is asked.
    pub fn wording(self) -> (&'static str, &'static str, Ask) {
        match self {
            Self::Save => ("Save the camera path", "Save", Ask::Save(&["json"])),
            Self::Load => ("Load a camera path", "Load", Ask::Cameras),
            Self::Frames => ("Export every frame", "Export", Ask::Folder),
            Self::Film => ("Export a video", "Export", Ask::Save(&["mp4"])),
        }
    }
}

/// What the panel knows beside the way itself.
#[derive(Debug)]
pub struct Timeline {
    /// Whether the panel is shown.
    pub shown: bool,
    /// Where the head is, seconds.
    pub at: f32,
    /// Whether the camera moves along its way.
    pub playing: bool,
    /// Width and height of exported pictures, pixels.
    pub size: [u32; 2],
    /// The key that a drag holds.
    pub held: Option<usize>,
    /// The key that was touched last.
    key: Option<usize>,
    /// The file of the way.
    file: Option<PathBuf>,
    export: Export,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            shown: false,
            at: 0.0,
            playing: false,
            size: [1280, 720],
            held: None,
            key: None,
            file: None,
            export: Export::default(),
        }
    }
}

impl Timeline {
    /// Another scene is open.
    pub fn begin(&mut self, path: &CameraPath) {
        (self.at, self.playing, self.held, self.key, self.file) = (0.0, false, None, None, None);
        self.shown |= !path.is_empty();
    }

    /// The export at work: pictures drawn, and all of them.
    pub fn export(&self) -> Option<(u32, u32)> {
        self.export.at_work()
    }

    /// Whether something moves on that the window should look at.
    pub fn is_busy(&self) -> bool {
        self.export().is_some()
    }

    /// Calls the export off; what it has drawn of a film is dropped.
    pub fn cancel_export(&self) {
        self.export.cancel();
    }
}

impl State {
    /// The key that was touched last.
    pub fn chosen_key(&self) -> Option<usize> {
        self.timeline.key.filter(|key| *key < self.document().path().keyframes.len())
    }

    /// Changes the way as one step, or tells why not.
    pub fn change_path(&mut self, label: &str, gesture: Option<u64>, change: impl FnOnce(&mut CameraPath)) {
        self.change(label, gesture, |document| change(document.path_mut()));
    }

    /// Puts a key at the head, with what is seen now; one that is there takes this view. After a new last key the head
    /// moves on, so that the next one has a place.
    pub fn add_key(&mut self) {
        let key = Keyframe::of_orbit(&self.orbit, self.timeline.at);
        let n = self.document().path().keyframes.len();
        let mut next = self.document().path().clone();
        let at = next.insert(key);
        let is_new = next.keyframes.len() > n;
        let (time, is_last) = (next.keyframes[at].time, at + 1 == next.keyframes.len());
        self.change_path(if is_new { "Add key" } else { "Change key" }, None, |path| *path = next);
        if self.document().path().keyframes.len() > n || !is_new {
            (self.timeline.key, self.timeline.shown, self.timeline.playing) = (Some(at), true, false);
            self.timeline.at = if is_new && is_last { (time + STEP).min(MAX_SECONDS) } else { time };
        }
    }

    /// Takes the chosen key away.
    pub fn remove_key(&mut self) {
        let Some(key) = self.chosen_key() else { return };
        self.change_path("Remove key", None, |path| path.remove(key));
        self.timeline.key = None;
    }

    /// Takes all keys away.
    pub fn clear_keys(&mut self) {
        self.change_path("Clear keys", None, |path| *path = CameraPath { fps: path.fps, ..CameraPath::default() });
        (self.timeline.key, self.timeline.playing, self.timeline.at) = (None, false, 0.0);
    }

    /// Moves a key to `time` seconds, not past its neighbours; moves of one `gesture` are one step.
    pub fn move_key(&mut self, key: usize, time: f32, gesture: u64) {
        self.change_path("Move key", Some(gesture), |path| path.shift(key, time));
        if let Some(moved) = self.document().path().keyframes.get(key) {
            self.timeline.at = moved.time;
        }
    }

    /// Moves the head to `time` seconds, and the camera with it.
    pub fn seek(&mut self, time: f32) {
        self.timeline.playing = false;
        self.timeline.at = time.clamp(0.0, MAX_SECONDS);
        let touched = self.document().path().keyframes.iter().position(|key| (key.time - time).abs() < NEAR);
        self.timeline.key = touched.or(self.timeline.key);
        self.look_from_path();
    }

    /// Looks from where the way is at the head. What the viewport shows stays upright; pictures that are exported have
    /// the roll of a path that was read.
    fn look_from_path(&mut self) {
        if let Some(view) = self.document().path().at(self.timeline.at) {
            self.orbit = view.orbit(self.orbit.mode);
            self.homing = false;
        }
    }

    /// Moves the camera along its way, from the start if it was at the end, or stops it.
    pub fn play_or_pause(&mut self) {
        let path = self.document().path();
        let (end, can) = (path.seconds, !path.is_empty() && path.seconds > 0.0);
        self.timeline.playing = !self.timeline.playing && can;
        if self.timeline.playing && self.timeline.at >= end {
            self.timeline.at = 0.0;
        }
    }

    /// Moves on by `seconds` while it plays; whether it does.
    pub fn play(&mut self, seconds: f32) -> bool {
        if !self.timeline.playing {
            return false;
        }
        let path = self.document().path();
        let (end, looped, gone) = (path.seconds, path.looped, path.is_empty() || !(path.seconds > 0.0));
        let at = self.timeline.at + seconds;
        if gone || at >= end && !looped {
            self.timeline.playing = false;
        }
        self.timeline.at = if looped && end > 0.0 { at.rem_euclid(end) } else { at.min(end) };
        self.look_from_path();
        true
    }

    /// A name to propose.
    pub(super) fn path_name(&self, what: PathUse) -> PathBuf {
        let stem = self.scene_path.as_deref().map_or_else(|| "camera".into(), output::stem);
        match what {
            PathUse::Save => self.timeline.file.clone().unwrap_or_else(|| format!("{stem}-path.json").into()),
            PathUse::Load => self.timeline.file.clone().unwrap_or_default(),
            PathUse::Frames => format!("{stem}-frames").into(),
            PathUse::Film => format!("{stem}.mp4").into(),
        }
    }

    /// What a person should know before a name is given.
    pub fn path_hint(&self, what: PathUse) -> String {
        let (path, [width, height]) = (self.document().path(), self.timeline.size);
        let n = path.frames();
        match what {
            PathUse::Save => "The keys and every frame's camera, as nerfstudio's viewer has them (.json).".into(),
            PathUse::Load => "A camera path that was saved here or by nerfstudio's viewer (.json).".into(),
            PathUse::Frames => format!("{n} PNG files of {width} x {height}; those of their names there are replaced."),
            PathUse::Film => {
                let seconds = n as f32 / path.fps;
                format!("{n} pictures of {} x {}, {seconds:.1} s; H.264 in an .mp4.", width & !1, height & !1)
            }
        }
    }

    /// The name was given.
    ///
    /// # Errors
    /// When there is no key, nothing is visible, or the name means another format.
    pub(super) fn path_named(&mut self, what: PathUse, file: &Path) -> Result<()> {
        let ending = |ending: &str| match file.extension() {
            None => Ok(file.with_extension(ending)),
            Some(own) if own.eq_ignore_ascii_case(ending) => Ok(file.to_path_buf()),
            Some(_) => Err(Error::new("another format").file(file).remedy(format!("let the name end in .{ending}"))),
        };
        match what {
            PathUse::Load => {
                let file = file.to_path_buf();
                self.timeline.file = Some(file.clone());
                self.background.start(&format!("reading {}", name_of(&file)), move || {
                    Ok(Message::Path(Box::new(nerfstudio::read(&file)?)))
                });
                Ok(())
            }
            PathUse::Save => {
                let (file, path, size) = (ending("json")?, self.document().path().clone(), self.timeline.size);
                self.timeline.file = Some(file.clone());
                self.background.start(&format!("saving {}", name_of(&file)), move || {
                    nerfstudio::write(&file, &path, size)?;
                    Ok(Message::Exported(file))
                });
                Ok(())
            }
            PathUse::Frames => self.export(file, Place::folder(file, self.document().path().frames())),
            PathUse::Film => {
                let file = ending("mp4")?;
                let fps = self.document().path().fps;
                self.export(&file, Place::Film(file.clone(), fps))
            }
        }
    }

    /// Draws the frames of the way on a thread.
    fn export(&mut self, out: &Path, place: Place) -> Result<()> {
        let ([width, height], objects) = (self.timeline.size, self.visible());
        let cameras = self.document().path().cameras(width, height);
        if cameras.is_empty() {
            return Err(Error::new("the camera has no way yet").remedy("add a key first"));
        }
        if objects.is_empty() {
            return Err(Error::new("nothing is visible").remedy("show an object first"));
        }
        if self.timeline.is_busy() {
            return Err(Error::new("another export is at work").remedy("wait for it, or cancel it"));
        }
        if let Place::Film(..) = place {
            film::size_of(&cameras)?;
        }
        let (over, out) = (self.backdrop.colour(), out.to_path_buf());
        let what = format!("drawing {}", name_of(&out));
        let work = self.timeline.export.begin(cameras.len() as u32);
        let title = what.clone();
        self.background.start(&what, move || {
            if let Place::Pictures(_) = place {
                output::make_folder(&out)?;
            }
            let subject = Subject::of(objects)?;
            let mut tell = |done: usize| work.tell(done as u32);
            let drawn = film::draw(&subject, &cameras, over, &place, &mut tell)?;
            Ok(if drawn.is_some() { Message::Exported(out) } else { Message::CalledOff(title) })
        });
        Ok(())
    }

    /// A path was read: it takes the place of the way that is there, as one step.
    pub(super) fn opened_path(&mut self, file: PathFile) {
        if file.path.is_empty() {
            let error = Error::new("it has cameras and no keyframes, so there is nothing to move");
            return self.trouble("reading the path", error.remedy("draw it with `retort render IN --camera FILE`"));
        }
        let PathFile { path, size, .. } = file;
        self.change_path("Load path", None, |own| *own = path);
        (self.timeline.size, self.timeline.shown, self.timeline.key) = (size, true, None);
        self.seek(0.0);
    }

    /// The command line that exports the way. What is not saved yet is named as it would be.
    pub fn path_line(&self) -> String {
        let scene = self.scene_path.clone().unwrap_or_else(|| "scene.toml".into());
        let [width, height] = self.timeline.size;
        let word = |path: PathBuf| quoted(&path.display().to_string());
        let (path, film) = (word(self.path_name(PathUse::Save)), word(self.path_name(PathUse::Film)));
        format!("retort render {} --camera {path} --size {width}x{height} -o {film}", word(scene))
    }
}

/// What a scene file says of a way; nothing where there is no key.
pub fn entry_of(path: &CameraPath) -> Option<PathEntry> {
    let key = |key: &Keyframe| KeyEntry {
        time: key.time,
        target: key.target.to_array(),
        distance: key.distance,
        azimuth: key.azimuth.to_degrees(),
        elevation: key.elevation.to_degrees(),
        roll: key.roll.to_degrees(),
        fov: key.fov_y.to_degrees(),
    };
    let keys: Vec<KeyEntry> = path.keyframes.iter().map(key).collect();
    (!keys.is_empty()).then_some(PathEntry { fps: path.fps, seconds: path.seconds, looped: path.looped, keys })
}

/// The way of a scene file.
///
/// # Errors
/// When a key cannot be, or two are at one time.
pub fn path_of(scene: &SceneFile) -> Result<CameraPath> {
    let Some(entry) = &scene.camera_path else { return Ok(CameraPath::default()) };
    let key = |key: &KeyEntry| Keyframe {
        time: key.time,
        target: key.target.into(),
        distance: key.distance,
        azimuth: key.azimuth.to_radians(),
        elevation: key.elevation.to_radians(),
        roll: key.roll.to_radians(),
        fov_y: key.fov.to_radians(),
    };
    let keyframes = entry.keys.iter().map(key).collect();
    let path = CameraPath { keyframes, fps: entry.fps, seconds: entry.seconds, looped: entry.looped };
    let wrong = |e| Error::new(format!("camera_path: {e}")).remedy("correct it, or take the table out");
    path.check().map_err(wrong)?;
    Ok(path)
}

#[cfg(test)]
mod tests;
