//! What the numbers of a film mean: the encoder leaves it out, and players then guess BT.601 for small films, which
//! makes greens too yellow. So a description (VUI, annex E of ITU-T H.264) is added at the end of the sequence's
//! parameters, where the encoder writes a single 0 for "none".

/// The type of a unit with the sequence's parameters.
const SEQUENCE: u8 = 7;
/// No aspect, no overscan; a signal of unspecified format, 16 to 235, with a description.
const SIGNAL: &str = "0 0 1 101 0 1";
/// Primaries of BT.709, the curve of sRGB, the matrix of BT.709.
const COLOURS: &str = "00000001 00001101 00000001";
/// Colours in the middle of their pixels (type 1 in both fields), and nothing else.
const REST: &str = "1 010 010 0 0 0 0 0";

/// The pictures' data with the description in its parameters, if it has any: three zeros and a one before each unit.
pub fn described(data: Vec<u8>) -> Vec<u8> {
    const START: [u8; 4] = [0, 0, 0, 1];
    if !data.starts_with(&START) || data.get(4).is_none_or(|head| head & 31 != SEQUENCE) {
        return data;
    }
    let end = data[4..].windows(3).position(|w| w == [0, 0, 1]).map_or(data.len(), |at| 4 + at);
    // The zero before the next start belongs to it.
    let end = if end < data.len() && data[end - 1] == 0 { end - 1 } else { end };
    let mut whole = START.to_vec();
    whole.extend(escaped(&with_description(&plain(&data[4..end]))));
    whole.extend_from_slice(&data[end..]);
    whole
}

/// The parameters with a description; those that have one already stay.
fn with_description(unit: &[u8]) -> Vec<u8> {
    let mut bits: Vec<bool> = unit.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1)).collect();
    // After the last value there is a one, then zeros.
    let Some(stop) = bits.iter().rposition(|bit| *bit) else { return unit.to_vec() };
    if stop == 0 || bits[stop - 1] {
        return unit.to_vec();
    }
    bits.truncate(stop - 1);
    bits.push(true);
    let text = [SIGNAL, COLOURS, REST, "1"].concat();
    bits.extend(text.chars().filter(|c| *c != ' ').map(|c| c == '1'));
    bits.chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |sum, (i, bit)| sum | u8::from(*bit) << (7 - i)))
        .collect()
}

/// Without the threes that keep two zeros and a small number apart.
fn plain(unit: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        let keeps_apart = byte == 3 && zeros >= 2;
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        if !keeps_apart {
            plain.push(byte);
        }
    }
    plain
}

/// With a three wherever two zeros and a small number would look like a start.
fn escaped(unit: &[u8]) -> Vec<u8> {
    let mut escaped: Vec<u8> = Vec::with_capacity(unit.len() + 2);
    for &byte in unit {
        if byte <= 3 && escaped.ends_with(&[0, 0]) {
            escaped.push(3);
        }
        escaped.push(byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_a_description_once() {
        // 1011 0, then a stop: the last value says "no description".
        let unit = with_description(&[0x67, 0b1011_0100]);
        assert_eq!(unit[..2], [0x67, 0b1011_1001], "1, and the signal begins 0 0 1");
        assert!(unit.last().is_some_and(|byte| byte.trailing_zeros() < 8));
        // What was read as "there is one" stays.
        assert_eq!(with_description(&[0x67, 0b1011_1100]), [0x67, 0b1011_1100]);
        let data = [0, 0, 0, 1, 0x67, 0b1011_0100, 0, 0, 0, 1, 0x68, 9];
        let whole = described(data.to_vec());
        assert!(whole.starts_with(&[0, 0, 0, 1, 0x67]) && whole.ends_with(&[0, 0, 0, 1, 0x68, 9]), "{whole:?}");
        assert!(whole.len() > data.len());
        // A picture alone has no parameters.
        assert_eq!(described(vec![0, 0, 0, 1, 0x41, 1, 2]), [0, 0, 0, 1, 0x41, 1, 2]);
        assert!(described(Vec::new()).is_empty());
    }

    #[test]
    fn zeros_are_kept_apart() {
        for bytes in [&[1, 0, 0, 3, 1, 2][..], &[0, 0, 0, 0, 0], &[0, 0, 3, 0, 0, 3], &[7]] {
            let there = escaped(bytes);
            assert_eq!(plain(&there), bytes, "{there:?}");
            assert!(there.windows(3).all(|w| w[..2] != [0, 0] || w[2] >= 3), "{there:?}");
        }
    }
}
