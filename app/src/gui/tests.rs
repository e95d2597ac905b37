//! The window as a person would use it: clicks and keys through the toolkit into the real state, pictures compared.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use retort_fields::compose::Edit;
use retort_fields::registry::Kind;

use super::app::App;
use super::jobs::Phase;
use super::pictures::{Image, Mode};
use super::state::{Dialog, Purpose, State};

/// Small enough that software draws its viewport at once.
const SIZE: [f32; 2] = [780.0, 460.0];
/// A point of the viewport, right of its middle.
const INSIDE: [f32; 2] = [400.0, 240.0];
/// A conversion of a second.
const TINY: &str = "convert.rays=256\nconvert.views=2\nconvert.view_size=32\nconvert.growth=[]\nfield.resolution=32";

struct Window {
    harness: Harness<'static, App>,
}

impl Window {
    fn open(files: &[PathBuf]) -> Self {
        let files = files.to_vec();
        let builder = Harness::builder().with_size(Vec2::from(SIZE)).wgpu();
        let harness =
            builder.build_eframe(move |cc| App::new(&cc.egui_ctx, "cpu".into(), None, &files).expect("threads"));
        Self { harness }
    }

    /// Frames until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&State) -> bool) {
        // Minutes, because the machine may be busy; on a free one each wait is over in a second.
        for _ in 0..20_000 {
            self.harness.step();
            if done(self.state()) {
                self.harness.step();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let phases: Vec<_> = self.state().jobs.rows().iter().map(|row| (&row.phase, &row.progress)).collect();
        panic!("{what}: not within minutes; {:?}; {phases:?}", self.state().troubles);
    }

    fn state(&self) -> &State {
        &self.harness.state().state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.harness.state_mut().state
    }

    fn click(&mut self, label: &str) {
        // What was changed since the last frame may have moved the button.
        self.harness.step();
        self.harness.step();
        self.harness.get_by_role_and_label(Role::Button, label).click();
        self.harness.step();
        self.harness.step();
    }

    fn press(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.step();
        self.harness.step();
    }

    /// The whole picture of what is open, once it is drawn.
    fn picture(&mut self) -> Image {
        // A frame says what is wanted before it can be drawn, and the first of all decides from where.
        self.harness.step();
        self.harness.step();
        self.until("a picture", |state| !state.homing && state.pictures.settled().is_some());
        let drawn = self.state().pictures.newest().expect("drawn");
        drawn.images.as_ref().expect("a picture").first().expect("of one scene").clone()
    }

    /// Answers the dialog for a name.
    fn name(&mut self, path: &Path, button: &str) {
        match &mut self.state_mut().dialog {
            Some(Dialog::Name(_, text)) => *text = path.display().to_string(),
            other => panic!("{other:?}"),
        }
        self.harness.step();
        self.click(button);
    }
}

/// How far the darkest and the brightest value lie apart, 0 to 255.
fn contrast(image: &Image) -> u8 {
    let values = || image.rgba.chunks_exact(4).flat_map(|p| p[..3].iter().copied());
    values().max().unwrap_or(0) - values().min().unwrap_or(0)
}

/// Mean difference of two pictures of one size, 0 to 255.
fn difference(a: &Image, b: &Image) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let sum: f64 = a.rgba.iter().zip(&b.rgba).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / a.rgba.len() as f64
}

