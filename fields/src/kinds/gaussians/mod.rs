//! 3D Gaussians (Kerbl et al., "3D Gaussian Splatting", 2023): centres, log-scales, rotations, opacities and
//! spherical-harmonic colours, drawn front to back.
//!
//! `C = Σ cᵢ αᵢ Π_{j<i} (1 − αⱼ)`, `αᵢ = oᵢ exp(−½ dᵢᵀ Σ′⁻¹ dᵢ)`. Parameters are stored as the published files store
//! them: opacity as a logit, scale as a logarithm, quaternion w, x, y, z.

pub mod density;
mod mixture;
mod thin;

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};
use glam::Quat;
use retort_shaders::Camera;
use retort_shaders::snapshot::{Snapshot, SplatSnapshot};
use serde::{Deserialize, Serialize};

use self::density::{DensityConfig, DensityStats};
use self::mixture::Mixture;
use crate::error::{Error, Result};
use crate::field::{
    DensityEvent, Field, Filtered, Frame, Param, ParamMut, PointSample, Primitives, ProbedFrame, RenderOptions,
    RowPlan, Scene, Seed, tensor, values,
};
use crate::ops::splat::{SplatParams, SplatSpec, splat};
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

/// The zeroth spherical harmonic, `1 / (2√π)`.
pub const SH_C0: f32 = 0.282_094_79;

/// The shape of a set of Gaussians.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussiansConfig {
    /// Degree of the spherical harmonics, 1 to 3.
    pub sh_degree: u32,
    /// How many random Gaussians to start from where there are no points.
    pub initial: usize,
    /// Whether opacity makes up for the blur of the pixel (Mip-Splatting, Yu et al. 2024).
    pub antialias: bool,
    /// When Gaussians are cloned, split, pruned and reset.
    pub density: DensityConfig,
}

/// A set of Gaussians.
#[derive(Clone, Debug)]
pub struct Gaussians {
    /// Its shape.
    pub config: GaussiansConfig,
    scene: Scene,
    /// Centres in scene units, `[n, 3]`.
    means: Tensor<2>,
    /// ln of the standard deviations, `[n, 3]`.
    log_scales: Tensor<2>,
    /// Quaternions w, x, y, z, `[n, 4]`.
    rotations: Tensor<2>,
    /// Logits of the opacities, `[n, 1]`.
    raw_opacity: Tensor<2>,
    /// Constant colour coefficients, `[n, 3]`.
    sh_dc: Tensor<2>,
    /// The others, `[n, ((d + 1)² − 1) · 3]`, coefficient-major.
    sh_rest: Tensor<2>,
    stats: DensityStats,
    mixture: OnceLock<Arc<Mixture>>,
}

impl GaussiansConfig {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, want: &str| Err(Error::new(format!("field.{name} is out of range")).remedy(want));
        if !(1..=3).contains(&self.sh_degree) {
            return bad("sh_degree", "use 1 to 3");
        }
        if !(1..=20_000_000).contains(&self.initial) {
            return bad("initial", "use 1 to 20000000");
        }
        if let Some((name, want)) = self.density.mistake() {
            return bad(&format!("density.{name}"), want);
        }
        Ok(())
    }

    fn rest_width(&self) -> usize {
        3 * ((self.sh_degree as usize + 1).pow(2) - 1)
    }
}

