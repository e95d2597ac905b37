//! Sparse grids on wgpu.
//!
//! Reading: one thread per point and channel, channels fastest, so that the threads of a point share its links. To the
//! values: the same threads with float atomics, of which those without a gradient do nothing. To the points: one thread
//! per point. The links go to the device once (34 MB at 512³). Sums of atomics have no fixed order.

mod kernels;

use super::colour::{COEFFICIENTS, Colour, ShColour};
use super::face::Sample;
use super::log_of::LogOf;
use super::penalty::{EPS, Penalty, Regulariser, THICKEST};
use crate::ops::gpu::{Buffer, arg, dims, empty, group, groups, require_float_atomics, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

impl GpuKernel for Sample {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (x, values) = (&inputs[0], &inputs[1]);
        let n = dims(x)[0];
        let out = empty(x, [n, self.channels]);
        if n > 0 {
            let links = self.place.links.on_gpu(x);
            kernels::sample::launch(
                &x.client,
                groups(n * self.channels),
                group(),
                arg(x),
                arg(values),
                links.arg(),
                arg(&out),
                n as u32,
                self.channels as u32,
                self.place.links.resolution(),
                self.fill,
            );
        }
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let (x, values) = (&inputs[0], &inputs[1]);
        let (n, channels, resolution) = (dims(x)[0], self.channels as u32, self.place.links.resolution());
        let links = self.place.links.on_gpu(x);
        let to_x = wanted[0].then(|| {
            let out = empty(x, [n, 3]);
            if n > 0 {
                kernels::to_points::launch(
                    &x.client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(values),
                    links.arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    channels,
                    resolution,
                    self.fill,
                );
            }
            out
        });
        let to_values = wanted[1].then(|| {
            require_float_atomics(&x.client);
            let out = zeros(x, dims(values));
            if n > 0 {
                kernels::to_values::launch(
                    &x.client,
                    groups(n * self.channels),
                    group(),
                    arg(x),
                    links.arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    channels,
                    resolution,
                );
            }
            out
        });
        vec![to_x, to_values]
    }
}

impl GpuKernel for ShColour {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (latent, d) = (&inputs[0], &inputs[1]);
        let n = dims(d)[0];
        let out = empty(d, [n, 3]);
        let clip = self.colour == Colour::Clip;
        if n > 0 {
            let (count, client) = (n as u32, &d.client);
            kernels::colour::launch(client, groups(n), group(), arg(latent), arg(d), arg(&out), count, clip);
        }
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let (latent, d) = (&inputs[0], &inputs[1]);
        let n = dims(d)[0];
        let clip = self.colour == Colour::Clip;
        // Both come from one pass: they share the sums.
        let (to_latent, to_d) = (empty(d, [n, COEFFICIENTS]), empty(d, [n, 3]));
        if n > 0 {
            kernels::colour_back::launch(
                &d.client,
                groups(n),
                group(),
                arg(latent),
                arg(d),
                arg(&grad),
                arg(&to_latent),
                arg(&to_d),
                n as u32,
                clip,
            );
        }
        vec![wanted[0].then_some(to_latent), wanted[1].then_some(to_d)]
    }
}

impl GpuKernel for LogOf {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let out = empty(x, dims(x));
        if n > 0 {
            let (count, client) = (n as u32, &x.client);
            kernels::log_of::launch(client, groups(n), group(), arg(x), arg(&out), count, self.low, self.high);
        }
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let result = wanted[0].then(|| {
            let out = empty(x, dims(x));
            if n > 0 {
                let (least, most) = (self.low.exp(), self.high.exp());
                kernels::log_of_back::launch(
                    &x.client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    least,
                    most,
                );
            }
            out
        });
        vec![result]
    }
}

impl Regulariser {
    /// Which formula (0 variation, 1 linear Cauchy, 2 exponential Cauchy) and its scale.
    fn formula(&self) -> (u32, f32) {
        match self.penalty {
            Penalty::Variation { scale } => (0, scale),
            Penalty::CauchyLinear => (1, 0.0),
            Penalty::CauchyExp => (2, 0.0),
        }
    }
}

