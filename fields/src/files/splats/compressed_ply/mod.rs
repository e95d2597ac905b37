//! The compressed `.ply` of `PlayCanvas` and SuperSplat: 16 bytes for each Gaussian, in ranges of 256 each.
//!
//! ```text
//! element chunk   min and max of x y z, scale_x scale_y scale_z (ln σ) and, in newer files, r g b: float
//! element vertex  packed_position  11 10 11 bits of x y z in their range
//!                 packed_rotation  2 10 10 10: which of w x y z is the largest, and (q/√2 + ½) of the other three
//!                 packed_scale     11 10 11 bits
//!                 packed_color     8 8 8 8: r g b in their range, then the opacity, of 0 to 1
//! element sh      f_rest_*: uchar v, ((v + ½)/256 − ½) · 8, with 0 and 255 as −4 and 4; may be missing
//! ```
//!
//! A first field is the highest bits. Values are `min (1 − t) + max t` with `t = bits / (2ⁿ − 1)`, so ordering them along a
//! Z curve before they are written makes ranges, and with them errors, small. ln σ is held within ±20, as in its makers'
//! own writer, so that one Gaussian of no size does not cost the 255 others their accuracy.

use rayon::prelude::*;

use super::finite::finite;
use super::gaussians::{Splats, rest_per_splat};
use super::morton;
use super::ply_header::{Column, Encoding, Header, Scalar};
use super::rows::{self, Rows, f32_at, read_records, sigmoid, u32_at, unorm, write_records};
use super::source::{Source, counted};
use super::{About, Format, Sink};
use crate::error::{Error, Result};

/// The format.
pub(super) struct CompressedPly;

/// Gaussians that share ranges.
const CHUNK: usize = 256;
/// The properties of a chunk, in the order of [`Ranges`]; the last six may be missing.
const CHUNK_NAMES: [&str; 18] = [
    "min_x",
    "min_y",
    "min_z",
    "max_x",
    "max_y",
    "max_z",
    "min_scale_x",
    "min_scale_y",
    "min_scale_z",
    "max_scale_x",
    "max_scale_y",
    "max_scale_z",
    "min_r",
    "min_g",
    "min_b",
    "max_r",
    "max_g",
    "max_b",
];
const VERTEX_NAMES: [&str; 4] = ["packed_position", "packed_rotation", "packed_scale", "packed_color"];
/// The largest whole numbers of 11, 10, 11 bits.
const MOST: [u32; 3] = [2047, 1023, 2047];

/// Harmonics of a Gaussian at most.
const MOST_REST: usize = 45;

/// Minima and maxima of centres, scales and colours.
type Ranges = [[[f32; 3]; 2]; 3];

impl Format for CompressedPly {
    fn name(&self) -> &'static str {
        "compressed-ply"
    }

    fn label(&self) -> &'static str {
        "compressed PLY (PlayCanvas, SuperSplat)"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["compressed.ply"]
    }

    fn recognises(&self, head: &[u8]) -> bool {
        within(head)
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let header = Header::read(source)?;
        let layout = Layout::of(&header, source)?;
        let variant = if layout.coloured { "chunks with colours" } else { "chunks without colours" };
        let sh_degree = layout.sh.as_ref().map_or(0, |sh| sh.degree);
        Ok(About { count: layout.count, sh_degree, variant: variant.to_string() })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let header = Header::read(source)?;
        decoded(&header, source)
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        finite(splats)?;
        if u32::try_from(splats.len()).is_err() {
            return Err(Error::new("there are more than 4 294 967 295 Gaussians").remedy("choose .ply"));
        }
        let order = morton::order(&splats.means);
        let mut words = vec![[0; 4]; splats.len()];
        let chunks = words.par_chunks_mut(CHUNK).zip(order.par_chunks(CHUNK));
        let chunks: Vec<Ranges> = chunks.map(|(words, rows)| pack(splats, rows, words)).collect();
        rows::write(out, heading(splats, chunks.len()).as_bytes())?;
        let ranges = chunks.iter().flat_map(|chunk| chunk.as_flattened().as_flattened());
        rows::write(out, &ranges.flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        write_records(out, splats.len(), 16, |first, bytes| {
            let words = words[first..].as_flattened();
            bytes.chunks_exact_mut(4).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        })?;
        drop(words);
        let width = rest_per_splat(splats.sh_degree);
        if width == 0 {
            return Ok(());
        }
        // All of red first.
        let places: Vec<usize> = (0..3).flat_map(|channel| (channel..width).step_by(3)).collect();
        write_records(out, splats.len(), width, |first, bytes| {
            for (row, record) in order[first..].iter().zip(bytes.chunks_exact_mut(width)) {
                let mut bytes = [0; MOST_REST];
                let values = splats.rest(*row as usize).iter();
                bytes.iter_mut().zip(values).for_each(|(to, value)| *to = harmonic_to(*value));
                record.iter_mut().zip(&places).for_each(|(to, place)| *to = bytes[*place]);
            }
        })
    }
}