impl Gaussians {
    /// Names and shapes of the parameters; the number of rows is free.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn shapes(config: &GaussiansConfig) -> Result<Vec<(&'static str, [usize; 2])>> {
        config.check()?;
        Ok(vec![
            ("means", [0, 3]),
            ("log_scales", [0, 3]),
            ("rotations", [0, 4]),
            ("raw_opacity", [0, 1]),
            ("sh_dc", [0, 3]),
            ("sh_rest", [0, config.rest_width()]),
        ])
    }

    /// First values: `config.initial` random ones in the scene's box, opacity 0.1, as the published training starts on
    /// synthetic scenes.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn draw(config: &GaussiansConfig, scene: &Scene, seed: u64, device: &Device) -> Result<Vec<Tensor<2>>> {
        config.check()?;
        let mut rng = Rng::new(seed, "gaussians");
        let n = config.initial;
        // The box is that of warped space; in an unbounded scene start inside the unit ball's cube.
        let reach = if scene.unbounded { scene.bounds.size() * 0.25 } else { scene.bounds.size() * 0.5 };
        let centre = scene.bounds.centre();
        let spacing = (reach.x * reach.y * reach.z * 8.0 / n as f32).cbrt();
        let seeds: Vec<Seed> = (0..n)
            .map(|_| {
                let position = [0, 1, 2].map(|a| centre[a] + reach[a] * rng.range(-1.0, 1.0));
                Seed::round(position, [rng.uniform(), rng.uniform(), rng.uniform()], 0.5 * spacing, 0.1)
            })
            .collect();
        Ok(planted(&seeds, config.rest_width(), device))
    }

    /// A set with these parameters, of the shapes that [`Gaussians::shapes`] gives.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn build(config: &GaussiansConfig, scene: &Scene, tensors: Vec<Tensor<2>>) -> Result<Self> {
        config.check()?;
        let [means, log_scales, rotations, raw_opacity, sh_dc, sh_rest] = crate::registry::exactly(tensors)?;
        let stats = DensityStats::new(means.dims()[0]);
        Ok(Self {
            config: config.clone(),
            scene: scene.clone(),
            means,
            log_scales,
            rotations,
            raw_opacity,
            sh_dc,
            sh_rest,
            stats,
            mixture: OnceLock::new(),
        })
    }

    fn spec(&self, camera: &Camera, degree: u32) -> SplatSpec {
        let view = camera.camera_from_world();
        let rows = view.matrix3.transpose();
        let row = |axis: glam::Vec3A, t: f32| [axis.x, axis.y, axis.z, t];
        SplatSpec {
            width: camera.width,
            height: camera.height,
            window: None,
            camera_from_world: [
                row(rows.x_axis, view.translation.x),
                row(rows.y_axis, view.translation.y),
                row(rows.z_axis, view.translation.z),
            ],
            focal: camera.focal.to_array(),
            centre: camera.centre.to_array(),
            near: self.scene.near_far[0],
            sh_degree: degree.min(self.config.sh_degree),
            sh_stored: self.config.sh_degree,
            antialias: self.config.antialias,
        }
    }

    fn picture(&self, camera: &Camera, degree: u32, probe: Tensor<2>) -> (Frame, Arc<Vec<f32>>) {
        let inputs = [
            self.means.clone(),
            self.log_scales.clone(),
            self.rotations.clone(),
            self.raw_opacity.clone(),
            self.sh_dc.clone(),
            self.sh_rest.clone(),
            probe,
        ];
        let (pixels, radii) = splat(inputs, &self.spec(camera, degree));
        (Frame { pixels, width: camera.width, height: camera.height }, radii)
    }

    fn mixture(&self) -> &Arc<Mixture> {
        self.mixture.get_or_init(|| Arc::new(self.mixture_through(0.0)))
    }

    fn mixture_through(&self, width: f32) -> Mixture {
        Mixture::new(
            [&self.means, &self.log_scales, &self.rotations, &self.raw_opacity].map(|t| values(t.clone())),
            [&self.sh_dc, &self.sh_rest].map(|t| values(t.clone())),
            self.config.sh_degree,
            width,
        )
    }

    fn rows(&self) -> usize {
        self.means.dims()[0]
    }

    /// Replaces every parameter by its new rows.
    fn take_rows(&mut self, plan: &RowPlan) {
        for param in self.params_mut() {
            let width = param.tensor.dims()[1];
            let device = param.tensor.device();
            let new = plan.gather(&values(param.tensor.clone()), width);
            *param.tensor = tensor(new, [plan.sources.len(), width], &device);
        }
        self.mixture = OnceLock::new();
    }
}

