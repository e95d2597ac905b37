use super::super::gaussians::tests::sample;
use super::super::rows::tests::{apart, read, refuses_cuts, survives_damage, turned_apart, written};
use super::*;
use crate::rng::Rng;

/// A file of `rows` under a header of `properties` (type and name), as `encoding`.
fn file(encoding: Encoding, before: &str, properties: &[(&str, &str)], rows: &[Vec<f64>]) -> Vec<u8> {
    let word = match encoding {
        Encoding::Ascii => "ascii",
        Encoding::Little => "binary_little_endian",
        Encoding::Big => "binary_big_endian",
    };
    let mut text = format!("ply\nformat {word} 1.0\n{before}element vertex {}\n", rows.len());
    properties.iter().for_each(|(kind, name)| text.push_str(&format!("property {kind} {name}\n")));
    let mut bytes = (text + "end_header\n").into_bytes();
    for row in rows {
        for ((kind, _), value) in properties.iter().zip(row) {
            let mut value = match *kind {
                _ if encoding == Encoding::Ascii => format!("{value} ").into_bytes(),
                "uchar" => vec![*value as u8],
                "ushort" => (*value as u16).to_le_bytes().to_vec(),
                "int" => (*value as i32).to_le_bytes().to_vec(),
                "double" => value.to_le_bytes().to_vec(),
                _ => (*value as f32).to_le_bytes().to_vec(),
            };
            if encoding == Encoding::Big {
                value.reverse();
            }
            bytes.append(&mut value);
        }
        if encoding == Encoding::Ascii {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Names and values of all properties, as written.
fn table(splats: &Splats) -> (Vec<(&'static str, String)>, Vec<Vec<f64>>) {
    let bytes = written(&Ply, splats);
    let header = Header::read(&mut Source::memory(&bytes)).unwrap();
    let body = &bytes[header.bytes as usize..];
    let names = header.elements[0].properties.iter().map(|p| ("float", p.name.clone())).collect();
    let row = |row: &[u8]| row.chunks_exact(4).map(|v| f64::from(f32_at(v, 0))).collect();
    (names, body.chunks_exact(header.elements[0].stride().unwrap()).map(row).collect())
}

fn borrowed<'a>(names: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    names.iter().map(|(kind, name)| (*kind, name.as_str())).collect()
}

/// What is read has unit rotations; written ones are already.
fn same(a: &Splats, b: &Splats) -> bool {
    turned_apart(&a.rotations, &b.rotations) < 1e-6
        && Splats { rotations: Vec::new(), notes: Vec::new(), ..a.clone() }
            == Splats { rotations: Vec::new(), notes: Vec::new(), ..b.clone() }
}

#[test]
fn what_is_written_is_read_back() {
    for degree in 0..4 {
        let splats = Splats { antialias: degree % 2 == 1, ..sample(300, degree) };
        let bytes = written(&Ply, &splats);
        assert!(Ply.recognises(&bytes[..bytes.len().min(4096)]));
        let back = read(&Ply, &bytes).unwrap();
        assert!(same(&splats, &back), "degree {degree}");
        assert!(back.notes.is_empty());
        let about = Ply.peek(&mut Source::memory(&bytes)).unwrap();
        assert_eq!((about.count, about.sh_degree, about.variant.as_str()), (300, degree, "binary little endian"));
        let mut other = splats.clone();
        other.sh_dc[299][2] += 1e-3;
        assert!(!same(&other, &back), "the negative control");
    }
}

#[test]
fn the_written_order_is_the_published_one() {
    let mut splats = sample(1, 1);
    splats.sh_rest = (0..9).map(|i| i as f32).collect();
    let (names, rows) = table(&splats);
    let names: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
    let want = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 f_rest_0 f_rest_1 f_rest_2 f_rest_3 f_rest_4 f_rest_5 f_rest_6 \
        f_rest_7 f_rest_8 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3";
    assert_eq!(names.join(" "), want);
    assert_eq!(rows[0][9..18], [0.0, 3.0, 6.0, 1.0, 4.0, 7.0, 2.0, 5.0, 8.0], "all of red first");
}

#[test]
fn every_order_type_and_encoding_is_read() {
    let splats = sample(40, 2);
    let (mut names, mut rows) = table(&splats);
    let mut rng = Rng::new(0, "order");
    for column in (1..names.len()).rev() {
        let other = rng.below(column + 1);
        names.swap(column, other);
        rows.iter_mut().for_each(|row| row.swap(column, other));
    }
    names.iter_mut().step_by(3).for_each(|(kind, _)| *kind = "double");
    for (kind, name) in [("uchar", "segment"), ("int", "frame"), ("ushort", "label")] {
        names.insert(5, (kind, name.to_string()));
        rows.iter_mut().for_each(|row| row.insert(5, 7.0));
    }
    for encoding in [Encoding::Ascii, Encoding::Little, Encoding::Big] {
        // Something before it; its rows are as long as they are.
        let before = "comment x\nelement camera 2\nproperty double f\n";
        let mut bytes = file(encoding, before, &borrowed(&names), &rows);
        let text = bytes.windows(11).position(|w| w == b"end_header\n").unwrap() + 11;
        let camera = if encoding == Encoding::Ascii { b"1.5\n\n2.5\n".to_vec() } else { vec![0; 16] };
        bytes.splice(text..text, camera);
        bytes.extend(b"what comes after");
        let back = read(&Ply, &bytes).unwrap();
        assert!(same(&splats, &back), "{encoding:?}");
        let about = Ply.peek(&mut Source::memory(&bytes)).unwrap();
        assert_eq!((about.count, about.variant.as_str()), (40, encoding.words()));
    }
    // Two equal types exchanged: the negative control.
    let columns = ["x", "y"].map(|name| names.iter().position(|(_, n)| n == name).unwrap());
    rows.iter_mut().for_each(|row| row.swap(columns[0], columns[1]));
    assert!(!same(&splats, &read(&Ply, &file(Encoding::Ascii, "", &borrowed(&names), &rows)).unwrap()));
}

/// A file without the properties called `without`, and with others.
fn variant(splats: &Splats, without: &[&str], with: &[(&'static str, &str, f64)]) -> Vec<u8> {
    let (mut names, mut rows) = table(splats);
    for name in without {
        let at = names.iter().position(|(_, n)| n == name).unwrap();
        names.remove(at);
        rows.iter_mut().for_each(|row| {
            row.remove(at);
        });
    }
    for (kind, name, value) in with {
        names.push((kind, (*name).to_string()));
        rows.iter_mut().for_each(|row| row.push(*value));
    }
    file(Encoding::Little, "", &borrowed(&names), &rows)
}

#[test]
fn flat_gaussians_get_a_thickness() {
    let splats = sample(20, 0);
    let bytes = variant(&splats, &["scale_2"], &[]);
    let back = read(&Ply, &bytes).unwrap();
    for (flat, [a, b, c]) in splats.log_scales.iter().zip(&back.log_scales) {
        assert_eq!(([*a, *b], *c), ([flat[0], flat[1]], flat[0].min(flat[1]) - 7.0));
    }
    assert!(back.notes[0].contains("2DGS"));
    assert!(Ply.peek(&mut Source::memory(&bytes)).unwrap().variant.contains("2DGS"));
}

#[test]
fn the_3d_filter_is_folded_in() {
    let mut splats = sample(30, 0);
    splats.log_scales[0] = [-25.0; 3];
    splats.raw_opacity[1] = 15.0;
    let filter = 0.02_f64;
    let back = read(&Ply, &variant(&splats, &[], &[("float", "filter_3D", filter)])).unwrap();
    assert!(back.antialias && back.notes[0].contains("Mip-Splatting"));
    for i in 0..30 {
        // The published code's own way, in f64.
        let square = splats.log_scales[i].map(|s| (2.0 * f64::from(s)).exp());
        let wider = square.map(|s| s + filter * filter);
        let coefficient = (square.iter().product::<f64>() / wider.iter().product::<f64>()).sqrt();
        let opacity = coefficient / (1.0 + (-f64::from(splats.raw_opacity[i])).exp());
        let raw = (opacity / (1.0 - opacity)).ln().max(-20.0);
        assert!((f64::from(back.raw_opacity[i]) - raw).abs() < 1e-5, "{i}: {} {raw}", back.raw_opacity[i]);
        for (scale, wider) in back.log_scales[i].iter().zip(wider) {
            assert!((f64::from(*scale) - 0.5 * wider.ln()).abs() < 1e-6);
        }
    }
    let none = read(&Ply, &variant(&splats, &[], &[("float", "filter_3D", 0.0)])).unwrap();
    assert!(apart(&none.raw_opacity, &splats.raw_opacity) < 1e-4, "a filter of no size changes nothing");
    assert_eq!(none.log_scales, splats.log_scales);
}

#[test]
fn plain_colours_are_read() {
    let splats = sample(3, 1);
    for (kind, value) in [("uchar", 51.0), ("float", 0.2), ("ushort", 13107.0), ("int", 51.0)] {
        let with = ["red", "green", "blue"].map(|name| (kind, name, value));
        let back = read(&Ply, &variant(&splats, &["f_dc_0", "f_dc_1", "f_dc_2"], &with)).unwrap();
        let colours = back.sh_dc.as_flattened().iter().map(|dc| rows::colour_from_dc(*dc));
        assert!(colours.into_iter().all(|c| (c - 0.2).abs() < 1e-6), "{kind}");
        assert!(back.notes[0].contains("red"));
    }
    // Harmonics are the better ones.
    let with = ["red", "green", "blue"].map(|name| ("uchar", name, 9.0));
    assert!(same(&splats, &read(&Ply, &variant(&splats, &[], &with)).unwrap()));
}

#[test]
fn a_fourth_band_is_dropped() {
    let splats = sample(4, 3);
    let (names, rows) = table(&splats);
    let mut wide: Vec<(&str, String)> = names.iter().filter(|(_, n)| !n.starts_with("f_rest")).cloned().collect();
    let keep: Vec<usize> = (0..names.len()).filter(|i| !names[*i].1.starts_with("f_rest")).collect();
    wide.extend((0..72).map(|i| ("float", format!("f_rest_{i}"))));
    let row = |row: &Vec<f64>| -> Vec<f64> {
        let rest = |i: usize| if i % 24 < 15 { row[9 + 15 * (i / 24) + i % 24] } else { 99.0 };
        keep.iter().map(|i| row[*i]).chain((0..72).map(rest)).collect()
    };
    let rows: Vec<Vec<f64>> = rows.iter().map(row).collect();
    let back = read(&Ply, &file(Encoding::Little, "", &borrowed(&wide), &rows)).unwrap();
    assert!(same(&splats, &back));
    assert!(back.notes[0].contains("degree 4"));
}

#[test]
fn what_is_no_gaussian_is_refused_by_name() {
    let splats = sample(2, 1);
    for (without, says) in [
        (vec!["opacity", "scale_0", "scale_1", "scale_2"], "cloud of points"),
        (vec!["opacity"], "\"opacity\""),
        (vec!["rot_3"], "\"rot_3\""),
        (vec!["scale_1"], "\"scale_1\""),
        (vec!["x"], "\"x\""),
        (vec!["f_dc_1"], "\"f_dc_1\""),
        (vec!["f_rest_4"], "8 f_rest"),
    ] {
        let bytes = variant(&splats, &without, &[]);
        let error = read(&Ply, &bytes).expect_err(says);
        assert!(error.what.contains(says) && !error.remedy.is_empty(), "{error}");
        assert!(Ply.peek(&mut Source::memory(&bytes)).is_err());
    }
    let list = String::from_utf8_lossy(&written(&Ply, &splats)).replacen("float nx", "list uchar int nx", 1);
    assert!(read(&Ply, list.as_bytes()).is_err_and(|e| e.what.contains("lists")));
    let faces = "ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int v\nend_header\n3 0 1 2\n";
    assert!(read(&Ply, faces.as_bytes()).is_err_and(|e| e.what.contains("vertex")));
}

#[test]
fn counts_that_lie_are_refused() {
    let splats = sample(3, 0);
    let plain = written(&Ply, &splats);
    let (names, rows) = table(&splats);
    let ascii = file(Encoding::Ascii, "", &borrowed(&names), &rows);
    for (bytes, from) in [(&plain, "vertex 3\n"), (&ascii, "vertex 3\n")] {
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        for count in ["0", "4", "4294967295", "1000000000000000000", "18446744073709551615"] {
            let mut bad = bytes.clone();
            bad.splice(at..at + from.len(), format!("vertex {count}\n").bytes());
            assert!(read(&Ply, &bad).is_err(), "{count}");
        }
    }
    // Elements before it that lie.
    for before in
        ["element e 1000000000000000000\nproperty int a\n", "element e 18446744073709551615\nproperty int a\n"]
    {
        for encoding in [Encoding::Ascii, Encoding::Little] {
            assert!(read(&Ply, &file(encoding, before, &borrowed(&names), &rows)).is_err());
        }
    }
}

#[test]
fn what_is_not_a_number_is_refused() {
    let splats = sample(5, 1);
    let (names, rows) = table(&splats);
    for column in (0..names.len()).filter(|i| !(3..6).contains(i)) {
        for encoding in [Encoding::Ascii, Encoding::Little, Encoding::Big] {
            let mut bad = rows.clone();
            bad[3][column] = f64::NAN;
            let error = read(&Ply, &file(encoding, "", &borrowed(&names), &bad)).expect_err(&names[column].1);
            assert!(error.what.contains("Gaussian 3"), "{error}");
        }
    }
    let mut bytes = file(Encoding::Ascii, "", &borrowed(&names), &rows);
    let end = bytes.len();
    bytes.splice(end - 4..end - 2, b"x!".iter().copied());
    assert!(read(&Ply, &bytes).is_err_and(|e| e.what.contains("Gaussian 4")));
}

#[test]
fn cuts_and_damage_are_survived() {
    let splats = sample(6, 1);
    let bytes = written(&Ply, &splats);
    let header = Header::read(&mut Source::memory(&bytes)).unwrap().bytes as usize;
    refuses_cuts(&Ply, &bytes, &[header, header + 104, header + 208, bytes.len()]);
    survives_damage(&Ply, &bytes, 1500);
    let (names, rows) = table(&splats);
    let ascii = file(Encoding::Ascii, "element e 1\nproperty int a\n", &borrowed(&names), &rows);
    survives_damage(&Ply, &ascii, 1000);
    let lists = variant(&splats, &["scale_2"], &[("uchar", "filter_3D", 1.0)]);
    let text = String::from_utf8_lossy(&lists).find("element").unwrap();
    let mut lists = lists;
    lists.splice(text..text, b"element e 0\nproperty list int float a\n".iter().copied());
    survives_damage(&Ply, &lists, 1000);
}

#[test]
fn many_blocks_and_long_files_hold_together() {
    // More than a block of 4 MiB, so that rows meet its seams.
    let splats = sample(40_000, 1);
    assert!(same(&splats, &read(&Ply, &written(&Ply, &splats)).unwrap()));
    let few = sample(12_000, 1);
    let (names, rows) = table(&few);
    let ascii = file(Encoding::Ascii, "", &borrowed(&names), &rows);
    assert!(ascii.len() > BLOCK);
    assert!(same(&few, &read(&Ply, &ascii).unwrap()));
}
