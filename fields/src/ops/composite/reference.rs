//! Compositing by the formulas, in double precision, one sample at a time.

/// The weights of one ray's samples; zero behind the place where less than `stop` of the light is left.
fn ray_weights(sigma: &[f32], dt: &[f32], stop: f32) -> (Vec<f64>, Vec<f64>) {
    let mut light = 1.0;
    let (mut weights, mut after) = (Vec::new(), Vec::new());
    for (&sigma, &dt) in sigma.iter().zip(dt) {
        let alpha = if light >= f64::from(stop) { -(-f64::from(sigma) * f64::from(dt)).exp_m1() } else { 0.0 };
        weights.push(light * alpha);
        light *= 1.0 - alpha;
        after.push(light);
    }
    (weights, after)
}

/// As [`super::cpu::forward`].
pub fn forward(ray_start: &[u32], sigma: &[f32], rgb: &[f32], t: &[f32], dt: &[f32], stop: f32) -> Vec<f64> {
    let mut out = Vec::new();
    for ray in ray_start.windows(2) {
        let rows = ray[0] as usize..ray[1] as usize;
        let (weights, _) = ray_weights(&sigma[rows.clone()], &dt[rows.clone()], stop);
        let mut sum = [0.0; 5];
        for (i, w) in rows.zip(weights) {
            let values = [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 1.0, t[i]];
            sum.iter_mut().zip(values).for_each(|(s, v)| *s += w * f64::from(v));
        }
        out.extend(sum);
    }
    out
}

/// As [`super::cpu::backward`]: `∂wⱼ/∂σᵢ = dtᵢ (Tᵢ₊₁ [i = j] - wⱼ [i < j])`, every pair of samples.
pub fn backward(
    ray_start: &[u32],
    sigma: &[f32],
    rgb: &[f32],
    t: &[f32],
    dt: &[f32],
    stop: f32,
    grad_out: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let (mut grad_sigma, mut grad_rgb) = (Vec::new(), Vec::new());
    for (ray, grad) in ray_start.windows(2).zip(grad_out.chunks_exact(5)) {
        let rows = ray[0] as usize..ray[1] as usize;
        let (weights, after) = ray_weights(&sigma[rows.clone()], &dt[rows.clone()], stop);
        let worth: Vec<f64> = rows
            .clone()
            .map(|i| {
                let values = [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 1.0, t[i]];
                values.iter().zip(grad).map(|(v, g)| f64::from(*v) * f64::from(*g)).sum()
            })
            .collect();
        for (j, i) in rows.enumerate() {
            grad_rgb.extend(grad[..3].iter().map(|g| weights[j] * f64::from(*g)));
            let seen = weights[j] != 0.0 || after[j] >= f64::from(stop);
            let behind: f64 = (j + 1..weights.len()).map(|k| weights[k] * worth[k]).sum();
            grad_sigma.push(if seen { f64::from(dt[i]) * (after[j] * worth[j] - behind) } else { 0.0 });
        }
    }
    (grad_sigma, grad_rgb)
}
