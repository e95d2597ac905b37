//! One surface out of many pictures of depth: the weighted mean of truncated signed distances (Curless and Levoy 1996).
//!
//! For the point `x` of the grid and a camera at `e` whose ray through `x` ends at distance `d` on a surface that it
//! meets at the angle `a` from its normal, the picture says `v = (d - |x - e|) cos a / truncation`, positive in front.
//! The cosine makes it the distance from the surface's plane: without it, rays that graze a curved surface would draw
//! it inward. A ray that ends nowhere (alpha below ½) has seen free space all along; how far the surface is at least is
//! then told by the distance to the nearest pixel that shows one. Three kinds of answer are kept apart, as in their
//! section 4:
//!
//! - *seen*: the mean takes `min(v, 1)` in;
//! - *hidden*, `d - |x - e| <= -truncation`: the picture knows only that something is in front;
//! - *nothing*: the point is in no picture.
//!
//! A point that some picture has seen has the mean's sign. One that was only hidden is taken for inside, one that was
//! in no picture for outside. So solids are solid, without a second shell behind each surface; what no camera could
//! look at (the underside) is closed by the hull of what was hidden; and space that no camera was turned to stays
//! empty. The price: an object that cameras saw from one side alone reaches back to the end of the box.
//!
//! Weights: that cosine once more, since depth is least sure where a surface is grazed; behind the surface it falls to
//! 0 at the truncation, so that the far side of a thin part counts for more than the near side's guess. Between pixels
//! depth is interpolated where the four belong to one surface; at its edge the nearest pixel speaks alone, and of an
//! edge between two surfaces only what all four agree on is taken.

use glam::{Affine3A, Vec2, Vec3};
use rayon::prelude::*;
use retort_shaders::{Aabb, Camera};

use super::grid::{Grid, room};
use crate::error::{Error, Result};

/// The weight of a pixel whose surface is not known to face anywhere, and the least of any.
const UNSURE: f32 = 0.1;

/// Distances to a surface on a grid, gathered from pictures of depth.
#[derive(Clone, Debug)]
pub struct Tsdf {
    bounds: Aabb,
    resolution: [u32; 3],
    truncation: f32,
    /// Weighted means, in lengths of the truncation, positive in front of the surface.
    distance: Vec<f32>,
    /// Sums of weights; where nothing was seen, minus the number of pictures in which the point was hidden.
    weight: Vec<f32>,
}

impl Tsdf {
    /// A grid that has seen nothing. `truncation` is in the unit of the box; three to five cells are usual: less than
    /// two lose the surface between points, more thicken thin parts. Eight bytes a point.
    ///
    /// # Errors
    /// As [`Grid::check`]; when the truncation is not a number above 0, or there is no memory.
    pub fn new(bounds: Aabb, resolution: [u32; 3], truncation: f32) -> Result<Self> {
        let points = Grid::check(bounds, resolution)?;
        if !(truncation > 0.0 && truncation.is_finite()) {
            return Err(Error::new(format!("the truncation is {truncation}")).remedy("use three to five cells"));
        }
        let (distance, weight) = (room(points, 0.0)?, room(points, 0.0)?);
        Ok(Self { bounds, resolution, truncation, distance, weight })
    }

