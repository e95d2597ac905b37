//! Scenes: objects, each a field with a transform and edits, as one field that is rendered and taught like any other.
//!
//! A scene is a small document ([`mod@file`], or [`project`] with its fields); weights are never touched. Edits are evaluated where a field is sampled
//! ([`edit`]); a scene of Gaussians alone becomes one set of Gaussians ([`merge`]), any other a [`Composition`].

mod composition;
pub mod edit;
pub mod file;
pub mod floaters;
pub mod merge;
mod object;
pub mod open;
pub mod place;
pub mod project;
pub mod region;

use std::ops::Deref;

pub use composition::Composition;
pub use edit::Edit;
pub use object::{Object, scene_from_object};

use crate::error::Result;
use crate::field::Field;
use crate::mesh::teacher::MeshField;
use crate::registry::AnyField;

/// The most objects of a scene.
pub const MAX_OBJECTS: usize = 256;

/// What can be looked at and taught to a student: a field, a scene of several, or a mesh. Use it as `dyn Field`.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A field as it is.
    Field(AnyField),
    /// Objects, moved and edited.
    Composition(Box<Composition>),
    /// A triangle mesh.
    Mesh(Box<MeshField>),
}

impl Subject {
    /// What `objects` show together: one alone and unchanged is itself, Gaussians become one set of Gaussians.
    ///
    /// # Errors
    /// As [`Composition::new`], or when the edits leave no Gaussian.
    pub fn of(objects: Vec<Object>) -> Result<Self> {
        match &objects[..] {
            [one] if one.is_plain() => Ok(Self::Field(one.field.frozen())),
            _ => match merge::merged(&objects)? {
                Some(gaussians) => Ok(Self::Field(gaussians)),
                None => Ok(Self::Composition(Box::new(Composition::new(objects)?))),
            },
        }
    }

    /// What it is, in a few words: `"hash"`, `"scene of 3"`.
    pub fn name(&self) -> String {
        match self {
            Self::Field(field) => field.kind().to_string(),
            Self::Composition(whole) => format!("scene of {}", whole.objects().count()),
            Self::Mesh(mesh) => format!("mesh of {} triangles", mesh.mesh().triangles.len()),
        }
    }

    /// The field, where it is one alone.
    pub fn as_field(&self) -> Option<&AnyField> {
        match self {
            Self::Field(field) => Some(field),
            Self::Composition(_) | Self::Mesh(_) => None,
        }
    }
}

impl Deref for Subject {
    type Target = dyn Field;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Field(field) => &**field,
            Self::Composition(whole) => &**whole,
            Self::Mesh(mesh) => &**mesh,
        }
    }
}

impl From<&AnyField> for Subject {
    /// The field without gradients; cheap, the values are shared.
    fn from(field: &AnyField) -> Self {
        Self::Field(field.frozen())
    }
}

impl From<&Subject> for Subject {
    fn from(subject: &Subject) -> Self {
        subject.clone()
    }
}

impl From<Composition> for Subject {
    fn from(whole: Composition) -> Self {
        Self::Composition(Box::new(whole))
    }
}
