//! Sampling of sparse grids on tensors.

use std::sync::{Arc, OnceLock};

use burn::tensor::Tensor;

use super::cpu::{self, Corners};
use super::links::Links;
use crate::ops::kernel::{GpuKernel, Kernel, Memo, apply2};

/// Where a batch of points lies: found once on the CPU and shared by all that is read there.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) links: Arc<Links>,
    corners: Arc<OnceLock<Corners>>,
}

impl Place {
    /// The place of points that are yet to come.
    pub fn new(links: &Arc<Links>) -> Self {
        Self { links: Arc::clone(links), corners: Arc::default() }
    }

    fn of(&self, x: &[f32]) -> &Corners {
        let corners = self.corners.get_or_init(|| Corners::find(&self.links, x));
        assert_eq!(3 * corners.len(), x.len(), "a place belongs to one batch of points");
        corners
    }
}

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) place: Place,
    pub(super) channels: usize,
    pub(super) fill: f32,
}

impl Kernel for Sample {
    fn output_shape(&self, inputs: &[[usize; 2]]) -> [usize; 2] {
        [inputs[0][0], self.channels]
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32]) -> Memo {
        cpu::forward(&self.place.links, self.channels, self.fill, self.place.of(inputs[0]), inputs[1], output);
        None
    }

    fn backward(&self, inputs: &[&[f32]], _memo: &Memo, grad: &[f32], grads: &mut [Option<Vec<f32>>]) {
        let (links, corners) = (&self.place.links, self.place.of(inputs[0]));
        let (points, values) = grads.split_at_mut(1);
        if let Some(values) = &mut values[0] {
            cpu::backward_values(links, self.channels, corners, grad, values);
        }
        if let Some(points) = &mut points[0] {
            cpu::backward_points(links, self.channels, self.fill, corners, inputs[0], inputs[1], grad, points);
        }
    }

    fn gpu(&self) -> Option<&dyn GpuKernel> {
        Some(self)
    }
}

/// Interpolates `values` `[rows, C]`, C = 1 or 27, at points `x` `[n, 3]` of the unit cube, `[n, C]`; a vertex that is not
/// kept has `fill`. Differentiable in both. `place` is new for every batch of points.
pub fn sample(x: Tensor<2>, values: Tensor<2>, place: &Place, fill: f32) -> Tensor<2> {
    let channels = values.dims()[1];
    apply2(x, values, Sample { place: place.clone(), channels, fill })
}
