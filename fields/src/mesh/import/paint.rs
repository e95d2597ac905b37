//! From triangles in many coats to a mesh with one texture, or with colours of its vertices.
//!
//! Without a texture in use, vertices get colours. A single texture within its bounds is kept as it is. Several, or repeats,
//! become tiles of an atlas. Where tints of vertices multiply a texture, which a mesh here cannot say, the mesh is
//! unwrapped anew and each texel painted with what it should show.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use glam::{DVec2, Vec2};
use rayon::prelude::*;

use super::super::bake::{Cover, Spot};
use super::super::fill::fill;
use super::super::srgb::{byte, decoded_bytes, encode};
use super::super::unwrap::unwrap;
use super::super::{Mesh, Texture};
use super::Imported;
use super::atlas::{Atlas, Wanted, multiplied, wrapped};
use super::loose::{Coat, Loose, Wrap};
use crate::error::{Error, Result};

/// Texture coordinates that are this little outside are within: exporters round.
const ROUNDING: f32 = 1e-4;
/// Tints that differ by less are one.
const SAME: f32 = 1.0 / 512.0;
/// Sides of a texture that is painted anew,
const SIDES: [u32; 2] = [64, 4096];
/// and the texels of it for each triangle, unless the textures before had more in all.
const TEXELS: f64 = 256.0;
/// The most triangles that are unwrapped anew; more are fine enough for colours of vertices.
const UNWRAPPED: usize = 300_000;
/// Rings of texels around the charts that take the nearest colours only.
const RINGS: u32 = 4;

/// One mesh of all the triangles.
///
/// # Errors
/// When there is none.
pub(super) fn painted(mut loose: Loose) -> Result<Imported> {
    if loose.positions.iter().any(|p| !p.is_finite()) {
        return Err(Error::new("a position is too large to be a number").remedy("scale the mesh down"));
    }
    if loose.uvs.iter().any(|uv| !uv.is_finite()) {
        return Err(Error::new("a texture coordinate is too large to be a number").remedy("export the mesh again"));
    }
    loose.drop_flat();
    loose.drop_unused();
    if loose.triangles.is_empty() {
        return Err(Error::new("it holds no triangles").remedy("export a mesh with a surface"));
    }
    let mut notes = std::mem::take(&mut loose.notes);
    let used = used_coats(&loose);
    let mesh = if used.iter().all(|&c| loose.coats[c].texture.is_none()) {
        by_vertices(loose)
    } else if let Some(tints) = even_tints(&loose) {
        for (coat, tint) in loose.coats.iter_mut().zip(tints) {
            coat.factor = [0, 1, 2].map(|c| coat.factor[c] * tint[c]);
        }
        tiled(loose, &mut notes)
    } else {
        anew(loose, &mut notes)
    };
    Ok(Imported { mesh, notes })
}

/// The numbers of the coats that triangles have, rising.
fn used_coats(loose: &Loose) -> Vec<usize> {
    let mut used = vec![false; loose.coats.len()];
    loose.coat_of.iter().for_each(|&c| used[c as usize] = true);
    (0..used.len()).filter(|&c| used[c]).collect()
}

fn bare(loose: Loose) -> Mesh {
    Mesh { positions: loose.positions, normals: loose.normals, triangles: loose.triangles, ..Mesh::default() }
}

fn encoded(linear: [f32; 3]) -> [f32; 3] {
    linear.map(encode)
}

/// Colours of vertices; none where all is white.
fn by_vertices(loose: Loose) -> Mesh {
    let mut colours: Vec<[f32; 3]> = loose.tints.clone();
    let mut done = vec![false; colours.len()];
    for (t, &coat) in loose.triangles.iter().zip(&loose.coat_of) {
        let coat = &loose.coats[coat as usize];
        for &v in t {
            let v = v as usize;
            if !std::mem::replace(&mut done[v], true) {
                let base = coat.texture.map_or([1.0; 3], |t| sampled(&loose.textures[t], coat.wrap, loose.uvs[v]));
                colours[v] = encoded([0, 1, 2].map(|c| base[c] * coat.factor[c] * colours[v][c]));
            }
        }
    }
    let white = colours.iter().all(|c| *c == [1.0; 3]);
    Mesh { colours: if white { Vec::new() } else { colours }, ..bare(loose) }
}

