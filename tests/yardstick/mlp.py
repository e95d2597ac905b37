"""Small fully connected networks at a large batch, forward and backward: `nn.Linear` without bias, ReLU between.

`32-64x4` is 32→64→64→64→64 (four matrices; what a fused small MLP replaces), its gradient going to the input as well, as
under an encoding. `63-256x8` is NeRF's trunk, 63→256, then seven 256→256, without the skip; its input needs no gradient.

Inputs (common.py; seed 1): "input" [n, first] in [−1, 1); layer k's weights "w{k}" [out, in] in ±sqrt(6/in); "grad"
[n, last] in [−1, 1), the gradient of the output.
"""

import math

import torch

from common import arguments, measure, report, start, uniform

SHAPES = {"32-64x4": [32, 64, 64, 64, 64], "63-256x8": [63] + [256] * 8}


def network(sizes, prefix="w"):
    """`nn.Sequential` of bias-free layers, with ReLU between them and none after the last."""
    layers = []
    for k, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        layer = torch.nn.Linear(fan_in, fan_out, bias=False)
        bound = math.sqrt(6 / fan_in)
        layer.weight.data = uniform(1, f"{prefix}{k}", [fan_out, fan_in], -bound, bound)
        layers += [layer, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*layers[:-1])


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=65536)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    args = start(parser)
    for name, sizes in SHAPES.items():
        if args.shape not in (name, "all"):
            continue
        net = network(sizes)
        x = uniform(1, "input", [args.batch, sizes[0]], -1, 1).requires_grad_(name == "32-64x4")
        grad = uniform(1, "grad", [args.batch, sizes[-1]], -1, 1)

        def forward():
            with torch.no_grad():
                return net(x)

        def both():
            net.zero_grad(set_to_none=True)
            x.grad = None
            net(x).backward(grad)

        check = float((forward().double() * grad).sum())
        report(f"mlp_forward_{name}", measure(forward, args), args.batch, check=check)
        times = measure(both, args)
        check = float(sum(p.grad.double().square().sum() for p in net.parameters()))
        report(f"mlp_both_{name}", times, args.batch, check=check)


if __name__ == "__main__":
    main()