    /// Takes a picture in. `depth` `[h w]` is the distance along the ray, not along the view axis, and not multiplied
    /// by alpha; `alpha` `[h w]` says with ½ or more that the ray ends at it. Depth of other rays is not looked at. A
    /// camera without a lens is many times faster.
    ///
    /// # Errors
    /// When the two are not of the camera's size, an alpha is not a number, or a depth that counts is not one above 0.
    pub fn fuse(&mut self, camera: &Camera, depth: &[f32], alpha: &[f32]) -> Result<()> {
        let picture = Picture::new(camera, depth, alpha, self.truncation)?;
        let [nx, ny, _] = self.resolution.map(|n| n as usize);
        let grid = Grid { bounds: self.bounds, resolution: self.resolution, values: Vec::new() };
        let planes = self.distance.par_chunks_exact_mut(nx * ny).zip(self.weight.par_chunks_exact_mut(nx * ny));
        planes.enumerate().for_each(|(k, (distance, weight))| {
            let rows = distance.chunks_exact_mut(nx).zip(weight.chunks_exact_mut(nx));
            for (j, (distance, weight)) in rows.enumerate() {
                let first = picture.camera_from_world.transform_point3(grid.point([0, j as u32, k as u32]));
                let step = picture.camera_from_world.transform_vector3(grid.spacing().x * Vec3::X);
                for (i, (distance, weight)) in distance.iter_mut().zip(weight).enumerate() {
                    match picture.look(first + i as f32 * step) {
                        Answer::Hidden if *weight <= 0.0 => *weight -= 1.0,
                        Answer::Hidden | Answer::Nothing => {}
                        Answer::Seen(value, sure) => {
                            let sum = weight.max(0.0) + sure;
                            *distance += (value - *distance) * (sure / sum);
                            *weight = sum;
                        }
                    }
                }
            }
        });
        Ok(())
    }

    /// The distances as a function whose surface is at level 0: in the box's unit, positive inside, within the
    /// truncation.
    pub fn into_grid(mut self) -> Grid {
        let truncation = self.truncation;
        self.distance.par_iter_mut().zip(&self.weight).for_each(|(distance, &weight)| {
            let outside = match weight {
                w if w > 0.0 => *distance,
                w if w < 0.0 => -1.0,
                _ => 1.0,
            };
            *distance = -truncation * outside;
        });
        Grid { bounds: self.bounds, resolution: self.resolution, values: self.distance }
    }

    /// The share of points that some picture has seen or had hidden, in `[0, 1]`.
    pub fn met(&self) -> f32 {
        let met = self.weight.par_iter().filter(|w| **w != 0.0).count();
        met as f32 / self.weight.len() as f32
    }
}

/// Depth and alpha of a picture as fields give it, `[h w, 5]`: depth is divided by alpha, and by the cosine between ray
/// and view axis where it is measured along the axis. It is 0 where alpha is below ½.
///
/// # Errors
/// When the picture is not of the camera's size, or depth is along the axis and a ray does not go forward.
pub fn ray_depth(camera: &Camera, pixels: &[f32], along_axis: bool) -> Result<(Vec<f32>, Vec<f32>)> {
    let width = camera.width as usize;
    if pixels.len() as u64 != 5 * u64::from(camera.width) * u64::from(camera.height) {
        let (w, h, n) = (camera.width, camera.height, pixels.len());
        return Err(Error::new(format!("a picture of {w} x {h} pixels has {n} values instead of five a pixel")));
    }
    let depth = pixels.par_chunks_exact(5).enumerate().map(|(at, pixel)| {
        if !(pixel[3] >= 0.5) {
            return Ok(0.0);
        }
        if !along_axis {
            return Ok(pixel[4] / pixel[3]);
        }
        let (x, y) = ((at % width) as f32, (at / width) as f32);
        let forward = -camera.direction_in_camera(Vec2::new(x + 0.5, y + 0.5)).z;
        if forward > 0.0 {
            return Ok(pixel[4] / pixel[3] / forward);
        }
        Err(Error::new(format!("the ray of pixel ({x}, {y}) does not go forward, where depth is along the view axis"))
            .remedy("use a camera with less than a half-turn in view"))
    });
    Ok((depth.collect::<Result<_>>()?, pixels.par_chunks_exact(5).map(|pixel| pixel[3]).collect()))
}

/// What a picture says of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Nothing,
    Hidden,
    /// The distance in lengths of the truncation, and its weight.
    Seen(f32, f32),
}

/// A picture of depth, prepared.
struct Picture<'a> {
    camera: &'a Camera,
    camera_from_world: Affine3A,
    truncation: f32,
    size: [usize; 2],
    /// Distance along the ray, 0 where it ends nowhere, `[h w]`.
    depth: Vec<f32>,
    /// The cosine between ray and surface, `[h w]`.
    facing: Vec<f32>,
    /// The distance in pixels to the nearest pixel whose ray ends, `[h w]`.
    away: Vec<f32>,
}

