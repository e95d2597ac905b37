"""What the yardsticks share: inputs by the same formula as `fields/src/rng.rs`, timing, one JSON line.

A stream is named by a u64 seed and a string. `uniform(seed, name, n)` gives, bit for bit, the first `n` results of
`Rng::new(seed, name).uniform()`, so a Rust bench and a yardstick can work on the same numbers.
"""

import argparse
import json
import os
import resource
import time

import numpy as np
import torch

GAMMA = 0x9E37_79B9_7F4A_7C15
MASK = 0xFFFF_FFFF_FFFF_FFFF


def mix(z):
    """SplitMix64's finaliser, on a numpy array of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def next_u64(seed, name, n):
    """The first `n` values of `Rng::new(seed, name).next_u64()`."""
    named = 0xCBF2_9CE4_8422_2325
    for byte in name.encode():
        named = ((named ^ byte) * 0x100_0000_01B3) & MASK
    start = mix(np.array([((seed * GAMMA) & MASK) ^ named], dtype=np.uint64))
    return mix(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GAMMA))


def uniform(seed, name, shape, low=0.0, high=1.0):
    """`Rng::range(low, high)`, row-major into a float32 tensor of `shape`."""
    u = (next_u64(seed, name, int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) / np.float32(16_777_216)
    low, high = np.float32(low), np.float32(high)
    return torch.from_numpy(low + (high - low) * u).view(*shape)


def below(seed, name, n, count):
    """The first `count` values of `Rng::below(n)`, int64."""
    return torch.tensor([(int(v) * n) >> 64 for v in next_u64(seed, name, count)])


def arguments(description):
    """The arguments that every yardstick has; all cores by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=15, help="timed runs, the median counts")
    parser.add_argument("--warmup", type=int, default=3, help="untimed runs before")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser


def start(parser):
    """Parses the command line and sets PyTorch's threads."""
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


def measure(work, args):
    """Milliseconds of each of `args.repeats` runs of `work()` after `args.warmup` runs."""
    for _ in range(args.warmup):
        work()
    times = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def report(bench, times, n, **more):
    """One JSON line. `n` is the batch; `check` in `more` is a number that a twin in Rust should meet."""
    line = {"bench": bench, "median_ms": round(float(np.median(times)), 3), "min_ms": round(min(times), 3), "n": n}
    line |= {"repeats": len(times), "torch": torch.__version__, "threads": torch.get_num_threads()}
    line["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(line | more), flush=True)
