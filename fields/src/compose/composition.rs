//! Several objects as one field: `sigma(x) = Σ sigmaᵢ(xᵢ) / sᵢ`, `rgb(x, d) = Σ wᵢ rgbᵢ(xᵢ, dᵢ)`, where `xᵢ` and `dᵢ` are
//! the point and the direction as object `i` has them, `sᵢ` is its scale and `wᵢ` its share of the density.
//!
//! An object has no density outside its occupancy grid nor where an edit hides it, and the grid of the whole is made anew
//! from what is left: a student that inherits it cannot fill a hole again.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use retort_shaders::{Aabb, Camera};

use super::MAX_OBJECTS;
use super::object::{Object, PRIMITIVE_STEP, Placed};
use crate::data::Similarity;
use crate::error::{Error, Result};
use crate::field::{Field, Frame, Latent, Param, ParamMut, Pose, RenderOptions, Scene, Volume, tensor, values};
use crate::ops::march::spec::MarchSpec;
use crate::parts::occupancy::Occupancy;
use crate::render::volume;

/// The log-density of nothing: the least that any kind can say.
const EMPTY: f32 = -30.0;
/// Cells along an edge of the occupancy grid, at least and at most.
const CELLS: [u32; 2] = [16, 256];
/// The finest step of rays, as a share of the scene's diagonal.
const FINEST: f32 = 1.0 / 8192.0;
/// A scene whose box is this many times as large as its first object's is a mistake of a transform.
const FARTHEST: f32 = 100.0;

/// Objects in one scene, as a field. Nothing in it is trained.
#[derive(Clone, Debug)]
pub struct Composition {
    scene: Scene,
    objects: Vec<Placed>,
    grid: Arc<Occupancy>,
    spec: MarchSpec,
    log_sigma_range: [f32; 2],
    /// The width of the latent that a lone volume gives; others carry positions.
    lone_width: Option<usize>,
}

impl Composition {
    /// Objects as one field, in the frame of the first: its scene, with a larger box and cameras farther away where the
    /// others need them.
    ///
    /// # Errors
    /// When there is no object or more than [`MAX_OBJECTS`], a transform or an edit is out of its range, or an unbounded
    /// field is moved or has company.
    pub fn new(objects: Vec<Object>) -> Result<Self> {
        check(&objects)?;
        let first = objects[0].field.scene().clone();
        let placed: Vec<Placed> = objects.into_iter().map(|object| Placed::new(object, &first)).collect();
        let content = placed.iter().filter_map(Placed::extent).reduce(Aabb::union);
        let scene = if first.unbounded { first } else { grown(first, content)? };
        let grid = grid_of(&placed, &scene)?;
        let spec = march_of(&placed, &scene);
        let most = placed.iter().map(Placed::most_log_sigma).fold(f32::MIN, f32::max);
        let range = [EMPTY, most + (placed.len() as f32).ln()];
        let lone_width = match &placed[..] {
            [one] => one.object.field.as_volume().map(|volume| {
                let probe = tensor(scene.bounds.centre().to_array().to_vec(), [1, 3], &one.object.field.device());
                volume.block1(probe).latent.dims()[1]
            }),
            _ => None,
        };
        Ok(Self { scene, objects: placed, grid: Arc::new(grid), spec, log_sigma_range: range, lone_width })
    }

