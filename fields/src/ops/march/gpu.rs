//! The march on wgpu: one thread per ray, once to count its samples and once to write them.
//!
//! The host gives each ray the range of steps that it may keep and turns the counts into rows, a few operations per
//! ray. The device looks every step up in the grid; in bounded scenes it crosses empty blocks at once, with the same
//! margins as [`super::cpu`]. So both choose the same steps, unless a device fuses a multiplication with an addition
//! and a sample on the very face of a cell falls on its other side.

use burn::backend::Cube;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeDevice;
use burn_cubecl::kernel::into_contiguous;
use cubecl::client::Client;
use rayon::prelude::*;

use super::cpu::accumulate;
use super::spec::{Even, Ladder, Lattice, MarchSpec, Samples};
use crate::ops::gpu::{Buffer, arg, dims, group, groups};
use crate::ops::kernel::CubeTensor;
use crate::parts::occupancy::{LEVELS, Occupancy};
use glam::Vec3;

/// Rays that one march takes: nine numbers of each have to fit into 128 MiB, which every device binds.
pub const MOST_RAYS: usize = (128 << 20) / (9 * size_of::<f32>());

/// The bits of an occupancy grid on a device, all levels of its pyramid after one another.
#[derive(Clone, Debug)]
pub struct DeviceGrid {
    bits: Buffer,
    /// The first word of each level.
    starts: [u32; LEVELS],
}

impl DeviceGrid {
    /// Uploads `grid`; again after each change of its bits.
    pub fn new(client: &Client, grid: &Occupancy) -> Self {
        let (mut words, mut starts) = (Vec::new(), [0; LEVELS]);
        for (level, start) in starts.iter_mut().enumerate() {
            *start = words.len() as u32;
            words.extend(grid.level_bits(level).iter().flat_map(|&w| [w as u32, (w >> 32) as u32]));
        }
        Self { bits: Buffer::new(client, &words), starts }
    }
}

/// [`Samples`] whose rows lie on a device.
#[derive(Debug)]
pub struct DeviceSamples {
    /// `[r + 1]`, on the host.
    pub ray_start: Vec<u32>,
    /// The same on the device.
    pub starts: Buffer,
    /// `[n, 3]` in warped space.
    pub position: CubeTensor,
    /// `[n, 3]` of the ray.
    pub direction: CubeTensor,
    /// `[n, 1]` distance from the ray's origin, scene units.
    pub t: CubeTensor,
    /// `[n, 1]` length of the interval that the sample stands for, scene units.
    pub dt: CubeTensor,
}

impl DeviceSamples {
    /// The same samples in pieces of whole rays, each of at most `most` samples or of one ray.
    pub fn pieces(&self, most: usize) -> Vec<Self> {
        let (starts, rays) = (&self.ray_start, self.ray_start.len() - 1);
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < rays {
            let fits = starts[first + 1..].partition_point(|&end| (end - starts[first]) as usize <= most);
            let next = first + fits.max(1);
            pieces.push(self.piece(first, next));
            first = next;
        }
        pieces
    }

    /// Rays `first..next`.
    fn piece(&self, first: usize, next: usize) -> Self {
        let rows = self.ray_start[first] as usize..self.ray_start[next] as usize;
        let cut = |tensor: &CubeTensor| {
            if rows.is_empty() || rows.len() == dims(tensor)[0] {
                return tensor.clone();
            }
            let all = Tensor::<2>::from_primitive::<Cube>(tensor.clone());
            let part = all.slice([rows.clone(), 0..dims(tensor)[1]]).try_into_primitive::<Cube>();
            into_contiguous(part.expect("it lies on the same device"))
        };
        let ray_start: Vec<u32> = self.ray_start[first..=next].iter().map(|at| at - self.ray_start[first]).collect();
        Self {
            starts: Buffer::new(&self.t.client, &ray_start),
            ray_start,
            position: cut(&self.position),
            direction: cut(&self.direction),
            t: cut(&self.t),
            dt: cut(&self.dt),
        }
    }

    /// Downloads the rows.
    pub fn to_host(&self) -> Samples {
        let read = |tensor: &CubeTensor| {
            if dims(tensor)[0] == 0 {
                return Vec::new();
            }
            let bytes = tensor.client.read_one(tensor.handle.clone()).expect("reading samples back from the GPU");
            bytemuck::pod_collect_to_vec(&bytes[..tensor.meta.num_elements() * size_of::<f32>()])
        };
        Samples {
            ray_start: self.ray_start.clone(),
            position: read(&self.position),
            direction: read(&self.direction),
            t: read(&self.t),
            dt: read(&self.dt),
        }
    }
}

