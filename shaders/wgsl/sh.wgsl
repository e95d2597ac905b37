// Real spherical harmonics up to degree 3 in the order and with the signs of 3D Gaussian splatting.
// Twin of `parts::sh::eval_basis`; `d` is a unit vector.

fn sh_basis(d: vec3f) -> array<f32, 16> {
    let x = d.x;
    let y = d.y;
    let z = d.z;
    let xx = x * x;
    let yy = y * y;
    let zz = z * z;
    return array<f32, 16>(
        0.2820948,
        -0.48860252 * y,
        0.48860252 * z,
        -0.48860252 * x,
        1.0925485 * x * y,
        -1.0925485 * y * z,
        0.31539157 * (2.0 * zz - xx - yy),
        -1.0925485 * x * z,
        0.54627424 * (xx - yy),
        -0.5900436 * y * (3.0 * xx - yy),
        2.8906114 * x * y * z,
        -0.4570458 * y * (4.0 * zz - xx - yy),
        0.37317634 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy),
        -0.4570458 * x * (4.0 * zz - xx - yy),
        1.4453057 * z * (xx - yy),
        -0.5900436 * x * (xx - 3.0 * yy),
    );
}
