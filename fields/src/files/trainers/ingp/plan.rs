//! What the configuration of a snapshot says its parts are, as far as a hash field can be the same.

use super::file::{Encoding, Network, Root};
use super::nets::{ALIGNMENT, Net, padded_input};
use super::place::Place;
use crate::error::{Error, Result};
use crate::ops::hash_encode::spec::{HashConfig, HashSpec};
use crate::parts::core::SH_DIM;

/// Cells along the unit cube's edge that the finest grid has where the file does not say.
const FINEST: u32 = 2048;
/// What the kind takes.
const MAX_WIDTH: u32 = 1024;
const MAX_HIDDEN: u32 = 8;
const MAX_FINEST: u32 = 65_536;
/// How far the cells of a level may be from the file's, as a share of their number: what single precision does to a position.
const SAME: f32 = 1e-6;

/// The parts of a snapshot.
#[derive(Debug)]
pub struct Plan {
    /// The grid.
    pub hash: HashSpec,
    /// Cells along an edge of the finest level, as the kind counts them.
    pub finest: u32,
    /// The density network.
    pub sigma: Net,
    /// The colour network.
    pub colour: Net,
}

fn refused(what: String) -> Error {
    Error::new(what).remedy("only what a hash field computes can be read: train with instant-ngp's own base.json")
}

/// Whether a name is one of `names`, as instant-ngp compares them.
fn is(name: Option<&str>, default: &str, names: &[&str]) -> bool {
    names.iter().any(|n| name.unwrap_or(default).eq_ignore_ascii_case(n))
}

impl Plan {
    /// The parts that the configuration names.
    ///
    /// # Errors
    /// When one is missing, or is another than a hash field has; the message names it.
    pub fn of(root: &Root<'_>, place: &Place) -> Result<Self> {
        let missing =
            |name: &str| Error::new(format!("{name} is missing")).remedy("the file is incomplete: save it again");
        let encoding = root.encoding.as_ref().ok_or_else(|| missing("encoding"))?;
        let network = root.network.as_ref().ok_or_else(|| missing("network"))?;
        let rgb_network = root.rgb_network.as_ref().ok_or_else(|| missing("rgb_network"))?;
        check_directions(root.dir_encoding.as_ref().ok_or_else(|| missing("dir_encoding"))?)?;
        let (hash, finest) = grid(encoding, place.aabb_scale)?;
        let fused = is(network.otype, "MLP", &["FullyFusedMLP", "MegakernelMLP"]);
        let input = padded_input(hash.out_dim(), fused);
        let sigma = net("network", network, input, network.n_output_dims.unwrap_or(16))?;
        if sigma.output + 1 > 255 {
            return Err(refused(format!("network.n_output_dims is {}, more than 240", sigma.output)));
        }
        let colour = net("rgb_network", rgb_network, sigma.output + SH_DIM, 3)?;
        Ok(Self { hash, finest, sigma, colour })
    }

    /// Number of parameters of all parts.
    pub fn param_count(&self) -> usize {
        self.sigma.param_count() + self.colour.param_count() + self.hash.param_count()
    }
}

/// Refuses directions that are encoded otherwise than by harmonics of four bands.
fn check_directions(encoding: &Encoding<'_>) -> Result<()> {
    let harmonics = match &encoding.nested {
        Some(nested) if is(encoding.otype, "OneBlob", &["Composite"]) => {
            // What follows encodes the dimensions that are left over, and there are none.
            let rest = nested.iter().skip(1).all(|e| e.n_dims_to_encode.unwrap_or(0) == 0);
            nested.first().filter(|first| rest && first.n_dims_to_encode.unwrap_or(3) == 3)
        }
        _ => Some(encoding),
    };
    match harmonics {
        Some(e) if is(e.otype, "OneBlob", &["SphericalHarmonics"]) && e.degree.unwrap_or(4) == 4 => Ok(()),
        Some(e) if is(e.otype, "OneBlob", &["SphericalHarmonics"]) => {
            Err(refused(format!("dir_encoding: harmonics of degree {}, not 4", e.degree.unwrap_or(4))))
        }
        other => {
            let name = other.unwrap_or(encoding).otype.unwrap_or("OneBlob");
            Err(refused(format!(
                "dir_encoding: directions are encoded by \"{name}\", not by SphericalHarmonics of degree 4"
            )))
        }
    }
}

