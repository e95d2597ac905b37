//! A sparse voxel grid (Fridovich-Keil, Yu et al., "Plenoxels: Radiance Fields without Neural Networks", CVPR 2022): a
//! density and spherical harmonics of degree 2 at every vertex that is kept, interpolated trilinearly, no network.
//!
//! Block 1: density and 27 coefficients at a point; block 2: `rgb = act(Σ coefficient · Y(d))`. The coefficients are no
//! learned feature, so there is no latent that another field could be taught.
//!
//! Density is stored as itself (`sigma = max(0, value)`, as published) or as its logarithm (as progressive volume
//! distillation's dense "Plenoxels" has it); a vertex that is not kept is empty. What training begins with, and how the
//! grid grows and is pruned, is in [`shape`]; what it takes over from another field without training, in [`start`].

mod shape;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_shaders::Camera;
use retort_shaders::snapshot::{FieldSnapshot, Snapshot, Words};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::field::{
    Field, Frame, Latent, Param, ParamMut, RenderOptions, Reshape, Scene, Source, Volume, tensor, values,
};
use crate::ops;
use crate::ops::march::spec::MarchSpec;
use crate::ops::voxels::colour::COEFFICIENTS;
use crate::ops::voxels::links::RESOLUTIONS;
use crate::ops::voxels::{Colour, Links, Penalty, Place};
use crate::parts::core::{ColourEncoding, VolumeConfig, VolumeCore};
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;
use crate::snapshot::{range_constants, volume};

/// The grid whose weights of total variation were published.
const PUBLISHED_RESOLUTION: f32 = 256.0;

/// What is stored for a density.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Density {
    /// The density itself per scene unit; what is below 0 is empty.
    Linear,
    /// Its natural logarithm.
    Exp,
}

/// How the space of a voxel grid is sampled: a volume's options but for a network's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoxelSpace {
    /// The log-density (per scene unit) is clamped to this range.
    pub log_sigma_range: [f32; 2],
    /// Cells of the occupancy grid along an edge, a power of two.
    pub occupancy_resolution: u32,
    /// Samples along the diagonal of the unit box `[-1, 1]³`: the step is `2√3 / this`.
    pub samples_per_diagonal: u32,
    /// Steps grow with this fraction of the distance in unbounded scenes.
    pub cone_angle: f32,
}

/// The shape of a voxel grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoxelsConfig {
    /// Vertices along an edge of the scene's box, now: schedules change it.
    pub resolution: u32,
    /// Whether a new grid fills the ball in the box (as Plenoxels does for scenes on a turntable) or all of the box. An
    /// unbounded scene is a ball in any case.
    pub ball: bool,
    /// What is stored for a density.
    pub density: Density,
    /// How harmonics become a colour.
    pub colour: Colour,
    /// The density of a new grid per scene unit.
    pub initial_sigma: f32,
    /// How it is sampled.
    pub volume: VoxelSpace,
}

/// A voxel grid.
#[derive(Clone, Debug)]
pub struct Voxels {
    /// Its shape.
    pub config: VoxelsConfig,
    core: VolumeCore,
    /// The vertices that are kept.
    links: Arc<Links>,
    /// A value for each of them, `[rows, 1]`.
    density: Tensor<2>,
    /// Their harmonics, channel by channel, `[rows, 27]`.
    sh: Tensor<2>,
}

impl VoxelsConfig {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if !RESOLUTIONS.contains(&self.resolution) {
            return bad("resolution", "use 2 to 1024");
        }
        if !(self.initial_sigma > 0.0 && self.initial_sigma <= 1e4) {
            return bad("initial_sigma", "use above 0 to 10000");
        }
        self.space().check()
    }

    /// The options of any volume.
    fn space(&self) -> VolumeConfig {
        let VoxelSpace { log_sigma_range, occupancy_resolution, samples_per_diagonal, cone_angle } = self.volume;
        VolumeConfig {
            latent: COEFFICIENTS,
            colour_hidden: Vec::new(),
            colour_encoding: ColourEncoding::default(),
            log_sigma_range,
            occupancy_resolution,
            samples_per_diagonal,
            cone_angle,
        }
    }

    /// What a vertex that is not kept has for a density.
    fn empty(&self) -> f32 {
        match self.density {
            Density::Linear => 0.0,
            Density::Exp => self.volume.log_sigma_range[0],
        }
    }
}

