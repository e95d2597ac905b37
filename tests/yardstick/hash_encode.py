"""Multi-resolution hash encoding, forward and backward (Müller et al. 2022, Instant-NGP, section 3).

Level `l`: s = base·b^l − 1, position x·s + 0.5, resolution ceil(s) + 1, eight corners blended trilinearly. A level whose
resolution³ fits the table is dense (x fastest, index modulo the level's size), the others are hashed by
(x ^ y·2654435761 ^ z·805459861) mod T.

Two forms of the same computation, because PyTorch's speed here depends on who writes it:
  plain  one table, all levels at once, int64 indices, autograd: the form found in most PyTorch ports.
  tuned  level by level, int32, corners outermost (long inner loops), a feature pair as one complex number, so that the
         gradient is one 1-D `index_add_`. The fastest found without C++, CUDA or a compiler.

Inputs (common.py; seed 1): "points" [n, 3] in [0, 1); "table" [rows, 2] in [−1e-4, 1e-4), levels one after the other;
"grad" [n, 2·levels] in [−1, 1), the gradient of the output.
"""

import math

import numpy as np
import torch

from common import arguments, measure, report, start, uniform

PRIMES = (1, 2654435761, 805459861)
CORNERS = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])


class HashEncoding(torch.nn.Module):
    """`[n, 3]` in `[0, 1)` → `[n, 2·levels]`, level by level."""

    def __init__(self, levels=16, log2_table=19, base=16, finest=2048, form="tuned", table=None):
        super().__init__()
        self.form, self.max_size = form, 1 << log2_table
        growth = math.log(finest / base) / (levels - 1)
        self.scale = [float(np.float32(base * math.exp(growth * level) - 1)) for level in range(levels)]
        self.resolution = [math.ceil(s) + 1 for s in self.scale]
        self.size = [min(self.max_size, (r**3 + 7) // 8 * 8) for r in self.resolution]
        self.offset = [sum(self.size[:level]) for level in range(levels)]
        rows = sum(self.size)
        table = uniform(1, "table", [rows, 2], -1e-4, 1e-4) if table is None else table
        whole = form == "plain"
        parts = [table] if whole else [t.clone() for t in table.split(self.size)]
        self.tables = torch.nn.ParameterList([torch.nn.Parameter(t) for t in parts])

    def dense(self, level):
        return self.resolution[level] ** 3 <= self.max_size

    def forward(self, x):
        if self.form == "plain":
            return self.plain(x)
        axes = x.t().contiguous()
        return torch.cat([Blend.apply(t, *self.corners(axes, l)) for l, t in enumerate(self.tables)], 1)

    def plain(self, x):
        indices, weights = self.all_corners(x)
        return (self.tables[0][indices] * weights[..., None]).sum(2).permute(1, 0, 2).reshape(x.shape[0], -1)

    def all_corners(self, x):
        """Rows of the whole table and weights, `[levels, n, 8]`."""
        column = lambda values: torch.tensor(values)[:, None, None]
        p = x * column(self.scale) + 0.5
        low = p.floor()
        frac = (p - low)[:, :, None]
        c = low.long()[:, :, None] + CORNERS
        resolution = column(self.resolution)
        flat = (c[..., 0] + c[..., 1] * resolution + c[..., 2] * resolution**2) % column(self.size)
        hashed = (c[..., 0] ^ c[..., 1] * PRIMES[1] ^ c[..., 2] * PRIMES[2]) & (self.max_size - 1)
        indices = torch.where(resolution**3 <= self.max_size, flat, hashed) + column(self.offset)
        return indices, torch.where(CORNERS.bool(), frac, 1 - frac).prod(-1)

    def corners(self, axes, level):
        """Rows of one level's table and weights, `[8, n]`, from `axes [3, n]`."""
        p = axes * self.scale[level] + 0.5
        low = p.floor()
        frac = p - low
        c, resolution, dense = low.int(), self.resolution[level], self.dense(level)
        # The primes as wrapped int32: only the low bits survive the mask, and they are the same.
        steps = (1, resolution, resolution**2) if dense else [(p + 2**31) % 2**32 - 2**31 for p in PRIMES]
        x, y, z = (torch.stack((c[axis] * step, (c[axis] + 1) * step)) for axis, step in enumerate(steps))
        if dense:
            rows = z[:, None, None] + y[:, None] + x
            rows = torch.where(rows >= self.size[level], rows - self.size[level], rows)
        else:
            rows = (z[:, None, None] ^ y[:, None] ^ x).bitwise_and_(self.max_size - 1)
        wx, wy, wz = torch.stack((1 - frac, frac), 1)
        weights = wz[:, None, None] * wy[:, None] * wx
        return rows.view(8, -1), weights.view(8, -1)


class Blend(torch.autograd.Function):
    """`[rows, 2]`, rows `[8, n]`, weights `[8, n]` → `[n, 2]`; the gradient goes to the table only."""

    @staticmethod
    def forward(ctx, table, rows, weights):
        ctx.save_for_backward(rows, weights)
        ctx.size = table.shape[0]
        values = torch.view_as_complex(table).index_select(0, rows.view(-1)).view(8, -1)
        return torch.view_as_real((values * weights).sum(0))

    @staticmethod
    def backward(ctx, grad):
        rows, weights = ctx.saved_tensors
        share = torch.view_as_complex(grad.contiguous()) * weights
        total = torch.zeros(ctx.size, dtype=torch.complex64).index_add_(0, rows.view(-1), share.view(-1))
        return torch.view_as_real(total), None, None


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=65536)
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--log2-table", type=int, default=19)
    parser.add_argument("--finest", type=int, default=2048)
    args = start(parser)
    x = uniform(1, "points", [args.points, 3])
    grad = uniform(1, "grad", [args.points, 2 * args.levels], -1, 1)
    for form in ("plain", "tuned"):
        encoding = HashEncoding(args.levels, args.log2_table, 16, args.finest, form)

        def forward():
            with torch.no_grad():
                return encoding(x)

        def both():
            encoding.zero_grad(set_to_none=True)
            encoding(x).backward(grad)

        check = float((forward().double() * grad).sum())
        report(f"hash_encode_forward_{form}", measure(forward, args), args.points, check=check)
        times = measure(both, args)
        check = float(sum(t.grad.double().square().sum() for t in encoding.tables))
        report(f"hash_encode_both_{form}", times, args.points, check=check)


if __name__ == "__main__":
    main()
