use super::reshape::{cropped, resampled};
use super::spec::{FactorSpec, Form};
use super::{cpu, reference};
use crate::ops::simd::Tier;
use crate::rng::Rng;

/// Ranks with all widths of pieces, latents of less and more than a vector.
fn specs() -> Vec<FactorSpec> {
    let spec = |form, resolution, sigma_rank, app_rank, latent| FactorSpec {
        form,
        resolution,
        sigma_rank,
        app_rank,
        latent,
        offset: 0.25,
        outside: -7.0,
    };
    vec![
        spec(Form::Planes, [5, 7, 4], 16, 29, 15),
        spec(Form::Planes, [2, 3, 9], 5, 8, 27),
        spec(Form::Lines, [5, 7, 4], 13, 48, 15),
        spec(Form::Lines, [9, 2, 3], 3, 4, 33),
    ]
}

struct Case {
    x: Vec<f32>,
    table: Vec<f32>,
    basis: Vec<f32>,
    grad: Vec<f32>,
}

/// Random points, some outside the cube and some on its faces; some gradients are zero.
fn case(spec: &FactorSpec, n: usize) -> Case {
    let mut rng = Rng::new(3, "factors case");
    let mut fill = |count, low, high| -> Vec<f32> { (0..count).map(|_| rng.range(low, high)).collect() };
    let mut x = fill(n * 3, -0.02, 1.02);
    for (i, x) in x.iter_mut().enumerate().filter(|(i, _)| i % 17 == 0) {
        *x = (i / 17 % 2) as f32;
    }
    let mut grad = fill(n * spec.out_dim(), -1.0, 1.0);
    grad.chunks_mut(spec.out_dim()).step_by(3).for_each(|row| row.fill(0.0));
    let table = fill(spec.rows() * spec.columns(), -1.0, 1.0);
    Case { x, table, basis: fill(spec.latent * spec.products(), -1.0, 1.0), grad }
}

fn sampled(tier: Tier, spec: &FactorSpec, case: &Case) -> Vec<f32> {
    let mut out = vec![f32::NAN; case.grad.len()];
    cpu::forward_with(tier, spec, &case.x, &case.table, &case.basis, &mut out);
    out
}

/// Gradients of the points, the table and the basis.
fn gradients(tier: Tier, spec: &FactorSpec, case: &Case) -> [Vec<f32>; 3] {
    let [mut x, mut table, mut basis] = [&case.x, &case.table, &case.basis].map(|v| vec![0.0; v.len()]);
    cpu::backward_with(tier, spec, &case.x, &case.table, &case.basis, &case.grad, &mut table, &mut basis);
    cpu::backward_to_points(spec, &case.x, &case.table, &case.basis, &case.grad, &mut x);
    [x, table, basis]
}

fn reference_of(spec: &FactorSpec, case: &Case) -> (Vec<f32>, [Vec<f32>; 3]) {
    let mut out = vec![f32::NAN; case.grad.len()];
    reference::forward(spec, &case.x, &case.table, &case.basis, &mut out);
    let [mut x, mut table, mut basis] = [&case.x, &case.table, &case.basis].map(|v| vec![0.0; v.len()]);
    let grads = [x.as_mut_slice(), table.as_mut_slice(), basis.as_mut_slice()];
    reference::backward(spec, &case.x, &case.table, &case.basis, &case.grad, grads);
    (out, [x, table, basis])
}

/// The largest difference, relative to the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
    a.iter().zip(b).fold(0.0, |worst, (a, b)| if (a - b).is_finite() { (a - b).abs().max(worst) } else { f32::NAN })
        / scale
}

#[test]
fn every_tier_agrees_with_the_reference_and_with_the_others() {
    for spec in specs() {
        for n in [0, 1, 9, 1500] {
            let case = case(&spec, n);
            let (out, grads) = reference_of(&spec, &case);
            let plain = sampled(Tier::Portable, &spec, &case);
            let plain_grads = gradients(Tier::Portable, &spec, &case);
            assert!(difference(&plain, &out) < 2e-5, "forward of {n} points, {spec:?}");
            for (ours, truth) in plain_grads.iter().zip(&grads) {
                assert!(difference(ours, truth) < 2e-5, "{} for {n} points, {spec:?}", difference(ours, truth));
            }
            for tier in Tier::all() {
                assert!(sampled(tier, &spec, &case) == plain, "{tier:?} forward of {n} points, {spec:?}");
                assert!(gradients(tier, &spec, &case) == plain_grads, "{tier:?} gradients of {n} points, {spec:?}");
            }
        }
    }
}

#[test]
fn the_comparison_notices_one_wrong_value_or_point() {
    for spec in specs() {
        let mut case = case(&spec, 63);
        let (out, grads) = reference_of(&spec, &case);
        case.x[12] = 1.0 - case.x[12].clamp(0.0, 1.0);
        case.grad[spec.out_dim() * 7 + 1] += 0.1;
        assert!(difference(&sampled(Tier::best(), &spec, &case), &out) > 2e-5);
        for (ours, truth) in gradients(Tier::best(), &spec, &case).iter().zip(&grads) {
            assert!(difference(ours, truth) > 2e-5, "{spec:?}");
        }
    }
}

