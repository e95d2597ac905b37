//! The whole: a field made by a tiny model, its views in words, Perp-Neg, the apprentice, adapters by name.

use std::ops::ControlFlow;
use std::sync::Arc;

use retort_fields::device;
use retort_fields::registry::Kind;
use retort_fields::rng::Rng;

use super::folder::{folder_of, open, sd1_folder};
use super::*;
use crate::generate::{Generate, System, ask};
use crate::prior::stable::{Stable, is_folder, named, sides};
use crate::prior::{Asked, Look, Prior, Prompt, Side, Text};
use crate::run::RunOptions;
use crate::task::Task;

fn looks(n: usize) -> Vec<Look> {
    (0..n).map(|i| Look::around([i as f32, 0.2], 2.0, 0.9, 32)).collect()
}

/// Every loss goes some steps with a model of the folder, on a volume and on Gaussians, and the field changes.
#[test]
fn every_loss_makes_a_field_with_a_folders_model() {
    let folder = sd1_folder();
    for (preset, kind) in [
        ("dreamfusion", Kind::Hash),
        ("prolificdreamer", Kind::Hash),
        ("esd", Kind::Voxels),
        ("scaledreamer", Kind::Hash),
        ("dreamgaussian", Kind::Gaussians),
    ] {
        let stable: Box<dyn Prior> = Box::new(open(folder.path()).expect("a model"));
        let (prior, read) = ask(stable, "a wooden stool").expect("a prompt");
        assert!(read.notes.iter().any(|note| note.contains("GiB")), "the cost is told first: {:?}", read.notes);
        let sets = [("steps".to_string(), "3".to_string())];
        let (system, preset) = System::load(preset, kind, None, &sets).expect("a system");
        let options = RunOptions::default();
        let mut task =
            Generate::new((prior, &read), (&system, &preset), &options, &Device::flex()).expect("a generation");
        let before = task.current().render(&looks(1)[0].camera, &retort_fields::field::RenderOptions::default());
        while let ControlFlow::Continue(progress) = task.step().expect("a step") {
            assert!(progress.loss.is_finite());
        }
        let after = task.current().render(&looks(1)[0].camera, &retort_fields::field::RenderOptions::default());
        assert_ne!(values(before.pixels), values(after.pixels), "{} changes", system.name);
        let shown = task.shown().expect("the last step");
        assert_eq!((shown.own.dims(), shown.gradient.dims()), ([1, 3, 32, 32], [1, 4, 16, 16]));
    }
}

/// What the encoder hands back is the gradient of what it was given: a step down the way back lowers what is weighed.
#[test]
fn the_priors_gradient_of_pictures_is_the_slope() {
    let folder = sd1_folder();
    let stable = open(folder.path()).expect("a model");
    let x = tensor4("pictures", [1, 3, 32, 32]) * 0.4 + 0.5;
    let weights = tensor4("weights", [1, 4, 16, 16]);
    let along = tensor4("direction", [1, 3, 32, 32]);
    let slope = values((stable.encode_back(stable.encode_kept(x.clone()).1, weights.clone()) * along.clone()).sum())[0];
    let at = |h: f32| values((stable.encode(x.clone() + along.clone() * h) * weights.clone()).sum())[0];
    let h = 1e-3;
    let difference = (at(h) - at(-h)) / (2.0 * h);
    assert!((slope - difference).abs() < 0.02 * slope.abs(), "{slope}, {difference}");
}

/// Every part on a GPU, in float16 where it multiplies that, beside the processor's float32: text, latents, noise, pictures,
/// the gradient of pictures, and a lesson of the apprentice.
#[test]
#[ignore = "minutes on a software driver"]
fn slow_the_whole_agrees_on_a_gpu() {
    let gpu = device::choose("gpu").expect("the tests need a Vulkan driver; tests/run installs one");
    let folder = sd1_folder();
    let [on_cpu, on_gpu] = [Device::flex(), gpu].map(|device| all_parts(folder.path(), &device));
    for ((name, cpu), (_, gpu)) in on_cpu.iter().zip(&on_gpu) {
        let scale = cpu.iter().fold(1e-12_f32, |m, v| m.max(v.abs()));
        let off = cpu.iter().zip(gpu).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / scale;
        println!("{name} on a GPU: off by {off:.1e}");
        assert!(cpu.len() == gpu.len() && off < 1e-2, "{name}: {off}");
    }
}

