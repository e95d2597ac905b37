//! The multi-layer perceptron on wgpu: one matrix product per layer, in tiles of shared memory.
//!
//! Rows are taken in chunks, so that the activations that a backward pass recomputes stay within [`BUDGET`] however
//! large the batch is. A layer's weight gradient is a product over all rows of a chunk: it is cut into pieces of rows
//! whose results are added in a fixed order. There are no atomics, and gradients repeat bit for bit.

use super::face::Mlp;
use super::spec::{Activation, Layer, MlpSpec};
use crate::ops::gpu::{arg, dims, empty, group, groups, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};
use cubecl::prelude::{CubeCount, CubeDim};

mod kernels;

/// Floats of activations that a pass keeps at a time.
const BUDGET: usize = 1 << 25;
/// Most rows in a chunk.
const MOST_ROWS: usize = 1 << 20;
/// Rows that one piece of a weight gradient adds up, at least.
const PIECE: usize = 512;
/// Most floats of pieces waiting to be added.
const PIECES: usize = 1 << 22;

fn code(activation: Activation) -> u32 {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Sigmoid => 2,
    }
}

/// Columns of a tile: narrow layers would waste most of a wide one.
fn tile_columns(width: usize) -> usize {
    if width <= kernels::SIDE { kernels::SIDE } else { kernels::ROWS }
}

fn tiles(rows: usize, columns: usize, pieces: usize) -> CubeCount {
    let along = |n: usize, tile: usize| n.div_ceil(tile) as u32;
    CubeCount::Static(along(rows, kernels::ROWS), along(columns, tile_columns(columns)), pieces as u32)
}

fn tile_group() -> CubeDim {
    CubeDim::new_1d((kernels::SIDE * kernels::SIDE) as u32)
}

/// A chunk of rows on its way through the layers.
struct Pass<'a> {
    spec: &'a MlpSpec,
    x: &'a CubeTensor,
    params: &'a CubeTensor,
    first: usize,
    rows: usize,
}

impl Pass<'_> {
    /// How much of what layer `l` sees is the network's input, and how much the activations before.
    fn widths(&self, l: usize) -> (usize, usize) {
        let from_x = if l == 0 || self.spec.layers[l].concat_input { self.spec.input } else { 0 };
        (from_x, self.spec.in_dim(l) - from_x)
    }

    /// Layer `l` from the activations before it, into `out` from row `to`.
    fn layer(&self, l: usize, before: Option<&CubeTensor>, out: &CubeTensor, to: usize) {
        let layer = &self.spec.layers[l];
        let (from_x, from_h) = self.widths(l);
        kernels::layer::launch(
            &self.x.client,
            tiles(self.rows, layer.out, 1),
            tile_group(),
            arg(self.x),
            arg(before.unwrap_or(self.x)),
            arg(self.params),
            arg(out),
            self.rows as u32,
            self.first as u32,
            from_x as u32,
            from_h as u32,
            self.spec.offset(l) as u32,
            layer.out as u32,
            u32::from(layer.bias),
            code(layer.activation),
            to as u32,
            tile_columns(layer.out) / kernels::SIDE,
        );
    }

    fn scratch(&self, width: usize) -> CubeTensor {
        empty(self.x, [self.rows, width])
    }

    /// The gradient with respect to the sums of `layer`, from that with respect to its activations `y`.
    fn through_activation(&self, layer: &Layer, grad: &CubeTensor, from: usize, y: Option<&CubeTensor>) -> CubeTensor {
        let out = self.scratch(layer.out);
        let n = self.rows * layer.out;
        kernels::through_activation::launch(
            &self.x.client,
            groups(n),
            group(),
            arg(grad),
            arg(y.unwrap_or(grad)),
            arg(&out),
            n as u32,
            (from * layer.out) as u32,
            if y.is_some() { code(layer.activation) } else { 0 },
        );
        out
    }

    /// Adds what layer `l` gives back to the network's input, and returns what it gives to the activations before it.
    fn to_input(&self, l: usize, delta: &CubeTensor, to_x: &CubeTensor) -> CubeTensor {
        let (from_x, from_h) = self.widths(l);
        let below = self.scratch(from_h.max(1));
        kernels::to_input::launch(
            &self.x.client,
            tiles(self.rows, from_x + from_h, 1),
            tile_group(),
            arg(delta),
            arg(self.params),
            arg(to_x),
            arg(&below),
            self.rows as u32,
            self.first as u32,
            from_x as u32,
            from_h as u32,
            self.spec.offset(l) as u32,
            self.spec.layers[l].out as u32,
            tile_columns(from_x + from_h) / kernels::SIDE,
        );
        below
    }

    /// Adds the gradient of layer `l`'s weights and biases to `to_params`.
    fn to_weights(&self, l: usize, delta: &CubeTensor, before: Option<&CubeTensor>, to_params: &CubeTensor) {
        let layer = &self.spec.layers[l];
        let (from_x, from_h) = self.widths(l);
        // The biases are the weights of one more input, which is always 1.
        let columns = from_x + from_h + usize::from(layer.bias);
        let size = layer.out * columns;
        let pieces = self.rows.div_ceil(PIECE).min(PIECES.div_ceil(size)).clamp(1, 256);
        let piece = self.rows.div_ceil(pieces);
        let partial = empty(self.x, [pieces, size]);
        kernels::to_weights::launch(
            &self.x.client,
            tiles(layer.out, columns, pieces),
            tile_group(),
            arg(delta),
            arg(self.x),
            arg(before.unwrap_or(self.x)),
            arg(&partial),
            self.rows as u32,
            piece as u32,
            self.first as u32,
            from_x as u32,
            from_h as u32,
            layer.out as u32,
            u32::from(layer.bias),
            tile_columns(columns) / kernels::SIDE,
        );
        kernels::add_pieces::launch(
            &self.x.client,
            groups(size),
            group(),
            arg(&partial),
            arg(to_params),
            size as u32,
            pieces as u32,
            self.spec.offset(l) as u32,
        );
    }

    /// Forwards and back again.
    fn backward(&self, grad: &CubeTensor, to_x: Option<&CubeTensor>, to_params: Option<&CubeTensor>) {
        let layers = &self.spec.layers;
        let mut kept: Vec<CubeTensor> = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate() {
            // Of the last layer only the slope of its activation is asked for.
            if l + 1 < layers.len() || layer.activation != Activation::None {
                let h = self.scratch(layer.out);
                self.layer(l, kept.last(), &h, 0);
                kept.push(h);
            }
        }
        let mut above = grad.clone();
        for (l, layer) in layers.iter().enumerate().rev() {
            let from = if l + 1 == layers.len() { self.first } else { 0 };
            let delta = self.through_activation(layer, &above, from, kept.get(l));
            let before = l.checked_sub(1).map(|b| &kept[b]);
            if let Some(to_params) = to_params {
                self.to_weights(l, &delta, before, to_params);
            }
            if l > 0 || to_x.is_some() {
                // A concatenated input gets its gradient even where nobody wants it: it is a few columns of a tile.
                let to_x = to_x.cloned().unwrap_or_else(|| empty(self.x, dims(self.x)));
                above = self.to_input(l, &delta, &to_x);
            }
        }
    }
}

