//! Gaussians of 3DGRUT.

use super::*;

/// A file of `n` Gaussians, and their positions, scales, quaternions and densities.
fn mixture(n: usize, half: bool, degree: usize) -> (Node, Vec<[f32; 11]>) {
    let mut rng = Rng::new(3, "mixture");
    let rows: Vec<[f32; 11]> = (0..n)
        .map(|_| {
            let mut row: [f32; 11] = std::array::from_fn(|_| rng.normal());
            row[3..6].iter_mut().for_each(|s| *s = 0.01 + s.abs());
            row[10] = 0.1 + 0.2 * row[10].abs().min(3.0);
            row
        })
        .collect();
    let pack = |values: Vec<f32>| {
        let bytes =
            |v: f32| if half { half::f16::from_f32(v).to_le_bytes().to_vec() } else { v.to_le_bytes().to_vec() };
        Node::Bytes(values.into_iter().flat_map(bytes).collect())
    };
    let columns = |range: std::ops::Range<usize>| rows.iter().flat_map(|row| row[range.clone()].to_vec()).collect();
    let width = 3 * (degree + 1).pow(2);
    let features = (0..n * width).map(|i| i as f32 / 64.0).collect();
    let node = Node::Map(vec![
        ("nre_data", Node::Value(json!({"version": "0.0.1", "model": "mogt"}))),
        ("precision", Node::Value(json!(if half { "half" } else { "single" }))),
        ("mog_num", Node::Value(json!(n))),
        ("mog_sph_degree", Node::Value(json!(degree))),
        ("mog_positions", pack(columns(0..3))),
        ("mog_scales", pack(columns(3..6))),
        ("mog_rotations", pack(columns(6..10))),
        ("mog_densities", pack(columns(10..11))),
        ("mog_features", pack(features)),
    ]);
    (node, rows)
}

fn read_mixture(bytes: &[u8]) -> Result<Splats> {
    match read(&mut Source::memory(bytes))? {
        (Held::Gaussians(splats), _) => Ok(splats),
        _ => Err(Error::new("a field")),
    }
}

#[test]
fn gaussians_of_3dgrut_are_known_by_their_keys() {
    for half in [false, true] {
        let (node, rows) = mixture(5, half, 2);
        let gzip = packed(&node.bytes(), true);
        assert!(recognises(&gzip));
        let splats = read_mixture(&gzip).expect("reads");
        let tolerance = if half { 2e-3 } else { 1e-6 };
        assert_eq!((splats.len(), splats.sh_degree, splats.notes.len()), (5, 2, 1));
        for (i, row) in rows.iter().enumerate() {
            let near = |a: f32, b: f32| assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{i}: {a} {b}");
            (0..3).for_each(|a| near(splats.means[i][a], row[a]));
            (0..3).for_each(|a| near(splats.log_scales[i][a].exp(), row[3 + a]));
            near(1.0 / (1.0 + (-splats.raw_opacity[i]).exp()), row[10]);
            let length = row[6..10].iter().map(|v| v * v).sum::<f32>().sqrt();
            (0..4).for_each(|a| near(splats.rotations[i][a], row[6 + a] / length));
            assert_eq!(splats.sh_dc[i], [27 * i, 27 * i + 1, 27 * i + 2].map(|v| v as f32 / 64.0));
            assert_eq!(splats.rest(i)[0], (27 * i + 3) as f32 / 64.0);
        }
    }
    for (key, value, words) in [
        ("mog_num", json!(6), "too short"),
        ("mog_num", json!(u64::MAX), "too short"),
        ("mog_num", json!(4), "mog_features"),
        ("mog_sph_degree", json!(3), "mog_features"),
        ("mog_sph_degree", json!(u64::MAX), "mog_sph_degree"),
        ("precision", json!("double"), "precision"),
        ("mog_scales", json!(null), "mog_scales"),
    ] {
        let (mut node, _) = mixture(5, false, 2);
        *node.at(key) = Node::Value(value);
        let error = read_mixture(&node.bytes()).map(drop).expect_err(words);
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let (node, _) = mixture(5, true, 1);
    let bytes = node.bytes();
    let mut rng = Rng::new(5, "flips");
    for _ in 0..2000 {
        let mut bytes = bytes.clone();
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        let _ = read_mixture(&bytes);
    }
}
