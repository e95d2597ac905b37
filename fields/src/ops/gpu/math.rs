//! Functions that a device's own are too coarse for. Vulkan and WebGPU promise `sin` only near zero and to 2⁻¹¹, and
//! `exp(x) - 1` loses the digits of a small `x`. Constants as in [`crate::parts::fast_math`].

use std::f32::consts::FRAC_2_PI;

use cubecl::prelude::*;

/// `exp(x) - 1`, relative error below 1e-6; a NaN stays one.
#[cube]
pub fn exp_m1(x: f32) -> f32 {
    let mut y = x.exp() - 1.0;
    if x.abs() < 0.25 {
        y = x * (1.0 + x * (0.5 + x * (0.166_666_67 + x * (0.041_666_668 + x * (0.008_333_334 + x * 0.001_388_889)))));
    }
    y
}

/// `sin(x + quarters · π/2)`, absolute error below 3e-7 for `|x| < 3000`.
#[cube]
pub fn sine(x: f32, #[comptime] quarters: i32) -> f32 {
    let n = (x * FRAC_2_PI + 0.5).floor();
    let r = ((x - n * 1.570_312_5) - n * 0.000_483_810_9) - n * 1.589_325_5e-8;
    let q = r * r;
    let sine = r + r * q * (-0.166_666_67f32 + q * (0.008_333_334 + q * (-0.000_198_412_7f32 + q * 2.755_731_9e-6)));
    let cosine = 1.0 + q * (-0.5f32 + q * (0.041_666_668 + q * (-0.001_388_889f32 + q * 2.480_158_7e-5)));
    let quadrant = i32::cast_from(n) + quarters;
    let mut value = sine;
    if quadrant & 1 == 1 {
        value = cosine;
    }
    if quadrant & 2 == 2 {
        value = -value;
    }
    value
}
