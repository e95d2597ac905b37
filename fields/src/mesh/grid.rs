//! A function of space as numbers on a regular grid of points, from which surfaces are taken.
//!
//! Point `(i, j, k)` lies at `min + size * (i, j, k) / (resolution - 1)`, so that the outermost points lie on the box's
//! faces. Its value is `values[i + nx (j + ny k)]`, x fastest.

use glam::{UVec3, Vec3};
use retort_shaders::Aabb;

use crate::error::{Error, Result};

/// The most points of a grid: 4 GiB of values.
pub const MAX_POINTS: u64 = 1 << 30;
/// The most points along one axis.
pub const MAX_AXIS: u32 = 4096;
/// Points along an axis of the blocks that may be passed over.
const BLOCK: u32 = 8;
/// Points that are asked for at a time, at most.
const CHUNK: usize = 1 << 18;

/// Values on a regular grid of points over a box.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The box, on whose faces the outermost points lie.
    pub bounds: Aabb,
    /// Points per axis, each at least 2.
    pub resolution: [u32; 3],
    /// The values, `[nx ny nz]`, x fastest.
    pub values: Vec<f32>,
}

impl Grid {
    /// The number of points of a grid of this shape.
    ///
    /// # Errors
    /// When the box is empty or not finite, an axis has fewer than 2 or more than [`MAX_AXIS`] points, or there are
    /// more than [`MAX_POINTS`] in all.
    pub fn check(bounds: Aabb, resolution: [u32; 3]) -> Result<usize> {
        let size = bounds.size();
        if !(bounds.min.is_finite() && bounds.max.is_finite() && size.is_finite() && size.cmpgt(Vec3::ZERO).all()) {
            return Err(Error::new(format!("the box of the grid is empty: {} to {}", bounds.min, bounds.max))
                .remedy("give a box with a width, a depth and a height"));
        }
        let [x, y, z] = resolution;
        let points = resolution.iter().map(|&n| u128::from(n)).product::<u128>();
        if resolution.iter().any(|n| !(2..=MAX_AXIS).contains(n)) || points > u128::from(MAX_POINTS) {
            return Err(Error::new(format!("a grid of {x} x {y} x {z} points is not possible"))
                .remedy(format!("use 2 to {MAX_AXIS} points along an axis and at most {MAX_POINTS} in all")));
        }
        Ok(points as usize)
    }

    /// A grid of values that are there already, `[nx ny nz]`, x fastest.
    ///
    /// # Errors
    /// As [`Grid::check`], or when there are more or fewer values than points.
    pub fn new(bounds: Aabb, resolution: [u32; 3], values: Vec<f32>) -> Result<Self> {
        let grid = Self { bounds, resolution, values };
        grid.check_self()?;
        Ok(grid)
    }

    /// Whether the three fields belong together.
    pub(super) fn check_self(&self) -> Result<()> {
        let points = Self::check(self.bounds, self.resolution)?;
        if points != self.values.len() {
            return Err(Error::new(format!("a grid of {points} points cannot have {} values", self.values.len())));
        }
        Ok(())
    }

    /// A grid whose every point is asked for. `ask` gets points `[n, 3]`, at most 2^18 at a time, and gives their
    /// values `[n]`.
    ///
    /// # Errors
    /// As [`Grid::check`]; what `ask` reports; when it gives another number of values than it got points, or a NaN; and
    /// when there is no memory for the values.
    pub fn filled(bounds: Aabb, resolution: [u32; 3], ask: impl FnMut(&[Vec3]) -> Result<Vec<f32>>) -> Result<Self> {
        Self::filled_where(bounds, resolution, 0.0, |_| true, ask)
    }

