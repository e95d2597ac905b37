use super::paint::{GREY, texel};
use super::*;
use crate::mesh::Texture;
use crate::mesh::grid::Grid;
use crate::mesh::surface::surface;
use retort_shaders::{Aabb, Distortion};

fn level_set(n: u32, f: impl Fn(Vec3) -> f32) -> Mesh {
    let ask = |points: &[Vec3]| Ok(points.iter().map(|&p| f(p)).collect());
    surface(&Grid::filled(Aabb::cube(1.0), [n; 3], ask).unwrap(), 0.0).unwrap()
}

/// A square in the plane y = 0, seen from -Y with x to the right and z up; `(0, 0)` of its texture is at the upper
/// left.
fn square(half: f32) -> Mesh {
    let at = |x: f32, z: f32| half * Vec3::new(x, 0.0, z);
    Mesh {
        positions: vec![at(-1.0, 1.0), at(1.0, 1.0), at(1.0, -1.0), at(-1.0, -1.0)],
        uvs: vec![Vec2::ZERO, Vec2::X, Vec2::ONE, Vec2::Y],
        triangles: vec![[0, 3, 2], [0, 2, 1]],
        ..Mesh::default()
    }
}

fn front(distance: f32, size: u32) -> Camera {
    Camera::look_at(-distance * Vec3::Y, Vec3::ZERO, Vec3::Z, 0.8, size, size)
}

fn four_colours() -> Texture {
    let rgb = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].concat();
    Texture { width: 2, height: 2, rgb }
}

fn bent(k1: f32, fisheye: bool) -> Distortion {
    Distortion { k1, k2: 0.02, p1: if fisheye { 0.0 } else { 0.01 }, fisheye, ..Distortion::default() }
}

/// Mean difference of alpha and largest of depth between a picture and a ball of radius 0.7, ray by ray.
fn against_ball(picture: &Picture, camera: &Camera) -> (f32, f32) {
    let (mut alpha, mut depth) = (0.0, 0.0_f32);
    for (i, p) in picture.pixels.chunks_exact(5).enumerate() {
        let pixel = Vec2::new((i as u32 % picture.width) as f32, (i as u32 / picture.width) as f32) + 0.5;
        let ray = camera.ray(pixel);
        let middle = -ray.origin.dot(ray.direction);
        let inside = 0.49 - ray.at(middle).length_squared();
        // Where the ray only just meets it, a mesh of triangles may not.
        if inside.abs() < 0.02 {
            continue;
        }
        let expected = if inside > 0.0 { [1.0, middle - inside.sqrt()] } else { [0.0; 2] };
        alpha += (p[3] - expected[0]).abs();
        depth = depth.max((p[4] - expected[1]).abs());
    }
    (alpha / (picture.width * picture.height) as f32, depth)
}

#[test]
fn a_ball_is_where_rays_meet_it_through_any_lens() {
    let mesh = level_set(64, |p| 0.7 - p.length());
    let options = RasterOptions::default();
    let plain = Camera::look_at(Vec3::new(1.5, -1.2, 0.8), Vec3::new(0.1, 0.0, 0.0), Vec3::Z, 0.9, 90, 70);
    for distortion in [Distortion::default(), bent(-0.2, false), bent(0.1, true)] {
        let camera = Camera { distortion, ..plain.clone() };
        let picture = draw(&mesh, &camera, &options).unwrap();
        let (alpha, depth) = against_ball(&picture, &camera);
        assert!(alpha == 0.0 && depth < 5e-3, "{distortion:?}: {alpha} and {depth}");
        // The control: a camera half a pixel aside sees another picture.
        let beside = Camera { centre: camera.centre + 0.5, ..camera.clone() };
        assert!(against_ball(&picture, &beside).1 > 5e-3);
    }
}

