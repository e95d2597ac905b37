// A pinhole camera and the rays of its pixels. Twin of `Camera::ray`, without a lens.

struct View {
    // Columns; the camera looks along -Z with +Y up.
    world_from_camera: mat4x4f,
    // Pixels.
    focal: vec2f,
    centre: vec2f,
    size: vec2u,
    spare: vec2u,
}

struct Ray {
    origin: vec3f,
    direction: vec3f,
}

// `pixel` from the top left corner; the centre of the first one is (0.5, 0.5).
fn ray_of(view: View, pixel: vec2f) -> Ray {
    let m = (pixel - view.centre) / view.focal;
    let direction = view.world_from_camera * vec4f(m.x, -m.y, -1.0, 0.0);
    return Ray(view.world_from_camera[3].xyz, normalize(direction.xyz));
}
