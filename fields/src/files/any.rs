//! Any file that holds a field: ours, Gaussians in whichever format, other trainers' fields. What is read is known by its
//! content, what is written by its name.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

use burn::tensor::Device;
use glam::Vec3;
use retort_shaders::Aabb;

use super::archive::{Archive, write_with};
use super::field::{self, Provenance, Summary};
use super::splats::{self, About, Format, Source, Splats};
use super::trainers::{self, Held, Trainer};
use super::upright;
use crate::error::{Error, Result};
use crate::field::Scene;
use crate::registry::{AnyField, FieldConfig, Kind};

/// The ending of our own files.
pub const ENDING: &str = "safetensors";
/// How much of a file its format is known by.
const HEAD: usize = 64 << 10;

/// What a file is.
pub enum FileKind {
    /// A field of ours, or nothing that is known.
    Ours,
    /// Gaussians.
    Splats(&'static dyn Format),
    /// A field of another trainer.
    Trainer(&'static Trainer),
}

/// The first bytes of a file, by which its format is known.
///
/// # Errors
/// When it cannot be read.
pub fn head_of(path: &Path) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let mut head = Vec::new();
    let file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Error::new("not a file").file(path).remedy("give a .safetensors file"));
    }
    file.take(HEAD as u64).read_to_end(&mut head).map_err(io)?;
    Ok(head)
}

/// What a file is, by its content.
///
/// # Errors
/// When it cannot be read.
pub fn kind_of(path: &Path) -> Result<FileKind> {
    head_of(path).map(|head| kind_in(&head))
}

/// What a file that begins with `head` is.
pub fn kind_in(head: &[u8]) -> FileKind {
    if let Some(format) = splats::recognised(head) {
        return FileKind::Splats(format);
    }
    trainers::recognised(head).map_or(FileKind::Ours, FileKind::Trainer)
}

/// Loads a field.
///
/// # Errors
/// When the file is missing, cut short, of no known format, of the wrong shapes, or holds values that are not finite.
pub fn load(path: &Path, device: &Device) -> Result<(AnyField, Provenance)> {
    let (held, label, notes) = match kind_of(path)? {
        FileKind::Ours => return field::load(path, device).map_err(|e| unknown(path, e)),
        FileKind::Splats(format) => (Held::Gaussians(read_splats(format, path)?), format.label(), Vec::new()),
        FileKind::Trainer(trainer) => {
            let (held, notes) = (trainer.read)(&mut Source::open(path)?).map_err(|e| e.file(path))?;
            (held, trainer.label, notes)
        }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let from = format!("read from {name} ({label})");
    match held {
        Held::Gaussians(gaussians) => {
            let (field, more) = upright::to_field(&gaussians, device).map_err(|e| e.file(path))?;
            let notes = notes.into_iter().chain(more).collect();
            Ok((field, Provenance { from, notes, ..Provenance::default() }))
        }
        Held::Field(mut archive) => {
            let (field, made) = field::from_archive(&mut archive, device).map_err(|e| e.file(path))?;
            // The photos' coordinates of these trainers have +Z up.
            let up = field.scene().scene_from_dataset.rotation * Vec3::Z;
            Ok((field, Provenance { from, notes, lies: up.y > 0.9, ..made }))
        }
    }
}

/// What a file says of itself, without reading more of it than its format needs. Where Gaussians are and how large their
/// scene is are known from all of them only: [`Summary::scene`] is the default for those.
///
/// # Errors
/// When the file is missing, cut short, of no known format, or its tensors have the wrong shapes.
pub fn peek(path: &Path) -> Result<Summary> {
    match kind_of(path)? {
        FileKind::Ours => field::peek(path).map_err(|e| unknown(path, e)),
        FileKind::Splats(format) => {
            let mut source = Source::open(path)?;
            let about = format.peek(&mut source).map_err(|e| e.file(path))?;
            Ok(summary_of_splats(&about, format.label(), source.bytes()))
        }
        FileKind::Trainer(trainer) => {
            let mut source = Source::open(path)?;
            let bytes = source.bytes();
            let (held, notes) = (trainer.read)(&mut source).map_err(|e| e.file(path))?;
            let mut summary = match held {
                Held::Gaussians(gaussians) => {
                    let about = About { count: gaussians.len(), sh_degree: gaussians.sh_degree, ..About::default() };
                    summary_of_splats(&about, trainer.label, bytes)
                }
                Held::Field(archive) => Summary { bytes, ..field::summary_of(&archive).map_err(|e| e.file(path))? },
            };
            summary.provenance = Provenance { from: trainer.label.into(), notes, ..summary.provenance };
            Ok(summary)
        }
    }
}

/// What is not called like one of our own files, and is of no format that is known, was not meant to be ours.
fn unknown(path: &Path, error: Error) -> Error {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING)) {
        return error;
    }
    let known: Vec<String> = readable().into_iter().map(|ending| format!(".{ending}")).collect();
    Error::new("of no format that is known")
        .file(path)
        .remedy(format!("these are read: {}, and meshes", known.join(", ")))
}