/// Whether a header in `head` is of this format.
pub(super) fn within(head: &[u8]) -> bool {
    let has = |words: &[u8]| head.windows(words.len()).any(|w| w == words);
    head.starts_with(b"ply") && has(b"element chunk ") && has(b" packed_position")
}

/// Whether a header is of this format.
pub(super) fn packed(header: &Header) -> bool {
    let vertex = header.element("vertex");
    header.element("chunk").is_some() && vertex.is_some_and(|(_, vertex)| vertex.column(VERTEX_NAMES[0]).is_some())
}

/// The Gaussians of a file with `header`.
///
/// # Errors
/// When it is cut short, damaged, or holds values that are not finite.
pub(super) fn decoded(header: &Header, source: &mut Source<'_>) -> Result<Splats> {
    let layout = Layout::of(header, source)?;
    let chunks = layout.chunks(header, source)?;
    let degree = layout.sh.as_ref().map_or(0, |sh| sh.degree);
    let mut splats = Splats::zeros(layout.count, degree);
    header.seek(source, layout.vertex)?;
    read_records(source, layout.stride, Rows::of(&mut splats), |bytes, rows| {
        for (i, record) in bytes.chunks_exact(layout.stride).enumerate() {
            let words = layout.packed.map(|column| u32_at(record, column.at));
            unpack(words, &chunks[(rows.first + i) / CHUNK], rows, i);
        }
        Ok(())
    })?;
    if let Some(sh) = &layout.sh {
        let values: [f32; 256] = std::array::from_fn(|v| harmonic_from(v as u8));
        header.seek(source, sh.element)?;
        read_records(source, sh.stride, Rows::of(&mut splats), |bytes, rows| {
            for (i, record) in bytes.chunks_exact(sh.stride).enumerate() {
                let columns = rows.rest(i).iter_mut().zip(&sh.columns);
                columns.for_each(|(to, column)| *to = values[usize::from(record[column.at])]);
            }
            Ok(())
        })?;
        if sh.stored > degree {
            splats.notes.push(format!("harmonics of degree {} were read to degree {degree}", sh.stored));
        }
    }
    splats.antialias = header.antialias().unwrap_or(false);
    splats.settled()
}

/// Where everything is.
struct Layout {
    count: usize,
    /// Which element, of what length, with what in it.
    chunk: usize,
    chunk_stride: usize,
    chunk_columns: Vec<Column>,
    coloured: bool,
    vertex: usize,
    stride: usize,
    packed: [Column; 4],
    sh: Option<Sh>,
}

/// Where harmonics are.
struct Sh {
    element: usize,
    stride: usize,
    columns: Vec<Column>,
    degree: u32,
    stored: u32,
}

