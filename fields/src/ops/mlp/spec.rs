//! The shape of a small multi-layer perceptron, and where its weights lie in one flat slice.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a layer applies to its sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`; its slope at 0 is taken as 0.
    Relu,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
}

/// One layer: `h' = activation(W · h + bias)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Width of the layer.
    pub out: usize,
    /// Whether a bias is added.
    #[serde(default)]
    pub bias: bool,
    /// What is applied to the sums.
    #[serde(default)]
    pub activation: Activation,
    /// Whether the layer sees `[input of the network, previous activations]` and not the latter alone (`NeRF`'s skip
    /// connection). Not for the first layer, whose previous activations are that input.
    #[serde(default)]
    pub concat_input: bool,
}

/// A matrix within a flat parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Its first value.
    pub at: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

/// A multi-layer perceptron. Its parameters are one slice: for each layer `W [out, in]`, row-major, then `bias [out]`
/// where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpSpec {
    /// Width of the input.
    pub input: usize,
    /// The layers, the first one first.
    pub layers: Vec<Layer>,
}

impl Layer {
    /// A layer without bias and without skip connection.
    pub fn new(out: usize, activation: Activation) -> Self {
        Self { out, bias: false, activation, concat_input: false }
    }

    /// The same with a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// The same, seeing the network's input before the previous activations.
    #[must_use]
    pub fn with_input(self) -> Self {
        Self { concat_input: true, ..self }
    }
}

/// The widest layer that the kernels take.
const WIDEST: usize = 4096;

impl MlpSpec {
    /// `hidden` layers of `width` with `Relu` and an output layer, no biases: the nets of Instant-NGP and its followers.
    pub fn plain(input: usize, width: usize, hidden: usize, out: usize) -> Self {
        let mut layers = vec![Layer::new(width, Activation::Relu); hidden];
        layers.push(Layer::new(out, Activation::None));
        Self { input, layers }
    }

    /// Where the weights of each layer lie among the parameters, row-major `[out, in]`.
    pub fn matrices(&self) -> Vec<Matrix> {
        (0..self.layers.len())
            .map(|l| Matrix { at: self.offset(l), rows: self.layers[l].out, columns: self.in_dim(l) })
            .collect()
    }

    /// Width of the output.
    pub fn output_dim(&self) -> usize {
        self.layers.last().map_or(self.input, |l| l.out)
    }

    /// Width of what layer `l` sees.
    pub fn in_dim(&self, l: usize) -> usize {
        match l {
            0 => self.input,
            _ if self.layers[l].concat_input => self.input + self.layers[l - 1].out,
            _ => self.layers[l - 1].out,
        }
    }

    /// Length of the parameter slice.
    pub fn param_count(&self) -> usize {
        self.layers.iter().enumerate().map(|(l, layer)| layer.out * (self.in_dim(l) + usize::from(layer.bias))).sum()
    }

    /// Where layer `l` begins in the parameter slice.
    pub fn offset(&self, l: usize) -> usize {
        Self { input: self.input, layers: self.layers[..l].to_vec() }.param_count()
    }

    /// Refuses a network that the kernels cannot compute.
    ///
    /// # Errors
    /// When there is no layer, a width is 0 or above 4096, or the first layer asks for a skip connection.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(format!("mlp: {what}")));
        if self.layers.is_empty() || self.layers.len() > 64 {
            return wrong(format!("{} layers, not 1 to 64", self.layers.len()));
        }
        if let Some(width) = self.layers.iter().map(|l| l.out).chain([self.input]).find(|w| *w == 0 || *w > WIDEST) {
            return wrong(format!("a width of {width}, not 1 to {WIDEST}"));
        }
        if self.layers[0].concat_input {
            return wrong("the first layer has `concat_input`, but the input is all that it sees".into());
        }
        Ok(())
    }
}
