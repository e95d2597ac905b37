//! Where a triangle can be seen in a picture, as a box of pixels.
//!
//! Without a lens the box is that of the triangle's corners, cut off at the near end. A lens bends the edges, and a
//! fisheye sees behind the camera's plane, where nothing projects: there the pixels are cut into tiles, with a cone
//! around the rays of each and of each four, and the tiles are found from the top down, whose cones the triangle does
//! not miss.

use glam::{DVec2, DVec3, Vec2};
use rayon::prelude::*;
use retort_shaders::Camera;

use super::Corner;

/// Pixels along a tile's edge.
const TILE: u32 = 8;
/// What rounding may move a corner by, in pixels.
const SLACK: f64 = 0.01;

/// First and last pixel along x and y, both included; the first is beyond the last where there is none.
pub(super) type Box2 = [[u32; 2]; 2];

/// No pixel.
const NOWHERE: Box2 = [[1, 0], [1, 0]];

/// How directions become pixels.
pub(super) enum Lens {
    /// Nothing nearer than this along the view axis can be seen.
    None { near: f64 },
    /// Cones around tiles, and those of each four, up to one.
    Bent(Vec<Level>),
}

/// A grid of cones.
pub(super) struct Level {
    /// Cones along x and y.
    size: [u32; 2],
    cones: Vec<Cone>,
}

/// The directions within `half` radians of a unit axis.
#[derive(Clone, Copy)]
struct Cone {
    axis: DVec3,
    half: f64,
}

impl Cone {
    /// One around several.
    fn around(cones: impl Iterator<Item = Cone> + Clone) -> Self {
        let axis = cones.clone().map(|cone| cone.axis).sum::<DVec3>().normalize_or(DVec3::NEG_Z);
        let half = cones.map(|cone| axis.dot(cone.axis).clamp(-1.0, 1.0).acos() + cone.half).fold(0.0, f64::max);
        // The cosine of a small angle has few digits.
        Self { axis, half: half + 1e-6 }
    }
}

impl Lens {
    /// Of a camera whose rays go through the pixels at `offsets` and that sees nothing nearer than `near` along a ray.
    pub(super) fn of(camera: &Camera, near: f64, offsets: &[Vec2]) -> Self {
        let (w, h) = (camera.width, camera.height);
        if camera.distortion.is_none() {
            let corners = [[0, 0], [w, 0], [0, h], [w, h]].map(|[x, y]| Vec2::new(x as f32, y as f32));
            let least = corners.map(|pixel| -f64::from(camera.direction_in_camera(pixel).z));
            return Self::None { near: near * least.into_iter().fold(1.0, f64::min) };
        }
        let size = [w.div_ceil(TILE), h.div_ceil(TILE)];
        let tile = |i: u32| {
            let first = [TILE * (i % size[0]), TILE * (i / size[0])];
            let pixels = (0..TILE * TILE).map(move |k| [first[0] + k % TILE, first[1] + k / TILE]);
            let seen = pixels.filter(|p| p[0] < w && p[1] < h);
            let rays: Vec<Cone> = seen
                .flat_map(|[x, y]| offsets.iter().map(move |offset| Vec2::new(x as f32, y as f32) + *offset))
                .map(|pixel| Cone { axis: camera.direction_in_camera(pixel).as_dvec3().normalize(), half: 0.0 })
                .collect();
            Cone::around(rays.iter().copied())
        };
        let cones = (0..size[0] * size[1]).into_par_iter().map(tile).collect();
        let mut levels = vec![Level { size, cones }];
        while let Some(below) = levels.last().filter(|level| level.cones.len() > 1) {
            let size = below.size.map(|n| n.div_ceil(2));
            let four = |i: u32| {
                let inner = (0..4).map(|k| [2 * (i % size[0]) + k % 2, 2 * (i / size[0]) + k / 2]);
                Cone::around(inner.filter_map(|at| below.get(at)))
            };
            let cones = (0..size[0] * size[1]).map(four).collect();
            levels.push(Level { size, cones });
        }
        Self::Bent(levels)
    }

    /// The pixels that may show a triangle with these corners in camera space.
    pub(super) fn pixels(&self, camera: &Camera, corners: [DVec3; 3]) -> Box2 {
        let size = [camera.width, camera.height];
        match self {
            Self::None { near } => straight(camera, corners, *near),
            Self::Bent(levels) => {
                let Some(corner) = Corner::of(corners) else { return NOWHERE };
                let mut found = [[u32::MAX, 0]; 2];
                descend(levels, levels.len() - 1, [0, 0], &corner, &mut found);
                let pixels = [0, 1].map(|axis| {
                    let [first, last] = found[axis];
                    [first.saturating_mul(TILE), (TILE * last + TILE - 1).min(size[axis] - 1)]
                });
                if found[0][0] == u32::MAX { NOWHERE } else { pixels }
            }
        }
    }
}

impl Level {
    fn get(&self, [x, y]: [u32; 2]) -> Option<Cone> {
        (x < self.size[0] && y < self.size[1]).then(|| self.cones[(x + self.size[0] * y) as usize])
    }
}

/// Widens `found` by the tiles below `at` whose cones the triangle does not miss.
fn descend(levels: &[Level], level: usize, at: [u32; 2], corner: &Corner, found: &mut [[u32; 2]; 2]) {
    let Some(cone) = levels[level].get(at) else { return };
    let missed = cone.half < std::f64::consts::FRAC_PI_2
        && corner.sides.iter().any(|side| side.dot(cone.axis) < -side.length() * cone.half.sin());
    if missed {
        return;
    }
    if level == 0 {
        for axis in 0..2 {
            found[axis] = [found[axis][0].min(at[axis]), found[axis][1].max(at[axis])];
        }
        return;
    }
    (0..4).for_each(|k| descend(levels, level - 1, [2 * at[0] + k % 2, 2 * at[1] + k / 2], corner, found));
}

/// The box of a triangle's image without a lens, cut off where it comes nearer than `near` along the view axis.
fn straight(camera: &Camera, corners: [DVec3; 3], near: f64) -> Box2 {
    // Behind the camera's plane nothing projects.
    let near = near.max(1e-9 * corners.iter().map(|p| p.abs().max_element()).fold(0.0, f64::max)).max(1e-30);
    let (mut low, mut high) = (DVec2::INFINITY, DVec2::NEG_INFINITY);
    let mut meet = |p: DVec3| {
        let pixel = DVec2::new(p.x, -p.y) / -p.z * camera.focal.as_dvec2() + camera.centre.as_dvec2();
        low = low.min(pixel);
        high = high.max(pixel);
    };
    for k in 0..3 {
        let (p, q) = (corners[k], corners[(k + 1) % 3]);
        if -p.z >= near {
            meet(p);
        }
        if (-p.z >= near) != (-q.z >= near) {
            let t = (near + p.z) / (p.z - q.z);
            let cut = p + t * (q - p);
            meet(DVec3::new(cut.x, cut.y, -near));
        }
    }
    let (low, high) = (low - SLACK, high + SLACK);
    let size = DVec2::new(f64::from(camera.width), f64::from(camera.height));
    if !(low.cmplt(size).all() && high.cmpge(DVec2::ZERO).all()) {
        return NOWHERE;
    }
    let (low, high) = (low.max(DVec2::ZERO), high.min(size - 1.0));
    [[low.x as u32, high.x as u32], [low.y as u32, high.y as u32]]
}
