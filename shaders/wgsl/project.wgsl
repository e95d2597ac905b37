// From Gaussians in space to Gaussians on the picture: EWA splatting (Zwicker et al. 2001) as in 3D Gaussian splatting
// (Kerbl et al. 2023): A = J W R S, Σ₂ = A Aᵀ + 0.3 I. Twin of `ops::splat::project`.
#import view
#import splat_types
#import sh

@group(0) @binding(0) var<uniform> view: View;
@group(1) @binding(0) var<uniform> splats: Splats;
@group(1) @binding(1) var<storage, read> means: array<f32>;
@group(1) @binding(2) var<storage, read> log_scales: array<f32>;
// Quaternions w, x, y, z.
@group(1) @binding(3) var<storage, read> rotations: array<vec4f>;
@group(1) @binding(4) var<storage, read> raw_opacity: array<f32>;
// `[n, (degree + 1)², 3]`
@group(1) @binding(5) var<storage, read> harmonics: array<f32>;
@group(1) @binding(6) var<storage, read_write> projected: array<Projected>;

// Variance in square pixels that every projected Gaussian is widened by.
const BLUR = 0.3;
// The Jacobian is taken no further outside the picture than this part of its half-width.
const MARGIN = 0.3;
// √(½ log₂ e): folded into the Cholesky factor so that the density is 2^−(u² + v²).
const FOLD = 0.8493218;

fn mean_of(i: u32) -> vec3f {
    return vec3f(means[3u * i], means[3u * i + 1u], means[3u * i + 2u]);
}

fn scale_of(i: u32) -> vec3f {
    return exp(vec3f(log_scales[3u * i], log_scales[3u * i + 1u], log_scales[3u * i + 2u]));
}

// The rotation matrix of a unit quaternion, by columns.
fn turned(q: vec4f) -> mat3x3f {
    let w = q.x;
    let x = q.y;
    let y = q.z;
    let z = q.w;
    return mat3x3f(
        vec3f(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
        vec3f(2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)),
        vec3f(2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)),
    );
}

fn colour_of(i: u32, d: vec3f) -> vec3f {
    var basis = sh_basis(d);
    let functions = (splats.degree + 1u) * (splats.degree + 1u);
    var sum = vec3f(0.5);
    for (var k = 0u; k < functions; k++) {
        let at = 3u * (i * functions + k);
        sum += basis[k] * vec3f(harmonics[at], harmonics[at + 1u], harmonics[at + 2u]);
    }
    return max(sum, vec3f(0.0));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let i = id.x + id.y * splats.across;
    if i >= splats.count {
        return;
    }
    var out: Projected;
    out.peak = UNSEEN;
    projected[i] = out;

    // Camera axes with +Z forward and y down.
    let axes = view.world_from_camera;
    let right = axes[0].xyz;
    let down = -axes[1].xyz;
    let forward = -axes[2].xyz;
    let eye = axes[3].xyz;
    let mean = mean_of(i);
    let offset = mean - eye;
    let p = vec3f(dot(right, offset), dot(down, offset), dot(forward, offset));
    if !(p.z >= splats.near) {
        return;
    }
    let size = vec2f(view.size);
    let margin = MARGIN * 0.5 * size / view.focal;
    let low = -view.centre / view.focal - margin;
    let high = (size - view.centre) / view.focal + margin;
    let bounded = clamp(p.xy / p.z, low, high);
    let across = view.focal / p.z;
    let jw0 = across.x * right - across.x * bounded.x * forward;
    let jw1 = across.y * down - across.y * bounded.y * forward;

    let q = rotations[i];
    let turn = turned(q / max(length(q), 1e-12));
    let scale = scale_of(i);
    let a0 = (jw0 * turn) * scale;
    let a1 = (jw1 * turn) * scale;
    let normal = cross(a0, a1);
    let xx = dot(a0, a0) + BLUR;
    let yy = dot(a1, a1) + BLUR;
    let xy = dot(a0, a1);
    let before = dot(normal, normal);
    let determinant = before + BLUR * (xx + yy - 2.0 * BLUR) + BLUR * BLUR;

    var opacity = 1.0 / (1.0 + exp(-raw_opacity[i]));
    if splats.antialias == 1u {
        opacity *= sqrt(before / determinant);
    }
    if !(opacity >= ALPHA_MIN) {
        return;
    }
    let root = FOLD / sqrt(yy * determinant);
    let place = view.focal * p.xy / p.z + view.centre;
    let peak = log2(opacity);
    let reach = sqrt(max(peak - log2(ALPHA_MIN), 0.0)) / FOLD;
    let half_size = reach * sqrt(vec2f(xx, yy)) * 1.0001 + 1e-3;
    if any(place + half_size < vec2f(0.5)) || any(place - half_size > size - 0.5) {
        return;
    }
    projected[i] = Projected(
        place,
        half_size,
        vec3f(yy * root, -xy * root, FOLD / sqrt(yy)),
        peak,
        colour_of(i, offset / max(length(offset), 1e-12)),
        p.z,
    );
}
