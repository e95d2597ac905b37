//! Files of every format: what is written is recognised by its content, reads back as the same field, and looks the same.
//! The formats are walked by their registries.

use std::path::Path;

use burn::tensor::Device;
use retort_fields::compose::{Subject, open};
use retort_fields::field::{Field, RenderOptions, values};
use retort_fields::files::splats::{FORMATS, Splats};
use retort_fields::files::trainers::TRAINERS;
use retort_fields::files::upright as field;
use retort_fields::files::{Provenance, any};
use retort_fields::metrics::psnr;
use retort_fields::registry::{AnyField, Kind};
use retort_shaders::Camera;
use retort_tests::{cpu, stirred, tiny_scene};

/// A ball of Gaussians with a red pole (up in the file), harmonics and two opacities.
fn ball(n: usize, degree: u32) -> Splats {
    let mut splats = Splats::zeros(n, degree);
    for i in 0..n {
        let (u, turn) = ((i as f32 + 0.5) / n as f32, 2.399_963 * i as f32);
        let y = 1.0 - 2.0 * u;
        let flat = (1.0 - y * y).sqrt();
        splats.means[i] = [flat * turn.cos(), y, flat * turn.sin()];
        splats.log_scales[i] = [-2.6, -2.9, -3.4];
        let half = 0.3 * i as f32;
        splats.rotations[i] = [half.cos(), half.sin() * 0.6, half.sin() * 0.8, 0.0];
        splats.raw_opacity[i] = if i % 2 == 0 { 3.0 } else { 0.5 };
        // -Y is up.
        splats.sh_dc[i] = if y < -0.7 { [1.2, -1.2, -1.2] } else { [-0.6, 0.4 * turn.sin(), 0.7] };
    }
    for (k, v) in splats.sh_rest.iter_mut().enumerate() {
        *v = 0.12 * (0.7 * k as f32).sin();
    }
    splats.settled().expect("finite")
}

fn picture(field: &dyn Field) -> Vec<f32> {
    let centre = field.scene().bounds.centre();
    let views = Camera::orbit(centre, 3.2, 0.4, 2, 0.7, [64, 64]);
    views.iter().flat_map(|view| field.render(view, &RenderOptions::default()).rgb_over([1.0; 3])).collect()
}

fn save(field: &AnyField, path: &Path) -> u64 {
    any::save(field, &Provenance::default(), path).expect("a format that holds it").0
}

#[test]
fn every_format_of_gaussians_looks_the_same_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (original, _) = field::to_field(&ball(1500, 2), &cpu()).expect("sound");
    let before = picture(&*original);
    let mut written = 0;
    for format in FORMATS.iter().filter(|format| format.writes()) {
        // A name that says nothing: the content does.
        let named = folder.path().join(format!("ball.{}", format.endings()[0]));
        let bytes = save(&original, &named);
        assert_eq!(bytes, std::fs::metadata(&named).expect("written").len(), "{}", format.name());
        let path = folder.path().join("anything");
        std::fs::rename(&named, &path).expect("the same folder");
        let any::FileKind::Splats(found) = any::kind_of(&path).expect("readable") else { panic!("{}", format.name()) };
        assert_eq!(found.name(), format.name());
        let told = any::peek(&path).expect("its own file");
        assert_eq!((told.kind, told.tensors[0].1[0]), (Kind::Gaussians, 1500), "{}", format.name());
        let (loaded, made) = any::load(&path, &cpu()).expect("its own file");
        assert!(made.from.contains("anything"), "{}", made.from);
        let after = picture(&*loaded);
        let near = psnr(&after, &before).expect("one size");
        // `.splat` has no harmonics; the others lose what their bits cannot hold.
        let least = if format.name() == "splat" { 18.0 } else { 34.0 };
        assert!(near > least, "{}: {near:.1} dB", format.name());
        // The negative control: another ball does not pass for it.
        let other = field::to_field(&ball(1500, 0), &cpu()).expect("sound").0;
        let far = psnr(&picture(&*other), &before).expect("one size");
        assert!(far < least.max(30.0), "{far:.1} dB");
        written += 1;
    }
    assert!(written >= 3, "formats are registered");
}

