//! Pictures of a mesh on the processor, by a z-buffer: to measure a mesh against the field that it came from, and to
//! have a mesh teach one.
//!
//! A triangle with the corners `a`, `b`, `c` in camera space and a ray along `d` from the origin: with the sides
//! `A = b x c`, `B = c x a`, `C = a x b`, all divided by the sign of `det = a · (b x c)`, the ray meets the triangle
//! exactly when `d · A`, `d · B`, `d · C` are not negative (Olano and Greer 1997). These are to each other as the
//! shares of the corners at the point met, and it lies at the distance `|det| / (d · (A + B + C))`. So nothing is
//! projected or divided, parts behind the camera and before the near end need no cutting, the shares are right in
//! perspective, and any lens will do: a ray is all that is asked of it. Two triangles that share an edge compute the
//! same side with the opposite sign, so there is no gap.

mod lens;
pub mod paint;
mod sample;
#[cfg(test)]
mod tests;

use glam::{DMat3, DVec3, Vec2, Vec3};
use rayon::prelude::*;
use retort_shaders::Camera;

use super::Mesh;
use super::components::check;
use crate::error::{Error, Result};
use lens::{Box2, Lens};
pub use sample::{SurfacePoints, sample_surface};

/// Rows of pixels that are drawn together.
const BAND: u32 = 16;
/// The most pixels of a picture.
const MAX_PIXELS: u64 = 1 << 28;
/// Marks a ray that meets nothing.
const NONE: u32 = u32::MAX;

/// Options of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RasterOptions {
    /// Distance along the ray before which nothing is seen, in the mesh's unit, at least 0.
    pub near: f32,
    /// Four rays for each pixel, on a grid of 2 x 2, instead of one through its middle.
    pub supersample: bool,
    /// Colours are darkened by the cosine between ray and normal, as by a lamp on the camera.
    pub headlight: bool,
}

impl Default for RasterOptions {
    fn default() -> Self {
        Self { near: 1e-3, supersample: false, headlight: false }
    }
}

/// A picture on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// As those of a field, `[h w, 5]` row by row from the top: colour (sRGB-encoded in `[0, 1]`, premultiplied by
    /// alpha), alpha (the share of rays that meet the mesh), and the distance along the ray in the mesh's unit,
    /// premultiplied too.
    pub pixels: Vec<f32>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Draws a mesh; both sides of its triangles are seen. A texture is read without mipmaps: where it is much finer than
/// the picture, `supersample` helps.
///
/// # Errors
/// When the mesh does not pass [`check`], the picture has no pixels or more than 2^28, or the near end is not a
/// distance.
pub fn draw(mesh: &Mesh, camera: &Camera, options: &RasterOptions) -> Result<Picture> {
    check(mesh)?;
    let (width, height) = (camera.width, camera.height);
    let pixels = u64::from(width) * u64::from(height);
    if !(1..=MAX_PIXELS).contains(&pixels) {
        return Err(Error::new(format!("a picture of {width} x {height} pixels is not possible")));
    }
    if !(options.near >= 0.0 && options.near.is_finite()) {
        return Err(Error::new(format!("the near end is at {}", options.near)).remedy("give a distance from 0"));
    }
    let scene = Drawing::new(mesh, camera, *options);
    let bands = scene.bands();
    let mut pixels = vec![0.0; 5 * pixels as usize];
    let rows = 5 * (BAND * width) as usize;
    pixels.par_chunks_mut(rows).zip(bands).enumerate().for_each(|(band, (pixels, triangles))| {
        scene.draw_band(band as u32 * BAND, &triangles, pixels);
    });
    Ok(Picture { pixels, width, height })
}

/// The planes through the eye and a triangle's sides.
struct Corner {
    /// Positive for directions within; that of side `k` is to those of all three as the share of corner `k` to 1.
    sides: [DVec3; 3],
    /// Six times the volume between eye and triangle.
    volume: f64,
}

impl Corner {
    /// Nothing for a triangle that is seen edge-on, or has no area.
    #[inline]
    fn of([a, b, c]: [DVec3; 3]) -> Option<Self> {
        let sides = [b.cross(c), c.cross(a), a.cross(b)];
        // From the sides' sum, which is the triangle's own normal, and not from one side: for a small triangle the
        // sides are nearly the same, and the volume would be lost in rounding.
        let volume = a.dot((b - a).cross(c - a));
        if volume == 0.0 || !volume.is_finite() {
            return None;
        }
        Some(Self { sides: sides.map(|side| side * volume.signum()), volume: volume.abs() })
    }

    /// The distance at which a ray meets the triangle and the shares of its corners there.
    #[inline(always)]
    fn meet(&self, direction: DVec3) -> Option<(f64, DVec3)> {
        let parts = DVec3::from_array(self.sides.map(|side| side.dot(direction)));
        let sum = parts.x + parts.y + parts.z;
        (parts.cmpge(DVec3::ZERO).all() && sum > 0.0).then(|| (self.volume / sum, parts / sum))
    }
}

