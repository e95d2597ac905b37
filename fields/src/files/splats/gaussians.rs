//! Gaussians as files have them: plain numbers, in the axes of the published `.ply` (+X right, +Y down, +Z forward).

use rayon::prelude::*;

use crate::error::{Error, Result};

/// The highest degree of spherical harmonics that is kept.
pub const SH_MAX: u32 = 3;

/// Gaussians, a row each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Splats {
    /// Centres, in the file's own unit of length.
    pub means: Vec<[f32; 3]>,
    /// ln of the standard deviations along the axes of `rotations`.
    pub log_scales: Vec<[f32; 3]>,
    /// Unit quaternions w, x, y, z, from the Gaussian's own axes.
    pub rotations: Vec<[f32; 4]>,
    /// Logits of the opacities.
    pub raw_opacity: Vec<f32>,
    /// Constant colour coefficients: `rgb = ½ + 0.28209479 · dc`, sRGB.
    pub sh_dc: Vec<[f32; 3]>,
    /// The other coefficients, `[n, (d + 1)² − 1, 3]`: coefficient-major, red, green, blue adjacent.
    pub sh_rest: Vec<f32>,
    /// Degree of the spherical harmonics, 0 to [`SH_MAX`].
    pub sh_degree: u32,
    /// Whether opacity makes up for the blur of the pixel (Mip-Splatting).
    pub antialias: bool,
    /// What a person should know of how it was read: `"flat Gaussians (2DGS) were given a thickness"`.
    pub notes: Vec<String>,
}

/// Values of `sh_rest` for each Gaussian.
pub fn rest_per_splat(degree: u32) -> usize {
    3 * ((degree as usize + 1).pow(2) - 1)
}

impl Splats {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.means.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.means.is_empty()
    }

    /// `n` Gaussians of zeros, of `degree`, to be filled in.
    pub fn zeros(n: usize, degree: u32) -> Self {
        Self {
            means: vec![[0.0; 3]; n],
            log_scales: vec![[0.0; 3]; n],
            rotations: vec![[1.0, 0.0, 0.0, 0.0]; n],
            raw_opacity: vec![0.0; n],
            sh_dc: vec![[0.0; 3]; n],
            sh_rest: vec![0.0; n * rest_per_splat(degree)],
            sh_degree: degree,
            antialias: false,
            notes: Vec::new(),
        }
    }

    /// The other coefficients of Gaussian `i`, `[(d + 1)² − 1, 3]`.
    pub fn rest(&self, i: usize) -> &[f32] {
        let width = rest_per_splat(self.sh_degree);
        &self.sh_rest[i * width..][..width]
    }

    /// Makes quaternions unit ones and refuses what cannot be drawn. Readers end with it.
    ///
    /// An opacity of exactly 0 or 1 is an infinite logit, which several tools write: those are held within ±20. A scale of 0
    /// is ln 0, held at −30. A quaternion of zeros (a Gaussian that a trainer gave up) becomes no turn.
    ///
    /// # Errors
    /// When there are none, or another value is not finite.
    pub fn settled(mut self) -> Result<Self> {
        if self.is_empty() {
            return Err(Error::new("it holds no Gaussians").remedy("export it again"));
        }
        // `clamp` keeps a NaN; `max` would hide it.
        self.raw_opacity.par_iter_mut().for_each(|v| *v = v.clamp(-20.0, 20.0));
        self.log_scales.par_iter_mut().for_each(|s| *s = s.map(|v| if v < -30.0 { -30.0 } else { v }));
        self.rotations.par_iter_mut().for_each(|q| {
            let length = q.iter().map(|v| v * v).sum::<f32>().sqrt();
            // A NaN goes on as one.
            *q = if length <= 1e-12 { [1.0, 0.0, 0.0, 0.0] } else { q.map(|v| v / length) };
        });
        let check = |name: &str, values: &[f32], each: usize| match first_bad(values) {
            Some(at) => Err(Error::new(format!("{name} of Gaussian {} is not a number", at / each))
                .remedy("it comes from a training that diverged: export an earlier state of it")),
            None => Ok(()),
        };
        check("the centre", self.means.as_flattened(), 3)?;
        check("the scale", self.log_scales.as_flattened(), 3)?;
        check("the rotation", self.rotations.as_flattened(), 4)?;
        check("the opacity", &self.raw_opacity, 1)?;
        check("the colour", self.sh_dc.as_flattened(), 3)?;
        check("the colour", &self.sh_rest, rest_per_splat(self.sh_degree).max(1))?;
        Ok(self)
    }

    /// The same with harmonics of another degree: bands are dropped, or are 0.
    #[must_use]
    pub fn with_degree(mut self, degree: u32) -> Self {
        if degree != self.sh_degree {
            let [old, new] = [self.sh_degree, degree].map(rest_per_splat);
            let kept = old.min(new);
            let mut rest = vec![0.0; self.len() * new];
            if kept > 0 {
                let rows = rest.par_chunks_exact_mut(new).zip(self.sh_rest.par_chunks_exact(old));
                rows.for_each(|(to, from)| to[..kept].copy_from_slice(&from[..kept]));
            }
            (self.sh_rest, self.sh_degree) = (rest, degree);
        }
        self
    }

    /// The lowest degree that keeps every coefficient that is not 0.
    pub fn needed_degree(&self) -> u32 {
        (1..=self.sh_degree)
            .rev()
            .find(|&degree| {
                let (skip, width) = (rest_per_splat(degree - 1), rest_per_splat(self.sh_degree));
                self.sh_rest
                    .par_chunks_exact(width)
                    .any(|row| row[skip..rest_per_splat(degree)].iter().any(|v| *v != 0.0))
            })
            .unwrap_or(0)
    }
}

