// What a person sees of a drawn picture: colour over a background, depth, opacity or normals.
#import view
#import cover

struct Show {
    background: vec4f,
    // Depth from black to bright, scene units.
    nearest: f32,
    farthest: f32,
    // 0 colour, 1 depth, 2 opacity, 3 normals.
    mode: u32,
    // 1 where depth is along the view axis and not along the ray.
    axial: u32,
    // Pixels of what is shown on.
    size: vec2f,
    spare: vec2u,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<uniform> show: Show;
@group(0) @binding(2) var picture: texture_2d<f32>;
@group(0) @binding(3) var depth: texture_2d<f32>;
@group(0) @binding(4) var smooth_sampler: sampler;

// Dark blue over green to yellow, each brighter than the one before.
fn tinted(share: f32) -> vec3f {
    let s = clamp(share, 0.0, 1.0);
    let low = mix(vec3f(0.07, 0.05, 0.2), vec3f(0.1, 0.45, 0.5), clamp(2.0 * s, 0.0, 1.0));
    return mix(low, vec3f(0.98, 0.93, 0.35), clamp(2.0 * s - 1.0, 0.0, 1.0));
}

// Depth without its weight, and alpha.
fn depth_at(pixel: vec2i) -> vec2f {
    let last = vec2i(view.size) - vec2i(1);
    let p = clamp(pixel, vec2i(0), last);
    let alpha = textureLoad(picture, p, 0).a;
    return vec2f(textureLoad(depth, p, 0).x / max(alpha, 1e-4), alpha);
}

fn place_at(pixel: vec2i) -> vec3f {
    let ray = ray_of(view, vec2f(pixel) + 0.5);
    let found = depth_at(pixel).x;
    let forward = -view.world_from_camera[2].xyz;
    let along = select(1.0, dot(ray.direction, forward), show.axial == 1u);
    return ray.origin + ray.direction * (found / max(along, 1e-3));
}

@fragment
fn main(@builtin(position) at: vec4f) -> @location(0) vec4f {
    let uv = at.xy / show.size;
    let seen = textureSampleLevel(picture, smooth_sampler, uv, 0.0);
    let background = show.background.rgb;
    if show.mode == 0u {
        return vec4f(clamp(seen.rgb + (1.0 - seen.a) * background, vec3f(0.0), vec3f(1.0)), 1.0);
    }
    if show.mode == 2u {
        return vec4f(vec3f(seen.a), 1.0);
    }
    let pixel = vec2i(uv * vec2f(view.size));
    let found = depth_at(pixel);
    if found.y < 0.5 {
        return vec4f(background, 1.0);
    }
    if show.mode == 1u {
        return vec4f(tinted((show.farthest - found.x) / max(show.farthest - show.nearest, 1e-6)), 1.0);
    }
    let across = place_at(pixel + vec2i(1, 0)) - place_at(pixel - vec2i(1, 0));
    let down = place_at(pixel + vec2i(0, 1)) - place_at(pixel - vec2i(0, 1));
    let normal = normalize(cross(down, across));
    return vec4f(0.5 + 0.5 * normal, 1.0);
}
