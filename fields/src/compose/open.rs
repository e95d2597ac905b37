//! Opening what a path names: a field of any format, a scene, or a mesh.

use std::path::Path;

use burn::tensor::Device;

use super::file::scene_path;
use super::{Subject, file};
use crate::error::Result;
use crate::files::any::FileKind;
use crate::files::{self, Provenance, Summary};
use crate::mesh::import::{self, Imported, MeshFormat};
use crate::mesh::teacher::{COVER, MeshField};
use crate::registry::AnyField;

/// Whether `path` is a mesh, by its content.
///
/// # Errors
/// When it cannot be read.
pub fn is_mesh(path: &Path) -> Result<bool> {
    // A GLB of Gaussians is no mesh.
    let head = files::any::head_of(path)?;
    Ok(matches!(files::any::kind_in(&head), FileKind::Ours) && MeshFormat::of(&head).is_some())
}

/// Loads what `path` names, to be looked at and taught.
///
/// # Errors
/// When a file is missing, cut short or of no known format, or objects cannot be put together.
pub fn subject(path: &Path, device: &Device) -> Result<(Subject, Provenance)> {
    if let Some(scene) = scene_path(path) {
        return file::load(&scene, device);
    }
    if is_mesh(path)? {
        let (mesh, made) = mesh(path, device)?;
        return Ok((Subject::Mesh(Box::new(mesh)), made));
    }
    files::load(path, device).map(|(field, made)| (Subject::Field(field), made))
}

/// Loads a field; a mesh becomes Gaussians on its surface.
///
/// # Errors
/// As [`subject`].
pub fn field(path: &Path, device: &Device) -> Result<(AnyField, Provenance)> {
    if is_mesh(path)? {
        let (mesh, mut made) = mesh(path, device)?;
        let triangles = mesh.mesh().triangles.len();
        made.notes.push(format!("a mesh of {triangles} triangles is shown as {COVER} Gaussians on its surface"));
        return Ok((mesh.cover().clone(), made));
    }
    files::load(path, device)
}

fn mesh(path: &Path, device: &Device) -> Result<(MeshField, Provenance)> {
    let Imported { mesh, notes } = import::read(path)?;
    let field = MeshField::new(mesh, device).map_err(|e| e.file(path))?;
    let from = format!("read from {} (triangle mesh)", path.file_name().unwrap_or_default().to_string_lossy());
    Ok((field, Provenance { from, notes, ..Provenance::default() }))
}

/// What a field's file says of itself; a mesh is the Gaussians that it becomes.
///
/// # Errors
/// As [`files::peek`].
pub fn peek(path: &Path) -> Result<Summary> {
    if !is_mesh(path)? {
        return files::peek(path);
    }
    let bytes = std::fs::metadata(path).map_or(0, |about| about.len());
    Ok(files::any::summary_of_gaussians(COVER, 1, "a triangle mesh".into(), bytes))
}
