use super::*;
use crate::ops::factors::reference;
use crate::rng::Rng;

fn spec(form: Form, rank: usize) -> FactorSpec {
    FactorSpec { form, resolution: [9, 8, 7], sigma_rank: rank, app_rank: rank, latent: 5, offset: 0.0, outside: -40.0 }
}

fn draw(n: usize, spread: f32, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, "fit");
    (0..n).map(|_| spread * rng.normal()).collect()
}

/// Three of four grid points.
fn some_points() -> Vec<[u16; 3]> {
    let all = (0..9 * 8 * 7_u16).map(|i| [i % 9, i / 9 % 8, i / 72]);
    all.enumerate().filter(|(i, _)| i % 4 != 1).map(|(_, at)| at).collect()
}

/// What a field says at grid points, `[n, 1 + latent]`.
fn said(spec: &FactorSpec, at: &[[u16; 3]], table: &[f32], basis: &[f32]) -> Vec<f32> {
    let unit = |at: &[u16; 3]| std::array::from_fn::<f32, 3, _>(|a| f32::from(at[a]) / (spec.resolution[a] - 1) as f32);
    let x: Vec<f32> = at.iter().flat_map(unit).collect();
    let mut out = vec![0.0; at.len() * spec.out_dim()];
    reference::forward(spec, &x, table, basis, &mut out);
    out
}

/// The part of the variance that a field of `rank` does not say of one of rank 2: of its density, and of its latent.
fn unsaid(form: Form, rank: usize) -> [f32; 2] {
    let (truth, at) = (spec(form, 2), some_points());
    let table = draw(truth.rows() * truth.columns(), 1.0, 1);
    let basis = draw(truth.latent * truth.products(), 1.0, 2);
    let all = said(&truth, &at, &table, &basis);
    let weight: Vec<f32> = (0..at.len()).map(|i| 0.5 + (i % 3) as f32).collect();
    let own = spec(form, rank);
    let mut table = draw(own.rows() * own.columns(), 0.3, 3);
    let mut basis = draw(own.latent * own.products(), 0.3, 4);
    let free = [f32::NEG_INFINITY, f32::INFINITY];
    let density: Vec<f32> = all.chunks(6).map(|row| row[0]).collect();
    let latent: Vec<f32> = all.chunks(6).flat_map(|row| row[1..].to_vec()).collect();
    let wanted = |values| Wanted { at: &at, values, weight: &weight, held: free };
    let mut ones = vec![1.0; own.modes() * rank];
    let left = fit(&own, &wanted(&density), 0..rank, &mut table, &mut ones, false, 60);
    assert!(ones.iter().all(|v| *v == 1.0), "what is not learned stays");
    let own_left = fit(&own, &wanted(&latent), rank..2 * rank, &mut table, &mut basis, true, 60);
    // What is returned is what the kernels say.
    let now = said(&own, &at, &table, &basis);
    let part = |columns: Range<usize>| {
        let (mut e, mut v) = (0.0, 0.0);
        for ((now, then), w) in now.chunks(6).zip(all.chunks(6)).zip(&weight) {
            for c in columns.clone() {
                e += w * (now[c] - then[c]).powi(2);
                v += w * then[c].powi(2);
            }
        }
        (e / v, e / weight.iter().sum::<f32>() / columns.len() as f32)
    };
    let parts = [part(0..1), part(1..6)];
    for ((_, mean), left) in parts.iter().zip([left, own_left]) {
        assert!((mean - left).abs() < 1e-3 * (left + 1e-2), "{form:?} {rank}: {mean} and {left}");
    }
    parts.map(|p| p.0)
}

#[test]
fn what_is_of_low_rank_is_found() {
    for form in [Form::Planes, Form::Lines] {
        // A few ranks more than needed, so that no bad start is final.
        let enough = unsaid(form, 4);
        assert!(enough.iter().all(|part| *part < 0.01), "{form:?}: {enough:?}");
        let too_few = unsaid(form, 1);
        assert!(too_few.iter().all(|part| *part > 0.05), "{form:?}: {too_few:?}");
    }
}

#[test]
fn an_end_asks_for_anything_beyond_it() {
    let (own, at) = (spec(Form::Lines, 1), some_points());
    // Rank 1 as it is, but its ends are cut off.
    let truth = |at: &[u16; 3]| (0..3).map(|a| 0.3 * f32::from(at[a]) - 0.8).product::<f32>();
    let cut: Vec<f32> = at.iter().map(|at| truth(at).clamp(-0.2, 0.2)).collect();
    let weight = vec![1.0; at.len()];
    let left = |held: [f32; 2]| {
        let mut table = draw(own.rows() * own.columns(), 0.3, 3);
        let wanted = Wanted { at: &at, values: &cut, weight: &weight, held };
        fit(&own, &wanted, 0..1, &mut table, &mut [1.0], false, 80)
    };
    let (held, free) = (left([-0.2, 0.2]), left([f32::NEG_INFINITY, f32::INFINITY]));
    assert!(held < 1e-4 && free > 10.0 * held, "{held} and {free}");
}

#[test]
fn one_result_on_any_number_of_threads() {
    let (own, at) = (spec(Form::Planes, 3), some_points());
    let (values, weight) = (draw(at.len() * 5, 1.0, 7), vec![1.0; at.len()]);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut table = draw(own.rows() * own.columns(), 0.3, 3);
            let mut basis = draw(own.latent * own.products(), 0.3, 4);
            let wanted = Wanted { at: &at, values: &values, weight: &weight, held: [-9.0, 9.0] };
            fit(&own, &wanted, 3..6, &mut table, &mut basis, true, 3);
            (table, basis)
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn least_squares_find_the_rows() {
    let (x, rows) = (draw(200 * 6, 1.0, 1), draw(2 * 6, 1.0, 2));
    let y: Vec<f32> = x
        .chunks(6)
        .flat_map(|x| [0, 1].map(|r| x.iter().zip(&rows[6 * r..]).map(|(x, w)| x * w).sum::<f32>()))
        .collect();
    let found = least_squares(&x, &y, 6);
    let worst = found.iter().flatten().zip(&rows).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.01 && found.len() == 2, "{worst}");
    let other = least_squares(&x, &y.iter().rev().copied().collect::<Vec<_>>(), 6);
    assert!(other.iter().flatten().zip(&rows).any(|(a, b)| (a - b).abs() > 0.1), "the comparison is too loose");
}
