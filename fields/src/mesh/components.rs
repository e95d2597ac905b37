//! The pieces of a mesh, what is known of it as a whole, and the normals of its vertices.
//!
//! Two triangles belong to one piece when a chain of shared vertices leads from one to the other. Area is
//! `½ Σ |(b - a) x (c - a)|`, volume `⅙ Σ a · (b x c)` (the divergence theorem; meaningful where the mesh is closed),
//! and Euler's number `V - E + F` over what the triangles use: 2 for each closed piece less 2 for each of its handles.

use glam::{DVec3, Vec3};
use rayon::prelude::*;

use super::Mesh;
use crate::error::{Error, Result};

/// One piece of a mesh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// Its vertices.
    pub vertices: usize,
    /// Its triangles.
    pub triangles: usize,
    /// Its area, in squared units of the positions.
    pub area: f64,
}

/// What is known of a mesh as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Vertices, those included that no triangle uses.
    pub vertices: usize,
    /// Triangles.
    pub triangles: usize,
    /// Pieces.
    pub components: usize,
    /// Whether every edge has exactly two triangles, which agree about what is outside.
    pub watertight: bool,
    /// Edges of one triangle.
    pub border_edges: usize,
    /// Edges of three or more triangles, or of two that disagree about what is outside.
    pub non_manifold_edges: usize,
    /// Squared units of the positions.
    pub area: f64,
    /// Cubed units of the positions; negative where the triangles face inward.
    pub volume: f64,
    /// Euler's number.
    pub euler: i64,
}

/// Whether a mesh is one: what comes from a file is checked here before anything else is done with it.
///
/// # Errors
/// When a triangle names a vertex that is not there, normals, texture coordinates or colours are neither none nor one
/// for each vertex, a position is not finite, or the texture is not of its size.
pub fn check(mesh: &Mesh) -> Result<()> {
    let n = mesh.positions.len();
    let counts =
        [("normals", mesh.normals.len()), ("texture coordinates", mesh.uvs.len()), ("colours", mesh.colours.len())];
    if let Some((name, count)) = counts.into_iter().find(|&(_, count)| count != 0 && count != n) {
        return Err(Error::new(format!("a mesh of {n} vertices has {count} {name}")));
    }
    if let Some(at) = mesh.triangles.par_iter().position_first(|t| t.iter().any(|&v| v as usize >= n)) {
        return Err(Error::new(format!("triangle {at} names a vertex beyond the {n} that there are")));
    }
    if let Some(at) = mesh.positions.par_iter().position_first(|p| !p.is_finite()) {
        return Err(Error::new(format!("the position of vertex {at} is not a number")));
    }
    if let Some(t) = &mesh.texture
        && (t.width == 0 || t.height == 0 || t.rgb.len() as u64 != 3 * u64::from(t.width) * u64::from(t.height))
    {
        let (w, h, bytes) = (t.width, t.height, t.rgb.len());
        return Err(Error::new(format!("a texture of {w}x{h} texels has {bytes} bytes")));
    }
    Ok(())
}

/// The corners of a triangle in double precision.
fn corners(mesh: &Mesh, triangle: [u32; 3]) -> [DVec3; 3] {
    triangle.map(|v| mesh.positions[v as usize].as_dvec3())
}

/// The area of a triangle.
pub(super) fn area(mesh: &Mesh, triangle: [u32; 3]) -> f64 {
    let [a, b, c] = corners(mesh, triangle);
    0.5 * (b - a).cross(c - a).length()
}

/// The piece of each triangle, `[triangles]`, and the pieces, numbered in the order of their first triangles.
///
/// # Panics
/// When the mesh does not pass [`check`]; so do all functions here.
pub fn components(mesh: &Mesh) -> (Vec<u32>, Vec<Component>) {
    let mut above: Vec<u32> = (0..mesh.positions.len() as u32).collect();
    for &[a, b, c] in &mesh.triangles {
        join(&mut above, a, b);
        join(&mut above, b, c);
    }
    const NONE: u32 = u32::MAX;
    let mut number = vec![NONE; mesh.positions.len()];
    let mut found = Vec::<Component>::new();
    let of = mesh.triangles.iter().map(|&triangle| {
        let piece = &mut number[root(&mut above, triangle[0]) as usize];
        if *piece == NONE {
            *piece = found.len() as u32;
            found.push(Component { vertices: 0, triangles: 0, area: 0.0 });
        }
        let component = &mut found[*piece as usize];
        component.triangles += 1;
        component.area += area(mesh, triangle);
        *piece
    });
    let of = of.collect();
    for vertex in 0..mesh.positions.len() as u32 {
        if let Some(component) = found.get_mut(number[root(&mut above, vertex) as usize] as usize) {
            component.vertices += 1;
        }
    }
    (of, found)
}

