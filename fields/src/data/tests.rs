//! Every layout, from files written here, against the cameras and colours that they were written from.

use std::path::Path;

use glam::{Vec3, vec2, vec3};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, Rgba};
use retort_shaders::{Camera, Distortion};
use serde_json::json;
use tempfile::tempdir;

use super::fixtures::*;
use super::*;

fn folder() -> tempfile::TempDir {
    tempdir().expect("a temporary folder")
}

/// Blender synthetic: one field of view, RGBA, names without extension.
fn write_blender(folder: &Path, n: usize) -> Vec<Camera> {
    let mut cameras = Camera::orbit(Vec3::ZERO, 4.0, 0.5, n, 0.7, [WIDTH, HEIGHT]);
    let angle = 2.0 * (0.5 * WIDTH as f32 / cameras[0].focal.x).atan();
    for (split, range) in [("train", 0..n - 2), ("test", n - 2..n)] {
        let frames: Vec<_> = range
            .map(|i| {
                write(&folder.join(format!("{split}/r_{i}.png")), png_rgba(i));
                json!({ "file_path": format!("./{split}/r_{i}"), "rotation": 0.1, "transform_matrix": matrix(&cameras[i]) })
            })
            .collect();
        let file = json!({ "camera_angle_x": angle, "frames": frames });
        write(&folder.join(format!("transforms_{split}.json")), file.to_string());
    }
    for camera in &mut cameras {
        camera.distortion = Distortion::default();
    }
    cameras
}

#[test]
fn blender_synthetic() {
    let folder = folder();
    let cameras = write_blender(folder.path(), 6);
    let data = load_default(folder.path()).expect("loads");
    assert_eq!((data.layout, data.photos.len(), data.unbounded), (Layout::Blender, 6, false));
    assert_eq!((data.split(Split::Train).len(), data.split(Split::Test).len()), (4, 2), "the files' split wins");
    assert!((data.scene_from_dataset.scale - 1.0 / 1.5).abs() < 1e-6);
    assert_eq!(data.scene_from_dataset.translation, Vec3::ZERO);
    assert!(worst_pixel(&data, &cameras) < 1e-2);
    let photo = &data.photos[1];
    assert!(photo.has_alpha() && photo.name == "train/r_1");
    assert_eq!(photo.rgba(3, 2), [30.0 / 255.0, 30.0 / 255.0, 20.0 / 255.0, 1.0]);
    let over = photo.rgb_over([0.25, 0.5, 1.0]);
    assert_eq!(&over[..3], &[0.0, 0.0, 20.0 / 255.0], "opaque");
    assert_eq!(&over[3 * 20..][..3], &[0.25, 0.5, 1.0], "clear");
    let only = load(folder.path(), &LoadOptions { only: vec![Split::Test], ..Default::default() }).expect("loads");
    assert_eq!((only.photos.len(), only.scene_from_dataset), (2, data.scene_from_dataset));
}

#[test]
fn transforms_with_lens_and_missing_files() {
    let folder = folder();
    let mut cameras = cameras(10);
    cameras.iter_mut().for_each(|c| c.distortion = LENS);
    write_transforms(folder.path(), &cameras, |_| {});
    std::fs::remove_file(folder.path().join("images/4.png")).expect("is there");
    let data = load_default(folder.path()).expect("loads");
    assert_eq!((data.layout, data.photos.len(), data.unbounded), (Layout::Transforms, 9, true));
    assert_eq!(data.skipped, ["images/4.png: no such file"]);
    assert!(worst_pixel(&data, &cameras) < 1e-2);
    assert_eq!(
        data.split(Split::Test).iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["images/0.png", "images/9.png"]
    );
    // The origin is the common focus, the farthest camera at radius 1.
    let radii = data.photos.iter().map(|p| p.camera.position().length());
    assert!((radii.fold(0.0, f32::max) - 1.0).abs() < 1e-3);
    assert!(data.scene_from_dataset.point(vec3(0.3, -0.2, 0.1)).length() < 0.05);
    assert_eq!(data.bounds, Aabb::cube(2.0));
    let by_file = load_default(&folder.path().join("transforms.json")).expect("the file itself");
    assert_eq!(by_file.photos.len(), 9);
}

