//! What readers of torch's checkpoints share: a model's tensors by name, and a field put together from its parts.

use std::collections::HashMap;
use std::ops::Range;

use glam::Vec3;
use retort_shaders::Aabb;
use serde_json::{Value as Json, json};

use super::torch::{Checkpoint, TensorRef};
use crate::error::{Error, Result};
use crate::files::archive::Archive;
use crate::files::field::VERSION;
use crate::files::splats::Source;
use crate::parts::occupancy::Occupancy;

/// A length that may be any.
pub(super) const ANY: usize = usize::MAX;
/// Values of the spherical-harmonic encoding of a direction, degrees 0 to 3.
pub(super) const SH: usize = 16;

/// A model's tensors by name.
pub(super) struct Weights<'a, 'f, 's> {
    pub file: &'a Checkpoint,
    pub source: &'f mut Source<'s>,
    pub tensors: HashMap<String, &'a TensorRef>,
}

/// A matrix as files have it.
pub(super) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    /// `[rows, columns]`, row-major.
    pub values: Vec<f32>,
}

/// Layers of a network, each with its biases, or none.
pub(super) type Layers = Vec<(Matrix, Vec<f32>)>;

impl Weights<'_, '_, '_> {
    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// How many tensors `name.0…`, `name.1…` there are in a row, or `name.0`, `name.2` by steps of 2.
    pub fn run(&self, name: &str, step: usize, ending: &str) -> usize {
        (0..64).take_while(|i| self.has(&format!("{name}.{}{ending}", i * step))).count()
    }

    fn found(&self, name: &str) -> Result<&TensorRef> {
        let found = self.tensors.get(name).copied();
        found.ok_or_else(|| Error::new(format!("its model has no \"{name}\"")).remedy("the file is incomplete"))
    }

    /// The tensor of this name and shape, whole in the file; [`ANY`] stands for any length.
    ///
    /// # Errors
    /// When it is missing, of another shape, or not whole.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<&TensorRef> {
        let tensor = self.found(name)?;
        let fits = tensor.shape.len() == shape.len()
            && tensor.shape.iter().zip(shape).all(|(has, wants)| *wants == ANY || has == wants);
        if !fits {
            let wanted: Vec<_> = shape.iter().map(|n| if *n == ANY { "any".into() } else { n.to_string() }).collect();
            let what = format!("\"{name}\" is of shape {:?}, not [{}]", tensor.shape, wanted.join(", "));
            return Err(Error::new(what).remedy("the file is damaged, or of a changed version of the trainer"));
        }
        self.file.check(tensor).map_err(|e| named(name, e))?;
        Ok(tensor)
    }

    /// The values of a tensor of this shape, row-major; [`ANY`] stands for any length.
    ///
    /// # Errors
    /// As [`Weights::expect`], and when it holds what is no number.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.expect(name, shape)?.clone();
        let values = self.file.read_f32(self.source, &tensor).map_err(|e| named(name, e))?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let what = format!("\"{name}\" holds {} at {at}", values[at]);
            return Err(Error::new(what).remedy("it comes from a training that diverged: use an earlier checkpoint"));
        }
        Ok(values)
    }

    /// Whole numbers.
    ///
    /// # Errors
    /// When it is missing, not whole, or holds fractions.
    pub fn whole(&mut self, name: &str) -> Result<Vec<i64>> {
        let tensor = self.found(name)?.clone();
        self.file.read_whole(self.source, &tensor).map_err(|e| named(name, e))
    }

    /// A matrix of any size.
    ///
    /// # Errors
    /// As [`Weights::take`].
    pub fn matrix(&mut self, name: &str) -> Result<Matrix> {
        let values = self.take(name, &[ANY, ANY])?;
        let shape = self.found(name)?.shape.clone();
        Ok(Matrix { rows: shape[0], columns: shape[1], values })
    }

    /// The layers `name.0.weight`, `name.1.weight`… (or by steps of 2, with an activation in between), each of which sees
    /// what the last one gives; `name.i.bias` beside them where `biases`.
    ///
    /// # Errors
    /// As [`Weights::take`], and when there are none or they do not follow each other.
    pub fn network(&mut self, name: &str, step: usize, biases: bool) -> Result<Layers> {
        let mut layers = Layers::new();
        for i in 0..self.run(name, step, ".weight").max(1) {
            let layer = format!("{name}.{}", i * step);
            let matrix = self.matrix(&format!("{layer}.weight"))?;
            if layers.last().is_some_and(|(before, _)| before.rows != matrix.columns) {
                let what = format!("\"{layer}.weight\" sees {} values, and another number is given", matrix.columns);
                return Err(Error::new(what).remedy("the file is damaged, or of a changed version of the trainer"));
            }
            let bias = if biases { self.take(&format!("{layer}.bias"), &[matrix.rows])? } else { Vec::new() };
            layers.push((matrix, bias));
        }
        Ok(layers)
    }
}