/// The vertex that stands for all joined with this one; on the way there, paths are halved (Tarjan and van Leeuwen
/// 1984).
fn root(above: &mut [u32], mut vertex: u32) -> u32 {
    while above[vertex as usize] != vertex {
        above[vertex as usize] = above[above[vertex as usize] as usize];
        vertex = above[vertex as usize];
    }
    vertex
}

fn join(above: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(above, a), root(above, b));
    above[a.max(b) as usize] = a.min(b);
}

/// The mesh without the pieces whose area is below `least_share` of the largest one's; 0 keeps all, 1 the largest alone
/// (or several of the same area).
pub fn kept(mesh: &Mesh, least_share: f32) -> Mesh {
    let (of, found) = components(mesh);
    let largest = found.iter().map(|c| c.area).fold(0.0, f64::max);
    let least = f64::from(least_share.clamp(0.0, 1.0)) * largest;
    subset(mesh, |triangle| found[of[triangle] as usize].area >= least)
}

/// The mesh's `count` pieces of the largest area.
pub fn largest(mesh: &Mesh, count: usize) -> Mesh {
    let (of, found) = components(mesh);
    let mut order: Vec<usize> = (0..found.len()).collect();
    // Stable: of two alike the first stays.
    order.sort_by(|&a, &b| found[b].area.total_cmp(&found[a].area));
    let mut stays = vec![false; found.len()];
    order.iter().take(count).for_each(|&piece| stays[piece] = true);
    subset(mesh, |triangle| stays[of[triangle] as usize])
}

/// The triangles of which `stays` says yes, by their place, with the vertices that they use, both in their old order.
pub fn subset(mesh: &Mesh, stays: impl Fn(usize) -> bool) -> Mesh {
    let of = mesh.triangles.iter().enumerate();
    let mut triangles: Vec<[u32; 3]> = of.filter(|&(i, _)| stays(i)).map(|(_, &triangle)| triangle).collect();
    let mut used = vec![false; mesh.positions.len()];
    triangles.iter().flatten().for_each(|&v| used[v as usize] = true);
    let places = used.iter().scan(0, |count, &used| {
        *count += u32::from(used);
        Some(count.wrapping_sub(1))
    });
    let place: Vec<u32> = places.collect();
    triangles.iter_mut().flatten().for_each(|v| *v = place[*v as usize]);
    Mesh {
        positions: taken(&mesh.positions, &used),
        normals: taken(&mesh.normals, &used),
        triangles,
        uvs: taken(&mesh.uvs, &used),
        colours: taken(&mesh.colours, &used),
        texture: mesh.texture.clone(),
    }
}

/// The values at whose place `used` is true.
fn taken<T: Copy>(values: &[T], used: &[bool]) -> Vec<T> {
    values.iter().zip(used).filter(|(_, used)| **used).map(|(value, _)| *value).collect()
}

/// The shape alone, with vertices of the same position made one and triangles dropped that have lost a corner by it.
///
/// Seams of texture coordinates and creases of normals split vertices, so a closed mesh that has them is not closed by
/// its indices; [`report`] of this says whether it is in space.
pub fn welded(mesh: &Mesh) -> Mesh {
    // Adding zero makes -0 the same as 0.
    let bits = |v: u32| (mesh.positions[v as usize] + 0.0).to_array().map(f32::to_bits);
    let mut order: Vec<u32> = (0..mesh.positions.len() as u32).collect();
    order.par_sort_unstable_by_key(|&v| (bits(v), v));
    let mut first: Vec<u32> = (0..mesh.positions.len() as u32).collect();
    for pair in order.windows(2) {
        if bits(pair[0]) == bits(pair[1]) {
            first[pair[1] as usize] = first[pair[0] as usize];
        }
    }
    let triangles = mesh.triangles.iter().map(|t| t.map(|v| first[v as usize]));
    let whole = triangles.filter(|[a, b, c]| a != b && b != c && c != a).collect();
    let shape = Mesh { positions: mesh.positions.clone(), triangles: whole, ..Mesh::default() };
    subset(&shape, |_| true)
}

