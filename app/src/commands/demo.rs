//! `retort demo`: the built-in scene, taught to every other kind of field, with pictures and a table.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use retort_distill::RunOptions;
use retort_distill::convert::Convert;
use retort_distill::preset::Preset;
use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::RenderOptions;
use retort_fields::files::{self, Provenance, write_atomically};
use retort_fields::mesh::export::{self, Method, Options, Paint};
use retort_fields::registry::{AnyField, Kind};
use retort_shaders::Camera;

use super::train::options;
use super::work::{Finished, Place};
use super::{PRESET, Stop, made_by, measure, work};
use crate::cli::{self, Common};
use crate::pictures::Picture;
use crate::report::{Done, KindDone, Report, clock, size};
use crate::{interrupt, output, views};

/// The trained teacher that comes with the program.
pub const TEACHER: &[u8] = include_bytes!("../../../assets/demo.safetensors");
/// How long a conversion may take where neither `--steps` nor `--time` says otherwise.
const PATIENCE: Duration = Duration::from_secs(40);
/// The side of the pictures in pixels.
const SIDE: u32 = 400;
/// How the mesh is made: small enough for a moment.
const MESH: Options = Options {
    method: Method::Density,
    level: None,
    resolution: 128,
    faces: 20_000,
    paint: Paint::Texture(1024),
    keep: 0.01,
};

/// Runs the verb.
///
/// # Errors
/// When a file cannot be written, a conversion fails, or the run is interrupted.
pub fn run(args: &cli::Demo, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    output::make_folder(&args.out)?;
    let device = device::choose(&common.device)?;
    let (teacher, made) = files::from_bytes(TEACHER, &device)?;
    let (folder, kinds) = (&args.out, students(&teacher));
    let places = claim(folder, teacher.kind(), &kinds, common)?;
    let view = views::orbit(teacher.scene(), 1, [SIDE; 2]).remove(0);
    let demo = Demo { folder, teacher: &teacher, made: &made, view: &view };

    let path = field_path(folder, teacher.kind());
    write_atomically(&path, TEACHER)?;
    let mut pictures = vec![demo.picture(&teacher, teacher.kind())?];
    let bytes = Some(TEACHER.len() as u64);
    let mut rows = vec![row(teacher.kind(), Done { out: Some(path.display().to_string()), bytes, ..Done::default() })];
    for (kind, place) in kinds.into_iter().zip(places) {
        report.note(&format!("{} -> {kind}", teacher.kind()));
        let (student, done) = demo.convert(kind, &place, common, report)?;
        pictures.push(demo.picture(&student, kind)?);
        rows.push(row(kind, done));
    }
    Picture::side_by_side(&pictures).write_png(&side_by_side(folder))?;
    report.note(&format!("{} -> mesh", teacher.kind()));
    demo.mesh()?;
    let done = Done {
        out: Some(folder.display().to_string()),
        seconds: Some(started.elapsed().as_secs_f32()),
        kinds: rows,
        ..Done::default()
    };
    report.done(&done, &table(folder, teacher.kind(), &done.kinds));
    Ok(())
}

/// Every kind but the teacher's.
fn students(teacher: &AnyField) -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| *kind != teacher.kind()).collect()
}

fn field_path(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(output::field_name("demo", kind))
}

fn picture_path(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("{kind}.png"))
}

fn side_by_side(folder: &Path) -> PathBuf {
    folder.join("side-by-side.png")
}

fn mesh_path(folder: &Path) -> PathBuf {
    folder.join("demo.glb")
}

fn row(kind: Kind, done: Done) -> KindDone {
    KindDone { kind: kind.name(), done }
}

/// Where a kind's field comes from.
enum Source {
    /// It was converted before the interruption.
    There(PathBuf),
    /// It is to be converted, or its conversion continued.
    Open(Place),
}

/// Checks every place before the first conversion. A resumed demo keeps what is there.
fn claim(folder: &Path, teacher: Kind, kinds: &[Kind], common: &Common) -> Result<Vec<Source>> {
    let replace = common.overwrite || common.resume;
    output::check(&field_path(folder, teacher), replace)?;
    output::check(&side_by_side(folder), replace)?;
    output::check(&mesh_path(folder), replace)?;
    output::check(&picture_path(folder, teacher), replace)?;
    let source = |kind: &Kind| {
        output::check(&picture_path(folder, *kind), replace)?;
        let out = field_path(folder, *kind);
        if common.resume && out.exists() {
            return Ok(Source::There(out));
        }
        let resume = common.resume && output::checkpoint_path(&out).exists();
        Place::claim(out, &Common { resume, ..common.clone() }).map(Source::Open)
    };
    kinds.iter().map(source).collect()
}

