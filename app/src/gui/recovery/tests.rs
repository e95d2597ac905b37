use retort_fields::compose::Edit;
use retort_fields::compose::file::Entry;
use retort_fields::compose::region::Sphere;

use super::super::state::{After, Purpose};
use super::*;

fn until(state: &mut State, what: &str, done: impl Fn(&State) -> bool) {
    for _ in 0..40_000 {
        state.poll();
        if done(state) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within minutes; {:?}; {}", state.troubles, state.news);
}

fn start(settings: &Path) -> State {
    State::new("cpu".into(), Some(settings.to_path_buf()), || ()).unwrap()
}

/// A window with the demo open, not changed.
fn with_demo(settings: &Path) -> State {
    let mut state = start(settings);
    state.open_demo();
    until(&mut state, "the demo", |state| state.selection().is_some());
    state
}

fn entries(state: &State) -> Vec<Entry> {
    state.document().items().map(|item| item.entry("f".into())).collect()
}

/// Ends without saying so.
fn crash(mut state: State) {
    state.recovery.leave();
}

fn windows(settings: &Path) -> usize {
    std::fs::read_dir(settings.join("recovery")).map_or(0, Iterator::count)
}

#[test]
fn what_was_not_saved_is_there_after_a_crash() {
    let place = tempfile::tempdir().unwrap();
    let settings = place.path().join("settings");
    let mut state = with_demo(&settings);
    let scene = place.path().join("scene.toml");
    state.named(Purpose::SaveScene(None), &scene.display().to_string());
    until(&mut state, "saving", |state| state.scene_path.is_some());
    assert_eq!(windows(&settings), 0, "nothing is unsaved");
    // A field without a file, hidden, and an edit of one that has a file.
    state.open_demo();
    until(&mut state, "a second field", |state| state.document().len() == 2);
    state.toggle_selected();
    let first = state.document().items().next().map(|item| item.id);
    state.selected = first;
    let ball = || Edit::EraseSphere(Sphere { centre: [0.1, 0.2, 0.3], radius: 0.25 });
    state.add_edit(ball());
    state.recovery.hurry();
    until(&mut state, "a copy", |state| state.recovery.has(state.history.revision()));
    let folder = state.recovery.own.as_ref().unwrap().path.clone();
    let names = || std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let fields: Vec<String> = names().filter(|name| name.ends_with("safetensors")).collect();
    assert_eq!(fields.len(), 1, "only what has no file: {fields:?}");
    let stamp = || std::fs::metadata(folder.join(&fields[0])).unwrap().modified().unwrap();
    let written = stamp();
    // Another change: the field is not written again.
    state.change_selected("Move", None, |item| item.shift[0] = 0.5);
    assert!(!state.recovery.is_due(state.history.revision()), "not at every change");
    state.recovery.hurry();
    until(&mut state, "another copy", |state| state.recovery.has(state.history.revision()));
    assert_eq!(stamp(), written);

    // A window that is alive is left alone.
    let other = start(&settings);
    assert!(other.recovery.found.is_empty() && other.dialog.is_none());
    drop(other);
    let kept = entries(&state);
    crash(state);
    let mut again = start(&settings);
    assert_eq!((again.dialog.clone(), again.recovery.found.len()), (Some(Dialog::Recover), 1));
    assert_eq!(again.recovery.found[0].about.name, "scene.toml");
    again.recover();
    until(&mut again, "recovering", |state| !state.document().is_empty());
    assert_eq!(entries(&again), kept);
    assert!(again.history.is_changed() && again.dialog.is_none());
    let same = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.canonicalize().ok());
    assert_eq!(same(&again.scene_path), scene.canonicalize().ok());
    let (first, second) = (again.document().items().next().unwrap(), again.document().items().nth(1).unwrap());
    assert_eq!(first.edits, [ball()]);
    let asset = |item: &Item| again.assets.get(item.asset).unwrap();
    assert!(asset(first).path.is_some() && asset(second).path.is_none() && asset(second).name == "demo");
    // The old copy goes once there is a new one, and that when the scene is saved.
    until(&mut again, "a copy of its own", |state| state.recovery.has(state.history.revision()));
    assert!(!folder.exists() && windows(&settings) == 1);
    again.save();
    until(&mut again, "saving", |state| !state.history.is_changed());
    assert!(place.path().join("demo-2.safetensors").is_file() && windows(&settings) == 0);
}

