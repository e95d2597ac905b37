//! SPZ, the packed Gaussians of Niantic Spatial (github.com/nianticlabs/spz): versions 1 to 4 are read, 4 is written.
//!
//! Versions 1 to 3 are one gzip stream: `"NGSP"`, version, count (u32), degree, fraction bits, flags, 0 (u8), then the
//! blocks of [`packed`]. Version 4 begins with the same in the open, where the last byte is the number of streams, then
//! the offset of a table (u32) and 12 bytes of zero; the table holds the packed and the unpacked size (u64) of each
//! stream, and the streams, one zstd frame to a block, follow it. Flag 1 is antialiasing. Flag 2 announces records of
//! vendors before the table (after the blocks in older versions): they are skipped.
//!
//! The file's axes are +X right, +Y up, +Z back, as the format's text has it. Tools that leave the axes of `.ply` in it
//! are about; nothing in the file tells.

mod packed;

#[cfg(test)]
mod tests;

use std::io::Read;

use rayon::prelude::*;

use super::finite::finite;
use super::source::short;
use super::{About, Format, SH_MAX, Sink, Source, Splats};
use crate::error::{Error, Result};
use packed::{Blocks, Shape};

const MAGIC: &[u8; 4] = b"NGSP";
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ANTIALIAS: u8 = 1;
const RECORDS: u8 = 2;
/// The header of versions 1 to 3.
const SHORT: usize = 16;
/// The header of version 4.
const LONG: usize = 32;
/// How many bytes a byte of the file may unpack to. Trained Gaussians stay below 10; a million equal ones on a plane,
/// with harmonics that are all 0, come to 80. Each of these bytes becomes up to five in memory.
const RATIO: u64 = 128;
/// What any file may unpack to, however short it is, bytes.
const FLOOR: u64 = 16 << 20;
/// Measured on 500,000 trained Gaussians: files 6 % larger than by the reference's level 12, in a quarter of its time;
/// on those without harmonics as large.
const LEVEL: i32 = 6;

/// What the blocks are called in sentences.
const BLOCKS: [&str; 6] = ["positions", "alphas", "colours", "scales", "rotations", "harmonics"];

/// The format.
pub struct Spz;

impl Format for Spz {
    fn name(&self) -> &'static str {
        "spz"
    }

    fn label(&self) -> &'static str {
        "SPZ, packed Gaussians"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["spz"]
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let mut start = [0; 4];
        head.starts_with(MAGIC)
            || head.starts_with(&GZIP)
                && flate2::bufread::GzDecoder::new(head).read_exact(&mut start).is_ok()
                && start == *MAGIC
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let (shape, _) = opened(source)?;
        Ok(About {
            count: shape.count,
            sh_degree: shape.degree.min(SH_MAX),
            variant: format!("version {}", shape.version),
        })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let (shape, body) = opened(source)?;
        let blocks = match body {
            Body::Streams(table) => streams(source, &shape, table)?,
            Body::Gzip => in_a_row(&shape, flate2::read::GzDecoder::new(source.reader()))?,
            // Not in the format's text, but early tools wrote it.
            Body::Plain => in_a_row(&shape, source.reader())?,
        };
        packed::unpacked(&shape, &blocks).settled()
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        write_version(splats, 4, out)
    }
}

/// How the blocks are packed.
enum Body {
    /// In streams whose table is at this byte.
    Streams(u64),
    /// One after the other behind the header, all of it one gzip stream.
    Gzip,
    /// One after the other behind the header.
    Plain,
}

/// Reads the header, checks what it says against the length of the file, and goes back to the beginning.
fn opened(source: &mut Source<'_>) -> Result<(Shape, Body)> {
    let bytes = source.bytes();
    let head = source.head(LONG)?;
    if head.starts_with(&GZIP) {
        let mut head = [0; SHORT];
        flate2::read::GzDecoder::new(source.reader()).read_exact(&mut head).map_err(|e| unreadable(&e))?;
        source.seek(0)?;
        let shape = shape(&head, bytes)?;
        return if shape.version < 4 { Ok((shape, Body::Gzip)) } else { Err(damaged("version 4 within gzip")) };
    }
    let shape = shape(head.get(..SHORT).ok_or_else(short)?, bytes)?;
    if shape.version < 4 {
        return Ok((shape, Body::Plain));
    }
    let [first, rest] = head.as_chunks::<SHORT>().0 else { return Err(short()) };
    let (have, wanted) = (usize::from(first[SHORT - 1]), shape.widths().iter().filter(|width| **width > 0).count());
    if have != wanted {
        return Err(damaged(&format!("it has {have} streams, not {wanted}")));
    }
    let table = u64::from(u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]));
    if table < LONG as u64 || table + 16 * wanted as u64 > bytes {
        return Err(damaged(&format!("its table is at byte {table} of {bytes}")));
    }
    Ok((shape, Body::Streams(table)))
}