/// Runs `pass` over chunks of `chunk` rows.
fn each_chunk(spec: &MlpSpec, x: &CubeTensor, params: &CubeTensor, chunk: usize, mut pass: impl FnMut(&Pass)) {
    let n = dims(x)[0];
    for first in (0..n).step_by(chunk) {
        pass(&Pass { spec, x, params, first, rows: chunk.min(n - first) });
    }
}

fn chunk_rows(spec: &MlpSpec) -> usize {
    let width: usize = spec.layers.iter().map(|l| l.out).sum();
    (BUDGET / width).clamp(kernels::ROWS, MOST_ROWS)
}

fn forward(spec: &MlpSpec, inputs: &[CubeTensor], chunk: usize) -> CubeTensor {
    let (x, params) = (&inputs[0], &inputs[1]);
    let out = empty(x, [dims(x)[0], spec.output_dim()]);
    let last = spec.layers.len() - 1;
    each_chunk(spec, x, params, chunk, |pass| {
        let mut before: Option<CubeTensor> = None;
        for l in 0..last {
            let h = pass.scratch(spec.layers[l].out);
            pass.layer(l, before.as_ref(), &h, 0);
            before = Some(h);
        }
        pass.layer(last, before.as_ref(), &out, pass.first);
    });
    out
}

fn backward(
    spec: &MlpSpec,
    inputs: &[CubeTensor],
    grad: &CubeTensor,
    wanted: &[bool],
    chunk: usize,
) -> Vec<Option<CubeTensor>> {
    let (x, params) = (&inputs[0], &inputs[1]);
    let to_x = wanted[0].then(|| zeros(x, dims(x)));
    let to_params = wanted[1].then(|| zeros(x, dims(params)));
    each_chunk(spec, x, params, chunk, |pass| pass.backward(grad, to_x.as_ref(), to_params.as_ref()));
    vec![to_x, to_params]
}

impl GpuKernel for Mlp {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        (forward(&self.spec, inputs, chunk_rows(&self.spec)), None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        backward(&self.spec, inputs, &grad, wanted, chunk_rows(&self.spec))
    }
}

#[cfg(test)]
mod tests;
