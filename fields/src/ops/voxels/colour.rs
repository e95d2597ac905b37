//! Colour from spherical harmonics of degree 2: the sum of nine functions of the view direction for each of three
//! channels, brought into `[0, 1]`, in one pass.
//!
//! A row of 27 coefficients is channel-major — nine of red, nine of green, nine of blue, each in the order and with the
//! signs of [`crate::parts::sh`] — as svox2's files have it.

use burn::tensor::Tensor;
use glam::Vec3;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};
use crate::ops::simd::Tier;
use crate::parts::fast_math::exp;
use crate::parts::sh;

/// Functions of degree at most 2.
pub const FUNCTIONS: usize = 9;
/// Coefficients of a vertex.
pub const COEFFICIENTS: usize = 3 * FUNCTIONS;

/// Rows that one task takes.
const ROWS: usize = 2048;

/// How the sum becomes a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// `sum + ½` held to `[0, 1]`, with a gradient that leads back inside. (Plenoxels holds it above 0 only; pictures are
    /// clipped there later.)
    Clip,
    /// `1 / (1 + exp(−sum))`, as progressive volume distillation has it.
    Sigmoid,
}

impl Colour {
    #[inline(always)]
    fn of(self, sum: f32) -> f32 {
        match self {
            Self::Clip => (sum + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + exp(-sum)),
        }
    }

    /// The gradient to the sum from `g`, that to the colour.
    #[inline(always)]
    fn back(self, sum: f32, g: f32) -> f32 {
        match self {
            Self::Clip => {
                let value = sum + 0.5;
                let passes = (value >= 0.0 || g < 0.0) && (value <= 1.0 || g > 0.0);
                if passes { g } else { 0.0 }
            }
            Self::Sigmoid => {
                let value = self.of(sum);
                g * value * (1.0 - value)
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct ShColour {
    pub(super) colour: Colour,
}

/// The nine functions at each direction; the samples of a ray follow one another and share theirs.
struct Basis {
    last: Vec3,
    values: [f32; FUNCTIONS],
}

impl Basis {
    fn new() -> Self {
        Self { last: Vec3::NAN, values: [0.0; FUNCTIONS] }
    }

    #[inline(always)]
    fn at(&mut self, d: [f32; 3]) -> [f32; FUNCTIONS] {
        let d = Vec3::from(d);
        if d != self.last {
            self.last = d;
            self.values.copy_from_slice(&sh::eval_basis(2, d)[..FUNCTIONS]);
        }
        self.values
    }
}

#[inline(always)]
fn sums(row: &[f32; COEFFICIENTS], basis: &[f32; FUNCTIONS]) -> [f32; 3] {
    std::array::from_fn(|c| {
        let mut sum = 0.0;
        for k in 0..FUNCTIONS {
            sum += row[c * FUNCTIONS + k] * basis[k];
        }
        sum
    })
}

struct Forward<'a> {
    colour: Colour,
    latent: &'a [[f32; COEFFICIENTS]],
    d: &'a [[f32; 3]],
    out: &'a mut [[f32; 3]],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut basis = Basis::new();
        for ((row, &d), out) in self.latent.iter().zip(self.d).zip(self.out) {
            *out = sums(row, &basis.at(d)).map(|sum| self.colour.of(sum));
        }
    }
}

struct Backward<'a> {
    colour: Colour,
    latent: &'a [[f32; COEFFICIENTS]],
    d: &'a [[f32; 3]],
    grad: &'a [[f32; 3]],
    out: &'a mut [[f32; COEFFICIENTS]],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut basis = Basis::new();
        for (((row, &d), grad), out) in self.latent.iter().zip(self.d).zip(self.grad).zip(self.out) {
            // Samples that no light reaches have no gradient, and `out` is zero already.
            if *grad == [0.0; 3] {
                continue;
            }
            let basis = basis.at(d);
            let sums = sums(row, &basis);
            for c in 0..3 {
                let g = self.colour.back(sums[c], grad[c]);
                for k in 0..FUNCTIONS {
                    out[c * FUNCTIONS + k] += g * basis[k];
                }
            }
        }
    }
}

impl Kernel for ShColour {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        assert!(inputs[0][1] == COEFFICIENTS && inputs[1][1] == 3, "27 coefficients and a direction a row");
        [inputs[0][0], 3]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let (latent, d) = (inputs[0].as_chunks().0, inputs[1].as_chunks().0);
        let tasks = output.as_chunks_mut().0.par_chunks_mut(ROWS).zip(latent.par_chunks(ROWS)).zip(d.par_chunks(ROWS));
        tasks.for_each(|((out, latent), d)| Tier::best().run(Forward { colour: self.colour, latent, d, out }));
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let (latent, d): (&[[f32; COEFFICIENTS]], _) = (inputs[0].as_chunks().0, inputs[1].as_chunks::<3>().0);
        let grad = grad.as_chunks::<3>().0;
        if let Some(out) = &mut grads[0] {
            let out = out.as_chunks_mut().0.par_chunks_mut(ROWS);
            let rows = latent.par_chunks(ROWS).zip(d.par_chunks(ROWS)).zip(grad.par_chunks(ROWS));
            out.zip(rows).for_each(|(out, ((latent, d), grad))| {
                Tier::best().run(Backward { colour: self.colour, latent, d, grad, out });
            });
        }
        if let Some(out) = &mut grads[1] {
            let rows = latent.par_iter().zip(d).zip(grad);
            out.as_chunks_mut::<3>().0.par_iter_mut().zip(rows).with_min_len(ROWS).for_each(
                |(out, ((row, d), grad))| {
                    let d = Vec3::from(*d);
                    let sums = sums(row, &Basis::new().at(d.to_array()));
                    let mut of_basis = [0.0; sh::COUNT];
                    for c in 0..3 {
                        let g = self.colour.back(sums[c], grad[c]);
                        (0..FUNCTIONS).for_each(|k| of_basis[k] += g * row[c * FUNCTIONS + k]);
                    }
                    *out = sh::basis_gradient(2, d, &of_basis).to_array();
                },
            );
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Coefficients `[n, 27]` and unit directions `[n, 3]` to colour `[n, 3]` in `[0, 1]`; differentiable in both.
pub fn sh_colour(latent: Tensor<2>, d: Tensor<2>, colour: Colour) -> Tensor<2> {
    apply2(latent, d, ShColour { colour })
}
