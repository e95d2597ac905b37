//! Adam on a CPU: one pass over parameters, gradient and both moments, all cores, vector code.
//!
//! With `g` the gradient at step `t` (from 1): `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
//! `p ← (1 − lr·decay)·p − lr/(1−β₁ᵗ) · m / (√(v/(1−β₂ᵗ)) + ε)`.
//!
//! The limit is memory: 16 bytes read and 12 written a parameter. Nothing is fused, so every tier gives the same bits.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ops::simd::Tier;

/// The constants of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSpec {
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta1: f32,
    /// Decay of the mean of its square, in `[0, 1)`.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Decoupled weight decay (`AdamW`): the step shrinks a parameter by `lr · weight_decay` of itself.
    pub weight_decay: f32,
    /// Entries whose gradient is exactly 0 keep their value and moments: Instant-NGP's rule for its hash table, whose
    /// entries are mostly not hit by a batch and must not drift on old momentum.
    pub skip_zero_grad: bool,
}

impl Default for AdamSpec {
    /// Adam as published: 0.9, 0.999, 1e-8, no decay, nothing skipped.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, skip_zero_grad: false }
    }
}

/// Parameters per task: large enough to hide the hand-over, small enough to share out evenly.
const TASK: usize = 1 << 16;

/// Parameters that are skipped together where all their gradients are 0: then their moments are not even read.
const BLOCK: usize = 64;

/// One step, in place, of parameters `param [n]` with moments `m [n]` and `v [n]` (zeros at the start), given `grad
/// [n]`. `t` counts steps from 1.
///
/// # Panics
/// When the four slices differ in length.
pub fn step(param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], lr: f32, t: u32, spec: &AdamSpec) {
    step_with(Tier::best(), param, grad, m, v, lr, t, spec);
}

/// `average ← decay · average + (1 − decay) · param`, both `[n]`.
///
/// # Panics
/// When the slices differ in length.
pub fn ema(average: &mut [f32], param: &[f32], decay: f32) {
    ema_with(Tier::best(), average, param, decay);
}

#[expect(clippy::too_many_arguments, reason = "the tests choose the tier")]
pub(crate) fn step_with(
    tier: Tier,
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    lr: f32,
    t: u32,
    spec: &AdamSpec,
) {
    let n = param.len();
    assert!(grad.len() == n && m.len() == n && v.len() == n, "parameters, gradient and moments have one length");
    let rates = Rates::new(lr, t, spec);
    param
        .par_chunks_mut(TASK)
        .zip(grad.par_chunks(TASK))
        .zip(m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK)))
        .for_each(|((param, grad), (m, v))| tier.run(Step { param, grad, m, v, rates }));
}

pub(crate) fn ema_with(tier: Tier, average: &mut [f32], param: &[f32], decay: f32) {
    assert_eq!(average.len(), param.len(), "the average is shaped like the parameters");
    average
        .par_chunks_mut(TASK)
        .zip(param.par_chunks(TASK))
        .for_each(|(average, param)| tier.run(Ema { average, param, decay }));
}

/// What is the same for every parameter of a step, computed in double precision: at `t = 1`, `1 − β₂ᵗ` would lose
/// half its digits in single.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) beta1: f32,
    pub(super) rest1: f32,
    pub(super) beta2: f32,
    pub(super) rest2: f32,
    /// `lr / (1 − β₁ᵗ)`
    pub(super) rate: f32,
    /// `1 / √(1 − β₂ᵗ)`
    pub(super) root: f32,
    pub(super) eps: f32,
    /// `1 − lr · weight_decay`
    pub(super) kept: f32,
    pub(super) skip: bool,
}

impl Rates {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel computes in single precision")]
    pub(super) fn new(lr: f32, t: u32, spec: &AdamSpec) -> Self {
        let [beta1, beta2, lr, t] = [spec.beta1.into(), spec.beta2.into(), lr.into(), f64::from(t.max(1))];
        Self {
            beta1: spec.beta1,
            rest1: (1.0 - beta1) as f32,
            beta2: spec.beta2,
            rest2: (1.0 - beta2) as f32,
            rate: (lr / (1.0 - beta1.powf(t))) as f32,
            root: (1.0 / (1.0 - beta2.powf(t)).sqrt()) as f32,
            eps: spec.eps,
            kept: (1.0 - lr * f64::from(spec.weight_decay)) as f32,
            skip: spec.skip_zero_grad,
        }
    }

