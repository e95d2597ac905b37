//! `meta.json` of both versions, and what its numbers make of bytes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The document.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    /// 2; the first version had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<Asset>,
    /// Of the second version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// As the format's text has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub antialias: Option<bool>,
    /// As its tool has it: `"antialiased"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub means: Means,
    pub scales: Part,
    pub quats: Part,
    pub sh0: Part,
    #[serde(default, rename = "shN", skip_serializing_if = "Option::is_none")]
    pub sh_rest: Option<Palette>,
}

/// What wrote it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asset {
    #[serde(default)]
    pub generator: String,
}

/// Ends of `sign(x) ln(1 + |x|)` along each axis, and the pictures of the low and of the high bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Means {
    /// Of the first version: `[count, 3]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<u64>>,
    pub mins: [f64; 3],
    pub maxs: [f64; 3],
    pub files: Vec<String>,
}

/// Scales, rotations or constant colours.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Part {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codebook: Vec<f32>,
    /// Of the first version: ends of each channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mins: Vec<f32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maxs: Vec<f32>,
    pub files: Vec<String>,
}

/// The other coefficients.
#[derive(Debug, Serialize, Deserialize)]
pub struct Palette {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bands: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codebook: Vec<f32>,
    /// Of the first version: ends of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mins: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxs: Option<f32>,
    pub files: Vec<String>,
}

/// What each byte means.
pub type Table = [f32; 256];

impl Meta {
    /// Reads the document.
    ///
    /// # Errors
    /// When it is none, of a version that is not known, or names too few files.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let meta: Self = serde_json::from_slice(text).map_err(|e| damaged(&format!("meta.json: {e}")))?;
        if let Some(version) = meta.version.filter(|version| !(1..=2).contains(version)) {
            let what = format!("it is SOG of version {version}; 1 and 2 are known");
            return Err(Error::new(what).remedy("update Retort"));
        }
        let lists = [(&meta.means.files, 2), (&meta.scales.files, 1), (&meta.quats.files, 1), (&meta.sh0.files, 1)];
        let rest = meta.sh_rest.iter().map(|palette| (&palette.files, 2));
        if lists.into_iter().chain(rest).any(|(files, least)| files.len() < least) {
            return Err(damaged("meta.json does not name all files"));
        }
        Ok(meta)
    }

    /// Number of Gaussians.
    pub fn count(&self) -> u64 {
        let old = self.means.shape.as_ref().and_then(|shape| shape.first().copied());
        self.count.or(old).unwrap_or(0)
    }

    /// Whether it is of the first version.
    pub fn old(&self) -> bool {
        self.version != Some(2)
    }

    /// Degree of the harmonics, as far as the document says.
    pub fn bands(&self) -> Option<u32> {
        match &self.sh_rest {
            None => Some(0),
            Some(palette) => palette.bands,
        }
    }

    /// Whether opacity makes up for the blur of the pixel.
    pub fn is_antialiased(&self) -> bool {
        self.antialias == Some(true) || self.model.as_deref() == Some("antialiased")
    }
}

impl Part {
    /// What the bytes of a channel mean.
    ///
    /// # Errors
    /// When the document does not say.
    pub fn table(&self, old: bool, channel: usize) -> Result<Table> {
        match (self.mins.get(channel), self.maxs.get(channel)) {
            _ if !old => codebook(&self.codebook),
            (Some(min), Some(max)) => Ok(between(*min, *max)),
            _ => Err(damaged("meta.json lacks mins or maxs")),
        }
    }
}

impl Palette {
    /// What the bytes of the palette mean.
    ///
    /// # Errors
    /// When the document does not say.
    pub fn table(&self, old: bool) -> Result<Table> {
        match (self.mins, self.maxs) {
            _ if !old => codebook(&self.codebook),
            (Some(min), Some(max)) => Ok(between(min, max)),
            _ => Err(damaged("meta.json lacks mins or maxs")),
        }
    }
}

/// Bytes beyond the codebook are no numbers, and refused where they occur.
fn codebook(values: &[f32]) -> Result<Table> {
    if values.is_empty() || values.len() > 256 {
        return Err(damaged(&format!("a codebook has {} values", values.len())));
    }
    Ok(std::array::from_fn(|k| values.get(k).copied().unwrap_or(f32::NAN)))
}

fn between(min: f32, max: f32) -> Table {
    std::array::from_fn(|k| min + (max - min) * (k as f32 / 255.0))
}

/// The error of a file that says what cannot be.
pub fn damaged(what: &str) -> Error {
    Error::new(format!("the file is damaged: {what}")).remedy("copy or download it again")
}