#[test]
fn a_frame_overrides_the_lens() {
    let folder = folder();
    let mut cameras = cameras(5);
    cameras[2].focal = vec2(30.0, 31.0);
    cameras[2].centre = vec2(11.0, 8.5);
    cameras[2].distortion = Distortion { k1: 0.1, k4: 0.01, ..Default::default() };
    cameras[3].focal = vec2(28.0, 28.0);
    cameras[4].distortion = Distortion { k1: -0.02, fisheye: true, ..Default::default() };
    write_transforms(folder.path(), &cameras, |file| {
        let lens = json!({ "fl_x": 30, "fl_y": 31.0, "cx": 11, "cy": 8.5, "k1": 0.1, "k4": 0.01, "w": 24, "h": 16 });
        for (key, value) in lens.as_object().expect("an object") {
            file["frames"][2][key] = value.clone();
        }
        file["frames"][3]["camera_angle_x"] = json!(2.0 * (12.0_f64 / 28.0).atan());
        file["frames"][4]["is_fisheye"] = json!(true);
        file["frames"][4]["k1"] = json!(-0.02);
    });
    let data = load_default(folder.path()).expect("loads");
    assert!(worst_pixel(&data, &cameras) < 1e-2);
}

#[test]
fn aabb_scale_and_transparency_tell_bounded_scenes() {
    let folder = folder();
    // In instant-ngp's units: scale 0.25 and offset 0.5 put [-2, 2]^3 into the unit cube.
    write_transforms(folder.path(), &around(Vec3::ZERO, 4), |f| {
        f["aabb_scale"] = json!(1);
        f["scale"] = json!(0.25);
        f["offset"] = json!([0.5, 0.5, 0.75]);
    });
    let data = load_default(folder.path()).expect("loads");
    assert!(!data.unbounded && (data.scene_from_dataset.scale - 0.5).abs() < 1e-6);
    assert!(data.scene_from_dataset.point(vec3(0.0, 0.0, -1.0)).length() < 1e-6);

    for i in 0..4 {
        write(&folder.path().join(format!("images/{i}.png")), png_rgba(i));
    }
    write(&folder.path().join("transforms.json"), {
        let mut file = transforms(&around(vec3(0.3, -0.2, 0.1), 4));
        file.as_object_mut().expect("an object").remove("aabb_scale");
        file.to_string()
    });
    let data = load_default(folder.path()).expect("loads");
    assert!(!data.unbounded, "a clear background");
    assert!(data.scene_from_dataset.point(vec3(0.3, -0.2, 0.1)).length() < 0.05, "the box is about the focus");
    assert!((data.scene_from_dataset.scale - 25.0 / 48.0).abs() < 0.01, "and as large as the pictures show");
}

#[test]
fn names_of_a_split_in_the_file_win() {
    let folder = folder();
    write_transforms(folder.path(), &cameras(6), |f| {
        f["train_filenames"] = json!(["images/0.png", "./images/1.png", "images/2.png"]);
        f["val_filenames"] = json!(["images/3.png"]);
        f["test_filenames"] = json!(["images/5.png"]);
    });
    let data = load_default(folder.path()).expect("loads");
    let split = |s| data.split(s).iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(split(Split::Train), ["images/0.png", "images/1.png", "images/2.png"]);
    assert_eq!((split(Split::Val), split(Split::Test)), (vec!["images/3.png".into()], vec!["images/5.png".into()]));
    assert_eq!(data.skipped.len(), 1, "one is in no list");
}

#[test]
fn masks_are_kept_and_rays_avoid_them() {
    let folder = folder();
    write_transforms(folder.path(), &cameras(4), |f| {
        f["frames"][1]["mask_path"] = json!("masks/1.png");
        f["frames"][2]["mask_path"] = json!("masks/none.png");
        f["frames"][3]["mask_path"] = json!("masks/small.png");
    });
    let half = |w, h| GrayImage::from_fn(w, h, move |x, _| Luma([if x < w / 2 { 0 } else { 255 }]));
    write(&folder.path().join("masks/1.png"), encode_png(half(WIDTH, HEIGHT)));
    write(&folder.path().join("masks/small.png"), encode_png(half(WIDTH / 2, HEIGHT / 2)));
    let data = load_default(folder.path()).expect("loads");
    assert_eq!(data.skipped, ["images/2.png: its mask masks/none.png is missing"]);
    assert_eq!(data.photos.len(), 3);
    assert!(!data.photos[1].is_used(11) && data.photos[1].is_used(12));
    assert_eq!(data.photos[1].mask, data.photos[2].mask, "a smaller mask of the same shape is stretched");

    let photos: Vec<&Photo> = data.photos.iter().collect();
    let batch = draw_rays(&photos, 4000, 5, 0);
    let masked = |i: usize| !photos[batch.photos[i] as usize].is_used(batch.pixels[i] as usize);
    assert!(!(0..4000).any(masked));
    // Half of two of the three photos counts, so the first gets half of the rays.
    let first = batch.photos.iter().filter(|p| **p == 0).count();
    assert!((1850..2150).contains(&first), "{first} of 4000");
}

