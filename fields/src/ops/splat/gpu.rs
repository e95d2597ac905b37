//! Gaussian splatting on wgpu.
//!
//! Projection is one thread per Gaussian, rasterisation one group of 16 × 16 threads per tile; the formulas are those
//! of [`super::project`] and [`super::raster`]. In this version the host sorts by depth and bins: it reads the projected
//! Gaussians (52 bytes each) and uploads the list of each tile. Backwards a tile adds a Gaussian's sums over its pixels
//! in shared memory, and then to those of other tiles by float atomics, so gradients repeat to rounding only.

use std::sync::Arc;

use cubecl::prelude::{CubeCount, CubeDim};

use super::bin::{Grid, TILE, bin, depth_order};
use super::face::Splat as SplatKernel;
use super::project::{Camera, Splat, SplatSums};
use super::raster::CHANNELS;
use crate::ops::gpu::{Buffer, arg, dims, empty, group, groups, require_float_atomics, zeros};
use crate::ops::kernel::{CubeTensor, GpuKernel, Memo};

#[allow(
    clippy::too_many_lines,
    clippy::trivially_copy_pass_by_ref,
    reason = "a kernel is one chain of formulas; local arrays are no values"
)]
mod projection;
mod tiles;

use projection::{GivenLaunch, GradientsLaunch};
use tiles::TilesLaunch;

/// Floats of a projected Gaussian: centre, factor, peak, colour, depth, half-widths, radius (0 if it is not seen).
const WIDTH: usize = 13;

/// What the backward pass needs of the forward pass.
struct OnDevice {
    camera: Buffer,
    /// `[n, WIDTH]`
    splats: CubeTensor,
    /// Gaussians of each tile, nearest first.
    list: Buffer,
    /// Tile `t` has `list[starts[t]..starts[t + 1]]`.
    starts: Buffer,
    /// `[tiles]`: how many of them some pixel saw.
    used: Buffer,
    image: CubeTensor,
}

/// The projected Gaussians that are seen, by depth.
fn sorted(rows: &[f32]) -> Vec<Splat> {
    let rows: Vec<&[f32]> = rows.chunks_exact(WIDTH).collect();
    let seen = (0..).zip(&rows).filter(|(_, r)| r[12] > 0.0).map(|(i, r)| (r[9].to_bits(), i));
    let from_row = |&(_, index): &(u32, u32)| {
        let r = rows[index as usize];
        Splat {
            mean: [r[0], r[1]],
            lxx: r[2],
            lyx: r[3],
            lyy: r[4],
            peak: r[5],
            colour: [r[6], r[7], r[8]],
            depth: r[9],
            half: [r[10], r[11]],
            index,
        }
    };
    depth_order(seen.collect()).iter().map(from_row).collect()
}

impl SplatKernel {
    /// Columns and rows of tiles, and threads of each.
    fn tile_launch(&self) -> (CubeCount, CubeDim) {
        let window = self.spec.drawn();
        let along = |pixels: u32| pixels.div_ceil(TILE as u32);
        (CubeCount::Static(along(window.width), along(window.height), 1), CubeDim::new_1d((TILE * TILE) as u32))
    }

    /// What the kernels of the projection are given.
    fn given(&self, inputs: &[CubeTensor], camera: &Buffer) -> GivenLaunch {
        // Colours without directions have no `sh_rest`; a device has no empty buffers.
        let rest = if dims(&inputs[5])[1] > 0 { &inputs[5] } else { &inputs[4] };
        GivenLaunch::new(
            arg(&inputs[0]),
            arg(&inputs[1]),
            arg(&inputs[2]),
            arg(&inputs[3]),
            arg(&inputs[4]),
            arg(rest),
            camera.arg(),
            dims(&inputs[0])[0] as u32,
            self.spec.rest_width() as u32,
            self.spec.sh_degree,
            u32::from(self.spec.antialias),
        )
    }

    /// What the kernels of the tiles are given.
    fn tiles(&self, on: &OnDevice) -> TilesLaunch {
        let window = self.spec.drawn();
        TilesLaunch::new(arg(&on.splats), on.list.arg(), on.starts.arg(), window.width, window.height)
    }

