//! The fast rasteriser against the reference, against finite differences and against itself.

use pulp::Arch;

use super::*;
use crate::rng::Rng;

#[derive(Clone)]
struct Scene {
    means: Vec<f32>,
    log_scales: Vec<f32>,
    rotations: Vec<f32>,
    raw_opacity: Vec<f32>,
    sh_dc: Vec<f32>,
    sh_rest: Vec<f32>,
}

impl Scene {
    /// `n` Gaussians in front of the camera of [`spec`], of widths around `sigma`.
    fn random(n: usize, sigma: f32, sh_stored: u32, seed: u64) -> Self {
        let mut rng = Rng::new(seed, "splat scene");
        let mut fill =
            |count: usize, f: &dyn Fn(&mut Rng) -> f32| -> Vec<f32> { (0..count).map(|_| f(&mut rng)).collect() };
        Self {
            means: fill(n * 3, &|r| r.range(-0.8, 0.8)),
            log_scales: fill(n * 3, &|r| sigma.ln() + 0.5 * r.normal()),
            rotations: fill(n * 4, &|r| 1.5 * r.normal()),
            raw_opacity: fill(n, &|r| 0.5 + 1.5 * r.normal()),
            sh_dc: fill(n * 3, &|r| 0.6 * r.normal()),
            sh_rest: fill(n * (sh_coefficients(sh_stored) - 1) * 3, &|r| 0.2 * r.normal()),
        }
    }

    fn params(&self) -> SplatParams<'_> {
        SplatParams {
            means: &self.means,
            log_scales: &self.log_scales,
            rotations: &self.rotations,
            raw_opacity: &self.raw_opacity,
            sh_dc: &self.sh_dc,
            sh_rest: &self.sh_rest,
        }
    }

    fn parts_mut(&mut self) -> [&mut Vec<f32>; 6] {
        let Self { means, log_scales, rotations, raw_opacity, sh_dc, sh_rest } = self;
        [means, log_scales, rotations, raw_opacity, sh_dc, sh_rest]
    }
}

const PARTS: [&str; 7] = ["means", "log_scales", "rotations", "raw_opacity", "sh_dc", "sh_rest", "mean2d"];

fn parts(g: &SplatGrads) -> [&Vec<f32>; 7] {
    [&g.means, &g.log_scales, &g.rotations, &g.raw_opacity, &g.sh_dc, &g.sh_rest, &g.mean2d]
}

/// A tilted camera 2.6 units away, with odd sizes, unequal focal lengths and the principal point off the middle.
fn spec(width: u32, height: u32, sh_degree: u32, antialias: bool) -> SplatSpec {
    SplatSpec {
        width,
        height,
        window: None,
        camera_from_world: [[0.96, 0.28, 0.0, 0.05], [-0.168, 0.576, 0.8, -0.1], [0.224, -0.768, 0.6, -2.6]],
        focal: [1.2 * height as f32, 1.1 * height as f32],
        centre: [0.47 * width as f32, 0.54 * height as f32],
        near: 0.1,
        sh_degree,
        sh_stored: 3,
        antialias,
    }
}

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, "splat gradient");
    (0..n).map(|_| rng.normal()).collect()
}

fn picture(spec: &SplatSpec, scene: &Scene) -> (Vec<f32>, Saved) {
    let mut image = vec![f32::NAN; spec.pixels() * CHANNELS];
    let saved = forward(spec, &scene.params(), &mut image);
    (image, saved)
}

/// The largest difference, and how many exceed `tolerance`.
fn differences(a: &[f32], b: &[f64], tolerance: f64) -> (f64, usize) {
    assert_eq!(a.len(), b.len());
    let off: Vec<f64> = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs()).collect();
    (off.iter().copied().fold(0.0, f64::max), off.iter().filter(|d| d.is_nan() || **d > tolerance).count())
}

/// Whether a picture is the reference's: all pixels but the few on a threshold of alpha (1/255) within 2e-4, and those
/// within what one faint Gaussian can do.
fn same_picture(a: &[f32], b: &[f64]) -> Result<(), String> {
    let (most, count) = differences(a, b, 2e-4);
    let few = a.len() / 200;
    if most < 0.05 && count <= few { Ok(()) } else { Err(format!("{count} of {} differ, by up to {most}", a.len())) }
}

