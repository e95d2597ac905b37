//! The view of the occupancy grid: its occupied cells as blocks, found by walking the grid along each pixel's ray.

use glam::{UVec3, Vec2, Vec3};
use rayon::prelude::*;
use retort_fields::compose::Subject;
use retort_fields::parts::contraction::Contraction;
use retort_fields::parts::occupancy::Occupancy;
use retort_shaders::{Camera, Ray};

/// Cells along an edge of the grid that is made of Gaussians, which have none of their own.
const RESOLUTION: u32 = 64;
/// The most steps along a ray.
const STEPS: usize = 2000;
/// Over a face by this part of a cell, so that the next cell is the next one.
const OVER: f32 = 1e-3;
/// Where the light comes from, and the share of it that comes from everywhere.
const LIGHT: Vec3 = Vec3::new(0.35, -0.45, 0.82);
const AMBIENT: f32 = 0.45;
/// The border of a cell's face, as a part of it, and how dark it is.
const BORDER: f32 = 0.06;
const DARK: f32 = 0.6;

/// The grid of what is shown: a volume's own, with what edits take away left out.
pub fn grid_of(subject: &Subject) -> Option<Occupancy> {
    if let Some(primitives) = subject.as_primitives() {
        return Some(primitives.occupancy_grid(RESOLUTION));
    }
    subject.as_volume().map(|volume| Occupancy::clone(volume.occupancy()))
}

/// A cell that a ray meets.
struct Hit {
    /// Along the ray, scene units.
    distance: f32,
    /// In warped space, in cells.
    at: Vec3,
    cell: UVec3,
}

/// The first occupied cell that `ray` meets.
fn first_hit(grid: &Occupancy, warp: Contraction, ray: &Ray) -> Option<Hit> {
    let scale = grid.cells_per_unit();
    let finest = scale.max_element();
    let (mut t, end) = span(grid, warp, ray)?;
    for _ in 0..STEPS {
        let x = ray.at(t);
        let warped = warp.apply(x);
        if let Some(cell) = grid.locate(warped) {
            let block = grid.block(cell);
            if block.occupied {
                return Some(Hit { distance: t, at: grid.in_cells(warped), cell });
            }
            let side = 1_u32 << block.level;
            let low = (cell / side * side).as_vec3();
            let place = grid.in_cells(warped);
            let straight = warp == Contraction::Identity || x.length_squared() < 1.0;
            t += if straight {
                // To the face through which the ray leaves the block.
                let speed = ray.direction * scale;
                let ahead = Vec3::select(speed.cmpgt(Vec3::ZERO), low + side as f32, low) - place;
                let until = Vec3::select(speed.abs().cmpgt(Vec3::splat(1e-9)), ahead / speed, Vec3::INFINITY);
                let bent = if warp == Contraction::Identity { f32::INFINITY } else { 0.25 };
                until.min_element().clamp(0.0, bent) + OVER / finest
            } else {
                // Rays are bent there: as far as the nearest face at the rate at which the warp shortens a step at most.
                let room = (place - low).min(low + side as f32 - place).min_element().max(0.25);
                let radius = x.length();
                room / finest * radius * radius / (2.0 * radius - 1.0)
            };
        } else {
            t += 0.5 / finest;
        }
        if t > end {
            return None;
        }
    }
    None
}

/// Where a ray can meet the grid: its box, or anything in front of an unbounded scene's camera.
fn span(grid: &Occupancy, warp: Contraction, ray: &Ray) -> Option<(f32, f32)> {
    if warp != Contraction::Identity {
        return Some((0.0, 1e4));
    }
    let bounds = grid.bounds();
    let (a, b) = ((bounds.min - ray.origin) / ray.direction, (bounds.max - ray.origin) / ray.direction);
    let (near, far) = (a.min(b).max_element().max(0.0), a.max(b).min_element());
    (near < far).then_some((near + OVER / grid.cells_per_unit().max_element(), far))
}

/// The light on a hit: by the face that the ray came through, darker along its border.
fn shade(hit: &Hit) -> f32 {
    let inside = (hit.at - hit.cell.as_vec3()).clamp(Vec3::ZERO, Vec3::ONE);
    // The face is the one that is nearest to where the ray came in.
    let to_faces = inside.min(1.0 - inside);
    let axis = to_faces.min_position();
    let normal = Vec3::AXES[axis] * if inside[axis] < 0.5 { -1.0 } else { 1.0 };
    let light = AMBIENT + (1.0 - AMBIENT) * (0.5 + 0.5 * normal.dot(LIGHT.normalize_or_zero()));
    let border = (0..3).filter(|other| *other != axis).any(|other| to_faces[other] < BORDER);
    light * if border { DARK } else { 1.0 }
}

