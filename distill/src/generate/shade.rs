//! Light on a volume's surfaces. Where the field is now and then shown lit, or lit and white, a flat thing with a picture
//! painted on it no longer passes for a shape (Poole et al. 2023), and surfaces that face away from who looks at them are
//! asked not to be there: `Σ wᵢ max(0, nᵢ · d)²`, `n = −∇ log σ / |∇ log σ|` (Verbin et al. 2022).

use burn::tensor::Tensor;
use retort_fields::field::{Volume, tensor};
use retort_fields::ops::composite::composite;
use retort_fields::ops::march::Marched;
use retort_fields::ops::pointwise::trunc_exp;
use retort_fields::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::own_space::STOP;
use crate::prior::Look;

/// How far a light is from behind the camera: its place is the camera's, so many units away, moved by chance by about one.
const BEHIND: f32 = 1.25;

/// When the field is shown lit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shading {
    /// The share of the run before which it is shown in its own colours.
    pub from: f32,
    /// How often it is lit after that, 0 to 1.
    pub lit: f32,
    /// How often it is white when it is lit, 0 to 1.
    pub white: f32,
    /// The light that is everywhere, 0 to 1; the rest comes from one side.
    pub ambient: f32,
}

/// The light of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Light {
    /// Where it comes from, a unit vector.
    toward: [f32; 3],
    ambient: f32,
    white: bool,
}

impl Shading {
    /// Whether everything is within its range.
    pub fn is_sound(&self) -> bool {
        [self.from, self.lit, self.white, self.ambient].iter().all(|v| (0.0..=1.0).contains(v))
    }

    /// The light of a step of a run of this seed of which `share` is over, for who looks from `look`; none where the field
    /// is shown in its own colours.
    pub fn of(&self, share: f32, look: &Look, (seed, step): (u64, u32)) -> Option<Light> {
        let mut rng = Rng::at(seed, "light", u64::from(step));
        if share < self.from || rng.uniform() >= self.lit {
            return None;
        }
        let white = rng.uniform() < self.white;
        let by_chance = glam::vec3(rng.normal(), rng.normal(), rng.normal());
        let toward = BEHIND * look.camera.position().normalize_or_zero() + by_chance;
        let toward = toward.try_normalize().unwrap_or(glam::Vec3::Z).to_array();
        Some(Light { toward, ambient: self.ambient, white })
    }
}

/// What was drawn of samples.
pub struct Rendered {
    /// Premultiplied colour, alpha and distance, `[rays, 5]`.
    pub pixels: Tensor<2>,
    /// How much the surfaces face away, `[1]`, a mean over the rays that meet something; where it was asked for.
    pub orientation: Option<Tensor<1>>,
}

/// Draws samples, lit by `light`, and says how they are `oriented` where that is asked.
pub fn render(volume: &dyn Volume, samples: Marched, light: Option<&Light>, oriented: bool) -> Rendered {
    let device = volume.device();
    if samples.count() == 0 {
        let orientation = oriented.then(|| Tensor::zeros([1], &device));
        return Rendered { pixels: Tensor::zeros([samples.rays(), 5], &device), orientation };
    }
    let (position, direction) = (samples.position(&device), samples.direction(&device));
    let block1 = volume.block1(position.clone());
    let sigma = trunc_exp(block1.log_sigma);
    let normal = (light.is_some() || oriented).then(|| normals(volume, position));
    let mut rgb = volume.block2(block1.latent, direction.clone());
    if let (Some(light), Some(normal)) = (light, &normal) {
        rgb = lit(rgb, normal.clone(), light);
    }
    let away = normal.filter(|_| oriented).map(|normal| (normal * direction).sum_dim(1).clamp_min(0.0).square());
    let orientation = away.map(|away| {
        // Densities decide only where this is asked; else a field could do it by becoming thin.
        let pixels = composite(sigma.clone().detach(), away.repeat_dim(1, 3), samples.clone(), STOP);
        let met = pixels.clone().narrow(1, 3, 1).detach().greater_elem(0.0).float().sum().clamp_min(1.0);
        pixels.narrow(1, 0, 1).sum() / met
    });
    Rendered { pixels: composite(sigma, rgb, samples, STOP), orientation }
}

/// Colours `[n, 3]` of surfaces with these normals, in this light.
fn lit(rgb: Tensor<2>, normal: Tensor<2>, light: &Light) -> Tensor<2> {
    let toward = tensor(light.toward.to_vec(), [3, 1], &normal.device());
    let falls = normal.matmul(toward).clamp_min(0.0) * (1.0 - light.ambient) + light.ambient;
    if light.white { falls.repeat_dim(1, 3) } else { rgb * falls }
}

/// Corners of a tetrahedron: the fewest differences that give a gradient to second order.
const CORNERS: [[f32; 3]; 4] = [[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, 1.0, 1.0]];

