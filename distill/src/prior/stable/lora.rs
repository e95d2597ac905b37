//! Files of low-rank adapters, merged into the weights: `W += s · (α / r) · B A` (Hu et al. 2021). Three ways of writing
//! them are in use: PEFT's (`lora_A`, `lora_B`), diffusers' (`lora.down`, `lora.up`) and kohya's (names with underscores,
//! `lora_down`, `lora_up`, and an `alpha`).

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};
use retort_fields::field::tensor;

use super::files::Weights;
use crate::prior::layers::Layers;

/// The two factors' endings in each way of writing: the first reads, the second writes.
const ENDINGS: [[&str; 2]; 4] = [
    [".lora_A.weight", ".lora_B.weight"],
    [".lora.down.weight", ".lora.up.weight"],
    [".lora_down.weight", ".lora_up.weight"],
    [".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"],
];

/// Which network a file's name is about, and its map's name in there.
fn parted(stem: &str) -> Option<(&'static str, String)> {
    let prefixes = [("unet", ["unet.", "lora_unet_"]), ("text_encoder", ["text_encoder.", "lora_te_"])];
    prefixes.iter().find_map(|(part, starts)| {
        let rest = starts.iter().find_map(|start| stem.strip_prefix(start))?;
        // diffusers' first files named the attention's processor.
        Some((*part, rest.replace(".processor.", ".").replace("_lora", "")))
    })
}

/// A map's name without what different files write differently.
fn folded(name: &str) -> String {
    name.replace(['.', '_'], "")
}

/// Adds the adapters of a file, times `scale`, to the denoiser and the text encoder; the number of maps that changed.
///
/// # Errors
/// When the file is none of adapters, or one is of a map that the model does not have, or of another size.
pub fn merge(path: &Path, scale: f32, unet: &mut Layers, text: &mut Layers) -> Result<usize> {
    let weights = Weights::file(path)?;
    let other_family = "take adapters that were made for this family of models";
    let mut by_part: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (part, layers) in [("unet", &*unet), ("text_encoder", &*text)] {
        by_part.insert(part, layers.maps().map(|name| (folded(name), name.to_string())).collect());
    }
    let mut names: Vec<&str> = weights.names().map(|(name, _)| name).collect();
    names.sort_unstable();
    let mut merged = 0;
    for name in names {
        let Some((stem, [_, up])) = ENDINGS.iter().find_map(|e| Some((name.strip_suffix(e[0])?, e))) else { continue };
        let odd = |what: &str| Error::new(format!("{stem}: {what}")).file(path).remedy(other_family);
        let (part, map) = parted(stem).ok_or_else(|| odd("adapters of another part than unet and text_encoder"))?;
        let map = by_part[part].get(&folded(&map)).ok_or_else(|| odd("the model has no such map"))?.clone();
        let change = factors(&weights, name, &format!("{stem}{up}"), stem, scale).map_err(|e| e.file(path))?;
        let layers = if part == "unet" { &mut *unet } else { &mut *text };
        let change = Tensor::from_data(change.into_data(), &layers.device());
        layers.merge(&map, change).map_err(|e| e.file(path).remedy(other_family))?;
        merged += 1;
    }
    if merged == 0 {
        return Err(Error::new("no adapters are there").file(path).remedy("give a .safetensors of LoRA weights"));
    }
    Ok(merged)
}

/// `s (α / r) (B A)ᵀ`, `[inputs, outputs]`; α is r where the file has none.
fn factors(weights: &Weights, down: &str, up: &str, stem: &str, scale: f32) -> Result<Tensor<2>> {
    let device = burn::tensor::Device::flex();
    let ((a, a_shape), (b, b_shape)) = (weights.read(down)?, weights.read(up)?);
    let flat = |shape: &[usize]| match *shape {
        [o, i] | [o, i, 1, 1] => Ok([o, i]),
        _ => Err(Error::new(format!("{stem} is {shape:?}: adapters of convolutions of 3 × 3 are not understood"))),
    };
    let ([rank, inputs], [outputs, other]) = (flat(&a_shape)?, flat(&b_shape)?);
    if rank != other || rank == 0 {
        return Err(Error::new(format!("{stem}: factors of ranks {rank} and {other} do not fit")));
    }
    let alpha = match weights.read(&format!("{stem}.alpha")) {
        Ok((values, _)) => values.first().copied().unwrap_or(rank as f32),
        Err(_) => rank as f32,
    };
    let (a, b) = (tensor(a, [rank, inputs], &device), tensor(b, [outputs, rank], &device));
    Ok(b.matmul(a).transpose() * (scale * alpha / rank as f32))
}
