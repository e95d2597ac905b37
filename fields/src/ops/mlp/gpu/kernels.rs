//! Products of matrices in tiles: a group of 16 × 16 threads makes [`ROWS`] rows and `16 · wide` columns, a thread
//! four rows and `wide` columns (1 or 4) of them, sixteen terms of the sums at a time.

use cubecl::prelude::*;

/// Threads along each side of a tile.
pub const SIDE: usize = 16;
/// Rows of a tile.
pub const ROWS: usize = 64;
/// Terms of the sums that lie in shared memory at a time.
const TERMS: usize = 16;

/// Adds `left [TERMS, ROWS]` times `right [TERMS, 16 · wide]` to this thread's sums `[4, wide]`.
#[cube]
fn multiply(left: &Shared<[f32]>, right: &Shared<[f32]>, sums: &mut Array<f32>, #[comptime] wide: usize) {
    let row = UNIT_POS as usize / SIDE;
    let column = UNIT_POS as usize % SIDE;
    for k in 0..TERMS {
        let mut a = Array::<f32>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            a[i] = left[k * ROWS + row + SIDE * i];
        }
        #[unroll]
        for j in 0..wide {
            let b = right[k * (SIDE * wide) + column + SIDE * j];
            #[unroll]
            for i in 0..4usize {
                sums[i * wide + j] += a[i] * b;
            }
        }
    }
}

#[cube]
fn no_sums(#[comptime] wide: usize) -> Array<f32> {
    let mut sums = Array::<f32>::new(4 * wide);
    #[unroll]
    for i in 0..4 * wide {
        sums[i] = 0.0;
    }
    sums
}

/// Entry `k` of row `row` of what a layer sees: `[x, h]`, then 1.
#[cube]
fn seen(x: &[f32], h: &[f32], row: usize, first: usize, from_x: usize, from_h: usize, k: usize) -> f32 {
    let mut value = 1.0f32;
    if k < from_x {
        value = x[(first + row) * from_x + k];
    } else if k < from_x + from_h {
        value = h[row * from_h + k - from_x];
    }
    value
}

/// `out = activation([x, h] · Wᵀ + bias)`.
#[cube(launch)]
pub fn layer(
    x: &[f32],
    h: &[f32],
    params: &[f32],
    out: &mut [f32],
    rows: u32,
    first: u32,
    from_x: u32,
    from_h: u32,
    at: u32,
    width: u32,
    bias: u32,
    activation: u32,
    to: u32,
    #[comptime] wide: usize,
) {
    let columns = comptime!(SIDE * wide);
    let mut left = Shared::<[f32]>::new_slice(TERMS * ROWS);
    let mut right = Shared::<[f32]>::new_slice(TERMS * columns);
    let mut sums = no_sums(wide);
    let row0 = CUBE_POS_X as usize * ROWS;
    let column0 = CUBE_POS_Y as usize * columns;
    let unit = UNIT_POS as usize;
    let inputs = (from_x + from_h) as usize;
    for step in 0..inputs.div_ceil(TERMS) {
        let k = step * TERMS + unit % TERMS;
        #[unroll]
        for i in 0..4usize {
            let m = unit / TERMS + SIDE * i;
            let mut value = 0.0f32;
            if row0 + m < rows as usize && k < inputs {
                value = seen(x, h, row0 + m, first as usize, from_x as usize, from_h as usize, k);
            }
            left[unit % TERMS * ROWS + m] = value;
        }
        #[unroll]
        for j in 0..wide {
            let c = unit / TERMS + SIDE * j;
            let mut value = 0.0f32;
            if column0 + c < width as usize && k < inputs {
                value = params[at as usize + (column0 + c) * inputs + k];
            }
            right[unit % TERMS * columns + c] = value;
        }
        sync_cube();
        multiply(&left, &right, &mut sums, wide);
        sync_cube();
    }
    #[unroll]
    for i in 0..4usize {
        #[unroll]
        for j in 0..wide {
            let m = row0 + unit / SIDE + SIDE * i;
            let c = column0 + unit % SIDE + SIDE * j;
            if m < rows as usize && c < width as usize {
                let mut y = sums[i * wide + j];
                if bias == 1 {
                    y += params[at as usize + width as usize * inputs + c];
                }
                if activation == 1 && y < 0.0 {
                    y = 0.0;
                }
                if activation == 2 {
                    y = 1.0 / (1.0 + (-y).exp());
                }
                out[(to as usize + m) * width as usize + c] = y;
            }
        }
    }
}

/// `grad · activation'`, from the activations `y`; `grad` is read from element `from` on.
#[cube(launch)]
pub fn through_activation(grad: &[f32], y: &[f32], out: &mut [f32], n: u32, from: u32, activation: u32) {
    if ABSOLUTE_POS >= n as usize {
        terminate!();
    }
    let mut g = grad[from as usize + ABSOLUTE_POS];
    if activation == 1 && y[ABSOLUTE_POS] <= 0.0 {
        g = 0.0;
    }
    if activation == 2 {
        g *= y[ABSOLUTE_POS] * (1.0 - y[ABSOLUTE_POS]);
    }
    out[ABSOLUTE_POS] = g;
}

