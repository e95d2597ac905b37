//! The network against PyTorch's, the apprentice, and the weights that came with the program.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use retort_fields::field::values;

use super::network::{CHANNELS, Network, Question, shapes};
use super::*;
use crate::prior::world::picture::{self, camera};

/// Numbers that any program makes alike; `assets/prior/train.py` has the same.
fn formula(name: &str, n: usize, scale: f64) -> Vec<f32> {
    let key: u32 = name.bytes().map(u32::from).sum();
    (0..n).map(|i| (scale * (0.731 * i as f64 + f64::from(key)).sin()) as f32).collect()
}

/// A file of weights by formula.
fn file() -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let n: usize = shape.iter().product();
            let around = f32::from(u8::from(name.contains("norm") && name.ends_with("weight")));
            let fan = (n / shape[0]) as f64;
            let scale = if around > 0.0 || shape.len() == 1 { 0.1 } else { 1.2 / fan.sqrt() };
            let bytes = formula(&name, n, scale).iter().flat_map(|v| (v + around).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.expect("sized"))
    });
    safetensors::serialize(views, None).expect("a file")
}

fn picture_tensor(name: &str, n: usize, device: &Device) -> Tensor<4> {
    let side = SIDE as usize;
    let shape = [n, CHANNELS, side, side];
    Tensor::from_data(TensorData::new(formula(name, shape.iter().product(), 1.0), shape), device)
}

const TOKENS: [[u16; SLOTS]; 2] = [[8, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0], [28, 96, 128, 105, 140, 152, 22, 99, 0, 0, 0]];

fn cameras() -> Vec<Option<retort_shaders::Camera>> {
    let turn = std::f32::consts::FRAC_PI_2;
    let rings = [(0.3, 0.4), (2.0, 0.1)];
    rings.iter().flat_map(|(a, e)| (0..4).map(move |i| Some(camera(a + turn * i as f32, *e, SIDE)))).collect()
}

/// The largest difference, as a share of the largest expected value.
fn error(actual: &[f32], expected: &[f32]) -> f32 {
    let scale = expected.iter().fold(1e-12_f32, |m, e| m.max(e.abs()));
    actual.iter().zip(expected).fold(0.0_f32, |m, (a, e)| m.max((a - e).abs())) / scale
}

fn some(values: &[f32]) -> Vec<f32> {
    values.iter().step_by((values.len() / 200).max(1)).copied().collect()
}

#[test]
fn agrees_with_pytorch_forward_and_back() {
    let golden: BTreeMap<String, Vec<f32>> = serde_json::from_str(include_str!("golden.json")).expect("a golden file");
    let network = Network::read(&file(), &Device::flex()).expect("a network").trainable();
    let x = Tensor::from_inner(picture_tensor("x", 8, &Device::flex())).require_grad();
    let cameras = cameras();
    let v = network.velocity(Question { noisy: x.clone(), times: &[0.31, 0.74], tokens: &TOKENS, cameras: &cameras });
    let weights = Tensor::from_inner(picture_tensor("weights", 8, &Device::flex()));
    let mut grads = (v.clone() * weights).sum().backward();
    let mut found = BTreeMap::from([
        ("v".to_string(), some(&values(v.inner()))),
        ("x".to_string(), some(&values(x.grad_remove(&mut grads).expect("a gradient")))),
    ]);
    for name in golden.keys().filter(|name| name.len() > 1) {
        let grad = network.layers.get(name).grad_remove(&mut grads).expect("a gradient");
        found.insert(name.clone(), some(&values(grad)));
    }
    for (name, expected) in &golden {
        assert_eq!(found[name].len(), expected.len(), "{name}");
        let off = error(&found[name], expected);
        // Twenty layers of float32, there and back, against double precision; 2.3e-4 with AVX2.
        assert!(off < 5e-4, "{name} is off by {off}");
    }
    // The negative control: one word is another.
    let mut other = TOKENS;
    other[0][1] = 97;
    let x = picture_tensor("x", 8, &Device::flex());
    let plain = Network::read(&file(), &Device::flex()).expect("a network");
    let v = plain.velocity(Question { noisy: x, times: &[0.31, 0.74], tokens: &other, cameras: &cameras });
    assert!(error(&some(&values(v)), &golden["v"]) > 1e-3);
}