fn summary_of_splats(about: &About, label: &str, bytes: u64) -> Summary {
    let variant = if about.variant.is_empty() { String::new() } else { format!(", {}", about.variant) };
    let from = format!("{label}{variant}, harmonics of degree {}", about.sh_degree);
    summary_of_gaussians(about.count, about.sh_degree, from, bytes)
}

/// What is to be said of `n` Gaussians that come `from` a file of `bytes` bytes.
pub fn summary_of_gaussians(n: usize, sh_degree: u32, from: String, bytes: u64) -> Summary {
    let config = FieldConfig::Gaussians(upright::config(n, sh_degree, false));
    let shapes = config.shapes().unwrap_or_default();
    let tensors: Vec<_> = shapes.into_iter().map(|(name, [_, width])| (name.to_string(), [n, width])).collect();
    Summary {
        kind: Kind::Gaussians,
        config,
        scene: Scene::default(),
        params: tensors.iter().map(|(_, [rows, width])| (rows * width) as u64).sum(),
        tensors,
        bytes,
        provenance: Provenance { from, ..Provenance::default() },
    }
}

fn read_splats(format: &dyn Format, path: &Path) -> Result<Splats> {
    format.read(&mut Source::open(path)?).map_err(|e| e.file(path))
}

/// The box around the centres of a file of Gaussians, in the file's own coordinates; `None` for another file.
///
/// # Errors
/// As [`load`].
pub fn extent(path: &Path) -> Result<Option<Aabb>> {
    let FileKind::Splats(format) = kind_of(path)? else { return Ok(None) };
    Ok(Aabb::around(read_splats(format, path)?.means.into_iter().map(Vec3::from)))
}

/// What a path's ending says that is to be written there.
pub enum Target {
    /// A field of ours.
    Ours,
    /// Gaussians.
    Splats(&'static dyn Format),
    /// A field of another trainer.
    Trainer(&'static Trainer),
}

impl Target {
    /// What the ending of `path` asks for.
    ///
    /// # Errors
    /// When nothing of that ending is written.
    pub fn of(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING)) {
            return Ok(Self::Ours);
        }
        if let Some(format) = splats::named(path).filter(|format| format.writes()) {
            return Ok(Self::Splats(format));
        }
        if let Some(trainer) = trainers::named(path).filter(|trainer| trainer.write.is_some()) {
            return Ok(Self::Trainer(trainer));
        }
        let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy()));
        let what = format!("this version writes no {} files", ending.as_deref().unwrap_or("such"));
        Err(Error::new(what).file(path).remedy(format!("let the name end in {}", endings().join(", "))))
    }

    /// Whether a field of `kind` can be written there.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self, kind: Kind) -> Result<()> {
        match self {
            Self::Splats(format) if kind != Kind::Gaussians => {
                let what = format!("{} files hold Gaussians, and this is a field of kind {kind}", format.name());
                Err(Error::new(what).remedy("add --to gaussians, or let the name end in .safetensors"))
            }
            _ => Ok(()),
        }
    }
}

