//! The factorised grid as plain loops, one point and one rank at a time: what the fast kernels are compared with.

use super::spec::{AXES, FactorSpec, Form, SLACK};

/// One factor at a point: its value, and the derivative by each coordinate of the unit cube.
struct Factor {
    /// Rows of the table with their weights and the weights' derivatives by the three coordinates.
    taps: Vec<(usize, f32, [f32; 3])>,
}

impl Factor {
    fn at(&self, table: &[f32], columns: usize, column: usize) -> (f32, [f32; 3]) {
        let mut value = 0.0;
        let mut slope = [0.0; 3];
        for (row, weight, derivative) in &self.taps {
            let entry = table[row * columns + column];
            value += weight * entry;
            (0..3).for_each(|a| slope[a] += derivative[a] * entry);
        }
        (value, slope)
    }
}

/// The two grid points around a coordinate: index, weight, derivative of the weight.
fn ends(spec: &FactorSpec, axis: usize, x: f32) -> [(usize, f32, f32); 2] {
    let last = spec.resolution[axis] - 1;
    let position = x.clamp(0.0, 1.0) * last as f32;
    let cell = (position.floor() as u32).min(last - 1);
    let fraction = position - cell as f32;
    [(cell as usize, 1.0 - fraction, -(last as f32)), (cell as usize + 1, fraction, last as f32)]
}

fn line(spec: &FactorSpec, axis: usize, x: &[f32]) -> Factor {
    let tap = |(cell, weight, slope): (usize, f32, f32)| {
        let mut derivative = [0.0; 3];
        derivative[axis] = slope;
        (spec.line_row(axis) + cell, weight, derivative)
    };
    Factor { taps: ends(spec, axis, x[axis]).map(tap).to_vec() }
}

fn plane(spec: &FactorSpec, mode: usize, x: &[f32]) -> Factor {
    let [a, b, _] = AXES[mode];
    let mut taps = Vec::new();
    for (row, wb, sb) in ends(spec, b, x[b]) {
        for (cell, wa, sa) in ends(spec, a, x[a]) {
            let mut derivative = [0.0; 3];
            derivative[a] = sa * wb;
            derivative[b] = wa * sb;
            taps.push((spec.plane_row(mode) + row * spec.resolution[a] as usize + cell, wa * wb, derivative));
        }
    }
    Factor { taps }
}

/// The factors of a mode.
fn factors_of(spec: &FactorSpec, mode: usize, x: &[f32]) -> Vec<Factor> {
    match spec.form {
        Form::Planes => vec![plane(spec, mode, x), line(spec, AXES[mode][2], x)],
        Form::Lines => (0..3).map(|axis| line(spec, axis, x)).collect(),
    }
}

fn inside(x: &[f32]) -> bool {
    x.iter().all(|v| (-SLACK..=1.0 + SLACK).contains(v))
}

/// See [`super::cpu::forward`].
pub fn forward(spec: &FactorSpec, x: &[f32], table: &[f32], basis: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(3).zip(out.chunks_exact_mut(spec.out_dim())) {
        out.fill(0.0);
        if !inside(x) {
            out[0] = spec.outside;
            continue;
        }
        out[0] = spec.offset;
        for mode in 0..spec.modes() {
            let factors = factors_of(spec, mode, x);
            for column in 0..spec.columns() {
                let product: f32 = factors.iter().map(|f| f.at(table, spec.columns(), column).0).product();
                let Some(rank) = column.checked_sub(spec.sigma_rank) else {
                    out[0] += product;
                    continue;
                };
                for k in 0..spec.latent {
                    out[1 + k] += basis[k * spec.products() + mode * spec.app_rank + rank] * product;
                }
            }
        }
    }
}

/// The gradients to the points, the table and the basis, all of which come zeroed.
pub fn backward(
    spec: &FactorSpec,
    x: &[f32],
    table: &[f32],
    basis: &[f32],
    grad: &[f32],
    [grad_x, grad_table, grad_basis]: [&mut [f32]; 3],
) {
    let points = x.chunks_exact(3).zip(grad.chunks_exact(spec.out_dim())).zip(grad_x.chunks_exact_mut(3));
    for ((x, grad), grad_x) in points.filter(|((x, _), _)| inside(x)) {
        for mode in 0..spec.modes() {
            let factors = factors_of(spec, mode, x);
            for column in 0..spec.columns() {
                let at: Vec<_> = factors.iter().map(|f| f.at(table, spec.columns(), column)).collect();
                let product: f32 = at.iter().map(|(value, _)| value).product();
                let mut share = grad[0];
                if let Some(rank) = column.checked_sub(spec.sigma_rank) {
                    share = 0.0;
                    for k in 0..spec.latent {
                        let j = k * spec.products() + mode * spec.app_rank + rank;
                        share += grad[1 + k] * basis[j];
                        grad_basis[j] += grad[1 + k] * product;
                    }
                }
                for (i, factor) in factors.iter().enumerate() {
                    let others: f32 = at.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, (v, _))| v).product();
                    for (row, weight, _) in &factor.taps {
                        grad_table[row * spec.columns() + column] += weight * share * others;
                    }
                    (0..3).for_each(|a| grad_x[a] += at[i].1[a] * share * others);
                }
            }
        }
    }
}
