//! The `.ksplat` of `GaussianSplats3D` (mkkellogg), which is read, not written.
//!
//! ```text
//! 0     header, 4096 bytes: u8 major (0), u8 minor (≥ 1), u32 sections at 4, u32 Gaussians at 16, u16 level at 20,
//!       f32 least and greatest harmonic at 36 and 40 (0: ∓1.5)
//! 4096  a header of 1024 bytes for each section: u32 Gaussians, u32 places for them, u32 places in a bucket, u32 buckets,
//!       f32 side of a bucket, u16 bytes of a bucket at 20, u32 range at 24 (0: 32767), u32 full buckets at 32,
//!       u32 others at 36, u16 degree at 40
//! then  for each section: u32 lengths of its buckets that are not full, f32 centres of its buckets, its Gaussians
//! ```
//!
//! | level | centre | σ, linear | w x y z | r g b a | harmonics |
//! |---|---|---|---|---|---|
//! | 0 | f32 | f32 | f32 | u8 | f32 |
//! | 1 | u16 in its bucket | f16 | f16 | u8 | f16 |
//! | 2 | u16 in its bucket | f16 | f16 | u8 | u8 between least and greatest |
//!
//! A place in a bucket is `(v − range) · side / (2 range) + centre`. The Gaussians of full buckets come first. Harmonics
//! come band by band, each with all of red before green before blue.
//!
//! Reading takes at most seven times the file's size in memory.

use half::f16;

use super::gaussians::{SH_MAX, Splats, rest_per_splat};
use super::rows::{self, Rows, bytes_at, f32_at, read_records, u32_at};
use super::source::{Source, counted, short};
use super::{About, Format};
use crate::error::{Error, Result};

/// The format.
pub(super) struct Ksplat;

const HEADER: usize = 4096;
const SECTION: usize = 1024;
/// Bytes of the header that mean something.
const USED: usize = 44;
/// Bytes of a bucket: its centre.
const BUCKET: usize = 12;

impl Format for Ksplat {
    fn name(&self) -> &'static str {
        "ksplat"
    }

    fn label(&self) -> &'static str {
        "GaussianSplats3D (mkkellogg)"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["ksplat"]
    }

    /// It has no mark, but a header that is nearly all zeros.
    fn recognises(&self, head: &[u8]) -> bool {
        let Some(head) = head.first_chunk::<HEADER>() else { return false };
        let [sections, count] = [4, 16].map(|at| u32_at(head, at));
        head[0] == 0
            && head[1] >= 1
            && head[2..4] == [0, 0]
            && u16_at(head, 20) <= 2
            && sections > 0
            && count > 0
            && head[USED..].iter().all(|byte| *byte == 0)
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let file = Contents::of(source)?;
        let variant = format!("version 0.{}, level {}", file.minor, file.level.number);
        Ok(About { count: file.count, sh_degree: file.degree, variant })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let file = Contents::of(source)?;
        let mut splats = Splats::zeros(file.count, file.degree);
        let mut rows = Rows::of(&mut splats);
        for section in &file.sections {
            let first = rows.first;
            let some = rows.take(section.count);
            let places = Places::read(source, section, file.level)?;
            source.seek(section.data)?;
            let stride = file.level.stride(section.degree);
            read_records(source, stride, some, |bytes, rows| {
                for (i, record) in bytes.chunks_exact(stride).enumerate() {
                    let centre = places.centre(rows.first + i - first)?;
                    file.level.place(record, section, file.harmonics, centre, rows, i);
                }
                Ok(())
            })?;
        }
        splats.settled()
    }

    fn writes(&self) -> bool {
        false
    }
}

fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(record, at))
}

fn f16_at(record: &[u8], at: usize) -> f32 {
    f16::from_le_bytes(bytes_at(record, at)).to_f32()
}

fn damaged(what: impl Into<String>) -> Error {
    Error::new(what).remedy("the file is damaged: copy, download or export it again")
}

/// How numbers are written.
#[derive(Clone, Copy)]
struct Level {
    number: u16,
    /// Bytes of a number of a centre, of a size and a rotation, of a harmonic.
    bytes: [usize; 3],
}

