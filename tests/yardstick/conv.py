"""Convolutions of 3 × 3 pixels over small pictures, forward and backward: what the built-in prior is made of.

`64x16` is 8 pictures of 16² pixels, 64 channels to 64; `128x8` is 8 of 8² pixels, 128 to 128. PyTorch's form is channels last.

Inputs (common.py; seed 1): "conv x" [n, side, side, i] in [−1, 1), "conv w" [3, 3, i, o] in ±sqrt(1/i), "conv grad"
[n, side, side, o] in [−1, 1), the gradient of the output.
"""

import math

import torch

from common import arguments, measure, report, start, uniform

SHAPES = {"64x16": (8, 16, 64), "128x8": (8, 8, 128)}


def main():
    args = start(arguments(__doc__.splitlines()[0]))
    for name, (n, side, width) in SHAPES.items():
        bound = math.sqrt(1 / width)
        last = {"memory_format": torch.channels_last}
        x = uniform(1, "conv x", [n, side, side, width], -1, 1).permute(0, 3, 1, 2).contiguous(**last).requires_grad_(True)
        w = uniform(1, "conv w", [3, 3, width, width], -bound, bound).permute(3, 2, 0, 1).contiguous(**last).requires_grad_(True)
        grad = uniform(1, "conv grad", [n, side, side, width], -1, 1).permute(0, 3, 1, 2).contiguous(**last)

        def forward():
            with torch.no_grad():
                return torch.nn.functional.conv2d(x, w, padding=1)

        def both():
            x.grad = w.grad = None
            torch.nn.functional.conv2d(x, w, padding=1).backward(grad)

        check = float((forward().double() * grad).sum())
        report(f"conv_forward_{name}", measure(forward, args), n, check=check)
        times = measure(both, args)
        check = float(x.grad.double().square().sum() + w.grad.double().square().sum())
        report(f"conv_both_{name}", times, n, check=check)


if __name__ == "__main__":
    main()
