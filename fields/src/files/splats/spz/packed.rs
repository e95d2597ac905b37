//! The blocks of an SPZ file and what their bytes mean.
//!
//! | block | bytes for each Gaussian | value |
//! |---|---|---|
//! | positions | 9 (6 in version 1) | 24-bit signed / 2^fraction (half floats in version 1) |
//! | alphas | 1 | `255 σ(raw_opacity)` |
//! | colours | 3 | `255 (0.15 dc + ½)` |
//! | scales | 3 | `16 (ln s + 10)` |
//! | rotations | 4 (3 in versions 1 and 2) | 2 bits: which of x, y, z, w is largest; three times a sign and `511 √2 abs(q)` |
//! | sh | 3 ((d + 1)² − 1) | `128 + 128 c`, coefficient-major; to multiples of 8 in the first band, of 16 above |

use rayon::prelude::*;

use super::super::{SH_MAX, Splats, flip_yz, rest_per_splat};
use crate::error::{Error, Result};

/// The colours' scale.
const COLOUR: f32 = 0.15;
/// Fraction bits of positions that the reference writes: steps of a quarter of a millimetre, if the unit is a metre.
const FRACTION: i32 = 12;
/// The largest packed position.
const FIXED_MAX: f32 = 8_388_607.0;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 1 to 4.
    pub version: u32,
    /// Number of Gaussians.
    pub count: usize,
    /// Degree of the harmonics in the file, 0 to 4.
    pub degree: u32,
    /// Fraction bits of the positions.
    pub fraction: u32,
    /// Whether opacity makes up for the blur of the pixel.
    pub antialias: bool,
    /// Whether there are records of vendors.
    pub records: bool,
}

