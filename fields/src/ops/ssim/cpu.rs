//! The fast path: separable windows, rows in parallel, f32 in blocks of lanes.
//!
//! A row of the picture is a run of `3 w` interleaved values, and a neighbour to the right is three values on, so both
//! passes run over contiguous memory without taking the channels apart. Each row is filtered down its columns first (the
//! products `a², b², ab` are made on the way and never stored), then along itself. Backward, the three maps of
//! derivatives with respect to `E[a], E[a²], E[ab]` are filtered the same way, since the window is symmetric:
//! `∂/∂a = G∗g₁ + 2a (G∗g₂) + b (G∗g₃)`. They are filtered along the row as soon as the row is known, then down the
//! columns.
//!
//! [`pulp::Arch`] picks the instruction set at run time; the loops are plain Rust over fixed lanes.

use rayon::prelude::*;

use super::{C1, C2, CHANNELS, RADIUS, WINDOW, check, window};

/// Values worked on at once: two registers of AVX2, one of AVX-512, four of NEON.
const LANES: usize = 16;
/// Zeros on either side of a filtered row, in values.
const MARGIN: usize = RADIUS * CHANNELS;

/// Mean SSIM of two pictures `[height, width, 3]`.
///
/// # Panics
/// The slices are not `height · width · 3` long.
pub fn forward(a: &[f32], b: &[f32], width: usize, height: usize) -> f32 {
    check(a, b, width, height);
    let image = Image::new(a, b, width, height);
    let sums: Vec<f64> = (0..height)
        .into_par_iter()
        .map_init(|| Scratch::new(width), |scratch, row| image.arch.dispatch(Forward { image: &image, row, scratch }))
        .collect();
    (sums.iter().sum::<f64>() / a.len() as f64) as f32
}

/// Mean SSIM of two pictures `[height, width, 3]`; writes its gradient with respect to `a` into
/// `grad_a [height, width, 3]` (what was there is overwritten).
///
/// # Panics
/// The slices are not `height · width · 3` long.
pub fn forward_backward(a: &[f32], b: &[f32], width: usize, height: usize, grad_a: &mut [f32]) -> f32 {
    check(a, b, width, height);
    assert_eq!(grad_a.len(), a.len(), "SSIM: the gradient is not [{height}, {width}, 3]");
    let image = Image::new(a, b, width, height);
    let stride = width * CHANNELS;
    // Derivatives with respect to E[a], E[a²], E[ab], filtered along the row: [h, 3 maps, w · 3].
    let mut maps = vec![0.0; 3 * a.len()];
    let sums: Vec<f64> = maps
        .par_chunks_mut(3 * stride)
        .enumerate()
        .map_init(
            || Scratch::new(width),
            |scratch, (row, maps)| image.arch.dispatch(Maps { image: &image, row, scratch, maps }),
        )
        .collect();
    grad_a
        .par_chunks_mut(stride)
        .enumerate()
        .for_each(|(row, grad)| image.arch.dispatch(Gradient { image: &image, row, maps: &maps, grad }));
    (sums.iter().sum::<f64>() / a.len() as f64) as f32
}

/// The two pictures and what every row needs.
struct Image<'a> {
    a: &'a [f32],
    b: &'a [f32],
    /// Values in a row: `3 w`.
    stride: usize,
    height: usize,
    weights: [f32; WINDOW],
    arch: pulp::Arch,
}

impl<'a> Image<'a> {
    fn new(a: &'a [f32], b: &'a [f32], width: usize, height: usize) -> Self {
        let weights = window().map(|w| w as f32);
        Self { a, b, stride: width * CHANNELS, height, weights, arch: pulp::Arch::new() }
    }

    /// The rows under the window of `row`, each with its weight.
    #[inline(always)]
    fn rows(&self, row: usize) -> impl Iterator<Item = (usize, f32)> {
        let (first, last) = (row.saturating_sub(RADIUS), (row + RADIUS).min(self.height - 1));
        (first..=last).map(move |r| (r, self.weights[r + RADIUS - row]))
    }
}

