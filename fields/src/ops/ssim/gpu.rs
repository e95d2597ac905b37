//! SSIM on wgpu: one thread per value, windows taken apart as on the CPU, first down the columns and then along the rows.
//! See [`super::cpu`] for the formulas.
//!
//! The forward pass makes the three maps of derivatives along with the values, as the loss is always differentiated; the
//! backward pass filters them.

use std::sync::Arc;

use super::face::Ssim;
use super::{C1, C2, CHANNELS, window};
use crate::ops::gpu::{Buffer, arg, dims, empty, group, groups};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

/// Threads that add up values, each every so many-th; then as many as these fold into.
const FOLDS: [usize; 3] = [4096, 64, 1];

/// Kept from the forward to the backward pass.
struct OnDevice {
    weights: Buffer,
    /// Derivatives with respect to `E[a], E[a²], E[ab]`, `[h·w, 3]` each.
    derivatives: [CubeTensor; 3],
}

impl Ssim {
    fn values(&self) -> usize {
        self.width * self.height * CHANNELS
    }

    /// SSIM at each value, `[h·w, 3]`, and what the backward pass needs.
    fn maps(&self, a: &CubeTensor, b: &CubeTensor) -> (CubeTensor, OnDevice) {
        let (client, n) = (&a.client, self.values());
        let weights = Buffer::new(client, &window().map(|w| w as f32));
        let map = || empty(a, dims(a));
        let means: [CubeTensor; 5] = std::array::from_fn(|_| map());
        let [mean_a, mean_b, mean_aa, mean_bb, mean_ab] = means.each_ref().map(arg);
        kernels::down::launch(
            client,
            groups(n),
            group(),
            arg(a),
            arg(b),
            weights.arg(),
            mean_a,
            mean_b,
            mean_aa,
            mean_bb,
            mean_ab,
            n as u32,
            self.width as u32,
            self.height as u32,
        );
        let (ssim, derivatives) = (map(), [map(), map(), map()]);
        let [mean_a, mean_b, mean_aa, mean_bb, mean_ab] = means.each_ref().map(arg);
        let [to_a, to_aa, to_ab] = derivatives.each_ref().map(arg);
        kernels::similarity::launch(
            client,
            groups(n),
            group(),
            weights.arg(),
            mean_a,
            mean_b,
            mean_aa,
            mean_bb,
            mean_ab,
            arg(&ssim),
            to_a,
            to_aa,
            to_ab,
            n as u32,
            self.width as u32,
            C1 as f32,
            C2 as f32,
        );
        (ssim, OnDevice { weights, derivatives })
    }

    /// The gradient of the mean, times `grad` `[1, 1]`.
    fn gradient(&self, a: &CubeTensor, b: &CubeTensor, on: &OnDevice, grad: &CubeTensor) -> CubeTensor {
        let (client, n) = (&a.client, self.values());
        let out = empty(a, dims(a));
        let filtered = on.derivatives.each_ref().map(|map| {
            let to = empty(a, dims(a));
            let width = self.width as u32;
            kernels::along::launch(client, groups(n), group(), arg(map), on.weights.arg(), arg(&to), n as u32, width);
            to
        });
        let [to_a, to_aa, to_ab] = filtered.each_ref().map(arg);
        kernels::gradient::launch(
            client,
            groups(n),
            group(),
            arg(a),
            arg(b),
            on.weights.arg(),
            to_a,
            to_aa,
            to_ab,
            arg(grad),
            arg(&out),
            n as u32,
            self.width as u32,
            self.height as u32,
            1.0 / n as f32,
        );
        out
    }
}

/// The mean of a tensor's values, `[1, 1]`.
fn mean(values: CubeTensor) -> CubeTensor {
    let share = 1.0 / values.meta.num_elements() as f32;
    FOLDS.iter().fold(values, |values, &threads| {
        let (n, sums) = (values.meta.num_elements() as u32, empty(&values, [threads, 1]));
        let scale = if threads == 1 { share } else { 1.0 };
        let client = &values.client;
        kernels::fold::launch(client, groups(threads), group(), arg(&values), arg(&sums), n, threads as u32, scale);
        sums
    })
}

impl GpuKernel for Ssim {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (a, b) = (&inputs[0], &inputs[1]);
        assert!(self.values() > 0, "SSIM of a picture without pixels ({} x {})", self.width, self.height);
        let shape = [self.width * self.height, CHANNELS];
        assert_eq!([dims(a), dims(b)], [shape; 2], "SSIM: pictures of {} x {}", self.width, self.height);
        let (ssim, on) = self.maps(a, b);
        (mean(ssim), Some(Arc::new(on)))
    }

    fn backward(
        &self,
        inputs: &[CubeTensor],
        memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>> {
        assert!(!wanted[1], "SSIM is differentiated in its first picture only");
        let on = memo.as_ref().and_then(|memo| memo.downcast_ref::<OnDevice>());
        let on = on.filter(|_| wanted[0]);
        vec![on.map(|on| self.gradient(&inputs[0], &inputs[1], on, &grad)), None]
    }
}

