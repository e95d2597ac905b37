"""What diffusers, transformers and MVDream's own code make of tiny models: the oracle of `distill/src/prior/stable`.

    python3 -m venv venv && venv/bin/pip install torch diffusers transformers accelerate peft safetensors einops omegaconf
    venv/bin/python tests/golden/stable/make.py OUT [MVDREAM]

MVDREAM is a checkout of bytedance/MVDream; without it `multiview.json` is left as it is. Weights are by formula
(`numbers`, which the Rust tests have, too), so the files hold names, shapes and answers only. Computed in double
precision, so that what differs is the other side's rounding alone.
"""

import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
C1, C2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def numbers(name, n):
    """`n` even numbers from -1 to 1 that any program makes alike: SplitMix64's finish of the place and of the name."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * C1
        z = (z ^ (z >> np.uint64(27))) * C2
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def tensor(name, *shape):
    return torch.from_numpy(numbers(name, math.prod(shape))).reshape(shape)


def weight(name, shape):
    """As `weights_by_formula` in the Rust tests: about unit spread in, unit spread out."""
    values = tensor(name, *shape)
    if len(shape) == 1:
        return 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
    fan = math.prod(shape[1:])
    # float32 is what a file holds.
    return values * math.sqrt(3.0 / fan)


def fill(model, rename=lambda name: name):
    """Weights by formula; returns the names and shapes as they stand in a file."""
    names = {}
    state = model.state_dict()
    for name, old in state.items():
        if not old.dtype.is_floating_point:
            continue
        state[name] = weight(rename(name), old.shape).float().double()
        names[rename(name)] = list(old.shape)
    model.load_state_dict(state)
    model.double().eval()
    return names


def some(x):
    """At most 120 of the values, evenly spaced, and their root mean square."""
    flat = x.detach().double().flatten()
    chosen = flat[:: max(1, len(flat) // 120)]
    return {"shape": list(x.shape), "values": [float(f"{v:.7g}") for v in chosen.tolist()]}


def watch(model, wanted):
    """Answers of some modules as they pass."""
    seen = {}
    for name, module in model.named_modules():
        if name in wanted:
            def hook(_, __, out, name=name):
                seen[name] = some(out[0] if isinstance(out, tuple) else getattr(out, "sample", out))
            module.register_forward_hook(hook)
    return seen


UNET = dict(block_out_channels=(32, 64), layers_per_block=2, sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32, attention_head_dim=8)
UNET2 = dict(UNET, attention_head_dim=(2, 4), use_linear_projection=True,
             down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
VAE = dict(block_out_channels=[32, 64], in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 2,
           up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, layers_per_block=1, sample_size=32)
CLIP = dict(hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=5, layer_norm_eps=1e-5,
            vocab_size=1000, bos_token_id=0, eos_token_id=2, pad_token_id=1, max_position_embeddings=77)
SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False,
                 num_train_timesteps=1000, steps_offset=1, clip_sample=False)
BLOCKS = ["conv_in", "time_embedding", "down_blocks.0.resnets.0", "down_blocks.0.attentions.0", "down_blocks.0", "down_blocks.1",
          "mid_block", "up_blocks.0", "up_blocks.1", "conv_norm_out"]


def config(model):
    keep = lambda value: list(value) if isinstance(value, tuple) else value
    return {key: keep(value) for key, value in model.config.items() if not key.startswith("_") or key == "_class_name"}


def unet(kind, prediction):
    from diffusers import UNet2DConditionModel
    model = UNet2DConditionModel(**kind)
    names = fill(model)
    seen = watch(model, BLOCKS)
    z, text, t = tensor("z", 2, 4, 16, 16), tensor("text", 2, 9, 32), torch.tensor([37, 801])
    out = model(z, t, text).sample
    seen = dict(seen)  # as they are now: the model is asked again by others
    bars = alphas()[t][:, None, None, None]
    epsilon = out if prediction == "epsilon" else bars.sqrt() * out + (1 - bars).sqrt() * z
    return model, {"config": config(model), "tensors": names, "out": some(out), "epsilon": some(epsilon), "blocks": seen}


def alphas():
    from diffusers import DDIMScheduler
    return DDIMScheduler(**SCHEDULER).alphas_cumprod.double()


def lora_gradients(said):
    """Gradients of adapters of rank 4 beside the attention's maps, factors by formula."""
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig
    model = UNet2DConditionModel(**UNET)
    fill(model)
    model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    factors = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            plain = name.replace(".default", "")
            parameter.data = (0.3 * tensor(plain, *parameter.shape)).float().double()
            parameter.requires_grad_(True)
            factors[plain] = parameter
    model.double().eval()
    out = model(tensor("z", 2, 4, 16, 16), torch.tensor([37, 801]), tensor("text", 2, 9, 32)).sample
    (out * tensor("weights", *out.shape)).sum().backward()
    said["lora"] = {"names": {name: list(p.shape) for name, p in factors.items()}, "out": some(out),
                    "grads": {name: some(p.grad) for i, (name, p) in enumerate(factors.items()) if i % 7 == 0}}


