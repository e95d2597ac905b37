//! Triangles as a file has them, each with a coat of paint, before there is one texture for all.

use glam::{Vec2, Vec3};

use super::super::Texture;
use crate::error::{Error, Result};

/// Vertices and triangles that are taken in any case; beyond, as many as the files have bytes.
const FREE: u64 = 4 << 20;
/// The most in any case.
const MOST: u64 = 1 << 28;

/// How texture coordinates outside `[0, 1]` are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Wrap {
    /// The texture repeats.
    #[default]
    Repeat,
    /// It repeats, every other time mirrored.
    Mirror,
    /// Its border goes on.
    Clamp,
}

/// What triangles are painted with: factor times texture times the tint of the vertices, all linear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coat {
    /// Linear, `[0, 1]`.
    pub factor: [f32; 3],
    /// The number of the texture, where there is one.
    pub texture: Option<usize>,
    /// Along u and v.
    pub wrap: [Wrap; 2],
}

impl Default for Coat {
    fn default() -> Self {
        Self { factor: [1.0; 3], texture: None, wrap: [Wrap::Repeat; 2] }
    }
}

/// The triangles of a file. Vertices that triangles of two coats share are there twice.
#[derive(Debug, Default)]
pub(super) struct Loose {
    /// Our axes, `[n]`.
    pub positions: Vec<Vec3>,
    /// Unit, `[n]`.
    pub normals: Vec<Vec3>,
    /// `(0, 0)` is the upper left corner, `[n]`.
    pub uvs: Vec<Vec2>,
    /// Linear, `[0, 1]`, `[n]`.
    pub tints: Vec<[f32; 3]>,
    /// `[t]`.
    pub triangles: Vec<[u32; 3]>,
    /// The coat of each triangle, `[t]`.
    pub coat_of: Vec<u32>,
    /// What `coat_of` counts.
    pub coats: Vec<Coat>,
    /// What the coats count.
    pub textures: Vec<Texture>,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
    limit: u64,
}

impl Loose {
    /// None yet, of files of `bytes` in all.
    pub(super) fn new(bytes: u64) -> Self {
        Self { limit: bytes.clamp(FREE, MOST), ..Self::default() }
    }

    /// Says, once, what a person should know.
    pub(super) fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|n| n == text) {
            self.notes.push(text.to_string());
        }
    }

    /// Refuses more than the files can mean, before memory is taken for so many more.
    ///
    /// # Errors
    /// When there would be more than four million vertices or triangles, and more than the files have bytes.
    pub(super) fn expect(&self, vertices: u64, triangles: u64) -> Result<()> {
        let [vertices, triangles] = [(&self.positions.len(), vertices), (&self.triangles.len(), triangles)]
            .map(|(have, more)| more.saturating_add(*have as u64));
        if vertices > self.limit || triangles > self.limit {
            return Err(Error::new(format!("it holds {vertices} vertices and {triangles} triangles or more"))
                .remedy("simplify the mesh before, or import it in parts"));
        }
        Ok(())
    }

    /// Leaves out triangles without an area.
    pub(super) fn drop_flat(&mut self) {
        let keeps: Vec<bool> = self
            .triangles
            .iter()
            .map(|t| {
                let [a, b, c] = t.map(|v| self.positions[v as usize].as_dvec3());
                (b - a).cross(c - a).length_squared() > 0.0
            })
            .collect();
        let mut keep = keeps.iter();
        self.triangles.retain(|_| *keep.next().unwrap_or(&true));
        let mut keep = keeps.iter();
        self.coat_of.retain(|_| *keep.next().unwrap_or(&true));
    }

    /// Leaves out vertices without a triangle.
    pub(super) fn drop_unused(&mut self) {
        let mut place = vec![u32::MAX; self.positions.len()];
        self.triangles.iter().flatten().for_each(|&v| place[v as usize] = 0);
        let kept: Vec<usize> = (0..place.len()).filter(|&v| place[v] == 0).collect();
        kept.iter().enumerate().for_each(|(k, &v)| place[v] = k as u32);
        self.triangles.iter_mut().flatten().for_each(|v| *v = place[*v as usize]);
        self.positions = kept.iter().map(|&v| self.positions[v]).collect();
        self.normals = kept.iter().map(|&v| self.normals[v]).collect();
        self.uvs = kept.iter().map(|&v| self.uvs[v]).collect();
        self.tints = kept.iter().map(|&v| self.tints[v]).collect();
    }

    /// Another vertex like `v`, with other texture coordinates; returns its number.
    pub(super) fn twin(&mut self, v: u32, uv: Vec2) -> u32 {
        let at = v as usize;
        self.positions.push(self.positions[at]);
        self.normals.push(self.normals[at]);
        self.tints.push(self.tints[at]);
        self.uvs.push(uv);
        (self.positions.len() - 1) as u32
    }
}