fn named(name: &str, error: Error) -> Error {
    Error { what: format!("\"{name}\": {}", error.what), ..error }
}

impl Matrix {
    /// The matrix whose column `j` is this one's column `from[j]`, or zeros where that is `None`.
    pub fn rearranged(&self, from: &[Option<usize>]) -> Self {
        let row = |row: &[f32]| -> Vec<f32> {
            from.iter().map(|at| at.and_then(|at| row.get(at).copied()).unwrap_or(0.0)).collect()
        };
        let values = self.values.chunks_exact(self.columns.max(1)).flat_map(row).collect();
        Self { rows: self.rows, columns: from.len(), values }
    }
}

/// A parameter of a field: its name, its shape and its values.
pub(super) type Tensor = (&'static str, [usize; 2], Vec<f32>);

/// The parameters of a network as fields hold them: of each layer the weights, row-major, then the biases.
pub(super) fn flat(name: &'static str, layers: &Layers) -> Tensor {
    let values: Vec<f32> = layers.iter().flat_map(|(m, bias)| m.values.iter().chain(bias).copied()).collect();
    (name, [1, values.len()], values)
}

/// Output widths of all layers but the last.
pub(super) fn hidden(layers: &Layers) -> Vec<usize> {
    layers.iter().rev().skip(1).rev().map(|(matrix, _)| matrix.rows).collect()
}

/// Where a field lives.
pub(super) struct Place {
    /// The scene's box, scene units.
    pub bounds: Aabb,
    /// Scene units per unit of the photos' coordinates.
    pub scale: f32,
    /// From the photos' axes to the scene's: a quaternion x, y, z, w.
    pub rotation: [f32; 4],
    /// Scene units.
    pub translation: Vec3,
}

/// A field as our own files have it.
pub(super) struct Parts {
    /// Its configuration, with its kind.
    pub config: Json,
    pub place: Place,
    pub tensors: Vec<Tensor>,
    pub occupancy: Option<Occupancy>,
    /// The trainer, for the record of where it comes from.
    pub trainer: &'static str,
    /// Training steps, where they are known.
    pub steps: usize,
}

impl Parts {
    /// The archive that a field is built from.
    pub fn archive(self) -> Archive {
        let Place { bounds, scale, rotation, translation } = self.place;
        let corner = Vec3::to_array;
        let json = json!({
            "version": VERSION,
            "config": self.config,
            "scene": {
                "bounds": { "min": corner(&bounds.min), "max": corner(&bounds.max) },
                "unbounded": false,
                "scene_from_dataset": { "scale": scale, "rotation": rotation, "translation": corner(&translation) },
                "near_far": [0.05, 100.0],
                // How far cameras stand is not known; on a turntable about four times the content's half-size.
                "extent": (2.0 * bounds.size().max_element()).max(1e-3),
                "cameras": [],
            },
            "provenance": {
                "made_by": self.trainer,
                "from": format!("read from a checkpoint of {}", self.trainer),
                "steps": u32::try_from(self.steps).unwrap_or(u32::MAX),
            },
        });
        let tensors = self.tensors.into_iter().map(|(name, shape, values)| (name.to_string(), shape, values));
        let bytes = self.occupancy.map(|grid| ("extra.occupancy".to_string(), grid.to_bytes_compact()));
        Archive { json, tensors: tensors.collect(), bytes: bytes.into_iter().collect() }
    }
}

/// For each cell of a grid of `resolution` along an axis from `low` to `high`, the cells that it touches of another grid:
/// `count` of them from `other_low` to `other_high`. Faces that meet but for rounding do not touch.
pub(super) fn touched(
    resolution: usize,
    [low, high]: [f32; 2],
    count: usize,
    [other_low, other_high]: [f32; 2],
) -> Vec<Range<usize>> {
    let place = |cell: usize| {
        let x = f64::from(low) + (f64::from(high) - f64::from(low)) * cell as f64 / resolution as f64;
        (x - f64::from(other_low)) / (f64::from(other_high) - f64::from(other_low)) * count as f64
    };
    let range = |cell| {
        let first = (place(cell) + 1e-3).floor().max(0.0) as usize;
        let end = ((place(cell + 1) - 1e-3).ceil().max(0.0) as usize).min(count);
        first.min(end)..end
    };
    (0..resolution).map(range).collect()
}

/// Which cells of a grid touch a set one of another grid `[z, y, x]` of `size` x, y, z: `R³` of them, x fastest.
pub(super) fn reached(set: &[bool], size: [usize; 3], touched: &[Vec<Range<usize>>; 3]) -> Vec<bool> {
    let (mut size, mut set) = (size, set.to_vec());
    for (axis, ranges) in touched.iter().enumerate() {
        // Elements between neighbours along this axis, and how many lines there are beyond it.
        let stride: usize = size[..axis].iter().product();
        let lines: usize = size[axis + 1..].iter().product();
        let length = size[axis];
        let mut next = vec![false; stride * ranges.len() * lines];
        for line in 0..lines {
            for (cell, range) in ranges.iter().enumerate() {
                let to = &mut next[(line * ranges.len() + cell) * stride..][..stride];
                for from in range.clone() {
                    let from = &set[(line * length + from) * stride..][..stride];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to |= from);
                }
            }
        }
        size[axis] = ranges.len();
        set = next;
    }
    set
}