/// Value `i` of the points, the table or the basis.
fn slot(case: &mut Case, which: usize, i: usize) -> &mut f32 {
    match which {
        0 => &mut case.x[i],
        1 => &mut case.table[i],
        _ => &mut case.basis[i],
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for spec in specs() {
        let mut case = case(&spec, 12);
        // Well inside a cell along each axis: at its ends the slope jumps.
        for (i, x) in case.x.iter_mut().enumerate() {
            let cells = (spec.resolution[i % 3] - 1) as f32;
            let position = x.clamp(0.0, 0.999) * cells;
            *x = (position.floor() + 0.2 + 0.6 * position.fract()) / cells;
        }
        let value = |case: &Case| -> f64 {
            let out = sampled(Tier::best(), &spec, case);
            out.iter().zip(&case.grad).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let grads = gradients(Tier::best(), &spec, &case);
        for (which, grad) in grads.iter().enumerate() {
            for i in (0..grad.len()).step_by(grad.len().div_ceil(40)) {
                let mut shifted = |by: f32| {
                    let before = *slot(&mut case, which, i);
                    *slot(&mut case, which, i) += by;
                    let found = (value(&case), f64::from(*slot(&mut case, which, i)));
                    *slot(&mut case, which, i) = before;
                    found
                };
                let ((above, a), (below, b)) = (shifted(2e-3), shifted(-2e-3));
                let slope = (above - below) / (a - b);
                let near = |claimed: f64| (claimed - slope).abs() < 5e-3 * (1.0 + slope.abs());
                let claimed = f64::from(grad[i]);
                assert!(near(claimed), "input {which}, value {i}: {claimed} and {slope}, {spec:?}");
                assert!(!near(claimed + 0.02 * (1.0 + slope.abs())), "the comparison is too loose");
            }
        }
    }
}

#[test]
fn sums_do_not_depend_on_the_number_of_threads() {
    for spec in specs() {
        let case = case(&spec, 3000);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| (sampled(Tier::best(), &spec, &case), gradients(Tier::best(), &spec, &case)))
        };
        assert!(on(1) == on(3));
    }
}

#[test]
fn outside_is_outside_and_a_nan_is_harmless() {
    let spec = &specs()[0];
    let case = case(spec, 4);
    let x = [f32::NAN, 0.5, 0.5, 0.5, 1.1, 0.5, -1.0, 0.5, f32::INFINITY, 0.5, 0.5, 1.0 + 1e-6];
    let mut out = vec![f32::NAN; case.grad.len()];
    cpu::forward(spec, &x, &case.table, &case.basis, &mut out);
    for row in out.chunks(spec.out_dim()).take(3) {
        assert!(row[0] == spec.outside && row[1..].iter().all(|v| *v == 0.0));
    }
    assert!(out.iter().all(|v| v.is_finite()) && out[3 * spec.out_dim()] != spec.outside, "rounding is not outside");
}

/// A finer grid that has the old one's points, or one cut at grid points, is the same field.
#[test]
fn another_shape_is_the_same_field() {
    for spec in specs() {
        let case = case(&spec, 500);
        let before = sampled(Tier::best(), &spec, &case);
        let finer = FactorSpec { resolution: spec.resolution.map(|r| 2 * (r - 1) + 1), ..spec.clone() };
        let table = resampled(&spec, &case.table, &finer);
        let moved = Case { table, x: case.x.clone(), basis: case.basis.clone(), grad: case.grad.clone() };
        assert!(difference(&sampled(Tier::best(), &finer, &moved), &before) < 1e-5, "{spec:?}");
        // The negative control: one value of the new table is off.
        let mut wrong = Case { table: moved.table.clone(), ..moved };
        wrong.table.iter_mut().for_each(|v| *v += 1e-2);
        assert!(difference(&sampled(Tier::best(), &finer, &wrong), &before) > 1e-5);

        let low = spec.resolution.map(|r| u32::from(r > 3));
        let high = spec.resolution.map(|r| r - 1 - u32::from(r > 4));
        let (part, table) = cropped(&spec, &case.table, low, high);
        let mut x = case.x.clone();
        for (i, x) in x.iter_mut().enumerate() {
            let (axis, cells) = (i % 3, (spec.resolution[i % 3] - 1) as f32);
            *x = (*x * cells - low[axis] as f32) / (high[axis] - low[axis]) as f32;
        }
        let inside: Vec<bool> = x.chunks(3).map(|x| x.iter().all(|v| (0.0..=1.0).contains(v))).collect();
        let cut = Case { x, table, basis: case.basis.clone(), grad: case.grad.clone() };
        let after = sampled(Tier::best(), &part, &cut);
        let rows = before.chunks(spec.out_dim()).zip(after.chunks(spec.out_dim())).zip(inside);
        let kept: Vec<_> = rows.filter(|(_, inside)| *inside).map(|(pair, _)| pair).collect();
        assert!(kept.len() > 50 && kept.iter().all(|(a, b)| difference(b, a) < 1e-4), "{spec:?}");
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let good = &specs()[0];
    assert!(good.check().is_ok());
    for bad in [
        FactorSpec { resolution: [1, 4, 4], ..good.clone() },
        FactorSpec { resolution: [5000, 4, 4], ..good.clone() },
        FactorSpec { sigma_rank: 0, ..good.clone() },
        FactorSpec { app_rank: 5000, ..good.clone() },
        FactorSpec { resolution: [4096; 3], ..good.clone() },
    ] {
        let error = bad.check().expect_err("out of range");
        assert!(error.what.contains("out of range") && !error.remedy.is_empty());
    }
}