impl GpuKernel for Regulariser {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let values = &inputs[0];
        let n = self.around.len();
        let out = empty(values, [n, 1]);
        if n > 0 {
            let (formula, scale) = self.formula();
            kernels::penalty::launch(
                &values.client,
                groups(n),
                group(),
                arg(values),
                Buffer::new(&values.client, self.around.as_flattened()).arg(),
                arg(&out),
                n as u32,
                self.channels as u32,
                scale,
                EPS,
                THICKEST,
                formula,
            );
        }
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let values = &inputs[0];
        let n = self.around.len();
        let result = wanted[0].then(|| {
            require_float_atomics(&values.client);
            let out = zeros(values, dims(values));
            if n > 0 {
                let (formula, scale) = self.formula();
                kernels::penalty_back::launch(
                    &values.client,
                    groups(n * self.channels),
                    group(),
                    arg(values),
                    Buffer::new(&values.client, self.around.as_flattened()).arg(),
                    arg(&grad),
                    arg(&out),
                    n as u32,
                    self.channels as u32,
                    scale,
                    EPS,
                    THICKEST,
                    formula,
                );
            }
            out
        });
        vec![result]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::links::Links;
    use super::*;
    use crate::ops::gpu::testing::{compare, uniform};
    use crate::ops::voxels::Place;
    use crate::rng::Rng;

    fn sparse(resolution: u32) -> Arc<Links> {
        let mut rng = Rng::new(1, "links");
        let words = (resolution as usize).pow(3).div_ceil(32);
        let bits: Vec<u32> = (0..words).map(|_| rng.next_u32() | rng.next_u32()).collect();
        Arc::new(Links::new(resolution, &bits))
    }

    fn check(channels: usize, n: usize) {
        let links = sparse(9);
        let mut x = uniform(1, "points", 3 * n, -0.05, 1.05);
        x[..6].copy_from_slice(&[0.0, 1.0, 0.5, -1.0, 2.0, 0.25]);
        let values = uniform(2, "values", links.rows() * channels, -1.0, 1.0);
        let rows = links.rows();
        let kernel = Sample { place: Place::new(&links), channels, fill: if channels == 1 { -3.0 } else { 0.0 } };
        compare(&kernel, &[(&x, [n, 3]), (&values, [rows, channels])], 3e-5);
    }

    #[test]
    fn sampling_equals_the_cpu() {
        check(1, 1000);
        check(27, 500);
    }

    #[test]
    fn sampling_equals_the_cpu_beyond_65_535_groups() {
        check(27, 65_536 * 64 / 27 + 77);
    }

    #[test]
    fn colours_equal_the_cpu() {
        let n = 501;
        let latent = uniform(1, "latent", 27 * n, -0.5, 0.5);
        let mut d = uniform(2, "d", 3 * n, -1.0, 1.0);
        for row in d.chunks_exact_mut(3) {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter_mut().for_each(|v| *v /= length);
        }
        for colour in [Colour::Sigmoid, Colour::Clip] {
            compare(&ShColour { colour }, &[(&latent, [n, 27]), (&d, [n, 3])], 2e-5);
        }
    }

    #[test]
    fn logarithms_equal_the_cpu() {
        let x = uniform(1, "x", 999, -3.0, 30.0);
        compare(&LogOf { low: -1.0, high: 3.0 }, &[(&x, [333, 3])], 1e-5);
    }

    #[test]
    fn penalties_equal_the_cpu() {
        let rows = 400;
        let mut rng = Rng::new(3, "around");
        let mut neighbour = || if rng.below(4) == 0 { u32::MAX } else { rng.below(rows) as u32 };
        let around: Vec<[u32; 4]> = (0..300).map(|i| [i, neighbour(), neighbour(), neighbour()]).collect();
        for (channels, penalty) in [
            (27, Penalty::Variation { scale: 0.75 }),
            (1, Penalty::Variation { scale: 2.0 }),
            (1, Penalty::CauchyLinear),
            (1, Penalty::CauchyExp),
        ] {
            let values = uniform(4, "values", rows * channels, -1.0, 2.0);
            let kernel = Regulariser { penalty, channels, around: Arc::new(around.clone()) };
            compare(&kernel, &[(&values, [rows, channels])], 3e-5);
        }
    }
}
