//! Small multi-layer perceptrons on a CPU: a chunk of rows goes through all layers while it is in cache.
//!
//! A backward pass computes the forward pass of its chunk again instead of reading saved activations: for layers this
//! narrow that is a quarter of the arithmetic, about what writing and reading the activations would take of the memory's
//! time on a few cores, and less than it would take on many. Memory grows with the chunk and the number of blocks, not
//! with the rows.
//!
//! Gradients of the weights are summed per block of rows and the blocks' sums added in order. The blocks depend on
//! the number of rows alone, so the result does not depend on the number of threads.

use std::cell::Cell;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::spec::{Activation, MlpSpec};
use crate::ops::gemm::{Finish, Left, PAD, Product, Right, Start, pack, packed_len};
use crate::ops::simd::Tier;
use crate::parts::fast_math::exp;

/// Rows that go through the network together: 8 tiles. Of a layer of 64 channels the activations before and after and
/// the weights take 40 KiB, which a first-level cache holds.
const CHUNK: usize = 48;

/// Rows per task of a forward pass.
const FORWARD_TASK: usize = 16 * CHUNK;

/// The most blocks whose weight gradients are kept at once, and the most floats that they may take together.
const BLOCKS: usize = 64;
const BLOCK_FLOATS: usize = 16 << 20;

/// Runs the network on `x [n, input]` with `params [param_count]`, into `out [n, output_dim]`. Nothing is kept.
///
/// # Panics
/// When `spec` does not pass [`MlpSpec::check`] or a slice has another length than these shapes say.
pub fn forward(spec: &MlpSpec, x: &[f32], params: &[f32], out: &mut [f32]) {
    forward_with(Tier::best(), spec, x, params, out);
}

/// The gradients of [`forward`] with respect to the input (written to `grad_x [n, input]`) and the parameters (added
/// to `grad_params [param_count]`), given `grad_out [n, output_dim]`.
///
/// The result does not depend on the number of threads.
///
/// # Panics
/// When `spec` does not pass [`MlpSpec::check`] or a slice has another length than these shapes say.
pub fn backward(
    spec: &MlpSpec,
    x: &[f32],
    params: &[f32],
    grad_out: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_params: &mut [f32],
) {
    backward_with(Tier::best(), spec, x, params, grad_out, grad_x, grad_params);
}

pub(crate) fn forward_with(tier: Tier, spec: &MlpSpec, x: &[f32], params: &[f32], out: &mut [f32]) {
    let n = check(spec, x, params);
    assert_eq!(out.len(), n * spec.output_dim(), "the output is [n, output_dim]");
    let net = &Net::new(tier, spec, params, false);
    out.par_chunks_mut(FORWARD_TASK * spec.output_dim())
        .zip(x.par_chunks(FORWARD_TASK * spec.input))
        .for_each_init(|| Scratch::new(net), |scratch, (out, x)| tier.run(Forward { net, x, out, scratch }));
}

pub(crate) fn backward_with(
    tier: Tier,
    spec: &MlpSpec,
    x: &[f32],
    params: &[f32],
    grad_out: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_params: &mut [f32],
) {
    let n = check(spec, x, params);
    assert_eq!(grad_out.len(), n * spec.output_dim(), "the gradient of the output is [n, output_dim]");
    assert_eq!(grad_params.len(), params.len(), "the gradient of the parameters is shaped like them");
    assert!(grad_x.as_ref().is_none_or(|g| g.len() == x.len()), "the gradient of the input is shaped like it");
    if n == 0 {
        return;
    }
    let net = &Net::new(tier, spec, params, true);
    let rows = rows_per_block(n, net.grad_len);
    let grad_x: Vec<Option<&mut [f32]>> = match grad_x {
        Some(grad_x) => grad_x.chunks_mut(rows * spec.input).map(Some).collect(),
        None => std::iter::repeat_with(|| None).take(n.div_ceil(rows)).collect(),
    };
    let mut sums = SUMS.take();
    sums.resize(sums.len().max(grad_x.len() * net.grad_len), 0.0);
    let used = &mut sums[..grad_x.len() * net.grad_len];
    used.par_chunks_mut(net.grad_len)
        .zip(x.par_chunks(rows * spec.input))
        .zip(grad_out.par_chunks(rows * spec.output_dim()).zip(grad_x))
        .with_max_len(1)
        .for_each_init(
            || Scratch::new(net),
            |scratch, ((sums, x), (grad_out, grad_x))| {
                tier.run(Backward { net, x, grad_out, grad_x, sums, scratch });
            },
        );
    net.reduce(used, grad_params);
    SUMS.set(sums);
}

