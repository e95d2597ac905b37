//! A scene in one file, `NAME.retort`: a zip of `scene.toml` and of every field that it names, to be mailed or kept.
//!
//! Nothing is unpacked to the disk. What the archive declares (names, sizes, how often a byte is used) is checked against
//! the length of the file before memory is taken, so that a zip bomb is an error and not the end of the program.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use burn::tensor::Device;
use zip::result::ZipError;
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::file::{MAX_BYTES, NAME, SceneFile};
use crate::error::{Error, Result};
use crate::files::archive::Archive;
use crate::files::{self, Provenance, Summary};
use crate::registry::AnyField;

/// The ending of a project's file.
pub const ENDING: &str = "retort";
/// The most files in an archive: twice as many as a scene can name, for what people put beside them.
const MAX_FILES: usize = 512;
/// How many times larger than packed a file may be: numbers hardly shrink, and grids of zeros not that far.
const MAX_RATIO: u64 = 200;
/// What is larger than this is written in the form for large files, bytes.
const LARGE: usize = u32::MAX as usize;
const AGAIN: &str = "copy or download it again";

/// Whether `path` is called like a project.
pub fn is_project(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// A project that is open for reading.
pub struct Project {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

impl Project {
    /// Opens a project and checks what it declares; no field is read.
    ///
    /// # Errors
    /// When it is missing, cut short, no zip, without a scene, or declares impossible names or sizes.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e: std::io::Error| Error::io(path, &e);
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(Error::new("not a file").file(path).remedy("give a .retort file"));
        }
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|e| told(e).file(path))?;
        let mut project = Self { path: path.to_path_buf(), zip };
        project.check(about.len()).map_err(|e| e.file(path))?;
        Ok(project)
    }

    /// Whether names and sizes can be true in a file of `bytes` bytes.
    fn check(&mut self, bytes: u64) -> Result<()> {
        let damaged = |what: String| Err(Error::new(what).remedy(AGAIN));
        if self.zip.len() > MAX_FILES {
            return damaged(format!("{} files are too many for a project", self.zip.len()));
        }
        let (mut names, mut places, mut packed) = (HashSet::new(), Vec::new(), 0_u64);
        for index in 0..self.zip.len() {
            let entry = self.zip.by_index_raw(index).map_err(told)?;
            let name = entry.name().to_string();
            let plain = name.trim_end_matches('/');
            if inner_name(Path::new(plain)).as_deref() != Some(plain) || name.contains('\\') {
                return damaged(format!("a file in it is called \"{}\"", name.escape_default()));
            }
            packed = packed.saturating_add(entry.compressed_size());
            let stored = entry.compression() == CompressionMethod::Stored;
            let most = if stored { entry.compressed_size() } else { entry.compressed_size().saturating_mul(MAX_RATIO) };
            if entry.size() > most || packed > bytes {
                return damaged(format!("{name} in it says that it is {} bytes, which cannot be", entry.size()));
            }
            places.push((entry.header_start(), entry.data_start() + entry.compressed_size()));
            if !names.insert(name) {
                return damaged("two files in it have the same name".into());
            }
        }
        places.sort_unstable();
        if places.windows(2).any(|two| two[0].1 > two[1].0) || places.last().is_some_and(|last| last.1 > bytes) {
            return damaged("files in it lie over one another".into());
        }
        if !names.contains(NAME) {
            let remedy = format!("zip {NAME} and the fields that it names themselves, not their folder");
            return Err(Error::new(format!("no {NAME} is in it")).remedy(remedy));
        }
        Ok(())
    }

    /// The scene, without the fields that it names.
    ///
    /// # Errors
    /// When it cannot be read, or as [`SceneFile::parse`].
    pub fn scene(&mut self) -> Result<SceneFile> {
        let bytes = self.bytes(NAME, MAX_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::new("it is no text").remedy(AGAIN));
        text.and_then(|text| SceneFile::parse(&text)).map_err(|e| self.at(NAME, e).remedy(super::file::FORM))
    }

    /// What a field that the scene calls `field` says of itself; reads its header alone.
    ///
    /// # Errors
    /// When the archive has no such field, or as [`files::peek`].
    pub fn peek(&mut self, field: &Path) -> Result<Summary> {
        let name = self.name_of(field)?;
        let told = match self.zip.by_name(&name) {
            Ok(entry) => {
                let size = entry.size();
                files::peek_from(entry, size)
            }
            Err(error) => Err(told(error)),
        };
        told.map_err(|e| self.at(&name, e))
    }

    /// Loads a field that the scene calls `field`.
    ///
    /// # Errors
    /// When the archive has no such field, or as [`files::load`].
    pub fn load(&mut self, field: &Path, device: &Device) -> Result<(AnyField, Provenance)> {
        // Shapes are checked before the values take memory.
        self.peek(field)?;
        let name = self.name_of(field)?;
        let bytes = self.bytes(&name, u64::MAX)?;
        files::from_bytes(&bytes, device).map_err(|e| self.at(&name, e))
    }

    /// The name in the archive of what the scene calls `field`.
    fn name_of(&self, field: &Path) -> Result<String> {
        let name = inner_name(field).filter(|name| self.zip.file_names().any(|known| known == name));
        name.ok_or_else(|| {
            let what = format!("the scene in it names {}, which is not in it", field.display());
            Error::new(what).file(&self.path).remedy("save the project again where all its fields are")
        })
    }

    /// The bytes of a file in the archive, at most `most`.
    fn bytes(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let read = |entry: &mut dyn Read, size: u64| {
            if size > most {
                return Err(Error::new(format!("{size} bytes are too long")).remedy(AGAIN));
            }
            let mut bytes = Vec::new();
            let full = |_| Error::new(format!("{size} bytes do not fit into memory")).remedy("close other programs");
            bytes.try_reserve_exact(size as usize).map_err(full)?;
            // It may unpack to more than it says.
            entry.take(size + 1).read_to_end(&mut bytes).map_err(|e| told(ZipError::Io(e)))?;
            if bytes.len() as u64 != size {
                return Err(Error::new("it is shorter or longer than it says").remedy(AGAIN));
            }
            Ok(bytes)
        };
        let bytes = match self.zip.by_name(name) {
            Ok(mut entry) => {
                let size = entry.size();
                read(&mut entry, size)
            }
            Err(error) => Err(told(error)),
        };
        bytes.map_err(|e| self.at(name, e))
    }

    /// An error about a file in the archive.
    fn at(&self, name: &str, error: Error) -> Error {
        Error::new(format!("{name} in it: {}", error.what)).file(&self.path).remedy(error.remedy)
    }
}

