//! Active learning of conversions (Fang et al., "PVD-AL: Progressive Volume Distillation with Active Learning for
//! Efficient NeRF Architecture Conversion", arXiv 2304.04012): lessons go where the student is worst.
//!
//! - **Views.** An epoch has as many steps as there are views. After each from the fourth on, the worst tenth of the
//!   views, by the student's error on their rays, goes into a pool. Once the pool is as large as a third of the views,
//!   a tenth of all views is exchanged, for the next epoch, for views out of the pool, each turned by up to ±9° about
//!   each of its axes; their places in the pool go to that epoch's worst.
//! - **Rays.** The hardest tenth of each batch, by `Σ_rgb |C_student − C_teacher|`, goes into a pool of 150 batches.
//!   Once it is full, a tenth of a batch is drawn from it on top of each batch, and the hardest of all take their places.
//! - **Points.** Only samples that are among the weightiest 30 % of their ray to the teacher or to the student, on rays
//!   that are at least half opaque, are compared in density, latent and colour.
//!
//! The published code keeps 312 views and a pool of at least 100; the share is kept here. It pairs errors with the views
//! of another order by mistake; here each ray remembers its view.

use retort_fields::error::{Error, Result};
use retort_fields::field::Scene;
use retort_fields::rng::Rng;
use retort_shaders::Camera;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gallery::{Gallery, Rays};
use crate::run::Extra;

/// The share of views, and of a batch's rays, that counts as the hardest.
const HARDEST: f32 = 0.1;
/// The epoch after which views are first judged.
const FIRST_EPOCH: u32 = 4;
/// Views in the pool, as a share of all, before any is drawn.
const LEAST_POOL: f32 = 0.32;
/// Radians by which a view is turned about each of its axes, at most.
const TURN: f32 = std::f32::consts::PI / 20.0;
/// The size of the pool of rays, in batches.
const POOL_BATCHES: usize = 150;
/// The share of a ray's samples, by weight, whose points are compared.
const HEAVIEST: f32 = 0.3;
/// Rays below this opacity have no points worth a comparison.
const LEAST_OPACITY: f32 = 0.5;

/// Which levels of active learning a conversion uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveConfig {
    /// Views on which the student is worst are looked at again, a little turned.
    #[serde(default)]
    pub views: bool,
    /// Rays on which the student is worst are looked at again.
    #[serde(default)]
    pub rays: bool,
    /// Points that matter least to their ray are not compared.
    #[serde(default)]
    pub points: bool,
}

/// What a conversion knows of where its student is worst.
#[derive(Clone, Debug)]
pub struct Active {
    views: Option<HardViews>,
    rays: Option<HardRays>,
}

impl Active {
    /// Nothing is known yet of so many views.
    pub fn new(config: &ActiveConfig, views: usize) -> Self {
        Self { views: config.views.then(|| HardViews::new(views)), rays: config.rays.then(HardRays::default) }
    }

    /// Whether there is anything to learn from a batch or a picture.
    pub fn judges(&self) -> bool {
        self.views.is_some() || self.rays.is_some()
    }

    /// Whether whole views are judged.
    pub fn judges_views(&self) -> bool {
        self.views.is_some()
    }

    /// Adds hard rays to a batch.
    pub fn lengthen(&mut self, rays: &mut Rays, seed: u64, step: u32) {
        if let Some(hard) = &mut self.rays {
            hard.lengthen(rays, seed, step);
        }
    }

    /// Learns from a batch: the student's colours and those wanted, `[n, 3]`.
    pub fn learn(&mut self, rays: &Rays, picture: &[f32], wanted: &[f32], gallery: &mut Gallery, seed: u64) {
        let differences = || picture.chunks_exact(3).zip(wanted.chunks_exact(3));
        if let Some(hard) = &mut self.rays {
            let hardness: Vec<f32> = differences().map(|(a, b)| (0..3).map(|c| (a[c] - b[c]).abs()).sum()).collect();
            hard.learn(rays, &hardness);
        }
        if let Some(hard) = &mut self.views {
            for (&view, (a, b)) in rays.views.iter().zip(differences()) {
                hard.note(view, (0..3).map(|c| (a[c] - b[c]).powi(2)).sum());
            }
            hard.step(gallery, seed);
        }
    }

