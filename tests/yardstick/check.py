"""Checks the yardsticks against plain loops: hash rows and weights, both forms' gradients, compositing. Seconds; no timing."""

import math

import torch

from common import uniform
from hash_encode import PRIMES, HashEncoding
from hash_step import STEP, Field, composite, over_white, samples


def encode_by_loop(encoding, table, point):
    """One point, as conversion between formats needs it: exact integers, one corner after another."""
    out = []
    for level, (scale, size, offset) in enumerate(zip(encoding.scale, encoding.size, encoding.offset)):
        resolution, sums = math.ceil(scale) + 1, [0.0, 0.0]
        # The same single precision as the kernels, or a point on a cell's face lands in the next cell.
        p = [float(torch.tensor(v) * scale + 0.5) for v in point]
        for corner in range(8):
            cell = [math.floor(v) + (corner >> axis & 1) for axis, v in enumerate(p)]
            blend = [v - math.floor(v) if corner >> axis & 1 else 1 - v + math.floor(v) for axis, v in enumerate(p)]
            if resolution**3 <= encoding.max_size:
                row = (cell[0] + cell[1] * resolution + cell[2] * resolution**2) % size
            else:
                row = 0
                for value, prime in zip(cell, PRIMES):
                    row ^= value * prime & 0xFFFF_FFFF
                row %= encoding.max_size
            for feature in range(2):
                sums[feature] += math.prod(blend) * float(table[offset + row, feature])
        out += sums
    return torch.tensor(out)


def check_encoding():
    x = uniform(3, "check", [500, 3])
    x[0], x[1] = 0.0, 1 - 2**-24
    plain, tuned = (HashEncoding(16, 14, 16, 2048, form) for form in ("plain", "tuned"))
    table = plain.tables[0].detach()
    rows, _ = plain.all_corners(x)
    for level in range(16):
        mine, _ = tuned.corners(x.t().contiguous(), level)
        assert torch.equal(mine.t().long() + tuned.offset[level], rows[level]), f"rows of level {level} differ"
        assert int(mine.min()) >= 0 and int(mine.max()) < tuned.size[level], f"level {level} leaves its table"
    loop = torch.stack([encode_by_loop(plain, table, point) for point in x[:40].tolist()])
    grad = uniform(3, "grad", [500, 32], -1, 1)
    for encoding in (plain, tuned):
        y = encoding(x)
        error = float((y[:40].detach() - loop).abs().max())
        assert error < 1e-10, f"{encoding.form}: {error} from the loop"
        assert float((y[1:41].detach() - loop).abs().max()) > 1e-6, "the comparison does not see a shifted input"
        y.backward(grad)
    whole = torch.cat([t.grad for t in tuned.tables])
    assert torch.allclose(whole, plain.tables[0].grad, atol=1e-5), "the two forms' gradients differ"


def composite_by_loop(sigma, colour, delta):
    rgba, light = [0.0] * 4, 1.0
    for s, c in zip(sigma.tolist(), colour.tolist()):
        alpha = 1 - math.exp(-s * delta)
        rgba = [a + light * alpha * v for a, v in zip(rgba, [*c, 1.0])]
        light *= 1 - alpha
    return torch.tensor(rgba)


def check_compositing():
    x, directions, first, ray, _ = samples(4096)
    sigma, colour = uniform(3, "sigma", [len(x)], 0, 300), uniform(3, "colour", [len(x), 3])
    rgba = composite(sigma, colour, STEP, first, ray)
    last = torch.cat([first[1:], torch.tensor([len(x)])])
    empty = [int(r) for r in torch.nonzero(first == last)[:1]]
    for r in [0, 1, 2, 777, 1500, 2048, 3000, 4094, 4095, *empty]:
        span = slice(int(first[r]), int(last[r]))
        loop = composite_by_loop(sigma[span], colour[span], STEP)
        assert torch.allclose(rgba[r], loop, atol=2e-6), f"ray {r}: {rgba[r]} and {loop}"
    assert empty and float(over_white(rgba)[empty[0]].min()) == 1.0, "a ray without samples is the background"
    assert not torch.allclose(rgba, composite(sigma * 1.01, colour, STEP, first, ray), atol=2e-6), "sees no change"


def check_gradient():
    """The whole field's gradient against a difference, in the direction of the gradient itself."""
    x, directions, first, ray, target = samples(64)
    field = Field()
    field.encoding.tables[0].data *= 1e4  # so that the tables matter beside the weights

    def loss():
        rgba = composite(*field(x, directions, ray), 20 * STEP, first, ray)
        return (over_white(rgba) - target).square().mean()

    value = loss()
    gradient = torch.autograd.grad(value, list(field.parameters()))
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient))
    ends = []
    for sign in (1, -2):
        for parameter, g in zip(field.parameters(), gradient):
            parameter.data.add_(g, alpha=sign * 2e-3 / norm)
        ends.append(float(loss().detach()))
    slope = (ends[0] - ends[1]) / 4e-3
    assert abs(slope / norm - 1) < 0.02, f"difference {slope}, gradient {norm}"


if __name__ == "__main__":
    check_encoding()
    check_compositing()
    check_gradient()
    print("the yardsticks agree with their loops")
