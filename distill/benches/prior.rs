//! The built-in prior on the CPU: its network, whole, and the attention inside; the twin of `tests/yardstick/prior.py`.

#[path = "../../fields/benches/common/mod.rs"]
mod common;

use burn::tensor::{Device, Tensor, TensorData};
use retort_distill::prior::builtin::Builtin;
use retort_distill::prior::{Asked, Look, Prior, Text};
use retort_fields::field::{tensor, values};
use retort_fields::ops::attend::{Groups, attend};

use common::{Bench, uniform};

fn main() {
    let (bench, device) = (Bench::new(), Device::flex());
    let rows = |name: &str| uniform(name, 2 * 256 * 128, -1.0, 1.0);
    let [q, k, v] = ["attend q", "attend k", "attend v"].map(|name| tensor(rows(name), [512, 128], &device));
    let grad = rows("attend grad");
    let groups = Groups { groups: 2, heads: 4, causal: false };
    let seen = || values(attend(q.clone(), k.clone(), v.clone(), groups));
    bench.run("prior_attend", 512, Some(-0.850_386_562_001_053_9), seen, |y| dot(&y, &grad));

    let prior = Builtin::new(&device).expect("the prior that comes with the program");
    let x = uniform("prior x", 8 * 4 * 32 * 32, -1.0, 1.0);
    let noisy = Tensor::<4>::from_data(TensorData::new(x, [8, 4, 32, 32]), &device);
    let grad = uniform("prior grad", 8 * 4 * 32 * 32, -1.0, 1.0);
    let ring = |first: f32, height: f32| {
        (0..4).map(move |i| Look::around([first + std::f32::consts::FRAC_PI_2 * i as f32, height], 3.0, 0.698, 32))
    };
    let looks: Vec<Look> = ring(0.3, 0.4).chain(ring(2.0, 0.1)).collect();
    let asked =
        || Asked { noisy: noisy.clone(), times: &[500, 500], texts: &[Text::Nothing; 2], looks: &looks, posed: true };
    bench.run("prior_epsilon", 8, None, || values(prior.epsilon(asked())), |y| dot(&y, &grad));
}

/// `Σ aᵢ bᵢ` in double precision.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
