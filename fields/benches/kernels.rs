//! The hot kernels on the CPU, on plain slices. Those that PyTorch can do are on the inputs of `tests/yardstick` and give
//! the same `check`; `tests/yardstick/compare` sets the two side by side.
//!
//! Results go to fresh memory each time, as in a training step.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use glam::Vec3;
use retort_fields::field::{tensor, values};
use retort_fields::ops::adam::AdamSpec;
use retort_fields::ops::factors::{self, FactorSpec, Form};
use retort_fields::ops::hash_encode::HashSpec;
use retort_fields::ops::march::{MarchSpec, Marcher, Samples, march};
use retort_fields::ops::splat::{self, SplatParams, SplatSpec};
use retort_fields::ops::voxels::{self, Colour, Links, cpu::Corners};
use retort_fields::ops::{adam, composite, conv, hash_encode, mlp};
use retort_fields::parts::{network, occupancy::Occupancy};
use retort_fields::rng::Rng;
use retort_shaders::Aabb;

use common::{Bench, uniform};

const POINTS: usize = 65_536;

fn main() {
    let bench = Bench::new();
    hash_encoding(&bench);
    voxel_grid(&bench);
    factorised(&bench, "vm", Form::Planes, [176; 3], [16, 48]);
    factorised(&bench, "cp", Form::Lines, [256; 3], [96, 288]);
    let small = [-290.704_305_105_074_8, 92_118_809.814_582_4];
    network_of(&bench, "32-64x4", &[32, 64, 64, 64, 64], true, small);
    let large = [2_428.083_444_155_554, 3_863_334_676.354_451];
    network_of(&bench, "63-256x8", &[63, 256, 256, 256, 256, 256, 256, 256, 256], false, large);
    convolution(&bench, "64x16", [8, 16, 64], [-96.223_170_024_764_5, 7_894_999.849_628_983]);
    convolution(&bench, "128x8", [8, 8, 128], [111.444_952_772_578_46, 7_140_344.146_873_113]);
    rays(&bench);
    gaussians(&bench);
    adam_steps(&bench);
}

/// 16 levels × 2, T = 2¹⁹, 16 → 2048.
fn hash_encoding(bench: &Bench) {
    if !bench.wants("hash_encode_forward") && !bench.wants("hash_encode_both") {
        return;
    }
    let spec = HashSpec::new(16, 2, 19, 16, 2048).expect("a possible shape");
    let x = uniform("points", 3 * POINTS, 0.0, 1.0);
    let table = uniform("table", spec.param_count(), -1e-4, 1e-4);
    let grad = uniform("grad", POINTS * spec.out_dim(), -1.0, 1.0);
    let forward = || {
        let mut out = vec![0.0; grad.len()];
        hash_encode::cpu::forward(&spec, &x, &table, &mut out);
        out
    };
    bench.run("hash_encode_forward", POINTS, Some(0.071_585_442_683_426_48), forward, |out| dot(&out, &grad));
    let both = || {
        let out = forward();
        let mut grad_table = vec![0.0; table.len()];
        hash_encode::cpu::backward(&spec, &x, &table, &grad, &mut grad_table, None);
        (out, grad_table)
    };
    bench.run("hash_encode_both", POINTS, Some(207_026.703_397_727_7), both, |(_, g)| dot(&g, &g));
}

/// `n` pictures of `side²` pixels, as many channels out as in.
fn convolution(bench: &Bench, name: &str, [n, side, width]: [usize; 3], checks: [f64; 2]) {
    let names = ["forward", "both"].map(|what| format!("conv_{what}_{name}"));
    if !names.iter().any(|name| bench.wants(name)) {
        return;
    }
    let bound = (1.0 / width as f32).sqrt();
    let x = uniform("conv x", n * side * side * width, -1.0, 1.0);
    let w = uniform("conv w", 9 * width * width, -bound, bound);
    let grad = uniform("conv grad", x.len(), -1.0, 1.0);
    let bias = vec![0.0; width];
    let forward = || {
        let mut y = vec![0.0; grad.len()];
        conv::cpu::forward(side, &x, &w, &bias, &mut y);
        y
    };
    bench.run(&names[0], n, Some(checks[0]), forward, |y| dot(&y, &grad));
    let both = || {
        let y = forward();
        let (mut grad_x, mut grad_w) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        conv::cpu::grad_x(side, &w, width, &grad, &mut grad_x);
        conv::cpu::grad_w(side, &x, &grad, width, &mut grad_w);
        (y, grad_x, grad_w)
    };
    bench.run(&names[1], n, Some(checks[1]), both, |(_, grad_x, grad_w)| dot(&grad_x, &grad_x) + dot(&grad_w, &grad_w));
}

