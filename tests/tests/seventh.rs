//! A seventh representation is one file and one line of the registry (and its presets, which are data): a copy of the
//! sources gets both, is built, and the new kind is there everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use retort_fields::data::procedural::write_dataset;

/// The line.
const LINE: &str = "    quadric: Quadric(QuadricConfig), \"One ellipsoid\";\n";
const LAST: &str = "    gaussians: Gaussians(GaussiansConfig), \"3D Gaussians\";\n";

/// Where a tiny run is set up, for kinds with networks and for those without.
const SMALL: &str = "--set field.volume.occupancy_resolution=16 --set field.volume.samples_per_diagonal=64 \
                     --set train.rays=64 --set convert.rays=64 --set convert.view_size=24 --set convert.views=2";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace").to_path_buf()
}

/// Copies everything but what is built and hidden.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Removes what is of this workspace from a folder of what is built.
fn forget_own(built: &Path) {
    for entry in fs::read_dir(built).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with("retort") || name.starts_with("libretort") {
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.expect("a file of the copy");
        }
    }
}

/// What is built already is linked into the copy's own build folder, so that only the workspace is built again.
#[test]
#[ignore = "it builds the program again: a few minutes"]
fn slow_a_seventh_kind_is_one_file_and_one_line() {
    let program = env::current_exe().expect("this test");
    let release = program.ancestors().nth(2).expect("target/release/deps/seventh");
    let scratch = tempfile::tempdir_in(release).expect("a writable build folder");
    let (sources, built) = (scratch.path().join("sources"), scratch.path().join("target"));
    copy(&root(), &sources);
    let toy = root().join("tests/seventh");
    fs::copy(toy.join("quadric.rs"), sources.join("fields/src/kinds/quadric.rs")).expect("the one file");
    fs::copy(toy.join("quadric-fast.toml"), sources.join("distill/presets/quadric-fast.toml")).expect("its preset");
    let registry = sources.join("fields/src/kinds/mod.rs");
    let text = fs::read_to_string(&registry).expect("the registry");
    let longer = text.replace(LAST, &format!("{LAST}{LINE}"));
    assert_eq!(longer.len(), text.len() + LINE.len(), "the one line has its place");
    fs::write(&registry, longer).expect("the registry");

    fs::create_dir_all(built.join("release")).expect("a folder");
    // What cargo writes in place is copied, and what is of this workspace is left out: through links, the copy's build would
    // write over what is built here.
    for (part, how) in [("deps", "-al"), ("build", "-a"), (".fingerprint", "-a")] {
        let copied = built.join("release").join(part);
        succeed(Command::new("cp").arg(how).arg(release.join(part)).arg(&copied));
        forget_own(&copied);
    }
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let args = ["build", "--release", "--workspace", "--offline"];
    succeed(Command::new(cargo).args(args).current_dir(&sources).env("CARGO_TARGET_DIR", &built));

    let desk = scratch.path();
    write_dataset(&desk.join("bench"), 24, 6, 3, 1).expect("a dataset");
    let retort = |line: &str| {
        let mut command = Command::new(built.join("release").join("retort"));
        succeed(command.current_dir(desk).args(line.split_whitespace()))
    };
    assert!(retort("presets").contains("quadric fast"), "the presets name it");
    retort(&format!("train bench --to quadric {SMALL} --steps 60"));
    assert!(retort("info bench-quadric.safetensors").contains("quadric"));
    retort(&format!(
        "convert bench-quadric.safetensors --to hash {SMALL} --set field.log2_table_size=10 --steps 60 -o taught.safetensors"
    ));
    retort(&format!("convert taught.safetensors --to quadric {SMALL} --steps 60 -o again.safetensors"));
    retort("render again.safetensors --size 16x16 -o again.png");
    let table = retort(&format!("bench pairs --data bench --kinds quadric,vm {SMALL} --steps 30 -o table"));
    assert!(table.contains("quadric -> vm") && table.contains("vm -> quadric"), "{table}");
    assert!(retort("train --help").contains("quadric"), "the help names it");
}
