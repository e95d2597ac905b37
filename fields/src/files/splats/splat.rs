//! The `.splat` of antimatter15's viewer: 32 bytes for each Gaussian, and nothing else.
//!
//! ```text
//! x y z: f32   σ₀ σ₁ σ₂: f32, linear   r g b a: u8, of 0 to 1   w x y z: u8, q = (v − 128) / 128
//! ```
//!
//! The colour is that of the constant harmonic, held within 0 to 1; the others are not kept. Some readers take `2v/255 − 1`
//! for a rotation, which is the same within half a step. Viewers draw what is there while a file loads, and most writers
//! put the most visible Gaussians first; here they keep their order.

use super::finite::finite;
use super::gaussians::Splats;
use super::rows::{self, Rows, f32_at, read_records, unorm, write_records};
use super::source::{Source, counted};
use super::{About, Format, Sink};
use crate::error::{Error, Result};

/// The format.
pub(super) struct Splat;

/// Bytes of a Gaussian.
const BYTES: usize = 32;

impl Format for Splat {
    fn name(&self) -> &'static str {
        "splat"
    }

    fn label(&self) -> &'static str {
        "32 bytes a Gaussian (antimatter15)"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["splat"]
    }

    /// There is nothing to know it by but sense: whole records of places, sizes and nearly unit quaternions. The formats
    /// that have a mark are asked first.
    fn recognises(&self, head: &[u8]) -> bool {
        let whole = head.len() >= 4096 || head.len().is_multiple_of(BYTES);
        let records = head.len() / BYTES;
        // One in sixteen may be a Gaussian that its trainer gave up.
        let odd = head.chunks_exact(BYTES).filter(|record| !sensible(record)).count();
        // Filling is no Gaussian, whatever it says.
        let varied = head.windows(2).any(|two| two[0] != two[1]);
        whole && varied && odd <= records / 16
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        Ok(About { count: count(source)?, sh_degree: 0, variant: "32 bytes a Gaussian".to_string() })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let mut splats = Splats::zeros(count(source)?, 0);
        source.seek(0)?;
        read_records(source, BYTES, Rows::of(&mut splats), |bytes, rows| {
            for (i, record) in bytes.chunks_exact(BYTES).enumerate() {
                rows.means[i] = [0, 4, 8].map(|at| f32_at(record, at));
                // A size's sign does not matter to a covariance.
                rows.log_scales[i] = [12, 16, 20].map(|at| f32_at(record, at).abs().ln());
                let [red, green, blue, opacity] = rows::bytes_at(record, 24).map(|byte| f32::from(byte) / 255.0);
                rows.sh_dc[i] = [red, green, blue].map(rows::dc_from_colour);
                rows.raw_opacity[i] = rows::logit(opacity);
                rows.rotations[i] = rotation(record);
            }
            Ok(())
        })?;
        splats.settled()
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        finite(splats)?;
        write_records(out, splats.len(), BYTES, |first, bytes| {
            for (i, record) in (first..).zip(bytes.chunks_exact_mut(BYTES)) {
                let floats = splats.means[i].into_iter().chain(splats.log_scales[i].map(f32::exp));
                record.chunks_exact_mut(4).zip(floats).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
                let [red, green, blue] = splats.sh_dc[i].map(rows::colour_from_dc);
                let opacity = rows::sigmoid(splats.raw_opacity[i]);
                let colour = [red, green, blue, opacity].map(|value| unorm(value, 255) as u8);
                record[24..28].copy_from_slice(&colour);
                // The cast takes 256, for 1, to 255.
                record[28..].copy_from_slice(&splats.rotations[i].map(|q| (q * 128.0 + 128.0).round() as u8));
            }
        })
    }
}

fn count(source: &Source<'_>) -> Result<usize> {
    let bytes = source.bytes();
    if !bytes.is_multiple_of(BYTES as u64) {
        return Err(Error::new(format!(
            "a .splat has 32 bytes for each Gaussian, and {bytes} bytes are no multiple of it"
        ))
        .remedy("the file is cut short, or not a .splat: copy or download it again"));
    }
    counted(bytes / BYTES as u64, BYTES as u64, bytes)
}

fn rotation(record: &[u8]) -> [f32; 4] {
    rows::bytes_at(record, 28).map(|byte| (f32::from(byte) - 128.0) / 128.0)
}

/// Whether 32 bytes may be a Gaussian of a picture.
fn sensible(record: &[u8]) -> bool {
    let means = [0, 4, 8].map(|at| f32_at(record, at));
    let scales = [12, 16, 20].map(|at| f32_at(record, at));
    let length = rotation(record).iter().map(|q| q * q).sum::<f32>().sqrt();
    // A NaN is in no range. A flat Gaussian may have a size of 0, but not in all directions.
    means.iter().all(|v| (-1e6..1e6).contains(v) && (*v == 0.0 || v.abs() > 1e-20))
        && scales.iter().all(|s| *s == 0.0 || (1e-14..1e5).contains(s))
        && scales.iter().any(|s| *s > 1e-9)
        && (0.95..1.05).contains(&length)
}

#[cfg(test)]
mod tests {
    use super::super::compressed_ply::CompressedPly;
    use super::super::gaussians::tests::sample;
    use super::super::ply::Ply;
    use super::super::rows::tests::{apart, read, refuses_cuts, survives_damage, turned_apart, written};
    use super::*;
    use crate::rng::Rng;

    /// Half a step of 1/128 in three parts, a whole one at the end of the fourth, where 1 is 127/128: √7/256, and a little
    /// for making them unit again.
    const ROTATION: f32 = 0.0106;

