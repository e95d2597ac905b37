//! Which triangles are around which vertex, kept up while edges collapse.
//!
//! Corner `3 t + k` is corner `k` of triangle `t`. The corners of a vertex form a linked list, so that two vertices
//! become one by appending a list; triangles that are gone are taken out when a list is next walked.

/// Marks the end of a list and a triangle that is gone.
const NONE: u32 = u32::MAX;

/// Triangles and the corners of each vertex.
pub(super) struct Topology {
    pub(super) triangles: Vec<[u32; 3]>,
    /// The first corner of each vertex.
    head: Vec<u32>,
    /// The next corner of the same vertex.
    next: Vec<u32>,
    /// Triangles that are not gone.
    pub(super) alive: usize,
    /// Edges of one triangle when all began, the lower vertex first, in rising order.
    pub(super) rim: Vec<(u32, u32)>,
    /// Vertices with an edge of one triangle.
    pub(super) border: Vec<bool>,
    /// Vertices with an edge of three or more triangles; they stay as they are.
    pub(super) locked: Vec<bool>,
    /// The last round in which a vertex was met, and how often.
    mark: Vec<(u64, u32)>,
    round: u64,
}

impl Topology {
    /// Of `triangles`, those with three different corners, between vertices `0..n`.
    pub(super) fn new(n: usize, triangles: &[[u32; 3]]) -> Self {
        let triangles: Vec<[u32; 3]> =
            triangles.iter().copied().filter(|[a, b, c]| a != b && b != c && c != a).collect();
        let (mut head, mut next) = (vec![NONE; n], vec![NONE; 3 * triangles.len()]);
        for (corner, &vertex) in triangles.iter().flatten().enumerate() {
            next[corner] = std::mem::replace(&mut head[vertex as usize], corner as u32);
        }
        let alive = triangles.len();
        let flags = || vec![false; n];
        let (border, locked, mark) = (flags(), flags(), vec![(0, 0); n]);
        let mut topology = Self { triangles, head, next, alive, rim: Vec::new(), border, locked, mark, round: 0 };
        let edges = topology.edges();
        for &(a, b, count) in &edges {
            for vertex in [a, b] {
                topology.border[vertex as usize] |= count == 1;
                topology.locked[vertex as usize] |= count > 2;
            }
        }
        topology.rim = edges.into_iter().filter(|edge| edge.2 == 1).map(|(a, b, _)| (a, b)).collect();
        topology
    }

    /// All edges, the lower vertex first, with their numbers of triangles, in rising order.
    pub(super) fn edges(&self) -> Vec<(u32, u32, usize)> {
        let whole = self.triangles.iter().filter(|t| t[0] != NONE);
        let mut sides: Vec<(u32, u32)> =
            whole.flat_map(|&[a, b, c]| [(a, b), (b, c), (c, a)]).map(|(a, b)| (a.min(b), a.max(b))).collect();
        rayon::slice::ParallelSliceMut::par_sort_unstable(&mut sides[..]);
        sides.chunk_by(|a, b| a == b).map(|same| (same[0].0, same[0].1, same.len())).collect()
    }

    /// Whether a vertex has a triangle.
    pub(super) fn used(&self, vertex: u32) -> bool {
        self.head[vertex as usize] != NONE
    }

    /// Puts the triangles around a vertex into `found`.
    pub(super) fn around(&mut self, vertex: u32, found: &mut Vec<u32>) {
        found.clear();
        let mut last = NONE;
        let mut corner = self.head[vertex as usize];
        while corner != NONE {
            let after = self.next[corner as usize];
            if self.triangles[corner as usize / 3][0] == NONE {
                *self.link(vertex, last) = after;
            } else {
                found.push(corner / 3);
                last = corner;
            }
            corner = after;
        }
    }

    /// What leads on from corner `last` of a vertex, or to its first.
    fn link(&mut self, vertex: u32, last: u32) -> &mut u32 {
        if last == NONE { &mut self.head[vertex as usize] } else { &mut self.next[last as usize] }
    }

    /// Whether the edge between `a` and `b`, whose triangles are given, can collapse so that the surface stays what it
    /// is: the vertices and edges that link to both ends are only those of the edge's own triangles (Dey et al. 1999).
    /// A border counts as linked to one more vertex, which all of it sees.
    pub(super) fn may_collapse(&mut self, a: u32, b: u32, of_a: &[u32], of_b: &[u32]) -> bool {
        let shared = of_a.iter().filter(|&&t| self.triangles[t as usize].contains(&b)).count();
        if shared == 0 || shared > 2 || self.locked[a as usize] || self.locked[b as usize] {
            return false;
        }
        if shared == 2 && self.border[a as usize] && self.border[b as usize] {
            return false;
        }
        // How many triangles of `a` each of its neighbours has; 1 is an edge of the border.
        self.round += 1;
        let round = self.round;
        for &t in of_a {
            for v in self.triangles[t as usize] {
                let mark = &mut self.mark[v as usize];
                *mark = (round, if mark.0 == round { mark.1 + 1 } else { 1 });
            }
        }
        self.round += 1;
        let (mut common, mut closing) = (0, false);
        for &t in of_b {
            for v in self.triangles[t as usize] {
                if v == a || v == b || self.mark[v as usize].0 != round {
                    continue;
                }
                // Met for the first time from `b`: the mark now says so.
                let with_a = std::mem::replace(&mut self.mark[v as usize], (self.round, 0)).1;
                let with_b = of_b.iter().filter(|&&t| self.triangles[t as usize].contains(&v)).count();
                common += 1;
                closing |= with_a == 1 && with_b == 1;
            }
        }
        common == shared && !(shared == 1 && closing) && !(shared == 2 && self.same_side(a, b, of_a, of_b))
    }

    /// Whether the two corners opposite the edge are joined by an edge that has a triangle with either end: then these
    /// fall on each other.
    fn same_side(&self, a: u32, b: u32, of_a: &[u32], of_b: &[u32]) -> bool {
        let beyond = |t: &u32| self.triangles[*t as usize].iter().copied().find(|&v| v != a && v != b);
        let mut ends = of_a.iter().filter(|&&t| self.triangles[t as usize].contains(&b)).filter_map(beyond);
        let (Some(c), Some(d)) = (ends.next(), ends.next()) else { return false };
        let has = |of: &[u32]| {
            of.iter().any(|&t| self.triangles[t as usize].contains(&c) && self.triangles[t as usize].contains(&d))
        };
        has(of_a) && has(of_b)
    }

    /// Makes `b` part of `a`. The triangles of both are given.
    pub(super) fn collapse(&mut self, a: u32, b: u32, of_b: &[u32]) {
        for &t in of_b {
            let triangle = &mut self.triangles[t as usize];
            if triangle.contains(&a) {
                *triangle = [NONE; 3];
                self.alive -= 1;
            } else {
                triangle.iter_mut().filter(|v| **v == b).for_each(|v| *v = a);
            }
        }
        // Of `b`'s corners the last leads on to `a`'s first.
        let first = self.head[b as usize];
        let mut last = first;
        while self.next[last as usize] != NONE {
            last = self.next[last as usize];
        }
        self.next[last as usize] = std::mem::replace(&mut self.head[a as usize], first);
        self.head[b as usize] = NONE;
        self.border[a as usize] |= self.border[b as usize];
    }

    /// The triangles that are left.
    pub(super) fn into_triangles(self) -> Vec<[u32; 3]> {
        self.triangles.into_iter().filter(|t| t[0] != NONE).collect()
    }
}