#[test]
fn colmap_binary_and_text_agree_with_the_truth() {
    for fisheye in [false, true] {
        let mut cameras = cameras(9);
        let lens = Distortion { k1: 0.02, k2: -0.01, k3: 0.003, k4: -0.001, fisheye: true, ..Default::default() };
        cameras.iter_mut().for_each(|c| c.distortion = if fisheye { lens } else { LENS });
        for text in [false, true] {
            let folder = folder();
            let model = folder.path().join("sparse/0");
            if text {
                write_colmap_text(&model, &cameras);
            } else {
                write_colmap_binary(&model, &cameras);
            }
            for i in 0..9 {
                write(&folder.path().join(format!("images/{i}.png")), png(i));
            }
            for path in [folder.path(), &model, &model.join(if text { "cameras.txt" } else { "images.bin" })] {
                let data = load_default(path).expect("loads");
                assert_eq!((data.layout, data.photos.len(), data.points.len()), (Layout::Colmap, 9, 2));
                assert!(worst_pixel(&data, &cameras) < 1e-2, "text {text} fisheye {fisheye}");
                let expected = data.scene_from_dataset.point(vec3(1.0, 0.5, 0.0));
                assert!(Vec3::from(data.points[1].position).distance(expected) < 1e-5);
                assert_eq!(data.points[0].colour, [255, 0, 7]);
            }
        }
    }
}

#[test]
fn colmap_is_set_upright() {
    // COLMAP's world is wherever its first camera is: turn the whole scene over.
    let turn = glam::Affine3A::from_rotation_x(2.5);
    let mut cameras = cameras(8);
    cameras.iter_mut().for_each(|c| c.world_from_camera = turn * c.world_from_camera);
    let folder = folder();
    write_colmap_text(&folder.path().join("sparse/0"), &cameras);
    (0..8).for_each(|i| write(&folder.path().join(format!("images/{i}.png")), png(i)));
    let data = load_default(folder.path()).expect("loads");
    assert!(data.photos.iter().all(|p| p.camera.up().z > 0.5 && p.camera.position().z > 0.1));
}

#[test]
fn llff_facing_forward() {
    let folder = folder();
    // Parallel axes: there is no focus, the near and far depths tell where the content is.
    let cameras: Vec<Camera> = (0..9)
        .map(|i| {
            let eye = vec3((i % 3) as f32 * 0.2, -4.0, (i / 3) as f32 * 0.2);
            let mut camera = Camera::look_at(eye, eye + Vec3::Y, Vec3::Z, 0.7, 2 * WIDTH, 2 * HEIGHT);
            camera.focal = vec2(50.0, 50.0);
            camera
        })
        .collect();
    write(&folder.path().join("poses_bounds.npy"), npy(&llff_rows(&cameras)));
    (0..9).for_each(|i| write(&folder.path().join(format!("images_2/{i}.png")), png(i)));
    let data = load_default(folder.path()).expect("loads");
    assert_eq!((data.layout, data.photos.len(), data.unbounded), (Layout::Llff, 9, true));
    let halved: Vec<Camera> = cameras.iter().map(|c| c.resized(WIDTH, HEIGHT)).collect();
    assert!(worst_pixel(&data, &halved) < 1e-2, "photos of half the declared size");
    let [near, far] = data.photos[0].near_far.expect("LLFF has bounds");
    let scale = data.scene_from_dataset.scale;
    assert!((near - 2.0 * scale).abs() < 1e-5 && (far - 6.0 * scale).abs() < 1e-5);
    // The harmonic mean of 2 and 6 is 3: the origin is 3 units before the cameras.
    assert!((data.photos[4].camera.project(Vec3::ZERO).expect("in front").1 / scale - 3.0).abs() < 1e-3);
}

