//! Compositing one tile, front to back, and its gradient: SIMD across the 16 pixels of a row.
//!
//! With `alphaᵢ = min(0.99, 2^(peak - u² - v²))`, left out below 1/255, and `Tᵢ = Π_{j<i} (1 - alphaⱼ)`, the pixel is
//! `Σ Tᵢ alphaᵢ (colourᵢ, 1, depthᵢ)`; it ends before the Gaussian that would take T below 1e-4 (Kerbl et al. 2023).
//!
//! The gradient runs front to back too, and repeats the forward pass bit for bit. Let `wᵢ = Tᵢ alphaᵢ`, `sᵢ` be the dot
//! product of `(colourᵢ, 1, depthᵢ)` with the pixel's gradient, and `Rᵢ = Σ_{j>i} wⱼ sⱼ`, known from the finished pixel.
//! Then `qᵢ = alphaᵢ ∂L/∂alphaᵢ = wᵢ sᵢ - Rᵢ alphaᵢ / (1 - alphaᵢ)`, and every gradient of the Gaussian's shape is a
//! moment of `q` over the pixels. Within a tile the moments are about the tile's middle, where x depends on the lane
//! alone and y on the row alone: three accumulators give all six.

use pulp::{Simd, WithSimd};

use super::bin::TILE;
use super::project::{ALPHA_MIN, Splat, SplatSums};

/// Channels of the picture: red, green, blue, alpha, depth.
pub const CHANNELS: usize = 5;
/// A tile's picture: rows of channels of 16 pixels.
pub type TileImage = [[[f32; TILE]; CHANNELS]; TILE];
/// Alpha never exceeds this.
pub const ALPHA_MAX: f32 = 0.99;
/// A pixel is finished when less light than this would get through.
pub const STOP: f32 = 1e-4;
/// Gaussians that are fetched together: their cache misses overlap, which they would not one by one.
const BATCH: usize = 32;
/// Gaussians between two looks at which rows are finished.
const LOOK: usize = 8;
const ALPHA: usize = 3;
const DEPTH: usize = 4;

/// Where a tile lies and how much of it is picture.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First pixel, x and y.
    pub origin: [f32; 2],
    /// Columns and rows that are picture, 1 to 16.
    pub size: [usize; 2],
}

/// Draws a tile into `image`; gives the number of Gaussians after which every pixel was finished.
pub struct Forward<'a> {
    pub splats: &'a [Splat],
    pub ranks: &'a [u32],
    pub place: Place,
    pub image: &'a mut TileImage,
}

/// Writes the sums of each Gaussian in `ranks` over the tile's pixels.
pub struct Backward<'a> {
    pub splats: &'a [Splat],
    pub ranks: &'a [u32],
    pub place: Place,
    /// What [`Forward`] drew.
    pub image: &'a TileImage,
    /// Gradient of the loss with respect to it, zero outside the picture.
    pub grad: &'a TileImage,
    pub sums: &'a mut [SplatSums],
}

/// Constants of the inner loop, in registers.
#[derive(Clone, Copy)]
struct Constants<S: Simd> {
    /// 1.5 · 2²³: adding it rounds to an integer in the low bits.
    magic: S::f32s,
    shift: S::u32s,
    /// 2^f on [-½, ½] to 7.5e-8, relative (minimax).
    exp2: [S::f32s; 6],
    faintest: S::f32s,
    most: S::f32s,
    stop: S::f32s,
    zero: S::f32s,
    sign: S::f32s,
}

