// One triangle that covers all of what is drawn into. Fields are asked in fragment shaders: they need no storage textures, and
// a scissor is all that a slow picture needs to be drawn in bands.

@vertex
fn cover(@builtin(vertex_index) vertex: u32) -> @builtin(position) vec4f {
    let corner = vec2f(f32(vertex << 1u & 2u), f32(vertex & 2u));
    return vec4f(corner * 2.0 - 1.0, 0.0, 1.0);
}
