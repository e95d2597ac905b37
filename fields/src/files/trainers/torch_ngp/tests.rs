use glam::Vec3;
use retort_shaders::Aabb;

use super::super::evaluated::{Toy, check, field_of, model, probes, sigmoid, spoiled, waves_of};
use super::super::torch::written::{Py, checkpoint, dict, stored, tensor};
use super::morton;
use crate::error::Result;
use crate::files::archive::Archive;
use crate::parts::occupancy::Occupancy;
use crate::parts::sh;
use crate::rng::Rng;

const LATENT: usize = 5;

/// A model with its boxes, to which parameters are added.
fn toy(bound: f32) -> Toy {
    let mut toy = Toy::default();
    for name in ["aabb_train", "aabb_infer"] {
        toy.tensors.push((name.into(), vec![6], vec![-bound, -bound, -bound, bound, bound, bound]));
    }
    toy
}

/// Adds networks without biases: density of `input`, if there is one, and colour of `[SH, latent]` or of `seen` values.
fn networks(toy: &mut Toy, input: Option<usize>, seen: usize) {
    let mut rng = Rng::new(5, "networks");
    if let Some(input) = input {
        toy.add(&mut rng, "sigma_net.0.weight", &[8, input], 0.8);
        toy.add(&mut rng, "sigma_net.1.weight", &[1 + LATENT, 8], 0.8);
    }
    for (name, out, input) in [("0", 8, seen), ("1", 8, 8), ("2", 3, 8)] {
        toy.add(&mut rng, &format!("color_net.{name}.weight"), &[out, input], 0.7);
    }
}

/// Colour of what the colour network sees.
fn colour(toy: &Toy, seen: &[f32]) -> [f32; 3] {
    let rgb = toy.network(&["color_net.0", "color_net.1", "color_net.2"], seen);
    [0, 1, 2].map(|c| sigmoid(rgb[c]))
}

/// The harmonics of a direction, then the latent.
fn direction_first(d: [f32; 3], latent: &[f32]) -> Vec<f32> {
    [&sh::eval_basis(3, d.into()), latent].concat()
}

fn rows(values: &[f32]) -> &[[f32; 3]] {
    values.as_chunks::<3>().0
}

/// The levels of a grid of two: 16 and 2048 · bound, of which the first is dense.
const ENTRIES: [usize; 2] = [4920, 8192];

fn with_grid(bound: f32) -> Toy {
    let mut toy = toy(bound);
    toy.add(&mut Rng::new(1, "grid"), "encoder.embeddings", &[ENTRIES[0] + ENTRIES[1], 2], 1.0);
    networks(&mut toy, Some(4), 16 + LATENT);
    toy
}

fn offsets(values: &[i32]) -> Py {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Py::Tensor(stored("IntStorage", &[values.len()], values.len(), bytes))
}

/// A `state_dict` with more in it.
fn with(toy: &Toy, more: Vec<(&str, Py)>) -> Py {
    let Py::Dict(mut pairs) = toy.state() else { panic!("a state_dict") };
    pairs.extend(more.into_iter().map(|(name, value)| (name.to_string(), value)));
    Py::Dict(pairs)
}

fn grid_state(toy: &Toy) -> Py {
    with(toy, vec![("encoder.offsets", offsets(&[0, 4920, 13_112]))])
}

/// What torch-ngp's `kernel_grid` gives at a point of `[0, 1]³`.
fn encoded(table: &[f32], unit: [f32; 3], finest: f32) -> Vec<f32> {
    let mut out = Vec::new();
    for (level, size) in ENTRIES.into_iter().enumerate() {
        let scale = if level == 0 { 15.0 } else { finest - 1.0 };
        let stride = scale as u64 + 2;
        let position = unit.map(|v| v * scale + 0.5);
        let mut value = [0.0; 2];
        for corner in 0..8_u64 {
            let up = [0, 1, 2].map(|a| corner >> a & 1);
            let at = [0, 1, 2].map(|a| position[a] as u64 + up[a]);
            let part = |a: usize| if up[a] == 1 { position[a].fract() } else { 1.0 - position[a].fract() };
            let hash = at[0] ^ (at[1] * 2_654_435_761) ^ (at[2] * 805_459_861);
            let index = if level == 0 { at[0] + stride * (at[1] + stride * at[2]) } else { (hash as u32).into() };
            let entry = level * ENTRIES[0] + (index % size as u64) as usize;
            (0..2).for_each(|k| value[k] += part(0) * part(1) * part(2) * table[2 * entry + k]);
        }
        out.extend(value);
    }
    out
}

