use retort_distill::preset::Preset;
use retort_fields::compose::Edit;
use retort_fields::compose::region::Corners;
use retort_fields::registry::Kind;

use super::*;
use crate::views;

fn demo() -> Object {
    super::super::background::demo("cpu").expect("the built-in teacher").0.into()
}

fn view(object: &Object, key: u64, size: [u32; 2]) -> View {
    let camera = views::orbit(object.field.scene(), 1, size).remove(0);
    let scenes = vec![Source { key, objects: vec![object.clone()] }];
    View { scenes, camera, mode: Mode::Colour, background: [1.0; 3], live: false, marked: None }
}

fn wait(pictures: &Pictures, done: impl Fn(&Drawn) -> bool) -> Arc<Drawn> {
    for _ in 0..40_000 {
        if let Some(drawn) = pictures.newest().filter(|drawn| done(drawn)) {
            return drawn;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no such picture within minutes");
}

#[test]
fn the_whole_picture_is_what_render_draws() {
    let pictures = Pictures::start(|| ()).unwrap();
    let object = demo();
    let view = view(&object, 1, [200, 160]);
    pictures.want(view.clone());
    let drawn = wait(&pictures, |d| d.whole);
    let images = drawn.images.as_ref().expect("drawn");
    let frame = object.field.render(&view.camera, &RenderOptions::default()).rgb_over([1.0; 3]);
    let most = |other: &[f32]| {
        let bytes = images[0].rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]);
        bytes.zip(other).map(|(b, v)| (f32::from(b) / 255.0 - v).abs()).fold(0.0, f32::max)
    };
    assert!(most(&frame) < 0.01, "{}", most(&frame));
    let turned = views::orbit(object.field.scene(), 3, [200, 160]).remove(1);
    let other = object.field.render(&turned, &RenderOptions::default()).rgb_over([1.0; 3]);
    assert!(most(&other) > 0.2, "another view is another picture");
    // A point that is seen is projected to where it was seen.
    let seen = drawn.point(0, Vec2::splat(0.5)).expect("the middle is not empty");
    let (pixel, _) = view.camera.project(seen).expect("in front");
    assert!(pixel.distance(Vec2::new(100.5, 80.5)) < 0.1, "{pixel}");
    assert!(drawn.point(0, Vec2::ZERO).is_none(), "the corner is empty");
}

/// Prints how many pictures a second there are, and how large, while one goes around: `cargo test --release
/// --workspace slow_pictures -- --ignored --nocapture`.
#[test]
#[ignore = "measures for half a minute"]
fn slow_pictures_while_moving() {
    let device = retort_fields::device::choose("cpu").expect("there is always a CPU");
    let many = [("field.initial".to_string(), "150000".to_string())];
    let preset = Preset::load("fast", Kind::Gaussians, &many).expect("sound values");
    let gaussians = preset.field.init(&Scene::default(), 1, &device).expect("sound values");
    for (name, object) in [("hash grid of the demo", demo()), ("150,000 Gaussians", gaussians.into())] {
        let pictures = Pictures::start(|| ()).unwrap();
        let turns = views::orbit(object.field.scene(), 720, [960, 540]);
        let (mut times, mut sizes) = (Vec::new(), Vec::new());
        for (i, camera) in turns.iter().enumerate() {
            let begun = Instant::now();
            pictures.want(View { camera: camera.clone(), ..view(&object, 1, [960, 540]) });
            let drawn = wait(&pictures, |drawn| drawn.view.camera == *camera);
            times.push(begun.elapsed().as_secs_f32());
            sizes.push(drawn.images.as_ref().expect("a picture")[0].width);
            if i > 20 && times.iter().sum::<f32>() > 10.0 {
                break;
            }
        }
        times.sort_by(f32::total_cmp);
        sizes.sort_unstable();
        let (time, width) = (times[times.len() / 2], sizes[sizes.len() / 2]);
        println!("{name}: {:.0} pictures a second, {width} of 960 pixels wide (medians)", 1.0 / time);
        assert!(width >= LEAST as usize);
    }
}

