//! Projects: a scene with its fields in one file, and what is done with one that is damaged, foreign or meant to harm.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use retort_fields::compose::file::{self, Entry, NAME, SceneFile};
use retort_fields::compose::place::Place;
use retort_fields::compose::project::{self, Packed};
use retort_fields::error::Error;
use retort_fields::files::{self, Provenance};
use retort_fields::registry::{AnyField, Kind};
use retort_tests::{assert_same_field, cpu, stirred, tiny_scene};
use tempfile::TempDir;
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipWriter};

fn entries(text: &str) -> Vec<Entry> {
    SceneFile::parse(&format!("version = 1\n{text}")).expect("a scene").objects
}

/// Three objects of two fields; the second is hidden.
fn scene() -> SceneFile {
    let one = "[[objects]]\nfield = \"aa.safetensors\"\n";
    let two = "[[objects]]\nfield = \"ab.safetensors\"\nvisible = false\nname = \"hidden\"\n";
    let three = "[[objects]]\nfield = \"aa.safetensors\"\nmove = [1.0, 0.0, 0.0]\nedits = [{ brightness = 0.5 }]\n";
    SceneFile { version: file::VERSION, objects: entries(&format!("{one}{two}{three}")), camera_path: None }
}

struct Bench {
    folder: TempDir,
    fields: [AnyField; 2],
    good: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fields = [Kind::Hash, Kind::Voxels].map(|kind| stirred(kind, &tiny_scene(false), 1));
        let mut bench = Self { folder, fields, good: Vec::new() };
        let bytes = project::write(&bench.path(), &scene(), &bench.packed(["aa", "ab"])).expect("a project");
        bench.good = std::fs::read(bench.path()).expect("it is there");
        assert_eq!(bench.good.len() as u64, bytes);
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("Mine.RETORT")
    }

    fn packed(&self, names: [&str; 2]) -> Vec<Packed<'_>> {
        static MADE: Provenance = Provenance {
            made_by: String::new(),
            from: String::new(),
            steps: 3,
            seconds: 0.0,
            seed: 0,
            preset: String::new(),
            background: None,
            notes: Vec::new(),
            lies: false,
        };
        let pack = |(name, field)| Packed { name: format!("{name}.safetensors").into(), field, made: &MADE };
        names.into_iter().zip(&self.fields).map(pack).collect()
    }

    /// Every way to read it gives the same kind of error, which is of use.
    fn refuses(&self, what: &str, bytes: &[u8]) -> Error {
        let path = self.path();
        std::fs::write(&path, bytes).expect("a writable folder");
        let error = file::load(&path, &cpu()).err().unwrap_or_else(|| panic!("it is taken: {what}"));
        for error in [Some(&error), file::peek(&path).err().as_ref()].into_iter().flatten() {
            assert_eq!(error.file.as_deref(), Some(path.as_path()), "{what}: {error}");
            assert!(!error.what.is_empty() && !error.remedy.is_empty(), "{what}: no remedy: {error}");
            assert!(!error.to_string().contains('\n'), "{what}: more than a line: {error}");
        }
        error
    }

    /// The good file with another name of the same length in its headers; the scene says what it says.
    fn renamed(&self, from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut bytes = self.good.clone();
        let mut found = 0;
        for at in 1..=bytes.len() - from.len() {
            if bytes[at - 1] != b'"' && &bytes[at..at + from.len()] == from.as_bytes() {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
                found += 1;
            }
        }
        assert_eq!(found, 2, "before the file and in the directory");
        bytes
    }

    /// The good file with another word of four bytes `at` bytes into the last entry of the directory.
    fn declared(&self, at: usize, value: u32) -> Vec<u8> {
        let mut bytes = self.good.clone();
        let entry = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a directory");
        bytes[entry + at..entry + at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    }
}

/// An archive of other things.
fn archive(files: &[(&str, &[u8])], how: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, FileOptions::default().compression_method(how)).expect("a name");
        zip.write_all(bytes).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

