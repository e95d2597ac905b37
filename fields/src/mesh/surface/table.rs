//! The triangles of marching cubes (Lorensen and Cline 1987), worked out instead of copied, so that neighbours agree.
//!
//! On each face of a cell the crossings of its edges are joined by segments; the segments of the six faces chain up to
//! loops, and loops are cut into triangles. Corner `dx + 2 dy + 4 dz` of a cell is bit `dx + 2 dy + 4 dz` of its case.
//! Edge `4 a + b` runs along axis `a`; `b`'s two bits are its offsets along the other two axes, the lower axis first.
//!
//! Two rules make the whole surface closed and manifold, for every input:
//!
//! - On a face with four crossings, which can be joined in two ways, the corners inside are held together. The rule
//!   looks at the four signs alone, so both cells of a face draw the same segments, once in each direction.
//! - No cut of a loop runs between two edges of one face. So a cut belongs to one cell alone, and an edge of the
//!   surface that lies on a face is a segment: each has exactly two triangles.

use std::sync::LazyLock;

use glam::Vec3;

/// A triangle's corners as edges of the cell, counter-clockwise seen from outside.
pub(super) type Corners = [u8; 3];

/// The triangles of all 256 cases.
pub(super) static TRIANGLES: LazyLock<Vec<Vec<Corners>>> =
    LazyLock::new(|| (0..=255).map(|case| loops(case).iter().flat_map(|chain| cut(chain)).collect()).collect());

/// The edge between two neighbouring corners.
fn edge_between(a: u8, b: u8) -> u8 {
    let axis = (a ^ b).trailing_zeros() as u8;
    let low = a & b;
    let other = |k: u8| low >> k & 1;
    match axis {
        0 => other(1) | other(2) << 1,
        1 => 4 + (other(0) | other(2) << 1),
        _ => 8 + (other(0) | other(1) << 1),
    }
}

/// The corners of a face, counter-clockwise seen from outside the cell: faces 0 and 1 are -x and +x, and so on.
fn face_corners(face: u8) -> [u8; 4] {
    let (axis, high) = (face / 2, face % 2);
    // Two axes that make a right-handed system with the outward normal.
    let (mut u, mut v) = (1 << ((axis + 1) % 3), 1 << ((axis + 2) % 3));
    if high == 0 {
        std::mem::swap(&mut u, &mut v);
    }
    [0, u, u | v, v].map(|corner| corner | high << axis)
}

/// The closed chains of crossed edges, each so directed that its polygon is counter-clockwise seen from outside.
fn loops(case: u8) -> Vec<Vec<u8>> {
    let inside = |corner: u8| case >> corner & 1 == 1;
    let mut after = [None; 12];
    for face in 0..6 {
        let corners = face_corners(face);
        let turn = |i: usize| (corners[i % 4], corners[(i + 1) % 4]);
        // The boundary goes inside between `a` and `b`, and had last gone outside between `c` and `d`: the corners from
        // `d` to `a` are outside, and are cut off.
        for i in 0..4 {
            let (a, b) = turn(i);
            if inside(a) || !inside(b) {
                continue;
            }
            let back = (1..4).map(|k| turn(i + 4 - k)).find(|&(c, d)| inside(c) && !inside(d));
            let (c, d) = back.expect("a closed boundary goes out as often as in");
            after[usize::from(edge_between(a, b))] = Some(edge_between(c, d));
        }
    }
    let mut found = Vec::new();
    for first in 0..12 {
        let mut chain = Vec::new();
        let mut at = first;
        while let Some(next) = after[usize::from(at)].take() {
            chain.push(at);
            at = next;
        }
        if !chain.is_empty() {
            found.push(chain);
        }
    }
    found
}

/// The middle of an edge in the unit cell.
fn middle(edge: u8) -> Vec3 {
    let offsets = [f32::from(edge & 1), f32::from(edge >> 1 & 1)];
    match edge / 4 {
        0 => Vec3::new(0.5, offsets[0], offsets[1]),
        1 => Vec3::new(offsets[0], 0.5, offsets[1]),
        _ => Vec3::new(offsets[0], offsets[1], 0.5),
    }
}

/// Whether two edges lie on one face of the cell.
fn on_one_face(a: u8, b: u8) -> bool {
    let (a, b) = (middle(a), middle(b));
    (0..3).any(|axis| a[axis] == b[axis] && a[axis] != 0.5)
}