/// Values are interleaved: a row is `3 width` of them, a neighbour to the right is three on. Windows hang over the edge,
/// where zeros are taken.
#[allow(clippy::needless_range_loop, reason = "a device has no iterators")]
mod kernels {
    use cubecl::prelude::*;

    const RADIUS: usize = 5;
    const WINDOW: usize = 11;

    /// The means of `a, b, a², b², ab` down the columns.
    #[cube(launch)]
    pub fn down(
        a: &[f32],
        b: &[f32],
        weights: &[f32],
        mean_a: &mut [f32],
        mean_b: &mut [f32],
        mean_aa: &mut [f32],
        mean_bb: &mut [f32],
        mean_ab: &mut [f32],
        n: u32,
        width: u32,
        height: u32,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let stride = width as usize * 3;
        let row = ABSOLUTE_POS / stride;
        let mut sa = 0.0f32;
        let mut sb = 0.0f32;
        let mut saa = 0.0f32;
        let mut sbb = 0.0f32;
        let mut sab = 0.0f32;
        for k in 0..WINDOW {
            if row + k >= RADIUS && row + k < height as usize + RADIUS {
                let at = ABSOLUTE_POS + k * stride - RADIUS * stride;
                let va = a[at];
                let vb = b[at];
                let wa = weights[k] * va;
                let wb = weights[k] * vb;
                sa += wa;
                sb += wb;
                saa += wa * va;
                sbb += wb * vb;
                sab += wa * vb;
            }
        }
        mean_a[ABSOLUTE_POS] = sa;
        mean_b[ABSOLUTE_POS] = sb;
        mean_aa[ABSOLUTE_POS] = saa;
        mean_bb[ABSOLUTE_POS] = sbb;
        mean_ab[ABSOLUTE_POS] = sab;
    }

    /// The map filtered along the row, at `i`.
    #[cube]
    fn filtered(map: &[f32], weights: &[f32], i: usize, width: usize) -> f32 {
        let column = i / 3 % width;
        let mut sum = 0.0f32;
        for k in 0..WINDOW {
            if column + k >= RADIUS && column + k < width + RADIUS {
                sum += weights[k] * map[i + k * 3 - RADIUS * 3];
            }
        }
        sum
    }

    /// SSIM and its derivatives with respect to `E[a], E[a²], E[ab]`.
    #[cube(launch)]
    pub fn similarity(
        weights: &[f32],
        mean_a: &[f32],
        mean_b: &[f32],
        mean_aa: &[f32],
        mean_bb: &[f32],
        mean_ab: &[f32],
        ssim: &mut [f32],
        to_a: &mut [f32],
        to_aa: &mut [f32],
        to_ab: &mut [f32],
        n: u32,
        width: u32,
        c1: f32,
        c2: f32,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let i = ABSOLUTE_POS;
        let width = width as usize;
        let a = filtered(mean_a, weights, i, width);
        let b = filtered(mean_b, weights, i, width);
        let aa = filtered(mean_aa, weights, i, width);
        let bb = filtered(mean_bb, weights, i, width);
        let ab = filtered(mean_ab, weights, i, width);
        let a1 = 2.0 * a * b + c1;
        let a2 = 2.0 * (ab - a * b) + c2;
        let b1 = a * a + b * b + c1;
        let b2 = aa - a * a + bb - b * b + c2;
        let inverse = 1.0 / (b1 * b2);
        let value = a1 * a2 * inverse;
        ssim[i] = value;
        to_a[i] = 2.0 * inverse * (b * (a2 - a1) + a * value * (b1 - b2));
        to_aa[i] = -(value * b1 * inverse);
        to_ab[i] = 2.0 * a1 * inverse;
    }

    /// A map filtered along the rows.
    #[cube(launch)]
    pub fn along(map: &[f32], weights: &[f32], out: &mut [f32], n: u32, width: u32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        out[ABSOLUTE_POS] = filtered(map, weights, ABSOLUTE_POS, width as usize);
    }