/// What each ray is given: its numbers `[9]` and its steps `[first, end]`, as the kernel says.
fn plan(
    (origins, directions, jitter): (&[f32], &[f32], &[f32]),
    grid: &Occupancy,
    spec: &MarchSpec,
    edges: &[f32],
) -> (Vec<[f32; 9]>, Vec<[u32; 2]>) {
    let one = |(i, &jitter): (usize, &f32)| {
        let (o, d) = (Vec3::from_slice(&origins[3 * i..]), Vec3::from_slice(&directions[3 * i..]));
        let Some((near, far)) = spec.span(o, d, grid.bounds()) else { return ([0.0; 9], [0; 2]) };
        let steps = if spec.has_ladder() {
            let lattice = Ladder { edges, jitter };
            [lattice.exactly_at(near), lattice.exactly_at(far)]
        } else {
            let lattice = Even { start: near, step: spec.step, per_step: 1.0 / spec.step, jitter };
            [lattice.exactly_at(near), lattice.exactly_at(far)]
        };
        ([o.x, o.y, o.z, d.x, d.y, d.z, near, far, jitter], steps)
    };
    jitter.par_iter().enumerate().with_min_len(1024).map(one).unzip()
}

/// Samples along rays as [`super::march`] finds them, on `device`.
///
/// `on_device` are the bits of `grid`. The arrays are `[r, 3]`, `[r, 3]` and `[r]`, as there.
///
/// # Panics
/// If their lengths disagree, or there are more rays than one buffer takes, [`MOST_RAYS`].
#[expect(clippy::too_many_arguments, reason = "three arrays per ray, as on the CPU")]
pub fn march(
    device: &CubeDevice,
    on_device: &DeviceGrid,
    origins: &[f32],
    directions: &[f32],
    jitter: &[f32],
    grid: &Occupancy,
    spec: &MarchSpec,
    limit: Option<usize>,
) -> DeviceSamples {
    let rays = jitter.len();
    assert_eq!((origins.len(), directions.len()), (3 * rays, 3 * rays), "origins and directions are [r, 3]");
    assert!(rays <= MOST_RAYS, "{rays} rays at once, more than {MOST_RAYS}");
    let client = device.client();
    let edges = spec.edges();
    let (numbers, steps) = plan((origins, directions, jitter), grid, spec, &edges);
    let mut options = vec![
        rays as u32,
        grid.resolution().trailing_zeros(),
        spec.max_samples_per_ray,
        u32::from(spec.has_ladder()),
        u32::from(spec.unbounded),
    ];
    options.extend(on_device.starts);
    let walk = Walk {
        rays: Buffer::new(&client, numbers.as_flattened()),
        steps: Buffer::new(&client, steps.as_flattened()),
        edges: Buffer::new(&client, &edges),
        place: Buffer::new(&client, &[grid.bounds().min.to_array(), grid.cells_per_unit().to_array()].concat()),
        options: Buffer::new(&client, &options),
        bits: &on_device.bits,
        step: spec.step,
    };

    let new = |n: usize, width: usize| {
        let handle = client.empty((n * width).max(1) * size_of::<f32>());
        CubeTensor::new_contiguous(client.clone(), device.clone(), Shape::from([n, width]), handle, DType::F32)
    };
    let rows_of = |ray_start: Vec<u32>, n| DeviceSamples {
        starts: Buffer::new(&client, &ray_start),
        ray_start,
        position: new(n, 3),
        direction: new(n, 3),
        t: new(n, 1),
        dt: new(n, 1),
    };
    let mut ray_start = vec![0; rays + 1];
    if rays > 0 {
        let counts = Buffer::uninit(&client, rays);
        walk.launch(&client, rays, &counts, &rows_of(Vec::new(), 1), false);
        ray_start[1..].copy_from_slice(&counts.read::<u32>(&client));
    }
    let (_, n) = accumulate(&mut ray_start, limit);
    let out = rows_of(ray_start, n);
    if n > 0 {
        walk.launch(&client, rays, &out.starts, &out, true);
    }
    out
}

/// What the kernel is given in both passes.
struct Walk<'a> {
    rays: Buffer,
    steps: Buffer,
    edges: Buffer,
    place: Buffer,
    options: Buffer,
    bits: &'a Buffer,
    step: f32,
}

impl Walk<'_> {
    fn launch(&self, client: &Client, rays: usize, rows: &Buffer, out: &DeviceSamples, write: bool) {
        kernels::walk::launch(
            client,
            groups(rays),
            group(),
            self.rays.arg(),
            self.steps.arg(),
            self.edges.arg(),
            self.place.arg(),
            self.options.arg(),
            self.bits.arg(),
            rows.arg(),
            arg(&out.position),
            arg(&out.direction),
            arg(&out.t),
            arg(&out.dt),
            self.step,
            write,
        );
    }
}

mod kernels;

#[cfg(test)]
mod tests;
