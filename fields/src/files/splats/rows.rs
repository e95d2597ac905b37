//! Records of equal size, one for each Gaussian: read and written a block at a time, each block by all cores.
//!
//! Beside the Gaussians themselves, memory is one block of [`BLOCK`] bytes.

use rayon::prelude::*;

use super::Sink;
use super::gaussians::{Splats, rest_per_splat};
use super::source::Source;
use crate::error::{Error, Result};
use crate::parts::sh;

/// Bytes that are read or written at once.
pub(super) const BLOCK: usize = 4 << 20;
/// Bytes of a block that one thread takes at a time.
const PART: usize = 64 << 10;

/// Neighbouring rows of [`Splats`], to be filled in.
pub(super) struct Rows<'a> {
    /// Which row the first of them is.
    pub first: usize,
    /// Centres.
    pub means: &'a mut [[f32; 3]],
    /// ln of the standard deviations.
    pub log_scales: &'a mut [[f32; 3]],
    /// Quaternions w, x, y, z.
    pub rotations: &'a mut [[f32; 4]],
    /// Logits.
    pub raw_opacity: &'a mut [f32],
    /// Constant coefficients.
    pub sh_dc: &'a mut [[f32; 3]],
    /// The other coefficients, `[n, width]`.
    pub sh_rest: &'a mut [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// All rows of `splats`.
    pub fn of(splats: &'a mut Splats) -> Self {
        Self {
            first: 0,
            width: rest_per_splat(splats.sh_degree),
            means: &mut splats.means,
            log_scales: &mut splats.log_scales,
            rotations: &mut splats.rotations,
            raw_opacity: &mut splats.raw_opacity,
            sh_dc: &mut splats.sh_dc,
            sh_rest: &mut splats.sh_rest,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.means.len()
    }

    /// The other coefficients of row `i`.
    pub fn rest(&mut self, i: usize) -> &mut [f32] {
        &mut self.sh_rest[i * self.width..][..self.width]
    }

    /// Takes the first `n` off, or all where there are fewer.
    pub fn take(&mut self, n: usize) -> Self {
        let n = n.min(self.len());
        let (first, all) = (self.first, "no more than there are");
        self.first += n;
        Self {
            first,
            means: self.means.split_off_mut(..n).expect(all),
            log_scales: self.log_scales.split_off_mut(..n).expect(all),
            rotations: self.rotations.split_off_mut(..n).expect(all),
            raw_opacity: self.raw_opacity.split_off_mut(..n).expect(all),
            sh_dc: self.sh_dc.split_off_mut(..n).expect(all),
            sh_rest: self.sh_rest.split_off_mut(..n * self.width).expect(all),
            width: self.width,
        }
    }

    /// The same in parts of `each` rows.
    pub fn parts(mut self, each: usize) -> Vec<Self> {
        let mut parts = Vec::with_capacity(self.len().div_ceil(each));
        while self.len() > 0 {
            parts.push(self.take(each));
        }
        parts
    }
}

/// Rows of `stride` bytes in a block and in a part of it.
fn rows_at_once(stride: usize) -> (usize, usize) {
    ((BLOCK / stride).max(1), (PART / stride).max(1))
}

/// Fills `rows` from the next records of `stride` bytes; `decode` is given records and the rows that they belong to.
///
/// # Errors
/// The first of `decode`, or when the file is cut short.
pub(super) fn read_records(
    source: &mut Source<'_>,
    stride: usize,
    mut rows: Rows<'_>,
    decode: impl Fn(&[u8], &mut Rows<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let (per_block, per_part) = rows_at_once(stride);
    let mut block = Vec::new();
    while rows.len() > 0 {
        let some = rows.take(per_block);
        block.resize(some.len() * stride, 0);
        source.fill(&mut block)?;
        let records = block.par_chunks(per_part * stride);
        all_well(some.parts(per_part).into_par_iter().zip(records).map(|(mut rows, bytes)| decode(bytes, &mut rows)))?;
    }
    Ok(())
}

/// The first error of several, whichever thread is the first.
pub(super) fn all_well(results: impl IndexedParallelIterator<Item = Result<()>>) -> Result<()> {
    results.find_map_first(Result::err).map_or(Ok(()), Err)
}

/// Writes `n` records of `stride` bytes; `encode` is given the number of the first record and the bytes of some.
///
/// # Errors
/// When the place is full.
pub(super) fn write_records(
    out: &mut dyn Sink,
    n: usize,
    stride: usize,
    encode: impl Fn(usize, &mut [u8]) + Sync,
) -> Result<()> {
    let (per_block, per_part) = rows_at_once(stride);
    let mut block = Vec::new();
    for first in (0..n).step_by(per_block) {
        block.resize(per_block.min(n - first) * stride, 0);
        let parts = block.par_chunks_mut(per_part * stride).enumerate();
        parts.for_each(|(part, bytes)| encode(first + part * per_part, bytes));
        write(out, &block)?;
    }
    Ok(())
}

/// Writes bytes.
///
/// # Errors
/// When the place is full; whoever knows the path adds it.
pub(super) fn write(out: &mut dyn Sink, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|error| {
        let mut error = Error::io("", &error);
        error.file = None;
        error
    })
}