#[test]
fn hash_grids_are_those_that_the_trainer_has() {
    for bound in [1.0, 2.0] {
        let toy = with_grid(bound);
        let (parts, notes) = field_of(&model(grid_state(&toy))).unwrap();
        let config = &parts.json["config"];
        assert_eq!((&config["kind"], &config["log2_table_size"]), (&"hash".into(), &13.into()));
        assert_eq!(parts.json["provenance"]["steps"], 77);
        assert!(notes.iter().any(|note| note.contains("+Y up")), "{notes:?}");
        let (x, d) = probes(80, [-bound; 3], [bound; 3], &mut Rng::new(2, "probes"));
        check(&parts, &x, &d, |i| {
            let unit = rows(&x)[i].map(|v| (v + bound) / (2.0 * bound));
            let h = toy.network(
                &["sigma_net.0", "sigma_net.1"],
                &encoded(toy.get("encoder.embeddings"), unit, 2048.0 * bound),
            );
            (h[0], colour(&toy, &direction_first(rows(&d)[i], &h[1..])))
        });
    }
}

#[test]
fn running_averages_come_first() {
    let (toy, mut other) = (with_grid(1.0), with_grid(1.0));
    other.tensors.iter_mut().for_each(|(_, _, values)| values.iter_mut().for_each(|v| *v *= 0.5));
    let parameters = |toy: &Toy| {
        let all = toy.tensors.iter().filter(|(name, ..)| !name.starts_with("aabb"));
        Py::List(all.map(|(_, shape, values)| tensor(shape, values)).collect())
    };
    let root = |averages: Py| dict([("model", grid_state(&toy)), ("ema", dict([("shadow_params", averages)]))]);
    let table = |parts: &Archive| parts.tensors[0].2.clone();
    let (parts, notes) = field_of(&root(parameters(&other))).unwrap();
    assert!(table(&parts) == other.get("encoder.embeddings") && notes.iter().any(|n| n.contains("EMA) were read")));
    let (parts, notes) = field_of(&root(Py::List(Vec::new()))).unwrap();
    assert!(table(&parts) == toy.get("encoder.embeddings") && notes.iter().any(|n| n.contains("left out")));
}

/// A grid of planes and lines, measured in a box of its own.
fn with_planes(seen: usize) -> Toy {
    const SIZE: [usize; 3] = [5, 4, 3];
    let mut toy = toy(1.0);
    toy.tensors[0].2 = vec![-0.9, -0.8, -0.7, 0.6, 0.7, 0.8];
    let mut rng = Rng::new(6, "planes");
    for (what, rank) in [("sigma", 2), ("color", 3)] {
        for (i, [a, b, c]) in [[0, 1, 2], [0, 2, 1], [1, 2, 0]].into_iter().enumerate() {
            toy.add(&mut rng, &format!("{what}_mat.{i}"), &[1, rank, SIZE[b], SIZE[a]], 1.0);
            toy.add(&mut rng, &format!("{what}_vec.{i}"), &[1, rank, SIZE[c], 1], 1.0);
        }
    }
    toy.add(&mut rng, "basis_mat.weight", &[LATENT, 9], 2.5);
    networks(&mut toy, None, seen);
    toy
}

/// Products of planes and lines at a grid point.
fn products(toy: &Toy, what: &str, rank: usize, at: [usize; 3]) -> Vec<f32> {
    let size = [5, 4, 3];
    let mode = |(i, [a, b, c]): (usize, [usize; 3])| {
        let plane = toy.get(&format!("{what}_mat.{i}"));
        let line = toy.get(&format!("{what}_vec.{i}"));
        (0..rank).map(move |r| plane[(r * size[b] + at[b]) * size[a] + at[a]] * line[r * size[c] + at[c]])
    };
    [[0, 1, 2], [0, 2, 1], [1, 2, 0]].into_iter().enumerate().flat_map(mode).collect()
}

