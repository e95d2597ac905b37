//! Adam on tensors: in place on the CPU, by stock tensor operations elsewhere.

use burn::backend::{DispatchDevice, Flex};
use burn::tensor::{Device, Tensor};

use super::cpu::{self, AdamSpec};

/// A parameter with its moments, all of one shape and free of any gradient graph.
#[derive(Clone, Debug)]
pub struct Moments {
    /// First moment.
    pub m: Tensor<2>,
    /// Second moment.
    pub v: Tensor<2>,
}

impl Moments {
    /// Zero moments of a parameter `[rows, columns]`.
    pub fn zeros(shape: [usize; 2], device: &Device) -> Self {
        Self { m: Tensor::zeros(shape, device), v: Tensor::zeros(shape, device) }
    }
}

fn on_cpu(tensor: &Tensor<2>) -> bool {
    matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_))
}

/// One step of Adam (Kingma and Ba 2015; decoupled decay by Loshchilov and Hutter 2019) on `param` with gradient
/// `grad`; `t` counts steps from 1. Returns the new parameter. None of the tensors may be on a gradient graph.
pub fn step(param: Tensor<2>, grad: Tensor<2>, moments: &mut Moments, rate: f32, t: u32, spec: &AdamSpec) -> Tensor<2> {
    if on_cpu(&param) {
        step_on_cpu(param, grad, moments, rate, t, spec)
    } else {
        step_by_ops(param, grad, moments, rate, t, spec)
    }
}

/// The in-place form. A tensor that a snapshot shares is copied first by burn's copy-on-write.
fn step_on_cpu(
    param: Tensor<2>,
    grad: Tensor<2>,
    moments: &mut Moments,
    rate: f32,
    t: u32,
    spec: &AdamSpec,
) -> Tensor<2> {
    let device = param.device();
    let empty = || Tensor::<2>::zeros([1, 1], &device);
    let take = |tensor: Tensor<2>| tensor.try_into_primitive::<Flex>().expect("checked to be on the CPU");
    let mut param = take(param);
    let grad = take(grad);
    let grad = if grad.is_contiguous() { grad } else { grad.to_contiguous() };
    let mut m = take(std::mem::replace(&mut moments.m, empty()));
    let mut v = take(std::mem::replace(&mut moments.v, empty()));
    cpu::step(
        param.storage_mut::<f32>(),
        grad.as_slice::<f32>().expect("made contiguous above"),
        m.storage_mut::<f32>(),
        v.storage_mut::<f32>(),
        rate,
        t,
        spec,
    );
    moments.m = Tensor::from_primitive::<Flex>(m);
    moments.v = Tensor::from_primitive::<Flex>(v);
    Tensor::from_primitive::<Flex>(param)
}

/// The same by stock tensor operations, on any device.
pub fn step_by_ops(
    param: Tensor<2>,
    grad: Tensor<2>,
    moments: &mut Moments,
    rate: f32,
    t: u32,
    spec: &AdamSpec,
) -> Tensor<2> {
    let touched = spec.skip_zero_grad.then(|| grad.clone().not_equal_elem(0.0).float());
    let blend = |old: Tensor<2>, new: Tensor<2>| match &touched {
        Some(mask) => old.clone() + (new - old) * mask.clone(),
        None => new,
    };
    let m = moments.m.clone() * spec.beta1 + grad.clone() * (1.0 - spec.beta1);
    let v = moments.v.clone() * spec.beta2 + grad.clone() * grad * (1.0 - spec.beta2);
    moments.m = blend(moments.m.clone(), m);
    moments.v = blend(moments.v.clone(), v);
    let correction = |beta: f32| (1.0 - f64::from(beta).powi(t as i32)) as f32;
    let m_hat = moments.m.clone() / correction(spec.beta1);
    let v_hat = moments.v.clone() / correction(spec.beta2);
    let decayed = param.clone() * (1.0 - rate * spec.weight_decay);
    blend(param, decayed - m_hat / (v_hat.sqrt() + spec.eps) * rate)
}

/// `average · decay + param · (1 − decay)`: an exponential moving average of a parameter.
pub fn ema(average: Tensor<2>, param: &Tensor<2>, decay: f32) -> Tensor<2> {
    if !on_cpu(&average) {
        return average * decay + param.clone() * (1.0 - decay);
    }
    let mut average = average.try_into_primitive::<Flex>().expect("checked to be on the CPU");
    let param = param.clone().try_into_primitive::<Flex>().expect("lives where its average lives");
    cpu::ema(average.storage_mut::<f32>(), param.as_slice::<f32>().expect("parameters are contiguous"), decay);
    Tensor::from_primitive::<Flex>(average)
}
