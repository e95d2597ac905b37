//! What a person does with the timeline, without the toolkit.

use std::time::Duration;

use glam::Vec3;
use retort_fields::compose::file;

use super::*;
use crate::gui::state::{Dialog, Purpose};

fn state() -> State {
    let mut state = State::new("cpu".into(), None, || ()).expect("threads");
    state.open_demo();
    until(&mut state, |state| state.selection().is_some());
    state.orbit.target = Vec3::ZERO;
    state
}

fn until(state: &mut State, done: impl Fn(&State) -> bool) {
    for _ in 0..20_000 {
        state.poll();
        if done(state) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within minutes: {:?}", state.troubles);
}

/// Three keys around the scene, two seconds apart.
fn with_keys() -> State {
    let mut state = state();
    for i in 0..3 {
        state.orbit.azimuth = 0.4 + 0.9 * i as f32;
        state.add_key();
    }
    state
}

fn times(state: &State) -> Vec<f32> {
    state.document().path().keyframes.iter().map(|key| key.time).collect()
}

#[test]
fn keys_are_added_moved_removed_and_undone_one_by_one() {
    let mut state = with_keys();
    assert_eq!((times(&state), state.document().path().seconds), (vec![0.0, 2.0, 4.0], 4.0));
    assert!(state.timeline.shown && state.chosen_key() == Some(2));
    // On a key, Enter gives it the view of now.
    state.seek(2.0);
    assert!((state.orbit.azimuth - 1.3).abs() < 1e-4, "{}", state.orbit.azimuth);
    state.orbit.distance = 1.25;
    state.add_key();
    assert_eq!((times(&state).len(), state.history.undo_label()), (3, Some("Change key")));
    assert_eq!(state.document().path().keyframes[1].distance, 1.25);
    // A drag is one step, and does not pass its neighbours.
    for time in [2.5, 3.0, 3.5, 9.0] {
        state.move_key(1, time, 7);
    }
    state.history.end_gesture();
    assert!(times(&state)[1] > 3.9 && times(&state)[1] < 4.0, "{:?}", times(&state));
    state.undo();
    assert_eq!(times(&state), [0.0, 2.0, 4.0]);
    state.undo();
    assert_ne!(state.document().path().keyframes[1].distance, 1.25);
    state.seek(4.0);
    state.remove_key();
    assert_eq!((times(&state), state.document().path().seconds), (vec![0.0, 2.0], 2.0));
    state.remove_key();
    assert_eq!(times(&state).len(), 2, "none is chosen any more");
    state.clear_keys();
    assert!(state.document().path().is_empty());
    (0..5).for_each(|_| state.undo());
    assert!(state.document().path().is_empty(), "before the first key");
    (0..5).for_each(|_| state.redo());
    assert!(state.document().path().is_empty() && state.history.redo_label().is_none());
    state.undo();
    assert_eq!(times(&state), [0.0, 2.0]);
}

#[test]
fn playing_moves_the_camera_and_stops_at_the_end() {
    let mut state = with_keys();
    state.play_or_pause();
    assert!(state.timeline.playing && state.timeline.at == 0.0, "from the start");
    assert!(state.play(1.0));
    let half = state.orbit;
    assert!(half.azimuth > 0.5 && half.azimuth < 1.2, "{}", half.azimuth);
    assert!(state.play(10.0) && !state.timeline.playing && state.timeline.at == 4.0);
    assert!((state.orbit.azimuth - 2.2).abs() < 1e-4 && !state.play(1.0));
    state.change_path("Change loop", None, |path| path.set_looped(true));
    state.seek(0.0);
    state.play_or_pause();
    state.play(1.0);
    state.play(6.0);
    assert!(state.timeline.playing && (state.timeline.at - 1.0).abs() < 1e-4, "{}", state.timeline.at);
    assert!((state.orbit.azimuth - half.azimuth).abs() < 0.3);
    state.clear_keys();
    state.play_or_pause();
    assert!(!state.timeline.playing && !state.play(1.0));
}

#[test]
fn a_path_goes_to_its_file_and_into_the_scene_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = with_keys();
    state.timeline.size = [64, 36];
    let kept = state.document().path().clone();
    let path = folder.path().join("way.json");
    state.named(Purpose::Path(PathUse::Save), &path.display().to_string());
    until(&mut state, |state| state.news.contains("way.json"));
    assert_eq!(nerfstudio::read(&path).unwrap().cameras.len(), kept.frames());
    assert!(state.path_line().contains("way.json --size 64x36"), "{}", state.path_line());

    let scene = folder.path().join("scene.toml");
    state.save_scene(&scene, None).unwrap();
    until(&mut state, |state| !state.history.is_changed());
    assert_eq!(path_of(&SceneFile::read(&scene).unwrap()).unwrap().keyframes.len(), 3);
    let mut again = State::new("cpu".into(), None, || ()).expect("threads");
    again.open(&scene);
    until(&mut again, |state| !state.document().is_empty());
    let near = |path: &CameraPath| {
        let pairs = path.keyframes.iter().zip(&kept.keyframes);
        path.keyframes.len() == 3 && pairs.map(|(a, b)| a.eye().distance(b.eye())).all(|far| far < 1e-4)
    };
    assert!(near(again.document().path()) && again.timeline.shown && !again.history.is_changed());

    again.clear_keys();
    again.named(Purpose::Path(PathUse::Load), &path.display().to_string());
    until(&mut again, |state| !state.document().path().is_empty());
    assert!(near(again.document().path()) && again.timeline.size == [64, 36]);
    again.undo();
    assert!(again.document().path().is_empty());

    std::fs::write(&path, "{\"keyframes\": 3}").unwrap();
    again.named(Purpose::Path(PathUse::Load), &path.display().to_string());
    until(&mut again, |state| !state.troubles.is_empty());
    assert!(again.troubles[0].file.as_ref() == Some(&path) && !again.troubles[0].remedy.is_empty());
    // A table that cannot be is told with its file, and what is open stays.
    let text = std::fs::read_to_string(&scene).unwrap();
    std::fs::write(&scene, text.replace("time = 2.0", "time = 4.0")).unwrap();
    assert!(file::peek(&scene).is_ok(), "without the window the path does not matter");
    again.load(&scene);
    until(&mut again, |state| state.troubles.len() == 2);
    assert!(again.troubles[1].what.contains("camera_path"), "{:?}", again.troubles[1]);
}

