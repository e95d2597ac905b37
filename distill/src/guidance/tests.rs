//! Every loss on a prior that is known in closed form: where it leads, and what spread it leaves.

use burn::tensor::{Device, Tensor, TensorData};
use retort_fields::field::values;
use retort_fields::rng::Rng;

use super::{Loss, Scene, Settings, Source, Weight};
use crate::prior::toy::Normal;
use crate::prior::{Look, Prior};
use crate::schedule::Schedule::Constant;

const MEAN: f32 = 2.0;
const DEVIATION: f32 = 1.5;
/// Where the noise is: α² = 0.79.
const TIME: f32 = 0.3;

fn settings(loss: Loss) -> Settings {
    Settings {
        loss,
        scale: Constant(1.0),
        rescale: Constant(0.0),
        perp_neg: false,
        weight: Weight::Uniform,
        t_min: Constant(TIME),
        t_max: Constant(TIME),
        clip: Constant(0.0),
        eta: Constant(0.0),
        lambda: Constant(0.0),
        rank: 0,
        rate: Constant(1.0),
        lessons: 1,
    }
}

/// `n` particles of one value each, far from where they should be.
struct Run {
    prior: Normal,
    settings: Settings,
    looks: Vec<Look>,
    z: Vec<f32>,
    source: Option<(Vec<f32>, Option<f32>)>,
}

impl Run {
    fn new(settings: Settings, n: usize) -> Self {
        let mut prior = Normal::new(DEVIATION, 0.0);
        prior.read(&MEAN.to_string()).expect("a number");
        let mut rng = Rng::new(9, "particles");
        let z = (0..n).map(|_| -1.0 + 3.0 * rng.normal()).collect();
        let looks = prior.looks(n, &mut rng);
        Self { prior, settings, looks, z, source: None }
    }

    /// All from one place.
    fn seen_from_one_side(mut self) -> Self {
        let first = self.looks[0].clone();
        self.looks.fill(first);
        self
    }

    fn tensor(&self, z: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(z.to_vec(), [self.looks.len(), 1, 1, 1]), &Device::flex())
    }

    fn gradient(&self, guidance: &mut dyn super::Guidance, step: u32, prompts: (usize, usize)) -> Vec<f32> {
        let source = self.source.as_ref().map(|(z, mask)| Source {
            latents: self.tensor(z),
            prompt: crate::prior::Prompt(prompts.1),
            mask: mask.map(|m| Tensor::full([self.looks.len(), 1, 1, 1], m, &Device::flex())),
        });
        let scene = Scene {
            prior: &self.prior,
            latents: self.tensor(&self.z),
            looks: &self.looks,
            prompt: crate::prior::Prompt(prompts.0),
            source,
            share: 0.0,
            step,
            seed: 4,
        };
        values(guidance.guide(&scene, &self.settings).expect("guided").gradient)
    }

    /// Goes down to where it stays; the mean and the variance of the last hundred steps.
    fn end(&mut self) -> (f32, f32) {
        let mut guidance = self.settings.loss.start();
        let (steps, tail) = (1200, 300);
        let (mut mean, mut variance) = (0.0, 0.0);
        for step in 0..steps {
            let rate = if step < steps / 2 { 0.2 } else { 0.03 };
            let gradient = self.gradient(guidance.as_mut(), step, (0, 1));
            self.z.iter_mut().zip(gradient).for_each(|(z, g)| *z -= rate * g);
            if step >= steps - tail {
                let n = self.z.len() as f32;
                let m = self.z.iter().sum::<f32>() / n;
                mean += m / tail as f32;
                variance += self.z.iter().map(|z| (z - m).powi(2)).sum::<f32>() / n / tail as f32;
            }
        }
        (mean, variance)
    }
}

