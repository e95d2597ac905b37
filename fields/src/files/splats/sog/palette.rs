//! A palette of vectors: k-means with tens of thousands of centres in seconds.
//!
//! Lloyd's step against all centres costs `n k` distances. Here points are first parted into leaves of some two
//! thousand by a coarse k-means; every leaf gets as many centres as bring down the sum of squares most (the error of
//! `k` centres falls as `k^(−2/d)`), chosen by k-means++ (Arthur and Vassilvitskii 2007) and settled within the leaf.
//! Steps over all points follow, in which a point looks at the centres of its own and of the nearest leaves.

use std::collections::BinaryHeap;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::ops::simd::Tier;
use crate::rng::Rng;

/// Centres side by side in a vector.
const LANES: usize = 16;
/// Points that meet a vector of centres together.
const TOGETHER: usize = 4;
/// The widest point: 15 coefficients of three colours.
const WIDEST: usize = 45;
/// Points in a leaf, about.
const LEAF: usize = 2048;
/// The most parts that points are parted into at once.
const PARTS: usize = 256;
/// Points for each part that a coarse k-means looks at.
const SAMPLE: usize = 48;
/// How often parts are parted again.
const DEEPEST: u64 = 8;
const STEPS: usize = 8;
/// Leaves whose centres a point looks at in the end.
const NEAR: usize = 8;
const ROUNDS: usize = 4;

/// Rows that are known by their index.
#[derive(Clone, Copy)]
pub struct Points<'a> {
    /// `[n, width]`
    pub values: &'a [f32],
    /// Up to 45.
    pub width: usize,
}

impl<'a> Points<'a> {
    fn row(&self, i: u32) -> &'a [f32] {
        &self.values[i as usize * self.width..][..self.width]
    }

    fn len(&self) -> usize {
        self.values.len() / self.width
    }
}

/// Centres, `[k, width]`, and for each point the index of its own.
pub struct Palette {
    pub centres: Vec<f32>,
    pub labels: Vec<u32>,
}

/// At most `k` centres for `points`, of which there is at least one. The same points give the same palette.
pub fn palette(points: Points<'_>, k: usize) -> Palette {
    let mut leaves = Vec::new();
    part(points, (0..points.len() as u32).collect(), k, 0, &mut leaves);
    let mut groups: Vec<Group> = leaves
        .into_par_iter()
        .enumerate()
        .map(|(i, Leaf { members, k })| {
            let centres = settled(points, &members, k, STEPS, &mut Rng::at(1, "palette", i as u64));
            Group { members, centres }
        })
        .collect();
    for round in 0..ROUNDS {
        let (found, first) = looked_around(points, &groups);
        groups = regrouped(points, &groups, &found, &first, round + 1 < ROUNDS);
    }
    let (found, first) = looked_around(points, &groups);
    let centres: Vec<f32> = groups.into_iter().flat_map(|group| group.centres).collect();
    debug_assert_eq!(first.last().copied().unwrap_or(0) as usize * points.width, centres.len());
    Palette { centres, labels: found.into_iter().map(|found| found.at).collect() }
}

/// Points that lie together, and how many centres they get.
struct Leaf {
    members: Vec<u32>,
    k: usize,
}

/// Points that lie together, and their centres.
struct Group {
    members: Vec<u32>,
    centres: Vec<f32>,
}

/// The nearest centre of a point.
#[derive(Clone, Copy, Default)]
struct Found {
    at: u32,
    /// Half the squared distance, less half the squared length of the point.
    score: f32,
}