/// What every conversion of the demo shares.
struct Demo<'a> {
    folder: &'a Path,
    teacher: &'a AnyField,
    made: &'a Provenance,
    view: &'a Camera,
}

impl Demo<'_> {
    /// Converts the teacher into `kind`, unless that was done, and measures the student.
    fn convert(
        &self,
        kind: Kind,
        source: &Source,
        common: &Common,
        report: &mut Report,
    ) -> Result<(AnyField, Done), Stop> {
        let (student, provenance, path) = match source {
            Source::There(path) => {
                let (student, provenance) = files::load(path, &self.teacher.device())?;
                (student, provenance, path)
            }
            Source::Open(place) => {
                let (student, provenance) = self.teach(kind, place, common, report)?;
                files::save(&student, &provenance, &place.out)?;
                place.finish();
                (student, provenance, &place.out)
            }
        };
        let psnr = measure::on_teacher(&student, self.teacher, measure::background(self.made), report)?;
        let done = Done {
            out: Some(path.display().to_string()),
            seconds: Some(provenance.seconds),
            steps: Some(provenance.steps),
            bytes: Some(std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len()),
            psnr_teacher: Some(psnr),
            ..Done::default()
        };
        Ok((student, done))
    }

    fn teach(
        &self,
        kind: Kind,
        place: &Place,
        common: &Common,
        report: &mut Report,
    ) -> Result<(AnyField, Provenance), Stop> {
        let preset = Preset::load(common.preset.as_deref().unwrap_or(PRESET), kind, &common.set)?;
        let hurried = common.steps.is_none() && common.time.is_none();
        let limit = if hurried { Some(PATIENCE) } else { common.time };
        let options = RunOptions { time: limit, ..options(common) };
        let (teacher, device) = (self.teacher.clone(), self.teacher.device());
        let task = match place.resumed() {
            Some(checkpoint) => Convert::resume(&teacher, &preset, checkpoint, &options, &device)?,
            None => Convert::new(&teacher, &preset, &options, &device)?,
        };
        let Finished { field, outcome, seconds, .. } = work::run(Box::new(task), &place.checkpoint, limit, report)?;
        let provenance = Provenance {
            made_by: made_by(),
            from: format!("converted from the demo scene ({})", self.teacher.kind()),
            steps: outcome.steps,
            seconds,
            seed: common.seed,
            preset: preset.name,
            background: self.made.background,
            ..Provenance::default()
        };
        Ok((field, provenance))
    }

    /// The teacher's surface as a textured mesh.
    fn mesh(&self) -> Result<(), Stop> {
        let over = measure::background(self.made);
        let made = export::made(&**self.teacher, &MESH, over, &mut |_| !interrupt::requested())?;
        let Some(made) = made else { return Err(Stop::interrupted()) };
        export::write(&made.mesh, true, &made_by(), &mesh_path(self.folder))?;
        Ok(())
    }

    /// The test view of a field, which is also written.
    fn picture(&self, field: &AnyField, kind: Kind) -> Result<Picture> {
        let frame = field.render(self.view, &RenderOptions::default());
        let picture = Picture::of_frame(&frame, measure::background(self.made));
        picture.write_png(&picture_path(self.folder, kind))?;
        Ok(picture)
    }
}

/// The result for people.
fn table(folder: &Path, teacher: Kind, rows: &[KindDone]) -> String {
    let line = |KindDone { kind, done }: &KindDone| {
        let psnr = match done.psnr_teacher {
            Some(psnr) => format!("{psnr:.2} dB"),
            None if *kind == teacher.name() => "the teacher".into(),
            None => String::new(),
        };
        let took = done.seconds.map_or_else(String::new, |s| clock(f64::from(s)));
        format!("{kind:<10} {psnr:>14} {took:>10} {:>9}", size(done.bytes.unwrap_or_default()))
    };
    let mut lines = vec![format!("{:<10} {:>14} {:>10} {:>9}", "kind", "PSNR (teacher)", "time", "size")];
    lines.extend(rows.iter().map(line));
    let told = "fields, pictures, all of them side by side in side-by-side.png, and a textured mesh, demo.glb";
    lines.push(format!("{}: {told}", folder.display()));
    lines.join("\n")
}
