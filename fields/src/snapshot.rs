//! Fields as the viewport takes them: their numbers on the host, in the layout that the shaders read.

use retort_shaders::net::{Activation, Layer, Net};
use retort_shaders::snapshot::{Constant, FieldSnapshot, March, VolumeSnapshot, level_starts};

use burn::tensor::Tensor;

use crate::field::{RenderOptions, Volume, values};
use crate::ops::mlp::spec::{Activation as Applied, MlpSpec};
use crate::parts::core::{ColourEncoding, VolumeConfig};
use crate::parts::occupancy::{LEVELS, Occupancy};

/// A volume that is asked through `field`.
pub fn volume(volume: &dyn Volume, field: FieldSnapshot) -> VolumeSnapshot {
    let (spec, grid) = (volume.march_spec(), volume.occupancy());
    let (words, level_start) = pyramid(grid);
    let march = March {
        low: spec.bounds.min.to_array(),
        step: spec.step,
        size: spec.bounds.size().to_array(),
        cone_angle: spec.cone_angle,
        near: spec.near,
        far: spec.far,
        most: spec.max_samples_per_ray,
        stop: RenderOptions::default().stop,
        level_start,
        cells: grid.resolution(),
        unbounded: u32::from(spec.unbounded),
        spare: [0; 2],
    };
    VolumeSnapshot { march, occupancy: words, field }
}

/// The bits of every level of the pyramid in words of 32, and where each level starts.
fn pyramid(grid: &Occupancy) -> (Vec<u32>, [u32; LEVELS]) {
    let levels: [Vec<u32>; LEVELS] = std::array::from_fn(|level| {
        let halves = |word: &u64| [*word as u32, (word >> 32) as u32];
        grid.level_bits(level).iter().flat_map(halves).collect()
    });
    let starts = level_starts(std::array::from_fn(|level| levels[level].len()));
    (levels.concat(), starts)
}

/// A network with its parameters `[1, n]`, by the name that the shader uses.
pub fn net(name: &'static str, spec: &MlpSpec, params: &Tensor<2>) -> (&'static str, Net, Vec<f32>) {
    let layers = spec.layers.iter().map(|layer| Layer {
        out: layer.out,
        bias: layer.bias,
        activation: match layer.activation {
            Applied::None => Activation::None,
            Applied::Relu => Activation::Relu,
            Applied::Sigmoid => Activation::Sigmoid,
        },
        concat_input: layer.concat_input,
    });
    let net = Net { input: spec.input, layers: layers.collect() };
    let tiles = net.tiles(&values(params.clone()));
    (name, net, tiles)
}

/// The constants of every kind with a latent and a colour network.
pub fn head_constants(config: &VolumeConfig) -> Vec<(&'static str, Constant)> {
    let waves = config.colour_encoding == ColourEncoding::Fourier;
    let mut constants = vec![("LATENT", config.latent.into()), ("WAVES", waves.into())];
    constants.extend(range_constants(config.log_sigma_range));
    constants
}

/// What a log-density is clamped to.
pub fn range_constants([low, high]: [f32; 2]) -> [(&'static str, Constant); 2] {
    [("LOG_LOW", low.into()), ("LOG_HIGH", high.into())]
}
