//! Block by block: denoiser, autoencoder, text encoder, adapters, samplers, names of the published sizes.

use retort_fields::device;

use super::super::config::{ClipConfig, SchedulerConfig, UnetConfig, VaeConfig};
use super::super::unet::{Question, Unet};
use super::super::vae::Vae;
use super::super::{cost, ldm, lora, text, unet, vae};
use super::*;
use crate::prior::layers::{Layers, half};
use crate::prior::noise::Noise;
use crate::prior::sampler::{Plan, Sampler, Spacing};

#[derive(Deserialize)]
struct UnetGolden {
    config: UnetConfig,
    tensors: Shapes,
    out: Some_,
    epsilon: Some_,
    blocks: BTreeMap<String, Some_>,
    #[serde(default)]
    samplers: BTreeMap<String, Sampled>,
    lora: Option<LoraGolden>,
    #[serde(default)]
    lora_files: BTreeMap<String, LoraFile>,
}

#[derive(Deserialize)]
struct Sampled {
    times: Vec<u32>,
    out: Some_,
}

#[derive(Deserialize)]
struct LoraGolden {
    names: Shapes,
    out: Some_,
    grads: BTreeMap<String, Some_>,
}

#[derive(Deserialize)]
struct LoraFile {
    tensors: Shapes,
    out: Some_,
}

fn sd1() -> UnetGolden {
    golden!("sd1.json")
}

fn sd2() -> UnetGolden {
    golden!("sd2.json")
}

fn unet_of(golden: &UnetGolden, device: &Device) -> Unet {
    Unet::load(golden.config.clone(), &by_formula(&golden.tensors), device).expect("a denoiser")
}

const TIMES: [u32; 2] = [37, 801];

fn question(device: &Device) -> Question<'static> {
    let place = |t: Tensor<2>| Tensor::from_data(t.into_data(), device);
    Question {
        noisy: Tensor::from_data(tensor4("z", [2, 4, 16, 16]).into_data(), device),
        times: &TIMES,
        texts: place(tensor2("text", [18, 32])),
        cameras: None,
    }
}

#[test]
fn every_block_of_the_denoiser_agrees_with_diffusers() {
    for golden in [sd1(), sd2()] {
        let unet = unet_of(&golden, &Device::flex());
        let mut seen = 0;
        let out = unet.answer_watched(&question(&Device::flex()), &mut |name, x| {
            let Some(expected) = golden.blocks.get(name) else { return };
            seen += 1;
            match expected.shape.len() {
                2 => close(name, x, expected),
                _ => close(name, &block(x, 2), expected),
            }
        });
        assert_eq!(seen, golden.blocks.len(), "all blocks were compared");
        close("the answer", &out, &golden.out);
        let velocity = error(&out, &golden.epsilon) > 1e-3;
        let noise = Noise::scaled_linear(0.00085, 0.012, 1000);
        let epsilon = noise.epsilon_of_velocity(question(&Device::flex()).noisy, out.clone(), &TIMES, 1);
        close("the noise", if velocity { &epsilon } else { &out }, &golden.epsilon);
        // The negative control: another time, another text.
        let other = Question { times: &[37, 802], ..question(&Device::flex()) };
        assert!(error(&unet.answer(&other), &golden.out) > 10.0 * CLOSE);
        let other = Question { texts: tensor2("other", [18, 32]), ..question(&Device::flex()) };
        assert!(error(&unet.answer(&other), &golden.out) > 10.0 * CLOSE);
    }
}

/// The same on a GPU, at what its arithmetic allows. A software driver compiles its kernels for minutes.
#[test]
#[ignore = "minutes on a software driver"]
fn slow_the_denoiser_agrees_on_a_gpu() {
    let device = device::choose("gpu").expect("the tests need a Vulkan driver; tests/run installs one");
    let golden = sd1();
    let mut whole = unet_of(&golden, &Device::flex());
    whole.layers_mut().each(|weight| Tensor::from_data(weight.into_data(), &device));
    let off = error(&whole.answer(&question(&device)), &golden.out);
    println!("the denoiser on a GPU in float32: off by {off:.1e}");
    assert!(off < 1e-3, "off by {off}");
    // As it is loaded there.
    let mut halves = unet_of(&golden, &device);
    assert_eq!(halves.layers_mut().has_halves(), device::has_halves(&device));
    if halves.layers_mut().has_halves() {
        within(NEAR, "the denoiser on a GPU in float16", &halves.answer(&question(&device)), &golden.out);
    } else {
        println!("this GPU does not multiply float16");
    }
}

