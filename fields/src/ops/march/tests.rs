use super::*;
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;
use glam::Vec3;
use retort_shaders::Aabb;

struct Rays {
    origins: Vec<f32>,
    directions: Vec<f32>,
    jitter: Vec<f32>,
}

fn unit(rng: &mut Rng) -> Vec3 {
    Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(Vec3::X)
}

/// From outside, from inside, along axes, along faces and edges of cells.
fn rays(n: usize, distance: f32, seed: u64) -> Rays {
    let mut rng = Rng::new(seed, "rays");
    let mut out = Rays { origins: vec![], directions: vec![], jitter: vec![] };
    for i in 0..n {
        let mut o = unit(&mut rng) * distance;
        let mut d = (unit(&mut rng) * 0.8 - o).normalize_or(Vec3::Z);
        match i % 8 {
            1 => o = unit(&mut rng) * rng.uniform() * 0.9,
            2 => d = Vec3::AXES[rng.below(3)] * if rng.uniform() < 0.5 { 1.0 } else { -1.0 },
            3 => {
                d = Vec3::AXES[rng.below(3)];
                o = (o * 4.0).round() / 8.0;
            }
            4 => d[rng.below(3)] = 0.0,
            5 => d[rng.below(3)] *= 1e-7,
            6 => d[rng.below(3)] *= 1e-42,
            7 => d = unit(&mut rng),
            _ => {}
        }
        out.origins.extend(o.to_array());
        out.directions.extend(d.normalize_or(Vec3::Y).to_array());
        out.jitter.push(if i % 3 == 0 { 0.5 } else { rng.uniform() });
    }
    out
}

/// Balls of random size, about a seventh of the box.
fn grid(resolution: u32, bounds: Aabb, seed: u64) -> Occupancy {
    let mut rng = Rng::new(seed, "balls");
    let mut grid = Occupancy::new_empty(resolution, bounds);
    for _ in 0..12 {
        let reach = bounds.max.x;
        let middle = Vec3::new(rng.range(-0.8, 0.8), rng.range(-0.8, 0.8), rng.range(-0.8, 0.8)) * reach;
        let radius = rng.range(0.1, 0.5) * reach;
        grid.mark(middle - radius, middle + radius, |p| p.distance(middle) < radius);
    }
    grid
}

fn bounded_box() -> Aabb {
    Aabb::new(Vec3::NEG_ONE, Vec3::ONE)
}

fn both(rays: &Rays, grid: &Occupancy, spec: &MarchSpec, limit: Option<usize>) -> (Samples, Samples) {
    assert!(spec.check().is_ok());
    let Rays { origins, directions, jitter } = rays;
    let ours = march(origins, directions, jitter, grid, spec, limit);
    (ours, reference::march(origins, directions, jitter, grid, spec, limit))
}

#[test]
fn skipping_gives_the_very_samples_of_looking_every_step_up() {
    for (resolution, samples, distance) in [(64, 1024, 4.0), (16, 300, 2.5), (128, 256, 30.0), (8, 37, 1.0)] {
        let grid = grid(resolution, bounded_box(), 1);
        let spec = MarchSpec::bounded(samples);
        let (ours, plain) = both(&rays(400, distance, 2), &grid, &spec, None);
        assert_eq!(ours, plain, "at {resolution}³");
        assert!(ours.t.len() > 400, "{}", ours.t.len());
    }
}

#[test]
fn cones_and_contracted_scenes_agree_too() {
    let boxed = grid(32, bounded_box(), 3);
    let spec = MarchSpec { cone_angle: 1.0 / 128.0, ..MarchSpec::bounded(256) };
    let (ours, plain) = both(&rays(300, 3.0, 4), &boxed, &spec, None);
    assert_eq!(ours, plain);
    for (resolution, share) in [(32, 5), (128, 6)] {
        let mut grid = grid(resolution, Aabb::new(Vec3::splat(-2.0), Vec3::splat(2.0)), share);
        grid.exclude_outside_ball(2.0);
        for distance in [0.7, 6.0] {
            let spec = MarchSpec { far: 300.0, ..MarchSpec::unbounded(400) };
            let (ours, plain) = both(&rays(160, distance, 7), &grid, &spec, None);
            assert_eq!(ours, plain, "at {resolution}³ from {distance}");
            let radius = |p: &[f32]| Vec3::from_slice(p).length();
            assert!(ours.position.chunks_exact(3).all(|p| radius(p) < 2.0));
            assert!(ours.position.chunks_exact(3).filter(|p| radius(p) > 1.0).count() > 100);
        }
    }
    let spec = MarchSpec { cone_angle: 0.0, far: 20.0, ..MarchSpec::unbounded(100) };
    let grid = grid(16, Aabb::new(Vec3::splat(-2.0), Vec3::splat(2.0)), 8);
    let (ours, plain) = both(&rays(60, 3.0, 9), &grid, &spec, None);
    assert_eq!(ours, plain);
}

