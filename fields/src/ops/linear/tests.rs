//! The quick map against the stock one, forward and back, on every tier of instructions.

use burn::tensor::{Device, Tensor};

use super::{Act, cpu, linear, reference};
use crate::field::{tensor, values};
use crate::ops::simd::Tier;
use crate::ops::testing::{error, normals};

/// Rows, inputs, outputs: whole vectors and strips and parts of them, one of each.
const SHAPES: [[usize; 3]; 5] = [[96, 64, 128], [50, 13, 33], [1, 7, 16], [200, 1, 1], [17, 128, 20]];

fn inputs([n, i, o]: [usize; 3]) -> [Vec<f32>; 3] {
    [normals(n * i, "x"), normals(i * o, "w"), normals(o, "b")]
}

type Map = fn(Tensor<2>, Tensor<2>, Tensor<2>, Act) -> Tensor<2>;

/// The output and the gradients of x, w and b of a weighted sum of it.
fn all(f: Map, [n, i, o]: [usize; 3], act: Act, inputs: &[Vec<f32>; 3]) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let shapes = [[n, i], [i, o], [1, o]];
    let [x, w, b] = [0, 1, 2].map(|k| tensor(inputs[k].clone(), shapes[k], &device).require_grad());
    let y = f(x.clone(), w.clone(), b.clone(), act);
    let weights = tensor(normals(n * o, "weights"), [n, o], &device);
    let mut grads = (y.clone() * weights).sum().backward();
    let [gx, gw, gb] = [x, w, b].map(|t| values(t.grad_remove(&mut grads).expect("a gradient")));
    [values(y.inner()), gx, gw, gb]
}

#[test]
fn agrees_with_the_reference_forward_and_back() {
    for (shape, act) in SHAPES.into_iter().flat_map(|s| [(s, Act::None), (s, Act::Silu)]) {
        let inputs = inputs(shape);
        let (fast, slow) = (all(linear, shape, act, &inputs), all(reference::linear, shape, act, &inputs));
        for (what, (fast, slow)) in ["y", "grad x", "grad w", "grad b"].iter().zip(fast.iter().zip(&slow)) {
            assert!(error(fast, slow) < 1e-5, "{shape:?} {act:?} {what}: {}", error(fast, slow));
        }
        // The negative control: one weight is another.
        let mut other = inputs.clone();
        other[1][0] += 0.5;
        let other = all(reference::linear, shape, act, &other);
        assert!(error(&fast[0], &other[0]) > 1e-5, "{shape:?}: a weight makes no difference");
    }
}

#[test]
fn every_tier_agrees() {
    for shape @ [n, _, o] in SHAPES {
        let [x, w, b] = inputs(shape);
        let run = |tier| {
            let mut y = vec![f32::NAN; n * o];
            cpu::forward_with(tier, Act::Silu, [&x, &w, &b], &mut y);
            y
        };
        let results: Vec<_> = Tier::all().into_iter().map(run).collect();
        for other in &results[1..] {
            assert!(error(other, &results[0]) < 1e-5, "{shape:?}");
        }
    }
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let shape = [4, 3, 5];
    let inputs = inputs(shape);
    let [_, gx, gw, gb] = all(reference::linear, shape, Act::Silu, &inputs);
    let weights = normals(20, "weights");
    let sum = |inputs: &[Vec<f32>; 3]| -> f64 {
        let device = Device::flex();
        let [x, w, b] =
            [(0, [4, 3]), (1, [3, 5]), (2, [1, 5])].map(|(k, shape)| tensor(inputs[k].clone(), shape, &device));
        let y = values(reference::linear(x, w, b, Act::Silu));
        y.iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    for (which, grad) in [(0, &gx), (1, &gw), (2, &gb)] {
        for at in [0, grad.len() / 2, grad.len() - 1] {
            let moved = |by: f32| {
                let mut inputs = inputs.clone();
                inputs[which][at] += by;
                sum(&inputs)
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            let off = (slope - f64::from(grad[at])).abs();
            assert!(off < 2e-3 * slope.abs().max(1.0), "{which} {at}: {slope} {}", grad[at]);
        }
    }
}