#[test]
fn planes_are_those_that_the_trainers_have() {
    for pvd in [true, false] {
        let toy = with_planes(if pvd { 16 + LATENT } else { 5 * (LATENT + 3) });
        let (parts, notes) = field_of(&model(toy.state())).unwrap();
        // Interpolation is what TensoRF's tests look at; here grid points will do.
        let mut rng = Rng::new(7, "grid points");
        let at: Vec<[usize; 3]> = (0..60).map(|_| [rng.below(5), rng.below(4), rng.below(3)]).collect();
        let (low, high) = ([-0.9, -0.8, -0.7], [0.6, 0.7, 0.8]);
        let place = |p: &[usize; 3]| [0, 1, 2].map(|a| low[a] + p[a] as f32 / [4.0, 3.0, 2.0][a] * (high[a] - low[a]));
        let x: Vec<f32> = at.iter().flat_map(place).collect();
        let (_, d) = probes(60, low, high, &mut rng);
        check(&parts, &x, &d, |i| {
            let sigma: f32 = products(&toy, "sigma", 2, at[i]).iter().sum();
            let latent = toy.linear("basis_mat", &products(&toy, "color", 3, at[i]));
            let d = rows(&d)[i];
            if pvd {
                return (sigma.clamp(-2.0, 7.0), colour(&toy, &direction_first(d, &latent)));
            }
            (sigma, colour(&toy, &[waves_of(&latent, 2), waves_of(&d, 2)].concat()))
        });
        // How much of it PVD would have clipped.
        let latents = (0..60).map(|i| [i % 5, i / 5 % 4, i / 20]).filter_map(|at| {
            let sigma: f32 = products(&toy, "sigma", 2, at).iter().sum();
            (sigma > -2.0).then(|| toy.linear("basis_mat", &products(&toy, "color", 3, at)))
        });
        let beyond: Vec<bool> = latents.map(|latent| latent.iter().any(|v| !(-2.0..=7.0).contains(v))).collect();
        let share = 100.0 * beyond.iter().filter(|b| **b).count() as f32 / beyond.len() as f32;
        let note = notes.iter().find(|note| note.contains("clips colour features"));
        let said = note.and_then(|note| note.split_whitespace().find_map(|word| word.parse::<f32>().ok()));
        assert!(share > 5.0 && said.is_none_or(|said| (said - share).abs() < 3.0), "{share} {notes:?}");
        assert_eq!(said.is_some(), pvd, "{notes:?}");
    }
}

#[test]
fn deep_networks_are_those_that_pvd_has() {
    for skip in [2, 0] {
        let mut toy = toy(1.5);
        let mut rng = Rng::new(8, "trunk");
        for (i, (out, input)) in [(6, 15), (6, 6), (6, if skip > 0 { 21 } else { 6 }), (4, 6)].into_iter().enumerate() {
            toy.add(&mut rng, &format!("nerf_mlp.{i}.weight"), &[out, input], 0.7);
            toy.add(&mut rng, &format!("nerf_mlp.{i}.bias"), &[out], 0.3);
        }
        networks(&mut toy, Some(4), 16 + LATENT);
        let (parts, _) = field_of(&model(toy.state())).unwrap();
        assert_eq!(parts.json["config"]["skip"], skip);
        let (x, d) = probes(60, [-1.5; 3], [1.5; 3], &mut Rng::new(2, "probes"));
        check(&parts, &x, &d, |i| {
            let input = waves_of(&rows(&x)[i], 2);
            let mut h = input.clone();
            for layer in 0..4 {
                h = toy.linear(&format!("nerf_mlp.{layer}"), &h);
                if layer < 3 {
                    h.iter_mut().for_each(|v| *v = v.max(0.0));
                }
                if layer + 1 == skip {
                    h = [input.as_slice(), &h].concat();
                }
            }
            let h = toy.network(&["sigma_net.0", "sigma_net.1"], &h);
            (h[0].clamp(-2.0, 7.0), colour(&toy, &direction_first(rows(&d)[i], &h[1..])))
        });
    }
}

fn with_voxels(edge: usize) -> Toy {
    let mut toy = toy(1.0);
    toy.add(&mut Rng::new(9, "voxels"), "tensor_volume.0", &[1, 28, edge, edge, edge], 3.0);
    toy
}

#[test]
fn voxels_are_those_that_pvd_has() {
    let toy = with_voxels(4);
    let (parts, _) = field_of(&model(toy.state())).unwrap();
    let (x, d) = probes(60, [-1.0; 3], [1.0; 3], &mut Rng::new(2, "probes"));
    let values = toy.get("tensor_volume.0");
    check(&parts, &x, &d, |i| {
        // grid_sample with grid points on the faces.
        let at = rows(&x)[i].map(|v| 1.5 * (v + 1.0));
        let value = |channel: usize| -> f32 {
            (0..8_usize)
                .map(|corner| {
                    let p = [0, 1, 2].map(|a| at[a] as usize + (corner >> a & 1));
                    let part = |a: usize| 1.0 - (at[a] - p[a] as f32).abs();
                    part(0) * part(1) * part(2) * values[((channel * 4 + p[2]) * 4 + p[1]) * 4 + p[0]]
                })
                .sum()
        };
        let basis = sh::eval_basis(2, rows(&d)[i].into());
        let rgb = [0, 1, 2].map(|c| sigmoid((0..9).map(|k| value(1 + 9 * c + k) * basis[k]).sum()));
        (value(0).clamp(-2.0, 7.0), rgb)
    });
}

