//! Factorised grids on wgpu.
//!
//! Forward: one thread per point over all products, the latents in its registers. Backward to table and basis: one
//! thread per column of a mode and [`SEGMENT`] points, so that neighbouring threads touch neighbouring values; float
//! atomics, of the basis once a segment. Backward to the points: one thread per point. Sums of atomics have no fixed
//! order, so gradients repeat to rounding only.

use super::face::Factors;
use super::spec::{FactorSpec, Form};
use crate::ops::gpu::{Buffer, arg, dims, empty, group, groups, require_float_atomics, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

/// Points that a thread of the backward pass takes.
const SEGMENT: usize = 64;

/// Grid points along the axes, then first rows: of three planes and of the lines along x, y, z; then the ranks of density
/// and appearance.
fn layout(spec: &FactorSpec, client: &cubecl::client::Client) -> Buffer {
    let planes = if spec.form == Form::Planes { [0, 1, 2].map(|m| spec.plane_row(m)) } else { [0; 3] };
    let lines = [0, 1, 2].map(|a| spec.line_row(a));
    let rows = planes.into_iter().chain(lines).chain([spec.sigma_rank, spec.app_rank]).map(|row| row as u32);
    Buffer::new(client, &spec.resolution.into_iter().chain(rows).collect::<Vec<_>>())
}

impl GpuKernel for Factors {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (x, table, basis) = (&inputs[0], &inputs[1], &inputs[2]);
        let n = dims(x)[0];
        let out = empty(x, [n, self.spec.out_dim()]);
        if n > 0 {
            kernels::sample::launch(
                &x.client,
                groups(n),
                group(),
                arg(x),
                arg(table),
                arg(basis),
                layout(&self.spec, &x.client).arg(),
                arg(&out),
                n as u32,
                self.spec.offset,
                self.spec.outside,
                self.spec.latent,
                self.spec.form == Form::Planes,
            );
        }
        (out, None)
    }

    fn backward(
        &self,
        inputs: &[CubeTensor],
        _memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>> {
        let (x, table, basis) = (&inputs[0], &inputs[1], &inputs[2]);
        let (n, spec) = (dims(x)[0], &self.spec);
        let to_x = wanted[0].then(|| {
            let out = empty(x, [n, 3]);
            if n > 0 {
                kernels::to_points::launch(
                    &x.client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(table),
                    arg(basis),
                    layout(spec, &x.client).arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    spec.latent,
                    spec.form == Form::Planes,
                );
            }
            out
        });
        if !wanted[1] && !wanted[2] {
            return vec![to_x, None, None];
        }
        require_float_atomics(&x.client);
        let (to_table, to_basis) = (zeros(x, dims(table)), zeros(x, dims(basis)));
        if n > 0 {
            let units = n.div_ceil(SEGMENT) * spec.modes() * spec.columns();
            kernels::to_table::launch(
                &x.client,
                groups(units),
                group(),
                arg(x),
                arg(table),
                arg(basis),
                layout(spec, &x.client).arg(),
                arg(&grad),
                arg(&to_table),
                arg(&to_basis),
                n as u32,
                SEGMENT as u32,
                spec.latent,
                spec.form == Form::Planes,
            );
        }
        vec![to_x, wanted[1].then_some(to_table), wanted[2].then_some(to_basis)]
    }
}

#[allow(clippy::manual_range_contains, reason = "devices have no ranges")]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "local arrays of a kernel are no values")]
#[allow(unused_assignments, reason = "what a branch that is chosen at compile time overwrites")]
mod kernels {
    use cubecl::prelude::*;

    /// Fills in where a point lies; false outside the cube and for a NaN.
    #[cube]
    fn place(x: &[f32], point: usize, layout: &[u32], cell: &mut Array<u32>, part: &mut Array<f32>) -> bool {
        let mut inside = true;
        #[unroll]
        for a in 0..3usize {
            let value = x[point * 3 + a];
            let mut held = 0.0f32;
            if value >= -0.00001f32 && value <= 1.00001f32 {
                held = max(min(value, 1.0f32), 0.0f32);
            } else {
                inside = false;
            }
            let position = held * f32::cast_from(layout[a] - 1);
            let whole = min(u32::cast_from(position.floor()), layout[a] - 2);
            cell[a] = whole;
            part[a] = position - f32::cast_from(whole);
        }
        inside
    }

    /// The three axes of a mode: of its plane, then of its line.
    #[cube]
    fn axes(mode: u32) -> (usize, usize, usize) {
        let mut a = 0u32;
        let mut b = 1u32;
        if mode == 2 {
            a = 1;
        }
        if mode != 0 {
            b = 2;
        }
        (a as usize, b as usize, (2 - mode) as usize)
    }

    /// The value in the table of a column of a row.
    #[cube]
    fn line(table: &[f32], row: u32, part: f32, columns: u32, column: u32) -> f32 {
        let at = (row * columns + column) as usize;
        (1.0 - part) * table[at] + part * table[at + columns as usize]
    }

    #[cube]
    fn plane(table: &[f32], row: u32, side: u32, fa: f32, fb: f32, columns: u32, column: u32) -> f32 {
        (1.0 - fb) * line(table, row, fa, columns, column) + fb * line(table, row + side, fa, columns, column)
    }

    /// The factors of a mode, the third one 1 where there are two.
    #[cube]
    fn factors(
        table: &[f32],
        layout: &[u32],
        cell: &Array<u32>,
        part: &Array<f32>,
        mode: u32,
        column: u32,
        #[comptime] planes: bool,
    ) -> (f32, f32, f32) {
        let columns = layout[9] + layout[10];
        let mut first = 0.0f32;
        let mut second = 0.0f32;
        let mut third = 1.0f32;
        if comptime!(planes) {
            let (a, b, c) = axes(mode);
            let row = layout[3 + mode as usize] + cell[b] * layout[a] + cell[a];
            first = plane(table, row, layout[a], part[a], part[b], columns, column);
            second = line(table, layout[6 + c] + cell[c], part[c], columns, column);
        } else {
            first = line(table, layout[6] + cell[0], part[0], columns, column);
            second = line(table, layout[7] + cell[1], part[1], columns, column);
            third = line(table, layout[8] + cell[2], part[2], columns, column);
        }
        (first, second, third)
    }

    #[cube(launch)]
    pub fn sample(
        x: &[f32],
        table: &[f32],
        basis: &[f32],
        layout: &[u32],
        out: &mut [f32],
        n: u32,
        offset: f32,
        outside: f32,
        #[comptime] latent: usize,
        #[comptime] planes: bool,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let point = ABSOLUTE_POS;
        let mut cell = Array::<u32>::new(3usize);
        let mut part = Array::<f32>::new(3usize);
        let inside = place(x, point, layout, &mut cell, &mut part);
        let width = comptime!(latent + 1);
        if !inside {
            out[point * width] = outside;
            for k in 1..width {
                out[point * width + k] = 0.0;
            }
            terminate!();
        }
        let sigma_rank = layout[9];
        let app_rank = layout[10];
        let mut modes = 1u32;
        if comptime!(planes) {
            modes = 3;
        }
        let mut feature = offset;
        let mut sum = Array::<f32>::new(latent);
        for k in 0..latent {
            sum[k] = 0.0;
        }
        for mode in 0..modes {
            for column in 0..sigma_rank {
                let (a, b, c) = factors(table, layout, &cell, &part, mode, column, planes);
                feature += a * b * c;
            }
            for rank in 0..app_rank {
                let (a, b, c) = factors(table, layout, &cell, &part, mode, sigma_rank + rank, planes);
                let product = a * b * c;
                let at = (mode * app_rank + rank) as usize;
                for k in 0..latent {
                    sum[k] += product * basis[k * (modes * app_rank) as usize + at];
                }
            }
        }
        out[point * width] = feature;
        for k in 0..latent {
            out[point * width + 1 + k] = sum[k];
        }
    }

    /// What a product gains, and for the appearance the place of its first value in the basis.
    #[cube]
    fn share(
        basis: &[f32],
        layout: &[u32],
        grad: &[f32],
        point: usize,
        mode: u32,
        column: u32,
        modes: u32,
        #[comptime] latent: usize,
    ) -> f32 {
        let width = comptime!(latent + 1);
        let mut gain = 0.0f32;
        if column < layout[9] {
            gain = grad[point * width];
        } else {
            let at = (mode * layout[10] + column - layout[9]) as usize;
            for k in 0..latent {
                gain += grad[point * width + 1 + k] * basis[k * (modes * layout[10]) as usize + at];
            }
        }
        gain
    }

    #[cube]
    fn add(out: &[Atomic<f32>], row: u32, part: f32, columns: u32, column: u32, value: f32) {
        let at = (row * columns + column) as usize;
        out[at].fetch_add((1.0 - part) * value);
        out[at + columns as usize].fetch_add(part * value);
    }

    #[cube(launch)]
    pub fn to_table(
        x: &[f32],
        table: &[f32],
        basis: &[f32],
        layout: &[u32],
        grad: &[f32],
        to_table: &[Atomic<f32>],
        to_basis: &[Atomic<f32>],
        n: u32,
        segment: u32,
        #[comptime] latent: usize,
        #[comptime] planes: bool,
    ) {
        let columns = layout[9] + layout[10];
        let mut modes = 1u32;
        if comptime!(planes) {
            modes = 3;
        }
        let width = comptime!(latent + 1);
        let across = modes * columns;
        let unit = ABSOLUTE_POS as u32;
        let first = unit / across * segment;
        if first >= n {
            terminate!();
        }
        let mode = (unit % across) / columns;
        let column = (unit % across) % columns;
        let mut cell = Array::<u32>::new(3usize);
        let mut part = Array::<f32>::new(3usize);
        let mut sum = Array::<f32>::new(latent);
        for k in 0..latent {
            sum[k] = 0.0;
        }
        let end = min(first + segment, n);
        for p in first..end {
            let point = p as usize;
            let inside = place(x, point, layout, &mut cell, &mut part);
            let mut any = false;
            for k in 0..width {
                any = any || grad[point * width + k] != 0.0;
            }
            if inside && any {
                let (a, b, c) = factors(table, layout, &cell, &part, mode, column, planes);
                let gain = share(basis, layout, grad, point, mode, column, modes, latent);
                if column >= layout[9] {
                    for k in 0..latent {
                        sum[k] += grad[point * width + 1 + k] * (a * b * c);
                    }
                }
                if comptime!(planes) {
                    let (i, j, l) = axes(mode);
                    let row = layout[3 + mode as usize] + cell[j] * layout[i] + cell[i];
                    let side = layout[i];
                    add(to_table, row, part[i], columns, column, (1.0 - part[j]) * gain * b);
                    add(to_table, row + side, part[i], columns, column, part[j] * gain * b);
                    add(to_table, layout[6 + l] + cell[l], part[l], columns, column, gain * a);
                } else {
                    add(to_table, layout[6] + cell[0], part[0], columns, column, gain * b * c);
                    add(to_table, layout[7] + cell[1], part[1], columns, column, gain * a * c);
                    add(to_table, layout[8] + cell[2], part[2], columns, column, gain * a * b);
                }
            }
        }
        if column >= layout[9] {
            let at = (mode * layout[10] + column - layout[9]) as usize;
            for k in 0..latent {
                to_basis[k * (modes * layout[10]) as usize + at].fetch_add(sum[k]);
            }
        }
    }

    /// The difference along a line.
    #[cube]
    fn rise(table: &[f32], row: u32, columns: u32, column: u32) -> f32 {
        let at = (row * columns + column) as usize;
        table[at + columns as usize] - table[at]
    }

    #[cube(launch)]
    pub fn to_points(
        x: &[f32],
        table: &[f32],
        basis: &[f32],
        layout: &[u32],
        grad: &[f32],
        out: &mut [f32],
        n: u32,
        #[comptime] latent: usize,
        #[comptime] planes: bool,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let point = ABSOLUTE_POS;
        let mut cell = Array::<u32>::new(3usize);
        let mut part = Array::<f32>::new(3usize);
        let inside = place(x, point, layout, &mut cell, &mut part);
        let mut slope = Array::<f32>::new(3usize);
        #[unroll]
        for a in 0..3usize {
            slope[a] = 0.0;
        }
        let columns = layout[9] + layout[10];
        let mut modes = 1u32;
        if comptime!(planes) {
            modes = 3;
        }
        if inside {
            for mode in 0..modes {
                for column in 0..columns {
                    let (a, b, c) = factors(table, layout, &cell, &part, mode, column, planes);
                    let gain = share(basis, layout, grad, point, mode, column, modes, latent);
                    if comptime!(planes) {
                        let (i, j, l) = axes(mode);
                        let row = layout[3 + mode as usize] + cell[j] * layout[i] + cell[i];
                        let side = layout[i];
                        let low = rise(table, row, columns, column);
                        let high = rise(table, row + side, columns, column);
                        let along = (1.0 - part[j]) * low + part[j] * high;
                        let up = line(table, row + side, part[i], columns, column)
                            - line(table, row, part[i], columns, column);
                        slope[i] += gain * b * along;
                        slope[j] += gain * b * up;
                        slope[l] += gain * a * rise(table, layout[6 + l] + cell[l], columns, column);
                    } else {
                        slope[0] += gain * b * c * rise(table, layout[6] + cell[0], columns, column);
                        slope[1] += gain * a * c * rise(table, layout[7] + cell[1], columns, column);
                        slope[2] += gain * a * b * rise(table, layout[8] + cell[2], columns, column);
                    }
                }
            }
        }
        #[unroll]
        for a in 0..3usize {
            out[point * 3 + a] = slope[a] * f32::cast_from(layout[a] - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gpu::testing::{compare, uniform};

    fn check(form: Form, n: usize) {
        let spec = FactorSpec {
            form,
            resolution: [7, 5, 9],
            sigma_rank: 3,
            app_rank: 5,
            latent: 6,
            offset: 0.3,
            outside: -2.0,
        };
        let mut x = uniform(1, "points", n * 3, -0.02, 1.02);
        x[..6].copy_from_slice(&[0.0, 1.0, 0.5, -1.0, 2.0, 0.25]);
        let table = uniform(2, "table", spec.rows() * spec.columns(), -1.0, 1.0);
        let basis = uniform(3, "basis", spec.latent * spec.products(), -1.0, 1.0);
        let shapes = [[n, 3], [spec.rows(), spec.columns()], [spec.latent, spec.products()]];
        let kernel = Factors { spec };
        compare(&kernel, &[(&x, shapes[0]), (&table, shapes[1]), (&basis, shapes[2])], 3e-5);
    }

    #[test]
    fn equals_the_cpu() {
        check(Form::Planes, 1000);
        check(Form::Lines, 1000);
    }

    #[test]
    fn equals_the_cpu_beyond_65_535_groups() {
        check(Form::Lines, 65_536 * 8 * 64 / 8 / 16 + 77);
    }
}