/// A mesh before a camera.
struct Drawing<'a> {
    mesh: &'a Mesh,
    camera: &'a Camera,
    options: RasterOptions,
    /// The vertices in camera space.
    positions: Vec<DVec3>,
    /// Where in a pixel its rays go through.
    offsets: Vec<Vec2>,
    /// The pixels of each triangle.
    boxes: Vec<Box2>,
}

impl<'a> Drawing<'a> {
    fn new(mesh: &'a Mesh, camera: &'a Camera, options: RasterOptions) -> Self {
        let turn = DMat3::from_cols_array(&camera.world_from_camera.matrix3.to_cols_array().map(f64::from)).transpose();
        let eye = camera.position().as_dvec3();
        let positions: Vec<DVec3> = mesh.positions.par_iter().map(|p| turn * (p.as_dvec3() - eye)).collect();
        let offsets = if options.supersample {
            [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]].map(Vec2::from).to_vec()
        } else {
            vec![Vec2::splat(0.5)]
        };
        let lens = Lens::of(camera, f64::from(options.near), &offsets);
        let triangles = mesh.triangles.par_iter();
        let boxes = triangles.map(|t| lens.pixels(camera, t.map(|v| positions[v as usize]))).collect();
        Self { mesh, camera, options, positions, offsets, boxes }
    }

    /// The triangles of each band of rows, in their order.
    fn bands(&self) -> Vec<Vec<u32>> {
        let mut bands = vec![Vec::new(); self.camera.height.div_ceil(BAND) as usize];
        for (triangle, [x, y]) in self.boxes.iter().enumerate() {
            if x[0] <= x[1] && y[0] <= y[1] {
                let of = &mut bands[(y[0] / BAND) as usize..=(y[1] / BAND) as usize];
                of.iter_mut().for_each(|band| band.push(triangle as u32));
            }
        }
        bands
    }

    /// The direction of the ray through a pixel's position, in camera space.
    fn direction(&self, pixel: Vec2) -> DVec3 {
        if self.camera.distortion.is_none() {
            let m = (pixel - self.camera.centre).as_dvec2() / self.camera.focal.as_dvec2();
            return DVec3::new(m.x, -m.y, -1.0).normalize();
        }
        self.camera.direction_in_camera(pixel).as_dvec3().normalize()
    }

    /// Draws the rows from `first` on into `pixels`, `[rows w, 5]`.
    fn draw_band(&self, first: u32, triangles: &[u32], pixels: &mut [f32]) {
        if triangles.is_empty() {
            return;
        }
        let (width, each) = (self.camera.width as usize, self.offsets.len());
        let rows = pixels.len() / 5 / width;
        let place = |i: usize| {
            let pixel = i / each;
            let corner = Vec2::new((pixel % width) as f32, (first as usize + pixel / width) as f32);
            self.direction(corner + self.offsets[i % each])
        };
        let directions: Vec<DVec3> = (0..width * rows * each).map(place).collect();
        let mut nearest = vec![(f64::INFINITY, NONE); directions.len()];
        for &triangle in triangles {
            let Some(corner) = Corner::of(self.corners(triangle)) else { continue };
            let [x, y] = self.boxes[triangle as usize];
            let y = [y[0].max(first) - first, y[1].min(first + rows as u32 - 1) - first];
            for row in y[0] as usize..=y[1] as usize {
                let of = (row * width + x[0] as usize) * each..(row * width + x[1] as usize + 1) * each;
                for (direction, nearest) in directions[of.clone()].iter().zip(&mut nearest[of]) {
                    if let Some((t, _)) = corner.meet(*direction)
                        && t < nearest.0
                        && t >= f64::from(self.options.near)
                    {
                        *nearest = (t, triangle);
                    }
                }
            }
        }
        let rays = nearest.chunks_exact(each).zip(directions.chunks_exact(each));
        for (pixel, (nearest, directions)) in pixels.chunks_exact_mut(5).zip(rays) {
            let met = nearest.iter().zip(directions).filter(|(nearest, _)| nearest.1 != NONE);
            for (&(t, triangle), &direction) in met {
                let [r, g, b] = self.shade(triangle, direction);
                for (sum, value) in pixel.iter_mut().zip([r, g, b, 1.0, t as f32]) {
                    *sum += value / each as f32;
                }
            }
        }
    }

    fn corners(&self, triangle: u32) -> [DVec3; 3] {
        self.mesh.triangles[triangle as usize].map(|v| self.positions[v as usize])
    }

    /// The colour of a triangle where a ray meets it.
    fn shade(&self, triangle: u32, direction: DVec3) -> [f32; 3] {
        let met = Corner::of(self.corners(triangle)).and_then(|corner| corner.meet(direction));
        let shares = met.map_or(Vec3::splat(1.0 / 3.0), |(_, shares)| shares.as_vec3());
        let corners = self.mesh.triangles[triangle as usize];
        let colour = paint::colour(self.mesh, corners, shares);
        if !self.options.headlight {
            return colour;
        }
        let ray = self.camera.world_from_camera.transform_vector3(direction.as_vec3());
        let light = paint::normal(self.mesh, corners, shares).dot(ray).abs().min(1.0);
        colour.map(|c| light * c)
    }
}
