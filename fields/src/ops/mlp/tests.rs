use super::spec::{Activation, Layer, MlpSpec};
use super::{cpu, reference};
use crate::ops::simd::Tier;
use crate::rng::Rng;

/// The networks of the three representations in small, and every feature at once.
fn specs() -> Vec<MlpSpec> {
    use Activation::{None, Relu, Sigmoid};
    let everything = vec![
        Layer::new(37, Sigmoid).with_bias(),
        Layer::new(130, Relu).with_bias().with_input(),
        Layer::new(19, None).with_input(),
        Layer::new(3, Sigmoid).with_bias(),
    ];
    vec![
        MlpSpec::plain(32, 64, 1, 16),
        MlpSpec::plain(31, 64, 2, 3),
        MlpSpec { input: 5, layers: everything },
        MlpSpec { input: 1, layers: vec![Layer::new(1, Relu)] },
    ]
}

struct Case {
    x: Vec<f32>,
    params: Vec<f32>,
    grad_out: Vec<f32>,
}

fn case(spec: &MlpSpec, n: usize) -> Case {
    let mut rng = Rng::new(11, "mlp case");
    let mut fill = |count, scale| -> Vec<f32> { (0..count).map(|_| rng.normal() * scale).collect() };
    let scale = 1.0 / (spec.layers.iter().map(|l| l.out).max().unwrap() as f32).sqrt();
    Case {
        x: fill(n * spec.input, 1.0),
        params: fill(spec.param_count(), scale),
        grad_out: fill(n * spec.output_dim(), 1.0),
    }
}

fn run(tier: Tier, spec: &MlpSpec, case: &Case) -> Vec<f32> {
    let mut out = vec![f32::NAN; case.grad_out.len()];
    cpu::forward_with(tier, spec, &case.x, &case.params, &mut out);
    out
}

fn gradients(tier: Tier, spec: &MlpSpec, case: &Case) -> (Vec<f32>, Vec<f32>) {
    let (mut x, mut params) = (vec![f32::NAN; case.x.len()], vec![0.0; case.params.len()]);
    cpu::backward_with(tier, spec, &case.x, &case.params, &case.grad_out, Some(&mut x), &mut params);
    (x, params)
}

/// Whether all differ by less than `tolerance` of the largest magnitude (a sum's rounding is on the scale of its terms).
fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    let scale = b.iter().fold(1e-3_f32, |most, b| most.max(b.abs()));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
}

#[test]
fn every_tier_agrees_with_the_reference() {
    for spec in specs() {
        for n in [0, 1, 63, 1000] {
            let case = case(&spec, n);
            let mut out = vec![f32::NAN; case.grad_out.len()];
            reference::forward(&spec, &case.x, &case.params, &mut out);
            let (mut x, mut params) = (vec![f32::NAN; case.x.len()], vec![0.0; case.params.len()]);
            reference::backward(&spec, &case.x, &case.params, &case.grad_out, Some(&mut x), &mut params);
            for tier in Tier::all() {
                assert!(close(&run(tier, &spec, &case), &out, 1e-5), "{tier:?} forward, n = {n}, {spec:?}");
                let (fast_x, fast_params) = gradients(tier, &spec, &case);
                // A sum within rounding of a ReLU's kink may fall on the other side: none does in this case.
                assert!(close(&fast_x, &x, 2e-5), "{tier:?} input gradient, n = {n}, {spec:?}");
                assert!(close(&fast_params, &params, 2e-5), "{tier:?} parameter gradient, n = {n}, {spec:?}");
            }
        }
    }
}

#[test]
fn nerfs_network_with_its_skip_agrees_with_the_reference() {
    let mut layers = vec![Layer::new(256, Activation::Relu).with_bias(); 8];
    layers[4].concat_input = true;
    let spec = MlpSpec { input: 63, layers };
    assert_eq!(spec.param_count(), 64 * 256 + 6 * 257 * 256 + (257 + 63) * 256);
    let case = case(&spec, 10);
    let mut out = vec![f32::NAN; case.grad_out.len()];
    reference::forward(&spec, &case.x, &case.params, &mut out);
    let (mut x, mut params) = (vec![f32::NAN; case.x.len()], vec![0.0; case.params.len()]);
    reference::backward(&spec, &case.x, &case.params, &case.grad_out, Some(&mut x), &mut params);
    for tier in Tier::all() {
        assert!(close(&run(tier, &spec, &case), &out, 1e-5), "{tier:?} forward");
        let (fast_x, fast_params) = gradients(tier, &spec, &case);
        assert!(close(&fast_x, &x, 2e-5) && close(&fast_params, &params, 2e-5), "{tier:?} backward");
    }
}

