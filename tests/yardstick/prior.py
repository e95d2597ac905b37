"""The built-in prior's network, whole, and the attention over a ring's views that it has inside.

`prior_attend` is 2 rings of 256 places, 128 channels in 4 heads; `prior_epsilon` is the noise that the network sees in 2 rings of 4
views with no text, in float32, with the weights that come with the program.

Inputs (common.py; seed 1): "prior x" [2, 4, 4, 32, 32] in [−1, 1), "attend q", "attend k", "attend v" [2, 256, 128] in
[−1, 1), "prior grad" and "attend grad" shaped like the results, whose product with them is the check.
"""

import math
import sys
from pathlib import Path

import torch

from common import arguments, measure, report, start, uniform

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "prior"
sys.path.insert(0, str(ASSETS))
import train  # noqa: E402


def main():
    args = start(arguments(__doc__.splitlines()[0]))
    q, k, v = (uniform(1, f"attend {n}", [2, 256, 128], -1, 1) for n in "qkv")
    grad = uniform(1, "attend grad", [2, 256, 128], -1, 1)
    attend = lambda: train.attend(*(train.heads(a, 4) for a in (q, k, v)))
    with torch.no_grad():
        check = float((attend().double() * grad).sum())
        report("prior_attend", measure(attend, args), 512, check=check)

    model = train.Prior()
    model.load_state_dict(train.read_safetensors(ASSETS / "prior.safetensors"))
    x, grad = (uniform(1, f"prior {n}", [2, 4, 4, 32, 32], -1, 1) for n in ("x", "grad"))
    views = torch.tensor([[[0.3 + 0.5 * math.pi * i, 0.4] for i in range(4)], [[2.0 + 0.5 * math.pi * i, 0.1] for i in range(4)]])
    tokens, t = torch.full([2, train.SLOTS], train.NULL), torch.full([2], 500.5 / 1000)
    alpha, sigma = math.cos(0.5 * math.pi * 0.5005), math.sin(0.5 * math.pi * 0.5005)

    def epsilon():
        cameras, rays = train.cameras_of(views)
        return sigma * x + alpha * model(x, t, tokens, cameras, rays)

    with torch.no_grad():
        check = float((epsilon().double() * grad).sum())
        report("prior_epsilon", measure(epsilon, args), 8, check=check)


if __name__ == "__main__":
    main()