/// Unit vectors out of what is dense at `position` `[n, 3]`, by differences over a step of a ray; zeros where it is even.
fn normals(volume: &dyn Volume, position: Tensor<2>) -> Tensor<2> {
    let (device, n) = (position.device(), position.dims()[0]);
    let corners = tensor(CORNERS.concat(), [4, 3], &device);
    let around = corners.clone().reshape([4, 1, 3]) * volume.march_spec().step + position.reshape([1, n, 3]);
    let log_sigma = volume.block1(around.reshape([4 * n, 3])).log_sigma.reshape([4, n]);
    let inward = log_sigma.transpose().matmul(corners);
    let length = (inward.clone().square().sum_dim(1) + 1e-12).sqrt();
    (inward / length).neg()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use retort_fields::field::{Scene, values};
    use retort_fields::registry::{AnyField, Kind};

    use super::super::blob::{Blob, Shape};
    use super::*;
    use crate::preset::Preset;

    /// A ball of fog in the middle.
    fn ball() -> AnyField {
        let preset = Preset::load("fast", Kind::Voxels, &[("field.resolution".into(), "24".into())]).expect("a preset");
        let mut field = preset.field.init(&Scene::default(), 1, &Device::flex()).expect("a field");
        let blob = Blob { shape: Shape::Bell, height: 6.0, width: 0.4 };
        blob.begin(&mut field, &preset.train.optimise, 1).expect("begun");
        field
    }

    #[test]
    fn normals_point_out_of_a_ball() {
        let (field, mut rng) = (ball(), Rng::new(1, "around"));
        let outward: Vec<glam::Vec3> =
            (0..100).map(|_| glam::vec3(rng.normal(), rng.normal(), rng.normal()).normalize()).collect();
        let at = tensor(outward.iter().flat_map(|way| (0.4 * way).to_array()).collect(), [100, 3], &Device::flex());
        let normals = values(normals(field.as_volume().expect("a volume"), at));
        let normals: Vec<_> = normals.chunks_exact(3).map(glam::Vec3::from_slice).collect();
        assert!(normals.iter().all(|n| (n.length() - 1.0).abs() < 1e-3));
        // The ball is fitted by a few steps: its grid is a little rough.
        let along = normals.iter().zip(&outward).map(|(n, out)| n.dot(*out)).sum::<f32>() / 100.0;
        assert!(along > 0.8, "{along}");
    }

    #[test]
    fn what_faces_the_light_is_brighter_and_what_faces_away_counts() {
        let field = ball();
        let (volume, device) = (field.as_volume().expect("a volume"), Device::flex());
        let draw = |light: Option<&Light>, from: f32| {
            let rays = ([0.0, from, 0.0], [0.0, -from.signum(), 0.0]);
            let samples = retort_fields::ops::march::march_on(
                &device,
                &rays.0,
                &rays.1,
                &[0.5],
                volume.occupancy(),
                &volume.march_spec(),
            );
            let drawn = render(volume, samples, light, true);
            (values(drawn.pixels), values(drawn.orientation.expect("asked for"))[0])
        };
        let light = Light { toward: [0.0, -1.0, 0.0], ambient: 0.1, white: true };
        let (front, back, own) = (draw(Some(&light), -3.0), draw(Some(&light), 3.0), draw(None, -3.0));
        assert!(front.0[3] > 0.9, "it is there: {:?}", front.0);
        assert!(front.0[0] > 0.5 * front.0[3] && front.0[0] > 2.0 * back.0[0], "{:?} {:?}", front.0, back.0);
        assert!((front.0[3] - own.0[3]).abs() < 1e-6, "light changes no density");
        // A ball's front faces who looks; half of a fog that one sees through does not.
        assert!(front.1 < 0.1, "{}", front.1);
        let thin = field.map(|t| t);
        let mut thin = thin;
        for param in thin.params_mut() {
            if param.name == "density" {
                *param.tensor = param.tensor.clone() - 5.0;
            }
        }
        let volume = thin.as_volume().expect("a volume");
        let samples = retort_fields::ops::march::march_on(
            &device,
            &[0.0, -3.0, 0.0],
            &[0.0, 1.0, 0.0],
            &[0.5],
            volume.occupancy(),
            &volume.march_spec(),
        );
        let through = values(render(volume, samples, None, true).orientation.expect("asked for"))[0];
        assert!(through > 0.02, "{through}");
    }

    #[test]
    fn light_comes_late_and_now_and_then() {
        let shading = Shading { from: 0.2, lit: 0.75, white: 0.5, ambient: 0.1 };
        let look = Look::around([0.0, 0.0], 3.0, 0.7, 32);
        assert!(shading.is_sound() && (0..50).all(|step| shading.of(0.1, &look, (1, step)).is_none()));
        let lights: Vec<Light> = (0..400).filter_map(|step| shading.of(0.5, &look, (1, step))).collect();
        let white = lights.iter().filter(|l| l.white).count() as f32 / lights.len() as f32;
        assert!((270..330).contains(&lights.len()) && (0.4..0.6).contains(&white), "{} {white}", lights.len());
        // From the camera's side more often than from the other.
        let front = lights.iter().filter(|l| l.toward[1] < 0.0).count();
        assert!(front > lights.len() * 3 / 4 && front < lights.len());
        assert!(!Shading { lit: 1.5, ..shading }.is_sound());
    }
}