#[test]
fn inside_a_ball_all_rays_of_a_fisheye_end() {
    let mesh = level_set(40, |p| 0.7 - p.length());
    let lens = Distortion { fisheye: true, ..Distortion::default() };
    // 0.45 radians to 10 pixels: the corners look backward.
    let camera = Camera { distortion: lens, focal: Vec2::splat(22.0), ..front(0.3, 96) };
    assert!(camera.direction_in_camera(Vec2::ZERO).z > 0.5);
    let picture = draw(&mesh, &camera, &RasterOptions { near: 0.0, ..RasterOptions::default() }).unwrap();
    let lit: usize = picture.pixels.chunks_exact(5).filter(|p| p[3] == 1.0 && (0.39..1.01).contains(&p[4])).count();
    assert_eq!(lit, 96 * 96);
    let plain = draw(&mesh, &front(0.3, 96), &RasterOptions::default()).unwrap();
    assert!(plain.pixels.chunks_exact(5).all(|p| p[3] == 1.0));
}

#[test]
fn a_texture_is_the_right_way_up_and_round() {
    let mesh = Mesh { texture: Some(four_colours()), ..square(1.0) };
    let picture = draw(&mesh, &front(3.0, 64), &RasterOptions::default()).unwrap();
    let at = |x: usize, y: usize| &picture.pixels[5 * (x + 64 * y)..][..4];
    // A quarter in from each corner of the square, which is 52 pixels wide, is the middle of a texel.
    let near = |a: &[f32], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.06);
    assert!(near(at(19, 19), [1.0, 0.0, 0.0, 1.0]), "{:?}", at(19, 19));
    assert!(near(at(44, 19), [0.0, 1.0, 0.0, 1.0]), "{:?}", at(44, 19));
    assert!(near(at(19, 44), [0.0, 0.0, 1.0, 1.0]), "{:?}", at(19, 44));
    assert!(near(at(44, 44), [1.0, 1.0, 1.0, 1.0]), "{:?}", at(44, 44));
    assert_eq!(at(2, 2), [0.0; 4]);
    // From behind it is seen as well, mirrored.
    let behind = Camera::look_at(3.0 * Vec3::Y, Vec3::ZERO, Vec3::Z, 0.8, 64, 64);
    let picture = draw(&mesh, &behind, &RasterOptions::default()).unwrap();
    assert!(near(&picture.pixels[5 * (44 + 64 * 19)..][..4], [1.0, 0.0, 0.0, 1.0]));
}

#[test]
fn texels_are_interpolated_and_repeat() {
    let texture = four_colours();
    assert_eq!(texel(&texture, Vec2::splat(0.25)), [1.0, 0.0, 0.0]);
    assert_eq!(texel(&texture, Vec2::new(0.5, 0.25)), [0.5, 0.5, 0.0]);
    assert_eq!(texel(&texture, Vec2::new(1.25, -0.75)), [1.0, 0.0, 0.0]);
    assert_eq!(texel(&texture, Vec2::splat(0.5)), [0.5, 0.5, 0.5]);
    assert!(texel(&texture, Vec2::new(f32::NAN, 1e30)).iter().all(|v| v.is_finite()));
}

#[test]
fn colours_are_right_in_perspective() {
    // A floor that goes away: red is a third where the plane is a third of the way along, not a third of the picture.
    let mut mesh = square(1.0);
    mesh.positions = vec![[-1.0, 9.0], [1.0, 9.0], [1.0, 0.5], [-1.0, 0.5]]
        .into_iter()
        .map(|[x, y]: [f32; 2]| Vec3::new(x, y, -0.5))
        .collect();
    mesh.colours = mesh.positions.iter().map(|p| [p.y / 9.0, 0.25, 0.5 + 0.5 * p.x]).collect();
    let camera = Camera::look_at(Vec3::ZERO, Vec3::new(0.0, 1.0, -0.3), Vec3::Z, 1.0, 40, 40);
    let picture = draw(&mesh, &camera, &RasterOptions::default()).unwrap();
    let mut met = 0;
    for (i, p) in picture.pixels.chunks_exact(5).enumerate().filter(|(_, p)| p[3] == 1.0) {
        let ray = camera.ray(Vec2::new((i % 40) as f32 + 0.5, (i / 40) as f32 + 0.5));
        let point = ray.at(p[4]);
        assert!((point.z + 0.5).abs() < 1e-4 && (p[0] - point.y / 9.0).abs() < 1e-4, "{point} {p:?}");
        assert!((p[2] - 0.5 - 0.5 * point.x).abs() < 1e-4 && (p[1] - 0.25).abs() < 1e-6);
        met += 1;
    }
    assert!(met > 300, "{met}");
}

