//! What a representation is: the traits that training, conversion, files and the viewport use, and nothing more.
//!
//! A [`Field`] has parameters and can be asked for a picture. A [`Volume`] (progressive volume distillation, Fang et
//! al. 2023) is split in two blocks: position → density and latent, then latent and direction → colour. [`Primitives`]
//! are fields made of things that can be born and die, such as Gaussians; they have no latent, only a density.

use std::any::Any;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use glam::{Affine3A, Quat, Vec2, Vec3};
use retort_shaders::snapshot::Snapshot;
use retort_shaders::{Aabb, Camera, Distortion};
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Photo, Similarity, Split};
use crate::error::Result;
use crate::ops::march::spec::MarchSpec;
use crate::ops::mlp::spec::Matrix;
use crate::parts::contraction::Contraction;
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

/// Where a field lives: its frame and its extent, shared by every representation of one scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The box that holds the scene, in scene units; `[-1, 1]³` for a bounded scene, `[-2, 2]³` (the contraction's
    /// range) for an unbounded one.
    pub bounds: Aabb,
    /// Whether space beyond the unit ball is contracted to radius 2.
    pub unbounded: bool,
    /// From the coordinates of the photos it came from to scene units.
    pub scene_from_dataset: Similarity,
    /// Distances in scene units between which rays are sampled.
    pub near_far: [f32; 2],
    /// The radius of the ring of cameras in scene units, by which 3D Gaussian splatting measures its steps.
    pub extent: f32,
    /// Where photos were taken from, at most [`MAX_POSES`]: conversions draw their views around these.
    pub cameras: Vec<Pose>,
}

/// The most poses that a scene keeps.
pub const MAX_POSES: usize = 64;

/// The widths over heights that a pose may have: a drawn view of another one would take all memory.
pub const ASPECTS: std::ops::RangeInclusive<f32> = 0.01..=100.0;

/// Where a photo was taken from and what it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Scene units.
    pub position: Vec3,
    /// From camera axes (looking along −Z, +Y up) to scene axes.
    pub rotation: Quat,
    /// Vertical field of view, radians.
    pub fov_y: f32,
    /// Width over height, within [`ASPECTS`].
    pub aspect: f32,
}

impl Pose {
    /// The pose of a camera.
    pub fn of(camera: &Camera) -> Self {
        Self {
            position: camera.position(),
            rotation: Quat::from_mat3a(&camera.world_from_camera.matrix3),
            fov_y: camera.fov_y(),
            aspect: (camera.width as f32 / camera.height.max(1) as f32).clamp(*ASPECTS.start(), *ASPECTS.end()),
        }
    }

    /// A pinhole of this pose, for pictures of `width` × `height` pixels.
    pub fn camera(&self, width: u32, height: u32) -> Camera {
        Camera {
            world_from_camera: Affine3A::from_rotation_translation(self.rotation, self.position),
            width,
            height,
            focal: Vec2::splat(0.5 * height as f32 / (0.5 * self.fov_y).tan()),
            centre: Vec2::new(width as f32, height as f32) * 0.5,
            distortion: Distortion::default(),
        }
    }
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

impl Scene {
    /// How its positions become those that a field is asked at.
    pub fn warp(&self) -> Contraction {
        Contraction::of(self.unbounded)
    }
}

impl From<&Dataset> for Scene {
    fn from(data: &Dataset) -> Self {
        let positions: Vec<Vec3> = data.photos.iter().map(|p| p.camera.position()).collect();
        let centre = positions.iter().sum::<Vec3>() / positions.len().max(1) as f32;
        let radius = positions.iter().map(|p| p.distance(centre)).fold(0.0, f32::max);
        Self {
            bounds: data.bounds,
            unbounded: data.unbounded,
            scene_from_dataset: data.scene_from_dataset,
            near_far: if data.unbounded { [0.1, 1000.0] } else { [0.05, 100.0] },
            // As the published code: 1.1 times the ring's radius.
            extent: 1.1 * radius.max(1e-3),
            cameras: poses_of(&data.split(Split::Train)),
        }
    }
}

/// At most [`MAX_POSES`] poses, evenly taken.
fn poses_of(photos: &[&Photo]) -> Vec<Pose> {
    let kept = photos.len().min(MAX_POSES);
    (0..kept).map(|i| Pose::of(&photos[i * photos.len() / kept].camera)).collect()
}

/// A parameter tensor of a field, `[rows, columns]`, by name.
pub struct Param<'a> {
    /// Its name in files: `"table"`.
    pub name: &'static str,
    /// The learning-rate group that presets name: `"table"`, `"network"`, `"means"`.
    pub group: &'static str,
    /// The values.
    pub tensor: &'a Tensor<2>,
}

