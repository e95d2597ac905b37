//! Damaged, foreign and impossible files: one clear error that names the file and what to do about it, never a panic,
//! and nothing half-written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use retort_fields::error::{Error, Result};
use retort_fields::field::{tensor, values};
use retort_fields::files::archive::{self, Archive};
use retort_fields::files::{self, Provenance, write_atomically};
use retort_fields::registry::{AnyField, Kind};
use retort_fields::rng::Rng;
use retort_tests::{camera, cpu, picture, stirred, tiny_scene};
use tempfile::TempDir;

/// A field in a file of its own folder, to be damaged.
struct Bench {
    folder: TempDir,
    kind: Kind,
    good: Vec<u8>,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("field.safetensors");
        files::save(&stirred(kind, &tiny_scene(false), 1), &Provenance::default(), &path).expect("a writable folder");
        let good = std::fs::read(&path).expect("it is there");
        Self { folder, kind, good }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("field.safetensors")
    }

    fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).expect("a writable folder");
    }

    /// The description and the archive, changed.
    fn edited(&self, change: impl FnOnce(&mut Archive)) -> Vec<u8> {
        let mut archive = Archive::from_bytes(&self.good).expect("our own file");
        change(&mut archive);
        archive.to_bytes().expect("values fill their shapes")
    }

    /// Neither loading nor a look at the header may panic, and loading must give an error that is of use.
    fn refuses(&self, what: &str, bytes: &[u8]) -> Error {
        self.put(bytes);
        let error = self.outcome(what).err().unwrap_or_else(|| panic!("{}: it is taken: {what}", self.kind));
        assert_eq!(error.file.as_deref(), Some(self.path().as_path()), "{}, {what}: {error}", self.kind);
        assert!(!error.remedy.is_empty() && !error.what.is_empty(), "{}, {what}: no remedy: {error}", self.kind);
        assert!(!error.to_string().contains('\n'), "{}, {what}: more than a line: {error}", self.kind);
        error
    }

    /// What loading gives; a field that loads can also be drawn.
    fn outcome(&self, what: &str) -> Result<AnyField> {
        let path = self.path();
        let work = || {
            drop(files::peek(&path));
            let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
            let in_memory = files::from_bytes(&bytes, &cpu());
            let (field, _) = files::load(&path, &cpu())?;
            in_memory?;
            picture(&field, &camera(8, 0));
            Ok(field)
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| panic!("{}: a panic at: {what}", self.kind))
    }
}

fn benches() -> impl Iterator<Item = Bench> {
    Kind::ALL.iter().map(|&kind| Bench::new(kind))
}

/// The length that the file says its header has.
fn header_length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize
}

/// A file with another header before the same values.
fn with_header(good: &[u8], header: &str) -> Vec<u8> {
    let values = &good[8 + header_length(good)..];
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat()
}

fn header_of(good: &[u8]) -> String {
    String::from_utf8(good[8..8 + header_length(good)].to_vec()).expect("JSON")
}

#[test]
fn whole_files_are_taken() {
    for bench in benches() {
        let field = bench.outcome("nothing").expect("our own file");
        assert_eq!(field.kind(), bench.kind);
        // The helpers themselves do no damage.
        for same in [bench.edited(|_| ()), with_header(&bench.good, &header_of(&bench.good))] {
            bench.put(&same);
            assert!(bench.outcome("the same again").is_ok());
        }
    }
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, word) in [
        (folder.path().join("missing.safetensors"), "check the path"),
        (folder.path().join("no/folder/field.safetensors"), "check the path"),
        (folder.path().to_path_buf(), "give a .safetensors file"),
        (PathBuf::from("/dev/null"), "give a .safetensors file"),
        (PathBuf::from(""), "check the path"),
    ] {
        if !cfg!(unix) && path.starts_with("/dev") {
            continue;
        }
        for error in [files::load(&path, &cpu()).err(), files::peek(&path).err(), Archive::read(&path).err()] {
            let error = error.unwrap_or_else(|| panic!("{} is taken", path.display()));
            assert_eq!(error.file.as_ref(), Some(&path), "{error}");
            assert!(error.remedy.contains(word), "{error}");
        }
    }
}

