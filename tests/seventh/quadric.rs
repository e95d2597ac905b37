//! A toy: one soft ellipsoid, in the two-block form of progressive volume distillation (Fang et al. 2023).
//!
//! Block 1: `[log σ, latent] = W · (1, x, y, z, x², y², z²)`; block 2: `rgb = sigmoid(colour_net([latent, SH₄(d)]))`.

use burn::tensor::{Device, Tensor};
use retort_shaders::snapshot::FieldSnapshot;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::field::{Param, ParamMut, Scene, tensor};
use crate::ops::mlp::spec::MlpSpec;
use crate::parts::core::{VolumeConfig, VolumeCore, volume_field};
use crate::parts::network;
use crate::rng::Rng;

/// The shape of an ellipsoid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuadricConfig {
    /// What every volume has.
    pub volume: VolumeConfig,
}

/// An ellipsoid.
#[derive(Clone, Debug)]
pub struct Quadric {
    /// Its shape.
    pub config: QuadricConfig,
    core: VolumeCore,
    /// `W`, `[7, 1 + latent]`.
    quadric: Tensor<2>,
    /// The colour network, `[1, parameters]`.
    colour_net: Tensor<2>,
}

impl Quadric {
    /// Names and shapes of the parameters.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &QuadricConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        config.volume.check()?;
        let colour = config.volume.colour_spec().param_count();
        Ok(vec![("quadric", [7, 1 + config.volume.latent]), ("colour_net", [1, colour])])
    }

    /// First values: a ball of radius about 0.8, with latents near nought.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn draw(config: &QuadricConfig, _scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        let (columns, mut rng) = (1 + config.volume.latent, Rng::new(seed, "quadric"));
        let of_density = [2.0, 0.0, 0.0, 0.0, -3.0, -3.0, -3.0];
        let entry = |i: usize| if i % columns == 0 { of_density[i / columns] } else { 0.1 * rng.normal() };
        let quadric = (0..7 * columns).map(entry).collect();
        Ok(vec![
            tensor(quadric, [7, columns], device),
            network::init(&config.volume.colour_spec(), &mut Rng::new(seed, "quadric network"), device),
        ])
    }

    /// A field with these parameters.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &QuadricConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        let [quadric, colour_net] = crate::registry::exactly(tensors)?;
        Ok(Self { config: config.clone(), core: VolumeCore::new(&config.volume, scene)?, quadric, colour_net })
    }

    fn density(&self, x: Tensor<2>) -> Tensor<2> {
        let ones = Tensor::ones([x.dims()[0], 1], &x.device());
        Tensor::cat(vec![ones, x.clone(), x.clone() * x], 1).matmul(self.quadric.clone())
    }

    fn network(&self, name: &str) -> Option<MlpSpec> {
        (name == "colour_net").then(|| self.config.volume.colour_spec())
    }

    /// The viewport asks the tensors for its pictures.
    fn shader(&self) -> Option<FieldSnapshot> {
        None
    }

    fn named_params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "quadric", group: "quadric", tensor: &self.quadric },
            Param { name: "colour_net", group: "network", tensor: &self.colour_net },
        ]
    }

    fn named_params_mut(&mut self) -> Vec<ParamMut<'_>> {
        vec![
            ParamMut { name: "quadric", group: "quadric", tensor: &mut self.quadric },
            ParamMut { name: "colour_net", group: "network", tensor: &mut self.colour_net },
        ]
    }
}

volume_field!(Quadric);
