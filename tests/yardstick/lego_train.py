"""Trains the hash field of hash_step.py from the photos of a Blender-synthetic folder; test PSNR against wall time.

Occupancy grid 64³ (decayed maximum of the density, refreshed every 16 steps, threshold at most 1 % opacity a step). The
marcher has no loop over rays: one lookup per `COARSE` steps in the grid dilated by a cell; what passes is cut into steps and
looked up again. White background, rays of all photos mixed, 4096 or as many as keep within the sample budget. Evaluation is
not counted in the wall time. The last line is JSON.
"""

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import max_pool3d, mse_loss, normalize

from common import arguments, report, start
from hash_step import Field, adam, composite, over_white

GRID, COARSE = 64, 4


def load(folder, split, bound):
    """Colours over white `[views, h, w, 3]`, camera-to-world `[views, 3, 4]` scaled to the box ±1, focal length in pixels."""
    meta = json.loads((folder / f"transforms_{split}.json").read_text())
    images, poses = [], []
    for frame in meta["frames"]:
        with Image.open(folder / (frame["file_path"] + ".png")) as image:
            rgba = torch.from_numpy(np.array(image.convert("RGBA"), dtype=np.float32) / 255)
        images.append(rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])
        poses.append(torch.tensor(frame["transform_matrix"])[:3])
    images, poses = torch.stack(images), torch.stack(poses)
    poses[:, :, 3] /= bound
    return images, poses, 0.5 * images.shape[2] / math.tan(0.5 * meta["camera_angle_x"])


def rays(poses, view, pixel, height, width, focal):
    """World origins and unit directions of the pixels' centres; the camera looks along −z."""
    x, y = pixel % width + 0.5 - width / 2, pixel // width + 0.5 - height / 2
    local = torch.stack([x / focal, -y / focal, -torch.ones_like(x)], 1)
    return poses[view, :, 3], normalize((poses[view, :, :3] @ local[:, :, None])[:, :, 0])


