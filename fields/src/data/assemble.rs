//! From frames as described to photos in memory: what every layout needs, once.

use std::collections::HashSet;
use std::path::Path;

use glam::{Affine3A, DAffine3, DVec2, Mat3A, Vec3A};
use rayon::prelude::*;
use retort_shaders::Camera;

use super::raw::{Intrinsics, Raw, RawFrame};
use super::{Dataset, LoadOptions, Photo, SparsePoint, Split, normalise, photo};
use crate::error::{Error, Result};

/// The fewest photos from which depth can be had with any confidence.
const FEWEST: usize = 3;

pub(super) fn assemble(mut raw: Raw, path: &Path, options: &LoadOptions) -> Result<Dataset> {
    check_count(&raw)?;
    check_names(&raw.frames)?;
    give_splits(&mut raw.frames, options);
    let headers = raw
        .frames
        .par_iter()
        .map(|f| photo::header(&f.path, f.intrinsics.size))
        .collect::<Result<Vec<photo::Header>>>()?;
    let lenses = raw
        .frames
        .iter()
        .zip(&headers)
        .map(|(f, h)| lens(&f.intrinsics, h.size).map_err(|e| e.file(&f.path)))
        .collect::<Result<Vec<Camera>>>()?;
    let half_angles: Vec<f64> = lenses.iter().map(half_angle).collect();
    let wanted = |f: &RawFrame| options.only.is_empty() || f.split.is_some_and(|s| options.only.contains(&s));
    check_memory(raw.frames.iter().zip(&headers).filter(|(f, _)| wanted(f)), options)?;

    let work: Vec<_> = raw.frames.iter().zip(headers.iter().zip(lenses)).filter(|(f, _)| wanted(f)).collect();
    let photos = work
        .into_par_iter()
        .map(|(frame, (header, lens))| decode(frame, header, lens, options).map(|p| (p, frame.world_from_camera)))
        .collect::<Result<Vec<(Photo, DAffine3)>>>()?;
    finish(raw, photos, &half_angles, path)
}

/// Places the scene and the decoded photos in it.
fn finish(mut raw: Raw, photos: Vec<(Photo, DAffine3)>, half_angles: &[f64], path: &Path) -> Result<Dataset> {
    let placement = normalise::place(&raw, are_transparent(&photos), half_angles)?;
    let mut photos: Vec<Photo> = photos
        .into_iter()
        .map(|(mut photo, pose)| {
            photo.camera.world_from_camera = single(&placement.pose(&pose));
            photo.near_far = photo.near_far.map(|nf| nf.map(|d| d * placement.scale as f32));
            photo
        })
        .collect();
    let bounds = placement.bounds();
    if !placement.unbounded && !photos.is_empty() && !photos.par_iter().any(|p| normalise::sees(&p.camera, &bounds)) {
        return Err(Error::new("no camera looks at the scene: all look away from its box")
            .remedy("check that poses are camera-to-world with the camera looking along -Z (OpenGL axes)"));
    }
    photos.retain(|p| {
        let used = p.mask.as_ref().is_none_or(|m| m.contains(&1));
        if !used {
            raw.skipped.push(format!("{}: its mask ignores every pixel", p.name));
        }
        used
    });
    let point = |(x, colour): &(glam::DVec3, [u8; 3])| SparsePoint {
        position: placement.point(*x).as_vec3().to_array(),
        colour: *colour,
    };
    Ok(Dataset {
        photos,
        layout: raw.layout,
        scene_from_dataset: placement.similarity(),
        unbounded: placement.unbounded,
        bounds,
        points: raw.points.iter().map(point).collect(),
        skipped: raw.skipped,
        path: path.to_path_buf(),
    })
}

fn check_count(raw: &Raw) -> Result<()> {
    let missing = raw.skipped.first().map(|s| format!("; {} could not be used, the first: {s}", raw.skipped.len()));
    let missing = missing.unwrap_or_default();
    match raw.frames.len() {
        0 => Err(Error::new(format!("no photo can be used{missing}")).remedy("check where the photos are")),
        n if n < FEWEST => {
            Err(Error::new(format!("only {n} photo{} can be used{missing}", if n == 1 { "" } else { "s" }))
                .remedy("a scene needs at least three posed photos: add photos, or restore the missing ones"))
        }
        _ => Ok(()),
    }
}

fn check_names(frames: &[RawFrame]) -> Result<()> {
    let mut seen = HashSet::new();
    match frames.iter().find(|f| !seen.insert(&f.name)) {
        None => Ok(()),
        Some(f) => Err(Error::new(format!("{} is listed twice", f.name)).remedy("remove one of the two entries")),
    }
}

/// Where the files give no split, every `hold_every`-th frame by name is held out.
fn give_splits(frames: &mut [RawFrame], options: &LoadOptions) {
    if frames.iter().any(|f| f.split.is_some()) {
        return;
    }
    frames.sort_by(|a, b| a.name.cmp(&b.name));
    for (i, frame) in frames.iter_mut().enumerate() {
        let held = options.hold_every.is_some_and(|n| i.is_multiple_of(n));
        frame.split = Some(if held { Split::Test } else { Split::Train });
    }
}

