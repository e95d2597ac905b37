//! A scene of our own, made by code: a retort over a flame, drip by drip into a flask, among things that test a field
//! (fine stripes, chequers, a twist, a mirror-like ball, thin rods, tinted glass). It is what the demo trains on and what
//! tests use where others would ship photos.
//!
//! Things are signed distances ([`shapes`]), met by sphere tracing (Hart 1996) each within its own box; light is a window,
//! a fill and an ambient term ([`light`]). Everything lies within 0.9 of the origin, up is +Z.

mod light;
mod shapes;
#[cfg(test)]
mod tests;

use std::f32::consts::TAU;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use glam::{Vec2, Vec3, vec2, vec3};
use image::ImageFormat;
use rayon::prelude::*;
use retort_shaders::{Aabb, Camera};
use serde::Serialize;

use crate::data::{Dataset, Layout, Photo, Pixels, Similarity, Split};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Distance of the cameras from the origin, in scene units.
pub const CAMERA_RADIUS: f32 = 8.0 / 3.0;
/// The cameras' field of view, in radians: the scene just fits.
pub const FIELD_OF_VIEW: f32 = 0.66;
/// What the cameras look at: the middle of what they see from above.
pub const LOOK_AT: Vec3 = vec3(0.0, 0.0, -0.05);
/// Samples along each side of a pixel, where nothing else is asked for.
pub const SAMPLES: u32 = 4;
/// Dataset units per scene unit in the Blender layout, whose scenes reach to 1.5.
const DATASET_FROM_SCENE: f32 = 1.5;

/// A picture of the scene: `[h, w, 4]`, 8-bit sRGB and straight (not premultiplied) alpha, which is the share of
/// `samples × samples` rays a pixel that meet the scene.
pub fn render(camera: &Camera, samples: u32) -> Vec<u8> {
    let (width, height) = (camera.width as usize, camera.height as usize);
    let samples = samples.max(1);
    let mut picture = vec![0; width * height * 4];
    picture.par_chunks_mut(4).enumerate().with_min_len(16).for_each(|(i, pixel)| {
        pixel.copy_from_slice(&one_pixel(camera, vec2((i % width) as f32, (i / width) as f32), samples));
    });
    picture
}

/// The pixel whose upper left corner is `corner`.
fn one_pixel(camera: &Camera, corner: Vec2, samples: u32) -> [u8; 4] {
    let (mut sum, mut hits) = (Vec3::ZERO, 0);
    for sample in 0..samples * samples {
        let offset = (vec2((sample % samples) as f32, (sample / samples) as f32) + 0.5) / samples as f32;
        if let Some(radiance) = light::radiance(&camera.ray(corner + offset)) {
            // The shoulder is applied to each sample, so that a small highlight does not bleach its whole pixel.
            sum += shoulder(radiance);
            hits += 1;
        }
    }
    if hits == 0 {
        return [0; 4];
    }
    let [r, g, b] = (sum / hits as f32).to_array().map(encode);
    let alpha = 255.0 * hits as f32 / (samples * samples) as f32;
    [r, g, b, alpha.round() as u8]
}

/// Brings any radiance below 1: a straight line at the foot, a soft shoulder above.
fn shoulder(radiance: Vec3) -> Vec3 {
    let x = 0.92 * radiance;
    x * (1.0 + 0.16 * x) / (1.0 + 0.42 * x + 0.16 * x * x)
}

/// Linear to 8-bit sRGB.
fn encode(linear: f32) -> u8 {
    let c = linear.clamp(0.0, 1.0);
    let encoded = if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
    (255.0 * encoded).round() as u8
}

/// `n` cameras spread evenly over the upper hemisphere, each a little off its place by chance, all looking at the middle.
/// `split` names the stream of random numbers, so that the test views are others than the training views.
pub fn cameras(size: u32, n: usize, seed: u64, split: &str) -> Vec<Camera> {
    // Equal steps in height cover equal areas of a sphere, and the golden angle never lines up (Vogel 1979).
    const GOLDEN_ANGLE: f32 = 2.399_963_2;
    let mut rng = Rng::new(seed, split);
    let first = TAU * rng.uniform();
    (0..n)
        .map(|i| {
            let height = 0.06 + 0.88 * (i as f32 + rng.uniform()) / n as f32;
            let azimuth = (first + GOLDEN_ANGLE * i as f32 + 0.3 * (rng.uniform() - 0.5)).rem_euclid(TAU);
            let level = (1.0 - height * height).sqrt();
            let eye = CAMERA_RADIUS * vec3(level * azimuth.cos(), level * azimuth.sin(), height);
            Camera::look_at(eye, LOOK_AT, Vec3::Z, FIELD_OF_VIEW, size, size)
        })
        .collect()
}

