use burn::tensor::Device;
use glam::Vec3;
use retort_shaders::Aabb;

use super::*;
use crate::field::values;
use crate::registry::FieldConfig;

fn config(resolution: u32, ball: bool, density: Density) -> VoxelsConfig {
    VoxelsConfig {
        resolution,
        ball,
        density,
        colour: Colour::Sigmoid,
        initial_sigma: 0.1,
        volume: VoxelSpace {
            log_sigma_range: [-8.0, 7.0],
            occupancy_resolution: 16,
            samples_per_diagonal: 100,
            cone_angle: 0.0,
        },
    }
}

fn fresh(config: &VoxelsConfig, scene: &Scene) -> Voxels {
    let tensors = Voxels::draw(config, scene, 1, &Device::flex()).unwrap();
    Voxels::build(config, scene, tensors).unwrap()
}

/// A grid with random values.
fn stirred(config: &VoxelsConfig) -> Voxels {
    let mut field = fresh(config, &Scene::default());
    let mut rng = Rng::new(5, "stirring");
    for param in field.params_mut() {
        let shape = param.tensor.dims();
        let moved = values(param.tensor.clone()).into_iter().map(|v| v + rng.normal()).collect();
        *param.tensor = tensor(moved, shape, &Device::flex());
    }
    field
}

fn points(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(7, "points");
    (0..3 * n).map(|_| rng.range(-1.0, 1.0)).collect()
}

fn asked(field: &Voxels, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let latent = field.block1(tensor(x.to_vec(), [x.len() / 3, 3], &Device::flex()));
    (values(latent.log_sigma), values(latent.latent))
}

fn around_a_lump(resolution: u32) -> Occupancy {
    let mut keep = Occupancy::new_empty(resolution, Aabb::cube(1.0));
    keep.mark(Vec3::splat(-0.4), Vec3::splat(0.4), |p| p.length() < 0.4);
    keep
}

#[test]
fn a_new_grid_is_a_ball_or_a_box() {
    for resolution in [2, 3, 8, 33, 64] {
        let full = (resolution as usize).pow(3);
        assert_eq!(fresh(&config(resolution, false, Density::Exp), &Scene::default()).links.rows(), full);
        let ball = fresh(&config(resolution, true, Density::Exp), &Scene::default());
        // Every point of the ball has all its corners.
        for p in points(4000).as_chunks::<3>().0.iter().filter(|p| Vec3::from(**p).length() < 1.0) {
            let x = p.map(|v| (0.5 * v + 0.5) * resolution as f32 - 0.5);
            let low = x.map(|v| (v.max(0.0) as usize).min(resolution as usize - 2));
            let r = resolution as usize;
            let base = low[0] + r * (low[1] + r * low[2]);
            for c in 0..8 {
                let vertex = base + (c & 1) + r * ((c >> 1 & 1) + r * (c >> 2));
                assert!(ball.links.row(vertex).is_some(), "{resolution}³ at {p:?}");
            }
        }
        assert!(resolution < 64 || ball.links.rows() * 100 < full * 65, "{} of {full}", ball.links.rows());
    }
    let unbounded = Scene { unbounded: true, bounds: Aabb::cube(2.0), ..Scene::default() };
    let ball = fresh(&config(33, true, Density::Exp), &Scene::default()).links.rows();
    assert_eq!(fresh(&config(33, false, Density::Exp), &unbounded).links.rows(), ball);
}

#[test]
fn a_grid_that_cannot_be_held_is_refused_before_memory_is_taken() {
    for (resolution, ball) in [(1024, false), (1024, true), (512, true), (257, false)] {
        let error = Voxels::draw(&config(resolution, ball, Density::Exp), &Scene::default(), 1, &Device::flex());
        let error = error.expect_err("too large");
        assert!(error.what.contains("resolution") && error.remedy.contains("coarser"), "{error}");
    }
    let mut field = fresh(&config(16, false, Density::Exp), &Scene::default());
    let change = Reshape { resolution: Some(320), keep: None, shrink: false };
    assert!(field.reshape(&change).is_err_and(|e| e.remedy.contains("prune")));
    assert!(field.reshape(&Reshape { resolution: Some(1), ..change }).is_err());
    assert_eq!((field.config.resolution, field.links.rows()), (16, 4096), "it is as before");
}

