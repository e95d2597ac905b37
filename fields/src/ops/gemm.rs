//! Matrix products of the size of a cache: `C = start + A · B`, then a finish, on register tiles.
//!
//! All matrices are row-major, and vectors run along the columns of B and C, which are the features of a layer. So the
//! three products of a layer (activations · Wᵀ, gradient · W, gradientᵀ · activations) need no transposed copy but
//! that of the weights, which are small and packed once a call. A tile keeps 6 × 4 vectors of C in registers (6 × 2
//! where there are 16 registers): per step of the inner loop 4 loads of B, 6 broadcasts of A and 24 multiply-adds.

#![expect(unsafe_code, reason = "register-blocked kernels read rows through pointers; each block states its bounds")]
#![expect(clippy::needless_range_loop, reason = "several arrays of one fixed length are walked together, as vectors")]

use pulp::{Simd, WithSimd};

use crate::ops::simd::{Tier, mul_add};

/// The widest vector of any tier, in floats: buffers are padded to whole multiples of it.
pub(crate) const PAD: usize = 16;

/// Rows of a tile.
const TILE: usize = 6;

/// Vectors of a full tile's row.
const fn tile_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// The left factor `[m, k]`.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Row-major with this stride.
    Rows(&'a [f32], usize),
    /// Stored transposed: `[k, m]`, row-major with this stride.
    Columns(&'a [f32], usize),
}

/// The right factor `[k, n]`.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// As [`pack`] lays it out.
    Packed(&'a [f32]),
    /// Row-major with this stride, padded to whole vectors.
    Rows(&'a [f32], usize),
}

/// What the sums start from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Zero.
    Zero,
    /// One value a column, padded to whole vectors.
    Bias(&'a [f32]),
    /// What C holds.
    Add,
}

/// What is done to the sums before they are stored.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// Nothing.
    Keep,
    /// Negative ones become 0.
    Relu,
    /// Those become 0 where this matrix `[m, n]`, with this stride and padded like C, is not positive: the gradient
    /// through a `Relu` whose outputs it holds.
    WherePositive(&'a [f32], usize),
}

/// Length of a packed `[k, n]` matrix: on any tier at most this.
pub(crate) fn packed_len(k: usize, n: usize) -> usize {
    k * n.next_multiple_of(PAD)
}

/// Lays a `[k, n]` matrix, given by its elements, out for a [`Product`]: panels of the width of a full tile (the last
/// one of as many vectors as remain), each a contiguous `[k, panel]`, padded with zeros.
pub(crate) fn pack<S: Simd>(k: usize, n: usize, element: impl Fn(usize, usize) -> f32, packed: &mut [f32]) {
    let vectors = n.div_ceil(S::F32_LANES);
    let mut rest = packed;
    for first in (0..vectors).step_by(tile_vectors::<S>()) {
        let width = tile_vectors::<S>().min(vectors - first) * S::F32_LANES;
        let (panel, behind) = rest.split_at_mut(k * width);
        rest = behind;
        for (row, values) in panel.chunks_exact_mut(width).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                let column = first * S::F32_LANES + column;
                *value = if column < n { element(row, column) } else { 0.0 };
            }
        }
    }
}

/// [`pack`] for the tier it runs on.
struct Pack<'a, F: Fn(usize, usize) -> f32> {
    k: usize,
    n: usize,
    element: F,
    packed: &'a mut [f32],
}

impl<F: Fn(usize, usize) -> f32> WithSimd for Pack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        pack::<S>(self.k, self.n, self.element, self.packed);
    }
}

/// A `[k, n]` matrix, given by its elements, laid out as a right factor of products of this tier.
pub(crate) fn packed(tier: Tier, k: usize, n: usize, element: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; packed_len(k, n)];
    tier.run(Pack { k, n, element, packed: &mut packed });
    packed
}

/// One tile's operands.
#[derive(Clone, Copy)]
struct Tile<'a> {
    k: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    b: *const f32,
    b_row: usize,
    c: *mut f32,
    c_row: usize,
    start: Start<'a>,
    finish: Finish<'a>,
    /// First row and column in C.
    at: (usize, usize),
}

/// The product `C[m, n] = finish(start + A[m, k] · B[k, n])`; C has stride `c_row` and is padded to whole vectors, whose
/// padding is overwritten with numbers that mean nothing.
pub(crate) struct Product<'a> {
    /// `[m, k, n]`
    pub shape: [usize; 3],
    pub a: Left<'a>,
    pub b: Right<'a>,
    pub c: &'a mut [f32],
    pub c_row: usize,
    pub start: Start<'a>,
    pub finish: Finish<'a>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        multiply(simd, self);
    }
}

