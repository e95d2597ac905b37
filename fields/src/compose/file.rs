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

use super::place::Place;
use super::project::is_project;
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
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// The most keys of a camera's way.
pub const MAX_KEYS: usize = 1000;
/// The most edits of an object.
const MAX_EDITS: usize = 256;
pub(super) const FORM: &str = "write version = 1, and for each object [[objects]] with field = \"name.safetensors\"";

/// A scene as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneFile {
    /// [`VERSION`].
    pub version: u32,
    /// At most [`MAX_OBJECTS`].
    pub objects: Vec<Entry>,
    /// The way of a camera, which the window shows; what is drawn without it does not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_path: Option<PathEntry>,
}

/// The way of a camera as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathEntry {
    /// Pictures a second.
    pub fps: f32,
    /// How long it takes, seconds.
    pub seconds: f32,
    /// Whether it ends where it began.
    #[serde(default, skip_serializing_if = "is_no")]
    pub looped: bool,
    /// Where it passes, in the order of time; at most [`MAX_KEYS`].
    pub keys: Vec<KeyEntry>,
}

/// A place on the way of a camera as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Seconds from the start.
    pub time: f32,
    /// What the camera looks at, scene units.
    pub target: [f32; 3],
    /// From there to the camera, scene units.
    pub distance: f32,
    /// The camera's direction from the target around +Z, degrees from +X.
    pub azimuth: f32,
    /// Its height over the horizon of the target, degrees.
    pub elevation: f32,
    /// How far the picture is turned clockwise, degrees.
    #[serde(default)]
    pub roll: f32,
    /// Vertical field of view, degrees.
    pub fov: f32,
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
    /// What people call it; nothing means the name of its file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether the window refuses to change it.
    #[serde(default, skip_serializing_if = "is_no")]
    pub locked: bool,
}

fn one() -> f32 {
    1.0
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_no(value: &bool) -> bool {
    !value
}

/// The value with the shortest numbers that are the same in single precision: 0.2, not 0.20000000298023224.
fn shortened(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Float(v) => toml::Value::Float((v as f32).to_string().parse().unwrap_or(v)),
        toml::Value::Array(all) => toml::Value::Array(all.into_iter().map(shortened).collect()),
        toml::Value::Table(all) => toml::Value::Table(all.into_iter().map(|(k, v)| (k, shortened(v))).collect()),
        other => other,
    }
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

/// The scene that `path` means: a TOML file, a project, or a folder with a [`NAME`] in it; `None` where it means another
/// file.
pub fn scene_path(path: &Path) -> Option<PathBuf> {
    let toml = path.extension().and_then(OsStr::to_str).is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if toml || is_project(path) && !path.is_dir() {
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
        if let Some(n) = scene.camera_path.as_ref().map(|path| path.keys.len()).filter(|n| *n > MAX_KEYS) {
            let what = format!("camera_path: {n} keys are too many");
            return Err(Error::new(what).remedy(format!("use at most {MAX_KEYS}")));
        }
        for (i, entry) in scene.objects.iter().enumerate() {
            if entry.edits.len() > MAX_EDITS {
                let what = format!("object {}: {} edits are too many", i + 1, entry.edits.len());
                return Err(Error::new(what).remedy(format!("use at most {MAX_EDITS}")));
            }
        }
        Ok(scene)
    }

    /// The scene as text that [`SceneFile::parse`] takes back.
    ///
    /// # Errors
    /// When nothing is visible or there is too much of something: it could not be read again.
    pub fn text(&self) -> Result<String> {
        let value = toml::Value::try_from(self).map_err(|e| Error::new(format!("the scene cannot be written: {e}")))?;
        let text = toml::to_string(&shortened(value));
        let text = text.map_err(|e| Error::new(format!("the scene cannot be written: {e}")))?;
        Self::parse(&text)?;
        Ok(text)
    }

    /// Writes the scene file, all or nothing; the fields that it names are not touched.
    ///
    /// # Errors
    /// As [`SceneFile::text`], or when the place cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_atomically(path, self.text().map_err(|e| e.file(path))?.as_bytes())
    }
}