fn part(points: Points<'_>, members: Vec<u32>, k: usize, depth: u64, leaves: &mut Vec<Leaf>) {
    let parts = (members.len() / LEAF).min(PARTS).min(k);
    if parts < 2 {
        leaves.push(Leaf { members, k });
        return;
    }
    let mut rng = Rng::at(2, "parts of a palette", depth);
    let sample: Vec<u32> = (0..parts * SAMPLE).map(|_| members[rng.below(members.len())]).collect();
    let table = Table::of(points.width, &settled(points, &sample, parts, STEPS, &mut rng));
    let mut found = vec![Found::default(); members.len()];
    let pieces = members.par_chunks(LEAF).zip(found.par_chunks_mut(LEAF));
    pieces.for_each(|(ids, found)| nearest(points, ids, &table, found));
    let mut lists = vec![Vec::new(); parts];
    members.iter().zip(&found).for_each(|(id, found)| lists[found.at as usize].push(*id));
    lists.retain(|list| !list.is_empty());
    if lists.len() < 2 || depth == DEEPEST {
        // Points that are equal, or nearly.
        leaves.push(Leaf { members, k: k.min(PARTS) });
        return;
    }
    let spread: Vec<f64> = lists.par_iter().map(|list| spread(points, list)).collect();
    let shares = shares(&spread, &lists.iter().map(Vec::len).collect::<Vec<_>>(), k, points.width);
    for (list, k) in lists.into_iter().zip(shares) {
        part(points, list, k, depth + 1, leaves);
    }
}

/// The sum of squared distances from the mean.
fn spread(points: Points<'_>, members: &[u32]) -> f64 {
    let mean = mean(points, members);
    let rows = members.iter().map(|id| points.row(*id));
    rows.map(|row| row.iter().zip(&mean).map(|(v, m)| f64::from(v - m).powi(2)).sum::<f64>()).sum()
}

