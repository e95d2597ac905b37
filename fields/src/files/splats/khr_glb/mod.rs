//! Gaussians in glTF: `KHR_gaussian_splatting`, the release candidate in github.com/KhronosGroup/glTF, in one `.glb`
//! file.
//!
//! A primitive of points has `POSITION` and, each behind `KHR_gaussian_splatting:`, `ROTATION` (x, y, z, w), `SCALE`
//! and `OPACITY` (both as they are, without ln or logit) and `SH_DEGREE_l_COEF_n` (red, green, blue). `COLOR_0`,
//! linear, is for those who show points. glTF has +Y up, +Z forward and +X left: half a turn about Z from the axes of
//! `.ply`.
//!
//! What is read is the scene that is shown: all Gaussians in it as one set, each where its node puts it.

mod gltf;
mod place;

#[cfg(test)]
mod tests;

use glam::DMat4;
use rayon::prelude::*;

use super::finite::finite;
use super::source::counted;
use super::turn::flip_xy;
use super::{About, Format, SH_MAX, Sink, Source, Splats, rest_per_splat};
use crate::error::{Error, Result};
use crate::parts::sh::C0;
use gltf::{Accessor, Asset, BYTE, Buffer, Document, EXTENSION, Extensions, FLOAT, GaussianSplatting};
use gltf::{Mesh, Node, Primitive, Rows, Scene, View, damaged};

const SRGB: &str = "srgb_rec709_display";
const LINEAR: &str = "lin_rec709_display";

/// The format.
pub struct KhrGlb;

impl Format for KhrGlb {
    fn name(&self) -> &'static str {
        "glb"
    }

    fn label(&self) -> &'static str {
        "glTF with Gaussians (KHR_gaussian_splatting)"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["glb"]
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let names = |text: &[u8]| text.windows(EXTENSION.len()).any(|w| w == EXTENSION.as_bytes());
        let length = head.get(12..16).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        head.starts_with(b"glTF") && head.get(20..).is_some_and(|text| names(&text[..length.min(text.len())]))
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let (document, [_, size]) = gltf::document(source)?;
        let parts = parts(&document, size)?;
        Ok(About {
            count: parts.iter().map(|part| part.count).sum(),
            sh_degree: parts.iter().map(|part| part.degree).max().unwrap_or(0),
            variant: EXTENSION.to_string(),
        })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let (document, bin) = gltf::document(source)?;
        let parts = parts(&document, bin[1])?;
        let degree = parts.iter().map(|part| part.degree).max().unwrap_or(0);
        let mut all: Option<Splats> = None;
        for part in &parts {
            let splats = part.read(&document, source, bin)?.with_degree(degree);
            match &mut all {
                None => all = Some(splats),
                Some(all) => append(all, splats),
            }
        }
        let mut all = all.ok_or_else(none)?;
        let others = document.meshes.iter().flat_map(|mesh| &mesh.primitives);
        if others.clone().any(|primitive| primitive.extensions.gaussians.is_none()) {
            all.notes.push("its meshes were left out".to_string());
        }
        flip_xy(&mut all);
        all.settled()
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        finite(splats)?;
        let written = |e: std::io::Error| Error::new(e.to_string());
        let columns = columns(splats);
        let document = described(splats, &columns);
        let mut text = serde_json::to_vec(&document).map_err(|e| Error::new(e.to_string()))?;
        text.resize(text.len().next_multiple_of(4), b' ');
        let bytes = document.buffers[0].byte_length;
        let length = 12 + 8 + text.len() as u64 + 8 + bytes;
        let Ok(length) = u32::try_from(length) else {
            return Err(Error::new(format!("a .glb file ends at 4 GiB, and this one would have {length} bytes"))
                .remedy("write .ply or .spz"));
        };
        let mut head = b"glTF\x02\0\0\0".to_vec();
        head.extend(length.to_le_bytes());
        head.extend((text.len() as u32).to_le_bytes());
        head.extend(b"JSON");
        head.extend(text);
        head.extend((bytes as u32).to_le_bytes());
        head.extend(b"BIN\0");
        out.write_all(&head).map_err(written)?;
        columns.iter().try_for_each(|column| out.write_all(&column.bytes(splats))).map_err(written)
    }
}

fn none() -> Error {
    Error::new("there are no Gaussians in the scene that it shows").remedy("export it again")
}

