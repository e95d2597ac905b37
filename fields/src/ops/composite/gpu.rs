//! Compositing on wgpu: one thread per ray, walking its samples; backwards as on the CPU, from the dark end, with the
//! light after each sample recovered by adding weights. See [`super::cpu`] for the formulas.

use std::sync::Arc;

use super::face::Composite;
use crate::ops::gpu::{Buffer, arg, empty, group, groups, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};
use crate::ops::march::Marched;

/// The samples' rows, distances and lengths on the device; kept from the forward to the backward pass.
struct OnDevice {
    ray_start: Buffer,
    t: Buffer,
    dt: Buffer,
}

impl Composite {
    fn on_device(&self, like: &CubeTensor) -> OnDevice {
        let client = &like.client;
        match &self.samples {
            Marched::Host(s) => OnDevice {
                ray_start: Buffer::new(client, &s.ray_start),
                t: Buffer::new(client, &s.t),
                dt: Buffer::new(client, &s.dt),
            },
            Marched::Gpu(s) => OnDevice { ray_start: s.starts.clone(), t: Buffer::of(&s.t), dt: Buffer::of(&s.dt) },
        }
    }
}

impl GpuKernel for Composite {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let (sigma, rgb, rays) = (&inputs[0], &inputs[1], self.samples.rays());
        if rays == 0 || self.samples.count() == 0 {
            return (zeros(sigma, [rays, 5]), None);
        }
        let out = empty(sigma, [rays, 5]);
        let on = self.on_device(sigma);
        kernels::forward::launch(
            &sigma.client,
            groups(rays),
            group(),
            on.ray_start.arg(),
            arg(sigma),
            arg(rgb),
            on.t.arg(),
            on.dt.arg(),
            arg(&out),
            rays as u32,
            self.stop,
        );
        (out, Some(Arc::new(on)))
    }

    fn backward(
        &self,
        inputs: &[CubeTensor],
        memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>> {
        let (sigma, rgb, n) = (&inputs[0], &inputs[1], self.samples.count());
        // Both come from one walk; samples behind the end of a ray keep the zero.
        let to = [zeros(sigma, [n, 1]), zeros(sigma, [n, 3])];
        if let Some(on) = memo.as_ref().and_then(|m| m.downcast_ref::<OnDevice>()) {
            kernels::backward::launch(
                &sigma.client,
                groups(self.samples.rays()),
                group(),
                on.ray_start.arg(),
                arg(sigma),
                arg(rgb),
                on.t.arg(),
                on.dt.arg(),
                arg(&grad),
                arg(&to[0]),
                arg(&to[1]),
                self.samples.rays() as u32,
                self.stop,
            );
        }
        to.into_iter().zip(wanted).map(|(to, wanted)| wanted.then_some(to)).collect()
    }
}

#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN has to go on, and devices have no `partial_cmp`")]
mod kernels {
    use cubecl::prelude::*;

    use crate::ops::gpu::math::exp_m1;

    #[cube(launch)]
    pub fn forward(
        ray_start: &[u32],
        sigma: &[f32],
        rgb: &[f32],
        t: &[f32],
        dt: &[f32],
        out: &mut [f32],
        rays: u32,
        stop: f32,
    ) {
        if ABSOLUTE_POS >= rays as usize {
            terminate!();
        }
        let ray = ABSOLUTE_POS;
        let end = ray_start[ray + 1] as usize;
        let mut s = ray_start[ray] as usize;
        let mut light = 1.0f32;
        let mut red = 0.0f32;
        let mut green = 0.0f32;
        let mut blue = 0.0f32;
        let mut alpha = 0.0f32;
        let mut depth = 0.0f32;
        // Not `light >= stop`: a NaN goes on, so that it is seen in the picture.
        while s < end && !(light < stop) {
            let opacity = -exp_m1(-sigma[s] * dt[s]);
            let weight = light * opacity;
            red += weight * rgb[s * 3];
            green += weight * rgb[s * 3 + 1];
            blue += weight * rgb[s * 3 + 2];
            alpha += weight;
            depth += weight * t[s];
            light *= 1.0 - opacity;
            s += 1;
        }
        out[ray * 5] = red;
        out[ray * 5 + 1] = green;
        out[ray * 5 + 2] = blue;
        out[ray * 5 + 3] = alpha;
        out[ray * 5 + 4] = depth;
    }

