//! What an atlas promises: nothing overlaps, nothing is missing, nothing is turned over.

use glam::{Vec2, Vec3};

use super::super::samples::{cube, heap, torus};
use super::super::{Mesh, Texture};
use super::{Unwrapped, unwrap, unwrap_while};

const SIDE: u32 = 256;

/// The chart of each triangle: triangles that share a vertex are in one.
fn charts(mesh: &Mesh) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..mesh.positions.len()).collect();
    fn root(parent: &mut [usize], mut v: usize) -> usize {
        while parent[v] != v {
            parent[v] = parent[parent[v]];
            v = parent[v];
        }
        v
    }
    for t in &mesh.triangles {
        let first = root(&mut parent, t[0] as usize);
        for v in &t[1..] {
            let other = root(&mut parent, *v as usize);
            parent[other] = first;
        }
    }
    mesh.triangles.iter().map(|t| root(&mut parent, t[0] as usize)).collect()
}

fn corners(mesh: &Mesh, triangle: usize) -> [Vec2; 3] {
    mesh.triangles[triangle].map(|v| mesh.uvs[v as usize] * SIDE as f32)
}

/// Texels whose square two charts may touch (by the boxes of triangles cut against the lines of their edges), and texel
/// centres that lie well inside two triangles.
fn overlaps(mesh: &Mesh) -> (usize, usize) {
    let chart = charts(mesh);
    let side = SIDE as usize;
    let (mut owner, mut inside) = (vec![usize::MAX; side * side], vec![0; side * side]);
    let (mut shared, mut doubled) = (0, 0);
    for (k, &own) in chart.iter().enumerate() {
        let p = corners(mesh, k);
        let (low, high) = (p[0].min(p[1]).min(p[2]).floor(), p[0].max(p[1]).max(p[2]).floor());
        for y in low.y as usize..=(high.y as usize).min(side - 1) {
            for x in low.x as usize..=(high.x as usize).min(side - 1) {
                let centre = Vec2::new(x as f32, y as f32) + 0.5;
                // Signed distances from the edges, positive inside.
                let d = [0, 1, 2].map(|e| {
                    let along = p[(e + 1) % 3] - p[e];
                    let turn = (p[1] - p[0]).perp_dot(p[2] - p[0]).signum();
                    turn * along.perp_dot(centre - p[e]) / along.length().max(1e-9)
                });
                let least = d.into_iter().fold(f32::INFINITY, f32::min);
                let at = y * side + x;
                if least > -0.5 {
                    shared += usize::from(owner[at] != usize::MAX && owner[at] != own);
                    owner[at] = own;
                }
                if least > 1e-3 {
                    doubled += usize::from(inside[at] > 0);
                    inside[at] += 1;
                }
            }
        }
    }
    (shared, doubled)
}

fn is_good(before: &Mesh, done: &Unwrapped) {
    let mesh = &done.mesh;
    assert!(mesh.uvs.iter().all(|uv| uv.cmpge(Vec2::ZERO).all() && uv.cmple(Vec2::ONE).all()));
    assert_eq!(mesh.triangles.len(), before.triangles.len());
    for (now, then) in mesh.triangles.iter().zip(&before.triangles) {
        assert_eq!(now.map(|v| done.source[v as usize]), *then, "the order is kept");
        assert_eq!(now.map(|v| mesh.positions[v as usize]), then.map(|v| before.positions[v as usize]));
    }
    assert_eq!(overlaps(mesh), (0, 0));
}

#[test]
fn charts_of_a_curvy_mesh_do_not_overlap_and_cover_it_evenly() {
    let before = torus(60, 40);
    let done = unwrap(&before, SIDE).unwrap();
    is_good(&before, &done);
    let mesh = &done.mesh;
    assert!(done.utilisation > 0.4 && done.charts < 60, "{} in {} charts", done.utilisation, done.charts);
    assert_eq!(mesh.normals.len(), mesh.positions.len());
    assert!(mesh.normals.iter().zip(&done.source).all(|(n, s)| *n == before.normals[*s as usize]));
    let mut covered = 0.0;
    let mut densities = Vec::new();
    for (k, t) in mesh.triangles.iter().enumerate() {
        let [a, b, c] = t.map(|v| mesh.positions[v as usize]);
        let [p, q, r] = corners(mesh, k);
        let flat = 0.5 * (q - p).perp_dot(r - p);
        assert!(flat < 0.0, "triangle {k} is turned over: {flat}");
        covered -= flat;
        densities.push(-flat / (b - a).cross(c - a).length());
    }
    let share = covered / (SIDE * SIDE) as f32;
    assert!((share - done.utilisation).abs() < 0.02, "{share} {}", done.utilisation);
    densities.sort_by(f32::total_cmp);
    let [low, high] = [5, 95].map(|p| densities[densities.len() * p / 100]);
    assert!(high < 3.0 * low, "texels are spread unevenly: {low} to {high}");
}

#[test]
fn an_overlap_would_be_found() {
    let mut mesh = unwrap(&torus(60, 40), SIDE).unwrap().mesh;
    let chart = charts(&mesh);
    let moved: Vec<u32> =
        (0..mesh.triangles.len()).filter(|&k| chart[k] == chart[0]).flat_map(|k| mesh.triangles[k]).collect();
    let mut once = moved;
    once.sort_unstable();
    once.dedup();
    once.iter().for_each(|&v| mesh.uvs[v as usize] = (mesh.uvs[v as usize] + 0.06).min(Vec2::ONE));
    let (shared, doubled) = overlaps(&mesh);
    assert!(shared > 50 && doubled > 50, "{shared} {doubled}");
}

#[test]
fn the_same_mesh_gives_the_same_atlas() {
    let mesh = torus(30, 20);
    let [a, b] = [0, 1].map(|_| unwrap(&mesh, 128).unwrap());
    assert!(a.mesh == b.mesh && a.source == b.source);
}

#[test]
fn loose_and_flat_meshes_are_unwrapped_too() {
    for before in [heap(40), cube()] {
        is_good(&before, &unwrap(&before, SIDE).unwrap());
    }
    let one = Mesh { positions: vec![Vec3::ZERO, Vec3::X, Vec3::Y], triangles: vec![[0, 1, 2]], ..Mesh::default() };
    is_good(&one, &unwrap(&one, SIDE).unwrap());
    let painted = Mesh {
        uvs: vec![Vec2::ZERO; 3],
        colours: vec![[0.5; 3]; 3],
        texture: Some(Texture { width: 1, height: 1, rgb: vec![0; 3] }),
        ..one
    };
    let done = unwrap(&painted, 64).unwrap();
    assert!(done.mesh.colours == vec![[0.5; 3]; 3] && done.mesh.texture.is_none());
}

#[test]
fn what_cannot_be_unwrapped_is_said() {
    let said = |mesh: &Mesh, side| unwrap(mesh, side).expect_err("it cannot be").what;
    assert!(said(&Mesh::default(), 64).contains("no triangles"));
    assert!(said(&cube(), 5).contains("5 texels"));
    let mut mesh = cube();
    mesh.positions[3].x = f32::NAN;
    assert!(said(&mesh, 64).contains("vertex 3"));
    mesh.positions[3].x = 0.0;
    mesh.positions.iter_mut().for_each(|p| p.y = 0.0);
    mesh.positions.iter_mut().for_each(|p| p.z = 0.0);
    assert!(said(&mesh, 64).contains("no surface"));
    assert!(said(&heap(2000), 64).contains("too many pieces"));
}

#[test]
fn it_stops_when_told() {
    assert!(unwrap_while(&torus(30, 20), 128, || false).unwrap().is_none());
}
