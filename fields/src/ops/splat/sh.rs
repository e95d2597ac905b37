//! Real spherical harmonics to degree 3, with the order and the signs of 3D Gaussian splatting (Kerbl et al. 2023):
//! `Y00, Y1-1, Y10, Y11, Y2-2, …, Y33`, odd orders of degree 1 negated. Colour is `max(0, Σ Yₖ(d) cₖ + 0.5)`.

/// `Y00`
pub const C0: f32 = 0.282_094_8;
const C1: f32 = 0.488_602_52;
const C2: [f32; 5] = [1.092_548_5, -1.092_548_5, 0.315_391_57, -1.092_548_5, 0.546_274_24];
const C3: [f32; 7] = [-0.590_043_6, 2.890_611_4, -0.457_045_8, 0.373_176_34, -0.457_045_8, 1.445_305_7, -0.590_043_6];

/// The basis at the unit direction `d`; entries above `degree` are zero.
#[inline(always)]
pub fn basis(d: [f32; 3], degree: u32) -> [f32; 16] {
    let [x, y, z] = d;
    let mut b = [0.0; 16];
    b[0] = C0;
    if degree == 0 {
        return b;
    }
    b[1] = -C1 * y;
    b[2] = C1 * z;
    b[3] = -C1 * x;
    if degree == 1 {
        return b;
    }
    let (xx, yy, zz) = (x * x, y * y, z * z);
    b[4] = C2[0] * x * y;
    b[5] = C2[1] * y * z;
    b[6] = C2[2] * (2.0 * zz - xx - yy);
    b[7] = C2[3] * x * z;
    b[8] = C2[4] * (xx - yy);
    if degree == 2 {
        return b;
    }
    b[9] = C3[0] * y * (3.0 * xx - yy);
    b[10] = C3[1] * x * y * z;
    b[11] = C3[2] * y * (4.0 * zz - xx - yy);
    b[12] = C3[3] * z * (2.0 * zz - 3.0 * xx - 3.0 * yy);
    b[13] = C3[4] * x * (4.0 * zz - xx - yy);
    b[14] = C3[5] * z * (xx - yy);
    b[15] = C3[6] * x * (xx - 3.0 * yy);
    b
}

/// `Σ weights[k] · ∂Yₖ/∂d`, each basis function taken as the polynomial above.
#[inline(always)]
pub fn basis_gradient(d: [f32; 3], degree: u32, weights: &[f32; 16]) -> [f32; 3] {
    let [x, y, z] = d;
    let w = weights;
    if degree == 0 {
        return [0.0; 3];
    }
    let mut g = [-C1 * w[3], -C1 * w[1], C1 * w[2]];
    if degree == 1 {
        return g;
    }
    g[0] += C2[0] * y * w[4] - 2.0 * C2[2] * x * w[6] + C2[3] * z * w[7] + 2.0 * C2[4] * x * w[8];
    g[1] += C2[0] * x * w[4] + C2[1] * z * w[5] - 2.0 * C2[2] * y * w[6] - 2.0 * C2[4] * y * w[8];
    g[2] += C2[1] * y * w[5] + 4.0 * C2[2] * z * w[6] + C2[3] * x * w[7];
    if degree == 2 {
        return g;
    }
    let (xx, yy, zz) = (x * x, y * y, z * z);
    g[0] +=
        C3[0] * 6.0 * x * y * w[9] + C3[1] * y * z * w[10] - C3[2] * 2.0 * x * y * w[11] - C3[3] * 6.0 * x * z * w[12]
            + C3[4] * (4.0 * zz - 3.0 * xx - yy) * w[13]
            + C3[5] * 2.0 * x * z * w[14]
            + C3[6] * 3.0 * (xx - yy) * w[15];
    g[1] += C3[0] * 3.0 * (xx - yy) * w[9] + C3[1] * x * z * w[10] + C3[2] * (4.0 * zz - xx - 3.0 * yy) * w[11]
        - C3[3] * 6.0 * y * z * w[12]
        - C3[4] * 2.0 * x * y * w[13]
        - C3[5] * 2.0 * y * z * w[14]
        - C3[6] * 6.0 * x * y * w[15];
    g[2] += C3[1] * x * y * w[10]
        + C3[2] * 8.0 * y * z * w[11]
        + C3[3] * (6.0 * zz - 3.0 * xx - 3.0 * yy) * w[12]
        + C3[4] * 8.0 * x * z * w[13]
        + C3[5] * (xx - yy) * w[14];
    g
}
