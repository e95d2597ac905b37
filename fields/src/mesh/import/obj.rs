//! Wavefront `.obj` and `.mtl` text (Wavefront, Appendices B1 and B2), as loose triangles with paint.
//!
//! A line is a word and its arguments; `\` at its end goes on in the next. Indices count from 1, or backwards from the last.
//! Polygons are cut into fans. Colours may follow a position (encoded as sRGB). `Kd` is taken as sRGB and multiplies the
//! texture `map_Kd`, unless it is black beside a texture, which exporters write and nobody means. What is up is not said; +Y
//! is what programs write. Parsed here because the crates that do panic on damaged lines (`Kd 1`, `bevel on`) or mix up
//! vertices with and without texture coordinates.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::str::SplitWhitespace;

use glam::{Vec2, Vec3};

use super::super::glb::ours_from_gltf;
use super::super::sound::smooth_normals;
use super::super::srgb::decode;
use super::loose::{Coat, Loose, Wrap};
use super::source::Source;
use crate::error::{Error, Result};

/// An index that is not given.
const NONE: u32 = u32::MAX;
/// Words that lines of such a file begin with.
const WORDS: [&str; 15] =
    ["v", "vt", "vn", "vp", "f", "l", "p", "g", "o", "s", "mg", "usemtl", "mtllib", "usemap", "maplib"];

/// Whether text is of this format: positions, and hardly a line that begins with an unknown word.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(1 << 14)];
    // The last line may be cut off.
    let whole = if head.len() < bytes.len() { head.iter().rposition(|b| *b == b'\n').unwrap_or(0) } else { head.len() };
    let text = String::from_utf8_lossy(&head[..whole]);
    let (mut positions, mut known, mut unknown) = (0, 0, 0);
    for (_, line) in lines(&text) {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        positions += usize::from(word == "v" && numbers::<3>(&mut words).is_ok());
        known += usize::from(WORDS.contains(&word));
        unknown += usize::from(!WORDS.contains(&word));
    }
    positions > 0 && known >= 10 * unknown
}

/// Reads a file whose materials and textures are in `folder`.
///
/// # Errors
/// When a line is damaged, an index leads nowhere, or a texture is missing.
pub(super) fn read(bytes: &[u8], folder: Option<&Path>) -> Result<Loose> {
    let mut source = Source::new(folder);
    let mut file = ObjText { loose: Loose::new(bytes.len() as u64), materials: Materials::new(), ..ObjText::default() };
    for (number, line) in lines(&String::from_utf8_lossy(bytes)) {
        let text = shown(&line);
        file.line(&line, &mut source)
            .map_err(|e| Error { what: format!("line {number} (\"{text}\"): {}", e.what), ..e })?;
    }
    file.finish(&mut source)
}

/// Lines with their numbers from 1, without comments and blank ones; those that go on are joined.
fn lines(text: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    let mut all = text.lines().enumerate();
    let joined = std::iter::from_fn(move || {
        let (number, line) = all.next()?;
        let Some(start) = line.trim_end().strip_suffix('\\') else { return Some((number + 1, Cow::Borrowed(line))) };
        let mut whole = start.to_string();
        for (_, next) in all.by_ref() {
            whole.push(' ');
            let goes_on = next.trim_end().strip_suffix('\\');
            whole.push_str(goes_on.unwrap_or(next));
            if goes_on.is_none() {
                break;
            }
        }
        Some((number + 1, Cow::Owned(whole)))
    });
    joined.filter(|(_, line)| !uncommented(line).trim().is_empty())
}

fn shown(line: &str) -> String {
    line.trim().chars().filter(|c| !c.is_control()).take(40).collect()
}

/// Materials by their names.
type Materials = HashMap<String, Material>;

/// A material, whose coat knows of no texture yet.
#[derive(Clone, Debug, Default)]
struct Material {
    coat: Coat,
    picture: Option<Picture>,
}

/// A texture statement.
#[derive(Clone, Debug, PartialEq)]
struct Picture {
    file: String,
    /// Texture coordinates are multiplied by it, `-s`,
    scale: Vec2,
    /// and this is added, `-o`.
    offset: Vec2,
    clamp: bool,
}

