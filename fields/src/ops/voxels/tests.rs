use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::cpu::{self, Corners};
use super::*;
use crate::field::{tensor, values};
use crate::ops::kernel::apply1;
use crate::ops::simd::Tier;
use crate::rng::Rng;

/// A grid of which about `share` of the vertices are kept.
fn links(resolution: u32, share: f32) -> Links {
    let mut rng = Rng::new(1, "links");
    let words = (resolution as usize).pow(3).div_ceil(32);
    let word = |_| (0..32).fold(0, |word, bit| word | u32::from(rng.uniform() < share) << bit);
    Links::new(resolution, &(0..words).map(word).collect::<Vec<u32>>())
}

struct Case {
    links: Links,
    channels: usize,
    fill: f32,
    x: Vec<f32>,
    values: Vec<f32>,
    grad: Vec<f32>,
}

/// Random points, some outside the cube and some on its faces.
fn case(resolution: u32, share: f32, channels: usize, n: usize) -> Case {
    let links = links(resolution, share);
    let mut rng = Rng::new(3, "voxel case");
    let mut fill = |count, low, high| -> Vec<f32> { (0..count).map(|_| rng.range(low, high)).collect() };
    let mut x = fill(3 * n, -0.05, 1.05);
    x.iter_mut().enumerate().filter(|(i, _)| i % 17 == 0).for_each(|(i, x)| *x = (i / 17 % 2) as f32);
    let values = fill(links.rows() * channels, -1.0, 1.0);
    let grad = fill(n * channels, -1.0, 1.0);
    Case { links, channels, fill: if channels == 1 { -4.0 } else { 0.0 }, x, values, grad }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (resolution, share) in [(2, 1.0), (3, 0.5), (8, 0.0), (9, 0.7), (40, 0.3), (70, 1.0)] {
        for (channels, n) in [(1, 5000), (27, 700), (27, 0), (1, 1)] {
            all.push(case(resolution, share, channels, n));
        }
    }
    all
}

/// Results and gradients of values and points.
type Outcome = (Vec<f32>, Vec<f32>, Vec<f32>);

fn fast(tier: Tier, case: &Case) -> Outcome {
    let Case { links, channels, fill, x, values, grad } = case;
    let corners = Corners::find(links, x);
    let mut out = vec![f32::NAN; grad.len()];
    cpu::forward_with(tier, links, *channels, *fill, &corners, values, &mut out);
    let (mut to_values, mut to_x) = (vec![0.0; values.len()], vec![f32::NAN; x.len()]);
    cpu::backward_values_with(tier, links, *channels, &corners, grad, &mut to_values);
    cpu::backward_points(links, *channels, *fill, &corners, x, values, grad, &mut to_x);
    (out, to_values, to_x)
}

fn slow(case: &Case) -> Outcome {
    let Case { links, channels, fill, x, values, grad } = case;
    let (mut out, mut to_values, mut to_x) = (vec![f32::NAN; grad.len()], vec![0.0; values.len()], vec![0.0; x.len()]);
    reference::forward(links, *channels, *fill, x, values, &mut out);
    reference::backward(links, *channels, *fill, x, values, grad, &mut to_values, &mut to_x);
    (out, to_values, to_x)
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

#[test]
fn every_tier_agrees_with_the_reference() {
    for case in cases() {
        let (out, to_values, to_x) = slow(&case);
        let what = format!("{} of {}³, {} channels", case.links.rows(), case.links.resolution(), case.channels);
        for tier in Tier::all() {
            let found = fast(tier, &case);
            assert!(found.0 == out, "{tier:?}, {what}: results");
            // Summed in another order.
            assert!(close(&found.1, &to_values, 2e-5), "{tier:?}, {what}: gradient of the values");
            assert!(close(&found.2, &to_x, 1e-3), "{tier:?}, {what}: gradient of the points");
        }
    }
}

#[test]
fn the_comparison_notices_one_wrong_value_or_point() {
    let mut case = case(9, 0.7, 27, 700);
    let (out, to_values, to_x) = slow(&case);
    case.x[3] = 1.0 - case.x[3].clamp(0.0, 1.0);
    case.grad[700] += 0.05;
    let found = fast(Tier::best(), &case);
    assert!(found.0 != out && !close(&found.1, &to_values, 2e-5) && !close(&found.2, &to_x, 1e-3));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let case = case(40, 0.6, 27, 3000);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fast(Tier::best(), &case))
    };
    let one = with(1);
    assert!(one == with(2) && one == with(12));
}