#[test]
fn a_finer_grid_says_the_same() {
    for density in [Density::Exp, Density::Linear] {
        let mut field = stirred(&config(9, false, density));
        let x = points(300);
        let before = asked(&field, &x);
        // Three times as fine, so that the old vertices are among the new ones.
        assert!(field.reshape(&Reshape { resolution: Some(27), keep: None, shrink: false }).unwrap());
        assert_eq!((field.config.resolution, field.links.rows()), (27, 27 * 27 * 27));
        field.check().unwrap();
        let at: Vec<f32> =
            points(500).iter().map(|v| (2.0 * (4.5 * v + 4.5).floor().min(8.0) + 1.0) / 9.0 - 1.0).collect();
        let old = stirred(&config(9, false, density));
        let worst = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let (a, b) = (asked(&field, &at), asked(&old, &at));
        assert!(worst(&a.1, &b.1) < 1e-4 && worst(&a.0, &b.0) < 0.05, "at the old vertices");
        let after = asked(&field, &x);
        assert!(worst(&before.1, &after.1) < 1.0, "and nearly so between them");
    }
}

#[test]
fn pruning_keeps_what_is_to_be_kept() {
    for (from, to, grid) in [(16, 16, 16), (16, 40, 16), (24, 24, 64), (20, 33, 8)] {
        let mut field = stirred(&config(from, false, Density::Exp));
        let mut finer = stirred(&config(from, false, Density::Exp));
        let keep = around_a_lump(grid.max(8));
        assert!(field.reshape(&Reshape { resolution: Some(to), keep: Some(&keep), shrink: false }).unwrap());
        finer.reshape(&Reshape { resolution: Some(to), keep: None, shrink: false }).unwrap();
        assert!(field.links.rows() * 2 < finer.links.rows(), "{} rows are left", field.links.rows());
        assert_eq!(field.density.dims()[0], field.links.rows());
        field.check().unwrap();
        let all = points(3000);
        let inside: Vec<f32> =
            all.as_chunks::<3>().0.iter().filter(|p| keep.contains(Vec3::from(**p))).flatten().copied().collect();
        assert!(inside.len() > 60);
        assert!(asked(&field, &inside) == asked(&finer, &inside), "{from} to {to}: the same where it is kept");
        let corner = [-0.95, -0.95, 0.95];
        assert!((asked(&field, &corner).0[0] + 8.0).abs() < 1e-4, "empty where it is not");
        // What is gone does not come back, and the same again is no change.
        let rows = field.links.rows();
        let again = Reshape { resolution: None, keep: Some(&keep), shrink: false };
        assert!(!field.reshape(&again).unwrap() && field.links.rows() == rows);
        field.reshape(&Reshape { resolution: Some(2 * to), keep: None, shrink: false }).unwrap();
        assert!((asked(&field, &corner).0[0] + 8.0).abs() < 1e-4);
        let none = Occupancy::new_empty(16, Aabb::cube(1.0));
        assert!(!field.reshape(&Reshape { resolution: None, keep: Some(&none), shrink: false }).unwrap());
    }
}

#[test]
fn vertices_are_saved_and_checked() {
    let mut field = stirred(&config(16, false, Density::Linear));
    let keep = around_a_lump(16);
    field.reshape(&Reshape { resolution: Some(20), keep: Some(&keep), shrink: false }).unwrap();
    let tensors = || vec![field.density.clone(), field.sh.clone()];
    let config = FieldConfig::Voxels(field.config.clone());
    let built = config.build(&Scene::default(), tensors()).unwrap();
    assert!(built.check().is_err(), "without its vertices it is incomplete");
    let mut whole = config.build(&Scene::default(), tensors()).unwrap();
    for (name, bytes) in field.extras(false) {
        whole.set_extra(name, &bytes).unwrap();
    }
    whole.check().unwrap();
    let x = points(100);
    let latent = whole.as_volume().unwrap().block1(tensor(x.clone(), [100, 3], &Device::flex()));
    assert!((values(latent.log_sigma), values(latent.latent)) == asked(&field, &x));
    // Vertices of another grid.
    let other = stirred(&self::config(16, false, Density::Linear));
    let (name, bytes) = other.extras(false).pop().unwrap();
    assert!(whole.set_extra(name, &bytes).is_err());
}

/// What the grid's refreshes ask is what is rendered.
#[test]
fn density_alone_is_the_same_density() {
    for density in [Density::Exp, Density::Linear] {
        let field = stirred(&config(9, true, density));
        let x = points(200);
        let alone = values(field.log_sigma(tensor(x.clone(), [200, 3], &Device::flex())));
        assert!(alone == asked(&field, &x).0);
    }
}

#[test]
fn penalties_are_known_by_name() {
    let field = stirred(&config(9, false, Density::Linear));
    for name in ["tv_sigma", "tv_sh", "sparsity"] {
        let value = values(field.penalty(name, &mut Rng::new(1, name)).unwrap());
        assert!(value.len() == 1 && value[0] > 0.0, "{name}: {value:?}");
    }
    assert!(field.penalty("l1", &mut Rng::new(1, "l1")).is_none());
}
