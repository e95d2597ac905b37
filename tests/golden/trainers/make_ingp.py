"""Small instant-ngp snapshots and what they compute, from the published layout alone (numpy, msgpack).

    python make_ingp.py [folder of oracle.so]

Each case gives NAME.ingp (or .msgpack) and NAME.json: points and unit directions in the coordinates of the photos, the
density there per unit of those coordinates, the colour, and whether the density grid calls the point occupied. With a
compiled oracle (functions of the published sources), indices, harmonics and cells are checked against it.
"""
import ctypes, gzip, json, sys, zlib
import msgpack
import numpy as np

f32 = np.float32
ORACLE = ctypes.CDLL(sys.argv[1] + '/oracle.so') if len(sys.argv) > 1 else None
if ORACLE:
    for n in ('o_grid_scale', 'o_growth'): getattr(ORACLE, n).restype = ctypes.c_float
    for n in ('o_grid_index', 'o_grid_resolution', 'o_cell', 'o_mip'): getattr(ORACLE, n).restype = ctypes.c_uint32
vec = lambda a, t: (t * len(a))(*[t(v).value for v in a])


def levels(e, aabb_scale):
    L, base, T = e['n_levels'], e['base_resolution'], 1 << e['log2_hashmap_size']
    growth = f32(e.get('per_level_scale', 0.0))
    if growth <= 0 and L > 1:
        growth = np.exp(f32(np.log(f32(2048.0) * f32(aabb_scale) / f32(base))) / f32(L - 1), dtype=f32)
        if ORACLE:
            o = ORACLE.o_growth(ctypes.c_float(2048.0), ctypes.c_float(aabb_scale), ctypes.c_float(base), ctypes.c_uint32(L))
            assert abs(o / growth - 1) < 2e-7, (o, growth)
    out, offset = [], 0
    for l in range(L):
        scale = f32(np.exp2(f32(l) * np.log2(growth if L > 1 else f32(1.0), dtype=f32), dtype=f32) * f32(base) - f32(1.0))
        res = int(np.ceil(scale)) + 1
        size = min((res ** 3 + 7) // 8 * 8, T)
        if ORACLE and L > 1:
            assert abs(ORACLE.o_grid_scale(l, ctypes.c_float(growth), base) - scale) <= 1e-6 * scale
            assert ORACLE.o_grid_resolution(ctypes.c_float(scale)) == res
        out.append((scale, res, offset, size))
        offset += size
    return out, offset


def index(res, size, p):
    stride = res ** 3
    if res > 0x659 or size < stride:
        h = (p[0] ^ (p[1] * 2654435761 & 0xffffffff) ^ (p[2] * 805459861 & 0xffffffff)) & 0xffffffff
        i = h % size
    else:
        i = (p[0] + p[1] * res + p[2] * res * res) % size
    if ORACLE:
        assert ORACLE.o_grid_index(size, res, vec(p, ctypes.c_uint32)) == i
    return i


def sh(d):
    x, y, z = d
    xx, yy, zz = x * x, y * y, z * z
    b = [0.28209479177387814, -0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x,
         1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.94617469575755997 * zz - 0.31539156525251999,
         -1.0925484305920792 * x * z, 0.54627421529603959 * (xx - yy),
         0.59004358992664352 * y * (-3 * xx + yy), 2.8906114426405538 * x * y * z, 0.45704579946446572 * y * (1 - 5 * zz),
         0.3731763325901154 * z * (5 * zz - 3), 0.45704579946446572 * x * (1 - 5 * zz), 1.4453057213202769 * z * (xx - yy),
         0.59004358992664352 * x * (-xx + 3 * yy)]
    if ORACLE:
        o = (ctypes.c_float * 16)()
        ORACLE.o_sh(vec(d, ctypes.c_float), o)
        assert np.abs(np.array(o) - b).max() < 2e-6
    return np.array(b)


def cell(p, mip):
    q = np.floor(((np.array(p) - 0.5) / 2.0 ** mip + 0.5) * 128).astype(int)
    spread = lambda v: sum((int(v) >> b & 1) << 3 * b for b in range(7))
    c = spread(q[0]) | spread(q[1]) << 1 | spread(q[2]) << 2
    if ORACLE:
        assert ORACLE.o_cell(vec(p, ctypes.c_float), mip) == c
    return c


def mip_of(p, most):
    far = np.abs(np.array(p) - 0.5).max()
    m = min(max(int(np.frexp(far)[1]) + 1, 0), most)
    if ORACLE:
        assert ORACLE.o_mip(vec(p, ctypes.c_float), most) == m
    return m


def pad(n, k): return (n + k - 1) // k * k


def net(rng, widths):
    return [rng.normal(size=(o, i)) * 1.8 / np.sqrt(i) for i, o in zip(widths, widths[1:])]


def run(mats, x):
    for k, m in enumerate(mats):
        x = m @ x
        if k + 1 < len(mats): x = np.maximum(x, 0)
    return x


CASES = {
    # A single cube, single precision, plain MessagePack; networks as wide as they can be told apart.
    'single': dict(aabb_scale=1, half=False, pack='plain', n=(32, 1), c=(16, 2), otype='FullyFusedMLP',
                   encoding=dict(otype='HashGrid', n_levels=5, n_features_per_level=2, log2_hashmap_size=9, base_resolution=8)),
    # base.json's shape, half precision, a box of four, gzip, a crop.
    'half': dict(aabb_scale=4, half=True, pack='gzip', n=(32, 1), c=(32, 2), otype='FullyFusedMLP', crop=True,
                 encoding=dict(otype='HashGrid', n_levels=8, n_features_per_level=4, log2_hashmap_size=8, base_resolution=16)),
    # Networks that are not fused, an odd number of features, a growth of its own, zlib, Mitsuba's axes.
    'cutlass': dict(aabb_scale=2, half=False, pack='zlib', n=(48, 2), c=(0, 0), otype='CutlassMLP', mitsuba=True, outputs=20,
                    encoding=dict(otype='HashGrid', n_levels=5, n_features_per_level=1, log2_hashmap_size=9,
                                  base_resolution=16, per_level_scale=2.0)),
}


def make(name, c):
    rng = np.random.default_rng(sum(name.encode()))
    e, s = c['encoding'], c['aabb_scale']
    lv, entries = levels(e, s)
    F = e['n_features_per_level']
    enc = pad(len(lv) * F, 16 if c['otype'] == 'FullyFusedMLP' else 8)
    P = pad(c.get('outputs', 16), 16)
    sigma = net(rng, [enc] + [c['n'][0]] * c['n'][1] + [P])
    colour = net(rng, [P + 16] + [c['c'][0]] * c['c'][1] + [16])
    # Finer levels say less, so that the rounding of a position to single precision stays below 1e-4.
    table = np.concatenate([rng.normal(size=(size, F)) * min(1, 12 / sc) for sc, _, _, size in lv])
    values = np.concatenate([m.ravel() for m in sigma + colour] + [table.ravel()])
    kind = np.float16 if c['half'] else np.float32
    values = values.astype(kind)
    # What the file says is what counts.
    at = [0]
    def back(shape):
        n = int(np.prod(shape)); at[0] += n
        return values[at[0] - n:at[0]].astype(np.float64).reshape(shape)
    sigma, colour = [back(m.shape) for m in sigma], [back(m.shape) for m in colour]
    table = back(table.shape)
    assert at[0] == len(values)

    cascades = s.bit_length()
    grid = np.zeros((cascades, 128 ** 3), np.float32)
    ramp = np.arange(128)
    spread = lambda v: sum((v >> b & 1) << 3 * b for b in range(7))
    X, Y, Z = np.meshgrid(ramp, ramp, ramp, indexing="ij")
    BX, BY, BZ = X // 8 * 8, Y // 8 * 8, Z // 8 * 8
    code = spread(X) | spread(Y) << 1 | spread(Z) << 2
    for k in range(cascades):
        # Blobs, thick and thin, so that the threshold counts.
        thick = np.exp(-(((BX - 40 - 9 * k) / 28) ** 2 + ((BY - 70) / 35) ** 2 + ((BZ - 64 + 5 * k) / 24) ** 2))
        grid[k][code.ravel()] = (np.round(thick * 16) / 512).ravel()
    grid[0][code[:4, :4, :4].ravel()] = -1.0
    grid16 = grid.astype(np.float16)
    grid = grid16.astype(np.float32)
    least = min(f32(0.01), np.maximum(grid[0], 0).mean(dtype=np.float64))

    scale, offset = 0.7 if s == 1 else 0.9, np.array([0.45, 0.55, 0.6])
    mitsuba = c.get('mitsuba', False)
    cycle = (lambda v: v) if mitsuba else (lambda v: np.array([v[1], v[2], v[0]]))
    uncycle = (lambda v: v) if mitsuba else (lambda v: np.array([v[2], v[0], v[1]]))
    crop = dict(min=[0.5 - 0.4 * s] * 3, max=[0.5 + 0.3 * s] * 3) if c.get('crop') else None

    points, directions, sigmas, colours, occupied = [], [], [], [], []
    for i in range(120):
        p = (rng.uniform(-0.5, 0.5, 3) * s * (1.0 if i % 2 else 0.3) + 0.5)
        d = rng.normal(size=3); d /= np.linalg.norm(d)
        x = np.clip((p - (0.5 - s / 2)) / s, 0, 1)
        feats = []
        for sc, res, off, size in lv:
            q = x * float(sc) + 0.5
            g = np.floor(q).astype(int); w = q - g
            f = np.zeros(F)
            for k in range(8):
                up = [k >> a & 1 for a in range(3)]
                wt = np.prod([w[a] if up[a] else 1 - w[a] for a in range(3)])
                f += wt * table[off + index(res, size, [int(g[a]) + up[a] for a in range(3)])]
            feats.append(f)
        feats = np.concatenate(feats)
        latent = run(sigma, np.concatenate([feats, np.zeros(enc - len(feats))]))
        rgb = 1 / (1 + np.exp(-run(colour, np.concatenate([latent, sh(d)]))[:3]))
        m = mip_of(p, cascades - 1)
        occ = bool(grid[m][cell(p, m)] > least)
        if crop: occ = occ and bool((p >= crop['min']).all() and (p <= crop['max']).all())
        points.append(((uncycle(p) - offset) / scale).tolist())
        directions.append(uncycle(d).tolist())
        sigmas.append(float(np.exp(latent[0]) * scale))
        colours.append(rgb.tolist()); occupied.append(occ)

    xforms, metadata = [], []
    for i in range(3):
        a, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        if np.linalg.det(a) < 0: a[:, 0] *= -1
        m = np.concatenate([a, rng.normal(size=(3, 1))], 1)
        xforms.append(dict(start=m.tolist(), end=m.tolist()))
        metadata.append(dict(resolution=[400, 300], focal_length=[350.0, 340.0], principal_point=[0.5, 0.5],
                             lens=None, rolling_shutter=[0.0, 0.0, 0.0, 0.0]))
    eye = np.eye(3).tolist()
    empty = dict(min=[float('inf')] * 3, max=[float('-inf')] * 3)
    whole = dict(min=[0.5 - s / 2] * 3, max=[0.5 + s / 2] * 3)
    network = lambda n, extra: dict(otype=c['otype'], activation='ReLU', output_activation='None', n_neurons=n[0] or 64,
                                    n_hidden_layers=n[1], **extra)
    root = dict(
        dir_encoding=dict(otype='Composite', nested=[dict(n_dims_to_encode=3, otype='SphericalHarmonics', degree=4),
                                                     dict(otype='Identity')]),
        distortion_map=dict(resolution=[32, 32]), encoding=e, envmap=dict(loss=dict(otype='RelativeL2')),
        loss=dict(otype='Huber'), network=network(c['n'], {'n_output_dims': c['outputs']} if 'outputs' in c else {}),
        optimizer=dict(otype='Ema', decay=0.95), rgb_network=network(c['c'], {}),
        snapshot=dict(
            aabb=whole, background_color=[0.0, 0.0, 0.0, 1.0], bounding_radius=1.0,
            camera=dict(aperture_size=0.0, fov_axis=1, matrix=xforms[0]['start']),
            density_grid_binary=grid16.tobytes(), density_grid_size=128, exposure=0.0, loss=0.001, mode='nerf',
            n_params=len(values), nerf=dict(
                aabb_scale=s, cam_pos_offset=[], extra_dims_opt=[], rgb=dict(rays_per_batch=4096),
                dataset=dict(n_images=3, paths=['a', 'b', 'c'], xforms=xforms, metadata=metadata, render_aabb=empty,
                             render_aabb_to_local=eye, up=[0.0, 1.0, 0.0], offset=offset.tolist(), scale=scale, aabb_scale=s,
                             envmap_resolution=[0, 0], from_mitsuba=mitsuba, is_hdr=False, wants_importance_sampling=True,
                             n_extra_learnable_dims=0)),
            params_binary=values.tobytes(), params_type='__half' if c['half'] else 'float', render_aabb=crop or whole,
            render_aabb_to_local=eye, training_step=4321, up_dir=[0.0, 1.0, 0.0], version=1))
    raw = msgpack.packb(root)
    file = name + ('.msgpack' if c['pack'] == 'plain' else '.ingp')
    packed = {'plain': lambda b: b, 'gzip': lambda b: gzip.compress(b, 9, mtime=0), 'zlib': lambda b: zlib.compress(b, 9)}[c['pack']](raw)
    if c['pack'] == 'plain':
        # Its density grid is 4 MB: kept as gzip, to be opened first.
        file, packed = name + '.msgpack.gz', gzip.compress(raw, 9, mtime=0)
    open(file, 'wb').write(packed)
    r = lambda a: [[float(f'{v:.8g}') for v in row] for row in a]
    json.dump(dict(file=file, points=r(points), directions=r(directions), sigma=[float(f'{v:.8g}') for v in sigmas], rgb=r(colours),
                   occupied=occupied), open(name + '.json', 'w'))
    print(name, len(packed), len(values), 'occupied', sum(occupied), 'of', len(occupied), 'sigma', min(sigmas), max(sigmas))


for name, case in CASES.items():
    make(name, case)
