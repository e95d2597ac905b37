//! The scene file, `scene.toml`: which fields stand where, and what is changed about them.
//!
//! ```toml
//! version = 1
//!
//! [[objects]]
//! field = "lego.safetensors"      # beside this file
//!
//! [[objects]]
//! field = "lego.safetensors"
//! move = [1.5, 0.0, 0.0]          # scene units of the first object
//! rotate = [0.0, 0.0, 90.0]       # degrees about the scene's x, then y, then z axis
//! scale = 0.5
//! edits = [{ crop = { min = [-1, -1, 0], max = [1, 1, 1] } }, { tint = [1.0, 0.6, 0.6] }]
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use glam::Quat;
use serde::{Deserialize, Serialize};

use super::{Edit, MAX_OBJECTS, Object, Subject};
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::files::{self, Provenance, Summary};
use crate::registry::AnyField;

/// The version of the scene file that this program reads.
pub const VERSION: u32 = 1;
/// Its name in a project's folder.
pub const NAME: &str = "scene.toml";
/// The longest scene file that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The most edits of an object.
const MAX_EDITS: usize = 256;
const FORM: &str = "write version = 1, and for each object [[objects]] with field = \"name.safetensors\"";

/// A scene as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneFile {
    /// [`VERSION`].
    pub version: u32,
    /// At most [`MAX_OBJECTS`].
    pub objects: Vec<Entry>,
}

/// An object as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The field's file; a relative name starts from the folder of the scene file.
    pub field: PathBuf,
    /// Where its origin is moved to, in scene units of the first object.
    #[serde(default, rename = "move")]
    pub shift: [f32; 3],
    /// Degrees about the scene's x axis, then its y axis, then its z axis, all through the scene's origin.
    #[serde(default)]
    pub rotate: [f32; 3],
    /// Its size, 1 as it was, about the scene's origin.
    #[serde(default = "one")]
    pub scale: f32,
    /// Whether it is there at all.
    #[serde(default = "yes")]
    pub visible: bool,
    /// What is changed, in this order, in the object's own scene units.
    #[serde(default)]
    pub edits: Vec<Edit>,
}

fn one() -> f32 {
    1.0
}

fn yes() -> bool {
    true
}

impl Entry {
    /// Its transform.
    pub fn transform(&self) -> Similarity {
        let [x, y, z] = self.rotate.map(f32::to_radians);
        let turned = self.rotate != [0.0; 3];
        let turn = Quat::from_rotation_z(z) * Quat::from_rotation_y(y) * Quat::from_rotation_x(x);
        let rotation = if turned { turn } else { Quat::IDENTITY };
        Similarity { scale: self.scale, rotation, translation: self.shift.into() }
    }
}

/// The scene file that `path` means: a TOML file, or a folder with a [`NAME`] in it; `None` where it means another file.
pub fn scene_path(path: &Path) -> Option<PathBuf> {
    let toml = path.extension().and_then(OsStr::to_str).is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if toml {
        return Some(path.to_path_buf());
    }
    Some(path.join(NAME)).filter(|file| path.is_dir() && file.is_file())
}

impl SceneFile {
    /// Reads a scene file, without the fields that it names.
    ///
    /// # Errors
    /// When it is missing, too long, not TOML, of another version, or has a key that is not known.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
        if bytes > MAX_BYTES {
            let what = format!("{bytes} bytes are too long for a scene file");
            return Err(Error::new(what).file(path).remedy(FORM));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, &e))?;
        Self::parse(&text).map_err(|e| e.file(path).remedy(FORM))
    }

    /// A scene from its text.
    ///
    /// # Errors
    /// As [`SceneFile::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let scene: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            // The message alone: the whole error draws the lines of the file.
            Error::new(format!("line {line}: {}", e.message().replace('\n', ", ")))
        })?;
        if scene.version != VERSION {
            return Err(Error::new(format!("a scene file of version {}, not {VERSION}", scene.version)));
        }
        let shown = scene.objects.iter().filter(|entry| entry.visible).count();
        if shown == 0 {
            return Err(Error::new("no object is visible").remedy("add an [[objects]], or set visible = true"));
        }
        if scene.objects.len() > MAX_OBJECTS {
            let what = format!("{} objects are too many", scene.objects.len());
            return Err(Error::new(what).remedy(format!("use at most {MAX_OBJECTS}")));
        }
        for (i, entry) in scene.objects.iter().enumerate() {
            if entry.edits.len() > MAX_EDITS {
                let what = format!("object {}: {} edits are too many", i + 1, entry.edits.len());
                return Err(Error::new(what).remedy(format!("use at most {MAX_EDITS}")));
            }
        }
        Ok(scene)
    }
}

/// What a scene file says of its objects, each with what its field's file says of itself. Reads headers alone.
///
/// # Errors
/// When the scene file or a field that it names cannot be read; hidden ones count.
pub fn peek(path: &Path) -> Result<Vec<(Entry, Summary)>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let scene = SceneFile::read(path)?;
    let mut told = Vec::with_capacity(scene.objects.len());
    for (i, entry) in scene.objects.into_iter().enumerate() {
        let file = folder.join(&entry.field);
        if scene_path(&file).is_some() {
            let what = format!("object {}: {} is a scene, not a field", i + 1, entry.field.display());
            return Err(Error::new(what).file(path).remedy("name the fields of that scene here"));
        }
        let summary = files::peek(&file)?;
        told.push((entry, summary));
    }
    Ok(told)
}

/// Loads a scene with the fields that it names, each file once. Its provenance has the background that all agree on.
///
/// # Errors
/// When a file cannot be read, an object is out of its range, or the objects cannot be put together.
pub fn load(path: &Path, device: &Device) -> Result<(Subject, Provenance)> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut loaded: Vec<(PathBuf, AnyField, Provenance)> = Vec::new();
    let mut objects = Vec::new();
    let mut backgrounds = Vec::new();
    for (i, (entry, _)) in peek(path)?.into_iter().enumerate().filter(|(_, (entry, _))| entry.visible) {
        let file = folder.join(&entry.field);
        if !loaded.iter().any(|(known, ..)| *known == file) {
            let (field, made) = files::load(&file, device)?;
            loaded.push((file.clone(), field, made));
        }
        let known = loaded.iter().find(|(known, ..)| *known == file);
        let Some((_, field, made)) = known else { continue };
        let object = Object { field: field.clone(), transform: entry.transform(), edits: entry.edits };
        object.check().map_err(|e| {
            let what = format!("object {} ({}): {}", i + 1, entry.field.display(), e.what);
            Error::new(what).file(path).remedy(e.remedy)
        })?;
        objects.push(object);
        backgrounds.push(made.background);
    }
    let from = format!("scene of {}", objects.len());
    let background = backgrounds.first().copied().flatten().filter(|b| backgrounds.iter().all(|o| *o == Some(*b)));
    let subject = Subject::of(objects).map_err(|e| e.file(path))?;
    Ok((subject, Provenance { from, background, ..Provenance::default() }))
}
