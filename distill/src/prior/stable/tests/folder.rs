//! Folders: whole ones, and everything that can be wrong with one.

use super::super::tokens::Tokens;
use super::*;
use crate::prior::stable::Stable;

/// The golden files' parts as a folder in diffusers' layout.
pub(super) fn folder_of(unet: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let golden = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("a golden file") };
    let part = |name: &str, file: &str, golden: &serde_json::Value| {
        let shapes: Shapes = serde_json::from_value(golden["tensors"].clone()).expect("shapes");
        write_by_formula(&at(name).join(file), &shapes);
        std::fs::write(at(name).join("config.json"), golden["config"].to_string()).expect("written");
    };
    part("unet", "diffusion_pytorch_model.safetensors", &golden(unet));
    let vae = include_str!("../../../../../tests/golden/stable/vae.json");
    part("vae", "diffusion_pytorch_model.safetensors", &golden(vae));
    let clip = golden(include_str!("../../../../../tests/golden/stable/clip.json"))["quick_gelu"].take();
    part("text_encoder", "model.safetensors", &clip);
    std::fs::create_dir_all(at("tokenizer")).expect("a folder");
    for (name, text) in [
        ("vocab.json", include_str!("../../../../../tests/golden/stable/tokenizer/vocab.json")),
        ("merges.txt", include_str!("../../../../../tests/golden/stable/tokenizer/merges.txt")),
    ] {
        std::fs::write(at("tokenizer").join(name), text).expect("written");
    }
    std::fs::create_dir_all(at("scheduler")).expect("a folder");
    let scheduler = golden(include_str!("../../../../../tests/golden/stable/scheduler.json"))["config"].to_string();
    std::fs::write(at("scheduler").join("scheduler_config.json"), scheduler).expect("written");
    folder
}

pub(super) fn sd1_folder() -> tempfile::TempDir {
    folder_of(include_str!("../../../../../tests/golden/stable/sd1.json"))
}

pub(super) fn open(folder: &Path) -> retort_fields::error::Result<Stable> {
    Stable::open(&folder.to_string_lossy(), &Device::flex())
}

#[derive(Deserialize)]
struct TokensGolden {
    prompts: Vec<String>,
    ids: Vec<Vec<u32>>,
}