    /// Learns from a whole picture of a view.
    pub fn learn_view(&mut self, view: usize, picture: &[f32], wanted: &[f32], gallery: &mut Gallery, seed: u64) {
        if let Some(hard) = &mut self.views {
            let squares: f32 = picture.iter().zip(wanted).map(|(a, b)| (a - b).powi(2)).sum();
            hard.note(view as u32, squares / picture.len().max(1) as f32);
            hard.step(gallery, seed);
        }
    }

    /// Puts everything into a checkpoint.
    pub fn save(&self, extra: &mut Extra, gallery: &Gallery) {
        if let Some(hard) = &self.views {
            extra.json["hard_views"] = json!({ "known": hard, "guests": gallery.guests() });
        }
        if let Some(hard) = &self.rays {
            let (pool, n) = (hard.pool(), hard.pool().len());
            // Views are whole numbers below 2²⁴: exact in single precision.
            let views = pool.views.iter().map(|&view| view as f32).collect();
            let columns = [(3, pool.origins.clone()), (3, pool.directions.clone()), (1, views)];
            for (name, (width, data)) in POOL.iter().zip(columns) {
                extra.tensors.push(((*name).to_string(), [n, width], data));
            }
            extra.tensors.push(("hard_pixels".into(), [pool.pixels.len() / 5, 5], pool.pixels.clone()));
        }
    }

    /// Takes everything out of a checkpoint of the same preset.
    ///
    /// # Errors
    /// When something is missing or does not fit.
    pub fn restore(&mut self, extra: &Extra, gallery: &mut Gallery, scene: &Scene) -> Result<()> {
        let damaged = || Error::new("the checkpoint lacks what active learning knew").remedy("start without --resume");
        if let Some(hard) = &mut self.views {
            let mut saved = extra.json.get("hard_views").cloned().ok_or_else(damaged)?;
            let guests = serde_json::from_value(saved["guests"].take()).map_err(|_| damaged())?;
            let known: HardViews = serde_json::from_value(saved["known"].take()).map_err(|_| damaged())?;
            if known.errors.len() != hard.errors.len() {
                return Err(damaged());
            }
            *hard = known;
            gallery.welcome(guests, scene);
        }
        if self.rays.is_some() {
            let take = |name: &str| extra.tensors.iter().find(|t| t.0 == name).map(|t| t.2.clone()).ok_or_else(damaged);
            let views: Vec<u32> = take(POOL[2])?.iter().map(|&view| view as u32).collect();
            let pool =
                Rays { origins: take(POOL[0])?, directions: take(POOL[1])?, pixels: take("hard_pixels")?, views };
            let n = pool.len();
            let fits = pool.origins.len() == 3 * n && pool.directions.len() == 3 * n;
            if !fits || !(pool.pixels.is_empty() || pool.pixels.len() == 5 * n) {
                return Err(damaged());
            }
            self.rays = Some(HardRays::of(pool));
        }
        Ok(())
    }
}

/// Names of the pool's tensors in a checkpoint.
const POOL: [&str; 3] = ["hard_origins", "hard_directions", "hard_views"];

/// The views on which the student is worst.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HardViews {
    /// Sum of squared errors, in units of 2⁻³², and number of rays of each view in this epoch. (Whole numbers: JSON
    /// does not promise the last bit of others.)
    errors: Vec<(u64, u32)>,
    pool: Vec<Camera>,
    steps: u32,
    epoch: u32,
}

impl HardViews {
    /// For so many views.
    pub fn new(views: usize) -> Self {
        Self { errors: vec![(0, 0); views], ..Self::default() }
    }

    /// Notes the squared error of a ray of the view.
    pub fn note(&mut self, view: u32, squared: f32) {
        if let Some((sum, count)) = self.errors.get_mut(view as usize) {
            *sum += (f64::from(squared) * 4_294_967_296.0) as u64;
            *count += 1;
        }
    }