#[test]
fn files_of_every_length_are_refused() {
    for bench in benches() {
        let (n, header) = (bench.good.len(), 8 + header_length(&bench.good));
        let mut rng = Rng::new(1, "lengths");
        let near = |at: usize| at.saturating_sub(2)..(at + 3).min(n);
        let some: Vec<usize> = (0..100).map(|i| rng.below(if i < 60 { n } else { header })).collect();
        for length in (0..20).chain(near(header)).chain(n - 3..n).chain(some) {
            bench.refuses(&format!("the first {length} of {n} bytes"), &bench.good[..length]);
        }
        for more in [1, 4, 1000] {
            bench.refuses("bytes behind the end", &[&bench.good[..], &vec![0; more]].concat());
        }
    }
}

#[test]
fn headers_that_lie_about_lengths_are_refused() {
    for bench in benches() {
        let real = header_length(&bench.good) as u64;
        for length in [0, 1, real - 1, real + 1, 1 << 20, (16 << 20) + 1, 1 << 32, 1 << 62, u64::MAX - 7, u64::MAX] {
            let bytes = [&length.to_le_bytes(), &bench.good[8..]].concat();
            bench.refuses(&format!("a header of {length} bytes"), &bytes);
        }
        // Offsets and shapes of the first tensor, made impossible.
        let header = header_of(&bench.good);
        let from = header.find("\"data_offsets\":[").expect("safetensors") + "\"data_offsets\":[".len();
        let to = from + header[from..].find(']').expect("safetensors");
        for offsets in [
            "0,18446744073709551615",
            "18446744073709551608,18446744073709551615",
            "0,4",
            "4,0",
            "-4,0",
            "0.5,8",
            "0",
            "",
            "0,99999999999999999999",
        ] {
            let lie = format!("{}{offsets}{}", &header[..from], &header[to..]);
            bench.refuses(&format!("offsets {offsets}"), &with_header(&bench.good, &lie));
        }
        let from = header.find("\"shape\":[").expect("safetensors") + "\"shape\":[".len();
        let to = from + header[from..].find(']').expect("safetensors");
        for shape in [
            "18446744073709551615,4",
            "4294967296,4294967296",
            "0,0",
            "",
            "1",
            "1,1,1",
            "9223372036854775808,2",
            "-1,1",
        ] {
            let lie = format!("{}{shape}{}", &header[..from], &header[to..]);
            bench.refuses(&format!("shape {shape}"), &with_header(&bench.good, &lie));
        }
        for dtype in ["F64", "F16", "I32", "BOOL", "teapot"] {
            let lie = header.replace("\"F32\"", &format!("\"{dtype}\""));
            bench.refuses(&format!("values of {dtype}"), &with_header(&bench.good, &lie));
        }
        // One tensor that is all of memory, in a file of a few bytes.
        let all = r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#;
        bench.refuses("a tensor larger than memory", &[&(all.len() as u64).to_le_bytes(), all.as_bytes()].concat());
    }
}

