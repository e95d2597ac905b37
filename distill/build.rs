//! Lists the presets: every `presets/KIND-NAME.toml` comes with the program, in the order of their names.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("presets");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(&folder)?.collect::<io::Result<Vec<_>>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut list = String::from("const BUILT_IN: &[(&str, &str, &str)] = &[\n");
    for file in files {
        let (path, name) = (file.path(), file.file_name().to_string_lossy().into_owned());
        let Some((kind, name)) = name.strip_suffix(".toml").and_then(|stem| stem.split_once('-')) else {
            return Err(io::Error::other(format!("{}: a preset is called KIND-NAME.toml", path.display())));
        };
        list += &format!("    ({kind:?}, {name:?}, include_str!({:?})),\n", path.display().to_string());
    }
    list += "];\n";
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("presets.rs"), list)
}