#[test]
fn the_nearest_is_seen_and_the_near_end_cuts() {
    let mut mesh = square(1.0);
    let back = square(2.0);
    mesh.uvs.clear();
    mesh.positions.extend(back.positions.iter().map(|p| *p + Vec3::Y));
    mesh.triangles.extend(back.triangles.iter().map(|t| t.map(|v| v + 4)));
    mesh.colours = (0..8).map(|i| if i < 4 { [1.0, 0.0, 0.0] } else { [0.0, 0.0, 1.0] }).collect();
    let middle = |mesh: &Mesh, near: f32| {
        let options = RasterOptions { near, ..RasterOptions::default() };
        let picture = draw(mesh, &front(2.0, 31), &options).unwrap();
        <[f32; 5]>::try_from(&picture.pixels[5 * (15 + 31 * 15)..][..5]).unwrap()
    };
    let is = |p: [f32; 5], q: [f32; 5]| p.iter().zip(q).all(|(p, q)| (p - q).abs() < 1e-5);
    assert!(is(middle(&mesh, 0.0), [1.0, 0.0, 0.0, 1.0, 2.0]));
    assert!(is(middle(&mesh, 2.5), [0.0, 0.0, 1.0, 1.0, 3.0]));
    assert!(is(middle(&mesh, 3.5), [0.0; 5]));
    // The order of triangles does not matter.
    mesh.triangles.reverse();
    assert!(is(middle(&mesh, 0.0), [1.0, 0.0, 0.0, 1.0, 2.0]));
    // A floor that goes on behind the camera: the lower half is full, each ray at its own distance.
    let mut floor = square(50.0);
    floor.positions.iter_mut().for_each(|p| *p = Vec3::new(p.x, p.z, -1.0));
    let camera = Camera::look_at(Vec3::ZERO, Vec3::Y, Vec3::Z, 1.2, 40, 40);
    for near in [1e-3, 2.5] {
        let options = RasterOptions { near, ..RasterOptions::default() };
        let picture = draw(&floor, &camera, &options).unwrap();
        for (i, p) in picture.pixels.chunks_exact(5).enumerate() {
            let ray = camera.ray(Vec2::new((i % 40) as f32 + 0.5, (i / 40) as f32 + 0.5));
            let t = -1.0 / ray.direction.z;
            let far = ray.at(t).abs().max_element() > 50.0;
            let expected = if t > near && !far { [1.0, t] } else { [0.0; 2] };
            assert!((p[3] - expected[0]).abs() < 1e-6 && (p[4] - expected[1]).abs() < 1e-3 * t.abs(), "{i}: {p:?} {t}");
        }
    }
}

#[test]
fn four_rays_see_how_much_of_a_pixel_is_covered() {
    // The square's edge goes through the middle of a pixel: half of its rays meet.
    let camera = front(2.0, 31);
    let half = 2.0 * 10.0 / camera.focal.x;
    let options = RasterOptions { supersample: true, ..RasterOptions::default() };
    let picture = draw(&square(half), &camera, &options).unwrap();
    let at = |x: usize, y: usize| &picture.pixels[5 * (x + 31 * y)..][..5];
    assert_eq!([at(15, 15)[3], at(5, 15)[3], at(5, 5)[3], at(4, 15)[3]], [1.0, 0.5, 0.25, 0.0]);
    assert_eq!(at(5, 15)[..3], [0.5 * GREY[0]; 3]);
    assert!((at(5, 15)[4] - 0.5 * at(6, 15)[4]).abs() < 0.05);
    let area: f32 = picture.pixels.chunks_exact(5).map(|p| p[3]).sum();
    assert!((area - 400.0).abs() < 1e-3, "{area}");
}

#[test]
fn there_are_no_gaps_between_triangles() {
    // Thin fans and many sizes; every ray within meets something.
    let mut mesh = square(1.0);
    mesh.uvs.clear();
    mesh.triangles.clear();
    for i in 0..97 {
        let turn = std::f32::consts::TAU * i as f32 / 97.0;
        mesh.positions.push(Vec3::new(turn.cos(), 0.3 * (5.0 * turn).sin(), turn.sin()));
        mesh.triangles.push([101, 4 + i, 4 + (i + 1) % 97]);
    }
    mesh.positions.push(Vec3::new(0.013, 0.0, -0.007));
    let picture = draw(&mesh, &front(1.5, 200), &RasterOptions::default()).unwrap();
    for (i, p) in picture.pixels.chunks_exact(5).enumerate() {
        let away = Vec2::new((i % 200) as f32 - 99.5, (i / 200) as f32 - 99.5).length();
        assert!(p[3] == 1.0 || away > 80.0, "{i}");
    }
}

