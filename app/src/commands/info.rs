//! `retort info`: what a file says of itself, or what a scene is made of. No device is touched, and of our own files only
//! headers are read: it answers at once.

use std::path::Path;

use retort_fields::compose::file::{self, Entry};
use retort_fields::error::Result;
use retort_fields::files::{Summary, any, peek};
use retort_shaders::Aabb;
use serde_json::{Value, json};

use crate::cli;
use crate::report::{Report, clock, size};

/// Runs the verb.
///
/// # Errors
/// When the file is missing, cut short or not ours.
pub fn run(args: &cli::Info, report: &Report) -> Result<()> {
    let name = args.file.display().to_string();
    if let Some(path) = file::scene_path(&args.file) {
        return scene(&name, &path, report);
    }
    let summary = peek(&args.file)?;
    match any::extent(&args.file)? {
        Some(extent) => report.answer(&foreign_object(&name, &summary, extent), &foreign(&name, &summary, extent)),
        None => report.answer(&object(&name, &summary), &block(&name, &summary)),
    }
    Ok(())
}

/// A file of Gaussians, for scripts; coordinates are the file's own.
fn foreign_object(name: &str, s: &Summary, extent: Aabb) -> Value {
    json!({
        "file": name,
        "kind": s.kind.name(),
        "label": s.kind.label(),
        "format": s.provenance.from,
        "gaussians": s.tensors.first().map(|(_, [rows, _])| rows),
        "params": s.params,
        "bytes": s.bytes,
        "bounds": {"min": extent.min, "max": extent.max},
    })
}

/// The same for people.
fn foreign(name: &str, s: &Summary, extent: Aabb) -> String {
    let rows = s.tensors.first().map_or(0, |(_, [rows, _])| *rows as u64);
    let lines = [
        name.to_string(),
        format!("  kind        {}: {}", s.kind, s.kind.label()),
        format!("  format      {}", s.provenance.from),
        format!("  gaussians   {}", grouped(rows)),
        format!("  size        {}", size(s.bytes)),
        format!("  centres     {} to {} in the file's own coordinates", extent.min, extent.max),
    ];
    lines.join("\n")
}

/// What a scene is made of.
fn scene(name: &str, path: &Path, report: &Report) -> Result<()> {
    let told = file::peek(path)?;
    let row = |(entry, s): &(Entry, Summary)| {
        json!({
            "field": entry.field, "kind": s.kind.name(), "params": s.params, "move": entry.shift,
            "rotate": entry.rotate, "scale": entry.scale, "visible": entry.visible, "edits": entry.edits,
        })
    };
    let objects: Vec<Value> = told.iter().map(row).collect();
    let mut lines = vec![name.to_string(), format!("  scene       {} objects", told.len())];
    for (i, (entry, s)) in told.iter().enumerate() {
        let hidden = if entry.visible { "" } else { ", hidden" };
        lines.push(format!("  object {:<4} {}: {}{hidden}", i + 1, entry.field.display(), s.kind.label()));
        lines.extend(placed(entry).map(|place| format!("    {place}")));
        // As text at once: through a JSON value, 0.2 becomes 0.20000000298023224.
        lines.extend(entry.edits.iter().filter_map(|e| serde_json::to_string(e).ok()).map(|e| format!("    {e}")));
    }
    report.answer(&json!({"file": name, "kind": "scene", "objects": objects}), &lines.join("\n"));
    Ok(())
}

/// Where an object was put, if it was.
fn placed(entry: &Entry) -> Option<String> {
    let [[mx, my, mz], [rx, ry, rz]] = [entry.shift, entry.rotate];
    let moved = entry.shift != [0.0; 3] || entry.rotate != [0.0; 3] || entry.scale != 1.0;
    moved.then(|| format!("moved by {mx} {my} {mz}, turned by {rx} {ry} {rz} degrees, scaled by {}", entry.scale))
}

fn object(name: &str, s: &Summary) -> Value {
    let tensors: Vec<Value> = s.tensors.iter().map(|(name, shape)| json!({"name": name, "shape": shape})).collect();
    let p = &s.provenance;
    json!({
        "file": name,
        "kind": s.kind.name(),
        "label": s.kind.label(),
        "params": s.params,
        "bytes": s.bytes,
        "bounds": {"min": s.scene.bounds.min, "max": s.scene.bounds.max},
        "unbounded": s.scene.unbounded,
        "scene_from_dataset": s.scene.scene_from_dataset,
        "tensors": tensors,
        "config": s.config,
        "made_by": p.made_by,
        "from": p.from,
        "steps": p.steps,
        "seconds": p.seconds,
        "seed": p.seed,
        "preset": p.preset,
        "background": p.background,
    })
}

fn block(name: &str, s: &Summary) -> String {
    let (p, scene) = (&s.provenance, &s.scene);
    let mut lines = vec![
        name.to_string(),
        format!("  kind        {}: {}", s.kind, s.kind.label()),
        format!("  parameters  {} in {} tensors", grouped(s.params), s.tensors.len()),
    ];
    lines.extend(s.tensors.iter().map(|(name, [rows, columns])| format!("    {name:<17} {rows} x {columns}")));
    let space = if scene.unbounded { ", unbounded (contracted beyond radius 1)" } else { "" };
    lines.push(format!("  size        {}", size(s.bytes)));
    lines.push(format!("  bounds      {} to {}{space}", scene.bounds.min, scene.bounds.max));
    lines.push(format!("  came about  {}", if p.from.is_empty() { "nobody knows how" } else { &p.from }));
    if p.steps > 0 || !p.preset.is_empty() {
        let took = clock(f64::from(p.seconds));
        lines.push(format!("  training    {} steps in {took}, preset {}, seed {}", p.steps, p.preset, p.seed));
    }
    if !p.made_by.is_empty() {
        lines.push(format!("  made by     {}", p.made_by));
    }
    lines.extend(p.notes.iter().map(|note| format!("  note        {note}")));
    lines.join("\n")
}

/// `12345678` as `12 345 678`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut groups: Vec<&str> =
        digits.as_bytes()[head..].chunks(3).filter_map(|c| std::str::from_utf8(c).ok()).collect();
    if head > 0 {
        groups.insert(0, &digits[..head]);
    }
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 12, 123, 1234, 12_345_678].map(super::grouped), ["0", "12", "123", "1 234", "12 345 678"]);
    }
}