/// What is known of a mesh, by its indices; see [`welded`] for one with seams.
pub fn report(mesh: &Mesh) -> Report {
    let (_, found) = components(mesh);
    // Each side of each triangle as one number that sorts both directions of an edge together: ends, then direction.
    let side = |a: u32, b: u32| u128::from(a.min(b)) << 33 | u128::from(a.max(b)) << 1 | u128::from(a < b);
    let mut sides: Vec<u128> = Vec::with_capacity(3 * mesh.triangles.len());
    mesh.triangles.iter().for_each(|&[a, b, c]| sides.extend([side(a, b), side(b, c), side(c, a)]));
    sides.par_sort_unstable();
    let (mut edges, mut border_edges, mut non_manifold_edges) = (0_usize, 0, 0);
    for edge in sides.chunk_by(|a, b| a >> 1 == b >> 1) {
        edges += 1;
        let loose = edge[0] >> 33 == edge[0] >> 1 & u128::from(u32::MAX);
        match edge {
            _ if loose => non_manifold_edges += 1,
            [_] => border_edges += 1,
            [a, b] if a != b => {}
            _ => non_manifold_edges += 1,
        }
    }
    let mut used = vec![false; mesh.positions.len()];
    mesh.triangles.iter().flatten().for_each(|&v| used[v as usize] = true);
    let used = used.iter().filter(|u| **u).count();
    // Around the first vertex, so that a mesh far from the origin keeps its digits.
    let origin = mesh.positions.first().copied().unwrap_or(Vec3::ZERO).as_dvec3();
    let volume = mesh.triangles.iter().map(|&t| {
        let [a, b, c] = corners(mesh, t).map(|p| p - origin);
        a.dot(b.cross(c)) / 6.0
    });
    Report {
        vertices: mesh.positions.len(),
        triangles: mesh.triangles.len(),
        components: found.len(),
        watertight: border_edges == 0 && non_manifold_edges == 0,
        border_edges,
        non_manifold_edges,
        area: found.iter().map(|c| c.area).sum(),
        volume: volume.sum(),
        euler: used as i64 - edges as i64 + mesh.triangles.len() as i64,
    }
}

