//! What tells one teacher from another.

use retort_fields::compose::Subject;
use retort_fields::field::values;

/// A number in hexadecimal: FNV-1a (Fowler, Noll, Vo 1991) over the words of all values, and over the transforms and
/// edits of a scene's objects.
pub fn fingerprint(teacher: &Subject) -> String {
    const START: u64 = 0xCBF2_9CE4_8422_2325;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x100_0000_01B3);
    let values = teacher.params().into_iter().map(|p| values(p.tensor.clone()));
    let mut hash = values.fold(START, |h, v| v.iter().fold(h, |h, v| mix(h, u64::from(v.to_bits()))));
    if let Subject::Composition(whole) = teacher {
        for (object, place) in whole.objects().zip(whole.places()) {
            let said = format!("{place:?} {:?}", object.edits);
            hash = said.bytes().fold(hash, |h, byte| mix(h, u64::from(byte)));
        }
    }
    format!("{hash:016x}")
}
