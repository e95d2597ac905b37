use super::*;
use crate::mesh::components::report;
use crate::mesh::grid::Grid;
use crate::mesh::surface::surface;
use crate::rng::Rng;
use glam::{Vec2, Vec3};
use retort_shaders::Aabb;

fn level_set(n: u32, f: impl Fn(Vec3) -> f32) -> Mesh {
    let ask = |points: &[Vec3]| Ok(points.iter().map(|&p| f(p)).collect());
    surface(&Grid::filled(Aabb::cube(1.0), [n; 3], ask).unwrap(), 0.0).unwrap()
}

fn ball(p: Vec3) -> f32 {
    0.7 - p.length()
}

/// A flat square of `n` by `n` cells with two triangles each, in `[0, 1]²`.
fn sheet(n: u32) -> Mesh {
    let place = |i: u32| Vec3::new((i % (n + 1)) as f32, (i / (n + 1)) as f32, 0.0) / n as f32;
    let cell = |i: u32| {
        let a = i % n + (n + 1) * (i / n);
        [[a, a + 1, a + n + 2], [a, a + n + 2, a + n + 1]]
    };
    Mesh {
        positions: (0..(n + 1) * (n + 1)).map(place).collect(),
        triangles: (0..n * n).flat_map(cell).collect(),
        ..Mesh::default()
    }
}

/// The share of triangles that face away from the middle.
fn outward(mesh: &Mesh) -> f64 {
    let faces = |t: &[u32; 3]| {
        let [a, b, c] = t.map(|v| mesh.positions[v as usize]);
        (b - a).cross(c - a).dot(a + b + c) > 0.0
    };
    mesh.triangles.iter().filter(|t| faces(t)).count() as f64 / mesh.triangles.len() as f64
}

#[test]
fn a_ball_keeps_its_size_and_stays_closed() {
    let fine = level_set(56, ball);
    let before = report(&fine);
    let coarse = simplified(&fine, before.triangles / 12).unwrap();
    let after = report(&coarse);
    assert!(after.triangles <= before.triangles / 12 && after.triangles > before.triangles / 13, "{after:?}");
    assert!(after.watertight && after.euler == 2 && after.components == 1, "{after:?}");
    assert!((after.volume / before.volume - 1.0).abs() < 0.01, "{after:?}");
    assert_eq!(outward(&coarse), 1.0);
    assert!(coarse.positions.iter().all(|p| (p.length() - 0.7).abs() < 0.005));
    assert!(coarse.positions.iter().zip(&coarse.normals).all(|(p, n)| n.dot(p.normalize()) > 0.97));
    // Triangles are well shaped, unlike those of marching cubes.
    let shape = |t: &[u32; 3]| {
        let [a, b, c] = t.map(|v| coarse.positions[v as usize]);
        let sides = (b - a).length_squared() + (c - b).length_squared() + (a - c).length_squared();
        2.0 * 3.0_f32.sqrt() * (b - a).cross(c - a).length() / sides
    };
    let mean = coarse.triangles.iter().map(shape).sum::<f32>() / after.triangles as f32;
    assert!(mean > 0.8, "{mean}");
    // The control: one triangle less, and it is noticed.
    let mut torn = coarse.clone();
    torn.triangles.pop();
    assert!(!report(&torn).watertight);
    // The same again gives the same.
    assert_eq!(simplified(&fine, before.triangles / 12).unwrap(), coarse);
}

#[test]
fn handles_and_pieces_stay() {
    let torus = |p: Vec3| 0.2 - (Vec3::new(p.x, p.y, 0.0).length() - 0.6).hypot(p.z);
    let both = level_set(40, |p| torus(p).max(0.15 - p.length()));
    let found = report(&simplified(&both, 0).unwrap());
    // A torus needs 14 triangles without crossing itself, and a ball 4.
    assert!(found.watertight && found.components == 2 && found.euler == 2, "{found:?}");
    assert!(found.triangles < 200, "{found:?}");
    let half = simplified(&both, report(&both).triangles / 4).unwrap();
    let found = report(&half);
    assert!(found.watertight && found.euler == 2, "{found:?}");
    assert!((found.volume / report(&both).volume - 1.0).abs() < 0.01, "{found:?}");
}

#[test]
fn noise_stays_closed() {
    let mut rng = Rng::new(9, "noise");
    let values = (0..4096).map(|_| rng.normal()).collect();
    let mesh = surface(&Grid::new(Aabb::cube(1.0), [16; 3], values).unwrap(), 0.2).unwrap();
    let (before, after) = (report(&mesh), report(&simplified(&mesh, mesh.triangles.len() / 3).unwrap()));
    assert!(after.watertight && after.euler == before.euler, "{after:?}");
    assert_eq!(after.components, before.components);
    assert!(after.triangles < before.triangles / 2, "{after:?}");
}