/// The tint of each coat, where each has one; a coat without triangles is white.
fn even_tints(loose: &Loose) -> Option<Vec<[f32; 3]>> {
    let mut tints: Vec<Option<[f32; 3]>> = vec![None; loose.coats.len()];
    for (t, &coat) in loose.triangles.iter().zip(&loose.coat_of) {
        for &v in t {
            let tint = loose.tints[v as usize];
            let first = *tints[coat as usize].get_or_insert(tint);
            if (0..3).any(|c| (first[c] - tint[c]).abs() > SAME) {
                return None;
            }
        }
    }
    Some(tints.into_iter().map(|t| t.unwrap_or([1.0; 3])).collect())
}

/// A texture of tiles, or the one there is.
fn tiled(mut loose: Loose, notes: &mut Vec<String>) -> Mesh {
    let mut kinds: Vec<Coat> = Vec::new();
    let mut numbers = HashMap::new();
    let mut kind_of = vec![0; loose.coats.len()];
    for c in used_coats(&loose) {
        let coat = loose.coats[c];
        kind_of[c] = *numbers.entry((coat.factor.map(f32::to_bits), coat.texture, coat.wrap)).or_insert_with(|| {
            kinds.push(coat);
            kinds.len() - 1
        });
    }
    let kind_of: Vec<usize> = loose.coat_of.iter().map(|&c| kind_of[c as usize]).collect();
    moved_inwards(&mut loose, &kinds, &kind_of);
    let mut wanted: Vec<Wanted> =
        kinds.iter().map(|&coat| Wanted { coat, low: DVec2::INFINITY, high: DVec2::NEG_INFINITY }).collect();
    for (t, &kind) in loose.triangles.iter().zip(&kind_of) {
        for &v in t {
            let uv = loose.uvs[v as usize].as_dvec2();
            (wanted[kind].low, wanted[kind].high) = (wanted[kind].low.min(uv), wanted[kind].high.max(uv));
        }
    }
    let room = f64::from(ROUNDING);
    if let ([only], Some(at)) = (&wanted[..], kinds[0].texture)
        && only.low.min_element() >= -room
        && only.high.max_element() <= 1.0 + room
    {
        let mut texture = loose.textures.swap_remove(at);
        let bytes = multiplied(kinds[0].factor);
        texture.rgb.par_chunks_exact_mut(3).for_each(|t| (0..3).for_each(|c| t[c] = bytes[c][t[c] as usize]));
        let uvs = loose.uvs.iter().map(|uv| uv.clamp(Vec2::ZERO, Vec2::ONE)).collect();
        return Mesh { uvs, texture: Some(texture), ..bare(loose) };
    }
    let atlas = Atlas::new(&wanted, &loose.textures);
    if atlas.shrunk {
        notes.push("the textures were too many or repeated too often for one, and were made smaller".to_string());
    }
    let mut uvs = vec![Vec2::ZERO; loose.positions.len()];
    for (t, &kind) in loose.triangles.iter().zip(&kind_of) {
        t.iter().for_each(|&v| uvs[v as usize] = atlas.uv(kind, loose.uvs[v as usize]));
    }
    Mesh { uvs, texture: Some(atlas.texture), ..bare(loose) }
}

/// Moves triangles by whole repeats of their textures towards `[0, 1]`, where they are outside.
fn moved_inwards(loose: &mut Loose, kinds: &[Coat], kind_of: &[usize]) {
    let mut twins: HashMap<(u32, [u32; 2]), u32> = HashMap::new();
    for at in 0..loose.triangles.len() {
        let coat = &kinds[kind_of[at]];
        if coat.texture.is_none() {
            continue;
        }
        let corners = loose.triangles[at];
        let uvs = corners.map(|v| loose.uvs[v as usize]);
        let low = uvs[0].min(uvs[1]).min(uvs[2]) + ROUNDING;
        let repeats = |low: f32, wrap: Wrap| match wrap {
            Wrap::Repeat => low.floor(),
            Wrap::Mirror => 2.0 * (0.5 * low).floor(),
            Wrap::Clamp => 0.0,
        };
        let shift = Vec2::new(repeats(low.x, coat.wrap[0]), repeats(low.y, coat.wrap[1]));
        if shift == Vec2::ZERO {
            continue;
        }
        loose.triangles[at] = corners.map(|v| match twins.entry((v, shift.to_array().map(f32::to_bits))) {
            Entry::Occupied(twin) => *twin.get(),
            Entry::Vacant(free) => *free.insert(loose.twin(v, loose.uvs[v as usize] - shift)),
        });
    }
    loose.drop_unused();
}

