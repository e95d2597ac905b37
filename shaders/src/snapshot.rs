//! What the viewport draws: a field's own numbers in plain memory, as its shaders read them.

use std::fmt::Write;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use glam::{Mat4, Vec3};

use crate::net::Net;
use crate::wgsl::{NoSuchFile, resolve};
use crate::{Aabb, Camera};

/// A field as the viewport takes it.
#[derive(Clone, Debug)]
pub enum Snapshot {
    /// A density and colour everywhere, marched along rays.
    Volume(Arc<VolumeSnapshot>),
    /// Gaussians, sorted and drawn.
    Splats(Arc<SplatSnapshot>),
}

/// A volume: how rays are sampled, where it is not empty, and how it is asked.
#[derive(Clone, Debug)]
pub struct VolumeSnapshot {
    /// How rays are sampled.
    pub march: March,
    /// The bits of the occupancy grid and of its pyramid, from [`March::level_start`] on.
    pub occupancy: Vec<u32>,
    /// How it is asked.
    pub field: FieldSnapshot,
}

/// A field's sampler: a file in `wgsl/fields` that gives `log_sigma(x)` and then `colour(d)`, and what it reads.
#[derive(Clone, Debug)]
pub struct FieldSnapshot {
    /// The file: `"fields/hash"`.
    pub file: &'static str,
    /// What the file calls constants.
    pub constants: Vec<(&'static str, Constant)>,
    /// Storage buffers, bound in this order from [`FIRST_BUFFER`] on.
    pub buffers: Vec<Words>,
    /// Networks by the name that the file imports as `net_NAME`; their tiles are bound after the buffers.
    pub nets: Vec<(&'static str, Net, Vec<f32>)>,
}

/// The binding of a field's first own buffer in group 1.
pub const FIRST_BUFFER: u32 = 2;

/// A constant of a shader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    /// A number or a switch (1 or 0).
    U32(u32),
    /// A number.
    F32(f32),
    /// Three numbers.
    Vec3u([u32; 3]),
    /// Three numbers.
    Vec3f([f32; 3]),
}

impl From<usize> for Constant {
    fn from(value: usize) -> Self {
        Self::U32(value as u32)
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Self::U32(u32::from(value))
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

/// The values of a buffer.
#[derive(Clone, Debug)]
pub enum Words {
    /// Numbers.
    F32(Vec<f32>),
    /// Bits, indices.
    U32(Vec<u32>),
}

impl Words {
    /// The values as bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::U32(values) => bytemuck::cast_slice(values),
        }
    }
}

impl FieldSnapshot {
    /// The whole text of the shader `entry` (`"march"`, `"probe"`) for this field.
    ///
    /// # Errors
    /// When an import leads nowhere.
    pub fn source(&self, entry: &str) -> Result<String, NoSuchFile> {
        let mut constants = String::new();
        for (name, value) in &self.constants {
            // Writing to a string cannot fail.
            let _ = match value {
                Constant::U32(v) => writeln!(constants, "const {name} = {v}u;"),
                Constant::F32(v) => writeln!(constants, "const {name} = {v:?}f;"),
                Constant::Vec3u([x, y, z]) => writeln!(constants, "const {name} = vec3u({x}u, {y}u, {z}u);"),
                Constant::Vec3f([x, y, z]) => writeln!(constants, "const {name} = vec3f({x:?}f, {y:?}f, {z:?}f);"),
            };
        }
        let first = FIRST_BUFFER + self.buffers.len() as u32;
        let nets: Vec<(String, String)> = (first..)
            .zip(&self.nets)
            .map(|(binding, (name, net, _))| (format!("net_{name}"), net.wgsl(name, binding)))
            .collect();
        let field = format!("#import constants\n#import {}\n", self.file);
        let mut made = vec![("field", field.as_str()), ("constants", constants.as_str())];
        made.extend(nets.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        resolve(entry, &made)
    }

    /// The bytes of every buffer in the order of their bindings, the networks' tiles last.
    pub fn buffer_bytes(&self) -> Vec<&[u8]> {
        let tiles = self.nets.iter().map(|(_, _, tiles)| bytemuck::cast_slice(tiles));
        self.buffers.iter().map(Words::bytes).chain(tiles).collect()
    }
}

/// `March` of `wgsl/volume.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct March {
    /// Lower corner of the box of warped space that field and grid fill.
    pub low: [f32; 3],
    /// The distance between samples, scene units.
    pub step: f32,
    /// Size of the box.
    pub size: [f32; 3],
    /// Growth of the step with distance.
    pub cone_angle: f32,
    /// Where rays begin, scene units.
    pub near: f32,
    /// Where rays end.
    pub far: f32,
    /// A ray ends after so many samples,
    pub most: u32,
    /// or where less than this of its light is left.
    pub stop: f32,
    /// First word of the bits of each level of the occupancy pyramid.
    pub level_start: [u32; 4],
    /// Cells of the occupancy grid along an edge.
    pub cells: u32,
    /// 1 where space beyond the unit ball is contracted.
    pub unbounded: u32,
    /// Nothing.
    pub spare: [u32; 2],
}

/// `View` of `wgsl/view.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct View {
    /// Columns; the camera looks along −Z with +Y up.
    pub world_from_camera: [[f32; 4]; 4],
    /// Focal lengths, pixels.
    pub focal: [f32; 2],
    /// Principal point, pixels.
    pub centre: [f32; 2],
    /// Pixels.
    pub size: [u32; 2],
    /// Nothing.
    pub spare: [u32; 2],
}