#[test]
fn the_demo_is_converted_cropped_undone_saved_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let scene = folder.path().join("scene.toml");
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let teacher = window.picture();
    assert!(contrast(&teacher) > 100, "the picture is blank");
    let screen = window.harness.render().expect("a screenshot");
    let column = (40..60).map(|i| screen.get_pixel(INSIDE[0] as u32 - 20, 5 * i));
    let colours: HashSet<_> = column.map(|pixel| pixel.0).collect();
    assert!(colours.len() > 5, "the viewport shows nothing: {colours:?}");

    let recipe = &mut window.state_mut().convert.recipe;
    (recipe.kind, recipe.steps, recipe.set) = (Kind::Voxels, "12".into(), TINY.into());
    window.click("Convert");
    window.until("the student", |state| !state.jobs.rows().is_empty() && !state.jobs.is_busy());
    assert_eq!(window.state().jobs.rows()[0].phase, Phase::Done);
    let (item, asset) = window.state().selection().expect("the student is selected");
    assert_eq!((asset.field.kind(), item.name.as_str(), asset.path.is_none()), (Kind::Voxels, "demo-voxels", true));
    assert_eq!(window.state().document().items().map(|i| i.visible).collect::<Vec<_>>(), [false, true]);
    window.click("Clear finished");
    let student = window.picture();
    assert!(contrast(&student) > 60 && difference(&student, &teacher) > 0.1, "{}", difference(&student, &teacher));

    window.click("Add edit");
    window.click("Crop box");
    let edits = |window: &Window| window.state().selection().map_or(0, |(item, _)| item.edits.len());
    assert_eq!(edits(&window), 1);
    assert!(matches!(window.state().selection().unwrap().0.edits[0], Edit::Crop(_)));
    let cropped = window.picture();
    assert!(difference(&cropped, &student) > 0.1, "the crop is not seen: {}", difference(&cropped, &student));
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!(edits(&window), 0);
    assert_eq!(difference(&window.picture(), &student), 0.0, "undone");
    window.press(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(edits(&window), 1);

    window.press(Modifiers::COMMAND | Modifiers::SHIFT, Key::S);
    assert!(matches!(window.state().dialog, Some(Dialog::Name(Purpose::SaveScene(None), _))));
    window.name(&scene, "Save");
    window.until("saving", |state| !state.history.is_changed());
    assert!(scene.is_file() && folder.path().join("demo-voxels.safetensors").is_file());
    assert!(folder.path().join("demo.safetensors").is_file(), "the teacher is in the scene as well");

    let mut again = Window::open(&[scene]);
    again.until("the scene", |state| state.document().len() == 2);
    let entries = |window: &Window| window.state().document().items().map(|i| i.entry("f".into())).collect::<Vec<_>>();
    assert_eq!(entries(&again), entries(&window));
    again.picture();
    again.state_mut().orbit = window.state().orbit;
    let (reopened, kept) = (again.picture(), window.picture());
    assert!(difference(&reopened, &kept) < 0.5, "{}", difference(&reopened, &kept));
    assert!(difference(&reopened, &teacher) > 0.5, "and it is not just any picture");
}

#[test]
fn keys_do_not_fire_in_text_fields_and_questions_are_asked() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    window.press(Modifiers::NONE, Key::H);
    assert!(!window.state().selection().unwrap().0.visible, "H hides");
    window.press(Modifiers::COMMAND, Key::Z);
    window.harness.get_by_role_and_label(Role::TextInput, "Name").focus();
    window.harness.step();
    window.press(Modifiers::NONE, Key::H);
    window.press(Modifiers::NONE, Key::Delete);
    assert!(window.state().selection().is_some_and(|(item, _)| item.visible), "H is a letter here");
    window.harness.get_by_role_and_label(Role::TextInput, "Name").type_text("x");
    window.harness.step();
    assert!(window.state().selection().unwrap().0.name.contains('x') && window.state().history.is_changed());
    window.press(Modifiers::NONE, Key::Escape);
    window.harness.step();

    window.press(Modifiers::NONE, Key::F1);
    assert_eq!(window.state().dialog, Some(Dialog::Keys));
    window.click("Close");
    window.press(Modifiers::COMMAND, Key::Q);
    assert!(matches!(window.state().dialog, Some(Dialog::Unsaved(_))) && !window.state().close);
    window.click("Cancel");
    assert!(window.state().dialog.is_none());
    window.press(Modifiers::COMMAND, Key::Z);
    window.press(Modifiers::COMMAND, Key::Q);
    assert!(window.state().close, "nothing would be lost");
}

#[test]
fn a_file_that_cannot_be_opened_is_told_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    std::fs::write(&path, "no field").unwrap();
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let before = window.state().document().clone();
    window.press(Modifiers::COMMAND, Key::O);
    window.name(&path, "Open");
    window.until("an answer", |state| !state.troubles.is_empty());
    let trouble = window.state().troubles[0].clone();
    assert!(trouble.file.as_ref() == Some(&path) && !trouble.remedy.is_empty(), "{trouble:?}");
    window.harness.get_by_label_contains("bad.safetensors did not work");
    window.click("OK");
    assert!(window.state().troubles.is_empty() && *window.state().document() == before);
    // Photos are for training.
    window.state_mut().open(folder.path());
    assert_eq!(window.state().train.path(), folder.path());
}