/// Density and harmonics from the ball in 160³ vertices, at 16 neighbouring points on each of 4096 lines, and the colours.
fn voxel_grid(bench: &Bench) {
    const RESOLUTION: u32 = 160;
    if !bench.wants("voxels_forward") && !bench.wants("voxels_both") {
        return;
    }
    let r = RESOLUTION as usize;
    let inside = |i: usize| {
        let at = [i % r, i / r % r, i / (r * r)].map(|c| (c as f32 + 0.5) / r as f32 - 0.5);
        at.iter().map(|c| c * c).sum::<f32>() < 0.25
    };
    let word = |w: usize| (0..32).fold(0_u32, |bits, b| bits | u32::from(inside(32 * w + b)) << b);
    let links = Arc::new(Links::new(RESOLUTION, &(0..r.pow(3) / 32).map(word).collect::<Vec<_>>()));
    let (rows, step) = (links.rows(), 1.0 / 256.0);
    let (from, along) = (uniform("from", 3 * POINTS / 16, 0.2, 0.8), uniform("along", 3 * POINTS / 16, -1.0, 1.0));
    let (mut x, mut d) = (Vec::new(), Vec::new());
    for (from, along) in from.chunks_exact(3).zip(along.chunks_exact(3)) {
        let (from, along) = (Vec3::from_slice(from), Vec3::from_slice(along).normalize());
        for k in 0..16 {
            x.extend((from + along * (k as f32 * step)).to_array());
            d.extend(along.to_array());
        }
    }
    let (density, sh) = (uniform("density", rows, -2.0, 2.0), uniform("sh", 27 * rows, -0.3, 0.3));
    let grad = uniform("grad", 27 * POINTS, -1.0, 1.0);
    let forward = || {
        let corners = Corners::find(&links, &x);
        let (mut sigma, mut latent) = (vec![0.0; POINTS], vec![0.0; 27 * POINTS]);
        voxels::cpu::forward(&links, 1, -8.0, &corners, &density, &mut sigma);
        voxels::cpu::forward(&links, 27, 0.0, &corners, &sh, &mut latent);
        (corners, sigma, latent)
    };
    bench.run("voxels_forward", POINTS, None, forward, |(_, _, latent)| dot(&latent, &grad));
    let both = || {
        let (corners, ..) = forward();
        let (mut to_density, mut to_sh) = (vec![0.0; rows], vec![0.0; 27 * rows]);
        voxels::cpu::backward_values(&links, 1, &corners, &grad[..POINTS], &mut to_density);
        voxels::cpu::backward_values(&links, 27, &corners, &grad, &mut to_sh);
        (to_density, to_sh)
    };
    bench.run("voxels_both", POINTS, None, both, |(_, g)| dot(&g, &g));
    let device = Device::flex();
    let (latent, d) = (tensor(forward().2, [POINTS, 27], &device), tensor(d, [POINTS, 3], &device));
    let colours = || values(voxels::sh_colour(latent.clone(), d.clone(), Colour::Sigmoid));
    bench.run("voxels_colours", POINTS, None, colours, |c| dot(&c, &c));
}

/// Published ranks, a latent of 15, and points in no order (a ray's samples share taps, which is kinder).
fn factorised(bench: &Bench, name: &str, form: Form, resolution: [u32; 3], [sigma_rank, app_rank]: [usize; 2]) {
    let names = [format!("{name}_forward"), format!("{name}_both")];
    if !names.iter().any(|name| bench.wants(name)) {
        return;
    }
    let spec = FactorSpec { form, resolution, sigma_rank, app_rank, latent: 15, offset: 0.0, outside: -40.0 };
    let x = uniform("points", 3 * POINTS, 0.0, 1.0);
    let table = uniform("factors", spec.rows() * spec.columns(), -1.0, 1.0);
    let basis = uniform("basis", spec.latent * spec.products(), -0.1, 0.1);
    let grad = uniform("grad", POINTS * spec.out_dim(), -1.0, 1.0);
    let forward = || {
        let mut out = vec![0.0; grad.len()];
        factors::cpu::forward(&spec, &x, &table, &basis, &mut out);
        out
    };
    bench.run(&names[0], POINTS, None, forward, |out| dot(&out, &grad));
    let both = || {
        let out = forward();
        let (mut grad_table, mut grad_basis) = (vec![0.0; table.len()], vec![0.0; basis.len()]);
        factors::cpu::backward(&spec, &x, &table, &basis, &grad, &mut grad_table, &mut grad_basis);
        (out, grad_table)
    };
    bench.run(&names[1], POINTS, None, both, |(_, g)| dot(&g, &g));
}