impl<S: Simd> Constants<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let exp2 = [1.000_000_1, 0.693_146_97, 0.240_221_2, 0.055_507_133, 0.009_675_541, 0.001_327_647_2];
        Self {
            magic: simd.splat_f32s(12_582_912.0),
            shift: simd.splat_u32s(23),
            exp2: exp2.map(|c| simd.splat_f32s(c)),
            faintest: simd.splat_f32s(ALPHA_MIN.log2()),
            most: simd.splat_f32s(ALPHA_MAX),
            stop: simd.splat_f32s(STOP),
            zero: simd.splat_f32s(0.0),
            sign: simd.splat_f32s(-0.0),
        }
    }

    /// 2^e for e in [-126, 1]; elsewhere any value.
    #[inline(always)]
    fn exp2(&self, simd: S, e: S::f32s) -> S::f32s {
        let shifted = simd.add_f32s(e, self.magic);
        let fraction = simd.sub_f32s(e, simd.sub_f32s(shifted, self.magic));
        let [c0, c1, c2, c3, c4, c5] = self.exp2;
        let mut p = simd.mul_add_e_f32s(c5, fraction, c4);
        p = simd.mul_add_e_f32s(p, fraction, c3);
        p = simd.mul_add_e_f32s(p, fraction, c2);
        p = simd.mul_add_e_f32s(p, fraction, c1);
        p = simd.mul_add_e_f32s(p, fraction, c0);
        let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), self.shift);
        simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), exponent))
    }

    /// One Gaussian on pixels through which `light` still gets, or which are finished (negative).
    #[inline(always)]
    fn step(&self, simd: S, exponent: S::f32s, light: S::f32s) -> Step<S> {
        let raw = self.exp2(simd, exponent);
        let drawn = simd.greater_than_or_equal_f32s(exponent, self.faintest);
        let alpha = simd.select_f32s(drawn, simd.min_f32s(raw, self.most), self.zero);
        let weight = simd.mul_f32s(light, alpha);
        let next = simd.sub_f32s(light, weight);
        let open = simd.greater_than_or_equal_f32s(next, self.stop);
        Step {
            raw,
            next,
            weight: simd.select_f32s(open, weight, self.zero),
            light: simd.select_f32s(open, next, simd.or_f32s(light, self.sign)),
        }
    }
}

struct Step<S: Simd> {
    /// Alpha before it is bounded.
    raw: S::f32s,
    /// `T (1 - alpha)`
    next: S::f32s,
    /// `T alpha` where the pixel takes this Gaussian, else 0.
    weight: S::f32s,
    /// `next`, or the negative of what the pixel ended with.
    light: S::f32s,
}

/// `0, 1, …, 15`, and the same less 7.5.
const COLUMN: [f32; TILE] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
const MIDDLE: f32 = 7.5;

#[inline(always)]
fn get<S: Simd>(row: &[f32; TILE], v: usize) -> S::f32s {
    S::as_simd_f32s(row).0[v]
}

#[inline(always)]
fn set<S: Simd>(row: &mut [f32; TILE], v: usize, value: S::f32s) {
    S::as_mut_simd_f32s(row).0[v] = value;
}

/// The light before the first Gaussian: 1 on the picture, finished outside it.
fn light(place: &Place) -> [[f32; TILE]; TILE] {
    let [width, height] = place.size;
    std::array::from_fn(|j| std::array::from_fn(|i| if i < width && j < height { 1.0 } else { -1.0 }))
}

/// The rows of `open` in which some pixel is not finished.
#[inline(always)]
fn look<'a, S: Simd>(simd: S, open: u32, row: impl Fn(usize) -> &'a [f32; TILE]) -> u32 {
    let mut still = 0;
    for j in (0..TILE).filter(|j| open >> j & 1 == 1) {
        let mut most = get::<S>(row(j), 0);
        for v in 1..TILE / S::F32_LANES {
            most = simd.max_f32s(most, get::<S>(row(j), v));
        }
        still |= u32::from(simd.reduce_max_f32s(most) > 0.0) << j;
    }
    still
}

/// The Gaussians of up to [`BATCH`] ranks.
#[inline(always)]
fn fetch(splats: &[Splat], ranks: &[u32], near: &mut [Splat; BATCH]) {
    for (near, &rank) in near.iter_mut().zip(ranks) {
        *near = splats[rank as usize];
    }
}

/// A Gaussian seen from a tile.
#[derive(Clone, Copy)]
struct Seen {
    /// From the Gaussian's centre to the centre of the tile's first pixel.
    dx: f32,
    dy: f32,
    /// Bits of the rows that it reaches.
    rows: u32,
}

impl Seen {
    #[inline(always)]
    fn new(splat: &Splat, place: &Place) -> Self {
        let dx = place.origin[0] + 0.5 - splat.mean[0];
        let dy = place.origin[1] + 0.5 - splat.mean[1];
        let first = (-dy - splat.half[1]).ceil().max(0.0) as u32;
        let last = (-dy + splat.half[1]).floor();
        let rows = if last < first as f32 { 0 } else { (2_u32 << (last as u32).min(15)) - (1_u32 << first.min(16)) };
        Self { dx, dy, rows }
    }

    /// `lyx dy` and `peak - v²` in row `j`.
    #[inline(always)]
    fn row(&self, splat: &Splat, j: u32) -> (f32, f32) {
        let dy = self.dy + j as f32;
        let v = splat.lyy * dy;
        (splat.lyx * dy, splat.peak - v * v)
    }
}

/// The set bits, lowest first. An iterator and not a closure, so that the loop's body is compiled for the machine.
struct Rows(u32);

