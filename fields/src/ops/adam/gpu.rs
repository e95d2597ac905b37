//! Adam on wgpu: one thread per parameter, in place. See [`super::cpu`] for the formulas.

use burn_cubecl::kernel::into_contiguous;

use super::cpu::Rates;
use crate::ops::gpu::{arg, group, groups};
use crate::ops::kernel::CubeTensor;

/// A tensor that may be written over: a copy where somebody else looks at the values.
fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// The new parameter and moments.
pub(super) fn step(
    param: CubeTensor,
    grad: CubeTensor,
    m: CubeTensor,
    v: CubeTensor,
    rates: &Rates,
) -> [CubeTensor; 3] {
    let n = param.meta.num_elements();
    assert!([&grad, &m, &v].iter().all(|t| t.meta.num_elements() == n), "gradient and moments are as the parameter");
    if n == 0 {
        return [param, m, v];
    }
    let (param, m, v, grad) = (owned(param), owned(m), owned(v), into_contiguous(grad));
    kernels::step::launch(
        &param.client,
        groups(n),
        group(),
        arg(&param),
        arg(&grad),
        arg(&m),
        arg(&v),
        n as u32,
        rates.beta1,
        rates.rest1,
        rates.beta2,
        rates.rest2,
        rates.rate,
        rates.root,
        rates.eps,
        rates.kept,
        u32::from(rates.skip),
    );
    [param, m, v]
}

/// The new average.
pub(super) fn ema(average: CubeTensor, param: CubeTensor, decay: f32) -> CubeTensor {
    let n = average.meta.num_elements();
    assert_eq!(param.meta.num_elements(), n, "the average is shaped like the parameters");
    if n == 0 {
        return average;
    }
    let (average, param) = (owned(average), into_contiguous(param));
    kernels::ema::launch(&average.client, groups(n), group(), arg(&average), arg(&param), n as u32, decay, 1.0 - decay);
    average
}

mod kernels {
    use cubecl::prelude::*;

    #[cube(launch)]
    pub fn step(
        param: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        n: u32,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        rate: f32,
        root: f32,
        eps: f32,
        kept: f32,
        skip: u32,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let i = ABSOLUTE_POS;
        let g = grad[i];
        // Not `g != 0.0`: devices may say that a NaN is neither equal to nought nor unequal.
        let mut still = 0u32;
        if skip == 1 && g == 0.0 {
            still = 1;
        }
        if still == 0 {
            let first = beta1 * m[i] + rest1 * g;
            let second = beta2 * v[i] + rest2 * (g * g);
            m[i] = first;
            v[i] = second;
            param[i] = kept * param[i] - rate * first / (second.sqrt() * root + eps);
        }
    }

    #[cube(launch)]
    pub fn ema(average: &mut [f32], param: &[f32], n: u32, decay: f32, rest: f32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        average[ABSOLUTE_POS] = decay * average[ABSOLUTE_POS] + rest * param[ABSOLUTE_POS];
    }
}