    /// The gradient with respect to `a`, of maps that are filtered along the rows already.
    #[cube(launch)]
    pub fn gradient(
        a: &[f32],
        b: &[f32],
        weights: &[f32],
        to_a: &[f32],
        to_aa: &[f32],
        to_ab: &[f32],
        grad: &[f32],
        out: &mut [f32],
        n: u32,
        width: u32,
        height: u32,
        share: f32,
    ) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let i = ABSOLUTE_POS;
        let stride = width as usize * 3;
        let row = i / stride;
        let mut sa = 0.0f32;
        let mut saa = 0.0f32;
        let mut sab = 0.0f32;
        for k in 0..WINDOW {
            if row + k >= RADIUS && row + k < height as usize + RADIUS {
                let at = i + k * stride - RADIUS * stride;
                sa += weights[k] * to_a[at];
                saa += weights[k] * to_aa[at];
                sab += weights[k] * to_ab[at];
            }
        }
        out[i] = grad[0] * share * (sa + 2.0 * a[i] * saa + b[i] * sab);
    }

    /// Thread `i` adds up the values `i, i + threads, …`.
    #[cube(launch)]
    pub fn fold(values: &[f32], sums: &mut [f32], n: u32, threads: u32, scale: f32) {
        if ABSOLUTE_POS >= threads as usize {
            terminate!();
        }
        let mut at = ABSOLUTE_POS;
        let mut sum = 0.0f32;
        while at < n as usize {
            sum += values[at];
            at += threads as usize;
        }
        sums[ABSOLUTE_POS] = sum * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, pair};
    use super::super::{forward_backward, reference};
    use super::*;
    use crate::ops::gpu::testing::{assert_close, download, upload};

    /// The mean, and the gradient with respect to `a` of `factor` times it.
    fn run(a: &[f32], b: &[f32], width: usize, height: usize, factor: f32) -> (f32, Vec<f32>) {
        let kernel = Ssim { width, height };
        let inputs = [a, b].map(|picture| upload(picture, [width * height, CHANNELS]));
        let (mean, memo) = GpuKernel::forward(&kernel, &inputs);
        let mut grads = GpuKernel::backward(&kernel, &inputs, &memo, upload(&[factor], [1, 1]), &[true, false]);
        assert!(grads.len() == 2 && grads[1].is_none(), "only what is wanted is given");
        assert_eq!(dims(&mean), [1, 1]);
        (download(mean)[0], download(grads.remove(0).expect("wanted")))
    }

    #[test]
    fn equals_the_reference() {
        for (width, height) in [(1, 1), (4, 3), (5, 9), (23, 17), (61, 40)] {
            let (a, b) = pair(width, height);
            let (mean, gradient) = reference::forward_backward(&a, &b, width, height);
            let (ours, ours_gradient) = run(&a, &b, width, height, 1.0);
            assert!((f64::from(ours) - mean).abs() < 1e-5, "{width} x {height}: {ours}, not {mean}");
            let off = error(&ours_gradient, &gradient);
            assert!(off < 1e-4, "{width} x {height}: gradient off by {off}");
            // The negative control: one value of the other picture is off by a hundredth.
            let mut perturbed = b.clone();
            perturbed[b.len() / 2] += 0.01;
            let (other, other_gradient) = run(&a, &perturbed, width, height, 1.0);
            assert!(error(&other_gradient, &gradient) > 3e-4, "{width} x {height}: the comparison would not notice");
            assert!((other - ours).abs() > 1e-6, "{width} x {height}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (width, height) = (13, 12);
        let (a, b) = pair(width, height);
        let gradient = run(&a, &b, width, height, -2.0).1;
        let scale = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        for i in (0..a.len()).step_by(17) {
            let at = |offset: f32| {
                let mut moved = a.clone();
                moved[i] += offset;
                (f64::from(moved[i]), -2.0 * reference::forward(&moved, &b, width, height))
            };
            let ((x1, s1), (x0, s0)) = (at(1.0 / 1024.0), at(-1.0 / 1024.0));
            let numeric = ((s1 - s0) / (x1 - x0)) as f32;
            assert!((numeric - gradient[i]).abs() < 1e-3 * scale, "at {i}: {numeric}, not {}", gradient[i]);
        }
    }

    #[test]
    fn equals_the_cpu_beyond_65_535_groups() {
        let (width, height) = (1190, 1180);
        assert!(width * height * CHANNELS > 65_536 * 64);
        let (a, b) = pair(width, height);
        let mut expected = vec![0.0; a.len()];
        let mean = forward_backward(&a, &b, width, height, &mut expected);
        let (ours, gradient) = run(&a, &b, width, height, 1.0);
        assert!((ours - mean).abs() < 1e-5, "{ours}, not {mean}");
        assert_close("gradient", &gradient, &expected, 2e-4);
    }
}
