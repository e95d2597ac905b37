//! A field as one `.safetensors` file.

use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::archive::{self, Archive, Header};
use crate::error::{Error, Result};
use crate::field::{ASPECTS, MAX_POSES, Pose, Scene, tensor, values};
use crate::registry::{AnyField, FieldConfig, Kind};

/// The version of the file format that this program writes.
pub const VERSION: u32 = 1;

/// How a field came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The program: `"retort 0.1.0"`.
    pub made_by: String,
    /// From what, in words: `"trained from lego_200"`.
    pub from: String,
    /// Training steps.
    pub steps: u32,
    /// Seconds that they took.
    pub seconds: f32,
    /// The seed.
    pub seed: u64,
    /// The preset by name.
    pub preset: String,
    /// The background that photos with alpha were compared over, sRGB.
    pub background: Option<[f32; 3]>,
    /// What a person should know of how it was read from another program's file.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Whether +Y is up in its scene and not +Z: a hash grid of another program cannot be turned.
    #[serde(skip)]
    pub lies: bool,
}

/// What a file says of itself, without its values.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its kind.
    pub kind: Kind,
    /// Its configuration.
    pub config: FieldConfig,
    /// Its frame and extent.
    pub scene: Scene,
    /// Number of trained values.
    pub params: u64,
    /// Tensors and their shapes.
    pub tensors: Vec<(String, [usize; 2])>,
    /// Size of the file.
    pub bytes: u64,
    /// How it came about.
    pub provenance: Provenance,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    config: FieldConfig,
    scene: Scene,
    #[serde(default)]
    provenance: Provenance,
}

fn document(json: &serde_json::Value) -> Result<Document> {
    let version = json.get("version").and_then(serde_json::Value::as_u64);
    match version {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) if v > u64::from(VERSION) => {
            return Err(Error::new(format!("written by a newer Retort (format {v})")).remedy("update Retort"));
        }
        _ => return Err(Error::new("not a field of Retort").remedy("give a field that Retort wrote")),
    }
    // Scene and configuration are read strictly: an unknown key is a value that would be silently ignored.
    let document: Document = serde_json::from_value(json.clone())
        .map_err(|e| Error::new(format!("its description is not understood: {e}")).remedy("was it edited by hand?"))?;
    check_scene(&document.scene)?;
    Ok(document)
}

fn check_scene(scene: &Scene) -> Result<()> {
    let [near, far] = scene.near_far;
    let size = scene.bounds.max - scene.bounds.min;
    if !size.is_finite() || !size.cmpgt(glam::Vec3::ZERO).all() {
        return Err(Error::new("scene.bounds is not a box").remedy("the file is damaged"));
    }
    if !(near > 0.0 && far > near && far.is_finite() && scene.extent > 0.0 && scene.extent.is_finite()) {
        return Err(Error::new("scene.near_far or scene.extent is out of range").remedy("the file is damaged"));
    }
    let frame = &scene.scene_from_dataset;
    let turns = |q: glam::Quat| (0.5..2.0).contains(&q.length_squared());
    if !(frame.scale > 0.0 && frame.scale.is_finite() && frame.translation.is_finite() && turns(frame.rotation)) {
        return Err(Error::new("scene.scene_from_dataset is not a similarity").remedy("the file is damaged"));
    }
    let sound = |pose: &Pose| {
        let lens = pose.fov_y > 0.0 && pose.fov_y < std::f32::consts::PI && ASPECTS.contains(&pose.aspect);
        lens && pose.position.is_finite() && turns(pose.rotation)
    };
    if scene.cameras.len() > MAX_POSES || !scene.cameras.iter().all(sound) {
        return Err(Error::new("scene.cameras has too many, or impossible ones").remedy("the file is damaged"));
    }
    Ok(())
}

/// Puts a field into an archive: its parameters under their names, its other state under `extra.…`.
///
/// # Errors
/// When a value is not finite, or the description cannot be written.
pub fn write_into(archive: &mut Archive, field: &AnyField, provenance: &Provenance, full: bool) -> Result<()> {
    let document = Document {
        version: VERSION,
        config: field.config(),
        scene: field.scene().clone(),
        provenance: provenance.clone(),
    };
    let json = serde_json::to_value(&document).map_err(|e| Error::new(e.to_string()))?;
    match (&mut archive.json, json) {
        (serde_json::Value::Object(old), serde_json::Value::Object(new)) => old.extend(new),
        (slot, new) => *slot = new,
    }
    for param in field.frozen().params() {
        let (shape, data) = (param.tensor.dims(), values(param.tensor.clone()));
        check_values(param.name, &data)?;
        archive.tensors.push((param.name.to_string(), shape, data));
    }
    for (name, bytes) in field.extras(full) {
        archive.bytes.push((format!("extra.{name}"), bytes));
    }
    Ok(())
}