#[test]
fn corners_of_a_box_stay() {
    let fine = level_set(40, |p| 0.501 - p.abs().max_element());
    let coarse = simplified(&fine, 60).unwrap();
    let found = report(&coarse);
    assert!(found.watertight && found.euler == 2, "{found:?}");
    // Marching cubes has cut the edges, so not every digit can be there.
    assert!((found.volume / report(&fine).volume - 1.0).abs() < 0.01, "{found:?}");
    for corner in 0..8 {
        let at = 0.5 * Vec3::from_array([0, 1, 2].map(|axis| if corner >> axis & 1 == 1 { 1.0 } else { -1.0 }));
        let nearest = coarse.positions.iter().map(|p| p.distance(at)).fold(1.0, f32::min);
        assert!(nearest < 0.04, "{corner}: {nearest}");
    }
}

#[test]
fn borders_are_kept() {
    let mut flat = sheet(24);
    flat.colours = flat.positions.iter().map(|p| [p.x, p.y, 0.5]).collect();
    let coarse = simplified(&flat, 40).unwrap();
    let found = report(&coarse);
    assert!(found.triangles <= 40 && found.non_manifold_edges == 0 && found.euler == 1, "{found:?}");
    assert!((found.area - 1.0).abs() < 1e-3, "{found:?}");
    for corner in [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::X + Vec3::Y] {
        let nearest = coarse.positions.iter().map(|p| p.distance(corner)).fold(1.0, f32::min);
        assert!(nearest < 1e-3, "{corner}: {nearest}");
    }
    for (p, c) in coarse.positions.iter().zip(&coarse.colours) {
        assert!((p.x - c[0]).hypot(p.y - c[1]) < 0.1, "{p} {c:?}");
    }
    assert!(coarse.normals.is_empty());
}

#[test]
fn a_narrow_ring_is_not_pinched() {
    // Two rows of vertices around a cylinder: every edge between the rows has both ends on the border.
    let n = 40;
    let place = |i: u32| {
        let turn = std::f32::consts::TAU * (i / 2) as f32 / n as f32;
        Vec3::new(turn.cos(), turn.sin(), 0.2 * (i % 2) as f32)
    };
    let ring = Mesh {
        positions: (0..2 * n).map(place).collect(),
        triangles: (0..n).flat_map(|i| [[0, 2, 3], [0, 3, 1]].map(|t| t.map(|v| (2 * i + v) % (2 * n)))).collect(),
        ..Mesh::default()
    };
    let less = simplified(&ring, 0).unwrap();
    let found = report(&less);
    assert!((6..30).contains(&found.triangles) && found.non_manifold_edges == 0 && found.euler == 0, "{found:?}");
    // Each vertex of the border has two of its edges.
    assert_eq!(found.border_edges, found.vertices);
}

#[test]
fn triangles_do_not_turn_over() {
    let flat = sheet(2);
    let work = Work::of(&flat);
    let around: Vec<u32> = (0..8).filter(|&t| flat.triangles[t as usize].contains(&4)).collect();
    let stays = |x: f32, y: f32| {
        let place = (DVec3::new(f64::from(x), f64::from(y), 0.0) - work.origin) / work.size;
        work.keeps_shape(4, u32::MAX, &around, place)
    };
    // The middle vertex of four cells, whose neighbours are corners of an unequal hexagon.
    assert!(stays(0.5, 0.5) && stays(0.6, 0.55) && stays(0.4, 0.45));
    assert!(!stays(1.2, 0.5) && !stays(0.2, 0.9) && !stays(0.5, 1.0));
    // Out of the plane it may go, but not far.
    let lifted = |z: f64| {
        let place = (DVec3::new(0.5, 0.5, z) - work.origin) / work.size;
        work.keeps_shape(4, u32::MAX, &around, place)
    };
    assert!(lifted(0.3) && !lifted(9.0));
}

#[test]
fn what_cannot_be_less_is_left() {
    let tetrahedron = Mesh {
        positions: vec![Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z],
        triangles: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
        ..Mesh::default()
    };
    assert_eq!(simplified(&tetrahedron, 0).unwrap(), tetrahedron);
    let one = Mesh { triangles: vec![[0, 1, 2]], positions: tetrahedron.positions[..3].to_vec(), ..Mesh::default() };
    assert_eq!(simplified(&one, 0).unwrap(), one);
    assert_eq!(simplified(&Mesh::default(), 0).unwrap(), Mesh::default());
    // Three sheets on one edge, and triangles without area: nothing falls over.
    let mut book = sheet(6);
    let n = book.positions.len() as u32;
    book.positions.extend([Vec3::new(0.5, 0.5, 1.0), Vec3::new(0.5, 0.5, -1.0)]);
    book.triangles.extend([[8, 9, n], [8, 9, n + 1], [3, 3, 4], [20, 20, 20]]);
    let less = simplified(&book, 20).unwrap();
    assert!(report(&less).non_manifold_edges == 1 && less.triangles.len() < 40);
    let marked = Mesh { uvs: vec![Vec2::ZERO; 4], ..tetrahedron.clone() };
    assert!(simplified(&marked, 2).unwrap_err().to_string().contains("texture"));
    let broken = Mesh { triangles: vec![[0, 1, 9]], ..tetrahedron };
    assert!(simplified(&broken, 0).is_err());
}