impl Shape {
    /// Bytes for each Gaussian in each block.
    pub fn widths(&self) -> [usize; 6] {
        let positions = if self.version == 1 { 6 } else { 9 };
        let rotations = if self.version < 3 { 3 } else { 4 };
        [positions, 1, 3, 3, rotations, rest_per_splat(self.degree)]
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> u64 {
        self.count as u64 * self.widths().iter().sum::<usize>() as u64
    }
}

/// The blocks of a file, in its order.
pub type Blocks = [Vec<u8>; 6];

/// Gaussians from the blocks, whose lengths fit `shape`.
pub fn unpacked(shape: &Shape, blocks: &Blocks) -> Splats {
    let [positions, alphas, colours, scales, rotations, sh] = blocks;
    let degree = shape.degree.min(SH_MAX);
    let mut splats = Splats { antialias: shape.antialias, ..Splats::zeros(shape.count, degree) };
    if shape.version == 1 {
        let halves = positions.par_chunks_exact(6).zip(&mut splats.means);
        halves
            .for_each(|(b, m)| *m = std::array::from_fn(|k| half::f16::from_le_bytes([b[2 * k], b[2 * k + 1]]).into()));
    } else {
        let step = (-(shape.fraction as f32)).exp2();
        let fixed = positions.par_chunks_exact(9).zip(&mut splats.means);
        // In the upper three bytes, so that the shift back extends the sign.
        let whole = |b: &[u8]| i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8;
        fixed.for_each(|(b, m)| *m = std::array::from_fn(|k| whole(&b[3 * k..]) as f32 * step));
    }
    let logit: [f32; 256] = std::array::from_fn(|b| (b as f32 / (255 - b) as f32).ln());
    alphas.par_iter().zip(&mut splats.raw_opacity).for_each(|(b, v)| *v = logit[usize::from(*b)]);
    let dc = colours.par_chunks_exact(3).zip(&mut splats.sh_dc);
    dc.for_each(|(b, v)| *v = std::array::from_fn(|k| (f32::from(b[k]) / 255.0 - 0.5) / COLOUR));
    let logs = scales.par_chunks_exact(3).zip(&mut splats.log_scales);
    logs.for_each(|(b, v)| *v = std::array::from_fn(|k| f32::from(b[k]) / 16.0 - 10.0));
    if shape.version < 3 {
        let three = rotations.par_chunks_exact(3).zip(&mut splats.rotations);
        three.for_each(|(b, q)| *q = first_three([b[0], b[1], b[2]]));
    } else {
        let four = rotations.par_chunks_exact(4).zip(&mut splats.rotations);
        four.for_each(|(b, q)| *q = smallest_three(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    let [have, kept] = [shape.degree, degree].map(rest_per_splat);
    if kept > 0 {
        let rows = sh.par_chunks_exact(have).zip(splats.sh_rest.par_chunks_exact_mut(kept));
        rows.for_each(|(b, row)| row.iter_mut().zip(b).for_each(|(v, b)| *v = (f32::from(*b) - 128.0) / 128.0));
    }
    if shape.degree > SH_MAX {
        splats.notes.push("the fourth band of its spherical harmonics was left out".to_string());
    }
    if shape.records {
        splats.notes.push("what a vendor has added to it was left out".to_string());
    }
    flip_yz(&mut splats);
    splats
}

fn first_three(b: [u8; 3]) -> [f32; 4] {
    let [x, y, z] = b.map(|b| f32::from(b) / 127.5 - 1.0);
    [(1.0 - (x * x + y * y + z * z)).max(0.0).sqrt(), x, y, z]
}

fn smallest_three(mut bits: u32) -> [f32; 4] {
    let largest = (bits >> 30) as usize;
    let (mut q, mut squares) = ([0.0_f32; 4], 0.0);
    for k in (0..4).rev().filter(|k| *k != largest) {
        let size = (bits & 511) as f32 * (std::f32::consts::FRAC_1_SQRT_2 / 511.0);
        q[k] = if bits & 512 == 0 { size } else { -size };
        squares += size * size;
        bits >>= 10;
    }
    q[largest] = (1.0 - squares).max(0.0).sqrt();
    [q[3], q[0], q[1], q[2]]
}

/// Blocks of Gaussians, in the file's axes, and the shape to go with them.
///
/// # Errors
/// When a centre is too far off for 24 bits.
pub fn packed(splats: &Splats, version: u32) -> Result<(Shape, Blocks)> {
    let fraction = fraction_for(&splats.means)?;
    let shape = Shape {
        version,
        count: splats.len(),
        degree: splats.sh_degree,
        fraction,
        antialias: splats.antialias,
        records: false,
    };
    let signs = signs(splats.sh_degree);
    let mut blocks: Blocks = shape.widths().map(|width| vec![0; width * shape.count]);
    let [positions, alphas, colours, scales, rotations, sh] = &mut blocks;

    let step = (fraction as f32).exp2();
    positions.par_chunks_exact_mut(9).zip(&splats.means).for_each(|(b, m)| {
        for k in 0..3 {
            let fixed = (m[k] * signs.means[0][k] * step).round().clamp(-FIXED_MAX, FIXED_MAX) as i32;
            b[3 * k..][..3].copy_from_slice(&fixed.to_le_bytes()[..3]);
        }
    });
    let opacities = alphas.par_iter_mut().zip(&splats.raw_opacity);
    opacities.for_each(|(b, v)| *b = byte(255.0 / (1.0 + (-v).exp())));
    let dc = colours.par_iter_mut().zip(splats.sh_dc.as_flattened());
    dc.for_each(|(b, v)| *b = byte(v * (COLOUR * 255.0) + 127.5));
    let logs = scales.par_iter_mut().zip(splats.log_scales.as_flattened());
    logs.for_each(|(b, v)| *b = byte((v + 10.0) * 16.0));
    let turned = |q: &[f32; 4]| {
        let length = q.iter().map(|v| v * v).sum::<f32>().sqrt();
        let q: [f32; 4] = std::array::from_fn(|k| q[k] * signs.rotations[0][k] / length);
        [q[1], q[2], q[3], q[0]]
    };
    if version < 3 {
        let three = rotations.par_chunks_exact_mut(3).zip(&splats.rotations);
        three.for_each(|(b, q)| b.copy_from_slice(&pack_first_three(turned(q))));
    } else {
        let four = rotations.par_chunks_exact_mut(4).zip(&splats.rotations);
        four.for_each(|(b, q)| b.copy_from_slice(&pack_smallest_three(turned(q)).to_le_bytes()));
    }
    let width = rest_per_splat(splats.sh_degree);
    if width > 0 {
        sh.par_chunks_exact_mut(width).zip(splats.sh_rest.par_chunks_exact(width)).for_each(|(b, row)| {
            for (k, (b, v)) in b.iter_mut().zip(row).enumerate() {
                // The reference's default: five bits for the first band, four for the others.
                *b = bucket(v * signs.sh_rest[k], if k < 9 { 8 } else { 16 });
            }
        });
    }
    Ok((shape, blocks))
}

/// The turn to the file's axes changes signs alone: these are what it makes of ones.
fn signs(degree: u32) -> Splats {
    let mut ones = Splats::zeros(1, degree);
    ones.means[0] = [1.0; 3];
    ones.rotations[0] = [1.0; 4];
    ones.sh_rest.fill(1.0);
    flip_yz(&mut ones);
    ones
}

/// As many fraction bits as the reference has, fewer for a scene that is too large for them, and more for one that is
/// smaller than its unit, so that it keeps as many steps across.
fn fraction_for(means: &[[f32; 3]]) -> Result<u32> {
    let reach = means.par_iter().map(|m| m.iter().fold(0.0_f32, |a, v| a.max(v.abs()))).reduce(|| 0.0, f32::max);
    // The exponent as it is stored: exact where a logarithm would round.
    let power = (reach.to_bits() >> 23) as i32 - 127;
    let fits = 22 - power;
    let wanted = if power < 0 { FRACTION - power } else { FRACTION };
    if fits < 0 {
        return Err(Error::new(format!("a centre is {reach} away from the origin, and SPZ ends at {FIXED_MAX}"))
            .remedy("move the scene to the origin, or write .ply"));
    }
    Ok(wanted.clamp(0, fits.min(23)) as u32)
}

fn byte(v: f32) -> u8 {
    v.round().clamp(0.0, 255.0) as u8
}

/// To the nearest multiple of `size`, of which 128 is one.
fn bucket(v: f32, size: i32) -> u8 {
    let q = (v * 128.0).round().clamp(-1024.0, 1024.0) as i32 + 128;
    ((q + size / 2).div_euclid(size) * size).clamp(0, 255) as u8
}

/// From x, y, z, w.
fn pack_first_three(q: [f32; 4]) -> [u8; 3] {
    let half = if q[3] < 0.0 { -127.5 } else { 127.5 };
    std::array::from_fn(|k| byte(q[k] * half + 127.5))
}

/// From x, y, z, w.
fn pack_smallest_three(q: [f32; 4]) -> u32 {
    let largest = (1..4).fold(0, |best, k| if q[k].abs() > q[best].abs() { k } else { best });
    let mut bits = largest as u32;
    for k in (0..4).filter(|k| *k != largest) {
        let minus = (q[k] < 0.0) != (q[largest] < 0.0);
        let size = (q[k].abs() * std::f32::consts::SQRT_2 * 511.0).round().min(511.0) as u32;
        bits = bits << 10 | u32::from(minus) << 9 | size;
    }
    bits
}
