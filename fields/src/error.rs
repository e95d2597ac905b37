//! The one error of this room: what went wrong, in which file, and what to do about it.
//!
//! The command line prints the three parts as one line, or as the three keys of its JSON error object, so nothing
//! has to be parsed back out of a sentence.

use std::path::{Path, PathBuf};

/// What went wrong, where, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{}{what}{}", prefix(file.as_deref()), suffix(remedy))]
pub struct Error {
    /// What is wrong, naming the field or the value: `"transforms.json: frame 3: transform_matrix has 3 rows, not 4"`.
    pub what: String,
    /// The file that it is about, where there is one.
    pub file: Option<PathBuf>,
    /// What the person can do about it; empty where nothing sensible can be said.
    pub remedy: String,
}

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn prefix(file: Option<&Path>) -> String {
    file.map(|f| format!("{}: ", f.display())).unwrap_or_default()
}

fn suffix(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!(" ({remedy})") }
}

impl Error {
    /// An error that says `what` is wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), file: None, remedy: String::new() }
    }

    /// Names the file that it is about, unless an inner call has named one already.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }

    /// Says what to do about it, unless an inner call has said so already.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        if self.remedy.is_empty() {
            self.remedy = remedy.into();
        }
        self
    }

    /// An input or output error on `path`, with the remedy that its kind calls for.
    pub fn io(path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let remedy = match error.kind() {
            K::NotFound => "check the path",
            K::PermissionDenied | K::ReadOnlyFilesystem => "check the permissions, or choose another place with -o",
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => "free some space, or choose another disk with -o",
            K::NotADirectory => "check the path: a part of it is a file",
            K::IsADirectory => "name a file",
            K::UnexpectedEof => "the file is cut short: copy or download it again",
            _ => "",
        };
        let text = error.to_string();
        // An error of a temporary file goes on to name that file, which nobody knows.
        let text = text.split_once(" at path ").map_or(text.as_str(), |(cause, _)| cause);
        Self::new(text).file(path).remedy(remedy)
    }
}