#[test]
fn cascades_become_one_grid() {
    const EDGE: usize = 16;
    let read = |bits: Vec<u8>, bound: f32| -> Result<Occupancy> {
        let bitfield = Py::Tensor(stored("ByteStorage", &[bits.len()], bits.len(), bits));
        let state = with(
            &with_grid(bound),
            vec![("encoder.offsets", offsets(&[0, 4920, 13_112])), ("density_bitfield", bitfield)],
        );
        let (parts, _) = field_of(&model(state))?;
        assert_eq!(parts.json["config"]["volume"]["occupancy_resolution"], 16);
        Occupancy::from_bytes(&parts.bytes[0].1, Aabb::cube(bound))
    };
    let cells = EDGE.pow(3);
    // Of the inner cascade the cell (12, 3, 8), of the outer one (1, 0, 15).
    let mut bits = vec![0_u8; 2 * cells / 8];
    let mut set = |cascade: usize, at: usize| bits[(cascade * cells + at) / 8] |= 1 << (at % 8);
    set(0, morton(12, 3, 8));
    set(1, morton(1, 0, 15));
    let grid = read(bits.clone(), 2.0).unwrap();
    let middle = |half: f32, cell: [f32; 3]| Vec3::from(cell.map(|c| half * ((c + 0.5) / 8.0 - 1.0)));
    assert!(grid.contains(middle(1.0, [12.0, 3.0, 8.0])) && grid.contains(middle(2.0, [1.0, 0.0, 15.0])));
    assert_eq!(grid.occupied().count(), 2);
    // With one cascade, cells are as they are.
    let one = read(bits[..cells / 8].to_vec(), 1.0).unwrap();
    assert!(one.contains(middle(1.0, [12.0, 3.0, 8.0])) && one.occupied().count() == 1);
    assert_eq!(morton(1, 2, 4), 0b100_010_001);
    // Another number of bits is not understood, and the field does without.
    let odd = Py::Tensor(stored("ByteStorage", &[5], 5, vec![255; 5]));
    let state = with(&with_voxels(2), vec![("density_bitfield", odd)]);
    let (parts, notes) = field_of(&model(state)).unwrap();
    assert!(parts.bytes.is_empty() && notes.iter().any(|note| note.contains("occupancy")));
}

#[test]
fn what_no_field_can_hold_is_refused_by_name() {
    let grid = with_grid(1.0);
    let refusal = |state: Py| field_of(&model(state)).expect_err("refused");
    let boxed = |corners: [f32; 6]| {
        let mut toy = with_grid(1.0);
        toy.tensors[1].2 = corners.to_vec();
        grid_state(&toy)
    };
    let voxels = |shape: [usize; 5]| {
        let mut toy = toy(1.0);
        toy.add(&mut Rng::new(1, "voxels"), "tensor_volume.0", &shape, 1.0);
        toy.state()
    };
    let one = || tensor(&[1], &[0.0]);
    let mut wide = with_grid(1.0);
    wide.tensors.iter_mut().find(|(name, ..)| name == "sigma_net.1.weight").unwrap().1 = vec![3, 16];
    for (state, says) in [
        (with(&grid, vec![("encoder.offsets", offsets(&[0, 4096, 12_288]))]), "begin at"),
        (with(&grid, vec![("encoder.offsets", offsets(&[0]))]), "begin at"),
        (with(&grid, vec![]), "encoder.offsets"),
        (with(&grid, vec![("encoder.params", one())]), "--tcnn"),
        (with(&toy(1.0), vec![("sigma_net.weights", one())]), "--ff"),
        (boxed([-1.0, -1.0, -1.0, 1.0, 1.0, 0.5]), "aabb_infer"),
        (boxed([1.0, 1.0, 1.0, -1.0, -1.0, -1.0]), "aabb_infer"),
        (boxed([-1.1, -1.1, -1.1, 1.1, 1.1, 1.1]), "begin at"),
        (voxels([1, 13, 2, 2, 2]), "28"),
        (voxels([1, 28, 2, 2, 3]), "cube"),
        (voxels([1, 28, 1, 1, 1]), "cube"),
        (grid_state(&wide), "sees 16 values"),
    ] {
        let error = refusal(state);
        assert!(error.what.contains(says) && !error.remedy.is_empty(), "{says}: {error}");
    }
    assert!(field_of(&grid_state(&grid)).is_ok(), "a state_dict that stands alone");
    let unknown = field_of(&dict([("weights", grid.state())])).expect_err("of no trainer");
    assert!(unknown.what.contains("weights"), "{unknown}");
}

#[test]
fn spoiled_files_never_panic() {
    for root in [with_planes(16 + LATENT).state(), with_voxels(3).state(), grid_state(&with_grid(1.0))] {
        let refused = spoiled(&checkpoint(&model(root)), 150);
        assert!((20..150).contains(&refused), "{refused}");
    }
}