/// The linear colour of a texture, bilinear.
fn sampled(texture: &Texture, wrap: [Wrap; 2], uv: Vec2) -> [f32; 3] {
    let at = uv.as_dvec2() * DVec2::new(f64::from(texture.width), f64::from(texture.height)) - 0.5;
    let low = at.floor();
    let part = (at - low).as_vec2();
    let mut sum = [0.0; 3];
    for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
        let (x, y) = (wrapped(low.x + dx, texture.width, wrap[0]), wrapped(low.y + dy, texture.height, wrap[1]));
        let weight = |part: f32, step: f64| if step == 0.0 { 1.0 - part } else { part };
        let weight = weight(part.x, dx) * weight(part.y, dy);
        let texel = 3 * (y * texture.width as usize + x);
        (0..3).for_each(|c| sum[c] += weight * decoded_bytes()[usize::from(texture.rgb[texel + c])]);
    }
    sum
}

/// The mesh unwrapped anew, each texel painted by its triangle's coat; colours of vertices where that cannot be.
fn anew(loose: Loose, notes: &mut Vec<String>) -> Mesh {
    let used = used_coats(&loose);
    let pictures = used.iter().filter_map(|&c| loose.coats[c].texture.map(|t| &loose.textures[t]));
    let texels: f64 = pictures.map(|t| f64::from(t.width) * f64::from(t.height)).sum();
    let texels = texels.max(TEXELS * loose.triangles.len() as f64);
    let side = (texels.sqrt().min(f64::from(SIDES[1])) as u32).next_power_of_two().clamp(SIDES[0], SIDES[1]);
    let whole = Mesh { positions: loose.positions.clone(), triangles: loose.triangles.clone(), ..Mesh::default() };
    let few = loose.triangles.len() <= UNWRAPPED;
    let unwrapped = if few { unwrap(&whole, side).ok() } else { None };
    let cover = unwrapped.as_ref().and_then(|u| Cover::new(&u.mesh, side, side).ok());
    let (Some(unwrapped), Some(cover)) = (unwrapped, cover) else {
        notes.push("textures that are tinted by vertices were read as colours of the vertices".to_string());
        return by_vertices(loose);
    };
    let colour = |spot: &Spot| {
        // The order of the triangles is that of the mesh before.
        let corners = loose.triangles[spot.triangle as usize];
        let coat = &loose.coats[loose.coat_of[spot.triangle as usize] as usize];
        let mix =
            |of: &dyn Fn(usize) -> f32| corners.iter().zip(spot.weights).map(|(&v, w)| w * of(v as usize)).sum::<f32>();
        let uv = Vec2::new(mix(&|v| loose.uvs[v].x), mix(&|v| loose.uvs[v].y));
        let base = coat.texture.map_or([1.0; 3], |t| sampled(&loose.textures[t], coat.wrap, uv));
        [0, 1, 2].map(|c| byte(encode(base[c] * coat.factor[c] * mix(&|v| loose.tints[v][c]))))
    };
    let texels: Vec<[u8; 3]> =
        (0..cover.index.len()).into_par_iter().map(|k| colour(&cover.spot(&unwrapped.mesh, k))).collect();
    let count = side as usize * side as usize;
    let (mut rgb, mut known) = (vec![0; 3 * count], vec![false; count]);
    for (&at, texel) in cover.index.iter().zip(texels) {
        rgb[3 * at as usize..][..3].copy_from_slice(&texel);
        known[at as usize] = true;
    }
    fill(&mut rgb, &known, side as usize, RINGS);
    let normals = unwrapped.source.iter().map(|&v| loose.normals[v as usize]).collect();
    Mesh { normals, texture: Some(Texture { width: side, height: side, rgb }), ..unwrapped.mesh }
}