    /// The same, but blocks of 8³ points of which `may_hold` says no are never asked for: they have the value `empty`.
    /// `may_hold` gets the box around the block's points with half a cell on every side, so that the boxes leave no
    /// gap.
    ///
    /// # Errors
    /// As [`Grid::filled`].
    pub fn filled_where(
        bounds: Aabb,
        resolution: [u32; 3],
        empty: f32,
        mut may_hold: impl FnMut(Aabb) -> bool,
        mut ask: impl FnMut(&[Vec3]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let values = room(Self::check(bounds, resolution)?, empty)?;
        let mut grid = Self { bounds, resolution, values };
        let half = 0.5 * grid.spacing();
        let mut pending = Pending::default();
        for first in blocks(resolution) {
            let end = (first + BLOCK).min(resolution.into());
            let around = Aabb::new(grid.point(first.into()) - half, grid.point((end - 1).into()) + half);
            if !may_hold(around) {
                continue;
            }
            for k in first.z..end.z {
                for j in first.y..end.y {
                    for i in first.x..end.x {
                        pending.points.push(grid.point([i, j, k]));
                        pending.places.push(grid.index([i, j, k]));
                    }
                }
            }
            if pending.points.len() + (BLOCK as usize).pow(3) > CHUNK {
                pending.settle(&mut grid.values, &mut ask)?;
            }
        }
        pending.settle(&mut grid.values, &mut ask)?;
        Ok(grid)
    }

    /// Points per axis for cells as near to cubes as can be, with `longest` points along the longest edge of the box
    /// and at least 2 along the others.
    pub fn cubic(bounds: Aabb, longest: u32) -> [u32; 3] {
        let size = bounds.size();
        let cells = longest.max(2) - 1;
        (size / size.max_element() * cells as f32).to_array().map(|n| (n.round() as u32).clamp(1, cells) + 1)
    }

    /// The distances between neighbouring points along the axes.
    pub fn spacing(&self) -> Vec3 {
        self.bounds.size() / (UVec3::from(self.resolution) - 1).as_vec3()
    }

    /// Where a point lies.
    pub fn point(&self, at: [u32; 3]) -> Vec3 {
        let share = UVec3::from(at).as_vec3() / (UVec3::from(self.resolution) - 1).as_vec3();
        self.bounds.min + self.bounds.size() * share
    }

    /// The place of a point's value.
    pub fn index(&self, [i, j, k]: [u32; 3]) -> usize {
        let [nx, ny, _] = self.resolution.map(|n| n as usize);
        i as usize + nx * (j as usize + ny * k as usize)
    }

    /// The value of a point.
    ///
    /// # Panics
    /// When there is no such point.
    pub fn value(&self, at: [u32; 3]) -> f32 {
        self.values[self.index(at)]
    }
}

/// `points` times `value`, or an error where memory is short.
pub(super) fn room(points: usize, value: f32) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(points).map_err(|_| {
        Error::new(format!("there is no memory for a grid of {points} points")).remedy("use a lower resolution")
    })?;
    values.resize(points, value);
    Ok(values)
}

/// The first points of all blocks.
fn blocks(resolution: [u32; 3]) -> impl Iterator<Item = UVec3> {
    let [x, y, z] = resolution.map(|n| n.div_ceil(BLOCK));
    (0..z).flat_map(move |k| (0..y).flat_map(move |j| (0..x).map(move |i| BLOCK * UVec3::new(i, j, k))))
}

/// Points that wait to be asked for.
#[derive(Default)]
struct Pending {
    points: Vec<Vec3>,
    /// Where their values go.
    places: Vec<usize>,
}

impl Pending {
    fn settle(&mut self, values: &mut [f32], ask: &mut impl FnMut(&[Vec3]) -> Result<Vec<f32>>) -> Result<()> {
        if self.points.is_empty() {
            return Ok(());
        }
        let answers = asked(&self.points, ask)?;
        self.places.iter().zip(answers).for_each(|(&place, value)| values[place] = value);
        self.points.clear();
        self.places.clear();
        Ok(())
    }
}

