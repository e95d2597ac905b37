//! What every two-block volume shares: its frame, its occupancy, how rays are sampled, and the colour head of
//! progressive distillation — `rgb = sigmoid(colour_net([latent, SH₄(d)]))` (Fang et al. 2023; Müller et al. 2022), or
//! with sines and cosines instead of harmonics ([`ColourEncoding`]).

use std::sync::Arc;

use burn::tensor::Tensor;
use glam::Vec3;
use retort_shaders::Camera;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::field::{Frame, Latent, RenderOptions, Scene, Volume};
use crate::ops;
use crate::ops::march::spec::MarchSpec;
use crate::ops::mlp::spec::{Activation, MlpSpec};
use crate::parts::occupancy::Occupancy;

/// Options that every two-block volume has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeConfig {
    /// Width of the latent between the blocks, beside the density.
    pub latent: usize,
    /// Hidden widths of the colour network.
    pub colour_hidden: Vec<usize>,
    /// The log-density (per scene unit) is clamped to this range.
    pub log_sigma_range: [f32; 2],
    /// Cells of the occupancy grid along an edge, a power of two.
    pub occupancy_resolution: u32,
    /// Samples along the diagonal of the unit box `[-1, 1]³`: the step is `2√3 / this`.
    pub samples_per_diagonal: u32,
    /// Steps grow with this fraction of the distance in unbounded scenes (Instant-NGP: 1/256).
    pub cone_angle: f32,
    /// What the colour network sees beside the latent.
    #[serde(default)]
    pub colour_encoding: ColourEncoding,
}

/// What the colour network sees beside the latent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourEncoding {
    /// The spherical harmonics of the direction, to a network without biases (Instant-NGP, PVD).
    #[default]
    Sh,
    /// The direction, and sines and cosines of latent and direction in two octaves, to a network with biases (`TensoRF`).
    Fourier,
}

impl VolumeConfig {
    /// The colour network's shape: its last layer is followed by the sigmoid.
    pub fn colour_spec(&self) -> MlpSpec {
        let mut spec = match self.colour_encoding {
            ColourEncoding::Sh => super::network::plain(self.latent + SH_DIM, &self.colour_hidden, 3),
            ColourEncoding::Fourier => {
                let mut spec = super::network::plain(5 * (self.latent + 3), &self.colour_hidden, 3);
                spec.layers.iter_mut().for_each(|layer| layer.bias = true);
                spec
            }
        };
        spec.layers.iter_mut().rev().take(1).for_each(|last| last.activation = Activation::Sigmoid);
        spec
    }

    /// Says which value is out of its range.
    ///
    /// # Errors
    /// When one is.
    pub fn check(&self) -> Result<()> {
        let [low, high] = self.log_sigma_range;
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if !(1..=255).contains(&self.latent) {
            return bad("latent", "use 1 to 255");
        }
        if self.colour_hidden.len() > 8 || self.colour_hidden.iter().any(|&w| !(1..=1024).contains(&w)) {
            return bad("colour_hidden", "use at most 8 widths from 1 to 1024");
        }
        if !(low.is_finite() && high.is_finite() && low < high && high <= 15.0 && low >= -30.0) {
            return bad("log_sigma_range", "use two increasing values within -30 and 15");
        }
        if !self.occupancy_resolution.is_power_of_two() || !(16..=512).contains(&self.occupancy_resolution) {
            return bad("occupancy_resolution", "use a power of two from 16 to 512");
        }
        if !(16..=16_384).contains(&self.samples_per_diagonal) {
            return bad("samples_per_diagonal", "use 16 to 16384");
        }
        if !(0.0..=0.1).contains(&self.cone_angle) {
            return bad("cone_angle", "use 0 to 0.1");
        }
        Ok(())
    }
}

