//! Whether a student's grid is fine enough for its teacher.
//!
//! A grid changes in straight lines between its points, so what it can show of a picture is about the picture drawn
//! through a tent as wide as a cell. How far that is from the picture itself is what to expect of the student at best.

use retort_fields::compose::Subject;
use retort_fields::field::{RenderOptions, values};
use retort_fields::metrics;
use retort_shaders::Camera;

/// Pictures that a student is expected to show worse than this, in dB, are worth a warning.
pub const POOR: f32 = 28.0;
/// The half width of the tent in cells. With it Lego's hash grid is expected of voxel grids of 32³, 48³, 64³ and 96³ with 22, 25,
/// 27 and 30 dB, and they reach 22.7, 25.2, 26.6 and 29.5; hash grids of 2⁹ and 2¹² entries reach 21.6 and 28.4 of 22 and 28.
const HALF_WIDTH: f32 = 0.7;

/// PSNR against the teacher, in dB, that a student whose values change freely over `grain` scene units and not less can
/// reach in the view of `camera`; `None` where the picture is too empty to tell.
pub fn expected(teacher: &Subject, grain: f32, camera: &Camera) -> Option<f32> {
    let frame = teacher.render(camera, &RenderOptions::default());
    let mut depths: Vec<f32> =
        values(frame.pixels.clone()).chunks_exact(5).filter(|p| p[3] > 0.5).map(|p| p[4] / p[3]).collect();
    let middle = depths.len() / 2;
    if depths.len() < 16 {
        return None;
    }
    let depth = *depths.select_nth_unstable_by(middle, f32::total_cmp).1;
    let sharp = frame.rgb_over([1.0; 3]);
    let half_width = HALF_WIDTH * grain * camera.focal.x / depth;
    let size = [camera.width as usize, camera.height as usize];
    let blurred = along(&along(&sharp, size, 0, half_width), size, 1, half_width);
    metrics::psnr(&blurred, &sharp).ok().map(|psnr| psnr as f32)
}

/// A picture `[h·w, 3]` through a tent of this half width in pixels along one axis.
fn along(picture: &[f32], [width, height]: [usize; 2], axis: usize, half_width: f32) -> Vec<f32> {
    let reach = half_width.ceil() as isize;
    // The tent over a whole pixel and not at its middle: a narrow one still spreads a little.
    let tent = |offset: isize| (half_width.max(1e-3) - (offset as f32).abs()).max(if offset == 0 { 1e-3 } else { 0.0 });
    let mut out = Vec::with_capacity(picture.len());
    for y in 0..height as isize {
        for x in 0..width as isize {
            let (mut sum, mut weight) = ([0.0; 3], 0.0);
            for offset in -reach..=reach {
                let (x, y) = if axis == 0 { (x + offset, y) } else { (x, y + offset) };
                let (x, y) = (x.clamp(0, width as isize - 1) as usize, y.clamp(0, height as isize - 1) as usize);
                let part = tent(offset);
                weight += part;
                (0..3).for_each(|c| sum[c] += part * picture[3 * (x + y * width) + c]);
            }
            out.extend(sum.map(|sum| sum / weight));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_tent_blurs_and_a_narrow_one_does_not() {
        let size = [16, 8];
        let stripes: Vec<f32> = (0..16 * 8).flat_map(|i| [(i % 2) as f32; 3]).collect();
        let psnr = |half_width| {
            let blurred = along(&along(&stripes, size, 0, half_width), size, 1, half_width);
            metrics::psnr(&blurred, &stripes).expect("pictures of one size")
        };
        assert!(psnr(0.5) > 60.0, "{}", psnr(0.5));
        assert!(psnr(4.0) < 7.0 && psnr(4.0) < psnr(1.2) && psnr(1.2) < psnr(0.5));
        let even = vec![0.3; 3 * 16 * 8];
        assert!(along(&even, size, 1, 3.0).iter().all(|v| (v - 0.3).abs() < 1e-6), "what is even stays");
    }
}
