//! Cells of a regular grid, for what no simple shape describes: all that hangs together, say. In a file they are the
//! lengths of runs, first of cells outside, then of cells inside, and so on; x rises fastest.

use std::sync::Arc;

use glam::{UVec3, Vec3};
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

use super::Meets;
use super::shape::Corners;

/// The most cells along an edge.
const MAX_SIDE: u32 = 256;

/// Some cells of a grid. Cloning it shares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Cells {
    bounds: Aabb,
    /// Along each axis.
    resolution: UVec3,
    /// A bit a cell.
    bits: Arc<[u64]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    min: [f32; 3],
    max: [f32; 3],
    resolution: [u32; 3],
    runs: Vec<u32>,
}

impl TryFrom<Text> for Cells {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        Corners { min: text.min, max: text.max }.check()?;
        // Before memory is taken: 256³ cells are two mebibytes.
        if !text.resolution.iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(format!("cells: a resolution of {:?}; use 1 to {MAX_SIDE}", text.resolution));
        }
        let n: usize = text.resolution.iter().map(|side| *side as usize).product();
        let mut inside = vec![false; n];
        let (mut at, mut is_inside) = (0_usize, false);
        for run in text.runs {
            let end = at.saturating_add(run as usize);
            let Some(part) = inside.get_mut(at..end) else { return Err(format!("cells: runs of more than {n}")) };
            part.fill(is_inside);
            (at, is_inside) = (end, !is_inside);
        }
        Ok(Self::new(Aabb::new(text.min.into(), text.max.into()), text.resolution.into(), |i| inside[i]))
    }
}

impl From<Cells> for Text {
    fn from(cells: Cells) -> Self {
        let (mut runs, mut length, mut is_inside) = (Vec::new(), 0, false);
        for i in 0..cells.count() {
            if cells.is_set(i) != is_inside {
                runs.push(length);
                (length, is_inside) = (0, !is_inside);
            }
            length += 1;
        }
        if is_inside {
            runs.push(length);
        }
        let (min, max) = (cells.bounds.min.to_array(), cells.bounds.max.to_array());
        Self { min, max, resolution: cells.resolution.to_array(), runs }
    }
}

impl Cells {
    /// Those cells of a grid over `bounds` that `inside` names by their number, x rising fastest.
    pub fn new(bounds: Aabb, resolution: UVec3, inside: impl Fn(usize) -> bool) -> Self {
        let n: usize = resolution.to_array().iter().map(|side| *side as usize).product();
        let word = |w: usize| (64 * w..n.min(64 * w + 64)).fold(0, |word, i| word | u64::from(inside(i)) << (i % 64));
        Self { bounds, resolution, bits: (0..n.div_ceil(64)).map(word).collect() }
    }

    fn count(&self) -> usize {
        self.resolution.to_array().iter().map(|side| *side as usize).product()
    }

    fn is_set(&self, i: usize) -> bool {
        self.bits[i / 64] >> (i % 64) & 1 == 1
    }

    fn number(&self, at: UVec3) -> usize {
        let [x, y, _] = self.resolution.to_array().map(|side| side as usize);
        (at.z as usize * y + at.y as usize) * x + at.x as usize
    }

    /// The cell of `x`, which is moved into the bounds.
    fn cell(&self, x: Vec3) -> UVec3 {
        let share = (x - self.bounds.min) / self.bounds.size() * self.resolution.as_vec3();
        share.max(Vec3::ZERO).as_uvec3().min(self.resolution - 1)
    }

    /// Whether `x` is in one of them.
    pub fn contains(&self, x: Vec3) -> bool {
        self.bounds.contains(x) && self.is_set(self.number(self.cell(x)))
    }

    /// How much of `part` they hold.
    pub fn meets(&self, part: Aabb) -> Meets {
        let within = self.bounds.contains(part.min) && self.bounds.contains(part.max);
        if part.min.cmpgt(self.bounds.max).any() || part.max.cmplt(self.bounds.min).any() {
            return Meets::Nowhere;
        }
        let (low, high) = (self.cell(part.min), self.cell(part.max));
        let (mut some, mut all) = (false, within);
        for z in low.z..=high.z {
            for y in low.y..=high.y {
                for x in low.x..=high.x {
                    let set = self.is_set(self.number(UVec3::new(x, y, z)));
                    (some, all) = (some || set, all && set);
                }
                if some && !all {
                    return Meets::Partly;
                }
            }
        }
        match (some, all) {
            (_, true) => Meets::Everywhere,
            (true, false) => Meets::Partly,
            (false, false) => Meets::Nowhere,
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let sides = self.resolution.to_array().iter().all(|side| (1..=MAX_SIDE).contains(side));
        let corners = Corners { min: self.bounds.min.into(), max: self.bounds.max.into() };
        if sides { corners.check() } else { Err("use 1 to 256 cells along an edge") }
    }
}
