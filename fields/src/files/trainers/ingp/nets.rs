//! The parameters: networks of the file to those of a hash field and back, without a change to what they compute.
//!
//! `tiny-cuda-nn` pads. The grid's values are followed by zeros up to a multiple of 16 (8 before a network that is not fused
//! with it), so those columns of the first matrix count for nothing. Outputs are padded to a multiple of 16: of the colour's
//! 16 only 3 are looked at, but the colour network sees all of the density's.

use half::f16;
use rayon::prelude::*;

use super::file::Snapshot;
use super::plan::Plan;
use crate::error::{Error, Result};

/// What widths are padded to a multiple of.
pub const ALIGNMENT: usize = 16;
/// Widths of the networks that are fused into one kernel.
const FUSED: [usize; 4] = [16, 32, 64, 128];

/// The width that the values of a grid are padded to before a network.
pub fn padded_input(values: usize, fused: bool) -> usize {
    values.next_multiple_of(if fused { ALIGNMENT } else { ALIGNMENT / 2 })
}

/// The one width that hidden layers are padded to.
fn padded_width(hidden: &[usize]) -> usize {
    hidden.iter().copied().max().unwrap_or(ALIGNMENT).next_multiple_of(ALIGNMENT)
}

/// Whether a network with these hidden layers is written as a fused one.
pub fn is_fused(hidden: &[usize]) -> bool {
    !hidden.is_empty() && FUSED.contains(&padded_width(hidden))
}

/// A network of a file: `hidden` layers of `width` between padded inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Width of what it sees, padded.
    pub input: usize,
    /// Width of its hidden layers.
    pub width: usize,
    /// Number of its hidden layers.
    pub hidden: usize,
    /// Width of its output, padded.
    pub output: usize,
}

impl Net {
    /// Rows and columns of its matrices, in the order of the file.
    pub fn matrices(&self) -> Vec<[usize; 2]> {
        let widths = [self.input].into_iter().chain(std::iter::repeat_n(self.width, self.hidden)).chain([self.output]);
        let widths: Vec<usize> = widths.collect();
        widths.windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    /// Number of its parameters.
    pub fn param_count(&self) -> usize {
        self.matrices().iter().map(|[rows, columns]| rows * columns).sum()
    }

    /// Its parameters with the columns of the first matrix beyond `inputs` left out, and of the last one's rows those in
    /// `outputs` kept, in that order.
    fn cut(&self, params: &[f32], inputs: usize, outputs: &[usize]) -> Vec<f32> {
        let shapes = self.matrices();
        let mut kept = Vec::with_capacity(params.len());
        let mut rest = params;
        for (i, [rows, columns]) in shapes.iter().copied().enumerate() {
            let matrix = rest.split_off(..rows * columns).unwrap_or_default();
            let seen = if i == 0 { inputs } else { columns };
            let mut push = |row: usize| kept.extend_from_slice(&matrix[row * columns..][..seen]);
            if i + 1 == shapes.len() { outputs.iter().copied().for_each(&mut push) } else { (0..rows).for_each(push) }
        }
        kept
    }
}

/// The values of a snapshot.
pub struct Params<'a> {
    bytes: &'a [u8],
    half: bool,
}

impl<'a> Params<'a> {
    /// The values, as many as the parts of `plan` have.
    ///
    /// # Errors
    /// When they are missing, of an unknown type, or another number of them.
    pub fn of(snapshot: &Snapshot<'a>, plan: &Plan) -> Result<Self> {
        let bytes = snapshot.params_binary.ok_or_else(|| {
            Error::new("snapshot.params_binary is missing").remedy("the file is incomplete: save it again")
        })?;
        let count = plan.param_count();
        let half = match snapshot.params_type {
            Some("__half") => true,
            Some("float") => false,
            // Files without it hold whatever their instant-ngp computed with.
            None => bytes.len() < 4 * count,
            other => {
                let what = format!("snapshot.params_type is \"{}\", not __half or float", other.unwrap_or_default());
                return Err(Error::new(what).remedy("save it again with instant-ngp"));
            }
        };
        let each = if half { 2 } else { 4 };
        let wrong = |name: &str, got: u64| {
            let what = format!("snapshot.{name}: {got} parameters, and networks and grid have {count}");
            Error::new(what).remedy("the file is damaged, or has parts that its configuration does not name")
        };
        if let Some(said) = snapshot.n_params.filter(|n| *n != count as u64) {
            return Err(wrong("n_params", said));
        }
        if bytes.len() != count * each {
            return Err(wrong("params_binary", (bytes.len() / each) as u64));
        }
        Ok(Self { bytes, half })
    }