/// Gaussians of one primitive, at one place.
struct Part<'a> {
    primitive: &'a Primitive,
    about: &'a GaussianSplatting,
    world: DMat4,
    count: usize,
    degree: u32,
}

/// The Gaussians of the scene, checked against `size`, the bytes that are there for them.
fn parts(document: &Document, size: u64) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut total = 0_u64;
    for (mesh, world) in place::placed(document)? {
        let mesh = document.meshes.get(mesh).ok_or_else(|| damaged(&format!("mesh {mesh} is missing")))?;
        for primitive in &mesh.primitives {
            let Some(about) = &primitive.extensions.gaussians else { continue };
            if about.kernel != "ellipse" || primitive.mode != Some(0) {
                let what = format!("its Gaussians have the kernel {:?} in mode {:?}", about.kernel, primitive.mode);
                return Err(Error::new(what).remedy("export them as points with the kernel \"ellipse\""));
            }
            if let Some((name, _)) = about.extensions.first_key_value() {
                return Err(Error::new(format!("its Gaussians are packed by {name}")).remedy("export them without"));
            }
            let position = primitive.attributes.get("POSITION").and_then(|a| document.accessors.get(*a));
            let position = position.ok_or_else(|| damaged("POSITION is missing"))?;
            total = total.saturating_add(position.count);
            // However often nodes show them: one takes 23 bytes at least, so all may be shown that often. Unpacked,
            // each takes 56 to 236.
            let count = counted(total, 1, size).map(|_| position.count as usize)?;
            parts.push(Part { primitive, about, world, count, degree: degree(primitive)? });
        }
    }
    if total == 0 { Err(none()) } else { Ok(parts) }
}

/// The degree of the harmonics that a primitive has.
fn degree(primitive: &Primitive) -> Result<u32> {
    let has = |(l, n): (u32, u32)| primitive.attributes.contains_key(&coefficient(l, n));
    let mut degree = 0;
    for l in 1..=SH_MAX {
        let here = (0..=2 * l).filter(|n| has((l, *n))).count() as u32;
        match here {
            0 => {}
            _ if here == 2 * l + 1 && degree + 1 == l => degree = l,
            _ => return Err(damaged(&format!("its harmonics of degree {l} or below are there in part"))),
        }
    }
    Ok(degree)
}

fn coefficient(l: u32, n: u32) -> String {
    own(&format!("SH_DEGREE_{l}_COEF_{n}"))
}

fn own(name: &str) -> String {
    format!("{EXTENSION}:{name}")
}

impl Part<'_> {
    fn read(&self, document: &Document, source: &mut Source<'_>, bin: [u64; 2]) -> Result<Splats> {
        let mut rows = |name: &str, columns: usize| -> Result<Rows> {
            let accessor = self.primitive.attributes.get(name);
            let accessor = *accessor.ok_or_else(|| damaged(&format!("{name} is missing")))?;
            let rows = document.rows(accessor, columns, source, bin)?;
            if rows.count != self.count {
                return Err(damaged(&format!("{name} is there for {} of {} Gaussians", rows.count, self.count)));
            }
            Ok(rows)
        };
        let means = rows("POSITION", 3)?;
        let mut splats = Splats::zeros(self.count, self.degree);
        splats.means.par_iter_mut().enumerate().for_each(|(i, m)| *m = means.row(i));
        let rotations = rows(&own("ROTATION"), 4)?;
        splats.rotations.par_iter_mut().enumerate().for_each(|(i, q)| {
            let [x, y, z, w] = rotations.row(i);
            *q = [w, x, y, z];
        });
        let scales = rows(&own("SCALE"), 3)?;
        splats.log_scales.par_iter_mut().enumerate().for_each(|(i, s)| *s = scales.row(i));
        if splats.log_scales.par_iter().flatten().any(|v| *v < 0.0) {
            return Err(damaged("a scale is negative").remedy("drafts of the format had logarithms: export it again"));
        }
        splats.log_scales.par_iter_mut().flatten().for_each(|v| *v = v.ln());
        let opacities = rows(&own("OPACITY"), 1)?;
        splats.raw_opacity.par_iter_mut().enumerate().for_each(|(i, v)| [*v] = opacities.row(i));
        if splats.raw_opacity.par_iter().any(|v| !(-1e-6..=1.000_001).contains(v)) {
            return Err(damaged("an opacity is not from 0 to 1"));
        }
        splats.raw_opacity.par_iter_mut().for_each(|v| *v = logit(v.clamp(0.0, 1.0)));
        let dc = rows(&coefficient(0, 0), 3)?;
        splats.sh_dc.par_iter_mut().enumerate().for_each(|(i, c)| *c = dc.row(i));
        let names = (1..=self.degree).flat_map(|l| (0..=2 * l).map(move |n| coefficient(l, n)));
        for (k, name) in names.enumerate() {
            let values = rows(&name, 3)?;
            let to = splats.sh_rest.par_chunks_exact_mut(rest_per_splat(self.degree)).enumerate();
            to.for_each(|(i, row)| row[3 * k..][..3].copy_from_slice(&values.row::<3>(i)));
        }
        if self.about.color_space == LINEAR {
            encode(&mut splats);
        } else if self.about.color_space != SRGB {
            return Err(Error::new(format!("its colours are in {:?}", self.about.color_space))
                .remedy(format!("export them in {SRGB}")));
        }
        let ours = self.about.extras.as_ref().and_then(|extras| extras.get("antialias"));
        splats.antialias = ours.and_then(serde_json::Value::as_bool).unwrap_or(false);
        place::put(&mut splats, &self.world)?;
        Ok(splats)
    }
}

