#!/usr/bin/env python3
"""Files of Gaussians: Retort beside splat-transform (npm @playcanvas/splat-transform), the same files in one run.

    tests/yardstick/formats.py --retort target/release/retort --other node_modules/.bin/splat-transform scene.ply [more.ply]

Whole processes, alternating; the medians of wall time, processor time and peak memory are printed, and the ratios of the
first two. Files are written to a temporary folder. Nothing but Python's standard library is used.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

# From, to. What the other tool cannot write is made by us first.
PAIRS = [
    ("ply", "spz"),
    ("ply", "compressed.ply"),
    ("spz", "ply"),
    ("sog", "ply"),
    ("ply", "glb"),
    ("ply", "sog"),
]


def run(words):
    """Wall seconds, processor seconds and peak MiB of a process; None where it failed."""
    begun = time.perf_counter()
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen(words, stdout=null, stderr=null)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    if status != 0:
        return None
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("--retort", required=True)
    about.add_argument("--other", required=True)
    about.add_argument("--runs", type=int, default=5)
    about.add_argument("--sog", action="store_true", help="also write .sog with the other tool, which takes minutes")
    about.add_argument("files", nargs="+")
    args = about.parse_args()
    print(f"{'file':<28}{'from -> to':<24}{'retort':>26}{'other':>26}{'wall':>8}{'cpu':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for file in args.files:
            name = os.path.basename(file).split(".")[0]
            for source, target in PAIRS:
                start = os.path.join(folder, f"{name}.{source}")
                if source == "ply":
                    start = file
                elif run([args.retort, "convert", file, "-o", start, "--overwrite", "-q"]) is None:
                    sys.exit(f"retort could not make {start}")
                ours_out, their_out = (os.path.join(folder, f"{who}.{target}") for who in ("ours", "theirs"))
                rows = ([], [])
                slow = target == "sog"
                for _ in range(1 if slow else args.runs):
                    rows[0].append(run([args.retort, "convert", start, "-o", ours_out, "--overwrite", "-q"]))
                    if not slow or args.sog:
                        rows[1].append(run([args.other, "-w", start, their_out]))
                cells = []
                for row in rows:
                    good = [r for r in row if r]
                    cells.append([statistics.median(c) for c in zip(*good)] if good else None)
                text = [f"{c[0]:.2f} s {c[1]:.2f} cpu {c[2]:.0f} MiB" if c else "-" for c in cells]
                ratio = [f"{cells[1][k] / cells[0][k]:.1f}x" if all(cells) else "-" for k in (0, 1)]
                print(f"{name:<28}{source + ' -> ' + target:<24}{text[0]:>26}{text[1]:>26}{ratio[0]:>8}{ratio[1]:>8}", flush=True)


if __name__ == "__main__":
    main()
