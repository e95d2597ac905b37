//! What a verb is given to look at: a field's file, or a scene of several.

use std::path::{Path, PathBuf};

use retort_fields::compose::place::Place;
use retort_fields::compose::{Subject, file, open};
use retort_fields::device::Device;
use retort_fields::error::Result;
use retort_fields::files::{self, Provenance};

/// What an input says of itself, without its values.
pub struct Told {
    /// The kind of a field, or how many objects a scene has: for sentences.
    pub what: String,
    /// Every file that it is read from; none of them may be replaced by what is made of it.
    pub files: Vec<PathBuf>,
}

/// Looks at the headers alone.
///
/// # Errors
/// When a file is missing, cut short or not ours.
pub fn peek(path: &Path) -> Result<Told> {
    let Some(scene) = file::scene_path(path) else {
        let what = if open::is_mesh(path)? { "mesh".into() } else { files::peek(path)?.kind.to_string() };
        return Ok(Told { what, files: vec![path.to_path_buf()] });
    };
    let mut place = Place::of(&scene)?;
    let objects = file::peek_in(&scene, &mut place)?;
    let named = objects.iter().filter_map(|(entry, _)| place.file_of(&entry.field));
    let shown = objects.iter().filter(|(entry, _)| entry.visible).count();
    Ok(Told { what: format!("scene of {shown}"), files: named.chain([scene.clone()]).collect() })
}

/// Loads a field, a mesh, or a scene with its fields.
///
/// # Errors
/// As [`peek`], or when values are not finite, or objects cannot be put together.
pub fn load(path: &Path, device: &Device) -> Result<(Subject, Provenance)> {
    open::subject(path, device)
}