    /// Density network, colour network and table of a hash field.
    ///
    /// # Errors
    /// When a value is not a number.
    pub fn into_parts(self, plan: &Plan) -> Result<[Vec<f32>; 3]> {
        let (sigma, colour) = (plan.sigma.param_count(), plan.colour.param_count());
        let sigma_params = self.values(0, sigma)?;
        let colour_params = self.values(sigma, colour)?;
        let table = self.values(sigma + colour, plan.hash.param_count())?;
        // The density is beside the latent, and the first of it: that row twice.
        let outputs: Vec<usize> = [0].into_iter().chain(0..plan.sigma.output).collect();
        let sigma_net = plan.sigma.cut(&sigma_params, plan.hash.out_dim(), &outputs);
        let colour_net = plan.colour.cut(&colour_params, plan.colour.input, &[0, 1, 2]);
        Ok([sigma_net, colour_net, table])
    }

    fn values(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let each = if self.half { 2 } else { 4 };
        let bytes = &self.bytes[first * each..][..count * each];
        let values = floats(bytes, self.half);
        match values.par_iter().position_first(|v| !v.is_finite()) {
            Some(at) => Err(Error::new(format!("snapshot.params_binary: parameter {} is not a number", first + at))
                .remedy("its training diverged: save an earlier state of it")),
            None => Ok(values),
        }
    }
}

/// Little-endian values of half or single precision.
pub fn floats(bytes: &[u8], half: bool) -> Vec<f32> {
    if half {
        bytes.as_chunks().0.par_iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
    } else {
        bytes.as_chunks().0.par_iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

/// A network of a hash field to be written: layers of any width, padded so that a file can hold it.
pub struct Padded {
    /// What it is in the file.
    pub net: Net,
    /// Its parameters in the file.
    pub params: Vec<f32>,
    fused: bool,
}

impl Padded {
    /// The network of `params`, which has `hidden` layers between `inputs` and `outputs`, as a file has it. `input` and
    /// `output` are the widths there; `place(i)` is where its input `i` goes.
    ///
    /// Units that are added to the hidden layers have weights of zero on both sides.
    pub fn new(
        params: &[f32],
        [inputs, outputs]: [usize; 2],
        hidden: &[usize],
        [input, output]: [usize; 2],
        place: impl Fn(usize) -> usize,
    ) -> Self {
        let net = Net { input, width: padded_width(hidden), hidden: hidden.len(), output };
        let mut padded = vec![0.0; net.param_count()];
        let (mut to, mut from) = (&mut padded[..], params);
        let widths: Vec<usize> = [inputs].into_iter().chain(hidden.iter().copied()).chain([outputs]).collect();
        for (i, ([rows, columns], pair)) in net.matrices().into_iter().zip(widths.windows(2)).enumerate() {
            let (matrix, rest) = to.split_at_mut(rows * columns);
            to = rest;
            let own = from.split_off(..pair[0] * pair[1]).unwrap_or_default();
            for (row, own) in matrix.chunks_exact_mut(columns).zip(own.chunks_exact(pair[0])) {
                for (at, weight) in own.iter().enumerate() {
                    row[if i == 0 { place(at) } else { at }] = *weight;
                }
            }
        }
        Self { net, fused: is_fused(hidden), params: padded }
    }

    /// The kind of network that instant-ngp makes of it.
    pub fn otype(&self) -> &'static str {
        if self.fused { "FullyFusedMLP" } else { "CutlassMLP" }
    }
}