/// One worker's rows, `[w · 3]`.
struct Scratch {
    /// Means of `a, b, a², b², ab` down the columns; a margin of zeros on either side.
    columns: [Vec<f32>; 5],
    /// Derivatives with respect to `E[a], E[a²], E[ab]`; a margin of zeros on either side.
    derivatives: [Vec<f32>; 3],
    /// SSIM.
    ssim: Vec<f32>,
}

impl Scratch {
    fn new(width: usize) -> Self {
        let row = || vec![0.0; width * CHANNELS + 2 * MARGIN];
        Self {
            columns: std::array::from_fn(|_| row()),
            derivatives: std::array::from_fn(|_| row()),
            ssim: vec![0.0; width * CHANNELS],
        }
    }

    /// The sum of the row's SSIM, in f64.
    #[inline(always)]
    fn sum(&self) -> f64 {
        // Eight running sums: a single one would wait for itself at every addition.
        let mut sums = [0.0_f64; 8];
        let (chunks, rest) = self.ssim.as_chunks::<8>();
        for chunk in chunks {
            for l in 0..8 {
                sums[l] += f64::from(chunk[l]);
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|&s| f64::from(s)).sum::<f64>()
    }
}

/// Runs `$body` for the blocks that cover `0..$n`, with `$i` the block's start and `$lanes` its width: `LANES`, the last
/// block moved back so that it ends at `$n` (it computes some values twice), or 1 where a row is shorter than a block.
macro_rules! blocks {
    ($n:expr, |$i:ident, $lanes:ident| $body:expr) => {{
        let n = $n;
        if n < LANES {
            const $lanes: usize = 1;
            for $i in 0..n {
                $body;
            }
        } else {
            const $lanes: usize = LANES;
            for block in 0..n.div_ceil(LANES) {
                let $i = (block * LANES).min(n - LANES);
                $body;
            }
        }
    }};
}

/// `N` values from `i` on.
#[inline(always)]
fn load<const N: usize>(values: &[f32], i: usize) -> [f32; N] {
    let mut lanes = [0.0; N];
    lanes.copy_from_slice(&values[i..i + N]);
    lanes
}

#[inline(always)]
fn store<const N: usize>(values: &mut [f32], i: usize, lanes: &[f32; N]) {
    values[i..i + N].copy_from_slice(lanes);
}

/// `sum += weight · x`, lane by lane.
#[inline(always)]
fn accumulate<const N: usize>(sum: &mut [f32; N], weight: f32, x: &[f32; N]) {
    for l in 0..N {
        sum[l] += weight * x[l];
    }
}

/// The means of `a, b, a², b², ab` down the columns of `row`, at `i`.
#[inline(always)]
fn down<const N: usize>(image: &Image, row: usize, i: usize, columns: &mut [Vec<f32>; 5]) {
    let mut sums = [[0.0_f32; N]; 5];
    for (r, weight) in image.rows(row) {
        let a: [f32; N] = load(image.a, r * image.stride + i);
        let b: [f32; N] = load(image.b, r * image.stride + i);
        for l in 0..N {
            let (wa, wb) = (weight * a[l], weight * b[l]);
            sums[0][l] += wa;
            sums[1][l] += wb;
            sums[2][l] += wa * a[l];
            sums[3][l] += wb * b[l];
            sums[4][l] += wa * b[l];
        }
    }
    for (column, sum) in columns.iter_mut().zip(&sums) {
        store(column, MARGIN + i, sum);
    }
}

/// `row` (with its margins) filtered along itself, at `i`.
#[inline(always)]
fn along<const N: usize>(row: &[f32], i: usize, weights: &[f32; WINDOW]) -> [f32; N] {
    let mut sum = [0.0; N];
    for (k, &weight) in weights.iter().enumerate() {
        accumulate(&mut sum, weight, &load(row, i + k * CHANNELS));
    }
    sum
}

/// SSIM at `i`; with `MAPS`, its derivatives with respect to `E[a], E[a²], E[ab]` too.
#[inline(always)]
fn similarity<const N: usize, const MAPS: bool>(scratch: &mut Scratch, i: usize, weights: &[f32; WINDOW]) {
    const K1: f32 = C1 as f32;
    const K2: f32 = C2 as f32;
    let mut means = [[0.0; N]; 5];
    for (mean, column) in means.iter_mut().zip(&scratch.columns) {
        *mean = along(column, i, weights);
    }
    let [a, b, aa, bb, ab] = means;
    let (mut ssim, mut d) = ([0.0; N], [[0.0; N]; 3]);
    for l in 0..N {
        let (a, b) = (a[l], b[l]);
        let a1 = 2.0 * a * b + K1;
        let a2 = 2.0 * (ab[l] - a * b) + K2;
        let b1 = a * a + b * b + K1;
        let b2 = aa[l] - a * a + bb[l] - b * b + K2;
        let inverse = 1.0 / (b1 * b2);
        ssim[l] = a1 * a2 * inverse;
        if MAPS {
            // 1/b2 - 1/b1 = (b1 - b2) / (b1 b2), and one division serves all.
            d[0][l] = 2.0 * inverse * (b * (a2 - a1) + a * ssim[l] * (b1 - b2));
            d[1][l] = -ssim[l] * b1 * inverse;
            d[2][l] = 2.0 * a1 * inverse;
        }
    }
    store(&mut scratch.ssim, i, &ssim);
    if MAPS {
        for (derivative, d) in scratch.derivatives.iter_mut().zip(&d) {
            store(derivative, MARGIN + i, d);
        }
    }
}

/// One row forward; gives the sum of its SSIM.
struct Forward<'a> {
    image: &'a Image<'a>,
    row: usize,
    scratch: &'a mut Scratch,
}