/// From each format to each other: counts and places stay.
#[test]
fn every_format_goes_into_every_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let splats = ball(300, 1);
    let writers: Vec<_> = FORMATS.iter().filter(|format| format.writes()).collect();
    let (original, _) = field::to_field(&splats, &cpu()).expect("sound");
    for from in &writers {
        let first = folder.path().join(format!("a.{}", from.endings()[0]));
        save(&original, &first);
        for to in &writers {
            let second = folder.path().join(format!("b.{}", to.endings()[0]));
            let done = any::transcode(&first, &second).expect("both hold it").expect("both are of Gaussians");
            assert_eq!(done.count, 300, "{} to {}", from.name(), to.name());
            let extent = any::extent(&second).expect("readable").expect("Gaussians");
            let reach = extent.min.abs().max(extent.max.abs());
            assert!(
                reach.max_element() < 1.02 && reach.min_element() > 0.9,
                "{} to {}: {extent:?}",
                from.name(),
                to.name()
            );
        }
    }
    let none = any::transcode(&folder.path().join("a.ply"), &folder.path().join("c.safetensors")).expect("readable");
    assert!(none.is_none(), "our own files need a field");
}

/// Cut short anywhere, a file is an error that names it, never a field.
#[test]
fn files_that_are_cut_short_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (original, _) = field::to_field(&ball(64, 1), &cpu()).expect("sound");
    for format in FORMATS.iter().filter(|format| format.writes()) {
        let path = folder.path().join(format!("cut.{}", format.endings()[0]));
        let bytes = save(&original, &path);
        let whole = std::fs::read(&path).expect("written");
        for share in [0.1, 0.5, 0.9, 0.99] {
            std::fs::write(&path, &whole[..(share * bytes as f64) as usize]).expect("writable");
            // `.splat` is nothing but rows: a part of it that ends with one is whole.
            if let Ok((field, _)) = any::load(&path, &cpu()) {
                assert!(format.name() == "splat", "{} at {share}", format.name());
                assert!(field.params()[0].tensor.dims()[0] < 64);
            }
        }
    }
}

#[test]
fn kinds_that_a_format_cannot_hold_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let hash = stirred(Kind::Hash, &tiny_scene(false), 1);
    for format in FORMATS.iter().filter(|format| format.writes()) {
        let path = folder.path().join(format!("no.{}", format.endings()[0]));
        let error = any::save(&hash, &Provenance::default(), &path).expect_err("not Gaussians");
        assert!(error.remedy.contains("--to gaussians") && !path.exists(), "{error}");
    }
    let error = any::save(&hash, &Provenance::default(), &folder.path().join("no.docx")).expect_err("unknown");
    assert!(error.what.contains(".docx") && error.remedy.contains(".safetensors"), "{error}");
}

/// A field that another trainer's format holds is the same function after it: the same picture.
#[test]
fn every_format_of_trainers_that_is_written_gives_the_field_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut done = 0;
    for trainer in TRAINERS.iter().filter(|trainer| trainer.write.is_some()) {
        for kind in Kind::ALL {
            let field = stirred(*kind, &tiny_scene(false), 3);
            let path = folder.path().join(format!("{kind}.{}", trainer.endings[0]));
            if let Ok((_, notes)) = any::save(&field, &Provenance::default(), &path) {
                let (back, made) = any::load(&path, &cpu()).expect("its own file");
                assert_eq!(back.kind(), *kind, "{}: {notes:?} {:?}", trainer.name, made.notes);
                let near = psnr(&picture(&*back), &picture(&*field)).expect("one size");
                assert!(near > 35.0, "{} {kind}: {near:.1} dB", trainer.name);
                done += 1;
            } else {
                assert!(!path.exists(), "{} {kind}: nothing half-written", trainer.name);
            }
        }
    }
    assert_eq!(TRAINERS.iter().any(|trainer| trainer.write.is_some()), done > 0);
}