impl From<&Camera> for View {
    /// The view of a camera, whose lens is left out.
    fn from(camera: &Camera) -> Self {
        Self {
            world_from_camera: Mat4::from(camera.world_from_camera).to_cols_array_2d(),
            focal: camera.focal.to_array(),
            centre: camera.centre.to_array(),
            size: [camera.width, camera.height],
            spare: [0; 2],
        }
    }
}

/// `Splats` of `wgsl/splat_types.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Splats {
    /// How many there are.
    pub count: u32,
    /// Degree of the spherical harmonics, 0 to 3.
    pub degree: u32,
    /// 1 where opacity makes up for the blur of the pixel.
    pub antialias: u32,
    /// Centres nearer than this along the view axis are left out.
    pub near: f32,
    /// Gaussians in a row of workgroups.
    pub across: u32,
    /// Nothing.
    pub spare: [u32; 3],
}

/// `Projected` of `wgsl/splat_types.wgsl`, which only shaders write and read.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Projected {
    /// Centre in pixels.
    pub place: [f32; 2],
    /// Half of the box that it covers.
    pub half_size: [f32; 2],
    /// Its folded Cholesky factor.
    pub l: [f32; 3],
    /// log₂ of the opacity.
    pub peak: f32,
    /// Colour.
    pub colour: [f32; 3],
    /// Distance along the view axis.
    pub depth: f32,
}

/// `Show` of `wgsl/show.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Show {
    /// What transparency is filled with.
    pub background: [f32; 4],
    /// Depth that is brightest, scene units.
    pub nearest: f32,
    /// Depth that is darkest.
    pub farthest: f32,
    /// 0 colour, 1 depth, 2 opacity, 3 normals.
    pub mode: u32,
    /// 1 where depth is along the view axis.
    pub axial: u32,
    /// Pixels of what is shown on.
    pub size: [f32; 2],
    /// Nothing.
    pub spare: [u32; 2],
}

/// Gaussians, `n` of them, as the published files store them.
#[derive(Clone, Debug, Default)]
pub struct SplatSnapshot {
    /// Centres in scene units, `[n, 3]`.
    pub means: Vec<f32>,
    /// ln of the standard deviations, `[n, 3]`.
    pub log_scales: Vec<f32>,
    /// Quaternions w, x, y, z, `[n, 4]`.
    pub rotations: Vec<f32>,
    /// Logits of the opacities, `[n]`.
    pub raw_opacity: Vec<f32>,
    /// Coefficients of the spherical harmonics, `[n, (degree + 1)², 3]`.
    pub harmonics: Vec<f32>,
    /// Degree of the spherical harmonics, 0 to 3.
    pub degree: u32,
    /// Whether opacity makes up for the blur of the pixel.
    pub antialias: bool,
    /// Centres nearer than this along the view axis are left out, scene units.
    pub near: f32,
}

impl SplatSnapshot {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.raw_opacity.len()
    }

    /// The box around all centres; `None` where there are none.
    pub fn bounds(&self) -> Option<Aabb> {
        Aabb::around(self.means.as_chunks::<3>().0.iter().map(|&p| Vec3::from(p)))
    }
}

