//! Differences between two tensors, as one number.

use burn::tensor::Tensor;

use crate::preset::Loss;

/// Where Huber's loss turns from quadratic to linear (Instant-NGP).
const HUBER: f32 = 0.1;

/// The difference of `a` and `b`, both `[n, c]`, as `[1]`.
pub fn difference(a: Tensor<2>, b: Tensor<2>, loss: Loss) -> Tensor<1> {
    reduce(a - b, loss)
}

/// The same with a weight for each row, `[n, 1]`; a mean is over the rows' weights as they stand.
pub fn weighted(a: Tensor<2>, b: Tensor<2>, weight: Tensor<2>, loss: Loss) -> Tensor<1> {
    match loss {
        Loss::Norm | Loss::Mse => reduce((a - b) * weight.sqrt(), loss),
        Loss::Huber => (huber(a - b) * weight).mean(),
        Loss::L1 => ((a - b).abs() * weight).mean(),
    }
}

fn reduce(d: Tensor<2>, loss: Loss) -> Tensor<1> {
    match loss {
        Loss::Mse => (d.clone() * d).mean(),
        Loss::L1 => d.abs().mean(),
        Loss::Huber => huber(d).mean(),
        // The offset keeps the gradient of a perfect match finite.
        Loss::Norm => (d.clone() * d).sum().add_scalar(1e-12).sqrt(),
    }
}

/// `|d| − δ/2` beyond δ and `d² / 2δ` within, as the part of `|d|` up to δ: `c (|d| − c/2) / δ`.
fn huber(d: Tensor<2>) -> Tensor<2> {
    let size = d.abs();
    let capped = size.clone().clamp_max(HUBER);
    capped.clone() * (size - capped * 0.5) / HUBER
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use retort_fields::field::{tensor, values};

    use super::*;

    #[test]
    fn values_are_those_of_the_formulas() {
        let device = Device::flex();
        let a = tensor(vec![0.0, 0.3, -0.05, 1.0], [2, 2], &device);
        let b = tensor(vec![0.0; 4], [2, 2], &device);
        let at = |loss| values(difference(a.clone(), b.clone(), loss))[0];
        assert!((at(Loss::Mse) - (0.09 + 0.0025 + 1.0) / 4.0).abs() < 1e-6);
        assert!((at(Loss::L1) - 1.35 / 4.0).abs() < 1e-6);
        assert!((at(Loss::Norm) - (0.09_f32 + 0.0025 + 1.0).sqrt()).abs() < 1e-6);
        assert!((at(Loss::Huber) - (0.25 + 0.0125 + 0.95) / 4.0).abs() < 1e-6);
        let w = tensor(vec![1.0, 0.0], [2, 1], &device);
        assert!(
            (values(weighted(a, b, w, Loss::Mse))[0] - 0.09 / 4.0).abs() < 1e-6,
            "a row of weight 0 does not count"
        );
    }
}
