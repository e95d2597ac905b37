//! Points on a mesh, evenly by area.

use glam::{DVec3, Vec3};
use rayon::prelude::*;

use super::paint::{colour, normal};
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::mesh::components::{area, check};
use crate::rng::Rng;

/// Points on a surface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurfacePoints {
    /// Where they are, `[n]`.
    pub positions: Vec<Vec3>,
    /// Unit normals there, `[n]`.
    pub normals: Vec<Vec3>,
    /// Colours there, sRGB-encoded in `[0, 1]`, `[n]`.
    pub colours: Vec<[f32; 3]>,
}

/// `n` random points on a mesh, as many on each part as its area asks for: the area is cut into `n` equal pieces, and
/// each piece gets one point (stratified), so that even few points leave no large gap. The same seed gives the same
/// points.
///
/// # Errors
/// When the mesh does not pass [`check`] or has no area.
pub fn sample_surface(mesh: &Mesh, n: usize, seed: u64) -> Result<SurfacePoints> {
    check(mesh)?;
    let mut total = 0.0;
    let ends = mesh.triangles.iter().map(|&triangle| {
        total += area(mesh, triangle);
        total
    });
    let ends: Vec<f64> = ends.collect();
    if !(total > 0.0 && total.is_finite()) {
        return Err(Error::new(format!("a mesh of {} triangles has the area {total}", mesh.triangles.len()))
            .remedy("there is nothing to draw points on"));
    }
    let drawn = (0..n).into_par_iter().map(|i| {
        let mut rng = Rng::at(seed, "surface", i as u64);
        let at = total * (i as f64 + f64::from(rng.uniform())) / n as f64;
        // Never a triangle without area: its end is that of the one before.
        let place = ends.partition_point(|end| *end <= at).min(ends.partition_point(|end| *end < total));
        let triangle = mesh.triangles[place];
        // Evenly on a triangle (Turk 1990): the root makes the parts near the first corner as dense as the others.
        let (root, share) = (f64::from(rng.uniform()).sqrt(), f64::from(rng.uniform()));
        let shares = DVec3::new(1.0 - root, root * (1.0 - share), root * share);
        let [a, b, c] = triangle.map(|v| mesh.positions[v as usize].as_dvec3());
        let position = (shares.x * a + shares.y * b + shares.z * c).as_vec3();
        let shares = shares.as_vec3();
        ((position, normal(mesh, triangle, shares)), colour(mesh, triangle, shares))
    });
    let ((positions, normals), colours) = drawn.unzip();
    Ok(SurfacePoints { positions, normals, colours })
}
