//! The element-wise kernels on wgpu: one thread per element, or per row where a row is small.

use super::pointwise::{ClampInward, FrequencyEncode, ShEncode, TRUNCATION, TruncExp};
use crate::ops::gpu::{arg, dims, empty, group, groups};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

/// Makes an output of `shape` and, unless it is empty, runs `launch` on it.
fn with_output(like: &CubeTensor, shape: [usize; 2], launch: impl FnOnce(&CubeTensor)) -> CubeTensor {
    let out = empty(like, shape);
    if shape[0] * shape[1] > 0 {
        launch(&out);
    }
    out
}

impl GpuKernel for ClampInward {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let out = with_output(x, dims(x), |out| {
            kernels::clamp::launch(&x.client, groups(n), group(), arg(x), arg(out), n as u32, self.low, self.high);
        });
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let result = wanted[0].then(|| {
            with_output(x, dims(x), |out| {
                kernels::clamp_back::launch(
                    &x.client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(&grad),
                    arg(out),
                    n as u32,
                    self.low,
                    self.high,
                );
            })
        });
        vec![result]
    }
}

impl GpuKernel for TruncExp {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let out = with_output(x, dims(x), |out| {
            kernels::exp::launch(&x.client, groups(n), group(), arg(x), arg(out), n as u32);
        });
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let x = &inputs[0];
        let n = x.meta.num_elements();
        let result = wanted[0].then(|| {
            with_output(x, dims(x), |out| {
                let client = &x.client;
                kernels::exp_back::launch(
                    client,
                    groups(n),
                    group(),
                    arg(x),
                    arg(&grad),
                    arg(out),
                    n as u32,
                    TRUNCATION,
                );
            })
        });
        vec![result]
    }
}

impl GpuKernel for ShEncode {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let d = &inputs[0];
        let n = dims(d)[0];
        let out = with_output(d, [n, 16], |out| {
            kernels::sh::launch(&d.client, groups(n), group(), arg(d), arg(out), n as u32);
        });
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let d = &inputs[0];
        let n = dims(d)[0];
        let result = wanted[0].then(|| {
            with_output(d, dims(d), |out| {
                kernels::sh_back::launch(&d.client, groups(n), group(), arg(d), arg(&grad), arg(out), n as u32);
            })
        });
        vec![result]
    }
}

impl GpuKernel for FrequencyEncode {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let x = &inputs[0];
        let (n, width) = (dims(x)[0], 3 + 6 * self.octaves);
        let out = with_output(x, [n, width], |out| {
            let (n, width) = (n as u32, width as u32);
            kernels::frequency::launch(&x.client, groups((n * width) as usize), group(), arg(x), arg(out), n, width);
        });
        (out, None)
    }

    fn backward(&self, inputs: &[CubeTensor], _: &Memo, grad: CubeTensor, wanted: &[bool]) -> Vec<Option<CubeTensor>> {
        let x = &inputs[0];
        let n = dims(x)[0];
        let result = wanted[0].then(|| {
            with_output(x, dims(x), |out| {
                kernels::frequency_back::launch(
                    &x.client,
                    groups(n * 3),
                    group(),
                    arg(x),
                    arg(&grad),
                    arg(out),
                    n as u32,
                    self.octaves as u32,
                );
            })
        });
        vec![result]
    }
}

mod kernels {
    use cubecl::prelude::*;

    use crate::ops::gpu::math::sine;
    use crate::ops::gpu::sh::{basis, basis_gradient};

    #[cube(launch)]
    pub fn clamp(x: &[f32], out: &mut [f32], n: u32, low: f32, high: f32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let value = x[ABSOLUTE_POS];
        let mut held = value;
        if value < low {
            held = low;
        }
        if value > high {
            held = high;
        }
        out[ABSOLUTE_POS] = held;
    }

    #[cube(launch)]
    pub fn clamp_back(x: &[f32], grad: &[f32], out: &mut [f32], n: u32, low: f32, high: f32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let value = x[ABSOLUTE_POS];
        let g = grad[ABSOLUTE_POS];
        let mut passed = 0.0f32;
        if (value >= low || g < 0.0) && (value <= high || g > 0.0) {
            passed = g;
        }
        out[ABSOLUTE_POS] = passed;
    }

