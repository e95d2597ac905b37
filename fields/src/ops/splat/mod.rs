//! Differentiable 3D Gaussian splatting on the CPU (Kerbl et al. 2023), on plain slices.
//!
//! [`forward`] projects the Gaussians, sorts them into tiles by depth and composites them; [`backward`] gives the
//! gradient to every parameter and to the projected centres. Work is shared by rayon in pieces that do not depend on
//! the number of threads, and every sum has a fixed order: results repeat bit for bit. Memory grows with the visible
//! Gaussians and the tiles that they cross, and with the picture; nothing is allocated per pixel or per Gaussian.
//!
//! The picture is `[h · w, 5]`: red, green, blue (premultiplied, no background), alpha, and expected depth `Σ wᵢ zᵢ`
//! with z along the view axis. [`mod@reference`] is the same in a plain loop.

mod bin;
mod face;
mod gpu;
mod project;
mod raster;
pub mod reference;
mod spec;
#[cfg(test)]
mod tests;

use pulp::Arch;
use rayon::prelude::*;

use bin::{Bins, Grid, TILE, bin, depth_order};
pub use face::splat;
use project::{Camera, RowGrads, Splat, SplatSums, project, project_backward};
use raster::{CHANNELS, Place, TileImage};
pub use spec::{MAX_SH_DEGREE, SplatGrads, SplatGradsMut, SplatParams, SplatSpec, Window, sh_coefficients};

/// Gaussians in a piece of parallel work.
const PIECE: usize = 256;
const BLANK: TileImage = [[[0.0; TILE]; CHANNELS]; TILE];
/// The rank of a Gaussian that is not visible.
const UNSEEN: u32 = u32::MAX;

/// What [`backward`] needs of [`forward`].
#[derive(Debug, Default)]
pub struct Saved {
    grid: Grid,
    /// Visible Gaussians by depth.
    splats: Vec<Splat>,
    /// The place of each Gaussian in `splats`, or [`UNSEEN`]; `[n]`.
    rank: Vec<u32>,
    radii: Vec<f32>,
    bins: Bins,
    images: Vec<TileImage>,
    /// Gaussians of each tile after which all its pixels were finished.
    used: Vec<u32>,
}

impl Saved {
    /// Radius of each Gaussian on the picture in pixels (3 σ of its longest axis), 0 for those not visible; `[n]`.
    #[must_use]
    pub fn radii(&self) -> &[f32] {
        &self.radii
    }

    /// Whether each Gaussian can fall on a pixel; `[n]`.
    pub fn visible(&self) -> impl Iterator<Item = bool> + '_ {
        self.rank.iter().map(|&r| r != UNSEEN)
    }

    /// Pairs of a Gaussian and a tile that it crosses.
    #[must_use]
    pub fn crossings(&self) -> usize {
        self.bins.rank.len()
    }

    fn ranks(&self, t: usize) -> &[u32] {
        &self.bins.rank[self.bins.tile_start[t] as usize..self.bins.tile_start[t + 1] as usize]
    }
}

fn place(grid: &Grid, t: usize) -> Place {
    let [x, y] = grid.origin(t);
    let size = [TILE.min(grid.size[0] - x), TILE.min(grid.size[1] - y)];
    Place { origin: [x as f32, y as f32], size }
}

/// Draws into `image`, `[h · w, 5]`, overwritten whole.
///
/// # Panics
/// Where `params` or `image` do not have the lengths that `spec` asks for; [`SplatSpec::check`] says so politely.
pub fn forward(spec: &SplatSpec, params: &SplatParams, image: &mut [f32]) -> Saved {
    forward_on(Arch::new(), spec, params, image)
}

fn forward_on(arch: Arch, spec: &SplatSpec, params: &SplatParams, image: &mut [f32]) -> Saved {
    let n = checked(spec, params);
    assert_eq!(image.len(), spec.pixels() * CHANNELS, "the image is [pixels, {CHANNELS}]");
    let window = spec.drawn();
    let mut saved = Saved {
        grid: Grid::new(window.width as usize, window.height as usize),
        rank: vec![UNSEEN; n],
        radii: vec![0.0; n],
        ..Saved::default()
    };
    project_all(&Camera::new(spec), params, &mut saved);
    saved.bins = bin(&saved.splats, &saved.grid);

    let draw = |t: usize| {
        let (ranks, place) = (saved.ranks(t), place(&saved.grid, t));
        let mut image = BLANK;
        let used = arch.dispatch(raster::Forward { splats: &saved.splats, ranks, place, image: &mut image });
        (image, used as u32)
    };
    let (mut images, mut used) = (Vec::new(), Vec::new());
    (0..saved.grid.len()).into_par_iter().map(draw).unzip_into_vecs(&mut images, &mut used);
    (saved.images, saved.used) = (images, used);
    if saved.grid.len() > 0 {
        let band = TILE * saved.grid.size[0] * CHANNELS;
        image.par_chunks_mut(band).enumerate().for_each(|(ty, band)| copy_band(&saved, ty, band));
    }
    saved
}

