//! `retort eval`: how near a field comes to photos.

use std::path::Path;
use std::time::Instant;

use retort_fields::compose::Subject;
use retort_fields::data::Photo;
use retort_fields::device;
use retort_fields::error::Result;
use retort_fields::field::RenderOptions;

use super::train::exists;
use super::{Stop, measure, open};
use crate::cli::{self, Common};
use crate::output;
use crate::pictures::Picture;
use crate::report::{Done, Report, clock};

/// Runs the verb.
///
/// # Errors
/// When the field or the photos are bad, the picture cannot be written, or the run is interrupted.
pub fn run(args: &cli::Eval, common: &Common, report: &mut Report) -> Result<(), Stop> {
    let started = Instant::now();
    open::peek(&args.input)?;
    exists(&args.data)?;
    if let Some(out) = &args.out {
        output::check(out, common.overwrite)?;
    }
    let (field, made) = open::load(&args.input, &device::choose(&common.device)?)?;
    let mut dataset = measure::load(&args.data, &[args.split], report)?;
    measure::reframe(&mut dataset, field.scene());
    let photos = measure::chosen(&dataset, args.split)?;
    let over = measure::background(&made);

    let scores = measure::on_photos(&field, &photos, over, report)?;
    for (name, psnr, ssim) in &scores.views {
        report.detail(&format!("{name}: PSNR {psnr:.2} dB, SSIM {ssim:.4}"));
    }
    let bytes = args.out.as_deref().map(|out| write_pair(&field, photos[0], over, out)).transpose()?;
    let seconds = started.elapsed().as_secs_f32();
    let done = Done {
        out: args.out.as_deref().map(|out| out.display().to_string()),
        seconds: Some(seconds),
        bytes,
        psnr: Some(scores.psnr),
        ssim: Some(scores.ssim),
        ..Done::default()
    };
    let quality = format!("PSNR {:.2} dB, SSIM {:.4}", scores.psnr, scores.ssim);
    let (n, split, took) = (photos.len(), measure::split_name(args.split), clock(f64::from(seconds)));
    let picture = done.out.as_deref().map_or_else(String::new, |out| format!("\n  {out}: photo and field"));
    report.done(&done, &format!("{quality} on {n} {split} photos in {took}{picture}"));
    Ok(())
}

/// Photo and field side by side.
fn write_pair(field: &Subject, photo: &Photo, over: [f32; 3], out: &Path) -> Result<u64> {
    let frame = field.render(&photo.camera, &RenderOptions::default());
    Picture::side_by_side(&[Picture::of_photo(photo, over), Picture::of_frame(&frame, over)]).write_png(out)
}
