// Projected Gaussians as rectangles, the farthest first, each laid over what is there. Twin of `ops::splat::raster` but for
// the order of the sum and the light below 1e-4 at which that one stops.
#import view
#import splat_types

@group(0) @binding(0) var<uniform> view: View;
@group(1) @binding(0) var<storage, read> projected: array<Projected>;
// Gaussians, the farthest first.
@group(1) @binding(1) var<storage, read> order: array<u32>;

struct Corner {
    @builtin(position) at: vec4f,
    @location(0) @interpolate(flat) which: u32,
}

struct Laid {
    // Premultiplied colour and alpha.
    @location(0) picture: vec4f,
    // Depth along the view axis weighted by alpha, and alpha.
    @location(1) depth: vec4f,
}

@vertex
fn corner(@builtin(vertex_index) vertex: u32, @builtin(instance_index) instance: u32) -> Corner {
    let which = order[instance];
    let p = projected[which];
    if p.peak == UNSEEN {
        return Corner(vec4f(0.0, 0.0, 2.0, 1.0), which);
    }
    let side = vec2f(f32(vertex & 1u), f32(vertex >> 1u)) * 2.0 - 1.0;
    let at = (p.place + side * p.half_size) / vec2f(view.size) * 2.0 - 1.0;
    return Corner(vec4f(at.x, -at.y, 0.0, 1.0), which);
}

@fragment
fn lay(in: Corner) -> Laid {
    let p = projected[in.which];
    let d = in.at.xy - p.place;
    let u = p.l.x * d.x + p.l.y * d.y;
    let v = p.l.z * d.y;
    let alpha = min(exp2(p.peak - u * u - v * v), ALPHA_MAX);
    if alpha < ALPHA_MIN {
        discard;
    }
    return Laid(vec4f(p.colour * alpha, alpha), vec4f(p.depth * alpha, 0.0, 0.0, alpha));
}