#[derive(Default)]
struct ObjText {
    loose: Loose,
    positions: Vec<Vec3>,
    /// sRGB-encoded, as many as positions or none.
    colours: Vec<Vec3>,
    uvs: Vec<Vec2>,
    normals: Vec<Vec3>,
    /// Position, texture coordinate and normal of each corner; unresolved numbers are [`NONE`].
    triangles: Vec<[[u32; 3]; 3]>,
    coat_of: Vec<u32>,
    coat: u32,
    coats: Vec<String>,
    numbers: HashMap<String, u32>,
    materials: Materials,
    libraries: HashSet<String>,
    /// Whether a library was missing.
    is_unpainted: bool,
}

impl ObjText {
    fn line(&mut self, line: &str, source: &mut Source<'_>) -> Result<()> {
        let mut words = uncommented(line).split_whitespace();
        match words.next() {
            Some("v") => self.position(words)?,
            Some("vt") => {
                let [u] = numbers(&mut words)?;
                let v = words.next().map_or(Ok([0.0]), |v| numbers(&mut [v].into_iter()))?;
                self.uvs.push(Vec2::new(u, v[0]));
            }
            Some("vn") => self.normals.push(Vec3::from(numbers::<3>(&mut words)?)),
            Some("f") => self.polygon(words)?,
            Some("l" | "p") => self.loose.note("points and lines are left out"),
            Some("curv" | "curv2" | "surf") => self.loose.note("curved surfaces are left out"),
            Some("usemtl") => self.coat = self.coat_called(rest(line)),
            Some("mtllib") => self.library(rest(line), source)?,
            _ => {}
        }
        Ok(())
    }

    fn position(&mut self, mut words: SplitWhitespace<'_>) -> Result<()> {
        self.positions.push(Vec3::from(numbers::<3>(&mut words)?));
        let more: Vec<&str> = words.collect();
        // After the position: nothing, a weight that only curves use, or a colour.
        if let [r, g, b, ..] = more[..] {
            self.colours.resize(self.positions.len() - 1, Vec3::ONE);
            self.colours.push(Vec3::from(numbers::<3>(&mut [r, g, b].into_iter())?));
        } else if !self.colours.is_empty() {
            self.colours.push(Vec3::ONE);
        }
        Ok(())
    }

    fn polygon(&mut self, words: SplitWhitespace<'_>) -> Result<()> {
        if self.coats.is_empty() {
            self.coat = self.coat_called("");
        }
        let corners: Vec<[u32; 3]> = words.map(|word| self.corner(word)).collect::<Result<_>>()?;
        if corners.len() < 3 {
            return Err(Error::new("a face has fewer than three corners"));
        }
        self.loose.expect(0, (self.triangles.len() + corners.len()) as u64)?;
        self.triangles.extend(corners[1..].windows(2).map(|w| [corners[0], w[0], w[1]]));
        self.coat_of.resize(self.triangles.len(), self.coat);
        Ok(())
    }

    fn corner(&self, word: &str) -> Result<[u32; 3]> {
        let mut corner = [NONE; 3];
        let known = [self.positions.len(), self.uvs.len(), self.normals.len()];
        let wrong = || Error::new(format!("\"{}\" is not a corner", shown(word)));
        for (k, part) in word.split('/').enumerate() {
            let slot = corner.get_mut(k).ok_or_else(wrong)?;
            if part.is_empty() && k > 0 {
                continue;
            }
            let number: i64 = part.parse().map_err(|_| wrong())?;
            let index = if number < 0 { known[k] as i64 + number } else { number - 1 };
            // Positive numbers may lead to lines that are still to come.
            *slot = u32::try_from(index).ok().filter(|i| *i != NONE).ok_or_else(wrong)?;
        }
        Ok(corner)
    }

    /// The number of the coat of a material, which may be defined later or not at all.
    fn coat_called(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.coats.push(name.to_string());
        self.numbers.insert(name.to_string(), (self.coats.len() - 1) as u32);
        (self.coats.len() - 1) as u32
    }