fn logit(v: f32) -> f32 {
    (v / (1.0 - v)).ln()
}

/// Linear colours as sRGB: the constant part exactly, the others by the curve's slope there.
fn encode(splats: &mut Splats) {
    let curve = |v: f32| {
        if v <= 0.003_130_8 {
            [12.92 * v, 12.92]
        } else {
            [1.055 * v.powf(1.0 / 2.4) - 0.055, 1.055 / 2.4 * v.powf(1.0 / 2.4 - 1.0)]
        }
    };
    let width = rest_per_splat(splats.sh_degree);
    let slopes: Vec<[f32; 3]> = splats
        .sh_dc
        .par_iter_mut()
        .map(|dc| {
            let both = dc.map(|v| curve(0.5 + C0 * v));
            *dc = both.map(|[v, _]| (v - 0.5) / C0);
            both.map(|[_, slope]| slope)
        })
        .collect();
    if width > 0 {
        splats.sh_rest.par_chunks_exact_mut(width).zip(&slopes).for_each(|(row, slope)| {
            row.chunks_exact_mut(3).for_each(|rgb| rgb.iter_mut().zip(slope).for_each(|(v, s)| *v *= s));
        });
    }
    splats.notes.push("its linear colours were turned to sRGB, those that depend on the view nearly".to_string());
}

fn append(all: &mut Splats, more: Splats) {
    all.means.extend(more.means);
    all.log_scales.extend(more.log_scales);
    all.rotations.extend(more.rotations);
    all.raw_opacity.extend(more.raw_opacity);
    all.sh_dc.extend(more.sh_dc);
    all.sh_rest.extend(more.sh_rest);
    all.antialias |= more.antialias;
    for note in more.notes {
        if !all.notes.contains(&note) {
            all.notes.push(note);
        }
    }
}

/// An attribute that is written.
enum Column {
    Position,
    Colour,
    Rotation,
    Scale,
    Opacity,
    Constant,
    /// Coefficient 1 to 15.
    Harmonic(usize),
}

fn columns(splats: &Splats) -> Vec<Column> {
    let first = [Column::Position, Column::Colour, Column::Rotation, Column::Scale, Column::Opacity, Column::Constant];
    let rest = (1..=rest_per_splat(splats.sh_degree) / 3).map(Column::Harmonic);
    first.into_iter().chain(rest).collect()
}

impl Column {
    fn name(&self) -> String {
        match self {
            Self::Position => "POSITION".to_string(),
            Self::Colour => "COLOR_0".to_string(),
            Self::Rotation => own("ROTATION"),
            Self::Scale => own("SCALE"),
            Self::Opacity => own("OPACITY"),
            Self::Constant => coefficient(0, 0),
            Self::Harmonic(k) => coefficient(k.isqrt() as u32, (k - k.isqrt().pow(2)) as u32),
        }
    }

    /// Bytes for each Gaussian, and glTF's name for what they are.
    fn shape(&self) -> (u64, &'static str) {
        match self {
            Self::Colour => (4, "VEC4"),
            Self::Rotation => (16, "VEC4"),
            Self::Opacity => (4, "SCALAR"),
            _ => (12, "VEC3"),
        }
    }

