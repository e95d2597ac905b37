//! The hash encoding on wgpu.
//!
//! Forward: one thread per point and level, points fastest, so that neighbours share a level's part of the table.
//! Backward to the table: the same threads, with float atomics (an adapter without them, such as OpenGL's, is
//! refused); threads whose gradient is zero do nothing. Backward to the points: one thread per point over all levels,
//! without atomics. Sums of atomics have no fixed order, so gradients repeat to rounding only.

use super::face::HashEncode;
use super::spec::HashSpec;
use crate::ops::gpu::{Buffer, arg, dims, empty, group, groups, require_float_atomics, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

/// `scale [levels]` and `[levels, 4]`: resolution, first entry, entries, and whether the level is hashed.
fn layout(spec: &HashSpec, client: &cubecl::client::Client) -> (Buffer, Buffer) {
    let scale: Vec<f32> = spec.levels().iter().map(|l| l.scale).collect();
    let rows = spec.levels().iter().flat_map(|l| [l.resolution, l.offset as u32, l.size as u32, u32::from(l.hashed)]);
    (Buffer::new(client, &scale), Buffer::new(client, &rows.collect::<Vec<_>>()))
}

impl GpuKernel for HashEncode {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (x, table) = (&inputs[0], &inputs[1]);
        let (n, levels) = (dims(x)[0], self.spec.levels().len());
        let out = empty(x, [n, self.spec.out_dim()]);
        if n > 0 {
            let (scale, rows) = layout(&self.spec, &x.client);
            kernels::encode::launch(
                &x.client,
                groups(n * levels),
                group(),
                arg(x),
                arg(table),
                scale.arg(),
                rows.arg(),
                arg(&out),
                n as u32,
                levels as u32,
                self.spec.features(),
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
        let (x, table) = (&inputs[0], &inputs[1]);
        let (n, levels, features) = (dims(x)[0], self.spec.levels().len(), self.spec.features());
        let (scale, rows) = layout(&self.spec, &x.client);
        let to_x = wanted[0].then(|| {
            let out = empty(x, [n, 3]);
            if n > 0 {
                kernels::to_points::launch(
                    &x.client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(table),
                    scale.arg(),
                    rows.arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    levels as u32,
                    features,
                );
            }
            out
        });
        let to_table = wanted[1].then(|| {
            require_float_atomics(&x.client);
            let out = zeros(x, dims(table));
            if n > 0 {
                kernels::to_table::launch(
                    &x.client,
                    groups(n * levels),
                    group(),
                    arg(x),
                    scale.arg(),
                    rows.arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    levels as u32,
                    features,
                );
            }
            out
        });
        vec![to_x, to_table]
    }
}

#[allow(clippy::manual_range_contains, reason = "devices have no ranges")]
mod kernels {
    use cubecl::prelude::*;

    /// A coordinate in `[0, 1]`; a NaN becomes 0.
    #[cube]
    fn unit(x: f32) -> f32 {
        let mut inside = 0.0f32;
        if x > 0.0 {
            inside = min(x, 1.0);
        }
        inside
    }

    /// The entry of a grid point, counted in the whole table.
    #[cube]
    fn entry(rows: &[u32], level: usize, x: u32, y: u32, z: u32) -> usize {
        let resolution = rows[level * 4];
        let mut index = x + y * resolution + z * resolution * resolution;
        if rows[level * 4 + 3] != 0 {
            index = x ^ (y * 2654435761u32) ^ (z * 805459861u32);
        }
        (rows[level * 4 + 1] + index % rows[level * 4 + 2]) as usize
    }

    #[cube(launch)]
    pub fn encode(
        x: &[f32],
        table: &[f32],
        scale: &[f32],
        rows: &[u32],
        out: &mut [f32],
        n: u32,
        levels: u32,
        #[comptime] features: usize,
    ) {
        let n = n as usize;
        let levels = levels as usize;
        if ABSOLUTE_POS >= n * levels {
            terminate!();
        }
        let level = ABSOLUTE_POS / n;
        let point = ABSOLUTE_POS - level * n;
        let px = unit(x[point * 3]) * scale[level] + 0.5;
        let py = unit(x[point * 3 + 1]) * scale[level] + 0.5;
        let pz = unit(x[point * 3 + 2]) * scale[level] + 0.5;
        let cx = u32::cast_from(px.floor());
        let cy = u32::cast_from(py.floor());
        let cz = u32::cast_from(pz.floor());
        let fx = px - px.floor();
        let fy = py - py.floor();
        let fz = pz - pz.floor();
        let mut sum = Array::<f32>::new(features);
        #[unroll]
        for k in 0..features {
            sum[k] = 0.0;
        }
        #[unroll]
        for c in 0..8usize {
            let ux = comptime!((c & 1) as u32);
            let uy = comptime!((c >> 1 & 1) as u32);
            let uz = comptime!((c >> 2 & 1) as u32);
            let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
            let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
            let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
            let at = entry(rows, level, cx + ux, cy + uy, cz + uz) * features;
            let weight = wx * wy * wz;
            #[unroll]
            for k in 0..features {
                sum[k] += weight * table[at + k];
            }
        }
        #[unroll]
        for k in 0..features {
            out[(point * levels + level) * features + k] = sum[k];
        }
    }

    #[cube(launch)]
    pub fn to_table(
        x: &[f32],
        scale: &[f32],
        rows: &[u32],
        grad: &[f32],
        out: &[Atomic<f32>],
        n: u32,
        levels: u32,
        #[comptime] features: usize,
    ) {
        let n = n as usize;
        let levels = levels as usize;
        if ABSOLUTE_POS >= n * levels {
            terminate!();
        }
        let level = ABSOLUTE_POS / n;
        let point = ABSOLUTE_POS - level * n;
        let mut g = Array::<f32>::new(features);
        let mut any = false;
        #[unroll]
        for k in 0..features {
            g[k] = grad[(point * levels + level) * features + k];
            any = any || g[k] != 0.0;
        }
        if !any {
            terminate!();
        }
        let px = unit(x[point * 3]) * scale[level] + 0.5;
        let py = unit(x[point * 3 + 1]) * scale[level] + 0.5;
        let pz = unit(x[point * 3 + 2]) * scale[level] + 0.5;
        let cx = u32::cast_from(px.floor());
        let cy = u32::cast_from(py.floor());
        let cz = u32::cast_from(pz.floor());
        let fx = px - px.floor();
        let fy = py - py.floor();
        let fz = pz - pz.floor();
        #[unroll]
        for c in 0..8usize {
            let ux = comptime!((c & 1) as u32);
            let uy = comptime!((c >> 1 & 1) as u32);
            let uz = comptime!((c >> 2 & 1) as u32);
            let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
            let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
            let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
            let at = entry(rows, level, cx + ux, cy + uy, cz + uz) * features;
            let weight = wx * wy * wz;
            #[unroll]
            for k in 0..features {
                out[at + k].fetch_add(weight * g[k]);
            }
        }
    }

    /// `scale` inside the unit interval; outside it the coordinate was clamped and has no gradient.
    #[cube]
    fn slope(x: f32, scale: f32) -> f32 {
        let mut slope = 0.0f32;
        if x >= 0.0 && x <= 1.0 {
            slope = scale;
        }
        slope
    }

    #[cube(launch)]
    pub fn to_points(
        x: &[f32],
        table: &[f32],
        scale: &[f32],
        rows: &[u32],
        grad: &[f32],
        out: &mut [f32],
        n: u32,
        levels: u32,
        #[comptime] features: usize,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let point = ABSOLUTE_POS;
        let x0 = x[point * 3];
        let x1 = x[point * 3 + 1];
        let x2 = x[point * 3 + 2];
        let mut gx = 0.0f32;
        let mut gy = 0.0f32;
        let mut gz = 0.0f32;
        for level in 0..levels as usize {
            let px = unit(x0) * scale[level] + 0.5;
            let py = unit(x1) * scale[level] + 0.5;
            let pz = unit(x2) * scale[level] + 0.5;
            let cx = u32::cast_from(px.floor());
            let cy = u32::cast_from(py.floor());
            let cz = u32::cast_from(pz.floor());
            let fx = px - px.floor();
            let fy = py - py.floor();
            let fz = pz - pz.floor();
            let mut dx = 0.0f32;
            let mut dy = 0.0f32;
            let mut dz = 0.0f32;
            #[unroll]
            for c in 0..8usize {
                let ux = comptime!((c & 1) as u32);
                let uy = comptime!((c >> 1 & 1) as u32);
                let uz = comptime!((c >> 2 & 1) as u32);
                let wx = if comptime!(ux == 1) { fx } else { 1.0 - fx };
                let wy = if comptime!(uy == 1) { fy } else { 1.0 - fy };
                let wz = if comptime!(uz == 1) { fz } else { 1.0 - fz };
                let at = entry(rows, level, cx + ux, cy + uy, cz + uz) * features;
                let mut along = 0.0f32;
                #[unroll]
                for k in 0..features {
                    along += table[at + k] * grad[(point * levels as usize + level) * features + k];
                }
                dx += if comptime!(ux == 1) { wy * wz * along } else { -(wy * wz * along) };
                dy += if comptime!(uy == 1) { wx * wz * along } else { -(wx * wz * along) };
                dz += if comptime!(uz == 1) { wx * wy * along } else { -(wx * wy * along) };
            }
            gx += dx * slope(x0, scale[level]);
            gy += dy * slope(x1, scale[level]);
            gz += dz * slope(x2, scale[level]);
        }
        out[point * 3] = gx;
        out[point * 3 + 1] = gy;
        out[point * 3 + 2] = gz;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gpu::testing::{compare, uniform};

    fn check(spec: HashSpec, n: usize) {
        let mut x = uniform(1, "points", n * 3, -0.05, 1.05);
        x[..6].copy_from_slice(&[0.0, 1.0, 0.5, -1.0, 2.0, 0.25]);
        let table = uniform(2, "table", spec.param_count(), -1.0, 1.0);
        let shape = [spec.entries(), spec.features()];
        compare(&HashEncode { spec }, &[(&x, [n, 3]), (&table, shape)], 2e-5);
    }

    #[test]
    fn equals_the_cpu_dense_and_hashed() {
        check(HashSpec::new(4, 2, 10, 4, 64).expect("valid"), 1000);
    }

    #[test]
    fn equals_the_cpu_beyond_65_535_groups() {
        check(HashSpec::new(16, 2, 12, 4, 64).expect("valid"), 16 * 65_536 / 4 + 77);
    }
}
