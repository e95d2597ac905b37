//! `retort mesh`: the surface of a field as a textured mesh in a GLB file, or an OBJ with its material and texture.

use std::path::{Path, PathBuf};
use std::time::Instant;

use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::Field;
use retort_fields::mesh::export::{self, Made, Method, Options, Paint, Stage};

use super::convert::check_input;
use super::{Stop, made_by, measure, open};
use crate::cli::{self, Common};
use crate::report::{Done, Report, clock, size};
use crate::{interrupt, output};

/// Runs the verb.
///
/// # Errors
/// When the field is bad or has no surface, the file cannot be written, or the run is interrupted.
pub fn run(args: &cli::Mesh, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    let out = place(args);
    claim(&out, common)?;
    let told = open::peek(&args.input)?;
    check_input(&told.files, &out)?;
    let (field, made) = open::load(&args.input, &device::choose(&common.device)?)?;
    report.notes(&made.notes);

    let way = Way { options: options(args), lit: args.lit, background: measure::background(&made) };
    let Some((mesh, bytes)) = write(&*field, &way, &out, report)? else { return Err(Stop::interrupted()) };

    let seconds = started.elapsed().as_secs_f32();
    let done = Done {
        out: Some(out.display().to_string()),
        seconds: Some(seconds),
        bytes: Some(bytes),
        psnr_teacher: Some(mesh.picture_psnr),
        ..Done::default()
    };
    let took = clock(f64::from(seconds));
    report.done(&done, &format!("{}: {} in {took}\n{}", out.display(), size(bytes), lines(&mesh).join("\n")));
    Ok(())
}

/// Checks that a mesh can be written at `out`, and what goes beside an OBJ.
///
/// # Errors
/// When the name ends otherwise, or a file is there that was not to be replaced.
pub fn claim(out: &Path, common: &Common) -> Result<()> {
    let ending = out.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !["glb", "obj"].contains(&ending.as_str()) {
        let what = format!("meshes are not written as .{ending}");
        return Err(Error::new(what).file(out).remedy("let the name end in .glb or .obj"));
    }
    output::check(out, common.overwrite)?;
    let beside: &[&str] = if is_obj(out) { &["mtl", "png"] } else { &[] };
    beside.iter().try_for_each(|ending| output::check(&out.with_extension(ending), common.overwrite))
}

fn is_obj(out: &Path) -> bool {
    out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("obj"))
}

/// How a mesh is made.
pub struct Way {
    /// Surface, faces and paint.
    pub options: Options,
    /// Whether viewers shall light it.
    pub lit: bool,
    /// What the field's pictures are compared over.
    pub background: [f32; 3],
}

/// Makes the mesh of `field` and writes it as GLB, or as OBJ where the name ends so, under the eyes of the report; with
/// its size in bytes. None where it was interrupted.
///
/// # Errors
/// When the field has no surface, or the file cannot be written.
pub fn write(field: &dyn Field, way: &Way, out: &Path, report: &mut Report) -> Result<Option<(Made, u64)>> {
    report.detail(&format!("at most about {} are written", size(way.options.predicted_size())));
    report.begin(None);
    let mut tell = |stage: Stage| {
        report.progress(&measure::step(stage.name(), stage.index() + 1, Stage::ALL.len(), None));
        !interrupt::requested()
    };
    let mesh = export::made(field, &way.options, way.background, &mut tell);
    report.end();
    let Some(mesh) = mesh? else { return Ok(None) };
    let bytes = if is_obj(out) {
        export::write_obj(&mesh.mesh, &made_by(), out)?
    } else {
        export::write(&mesh.mesh, !way.lit, &made_by(), out)?
    };
    Ok(Some((mesh, bytes)))
}

/// What a person wants to know of a mesh.
pub fn lines(made: &Made) -> Vec<String> {
    let r = &made.report;
    let closed = if r.watertight { "watertight".into() } else { format!("{} open edges", r.border_edges) };
    let pieces = if r.components == 1 { "1 piece".into() } else { format!("{} pieces", r.components) };
    let gone = if made.dropped > 0 { format!(", {} small ones dropped", made.dropped) } else { String::new() };
    let mut lines = vec![
        format!("  {} triangles, {} vertices, {pieces}{gone}, {closed}", r.triangles, r.vertices),
        format!("  surface by {}, level {:.3}", made.method.name(), made.level),
        format!(
            "  its pictures: {:.2} dB against the field's, outlines agree to {:.1} %",
            made.picture_psnr,
            100.0 * made.outline
        ),
    ];
    lines.extend(made.texel_psnr.map(|psnr| format!("  its texture: {psnr:.2} dB against the field on the surface")));
    lines
}

/// The options that the flags ask for.
pub fn options(args: &cli::Mesh) -> Options {
    let default = Options::default();
    Options {
        method: args.method,
        level: args.level,
        resolution: args.resolution.unwrap_or(default.resolution),
        faces: args.faces.unwrap_or(default.faces),
        paint: if args.vertex_colors { Paint::Vertices } else { args.texture.map_or(default.paint, Paint::Texture) },
        keep: args.keep.unwrap_or(default.keep),
    }
}

/// The file of the result.
fn place(args: &cli::Mesh) -> PathBuf {
    let name = PathBuf::from(format!("{}.glb", output::stem(&args.input)));
    match &args.out {
        None => name,
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(out) if out.extension().is_none() => out.with_extension("glb"),
        Some(out) => out.clone(),
    }
}

/// A way to find the surface, by its name.
pub fn method(text: &str) -> Result<Method, String> {
    Method::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| "use auto, density or depth".into())
}