fn shape(head: &[u8], file_bytes: u64) -> Result<Shape> {
    if !head.starts_with(MAGIC) {
        return Err(Error::new("not an SPZ file").remedy("give a file that ends in .spz"));
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (version, count) = (number(4), number(8));
    if !(1..=4).contains(&version) {
        return Err(Error::new(format!("it is SPZ of version {version}; 1 to 4 are known")).remedy("update Retort"));
    }
    let (degree, fraction) = (u32::from(head[12]), u32::from(head[13]));
    if degree > 4 || fraction > 31 {
        return Err(damaged(&format!("harmonics of degree {degree}, positions with {fraction} fraction bits")));
    }
    let [antialias, records] = [ANTIALIAS, RECORDS].map(|flag| head[14] & flag != 0);
    let shape = Shape { version, count: count as usize, degree, fraction, antialias, records };
    if count == 0 {
        return Err(Error::new("it holds no Gaussians").remedy("export it again"));
    }
    if shape.bytes() > FLOOR.max(file_bytes.saturating_mul(RATIO)) {
        return Err(damaged(&format!("it says that it holds {count} Gaussians in {file_bytes} bytes")));
    }
    Ok(shape)
}

/// The blocks of version 4.
fn streams(source: &mut Source<'_>, shape: &Shape, table: u64) -> Result<Blocks> {
    let widths = shape.widths();
    source.seek(table)?;
    let mut sizes = [0_u64; 6];
    let mut end = table;
    for (k, width) in widths.into_iter().enumerate().filter(|(_, width)| *width > 0) {
        let mut entry = [0_u64; 2];
        source.fill(bytemuck::cast_slice_mut(&mut entry))?;
        let [part, whole] = entry.map(u64::from_le);
        if whole != (width * shape.count) as u64 {
            let what = format!("the stream of {} is of {whole} bytes for {} Gaussians", BLOCKS[k], shape.count);
            return Err(damaged(&what));
        }
        sizes[k] = part;
        end = end.checked_add(16).and_then(|end| end.checked_add(part)).ok_or_else(short)?;
    }
    if end > source.bytes() {
        return Err(short());
    }
    let mut parts: [Vec<u8>; 6] = Default::default();
    for (part, size) in parts.iter_mut().zip(sizes) {
        *part = source.exactly(size)?;
    }
    let whole: Vec<Vec<u8>> =
        parts.par_iter().zip(widths).map(|(part, width)| inflated(part, width * shape.count)).collect::<Result<_>>()?;
    whole.try_into().map_err(|_| short())
}

fn inflated(part: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let mut block = vec![0; bytes];
    if bytes > 0 {
        let mut decoder = zstd::bulk::Decompressor::new().map_err(|e| Error::new(e.to_string()))?;
        let got = decoder.decompress_to_buffer(part, &mut block[..]);
        let got = got.map_err(|_| damaged("a stream cannot be unpacked"))?;
        if got != bytes {
            return Err(damaged(&format!("a stream unpacks to {got} bytes, not {bytes}")));
        }
    }
    Ok(block)
}

/// The blocks of versions 1 to 3, from the beginning of the header.
fn in_a_row(shape: &Shape, mut stream: impl Read) -> Result<Blocks> {
    stream.read_exact(&mut [0; SHORT]).map_err(|e| unreadable(&e))?;
    let mut blocks: Blocks = Default::default();
    for (block, width) in blocks.iter_mut().zip(shape.widths()) {
        let bytes = (width * shape.count) as u64;
        // It grows with what is really there.
        stream.by_ref().take(bytes).read_to_end(block).map_err(|e| unreadable(&e))?;
        if block.len() as u64 != bytes {
            return Err(short());
        }
    }
    // The check sum comes last, and is looked at when the end is met.
    stream.read(&mut [0]).map_err(|e| unreadable(&e))?;
    Ok(blocks)
}

fn damaged(what: &str) -> Error {
    Error::new(format!("the file is damaged: {what}")).remedy("copy or download it again")
}

fn unreadable(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => short(),
        _ => damaged("it cannot be unpacked"),
    }
}

/// Writes version 2, 3 or 4.
fn write_version(splats: &Splats, version: u32, out: &mut dyn Sink) -> Result<()> {
    finite(splats)?;
    let (shape, blocks) = packed::packed(splats, version)?;
    let count = u32::try_from(shape.count).map_err(|_| Error::new("SPZ holds at most 4,294,967,295 Gaussians"))?;
    let written = |e: std::io::Error| Error::new(e.to_string());
    let streams = if version < 4 { 0 } else { blocks.iter().filter(|block| !block.is_empty()).count() };
    let mut head = [0; LONG];
    head[..4].copy_from_slice(MAGIC);
    head[4..8].copy_from_slice(&version.to_le_bytes());
    head[8..12].copy_from_slice(&count.to_le_bytes());
    let flags = if shape.antialias { ANTIALIAS } else { 0 };
    head[12..16].copy_from_slice(&[shape.degree as u8, shape.fraction as u8, flags, streams as u8]);
    if version < 4 {
        let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, &head[..SHORT]).map_err(written)?;
        blocks.iter().try_for_each(|block| std::io::Write::write_all(&mut gzip, block)).map_err(written)?;
        return gzip.finish().map(drop).map_err(written);
    }
    head[16..20].copy_from_slice(&(LONG as u32).to_le_bytes());
    let squeezed = |block: &Vec<u8>| zstd::bulk::compress(block, LEVEL).map(|part| (block.len(), part));
    let full = blocks.par_iter().filter(|block| !block.is_empty());
    let parts: Vec<(usize, Vec<u8>)> = full.map(squeezed).collect::<std::io::Result<_>>().map_err(written)?;
    out.write_all(&head).map_err(written)?;
    for (whole, part) in &parts {
        out.write_all(&(part.len() as u64).to_le_bytes()).map_err(written)?;
        out.write_all(&(*whole as u64).to_le_bytes()).map_err(written)?;
    }
    parts.iter().try_for_each(|(_, part)| out.write_all(part)).map_err(written)
}
