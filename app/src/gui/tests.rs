//! The window as a person would use it: clicks and keys through the toolkit into the real state, pictures compared.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, PointerButton, Pos2, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use retort_fields::compose::Edit;
use retort_fields::compose::region::{Part, Shape};
use retort_fields::mesh::export::{Method, Options, Paint};
use retort_fields::registry::Kind;

use super::app::App;
use super::jobs::Phase;
use super::pictures::{Image, Mode};
use super::select::Tool;
use super::state::{Compare, Dialog, Purpose, State};

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

    /// A drag over the picture with the main button, by the way of `path`.
    fn drag(&mut self, path: &[[f32; 2]]) {
        self.drag_with(Modifiers::NONE, path);
    }

    /// The same with keys that are held.
    fn drag_with(&mut self, modifiers: Modifiers, path: &[[f32; 2]]) {
        let at = |p: &[f32; 2]| Pos2::from(*p);
        let button =
            |pos: Pos2, pressed: bool| Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers };
        self.harness.hover_at(at(&path[0]));
        self.harness.step();
        self.harness.event(Event::ModifiersChanged(modifiers));
        self.harness.event(button(at(&path[0]), true));
        self.harness.step();
        for p in &path[1..] {
            self.harness.hover_at(at(p));
            self.harness.step();
        }
        self.harness.event(button(at(&path[path.len() - 1]), false));
        self.harness.event(Event::ModifiersChanged(Modifiers::NONE));
        self.harness.step();
        self.harness.step();
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
    let (at, azimuth) = (Pos2::from(INSIDE), window.state().orbit.azimuth);
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

/// Pixels that two pictures do not share.
fn others(a: &Image, b: &Image) -> usize {
    let differ = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 3);
    a.rgba.chunks_exact(4).zip(b.rgba.chunks_exact(4)).filter(differ).count()
}

#[test]
fn a_part_is_selected_erased_separated_and_undone() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let first = window.picture();
    window.press(Modifiers::NONE, Key::R);
    assert_eq!(window.state().tool, Tool::Rectangle);
    let azimuth = window.state().orbit.azimuth;
    let [x, y] = INSIDE;
    window.drag(&[[x - 30.0, y - 20.0], [x, y], [x + 30.0, y + 20.0]]);
    assert_eq!(window.state().orbit.azimuth, azimuth, "the camera stays");
    assert_eq!(window.state().part().expect("a selection").parts().len(), 1);
    assert!(!window.state().history.is_changed(), "a selection is nothing to save");
    let marked = window.picture();
    assert!(others(&marked, &first) > 100, "the selection is seen: {}", others(&marked, &first));

    // A ball less, then all that is left is erased.
    window.press(Modifiers::NONE, Key::O);
    window.drag_with(Modifiers::CTRL, &[[x, y], [x + 6.0, y], [x + 12.0, y]]);
    let parts = window.state().part().expect("a selection").parts().to_vec();
    assert!(matches!(parts[..], [Part::Add(_), Part::Remove(Shape::Sphere(_))]), "{parts:?}");
    window.press(Modifiers::NONE, Key::Delete);
    assert!(matches!(window.state().selection().unwrap().0.edits[..], [Edit::Erase(_)]));
    assert!(window.state().part().is_none() && window.state().history.is_changed());
    let erased = window.picture();
    assert!(others(&erased, &first) > 100 && others(&erased, &marked) > 100);
    window.press(Modifiers::COMMAND, Key::Z);
    assert!(window.state().part().is_some() && window.state().selection().unwrap().0.edits.is_empty());
    assert_eq!(others(&window.picture(), &window.state().pictures.newest().unwrap().images.as_ref().unwrap()[0]), 0);

    window.click("Separate");
    assert_eq!(window.state().document().len(), 2);
    let kinds = window.state().document().items().map(|item| item.edits[0].name()).collect::<Vec<_>>();
    assert_eq!(kinds, ["erase", "keep"]);
    let whole = window.picture();
    let (same, less) = (difference(&whole, &first), difference(&erased, &first));
    assert!(same * 4.0 < less, "the two together are what was there: {same} and {less}");
    window.press(Modifiers::COMMAND, Key::Z);
    assert!(window.state().document().len() == 1 && window.state().part().is_some());
}

