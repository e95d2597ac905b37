use super::super::gaussians::tests::sample;
use super::super::ply::Ply;
use super::super::rows::tests::{read, refuses_cuts, survives_damage, turned_apart, written};
use super::*;

/// The same Gaussians in the order in which they are written.
fn ordered(splats: &Splats) -> Splats {
    let order = morton::order(&splats.means);
    let mut to = splats.clone();
    let width = rest_per_splat(splats.sh_degree);
    for (i, from) in order.iter().map(|row| *row as usize).enumerate() {
        to.means[i] = splats.means[from];
        to.log_scales[i] = splats.log_scales[from];
        to.rotations[i] = splats.rotations[from];
        to.raw_opacity[i] = splats.raw_opacity[from];
        to.sh_dc[i] = splats.sh_dc[from];
        to.sh_rest[i * width..][..width].copy_from_slice(splats.rest(from));
    }
    to
}

/// The ranges in a file.
fn chunks(bytes: &[u8]) -> Vec<Ranges> {
    let mut source = Source::memory(bytes);
    let header = Header::read(&mut source).unwrap();
    let layout = Layout::of(&header, &mut source).unwrap();
    layout.chunks(&header, &mut source).unwrap()
}

/// What differs by more than half a step of its chunk.
fn beyond(splats: &Splats, back: &Splats, chunks: &[Ranges]) -> Option<String> {
    for i in 0..splats.len() {
        let [a, b] = [splats, back].map(|splats| ranged(splats, i));
        for (what, name) in ["centre", "scale", "colour"].into_iter().enumerate() {
            for axis in 0..3 {
                let [min, max] = chunks[i / CHUNK][what].map(|end| end[axis]);
                let steps = if what == 2 { 255 } else { MOST[axis] };
                let half = 0.5 * (max - min) / steps as f32 + 1e-6 * (1.0 + min.abs().max(max.abs()));
                if (a[what][axis] - b[what][axis]).abs() > half {
                    return Some(format!("{name} {axis} of {i}"));
                }
            }
        }
        let [a, b] = [splats, back].map(|splats| sigmoid(splats.raw_opacity[i]));
        if (a - b).abs() > 0.5 / 255.0 + 1e-6 {
            return Some(format!("opacity of {i}"));
        }
        if splats.rest(i).iter().zip(back.rest(i)).any(|(a, b)| (a - b).abs() > 1.0 / 64.0 + 1e-6) {
            return Some(format!("harmonics of {i}"));
        }
    }
    // Half a step of √2/1023 in three parts, and what follows for the largest: at most √3 times their length.
    let rotation = 0.5 * std::f32::consts::SQRT_2 / 1023.0 * 3_f32.sqrt() * 2.0;
    (turned_apart(&splats.rotations, &back.rotations) > rotation + 1e-6).then(|| "rotation".to_string())
}

#[test]
fn round_trips_stay_within_half_a_step() {
    for degree in 0..4 {
        let splats = Splats { antialias: degree == 2, ..sample(700 + 64 * degree as usize, degree) };
        let bytes = written(&CompressedPly, &splats);
        assert!(CompressedPly.recognises(&bytes) && !Ply.recognises(&bytes));
        let about = CompressedPly.peek(&mut Source::memory(&bytes)).unwrap();
        assert_eq!((about.count, about.sh_degree), (splats.len(), degree));
        let back = read(&CompressedPly, &bytes).unwrap();
        assert_eq!((back.sh_degree, back.antialias), (degree, degree == 2));
        assert_eq!(read(&Ply, &bytes).unwrap(), back, "the reader of plain ones knows what it has");
        let (splats, chunks) = (ordered(&splats), chunks(&bytes));
        assert_eq!(beyond(&splats, &back, &chunks), None, "degree {degree}");
        // Negative controls: one of each, moved by a step.
        for (k, spoil) in [
            |s: &mut Splats, c: &Ranges| s.means[9][0] += (c[0][1][0] - c[0][0][0]) / 2047.0,
            |s: &mut Splats, c: &Ranges| s.log_scales[9][1] += (c[1][1][1] - c[1][0][1]) / 1023.0,
            |s: &mut Splats, _: &Ranges| s.rotations[9] = [0.5, -0.5, 0.5, 0.5],
            |s: &mut Splats, c: &Ranges| s.sh_dc[9][2] += (c[2][1][2] - c[2][0][2]) / 255.0 / 0.282,
            |s: &mut Splats, _: &Ranges| s.raw_opacity[9] += 0.1,
            |s: &mut Splats, _: &Ranges| s.sh_rest[9] += 1.0 / 31.0,
        ]
        .into_iter()
        .enumerate()
        {
            if k == 5 && degree == 0 {
                continue;
            }
            let mut bad = back.clone();
            spoil(&mut bad, &chunks[0]);
            bad.raw_opacity[9] = bad.raw_opacity[9].clamp(-19.0, 19.0);
            assert!(beyond(&splats, &bad, &chunks).is_some(), "control {k} at degree {degree}");
        }
    }
}

