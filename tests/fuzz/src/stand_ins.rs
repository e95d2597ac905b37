//! What readers name of fields: configurations as their JSON has them, without what is done with them.

use glam::{Quat, Vec3};
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

/// `files::field::VERSION`
pub const VERSION: u32 = 1;
/// `parts::core::SH_DIM`
pub const SH_DIM: usize = 16;
/// `field::MAX_POSES`
pub const MAX_POSES: usize = 64;
/// `field::ASPECTS`
pub const ASPECTS: std::ops::RangeInclusive<f32> = 0.01..=100.0;

/// `files::field::Provenance`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    pub made_by: String,
    pub from: String,
    pub steps: u32,
    pub seconds: f32,
    pub seed: u64,
    pub preset: String,
    pub background: Option<[f32; 3]>,
}

/// `data::Similarity`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    pub scale: f32,
    pub rotation: Quat,
    pub translation: Vec3,
}

impl Default for Similarity {
    fn default() -> Self {
        Self { scale: 1.0, rotation: Quat::IDENTITY, translation: Vec3::ZERO }
    }
}

impl Similarity {
    pub fn point(&self, x: Vec3) -> Vec3 {
        self.scale * (self.rotation * x) + self.translation
    }

    pub fn inverse_point(&self, x: Vec3) -> Vec3 {
        self.rotation.inverse() * ((x - self.translation) / self.scale)
    }
}

/// `field::Scene`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub bounds: Aabb,
    pub unbounded: bool,
    pub scene_from_dataset: Similarity,
    pub near_far: [f32; 2],
    pub extent: f32,
    pub cameras: Vec<Pose>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            bounds: Aabb::new(Vec3::NEG_ONE, Vec3::ONE),
            unbounded: false,
            scene_from_dataset: Similarity::default(),
            near_far: [0.05, 100.0],
            extent: 1.0,
            cameras: Vec::new(),
        }
    }
}

/// `field::Pose`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    pub position: Vec3,
    pub rotation: Quat,
    pub fov_y: f32,
    pub aspect: f32,
}

/// `registry::FieldConfig`, of the kinds that are read or written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum FieldConfig {
    Hash(HashConfig),
    Voxels(VoxelsConfig),
}

impl FieldConfig {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hash(_) => "hash",
            Self::Voxels(_) => "voxels",
        }
    }
}

/// `kinds::hash::HashConfig`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HashConfig {
    pub levels: usize,
    pub features: usize,
    pub log2_table_size: u32,
    pub base_resolution: u32,
    pub finest_resolution: u32,
    pub log2_growth: Option<f32>,
    #[serde(default)]
    pub far_points: bool,
    pub sigma_hidden: Vec<usize>,
    pub volume: VolumeConfig,
}

/// `parts::core::VolumeConfig`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeConfig {
    pub latent: usize,
    pub colour_hidden: Vec<usize>,
    pub log_sigma_range: [f32; 2],
    pub occupancy_resolution: u32,
    pub samples_per_diagonal: u32,
    pub cone_angle: f32,
    pub colour_encoding: ColourEncoding,
}

/// `parts::core::ColourEncoding`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourEncoding {
    #[default]
    Sh,
    Fourier,
}

/// `kinds::voxels::VoxelsConfig`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoxelsConfig {
    pub resolution: u32,
    pub ball: bool,
    pub density: Density,
    pub colour: Colour,
    pub initial_sigma: f32,
    pub volume: VoxelSpace,
}

/// `kinds::voxels::VoxelSpace`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoxelSpace {
    pub log_sigma_range: [f32; 2],
    pub occupancy_resolution: u32,
    pub samples_per_diagonal: u32,
    pub cone_angle: f32,
}

/// `kinds::voxels::Density`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Density {
    Linear,
    Exp,
}

/// `ops::voxels::Colour`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    Clip,
    Sigmoid,
}

/// `burn_cubecl::CubeDevice`
#[derive(Clone, Debug, PartialEq)]
pub struct CubeDevice;

/// `ops::gpu::Buffer`
#[derive(Clone, Debug)]
pub struct Buffer;

impl Buffer {
    pub fn new(_client: &(), _words: &[u32]) -> Self {
        Self
    }
}

/// `ops::kernel::CubeTensor`
pub struct CubeTensor {
    pub device: CubeDevice,
    pub client: (),
}
