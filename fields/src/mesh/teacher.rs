//! A mesh as something to look at and to teach: its pictures are those of its triangles, and what a lesson asks of points
//! is answered by flat Gaussians that lie on its surface.

use burn::tensor::Device;
use glam::{Quat, Vec2, Vec3};
use retort_shaders::{Aabb, Camera};

use super::Mesh;
use super::components::area;
use super::raster::{RasterOptions, SurfacePoints, draw, sample_surface};
use crate::error::{Error, Result};
use crate::field::{Field, Frame, Param, ParamMut, Primitives, RenderOptions, Scene, tensor};
use crate::files::splats::Splats;
use crate::files::upright;
use crate::kinds::gaussians::SH_C0;
use crate::registry::AnyField;

/// Gaussians that a mesh is covered with.
pub const COVER: usize = 150_000;
/// The standard deviation of a Gaussian, as a part of the distance to its neighbours: less leaves holes, more blurs.
const SPREAD: f32 = 0.75;
/// Its thickness: a part of that, or of the mesh's longer half where that is more. Thinner ones lie between the points that
/// a lesson asks about, and a student learns that there is nothing.
const FLAT: [f32; 2] = [0.12, 0.005];
/// How much light it stops.
const OPACITY: f32 = 0.95;

/// A mesh as a field that is not trained.
#[derive(Clone, Debug)]
pub struct MeshField {
    /// In scene units, +Z up.
    mesh: Mesh,
    /// What covers it.
    cover: AnyField,
}

impl MeshField {
    /// A mesh in its own units, +Z up.
    ///
    /// # Errors
    /// When it has no area.
    pub fn new(mut mesh: Mesh, device: &Device) -> Result<Self> {
        let (cover, _) = upright::to_field(&covered(&mesh)?, device)?;
        let frame = cover.scene().scene_from_dataset;
        // The frame of Gaussians turns a file's axes upright; the mesh is upright already.
        let centre = frame.translation;
        mesh.positions.iter_mut().for_each(|p| *p = frame.scale * *p + centre);
        Ok(Self { mesh, cover })
    }

    /// The Gaussians on its surface: an object that is edited and put together like any other.
    pub fn cover(&self) -> &AnyField {
        &self.cover
    }

    /// The mesh, in scene units.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }
}

/// Flat Gaussians on the surface of a mesh, in the axes of files.
fn covered(mesh: &Mesh) -> Result<Splats> {
    let SurfacePoints { positions, normals, colours } = sample_surface(mesh, COVER, 0)?;
    let area: f64 = mesh.triangles.iter().map(|t| area(mesh, *t)).sum();
    if !(area > 0.0 && area.is_finite()) {
        return Err(Error::new("the mesh has no area").remedy("export it again"));
    }
    let spacing = (area / positions.len() as f64).sqrt() as f32;
    let n = positions.len();
    let mut splats = Splats::zeros(n, 0);
    // They are smaller than most pixels: without it, each would fill one.
    splats.antialias = true;
    let wide = (SPREAD * spacing).max(1e-20).ln();
    let size = Aabb::around(mesh.positions.iter().copied()).map_or(0.0, |b| 0.5 * b.size().max_element());
    let thin = (FLAT[0] * SPREAD * spacing).max(FLAT[1] * size).max(1e-20).ln();
    for i in 0..n {
        // Scenes have (x, y, z) where files have (x, −z, y).
        let filed = |v: Vec3| Vec3::new(v.x, -v.z, v.y);
        let turn = Quat::from_rotation_arc(Vec3::Z, filed(normals[i]).normalize_or(Vec3::Z));
        splats.means[i] = filed(positions[i]).to_array();
        splats.log_scales[i] = [wide, wide, thin];
        splats.rotations[i] = [turn.w, turn.x, turn.y, turn.z];
        splats.raw_opacity[i] = (OPACITY / (1.0 - OPACITY)).ln();
        splats.sh_dc[i] = colours[i].map(|c| (c - 0.5) / SH_C0);
    }
    splats.settled()
}

impl Field for MeshField {
    fn scene(&self) -> &Scene {
        self.cover.scene()
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.cover.params()
    }

    fn params_mut(&mut self) -> Vec<ParamMut<'_>> {
        self.cover.params_mut()
    }

    /// Depth is along the view axis, as of primitives.
    fn render(&self, camera: &Camera, _options: &RenderOptions) -> Frame {
        // A picture that cannot be drawn is empty: cameras and mesh were checked where they came in.
        let options = RasterOptions { supersample: true, ..RasterOptions::default() };
        let drawn = draw(&self.mesh, camera, &options).map(|picture| picture.pixels);
        let mut pixels = drawn.unwrap_or_else(|_| vec![0.0; 5 * (camera.width * camera.height) as usize]);
        for (i, pixel) in pixels.chunks_exact_mut(5).enumerate() {
            let at = Vec2::new((i as u32 % camera.width) as f32, (i as u32 / camera.width) as f32) + 0.5;
            let m = (at - camera.centre) / camera.focal;
            pixel[4] /= (1.0 + m.length_squared()).sqrt();
        }
        let rows = pixels.len() / 5;
        let pixels = tensor(pixels, [rows, 5], &self.cover.device());
        Frame { pixels, width: camera.width, height: camera.height }
    }

    fn as_primitives(&self) -> Option<&dyn Primitives> {
        self.cover.as_primitives()
    }

    fn device(&self) -> Device {
        self.cover.device()
    }
}