fn all_parts(folder: &Path, device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    let mut stable = Stable::open(&folder.to_string_lossy(), device).expect("a model");
    let prompt = stable.read("a castle").expect("a prompt").prompt;
    let place = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), device);
    let pictures = place(tensor4("pictures", [1, 3, 32, 32]) * 0.4 + 0.5);
    let (latents, trail) = stable.encode_kept(pictures);
    let (looks, texts) = (looks(1), [Text::Of(prompt)]);
    let (noisy, noise) = (place(tensor4("z", [1, 4, 16, 16])), place(tensor4("noise", [1, 4, 16, 16])));
    let asked = || Asked { noisy: noisy.clone(), times: &[500], texts: &texts, looks: &looks, posed: true };
    let mut pupil = stable.apprentice(0, 4);
    let lessons: Vec<f32> = (0..2).map(|_| pupil.learn(asked(), noise.clone(), 1e-3)).collect();
    vec![
        ("text", values(stable.denoiser.meaning(texts[0]))),
        ("latents", values(latents.clone())),
        ("noise", values(stable.epsilon(asked()))),
        ("pictures", values(stable.decode(latents))),
        ("the gradient of pictures", values(stable.encode_back(trail, place(tensor4("weights", [1, 4, 16, 16]))))),
        ("lessons", lessons),
        ("the apprentice", values(pupil.epsilon(asked()))),
    ]
}

#[test]
fn a_view_is_told_in_words() {
    let look = |azimuth: f32, elevation: f32| Look::around([azimuth, elevation].map(f32::to_radians), 2.0, 0.9, 32);
    let sides: Vec<Side> = [(0.0, 0.0), (-40.0, 10.0), (90.0, 0.0), (250.0, 0.0), (180.0, 20.0), (10.0, 70.0)]
        .iter()
        .map(|(a, e)| Side::of(&look(*a, *e)))
        .collect();
    assert_eq!(sides, [Side::Front, Side::Front, Side::Side, Side::Side, Side::Back, Side::Overhead]);
    let folder = sd1_folder();
    let mut stable = open(folder.path()).expect("a model");
    let prompt = stable.read("a castle").expect("a prompt").prompt;
    let meaning = |text: Text| values(stable.denoiser.meaning(text));
    assert_eq!(stable.told(prompt, &look(0.0, 0.0)), Text::Seen(prompt, Side::Front));
    let words = |text: &str| values(stable.text.encode(&[stable.tokens.tell(text).expect("tokens").ids]));
    assert_eq!(meaning(Text::Seen(prompt, Side::Back)), words("a castle, back view"));
    assert_eq!(meaning(Text::Of(prompt)), words("a castle"));
    assert_eq!(meaning(Text::Nothing), words(""));
    let between = meaning(Text::Between(prompt, [Side::Front, Side::Side], 0.25));
    let (front, side) = (words("a castle, front view"), words("a castle, side view"));
    assert!(between.iter().zip(front.iter().zip(&side)).all(|(b, (f, s))| (b - 0.25 * f - 0.75 * s).abs() < 1e-5));
}

