//! Generation by the built-in prior: every kind, resumption, what is refused.

use retort_fields::registry::Kind;

use super::*;
use crate::guidance::Loss;
use crate::prior::builtin::Builtin;

fn asked(prompt: &str) -> (Arc<dyn Prior>, Read) {
    ask(Box::new(Builtin::new(&Device::flex()).expect("the built-in prior")), prompt).expect("known words")
}

fn generate(kind: Kind, steps: u32, seed: u64, sets: &[(&str, &str)]) -> Generate {
    let sets: Vec<_> = sets.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let (system, preset) = System::load("quick", kind, None, &sets).expect("a system");
    let (prior, read) = asked("a red ball");
    let options = RunOptions { seed, steps: Some(steps), time: None };
    Generate::new((prior, &read), (&system, &preset), &options, &Device::flex()).expect("generation")
}

fn finish(mut task: Generate) -> AnyField {
    while task.step().expect("a step").is_continue() {}
    task.current()
}

/// Mean premultiplied RGBA over some views.
fn mean(field: &AnyField) -> [f32; 4] {
    let looks = asked("a red ball").0.looks(1, &mut Rng::new(8, "test looks"));
    let pixels = photograph(field, &looks, 32, 2).concat();
    let n = (pixels.len() / 5) as f32;
    [0, 1, 2, 3].map(|c| pixels.chunks_exact(5).map(|p| p[c]).sum::<f32>() / n)
}

#[test]
fn every_kind_becomes_red() {
    for &kind in Kind::ALL {
        let [r, g, b, a] = mean(&finish(generate(kind, 40, 1, &[])));
        assert!(r > g + 0.01 && r > b + 0.01 && a > 0.02, "{kind}: {r} {g} {b} {a}");
    }
}

#[test]
fn every_loss_takes_a_step_and_shows_what_it_saw() {
    for &loss in Loss::ALL {
        let mut task = generate(Kind::Hash, 2, 1, &[("guidance.loss", loss.name())]);
        assert!(task.shown().is_none());
        let step = task.step();
        if loss == Loss::Dds {
            assert!(step.expect_err("nothing to edit").to_string().contains("dds"));
            continue;
        }
        let ControlFlow::Continue(progress) = step.expect("a step") else { panic!("{loss} ended early") };
        assert!(progress.loss.is_finite() && progress.step == 1 && progress.of == 2, "{loss}: {progress:?}");
        let shown = task.shown().expect("pictures");
        for picture in [&shown.own, &shown.noisy, &shown.clean, &shown.gradient] {
            assert_eq!(picture.dims(), [4, 4, 32, 32], "{loss}");
            assert!(values(picture.clone()).iter().all(|v| v.is_finite()), "{loss}");
        }
    }
}

/// Also where an apprentice has learned something by then.
#[test]
fn it_goes_on_bit_for_bit() {
    ["mvsds", "vsd"].into_iter().for_each(goes_on_bit_for_bit);
}

