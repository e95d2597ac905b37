//! How near one picture is to another: PSNR, and SSIM as Wang, Bovik, Sheikh and Simoncelli define it ("Image Quality
//! Assessment: From Error Visibility to Structural Similarity", 2004).
//!
//! `PSNR = -10 log10 mean((a - b)²)`, in dB. `SSIM = (2 μa μb + C1)(2 σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2))`
//! with moments under an 11 × 11 Gaussian window of σ = 1.5, `C1 = 0.01²` and `C2 = 0.03²`, averaged over those pixels
//! whose window lies inside the picture, then over the channels. Both agree with scikit-image (`tests/golden/metrics.py`).
//! The SSIM that training descends pads with zeros instead: see [`crate::ops::ssim`].
//!
//! Pictures are `[h, w, 3]`, row-major, interleaved, in `[0, 1]`. Sums are taken in f64.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Pixels from the window's centre to its edge: `round(3.5 σ)`, as scikit-image cuts the Gaussian off.
const RADIUS: usize = 5;
/// Pixels along a side of the window.
const WINDOW: usize = 2 * RADIUS + 1;
/// Standard deviation of the window, in pixels.
const SIGMA: f64 = 1.5;
/// Keeps the luminance term finite: `(0.01 · range)²`.
const C1: f64 = 0.01 * 0.01;
/// Keeps the contrast term finite: `(0.03 · range)²`.
const C2: f64 = 0.03 * 0.03;
const CHANNELS: usize = 3;

/// Mean squared error of two equally long slices, summed in f64.
///
/// # Errors
/// The slices differ in length, or are empty.
pub fn mse(a: &[f32], b: &[f32]) -> Result<f64> {
    if a.len() != b.len() || a.is_empty() {
        let what = format!("cannot compare pictures of {} and {} values", a.len(), b.len());
        return Err(Error::new(what).remedy("compare pictures of the same size, of one pixel at least"));
    }
    // Chunks of a fixed size, added up in order: the sum does not depend on the number of threads.
    let sums: Vec<f64> = a
        .par_chunks(1 << 14)
        .zip(b.par_chunks(1 << 14))
        .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum())
        .collect();
    Ok(sums.iter().sum::<f64>() / a.len() as f64)
}

/// Peak signal-to-noise ratio in dB, for a peak of 1; infinite where the pictures are equal.
///
/// # Errors
/// The slices differ in length, or are empty.
pub fn psnr(a: &[f32], b: &[f32]) -> Result<f64> {
    Ok(-10.0 * mse(a, b)?.log10())
}

/// Structural similarity of two pictures `[height, width, 3]` in `[0, 1]`: 1 where they are equal, about 0 where they
/// have nothing in common.
///
/// # Errors
/// The slices are not `height · width · 3` long, or the picture is smaller than the 11 × 11 window.
pub fn ssim(a: &[f32], b: &[f32], width: usize, height: usize) -> Result<f64> {
    let values = width.checked_mul(height).and_then(|n| n.checked_mul(CHANNELS));
    if values != Some(a.len()) || values != Some(b.len()) {
        let what =
            format!("{width} x {height} pictures with 3 channels do not have {} and {} values", a.len(), b.len());
        return Err(Error::new(what).remedy("compare RGB pictures of the same size"));
    }
    if width < WINDOW || height < WINDOW {
        let what = format!("a picture of {width} x {height} pixels is smaller than SSIM's {WINDOW} x {WINDOW} window");
        return Err(Error::new(what).remedy("compare larger pictures, or use PSNR"));
    }
    let weights = window();
    let (rows, columns) = (height + 1 - WINDOW, width + 1 - WINDOW);
    let sums: Vec<f64> = (0..rows)
        .into_par_iter()
        .map_init(|| vec![[0.0; 5]; width * CHANNELS], |moments, row| row_sum(a, b, row, &weights, moments))
        .collect();
    Ok(sums.iter().sum::<f64>() / (rows * columns * CHANNELS) as f64)
}

