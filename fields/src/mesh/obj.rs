//! A mesh as Wavefront `.obj` text with its `.mtl` material and PNG texture (Wavefront, Appendices B1 and B2).
//!
//! The format names no axis; what reads it takes +Y for up, as in glTF, so that is what is written. Texture coordinates start
//! at the lower left corner. Colours of vertices follow their positions, encoded as sRGB, as most programs have it.

use std::fmt::Write;

use super::glb::{gltf_from_ours, to_png};
use super::{Mesh, sound};
use crate::error::{Error, Result};

/// The files of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjFiles {
    /// The text of `NAME.obj`.
    pub obj: String,
    /// The text of `NAME.mtl`, for a mesh with a texture.
    pub mtl: Option<String>,
    /// The bytes of `NAME.png`, for a mesh with a texture.
    pub png: Option<Vec<u8>>,
}

/// The files of a mesh, which name each other by `name`, without a folder and an ending.
///
/// # Errors
/// When the mesh is broken or the name cannot stand in such a file.
pub fn to_obj(mesh: &Mesh, name: &str, generator: &str) -> Result<ObjFiles> {
    sound::check(mesh)?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/' || c == '\\' || c == '#')
    {
        return Err(Error::new(format!("an .obj file cannot refer to files called \"{name}\""))
            .remedy("choose a name without blanks, slashes and #"));
    }
    let mut obj = format!("# {}\n", generator.replace(['\n', '\r'], " "));
    let textured = mesh.texture.is_some();
    if textured {
        obj += &format!("mtllib {name}.mtl\n");
    }
    let mut line = |text: std::fmt::Arguments<'_>| obj.write_fmt(text).expect("a string takes all text");
    for (k, p) in mesh.positions.iter().enumerate() {
        let p = gltf_from_ours(*p);
        match mesh.colours.get(k).filter(|_| !textured) {
            Some([r, g, b]) => line(format_args!("v {} {} {} {r} {g} {b}\n", p.x, p.y, p.z)),
            None => line(format_args!("v {} {} {}\n", p.x, p.y, p.z)),
        }
    }
    if textured {
        mesh.uvs.iter().for_each(|uv| line(format_args!("vt {} {}\n", uv.x, 1.0 - uv.y)));
    }
    for n in &mesh.normals {
        let n = gltf_from_ours(*n);
        line(format_args!("vn {} {} {}\n", n.x, n.y, n.z));
    }
    if textured {
        line(format_args!("usemtl paint\n"));
    }
    for t in &mesh.triangles {
        let [a, b, c] = t.map(|v| v + 1);
        match (textured, mesh.normals.is_empty()) {
            (true, false) => line(format_args!("f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}\n")),
            (true, true) => line(format_args!("f {a}/{a} {b}/{b} {c}/{c}\n")),
            (false, false) => line(format_args!("f {a}//{a} {b}//{b} {c}//{c}\n")),
            (false, true) => line(format_args!("f {a} {b} {c}\n")),
        }
    }
    let mtl = format!("newmtl paint\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {name}.png\n");
    let png = mesh.texture.as_ref().map(to_png).transpose()?;
    Ok(ObjFiles { obj, mtl: textured.then_some(mtl), png })
}
