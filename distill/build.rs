//! Lists the presets: every `presets/KIND-NAME.toml` and every `systems/NAME.toml` comes with the program, in the order
//! of their names.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let mut list = String::from("const BUILT_IN: &[(&str, &str, &str)] = &[\n");
    for (path, stem) in files(&root.join("presets"))? {
        let Some((kind, name)) = stem.split_once('-') else {
            return Err(io::Error::other(format!("{}: a preset is called KIND-NAME.toml", path.display())));
        };
        list += &format!("    ({kind:?}, {name:?}, include_str!({:?})),\n", path.display().to_string());
    }
    list += "];\n";
    write("presets.rs", &list)?;
    let mut list = String::from("const BUILT_IN: &[(&str, &str)] = &[\n");
    for (path, stem) in files(&root.join("systems"))? {
        list += &format!("    ({stem:?}, include_str!({:?})),\n", path.display().to_string());
    }
    list += "];\n";
    write("systems.rs", &list)
}

/// The TOML files of a folder with their names, in order.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".toml") {
            files.push((path, stem.to_string()));
        }
    }
    files.sort();
    Ok(files)
}

fn write(name: &str, text: &str) -> io::Result<()> {
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join(name), text)
}