def vae():
    from diffusers import AutoencoderKL
    model = AutoencoderKL(**VAE)
    names = fill(model)
    seen = watch(model, ["encoder.conv_in", "encoder.down_blocks.0", "encoder.down_blocks.1", "encoder.mid_block",
                         "decoder.mid_block", "decoder.up_blocks.0", "decoder.up_blocks.1"])
    x = tensor("picture", 2, 3, 32, 32).requires_grad_(True)
    posterior = model.encode(x).latent_dist
    noise = tensor("posterior", *posterior.mean.shape)
    z = posterior.mean + posterior.std * noise
    (z * tensor("latent weights", *z.shape)).sum().backward()
    decoded = model.decode(tensor("z", 2, 4, 16, 16)).sample
    return model, {"config": config(model), "tensors": names, "mean": some(posterior.mean), "logvar": some(posterior.logvar),
                   "latents": some(z), "gradient": some(x.grad), "decoded": some(decoded), "blocks": seen}


def clip(act):
    from transformers import CLIPTextConfig, CLIPTextModel
    model = CLIPTextModel(CLIPTextConfig(**CLIP, hidden_act=act))
    prefix = lambda name: name if name.startswith("text_model.") else "text_model." + name
    names = fill(model, prefix)
    tokens = (torch.from_numpy(numbers("tokens", 2 * 77) * 0.5 + 0.5) * 999).long().reshape(2, 77)
    out = model(tokens).last_hidden_state
    kept = {key: value for key, value in CLIP.items()} | {"hidden_act": act}
    return model, {"config": kept, "tensors": names, "tokens": tokens.tolist(), "out": some(out)}


def samplers(model):
    """Ten steps of two samplers, guidance 7.5, from noise by formula, texts by formula."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
    said = {}
    made = {
        "ddim": DDIMScheduler(**SCHEDULER),
        "ddim_trailing": DDIMScheduler(**dict(SCHEDULER, timestep_spacing="trailing", prediction_type="v_prediction")),
        "dpm": DPMSolverMultistepScheduler.from_config(DDIMScheduler(**SCHEDULER).config),
    }
    for name, scheduler in made.items():
        scheduler.set_timesteps(10)
        z = tensor("start", 1, 4, 16, 16)
        text = torch.cat([tensor("without", 1, 9, 32), tensor("with", 1, 9, 32)])
        with torch.no_grad():
            for t in scheduler.timesteps:
                without, with_ = model(torch.cat([z, z]), t, text).sample.chunk(2)
                z = scheduler.step(without + 7.5 * (with_ - without), t, z).prev_sample
        said[name] = {"times": [int(t) for t in scheduler.timesteps], "out": some(z)}
    return said


def lora_files(said):
    """What diffusers makes of a file of adapters in each way of writing it, merged with the weight 0.7."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel
    target = ["down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q", "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
              "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj", "up_blocks.1.attentions.0.proj_in"]
    shapes = {name: list(p.shape) for name, p in UNet2DConditionModel(**UNET).state_dict().items()}
    files = {"peft": {}, "diffusers": {}, "kohya": {}}
    for name in target:
        out, inputs = shapes[name + ".weight"][:2]
        square = shapes[name + ".weight"][2:]
        down, up = [4, inputs, *square], [out, 4, *square]
        files["peft"][f"unet.{name}.lora_A.weight"], files["peft"][f"unet.{name}.lora_B.weight"] = down, up
        files["diffusers"][f"unet.{name}.lora.down.weight"], files["diffusers"][f"unet.{name}.lora.up.weight"] = down, up
        flat = "lora_unet_" + name.replace(".", "_")
        files["kohya"][f"{flat}.lora_down.weight"], files["kohya"][f"{flat}.lora_up.weight"] = down, up
        files["kohya"][f"{flat}.alpha"] = []
    said["lora_files"] = {}
    for form, tensors in files.items():
        model = UNet2DConditionModel(**UNET)
        fill(model)
        pipe = StableDiffusionPipeline(vae=AutoencoderKL(**VAE), text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP)), tokenizer=None,
                                       unet=model, scheduler=DDIMScheduler(**SCHEDULER), safety_checker=None,
                                       feature_extractor=None, requires_safety_checker=False)
        # An alpha of 2 for a rank of 4: half of the weight.
        values = {name: torch.tensor(2.0) if not shape else (0.3 * tensor(name, *shape)).float() for name, shape in tensors.items()}
        with tempfile.TemporaryDirectory() as folder:
            save_file({name: value.float().contiguous() for name, value in values.items()}, f"{folder}/adapter.safetensors")
            pipe.load_lora_weights(folder, weight_name="adapter.safetensors")
            pipe.fuse_lora(lora_scale=0.7)
        model.double()
        with torch.no_grad():
            out = model(tensor("z", 2, 4, 16, 16), torch.tensor([37, 801]), tensor("text", 2, 9, 32)).sample
        said["lora_files"][form] = {"tensors": tensors, "out": some(out)}


