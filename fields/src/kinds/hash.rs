//! A multi-resolution hash grid (Müller et al., "Instant Neural Graphics Primitives", 2022), split as in progressive
//! volume distillation (Fang et al. 2023).
//!
//! Block 1: `[log σ, latent] = sigma_net(encode(x))`; block 2: `rgb = sigmoid(colour_net([latent, SH₄(d)]))`.

use std::any::Any;

use burn::tensor::{Device, Tensor};
use retort_shaders::snapshot::{FieldSnapshot, Words};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::field::{Param, ParamMut, Scene, Source, tensor, values};
use crate::ops;
use crate::ops::hash_encode::resize::resized;
use crate::ops::hash_encode::spec::{self as hash_spec, HashSpec};
use crate::ops::mlp::spec::MlpSpec;
use crate::parts::core::{VolumeConfig, VolumeCore, volume_field};
use crate::parts::network;
use crate::rng::Rng;
use crate::snapshot::{head_constants, net};

/// The shape of a hash field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashConfig {
    /// Number of grids, coarse to fine.
    pub levels: usize,
    /// Values per grid point: 1, 2, 4 or 8.
    pub features: usize,
    /// Binary logarithm of the largest number of entries in a grid.
    pub log2_table_size: u32,
    /// Resolution of the coarsest grid.
    pub base_resolution: u32,
    /// Resolution of the finest grid.
    pub finest_resolution: u32,
    /// Binary logarithm of the ratio of neighbouring resolutions, where another program rounded it in its own way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log2_growth: Option<f32>,
    /// Whether dense grids have points beyond their last cell, as torch-ngp's have; see
    /// [`crate::ops::hash_encode::spec::HashConfig::far_points`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub far_points: bool,
    /// Hidden widths of the density network.
    pub sigma_hidden: Vec<usize>,
    /// What every volume has.
    pub volume: VolumeConfig,
}

/// A hash field.
#[derive(Clone, Debug)]
pub struct Hash {
    /// Its shape.
    pub config: HashConfig,
    core: VolumeCore,
    hash_spec: HashSpec,
    sigma_spec: MlpSpec,
    /// The grids, `[entries, features]`.
    table: Tensor<2>,
    /// The density network, `[1, parameters]`.
    sigma_net: Tensor<2>,
    /// The colour network, `[1, parameters]`.
    colour_net: Tensor<2>,
}

impl HashConfig {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if !(1..=32).contains(&self.levels) {
            return bad("levels", "use 1 to 32");
        }
        if ![1, 2, 4, 8].contains(&self.features) {
            return bad("features", "use 1, 2, 4 or 8");
        }
        if !(8..=24).contains(&self.log2_table_size) {
            return bad("log2_table_size", "use 8 to 24");
        }
        if !(2..=1024).contains(&self.base_resolution) {
            return bad("base_resolution", "use 2 to 1024");
        }
        if !(self.base_resolution..=65_536).contains(&self.finest_resolution) {
            return bad("finest_resolution", "use base_resolution to 65536");
        }
        if self.sigma_hidden.len() > 8 || self.sigma_hidden.iter().any(|&w| !(1..=1024).contains(&w)) {
            return bad("sigma_hidden", "use at most 8 widths from 1 to 1024");
        }
        self.volume.check()
    }
}

impl Hash {
    fn specs(config: &HashConfig) -> Result<(HashSpec, MlpSpec, MlpSpec)> {
        config.check()?;
        let hash_spec = HashSpec::new(
            config.levels,
            config.features,
            config.log2_table_size,
            config.base_resolution,
            config.finest_resolution,
        )?;
        let (log2_growth, far_points) = (config.log2_growth, config.far_points);
        let hash_spec =
            HashSpec::from_config(hash_spec::HashConfig { log2_growth, far_points, ..hash_spec.config().clone() })?;
        let sigma_spec = network::plain(hash_spec.out_dim(), &config.sigma_hidden, 1 + config.volume.latent);
        Ok((hash_spec, sigma_spec, config.volume.colour_spec()))
    }

