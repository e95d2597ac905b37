//! Whether a mesh is one that can be painted and written: what [`components::check`] asks, and more.

use glam::Vec3;
use rayon::prelude::*;

use super::{Mesh, components};
use crate::error::{Error, Result};

/// Checks a mesh that came from elsewhere.
///
/// # Errors
/// When it has no triangles, a triangle names a vertex that is not there, a value is not finite, there are not as many
/// normals, texture coordinates or colours as vertices, or the texture's bytes do not fill its size.
pub fn check(mesh: &Mesh) -> Result<()> {
    if mesh.triangles.is_empty() {
        return Err(Error::new("the mesh has no triangles").remedy("lower the level, or check the crop"));
    }
    components::check(mesh)?;
    let finite = [
        ("normal", mesh.normals.par_iter().position_any(|p| !p.is_finite())),
        ("texture coordinate", mesh.uvs.par_iter().position_any(|p| !p.is_finite())),
        ("colour", mesh.colours.par_iter().position_any(|p| p.iter().any(|v| !v.is_finite()))),
    ];
    if let Some((what, at)) = finite.into_iter().find_map(|(what, at)| Some((what, at?))) {
        return Err(Error::new(format!("the {what} of vertex {at} is not a number")));
    }
    if mesh.texture.is_some() && mesh.uvs.is_empty() {
        return Err(Error::new("the mesh has a texture and no texture coordinates"));
    }
    Ok(())
}

/// Unit normals of the vertices, those of the triangles around them weighted by area; +Z where there are none.
pub fn smooth_normals(positions: &[Vec3], triangles: &[[u32; 3]]) -> Vec<Vec3> {
    let mut sums = vec![Vec3::ZERO; positions.len()];
    for t in triangles {
        let [a, b, c] = t.map(|v| positions[v as usize]);
        let normal = (b - a).cross(c - a);
        t.iter().for_each(|&v| sums[v as usize] += normal);
    }
    sums.into_iter().map(|n| n.try_normalize().unwrap_or(Vec3::Z)).collect()
}

#[cfg(test)]
mod tests {
    use glam::Vec2;

    use super::super::Texture;
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let mesh = Mesh {
            positions: vec![Vec3::ZERO, Vec3::X, Vec3::Y],
            triangles: vec![[0, 1, 2]],
            uvs: vec![Vec2::ZERO; 3],
            texture: Some(Texture { width: 1, height: 1, rgb: vec![0; 3] }),
            ..Mesh::default()
        };
        assert!(check(&mesh).is_ok());
        let broken = |change: &dyn Fn(&mut Mesh)| {
            let mut other = mesh.clone();
            change(&mut other);
            check(&other).expect_err("it was broken").what
        };
        assert!(broken(&|m| m.triangles.clear()).contains("no triangles"));
        assert!(broken(&|m| m.triangles[0][2] = 3).contains("triangle 0"));
        assert!(broken(&|m| m.normals.push(Vec3::X)).contains("1 normals"));
        assert!(broken(&|m| m.positions[1].y = f32::NAN).contains("position of vertex 1"));
        assert!(broken(&|m| m.uvs[2].y = f32::INFINITY).contains("coordinate of vertex 2"));
        assert!(broken(&|m| m.texture = Some(Texture { width: 2, height: 1, rgb: vec![0; 3] })).contains("2x1"));
        assert!(broken(&|m| m.uvs.clear()).contains("no texture coordinates"));
    }

    #[test]
    fn normals_of_a_flat_mesh_are_those_of_its_triangles() {
        let positions = [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::ONE];
        assert_eq!(smooth_normals(&positions[..3], &[[0, 2, 1]]), vec![Vec3::NEG_Z; 3]);
        assert_eq!(smooth_normals(&positions, &[[0, 1, 2]])[3], Vec3::Z, "an unused vertex");
    }
}