fn checked(spec: &SplatSpec, params: &SplatParams) -> usize {
    spec.check(params).unwrap_or_else(|error| panic!("{error}"))
}

/// Fills `splats` (by depth), `rank` and `radii`.
fn project_all(camera: &Camera, params: &SplatParams, saved: &mut Saved) {
    let pieces: Vec<Vec<Splat>> = saved
        .radii
        .par_chunks_mut(PIECE)
        .enumerate()
        .map(|(piece, radii)| {
            let mut splats = Vec::with_capacity(radii.len());
            for (i, out) in (piece * PIECE..).zip(radii) {
                if let Some((splat, radius)) = project(camera, params, i) {
                    *out = radius;
                    splats.push(splat);
                }
            }
            splats
        })
        .collect();
    let keys = pieces.iter().enumerate().flat_map(|(piece, splats)| {
        splats.iter().enumerate().map(move |(k, splat)| (splat.depth.to_bits(), (piece * PIECE + k) as u32))
    });
    let order = depth_order(keys.collect());
    let splat = |&(_, place): &(u32, u32)| pieces[place as usize / PIECE][place as usize % PIECE];
    saved.splats = order.par_iter().with_min_len(PIECE).map(splat).collect();
    for (r, splat) in (0..).zip(&saved.splats) {
        saved.rank[splat.index as usize] = r;
    }
}

/// Copies one row of tiles into the rows of the picture.
fn copy_band(saved: &Saved, ty: usize, band: &mut [f32]) {
    let [width, _] = saved.grid.size;
    let tiles = &saved.images[ty * saved.grid.tiles[0]..];
    for (j, row) in band.chunks_exact_mut(width * CHANNELS).enumerate() {
        for (pixels, tile) in row.chunks_mut(TILE * CHANNELS).zip(tiles) {
            for (i, pixel) in pixels.chunks_exact_mut(CHANNELS).enumerate() {
                for c in 0..CHANNELS {
                    pixel[c] = tile[j][c][i];
                }
            }
        }
    }
}

/// The gradient of a loss with respect to everything, from that with respect to the image, `[h · w, 5]`.
///
/// # Panics
/// As [`forward`], and where `saved` is of another number of Gaussians.
#[must_use]
pub fn backward(spec: &SplatSpec, params: &SplatParams, saved: &Saved, grad_image: &[f32]) -> SplatGrads {
    let mut grads = SplatGrads::zeros(params.raw_opacity.len(), spec.rest_width());
    backward_into(spec, params, saved, grad_image, grads.as_mut());
    grads
}

/// [`backward`] into slices that are there already; each is overwritten whole.
///
/// # Panics
/// As [`backward`], and where a slice has the wrong length.
pub fn backward_into(
    spec: &SplatSpec,
    params: &SplatParams,
    saved: &Saved,
    grad_image: &[f32],
    grads: SplatGradsMut<'_>,
) {
    backward_on(Arch::new(), spec, params, saved, grad_image, grads);
}

fn backward_on(
    arch: Arch,
    spec: &SplatSpec,
    params: &SplatParams,
    saved: &Saved,
    grad_image: &[f32],
    grads: SplatGradsMut<'_>,
) {
    let n = checked(spec, params);
    assert_eq!(saved.rank.len(), n, "the saved pass is of {} Gaussians, not {n}", saved.rank.len());
    assert_eq!(grad_image.len(), spec.pixels() * CHANNELS, "the gradient is [pixels, {CHANNELS}]");
    let totals = add_up(&saved.bins, &tile_sums(arch, saved, grad_image));
    spread(spec, params, saved, &totals, grads);
}

