//! What the tests of operations share: numbers by chance, and how far two answers are apart.

use crate::rng::Rng;

/// Normally distributed numbers of this name.
pub fn normals(n: usize, name: &str) -> Vec<f32> {
    let mut rng = Rng::new(5, name);
    (0..n).map(|_| rng.normal()).collect()
}

/// The largest difference as a share of the largest expected value.
pub fn error(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1e-6_f32, |m, e| m.max(e.abs()));
    actual.iter().zip(expected).fold(0.0_f32, |m, (a, e)| m.max((a - e).abs())) / scale
}
