//! SOG, spatially ordered Gaussians for the web: pictures that hold numbers, and `meta.json` that says what they mean,
//! in a zip (`.sog`) or in a folder (developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog).
//!
//! A pixel is a Gaussian. `means_l` and `means_u` are the bytes of 16 bits of `sign(x) ln(1 + |x|)` between two ends;
//! `scales` and `sh0` index codebooks of 256 values; `sh0` has the opacity as alpha; `quats` has three components in
//! `±1/√2` and as alpha 252 + which of w, x, y, z is left out; `shN_labels` indexes a palette of up to 65,536 sets of
//! harmonics, `shN_centroids`. The first version has ends in place of codebooks, and logits of opacities.
//!
//! The axes are those of `.ply`, as the format's own tool has it.

mod codebook;
mod decode;
mod encode;
mod meta;
mod palette;
mod texture;

#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::path::Path;

use rayon::prelude::*;
use zip::result::ZipError;
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::finite::finite;
use super::source::{ReadSeek, counted};
use super::{About, Format, Sink, Source, Splats};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use meta::{Meta, damaged};

/// What the document is called: the file of a folder that names the others.
pub const META: &str = "meta.json";
/// The longest document, bytes.
const MAX_META: u64 = 1 << 20;
/// How many Gaussians there may be for each byte of the pictures: trained ones take ten bytes or more, equal ones on a
/// plane three. Unpacked, each takes 120 to 330.
const PER_BYTE: u64 = 2;
/// As many Gaussians as any file may have, however short it is.
const FLOOR: u64 = 1 << 16;
/// How many times larger than the archive its files may be: pictures hardly shrink.
const RATIO: u64 = 4;

/// The format.
pub struct Sog;

impl Format for Sog {
    fn name(&self) -> &'static str {
        "sog"
    }

    fn label(&self) -> &'static str {
        "SOG, Gaussians in pictures"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["sog", META]
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let has = |within: &[u8], what: &str| within.windows(what.len()).any(|w| w == what.as_bytes());
        if head.starts_with(b"PK\x03\x04") {
            // The name of the first file, or of the first in a folder.
            let first = &head[..head.len().min(256)];
            return has(first, META) || has(first, ".webp");
        }
        let text = head.trim_ascii_start();
        text.starts_with(b"{") && has(text, "\"means\"") && has(text, ".webp\"")
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let bytes = source.bytes();
        let mut files = Files::open(source)?;
        let meta = files.meta()?;
        let most = if matches!(files, Files::Archive { .. }) { limit(bytes) } else { u64::from(u32::MAX) };
        Ok(About {
            count: counted(meta.count(), 1, most)?,
            // The first version says it by the size of a picture alone.
            sh_degree: meta.bands().unwrap_or(0).min(3),
            variant: format!("version {}", meta.version.unwrap_or(1)),
        })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let mut files = Files::open(source)?;
        let meta = files.meta()?;
        let names = decode::names(&meta);
        let pictures: Vec<Vec<u8>> = names.into_iter().map(|name| files.get(name)).collect::<Result<_>>()?;
        let bytes: u64 = pictures.iter().map(|file| file.len() as u64).sum();
        let count = counted(meta.count(), 1, limit(bytes))?;
        decode::decoded(&meta, count, &pictures)?.settled()
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        let mut zip = ZipWriter::new(out);
        let options = FileOptions::default().compression_method(CompressionMethod::Stored);
        let zipped = |e: ZipError| Error::new(e.to_string());
        for (name, file) in packed(splats)? {
            zip.start_file(name, options).map_err(zipped)?;
            zip.write_all(&file).map_err(|e| Error::new(e.to_string()))?;
        }
        zip.finish().map(drop).map_err(zipped)
    }
}

/// How many Gaussians there may be in so many bytes.
fn limit(bytes: u64) -> u64 {
    FLOOR.max(bytes.saturating_mul(PER_BYTE))
}

/// Writes `meta.json` and the pictures into a folder that is there, each file all or nothing, the document last.
///
/// # Errors
/// When a value is not finite, or the folder cannot be written.
pub fn write_folder(splats: &Splats, folder: &Path) -> Result<()> {
    let files = packed(splats)?;
    let (meta, pictures) = files.split_first().ok_or_else(|| Error::new("nothing to write"))?;
    pictures.iter().chain([meta]).try_for_each(|(name, file)| write_atomically(&folder.join(name), file))
}

/// The files, the document first.
fn packed(splats: &Splats) -> Result<Vec<(&'static str, Vec<u8>)>> {
    finite(splats)?;
    let (meta, pictures) = encode::encoded(splats)?;
    let text = serde_json::to_vec(&meta).map_err(|e| Error::new(e.to_string()))?;
    let pictures = pictures.into_par_iter().map(|(name, picture)| Ok((name, picture.packed()?)));
    let mut files = vec![(META, text)];
    files.extend(pictures.collect::<Result<Vec<_>>>()?);
    Ok(files)
}

/// Where the files are.
enum Files<'a, 'b> {
    /// Beside the document.
    Folder(&'a mut Source<'b>),
    /// In an archive, within the folder `inside`, with so many bytes left to unpack.
    Archive { zip: ZipArchive<&'a mut (dyn ReadSeek + 'b)>, inside: String, left: u64 },
}

impl<'a, 'b> Files<'a, 'b> {
    fn open(source: &'a mut Source<'b>) -> Result<Self> {
        if source.head(4)? != *b"PK\x03\x04" {
            return Ok(Self::Folder(source));
        }
        let left = source.bytes().saturating_mul(RATIO).saturating_add(MAX_META);
        let zip = ZipArchive::new(source.reader()).map_err(|e| unzipped(&e, META))?;
        let metas = zip.file_names().filter(|name| name.rsplit('/').next() == Some(META));
        let meta = metas.min_by_key(|name| (name.matches('/').count(), *name));
        let meta = meta.ok_or_else(|| Error::new(format!("a zip without {META}")).remedy("give a .sog file"))?;
        let inside = meta[..meta.len() - META.len()].to_string();
        Ok(Self::Archive { zip, inside, left })
    }

    fn meta(&mut self) -> Result<Meta> {
        let text = match self {
            Self::Folder(source) if source.bytes() > MAX_META => Err(damaged("meta.json is too long")),
            Self::Folder(source) => source.all(),
            Self::Archive { .. } => self.get(META),
        }?;
        Meta::parse(&text)
    }

    fn get(&mut self, name: &str) -> Result<Vec<u8>> {
        match self {
            Self::Folder(source) => source.beside(name, u64::from(u32::MAX)),
            Self::Archive { zip, inside, left } => {
                let mut file = zip.by_name(&format!("{inside}{name}")).map_err(|e| unzipped(&e, name))?;
                let bytes = file.size();
                if bytes > *left || name == META && bytes > MAX_META {
                    return Err(damaged(&format!("{name} would unpack to {bytes} bytes")));
                }
                *left -= bytes;
                let mut got = Vec::new();
                let read = file.by_ref().take(bytes.saturating_add(1)).read_to_end(&mut got);
                read.map_err(|_| damaged(&format!("{name} cannot be unpacked")))?;
                if got.len() as u64 != bytes {
                    return Err(damaged(&format!("{name} is not of {bytes} bytes")));
                }
                Ok(got)
            }
        }
    }
}

fn unzipped(error: &ZipError, name: &str) -> Error {
    match error {
        ZipError::FileNotFound => damaged(&format!("{name} is missing")),
        ZipError::UnsupportedArchive(what) => Error::new(format!("{name}: {what}")).remedy("zip it without"),
        _ => damaged("the archive cannot be read"),
    }
}
