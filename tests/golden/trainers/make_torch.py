"""Writes tiny checkpoints with the trainers' own published Python, and what that Python says of points (golden values).

Run: venv/bin/python golden/recipe.py SRC OUT     SRC holds unpacked snapshots:
  apchenstu+TensoRF (6a1e23b), ashawkey+torch-ngp (b6e0804), megvii-research+AAAI2023-PVD (e5d0ab1).
Only the CUDA kernels (grid, spherical harmonics, frequency) are ports, in numpy/torch, of the published .cu files; classes,
state_dicts, forward passes and the dictionaries that are saved are the trainers' own. nerfstudio: published names and
activations, and the formulas of its exporter (ns-export gaussian-splat).

In each JSON: x in the trainer's world, d unit, sigma per unit of that world (TensoRF: distance_scale included, mask not),
rgb; x_scene and log_sigma_scene are the same in the frame that the reader should give.
"""
import json, math, os, sys, types, argparse
import numpy as np
import torch
import torch.nn.functional as F

SRC, OUT = sys.argv[1], sys.argv[2]
os.makedirs(OUT, exist_ok=True)
torch.manual_seed(1)
rng = np.random.default_rng(1)


# ---------------------------------------------------------------- ports of the CUDA kernels
def grid_encode_forward(inputs, embeddings, offsets, outputs, B, D, C, L, S, H, *rest):
    # kernel_grid, gridtype hash, align_corners False, linear; single precision as there
    assert D == 3
    f = np.float32
    x = inputs.detach().numpy().astype(f)
    table = embeddings.detach().numpy()
    off = offsets.numpy().astype(np.int64)
    primes = np.array([1, 2654435761, 805459861], np.uint64)
    out = np.zeros((L, B, C), np.float64)
    for l in range(L):
        size = int(off[l + 1] - off[l])
        scale = f(np.exp2(float(f(f(l) * f(S))))) * f(H) - f(1.0)
        res = int(np.ceil(scale)) + 1
        pos = (x * scale + f(0.5)).astype(f)
        cell = np.floor(pos)
        frac = (pos - cell).astype(np.float64)
        cell = cell.astype(np.uint64)
        for corner in range(8):
            up = np.array([corner >> a & 1 for a in range(3)], np.uint64)
            p = cell + up
            w = np.prod(np.where(up == 1, frac, 1 - frac), axis=1)
            stride, index = 1, np.zeros(B, np.uint64)
            for d in range(3):
                if stride > size:
                    break
                index = index + p[:, d] * np.uint64(stride)
                stride *= res + 1
            if stride > size:
                h = (p * primes) & np.uint64(0xFFFFFFFF)
                index = h[:, 0] ^ h[:, 1] ^ h[:, 2]
            index = (index & np.uint64(0xFFFFFFFF)) % np.uint64(size)
            out[l] += w[:, None] * table[(off[l] + index.astype(np.int64))].astype(np.float64)
    oob = ((x < 0) | (x > 1)).any(1)
    out[:, oob] = 0
    outputs.copy_(torch.from_numpy(out.astype(f)))


def sh_basis(d, degree):
    x, y, z = d[:, 0], d[:, 1], d[:, 2]
    xy, xz, yz, x2, y2, z2 = x * y, x * z, y * z, x * x, y * y, z * z
    o = [torch.full_like(x, 0.28209479177387814), -0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x,
         1.0925484305920792 * xy, -1.0925484305920792 * yz, 0.94617469575755997 * z2 - 0.31539156525251999,
         -1.0925484305920792 * xz, 0.54627421529603959 * x2 - 0.54627421529603959 * y2,
         0.59004358992664352 * y * (-3 * x2 + y2), 2.8906114426405538 * xy * z, 0.45704579946446572 * y * (1 - 5 * z2),
         0.3731763325901154 * z * (5 * z2 - 3), 0.45704579946446572 * x * (1 - 5 * z2),
         1.4453057213202769 * z * (x2 - y2), 0.59004358992664352 * x * (-x2 + 3 * y2)]
    return torch.stack(o[: degree * degree], 1)