#[test]
fn a_graphics_card_draws_what_tensors_draw() {
    // Any adapter serves here, a processor's as well.
    let pictures = Pictures::start_on(|| Gpu::headless().ok(), || ()).unwrap();
    let few = [("field.initial".to_string(), "400".to_string())];
    let preset = Preset::load("fast", Kind::Gaussians, &few).expect("sound values");
    let device = retort_fields::device::choose("cpu").expect("there is always a CPU");
    let field = preset.field.init(&Scene::default(), 1, &device).expect("sound values");
    assert!(on_gpu(Gpu::headless().ok().as_ref(), &Subject::from(&field), None).is_some());
    let object = Object::from(field);
    let view = view(&object, 1, [64, 48]);
    pictures.want(view.clone());
    let drawn = wait(&pictures, |d| d.whole);
    let seen = drawn.images.as_ref().expect("drawn")[0].rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]);
    let frame = object.field.render(&view.camera, &RenderOptions::default()).rgb_over([1.0; 3]);
    let off: Vec<f32> = seen.zip(&frame).map(|(b, v)| (f32::from(b) / 255.0 - v).abs()).collect();
    let mean = off.iter().sum::<f32>() / off.len() as f32;
    assert!(mean < 3e-3, "{mean}");
    assert!(frame.iter().any(|v| (v - frame[0]).abs() > 0.05), "there is something to see");
}

#[test]
fn the_latest_wish_wins_and_errors_are_told() {
    let pictures = Pictures::start(|| ()).unwrap();
    let object = demo();
    for i in 0..20 {
        let mut next = view(&object, 1, [64, 48]);
        next.background = [i as f32 / 20.0; 3];
        pictures.want(next);
    }
    let drawn = wait(&pictures, |d| d.whole && d.view.background[0] > 0.9);
    assert!(drawn.number < 20 && drawn.images.is_ok(), "{} were drawn", drawn.number);
    let mut bad = object.clone();
    bad.edits = vec![Edit::Crop(Corners { min: [1.0; 3], max: [0.0; 3] })];
    pictures.want(view(&bad, 2, [64, 48]));
    let drawn = wait(&pictures, |d| d.view.scenes[0].key == 2);
    assert!(drawn.images.as_ref().is_err_and(|p| p.what.contains("crop") && !p.remedy.is_empty()));
    let mut depth = view(&object, 1, [64, 48]);
    depth.mode = Mode::Depth;
    pictures.want(depth);
    let drawn = wait(&pictures, |d| d.whole && d.view.mode == Mode::Depth);
    assert_eq!(drawn.images.as_ref().expect("drawn")[0].rgba[..3], [0; 3], "nothing is black");
    for mode in [Mode::Normals, Mode::Occupancy] {
        let mut other = view(&object, 1, [64, 48]);
        other.mode = mode;
        pictures.want(other);
        let drawn = wait(&pictures, |d| d.whole && d.view.mode == mode);
        let image = &drawn.images.as_ref().expect("drawn")[0];
        let colours: std::collections::HashSet<_> = image.rgba.chunks_exact(4).collect();
        assert!(colours.len() > 5 && drawn.point(0, Vec2::splat(0.5)).is_some(), "{mode:?}: {}", colours.len());
    }
}

#[test]
fn two_scenes_are_compared() {
    let pictures = Pictures::start(|| ()).unwrap();
    let object = demo();
    let mut both = view(&object, 1, [64, 48]);
    let darker = Object { edits: vec![Edit::Brightness(0.5)], ..object.clone() };
    both.scenes.push(Source { key: 2, objects: vec![darker] });
    pictures.want(both.clone());
    let drawn = wait(&pictures, |d| d.whole);
    let [a, b, difference] = &drawn.images.as_ref().expect("drawn")[..] else { panic!("three") };
    let (middle, corner) = (4 * (24 * 64 + 32), 0);
    assert!(a.rgba[middle] > b.rgba[middle] && difference.rgba[middle] > 100);
    assert_eq!((difference.rgba[corner], a.rgba[corner]), (0, 255), "both show the background");
    both.scenes[1] = Source { key: 3, objects: vec![object] };
    pictures.want(both);
    let drawn = wait(&pictures, |d| d.whole && d.view.scenes[1].key == 3);
    let same = &drawn.images.as_ref().expect("drawn")[2];
    assert!(same.rgba.chunks_exact(4).all(|p| p[..3] == [0; 3]), "no difference");
}

#[test]
fn first_pictures_are_small_but_not_too_small() {
    assert_eq!(first_part([640, 480], 1e9), 1.0);
    assert!((first_part([640, 480], 640.0 * 480.0 / 16.0) - 0.25).abs() < 1e-6);
    assert_eq!(first_part([640, 480], 1.0), 0.1);
}