/// What a scene says of its objects, each with what its field's file says of itself. Reads headers alone.
///
/// # Errors
/// When the scene or a field that it names cannot be read; hidden ones count.
pub fn peek(path: &Path) -> Result<Vec<(Entry, Summary)>> {
    peek_in(path, &mut Place::of(path)?)
}

/// As [`peek`], of a place that is open already.
///
/// # Errors
/// As [`peek`].
pub fn peek_in(path: &Path, place: &mut Place) -> Result<Vec<(Entry, Summary)>> {
    let scene = place.scene()?;
    let mut told = Vec::with_capacity(scene.objects.len());
    for (i, entry) in scene.objects.into_iter().enumerate() {
        if scene_path(&place.file_of(&entry.field).unwrap_or_else(|| entry.field.clone())).is_some() {
            let what = format!("object {}: {} is a scene, not a field", i + 1, entry.field.display());
            return Err(Error::new(what).file(path).remedy("name the fields of that scene here"));
        }
        let summary = place.peek(&entry.field)?;
        told.push((entry, summary));
    }
    Ok(told)
}

/// Loads a scene with the fields that it names, each once. Its provenance has the background that all agree on.
///
/// # Errors
/// When a file cannot be read, an object is out of its range, or the objects cannot be put together.
pub fn load(path: &Path, device: &Device) -> Result<(Subject, Provenance)> {
    let mut place = Place::of(path)?;
    let mut loaded: Vec<(PathBuf, AnyField, Provenance)> = Vec::new();
    let mut objects = Vec::new();
    let mut backgrounds = Vec::new();
    let told = peek_in(path, &mut place)?;
    for (i, (entry, _)) in told.into_iter().enumerate().filter(|(_, (entry, _))| entry.visible) {
        if !loaded.iter().any(|(known, ..)| *known == entry.field) {
            let (field, made) = place.load(&entry.field, device)?;
            loaded.push((entry.field.clone(), field, made));
        }
        let known = loaded.iter().find(|(known, ..)| *known == entry.field);
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

#[cfg(test)]
mod tests {
    use super::*;
    use glam::Vec3;

    const HEAD: &str = "version = 1\n[[objects]]\nfield = \"a.safetensors\"\n";

    #[test]
    fn a_scene_is_read_as_it_is_written() {
        let text = format!(
            "{HEAD}move = [1, 0.5, 0]\nrotate = [90, 0, 90]\nscale = 2\nvisible = true\n\
             edits = [{{ crop = {{ min = [-1, -1, 0], max = [1, 1, 1] }} }}, {{ brightness = 0.5 }}]\n\
             [[objects.edits]]\nerase_sphere = {{ centre = [0, 0, 0], radius = 0.25 }}\n"
        );
        // TOML has one way to write a list at a time.
        assert!(SceneFile::parse(&text).is_err());
        let text = text.replace("[[objects.edits]]\nerase_sphere = { centre = [0, 0, 0], radius = 0.25 }\n", "");
        let scene = SceneFile::parse(&text).expect("a scene");
        let [entry] = &scene.objects[..] else { panic!("{scene:?}") };
        assert_eq!(entry.edits.len(), 2);
        let placed = entry.transform();
        // About x: y to z; about z: x to y.
        assert!(placed.point(Vec3::Y).distance(Vec3::new(1.0, 0.5, 2.0)) < 1e-5, "{}", placed.point(Vec3::Y));
        assert!(placed.point(Vec3::X).distance(Vec3::new(1.0, 2.5, 0.0)) < 1e-5, "{}", placed.point(Vec3::X));
        let again = scene.text().expect("TOML");
        assert_eq!(SceneFile::parse(&again).expect("a scene"), scene);
        assert!(again.contains("0.25") || again.contains("0.5"), "{again}");
        let mut named = scene.clone();
        (named.objects[0].name, named.objects[0].locked) = ("Ähre \"1\"".into(), true);
        named.objects[0].shift = [0.2, 0.1, -0.3];
        let again = named.text().expect("TOML");
        assert!(again.contains("0.2,") && !again.contains("0.200"), "{again}");
        assert_eq!(SceneFile::parse(&again).expect("a scene"), named);
        named.objects[0].visible = false;
        assert!(named.text().is_err(), "it could not be read again");
        let plain = SceneFile::parse(HEAD).expect("a scene");
        assert_eq!(plain.camera_path, None, "older files have none");
        let key = |time: f32| KeyEntry {
            time,
            target: [0.1, 0.0, 0.2],
            distance: 2.5,
            azimuth: 30.0,
            elevation: 10.0,
            roll: 0.0,
            fov: 40.0,
        };
        let keys = vec![key(0.0), key(1.5)];
        let path = PathEntry { fps: 24.0, seconds: 1.5, looped: false, keys };
        let flown = SceneFile { camera_path: Some(path.clone()), ..plain.clone() };
        let again = flown.text().expect("TOML");
        assert!(again.contains("[[camera_path.keys]]") && again.contains("time = 1.5"), "{again}");
        assert_eq!(SceneFile::parse(&again).expect("a scene"), flown);
        let many = SceneFile { camera_path: Some(PathEntry { keys: vec![key(0.0); MAX_KEYS + 1], ..path }), ..flown };
        assert!(many.text().expect_err("too many").what.contains("1001 keys"));
        assert!(SceneFile::parse(&again.replace("roll", "role")).is_err());
        assert_eq!(plain.objects[0].transform(), Similarity::default());
    }

    #[test]
    fn mistakes_are_told_in_a_line() {
        for (text, word) in [
            ("", "version"),
            ("version = 1", "objects"),
            ("version = 1\nobjects = []", "visible"),
            (&HEAD.replace("= 1", "= 2"), "version 2"),
            (&format!("{HEAD}visible = false"), "visible"),
            (&format!("{HEAD}scaling = 2.0"), "scaling"),
            (&format!("{HEAD}move = [1.0, 2.0]"), "line 4"),
            (&format!("{HEAD}edits = [{{ burn = 1.0 }}]"), "burn"),
            (&format!("{HEAD}edits = [{{ crop = {{ min = [0, 0, 0] }} }}]"), "max"),
            (&format!("{HEAD}edits = [{{ erase_sphere = {{ centre = [0,0,0], radius = 1, colour = 2 }} }}]"), "colour"),
            (&HEAD.replace("field", "file"), "file"),
            ("version = 1 [[objects]]", "line 1"),
        ] {
            let error = SceneFile::parse(text).expect_err(text);
            assert!(error.what.contains(word) && !error.what.contains('\n'), "{text}: {error}");
        }
        let many = format!("version = 1\n{}", "[[objects]]\nfield = \"a\"\n".repeat(MAX_OBJECTS + 1));
        assert!(SceneFile::parse(&many).expect_err("too many").what.contains("257"));
        let edits = "{ brightness = 1.0 }, ".repeat(MAX_EDITS + 1);
        assert!(SceneFile::parse(&format!("{HEAD}edits = [{edits}]")).expect_err("too many").what.contains("edits"));
    }

    #[test]
    fn scenes_are_known_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(scene_path(folder.path()), None, "a folder without a scene");
        std::fs::write(folder.path().join(NAME), HEAD).expect("a file");
        assert_eq!(scene_path(folder.path()), Some(folder.path().join(NAME)));
        assert_eq!(scene_path(Path::new("a.TOML")), Some("a.TOML".into()));
        assert_eq!(scene_path(Path::new("a.retort")), Some("a.retort".into()));
        assert_eq!(scene_path(Path::new("a.safetensors")), None);
        let error = peek(&folder.path().join(NAME)).expect_err("the field is missing");
        assert!(error.file.is_some_and(|f| f.ends_with("a.safetensors")) && !error.remedy.is_empty());
    }
}
