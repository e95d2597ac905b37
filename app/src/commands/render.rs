//! `retort render`: pictures of a field or a scene.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use retort_fields::device;
use retort_fields::error::{Error, Result};
use retort_fields::field::{RenderOptions, Scene};
use retort_shaders::Camera;

use super::{Stop, measure, open};
use crate::cli::{self, Common};
use crate::pictures::Picture;
use crate::report::{Done, Report, clock, size};
use crate::{interrupt, output, views};

/// The size of a view where nothing says otherwise, pixels.
const SIZE: [u32; 2] = [512, 512];

/// Runs the verb.
///
/// # Errors
/// When the field or the cameras are bad, a picture cannot be written, or the run is interrupted.
pub fn run(args: &cli::Render, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    open::peek(&args.input)?;
    let given = args.camera.as_deref().map(views::read).transpose()?;
    let n = given.as_ref().map_or(args.orbit.unwrap_or(1) as usize, Vec::len);
    let (out, paths) = places(args, n)?;
    if paths.len() > 1 || paths[0] != out {
        output::make_folder(&out)?;
    }
    for path in &paths {
        output::check(path, common.overwrite)?;
    }
    let (field, made) = open::load(&args.input, &device::choose(&common.device)?)?;
    let over = measure::background(&made);
    let cameras = cameras(given, args, n, field.scene());

    report.begin(None);
    let mut bytes = 0;
    for (i, (camera, path)) in cameras.iter().zip(&paths).enumerate() {
        if interrupt::requested() {
            report.end();
            return Err(Stop::interrupted());
        }
        let frame = field.render(camera, &RenderOptions::default());
        bytes += Picture::of_frame(&frame, over).write_png(path)?;
        report.progress(&measure::step("rendering", i + 1, paths.len(), None));
    }
    let seconds = started.elapsed().as_secs_f32();
    let done =
        Done { out: Some(out.display().to_string()), seconds: Some(seconds), bytes: Some(bytes), ..Done::default() };
    let pictures = if paths.len() == 1 { "1 picture".into() } else { format!("{} pictures", paths.len()) };
    let took = clock(f64::from(seconds));
    report.done(&done, &format!("{}: {pictures}, {} in {took}", out.display(), size(bytes)));
    Ok(())
}

/// The `n` views that the flags ask for: those given in a file, a circle, or one view from aside.
fn cameras(given: Option<Vec<Camera>>, args: &cli::Render, n: usize, scene: &Scene) -> Vec<Camera> {
    match (given, args.size) {
        (Some(given), Some([width, height])) => given.iter().map(|camera| camera.resized(width, height)).collect(),
        (Some(given), None) => given,
        (None, size) => views::orbit(scene, n, size.unwrap_or(SIZE)),
    }
}

/// The place of the result, and those of its pictures: itself, or files in it.
fn places(args: &cli::Render, n: usize) -> Result<(PathBuf, Vec<PathBuf>)> {
    let one = n == 1 && args.orbit.is_none();
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = output::stem(&args.input);
        PathBuf::from(if one { format!("{stem}.png") } else { format!("{stem}-views") })
    });
    let ending = out.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    match ending.as_deref() {
        // A folder may be called anything if it is there.
        _ if out.is_dir() => Ok(in_folder(out, n)),
        Some("png") if one => Ok((out.clone(), vec![out])),
        Some("png") => Err(wrong(&out, &format!("{n} views do not fit into one picture"), "name a folder with -o")),
        Some("mp4") => {
            Err(wrong(&out, "this version writes no films", "name a folder with -o, for a PNG of each view"))
        }
        Some(e @ ("jpg" | "jpeg" | "webp" | "gif" | "exr" | "webm" | "mov")) => {
            Err(wrong(&out, &format!("this version writes no .{e} files"), "let the name end in .png"))
        }
        _ => Ok(in_folder(out, n)),
    }
}

fn in_folder(folder: PathBuf, n: usize) -> (PathBuf, Vec<PathBuf>) {
    let digits = n.saturating_sub(1).to_string().len().max(3);
    let paths = (0..n).map(|i| folder.join(format!("view_{i:0digits$}.png"))).collect();
    (folder, paths)
}

fn wrong(out: &Path, what: &str, remedy: &str) -> Error {
    Error::new(what).file(out).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str, n: usize) -> Result<(PathBuf, Vec<PathBuf>)> {
        use clap::Parser;
        let words = format!("retort render x/lego-hash.safetensors {line}");
        match cli::Cli::try_parse_from(words.split_whitespace()).expect("good usage").command {
            Some(cli::Command::Render(args)) => places(&args, n),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_view_is_a_picture_and_several_are_a_folder() {
        let path = PathBuf::from;
        assert_eq!(names("", 1).unwrap(), (path("lego-hash.png"), vec![path("lego-hash.png")]));
        assert_eq!(names("-o a.PNG", 1).unwrap().1, [path("a.PNG")]);
        assert_eq!(names("-o a", 1).unwrap().1, [path("a/view_000.png")]);
        let two = vec![path("lego-hash-views/view_000.png"), path("lego-hash-views/view_001.png")];
        assert_eq!(names("--orbit 2", 2).unwrap(), (path("lego-hash-views"), two));
        assert_eq!(names("--orbit 2000", 2000).unwrap().1[7], path("lego-hash-views/view_0007.png"));
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        for (line, n, word) in
            [("-o a.mp4", 1, "films"), ("-o a.png --orbit 3", 3, "one picture"), ("-o a.jpg", 1, "jpg")]
        {
            let error = names(line, n).unwrap_err();
            assert!(error.what.contains(word) && !error.remedy.is_empty(), "{error}");
        }
    }
}