#[test]
fn handles_move_turn_and_scale_and_a_drag_is_one_step() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let first = window.picture();
    let pivot = window.state().pivot().expect("a bounded object");
    let drawn = window.state().pictures.newest().unwrap();
    let rect = window.harness.get_by_label("picture").rect();
    let camera = window.state().orbit.camera(rect.width() as u32, rect.height() as u32);
    let (pixel, _) = camera.project(pivot).expect("in front");
    let middle = [rect.left() + pixel.x, rect.top() + pixel.y];
    for (key, tool) in [(Key::Num1, Tool::Move), (Key::Num3, Tool::Scale)] {
        window.press(Modifiers::NONE, key);
        assert_eq!(window.state().tool, tool);
        window.drag(&[middle, [middle[0] + 10.0, middle[1]], [middle[0] + 30.0, middle[1] - 10.0]]);
        let item = window.state().selection().unwrap().0.clone();
        assert!(if tool == Tool::Move { item.shift != [0.0; 3] } else { item.scale > 1.2 }, "{item:?}");
        assert!(others(&window.picture(), &first) > 200);
        window.press(Modifiers::COMMAND, Key::Z);
        assert!(window.state().selection().unwrap().0.is_plain(), "one step");
        window.press(Modifiers::NONE, key);
    }
    assert!(drawn.number > 0);

    // Two points measured, and the object made as large as they say.
    window.press(Modifiers::NONE, Key::M);
    let drawn = window.state().pictures.newest().unwrap();
    let state = window.state_mut();
    state.take_point(&drawn, glam::Vec2::new(0.5, 0.5));
    state.take_point(&drawn, glam::Vec2::new(0.55, 0.5));
    let length = state.measured().expect("two points of the surface");
    state.set_measured(2.0 * length);
    assert!((state.selection().unwrap().0.scale - 2.0).abs() < 1e-4 && state.measured().is_none());
    state.undo();
    // Three points of a slope are level and at height 0 afterwards.
    state.take(Tool::Ground);
    for at in [[0.5, 0.5], [0.55, 0.5], [0.5, 0.56]] {
        state.take_point(&drawn, at.into());
    }
    assert!(state.troubles.is_empty() && state.points.is_empty());
    let item = state.selection().unwrap().0.clone();
    assert!(item.rotate != [0.0; 3] || item.shift[2] != 0.0, "{item:?}");
    for at in [[0.5, 0.5], [0.55, 0.5], [0.5, 0.56]] {
        let point = drawn.point(0, at.into()).expect("a surface");
        let z = item.transform().point(point).z;
        assert!(z.abs() < 1e-4, "{z}");
    }
}

#[test]
fn grid_axes_and_cameras_lie_over_the_picture() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    window.picture();
    let screen = |window: &mut Window| {
        window.harness.step();
        let image = window.harness.render().expect("a screenshot");
        Image::bare(image.width() as usize, image.height() as usize, image.into_raw())
    };
    let with = screen(&mut window);
    window.press(Modifiers::NONE, Key::G);
    assert!(!window.state().overlays.grid && window.state().overlays.axes);
    let without = screen(&mut window);
    assert!(difference(&with, &without) > 0.02, "the grid is not seen: {}", difference(&with, &without));
    window.click("Look from z");
    assert!(window.state().orbit.elevation > 1.5);
    window.click("Look from -y");
    assert!(window.state().orbit.elevation.abs() < 1e-3);
    window.press(Modifiers::SHIFT, Key::F);
    window.picture();

    // Of the cameras that are seen, the one that is nearest to the middle is clicked.
    let before = screen(&mut window);
    window.state_mut().overlays.cameras = true;
    assert!(difference(&before, &screen(&mut window)) > 0.02, "the cameras are not seen");
    let rect = window.harness.state().shown.picture.expect("it is shown");
    let camera = window.state().orbit.camera(rect.width() as u32, rect.height() as u32);
    let poses = window.state().selection().expect("the demo").1.field.scene().cameras.clone();
    let middle = 0.5 * glam::vec2(rect.width(), rect.height());
    let on_screen = poses.iter().filter_map(|pose| Some((pose, camera.project(pose.position)?.0)));
    let inside = on_screen.filter(|(_, at)| (*at - middle).abs().cmplt(middle - 25.0).all());
    let (pose, at) = inside.min_by(|a, b| a.1.distance(middle).total_cmp(&b.1.distance(middle))).expect("one is seen");
    let (pose, at) = (pose.clone(), rect.min + eframe::egui::vec2(at.x, at.y));
    window.harness.hover_at(at);
    window.harness.step();
    window.harness.step();
    window.harness.drag_at(at);
    window.harness.step();
    window.harness.drop_at(at);
    window.harness.step();
    let eyes = poses.iter().map(|other| other.position.distance(window.state().orbit.eye()));
    assert!(eyes.fold(f32::INFINITY, f32::min) < 1e-3, "through a camera, such as {:?}", pose.position);
}

