//! The grid as bytes, for a field's file and for a checkpoint.
//!
//! Little endian: the eight letters `RETORTOC`, `u32` version (1), `u32` resolution, `u32` detail (0 bits, 1 bits and
//! densities), six `f32` bounds (min, max), then `R³ / 8` bytes of bits and, with densities, `R³` `f32`.

use super::{EXCLUDED, Occupancy};
use crate::error::{Error, Result};
use glam::Vec3;
use retort_shaders::Aabb;

const MAGIC: &[u8; 8] = b"RETORTOC";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 3 * 4 + 6 * 4;

impl Occupancy {
    /// The grid as bytes with its densities (1 MiB at 64³): enough to go on training with the same result, bit for bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(true)
    }

    /// The grid as bytes without its densities (32 KiB at 64³): enough to render.
    pub fn to_bytes_compact(&self) -> Vec<u8> {
        self.write(false)
    }

    fn write(&self, with_density: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.density.len() / 8 + 4 * self.density.len());
        out.extend(MAGIC);
        for value in [VERSION, self.resolution, u32::from(with_density)] {
            out.extend(value.to_le_bytes());
        }
        for value in self.bounds.min.to_array().into_iter().chain(self.bounds.max.to_array()) {
            out.extend(value.to_le_bytes());
        }
        self.bits().iter().for_each(|word| out.extend(word.to_le_bytes()));
        if with_density {
            self.density.iter().for_each(|value| out.extend(value.to_le_bytes()));
        }
        out
    }

    /// The grid over `bounds` that [`Occupancy::to_bytes`] or [`Occupancy::to_bytes_compact`] wrote; no memory is taken
    /// before the lengths agree.
    ///
    /// # Errors
    /// If the bytes are not such a grid: another start or version, an impossible shape, another box than `bounds`, a
    /// wrong length, a density that is not finite.
    pub fn from_bytes(bytes: &[u8], bounds: Aabb) -> Result<Self> {
        let damaged = |what: String| Error::new(what).remedy("the file is damaged, or made by a newer version");
        let header = bytes.get(..HEADER).filter(|h| h.starts_with(MAGIC));
        let header = header.ok_or_else(|| damaged("these bytes are not an occupancy grid".into()))?;
        let word = |i: usize| header[8 + 4 * i..].first_chunk().copied().unwrap_or_default();
        let [version, resolution, detail] = [0, 1, 2].map(|i| u32::from_le_bytes(word(i)));
        if version != VERSION || detail > 1 {
            return Err(damaged(format!("occupancy grid of unknown version {version} or detail {detail}")));
        }
        let [a, b, c, d, e, f] = [3, 4, 5, 6, 7, 8].map(|i| f32::from_le_bytes(word(i)));
        let (min, max) = (Vec3::new(a, b, c), Vec3::new(d, e, f));
        if (min, max) != (bounds.min, bounds.max) {
            return Err(damaged(format!("the occupancy grid covers {min} to {max}, but the scene is another box")));
        }
        Self::check(resolution, bounds)?;
        let cells = (resolution as usize).pow(3);
        let expected = HEADER + cells / 8 + if detail == 1 { 4 * cells } else { 0 };
        if bytes.len() != expected {
            let what = format!("an occupancy grid of {resolution}³ takes {expected} bytes, not {}", bytes.len());
            return Err(damaged(what));
        }
        let (bits, density) = bytes[HEADER..].split_at(cells / 8);
        let bits: Vec<u64> = bits.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        if detail == 0 {
            return Self::from_bits(resolution, bounds, &bits);
        }
        let density: Vec<f32> = density.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if let Some(at) = density.iter().position(|d| !d.is_finite() || (*d < 0.0 && *d != EXCLUDED)) {
            return Err(damaged(format!("occupancy grid: cell {at} has the density {}", density[at])));
        }
        Ok(Self::assemble(resolution, bounds, density, bits))
    }
}
