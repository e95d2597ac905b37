//! Distances between points, by a uniform grid.

use rayon::prelude::*;

/// The root of the mean squared distance to the three nearest neighbours of each point, at least 1e-4 (3D Gaussian
/// splatting's first scale). `[n]` for points `[n]`.
pub fn spacing(points: &[[f32; 3]]) -> Vec<f32> {
    let n = points.len();
    if n < 2 {
        return vec![0.1; n];
    }
    let grid = Grid::new(points);
    points.par_iter().enumerate().map(|(i, p)| grid.spacing(points, i, *p).max(1e-4)).collect()
}

/// Points sorted into cells that hold about two each.
struct Grid {
    min: [f32; 3],
    cell: f32,
    size: [usize; 3],
    start: Vec<u32>,
    order: Vec<u32>,
}

impl Grid {
    fn new(points: &[[f32; 3]]) -> Self {
        let axis = |a: usize, f: fn(f32, f32) -> f32| points.iter().map(|p| p[a]).reduce(f).unwrap_or(0.0);
        let min = [0, 1, 2].map(|a| axis(a, f32::min));
        let max = [0, 1, 2].map(|a| axis(a, f32::max));
        let reach = [0, 1, 2].map(|a| (max[a] - min[a]).max(1e-6));
        // Points lie on surfaces, which fill about the square of the number of cells along an edge.
        let side = ((points.len() as f32 / 6.0).sqrt().ceil()).clamp(1.0, 256.0);
        let cell = reach.iter().copied().fold(0.0, f32::max) / side;
        let size = reach.map(|r| ((r / cell).ceil() as usize).max(1));
        let mut grid = Self { min, cell, size, start: Vec::new(), order: Vec::new() };
        let cells: Vec<usize> = points.iter().map(|p| grid.index(grid.cell_of(*p))).collect();
        let mut start = vec![0_u32; size.iter().product::<usize>() + 1];
        cells.iter().for_each(|&c| start[c + 1] += 1);
        for c in 1..start.len() {
            start[c] += start[c - 1];
        }
        let mut next = start.clone();
        grid.order = vec![0; points.len()];
        for (i, &c) in (0..).zip(&cells) {
            grid.order[next[c] as usize] = i;
            next[c] += 1;
        }
        grid.start = start;
        grid
    }

    fn cell_of(&self, p: [f32; 3]) -> [usize; 3] {
        [0, 1, 2].map(|a| (((p[a] - self.min[a]) / self.cell).max(0.0) as usize).min(self.size[a] - 1))
    }

    fn index(&self, c: [usize; 3]) -> usize {
        c[0] + self.size[0] * (c[1] + self.size[1] * c[2])
    }

    fn spacing(&self, points: &[[f32; 3]], i: usize, p: [f32; 3]) -> f32 {
        let centre = self.cell_of(p);
        let most = self.size.iter().copied().max().unwrap_or(1);
        let mut best = [f32::INFINITY; 3];
        for ring in 0..=most {
            self.visit_ring(centre, ring, |j| {
                if j as usize != i {
                    let q = points[j as usize];
                    insert(&mut best, (0..3).map(|a| (p[a] - q[a]).powi(2)).sum());
                }
            });
            // Everything within `ring` cells has been seen.
            if best[2] <= (ring as f32 * self.cell).powi(2) {
                break;
            }
        }
        let found: Vec<f32> = best.into_iter().filter(|d| d.is_finite()).collect();
        (found.iter().sum::<f32>() / found.len().max(1) as f32).sqrt()
    }

    fn visit_ring(&self, centre: [usize; 3], ring: usize, mut visit: impl FnMut(u32)) {
        let range = |a: usize| centre[a].saturating_sub(ring)..=(centre[a] + ring).min(self.size[a] - 1);
        for z in range(2) {
            for y in range(1) {
                for x in range(0) {
                    let far = [x.abs_diff(centre[0]), y.abs_diff(centre[1]), z.abs_diff(centre[2])];
                    if far.contains(&ring) {
                        let c = self.index([x, y, z]);
                        self.order[self.start[c] as usize..self.start[c + 1] as usize].iter().for_each(|&j| visit(j));
                    }
                }
            }
        }
    }
}

fn insert(best: &mut [f32; 3], d: f32) {
    if d < best[0] {
        *best = [d, best[0], best[1]];
    } else if d < best[1] {
        *best = [best[0], d, best[1]];
    } else if d < best[2] {
        best[2] = d;
    }
}

#[cfg(test)]
mod tests {
    use retort_fields::rng::Rng;

    use super::spacing;

    #[test]
    fn it_agrees_with_all_pairs() {
        let mut rng = Rng::new(5, "points");
        let points: Vec<[f32; 3]> =
            (0..400).map(|i| [rng.uniform(), rng.uniform(), if i % 3 == 0 { 0.0 } else { rng.uniform() }]).collect();
        let fast = spacing(&points);
        for (i, p) in points.iter().enumerate() {
            let mut all: Vec<f32> = (0..points.len())
                .filter(|&j| j != i)
                .map(|j| (0..3).map(|a| (p[a] - points[j][a]).powi(2)).sum())
                .collect();
            all.sort_by(f32::total_cmp);
            let slow = (all[..3].iter().sum::<f32>() / 3.0).sqrt();
            assert!((fast[i] - slow).abs() < 1e-6, "point {i}: {} and {slow}", fast[i]);
        }
        assert_eq!(spacing(&[]), Vec::<f32>::new());
        assert!(spacing(&[[0.0; 3]; 5])[0] > 0.0, "coincident points keep a size");
    }
}