#[test]
fn teacher_and_student_stand_side_by_side() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    window.picture();
    let recipe = &mut window.state_mut().convert.recipe;
    (recipe.kind, recipe.steps, recipe.set) = (Kind::Voxels, "1000000".into(), TINY.into());
    window.click("Convert");
    window.until("a student", |state| state.jobs.student().is_some());
    let width = window.harness.state().shown.picture.expect("it is shown").width();
    window.state_mut().compare = Compare::SideBySide;
    let beside = |state: &State| {
        let drawn = state.pictures.newest();
        drawn
            .is_some_and(|d| d.images.is_ok() && d.view.scenes.len() == 2 && (d.view.camera.width as f32) < 0.6 * width)
    };
    window.until("two halves", beside);
    let drawn = window.state().pictures.newest().expect("drawn");
    let camera = &drawn.view.camera;
    let rect = window.harness.state().shown.picture.expect("it is shown");
    let aspect = camera.width as f32 / camera.height as f32;
    assert!((aspect / (0.5 * rect.width() / rect.height()) - 1.0).abs() < 0.05, "{aspect}");
    assert!(contrast(&drawn.images.as_ref().unwrap()[0]) > 60);
    // The middle of either half is the middle of its picture.
    for x in [0.25, 0.75] {
        let orbit = window.state().orbit;
        window.state_mut().focus(&drawn, glam::vec2(x, 0.5));
        assert!(window.state().orbit.target.distance(orbit.target) < 2.0);
        window.state_mut().orbit = orbit;
    }
    let job = window.state().jobs.rows()[0].id;
    window.state_mut().jobs.cancel(job);
    window.until("the end", |state| !state.jobs.is_busy());
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

/// A mesh of the demo is previewed at a level and exported; the file opens again as an object, and Gaussians are written in
/// another program's format and opened, too.
#[test]
fn a_mesh_is_previewed_exported_and_opened_and_so_are_gaussians() {
    let folder = tempfile::tempdir().unwrap();
    let (mesh, splats) = (folder.path().join("demo.glb"), folder.path().join("demo.spz"));
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    let form = &mut window.state_mut().mesh;
    let paint = Paint::Texture(128);
    form.options = Options { method: Method::Density, resolution: 40, faces: 3000, paint, ..Options::default() };
    form.shown = true;
    window.until("a preview", |state| state.mesh.preview.is_some());
    let solid = |state: &State| {
        let preview = state.mesh.preview.as_ref().expect("a preview");
        preview.rgba.chunks_exact(4).filter(|p| p[3] > 128).count()
    };
    let before = solid(window.state());
    assert!(before > 2000, "the preview shows the surface: {before} pixels");
    // Another level is another picture.
    let triangles = |state: &State| state.mesh.preview.as_ref().map_or(0, |p| p.triangles);
    let level_is = |level: f32| move |state: &State| state.mesh.preview.as_ref().is_some_and(|p| p.key.level == level);
    window.state_mut().mesh.options.level = Some(20.0);
    window.until("a preview at a level", level_is(20.0));
    let low = triangles(window.state());
    window.state_mut().mesh.options.level = Some(490.0);
    window.until("another preview", level_is(490.0));
    assert_ne!(triangles(window.state()), low, "the surface is another one");
    assert!(solid(window.state()) > 2000, "it is shown");
    window.state_mut().mesh.options.level = None;

    assert!(window.state().mesh_line().contains("--resolution 40 --faces 3000 --texture 128"));
    window.state_mut().ask_name(Purpose::ExportMesh);
    window.name(&mesh, "Export");
    window.until("the mesh", |state| state.background.busy().next().is_none());
    assert!(window.state().news.contains("triangles"), "{} {:?}", window.state().news, window.state().troubles);

    window.state_mut().open(&mesh);
    window.until("the mesh is open", |state| {
        state.selection().is_some_and(|(_, asset)| asset.field.kind() == Kind::Gaussians)
    });
    assert!(window.state().news.contains("triangles"), "{}", window.state().news);
    let id = window.state().selected.expect("the mesh");
    window.state_mut().ask_name(Purpose::SaveField(id));
    window.name(&splats, "Save");
    window.until("the Gaussians", |state| state.background.busy().next().is_none());
    let n = window.state().document().items().count();
    window.state_mut().open(&splats);
    window.until("they are open", |state| state.document().items().count() > n);
    assert!(window.state().troubles.is_empty(), "{:?}", window.state().troubles);
    assert!(contrast(&window.picture()) > 60, "the picture is blank");
}

mod words;
