//! A small fully connected network as one flat parameter tensor, initialised by Glorot and Bengio (2010):
//! weights uniform in `±√(6 / (in + out))`, biases zero.

use burn::tensor::{Device, Tensor};

use crate::field::tensor;
use crate::ops::mlp::spec::{Activation, Layer, MlpSpec};
use crate::rng::Rng;

/// A plain stack without biases: `input → hidden… → output`, a rectifier between, nothing after (as `tiny-cuda-nn` has it).
pub fn plain(input: usize, hidden: &[usize], output: usize) -> MlpSpec {
    let relu = hidden.iter().map(|&out| Layer::new(out, Activation::Relu));
    let last = Layer::new(output, Activation::None);
    MlpSpec { input, layers: relu.chain([last]).collect() }
}

/// Parameters `[1, param_count]` drawn from `rng`, in the order that the kernel reads: per layer weights
/// `[out, in]`, then biases `[out]`.
pub fn init(spec: &MlpSpec, rng: &mut Rng, device: &Device) -> Tensor<2> {
    let mut values = Vec::with_capacity(spec.param_count());
    for (l, layer) in spec.layers.iter().enumerate() {
        let input = spec.in_dim(l);
        let bound = (6.0 / (input + layer.out) as f32).sqrt();
        values.extend((0..input * layer.out).map(|_| rng.range(-bound, bound)));
        if layer.bias {
            values.extend(std::iter::repeat_n(0.0, layer.out));
        }
    }
    let count = values.len();
    tensor(values, [1, count], device)
}