impl pulp::NullaryFnOnce for Forward<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let Self { image, row, scratch } = self;
        blocks!(image.stride, |i, N| down::<N>(image, row, i, &mut scratch.columns));
        blocks!(image.stride, |i, N| similarity::<N, false>(scratch, i, &image.weights));
        scratch.sum()
    }
}

/// One row forward, with its three maps `[3, w · 3]` filtered along the row; gives the sum of its SSIM.
struct Maps<'a> {
    image: &'a Image<'a>,
    row: usize,
    scratch: &'a mut Scratch,
    maps: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Maps<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let Self { image, row, scratch, maps } = self;
        blocks!(image.stride, |i, N| down::<N>(image, row, i, &mut scratch.columns));
        blocks!(image.stride, |i, N| similarity::<N, true>(scratch, i, &image.weights));
        for (map, derivative) in maps.chunks_exact_mut(image.stride).zip(&scratch.derivatives) {
            blocks!(image.stride, |i, N| store(map, i, &along::<N>(derivative, i, &image.weights)));
        }
        scratch.sum()
    }
}

/// One row of the gradient: the filtered maps of the rows around it, down the columns.
struct Gradient<'a> {
    image: &'a Image<'a>,
    row: usize,
    maps: &'a [f32],
    grad: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { image, row, maps, grad } = self;
        blocks!(image.stride, |i, N| gradient::<N>(image, row, i, maps, grad));
    }
}

/// The gradient of the mean at `i` of `row`.
#[inline(always)]
fn gradient<const N: usize>(image: &Image, row: usize, i: usize, maps: &[f32], grad: &mut [f32]) {
    let mut sums = [[0.0_f32; N]; 3];
    for (r, weight) in image.rows(row) {
        for (m, sum) in sums.iter_mut().enumerate() {
            accumulate(sum, weight, &load(maps, (r * 3 + m) * image.stride + i));
        }
    }
    let a: [f32; N] = load(image.a, row * image.stride + i);
    let b: [f32; N] = load(image.b, row * image.stride + i);
    let mean = 1.0 / image.a.len() as f32;
    let mut out = [0.0; N];
    for l in 0..N {
        out[l] = mean * (sums[0][l] + 2.0 * a[l] * sums[1][l] + b[l] * sums[2][l]);
    }
    store(grad, i, &out);
}
