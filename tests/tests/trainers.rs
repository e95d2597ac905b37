//! Other trainers' files against what their own code says of them: the golden values of `tests/golden/trainers`.

use std::path::{Path, PathBuf};

use glam::Vec3;
use retort_fields::field::{tensor, values};
use retort_fields::files::any;
use retort_fields::registry::{AnyField, Kind};
use retort_tests::cpu;
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/trainers").join(name)
}

fn told(name: &str) -> Value {
    let text = std::fs::read_to_string(golden(name)).expect("golden values are in the repository");
    serde_json::from_str(&text).expect("JSON")
}

fn number(value: &Value) -> f32 {
    value.as_f64().expect("a number") as f32
}

fn rows(value: &Value) -> Vec<Vec3> {
    let row = |row: &Value| Vec3::from_array([0, 1, 2].map(|i| number(&row[i])));
    value.as_array().expect("rows").iter().map(row).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| number(if v.is_array() { &v[0] } else { v })).collect()
}

/// Log-densities and colours of a volume at points of its scene along directions.
fn asked(field: &AnyField, x: &[Vec3], d: &[Vec3]) -> (Vec<f32>, Vec<Vec3>) {
    let volume = field.as_volume().expect("a volume");
    let rows = |v: &[Vec3]| tensor(v.iter().flat_map(Vec3::to_array).collect(), [v.len(), 3], &cpu());
    let latent = volume.block1(rows(x));
    let log_sigma = values(latent.log_sigma.clone());
    let rgb = values(volume.block2(latent.latent, rows(d)));
    (log_sigma, rgb.as_chunks::<3>().0.iter().map(|c| Vec3::from(*c)).collect())
}

/// The largest differences of log-densities and of colours.
fn apart(field: &AnyField, x: &[Vec3], d: &[Vec3], log_sigma: &[f32], rgb: &[Vec3]) -> [f32; 2] {
    let (own_sigma, own_rgb) = asked(field, x, d);
    let sigma = own_sigma.iter().zip(log_sigma).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    [sigma, own_rgb.iter().zip(rgb).map(|(a, b)| (*a - *b).abs().max_element()).fold(0.0, f32::max)]
}

#[test]
fn checkpoints_of_torch_say_what_their_trainers_say() {
    for (file, kind) in [
        ("tensorf_vm.th", Kind::Vm),
        ("tensorf_cp.th", Kind::Cp),
        ("torch_ngp_hash_2.pth", Kind::Hash),
        ("torch_ngp_planes.pth", Kind::Vm),
        ("pvd_hash.pth", Kind::Hash),
        ("pvd_mlp.pth", Kind::Mlp),
        ("pvd_tensors.pth", Kind::Voxels),
    ] {
        let (field, _) = any::load(&golden(file), &cpu()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(field.kind(), kind, "{file}");
        let said = told(&format!("{}.json", file.split('.').next().unwrap_or_default()));
        let (x, d, rgb) = (rows(&said["x_scene"]), rows(&said["d"]), rows(&said["rgb"]));
        let log_sigma = numbers(&said["log_sigma_scene"]);
        assert!(x.len() >= 100, "{file}");
        let [sigma, colour] = apart(&field, &x, &d, &log_sigma, &rgb);
        assert!(sigma < 1e-3 && colour < 1e-3, "{file}: log sigma is off by {sigma}, colour by {colour}");
        // The negative control: a tenth of a cell aside, it is another value.
        let aside: Vec<Vec3> = x.iter().map(|x| *x + 0.02).collect();
        let [sigma, _] = apart(&field, &aside, &d, &log_sigma, &rgb);
        assert!(sigma > 1e-2, "{file}: moving the points changes nothing");
    }
}

#[test]
fn snapshots_and_sparse_grids_say_what_their_programs_say() {
    for (file, kind) in [
        ("half.ingp", Kind::Hash),
        ("cutlass.ingp", Kind::Hash),
        ("cube.npz", Kind::Voxels),
        ("offset.npz", Kind::Voxels),
    ] {
        let (field, _) = any::load(&golden(file), &cpu()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(field.kind(), kind, "{file}");
        let said = told(&format!("{}.json", file.split('.').next().unwrap_or_default()));
        let frame = field.scene().scene_from_dataset;
        let x: Vec<Vec3> = rows(&said["points"]).into_iter().map(|p| frame.point(p)).collect();
        let d: Vec<Vec3> = rows(&said["directions"]).into_iter().map(|d| frame.rotation * d).collect();
        let (sigma, rgb) = (numbers(&said["sigma"]), rows(&said["rgb"]));
        let (log_sigma, own_rgb) = asked(&field, &x, &d);
        let grid = field.as_volume().expect("a volume").occupancy();
        let occupied = said["occupied"].as_array().expect("a list");
        let mut seen = 0;
        for i in 0..x.len() {
            let own = log_sigma[i].exp() * frame.scale;
            assert!((own - sigma[i]).abs() < 2e-3 * sigma[i].max(1.0), "{file}, point {i}: {own} and {}", sigma[i]);
            // Nobody sees the colour of nothing.
            if sigma[i] > 1e-2 {
                let off = (own_rgb[i] - rgb[i].clamp(Vec3::ZERO, Vec3::ONE)).abs().max_element();
                assert!(off < 2e-3, "{file}, point {i}: {} and {}", own_rgb[i], rgb[i]);
                seen += 1;
            }
            if occupied[i].as_bool().unwrap_or_else(|| number(&occupied[i]) != 0.0) {
                assert!(grid.contains(x[i]), "{file}, point {i} is not empty");
            }
        }
        assert!(seen > 20, "{file}: {seen} points have a density");
    }
}

#[test]
fn splatfacto_is_read_as_its_exporter_has_it() {
    let (field, _) = any::load(&golden("splatfacto.ckpt"), &cpu()).expect("a checkpoint of splatfacto");
    assert_eq!(field.kind(), Kind::Gaussians);
    let said = told("splatfacto.json");
    let frame = field.scene().scene_from_dataset;
    // A scene is upright like nerfstudio's world (+Z up), and files are not: x_scene = s · x_world + t.
    let want: Vec<Vec3> = rows(&said["means"]).into_iter().map(|m| frame.scale * m + frame.translation).collect();
    let means = values(field.params()[0].tensor.clone());
    let opacity = values(field.params()[3].tensor.clone());
    for ((i, want), told) in want.iter().enumerate().zip(numbers(&said["opacity"])) {
        let own = Vec3::from_slice(&means[3 * i..]);
        assert!(own.distance(*want) < 1e-4, "Gaussian {i}: {own} and {want}");
        assert!((1.0 / (1.0 + (-opacity[i]).exp()) - told).abs() < 1e-4, "Gaussian {i}");
    }
}

#[test]
fn a_pickle_that_asks_for_a_program_is_refused_by_name() {
    let error = any::load(&golden("refused_system.pth"), &cpu()).expect_err("nothing is run");
    assert!(error.to_string().contains("system"), "{error}");
    assert!(error.file.is_some() && !error.remedy.is_empty(), "{error}");
}