PUBLISHED = {
    "sd15_unet": dict(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=768, attention_head_dim=8,
                      sample_size=64),
    "sd21_unet": dict(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=1024,
                      attention_head_dim=(5, 10, 20, 20), use_linear_projection=True, sample_size=96),
    "vae": dict(block_out_channels=[128, 256, 512, 512], down_block_types=["DownEncoderBlock2D"] * 4,
                up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, layers_per_block=2, sample_size=512),
    "sd15_clip": dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12, hidden_act="quick_gelu",
                      vocab_size=49408, max_position_embeddings=77, layer_norm_eps=1e-5),
    "sd21_clip": dict(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=23, hidden_act="gelu",
                      vocab_size=49408, max_position_embeddings=77, layer_norm_eps=1e-5),
}


def published():
    """Names and shapes of the published configurations: their number, parameters, and a digest of `name shape` lines."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    said = {}
    for name, kind in PUBLISHED.items():
        with torch.device("meta"):
            model = (UNet2DConditionModel(**kind) if "unet" in name else AutoencoderKL(**kind) if name == "vae"
                     else CLIPTextModel(CLIPTextConfig(**kind)))
        shapes = {}
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                key = key if "clip" not in name or key.startswith("text_model.") else "text_model." + key
                shapes[key] = list(value.shape)
        digest = 0xCBF29CE484222325
        for key in sorted(shapes):
            for byte in f"{key} {'x'.join(map(str, shapes[key]))}\n".encode():
                digest = ((digest ^ byte) * 0x100000001B3) % 2**64
        kept = config(model) if "clip" not in name else kind
        said[name] = {"config": kept, "tensors": len(shapes), "parameters": sum(math.prod(s) for s in shapes.values()),
                      "digest": f"{digest:016x}"}
    return said


def tokens(out):
    """A small vocabulary of the same make as CLIP's, and what transformers' tokenizer does with 200 prompts."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer
    prompts = prompt_list()
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    split = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(split, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=1200, min_frequency=2, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(prompts[:150], trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    alphabet = [c for c in clip_alphabet()]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in learned]
    vocab = alphabet + [c + "</w>" for c in alphabet] + ["".join(m.split(" ")) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = list(dict.fromkeys(vocab))
    folder = Path(out) / "tokenizer"
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    clip_tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    # What transformers writes nowadays in place of the two files.
    clip_tokenizer.save_pretrained(str(folder / "saved"))
    (folder / "saved" / "tokenizer.json").replace(folder / "tokenizer.json")
    shutil.rmtree(folder / "saved")
    ids = clip_tokenizer(prompts, padding="max_length", max_length=77, truncation=True)["input_ids"]
    # The padding is the end's token.
    trimmed = []
    for row in ids:
        assert len(row) == 77
        while len(row) > 1 and row[-1] == row[-2]:
            row = row[:-1]
        trimmed.append(row)
    write(out, "tokens.json", {"prompts": prompts, "ids": trimmed})


def clip_alphabet():
    """The bytes as CLIP writes them, in its vocabulary's order."""
    kept = list(range(ord("!"), ord("~") + 1)) + list(range(ord("¡"), ord("¬") + 1)) + list(range(ord("®"), ord("ÿ") + 1))
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(rest))]