/// The same, to be replaced.
pub struct ParamMut<'a> {
    /// Its name in files.
    pub name: &'static str,
    /// The learning-rate group that presets name.
    pub group: &'static str,
    /// The values.
    pub tensor: &'a mut Tensor<2>,
}

/// A picture: colours premultiplied by alpha and without background, row-major from the top left.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Colour, alpha and depth, `[h·w, 5]`: rgb in `[0, 1]` (sRGB-encoded, premultiplied), alpha, and the expected
    /// depth in scene units weighted by alpha: along the ray for volumes, along the view axis for primitives.
    pub pixels: Tensor<2>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Frame {
    /// Colour over `background`, `[h·w, 3]`.
    pub fn over(&self, background: [f32; 3]) -> Tensor<2> {
        over(self.pixels.clone(), background)
    }

    /// Colour over `background` as host values `[h·w·3]`, clipped to `[0, 1]`.
    pub fn rgb_over(&self, background: [f32; 3]) -> Vec<f32> {
        let pixels = values(self.pixels.clone());
        pixels
            .chunks_exact(5)
            .flat_map(|p| [0, 1, 2].map(|c| (p[c] + (1.0 - p[3]) * background[c]).clamp(0.0, 1.0)))
            .collect()
    }
}

/// Composites `pixels` `[n, 5]` over a background: `rgb + (1 − alpha) · background`, `[n, 3]`.
pub fn over(pixels: Tensor<2>, background: [f32; 3]) -> Tensor<2> {
    let n = pixels.dims()[0];
    let device = pixels.device();
    let background = Tensor::<1>::from_floats(background, &device).reshape([1, 3]);
    let clear = pixels.clone().slice([0..n, 3..4]).neg().add_scalar(1.0);
    pixels.slice([0..n, 0..3]) + clear.matmul(background)
}

/// The values of a tensor on the host, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("fields compute in float32")
}

/// A rank-2 tensor from host values.
pub fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Options of a picture.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// A ray ends where less than this much of its light is left.
    pub stop: f32,
    /// How many rays are in memory at a time.
    pub chunk: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { stop: 1e-3, chunk: 4096 }
    }
}

/// A radiance field of any kind.
pub trait Field: Any + Send + Sync {
    /// Its frame and extent.
    fn scene(&self) -> &Scene;

    /// Its parameters, in a fixed order.
    fn params(&self) -> Vec<Param<'_>>;

    /// Its parameters, to be replaced in the same order.
    fn params_mut(&mut self) -> Vec<ParamMut<'_>>;

    /// A differentiable picture from `camera`.
    fn render(&self, camera: &Camera, options: &RenderOptions) -> Frame;

    /// State that is not trained but saved: named bytes, such as the occupancy grid. `full` adds what training needs to
    /// go on bit for bit and a finished file does not.
    fn extras(&self, full: bool) -> Vec<(&'static str, Vec<u8>)> {
        let _ = full;
        Vec::new()
    }

    /// Takes back what [`Field::extras`] gave.
    ///
    /// # Errors
    /// When the bytes are not what this kind wrote.
    fn set_extra(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(crate::error::Error::new(format!("unknown extra \"{name}\"")))
    }

