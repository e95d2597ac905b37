//! The shape of a factorised grid, and where each factor lies in one table.
//!
//! The table is `[rows, sigma_rank + app_rank]`: a row is a grid point of one factor, and its columns are the ranks,
//! those of the density first. So one tap reads neighbouring values. Rows are, with `R` the resolution:
//!
//! * [`Form::Planes`]: the planes xy `[Ry·Rx]`, xz `[Rz·Rx]`, yz `[Rz·Ry]` (the first axis fastest), then the lines that
//!   they are multiplied with: z, y, x. Three modes, each a plane and a line.
//! * [`Form::Lines`]: the lines x, y, z. One mode, the three of them.
//!
//! Grid points lie on the faces of the box: a coordinate `u` in `[0, 1]` is at `u · (R − 1)`.

use glam::Vec3;

use crate::error::{Error, Result};

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A plane and the line across it, for each of the three axes: vector-matrix decomposition.
    Planes,
    /// Three lines: canonical polyadic decomposition.
    Lines,
}

/// The shape of a factorised grid.
#[derive(Clone, Debug, PartialEq)]
pub struct FactorSpec {
    /// What is multiplied.
    pub form: Form,
    /// Grid points along each axis, at least 2.
    pub resolution: [u32; 3],
    /// Ranks of the density, for each mode.
    pub sigma_rank: usize,
    /// Ranks of the appearance, for each mode.
    pub app_rank: usize,
    /// Width of the latent.
    pub latent: usize,
    /// Added to the density feature.
    pub offset: f32,
    /// The density feature outside the box.
    pub outside: f32,
}

/// The most values in a table: 2 GiB.
const MOST: u64 = 1 << 29;
/// A coordinate this far outside the box is rounding, not outside.
pub const SLACK: f32 = 1e-5;
/// The axes of each mode's plane and of its line.
pub const AXES: [[usize; 3]; 3] = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];

impl FactorSpec {
    /// Refuses what the kernels cannot compute, or what would take all memory.
    ///
    /// # Errors
    /// When a resolution is not from 2 to 4096, a rank not from 1 to 1024, or the table has more than 2²⁹ values.
    pub fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if self.resolution.iter().any(|r| !(2..=4096).contains(r)) {
            return bad("resolution", "use 2 to 4096 for each axis");
        }
        for (name, rank) in [("sigma_rank", self.sigma_rank), ("app_rank", self.app_rank)] {
            if !(1..=1024).contains(&rank) {
                return bad(name, "use 1 to 1024");
            }
        }
        if self.rows() as u64 * self.columns() as u64 > MOST {
            return bad("resolution", "with these ranks it needs more than 2 GiB: use less of either");
        }
        Ok(())
    }

    /// Cells along each axis, one less than grid points.
    pub fn cells(&self) -> Vec3 {
        Vec3::from_array(self.resolution.map(|r| (r - 1) as f32))
    }

    /// Products that are summed or led to the basis, as groups: three for planes, one for lines.
    pub fn modes(&self) -> usize {
        if self.form == Form::Planes { 3 } else { 1 }
    }

    /// Columns of the table.
    pub fn columns(&self) -> usize {
        self.sigma_rank + self.app_rank
    }

    /// Rows of the table.
    pub fn rows(&self) -> usize {
        let [x, y, z] = self.resolution.map(|r| r as usize);
        x + y + z + if self.form == Form::Planes { x * y + x * z + y * z } else { 0 }
    }

    /// Columns of the basis, which is `[latent, this]`: the appearance's products, mode by mode.
    pub fn products(&self) -> usize {
        self.modes() * self.app_rank
    }

    /// Width of the output: the density feature and the latent.
    pub fn out_dim(&self) -> usize {
        1 + self.latent
    }

    /// First row of the plane of a mode; [`Form::Planes`] only.
    pub fn plane_row(&self, mode: usize) -> usize {
        (0..mode).map(|m| self.plane_size(m).iter().product::<usize>()).sum()
    }

    /// Grid points of a mode's plane along its first and second axis.
    pub fn plane_size(&self, mode: usize) -> [usize; 2] {
        [AXES[mode][0], AXES[mode][1]].map(|axis| self.resolution[axis] as usize)
    }

    /// First row of the line along an axis.
    pub fn line_row(&self, axis: usize) -> usize {
        let length = |a: usize| self.resolution[a] as usize;
        match self.form {
            Form::Lines => (0..axis).map(length).sum(),
            Form::Planes => self.plane_row(3) + (axis + 1..3).map(length).sum::<usize>(),
        }
    }
}