    /// Reads a library of materials. One that is missing leaves the mesh unpainted, which is said.
    fn library(&mut self, name: &str, source: &mut Source<'_>) -> Result<()> {
        if !self.libraries.insert(name.to_string()) {
            return Ok(());
        }
        if let Ok(bytes) = source.file(name) {
            return read_materials(&String::from_utf8_lossy(&bytes), &mut self.materials).map_err(|e| e.file(name));
        }
        if !std::mem::replace(&mut self.is_unpainted, true) {
            self.loose.note(&format!("the materials \"{}\" are missing", shown(name)));
        }
        Ok(())
    }

    fn finish(mut self, source: &mut Source<'_>) -> Result<Loose> {
        self.vertices()?;
        let mut loose = self.loose;
        loose.coat_of = self.coat_of;
        let mut pictures: HashMap<&str, usize> = HashMap::new();
        for name in &self.coats {
            let material = self.materials.get(name);
            let mut coat = material.map(|m| m.coat).unwrap_or_default();
            if let Some(picture) = material.and_then(|m| m.picture.as_ref()) {
                if !pictures.contains_key(picture.file.as_str()) {
                    let decoded = source.file(&picture.file).and_then(|bytes| source.picture(&bytes));
                    loose
                        .textures
                        .push(decoded.map_err(|e| e.file(&picture.file).remedy("put the texture beside the mesh"))?);
                    pictures.insert(&picture.file, loose.textures.len() - 1);
                }
                coat.texture = pictures.get(picture.file.as_str()).copied();
                coat.wrap = [if picture.clamp { Wrap::Clamp } else { Wrap::Repeat }; 2];
            }
            loose.coats.push(coat);
        }
        Ok(loose)
    }

    /// Makes one vertex of each kind of corner.
    fn vertices(&mut self) -> Result<()> {
        let whole = [&self.positions, &self.normals].iter().all(|list| list.iter().all(|p| p.is_finite()));
        if !whole || !self.uvs.iter().all(|uv| uv.is_finite()) || !self.colours.iter().all(|c| c.is_finite()) {
            return Err(Error::new("a position, normal, colour or texture coordinate is not a number"));
        }
        // Some programs write colours as bytes.
        let most = self.colours.iter().map(|c| c.max_element()).fold(1.0, f32::max);
        let unit = if most > 1.0 { 255.0_f32.max(most) } else { 1.0 };
        let loose = &mut self.loose;
        let picture = |name| self.materials.get(name).and_then(|m| m.picture.as_ref());
        let pictures: Vec<Option<&Picture>> = self.coats.iter().map(picture).collect();
        let mut made: HashMap<([u32; 3], u32), u32> = HashMap::new();
        for (triangle, coat) in self.triangles.iter().zip(&self.coat_of) {
            let mut corners = [0; 3];
            for (slot, corner) in corners.iter_mut().zip(triangle) {
                let next = loose.positions.len() as u32;
                *slot = *made.entry((*corner, *coat)).or_insert(next);
                if *slot != next {
                    continue;
                }
                let [v, vt, vn] = corner.map(|i| i as usize);
                let missing = |what: &str, at: usize, count: usize| {
                    Error::new(format!("a face names {what} {}, and there are {count}", at + 1))
                        .remedy("the file is cut short or damaged: copy or export it again")
                };
                let position = self.positions.get(v).ok_or_else(|| missing("position", v, self.positions.len()))?;
                let uv = match corner[1] {
                    NONE => Vec2::ZERO,
                    _ => *self.uvs.get(vt).ok_or_else(|| missing("texture coordinate", vt, self.uvs.len()))?,
                };
                let normal = match corner[2] {
                    NONE => Vec3::ZERO,
                    _ => *self.normals.get(vn).ok_or_else(|| missing("normal", vn, self.normals.len()))?,
                };
                loose.positions.push(ours_from_gltf(*position));
                let uv = pictures[*coat as usize].map_or(uv, |p| uv * p.scale + p.offset);
                loose.uvs.push(Vec2::new(uv.x, 1.0 - uv.y));
                loose.normals.push(ours_from_gltf(normal.normalize_or_zero()));
                let colour = self.colours.get(v).map_or([1.0; 3], Vec3::to_array);
                loose.tints.push(colour.map(|c| decode(c / unit)));
            }
            loose.triangles.push(corners);
        }
        if loose.normals.contains(&Vec3::ZERO) {
            let smooth = smooth_normals(&loose.positions, &loose.triangles);
            let missing = loose.normals.iter_mut().zip(smooth).filter(|(n, _)| **n == Vec3::ZERO);
            missing.for_each(|(n, smooth)| *n = smooth);
        }
        Ok(())
    }
}