fn mean(points: Points<'_>, members: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0_f64; points.width];
    for id in members {
        sum.iter_mut().zip(points.row(*id)).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    sum.into_iter().map(|sum| (sum / members.len().max(1) as f64) as f32).collect()
}

/// `k` centres shared out, one after the other to where it helps most. Every part gets one, none more than it has
/// points.
fn shares(spread: &[f64], sizes: &[usize], k: usize, width: usize) -> Vec<usize> {
    let error = |i: usize, k: usize| spread[i] * (k as f64).powf(-2.0 / width as f64);
    // Gains are not negative, so their bits are in the order of their values; of equal ones the first is served first.
    let gain = |i: usize, k: usize| ((error(i, k) - error(i, k + 1)).max(0.0).to_bits(), std::cmp::Reverse(i));
    let mut shares = vec![1; sizes.len()];
    let mut heap: BinaryHeap<_> = (0..sizes.len()).filter(|i| sizes[*i] > 1).map(|i| gain(i, 1)).collect();
    for _ in sizes.len()..k {
        let Some((_, std::cmp::Reverse(i))) = heap.pop() else { break };
        shares[i] += 1;
        if shares[i] < sizes[i] {
            heap.push(gain(i, shares[i]));
        }
    }
    shares
}

/// Up to `k` centres for a few points: k-means++, then Lloyd's steps.
fn settled(points: Points<'_>, members: &[u32], k: usize, steps: usize, rng: &mut Rng) -> Vec<f32> {
    if k >= members.len() {
        return members.iter().flat_map(|id| points.row(*id)).copied().collect();
    }
    let mut centres = seeds(points, members, k, rng);
    let k = centres.len() / points.width;
    let mut found = vec![Found::default(); members.len()];
    for _ in 0..steps {
        nearest(points, members, &Table::of(points.width, &centres), &mut found);
        let (sums, counts) = sums(points, members, &found, k);
        let mut moved = false;
        for (c, centre) in centres.chunks_exact_mut(points.width).enumerate().filter(|(c, _)| counts[*c] > 0) {
            for (v, sum) in centre.iter_mut().zip(&sums[c * points.width..]) {
                let mean = (sum / f64::from(counts[c])) as f32;
                moved |= *v != mean;
                *v = mean;
            }
        }
        if !moved {
            break;
        }
    }
    centres
}

fn sums(points: Points<'_>, members: &[u32], found: &[Found], k: usize) -> (Vec<f64>, Vec<u32>) {
    let (mut sums, mut counts) = (vec![0.0_f64; k * points.width], vec![0_u32; k]);
    for (id, found) in members.iter().zip(found) {
        counts[found.at as usize] += 1;
        let sum = &mut sums[found.at as usize * points.width..][..points.width];
        sum.iter_mut().zip(points.row(*id)).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    (sums, counts)
}

/// k-means++: each centre is a point, drawn with the square of its distance from those before, until all are met.
fn seeds(points: Points<'_>, members: &[u32], k: usize, rng: &mut Rng) -> Vec<f32> {
    let own: Vec<f32> = members.iter().flat_map(|id| points.row(*id)).copied().collect();
    let table = Table::of(points.width, &own);
    let mut far = vec![[f32::INFINITY; LANES]; table.halves.len()];
    let mut centres = Vec::with_capacity(k * points.width);
    let mut next = rng.below(members.len());
    loop {
        let centre = &own[next * points.width..][..points.width];
        centres.extend_from_slice(centre);
        if centres.len() == k * points.width {
            return centres;
        }
        Tier::best().run(Approach { table: &table, centre, far: &mut far });
        let far = &far.as_flattened()[..members.len()];
        let all: f64 = far.iter().map(|v| f64::from(*v)).sum();
        if all == 0.0 {
            return centres;
        }
        let mut goal = all * (rng.next_u32() as f64 + 0.5) / 4_294_967_296.0;
        let at = far.iter().position(|v| {
            goal -= f64::from(*v);
            goal < 0.0
        });
        // Rounding may lead past the last one.
        next = at.unwrap_or_else(|| rng.below(members.len()));
    }
}

/// Rows in vectors of 16, with half their squared lengths; what fills up the last vector is infinitely long.
struct Table {
    width: usize,
    /// `[⌈n / 16⌉ · width]`
    columns: Vec<[f32; LANES]>,
    halves: Vec<[f32; LANES]>,
}

impl Table {
    fn of(width: usize, rows: &[f32]) -> Self {
        let blocks = (rows.len() / width).div_ceil(LANES);
        let mut table =
            Self { width, columns: vec![[0.0; LANES]; blocks * width], halves: vec![[f32::INFINITY; LANES]; blocks] };
        for (i, row) in rows.chunks_exact(width).enumerate() {
            let (block, lane) = (i / LANES, i % LANES);
            let columns = table.columns[block * width..].iter_mut().zip(row);
            columns.for_each(|(column, v)| column[lane] = *v);
            table.halves[block][lane] = 0.5 * row.iter().map(|v| v * v).sum::<f32>();
        }
        table
    }

    fn blocks(&self) -> impl Iterator<Item = (&[f32; LANES], &[[f32; LANES]])> {
        self.halves.iter().zip(self.columns.chunks_exact(self.width))
    }
}

/// For each of `ids` the row of `table` that is nearest to it.
fn nearest(points: Points<'_>, ids: &[u32], table: &Table, found: &mut [Found]) {
    Tier::best().run(Nearest { points, ids, table, found });
}

struct Nearest<'a> {
    points: Points<'a>,
    ids: &'a [u32],
    table: &'a Table,
    found: &'a mut [Found],
}

impl WithSimd for Nearest<'_> {
    type Output = ();

    /// `argmin ½ |c|² − x · c`, four points against sixteen centres at a time. Nothing is fused: every tier gives the
    /// same.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut x = [[0.0_f32; TOGETHER]; WIDEST];
        for (ids, found) in self.ids.chunks(TOGETHER).zip(self.found.chunks_mut(TOGETHER)) {
            for (p, id) in ids.iter().enumerate() {
                x.iter_mut().zip(self.points.row(*id)).for_each(|(x, v)| x[p] = *v);
            }
            let mut best = [[f32::INFINITY; LANES]; TOGETHER];
            let mut at = [[0_u32; LANES]; TOGETHER];
            for (block, (half, columns)) in self.table.blocks().enumerate() {
                let mut score = [*half; TOGETHER];
                for (column, x) in columns.iter().zip(&x) {
                    for p in 0..TOGETHER {
                        for lane in 0..LANES {
                            score[p][lane] -= x[p] * column[lane];
                        }
                    }
                }
                for p in 0..TOGETHER {
                    for lane in 0..LANES {
                        let less = score[p][lane] < best[p][lane];
                        best[p][lane] = if less { score[p][lane] } else { best[p][lane] };
                        at[p][lane] = if less { block as u32 } else { at[p][lane] };
                    }
                }
            }
            for (p, found) in found.iter_mut().enumerate() {
                let lane = (1..LANES).fold(0, |a, b| {
                    let earlier = best[p][b] == best[p][a] && at[p][b] < at[p][a];
                    if best[p][b] < best[p][a] || earlier { b } else { a }
                });
                *found = Found { at: at[p][lane] * LANES as u32 + lane as u32, score: best[p][lane] };
            }
        }
    }
}