#[test]
fn a_project_holds_all_of_a_scene_once() {
    let bench = Bench::new();
    let single: u64 = [0, 1].map(|i| saved(&bench.fields[i]).len() as u64).iter().sum();
    assert!((bench.good.len() as u64) < single + 4096, "two objects of one field store it once");
    assert_eq!(file::scene_path(&bench.path()), Some(bench.path()));
    let told = file::peek(&bench.path()).expect("a project");
    let kinds: Vec<Kind> = told.iter().map(|(_, summary)| summary.kind).collect();
    assert_eq!(kinds, [Kind::Hash, Kind::Voxels, Kind::Hash]);
    let mut place = Place::of(&bench.path()).expect("a project");
    assert_eq!(place.scene().expect("a scene"), scene());
    for (name, field) in [("aa.safetensors", &bench.fields[0]), ("./ab.safetensors", &bench.fields[1])] {
        let (loaded, made) = place.load(Path::new(name), &cpu()).expect("a field");
        assert_same_field(&loaded, &reloaded(field), name);
        assert_eq!((made.steps, place.file_of(Path::new(name))), (3, None));
    }
    let (subject, made) = file::load(&bench.path(), &cpu()).expect("a project");
    assert_eq!((subject.name().as_str(), made.from.as_str()), ("scene of 2", "scene of 2"));
    // The same again is the same file.
    let again = bench.folder.path().join("again.retort");
    project::write(&again, &scene(), &bench.packed(["aa", "ab"])).expect("a project");
    assert_eq!(std::fs::read(again).expect("it is there"), bench.good);
}

/// The field as a file gives it back.
fn reloaded(field: &AnyField) -> AnyField {
    files::from_bytes(&saved(field), &cpu()).expect("our own file").0
}

fn saved(field: &AnyField) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("field.safetensors");
    files::save(field, &Provenance::default(), &path).expect("a writable folder");
    std::fs::read(path).expect("it is there")
}

#[test]
fn what_people_zip_themselves_is_taken() {
    let bench = Bench::new();
    let (text, a, b) = (scene().text().expect("TOML"), saved(&bench.fields[0]), saved(&bench.fields[1]));
    let notes: (&str, &[u8]) = ("notes/read me.txt", b"hello");
    let all = [("aa.safetensors", &a[..]), ("ab.safetensors", &b), (NAME, text.as_bytes()), notes];
    let bytes = archive(&all, CompressionMethod::Deflated);
    assert!(bytes.len() < a.len() + b.len(), "it is packed");
    std::fs::write(bench.path(), bytes).expect("a writable folder");
    let (subject, _) = file::load(&bench.path(), &cpu()).expect("a project");
    assert_eq!(subject.name(), "scene of 2");
    let (field, _) =
        Place::of(&bench.path()).and_then(|mut p| p.load(Path::new("ab.safetensors"), &cpu())).expect("it");
    assert_same_field(&field, &reloaded(&bench.fields[1]), "unpacked");
}

#[test]
fn projects_of_every_length_and_other_files_are_refused() {
    let bench = Bench::new();
    let n = bench.good.len();
    for length in [0, 1, 4, 30, 100, n / 3, n / 2, n - 100, n - 22, n - 2, n - 1] {
        bench.refuses(&format!("the first {length} of {n} bytes"), &bench.good[..length]);
    }
    for text in ["", "PK", "PK\x05\x06", "version = 1\n[[objects]]\nfield = \"a\"\n", "\u{89}PNG\r\n\u{1a}\n"] {
        bench.refuses("another format", text.as_bytes());
    }
    bench.refuses("an empty archive", &archive(&[], CompressionMethod::Stored));
    // The values are checked by the archive's own sums.
    let mut flipped = bench.good.clone();
    let first = flipped.windows(14).position(|name| name == b"aa.safetensors").expect("in the scene");
    flipped[first + 500 + saved(&bench.fields[0]).len() / 2] ^= 4;
    assert!(bench.refuses("a flipped bit", &flipped).what.contains("damaged"));
    for bit in 0..64 {
        let mut flipped = bench.good.clone();
        flipped[n - 1 - bit * 5 % 300] ^= 1 << (bit % 8);
        std::fs::write(bench.path(), flipped).expect("a writable folder");
        if let Err(error) = file::load(&bench.path(), &cpu()) {
            assert!(error.file.is_some() && !error.remedy.is_empty(), "{error}");
        }
    }
    let missing = bench.folder.path().join("missing.retort");
    let error = file::load(&missing, &cpu()).expect_err("it is not there");
    assert!(error.file == Some(missing) && error.remedy.contains("path"), "{error}");
}