impl<'a> Picture<'a> {
    fn new(camera: &'a Camera, depth: &[f32], alpha: &[f32], truncation: f32) -> Result<Self> {
        let size = [camera.width as usize, camera.height as usize];
        let pixels = size[0].checked_mul(size[1]).filter(|&n| n > 0 && n == depth.len() && n == alpha.len());
        if pixels.is_none() {
            let (w, h, d, a) = (size[0], size[1], depth.len(), alpha.len());
            return Err(Error::new(format!("a picture of {w} x {h} pixels has {d} depths and {a} alphas")));
        }
        let wrong = |at: usize| alpha[at].is_nan() || (alpha[at] >= 0.5 && !(depth[at] > 0.0 && depth[at].is_finite()));
        if let Some(at) = (0..depth.len()).find(|&at| wrong(at)) {
            let (x, y) = (at % size[0], at / size[0]);
            let what = format!("pixel ({x}, {y}) has depth {} and alpha {}", depth[at], alpha[at]);
            return Err(Error::new(what).remedy("depth is a distance above 0 wherever alpha is ½ or more"));
        }
        let depth: Vec<f32> = depth.iter().zip(alpha).map(|(&d, &a)| if a >= 0.5 { d } else { 0.0 }).collect();
        let camera_from_world = camera.camera_from_world();
        let away = distance_to(&depth, size);
        let mut picture = Self { camera, camera_from_world, truncation, size, depth, facing: Vec::new(), away };
        picture.facing = picture.facings();
        Ok(picture)
    }

    /// The cosine between ray and surface for every pixel, from its neighbours' depth.
    fn facings(&self) -> Vec<f32> {
        let [w, h] = self.size;
        let ray = |x: usize, y: usize| self.camera.direction_in_camera(Vec2::new(x as f32 + 0.5, y as f32 + 0.5));
        let place = |x: usize, y: usize| {
            let depth = self.depth[x + w * y];
            (depth > 0.0).then(|| depth * ray(x, y))
        };
        let row = |y: usize| {
            (0..w).map(move |x| {
                let across = place(x.saturating_sub(1), y).zip(place((x + 1).min(w - 1), y)).map(|(a, b)| b - a);
                let down = place(x, y.saturating_sub(1)).zip(place(x, (y + 1).min(h - 1))).map(|(a, b)| b - a);
                let normal = across.zip(down).map_or(Vec3::ZERO, |(a, b)| a.cross(b).normalize_or_zero());
                normal.dot(ray(x, y)).abs().max(UNSURE)
            })
        };
        (0..h).into_par_iter().flat_map_iter(row).collect()
    }

    /// What it says of a point in camera space.
    fn look(&self, p: Vec3) -> Answer {
        let Some(pixel) = self.camera.project_in_camera(p).filter(|pixel| self.camera.in_picture(*pixel)) else {
            return Answer::Nothing;
        };
        let away = p.length();
        let [w, h] = self.size;
        // The four pixels whose centres are around it; at the picture's rim some are the same.
        let low = (pixel - 0.5).max(Vec2::ZERO);
        let (x, y) = (low.x as usize, low.y as usize);
        let (x1, y1) = ((x + 1).min(w - 1), (y + 1).min(h - 1));
        let four = [x + w * y, x1 + w * y, x + w * y1, x1 + w * y1];
        let t = low - Vec2::new(x as f32, y as f32);
        let between = |values: &[f32]| {
            let [a, b, c, d] = four.map(|at| values[at]);
            let (top, bottom) = (a + t.x * (b - a), c + t.x * (d - c));
            top + t.y * (bottom - top)
        };
        let depths = four.map(|at| self.depth[at]);
        let near = depths.iter().copied().filter(|d| *d > 0.0).fold(f32::INFINITY, f32::min);
        let nearest = (pixel.x as usize).min(w - 1) + w * (pixel.y as usize).min(h - 1);
        if self.depth[nearest] == 0.0 {
            // The surface's edge is half a pixel this side of the middle of the last pixel that shows it.
            let pixels = between(&self.away) - 0.5;
            let aside = pixels * away / self.camera.focal.min_element();
            return Answer::Seen((aside / self.truncation).clamp(0.0, 1.0), 1.0);
        }
        let far = depths.iter().copied().fold(0.0, f32::max);
        let depth = if depths.contains(&0.0) {
            self.depth[nearest]
        } else if far - near <= self.truncation {
            between(&self.depth)
        } else if away > far + self.truncation {
            return Answer::Hidden;
        } else if away < near - self.truncation {
            near
        } else {
            // Where the front one of two surfaces ends is not known to a pixel.
            return Answer::Nothing;
        };
        let (value, facing) = ((depth - away) / self.truncation, self.facing[nearest]);
        if value <= -1.0 {
            return Answer::Hidden;
        }
        let plane = value * facing;
        // Free space is sure however its end is grazed.
        let sure = if plane < 1.0 { facing * (1.0 + value.min(0.0)) } else { 1.0 };
        Answer::Seen(plane.min(1.0), sure)
    }
}

