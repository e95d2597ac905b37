//! Regularisers of a factorised grid (`TensoRF`, section 4.3): the mean size of the density's factors, and the mean square
//! of the differences between neighbours. On the CPU one kernel each; elsewhere stock operations, which they are checked
//! against.

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::spec::{AXES, FactorSpec, Form};
use crate::device;
use crate::ops::kernel::{Kernel, Memo, apply1};

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// `Σ mean |v|` over the factors.
    Size,
    /// `Σ mean (v − neighbour)²` over the factors and their axes; of `vm` only the planes, as published.
    Roughness,
}

/// Rows `first..first + slow · fast` of the table as a grid, or as a line where `slow` is 1.
#[derive(Clone, Copy, Debug)]
struct Part {
    first: usize,
    slow: usize,
    fast: usize,
}

fn parts(spec: &FactorSpec, measure: Measure) -> Vec<Part> {
    let planes = (0..if spec.form == Form::Planes { 3 } else { 0 }).map(|mode| {
        let [fast, slow] = spec.plane_size(mode);
        Part { first: spec.plane_row(mode), slow, fast }
    });
    let with_lines = measure == Measure::Size || spec.form == Form::Lines;
    let lines = AXES.iter().filter(|_| with_lines).map(|[.., axis]| Part {
        first: spec.line_row(*axis),
        slow: 1,
        fast: spec.resolution[*axis] as usize,
    });
    planes.chain(lines).collect()
}

#[derive(Debug)]
struct Penalty {
    spec: FactorSpec,
    measure: Measure,
    columns: Range<usize>,
}

impl Penalty {
    /// Pairs of neighbours along the fast and the slow axis, at least 1.
    fn pairs(&self, part: Part) -> [f32; 2] {
        let width = self.columns.len();
        [(part.fast - 1) * part.slow * width, part.fast * (part.slow - 1) * width].map(|n| n.max(1) as f32)
    }

    /// The share of a row in the penalty, and its gradient into `out` if that is there.
    fn row(&self, table: &[f32], part: Part, i: usize, out: Option<&mut [f32]>) -> f32 {
        let (all, width) = (self.spec.columns(), self.columns.len());
        let at = |i: usize| &table[(part.first + i) * all..][self.columns.clone()];
        let own = at(i);
        let mut no_gradient = [];
        let out = out.unwrap_or(&mut no_gradient);
        if self.measure == Measure::Size {
            let scale = 1.0 / (part.fast * part.slow * width) as f32;
            out.iter_mut().zip(own).for_each(|(out, v)| *out += if *v == 0.0 { 0.0 } else { scale.copysign(*v) });
            return own.iter().map(|v| v.abs()).sum::<f32>() * scale;
        }
        let (x, y) = (i % part.fast, i / part.fast);
        let [pairs_x, pairs_y] = self.pairs(part);
        let neighbours = [
            (x + 1 < part.fast, i + 1, 1.0 / pairs_x, true),
            (x > 0, i.wrapping_sub(1), 1.0 / pairs_x, false),
            (y + 1 < part.slow, i + part.fast, 1.0 / pairs_y, true),
            (y > 0, i.wrapping_sub(part.fast), 1.0 / pairs_y, false),
        ];
        let mut sum = 0.0;
        for (_, other, scale, counts) in neighbours.into_iter().filter(|(there, ..)| *there) {
            let other = at(other);
            out.iter_mut().zip(own.iter().zip(other)).for_each(|(out, (a, b))| *out += 2.0 * scale * (a - b));
            if counts {
                sum += own.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() * scale;
            }
        }
        sum
    }
}