/// Lowers `far`, the squared distances of the table's rows from the centres so far, by one centre.
struct Approach<'a> {
    table: &'a Table,
    centre: &'a [f32],
    far: &'a mut [[f32; LANES]],
}

impl WithSimd for Approach<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (columns, far) in self.table.columns.chunks_exact(self.table.width).zip(self.far) {
            let mut squares = [0.0_f32; LANES];
            for (column, x) in columns.iter().zip(self.centre) {
                for lane in 0..LANES {
                    let off = column[lane] - x;
                    squares[lane] += off * off;
                }
            }
            for lane in 0..LANES {
                far[lane] = if squares[lane] < far[lane] { squares[lane] } else { far[lane] };
            }
        }
    }
}

/// The nearest centre of every point among those of its own and of the nearest groups, as an index into all centres;
/// and where each group's centres begin among all, with the end.
fn looked_around(points: Points<'_>, groups: &[Group]) -> (Vec<Found>, Vec<u32>) {
    let mut first = vec![0_u32];
    for group in groups {
        let last = first[first.len() - 1];
        first.push(last + (group.centres.len() / points.width) as u32);
    }
    let middles: Vec<f32> = groups.par_iter().flat_map_iter(|group| mean(points, &group.members)).collect();
    let row = |i: usize| &middles[i * points.width..][..points.width];
    let lists: Vec<Vec<Found>> = (0..groups.len())
        .into_par_iter()
        .map(|i| {
            let off = |j: usize| row(i).iter().zip(row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            let mut near: Vec<(f32, usize)> = (0..groups.len()).map(|j| (off(j), j)).collect();
            near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            near.truncate(NEAR);
            let centres: Vec<f32> = near.iter().flat_map(|(_, j)| &groups[*j].centres).copied().collect();
            let index: Vec<u32> = near.iter().flat_map(|(_, j)| first[*j]..first[j + 1]).collect();
            let mut found = vec![Found::default(); groups[i].members.len()];
            let table = Table::of(points.width, &centres);
            let pieces = groups[i].members.par_chunks(LEAF).zip(found.par_chunks_mut(LEAF));
            pieces.for_each(|(ids, found)| nearest(points, ids, &table, found));
            found.iter_mut().for_each(|found| found.at = index[found.at as usize]);
            found
        })
        .collect();
    let mut all = vec![Found::default(); points.len()];
    for (group, list) in groups.iter().zip(lists) {
        group.members.iter().zip(list).for_each(|(id, found)| all[*id as usize] = found);
    }
    (all, first)
}

/// Groups after a step: points go to the group of their centre, centres to the middle of their points, and centres that
/// have none to the points that are worst off.
fn regrouped(points: Points<'_>, groups: &[Group], found: &[Found], first: &[u32], reuse: bool) -> Vec<Group> {
    let width = points.width;
    let ids: Vec<u32> = (0..points.len() as u32).collect();
    let k = first[groups.len()] as usize;
    let (sums, counts) = sums(points, &ids, found, k);
    let owner = |centre: u32| first.partition_point(|f| *f <= centre) - 1;
    let mut next: Vec<Group> = groups.iter().map(|_| Group { members: Vec::new(), centres: Vec::new() }).collect();
    found.iter().enumerate().for_each(|(id, found)| next[owner(found.at)].members.push(id as u32));
    for c in (0..k).filter(|c| counts[*c] > 0) {
        let mean = sums[c * width..][..width].iter().map(|sum| (sum / f64::from(counts[c])) as f32);
        next[owner(c as u32)].centres.extend(mean);
    }
    let free = counts.iter().filter(|count| **count == 0).count();
    if reuse && free > 0 {
        let error = |id: u32| found[id as usize].score + 0.5 * points.row(id).iter().map(|v| v * v).sum::<f32>();
        let mut worst: Vec<(f32, u32)> = ids.par_iter().map(|id| (error(*id), *id)).collect();
        worst.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, id) in &worst[..free.min(worst.len())] {
            next[owner(found[*id as usize].at)].centres.extend_from_slice(points.row(*id));
        }
    }
    next.retain(|group| !group.centres.is_empty());
    next
}