#[test]
fn sds_seeks_the_mode() {
    let (mean, variance) = Run::new(settings(Loss::Sds), 64).end();
    assert!((mean - MEAN).abs() < 0.05 && variance < 0.1, "{mean} {variance}");
    // Guidance leads as far beyond as it says: u + s (c − u).
    let guided = Settings { scale: Constant(2.5), ..settings(Loss::Sds) };
    let (mean, variance) = Run::new(guided, 64).end();
    assert!((mean - 2.5 * MEAN).abs() < 0.1 && variance < 0.1, "{mean} {variance}");
}

#[test]
fn vsd_matches_the_distribution_with_many_particles() {
    let run = Run::new(settings(Loss::Vsd), 256);
    let (mean, variance) = run.seen_from_one_side().end();
    assert!((mean - MEAN).abs() < 0.1 && (variance / DEVIATION.powi(2) - 1.0).abs() < 0.1, "{mean} {variance}");
    // A single particle a camera is all that the camera ever shows: the mode again.
    let (mean, variance) = Run::new(settings(Loss::Vsd), 64).end();
    assert!((mean - MEAN).abs() < 0.05 && variance < 0.1, "{mean} {variance}");
}

#[test]
fn esd_leaves_the_spread_that_its_entropy_is_worth() {
    let noise = Normal::new(DEVIATION, 0.0).noise;
    let t = noise.step_at(TIME);
    let (a, s) = (noise.alpha_bar(t), noise.sigma(t).powi(2));
    for lambda in [0.0_f32, 0.5, 0.75, 1.0] {
        // λ (z − m) / (α² v + σ²) = (z − m) / (α² s² + σ²) holds the views in their places.
        let expected = ((lambda * (DEVIATION.powi(2) * a + s) - s) / a).max(0.0);
        let (mean, variance) = Run::new(Settings { lambda: Constant(lambda), ..settings(Loss::Esd) }, 256).end();
        assert!((mean - MEAN).abs() < 0.1, "λ {lambda}: mean {mean}");
        assert!((variance - expected).abs() < 0.1 * DEVIATION.powi(2), "λ {lambda}: {variance}, not {expected}");
    }
}

#[test]
fn asd_seeks_the_mode_by_a_shift_of_the_noise() {
    let (mean, variance) = Run::new(
        Settings { eta: Constant(0.5), t_min: Constant(0.0), t_max: Constant(0.9), ..settings(Loss::Asd) },
        64,
    )
    .end();
    assert!((mean - MEAN).abs() < 0.3 && variance < DEVIATION.powi(2), "{mean} {variance}");
    // Without a shift there is nothing to learn from.
    let mut still = Run::new(settings(Loss::Asd), 8);
    assert!(still.gradient(Loss::Asd.start().as_mut(), 0, (0, 0)).iter().all(|g| g.abs() < 1e-6));
    let before = still.z.clone();
    still.end();
    assert_eq!(before, still.z);
}

#[test]
fn mvsds_is_sds_by_reconstruction() {
    let by_noise = Settings { weight: Weight::Recon, ..settings(Loss::Sds) };
    let run = |settings: Settings| {
        let run = Run::new(settings.clone(), 16);
        run.gradient(settings.loss.start().as_mut(), 3, (0, 0))
    };
    let (noise, picture) = (run(by_noise), run(settings(Loss::Mvsds)));
    assert!(noise.iter().zip(&picture).all(|(a, b)| (a - b).abs() < 1e-4));
    // The negative control: another weight is another gradient.
    let other = run(settings(Loss::Sds));
    assert!(other.iter().zip(&picture).any(|(a, b)| (a - b).abs() > 1e-2));
    let (mean, variance) = Run::new(settings(Loss::Mvsds), 64).end();
    assert!((mean - MEAN).abs() < 0.1 && variance < 0.2, "{mean} {variance}");
}