#[test]
fn ordering_makes_ranges_small() {
    let splats = sample(20_000, 0);
    let side = |chunks: &[Ranges]| {
        chunks.iter().map(|c| (0..3).map(|k| c[0][1][k] - c[0][0][k]).fold(0.0, f32::max)).sum::<f32>()
            / chunks.len() as f32
    };
    let found = side(&chunks(&written(&CompressedPly, &splats)));
    let rows: Vec<u32> = (0..20_000).collect();
    let without = side(&rows.chunks(CHUNK).map(|chunk| pack(&splats, chunk, &mut [[0; 4]; CHUNK])).collect::<Vec<_>>());
    assert!(found < 0.5 * without, "{found} {without}");
}

#[test]
fn words_are_those_of_the_published_layout() {
    let ranges = [[[0.0, 10.0, -1.0], [1.0, 20.0, 1.0]], [[-8.0; 3], [-4.0; 3]], [[0.0; 3], [1.0; 3]]];
    let mut splats = Splats::zeros(1, 0);
    let words = [2047 << 21 | 1024, 1 << 30 | 1023 << 20 | 512 << 10, 1023 << 11, 0xFF80_00FF];
    unpack(words, &ranges, &mut Rows::of(&mut splats), 0);
    assert_eq!(splats.means[0][..2], [1.0, 10.0]);
    assert!((splats.means[0][2] - 1.0 / 2047.0).abs() < 1e-6);
    assert_eq!(splats.log_scales[0], [-8.0, -4.0, -8.0]);
    let [w, x, y, z] = splats.rotations[0];
    let h = std::f32::consts::FRAC_1_SQRT_2;
    assert!((w - h).abs() < 1e-6 && (z + h).abs() < 1e-6 && x.abs() < 1e-2 && y.abs() < 1e-3, "{w} {x} {y} {z}");
    let [red, green, blue] = splats.sh_dc[0].map(rows::colour_from_dc);
    assert!((red - 1.0).abs() < 1e-6 && (green - 128.0 / 255.0).abs() < 1e-6 && blue.abs() < 1e-6);
    assert_eq!(splats.raw_opacity[0], f32::INFINITY);
}

#[test]
fn harmonics_take_the_nearest_byte() {
    for i in -450..450 {
        let value = i as f32 * 0.01;
        let error = |byte: u8| (harmonic_from(byte) - value).abs();
        let best = (0..=255).map(error).fold(f32::INFINITY, f32::min);
        assert!(error(harmonic_to(value)) <= best + 1e-6, "{value}");
    }
    assert_eq!([-9.0, 9.0].map(harmonic_to), [0, 255]);
}

