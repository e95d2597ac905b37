//! The quick attention against the stock one, forward and back, on every tier of instructions.

use burn::tensor::{Device, Tensor};

use super::{Groups, attend, cpu, reference};
use crate::field::{tensor, values};
use crate::ops::simd::Tier;
use crate::ops::testing::{error, normals};

/// Groups, heads, queries, keys, channels: whole vectors and parts of them, more queries than a strip, few keys, one.
const SHAPES: [[usize; 5]; 6] = [
    [2, 4, 64, 64, 128],
    [1, 2, 130, 11, 40],
    [3, 1, 5, 7, 6],
    [1, 1, 3, 1, 4],
    [2, 2, 50, 50, 26],
    [1, 1, 20, 3000, 8],
];

fn inputs([b, _, t, u, c]: [usize; 5]) -> [Vec<f32>; 3] {
    [normals(b * t * c, "q"), normals(b * u * c, "k"), normals(b * u * c, "v")]
}

fn groups([groups, heads, ..]: [usize; 5], causal: bool) -> Groups {
    Groups { groups, heads, causal }
}

type Attention = fn(Tensor<2>, Tensor<2>, Tensor<2>, Groups) -> Tensor<2>;

/// The output and the gradients of q, k and v of a weighted sum of it.
fn all(f: Attention, shape @ [b, _, t, u, c]: [usize; 5], causal: bool, inputs: &[Vec<f32>; 3]) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let shapes = [[b * t, c], [b * u, c], [b * u, c]];
    let [q, k, v] = [0, 1, 2].map(|i| tensor(inputs[i].clone(), shapes[i], &device).require_grad());
    let y = f(q.clone(), k.clone(), v.clone(), groups(shape, causal));
    let weights = tensor(normals(b * t * c, "weights"), [b * t, c], &device);
    let mut grads = (y.clone() * weights).sum().backward();
    let [gq, gk, gv] = [q, k, v].map(|t| values(t.grad_remove(&mut grads).expect("a gradient")));
    [values(y.inner()), gq, gk, gv]
}

#[test]
fn agrees_with_the_reference_forward_and_back() {
    for (shape, causal) in SHAPES.iter().flat_map(|&shape| [(shape, false), (shape, true)]) {
        let inputs = inputs(shape);
        let (fast, slow) = (all(attend, shape, causal, &inputs), all(reference::attend, shape, causal, &inputs));
        for (what, (fast, slow)) in ["y", "grad q", "grad k", "grad v"].iter().zip(fast.iter().zip(&slow)) {
            // With one key there is no choice, and no gradient but rounding.
            let none = slow.iter().all(|s| s.abs() < 1e-5);
            assert!(none || error(fast, slow) < 2e-5, "{shape:?} {causal} {what}: {}", error(fast, slow));
        }
        // The negative control: one value is another.
        let mut other = inputs.clone();
        other[2][0] += 1.0;
        let other = all(reference::attend, shape, causal, &other);
        assert!(error(&fast[0], &other[0]) > 1e-5, "{shape:?}: a value makes no difference");
    }
}

#[test]
fn queries_may_wait_their_turn() {
    let shape @ [b, _, t, u, c] = SHAPES[0];
    let inputs = inputs(shape);
    let device = Device::flex();
    let [q, k, v] = [(0, t), (1, u), (2, u)].map(|(i, rows)| tensor(inputs[i].clone(), [b * rows, c], &device));
    for causal in [false, true] {
        let groups = groups(shape, causal);
        let whole = values(reference::attend(q.clone(), k.clone(), v.clone(), groups));
        let parts = values(reference::attend_by(q.clone(), k.clone(), v.clone(), groups, 3 * b * 4 * u));
        assert!(error(&parts, &whole) < 1e-6);
    }
}

#[test]
fn every_tier_agrees() {
    for shape @ [_, _, _, _, c] in SHAPES {
        let [q, k, v] = inputs(shape);
        let run = |tier| {
            let mut y = vec![f32::NAN; q.len()];
            cpu::forward_with(tier, groups(shape, false), c, [&q, &k, &v], &mut y);
            y
        };
        let results: Vec<_> = Tier::all().into_iter().map(run).collect();
        for other in &results[1..] {
            assert!(error(other, &results[0]) < 1e-5, "{shape:?}");
        }
    }
}

#[test]
fn a_number_that_is_none_is_not_lost() {
    let shape @ [b, _, t, _, c] = SHAPES[0];
    let mut inputs = inputs(shape);
    inputs[0][5] = f32::NAN;
    let mut y = vec![0.0; b * t * c];
    cpu::forward(groups(shape, false), c, [&inputs[0], &inputs[1], &inputs[2]], &mut y);
    assert!(y[5].is_nan() && !y[c * 3].is_nan());
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let shape = [1, 2, 4, 5, 6];
    let inputs = inputs(shape);
    let [_, gq, gk, gv] = all(reference::attend, shape, true, &inputs);
    let weights = normals(4 * 6, "weights");
    let sum = |inputs: &[Vec<f32>; 3]| -> f64 {
        let device = Device::flex();
        let [q, k, v] = [(0, 4), (1, 5), (2, 5)].map(|(i, rows)| tensor(inputs[i].clone(), [rows, 6], &device));
        let y = values(reference::attend(q, k, v, groups(shape, true)));
        y.iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    for (which, grad) in [(0, &gq), (1, &gk), (2, &gv)] {
        for at in [0, 7, 13] {
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