/// Every ending that is written, with its dot; our own first.
pub fn endings() -> Vec<String> {
    let formats = splats::FORMATS.iter().filter(|format| format.writes()).filter_map(|format| format.endings().first());
    let others = trainers::TRAINERS.iter().filter(|trainer| trainer.write.is_some());
    let others = others.filter_map(|trainer| trainer.endings.first());
    [&ENDING].into_iter().chain(formats).chain(others).map(|ending| format!(".{ending}")).collect()
}

/// Every ending that is read, without its dot; our own first.
pub fn readable() -> Vec<&'static str> {
    let formats = splats::FORMATS.iter().flat_map(|format| format.endings());
    let others = trainers::TRAINERS.iter().flat_map(|trainer| trainer.endings);
    // A dialog of the system takes what follows the last dot.
    let all = [&ENDING].into_iter().chain(formats).chain(others).map(|e| e.rsplit('.').next().unwrap_or(e));
    let mut seen = Vec::new();
    all.for_each(|ending| {
        if !seen.contains(&ending) {
            seen.push(ending);
        }
    });
    seen
}

/// Writes a field as the ending of `path` says, all or nothing; gives the size of the file, and what a person should know.
///
/// # Errors
/// When the format cannot hold the field, the place cannot be written, or a value is not finite.
pub fn save(field: &AnyField, made: &Provenance, path: &Path) -> Result<(u64, Vec<String>)> {
    let target = Target::of(path)?;
    target.check(field.kind()).map_err(|e| e.file(path))?;
    match (target, field) {
        (Target::Splats(format), AnyField::Gaussians(set)) => {
            Ok((write_splats(&upright::from_field(set), format, path)?, Vec::new()))
        }
        (Target::Trainer(trainer), _) => {
            let mut archive = Archive::default();
            field::write_into(&mut archive, field, made, false).map_err(|e| e.file(path))?;
            let mut notes = Vec::new();
            let write = trainer.write.ok_or_else(|| Error::new("it is not written"))?;
            let bytes = write_to(path, |out| {
                notes = write(&archive, out)?;
                Ok(())
            })?;
            Ok((bytes, notes))
        }
        _ => Ok((field::save(field, made, path)?, Vec::new())),
    }
}

/// Gaussians from one format to another without making a field of them: positions, axes and numbers stay.
pub struct Transcoded {
    /// How many.
    pub count: usize,
    /// Size of the new file.
    pub bytes: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Writes the Gaussians of `from` to `to`; `None` where either is no file of Gaussians.
///
/// # Errors
/// As [`load`] and [`save`].
pub fn transcode(from: &Path, to: &Path) -> Result<Option<Transcoded>> {
    let (FileKind::Splats(reader), Target::Splats(writer)) = (kind_of(from)?, Target::of(to)?) else {
        return Ok(None);
    };
    let mut splats = read_splats(reader, from)?;
    let notes = std::mem::take(&mut splats.notes);
    let (count, bytes) = (splats.len(), write_splats(&splats, writer, to)?);
    Ok(Some(Transcoded { count, bytes, notes }))
}

fn write_splats(splats: &Splats, format: &dyn Format, path: &Path) -> Result<u64> {
    if path.file_name().is_some_and(|name| name == splats::sog::META) {
        // A folder of files, of which this is the one that names the others.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        splats::sog::write_folder(splats, folder)?;
        return std::fs::metadata(path).map(|about| about.len()).map_err(|e| Error::io(path, &e));
    }
    write_to(path, |out| format.write(splats, out))
}

/// Writes what `fill` gives, all or nothing; its size.
fn write_to(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>) -> Result<u64> {
    let mut bytes = 0;
    write_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        fill(&mut out).map_err(|e| e.file(path))?;
        let file = out.into_inner().map_err(|e| Error::io(path, e.error()))?;
        bytes = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        Ok(())
    })?;
    Ok(bytes)
}