#[test]
fn exif_orientation_turns_the_picture() {
    let folder = folder();
    // Stored lying on its side; orientation 6 means: turn it a quarter clockwise to show it.
    let upright = ImageBuffer::from_fn(48, 32, |x, _| if x < 24 { Rgb([250_u8, 10, 10]) } else { Rgb([10, 10, 250]) });
    let stored = image::imageops::rotate270(&upright);
    let cameras: Vec<Camera> = cameras(3).iter().map(|c| c.resized(48, 32)).collect();
    write_transforms(folder.path(), &cameras, |f| {
        (0..3).for_each(|i| f["frames"][i]["file_path"] = json!(format!("images/{i}.jpg")));
    });
    (0..3).for_each(|i| write(&folder.path().join(format!("images/{i}.jpg")), jpeg(stored.clone(), 6)));
    let data = load_default(folder.path()).expect("loads");
    let photo = &data.photos[0];
    assert_eq!((photo.camera.width, photo.camera.height), (48, 32));
    let ([left, ..], [right, ..]) = (photo.rgba(5, 5), photo.rgba(43, 5));
    assert!(left > 0.8 && right < 0.2, "red is on the left: {left} {right}");

    // A camera that describes the stored picture keeps it as stored.
    let cameras: Vec<Camera> = cameras.iter().map(|c| c.resized(32, 48)).collect();
    let mut file = transforms(&cameras);
    (0..3).for_each(|i| file["frames"][i]["file_path"] = json!(format!("images/{i}.jpg")));
    write(&folder.path().join("transforms.json"), file.to_string());
    let data = load_default(folder.path()).expect("loads");
    assert_eq!((data.photos[0].camera.width, data.photos[0].camera.height), (32, 48));
}

#[test]
fn sixteen_bits_and_grey_keep_their_precision() {
    let folder = folder();
    write_transforms(folder.path(), &cameras(3), |_| {});
    let deep = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgba([1000 * x as u16 + 1, 3 * y as u16, 65535, 40000]));
    write(&folder.path().join("images/0.png"), encode_png(DynamicImage::ImageRgba16(deep)));
    write(&folder.path().join("images/1.png"), encode_png(GrayImage::from_pixel(WIDTH, HEIGHT, Luma([51]))));
    let data = load_default(folder.path()).expect("loads");
    let photo = |i: usize| &data.photos[i];
    assert!(matches!(photo(0).pixels, Pixels::U16 { channels: 4, .. }));
    assert_eq!(photo(0).rgba(7, 2), [7001.0 / 65535.0, 6.0 / 65535.0, 1.0, 40000.0 / 65535.0]);
    assert!(matches!(photo(1).pixels, Pixels::U8 { channels: 1, .. }));
    assert_eq!(photo(1).rgba(0, 0), [0.2, 0.2, 0.2, 1.0]);
    assert!(!photo(1).has_alpha());
    assert_eq!(data.bytes(), u64::from(WIDTH * HEIGHT) * (8 + 1 + 3));
}

#[test]
fn downscaling_averages_and_scales_the_camera() {
    let folder = folder();
    let cameras = cameras(3);
    write_transforms(folder.path(), &cameras, |_| {});
    write(&folder.path().join("images/1.png"), png_rgba(1));
    let data = load(folder.path(), &LoadOptions { downscale: 5, ..Default::default() }).expect("loads");
    let photo = &data.photos[0];
    assert_eq!((photo.camera.width, photo.camera.height), (4, 3));
    // Columns 5..10 have red 50 to 90, rows 5..10 green 75 to 135.
    assert_eq!(photo.rgba(1, 1)[..2], [70.0 / 255.0, 105.0 / 255.0]);
    // Columns 10..15: two opaque (red 100, 110), three clear, whose colour must not bleed in.
    let [red, _, _, alpha] = data.photos[1].rgba(2, 0);
    assert!((red - 105.0 / 255.0).abs() < 1e-6 && (alpha - 0.4).abs() < 1e-6);
    let shrunk: Vec<Camera> = cameras
        .iter()
        .map(|c| Camera { focal: c.focal / 5.0, centre: c.centre / 5.0, width: 4, height: 3, ..c.clone() })
        .collect();
    assert!(worst_pixel(&data, &shrunk) < 1e-2);
}

