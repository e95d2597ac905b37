//! Attention by stock operations of tensors; what runs on a GPU.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::Groups;
use crate::field::tensor;

/// Scores that are held at once, 256 MiB of them; queries beyond that wait their turn.
pub const SCORES: usize = 1 << 26;

/// As [`super::attend`].
pub fn attend(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, groups: Groups) -> Tensor<2> {
    attend_by(q, k, v, groups, SCORES)
}

/// The same with so many scores at once.
pub fn attend_by(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, groups: Groups, most: usize) -> Tensor<2> {
    let Groups { groups: b, heads, causal } = groups;
    let [rows, width] = q.dims();
    let split = |x: Tensor<2>| {
        let t = x.dims()[0] / b;
        x.reshape([b, t, heads, width / heads]).swap_dims(1, 2)
    };
    let (q, k, v) = (split(q), split(k).swap_dims(2, 3), split(v));
    let ([_, _, t, _], [_, _, _, u]) = (q.dims(), k.dims());
    let scale = ((width / heads) as f32).sqrt().recip();
    let at_once = (most / (b * heads * u)).clamp(1, t);
    let part = |first: usize| {
        let n = at_once.min(t - first);
        let mut scores = q.clone().narrow(2, first, n).matmul(k.clone()) * scale;
        if causal {
            let hidden = (0..n * u).map(|i| if i % u > first + i / u { -1e30 } else { 0.0 }).collect();
            let hidden = tensor(hidden, [n, u], &scores.device());
            scores = scores + hidden.reshape([1, 1, n, u]);
        }
        softmax(scores, 3).matmul(v.clone())
    };
    let parts: Vec<Tensor<4>> = (0..t).step_by(at_once).map(part).collect();
    Tensor::cat(parts, 2).swap_dims(1, 2).reshape([rows, width])
}