#[test]
fn a_drag_turns_the_scene_and_modes_change_the_picture() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let first = window.picture();
    let (at, azimuth) = (eframe::egui::Pos2::from(INSIDE), window.state().orbit.azimuth);
    window.harness.drag_at(at);
    window.harness.step();
    window.harness.hover_at(at + eframe::egui::vec2(40.0, 0.0));
    window.harness.step();
    window.harness.drop_at(at + eframe::egui::vec2(40.0, 0.0));
    window.harness.step();
    assert_ne!(window.state().orbit.azimuth, azimuth);
    let turned = window.picture();
    assert!(difference(&turned, &first) > 1.0);
    window.press(Modifiers::SHIFT, Key::F);
    assert!(difference(&window.picture(), &first) < 0.5, "back where it began");
    window.state_mut().mode = Mode::Opacity;
    window.harness.step();
    window.until("the mode", |state| {
        state.pictures.newest().is_some_and(|drawn| drawn.whole && drawn.view.mode == Mode::Opacity)
    });
    let drawn = window.state().pictures.newest().unwrap();
    let grey = drawn.images.as_ref().unwrap()[0].rgba.chunks_exact(4).all(|p| p[0] == p[1] && p[1] == p[2]);
    assert!(grey && contrast(&drawn.images.as_ref().unwrap()[0]) > 200);
}

#[test]
fn a_camera_path_is_made_played_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let first = window.picture();
    window.press(Modifiers::NONE, Key::T);
    assert!(window.state().timeline.shown);
    window.click("Add key");
    window.state_mut().orbit.azimuth += 1.2;
    window.press(Modifiers::NONE, Key::Enter);
    let times: Vec<f32> = window.state().document().path().keyframes.iter().map(|key| key.time).collect();
    assert_eq!(times, [0.0, 2.0]);
    let second = window.picture();
    assert!(contrast(&second) > 60);

    // Space moves the camera from the start to where it was, and stops there.
    let end = window.state().orbit.azimuth;
    window.press(Modifiers::NONE, Key::Space);
    assert!(window.state().timeline.playing && window.state().orbit.azimuth < end - 0.5);
    window.until("the end of the way", |state| !state.timeline.playing);
    assert!((window.state().orbit.azimuth - end).abs() < 1e-3);
    let again = window.picture();
    assert!((again.width, again.height) != (first.width, first.height), "the panel takes its place");
    assert_eq!(difference(&again, &second), 0.0);

    // A click on the axis, halfway between the keys (the axis shows four seconds).
    let panel = window.harness.get_by_role_and_label(Role::Button, "Add key").rect();
    let at = eframe::egui::pos2(0.25 * SIZE[0], panel.bottom() + 18.0);
    window.harness.drag_at(at);
    window.harness.step();
    window.harness.drop_at(at);
    window.harness.step();
    window.harness.step();
    let (time, azimuth) = (window.state().timeline.at, window.state().orbit.azimuth);
    assert!((0.8..1.2).contains(&time) && (0.4..0.8).contains(&(end - azimuth)), "{time} s, {azimuth}");

    let frames = folder.path().join("frames");
    window.state_mut().timeline.size = [48, 32];
    window.state_mut().change_path("Change fps", None, |path| path.fps = 2.0);
    window.click("Export frames…");
    window.name(&frames, "Export");
    window.until("the frames", |state| state.news.contains("frames") && !state.timeline.is_busy());
    let picture = |i: usize| image::open(frames.join(format!("view_00{i}.png"))).expect("a picture").into_rgb8();
    assert_eq!(std::fs::read_dir(&frames).unwrap().count(), 4);
    assert!(picture(0).dimensions() == (48, 32) && picture(0) != picture(3));

    window.press(Modifiers::COMMAND, Key::Z);
    window.press(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.state().document().path().keyframes.len(), 1, "one action, one step");
}
