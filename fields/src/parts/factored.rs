//! What `vm` and `cp` share: a factorised grid (`TensoRF`, Chen et al. 2022) over a box that can shrink to what views see,
//! a linear basis from its products to the latent, and the colour network of every volume.

mod start;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation};
use glam::Vec3;
use retort_shaders::Aabb;
use retort_shaders::snapshot::{Constant, FieldSnapshot, Words};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::field::{Param, ParamMut, Reshape, Scene, Source, tensor, values};
use crate::ops;
use crate::ops::factors::penalty::{Measure, penalty};
use crate::ops::factors::reshape::{cropped, resampled};
use crate::ops::factors::{FactorSpec, Form};
use crate::ops::mlp::spec::MlpSpec;
use crate::parts::core::{VolumeConfig, VolumeCore, volume_field};
use crate::parts::network;
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;
use crate::snapshot::{head_constants, net};

/// The shape of a factorised field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactoredConfig {
    /// Grid points along each axis.
    pub resolution: [u32; 3],
    /// The box of the grid in warped scene units, lower and upper corner, where it is not the scene's; there is nothing
    /// outside.
    #[serde(default)]
    pub bounds: Option<[[f32; 3]; 2]>,
    /// Ranks of the density (of `vm` for each of its three modes).
    pub sigma_rank: usize,
    /// Ranks of the appearance (of `vm` for each of its three modes).
    pub app_rank: usize,
    /// How a density comes of its feature.
    pub density: DensityActivation,
    /// Added to the density feature.
    #[serde(default)]
    pub density_shift: f32,
    /// What the density is multiplied with: from the units of the published code to those of the scene.
    #[serde(default = "one")]
    pub density_scale: f32,
    /// What every volume has.
    pub volume: VolumeConfig,
}

fn one() -> f32 {
    1.0
}

/// How a density comes of its feature `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DensityActivation {
    /// `σ = scale · exp(f + shift)` (PVD).
    Exp,
    /// `σ = scale · ln(1 + exp(f + shift))` (`TensoRF`).
    Softplus,
}

/// The density feature outside the box: below every range that a log-density may be clamped to.
const OUTSIDE: f32 = -40.0;

impl FactoredConfig {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if let Some([low, high]) = self.bounds
            && !(0..3).all(|a| low[a] < high[a] && low[a].abs() <= 1e3 && high[a].abs() <= 1e3)
        {
            return bad("bounds", "use a lower and an upper corner, or leave it out");
        }
        if !(self.density_shift.abs() <= 30.0) {
            return bad("density_shift", "use -30 to 30");
        }
        if !(1e-3..=1e3).contains(&self.density_scale) {
            return bad("density_scale", "use 0.001 to 1000");
        }
        self.volume.check()
    }

    fn spec(&self, form: Form) -> Result<FactorSpec> {
        self.check()?;
        let scale = if self.density == DensityActivation::Exp { self.density_scale.ln() } else { 0.0 };
        let spec = FactorSpec {
            form,
            resolution: self.resolution,
            sigma_rank: self.sigma_rank,
            app_rank: self.app_rank,
            latent: self.volume.latent,
            offset: self.density_shift + scale,
            outside: OUTSIDE,
        };
        spec.check()?;
        Ok(spec)
    }
}

/// A factorised field: `vm` of planes and lines, or `cp` of lines alone.
#[derive(Clone, Debug)]
pub struct Factored<const PLANES: bool> {
    /// Its present shape.
    pub config: FactoredConfig,
    core: VolumeCore,
    spec: FactorSpec,
    /// Grid points of all planes and lines, `[rows, sigma_rank + app_rank]`, as [`FactorSpec`] lays them out.
    factors: Tensor<2>,
    /// From products to the latent, `[latent, products]`.
    basis: Tensor<2>,
    /// The colour network, `[1, parameters]`.
    colour_net: Tensor<2>,
}

impl<const PLANES: bool> Factored<PLANES> {
    const FORM: Form = if PLANES { Form::Planes } else { Form::Lines };

