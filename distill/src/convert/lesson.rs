//! What the teacher says of a batch of rays, and how far the student is from it.
//!
//! Most samples of a ray show nothing: of 28,000 that the light of Lego's hash grid reaches on 4096 rays, 10,000 have more
//! than half a percent of a pixel's colour; a set of Gaussians has ten times as many as show anything. They have to stay
//! empty, so they are not left out: of each run of them one is kept, drawn by chance, with the length of all. The optical
//! depth of the run is then right in the mean, whatever the student believes there. (On Lego, hash to `vm` in 500 steps: 35.87 dB
//! thinned by 4, 35.86 dB whole, a tenth less time. To ask along the same rays four times instead cost 1.4 dB.)

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use retort_fields::compose::Subject;
use retort_fields::field::{Filtered, Volume, tensor, values};
use retort_fields::ops::composite::{composite, cpu::weights};
use retort_fields::ops::march::{Samples, march};
use retort_fields::ops::pointwise::trunc_exp;
use retort_fields::parts::contraction::Contraction;
use retort_fields::render::volume;
use retort_fields::rng::Rng;

use super::adaptor::Adaptor;
use crate::active::weightiest;
use crate::gallery::Rays;
use crate::loss::{difference, weighted};
use crate::own_space::{STOP, fill, jitter};
use crate::preset::{ConvertConfig, Stage};

/// A sample with at least this share of its pixel's colour stands for itself.
const SHOWN: f32 = 5e-3;

/// What a teacher says of a batch of rays.
pub struct Lesson {
    /// Samples that its light reaches, of those of the student's grid.
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

/// Which rays a teacher is asked along, and how.
pub struct Asked<'a> {
    /// The rays, with its pixels where it is no volume.
    pub rays: &'a Rays,
    /// What it says of points where it is no volume.
    pub filtered: Option<&'a Filtered>,
    /// Where the shifts of samples and the choice among them begin.
    pub seed: u64,
    /// The step that the rays are of.
    pub step: u32,
    /// Samples that its light reaches with less than this are left out.
    pub least_light: f32,
    /// How many neighbouring samples that show nothing one of them stands for.
    pub thin: u32,
}

impl Lesson {
    /// What `teacher` says of the samples that the `student` has along the rays. Nothing where no sample is.
    pub fn of(teacher: &Subject, student: &dyn Volume, asked: &Asked<'_>) -> Option<Self> {
        let rays = asked.rays;
        let jitter = jitter(rays.len(), asked.seed, asked.step);
        let samples = march(&rays.origins, &rays.directions, &jitter, student.occupancy(), &student.march_spec(), None);
        let said = match teacher.as_volume() {
            Some(teacher) => of_volume(teacher, &samples, asked.least_light)?,
            None => of_primitives(teacher, asked.filtered?, samples, &rays.pixels)?,
        };
        let mut rng = Rng::at(asked.seed, "thin", u64::from(asked.step));
        let kept = chosen(&said, asked, &mut rng);
        Some(said.picked(kept, &student.device().without_autodiff()))
    }
}

/// What was said, on the host.
struct Said {
    samples: Arc<Samples>,
    /// `[n]`
    log_sigma: Vec<f32>,
    /// `[n, k]`, or empty.
    latent: Vec<f32>,
    /// `[n, 3]`
    rgb: Vec<f32>,
    /// `[n]`
    weight: Vec<f32>,
    /// `[rays, 5]`
    pixels: Vec<f32>,
}

impl Said {
    fn picked(self, kept: Chosen, device: &Device) -> Lesson {
        let rows = |source: &[f32], width: usize| -> Vec<f32> {
            kept.rows.iter().flat_map(|&row| source[row * width..][..width].iter().copied()).collect()
        };
        let n = kept.rows.len();
        let width = self.latent.len() / self.log_sigma.len().max(1);
        let rays = self.pixels.len() / 5;
        Lesson {
            log_sigma: tensor(rows(&self.log_sigma, 1), [n, 1], device),
            latent: (width > 0).then(|| tensor(rows(&self.latent, width), [n, width], device)),
            rgb: tensor(rows(&self.rgb, 3), [n, 3], device),
            samples: Arc::new(Samples {
                position: rows(&self.samples.position, 3),
                direction: rows(&self.samples.direction, 3),
                t: rows(&self.samples.t, 1),
                ray_start: kept.ray_start,
                dt: kept.dt,
            }),
            weight: tensor(kept.weight, [n, 1], device),
            pixels: tensor(self.pixels, [rays, 5], device),
        }
    }
}

/// Which samples are kept, and what each stands for.
#[derive(Default)]
struct Chosen {
    rows: Vec<usize>,
    /// `[n]`
    dt: Vec<f32>,
    /// `[n]`
    weight: Vec<f32>,
    /// `[rays + 1]`
    ray_start: Vec<u32>,
}

impl Chosen {
    /// Keeps one of `run`, which is emptied, for all.
    fn keep_one(&mut self, said: &Said, run: &mut Vec<usize>, rng: &mut Rng) {
        if !run.is_empty() {
            let sum = |of: &[f32]| run.iter().map(|&row| of[row]).sum();
            self.rows.push(run[rng.below(run.len())]);
            self.dt.push(sum(&said.samples.dt));
            self.weight.push(sum(&said.weight));
            run.clear();
        }
    }
}

