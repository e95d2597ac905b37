//! `retort render`: pictures of a field or a scene.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::Scene;
use retort_shaders::Camera;

use super::{Stop, measure, open};
use crate::cli::{self, Common};
use crate::film::{self, FPS, Place};
use crate::report::{Done, Report, clock, size};
use crate::views::{self, Given};
use crate::{interrupt, output};

/// The size of a view where nothing says otherwise, pixels.
const SIZE: [u32; 2] = [512, 512];

/// Runs the verb.
///
/// # Errors
/// When the field or the cameras are bad, a picture or film cannot be written, or the run is interrupted.
pub fn run(args: &cli::Render, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    open::peek(&args.input)?;
    let given = args.camera.as_deref().map(views::read).transpose()?;
    let n = given.as_ref().map_or(args.orbit.unwrap_or(1) as usize, |given| given.cameras.len());
    let fps = args.fps.or(given.as_ref().and_then(|given| given.fps)).unwrap_or(FPS);
    let (out, place) = places(args, n, fps)?;
    if place.files() != std::slice::from_ref(&out) {
        output::make_folder(&out)?;
    }
    for path in place.files() {
        output::check(path, common.overwrite)?;
    }
    // Sizes do not depend on the scene: a film that cannot be is refused before a field is loaded.
    let sized = cameras(given.as_ref(), args, n, &Scene::default());
    if let Place::Film(..) = place
        && let Some(note) = film::size_of(&sized).map_err(|e| e.file(&out))?.1
    {
        report.note(&note);
    }
    let (field, made) = open::load(&args.input, &device::choose(&common.device)?)?;
    let cameras = cameras(given.as_ref(), args, n, field.scene());

    report.begin(None);
    let mut tell = |done: usize| {
        report.progress(&measure::step("rendering", done, n, None));
        // What is done already is kept.
        done == n || !interrupt::requested()
    };
    let Some(bytes) = film::draw(&field, &cameras, measure::background(&made), &place, &mut tell)? else {
        report.end();
        return Err(Stop::interrupted());
    };
    let seconds = started.elapsed().as_secs_f32();
    let done =
        Done { out: Some(out.display().to_string()), seconds: Some(seconds), bytes: Some(bytes), ..Done::default() };
    let what = match (&place, n) {
        (Place::Film(..), _) => format!("{n} pictures, {:.1} s at {fps} a second", n as f32 / fps),
        (_, 1) => "1 picture".into(),
        _ => format!("{n} pictures"),
    };
    let took = clock(f64::from(seconds));
    report.done(&done, &format!("{}: {what}, {} in {took}", out.display(), size(bytes)));
    Ok(())
}

/// The `n` views that the flags ask for: those given in a file, a circle, or one view from aside.
fn cameras(given: Option<&Given>, args: &cli::Render, n: usize, scene: &Scene) -> Vec<Camera> {
    match (given, args.size) {
        (Some(given), Some(size)) => given.resized(size),
        (Some(given), None) => given.cameras.clone(),
        (None, size) => views::orbit(scene, n, size.unwrap_or(SIZE)),
    }
}

/// The place of the result, and those of its pictures: itself, or files in it.
fn places(args: &cli::Render, n: usize, fps: f32) -> Result<(PathBuf, Place)> {
    let one = n == 1 && args.orbit.is_none();
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = output::stem(&args.input);
        PathBuf::from(if one { format!("{stem}.png") } else { format!("{stem}-views") })
    });
    let ending = out.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    let folder = |out: PathBuf| {
        if args.fps.is_some() {
            return Err(wrong(&out, "--fps is for films", "let the name end in .mp4, or leave --fps out"));
        }
        let place = Place::folder(&out, n);
        Ok((out, place))
    };
    match ending.as_deref() {
        // A folder may be called anything if it is there.
        _ if out.is_dir() => folder(out),
        Some("png") if one => Ok((out.clone(), Place::Pictures(vec![out]))),
        Some("png") => {
            let remedy = "name a folder with -o, or a film that ends in .mp4";
            Err(wrong(&out, &format!("{n} views do not fit into one picture"), remedy))
        }
        Some("mp4") if n > 1 => Ok((out.clone(), Place::Film(out, fps))),
        Some("mp4") => {
            let remedy = "add --orbit N, or a camera path with --camera; a picture's name ends in .png";
            Err(wrong(&out, "one view is not a film", remedy))
        }
        Some(e @ ("jpg" | "jpeg" | "webp" | "gif" | "exr" | "webm" | "mov")) => {
            Err(wrong(&out, &format!("this version writes no .{e} files"), "let the name end in .png or .mp4"))
        }
        _ => folder(out),
    }
}

fn wrong(out: &Path, what: &str, remedy: &str) -> Error {
    Error::new(what).file(out).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str, n: usize) -> Result<(PathBuf, Place)> {
        use clap::Parser;
        let words = format!("retort render x/lego-hash.safetensors {line}");
        match cli::Cli::try_parse_from(words.split_whitespace()).expect("good usage").command {
            Some(cli::Command::Render(args)) => places(&args, n, args.fps.unwrap_or(FPS)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_view_is_a_picture_and_several_are_a_folder() {
        let path = PathBuf::from;
        let pictures = |paths: &[&str]| Place::Pictures(paths.iter().map(PathBuf::from).collect());
        assert_eq!(names("", 1).unwrap(), (path("lego-hash.png"), pictures(&["lego-hash.png"])));
        assert_eq!(names("-o a.PNG", 1).unwrap().1, pictures(&["a.PNG"]));
        assert_eq!(names("-o a", 1).unwrap().1, pictures(&["a/view_000.png"]));
        let two = pictures(&["lego-hash-views/view_000.png", "lego-hash-views/view_001.png"]);
        assert_eq!(names("--orbit 2", 2).unwrap(), (path("lego-hash-views"), two));
        assert_eq!(names("--orbit 2 -o a.mp4", 2).unwrap(), (path("a.mp4"), Place::Film(path("a.mp4"), 24.0)));
        assert_eq!(names("--orbit 2 -o a.MP4 --fps 12.5", 2).unwrap().1, Place::Film(path("a.MP4"), 12.5));
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        for (line, n, word) in [
            ("-o a.mp4", 1, "not a film"),
            ("-o a.png --orbit 3", 3, "one picture"),
            ("-o a.jpg", 1, "jpg"),
            ("-o a --orbit 3 --fps 9", 3, "--fps"),
        ] {
            let error = names(line, n).unwrap_err();
            assert!(error.what.contains(word) && !error.remedy.is_empty(), "{error}");
        }
    }
}
