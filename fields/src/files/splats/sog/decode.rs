//! Gaussians from the pictures of a SOG file.

use rayon::prelude::*;

use super::super::{Splats, rest_per_splat};
use super::meta::{Meta, Palette, damaged};
use super::texture::Texture;
use crate::error::Result;

/// How many pixels a picture may have for each Gaussian, and besides.
const SLACK: (usize, usize) = (4, 1 << 16);
/// Entries in a row of the palette's picture.
pub const PER_ROW: usize = 64;
/// The most entries of a palette.
pub const MOST: usize = 1 << 16;

/// Gaussians from `files`, in the order of [`names`].
///
/// # Errors
/// When a picture is damaged or too small.
pub fn decoded(meta: &Meta, count: usize, files: &[Vec<u8>]) -> Result<Splats> {
    let names = names(meta);
    let most = count * SLACK.0 + SLACK.1;
    let pictures = names.par_iter().zip(files).enumerate().map(|(k, (name, file))| {
        // The palette's picture has no pixel for each Gaussian.
        let (least, most) = if k == CENTRES { (1, 15 * MOST) } else { (count, most) };
        Texture::unpacked(name, file, least, most)
    });
    let pictures: Vec<Texture> = pictures.collect::<Result<_>>()?;
    let [low, high, scales, quats, sh0, rest @ ..] = pictures.as_slice() else {
        return Err(damaged("meta.json does not name all files"));
    };
    let old = meta.old();
    let palette = match (&meta.sh_rest, rest) {
        (Some(about), [centres, labels]) => Some((Entries::of(about, old, centres)?, labels)),
        _ => None,
    };
    let degree = palette.as_ref().map_or(0, |(entries, _)| entries.degree);
    let mut splats = Splats { antialias: meta.is_antialiased(), ..Splats::zeros(count, degree) };

    let (mins, maxs) = (meta.means.mins, meta.means.maxs);
    splats.means.par_iter_mut().enumerate().for_each(|(i, m)| {
        *m = std::array::from_fn(|k| {
            let steps = u16::from_le_bytes([low.at(i, k), high.at(i, k)]);
            let log = mins[k] + (maxs[k] - mins[k]) * (f64::from(steps) / 65_535.0);
            log.abs().exp_m1().copysign(log) as f32
        });
    });
    let tables = [meta.scales.table(old, 0)?, meta.scales.table(old, 1)?, meta.scales.table(old, 2)?];
    splats.log_scales.par_iter_mut().enumerate().for_each(|(i, s)| {
        *s = std::array::from_fn(|k| tables[k][usize::from(scales.at(i, k))]);
    });
    splats.rotations.par_iter_mut().enumerate().for_each(|(i, q)| {
        *q = rotation([0, 1, 2, 3].map(|k| quats.at(i, k)));
    });
    let tables = [meta.sh0.table(old, 0)?, meta.sh0.table(old, 1)?, meta.sh0.table(old, 2)?];
    splats.sh_dc.par_iter_mut().enumerate().for_each(|(i, c)| {
        *c = std::array::from_fn(|k| tables[k][usize::from(sh0.at(i, k))]);
    });
    // The first version has logits.
    let opacity =
        if old { meta.sh0.table(old, 3)? } else { std::array::from_fn(|b| (b as f32 / (255 - b) as f32).ln()) };
    let opacities = splats.raw_opacity.par_iter_mut().enumerate();
    opacities.for_each(|(i, v)| *v = opacity[usize::from(sh0.at(i, 3))]);
    if let Some((entries, labels)) = palette {
        let rows = splats.sh_rest.par_chunks_exact_mut(rest_per_splat(degree)).enumerate();
        rows.try_for_each(|(i, row)| {
            let label = u16::from_le_bytes([labels.at(i, 0), labels.at(i, 1)]);
            let entry = entries.get(usize::from(label));
            let entry =
                entry.ok_or_else(|| damaged(&format!("Gaussian {i} has harmonics {label}, which are missing")))?;
            row.copy_from_slice(entry);
            Ok(())
        })?;
    }
    Ok(splats)
}

/// Where the palette is among the files.
pub const CENTRES: usize = 5;

/// The files, in the order in which they are needed.
pub fn names(meta: &Meta) -> Vec<&str> {
    let parts = [&meta.scales.files, &meta.quats.files, &meta.sh0.files];
    let mut names: Vec<&str> = meta.means.files[..2].iter().map(String::as_str).collect();
    names.extend(parts.map(|files| files[0].as_str()));
    names.extend(meta.sh_rest.iter().flat_map(|palette| palette.files[..2].iter().map(String::as_str)));
    names
}

/// Three components of a byte each, and which of w, x, y, z they leave out.
fn rotation(b: [u8; 4]) -> [f32; 4] {
    let Some(largest) = b[3].checked_sub(252).map(usize::from) else { return [1.0, 0.0, 0.0, 0.0] };
    let mut q = [0.0; 4];
    let (mut squares, mut next) = (0.0, 0);
    for k in (0..4).filter(|k| *k != largest) {
        q[k] = (f32::from(b[next]) / 255.0 - 0.5) * std::f32::consts::SQRT_2;
        squares += q[k] * q[k];
        next += 1;
    }
    q[largest] = (1.0 - squares).max(0.0).sqrt();
    q
}

/// The palette's entries.
struct Entries {
    degree: u32,
    width: usize,
    values: Vec<f32>,
}

impl Entries {
    fn of(about: &Palette, old: bool, picture: &Texture) -> Result<Self> {
        // The first version says it by the width alone.
        let fits = |degree: &u32| picture.width == PER_ROW * rest_per_splat(*degree) / 3;
        let degree = (1..=3).find(fits).filter(|degree| about.bands.is_none_or(|bands| bands == *degree));
        let bad = || damaged(&format!("the palette's picture is {} pixels wide", picture.width));
        let degree = degree.ok_or_else(bad)?;
        let table = about.table(old)?;
        let (width, have) = (rest_per_splat(degree), (picture.height * PER_ROW).min(MOST));
        let count = about.count.map_or(have, |count| have.min(count.try_into().unwrap_or(have)));
        let mut values = vec![0.0; count * width];
        for (i, v) in values.iter_mut().enumerate() {
            *v = table[usize::from(picture.at(i / 3, i % 3))];
        }
        Ok(Self { degree, width, values })
    }

    fn get(&self, label: usize) -> Option<&[f32]> {
        self.values.get(label * self.width..(label + 1) * self.width)
    }
}
