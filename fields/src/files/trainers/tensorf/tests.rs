use glam::Vec3;
use retort_shaders::Aabb;

use super::super::evaluated::{Toy, check, field_of, probes, sigmoid, spoiled};
use super::super::torch::written::{Py, checkpoint, dict, tensor, text};
use crate::parts::occupancy::Occupancy;
use crate::rng::Rng;

const LOW: [f32; 3] = [-1.4, -1.2, -0.7];
const HIGH: [f32; 3] = [1.5, 1.1, 1.3];
/// Half the longest edge, and the middle.
const HALF: f32 = 1.45;
const MIDDLE: [f32; 3] = [0.05, -0.05, 0.3];
const SIZE: [usize; 3] = [6, 5, 4];
const LATENT: usize = 4;
/// Axes of the planes; lines lie along the third.
const MODES: [[usize; 3]; 3] = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];

/// A model and what it is saved with.
struct Model {
    toy: Toy,
    planes: bool,
    ranks: [[usize; 3]; 2],
    /// `fea_pe`, `view_pe`
    octaves: [usize; 2],
    shading: &'static str,
}

impl Model {
    fn new(planes: bool, ranks: [[usize; 3]; 2], octaves: [usize; 2], shading: &'static str) -> Self {
        let mut rng = Rng::new(3, "tensorf");
        let mut toy = Toy::default();
        for (what, ranks) in ["density", "app"].iter().zip(ranks) {
            for (i, [a, b, c]) in MODES.into_iter().enumerate() {
                if planes {
                    toy.add(&mut rng, &format!("{what}_plane.{i}"), &[1, ranks[i], SIZE[b], SIZE[a]], 2.0);
                }
                toy.add(&mut rng, &format!("{what}_line.{i}"), &[1, ranks[i], SIZE[c], 1], 1.5);
            }
        }
        let products = if planes { ranks[1].iter().sum() } else { ranks[1][0] };
        toy.add(&mut rng, "basis_mat.weight", &[LATENT, products], 0.5);
        let seen = LATENT + 3 + 2 * (LATENT * octaves[0] + 3 * octaves[1]);
        for (name, out, input) in [("0", 8, seen), ("2", 8, 8), ("4", 3, 8)] {
            toy.add(&mut rng, &format!("renderModule.mlp.{name}.weight"), &[out, input], 0.6);
            toy.add(&mut rng, &format!("renderModule.mlp.{name}.bias"), &[out], 0.3);
        }
        Self { toy, planes, ranks, octaves, shading }
    }

