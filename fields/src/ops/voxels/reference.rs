//! Trilinear interpolation on a sparse grid as plain loops, one point at a time: what the fast kernel is compared with.

use super::links::Links;

/// The eight corners around a point of the unit cube: row if kept, and for each axis the weight and its slope.
type Corner = (Option<u32>, [f32; 3], [f32; 3]);

fn corners(links: &Links, x: &[f32]) -> [Corner; 8] {
    let r = links.resolution() as usize;
    let mut cell = [0; 3];
    let (mut fraction, mut slope) = ([0.0; 3], [0.0; 3]);
    for a in 0..3 {
        let wanted = x[a] * r as f32 - 0.5;
        let inside = wanted >= 0.0 && wanted <= (r - 1) as f32;
        let position = if wanted > 0.0 { wanted.min((r - 1) as f32) } else { 0.0 };
        cell[a] = (position as usize).min(r - 2);
        fraction[a] = position - cell[a] as f32;
        slope[a] = if inside { r as f32 } else { 0.0 };
    }
    std::array::from_fn(|c| {
        let up: [usize; 3] = std::array::from_fn(|a| c >> a & 1);
        let vertex = cell[0] + up[0] + r * (cell[1] + up[1] + r * (cell[2] + up[2]));
        let weight = std::array::from_fn(|a| if up[a] == 1 { fraction[a] } else { 1.0 - fraction[a] });
        let derivative = std::array::from_fn(|a| if up[a] == 1 { slope[a] } else { -slope[a] });
        (links.row(vertex), weight, derivative)
    })
}

/// See [`super::cpu::forward`].
pub fn forward(links: &Links, channels: usize, fill: f32, x: &[f32], values: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(3).zip(out.chunks_exact_mut(channels)) {
        out.fill(0.0);
        for (row, weight, _) in corners(links, x) {
            let weight = weight[0] * weight[1] * weight[2];
            for (k, out) in out.iter_mut().enumerate() {
                *out += weight * row.map_or(fill, |row| values[row as usize * channels + k]);
            }
        }
    }
}

/// See [`super::cpu::backward_values`] and [`super::cpu::backward_points`].
pub fn backward(
    links: &Links,
    channels: usize,
    fill: f32,
    x: &[f32],
    values: &[f32],
    grad: &[f32],
    grad_values: &mut [f32],
    grad_x: &mut [f32],
) {
    grad_x.fill(0.0);
    for ((x, grad), grad_x) in x.chunks_exact(3).zip(grad.chunks_exact(channels)).zip(grad_x.chunks_exact_mut(3)) {
        for (row, weight, slope) in corners(links, x) {
            let mut along = 0.0;
            for k in 0..channels {
                along += grad[k] * row.map_or(fill, |row| values[row as usize * channels + k]);
                if let Some(row) = row {
                    grad_values[row as usize * channels + k] += weight[0] * weight[1] * weight[2] * grad[k];
                }
            }
            grad_x[0] += slope[0] * weight[1] * weight[2] * along;
            grad_x[1] += weight[0] * slope[1] * weight[2] * along;
            grad_x[2] += weight[0] * weight[1] * slope[2] * along;
        }
    }
}