/// The next numbers of a line.
fn numbers<'a, const N: usize>(words: &mut impl Iterator<Item = &'a str>) -> Result<[f32; N]> {
    let mut values = [0.0; N];
    for value in &mut values {
        let word = words.next().ok_or_else(|| Error::new(format!("{N} numbers are needed")))?;
        *value = word.parse().map_err(|_| Error::new(format!("\"{}\" is not a number", shown(word))))?;
    }
    Ok(values)
}

fn uncommented(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

/// What follows the first word, blanks inside it kept.
fn rest(line: &str) -> &str {
    let line = uncommented(line).trim();
    line.find(char::is_whitespace).map_or("", |at| line[at..].trim())
}

/// Reads materials; of each, the last that is said counts.
fn read_materials(text: &str, materials: &mut Materials) -> Result<()> {
    let mut name = String::new();
    for (number, line) in lines(text) {
        let mut words = uncommented(&line).split_whitespace();
        match (words.next().unwrap_or_default(), materials.get_mut(&name)) {
            ("newmtl", _) => {
                name = rest(&line).to_string();
                materials.insert(name.clone(), Material::default());
            }
            ("Kd", Some(material)) => {
                material.coat.factor = colour(words)
                    .map_err(|e| Error { what: format!("line {number} (\"{}\"): {}", shown(&line), e.what), ..e })?;
            }
            ("map_Kd", Some(material)) => material.picture = picture(rest(&line)),
            _ => {}
        }
    }
    for material in materials.values_mut().filter(|m| m.picture.is_some() && m.coat.factor == [0.0; 3]) {
        material.coat.factor = [1.0; 3];
    }
    Ok(())
}

/// A colour, linear: three numbers, or one for a grey. White stands for spectral curves and CIE colours, which nobody writes.
fn colour(mut words: SplitWhitespace<'_>) -> Result<[f32; 3]> {
    let count = words.clone().count();
    if words.clone().next().is_some_and(|first| first.parse::<f32>().is_err()) {
        return Ok([1.0; 3]);
    }
    let rgb = if count == 1 { [numbers::<1>(&mut words)?[0]; 3] } else { numbers(&mut words)? };
    Ok(rgb.map(|v| if v.is_finite() { decode(v) } else { 1.0 }))
}

/// A texture statement: `-option arguments`, any number of them, and the file.
fn picture(mut text: &str) -> Option<Picture> {
    let mut found = Picture { file: String::new(), scale: Vec2::ONE, offset: Vec2::ZERO, clamp: false };
    while text.starts_with('-') {
        let mut words = text.split_whitespace();
        let option = words.next().unwrap_or_default();
        let values: Vec<f32> =
            words.clone().take(3).map_while(|w| w.parse().ok()).filter(|v: &f32| v.is_finite()).collect();
        let arguments = match option {
            "-o" | "-s" | "-t" => values.len().max(1),
            "-mm" => 2,
            _ => 1,
        };
        let vector = |otherwise: f32| {
            Vec2::new(values.first().copied().unwrap_or(otherwise), values.get(1).copied().unwrap_or(otherwise))
        };
        match option {
            "-o" => found.offset = vector(0.0),
            "-s" => found.scale = vector(1.0),
            "-clamp" => found.clamp = words.next() == Some("on"),
            _ => {}
        }
        (0..=arguments).for_each(|_| text = rest(text));
    }
    found.file = text.to_string();
    Some(found).filter(|p| !p.file.is_empty())
}