#[test]
fn gradients_agree_with_finite_differences() {
    for channels in [1, 27] {
        let mut case = case(9, 0.7, channels, 40);
        // Away from the kinks: the faces of cells, and the outermost vertices.
        let mut rng = Rng::new(5, "inside cells");
        let inside = |x: f32| (0.1..0.9).contains(&(x * 9.0 - 0.5).fract()) && (0.08..0.92).contains(&x);
        for x in &mut case.x {
            *x = std::iter::repeat_with(|| rng.uniform()).find(|x| inside(*x)).unwrap();
        }
        let loss = |x: &[f32], values: &[f32]| -> f64 {
            let mut out = vec![0.0; case.grad.len()];
            cpu::forward(&case.links, channels, case.fill, &Corners::find(&case.links, x), values, &mut out);
            out.iter().zip(&case.grad).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (_, to_values, to_x) = fast(Tier::best(), &case);
        let check = |start: &[f32], gradient: &[f32], h: f32, of: &dyn Fn(&[f32]) -> f64| {
            for i in (0..start.len()).filter(|i| gradient[*i] != 0.0).take(40) {
                let mut moved = start.to_vec();
                moved[i] = start[i] + h;
                let up = of(&moved);
                moved[i] = start[i] - h;
                let numeric = (up - of(&moved)) / f64::from(2.0 * h);
                let claimed = f64::from(gradient[i]);
                assert!((numeric - claimed).abs() < 1e-2 * (1.0 + claimed.abs()), "{i}: {claimed} is not {numeric}");
                assert!((numeric - 1.2 * claimed).abs() > 1e-3 * claimed.abs(), "the comparison is too loose");
            }
        };
        check(&case.x, &to_x, 2e-3, &|x| loss(x, &case.values));
        check(&case.values, &to_values, 0.1, &|values| loss(&case.x, values));
    }
}

/// A function that is linear in space is what it was, wherever vertices are.
#[test]
fn linear_functions_come_back() {
    let links = links(12, 1.0);
    let f = |p: [f32; 3]| 0.3 + p[0] - 2.0 * p[1] + 0.5 * p[2];
    let at = |vertex| f(links.place(vertex).map(|i| (i as f32 + 0.5) / 12.0));
    let values: Vec<f32> = links.vertices().map(at).collect();
    let mut rng = Rng::new(2, "points");
    let x: Vec<f32> = (0..3000).map(|_| rng.range(0.05, 0.95)).collect();
    let mut out = vec![0.0; 1000];
    cpu::forward(&links, 1, 0.0, &Corners::find(&links, &x), &values, &mut out);
    let expected: Vec<f32> = x.as_chunks::<3>().0.iter().map(|p| f(*p)).collect();
    assert!(close(&out, &expected, 1e-5));
}

#[test]
fn a_nan_point_is_harmless() {
    let case = case(9, 1.0, 1, 0);
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let mut out = [f32::NAN];
    cpu::forward(&case.links, 1, 0.0, &Corners::find(&case.links, &x), &vec![1.0; 729], &mut out);
    assert!((out[0] - 1.0).abs() < 1e-6);
}

#[test]
fn links_count_and_survive_bytes() {
    for (resolution, share) in [(2, 1.0), (3, 0.5), (8, 0.0), (9, 0.1), (40, 0.02), (33, 1.0)] {
        let links = links(resolution, share);
        let vertices: Vec<usize> = links.vertices().collect();
        assert_eq!(vertices.len(), links.rows());
        for (row, &vertex) in vertices.iter().enumerate() {
            assert_eq!((links.row(vertex), links.rows_before(vertex)), (Some(row as u32), row));
        }
        let missing = (0..(resolution as usize).pow(3)).filter(|v| !vertices.contains(v)).take(200);
        missing.for_each(|vertex| assert_eq!(links.row(vertex), None));
        for first in [0, links.rows() / 3, links.rows() / 2] {
            assert!(links.vertices_from(first).eq(vertices[first..].iter().copied()), "from {first}");
        }
        let bytes = links.to_bytes();
        let again = Links::from_bytes(&bytes, resolution).unwrap();
        assert_eq!(again.words(), links.words());
        assert!(Links::from_bytes(&bytes, resolution + 1).is_err());
        for damaged in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &bytes[..10], &[]] {
            assert!(Links::from_bytes(damaged, resolution).is_err());
        }
        let mut other = bytes.clone();
        other[16] ^= 1;
        assert!(Links::from_bytes(&other, resolution).is_err());
    }
    assert!(
        Links::from_bytes(&[b"RETORTVX".as_slice(), &[1, 0, 0, 0, 255, 255, 255, 255]].concat(), u32::MAX).is_err()
    );
}

