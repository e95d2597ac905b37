use std::io::Cursor;

use super::super::finite::tests::{Apart, apart};
use super::super::gaussians::tests::sample;
use super::codebook::Codebook;
use super::palette::{Points, palette};
use super::texture::Texture;
use super::*;
use crate::files::splats::rest_per_splat;
use crate::rng::Rng;

fn written(splats: &Splats) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    Sog.write(splats, &mut out).expect("written");
    out.into_inner()
}

fn read(bytes: &[u8]) -> Result<Splats> {
    Sog.read(&mut Source::memory(bytes))
}

/// In the order in which they are written.
fn sorted(splats: &Splats) -> Splats {
    let order = encode::order(&encode::positions(splats).0);
    let pick = |i: &u32| *i as usize;
    Splats {
        means: order.iter().map(|i| splats.means[pick(i)]).collect(),
        log_scales: order.iter().map(|i| splats.log_scales[pick(i)]).collect(),
        rotations: order.iter().map(|i| splats.rotations[pick(i)]).collect(),
        raw_opacity: order.iter().map(|i| splats.raw_opacity[pick(i)]).collect(),
        sh_dc: order.iter().map(|i| splats.sh_dc[pick(i)]).collect(),
        sh_rest: order.iter().flat_map(|i| splats.rest(pick(i))).copied().collect(),
        ..splats.clone()
    }
}

/// For what [`sample`] gives: 256 values for a span of 5 in scales, of 3 in colours, of 0.6 in harmonics, each of which
/// has a palette entry of its own. Values are evenly spread, so cells are nearly even.
fn within(apart: &Apart) -> bool {
    let cells = 1.6 * 0.5 / 256.0;
    apart.means <= 1.01 * 0.5 * (3.0_f32.ln() * 2.0 / 65_535.0) * 3.0
        && apart.log_scales <= 5.0 * cells
        && apart.rotations <= 0.006
        && apart.opacity <= 1.0001 * 0.5 / 255.0
        && apart.sh_dc <= 3.0 * cells
        && apart.bands.iter().all(|band| *band <= 0.6 * cells)
}

#[test]
fn a_round_trip_is_as_close_as_the_bits_allow() {
    for degree in 0..=3 {
        let splats = Splats { antialias: degree == 1, ..sample(500, degree) };
        let bytes = written(&splats);
        assert!(Sog.recognises(&bytes[..4096]));
        let back = read(&bytes).expect("read");
        let want = sorted(&splats);
        assert_eq!(back.antialias, splats.antialias);
        assert!(within(&apart(&want, &back)), "{degree}: {:?}", apart(&want, &back));
        let about = Sog.peek(&mut Source::memory(&bytes)).expect("peeked");
        assert_eq!((about.count, about.sh_degree, about.variant.as_str()), (500, degree, "version 2"));
        assert_eq!(bytes, written(&splats), "the same again");
        // The negative controls: another order, and steps of each kind.
        assert!(!within(&apart(&splats, &back)));
        for spoil in [
            |s: &mut Splats| s.means[9][1] += 2e-4,
            |s: &mut Splats| s.log_scales[9][1] += 0.04,
            |s: &mut Splats| s.rotations[9][1] += 0.02,
            |s: &mut Splats| s.raw_opacity[9] += 0.3,
            |s: &mut Splats| s.sh_dc[9][1] += 0.03,
        ] {
            let mut off = back.clone();
            spoil(&mut off);
            assert!(!within(&apart(&want, &off)));
        }
    }
}

