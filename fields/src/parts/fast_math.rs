//! Branch-free `exp`, `expm1` and `sin`/`cos` in single precision, written so that a loop over them becomes SIMD.
//!
//! Each is a range reduction and a Taylor polynomial: `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)`, and
//! `sin(x) = ±{sin, cos}(r)` with `n = round(x / (π/2))`. Nothing here fuses a multiplication with an addition, so a
//! result is the same bits with and without FMA, on every instruction set that [`vectorised`] picks.

/// `1.5 · 2^23`: adding it rounds a float below `2^22` to the nearest integer, which then sits in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The bits of [`ROUND`] itself.
const ROUND_BITS: i32 = 0x4B40_0000;

/// `ln 2` in two parts; the first has 9 significant bits, so `n` times it is exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = (std::f64::consts::LN_2 - LN2_HIGH as f64) as f32;

/// `π/2` in three parts; the first two have 8 and 13 significant bits, so `n < 2048` times them is exact.
const HALF_PI_HIGH: f32 = 201.0 / 128.0;
const HALF_PI_MIDDLE: f32 = 8117.0 / 16_777_216.0;
const HALF_PI_LOW: f32 = (std::f64::consts::FRAC_PI_2 - HALF_PI_HIGH as f64 - HALF_PI_MIDDLE as f64) as f32;

/// Runs `work` compiled for the widest instruction set of this machine. The closure itself and what it calls have to be
/// `#[inline(always)]`: a function that stays apart is compiled for the oldest machine.
#[inline]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// `(2^n, exp(r) - 1)` with `x = n ln 2 + r`, `|r| ≤ ln 2 / 2`; `x` is held to `[-87, 88]`.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    // Comparisons and not `clamp`'s kin `min`/`max`: those swallow a NaN, and the NaN guard of training needs to see it.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let scale =
        f32::from_bits((shifted.to_bits() as i32).wrapping_sub(ROUND_BITS).wrapping_add(127).wrapping_shl(23) as u32);
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let p = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * p));
    (scale, r + r * r * p)
}

/// `exp(x)`, relative error below 3e-7; `x` is held to `[-87, 88]`, NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (scale, part) = exp_parts(x);
    scale * part + scale
}

/// `exp(x) - 1` without cancellation near zero, relative error below 4e-7; `x` is held to `[-87, 88]`.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    let (scale, part) = exp_parts(x);
    scale * part + (scale - 1.0)
}

/// `(sin x, cos x)`, absolute error below 2e-7 for `|x| < 3000`.
#[inline(always)]
pub fn sin_cos(x: f32) -> (f32, f32) {
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let quadrant = shifted.to_bits();
    let r = ((x - n * HALF_PI_HIGH) - n * HALF_PI_MIDDLE) - n * HALF_PI_LOW;
    let q = r * r;
    let sine = r + r * q * (-1.0 / 6.0 + q * (1.0 / 120.0 + q * (-1.0 / 5040.0 + q * (1.0 / 362_880.0))));
    let cosine = 1.0 + q * (-0.5 + q * (1.0 / 24.0 + q * (-1.0 / 720.0 + q * (1.0 / 40_320.0))));
    let odd = quadrant & 1 == 1;
    let (s, c) = if odd { (cosine, sine) } else { (sine, cosine) };
    // The sine is negative in quadrants 2 and 3, the cosine in 1 and 2.
    let sine_sign = (quadrant & 2) << 30;
    let cosine_sign = (quadrant.wrapping_add(1) & 2) << 30;
    (f32::from_bits(s.to_bits() ^ sine_sign), f32::from_bits(c.to_bits() ^ cosine_sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(low: f32, high: f32, error: impl Fn(f32) -> f64) -> f64 {
        (0..200_000).map(|i| error(low + (high - low) * i as f32 / 200_000.0)).fold(0.0, f64::max)
    }

    #[test]
    fn exponentials_are_near_double_precision() {
        let exact = worst(-86.0, 87.0, |x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs());
        assert!(exact < 3e-7, "exp: {exact:e}");
        let near_zero = worst(-1.0, 1.0, |x| {
            let truth = f64::from(x).exp_m1();
            if truth == 0.0 { 0.0 } else { (f64::from(exp_m1(x)) / truth - 1.0).abs() }
        });
        assert!(near_zero < 4e-7, "expm1: {near_zero:e}");
        assert!(exp(f32::NAN).is_nan() && exp_m1(f32::NAN).is_nan());
        assert!((exp_m1(-1e9) + 1.0).abs() < 1e-9 && exp_m1(0.0) == 0.0);
        assert!((exp_m1(1e-6) / 1e-6 - 1.0).abs() < 1e-5);
    }

    #[test]
    fn sine_and_cosine_are_near_double_precision() {
        for reach in [4.0, 1100.0, 3000.0] {
            let error = worst(-reach, reach, |x| {
                let (s, c) = sin_cos(x);
                (f64::from(s) - f64::from(x).sin()).abs().max((f64::from(c) - f64::from(x).cos()).abs())
            });
            assert!(error < 2e-7, "reach {reach}: {error:e}");
        }
        assert!(sin_cos(f32::NAN).0.is_nan());
    }

    #[test]
    fn the_vectorised_loop_gives_the_same_bits() {
        let x: Vec<f32> = (0..1000).map(|i| i as f32 * 0.37 - 185.0).collect();
        let mut wide = vec![0.0; x.len()];
        vectorised(
            #[inline(always)]
            || {
                for (o, &x) in wide.iter_mut().zip(&x) {
                    *o = exp_m1(-x * x * 1e-3) + sin_cos(x).0;
                }
            },
        );
        let same = x.iter().zip(&wide).all(|(&x, o)| (exp_m1(-x * x * 1e-3) + sin_cos(x).0).to_bits() == o.to_bits());
        assert!(same);
    }
}