/// The published weights at the places where they are known.
#[test]
fn a_side_is_not_the_others() {
    let at = |azimuth: f32| sides(Prompt(0), &Look::around([azimuth.to_radians(), 0.0], 2.0, 0.9, 32));
    let weights = |azimuth: f32| at(azimuth).is_not.map(|(_, weight)| weight);
    let [front, side] = weights(0.0);
    assert!(front.abs() < 1e-3 && (side + 1.574).abs() < 1e-3, "in front: {front}, {side}");
    let [front, side] = weights(89.999);
    assert!((front + 1.574).abs() < 1e-2 && side.abs() < 1e-2, "from the side: {front}, {side}");
    let [side, front] = weights(180.0);
    assert!((side + 0.394).abs() < 1e-3 && (front + 1.967).abs() < 1e-3, "behind: {side}, {front}");
    assert!(matches!(at(180.0).is, Text::Between(_, [Side::Side, Side::Back], r) if r.abs() < 1e-5));
    assert!(weights(-60.0).iter().zip(weights(60.0)).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// An apprentice begins as the model, learns, and knows the camera that the model of single pictures does not.
#[test]
fn an_apprentice_learns_with_cameras() {
    let folder = sd1_folder();
    let mut stable = open(folder.path()).expect("a model");
    let prompt = stable.read("a castle").expect("a prompt").prompt;
    let (looks, texts, noise) = (looks(2), [Text::Of(prompt); 2], tensor4("noise", [2, 4, 16, 16]));
    let noisy = tensor4("z", [2, 4, 16, 16]);
    let asked = |posed| Asked { noisy: noisy.clone(), times: &[500, 500], texts: &texts, looks: &looks, posed };
    let plain = values(stable.epsilon(asked(true)));
    for rank in [4, 0] {
        let mut pupil = stable.apprentice(0, rank);
        let begun = values(pupil.epsilon(asked(true)));
        let off = plain.iter().zip(&begun).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(off < 1e-4, "it begins as the model: {off}");
        let losses: Vec<f32> = (0..8).map(|_| pupil.learn(asked(true), noise.clone(), 3e-3)).collect();
        assert!(losses[7] < 0.9 * losses[0], "it learns: {losses:?}");
        let (with, without) = (values(pupil.epsilon(asked(true))), values(pupil.epsilon(asked(false))));
        assert!(with.iter().zip(&without).any(|(a, b)| (a - b).abs() > 1e-4), "it knows the camera");
        // Another one goes on from there, and one of another size does not.
        let kept = pupil.keep();
        let mut other = stable.apprentice(7, rank);
        other.take_up(&kept).expect("one like it");
        assert!(values(other.epsilon(asked(true))) == with, "bit for bit");
        assert_eq!(pupil.learn(asked(true), noise.clone(), 3e-3), other.learn(asked(true), noise.clone(), 3e-3));
        let [a, b] = [pupil.as_ref(), other.as_ref()].map(|p| values(p.epsilon(asked(true))));
        assert!(a == b, "the next lesson, too");
        assert!(stable.apprentice(0, 2).take_up(&kept).is_err());
    }
}

/// A multi-view model's folder: rings, cameras, one prompt for all views.
#[test]
fn a_multi_view_folder_makes_a_field() {
    let folder = folder_of(include_str!("../../../../../tests/golden/stable/multiview.json"));
    let stable = open(folder.path()).expect("a model");
    assert_eq!((stable.ring(), stable.side()), (4, 32));
    let looks = stable.looks(1, &mut Rng::new(0, "looks"));
    let turns: Vec<f32> =
        looks.windows(2).map(|w| (w[1].azimuth - w[0].azimuth).rem_euclid(std::f32::consts::TAU)).collect();
    assert!(turns.iter().all(|turn| (turn - std::f32::consts::FRAC_PI_2).abs() < 1e-4), "{turns:?}");
    // MVDream's own first camera: in front, at 15°: its position and its right in Blender's axes.
    let m =
        values(super::super::matrices(&[Look::around([0.0, 15.0_f32.to_radians()], 2.0, 0.9, 32)], &Device::flex()));
    let (c, s) = (15.0_f32.to_radians().cos(), 15.0_f32.to_radians().sin());
    let expected = [1.0, 0.0, 0.0, 0.0, 0.0, s, -c, -c, 0.0, c, s, s, 0.0, 0.0, 0.0, 1.0];
    assert!(m.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{m:?}");
    let (prior, read) = ask(Box::new(stable), "a castle").expect("a prompt");
    let sets = [("steps".to_string(), "2".to_string())];
    let (system, preset) = System::load("mvdream", Kind::Hash, None, &sets).expect("a system");
    let device = Device::flex();
    let asked = (Arc::clone(&prior), &read);
    let mut task = Generate::new(asked, (&system, &preset), &RunOptions::default(), &device).expect("a generation");
    while task.step().expect("a step").is_continue() {}
    assert_eq!(task.shown().expect("a step").own.dims(), [4, 3, 32, 32]);
}

#[test]
fn adapters_are_named_behind_the_folder() {
    let (folder, adapters) = named("models/sd15+a.safetensors*0.7+b.safetensors").expect("a name");
    assert_eq!(folder, Path::new("models/sd15"));
    assert_eq!(adapters, [("a.safetensors".into(), 0.7), ("b.safetensors".into(), 1.0)]);
    assert!(named("models/sd15+a*x").is_err() && !is_folder("models/sd15+a") && !is_folder("builtin"));
    // A merged file changes the answer.
    let folder = sd1_folder();
    let file = folder.path().join("a.safetensors");
    let map = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    write(
        &file,
        &[
            (format!("{map}.lora_A.weight"), vec![2, 64], floats("a", 128, 0.5)),
            (format!("{map}.lora_B.weight"), vec![64, 2], floats("b", 128, 0.5)),
        ],
    );
    let name = format!("{}+{}*0.5", folder.path().display(), file.display());
    assert!(is_folder(&name));
    let [plain, merged] = [folder.path().to_string_lossy().into_owned(), name].map(|name| {
        let mut stable = Stable::open(&name, &Device::flex()).expect("a model");
        let prompt = stable.read("a cat").expect("a prompt").prompt;
        let (looks, texts) = (looks(1), [Text::Of(prompt)]);
        let noisy = tensor4("z", [1, 4, 16, 16]);
        values(stable.epsilon(Asked { noisy, times: &[500], texts: &texts, looks: &looks, posed: true }))
    });
    assert!(plain.iter().zip(&merged).any(|(a, b)| (a - b).abs() > 1e-4));
}

#[test]
fn prompts_that_are_empty_or_too_long() {
    let folder = sd1_folder();
    let mut stable = open(folder.path()).expect("a model");
    assert!(stable.read("  \n").is_err_and(|e| e.to_string().contains("empty")));
    let long = stable.read(&"tall castle ".repeat(200)).expect("a prompt");
    assert!(long.notes.iter().any(|note| note.contains("too long")), "{:?}", long.notes);
    stable.read("дом 家 🏠").expect("any script is read");
}

/// Away from other sides: nothing is changed where the weights are zero, something where they are not, and towards the
/// prompt alone by the formula.
#[test]
fn guidance_goes_away_from_other_sides() {
    use crate::guidance::Scene;
    let folder = sd1_folder();
    let mut stable = open(folder.path()).expect("a model");
    let prompt = stable.read("a castle").expect("a prompt").prompt;
    let (system, _) = System::load("scaledreamer", Kind::Hash, None, &[]).expect("a system");
    let gradient = |degrees: [f32; 2], perp_neg: bool| {
        let looks = [Look::around(degrees.map(f32::to_radians), 2.0, 0.9, 32)];
        let settings = crate::guidance::Settings { perp_neg, ..system.guidance.clone() };
        let latents = tensor4("z", [1, 4, 16, 16]);
        let scene =
            Scene { prior: &stable, latents, looks: &looks, prompt, source: None, share: 0.5, step: 3, seed: 1 };
        values(crate::guidance::Loss::Sds.start().guide(&scene, &settings).expect("a gradient").gradient)
    };
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    let above = [10.0, 80.0];
    assert!(apart(&gradient(above, true), &gradient(above, false)) < 1e-4);
    let aside = [80.0, 0.0];
    assert!(apart(&gradient(aside, true), &gradient(aside, false)) > 1e-2);
    let from = gradient(aside, true);
    assert!(from.iter().all(|v| v.is_finite()));
}
