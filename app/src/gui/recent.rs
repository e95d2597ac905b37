//! Files that were opened or saved last, kept in the person's folder of settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use retort_fields::files::write_atomically;

/// How many are remembered.
const MOST: usize = 10;

/// The last files, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    files: Vec<PathBuf>,
    /// The list itself; without it nothing is remembered after the end.
    list: Option<PathBuf>,
}

impl Recent {
    /// The list in `folder`, which need not be there.
    pub fn load(folder: Option<PathBuf>) -> Self {
        let list = folder.map(|folder| folder.join("recent"));
        let text = list.as_ref().and_then(|list| std::fs::read_to_string(list).ok()).unwrap_or_default();
        let files = text.lines().filter(|line| !line.is_empty()).take(MOST).map(PathBuf::from).collect();
        Self { files, list }
    }

    /// The files, the newest first.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// A file was opened or saved.
    pub fn note(&mut self, path: &Path) {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.files.retain(|other| *other != path);
        self.files.insert(0, path);
        self.files.truncate(MOST);
        let Some(list) = &self.list else { return };
        let lines: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let text = lines.join("\n");
        // A list that cannot be written is a small loss and no reason to disturb anybody.
        let _ = list.parent().map(std::fs::create_dir_all);
        let _ = write_atomically(list, text.as_bytes());
    }
}

/// The person's folder of this program's settings.
pub fn folder() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        var("APPDATA")
    } else if cfg!(target_os = "macos") {
        var("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")))
    };
    base.map(|base| base.join("retort"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_once_and_is_remembered() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("settings");
        let mut recent = Recent::load(Some(folder.clone()));
        assert!(recent.files().is_empty());
        for i in 0..MOST + 3 {
            recent.note(Path::new(&format!("/nowhere/{i}")));
        }
        recent.note(Path::new("/nowhere/5"));
        let again = Recent::load(Some(folder));
        assert_eq!(again.files(), recent.files());
        assert_eq!((again.files().len(), again.files()[0].as_path()), (MOST, Path::new("/nowhere/5")));
        assert_eq!(again.files().iter().filter(|f| f.ends_with("5")).count(), 1);
        Recent::load(None).note(Path::new("x"));
    }
}
