// A multi-resolution hash grid (Müller et al. 2022). Twin of `kinds::hash`; the layout is `ops::hash_encode::spec`'s.
// Constants: LEVELS, FEATURES, LATENT, WAVES, LOG_LOW, LOG_HIGH.
#import volume
#import net_sigma
#import colour_head

struct Level {
    // Cells along the unit cube: a point x lies at x · scale + 0.5.
    scale: f32,
    // Grid points along an axis.
    resolution: u32,
    // First entry, and how many.
    offset: u32,
    size: u32,
    // 1 where the index is a spatial hash; then the size is a power of two.
    hashed: u32,
}

@group(1) @binding(2) var<storage, read> levels: array<Level>;
@group(1) @binding(3) var<storage, read> table: array<f32>;

fn entry(level: Level, p: vec3u) -> u32 {
    if level.hashed == 1u {
        return (p.x ^ (p.y * 2654435761u) ^ (p.z * 805459861u)) & (level.size - 1u);
    }
    let index = p.x + level.resolution * (p.y + level.resolution * p.z);
    // A point on the far faces touches grid points beyond the last.
    return index % level.size;
}

// The clamped log-density at a warped position; keeps the latent for `colour`.
fn log_sigma(p: vec3f) -> f32 {
    let x = clamp(unit(p), vec3f(0.0), vec3f(1.0));
    for (var l = 0u; l < LEVELS; l++) {
        let level = levels[l];
        let position = x * level.scale + 0.5;
        let low = floor(position);
        let cell = vec3u(low);
        let f = position - low;
        var sum = array<f32, FEATURES>();
        for (var c = 0u; c < 8u; c++) {
            let up = vec3u(c & 1u, c >> 1u & 1u, c >> 2u);
            let w = select(1.0 - f, f, up == vec3u(1u));
            let weight = w.x * w.y * w.z;
            let at = (level.offset + entry(level, cell + up)) * FEATURES;
            for (var k = 0u; k < FEATURES; k++) {
                sum[k] += weight * table[at + k];
            }
        }
        for (var k = 0u; k < FEATURES; k++) {
            put_sigma(l * FEATURES + k, sum[k]);
        }
    }
    run_sigma();
    for (var k = 0u; k < LATENT; k++) {
        latent[k] = sigma_y[(k + 1u) >> 2u][(k + 1u) & 3u];
    }
    return clamp(sigma_y[0].x, LOG_LOW, LOG_HIGH);
}

// The colour in [0, 1] where `log_sigma` was asked last, seen along the unit direction `d`.
fn colour(d: vec3f) -> vec3f {
    return head_colour(d);
}