    #[cube(launch)]
    pub fn exp(x: &[f32], out: &mut [f32], n: u32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        out[ABSOLUTE_POS] = x[ABSOLUTE_POS].exp();
    }

    #[cube(launch)]
    pub fn exp_back(x: &[f32], grad: &[f32], out: &mut [f32], n: u32, most: f32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let value = x[ABSOLUTE_POS];
        let mut held = value;
        if value < -most {
            held = -most;
        }
        if value > most {
            held = most;
        }
        out[ABSOLUTE_POS] = grad[ABSOLUTE_POS] * held.exp();
    }

    #[cube(launch)]
    pub fn sh(d: &[f32], out: &mut [f32], n: u32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let row = ABSOLUTE_POS;
        let b = basis(d[row * 3], d[row * 3 + 1], d[row * 3 + 2], 3u32);
        #[unroll]
        for k in 0..16usize {
            out[row * 16 + k] = b[k];
        }
    }

    #[cube(launch)]
    pub fn sh_back(d: &[f32], grad: &[f32], out: &mut [f32], n: u32) {
        if ABSOLUTE_POS >= n as usize {
            terminate!();
        }
        let row = ABSOLUTE_POS;
        let mut g = Array::<f32>::new(16usize);
        #[unroll]
        for k in 0..16usize {
            g[k] = grad[row * 16 + k];
        }
        let to = basis_gradient(d[row * 3], d[row * 3 + 1], d[row * 3 + 2], 3u32, &g);
        out[row * 3] = to[0];
        out[row * 3 + 1] = to[1];
        out[row * 3 + 2] = to[2];
    }

    #[cube(launch)]
    pub fn frequency(x: &[f32], out: &mut [f32], n: u32, width: u32) {
        let width = width as usize;
        if ABSOLUTE_POS >= n as usize * width {
            terminate!();
        }
        let row = ABSOLUTE_POS / width;
        let column = ABSOLUTE_POS - row * width;
        let part = (column + 3) % 6;
        let value = x[row * 3 + part % 3];
        let mut encoded = value;
        if column >= 3 {
            let scaled = value * f32::cast_from(1u32 << ((column - 3) / 6) as u32);
            if part < 3 {
                encoded = sine(scaled, 0i32);
            } else {
                encoded = sine(scaled, 1i32);
            }
        }
        out[ABSOLUTE_POS] = encoded;
    }

    #[cube(launch)]
    pub fn frequency_back(x: &[f32], grad: &[f32], out: &mut [f32], n: u32, octaves: u32) {
        if ABSOLUTE_POS >= n as usize * 3 {
            terminate!();
        }
        let row = ABSOLUTE_POS / 3;
        let axis = ABSOLUTE_POS - row * 3;
        let width = 3 + 6 * octaves as usize;
        let mut sum = grad[row * width + axis];
        let mut scale = 1.0f32;
        for k in 0..octaves as usize {
            let scaled = x[ABSOLUTE_POS] * scale;
            let at = row * width + 3 + 6 * k + axis;
            sum += scale * (grad[at] * sine(scaled, 1i32) - grad[at + 3] * sine(scaled, 0i32));
            scale += scale;
        }
        out[ABSOLUTE_POS] = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gpu::testing::{compare, uniform};

    #[test]
    fn clamps_equal_the_cpu_beyond_65_535_groups() {
        let n = 65_536 * 64 + 5;
        let x = uniform(1, "x", n, -3.0, 3.0);
        compare(&ClampInward { low: -2.0, high: 1.0 }, &[(&x, [n, 1])], 1e-6);
    }

    #[test]
    fn exponentials_equal_the_cpu() {
        let x = uniform(1, "x", 999, -15.0, 15.0);
        compare(&TruncExp, &[(&x, [333, 3])], 5e-6);
    }

    #[test]
    fn encodings_equal_the_cpu() {
        let n = 501;
        let mut d = uniform(1, "d", n * 3, -1.0, 1.0);
        for row in d.chunks_exact_mut(3) {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            for v in row {
                *v /= length;
            }
        }
        compare(&ShEncode, &[(&d, [n, 3])], 1e-5);
        compare(&FrequencyEncode { octaves: 10 }, &[(&d, [n, 3])], 1e-5);
    }
}