/// Cells as `camera` sees them over `background`: colours `[h * w * 4]`, and distances along the rays `[h * w]`, infinite
/// where there is no cell.
pub fn drawn(grid: &Occupancy, warp: Contraction, camera: &Camera, background: [f32; 3]) -> (Vec<u8>, Vec<f32>) {
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let pixel = |i: usize| {
        let (x, y) = (i % camera.width as usize, i / camera.width as usize);
        let hit = first_hit(grid, warp, &camera.ray(Vec2::new(x as f32 + 0.5, y as f32 + 0.5)));
        let [r, g, b] = hit.as_ref().map_or(background, |hit| [1.0, 0.85, 0.6].map(|c| c * shade(hit)));
        ([byte(r), byte(g), byte(b), 255], hit.map_or(f32::INFINITY, |hit| hit.distance))
    };
    let pixels: Vec<([u8; 4], f32)> = (0..(camera.width * camera.height) as usize).into_par_iter().map(pixel).collect();
    (pixels.iter().flat_map(|(rgba, _)| *rgba).collect(), pixels.iter().map(|(_, depth)| *depth).collect())
}

#[cfg(test)]
mod tests {
    use retort_shaders::Aabb;

    use super::*;

    /// A grid of 16³ in which one cell is occupied, that around `at`.
    fn one(at: Vec3, bounds: Aabb) -> (Occupancy, Aabb) {
        let mut grid = Occupancy::new_empty(16, bounds);
        grid.mark(at, at, |_| true);
        let cell = grid.occupied().next().expect("one cell");
        let (centre, half) = (grid.cell_centre(cell), 0.5 / grid.cells_per_unit());
        (grid, Aabb::new(centre - half, centre + half))
    }

    #[test]
    fn one_cell_is_seen_where_it_is_and_nowhere_else() {
        let (grid, cell) = one(Vec3::new(0.3, -0.4, 0.2), Aabb::cube(1.0));
        for eye in [Vec3::new(3.0, 0.5, 0.8), Vec3::new(-2.0, -2.0, 1.0), Vec3::new(0.3, -0.4, 0.9)] {
            let camera = Camera::look_at(eye, cell.centre(), Vec3::Z, 0.3, 40, 30);
            let (rgba, depth) = drawn(&grid, Contraction::Identity, &camera, [0.0, 0.0, 1.0]);
            let mut seen = 0;
            for (i, depth) in depth.iter().enumerate() {
                let ray = camera.ray(Vec2::new((i % 40) as f32 + 0.5, (i / 40) as f32 + 0.5));
                let (a, b) = ((cell.min - ray.origin) / ray.direction, (cell.max - ray.origin) / ray.direction);
                let (near, far) = (a.min(b).max_element(), a.max(b).min_element());
                let blue = rgba[4 * i..4 * i + 3] == [0, 0, 255];
                assert_eq!(blue, depth.is_infinite());
                if far - near > 5e-3 {
                    assert!((depth - near).abs() < 2e-3, "{eye}, pixel {i}: {depth} for {near}");
                    seen += 1;
                } else if near > far {
                    assert!(depth.is_infinite(), "{eye}, pixel {i}: {depth}");
                }
            }
            assert!(seen > 20, "{eye}: {seen} pixels");
        }
    }

    #[test]
    fn a_cell_far_away_in_an_unbounded_scene_is_seen() {
        let far = Vec3::new(0.0, 5.0, 0.0);
        let warped = Contraction::Ball.apply(far);
        let (grid, _) = one(warped, Aabb::cube(2.0));
        let camera = Camera::look_at(Vec3::new(0.1, -0.5, 0.05), far, Vec3::Z, 0.2, 9, 9);
        let (_, depth) = drawn(&grid, Contraction::Ball, &camera, [0.0; 3]);
        assert!((2.0..9.0).contains(&depth[4 * 9 + 4]), "{}", depth[40]);
        let back = Camera::look_at(Vec3::ZERO, -far, Vec3::Z, 0.2, 9, 9);
        assert!(drawn(&grid, Contraction::Ball, &back, [0.0; 3]).1.iter().all(|depth| depth.is_infinite()));
    }

    #[test]
    fn faces_are_shaded_by_their_side() {
        let hit = |at: Vec3| shade(&Hit { distance: 1.0, at: at + 3.0, cell: UVec3::splat(3) });
        let (top, bottom) = (hit(Vec3::new(0.5, 0.5, 1.0)), hit(Vec3::new(0.5, 0.5, 0.0)));
        let border = hit(Vec3::new(0.01, 0.5, 1.0));
        assert!(top > bottom + 0.2 && (border / top - DARK).abs() < 1e-5 && bottom > 0.2);
    }
}
