//! The shape of a multi-resolution hash table: how many levels, how fine, and where each level's entries lie.
//!
//! The layout is Instant-NGP's own (arXiv 2201.05989, and the snapshots that its program writes): level `l` has
//! `scale s = base · growth^l − 1`, `resolution = ceil(s) + 1` and `min(T, resolution³ rounded up to 8)` entries;
//! levels follow each other, features of an entry are adjacent. A table read from such a snapshot needs no permuting.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a hash encoding is made of; a field's own configuration, [`crate::kinds::hash::HashConfig`], says the finest
/// resolution instead of the growth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashConfig {
    /// Number of levels, 1 to 32.
    pub levels: usize,
    /// Features per entry: 1, 2, 4 or 8.
    pub features: usize,
    /// Base-2 logarithm of the most entries that a level may have, 3 to 24.
    pub log2_table_size: u32,
    /// Cells per axis of the coarsest level, 1 to 65536.
    pub base_resolution: u32,
    /// Ratio of the resolutions of neighbouring levels, at least 1.
    pub growth: f32,
    /// Its binary logarithm, where it was rounded in another way than from `growth` (torch-ngp: once, from double
    /// precision; the finest level would be off by a thousandth of a cell).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log2_growth: Option<f32>,
    /// Whether a dense level has grid points beyond its last cell, `(resolution + 1)³` of them, where Instant-NGP's index
    /// begins anew (torch-ngp).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub far_points: bool,
}

/// One level of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Cells along the unit cube: a point x lies at `x · scale + 0.5`.
    pub scale: f32,
    /// Grid points per axis, by which a dense index counts.
    pub resolution: u32,
    /// First entry in the table.
    pub offset: usize,
    /// Number of entries.
    pub size: usize,
    /// Whether the index is a spatial hash (then `size` is a power of two); else it is `x + y·res + z·res²`.
    pub hashed: bool,
}

/// A checked [`HashConfig`] with the levels laid out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "HashConfig", into = "HashConfig")]
pub struct HashSpec {
    config: HashConfig,
    levels: Vec<Level>,
}

/// The finest scale whose positions a 32-bit float still resolves to an eighth of a cell.
const FINEST_SCALE: f32 = 2_097_152.0;

impl HashSpec {
    /// Levels from `base_resolution` to `finest_resolution` in geometric steps.
    ///
    /// # Errors
    /// When a number is outside the range that [`HashConfig`] gives.
    pub fn new(
        levels: usize,
        features: usize,
        log2_table_size: u32,
        base_resolution: u32,
        finest_resolution: u32,
    ) -> Result<Self> {
        // The steps of Instant-NGP's own start-up, each rounded to single precision as there.
        let growth = if levels > 1 {
            let ratio = finest_resolution as f32 / base_resolution as f32;
            let log = rounded(f64::from(ratio).ln()) / (levels - 1) as f32;
            rounded(f64::from(log).exp())
        } else {
            1.0
        };
        Self::from_config(HashConfig {
            levels,
            features,
            log2_table_size,
            base_resolution,
            growth,
            log2_growth: None,
            far_points: false,
        })
    }

    /// Lays out the levels of `config`.
    ///
    /// # Errors
    /// When a number is outside the range that [`HashConfig`] gives.
    pub fn from_config(config: HashConfig) -> Result<Self> {
        check(&config)?;
        let log2_growth = config.log2_growth.unwrap_or_else(|| rounded(f64::from(config.growth).log2()));
        let mut offset = 0;
        let mut levels = Vec::with_capacity(config.levels);
        for l in 0..config.levels {
            let power = rounded(f64::from(l as f32 * log2_growth).exp2());
            let scale = power * config.base_resolution as f32 - 1.0;
            if scale > FINEST_SCALE {
                return Err(Error::new(format!("hash encoding: level {l} has {scale} cells per axis"))
                    .remedy("choose a growth or a finest resolution that stays below 2 million cells"));
            }
            let resolution = scale.ceil() as u32 + 1 + u32::from(config.far_points);
            let cells = u64::from(resolution).pow(3);
            let table = 1_u64 << config.log2_table_size;
            let size = cells.next_multiple_of(8).min(table) as usize;
            levels.push(Level { scale, resolution, offset, size, hashed: cells > table });
            offset += size;
        }
        Ok(Self { config, levels })
    }

    /// What it was made from.
    pub fn config(&self) -> &HashConfig {
        &self.config
    }

    /// The levels, coarsest first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Features per entry, F.
    pub fn features(&self) -> usize {
        self.config.features
    }

    /// Entries of all levels together.
    pub fn entries(&self) -> usize {
        self.levels.last().map_or(0, |l| l.offset + l.size)
    }

    /// Numbers in the table: `entries · F`.
    pub fn param_count(&self) -> usize {
        self.entries() * self.features()
    }

    /// Width of the encoding: `levels · F`.
    pub fn out_dim(&self) -> usize {
        self.levels.len() * self.features()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the rounding is the point")]
fn rounded(x: f64) -> f32 {
    x as f32
}

fn check(config: &HashConfig) -> Result<()> {
    let wrong = |what: String, remedy: &str| Err(Error::new(format!("hash encoding: {what}")).remedy(remedy));
    if !(1..=32).contains(&config.levels) {
        return wrong(format!("{} levels", config.levels), "choose 1 to 32");
    }
    if ![1, 2, 4, 8].contains(&config.features) {
        return wrong(format!("{} features per entry", config.features), "choose 1, 2, 4 or 8");
    }
    if !(3..=24).contains(&config.log2_table_size) {
        return wrong(format!("log2_table_size is {}", config.log2_table_size), "choose 3 to 24");
    }
    if !(1..=65_536).contains(&config.base_resolution) {
        return wrong(format!("base_resolution is {}", config.base_resolution), "choose 1 to 65536");
    }
    if !(config.growth.is_finite() && config.growth >= 1.0) {
        return wrong(format!("growth is {}", config.growth), "choose a finest resolution no lower than the base");
    }
    if config.log2_growth.is_some_and(|log| !(0.0..=16.0).contains(&log)) {
        return wrong(format!("log2_growth is {:?}", config.log2_growth), "choose 0 to 16, or leave it out");
    }
    Ok(())
}

impl TryFrom<HashConfig> for HashSpec {
    type Error = Error;

    fn try_from(config: HashConfig) -> Result<Self> {
        Self::from_config(config)
    }
}

impl From<HashSpec> for HashConfig {
    fn from(spec: HashSpec) -> Self {
        spec.config
    }
}