thread_local! {
    /// The blocks' sums of the last backward pass that this thread asked for, kept for the next: a page of fresh
    /// memory costs more than computing with it, and each block overwrites what it finds.
    static SUMS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The number of rows, after checking the network and the lengths.
fn check(spec: &MlpSpec, x: &[f32], params: &[f32]) -> usize {
    if let Err(error) = spec.check() {
        panic!("{error}");
    }
    assert_eq!(x.len() % spec.input, 0, "the input is [n, {}]", spec.input);
    assert_eq!(params.len(), spec.param_count(), "the parameters are one slice of param_count");
    x.len() / spec.input
}

/// Rows whose weight gradients are summed together: a function of the work alone, never of the machine.
fn rows_per_block(n: usize, grad_len: usize) -> usize {
    let blocks = (BLOCK_FLOATS / grad_len).clamp(4, BLOCKS);
    n.div_ceil(blocks).next_multiple_of(CHUNK).max(4 * CHUNK)
}

/// The stride of a buffer of so many columns: padded to whole vectors, and never a multiple of 512 bytes, at which a
/// column's rows would fall into a few sets of the cache.
fn stride(width: usize) -> usize {
    let padded = width.next_multiple_of(PAD);
    if padded.is_multiple_of(128) { padded + PAD } else { padded }
}

/// A part of what a layer sees: the network's input, or the previous activations.
struct Part {
    is_input: bool,
    width: usize,
    /// Its first column in W.
    column: usize,
    /// Where its packed weights lie, `[width, out]` and `[out, width]`.
    forward: usize,
    backward: usize,
    /// Where its weights' gradient lies in a block's sums: `[out, grad_row]`.
    grad: usize,
    grad_row: usize,
}

/// A layer, laid out for the products.
struct Stage {
    out: usize,
    activation: Activation,
    parts: Vec<Part>,
    /// Width of what it sees, and where W begins in the parameters.
    ins: usize,
    weights: usize,
    /// The bias padded to whole vectors; empty where there is none.
    bias: Vec<f32>,
    /// Where the bias's gradient lies in a block's sums.
    grad_bias: usize,
}

/// A network with its weights packed.
struct Net {
    input: usize,
    stages: Vec<Stage>,
    packed: Vec<f32>,
    /// Length of a block's sums.
    grad_len: usize,
}

impl Net {
    fn new(tier: Tier, spec: &MlpSpec, params: &[f32], for_backward: bool) -> Self {
        let (mut packed_total, mut grad_len) = (0, 0);
        let take = |total: &mut usize, len: usize| {
            *total += len;
            *total - len
        };
        let mut stages = Vec::with_capacity(spec.layers.len());
        for (l, layer) in spec.layers.iter().enumerate() {
            let (ins, weights, out) = (spec.in_dim(l), spec.offset(l), layer.out);
            let mut part = |is_input: bool, column: usize, width: usize| Part {
                is_input,
                width,
                column,
                forward: take(&mut packed_total, packed_len(width, out)),
                backward: if for_backward { take(&mut packed_total, packed_len(out, width)) } else { 0 },
                grad: take(&mut grad_len, out * width.next_multiple_of(PAD)),
                grad_row: width.next_multiple_of(PAD),
            };
            let parts = match l {
                0 => vec![part(true, 0, ins)],
                _ if layer.concat_input => {
                    vec![part(true, 0, spec.input), part(false, spec.input, ins - spec.input)]
                }
                _ => vec![part(false, 0, ins)],
            };
            let bias = if layer.bias {
                let mut bias = params[weights + out * ins..][..out].to_vec();
                bias.resize(out.next_multiple_of(PAD), 0.0);
                bias
            } else {
                Vec::new()
            };
            let grad_bias = take(&mut grad_len, bias.len());
            stages.push(Stage { out, activation: layer.activation, parts, ins, weights, bias, grad_bias });
        }
        let mut net = Self { input: spec.input, stages, packed: vec![0.0; packed_total], grad_len };
        tier.run(Pack { net: &mut net, params, for_backward });
        net
    }

    /// Adds the blocks' sums, in order, to the gradient of the flat parameters.
    fn reduce(&self, sums: &[f32], grad_params: &mut [f32]) {
        let mut jobs = Vec::new();
        let mut rest = grad_params;
        for stage in &self.stages {
            for o in 0..stage.out {
                for part in &stage.parts {
                    let (row, behind) = rest.split_at_mut(part.width);
                    rest = behind;
                    jobs.push((part.grad + o * part.grad_row, row));
                }
            }
            if !stage.bias.is_empty() {
                let (bias, behind) = rest.split_at_mut(stage.out);
                rest = behind;
                jobs.push((stage.grad_bias, bias));
            }
        }
        jobs.into_par_iter().with_min_len(64).for_each(|(at, grad)| {
            for block in sums.chunks_exact(self.grad_len) {
                grad.iter_mut().zip(&block[at..]).for_each(|(grad, sum)| *grad += sum);
            }
        });
    }
}

struct Pack<'a> {
    net: &'a mut Net,
    params: &'a [f32],
    for_backward: bool,
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for stage in &self.net.stages {
            let weights = &self.params[stage.weights..];
            for part in &stage.parts {
                let at = |o: usize, i: usize| weights[o * stage.ins + part.column + i];
                pack::<S>(part.width, stage.out, |i, o| at(o, i), &mut self.net.packed[part.forward..]);
                if self.for_backward {
                    pack::<S>(stage.out, part.width, at, &mut self.net.packed[part.backward..]);
                }
            }
        }
    }
}