    /// Ends a step; at the end of an epoch the hard views take places in the gallery.
    pub fn step(&mut self, gallery: &mut Gallery, seed: u64) {
        self.steps += 1;
        let n = self.errors.len();
        if (self.steps as usize) < n {
            return;
        }
        self.steps = 0;
        self.epoch += 1;
        let worst: Vec<Camera> = self.worst(share(n)).into_iter().map(|view| gallery.camera(view).clone()).collect();
        self.errors.fill((0, 0));
        if self.epoch < FIRST_EPOCH {
            return;
        }
        gallery.put_back();
        if self.pool.len() < (LEAST_POOL * n as f32) as usize {
            self.pool.extend(worst);
            return;
        }
        let mut rng = Rng::at(seed, "hard views", u64::from(self.epoch));
        for worse in worst {
            let slot = rng.below(self.pool.len());
            let drawn = std::mem::replace(&mut self.pool[slot], worse);
            gallery.exchange(rng.below(n), turned(drawn, &mut rng));
        }
    }

    /// The `count` views of the largest mean error; views without rays are not among them.
    fn worst(&self, count: usize) -> Vec<usize> {
        let mean = |view: &usize| self.errors[*view].0 as f64 / f64::from(self.errors[*view].1);
        let mut views: Vec<usize> = (0..self.errors.len()).filter(|&view| self.errors[view].1 > 0).collect();
        views.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        views.truncate(count);
        views
    }
}

/// A tenth of `n`, at least one.
fn share(n: usize) -> usize {
    ((HARDEST * n as f32) as usize).max(1)
}

/// The camera turned a little about each of its own axes, its centre kept.
fn turned(mut camera: Camera, rng: &mut Rng) -> Camera {
    let [x, y, z] = [0; 3].map(|_| rng.range(-TURN, TURN));
    let turn = glam::Mat3A::from_euler(glam::EulerRot::XYZ, x, y, z);
    camera.world_from_camera.matrix3 *= turn;
    camera
}

/// The rays on which the student is worst.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HardRays {
    pool: Rays,
    /// Slots of the pool that the batch at hand was lengthened from.
    drawn: Vec<usize>,
}

impl HardRays {
    /// Takes back what [`HardRays::pool`] gave.
    pub fn of(pool: Rays) -> Self {
        Self { pool, drawn: Vec::new() }
    }

    /// What there is to keep.
    pub fn pool(&self) -> &Rays {
        &self.pool
    }

    /// Lengthens a batch from the pool, once that is full.
    pub fn lengthen(&mut self, rays: &mut Rays, seed: u64, step: u32) {
        self.drawn.clear();
        if self.pool.len() < POOL_BATCHES * rays.len() {
            return;
        }
        let mut rng = Rng::at(seed, "hard rays", u64::from(step));
        for _ in 0..share(rays.len()) {
            let slot = rng.below(self.pool.len());
            self.drawn.push(slot);
            rays.push(&self.pool, slot);
        }
    }

    /// Learns how hard the rays of the batch were, `[n]`.
    pub fn learn(&mut self, rays: &Rays, hardness: &[f32]) {
        let count = if self.drawn.is_empty() { share(rays.len()) } else { self.drawn.len() };
        let mut order: Vec<usize> = (0..rays.len()).collect();
        let harder = |a: &usize, b: &usize| hardness[*b].total_cmp(&hardness[*a]).then(a.cmp(b));
        order.select_nth_unstable_by(count.min(rays.len()) - 1, harder);
        order.truncate(count);
        if self.drawn.is_empty() {
            order.sort_unstable();
            order.iter().for_each(|&ray| self.pool.push(rays, ray));
        } else {
            order.sort_by(harder);
            for (&slot, &ray) in self.drawn.iter().zip(&order) {
                self.pool.replace(slot, rays, ray);
            }
        }
    }
}