    /// Whether parameters and extras, which a file gives one by one, belong together.
    ///
    /// # Errors
    /// When they do not.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The field as two blocks, if it is a volume.
    fn as_volume(&self) -> Option<&dyn Volume> {
        None
    }

    /// The same, to be changed.
    fn as_volume_mut(&mut self) -> Option<&mut dyn Volume> {
        None
    }

    /// The field as primitives, if it is made of them.
    fn as_primitives(&self) -> Option<&dyn Primitives> {
        None
    }

    /// The same, to be changed.
    fn as_primitives_mut(&mut self) -> Option<&mut dyn Primitives> {
        None
    }

    /// Its numbers as the viewport draws them, on the host; `None` where there is no shader for it, then a picture is asked
    /// of [`Field::render`].
    fn snapshot(&self) -> Option<Snapshot> {
        None
    }

    /// The device that its parameters live on.
    fn device(&self) -> Device {
        self.params()[0].tensor.device()
    }

    /// The weight matrices within the flat parameter `name`, in rising order; a second-order optimiser wants to know.
    fn matrices(&self, name: &str) -> Vec<Matrix> {
        let _ = name;
        Vec::new()
    }

    /// The number of trained values.
    fn param_count(&self) -> usize {
        self.params().iter().map(|p| p.tensor.dims().iter().product::<usize>()).sum()
    }
}

/// What block 1 gives for `n` points.
#[derive(Clone, Debug)]
pub struct Latent {
    /// Natural logarithm of the density per scene unit, clamped, `[n, 1]`.
    pub log_sigma: Tensor<2>,
    /// The feature vector, `[n, k]`; what it means is the field's own affair unless two fields share its width.
    pub latent: Tensor<2>,
}

/// A field with a density everywhere: progressive distillation's two blocks.
pub trait Volume: Field {
    /// The width `k` of the latent if it is a learned feature that another field can be taught, `None` where it is not
    /// (spherical-harmonic coefficients, for example).
    fn latent_dim(&self) -> Option<usize>;

    /// Positions `[n, 3]` in warped scene units (contracted where the scene is unbounded) to density and latent.
    fn block1(&self, x: Tensor<2>) -> Latent;

    /// The clamped log-density alone, `[n, 1]`, for those who need no more; as [`Volume::block1`] gives it.
    fn log_sigma(&self, x: Tensor<2>) -> Tensor<2> {
        self.block1(x).log_sigma
    }

    /// Latent and unit view directions `[n, 3]` to colour in `[0, 1]`, `[n, 3]`.
    fn block2(&self, latent: Tensor<2>, d: Tensor<2>) -> Tensor<2>;

    /// Where the field is not empty.
    fn occupancy(&self) -> &Arc<Occupancy>;

    /// Replaces the occupancy grid.
    fn set_occupancy(&mut self, occupancy: Arc<Occupancy>);

    /// How rays are sampled.
    fn march_spec(&self) -> MarchSpec;

    /// What the log-density is clamped to.
    fn log_sigma_range(&self) -> [f32; 2];

    /// Changes its shape as a schedule asks: a finer grid, cells given up, a smaller box. Returns whether it did; then
    /// the parameters are new ones. The occupancy grid stays. A kind without a shape to change returns false.
    ///
    /// # Errors
    /// When the asked shape is out of its range.
    fn reshape(&mut self, change: &Reshape<'_>) -> Result<bool> {
        let _ = change;
        Ok(false)
    }

    /// Takes over from another field of the same scene what needs no training, where the occupancy grid is full. Returns
    /// whether it did; then the parameters are new ones.
    ///
    /// # Errors
    /// When the asked shape is out of its range.
    fn take_over(&mut self, source: &Source<'_>) -> Result<bool> {
        let _ = source;
        Ok(false)
    }

    /// The length over which its values can change freely, in warped scene units, once it has grown to `resolution` where
    /// that is given (as in [`Reshape::resolution`]); `None` where its size does not tell, as with networks.
    fn grain(&self, resolution: Option<u32>) -> Option<f32> {
        let _ = resolution;
        None
    }