/// Float16 as on a GPU, by the processor: forward, on the way back through the encoder, and to the adapters.
#[test]
fn halves_are_nearly_as_right() {
    for (name, golden) in [("sd1", sd1()), ("sd2", sd2())] {
        let mut unet = unet_of(&golden, &Device::flex());
        unet.layers_mut().each(half);
        assert!(unet.layers_mut().has_halves());
        within(NEAR, name, &unet.answer(&question(&Device::flex())), &golden.out);
        // All of its weights to be trained: float32 again.
        assert!(!unet.apprentice(0, 0).layers_mut().has_halves());
    }
    let golden: VaeGolden = golden!("vae.json");
    let mut vae = Vae::load(golden.config.clone(), &by_formula(&golden.tensors), &Device::flex()).expect("one");
    vae.halved();
    let x = tensor4("picture", [2, 3, 32, 32]);
    let (posterior, trail) = vae.encode_kept(x);
    within(NEAR, "the mean", &posterior.mean, &golden.mean);
    let spread = (posterior.logvar * 0.5).exp() * tensor4("posterior", [2, 4, 16, 16]);
    let weights = tensor4("latent weights", [2, 4, 16, 16]);
    // A gradient so small that float16 has no such numbers.
    let tiny = 1e-9;
    let back = vae.encode_back(trail, weights.clone() * tiny, Some(weights * spread * (0.5 * tiny)));
    within(NEAR, "the gradient of the pictures", &(back / tiny), &golden.gradient);
    within(NEAR, "the way back", &vae.decode(tensor4("z", [2, 4, 16, 16])), &golden.decoded);
}

#[derive(Deserialize)]
struct VaeGolden {
    config: VaeConfig,
    tensors: Shapes,
    mean: Some_,
    logvar: Some_,
    latents: Some_,
    gradient: Some_,
    decoded: Some_,
}

#[test]
fn the_autoencoder_agrees_with_diffusers_there_and_back() {
    let golden: VaeGolden = golden!("vae.json");
    let vae = Vae::load(golden.config.clone(), &by_formula(&golden.tensors), &Device::flex()).expect("an autoencoder");
    let x = tensor4("picture", [2, 3, 32, 32]);
    let (posterior, trail) = vae.encode_kept(x.clone());
    close("the mean", &vae.encode(x).mean, &golden.mean);
    close("the mean", &posterior.mean, &golden.mean);
    close("the logarithmic variance", &posterior.logvar, &golden.logvar);
    // z = mean + exp(logvar / 2) noise
    let spread = (posterior.logvar * 0.5).exp() * tensor4("posterior", [2, 4, 16, 16]);
    close("the latents", &(posterior.mean + spread.clone()), &golden.latents);
    let weights = tensor4("latent weights", [2, 4, 16, 16]);
    let gradient = vae.encode_back(trail.clone(), weights.clone(), Some(weights.clone() * spread * 0.5));
    close("the gradient of the pictures", &gradient, &golden.gradient);
    assert!(error(&vae.encode_back(trail, weights, None), &golden.gradient) > 10.0 * CLOSE, "the noise has its part");
    close("the way back", &vae.decode(tensor4("z", [2, 4, 16, 16])), &golden.decoded);
}

/// The way back against differences of the way in.
#[test]
fn the_encoders_gradient_is_the_slope() {
    let golden: VaeGolden = golden!("vae.json");
    let vae = Vae::load(golden.config.clone(), &by_formula(&golden.tensors), &Device::flex()).expect("an autoencoder");
    let x = tensor4("picture", [1, 3, 16, 16]);
    let weights = tensor4("latent weights", [1, 4, 8, 8]);
    let along = tensor4("a direction", [1, 3, 16, 16]);
    let slope = values((vae.encode_back(vae.encode_kept(x.clone()).1, weights.clone(), None) * along.clone()).sum())[0];
    let at = |h: f32| values((vae.encode(x.clone() + along.clone() * h).mean * weights.clone()).sum())[0];
    let h = 2e-3;
    let difference = (at(h) - at(-h)) / (2.0 * h);
    assert!((slope - difference).abs() < 0.01 * slope.abs(), "{slope}, {difference}");
}

#[derive(Deserialize)]
struct ClipGolden {
    config: ClipConfig,
    tensors: Shapes,
    tokens: Vec<Vec<u32>>,
    out: Some_,
}