/// The scene photographed by `train` and `test` cameras, in memory: what [`write_dataset`] writes and [`super::load`]
/// reads back, without the files. The pictures are `size × size`, 8-bit RGBA.
pub fn dataset(size: u32, train: usize, test: usize, seed: u64) -> Dataset {
    let photos = views(size, train, test, seed).into_par_iter().map(View::photo).collect();
    Dataset {
        photos,
        layout: Layout::Blender,
        scene_from_dataset: Similarity { scale: 1.0 / DATASET_FROM_SCENE, ..Similarity::default() },
        unbounded: false,
        bounds: Aabb::cube(1.0),
        points: Vec::new(),
        skipped: Vec::new(),
        path: PathBuf::from("demo scene"),
    }
}

/// Writes the scene as a dataset of NeRF's synthetic layout into the folder `dir`, which is made where it is missing:
/// `transforms_train.json`, `transforms_test.json` (none for no test views) and PNGs of `size × size` pixels under
/// `train/` and `test/`. Every file is complete or absent, and the descriptions come last.
///
/// # Errors
/// `size` is not between 1 and 4096, `train` is less than 3, or `dir` cannot be written.
pub fn write_dataset(dir: &Path, size: u32, train: usize, test: usize, seed: u64) -> Result<()> {
    if !(1..=4096).contains(&size) {
        return Err(Error::new(format!("pictures of {size} x {size} pixels")).remedy("choose a size from 1 to 4096"));
    }
    if train < 3 {
        return Err(Error::new(format!("a dataset of {train} training views")).remedy("ask for 3 at least"));
    }
    let views = views(size, train, test, seed);
    for folder in [Split::Train, Split::Test].map(|split| dir.join(folder_of(split))) {
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, &e))?;
    }
    views.par_iter().try_for_each(|view| {
        let path = dir.join(format!("{}.png", view.name));
        let mut png = Cursor::new(Vec::new());
        image::write_buffer_with_format(
            &mut png,
            &render(&view.camera, SAMPLES),
            size,
            size,
            image::ExtendedColorType::Rgba8,
            ImageFormat::Png,
        )
        .map_err(|e| Error::new(format!("the picture cannot be encoded: {e}")).file(&path))?;
        write_whole(&path, png.get_ref())
    })?;
    for split in [Split::Train, Split::Test] {
        let path = dir.join(format!("transforms_{}.json", folder_of(split)));
        let of_split: Vec<&View> = views.iter().filter(|v| v.split == split).collect();
        if of_split.is_empty() {
            continue;
        }
        let text = serde_json::to_vec_pretty(&description(&of_split))
            .map_err(|e| Error::new(format!("the description cannot be encoded: {e}")).file(&path))?;
        write_whole(&path, &text)?;
    }
    Ok(())
}

/// One picture to take.
struct View {
    /// `"train/r_0"`.
    name: String,
    camera: Camera,
    split: Split,
}

impl View {
    fn photo(self) -> Photo {
        let data = render(&self.camera, SAMPLES);
        Photo {
            path: PathBuf::from(format!("{}.png", self.name)),
            name: self.name,
            camera: self.camera,
            pixels: Pixels::U8 { channels: 4, data },
            mask: None,
            split: self.split,
            near_far: None,
        }
    }
}

fn folder_of(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "test",
        Split::Val => "val",
    }
}

/// The training views, then the test views.
fn views(size: u32, train: usize, test: usize, seed: u64) -> Vec<View> {
    let of = |split: Split, n| {
        let folder = folder_of(split);
        let named = move |(i, camera)| View { name: format!("{folder}/r_{i}"), camera, split };
        cameras(size, n, seed, folder).into_iter().enumerate().map(named)
    };
    of(Split::Train, train).chain(of(Split::Test, test)).collect()
}

/// A `transforms_*.json` of NeRF's synthetic scenes.
#[derive(Serialize)]
struct Transforms {
    /// Horizontal field of view, radians.
    camera_angle_x: f32,
    frames: Vec<Frame>,
}

#[derive(Serialize)]
struct Frame {
    /// Without extension, from the description's own folder.
    file_path: String,
    /// World from camera, row by row, in dataset units.
    transform_matrix: [[f32; 4]; 4],
}

fn description(views: &[&View]) -> Transforms {
    let frames = views.iter().map(|view| {
        let mut pose = view.camera.world_from_camera;
        pose.translation *= DATASET_FROM_SCENE;
        let rows = glam::Mat4::from(pose).transpose().to_cols_array_2d();
        Frame { file_path: format!("./{}", view.name), transform_matrix: rows }
    });
    Transforms { camera_angle_x: FIELD_OF_VIEW, frames: frames.collect() }
}

/// Writes a file beside its place and moves it there: nobody ever sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(path, &e);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
