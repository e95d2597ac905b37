//! The hash encoding as plain loops, one point at a time: what the fast kernel is compared with.

use super::spec::{HashSpec, Level};

/// The entry, counted within the level, of a grid point.
pub(super) fn entry(level: &Level, x: u32, y: u32, z: u32) -> usize {
    let index = if level.hashed {
        u64::from(x ^ y.wrapping_mul(2_654_435_761) ^ z.wrapping_mul(805_459_861))
    } else {
        let res = u64::from(level.resolution);
        u64::from(x) + u64::from(y) * res + u64::from(z) * res * res
    };
    // A dense level wraps too: a point on the far faces of the cube touches grid points beyond the last.
    (index % level.size as u64) as usize
}

/// The eight corners around a point: entry, and for each axis the weight and its derivative by the coordinate.
fn corners(level: &Level, x: &[f32]) -> [(usize, [f32; 3], [f32; 3]); 8] {
    let mut cell = [0; 3];
    let mut fraction = [0.0; 3];
    let mut slope = [0.0; 3];
    for a in 0..3 {
        let position = if x[a] > 0.0 { x[a].min(1.0) } else { 0.0 } * level.scale + 0.5;
        cell[a] = position.floor() as u32;
        fraction[a] = position - position.floor();
        slope[a] = if (0.0..=1.0).contains(&x[a]) { level.scale } else { 0.0 };
    }
    std::array::from_fn(|c| {
        let up: [bool; 3] = std::array::from_fn(|a| c >> a & 1 == 1);
        let index = entry(level, cell[0] + u32::from(up[0]), cell[1] + u32::from(up[1]), cell[2] + u32::from(up[2]));
        let weight = std::array::from_fn(|a| if up[a] { fraction[a] } else { 1.0 - fraction[a] });
        let derivative = std::array::from_fn(|a| if up[a] { slope[a] } else { -slope[a] });
        (index, weight, derivative)
    })
}

/// See [`super::cpu::forward`].
pub fn forward(spec: &HashSpec, x: &[f32], table: &[f32], out: &mut [f32]) {
    let f = spec.features();
    for (x, out) in x.chunks_exact(3).zip(out.chunks_exact_mut(spec.out_dim())) {
        for (level, out) in spec.levels().iter().zip(out.chunks_exact_mut(f)) {
            out.fill(0.0);
            for (entry, weight, _) in corners(level, x) {
                let weight = weight[0] * weight[1] * weight[2];
                for (k, out) in out.iter_mut().enumerate() {
                    *out += weight * table[(level.offset + entry) * f + k];
                }
            }
        }
    }
}

/// See [`super::cpu::backward`].
pub fn backward(
    spec: &HashSpec,
    x: &[f32],
    table: &[f32],
    grad_out: &[f32],
    grad_table: &mut [f32],
    grad_x: Option<&mut [f32]>,
) {
    let f = spec.features();
    let mut unwanted = vec![0.0; x.len()];
    let grad_x = grad_x.unwrap_or(&mut unwanted);
    grad_x.fill(0.0);
    let points = x.chunks_exact(3).zip(grad_out.chunks_exact(spec.out_dim())).zip(grad_x.chunks_exact_mut(3));
    for ((x, grad_out), grad_x) in points {
        for (level, grad_out) in spec.levels().iter().zip(grad_out.chunks_exact(f)) {
            for (entry, weight, derivative) in corners(level, x) {
                let at = (level.offset + entry) * f;
                let mut along = 0.0;
                for k in 0..f {
                    grad_table[at + k] += weight[0] * weight[1] * weight[2] * grad_out[k];
                    along += table[at + k] * grad_out[k];
                }
                grad_x[0] += derivative[0] * weight[1] * weight[2] * along;
                grad_x[1] += weight[0] * derivative[1] * weight[2] * along;
                grad_x[2] += weight[0] * weight[1] * derivative[2] * along;
            }
        }
    }
}