/// The shared state of a two-block volume.
#[derive(Clone, Debug)]
pub struct VolumeCore {
    /// Frame and extent.
    pub scene: Scene,
    /// Where it is not empty.
    pub occupancy: Arc<Occupancy>,
    /// The colour network's shape.
    pub colour_spec: MlpSpec,
    /// What it sees beside the latent.
    pub colour_encoding: ColourEncoding,
}

/// Values of the spherical-harmonic encoding of a direction (degree 4 in Instant-NGP's count: bands 0 to 3).
pub const SH_DIM: usize = 16;

impl VolumeCore {
    /// The shared state for `scene`, with a full occupancy grid.
    ///
    /// # Errors
    /// When the grid's resolution or the scene's box is not possible.
    pub fn new(config: &VolumeConfig, scene: &Scene) -> Result<Self> {
        Occupancy::check(config.occupancy_resolution, scene.bounds)?;
        let mut occupancy = Occupancy::new_full(config.occupancy_resolution, scene.bounds);
        if scene.unbounded {
            occupancy.exclude_outside_ball(2.0);
        }
        Ok(Self {
            scene: scene.clone(),
            occupancy: Arc::new(occupancy),
            colour_spec: config.colour_spec(),
            colour_encoding: config.colour_encoding,
        })
    }

    /// How rays are sampled.
    pub fn march_spec(&self, config: &VolumeConfig) -> MarchSpec {
        MarchSpec {
            bounds: self.scene.bounds,
            unbounded: self.scene.unbounded,
            step: 2.0 * 3.0_f32.sqrt() / config.samples_per_diagonal as f32,
            cone_angle: if self.scene.unbounded { config.cone_angle } else { 0.0 },
            near: self.scene.near_far[0],
            far: self.scene.near_far[1],
            max_samples_per_ray: 4 * config.samples_per_diagonal,
        }
    }

    /// Warped positions `[n, 3]` in the box of the scene to `[0, 1]³`.
    pub fn unit(&self, x: Tensor<2>) -> Tensor<2> {
        let (min, size) = (self.scene.bounds.min, self.scene.bounds.size());
        if min == Vec3::splat(min.x) && size == Vec3::splat(size.x) {
            return x.sub_scalar(min.x).div_scalar(size.x);
        }
        let device = x.device();
        let row = |v: Vec3| Tensor::<1>::from_floats(v.to_array(), &device).reshape([1, 3]);
        (x - row(min)) / row(size)
    }

    /// Splits block 1's output `[n, 1 + k]` into the clamped log-density and the latent.
    pub fn split(&self, config: &VolumeConfig, output: Tensor<2>) -> Latent {
        let width = output.dims()[1];
        let raw = ops::pointwise::columns(output.clone(), 0, 1);
        let [low, high] = config.log_sigma_range;
        let latent = ops::pointwise::columns(output, 1, width - 1);
        Latent { log_sigma: ops::pointwise::clamp_inward(raw, low, high), latent }
    }

    /// Block 2: latent `[n, k]` and unit directions `[n, 3]` to colour `[n, 3]`.
    pub fn colour(&self, latent: Tensor<2>, d: Tensor<2>, colour_net: Tensor<2>) -> Tensor<2> {
        let seen = match self.colour_encoding {
            ColourEncoding::Sh => ops::pointwise::beside_sh(latent, d),
            ColourEncoding::Fourier => ops::pointwise::beside_waves(latent, d),
        };
        ops::mlp::mlp(seen, colour_net, &self.colour_spec)
    }

    /// The picture of any volume.
    pub fn render(volume: &dyn Volume, camera: &Camera, options: &RenderOptions) -> Frame {
        crate::render::volume::render(volume, camera, options)
    }

    /// What is saved beside the parameters; `full` keeps what training needs to go on bit for bit.
    pub fn extras(&self, full: bool) -> Vec<(&'static str, Vec<u8>)> {
        let grid = if full { self.occupancy.to_bytes() } else { self.occupancy.to_bytes_compact() };
        vec![("occupancy", grid)]
    }

