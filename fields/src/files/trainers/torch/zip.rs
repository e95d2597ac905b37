//! Where the parts of a torch file lie: a zip (PKWARE APPNOTE) of plain, uncompressed members `NAME/data.pkl` (the
//! pickle), `NAME/data/KEY` (a storage each) and `NAME/byteorder`; torch writes it since version 1.6, always as zip64.

use std::collections::HashMap;

use ::zip::{CompressionMethod, ZipArchive};

use super::{MOST_PICKLE, Part};
use crate::error::{Error, Result};
use crate::files::splats::Source;

/// The end record, the locator of the zip64 one before it, and that itself: their marks and least lengths.
const END: (&[u8; 4], usize) = (b"PK\x05\x06", 22);
const LOCATOR: (&[u8; 4], usize) = (b"PK\x06\x07", 20);
const END64: (&[u8; 4], usize) = (b"PK\x06\x06", 56);
/// The least length of a member's entry in the directory.
const ENTRY: u64 = 46;
/// The longest comment at the end.
const MOST_COMMENT: u64 = u16::MAX as u64;

fn damaged(what: &str) -> Error {
    Error::new(format!("a zip file, but {what}")).remedy("the file is cut short or damaged: copy or download it again")
}

/// The pickle, and where each storage lies.
///
/// # Errors
/// When it is no such zip, is cut short, or its members are compressed.
pub(super) fn parts(source: &mut Source<'_>) -> Result<(Vec<u8>, HashMap<String, Part>)> {
    check_directory(source)?;
    let bytes = source.bytes();
    let mut archive = ZipArchive::new(source.reader()).map_err(|e| damaged(&e.to_string()))?;
    let pickles = archive.file_names().filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(name) = pickles.min_by_key(|name| (name.len(), (*name).to_string())).map(str::to_string) else {
        return Err(Error::new("a zip file that torch did not write").remedy("give a checkpoint, or unpack it first"));
    };
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    let mut found = HashMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(|e| damaged(&e.to_string()))?;
        let Some(inside) = member.name().strip_prefix(folder) else { continue };
        let key = inside.strip_prefix("data/").unwrap_or(inside);
        if key == inside && !["data.pkl", "byteorder"].contains(&key) {
            continue;
        }
        let part = Part { start: member.data_start(), bytes: member.size() };
        if member.compression() != CompressionMethod::Stored || member.size() != member.compressed_size() {
            return Err(Error::new("its parts are compressed, which torch does not do")
                .remedy("load it with Python and save it again with torch.save"));
        }
        if part.start.checked_add(part.bytes).is_none_or(|end| end > bytes) {
            return Err(damaged("a part reaches beyond its end"));
        }
        found.insert(inside.to_string(), part);
    }
    let mut all = |name: &str, most: u64| -> Result<Option<Vec<u8>>> {
        let Some(part) = found.get(name).copied() else { return Ok(None) };
        if part.bytes > most {
            let what = format!("its {name} has {} bytes", part.bytes);
            return Err(Error::new(what).remedy("save it without the optimiser's and the run's records"));
        }
        source.seek(part.start)?;
        source.exactly(part.bytes).map(Some)
    };
    if all("byteorder", 64)?.is_some_and(|order| order != b"little") {
        return Err(Error::new("a checkpoint of a big-endian machine").remedy("save it again on an ordinary one"));
    }
    let pickle = all("data.pkl", MOST_PICKLE)?.ok_or_else(|| damaged("its data.pkl is missing"))?;
    let storages = found.into_iter().filter_map(|(name, part)| Some((name.strip_prefix("data/")?.to_string(), part)));
    Ok((pickle, storages.collect()))
}

/// Compares what the end of the file says of the directory with the file's length. The library believes the number of
/// members and searches for a zip64 record byte by byte, so that a lie would take all memory or hours.
fn check_directory(source: &mut Source<'_>) -> Result<()> {
    let bytes = source.bytes();
    let start = bytes.saturating_sub(END.1 as u64 + MOST_COMMENT + (LOCATOR.1 + END64.1) as u64);
    source.seek(start)?;
    let tail = source.exactly(bytes - start)?;
    let number = |record: &[u8], at: usize, n: usize| -> u64 {
        record.get(at..at + n).unwrap_or_default().iter().rev().fold(0, |word, b| word << 8 | u64::from(*b))
    };
    let last = tail.windows(END.1).rposition(|w| w.starts_with(END.0)).ok_or_else(|| damaged("its end is missing"))?;
    let record = &tail[last..];
    if record.len() as u64 != END.1 as u64 + number(record, 20, 2) {
        return Err(damaged("something follows its end"));
    }
    let locator = last.checked_sub(LOCATOR.1).map(|at| &tail[at..last]).filter(|l| l.starts_with(LOCATOR.0));
    let (count, size, first, end) = if let Some(locator) = locator {
        let at = number(locator, 8, 8);
        let before = start + last as u64 - LOCATOR.1 as u64;
        if at.checked_add(END64.1 as u64).is_none_or(|end| end > before) {
            return Err(damaged("its zip64 record is missing"));
        }
        source.seek(at)?;
        let record = source.exactly(END64.1 as u64)?;
        if !record.starts_with(END64.0) {
            return Err(damaged("its zip64 record is missing"));
        }
        (number(&record, 32, 8), number(&record, 40, 8), number(&record, 48, 8), at)
    } else {
        (number(record, 10, 2), number(record, 12, 4), number(record, 16, 4), start + last as u64)
    };
    if first.checked_add(size) != Some(end) || count.checked_mul(ENTRY).is_none_or(|least| least > size) {
        return Err(damaged("its directory is not where it should be"));
    }
    Ok(())
}