/// A mesh is written, opened again, drawn, and taught from like a field.
#[test]
fn a_field_becomes_a_mesh_and_a_mesh_a_teacher() {
    use retort_fields::mesh::export::{Method, Options, Paint, made, write, write_obj};
    let folder = tempfile::tempdir().expect("a folder");
    let (field, _) = field::to_field(&ball(3000, 0), &cpu()).expect("sound");
    let subject = Subject::from(&field);
    let mut stages = 0;
    for (method, paint) in [(Method::Density, Paint::Texture(256)), (Method::Depth, Paint::Vertices)] {
        let options = Options { method, resolution: 48, faces: 3000, paint, ..Options::default() };
        let mesh = made(&*subject, &options, [1.0; 3], &mut |_| {
            stages += 1;
            true
        });
        let mesh = mesh.expect("a ball has a surface").expect("nobody stopped it");
        assert!(mesh.report.watertight && mesh.report.triangles <= 3000, "{:?}", mesh.report);
        assert!(mesh.outline > 0.8, "{method:?}: outlines agree to {}", mesh.outline);
        assert!(mesh.picture_psnr > 18.0, "{method:?}: {} dB", mesh.picture_psnr);
        let path = folder.path().join("ball.glb");
        write(&mesh.mesh, true, "tests", &path).expect("writable");
        assert!(open::is_mesh(&path).expect("readable"));
        let (opened, _) = open::subject(&path, &Device::flex()).expect("our own file");
        assert!(matches!(opened, Subject::Mesh(_)));
        let obj = folder.path().join("ball.obj");
        write_obj(&mesh.mesh, "tests", &obj).expect("writable");
        let textured = matches!(paint, Paint::Texture(_));
        assert!(!textured || folder.path().join("ball.png").is_file() && folder.path().join("ball.mtl").is_file());
        let (again, _) = open::subject(&obj, &Device::flex()).expect("our own file");
        let near = psnr(&picture(&*again), &picture(&*opened)).expect("one size");
        assert!(near > 30.0, "{method:?}: the OBJ is {near:.1} dB from the GLB");
        // Up is up: the red pole is on top of the picture from aside.
        let view = Camera::look_at(glam::Vec3::new(3.5, 0.0, 0.0), glam::Vec3::ZERO, glam::Vec3::Z, 0.7, 65, 65);
        let frame = opened.render(&view, &RenderOptions::default());
        let pixels = values(frame.pixels.clone());
        let mean = |rows: std::ops::Range<usize>| {
            let mut sum = [0.0_f32; 4];
            for row in rows {
                for column in 0..65 {
                    let pixel = &pixels[5 * (65 * row + column)..][..5];
                    (0..4).for_each(|c| sum[c] += pixel[c]);
                }
            }
            [sum[0] / sum[3].max(1e-3), sum[2] / sum[3].max(1e-3)]
        };
        let first =
            (0..65).find(|row| (0..65).any(|x| pixels[5 * (65 * row + x) + 3] > 0.5)).expect("something is seen");
        let (top, middle) = (mean(first..first + 4), mean(30..36));
        assert!(top[0] > 0.5 && top[0] > top[1] + 0.2, "{method:?}: the pole is red: {top:?}");
        assert!(middle[1] > middle[0], "{method:?}: the belly is blue: {middle:?}");
        // What lessons ask of points is there, and its cover looks like it.
        let cover = open::field(&path, &Device::flex()).expect("our own file").0;
        let near = psnr(&picture(&*cover), &picture(&*opened)).expect("one size");
        assert!(near > 17.0, "{method:?}: {near:.1} dB");
    }
    assert!(stages >= 12, "every part was told: {stages}");
    let stopped = made(&*subject, &Options::default(), [1.0; 3], &mut |_| false).expect("no error");
    assert!(stopped.is_none());
    let high = Options { level: Some(1e9), method: Method::Density, resolution: 32, ..Options::default() };
    let error = made(&*subject, &high, [1.0; 3], &mut |_| true).expect_err("nothing is that dense");
    assert!(error.remedy.contains("--level"), "{error}");
}