def prompt_list():
    things = ["a wooden stool", "a red mushroom on a green table", "a DSLR photo of a hamburger", "an astronaut riding a horse",
              "a castle made of sandstone", "a blue rocket", "a snowman with a top hat", "a zoomed out photo of a lamp", "two cats",
              "a marble bust of a philosopher"]
    ends = ["", ", front view", ", side view", ", back view", ", overhead view", ", highly detailed, 8k, HDR", " in the style of a 1920s poster",
            "!!!", " (isolated on white)", " -- it's the artist's, isn't it?"]
    odd = ["", " ", "  leading and   inner\tspaces\n", "UPPER lower MiXeD", "don't can't we'll I'm they've he'd", "l'été à Noël", "naïve café",
           "ein Stück Käse", "Çok güzel bir köşk", "Привет, мир", "日本の城", "富士山 at dawn", "مرحبا بالعالم", "नमस्ते दुनिया", "emoji 🚀🔥 inside", "👩‍👩‍👧",
           "e\u0301 is not é", "1234567890", "3.14159", "a1b2c3", "x" * 100, "word " * 100, "a, b; c: d. e? f!", "<|endoftext|> in a prompt",
           "<|startoftext|>", "</w>", "tab\tseparated\tvalues", "line\r\nbreaks", "non\u00a0breaking\u2003spaces", "½ ⅔ ² ³ Ⅷ", "C++ & C#", "50% off!!",
           "https://example.org/a?b=c&d=e", "user@example.org", "under_score", "hy-phen", "\"quoted\" 'single'", "`back` ~tilde~", "€100 £50 ¥10",
           "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ﬁne ligature", "İstanbul", "ẞtraße", "Σίσυφος", "zero\u200bwidth", "a" * 77, "é" * 80, "🚀" * 40, "a 'quoted' thing's", "'S 'T 'LL"]
    plain = [f"{size} {colour} {thing}" for size in ("tiny", "huge") for colour in ("golden", "transparent", "striped", "wooden", "glowing")
             for thing in ("teapot", "dragon", "violin", "lighthouse", "bicycle")]
    return [t + e for t in things for e in ends] + plain + odd


def multiview(out, checkout):
    """MVDream's own network, names of its own."""
    sys.path.insert(0, checkout)
    import types
    # Its package asks for downloads and for CLIP at import; the network alone is wanted.
    for name in ("mvdream", "mvdream.ldm", "mvdream.ldm.modules"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(checkout, *name.split(".")))]
        sys.modules[name] = module
    # It computes norms, waves of time and (unless told) attention in float32 whatever the model is in.
    os.environ["ATTN_PRECISION"] = "as it is"
    from mvdream.ldm.modules.diffusionmodules import util
    from mvdream.ldm.modules.diffusionmodules.openaimodel import MultiViewUNetModel
    util.GroupNorm32.forward = nn.GroupNorm.forward
    kind = dict(image_size=16, in_channels=4, out_channels=4, model_channels=32, attention_resolutions=[2, 1], num_res_blocks=2,
                channel_mult=[1, 2], num_head_channels=16, use_spatial_transformer=True, use_linear_in_transformer=True,
                transformer_depth=1, context_dim=32, use_checkpoint=False, legacy=False, camera_dim=16)
    model = MultiViewUNetModel(**kind)
    names = fill(model)
    model.dtype = torch.float64
    model.time_embed.register_forward_pre_hook(lambda _, inputs: tuple(x.double() for x in inputs))
    z, text, t = tensor("z", 8, 4, 16, 16), tensor("text", 2, 9, 32), torch.tensor([37, 801])
    camera = tensor("camera", 8, 16)
    with torch.no_grad():
        with_camera = model(z, t.repeat_interleave(4), text.repeat_interleave(4, 0), num_frames=4, camera=camera)
        without = model(z, t.repeat_interleave(4), text.repeat_interleave(4, 0), num_frames=4)
    write(out, "multiview.json", {"config": kind, "tensors": names, "out": some(with_camera), "without": some(without)})


def write(out, name, said):
    Path(out, name).write_text(json.dumps(said, ensure_ascii=False) + "\n")
    print(name, Path(out, name).stat().st_size, "bytes")


def main(out, checkout=None):
    Path(out).mkdir(exist_ok=True)
    tokens(out)
    sd1, said = unet(UNET, "epsilon")
    said["samplers"] = samplers(sd1)
    lora_gradients(said)
    lora_files(said)
    write(out, "sd1.json", said)
    write(out, "sd2.json", unet(UNET2, "v_prediction")[1])
    write(out, "vae.json", vae()[1])
    write(out, "clip.json", {act: clip(act)[1] for act in ("quick_gelu", "gelu")})
    write(out, "scheduler.json", {"config": SCHEDULER, "alphas_cumprod": {str(t): alphas()[t].item() for t in (0, 20, 500, 980, 999)}})
    write(out, "published.json", published())
    if checkout:
        multiview(out, checkout)


if __name__ == "__main__":
    main(*sys.argv[1:])
