// A sparse grid of density and harmonics of degree 2 (Plenoxels, Fridovich-Keil, Yu et al. 2022). Twin of `kinds::voxels`.
// Constants: RESOLUTION, LINEAR (the density is stored as itself), SIGMOID, EMPTY, LOG_LOW, LOG_HIGH.
#import volume
#import sh

// For every 32 vertices: which are kept, and how many are kept before them.
@group(1) @binding(2) var<storage, read> links: array<vec2u>;
@group(1) @binding(3) var<storage, read> density: array<f32>;
// 27 for each kept vertex: nine of red, nine of green, nine of blue.
@group(1) @binding(4) var<storage, read> harmonics: array<f32>;

const NO_ROW = 0xffffffffu;

// The corners around the point that was asked last.
var<private> corner_row: array<u32, 8>;
var<private> corner_weight: array<f32, 8>;

fn row_of(vertex: u32) -> u32 {
    let word = links[vertex >> 5u];
    let bit = vertex & 31u;
    if (word.x >> bit & 1u) == 0u {
        return NO_ROW;
    }
    return word.y + countOneBits(word.x & ((1u << bit) - 1u));
}

// The clamped log-density at a warped position; keeps its corners for `colour`.
fn log_sigma(p: vec3f) -> f32 {
    let last = f32(RESOLUTION - 1u);
    let position = clamp(unit(p) * f32(RESOLUTION) - 0.5, vec3f(0.0), vec3f(last));
    let cell = min(vec3u(position), vec3u(RESOLUTION - 2u));
    let f = position - vec3f(cell);
    var sum = 0.0;
    for (var c = 0u; c < 8u; c++) {
        let up = vec3u(c & 1u, c >> 1u & 1u, c >> 2u);
        let w = select(1.0 - f, f, up == vec3u(1u));
        let v = cell + up;
        let row = row_of(v.x + RESOLUTION * (v.y + RESOLUTION * v.z));
        let weight = w.x * w.y * w.z;
        corner_row[c] = row;
        corner_weight[c] = weight;
        if row == NO_ROW {
            sum += weight * EMPTY;
        } else {
            sum += weight * density[row];
        }
    }
    if LINEAR == 1u {
        sum = log(max(sum, 1e-30));
    }
    return clamp(sum, LOG_LOW, LOG_HIGH);
}

// The colour in [0, 1] where `log_sigma` was asked last, seen along the unit direction `d`.
fn colour(d: vec3f) -> vec3f {
    var basis = sh_basis(d);
    var sum = vec3f(0.0);
    for (var c = 0u; c < 8u; c++) {
        if corner_row[c] == NO_ROW {
            continue;
        }
        let at = corner_row[c] * 27u;
        var here = vec3f(0.0);
        for (var k = 0u; k < 9u; k++) {
            here += basis[k] * vec3f(harmonics[at + k], harmonics[at + 9u + k], harmonics[at + 18u + k]);
        }
        sum += corner_weight[c] * here;
    }
    if SIGMOID == 1u {
        return 1.0 / (1.0 + exp(-sum));
    }
    return clamp(sum + 0.5, vec3f(0.0), vec3f(1.0));
}