/// A run of Gaussians.
struct Section {
    count: usize,
    degree: u32,
    /// Places in a full bucket, buckets, full ones, others.
    buckets: [u32; 4],
    side: f32,
    range: u32,
    /// Where its buckets and its Gaussians begin.
    at: u64,
    data: u64,
}

/// What a file holds.
struct Contents {
    minor: u8,
    level: Level,
    /// The least and the greatest harmonic of level 2.
    harmonics: [f32; 2],
    count: usize,
    degree: u32,
    sections: Vec<Section>,
}

impl Contents {
    fn of(source: &mut Source<'_>) -> Result<Self> {
        let head = source.head(HEADER)?;
        let head: &[u8; HEADER] = head.first_chunk().ok_or_else(short)?;
        let [major, minor] = [head[0], head[1]];
        if major != 0 || minor == 0 {
            return Err(Error::new(format!("it is a .ksplat of version {major}.{minor}, and 0.1 and later are known"))
                .remedy("export it again with a newer GaussianSplats3D"));
        }
        let number = u16_at(head, 20);
        let bytes = match number {
            0 => [4, 4, 4],
            1 => [2, 2, 2],
            2 => [2, 2, 1],
            _ => return Err(damaged(format!("its compression level is {number}, not 0, 1 or 2"))),
        };
        let level = Level { number, bytes };
        let most = u64::from(u32_at(head, 4));
        let table = most * SECTION as u64;
        if HEADER as u64 + table > source.bytes() {
            return Err(short());
        }
        source.seek(HEADER as u64)?;
        let table = source.exactly(table)?;
        let mut end = (HEADER + table.len()) as u64;
        let mut sections = Vec::new();
        for header in table.chunks_exact(SECTION) {
            let section = Section::of(header, level, end, source.bytes())?;
            let places = u64::from(u32_at(header, 4)) * level.stride(section.degree) as u64;
            end = section.data.saturating_add(places);
            if section.count > 0 {
                sections.push(section);
            }
        }
        let count: u64 = sections.iter().map(|section| section.count as u64).sum();
        if count != u64::from(u32_at(head, 16)) {
            return Err(damaged(format!("it says that it holds {} Gaussians, and has {count}", u32_at(head, 16))));
        }
        let harmonics = [(36, -1.5), (40, 1.5)].map(|(at, usual)| {
            let value = f32_at(head, at);
            if value == 0.0 || value.is_nan() { usual } else { value }
        });
        let degree = sections.iter().map(|section| section.degree).max().unwrap_or(0);
        Ok(Self { minor, level, harmonics, count: counted(count, 24, source.bytes())?, degree, sections })
    }
}

impl Section {
    /// The section with `header` that begins at `at` in a file of `bytes`.
    fn of(header: &[u8], level: Level, at: u64, bytes: u64) -> Result<Self> {
        let [count, places, size, buckets] = [0, 4, 8, 12].map(|at| u32_at(header, at));
        let [full, others] = [32, 36].map(|at| u32_at(header, at));
        let degree = u32::from(u16_at(header, 40));
        if degree > SH_MAX {
            return Err(damaged(format!("its harmonics are of degree {degree}, not 0 to {SH_MAX}")));
        }
        if count > places {
            return Err(damaged(format!("a section has {count} Gaussians in {places} places")));
        }
        let each = u64::from(u16_at(header, 20));
        if level.number > 0 && buckets > 0 && each != BUCKET as u64 {
            return Err(damaged(format!("its buckets take {each} bytes, not {BUCKET}")));
        }
        // No product of 32 bits and a record's length overflows 64; sums of many empty sections may.
        let data = at.saturating_add(4 * u64::from(others) + each * u64::from(buckets));
        if count > 0 && data.saturating_add(u64::from(count) * level.stride(degree) as u64) > bytes {
            return Err(short());
        }
        let range = match u32_at(header, 24) {
            0 => 32767,
            range => range,
        };
        let side = f32_at(header, 16);
        Ok(Self { count: count as usize, degree, buckets: [size, buckets, full, others], side, range, at, data })
    }
}

/// Where the buckets of a section are.
struct Places {
    /// Gaussians in full buckets, and in each of them.
    full: [u64; 2],
    /// How many of the others are in a bucket that is not full or in one before it.
    ends: Vec<u64>,
    centres: Vec<[f32; 3]>,
    /// Whether places are in buckets at all.
    used: bool,
}

