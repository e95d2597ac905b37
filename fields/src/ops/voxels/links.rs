//! Which vertices of a dense grid are kept, and in which row of the parameters each of them lies.
//!
//! Plenoxels keeps a dense array of 32-bit links. Here a bit for each vertex says whether it is kept, and a count for
//! every 32 of them says how many come before: a link is that count plus the ones below the bit. That is a sixteenth of
//! the memory (1.8 MB instead of 28 MB at 192³, 34 MB instead of 537 MB at 512³), so links stay in the cache, and the
//! rows are in the order of the vertices by construction: x fastest, then y, then z.

use std::sync::Mutex;

use burn_cubecl::CubeDevice;

use crate::error::{Error, Result};
use crate::ops::gpu::Buffer;

/// The resolutions that there can be: two vertices make a cell.
pub const RESOLUTIONS: std::ops::RangeInclusive<u32> = 2..=1024;

const MAGIC: &[u8; 8] = b"RETORTVX";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 2 * 4;

/// The kept vertices of a grid of `resolution³`; vertex `(x, y, z)` has the index `x + R (y + R z)`.
#[derive(Debug)]
pub struct Links {
    resolution: u32,
    /// For every 32 vertices: their bits, and how many are kept before them.
    words: Vec<[u32; 2]>,
    rows: usize,
    /// `words` on the GPUs that have asked for them.
    uploads: Mutex<Vec<(CubeDevice, Buffer)>>,
}

impl Links {
    /// The vertices whose bits are set in `bits` `[R³ / 32, rounded up]`; bits beyond the last vertex are ignored.
    ///
    /// # Panics
    /// When the resolution is out of [`RESOLUTIONS`] or `bits` has another length: mistakes of the caller.
    pub fn new(resolution: u32, bits: &[u32]) -> Self {
        assert!(RESOLUTIONS.contains(&resolution), "a grid has 2 to 1024 vertices along an edge");
        let vertices = (resolution as usize).pow(3);
        assert_eq!(bits.len(), vertices.div_ceil(32), "one bit for each vertex");
        let mut before = 0;
        let last = bits.len() - 1;
        let spare = (32 - vertices % 32) % 32;
        let word = |(i, &bits): (usize, &u32)| {
            let bits = if i == last { bits & (u32::MAX >> spare) } else { bits };
            let word = [bits, before];
            before += bits.count_ones();
            word
        };
        let words = bits.iter().enumerate().map(word).collect();
        Self { resolution, words, rows: before as usize, uploads: Mutex::default() }
    }

    /// A grid without any vertex.
    pub fn none() -> Self {
        Self::new(2, &[0])
    }

    /// Vertices along an edge, R.
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// Vertices that are kept.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bits and counts, `[R³ / 32]`.
    pub fn words(&self) -> &[[u32; 2]] {
        &self.words
    }

    /// The bits alone, `[R³ / 32]`.
    pub fn bits(&self) -> Vec<u32> {
        self.words.iter().map(|word| word[0]).collect()
    }

    /// The row of a vertex, `None` where it is not kept.
    #[inline(always)]
    pub fn row(&self, vertex: usize) -> Option<u32> {
        let [bits, before] = self.words[vertex / 32];
        let bit = vertex % 32;
        (bits >> bit & 1 == 1).then(|| before + (bits & ((1 << bit) - 1)).count_ones())
    }

    /// Kept vertices with an index below `vertex`.
    pub fn rows_before(&self, vertex: usize) -> usize {
        let Some([bits, before]) = self.words.get(vertex / 32) else { return self.rows };
        *before as usize + (bits & ((1 << (vertex % 32)) - 1)).count_ones() as usize
    }

