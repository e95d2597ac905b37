//! The face itself, on a kernel whose gradient is known: `out = (x · y, summed over columns) · factor`.

use burn::tensor::{Device, DeviceKind, Tensor, TensorData};

use super::{Kernel, Memo, apply1, apply2};
use crate::ops::pointwise::clamp_inward;

/// The scaled dot product of the rows of two inputs; keeps its output as a memo.
#[derive(Debug)]
struct Dot {
    factor: f32,
}

impl Kernel for Dot {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], 1]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let c = inputs[0].len() / output.len();
        for ((x, y), out) in inputs[0].chunks(c).zip(inputs[1].chunks(c)).zip(output.iter_mut()) {
            *out = self.factor * x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        }
        Some(std::sync::Arc::new(output.to_vec()))
    }

    fn backward(&self, inputs: &[&[f32]], memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let kept = memo.as_ref().and_then(|m| m.downcast_ref::<Vec<f32>>()).expect("the memo of forward");
        assert_eq!(kept.len(), grad.len());
        let c = inputs[0].len() / grad.len();
        for (which, other) in [(0, 1), (1, 0)] {
            let Some(result) = &mut grads[which] else { continue };
            for (i, out) in result.iter_mut().enumerate() {
                *out += self.factor * inputs[other][i] * grad[i / c];
            }
        }
    }
}

/// `x²` of one input.
#[derive(Debug)]
struct Square;

impl Kernel for Square {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        inputs[0]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        output.iter_mut().zip(inputs[0]).for_each(|(o, x)| *o = x * x);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        if let Some(result) = &mut grads[0] {
            result.iter_mut().zip(inputs[0]).zip(grad).for_each(|((o, x), g)| *o += 2.0 * x * g);
        }
    }
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("float32")
}

const X: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
const Y: [f32; 6] = [0.5, -1.0, 2.0, 1.5, 0.0, -0.5];

#[test]
fn forward_on_the_plain_device() {
    let device = Device::flex();
    let out = apply2(tensor(&X, [2, 3], &device), tensor(&Y, [2, 3], &device), Dot { factor: 2.0 });
    assert_eq!(out.dims(), [2, 1]);
    assert_eq!(values(out), [9.0, 6.0]);
}

#[test]
fn gradients_reach_both_inputs_and_chain() {
    let device = Device::flex().autodiff();
    let x = tensor(&X, [2, 3], &device).require_grad();
    let y = tensor(&Y, [2, 3], &device).require_grad();
    let out = apply2(apply1(x.clone(), Square), y.clone(), Dot { factor: 2.0 });
    // Weights 1 and 3 for the two rows of the output.
    let loss = (out * tensor(&[1.0, 3.0], [2, 1], &device)).sum();
    let grads = loss.backward();
    let expect_x: Vec<f32> = (0..6).map(|i| [2.0, 6.0][i / 3] * Y[i] * 2.0 * X[i]).collect();
    let expect_y: Vec<f32> = (0..6).map(|i| [2.0, 6.0][i / 3] * X[i] * X[i]).collect();
    assert_eq!(values(x.grad(&grads).expect("tracked")), expect_x);
    assert_eq!(values(y.grad(&grads).expect("tracked")), expect_y);
}

#[test]
fn an_untracked_input_gets_no_gradient() {
    let device = Device::flex().autodiff();
    let x = tensor(&X, [2, 3], &device);
    let y = tensor(&Y, [2, 3], &device).require_grad();
    let grads = apply2(x.clone(), y.clone(), Dot { factor: 1.0 }).sum().backward();
    assert!(x.grad(&grads).is_none());
    assert_eq!(values(y.grad(&grads).expect("tracked")), X);
}

#[test]
fn a_frozen_graph_computes_too() {
    let device = Device::flex().autodiff();
    let out = apply2(tensor(&X, [2, 3], &device), tensor(&Y, [2, 3], &device), Dot { factor: 2.0 });
    assert_eq!(values(out), [9.0, 6.0]);
}

#[test]
fn strided_inputs_are_laid_out_first() {
    let device = Device::flex().autodiff();
    let x = tensor(&X, [3, 2], &device).require_grad();
    let y = tensor(&Y, [2, 3], &device);
    let grads = apply2(x.clone().transpose(), y, Dot { factor: 1.0 }).sum().backward();
    let expect: Vec<f32> = (0..6).map(|i| Y[i % 2 * 3 + i / 2]).collect();
    assert_eq!(values(x.grad(&grads).expect("tracked")), expect);
}

/// On the host form, as this kernel has no other: read, computed and uploaded.
#[test]
fn forward_and_gradients_on_a_gpu() {
    crate::ops::gpu::testing::device();
    let device = Device::wgpu(DeviceKind::DefaultDevice).autodiff();
    let x = tensor(&X, [2, 3], &device).require_grad();
    let y = tensor(&Y, [2, 3], &device);
    let out = apply2(x.clone(), y.clone(), Dot { factor: 2.0 });
    assert_eq!(values(out.clone()), [9.0, 6.0]);
    let grads = out.backward();
    assert_eq!(values(x.grad(&grads).expect("tracked")), Y.map(|y| 2.0 * y));
    assert!(y.grad(&grads).is_none());
}

/// A kernel with a GPU form, through the same door as the fields use.
#[test]
fn the_gpu_form_takes_part_in_automatic_differentiation() {
    crate::ops::gpu::testing::device();
    let run = |device: &Device| {
        let x = tensor(&X, [2, 3], device).require_grad();
        let out = clamp_inward(x.clone(), 2.5, 4.5);
        let grads = out.clone().backward();
        (values(out), values(x.grad(&grads).expect("tracked")))
    };
    let (out, grad) = run(&Device::wgpu(DeviceKind::DefaultDevice).autodiff());
    assert_eq!((out.clone(), grad), run(&Device::flex().autodiff()));
    assert_eq!(out, [2.5, 2.5, 3.0, 4.0, 4.5, 4.5]);
}
