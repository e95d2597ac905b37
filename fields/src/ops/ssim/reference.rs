//! The plain reference: every window as a double loop, in f64, and the gradient as the sum of what each window says
//! about each of its pixels. Slow, and meant to be read.

use super::{C1, C2, CHANNELS, RADIUS, WINDOW, check, window};

/// Mean SSIM of two pictures `[height, width, 3]`.
///
/// # Panics
/// The slices are not `height · width · 3` long.
pub fn forward(a: &[f32], b: &[f32], width: usize, height: usize) -> f64 {
    run(a, b, width, height, &mut |_, _| ())
}

/// Mean SSIM of two pictures `[height, width, 3]`, and its gradient with respect to `a`, `[height, width, 3]`.
///
/// # Panics
/// The slices are not `height · width · 3` long.
pub fn forward_backward(a: &[f32], b: &[f32], width: usize, height: usize) -> (f64, Vec<f64>) {
    let mut gradient = vec![0.0; a.len()];
    let mean = run(a, b, width, height, &mut |pixel, g| gradient[pixel] += g);
    (mean, gradient)
}

/// Mean SSIM; tells `add` each window's share of the gradient for each value under it.
fn run(a: &[f32], b: &[f32], width: usize, height: usize, add: &mut dyn FnMut(usize, f64)) -> f64 {
    check(a, b, width, height);
    let mut sum = 0.0;
    for centre in 0..a.len() {
        sum += one_window(a, b, width, height, centre, add);
    }
    sum / a.len() as f64
}

/// SSIM of the window around the value with index `centre`.
fn one_window(
    a: &[f32],
    b: &[f32],
    width: usize,
    height: usize,
    centre: usize,
    add: &mut dyn FnMut(usize, f64),
) -> f64 {
    let under = pixels_under(width, height, centre);
    let [mut mean_a, mut mean_b, mut mean_aa, mut mean_bb, mut mean_ab] = [0.0; 5];
    for &(i, weight) in &under {
        let (x, y) = (f64::from(a[i]), f64::from(b[i]));
        mean_a += weight * x;
        mean_b += weight * y;
        mean_aa += weight * x * x;
        mean_bb += weight * y * y;
        mean_ab += weight * x * y;
    }
    let a1 = 2.0 * mean_a * mean_b + C1;
    let a2 = 2.0 * (mean_ab - mean_a * mean_b) + C2;
    let b1 = mean_a * mean_a + mean_b * mean_b + C1;
    let b2 = mean_aa - mean_a * mean_a + mean_bb - mean_b * mean_b + C2;
    let ssim = a1 * a2 / (b1 * b2);
    for &(i, weight) in &under {
        let (x, y) = (f64::from(a[i]), f64::from(b[i]));
        // How the four factors move with a[i]; then the quotient rule, term by term.
        let da1 = 2.0 * weight * mean_b;
        let da2 = 2.0 * weight * (y - mean_b);
        let db1 = 2.0 * weight * mean_a;
        let db2 = 2.0 * weight * (x - mean_a);
        let derivative = (da1 * a2 + a1 * da2) / (b1 * b2) - ssim * (db1 / b1 + db2 / b2);
        add(i, derivative / a.len() as f64);
    }
    ssim
}

/// The values under the window around `centre`, of its channel and inside the picture, each with its weight.
fn pixels_under(width: usize, height: usize, centre: usize) -> Vec<(usize, f64)> {
    let weights = window();
    let (channel, pixel) = (centre % CHANNELS, centre / CHANNELS);
    let (x, y) = (pixel % width, pixel / width);
    let mut under = Vec::with_capacity(WINDOW * WINDOW);
    for (j, wy) in weights.iter().enumerate() {
        for (i, wx) in weights.iter().enumerate() {
            let (Some(x), Some(y)) = ((x + i).checked_sub(RADIUS), (y + j).checked_sub(RADIUS)) else { continue };
            if x < width && y < height {
                under.push(((y * width + x) * CHANNELS + channel, wx * wy));
            }
        }
    }
    under
}