fn chosen(said: &Said, asked: &Asked<'_>, rng: &mut Rng) -> Chosen {
    let mut kept = Chosen::default();
    let mut run = Vec::new();
    for ends in said.samples.ray_start.windows(2) {
        kept.ray_start.push(kept.rows.len() as u32);
        let mut light = 1.0;
        for row in ends[0] as usize..ends[1] as usize {
            let shows = said.weight[row] >= SHOWN;
            if shows {
                kept.keep_one(said, &mut run, rng);
            }
            run.push(row);
            if shows || run.len() >= asked.thin as usize {
                kept.keep_one(said, &mut run, rng);
            }
            light -= said.weight[row];
            if light < asked.least_light {
                break;
            }
        }
        kept.keep_one(said, &mut run, rng);
    }
    kept.ray_start.push(kept.rows.len() as u32);
    kept
}

/// What a volume says of `samples`, up to where less than `least_light` of a ray's light is left.
fn of_volume(teacher: &dyn Volume, samples: &Samples, least_light: f32) -> Option<Said> {
    let seen = volume::see(teacher, samples, least_light.max(STOP))?;
    let sigma = values(seen.sigma.clone());
    let mut weight = vec![0.0; sigma.len()];
    weights(&seen.samples.ray_start, &sigma, &seen.samples.dt, STOP, &mut weight);
    Some(Said {
        pixels: values(composite(seen.sigma, seen.rgb.clone(), &seen.samples, STOP)),
        log_sigma: values(seen.log_sigma),
        latent: teacher.latent_dim().map_or_else(Vec::new, |_| values(seen.latent)),
        rgb: values(seen.rgb),
        weight,
        samples: seen.samples,
    })
}

/// What primitives say of `samples`, with the `pixels` `[rays, 5]` of their own pictures.
fn of_primitives(teacher: &Subject, filtered: &Filtered, samples: Samples, pixels: &[f32]) -> Option<Said> {
    let n = samples.t.len();
    if n == 0 {
        return None;
    }
    let said = filtered.sample(&in_world(&samples.position, teacher.scene().warp()), &samples.direction);
    let sigma: Vec<f32> = said.log_sigma.iter().map(|l| l.exp()).collect();
    let mut weight = vec![0.0; n];
    weights(&samples.ray_start, &sigma, &samples.dt, STOP, &mut weight);
    Some(Said {
        // Emptiness is as low as a student can say it; the clamp of the loss brings it into range.
        log_sigma: said.log_sigma.into_iter().map(|l| l.max(-30.0)).collect(),
        latent: Vec::new(),
        rgb: said.rgb,
        weight,
        pixels: pixels.to_vec(),
        samples: Arc::new(samples),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rays of eight samples: a surface after five samples of haze, and haze alone.
    fn said() -> Said {
        let weight = vec![1e-3, 2e-3, 0.0, 1e-3, 0.0, 0.6, 0.396, 0.0, 0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 0.0];
        let n = weight.len();
        let dt: Vec<f32> = (0..n).map(|i| 0.1 + 0.01 * i as f32).collect();
        let samples = Samples {
            ray_start: vec![0, 8, 16],
            position: (0..3 * n).map(|i| i as f32).collect(),
            direction: vec![0.0; 3 * n],
            t: (0..n).map(|i| i as f32).collect(),
            dt,
        };
        Said {
            samples: Arc::new(samples),
            log_sigma: vec![0.0; n],
            latent: Vec::new(),
            rgb: vec![0.0; 3 * n],
            weight,
            pixels: vec![0.0; 10],
        }
    }

    fn thinned(thin: u32, seed: u64) -> Chosen {
        let rays = Rays::default();
        let asked = Asked { rays: &rays, filtered: None, seed, step: 0, least_light: 1e-3, thin };
        chosen(&said(), &asked, &mut Rng::new(seed, "thin"))
    }

    #[test]
    fn what_shows_stays_and_one_of_each_run_stands_for_the_rest() {
        let all = thinned(1, 3);
        // Behind the surface less than a thousandth of the light is left.
        assert_eq!(all.rows, (0..7).chain(8..16).collect::<Vec<_>>());
        assert_eq!((&all.dt[..7], &all.weight[..7]), (&said().samples.dt[..7], &said().weight[..7]));
        for seed in 0..20 {
            let kept = thinned(4, seed);
            assert_eq!(kept.ray_start, [0, 4, 6]);
            assert!(kept.rows[0] < 4 && kept.rows[1] == 4 && kept.rows[2..4] == [5, 6], "{:?}", kept.rows);
            let sum = |of: &[f32]| of.iter().sum::<f32>();
            assert!((sum(&kept.dt) - sum(&all.dt)).abs() < 1e-5, "no stretch of a ray is lost");
            assert!((sum(&kept.weight) - sum(&all.weight)).abs() < 1e-6);
        }
    }

    /// Whatever the student believes of the haze, its optical depth is right in the mean.
    #[test]
    fn the_choice_is_fair() {
        let sigma = |row: usize| 1.0 + (row * row % 7) as f32;
        let depth = |kept: &Chosen| kept.rows.iter().zip(&kept.dt).map(|(row, dt)| sigma(*row) * dt).sum::<f32>();
        let exact = depth(&thinned(1, 0));
        let many = 4000;
        let mean = (0..many).map(|seed| depth(&thinned(4, seed))).sum::<f32>() / many as f32;
        // Of a run, one is drawn evenly but counts with the run's mean length: lengths differ by a few percent here.
        assert!((mean / exact - 1.0).abs() < 0.02, "{mean} for {exact}");
        assert!((depth(&thinned(4, 1)) / exact - 1.0).abs() > 0.02, "a single choice is not the mean");
    }
}
