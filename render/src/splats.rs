//! Drawing Gaussians: a compute pass projects them, the processor sorts them by depth, and rectangles are laid over one
//! another, the farthest first.

use std::sync::Arc;

use rayon::prelude::*;
use retort_shaders::Camera;
use retort_shaders::snapshot::{Projected, SplatSnapshot, Splats as Uniform, View};
use retort_shaders::wgsl::resolve;

use crate::error::Result;
use crate::gpu::{Gpu, Slot};
use crate::target::{PICTURE, Target};

/// Gaussians in a workgroup, as in `project.wgsl`, and workgroups in a row of them.
const GROUP: u32 = 64;
const ROW: u32 = 1024;

/// Gaussians on the device.
#[derive(Debug)]
pub struct Splats {
    snapshot: Arc<SplatSnapshot>,
    project: wgpu::ComputePipeline,
    lay: wgpu::RenderPipeline,
    view: wgpu::Buffer,
    order: wgpu::Buffer,
    groups: [wgpu::BindGroup; 4],
    bytes: u64,
}

impl Splats {
    /// Uploads a snapshot.
    ///
    /// # Errors
    /// When there are more than the device binds, or a shader is refused.
    pub fn new(gpu: &Gpu, snapshot: Arc<SplatSnapshot>) -> Result<Self> {
        let mut slots = [Slot::Read; 7];
        (slots[0], slots[6]) = (Slot::Uniform, Slot::Write);
        let project = gpu.compute("project", &resolve("project", &[])?, &[&[Slot::Uniform], &slots])?;
        let lay = pipeline(gpu)?;
        Self::with(gpu, snapshot, project, lay)
    }

    /// Takes over a newer snapshot.
    ///
    /// # Errors
    /// As [`Splats::new`]; then it still draws what it had.
    pub fn update(&mut self, gpu: &Gpu, snapshot: Arc<SplatSnapshot>) -> Result<()> {
        *self = Self::with(gpu, snapshot, self.project.clone(), self.lay.clone())?;
        Ok(())
    }

    fn with(
        gpu: &Gpu,
        snapshot: Arc<SplatSnapshot>,
        project: wgpu::ComputePipeline,
        lay: wgpu::RenderPipeline,
    ) -> Result<Self> {
        let n = snapshot.count();
        let uniform = Uniform {
            count: n as u32,
            degree: snapshot.degree,
            antialias: u32::from(snapshot.antialias),
            near: snapshot.near,
            across: ROW * GROUP,
            spare: [0; 3],
        };
        let values =
            [&snapshot.means, &snapshot.log_scales, &snapshot.rotations, &snapshot.raw_opacity, &snapshot.harmonics];
        let mut buffers = vec![gpu.uniform("splats", bytemuck::bytes_of(&uniform))];
        for values in values {
            buffers.push(gpu.storage("gaussians", bytemuck::cast_slice(values))?);
        }
        buffers.push(gpu.empty_storage("projected", (n * size_of::<Projected>()) as u64)?);
        let order = gpu.empty_storage("order", (n * 4) as u64)?;
        let view = gpu.uniform("view", &[0; size_of::<View>()]);
        let all: Vec<_> = buffers.iter().map(wgpu::Buffer::as_entire_binding).collect();
        let groups = [
            gpu.bind(&project.get_bind_group_layout(0), &[view.as_entire_binding()]),
            gpu.bind(&project.get_bind_group_layout(1), &all),
            gpu.bind(&lay.get_bind_group_layout(0), &[view.as_entire_binding()]),
            gpu.bind(&lay.get_bind_group_layout(1), &[all[6].clone(), order.as_entire_binding()]),
        ];
        let bytes = buffers.iter().map(wgpu::Buffer::size).sum();
        Ok(Self { snapshot, project, lay, view, order, groups, bytes })
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Textures that they can be drawn into.
    pub fn target(gpu: &Gpu, size: [u32; 2]) -> Target {
        Target::new(gpu, size, PICTURE)
    }

    /// Draws the view of `camera`, whose lens is left out, and submits the work.
    pub fn draw(&self, gpu: &Gpu, camera: &Camera, target: &Target) {
        gpu.queue.write_buffer(&self.view, 0, bytemuck::bytes_of(&View::from(camera)));
        let order = farthest_first(&self.snapshot.means, camera);
        gpu.queue.write_buffer(&self.order, 0, bytemuck::cast_slice(&order));
        let views = [&target.picture, &target.depth].map(|t| t.create_view(&wgpu::TextureViewDescriptor::default()));
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !order.is_empty() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.project);
            pass.set_bind_group(0, &self.groups[0], &[]);
            pass.set_bind_group(1, &self.groups[1], &[]);
            let groups = (order.len() as u32).div_ceil(GROUP);
            pass.dispatch_workgroups(groups.min(ROW), groups.div_ceil(ROW), 1);
        }
        {
            let ops =
                wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT), store: wgpu::StoreOp::Store };
            let attached = [0, 1].map(|i| {
                Some(wgpu::RenderPassColorAttachment { view: &views[i], depth_slice: None, resolve_target: None, ops })
            });
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("gaussians"),
                color_attachments: &attached,
                ..wgpu::RenderPassDescriptor::default()
            });
            pass.set_pipeline(&self.lay);
            pass.set_bind_group(0, &self.groups[2], &[]);
            pass.set_bind_group(1, &self.groups[3], &[]);
            pass.draw(0..4, 0..order.len() as u32);
        }
        gpu.queue.submit([encoder.finish()]);
    }
}

fn pipeline(gpu: &Gpu) -> Result<wgpu::RenderPipeline> {
    let module = gpu.module("splat", &resolve("splat", &[])?)?;
    let over = wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING;
    let target =
        Some(wgpu::ColorTargetState { format: PICTURE, blend: Some(over), write_mask: wgpu::ColorWrites::ALL });
    gpu.checked("splat", || {
        gpu.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("splat"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("corner"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState {
                topology: wgpu::PrimitiveTopology::TriangleStrip,
                ..wgpu::PrimitiveState::default()
            },
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("lay"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[target.clone(), target],
            }),
            multiview_mask: None,
            cache: None,
        })
    })
}

/// The Gaussians by their depth along the view axis, the farthest first; the same depth in the order of the file.
pub fn farthest_first(means: &[f32], camera: &Camera) -> Vec<u32> {
    let (eye, forward) = (camera.position(), camera.forward());
    let key = |(i, mean): (usize, &[f32; 3])| {
        let depth = forward.dot(glam::Vec3::from(*mean) - eye);
        // Floats of one sign sort as their bits do; what lies behind comes last, and is not drawn.
        (!if depth > 0.0 { depth.to_bits() } else { 0 }, i as u32)
    };
    let mut keys: Vec<(u32, u32)> = means.as_chunks::<3>().0.par_iter().enumerate().map(key).collect();
    keys.par_sort_unstable();
    keys.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;

    #[test]
    fn the_farthest_comes_first() {
        let camera = Camera::look_at(Vec3::new(0.0, 0.0, 5.0), Vec3::ZERO, Vec3::Y, 1.0, 8, 8);
        let means = [0.0, 0.0, 1.0, 3.0, 0.0, -2.0, 0.0, 1.0, 9.0, 0.0, 0.0, 1.0];
        assert_eq!(farthest_first(&means, &camera), [1, 0, 3, 2], "the third one lies behind");
        assert!(farthest_first(&[], &camera).is_empty());
    }
}
