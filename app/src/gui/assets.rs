//! The fields that are open, by id. The document names them; a field without a file is in memory until it is saved.

use std::path::{Path, PathBuf};

use retort_fields::files::Provenance;
use retort_fields::registry::AnyField;

/// Names a field for as long as the program runs.
pub type AssetId = u64;

/// A field that is open.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its own.
    pub id: AssetId,
    /// The field; cloning shares its values.
    pub field: AnyField,
    /// How it came about.
    pub made: Provenance,
    /// Its file, once it has one.
    pub path: Option<PathBuf>,
    /// A name for its file and its object.
    pub name: String,
}

impl Asset {
    /// What it is, in a few words: `"hash, 1.2 M parameters"`.
    pub fn label(&self) -> String {
        let kind = self.field.kind();
        match self.field.as_primitives() {
            Some(primitives) => format!("{kind}, {} of them", count(primitives.count())),
            None => format!("{kind}, {} parameters", count(self.field.param_count())),
        }
    }
}

/// `"532"`, `"12.3 k"`, `"1.2 M"`.
pub fn count(n: usize) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// All fields that are open.
#[derive(Debug, Default)]
pub struct Assets {
    all: Vec<Asset>,
    next: AssetId,
}

impl Assets {
    /// Takes a field in and gives its id.
    pub fn add(&mut self, field: AnyField, made: Provenance, path: Option<PathBuf>, name: String) -> AssetId {
        self.next += 1;
        self.all.push(Asset { id: self.next, field, made, path, name });
        self.next
    }

    /// The field of this id.
    pub fn get(&self, id: AssetId) -> Option<&Asset> {
        self.all.iter().find(|asset| asset.id == id)
    }

    /// The field has been written to `path`.
    pub fn saved(&mut self, id: AssetId, path: &Path) {
        if let Some(asset) = self.all.iter_mut().find(|asset| asset.id == id) {
            asset.path = Some(path.to_path_buf());
        }
    }

    /// Lets go of fields that are not used.
    pub fn keep(&mut self, used: impl Fn(AssetId) -> bool) {
        self.all.retain(|asset| used(asset.id));
    }
}