#[test]
fn a_folder_holds_the_same_as_an_archive() {
    let folder = tempfile::tempdir().expect("a folder");
    let splats = sample(300, 2);
    write_folder(&splats, folder.path()).expect("written");
    let path = folder.path().join("meta.json");
    let mut source = Source::open(&path).expect("there");
    assert!(Sog.recognises(&source.head(4096).expect("read")));
    assert_eq!(Sog.peek(&mut source).expect("peeked").count, 300);
    assert_eq!(Sog.read(&mut source).expect("read"), read(&written(&splats)).expect("read"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 8);
    // A picture that is gone, and one that is not beside the document.
    std::fs::remove_file(folder.path().join("quats.webp")).expect("removed");
    assert!(Sog.read(&mut source).is_err());
    let text = std::fs::read_to_string(&path).expect("read").replace("quats.webp", "../quats.webp");
    std::fs::write(&path, text).expect("written");
    let error = Sog.read(&mut Source::open(&path).expect("there")).expect_err("refused");
    assert!(error.what.contains("not beside"), "{error}");
    assert!(write_folder(&splats, &folder.path().join("nowhere")).is_err());
}

#[test]
fn an_archive_of_a_folder_is_read_too() {
    let (splats, mut out) = (sample(100, 1), Cursor::new(Vec::new()));
    let mut zip = ZipWriter::new(&mut out);
    let options = FileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.add_directory("scene/", options).expect("written");
    for (name, file) in packed(&splats).expect("packed") {
        zip.start_file(format!("scene/{name}"), options).expect("written");
        zip.write_all(&file).expect("written");
    }
    zip.finish().expect("written");
    drop(zip);
    let bytes = out.into_inner();
    assert!(Sog.recognises(&bytes[..4096]));
    assert_eq!(read(&bytes).expect("read"), read(&written(&splats)).expect("read"));
}

/// Ends in place of codebooks, and logits of opacities.
#[test]
fn the_first_version_is_read() {
    let text = br#"{"means": {"shape": [2, 3], "dtype": "float32", "mins": [-1, 0, 0], "maxs": [1, 2, 4],
        "files": ["a.webp", "b.webp"]},
        "scales": {"shape": [2, 3], "mins": [-8, -8, -8], "maxs": [-3, -2, -1], "files": ["c.webp"]},
        "quats": {"shape": [2, 3], "encoding": "quaternion_packed", "files": ["d.webp"]},
        "sh0": {"shape": [2, 1, 4], "mins": [-2, -1, 0, -5], "maxs": [2, 1, 1, 5], "files": ["e.webp"]},
        "shN": {"shape": [2, 3], "mins": -0.5, "maxs": 0.5, "quantization": 8, "files": ["f.webp", "g.webp"]}}"#;
    assert!(Sog.recognises(text));
    let meta = Meta::parse(text).expect("parsed");
    let picture = |width: usize, channels: usize, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let height = bytes.len().div_ceil(width * channels);
        bytes.resize(width * height * channels, 0);
        Texture { width, height, channels, bytes }.packed().expect("packed")
    };
    let files = [
        picture(2, 3, &[0, 255, 0, 255, 0, 0]),
        picture(2, 3, &[0, 255, 128, 255, 0, 0]),
        picture(2, 3, &[0, 255, 0, 51, 51, 51]),
        picture(2, 4, &[128, 128, 128, 252, 255, 128, 128, 253]),
        picture(2, 4, &[255, 0, 0, 255, 0, 255, 255, 0]),
        picture(192, 3, &[255, 0, 51]),
        picture(2, 3, &[0, 0, 0, 1, 0, 0]),
    ];
    let splats = decode::decoded(&meta, meta.count() as usize, &files).expect("decoded");
    assert_eq!((splats.len(), splats.sh_degree), (2, 1));
    let near = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-5, "{a} is not {b}");
    near(splats.means[0][0], 1.0 - 1.0_f64.exp());
    near(splats.means[0][1], 2.0_f64.exp() - 1.0);
    near(splats.means[0][2], (4.0 * 32_768.0 / 65_535.0_f64).exp() - 1.0);
    assert_eq!(splats.log_scales, [[-8.0, -2.0, -8.0], [-7.0, -6.8, -6.6]]);
    // The other two are a half step off 0.
    assert!((splats.rotations[1][1] - 0.5_f32.sqrt()).abs() < 3e-5, "{:?}", splats.rotations);
    near(splats.rotations[1][0], 0.5_f64.sqrt());
    assert_eq!((splats.raw_opacity[0], splats.raw_opacity[1]), (5.0, -5.0));
    assert_eq!(splats.sh_dc, [[2.0, -1.0, 0.0], [-2.0, 1.0, 1.0]]);
    near(splats.rest(0)[0], 0.5);
    near(splats.rest(0)[2], -0.3);
    assert_eq!(splats.rest(1), [-0.5; 9]);
}

