//! Adam's step as a plain loop: what the fast kernel is compared with.

use super::cpu::AdamSpec;

/// See [`super::cpu::step`].
pub fn step(param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], lr: f32, t: u32, spec: &AdamSpec) {
    let [beta1, beta2, eps, weight_decay] = [spec.beta1, spec.beta2, spec.eps, spec.weight_decay].map(f64::from);
    let correction1 = 1.0 - beta1.powf(f64::from(t));
    let correction2 = (1.0 - beta2.powf(f64::from(t))).sqrt();
    for i in 0..param.len() {
        let g = f64::from(grad[i]);
        if spec.skip_zero_grad && g == 0.0 {
            continue;
        }
        let first = beta1 * f64::from(m[i]) + (1.0 - beta1) * g;
        let second = beta2 * f64::from(v[i]) + (1.0 - beta2) * g * g;
        let kept = f64::from(param[i]) * (1.0 - f64::from(lr) * weight_decay);
        let denominator = second.sqrt() / correction2 + eps;
        param[i] = (kept - f64::from(lr) / correction1 * first / denominator) as f32;
        m[i] = first as f32;
        v[i] = second as f32;
    }
}

/// See [`super::cpu::ema`].
pub fn ema(average: &mut [f32], param: &[f32], decay: f32) {
    for (average, param) in average.iter_mut().zip(param) {
        *average = (f64::from(decay) * f64::from(*average) + (1.0 - f64::from(decay)) * f64::from(*param)) as f32;
    }
}
