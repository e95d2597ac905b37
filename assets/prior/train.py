"""Trains the built-in prior: a denoiser of four views of a described thing.

    cargo run --release --example prior_corpus -- CORPUS SEED COUNT     # the pictures (Rust, `distill/src/prior/world`)
    python assets/prior/train.py CORPUS STATE --minutes 90              # this; resumes from STATE where it exists
    python assets/prior/train.py --export STATE assets/prior/prior.safetensors
    python assets/prior/train.py --measure CORPUS assets/prior/prior.safetensors

The last says the loss on a corpus, by which the combinations that were never taught can be held against those that were.

Needs torch and numpy. Pixel space, 32 x 32 RGBA (premultiplied, scaled to -1..1), v-prediction (Salimans and Ho 2022)
under the cosine schedule alpha = cos(pi t / 2), sigma = sin(pi t / 2). The four views of a ring are denoised together:
their attention is joint (Shi et al. 2023, MVDream). The text is eleven words in fixed slots, which a parser fills.
`distill/src/prior/builtin/network.rs` is the same network; `--golden` writes what it is compared with.
"""

import argparse
import copy
import json
import math
import struct
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIDE, RING, SLOTS, ROWS, NULL = 32, 4, 11, 160, 1
FIELD_OF_VIEW, DISTANCE = 0.698, 3.0
WIDTH, DEEP, COND, TEXT, HEAD, BLOCKS = 64, 128, 256, 128, 32, 3


