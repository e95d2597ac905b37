//! A prior whose every answer is known: pictures are normal around a mean that is the prompt.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use retort_fields::error::{Error, Result};
use retort_fields::field::values;
use retort_fields::rng::Rng;

use super::noise::Noise;
use super::{Apprentice, Asked, Kept, Look, Prior, Prompt, Read};

/// Normal with the prompt as its mean and a deviation; without a prompt around another mean.
pub struct Normal {
    pub noise: Noise,
    pub deviation: f32,
    pub without: f32,
    pub means: Vec<f32>,
}

impl Normal {
    pub fn new(deviation: f32, without: f32) -> Self {
        Self { noise: Noise::cosine(1000), deviation, without, means: Vec::new() }
    }
}

/// The noise in each value, as the best guess of one who knows mean and variance of each view's pictures.
fn guess(noise: &Noise, asked: &Asked<'_>, known: impl Fn(usize) -> (f32, f32)) -> Tensor<4> {
    let shape = asked.noisy.dims();
    let (n, device) = (shape[0], asked.noisy.device());
    let mut all = values(asked.noisy.clone());
    let size = all.len() / n;
    for (i, value) in all.iter_mut().enumerate() {
        let t = asked.times[i / size / (n / asked.times.len())];
        let (alpha, sigma, (mean, variance)) = (noise.alpha(t), noise.sigma(t), known(i / size));
        *value = sigma * (*value - alpha * mean) / (alpha * alpha * variance + sigma * sigma);
    }
    Tensor::from_data(TensorData::new(all, shape), &device)
}

impl Prior for Normal {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn side(&self) -> u32 {
        1
    }

    fn sees_alpha(&self) -> bool {
        true
    }

    fn ring(&self) -> usize {
        1
    }

    fn noise(&self) -> &Noise {
        &self.noise
    }

    fn read(&mut self, prompt: &str) -> Result<Read> {
        self.means.push(prompt.parse().map_err(|_| Error::new("the toy reads numbers"))?);
        Ok(Read {
            prompt: Prompt(self.means.len() - 1),
            meaning: prompt.to_string(),
            unknown: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4> {
        let per = asked.looks.len() / asked.times.len();
        let mean = |view: usize| asked.texts[view / per].prompt().map_or(self.without, |p| self.means[p.0]);
        guess(&self.noise, &asked, |view| (mean(view), self.deviation * self.deviation))
    }

    fn looks(&self, scenes: usize, _rng: &mut Rng) -> Vec<Look> {
        let one = |i: usize| Look::around([i as f32, 0.0], 3.0, 0.7, 1);
        (0..scenes).map(one).collect()
    }

    fn apprentice(&self, _seed: u64, _rank: usize) -> Box<dyn Apprentice> {
        Box::new(Student { noise: self.noise.clone(), seen: BTreeMap::new() })
    }
}

/// Knows mean and variance of the pictures it was shown last: of each camera's, and of all.
struct Student {
    noise: Noise,
    seen: BTreeMap<u32, Vec<f32>>,
}

fn moments(values: &[f32]) -> (f32, f32) {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n)
}

impl Apprentice for Student {
    fn epsilon(&self, asked: Asked<'_>) -> Tensor<4> {
        let all: Vec<f32> = self.seen.values().flatten().copied().collect();
        let all = moments(&all);
        guess(&self.noise, &asked, |view| {
            if asked.posed { moments(&self.seen[&asked.looks[view].azimuth.to_bits()]) } else { all }
        })
    }

    fn learn(&mut self, asked: Asked<'_>, noise: Tensor<4>, _rate: f32) -> f32 {
        let (noisy, noise) = (values(asked.noisy.clone()), values(noise));
        self.seen.clear();
        let (n, per) = (asked.looks.len(), asked.looks.len() / asked.times.len());
        for (i, (z, e)) in noisy.iter().zip(&noise).enumerate() {
            let view = i / (noisy.len() / n);
            let t = asked.times[view / per];
            let clean = (z - self.noise.sigma(t) * e) / self.noise.alpha(t);
            self.seen.entry(asked.looks[view].azimuth.to_bits()).or_default().push(clean);
        }
        0.0
    }

    fn keep(&mut self) -> Kept {
        Kept::new()
    }

    fn take_up(&mut self, _kept: &Kept) -> Result<()> {
        Ok(())
    }
}
