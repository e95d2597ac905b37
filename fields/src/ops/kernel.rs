//! The face that every hot kernel shows to burn's tensors and its automatic differentiation.
//!
//! A kernel is one value of [`Kernel`]: float tensors in, one float tensor out, and a backward pass. It is written
//! once for the CPU on plain slices (rayon and SIMD, on burn's Flex backend), and once as `#[cube]` functions for
//! wgpu ([`GpuKernel`]). What burn asks of a custom operation — an extension trait, its routing by device, a node in
//! the gradient graph — is written here once, so that a new kernel is a struct and not a page of plumbing.
//!
//! A kernel without a GPU form runs on the host: its tensors are read, computed and uploaded. That is slow and right.

use std::any::Any;
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, Shape, Tensor, TensorData};
use rayon::prelude::*;

/// The tensor primitive of the GPU backend.
pub type CubeTensor = FloatTensor<Cube>;

/// What a forward pass keeps for its backward pass; anything, or nothing.
pub type Memo = Option<Arc<dyn Any + Send + Sync>>;

/// A differentiable operation on rank-2 float tensors.
pub trait Kernel: Debug + Send + Sync + 'static {
    /// The shape of the output for inputs of these shapes.
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2];

    /// Computes `output`, which comes zeroed, from row-major `inputs`.
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo;

    /// Adds to each of `grads` that is there (zeroed, shaped like its input) the gradient of the loss with respect to
    /// that input, given `grad`, the gradient with respect to the output.
    fn backward(&self, inputs: &[&[f32]], memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]);

    /// The same on a GPU; without it the kernel runs on the host.
    fn gpu(&self) -> Option<&dyn GpuKernel> {
        None
    }
}

/// The GPU form of a [`Kernel`]: contiguous float32 tensors on one device in and out.
pub trait GpuKernel {
    /// Computes the output.
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo);

    /// The gradient for each input that `wanted` names; the others are `None`.
    fn backward(
        &self,
        inputs: &[CubeTensor],
        memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>>;
}

/// A backend on which kernels run.
pub trait KernelBackend: Backend {
    /// Runs the forward pass.
    fn run(inputs: Vec<FloatTensor<Self>>, kernel: &dyn Kernel) -> (FloatTensor<Self>, Memo);

    /// Runs the backward pass.
    fn run_backward(
        inputs: Vec<FloatTensor<Self>>,
        kernel: &dyn Kernel,
        memo: &Memo,
        grad: FloatTensor<Self>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<Self>>>;
}

fn shape2(shape: &Shape) -> [usize; 2] {
    let dims: &[usize] = shape.as_ref();
    assert_eq!(dims.len(), 2, "kernels take rank-2 tensors, got {dims:?}");
    [dims[0], dims[1]]
}

fn flex_tensor(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), DType::F32)
}

/// The values of a tensor that [`contiguous`] made.
fn flex_slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("a contiguous float32 tensor shows its slice")
}

fn contiguous(tensors: Vec<FlexTensor>) -> Vec<FlexTensor> {
    tensors.into_iter().map(|t| if t.is_contiguous() { t } else { t.to_contiguous() }).collect()
}

/// `n` zeros, written by all threads: one thread writing tens of megabytes a step keeps the others waiting.
fn zeros(n: usize) -> Vec<f32> {
    const PIECE: usize = 1 << 16;
    let mut values = Vec::with_capacity(n);
    let spare = &mut values.spare_capacity_mut()[..n];
    spare.par_chunks_mut(PIECE).for_each(|piece| piece.fill(MaybeUninit::new(0.0)));
    // SAFETY: the capacity is at least `n`, and the first `n` values were written just now.
    #[allow(unsafe_code, reason = "no safe way clears fresh memory from several threads")]
    unsafe {
        values.set_len(n);
    }
    values
}

impl KernelBackend for Flex {
    fn run(inputs: Vec<FlexTensor>, kernel: &dyn Kernel) -> (FlexTensor, Memo) {
        let inputs = contiguous(inputs);
        let shapes: Vec<_> = inputs.iter().map(|t| shape2(&t.shape())).collect();
        let slices: Vec<_> = inputs.iter().map(flex_slice).collect();
        let shape = kernel.output_shape(&shapes);
        let mut output = zeros(shape[0] * shape[1]);
        let memo = kernel.forward(&slices, &mut output);
        (flex_tensor(output, shape), memo)
    }

