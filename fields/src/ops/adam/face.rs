//! Adam on tensors, in place on either kind of device. A tensor that a snapshot shares is copied first.

use burn::backend::{Cube, DispatchDevice, Flex};
use burn::tensor::{Device, Tensor};

use super::cpu::{self, AdamSpec, Rates};
use super::gpu;
use crate::ops::kernel::CubeTensor;

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
        step_on_gpu(param, grad, moments, &Rates::new(rate, t, spec))
    }
}

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

fn on_gpu(tensor: Tensor<2>) -> CubeTensor {
    tensor.try_into_primitive::<Cube>().expect("a device is the CPU or a GPU")
}

fn step_on_gpu(param: Tensor<2>, grad: Tensor<2>, moments: &mut Moments, rates: &Rates) -> Tensor<2> {
    let device = param.device();
    let take = |tensor: &mut Tensor<2>| on_gpu(std::mem::replace(tensor, Tensor::zeros([1, 1], &device)));
    let (m, v) = (take(&mut moments.m), take(&mut moments.v));
    let [param, m, v] = gpu::step(on_gpu(param), on_gpu(grad), m, v, rates).map(Tensor::from_primitive::<Cube>);
    *moments = Moments { m, v };
    param
}

/// `average · decay + param · (1 − decay)`: an exponential moving average of a parameter.
pub fn ema(average: Tensor<2>, param: &Tensor<2>, decay: f32) -> Tensor<2> {
    if !on_cpu(&average) {
        return Tensor::from_primitive::<Cube>(gpu::ema(on_gpu(average), on_gpu(param.clone()), decay));
    }
    let mut average = average.try_into_primitive::<Flex>().expect("checked to be on the CPU");
    let param = param.clone().try_into_primitive::<Flex>().expect("lives where its average lives");
    cpu::ema(average.storage_mut::<f32>(), param.as_slice::<f32>().expect("parameters are contiguous"), decay);
    Tensor::from_primitive::<Flex>(average)
}
