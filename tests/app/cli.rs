//! The program as a person and a script drive it: bad input of every sort, and the whole way round with a tiny scene.
//!
//! Bad input must end with exit status 1 and one line that names the file and the remedy, and leave nothing half-written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use retort_fields::compose::file::SceneFile;
use retort_fields::compose::project::{self, Packed};
use retort_fields::data::procedural::write_dataset;
use retort_fields::registry::Kind;
use retort_fields::{device, files};
use serde_json::Value;
use tempfile::TempDir;

/// The kinds of this version, as `--to` takes them.
fn kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL.iter().map(|kind| kind.name())
}

/// A working directory of its own, with a tiny dataset where one is asked for.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Six training and three test views of 24².
    fn with_data() -> Self {
        let desk = Self::new();
        write_dataset(&desk.path("bench"), 24, 6, 3, 1).expect("a dataset");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }

    /// A command in this directory; words are split at spaces.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
        command.current_dir(self.folder.path()).args(line.split_whitespace()).env_remove("RUST_BACKTRACE");
        // No window opens on the desk of whoever runs the tests.
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command
    }

    fn run(&self, line: &str) -> Run {
        Run { output: self.command(line).output().expect("the program starts"), line: line.into() }
    }

    /// Every file below, sorted.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        files.sort();
        files
    }

    /// Runs a line that must fail: one line on standard error with all of `words`, the same as an object with `--json`,
    /// and no file more or less afterwards.
    fn refuses(&self, line: &str, words: &[&str]) {
        let before = self.files();
        let run = self.run(line);
        assert_eq!(run.code(), 1, "{run:?}");
        let text = run.errors();
        assert_eq!(text.lines().count(), 1, "{run:?}");
        assert!(text.starts_with("error: "), "{run:?}");
        for word in words {
            assert!(text.contains(word), "\"{word}\" is missing: {run:?}");
        }
        assert!(run.said().is_empty(), "{run:?}");

        let run = self.run(&format!("{line} --json"));
        let objects = run.objects();
        let [error] = &objects[..] else { panic!("{run:?}") };
        assert_eq!((run.code(), error["event"].as_str()), (1, Some("error")), "{run:?}");
        let all = ["file", "what", "remedy"].map(|key| error[key].as_str().unwrap_or_default().to_string());
        assert!(words.iter().all(|word| all.iter().any(|text| text.contains(word))), "{run:?}");
        assert!(!all[2].is_empty(), "no remedy: {run:?}");
        assert_eq!(self.files(), before, "{line} left something behind");
    }
}

#[derive(Debug)]
struct Run {
    output: Output,
    #[expect(dead_code, reason = "printed where a test fails")]
    line: String,
}

impl Run {
    fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Standard output as one object a line; anything else there fails the test.
    fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        self.said().lines().map(parse).collect()
    }

    /// The last object, of a run that must have gone well.
    fn done(&self) -> Value {
        assert_eq!(self.code(), 0, "{self:?}");
        let last = self.objects().pop().unwrap_or_default();
        assert_eq!(last["event"], "done", "{self:?}");
        last
    }
}

/// A safetensors file with this header and `data` zero bytes behind it.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn missing_inputs_are_named() {
    let desk = Desk::with_data();
    desk.refuses("info none.safetensors", &["none.safetensors", "check the path"]);
    desk.refuses("render none.safetensors", &["none.safetensors", "check the path"]);
    desk.refuses("convert none.safetensors --to mlp", &["none.safetensors", "check the path"]);
    desk.refuses("eval none.safetensors --data bench", &["none.safetensors", "check the path"]);
    desk.refuses("train nowhere --to hash", &["nowhere", "check the path"]);
    desk.refuses("train bench --to hash --preset none", &["none", "fast"]);
    desk.refuses("train bench --to hash --preset none.toml", &["none.toml", "check the path"]);
    desk.refuses("train bench --to hash --set train.stesp=3", &["stesp"]);
    desk.refuses("presets none", &["none", "hash fast"]);
}

