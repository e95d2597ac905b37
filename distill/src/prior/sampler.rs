//! Pictures from a denoiser alone: DDIM (Song et al. 2021) and DPM-Solver++ of the second order (Lu et al. 2022), without
//! chance. For previews, and to see what a prior makes of a prompt before a field is asked to look like it.

use burn::tensor::Tensor;
use retort_fields::error::{Error, Result};

use super::noise::Noise;

/// Where the steps of a sampler lie among those of the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// At the beginning of equal parts.
    Leading,
    /// At their end.
    Trailing,
    /// From the first to the last.
    Linspace,
}

impl std::str::FromStr for Spacing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "leading" => Ok(Self::Leading),
            "trailing" => Ok(Self::Trailing),
            "linspace" => Ok(Self::Linspace),
            other => Err(Error::new(format!("there is no spacing \"{other}\""))),
        }
    }
}

/// A way to go from noise to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampler {
    /// Song et al. 2021, without chance.
    Ddim,
    /// Lu et al. 2022, second order with the midpoint, first order at both ends.
    DpmSolver,
}

/// How a sampler goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The sampler.
    pub sampler: Sampler,
    /// Its steps.
    pub steps: u32,
    /// Where they lie.
    pub spacing: Spacing,
    /// Added to each step where they lead.
    pub offset: u32,
    /// Whether DDIM's last step leaves no noise at all.
    pub to_one: bool,
}

impl Plan {
    /// The steps of noise that are asked at, from the noisiest.
    pub fn times(&self, noise: &Noise) -> Vec<u32> {
        let (all, n) = (noise.steps(), self.steps.clamp(1, noise.steps()));
        // The solver's steps end at the picture, not before it.
        let parts = if self.sampler == Sampler::DpmSolver { n + 1 } else { n };
        let round = |x: f64| x.round_ties_even().max(0.0) as u32;
        let times: Vec<u32> = match self.spacing {
            Spacing::Leading => (0..parts).rev().map(|i| i * (all / parts) + self.offset).collect(),
            Spacing::Trailing => {
                (0..n).map(|i| round(f64::from(all) - f64::from(i) * f64::from(all) / f64::from(n)) - 1).collect()
            }
            Spacing::Linspace => {
                let apart = f64::from(all - 1) / f64::from((parts - 1).max(1));
                (0..parts).rev().map(|i| round(f64::from(i) * apart)).collect()
            }
        };
        times.into_iter().take(n as usize).map(|t| t.min(all - 1)).collect()
    }

    /// From noise `[n, c, h, w]` to what is behind it. `epsilon` is asked for the noise in a picture at a step.
    ///
    /// # Errors
    /// What `epsilon` says.
    pub fn run(
        &self,
        noise: &Noise,
        start: Tensor<4>,
        mut epsilon: impl FnMut(Tensor<4>, u32) -> Result<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let times = self.times(noise);
        let (mut z, mut before) = (start, None);
        for (i, &t) in times.iter().enumerate() {
            let seen = epsilon(z.clone(), t)?;
            let (alpha, sigma) = (noise.alpha(t), noise.sigma(t));
            let clean = (z.clone() - seen.clone() * sigma) / alpha;
            z = match self.sampler {
                Sampler::Ddim => {
                    let bar = match t.checked_sub(noise.steps() / self.steps.max(1)) {
                        Some(next) => noise.alpha_bar(next),
                        None if self.to_one => 1.0,
                        None => noise.alpha_bar(0),
                    };
                    clean * bar.sqrt() + seen * (1.0 - bar).max(0.0).sqrt()
                }
                Sampler::DpmSolver => {
                    let Some(&next) = times.get(i + 1) else { return Ok(clean) };
                    let level = |t: u32| f64::from(noise.alpha(t)).ln() - f64::from(noise.sigma(t)).ln();
                    let h = level(next) - level(t);
                    let grown = (f64::from(noise.alpha(next)) * (-h).exp_m1()) as f32;
                    let mut z = z * (noise.sigma(next) / sigma) - clean.clone() * grown;
                    if let Some((last, last_clean)) = before.replace((t, clean.clone())) {
                        let share = (h / (level(t) - level(last))) as f32;
                        z = z - (clean - last_clean) * (0.5 * share * grown);
                    }
                    z
                }
            };
        }
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use retort_fields::field::values;

    use super::*;

    fn plan(sampler: Sampler, steps: u32, spacing: Spacing) -> Plan {
        Plan { sampler, steps, spacing, offset: 0, to_one: true }
    }

    /// A point is all there is: both samplers find it from any noise, with any steps. And what always says "no noise"
    /// finds it not.
    #[test]
    fn a_point_is_found() {
        let noise = Noise::scaled_linear(0.00085, 0.012, 1000);
        let device = Device::flex();
        for sampler in [Sampler::Ddim, Sampler::DpmSolver] {
            for spacing in [Spacing::Leading, Spacing::Trailing, Spacing::Linspace] {
                let start = Tensor::<4>::ones([1, 1, 2, 2], &device) * 0.7;
                let knows = |z: Tensor<4>, t: u32| Ok((z - 0.4 * noise.alpha(t)) / noise.sigma(t));
                let end = plan(sampler, 12, spacing).run(&noise, start.clone(), knows).expect("a picture");
                assert!(values(end).iter().all(|v| (v - 0.4).abs() < 1e-3), "{sampler:?} {spacing:?}");
                let blind = |z: Tensor<4>, _: u32| Ok(z.zeros_like());
                let end = plan(sampler, 12, spacing).run(&noise, start, blind).expect("a picture");
                assert!(values(end).iter().all(|v| (v - 0.4).abs() > 0.1), "{sampler:?} {spacing:?}");
            }
        }
    }

    #[test]
    fn any_number_of_steps_lies_within_the_noise() {
        let noise = Noise::cosine(1000);
        for sampler in [Sampler::Ddim, Sampler::DpmSolver] {
            for spacing in [Spacing::Leading, Spacing::Trailing, Spacing::Linspace] {
                for steps in [1, 2, 3, 7, 50, 999, 1000, 5000] {
                    let times = plan(sampler, steps, spacing).times(&noise);
                    assert_eq!(times.len(), steps.min(1000) as usize, "{sampler:?} {spacing:?}");
                    assert!(
                        times.windows(2).all(|w| w[0] >= w[1]) && times[0] < 1000,
                        "{sampler:?} {spacing:?} {steps}"
                    );
                }
            }
        }
    }
}