#[test]
fn a_codebook_is_exact_for_few_values_and_close_for_many() {
    let few = Codebook::fit((0..1000).map(|i| [(i % 200) as f32 * 0.37, 1.0]).collect());
    assert!((0..200).all(|i| few.values[usize::from(few.index(i as f32 * 0.37))] == i as f32 * 0.37));
    let mut rng = Rng::new(5, "codebook");
    let samples: Vec<f32> = (0..20_000).map(|_| rng.normal()).collect();
    let book = Codebook::fit(samples.iter().map(|v| [*v, 1.0]).collect());
    let square = |v: f32| (v - book.values[usize::from(book.index(v))]).powi(2);
    let error = samples.iter().map(|v| f64::from(square(*v))).sum::<f64>() / samples.len() as f64;
    // Panter and Dite: √3 π / (2 n²) for normal samples.
    let best = 3.0_f64.sqrt() * std::f64::consts::PI / 2.0 / 65_536.0;
    assert!(error < 1.15 * best, "{error} where {best} is possible");
    let even: f64 = samples.iter().map(|v| f64::from((v * 32.0).fract() / 32.0 - 1.0 / 64.0).powi(2)).sum();
    assert!(even / samples.len() as f64 > 1.15 * best, "the negative control: even steps are no better");
    for v in samples.iter().take(2000).chain(&[-9.0, 9.0]) {
        let nearest = book.values.iter().map(|value| (v - value).abs()).fold(f32::INFINITY, f32::min);
        assert_eq!((v - book.values[usize::from(book.index(*v))]).abs(), nearest);
    }
}

#[test]
fn a_palette_finds_what_belongs_together() {
    // Sixty heaps of a hundred points.
    let mut rng = Rng::new(6, "palette");
    let width = 9;
    let heaps: Vec<f32> = (0..60 * width).map(|_| rng.normal()).collect();
    let mut values = Vec::new();
    for i in 0..6000 {
        values.extend((0..width).map(|c| heaps[(i * 7 % 60) * width + c] + 0.01 * rng.normal()));
    }
    let points = Points { values: &values, width };
    let error = |centres: &[f32], label: &dyn Fn(usize) -> usize| {
        let rows = values.chunks_exact(width).enumerate();
        let square = |(i, row): (usize, &[f32])| {
            row.iter().zip(&centres[label(i) * width..]).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        (rows.map(square).sum::<f64>() / values.len() as f64).sqrt()
    };
    let found = palette(points, 64);
    assert_eq!((found.centres.len() <= 64 * width, found.labels.len()), (true, 6000));
    let rms = error(&found.centres, &|i| found.labels[i] as usize);
    assert!(rms < 0.0105, "{rms} with heaps of 0.01");
    // The negative control: without looking for the nearest.
    assert!(error(&found.centres, &|i| found.labels[(i + 1) % 6000] as usize) > 0.5);
    let again = palette(points, 64);
    assert_eq!((&found.centres, &found.labels), (&again.centres, &again.labels));
    // More centres than points, and points that are all equal.
    let own = palette(Points { values: &values[..50 * width], width }, 64);
    assert_eq!(own.centres.len(), 50 * width);
    let equal = vec![0.25; 5000 * width];
    let one = palette(Points { values: &equal, width }, 1024);
    assert!(one.labels.iter().all(|label| one.centres[*label as usize * width..][..width] == equal[..width]));
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let bytes = written(&sample(30, 1));
    for length in (0..bytes.len()).step_by(3) {
        assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    // Pictures within a whole archive as well.
    let files = packed(&sample(30, 1)).expect("packed");
    let meta = Meta::parse(&files[0].1).expect("parsed");
    let pictures: Vec<Vec<u8>> = ["means_l", "means_u", "scales", "quats", "sh0", "shN_centroids", "shN_labels"]
        .map(|name| files.iter().find(|(n, _)| n.starts_with(name)).expect("there").1.clone())
        .to_vec();
    assert!(decode::decoded(&meta, 30, &pictures).is_ok());
    for k in 0..pictures.len() {
        // The last word of a picture may be filling.
        for length in 0..pictures[k].len() - 9 {
            let mut pictures = pictures.clone();
            pictures[k].truncate(length);
            assert!(decode::decoded(&meta, 30, &pictures).is_err(), "picture {k} of {length} bytes");
        }
    }
}

/// An archive with one file in place of another.
fn with(splats: &Splats, name: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = FileOptions::default().compression_method(CompressionMethod::Deflated);
    for (n, file) in packed(splats).expect("packed") {
        zip.start_file(n, options).expect("written");
        zip.write_all(&if n == name { change(&file) } else { file }).expect("written");
    }
    zip.finish().expect("written").into_inner()
}

#[test]
fn numbers_that_lie_are_refused_before_memory_is_taken() {
    let splats = sample(40, 1);
    let lie = |from: &str, to: &str| {
        let bytes = with(&splats, META, |file| {
            let text = String::from_utf8(file.to_vec()).expect("text");
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1).into_bytes()
        });
        read(&bytes).expect_err("refused").what
    };
    assert!(lie("\"count\":40", "\"count\":1099511627776").contains("1099511627776 Gaussians"));
    assert!(lie("\"count\":40", "\"count\":0").contains("no Gaussians"));
    assert!(lie("\"count\":40", "\"count\":60000").contains("pixels for 60000"));
    assert!(lie("\"count\":40", "\"count\":-1").contains("meta.json"));
    assert!(lie("\"version\":2", "\"version\":3").contains("version 3"));
    assert!(lie("\"version\":2", "\"version\":1").contains("lacks mins"));
    assert!(lie("\"bands\":1", "\"bands\":3").contains("palette"));
    assert!(lie("\"codebook\":[", "\"codebook\":[],\"x\":[").contains("a codebook has 0 values"));
    assert!(lie("\"codebook\":[", "\"codebook\":[1],\"x\":[").contains("the scale of Gaussian"));
    assert!(lie("\"quats.webp\"", "").contains("name all files"));
    assert!(lie("\"quats.webp\"", "\"gone.webp\"").contains("gone.webp is missing"));
    assert!(lie("\"mins\":[", "\"mins\":[1,").contains("meta.json"));
    assert!(lie("\"shN\":{\"count\":40", "\"shN\":{\"count\":1").contains("harmonics"));
}

#[test]
fn bombs_do_not_go_off() {
    let splats = sample(40, 0);
    // A document, and a picture, of zeros without end.
    let zeros = with(&splats, META, |_| vec![b' '; 32 << 20]);
    assert!(read(&zeros).is_err_and(|e| e.what.contains("would unpack to")));
    let zeros = with(&splats, "quats.webp", |_| vec![0; 32 << 20]);
    assert!(read(&zeros).is_err_and(|e| e.what.contains("would unpack to")));
    // A picture whose size is the largest that there is: 14 bits each, behind the signature.
    let huge = with(&splats, "quats.webp", |file| {
        let mut file = file.to_vec();
        let at = file.windows(4).position(|w| w == b"VP8L").expect("there") + 9;
        file[at..at + 3].copy_from_slice(&[0xfe, 0xbf, 0xff]);
        file[at + 3] |= 0x0f;
        file
    });
    let error = read(&huge).expect_err("refused");
    assert!(error.what.contains("16383 by 16383 pixels"), "{error}");
    // An archive that says that it has more than there is: the size in the directory at its end.
    let mut bytes = written(&splats);
    let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").expect("there");
    bytes[directory + 24..directory + 28].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read(&bytes).is_err());
}