/// The name in an archive that `field` means: plain names alone, joined by slashes.
fn inner_name(field: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in field.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/")).filter(|name| !name.is_empty())
}

/// What the archive's reader says, in our words.
fn told(error: ZipError) -> Error {
    const OTHERWISE: &str = "unzip it into a folder, and open its scene.toml";
    let otherwise = |how: &str| Error::new(format!("it is zipped in a way that is not read: {how}")).remedy(OTHERWISE);
    match error {
        ZipError::Io(e) => match e.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
                Error::new("the project is cut short or damaged").remedy(AGAIN)
            }
            _ => Error::new(e.to_string()),
        },
        ZipError::UnsupportedArchive(how) => otherwise(how),
        ZipError::FileNotFound => Error::new("it is not there").remedy(AGAIN),
        ZipError::InvalidArchive(_) => Error::new("not a project, or one that is cut short or damaged")
            .remedy("give a .retort file that Retort wrote, or copy it again"),
    }
}

/// A field as a project has it.
pub struct Packed<'a> {
    /// Its name there, as the scene says it.
    pub name: PathBuf,
    /// The field.
    pub field: &'a AnyField,
    /// How it came about.
    pub made: &'a Provenance,
}

/// Writes a project, all or nothing; returns the size of the file.
///
/// # Errors
/// When the scene names a field that is not among `fields`, two of them have the same name, a value is not finite, or the
/// place cannot be written.
pub fn write(path: &Path, scene: &SceneFile, fields: &[Packed]) -> Result<u64> {
    let text = scene.text().map_err(|e| e.file(path))?;
    let mut taken = HashSet::from([NAME.to_string()]);
    for Packed { name, .. } in fields {
        let plain = inner_name(name).filter(|name| taken.insert(name.to_lowercase()));
        if plain.is_none() {
            let what = format!("a field cannot be called {} in a project", name.display());
            return Err(Error::new(what).file(path).remedy("give it another name"));
        }
    }
    if let Some(entry) = scene.objects.iter().find(|entry| !fields.iter().any(|field| field.name == entry.field)) {
        return Err(Error::new(format!("{} is not in the project", entry.field.display())).file(path));
    }
    // Numbers hardly get smaller, and stored ones are read at the speed of the disk.
    let options = FileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o644);
    let io = |e: std::io::Error| Error::io(path, &e);
    files::write_with(path, |file| {
        let zipped = |e: ZipError| match e {
            ZipError::Io(e) => Error::io(path, &e),
            other => Error::new(other.to_string()).file(path),
        };
        let mut zip = ZipWriter::new(file);
        zip.start_file(NAME, options).map_err(zipped)?;
        zip.write_all(text.as_bytes()).map_err(io)?;
        for Packed { name, field, made } in fields {
            let mut archive = Archive::default();
            files::write_into(&mut archive, field, made, false).map_err(|e| e.file(path))?;
            let bytes = archive.to_bytes().map_err(|e| e.file(path))?;
            let name = inner_name(name).unwrap_or_default();
            zip.start_file(name, options.large_file(bytes.len() >= LARGE)).map_err(zipped)?;
            zip.write_all(&bytes).map_err(io)?;
        }
        zip.finish().map(drop).map_err(zipped)
    })?;
    std::fs::metadata(path).map(|about| about.len()).map_err(io)
}
