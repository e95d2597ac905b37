//! Pictures of a field: what meshes of it are measured by, and what those are painted from whose field has no colour at a
//! point but only in pictures.

use glam::{Vec2, Vec3};
use rayon::prelude::*;
use retort_shaders::{Aabb, Camera};

use super::Mesh;
use super::raster::{RasterOptions, draw};
use crate::error::Result;
use crate::field::{Field, Pose, RenderOptions, values};
use crate::metrics;

/// A pixel shows something where its alpha is above this.
const SOLID: f32 = 0.5;
/// From where a scene is seen whose photos are not known: the distance in half-sizes, and the field of view.
const AROUND: (f32, f32) = (2.7, 0.8);
/// A surface is seen by a picture whose depth there is no nearer than this share of the distance.
const SLACK: f32 = 0.015;

/// A picture of a field.
pub struct Look {
    /// From where.
    pub camera: Camera,
    /// Premultiplied, `[h w, 3]`.
    rgb: Vec<f32>,
    /// `[h w]`.
    pub alpha: Vec<f32>,
    /// Along the ray, scene units; 0 where nothing is seen, `[h w]`.
    pub depth: Vec<f32>,
}

impl Look {
    /// The picture of a field.
    pub fn of(field: &dyn Field, camera: Camera) -> Self {
        let pixels = values(field.render(&camera, &RenderOptions::default()).pixels);
        let alpha: Vec<f32> = pixels.chunks_exact(5).map(|p| p[3]).collect();
        let rgb = pixels.chunks_exact(5).flat_map(|p| [p[0], p[1], p[2]]).collect();
        let axial = field.as_primitives().is_some();
        let along = |i: usize| {
            let (x, y) = (i as u32 % camera.width, i as u32 / camera.width);
            let m = (Vec2::new(x as f32 + 0.5, y as f32 + 0.5) - camera.centre) / camera.focal;
            if axial { (1.0 + m.length_squared()).sqrt() } else { 1.0 }
        };
        let depth = |(i, p): (usize, &[f32])| if p[3] > 1e-3 { p[4] / p[3] * along(i) } else { 0.0 };
        let depth = pixels.chunks_exact(5).enumerate().map(depth).collect();
        Self { camera, rgb, alpha, depth }
    }

    /// Colour, alpha and depth at a pixel's place, between its neighbours; nothing outside of the picture. Depth is the nearest
    /// pixel's: between a surface and what is behind it lies nothing.
    fn at(&self, pixel: Vec2) -> Option<([f32; 3], f32, f32)> {
        let (w, h) = (self.camera.width as usize, self.camera.height as usize);
        let p = pixel - 0.5;
        if !(p.x >= 0.0 && p.y >= 0.0 && p.x < (w - 1) as f32 && p.y < (h - 1) as f32) {
            return None;
        }
        let (x, y) = (p.x as usize, p.y as usize);
        let (fx, fy) = (p.x.fract(), p.y.fract());
        let (mut rgb, mut alpha) = ([0.0; 3], 0.0);
        for (dx, dy, share) in
            [(0, 0, (1.0 - fx) * (1.0 - fy)), (1, 0, fx * (1.0 - fy)), (0, 1, (1.0 - fx) * fy), (1, 1, fx * fy)]
        {
            let i = (y + dy) * w + x + dx;
            (0..3).for_each(|c| rgb[c] += share * self.rgb[3 * i + c]);
            alpha += share * self.alpha[i];
        }
        let nearest = (y + usize::from(fy >= 0.5)) * w + x + usize::from(fx >= 0.5);
        Some((rgb, alpha, self.depth[nearest]))
    }
}

/// Pictures that meshes are compared with.
pub struct Looks(Vec<Look>);

impl Looks {
    /// `n` pictures of a field around its content, of at most `side` pixels a side.
    pub fn of(field: &dyn Field, content: Aabb, (n, side): (usize, u32)) -> Self {
        Self(views(field, content, n, side).into_iter().map(|c| Look::of(field, c)).collect())
    }

    /// The colours, sRGB in `[0, 1]`, at points of a surface with these normals: the mean of the pictures that see them, those
    /// that look straight at them above all; nothing where none does.
    pub fn colours(&self, points: &[Vec3], normals: &[Vec3]) -> Vec<Option<[f32; 3]>> {
        points.par_iter().zip(normals).map(|(p, n)| self.colour(*p, *n)).collect()
    }

