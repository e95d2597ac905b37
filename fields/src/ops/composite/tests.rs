use super::{cpu, reference};
use crate::rng::Rng;

struct Case {
    ray_start: Vec<u32>,
    sigma: Vec<f32>,
    rgb: Vec<f32>,
    t: Vec<f32>,
    dt: Vec<f32>,
    grad_out: Vec<f32>,
}

/// Rays of 0 to 60 samples, some thin, some opaque.
fn case(rays: usize, seed: u64) -> Case {
    let mut rng = Rng::new(seed, "composite");
    let mut c = Case { ray_start: vec![0], sigma: vec![], rgb: vec![], t: vec![], dt: vec![], grad_out: vec![] };
    for ray in 0..rays {
        let thickness = [1e-3, 0.1, 3.0, 60.0][ray % 4];
        let mut t = rng.uniform();
        for _ in 0..if ray % 7 == 0 { 0 } else { rng.below(61) } {
            let dt = rng.range(0.002, 0.01);
            t += dt;
            c.dt.push(dt);
            c.t.push(t);
            c.sigma.push(rng.uniform() * thickness / dt * 0.1);
            c.rgb.extend([rng.uniform(), rng.uniform(), rng.uniform()]);
        }
        c.ray_start.push(c.t.len() as u32);
        c.grad_out.extend((0..5).map(|_| rng.normal()));
    }
    c
}

fn forward(c: &Case, stop: f32) -> Vec<f32> {
    let mut out = vec![f32::NAN; 5 * (c.ray_start.len() - 1)];
    cpu::forward(&c.ray_start, &c.sigma, &c.rgb, &c.t, &c.dt, stop, &mut out);
    out
}

fn backward(c: &Case, stop: f32) -> (Vec<f32>, Vec<f32>) {
    let (mut sigma, mut rgb) = (vec![f32::NAN; c.t.len()], vec![f32::NAN; 3 * c.t.len()]);
    cpu::backward(&c.ray_start, &c.sigma, &c.rgb, &c.t, &c.dt, stop, &c.grad_out, &mut sigma, &mut rgb);
    (sigma, rgb)
}

/// The largest difference, relative to the largest value.
fn worst(ours: &[f32], truth: &[f64]) -> f64 {
    assert_eq!(ours.len(), truth.len());
    let scale = truth.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let difference = |(a, b): (&f32, &f64)| {
        let d = (f64::from(*a) - b).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    };
    ours.iter().zip(truth).map(difference).fold(0.0, f64::max) / scale.max(1e-30)
}