impl Voxels {
    /// Names and shapes of the parameters: one row for each vertex that is kept.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &VoxelsConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        config.check()?;
        Ok(vec![("density", [0, 1]), ("sh", [0, COEFFICIENTS])])
    }

    /// First values: a thin fog (a hundredth up or down, which tells seeds apart) without harmonics.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range, or the grid is larger than can be held.
    pub fn draw(config: &VoxelsConfig, scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        config.check()?;
        let rows = shape::first_rows(config, scene);
        shape::check_rows(rows, config.resolution)?;
        let mut rng = Rng::new(seed, "voxel densities");
        let mut value = || {
            let sigma = config.initial_sigma * rng.range(0.99, 1.01);
            if config.density == Density::Exp { sigma.ln() } else { sigma }
        };
        let density = (0..rows).map(|_| value()).collect();
        Ok(vec![tensor(density, [rows, 1], device), Tensor::zeros([rows, COEFFICIENTS], device)])
    }

    /// A field with these parameters: those of a new grid, or of another one whose vertices follow as an extra.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &VoxelsConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        config.check()?;
        let [density, sh] = crate::registry::exactly(tensors)?;
        let core = VolumeCore::new(&config.space(), scene)?;
        let rows = shape::first_rows(config, scene);
        // Which vertices a file has is not known yet: none is taken for kept, and no memory for it.
        let fresh = density.dims()[0] == rows && shape::check_rows(rows, config.resolution).is_ok();
        let links = if fresh { shape::first_links(config, scene) } else { Links::none() };
        Ok(Self { config: config.clone(), core, links: Arc::new(links), density, sh })
    }

    /// The vertices that are kept.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// What `wgsl/fields/voxels.wgsl` reads.
    fn shader(&self) -> FieldSnapshot {
        let mut constants = vec![
            ("RESOLUTION", (self.config.resolution as usize).into()),
            ("LINEAR", (self.config.density == Density::Linear).into()),
            ("SIGMOID", (self.config.colour == Colour::Sigmoid).into()),
            ("EMPTY", self.config.empty().into()),
        ];
        constants.extend(range_constants(self.config.volume.log_sigma_range));
        let links = self.links.words().iter().flatten().copied().collect();
        let [density, sh] = [&self.density, &self.sh].map(|t| Words::F32(values(t.clone())));
        FieldSnapshot {
            file: "fields/voxels",
            constants,
            buffers: vec![Words::U32(links), density, sh],
            nets: Vec::new(),
        }
    }

    fn log_of(&self, density: Tensor<2>) -> Tensor<2> {
        let [low, high] = self.config.volume.log_sigma_range;
        match self.config.density {
            Density::Linear => ops::voxels::log_of(density, low, high),
            Density::Exp => ops::pointwise::clamp_inward(density, low, high),
        }
    }
}

impl Field for Voxels {
    fn scene(&self) -> &Scene {
        &self.core.scene
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "density", group: "density", tensor: &self.density },
            Param { name: "sh", group: "sh", tensor: &self.sh },
        ]
    }

    fn params_mut(&mut self) -> Vec<ParamMut<'_>> {
        vec![
            ParamMut { name: "density", group: "density", tensor: &mut self.density },
            ParamMut { name: "sh", group: "sh", tensor: &mut self.sh },
        ]
    }

    fn render(&self, camera: &Camera, options: &RenderOptions) -> Frame {
        VolumeCore::render(self, camera, options)
    }

    fn extras(&self, full: bool) -> Vec<(&'static str, Vec<u8>)> {
        let mut extras = self.core.extras(full);
        extras.push(("vertices", self.links.to_bytes()));
        extras
    }

    fn set_extra(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if name != "vertices" {
            return self.core.set_extra(name, bytes);
        }
        self.links = Arc::new(Links::from_bytes(bytes, self.config.resolution)?);
        self.check()
    }

    fn check(&self) -> Result<()> {
        let (rows, kept) = (self.density.dims()[0], self.links.rows());
        if rows == kept && self.links.resolution() == self.config.resolution {
            return Ok(());
        }
        Err(Error::new(format!("{rows} rows of values for {kept} vertices of a voxel grid"))
            .remedy("the file is incomplete, or its description was edited"))
    }

    fn as_volume(&self) -> Option<&dyn Volume> {
        Some(self)
    }

    fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot::Volume(Arc::new(volume(self, self.shader()))))
    }

    fn as_volume_mut(&mut self) -> Option<&mut dyn Volume> {
        Some(self)
    }
}

impl Volume for Voxels {
    fn latent_dim(&self) -> Option<usize> {
        None
    }

    fn block1(&self, x: Tensor<2>) -> Latent {
        let (x, place) = (self.core.unit(x), Place::new(&self.links));
        let density = ops::voxels::sample(x.clone(), self.density.clone(), &place, self.config.empty());
        Latent { log_sigma: self.log_of(density), latent: ops::voxels::sample(x, self.sh.clone(), &place, 0.0) }
    }

    fn log_sigma(&self, x: Tensor<2>) -> Tensor<2> {
        let place = Place::new(&self.links);
        self.log_of(ops::voxels::sample(self.core.unit(x), self.density.clone(), &place, self.config.empty()))
    }

    fn block2(&self, latent: Tensor<2>, d: Tensor<2>) -> Tensor<2> {
        ops::voxels::sh_colour(latent, d, self.config.colour)
    }

    fn occupancy(&self) -> &Arc<Occupancy> {
        &self.core.occupancy
    }

    fn set_occupancy(&mut self, occupancy: Arc<Occupancy>) {
        self.core.occupancy = occupancy;
    }

    fn march_spec(&self) -> MarchSpec {
        self.core.march_spec(&self.config.space())
    }

    fn log_sigma_range(&self) -> [f32; 2] {
        self.config.volume.log_sigma_range
    }

    fn reshape(&mut self, change: &Reshape<'_>) -> Result<bool> {
        self.reshaped(change)
    }

    fn take_over(&mut self, source: &Source<'_>) -> Result<bool> {
        self.taken_over(source)
    }

    fn grain(&self, resolution: Option<u32>) -> Option<f32> {
        let resolution = resolution.unwrap_or(self.config.resolution);
        Some(self.core.scene.bounds.size().max_element() / resolution as f32)
    }

    fn penalty(&self, name: &str, rng: &mut Rng) -> Option<Tensor<1>> {
        let variation = Penalty::Variation { scale: self.config.resolution as f32 / PUBLISHED_RESOLUTION };
        let cauchy = if self.config.density == Density::Exp { Penalty::CauchyExp } else { Penalty::CauchyLinear };
        let (values, penalty) = match name {
            "tv_sigma" => (&self.density, variation),
            "tv_sh" => (&self.sh, variation),
            "sparsity" => (&self.density, cauchy),
            _ => return None,
        };
        Some(ops::voxels::penalty(values.clone(), &self.links, penalty, rng))
    }
}
