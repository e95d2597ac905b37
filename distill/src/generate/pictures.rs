//! The field's pictures as a diffusion model looks at them: drawn through rays by chance, over a background where the model
//! sees no alpha, and resized to the model's own side.

use burn::tensor::{Tensor, TensorData};
use retort_fields::error::{Error, Result};
use retort_fields::field::{RenderOptions, tensor, values};
use retort_fields::ops::march::march_on;
use retort_fields::registry::AnyField;
use retort_fields::render::volume;
use retort_fields::rng::Rng;
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

use super::shade::{self, Light};
use crate::own_space::{STOP, worth_a_gradient};
use crate::prior::Look;
use crate::task::Sight;

/// What is behind the field for a model that sees no alpha.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// Another colour each step, so that the field cannot make its own of it (Poole et al. 2023).
    #[default]
    Random,
    /// White.
    White,
    /// Black.
    Black,
}

impl Background {
    /// Its colour at a step of a run of this seed.
    pub fn of(self, (seed, step): (u64, u32)) -> [f32; 3] {
        let mut rng = Rng::at(seed, "background", u64::from(step));
        match self {
            Self::Random => [(); 3].map(|()| rng.uniform()),
            Self::White => [1.0; 3],
            Self::Black => [0.0; 3],
        }
    }
}

/// The most pixels along a side that primitives are drawn finer for.
const FINEST: u32 = 512;

/// What was drawn of a field, on its gradient graph.
pub struct Drawn {
    /// `[n, 4, side, side]`, premultiplied RGBA.
    pub pictures: Tensor<4>,
    /// How much its surfaces face away, `[1]`; none of primitives, which have no surfaces, and where it was not asked for.
    pub orientation: Option<Tensor<1>>,
}

/// The field's pictures of the views. Primitives are drawn `finer` times as large and pooled; volumes in this light, and
/// `oriented` asks how their surfaces stand.
///
/// # Errors
/// When the field is neither a volume nor primitives.
pub fn draw(
    field: &AnyField,
    looks: &[Look],
    (side, finer): (u32, u32),
    (seed, step): (u64, u32),
    (light, oriented): (Option<&Light>, bool),
) -> Result<Drawn> {
    let mut orientation = None;
    let pixels = if let Some(volume) = field.as_volume() {
        let (origins, directions, jitter) = rays(looks, side, seed, step);
        let (device, spec) = (volume.device(), volume.march_spec());
        let samples = march_on(&device, &origins, &directions, &jitter, volume.occupancy(), &spec);
        let samples = if device.is_autodiff() { worth_a_gradient(field, samples).0 } else { samples };
        if light.is_none() && !oriented {
            volume::render_samples(volume, samples, STOP)
        } else {
            let rendered = shade::render(volume, samples, light, oriented);
            orientation = rendered.orientation;
            rendered.pixels
        }
    } else if field.as_primitives().is_some() {
        let finer = finer.min(FINEST / side).max(1);
        Tensor::cat(looks.iter().map(|look| drawn_finer(field, look, side, finer)).collect(), 0)
    } else {
        return Err(Error::new("a field that is neither a volume nor primitives"));
    };
    let (n, side) = (looks.len(), side as usize);
    let pictures = pixels.narrow(1, 0, 4).reshape([n, side, side, 4]).permute([0, 3, 1, 2]);
    Ok(Drawn { pictures, orientation })
}

/// Premultiplied RGBA over a colour: RGB.
pub fn over(pictures: Tensor<4>, colour: [f32; 3]) -> Tensor<4> {
    let behind = Tensor::from_data(TensorData::new(colour.to_vec(), [1, 3, 1, 1]), &pictures.device());
    pictures.clone().narrow(1, 0, 3) + (pictures.narrow(1, 3, 1).neg() + 1.0) * behind
}

/// Square pictures at another side, bilinear between the middles of pixels. As two products, because those have a gradient
/// on every device.
pub fn resized(pictures: Tensor<4>, side: usize) -> Tensor<4> {
    let [n, c, from, _] = pictures.dims();
    if from == side {
        return pictures;
    }
    let mut weights = vec![0.0; side * from];
    for (to, row) in weights.chunks_exact_mut(from).enumerate() {
        let at = ((to as f32 + 0.5) * from as f32 / side as f32 - 0.5).clamp(0.0, (from - 1) as f32);
        let low = (at as usize).min(from - 1);
        row[low] += 1.0 - at.fract();
        row[(low + 1).min(from - 1)] += at.fract();
    }
    let weights = tensor(weights, [side, from], &pictures.device());
    let wide = pictures.reshape([n * c * from, from]).matmul(weights.clone().transpose());
    let tall = wide.reshape([n * c, from, side]).swap_dims(1, 2).reshape([n * c * side, from]);
    let tall = tall.matmul(weights.transpose());
    tall.reshape([n, c, side, side]).swap_dims(2, 3)
}

