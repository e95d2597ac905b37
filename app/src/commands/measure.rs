//! How good a field is: against photos, or against the field that taught it.

use std::ops::Deref;

use glam::{Mat3A, Vec3A};
use retort_distill::evaluate::{Scores, evaluate};
use retort_distill::task::Progress;
use retort_fields::data::{self, Dataset, LoadOptions, Photo, Split};
use retort_fields::error::{Error, Result};
use retort_fields::field::{Field, RenderOptions, Scene};
use retort_fields::files::Provenance;
use retort_fields::metrics;
use retort_fields::registry::AnyField;

use super::{Stop, WHITE};
use crate::report::Report;
use crate::{interrupt, views};

/// Pixels that are measured after training: 50 views of 200², or 7 of 960 × 540.
const PIXELS: u64 = 4_000_000;
/// Views on which a student is compared with its teacher, and their side in pixels: that of the views which the fast
/// presets teach on, because Gaussians are drawn for a size of pixel and look wrong in another (24 dB where 37 are right).
const TEACHER_VIEWS: (usize, u32) = (4, 200);

/// Loads posed photos and says what was left out.
///
/// # Errors
/// As [`data::load`].
pub fn load(path: &std::path::Path, only: &[Split], report: &Report) -> Result<Dataset> {
    let dataset = data::load(path, &LoadOptions { only: only.to_vec(), ..LoadOptions::default() })?;
    if let Some(first) = dataset.skipped.first() {
        let (n, name) = (dataset.skipped.len(), path.display());
        report.note(&format!("{name}: {n} frames are left out, the first: {first}"));
        dataset.skipped[1..].iter().for_each(|line| report.detail(line));
    }
    Ok(dataset)
}

/// What transparent photos were put over, sRGB.
pub fn background(provenance: &Provenance) -> [f32; 3] {
    provenance.background.unwrap_or(WHITE)
}

/// The background to note for a field made from these photos: none where they are opaque.
pub fn background_of(dataset: &Dataset) -> Option<[f32; 3]> {
    dataset.photos.iter().any(Photo::has_alpha).then_some(WHITE)
}

/// Moves the photos' cameras into the frame of a field that was made from the same reconstruction: the photos may have
/// been normalised differently, for example because some of them are missing here.
pub fn reframe(dataset: &mut Dataset, scene: &Scene) {
    let (from, to) = (dataset.scene_from_dataset, scene.scene_from_dataset);
    if from == to {
        return;
    }
    let turn = Mat3A::from_quat(to.rotation * from.rotation.inverse());
    for photo in &mut dataset.photos {
        let pose = &mut photo.camera.world_from_camera;
        let position = to.point(from.inverse_point(pose.translation.into()));
        (pose.matrix3, pose.translation) = (turn * pose.matrix3, Vec3A::from(position));
        photo.near_far = photo.near_far.map(|range| range.map(|d| d * to.scale / from.scale));
    }
    dataset.scene_from_dataset = to;
    (dataset.bounds, dataset.unbounded) = (scene.bounds, scene.unbounded);
}

/// The photos of a split.
///
/// # Errors
/// When there is none.
pub fn chosen(dataset: &Dataset, split: Split) -> Result<Vec<&Photo>> {
    let photos = dataset.split(split);
    if photos.is_empty() {
        let name = split_name(split);
        return Err(Error::new(format!("there is no {name} photo"))
            .file(&dataset.path)
            .remedy("choose another --split"));
    }
    Ok(photos)
}

/// A split's name on the command line.
pub fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "test",
        Split::Val => "val",
    }
}

/// As many photos, evenly spread, as measuring at the end of a training may cost.
pub fn affordable<'a>(photos: &[&'a Photo]) -> Vec<&'a Photo> {
    let pixels: u64 = photos.iter().map(|p| u64::from(p.camera.width) * u64::from(p.camera.height)).sum();
    let n = photos.len() as u64;
    let keep = if pixels <= PIXELS { n } else { (n * PIXELS / pixels).max(1) };
    (0..keep).map(|i| photos[(i * n / keep) as usize]).collect()
}

