//! The multi-layer perceptron as plain loops in double precision: what the fast kernel is compared with.

use super::spec::{Activation, MlpSpec};

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu if x < 0.0 => 0.0,
        Activation::None | Activation::Relu => x,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

/// The derivative of an activation, from its value.
fn slope(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::None => 1.0,
        Activation::Relu => f64::from(u8::from(y > 0.0)),
        Activation::Sigmoid => y * (1.0 - y),
    }
}

/// What layer `l` sees, given the network's input and the previous activations.
fn seen(spec: &MlpSpec, l: usize, x: &[f64], previous: &[f64]) -> Vec<f64> {
    match l {
        0 => x.to_vec(),
        _ if spec.layers[l].concat_input => [x, previous].concat(),
        _ => previous.to_vec(),
    }
}

/// What each layer sees and gives, for one row.
fn run(spec: &MlpSpec, x: &[f32], params: &[f32]) -> Vec<(Vec<f64>, Vec<f64>)> {
    let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let mut layers: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for (l, layer) in spec.layers.iter().enumerate() {
        let input = seen(spec, l, &x, layers.last().map_or(&[], |(_, h)| h));
        let weights = &params[spec.offset(l)..];
        let bias = &weights[layer.out * input.len()..];
        let output = (0..layer.out).map(|o| {
            let start = if layer.bias { f64::from(bias[o]) } else { 0.0 };
            let row = &weights[o * input.len()..][..input.len()];
            activate(layer.activation, row.iter().zip(&input).fold(start, |sum, (w, h)| sum + f64::from(*w) * h))
        });
        let output = output.collect();
        layers.push((input, output));
    }
    layers
}

/// See [`super::cpu::forward`].
pub fn forward(spec: &MlpSpec, x: &[f32], params: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(spec.input).zip(out.chunks_exact_mut(spec.output_dim())) {
        if let Some((_, result)) = run(spec, x, params).last() {
            out.iter_mut().zip(result).for_each(|(out, y)| *out = *y as f32);
        }
    }
}

/// See [`super::cpu::backward`].
pub fn backward(
    spec: &MlpSpec,
    x: &[f32],
    params: &[f32],
    grad_out: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_params: &mut [f32],
) {
    let mut unwanted = vec![0.0; x.len()];
    let grad_x = grad_x.unwrap_or(&mut unwanted);
    let mut total = vec![0.0_f64; grad_params.len()];
    let rows = x.chunks_exact(spec.input).zip(grad_out.chunks_exact(spec.output_dim()));
    for ((x, grad_out), grad_x) in rows.zip(grad_x.chunks_exact_mut(spec.input)) {
        let mut to_input = vec![0.0_f64; spec.input];
        let mut grad: Vec<f64> = grad_out.iter().copied().map(f64::from).collect();
        for (l, (input, output)) in run(spec, x, params).into_iter().enumerate().rev() {
            let layer = &spec.layers[l];
            let (at, ins) = (spec.offset(l), input.len());
            let mut below = vec![0.0_f64; ins];
            for o in 0..layer.out {
                let g = grad[o] * slope(layer.activation, output[o]);
                for i in 0..ins {
                    total[at + o * ins + i] += g * input[i];
                    below[i] += g * f64::from(params[at + o * ins + i]);
                }
                if layer.bias {
                    total[at + layer.out * ins + o] += g;
                }
            }
            if l == 0 || layer.concat_input {
                to_input.iter_mut().zip(&below).for_each(|(sum, g)| *sum += g);
                below.drain(..spec.input);
            }
            grad = below;
        }
        grad_x.iter_mut().zip(&to_input).for_each(|(out, g)| *out = *g as f32);
    }
    grad_params.iter_mut().zip(&total).for_each(|(out, g)| *out += *g as f32);
}
