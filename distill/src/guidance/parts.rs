//! What several losses share: noise by chance, classifier-free guidance and its rescaling, weights, the apprentice.

use burn::tensor::{Device, Tensor, TensorData};
use retort_fields::error::Result;
use retort_fields::rng::Rng;

use super::{Guided, Scene, Settings, Weight};
use crate::prior::noise::column;
use crate::prior::{Apprentice, Asked, Kept, Prompt, Sides, Text};

/// The share of an apprentice's lessons without the camera, so that it knows both.
const WITHOUT_CAMERA: f32 = 0.1;

/// Noise put onto latents.
pub struct Noised {
    /// The step of each ring.
    pub times: Vec<u32>,
    /// The noise, shaped like the latents.
    pub noise: Tensor<4>,
    /// The latents with it.
    pub noisy: Tensor<4>,
}

/// Normal numbers.
pub fn normals(shape: [usize; 4], device: &Device, rng: &mut Rng) -> Tensor<4> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Scene<'_> {
    /// Views of a ring.
    pub fn per(&self) -> usize {
        self.prior.ring()
    }

    /// `value` at the step of each view's ring.
    pub fn column(&self, times: &[u32], value: impl Fn(u32) -> f32) -> Tensor<4> {
        column(times, self.per(), &self.latents.device(), value)
    }

    /// Steps by chance between the settings' bounds, one for each ring.
    pub fn draw_times(&self, settings: &Settings) -> Vec<u32> {
        let noise = self.prior.noise();
        let low = settings.t_min.at(self.share);
        let high = settings.t_max.at(self.share).max(low);
        let mut rng = Rng::at(self.seed, "noise step", u64::from(self.step));
        (0..self.looks.len() / self.per()).map(|_| noise.step_at(rng.range(low, high)).max(1)).collect()
    }

    /// Noise for the latents.
    pub fn draw_noise(&self) -> Tensor<4> {
        let mut rng = Rng::at(self.seed, "noise", u64::from(self.step));
        normals(self.latents.dims(), &self.latents.device(), &mut rng)
    }

    /// `latents` with noise at some steps.
    pub fn with_noise(&self, latents: Tensor<4>, noise: Tensor<4>, times: &[u32]) -> Tensor<4> {
        let schedule = self.prior.noise();
        latents * self.column(times, |t| schedule.alpha(t)) + noise * self.column(times, |t| schedule.sigma(t))
    }

    /// The scene's own latents with noise by chance.
    pub fn noised(&self, settings: &Settings) -> Noised {
        let (times, noise) = (self.draw_times(settings), self.draw_noise());
        let noisy = self.with_noise(self.latents.clone(), noise.clone(), &times);
        Noised { times, noise, noisy }
    }

    /// The weight of each view.
    pub fn weights(&self, weight: Weight, times: &[u32]) -> Tensor<4> {
        let noise = self.prior.noise();
        self.column(times, |t| {
            let bar = noise.alpha_bar(t);
            match weight {
                Weight::Sds => 1.0 - bar,
                Weight::Uniform => 1.0,
                Weight::Fantasia3d => bar.sqrt() * (1.0 - bar),
                Weight::Recon => noise.sigma(t) / noise.alpha(t),
            }
        })
    }

    /// The latents that are behind the noise if it is `epsilon`.
    pub fn clean(&self, noisy: Tensor<4>, epsilon: Tensor<4>, times: &[u32]) -> Tensor<4> {
        let noise = self.prior.noise();
        (noisy - epsilon * self.column(times, |t| noise.sigma(t))) / self.column(times, |t| noise.alpha(t))
    }

    /// What the model sees with the prompt and without, `[cond, uncond]`, asked together.
    pub fn both(&self, prompt: Prompt, noisy: &Tensor<4>, times: &[u32]) -> [Tensor<4>; 2] {
        let (n, rings) = (noisy.dims()[0], times.len());
        let seen = self.told(noisy, times, &[self.texts(prompt), vec![Text::Nothing; rings]].concat());
        [seen.clone().narrow(0, 0, n), seen.narrow(0, n, n)]
    }

    /// What the prior is told of each ring.
    pub fn texts(&self, prompt: Prompt) -> Vec<Text> {
        self.looks.chunks(self.per()).map(|ring| self.prior.told(prompt, &ring[0])).collect()
    }

    /// What the model sees of the same noisy latents with each of several texts, asked together: as many times the
    /// latents as texts fit the rings.
    fn told(&self, noisy: &Tensor<4>, times: &[u32], texts: &[Text]) -> Tensor<4> {
        let often = texts.len() / times.len();
        self.prior.epsilon(Asked {
            noisy: Tensor::cat(vec![noisy.clone(); often], 0),
            times: &times.repeat(often),
            texts,
            looks: &vec![self.looks; often].concat(),
            posed: true,
        })
    }

    /// Guidance towards what a view is and away from what it is not (Armandpour et al. 2023), with the prediction that
    /// has what it is alone: `ε_u + s (e⁺ + Σ wᵢ ⟂(eᵢ, e⁺))`, where `e = ε − ε_u` and `⟂(x, y)` is what of x is not
    /// along y. None where the prior has no such sides.
    fn away_from_others(&self, noised: &Noised, scale: f32) -> Option<[Tensor<4>; 2]> {
        let sides: Option<Vec<Sides>> =
            self.looks.chunks(self.per()).map(|ring| self.prior.sides(self.prompt, &ring[0])).collect();
        let (sides, n, rings) = (sides?, noised.noisy.dims()[0], noised.times.len());
        let mut texts: Vec<Text> = sides.iter().map(|s| s.is).collect();
        texts.extend(std::iter::repeat_n(Text::Nothing, rings));
        (0..2).for_each(|i| texts.extend(sides.iter().map(|s| s.is_not[i].0)));
        let seen = self.told(&noised.noisy, &noised.times, &texts);
        let [with, without, first, second] = [0, 1, 2, 3].map(|i| seen.clone().narrow(0, i * n, n));
        let towards = with.clone() - without.clone();
        let mut all = towards.clone();
        for (i, other) in [first, second].into_iter().enumerate() {
            let weights: Vec<f32> = sides.iter().flat_map(|s| std::iter::repeat_n(s.is_not[i].1, self.per())).collect();
            let weights = Tensor::from_data(TensorData::new(weights, [n, 1, 1, 1]), &seen.device());
            all = all + across(other - without.clone(), towards.clone()) * weights;
        }
        Some([without + all * scale, with])
    }

    /// What the model sees with the prompt alone.
    pub fn with_prompt(&self, noisy: &Tensor<4>, times: &[u32]) -> Tensor<4> {
        self.told(noisy, times, &self.texts(self.prompt))
    }

    /// The guided prediction, rescaled.
    pub fn guided(&self, settings: &Settings, noised: &Noised) -> Tensor<4> {
        let scale = settings.scale.at(self.share);
        let away = if settings.perp_neg { self.away_from_others(noised, scale) } else { None };
        let [guided, with] = away.unwrap_or_else(|| {
            let [with, without] = self.both(self.prompt, &noised.noisy, &noised.times);
            [classifier_free(&with, without, scale), with]
        });
        rescaled(guided, with, settings.rescale.at(self.share), self.per())
    }

    /// `gradient` limited as the settings say, with what was seen.
    pub fn say(&self, gradient: Tensor<4>, noised: Noised, seen: Tensor<4>, settings: &Settings) -> Guided {
        let clip = settings.clip.at(self.share);
        let gradient = if clip > 0.0 { gradient.clamp(-clip, clip) } else { gradient };
        let clean = self.clean(noised.noisy.clone(), seen, &noised.times);
        Guided { gradient, times: noised.times, noisy: noised.noisy, clean }
    }
}