    /// The settings, with some of them replaced.
    fn kwargs(&self, other: &[(&str, Py)]) -> Py {
        let ranks = |part: usize| Py::List(self.ranks[part].iter().map(|r| Py::Int(*r as i64)).collect());
        let mut all = vec![
            ("aabb", tensor(&[2, 3], &[LOW, HIGH].concat())),
            ("gridSize", Py::List(SIZE.iter().map(|n| Py::Int(*n as i64)).collect())),
            ("density_n_comp", ranks(0)),
            ("appearance_n_comp", ranks(1)),
            ("app_dim", Py::Int(LATENT as i64)),
            ("density_shift", Py::Int(-2)),
            ("distance_scale", Py::Int(25)),
            ("fea2denseAct", text("softplus")),
            ("near_far", Py::List(vec![Py::Float(2.0), Py::Float(6.0)])),
            ("step_ratio", Py::Float(0.5)),
            ("shadingMode", text(self.shading)),
            ("pos_pe", Py::Int(6)),
            ("view_pe", Py::Int(self.octaves[1] as i64)),
            ("fea_pe", Py::Int(self.octaves[0] as i64)),
        ];
        for (name, value) in other {
            all.iter_mut().filter(|(n, _)| n == name).for_each(|(_, slot)| *slot = value.clone());
        }
        Py::Dict(all.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    fn saved(&self) -> Py {
        dict([("kwargs", self.kwargs(&[])), ("state_dict", self.toy.state())])
    }

    /// Products of the factors at a point of `[-1, 1]³`, mode by mode.
    fn products(&self, what: &str, ranks: [usize; 3], at: [f32; 3]) -> Vec<Vec<f32>> {
        let lines = |i: usize, rank: usize| {
            let axis = MODES[i][2];
            let line = &self.toy.get(&format!("{what}_line.{i}"))[rank * SIZE[axis]..][..SIZE[axis]];
            sampled(line, [1, SIZE[axis]], [0.0, at[axis]])
        };
        if !self.planes {
            return vec![(0..ranks[0]).map(|r| (0..3).map(|i| lines(i, r)).product()).collect()];
        }
        let mode = |i: usize| {
            let [a, b, _] = MODES[i];
            let area = SIZE[a] * SIZE[b];
            let plane = |r: usize| &self.toy.get(&format!("{what}_plane.{i}"))[r * area..][..area];
            (0..ranks[i]).map(|r| sampled(plane(r), [SIZE[a], SIZE[b]], [at[a], at[b]]) * lines(i, r)).collect()
        };
        (0..3).map(mode).collect()
    }

    /// Density per unit of the photos, and colour.
    fn ask(&self, x: [f32; 3], d: [f32; 3]) -> (f32, [f32; 3]) {
        let at = [0, 1, 2].map(|a| (x[a] - LOW[a]) * 2.0 / (HIGH[a] - LOW[a]) - 1.0);
        let feature: f32 = self.products("density", self.ranks[0], at).concat().iter().sum();
        let latent = self.toy.linear("basis_mat", &self.products("app", self.ranks[1], at).concat());
        // Of each value its octaves, all sines before all cosines.
        let waves = |v: &[f32], octaves: usize| -> Vec<f32> {
            let scaled: Vec<f32> = v.iter().flat_map(|v| (0..octaves).map(move |k| v * (1 << k) as f32)).collect();
            scaled.iter().map(|v| v.sin()).chain(scaled.iter().map(|v| v.cos())).collect()
        };
        let seen = [&latent, d.as_slice(), &waves(&latent, self.octaves[0]), &waves(&d, self.octaves[1])].concat();
        let layers = ["renderModule.mlp.0", "renderModule.mlp.2", "renderModule.mlp.4"];
        let rgb = self.toy.network(&layers, &seen);
        (25.0 * (feature - 2.0).exp().ln_1p(), [0, 1, 2].map(|c| sigmoid(rgb[c])))
    }
}

/// Bilinear interpolation of `[b, a]` values at a point of `[-1, 1]²`, grid points at the ends.
fn sampled(values: &[f32], [a, b]: [usize; 2], at: [f32; 2]) -> f32 {
    let place = |n: usize, v: f32| {
        let p = 0.5 * (v + 1.0) * (n - 1) as f32;
        let cell = (p as usize).min(n.saturating_sub(2));
        [(cell, 1.0 - (p - cell as f32)), ((cell + 1).min(n - 1), p - cell as f32)]
    };
    let mut sum = 0.0;
    for (row, wb) in place(b, at[1]) {
        for (column, wa) in place(a, at[0]) {
            sum += wa * wb * values[row * a + column];
        }
    }
    sum
}

#[test]
fn fields_are_those_that_the_trainer_has() {
    for model in [
        Model::new(true, [[2, 2, 2], [3, 3, 3]], [2, 2], "MLP_Fea"),
        Model::new(true, [[3, 1, 2], [2, 3, 1]], [1, 2], "MLP_Fea"),
        Model::new(true, [[2, 2, 2], [2, 2, 2]], [0, 1], "MLP"),
        Model::new(false, [[4; 3], [5; 3]], [2, 0], "MLP_Fea"),
    ] {
        let (parts, notes) = field_of(&model.saved()).unwrap();
        let config = &parts.json["config"];
        assert_eq!(config["kind"], if model.planes { "vm" } else { "cp" });
        assert_eq!(config["resolution"], serde_json::json!(SIZE));
        let (x, d) = probes(80, LOW, HIGH, &mut Rng::new(9, "probes"));
        let scene: Vec<f32> = x.iter().enumerate().map(|(i, v)| (v - MIDDLE[i % 3]) / HALF).collect();
        check(&parts, &scene, &d, |i| {
            let (sigma, rgb) = model.ask(x.as_chunks::<3>().0[i], d.as_chunks::<3>().0[i]);
            ((sigma * HALF).ln(), rgb)
        });
        let filled_up = notes.iter().any(|note| note.contains("zeros"));
        assert_eq!(filled_up, model.ranks[0] == [3, 1, 2], "{notes:?}");
    }
}

#[test]
fn the_frame_is_the_photos() {
    let (parts, _) = field_of(&Model::new(true, [[1; 3]; 2], [2, 2], "MLP_Fea").saved()).unwrap();
    let scene = &parts.json["scene"];
    assert_eq!(scene["bounds"]["max"], serde_json::json!([1.0, 1.0, 1.0]));
    let number = |json: &serde_json::Value| json.as_f64().unwrap() as f32;
    let frame = &scene["scene_from_dataset"];
    for a in 0..3 {
        let low = LOW[a] * number(&frame["scale"]) + number(&frame["translation"][a]);
        assert!((low - number(&parts.json["config"]["bounds"][0][a])).abs() < 1e-6);
    }
    // Steps of half a cell: the mean cell is 2.9/5, 2.3/4 and 2/3 long.
    assert_eq!(parts.json["config"]["volume"]["samples_per_diagonal"], 17);
}

#[test]
fn what_the_mask_leaves_is_occupied() {
    let model = Model::new(true, [[1; 3]; 2], [2, 2], "MLP_Fea");
    let grid_of = |mask: Option<(Vec<i64>, Vec<u8>)>| {
        let mut root = vec![("kwargs".to_string(), model.kwargs(&[])), ("state_dict".to_string(), model.toy.state())];
        if let Some((shape, bits)) = mask {
            root.push(("alphaMask.shape".into(), Py::Tuple(shape.into_iter().map(Py::Int).collect())));
            root.push(("alphaMask.mask".into(), Py::Array(vec![bits.len() as i64], bits)));
            root.push(("alphaMask.aabb".into(), tensor(&[2, 3], &[LOW, HIGH].concat())));
        }
        let (parts, _) = field_of(&Py::Dict(root))?;
        Occupancy::from_bytes(&parts.bytes[0].1, Aabb::cube(1.0))
    };
    let at = |x: [f32; 3]| (Vec3::from(x) - Vec3::from(MIDDLE)) / HALF;
    // Points z, y, x of 3 × 4 × 5; of them only (x, y, z) = (1, 2, 1) is set: bit 20 + 10 + 1.
    let mut bits = vec![0_u8; 8];
    bits[31 / 8] = 0x80 >> (31 % 8);
    let grid = grid_of(Some((vec![3, 4, 5], bits.clone()))).unwrap();
    let place = |p: [f32; 3]| at([0, 1, 2].map(|a| LOW[a] + p[a] / [4.0, 3.0, 2.0][a] * (HIGH[a] - LOW[a])));
    for inside in [[1.0, 2.0, 1.0], [0.05, 2.0, 1.0], [1.95, 2.95, 1.95], [1.0, 1.05, 0.05]] {
        assert!(grid.contains(place(inside)), "{inside:?}");
    }
    for outside in [[2.2, 2.0, 1.0], [1.0, 0.8, 1.0], [3.0, 0.5, 0.5], [4.0, 3.0, 2.0]] {
        assert!(!grid.contains(place(outside)), "{outside:?}");
    }
    // Without a mask: the box, and nothing else.
    let grid = grid_of(None).unwrap();
    assert!(grid.contains(at(MIDDLE)) && grid.contains(at([1.49, 1.09, 1.29])));
    assert!(!grid.contains(Vec3::new(0.0, 0.0, 0.8)) && grid.occupied_fraction() < 0.6);
    for (shape, bytes) in [(vec![3, 4, 5], 7), (vec![3, 4], 2), (vec![1, 4, 5], 3), (vec![1 << 40, 1 << 40, 5], 8)] {
        assert!(grid_of(Some((shape, vec![255; bytes]))).is_err());
    }
}

#[test]
fn what_no_field_can_hold_is_refused_by_name() {
    let model = Model::new(true, [[1; 3]; 2], [2, 2], "MLP_Fea");
    let list = |values: [f64; 2]| Py::List(values.map(Py::Float).to_vec());
    let refusal = |name: &str, value: Py| {
        let root = dict([("kwargs", model.kwargs(&[(name, value)])), ("state_dict", model.toy.state())]);
        field_of(&root).expect_err(name)
    };
    for (name, value, says) in [
        ("fea2denseAct", text("relu"), "relu"),
        ("shadingMode", text("SH"), "shadingMode is SH"),
        ("shadingMode", text("RGB"), "shadingMode is RGB"),
        ("shadingMode", text("MLP_PE"), "positions"),
        ("shadingMode", text("other"), "other"),
        ("near_far", list([0.0, 1.0]), "normalised device"),
        ("view_pe", Py::Int(6), "6 octaves"),
        ("fea_pe", Py::Int(1), "colour network sees 35"),
        ("gridSize", Py::List(vec![Py::Int(6), Py::Int(5), Py::Int(9)]), "density_line.0"),
        ("gridSize", Py::List(vec![Py::Int(6), Py::Int(5)]), "gridSize"),
        ("gridSize", Py::List(vec![Py::Int(6), Py::Int(0), Py::Int(4)]), "resolution"),
        ("aabb", tensor(&[2, 3], &[0.0; 6]), "aabb"),
        ("aabb", tensor(&[2, 3], &[f32::NAN; 6]), "aabb"),
        ("app_dim", Py::Int(5), "basis_mat"),
        ("app_dim", Py::Int(-5), "app_dim"),
        ("density_shift", Py::Float(f64::NAN), "density_shift"),
    ] {
        let error = refusal(name, value);
        assert!(error.what.contains(says) && !error.remedy.is_empty(), "{name}: {error}");
    }
    let mut broken = model.toy.clone();
    broken.tensors[2].2[0] = f32::INFINITY;
    let root = dict([("kwargs", model.kwargs(&[])), ("state_dict", broken.state())]);
    assert!(field_of(&root).is_err_and(|e| e.what.contains("density_plane.1")));
    // A mode of no ranks whose plane has some all the same.
    let mut none = Model::new(true, [[1, 0, 1], [1; 3]], [2, 2], "MLP_Fea");
    assert!(field_of(&none.saved()).is_ok());
    none.toy.tensors.iter_mut().filter(|(name, ..)| name == "density_plane.1").for_each(|(_, shape, values)| {
        *shape = vec![1, 9, SIZE[2], SIZE[0]];
        *values = vec![1.0; 9 * SIZE[2] * SIZE[0]];
    });
    assert!(field_of(&none.saved()).is_err_and(|e| e.what.contains("density_plane.1")));
    let mut short = model.toy.clone();
    short.tensors.retain(|(name, ..)| name != "app_line.2");
    let root = dict([("kwargs", model.kwargs(&[])), ("state_dict", short.state())]);
    assert!(field_of(&root).is_err_and(|e| e.what.contains("app_line.2")));
}

#[test]
fn spoiled_files_never_panic() {
    let model = Model::new(true, [[1; 3]; 2], [2, 2], "MLP_Fea");
    let refused = spoiled(&checkpoint(&model.saved()), 400);
    assert!((50..400).contains(&refused), "{refused}");
}