/// Samples that are among the weightiest of their ray to teacher or student, in rising order. `ray_start [r + 1]`,
/// weights `[n]`.
pub fn weightiest(ray_start: &[u32], teacher: &[f32], student: &[f32]) -> Vec<i32> {
    let mut kept = vec![false; teacher.len()];
    let mut order: Vec<usize> = Vec::new();
    for ends in ray_start.windows(2) {
        let ray = ends[0] as usize..ends[1] as usize;
        for weights in [teacher, student] {
            if weights[ray.clone()].iter().sum::<f32>() < LEAST_OPACITY {
                continue;
            }
            order.clear();
            order.extend(ray.clone());
            order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
            let count = ((HEAVIEST * ray.len() as f32).ceil() as usize).max(1);
            order.iter().take(count).for_each(|&sample| kept[sample] = true);
        }
    }
    (0..).zip(kept).filter_map(|(i, kept)| kept.then_some(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` rays from `x = first`, `first + 1`…, one a view.
    fn rays(first: usize, n: usize) -> Rays {
        let mut all = Rays::default();
        for i in first..first + n {
            all.origins.extend([i as f32, 0.0, 0.0]);
            all.directions.extend([0.0, 0.0, 1.0]);
            all.views.push(i as u32);
        }
        all
    }

    #[test]
    fn the_hardest_rays_fill_the_pool_and_come_back() {
        let mut hard = HardRays::default();
        let hardness: Vec<f32> = (0..20).map(|i| i as f32).collect();
        for step in 0..150 * 10 {
            assert_eq!(hard.pool().len(), 2 * step, "a tenth of twenty");
            let mut batch = rays(0, 20);
            hard.lengthen(&mut batch, 1, step as u32);
            assert_eq!(batch.len(), 20, "the pool is not full");
            hard.learn(&batch, &hardness);
        }
        assert!(hard.pool().views.iter().all(|&view| view == 18 || view == 19), "none but the hardest");
        let mut batch = rays(100, 20);
        hard.lengthen(&mut batch, 1, 7);
        assert_eq!(batch.len(), 22);
        assert!(batch.views[20..].iter().all(|&view| view == 18 || view == 19));
        assert_eq!(batch.origins[60], batch.views[20] as f32, "a ray comes with all that belongs to it");
        // The ones drawn are easy by now: the hardest of the batch take their places.
        let hardness: Vec<f32> = (0..22).map(|i| if i < 20 { 1.0 + i as f32 } else { 0.0 }).collect();
        hard.learn(&batch, &hardness);
        let taken: Vec<u32> = hard.pool().views.iter().copied().filter(|&view| view >= 100).collect();
        assert_eq!(hard.pool().len(), 3000);
        assert!(!taken.is_empty() && taken.iter().all(|&view| view == 118 || view == 119), "{taken:?}");
    }

    #[test]
    fn the_worst_views_come_back_turned() {
        let scene = Scene::default();
        let mut gallery = Gallery::new(20, 16, 3);
        gallery.rays(&scene, 1, 0);
        let own: Vec<Camera> = (0..20).map(|view| gallery.camera(view).clone()).collect();
        let mut hard = HardViews::new(20);
        let mut exchanged = 0;
        for epoch in 1..=12 {
            for step in 0..20 {
                for view in 0..20 {
                    // Views 5 and 6 stay the worst.
                    hard.note(view, if view == 5 || view == 6 { 0.5 } else { 0.001 * step as f32 });
                }
                hard.step(&mut gallery, 9);
            }
            let guests = gallery.guests();
            // Two a tenth: the pool of six is full after the sixth epoch.
            assert_eq!(guests.is_empty(), epoch < 7, "epoch {epoch}");
            for (place, guest) in guests {
                exchanged += 1;
                let centre = guest.position();
                let origin = [5, 6].into_iter().find(|&view| own[view].position().distance(centre) < 1e-5);
                let angle = own[origin.unwrap_or(place)].forward().dot(guest.forward()).clamp(-1.0, 1.0).acos();
                assert!(angle < 2.0 * TURN, "turned by {angle}");
                assert!(origin.is_some() || epoch > 7, "a hard view's place is kept");
            }
        }
        assert!(exchanged >= 6);
        gallery.put_back();
        assert!((0..20).all(|view| *gallery.camera(view) == own[view]));
    }

    #[test]
    fn points_count_by_their_weight_to_either() {
        let starts = [0, 4, 8, 10];
        let teacher = [0.1, 0.6, 0.2, 0.05, 0.1, 0.1, 0.1, 0.1, 0.9, 0.0];
        let student = [0.7, 0.1, 0.1, 0.05, 0.1, 0.1, 0.1, 0.1, 0.9, 0.0];
        // Two of four each, the same or not; a clear ray has none.
        assert_eq!(weightiest(&starts, &teacher, &student), [0, 1, 2, 8]);
        assert_eq!(weightiest(&starts, &teacher, &teacher), [1, 2, 8]);
        assert_eq!(weightiest(&[0], &[], &[]), [0_i32; 0]);
    }
}