#[test]
fn the_text_encoder_agrees_with_transformers() {
    let all: BTreeMap<String, ClipGolden> = golden!("clip.json");
    for (act, golden) in &all {
        let load = |shapes: &Shapes| {
            text::TextEncoder::load(golden.config.clone(), &by_formula(shapes), &Device::flex()).expect("an encoder")
        };
        let out = load(&golden.tensors).encode(&golden.tokens).reshape([2, 77, 32]);
        close(act, &out, &golden.out);
        let mut other = golden.tokens.clone();
        other[1][3] += 1;
        let off = load(&golden.tensors).encode(&other).reshape([2, 77, 32]);
        assert!(error(&off, &golden.out) > 10.0 * CLOSE, "another word");
    }
    // The two activations are two.
    let [gelu, quick] = [&all["gelu"].out.values, &all["quick_gelu"].out.values];
    assert!(gelu.iter().zip(quick).any(|(a, b)| (a - b).abs() > 1e-3));
}

#[test]
fn adapters_have_the_gradients_that_peft_has() {
    adapters_beside(&unet_of(&sd1(), &Device::flex()), 0.0..CLOSE);
    let mut halves = unet_of(&sd1(), &Device::flex());
    halves.layers_mut().each(half);
    adapters_beside(&halves, NEAR);
}