/// Where the first value is that is not finite. Without a way out of the inner loop, so that it takes many at a time.
pub fn first_bad(values: &[f32]) -> Option<usize> {
    const MANY: usize = 4096;
    let bad = |part: &[f32]| !part.iter().fold(true, |well, value| well & value.is_finite());
    let part = values.par_chunks(MANY).position_first(bad)?;
    values[part * MANY..].iter().position(|value| !value.is_finite()).map(|at| part * MANY + at)
}

/// The signs of harmonics after a half turn about X, coefficients 1 to 15: a basis function that is odd in y or in z, but
/// not in both, changes its sign.
const FLIP_YZ: [f32; 15] = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0];

/// Turns everything half around X: from +Y down, +Z forward to +Y up, +Z backward, and back again.
pub fn flip_yz(splats: &mut Splats) {
    splats.means.par_iter_mut().for_each(|m| *m = [m[0], -m[1], -m[2]]);
    // The half turn about X is the quaternion i: i · (w, x, y, z) = (−x, w, −z, y); its sign is free, and conjugating by it
    // (so that the Gaussian's own axes flip as well, which changes no covariance) keeps w positive.
    splats.rotations.par_iter_mut().for_each(|q| *q = [q[0], q[1], -q[2], -q[3]]);
    let width = rest_per_splat(splats.sh_degree);
    if width > 0 {
        splats.sh_rest.par_chunks_exact_mut(width).for_each(|row| {
            for (rgb, sign) in row.chunks_exact_mut(3).zip(FLIP_YZ) {
                rgb.iter_mut().for_each(|v| *v *= sign);
            }
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Gaussians of every sign and size, the same for the same seed.
    pub(crate) fn sample(n: usize, degree: u32) -> Splats {
        let mut rng = Rng::new(n as u64, "sample of Gaussians");
        let mut uniform = move || rng.uniform();
        let mut splats = Splats::zeros(n, degree);
        for i in 0..n {
            splats.means[i] = std::array::from_fn(|_| 4.0 * uniform() - 2.0);
            splats.log_scales[i] = std::array::from_fn(|_| -7.0 + 5.0 * uniform());
            splats.rotations[i] = std::array::from_fn(|_| 2.0 * uniform() - 1.0);
            splats.raw_opacity[i] = 8.0 * uniform() - 4.0;
            splats.sh_dc[i] = std::array::from_fn(|_| 3.0 * uniform() - 1.5);
        }
        splats.sh_rest.iter_mut().for_each(|v| *v = 0.6 * uniform() - 0.3);
        splats.settled().expect("finite")
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_or_held() {
        let mut splats = sample(3, 1);
        splats.raw_opacity[0] = f32::INFINITY;
        splats.log_scales[1][2] = f32::NEG_INFINITY;
        splats.rotations[2] = [0.0; 4];
        let held = splats.clone().settled().expect("held");
        assert_eq!((held.raw_opacity[0], held.log_scales[1][2]), (20.0, -30.0));
        assert_eq!(held.rotations[2], [1.0, 0.0, 0.0, 0.0]);
        for spoil in [
            |s: &mut Splats| s.means[1][0] = f32::NAN,
            |s: &mut Splats| s.log_scales[1][0] = f32::INFINITY,
            |s: &mut Splats| s.rotations[1][0] = f32::NAN,
            |s: &mut Splats| s.raw_opacity[1] = f32::NAN,
            |s: &mut Splats| s.sh_dc[1][0] = f32::NAN,
            |s: &mut Splats| s.sh_rest[9] = f32::NAN,
        ] {
            let mut bad = splats.clone();
            spoil(&mut bad);
            assert!(bad.settled().is_err_and(|e| e.what.contains("Gaussian 1")));
        }
        assert!(Splats::default().settled().is_err());
    }

    #[test]
    fn degrees_are_changed_and_found() {
        let splats = sample(5, 3);
        assert_eq!(splats.needed_degree(), 3);
        let less = splats.clone().with_degree(1);
        assert_eq!((less.sh_degree, less.needed_degree(), less.rest(4)), (1, 1, &splats.rest(4)[..9]));
        let more = less.with_degree(3);
        assert_eq!((more.sh_degree, more.needed_degree()), (3, 1));
        assert_eq!(more.with_degree(0).needed_degree(), 0);
    }

    /// The colour along a direction is that along the turned one after turning.
    #[test]
    fn a_half_turn_keeps_what_is_seen() {
        let splats = sample(7, 3);
        let mut turned = splats.clone();
        flip_yz(&mut turned);
        let colour = |s: &Splats, i: usize, d: glam::Vec3| -> [f32; 3] {
            let basis = crate::parts::sh::eval_basis(3, d);
            std::array::from_fn(|c| {
                s.sh_dc[i][c] * basis[0] + (1..16).map(|k| s.rest(i)[3 * (k - 1) + c] * basis[k]).sum::<f32>()
            })
        };
        let turn = |q: [f32; 4]| glam::Mat3::from_quat(glam::Quat::from_xyzw(q[1], q[2], q[3], q[0]));
        let half = glam::Mat3::from_diagonal(glam::Vec3::new(1.0, -1.0, -1.0));
        let mut wrong = 0;
        for i in 0..7 {
            let d = glam::Vec3::new(0.3 - 0.2 * i as f32, 0.5, 0.1 * i as f32 - 0.4).normalize();
            let (before, after) = (colour(&splats, i, d), colour(&turned, i, half * d));
            (0..3).for_each(|c| assert!((before[c] - after[c]).abs() < 1e-5, "{i}: {before:?} {after:?}"));
            wrong += usize::from(colour(&splats, i, half * d) != before);
            let covariance = |s: &Splats, i: usize| {
                let (r, l) = (turn(s.rotations[i]), s.log_scales[i]);
                r * glam::Mat3::from_diagonal(glam::Vec3::from(l.map(|l| (2.0 * l).exp()))) * r.transpose()
            };
            let want = half * covariance(&splats, i) * half;
            assert!(covariance(&turned, i).abs_diff_eq(want, 1e-6), "{i}");
        }
        assert_eq!(wrong, 7, "the negative control: without turning, colours differ");
        flip_yz(&mut turned);
        assert_eq!(turned, splats);
    }
}