#[test]
fn pictures_and_gradients_are_those_of_the_formulas() {
    // The light at which a ray stops is compared exactly, so the two precisions may differ at a sample or two of
    // weight 1e-4; without stopping there is no such place and the tolerance is that of rounding alone.
    for (stop, tolerance) in [(0.0, 2e-6), (1e-4, 1.1e-4)] {
        let c = case(300, 1);
        let truth = reference::forward(&c.ray_start, &c.sigma, &c.rgb, &c.t, &c.dt, stop);
        let error = worst(&forward(&c, stop), &truth);
        assert!(error < tolerance, "forward, stop {stop}: {error:e}");
        let (sigma, rgb) = backward(&c, stop);
        let truth = reference::backward(&c.ray_start, &c.sigma, &c.rgb, &c.t, &c.dt, stop, &c.grad_out);
        let errors = (worst(&sigma, &truth.0), worst(&rgb, &truth.1));
        assert!(errors.0 < tolerance && errors.1 < tolerance, "backward, stop {stop}: {errors:?}");
        // The negative control: one density is changed by a hundredth.
        let mut other = case(300, 1);
        let thick = (0..other.sigma.len()).find(|&i| (0.2..2.0).contains(&(other.sigma[i] * other.dt[i])));
        other.sigma[thick.expect("some are of middling thickness")] *= 1.01;
        let truth = reference::forward(&other.ray_start, &other.sigma, &other.rgb, &other.t, &other.dt, stop);
        assert!(worst(&forward(&c, stop), &truth) > 2e-4);
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let c = case(40, 2);
    let (sigma, rgb) = backward(&c, 0.0);
    let loss = |sigma: &[f32], rgb: &[f32]| -> f64 {
        let out = reference::forward(&c.ray_start, sigma, rgb, &c.t, &c.dt, 0.0);
        out.iter().zip(&c.grad_out).map(|(o, g)| o * f64::from(*g)).sum()
    };
    let slope = |values: &[f32], i: usize, loss: &dyn Fn(&[f32]) -> f64| {
        let (mut above, mut below) = (values.to_vec(), values.to_vec());
        let h = 1e-3 * values[i].abs().max(0.1);
        above[i] += h;
        below[i] -= h;
        (loss(&above) - loss(&below)) / f64::from(above[i] - below[i])
    };
    for i in (0..c.sigma.len()).step_by(5) {
        let numeric = slope(&c.sigma, i, &|s| loss(s, &c.rgb));
        assert!(
            (f64::from(sigma[i]) - numeric).abs() < 2e-6 + 1e-3 * numeric.abs(),
            "sigma {i}: {} {numeric}",
            sigma[i]
        );
        let numeric = slope(&c.rgb, 3 * i, &|r| loss(&c.sigma, r));
        assert!((f64::from(rgb[3 * i]) - numeric).abs() < 1e-5, "rgb {i}: {} {numeric}", rgb[3 * i]);
    }
}

#[test]
fn a_slab_of_constant_density_is_beers_law() {
    let (n, sigma, length) = (400, 3.0_f32, 0.8_f32);
    let dt = vec![length / n as f32; n];
    let t: Vec<f32> = (0..n).map(|i| 1.0 + (i as f32 + 0.5) * dt[0]).collect();
    let mut out = [0.0; 5];
    cpu::forward(&[0, n as u32], &vec![sigma; n], &vec![0.25; 3 * n], &t, &dt, 0.0, &mut out);
    let (s, l) = (f64::from(sigma), f64::from(length));
    let alpha = 1.0 - (-s * l).exp();
    assert!((f64::from(out[3]) - alpha).abs() < 2e-6, "{} against {alpha}", out[3]);
    assert!((f64::from(out[0]) - 0.25 * alpha).abs() < 1e-6);
    // ∫ (1 + x) σ exp(-σ x) dx over the slab.
    let depth = alpha + (1.0 - (1.0 + s * l) * (-s * l).exp()) / s;
    assert!((f64::from(out[4]) - depth).abs() < 1e-5, "{} against {depth}", out[4]);
}

#[test]
fn a_ray_ends_where_its_light_does() {
    let c = case(300, 3);
    let stop = 1e-3;
    let live = cpu::live_count(&c.ray_start, &c.sigma, &c.dt, stop);
    let mut weights = vec![f32::NAN; c.t.len()];
    cpu::weights(&c.ray_start, &c.sigma, &c.dt, stop, &mut weights);
    let (grad_sigma, _) = backward(&c, stop);
    let out = forward(&c, stop);
    let mut ended = 0;
    for (ray, &live) in live.iter().enumerate() {
        let rows = c.ray_start[ray] as usize..c.ray_start[ray + 1] as usize;
        let end = rows.start + live as usize;
        assert!(weights[rows.start..end].iter().all(|&w| w > 0.0));
        assert!(weights[end..rows.end].iter().chain(&grad_sigma[end..rows.end]).all(|&v| v == 0.0));
        let alpha: f32 = weights[rows.clone()].iter().sum();
        assert!((alpha - out[5 * ray + 3]).abs() < 1e-6);
        if end < rows.end {
            ended += 1;
            assert!(alpha > 1.0 - 1.01 * stop);
        }
    }
    assert!(ended > 20, "{ended}");
    // Colour that is not live does not matter.
    let mut blank = case(300, 3);
    for (ray, &live) in live.iter().enumerate() {
        let end = blank.ray_start[ray + 1] as usize;
        blank.rgb[3 * (blank.ray_start[ray] + live) as usize..3 * end].fill(9.0);
    }
    assert_eq!(out, forward(&blank, stop));
}

#[test]
fn nothing_in_nothing_out_and_bad_values_show() {
    cpu::forward(&[0], &[], &[], &[], &[], 1e-4, &mut []);
    cpu::backward(&[0], &[], &[], &[], &[], 1e-4, &[], &mut [], &mut []);
    let mut out = [f32::NAN; 10];
    cpu::forward(&[0, 0, 0], &[], &[], &[], &[], 1e-4, &mut out);
    assert_eq!(out, [0.0; 10]);
    let mut out = [0.0; 5];
    cpu::forward(&[0, 2], &[f32::NAN, 1.0], &[0.5; 6], &[1.0, 2.0], &[0.1; 2], 1e-4, &mut out);
    assert!(out[0].is_nan() && out[3].is_nan());
    cpu::forward(&[0, 2], &[f32::INFINITY, 1.0], &[0.5; 6], &[1.0, 2.0], &[0.1; 2], 1e-4, &mut out);
    assert_eq!(out, [0.5, 0.5, 0.5, 1.0, 1.0]);
}

#[test]
fn threads_change_nothing() {
    let c = case(500, 4);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| (forward(&c, 1e-4), backward(&c, 1e-4), cpu::live_count(&c.ray_start, &c.sigma, &c.dt, 1e-4)))
    };
    assert_eq!(run(1), run(2));
}