#[test]
fn harmful_archives_are_refused() {
    let bench = Bench::new();
    let names = [
        ("ab.safetensors", "aa.safetensors", "same name"),
        ("ab.safetensors", "/b.safetensors", "called"),
        ("ab.safetensors", "../afetensors/", "called"),
        ("ab.safetensors", "c:\\aafetensors", "called"),
        ("ab.safetensors", "a//safetensors", "called"),
        ("ab.safetensors", "zz.safetensors", "not in it"),
        (NAME, "scene.tomb", "no scene.toml"),
    ];
    for (from, to, word) in names {
        let error = bench.refuses(to, &bench.renamed(from, to));
        assert!(error.what.contains(word), "{to}: {error}");
    }
    // Sizes: packed, unpacked, and where the entry begins.
    for (at, value) in [(24, 1), (24, u32::MAX - 1), (24, 1 << 30), (20, u32::MAX - 1), (20, 1 << 30), (42, 0), (42, 9)]
    {
        bench.refuses(&format!("word {at} is {value}"), &bench.declared(at, value));
    }
    let text = scene().text().expect("TOML");
    let bomb = archive(&[(NAME, text.as_bytes()), ("aa.safetensors", &vec![0; 64 << 20])], CompressionMethod::Deflated);
    assert!(bomb.len() < 1 << 20 && bench.refuses("a bomb", &bomb).what.contains("cannot be"));
    let long = format!("{text}# {}\n", "x".repeat(17 << 20));
    let error = bench.refuses("a long scene", &archive(&[(NAME, long.as_bytes())], CompressionMethod::Stored));
    assert!(error.what.contains("too long"), "{error}");
    let many: Vec<String> = (0..600).map(|i| format!("{i}.txt")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    assert!(bench.refuses("many", &archive(&many, CompressionMethod::Stored)).what.contains("too many"));
}

#[test]
fn scenes_of_projects_are_checked_as_others_are() {
    let bench = Bench::new();
    let head = "version = 1\n[[objects]]\nfield = ";
    let field = saved(&bench.fields[0]);
    for (text, word) in [
        (String::new(), "version"),
        (format!("{head}\"bb.safetensors\""), "not in it"),
        (format!("{head}\"/etc/passwd\""), "not in it"),
        (format!("{head}\"../aa.safetensors\""), "not in it"),
        (format!("{head}\"scene.toml\""), "is a scene"),
        (format!("{head}\"aa.safetensors\"\ncolour = 3"), "colour"),
        (format!("{head}\"text.safetensors\""), "cut short"),
    ] {
        let all = [(NAME, text.as_bytes()), ("aa.safetensors", &field[..]), ("text.safetensors", b"text")];
        let error = bench.refuses(&text, &archive(&all, CompressionMethod::Stored));
        assert!(error.what.contains(word), "{text}: {error}");
    }
}

#[test]
fn nothing_is_half_written() {
    let bench = Bench::new();
    let before = std::fs::read_dir(bench.folder.path()).expect("a folder").count();
    let mut hidden = scene();
    hidden.objects.iter_mut().for_each(|entry| entry.visible = false);
    for error in [
        project::write(&bench.path(), &scene(), &bench.packed(["aa", "bb"])),
        project::write(&bench.path(), &scene(), &bench.packed(["aa", "AA"])),
        project::write(&bench.path(), &scene(), &bench.packed(["../aa", "ab"])),
        project::write(&bench.path(), &hidden, &bench.packed(["aa", "ab"])),
        project::write(&bench.folder.path().join("none/x.retort"), &scene(), &bench.packed(["aa", "ab"])),
    ] {
        let error = error.expect_err("it is written");
        assert!(error.file.is_some(), "{error}");
    }
    assert_eq!(std::fs::read_dir(bench.folder.path()).expect("a folder").count(), before, "nothing is left behind");
    assert_eq!(std::fs::read(bench.path()).expect("it is there"), bench.good, "what was there is whole");
}
