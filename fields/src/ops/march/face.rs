//! The march where a field lives: samples for the host stay on the host, samples for a GPU are made there and stay.

use std::sync::Arc;

use burn::backend::Cube;
use burn::tensor::{Device, Tensor};

use super::gpu::{self, DeviceGrid, DeviceSamples};
use super::spec::{MarchSpec, Samples};
use super::{cpu, gpu::MOST_RAYS};
use crate::device::cube;
use crate::field::tensor;
use crate::ops::kernel::CubeTensor;
use crate::parts::occupancy::Occupancy;

/// Samples on the side on which they were found.
#[derive(Clone, Debug)]
pub enum Marched {
    /// In host memory.
    Host(Arc<Samples>),
    /// On a GPU.
    Gpu(Arc<DeviceSamples>),
}

/// Samples along rays as [`cpu::march`] finds them (the arrays are as there), on `device`.
pub fn march_on(
    device: &Device,
    origins: &[f32],
    directions: &[f32],
    jitter: &[f32],
    grid: &Occupancy,
    spec: &MarchSpec,
) -> Marched {
    let Some(on) = cube(device).filter(|_| jitter.len() <= MOST_RAYS) else {
        return Marched::Host(Arc::new(cpu::march(origins, directions, jitter, grid, spec, None)));
    };
    // A grid's bits are few beside the rays' numbers, so they are not kept on the device from march to march.
    let bits = DeviceGrid::new(&on.client(), grid);
    Marched::Gpu(Arc::new(gpu::march(&on, &bits, origins, directions, jitter, grid, spec, None)))
}

impl Marched {
    /// The rows of ray `i` are `ray_start[i]..ray_start[i + 1]`, `[r + 1]`.
    pub fn ray_start(&self) -> &[u32] {
        match self {
            Self::Host(samples) => &samples.ray_start,
            Self::Gpu(samples) => &samples.ray_start,
        }
    }

    /// The number of rays.
    pub fn rays(&self) -> usize {
        self.ray_start().len() - 1
    }

    /// The number of samples.
    pub fn count(&self) -> usize {
        self.ray_start()[self.rays()] as usize
    }

    /// `[n, 3]` in warped space, on `device`: the one that the march was on.
    pub fn position(&self, device: &Device) -> Tensor<2> {
        self.rows(device, |samples| &samples.position, |samples| &samples.position)
    }

    /// `[n, 3]` of the ray, on `device`: the one that the march was on.
    pub fn direction(&self, device: &Device) -> Tensor<2> {
        self.rows(device, |samples| &samples.direction, |samples| &samples.direction)
    }

    fn rows(
        &self,
        device: &Device,
        host: impl FnOnce(&Samples) -> &Vec<f32>,
        gpu: impl FnOnce(&DeviceSamples) -> &CubeTensor,
    ) -> Tensor<2> {
        match self {
            Self::Host(samples) => tensor(host(samples).clone(), [self.count(), 3], device),
            Self::Gpu(samples) => {
                let rows = Tensor::from_primitive::<Cube>(gpu(samples).clone());
                if device.is_autodiff() { Tensor::from_inner(rows) } else { rows }
            }
        }
    }

    /// In host memory; those of a GPU are read back.
    pub fn to_host(&self) -> Arc<Samples> {
        match self {
            Self::Host(samples) => Arc::clone(samples),
            Self::Gpu(samples) => Arc::new(samples.to_host()),
        }
    }
}

impl From<&Arc<Samples>> for Marched {
    fn from(samples: &Arc<Samples>) -> Self {
        Self::Host(Arc::clone(samples))
    }
}

impl From<&Self> for Marched {
    fn from(samples: &Self) -> Self {
        samples.clone()
    }
}