#[test]
fn broken_fields_are_refused() {
    let desk = Desk::new();
    let header = r#"{"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("short", safetensors(header, 16)[..40].to_vec()),
        ("cut", safetensors(header, 7)),
        // It declares more than any memory holds.
        (
            "huge",
            safetensors(r#"{"x":{"dtype":"F32","shape":[1099511627776,4],"data_offsets":[0,17592186044416]}}"#, 16),
        ),
        ("foreign", safetensors(header, 16)),
        ("picture", b"\x89PNG\r\n\x1a\n0000000000000000".to_vec()),
    ];
    for (name, bytes) in cases {
        let file = format!("{name}.safetensors");
        desk.write(&file, bytes);
        for verb in ["info", "render", "convert --to mlp"] {
            desk.refuses(&format!("{verb} {file}"), &[&file]);
        }
    }
    desk.write("folder.safetensors/x", "x");
    desk.refuses("info folder.safetensors", &["folder.safetensors"]);
}

#[test]
fn broken_datasets_are_refused() {
    let desk = Desk::with_data();
    desk.write("nothing/readme.txt", "no photos here");
    desk.refuses("train nothing --to hash", &["nothing", "transforms.json"]);
    desk.write("frameless/transforms.json", r#"{"camera_angle_x": 0.7, "frames": []}"#);
    desk.refuses("train frameless --to hash", &["frameless"]);
    desk.write("garbled/transforms.json", r#"{"camera_angle_x": 0.7, "frames": ["#);
    desk.refuses("train garbled --to hash", &["garbled"]);
    let photo = std::fs::read_dir(desk.path("bench/train")).expect("photos").flatten().next().expect("a photo").path();
    let bytes = std::fs::read(&photo).expect("a photo");
    std::fs::write(&photo, &bytes[..bytes.len() / 2]).expect("a cut photo");
    let name = photo.file_name().expect("a name").to_string_lossy().into_owned();
    desk.refuses("train bench --to hash --steps 1", &[&name]);
}

#[test]
fn places_are_checked_before_the_work() {
    let desk = Desk::with_data();
    desk.write("there.safetensors", "precious");
    desk.write("file", "x");
    // A million steps would never end: each of these is told at once.
    let train = "train bench --to hash --steps 1000000";
    desk.refuses(&format!("{train} -o there.safetensors"), &["there.safetensors", "--overwrite"]);
    desk.refuses(&format!("{train} -o none/out.safetensors"), &["none", "create it"]);
    desk.refuses(&format!("{train} -o file/out.safetensors"), &["file", "-o"]);
    desk.refuses(&format!("{train} -o out.ply"), &["out.ply", ".safetensors"]);
    desk.refuses(&format!("{train} -o out --resume"), &["out.checkpoint", "without --resume"]);
    desk.write("out.checkpoint", "x");
    desk.refuses(&format!("{train} -o out"), &["out.checkpoint", "--resume"]);
    desk.refuses("demo -o file", &["file", "-o"]);
    if cfg!(target_os = "linux") {
        desk.refuses(&format!("{train} -o /proc/out.safetensors"), &["/proc", "another place"]);
    }
    assert_eq!(std::fs::read(desk.path("there.safetensors")).expect("still there"), b"precious");
}

#[test]
fn wrong_usage_has_its_own_status() {
    let desk = Desk::new();
    for line in
        ["fly", "train", "train x --to cube", "render x --size big", "info x --time soon", "gui --kind", "melt x"]
    {
        let run = desk.run(line);
        assert_eq!(run.code(), 2, "{run:?}");
        assert!(run.said().is_empty() && run.errors().contains("error"), "{run:?}");
        let run = desk.run(&format!("{line} --json"));
        assert_eq!((run.code(), run.objects().len()), (2, 1), "{run:?}");
        assert_eq!(run.objects()[0]["event"], "error", "{run:?}");
    }
    let run = desk.run("--help");
    assert!(run.code() == 0 && run.said().contains("train") && run.errors().is_empty(), "{run:?}");
    assert_eq!(desk.run("--version").said().trim(), format!("retort {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn presets_are_printed() {
    let desk = Desk::new();
    let names = desk.run("presets -q").said();
    for kind in kinds() {
        assert!(
            ["fast", "paper"].iter().all(|name| names.lines().any(|line| line == format!("{kind} {name}"))),
            "{names}"
        );
    }
    let run = desk.run("presets --json");
    assert_eq!(run.objects().len(), names.lines().count());
    let whole = |text: &str| text.contains("[train]") || text.contains("[guidance]");
    assert!(run.objects().iter().all(|p| p["toml"].as_str().is_some_and(whole)), "{run:?}");
    assert!(names.lines().any(|line| line == "generate quick"), "{names}");
}

#[test]
fn a_prompt_becomes_a_field_and_wrong_ones_are_named() {
    let desk = Desk::new();
    let run = desk.run("generate cube --to voxels --steps 3 -o cube.safetensors --preview cube.png");
    assert!(run.code() == 0 && run.errors().contains("a cube"), "{run:?}");
    assert!(desk.path("cube.png").is_file(), "what the model itself draws");
    assert!(desk.run("info cube.safetensors").said().contains("made from text: a cube"));
    let edited = desk.run("edit cube.safetensors ball --steps 2 --box -1,-1,0,1,1,1 -o scene.toml");
    assert!(edited.code() == 0, "{edited:?}");
    assert!(desk.run("info scene.toml").said().contains("2 objects"));
    for (line, says) in [
        ("generate dragon --to voxels", "dragon"),
        ("generate cube --prior nowhere.safetensors", "nowhere.safetensors"),
        ("generate cube --prior cube.safetensors -o other", "cube.safetensors"),
        ("generate cube --preset slow", "slow"),
        ("generate cube --prior .", "no folder of Stable Diffusion"),
        ("generate cube --prior .+adapters.safetensors*x", "no weight of adapters"),
        ("generate cube -o other --mesh cube.txt", ".glb"),
        ("generate cube --to voxels -o cube.safetensors", "exists"),
        ("edit cube.safetensors ball --box -1,-1,0,1,1,1 -o part.safetensors", ".toml"),
        ("edit nothing.safetensors ball", "nothing.safetensors"),
    ] {
        let run = desk.run(line);
        assert!(run.code() == 1 && run.errors().contains(says), "{line}: {run:?}");
    }
}

/// Settings with which a step of a run takes a moment.
fn small(kind: &str) -> &'static str {
    match kind {
        "gaussians" => {
            "--set field.initial=200 --set convert.seeds=200 --set convert.views=2 --set convert.view_size=24"
        }
        "mlp" => {
            "--set train.rays=64 --set convert.rays=64 --set convert.view_size=24 --set convert.views=2 \
             --set field.width=16 --set field.volume.occupancy_resolution=16 --set field.volume.samples_per_diagonal=64"
        }
        "voxels" => {
            "--set train.rays=64 --set convert.rays=64 --set convert.view_size=24 --set convert.views=2 \
             --set field.resolution=16 --set convert.growth=[] --set field.volume.occupancy_resolution=16 --set field.volume.samples_per_diagonal=64"
        }
        "vm" | "cp" => {
            "--set train.rays=64 --set convert.rays=64 --set convert.view_size=24 --set convert.views=2 \
             --set field.resolution=[16,16,16] --set convert.growth=[] --set field.volume.occupancy_resolution=16 --set field.volume.samples_per_diagonal=64"
        }
        _ => {
            "--set train.rays=64 --set convert.rays=64 --set convert.view_size=24 --set convert.views=2 \
             --set field.log2_table_size=10 --set field.volume.occupancy_resolution=16 --set field.volume.samples_per_diagonal=64"
        }
    }
}

/// Trains the first kind on `desk`'s photos and gives the name of its file.
fn teacher(desk: &Desk) -> String {
    let run = desk.run(&format!("train bench --to hash {} --steps 100 --json", small("hash")));
    let done = run.done();
    assert!(run.objects().iter().any(|o| o["event"] == "progress" && o["of"] == 100), "{run:?}");
    done["out"].as_str().expect("a name").into()
}

#[test]
fn a_field_goes_the_whole_way_round() {
    let desk = Desk::with_data();
    let field = teacher(&desk);
    assert_eq!(field, "bench-hash.safetensors");
    assert!(!desk.path("bench-hash.checkpoint").exists(), "the checkpoint of a finished run stayed");

    let info = desk.run(&format!("info {field} --json")).objects().remove(0);
    assert_eq!(
        (&info["kind"], &info["steps"], &info["from"]),
        (&"hash".into(), &100.into(), &"trained from bench".into())
    );
    assert_eq!(info["bytes"], std::fs::metadata(desk.path(&field)).expect("the field").len());
    assert!(desk.run(&format!("info {field}")).said().contains("trained from bench"));

    let done = desk.run(&format!("eval {field} --data bench -o pair.png --json")).done();
    assert!(done["psnr"].as_f64().is_some_and(|p| p > 5.0) && done["ssim"].is_f64(), "{done}");
    assert_eq!(image::image_dimensions(desk.path("pair.png")).expect("a picture"), (52, 24));
    desk.refuses(&format!("eval {field} --data bench --split val"), &["bench", "--split"]);

    let done = desk.run(&format!("render {field} --size 20x10 --json")).done();
    assert_eq!(done["out"], "bench-hash.png");
    assert_eq!(image::image_dimensions(desk.path("bench-hash.png")).expect("a picture"), (20, 10));
    desk.refuses(&format!("render {field} --size 20x10"), &["bench-hash.png", "--overwrite"]);
    desk.run(&format!("render {field} --orbit 3 --size 8x8 -o views --json")).done();
    assert_eq!(std::fs::read_dir(desk.path("views")).expect("a folder").count(), 3);
    desk.refuses(&format!("render {field} -o film.mp4"), &["film.mp4", "--orbit"]);
    let done = desk.run(&format!("render {field} --orbit 3 --size 33x20 --fps 6 -o film.mp4 --json")).done();
    let film = std::fs::read(desk.path("film.mp4")).expect("a film");
    assert_eq!((&done["out"], &done["bytes"], &film[4..8]), (&"film.mp4".into(), &film.len().into(), &b"ftyp"[..]));
    desk.refuses(&format!("render {field} --orbit 3 --size 33x20 -o film.mp4"), &["film.mp4", "--overwrite"]);
    desk.refuses(&format!("render {field} --orbit 3 --size 8x8 -o small.mp4"), &["small.mp4", "--size"]);
    desk.refuses(&format!("render {field} --orbit 2 --fps 9 -o more"), &["more", "--fps"]);
    desk.write("cameras.json", r#"[{"width": 4}]"#);
    desk.refuses(&format!("render {field} --camera cameras.json -o a.png"), &["cameras.json", "world_from_camera"]);
    desk.refuses(&format!("convert {field} --to hash -o {field} --overwrite"), &[&field, "another name"]);
}

/// A camera path as nerfstudio's newer viewer writes it: two keys, four pictures, one of 16 x 16.
const PATH: &str = r#"{"default_fov": 50.0, "default_transition_sec": 2.0, "camera_type": "perspective",
    "keyframes": [
        {"matrix": [1,0,0,0, 0,0,-1,-3, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0},
        {"matrix": [0,0,1,3, 1,0,0,0, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0}],
    "render_height": 16, "render_width": 16, "fps": 2, "seconds": 2.0, "is_cycle": false, "smoothness_value": 0.0,
    "camera_path": [
        {"camera_to_world": [1,0,0,0, 0,0,-1,-3, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0},
        {"camera_to_world": [1,0,0,0.5, 0,0,-1,-3, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0},
        {"camera_to_world": [1,0,0,1, 0,0,-1,-3, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0},
        {"camera_to_world": [0,0,1,3, 1,0,0,0, 0,1,0,0, 0,0,0,1], "fov": 50.0, "aspect": 1.0}]}"#;

#[test]
fn a_camera_path_becomes_pictures_and_a_film() {
    let desk = Desk::with_data();
    let field = teacher(&desk);
    desk.write("path.json", PATH);
    let run = desk.run(&format!("render {field} --camera path.json -o frames"));
    assert!(run.code() == 0 && run.said().contains("4 pictures"), "{run:?}");
    let frame = |i: usize| std::fs::read(desk.path(&format!("frames/view_00{i}.png"))).expect("a picture");
    assert_eq!(std::fs::read_dir(desk.path("frames")).expect("a folder").count(), 4);
    assert_ne!(frame(0), frame(3));
    let run = desk.run(&format!("render {field} --camera path.json --size 48x20 -o film.mp4"));
    assert!(run.code() == 0 && run.said().contains("4 pictures, 2.0 s at 2 a second"), "{run:?}");
    // Keys alone are a path as well, with pictures between them.
    let mut path: Value = serde_json::from_str(PATH).expect("JSON");
    path["camera_path"] = Value::Array(Vec::new());
    path["fps"] = 4.into();
    desk.write("keys.json", path.to_string());
    desk.run(&format!("render {field} --camera keys.json -o keys --json")).done();
    assert_eq!(std::fs::read_dir(desk.path("keys")).expect("a folder").count(), 8);

    for (from, to, word) in [
        ("perspective", "fisheye", "camera_type"),
        ("\"render_width\": 16", "\"render_width\": 0", "render_width"),
        ("\"fov\": 50.0", "\"fov\": -1", "fov"),
        ("1,0,0,0.5", "2,0,0,0.5", "camera 1"),
        ("\"fps\": 2", "\"fps\": 1e9", "a second"),
        ("0,0,0,1], \"fov\"", "0,0,0,1, 7], \"fov\"", "16 numbers"),
        ("\"keyframes\": [", "\"keyframes\": 3, \"x\": [", "path"),
    ] {
        desk.write("bad.json", PATH.replace(from, to));
        desk.refuses(&format!("render {field} --camera bad.json -o bad.mp4"), &["bad.json", word]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_film_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let desk = Desk::with_data();
    let field = teacher(&desk);
    let before = desk.files();
    let line = format!("render {field} --orbit 10000 --size 16x16 -o film.mp4 --json");
    let mut child =
        desk.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.next().expect("progress").expect("text");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let last = lines.map_while(Result::ok).last().expect("an end");
    assert_eq!(child.wait().expect("an end").code(), Some(130), "{last}");
    assert_eq!(desk.files(), before, "half a film");
}

#[test]
fn the_window_says_why_it_does_not_open() {
    let desk = Desk::new();
    // The test of those systems would open a window on somebody's desk.
    if cfg!(any(windows, target_os = "macos")) {
        return;
    }
    desk.refuses("gui", &["window", "display"]);
}

#[test]
fn the_demo_makes_every_kind() {
    let desk = Desk::new();
    // Without a verb and without a display, the demo; it says so.
    let run = desk.run("--steps 2 --set convert.views=2 --set convert.view_size=24 --set convert.rays=64");
    assert!(run.code() == 0 && run.errors().contains("no display"), "{run:?}");
    let table = run.said();
    for kind in kinds() {
        assert!(table.lines().any(|line| line.starts_with(kind)), "{run:?}");
        for name in [format!("demo-{kind}.safetensors"), format!("{kind}.png")] {
            assert!(desk.path("retort-demo").join(&name).is_file(), "{name} is missing");
        }
    }
    assert!(desk.path("retort-demo/side-by-side.png").is_file());
    assert!(desk.path("retort-demo/demo.glb").is_file());
    desk.refuses("demo --steps 2", &["retort-demo", "--overwrite"]);
}

#[test]
fn the_table_of_conversions_is_continued_where_it_stopped() {
    let desk = Desk::with_data();
    let line = "bench pairs --data bench --kinds gaussians,hash --steps 3 --set train.rays=64 --set convert.rays=64 \
                --set convert.views=2 --set convert.view_size=24 -o table";
    let run = desk.run(line);
    assert!(run.code() == 0 && run.said().contains("hash -> gaussians"), "{run:?}");
    let read = || -> Value {
        let bytes = std::fs::read(desk.path("table/pairs.json")).expect("a table");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let whole = read();
    let rows = |key: &str| whole[key].as_array().map_or(0, Vec::len);
    // A kind taught by itself is held against the smaller field from photos.
    assert_eq!((rows("scratch"), rows("pairs")), (4, 4), "{whole}");
    assert!(run.said().contains("hash -> smaller hash") && run.said().contains("photos -> smaller hash"), "{run:?}");
    assert!(whole["pairs"].as_array().is_some_and(|p| p.iter().all(|p| p["psnr_teacher"].is_f64())), "{whole}");
    assert!(std::fs::read_to_string(desk.path("table/pairs.svg")).expect("a picture").starts_with("<svg"));
    assert!(desk.path("table/hash-to-gaussians.safetensors").is_file());

    desk.refuses(line, &["pairs.json", "--resume"]);
    desk.refuses(&format!("{line} --resume --seed 2"), &["pairs.json", "seed=2"]);
    desk.refuses(&format!("{line} --overwrite --time 9s"), &["--steps"]);
    // One row is lost; the others are not measured again.
    let mut less = whole.clone();
    less["pairs"].as_array_mut().expect("rows").remove(1);
    desk.write("table/pairs.json", less.to_string());
    let run = desk.run(&format!("{line} --resume"));
    assert!(run.code() == 0 && run.errors().matches(" -> ").count() == 1, "{run:?}");
    let again = read();
    let seconds = |table: &Value, i: usize| table["pairs"][i]["took"]["seconds"].as_f64();
    assert!(seconds(&whole, 0).is_some());
    assert_eq!((seconds(&again, 0), seconds(&again, 1)), (seconds(&whole, 0), seconds(&whole, 2)));
    assert_eq!(again["pairs"][3]["student"], whole["pairs"][1]["student"]);
}

#[test]
fn every_kind_can_be_made_from_photos_and_from_a_field() {
    let desk = Desk::with_data();
    let field = teacher(&desk);
    for kind in kinds() {
        if kind != "hash" {
            let done =
                desk.run(&format!("convert {field} --to {kind} --data bench --steps 4 {} --json", small(kind))).done();
            assert_eq!(done["out"], format!("bench-{kind}.safetensors"));
            let measured = ["psnr_teacher", "psnr", "ssim"].iter().all(|key| done[key].is_f64());
            assert!(measured && done["steps"] == 4, "{done}");
            let info = desk.run(&format!("info bench-{kind}.safetensors --json")).objects().remove(0);
            assert_eq!(info["from"], "converted from bench-hash.safetensors (hash)");
        }
        let run = desk.run(&format!("train bench --to {kind} -o new-{kind} -q --steps 4 {}", small(kind)));
        assert_eq!(
            (run.said().trim(), run.errors().as_str()),
            (format!("new-{kind}.safetensors").as_str(), ""),
            "{run:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_resumed() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let desk = Desk::with_data();
    let line = format!("train bench --to hash {} --json --steps 1000000", small("hash"));
    let mut child =
        desk.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.next().expect("progress").expect("text");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let last = lines.map_while(Result::ok).last().expect("an end");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let error: Value = serde_json::from_str(&last).expect("an object");
    assert_eq!((&error["event"], &error["file"]), (&"error".into(), &"bench-hash.checkpoint".into()), "{last}");
    assert!(error["remedy"].as_str().is_some_and(|text| text.ends_with("--resume")), "{last}");
    assert!(desk.path("bench-hash.checkpoint").exists() && !desk.path("bench-hash.safetensors").exists());

    desk.refuses(&line.replace(" --json", ""), &["bench-hash.checkpoint", "--resume"]);
    // A limit in time ends the resumed run, whose steps were too many to wait for.
    let done = desk.run(&format!("{line} --resume --time 1s")).done();
    assert!(done["steps"].as_u64() < Some(1_000_000) && done["bytes"].is_u64(), "{done}");
    assert!(!desk.path("bench-hash.checkpoint").exists());
}

#[test]
fn a_scene_is_rendered_told_and_taught() {
    let desk = Desk::with_data();
    let field = teacher(&desk);
    let text = format!(
        "version = 1\n[[objects]]\nfield = \"../{field}\"\nedits = [{{ crop = {{ min = [-0.4, -0.4, -0.4], max = [0.3, 0.4, 0.4] }} }}]\n\
         [[objects]]\nfield = \"../{field}\"\nmove = [0.5, 0, 0]\nrotate = [0, 0, 90]\nscale = 0.5\n\
         edits = [{{ tint = [1, 0.5, 0.5] }}, {{ erase_box = {{ min = [-1, -1, -1], max = [1, 1, 0.5] }} }}]\n[[objects]]\nfield = \"../{field}\"\nvisible = false\n"
    );
    desk.write("both/scene.toml", &text);
    let info = desk.run("info both --json").objects().remove(0);
    assert_eq!((&info["kind"], info["objects"].as_array().map(Vec::len)), (&"scene".into(), Some(3)), "{info}");
    assert_eq!(info["objects"][1]["edits"][0]["tint"][1], 0.5);
    let said = desk.run("info both/scene.toml").said();
    assert!(said.contains("turned by 0 0 90") && said.contains("hidden") && said.contains("crop"), "{said}");

    let done = desk.run("render both --size 20x10 --json").done();
    assert_eq!(done["out"], "both.png");
    let picture = |name: &str| image::open(desk.path(name)).expect("a picture").to_rgb8().into_raw();
    desk.run(&format!("render {field} --size 20x10 -o one.png --json")).done();
    assert_ne!(picture("both.png"), picture("one.png"));
    let done = desk.run("eval both --data bench --json").done();
    assert!(done["psnr"].as_f64().is_some_and(|p| p > 3.0), "{done}");

    let line = format!("convert both/scene.toml --to vm --data bench --steps 4 {}", small("vm"));
    let done = desk.run(&format!("{line} --json")).done();
    assert_eq!(done["out"], "scene-vm.safetensors");
    assert!(["psnr_teacher", "psnr", "ssim"].iter().all(|key| done[key].is_f64()), "{done}");
    let info = desk.run("info scene-vm.safetensors --json").objects().remove(0);
    assert_eq!(info["from"], "converted from scene.toml (scene of 2)");
    desk.refuses(&format!("convert both --to hash -o {field} --overwrite"), &[&field, "another name"]);
}

#[test]
fn a_project_is_taken_where_a_scene_is() {
    let desk = Desk::with_data();
    let name = teacher(&desk);
    let device = device::choose("cpu").expect("there is always a CPU");
    let (field, made) = files::load(&desk.path(&name), &device).expect("a field");
    let text = "version = 1\n[[objects]]\nfield = \"a.safetensors\"\nedits = [{ tint = [1, 0.5, 0.5] }]\n\
                [[objects]]\nfield = \"a.safetensors\"\nvisible = false\n";
    let scene = SceneFile::parse(text).expect("a scene");
    let packed = Packed { name: "a.safetensors".into(), field: &field, made: &made };
    project::write(&desk.path("mine.retort"), &scene, &[packed]).expect("a project");
    std::fs::remove_file(desk.path(&name)).expect("it is not needed any more");

    let info = desk.run("info mine.retort --json").objects().remove(0);
    assert_eq!((&info["kind"], info["objects"].as_array().map(Vec::len)), (&"scene".into(), Some(2)), "{info}");
    assert_eq!(desk.run("render mine.retort --size 20x10 --json").done()["out"], "mine.png");
    assert!(desk.run("eval mine.retort --data bench --json").done()["psnr"].is_f64());
    let done = desk.run(&format!("convert mine.retort --to vm --steps 4 {} --json", small("vm"))).done();
    assert_eq!(done["out"], "mine-vm.safetensors");
    let info = desk.run("info mine-vm.safetensors --json").objects().remove(0);
    assert_eq!(info["from"], "converted from mine.retort (scene of 1)");
    let whole = std::fs::read(desk.path("mine.retort")).expect("it is there");
    desk.write("half.retort", &whole[..whole.len() / 2]);
    for verb in ["info", "render", "convert --to mlp"] {
        desk.refuses(&format!("{verb} half.retort"), &["half.retort"]);
    }
}

#[test]
fn broken_scenes_are_refused() {
    let desk = Desk::with_data();
    let field = teacher(&desk);
    let object = format!("version = 1\n[[objects]]\nfield = \"{field}\"\n");
    for (text, words) in [
        ("version = 1".to_string(), ["scene.toml", "objects"]),
        ("version = 9\nobjects = []".to_string(), ["scene.toml", "version 9"]),
        (object.replace(&field, "none.safetensors"), ["none.safetensors", "check the path"]),
        (object.replace(&field, "scene.toml"), ["scene.toml", "is a scene"]),
        (format!("{object}colour = 3"), ["scene.toml", "colour"]),
    ] {
        desk.write("scene.toml", &text);
        for verb in ["info", "render", "convert --to mlp"] {
            desk.refuses(&format!("{verb} scene.toml"), &words);
        }
    }
    for (line, word) in [
        ("scale = 0", "scale"),
        ("move = [nan, 0, 0]", "move"),
        ("rotate = [inf, 0, 0]", "rotate"),
        ("move = [500, 0, 0]", "reach"),
        ("edits = [{ brightness = -1 }]", "brightness"),
    ] {
        desk.write("scene.toml", format!("{object}[[objects]]\nfield = \"{field}\"\n{line}\n"));
        desk.refuses("render scene.toml", &["scene.toml", word]);
    }
    let nothing = "edits = [{ crop = { min = [3, 3, 3], max = [4, 4, 4] } }]";
    desk.write("scene.toml", format!("{object}{nothing}\n"));
    desk.refuses(&format!("convert scene.toml --to mlp {}", small("mlp")), &["shows nothing"]);
}