/// ReLU between the layers, none after the last, no biases; `expected` are the checks of `forward` and `both`.
fn network_of(bench: &Bench, name: &str, sizes: &[usize], wants_grad_x: bool, expected: [f64; 2]) {
    let names = [format!("mlp_forward_{name}"), format!("mlp_both_{name}")];
    if !names.iter().any(|name| bench.wants(name)) {
        return;
    }
    let (input, last) = (sizes[0], sizes[sizes.len() - 1]);
    let spec = network::plain(input, &sizes[1..sizes.len() - 1], last);
    let weights = |(k, pair): (usize, &[usize])| {
        let bound = (6.0 / pair[0] as f32).sqrt();
        uniform(&format!("w{k}"), pair[0] * pair[1], -bound, bound)
    };
    let params: Vec<f32> = sizes.windows(2).enumerate().flat_map(weights).collect();
    let x = uniform("input", POINTS * input, -1.0, 1.0);
    let grad = uniform("grad", POINTS * last, -1.0, 1.0);
    let forward = || {
        let mut out = vec![0.0; grad.len()];
        mlp::cpu::forward(&spec, &x, &params, &mut out);
        out
    };
    bench.run(&names[0], POINTS, Some(expected[0]), forward, |out| dot(&out, &grad));
    let both = || {
        let out = forward();
        let mut grad_params = vec![0.0; params.len()];
        let mut grad_x = if wants_grad_x { vec![0.0; x.len()] } else { Vec::new() };
        let wanted = wants_grad_x.then_some(grad_x.as_mut_slice());
        mlp::cpu::backward(&spec, &x, &params, &grad, wanted, &mut grad_params);
        (out, grad_x, grad_params)
    };
    bench.run(&names[1], POINTS, Some(expected[1]), both, |(.., g)| dot(&g, &g));
}

/// 4096 rays through a 64³ grid in which 26 balls are occupied, 1024 steps along the diagonal.
fn rays(bench: &Bench) {
    const RAYS: usize = 4096;
    let mut rng = Rng::new(1, "rays");
    let (mut origins, mut directions) = (Vec::new(), Vec::new());
    for _ in 0..RAYS {
        let from = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize() * 4.0;
        let to = Vec3::from_array(std::array::from_fn(|_| rng.range(-0.9, 0.9)));
        origins.extend(from.to_array());
        directions.extend((to - from).normalize().to_array());
    }
    let jitter: Vec<f32> = (0..RAYS).map(|_| rng.uniform()).collect();
    let mut grid = Occupancy::new_empty(64, Aabb::cube(1.0));
    for _ in 0..26 {
        let centre = Vec3::from_array(std::array::from_fn(|_| rng.range(-0.8, 0.8)));
        grid.mark(centre - 0.13, centre + 0.13, |p| p.distance(centre) < 0.13);
    }
    let spec = MarchSpec::bounded(1024);
    let samples = march(&origins, &directions, &jitter, &grid, &spec, None);
    let n = samples.t.len();
    let fresh = || march(&origins, &directions, &jitter, &grid, &spec, None);
    bench.run("march_4096_rays", n, None, fresh, |s| s.t.len() as f64);
    let (mut marcher, mut kept) = (Marcher::default(), Samples::default());
    let again = || marcher.march_into(&origins, &directions, &jitter, &grid, &spec, None, &mut kept);
    bench.run("march_4096_rays_reused", n, None, again, |rays| rays as f64);

    let (sigma, rgb) = (uniform("sigma", n, 0.0, 10.0), uniform("rgb", 3 * n, 0.0, 1.0));
    let grad = uniform("grad", 5 * RAYS, -1.0, 1.0);
    let Samples { ray_start, t, dt, .. } = &samples;
    let both = || {
        let (mut out, mut grad_sigma, mut grad_rgb) = (vec![0.0; 5 * RAYS], vec![0.0; n], vec![0.0; 3 * n]);
        composite::cpu::forward(ray_start, &sigma, &rgb, t, dt, 1e-4, &mut out);
        composite::cpu::backward(ray_start, &sigma, &rgb, t, dt, 1e-4, &grad, &mut grad_sigma, &mut grad_rgb);
        grad_sigma
    };
    bench.run("composite_both", n, None, both, |g| dot(&g, &g));
}