#[test]
fn foreign_files_are_refused() {
    let other = r#"{"__metadata__":{"format":"pt"},"weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
    let foreign = [&(other.len() as u64).to_le_bytes(), other.as_bytes(), &[0; 4]].concat();
    let mut rng = Rng::new(2, "bytes");
    let mut noise = |n: usize| (0..n).map(|_| rng.next_u32() as u8).collect::<Vec<u8>>();
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = format!(r#"{{"__metadata__":{{"retort":"{nested}"}}}}"#);
    let deeper = format!(r#"{{"a":{nested}}}"#);
    for bench in benches() {
        let error = bench.refuses("a safetensors file of something else", &foreign);
        assert!(error.what.contains("not a field of Retort"), "{error}");
        for text in ["ply\nformat ascii 1.0\nend_header\n", "{}", "null", "\u{89}PNG\r\n\u{1a}\n", "        {}"] {
            bench.refuses("another format", text.as_bytes());
        }
        for header in ["", "{}", "null", "[]", "{\"__metadata__\":3}", &deep, &deeper, "{\"a\":{}}"] {
            let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
            bench.refuses(&format!("the header {header:.40}"), &bytes);
        }
        for length in [1, 7, 8, 9, 64, 1000, 100_000] {
            bench.refuses(&format!("{length} random bytes"), &noise(length));
        }
    }
}

/// A flipped bit is either noticed or harmless; it is never a panic.
#[test]
fn flipped_bits_do_not_panic() {
    for bench in benches() {
        let header = 8 + header_length(&bench.good);
        let mut rng = Rng::new(3, "bits");
        let mut noticed = 0;
        for round in 0..300 {
            let mut bytes = bench.good.clone();
            let end = if round < 220 { header } else { bytes.len() };
            for _ in 0..=(round % 2) {
                let at = rng.below(end);
                bytes[at] ^= 1 << rng.below(8);
            }
            bench.put(&bytes);
            if let Err(error) = bench.outcome(&format!("flipped bits, round {round}")) {
                assert_eq!(error.file.as_deref(), Some(bench.path().as_path()), "{error}");
                noticed += 1;
            }
        }
        assert!(noticed > 150, "{}: only {noticed} of 300 are noticed", bench.kind);
    }
}

#[test]
fn tensors_of_other_shapes_are_refused() {
    for bench in benches() {
        let names: Vec<String> =
            Archive::from_bytes(&bench.good).expect("our own").tensors.into_iter().map(|t| t.0).collect();
        for name in &names {
            let at = |a: &Archive| a.tensors.iter().position(|t| t.0 == *name).expect("it is there");
            let reshaped = |change: &dyn Fn(&mut [usize; 2], &mut Vec<f32>)| {
                bench.edited(|a| {
                    let at = at(a);
                    let (_, shape, values) = &mut a.tensors[at];
                    change(shape, values);
                })
            };
            let what = |how: &str| format!("{name} {how}");
            bench.refuses(&what("is missing"), &bench.edited(|a| drop(a.tensors.remove(at(a)))));
            bench.refuses(
                &what("has another name"),
                &bench.edited(|a| {
                    let at = at(a);
                    a.tensors[at].0.push('x');
                }),
            );
            bench.refuses(
                &what("has no rows"),
                &reshaped(&|shape, values| {
                    values.clear();
                    shape[0] = 0;
                }),
            );
            bench.refuses(
                &what("has no columns"),
                &reshaped(&|shape, values| {
                    values.clear();
                    shape[1] = 0;
                }),
            );
            bench.refuses(
                &what("is wider"),
                &reshaped(&|shape, values| {
                    shape[1] += 1;
                    values.resize(shape[0] * shape[1], 0.5);
                }),
            );
            bench.refuses(
                &what("is longer"),
                &reshaped(&|shape, values| {
                    shape[0] += 1;
                    values.resize(shape[0] * shape[1], 0.5);
                }),
            );
            let error = bench.refuses(
                &what("is a matrix of nothing"),
                &reshaped(&|shape, values| {
                    *shape = [0, 0];
                    values.clear();
                }),
            );
            assert!(error.what.contains(name.as_str()), "the tensor is named: {error}");
            if bench.kind != Kind::Gaussians {
                bench.refuses(&what("is transposed"), &reshaped(&|shape, _| shape.reverse()));
            }
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let error = bench.refuses(
                    &what("is not of numbers"),
                    &reshaped(&|_, values| {
                        let last = values.len() - 1;
                        values[last] = bad;
                    }),
                );
                assert!(error.what.contains(name.as_str()) && error.remedy.contains("again"), "{error}");
            }
        }
        bench.refuses("NaN throughout", &bench.edited(|a| a.tensors.iter_mut().for_each(|t| t.2.fill(f32::NAN))));
        bench.refuses("no tensors", &bench.edited(|a| a.tensors.clear()));
        // Bytes that belong to nobody.
        bench.refuses("an unknown extra", &bench.edited(|a| a.bytes.push(("extra.teapot".into(), vec![1, 2, 3]))));
        // Numbers that are legal and monstrous: no picture of them may panic either.
        for value in [f32::MAX, f32::MIN, 1e20, -1e20, f32::MIN_POSITIVE, 0.0] {
            bench.put(&bench.edited(|a| a.tensors.iter_mut().for_each(|t| t.2.fill(value))));
            let _ = bench.outcome(&format!("{value} throughout"));
        }
    }
}

#[test]
fn damaged_occupancy_is_refused() {
    for bench in benches().filter(|bench| bench.kind != Kind::Gaussians) {
        let grid = |change: &dyn Fn(&mut Vec<u8>)| {
            bench.edited(|a| {
                let at = a.bytes.iter().position(|b| b.0 == "extra.occupancy").expect("volumes have one");
                change(&mut a.bytes[at].1);
            })
        };
        bench.refuses("no grid", &grid(&|b| b.clear()));
        bench.refuses("half a grid", &grid(&|b| b.truncate(b.len() / 2)));
        bench.refuses("a byte too many", &grid(&|b| b.push(0)));
        bench.refuses("not a grid", &grid(&|b| b[0] = b'X'));
        for (word, value) in [(0, 9), (1, 0), (1, 17), (1, 1024), (1, u32::MAX), (2, 7)] {
            let set = |b: &mut Vec<u8>| b[8 + 4 * word..12 + 4 * word].copy_from_slice(&value.to_le_bytes());
            bench.refuses(&format!("grid word {word} is {value}"), &grid(&set));
        }
        bench.refuses("another box", &grid(&|b| b[20..24].copy_from_slice(&(-3.0_f32).to_le_bytes())));
        // A grid of another resolution than the configuration says, whole in itself.
        let other =
            retort_fields::parts::occupancy::Occupancy::new_full(32, tiny_scene(false).bounds).to_bytes_compact();
        bench.refuses("a grid of another resolution", &grid(&|b| b.clone_from(&other)));
    }
}

#[test]
fn edited_descriptions_are_refused() {
    for bench in benches() {
        let json = |what: &str, change: &dyn Fn(&mut Archive)| bench.refuses(what, &bench.edited(|a| change(a)));
        json("an unknown kind", &|a| a.json["config"]["kind"] = "teapot".into());
        let other = if bench.kind == Kind::Mlp { "hash" } else { "mlp" };
        json("another kind", &|a| a.json["config"]["kind"] = other.into());
        json("no kind", &|a| drop(a.json["config"].as_object_mut().expect("a table").remove("kind")));
        let error = json("an unknown key", &|a| a.json["config"]["flavour"] = 3.into());
        assert!(error.what.contains("flavour"), "the key is named: {error}");
        json("an unknown key of the scene", &|a| a.json["scene"]["fog"] = 3.into());
        for key in ["config", "scene", "version"] {
            json("a part is missing", &|a| drop(a.json.as_object_mut().expect("a table").remove(key)));
            json("a part is something else", &|a| a.json[key] = "x".into());
            json("a part is nothing", &|a| a.json[key] = Option::<u32>::None.into());
        }
        json("the provenance is something else", &|a| a.json["provenance"] = 3.into());
        json("version 0", &|a| a.json["version"] = 0.into());
        json("a version below", &|a| a.json["version"] = (-1).into());
        let error = json("a newer version", &|a| a.json["version"] = 2.into());
        assert!(error.remedy.contains("update"), "{error}");
        json("a list", &|a| a.json = vec![1, 2, 3].into());
        json("a number", &|a| a.json = 3.into());
    }
}

#[test]
fn impossible_scenes_are_refused() {
    for bench in benches() {
        let scene = |what: &str, change: &dyn Fn(&mut Archive)| bench.refuses(what, &bench.edited(|a| change(a)));
        scene("a box inside out", &|a| a.json["scene"]["bounds"]["max"] = vec![-2.0, -2.0, -2.0].into());
        scene("a flat box", &|a| a.json["scene"]["bounds"]["max"] = a.json["scene"]["bounds"]["min"].clone());
        scene("a box without end", &|a| a.json["scene"]["bounds"]["max"] = vec![1e300, 1.0, 1.0].into());
        scene("a box wider than numbers", &|a| {
            a.json["scene"]["bounds"]["min"] = vec![-3e38, -3e38, -3e38].into();
            a.json["scene"]["bounds"]["max"] = vec![3e38, 3e38, 3e38].into();
        });
        scene("a box of two numbers", &|a| a.json["scene"]["bounds"]["max"] = vec![1.0, 1.0].into());
        for (near, far) in [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.1, 1e300)] {
            scene("near and far", &|a| a.json["scene"]["near_far"] = vec![near, far].into());
        }
        for extent in [0.0, -1.0, 1e300] {
            scene("extent", &|a| a.json["scene"]["extent"] = extent.into());
        }
        for (key, bad) in [
            ("fov_y", 0.0),
            ("fov_y", -1.0),
            ("fov_y", 4.0),
            ("fov_y", 1e300),
            ("aspect", 0.0),
            ("aspect", 1e9),
            ("aspect", -1.0),
        ] {
            scene(&format!("a camera with {key} {bad}"), &|a| a.json["scene"]["cameras"][1][key] = bad.into());
        }
        scene("a camera nowhere", &|a| a.json["scene"]["cameras"][1]["position"] = vec![1e300, 0.0, 0.0].into());
        scene("a camera that looks nowhere", &|a| a.json["scene"]["cameras"][1]["rotation"] = vec![0.0; 4].into());
        scene("a scale of nothing", &|a| a.json["scene"]["scene_from_dataset"]["scale"] = 0.0.into());
        scene("a camera that is none", &|a| a.json["scene"]["cameras"][1] = 3.into());
        scene("too many cameras", &|a| {
            let one = a.json["scene"]["cameras"][0].clone();
            a.json["scene"]["cameras"] = vec![one; 100_000].into();
        });
    }
}

