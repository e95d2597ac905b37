//! Files that are wrong, and fields that instant-ngp cannot hold.

use super::*;

#[test]
fn what_instant_ngp_cannot_hold_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Archive), words: &str| {
        let mut archive = own_field(15);
        change(&mut archive);
        let error = written(&archive).map(drop).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&|a| a.json["scene"]["unbounded"] = json!(true), "unbounded");
    refused(&|a| a.json["config"]["volume"]["colour_encoding"] = json!("fourier"), "colour_encoding");
    refused(&|a| a.json["scene"]["bounds"]["max"] = json!([1.0, 1.0, 0.5]), "bounds");
    refused(&|a| a.json["scene"]["bounds"] = json!({"min": [0, 0, 0], "max": [3, 3, 3]}), "bounds");
    refused(&|a| a.json["config"] = json!({"kind": "mlp"}), "");
    refused(&|a| a.json["config"]["kind"] = json!("what"), "not understood");
    refused(&|a| a.json["config"]["volume"]["latent"] = json!(0), "latent");
    refused(&|a| a.json["config"]["sigma_hidden"] = json!([0]), "hidden width");
    refused(&|a| a.tensors[0].2.truncate(100), "\"table\"");
    refused(&|a| a.tensors[2].2[0] = 1e5, "half precision");
    refused(&|a| a.tensors[2].2[0] = f32::NAN, "colour_net");
    refused(&|a| drop(a.tensors.remove(1)), "sigma_net");
}

#[test]
fn other_networks_are_refused_by_name() {
    let refused = |path: &str, key: &str, value: Value, words: &str| {
        let mut sample = sample(1, [16, 1], [16, 1], true);
        let Node::Value(object) = sample.root.at(path) else { panic!("a value") };
        if key.is_empty() {
            *object = value;
        } else {
            object[key] = value;
        }
        let error = read_bytes(&sample.root.bytes()).map(drop).expect_err(words);
        assert!(error.to_string().contains(words), "{words}: {error}");
    };
    refused("encoding", "otype", json!("DenseGrid"), "DenseGrid");
    refused("encoding", "interpolation", json!("Smoothstep"), "interpolation");
    refused("encoding", "n_features_per_level", json!(3), "n_features_per_level");
    refused("encoding", "n_levels", json!(64), "n_levels");
    refused("encoding", "log2_hashmap_size", json!(30), "log2_hashmap_size");
    refused("encoding", "base_resolution", json!(1), "base_resolution");
    refused("encoding", "per_level_scale", json!(1e9), "per_level_scale");
    refused("dir_encoding", "", json!({"otype": "Frequency"}), "Frequency");
    refused("dir_encoding", "", json!({"otype": "SphericalHarmonics", "degree": 3}), "degree 3");
    refused("network", "n_neurons", json!(32), "n_params");
    refused("network", "n_neurons", json!(1 << 20), "network.n_hidden_layers");
    refused("network", "activation", json!("Sine"), "Sine");
    refused("rgb_network", "output_activation", json!("Sigmoid"), "output_activation");
    refused("rgb_network", "otype", json!("Transformer"), "Transformer");
    refused("network", "n_output_dims", json!(4096), "n_output_dims");
    refused("snapshot/mode", "", json!("sdf"), "sdf");
    refused("snapshot/version", "", json!(0), "version");
    refused("snapshot/params_type", "", json!("double"), "double");
    refused("snapshot/density_grid_size", "", json!(64), "density_grid_size");
    refused("snapshot/nerf/dataset", "is_hdr", json!(true), "is_hdr");
    refused("snapshot/nerf/dataset", "n_extra_learnable_dims", json!(16), "n_extra_learnable_dims");
    refused("snapshot/nerf/dataset", "aabb_scale", json!(3), "aabb_scale");
    refused("snapshot/nerf/dataset", "aabb_scale", json!(128), "aabb_scale is 128");
    refused("snapshot/nerf/dataset", "scale", json!(0.0), "scale");
    refused("snapshot/nerf/dataset", "aabb_scale", json!(4_294_967_295_u32), "aabb_scale");
    refused("snapshot/nerf/dataset", "xforms", json!([{"start": [[1, 2], [3]]}]), "not understood");
    let short = |path: &str, words: &str| {
        let mut sample = sample(1, [16, 1], [16, 1], true);
        *sample.root.at("snapshot/density_grid_binary") = Node::Bytes(vec![0; 2 << 21]);
        let Node::Bytes(bytes) = sample.root.at(path) else { panic!("bytes") };
        bytes.truncate(bytes.len() - 6);
        let error = read_bytes(&sample.root.bytes()).map(drop).expect_err(words);
        assert!(error.to_string().contains(words), "{words}: {error}");
    };
    short("snapshot/params_binary", "params_binary");
    short("snapshot/density_grid_binary", "density_grid_binary");
    let mut spoilt = sample(1, [16, 1], [16, 1], true);
    let Node::Bytes(bytes) = spoilt.root.at("snapshot/params_binary") else { panic!("bytes") };
    bytes[400..404].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read_bytes(&spoilt.root.bytes()).is_err_and(|e| e.what.contains("parameter 100")));
    // A growth is taken that ends at a whole number of cells.
    let mut sample = sample(1, [16, 1], [16, 1], true);
    let Node::Value(object) = sample.root.at("encoding") else { panic!("a value") };
    object["per_level_scale"] = json!(2.0);
    let (archive, _) = read_bytes(&sample.root.bytes()).expect("reads");
    assert_eq!(Ours::of(&archive).config.finest_resolution, 8 * 4);
}

