//! The `.ply` of 3D Gaussian splatting (Kerbl et al. 2023): one row for each Gaussian, in the trainer's own parameters.
//!
//! ```text
//! x y z  nx ny nz  f_dc_0..2  f_rest_0..(3((d + 1)² − 1))  opacity  scale_0..2  rot_0..3
//! ```
//!
//! Scales are ln σ, opacity is a logit, rotations are w, x, y, z of any length, and `f_rest_*` has all of red before green
//! before blue. That is how it is written. It is read by name, in any order and of any type, and so are its variants:
//!
//! - *2DGS* (Huang et al. 2024) has no `scale_2`. Such a Gaussian gets the thickness `min(σ₀, σ₁) · e⁻⁷`.
//! - *Mip-Splatting* (Yu et al. 2024) stores the size `f` of a 3D filter, `filter_3D`. It is folded in:
//!   `σₖ'² = σₖ² + f²`, `o' = o √(Π σₖ² / Π σₖ'²)`; its pictures are drawn with opacity that makes up for the pixel's blur.
//! - Colours as `red`, `green`, `blue` instead of `f_dc_*`: floats of 0 to 1, 16 bits, or 0 to 255.
//!
//! Reading takes at most five times the file's size in memory (all properties of one byte), and about its size as a rule.

use rayon::prelude::*;

use super::compressed_ply;
use super::finite::finite;
use super::gaussians::{Splats, rest_per_splat};
use super::ply_header::{Column, Element, Encoding, Header, Scalar};
use super::rows::{self, BLOCK, Rows, all_well, f32_at, read_records, write_records};
use super::source::{Source, counted, short};
use super::{About, Format, Sink};
use crate::error::{Error, Result};

/// The format.
pub(super) struct Ply;

/// ln of how much thinner than its shorter axis a flat Gaussian is made: thinner than what any picture shows, and thick
/// enough that its covariance can be inverted in `f32`.
const FLATNESS: f32 = -7.0;

impl Format for Ply {
    fn name(&self) -> &'static str {
        "ply"
    }

    fn label(&self) -> &'static str {
        "3D Gaussian splatting, as trainers write it"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["ply"]
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head.starts_with(b"ply") && matches!(head.get(3), Some(b'\n' | b'\r' | b' ')) && !compressed_ply::within(head)
    }

    fn peek(&self, source: &mut Source<'_>) -> Result<About> {
        let header = Header::read(source)?;
        if compressed_ply::packed(&header) {
            return compressed_ply::CompressedPly.peek(source);
        }
        let layout = Layout::of(&header)?;
        let kind = match (layout.thin.is_none(), layout.filter.is_some()) {
            (true, _) => ", flat (2DGS)",
            (false, true) => ", with a 3D filter (Mip-Splatting)",
            (false, false) => "",
        };
        let variant = format!("{}{kind}", header.encoding.words());
        Ok(About { count: layout.count(&header, source)?, sh_degree: layout.degree, variant })
    }

    fn read(&self, source: &mut Source<'_>) -> Result<Splats> {
        let header = Header::read(source)?;
        if compressed_ply::packed(&header) {
            return compressed_ply::decoded(&header, source);
        }
        let layout = Layout::of(&header)?;
        let mut splats = Splats::zeros(layout.count(&header, source)?, layout.degree);
        let rows = Rows::of(&mut splats);
        if header.encoding == Encoding::Ascii {
            read_ascii(source, &header, &layout, rows)?;
        } else {
            header.seek(source, layout.element)?;
            read_binary(source, header.encoding == Encoding::Big, &layout, rows)?;
        }
        splats.antialias = header.antialias().unwrap_or(layout.filter.is_some());
        splats.notes = layout.notes();
        splats.settled()
    }

    fn write(&self, splats: &Splats, out: &mut dyn Sink) -> Result<()> {
        finite(splats)?;
        let width = rest_per_splat(splats.sh_degree);
        rows::write(out, heading(splats).as_bytes())?;
        let stride = 4 * (17 + width);
        write_records(out, splats.len(), stride, |first, bytes| {
            for (i, record) in bytes.chunks_exact_mut(stride).enumerate() {
                encode(splats, first + i, record);
            }
        })
    }
}

/// The header of a file of `splats`.
fn heading(splats: &Splats) -> String {
    let mode = if splats.antialias { "mip" } else { "default" };
    let mut text = format!(
        "ply\nformat binary_little_endian 1.0\ncomment SplatRenderMode: {mode}\nelement vertex {}\n",
        splats.len()
    );
    let mut name = |name: &str| text.push_str(&format!("property float {name}\n"));
    ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"].into_iter().for_each(&mut name);
    (0..rest_per_splat(splats.sh_degree)).for_each(|i| name(&format!("f_rest_{i}")));
    ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"].into_iter().for_each(name);
    text.push_str("end_header\n");
    text
}

