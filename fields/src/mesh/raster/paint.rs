//! What a mesh looks like at a point of one of its triangles.

use glam::{Vec2, Vec3};

use crate::mesh::{Mesh, Texture};

/// The colour of a mesh that is not painted.
pub const GREY: [f32; 3] = [0.5; 3];

/// The colour of a triangle where its corners have these shares (which sum to 1), sRGB-encoded in `[0, 1]`: the
/// texture's if there is one, else that of the vertices, else [`GREY`]. Both are interpolated as they are encoded.
pub fn colour(mesh: &Mesh, triangle: [u32; 3], shares: Vec3) -> [f32; 3] {
    let corners = triangle.map(|v| v as usize);
    if let Some(texture) = mesh.texture.as_ref().filter(|_| !mesh.uvs.is_empty()) {
        let [a, b, c] = corners.map(|v| mesh.uvs[v]);
        return texel(texture, shares.x * a + shares.y * b + shares.z * c);
    }
    if mesh.colours.is_empty() {
        return GREY;
    }
    let [a, b, c] = corners.map(|v| Vec3::from(mesh.colours[v]));
    (shares.x * a + shares.y * b + shares.z * c).to_array()
}

/// The texture at `uv`, interpolated between the four texels around it; it repeats beyond `[0, 1]`, as in glTF.
pub fn texel(texture: &Texture, uv: Vec2) -> [f32; 3] {
    let size = [texture.width as usize, texture.height as usize];
    // A coordinate that is not a number is as good as any other.
    let uv = if uv.is_finite() { uv - uv.floor() } else { Vec2::ZERO };
    let at = uv * Vec2::new(size[0] as f32, size[1] as f32) - 0.5;
    let low = at.floor();
    let t = at - low;
    let wrapped = |v: f32, n: usize| (v as i64).rem_euclid(n as i64) as usize;
    let (x, y) = (wrapped(low.x, size[0]), wrapped(low.y, size[1]));
    let (x1, y1) = ((x + 1) % size[0], (y + 1) % size[1]);
    let of = |x: usize, y: usize| {
        let first = 3 * (x + size[0] * y);
        Vec3::from_array(std::array::from_fn(|c| f32::from(texture.rgb[first + c])))
    };
    let (top, bottom) = (of(x, y).lerp(of(x1, y), t.x), of(x, y1).lerp(of(x1, y1), t.x));
    (top.lerp(bottom, t.y) / 255.0).to_array()
}

/// The unit normal of a triangle where its corners have these shares: of the vertices, if the mesh has those, else its
/// own.
pub fn normal(mesh: &Mesh, triangle: [u32; 3], shares: Vec3) -> Vec3 {
    let corners = triangle.map(|v| v as usize);
    let [a, b, c] = corners.map(|v| mesh.positions[v].as_dvec3());
    let own = (b - a).cross(c - a).normalize_or(glam::DVec3::Z).as_vec3();
    if mesh.normals.is_empty() {
        return own;
    }
    let [a, b, c] = corners.map(|v| mesh.normals[v]);
    (shares.x * a + shares.y * b + shares.z * c).normalize_or(own)
}