#[test]
fn damaged_weights_are_named() {
    let whole = file();
    for (bytes, says) in [
        (b"not weights".to_vec(), "safetensors"),
        (whole[..whole.len() - 5].to_vec(), "safetensors"),
        (Vec::new(), "safetensors"),
    ] {
        let error = Network::read(&bytes, &Device::flex()).expect_err("damaged").to_string();
        assert!(error.contains(says), "{error}");
    }
    // A name that nobody asks for in the place of one that somebody does.
    let text = b"\"out.bias\"";
    let at = whole.windows(text.len()).position(|w| w == text).expect("a name");
    let mut renamed = whole.clone();
    renamed[at..at + text.len()].copy_from_slice(b"\"out.bios\"");
    let error = Network::read(&renamed, &Device::flex()).expect_err("a name is missing").to_string();
    assert!(error.contains("out.bias"), "{error}");
}

fn builtin() -> Builtin {
    Builtin::new(&Device::flex()).expect("the weights that came with the program")
}

#[test]
fn what_came_with_the_program_denoises() {
    let mut prior = builtin();
    let read = prior.read("a red ball").expect("known words");
    assert!(prior.network.parameters() < 5_000_000 && WEIGHTS.len() < 10_000_000);
    let looks = prior.looks(1, &mut Rng::new(2, "looks"));
    let scene = super::super::world::build(prior.description(read.prompt).expect("read"), None);
    let mut rows = Vec::new();
    for look in &looks {
        let pixels = picture::picture(&scene, &look.camera);
        (0..CHANNELS).for_each(|c| rows.extend(pixels.chunks_exact(5).map(|p| p[c])));
    }
    let side = SIDE as usize;
    let clean = Tensor::<4>::from_data(TensorData::new(rows, [4, CHANNELS, side, side]), &Device::flex());
    let latents = prior.encode(clean);
    let t = prior.noise().step_at(0.5);
    let (alpha, sigma) = (prior.noise().alpha(t), prior.noise().sigma(t));
    let noise = crate::guidance::normals(latents.dims(), &Device::flex(), &mut Rng::new(4, "noise"));
    let noisy = latents * alpha + noise.clone() * sigma;
    let off = |text: Text| {
        let seen =
            prior.epsilon(Asked { noisy: noisy.clone(), times: &[t], texts: &[text], looks: &looks, posed: true });
        values((seen - noise.clone()).square().mean())[0]
    };
    let (with, without) = (off(Text::Of(read.prompt)), off(Text::Nothing));
    // Who guessed nothing would be off by 1.
    assert!(with < 0.1, "{with} of the noise is not seen");
    assert!(with < without + 0.02, "the prompt does not help: {with}, {without}");
    let decoded = values(prior.decode(prior.encode(Tensor::full([1, 4, 2, 2], 0.25, &Device::flex()))));
    assert!(decoded.iter().all(|v| (v - 0.25).abs() < 1e-6));
}

#[test]
fn an_apprentice_begins_as_its_master_and_learns() {
    let mut prior = builtin();
    let read = prior.read("a blue cube").expect("known words");
    let looks = prior.looks(1, &mut Rng::new(2, "looks"));
    let noisy = picture_tensor("x", 4, &Device::flex());
    let noise = picture_tensor("e", 4, &Device::flex());
    let texts = [Text::Of(read.prompt)];
    for rank in [4, 0] {
        let mut pupil = prior.apprentice(1, rank);
        let asked = |posed| Asked { noisy: noisy.clone(), times: &[600], texts: &texts, looks: &looks, posed };
        let same = error(&values(pupil.epsilon(asked(true))), &values(prior.epsilon(asked(true))));
        assert!(same < 1e-5, "rank {rank}: {same}");
        let unposed = error(&values(pupil.epsilon(asked(false))), &values(prior.epsilon(asked(true))));
        assert!(unposed > 1e-4, "rank {rank}: the camera makes no difference");
        let first = pupil.learn(asked(true), noise.clone(), 1e-3);
        let last = (0..24).map(|_| pupil.learn(asked(true), noise.clone(), 1e-3)).last().unwrap_or(first);
        assert!(last < 0.9 * first, "rank {rank}: {first} to {last}");
    }
}
