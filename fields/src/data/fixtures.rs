//! Tiny datasets in temporary folders, written by code of this file alone so that a reader cannot share its mistakes.

use std::fs;
use std::path::Path;

use glam::{Quat, Vec3, vec3};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use retort_shaders::{Camera, Distortion};
use serde_json::{Value, json};

use super::{Dataset, LoadOptions, load};
use crate::error::Result;

pub const WIDTH: u32 = 24;
pub const HEIGHT: u32 = 16;

/// Cameras around a point that is not the origin, 4 units away, with unequal focal lengths and an odd centre.
pub fn cameras(n: usize) -> Vec<Camera> {
    around(vec3(0.3, -0.2, 0.1), n)
}

pub fn around(centre: Vec3, n: usize) -> Vec<Camera> {
    let mut cameras = Camera::orbit(centre, 4.0, 0.5, n, 0.7, [WIDTH, HEIGHT]);
    for camera in &mut cameras {
        camera.focal = glam::vec2(25.0, 24.0);
        camera.centre = glam::vec2(12.5, 7.75);
    }
    cameras
}

/// The colour of a pixel: every photo and pixel has its own.
pub fn colour(photo: usize, x: u32, y: u32) -> [u8; 3] {
    [10 * x as u8, 15 * y as u8, 20 * photo as u8]
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a fixture lies in a folder")).expect("temporary folder");
    fs::write(path, bytes).expect("temporary file");
}

fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut out, format).expect("encodes");
    out.into_inner()
}

pub fn rgb(photo: usize, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb(colour(photo, x, y)))
}

pub fn png(photo: usize) -> Vec<u8> {
    encode(rgb(photo, WIDTH, HEIGHT), ImageFormat::Png)
}

pub fn encode_png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encode(picture, ImageFormat::Png)
}

/// Opaque in the left half, clear in the right.
pub fn png_rgba(photo: usize) -> Vec<u8> {
    let picture = RgbaImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let [r, g, b] = colour(photo, x, y);
        Rgba([r, g, b, if x < WIDTH / 2 { 255 } else { 0 }])
    });
    encode(picture, ImageFormat::Png)
}

