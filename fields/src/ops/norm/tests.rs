//! The quick normalisation against the stock one, forward and back.

use burn::tensor::{Device, Tensor};

use super::{Norm, norm, reference};
use crate::field::{tensor, values};
use crate::ops::testing::{self, error};

/// Views, places, channels, groups, and whether each view has its own scale and shift: layers, groups, more places than a
/// block, more groups than fit a small array.
const SHAPES: [(usize, usize, usize, usize, bool); 6] = [
    (20, 1, 128, 1, false),
    (3, 64, 64, 8, false),
    (3, 300, 24, 4, true),
    (2, 5, 6, 2, true),
    (600, 1, 10, 1, false),
    (1, 9, 140, 70, false),
];

fn normals(n: usize, name: &str) -> Vec<f32> {
    testing::normals(n, name).iter().map(|v| 0.7 + 1.3 * v).collect()
}

type Normalisation = fn(Tensor<2>, Tensor<2>, Tensor<2>, Norm) -> Tensor<2>;

/// The output and the gradients of x, scale and shift of a weighted sum of it.
fn all(f: Normalisation, rows: usize, spec: Norm, inputs: &[Vec<f32>; 3]) -> [Vec<f32>; 4] {
    let device = Device::flex().autodiff();
    let width = inputs[0].len() / rows;
    let [x, scale, shift] =
        [0, 1, 2].map(|i| tensor(inputs[i].clone(), [inputs[i].len() / width, width], &device).require_grad());
    let y = f(x.clone(), scale.clone(), shift.clone(), spec);
    let weights = tensor(normals(rows * width, "weights"), [rows, width], &device);
    let mut grads = (y.clone() * weights).sum().backward();
    let [gx, ga, gb] = [x, scale, shift].map(|t| values(t.grad_remove(&mut grads).expect("a gradient")));
    [values(y.inner()), gx, ga, gb]
}

#[test]
fn agrees_with_the_reference_forward_and_back() {
    for ((views, places, width, groups, own), silu) in SHAPES.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let spec = Norm { views, groups, eps: 1e-5, silu };
        let (rows, tables) = (views * places, if own { views } else { 1 });
        let inputs = [normals(rows * width, "x"), normals(tables * width, "scale"), normals(tables * width, "shift")];
        let (fast, slow) = (all(norm, rows, spec, &inputs), all(reference::norm, rows, spec, &inputs));
        for (what, (fast, slow)) in ["y", "grad x", "grad scale", "grad shift"].iter().zip(fast.iter().zip(&slow)) {
            assert!(error(fast, slow) < 2e-5, "{spec:?} {places} {width} {what}: {}", error(fast, slow));
        }
        // The negative control: one value is another.
        let mut other = inputs.clone();
        other[1][0] += 0.1;
        let other = all(reference::norm, rows, spec, &other);
        assert!(error(&fast[0], &other[0]) > 1e-5, "{spec:?}: a scale makes no difference");
    }
}

#[test]
fn a_mean_far_from_zero_leaves_the_variance_alone() {
    let spec = Norm { views: 1, groups: 2, eps: 1e-6, silu: false };
    let around = |far: f32| (0..4000).map(move |i| far + (i % 7) as f32).collect::<Vec<_>>();
    let device = Device::flex();
    let [near, far] = [0.0, 4096.0].map(|far| {
        let [scale, shift] = [1.0, 0.0].map(|v| tensor(vec![v; 4], [1, 4], &device));
        values(norm(tensor(around(far), [1000, 4], &device), scale, shift, spec))
    });
    assert!(error(&far, &near) < 1e-4, "{}", error(&far, &near));
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let spec = Norm { views: 2, groups: 2, eps: 1e-5, silu: true };
    let inputs = [normals(2 * 3 * 4, "x"), normals(2 * 4, "scale"), normals(2 * 4, "shift")];
    let [_, gx, ga, gb] = all(reference::norm, 6, spec, &inputs);
    let weights = normals(24, "weights");
    let sum = |inputs: &[Vec<f32>; 3]| -> f64 {
        let device = Device::flex();
        let [x, scale, shift] = [(0, 6), (1, 2), (2, 2)].map(|(i, rows)| tensor(inputs[i].clone(), [rows, 4], &device));
        let y = values(reference::norm(x, scale, shift, spec));
        y.iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    for (which, grad) in [(0, &gx), (1, &ga), (2, &gb)] {
        for at in [0, grad.len() / 2, grad.len() - 1] {
            let moved = |by: f32| {
                let mut inputs = inputs.clone();
                inputs[which][at] += by;
                sum(&inputs)
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            let off = (slope - f64::from(grad[at])).abs();
            assert!(off < 3e-3 * slope.abs().max(1.0), "{which} {at}: {slope} {}", grad[at]);
        }
    }
}
