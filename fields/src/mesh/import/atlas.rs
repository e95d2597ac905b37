//! Several textures as one. Each becomes a tile that holds what its triangles use of it: repeats are written out, the
//! factor is multiplied in, and a tile has all texels that a bilinear lookup reads, so colours are as before. What would not
//! fit is made smaller, by means of linear colours.

use std::ops::Range;

use glam::{DVec2, Vec2};
use rayon::prelude::*;

use super::super::Texture;
use super::super::srgb::{byte, decoded_bytes, encode};
use super::loose::{Coat, Wrap};

/// The longest side of the atlas, and half of it that of a tile, in texels.
const MAX_SIDE: usize = 8192;
/// The most times that a tile may be as large as its texture, where repeats are written out,
const REPEATS: f64 = 16.0;
/// and the texels that it may have in any case.
const LEAST: f64 = 65536.0;
/// Texels around a tile that go on as the texture does.
const GUTTER: f64 = 2.0;

/// What is wanted of a coat: the range of its texture coordinates, `low` to `high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub coat: Coat,
    pub low: DVec2,
    pub high: DVec2,
}

/// A tile: texture coordinates go to `(uv · size − from) · scale + place` in texels of the atlas.
struct Tile<'a> {
    wanted: Wanted,
    texture: Option<&'a Texture>,
    size: DVec2,
    /// The first texel of the texture's endless plane that is in it.
    from: DVec2,
    /// Texels of that plane.
    extent: DVec2,
    /// Texels of the atlas for one of the texture, at most 1.
    scale: DVec2,
    place: [usize; 2],
}

/// One texture and where each tile is in it.
pub(super) struct Atlas {
    pub texture: Texture,
    tiles: Vec<(DVec2, DVec2)>,
    /// Whether a tile was made smaller.
    pub shrunk: bool,
}

impl Atlas {
    /// Lays out the tiles and paints them.
    pub(super) fn new(wanted: &[Wanted], textures: &[Texture]) -> Self {
        let mut tiles: Vec<Tile<'_>> = wanted.iter().map(|w| Tile::new(*w, textures)).collect();
        let [width, height] = loop {
            if let Some(size) = laid_out(&mut tiles) {
                break size;
            }
            tiles.iter_mut().for_each(|tile| tile.scale *= 0.85);
        };
        let mut rgb = vec![0; 3 * width * height];
        for tile in &tiles {
            let ([w, h], [left, top]) = (tile.texels(), tile.place);
            let painter = Painter::new(tile);
            let rows = rgb.par_chunks_exact_mut(3 * width).skip(top).take(h).enumerate();
            rows.for_each(|(y, row)| painter.row(y, &mut row[3 * left..][..3 * w]));
        }
        let whole = DVec2::new(width as f64, height as f64);
        let place = |t: &Tile<'_>| {
            let place = DVec2::new(t.place[0] as f64, t.place[1] as f64);
            (t.size * t.scale / whole, (place - t.from * t.scale) / whole)
        };
        Self {
            shrunk: tiles.iter().any(|t| t.texture.is_some() && t.scale.min_element() < 1.0),
            tiles: tiles.iter().map(place).collect(),
            texture: Texture { width: width as u32, height: height as u32, rgb },
        }
    }

    /// Texture coordinates of a tile in the atlas.
    pub(super) fn uv(&self, tile: usize, uv: Vec2) -> Vec2 {
        let (scale, offset) = self.tiles[tile];
        (uv.as_dvec2() * scale + offset).clamp(DVec2::ZERO, DVec2::ONE).as_vec2()
    }
}

impl<'a> Tile<'a> {
    fn new(wanted: Wanted, textures: &'a [Texture]) -> Self {
        let texture = wanted.coat.texture.and_then(|at| textures.get(at));
        let Some(picture) = texture else {
            // One colour; all of its texture coordinates go to the middle.
            let extent = DVec2::splat(2.0 * GUTTER);
            return Self {
                wanted,
                texture,
                size: DVec2::ZERO,
                from: -0.5 * extent,
                extent,
                scale: DVec2::ONE,
                place: [0; 2],
            };
        };
        let size = DVec2::new(f64::from(picture.width), f64::from(picture.height));
        let from = (wanted.low * size - 0.5).floor() - GUTTER;
        let extent = (wanted.high * size - 0.5).floor() + 2.0 + GUTTER - from;
        let mut scale = (0.5 * MAX_SIDE as f64 / extent).min(DVec2::ONE);
        let (texels, most) = ((extent * scale).element_product(), (REPEATS * size.element_product()).max(LEAST));
        scale *= (most / texels).sqrt().min(1.0);
        Self { wanted, texture, size, from, extent, scale, place: [0; 2] }
    }

    /// Its size in the atlas.
    fn texels(&self) -> [usize; 2] {
        (self.extent * self.scale).ceil().to_array().map(|v| (v as usize).clamp(1, MAX_SIDE))
    }
}

