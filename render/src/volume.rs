//! Marching a volume: a pass that asks the field's own sampler along the ray of every pixel.

use std::ops::Range;

use retort_shaders::Camera;
use retort_shaders::snapshot::{View, VolumeSnapshot};

use crate::error::Result;
use crate::gpu::{Gpu, Slot};
use crate::target::{PICTURE, Target};

/// A volume on the device.
#[derive(Debug)]
pub struct Volume {
    pipeline: wgpu::RenderPipeline,
    field: wgpu::BindGroup,
    view: wgpu::Buffer,
    source: String,
    bytes: u64,
}

/// The buffers of a volume, from binding 0 of group 1 on.
fn upload(gpu: &Gpu, snapshot: &VolumeSnapshot) -> Result<(Vec<wgpu::Buffer>, u64)> {
    let mut buffers = vec![
        gpu.uniform("march", bytemuck::bytes_of(&snapshot.march)),
        gpu.storage("occupancy", bytemuck::cast_slice(&snapshot.occupancy))?,
    ];
    for bytes in snapshot.field.buffer_bytes() {
        buffers.push(gpu.storage(snapshot.field.file, bytes)?);
    }
    let bytes = buffers.iter().map(wgpu::Buffer::size).sum();
    Ok((buffers, bytes))
}

/// The bindings of those buffers.
fn slots(snapshot: &VolumeSnapshot) -> Vec<Slot> {
    let mut slots = vec![Slot::Read; 2 + snapshot.field.buffer_bytes().len()];
    slots[0] = Slot::Uniform;
    slots
}

/// What a picture that is marched is drawn into: see [`Target`].
const INTO: [wgpu::TextureFormat; 2] = [PICTURE, wgpu::TextureFormat::R32Float];

fn entire(buffers: &[wgpu::Buffer]) -> Vec<wgpu::BindingResource<'_>> {
    buffers.iter().map(wgpu::Buffer::as_entire_binding).collect()
}

impl Volume {
    /// Uploads a snapshot.
    ///
    /// # Errors
    /// When a buffer is too large for the device, or its shader is refused.
    pub fn new(gpu: &Gpu, snapshot: &VolumeSnapshot) -> Result<Self> {
        let source = snapshot.field.source("march")?;
        let groups: [&[Slot]; 2] = [&[Slot::Uniform], &slots(snapshot)];
        let pipeline = gpu.covering(snapshot.field.file, &source, &groups, &INTO)?;
        let (buffers, bytes) = upload(gpu, snapshot)?;
        let field = gpu.bind(&pipeline.get_bind_group_layout(1), &entire(&buffers));
        let view = gpu.uniform("view", &[0; size_of::<View>()]);
        Ok(Self { pipeline, field, view, source, bytes })
    }

    /// Takes over a newer snapshot; the pipeline stays where only numbers changed, so that a student that learns is seen
    /// without compiling anything.
    ///
    /// # Errors
    /// As [`Volume::new`]; then it still draws what it had.
    pub fn update(&mut self, gpu: &Gpu, snapshot: &VolumeSnapshot) -> Result<()> {
        if snapshot.field.source("march")? != self.source {
            *self = Self::new(gpu, snapshot)?;
            return Ok(());
        }
        let (buffers, bytes) = upload(gpu, snapshot)?;
        self.field = gpu.bind(&self.pipeline.get_bind_group_layout(1), &entire(&buffers));
        self.bytes = bytes;
        Ok(())
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Textures that it can be drawn into.
    pub fn target(gpu: &Gpu, size: [u32; 2]) -> Target {
        Target::new(gpu, size, wgpu::TextureFormat::R32Float)
    }

    /// Draws some rows of the view of `camera`, whose lens is left out, and submits the work; a slow picture is shared
    /// over several calls.
    pub fn draw(&self, gpu: &Gpu, camera: &Camera, rows: Range<u32>, target: &Target) {
        gpu.queue.write_buffer(&self.view, 0, bytemuck::bytes_of(&View::from(camera)));
        let views = [&target.picture, &target.depth].map(|t| t.create_view(&wgpu::TextureViewDescriptor::default()));
        let view = gpu.bind(&self.pipeline.get_bind_group_layout(0), &[self.view.as_entire_binding()]);
        let area = [0, rows.start, target.size[0], rows.len() as u32];
        gpu.cover(&self.pipeline, &[&view, &self.field], &[&views[0], &views[1]], Some(area));
    }
}

/// Asks volumes at points, without marching: what their shaders say, to be compared with what their tensors say.
#[derive(Debug)]
pub struct Probe {
    pipeline: wgpu::RenderPipeline,
}

impl Probe {
    /// For this volume and others whose shaders have the same text.
    ///
    /// # Errors
    /// When its shader is refused.
    pub fn new(gpu: &Gpu, snapshot: &VolumeSnapshot) -> Result<Self> {
        let text = snapshot.field.source("probe")?;
        let groups: [&[Slot]; 2] = [&[Slot::Read, Slot::Read], &slots(snapshot)];
        Ok(Self { pipeline: gpu.covering(snapshot.field.file, &text, &groups, &[ANSWERS])? })
    }

    /// Asks at warped points `[n, 3]` along unit directions `[n, 3]`: colour and clamped log-density, `[n, 4]`.
    ///
    /// # Errors
    /// When a buffer is too large for the device, or the device fails.
    pub fn ask(&self, gpu: &Gpu, snapshot: &VolumeSnapshot, points: &[f32], directions: &[f32]) -> Result<Vec<f32>> {
        let (buffers, _) = upload(gpu, snapshot)?;
        let field = gpu.bind(&self.pipeline.get_bind_group_layout(1), &entire(&buffers));
        let fours = |values: &[f32]| -> Vec<[f32; 4]> {
            values.as_chunks::<3>().0.iter().map(|p| [p[0], p[1], p[2], 0.0]).collect()
        };
        let (points, directions) = (fours(points), fours(directions));
        let asked = [
            gpu.storage("points", bytemuck::cast_slice(&points))?,
            gpu.storage("directions", bytemuck::cast_slice(&directions))?,
        ];
        let asked = gpu.bind(&self.pipeline.get_bind_group_layout(0), &entire(&asked));
        let answers = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("answers"),
            size: wgpu::Extent3d {
                width: ROW,
                height: (points.len() as u32).div_ceil(ROW).max(1),
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: ANSWERS,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let into = answers.create_view(&wgpu::TextureViewDescriptor::default());
        gpu.cover(&self.pipeline, &[&asked, &field], &[&into], None);
        let bytes = crate::target::read(gpu, &answers, 16)?;
        let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
        Ok(values.take(4 * points.len()).collect())
    }
}

/// Pixels in a row of answers, as in `probe.wgsl`, and their format.
const ROW: u32 = 64;
const ANSWERS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