/// Unit normals of the vertices: those of their triangles, weighted by the angle there (Thürmer and Wüthrich 1998),
/// which does not depend on how a flat part is cut into triangles. A vertex without an area around it gets +Z.
pub fn vertex_normals(positions: &[Vec3], triangles: &[[u32; 3]]) -> Vec<Vec3> {
    let mut sums = vec![Vec3::ZERO; positions.len()];
    for triangle in triangles {
        let p = triangle.map(|v| positions[v as usize].as_dvec3());
        let normal = (p[1] - p[0]).cross(p[2] - p[0]).normalize_or_zero();
        for k in 0..3 {
            let (a, b) = (p[(k + 1) % 3] - p[k], p[(k + 2) % 3] - p[k]);
            // The angle of a and b; half-turn safe, unlike the arc cosine.
            let angle = a.cross(b).length().atan2(a.dot(b));
            sums[triangle[k] as usize] += (angle * normal).as_vec3();
        }
    }
    sums.into_iter().map(|n| n.normalize_or(Vec3::Z)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Texture;

    /// A tetrahedron of edge lengths 1 and √2 with its right corner at `at`: volume 1/6.
    fn tetrahedron(at: Vec3, scale: f32) -> Mesh {
        Mesh {
            positions: [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z].map(|p| at + scale * p).to_vec(),
            triangles: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
            ..Mesh::default()
        }
    }

    fn together(meshes: &[Mesh]) -> Mesh {
        let mut all = Mesh::default();
        for mesh in meshes {
            let first = all.positions.len() as u32;
            all.positions.extend(&mesh.positions);
            all.triangles.extend(mesh.triangles.iter().map(|t| t.map(|v| v + first)));
        }
        all
    }

    #[test]
    fn a_tetrahedron_is_known_through_and_through() {
        let found = report(&tetrahedron(Vec3::splat(100.0), 1.0));
        let area = 1.5 + 0.75_f64.sqrt();
        assert!((found.area - area).abs() < 1e-6 && (found.volume - 1.0 / 6.0).abs() < 1e-6, "{found:?}");
        let rest = Report { area: found.area, volume: found.volume, ..Report::default() };
        let told = Report { vertices: 4, triangles: 4, components: 1, watertight: true, euler: 2, ..rest };
        assert_eq!(found, told);
    }

    #[test]
    fn faults_are_counted() {
        let mut open = tetrahedron(Vec3::ZERO, 1.0);
        open.triangles.pop();
        let found = report(&open);
        assert_eq!((found.border_edges, found.non_manifold_edges, found.watertight), (3, 0, false));
        let mut turned = tetrahedron(Vec3::ZERO, 1.0);
        turned.triangles[3].swap(0, 1);
        let found = report(&turned);
        assert_eq!((found.border_edges, found.non_manifold_edges, found.watertight), (0, 3, false));
        let mut twice = tetrahedron(Vec3::ZERO, 1.0);
        twice.triangles.push([1, 2, 3]);
        assert_eq!(report(&twice).non_manifold_edges, 3);
        let mut thin = tetrahedron(Vec3::ZERO, 1.0);
        thin.triangles.push([1, 1, 2]);
        assert!(!report(&thin).watertight);
        assert_eq!(report(&Mesh::default()), Report { watertight: true, ..Report::default() });
    }

    #[test]
    fn small_pieces_go_and_values_follow_their_vertices() {
        let mut mesh = together(&[
            tetrahedron(Vec3::ZERO, 0.1),
            tetrahedron(Vec3::splat(5.0), 1.0),
            tetrahedron(Vec3::splat(9.0), 0.9),
        ]);
        mesh.colours = (0..12).map(|i| [i as f32; 3]).collect();
        let (of, found) = components(&mesh);
        assert_eq!(of, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        assert!(found.iter().all(|c| c.vertices == 4 && c.triangles == 4));
        assert!((found[1].area / found[0].area - 100.0).abs() < 0.1);
        let two = kept(&mesh, 0.5);
        assert_eq!(report(&two).components, 2);
        assert_eq!(two.colours[0], [4.0; 3]);
        assert_eq!(two.positions, mesh.positions[4..]);
        assert_eq!(kept(&mesh, 0.0), mesh);
        assert_eq!(kept(&mesh, 1.0).positions, mesh.positions[4..8]);
        assert_eq!(largest(&mesh, 1), kept(&mesh, 1.0));
        assert_eq!(largest(&mesh, 2), two);
        assert_eq!(largest(&mesh, 0).positions.len(), 0);
    }

    #[test]
    fn split_vertices_are_welded() {
        let whole = tetrahedron(Vec3::ZERO, 1.0);
        let split = Mesh {
            positions: whole.triangles.iter().flatten().map(|&v| whole.positions[v as usize]).collect(),
            triangles: (0..4).map(|t| [3 * t, 3 * t + 1, 3 * t + 2]).collect(),
            ..Mesh::default()
        };
        assert_eq!((report(&split).components, report(&split).watertight), (4, false));
        let found = report(&welded(&split));
        assert_eq!((found.vertices, found.watertight, found.euler), (4, true, 2));
        let mut apart = split;
        apart.positions[0].x += 1e-3;
        assert!(!report(&welded(&apart)).watertight);
    }

    #[test]
    fn normals_do_not_depend_on_the_cut() {
        // A corner of a cube: two of its sides are cut so that the corner has two triangles there, and one there.
        let p = [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z, Vec3::new(1.0, 1.0, 0.0)];
        let normals = vertex_normals(&p, &[[0, 4, 1], [0, 2, 4], [0, 3, 2], [0, 1, 3]]);
        let even = -Vec3::splat(3.0_f32.sqrt().recip());
        assert!(normals[0].distance(even) < 1e-6, "{}", normals[0]);
        assert_eq!(vertex_normals(&p, &[[0, 0, 1]])[0], Vec3::Z);
    }

    #[test]
    fn what_is_no_mesh_is_refused() {
        let good = tetrahedron(Vec3::ZERO, 1.0);
        check(&good).unwrap();
        let text = |mesh: Mesh| check(&mesh).unwrap_err().to_string();
        assert!(text(Mesh { triangles: vec![[0, 1, 2], [0, 1, 4]], ..good.clone() }).contains("triangle 1"));
        assert!(text(Mesh { normals: vec![Vec3::Z; 3], ..good.clone() }).contains("3 normals"));
        let mut bad = good.clone();
        bad.positions[2].y = f32::NAN;
        assert!(text(bad).contains("vertex 2"));
        let texture = Some(Texture { width: 2, height: 2, rgb: vec![0; 11] });
        assert!(text(Mesh { texture, ..good }).contains("11 bytes"));
    }
}
