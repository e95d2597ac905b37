use serde_json::json;

use super::*;
use crate::registry::{AnyField, FieldConfig};

/// A field of a kind and its description.
fn field(kind: &str, change: impl Fn(&mut serde_json::Value)) -> AnyField {
    let mut config = json!({
        "kind": kind, "resolution": [9, 9, 9], "sigma_rank": 4, "app_rank": 6, "density": "exp",
        "volume": { "latent": 5, "colour_hidden": [16], "log_sigma_range": [-20.0, 7.0],
                    "occupancy_resolution": 16, "samples_per_diagonal": 64, "cone_angle": 0.0 }
    });
    change(&mut config);
    let config: FieldConfig = serde_json::from_value(config).expect("a factored field");
    config.init(&Scene::default(), 3, &Device::flex()).expect("sound")
}

fn points(n: usize, half: f32) -> Vec<f32> {
    let mut rng = Rng::new(5, "points");
    (0..3 * n).map(|_| rng.range(-half, half)).collect()
}

fn asked(field: &AnyField, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let latent = field.as_volume().expect("a volume").block1(tensor(x.to_vec(), [x.len() / 3, 3], &Device::flex()));
    (values(latent.log_sigma), values(latent.latent))
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn resolution(field: &AnyField) -> [u32; 3] {
    match field.config() {
        FieldConfig::Vm(config) | FieldConfig::Cp(config) => config.resolution,
        other => panic!("{other:?}"),
    }
}

/// Cells of a corner of the box.
fn corner() -> Occupancy {
    let mut keep = Occupancy::new_empty(16, Aabb::cube(1.0));
    keep.mark(Vec3::new(-0.9, -0.4, 0.1), Vec3::new(-0.1, 0.3, 0.4), |_| true);
    keep
}

#[test]
fn a_smaller_box_is_the_same_field_inside_and_nothing_outside() {
    for kind in ["vm", "cp"] {
        let mut field = field(kind, |_| ());
        let before = field.clone();
        let keep = corner();
        let volume = field.as_volume_mut().expect("a volume");
        let change = Reshape { resolution: None, keep: Some(&keep), shrink: true };
        assert!(volume.reshape(&change).expect("possible"));
        assert_ne!(resolution(&field), [9; 3]);
        let (FieldConfig::Vm(config) | FieldConfig::Cp(config)) = field.config() else { panic!("another kind") };
        let [low, high] = config.bounds.expect("a smaller box");
        assert!((0..3).all(|a| low[a] >= -1.0 && high[a] <= 1.0) && high[2] - low[2] < 1.0);
        for (name, shape) in field.config().shapes().expect("sound") {
            let param = field.params().into_iter().find(|p| p.name == name).map(|p| p.tensor.dims());
            assert_eq!(param, Some(shape), "the configuration is that of the present shape");
        }
        let x = points(2000, 1.0);
        let inside: Vec<f32> = x.chunks(3).filter(|p| keep.contains(Vec3::from_slice(p))).flatten().copied().collect();
        assert!(inside.len() > 60);
        let (a, b) = (asked(&before, &inside), asked(&field, &inside));
        assert!(worst(&a.0, &b.0) < 1e-4 && worst(&a.1, &b.1) < 1e-4, "{kind}");
        let outside: Vec<f32> =
            x.chunks(3).filter(|p| (0..3).any(|a| p[a] < low[a] - 0.01)).flatten().copied().collect();
        assert!(asked(&field, &outside).0.iter().all(|l| *l == -20.0), "{kind}: nothing outside");
        let grid = field.as_volume().expect("a volume").occupancy();
        assert!(x.chunks(3).all(|p| !grid.contains(Vec3::from_slice(p)) || keep.contains(Vec3::from_slice(p))));
        // Once more changes nothing.
        assert!(!field.as_volume_mut().expect("a volume").reshape(&change).expect("possible"));
    }
}

#[test]
fn more_cells_are_nearly_cubic_and_keep_the_field() {
    for kind in ["vm", "cp"] {
        let mut field = field(kind, |_| ());
        let keep = corner();
        let before = field.clone();
        let change = Reshape { resolution: Some(17), keep: Some(&keep), shrink: false };
        assert!(field.as_volume_mut().expect("a volume").reshape(&change).expect("possible"));
        assert_eq!(resolution(&field), [17; 3], "{kind}");
        let x = points(500, 0.999);
        let (a, b) = (asked(&before, &x), asked(&field, &x));
        assert!(worst(&a.0, &b.0) < 1e-4 && worst(&a.1, &b.1) < 1e-4, "{kind}");
        let change = Reshape { resolution: Some(40), keep: Some(&keep), shrink: true };
        assert!(field.as_volume_mut().expect("a volume").reshape(&change).expect("possible"));
        let [x, y, z] = resolution(&field).map(|r| r as f32);
        assert!(x > 1.5 * z && y > 1.5 * z && (x * y * z / 64_000.0 - 1.0).abs() < 0.2, "{kind}: {x} {y} {z}");
        let change = Reshape { resolution: Some(100_000), keep: None, shrink: false };
        let before = field.config();
        let error = field.as_volume_mut().expect("a volume").reshape(&change).expect_err("too fine");
        assert!(error.what.contains("resolution") && field.config() == before, "{kind}: {error}");
    }
}

#[test]
fn densities_are_those_of_their_formulas() {
    let x = points(300, 0.9);
    for kind in ["vm", "cp"] {
        let plain = asked(&field(kind, |_| ()), &x).0;
        for (shift, scale) in [(-3.0, 2.0), (0.0, 1.0), (-10.0, 37.5), (20.0, 1.0)] {
            let with = |activation: &str| {
                let field = field(kind, |c| {
                    c["density"] = activation.into();
                    c["density_shift"] = shift.into();
                    c["density_scale"] = scale.into();
                    c["volume"]["log_sigma_range"] = vec![-30.0, 15.0].into();
                });
                asked(&field, &x).0
            };
            let feature = |f: &f32| f64::from(f + shift);
            let exp: Vec<f32> = plain.iter().map(|f| (feature(f) + f64::ln(scale)) as f32).collect();
            let exp: Vec<f32> = exp.iter().map(|l| l.min(15.0)).collect();
            let soft = |f: &f32| (feature(f).exp().ln_1p().ln() + f64::ln(scale)) as f32;
            assert!(worst(&with("exp"), &exp) < 1e-4, "{kind} {shift} {scale}");
            assert!(
                worst(&with("softplus"), &plain.iter().map(soft).collect::<Vec<_>>()) < 1e-3,
                "{kind} {shift} {scale}"
            );
        }
    }
}

#[test]
fn penalties_have_names() {
    let mut rng = Rng::new(1, "penalties");
    for kind in ["vm", "cp"] {
        let field = field(kind, |_| ());
        let volume = field.as_volume().expect("a volume");
        for name in ["l1", "tv_sigma", "tv_app"] {
            let value = volume.penalty(name, &mut rng).expect("it is known").into_scalar::<f32>();
            assert!(value > 0.0 && value < 3.0, "{kind} {name}: {value}");
        }
        assert!(volume.penalty("tv", &mut rng).is_none());
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for (key, bad) in [
        ("resolution", json!([9, 1, 9])),
        ("resolution", json!([9, 9, 5000])),
        ("sigma_rank", json!(0)),
        ("app_rank", json!(4000)),
        ("bounds", json!([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])),
        ("bounds", json!([[0.0, 0.0, 0.0], [1.0, 1e9, 1.0]])),
        ("density_shift", json!(100.0)),
        ("density_scale", json!(0.0)),
    ] {
        for kind in ["vm", "cp"] {
            let mut config = serde_json::to_value(field(kind, |_| ()).config()).expect("JSON");
            config[key] = bad.clone();
            let config: FieldConfig = serde_json::from_value(config).expect("of the right types");
            let error = config.shapes().expect_err("out of range");
            assert!(error.what.contains(key) && !error.remedy.is_empty(), "{error}");
        }
    }
}