impl Iterator for Rows {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        let row = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (row < TILE as u32).then_some(row)
    }
}

impl WithSimd for Forward<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self { splats, ranks, place, image } = self;
        let constants = Constants::new(simd);
        let mut open = 0xFFFF_u32;
        for (row, light) in image.iter_mut().zip(light(&place)) {
            *row = [[0.0; TILE]; CHANNELS];
            row[ALPHA] = light;
        }
        let mut done = ranks.len();
        let mut near = [Splat::default(); BATCH];
        for k in 0..ranks.len() {
            if k % LOOK == 0 {
                open = look(simd, open, |j| &image[j][ALPHA]);
                if open == 0 {
                    done = k;
                    break;
                }
            }
            if k % BATCH == 0 {
                fetch(splats, &ranks[k..], &mut near);
            }
            let splat = &near[k % BATCH];
            let seen = Seen::new(splat, &place);
            let colour = splat.colour.map(|c| simd.splat_f32s(c));
            let depth = simd.splat_f32s(splat.depth);
            for v in 0..TILE / S::F32_LANES {
                let x = simd.add_f32s(get::<S>(&COLUMN, v), simd.splat_f32s(seen.dx));
                let across = simd.mul_f32s(x, simd.splat_f32s(splat.lxx));
                for j in Rows(seen.rows & open) {
                    let row = &mut image[j as usize & 15];
                    let (shear, peak) = seen.row(splat, j);
                    let u = simd.add_f32s(across, simd.splat_f32s(shear));
                    let exponent = simd.negate_mul_add_e_f32s(u, u, simd.splat_f32s(peak));
                    let step = constants.step(simd, exponent, get::<S>(&row[ALPHA], v));
                    set::<S>(&mut row[ALPHA], v, step.light);
                    for c in 0..3 {
                        let sum = simd.mul_add_e_f32s(step.weight, colour[c], get::<S>(&row[c], v));
                        set::<S>(&mut row[c], v, sum);
                    }
                    let sum = simd.mul_add_e_f32s(step.weight, depth, get::<S>(&row[DEPTH], v));
                    set::<S>(&mut row[DEPTH], v, sum);
                }
            }
        }
        for row in image.iter_mut() {
            row[ALPHA] = row[ALPHA].map(|light| 1.0 - light.abs());
        }
        done
    }
}

/// Moments of `q` about the middle of the tile, a lane's share each.
struct Moments<S: Simd> {
    q: S::f32s,
    x: S::f32s,
    y: S::f32s,
    xx: S::f32s,
    xy: S::f32s,
    yy: S::f32s,
}

impl<S: Simd> Moments<S> {
    #[inline(always)]
    fn new(zero: S::f32s) -> Self {
        Self { q: zero, x: zero, y: zero, xx: zero, xy: zero, yy: zero }
    }

    /// Adds the columns of vector `v`, with `Σ q`, `Σ q y`, `Σ q y²` over the rows.
    #[inline(always)]
    fn add(&mut self, simd: S, v: usize, [q, y, yy]: [S::f32s; 3]) {
        let x = simd.sub_f32s(get::<S>(&COLUMN, v), simd.splat_f32s(MIDDLE));
        let qx = simd.mul_f32s(q, x);
        self.q = simd.add_f32s(self.q, q);
        self.x = simd.add_f32s(self.x, qx);
        self.xx = simd.mul_add_e_f32s(qx, x, self.xx);
        self.y = simd.add_f32s(self.y, y);
        self.xy = simd.mul_add_e_f32s(y, x, self.xy);
        self.yy = simd.add_f32s(self.yy, yy);
    }

    /// The sums in the Gaussian's own coordinates, which vary slowly over the tile however far its centre is.
    #[inline(always)]
    fn finish(&self, simd: S, splat: &Splat, seen: &Seen, colour: [S::f32s; 4]) -> SplatSums {
        let sum = |v: S::f32s| simd.reduce_sum_f32s(v);
        let (q, x, y) = (sum(self.q), sum(self.x), sum(self.y));
        let (xx, xy, yy) = (sum(self.xx), sum(self.xy), sum(self.yy));
        let (dx, dy) = (seen.dx + MIDDLE, seen.dy + MIDDLE);
        let (a, b, c) = (splat.lxx, splat.lyx, splat.lyy);
        let (u0, v0) = (a * dx + b * dy, c * dy);
        let (u, v) = (a * x + b * y, c * y);
        let (uu, uv, vv) = (a * a * xx + 2.0 * a * b * xy + b * b * yy, c * (a * xy + b * yy), c * c * yy);
        SplatSums {
            q,
            first: [u0 * q + u, v0 * q + v],
            second: [
                u0 * u0 * q + 2.0 * u0 * u + uu,
                u0 * v0 * q + u0 * v + v0 * u + uv,
                v0 * v0 * q + 2.0 * v0 * v + vv,
            ],
            colour: [sum(colour[0]), sum(colour[1]), sum(colour[2])],
            depth: sum(colour[3]),
        }
    }
}

