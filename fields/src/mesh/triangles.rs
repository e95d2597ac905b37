//! What a mesh is: its triangles, and what they are painted with.

use glam::{Vec2, Vec3};

/// A triangle mesh, painted by a texture, by colours of its vertices, or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// Vertices, `[n]`.
    pub positions: Vec<Vec3>,
    /// Unit normals of the vertices, `[n]`, or none.
    pub normals: Vec<Vec3>,
    /// Corners of the triangles, counter-clockwise seen from outside.
    pub triangles: Vec<[u32; 3]>,
    /// Texture coordinates of the vertices, `[n]` or none; `(0, 0)` is the texture's upper left corner, as in glTF.
    pub uvs: Vec<Vec2>,
    /// Colours of the vertices, sRGB-encoded in `[0, 1]`, `[n]` or none.
    pub colours: Vec<[f32; 3]>,
    /// The texture that `uvs` look into.
    pub texture: Option<Texture>,
}

/// A picture that a mesh is painted with.
#[derive(Clone, Debug, PartialEq)]
pub struct Texture {
    /// Width in texels.
    pub width: u32,
    /// Height in texels.
    pub height: u32,
    /// sRGB-encoded red, green, blue, row by row from the top, `[height, width, 3]`.
    pub rgb: Vec<u8>,
}