/// The bytes of a record at `at`.
#[inline(always)]
pub(super) fn bytes_at<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    *record[at..].first_chunk().expect("layouts lie in their records, whose lengths are checked")
}

/// A little-endian `f32` at `at`.
#[inline(always)]
pub(super) fn f32_at(record: &[u8], at: usize) -> f32 {
    f32::from_le_bytes(bytes_at(record, at))
}

/// A little-endian `u32` at `at`.
#[inline(always)]
pub(super) fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(record, at))
}

/// The constant coefficient of a colour, `(c − ½) / C₀`.
pub(super) fn dc_from_colour(colour: f32) -> f32 {
    (colour - 0.5) / sh::C0
}

/// The colour of a constant coefficient, `½ + C₀ dc`, as far as directions do not change it.
pub(super) fn colour_from_dc(dc: f32) -> f32 {
    0.5 + sh::C0 * dc
}

/// `ln(o / (1 − o))`; infinite at 0 and 1.
pub(super) fn logit(opacity: f32) -> f32 {
    (opacity / (1.0 - opacity)).ln()
}

/// `1 / (1 + e⁻ˣ)`.
pub(super) fn sigmoid(raw: f32) -> f32 {
    1.0 / (1.0 + (-raw).exp())
}

/// A value of 0 to 1 as a whole number of 0 to `most`, rounded; what lies outside is held.
pub(super) fn unorm(value: f32, most: u32) -> u32 {
    // The cast takes what is below 0, and NaN, to 0.
    ((value * most as f32 + 0.5) as u32).min(most)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Format, Source, Splats};
    use crate::error::Result;
    use crate::rng::Rng;

    /// Reads bytes.
    pub(crate) fn read(format: &dyn Format, bytes: &[u8]) -> Result<Splats> {
        format.read(&mut Source::memory(bytes))
    }

    /// Writes into bytes.
    pub(crate) fn written(format: &dyn Format, splats: &Splats) -> Vec<u8> {
        let mut out = std::io::Cursor::new(Vec::new());
        format.write(splats, &mut out).expect("written");
        out.into_inner()
    }

    /// The largest difference of two lists; infinite where their lengths differ.
    pub(crate) fn apart(a: &[f32], b: &[f32]) -> f32 {
        if a.len() != b.len() {
            return f32::INFINITY;
        }
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// The largest distance of two lists of unit quaternions, whose signs are free.
    pub(crate) fn turned_apart(a: &[[f32; 4]], b: &[[f32; 4]]) -> f32 {
        let distance = |a: &[f32; 4], b: &[f32; 4]| {
            let to = |sign: f32| a.iter().zip(b).map(|(a, b)| (a - sign * b).powi(2)).sum::<f32>().sqrt();
            to(1.0).min(to(-1.0))
        };
        if a.len() != b.len() {
            return f32::INFINITY;
        }
        a.iter().zip(b).map(|(a, b)| distance(a, b)).fold(0.0, f32::max)
    }

    /// Reads `tries` damaged copies of a file: it never panics, and what is read all the same can be drawn.
    pub(crate) fn survives_damage(format: &dyn Format, bytes: &[u8], tries: u64) {
        let mut refused = 0;
        for seed in 0..tries {
            let mut rng = Rng::new(seed, format.name());
            let mut bad = bytes.to_vec();
            for _ in 0..=rng.below(6) {
                let at = rng.below(bad.len());
                bad[at] = match rng.below(3) {
                    0 => bad[at] ^ (1 << rng.below(8)),
                    1 => [0, 1, 0x7F, 0x80, 0xFF, b'0', b'9', b' ', b'\n'][rng.below(9)],
                    _ => rng.next_u32() as u8,
                };
            }
            if rng.below(8) == 0 {
                bad.truncate(rng.below(bad.len()));
            }
            let _ = format.recognises(&bad);
            let _ = format.peek(&mut Source::memory(&bad));
            match read(format, &bad) {
                Ok(splats) => drop(splats.settled().expect("readers end with it")),
                Err(error) => {
                    assert!(!error.what.is_empty());
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "no damage was noticed: the trial reaches nothing");
    }

    /// Every shorter file is refused, at the lengths around `at` and at all below 200.
    pub(crate) fn refuses_cuts(format: &dyn Format, bytes: &[u8], at: &[usize]) {
        let near = at.iter().flat_map(|at| at.saturating_sub(2)..at + 3);
        for length in near.chain(0..200).chain([bytes.len() - 1]).filter(|n| *n < bytes.len()) {
            assert!(read(format, &bytes[..length]).is_err(), "{length} of {} bytes were read", bytes.len());
        }
        assert!(read(format, bytes).is_ok(), "the negative control: whole, it is read");
    }

    #[test]
    fn parts_are_the_rows_in_order() {
        let mut splats = super::super::gaussians::tests::sample(10, 1);
        let whole = splats.clone();
        let mut rows = super::Rows::of(&mut splats);
        let head = rows.take(3);
        assert_eq!((head.first, head.len(), rows.first, rows.len()), (0, 3, 3, 7));
        let mut parts = rows.parts(4);
        assert_eq!(parts.iter().map(|p| (p.first, p.len())).collect::<Vec<_>>(), [(3, 4), (7, 3)]);
        assert_eq!(parts[1].rest(2), whole.rest(9));
        assert_eq!(parts[1].means[2], whole.means[9]);
    }
}