/// Words of each level's bits before the first of the next: where the levels of a pyramid start when they are laid end
/// to end, the finest first.
pub fn level_starts(levels: [usize; 4]) -> [u32; 4] {
    let mut at = 0;
    levels.map(|words| {
        let start = at;
        at += words as u32;
        start
    })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::wgsl::FILES;

    /// Members of a structure of a shader with their offsets, and its size.
    fn layout(text: &str, name: &str) -> (Vec<(String, usize)>, usize) {
        let module = naga::front::wgsl::parse_str(text).expect("it compiles");
        let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
        let (_, ty) = found.expect("the structure is there");
        let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("a structure") };
        let members = members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset as usize));
        (members.collect(), *span as usize)
    }

    macro_rules! same_layout {
        ($file:literal, $ty:ident { $($member:ident),* $(,)? }) => {
            let (members, size) = layout(&resolve($file, &[]).unwrap(), stringify!($ty));
            let ours = [$((stringify!($member).to_string(), offset_of!($ty, $member))),*];
            let shown: Vec<_> = members.into_iter().filter(|(name, _)| !name.starts_with("spare")).collect();
            assert_eq!(shown, ours, "{}", stringify!($ty));
            assert_eq!(size, size_of::<$ty>(), "{}", stringify!($ty));
        };
    }

    #[test]
    fn structures_are_laid_out_as_the_shaders_read_them() {
        same_layout!("view", View { world_from_camera, focal, centre, size });
        same_layout!(
            "volume",
            March { low, step, size, cone_angle, near, far, most, stop, level_start, cells, unbounded }
        );
        same_layout!("splat_types", Splats { count, degree, antialias, near, across });
        same_layout!("splat_types", Projected { place, half_size, l, peak, colour, depth });
        same_layout!("show", Show { background, nearest, farthest, mode, axial, size });
    }

    #[test]
    #[should_panic(expected = "Other")]
    fn a_structure_that_is_laid_out_otherwise_is_found_out() {
        #[repr(C)]
        struct Other {
            a: f32,
            b: [f32; 3],
        }
        let text = "struct Other { a: f32, b: vec3f } @group(0) @binding(0) var<uniform> o: Other;";
        let (members, _) = layout(text, "Other");
        assert_eq!(
            members,
            [("a".to_string(), offset_of!(Other, a)), ("b".to_string(), offset_of!(Other, b))],
            "Other"
        );
    }

    fn valid(text: &str) {
        let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
        let mut validator =
            naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
        validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
    }

    #[test]
    fn every_program_is_valid() {
        for entry in ["project", "splat", "show"] {
            valid(&resolve(entry, &[]).unwrap());
        }
        let net = |input| {
            let layer =
                crate::net::Layer { out: 5, bias: true, activation: crate::net::Activation::Relu, concat_input: false };
            Net { input, layers: vec![layer, crate::net::Layer { concat_input: true, ..layer }] }
        };
        let number = |n: usize| Constant::from(n);
        let constants = vec![
            ("LEVELS", number(2)),
            ("FEATURES", number(2)),
            ("FREQUENCIES", number(2)),
            ("LATENT", number(4)),
            ("WAVES", true.into()),
            ("LOG_LOW", (-8.0).into()),
            ("LOG_HIGH", 7.0.into()),
            ("LINEAR", false.into()),
            ("SIGMOID", true.into()),
            ("EMPTY", 0.0.into()),
            ("GRID_LOW", Constant::Vec3f([-1.0; 3])),
            ("GRID_SIZE", Constant::Vec3f([2.0; 3])),
            ("PLANES", true.into()),
            ("MODES", number(3)),
            ("SIGMA_RANK", number(4)),
            ("APP_RANK", number(4)),
            ("COLUMNS", number(8)),
            ("OFFSET", 0.5.into()),
            ("OUTSIDE", (-40.0).into()),
            ("SOFTPLUS", true.into()),
            ("LOG_SCALE", 1e-7.into()),
        ];
        let fields = FILES.iter().filter_map(|(name, _)| name.starts_with("fields/").then_some(*name));
        let mut seen = 0;
        for file in fields {
            let mut constants = constants.clone();
            let resolution = if file == "fields/factors" { Constant::Vec3u([4; 3]) } else { number(4) };
            constants.push(("RESOLUTION", resolution));
            let nets = [("sigma", net(4)), ("density", net(15)), ("colour", net(35))];
            let nets = nets.map(|(name, net)| (name, net.clone(), net.tiles(&vec![0.0; net.param_count()])));
            let buffers = vec![Words::U32(vec![0]); 3];
            let field = FieldSnapshot { file, constants, buffers, nets: nets.to_vec() };
            for entry in ["march", "probe"] {
                valid(&field.source(entry).unwrap());
                seen += 1;
            }
        }
        assert!(seen >= 8);
    }
}