class Res(nn.Module):
    """Two convolutions, the second after a scale and shift by the condition."""

    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(COND, 2 * width)
        self.norm2 = nn.GroupNorm(8, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(e)[:, :, None, None].chunk(2, 1)
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


def heads(x, n):
    """[b, t, n * HEAD] to [b, n, t, HEAD]"""
    b, t, _ = x.shape
    return x.view(b, t, n, HEAD).transpose(1, 2)


def attend(q, k, v):
    out = F.scaled_dot_product_attention(q, k, v)
    b, n, t, d = out.shape
    return out.transpose(1, 2).reshape(b, t, n * d)


class Mix(nn.Module):
    """Attention over all views' tokens, attention to the text, and a small network at each token."""

    def __init__(self, width):
        super().__init__()
        self.n = width // HEAD
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out1 = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(TEXT, 2 * width)
        self.out2 = nn.Linear(width, width)
        self.norm3 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        for last in (self.out1, self.out2, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x, text):
        q, k, v = (heads(a, self.n) for a in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out1(attend(q, k, v))
        k, v = (heads(a, self.n) for a in self.kv(text).chunk(2, -1))
        x = x + self.out2(attend(heads(self.q(self.norm2(x)), self.n), k, v))
        return x + self.down(F.silu(self.up(self.norm3(x))))


class Words(nn.Module):
    """The slots' words, mixed once."""

    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(ROWS, TEXT)
        self.slot = nn.Parameter(0.5 * torch.randn(SLOTS, TEXT))
        nn.init.normal_(self.word.weight, std=0.5)
        self.norm1 = nn.LayerNorm(TEXT)
        self.qkv = nn.Linear(TEXT, 3 * TEXT)
        self.out1 = nn.Linear(TEXT, TEXT)
        self.norm3 = nn.LayerNorm(TEXT)
        self.up = nn.Linear(TEXT, 2 * TEXT)
        self.down = nn.Linear(2 * TEXT, TEXT)

    def forward(self, tokens):
        x = self.word(tokens) + self.slot
        q, k, v = (heads(a, TEXT // HEAD) for a in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out1(attend(q, k, v))
        return x + self.down(F.silu(self.up(self.norm3(x))))


class Prior(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = Words()
        self.pooled = nn.Linear(TEXT, COND)
        self.time1, self.time2 = nn.Linear(128, COND), nn.Linear(COND, COND)
        self.camera1, self.camera2 = nn.Linear(13, COND), nn.Linear(COND, COND)
        self.into = nn.Linear(16 + 6, WIDTH)
        self.place1 = nn.Parameter(0.1 * torch.randn(256, WIDTH))
        self.fine1 = Res(WIDTH)
        self.down = nn.Linear(4 * WIDTH, DEEP)
        self.place2 = nn.Parameter(0.1 * torch.randn(64, DEEP))
        self.res = nn.ModuleList(Res(DEEP) for _ in range(BLOCKS))
        self.mix = nn.ModuleList(Mix(DEEP) for _ in range(BLOCKS))
        self.up = nn.Linear(DEEP, 4 * WIDTH)
        self.join = nn.Linear(2 * WIDTH, WIDTH)
        self.fine2 = Res(WIDTH)
        self.fine3 = Res(WIDTH)
        self.norm = nn.GroupNorm(8, WIDTH)
        self.out = nn.Linear(WIDTH, 16)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t, tokens, cameras, rays):
        """x [b, v, 4, 32, 32], t [b] in 0..1, tokens [b, 11], cameras [b, v, 13], rays [b, v, 6, 16, 16]: v like x."""
        b, v = x.shape[:2]
        text = self.words(tokens)
        e = self.time2(F.silu(self.time1(waves(t)))) + self.pooled(text.mean(1))
        e = e[:, None] + self.camera2(F.silu(self.camera1(cameras)))
        e = F.silu(e).reshape(b * v, COND)
        x = F.pixel_unshuffle(x.reshape(b * v, 4, SIDE, SIDE), 2)
        x = torch.cat([x, rays.reshape(b * v, 6, 16, 16)], 1)
        x = self.into(x.flatten(2).transpose(1, 2)) + self.place1
        x = x.transpose(1, 2).reshape(b * v, WIDTH, 16, 16).contiguous(memory_format=torch.channels_last)
        skip = x = self.fine1(x, e)
        x = self.down(F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)) + self.place2
        for res, mix in zip(self.res, self.mix):
            x = x.transpose(1, 2).reshape(b * v, DEEP, 8, 8).contiguous(memory_format=torch.channels_last)
            x = res(x, e).flatten(2).transpose(1, 2)
            x = mix(x.reshape(b, v * 64, DEEP), text).reshape(b * v, 64, DEEP)
        x = self.up(x).transpose(1, 2).reshape(b * v, 4 * WIDTH, 8, 8)
        x = torch.cat([F.pixel_shuffle(x, 2), skip], 1).flatten(2).transpose(1, 2)
        x = self.join(x).transpose(1, 2).reshape(b * v, WIDTH, 16, 16).contiguous(memory_format=torch.channels_last)
        x = self.fine3(self.fine2(x, e), e)
        x = self.out(F.silu(self.norm(x)).flatten(2).transpose(1, 2)).transpose(1, 2).reshape(b * v, 16, 16, 16)
        return F.pixel_shuffle(x, 2).reshape(b, v, 4, SIDE, SIDE)


def waves(t):
    """[b] to [b, 128]: sines and cosines of 64 frequencies from 1 to 1000."""
    frequencies = torch.exp(math.log(1000.0) * torch.arange(64, device=t.device, dtype=t.dtype) / 63)
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


def cameras_of(views):
    """Azimuth and elevation [..., 2] to cameras [..., 13] and rays [..., 6, 16, 16] at the middles of 2 x 2 pixels."""
    azimuth, elevation = views[..., 0], views[..., 1]
    zero = torch.zeros_like(azimuth)
    level = elevation.cos()
    back = torch.stack([level * azimuth.sin(), -level * azimuth.cos(), elevation.sin()], -1)
    right = torch.stack([azimuth.cos(), azimuth.sin(), zero], -1)
    up = torch.linalg.cross(back, right)
    rotation = torch.stack([right, up, back], -1)  # columns
    fov = torch.full_like(azimuth, FIELD_OF_VIEW)[..., None]
    cameras = torch.cat([rotation.flatten(-2), back, fov], -1)
    focal = 0.5 * SIDE / math.tan(0.5 * FIELD_OF_VIEW)
    place = (2.0 * torch.arange(16) + 1.0 - 0.5 * SIDE) / focal
    y, x = torch.meshgrid(-place, place, indexing="ij")
    local = torch.stack([x, y, -torch.ones_like(x)], -1)
    local = local / local.norm(dim=-1, keepdim=True)
    direction = torch.einsum("...ij,yxj->...iyx", rotation, local)
    origin = (DISTANCE * back)[..., :, None, None].expand_as(direction)
    return cameras, torch.cat([direction, torch.linalg.cross(origin, direction, dim=-3)], -3)


class Corpus:
    """What `prior_corpus` wrote, or has written so far."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.open()

    def open(self):
        sizes = {"tokens.u16": 2 * SLOTS, "views.f32": 8 * RING, "pictures.u8": 4 * RING * SIDE * SIDE}
        n = min((self.folder / name).stat().st_size // size for name, size in sizes.items())
        self.tokens = np.fromfile(self.folder / "tokens.u16", np.uint16, n * SLOTS).reshape(n, SLOTS)
        self.views = np.fromfile(self.folder / "views.f32", np.float32, n * RING * 2).reshape(n, RING, 2)
        self.pictures = np.memmap(self.folder / "pictures.u8", np.uint8, "r", shape=(n, RING, SIDE, SIDE, 4))

    def batch(self, rng, views):
        """So many pictures, grouped by 4, 2 or 1 view of a thing."""
        together = (4, 4, 2, 1, 1)[rng.integers(5)]
        chosen = rng.integers(len(self.tokens), size=views // together)
        which = np.stack([rng.permutation(RING)[:together] if together < RING else np.arange(RING) for _ in chosen])
        pictures = torch.from_numpy(self.pictures[chosen[:, None], which])
        x = pictures.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        tokens = torch.from_numpy(self.tokens[chosen].astype(np.int64))
        return x, tokens, torch.from_numpy(self.views[chosen[:, None], which])


def v_loss(model, x, tokens, views, t, noise, bf16):
    alpha, sigma = (f(0.5 * math.pi * t)[:, None, None, None, None] for f in (torch.cos, torch.sin))
    cameras, rays = cameras_of(views)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        v = model(alpha * x + sigma * noise, t, tokens, cameras, rays)
    return (v.float() - (alpha * noise - sigma * x)).square().mean((1, 2, 3, 4))


class Muon(torch.optim.Optimizer):
    """Steps of matrices along their momentum with all singular values about 1 (Jordan et al. 2024), as large as Adam's."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                way = p.grad.lerp(mean, group["momentum"]).flatten(1)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonal(way).reshape(p.shape), alpha=-0.2 * group["lr"] * math.sqrt(max(way.shape)))


def orthogonal(x):
    """Newton-Schulz: singular values go towards 1."""
    tall = x.shape[0] > x.shape[1]
    x = x.t() if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.t()
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
    return x.t() if tall else x


def optimisers(model, rate):
    """Muon for what is multiplied, AdamW for words, places, norms and biases."""
    looked_up = ("words.word.weight", "words.slot", "place1", "place2")
    named = list(model.named_parameters())
    multiplied = [p for name, p in named if p.dim() > 1 and name not in looked_up]
    rest = [p for name, p in named if p.dim() == 1 or name in looked_up]
    return Muon(multiplied, rate), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01)


def train(args):
    torch.set_num_threads(args.threads)
    state = Path(args.state)
    model = Prior()
    torch.manual_seed(args.seed)
    model = Prior()
    average = copy.deepcopy(model)
    both = optimisers(model, args.rate)
    step, seen, log = 0, 0, []
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        for optimiser, kept in zip(both, saved["optimisers"]):
            optimiser.load_state_dict(kept)
        step, seen, log = saved["step"], saved["seen"], saved["log"]
    elif args.start:
        weights = read_safetensors(args.start)
        model.load_state_dict(weights)
        average.load_state_dict(weights)
        log = json.loads(read_metadata(args.start).get("retort.log", "[]"))
        seen = log[-1]["views"] if log else 0
    print(f"{sum(p.numel() for p in model.parameters())} parameters, step {step}, {seen} views", flush=True)
    corpus = Corpus(args.corpus)
    begun, first, last_save = time.time(), seen, time.time()
    first_step, mean = step, None
    device = args.device
    model.to(device), average.to(device)
    while True:
        minutes = (time.time() - begun) / 60
        done = minutes / args.minutes
        if done >= 1 or Path(str(state) + ".stop").exists():
            break
        # Warm-up, then a cosine over the time that this slice has; the next slice starts as high as it is told to.
        warm = min(1.0, (step - first_step + 1) / 200)
        rate = args.rate * warm * (args.last + (1 - args.last) * 0.5 * (1 + math.cos(math.pi * done)))
        for group in (group for optimiser in both for group in optimiser.param_groups):
            group["lr"] = rate
        rng = np.random.default_rng([args.seed, step])
        if step % 500 == 0:
            corpus.open()
        x, tokens, views = corpus.batch(rng, args.views)
        tokens[torch.from_numpy(rng.random(len(tokens)) < 0.1)] = NULL
        # One of each stratum: the loss of a batch is less a matter of chance.
        t = (torch.from_numpy(rng.permutation(len(x))) + torch.from_numpy(rng.random(len(x)))).float() / len(x)
        # Half of them where the words decide what there is to see.
        t = torch.where(torch.from_numpy(rng.random(len(x)) < 0.5), 0.6 + 0.4 * t, t)
        noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        x, tokens, views, t, noise = (a.to(device) for a in (x, tokens, views, t, noise))
        loss = v_loss(model, x, tokens, views, t, noise, args.bf16).mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in both:
            optimiser.step()
        step += 1
        seen += args.views
        with torch.no_grad():
            keep = min(args.ema, (step - first_step + 1) / (step - first_step + 10)) if not log else args.ema
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 1 - keep)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 0:
            log.append({"step": step, "views": seen, "loss": round(mean, 5)})
            speed = (seen - first) / (time.time() - begun)
            print(f"{step} {seen} views {mean:.5f} rate {rate:.2e} {speed:.0f} views/s {minutes:.1f} min", flush=True)
        if time.time() - last_save > 120:
            save(state, model, average, both, step, seen, log)
            last_save = time.time()
    save(state, model, average, both, step, seen, log)


def measure(folder, weights, n=2048):
    """The loss where the words decide (t from 0.6) and where the picture does, on the first things of a corpus."""
    model = Prior()
    model.load_state_dict(read_safetensors(weights) if str(weights).endswith(".safetensors")
                          else torch.load(weights, weights_only=True)["average"])
    corpus, rng, sums = Corpus(folder), np.random.default_rng(0), np.zeros((2, 2))
    n = min(n, len(corpus.tokens))
    for first in range(0, n, 16):
        which = slice(first, first + 16)
        x = torch.from_numpy(corpus.pictures[which].copy()).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        tokens = torch.from_numpy(corpus.tokens[which].astype(np.int64))
        t = torch.from_numpy((np.arange(len(x)) + rng.random(len(x))) / len(x)).float()
        noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        with torch.no_grad():
            loss = v_loss(model, x, tokens, torch.from_numpy(corpus.views[which]), t, noise, False).double().numpy()
        for half, where in enumerate((t.numpy() < 0.6, t.numpy() >= 0.6)):
            sums[half] += loss[where].sum(), where.sum()
    picture, words = sums[:, 0] / sums[:, 1]
    print(f"{folder}: {n} things, loss {picture:.5f} up to t = 0.6, {words:.5f} beyond")


def save(path, model, average, optimisers, step, seen, log):
    temporary = Path(str(path) + ".new")
    torch.save({"model": model.state_dict(), "average": average.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "step": step, "seen": seen, "log": log}, temporary)
    temporary.replace(path)


def write_safetensors(path, tensors, metadata):
    kinds = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}
    header, data, at = {"__metadata__": metadata}, [], 0
    for name, tensor in sorted(tensors.items()):
        raw = tensor.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_header(path):
    raw = Path(path).read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + n]), raw[8 + n :]


