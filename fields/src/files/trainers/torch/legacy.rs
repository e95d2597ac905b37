//! Where the parts of a file lie that torch wrote before version 1.6, or writes when asked to: five pickles after each
//! other (a magic number, the version 1001, the machine, the values, the keys of the storages), then for every key in
//! that order the number of its values, `u64`, and the values.

use std::collections::HashMap;

use super::value::{Id, Tree, shown};
use super::{MOST_PICKLE, Part, pickle};
use crate::error::{Error, Result};
use crate::files::splats::Source;

/// The first two pickles: 0x1950a86a20f9469cfc6c and 1001.
pub(super) const MAGIC: &[u8; 21] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

/// The values, and where each storage lies.
///
/// # Errors
/// When it is no such file, is cut short or damaged, or asks for what is not on the list.
pub(super) fn parts(source: &mut Source<'_>) -> Result<(Tree, Id, HashMap<String, Part>)> {
    let bytes = source.bytes();
    source.seek(0)?;
    let head = source.exactly(bytes.min(MOST_PICKLE))?;
    let mut at = MAGIC.len();
    let mut next = || -> Result<(Tree, Id)> {
        let (tree, root, length) = pickle::read(head.get(at..).unwrap_or_default())?;
        at += length;
        Ok((tree, root))
    };
    next()?;
    let (tree, root) = next()?;
    let (keys, order) = next()?;
    let damaged = |what: String| Error::new(what).remedy("the file is cut short or damaged: copy or download it again");
    let sizes: HashMap<&str, usize> = tree.storages.iter().map(|s| (s.key.as_str(), s.dtype.size())).collect();
    let mut start = at as u64;
    let mut found = HashMap::new();
    for key in keys.items(order).ok_or_else(|| damaged("the keys of its storages are missing".into()))? {
        let key = keys.str(*key).ok_or_else(|| damaged("a key of its storages is no text".into()))?;
        let missing = || damaged(format!("its storage {} is not whole", shown(key)));
        source.seek(start)?;
        let mut count = [0; 8];
        source.fill(&mut count).map_err(|_| missing())?;
        let size = *sizes.get(key).ok_or_else(missing)? as u64;
        let part = Part { start: start + 8, bytes: u64::from_le_bytes(count).saturating_mul(size) };
        start = part.start.saturating_add(part.bytes);
        if start > bytes {
            return Err(missing());
        }
        found.insert(key.to_string(), part);
    }
    Ok((tree, root, found))
}
