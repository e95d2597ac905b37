//! What the teacher says of a batch of rays, and how far the student is from it.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use retort_fields::compose::Subject;
use retort_fields::field::{Volume, tensor, values};
use retort_fields::ops::composite::{composite, cpu::weights};
use retort_fields::ops::march::Samples;
use retort_fields::ops::pointwise::trunc_exp;
use retort_fields::parts::contraction::Contraction;
use retort_fields::render::volume;

use super::adaptor::Adaptor;
use crate::active::weightiest;
use crate::loss::{difference, weighted};
use crate::preset::{ConvertConfig, Stage};
use crate::train::fill;

/// Light left where a ray ends.
const STOP: f32 = 1e-4;

/// What the teacher says of a batch of rays.
pub struct Lesson {
    /// The samples that its light reaches.
    samples: Arc<Samples>,
    /// `[n, 1]`
    log_sigma: Tensor<2>,
    /// `[n, k]`, where the teacher has one that can be taught.
    latent: Option<Tensor<2>>,
    /// `[n, 3]`
    rgb: Tensor<2>,
    /// Share of the pixel's colour that each sample has, `[n, 1]`.
    weight: Tensor<2>,
    /// `[rays, 5]`.
    pub pixels: Tensor<2>,
}

/// What a volume says of the student's `samples`, up to where less than `least_light` of a ray's light is left. Nothing
/// where no sample is.
pub fn lesson_of_volume(teacher: &dyn Volume, samples: &Samples, least_light: f32) -> Option<Lesson> {
    let seen = volume::see(teacher, samples, least_light.max(STOP))?;
    let n = seen.samples.t.len();
    let mut weight = vec![0.0; n];
    weights(&seen.samples.ray_start, &values(seen.sigma.clone()), &seen.samples.dt, STOP, &mut weight);
    Some(Lesson {
        pixels: composite(seen.sigma, seen.rgb.clone(), &seen.samples, STOP),
        log_sigma: seen.log_sigma,
        latent: teacher.latent_dim().map(|_| seen.latent),
        rgb: seen.rgb,
        weight: tensor(weight, [n, 1], &teacher.device()),
        samples: seen.samples,
    })
}

/// What primitives say of the student's `samples`, with the `pixels` `[rays, 5]` of their own pictures. Nothing where no
/// sample is.
pub fn lesson_of_primitives(
    teacher: &Subject,
    student: &dyn Volume,
    samples: Samples,
    pixels: &[f32],
) -> Option<Lesson> {
    let n = samples.t.len();
    if n == 0 {
        return None;
    }
    let primitives = teacher.as_primitives()?;
    let world = in_world(&samples.position, teacher.scene().warp());
    let said = primitives.sample(&world, &samples.direction);
    let sigma: Vec<f32> = said.log_sigma.iter().map(|l| l.exp()).collect();
    let mut weight = vec![0.0; n];
    weights(&samples.ray_start, &sigma, &samples.dt, STOP, &mut weight);
    // Emptiness is as low as a student can say it; the clamp of the loss brings it into range.
    let log_sigma = said.log_sigma.into_iter().map(|l| l.max(-30.0)).collect();
    let device = student.device().without_autodiff();
    let rays = pixels.len() / 5;
    Some(Lesson {
        samples: Arc::new(samples),
        log_sigma: tensor(log_sigma, [n, 1], &device),
        latent: None,
        rgb: tensor(said.rgb, [n, 3], &device),
        weight: tensor(weight, [n, 1], &device),
        pixels: tensor(pixels.to_vec(), [rays, 5], &device),
    })
}

/// Warped positions `[n, 3]` as they are in the world.
pub fn in_world(positions: &[f32], warp: Contraction) -> Vec<f32> {
    if warp == Contraction::Identity {
        return positions.to_vec();
    }
    positions.chunks_exact(3).flat_map(|p| warp.inverse(glam::Vec3::from_slice(p)).to_array()).collect()
}

/// All differences that the stage weighs, in one number, and the student's colours over the backdrop `[rays, 3]` where
/// the stage looks at pixels. `adaptor` leads the student's latents to the teacher's where their widths differ.
pub fn volume_loss(
    student: &dyn Volume,
    lesson: &Lesson,
    stage: &Stage,
    config: &ConvertConfig,
    backdrop: &[f32],
    adaptor: Option<&Tensor<2>>,
) -> (Tensor<1>, Option<Tensor<2>>) {
    let device = student.device();
    let n = lesson.samples.t.len();
    let latent = student.block1(tensor(lesson.samples.position.clone(), [n, 3], &device));
    let kept = config.active.points.then(|| points_that_matter(lesson, &latent.log_sigma, &device));
    // Points that count, and the teacher's word on them.
    let own = |t: &Tensor<2>| kept.iter().fold(t.clone(), |t, kept| t.select(0, kept.clone()));
    let on = |t: &Tensor<2>| own(&Tensor::<2>::from_inner(t.clone()));
    let mut loss = Tensor::<1>::zeros([1], &device);
    if stage.sigma > 0.0 {
        let [low, high] = student.log_sigma_range();
        let target = on(&lesson.log_sigma).clamp(low, high);
        loss = loss + difference(own(&latent.log_sigma), target, config.loss) * stage.sigma;
    }
    if let Some(target) = lesson.latent.as_ref().filter(|_| stage.latent > 0.0 && student.latent_dim().is_some()) {
        let said = own(&latent.latent);
        let said = if let Some(map) = adaptor { Adaptor::apply(map, said) } else { said };
        loss = loss + difference(said, on(target), config.loss) * stage.latent;
    }
    if stage.rgb == 0.0 && stage.pixel == 0.0 && stage.alpha == 0.0 {
        return (loss, None);
    }
    let directions = tensor(lesson.samples.direction.clone(), [n, 3], &device);
    let rgb = student.block2(latent.latent, directions);
    if stage.rgb > 0.0 {
        loss = loss + weighted(own(&rgb), on(&lesson.rgb), on(&lesson.weight), config.loss) * stage.rgb;
    }
    if stage.pixel == 0.0 && stage.alpha == 0.0 {
        return (loss, None);
    }
    let pixels = composite(trunc_exp(latent.log_sigma), rgb, &lesson.samples, STOP);
    let target = Tensor::<2>::from_inner(lesson.pixels.clone());
    let rays = target.dims()[0];
    let alpha = |t: &Tensor<2>| t.clone().slice([0..rays, 3..4]);
    if stage.alpha > 0.0 {
        loss = loss + difference(alpha(&pixels), alpha(&target), config.loss) * stage.alpha;
    }
    let picture = fill(pixels, backdrop);
    // Harmonics of Gaussians go above 1, and no volume can follow them there: pictures are shown clipped.
    let wanted = fill(target, backdrop).clamp(0.0, 1.0);
    loss = loss + difference(picture.clone(), wanted, config.loss) * stage.pixel;
    (loss, Some(picture.inner()))
}

/// The samples that weigh most to teacher or student; see [`crate::active`].
fn points_that_matter(lesson: &Lesson, log_sigma: &Tensor<2>, device: &Device) -> Tensor<1, Int> {
    let samples = &lesson.samples;
    let sigma: Vec<f32> = values(log_sigma.clone().inner()).iter().map(|l| l.exp()).collect();
    let mut weight = vec![0.0; sigma.len()];
    weights(&samples.ray_start, &sigma, &samples.dt, STOP, &mut weight);
    let kept = weightiest(&samples.ray_start, &values(lesson.weight.clone()), &weight);
    Tensor::from_ints(kept.as_slice(), device)
}