/// Compares what the adapters of a denoiser make of it, and their gradients, which are off by as much as `share`.
fn adapters_beside(unet: &Unet, share: Range<f32>) {
    let golden = sd1();
    let expected = golden.lora.as_ref().expect("adapters");
    let mut unet = unet.apprentice(4, 0);
    let adapters = unet.layers_mut().adapters_mut();
    assert_eq!(2 * adapters.len(), expected.names.len());
    for (name, pair) in adapters.iter_mut() {
        for (factor, part) in pair.iter_mut().zip(["lora_A", "lora_B"]) {
            let full = format!("{name}.{part}.weight");
            let shape = &expected.names[&full];
            let all = floats(&full, shape.iter().product(), 0.3);
            let all = Tensor::<2>::from_data(TensorData::new(all, shape.clone()), &Device::flex());
            *factor = Tensor::from_inner(all.transpose()).require_grad();
        }
    }
    let Question { noisy, texts, .. } = question(&Device::flex());
    let asked =
        Question { noisy: Tensor::from_inner(noisy), times: &TIMES, texts: Tensor::from_inner(texts), cameras: None };
    let out = unet.answer(&asked);
    within(share.clone(), "with adapters", &out.clone().inner(), &expected.out);
    let weights = Tensor::from_inner(tensor4("weights", out.dims()));
    let mut grads = (out * weights).sum().backward();
    let mut compared = 0;
    for (name, pair) in unet.layers_mut().adapters_mut() {
        for (factor, part) in pair.iter().zip(["lora_A", "lora_B"]) {
            let full = format!("{name}.{part}.weight");
            if let Some(expected) = expected.grads.get(&full) {
                within(
                    share.clone(),
                    &full,
                    &factor.grad_remove(&mut grads).expect("a gradient").transpose(),
                    expected,
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, expected.grads.len());
}

#[test]
fn files_of_adapters_are_merged_as_diffusers_does() {
    let golden = sd1();
    let folder = tempfile::tempdir().expect("a folder");
    let plain = unet_of(&golden, &Device::flex()).answer(&question(&Device::flex()));
    for (form, file) in &golden.lora_files {
        let path = folder.path().join(format!("{form}.safetensors"));
        let value = |name: &str, shape: &Vec<usize>| match shape.len() {
            0 => vec![2.0],
            _ => floats(name, shape.iter().product(), 0.3),
        };
        let tensors: Vec<_> = file.tensors.iter().map(|(n, s)| (n.clone(), s.clone(), value(n, s))).collect();
        write(&path, &tensors);
        let mut unet = unet_of(&golden, &Device::flex());
        let mut text = Layers::default();
        let merged = lora::merge(&path, 0.7, unet.layers_mut(), &mut text).expect("adapters");
        assert_eq!(merged, 4, "{form}");
        close(form, &unet.answer(&question(&Device::flex())), &file.out);
        assert!(error(&plain, &file.out) > 10.0 * CLOSE, "{form}: without adapters it is another");
    }
    assert_eq!(golden.lora_files.len(), 3);
    // Adapters of a map that is not there, and a file of something else.
    for (name, says) in [("unet.down_blocks.9.to_q", "no such map"), ("transformer.blocks.0", "another part")] {
        let path = folder.path().join("odd.safetensors");
        write(&path, &[(format!("{name}.lora_A.weight"), vec![4, 32], vec![0.1; 128])]);
        let mut unet = unet_of(&golden, &Device::flex());
        let error = lora::merge(&path, 1.0, unet.layers_mut(), &mut Layers::default()).expect_err("a refusal");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn samplers_go_as_diffusers_does() {
    #[derive(Deserialize)]
    struct Golden {
        config: SchedulerConfig,
        alphas_cumprod: BTreeMap<String, f32>,
    }
    let scheduler: Golden = golden!("scheduler.json");
    let (config, golden) = (scheduler.config, sd1());
    config.check().expect("a known scheduler");
    let noise = Noise::scaled_linear(config.beta_start, config.beta_end, config.num_train_timesteps);
    for (t, bar) in &scheduler.alphas_cumprod {
        assert!((noise.alpha_bar(t.parse().expect("a step")) - bar).abs() < 1e-6, "{t}");
    }
    let unet = unet_of(&golden, &Device::flex());
    for (name, expected) in &golden.samplers {
        let (sampler, spacing) = match name.as_str() {
            "ddim" => (Sampler::Ddim, Spacing::Leading),
            "ddim_trailing" => (Sampler::Ddim, Spacing::Trailing),
            _ => (Sampler::DpmSolver, Spacing::Linspace),
        };
        let plan = Plan { sampler, steps: 10, spacing, offset: config.steps_offset, to_one: config.set_alpha_to_one };
        assert_eq!(plan.times(&noise), expected.times, "{name}");
        let out = plan.run(&noise, tensor4("start", [1, 4, 16, 16]), |z, t| {
            let texts = Tensor::cat(vec![tensor2("without", [9, 32]), tensor2("with", [9, 32])], 0);
            let noisy = Tensor::cat(vec![z.clone(), z.clone()], 0);
            let seen = unet.answer(&Question { noisy, times: &[t, t], texts, cameras: None });
            let (without, with) = (seen.clone().narrow(0, 0, 1), seen.narrow(0, 1, 1));
            let said = without.clone() + (with - without) * 7.5;
            Ok(if name == "ddim_trailing" { noise.epsilon_of_velocity(z, said, &[t], 1) } else { said })
        });
        close(name, &out.expect("a picture"), &expected.out);
    }
    assert_eq!(golden.samplers.len(), 3);
}

#[derive(Deserialize)]
struct MultiviewGolden {
    config: ldm::LdmConfig,
    tensors: Shapes,
    out: Some_,
    without: Some_,
}

#[test]
fn several_views_are_seen_together_as_mvdream_does() {
    let golden: MultiviewGolden = golden!("multiview.json");
    let config = golden.config.unet().expect("a known network");
    config.check().expect("a known network");
    let unet = Unet::load(config, &by_formula(&golden.tensors), &Device::flex()).expect("a denoiser");
    let asked = |cameras| Question {
        noisy: tensor4("z", [8, 4, 16, 16]),
        times: &TIMES,
        texts: tensor2("text", [18, 32]),
        cameras,
    };
    close("with cameras", &unet.answer(&asked(Some(tensor2("camera", [8, 16])))), &golden.out);
    close("without", &unet.answer(&asked(None)), &golden.without);
    assert!(error(&unet.answer(&asked(None)), &golden.out) > 10.0 * CLOSE);
}

/// What a configuration is read as.
#[derive(Deserialize)]
struct Published {
    config: serde_json::Value,
    tensors: usize,
    parameters: usize,
    digest: String,
}

#[test]
fn published_sizes_have_the_published_names_and_shapes() {
    let all: BTreeMap<String, Published> = golden!("published.json");
    for (name, published) in &all {
        let config = || published.config.clone();
        let mut shapes = match name.as_str() {
            "vae" => vae::shapes(&serde_json::from_value(config()).expect("a configuration")),
            "sd15_clip" | "sd21_clip" => text::shapes(&serde_json::from_value(config()).expect("a configuration")),
            _ => {
                let config: UnetConfig = serde_json::from_value(config()).expect("a configuration");
                config.check().expect("a known network");
                unet::shapes(&config)
            }
        };
        shapes.sort();
        let lines = shapes.iter().map(|(name, shape)| {
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            format!("{name} {}\n", shape.join("x"))
        });
        let text: String = lines.collect();
        let parameters: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!((shapes.len(), parameters), (published.tensors, published.parameters), "{name}");
        assert_eq!(format!("{:016x}", fingerprint(text.bytes())), published.digest, "{name}");
    }
    assert_eq!(all.len(), 5);
    // What a step costs is known of these sizes: 0.80 TFLOP a picture for the denoiser, 1.12 for the way into latents.
    let unet: UnetConfig = serde_json::from_value(all["sd15_unet"].config.clone()).expect("a configuration");
    let vae: VaeConfig = serde_json::from_value(all["vae"].config.clone()).expect("a configuration");
    let (denoise, encode) = (cost::denoiser(&unet, 64) / 1e12, cost::encoder(&vae, 512) / 1e12);
    assert!((0.76..0.84).contains(&denoise) && (1.06..1.18).contains(&encode), "{denoise}, {encode}");
}