    /// Names and shapes of the parameters.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &FactoredConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        let spec = config.spec(Self::FORM)?;
        Ok(vec![
            ("factors", [spec.rows(), spec.columns()]),
            ("basis", [spec.latent, spec.products()]),
            ("colour_net", [1, config.volume.colour_spec().param_count()]),
        ])
    }

    /// First values of the parameters: factors normal, of standard deviation 0.1 for `vm` and 0.2 for `cp` as published;
    /// basis and network by Glorot.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn draw(config: &FactoredConfig, _scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        let spec = config.spec(Self::FORM)?;
        let mut rng = Rng::new(seed, "factors");
        let spread = if PLANES { 0.1 } else { 0.2 };
        let factors = (0..spec.rows() * spec.columns()).map(|_| spread * rng.normal()).collect();
        let mut rng = Rng::new(seed, "factored networks");
        let bound = (6.0 / (spec.latent + spec.products()) as f32).sqrt();
        let basis = (0..spec.latent * spec.products()).map(|_| rng.range(-bound, bound)).collect();
        Ok(vec![
            tensor(factors, [spec.rows(), spec.columns()], device),
            tensor(basis, [spec.latent, spec.products()], device),
            network::init(&config.volume.colour_spec(), &mut rng, device),
        ])
    }

    /// A field with these parameters, of the shapes that [`Factored::shapes`] gives.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &FactoredConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        let spec = config.spec(Self::FORM)?;
        let [factors, basis, colour_net] = crate::registry::exactly(tensors)?;
        let core = VolumeCore::new(&config.volume, scene)?;
        Ok(Self { config: config.clone(), core, spec, factors, basis, colour_net })
    }

    /// The box of the grid, warped.
    fn bounds(&self) -> Aabb {
        match self.config.bounds {
            None => self.core.scene.bounds,
            Some([low, high]) => Aabb { min: low.into(), max: high.into() },
        }
    }

    /// Warped positions `[n, 3]` to `[0, 1]³` in the box of the grid.
    fn unit(&self, x: Tensor<2>) -> Tensor<2> {
        if self.config.bounds.is_none() {
            return self.core.unit(x);
        }
        let (device, bounds) = (x.device(), self.bounds());
        let row = |v: Vec3| Tensor::<1>::from_floats(v.to_array(), &device).reshape([1, 3]);
        (x - row(bounds.min)) / row(bounds.size())
    }

    /// `[n, 3]` warped positions to `[n, 1 + latent]`.
    fn density(&self, x: Tensor<2>) -> Tensor<2> {
        let sampled = ops::factors::factors(self.unit(x), self.factors.clone(), self.basis.clone(), &self.spec);
        if self.config.density == DensityActivation::Exp {
            return sampled;
        }
        let feature = ops::pointwise::columns(sampled.clone(), 0, 1);
        let latent = ops::pointwise::columns(sampled, 1, self.spec.latent);
        Tensor::cat(vec![log_softplus(feature).add_scalar(self.config.density_scale.ln()), latent], 1)
    }

    fn network(&self, name: &str) -> Option<MlpSpec> {
        (name == "colour_net").then(|| self.config.volume.colour_spec())
    }

    /// What `wgsl/fields/factors.wgsl` reads.
    fn shader(&self) -> FieldSnapshot {
        let (spec, bounds) = (&self.spec, self.bounds());
        let mut constants = head_constants(&self.config.volume);
        constants.extend([
            ("RESOLUTION", Constant::Vec3u(spec.resolution)),
            ("GRID_LOW", Constant::Vec3f(bounds.min.to_array())),
            ("GRID_SIZE", Constant::Vec3f(bounds.size().to_array())),
            ("PLANES", PLANES.into()),
            ("MODES", spec.modes().into()),
            ("SIGMA_RANK", spec.sigma_rank.into()),
            ("APP_RANK", spec.app_rank.into()),
            ("COLUMNS", spec.columns().into()),
            ("OFFSET", spec.offset.into()),
            ("OUTSIDE", spec.outside.into()),
            ("SOFTPLUS", (self.config.density == DensityActivation::Softplus).into()),
            ("LOG_SCALE", self.config.density_scale.ln().into()),
        ]);
        // From `[latent, products]` to a row for each product, in whole vectors.
        let (basis, products) = (values(self.basis.clone()), spec.products());
        let padded = spec.latent.next_multiple_of(4);
        let value = |i: usize| {
            let (p, k) = (i / padded, i % padded);
            if k < spec.latent { basis[k * products + p] } else { 0.0 }
        };
        let by_product = (0..products * padded).map(value).collect();
        FieldSnapshot {
            file: "fields/factors",
            constants,
            buffers: vec![Words::F32(values(self.factors.clone())), Words::F32(by_product)],
            nets: vec![net("colour", &self.core.colour_spec, &self.colour_net)],
        }
    }

    fn named_params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "factors", group: "factors", tensor: &self.factors },
            Param { name: "basis", group: "network", tensor: &self.basis },
            Param { name: "colour_net", group: "network", tensor: &self.colour_net },
        ]
    }

    fn named_params_mut(&mut self) -> Vec<ParamMut<'_>> {
        vec![
            ParamMut { name: "factors", group: "factors", tensor: &mut self.factors },
            ParamMut { name: "basis", group: "network", tensor: &mut self.basis },
            ParamMut { name: "colour_net", group: "network", tensor: &mut self.colour_net },
        ]
    }

    /// Cuts the box to what is kept, then samples the factors on another number of grid points.
    fn change_shape(&mut self, change: &Reshape<'_>) -> Result<bool> {
        let (mut spec, mut bounds, mut table) = (self.spec.clone(), self.bounds(), None);
        let kept = change.keep.filter(|_| change.shrink).and_then(box_of);
        let cut = kept.map(|kept| grid_points_around(&kept, &bounds, spec.resolution));
        let cut = cut.filter(|(low, high)| *low != [0; 3] || *high != spec.resolution.map(|r| r - 1));
        if let Some((low, high)) = cut {
            let step = bounds.size() / spec.cells();
            let place = |i: [u32; 3]| bounds.min + step * Vec3::from_array(i.map(|i| i as f32));
            bounds = Aabb { min: place(low), max: place(high) };
            let (part, values) = cropped(&spec, &values(self.factors.clone()), low, high);
            (spec, table) = (part, Some(values));
        }
        let resolution = change.resolution.map_or(spec.resolution, |edge| near_cubes(edge, bounds.size()));
        if resolution != spec.resolution {
            let finer = FactorSpec { resolution, ..spec.clone() };
            finer.check()?;
            let old = table.unwrap_or_else(|| values(self.factors.clone()));
            (table, spec) = (Some(resampled(&spec, &old, &finer)), finer);
        }
        let Some(table) = table else { return Ok(false) };
        if let Some(kept) = kept.filter(|_| cut.is_some()) {
            self.config.bounds = Some([bounds.min.to_array(), bounds.max.to_array()]);
            let mut grid = Occupancy::clone(&self.core.occupancy);
            let old = Arc::clone(&self.core.occupancy);
            grid.exclude_cells(|cell| !kept.contains(old.cell_centre(cell)));
            self.core.occupancy = Arc::new(grid);
        }
        self.factors = tensor(table, [spec.rows(), spec.columns()], &self.factors.device());
        self.config.resolution = spec.resolution;
        self.spec = spec;
        Ok(true)
    }

    fn named_penalty(&self, name: &str) -> Option<Tensor<1>> {
        let (sigma, all) = (self.spec.sigma_rank, self.spec.columns());
        let (measure, columns) = match name {
            "l1" => (Measure::Size, 0..sigma),
            "tv_sigma" => (Measure::Roughness, 0..sigma),
            "tv_app" => (Measure::Roughness, sigma..all),
            _ => return None,
        };
        Some(penalty(self.factors.clone(), &self.spec, measure, columns))
    }
}

