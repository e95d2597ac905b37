//! The pictures of a SOG file from Gaussians.

use rayon::prelude::*;

use super::super::{Splats, rest_per_splat};
use super::codebook::Codebook;
use super::decode::{MOST, PER_ROW};
use super::meta::{Asset, Means, Meta, Palette, Part};
use super::palette::{Points, palette};
use super::texture::Texture;
use crate::error::{Error, Result};

/// The widest picture, pixels.
const WIDEST: usize = 16_383;

/// The document, and each picture with its name.
pub type Files = (Meta, Vec<(&'static str, Texture)>);

/// Packs Gaussians, which are finite.
///
/// # Errors
/// When there are more than pictures can hold.
pub fn encoded(splats: &Splats) -> Result<Files> {
    let n = splats.len();
    let width = n.isqrt().div_ceil(4).max(1) * 4;
    let height = n.div_ceil(width).next_multiple_of(4);
    if width.max(height) > WIDEST {
        return Err(Error::new(format!("SOG holds at most {} Gaussians", WIDEST * WIDEST)).remedy("write .spz or .ply"));
    }
    let picture = |channels: usize, pixel: &(dyn Fn(usize) -> [u8; 4] + Sync)| {
        let mut picture = Texture::new(width, height, channels);
        let pixels = picture.bytes.par_chunks_exact_mut(channels).take(n).enumerate();
        pixels.for_each(|(i, to)| to.copy_from_slice(&pixel(i)[..channels]));
        picture
    };
    let (means, mins, maxs) = positions(splats);
    let order = order(&means);
    let at = |i: usize| order[i] as usize;

    let byte = |i: usize, shift: u32| means[at(i)].map(|v| (v >> shift) as u8);
    let low = picture(3, &|i| padded(byte(i, 0)));
    let high = picture(3, &|i| padded(byte(i, 8)));
    let quats = picture(4, &|i| rotation(splats.rotations[at(i)]));
    let weighed = |values: &[[f32; 3]]| values.as_flattened().par_iter().map(|v| [*v, 1.0]).collect();
    let book = Codebook::fit(weighed(&splats.log_scales));
    let scales = picture(3, &|i| padded(splats.log_scales[at(i)].map(|v| book.index(v))));
    let colours = Codebook::fit(weighed(&splats.sh_dc));
    let sh0 = picture(4, &|i| {
        let [r, g, b] = splats.sh_dc[at(i)].map(|v| colours.index(v));
        [r, g, b, (255.0 / (1.0 + (-splats.raw_opacity[at(i)]).exp())).round() as u8]
    });
    let mut files = vec![
        ("means_l.webp", low),
        ("means_u.webp", high),
        ("scales.webp", scales),
        ("quats.webp", quats),
        ("sh0.webp", sh0),
    ];
    let mut sh_rest = None;
    if splats.sh_degree > 0 {
        let (about, centres, labels) = harmonics(splats);
        sh_rest = Some(about);
        files.push(("shN_centroids.webp", centres));
        // Blue is not looked at. WebP stores it less green, so this way it costs nothing.
        files.push((
            "shN_labels.webp",
            picture(3, &|i| {
                let [low, high] = labels[at(i)].to_le_bytes();
                padded([low, high, high])
            }),
        ));
    }
    let mut meta = described(n, &book, &colours);
    (meta.means.mins, meta.means.maxs, meta.sh_rest) = (mins, maxs, sh_rest);
    meta.antialias = Some(splats.antialias);
    meta.model = splats.antialias.then(|| "antialiased".to_string());
    Ok((meta, files))
}

fn described(count: usize, scales: &Codebook, colours: &Codebook) -> Meta {
    let part = |codebook: Vec<f32>, file: &str| Part { codebook, files: vec![file.to_string()], ..Part::default() };
    Meta {
        version: Some(2),
        asset: Some(Asset { generator: "Retort".to_string() }),
        count: Some(count as u64),
        antialias: None,
        model: None,
        means: Means {
            shape: None,
            mins: [0.0; 3],
            maxs: [0.0; 3],
            files: ["means_l.webp", "means_u.webp"].map(String::from).to_vec(),
        },
        scales: part(scales.values.to_vec(), "scales.webp"),
        quats: part(Vec::new(), "quats.webp"),
        sh0: part(colours.values.to_vec(), "sh0.webp"),
        sh_rest: None,
    }
}

fn padded([r, g, b]: [u8; 3]) -> [u8; 4] {
    [r, g, b, 255]
}

/// Positions in steps of 16 bits of `sign(x) ln(1 + |x|)`, and its ends along each axis.
pub fn positions(splats: &Splats) -> (Vec<[u16; 3]>, [f64; 3], [f64; 3]) {
    let log = |m: &[f32; 3]| m.map(|v| f64::from(v).abs().ln_1p().copysign(f64::from(v)));
    let ends = |pick: fn(f64, f64) -> f64, from: f64| {
        let corner = |a: [f64; 3], b: [f64; 3]| std::array::from_fn(|k| pick(a[k], b[k]));
        splats.means.par_iter().map(log).reduce(|| [from; 3], corner)
    };
    let (mins, maxs) = (ends(f64::min, f64::INFINITY), ends(f64::max, f64::NEG_INFINITY));
    let step = |m: &[f32; 3]| {
        let logs = log(m);
        std::array::from_fn(|k| {
            let span = maxs[k] - mins[k];
            if span > 0.0 { ((logs[k] - mins[k]) / span * 65_535.0).round() as u16 } else { 0 }
        })
    };
    (splats.means.par_iter().map(step).collect(), mins, maxs)
}

/// The Gaussians along Morton's curve, so that neighbours in the pictures are neighbours in space.
pub fn order(means: &[[u16; 3]]) -> Vec<u32> {
    let spread = |v: u16| {
        let mut v = u64::from(v);
        v = (v | v << 16) & 0x0000_FF00_00FF;
        v = (v | v << 8) & 0x00F0_0F00_F00F;
        v = (v | v << 4) & 0x0C30_C30C_30C3;
        (v | v << 2) & 0x2492_4924_9249
    };
    let code = |m: &[u16; 3]| spread(m[0]) | spread(m[1]) << 1 | spread(m[2]) << 2;
    let mut order: Vec<(u64, u32)> = means.par_iter().zip(0..means.len() as u32).map(|(m, i)| (code(m), i)).collect();
    order.par_sort_unstable();
    order.into_iter().map(|(_, i)| i).collect()
}

/// Three components of a byte each, the largest of w, x, y, z left out.
fn rotation(q: [f32; 4]) -> [u8; 4] {
    let length = q.iter().map(|v| v * v).sum::<f32>().sqrt();
    let largest = (1..4).fold(0, |best, k| if q[k].abs() > q[best].abs() { k } else { best });
    let size = std::f32::consts::FRAC_1_SQRT_2.copysign(q[largest]) / length;
    let mut b = [0, 0, 0, 252 + largest as u8];
    for (b, k) in b.iter_mut().zip((0..4).filter(|k| *k != largest)) {
        *b = ((q[k] * size + 0.5) * 255.0).round().clamp(0.0, 255.0) as u8;
    }
    b
}

/// The palette, its picture, and for each Gaussian its entry.
fn harmonics(splats: &Splats) -> (Palette, Texture, Vec<u16>) {
    let width = rest_per_splat(splats.sh_degree);
    let k = (1024 << (splats.len() / 1024).max(1).ilog2()).min(MOST);
    let palette = palette(Points { values: &splats.sh_rest, width }, k);
    let mut weights = vec![0.0_f32; palette.centres.len() / width];
    palette.labels.iter().for_each(|label| weights[*label as usize] += 1.0);
    let values = palette.centres.par_chunks_exact(width).zip(&weights).filter(|(_, weight)| **weight > 0.0);
    let book = Codebook::fit(values.flat_map_iter(|(row, weight)| row.iter().map(|v| [*v, *weight])).collect());

    let count = weights.len();
    let mut picture = Texture::new(PER_ROW * width / 3, count.div_ceil(PER_ROW), 3);
    // An entry's coefficients lie side by side: the picture is the table.
    picture.bytes.par_iter_mut().zip(&palette.centres).for_each(|(b, v)| *b = book.index(*v));
    let about = Palette {
        count: Some(count as u64),
        bands: Some(splats.sh_degree),
        codebook: book.values.to_vec(),
        mins: None,
        maxs: None,
        files: ["shN_centroids.webp", "shN_labels.webp"].map(String::from).to_vec(),
    };
    (about, picture, palette.labels.into_iter().map(|label| label as u16).collect())
}