#[test]
fn two_hundred_prompts_are_read_as_transformers_does() {
    let golden: TokensGolden = golden!("tokens.json");
    let folder = sd1_folder();
    // By the two files, and by the one that newer programs write.
    let at = folder.path().join("tokenizer");
    let [two, one] = [false, true].map(|one| {
        if one {
            let text = include_str!("../../../../../tests/golden/stable/tokenizer/tokenizer.json");
            std::fs::write(at.join("tokenizer.json"), text).expect("written");
            std::fs::remove_file(at.join("vocab.json")).expect("gone");
        }
        Tokens::open(&at, 77).expect("a tokenizer")
    });
    assert!(golden.prompts.len() >= 200, "{}", golden.prompts.len());
    let mut wrong = Vec::new();
    let both = golden.prompts.iter().zip(&golden.ids).flat_map(|asked| [(&two, asked), (&one, asked)]);
    for (tokens, (prompt, ids)) in both {
        let told = tokens.tell(prompt).expect("tokens");
        let mut expected = ids.clone();
        let last = expected[expected.len() - 1];
        expected.resize(77, last);
        if told.ids != expected {
            wrong.push(format!("{prompt:?}: {:?}, not {ids:?}", &told.ids[..ids.len()]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.prompts.len(), wrong.join("\n"));
}

#[test]
fn another_word_may_fill_a_text() {
    let folder = sd1_folder();
    let path = folder.path().join("tokenizer");
    std::fs::write(path.join("special_tokens_map.json"), r#"{"pad_token": {"content": "!"}}"#).expect("written");
    let tokens = Tokens::open(&path, 77).expect("a tokenizer");
    assert_eq!(tokens.tell("a cat").expect("tokens").ids[76], 0);
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    // What is done to a whole folder, and what the one line says.
    type Harm = fn(&Path);
    let harms: &[(Harm, &[&str])] = &[
        (|f| std::fs::remove_dir_all(f.join("vae")).expect("gone"), &["has no vae/"]),
        (|f| std::fs::remove_file(f.join("unet/config.json")).expect("gone"), &["unet/config.json"]),
        (
            |f| std::fs::rename(f.join("unet").join(UNET), f.join("unet/diffusion_pytorch_model.bin")).expect("moved"),
            &["unet", "a pickle", "safetensors"],
        ),
        (|f| std::fs::remove_file(f.join("unet").join(UNET)).expect("gone"), &["unet", "no weights"]),
        (
            |f| {
                let bytes = std::fs::read(f.join("vae").join(UNET)).expect("a file");
                std::fs::write(f.join("vae").join(UNET), &bytes[..bytes.len() / 2]).expect("written");
            },
            &["vae", "beyond the file's end"],
        ),
        (|f| std::fs::write(f.join("vae").join(UNET), b"PK").expect("written"), &["vae", "too short"]),
        (
            |f| std::fs::write(f.join("text_encoder/model.safetensors"), [255; 64]).expect("written"),
            &["text_encoder", "a header of"],
        ),
        (|f| replace(f, "unet/config.json", "\"CrossAttnDownBlock2D\"", "\"AttnDownBlock2D\""), &["AttnDownBlock2D"]),
        (|f| replace(f, "unet/config.json", "[32,64]", "[32,96]"), &["unet", "config.json makes it"]),
        (|f| replace(f, "unet/config.json", "[32,64]", "[0,64]"), &["unet/config.json", "0"]),
        (|f| replace(f, "unet/config.json", "\"layers_per_block\":2", "\"layers_per_block\":0"), &["unet/config.json"]),
        (|f| replace(f, "vae/config.json", "\"layers_per_block\":1", "\"layers_per_block\":0"), &["vae/config.json"]),
        (|f| replace(f, "unet/config.json", "\"cross_attention_dim\":32", "\"cross_attention_dim\":48"), &["families"]),
        (|f| replace(f, "scheduler/scheduler_config.json", "scaled_linear", "squared"), &["beta_schedule squared"]),
        // Sizes are not made up where a file leaves them out.
        (
            |f| std::fs::write(f.join("vae/config.json"), "{}").expect("written"),
            &["vae/config.json", "block_out_channels"],
        ),
        (
            |f| std::fs::write(f.join("text_encoder/config.json"), "{}").expect("written"),
            &["text_encoder/config.json", "a size"],
        ),
        (|f| std::fs::write(f.join("tokenizer/vocab.json"), "{}").expect("written"), &["tokenizer"]),
        (
            |f| std::fs::write(f.join("unet/config.json"), "[").expect("written"),
            &["unet/config.json", "not understood"],
        ),
    ];
    const UNET: &str = "diffusion_pytorch_model.safetensors";
    for (i, (harm, says)) in harms.iter().enumerate() {
        let folder = sd1_folder();
        harm(folder.path());
        let error = open(folder.path()).err().unwrap_or_else(|| panic!("harm {i} is not seen")).to_string();
        assert!(says.iter().all(|word| error.contains(word)), "harm {i}: {error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
    open(sd1_folder().path()).expect("a whole folder is read");
    // The other way of writing a denoiser's configuration is checked before anything is built upon it, too.
    let folder = folder_of(include_str!("../../../../../tests/golden/stable/multiview.json"));
    replace(folder.path(), "unet/config.json", "\"num_res_blocks\":2", "\"num_res_blocks\":1000000");
    assert!(open(folder.path()).is_err_and(|e| e.to_string().contains("unet/config.json")));
    assert!(open(Path::new("/nowhere")).is_err_and(|e| e.to_string().contains("no such folder")));
}

fn replace(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{file} has no {from}: {text}");
    std::fs::write(path, text.replace(from, to)).expect("written");
}

/// Names, shapes and bytes of a file.
type Halves = Vec<(String, Vec<usize>, Vec<u8>)>;

/// Half-precision weights in two files with an index, old names of the autoencoder's attention, the text encoder's names
/// without their first part: the same answers as from the plain folder, to half precision.
#[test]
fn other_ways_of_writing_are_the_same_model() {
    let (plain, other) = (sd1_folder(), sd1_folder());
    let half = |path: &Path, to: &[&str], rename: &dyn Fn(&str) -> String| {
        let bytes = std::fs::read(path).expect("a file");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
        let mut parts: Vec<Halves> = vec![Vec::new(); to.len()];
        let mut map = serde_json::Map::new();
        for (i, (name, view)) in file.tensors().into_iter().enumerate() {
            let floats = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let halves = floats.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
            map.insert(rename(&name), to[i % to.len()].into());
            parts[i % to.len()].push((rename(&name), view.shape().to_vec(), halves));
        }
        for (name, part) in to.iter().zip(&parts) {
            let views = part.iter().map(|(name, shape, bytes)| {
                let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.clone(), bytes);
                (name.clone(), view.expect("sized"))
            });
            let bytes = safetensors::serialize(views, None).expect("a file");
            std::fs::write(path.with_file_name(name), bytes).expect("written");
        }
        std::fs::remove_file(path).expect("gone");
        map
    };
    let at = |name: &str| other.path().join(name);
    let parts = ["diffusion-00001-of-00002.safetensors", "diffusion-00002-of-00002.safetensors"];
    let map = half(&at("unet/diffusion_pytorch_model.safetensors"), &parts, &str::to_string);
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(at("unet/diffusion_pytorch_model.safetensors.index.json"), index.to_string()).expect("written");
    half(&at("vae/diffusion_pytorch_model.safetensors"), &["diffusion_pytorch_model.fp16.safetensors"], &|name| {
        name.replace(".to_q.", ".query.").replace(".to_out.0.", ".proj_attn.")
    });
    half(&at("text_encoder/model.safetensors"), &["model.fp16.safetensors"], &|name| {
        name.trim_start_matches("text_model.").to_string()
    });
    let [a, b] = [&plain, &other].map(|folder| {
        use crate::prior::{Asked, Prior, Text};
        let mut stable = open(folder.path()).expect("a model");
        let read = stable.read("a wooden stool").expect("a prompt");
        let looks = stable.looks(1, &mut retort_fields::rng::Rng::new(0, "looks"));
        let latents = stable.encode(tensor4("pictures", [1, 3, 32, 32]) * 0.5 + 0.5);
        let texts = [Text::Of(read.prompt)];
        let asked = Asked { noisy: latents, times: &[300], texts: &texts, looks: &looks, posed: true };
        values(stable.epsilon(asked))
    });
    let scale = a.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let off = a.iter().zip(&b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / scale;
    assert!(off < 2e-2 && off > 0.0, "{off}");
}