/// Saves a field, all or nothing; returns the size of the file.
///
/// # Errors
/// When the place cannot be written, or a value is not finite.
pub fn save(field: &AnyField, provenance: &Provenance, path: &Path) -> Result<u64> {
    let mut archive = Archive::default();
    write_into(&mut archive, field, provenance, false).map_err(|e| e.file(path))?;
    archive.write(path)
}

/// Loads a field.
///
/// # Errors
/// When the file is missing, cut short, not ours, of the wrong shapes, or holds values that are not finite.
pub fn load(path: &Path, device: &Device) -> Result<(AnyField, Provenance)> {
    // Shapes are checked before the values take memory.
    peek(path)?;
    let mut archive = Archive::read(path)?;
    from_archive(&mut archive, device).map_err(|e| e.file(path))
}

/// Loads a field that is in memory.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<(AnyField, Provenance)> {
    from_archive(&mut Archive::from_bytes(bytes)?, device)
}

/// Takes a field out of an archive; tensors of other names stay.
///
/// # Errors
/// As [`load`].
pub fn from_archive(archive: &mut Archive, device: &Device) -> Result<(AnyField, Provenance)> {
    let Document { config, scene, provenance, .. } = document(&archive.json)?;
    let shapes: Vec<_> = archive.tensors.iter().map(|(name, shape, _)| (name.clone(), *shape)).collect();
    check_shapes(&config, &shapes)?;
    let mut tensors = Vec::new();
    for (name, _) in config.shapes()? {
        let (shape, data) = archive.take(name)?;
        check_values(name, &data)?;
        tensors.push(tensor(data, shape, device));
    }
    let mut field = config.build(&scene, tensors)?;
    for (name, bytes) in &archive.bytes {
        if let Some(name) = name.strip_prefix("extra.") {
            field.set_extra(name, bytes)?;
        }
    }
    field.check()?;
    Ok((field, provenance))
}

/// Whether all values are numbers: others are neither written nor read.
fn check_values(name: &str, data: &[f32]) -> Result<()> {
    let Some(at) = data.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let what = format!("tensor \"{name}\" holds {} at {at}", data[at]);
    Err(Error::new(what).remedy("it comes from a run that diverged: train or convert again"))
}

/// Whether the tensors are those of the configuration; rows are free where it says 0, but all the same.
fn check_shapes(config: &FieldConfig, tensors: &[(String, [usize; 2])]) -> Result<()> {
    let mut free = None;
    for (name, [rows, columns]) in config.shapes()? {
        let found = tensors.iter().find(|(n, _)| n == name).map(|(_, shape)| *shape);
        let found = found
            .ok_or_else(|| Error::new(format!("tensor \"{name}\" is missing")).remedy("the file is incomplete"))?;
        let rows = if rows > 0 { rows } else { *free.get_or_insert(found[0]) };
        if found != [rows, columns] || rows == 0 {
            let what = format!("tensor \"{name}\" is [{}, {}], not [{rows}, {columns}]", found[0], found[1]);
            return Err(Error::new(what).remedy("the file is damaged, or its description was edited"));
        }
    }
    Ok(())
}

/// What a file says of itself; reads its header alone.
///
/// # Errors
/// When the file is missing, cut short, not ours, or its tensors have the wrong shapes.
pub fn peek(path: &Path) -> Result<Summary> {
    summary(&archive::header(path)?).map_err(|e| e.file(path))
}

/// What the file of `bytes` bytes that `file` begins with says of itself; reads its header alone.
///
/// # Errors
/// As [`peek`]; no file is named.
pub fn peek_from(file: impl Read, bytes: u64) -> Result<Summary> {
    summary(&archive::header_of(file, bytes)?)
}

fn summary(header: &Header) -> Result<Summary> {
    summary_from(&header.json, &header.tensors, header.file_bytes)
}

/// What the parts of a field say of it; its size is not known from them.
///
/// # Errors
/// As [`peek`]; no file is named.
pub fn summary_of(archive: &Archive) -> Result<Summary> {
    let tensors: Vec<_> = archive.tensors.iter().map(|(name, shape, _)| (name.clone(), *shape)).collect();
    summary_from(&archive.json, &tensors, 0)
}

fn summary_from(json: &serde_json::Value, tensors: &[(String, [usize; 2])], bytes: u64) -> Result<Summary> {
    let Document { config, scene, provenance, .. } = document(json)?;
    check_shapes(&config, tensors)?;
    let names = config.shapes()?;
    let tensors: Vec<_> = tensors.iter().filter(|(n, _)| names.iter().any(|(m, _)| m == n)).cloned().collect();
    let params = tensors.iter().map(|(_, [r, c])| (r * c) as u64).sum();
    Ok(Summary { kind: config.kind(), config, scene, params, tensors, bytes, provenance })
}