/// The field's answers at `points`, one for each and none a NaN.
pub(super) fn asked(points: &[Vec3], ask: &mut impl FnMut(&[Vec3]) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
    let answers = ask(points)?;
    if answers.len() != points.len() {
        return Err(Error::new(format!("the field gave {} values for {} points", answers.len(), points.len())));
    }
    if let Some(at) = answers.iter().position(|v| v.is_nan()) {
        return Err(Error::new(format!("the value of the field at {} is not a number", points[at]))
            .remedy("the training diverged: use an earlier state of it"));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(p: Vec3) -> f32 {
        p.x + 10.0 * p.y + 100.0 * p.z
    }

    /// How a field is asked.
    const ASK: fn(&[Vec3]) -> Result<Vec<f32>> = |points| Ok(points.iter().map(|&p| value(p)).collect());

    #[test]
    fn values_lie_where_their_points_do() {
        let bounds = Aabb::new(Vec3::new(-1.0, 0.0, 2.0), Vec3::new(1.0, 3.0, 4.0));
        let grid = Grid::filled(bounds, [9, 13, 5], ASK).unwrap();
        assert_eq!(grid.point([0, 0, 0]), bounds.min);
        assert_eq!(grid.point([8, 12, 4]), bounds.max);
        for at in [[0, 0, 0], [8, 0, 1], [3, 12, 2], [7, 9, 4]] {
            assert_eq!(grid.value(at), value(grid.point(at)), "{at:?}");
        }
        assert_ne!(grid.value([1, 0, 0]), grid.value([0, 1, 0]));
    }

    #[test]
    fn blocks_that_hold_nothing_are_not_asked_for() {
        let bounds = Aabb::cube(1.0);
        let resolution = [33, 20, 17];
        let full = Grid::filled(bounds, resolution, ASK).unwrap();
        let mut count = 0;
        let right = |b: Aabb| b.max.x > 0.0;
        let some = Grid::filled_where(bounds, resolution, -7.0, right, |points| {
            count += points.len();
            ASK(points)
        })
        .unwrap();
        assert!(count < full.values.len() && count >= full.values.len() / 2, "asked for {count}");
        let passed_over = some.values.iter().filter(|v| **v == -7.0).count();
        assert_eq!(passed_over, full.values.len() - count);
        // Everything in the half that may hold something is as it is.
        for k in 0..17 {
            for j in 0..20 {
                for i in 17..33 {
                    assert_eq!(some.value([i, j, k]), full.value([i, j, k]));
                }
            }
        }
    }

    #[test]
    fn boxes_of_blocks_leave_no_gap() {
        let bounds = Aabb::new(Vec3::ZERO, Vec3::new(2.0, 1.0, 1.0));
        let mut boxes = Vec::new();
        let seen = |b: Aabb| {
            boxes.push(b);
            false
        };
        Grid::filled_where(bounds, [20, 9, 9], 0.0, seen, ASK).unwrap();
        let volume: f32 = boxes.iter().map(|b| b.size().element_product()).sum();
        let spacing = Vec3::new(2.0 / 19.0, 0.125, 0.125);
        let whole = (bounds.size() + spacing).element_product();
        assert!((volume - whole).abs() < 1e-4 * whole, "{volume} of {whole}");
    }

    #[test]
    fn wrong_shapes_and_answers_are_refused() {
        let one = Aabb::cube(1.0);
        let text = |r: Result<Grid>| r.unwrap_err().to_string();
        assert!(text(Grid::filled(one, [1, 8, 8], ASK)).contains("1 x 8 x 8"));
        assert!(text(Grid::filled(one, [4096, 4096, 4096], ASK)).contains("not possible"));
        assert!(text(Grid::filled(one, [u32::MAX; 3], ASK)).contains("not possible"));
        let flat = Aabb::new(Vec3::ZERO, Vec3::new(1.0, 0.0, 1.0));
        assert!(text(Grid::filled(flat, [8; 3], ASK)).contains("box"));
        let vast = Aabb { min: Vec3::NEG_INFINITY, max: Vec3::INFINITY };
        assert!(text(Grid::filled(vast, [8; 3], ASK)).contains("box"));
        assert!(text(Grid::filled(one, [8; 3], |_| Ok(vec![0.0; 3]))).contains("3 values for 512 points"));
        assert!(text(Grid::filled(one, [8; 3], |p| Ok(vec![f32::NAN; p.len()]))).contains("not a number"));
        assert!(text(Grid::filled(one, [8; 3], |_| Err(Error::new("out of paper")))).contains("paper"));
        assert!(text(Grid::new(one, [8; 3], vec![0.0; 511])).contains("511"));
    }

    #[test]
    fn cells_are_near_cubes() {
        let bounds = Aabb::new(Vec3::ZERO, Vec3::new(4.0, 2.0, 0.001));
        assert_eq!(Grid::cubic(bounds, 129), [129, 65, 2]);
    }
}