    fn run_backward(
        inputs: Vec<FlexTensor>,
        kernel: &dyn Kernel,
        memo: &Memo,
        grad: FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let inputs = contiguous(inputs);
        let grad = contiguous(vec![grad]).remove(0);
        let shapes: Vec<_> = inputs.iter().map(|t| shape2(&t.shape())).collect();
        let slices: Vec<_> = inputs.iter().map(flex_slice).collect();
        let mut grads: Vec<_> = slices.iter().zip(wanted).map(|(s, w)| w.then(|| zeros(s.len()))).collect();
        kernel.backward(&slices, memo, flex_slice(&grad), &mut grads);
        grads.into_iter().zip(shapes).map(|(g, shape)| g.map(|g| flex_tensor(g, shape))).collect()
    }
}

/// Reads a GPU tensor into host memory, row-major.
fn download(tensor: CubeTensor) -> Vec<f32> {
    let data = burn::backend::read_sync(Cube::float_into_data(tensor)).expect("reading a tensor back from the GPU");
    data.try_into_vec::<f32>().expect("kernels compute in float32")
}

fn upload(values: Vec<f32>, shape: [usize; 2], device: &<Cube as burn::backend::BackendTypes>::Device) -> CubeTensor {
    Cube::float_from_data(TensorData::new(values, shape), device)
}

impl KernelBackend for Cube {
    fn run(inputs: Vec<CubeTensor>, kernel: &dyn Kernel) -> (CubeTensor, Memo) {
        let inputs: Vec<_> = inputs.into_iter().map(burn_contiguous).collect();
        if let Some(gpu) = kernel.gpu() {
            return gpu.forward(&inputs);
        }
        let device = inputs[0].device();
        let shapes: Vec<_> = inputs.iter().map(|t| shape2(&t.shape())).collect();
        let host: Vec<_> = inputs.into_iter().map(download).collect();
        let slices: Vec<_> = host.iter().map(Vec::as_slice).collect();
        let shape = kernel.output_shape(&shapes);
        let mut output = vec![0.0; shape[0] * shape[1]];
        let memo = kernel.forward(&slices, &mut output);
        (upload(output, shape, &device), memo)
    }

    fn run_backward(
        inputs: Vec<CubeTensor>,
        kernel: &dyn Kernel,
        memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>> {
        let inputs: Vec<_> = inputs.into_iter().map(burn_contiguous).collect();
        let grad = burn_contiguous(grad);
        if let Some(gpu) = kernel.gpu() {
            return gpu.backward(&inputs, memo, grad, wanted);
        }
        let device = grad.device();
        let shapes: Vec<_> = inputs.iter().map(|t| shape2(&t.shape())).collect();
        let host: Vec<_> = inputs.into_iter().map(download).collect();
        let slices: Vec<_> = host.iter().map(Vec::as_slice).collect();
        let mut grads: Vec<_> = slices.iter().zip(wanted).map(|(s, w)| w.then(|| vec![0.0; s.len()])).collect();
        kernel.backward(&slices, memo, &download(grad), &mut grads);
        grads.into_iter().zip(shapes).map(|(g, shape)| g.map(|g| upload(g, shape, &device))).collect()
    }
}

/// A tensor whose elements lie in row-major order; kernels index raw buffers.
fn burn_contiguous(tensor: CubeTensor) -> CubeTensor {
    burn_cubecl::kernel::into_contiguous(tensor)
}

/// Kernels by their number of inputs; the attribute writes the routing from a run-time device to its backend.
#[backend_extension(Autodiff, Cube, Flex)]
pub trait KernelOps: Backend {
    /// Applies a kernel to one tensor.
    fn kernel1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self>;
    /// Applies a kernel to two tensors.
    fn kernel2(a: FloatTensor<Self>, b: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self>;
    /// Applies a kernel to three tensors.
    fn kernel3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        kernel: Arc<dyn Kernel>,
    ) -> FloatTensor<Self>;
    /// Applies a kernel to seven tensors.
    fn kernel7(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
        g: FloatTensor<Self>,
        kernel: Arc<dyn Kernel>,
    ) -> FloatTensor<Self>;
}

macro_rules! kernel_ops {
    ($($backend:ty),*) => {$(
        impl KernelOps for $backend {
            fn kernel1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
                Self::run(vec![a], &*kernel).0
            }
            fn kernel2(a: FloatTensor<Self>, b: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
                Self::run(vec![a, b], &*kernel).0
            }
            fn kernel3(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
                Self::run(vec![a, b, c], &*kernel).0
            }
            fn kernel7(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, d: FloatTensor<Self>, e: FloatTensor<Self>, f: FloatTensor<Self>, g: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
                Self::run(vec![a, b, c, d, e, f, g], &*kernel).0
            }
        }
    )*};
}
kernel_ops!(Flex, Cube);