    /// The values, in glTF's axes.
    fn bytes(&self, s: &Splats) -> Vec<u8> {
        match self {
            Self::Position => packed(s, |i| position(&s.means[i]).map(f32::to_le_bytes)),
            Self::Colour => packed(s, |i| [fallback(s.sh_dc[i], s.raw_opacity[i])]),
            Self::Rotation => packed(s, |i| {
                let q = s.rotations[i];
                let length = q.iter().map(|v| v * v).sum::<f32>().sqrt();
                // As `flip_xy` does, then w last.
                [-q[2], q[1], q[0], -q[3]].map(|v| (v / length).to_le_bytes())
            }),
            Self::Scale => packed(s, |i| s.log_scales[i].map(|v| v.exp().to_le_bytes())),
            Self::Opacity => packed(s, |i| [sigmoid(s.raw_opacity[i]).to_le_bytes()]),
            Self::Constant => packed(s, |i| s.sh_dc[i].map(f32::to_le_bytes)),
            Self::Harmonic(k) => {
                let sign = super::turn::HALF_TURN_Z[k - 1];
                packed(s, |i| {
                    let rgb = &s.rest(i)[3 * (k - 1)..];
                    [rgb[0], rgb[1], rgb[2]].map(|v| (v * sign).to_le_bytes())
                })
            }
        }
    }
}

fn packed<const N: usize>(splats: &Splats, value: impl Fn(usize) -> [[u8; 4]; N] + Sync + Send) -> Vec<u8> {
    let rows: Vec<[[u8; 4]; N]> = (0..splats.len()).into_par_iter().map(value).collect();
    rows.as_flattened().as_flattened().to_vec()
}

fn position(m: &[f32; 3]) -> [f32; 3] {
    [-m[0], -m[1], m[2]]
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// The colour of a point, linear as glTF wants it, and its opacity.
fn fallback(dc: [f32; 3], raw_opacity: f32) -> [u8; 4] {
    let byte = |v: f32| (v * 255.0).round() as u8;
    let linear = dc.map(|v| {
        let v = (0.5 + C0 * v).clamp(0.0, 1.0);
        byte(if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) })
    });
    [linear[0], linear[1], linear[2], byte(sigmoid(raw_opacity))]
}

fn described(splats: &Splats, columns: &[Column]) -> Document {
    let count = splats.len() as u64;
    let mut document = Document {
        asset: Asset { version: "2.0".to_string(), generator: "Retort".to_string() },
        extensions_used: vec![EXTENSION.to_string()],
        scene: Some(0),
        scenes: vec![Scene { nodes: vec![0] }],
        nodes: vec![Node { mesh: Some(0), ..Node::default() }],
        ..Document::default()
    };
    let about = GaussianSplatting {
        kernel: "ellipse".to_string(),
        color_space: SRGB.to_string(),
        projection: Some("perspective".to_string()),
        sorting_method: Some("cameraDistance".to_string()),
        extras: splats.antialias.then(|| serde_json::json!({ "antialias": true })),
        ..GaussianSplatting::default()
    };
    let mut primitive =
        Primitive { mode: Some(0), extensions: Extensions { gaussians: Some(about) }, ..Primitive::default() };
    let mut at = 0;
    for (k, column) in columns.iter().enumerate() {
        let (bytes, shape) = column.shape();
        let colour = matches!(column, Column::Colour);
        let view = View { byte_offset: at, byte_length: bytes * count, target: Some(34_962), ..View::default() };
        document.buffer_views.push(view);
        let mut accessor = Accessor {
            buffer_view: Some(k),
            component_type: if colour { BYTE } else { FLOAT },
            normalized: colour,
            count,
            shape: shape.to_string(),
            ..Accessor::default()
        };
        if matches!(column, Column::Position) {
            let ends = |pick: fn(f32, f32) -> f32, from: f32| {
                let corner = |a: [f32; 3], b: [f32; 3]| std::array::from_fn(|k| pick(a[k], b[k]));
                let corner = splats.means.par_iter().map(position).reduce(|| [from; 3], corner);
                Some(corner.to_vec())
            };
            (accessor.min, accessor.max) = (ends(f32::min, f32::INFINITY), ends(f32::max, f32::NEG_INFINITY));
        }
        document.accessors.push(accessor);
        primitive.attributes.insert(column.name(), k);
        at += bytes * count;
    }
    document.buffers.push(Buffer { byte_length: at, uri: None });
    document.meshes.push(Mesh { primitives: vec![primitive] });
    document
}
