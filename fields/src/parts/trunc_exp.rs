//! Density from its logarithm: `sigma = exp(clamp(log_sigma, low, high))`, with a gradient that cannot explode.
//!
//! The gradient is that of instant-ngp's truncated exponential (Müller et al. 2022): the derivative is taken at the
//! argument clamped to ±12. Outside `[low, high]` it is zero, except where following it would lead back inside, so that
//! a value which left the range is not stuck there.

use super::fast_math::{exp, vectorised};
use rayon::prelude::*;

/// The derivative is evaluated at an argument of at most this size.
pub const GRADIENT_LIMIT: f32 = 12.0;
/// The range that progressive volume distillation's code holds `log_sigma` in (per scene unit); a field here says its own.
pub const LOG_SIGMA_RANGE: (f32, f32) = (-2.0, 7.0);

const CHUNK: usize = 8192;

/// `sigma [n] = exp(clamp(log_sigma [n], low, high))`, per scene unit. A NaN stays a NaN.
pub fn forward(log_sigma: &[f32], (low, high): (f32, f32), sigma: &mut [f32]) {
    assert_eq!(log_sigma.len(), sigma.len(), "sigma has one value per log_sigma");
    sigma.par_chunks_mut(CHUNK).zip(log_sigma.par_chunks(CHUNK)).for_each(|(sigma, log_sigma)| {
        vectorised(
            #[inline(always)]
            || {
                for (sigma, &x) in sigma.iter_mut().zip(log_sigma) {
                    *sigma = exp(hold(x, low, high));
                }
            },
        );
    });
}

/// The gradient to `log_sigma [n]` from the gradient to `sigma [n]`, for a step against the gradient.
pub fn backward(log_sigma: &[f32], grad_sigma: &[f32], (low, high): (f32, f32), grad: &mut [f32]) {
    assert_eq!(log_sigma.len(), grad_sigma.len(), "grad_sigma has one value per log_sigma");
    assert_eq!(log_sigma.len(), grad.len(), "grad has one value per log_sigma");
    let parts = log_sigma.par_chunks(CHUNK).zip(grad_sigma.par_chunks(CHUNK));
    grad.par_chunks_mut(CHUNK).zip(parts).for_each(|(grad, (log_sigma, grad_sigma))| {
        vectorised(
            #[inline(always)]
            || {
                for ((grad, &x), &g) in grad.iter_mut().zip(log_sigma).zip(grad_sigma) {
                    let slope = exp(hold(hold(x, low, high), -GRADIENT_LIMIT, GRADIENT_LIMIT));
                    // Descent moves by -g: from above the range it has to go down, from below it has to go up.
                    let stuck = (x > high && g <= 0.0) || (x < low && g >= 0.0);
                    *grad = if stuck { 0.0 } else { g * slope };
                }
            },
        );
    });
}

#[inline(always)]
fn hold(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (f32, f32) = LOG_SIGMA_RANGE;

    fn gradient(x: f32, g: f32, range: (f32, f32)) -> f32 {
        let mut out = [f32::NAN];
        backward(&[x], &[g], range, &mut out);
        out[0]
    }

    #[test]
    fn values_and_slopes_inside_the_range() {
        let x: Vec<f32> = (0..10_000).map(|i| -4.0 + i as f32 * 1.5e-3).collect();
        let mut sigma = vec![0.0; x.len()];
        forward(&x, RANGE, &mut sigma);
        for (&x, &sigma) in x.iter().zip(&sigma) {
            let truth = x.clamp(RANGE.0, RANGE.1).exp();
            assert!((sigma / truth - 1.0).abs() < 1e-6, "{x}: {sigma} against {truth}");
        }
        let (x, h) = (1.3_f32, 1e-3_f32);
        let numeric = (f64::from(x + h).exp() - f64::from(x - h).exp()) / f64::from((x + h) - (x - h));
        assert!((f64::from(gradient(x, 2.0, RANGE)) / (2.0 * numeric) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn outside_only_the_way_back_is_open() {
        assert!(gradient(8.0, 1.0, RANGE) > 0.0 && gradient(8.0, -1.0, RANGE) == 0.0);
        assert!(gradient(-3.0, -1.0, RANGE) < 0.0 && gradient(-3.0, 1.0, RANGE) == 0.0);
        assert_eq!(gradient(20.0, 1.0, (-100.0, 30.0)), exp(GRADIENT_LIMIT));
        assert!(gradient(f32::NAN, 1.0, RANGE).is_nan());
        forward(&[], RANGE, &mut []);
    }
}