    fn project(&self, inputs: &[CubeTensor], camera: &Buffer) -> CubeTensor {
        let n = dims(&inputs[0])[0];
        let splats = empty(&inputs[0], [n, WIDTH]);
        projection::project::launch(&inputs[0].client, groups(n), group(), self.given(inputs, camera), arg(&splats));
        splats
    }

    fn draw(&self, inputs: &[CubeTensor]) -> OnDevice {
        let client = &inputs[0].client;
        let window = self.spec.drawn();
        let camera = Buffer::new(client, &Camera::new(&self.spec).flat());
        let splats = self.project(inputs, &camera);
        let rows = read(&splats);
        *self.radii.lock().expect("nothing panics while it holds the radii") =
            Arc::new(rows.chunks_exact(WIDTH).map(|r| r[12]).collect());
        let sorted = sorted(&rows);
        let grid = Grid::new(window.width as usize, window.height as usize);
        let bins = bin(&sorted, &grid);
        let list: Vec<u32> = bins.rank.iter().map(|&r| sorted[r as usize].index).collect();
        let on = OnDevice {
            camera,
            splats,
            list: Buffer::new(client, &list),
            starts: Buffer::new(client, &bins.tile_start),
            used: Buffer::uninit(client, grid.len()),
            image: empty(&inputs[0], [self.spec.pixels(), CHANNELS]),
        };
        let (count, dim) = self.tile_launch();
        tiles::draw::launch(client, count, dim, self.tiles(&on), arg(&on.image), on.used.arg());
        on
    }

    /// The sums of every Gaussian over all pixels, `[n, 10]` in the order of [`SplatSums`].
    fn sums(&self, on: &OnDevice, grad: &CubeTensor) -> CubeTensor {
        require_float_atomics(&grad.client);
        let sums = zeros(grad, [dims(&on.splats)[0], SplatSums::WIDTH]);
        let (count, dim) = self.tile_launch();
        tiles::sums::launch(
            &grad.client,
            count,
            dim,
            self.tiles(on),
            on.used.arg(),
            arg(&on.image),
            arg(grad),
            arg(&sums),
        );
        sums
    }
}

fn read(tensor: &CubeTensor) -> Vec<f32> {
    let bytes = tensor.client.read_one(tensor.handle.clone()).expect("reading projected Gaussians back from the GPU");
    bytemuck::pod_collect_to_vec(&bytes[..tensor.meta.num_elements() * size_of::<f32>()])
}

impl GpuKernel for SplatKernel {
    fn forward(&self, inputs: &[CubeTensor]) -> (CubeTensor, Memo) {
        let n = dims(&inputs[0])[0];
        if n == 0 || self.spec.pixels() == 0 {
            *self.radii.lock().expect("nothing panics while it holds the radii") = Arc::new(vec![0.0; n]);
            return (zeros(&inputs[0], [self.spec.pixels(), CHANNELS]), None);
        }
        let on = self.draw(inputs);
        (on.image.clone(), Some(Arc::new(on)))
    }

    fn backward(
        &self,
        inputs: &[CubeTensor],
        memo: &Memo,
        grad: CubeTensor,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor>> {
        let grads: Vec<CubeTensor> = inputs.iter().map(|input| zeros(input, dims(input))).collect();
        if let Some(on) = memo.as_ref().and_then(|m| m.downcast_ref::<OnDevice>()) {
            let n = dims(&inputs[0])[0];
            let sums = self.sums(on, &grad);
            let spare = empty(&grad, [1, 1]);
            let to_rest = if dims(&grads[5])[1] > 0 { &grads[5] } else { &spare };
            projection::spread::launch(
                &grad.client,
                groups(n),
                group(),
                self.given(inputs, &on.camera),
                arg(&on.splats),
                arg(&sums),
                GradientsLaunch::new(
                    arg(&grads[0]),
                    arg(&grads[1]),
                    arg(&grads[2]),
                    arg(&grads[3]),
                    arg(&grads[4]),
                    arg(to_rest),
                    arg(&grads[6]),
                ),
            );
        }
        grads.into_iter().zip(wanted).map(|(grad, wanted)| wanted.then_some(grad)).collect()
    }
}

#[cfg(test)]
mod tests;
