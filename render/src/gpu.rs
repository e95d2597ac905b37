//! A device to draw on: the window's, or one of its own without a window.

use std::sync::mpsc;

use crate::error::{Error, Result};

/// A device and its queue; cheap to clone, both are handles.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// The adapter's name, for people.
    pub name: String,
}

/// What a shader finds at a binding. Layouts are written out: a shader that does not read all that it is given has a
/// smaller one by itself, and then nothing fits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A uniform buffer.
    Uniform,
    /// A storage buffer to read.
    Read,
    /// A storage buffer to read and write.
    Write,
    /// A texture of floats to read; whether it can be filtered.
    Texture(bool),
    /// A filter.
    Sampler,
}

impl Slot {
    fn binding_type(self) -> wgpu::BindingType {
        let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
        let view_dimension = wgpu::TextureViewDimension::D2;
        match self {
            Self::Uniform => buffer(wgpu::BufferBindingType::Uniform),
            Self::Read => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
            Self::Write => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
            Self::Texture(filterable) => wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Float { filterable },
                view_dimension,
                multisampled: false,
            },
            Self::Sampler => wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering),
        }
    }
}

impl Gpu {
    /// A device without a window, on the adapter that the system prefers.
    ///
    /// # Errors
    /// When there is none.
    pub fn headless() -> Result<Self> {
        Self::without_window(|_| true)
    }

    /// The same, but not an adapter that a processor plays: fields are drawn faster by their tensors there.
    ///
    /// # Errors
    /// When there is no other.
    pub fn hardware() -> Result<Self> {
        Self::without_window(|info| info.device_type != wgpu::DeviceType::Cpu)
    }

