//! The view of surfaces' directions, from the picture of distances: neighbouring points span the surface.

use glam::{Vec2, Vec3};
use retort_shaders::Camera;

/// A neighbour that is farther than this many times the other one's distance is on another surface.
const JUMP: f32 = 3.0;

/// The directions `[h * w]` of what is seen, length 1, world space; zero where there is nothing.
///
/// `depth` `[h * w]` is infinite there, and along the view axis or along the ray as `along_axis` says.
pub fn normals(depth: &[f32], along_axis: bool, camera: &Camera) -> Vec<Vec3> {
    let (width, height) = (camera.width as usize, camera.height as usize);
    let point = |(i, depth): (usize, &f32)| {
        let pixel = Vec2::new((i % width) as f32 + 0.5, (i / width) as f32 + 0.5);
        let ray = camera.ray(pixel);
        let along = if along_axis { depth / ray.direction.dot(camera.forward()).max(1e-3) } else { *depth };
        along.is_finite().then(|| ray.at(along))
    };
    let points: Vec<Option<Vec3>> = depth.iter().enumerate().map(point).collect();
    let normal = |i: usize| -> Option<Vec3> {
        let (x, y, here) = (i % width, i / width, points[i]?);
        let at = |there: bool, i: usize| if there { points[i] } else { None };
        let right = step(at(x > 0, i.wrapping_sub(1)), here, at(x + 1 < width, (i + 1).min(points.len() - 1)))?;
        let down = step(at(y > 0, i.wrapping_sub(width)), here, at(y + 1 < height, (i + width).min(points.len() - 1)))?;
        let normal = down.cross(right).normalize_or_zero();
        // A surface is seen from its front.
        Some(if normal.dot(here - camera.position()) > 0.0 { -normal } else { normal })
    };
    (0..points.len()).map(|i| normal(i).unwrap_or(Vec3::ZERO)).collect()
}

/// The way along a surface at `here` between its neighbours; over an edge, the side that is nearer counts.
fn step(before: Option<Vec3>, here: Vec3, after: Option<Vec3>) -> Option<Vec3> {
    match (before.map(|p| here - p), after.map(|p| p - here)) {
        (Some(a), Some(b)) if a.length() > JUMP * b.length() => Some(b),
        (Some(a), Some(b)) if b.length() > JUMP * a.length() => Some(a),
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// What a screen shows: x is red, y green, z blue, each from −1 (dark) to 1 (bright), over `background`; `[h * w * 4]`.
pub fn coloured(normals: &[Vec3], background: [f32; 3]) -> Vec<u8> {
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let colour = |n: &Vec3| {
        let [r, g, b] = if *n == Vec3::ZERO { background } else { (0.5 + 0.5 * *n).to_array() };
        [byte(r), byte(g), byte(b), 255]
    };
    normals.iter().flat_map(colour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_has_its_normal_everywhere() {
        let normal = Vec3::new(0.3, -0.2, 0.9).normalize_or_zero();
        let camera = Camera::look_at(Vec3::new(1.0, -2.0, 3.0), Vec3::ZERO, Vec3::Z, 0.6, 20, 14);
        for along_axis in [false, true] {
            let depth: Vec<f32> = (0..20 * 14)
                .map(|i| {
                    let ray = camera.ray(Vec2::new((i % 20) as f32 + 0.5, (i / 20) as f32 + 0.5));
                    let t = -normal.dot(ray.origin) / normal.dot(ray.direction);
                    if along_axis { t * ray.direction.dot(camera.forward()) } else { t }
                })
                .collect();
            let found = normals(&depth, along_axis, &camera);
            assert!(found.iter().all(|n| n.distance(normal) < 2e-2), "{:?}", found[0]);
            // The negative control: read the other way, it is no plane.
            let wrong = normals(&depth, !along_axis, &camera);
            assert!(wrong.iter().any(|n| n.distance(normal) > 3e-2));
        }
    }

    #[test]
    fn nothing_has_no_direction_and_edges_do_not_smear() {
        let camera = Camera::look_at(Vec3::Z * 4.0, Vec3::ZERO, Vec3::Y, 0.6, 12, 12);
        // The left half is nearer, the last row empty.
        let flat = |i: usize| {
            if i / 12 == 11 {
                f32::INFINITY
            } else if i % 12 < 6 {
                2.0
            } else {
                4.0
            }
        };
        let depth: Vec<f32> = (0..144).map(flat).collect();
        let found = normals(&depth, true, &camera);
        let rgba = coloured(&found, [0.0; 3]);
        for (i, n) in found.iter().enumerate() {
            let expected = if i / 12 == 11 { Vec3::ZERO } else { Vec3::Z };
            assert!(n.distance(expected) < 1e-3, "{i}: {n}");
            let blue = if i / 12 == 11 { 0 } else { 255 };
            assert_eq!(rgba[4 * i + 2], blue);
        }
    }
}
