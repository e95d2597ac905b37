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
        if t == 1 || t.is_multiple_of(spec.every) {
            self.renew();
        }
        step
    }

    /// Everything that a checkpoint keeps.
    pub fn state(&self) -> [(&'static str, &Tensor<2>); 6] {
        let Self { left, right, ql, qr, m, v } = self;
        [("left", left), ("right", right), ("ql", ql), ("qr", qr), ("m", m), ("v", v)]
    }

    /// The same, to be replaced.
    pub fn state_mut(&mut self) -> [(&'static str, &mut Tensor<2>); 6] {
        let Self { left, right, ql, qr, m, v } = self;
        [("left", left), ("right", right), ("ql", ql), ("qr", qr), ("m", m), ("v", v)]
    }

    /// One power iteration on each basis; the first moment is turned along.
    fn renew(&mut self) {
        let (ql, qr) = (refined(&self.left, &self.ql), refined(&self.right, &self.qr));
        let plain = self.ql.clone().transpose().matmul(self.m.clone()).matmul(self.qr.clone());
        self.m = ql.clone().matmul(plain).matmul(qr.clone().transpose());
        (self.ql, self.qr) = (ql, qr);
    }
}

/// What is added to the eigenvalues, as a share of their mean: rows along which there was no gradient yet stay where
/// they are, instead of following what rounding leaves.
const RIDGE: f32 = 1e-5;

/// Rows of `q` taken nearer to the eigenvectors of the symmetric `a`, and made orthonormal.
fn refined(a: &Tensor<2>, q: &Tensor<2>) -> Tensor<2> {
    let [n, _] = q.dims();
    let device = q.device();
    let old = values(q.clone());
    let mean = values(a.clone()).iter().step_by(n + 1).sum::<f32>() / n as f32;
    let mut rows = values(q.clone().matmul(a.clone()));
    rows.iter_mut().zip(&old).for_each(|(row, old)| *row += RIDGE * mean * old);
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

#[cfg(test)]
mod tests {
    use retort_fields::rng::Rng;

    use super::*;

    const ADAM: AdamSpec = AdamSpec { beta1: 0.9, beta2: 0.99, eps: 1e-10, weight_decay: 0.0, skip_zero_grad: false };

    fn random(rng: &mut Rng, rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|_| rng.normal()).collect()
    }

    /// The same in double precision and in loops, matrices as rows of rows.
    struct Plain {
        left: Vec<Vec<f64>>,
        right: Vec<Vec<f64>>,
        ql: Vec<Vec<f64>>,
        qr: Vec<Vec<f64>>,
        m: Vec<Vec<f64>>,
        v: Vec<Vec<f64>>,
    }

    fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let entry = |row: &Vec<f64>, j: usize| (0..b.len()).map(|k| row[k] * b[k][j]).sum();
        a.iter().map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect()).collect()
    }

    fn transposed(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
        (0..a[0].len()).map(|j| a.iter().map(|row| row[j]).collect()).collect()
    }

    fn mixed(a: &[Vec<f64>], b: &[Vec<f64>], share: f64) -> Vec<Vec<f64>> {
        let row =
            |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a * share + b * (1.0 - share)).collect();
        a.iter().zip(b).map(row).collect()
    }

    /// Gram and Schmidt once; double precision needs no second time.
    fn orthonormal_rows(mut rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        for i in 0..rows.len() {
            for j in 0..i {
                let along: f64 = rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
                let other = rows[j].clone();
                rows[i].iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
            let length = rows[i].iter().map(|v| v * v).sum::<f64>().sqrt();
            rows[i].iter_mut().for_each(|v| *v /= length);
        }
        rows
    }

    fn refined_rows(q: &[Vec<f64>], a: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let ridge = f64::from(RIDGE) * (0..a.len()).map(|i| a[i][i]).sum::<f64>() / a.len() as f64;
        let mut rows = product(q, a);
        rows.iter_mut().zip(q).for_each(|(row, q)| row.iter_mut().zip(q).for_each(|(r, q)| *r += ridge * q));
        orthonormal_rows(rows)
    }

    impl Plain {
        fn new(m: usize, n: usize) -> Self {
            let eye = |n: usize| (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
            let zeros = |m: usize, n: usize| vec![vec![0.0; n]; m];
            Self { left: zeros(m, m), right: zeros(n, n), ql: eye(m), qr: eye(n), m: zeros(m, n), v: zeros(m, n) }
        }

        fn direction(&mut self, g: &[Vec<f64>], t: u32, every: u32, beta: f64) -> Vec<Vec<f64>> {
            self.left = mixed(&self.left, &product(g, &transposed(g)), beta);
            self.right = mixed(&self.right, &product(&transposed(g), g), beta);
            let turned = product(&product(&self.ql, g), &transposed(&self.qr));
            let squares: Vec<Vec<f64>> = turned.iter().map(|row| row.iter().map(|v| v * v).collect()).collect();
            self.m = mixed(&self.m, &turned, 0.9);
            self.v = mixed(&self.v, &squares, 0.99);
            let (c1, c2) = (1.0 - 0.9_f64.powi(t as i32), 1.0 - 0.99_f64.powi(t as i32));
            let one = |(m, v): (&f64, &f64)| m / c1 / ((v / c2).sqrt() + 1e-10);
            let rows = self.m.iter().zip(&self.v);
            let step: Vec<Vec<f64>> = rows.map(|(m, v)| m.iter().zip(v).map(one).collect()).collect();
            let step = product(&product(&transposed(&self.ql), &step), &self.qr);
            if t == 1 || t.is_multiple_of(every) {
                let plain = product(&product(&transposed(&self.ql), &self.m), &self.qr);
                self.ql = refined_rows(&self.ql, &self.left);
                self.qr = refined_rows(&self.qr, &self.right);
                self.m = product(&product(&self.ql, &plain), &transposed(&self.qr));
            }
            step
        }
    }

    #[test]
    fn directions_are_those_of_the_loops() {
        let (m, n, device) = (6, 6, Device::flex());
        let run = |every: u32| -> f32 {
            let spec = SoapSpec { every: 3, beta: 0.9 };
            let (mut soap, mut plain, mut rng) = (Soap::new([m, n], &device), Plain::new(m, n), Rng::new(1, "soap"));
            let mut worst = 0.0_f32;
            for t in 1..=20 {
                let grad = random(&mut rng, m, n);
                let rows: Vec<Vec<f64>> =
                    grad.chunks_exact(n).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
                let fast = values(soap.direction(&tensor(grad, [m, n], &device), t, &spec, &ADAM));
                let slow = plain.direction(&rows, t, every, 0.9);
                let pairs = fast.iter().zip(slow.iter().flatten());
                worst = pairs.map(|(a, b)| (a - *b as f32).abs()).fold(worst, f32::max);
            }
            worst
        };
        assert!(run(3) < 1e-3, "off by {}", run(3));
        // The negative control: a basis that is renewed at other steps.
        assert!(run(4) > 1e-1);
    }
}