/// Rays of the views, each through a place by chance within its pixel, so that edges become as soft as the model's own
/// pictures: origins and directions `[n·side², 3]`, and the shift of each ray's samples.
fn rays(looks: &[Look], side: u32, seed: u64, step: u32) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut rng = Rng::at(seed, "rays", u64::from(step));
    let n = looks.len() * (side * side) as usize;
    let (mut origins, mut directions) = (Vec::with_capacity(3 * n), Vec::with_capacity(3 * n));
    for look in looks {
        let camera = look.camera.resized(side, side);
        for pixel in 0..side * side {
            let corner = glam::vec2((pixel % side) as f32, (pixel / side) as f32);
            let ray = camera.ray(corner + glam::vec2(rng.uniform(), rng.uniform()));
            origins.extend(ray.origin.to_array());
            directions.extend(ray.direction.to_array());
        }
    }
    (origins, directions, (0..n).map(|_| rng.uniform()).collect())
}

/// Which pixels' rays meet a box: 1 or 0, row-major.
pub fn shadow(part: &Aabb, look: &Look, side: u32) -> Vec<f32> {
    let camera = look.camera.resized(side, side);
    let one = |pixel: u32| {
        let ray = camera.ray(glam::vec2((pixel % side) as f32, (pixel / side) as f32) + 0.5);
        let (a, b) = ((part.min - ray.origin) / ray.direction, (part.max - ray.origin) / ray.direction);
        let (enter, leave) = (a.min(b).max_element(), a.max(b).min_element());
        f32::from(u8::from(leave > enter.max(0.0)))
    };
    (0..side * side).map(one).collect()
}

/// The field's picture, each pixel the mean of `finer × finer` rays: `[side², 5]`.
fn drawn_finer(field: &AnyField, look: &Look, side: u32, finer: u32) -> Tensor<2> {
    let camera = look.camera.resized(side * finer, side * finer);
    pooled(field.render(&camera, &RenderOptions::default()).pixels, side as usize, finer as usize)
}

/// The means of `finer × finer` pixels of a picture `[side²·finer², 5]`: `[side², 5]`.
fn pooled(pixels: Tensor<2>, side: usize, finer: usize) -> Tensor<2> {
    if finer == 1 {
        return pixels;
    }
    let blocks = pixels.reshape([side, finer, side, finer * 5]);
    let rows: Tensor<3> = blocks.mean_dim(1).reshape([side * side, finer, 5]);
    rows.mean_dim(1).reshape([side * side, 5])
}

/// Pictures of a field as the prior's loss sees them but without chance: `[n, side², 5]` row-major, premultiplied RGBA and
/// the distance, each pixel the mean of `finer × finer` rays.
pub fn photograph(field: &AnyField, looks: &[Look], side: u32, finer: u32) -> Vec<Vec<f32>> {
    looks.iter().map(|look| values(drawn_finer(field, look, side, finer))).collect()
}

/// Views `[n, c, side, side]`, 0 to 1, side by side: their first three channels, over black.
pub fn sight(name: &'static str, views: Tensor<4>) -> Sight {
    let [n, c, height, width] = views.dims();
    let all = values(views.clamp(0.0, 1.0));
    let at = |view: usize, channel: usize, pixel: usize| all[(view * c + channel) * height * width + pixel];
    let mut rgba = Vec::with_capacity(4 * n * height * width);
    for (y, view) in (0..height).flat_map(|y| (0..n).map(move |view| (y, view))) {
        for x in 0..width {
            let colour = [0, 1, 2].map(|channel| at(view, channel.min(c - 1), y * width + x));
            rgba.extend(colour.map(|value| (255.0 * value).round() as u8));
            rgba.push(255);
        }
    }
    Sight { name, size: [n * width, height], rgba }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_ramp_stays_a_ramp_at_any_side() {
        let device = Device::flex();
        let ramp: Vec<f32> = (0..64).map(|i| (i % 8) as f32 + 10.0 * (i / 8) as f32).collect();
        let ramp = Tensor::from_data(TensorData::new(ramp, [1, 1, 8, 8]), &device);
        let large = resized(ramp.clone(), 16);
        assert_eq!(large.dims(), [1, 1, 16, 16]);
        let large = values(large);
        // The middle of pixel 5 of 16 is at 2.75 of 8, whose pixel 2 has its middle at 2.5.
        assert!((large[4 * 16 + 5] - (2.25 + 10.0 * 1.75)).abs() < 1e-4, "{}", large[4 * 16 + 5]);
        assert!((large[0] - 0.0).abs() < 1e-5 && (large[255] - 77.0).abs() < 1e-4);
        assert_eq!(values(resized(ramp.clone(), 8)), values(ramp));
    }

    #[test]
    fn views_stand_side_by_side() {
        let device = Device::flex();
        let rows: Vec<f32> = (0..2 * 4 * 4).map(|i| if i < 16 { 0.0 } else { 2.0 }).collect();
        let sight = sight("two", Tensor::from_data(TensorData::new(rows, [2, 4, 2, 2]), &device));
        assert_eq!(sight.size, [4, 2]);
        assert_eq!(sight.rgba[..16], [0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn a_background_shows_where_the_field_is_not() {
        let device = Device::flex();
        let half = Tensor::from_data(TensorData::new(vec![0.5_f32, 0.0, 0.0, 0.5], [1, 4, 1, 1]), &device);
        assert_eq!(values(over(half, [0.0, 1.0, 0.5])), [0.5, 0.5, 0.25]);
        assert_ne!(Background::Random.of((0, 1)), Background::Random.of((0, 2)));
        assert_eq!(Background::Random.of((0, 1)), Background::Random.of((0, 1)));
    }
}
