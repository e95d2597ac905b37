//! Pictures of a [`Scene`] as the prior sees them: RGBA, colours sRGB-encoded and premultiplied, over nothing.

use std::f32::consts::{FRAC_PI_2, TAU};

use glam::{Vec2, vec2};
use retort_fields::rng::Rng;
use retort_shaders::Camera;

use super::Scene;
use crate::prior::Look;

/// Side of the prior's pictures in pixels.
pub const SIDE: u32 = 32;
/// The cameras' field of view in radians.
pub const FIELD_OF_VIEW: f32 = 0.698;
/// The cameras' distance from the origin in scene units: the unit ball just fits.
pub const DISTANCE: f32 = 3.0;
/// The heights of cameras in radians.
pub const ELEVATIONS: [f32; 2] = [-0.15, 0.85];
/// Views of a ring, which the prior looks at together.
pub const RING: usize = 4;
/// Samples along each side of a pixel.
const SAMPLES: u32 = 3;

/// The camera at `azimuth` (0 in front, on the −Y side; a quarter turn later on +X) and `elevation`, both in radians.
pub fn camera(azimuth: f32, elevation: f32, side: u32) -> Camera {
    Look::around([azimuth, elevation], DISTANCE, FIELD_OF_VIEW, side).camera
}

/// Azimuth and elevation of a ring's views: a quarter turn apart at one height, drawn from `rng`.
pub fn ring(rng: &mut Rng) -> [[f32; 2]; RING] {
    let (first, elevation) = (TAU * rng.uniform(), rng.range(ELEVATIONS[0], ELEVATIONS[1]));
    std::array::from_fn(|i| [(first + FRAC_PI_2 * i as f32) % TAU, elevation])
}

/// A picture with distances: `[h·w, 5]`, premultiplied RGBA and the distance along the ray weighted by alpha, as fields
/// render them.
pub fn picture(scene: &Scene, camera: &Camera) -> Vec<f32> {
    let (width, height) = (camera.width, camera.height);
    let mut pixels = Vec::with_capacity((5 * width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            pixels.extend(pixel(scene, camera, vec2(x as f32, y as f32)));
        }
    }
    pixels
}

fn pixel(scene: &Scene, camera: &Camera, corner: Vec2) -> [f32; 5] {
    let mut sum = [0.0; 5];
    for sample in 0..SAMPLES * SAMPLES {
        let offset = (vec2((sample % SAMPLES) as f32, (sample / SAMPLES) as f32) + 0.5) / SAMPLES as f32;
        let ray = camera.ray(corner + offset);
        if let Some(seen) = scene.see(ray.origin, ray.direction) {
            let [r, g, b] = seen.rgb.to_array();
            [r, g, b, 1.0, seen.t].iter().zip(&mut sum).for_each(|(value, sum)| *sum += value);
        }
    }
    sum.map(|value| value / (SAMPLES * SAMPLES) as f32)
}