    fn colour(&self, point: Vec3, normal: Vec3) -> Option<[f32; 3]> {
        let mut sum = [0.0_f32; 4];
        for look in &self.0 {
            let to_eye = look.camera.position() - point;
            let distance = to_eye.length();
            let straight = normal.dot(to_eye) / distance;
            let Some((pixel, _)) = look.camera.project(point).filter(|_| straight > 0.1) else { continue };
            let Some((rgb, alpha, depth)) = look.at(pixel) else { continue };
            if alpha > SOLID && depth > (1.0 - SLACK) * distance && depth < (1.0 + SLACK) * distance {
                let weight = straight.powi(4);
                (0..3).for_each(|c| sum[c] += weight * rgb[c] / alpha);
                sum[3] += weight;
            }
        }
        let [r, g, b, weight] = sum;
        (weight > 0.0).then(|| [r, g, b].map(|c| (c / weight).clamp(0.0, 1.0)))
    }

    /// How badly a mesh fits, 0 to 1: the share of pixels whose outline is wrong, and how far off depths are, in cells up to 4.
    ///
    /// # Errors
    /// When the mesh is broken.
    pub fn misfit(&self, mesh: &Mesh, cell: f32) -> Result<f32> {
        let (mut sum, mut count) = (0.0_f64, 0.0_f64);
        for look in &self.0 {
            let drawn = draw(mesh, &look.camera, &RasterOptions::default())?;
            for ((pixel, alpha), depth) in drawn.pixels.chunks_exact(5).zip(&look.alpha).zip(&look.depth) {
                let (ours, theirs) = (pixel[3] > SOLID, *alpha > SOLID);
                if ours || theirs {
                    let off = if ours && theirs {
                        ((pixel[4] / pixel[3] - depth).abs() / (4.0 * cell)).min(1.0)
                    } else {
                        1.0
                    };
                    sum += f64::from(off);
                    count += 1.0;
                }
            }
        }
        Ok(if count > 0.0 { (sum / count) as f32 } else { 1.0 })
    }

    /// PSNR of a mesh's pictures over a background, and the intersection over union of outlines.
    ///
    /// # Errors
    /// As [`Looks::misfit`].
    pub fn compare(&self, mesh: &Mesh, over: [f32; 3]) -> Result<(f32, f32)> {
        let (mut psnr, mut both, mut any) = (0.0, 0_u64, 0_u64);
        for look in &self.0 {
            let drawn =
                draw(mesh, &look.camera, &RasterOptions { supersample: true, ..RasterOptions::default() })?.pixels;
            let on = |rgb: &[f32], alpha: f32| [0, 1, 2].map(|c| (rgb[c] + (1.0 - alpha) * over[c]).clamp(0.0, 1.0));
            let ours: Vec<f32> = drawn.chunks_exact(5).flat_map(|p| on(p, p[3])).collect();
            let theirs: Vec<f32> = look.rgb.chunks_exact(3).zip(&look.alpha).flat_map(|(p, a)| on(p, *a)).collect();
            psnr += metrics::psnr(&ours, &theirs)? as f32 / self.0.len() as f32;
            for (p, alpha) in drawn.chunks_exact(5).zip(&look.alpha) {
                let (a, b) = (p[3] > SOLID, *alpha > SOLID);
                both += u64::from(a && b);
                any += u64::from(a || b);
            }
        }
        Ok((psnr, if any > 0 { both as f32 / any as f32 } else { 1.0 }))
    }
}

/// `n` views of a field: where its photos were taken, or evenly around what it shows. The longer side has `side` pixels.
pub fn views(field: &dyn Field, content: Aabb, n: usize, side: u32) -> Vec<Camera> {
    let poses = &field.scene().cameras;
    if poses.len() >= n {
        return (0..n).map(|i| of_pose(&poses[i * poses.len() / n], side)).collect();
    }
    let (distance, fov) = AROUND;
    let radius = distance * 0.5 * content.size().length();
    let golden = std::f32::consts::PI * (3.0 - 5.0_f32.sqrt());
    let around = (0..n).map(|i| {
        // A little more than half of the sphere from above: few fields know their underside.
        let z = 0.95 - 1.35 * (i as f32 + 0.5) / n as f32;
        let (flat, turn) = ((1.0 - z * z).sqrt(), golden * i as f32);
        let eye = content.centre() + radius * Vec3::new(flat * turn.cos(), flat * turn.sin(), z);
        Camera::look_at(eye, content.centre(), Vec3::Z, fov, side, side)
    });
    around.collect()
}

fn of_pose(pose: &Pose, side: u32) -> Camera {
    let [width, height] = if pose.aspect >= 1.0 { [1.0, 1.0 / pose.aspect] } else { [pose.aspect, 1.0] };
    let [width, height] = [width, height].map(|s| ((s * side as f32).round() as u32).max(1));
    pose.camera(width, height)
}