    /// Its objects, with their transforms and edits.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(|placed| &placed.object)
    }

    /// Where its objects stand: from their scene units to the composition's.
    pub fn places(&self) -> impl Iterator<Item = &Similarity> {
        self.objects.iter().map(|placed| &placed.scene_from_object)
    }

    /// The log-density `[n]` of all objects at `x` `[n, 3]`; a lone volume's latent as well, `[n, k]`.
    fn density(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let n = x.len() / 3;
        let width = self.lone_width.unwrap_or(0);
        let (mut log_sigma, mut latent) = (vec![f32::NEG_INFINITY; n], vec![0.0; n * width]);
        for object in &self.objects {
            let said = object.ask(x);
            for (k, (&row, &log)) in said.rows.iter().zip(&said.log_sigma).enumerate() {
                let row = row as usize;
                log_sigma[row] = added(log_sigma[row], log);
                latent[row * width..][..width].copy_from_slice(&said.latent[k * width..][..width]);
            }
        }
        // Not `max`, which would hide a NaN.
        log_sigma.iter_mut().filter(|l| **l < EMPTY).for_each(|l| *l = EMPTY);
        (log_sigma, latent)
    }

    /// The colours `[n, 3]` at `x` `[n, 3]` seen along `d` `[n, 3]`. Places that follow one another are asked once.
    fn colours(&self, x: &[f32], d: &[f32]) -> Vec<f32> {
        let n = x.len() / 3;
        let mut places: Vec<f32> = Vec::with_capacity(x.len());
        let mut place_of = Vec::with_capacity(n);
        for at in x.chunks_exact(3) {
            if places.len() < 3 || places[places.len() - 3..] != *at {
                places.extend_from_slice(at);
            }
            place_of.push(places.len() / 3 - 1);
        }
        let (mut sum, mut total) = (vec![0.0_f32; 3 * n], vec![0.0_f32; n]);
        for object in &self.objects {
            let said = object.ask(&places);
            let mut slot = vec![usize::MAX; places.len() / 3];
            said.rows.iter().enumerate().for_each(|(k, &place)| slot[place as usize] = k);
            let rows: Vec<usize> = (0..n).filter(|&row| slot[place_of[row]] != usize::MAX).collect();
            let gathered = |source: &[f32], width: usize, at: &dyn Fn(usize) -> usize| -> Vec<f32> {
                rows.iter().flat_map(|&row| source[at(row) * width..][..width].iter().copied()).collect()
            };
            let of_place = |row: usize| slot[place_of[row]];
            let position = gathered(&said.position, 3, &of_place);
            let latent = gathered(&said.latent, said.width, &of_place);
            let rgb = object.block2(&position, latent, &gathered(d, 3, &|row| row));
            for (&row, c) in rows.iter().zip(rgb.chunks_exact(3)) {
                let weight = said.log_sigma[of_place(row)].exp();
                total[row] += weight;
                (0..3).for_each(|channel| sum[3 * row + channel] += weight * c[channel]);
            }
        }
        for (c, &total) in sum.chunks_exact_mut(3).zip(&total) {
            let share = if total > 0.0 { 1.0 / total } else { 0.0 };
            c.iter_mut().for_each(|c| *c *= share);
        }
        sum
    }
}

/// Whether objects can be put together.
fn check(objects: &[Object]) -> Result<()> {
    if objects.is_empty() || objects.len() > MAX_OBJECTS {
        return Err(Error::new(format!("{} objects cannot be shown", objects.len()))
            .remedy(format!("use 1 to {MAX_OBJECTS} that are visible")));
    }
    objects.iter().try_for_each(Object::check)?;
    let Some(endless) = objects.iter().find(|object| object.field.scene().unbounded) else { return Ok(()) };
    if objects.len() > 1 {
        return Err(Error::new("an unbounded field cannot be put together with others")
            .remedy("show it alone, or use fields of bounded scenes"));
    }
    if endless.transform != Similarity::default() {
        return Err(Error::new("an unbounded field cannot be moved, turned or scaled")
            .remedy("take move, rotate and scale out; its edits may stay"));
    }
    Ok(())
}

/// `ln(eᵃ + eᵇ)`; a NaN stays one.
fn added(a: f32, b: f32) -> f32 {
    if a == f32::NEG_INFINITY {
        return b;
    }
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}

/// The first object's scene, with a cube that holds `content` where its own box does not, and cameras as far from it as
/// they were from the box.
pub(super) fn grown(first: Scene, content: Option<Aabb>) -> Result<Scene> {
    let old = first.bounds;
    let slack = 1e-4 * old.size();
    let Some(content) = content else { return Ok(first) };
    if content.min.cmpge(old.min - slack).all() && content.max.cmple(old.max + slack).all() {
        return Ok(first);
    }
    let whole = old.union(content);
    let bounds =
        Aabb::new(whole.centre() - 0.5 * whole.size().max_element(), whole.centre() + 0.5 * whole.size().max_element());
    let ratio = bounds.size().max_element() / old.size().max_element();
    if !(ratio <= FARTHEST) {
        let what = format!("the objects reach {ratio:.0} times as far as the first object's box");
        return Err(Error::new(what).remedy("bring them nearer, or make them smaller"));
    }
    let moved = |pose: Pose| Pose { position: bounds.centre() + ratio * (pose.position - old.centre()), ..pose };
    Ok(Scene {
        bounds,
        near_far: [first.near_far[0], first.near_far[1] * ratio],
        extent: first.extent * ratio,
        cameras: first.cameras.into_iter().map(moved).collect(),
        ..first
    })
}

