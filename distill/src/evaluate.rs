//! How like the photos a field's pictures are.

use std::ops::Deref;

use rayon::prelude::*;
use retort_fields::data::Photo;
use retort_fields::error::Result;
use retort_fields::field::{Field, RenderOptions};
use retort_fields::metrics::{psnr, ssim};

/// PSNR and SSIM over several views.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Mean of the views' PSNR in dB.
    pub psnr: f32,
    /// Mean of the views' SSIM.
    pub ssim: f32,
    /// Name, PSNR and SSIM of each view.
    pub views: Vec<(String, f32, f32)>,
}

/// Compares pictures of `field`, or of a scene, with `photos` over `background`, all in `[0, 1]`. `on_view` hears how many
/// views are done, of how many, and the last one's PSNR; it stops the work by returning false.
///
/// # Errors
/// When a photo is too small for SSIM.
pub fn evaluate(
    field: &impl Deref<Target = dyn Field>,
    photos: &[&Photo],
    background: [f32; 3],
    on_view: &mut dyn FnMut(usize, usize, f32) -> bool,
) -> Result<Scores> {
    let mut scores = Scores::default();
    for (done, photo) in (1..).zip(photos) {
        let (picture, truth) = pictures(field, photo, background);
        let (width, height) = (photo.camera.width as usize, photo.camera.height as usize);
        let p = psnr(&picture, &truth)? as f32;
        let s = ssim(&picture, &truth, width, height)? as f32;
        scores.views.push((photo.name.clone(), p, s));
        if !on_view(done, photos.len(), p) {
            break;
        }
    }
    let n = scores.views.len().max(1) as f32;
    scores.psnr = scores.views.iter().map(|v| v.1).sum::<f32>() / n;
    scores.ssim = scores.views.iter().map(|v| v.2).sum::<f32>() / n;
    Ok(scores)
}

/// The field's picture and the photo, `[h·w·3]` each. A pixel that the photo's mask ignores is the photo's in both.
pub fn pictures(field: &impl Deref<Target = dyn Field>, photo: &Photo, background: [f32; 3]) -> (Vec<f32>, Vec<f32>) {
    let truth = photo.rgb_over(background);
    let mut picture = draw(&**field, photo, background);
    if photo.mask.is_some() {
        picture.par_chunks_mut(3).zip(truth.par_chunks(3)).enumerate().for_each(|(i, (p, t))| {
            if !photo.is_used(i) {
                p.copy_from_slice(t);
            }
        });
    }
    (picture, truth)
}

/// A picture through the photo's own lens. Primitives are drawn without distortion and then bent as the photo is.
fn draw(field: &dyn Field, photo: &Photo, background: [f32; 3]) -> Vec<f32> {
    let camera = &photo.camera;
    if camera.distortion.is_none() || field.as_primitives().is_none() {
        return field.render(camera, &RenderOptions::default()).rgb_over(background);
    }
    let straight = camera.without_distortion();
    let flat = field.render(&straight, &RenderOptions::default()).rgb_over(background);
    let (w, h) = (camera.width as usize, camera.height as usize);
    let mut bent = vec![0.0; 3 * w * h];
    bent.par_chunks_mut(3).enumerate().for_each(|(i, out)| {
        let pixel = glam::Vec2::new((i % w) as f32 + 0.5, (i / w) as f32 + 0.5);
        let seen = straight.project_in_camera(camera.direction_in_camera(pixel));
        out.copy_from_slice(&seen.map_or(background, |at| bilinear(&flat, w, h, at)));
    });
    bent
}

fn bilinear(image: &[f32], w: usize, h: usize, at: glam::Vec2) -> [f32; 3] {
    let (x, y) = ((at.x - 0.5).clamp(0.0, w as f32 - 1.0), (at.y - 0.5).clamp(0.0, h as f32 - 1.0));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let pixel = |x: usize, y: usize, c: usize| image[3 * (y * w + x) + c];
    [0, 1, 2].map(|c| {
        let top = pixel(x0, y0, c) * (1.0 - fx) + pixel(x1, y0, c) * fx;
        let bottom = pixel(x0, y1, c) * (1.0 - fx) + pixel(x1, y1, c) * fx;
        top * (1.0 - fy) + bottom * fy
    })
}
