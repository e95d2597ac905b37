//! Gaussian rasterisation on tensors.

use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;

use super::{Saved, SplatGradsMut, SplatParams, SplatSpec, backward_into, forward};
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply7};

/// Radii `[n]` in pixels of the last picture, handed out beside it.
pub(super) type Radii = Arc<Mutex<Arc<Vec<f32>>>>;

#[derive(Debug)]
pub(super) struct Splat {
    pub(super) spec: SplatSpec,
    pub(super) radii: Radii,
}

fn params<'a>(inputs: &[&'a [f32]]) -> SplatParams<'a> {
    SplatParams {
        means: inputs[0],
        log_scales: inputs[1],
        rotations: inputs[2],
        raw_opacity: inputs[3],
        sh_dc: inputs[4],
        sh_rest: inputs[5],
    }
}

impl Kernel for Splat {
    fn output_shape(&self, _inputs: &[[usize; 2]]) -> [usize; 2] {
        [self.spec.pixels(), 5]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        let saved = forward(&self.spec, &params(inputs), output);
        *self.radii.lock().expect("nothing panics while it holds the radii") = Arc::new(saved.radii().to_vec());
        Some(Arc::new(saved))
    }

    fn backward(&self, inputs: &[&[f32]], memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let saved = memo.as_ref().and_then(|m| m.downcast_ref::<Saved>()).expect("forward kept what backward needs");
        for (slot, input) in grads.iter_mut().zip(inputs) {
            slot.get_or_insert_with(|| vec![0.0; input.len()]);
        }
        let mut slots = grads.iter_mut().map(|slot| slot.as_mut().expect("filled above").as_mut_slice());
        let mut next = || slots.next().expect("seven inputs");
        let out = SplatGradsMut {
            means: next(),
            log_scales: next(),
            rotations: next(),
            raw_opacity: next(),
            sh_dc: next(),
            sh_rest: next(),
            mean2d: next(),
        };
        backward_into(&self.spec, &params(inputs), saved, grad, out);
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// A picture of Gaussians: premultiplied colour, alpha and depth `[pixels, 5]`, and each one's radius in pixels `[n]`.
///
/// `inputs` are centres `[n, 3]`, `log_scale` `[n, 3]`, rotation `[n, 4]`, `raw_opacity` `[n, 1]`, the constant colour
/// coefficients `[n, 3]`, the others `[n, ((d + 1)² - 1) · 3]`, and a probe `[n, 2]` of zeros whose gradient is that
/// of each projected centre in pixels. Differentiable in all.
pub fn splat(inputs: [Tensor<2>; 7], spec: &SplatSpec) -> (Tensor<2>, Arc<Vec<f32>>) {
    let radii = Radii::default();
    let picture = apply7(inputs, Splat { spec: spec.clone(), radii: Arc::clone(&radii) });
    let radii = Arc::clone(&radii.lock().expect("nothing panics while it holds the radii"));
    (picture, radii)
}