/// Writes row `i`.
fn encode(splats: &Splats, i: usize, record: &mut [u8]) {
    let rest = splats.rest(i);
    let per_channel = rest.len() / 3;
    let mut to = record.chunks_exact_mut(4);
    let mut put = |values: &[f32]| {
        values.iter().zip(&mut to).for_each(|(value, to)| to.copy_from_slice(&value.to_le_bytes()));
    };
    put(&splats.means[i]);
    put(&[0.0; 3]);
    put(&splats.sh_dc[i]);
    (0..3).for_each(|channel| (0..per_channel).for_each(|k| put(&[rest[3 * k + channel]])));
    put(&[splats.raw_opacity[i]]);
    put(&splats.log_scales[i]);
    put(&splats.rotations[i]);
}

/// Where everything is.
struct Layout {
    /// Which element has the Gaussians.
    element: usize,
    /// Bytes of a row of a binary file.
    stride: usize,
    /// Properties of a row.
    properties: usize,
    means: [Column; 3],
    scales: [Column; 2],
    /// `scale_2`; a flat Gaussian has none.
    thin: Option<Column>,
    rotations: [Column; 4],
    opacity: Column,
    colours: [Column; 3],
    /// What is divided by where colours are red, green and blue.
    white: Option<[f32; 3]>,
    filter: Option<Column>,
    rest: Vec<Column>,
    degree: u32,
    /// The degree in the file.
    stored: u32,
}

impl Layout {
    fn of(header: &Header) -> Result<Self> {
        let Some((index, element)) = header.element("vertex") else {
            return Err(Error::new("it has no element \"vertex\"").remedy("choose a .ply of 3D Gaussians"));
        };
        if element.column("opacity").is_none() && element.column("scale_0").is_none() {
            return Err(Error::new(
                "it is a mesh or a cloud of points, not 3D Gaussians: it has no opacity and no scales",
            )
            .remedy("choose the .ply that a trainer of Gaussians wrote"));
        }
        let Some(stride) = element.stride() else {
            return Err(Error::new("its Gaussians have lists as properties").remedy("export it again without them"));
        };
        let [r0, r1, r2, r3] = ["rot_0", "rot_1", "rot_2", "rot_3"].map(|name| element.needed(name));
        let [s0, s1] = ["scale_0", "scale_1"].map(|name| element.needed(name));
        let (colours, white) = colours(element)?;
        let harmonics = element.harmonics()?;
        Ok(Self {
            element: index,
            stride,
            properties: element.properties.len(),
            means: three(element, ["x", "y", "z"])?,
            scales: [s0?, s1?],
            thin: element.column("scale_2"),
            rotations: [r0?, r1?, r2?, r3?],
            opacity: element.needed("opacity")?,
            colours,
            white,
            filter: element.column("filter_3D").or_else(|| element.column("filter_3d")),
            rest: harmonics.columns,
            degree: harmonics.degree,
            stored: harmonics.stored,
        })
    }

    /// How many Gaussians there are, as far as the file is long enough for them.
    fn count(&self, header: &Header, source: &mut Source<'_>) -> Result<usize> {
        let rows = header.elements[self.element].rows;
        if header.encoding == Encoding::Ascii {
            // A digit and a blank for each value; the last blank may be missing.
            return counted(rows, 2 * self.properties as u64, source.bytes() - header.bytes + 1);
        }
        let at = header.seek(source, self.element)?;
        counted(rows, self.stride as u64, source.bytes() - at)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.thin.is_none() {
            notes.push("flat Gaussians (2DGS) were given a thickness, e⁻⁷ of their shorter axis".to_string());
        }
        if self.filter.is_some() {
            notes.push("the 3D filter of Mip-Splatting was folded into scales and opacities".to_string());
        }
        if self.white.is_some() {
            notes.push("colours came as red, green and blue, not as harmonics".to_string());
        }
        if self.stored > self.degree {
            notes.push(format!("harmonics of degree {} were read to degree {}", self.stored, self.degree));
        }
        notes
    }

    /// Fills row `i` from values that `get` finds.
    #[inline(always)]
    fn place(&self, rows: &mut Rows<'_>, i: usize, get: impl Fn(&Column) -> f32) {
        let three = |columns: &[Column; 3]| columns.each_ref().map(&get);
        rows.means[i] = three(&self.means);
        let [s0, s1] = self.scales.each_ref().map(&get);
        let mut scales = [s0, s1, self.thin.as_ref().map_or(f32::NAN, &get)];
        let mut opacity = get(&self.opacity);
        let axes = 2 + usize::from(self.thin.is_some());
        if let Some(filter) = &self.filter {
            opacity = filtered(&mut scales[..axes], opacity, get(filter));
        }
        if axes == 2 {
            // Not `min`, which would hide a NaN.
            let thinner = if scales[1] < scales[0] { scales[1] } else { scales[0] };
            scales[2] = thinner + FLATNESS;
        }
        rows.log_scales[i] = scales;
        rows.raw_opacity[i] = opacity;
        rows.rotations[i] = self.rotations.each_ref().map(&get);
        let colours = three(&self.colours);
        rows.sh_dc[i] = match self.white {
            Some(white) => std::array::from_fn(|c| rows::dc_from_colour(colours[c] / white[c])),
            None => colours,
        };
        rows.rest(i).iter_mut().zip(&self.rest).for_each(|(to, column)| *to = get(column));
    }
}