/// The grid whose cells are those that are set, `[R³]`, x fastest.
///
/// # Errors
/// When there can be no such grid.
pub(super) fn occupancy(resolution: usize, bounds: Aabb, set: &[bool]) -> Result<Occupancy> {
    let word = |cells: &[bool]| cells.iter().rev().fold(0_u64, |word, set| word << 1 | u64::from(*set));
    let bits: Vec<u64> = set.chunks(64).map(word).collect();
    Occupancy::from_bits(resolution as u32, bounds, &bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_meet_only_at_a_face_do_not_touch() {
        assert_eq!(touched(4, [-1.0, 1.0], 4, [-1.0, 1.0]), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(touched(2, [-1.0, 1.0], 4, [-0.5, 0.5]), [0..2, 2..4]);
        assert_eq!(touched(4, [0.0, 4.0], 2, [1.5, 2.5]), [0..0, 0..1, 1..2, 2..2]);
        assert_eq!(touched(2, [0.0, 1.0], 3, [0.0, 1.0]), [0..2, 1..3]);
        assert!(touched(3, [0.0, 1.0], 5, [7.0, 9.0]).iter().all(Range::is_empty));
    }

    #[test]
    fn a_cell_is_reached_when_any_that_it_touches_is_set() {
        // x, y, z of 3, 2, 2; only (2, 0, 1) is set.
        let set: Vec<bool> = (0..12).map(|i| i == 2 + 3 * 2).collect();
        let all = [
            touched(2, [0.0, 1.0], 3, [0.0, 1.0]),
            touched(2, [0.0, 1.0], 2, [0.0, 1.0]),
            touched(2, [0.0, 1.0], 2, [0.0, 1.0]),
        ];
        let reached = reached(&set, [3, 2, 2], &all);
        assert_eq!((0..8).filter(|i| reached[*i]).collect::<Vec<_>>(), [1 + 4]);
        let grid = occupancy(8, Aabb::cube(1.0), &(0..512).map(|i| i == 77).collect::<Vec<_>>()).unwrap();
        assert_eq!(grid.occupied().collect::<Vec<_>>(), [77]);
        assert!(occupancy(8, Aabb::cube(1.0), &[true; 64]).is_err());
    }

    #[test]
    fn columns_move() {
        let matrix = Matrix { rows: 2, columns: 3, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let moved = matrix.rearranged(&[Some(2), None, Some(0), Some(7)]);
        assert_eq!((moved.columns, moved.values.as_slice()), (4, [3.0, 0.0, 1.0, 0.0, 6.0, 0.0, 4.0, 0.0].as_slice()));
    }
}
