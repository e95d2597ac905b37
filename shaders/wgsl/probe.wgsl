// Asks a field at points, so that its numbers can be compared with those of the tensors.
#import cover
#import field

// Warped positions and unit directions, one for each pixel, row by row; w is not used.
@group(0) @binding(0) var<storage, read> points: array<vec4f>;
@group(0) @binding(1) var<storage, read> directions: array<vec4f>;

// Pixels in a row.
const ROW = 64u;

// Colour and clamped log-density.
@fragment
fn main(@builtin(position) at: vec4f) -> @location(0) vec4f {
    let i = u32(at.x) + ROW * u32(at.y);
    if i >= arrayLength(&points) {
        return vec4f(0.0);
    }
    let found = log_sigma(points[i].xyz);
    return vec4f(colour(directions[i].xyz), found);
}