/// Whether gradients agree: each part within `tolerance` of its largest value.
fn same_gradient(a: &SplatGrads, b: &SplatGrads, tolerance: f32) -> Result<(), String> {
    for ((name, a), b) in PARTS.iter().zip(parts(a)).zip(parts(b)) {
        let scale = b.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let off = (a - b).abs();
            if off.is_nan() || off > tolerance * scale {
                return Err(format!("{name}[{i}]: {a} is not {b} (largest {scale})"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_picture_is_the_references() {
    for (sigma, seed) in [(0.02, 1), (0.08, 2), (0.4, 3)] {
        for antialias in [false, true] {
            for degree in 0..=3 {
                let scene = Scene::random(150, sigma, 3, seed);
                let spec = spec(53, 38, degree, antialias);
                let (image, saved) = picture(&spec, &scene);
                assert!(saved.crossings() > 100);
                let expected = reference::image(&spec, &scene.params());
                same_picture(&image, &expected).unwrap_or_else(|e| panic!("{sigma} {antialias} {degree}: {e}"));
            }
        }
    }
}

#[test]
fn the_comparison_of_pictures_can_fail() {
    let scene = Scene::random(150, 0.08, 3, 2);
    let spec = spec(53, 38, 3, false);
    let expected = reference::image(&spec, &scene.params());
    for (part, name) in PARTS.iter().enumerate().take(6) {
        let mut wrong = scene.clone();
        wrong.parts_mut()[part].iter_mut().for_each(|v| *v = *v * 1.02 + 0.01);
        assert!(same_picture(&picture(&spec, &wrong).0, &expected).is_err(), "{name} does not show");
    }
}

#[test]
fn the_gradient_is_the_references() {
    for (sigma, antialias, degree) in [(0.03, true, 3), (0.1, false, 2), (0.1, true, 1), (0.5, false, 0)] {
        let scene = Scene::random(12, sigma, 3, 7);
        let spec = spec(37, 21, degree, antialias);
        let grad = noise(spec.pixels() * CHANNELS, 5);
        let (_, saved) = picture(&spec, &scene);
        let fast = backward(&spec, &scene.params(), &saved, &grad);
        let slow = reference::gradient(&spec, &scene.params(), &grad);
        same_gradient(&fast, &slow, 2e-4).unwrap_or_else(|e| panic!("{sigma} {antialias} {degree}: {e}"));
        // The control: a gradient that is off by a hundredth in one part does not pass.
        for part in 0..7 {
            let mut wrong = fast.clone();
            let SplatGrads { means, log_scales, rotations, raw_opacity, sh_dc, sh_rest, mean2d } = &mut wrong;
            let part = [means, log_scales, rotations, raw_opacity, sh_dc, sh_rest, mean2d].into_iter().nth(part);
            let part = part.expect("there are seven parts");
            if part.iter().any(|v| *v != 0.0) {
                for v in part.iter_mut() {
                    *v *= 1.01;
                }
                assert!(same_gradient(&wrong, &slow, 2e-4).is_err());
            }
        }
    }
}

/// Opaque Gaussians, one behind the other: clamped alphas and finished pixels.
#[test]
fn the_gradient_holds_where_pixels_are_finished() {
    let mut scene = Scene::random(60, 1.0, 3, 9);
    scene.raw_opacity.iter_mut().enumerate().for_each(|(i, o)| *o = if i % 3 == 0 { 9.0 } else { 3.0 });
    let spec = spec(20, 18, 1, false);
    let grad = noise(spec.pixels() * CHANNELS, 6);
    let (image, saved) = picture(&spec, &scene);
    same_picture(&image, &reference::image(&spec, &scene.params())).unwrap();
    assert!(saved.used.iter().zip(0..).any(|(&used, t)| (used as usize) < saved.ranks(t).len()));
    let fast = backward(&spec, &scene.params(), &saved, &grad);
    same_gradient(&fast, &reference::gradient(&spec, &scene.params(), &grad), 1e-3).unwrap();
}

/// Alpha is held at 0.99 around the centre of an opaque Gaussian; there it has no gradient.
#[test]
fn the_gradient_holds_where_alpha_is_bounded() {
    let mut scene = Scene::random(2, 0.6, 3, 3);
    scene.means.fill(0.0);
    scene.means[5] = 0.4;
    scene.raw_opacity.fill(12.0);
    let spec = spec(20, 18, 0, false);
    let grad = noise(spec.pixels() * CHANNELS, 6);
    let (image, saved) = picture(&spec, &scene);
    assert!(image.iter().skip(3).step_by(CHANNELS).any(|alpha| *alpha > 0.989));
    let fast = backward(&spec, &scene.params(), &saved, &grad);
    same_gradient(&fast, &reference::gradient(&spec, &scene.params(), &grad), 1e-3).unwrap();
}

/// Wide Gaussians whose centres are so far beside the picture that the Jacobian is taken at its bounds.
#[test]
fn the_gradient_holds_beside_the_picture() {
    let mut scene = Scene::random(4, 0.9, 3, 14);
    let mut spec = spec(30, 24, 1, true);
    spec.camera_from_world = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    scene.means = vec![2.2, 0.1, -2.5, -2.1, 0.2, -2.4, 0.1, 1.9, -2.6, 1.9, -1.8, -2.3];
    scene.raw_opacity.fill(3.0);
    let grad = noise(spec.pixels() * CHANNELS, 6);
    let (image, saved) = picture(&spec, &scene);
    assert_eq!(saved.visible().filter(|v| *v).count(), 4);
    same_picture(&image, &reference::image(&spec, &scene.params())).unwrap();
    let fast = backward(&spec, &scene.params(), &saved, &grad);
    same_gradient(&fast, &reference::gradient(&spec, &scene.params(), &grad), 2e-4).unwrap();
}

#[test]
fn the_gradient_is_the_slope_of_the_picture() {
    let mut scene = Scene::random(6, 0.3, 3, 12);
    scene.sh_dc.iter_mut().for_each(|v| *v = v.abs() + 1.5);
    let spec = spec(24, 20, 3, true);
    // Smooth weights that vanish at the border; Gaussians end at alpha 1/255, a step that the slope must not meet often.
    let weights = noise(CHANNELS, 8);
    let loss = |scene: &Scene| -> f64 {
        let image = reference::image(&spec, &scene.params());
        image.iter().enumerate().map(|(i, v)| v * f64::from(weights[i % CHANNELS])).sum()
    };
    let grad: Vec<f32> = (0..spec.pixels() * CHANNELS).map(|i| weights[i % CHANNELS]).collect();
    let (_, saved) = picture(&spec, &scene);
    let grads = backward(&spec, &scene.params(), &saved, &grad);
    for (part, name) in PARTS.iter().enumerate().take(6) {
        let analytic = parts(&grads)[part].clone();
        let scale = analytic.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for i in (0..analytic.len()).step_by(1 + analytic.len() / 18) {
            let slope = |h: f32| {
                let mut moved = [scene.clone(), scene.clone()];
                moved[0].parts_mut()[part][i] += h;
                moved[1].parts_mut()[part][i] -= h;
                let span = f64::from(moved[0].parts_mut()[part][i]) - f64::from(moved[1].parts_mut()[part][i]);
                ((loss(&moved[0]) - loss(&moved[1])) / span) as f32
            };
            // Two steps that disagree straddle a kink.
            let (fine, coarse) = (slope(1e-4), slope(2e-4));
            if (fine - coarse).abs() < 2e-3 * scale {
                let off = (fine - analytic[i]).abs();
                assert!(off < 5e-3 * scale, "{name}[{i}]: slope {fine}, gradient {}", analytic[i]);
            }
        }
    }
}

#[test]
fn every_instruction_set_draws_the_same() {
    let scene = Scene::random(200, 0.06, 3, 4);
    let spec = spec(45, 39, 2, true);
    let grad = noise(spec.pixels() * CHANNELS, 2);
    let (image, saved) = picture(&spec, &scene);
    let grads = backward(&spec, &scene.params(), &saved, &grad);
    for arch in archs() {
        let mut other = vec![0.0; image.len()];
        let saved = forward_on(arch, &spec, &scene.params(), &mut other);
        let widened: Vec<f64> = image.iter().map(|v| f64::from(*v)).collect();
        same_picture(&other, &widened).unwrap();
        let mut others = SplatGrads::zeros(200, 45);
        backward_on(arch, &spec, &scene.params(), &saved, &grad, others.as_mut());
        same_gradient(&others, &grads, 1e-3).unwrap();
    }
}

/// The portable code, and what this machine has besides its best.
fn archs() -> Vec<Arch> {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return vec![Arch::Scalar, Arch::V3(avx2)];
    }
    vec![Arch::Scalar]
}

#[test]
fn results_repeat_whatever_the_number_of_threads() {
    let scene = Scene::random(3000, 0.04, 3, 6);
    let spec = spec(90, 70, 3, false);
    let grad = noise(spec.pixels() * CHANNELS, 4);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        pool.install(|| {
            let (image, saved) = picture(&spec, &scene);
            (image, backward(&spec, &scene.params(), &saved, &grad))
        })
    };
    let (image, grads) = run(1);
    for threads in [1, 2, 3] {
        let (again, grads_again) = run(threads);
        assert_eq!(image, again);
        assert_eq!(grads, grads_again);
    }
}

#[test]
fn nothing_gives_a_clear_picture() {
    let scene = Scene::random(0, 0.1, 3, 1);
    let spec = spec(19, 5, 3, true);
    let (image, saved) = picture(&spec, &scene);
    assert!(image.iter().all(|v| *v == 0.0));
    assert!(saved.radii().is_empty());
    let grads = backward(&spec, &scene.params(), &saved, &noise(image.len(), 1));
    assert_eq!(grads, SplatGrads::zeros(0, 45));
}

#[test]
fn a_picture_without_pixels_is_no_trouble() {
    for (width, height) in [(0, 0), (0, 9), (9, 0)] {
        let scene = Scene::random(10, 0.1, 3, 1);
        let mut spec = spec(20, 20, 3, false);
        (spec.width, spec.height) = (width, height);
        let (image, saved) = picture(&spec, &scene);
        assert!(image.is_empty());
        assert_eq!(backward(&spec, &scene.params(), &saved, &[]), SplatGrads::zeros(10, 45));
    }
}

#[test]
fn gaussians_out_of_sight_have_no_gradient() {
    let mut scene = Scene::random(4, 0.05, 3, 3);
    // Behind the camera, beside the picture, transparent, and one in sight. The camera sits near (-0.66, 2.1, 1.5).
    let eye =
        [0.05 * -0.96 + -0.168 * 0.1 + 0.224 * 2.6, 0.05 * -0.28 + 0.576 * 0.1 - 0.768 * 2.6, 0.8 * 0.1 + 0.6 * 2.6];
    scene.means = vec![eye[0] * 2.0, eye[1] * 2.0, eye[2] * 2.0, 30.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1];
    scene.raw_opacity = vec![2.0, 2.0, -9.0, 2.0];
    let spec = spec(40, 40, 3, false);
    let (image, saved) = picture(&spec, &scene);
    same_picture(&image, &reference::image(&spec, &scene.params())).unwrap();
    assert_eq!(saved.visible().collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!(saved.radii().iter().map(|r| *r > 0.0).collect::<Vec<_>>(), [false, false, false, true]);
    let grads = backward(&spec, &scene.params(), &saved, &noise(image.len(), 1));
    assert!(grads.means[..9].iter().chain(&grads.sh_rest[..135]).all(|g| *g == 0.0));
    assert!(grads.means[9..].iter().all(|g| *g != 0.0));
}

#[test]
fn gaussians_that_are_not_numbers_are_left_out() {
    let good = Scene::random(20, 0.1, 3, 5);
    let spec = spec(40, 30, 3, true);
    let grad = noise(spec.pixels() * CHANNELS, 3);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (part, name) in PARTS.iter().enumerate().take(6) {
            let mut scene = good.clone();
            let width = scene.parts_mut()[part].len() / 20;
            scene.parts_mut()[part][width * 4] = bad;
            let (image, saved) = picture(&spec, &scene);
            assert!(image.iter().all(|v| v.is_finite()), "{bad} in {name}");
            let grads = backward(&spec, &scene.params(), &saved, &grad);
            for (of, grads) in PARTS.iter().zip(parts(&grads)) {
                assert!(grads.iter().all(|g| g.is_finite()), "{bad} in {name}: gradient of {of}");
            }
        }
    }
    // A quaternion of no length has no direction; it must not poison the rest.
    let mut scene = good;
    scene.rotations[..4].fill(0.0);
    let (image, saved) = picture(&spec, &scene);
    let grads = backward(&spec, &scene.params(), &saved, &grad);
    assert!(image.iter().chain(&grads.rotations).all(|v| v.is_finite()));
}

#[test]
fn huge_and_thin_gaussians_keep_their_shape() {
    let mut scene = Scene::random(12, 0.05, 3, 8);
    for i in 0..12 {
        scene.log_scales[i * 3] = [1.0, 3.0, 5.0][i % 3];
        scene.log_scales[i * 3 + 1] = [-5.0, -2.0, 2.0][i / 4];
        scene.raw_opacity[i] = -1.5;
    }
    let spec = spec(64, 48, 1, false);
    let (image, saved) = picture(&spec, &scene);
    same_picture(&image, &reference::image(&spec, &scene.params())).unwrap();
    let grad = noise(image.len(), 3);
    let fast = backward(&spec, &scene.params(), &saved, &grad);
    same_gradient(&fast, &reference::gradient(&spec, &scene.params(), &grad), 5e-3).unwrap();
}

#[test]
fn a_window_shows_the_same_pixels() {
    let scene = Scene::random(200, 0.2, 3, 10);
    let whole = spec(60, 50, 3, true);
    let window = Window { x: 21, y: 13, width: 30, height: 22 };
    let part = SplatSpec { window: Some(window), ..whole.clone() };
    let (full, _) = picture(&whole, &scene);
    let (cut, _) = picture(&part, &scene);
    let rows = (window.y..window.y + window.height).map(|y| ((y * 60 + window.x) * 5) as usize);
    let expected: Vec<f64> = rows.flat_map(|start| full[start..start + 150].to_vec()).map(f64::from).collect();
    same_picture(&cut, &expected).unwrap();
}

#[test]
fn depths_are_ordered_and_ties_keep_their_places() {
    let order = |depths: &[f32]| -> Vec<u32> {
        depth_order(depths.iter().map(|d| d.to_bits()).zip(0..).collect()).into_iter().map(|(_, i)| i).collect()
    };
    assert_eq!(order(&[3.0, 0.5, 3.0, 1e9, 0.5, 0.0, 2.999_999_8]), [5, 1, 4, 6, 0, 2, 3]);
    assert!(order(&[]).is_empty());
    assert_eq!(order(&[1.5; 300]), (0..300).collect::<Vec<u32>>());
}

#[test]
fn wrong_lengths_are_refused() {
    let mut scene = Scene::random(3, 0.1, 3, 1);
    let good = spec(8, 8, 3, false);
    assert_eq!(good.check(&scene.params()).unwrap(), 3);
    let outside = SplatSpec { window: Some(Window { x: 4, y: 0, width: 5, height: 8 }), ..good.clone() };
    let far = SplatSpec { window: Some(Window { x: u32::MAX, y: 0, width: 2, height: 8 }), ..good.clone() };
    for bad in [SplatSpec { sh_stored: 2, ..good.clone() }, SplatSpec { near: f32::NAN, ..good.clone() }, outside, far]
    {
        assert!(bad.check(&scene.params()).is_err(), "{bad:?}");
    }
    scene.rotations.pop();
    assert!(good.check(&scene.params()).unwrap_err().what.starts_with("rotations has 11 values"));
}