#[test]
fn dds_moves_by_what_the_prompts_differ_in() {
    for (mask, moves) in [(None, 1.0), (Some(1.0), 1.0), (Some(0.0), 0.0)] {
        let mut run = Run::new(settings(Loss::Dds), 16);
        run.prior.read("-1").expect("a number");
        let before = run.z.clone();
        run.source = Some((before.clone(), mask));
        run.end();
        for (z, was) in run.z.iter().zip(&before) {
            assert!((z - was - moves * (MEAN + 1.0)).abs() < 0.02, "{z} was {was}");
        }
    }
    let run = Run::new(settings(Loss::Dds), 2);
    let scene = Scene {
        prior: &run.prior,
        latents: run.tensor(&run.z),
        looks: &run.looks,
        prompt: crate::prior::Prompt(0),
        source: None,
        share: 0.0,
        step: 0,
        seed: 0,
    };
    assert!(Loss::Dds.start().guide(&scene, &run.settings).is_err(), "there is nothing to edit");
}

/// The mean of sds's gradient is the slope of the divergence between the noisy scene and the noisy prior, by finite
/// differences of its closed form: `KL = α² (z − μ)² / 2 (α² s² + σ²) + const`, times `w σ / α`.
#[test]
fn sds_goes_down_the_divergence() {
    let mut run = Run::new(settings(Loss::Sds), 4096);
    run.z.fill(0.7);
    let noise = run.prior.noise.clone();
    let t = noise.step_at(TIME);
    let (alpha, sigma) = (noise.alpha(t), noise.sigma(t));
    let divergence = |z: f32| (alpha * (z - MEAN)).powi(2) / (2.0 * ((alpha * DEVIATION).powi(2) + sigma * sigma));
    let slope = (divergence(0.701) - divergence(0.699)) / 0.002 * sigma / alpha;
    let gradient = run.gradient(Loss::Sds.start().as_mut(), 0, (0, 0));
    let mean = gradient.iter().sum::<f32>() / gradient.len() as f32;
    assert!((mean - slope).abs() < 0.03 * slope.abs(), "{mean}, not {slope}");
}

#[test]
fn a_limit_holds() {
    let run = Run::new(Settings { clip: Constant(0.1), ..settings(Loss::Sds) }, 16);
    let gradient = run.gradient(Loss::Sds.start().as_mut(), 0, (0, 0));
    assert!(gradient.iter().all(|g| g.abs() <= 0.1) && gradient.iter().any(|g| g.abs() == 0.1));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (name, broken) in [
        ("scale", Settings { scale: Constant(f32::NAN), ..settings(Loss::Sds) }),
        ("t_max", Settings { t_max: Constant(1.5), ..settings(Loss::Sds) }),
        ("eta", Settings { eta: Constant(2.0), ..settings(Loss::Asd) }),
        ("lessons", Settings { lessons: 0, ..settings(Loss::Vsd) }),
    ] {
        let error = broken.check().expect_err("out of range").to_string();
        assert!(error.contains(name), "{error}");
    }
    assert!("sds".parse::<Loss>().is_ok_and(|l| l == Loss::Sds) && "nds".parse::<Loss>().is_err());
    assert!(
        Loss::ALL.iter().all(|&l| l.name().parse::<Loss>().is_ok_and(|same| same == l) && settings(l).check().is_ok())
    );
}

/// What is left of one difference across another has nothing along it.
#[test]
fn what_is_across_is_not_along() {
    let of = |all: [f32; 8]| Tensor::<4>::from_data(TensorData::new(all.to_vec(), [2, 1, 2, 2]), &Device::flex());
    let x = of([1.0, 2.0, -1.0, 0.5, 3.0, 0.0, 1.0, 1.0]);
    let y = of([0.5, 1.0, 2.0, -1.0, 0.0, 0.0, 0.0, 0.0]);
    let left = super::parts::across(x.clone(), y.clone());
    let along: Tensor<2> = (left.clone() * y.clone()).reshape([2, 4]).sum_dim(1);
    assert!(values(along).iter().all(|v| v.abs() < 1e-5));
    assert_eq!(values(left)[4..], values(x)[4..], "nothing is along nothing");
    assert!(values(super::parts::across(y.clone(), y)).iter().all(|v| v.abs() < 1e-6));
}
