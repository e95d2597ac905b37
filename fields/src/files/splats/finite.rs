//! What every writer checks first: a value that is no number would be packed into one that looks like a number.

use super::Splats;
use crate::error::{Error, Result};

/// Refuses Gaussians that cannot be written.
///
/// # Errors
/// When there are none, or a value is not finite.
pub fn finite(splats: &Splats) -> Result<()> {
    let all = |values: &[f32]| super::gaussians::first_bad(values).is_none();
    let bad = match splats {
        s if s.is_empty() => return Err(Error::new("there are no Gaussians to write")),
        s if !all(s.means.as_flattened()) => "a centre",
        s if !all(s.log_scales.as_flattened()) => "a scale",
        s if !all(s.rotations.as_flattened()) => "a rotation",
        s if !all(&s.raw_opacity) => "an opacity",
        s if !all(s.sh_dc.as_flattened()) || !all(&s.sh_rest) => "a colour",
        _ => return Ok(()),
    };
    Err(Error::new(format!("{bad} of the Gaussians is not a number"))
        .remedy("it comes from a training that diverged: write an earlier state of it"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::gaussians::tests::sample;
    use super::*;

    /// The largest differences between two sets of the same size.
    #[derive(Debug)]
    pub(crate) struct Apart {
        pub(crate) means: f32,
        pub(crate) log_scales: f32,
        /// Of quaternions, whose sign is free.
        pub(crate) rotations: f32,
        /// Of opacities, not of their logits.
        pub(crate) opacity: f32,
        pub(crate) sh_dc: f32,
        /// Of the bands.
        pub(crate) bands: [f32; 3],
    }

    impl Apart {
        pub(crate) fn all_within(&self, most: f32) -> bool {
            let geometry = [self.means, self.log_scales, self.rotations];
            geometry.iter().chain(&[self.opacity, self.sh_dc]).chain(&self.bands).all(|v| *v <= most)
        }
    }

    pub(crate) fn apart(a: &Splats, b: &Splats) -> Apart {
        assert_eq!((a.len(), a.sh_degree), (b.len(), b.sh_degree));
        let most = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let opacity = |s: &Splats| s.raw_opacity.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect::<Vec<_>>();
        let quaternions = |(p, q): (&[f32; 4], &[f32; 4])| most(p, q).min(most(p, &q.map(|v| -v)));
        let band = |band: usize| {
            let values = 3 * (band * band - 1)..3 * ((band + 1).pow(2) - 1);
            let rows = (0..a.len()).filter(|_| band <= a.sh_degree as usize);
            rows.map(|i| most(&a.rest(i)[values.clone()], &b.rest(i)[values.clone()])).fold(0.0, f32::max)
        };
        Apart {
            means: most(a.means.as_flattened(), b.means.as_flattened()),
            log_scales: most(a.log_scales.as_flattened(), b.log_scales.as_flattened()),
            rotations: a.rotations.iter().zip(&b.rotations).map(quaternions).fold(0.0, f32::max),
            opacity: most(&opacity(a), &opacity(b)),
            sh_dc: most(a.sh_dc.as_flattened(), b.sh_dc.as_flattened()),
            bands: [1, 2, 3].map(band),
        }
    }

    #[test]
    fn each_value_is_looked_at() {
        assert!(finite(&sample(9, 2)).is_ok());
        assert!(finite(&Splats::default()).is_err());
        for spoil in [
            |s: &mut Splats| s.means[8][2] = f32::NAN,
            |s: &mut Splats| s.log_scales[8][2] = f32::NEG_INFINITY,
            |s: &mut Splats| s.rotations[8][3] = f32::NAN,
            |s: &mut Splats| s.raw_opacity[8] = f32::INFINITY,
            |s: &mut Splats| s.sh_dc[8][2] = f32::NAN,
            |s: &mut Splats| s.sh_rest[9 * 24 - 1] = f32::NAN,
        ] {
            let mut bad = sample(9, 2);
            spoil(&mut bad);
            assert!(finite(&bad).is_err_and(|e| e.what.contains("not a number")));
        }
    }
}
