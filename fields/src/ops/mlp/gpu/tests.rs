//! The network on wgpu against the CPU's.

use super::*;
use crate::ops::gpu::testing::{assert_close, compare, download, uniform, upload};

/// Every kind of layer: a bias, a skip connection, both activations; narrow and wide tiles.
fn mixed() -> MlpSpec {
    MlpSpec {
        input: 5,
        layers: vec![
            Layer::new(70, Activation::Relu).with_bias(),
            Layer::new(20, Activation::Relu).with_input().with_bias(),
            Layer::new(3, Activation::Sigmoid),
        ],
    }
}

fn parameters(spec: &MlpSpec) -> Vec<f32> {
    uniform(2, "weights", spec.param_count(), -0.3, 0.3)
}

#[test]
fn equals_the_cpu() {
    let (spec, n) = (mixed(), 777);
    let (x, params) = (uniform(1, "x", n * 5, -1.0, 1.0), parameters(&spec));
    let shape = [1, spec.param_count()];
    compare(&Mlp { spec }, &[(&x, [n, 5]), (&params, shape)], 1e-5);
}

#[test]
fn equals_the_cpu_beyond_65_535_groups() {
    let (spec, n) = (MlpSpec::plain(4, 64, 1, 3), 66_000);
    let (x, params) = (uniform(1, "x", n * 4, -1.0, 1.0), parameters(&spec));
    let shape = [1, spec.param_count()];
    compare(&Mlp { spec }, &[(&x, [n, 4]), (&params, shape)], 2e-5);
}

#[test]
fn chunks_of_rows_change_nothing() {
    let (spec, n) = (mixed(), 500);
    let params = parameters(&spec);
    let inputs = [upload(&uniform(1, "x", n * 5, -1.0, 1.0), [n, 5]), upload(&params, [1, params.len()])];
    let grad = upload(&uniform(3, "grad", n * 3, -1.0, 1.0), [n, 3]);
    let whole = download(forward(&spec, &inputs, n));
    assert_eq!(download(forward(&spec, &inputs, 192)), whole);
    let run =
        |chunk| backward(&spec, &inputs, &grad, &[true, true], chunk).into_iter().map(|g| download(g.expect("wanted")));
    for (pieces, whole) in run(192).zip(run(n)) {
        assert_close("gradient", &pieces, &whole, 1e-5);
    }
}