impl Layout {
    fn of(header: &Header, source: &mut Source<'_>) -> Result<Self> {
        let wrong = |what: &str| Error::new(what).remedy("export it again as a compressed .ply");
        if header.encoding != Encoding::Little {
            return Err(wrong("a compressed .ply is binary little endian, and this one is not"));
        }
        let [Some((chunk, chunks)), Some((vertex, vertices))] = ["chunk", "vertex"].map(|name| header.element(name))
        else {
            return Err(wrong("it has no elements \"chunk\" and \"vertex\""));
        };
        let lists = || wrong("it has lists as properties");
        let (chunk_stride, stride) = (chunks.stride().ok_or_else(lists)?, vertices.stride().ok_or_else(lists)?);
        let coloured = chunks.column(CHUNK_NAMES[12]).is_some();
        let names = &CHUNK_NAMES[..if coloured { 18 } else { 12 }];
        let typed = |column: Column, scalar: Scalar| {
            if column.scalar == scalar { Ok(column) } else { Err(wrong("a property is not of the type that it has")) }
        };
        let chunk_columns = names.iter().map(|name| typed(chunks.needed(name)?, Scalar::F32)).collect::<Result<_>>()?;
        let [p, r, s, c] = VERTEX_NAMES.map(|name| typed(vertices.needed(name)?, Scalar::U32));
        let packed = [p?, r?, s?, c?];
        let at = header.seek(source, vertex)?;
        let count = counted(vertices.rows, stride as u64, source.bytes() - at)?;
        if chunks.rows < (count as u64).div_ceil(CHUNK as u64) {
            return Err(wrong(&format!("it has {} chunks, too few for {count} Gaussians", chunks.rows)));
        }
        let sh = match header.element("sh") {
            None => None,
            Some((element, sh)) => {
                let harmonics = sh.harmonics()?;
                let columns = harmonics.columns.into_iter().map(|column| typed(column, Scalar::U8));
                let columns: Vec<Column> = columns.collect::<Result<_>>()?;
                let stride = sh.stride().ok_or_else(lists)?;
                let at = header.seek(source, element)?;
                if sh.rows != count as u64 {
                    return Err(wrong(&format!("it has harmonics for {} Gaussians, not {count}", sh.rows)));
                }
                let (degree, stored) = (harmonics.degree, harmonics.stored);
                counted(sh.rows, stride as u64, source.bytes() - at)?;
                (degree > 0).then_some(Sh { element, stride, columns, degree, stored })
            }
        };
        Ok(Self { count, chunk, chunk_stride, chunk_columns, coloured, vertex, stride, packed, sh })
    }

    /// The ranges of all chunks that are needed.
    fn chunks(&self, header: &Header, source: &mut Source<'_>) -> Result<Vec<Ranges>> {
        header.seek(source, self.chunk)?;
        let bytes = source.exactly(self.count.div_ceil(CHUNK) as u64 * self.chunk_stride as u64)?;
        let ranges = |record: &[u8]| -> Ranges {
            let mut values = [0.0; 18];
            values[15..].fill(1.0);
            values.iter_mut().zip(&self.chunk_columns).for_each(|(to, column)| *to = f32_at(record, column.at));
            std::array::from_fn(|what| {
                std::array::from_fn(|end| std::array::from_fn(|axis| values[6 * what + 3 * end + axis]))
            })
        };
        Ok(bytes.chunks_exact(self.chunk_stride).map(ranges).collect())
    }
}

/// The header of a file of `splats`.
fn heading(splats: &Splats, chunks: usize) -> String {
    let mode = if splats.antialias { "mip" } else { "default" };
    let mut text =
        format!("ply\nformat binary_little_endian 1.0\ncomment SplatRenderMode: {mode}\nelement chunk {chunks}\n");
    CHUNK_NAMES.iter().for_each(|name| text.push_str(&format!("property float {name}\n")));
    text.push_str(&format!("element vertex {}\n", splats.len()));
    VERTEX_NAMES.iter().for_each(|name| text.push_str(&format!("property uint {name}\n")));
    if splats.sh_degree > 0 {
        text.push_str(&format!("element sh {}\n", splats.len()));
        (0..rest_per_splat(splats.sh_degree)).for_each(|i| text.push_str(&format!("property uchar f_rest_{i}\n")));
    }
    text.push_str("end_header\n");
    text
}

/// What of Gaussian `i` lies in ranges: its centre, ln of its scales, its colour.
fn ranged(splats: &Splats, i: usize) -> [[f32; 3]; 3] {
    let scales = splats.log_scales[i].map(|s| s.clamp(-20.0, 20.0));
    [splats.means[i], scales, splats.sh_dc[i].map(rows::colour_from_dc)]
}

