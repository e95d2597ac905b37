use burn::tensor::Device;

use super::*;
use crate::field::{tensor, values};
use crate::rng::Rng;

/// A result's values, and the gradients of its sum weighted by `1, 2, 3, …` with respect to both inputs.
fn run(f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let mut rng = Rng::new(3, "pointwise");
    let n = 2500;
    let x: Vec<f32> = (0..7 * n).map(|_| rng.normal()).collect();
    // Directions that come several times in a row, as along a ray.
    let normal = |_| Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize().to_array();
    let directions: Vec<[f32; 3]> = (0..n / 5).map(normal).collect();
    let d: Vec<f32> = (0..n).flat_map(|i| directions[i / 5]).collect();
    let (x, d) = (tensor(x, [n, 7], &device).require_grad(), tensor(d, [n, 3], &device).require_grad());
    let out = f(x.clone(), d.clone());
    let shape = out.dims();
    let weights = (0..shape[0] * shape[1]).map(|i| (i % 97) as f32).collect();
    let mut grads = (out.clone() * tensor(weights, shape, &device)).sum().backward();
    let mut grad = |t: &Tensor<2>| t.grad_remove(&mut grads).map(values).unwrap_or_default();
    [values(out.inner()), grad(&x), grad(&d)]
}

fn worst(a: &[Vec<f32>; 3], b: &[Vec<f32>; 3]) -> f32 {
    let pairs = a.iter().zip(b).inspect(|(a, b)| assert_eq!(a.len(), b.len()));
    pairs.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max)
}

#[test]
fn columns_are_those_of_a_slice() {
    let n = 2500;
    let ours = run(|x, _| columns(x, 2, 3));
    let stock = run(|x, _| x.slice([0..n, 2..5]));
    assert_eq!(ours, stock);
    // The negative control: other columns.
    assert_ne!(ours, run(|x, _| x.slice([0..n, 1..4])));
    assert!(values(columns(Tensor::zeros([0, 4], &Device::flex()), 1, 2)).is_empty());
}

#[test]
fn beside_sh_is_encoding_and_joining() {
    let ours = run(beside_sh);
    let stock = run(|x, d| Tensor::cat(vec![x, sh_encode(d)], 1));
    assert!(worst(&ours, &stock) < 1e-6);
    assert!(!ours[2].is_empty() && ours[2].iter().any(|&g| g != 0.0));
    // The negative control: the parts the other way round.
    assert!(worst(&ours, &run(|x, d| Tensor::cat(vec![sh_encode(d), x], 1))) > 0.1);
}

#[test]
fn the_exponential_is_truncated_in_its_gradient_only() {
    let device = Device::flex().autodiff();
    let x = tensor(vec![-20.0, -1.0, 0.0, 3.0, 14.0], [5, 1], &device).require_grad();
    let y = trunc_exp(x.clone());
    let mut grads = y.clone().sum().backward();
    let grad = x.grad_remove(&mut grads).map(values).unwrap_or_default();
    let near = |a: f32, b: f32| (a / b - 1.0).abs() < 1e-6;
    for ((x, y), g) in [-20.0_f32, -1.0, 0.0, 3.0, 14.0].into_iter().zip(values(y.inner())).zip(grad) {
        assert!(near(y, x.exp()) && near(g, x.clamp(-TRUNCATION, TRUNCATION).exp()), "{x}: {y} {g}");
    }
}
