// What projecting and drawing Gaussians share.

struct Splats {
    count: u32,
    // Degree of the spherical harmonics.
    degree: u32,
    // 1 where opacity makes up for the blur of the pixel (Mip-Splatting, Yu et al. 2024).
    antialias: u32,
    // Centres nearer than this along the view axis are left out.
    near: f32,
    // Gaussians in a row of workgroups.
    across: u32,
    spare0: u32,
    spare1: u32,
    spare2: u32,
}

// A Gaussian on the picture: alpha = 2^(peak − u² − v²) with u = l.x dx + l.y dy, v = l.z dy.
struct Projected {
    // Pixels.
    place: vec2f,
    // Half of the box in which alpha is at least ALPHA_MIN.
    half_size: vec2f,
    l: vec3f,
    // UNSEEN where it is not drawn.
    peak: f32,
    colour: vec3f,
    depth: f32,
}

// The faintest alpha that is drawn.
const ALPHA_MIN = 1.0 / 255.0;
const ALPHA_MAX = 0.99;
const UNSEEN = -1e9;