/// The camera of a photo of `size` with the declared lens, pose still open.
///
/// Photos are often made smaller after the reconstruction (`images_4`). When the declared size has the shape of the
/// real one, within 1 % or a pixel and a half, the intrinsics are scaled to the real one; otherwise nobody can tell how
/// the photo was cut, and it is an error.
fn lens(intrinsics: &Intrinsics, size: [u32; 2]) -> Result<Camera> {
    let real = DVec2::new(f64::from(size[0]), f64::from(size[1]));
    let declared = intrinsics.size.unwrap_or(real);
    if !photo::same_shape([declared.x.round() as u32, declared.y.round() as u32], size) {
        let what = format!("the photo has {}x{} pixels, its camera {}x{}", real.x, real.y, declared.x, declared.y);
        return Err(Error::new(what).remedy("use the photos that the cameras were computed for"));
    }
    let scale = real / declared;
    let [fx, fy] = intrinsics.focal;
    let fx = fx.map(|f| f.pixels(declared.x));
    let fy = fy.map(|f| f.pixels(declared.y));
    let focal = match (fx, fy) {
        (Some(x), y) => DVec2::new(x, y.unwrap_or(x)),
        (None, Some(y)) => DVec2::splat(y),
        (None, None) => return Err(Error::new("no focal length")),
    };
    let centre =
        DVec2::new(intrinsics.centre[0].unwrap_or(0.5 * declared.x), intrinsics.centre[1].unwrap_or(0.5 * declared.y));
    Ok(Camera {
        world_from_camera: Affine3A::IDENTITY,
        width: size[0],
        height: size[1],
        focal: (focal * scale).as_vec2(),
        centre: (centre * scale).as_vec2(),
        distortion: intrinsics.distortion,
    })
}

fn check_memory<'a>(
    wanted: impl Iterator<Item = (&'a RawFrame, &'a photo::Header)>,
    options: &LoadOptions,
) -> Result<()> {
    let pixels = |h: &photo::Header| u64::from(h.size[0]) * u64::from(h.size[1]);
    let shrink = u64::from(options.downscale).pow(2);
    let total: u64 = wanted.map(|(f, h)| (h.bytes + if f.mask.is_some() { pixels(h) } else { 0 }) / shrink).sum();
    if total <= options.limit_bytes {
        return Ok(());
    }
    let gib = |b: u64| b as f64 / f64::from(1 << 30);
    let what = format!("the photos need {:.2} GiB of memory, the limit is {:.2}", gib(total), gib(options.limit_bytes));
    Err(Error::new(what).remedy("load them smaller (downscale 2 needs a quarter), or raise the limit"))
}

fn decode(frame: &RawFrame, header: &photo::Header, lens: Camera, options: &LoadOptions) -> Result<Photo> {
    let mut pixels = photo::decode(&frame.path, header.turn)?;
    let mask = frame.mask.as_ref().map(|m| photo::decode_mask(m, header.size, header.turn)).transpose()?;
    let (mut camera, mut mask, factor) = (lens, mask, options.downscale);
    if factor > 1 {
        let [w, h] = header.size;
        if w < factor || h < factor {
            let what = format!("a photo of {w}x{h} cannot be made {factor} times smaller");
            return Err(Error::new(what).file(&frame.path).remedy("use a smaller downscale"));
        }
        pixels = pixels.reduced(w as usize, factor as usize);
        mask = mask.map(|m| reduce_mask(&m, w as usize, factor as usize));
        // Blocks are whole, so the scale is exactly 1 / factor even where a rest is cut off.
        let scale = 1.0 / factor as f32;
        camera = Camera {
            width: w / factor,
            height: h / factor,
            focal: camera.focal * scale,
            centre: camera.centre * scale,
            ..camera
        };
    }
    Ok(Photo {
        name: frame.name.clone(),
        path: frame.path.clone(),
        camera,
        pixels,
        mask,
        split: frame.split.unwrap_or(Split::Train),
        near_far: frame.near_far.map(|nf| nf.map(|d| d as f32)),
    })
}

/// A block with any ignored pixel is ignored: its average would show what the mask is there to hide.
fn reduce_mask(mask: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let (w, h) = (width / factor, mask.len() / width / factor);
    let block = |x: usize, y: usize| {
        let rows = y * factor..(y + 1) * factor;
        rows.flat_map(|j| &mask[j * width + x * factor..][..factor]).all(|m| *m != 0)
    };
    (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| u8::from(block(x, y))).collect()
}

/// Whether the photos show an object before a transparent background: in at least half of them, one pixel in 200 or
/// more is more transparent than not. An alpha channel that is 1 everywhere says nothing.
fn are_transparent(photos: &[(Photo, DAffine3)]) -> bool {
    let transparent = |p: &Photo| {
        let clear = (0..p.pixels.len()).filter(|&i| p.pixels.rgba(i)[3] < 0.5).count();
        200 * clear >= p.pixels.len()
    };
    let count = photos.par_iter().filter(|(p, _)| p.has_alpha() && transparent(p)).count();
    count > 0 && 2 * count >= photos.len()
}

/// Half the wider field of view of a lens, radians.
fn half_angle(camera: &Camera) -> f64 {
    let half = 0.5 * glam::vec2(camera.width as f32, camera.height as f32) / camera.focal;
    f64::from(half.max_element().atan())
}

fn single(pose: &DAffine3) -> Affine3A {
    Affine3A {
        matrix3: Mat3A::from_cols(
            pose.matrix3.x_axis.as_vec3a(),
            pose.matrix3.y_axis.as_vec3a(),
            pose.matrix3.z_axis.as_vec3a(),
        ),
        translation: Vec3A::from(pose.translation.as_vec3()),
    }
}
