//! Meshes that tests make: closed and curvy, or a cube, or a heap of loose triangles.

use std::f32::consts::TAU;

use glam::{Vec2, Vec3};

use super::Mesh;
use crate::rng::Rng;

/// A bumpy torus around z, `2 · around · across` triangles of uneven sizes, with normals.
pub(super) fn torus(around: u32, across: u32) -> Mesh {
    let mut rng = Rng::new(3, "torus");
    let mut positions = Vec::new();
    for i in 0..around {
        for j in 0..across {
            let u = TAU * (i as f32 + rng.range(-0.3, 0.3)) / around as f32;
            let v = TAU * (j as f32 + rng.range(-0.3, 0.3)) / across as f32;
            let r = 0.25 * (1.0 + 0.2 * (5.0 * u).sin() * (3.0 * v).cos());
            let ring = Vec3::new(u.cos(), u.sin(), 0.0);
            positions.push(ring * (0.7 + r * v.cos()) + Vec3::Z * r * v.sin());
        }
    }
    let at = |i: u32, j: u32| (i % around) * across + j % across;
    let cells = (0..around).flat_map(|i| (0..across).map(move |j| (i, j)));
    let triangles: Vec<[u32; 3]> = cells
        .flat_map(|(i, j)| {
            let [a, b, c, d] = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
            if (i + j) % 2 == 0 { [[a, b, c], [a, c, d]] } else { [[a, b, d], [b, c, d]] }
        })
        .collect();
    let normals = super::sound::smooth_normals(&positions, &triangles);
    Mesh { positions, normals, triangles, ..Mesh::default() }
}

/// The cube `[0, 1]³`, each face by itself and with the whole texture on it, upright for the sides.
pub(super) fn cube() -> Mesh {
    let mut mesh = Mesh::default();
    for axis in 0..3 {
        for sign in [-1.0_f32, 1.0] {
            let mut normal = Vec3::ZERO;
            normal[axis] = sign;
            let up = if axis == 2 { Vec3::Y } else { Vec3::Z };
            let right = up.cross(normal);
            let first = mesh.positions.len() as u32;
            for (x, y) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)] {
                mesh.positions.push(0.5 + 0.5 * normal + (x - 0.5) * right + (y - 0.5) * up);
                mesh.normals.push(normal);
                mesh.uvs.push(Vec2::new(x, 1.0 - y));
            }
            mesh.triangles.extend([[first, first + 1, first + 2], [first, first + 2, first + 3]]);
        }
    }
    mesh
}

/// Loose triangles, some of them without an area.
pub(super) fn heap(count: u32) -> Mesh {
    let mut rng = Rng::new(5, "heap");
    let mut point = || Vec3::new(rng.uniform(), rng.uniform(), rng.uniform());
    let positions: Vec<Vec3> = (0..3 * count).map(|_| point()).collect();
    let corner = |k: u32, c: u32| if k.is_multiple_of(10) { 3 * k } else { 3 * k + c };
    let triangles = (0..count).map(|k| [3 * k, corner(k, 1), corner(k, 2)]).collect();
    Mesh { positions, triangles, ..Mesh::default() }
}

/// A colour that changes smoothly over space and is never dark.
pub(super) fn rainbow(p: Vec3) -> [f32; 3] {
    [5.0 * p.x + p.z, 4.0 * p.y - 2.0 * p.x, 6.0 * p.z + p.y].map(|v| 0.6 + 0.35 * v.sin())
}

/// The same at many points.
pub(super) fn rainbows(points: &[Vec3]) -> Vec<[f32; 3]> {
    points.iter().map(|p| rainbow(*p)).collect()
}
