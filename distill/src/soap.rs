//! SOAP (Vyas et al. 2024, arXiv 2409.11321) for the weight matrices of small networks: Adam in the eigenbasis of
//! Shampoo's preconditioners (Gupta, Koren, Singer 2018).
//!
//! `L ← β L + (1 − β) G Gᵀ`, `R ← β R + (1 − β) Gᵀ G`; every few steps `Q_L ← qr(L Q_L)`, `Q_R ← qr(R Q_R)`; and
//! `W ← W − η Q_L adam(Q_Lᵀ G Q_R) Q_Rᵀ`. A network of coordinates learns its fine detail late because the curvature along
//! it is small: in this basis each such direction has a rate of its own.

use burn::tensor::{Device, Tensor};
use retort_fields::field::{tensor, values};
use retort_fields::ops::adam::AdamSpec;

use serde::{Deserialize, Serialize};

/// How often the basis is renewed and how long the preconditioners remember.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoapSpec {
    /// Steps between two renewals of the basis.
    pub every: u32,
    /// Decay of the preconditioners.
    pub beta: f32,
}

/// The state of one matrix `[m, n]`.
#[derive(Clone, Debug)]
pub struct Soap {
    left: Tensor<2>,
    right: Tensor<2>,
    /// Eigenvectors, one a row.
    ql: Tensor<2>,
    qr: Tensor<2>,
    /// First and second moment in that basis, `[m, n]`.
    m: Tensor<2>,
    v: Tensor<2>,
}

impl Soap {
    /// Nothing known yet.
    pub fn new([m, n]: [usize; 2], device: &Device) -> Self {
        let zeros = |shape| Tensor::zeros(shape, device);
        let eye =
            |n: usize| tensor((0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0))).collect(), [n, n], device);
        Self { left: zeros([m, m]), right: zeros([n, n]), ql: eye(m), qr: eye(n), m: zeros([m, n]), v: zeros([m, n]) }
    }

    /// What is to be taken from the matrix at a rate of 1, after its `t`-th gradient (from 1).
    pub fn direction(&mut self, grad: &Tensor<2>, t: u32, spec: &SoapSpec, adam: &AdamSpec) -> Tensor<2> {
        let decayed = |old: &Tensor<2>, new: Tensor<2>| old.clone() * spec.beta + new * (1.0 - spec.beta);
        self.left = decayed(&self.left, grad.clone().matmul(grad.clone().transpose()));
        self.right = decayed(&self.right, grad.clone().transpose().matmul(grad.clone()));
        let turned = self.ql.clone().matmul(grad.clone()).matmul(self.qr.clone().transpose());
        self.m = self.m.clone() * adam.beta1 + turned.clone() * (1.0 - adam.beta1);
        self.v = self.v.clone() * adam.beta2 + turned.clone() * turned * (1.0 - adam.beta2);
        let (c1, c2) = (1.0 - adam.beta1.powi(t as i32), 1.0 - adam.beta2.powi(t as i32));
        let step = (self.m.clone() / c1) / ((self.v.clone() / c2).sqrt() + adam.eps);
        let step = self.ql.clone().transpose().matmul(step).matmul(self.qr.clone());
        if t.is_multiple_of(spec.every) || t == 1 {
            self.renew();
        }
        step
    }

    /// One power iteration on each basis; the first moment is turned along.
    fn renew(&mut self) {
        let (ql, qr) = (refined(&self.left, &self.ql), refined(&self.right, &self.qr));
        let plain = self.ql.clone().transpose().matmul(self.m.clone()).matmul(self.qr.clone());
        self.m = ql.clone().matmul(plain).matmul(qr.clone().transpose());
        (self.ql, self.qr) = (ql, qr);
    }
}

/// Rows of `q` taken nearer to the eigenvectors of the symmetric `a`, and made orthonormal.
fn refined(a: &Tensor<2>, q: &Tensor<2>) -> Tensor<2> {
    let [n, _] = q.dims();
    let device = q.device();
    let mut rows = values(q.clone().matmul(a.clone()));
    let old = values(q.clone());
    orthonormal(&mut rows, &old, n);
    tensor(rows, [n, n], &device)
}

/// Gram and Schmidt's orthonormal rows, twice for the sake of single precision; a row that vanishes becomes the old one.
fn orthonormal(rows: &mut [f32], old: &[f32], n: usize) {
    for i in 0..n {
        let (done, rest) = rows.split_at_mut(i * n);
        let row = &mut rest[..n];
        let mut length = norm(row);
        if length < 1e-30 {
            row.copy_from_slice(&old[i * n..][..n]);
            length = norm(row);
        }
        row.iter_mut().for_each(|v| *v /= length);
        for _ in 0..2 {
            for other in done.chunks_exact(n) {
                let along: f32 = dot(row, other);
                row.iter_mut().zip(other).for_each(|(r, o)| *r -= along * o);
            }
            let length = norm(row);
            if length < 1e-4 {
                row.copy_from_slice(&old[i * n..][..n]);
            } else {
                row.iter_mut().for_each(|v| *v /= length);
            }
        }
    }
}

fn norm(row: &[f32]) -> f32 {
    dot(row, row).sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        for (s, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *s += a * b;
        }
    }
    sums.iter().sum()
}
