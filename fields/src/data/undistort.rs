//! A photo without its lens: what a rasteriser of Gaussians, which knows straight lines only, is trained on.

use glam::{Vec2, vec2, vec3};
use rayon::prelude::*;

use super::Photo;

/// The photo as a pinhole camera of the same place, size, focal length and principal point would have taken it.
///
/// Pixels are interpolated bilinearly (colours by their alpha); those that the photo does not show, or of which it
/// masks any contributing pixel, are ignored by the mask of the result. A photo without lens comes back as it is.
#[must_use]
pub fn undistorted(photo: &Photo) -> Photo {
    if photo.camera.distortion.is_none() {
        return photo.clone();
    }
    let camera = photo.camera.without_distortion();
    let (width, height) = (camera.width as usize, camera.height as usize);
    let lens = photo.camera.distortion;
    let limit = lens.limit();
    let source = |index: usize| {
        let pixel = vec2((index % width) as f32 + 0.5, (index / width) as f32 + 0.5);
        let m = (pixel - camera.centre) / camera.focal;
        let r = if lens.fisheye { m.length().atan() } else { m.length() };
        (r <= limit).then(|| lens.distort(m) * camera.focal + camera.centre)
    };
    let samples: Vec<Option<[f32; 4]>> = (0..width * height)
        .into_par_iter()
        .with_min_len(4096)
        .map(|index| source(index).and_then(|at| sample(photo, at, width, height)))
        .collect();
    let mask = samples.iter().any(Option::is_none).then(|| samples.iter().map(|s| u8::from(s.is_some())).collect());
    let rgba: Vec<[f32; 4]> = samples.into_iter().map(Option::unwrap_or_default).collect();
    Photo { camera, pixels: photo.pixels.like(&rgba), mask, ..photo.clone() }
}

/// Straight RGBA at a pixel position; nothing outside the outermost pixels' edges or on an ignored pixel.
fn sample(photo: &Photo, at: Vec2, width: usize, height: usize) -> Option<[f32; 4]> {
    let (w, h) = (width as f32, height as f32);
    if !(at.x >= 0.0 && at.y >= 0.0 && at.x <= w && at.y <= h) {
        return None;
    }
    // Between the centres of the outermost pixels and their edges the outermost value goes on.
    let x = (at.x - 0.5).clamp(0.0, w - 1.0);
    let y = (at.y - 0.5).clamp(0.0, h - 1.0);
    let (x0, y0) = (x as usize, y as usize);
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let (mut colour, mut alpha) = (vec3(0.0, 0.0, 0.0), 0.0);
    for (i, j, weight) in
        [(0, 0, (1.0 - fx) * (1.0 - fy)), (1, 0, fx * (1.0 - fy)), (0, 1, (1.0 - fx) * fy), (1, 1, fx * fy)]
    {
        if weight == 0.0 {
            continue;
        }
        let index = (y0 + j).min(height - 1) * width + (x0 + i).min(width - 1);
        if !photo.is_used(index) {
            return None;
        }
        let [r, g, b, a] = photo.pixels.rgba(index);
        colour += weight * a * vec3(r, g, b);
        alpha += weight * a;
    }
    let straight = if alpha > 0.0 { colour / alpha } else { colour };
    Some([straight.x, straight.y, straight.z, alpha].map(|v| v.clamp(0.0, 1.0)))
}
