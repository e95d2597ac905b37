//! Where results go: default names, and the checks that find a taken or unwritable place before hours of work.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use retort_fields::error::{Error, Result};
use retort_fields::files::any::{ENDING, Target};
use retort_fields::registry::Kind;

/// The name of an input without folder and ending: of `../lego_200/` and `lego_200/transforms.json` it is `lego_200`.
pub fn stem(input: &Path) -> String {
    let described = input.extension() == Some(OsStr::new("json")) || input.extension() == Some(OsStr::new("npy"));
    let folder = if described { input.parent() } else { Some(input).filter(|path| path.is_dir()) };
    if let Some(folder) = folder {
        // `.` and `..` have names as well.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Some(name) = folder.canonicalize().ok().as_deref().unwrap_or(folder).file_name() {
            return name.to_string_lossy().into_owned();
        }
    }
    input.file_stem().map_or_else(|| "field".into(), |name| name.to_string_lossy().into_owned())
}

/// The name of a field of `kind` made from something called `stem`: another kind's name at the end is replaced.
pub fn field_name(stem: &str, kind: Kind) -> String {
    let base = Kind::ALL.iter().find_map(|k| stem.strip_suffix(k.name())?.strip_suffix('-'));
    format!("{}-{kind}.{ENDING}", base.filter(|base| !base.is_empty()).unwrap_or(stem))
}

/// The file that `asked` means for a field of `kind`: nothing is `default` here, a folder `default` in it, no ending the
/// usual one.
///
/// # Errors
/// When it ends like a format that is not written, or that cannot hold this kind.
pub fn field_path(asked: Option<&Path>, default: &str, kind: Kind) -> Result<PathBuf> {
    let Some(path) = asked else { return Ok(PathBuf::from(default)) };
    if path.is_dir() {
        return Ok(path.join(default));
    }
    if path.extension().is_none() {
        return Ok(path.with_extension(ENDING));
    }
    Target::of(path)?.check(kind).map_err(|e| e.file(path))?;
    Ok(path.to_path_buf())
}

/// The checkpoint beside a field's file: `lego-hash.checkpoint`.
pub fn checkpoint_path(out: &Path) -> PathBuf {
    out.with_extension("checkpoint")
}

/// Makes sure that a file can be written at `path` and that none is there, unless it may be replaced.
///
/// # Errors
/// When it cannot, or one is.
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    if path.is_dir() {
        return Err(Error::new("there is a folder of this name").file(path).remedy("choose another name with -o"));
    }
    if !overwrite && path.symlink_metadata().is_ok() {
        let remedy = "add --overwrite to replace it, or choose another name with -o";
        return Err(Error::new("it exists already").file(path).remedy(remedy));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    check_folder(folder)
}

/// Makes sure that files can be written into `folder`.
fn check_folder(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        let what = if folder.exists() { "not a folder" } else { "there is no such folder" };
        return Err(Error::new(what).file(folder).remedy("create it, or choose another place with -o"));
    }
    // Permissions, read-only disks and quotas are all told by trying; the file has no name where the system allows it.
    let tried = tempfile::tempfile_in(folder);
    tried.map(drop).map_err(|e| {
        Error::new(format!("no file can be written here: {e}")).file(folder).remedy("choose another place with -o")
    })
}

/// Makes a folder for several results, with those above it.
///
/// # Errors
/// When it cannot be made or written.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e).remedy("choose another place with -o"))?;
    check_folder(folder)
}

/// Whether two paths name the same file that exists.
pub fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn names_come_from_inputs() {
        let place = folder();
        let data = place.path().join("lego.v2_200");
        std::fs::create_dir(&data).unwrap();
        assert_eq!(stem(&data), "lego.v2_200");
        assert_eq!(stem(&data.join("transforms.json")), "lego.v2_200");
        assert_eq!(stem(Path::new("x/lego-hash.safetensors")), "lego-hash");
        assert_ne!(stem(Path::new(".")), ".");
    }

    #[test]
    fn a_kind_at_the_end_is_replaced() {
        assert_eq!(field_name("lego_200", Kind::Hash), "lego_200-hash.safetensors");
        assert_eq!(field_name("lego-hash", Kind::Mlp), "lego-mlp.safetensors");
        assert_eq!(field_name("lego-gaussians", Kind::Hash), "lego-hash.safetensors");
        assert_eq!(field_name("hash", Kind::Mlp), "hash-mlp.safetensors");
        assert_eq!(field_name("-hash", Kind::Mlp), "-hash-mlp.safetensors");
        assert_eq!(field_name("rehash", Kind::Mlp), "rehash-mlp.safetensors");
    }

    #[test]
    fn a_place_is_what_was_asked_for() {
        let place = folder();
        let path = |asked: &Path| field_path(Some(asked), "d.safetensors", Kind::Hash);
        assert_eq!(field_path(None, "d.safetensors", Kind::Hash).unwrap(), Path::new("d.safetensors"));
        assert_eq!(path(place.path()).unwrap(), place.path().join("d.safetensors"));
        assert_eq!(path(Path::new("a/b")).unwrap(), Path::new("a/b.safetensors"));
        assert_eq!(path(Path::new("b.safetensors")).unwrap(), Path::new("b.safetensors"));
        let refused = path(Path::new("b.ply")).unwrap_err().to_string();
        assert!(refused.contains("ply files hold Gaussians") && refused.contains("--to gaussians"), "{refused}");
        let splats = field_path(Some(Path::new("b.PLY")), "d.safetensors", Kind::Gaussians);
        assert_eq!(splats.unwrap(), Path::new("b.PLY"));
        assert!(path(Path::new("b.obj")).unwrap_err().to_string().contains(".obj"));
        assert_eq!(checkpoint_path(Path::new("a/b.v2.safetensors")), Path::new("a/b.v2.checkpoint"));
    }

    #[test]
    fn taken_and_unwritable_places_are_found() {
        let place = folder();
        let file = place.path().join("taken");
        std::fs::write(&file, "old").unwrap();
        assert!(check(&place.path().join("new"), false).is_ok());
        assert!(check(&file, true).is_ok());
        for (path, word) in [
            (file.clone(), "--overwrite"),
            (place.path().join("none/new"), "create it"),
            (file.join("new"), "create it"),
            (place.path().to_path_buf(), "another name"),
        ] {
            let error = check(&path, false).unwrap_err();
            assert!(error.file.is_some() && error.remedy.contains(word), "{error}");
        }
        assert!(make_folder(&file.join("under")).is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "a check left something behind");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    }
}
