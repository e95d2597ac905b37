//! Spherical harmonics of a unit direction to degree 3 on the device; order, signs and constants as in
//! [`crate::parts::sh`].

use cubecl::prelude::*;

/// The 16 functions; those above `degree` are zero.
#[cube]
pub fn basis(x: f32, y: f32, z: f32, degree: u32) -> Array<f32> {
    let mut b = Array::<f32>::new(16usize);
    #[unroll]
    for k in 0..16usize {
        b[k] = 0.0;
    }
    b[0] = 0.282_094_8;
    if degree > 0 {
        b[1] = -0.488_602_52f32 * y;
        b[2] = 0.488_602_52 * z;
        b[3] = -0.488_602_52f32 * x;
    }
    if degree > 1 {
        b[4] = 1.092_548_5 * x * y;
        b[5] = -1.092_548_5f32 * y * z;
        b[6] = 0.315_391_57 * (2.0 * z * z - x * x - y * y);
        b[7] = -1.092_548_5f32 * x * z;
        b[8] = 0.546_274_24 * (x * x - y * y);
    }
    if degree > 2 {
        b[9] = -0.590_043_6f32 * y * (3.0 * x * x - y * y);
        b[10] = 2.890_611_4 * x * y * z;
        b[11] = -0.457_045_8f32 * y * (4.0 * z * z - x * x - y * y);
        b[12] = 0.373_176_34 * z * (2.0 * z * z - 3.0 * x * x - 3.0 * y * y);
        b[13] = -0.457_045_8f32 * x * (4.0 * z * z - x * x - y * y);
        b[14] = 1.445_305_7 * z * (x * x - y * y);
        b[15] = -0.590_043_6f32 * x * (x * x - 3.0 * y * y);
    }
    b
}

/// `Σ g[k] · ∂Yₖ/∂d` over the functions up to `degree`, as the polynomials above.
#[cube]
pub fn basis_gradient(x: f32, y: f32, z: f32, degree: u32, g: &Array<f32>) -> Array<f32> {
    let mut to = Array::<f32>::new(3usize);
    to[0] = 0.0;
    to[1] = 0.0;
    to[2] = 0.0;
    if degree > 0 {
        to[0] = -0.488_602_52f32 * g[3];
        to[1] = -0.488_602_52f32 * g[1];
        to[2] = 0.488_602_52 * g[2];
    }
    if degree > 1 {
        let zonal = 0.315_391_57 * g[6];
        let cross = 0.546_274_24 * g[8];
        to[0] += 1.092_548_5 * (g[4] * y - g[7] * z) + 2.0 * x * (cross - zonal);
        to[1] += 1.092_548_5 * (g[4] * x - g[5] * z) - 2.0 * y * (cross + zonal);
        to[2] += -1.092_548_5f32 * (g[5] * y + g[7] * x) + 4.0 * z * zonal;
    }
    if degree > 2 {
        let a = 0.590_043_6f32;
        let e = 0.457_045_8f32;
        let ends = 3.0 * a * (x * x - y * y);
        to[0] += -6.0f32 * a * x * y * g[9] + 2.890_611_4 * y * z * g[10] + 2.0 * e * x * y * g[11]
            - 2.239_058 * x * z * g[12]
            - e * (4.0 * z * z - 3.0 * x * x - y * y) * g[13]
            + 2.890_611_4 * x * z * g[14]
            - ends * g[15];
        to[1] += -ends * g[9] + 2.890_611_4 * x * z * g[10]
            - e * (4.0 * z * z - x * x - 3.0 * y * y) * g[11]
            - 2.239_058 * y * z * g[12]
            + 2.0 * e * x * y * g[13]
            - 2.890_611_4 * y * z * g[14]
            + 6.0 * a * x * y * g[15];
        to[2] += 2.890_611_4 * x * y * g[10] - 8.0 * e * y * z * g[11]
            + 0.373_176_34 * (6.0 * z * z - 3.0 * x * x - 3.0 * y * y) * g[12]
            - 8.0 * e * x * z * g[13]
            + 1.445_305_7 * (x * x - y * y) * g[14];
    }
    to
}