    #[cube(launch)]
    pub fn backward(
        ray_start: &[u32],
        sigma: &[f32],
        rgb: &[f32],
        t: &[f32],
        dt: &[f32],
        grad: &[f32],
        to_sigma: &mut [f32],
        to_rgb: &mut [f32],
        rays: u32,
        stop: f32,
    ) {
        if ABSOLUTE_POS >= rays as usize {
            terminate!();
        }
        let ray = ABSOLUTE_POS;
        let start = ray_start[ray] as usize;
        let end = ray_start[ray + 1] as usize;
        let mut s = start;
        let mut after = 1.0f32;
        // The weights are kept where the gradient will be.
        while s < end && !(after < stop) {
            let opacity = -exp_m1(-sigma[s] * dt[s]);
            to_sigma[s] = after * opacity;
            after *= 1.0 - opacity;
            s += 1;
        }
        let red = grad[ray * 5];
        let green = grad[ray * 5 + 1];
        let blue = grad[ray * 5 + 2];
        let alpha = grad[ray * 5 + 3];
        let depth = grad[ray * 5 + 4];
        let mut behind = 0.0f32;
        while s > start {
            s -= 1;
            let weight = to_sigma[s];
            let worth = red * rgb[s * 3] + green * rgb[s * 3 + 1] + blue * rgb[s * 3 + 2] + alpha + depth * t[s];
            to_sigma[s] = dt[s] * (after * worth - behind);
            to_rgb[s * 3] = weight * red;
            to_rgb[s * 3 + 1] = weight * green;
            to_rgb[s * 3 + 2] = weight * blue;
            behind += weight * worth;
            after += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gpu::testing::{compare, uniform};
    use crate::ops::march::Samples;
    use crate::rng::Rng;

    /// Rays of up to `longest` samples, some with none; dense ones end early.
    fn check(rays: usize, longest: usize) {
        let mut rng = Rng::new(3, "rays");
        let mut ray_start = vec![0_u32];
        for _ in 0..rays {
            ray_start.push(ray_start[ray_start.len() - 1] + rng.below(longest + 1) as u32);
        }
        let n = ray_start[rays] as usize;
        let t = uniform(1, "t", n, 1.0, 4.0);
        let dt = uniform(1, "dt", n, 0.01, 0.05);
        let sigma: Vec<f32> = uniform(1, "sigma", n, -6.0, 5.0).iter().map(|s| s.exp()).collect();
        let rgb = uniform(1, "rgb", n * 3, 0.0, 1.0);
        let samples = Arc::new(Samples { ray_start, t, dt, ..Samples::default() });
        compare(&Composite { samples: Marched::Host(samples), stop: 1e-2 }, &[(&sigma, [n, 1]), (&rgb, [n, 3])], 1e-5);
    }

    #[test]
    fn equals_the_cpu_with_rays_that_end_early() {
        check(300, 60);
    }

    #[test]
    fn equals_the_cpu_beyond_65_535_groups() {
        check(65_536 * 64 + 9, 1);
    }

    #[test]
    fn rays_without_samples_are_black() {
        use crate::ops::gpu::testing::{download, upload};
        let samples = Arc::new(Samples { ray_start: vec![0; 4], ..Samples::default() });
        let kernel = Composite { samples: Marched::Host(samples), stop: 1e-2 };
        let inputs = [upload(&[], [0, 1]), upload(&[], [0, 3])];
        let (out, memo) = GpuKernel::forward(&kernel, &inputs);
        assert_eq!(download(out), [0.0; 15]);
        let grads = GpuKernel::backward(&kernel, &inputs, &memo, upload(&[1.0; 15], [3, 5]), &[true, false]);
        assert_eq!(grads.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }
}
