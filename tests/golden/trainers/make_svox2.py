"""Small grids of svox2, saved by its own SparseGrid.save, and what its own SparseGrid.sample says of them (CPU).

    python make_svox2.py FOLDER      where FOLDER/svox2 is the package (its CUDA extension is not needed)

Each case gives NAME.npz and NAME.json: points and unit directions in the grid's coordinates, density there (below 0 is 0) and
colour max(0, sum + 0.5).
"""
import json, sys, warnings
warnings.simplefilter('ignore')
sys.path.insert(0, sys.argv[1])
import numpy as np
import torch
import svox2
from svox2.utils import eval_sh_bases

CASES = {
    'cube': dict(reso=[16, 16, 16], radius=1.0, center=[0.0, 0.0, 0.0], basis_dim=9),
    'offset': dict(reso=[15, 15, 15], radius=[1.3, 1.3, 1.3], center=[0.4, -0.2, 2.0], basis_dim=4),
    'slab': dict(reso=[20, 14, 9], radius=[1.0, 0.9, 0.5], center=[0.1, 0.0, 0.3], basis_dim=9),
}


def make(name, c):
    torch.manual_seed(sum(name.encode()))
    g = svox2.SparseGrid(reso=c['reso'], radius=c['radius'], center=c['center'], basis_dim=c['basis_dim'], device='cpu')
    n = g.capacity
    with torch.no_grad():
        # The kept vertices are those of a blob and of two faces of the box; rows in an order of their own.
        ii = torch.stack(torch.meshgrid(*[torch.arange(k) for k in c['reso']], indexing='ij'), -1).float()
        size = torch.tensor(c['reso']).float()
        keep = (((ii + 0.5) / size - 0.45) ** 2).sum(-1) < 0.11
        keep[-1] |= torch.rand(keep[-1].shape) < 0.5
        keep[:, :, 0] |= torch.rand(keep[:, :, 0].shape) < 0.3
        if name == 'slab': keep[:, -1, -2:] = True
        m = int(keep.sum())
        links = torch.full(c['reso'], -1, dtype=torch.int32)
        links[keep] = torch.randperm(m).int()
        links[~keep] = -torch.randint(1, 5, (int((~keep).sum()),)).int()
        g.links = links
        g.capacity = m
        g.density_data = torch.nn.Parameter(torch.randn(m, 1) * 20 + 5)
        g.sh_data = torch.nn.Parameter((torch.randn(m, 3 * c['basis_dim']) * 0.35).half().float())
    g.save(name + '.npz', compress=True)
    g = svox2.SparseGrid.load(name + '.npz')
    return g, record(name, g)


def record(name, g, count=150):
    rng = np.random.default_rng(len(name))
    r, c = g.radius.numpy(), g.center.numpy()
    # To the very faces, where values stay the same beyond the outermost vertices.
    p = (rng.uniform(-1, 1, (count, 3)) * np.where(np.arange(count) % 3 == 0, 1.0, 0.7)[:, None]).astype(np.float32)
    p[::10, 0] = 0.9999; p[5::10, 2] = -0.9999
    p = (p * r + c).astype(np.float32)
    d = rng.normal(size=(count, 3)); d = (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)
    with torch.no_grad():
        sigma, coefficients = g.sample(torch.from_numpy(p.copy()), use_kernel=False)
        b = coefficients.size(1) // 3
        basis = eval_sh_bases(b, torch.from_numpy(d))
        rgb = torch.clamp_min((coefficients.view(-1, 3, b) * basis[:, None]).sum(-1) + 0.5, 0.0)
    sigma = torch.clamp_min(sigma[:, 0], 0.0)
    out = dict(file=name + '.npz', points=p.tolist(), directions=d.tolist(), sigma=sigma.tolist(), rgb=rgb.tolist(),
               occupied=(sigma > 0).tolist())
    short = lambda v: [short(x) for x in v] if isinstance(v, list) else (v if isinstance(v, bool) else float(f'{v:.9g}') if isinstance(v, float) else v)
    json.dump({k: short(v) for k, v in out.items()}, open(name + '.json', 'w'))
    print(name, 'kept', g.density_data.size(0), 'sigma up to', float(sigma.max()), 'occupied', int((sigma > 0).sum()))


if __name__ == '__main__':
    for name, case in CASES.items():
        make(name, case)