/// A JPEG with an EXIF orientation (1–8), inserted as an APP1 segment after the start marker.
pub fn jpeg(picture: RgbImage, orientation: u8) -> Vec<u8> {
    let plain = encode(picture, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut out = vec![0xFF, 0xD8, 0xFF, 0xE1];
    out.extend((exif.len() as u16 + 2).to_be_bytes());
    out.extend(exif);
    out.extend(&plain[2..]);
    out
}

/// The `transform_matrix` of a camera.
pub fn matrix(camera: &Camera) -> Value {
    let m = glam::Mat4::from(camera.world_from_camera).transpose().to_cols_array_2d();
    json!(m)
}

/// A `transforms.json` with the intrinsics of the first camera, frames `images/0.png` and on.
pub fn transforms(cameras: &[Camera]) -> Value {
    let c = &cameras[0];
    let frames: Vec<Value> = (0..cameras.len())
        .map(|i| json!({ "file_path": format!("./images/{i}.png"), "transform_matrix": matrix(&cameras[i]) }))
        .collect();
    let d = c.distortion;
    json!({
        "w": c.width, "h": c.height, "fl_x": c.focal.x, "fl_y": c.focal.y, "cx": c.centre.x, "cy": c.centre.y,
        "k1": d.k1, "k2": d.k2, "k3": d.k3, "k4": d.k4, "p1": d.p1, "p2": d.p2, "aabb_scale": 4, "frames": frames,
    })
}

/// Writes a `transforms.json` and its photos.
pub fn write_transforms(folder: &Path, cameras: &[Camera], change: impl FnOnce(&mut Value)) {
    let mut file = transforms(cameras);
    change(&mut file);
    write(&folder.join("transforms.json"), file.to_string());
    for i in 0..cameras.len() {
        write(&folder.join(format!("images/{i}.png")), png(i));
    }
}

/// World-to-camera quaternion (w, x, y, z) and translation in `OpenCV` axes.
pub fn colmap_pose(camera: &Camera) -> ([f64; 4], [f64; 3]) {
    let turn = Quat::from_axis_angle(Vec3::X, std::f32::consts::PI);
    let gl_from_world = Quat::from_mat3a(&camera.camera_from_world().matrix3);
    let cv_from_world = (turn * gl_from_world).normalize().as_dquat();
    let t = -(cv_from_world * camera.position().as_dvec3());
    ([cv_from_world.w, cv_from_world.x, cv_from_world.y, cv_from_world.z], t.to_array())
}

/// The model number and name of a COLMAP camera, and its parameters.
fn colmap_lens(camera: &Camera) -> (i32, &'static str, Vec<f64>) {
    let (d, f, c) = (camera.distortion, camera.focal, camera.centre);
    let mut p = vec![f.x, f.y, c.x, c.y];
    if d.fisheye {
        p.extend([d.k1, d.k2, d.k3, d.k4]);
        return (5, "OPENCV_FISHEYE", p.into_iter().map(f64::from).collect());
    }
    if d.is_none() {
        return (1, "PINHOLE", p.into_iter().map(f64::from).collect());
    }
    p.extend([d.k1, d.k2, d.p1, d.p2]);
    (4, "OPENCV", p.into_iter().map(f64::from).collect())
}

pub const POINTS: [([f64; 3], [u8; 3]); 2] = [([0.3, -0.2, 0.1], [255, 0, 7]), ([1.0, 0.5, 0.0], [1, 2, 3])];

/// A binary sparse model with one camera for all images, each with two features.
pub fn write_colmap_binary(folder: &Path, cameras: &[Camera]) {
    let (number, _, params) = colmap_lens(&cameras[0]);
    let mut file = 1_u64.to_le_bytes().to_vec();
    file.extend(7_u32.to_le_bytes());
    file.extend(number.to_le_bytes());
    file.extend(u64::from(cameras[0].width).to_le_bytes());
    file.extend(u64::from(cameras[0].height).to_le_bytes());
    file.extend(params.iter().flat_map(|p| p.to_le_bytes()));
    write(&folder.join("cameras.bin"), file);

    let mut file = (cameras.len() as u64).to_le_bytes().to_vec();
    for (i, camera) in cameras.iter().enumerate() {
        let (q, t) = colmap_pose(camera);
        file.extend((i as u32 + 1).to_le_bytes());
        file.extend(q.iter().chain(&t).flat_map(|v| v.to_le_bytes()));
        file.extend(7_u32.to_le_bytes());
        file.extend(format!("{i}.png\0").bytes());
        file.extend(2_u64.to_le_bytes());
        file.extend([0_u8; 48]);
    }
    write(&folder.join("images.bin"), file);

    let mut file = (POINTS.len() as u64).to_le_bytes().to_vec();
    for (x, c) in POINTS {
        file.extend(9_u64.to_le_bytes());
        file.extend(x.iter().flat_map(|v| v.to_le_bytes()));
        file.extend(c);
        file.extend(0.5_f64.to_le_bytes());
        file.extend(3_u64.to_le_bytes());
        file.extend([0_u8; 24]);
    }
    write(&folder.join("points3D.bin"), file);
}

/// The same as text; every second image has an empty feature line.
pub fn write_colmap_text(folder: &Path, cameras: &[Camera]) {
    let (_, name, params) = colmap_lens(&cameras[0]);
    let join = |v: &[f64]| v.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let (w, h) = (cameras[0].width, cameras[0].height);
    write(&folder.join("cameras.txt"), format!("# Camera list\n\n7 {name} {w} {h} {}\n", join(&params)));
    let mut file = "# Image list\n".to_owned();
    for (i, camera) in cameras.iter().enumerate() {
        let (q, t) = colmap_pose(camera);
        let features = if i % 2 == 0 { "" } else { "1.5 2.5 -1 3 4 9" };
        file += &format!("{} {} {} 7 {i}.png\n{features}\n", i + 1, join(&q), join(&t));
    }
    write(&folder.join("images.txt"), file);
    let points = POINTS.map(|(x, c)| format!("9 {} {} {} {} 0.5 1 2\n", join(&x), c[0], c[1], c[2]));
    write(&folder.join("points3D.txt"), format!("# points\n{}", points.concat()));
}

/// A little-endian f64 `.npy` of two dimensions.
pub fn npy(rows: &[Vec<f64>]) -> Vec<u8> {
    npy_declaring(rows.len(), rows)
}

/// As [`npy`], with a header that declares `n` rows.
pub fn npy_declaring(n: usize, rows: &[Vec<f64>]) -> Vec<u8> {
    let columns = rows.first().map_or(17, Vec::len);
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({n}, {columns}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.bytes());
    out.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
    out
}

/// The rows of `poses_bounds.npy`: axes down, right, back; then position; then height, width, focal; near and far.
pub fn llff_rows(cameras: &[Camera]) -> Vec<Vec<f64>> {
    let row = |camera: &Camera| {
        let m = camera.world_from_camera.matrix3;
        let columns = [
            -Vec3::from(m.y_axis),
            m.x_axis.into(),
            m.z_axis.into(),
            camera.position(),
            vec3(camera.height as f32, camera.width as f32, camera.focal.x),
        ];
        let matrix = (0..3).flat_map(|r| columns.map(|c| f64::from(c[r])));
        matrix.chain([2.0, 6.0]).collect()
    };
    cameras.iter().map(row).collect()
}

pub fn load_default(folder: &Path) -> Result<Dataset> {
    load(folder, &LoadOptions::default())
}

/// The largest distance in pixels between where the loaded cameras and the true ones see the same points, matched by
/// the number in the photo's name. It tests poses, axes, intrinsics, lens and normalisation in one.
pub fn worst_pixel(dataset: &Dataset, truth: &[Camera]) -> f32 {
    let points = [vec3(0.3, -0.2, 0.1), vec3(0.8, 0.4, -0.3), vec3(-0.5, 0.1, 0.6)];
    let mut worst = 0.0_f32;
    for photo in &dataset.photos {
        let number =
            photo.name.rsplit(['/', '_']).next().and_then(|n| n.split('.').next()).and_then(|n| n.parse().ok());
        let truth: &Camera = &truth[number.unwrap_or(0_usize)];
        for point in points {
            let (expected, depth) = truth.project(point).expect("in front of the true camera");
            let moved = dataset.scene_from_dataset.point(point);
            let Some((pixel, scaled)) = photo.camera.project(moved) else { return f32::INFINITY };
            assert!((scaled / dataset.scene_from_dataset.scale - depth).abs() < 1e-3, "{}", photo.name);
            worst = worst.max(pixel.distance(expected));
        }
    }
    worst
}

pub const LENS: Distortion =
    Distortion { k1: 0.06, k2: -0.08, k3: 0.0, k4: 0.0, p1: -0.001, p2: 0.002, fisheye: false };