/// A file whose chunks have no colours: the columns are taken out of one that has them.
fn older(bytes: &[u8]) -> Vec<u8> {
    let header = Header::read(&mut Source::memory(bytes)).unwrap();
    let at = header.bytes as usize;
    let mut text = String::from_utf8_lossy(&bytes[..at]).into_owned();
    CHUNK_NAMES[12..].iter().for_each(|name| text = text.replace(&format!("property float {name}\n"), ""));
    let table = header.elements[0].rows as usize * 72;
    let rows = bytes[at..][..table].chunks_exact(72).flat_map(|row| &row[..48]);
    text.bytes().chain(rows.copied()).chain(bytes[at + table..].iter().copied()).collect()
}

#[test]
fn older_files_have_no_ranges_of_colours() {
    let mut splats = sample(300, 1);
    // Ranges of 0 to 1 in both chunks make both kinds the same.
    let order = morton::order(&splats.means);
    let ends = [-0.5, 0.5].map(|half| [half / crate::parts::sh::C0; 3]);
    for (k, at) in [0, 1, 256, 257].into_iter().enumerate() {
        splats.sh_dc[order[at] as usize] = ends[k % 2];
    }
    splats.sh_dc.iter_mut().flatten().for_each(|dc| *dc = dc.clamp(ends[0][0], ends[1][0]));
    let bytes = written(&CompressedPly, &splats);
    let (new, old) = (read(&CompressedPly, &bytes).unwrap(), read(&CompressedPly, &older(&bytes)).unwrap());
    assert!(new.sh_dc.as_flattened().iter().zip(old.sh_dc.as_flattened()).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!((&new.means, &new.sh_rest), (&old.means, &old.sh_rest));
    let variant = |bytes: &[u8]| CompressedPly.peek(&mut Source::memory(bytes)).unwrap().variant;
    assert_eq!([variant(&bytes), variant(&older(&bytes))], ["chunks with colours", "chunks without colours"]);
}

#[test]
fn scales_of_nothing_do_not_spoil_their_chunk() {
    let mut splats = sample(256, 0);
    splats.log_scales[7] = [-30.0; 3];
    let back = read(&CompressedPly, &written(&CompressedPly, &splats)).unwrap();
    let found = back.log_scales.as_flattened().iter().fold(0.0_f32, |least, s| least.min(*s));
    assert!((found + 20.0).abs() < 1e-3);
}

#[test]
fn counts_that_lie_are_refused() {
    let bytes = written(&CompressedPly, &sample(300, 1));
    for name in ["chunk 2", "vertex 300", "sh 300"] {
        let line = format!("element {name}\n");
        let at = bytes.windows(line.len()).position(|w| w == line.as_bytes()).unwrap();
        for count in ["0", "1", "301", "4294967295", "1000000000000000000", "18446744073709551615"] {
            let mut bad = bytes.clone();
            let word = name.split(' ').next().unwrap();
            bad.splice(at..at + line.len(), format!("element {word} {count}\n").bytes());
            assert!(read(&CompressedPly, &bad).is_err(), "{word} {count}");
        }
    }
}

#[test]
fn what_is_not_a_number_is_refused() {
    let mut bytes = written(&CompressedPly, &sample(10, 1));
    let at = Header::read(&mut Source::memory(&bytes)).unwrap().bytes as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read(&CompressedPly, &bytes).is_err_and(|e| e.what.contains("centre")));
    for (from, to) in [("float min_x", "int min_x"), ("uint packed_scale", "float packed_scale"), ("little", "big")] {
        let whole = written(&CompressedPly, &sample(10, 1));
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bad = whole.clone();
        bad.splice(at..at + from.len(), to.bytes());
        assert!(read(&CompressedPly, &bad).is_err(), "{to}");
    }
}

#[test]
fn cuts_and_damage_are_survived() {
    let bytes = written(&CompressedPly, &sample(260, 1));
    let at = Header::read(&mut Source::memory(&bytes)).unwrap().bytes as usize;
    refuses_cuts(&CompressedPly, &bytes, &[at, at + 72, at + 144, at + 144 + 16 * 260, bytes.len()]);
    survives_damage(&CompressedPly, &bytes, 1500);
    survives_damage(&Ply, &older(&bytes), 1000);
}