/// `ln ln(1 + exp z)`, with its asymptote `z` below −8: in single precision `1 + exp z` loses what is left there.
fn log_softplus(z: Tensor<2>) -> Tensor<2> {
    const LOW: f32 = -8.0;
    let held = z.clone().clamp(LOW, 80.0);
    activation::softplus(held, 1.0).log() + z.sub_scalar(LOW).clamp_max(0.0)
}

/// The box around all occupied cells; nothing where there are none.
fn box_of(grid: &Occupancy) -> Option<Aabb> {
    let half = 0.5 / grid.cells_per_unit();
    let centres = grid.occupied().map(|cell| grid.cell_centre(cell));
    Aabb::around(centres).map(|b| Aabb { min: b.min - half, max: b.max + half })
}

/// The innermost grid points of `bounds` that hold `kept` between them, at least a cell apart.
fn grid_points_around(kept: &Aabb, bounds: &Aabb, resolution: [u32; 3]) -> ([u32; 3], [u32; 3]) {
    let at = |p: Vec3, a: usize| (p[a] - bounds.min[a]) / bounds.size()[a] * (resolution[a] - 1) as f32;
    // A face that lies on a grid point but for rounding takes that point.
    let low = [0, 1, 2].map(|a| ((at(kept.min, a) + 1e-3).floor().max(0.0) as u32).min(resolution[a] - 2));
    let high =
        [0, 1, 2].map(|a| ((at(kept.max, a) - 1e-3).ceil().max(0.0) as u32).clamp(low[a] + 1, resolution[a] - 1));
    (low, high)
}

/// Grid points along the axes of a box that has about `edge³` nearly cubic cells.
fn near_cubes(edge: u32, size: Vec3) -> [u32; 3] {
    let cell = (size.x * size.y * size.z).cbrt() / edge as f32;
    size.to_array().map(|length| ((length / cell).round() as u32).max(2))
}

macro_rules! factored_field {
    ($planes:literal) => {
        volume_field! {
            Factored<$planes>,
            fn reshape(&mut self, change: &Reshape<'_>) -> Result<bool> {
                self.change_shape(change)
            }
            fn take_over(&mut self, source: &Source<'_>) -> Result<bool> {
                self.taken_over(source)
            }
            fn grain(&self, resolution: Option<u32>) -> Option<f32> {
                let size = self.bounds().size();
                let edge = (size.x * size.y * size.z).cbrt();
                Some(resolution.map_or_else(|| self.cell(), |resolution| edge / resolution as f32))
            }
            fn penalty(&self, name: &str, _rng: &mut Rng) -> Option<Tensor<1>> {
                self.named_penalty(name)
            }
        }
    };
}
factored_field!(true);
factored_field!(false);

#[cfg(test)]
mod tests;