/// Parameters of Gaussians at these points.
fn planted(seeds: &[Seed], rest: usize, device: &Device) -> Vec<Tensor<2>> {
    let n = seeds.len();
    let flat = |pick: fn(&Seed) -> [f32; 3]| tensor(seeds.iter().flat_map(pick).collect(), [n, 3], device);
    let logit = |o: f32| (o / (1.0 - o)).ln();
    let raw_opacity = seeds.iter().map(|s| logit(s.opacity.clamp(1e-4, 1.0 - 1e-4))).collect();
    vec![
        flat(|s| s.position),
        flat(|s| [1.0, 1.0, s.flatness].map(|part| (part * s.scale).max(1e-6).ln())),
        tensor(seeds.iter().flat_map(turned).collect(), [n, 4], device),
        tensor(raw_opacity, [n, 1], device),
        flat(|s| s.rgb.map(|c| (c - 0.5) / SH_C0)),
        tensor(seeds.iter().flat_map(|s| harmonics(s, rest)).collect(), [n, rest], device),
    ]
}

/// The rotation that takes the third axis to the seed's normal: w, x, y, z.
fn turned(seed: &Seed) -> [f32; 4] {
    let normal = glam::Vec3::from(seed.normal);
    let q = if normal == glam::Vec3::ZERO { Quat::IDENTITY } else { Quat::from_rotation_arc(glam::Vec3::Z, normal) };
    [q.w, q.x, q.y, q.z]
}

/// As many of the seed's harmonics as there is room for, coefficient-major.
fn harmonics(seed: &Seed, rest: usize) -> impl Iterator<Item = f32> {
    seed.harmonics.into_iter().flatten().chain(std::iter::repeat(0.0)).take(rest)
}

/// What has been seen of the Gaussians, as bytes: three runs of `n` words.
fn stats_bytes(stats: &DensityStats) -> Vec<u8> {
    let sums = stats.grad_sum.iter().map(|v| v.to_le_bytes());
    let counts = stats.count.iter().map(|v| v.to_le_bytes());
    let radii = stats.max_radius.iter().map(|v| v.to_le_bytes());
    sums.chain(counts).chain(radii).flatten().collect()
}

impl Field for Gaussians {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![
            Param { name: "means", group: "means", tensor: &self.means },
            Param { name: "log_scales", group: "log_scales", tensor: &self.log_scales },
            Param { name: "rotations", group: "rotations", tensor: &self.rotations },
            Param { name: "raw_opacity", group: "raw_opacity", tensor: &self.raw_opacity },
            Param { name: "sh_dc", group: "sh_dc", tensor: &self.sh_dc },
            Param { name: "sh_rest", group: "sh_rest", tensor: &self.sh_rest },
        ]
    }

    fn params_mut(&mut self) -> Vec<ParamMut<'_>> {
        // Whoever asks is about to change them.
        self.mixture = OnceLock::new();
        vec![
            ParamMut { name: "means", group: "means", tensor: &mut self.means },
            ParamMut { name: "log_scales", group: "log_scales", tensor: &mut self.log_scales },
            ParamMut { name: "rotations", group: "rotations", tensor: &mut self.rotations },
            ParamMut { name: "raw_opacity", group: "raw_opacity", tensor: &mut self.raw_opacity },
            ParamMut { name: "sh_dc", group: "sh_dc", tensor: &mut self.sh_dc },
            ParamMut { name: "sh_rest", group: "sh_rest", tensor: &mut self.sh_rest },
        ]
    }

    fn render(&self, camera: &Camera, _options: &RenderOptions) -> Frame {
        let probe = Tensor::zeros([self.rows(), 2], &self.means.device());
        self.picture(camera, self.config.sh_degree, probe).0
    }

    fn extras(&self, full: bool) -> Vec<(&'static str, Vec<u8>)> {
        if full { vec![("density_stats", stats_bytes(&self.stats))] } else { Vec::new() }
    }

    fn set_extra(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let n = self.rows();
        if name != "density_stats" || bytes.len() != 12 * n {
            return Err(
                Error::new(format!("extra \"{name}\" does not fit {n} Gaussians")).remedy("the file is damaged")
            );
        }
        let words: Vec<[u8; 4]> = bytes.as_chunks::<4>().0.to_vec();
        let floats = |part: &[[u8; 4]]| part.iter().map(|w| f32::from_le_bytes(*w)).collect();
        self.stats = DensityStats {
            grad_sum: floats(&words[..n]),
            count: words[n..2 * n].iter().map(|w| u32::from_le_bytes(*w)).collect(),
            max_radius: floats(&words[2 * n..]),
        };
        Ok(())
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let [dc, rest] = [&self.sh_dc, &self.sh_rest].map(|t| values(t.clone()));
        let rows = dc.as_chunks::<3>().0.iter().zip(rest.chunks_exact(self.config.rest_width()));
        Some(Snapshot::Splats(Arc::new(SplatSnapshot {
            means: values(self.means.clone()),
            log_scales: values(self.log_scales.clone()),
            rotations: values(self.rotations.clone()),
            raw_opacity: values(self.raw_opacity.clone()),
            harmonics: rows.flat_map(|(dc, rest)| dc.iter().chain(rest).copied()).collect(),
            degree: self.config.sh_degree,
            antialias: self.config.antialias,
            near: self.scene.near_far[0],
        })))
    }

    fn as_primitives(&self) -> Option<&dyn Primitives> {
        Some(self)
    }

    fn as_primitives_mut(&mut self) -> Option<&mut dyn Primitives> {
        Some(self)
    }
}

