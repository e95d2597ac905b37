//! Fields as other trainers' programs save them. Nothing in such a file is ever run: a file that asks for it is refused by
//! name.
//!
//! A reader gives the field in the parts of our own files ([`Archive`]), so that it is checked and built like any of ours.
//! Each format is one file here and one line in [`TRAINERS`].

mod assembly;
#[cfg(test)]
mod evaluated;
mod factors;
mod ingp;
mod nerfstudio;
mod pytorch;
mod svox2;
mod tensorf;
mod torch;
mod torch_ngp;

use std::path::Path;

use super::archive::Archive;
use super::splats::{Sink, Source, Splats};
use crate::error::Result;

/// What a file held.
pub enum Held {
    /// A field in the parts of our own files.
    Field(Box<Archive>),
    /// Gaussians.
    Gaussians(Splats),
}

/// Reads a file: what it held, and what a person should know of it.
pub type Reader = fn(&mut Source<'_>) -> Result<(Held, Vec<String>)>;

/// Writes the parts of a field of ours; gives what a person should know of it.
pub type Writer = fn(&Archive, &mut dyn Sink) -> Result<Vec<String>>;

/// A format, as it is registered.
pub struct Trainer {
    /// Its name in sentences: `"ingp"`.
    pub name: &'static str,
    /// What it is, in a line for people.
    pub label: &'static str,
    /// The endings of its files, in lower case without the dot.
    pub endings: &'static [&'static str],
    /// Whether a file that begins with these bytes may be of this format.
    pub recognises: fn(&[u8]) -> bool,
    /// Reads it.
    pub read: Reader,
    /// Writes it, where it is written.
    pub write: Option<Writer>,
}

/// Every format, in the order in which files are tried.
pub const TRAINERS: &[Trainer] = &[
    Trainer {
        name: "ingp",
        label: "instant-ngp snapshot",
        endings: &["ingp"],
        recognises: ingp::recognises,
        read: ingp::read,
        write: Some(ingp::write),
    },
    // The same without compression: instant-ngp goes by the ending.
    Trainer {
        name: "msgpack",
        label: "instant-ngp snapshot",
        endings: &["msgpack"],
        recognises: ingp::recognises,
        read: ingp::read,
        write: Some(ingp::write_plain),
    },
    Trainer {
        name: "svox2",
        label: "svox2 grid (Plenoxels)",
        endings: &["npz"],
        recognises: svox2::recognises,
        read: svox2::read,
        write: Some(svox2::write),
    },
    Trainer {
        name: "torch",
        label: "PyTorch checkpoint of TensoRF, torch-ngp, PVD or splatfacto",
        endings: pytorch::ENDINGS,
        recognises: pytorch::recognises,
        read: pytorch::read,
        write: None,
    },
];

/// The format of a file that begins with `head`.
pub fn recognised(head: &[u8]) -> Option<&'static Trainer> {
    TRAINERS.iter().find(|trainer| (trainer.recognises)(head))
}

/// The format that a path's ending names.
pub fn named(path: &Path) -> Option<&'static Trainer> {
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    TRAINERS.iter().find(|trainer| trainer.endings.contains(&&*ending))
}
