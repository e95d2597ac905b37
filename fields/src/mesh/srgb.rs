//! The sRGB transfer curve (IEC 61966-2-1): textures and our colours are encoded by it, glTF's vertex colours are linear.

use std::sync::LazyLock;

/// The encoded value of a linear one; both in `[0, 1]`, what lies outside is held there.
pub fn encode(linear: f32) -> f32 {
    let c = linear.clamp(0.0, 1.0);
    if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * (c.powf(1.0 / 2.4) - 1.0) + 1.0 }
}

/// The linear value of an encoded one; both in `[0, 1]`, what lies outside is held there.
pub fn decode(encoded: f32) -> f32 {
    let c = encoded.clamp(0.0, 1.0);
    if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

/// The linear values of all bytes.
pub fn decoded_bytes() -> &'static [f32; 256] {
    static VALUES: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|b| decode(b as f32 / 255.0)));
    &VALUES
}

/// The byte of a value in `[0, 1]`, the curve left alone.
pub fn byte(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_and_its_inverse_agree_and_pass_known_points() {
        for k in 0..=255_u8 {
            assert_eq!(byte(encode(decoded_bytes()[usize::from(k)])), k);
        }
        // Middle grey: 0.5 encoded is 0.2140 linear.
        assert!((decode(0.5) - 0.214_041).abs() < 1e-5 && (encode(0.214_041) - 0.5).abs() < 1e-5);
        assert_eq!([encode(-1.0), encode(2.0), decode(-1.0), decode(2.0)], [0.0, 1.0, 0.0, 1.0]);
    }
}