#[test]
fn rays_are_those_of_the_cameras_and_repeat() {
    let folder = folder();
    write_transforms(folder.path(), &cameras(4), |_| {});
    let data = load_default(folder.path()).expect("loads");
    let photos: Vec<&Photo> = data.photos.iter().collect();
    let batch = draw_rays(&photos, 1000, 1, 2);
    assert_eq!((batch.len(), batch.origins.len()), (1000, 3000));
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    assert_eq!(one.install(|| draw_rays(&photos, 1000, 1, 2)), batch, "for any number of threads");
    assert_ne!(draw_rays(&photos, 1000, 1, 3).pixels, batch.pixels, "another step");
    assert_ne!(draw_rays(&photos, 1000, 2, 2).pixels, batch.pixels, "another seed");
    let longer = draw_rays(&photos, 1500, 1, 2);
    assert_eq!(longer.pixels[..1000], batch.pixels, "a ray does not depend on how many follow");
    for i in 0..1000 {
        let (photo, pixel) = (photos[batch.photos[i] as usize], batch.pixels[i]);
        let (x, y) = (pixel % WIDTH, pixel / WIDTH);
        let ray = photo.camera.ray(vec2(x as f32 + 0.5, y as f32 + 0.5));
        assert_eq!(batch.origins[3 * i..][..3], ray.origin.to_array());
        assert_eq!(batch.directions[3 * i..][..3], ray.direction.to_array());
        assert_eq!(batch.colours[3 * i..][..3], photo.rgba(x, y)[..3]);
    }
    let (origins, directions) = photo_rays(&photos[1].camera, 3..5);
    assert_eq!((origins.len(), directions.len()), (2 * 3 * WIDTH as usize, 2 * 3 * WIDTH as usize));
    let ray = photos[1].camera.ray(vec2(2.5, 4.5));
    assert_eq!(directions[3 * (WIDTH as usize + 2)..][..3], ray.direction.to_array());
    assert!(draw_rays(&[], 10, 0, 0).is_empty() && photo_rays(&photos[0].camera, 4..4).0.is_empty());
}

#[test]
fn undistorting_puts_colours_where_a_pinhole_sees_them() {
    let folder = folder();
    // A barrel lens, a smooth picture: red is x, green is y.
    let mut cameras: Vec<Camera> = cameras(3).iter().map(|c| c.resized(96, 64)).collect();
    cameras.iter_mut().for_each(|c| c.distortion = Distortion { k1: 0.25, p1: 0.01, ..Default::default() });
    write_transforms(folder.path(), &cameras, |_| {});
    let smooth = ImageBuffer::from_fn(96, 64, |x, y| Rgb([500 * x as u16, 900 * y as u16, 0]));
    (0..3).for_each(|i| {
        write(&folder.path().join(format!("images/{i}.png")), encode_png(DynamicImage::ImageRgb16(smooth.clone())));
    });
    let data = load_default(folder.path()).expect("loads");
    let (photo, straight) = (&data.photos[0], undistorted(&data.photos[0]));
    assert!(straight.camera.distortion.is_none() && matches!(straight.pixels, Pixels::U16 { channels: 3, .. }));
    let used = (0..96 * 64).filter(|&i| straight.is_used(i)).count();
    assert!(used > 3000 && used < 96 * 64, "the corners of the pinhole lie outside the photo: {used}");
    for (x, y) in [(48, 32), (30, 20), (70, 50), (20, 40)] {
        let ray = straight.camera.ray(vec2(x as f32 + 0.5, y as f32 + 0.5));
        let (at, _) = photo.camera.project(ray.at(1.0)).expect("in front");
        let [red, green, ..] = straight.rgba(x, y);
        assert!(
            (red * 65535.0 / 500.0 + 0.5 - at.x).abs() < 0.01 && (green * 65535.0 / 900.0 + 0.5 - at.y).abs() < 0.01
        );
    }
    let same = undistorted(&Photo { camera: photo.camera.without_distortion(), ..photo.clone() });
    assert_eq!(same.pixels, photo.pixels);
}

#[test]
fn the_comparison_of_views_notices_a_small_error() {
    let folder = folder();
    let cameras = cameras(5);
    write_transforms(folder.path(), &cameras, |_| {});
    let data = load_default(folder.path()).expect("loads");
    let changes: [fn(&mut Camera); 4] = [
        |c| c.centre.y += 0.25,
        |c| c.focal.x *= 1.05,
        |c| c.distortion.p1 = 0.05,
        |c| c.world_from_camera *= glam::Affine3A::from_rotation_z(0.05),
    ];
    for change in changes {
        let mut wrong = cameras.clone();
        change(&mut wrong[3]);
        assert!(worst_pixel(&data, &wrong) > 0.05);
    }
}

#[test]
fn the_normalisation_can_be_undone() {
    let folder = folder();
    write_transforms(folder.path(), &cameras(5), |_| {});
    let data = load_default(folder.path()).expect("loads");
    let x = vec3(1.0, -2.0, 0.5);
    let s = data.scene_from_dataset;
    assert!(s.inverse_point(s.point(x)).distance(x) < 1e-5);
}