/// The distance in pixels from the middle of each pixel to that of the nearest one with a depth, `[h w]`; the picture's
/// diagonal where there is none. By columns and then by rows (Felzenszwalb and Huttenlocher 2012): the least of the
/// parabolas `(x - p)² + column(p)²`, of which only the lower envelope is kept.
fn distance_to(depth: &[f32], [w, h]: [usize; 2]) -> Vec<f32> {
    let most = (w as f32).hypot(h as f32);
    let mut columns: Vec<f32> = depth.iter().map(|d| if *d > 0.0 { 0.0 } else { most }).collect();
    (w..w * h).for_each(|at| columns[at] = columns[at].min(columns[at - w] + 1.0));
    (0..w * (h - 1)).rev().for_each(|at| columns[at] = columns[at].min(columns[at + w] + 1.0));
    columns.par_chunks_exact_mut(w).for_each(|row| {
        let square: Vec<f64> = row.iter().map(|v| f64::from(v * v)).collect();
        // Parabolas of the envelope, and from where on each is the lowest.
        let (mut tips, mut from) = (Vec::<usize>::new(), Vec::<f64>::new());
        for x in 0..w {
            let meets = |tip: usize| {
                let [a, b] = [tip, x].map(|p| square[p] + (p * p) as f64);
                (b - a) / (2 * (x - tip)) as f64
            };
            while let Some(&tip) = tips.last()
                && from.last().is_some_and(|from| meets(tip) <= *from)
            {
                tips.pop();
                from.pop();
            }
            from.push(tips.last().map_or(f64::NEG_INFINITY, |&tip| meets(tip)));
            tips.push(x);
        }
        let mut k = 0;
        for (x, to) in row.iter_mut().enumerate() {
            while k + 1 < tips.len() && from[k + 1] <= x as f64 {
                k += 1;
            }
            *to = ((square[tips[k]] + (x as f64 - tips[k] as f64).powi(2)).sqrt() as f32).min(most);
        }
    });
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Mesh;
    use crate::mesh::components::report;
    use crate::mesh::surface::surface;

    /// Depth and alpha of a function whose zero is met by walking along rays; the function is a distance.
    fn picture(camera: &Camera, distance: impl Fn(Vec3) -> f32) -> (Vec<f32>, Vec<f32>) {
        let pixels = (0..camera.height).flat_map(|y| (0..camera.width).map(move |x| (x, y)));
        let depth = pixels.map(|(x, y)| {
            let ray = camera.ray(Vec2::new(x as f32 + 0.5, y as f32 + 0.5));
            let mut t = 0.0;
            for _ in 0..60 {
                t += distance(ray.at(t));
                if t > 10.0 {
                    return 0.0;
                }
            }
            t
        });
        let depth: Vec<f32> = depth.collect();
        let alpha = depth.iter().map(|d| if *d > 0.0 { 1.0 } else { 0.0 }).collect();
        (depth, alpha)
    }

    fn cameras(n: usize) -> Vec<Camera> {
        (0..n)
            .map(|i| {
                let z = 1.0 - (2 * i + 1) as f32 / n as f32;
                let turn = 2.4 * i as f32;
                let around = (1.0 - z * z).sqrt();
                let eye = 3.0 * Vec3::new(around * turn.cos(), around * turn.sin(), z);
                Camera::look_at(eye, Vec3::ZERO, Vec3::Z, 0.75, 72, 64)
            })
            .collect()
    }

    fn fused(cameras: &[Camera], n: u32, distance: impl Fn(Vec3) -> f32, error: f32) -> Mesh {
        let bounds = Aabb::cube(1.0);
        let cell = 2.0 / (n - 1) as f32;
        let mut tsdf = Tsdf::new(bounds, [n; 3], 4.0 * cell).unwrap();
        for camera in cameras {
            let (mut depth, alpha) = picture(camera, &distance);
            depth.iter_mut().for_each(|d| *d += error);
            tsdf.fuse(camera, &depth, &alpha).unwrap();
        }
        surface(&tsdf.into_grid(), 0.0).unwrap()
    }

    fn ball(p: Vec3) -> f32 {
        p.length() - 0.7
    }

    fn errors(mesh: &Mesh) -> (f32, f32) {
        let all: Vec<f32> = mesh.positions.iter().map(|p| ball(*p).abs()).collect();
        (all.iter().sum::<f32>() / all.len() as f32, all.iter().copied().fold(0.0, f32::max))
    }

    #[test]
    fn twenty_pictures_of_a_ball_make_a_ball() {
        let cell = 2.0 / 47.0;
        let mesh = fused(&cameras(20), 48, ball, 0.0);
        let found = report(&mesh);
        assert!(found.watertight && found.components == 1 && found.euler == 2, "{found:?}");
        let (mean, worst) = errors(&mesh);
        assert!(mean < 0.05 * cell && worst < 0.3 * cell, "{} and {} cells", mean / cell, worst / cell);
        // The control: depths that are wrong by a cell and a half show, though the outlines are still right.
        let (mean, _) = errors(&fused(&cameras(20), 48, ball, -1.5 * cell));
        assert!(mean > 0.3 * cell, "{} cells", mean / cell);
    }

    #[test]
    fn distances_in_the_picture_are_exact() {
        let (w, h) = (23, 17);
        let marked = [[3, 2], [20, 4], [9, 16], [10, 16]];
        let mut depth = vec![0.0; w * h];
        marked.iter().for_each(|[x, y]| depth[x + w * y] = 1.0);
        for (at, found) in distance_to(&depth, [w, h]).into_iter().enumerate() {
            let to = |[x, y]: [usize; 2]| (x as f32 - (at % w) as f32).hypot(y as f32 - (at / w) as f32);
            let least = marked.into_iter().map(to).fold(f32::INFINITY, f32::min);
            assert!((found - least).abs() < 1e-4, "{at}: {found}, not {least}");
        }
        assert!(distance_to(&vec![0.0; w * h], [w, h]).iter().all(|d| *d > 28.0 && *d < 29.0));
    }

    #[test]
    fn a_hole_is_seen_through() {
        let torus = |p: Vec3| (Vec3::new(p.x, p.y, 0.0).length() - 0.6).hypot(p.z) - 0.22;
        let found = report(&fused(&cameras(20), 40, torus, 0.0));
        assert!(found.watertight && found.components == 1 && found.euler == 0, "{found:?}");
        let volume = 2.0 * std::f64::consts::PI.powi(2) * 0.6 * 0.22 * 0.22;
        assert!((found.volume / volume - 1.0).abs() < 0.03, "{found:?}");
    }

    #[test]
    fn what_is_hidden_is_solid_and_what_is_not_in_a_picture_is_empty() {
        // One camera on +X: behind the ball everything it hides is solid up to the box.
        let one = Camera::look_at(3.0 * Vec3::X, Vec3::ZERO, Vec3::Z, 0.75, 72, 64);
        let found = report(&fused(&[one], 40, ball, 0.0));
        assert!(found.watertight && found.components == 1 && found.euler == 2, "{found:?}");
        let half = 2.0 / 3.0 * std::f64::consts::PI * 0.343;
        assert!(found.volume > 1.5 * half, "{found:?}");
        // A camera that looks away leaves all empty.
        let away = Camera::look_at(3.0 * Vec3::X, 6.0 * Vec3::X, Vec3::Z, 0.75, 8, 8);
        let mut tsdf = Tsdf::new(Aabb::cube(1.0), [9; 3], 0.5).unwrap();
        tsdf.fuse(&away, &[1.0; 64], &[1.0; 64]).unwrap();
        assert_eq!(tsdf.met(), 0.0);
        assert!(tsdf.into_grid().values.iter().all(|v| *v == -0.5));
    }

    #[test]
    fn a_distant_picture_without_anything_carves() {
        let camera = Camera::look_at(3.0 * Vec3::X, Vec3::ZERO, Vec3::Z, 1.5, 16, 16);
        let mut tsdf = Tsdf::new(Aabb::cube(1.0), [9; 3], 0.4).unwrap();
        // A near wall hides everything; then a picture without it sees through.
        tsdf.fuse(&camera, &[0.5; 256], &[1.0; 256]).unwrap();
        assert!(tsdf.clone().into_grid().values.iter().all(|v| *v == 0.4));
        tsdf.fuse(&camera, &[f32::NAN; 256], &[0.49; 256]).unwrap();
        assert!(tsdf.into_grid().values.iter().all(|v| *v == -0.4));
    }

    #[test]
    fn depth_is_taken_out_of_pictures() {
        let camera = Camera::look_at(3.0 * Vec3::X, Vec3::ZERO, Vec3::Z, 1.2, 4, 2);
        let pixel = |alpha: f32, depth: f32| [0.0, 0.0, 0.0, alpha, alpha * depth];
        let pixels = [pixel(0.8, 2.0), pixel(1.0, 2.0), pixel(0.4, 2.0), pixel(0.0, 0.0)].repeat(2).concat();
        let (depth, alpha) = ray_depth(&camera, &pixels, false).unwrap();
        assert!(depth.iter().zip([2.0, 2.0, 0.0, 0.0].repeat(2)).all(|(a, b)| (a - b).abs() < 1e-6), "{depth:?}");
        assert_eq!(alpha[..4], [0.8, 1.0, 0.4, 0.0]);
        let (depth, _) = ray_depth(&camera, &pixels, true).unwrap();
        for at in [0, 1, 4, 5] {
            let ray = camera.ray(Vec2::new((at % 4) as f32 + 0.5, (at / 4) as f32 + 0.5));
            assert!((ray.at(depth[at]).x - 1.0).abs() < 1e-5 && depth[at] > 2.05, "{at}: {}", depth[at]);
        }
        assert!(ray_depth(&camera, &pixels[1..], true).is_err());
        let fisheye = retort_shaders::Distortion { fisheye: true, ..Default::default() };
        let wide = Camera { distortion: fisheye, focal: Vec2::splat(0.5), ..camera };
        assert!(ray_depth(&wide, &pixels, false).is_ok() && ray_depth(&wide, &pixels, true).is_err());
    }

    #[test]
    fn wrong_pictures_are_refused() {
        let camera = Camera::look_at(3.0 * Vec3::X, Vec3::ZERO, Vec3::Z, 0.75, 4, 2);
        let mut tsdf = Tsdf::new(Aabb::cube(1.0), [9; 3], 0.5).unwrap();
        let mut text = |depth: &[f32], alpha: &[f32]| tsdf.fuse(&camera, depth, alpha).unwrap_err().to_string();
        assert!(text(&[1.0; 8], &[1.0; 7]).contains("8 depths and 7 alphas"));
        let mut depth = [1.0; 8];
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            depth[6] = bad;
            assert!(text(&depth, &[1.0; 8]).contains("(2, 1)"), "{bad}");
        }
        assert!(text(&[1.0; 8], &[f32::NAN; 8]).contains("alpha"));
        assert!(Tsdf::new(Aabb::cube(1.0), [9; 3], 0.0).is_err());
        assert!(Tsdf::new(Aabb::cube(1.0), [1; 3], 1.0).is_err());
    }
}