    /// The new parameter and moments.
    #[inline(always)]
    fn update(self, p: f32, g: f32, m: f32, v: f32) -> (f32, f32, f32) {
        let m = self.beta1 * m + self.rest1 * g;
        let v = self.beta2 * v + self.rest2 * (g * g);
        let p = self.kept * p - self.rate * m / (v.sqrt() * self.root + self.eps);
        (p, m, v)
    }
}

struct Step<'a> {
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    rates: Rates,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let blocks = self.param.chunks_mut(BLOCK).zip(self.grad.chunks(BLOCK));
        let moments = self.m.chunks_mut(BLOCK).zip(self.v.chunks_mut(BLOCK));
        for ((param, grad), (m, v)) in blocks.zip(moments) {
            if self.rates.skip {
                // Or-ing all bits is a vector operation; a search that stops early is not.
                if grad.iter().fold(0, |any, g| any | (g.to_bits() << 1)) != 0 {
                    update_hit(simd, self.rates, param, grad, m, v);
                }
            } else {
                update_all(self.rates, param, grad, m, v);
            }
        }
    }
}

#[inline(always)]
fn update_all(rates: Rates, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
    let n = param.len();
    let (grad, m, v) = (&grad[..n], &mut m[..n], &mut v[..n]);
    for i in 0..n {
        (param[i], m[i], v[i]) = rates.update(param[i], grad[i], m[i], v[i]);
    }
}

/// As [`update_all`], but a lane whose gradient is 0 writes back what it read: a choice, not a branch. (Of a plain loop
/// with this choice the compiler makes masked stores, which are slow.)
#[inline(always)]
fn update_hit<S: Simd>(simd: S, rates: Rates, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (grads, grad_rest) = S::as_simd_f32s(grad);
    let (params, param_rest) = S::as_mut_simd_f32s(param);
    let (ms, m_rest) = S::as_mut_simd_f32s(m);
    let (vs, v_rest) = S::as_mut_simd_f32s(v);
    let lanes = |x: f32| simd.splat_f32s(x);
    let (mul, add) = (|a, b| simd.mul_f32s(a, b), |a, b| simd.add_f32s(a, b));
    for (((p, g), m), v) in params.iter_mut().zip(grads).zip(ms).zip(vs) {
        // The arithmetic of `Rates::update`, operation by operation.
        let new_m = add(mul(lanes(rates.beta1), *m), mul(lanes(rates.rest1), *g));
        let new_v = add(mul(lanes(rates.beta2), *v), mul(lanes(rates.rest2), mul(*g, *g)));
        let below = add(mul(simd.sqrt_f32s(new_v), lanes(rates.root)), lanes(rates.eps));
        let step = simd.div_f32s(mul(lanes(rates.rate), new_m), below);
        let new_p = simd.sub_f32s(mul(lanes(rates.kept), *p), step);
        let still = simd.equal_f32s(*g, lanes(0.0));
        *p = simd.select_f32s(still, *p, new_p);
        *m = simd.select_f32s(still, *m, new_m);
        *v = simd.select_f32s(still, *v, new_v);
    }
    for (((p, g), m), v) in param_rest.iter_mut().zip(grad_rest).zip(m_rest).zip(v_rest) {
        if *g != 0.0 {
            (*p, *m, *v) = rates.update(*p, *g, *m, *v);
        }
    }
}

struct Ema<'a> {
    average: &'a mut [f32],
    param: &'a [f32],
    decay: f32,
}

impl WithSimd for Ema<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let rest = 1.0 - self.decay;
        for (average, param) in self.average.iter_mut().zip(self.param) {
            *average = self.decay * *average + rest * param;
        }
    }
}