/// Computes a product.
///
/// # Panics
/// When a slice is too short for its shape.
#[inline(always)]
fn multiply<S: Simd>(simd: S, product: Product<'_>) {
    let Product { shape: [m, k, n], a, b, c, c_row, start, finish } = product;
    if m == 0 {
        return;
    }
    let vectors = n.div_ceil(S::F32_LANES);
    let padded = vectors * S::F32_LANES;
    let fits = |rows: usize, columns: usize, stride: usize, len: usize| {
        rows == 0 || (columns <= stride && (rows - 1) * stride + columns <= len)
    };
    assert!(fits(m, padded, c_row, c.len()), "C is too short");
    let (a, a_row, a_step) = match a {
        Left::Rows(a, stride) => {
            assert!(fits(m, k, stride, a.len()), "A is too short");
            (a, stride, 1)
        }
        Left::Columns(a, stride) => {
            assert!(fits(k, m, stride, a.len()), "A is too short");
            (a, 1, stride)
        }
    };
    match b {
        Right::Packed(b) => assert!(k * padded <= b.len(), "B is too short"),
        Right::Rows(b, stride) => assert!(fits(k, padded, stride, b.len()), "B is too short"),
    }
    match start {
        Start::Bias(bias) => assert!(padded <= bias.len(), "the bias is too short"),
        Start::Zero | Start::Add => {}
    }
    match finish {
        Finish::WherePositive(h, stride) => assert!(fits(m, padded, stride, h.len()), "the mask is too short"),
        Finish::Keep | Finish::Relu => {}
    }
    for first in (0..vectors).step_by(tile_vectors::<S>()) {
        let wide = tile_vectors::<S>().min(vectors - first);
        let column = first * S::F32_LANES;
        let (b, b_row) = match b {
            Right::Packed(b) => (b[k * column..].as_ptr(), wide * S::F32_LANES),
            Right::Rows(b, stride) if k > 0 => (b[column..].as_ptr(), stride),
            Right::Rows(b, stride) => (b.as_ptr(), stride),
        };
        let (a, c) = (a.as_ptr(), c.as_mut_ptr());
        let tile = Tile { k, a, a_row, a_step, b, b_row, c, c_row, start, finish, at: (0, column) };
        // SAFETY: the assertions above keep rows 0..m and columns 0..padded of every operand inside its slice.
        unsafe {
            match wide {
                4 => rows::<S, 4>(simd, m, tile),
                3 => rows::<S, 3>(simd, m, tile),
                2 => rows::<S, 2>(simd, m, tile),
                _ => rows::<S, 1>(simd, m, tile),
            }
        }
    }
}

/// All rows of one panel: full tiles, then what remains.
///
/// # Safety
/// Every row below `m` and the panel's columns must lie inside the operands.
#[inline(always)]
unsafe fn rows<S: Simd, const N: usize>(simd: S, m: usize, mut tile: Tile<'_>) {
    // Wider than any panel of this tier: never called, and not worth compiling.
    if N > tile_vectors::<S>() {
        return;
    }
    let mut row = 0;
    while row < m {
        let taken = match m - row {
            TILE.. => TILE,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        tile.at.0 = row;
        // SAFETY: rows `row..row + taken` lie below `m`.
        unsafe {
            match (taken, tile.a_step) {
                (TILE, 1) => one_tile::<S, TILE, N, true>(simd, tile),
                (4, 1) => one_tile::<S, 4, N, true>(simd, tile),
                (2, 1) => one_tile::<S, 2, N, true>(simd, tile),
                (_, 1) => one_tile::<S, 1, N, true>(simd, tile),
                (TILE, _) => one_tile::<S, TILE, N, false>(simd, tile),
                (4, _) => one_tile::<S, 4, N, false>(simd, tile),
                (2, _) => one_tile::<S, 2, N, false>(simd, tile),
                _ => one_tile::<S, 1, N, false>(simd, tile),
            }
        }
        row += taken;
    }
}

#[inline(always)]
unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: the caller's; a vector of floats may be read from any address that floats may.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// `M × N` vectors of C. `ALONG` says that A's rows are contiguous along k; else its columns are.
///
/// # Safety
/// Rows `at.0 .. at.0 + M` and columns `at.1 .. at.1 + N · lanes` must lie inside the operands.
#[inline(always)]
unsafe fn one_tile<S: Simd, const M: usize, const N: usize, const ALONG: bool>(simd: S, tile: Tile<'_>) {
    let Tile { k, a_row, a_step, b_row, c_row, at: (row, column), .. } = tile;
    let lanes = S::F32_LANES;
    // SAFETY: the caller's. Within the tile every address is that of one of its rows and columns.
    unsafe {
        let c = tile.c.add(row * c_row + column);
        let mut sum = [[simd.splat_f32s(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                match tile.start {
                    Start::Zero => {}
                    Start::Bias(bias) => sum[i][j] = load::<S>(bias.as_ptr().add(column + j * lanes)),
                    Start::Add => sum[i][j] = load::<S>(c.add(i * c_row + j * lanes)),
                }
            }
        }
        let a = tile.a.add(row * if ALONG { a_row } else { 1 });
        for step in 0..k {
            let b = tile.b.add(step * b_row);
            let b: [S::f32s; N] = std::array::from_fn(|j| load::<S>(b.add(j * lanes)));
            for i in 0..M {
                let a = if ALONG { a.add(i * a_row + step) } else { a.add(step * a_step + i) };
                let a = simd.splat_f32s(*a);
                for j in 0..N {
                    sum[i][j] = mul_add(simd, a, b[j], sum[i][j]);
                }
            }
        }
        let zero = simd.splat_f32s(0.0);
        for i in 0..M {
            for j in 0..N {
                let value = match tile.finish {
                    Finish::Keep => sum[i][j],
                    // In this order x86's instruction hands a NaN on.
                    Finish::Relu => simd.max_f32s(zero, sum[i][j]),
                    Finish::WherePositive(h, stride) => {
                        let h = load::<S>(h.as_ptr().add((row + i) * stride + column + j * lanes));
                        simd.select_f32s(simd.greater_than_f32s(h, zero), sum[i][j], zero)
                    }
                };
                c.add(i * c_row + j * lanes).cast::<S::f32s>().write_unaligned(value);
            }
        }
    }
}