fn three(element: &Element, names: [&str; 3]) -> Result<[Column; 3]> {
    let [a, b, c] = names.map(|name| element.needed(name));
    Ok([a?, b?, c?])
}

/// The columns of the colours, and what they are divided by where they are not harmonics.
fn colours(element: &Element) -> Result<([Column; 3], Option<[f32; 3]>)> {
    let dc = three(element, ["f_dc_0", "f_dc_1", "f_dc_2"]);
    let plain = || three(element, ["red", "green", "blue"]).or_else(|_| three(element, ["r", "g", "b"]));
    let missing = match dc {
        Ok(columns) => return Ok((columns, None)),
        Err(missing) => missing,
    };
    let columns = plain().map_err(|_| missing)?;
    let white = columns.map(|column| match column.scalar {
        Scalar::F32 | Scalar::F64 => 1.0,
        Scalar::U16 => 65535.0,
        _ => 255.0,
    });
    Ok((columns, Some(white)))
}

/// Widens scales by a 3D filter and returns the opacity that goes with them. In logarithms, and `f64`: a Gaussian may be
/// smaller than its filter by more than squares can say in `f32`.
fn filtered(log_scales: &mut [f32], raw_opacity: f32, filter: f32) -> f32 {
    let twice_filter = 2.0 * f64::from(filter).abs().ln();
    let mut log_opacity = -f64::from(-raw_opacity).exp().ln_1p();
    for scale in log_scales {
        let twice = 2.0 * f64::from(*scale);
        let (low, high) = if twice < twice_filter { (twice, twice_filter) } else { (twice_filter, twice) };
        let wider = 0.5 * (high + (low - high).exp().ln_1p());
        log_opacity += f64::from(*scale) - wider;
        *scale = wider as f32;
    }
    (log_opacity - (-log_opacity.exp_m1()).ln()) as f32
}

fn read_binary(source: &mut Source<'_>, big: bool, layout: &Layout, rows: Rows<'_>) -> Result<()> {
    let stride = layout.stride;
    let every = [&layout.means[..], &layout.scales, &layout.rotations, &layout.colours, &layout.rest].concat();
    let others = [Some(layout.opacity), layout.thin, layout.filter];
    let plain = !big && every.iter().chain(others.iter().flatten()).all(|column| column.scalar == Scalar::F32);
    read_records(source, stride, rows, |bytes, rows| {
        for (i, record) in bytes.chunks_exact(stride).enumerate() {
            if plain {
                layout.place(rows, i, |column| f32_at(record, column.at));
            } else {
                layout.place(rows, i, |column| column.scalar.get(record, column.at, big) as f32);
            }
        }
        Ok(())
    })
}

/// Lines of words. A block of them is cut at its last line's end, and its lines are parsed in parallel.
fn read_ascii(source: &mut Source<'_>, header: &Header, layout: &Layout, mut rows: Rows<'_>) -> Result<()> {
    let before = header.elements[..layout.element].iter().filter(|element| !element.properties.is_empty());
    let mut skip = before.fold(0, |sum: u64, element| sum.saturating_add(element.rows));
    let mut left = source.bytes() - header.bytes;
    let mut block = Vec::new();
    source.seek(header.bytes)?;
    while rows.len() > 0 {
        let more = left.min(BLOCK as u64);
        let had = block.len();
        block.resize(had + more as usize, 0);
        source.fill(&mut block[had..])?;
        left -= more;
        let end = match block.iter().rposition(|b| *b == b'\n') {
            _ if left == 0 => block.len(),
            Some(at) => at + 1,
            None => return Err(Error::new("it has a line of more than 4 MiB").remedy("export it again")),
        };
        let lines = block[..end].split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let lines: Vec<&[u8]> = lines.collect();
        let passed = skip.min(lines.len() as u64);
        skip -= passed;
        let lines = &lines[passed as usize..];
        let some = rows.take(lines.len());
        if some.len() == 0 && left == 0 {
            return Err(short());
        }
        let parts = some.parts(256).into_par_iter().zip(lines.par_chunks(256));
        all_well(parts.map(|(mut rows, lines)| {
            (0..rows.len()).try_for_each(|i| {
                let values = values(lines[i], layout.properties)
                    .ok_or_else(|| bad_line(rows.first + i, lines[i], layout.properties))?;
                layout.place(&mut rows, i, |column| values[column.index]);
                Ok(())
            })
        }))?;
        block.drain(..end);
    }
    Ok(())
}

/// The first `n` numbers of a line.
fn values(line: &[u8], n: usize) -> Option<Vec<f32>> {
    let words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let values: Vec<f32> = words.take(n).map_while(|word| word.parse().ok()).collect();
    (values.len() == n).then_some(values)
}

fn bad_line(row: usize, line: &[u8], n: usize) -> Error {
    let line: String = String::from_utf8_lossy(line).chars().take(40).collect();
    Error::new(format!("the line of Gaussian {row}, \"{line}…\", is not {n} numbers"))
        .remedy("the file is damaged: export it again")
}

#[cfg(test)]
mod tests;