/// Values of configurations, and what each cannot be.
type Impossible = [(&'static str, &'static [f64])];
const FACTORS: &Impossible = &[
    ("sigma_rank", &[0.0, 1025.0, 1e9, -1.0]),
    ("app_rank", &[0.0, 1025.0, 1e9]),
    ("density_shift", &[31.0, 1e9]),
    ("density_scale", &[0.0, 1e9]),
];
const IMPOSSIBLE: &[(Kind, &Impossible)] = &[
    (
        Kind::Hash,
        &[
            ("levels", &[0.0, 33.0, 1e9, -1.0]),
            ("features", &[0.0, 3.0, 1e9]),
            ("log2_table_size", &[0.0, 31.0, 64.0, 1e9]),
            ("base_resolution", &[0.0, 1e9]),
            ("finest_resolution", &[0.0, 4e9]),
        ],
    ),
    (
        Kind::Mlp,
        &[("frequencies", &[17.0, 1e9]), ("depth", &[0.0, 1e9]), ("width", &[0.0, 1e9]), ("bottleneck", &[0.0, 1e9])],
    ),
    (Kind::Voxels, &[("resolution", &[0.0, 1.0, 1025.0, 1e9])]),
    (Kind::Vm, FACTORS),
    (Kind::Cp, FACTORS),
    (Kind::Gaussians, &[("sh_degree", &[0.0, 4.0, 1e9]), ("initial", &[0.0, 1e18])]),
];