/// Places the tiles on shelves, the highest first, in the narrowest atlas that is no higher than it is wide.
fn laid_out(tiles: &mut [Tile<'_>]) -> Option<[usize; 2]> {
    let mut order: Vec<usize> = (0..tiles.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(tiles[k].texels()[1]));
    let widest = tiles.iter().map(|t| t.texels()[0]).max().unwrap_or(1);
    let mut width = widest;
    loop {
        let (mut x, mut y, mut shelf, mut used) = (0, 0, 0, 0);
        for &k in &order {
            let [w, h] = tiles[k].texels();
            if x + w > width {
                (x, y, shelf) = (0, y + shelf, 0);
            }
            tiles[k].place = [x, y];
            (x, shelf) = (x + w, shelf.max(h));
            used = used.max(x);
        }
        let height = y + shelf;
        if height <= width.max(widest) || width == MAX_SIDE {
            return (height <= MAX_SIDE).then_some([used, height]);
        }
        width = (width + width.div_ceil(4)).min(MAX_SIDE);
    }
}

/// The index within a texture of one in its endless plane.
pub(super) fn wrapped(at: f64, count: u32, wrap: Wrap) -> usize {
    let last = f64::from(count) - 1.0;
    let at = match wrap {
        Wrap::Repeat => at.rem_euclid(f64::from(count)),
        Wrap::Mirror => {
            let twice = at.rem_euclid(2.0 * f64::from(count));
            twice.min(2.0 * last + 1.0 - twice)
        }
        Wrap::Clamp => at,
    };
    at.clamp(0.0, last) as usize
}

/// Paints rows of a tile.
struct Painter<'t> {
    tile: &'t Tile<'t>,
    /// The texture, halved until a texel of the tile is at most two of it wide, and its size against the whole one.
    source: Option<(std::borrow::Cow<'t, Texture>, DVec2)>,
    colours: Colours,
}

/// What the factor makes of each byte, or the one colour.
enum Colours {
    Of([[u8; 256]; 3]),
    One([u8; 3]),
}

impl<'t> Painter<'t> {
    fn new(tile: &'t Tile<'t>) -> Self {
        let source = tile.texture.map(|texture| {
            let mut source = std::borrow::Cow::Borrowed(texture);
            let part = |t: &Texture| DVec2::new(f64::from(t.width), f64::from(t.height)) / tile.size;
            loop {
                let wide = part(&source) / tile.scale;
                let axes = [wide.x > 2.0 && source.width > 1, wide.y > 2.0 && source.height > 1];
                if axes == [false; 2] {
                    break;
                }
                source = std::borrow::Cow::Owned(halved(&source, axes));
            }
            let part = part(&source);
            (source, part)
        });
        let factor = tile.wanted.coat.factor;
        let colours = match &source {
            Some(_) => Colours::Of(multiplied(factor)),
            None => Colours::One(factor.map(|v| byte(encode(v)))),
        };
        Self { tile, source, colours }
    }

    fn row(&self, y: usize, row: &mut [u8]) {
        let tile = self.tile;
        let (source, part, bytes) = match (&self.source, &self.colours) {
            (Some((source, part)), Colours::Of(bytes)) => (source, part, bytes),
            (_, Colours::One(colour)) => return row.as_chunks_mut::<3>().0.fill(*colour),
            (None, Colours::Of(_)) => return,
        };
        let colour = |rgb: [u8; 3]| [0, 1, 2].map(|c| bytes[c][rgb[c] as usize]);
        let (exact, linear) = (tile.scale == DVec2::ONE, decoded_bytes());
        let texel = |at: DVec2| {
            let wrap = tile.wanted.coat.wrap;
            let (x, y) = (wrapped(at.x.floor(), source.width, wrap[0]), wrapped(at.y.floor(), source.height, wrap[1]));
            let at = 3 * (y * source.width as usize + x);
            [source.rgb[at], source.rgb[at + 1], source.rgb[at + 2]]
        };
        for (x, to) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let corner = DVec2::new(x as f64, y as f64);
            let at = |within: DVec2| ((corner + within) / tile.scale + tile.from) * *part;
            if exact {
                *to = colour(texel(at(DVec2::splat(0.5))));
                continue;
            }
            let mut sum = [0.0; 3];
            for (u, v) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                let rgb = texel(at(DVec2::new(u, v)));
                (0..3).for_each(|c| sum[c] += 0.25 * linear[usize::from(rgb[c])]);
            }
            *to = colour(sum.map(|v| byte(encode(v))));
        }
    }
}

/// What a linear factor makes of each sRGB byte.
pub(super) fn multiplied(factor: [f32; 3]) -> [[u8; 256]; 3] {
    factor.map(|f| std::array::from_fn(|b| if f == 1.0 { b as u8 } else { byte(encode(f * decoded_bytes()[b])) }))
}

/// Half as wide or high or both, by means of linear colours; of an odd side the last texel stands alone.
fn halved(texture: &Texture, axes: [bool; 2]) -> Texture {
    let by = axes.map(|half| if half { 2 } else { 1 });
    let (w, h) = (texture.width as usize, texture.height as usize);
    let (width, height) = (w.div_ceil(by[0]), h.div_ceil(by[1]));
    let (mut rgb, linear) = (vec![0; 3 * width * height], decoded_bytes());
    let range = |at: usize, by: usize, count: usize| -> Range<usize> { at * by..(at * by + by).min(count) };
    rgb.par_chunks_exact_mut(3 * width).enumerate().for_each(|(y, row)| {
        for (x, to) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (columns, rows) = (range(x, by[0], w), range(y, by[1], h));
            let count = (columns.len() * rows.len()) as f32;
            for (c, to) in to.iter_mut().enumerate() {
                let texels = rows.clone().flat_map(|y| columns.clone().map(move |x| 3 * (y * w + x)));
                let sum: f32 = texels.map(|at| linear[usize::from(texture.rgb[at + c])]).sum();
                *to = byte(encode(sum / count));
            }
        }
    });
    Texture { width: width as u32, height: height as u32, rgb }
}