/// Where any object shows something.
fn grid_of(objects: &[Placed], scene: &Scene) -> Result<Occupancy> {
    let size = scene.bounds.size().max_element();
    // A hundredth less, so that rounding does not double it.
    let wanted = objects.iter().map(|object| object.cells_per_unit() * size * 0.99).fold(0.0, f32::max);
    let resolution = (wanted.ceil() as u32).clamp(CELLS[0], CELLS[1]).next_power_of_two();
    let resolution = if scene.unbounded { objects[0].grid.resolution() } else { resolution };
    Occupancy::check(resolution, scene.bounds)?;
    let mut grid = Occupancy::new_empty(resolution, scene.bounds);
    if scene.unbounded {
        grid.exclude_outside_ball(2.0);
    }
    objects.iter().for_each(|object| object.mark(&mut grid));
    Ok(grid)
}

/// How rays are sampled: as finely as the finest object is.
fn march_of(objects: &[Placed], scene: &Scene) -> MarchSpec {
    let own: Vec<(MarchSpec, f32)> = objects
        .iter()
        .filter_map(|placed| Some((placed.object.field.as_volume()?.march_spec(), placed.scene_from_object.scale)))
        .collect();
    let diagonal = scene.bounds.size().length();
    let primitives = objects.iter().filter(|placed| placed.object.field.as_volume().is_none());
    let steps = own.iter().map(|(spec, scale)| spec.step * scale);
    let steps = steps.chain(primitives.map(|placed| PRIMITIVE_STEP * placed.scene_from_object.scale));
    let step = steps.fold(f32::MAX, f32::min).max(FINEST * diagonal);
    let most = own.iter().map(|(spec, _)| spec.max_samples_per_ray).max().unwrap_or(0);
    MarchSpec {
        bounds: scene.bounds,
        unbounded: scene.unbounded,
        step,
        cone_angle: if scene.unbounded { own.first().map_or(0.0, |(spec, _)| spec.cone_angle) } else { 0.0 },
        near: scene.near_far[0],
        far: scene.near_far[1],
        max_samples_per_ray: most.max((diagonal / step) as u32 + 2),
    }
}

impl Field for Composition {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.objects.iter().flat_map(|placed| placed.object.field.params()).collect()
    }

    fn params_mut(&mut self) -> Vec<ParamMut<'_>> {
        self.objects.iter_mut().flat_map(|placed| placed.object.field.params_mut()).collect()
    }

    fn render(&self, camera: &Camera, options: &RenderOptions) -> Frame {
        volume::render(self, camera, options)
    }

    fn as_volume(&self) -> Option<&dyn Volume> {
        Some(self)
    }

    fn as_volume_mut(&mut self) -> Option<&mut dyn Volume> {
        Some(self)
    }

    fn device(&self) -> Device {
        self.objects[0].object.field.device()
    }
}

impl Volume for Composition {
    /// That of a lone volume whose colours and directions are its own: another field can be taught it.
    fn latent_dim(&self) -> Option<usize> {
        let [one] = &self.objects[..] else { return None };
        let own = one.is_upright() && one.colour == glam::Mat3::IDENTITY;
        own.then(|| one.object.field.as_volume().and_then(Volume::latent_dim)).flatten()
    }

    /// The latent is that of a lone volume; that of several objects is the position, where block 2 asks them again.
    fn block1(&self, x: Tensor<2>) -> Latent {
        let (n, device) = (x.dims()[0], x.device());
        let (log_sigma, latent) = self.density(&values(x.clone()));
        let latent = self.lone_width.map_or(x, |width| tensor(latent, [n, width], &device));
        Latent { log_sigma: tensor(log_sigma, [n, 1], &device), latent }
    }

    fn log_sigma(&self, x: Tensor<2>) -> Tensor<2> {
        let (n, device) = (x.dims()[0], x.device());
        tensor(self.density(&values(x)).0, [n, 1], &device)
    }

    fn block2(&self, latent: Tensor<2>, d: Tensor<2>) -> Tensor<2> {
        let (n, device) = (d.dims()[0], d.device());
        let (latent, d) = (values(latent), values(d));
        let rgb = match self.lone_width {
            Some(_) => self.objects[0].block2(&[], latent, &d),
            None => self.colours(&latent, &d),
        };
        tensor(rgb, [n, 3], &device)
    }

    fn occupancy(&self) -> &Arc<Occupancy> {
        &self.grid
    }

    fn set_occupancy(&mut self, occupancy: Arc<Occupancy>) {
        self.grid = occupancy;
    }

    fn march_spec(&self) -> MarchSpec {
        self.spec
    }

    fn log_sigma_range(&self) -> [f32; 2] {
        self.log_sigma_range
    }
}