/// The grid, and its finest resolution as the kind counts it.
fn grid(e: &Encoding<'_>, aabb_scale: u32) -> Result<(HashSpec, u32)> {
    if !is(e.otype, "OneBlob", &["HashGrid", "Grid"]) || !is(e.kind, "Hash", &["Hash"]) {
        let name = e.kind.or(e.otype).unwrap_or("OneBlob");
        return Err(refused(format!("encoding: positions are encoded by \"{name}\", not by HashGrid")));
    }
    if !is(e.interpolation, "Linear", &["Linear"]) || !is(e.hash, "CoherentPrime", &["CoherentPrime"]) {
        return Err(refused("encoding: its hash or interpolation is not HashGrid's own".into()));
    }
    if e.fixed_point_pos == Some(true) {
        return Err(refused("encoding.fixed_point_pos: positions are rounded".into()));
    }
    let features = e.n_features_per_level.unwrap_or(2);
    if ![1, 2, 4, 8].contains(&features) {
        return Err(refused(format!("encoding.n_features_per_level is {features}, not 1, 2, 4 or 8")));
    }
    let levels = match e.n_features.or(e.n_grid_features).filter(|n| *n > 0) {
        Some(all) if all.is_multiple_of(features) => all / features,
        Some(all) => return Err(refused(format!("encoding.n_features: {all} are no multiple of {features}"))),
        None => e.n_levels.unwrap_or(16),
    };
    if !(1..=32).contains(&levels) {
        return Err(refused(format!("encoding.n_levels is {levels}, not 1 to 32")));
    }
    let log2_table_size = e.log2_hashmap_size.unwrap_or(19);
    if !(8..=24).contains(&log2_table_size) {
        return Err(refused(format!("encoding.log2_hashmap_size is {log2_table_size}, not 8 to 24")));
    }
    let base = e.base_resolution.filter(|n| *n > 0).unwrap_or(1 << (e.log2_hashmap_size.unwrap_or(15) / 3));
    if !(2..=1024).contains(&base) {
        return Err(refused(format!("encoding.base_resolution is {base}, not 2 to 1024")));
    }
    let spec = |finest| HashSpec::new(levels as usize, features as usize, log2_table_size, base, finest);
    if levels == 1 {
        return Ok((spec(base)?, base));
    }
    let Some(growth) = e.per_level_scale.filter(|s| !(*s <= 0.0)) else {
        let finest = FINEST * aabb_scale;
        if finest > MAX_FINEST {
            let what = format!(
                "aabb_scale is {aabb_scale}, which makes a finest grid of {finest}³ cells, above {MAX_FINEST}³"
            );
            return Err(refused(what));
        }
        return Ok((spec(finest)?, finest));
    };
    let config = HashConfig {
        levels: levels as usize,
        features: features as usize,
        log2_table_size,
        base_resolution: base,
        growth,
        log2_growth: None,
        far_points: false,
    };
    let wanted =
        HashSpec::from_config(config.clone()).map_err(|e| refused(format!("encoding.per_level_scale: {}", e.what)))?;
    let about = f64::from(base) * f64::from(growth).powi(levels as i32 - 1);
    if about > f64::from(MAX_FINEST) + 0.5 {
        return Err(refused(format!(
            "encoding.per_level_scale: a finest grid of {about:.0}³ cells, above {MAX_FINEST}³"
        )));
    }
    let finest = (about.round() as u32).max(base);
    let ours = spec(finest)?;
    if same(&ours, &wanted) {
        return Ok((ours, finest));
    }
    // It does not end at a whole number of cells: the growth itself is kept.
    let log2_growth = Some(f64::from(growth).log2() as f32);
    Ok((HashSpec::from_config(HashConfig { log2_growth, ..config })?, finest))
}

/// Whether two grids are the same but for rounding.
fn same(a: &HashSpec, b: &HashSpec) -> bool {
    a.levels().iter().zip(b.levels()).all(|(a, b)| {
        let near = (a.scale - b.scale).abs() <= SAME * b.scale.max(1.0);
        near && (a.resolution, a.offset, a.size, a.hashed) == (b.resolution, b.offset, b.size, b.hashed)
    })
}

fn net(name: &str, network: &Network<'_>, input: usize, output: u32) -> Result<Net> {
    let bad = |what: String| refused(format!("{name}.{what}"));
    if !is(network.otype, "MLP", &["MLP", "CutlassMLP", "FullyFusedMLP", "MegakernelMLP"]) {
        return Err(bad(format!("otype: \"{}\" is no plain network", network.otype.unwrap_or_default())));
    }
    let (width, hidden) = (network.n_neurons.unwrap_or(128), network.n_hidden_layers.unwrap_or(5));
    if hidden > MAX_HIDDEN || !(1..=MAX_WIDTH).contains(&width) {
        let most = format!("at most {MAX_HIDDEN} of 1 to {MAX_WIDTH}");
        return Err(bad(format!("n_hidden_layers: {hidden} layers of {width} neurons, not {most}")));
    }
    if hidden > 0 && !is(network.activation, "ReLU", &["ReLU"]) {
        return Err(bad(format!("activation is \"{}\", not ReLU", network.activation.unwrap_or_default())));
    }
    if !is(network.output_activation, "None", &["None"]) {
        return Err(bad(format!(
            "output_activation is \"{}\", not None",
            network.output_activation.unwrap_or_default()
        )));
    }
    if !(1..=1024).contains(&output) {
        return Err(bad(format!("n_output_dims is {output}, not 1 to 240")));
    }
    let output = (output as usize).next_multiple_of(ALIGNMENT);
    Ok(Net { input, width: width as usize, hidden: hidden as usize, output })
}