#[test]
fn what_is_no_number_is_refused() {
    let mut splats = sample(3, 1);
    splats.sh_rest[1] = f32::NAN;
    assert!(Sog.write(&splats, &mut Cursor::new(Vec::new())).is_err());
    let far = with(&sample(9, 0), META, |file| {
        let text = String::from_utf8(file.to_vec()).expect("text");
        text.replacen("\"maxs\":[", "\"maxs\":[900,0,0],\"old\":[", 1).into_bytes()
    });
    assert!(read(&far).is_err_and(|e| e.what.contains("the centre of Gaussian")));
}

#[test]
fn flipped_bytes_give_errors_or_gaussians() {
    let mut rng = Rng::new(4, "flipped bytes of sog");
    let bytes = written(&sample(24, 1));
    let files = packed(&sample(24, 1)).expect("packed");
    let meta = Meta::parse(&files[0].1).expect("parsed");
    let names = decode::names(&meta);
    let pictures: Vec<Vec<u8>> =
        names.iter().map(|name| files.iter().find(|(n, _)| n == name).expect("there").1.clone()).collect();
    let mut fine = 0;
    for _ in 0..1500 {
        let mut bytes = bytes.clone();
        let at = rng.below(bytes.len());
        bytes[at] = rng.next_u32() as u8;
        let _ = read(&bytes);
        let _ = Sog.peek(&mut Source::memory(&bytes));
        // The archive's check sums find most; so the pictures alone, too.
        let mut pictures = pictures.clone();
        let picture = &mut pictures[rng.below(names.len())];
        let at = rng.below(picture.len());
        picture[at] = rng.next_u32() as u8;
        fine += usize::from(decode::decoded(&meta, 24, &pictures).is_ok());
        let mut text = files[0].1.clone();
        let at = rng.below(text.len().min(200));
        text[at] = rng.next_u32() as u8 & 0x7f;
        let _ = Meta::parse(&text);
    }
    assert!((100..1500).contains(&fine), "{fine} of 1500 pictures decoded");
    assert_eq!(rest_per_splat(1), 9);
    for other in [&b"PK\x03\x04\x0a\0scene.toml"[..], b"{\"frames\": []}", b"", b"ply"] {
        assert!(!Sog.recognises(other));
    }
}