impl Kernel for Penalty {
    fn output_shape(&self, _inputs: &[[usize; 2]]) -> [usize; 2] {
        [1, 1]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let mut total = 0.0_f64;
        for part in parts(&self.spec, self.measure) {
            // Sums of fixed pieces, in order: the same whatever the number of threads.
            let line = |y: usize| {
                (0..part.fast).map(|x| f64::from(self.row(inputs[0], part, y * part.fast + x, None))).sum::<f64>()
            };
            let sums: Vec<f64> = (0..part.slow).into_par_iter().map(line).collect();
            total += sums.iter().sum::<f64>();
        }
        output[0] = total as f32;
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let Some(result) = &mut grads[0] else { return };
        let all = self.spec.columns();
        for part in parts(&self.spec, self.measure) {
            let rows = &mut result[part.first * all..(part.first + part.slow * part.fast) * all];
            rows.par_chunks_mut(all).with_min_len(64).enumerate().for_each(|(i, out)| {
                let out = &mut out[self.columns.clone()];
                self.row(inputs[0], part, i, Some(out));
                out.iter_mut().for_each(|v| *v *= grad[0]);
            });
        }
    }
}

/// A regulariser of some columns of a table `[rows, ranks]`, `[1]`.
pub fn penalty(table: Tensor<2>, spec: &FactorSpec, measure: Measure, columns: Range<usize>) -> Tensor<1> {
    if device::is_cpu(&table.device()) {
        return apply1(table, Penalty { spec: spec.clone(), measure, columns }).reshape([1]);
    }
    by_stock_operations(&table, spec, measure, columns)
}

fn by_stock_operations(table: &Tensor<2>, spec: &FactorSpec, measure: Measure, columns: Range<usize>) -> Tensor<1> {
    let mut sum = Tensor::<1>::zeros([1], &table.device());
    for Part { first, slow, fast } in parts(spec, measure) {
        let width = columns.len();
        let part = table.clone().slice([first..first + slow * fast, columns.clone()]);
        if measure == Measure::Size {
            sum = sum + part.abs().mean();
            continue;
        }
        let grid: Tensor<3> = part.reshape([slow, fast, width]);
        let square = |d: Tensor<3>| (d.clone() * d).mean();
        let along =
            grid.clone().slice([0..slow, 1..fast, 0..width]) - grid.clone().slice([0..slow, 0..fast - 1, 0..width]);
        sum = sum + square(along);
        if slow > 1 {
            let across =
                grid.clone().slice([1..slow, 0..fast, 0..width]) - grid.slice([0..slow - 1, 0..fast, 0..width]);
            sum = sum + square(across);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::field::{tensor, values};
    use crate::rng::Rng;

    #[test]
    fn kernels_are_the_stock_operations() {
        for form in [Form::Planes, Form::Lines] {
            let (sigma_rank, app_rank) = (2, 3);
            let spec =
                FactorSpec { form, resolution: [5, 3, 4], sigma_rank, app_rank, latent: 1, offset: 0.0, outside: 0.0 };
            let device = Device::flex().autodiff();
            let mut rng = Rng::new(4, "penalty");
            let shape = [spec.rows(), spec.columns()];
            let table: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.normal()).collect();
            let run = |f: &dyn Fn(Tensor<2>) -> Tensor<1>| {
                let table = tensor(table.clone(), shape, &device).require_grad();
                let value = f(table.clone());
                let mut grads = (value.clone() * 3.0).backward();
                (values(value.inner())[0], values(table.grad_remove(&mut grads).expect("a gradient")))
            };
            for measure in [Measure::Size, Measure::Roughness] {
                for columns in [0..2, 2..5] {
                    let (a, da) = run(&|t| penalty(t, &spec, measure, columns.clone()));
                    let (b, db) = run(&|t| by_stock_operations(&t, &spec, measure, columns.clone()));
                    let worst = |db: &[f32]| da.iter().zip(db).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!((a - b).abs() < 1e-5 && worst(&db) < 1e-6, "{form:?} {measure:?}: {a} {b}, {}", worst(&db));
                    // The negative control: other columns.
                    let (c, dc) = run(&|t| by_stock_operations(&t, &spec, measure, 1..3));
                    assert!((a - c).abs() > 1e-4 && worst(&dc) > 1e-3);
                }
            }
        }
    }
}
