//! How noisy a picture is at a step of diffusion: `z_t = α z + σ ε` with `α² + σ² = 1`.

use burn::tensor::{Device, Tensor};

/// `[n, 1, 1, 1]`: a value for each view by the step of its scene, `per` views a scene.
pub fn column(times: &[u32], per: usize, device: &Device, value: impl Fn(u32) -> f32) -> Tensor<4> {
    let rows: Vec<f32> = times.iter().flat_map(|&t| std::iter::repeat_n(value(t), per)).collect();
    let n = rows.len();
    Tensor::<1>::from_floats(&*rows, device).reshape([n, 1, 1, 1])
}

/// A schedule of noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// `ᾱ = α²` of each step, falling.
    alphas_cumprod: Vec<f32>,
}

impl Noise {
    /// A schedule by its `ᾱ`.
    pub fn new(alphas_cumprod: Vec<f32>) -> Self {
        Self { alphas_cumprod }
    }

    /// `α = cos(π t / 2)` at the middles of `steps` equal times (Nichol and Dhariwal 2021, without their offset).
    pub fn cosine(steps: usize) -> Self {
        let time = |i: usize| (i as f32 + 0.5) / steps as f32;
        Self::new((0..steps).map(|i| (std::f32::consts::FRAC_PI_2 * time(i)).cos().powi(2)).collect())
    }

    /// Stable Diffusion's: the roots of β rise evenly (Rombach et al. 2022).
    pub fn scaled_linear(first: f32, last: f32, steps: usize) -> Self {
        Self::by_beta([first, last].map(|beta| f64::from(beta).sqrt()), steps, |root| root * root)
    }

    /// DDPM's: β rises evenly (Ho et al. 2020).
    pub fn linear(first: f32, last: f32, steps: usize) -> Self {
        Self::by_beta([first, last].map(f64::from), steps, |beta| beta)
    }

    fn by_beta([first, last]: [f64; 2], steps: usize, beta: impl Fn(f64) -> f64) -> Self {
        let mut product = 1.0;
        let bar = |i: usize| {
            product *= 1.0 - beta(first + (last - first) * i as f64 / (steps - 1) as f64);
            product as f32
        };
        Self::new((0..steps).map(bar).collect())
    }

    /// The noise that a model sees which says velocities (Salimans and Ho 2022): `v = α ε − σ x` and `z = α x + σ ε`, so
    /// `ε = σ z + α v`. `per` views a scene.
    pub fn epsilon_of_velocity(&self, noisy: Tensor<4>, velocity: Tensor<4>, times: &[u32], per: usize) -> Tensor<4> {
        let device = noisy.device();
        let column = |value: &dyn Fn(u32) -> f32| column(times, per, &device, value);
        noisy * column(&|t| self.sigma(t)) + velocity * column(&|t| self.alpha(t))
    }

    /// The number of steps.
    pub fn steps(&self) -> u32 {
        self.alphas_cumprod.len() as u32
    }

    /// `ᾱ` at a step; beyond the last as at the last.
    pub fn alpha_bar(&self, t: u32) -> f32 {
        self.alphas_cumprod[(t as usize).min(self.alphas_cumprod.len() - 1)]
    }

    /// The share of the picture that is left, α.
    pub fn alpha(&self, t: u32) -> f32 {
        self.alpha_bar(t).sqrt()
    }

    /// The noise's deviation, σ.
    pub fn sigma(&self, t: u32) -> f32 {
        (1.0 - self.alpha_bar(t)).max(0.0).sqrt()
    }

    /// The step at this share of all.
    pub fn step_at(&self, share: f32) -> u32 {
        let last = (self.steps() - 1) as f32;
        (share * self.steps() as f32).round().clamp(0.0, last) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Noise;

    #[test]
    fn stable_diffusion_has_its_published_noise() {
        let noise = Noise::scaled_linear(0.00085, 0.012, 1000);
        for (t, published) in [(20, 0.981_314), (500, 0.276_332), (980, 0.005_844), (999, 0.004_660)] {
            assert!((noise.alpha_bar(t) - published).abs() < 1e-5, "{t}: {}", noise.alpha_bar(t));
        }
    }

    #[test]
    fn a_step_keeps_the_variance() {
        let noise = Noise::cosine(1000);
        for t in [0, 1, 500, 998, 999, 5000] {
            assert!((noise.alpha(t).powi(2) + noise.sigma(t).powi(2) - 1.0).abs() < 1e-6);
        }
        assert!(noise.alpha(0) > 0.999 && noise.alpha(999) < 0.001 && noise.step_at(1.0) == 999);
    }
}