/// Classifier-free guidance (Ho and Salimans 2022): `ε_u + s (ε_c − ε_u)`.
pub fn classifier_free(with: &Tensor<4>, without: Tensor<4>, scale: f32) -> Tensor<4> {
    without.clone() + (with.clone() - without) * scale
}

/// What of `x` is not along `y`, view by view.
pub fn across(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let rows = |x: Tensor<4>| -> Tensor<2> { x.reshape([n, c * h * w]) };
    let (along, length) = (rows(x.clone() * y.clone()).sum_dim(1), rows(y.clone().square()).sum_dim(1));
    x - y * (along / length.clamp_min(1e-6)).reshape([n, 1, 1, 1])
}

/// The standard deviation over each group of `per` views, `[n, 1, 1, 1]`.
pub fn spread(x: Tensor<4>, per: usize) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let size = per * c * h * w;
    let rows: Tensor<2> = x.reshape([n / per, size]);
    let centred = rows.clone() - rows.mean_dim(1);
    let spread = (centred.square().mean_dim(1) + 1e-12).sqrt();
    spread.repeat_dim(1, per).reshape([n, 1, 1, 1])
}

/// A guided prediction brought back to the spread of `with` (Lin et al. 2023): `φ x std(c)/std(x) + (1 − φ) x`.
pub fn rescaled(guided: Tensor<4>, with: Tensor<4>, share: f32, per: usize) -> Tensor<4> {
    if share == 0.0 {
        return guided;
    }
    let ratio = spread(with, per) / spread(guided.clone(), per);
    guided * (ratio * share + (1.0 - share))
}