#[test]
fn frames_and_films_are_exported_and_called_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = with_keys();
    state.change_path("Change fps", None, |path| path.fps = 2.0);
    state.timeline.size = [32, 24];
    let frames = folder.path().join("frames");
    state.ask_name(Purpose::Path(PathUse::Frames));
    assert!(matches!(&state.dialog, Some(Dialog::Name(_, text)) if text.ends_with("-frames")));
    state.named(Purpose::Path(PathUse::Frames), &frames.display().to_string());
    assert!(state.timeline.is_busy());
    until(&mut state, |state| !state.timeline.is_busy() && state.news.contains("frames"));
    let picture = |i: usize| image::open(frames.join(format!("view_00{i}.png"))).unwrap().into_rgb8();
    assert_eq!(std::fs::read_dir(&frames).unwrap().count(), 8);
    assert!(picture(0).dimensions() == (32, 24) && picture(0) != picture(4));

    let film = folder.path().join("film.mp4");
    state.named(Purpose::Path(PathUse::Film), &folder.path().join("film").display().to_string());
    until(&mut state, |state| state.news.contains("film.mp4"));
    assert_eq!(&std::fs::read(&film).unwrap()[4..8], b"ftyp");

    // A longer one is called off, and there is no half of it.
    state.change_path("Change fps", None, |path| path.fps = 240.0);
    let other = folder.path().join("other.mp4");
    state.named(Purpose::Path(PathUse::Film), &other.display().to_string());
    state.named(Purpose::Path(PathUse::Film), &other.display().to_string());
    assert!(state.troubles.pop_front().is_some_and(|trouble| trouble.what.contains("at work")));
    until(&mut state, |state| state.timeline.export().is_some_and(|(done, of)| done > 0 && of == 960));
    state.timeline.cancel_export();
    until(&mut state, |state| state.news.contains("called off"));
    assert!(!other.exists() && !state.timeline.is_busy());
    for (what, name, word) in
        [(PathUse::Film, "a.avi", "mp4"), (PathUse::Save, "a.toml", "json"), (PathUse::Frames, "", "folder")]
    {
        let path = folder.path().join(name);
        if what == PathUse::Frames {
            state.clear_keys();
        }
        let error = state.path_named(what, &path).expect_err(word);
        assert!(!error.remedy.is_empty(), "{error}");
    }
}
