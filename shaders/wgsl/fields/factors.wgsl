// Planes and lines, or lines alone (TensoRF, Chen et al. 2022). Twin of `parts::factored`; the layout is
// `ops::factors::spec`'s.
// Constants: RESOLUTION (vec3u), GRID_LOW, GRID_SIZE (vec3f), PLANES (1 or 0), SIGMA_RANK, APP_RANK, COLUMNS, OFFSET, OUTSIDE, MODES,
// SOFTPLUS, LOG_SCALE, LATENT, WAVES, LOG_LOW, LOG_HIGH.
#import volume
#import colour_head

// `[rows, COLUMNS]`: a row is a grid point of one factor, its columns are the ranks, those of the density first.
@group(1) @binding(2) var<storage, read> factors: array<f32>;
// `[products, LATENT]`, rows padded to whole vectors: from a product to the latent.
@group(1) @binding(3) var<storage, read> basis: array<vec4f>;

const LATENT4 = (LATENT + 3u) / 4u;
// A coordinate this far outside the box is rounding, not outside.
const SLACK = 1e-5;

// Where the point that was asked last lies: the lower grid point and the fraction along each axis.
var<private> at_cell: vec3u;
var<private> at_fraction: vec3f;
var<private> at_inside: bool;

fn line_row(axis: u32) -> u32 {
    let r = RESOLUTION;
    if PLANES == 1u {
        let planes = r.x * r.y + r.x * r.z + r.y * r.z;
        return planes + select(0u, r.z, axis < 2u) + select(0u, r.y, axis < 1u);
    }
    return select(0u, r.x, axis > 0u) + select(0u, r.y, axis > 1u);
}

fn plane_row(mode: u32) -> u32 {
    return select(0u, RESOLUTION.x * RESOLUTION.y, mode > 0u) + select(0u, RESOLUTION.x * RESOLUTION.z, mode > 1u);
}

fn line(axis: u32, column: u32) -> f32 {
    let at = (line_row(axis) + at_cell[axis]) * COLUMNS + column;
    return mix(factors[at], factors[at + COLUMNS], at_fraction[axis]);
}

fn plane(mode: u32, a: u32, b: u32, column: u32) -> f32 {
    let at = (plane_row(mode) + at_cell[b] * RESOLUTION[a] + at_cell[a]) * COLUMNS + column;
    let above = at + RESOLUTION[a] * COLUMNS;
    let low = mix(factors[at], factors[at + COLUMNS], at_fraction[a]);
    let high = mix(factors[above], factors[above + COLUMNS], at_fraction[a]);
    return mix(low, high, at_fraction[b]);
}

// The product of a mode's factors in a column. Modes of planes: xy with z, xz with y, yz with x.
fn product(mode: u32, column: u32) -> f32 {
    if PLANES == 1u {
        let a = select(0u, 1u, mode == 2u);
        let b = select(2u, 1u, mode == 0u);
        return plane(mode, a, b, column) * line(2u - mode, column);
    }
    return line(0u, column) * line(1u, column) * line(2u, column);
}

// ln ln(1 + e^z). Drivers' logarithms are exact to some 1e-5 near 1 and no better, so the inner one is a series there.
fn log_softplus(z: f32) -> f32 {
    if z < -2.0 {
        let e = exp(z);
        return z + log(1.0 - e * (0.5 - e * (1.0 / 3.0 - e * 0.25)));
    }
    return log(log(1.0 + exp(min(z, 80.0))));
}

// The clamped log-density at a warped position; keeps its place for `colour`.
fn log_sigma(p: vec3f) -> f32 {
    let x = (p - GRID_LOW) / GRID_SIZE;
    let last = RESOLUTION - vec3u(1u);
    let position = clamp(x, vec3f(0.0), vec3f(1.0)) * vec3f(last);
    at_cell = min(vec3u(position), last - vec3u(1u));
    at_fraction = position - vec3f(at_cell);
    var sum = OUTSIDE;
    at_inside = all(x >= vec3f(-SLACK)) && all(x <= vec3f(1.0 + SLACK));
    if at_inside {
        sum = OFFSET;
        for (var mode = 0u; mode < MODES; mode++) {
            for (var column = 0u; column < SIGMA_RANK; column++) {
                sum += product(mode, column);
            }
        }
    }
    if SOFTPLUS == 1u {
        sum = LOG_SCALE + log_softplus(sum);
    }
    return clamp(sum, LOG_LOW, LOG_HIGH);
}

// The colour in [0, 1] where `log_sigma` was asked last, seen along the unit direction `d`.
fn colour(d: vec3f) -> vec3f {
    // Outside the box the latent is zero.
    var sum = array<vec4f, LATENT4>();
    for (var mode = 0u; mode < MODES && at_inside; mode++) {
        for (var rank = 0u; rank < APP_RANK; rank++) {
            let value = product(mode, SIGMA_RANK + rank);
            let row = (mode * APP_RANK + rank) * LATENT4;
            for (var k = 0u; k < LATENT4; k++) {
                sum[k] += value * basis[row + k];
            }
        }
    }
    for (var k = 0u; k < LATENT; k++) {
        latent[k] = sum[k >> 2u][k & 3u];
    }
    return head_colour(d);
}