def read_metadata(path):
    return read_header(path)[0].get("__metadata__", {})


def read_safetensors(path):
    header, data = read_header(path)
    kinds = {"F16": np.float16, "F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            low, high = info["data_offsets"]
            array = np.frombuffer(data[low:high], kinds[info["dtype"]]).reshape(info["shape"])
            tensors[name] = torch.from_numpy(array.copy()).float()
    return tensors


def export(state, out):
    saved = torch.load(state, weights_only=True)
    tensors = {name: tensor.half() for name, tensor in saved["average"].items()}
    log = saved["log"][:: max(1, len(saved["log"]) // 100)] + saved["log"][-1:]
    write_safetensors(out, tensors, {"retort.prior": "1", "retort.views": str(saved["seen"]), "retort.log": json.dumps(log)})
    print(f"{out}: {Path(out).stat().st_size} bytes, {saved['seen']} views, loss {log[-1]['loss']}")


def formula(name, shape, scale):
    """Numbers that any program makes alike: for weights that are not those of the shipped file."""
    n, key = math.prod(shape), sum(name.encode())
    return torch.tensor([scale * math.sin(0.731 * i + key) for i in range(n)]).reshape(shape)


def golden(out):
    """The network with weights by formula, its answer and its gradients, for the Rust network to agree with."""
    # In double precision, so that what differs is the other side's rounding alone.
    torch.set_default_dtype(torch.float64)
    model = Prior()
    for name, parameter in model.named_parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = around + formula(name, parameter.shape, 0.1 if around or parameter.dim() == 1 else 1.2 / math.sqrt(fan))
    x = formula("x", (8, 4, SIDE, SIDE), 1.0).reshape(2, 4, 4, SIDE, SIDE)
    tokens = torch.tensor([[8, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0], [28, 96, 128, 105, 140, 152, 22, 99, 0, 0, 0]])
    views = torch.tensor([[[azimuth + 0.5 * math.pi * i, height] for i in range(4)] for azimuth, height in ((0.3, 0.4), (2.0, 0.1))])
    t = torch.tensor([0.31, 0.74])
    x.requires_grad_(True)
    v = model(x, t, tokens, *cameras_of(views))
    (v * formula("weights", v.shape, 1.0)).sum().backward()

    def some(tensor):
        flat = tensor.detach().flatten()
        return [round(value, 7) for value in flat[:: max(1, len(flat) // 200)].tolist()]

    said = {"v": some(v), "x": some(x.grad)}
    # As the Rust network keeps them: inputs first, the taps of a convolution before its channels.
    for name, parameter in model.named_parameters():
        if name in ("mix.1.qkv.weight", "mix.0.kv.weight", "up.weight", "words.word.weight", "words.slot", "place2", "res.2.norm2.bias"):
            grad = parameter.grad
            said[name] = some(grad.t() if grad.dim() == 2 and name.endswith("weight") and "word.w" not in name else grad)
        if name in ("fine2.conv1.weight", "res.0.conv2.weight"):
            said[name] = some(parameter.grad.permute(2, 3, 1, 0))
    Path(out).write_text(json.dumps(said))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*", help="CORPUS STATE")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--views", type=int, default=64, help="pictures a step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--last", type=float, default=0.02, help="share of the rate at the end")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16")
    parser.add_argument("--start", help="weights to go on from where there is no STATE")
    parser.add_argument("--export", nargs=2, metavar=("STATE", "OUT"))
    parser.add_argument("--measure", nargs=2, metavar=("CORPUS", "WEIGHTS"))
    parser.add_argument("--golden", metavar="OUT")
    args = parser.parse_args()
    if args.export:
        export(*args.export)
    elif args.measure:
        measure(*args.measure)
    elif args.golden:
        golden(args.golden)
    else:
        if len(args.paths) != 2:
            sys.exit("name the corpus and the state")
        args.corpus, args.state = args.paths
        train(args)