/// `R` before the first Gaussian: the dot product of each pixel with its gradient.
#[inline(always)]
fn remainder<S: Simd>(simd: S, image: &TileImage, grad: &TileImage) -> [[f32; TILE]; TILE] {
    let mut rest = [[0.0; TILE]; TILE];
    for j in 0..TILE {
        for v in 0..TILE / S::F32_LANES {
            let mut sum = simd.splat_f32s(0.0);
            for c in 0..CHANNELS {
                sum = simd.mul_add_e_f32s(get::<S>(&image[j][c], v), get::<S>(&grad[j][c], v), sum);
            }
            set::<S>(&mut rest[j], v, sum);
        }
    }
    rest
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { splats, ranks, place, image, grad, sums } = self;
        let constants = Constants::new(simd);
        let zero = constants.zero;
        let mut open = 0xFFFF_u32;
        let mut state: [[[f32; TILE]; 2]; TILE] = [[[0.0; TILE]; 2]; TILE];
        let rest = remainder(simd, image, grad);
        for (state, (light, rest)) in state.iter_mut().zip(light(&place).into_iter().zip(rest)) {
            *state = [light, rest];
        }
        let mut near = [Splat::default(); BATCH];
        for (k, out) in sums[..ranks.len()].iter_mut().enumerate() {
            if k % LOOK == 0 {
                open = look(simd, open, |j| &state[j][0]);
            }
            if k % BATCH == 0 {
                fetch(splats, &ranks[k..], &mut near);
            }
            let splat = &near[k % BATCH];
            let seen = Seen::new(splat, &place);
            if seen.rows & open == 0 {
                continue;
            }
            let colour = splat.colour.map(|c| simd.splat_f32s(c));
            let depth = simd.splat_f32s(splat.depth);
            let mut moments = Moments::new(zero);
            let mut shares = [zero; 4];
            for v in 0..TILE / S::F32_LANES {
                let x = simd.add_f32s(get::<S>(&COLUMN, v), simd.splat_f32s(seen.dx));
                let across = simd.mul_f32s(x, simd.splat_f32s(splat.lxx));
                let mut column = [zero; 3];
                for j in Rows(seen.rows & open) {
                    let [light, rest] = &mut state[j as usize & 15];
                    let g = &grad[j as usize & 15];
                    let (shear, peak) = seen.row(splat, j);
                    let u = simd.add_f32s(across, simd.splat_f32s(shear));
                    let exponent = simd.negate_mul_add_e_f32s(u, u, simd.splat_f32s(peak));
                    let step = constants.step(simd, exponent, get::<S>(light, v));
                    set::<S>(light, v, step.light);

                    let mut s = simd.mul_add_e_f32s(depth, get::<S>(&g[DEPTH], v), get::<S>(&g[ALPHA], v));
                    for c in 0..3 {
                        s = simd.mul_add_e_f32s(colour[c], get::<S>(&g[c], v), s);
                        shares[c] = simd.mul_add_e_f32s(step.weight, get::<S>(&g[c], v), shares[c]);
                    }
                    shares[3] = simd.mul_add_e_f32s(step.weight, get::<S>(&g[DEPTH], v), shares[3]);

                    let behind = simd.negate_mul_add_e_f32s(step.weight, s, get::<S>(rest, v));
                    set::<S>(rest, v, behind);
                    let odds = simd.div_f32s(step.weight, step.next);
                    let q = simd.negate_mul_add_e_f32s(behind, odds, simd.mul_f32s(step.weight, s));
                    let q = simd.select_f32s(simd.less_than_f32s(step.raw, constants.most), q, zero);
                    let y = j as f32 - MIDDLE;
                    column[0] = simd.add_f32s(column[0], q);
                    column[1] = simd.mul_add_e_f32s(q, simd.splat_f32s(y), column[1]);
                    column[2] = simd.mul_add_e_f32s(q, simd.splat_f32s(y * y), column[2]);
                }
                moments.add(simd, v, column);
            }
            *out = moments.finish(simd, splat, &seen, shares);
        }
    }
}