impl Primitives for Gaussians {
    fn count(&self) -> usize {
        self.rows()
    }

    fn render_probed(&self, camera: &Camera, degree: u32) -> ProbedFrame {
        let probe = Tensor::zeros([self.rows(), 2], &self.means.device()).require_grad();
        let (frame, radii) = self.picture(camera, degree, probe.clone());
        ProbedFrame { frame, probe, radii }
    }

    fn observe(&mut self, camera: &Camera, probe_grad: &[f32], radii: &[f32]) {
        self.stats.add(probe_grad, radii, camera.width, camera.height);
    }

    fn densify(&mut self, step: u32, rng: &mut Rng) -> Vec<DensityEvent> {
        let mut events = Vec::new();
        let config = self.config.density.clone();
        if config.changes(step) {
            let host = [&self.means, &self.log_scales, &self.rotations, &self.raw_opacity].map(|t| values(t.clone()));
            let [means, log_scales, rotations, raw_opacity] = &host;
            let params = SplatParams { means, log_scales, rotations, raw_opacity, sh_dc: &[], sh_rest: &[] };
            let planned = density::plan(&config, step, &self.stats, &params, self.scene.extent, rng);
            let (mut means, mut log_scales) = (planned.rows.gather(means, 3), planned.rows.gather(log_scales, 3));
            planned.edit(&mut means, &mut log_scales);
            let n = planned.rows.sources.len();
            // Pruning the last one would leave nothing to learn with.
            if n > 0 {
                self.take_rows(&planned.rows);
                let device = self.means.device();
                self.means = tensor(means, [n, 3], &device);
                self.log_scales = tensor(log_scales, [n, 3], &device);
                self.stats = DensityStats::new(n);
                events.push(DensityEvent::Rows(planned.rows));
            }
        }
        if config.resets(step) {
            let device = self.means.device();
            let mut raw = values(self.raw_opacity.clone());
            density::reset_opacity(&mut raw, config.opacity_reset_to);
            let n = raw.len();
            self.raw_opacity = tensor(raw, [n, 1], &device);
            events.push(DensityEvent::Reset("raw_opacity"));
        }
        events
    }

    fn take_over(&mut self, other: &dyn Field, cameras: &[Camera]) -> bool {
        self.thinned(other, cameras)
    }

    fn plant(&mut self, seeds: &[Seed], device: &Device) {
        let tensors = planted(seeds, self.config.rest_width(), device);
        for (param, tensor) in self.params_mut().into_iter().zip(tensors) {
            *param.tensor = tensor;
        }
        self.stats = DensityStats::new(seeds.len());
    }

    fn sample(&self, x: &[f32], d: &[f32]) -> PointSample {
        self.mixture().sample(x, d)
    }

    fn filtered(&self, width: f32) -> Filtered {
        let mixture = if width > 0.0 { Arc::new(self.mixture_through(width)) } else { Arc::clone(self.mixture()) };
        Filtered::new(move |x, d| mixture.sample(x, d))
    }

    fn mark_occupied(&self, occupancy: &mut Occupancy) {
        self.mixture().mark_occupied(occupancy, self.scene.warp());
    }

    fn draw_points(&self, n: usize, rng: &mut Rng) -> Vec<f32> {
        self.mixture().draw_points(n, rng)
    }
}
