//! The SSIM that 3D Gaussian splatting descends (Kerbl, Kopanas, Leimkühler, Drettakis 2023, "3D Gaussian Splatting
//! for Real-Time Radiance Field Rendering", section 5.1: `L = 0.8 L1 + 0.2 (1 - SSIM)`), with its gradient.
//!
//! `SSIM = (2 μa μb + C1)(2 σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2))` at every pixel and channel, with moments
//! under an 11 × 11 Gaussian window of σ = 1.5. The window may hang over the picture's edge, where zeros are taken; the
//! mean runs over all pixels and channels. That is what the published training does, and it differs near the border from
//! the figure that papers report, which is [`crate::metrics::ssim`].
//!
//! Pictures are `[h, w, 3]`, row-major, interleaved, in `[0, 1]`.

mod cpu;
mod face;
mod gpu;
pub mod reference;
#[cfg(test)]
mod tests;

pub use cpu::{forward, forward_backward};
pub use face::ssim;

/// Pixels from the window's centre to its edge.
pub const RADIUS: usize = 5;
/// Pixels along a side of the window.
pub const WINDOW: usize = 2 * RADIUS + 1;
/// Standard deviation of the window, in pixels.
pub const SIGMA: f64 = 1.5;
/// Keeps the luminance term finite: `(0.01 · range)²`.
pub const C1: f64 = 0.01 * 0.01;
/// Keeps the contrast term finite: `(0.03 · range)²`.
pub const C2: f64 = 0.03 * 0.03;
/// Red, green, blue.
pub const CHANNELS: usize = 3;

/// The Gaussian window along one axis, in f64; it sums to 1.
pub fn window() -> [f64; WINDOW] {
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let x = i as f64 - RADIUS as f64;
        (-0.5 * (x / SIGMA).powi(2)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

/// Panics unless the three slices are `h · w · 3` long: a wrong shape here is a mistake in the program, not in a file.
fn check(a: &[f32], b: &[f32], width: usize, height: usize) {
    let values = width * height * CHANNELS;
    assert!(values > 0, "SSIM of a picture without pixels ({width} x {height})");
    assert_eq!(a.len(), values, "SSIM: a is not [{height}, {width}, 3]");
    assert_eq!(b.len(), values, "SSIM: b is not [{height}, {width}, 3]");
}