fn goes_on_bit_for_bit(loss: &str) {
    let quoted = format!("\"{loss}\"");
    let sets = [("guidance.loss", quoted.as_str())];
    let loss: Loss = loss.parse().expect("a loss");
    let folder = std::env::temp_dir().join(format!("retort-generate-{loss}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("a.checkpoint");
    let mut task = generate(Kind::Hash, 6, 5, &sets);
    for _ in 0..3 {
        assert!(task.step().expect("a step").is_continue());
    }
    task.save_checkpoint(&path).expect("written");
    let whole = finish(task);
    let (system, preset) = System::load("quick", Kind::Hash, Some(loss), &[]).expect("a system");
    let options = RunOptions { seed: 5, steps: Some(6), time: None };
    let (prior, read) = asked("a red ball");
    let resumed =
        Generate::resume((prior, &read), (&system, &preset), &path, &options, &Device::flex()).expect("resumed");
    let again = finish(resumed);
    for (a, b) in whole.params().iter().zip(again.params()) {
        assert_eq!(values(a.tensor.clone()), values(b.tensor.clone()), "{}", a.name);
    }
    let other = asked("a blue cube");
    let refused = Generate::resume((other.0, &other.1), (&system, &preset), &path, &options, &Device::flex());
    assert!(refused.is_err_and(|e| e.to_string().contains("red ball")));
    let seed = finish(generate(Kind::Hash, 6, 6, &sets));
    assert_ne!(values(seed.params()[0].tensor.clone()), values(whole.params()[0].tensor.clone()));
    std::fs::remove_dir_all(&folder).expect("cleared");
}

/// Two fields under one apprentice: different ones, and both go on from a checkpoint.
#[test]
fn particles_grow_together() {
    let sets = [("guidance.loss", "\"vsd\""), ("particles", "2")];
    let folder = std::env::temp_dir().join(format!("retort-particles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("a.checkpoint");
    let mut task = generate(Kind::Voxels, 4, 5, &sets);
    for _ in 0..2 {
        assert!(task.step().expect("a step").is_continue());
    }
    task.save_checkpoint(&path).expect("written");
    let table = |field: &AnyField| field.params().iter().flat_map(|p| values(p.tensor.clone())).collect::<Vec<f32>>();
    let all = |mut task: Generate| {
        while task.step().expect("a step").is_continue() {}
        [task.current(), task.others().remove(0)].map(|field| table(&field))
    };
    let mut resumed = generate(Kind::Voxels, 4, 5, &sets);
    resumed.go_on(&path).expect("resumed");
    let (whole, again) = (all(task), all(resumed));
    assert!(whole == again, "bit for bit");
    assert_ne!(whole[0], whole[1]);
    // Alone the first is another, because the apprentice learns from one field alone.
    let mut alone = generate(Kind::Voxels, 4, 5, &sets[..1]);
    assert!(alone.go_on(&path).is_err_and(|e| e.to_string().contains("particles")));
    while alone.step().expect("a step").is_continue() {}
    assert_ne!(table(&alone.current()), whole[0]);
    std::fs::remove_dir_all(&folder).expect("cleared");
}

#[test]
fn systems_are_read_and_wrong_ones_named() {
    for (name, _) in system::names() {
        for &kind in Kind::ALL {
            let (system, preset) = System::load(name, kind, None, &[]).unwrap_or_else(|e| panic!("{name} {kind}: {e}"));
            assert!(preset.field.kind() == kind && preset.train.steps == system.steps);
        }
    }
    let load = |name: &str, sets: &[(&str, &str)]| {
        let sets: Vec<_> = sets.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        System::load(name, Kind::Hash, None, &sets).map(drop).expect_err("wrong").to_string()
    };
    assert!(load("quicker", &[]).contains("quicker"));
    assert!(load("quick", &[("guidance.scale", "-1")]).contains("scale"));
    assert!(load("quick", &[("losses.beauty", "1.0")]).contains("losses"));
    assert!(load("quick", &[("field.depth", "x")]).contains("depth"));
    assert!(load("quick", &[("rings", "0")]).contains("rings"));
    assert!(load("quick", &[("blob", "{ shape = \"bell\", height = 50.0, width = 0.2 }")]).contains("blob"));
    assert!(load("dreamfusion", &[("shading.lit", "1.5")]).contains("shading"));
}

#[test]
fn regularisers_are_what_they_say() {
    let full = |alpha: f32| {
        let pictures = Tensor::<4>::full([1, 4, 2, 2], alpha, &Device::flex());
        Drawn { pictures, orientation: None }
    };
    let of = |name: &str, alpha: f32| values(losses::of(name, &full(alpha)).expect("a loss").expect("asked"))[0];
    assert!((of("sparsity", 0.5) - 0.26_f32.sqrt()).abs() < 1e-5);
    assert!((of("opaque", 0.5) - 2.0_f32.ln()).abs() < 1e-5 && of("opaque", 1.0) < 0.01 && of("opaque", 0.0) < 0.01);
    assert!(losses::of("orient", &full(0.5)).expect("a loss").is_none() && losses::of("beauty", &full(0.5)).is_err());
}

/// A ball of density at first, light, and how surfaces stand: with every kind.
#[test]
fn every_kind_begins_as_a_ball_in_the_light() {
    let sets = [
        ("blob", "{ shape = \"cone\", height = 10.0, width = 0.5 }"),
        ("shading", "{ from = 0.0, lit = 1.0, white = 1.0, ambient = 0.1 }"),
        ("losses.orient", "1.0"),
    ];
    for &kind in Kind::ALL {
        let mut task = generate(kind, 2, 1, &sets);
        let [r, g, b, a] = mean(&task.current());
        assert!(a > 0.1 && r < a && g < a && b < a, "{kind}: a ball in no colour yet: {r} {g} {b} {a}");
        let ControlFlow::Continue(progress) = task.step().expect("a step") else { panic!("{kind} ended early") };
        assert!(progress.loss.is_finite(), "{kind}");
        let (drawn, _) =
            task.pictures(&task.run.field, &task.prior.looks(1, &mut Rng::new(1, "looks"))).expect("drawn");
        let volume = kind != Kind::Gaussians;
        assert_eq!(drawn.orientation.is_some(), volume, "{kind}");
        // White in white light has no colour.
        let rgba = values(drawn.pictures.clone().narrow(1, 0, 2));
        let grey =
            rgba.chunks_exact(2 * 1024).all(|p| p[..1024].iter().zip(&p[1024..]).all(|(r, g)| (r - g).abs() < 1e-5));
        assert_eq!(grey, volume, "{kind}");
        let (system, _) =
            System::load("quick", kind, None, &sets.map(|(k, v)| (k.into(), v.into()))).expect("a system");
        assert_eq!(system.notes(kind).is_empty(), volume);
    }
}

/// A red ball becomes a blue one; what lies outside the named part is held to what it was.
#[test]
fn an_edit_changes_the_part_that_it_may() {
    let prior = || Box::new(Builtin::new(&Device::flex()).expect("the built-in prior"));
    let ball = finish(generate(Kind::Voxels, 60, 1, &[]));
    let edited = |part: Option<Aabb>, steps: u32| {
        let (system, preset) = System::load("edit", Kind::Voxels, None, &[]).expect("a system");
        let (prior, [to, from]) = ask_all(prior(), ["a blue ball", "a red ball"]).expect("known words");
        let options = RunOptions { seed: 1, steps: Some(steps), time: None };
        finish(Generate::edit((prior, &to, &from), (&ball, part), (&system, &preset), &options).expect("an edit"))
    };
    let (before, after) = (mean(&ball), mean(&edited(None, 60)));
    assert!(after[2] - after[0] > before[2] - before[0] + 0.02, "{before:?} {after:?}");
    // A part that no ray meets: nothing changes but by what holding it still allows.
    let nowhere = Aabb::new(glam::Vec3::splat(40.0), glam::Vec3::splat(41.0));
    let same = mean(&edited(Some(nowhere), 20));
    assert!(before.iter().zip(same).all(|(b, s)| (b - s).abs() < 0.01), "{before:?} {same:?}");
}

#[test]
fn a_box_throws_its_shadow_where_it_is_seen() {
    let look = &asked("a red ball").0.looks(1, &mut Rng::new(1, "looks"))[0];
    let part = Aabb::new(glam::Vec3::splat(-0.2), glam::Vec3::splat(0.2));
    let shadow = shadow(&part, look, 32);
    let share = shadow.iter().sum::<f32>() / 1024.0;
    assert!(shadow[16 * 32 + 16] == 1.0 && shadow[0] == 0.0 && (0.01..0.2).contains(&share), "{share}");
}

/// The built-in prior, but some of its answers are not numbers.
struct Broken {
    whole: Builtin,
    every: u64,
    asked: std::sync::atomic::AtomicU64,
}

impl Prior for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn side(&self) -> u32 {
        self.whole.side()
    }
    fn sees_alpha(&self) -> bool {
        true
    }
    fn ring(&self) -> usize {
        self.whole.ring()
    }
    fn noise(&self) -> &crate::prior::noise::Noise {
        self.whole.noise()
    }
    fn read(&mut self, prompt: &str) -> Result<Read> {
        self.whole.read(prompt)
    }
    fn epsilon(&self, asked: crate::prior::Asked<'_>) -> Tensor<4> {
        let n = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let factor = if n % self.every == self.every - 1 { f32::NAN } else { 1.0 };
        self.whole.epsilon(asked) * factor
    }
    fn looks(&self, scenes: usize, rng: &mut Rng) -> Vec<Look> {
        self.whole.looks(scenes, rng)
    }
    fn apprentice(&self, seed: u64, rank: usize) -> Box<dyn crate::prior::Apprentice> {
        self.whole.apprentice(seed, rank)
    }
}

#[test]
fn a_prior_that_gives_no_numbers_is_skipped_then_refused() {
    let run = |every: u64| {
        let whole = Builtin::new(&Device::flex()).expect("the built-in prior");
        let (prior, read) = ask(Box::new(Broken { whole, every, asked: 0.into() }), "a red ball").expect("known words");
        let (system, preset) = System::load("quick", Kind::Voxels, None, &[]).expect("a system");
        let options = RunOptions { seed: 1, steps: Some(10), time: None };
        let mut task =
            Generate::new((prior, &read), (&system, &preset), &options, &Device::flex()).expect("generation");
        let mut notes = 0;
        let end = loop {
            match task.step() {
                Ok(ControlFlow::Continue(progress)) => notes += usize::from(progress.note.is_some()),
                Ok(ControlFlow::Break(_)) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
        };
        let finite = task.current().params().iter().all(|p| values(p.tensor.clone()).iter().all(|v| v.is_finite()));
        (end, notes, finite)
    };
    assert_eq!(run(4), (Ok(()), 2, true));
    let (end, notes, finite) = run(1);
    assert!(end.is_err_and(|e| e.contains("broken") && e.contains("6 steps")) && notes == 5 && finite);
}
