//! A neural radiance field as one network (Mildenhall et al., `NeRF`, 2020), in the two-block form that progressive
//! volume distillation gives it (Fang et al. 2023).
//!
//! Block 1: `[log σ, latent] = density_net(γ(x))`, where γ is the positional encoding
//! `[x, sin 2ᵏx, cos 2ᵏx]` and the network is a deep trunk that reads its input again half-way, a bottleneck, and a
//! small density head; block 2: `rgb = sigmoid(colour_net([latent, SH₄(d)]))`.

use burn::tensor::{Device, Tensor};
use retort_shaders::snapshot::FieldSnapshot;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::field::{Param, ParamMut, Scene};
use crate::ops;
use crate::ops::mlp::spec::{Activation, Layer, MlpSpec};
use crate::parts::core::{VolumeConfig, VolumeCore, volume_field};
use crate::parts::network;
use crate::rng::Rng;
use crate::snapshot::{head_constants, net};

/// The shape of a network field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Octaves of the positional encoding.
    pub frequencies: usize,
    /// Linear layers of the trunk, the last of which is the bottleneck.
    pub depth: usize,
    /// Width of the trunk's hidden layers.
    pub width: usize,
    /// The trunk's layer (counted from 0) that reads the encoded position again; 0 for none.
    pub skip: usize,
    /// Width of the bottleneck after the trunk.
    pub bottleneck: usize,
    /// Hidden widths of the density head.
    pub sigma_hidden: Vec<usize>,
    /// What every volume has.
    pub volume: VolumeConfig,
}

/// A network field.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Its shape.
    pub config: MlpConfig,
    core: VolumeCore,
    density_spec: MlpSpec,
    /// Trunk, bottleneck and density head, `[1, parameters]`.
    density_net: Tensor<2>,
    /// The colour network, `[1, parameters]`.
    colour_net: Tensor<2>,
}

impl MlpConfig {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if self.frequencies > 16 {
            return bad("frequencies", "use 0 to 16");
        }
        if !(2..=16).contains(&self.depth) {
            return bad("depth", "use 2 to 16");
        }
        if !(1..=1024).contains(&self.width) {
            return bad("width", "use 1 to 1024");
        }
        if self.skip >= self.depth {
            return bad("skip", "use less than depth, or 0 for none");
        }
        if !(1..=1024).contains(&self.bottleneck) {
            return bad("bottleneck", "use 1 to 1024");
        }
        if self.sigma_hidden.len() > 8 || self.sigma_hidden.iter().any(|&w| !(1..=1024).contains(&w)) {
            return bad("sigma_hidden", "use at most 8 widths from 1 to 1024");
        }
        self.volume.check()
    }

    /// The density network: `depth` trunk layers with biases, then the head without.
    fn density_spec(&self) -> MlpSpec {
        let input = 3 + 6 * self.frequencies;
        let trunk = (0..self.depth).map(|i| {
            let last = i + 1 == self.depth;
            Layer {
                out: if last { self.bottleneck } else { self.width },
                bias: true,
                activation: if last { Activation::None } else { Activation::Relu },
                concat_input: i > 0 && i == self.skip,
            }
        });
        let head = network::plain(self.bottleneck, &self.sigma_hidden, 1 + self.volume.latent);
        MlpSpec { input, layers: trunk.chain(head.layers).collect() }
    }
}

impl Mlp {
    /// Names and shapes of the parameters.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &MlpConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        config.check()?;
        Ok(vec![
            ("density_net", [1, config.density_spec().param_count()]),
            ("colour_net", [1, config.volume.colour_spec().param_count()]),
        ])
    }

    /// First values of the parameters, by Glorot.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn draw(config: &MlpConfig, _scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        config.check()?;
        let mut rng = Rng::new(seed, "mlp networks");
        Ok(vec![
            network::init(&config.density_spec(), &mut rng, device),
            network::init(&config.volume.colour_spec(), &mut rng, device),
        ])
    }

    /// A field with these parameters, of the shapes that [`Mlp::shapes`] gives.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &MlpConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        config.check()?;
        let [density_net, colour_net] = crate::registry::exactly(tensors)?;
        let core = VolumeCore::new(&config.volume, scene)?;
        Ok(Self { density_spec: config.density_spec(), config: config.clone(), core, density_net, colour_net })
    }

    /// `[n, 3]` warped positions to `[n, 1 + latent]`.
    fn density(&self, x: Tensor<2>) -> Tensor<2> {
        let encoded = ops::pointwise::frequency_encode(x, self.config.frequencies);
        ops::mlp::mlp(encoded, self.density_net.clone(), &self.density_spec)
    }

    fn network(&self, name: &str) -> Option<MlpSpec> {
        match name {
            "density_net" => Some(self.density_spec.clone()),
            "colour_net" => Some(self.config.volume.colour_spec()),
            _ => None,
        }
    }

    /// What `wgsl/fields/mlp.wgsl` reads.
    fn shader(&self) -> FieldSnapshot {
        let mut constants = head_constants(&self.config.volume);
        constants.push(("FREQUENCIES", self.config.frequencies.into()));
        FieldSnapshot {
            file: "fields/mlp",
            constants,
            buffers: Vec::new(),
            nets: vec![
                net("density", &self.density_spec, &self.density_net),
                net("colour", &self.core.colour_spec, &self.colour_net),
            ],
        }
    }

    fn named_params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "density_net", group: "network", tensor: &self.density_net },
            Param { name: "colour_net", group: "network", tensor: &self.colour_net },
        ]
    }

    fn named_params_mut(&mut self) -> Vec<ParamMut<'_>> {
        vec![
            ParamMut { name: "density_net", group: "network", tensor: &mut self.density_net },
            ParamMut { name: "colour_net", group: "network", tensor: &mut self.colour_net },
        ]
    }
}

volume_field!(Mlp);