#[test]
fn the_comparison_notices_a_cell_and_a_jitter() {
    let rays_ = rays(200, 4.0, 2);
    let (spec, full) = (MarchSpec::bounded(256), grid(16, bounded_box(), 1));
    let (ours, plain) = both(&rays_, &full, &spec, None);
    assert_eq!(ours, plain);
    let middle = ours.position.as_chunks::<3>().0[ours.t.len() / 2];
    let mut bits = full.bits().to_vec();
    let cell = full.locate(middle.into()).map_or(0, |c| (c.x + 16 * (c.y + 16 * c.z)) as usize);
    bits[cell / 64] &= !(1 << (cell % 64));
    let fewer = Occupancy::from_bits(16, bounded_box(), &bits).expect("the same shape");
    assert_ne!(ours, reference::march(&rays_.origins, &rays_.directions, &rays_.jitter, &fewer, &spec, None));
    let moved: Vec<f32> = rays_.jitter.iter().map(|j| (j + 0.01).fract()).collect();
    assert_ne!(ours, reference::march(&rays_.origins, &rays_.directions, &moved, &full, &spec, None));
}

#[test]
fn rays_that_meet_nothing_have_no_samples() {
    let spec = MarchSpec::bounded(128);
    let full = Occupancy::new_full(16, bounded_box());
    let empty = Occupancy::new_empty(16, bounded_box());
    let one = |o: [f32; 3], d: [f32; 3], grid: &Occupancy| march(&o, &d, &[0.5], grid, &spec, None);
    assert!(one([0.0, 0.0, 4.0], [0.0, 0.0, -1.0], &empty).t.is_empty());
    assert!(!one([0.0, 0.0, 4.0], [0.0, 0.0, -1.0], &full).t.is_empty());
    for (o, d) in [
        ([0.0, 0.0, 4.0], [0.0, 0.0, 1.0]),
        ([0.0, 1.5, 4.0], [0.0, 0.0, -1.0]),
        ([3.0, 3.0, 0.0], [-1.0, 1.0, 0.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ([f32::NAN, 0.0, 4.0], [0.0, 0.0, -1.0]),
        ([0.0, 0.0, 4.0], [0.0, f32::INFINITY, -1.0]),
    ] {
        let samples = one(o, d, &full);
        assert_eq!((samples.ray_start.as_slice(), samples.t.len()), ([0, 0].as_slice(), 0), "{o:?} {d:?}");
    }
    let none = march(&[], &[], &[], &full, &spec, None);
    assert_eq!((none.ray_start.as_slice(), none.position.len()), ([0].as_slice(), 0));
    assert!(MarchSpec { step: 0.0, ..spec }.check().is_err() && MarchSpec { far: 0.0, ..spec }.check().is_err());
    assert!(MarchSpec { cone_angle: 0.0, far: 1e9, ..MarchSpec::unbounded(128) }.check().is_err());
    assert!(MarchSpec { near: f32::NAN, ..spec }.check().is_err());
}

#[test]
fn samples_tile_the_way_through_a_full_box() {
    let spec = MarchSpec { near: 0.0, ..MarchSpec::bounded(1024) };
    let full = Occupancy::new_full(32, bounded_box());
    for (origin, way) in [([0.1, -0.3, 4.0], 2.0), ([0.1, -0.3, 0.25], 1.25)] {
        let s = march(&origin, &[0.0, 0.0, -1.0], &[0.5], &full, &spec, None);
        let sum: f32 = s.dt.iter().sum();
        assert!((sum - way).abs() < spec.step, "{sum} against {way}");
        assert!(s.t.windows(2).all(|w| (w[1] - w[0] - spec.step).abs() < 1e-5));
        let position = s.position.chunks_exact(3).zip(&s.t);
        assert!(position.into_iter().all(|(p, t)| (p[2] - (origin[2] - t)).abs() < 1e-6 && p[0] == 0.1));
        assert!(s.direction.chunks_exact(3).all(|d| d == [0.0, 0.0, -1.0]));
    }
    let capped = MarchSpec { max_samples_per_ray: 10, ..spec };
    assert_eq!(march(&[0.0, 0.0, 4.0], &[0.0, 0.0, -1.0], &[0.5], &full, &capped, None).t.len(), 10);
}

#[test]
fn a_limit_keeps_whole_rays_and_threads_change_nothing() {
    let (grid, spec, rays) = (grid(64, bounded_box(), 1), MarchSpec::bounded(512), rays(500, 4.0, 3));
    let all = both(&rays, &grid, &spec, None).0;
    let limit = all.t.len() / 2;
    let (ours, plain) = both(&rays, &grid, &spec, Some(limit));
    assert_eq!(ours, plain);
    assert!(ours.t.len() <= limit && !ours.t.is_empty());
    let mut marcher = Marcher::default();
    let mut again = all.clone();
    let Rays { origins, directions, jitter } = &rays;
    let fitted = marcher.march_into(origins, directions, jitter, &grid, &spec, Some(limit), &mut again);
    assert_eq!(again, ours);
    assert!(all.ray_start[fitted] as usize <= limit && (all.ray_start[fitted + 1] as usize) > limit);
    assert_eq!(marcher.march_into(origins, directions, jitter, &grid, &spec, None, &mut again), 500);
    assert_eq!(again, all);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        assert_eq!(all, pool.install(|| march(origins, directions, jitter, &grid, &spec, None)));
    }
}