    fn without_window(wanted: impl Fn(&wgpu::AdapterInfo) -> bool) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter =
            pollster::block_on(instance.request_adapter(&options)).map_err(|e| Error::NoDevice(e.to_string()))?;
        let info = adapter.get_info();
        if !wanted(&info) {
            return Err(Error::NoDevice(format!("{} is none", info.name)));
        }
        let name = info.name;
        let (device, queue) = pollster::block_on(adapter.request_device(&Self::wanted(&adapter)))
            .map_err(|e| Error::NoDevice(format!("{name}: {e}")))?;
        Ok(Self { device, queue, name })
    }

    /// What a device must offer: all that the adapter binds, because fields are large.
    pub fn wanted(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
        wgpu::DeviceDescriptor {
            label: Some("retort"),
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..wgpu::DeviceDescriptor::default()
        }
    }

    /// A storage buffer with these bytes.
    ///
    /// # Errors
    /// When it is larger than the device binds.
    pub fn storage(&self, label: &str, bytes: &[u8]) -> Result<wgpu::Buffer> {
        let buffer = self.empty_storage(label, bytes.len() as u64)?;
        self.queue.write_buffer(&buffer, 0, bytes);
        Ok(buffer)
    }

    /// A storage buffer of `size` bytes (at least 16: an empty field has empty buffers, and none can be bound).
    ///
    /// # Errors
    /// When it is larger than the device binds.
    pub fn empty_storage(&self, label: &str, size: u64) -> Result<wgpu::Buffer> {
        let limits = self.device.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        if size > most {
            return Err(Error::TooLarge { needed: size, most });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let size = size.next_multiple_of(16).max(16);
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        }))
    }

    /// A uniform buffer with these bytes.
    pub fn uniform(&self, label: &str, bytes: &[u8]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = (bytes.len() as u64).next_multiple_of(16);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    /// What `make` makes of the shader `name`; what is refused is an error and not a panic.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) fn checked<T>(&self, name: &str, make: impl FnOnce() -> T) -> Result<T> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        match pollster::block_on(scope.pop()) {
            None => Ok(made),
            Some(error) => Err(Error::Shader { name: name.into(), what: error.to_string() }),
        }
    }

    /// A shader module.
    ///
    /// # Errors
    /// When the compiler refuses its text.
    pub fn module(&self, name: &str, text: &str) -> Result<wgpu::ShaderModule> {
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source };
        self.checked(name, || self.device.create_shader_module(descriptor))
    }

    /// The layout of a pipeline with these groups of bindings.
    fn layout_of(&self, name: &str, stages: wgpu::ShaderStages, groups: &[&[Slot]]) -> wgpu::PipelineLayout {
        let groups: Vec<_> = groups.iter().map(|slots| self.layout(stages, slots)).collect();
        let groups: Vec<_> = groups.iter().map(Some).collect();
        self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &groups,
            immediate_size: 0,
        })
    }

    /// A compute pipeline with the entry point `main` and these groups of bindings.
    ///
    /// # Errors
    /// When the shader or the pipeline is refused.
    pub fn compute(&self, name: &str, text: &str, groups: &[&[Slot]]) -> Result<wgpu::ComputePipeline> {
        let module = self.module(name, text)?;
        self.checked(name, || {
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&self.layout_of(name, wgpu::ShaderStages::COMPUTE, groups)),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        })
    }

    /// A pipeline that covers all of its targets with the shader's fragment `main`.
    ///
    /// # Errors
    /// When the shader or the pipeline is refused.
    pub fn covering(
        &self,
        name: &str,
        text: &str,
        groups: &[&[Slot]],
        targets: &[wgpu::TextureFormat],
    ) -> Result<wgpu::RenderPipeline> {
        let module = self.module(name, text)?;
        let targets: Vec<_> = targets.iter().map(|&format| Some(format.into())).collect();
        self.checked(name, || {
            self.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some(name),
                layout: Some(&self.layout_of(name, wgpu::ShaderStages::FRAGMENT, groups)),
                vertex: wgpu::VertexState {
                    module: &module,
                    entry_point: Some("cover"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    buffers: &[],
                },
                primitive: wgpu::PrimitiveState::default(),
                depth_stencil: None,
                multisample: wgpu::MultisampleState::default(),
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    targets: &targets,
                }),
                multiview_mask: None,
                cache: None,
            })
        })
    }

    /// Draws one covering pass of `pipeline` on `targets`, all of one size, and submits it: on all of them, or on the
    /// `area` x, y, width, height, outside which what was there stays.
    pub fn cover(
        &self,
        pipeline: &wgpu::RenderPipeline,
        groups: &[&wgpu::BindGroup],
        targets: &[&wgpu::TextureView],
        area: Option<[u32; 4]>,
    ) {
        let ops = wgpu::Operations { load: wgpu::LoadOp::Load, store: wgpu::StoreOp::Store };
        let attached: Vec<_> = targets
            .iter()
            .map(|view| Some(wgpu::RenderPassColorAttachment { view, depth_slice: None, resolve_target: None, ops }))
            .collect();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: None,
                color_attachments: &attached,
                ..wgpu::RenderPassDescriptor::default()
            });
            if let Some([x, y, width, height]) = area {
                pass.set_scissor_rect(x, y, width, height);
            }
            pass.set_pipeline(pipeline);
            for (i, group) in (0..).zip(groups) {
                pass.set_bind_group(i, *group, &[]);
            }
            pass.draw(0..3, 0..1);
        }
        self.queue.submit([encoder.finish()]);
    }

    /// A group of bindings, from binding 0 on.
    pub fn layout(&self, visibility: wgpu::ShaderStages, slots: &[Slot]) -> wgpu::BindGroupLayout {
        let entries: Vec<_> = (0..)
            .zip(slots)
            .map(|(binding, slot)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility,
                ty: slot.binding_type(),
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
    }

    /// The bind group of these resources, from binding 0 on.
    pub fn bind(&self, layout: &wgpu::BindGroupLayout, resources: &[wgpu::BindingResource<'_>]) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource: resource.clone() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// The bytes of a buffer that can be mapped.
    pub(crate) fn mapped(&self, host: &wgpu::Buffer) -> Result<Vec<u8>> {
        let failed = |what: String| Error::Device(what);
        let (tell, told) = mpsc::sync_channel(1);
        host.map_async(wgpu::MapMode::Read, .., move |done| {
            // Nobody listens any more where the wait below failed.
            let _ = tell.send(done);
        });
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed(e.to_string()))?;
        told.recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let bytes = host.get_mapped_range(..).map_err(|e| failed(e.to_string()))?.to_vec();
        host.unmap();
        Ok(bytes)
    }
}