    /// What differs by more than half a step.
    fn beyond(splats: &Splats, back: &Splats) -> Option<&'static str> {
        let colour = |s: &Splats| -> Vec<f32> {
            s.sh_dc.as_flattened().iter().map(|dc| rows::colour_from_dc(*dc).clamp(0.0, 1.0)).collect()
        };
        let opacity = |s: &Splats| -> Vec<f32> { s.raw_opacity.iter().map(|raw| rows::sigmoid(*raw)).collect() };
        [
            ("centres", splats.means != back.means),
            ("scales", apart(splats.log_scales.as_flattened(), back.log_scales.as_flattened()) > 1e-6),
            ("rotations", turned_apart(&splats.rotations, &back.rotations) > ROTATION),
            ("colours", apart(&colour(splats), &colour(back)) > 0.5 / 255.0 + 1e-6),
            ("opacities", apart(&opacity(splats), &opacity(back)) > 0.5 / 255.0 + 1e-6),
        ]
        .into_iter()
        .find_map(|(name, wrong)| wrong.then_some(name))
    }

    #[test]
    fn round_trips_stay_within_half_a_step() {
        let mut splats = sample(3000, 0);
        splats.rotations[5] = [1.0, 0.0, 0.0, 0.0];
        splats.rotations[6] = [0.0, 0.0, -1.0, 0.0];
        let bytes = written(&Splat, &splats);
        assert_eq!(bytes.len(), 3000 * 32);
        let back = read(&Splat, &bytes).unwrap();
        assert_eq!(beyond(&splats, &back), None);
        assert_eq!(back.rotations[5..7], splats.rotations[5..7]);
        for (name, spoil) in [
            ("centres", (|s: &mut Splats| s.means[7][1] += 1e-6) as fn(&mut Splats)),
            ("scales", |s: &mut Splats| s.log_scales[7][1] += 1e-5),
            ("rotations", |s: &mut Splats| s.rotations[6] = [0.02, 0.0, -1.0, 0.0]),
            ("colours", |s: &mut Splats| s.sh_dc.iter_mut().flatten().for_each(|dc| *dc += 1.0 / 255.0 / 0.282)),
            ("opacities", |s: &mut Splats| s.raw_opacity.iter_mut().for_each(|raw| *raw += 0.02)),
        ] {
            let mut bad = back.clone();
            spoil(&mut bad);
            assert_eq!(beyond(&splats, &bad), Some(name), "the negative control");
        }
        assert_eq!(Splat.peek(&mut Source::memory(&bytes)).unwrap().count, 3000);
        assert_eq!(read(&Splat, &written(&Splat, &sample(9, 3))).unwrap().sh_degree, 0);
    }

    #[test]
    fn bytes_are_those_of_the_published_layout() {
        let floats = [1.0, -2.0, 3.5, 0.5, 0.25, 1.0_f32];
        let mut bytes: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.extend([255, 0, 51, 128, 128, 0, 128, 128]);
        let splats = read(&Splat, &bytes).unwrap();
        assert_eq!(splats.means, [[1.0, -2.0, 3.5]]);
        assert_eq!(splats.log_scales, [[0.5_f32.ln(), 0.25_f32.ln(), 0.0]]);
        assert_eq!(splats.rotations, [[0.0, -1.0, 0.0, 0.0]]);
        let colour = splats.sh_dc[0].map(rows::colour_from_dc);
        assert!(apart(&colour, &[1.0, 0.0, 0.2]) < 1e-6);
        assert!((rows::sigmoid(splats.raw_opacity[0]) - 128.0 / 255.0).abs() < 1e-6);
        assert!(Splat.recognises(&bytes));
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let splats = sample(500, 0);
        let bytes = written(&Splat, &splats);
        assert!(Splat.recognises(&bytes[..4096]) && Splat.recognises(&bytes));
        assert!(!Splat.recognises(&bytes[..100]), "no multiple of 32");
        assert!(!Splat.recognises(&[]));
        for other in [written(&Ply, &splats), written(&CompressedPly, &splats)] {
            assert!(!Splat.recognises(&other[..4096]));
        }
        for byte in 0..=255 {
            assert!(!Splat.recognises(&[byte; 4096]) && !Splat.recognises(&[byte; 32]), "{byte}");
        }
        for text in
            ["The quick brown fox jumps over it", "1.0 2.0 3.0 0.5 0.25 0.125 255 9 ", "{\"meta\": [1, 2, 3]}  "]
        {
            assert!(!Splat.recognises(text.repeat(200).as_bytes()[..4096].into()), "{text}");
        }
        let mut rng = Rng::new(3, "bytes");
        let random: Vec<u8> = (0..32 * 4000).map(|_| rng.next_u32() as u8).collect();
        assert!(random.chunks_exact(64).all(|two| !Splat.recognises(two)));
    }

    #[test]
    fn damage_is_noticed_or_survived() {
        let bytes = written(&Splat, &sample(40, 0));
        for length in (0..bytes.len()).filter(|n| !n.is_multiple_of(32) || *n == 0) {
            assert!(read(&Splat, &bytes[..length]).is_err());
        }
        refuses_cuts(&Splat, &bytes[..32], &[32]);
        for at in 0..6 {
            let mut bad = bytes.clone();
            bad[64 + 4 * at..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
            assert!(read(&Splat, &bad).is_err_and(|e| e.what.contains("Gaussian 2")), "{at}");
        }
        survives_damage(&Splat, &bytes, 2000);
    }
}
