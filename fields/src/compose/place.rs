//! Where a scene and the fields that it names are: in a folder, or in one file.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::file::SceneFile;
use super::open;
use super::project::{Project, is_project};
use crate::error::Result;
use crate::files::{Provenance, Summary};
use crate::registry::AnyField;

/// A scene's place, open for reading.
pub enum Place {
    /// A scene file; a relative name of a field starts from its folder.
    Folder(PathBuf),
    /// A project with all of it.
    Project(Box<Project>),
}

impl Place {
    /// The place of a scene that [`super::file::scene_path`] gave.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn of(scene: &Path) -> Result<Self> {
        if is_project(scene) && !scene.is_dir() {
            return Ok(Self::Project(Box::new(Project::open(scene)?)));
        }
        Ok(Self::Folder(scene.to_path_buf()))
    }

    /// The scene, without the fields that it names.
    ///
    /// # Errors
    /// As [`SceneFile::read`] or [`Project::scene`].
    pub fn scene(&mut self) -> Result<SceneFile> {
        match self {
            Self::Folder(scene) => SceneFile::read(scene),
            Self::Project(project) => project.scene(),
        }
    }

    /// The file of the field that the scene calls `field`; a project's fields have none of their own.
    pub fn file_of(&self, field: &Path) -> Option<PathBuf> {
        match self {
            Self::Folder(scene) => Some(scene.parent().unwrap_or(Path::new("")).join(field)),
            Self::Project(_) => None,
        }
    }

    /// What the field that the scene calls `field` says of itself; reads its header alone.
    ///
    /// # Errors
    /// As [`open::peek`] or [`Project::peek`].
    pub fn peek(&mut self, field: &Path) -> Result<Summary> {
        match (self.file_of(field), self) {
            (_, Self::Project(project)) => project.peek(field),
            (file, Self::Folder(_)) => open::peek(&file.unwrap_or_default()),
        }
    }

    /// Loads the field that the scene calls `field`.
    ///
    /// # Errors
    /// As [`open::field`] or [`Project::load`].
    pub fn load(&mut self, field: &Path, device: &Device) -> Result<(AnyField, Provenance)> {
        match (self.file_of(field), self) {
            (_, Self::Project(project)) => project.load(field, device),
            (file, Self::Folder(_)) => open::field(&file.unwrap_or_default(), device),
        }
    }
}