def sh_encode_forward(inputs, outputs, B, D, degree, *rest):
    outputs.copy_(sh_basis(inputs, degree))


def freq_encode_forward(inputs, B, D, deg, C, outputs):
    parts = [inputs]
    for k in range(deg):
        parts += [torch.sin(inputs * 2**k), torch.cos(inputs * 2**k)]
    outputs.copy_(torch.cat(parts, 1))


class Quiet:
    def __getattr__(self, name):
        return lambda *a, **k: None


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


stub("_gridencoder", grid_encode_forward=grid_encode_forward)
stub("_shencoder", sh_encode_forward=sh_encode_forward)
stub("_freqencoder", freq_encode_forward=freq_encode_forward)
stub("raymarching")
stub("trimesh")
stub("IPython", embed=None)
torch.Tensor.is_cuda = property(lambda self: True)  # freqencoder moves what is not on the GPU there
torch.nn.Module.cuda = lambda self, *a: self


def forget(*names):
    for name in list(sys.modules):
        if name.split(".")[0] in names:
            del sys.modules[name]


def directions(n):
    d = rng.normal(size=(n, 3))
    return torch.from_numpy((d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32))


def points(n, low, high):
    """In the box, some of them close to its faces."""
    u = rng.uniform(0.0005, 0.9995, size=(n, 3))
    u[: n // 8] = 1 - rng.uniform(0.0005, 0.03, size=(n // 8, 3))
    u[n // 8 : n // 4, 0] = 1 - rng.uniform(0.0005, 0.03, size=n // 4 - n // 8)
    u[n // 4 : 3 * n // 8, 1] = rng.uniform(0.0005, 0.03, size=3 * n // 8 - n // 4)
    low, high = np.asarray(low), np.asarray(high)
    return torch.from_numpy((low + u * (high - low)).astype(np.float32))


def golden(name, x, d, sigma, rgb, scale=1.0, centre=(0, 0, 0), **more):
    """scale: the world's units per scene unit."""
    x_scene = (x.numpy().astype(np.float64) - np.asarray(centre, np.float64)) / scale
    rows = lambda t: [[float(f"{v:.9g}") for v in row] for row in np.asarray(t, np.float64)]
    flat = lambda t: [float(f"{v:.9g}") for v in np.asarray(t, np.float64)]
    sigma = sigma.detach().numpy().astype(np.float64)
    body = dict(x=rows(x), d=rows(d), sigma=flat(sigma), rgb=rows(rgb.detach()), x_scene=rows(x_scene),
                log_sigma_scene=flat(np.log(np.maximum(sigma * scale, 1e-30))), **more)
    with open(f"{OUT}/{name}.json", "w") as out:
        json.dump(body, out)
    print(name, "sigma", float(sigma.min()), float(sigma.max()), "rgb", float(rgb.min()), float(rgb.max()))


# ---------------------------------------------------------------- TensoRF
def tensorf():
    sys.path.insert(0, f"{SRC}/apchenstu+TensoRF")
    from models.tensoRF import TensorVMSplit, TensorCP
    from models import tensorBase
    sys.path.pop(0)

    def one(name, cls, n=180, mask=True, legacy=False, **settings):
        aabb = torch.tensor([[-1.4, -1.2, -0.7], [1.5, 1.1, 1.3]])
        kw = dict(density_n_comp=[3, 2, 2], appearance_n_comp=[4, 3, 3], app_dim=5, density_shift=-3, distance_scale=25,
                  shadingMode="MLP_Fea", pos_pe=6, view_pe=2, fea_pe=2, featureC=16, near_far=[2.0, 6.0], step_ratio=0.5,
                  fea2denseAct="softplus", alphaMask_thres=0.0001)
        kw.update(settings)
        model = cls(aabb, [9, 8, 7], "cpu", **kw)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn_like(p) * (1.5 if p.dim() == 4 else 0.5))
        if mask:
            alpha = torch.zeros(6, 7, 8)  # z, y, x
            alpha[1:4, 2:5, 3:6] = 1
            alpha[5, 6, 7] = 1
            model.alphaMask = tensorBase.AlphaGridMask("cpu", aabb * 1.1, alpha)
        path = f"{OUT}/{name}.th"
        if legacy:
            save = torch.save
            torch.save = lambda *a, **k: save(*a, _use_new_zipfile_serialization=False, **k)
            model.save(path)
            torch.save = save
        else:
            model.save(path)
        x, d = points(n, aabb[0], aabb[1]), directions(n)
        with torch.no_grad():
            at = model.normalize_coord(x)
            sigma = model.feature2density(model.compute_densityfeature(at)) * model.distance_scale
            rgb = model.renderModule(at, d, model.compute_appfeature(at))
        alive = None
        if mask:
            probes = points(4000, aabb[0], aabb[1])
            alive = model.alphaMask.sample_alpha(probes) > 0
            alive = dict(alive=[[round(float(v), 6) for v in p] for p in probes[alive][:200]], share=float(alive.float().mean()))
        half = float((aabb[1] - aabb[0]).max()) / 2
        golden(name, x, d, sigma, rgb, half, ((aabb[0] + aabb[1]) / 2).numpy(), mask=alive)

    one("tensorf_vm", TensorVMSplit)
    one("tensorf_vm_legacy", TensorVMSplit, legacy=True, n=40)
    one("tensorf_vm_pe", TensorVMSplit, view_pe=0, fea_pe=1, density_n_comp=[4, 4, 4], mask=False)
    one("tensorf_cp", TensorCP, density_n_comp=[6], appearance_n_comp=[8], shadingMode="MLP", view_pe=1)
    for name, settings in dict(relu=dict(fea2denseAct="relu"), sh=dict(shadingMode="SH", app_dim=27), ndc=dict(near_far=[0.0, 1.0]),
                               pe=dict(shadingMode="MLP_PE", view_pe=2, pos_pe=2)).items():
        aabb = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
        kw = dict(density_n_comp=[1] * 3, appearance_n_comp=[1] * 3, app_dim=5, shadingMode="MLP_Fea", view_pe=2, fea_pe=2, featureC=4)
        kw.update(settings)
        TensorVMSplit(aabb, [3, 3, 3], "cpu", **kw).save(f"{OUT}/refused_{name}.th")


# ---------------------------------------------------------------- torch-ngp
def randomised(model, table=1.0, weights=None):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "embeddings" in name:
                p.copy_((torch.rand_like(p) * 2 - 1) * table)
                p.copy_(p.half().float())
            elif weights:
                p.copy_(torch.randn_like(p) * weights(name, p))
    return model


def small_occupancy(model, edge=16):
    """Buffers of the renderer with fewer cells, a tenth of them set."""
    cascades = model.cascade
    bits = torch.rand(cascades, edge**3) < 0.03
    grid = bits.float()
    packed = torch.zeros(cascades * edge**3 // 8, dtype=torch.uint8)
    for i in range(8):
        packed |= bits.reshape(-1, 8)[:, i].to(torch.uint8) << i
    model.register_buffer("density_grid", grid.half())
    model.register_buffer("density_bitfield", packed)
    # The middle of every set cell, in the world.
    centres = []
    for c in range(cascades):
        half = min(2.0**c, model.bound)
        for m in torch.nonzero(bits[c]).flatten().tolist():
            at = [sum((m >> (3 * b + a) & 1) << b for b in range(6)) for a in range(3)]
            centres.append([round(half * (2 * (v + 0.5) / edge - 1), 6) for v in at])
    rng.shuffle(centres)
    return centres[:300]


def saved(state, path, **kw):
    torch.save(state, path, **kw)


def torch_ngp():
    from torch_ema import ExponentialMovingAverage
    root = f"{SRC}/ashawkey+torch-ngp"
    sys.path.insert(0, root)
    stub("nerf.utils", custom_meshgrid=None)
    import encoding
    from nerf import network
    plain = encoding.get_encoder

    def one(name, bound, table_size, level_dim, num_levels, half, ema=False, n=200):
        network.get_encoder = lambda e, **k: plain(e, **{**k, "log2_hashmap_size": table_size, "level_dim": level_dim, "num_levels": num_levels})
        model = network.NeRFNetwork(bound=bound, cuda_ray=False, hidden_dim=16, hidden_dim_color=16)
        randomised(model, weights=lambda name, p: 0.7)
        centres = small_occupancy(model)
        state = {"epoch": 3, "global_step": 321, "stats": {"loss": [0.5, 0.25], "results": [np.float64(30.5)], "best_result": None},
                 "mean_count": 12, "mean_density": 0.5}
        if ema:
            average = ExponentialMovingAverage(model.parameters(), decay=0.95)
            optimiser = torch.optim.Adam(model.get_params(1e-2), betas=(0.9, 0.99), eps=1e-15)
            state["optimizer"] = optimiser.state_dict()
            state["lr_scheduler"] = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda it: 0.1).state_dict()
            state["ema"] = average.state_dict()
        x, d = points(n, [-bound] * 3, [bound] * 3), directions(n)
        with torch.no_grad():
            sigma, rgb = model(x, d)
        if ema:  # what is saved as the model is another one than the averages
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(0.5)
        weights = model.state_dict()
        del weights["density_grid"]  # as in a "best" checkpoint
        if half:
            weights["encoder.embeddings"] = weights["encoder.embeddings"].half()
        state["model"] = weights
        saved(state, f"{OUT}/{name}.pth")
        golden(name, x, d, sigma, rgb, occupied=centres)

    one("torch_ngp_hash", 1, 13, 1, 2, True)
    one("torch_ngp_hash_2", 2, 13, 1, 2, True)
    one("torch_ngp_ema", 1, 8, 2, 4, False, ema=True, n=60)
    if len(sys.argv) > 3:  # the usual size, 50 MB
        one("big_torch_ngp_hash", 2, 19, 2, 16, False, n=400)

    stub("tensoRF.utils", custom_meshgrid=None)
    from tensoRF import network as planes
    model = planes.NeRFNetwork(resolution=[7, 6, 5], sigma_rank=[3] * 3, color_rank=[4] * 3, color_feat_dim=5, hidden_dim=16, bound=1)
    randomised(model, weights=lambda name, p: 1.2 if "mat" in name or "vec" in name else 0.5)
    model.aabb_train = torch.tensor([-0.9, -0.8, -0.7, 0.6, 0.7, 0.8])
    torch.save({"epoch": 1, "global_step": 5, "stats": {}, "model": model.state_dict()}, f"{OUT}/torch_ngp_planes.pth")
    x, d = points(200, model.aabb_train[:3], model.aabb_train[3:]), directions(200)
    with torch.no_grad():
        sigma, rgb = model(x, d)
    golden("torch_ngp_planes", x, d, sigma, rgb)
    sys.path.remove(root)
    forget("encoding", "nerf", "tensoRF", "gridencoder", "shencoder", "freqencoder", "activation")


# ---------------------------------------------------------------- PVD
def pvd():
    root = f"{SRC}/megvii-research+AAAI2023-PVD"
    sys.path.insert(0, root)
    stub("distill_mutual.utils", custom_meshgrid=None)
    import tools.encoding as encoding
    from distill_mutual import network
    plain = encoding.get_encoder
    network.get_encoder = lambda *a, **k: plain(*a, **{**k, "log2_hashmap_size": 8})
    args = argparse.Namespace(plenoxel_degree=3, plenoxel_res="[6,6,6]", PE=4, skip=1, nerf_layer_num=4, nerf_layer_wide=12,
                              resolution0=5, sigma_clip_min=-2, sigma_clip_max=7, enable_edit_plenoxel=False, global_step=10**9,
                              stage_iters={"stage1": 0})

    def one(kind, bound, weights, n=160):
        model = network.NeRFNetwork(encoding="hashgrid", bound=bound, model_type=kind, args=args, hidden_dim=16, hidden_dim_color=16)
        model.eval()
        randomised(model, weights=weights)
        centres = small_occupancy(model)
        state = {"epoch": 2, "global_step": 77, "stats": {"loss": [], "results": []}}
        if kind == "vm":
            state["resolution"] = model.resolution
        state["mean_count"], state["mean_density"] = 0, 0.25
        state["model"] = model.state_dict()
        torch.save(state, f"{OUT}/pvd_{kind}.pth")
        x, d = points(n, [-bound] * 3, [bound] * 3), directions(n)
        with torch.no_grad():
            sigma, rgb = model(x, d)
        more = dict(occupied=centres)
        if kind == "vm":
            more["beyond"] = float(((model.get_color_feat(x / bound) < -2) | (model.get_color_feat(x / bound) > 7)).any(1).float().mean())
        golden(f"pvd_{kind}", x, d, sigma, rgb, **more)
        print(more.get("beyond"))

    one("hash", 1, lambda name, p: 0.7)
    one("mlp", 1.5, lambda name, p: 0.5 if "bias" in name else 1.5 / math.sqrt(p.shape[-1]))
    one("vm", 1, lambda name, p: 0.45 if "sigma" in name else 0.25 if "color_mat" in name or "color_vec" in name else 0.5)
    one("tensors", 1, lambda name, p: 1.5)
    sys.path.remove(root)


# ---------------------------------------------------------------- nerfstudio
def nerfstudio():
    def model(n, degree, prefix="_model.gauss_params."):
        dim = (degree + 1) ** 2
        t = dict(means=torch.randn(n, 3), scales=torch.randn(n, 3) - 3, quats=torch.randn(n, 4), features_dc=torch.randn(n, 3),
                 features_rest=torch.randn(n, dim - 1, 3) * 0.3, opacities=torch.randn(n, 1))
        gauss = torch.nn.ParameterDict({k: torch.nn.Parameter(v) for k, v in t.items()})
        holder = torch.nn.Module()
        holder._model = torch.nn.Module()
        if "gauss_params" in prefix:
            holder._model.gauss_params = gauss
        else:
            for k, v in gauss.items():
                holder._model.register_parameter(k, v)
        holder._model.register_buffer("device_indicator_param", torch.empty(0))
        return holder, t

    for name, degree, prefix in [("splatfacto", 3, "_model.gauss_params."), ("splatfacto_old", 2, "_model."), ("splatfacto_rgb", 0, "_model.gauss_params.")]:
        holder, t = model(24, degree, prefix)
        optimisers = {k: torch.optim.Adam([v], lr=1e-3, eps=1e-15) for k, v in holder.named_parameters()}
        torch.save({"step": 29999, "pipeline": holder.state_dict(), "optimizers": {k: o.state_dict() for k, o in optimisers.items()},
                    "schedulers": {}, "scalers": {}}, f"{OUT}/{name}.ckpt")
        # Colours along directions, and covariances, in nerfstudio's own world (+Z up).
        d = directions(24)
        if degree == 0:
            rgb = torch.sigmoid(t["features_dc"])
        else:
            all_ = torch.cat([t["features_dc"][:, None], t["features_rest"]], 1)
            rgb = (sh_basis(d, 4)[:, : (degree + 1) ** 2, None] * all_).sum(1) + 0.5
        q = F.normalize(t["quats"], dim=1)
        w, x, y, z = q.unbind(1)
        R = torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z), 1 - 2 * (x * x + z * z),
                         2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1).view(-1, 3, 3)
        M = R * torch.exp(t["scales"])[:, None, :]
        cov = M @ M.transpose(1, 2)
        body = dict(means=t["means"].tolist(), opacity=torch.sigmoid(t["opacities"]).flatten().tolist(), d=d.tolist(),
                    rgb=rgb.tolist(), covariance=cov.reshape(-1, 9).tolist(), degree=degree)
        with open(f"{OUT}/{name}.json", "w") as out:
            json.dump(body, out)
    holder = torch.nn.Module()
    holder._model = torch.nn.Module()
    holder._model.field = torch.nn.Module()
    holder._model.field.mlp_base = torch.nn.Linear(2, 2)
    torch.save({"step": 1, "pipeline": holder.state_dict()}, f"{OUT}/refused_nerfacto.ckpt")


tensorf()
torch_ngp()
pvd()
nerfstudio()


class Evil:
    def __reduce__(self):
        return (os.system, ("echo it ran",))


torch.save({"model": Evil()}, f"{OUT}/refused_system.pth")
