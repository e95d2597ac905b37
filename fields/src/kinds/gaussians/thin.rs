//! Fewer Gaussians out of many: those that show most.
//!
//! A picture is `C = Σ wᵢ cᵢ`, so what a Gaussian adds to some pictures is the derivative of their sum by its colour; the
//! rasteriser's own gradient gives it (`LightGaussian` and others count by the same weights).

use std::any::Any;

use retort_shaders::Camera;

use super::{Gaussians, SH_C0};
use crate::field::{Field, Primitives, RowPlan, tensor, values};
use crate::registry::detached_inner;

use super::density::DensityStats;

impl Gaussians {
    /// Takes over `other` as far as there is room: at most `density.max_gaussians`, harmonics up to its own degree.
    pub(super) fn thinned(&mut self, other: &dyn Field, cameras: &[Camera]) -> bool {
        let Some(other) = (other as &dyn Any).downcast_ref::<Self>() else { return false };
        let (all, most) = (other.rows(), self.config.density.max_gaussians);
        let mut sources: Vec<u32> = (0..all as u32).collect();
        if most > 0 && all > most {
            let shows = other.shows(cameras);
            sources.sort_by(|a, b| shows[*b as usize].total_cmp(&shows[*a as usize]).then(a.cmp(b)));
            sources.truncate(most);
            sources.sort_unstable();
        }
        let n = sources.len();
        let plan = RowPlan { fresh: vec![true; n], sources };
        let [has, wants] = [other.config.rest_width(), self.config.rest_width()];
        let device = self.means.device();
        for (own, param) in self.params_mut().into_iter().zip(other.params()) {
            let width = param.tensor.dims()[1];
            let mut rows = plan.gather(&values(detached_inner(param.tensor.clone())), width);
            if param.name == "sh_rest" && has != wants {
                let fitted =
                    rows.chunks_exact(has).flat_map(|row| (0..wants).map(|k| row.get(k).copied().unwrap_or(0.0)));
                rows = fitted.collect();
            }
            *own.tensor = tensor(rows, [n, own.tensor.dims()[1]], &device);
        }
        self.stats = DensityStats::new(n);
        true
    }

    /// How much each adds to the pictures from `cameras`, in pixels, `[n]`.
    fn shows(&self, cameras: &[Camera]) -> Vec<f32> {
        let mut grey = self.clone();
        // Colours below nought are shown as nought, and have no gradient: all are made the same.
        grey.sh_dc = grey.sh_dc.zeros_like();
        let mut sums = vec![0.0; self.rows()];
        for camera in cameras {
            let grey = grey.on_graph();
            let picture = grey.render_probed(camera, 0).frame.pixels;
            let n = picture.dims()[0];
            let mut grads = picture.slice([0..n, 0..1]).sum().backward();
            if let Some(grad) = grey.sh_dc.grad_remove(&mut grads) {
                let rows = values(grad);
                sums.iter_mut().zip(rows.chunks_exact(3)).for_each(|(sum, row)| *sum += row[0] / SH_C0);
            }
        }
        sums
    }

    fn on_graph(&self) -> Self {
        let mut copy = self.clone();
        for param in copy.params_mut() {
            *param.tensor = burn::tensor::Tensor::from_inner(detached_inner(param.tensor.clone())).require_grad();
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::super::GaussiansConfig;
    use super::super::density::DensityConfig;
    use super::*;
    use crate::device::choose;
    use crate::field::{RenderOptions, Scene, Seed};

    fn set(sh_degree: u32, most: usize, seeds: &[Seed]) -> Gaussians {
        let density = DensityConfig { max_gaussians: most, ..DensityConfig::default() };
        let config = GaussiansConfig { sh_degree, initial: 1, antialias: false, density };
        let (scene, device) = (Scene::default(), choose("cpu").expect("a device"));
        let drawn = Gaussians::draw(&config, &scene, 1, &device).expect("first values");
        let mut set = Gaussians::build(&config, &scene, drawn).expect("a set");
        set.plant(seeds, &device);
        set
    }

    #[test]
    fn those_that_show_stay_and_the_hidden_ones_go() {
        let ball = |x: f32, y: f32, scale: f32| {
            let mut seed = Seed::round([x, y, 0.0], [0.9, 0.2, 0.1], scale, 0.999);
            seed.harmonics[3] = [0.1; 3];
            seed
        };
        // The camera looks along +x: the second lies behind the first, which is opaque and wider.
        let teacher = set(2, 0, &[ball(-0.3, 0.0, 0.2), ball(0.3, 0.0, 0.02), ball(0.0, 0.6, 0.1)]);
        let camera = Camera::look_at(Vec3::new(-3.0, 0.0, 0.0), Vec3::ZERO, Vec3::Z, 0.7, 48, 48);
        let shows = teacher.shows(std::slice::from_ref(&camera));
        assert!(shows[1] < 0.2 * shows[2] && shows[2] < shows[0], "{shows:?}");
        let mut student = set(1, 2, &[ball(0.0, 0.0, 0.5)]);
        assert!(student.take_over(&teacher, std::slice::from_ref(&camera)));
        assert_eq!((student.count(), student.sh_rest.dims()), (2, [2, 9]));
        assert_eq!(values(student.means.clone()), [-0.3, 0.0, 0.0, 0.0, 0.6, 0.0]);
        // Degree 2 was put into one coefficient of the second band, which is cut off; all fit where there is room.
        let mut roomy = set(2, 3, &[ball(0.0, 0.0, 0.5)]);
        assert!(roomy.take_over(&teacher, &[]));
        let picture = |field: &Gaussians| values(field.render(&camera, &RenderOptions::default()).pixels);
        assert_eq!(picture(&roomy), picture(&teacher));
        assert_ne!(picture(&student), picture(&teacher));
    }
}
