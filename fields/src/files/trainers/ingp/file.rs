//! What the reader knows of a file: its parts by name, big ones as slices of the file's own bytes.
//!
//! Other keys are stepped over. Nesting is bounded, and a text or a list takes no more memory than a small multiple of
//! what it takes in the file.

use std::io::{BufReader, ErrorKind, Read};

use flate2::read::{GzDecoder, ZlibDecoder};
use serde::Deserialize;

use super::super::super::splats::Source;
use crate::error::{Error, Result};

/// A compressed file gives at most this many times its own length, and [`SLACK`].
const RATIO: u64 = 32;
/// What a small file may give beside that: an empty density grid of eight cascades is 32 MiB.
const SLACK: u64 = 64 << 20;
/// How deep lists and maps may lie within each other; instant-ngp's own are 8 deep.
const DEPTH: usize = 48;
/// How much of a compressed file's beginning is looked at to know it by.
const BEGINNING: u64 = 16 << 10;

#[derive(Clone, Copy, PartialEq)]
enum Packing {
    Plain,
    Gzip,
    Zlib,
}

fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        // The two bytes are a multiple of 31; a `MessagePack` that begins so would be the number 120.
        [0x78, second, ..] if (0x7800 + u16::from(*second)).is_multiple_of(31) => Packing::Zlib,
        _ => Packing::Plain,
    }
}

fn unpacked<'a>(packing: Packing, reader: impl Read + 'a) -> Box<dyn Read + 'a> {
    let reader = BufReader::with_capacity(1 << 16, reader);
    match packing {
        Packing::Plain => Box::new(reader),
        Packing::Gzip => Box::new(GzDecoder::new(reader)),
        Packing::Zlib => Box::new(ZlibDecoder::new(reader)),
    }
}

/// The beginning of what a file holds, given its own beginning; empty where that is nothing.
pub fn begin(head: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // It is cut off somewhere: what came out until then counts.
    let _ = unpacked(packing(head), head).take(BEGINNING).read_to_end(&mut plain);
    plain
}

/// All that a file holds, uncompressed.
///
/// # Errors
/// When it is cut short or damaged, or more comes out of it than belongs in such a file.
pub fn inflated(source: &mut Source<'_>) -> Result<Vec<u8>> {
    let packing = packing(&source.head(2)?);
    if packing == Packing::Plain {
        return source.all();
    }
    let most = SLACK.saturating_add(source.bytes().saturating_mul(RATIO));
    let mut bytes = Vec::new();
    unpacked(packing, source.reader()).take(most + 1).read_to_end(&mut bytes).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => short(),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::new("its compressed part is damaged").remedy("copy or download it again")
        }
        _ => Error::new(e.to_string()),
    })?;
    if bytes.len() as u64 > most {
        let what = format!("more than {} MB come out of it, which is no snapshot", most / 1_000_000);
        return Err(Error::new(what).remedy("save it again, as .msgpack if it is meant to be so"));
    }
    Ok(bytes)
}

fn short() -> Error {
    Error::new("the file is cut short").remedy("copy or download it again")
}

/// The parts of a file.
///
/// # Errors
/// When it is cut short, damaged, or nested deeper than any snapshot.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    use rmp_serde::decode::Error as E;
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH);
    T::deserialize(&mut reader).map_err(|e| match e {
        E::InvalidMarkerRead(_) | E::InvalidDataRead(_) => short(),
        E::DepthLimitExceeded => Error::new(format!("its parts lie more than {DEPTH} deep within each other"))
            .remedy("the file is damaged, or no snapshot"),
        other => Error::new(format!("its description is not understood: {other}"))
            .remedy("the file is damaged, or of a version that is not known yet"),
    })
}

/// The root of instant-ngp's files and of 3DGRUT's.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Root<'a> {
    #[serde(borrow)]
    pub encoding: Option<Encoding<'a>>,
    #[serde(borrow)]
    pub network: Option<Network<'a>>,
    #[serde(borrow)]
    pub dir_encoding: Option<Encoding<'a>>,
    #[serde(borrow)]
    pub rgb_network: Option<Network<'a>>,
    #[serde(borrow)]
    pub snapshot: Option<Snapshot<'a>>,
    pub precision: Option<&'a str>,
    pub mog_num: Option<u64>,
    pub mog_sph_degree: Option<u64>,
    pub mog_positions: Option<&'a [u8]>,
    pub mog_scales: Option<&'a [u8]>,
    pub mog_rotations: Option<&'a [u8]>,
    pub mog_densities: Option<&'a [u8]>,
    pub mog_features: Option<&'a [u8]>,
}

/// How a position or a direction becomes numbers.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Encoding<'a> {
    pub otype: Option<&'a str>,
    #[serde(rename = "type")]
    pub kind: Option<&'a str>,
    pub hash: Option<&'a str>,
    pub interpolation: Option<&'a str>,
    pub fixed_point_pos: Option<bool>,
    pub n_levels: Option<u32>,
    pub n_features: Option<u32>,
    pub n_grid_features: Option<u32>,
    pub n_features_per_level: Option<u32>,
    pub log2_hashmap_size: Option<u32>,
    pub base_resolution: Option<u32>,
    pub per_level_scale: Option<f32>,
    pub degree: Option<u32>,
    pub n_dims_to_encode: Option<u32>,
    #[serde(borrow)]
    pub nested: Option<Vec<Encoding<'a>>>,
}

/// A network.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Network<'a> {
    pub otype: Option<&'a str>,
    pub activation: Option<&'a str>,
    pub output_activation: Option<&'a str>,
    pub n_neurons: Option<u32>,
    pub n_hidden_layers: Option<u32>,
    pub n_output_dims: Option<u32>,
}

/// What was trained.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Snapshot<'a> {
    pub version: Option<u64>,
    pub mode: Option<&'a str>,
    pub n_params: Option<u64>,
    pub params_type: Option<&'a str>,
    pub params_binary: Option<&'a [u8]>,
    pub density_grid_size: Option<u32>,
    pub density_grid_binary: Option<&'a [u8]>,
    pub render_aabb: Option<Extent>,
    pub render_aabb_to_local: Option<[[f32; 3]; 3]>,
    pub training_step: Option<u64>,
    pub nerf: Option<Nerf>,
}

/// What is known of the scene.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Nerf {
    pub aabb_scale: Option<u32>,
    pub dataset: Option<Dataset>,
}

/// What is known of the photos.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Dataset {
    pub aabb_scale: Option<u32>,
    pub scale: Option<f32>,
    pub offset: Option<[f32; 3]>,
    pub from_mitsuba: Option<bool>,
    pub is_hdr: Option<bool>,
    pub n_extra_learnable_dims: Option<u32>,
    pub render_aabb: Option<Extent>,
    pub render_aabb_to_local: Option<[[f32; 3]; 3]>,
    pub xforms: Option<Vec<Xform>>,
    pub metadata: Option<Vec<Lens>>,
}

/// A box; one whose corners are the wrong way round is none.
#[derive(Clone, Copy, Deserialize)]
pub struct Extent {
    pub min: [f32; 3],
    pub max: [f32; 3],
}

/// Where a photo was taken from: rows of camera-to-world, at the beginning of the exposure.
#[derive(Clone, Copy, Deserialize)]
pub struct Xform {
    pub start: [[f32; 4]; 3],
}

/// What a photo's camera was.
#[derive(Clone, Copy, Deserialize)]
pub struct Lens {
    pub resolution: [f32; 2],
    pub focal_length: [f32; 2],
}