    /// Names and shapes of the parameters.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &HashConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        let (hash, sigma, colour) = Self::specs(config)?;
        Ok(vec![
            ("table", [hash.entries(), config.features]),
            ("sigma_net", [1, sigma.param_count()]),
            ("colour_net", [1, colour.param_count()]),
        ])
    }

    /// First values of the parameters: grid values uniform in ±1e-4 (Müller et al. 2022), networks by Glorot.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn draw(config: &HashConfig, _scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        let (hash, sigma, colour) = Self::specs(config)?;
        let mut rng = Rng::new(seed, "hash table");
        let values = (0..hash.param_count()).map(|_| rng.range(-1e-4, 1e-4)).collect();
        let mut rng = Rng::new(seed, "hash networks");
        Ok(vec![
            tensor(values, [hash.entries(), config.features], device),
            network::init(&sigma, &mut rng, device),
            network::init(&colour, &mut rng, device),
        ])
    }

    /// A field with these parameters, of the shapes that [`Hash::shapes`] gives.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &HashConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        let (hash_spec, sigma_spec, _) = Self::specs(config)?;
        let [table, sigma_net, colour_net] = crate::registry::exactly(tensors)?;
        let core = VolumeCore::new(&config.volume, scene)?;
        Ok(Self { config: config.clone(), core, hash_spec, sigma_spec, table, sigma_net, colour_net })
    }

    /// `[n, 3]` warped positions to `[n, 1 + latent]`.
    fn density(&self, x: Tensor<2>) -> Tensor<2> {
        let encoded = ops::hash_encode::hash_encode(self.core.unit(x), self.table.clone(), &self.hash_spec);
        ops::mlp::mlp(encoded, self.sigma_net.clone(), &self.sigma_spec)
    }

    fn network(&self, name: &str) -> Option<MlpSpec> {
        match name {
            "sigma_net" => Some(self.sigma_spec.clone()),
            "colour_net" => Some(self.config.volume.colour_spec()),
            _ => None,
        }
    }

    /// What `wgsl/fields/hash.wgsl` reads.
    fn shader(&self) -> FieldSnapshot {
        let mut constants = head_constants(&self.config.volume);
        constants.extend([("LEVELS", self.config.levels.into()), ("FEATURES", self.config.features.into())]);
        let levels = self.hash_spec.levels().iter().flat_map(|level| {
            let [offset, size] = [level.offset, level.size].map(|n| n as u32);
            [level.scale.to_bits(), level.resolution, offset, size, u32::from(level.hashed)]
        });
        FieldSnapshot {
            file: "fields/hash",
            constants,
            buffers: vec![Words::U32(levels.collect()), Words::F32(values(self.table.clone()))],
            nets: vec![
                net("sigma", &self.sigma_spec, &self.sigma_net),
                net("colour", &self.core.colour_spec, &self.colour_net),
            ],
        }
    }

    /// The cells of the finest level whose places within occupied space are not shared by too many: a surface in `n` cells
    /// of a grid of `r³` passes through about `n (s / r)²` cells of one of `s³`.
    fn finest_told_apart(&self) -> f32 {
        /// Places that may share an entry: the larger gradient wins (Müller et al. 2022, section 3).
        const SHARED: f32 = 4.0;
        let grid = &self.core.occupancy;
        let occupied = grid.occupied().count().max(1) as f32;
        let entries = SHARED * (self.config.log2_table_size as f32).exp2();
        let told_apart = grid.resolution() as f32 * (entries / occupied).sqrt();
        self.core.scene.bounds.size().max_element() / told_apart.min(self.config.finest_resolution as f32)
    }

    /// A hash grid of the same levels and networks, of whatever table, needs no training to begin with.
    fn taken_over(&mut self, source: &Source<'_>) -> bool {
        let Some(other) = (source.field as &dyn Any).downcast_ref::<Self>() else { return false };
        let same = self.sigma_spec == other.sigma_spec && self.core.colour_spec == other.core.colour_spec;
        let same = same && self.core.colour_encoding == other.core.colour_encoding;
        let table = Some(values(other.table.clone())).filter(|_| same);
        let Some(table) = table.and_then(|table| resized(&other.hash_spec, &table, &self.hash_spec)) else {
            return false;
        };
        let device = self.table.device();
        self.table = tensor(table, [self.hash_spec.entries(), self.config.features], &device);
        (self.sigma_net, self.colour_net) = (other.sigma_net.clone(), other.colour_net.clone());
        true
    }

    fn named_params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "table", group: "table", tensor: &self.table },
            Param { name: "sigma_net", group: "network", tensor: &self.sigma_net },
            Param { name: "colour_net", group: "network", tensor: &self.colour_net },
        ]
    }

    fn named_params_mut(&mut self) -> Vec<ParamMut<'_>> {
        vec![
            ParamMut { name: "table", group: "table", tensor: &mut self.table },
            ParamMut { name: "sigma_net", group: "network", tensor: &mut self.sigma_net },
            ParamMut { name: "colour_net", group: "network", tensor: &mut self.colour_net },
        ]
    }
}

volume_field! {
    Hash,
    fn take_over(&mut self, source: &Source<'_>) -> Result<bool> {
        Ok(self.taken_over(source))
    }
    fn grain(&self, _resolution: Option<u32>) -> Option<f32> {
        Some(self.finest_told_apart())
    }
}
