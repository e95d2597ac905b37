//! The fast path against the reference and against finite differences.

use super::{CHANNELS, forward, forward_backward, reference};
use crate::rng::Rng;

/// A smooth picture and a disturbed copy of it, `[h, w, 3]` in `[0, 1]`.
pub(super) fn pair(width: usize, height: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(3, "ssim pictures");
    let mut pictures = (Vec::new(), Vec::new());
    for i in 0..width * height * CHANNELS {
        let (c, x, y) = (i % CHANNELS, i / CHANNELS % width, i / CHANNELS / width);
        let smooth = 0.5 + 0.4 * (0.3 * x as f32 + c as f32).sin() * (0.2 * y as f32).cos();
        pictures.0.push((smooth + 0.1 * rng.normal()).clamp(0.0, 1.0));
        pictures.1.push(smooth);
    }
    pictures
}

/// The largest difference, as a share of the largest entry of `expected`.
pub(super) fn error(actual: &[f32], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
    actual.iter().zip(expected).fold(0.0_f64, |m, (&a, e)| m.max((f64::from(a) - e).abs())) / scale
}

/// Rows shorter than a block of lanes, shorter than the window, not a multiple of it, and more than one block.
const SIZES: [(usize, usize); 6] = [(1, 1), (4, 3), (5, 9), (11, 11), (23, 17), (40, 7)];

#[test]
fn agrees_with_the_reference() {
    for (width, height) in SIZES {
        let (a, b) = pair(width, height);
        let (mean, gradient) = reference::forward_backward(&a, &b, width, height);
        let mut grad_a = vec![f32::NAN; a.len()];
        let fast = forward_backward(&a, &b, width, height, &mut grad_a);
        assert_eq!(fast.to_bits(), forward(&a, &b, width, height).to_bits());
        // f32 moments of values up to 1 against C2 = 9e-4: 6e-8 / 9e-4 per rounding, a few dozen of them.
        assert!((f64::from(fast) - mean).abs() < 1e-5, "{width} x {height}: {fast}, not {mean}");
        assert!(error(&grad_a, &gradient) < 1e-4, "{width} x {height}: gradient off by {}", error(&grad_a, &gradient));
    }
}

#[test]
fn a_perturbed_gradient_fails_the_comparison() {
    let (a, b) = pair(23, 17);
    let (_, gradient) = reference::forward_backward(&a, &b, 23, 17);
    let mut grad_a = vec![0.0; a.len()];
    // One pixel of the other picture is off by a hundredth.
    let mut perturbed = b.clone();
    perturbed[200] += 0.01;
    forward_backward(&a, &perturbed, 23, 17, &mut grad_a);
    assert!(error(&grad_a, &gradient) > 1e-3, "the comparison would not notice");
    // The roles exchanged: the mean is the same, the gradient is another.
    forward_backward(&b, &a, 23, 17, &mut grad_a);
    assert!(error(&grad_a, &gradient) > 1e-1, "the comparison would not notice");
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let (width, height) = (13, 12);
    let (a, b) = pair(width, height);
    let (_, gradient) = reference::forward_backward(&a, &b, width, height);
    // SSIM is smooth everywhere; the step is a power of two so that f32 holds a ± h exactly enough.
    let step = 1.0 / 1024.0;
    let scale = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
    for i in (0..a.len()).step_by(17) {
        let at = |offset: f32| {
            let mut moved = a.clone();
            moved[i] += offset;
            (f64::from(moved[i]), reference::forward(&moved, &b, width, height))
        };
        let ((x1, s1), (x0, s0)) = (at(step), at(-step));
        let numeric = (s1 - s0) / (x1 - x0);
        // The error of a central difference is h² times the third derivative, which 1 / C2 makes large.
        assert!((numeric - gradient[i]).abs() < 1e-3 * scale, "at {i}: {numeric}, not {}", gradient[i]);
    }
}

#[test]
fn equal_pictures_are_perfect_and_flat() {
    let (a, _) = pair(30, 20);
    let mut grad_a = vec![0.0; a.len()];
    let mean = forward_backward(&a, &a, 30, 20, &mut grad_a);
    assert!((mean - 1.0).abs() < 1e-6, "{mean}");
    let largest = grad_a.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
    // Against another picture the gradient is about 1e-3; here it is what rounding leaves.
    assert!(largest < 1e-6, "{largest}");
}