class Scene:
    """The field, its occupancy grid and the marcher, in the box ±1."""

    def __init__(self, steps):
        self.field, self.step = Field(), 2 * math.sqrt(3) / steps
        self.density = torch.zeros(GRID**3)
        self.fine = self.coarse = torch.ones(GRID**3, dtype=torch.bool)

    def cell(self, x):
        i = ((x + 1) * (GRID / 2)).long().clamp_(0, GRID - 1)
        return (i[:, 2] * GRID + i[:, 1]) * GRID + i[:, 0]

    @torch.no_grad()
    def refresh(self, everywhere):
        """Looks at all cells, or at an eighth of them and as many of the occupied ones."""
        cells = torch.arange(GRID**3)
        if not everywhere:
            known = self.fine.nonzero()[:, 0]
            picks = torch.randint(max(len(known), 1), (min(len(known), GRID**3 // 8),))
            cells = torch.cat([torch.randint(GRID**3, (GRID**3 // 8,)), known[picks]])
        low = torch.stack([cells % GRID, cells // GRID % GRID, cells // GRID**2], 1)
        seen = torch.cat([self.field.density(part)[0] for part in ((low + torch.rand(len(cells), 3)) / GRID).split(65536)])
        self.density *= 0.95
        self.density[cells] = torch.maximum(self.density[cells], seen)
        self.fine = self.density > min(0.01 / self.step, float(self.density.mean()))
        self.coarse = max_pool3d(self.fine.view(1, 1, GRID, GRID, GRID).float(), 3, 1, 1).view(-1) > 0

    @torch.no_grad()
    def march(self, origin, direction, jitter):
        """Sample points, each ray's first sample, each sample's ray."""
        inverse = 1 / torch.where(direction.abs() < 1e-9, 1e-9, direction)
        walls = torch.stack([(-1 - origin) * inverse, (1 - origin) * inverse])
        near, far = walls.amin(0).amax(1).clamp_min(0) + jitter * self.step, walls.amax(0).amin(1)
        span = COARSE * self.step
        count = ((far - near) / span).ceil().clamp_min(0).long()
        ray = torch.repeat_interleave(torch.arange(len(origin)), count)
        k = torch.arange(len(ray)) - (count.cumsum(0) - count)[ray]
        t = near[ray] + k * span
        kept = self.coarse[self.cell(origin[ray] + direction[ray] * (t + span / 2)[:, None])]
        t = (t[kept][:, None] + torch.arange(COARSE) * self.step).view(-1)
        ray = ray[kept].repeat_interleave(COARSE)
        x = origin[ray] + direction[ray] * t[:, None]
        kept = self.fine[self.cell(x)] & (t < far[ray])
        count = torch.bincount(ray[kept], minlength=len(origin))
        return x[kept], count.cumsum(0) - count, ray[kept]

    def render(self, origin, direction, jitter):
        """Colour over white `[rays, 3]` and the number of samples."""
        x, first, ray = self.march(origin, direction, jitter)
        sigma, colour = self.field(((x + 1) / 2).clamp(0, 1 - 1e-6), direction, ray)
        return over_white(composite(sigma, colour, self.step, first, ray)), len(x)


@torch.no_grad()
def psnr(scene, images, poses, focal, views):
    """Mean over the views of each view's PSNR."""
    (height, width), values = images.shape[1:3], []
    for view in np.linspace(0, len(images) - 1, views).round().astype(int):
        parts = torch.arange(height * width).split(8192)
        batches = [rays(poses, torch.full_like(p, int(view)), p, height, width, focal) for p in parts]
        rgb = torch.cat([scene.render(o, d, torch.full((len(o),), 0.5))[0] for o, d in batches]).clamp(0, 1)
        values.append(-10 * math.log10(float(mse_loss(rgb, images[view].view(-1, 3)))))
    return float(np.mean(values))


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--bound", type=float, default=1.5, help="half the box's side, in the file's units")
    parser.add_argument("--steps", type=int, default=512, help="steps along the box's diagonal")
    parser.add_argument("--rays", type=int, default=4096)
    parser.add_argument("--budget", type=int, default=80_000, help="samples a step")
    parser.add_argument("--views", type=int, default=5, help="test views while training")
    parser.add_argument("--final-views", type=int, default=50, help="test views at the end")
    args = start(parser)
    torch.manual_seed(1)
    (images, poses, focal), test = load(args.folder, "train", args.bound), load(args.folder, "test", args.bound)
    height, width = images.shape[1:3]
    colours, scene = images.view(len(images), -1, 3), Scene(args.steps)
    optimiser = adam(scene.field)
    clock, shown, times, step, batch = 0.0, 0.0, [], 0, args.rays // 16
    while clock < args.seconds:
        begin = time.perf_counter()
        if step % 16 == 0:
            scene.refresh(everywhere=step < 256)
        optimiser.param_groups[0]["lr"] = 1e-2 * 0.03 ** (clock / args.seconds)
        view, pixel = torch.randint(len(images), (batch,)), torch.randint(height * width, (batch,))
        rgb, count = scene.render(*rays(poses, view, pixel, height, width, focal), torch.rand(batch))
        loss = mse_loss(rgb, colours[view, pixel])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        batch = min(args.rays, max(64, batch * args.budget // max(count, 1)))
        times.append((time.perf_counter() - begin) * 1e3)
        clock, step = clock + times[-1] / 1e3, step + 1
        if clock - shown >= args.seconds / 10:
            shown, value = clock, psnr(scene, *test, args.views)
            print(f"{clock:6.1f} s  step {step:5d}  rays {batch:4d}  samples {count:6d}  PSNR {value:.2f} dB", flush=True)
    value = round(psnr(scene, *test, min(args.final_views, len(test[0]))), 3)
    report("lego_train", times, args.rays, seconds=round(clock, 1), steps=step, psnr=value)


if __name__ == "__main__":
    main()
