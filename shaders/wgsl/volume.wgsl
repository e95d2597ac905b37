// What every volume has: its box, how rays are sampled, and where it is not empty.
// Twin of `MarchSpec`, `Contraction` and `Occupancy` (Müller et al. 2022, appendix E; Barron et al. 2022, eq. 10).

struct March {
    // The box of warped space that the field and its grid fill.
    low: vec3f,
    step: f32,
    size: vec3f,
    cone_angle: f32,
    near: f32,
    far: f32,
    // A ray ends after so many samples, or where less than `stop` of its light is left.
    most: u32,
    stop: f32,
    // First word of the bits of each level of the pyramid: cells, and blocks of 2, 4 and 8 of them.
    level_start: vec4u,
    // Cells along an edge, a power of two.
    cells: u32,
    // 1 where space beyond the unit ball is contracted to radius 2.
    unbounded: u32,
    spare: vec2u,
}

@group(1) @binding(0) var<uniform> march: March;
@group(1) @binding(1) var<storage, read> occupancy: array<u32>;

fn warped(x: vec3f) -> vec3f {
    let square = dot(x, x);
    if march.unbounded == 0u || square <= 1.0 {
        return x;
    }
    let inverse = inverseSqrt(square);
    return x * ((2.0 - inverse) * inverse);
}

// Warped position to [0, 1]³ in the box.
fn unit(x: vec3f) -> vec3f {
    return (x - march.low) / march.size;
}

fn occupied_at(cell: vec3u, level: u32) -> bool {
    let side = march.cells >> level;
    let c = cell >> vec3u(level);
    let index = c.x + side * (c.y + side * c.z);
    return (occupancy[march.level_start[level] + (index >> 5u)] >> (index & 31u) & 1u) == 1u;
}