/// The Gaussian window along one axis; it sums to 1.
fn window() -> [f64; WINDOW] {
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let x = i as f64 - RADIUS as f64;
        (-0.5 * (x / SIGMA).powi(2)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

/// The sum of SSIM over those pixels whose window's top edge is `row`. `moments [w · 3]` is scratch: the means of
/// `a, b, a², b², ab` down each column of the window.
fn row_sum(a: &[f32], b: &[f32], row: usize, weights: &[f64; WINDOW], moments: &mut [[f64; 5]]) -> f64 {
    let stride = moments.len();
    moments.fill([0.0; 5]);
    for (k, &w) in weights.iter().enumerate() {
        let start = (row + k) * stride;
        let (a, b) = (&a[start..start + stride], &b[start..start + stride]);
        for (m, (&a, &b)) in moments.iter_mut().zip(a.iter().zip(b)) {
            let (a, b) = (f64::from(a), f64::from(b));
            let (wa, wb) = (w * a, w * b);
            m[0] += wa;
            m[1] += wb;
            m[2] += wa * a;
            m[3] += wb * b;
            m[4] += wa * b;
        }
    }
    let mut sum = 0.0;
    for start in 0..stride - (WINDOW - 1) * CHANNELS {
        let mut m = [0.0; 5];
        for (k, &w) in weights.iter().enumerate() {
            for (m, x) in m.iter_mut().zip(moments[start + k * CHANNELS]) {
                *m += w * x;
            }
        }
        sum += similarity(m);
    }
    sum
}

/// SSIM of one pixel from the windowed means of `a, b, a², b², ab`.
fn similarity([a, b, aa, bb, ab]: [f64; 5]) -> f64 {
    let luminance = (2.0 * a * b + C1) / (a * a + b * b + C1);
    let structure = (2.0 * (ab - a * b) + C2) / (aa - a * a + bb - b * b + C2);
    luminance * structure
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width, height, strength of the disturbance, PSNR, SSIM: printed by `tests/golden/metrics.py`.
    const GOLDEN: [(usize, usize, i64, f64, f64); 4] = [
        (64, 48, 20, 23.552_103_071, 0.787_462_137),
        (37, 53, 60, 17.010_573_287, 0.289_667_237),
        (11, 11, 5, 33.229_167_015, 0.960_560_503),
        (128, 16, 100, 13.228_509_057, 0.206_081_490),
    ];

    /// The images of `tests/golden/metrics.py`.
    fn pair(width: usize, height: usize, strength: i64) -> (Vec<f32>, Vec<f32>) {
        let mut images = (Vec::new(), Vec::new());
        for i in 0..(width * height * CHANNELS) as i64 {
            let (c, x, y) = (i % 3, i / 3 % width as i64, i / 3 / width as i64);
            let wave = (x * (3 + c) + y * 5 + (x * y) / 7) % 512;
            let first = if wave < 256 { wave } else { 511 - wave };
            let noise = (x * 37 + y * 91 + c * 17 + x * y * 13) % (2 * strength + 1) - strength;
            let second = ((first * 7) / 8 + 10 + noise).clamp(0, 255);
            images.0.push(first as f32 / 255.0);
            images.1.push(second as f32 / 255.0);
        }
        images
    }

    #[test]
    fn both_agree_with_scikit_image() {
        for (width, height, strength, golden_psnr, golden_ssim) in GOLDEN {
            let (a, b) = pair(width, height, strength);
            let (psnr, ssim) = (psnr(&a, &b).unwrap(), ssim(&a, &b, width, height).unwrap());
            // The two sides differ in the order of f64 sums alone, and the golden numbers have nine places.
            assert!((psnr - golden_psnr).abs() < 1e-6, "{width} x {height}: {psnr} dB, not {golden_psnr}");
            assert!((ssim - golden_ssim).abs() < 1e-8, "{width} x {height}: SSIM {ssim}, not {golden_ssim}");
        }
    }

    #[test]
    fn a_changed_pixel_shows() {
        let (width, height, strength, golden_psnr, golden_ssim) = GOLDEN[0];
        let (a, mut b) = pair(width, height, strength);
        b[(20 * width + 30) * CHANNELS] += 0.5;
        assert!((psnr(&a, &b).unwrap() - golden_psnr).abs() > 1e-3);
        assert!((ssim(&a, &b, width, height).unwrap() - golden_ssim).abs() > 1e-4);
    }

    #[test]
    fn equal_pictures_are_perfect() {
        let (a, _) = pair(20, 12, 3);
        assert_eq!(psnr(&a, &a).unwrap(), f64::INFINITY);
        assert!((ssim(&a, &a, 20, 12).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn wrong_sizes_are_errors() {
        let (a, _) = pair(20, 10, 3);
        let small = ssim(&a, &a, 20, 10).unwrap_err().to_string();
        assert!(small.contains("20 x 10") && small.contains("smaller"), "{small}");
        assert!(ssim(&a, &a, 10, 10).is_err());
        assert!(ssim(&a, &a, usize::MAX, 2).is_err());
        assert!(psnr(&a, &a[1..]).is_err());
        assert!(psnr(&[], &[]).is_err());
    }
}