/// The value of a function of one tensor, weighted, and the gradient.
fn graph(x: &[f32], shape: [usize; 2], f: impl Fn(Tensor<2>) -> Tensor<2>) -> (f64, Vec<f32>) {
    let x = tensor(x.to_vec(), shape, &Device::flex().autodiff()).require_grad();
    let out = f(x.clone());
    let dims = out.dims();
    let weights: Vec<f32> = (0..dims[0] * dims[1]).map(|i| 0.5 + (i % 7) as f32).collect();
    let value = values(out.clone().inner()).iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let loss = (out.clone() * tensor(weights, dims, &out.device())).sum();
    let grad = x.grad_remove(&mut loss.backward()).map(values).unwrap_or_default();
    (value, grad)
}

/// Compares gradients with central differences where two steps agree.
fn check_differences(x: &[f32], shape: [usize; 2], f: impl Fn(Tensor<2>) -> Tensor<2>) {
    let (_, grad) = graph(x, shape, &f);
    assert_eq!(grad.len(), x.len());
    let mut compared = 0;
    for i in (0..x.len()).step_by((x.len() / 60).max(1)) {
        let slope = |h: f32| {
            let moved = |by: f32| {
                let mut x = x.to_vec();
                x[i] += by;
                graph(&x, shape, &f).0
            };
            (moved(h) - moved(-h)) / f64::from(2.0 * h)
        };
        let (wide, narrow) = (slope(2e-3), slope(1e-3));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-2 * b.abs() + 2e-3;
        if near(wide, narrow) {
            let claimed = f64::from(grad[i]);
            assert!(near(claimed, narrow), "{i}: {claimed}, by differences {wide} and {narrow}");
            compared += usize::from(claimed.abs() > 0.05);
            assert!(claimed.abs() < 0.05 || !near(1.1 * claimed, narrow), "the comparison is too loose");
        }
    }
    assert!(compared > 10, "only {compared} are compared");
}

#[test]
fn colours_are_sums_of_harmonics() {
    let n = 20;
    let mut rng = Rng::new(4, "colours");
    let latent: Vec<f32> = (0..27 * n).map(|_| rng.range(-0.3, 0.3)).collect();
    let unit = |_| glam::Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize().to_array();
    let d: Vec<f32> = (0..n).flat_map(unit).collect();
    let device = Device::flex().autodiff();
    let fixed = |v: &[f32], shape| tensor(v.to_vec(), shape, &device);
    for colour in [Colour::Sigmoid, Colour::Clip] {
        let out = values(sh_colour(fixed(&latent, [n, 27]), fixed(&d, [n, 3]), colour).inner());
        for (i, c) in (0..n).flat_map(|i| (0..3).map(move |c| (i, c))) {
            let basis = crate::parts::sh::eval_basis(2, glam::Vec3::from_slice(&d[3 * i..]));
            let sum: f32 = (0..9).map(|k| latent[27 * i + 9 * c + k] * basis[k]).sum();
            let expected = match colour {
                Colour::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
                Colour::Clip => (sum + 0.5).clamp(0.0, 1.0),
            };
            assert!((out[3 * i + c] - expected).abs() < 1e-6);
        }
        check_differences(&latent, [n, 27], |latent| sh_colour(latent, fixed(&d, [n, 3]), colour));
        check_differences(&d, [n, 3], |d| sh_colour(fixed(&latent, [n, 27]), d, colour));
    }
    // A colour out of its range is led back, and only back.
    let far = [4.0_f32, -4.0].map(|dc| [vec![dc], vec![0.0; 8]].concat().repeat(3)).concat();
    for (sign, expected) in [(1.0, [true, false]), (-1.0, [false, true])] {
        let up = |x: Tensor<2>| sh_colour(x, fixed(&[0.0, 0.0, 1.0, 0.0, 0.0, 1.0], [2, 3]), Colour::Clip) * sign;
        let grad = graph(&far, [2, 27], up).1;
        assert_eq!([grad[0] != 0.0, grad[27] != 0.0], expected);
    }
}

