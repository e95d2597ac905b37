"""One whole training step of the hash field: encode, two small MLPs, compositing, loss, backward, Adam.

The work of Instant-NGP's step (Müller et al. 2022) on a fixed set of samples, as after pruning by an occupancy grid: packed
arrays, no loops over rays. `--form` picks the hash encoding (hash_encode.py); the rest is the same.

Field: 12 levels × 2, T = 2¹⁷, base 16, finest 1024 → 24→64→16; channel 0 is log σ, σ = exp; the other 15 and SH of degree
4 (16 channels) → 31→64→64→3, sigmoid. Compositing: τ = σδ, α = 1 − e^−τ, T = exp(−Σ τ before), white behind.

Inputs (common.py; seed 1), in the cube [0, 1)³: "counts" [rays] samples of each ray, below 40; "start" [rays, 3] in
[0.25, 0.75); "direction" [rays, 3] in [−1, 1), then normalised; sample k is start + k·√3/1024·direction, δ = 2√3/1024 in
scene units; "target" [rays, 3]. Weights: hash_encode.py's "table", "sigma0…", "colour0…" as in mlp.py.
"""

import math

import torch

from common import arguments, below, measure, report, start, uniform
from hash_encode import HashEncoding
from mlp import network

STEP = 2 * math.sqrt(3) / 1024


class TruncExp(torch.autograd.Function):
    """exp, whose gradient never exceeds e¹²."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0].clamp(-12, 12).exp()


def sh4(d):
    """Real spherical harmonics of degrees 0 to 3 in the order and sign of 3DGS: `[n, 3]` unit → `[n, 16]`."""
    x, y, z = d.unbind(1)
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    band = [torch.full_like(x, 0.28209479), -0.48860251 * y, 0.48860251 * z, -0.48860251 * x]
    band += [1.09254843 * xy, -1.09254843 * yz, 0.31539157 * (2 * zz - xx - yy), -1.09254843 * xz, 0.54627422 * (xx - yy)]
    band += [-0.59004359 * y * (3 * xx - yy), 2.89061144 * xy * z, -0.45704580 * y * (4 * zz - xx - yy)]
    band += [0.37317633 * z * (2 * zz - 3 * xx - 3 * yy), -0.45704580 * x * (4 * zz - xx - yy)]
    band += [1.44530572 * z * (xx - yy), -0.59004359 * x * (xx - 3 * yy)]
    return torch.stack(band, 1)


class Field(torch.nn.Module):
    """The `fast` hash field. Points in the cube `[0, 1)³`."""

    def __init__(self, levels=12, log2_table=17, finest=1024, form="tuned"):
        super().__init__()
        self.encoding = HashEncoding(levels, log2_table, 16, finest, form)
        self.sigma_mlp = network([2 * levels, 64, 16], "sigma")
        self.colour_mlp = network([31, 64, 64, 3], "colour")

    def density(self, x):
        """`[n, 3]` → σ `[n]`, features `[n, 15]`."""
        raw = self.sigma_mlp(self.encoding(x))
        return TruncExp.apply(raw[:, 0]), raw[:, 1:]

    def forward(self, x, directions, ray):
        """Samples `x [n, 3]` of rays `ray [n]` with `directions [rays, 3]` → σ `[n]`, colour `[n, 3]`."""
        sigma, features = self.density(x)
        return sigma, torch.sigmoid(self.colour_mlp(torch.cat([sh4(directions)[ray], features], 1)))


def composite(sigma, colour, delta, first, ray):
    """Packed samples → premultiplied colour and alpha of each ray, `[rays, 4]`.

    `first [rays]` is each ray's first sample, `ray [n]` each sample's ray. The running sum goes over all rays, so it is kept
    in double precision: what lies before a ray cancels.
    """
    tau = sigma * delta
    before = tau.double().cumsum(0) - tau
    # A ray without samples, at the end, starts at n.
    before = before - before[first.clamp(max=max(len(ray) - 1, 0))][ray]
    weight = torch.exp(-before.float()) * -torch.expm1(-tau)
    shaded = torch.cat([colour * weight[:, None], weight[:, None]], 1)
    return torch.zeros(len(first), 4).scatter_add(0, ray[:, None].expand(-1, 4), shaded)


def over_white(rgba):
    return rgba[:, :3] + 1 - rgba[:, 3:]


def adam(field, rate=1e-2):
    return torch.optim.Adam(field.parameters(), lr=rate, betas=(0.9, 0.99), eps=1e-15, fused=True)


def samples(rays):
    """The fixed sample set: points, directions, first sample of each ray, ray of each sample, target colours."""
    count = below(1, "counts", 40, rays)
    first = count.cumsum(0) - count
    ray = torch.repeat_interleave(torch.arange(rays), count)
    k = torch.arange(len(ray)) - first[ray]
    directions = torch.nn.functional.normalize(uniform(1, "direction", [rays, 3], -1, 1))
    x = uniform(1, "start", [rays, 3], 0.25, 0.75)[ray] + directions[ray] * (k * (STEP / 2))[:, None]
    return x, directions, first, ray, uniform(1, "target", [rays, 3])


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rays", type=int, default=4096)
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--log2-table", type=int, default=17)
    parser.add_argument("--finest", type=int, default=1024)
    parser.add_argument("--form", choices=["plain", "tuned", "both"], default="both")
    args = start(parser)
    x, directions, first, ray, target = samples(args.rays)
    for form in ("plain", "tuned") if args.form == "both" else (args.form,):
        field = Field(args.levels, args.log2_table, args.finest, form)
        optimiser, losses = adam(field), []

        def step():
            optimiser.zero_grad(set_to_none=True)
            sigma, colour = field(x, directions, ray)
            loss = torch.nn.functional.mse_loss(over_white(composite(sigma, colour, STEP, first, ray)), target)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())

        times = measure(step, args)
        parameters = sum(p.numel() for p in field.parameters())
        report(f"hash_step_{form}", times, len(x), rays=args.rays, parameters=parameters, check=losses[0], last=losses[-1])


if __name__ == "__main__":
    main()