#[test]
fn the_comparison_notices_one_wrong_weight() {
    let spec = &specs()[0];
    let mut case = case(spec, 63);
    let (out, (x, params)) = (run(Tier::best(), spec, &case), gradients(Tier::best(), spec, &case));
    case.params[100] += 0.05;
    assert!(!close(&run(Tier::best(), spec, &case), &out, 1e-5));
    let (wrong_x, wrong_params) = gradients(Tier::best(), spec, &case);
    assert!(!close(&wrong_x, &x, 2e-5) && !close(&wrong_params, &params, 2e-5));
}

#[test]
fn gradients_agree_with_finite_differences() {
    // Sigmoids only: no kink anywhere.
    use Activation::{None, Sigmoid};
    let layers = vec![
        Layer::new(17, Sigmoid).with_bias(),
        Layer::new(18, Sigmoid).with_input(),
        Layer::new(4, None).with_bias(),
    ];
    let spec = MlpSpec { input: 6, layers };
    let case = case(&spec, 5);
    let loss = |x: &[f32], params: &[f32]| -> f64 {
        let mut out = vec![0.0; case.grad_out.len()];
        cpu::forward(&spec, x, params, &mut out);
        out.iter().zip(&case.grad_out).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let check = |values: &[f32], analytic: &[f32], of: &dyn Fn(&[f32]) -> f64| {
        for i in 0..values.len() {
            let mut moved = values.to_vec();
            moved[i] = values[i] + 0.01;
            let up = of(&moved);
            moved[i] = values[i] - 0.01;
            let numeric = (up - of(&moved)) / 0.02;
            assert!((numeric - f64::from(analytic[i])).abs() < 1e-3, "{i}: {} is not {numeric}", analytic[i]);
        }
    };
    let (x, params) = gradients(Tier::best(), &spec, &case);
    check(&case.x, &x, &|x| loss(x, &case.params));
    check(&case.params, &params, &|params| loss(&case.x, params));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let spec = &specs()[2];
    let case = case(spec, 3000);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (run(Tier::best(), spec, &case), gradients(Tier::best(), spec, &case)))
    };
    assert!(with(1) == with(2));
    assert!(with(1) == with(5));
}

#[test]
fn parameter_gradients_accumulate_and_the_input_gradient_is_optional() {
    let spec = &specs()[1];
    let case = case(spec, 500);
    let (_, once) = gradients(Tier::best(), spec, &case);
    let mut twice = once.clone();
    cpu::backward(spec, &case.x, &case.params, &case.grad_out, None, &mut twice);
    let expected: Vec<f32> = once.iter().map(|g| 2.0 * g).collect();
    assert!(close(&twice, &expected, 1e-5));
}

#[test]
fn a_nan_reaches_the_output_and_bad_networks_are_refused() {
    let spec = &specs()[0];
    let mut case = case(spec, 2);
    case.x[3] = f32::NAN;
    let out = run(Tier::best(), spec, &case);
    assert!(out[..16].iter().all(|y| y.is_nan()) && out[16..].iter().all(|y| y.is_finite()));
    assert!(MlpSpec { input: 3, layers: vec![] }.check().is_err());
    assert!(MlpSpec::plain(0, 64, 1, 16).check().is_err());
    assert!(MlpSpec::plain(3, 100_000, 1, 16).check().is_err());
    let skip = vec![Layer::new(8, Activation::Relu).with_input()];
    assert!(MlpSpec { input: 3, layers: skip }.check().is_err());
}

#[test]
fn the_published_networks_have_their_published_sizes() {
    assert_eq!(MlpSpec::plain(32, 64, 1, 16).param_count(), 32 * 64 + 64 * 16);
    assert_eq!(MlpSpec::plain(31, 64, 2, 3).param_count(), 31 * 64 + 64 * 64 + 64 * 3);
}