#[test]
fn linear_densities_have_a_logarithm() {
    let x: Vec<f32> = (0..60).map(|i| 0.15 + 0.1 * i as f32).collect();
    check_differences(&x, [60, 1], |x| log_of(x, -2.0, 2.0));
    let device = Device::flex();
    let out = values(log_of(tensor(vec![-5.0, 0.0, 1.0, 1e9], [4, 1], &device), -3.0, 2.0));
    assert_eq!(out, [-3.0, -3.0, 0.0, 2.0]);
    assert!(values(log_of(tensor(vec![f32::NAN], [1, 1], &device), -3.0, 2.0))[0].is_nan());
    // An empty place that should be filled has a slope; one that should be emptied has none.
    assert!(graph(&[-5.0], [1, 1], |x| log_of(x, -3.0, 2.0).neg()).1[0] < 0.0);
    assert_eq!(graph(&[-5.0], [1, 1], |x| log_of(x, -3.0, 2.0)).1[0], 0.0);
}

#[test]
fn penalties_agree_with_their_formulas_and_differences() {
    let links = Arc::new(links(7, 0.8));
    let rows = links.rows();
    let mut rng = Rng::new(6, "penalty");
    let at = |v: &[f32], vertex: usize, by: usize, inside: bool| {
        inside.then(|| links.row(vertex + by)).flatten().map(|row| v[row as usize])
    };
    let one: Vec<f32> = (0..rows).map(|_| rng.range(-1.0, 1.0)).collect();
    let mean = |x: Tensor<2>, kind| penalty(x, &links, kind, &mut Rng::new(1, "part")).reshape([1, 1]);
    // Vertex by vertex: differences are lost in the rounding of a mean.
    let around = Arc::new(penalty::draw(&links, &mut Rng::new(1, "part")));
    let own = |x: Tensor<2>, penalty| {
        let channels = x.dims()[1];
        apply1(x, penalty::Regulariser { penalty, channels, around: Arc::clone(&around) })
    };
    // All vertices are looked at: there are fewer than a part has at least.
    let expected: f64 = links
        .vertices()
        .enumerate()
        .map(|(row, vertex)| {
            let place = links.place(vertex);
            let next = |a: usize, by| at(&one, vertex, by, place[a] < 6).map_or(0.0, |v| 2.0 * (v - one[row]));
            let d = [next(0, 1), next(1, 7), next(2, 49)];
            f64::from(d.iter().map(|d| d * d).sum::<f32>() + 1e-9).sqrt()
        })
        .sum();
    let found = graph(&one, [rows, 1], |x| mean(x, Penalty::Variation { scale: 2.0 })).0 / 0.5;
    assert!((found - expected / rows as f64).abs() < 1e-4, "{found} and {}", expected / rows as f64);
    for kind in [Penalty::Variation { scale: 2.0 }, Penalty::CauchyLinear, Penalty::CauchyExp] {
        check_differences(&one, [rows, 1], |x| own(x, kind));
    }
    let all: Vec<f32> = (0..27 * rows).map(|_| rng.range(-1.0, 1.0)).collect();
    check_differences(&all, [rows, 27], |x| own(x, Penalty::Variation { scale: 0.5 }));
}

/// A part of many vertices is a hundredth of them, another one each time, and wraps around the end.
#[test]
fn a_part_is_drawn_anew() {
    let links = links(60, 1.0);
    let x = vec![0.0; links.rows()];
    let touched = |seed| {
        let kind = Penalty::CauchyExp;
        let grad = graph(&x, [x.len(), 1], |x| penalty(x, &links, kind, &mut Rng::new(seed, "part")).reshape([1, 1])).1;
        (0..grad.len()).filter(|&i| grad[i] != 0.0).collect::<Vec<_>>()
    };
    let parts: Vec<_> = (0..5).map(touched).collect();
    assert!(parts.iter().all(|part| part.len() == 2160));
    assert!(parts.windows(2).all(|two| two[0] != two[1]));
}