/// What the gradient graph keeps of one application.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    inputs: Vec<FloatTensor<B>>,
    kernel: Arc<dyn Kernel>,
    memo: SavedMemo,
}

#[derive(Clone)]
struct SavedMemo(Memo);

impl Debug for SavedMemo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Memo" } else { "no memo" })
    }
}

#[derive(Debug)]
struct KernelStep;

impl<B: KernelBackend, const N: usize> Backward<B, N> for KernelStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Saved<B>, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted: Vec<bool> = ops.parents.iter().map(Option::is_some).collect();
        let Saved { inputs, kernel, memo } = ops.state;
        let results = B::run_backward(inputs, &*kernel, &memo.0, grad, &wanted);
        for (parent, result) in ops.parents.iter().zip(results) {
            if let (Some(node), Some(result)) = (parent, result) {
                grads.register::<B>(node.id, result);
            }
        }
    }
}

fn tracked<B: KernelBackend, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    kernel: Arc<dyn Kernel>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = inputs.each_ref().map(<FloatTensor<Autodiff<B, C>>>::node);
    let inputs: Vec<_> = inputs.into_iter().map(<FloatTensor<Autodiff<B, C>>>::into_primitive).collect();
    match KernelStep.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (output, memo) = B::run(inputs.clone(), &*kernel);
            prep.finish(Saved { inputs, kernel, memo: SavedMemo(memo) }, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::run(inputs, &*kernel).0),
    }
}

impl<B: KernelBackend, C: CheckpointStrategy> KernelOps for Autodiff<B, C> {
    fn kernel1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
        tracked::<B, C, 1>([a], kernel)
    }
    fn kernel2(a: FloatTensor<Self>, b: FloatTensor<Self>, kernel: Arc<dyn Kernel>) -> FloatTensor<Self> {
        tracked::<B, C, 2>([a, b], kernel)
    }
    fn kernel3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        kernel: Arc<dyn Kernel>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, 3>([a, b, c], kernel)
    }
    fn kernel7(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
        g: FloatTensor<Self>,
        kernel: Arc<dyn Kernel>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, 7>([a, b, c, d, e, f, g], kernel)
    }
}

/// Applies a kernel to one tensor.
pub fn apply1(a: Tensor<2>, kernel: impl Kernel) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::kernel1(a.into_dispatch(), Arc::new(kernel)))
}

/// Applies a kernel to two tensors.
pub fn apply2(a: Tensor<2>, b: Tensor<2>, kernel: impl Kernel) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::kernel2(a.into_dispatch(), b.into_dispatch(), Arc::new(kernel)))
}

/// Applies a kernel to three tensors.
pub fn apply3(a: Tensor<2>, b: Tensor<2>, c: Tensor<2>, kernel: impl Kernel) -> Tensor<2> {
    let (a, b, c) = (a.into_dispatch(), b.into_dispatch(), c.into_dispatch());
    Tensor::from_dispatch(Dispatch::kernel3(a, b, c, Arc::new(kernel)))
}

/// Applies a kernel to seven tensors.
pub fn apply7(inputs: [Tensor<2>; 7], kernel: impl Kernel) -> Tensor<2> {
    let [a, b, c, d, e, f, g] = inputs.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::kernel7(a, b, c, d, e, f, g, Arc::new(kernel)))
}

#[cfg(test)]
mod tests;