    /// The vertices from row `first` on in the order of rows.
    pub fn vertices_from(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        let start = self.words.partition_point(|word| word[1] as usize <= first).saturating_sub(1);
        let skip = first - self.words.get(start).map_or(0, |word| word[1] as usize);
        let of_word = |(i, word): (usize, &[u32; 2])| {
            let mut left = word[0];
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(32 * i + bit)
            })
        };
        self.words.iter().enumerate().skip(start).flat_map(of_word).skip(skip)
    }

    /// The kept vertices, in the order of rows.
    pub fn vertices(&self) -> impl Iterator<Item = usize> + '_ {
        self.vertices_from(0)
    }

    /// Coordinates of a vertex.
    #[inline(always)]
    pub fn place(&self, vertex: usize) -> [usize; 3] {
        let r = self.resolution as usize;
        [vertex % r, vertex / r % r, vertex / (r * r)]
    }

    /// The links on the GPU of `like`, uploaded once.
    pub(super) fn on_gpu(&self, like: &crate::ops::kernel::CubeTensor) -> Buffer {
        let mut uploads = self.uploads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, buffer)) = uploads.iter().find(|(device, _)| *device == like.device) {
            return buffer.clone();
        }
        let buffer = Buffer::new(&like.client, self.words.as_flattened());
        uploads.push((like.device.clone(), buffer.clone()));
        buffer
    }

    /// The links as bytes: a bit for every 32 vertices of which one is kept, then the bits of those 32.
    ///
    /// Little endian: the eight letters `RETORTVX`, `u32` version (1), `u32` resolution, `⌈R³ / 256⌉` bytes that say
    /// which words follow, the words.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.words.len());
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.resolution.to_le_bytes());
        let pack = |eight: &[[u32; 2]]| eight.iter().rev().fold(0_u8, |byte, w| byte << 1 | u8::from(w[0] != 0));
        out.extend(self.words.chunks(8).map(pack));
        self.words.iter().filter(|w| w[0] != 0).for_each(|w| out.extend(w[0].to_le_bytes()));
        out
    }

    /// The links that [`Links::to_bytes`] wrote, of this resolution; no memory is taken before the lengths agree.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_bytes(bytes: &[u8], resolution: u32) -> Result<Self> {
        let damaged = |what: String| Error::new(what).remedy("the file is damaged, or made by a newer version");
        let header = bytes.get(..HEADER).filter(|h| h.starts_with(MAGIC));
        let header = header.ok_or_else(|| damaged("these bytes are not the vertices of a voxel grid".into()))?;
        let word = |i: usize| u32::from_le_bytes(header[8 + 4 * i..].first_chunk().copied().unwrap_or_default());
        if word(0) != VERSION || word(1) != resolution || !RESOLUTIONS.contains(&resolution) {
            let what = format!("a voxel grid of version {} and {}³ vertices, not {resolution}³", word(0), word(1));
            return Err(damaged(what));
        }
        let vertices = (resolution as usize).pow(3);
        let words = vertices.div_ceil(32);
        let wrong =
            || damaged(format!("the vertices of a voxel grid of {resolution}³ do not take {} bytes", bytes.len()));
        let (full, rest) = bytes[HEADER..].split_at_checked(words.div_ceil(8)).ok_or_else(wrong)?;
        let follow: usize = full.iter().map(|byte| byte.count_ones() as usize).sum();
        if rest.len() != 4 * follow {
            return Err(wrong());
        }
        let mut bits = vec![0; words];
        let mut rest = rest.as_chunks::<4>().0.iter();
        for at in (0..8 * full.len()).filter(|at| full[at / 8] >> (at % 8) & 1 == 1) {
            match (bits.get_mut(at), rest.next()) {
                (Some(bits), Some(word)) => *bits = u32::from_le_bytes(*word),
                _ => return Err(wrong()),
            }
        }
        let links = Self::new(resolution, &bits);
        // One form for one grid: no empty words, no bits beyond the last vertex.
        if links.to_bytes() == bytes {
            Ok(links)
        } else {
            Err(damaged("the vertices of a voxel grid are garbled".into()))
        }
    }
}