    /// A regulariser by the name that presets use, `[1]`: `"tv_sigma"`, `"l1"`; `None` where the kind has none of that
    /// name. `rng` draws the part of the field that is looked at.
    fn penalty(&self, name: &str, rng: &mut Rng) -> Option<Tensor<1>> {
        let _ = (name, rng);
        None
    }
}

/// What is to become of a field that is made of grids.
#[derive(Clone, Copy, Debug)]
pub struct Reshape<'a> {
    /// Cells along the longest edge from now on (`vm` and `cp`: the edge of a cube of as many cells as the box has).
    pub resolution: Option<u32>,
    /// Where light of the views reaches something; what lies elsewhere may be given up.
    pub keep: Option<&'a Occupancy>,
    /// Whether the box shrinks to `keep`.
    pub shrink: bool,
}

/// The density and colour that volume-level distillation reads, `n` points.
pub struct PointSample {
    /// Log-density per scene unit `[n]`; negative infinity where there is nothing.
    pub log_sigma: Vec<f32>,
    /// Colour in `[0, 1]`, `[n, 3]`.
    pub rgb: Vec<f32>,
}

/// Primitives through a filter, see [`Primitives::filtered`].
#[derive(Clone)]
pub struct Filtered(Arc<SampleOf>);

type SampleOf = dyn Fn(&[f32], &[f32]) -> PointSample + Send + Sync;

impl Filtered {
    /// What `sample` says, as [`Primitives::sample`] does.
    pub fn new(sample: impl Fn(&[f32], &[f32]) -> PointSample + Send + Sync + 'static) -> Self {
        Self(Arc::new(sample))
    }

    /// Density and colour at `x` `[n, 3]`, seen along `d` `[n, 3]`.
    pub fn sample(&self, x: &[f32], d: &[f32]) -> PointSample {
        (self.0)(x, d)
    }
}

impl std::fmt::Debug for Filtered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filtered")
    }
}

/// Another field, asked at points `[n, 3]` in warped scene units along some unit directions for each, `[n, k, 3]`:
/// log-density `[n]` and colour `[n, k, 3]`.
pub type Ask<'a> = dyn Fn(&[f32], &[f32]) -> PointSample + 'a;

/// Another field's first block, asked at points `[n, 3]` in warped scene units: log-density `[n]` and latent `[n, k]`.
pub type AskBlock1<'a> = dyn Fn(&[f32]) -> (Vec<f32>, Vec<f32>) + 'a;

/// Another field of the same scene that one begins from, see [`Volume::take_over`].
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The field itself, for kinds that know their own.
    pub field: &'a dyn Field,
    /// What it says of points.
    pub ask: &'a Ask<'a>,
    /// Its first block, where both have the same colour network.
    pub block1: Option<&'a AskBlock1<'a>>,
    /// Cells along the longest edge to begin with, where other than what the field has; see [`Reshape::resolution`].
    pub resolution: Option<u32>,
}

/// A picture during training, with what density control needs.
pub struct ProbedFrame {
    /// The picture.
    pub frame: Frame,
    /// Zeros `[n, 2]` whose gradient is that of each primitive's position on the picture, in pixels.
    pub probe: Tensor<2>,
    /// Radius of each primitive on the picture in pixels, 0 where it is not seen, `[n]`.
    pub radii: Arc<Vec<f32>>,
}

/// How rows of the parameters change when primitives are born and die.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowPlan {
    /// New row `i` is a copy of old row `sources[i]`.
    pub sources: Vec<u32>,
    /// Whether row `i` starts with empty optimiser state.
    pub fresh: Vec<bool>,
}