#[test]
fn impossible_configurations_are_refused() {
    for bench in benches() {
        let keys = IMPOSSIBLE.iter().find(|(kind, _)| *kind == bench.kind).map_or(&[][..], |(_, keys)| keys);
        for (key, bad) in keys {
            for &value in *bad {
                let bytes = bench.edited(|a| a.json["config"][*key] = (value as i64).into());
                let error = bench.refuses(&format!("{key} is {value}"), &bytes);
                assert!(error.what.contains(key) || !(0.0..=4.2e9).contains(&value), "the value is named: {error}");
            }
        }
        if bench.kind == Kind::Gaussians {
            continue;
        }
        let volume: &[(&str, &[f64])] = &[
            ("latent", &[0.0, 1e9]),
            ("occupancy_resolution", &[0.0, 17.0, 1024.0]),
            ("samples_per_diagonal", &[0.0, 4e9]),
        ];
        for (key, bad) in volume {
            for &value in *bad {
                let bytes = bench.edited(|a| a.json["config"]["volume"][*key] = (value as i64).into());
                bench.refuses(&format!("volume.{key} is {value}"), &bytes);
            }
        }
        bench.refuses(
            "a range upside down",
            &bench.edited(|a| a.json["config"]["volume"]["log_sigma_range"] = vec![3.0, -3.0].into()),
        );
        // Declared, possible, and not what the file holds: told before the memory is taken.
        bench.refuses(
            "another grid",
            &bench.edited(|a| a.json["config"]["volume"]["occupancy_resolution"] = 512.into()),
        );
        let (key, large) = match bench.kind {
            Kind::Hash => ("log2_table_size", 24),
            Kind::Voxels => ("resolution", 1024),
            Kind::Vm | Kind::Cp => ("app_rank", 1024),
            _ => ("width", 1024),
        };
        bench.refuses("more values than the file has", &bench.edited(|a| a.json["config"][key] = large.into()));
    }
}

/// The names of all files in a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn places_that_cannot_be_written_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let field = stirred(Kind::Gaussians, &tiny_scene(false), 1);
    let file = folder.path().join("a-file");
    std::fs::write(&file, "kept").expect("a writable folder");
    std::fs::create_dir(folder.path().join("a-folder")).expect("a writable folder");
    let before = names_in(folder.path());
    for place in ["missing/field.safetensors", "a-file/field.safetensors", "a-folder", "", "a-folder/.."] {
        let path = folder.path().join(place);
        for error in [files::save(&field, &Provenance::default(), &path).err(), write_atomically(&path, b"x").err()] {
            let error = error.unwrap_or_else(|| panic!("{place} is written"));
            assert!(error.file.as_ref() == Some(&path) && !error.remedy.is_empty(), "{place}: {error}");
        }
        assert_eq!(names_in(folder.path()), before, "{place}: nothing is left behind");
    }
    assert_eq!(std::fs::read(&file).ok().as_deref(), Some(&b"kept"[..]));
}