/// The sums of every crossing over the pixels of its tile, as [`SplatSums`] laid end to end (zeroed memory that the
/// system hands out costs nothing before it is touched, and here each thread touches its own).
fn tile_sums(arch: Arch, saved: &Saved, grad_image: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; saved.crossings() * SplatSums::WIDTH];
    let mut shares = Vec::with_capacity(saved.grid.len());
    let mut rest = sums.as_mut_slice();
    for t in 0..saved.grid.len() {
        let (share, others) = rest.split_at_mut(saved.ranks(t).len() * SplatSums::WIDTH);
        shares.push(share);
        rest = others;
    }
    shares.into_par_iter().enumerate().for_each(|(t, sums)| {
        let used = saved.used[t] as usize;
        if used > 0 {
            let place = place(&saved.grid, t);
            let grad = tile_gradient(&saved.grid, t, &place, grad_image);
            let (splats, ranks, image) = (&saved.splats, &saved.ranks(t)[..used], &saved.images[t]);
            let sums = bytemuck::cast_slice_mut(sums);
            arch.dispatch(raster::Backward { splats, ranks, place, image, grad: &grad, sums });
        }
    });
    sums
}

fn tile_gradient(grid: &Grid, t: usize, place: &Place, grad_image: &[f32]) -> TileImage {
    let mut grad = BLANK;
    let [x, y] = grid.origin(t);
    for (j, row) in grad.iter_mut().enumerate().take(place.size[1]) {
        let start = ((y + j) * grid.size[0] + x) * CHANNELS;
        let pixels = &grad_image[start..start + place.size[0] * CHANNELS];
        for (i, pixel) in pixels.chunks_exact(CHANNELS).enumerate() {
            for c in 0..CHANNELS {
                row[c][i] = pixel[c];
            }
        }
    }
    grad
}

/// The sums of every visible Gaussian over its tiles, in their order. By rank, so that neighbours in a tile are read
/// soon after each other.
fn add_up(bins: &Bins, sums: &[f32]) -> Vec<SplatSums> {
    let sums: &[SplatSums] = bytemuck::cast_slice(sums);
    let add = |places: &[u32]| {
        let mut total = SplatSums::default();
        for &place in places {
            total.add(&sums[place as usize]);
        }
        total
    };
    let starts = bins.place_start.par_windows(2).with_min_len(PIECE);
    starts.map(|w| add(&bins.places[w[0] as usize..w[1] as usize])).collect()
}

/// Takes the sums of each Gaussian back to its parameters.
#[expect(clippy::needless_pass_by_value, reason = "the slices are handed on to the threads")]
fn spread(spec: &SplatSpec, params: &SplatParams, saved: &Saved, totals: &[SplatSums], grads: SplatGradsMut<'_>) {
    let camera = Camera::new(spec);
    let n = saved.rank.len();
    let width = spec.rest_width();
    assert_eq!(grads.sh_rest.len(), n * width, "the gradient of sh_rest is [{n}, {width}]");
    // A slice of no width still needs a chunk for every piece.
    let mut rest: Vec<&mut [f32]> = if width == 0 {
        (0..n.div_ceil(PIECE)).map(|_| Default::default()).collect()
    } else {
        grads.sh_rest.chunks_mut(PIECE * width).collect()
    };
    let rows = (
        grads.means.par_chunks_mut(PIECE * 3),
        grads.log_scales.par_chunks_mut(PIECE * 3),
        grads.rotations.par_chunks_mut(PIECE * 4),
        grads.raw_opacity.par_chunks_mut(PIECE),
        grads.sh_dc.par_chunks_mut(PIECE * 3),
        grads.mean2d.par_chunks_mut(PIECE * 2),
        rest.par_iter_mut(),
        saved.rank.par_chunks(PIECE),
    );
    rows.into_par_iter().enumerate().for_each(|(piece, out)| {
        let (means, log_scales, rotations, raw_opacity, sh_dc, mean2d, rest, ranks) = out;
        // Fetched all at once: their cache misses overlap.
        let mut near = [SplatSums::default(); PIECE];
        for (near, &rank) in near.iter_mut().zip(ranks) {
            *near = totals.get(rank as usize).copied().unwrap_or_default();
        }
        for (k, total) in near[..ranks.len()].iter().enumerate() {
            let rest = &mut rest[k * width..(k + 1) * width];
            let row = if *total == SplatSums::default() {
                rest.fill(0.0);
                RowGrads::default()
            } else {
                project_backward(&camera, params, piece * PIECE + k, total, rest)
            };
            means[k * 3..k * 3 + 3].copy_from_slice(&row.mean);
            log_scales[k * 3..k * 3 + 3].copy_from_slice(&row.log_scale);
            rotations[k * 4..k * 4 + 4].copy_from_slice(&row.rotation);
            raw_opacity[k] = row.raw_opacity;
            sh_dc[k * 3..k * 3 + 3].copy_from_slice(&row.sh_dc);
            mean2d[k * 2..k * 2 + 2].copy_from_slice(&row.mean2d);
        }
    });
}
