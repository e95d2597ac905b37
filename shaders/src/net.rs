//! A small fully connected network for shaders: its weights in tiles of 4 × 4, and the text that runs it.
//!
//! A tile is a `mat4x4f` whose column `j` holds what input `j` adds to four neighbouring outputs, so that a layer is
//! `sum += tile * input` on vectors of four. Widths are padded to whole vectors with zero weights.

use std::fmt::Write;

/// What a layer applies to its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
}

/// A layer: `h' = activation(W · h + bias)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Width.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// What is applied to the sums.
    pub activation: Activation,
    /// Whether it sees the network's input before the previous activations.
    pub concat_input: bool,
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Width of the input.
    pub input: usize,
    /// The layers, the first one first; at least one.
    pub layers: Vec<Layer>,
}

/// Values in a tile.
const TILE: usize = 16;

impl Net {
    /// The widths of what layer `l` sees: of one part, or of the input and of the previous activations.
    fn seen(&self, l: usize) -> Vec<usize> {
        match l {
            0 => vec![self.input],
            _ if self.layers[l].concat_input => vec![self.input, self.layers[l - 1].out],
            _ => vec![self.layers[l - 1].out],
        }
    }

    /// Tiles of a layer's weights, and of its biases (four vectors in each).
    fn tiles_of(&self, l: usize) -> [usize; 2] {
        let rows = self.layers[l].out.div_ceil(4);
        let columns: usize = self.seen(l).iter().map(|width| width.div_ceil(4)).sum();
        [rows * columns, if self.layers[l].bias { rows.div_ceil(4) } else { 0 }]
    }

    /// Length of the flat parameters: for each layer weights `[out, in]` row-major, then biases `[out]`.
    pub fn param_count(&self) -> usize {
        let of =
            |l: usize| self.layers[l].out * (self.seen(l).iter().sum::<usize>() + usize::from(self.layers[l].bias));
        (0..self.layers.len()).map(of).sum()
    }

    /// The flat parameters in tiles, `[tiles · 16]`.
    ///
    /// # Panics
    /// When `params` is not of [`Net::param_count`] values: a mistake of the caller.
    pub fn tiles(&self, params: &[f32]) -> Vec<f32> {
        assert_eq!(params.len(), self.param_count(), "the parameters are those of the network");
        let mut tiles = Vec::new();
        let mut at = 0;
        for (l, layer) in self.layers.iter().enumerate() {
            let seen = self.seen(l);
            let width: usize = seen.iter().sum();
            let weight = |o: usize, i: usize| if o < layer.out { params[at + o * width + i] } else { 0.0 };
            for row in (0..layer.out).step_by(4) {
                let mut first = 0;
                for &part in &seen {
                    for column in (0..part).step_by(4) {
                        let cell = |k: usize| {
                            let (o, i) = (row + k % 4, column + k / 4);
                            if i < part { weight(o, first + i) } else { 0.0 }
                        };
                        tiles.extend((0..TILE).map(cell));
                    }
                    first += part;
                }
            }
            at += layer.out * width;
            if layer.bias {
                let padded = layer.out.div_ceil(TILE) * TILE;
                tiles.extend((0..padded).map(|o| if o < layer.out { params[at + o] } else { 0.0 }));
                at += layer.out;
            }
        }
        tiles
    }

