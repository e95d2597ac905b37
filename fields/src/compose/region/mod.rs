//! A part of space as a person selects it: shapes that are added, taken away or intersected, one after another.
//!
//! A region is a small value that is asked at points, so one form serves every representation at every resolution: a
//! volume asks where it is sampled, Gaussians ask at their centres. [`Region::meets`] answers for a whole box and errs
//! to the side of [`Meets::Partly`], which costs time and is never wrong.

mod cells;
mod shape;

use std::sync::Arc;

use glam::Vec3;
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

pub use cells::Cells;
pub use shape::{Corners, Outline, Shape, Sphere, Stroke};

/// The most steps of a region.
const MAX_PARTS: usize = 256;

/// One step of a selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// What is in the shape as well.
    Add(Shape),
    /// What is in the shape no longer.
    Remove(Shape),
    /// Only what is in the shape.
    Intersect(Shape),
    /// What was not selected before, and nothing else.
    Invert,
}

/// How a shape changes what was selected before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// It alone is selected.
    #[default]
    Set,
    /// It is selected as well.
    Add,
    /// It is selected no longer.
    Remove,
    /// Only what is in both.
    Intersect,
}

/// How much of a box a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// Nothing of it.
    Nowhere,
    /// Perhaps some of it.
    Partly,
    /// All of it.
    Everywhere,
}

/// A part of space; steps are done in their order, beginning with nothing. Cloning it shares them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Part>", into = "Vec<Part>")]
pub struct Region(Arc<[Part]>);

impl From<Vec<Part>> for Region {
    fn from(parts: Vec<Part>) -> Self {
        Self(parts.into())
    }
}

impl From<Region> for Vec<Part> {
    fn from(region: Region) -> Self {
        region.0.to_vec()
    }
}

impl From<Shape> for Region {
    fn from(shape: Shape) -> Self {
        vec![Part::Add(shape)].into()
    }
}

impl Region {
    /// All of space.
    pub fn everything() -> Self {
        vec![Part::Invert].into()
    }

    /// Its steps.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// This region and then `shape`. Where there was nothing, an intersection leaves nothing.
    pub fn with(&self, how: How, shape: Shape) -> Self {
        let before = if how == How::Set { &[][..] } else { &self.0 };
        let part = match how {
            How::Set | How::Add => Part::Add(shape),
            How::Remove => Part::Remove(shape),
            How::Intersect => Part::Intersect(shape),
        };
        before.iter().cloned().chain([part]).collect::<Vec<_>>().into()
    }

    /// All that is not in it.
    pub fn inverted(&self) -> Self {
        let parts = match &*self.0 {
            [before @ .., Part::Invert] => before.to_vec(),
            parts => parts.iter().cloned().chain([Part::Invert]).collect(),
        };
        parts.into()
    }

    /// Whether `x` is in it. The last step that has a say decides.
    pub fn contains(&self, x: Vec3) -> bool {
        let mut flipped = false;
        for part in self.0.iter().rev() {
            match part {
                Part::Invert => flipped = !flipped,
                Part::Add(shape) if shape.contains(x) => return !flipped,
                Part::Remove(shape) if shape.contains(x) => return flipped,
                Part::Intersect(shape) if !shape.contains(x) => return flipped,
                _ => {}
            }
        }
        flipped
    }

    /// How much of `part` is in it.
    pub fn meets(&self, part: Aabb) -> Meets {
        use Meets::{Everywhere, Nowhere, Partly};
        self.0.iter().fold(Nowhere, |so_far, step| match step {
            Part::Invert => match so_far {
                Nowhere => Everywhere,
                Partly => Partly,
                Everywhere => Nowhere,
            },
            Part::Add(shape) => match (so_far, shape.meets(part)) {
                (Everywhere, _) | (_, Everywhere) => Everywhere,
                (Nowhere, Nowhere) => Nowhere,
                _ => Partly,
            },
            Part::Remove(shape) => match (so_far, shape.meets(part)) {
                (Nowhere, _) | (_, Everywhere) => Nowhere,
                (so_far, Nowhere) => so_far,
                _ => Partly,
            },
            Part::Intersect(shape) => match (so_far, shape.meets(part)) {
                (Nowhere, _) | (_, Nowhere) => Nowhere,
                (so_far, Everywhere) => so_far,
                _ => Partly,
            },
        })
    }

    /// Whether there can be such a region; in words what is wanted if not.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.0.len() > MAX_PARTS {
            return Err("use at most 256 steps of a selection");
        }
        self.0.iter().try_for_each(|part| match part {
            Part::Add(shape) | Part::Remove(shape) | Part::Intersect(shape) => shape.check(),
            Part::Invert => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests;
