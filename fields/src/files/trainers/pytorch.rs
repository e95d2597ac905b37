//! Checkpoints of torch: which trainer's one is, and its field.

use super::torch::{Checkpoint, shown};
use super::{Held, nerfstudio, tensorf, torch, torch_ngp};
use crate::error::{Error, Result};
use crate::files::splats::Source;

/// The endings of these files.
pub const ENDINGS: &[&str] = &["pth", "th", "ckpt", "pt"];

/// Whether a file that begins with `head` is a checkpoint of torch.
pub fn recognises(head: &[u8]) -> bool {
    torch::recognises(head)
}

/// What a checkpoint holds, and what a person should know of it. Nothing of it is run.
///
/// # Errors
/// When it is damaged, asks for anything but tensors, is of no trainer that is known, or holds what no field can.
pub fn read(source: &mut Source<'_>) -> Result<(Held, Vec<String>)> {
    let file = Checkpoint::open(source)?;
    let root = file.root();
    let field = |(archive, notes)| (Held::Field(Box::new(archive)), notes);
    if tensorf::recognises(root) {
        tensorf::read(&file, source).map(field)
    } else if torch_ngp::recognises(root) {
        torch_ngp::read(&file, source).map(field)
    } else if nerfstudio::recognises(root) {
        nerfstudio::read(&file, source).map(|(splats, notes)| (Held::Gaussians(splats), notes))
    } else {
        Err(unknown(&file))
    }
}

fn unknown(file: &Checkpoint) -> Error {
    let names: Vec<String> = file.root().entries().take(6).map(|(name, _)| shown(name)).collect();
    let holds = if names.is_empty() { String::new() } else { format!(" (it holds {})", names.join(", ")) };
    Error::new(format!("a checkpoint of torch, but of no trainer that is known{holds}"))
        .remedy("give one of TensoRF, torch-ngp, PVD or nerfstudio's splatfacto")
}
