//! The march on wgpu against the CPU's.

use super::super::cpu;
use super::*;
use crate::ops::gpu::testing::{device, difference};
use crate::rng::Rng;

fn ball_grid(resolution: u32, spec: &MarchSpec) -> Occupancy {
    let mut grid = Occupancy::new_empty(resolution, spec.bounds);
    let middle = Vec3::new(0.1, -0.2, 0.05);
    grid.mark(middle - 0.4, middle + 0.4, |p| p.distance(middle) < 0.35);
    grid.mark(Vec3::splat(0.5), Vec3::splat(1.5), |p| p.x > 0.6);
    grid
}

fn rays(n: usize, distance: f32) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(4, "rays");
    let (mut origins, mut directions, mut jitter) = (vec![], vec![], vec![]);
    let unit = |rng: &mut Rng| Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize_or(Vec3::X);
    for i in 0..n {
        let o = unit(&mut rng) * distance;
        let mut d = (unit(&mut rng) * 0.5 - o).normalize();
        if i % 5 == 0 {
            d = -o.normalize();
        }
        if i % 7 == 0 {
            d = Vec3::AXES[i % 3];
        }
        origins.extend(o.to_array());
        directions.extend(d.to_array());
        jitter.push(rng.uniform());
    }
    origins[3] = f32::NAN;
    (origins, directions, jitter)
}

/// Asserts that both find the same samples, but for a few on the faces of cells.
fn check(resolution: u32, spec: &MarchSpec, n: usize, distance: f32, limit: Option<usize>) {
    let (origins, directions, jitter) = rays(n, distance);
    let grid = ball_grid(resolution, spec);
    let expected = cpu::march(&origins, &directions, &jitter, &grid, spec, limit);
    let on = DeviceGrid::new(&device().client(), &grid);
    let found = march(&device(), &on, &origins, &directions, &jitter, &grid, spec, limit).to_host();
    assert!(expected.t.len() > n / 4, "{} samples of {n} rays compare little", expected.t.len());
    let counts = |s: &Samples| s.ray_start.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>();
    let (theirs, ours) = (counts(&expected), counts(&found));
    let odd = theirs.iter().zip(&ours).filter(|(a, b)| a != b).count();
    assert!(odd <= n / 1000, "{odd} of {n} rays have another number of samples");
    for ray in (0..n).filter(|&ray| theirs[ray] == ours[ray]) {
        let rows = |s: &Samples| s.ray_start[ray] as usize..s.ray_start[ray + 1] as usize;
        let (a, b) = (rows(&expected), rows(&found));
        let close =
            |x: &[f32], y: &[f32], w: usize| difference(&x[b.start * w..b.end * w], &y[a.start * w..a.end * w]) < 1e-5;
        assert!(close(&found.t, &expected.t, 1), "t of ray {ray}");
        assert!(close(&found.dt, &expected.dt, 1), "dt of ray {ray}");
        assert!(close(&found.position, &expected.position, 3), "positions of ray {ray}");
        assert!(close(&found.direction, &expected.direction, 3), "directions of ray {ray}");
    }
    // The negative control: another grid gives other samples.
    let other = Occupancy::new_full(resolution, spec.bounds);
    let on = DeviceGrid::new(&device().client(), &other);
    let spoilt = march(&device(), &on, &origins, &directions, &jitter, &other, spec, limit);
    assert_ne!(spoilt.ray_start, expected.ray_start);
}

#[test]
fn equals_the_cpu_in_a_box() {
    check(32, &MarchSpec::bounded(256), 2000, 3.0, None);
}

#[test]
fn equals_the_cpu_contracted() {
    check(32, &MarchSpec::unbounded(128), 1000, 0.7, None);
}

#[test]
fn rays_beyond_the_limit_have_none() {
    check(32, &MarchSpec::bounded(256), 2000, 3.0, Some(10_000));
}

#[test]
fn equals_the_cpu_where_groups_fold() {
    let coarse = MarchSpec { step: 0.5, ..MarchSpec::bounded(64) };
    check(8, &coarse, 32_768 * 64 + 3, 2.0, None);
}

#[test]
fn no_rays_have_no_samples() {
    let spec = MarchSpec::bounded(64);
    let grid = ball_grid(8, &spec);
    let on = DeviceGrid::new(&device().client(), &grid);
    assert_eq!(march(&device(), &on, &[], &[], &[], &grid, &spec, None).to_host().ray_start, [0]);
}