    /// The text that runs it, for a buffer of its tiles at `binding` of group 1: `put_NAME(k, value)` sets an input,
    /// `run_NAME()` computes, and `NAME_y` holds the outputs in vectors of four.
    pub fn wgsl(&self, name: &str, binding: u32) -> String {
        let mut out = String::new();
        let vectors = |width: usize| width.div_ceil(4);
        let widest = self.layers.iter().map(|layer| vectors(layer.out)).max().unwrap_or(1);
        let last = self.layers.last().map_or(1, |layer| vectors(layer.out));
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "@group(1) @binding({binding}) var<storage, read> {name}_net: array<mat4x4f>;\n\
             var<private> {name}_x: array<vec4f, {}>;\n\
             var<private> {name}_a: array<vec4f, {widest}>;\n\
             var<private> {name}_b: array<vec4f, {widest}>;\n\
             var<private> {name}_y: array<vec4f, {last}>;\n\
             fn put_{name}(k: u32, value: f32) {{ {name}_x[k >> 2u][k & 3u] = value; }}\n\
             fn run_{name}() {{\n",
            vectors(self.input)
        );
        let mut at = 0;
        let mut previous = format!("{name}_x");
        for (l, layer) in self.layers.iter().enumerate() {
            let into = match l {
                _ if l + 1 == self.layers.len() => format!("{name}_y"),
                _ if l % 2 == 0 => format!("{name}_a"),
                _ => format!("{name}_b"),
            };
            let [weights, biases] = self.tiles_of(l);
            let parts = self.seen(l);
            let columns: usize = parts.iter().map(|&width| vectors(width)).sum();
            let start = if layer.bias {
                format!("{name}_net[{}u + (o >> 2u)][o & 3u]", at + weights)
            } else {
                "vec4f(0.0)".into()
            };
            let _ =
                writeln!(out, "    for (var o = 0u; o < {}u; o++) {{\n        var sum = {start};", vectors(layer.out));
            let mut first = 0;
            for (i, &width) in parts.iter().enumerate() {
                let from = if parts.len() == 2 && i == 0 { format!("{name}_x") } else { previous.clone() };
                let _ = writeln!(
                    out,
                    "        for (var i = 0u; i < {}u; i++) {{ sum += {name}_net[{}u + o * {columns}u + i] * {from}[i]; }}",
                    vectors(width),
                    at + first
                );
                first += vectors(width);
            }
            let value = match layer.activation {
                Activation::None => "sum",
                Activation::Relu => "max(sum, vec4f(0.0))",
                Activation::Sigmoid => "1.0 / (1.0 + exp(-sum))",
            };
            let _ = writeln!(out, "        {into}[o] = {value};\n    }}");
            at += weights + biases;
            previous = into;
        }
        out.push_str("}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(out: usize, bias: bool, concat_input: bool) -> Layer {
        Layer { out, bias, activation: Activation::None, concat_input }
    }

    /// What the text does, on the tiles.
    fn run(net: &Net, tiles: &[f32], x: &[f32]) -> Vec<f32> {
        let padded = |v: &[f32]| {
            let mut v = v.to_vec();
            v.resize(v.len().next_multiple_of(4), 0.0);
            v
        };
        let (mut at, mut previous) = (0, padded(x));
        for (l, layer) in net.layers.iter().enumerate() {
            let seen = if net.seen(l).len() == 2 { [padded(x), previous.clone()].concat() } else { previous.clone() };
            let [weights, biases] = net.tiles_of(l);
            let columns = seen.len() / 4;
            let mut out = Vec::new();
            for o in 0..layer.out.div_ceil(4) {
                for row in 0..4 {
                    let bias = if layer.bias { tiles[(at + weights) * TILE + 4 * o + row] } else { 0.0 };
                    let tile = |i: usize| tiles[(at + o * columns + i / 4) * TILE + 4 * (i % 4) + row];
                    out.push(bias + seen.iter().enumerate().map(|(i, x)| tile(i) * x).sum::<f32>());
                }
            }
            at += weights + biases;
            previous = out;
        }
        assert_eq!(at * TILE, tiles.len(), "every tile belongs to a layer");
        previous.truncate(net.layers.last().map_or(0, |l| l.out));
        previous
    }

    /// The plain definition.
    fn plain(net: &Net, params: &[f32], x: &[f32]) -> Vec<f32> {
        let (mut at, mut previous) = (0, x.to_vec());
        for (l, layer) in net.layers.iter().enumerate() {
            let seen = if net.seen(l).len() == 2 { [x, &previous[..]].concat() } else { previous.clone() };
            let n = seen.len();
            let bias = |o: usize| if layer.bias { params[at + layer.out * n + o] } else { 0.0 };
            let row = |o: usize| (0..n).map(|i| params[at + o * n + i] * seen[i]).sum::<f32>() + bias(o);
            previous = (0..layer.out).map(row).collect();
            at += layer.out * (n + usize::from(layer.bias));
        }
        previous
    }

    #[test]
    fn tiles_hold_every_weight_and_bias_in_its_place() {
        let layers = vec![layer(18, true, false), layer(7, false, false), layer(9, true, true), layer(3, false, false)];
        let net = Net { input: 5, layers };
        let params: Vec<f32> = (0..net.param_count()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let x = [0.3, -1.2, 0.7, 2.0, -0.4];
        let (tiled, wanted) = (run(&net, &net.tiles(&params), &x), plain(&net, &params, &x));
        assert_eq!(tiled.len(), 3);
        let off = |a: &[f32]| a.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off(&tiled) < 1e-3, "{tiled:?} {wanted:?}");
        let mut other = params.clone();
        other[18 * 6 + 3] += 0.5;
        assert!(off(&run(&net, &net.tiles(&other), &x)) > 1e-2, "a weight that is off must show");
    }
}