    /// Takes back what [`VolumeCore::extras`] gave.
    ///
    /// # Errors
    /// When the bytes are not an occupancy grid of this scene.
    pub fn set_extra(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if name != "occupancy" {
            return Err(Error::new(format!("unknown extra \"{name}\"")).remedy("was it written by a newer Retort?"));
        }
        let (grid, resolution) = (Occupancy::from_bytes(bytes, self.scene.bounds)?, self.occupancy.resolution());
        if grid.resolution() != resolution {
            let what = format!("the occupancy grid has {}³ cells, not {resolution}³", grid.resolution());
            return Err(Error::new(what).remedy("the file is damaged, or its description was edited"));
        }
        self.occupancy = Arc::new(grid);
        Ok(())
    }
}

/// The parts of [`crate::field::Field`] and [`Volume`] that are the same for every kind built on a [`VolumeCore`]. The kind
/// gives `named_params`, `named_params_mut`, `density`, `network` and `shader`.
macro_rules! volume_field {
    // What follows the kind overrides methods of `Volume`.
    ($kind:ty $(, $($more:tt)*)?) => {
        impl crate::field::Field for $kind {
            fn scene(&self) -> &crate::field::Scene {
                &self.core.scene
            }
            fn params(&self) -> Vec<crate::field::Param<'_>> {
                self.named_params()
            }
            fn params_mut(&mut self) -> Vec<crate::field::ParamMut<'_>> {
                self.named_params_mut()
            }
            fn render(
                &self,
                camera: &retort_shaders::Camera,
                options: &crate::field::RenderOptions,
            ) -> crate::field::Frame {
                crate::parts::core::VolumeCore::render(self, camera, options)
            }
            fn extras(&self, full: bool) -> Vec<(&'static str, Vec<u8>)> {
                self.core.extras(full)
            }
            fn set_extra(&mut self, name: &str, bytes: &[u8]) -> crate::error::Result<()> {
                self.core.set_extra(name, bytes)
            }
            fn matrices(&self, name: &str) -> Vec<crate::ops::mlp::spec::Matrix> {
                self.network(name).map(|spec| spec.matrices()).unwrap_or_default()
            }
            fn as_volume(&self) -> Option<&dyn crate::field::Volume> {
                Some(self)
            }
            fn snapshot(&self) -> Option<retort_shaders::snapshot::Snapshot> {
                // A kind without a shader gives `None`.
                let shader: Option<retort_shaders::snapshot::FieldSnapshot> = self.shader().into();
                let volume = crate::snapshot::volume(self, shader?);
                Some(retort_shaders::snapshot::Snapshot::Volume(std::sync::Arc::new(volume)))
            }
            fn as_volume_mut(&mut self) -> Option<&mut dyn crate::field::Volume> {
                Some(self)
            }
        }

        impl crate::field::Volume for $kind {
            fn latent_dim(&self) -> Option<usize> {
                Some(self.config.volume.latent)
            }
            fn block1(&self, x: burn::tensor::Tensor<2>) -> crate::field::Latent {
                let output = self.density(x);
                self.core.split(&self.config.volume, output)
            }
            fn block2(&self, latent: burn::tensor::Tensor<2>, d: burn::tensor::Tensor<2>) -> burn::tensor::Tensor<2> {
                self.core.colour(latent, d, self.colour_net.clone())
            }
            fn occupancy(&self) -> &std::sync::Arc<crate::parts::occupancy::Occupancy> {
                &self.core.occupancy
            }
            fn set_occupancy(&mut self, occupancy: std::sync::Arc<crate::parts::occupancy::Occupancy>) {
                self.core.occupancy = occupancy;
            }
            fn march_spec(&self) -> crate::ops::march::spec::MarchSpec {
                self.core.march_spec(&self.config.volume)
            }
            fn log_sigma_range(&self) -> [f32; 2] {
                self.config.volume.log_sigma_range
            }
            $($($more)*)?
        }
    };
}
pub(crate) use volume_field;