impl RowPlan {
    /// The new rows of a parameter `[old rows, width]`, `[new rows, width]`.
    #[must_use]
    pub fn gather(&self, values: &[f32], width: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.sources.len() * width);
        for &source in &self.sources {
            rows.extend_from_slice(&values[source as usize * width..][..width]);
        }
        rows
    }

    /// The new rows of an optimiser's state, of the same shapes: zero where fresh.
    #[must_use]
    pub fn gather_state(&self, values: &[f32], width: usize) -> Vec<f32> {
        let mut rows = self.gather(values, width);
        for (i, _) in self.fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
            rows[i * width..][..width].fill(0.0);
        }
        rows
    }
}

/// A point from which a primitive starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seed {
    /// Position in scene units.
    pub position: [f32; 3],
    /// Colour in `[0, 1]`.
    pub rgb: [f32; 3],
    /// Standard deviation in scene units.
    pub scale: f32,
    /// Opacity in (0, 1).
    pub opacity: f32,
    /// The unit normal of the surface that it lies on, across which it is flatter; zero where it is round.
    pub normal: [f32; 3],
    /// Its standard deviation along the normal, as a part of `scale`.
    pub flatness: f32,
    /// Coefficients of the spherical harmonics of degree 1 and 2, which add to the colour.
    pub harmonics: [[f32; 3]; 8],
}

impl Seed {
    /// A ball of one colour.
    pub fn round(position: [f32; 3], rgb: [f32; 3], scale: f32, opacity: f32) -> Self {
        Self { position, rgb, scale, opacity, normal: [0.0; 3], flatness: 1.0, harmonics: [[0.0; 3]; 8] }
    }
}

/// A field made of primitives that can be born and die.
pub trait Primitives: Field {
    /// How many there are.
    fn count(&self) -> usize;

    /// A differentiable picture with its probe; `degree` is the highest spherical-harmonic degree in use.
    fn render_probed(&self, camera: &Camera, degree: u32) -> ProbedFrame;

    /// Notes the probe's gradient `[n, 2]` of one picture.
    fn observe(&mut self, camera: &Camera, probe_grad: &[f32], radii: &[f32]);

    /// Clones, splits and prunes by the published rules; `step` counts from 1. Returns how rows moved, so that the
    /// optimiser's state can follow.
    fn densify(&mut self, step: u32, rng: &mut Rng) -> Vec<DensityEvent>;

    /// Takes over another field of the same scene if it is of primitives of the same sort: those that show most in pictures
    /// from `cameras`, where there is no room for all. Returns whether it did.
    fn take_over(&mut self, other: &dyn Field, cameras: &[Camera]) -> bool {
        let _ = (other, cameras);
        false
    }

    /// Starts over from these points.
    fn plant(&mut self, seeds: &[Seed], device: &Device);

    /// Density and colour of the mixture at `x` `[n, 3]`, seen along `d` `[n, 3]`.
    fn sample(&self, x: &[f32], d: &[f32]) -> PointSample;

    /// The same through a filter of this standard deviation in scene units, which keeps what there is in all: as a grid can
    /// hold it whose points are about twice as far apart. Its density is that of primitives seen from their flat side,
    /// whichever way they are looked at.
    fn filtered(&self, width: f32) -> Filtered;

    /// Occupies the cells within three standard deviations of any primitive, and no others.
    fn mark_occupied(&self, occupancy: &mut Occupancy);

    /// Where the field is not empty: those cells and all that touch them, in a grid over the scene's box.
    ///
    /// # Panics
    /// If there is no grid of this resolution: see [`Occupancy::check`].
    fn occupancy_grid(&self, resolution: u32) -> Occupancy {
        let mut grid = Occupancy::new_full(resolution, self.scene().bounds);
        self.mark_occupied(&mut grid);
        grid.dilate();
        grid
    }

    /// Draws `n` points where the mass is, `[n, 3]`.
    fn draw_points(&self, n: usize, rng: &mut Rng) -> Vec<f32>;
}

/// What density control did to the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum DensityEvent {
    /// Rows moved.
    Rows(RowPlan),
    /// Every value of one parameter was replaced: its optimiser state starts over.
    Reset(&'static str),
}