/// PSNR and SSIM on photos, told as progress.
///
/// # Errors
/// When a picture cannot be measured, or the run is interrupted.
pub fn on_photos(
    field: &impl Deref<Target = dyn Field>,
    photos: &[&Photo],
    over: [f32; 3],
    report: &mut Report,
) -> Result<Scores, Stop> {
    report.begin(None);
    let mut sum = 0.0;
    let mut tell = |done: usize, total: usize, psnr: f32| {
        sum += psnr;
        report.progress(&step("measuring", done, total, Some(sum / done as f32)));
        !interrupt::requested()
    };
    let scores = evaluate(field, photos, over, &mut tell);
    report.end();
    if interrupt::requested() {
        return Err(Stop::interrupted());
    }
    Ok(scores?)
}

/// PSNR of a student against its teacher in dB: the mean over a few views around the scene.
///
/// # Errors
/// When a picture cannot be measured, or the run is interrupted.
pub fn on_teacher(
    student: &AnyField,
    teacher: &impl Deref<Target = dyn Field>,
    over: [f32; 3],
    report: &mut Report,
) -> Result<f32, Stop> {
    let (n, side) = TEACHER_VIEWS;
    let options = RenderOptions::default();
    report.begin(None);
    let mut sum = 0.0;
    for (i, camera) in views::orbit(teacher.scene(), n, [side; 2]).iter().enumerate() {
        let [student, teacher] = [&**student, &**teacher].map(|f| f.render(camera, &options).rgb_over(over));
        sum += metrics::psnr(&student, &teacher)? as f32;
        report.progress(&step("comparing", i + 1, n, Some(sum / (i + 1) as f32)));
        if interrupt::requested() {
            report.end();
            return Err(Stop::interrupted());
        }
    }
    report.end();
    Ok(sum / n as f32)
}

/// Progress of work that has no loss.
pub fn step(stage: &str, done: usize, total: usize, psnr: Option<f32>) -> Progress {
    Progress { stage: stage.into(), step: done as u32, of: total as u32, loss: f32::NAN, psnr, note: None }
}

#[cfg(test)]
mod tests {
    use glam::{Quat, Vec3};
    use retort_fields::data::{Similarity, procedural};

    use super::*;

    #[test]
    fn photos_move_into_the_fields_frame() {
        let mut moved = procedural::dataset(8, 3, 1, 1);
        let kept = moved.clone();
        let turned =
            Similarity { scale: 0.25, rotation: Quat::from_rotation_z(0.7), translation: Vec3::new(0.5, -1.0, 2.0) };
        let scene = Scene { scene_from_dataset: turned, ..Scene::default() };
        reframe(&mut moved, &scene);
        // A point of the dataset lies on the same pixel, whichever frame photo and point are in.
        let point = Vec3::new(0.2, -0.1, 0.3);
        for (a, b) in kept.photos.iter().zip(&moved.photos) {
            let (before, _) = a.camera.project(kept.scene_from_dataset.point(point)).expect("in front");
            let (after, _) = b.camera.project(turned.point(point)).expect("in front");
            assert!(before.distance(after) < 1e-3, "{before} became {after}");
            assert!(
                b.camera.project(kept.scene_from_dataset.point(point)).is_none_or(|(p, _)| p.distance(before) > 0.1)
            );
        }
        let once = moved.photos[0].camera.clone();
        reframe(&mut moved, &scene);
        assert_eq!(moved.photos[0].camera, once, "what is in the frame stays");
    }

    #[test]
    fn what_can_be_afforded_is_spread_evenly() {
        let dataset = procedural::dataset(1, 6, 0, 1);
        let photos = dataset.split(Split::Train);
        assert_eq!(affordable(&photos).len(), 6);
        let mut large = dataset.clone();
        for photo in &mut large.photos {
            (photo.camera.width, photo.camera.height) = (1000, 2000);
        }
        let photos = large.split(Split::Train);
        let some = affordable(&photos);
        assert_eq!(some.iter().map(|p| &p.name).collect::<Vec<_>>(), [&photos[0].name, &photos[3].name]);
    }
}