/// `delta · W`, whose first columns are added to `to_x` and whose others are `below`.
#[cube(launch)]
pub fn to_input(
    delta: &[f32],
    params: &[f32],
    to_x: &mut [f32],
    below: &mut [f32],
    rows: u32,
    first: u32,
    from_x: u32,
    from_h: u32,
    at: u32,
    width: u32,
    #[comptime] wide: usize,
) {
    let columns = comptime!(SIDE * wide);
    let mut left = Shared::<[f32]>::new_slice(TERMS * ROWS);
    let mut right = Shared::<[f32]>::new_slice(TERMS * columns);
    let mut sums = no_sums(wide);
    let row0 = CUBE_POS_X as usize * ROWS;
    let column0 = CUBE_POS_Y as usize * columns;
    let unit = UNIT_POS as usize;
    let inputs = (from_x + from_h) as usize;
    let width = width as usize;
    for step in 0..width.div_ceil(TERMS) {
        let k = step * TERMS + unit % TERMS;
        #[unroll]
        for i in 0..4usize {
            let m = unit / TERMS + SIDE * i;
            let mut value = 0.0f32;
            if row0 + m < rows as usize && k < width {
                value = delta[(row0 + m) * width + k];
            }
            left[unit % TERMS * ROWS + m] = value;
        }
        // Here neighbours take neighbouring columns: those lie side by side in a row of the weights.
        #[unroll]
        for j in 0..wide {
            let o = step * TERMS + unit / SIDE;
            let c = unit % SIDE + SIDE * j;
            let mut value = 0.0f32;
            if column0 + c < inputs && o < width {
                value = params[at as usize + o * inputs + column0 + c];
            }
            right[unit / SIDE * columns + c] = value;
        }
        sync_cube();
        multiply(&left, &right, &mut sums, wide);
        sync_cube();
    }
    let from_x = from_x as usize;
    #[unroll]
    for i in 0..4usize {
        #[unroll]
        for j in 0..wide {
            let m = row0 + unit / SIDE + SIDE * i;
            let c = column0 + unit % SIDE + SIDE * j;
            if m < rows as usize && c < inputs {
                if c < from_x {
                    to_x[(first as usize + m) * from_x + c] += sums[i * wide + j];
                } else {
                    below[m * from_h as usize + c - from_x] = sums[i * wide + j];
                }
            }
        }
    }
}

/// `deltaᵀ · [x, h, 1]` over one piece of the rows, in the order of the parameters.
#[cube(launch)]
pub fn to_weights(
    delta: &[f32],
    x: &[f32],
    h: &[f32],
    partial: &mut [f32],
    rows: u32,
    piece: u32,
    first: u32,
    from_x: u32,
    from_h: u32,
    width: u32,
    bias: u32,
    #[comptime] wide: usize,
) {
    let columns = comptime!(SIDE * wide);
    let mut left = Shared::<[f32]>::new_slice(TERMS * ROWS);
    let mut right = Shared::<[f32]>::new_slice(TERMS * columns);
    let mut sums = no_sums(wide);
    let out0 = CUBE_POS_X as usize * ROWS;
    let in0 = CUBE_POS_Y as usize * columns;
    let unit = UNIT_POS as usize;
    let width = width as usize;
    let inputs = (from_x + from_h) as usize;
    let entries = inputs + bias as usize;
    let start = CUBE_POS_Z as usize * piece as usize;
    let mut end = start + piece as usize;
    if end > rows as usize {
        end = rows as usize;
    }
    let mut steps = 0usize;
    if end > start {
        steps = (end - start).div_ceil(TERMS);
    }
    for step in 0..steps {
        let row = start + step * TERMS + unit / SIDE;
        #[unroll]
        for i in 0..4usize {
            let o = unit % SIDE + SIDE * i;
            let mut value = 0.0f32;
            if row < end && out0 + o < width {
                value = delta[row * width + out0 + o];
            }
            left[unit / SIDE * ROWS + o] = value;
        }
        #[unroll]
        for j in 0..wide {
            let c = unit % SIDE + SIDE * j;
            let mut value = 0.0f32;
            if row < end && in0 + c < entries {
                value = seen(x, h, row, first as usize, from_x as usize, from_h as usize, in0 + c);
            }
            right[unit / SIDE * columns + c] = value;
        }
        sync_cube();
        multiply(&left, &right, &mut sums, wide);
        sync_cube();
    }
    let base = CUBE_POS_Z as usize * width * entries;
    #[unroll]
    for i in 0..4usize {
        #[unroll]
        for j in 0..wide {
            let o = out0 + unit / SIDE + SIDE * i;
            let c = in0 + unit % SIDE + SIDE * j;
            if o < width && c < entries {
                let mut to = o * inputs + c;
                if c == inputs {
                    to = width * inputs + o;
                }
                partial[base + to] = sums[i * wide + j];
            }
        }
    }
}

/// Adds the pieces `[pieces, size]` of a gradient to it.
#[cube(launch)]
pub fn add_pieces(partial: &[f32], out: &mut [f32], size: u32, pieces: u32, at: u32) {
    if ABSOLUTE_POS >= size as usize {
        terminate!();
    }
    let mut sum = 0.0f32;
    for p in 0..pieces as usize {
        sum += partial[p * size as usize + ABSOLUTE_POS];
    }
    out[at as usize + ABSOLUTE_POS] += sum;
}
