//! Small dense linear systems: Cholesky's `A = UᵀU` for normal equations, in double precision.
//!
//! `A X = B` becomes `Uᵀ Y = B`, solved from above while `U` is made row by row, and `U X = Y`, solved from below.

/// Solves `A X = B` in place of `B` `[n, m]` for a symmetric, positive definite `A` `[n, n]`, of which the upper half is
/// read and overwritten. Both are row-major.
#[inline]
pub fn solve(a: &mut [f64], b: &mut [f64], n: usize, m: usize) {
    for k in 0..n {
        // Rounding must not take the diagonal below zero; a ridge keeps it well above.
        let d = a[k * n + k].max(1e-30).sqrt();
        a[k * n + k..(k + 1) * n].iter_mut().for_each(|v| *v /= d);
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &above[k * n..];
        for (i, line) in (k + 1..n).zip(below.chunks_exact_mut(n)) {
            let f = row[i];
            line[i..].iter_mut().zip(&row[i..]).for_each(|(v, r)| *v -= f * r);
        }
        let (above, below) = b.split_at_mut((k + 1) * m);
        let own = &mut above[k * m..];
        own.iter_mut().for_each(|v| *v /= d);
        for (i, line) in (k + 1..n).zip(below.chunks_exact_mut(m)) {
            line.iter_mut().zip(own.iter()).for_each(|(v, r)| *v -= row[i] * r);
        }
    }
    for k in (0..n).rev() {
        let (above, below) = b.split_at_mut((k + 1) * m);
        let own = &mut above[k * m..];
        for (i, line) in (k + 1..n).zip(below.chunks_exact(m)) {
            own.iter_mut().zip(line).for_each(|(v, r)| *v -= a[k * n + i] * r);
        }
        own.iter_mut().for_each(|v| *v /= a[k * n + k]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_solution_solves() {
        let (n, m) = (7, 3);
        let mut rng = Rng::new(1, "cholesky");
        let mut draw = |n: usize| (0..n).map(|_| f64::from(rng.normal())).collect::<Vec<_>>();
        let (root, b) = (draw(n * n), draw(n * m));
        // `R Rᵀ + I / 10` is symmetric and positive definite.
        let entry = |i: usize, j: usize| (0..n).map(|k| root[i * n + k] * root[j * n + k]).sum::<f64>();
        let a: Vec<f64> =
            (0..n * n).map(|at| entry(at / n, at % n) + if at % (n + 1) == 0 { 0.1 } else { 0.0 }).collect();
        let solved = |change: &dyn Fn(&mut [f64])| {
            let (mut left, mut x) = (a.clone(), b.clone());
            change(&mut left);
            solve(&mut left, &mut x, n, m);
            x
        };
        let off = |x: &[f64]| {
            let said = |i: usize, c: usize| (0..n).map(|k| a[i * n + k] * x[k * m + c]).sum::<f64>();
            (0..n * m).map(|at| (said(at / m, at % m) - b[at]).abs()).fold(0.0, f64::max)
        };
        assert!(off(&solved(&|_| ())) < 1e-9, "{}", off(&solved(&|_| ())));
        // The lower half is not read; the negative control is a change of the upper.
        assert_eq!(solved(&|a| a[n] = f64::NAN), solved(&|_| ()));
        assert!(off(&solved(&|a| a[1] += 0.01)) > 1e-4);
    }
}