#[test]
fn a_clean_end_leaves_nothing_and_discarding_removes() {
    let place = tempfile::tempdir().unwrap();
    let mut state = with_demo(place.path());
    state.change_selected("Move", None, |item| item.shift[0] = 0.5);
    state.recovery.hurry();
    until(&mut state, "a copy", |state| state.recovery.has(state.history.revision()));
    assert_eq!(windows(place.path()), 1);
    // Undone, there is nothing to lose.
    state.undo();
    state.poll();
    assert_eq!(windows(place.path()), 0);
    state.redo();
    state.recovery.hurry();
    until(&mut state, "a copy", |state| state.recovery.has(state.history.revision()));
    state.give_up(After::Close);
    drop(state);
    assert_eq!(windows(place.path()), 0, "nobody wanted it");

    let mut state = with_demo(place.path());
    state.change_selected("Move", None, |item| item.shift[0] = 0.5);
    state.recovery.hurry();
    until(&mut state, "a copy", |state| state.recovery.has(state.history.revision()));
    crash(state);
    let mut later = start(place.path());
    later.recover_later();
    drop(later);
    let mut state = start(place.path());
    assert_eq!(state.recovery.found.len(), 1, "it is asked again");
    state.discard_left();
    assert!(state.dialog.is_none() && windows(place.path()) == 0);
}

#[test]
fn a_broken_folder_does_not_stop_the_start() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().join("recovery");
    let make = |name: &str, files: &[(&str, &str)]| {
        std::fs::create_dir_all(base.join(name)).unwrap();
        files.iter().for_each(|(file, text)| std::fs::write(base.join(name).join(file), text).unwrap());
    };
    make("window-1-0", &[(LOCK, ""), (NAME, "no scene"), (ABOUT, "{")]);
    make("window-2-0", &[(LOCK, "")]);
    make("window-3-0", &[]);
    make("something", &[(LOCK, ""), (NAME, "x")]);
    std::fs::write(base.join("window-4-0"), "a file").unwrap();
    let mut state = start(place.path());
    assert_eq!(state.recovery.found.len(), 1);
    assert!(!base.join("window-2-0").exists() && base.join("something").exists());
    state.recover();
    until(&mut state, "an answer", |state| !state.troubles.is_empty());
    assert!(state.troubles[0].file.as_ref().is_some_and(|f| f.ends_with("window-1-0/scene.toml")));
    assert!(state.document().is_empty() && base.join("window-1-0").exists(), "it is kept for whoever can read it");
    drop(state);
    // No folder at all, and one that cannot be.
    std::fs::remove_dir_all(&base).unwrap();
    std::fs::write(&base, "a file").unwrap();
    let mut state = with_demo(place.path());
    state.change_selected("Move", None, |item| item.shift[0] = 0.5);
    state.recovery.hurry();
    until(&mut state, "news", |state| state.news.contains("not kept"));
    assert!(state.troubles.is_empty());
}

#[test]
fn a_project_is_saved_and_opened() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mine.retort");
    let mut state = State::new("cpu".into(), None, || ()).unwrap();
    state.open_demo();
    until(&mut state, "the demo", |state| state.selection().is_some());
    state.duplicate_selected();
    state.change_selected("Move", None, |item| (item.shift[0], item.locked) = (0.5, true));
    state.toggle_selected();
    state.named(Purpose::SaveScene(None), &path.display().to_string());
    until(&mut state, "saving", |state| !state.history.is_changed());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "one file");
    let single = state.selection().map(|(_, asset)| asset.clone()).unwrap();
    let alone = files::save(&single.field, &single.made, &place.path().join("one.safetensors")).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < alone + 4096, "the field is in it once");
    let kept = entries(&state);
    let mut again = State::new("cpu".into(), None, || ()).unwrap();
    again.open(&path);
    until(&mut again, "opening", |state| !state.document().is_empty());
    assert!(entries(&again) == kept && !again.history.is_changed());
    assert_eq!(again.scene_path.as_ref().map(|p| p.ends_with("mine.retort")), Some(true));
    // As a folder it is written with its fields beside it.
    let folder = tempfile::tempdir().unwrap();
    again.named(Purpose::SaveScene(None), &folder.path().join("s.toml").display().to_string());
    until(&mut again, "saving", |state| state.scene_path.as_ref().is_some_and(|p| p.ends_with("s.toml")));
    assert!(folder.path().join("demo.safetensors").is_file());
}