/// The apprentice of a loss, and its lessons.
#[derive(Default)]
pub struct Class {
    apprentice: Option<Box<dyn Apprentice>>,
    /// What it is to go on from, before it is there.
    kept: Option<Kept>,
}

impl Class {
    /// What the apprentice sees, with the camera and without as `blind` says: the scene's own score,
    /// `ε_0 + s (ε_camera − ε_0)` with `s = 1 − blind`.
    pub fn sees(&mut self, scene: &Scene<'_>, settings: &Settings, noised: &Noised, blind: f32) -> Result<Tensor<4>> {
        // It knows the camera itself and needs no side in words.
        let texts = vec![Text::Of(scene.prompt); noised.times.len()];
        let apprentice = self.apprentice(scene, settings)?;
        let ask = |posed: bool| {
            let noisy = noised.noisy.clone();
            apprentice.epsilon(Asked { noisy, times: &noised.times, texts: &texts, looks: scene.looks, posed })
        };
        let with = ask(true);
        Ok(if blind == 0.0 { with } else { ask(false) * blind + with * (1.0 - blind) })
    }

    /// The settings' number of lessons on the scene's views, at any noise.
    pub fn learn(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<()> {
        let mut rng = Rng::at(scene.seed, "lessons", u64::from(scene.step));
        let texts = vec![Text::Of(scene.prompt); scene.looks.len() / scene.per()];
        for _ in 0..settings.lessons {
            let steps = scene.prior.noise().steps() as usize;
            let times: Vec<u32> = texts.iter().map(|_| rng.below(steps) as u32).collect();
            let noise = normals(scene.latents.dims(), &scene.latents.device(), &mut rng);
            let noisy = scene.with_noise(scene.latents.clone(), noise.clone(), &times);
            let posed = rng.uniform() >= WITHOUT_CAMERA;
            let asked = Asked { noisy, times: &times, texts: &texts, looks: scene.looks, posed };
            self.apprentice(scene, settings)?.learn(asked, noise, settings.rate.at(scene.share));
        }
        Ok(())
    }

    fn apprentice(&mut self, scene: &Scene<'_>, settings: &Settings) -> Result<&mut dyn Apprentice> {
        let apprentice =
            self.apprentice.get_or_insert_with(|| scene.prior.apprentice(scene.seed, settings.rank)).as_mut();
        if let Some(kept) = self.kept.take() {
            apprentice.take_up(&kept)?;
        }
        Ok(apprentice)
    }

    /// What the apprentice has learned so far.
    pub fn keep(&mut self) -> Kept {
        self.apprentice.as_mut().map(|apprentice| apprentice.keep()).unwrap_or_default()
    }

    /// Lets it go on from there at the next step.
    pub fn take_up(&mut self, kept: Kept) {
        self.kept = Some(kept).filter(|kept| !kept.is_empty());
    }

    /// Variational distillation with the entropy's weight `blind`: what the model sees less what the scene is.
    pub fn guide(&mut self, scene: &Scene<'_>, settings: &Settings, blind: f32) -> Result<Guided> {
        self.learn(scene, settings)?;
        let noised = scene.noised(settings);
        let seen = scene.guided(settings, &noised);
        let own = self.sees(scene, settings, &noised, blind)?;
        let gradient = (seen.clone() - own) * scene.weights(settings.weight, &noised.times);
        Ok(scene.say(gradient, noised, seen, settings))
    }
}