/// A rename would replace a device by a file, which is a disaster for whoever may.
#[cfg(unix)]
#[test]
fn devices_are_not_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()) {
        eprintln!("skipped: no mkfifo here");
        return;
    }
    let error = write_atomically(&pipe, b"x").expect_err("it is a pipe");
    assert!(error.file.as_ref() == Some(&pipe) && !error.remedy.is_empty(), "{error}");
    assert!(!std::fs::metadata(&pipe).expect("still there").is_file());
    assert_eq!(names_in(folder.path()), ["pipe"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, "old").expect("a writable folder");
    std::os::unix::fs::symlink(&real, &link).expect("a writable folder");
    write_atomically(&link, b"new").expect("a writable folder");
    assert_eq!(std::fs::read(&real).ok().as_deref(), Some(&b"new"[..]));
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
}

#[test]
fn what_is_not_a_number_is_not_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for &kind in Kind::ALL {
        let path = folder.path().join(format!("{kind}.safetensors"));
        let field = stirred(kind, &tiny_scene(false), 1);
        files::save(&field, &Provenance::default(), &path).expect("a writable folder");
        let (before, names) = (std::fs::read(&path).expect("it is there"), names_in(folder.path()));
        let mut bad = field.clone();
        let param = bad.params_mut().pop().expect("a parameter");
        let mut data = values(param.tensor.clone());
        data[0] = f32::NAN;
        *param.tensor = tensor(data, param.tensor.dims(), &cpu());
        let error = files::save(&bad, &Provenance::default(), &path).expect_err("it could not be read again");
        assert!(error.file.as_ref() == Some(&path) && !error.remedy.is_empty(), "{error}");
        assert_eq!((std::fs::read(&path).expect("still there"), names_in(folder.path())), (before, names), "{kind}");
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    for text in ["a longer text than the next", "short", ""] {
        write_atomically(&path, text.as_bytes()).expect("a writable folder");
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(text.as_bytes()));
        assert_eq!(names_in(folder.path()), ["file"], "no temporary file stays");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "as readable as any file");
    }
}

/// Not a test of its own: what [`a_full_disk_leaves_the_old_file`] starts in a process that may write 64 KiB a file.
#[test]
#[ignore = "run by a_full_disk_leaves_the_old_file"]
fn helper_that_writes_a_megabyte() {
    let Some(folder) = std::env::var_os("RETORT_TEST_FOLDER").map(PathBuf::from) else { return };
    let error = write_atomically(&folder.join("file"), &vec![1; 1 << 20]).expect_err("there is no room");
    println!("<{}|{}|{}>", error.what, error.file.is_some(), error.remedy);
}

/// A limit on the size of files fails a write half-way, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("file"), "old").expect("a writable folder");
    let own = std::env::current_exe().expect("this program");
    // The signal that goes with the limit is ignored, so that the write fails instead.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact helper_that_writes_a_megabyte --ignored --nocapture";
    let output = Command::new("bash").arg("-c").arg(script).arg(own).env("RETORT_TEST_FOLDER", folder.path()).output();
    let Ok(output) = output else {
        eprintln!("skipped: no bash here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|l| l.split_once('<')).unwrap_or_else(|| panic!("it did not run: {said}")).1;
    let parts: Vec<&str> = line.trim_end_matches('>').split('|').collect();
    assert!(parts[1] == "true" && parts[2].contains("space") && !parts[0].contains(".retort-"), "{line}");
    assert_eq!(std::fs::read(folder.path().join("file")).ok().as_deref(), Some(&b"old"[..]), "the old file is whole");
    assert_eq!(names_in(folder.path()), ["file"], "and nothing else is there");
}

/// Headers are read alone, without the values behind them.
#[test]
fn a_header_is_checked_against_the_length_of_the_file() {
    for bench in benches() {
        bench.put(&bench.good);
        let header = archive::header(&bench.path()).expect("our own file");
        assert_eq!(header.file_bytes, bench.good.len() as u64);
        bench.put(&bench.good[..bench.good.len() - 1]);
        assert!(archive::header(&bench.path()).is_err() && files::peek(&bench.path()).is_err(), "a byte is missing");
    }
}