/// 30,000 Gaussians on a bumpy ball, 200 × 200 pixels, spherical harmonics of degree 3.
fn gaussians(bench: &Bench) {
    const COUNT: usize = 30_000;
    if !bench.wants("splat_forward") && !bench.wants("splat_both") {
        return;
    }
    let mut rng = Rng::new(1, "gaussians");
    let mut means = Vec::with_capacity(3 * COUNT);
    for _ in 0..COUNT {
        let d = Vec3::new(rng.normal(), rng.normal(), rng.normal()).normalize();
        let radius = 0.75 + 0.2 * (6.0 * d.x).sin() * (5.0 * d.z).cos() + 0.03 * rng.normal();
        means.extend((d * radius).to_array());
    }
    let mut normal = |n: usize, mean: f32, spread: f32| -> Vec<f32> {
        (0..n * COUNT).map(|_| mean + spread * rng.normal()).collect()
    };
    let (log_scales, rotations) = (normal(3, 0.012_f32.ln(), 0.6), normal(4, 0.0, 1.0));
    let (raw_opacity, sh_dc, sh_rest) = (normal(1, 0.5, 1.8), normal(3, 0.0, 0.8), normal(45, 0.0, 0.1));
    let params = SplatParams {
        means: &means,
        log_scales: &log_scales,
        rotations: &rotations,
        raw_opacity: &raw_opacity,
        sh_dc: &sh_dc,
        sh_rest: &sh_rest,
    };
    let spec = SplatSpec {
        width: 200,
        height: 200,
        window: None,
        camera_from_world: [[1.0, 0.0, 0.0, 0.0], [0.0, 0.8, 0.6, 0.0], [0.0, -0.6, 0.8, -2.6]],
        focal: [220.0; 2],
        centre: [100.0; 2],
        near: 0.05,
        sh_degree: 3,
        sh_stored: 3,
        antialias: false,
    };
    let grad = uniform("grad", 5 * spec.pixels(), -1e-3, 1e-3);
    let forward = || {
        let mut picture = vec![0.0; grad.len()];
        let saved = splat::forward(&spec, &params, &mut picture);
        (picture, saved)
    };
    bench.run("splat_forward", COUNT, None, forward, |(picture, _)| dot(&picture, &grad));
    let both = || splat::backward(&spec, &params, &forward().1, &grad);
    bench.run("splat_both", COUNT, None, both, |g| dot(&g.means, &g.means));
}

/// The parameters of the `paper` preset of `hash`, all with a gradient, and with one in 6 % of the table's blocks.
fn adam_steps(bench: &Bench) {
    const COUNT: usize = 12_000_000;
    if !bench.wants("adam_12m") && !bench.wants("adam_12m_sparse") {
        return;
    }
    let mut param = uniform("param", COUNT, -1.0, 1.0);
    let mut grad = uniform("grad", COUNT, -1e-3, 1e-3);
    let (mut m, mut v) = (vec![0.0; COUNT], vec![0.0; COUNT]);
    let mut spec = AdamSpec::default();
    let mut t = 0;
    let mut step = |grad: &[f32], spec: &AdamSpec| {
        t += 1;
        adam::cpu::step(&mut param, grad, &mut m, &mut v, 1e-2, t, spec);
    };
    bench.run("adam_12m", COUNT, None, || step(&grad, &spec), |()| 0.0);
    spec.skip_zero_grad = true;
    grad.iter_mut().enumerate().for_each(|(i, g)| *g = if i % 1024 < 64 { *g } else { 0.0 });
    bench.run("adam_12m_sparse", COUNT, None, || step(&grad, &spec), |()| 0.0);
}

/// `Σ aᵢ bᵢ` in double precision.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
