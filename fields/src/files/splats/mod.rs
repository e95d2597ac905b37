//! Files of 3D Gaussians: every format is one file here and one line in [`FORMATS`].
//!
//! In memory all of them are [`Splats`], in the axes of the published files (+X right, +Y down, +Z forward): a format that
//! has others turns them as it reads and writes, spherical harmonics with them.

mod compressed_ply;
mod finite;
mod gaussians;
mod khr_glb;
mod ksplat;
mod morton;
mod ply;
mod ply_header;
mod rows;
pub mod sog;
mod source;
mod splat;
mod spz;
pub mod turn;

#[cfg(test)]
pub(crate) use gaussians::tests::sample;
pub use gaussians::{SH_MAX, Splats, flip_yz, rest_per_splat};
pub use source::{Source, counted};

use std::io::{Seek, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// A format, as it is registered.
pub trait Format: Sync {
    /// Its name in sentences and on the command line: `"spz"`.
    fn name(&self) -> &'static str;

    /// What it is, in a line for people.
    fn label(&self) -> &'static str;

    /// The endings of its files, in lower case without the dot; the first is the usual one. Those of several dots
    /// (`"compressed.ply"`) come before those that they end in.
    fn endings(&self) -> &'static [&'static str];

    /// Whether a file that begins with `head` (at least 4 KiB of it, or all) is of this format.
    fn recognises(&self, head: &[u8]) -> bool;

    /// What a file says of itself; reads as little of it as the format allows.
    ///
    /// # Errors
    /// When it is cut short or damaged.
    fn peek(&self, source: &mut Source<'_>) -> Result<About>;

    /// Reads a file. Counts and sizes are checked against its length before memory is taken.
    ///
    /// # Errors
    /// When it is cut short, damaged, or holds values that are not finite.
    fn read(&self, source: &mut Source<'_>) -> Result<Splats>;

    /// Whether it is written as well.
    fn writes(&self) -> bool {
        true
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When the place is full, or the format cannot hold them.
    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        let _ = (splats, out);
        Err(Error::new(format!("{} files are read, not written", self.name())).remedy("choose .ply or .spz"))
    }
}

/// What is written into.
pub trait Sink: Write + Seek {}
impl<T: Write + Seek> Sink for T {}

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Number of Gaussians.
    pub count: usize,
    /// Degree of the spherical harmonics, 0 to 3 as far as they are read.
    pub sh_degree: u32,
    /// The format's own version and variant: `"version 4"`.
    pub variant: String,
}

/// Every format, in the order in which files are tried.
pub const FORMATS: &[&dyn Format] = &[
    &compressed_ply::CompressedPly,
    &ply::Ply,
    &spz::Spz,
    &sog::Sog,
    &khr_glb::KhrGlb,
    &ksplat::Ksplat,
    // It has no sign of its own, only numbers that could be.
    &splat::Splat,
];

/// The format of a file that begins with `head`.
pub fn recognised(head: &[u8]) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.recognises(head))
}

/// The format that a path's ending names.
pub fn named(path: &Path) -> Option<&'static dyn Format> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let fits = |ending: &&&str| name.strip_suffix(**ending).is_some_and(|stem| stem.ends_with('.') || stem.is_empty());
    let endings = FORMATS.iter().flat_map(|format| format.endings().iter().map(move |ending| (*format, ending)));
    endings.filter(|(_, ending)| fits(ending)).max_by_key(|(_, ending)| ending.len()).map(|(format, _)| format)
}