#[test]
fn damaged_files_give_an_error_and_take_little_memory() {
    let sample = sample(1, [16, 1], [16, 1], true);
    let whole = sample.root.bytes();
    let gzip = packed(&whole, true);
    for cut in [0, 1, 2, 9, 100, whole.len() / 2, whole.len() - 1] {
        assert!(read_bytes(&whole[..cut]).is_err(), "{cut}");
        assert!(read_bytes(&gzip[..cut.min(gzip.len() - 1)]).is_err(), "{cut}");
    }
    assert!(read_bytes(&gzip[..gzip.len() / 2]).is_err_and(|e| e.what.contains("cut short")));
    // A bomb: a gigabyte of nothing in a megabyte would be too long to make here, so the limit is asked for in little.
    let zeros = packed(&vec![0; 96 << 20], true);
    assert!(zeros.len() < 1 << 20);
    assert!(read_bytes(&zeros).is_err_and(|e| e.what.contains("come out of it")));
    // Lists within lists, and lengths that are not there.
    for bytes in [vec![0x91; 1 << 20], [vec![0x81, 0xa1, b'a'], vec![0x91; 1 << 20]].concat()] {
        assert!(read_bytes(&bytes).is_err());
    }
    let deep = [b"\x81\xa8snapshot\x81\xa1x".to_vec(), vec![0x91; 1000]].concat();
    assert!(read_bytes(&deep).is_err_and(|e| e.what.contains("deep")));
    for lie in [
        &b"\x81\xa8snapshot\x81\xadparams_binary\xc6\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xdb\xff\xff\xff\xff",
    ] {
        assert!(read_bytes(lie).is_err());
    }
    for head in [&b""[..], b"\x1f\x8b", b"\x78\x9c", b"PK\x03\x04", b"ply\n"] {
        assert!(!recognises(head) && read_bytes(head).is_err());
    }
}

/// Bytes that are changed at random: an error or a field, no panic.
#[test]
fn flipped_bytes_never_panic() {
    let mut sample = sample(1, [16, 1], [16, 1], true);
    let Node::Map(parts) = sample.root.at("snapshot") else { panic!("a map") };
    parts.sort_by_key(|(name, _)| (*name == "params_binary", *name));
    let whole = sample.root.bytes();
    let parsed = whole.len() - 4 * 1000;
    let mut rng = Rng::new(77, "flips");
    let mut read_well = 0;
    for round in 0..30 {
        let mut bytes = whole.clone();
        for _ in 0..=(round % 4) {
            let at = rng.below(parsed);
            bytes[at] = rng.below(256) as u8;
        }
        read_well += usize::from(read_bytes(&bytes).is_ok());
    }
    assert!(read_well < 30);
    // And many more of the description alone, which ends before anything large is made.
    let head = &whole[..1400];
    for _ in 0..3000 {
        let mut bytes = head.to_vec();
        for _ in 0..3 {
            bytes[rng.below(1400)] = rng.below(256) as u8;
        }
        let _ = read_bytes(&bytes);
    }
}