impl Places {
    fn read(source: &mut Source<'_>, section: &Section, level: Level) -> Result<Self> {
        let mut places = Self { full: [0; 2], ends: Vec::new(), centres: Vec::new(), used: level.number > 0 };
        if places.used {
            let [size, buckets, full, others] = section.buckets;
            source.seek(section.at)?;
            let lengths = source.exactly(4 * u64::from(others))?;
            let ends = lengths.chunks_exact(4).scan(0, |end, length| {
                *end += u64::from(u32_at(length, 0));
                Some(*end)
            });
            places.ends = ends.collect();
            let centres = source.exactly(BUCKET as u64 * u64::from(buckets))?;
            places.centres = centres.chunks_exact(BUCKET).map(|c| [0, 4, 8].map(|at| f32_at(c, at))).collect();
            places.full = [u64::from(full) * u64::from(size), u64::from(size)];
        }
        Ok(places)
    }

    /// The centre of the bucket of Gaussian `i` of the section.
    fn centre(&self, i: usize) -> Result<[f32; 3]> {
        if !self.used {
            return Ok([0.0; 3]);
        }
        let i = i as u64;
        let [full, size] = self.full;
        let bucket = match i.checked_sub(full) {
            // There are some in full ones, so their size is not 0.
            None => Some(i / size),
            Some(i) => {
                let other = self.ends.partition_point(|end| *end <= i);
                // `full` is a multiple of the size, and 0 where that is.
                (other < self.ends.len()).then(|| full.checked_div(size).unwrap_or(0) + other as u64)
            }
        };
        let centre = bucket.and_then(|bucket| self.centres.get(bucket as usize)).copied();
        centre.ok_or_else(|| damaged(format!("Gaussian {i} is in none of its {} buckets", self.centres.len())))
    }
}

impl Level {
    /// Bytes of a Gaussian.
    fn stride(self, degree: u32) -> usize {
        let [centre, shape, harmonic] = self.bytes;
        3 * centre + 7 * shape + 4 + rest_per_splat(degree) * harmonic
    }

    /// Number `k` of several at `at` that are as scales and rotations are.
    fn number(self, record: &[u8], at: usize, k: usize) -> f32 {
        if self.number == 0 { f32_at(record, at + 4 * k) } else { f16_at(record, at + 2 * k) }
    }

    /// Fills row `i`.
    fn place(
        self,
        record: &[u8],
        section: &Section,
        [least, greatest]: [f32; 2],
        centre: [f32; 3],
        rows: &mut Rows<'_>,
        i: usize,
    ) {
        let [each, shape, _] = self.bytes;
        let step = f64::from(section.side) / 2.0 / f64::from(section.range);
        rows.means[i] = std::array::from_fn(|axis| {
            if self.number == 0 {
                return f32_at(record, 4 * axis);
            }
            let steps = f64::from(u16_at(record, 2 * axis)) - f64::from(section.range);
            (steps * step + f64::from(centre[axis])) as f32
        });
        let (scales, rotation, colour) = (3 * each, 3 * (each + shape), 3 * each + 7 * shape);
        // A size's sign does not matter to a covariance.
        rows.log_scales[i] = [0, 1, 2].map(|k| self.number(record, scales, k).abs().ln());
        rows.rotations[i] = [0, 1, 2, 3].map(|k| self.number(record, rotation, k));
        let [red, green, blue, opacity] = bytes_at(record, colour).map(|byte| f32::from(byte) / 255.0);
        rows.sh_dc[i] = [red, green, blue].map(rows::dc_from_colour);
        rows.raw_opacity[i] = rows::logit(opacity);
        let at = colour + 4;
        let rest = rows.rest(i);
        for band in 1..=section.degree as usize {
            let (before, wide) = (band * band - 1, 2 * band + 1);
            for k in 0..3 * wide {
                rest[3 * (before + k % wide) + k / wide] = match self.number {
                    2 => least + f32::from(record[at + 3 * before + k]) / 255.0 * (greatest - least),
                    _ => self.number(record, at, 3 * before + k),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