/// The buffers of a thread, of `CHUNK` rows each.
struct Scratch {
    /// The input, padded to whole vectors.
    x: Vec<f32>,
    /// What each layer gives.
    activations: Vec<Vec<f32>>,
    /// The gradient of a layer's sums, and that of the layer's below.
    grad: [Vec<f32>; 2],
    /// The gradient of the input.
    grad_x: Vec<f32>,
}

impl Scratch {
    fn new(net: &Net) -> Self {
        let buffer = |width: usize| vec![0.0; CHUNK * stride(width)];
        let widest = net.stages.iter().map(|s| s.out).max().unwrap_or(0);
        Self {
            x: buffer(net.input),
            activations: net.stages.iter().map(|s| buffer(s.out)).collect(),
            grad: [buffer(widest), buffer(widest)],
            grad_x: buffer(net.input),
        }
    }
}

/// Layer `l`'s activations for `rows` rows, from the input (with its stride) and the layers before.
#[inline(always)]
fn layer_forward<S: Simd>(simd: S, net: &Net, l: usize, rows: usize, x: (&[f32], usize), activations: &mut [Vec<f32>]) {
    let stage = &net.stages[l];
    let (before, this) = activations.split_at_mut(l);
    let (out, out_row) = (&mut this[0], stride(stage.out));
    for (i, part) in stage.parts.iter().enumerate() {
        let left = if part.is_input { Left::Rows(x.0, x.1) } else { Left::Rows(&before[l - 1], stride(part.width)) };
        let start = match i {
            0 if stage.bias.is_empty() => Start::Zero,
            0 => Start::Bias(&stage.bias),
            _ => Start::Add,
        };
        let last = i + 1 == stage.parts.len();
        let finish = if last && stage.activation == Activation::Relu { Finish::Relu } else { Finish::Keep };
        let b = Right::Packed(&net.packed[part.forward..]);
        let shape = [rows, part.width, stage.out];
        simd.vectorize(Product { shape, a: left, b, c: out, c_row: out_row, start, finish });
    }
    if stage.activation == Activation::Sigmoid {
        // The padding too: whole vectors are cheaper than a few columns of each row.
        out[..rows * out_row].iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x)));
    }
}

struct Forward<'a> {
    net: &'a Net,
    x: &'a [f32],
    out: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (net, last) = (self.net, self.net.stages.len() - 1);
        let width = net.stages[last].out;
        let activations = &mut self.scratch.activations;
        for (x, out) in self.x.chunks(CHUNK * net.input).zip(self.out.chunks_mut(CHUNK * width)) {
            let rows = x.len() / net.input;
            for l in 0..=last {
                layer_forward(simd, net, l, rows, (x, net.input), activations);
            }
            for (out, row) in out.chunks_exact_mut(width).zip(activations[last].chunks_exact(stride(width))) {
                out.copy_from_slice(&row[..width]);
            }
        }
    }
}

struct Backward<'a> {
    net: &'a Net,
    x: &'a [f32],
    grad_out: &'a [f32],
    grad_x: Option<&'a mut [f32]>,
    sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let net = self.net;
        let width = net.stages[net.stages.len() - 1].out;
        let rows = self.x.len() / net.input;
        for first in (0..rows).step_by(CHUNK) {
            let rows = CHUNK.min(rows - first);
            let x = &self.x[first * net.input..][..rows * net.input];
            let grad_out = &self.grad_out[first * width..][..rows * width];
            let wanted = self.grad_x.is_some();
            let start = if first == 0 { Start::Zero } else { Start::Add };
            chunk_backward(simd, net, rows, x, grad_out, wanted, start, self.sums, self.scratch);
            if let Some(grad_x) = &mut self.grad_x {
                let grad_x = &mut grad_x[first * net.input..][..rows * net.input];
                for (out, row) in
                    grad_x.chunks_exact_mut(net.input).zip(self.scratch.grad_x.chunks_exact(stride(net.input)))
                {
                    out.copy_from_slice(&row[..net.input]);
                }
            }
        }
    }
}

