// Volume rendering (Kajiya and Von Herzen 1984; Max 1995): C = Σ Tᵢ αᵢ cᵢ, αᵢ = 1 − exp(−σᵢ δᵢ), on the samples that the
// occupancy grid leaves. Twin of `ops::march` and `ops::composite` with samples in the middle of their steps.
#import view
#import cover
#import volume
#import field

@group(0) @binding(0) var<uniform> view: View;

// A colour that would add less than this is not asked for.
const FAINT = 1e-4;

// Where a ray meets the box: x to y, empty if x >= y.
fn span(ray: Ray) -> vec2f {
    var found = vec2f(march.near, march.far);
    if march.unbounded == 1u {
        return found;
    }
    for (var axis = 0u; axis < 3u; axis++) {
        let o = ray.origin[axis];
        let d = ray.direction[axis];
        let low = march.low[axis];
        let high = low + march.size[axis];
        if d == 0.0 {
            // Parallel to the slab: it cuts nothing off, or all.
            if o < low || o > high {
                found.y = found.x;
            }
            continue;
        }
        let a = (low - o) / d;
        let b = (high - o) / d;
        found = vec2f(max(found.x, min(a, b)), min(found.y, max(a, b)));
    }
    return found;
}

// How far it is from `p` (in cells) out of the empty block around its cell, in distances along the ray.
fn way_out(ray: Ray, p: vec3f, cell: vec3u) -> f32 {
    var level = 0u;
    while level < 3u && !occupied_at(cell, level + 1u) {
        level++;
    }
    let low = vec3f((cell >> vec3u(level)) << vec3u(level));
    let high = low + f32(1u << level);
    let per_cell = march.size / f32(march.cells);
    if march.unbounded == 1u {
        // The warp never lengthens a step, so the nearest face is a bound.
        let reach = min(p - low, high - p) * per_cell;
        return max(min(reach.x, min(reach.y, reach.z)), 0.0);
    }
    var least = 1e30;
    for (var axis = 0u; axis < 3u; axis++) {
        let d = ray.direction[axis];
        if d != 0.0 {
            let face = select(low[axis], high[axis], d > 0.0);
            least = min(least, (face - p[axis]) * per_cell[axis] / d);
        }
    }
    return max(least, 0.0);
}

struct Seen {
    rgb: vec3f,
    alpha: f32,
    depth: f32,
}

fn look_along(ray: Ray) -> Seen {
    let reach = span(ray);
    let laddered = march.unbounded == 1u || march.cone_angle > 0.0;
    var seen = Seen(vec3f(0.0), 0.0, 0.0);
    var light = 1.0;
    var samples = 0u;
    // With a cone all rays share their edges, from the near end; without one they begin where the ray enters.
    var edge = select(reach.x, march.near, laddered);
    var k = 0u;
    loop {
        var length = march.step;
        if laddered {
            length = max(march.step, edge * march.cone_angle);
        } else {
            edge = reach.x + f32(k) * march.step;
        }
        let t = edge + 0.5 * length;
        if !(t < reach.y) || samples >= march.most || light < march.stop {
            break;
        }
        let x = warped(ray.origin + t * ray.direction);
        let p = unit(x) * f32(march.cells);
        var skip = 0.0;
        if all(p >= vec3f(0.0)) && all(p <= vec3f(f32(march.cells))) {
            let cell = min(vec3u(p), vec3u(march.cells - 1u));
            if occupied_at(cell, 0u) {
                samples++;
                let alpha = 1.0 - exp(-exp(log_sigma(x)) * length);
                let weight = light * alpha;
                if weight > FAINT {
                    seen.rgb += weight * colour(ray.direction);
                }
                seen.alpha += weight;
                seen.depth += weight * t;
                light *= 1.0 - alpha;
            } else {
                skip = way_out(ray, p, cell);
            }
        }
        // The first place at or beyond the way out.
        if laddered {
            loop {
                edge += max(march.step, edge * march.cone_angle);
                let middle = edge + 0.5 * max(march.step, edge * march.cone_angle);
                if middle >= t + skip || middle >= reach.y {
                    break;
                }
            }
        } else {
            k = max(k + 1u, u32(ceil((t + skip - reach.x) / march.step - 0.5)));
        }
    }
    return seen;
}

struct Drawn {
    // Premultiplied colour and alpha.
    @location(0) picture: vec4f,
    // Expected depth along the ray, weighted by alpha.
    @location(1) depth: f32,
}

@fragment
fn main(@builtin(position) at: vec4f) -> Drawn {
    let seen = look_along(ray_of(view, at.xy));
    return Drawn(vec4f(seen.rgb, seen.alpha), seen.depth);
}