/// The triangles of a loop, with the shortest cuts of which none lies on a face.
fn cut(chain: &[u8]) -> Vec<Corners> {
    let n = chain.len();
    let price = |i: usize, j: usize| {
        if j == i + 1 || (i == 0 && j == n - 1) {
            return 0.0;
        }
        if on_one_face(chain[i], chain[j]) { f32::INFINITY } else { middle(chain[i]).distance(middle(chain[j])) }
    };
    // The best way to fill the part of the loop from i to j, and its tip (Klincsek 1980).
    let mut best = vec![vec![(0.0, 0); n]; n];
    for width in 2..n {
        for i in 0..n - width {
            let j = i + width;
            let cost = |tip: usize| best[i][tip].0 + best[tip][j].0 + price(i, tip) + price(tip, j);
            let tips = (i + 1..j).map(|tip| (cost(tip), tip));
            best[i][j] = tips.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap_or((f32::INFINITY, 0));
        }
    }
    assert!(best[0][n - 1].0.is_finite(), "every loop has cuts within its cell");
    let mut triangles = Vec::new();
    let mut open = vec![(0, n - 1)];
    while let Some((i, j)) = open.pop() {
        if j - i >= 2 {
            let tip = best[i][j].1;
            triangles.push([chain[i], chain[tip], chain[j]]);
            open.extend([(i, tip), (tip, j)]);
        }
    }
    triangles
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The corner at an edge's lower end, and its axis.
    fn low(edge: u8) -> (u8, u8) {
        let (a, b) = (edge & 1, edge >> 1 & 1);
        match edge / 4 {
            0 => (a << 1 | b << 2, 0),
            1 => (a | b << 2, 1),
            _ => (a | b << 1, 2),
        }
    }

    #[test]
    fn edges_and_corners_agree() {
        for edge in 0..12 {
            let (corner, axis) = low(edge);
            assert_eq!(edge_between(corner, corner | 1 << axis), edge);
        }
    }

    #[test]
    fn every_crossed_edge_has_a_corner_and_triangles_close_within_a_cell_up_to_its_faces() {
        for (case, triangles) in TRIANGLES.iter().enumerate() {
            let mut used = [false; 12];
            let mut sides = BTreeMap::<(u8, u8), i32>::new();
            for t in triangles {
                t.iter().for_each(|&e| used[usize::from(e)] = true);
                for k in 0..3 {
                    *sides.entry((t[k], t[(k + 1) % 3])).or_default() += 1;
                }
            }
            for edge in 0..12_u8 {
                let (corner, axis) = low(edge);
                let crossed = (case >> corner & 1) != (case >> (corner | 1 << axis) & 1);
                assert_eq!(used[usize::from(edge)], crossed, "case {case}, edge {edge}");
            }
            for (&(a, b), &count) in &sides {
                assert_eq!(count, 1, "case {case}");
                // Either two triangles of this cell, or one here and one beyond the face.
                assert_ne!(sides.contains_key(&(b, a)), on_one_face(a, b), "case {case}, {a} to {b}");
            }
        }
    }

    #[test]
    fn cells_of_both_sides_of_a_face_draw_the_same_segments() {
        // The sides that lie on the +axis face of one cell and on the -axis face of the next, by the face's four signs.
        for axis in 0..3_u8 {
            let mut seen = BTreeMap::<u8, Vec<(u8, u8)>>::new();
            for high in [1_u8, 0] {
                for (case, triangles) in TRIANGLES.iter().enumerate() {
                    let corners = (0..8_u8).filter(|c| c >> axis & 1 == high);
                    let signs = corners.enumerate().fold(0, |s, (k, c)| s | ((case >> c & 1) as u8) << k);
                    let on = |e: u8| middle(e)[usize::from(axis)] == f32::from(high);
                    let shift = |e: u8| {
                        let (corner, along) = low(e);
                        let corner = corner & !(1 << axis);
                        edge_between(corner, corner | 1 << along)
                    };
                    let mut segments: Vec<(u8, u8)> = triangles
                        .iter()
                        .flat_map(|t| (0..3).map(|k| (t[k], t[(k + 1) % 3])))
                        .filter(|&(a, b)| on(a) && on(b))
                        // The neighbour goes along it the other way.
                        .map(|(a, b)| if high == 1 { (shift(a), shift(b)) } else { (shift(b), shift(a)) })
                        .collect();
                    segments.sort_unstable();
                    let known = seen.entry(signs).or_insert_with(|| segments.clone());
                    assert_eq!(*known, segments, "axis {axis}, case {case}");
                }
            }
            assert_eq!(seen.len(), 16);
            assert!(seen.values().any(|s| s.len() == 2), "no face had four crossings");
        }
    }

    #[test]
    fn one_corner_inside_is_cut_off_with_its_triangle_facing_away() {
        for corner in 0..8_usize {
            let triangles = &TRIANGLES[1 << corner];
            assert_eq!(triangles.len(), 1);
            let [a, b, c] = triangles[0].map(middle);
            let at = Vec3::new((corner & 1) as f32, (corner >> 1 & 1) as f32, (corner >> 2) as f32);
            assert!((b - a).cross(c - a).dot(a - at) > 0.0);
            let [a, b, c] = TRIANGLES[255 - (1 << corner)][0].map(middle);
            assert!((b - a).cross(c - a).dot(a - at) < 0.0);
        }
    }
}