/// The forward pass of one chunk again, then back through the layers, adding to the block's `sums` (or, at its first
/// chunk, starting them).
#[expect(clippy::too_many_arguments, reason = "one chunk's whole context, used once")]
#[inline(always)]
fn chunk_backward<S: Simd>(
    simd: S,
    net: &Net,
    rows: usize,
    x: &[f32],
    grad_out: &[f32],
    wants_grad_x: bool,
    start: Start<'_>,
    sums: &mut [f32],
    scratch: &mut Scratch,
) {
    let last = net.stages.len() - 1;
    let Scratch { x: padded_x, activations, grad: [grad, below], grad_x } = scratch;
    let x_row = stride(net.input);
    for (to, from) in padded_x.chunks_exact_mut(x_row).zip(x.chunks_exact(net.input)) {
        to[..net.input].copy_from_slice(from);
    }
    // The last layer's values matter only where its activation's slope depends on them.
    let bends = net.stages[last].activation != Activation::None;
    for l in 0..last + usize::from(bends) {
        layer_forward(simd, net, l, rows, (padded_x, x_row), activations);
    }
    let width = net.stages[last].out;
    let grad_row = stride(width);
    for (to, from) in grad.chunks_exact_mut(grad_row).zip(grad_out.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
    if bends {
        bend(net.stages[last].activation, grad, &activations[last], grad_row, rows);
    }
    let mut input_started = false;
    for l in (0..=last).rev() {
        let stage = &net.stages[l];
        let grad_row = stride(stage.out);
        add_rows(start, grad, grad_row, rows, &mut sums[stage.grad_bias..][..stage.bias.len()]);
        for part in &stage.parts {
            let seen = if part.is_input { &*padded_x } else { &activations[l - 1] };
            let seen_row = stride(part.width);
            let sum = &mut sums[part.grad..][..stage.out * part.grad_row];
            simd.vectorize(Product {
                shape: [stage.out, rows, part.width],
                a: Left::Columns(grad, grad_row),
                b: Right::Rows(seen, seen_row),
                c: sum,
                c_row: part.grad_row,
                start,
                finish: Finish::Keep,
            });
            let (a, b) = (Left::Rows(grad, grad_row), Right::Packed(&net.packed[part.backward..]));
            let shape = [rows, stage.out, part.width];
            if !part.is_input {
                let finish = match net.stages[l - 1].activation {
                    Activation::Relu => Finish::WherePositive(seen, seen_row),
                    _ => Finish::Keep,
                };
                simd.vectorize(Product { shape, a, b, c: below, c_row: seen_row, start: Start::Zero, finish });
                if net.stages[l - 1].activation == Activation::Sigmoid {
                    bend(Activation::Sigmoid, below, seen, seen_row, rows);
                }
            } else if wants_grad_x {
                let start = if input_started { Start::Add } else { Start::Zero };
                simd.vectorize(Product { shape, a, b, c: grad_x, c_row: x_row, start, finish: Finish::Keep });
                input_started = true;
            }
        }
        std::mem::swap(grad, below);
    }
}

/// Multiplies a gradient by the slope of the activation that gave `values`; both have the stride `row`.
#[inline(always)]
fn bend(activation: Activation, grad: &mut [f32], values: &[f32], row: usize, rows: usize) {
    let all = rows * row;
    for (grad, y) in grad[..all].iter_mut().zip(&values[..all]) {
        match activation {
            Activation::None => {}
            Activation::Relu => *grad = if *y > 0.0 { *grad } else { 0.0 },
            Activation::Sigmoid => *grad *= y * (1.0 - y),
        }
    }
}

/// Adds the rows of a matrix to `sum`, whose length is 0 where there is no bias.
#[inline(always)]
fn add_rows(start: Start<'_>, values: &[f32], row: usize, rows: usize, sum: &mut [f32]) {
    if sum.is_empty() {
        return;
    }
    if matches!(start, Start::Zero) {
        sum.fill(0.0);
    }
    for values in values.chunks_exact(row).take(rows) {
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}
