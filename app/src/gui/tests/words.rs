//! Objects from words, and changed by them.

use retort_fields::compose::region::{Region, Sphere};

use super::super::document::Part as Selected;
use super::*;

#[test]
fn a_prompt_becomes_an_object() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    window.harness.set_size(Vec2::new(SIZE[0], 1200.0));
    window.harness.step();
    window.harness.get_by_label("Generate from text").click();
    // It unfolds slowly.
    window.harness.run_steps(30);
    window.click("Generate");
    assert!(window.state().jobs.rows().is_empty(), "nothing is asked for yet");
    let form = &mut window.state_mut().generate;
    form.prompt = "a red dragon".into();
    window.click("Generate");
    assert!(window.state().jobs.rows().is_empty(), "there are no dragons");
    let form = &mut window.state_mut().generate;
    form.prompt = "a red ball".into();
    (form.recipe.kind, form.recipe.steps) = (Kind::Voxels, "6".into());
    window.click("Generate");
    window.until("the ball", |state| !state.jobs.rows().is_empty() && !state.jobs.is_busy());
    assert_eq!(window.state().jobs.rows()[0].phase, Phase::Done, "{:?}", window.state().jobs.rows()[0].phase);
    let (item, asset) = window.state().selection().expect("it is selected");
    assert_eq!((asset.field.kind(), item.name.as_str()), (Kind::Voxels, "red-ball-voxels"));
    assert!(asset.made.from.contains("a red ball"), "{}", asset.made.from);
    // Who stops it keeps what there is.
    window.state_mut().generate.recipe.steps = "100000".into();
    window.click("Generate");
    window.until("a few steps", |state| {
        state.jobs.active().and_then(|row| row.progress.as_ref()).is_some_and(|p| p.step > 2)
    });
    let id = window.state().jobs.active().expect("at work").id;
    window.state_mut().jobs.cancel(id);
    window.until("the end", |state| !state.jobs.is_busy());
    assert!(matches!(window.state().jobs.row(id).expect("a row").phase, Phase::Cancelled(_)));
    assert_eq!(window.state().document().len(), 3, "the demo and two balls");
}

/// Two seeds of a prompt wait in a gallery; one of them is changed by words within a part, and the rest stays.
#[test]
fn seeds_wait_in_a_gallery_and_a_part_is_changed_by_words() {
    let mut window = Window::open(&[]);
    window.until("the demo", |state| state.selection().is_some());
    window.harness.set_size(Vec2::new(SIZE[0], 1400.0));
    window.harness.step();
    window.harness.get_by_label("Generate from text").click();
    window.harness.run_steps(30);
    window.harness.get_by_label("What the model sees").click();
    window.harness.run_steps(30);
    let form = &mut window.state_mut().generate;
    (form.prompt, form.seeds) = ("a red ball".into(), 2);
    (form.recipe.kind, form.recipe.steps) = (Kind::Voxels, "4".into());
    window.click("Generate");
    window.until("both", |state| state.gallery.len() == 2 && !state.jobs.is_busy());
    let names: Vec<String> = window.state().gallery.iter().map(|shot| shot.name.clone()).collect();
    assert_eq!(names, ["red-ball-voxels-seed-0", "red-ball-voxels-seed-1"]);
    let shots = &window.state().gallery;
    assert_eq!(shots[0].sight.size, [128, 32]);
    assert_ne!(shots[0].sight.rgba, shots[1].sight.rgba, "each is of its own chance");
    window.harness.get_by_label("Gallery").click();
    window.harness.run_steps(30);
    window.harness.get_by_label("Show red-ball-voxels-seed-0 alone").click();
    window.harness.run_steps(3);
    let shown = |state: &State| -> Vec<String> {
        state.document().items().filter(|item| item.visible).map(|item| item.name.clone()).collect()
    };
    assert_eq!(shown(window.state()), ["red-ball-voxels-seed-0"]);

    let ball = window.state().selected.expect("it is selected");
    let region = Region::from(Shape::Sphere(Sphere { centre: [0.0, 0.0, 0.5], radius: 0.4 }));
    window.state_mut().change("select", None, |document| {
        document.set_part(Some(Selected { item: ball, region: region.clone() }));
    });
    let form = &mut window.state_mut().generate;
    (form.edits, form.prompt) = (true, "a blue ball".into());
    window.harness.run_steps(3);
    window.click("Change");
    window.until("the change", |state| !state.jobs.is_busy() && state.document().len() == 4);
    let document = window.state().document();
    assert_eq!(document.get(ball).expect("it stays").edits, [Edit::Erase(region.clone())]);
    let changed = document.items().last().expect("the part");
    assert_eq!((changed.edits.as_slice(), changed.name.as_str()), (&[Edit::Keep(region)][..], "blue-ball-voxels"));
    let (_, asset) = window.state().selection().expect("the part is selected");
    assert!(asset.made.from.contains("edited from \"a red ball\" to \"a blue ball\""), "{}", asset.made.from);
}