#[test]
fn a_headlight_darkens_what_is_turned_away() {
    let mesh = level_set(40, |p| 0.7 - p.length());
    let options = RasterOptions { headlight: true, ..RasterOptions::default() };
    let picture = draw(&mesh, &front(2.0, 33), &options).unwrap();
    let row: Vec<f32> = (0..33).map(|x| picture.pixels[5 * (x + 33 * 16)]).filter(|v| *v > 0.0).collect();
    let middle = row.len() / 2;
    assert!((row[middle] - 0.5).abs() < 0.01 && row[0] < 0.3 && row[row.len() - 1] < 0.3, "{row:?}");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let camera = front(2.0, 8);
    let draw_with = |mesh: &Mesh, camera: &Camera, near: f32| {
        draw(mesh, camera, &RasterOptions { near, ..RasterOptions::default() })
    };
    assert!(draw_with(&square(1.0), &Camera { width: 0, ..camera.clone() }, 0.0).is_err());
    assert!(draw_with(&square(1.0), &Camera { width: u32::MAX, ..camera.clone() }, 0.0).is_err());
    assert!(draw_with(&square(1.0), &camera, f32::NAN).is_err());
    assert!(draw_with(&Mesh { triangles: vec![[0, 1, 4]], ..square(1.0) }, &camera, 0.0).is_err());
    let empty = draw_with(&Mesh::default(), &camera, 0.0).unwrap();
    assert!(empty.pixels.len() == 320 && empty.pixels.iter().all(|v| *v == 0.0));
    // A triangle in the camera's own place, and one seen edge-on.
    let odd =
        Mesh { positions: vec![Vec3::ZERO, camera.position(), Vec3::Y], triangles: vec![[0, 1, 2]], ..Mesh::default() };
    assert!(draw_with(&odd, &camera, 0.0).unwrap().pixels.iter().all(|v| *v == 0.0));
}

#[test]
fn points_lie_evenly_on_the_surface() {
    let mut mesh = Mesh { texture: Some(four_colours()), ..square(1.0) };
    let points = sample_surface(&mesh, 4000, 3).unwrap();
    assert_eq!(points, sample_surface(&mesh, 4000, 3).unwrap());
    assert_ne!(points, sample_surface(&mesh, 4000, 4).unwrap());
    let quarters = points.positions.iter().fold([0; 4], |mut quarters, p| {
        quarters[usize::from(p.x > 0.0) + 2 * usize::from(p.z > 0.0)] += 1;
        quarters
    });
    assert!(quarters.iter().all(|&n| (900..1100).contains(&n)), "{quarters:?}");
    assert!(points.normals.iter().all(|n| n.distance(Vec3::NEG_Y) < 1e-6));
    for (p, c) in points.positions.iter().zip(&points.colours) {
        let expected = texel(mesh.texture.as_ref().unwrap(), Vec2::new(0.5 + 0.5 * p.x, 0.5 - 0.5 * p.z));
        assert!(c.iter().zip(expected).all(|(c, e)| (c - e).abs() < 1e-4), "{p}");
    }
    // A triangle without area gets none, wherever it stands.
    mesh.triangles.insert(0, [0, 0, 1]);
    mesh.triangles.push([2, 2, 2]);
    assert_eq!(sample_surface(&mesh, 4000, 3).unwrap().positions, points.positions);
    let ball = level_set(32, |p| 0.7 - p.length());
    let points = sample_surface(&ball, 2000, 1).unwrap();
    let mean = points.positions.iter().sum::<Vec3>() / 2000.0;
    assert!(mean.length() < 0.02, "{mean}");
    assert!(points.positions.iter().zip(&points.normals).all(|(p, n)| n.dot(p.normalize()) > 0.99));
    assert!(sample_surface(&Mesh::default(), 5, 0).is_err());
    assert_eq!(sample_surface(&ball, 0, 0).unwrap(), SurfacePoints::default());
}
