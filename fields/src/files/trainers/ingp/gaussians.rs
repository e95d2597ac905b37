//! Gaussians from 3DGRUT (Wu et al., "3DGUT", 2025), which has `.ingp` files of its own: gzip around a map of `mog_num`,
//! `mog_sph_degree`, `precision` (`half` or `single`) and byte strings, a row for each Gaussian.
//!
//! Positions `[n, 3]`, scales `[n, 3]` and densities `[n, 1]` as they count (not their logarithms and logits), unit
//! quaternions w, x, y, z, features `[n, (d + 1)², 3]`: coefficients of spherical harmonics, red, green, blue adjacent.

use super::file::Root;
use super::nets::floats;
use crate::error::{Error, Result};
use crate::files::splats::{SH_MAX, Splats, counted, rest_per_splat};

/// The Gaussians of a file.
///
/// # Errors
/// When a part is missing or of another length than their number calls for, or a value cannot be drawn.
pub fn read(root: &Root<'_>) -> Result<Splats> {
    let half = match root.precision {
        Some("half") => true,
        Some("single") => false,
        other => {
            let what = format!("precision is \"{}\", not half or single", other.unwrap_or_default());
            return Err(Error::new(what).remedy("export it again"));
        }
    };
    let degree = root.mog_sph_degree.unwrap_or(u64::from(SH_MAX));
    if degree > u64::from(SH_MAX) {
        let what = format!("mog_sph_degree is {degree}, more than {SH_MAX}");
        return Err(Error::new(what).remedy("export it with harmonics of degree 3 or less"));
    }
    let degree = degree as u32;
    let features = 3 + rest_per_splat(degree);
    let positions = root.mog_positions.unwrap_or_default();
    let n = counted(root.mog_num.unwrap_or(0), if half { 6 } else { 12 }, positions.len() as u64)?;
    let part = |name: &str, bytes: Option<&[u8]>, width: usize| {
        let (bytes, each) = (bytes.unwrap_or_default(), if half { 2 } else { 4 });
        if bytes.len() == n * width * each {
            return Ok(floats(bytes, half));
        }
        let what = format!("mog_{name}: {} values, and {n} Gaussians have {}", bytes.len() / each, n * width);
        Err(Error::new(what).remedy("the file is damaged: export it again"))
    };
    let features_of = part("features", root.mog_features, features)?;
    let rows = |values: Vec<f32>| values.as_chunks::<3>().0.to_vec();
    let splats = Splats {
        means: rows(part("positions", root.mog_positions, 3)?),
        log_scales: rows(part("scales", root.mog_scales, 3)?.into_iter().map(f32::ln).collect()),
        rotations: part("rotations", root.mog_rotations, 4)?.as_chunks::<4>().0.to_vec(),
        raw_opacity: part("densities", root.mog_densities, 1)?.into_iter().map(|o| (o / (1.0 - o)).ln()).collect(),
        sh_dc: features_of.chunks_exact(features).map(|row| [row[0], row[1], row[2]]).collect(),
        sh_rest: features_of.chunks_exact(features).flat_map(|row| row[3..].iter().copied()).collect(),
        sh_degree: degree,
        antialias: false,
        notes: vec!["made for ray tracing (3DGRUT): drawn as splats it may look a little different".into()],
    };
    splats.settled()
}