/// The ranges of at most [`CHUNK`] Gaussians, and the four words of each.
fn pack(splats: &Splats, rows: &[u32], words: &mut [[u32; 4]]) -> Ranges {
    let mut all = [[[0.0; 3]; 3]; CHUNK];
    let mut ranges = [[[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]]; 3];
    for (values, row) in all.iter_mut().zip(rows) {
        *values = ranged(splats, *row as usize);
        for ([min, max], values) in ranges.iter_mut().zip(values) {
            *min = std::array::from_fn(|axis| min[axis].min(values[axis]));
            *max = std::array::from_fn(|axis| max[axis].max(values[axis]));
        }
    }
    // In `f64`, where no range is too wide or too narrow.
    let steps = ranges.map(|[min, max]| -> [f64; 3] {
        std::array::from_fn(|axis| match f64::from(max[axis]) - f64::from(min[axis]) {
            0.0 => 0.0,
            side => 1.0 / side,
        })
    });
    for ((words, values), row) in words.iter_mut().zip(&all).zip(rows) {
        let within = |what: usize, axis: usize, most: u32| {
            let above = f64::from(values[what][axis]) - f64::from(ranges[what][0][axis]);
            unorm((above * steps[what][axis]) as f32, most)
        };
        let eleven_ten_eleven =
            |what: usize| within(what, 0, MOST[0]) << 21 | within(what, 1, MOST[1]) << 11 | within(what, 2, MOST[2]);
        let [red, green, blue] = [0, 1, 2].map(|channel| within(2, channel, 255));
        let opacity = unorm(sigmoid(splats.raw_opacity[*row as usize]), 255);
        let colour = red << 24 | green << 16 | blue << 8 | opacity;
        let rotation = pack_rotation(splats.rotations[*row as usize]);
        *words = [eleven_ten_eleven(0), rotation, eleven_ten_eleven(1), colour];
    }
    ranges
}

fn pack_rotation(q: [f32; 4]) -> u32 {
    let largest = (1..4).fold(0, |best, k| if q[k].abs() > q[best].abs() { k } else { best });
    let half = std::f32::consts::FRAC_1_SQRT_2.copysign(q[largest]);
    (0..4).filter(|k| *k != largest).fold(largest as u32, |word, k| word << 10 | unorm(q[k] * half + 0.5, 1023))
}

fn unpack_rotation(word: u32) -> [f32; 4] {
    let part = |shift: u32| ((word >> shift & 1023) as f32 / 1023.0 - 0.5) * std::f32::consts::SQRT_2;
    let [a, b, c] = [20, 10, 0].map(part);
    let largest = (1.0 - (a * a + b * b + c * c)).max(0.0).sqrt();
    match word >> 30 {
        0 => [largest, a, b, c],
        1 => [a, largest, b, c],
        2 => [a, b, largest, c],
        _ => [a, b, c, largest],
    }
}

/// Fills row `i` from the four words of a Gaussian.
fn unpack([position, rotation, scale, colour]: [u32; 4], ranges: &Ranges, rows: &mut Rows<'_>, i: usize) {
    let between = |what: usize, axis: usize, t: f32| {
        let [min, max] = ranges[what].map(|end| end[axis]);
        min * (1.0 - t) + max * t
    };
    let eleven_ten_eleven = |what: usize, word: u32| {
        let bits = [word >> 21, word >> 11 & 1023, word & 2047];
        std::array::from_fn(|axis| between(what, axis, bits[axis] as f32 / MOST[axis] as f32))
    };
    rows.means[i] = eleven_ten_eleven(0, position);
    rows.log_scales[i] = eleven_ten_eleven(1, scale);
    rows.rotations[i] = unpack_rotation(rotation);
    let [red, green, blue, opacity] = colour.to_be_bytes().map(|byte| f32::from(byte) / 255.0);
    let colour = [red, green, blue];
    rows.sh_dc[i] = std::array::from_fn(|channel| rows::dc_from_colour(between(2, channel, colour[channel])));
    rows.raw_opacity[i] = rows::logit(opacity);
}

fn harmonic_from(byte: u8) -> f32 {
    match byte {
        0 => -4.0,
        255 => 4.0,
        _ => ((f32::from(byte) + 0.5) / 256.0 - 0.5) * 8.0,
    }
}

/// The byte whose value is nearest, for many at a time: without branches and without casts that saturate, which take
/// several instructions each.
#[inline(always)]
fn harmonic_to(value: f32) -> u8 {
    // The outermost two stand for their outer ends, so their inner halves are nearer to the next ones.
    const HALF: f32 = 4.0 - 3.0 / 128.0;
    // Adding 2²³ rounds to a whole number and leaves it in the lowest bits.
    let inner = ((value * 32.0 + 127.5).clamp(1.0, 254.0) + 8_388_608.0).to_bits() as u8;
    let above = if value > -HALF { inner } else { 0 };
    if value < HALF { above } else { 255 }
}

#[cfg(test)]
mod tests;
