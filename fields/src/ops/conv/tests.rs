//! The quick convolution against the stock one, forward and back, on every tier of instructions.

use burn::tensor::{Device, Tensor};

use super::{conv, cpu, reference};
use crate::field::{tensor, values};
use crate::ops::simd::Tier;
use crate::ops::testing::{error, normals};

/// Pictures, side, channels in, channels out: whole vectors, parts of them, one pixel, more rows than a strip.
const SHAPES: [[usize; 4]; 5] = [[2, 8, 16, 32], [1, 16, 64, 64], [3, 4, 5, 7], [2, 1, 3, 20], [1, 10, 6, 33]];

fn inputs([n, side, i, o]: [usize; 4]) -> [Vec<f32>; 3] {
    [normals(n * side * side * i, "x"), normals(9 * i * o, "w"), normals(o, "b")]
}

type Convolution = fn(Tensor<2>, Tensor<2>, Tensor<2>, usize) -> Tensor<2>;

/// The output and the gradients of x, w and b of a weighted sum of it.
fn all(f: Convolution, shape @ [n, side, i, o]: [usize; 4], inputs: &[Vec<f32>; 3]) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let shapes = [[n * side * side, i], [9 * i, o], [1, o]];
    let [x, w, b] = [0, 1, 2].map(|k| tensor(inputs[k].clone(), shapes[k], &device).require_grad());
    let y = f(x.clone(), w.clone(), b.clone(), side);
    let weights = tensor(normals(shape[0] * side * side * o, "weights"), [n * side * side, o], &device);
    let mut grads = (y.clone() * weights).sum().backward();
    let [gx, gw, gb] = [x, w, b].map(|t| values(t.grad_remove(&mut grads).expect("a gradient")));
    [values(y.inner()), gx, gw, gb]
}

#[test]
fn agrees_with_the_reference_forward_and_back() {
    for shape in SHAPES {
        let inputs = inputs(shape);
        let (fast, slow) = (all(conv, shape, &inputs), all(reference::conv, shape, &inputs));
        for (what, (fast, slow)) in ["y", "grad x", "grad w", "grad b"].iter().zip(fast.iter().zip(&slow)) {
            assert!(error(fast, slow) < 1e-5, "{shape:?} {what}: {}", error(fast, slow));
        }
        // The negative control: one weight is another.
        let mut other = inputs.clone();
        other[1][0] += 0.1;
        let other = all(reference::conv, shape, &other);
        assert!(error(&fast[0], &other[0]) > 1e-5 || shape[1] == 1, "{shape:?}: a weight makes no difference");
    }
}

#[test]
fn every_tier_agrees() {
    for shape @ [n, side, _, o] in SHAPES {
        let [x, w, b] = inputs(shape);
        let results: Vec<_> = Tier::all()
            .into_iter()
            .map(|tier| {
                let mut y = vec![f32::NAN; n * side * side * o];
                cpu::forward_with(tier, side, &x, &w, &b, &mut y);
                y
            })
            .collect();
        for other in &results[1..] {
            assert!(error(other, &results[0]) < 1e-5, "{shape:?}");
        }
    }
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let shape = [1, 4, 3, 5];
    let inputs = inputs(shape);
    let [_, gx, gw, gb] = all(reference::conv, shape, &inputs);
    let weights = normals(16 * 5, "weights");
    let sum = |inputs: &[Vec<f32>; 3]| -> f64 {
        let device = Device::flex();
        let [x, w, b] = [[16, 3], [27, 5], [1, 5]]
            .iter()
            .zip(inputs)
            .map(|(s, v)| tensor(v.clone(), *s, &device))
            .collect::<Vec<_>>()
            .try_into()
            .expect("three");
        values(reference::conv(x, w, b, 4)).iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    for (which, grad) in [(0, &gx), (1, &gw), (2, &gb)] {
        for at in [0, grad.len() / 2, grad.len() - 1] {
            let moved = |by: f32| {
                let mut inputs = inputs.clone();
                inputs[which][at] += by;
                sum(&inputs)
            };
            let slope = (moved(0.1) - moved(-0.1)) / 0.2;
            assert!(
                (slope - f64::from(grad[at])).abs() < 2e-3 * slope.abs().max(1.0),
                "{which} {at}: {slope} {}",
                grad[at]
            );
        }
    }
}
