//! One view of one field: takes the latest snapshot, draws it at the size that is asked for, and shows it in a mode.

use retort_shaders::Camera;
use retort_shaders::snapshot::{Show, Snapshot, View};
use retort_shaders::wgsl::resolve;

use crate::error::Result;
use crate::gpu::{Gpu, Slot};
use crate::splats::Splats;
use crate::target::Target;
use crate::volume::Volume;

/// What `show.wgsl` reads. The depth of volumes cannot be filtered.
const SLOTS: [Slot; 5] = [Slot::Uniform, Slot::Uniform, Slot::Texture(true), Slot::Texture(false), Slot::Sampler];

/// What a person wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The picture.
    #[default]
    Colour,
    /// How far everything is, the nearer the brighter.
    Depth,
    /// How opaque.
    Opacity,
    /// Which way surfaces face.
    Normals,
}

/// What a picture is shown over and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// What.
    pub mode: Mode,
    /// Behind what is transparent.
    pub background: [f32; 3],
    /// Depths that are brightest and darkest, scene units.
    pub depths: [f32; 2],
}

impl Default for Look {
    fn default() -> Self {
        Self { mode: Mode::Colour, background: [1.0; 3], depths: [0.5, 4.0] }
    }
}

enum Drawn {
    Volume(Box<Volume>),
    Splats(Box<Splats>),
}

/// A view of a field.
pub struct Viewport {
    gpu: Gpu,
    drawn: Option<Drawn>,
    target: Option<Target>,
    show: wgpu::RenderPipeline,
    format: wgpu::TextureFormat,
    view: wgpu::Buffer,
    look: wgpu::Buffer,
    sampler: wgpu::Sampler,
}

impl Viewport {
    /// A view without anything to see, that will be shown in textures of `format`.
    ///
    /// # Errors
    /// When a shader is refused.
    pub fn new(gpu: &Gpu, format: wgpu::TextureFormat) -> Result<Self> {
        let sampler = gpu.device.create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..wgpu::SamplerDescriptor::default()
        });
        Ok(Self {
            drawn: None,
            target: None,
            show: gpu.covering("show", &resolve("show", &[])?, &[&SLOTS], &[format])?,
            format,
            view: gpu.uniform("view", &[0; size_of::<View>()]),
            look: gpu.uniform("show", &[0; size_of::<Show>()]),
            sampler,
            gpu: gpu.clone(),
        })
    }

    /// Takes over what is to be seen from now on.
    ///
    /// # Errors
    /// When it is too large for the device or its shader is refused; then the view keeps what it had.
    pub fn set(&mut self, snapshot: &Snapshot) -> Result<()> {
        match (&mut self.drawn, snapshot) {
            (Some(Drawn::Volume(volume)), Snapshot::Volume(snapshot)) => volume.update(&self.gpu, snapshot)?,
            (Some(Drawn::Splats(splats)), Snapshot::Splats(snapshot)) => splats.update(&self.gpu, snapshot.clone())?,
            (drawn, Snapshot::Volume(snapshot)) => {
                *drawn = Some(Drawn::Volume(Box::new(Volume::new(&self.gpu, snapshot)?)));
                self.target = None;
            }
            (drawn, Snapshot::Splats(snapshot)) => {
                *drawn = Some(Drawn::Splats(Box::new(Splats::new(&self.gpu, snapshot.clone())?)));
                self.target = None;
            }
        }
        Ok(())
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        match &self.drawn {
            None => 0,
            Some(Drawn::Volume(volume)) => volume.bytes(),
            Some(Drawn::Splats(splats)) => splats.bytes(),
        }
    }

    /// Draws the view of `camera`, at its size.
    pub fn draw(&mut self, camera: &Camera) {
        let Some(drawn) = &self.drawn else { return };
        let size = [camera.width.max(1), camera.height.max(1)];
        if self.target.as_ref().is_none_or(|target| target.size != size) {
            self.target = Some(match drawn {
                Drawn::Volume(_) => Volume::target(&self.gpu, size),
                Drawn::Splats(_) => Splats::target(&self.gpu, size),
            });
        }
        let Some(target) = &self.target else { return };
        self.gpu.queue.write_buffer(&self.view, 0, bytemuck::bytes_of(&View::from(camera)));
        match drawn {
            Drawn::Volume(volume) => volume.draw(&self.gpu, camera, 0..camera.height, target),
            Drawn::Splats(splats) => splats.draw(&self.gpu, camera, target),
        }
    }

    /// What was drawn last: premultiplied colour, alpha and weighted depth `[h · w, 5]`; `None` where nothing was.
    ///
    /// # Errors
    /// When the device fails.
    pub fn pixels(&self) -> Result<Option<Vec<f32>>> {
        self.target.as_ref().map(|target| target.pixels(&self.gpu)).transpose()
    }

    /// Shows what was drawn last on all of `surface`, a texture of `size` pixels and of the format that the view was made
    /// for; where nothing was drawn, it stays as it is.
    pub fn show(&self, surface: &wgpu::TextureView, size: [u32; 2], look: &Look) {
        if let Some(target) = &self.target {
            self.gpu.cover(&self.show, &[&self.group(target, size, look)], &[surface], None);
        }
    }

    fn group(&self, target: &Target, size: [u32; 2], look: &Look) -> wgpu::BindGroup {
        let [r, g, b] = look.background;
        let show = Show {
            background: [r, g, b, 1.0],
            nearest: look.depths[0],
            farthest: look.depths[1],
            mode: look.mode as u32,
            axial: u32::from(matches!(self.drawn, Some(Drawn::Splats(_)))),
            size: size.map(|side| side.max(1) as f32),
            spare: [0; 2],
        };
        self.gpu.queue.write_buffer(&self.look, 0, bytemuck::bytes_of(&show));
        let [picture, depth] =
            [&target.picture, &target.depth].map(|t| t.create_view(&wgpu::TextureViewDescriptor::default()));
        let resources = [
            self.view.as_entire_binding(),
            self.look.as_entire_binding(),
            wgpu::BindingResource::TextureView(&picture),
            wgpu::BindingResource::TextureView(&depth),
            wgpu::BindingResource::Sampler(&self.sampler),
        ];
        self.gpu.bind(&self.show.get_bind_group_layout(0), &resources)
    }

    /// A picture of what was drawn last as it is shown: RGBA, 8 bits each, row by row.
    ///
    /// # Errors
    /// When the device fails.
    pub fn screenshot(&self, size: [u32; 2], look: &Look) -> Result<Vec<u8>> {
        let texture = self.gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("screenshot"),
            size: wgpu::Extent3d { width: size[0].max(1), height: size[1].max(1), depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: self.format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        self.show(&texture.create_view(&wgpu::TextureViewDescriptor::default()), size, look);
        crate::target::read(&self.gpu, &texture, 4)
    }
}
