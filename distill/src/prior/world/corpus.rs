//! What the prior is taught: described scenes by chance, and their pictures. Some combinations of thing and colour are
//! never among them, so that one can see whether the prior composes or remembers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use retort_fields::rng::Rng;

use super::picture::{RING, SIDE, camera, picture, ring};
use super::words::{COLOURS, MATERIALS, PATTERNS, SHAPES, SIZES, THINGS};
use super::{Description, Relation, SLOTS, Thing, build};

/// Bytes of an example's pictures.
pub const PICTURES: usize = RING * (SIDE * SIDE) as usize * 4;

/// One described scene, photographed from a ring of views.
pub struct Example {
    /// Its description, one word a slot.
    pub tokens: [u16; SLOTS],
    /// Azimuth and elevation of each view in radians.
    pub views: [[f32; 2]; RING],
    /// `[RING, SIDE, SIDE, 4]`: premultiplied RGBA, 8 bits.
    pub pictures: Vec<u8>,
}

/// Whether things of this colour were kept from the prior: one of ten combinations.
pub fn held_out(thing: usize, colour: usize) -> bool {
    (thing * 7 + colour * 3) % 10 == 4
}

/// Which combinations of thing and colour a corpus is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combinations {
    /// Those that the prior is taught.
    Taught,
    /// Those that it is not: what its loss on them exceeds that on others by is what it does not compose.
    HeldOut,
}

/// A description by chance: mostly two things, which are harder than one.
pub fn describe(rng: &mut Rng, of: Combinations) -> Description {
    let first = thing(rng, of);
    let second = (rng.uniform() < 0.7).then(|| {
        let relation = Relation::ALL[if rng.uniform() < 0.5 { 0 } else { 1 + rng.below(2) }];
        (relation, thing(rng, of))
    });
    Description { first, second }
}

fn thing(rng: &mut Rng, of: Combinations) -> Thing {
    let index = if rng.uniform() < 0.25 { rng.below(SHAPES) } else { rng.below(THINGS.len()) };
    let mut said = Thing::plain(index);
    if rng.uniform() < 0.85 {
        let wanted = |&c: &usize| held_out(index, c) == (of == Combinations::HeldOut);
        said.colour = std::iter::repeat_with(|| colour(rng)).find(wanted);
    }
    if let Some(colour) = said.colour
        && rng.uniform() < 0.2
    {
        let second = std::iter::repeat_with(|| rng.below(COLOURS.len())).find(|&c| c != colour);
        said.pattern = second.map(|second| (rng.below(PATTERNS.len()), second));
    }
    if rng.uniform() < 0.25 {
        said.size = Some(rng.below(SIZES.len()));
    }
    said
}

/// Materials twice as often as colours: they are told by their grain and their shades as well, and metals were the
/// last to be right.
fn colour(rng: &mut Rng) -> usize {
    let drawn = rng.below(COLOURS.len() + MATERIALS);
    if drawn < COLOURS.len() { drawn } else { drawn - MATERIALS }
}

/// The examples `first .. first + n` of the corpus `seed`; each is its own, whatever is asked for with it.
pub fn examples(seed: u64, of: Combinations, first: u64, n: usize) -> Vec<Example> {
    (0..n as u64).into_par_iter().map(|i| example(seed, of, first + i)).collect()
}

fn example(seed: u64, of: Combinations, index: u64) -> Example {
    let mut rng = Rng::at(seed, "the prior's corpus", index);
    let description = describe(&mut rng, of);
    let views = ring(&mut rng);
    let scene = build(&description, Some(&mut rng));
    let mut pictures = Vec::with_capacity(PICTURES);
    for [azimuth, elevation] in views {
        let pixels = picture(&scene, &camera(azimuth, elevation, SIDE));
        pictures.extend(pixels.chunks_exact(5).flat_map(|p| [0, 1, 2, 3].map(|c| (255.0 * p[c]).round() as u8)));
    }
    Example { tokens: description.tokens(), views, pictures }
}

/// Writes the examples `0 .. n` of the corpus `seed` into the folder `to`, which exists: `tokens.u16` `[n, 11]`,
/// `views.f32` `[n, 4, 2]` and `pictures.u8` `[n, 4, 32, 32, 4]`, all little-endian.
///
/// # Errors
/// When a file cannot be written.
pub fn write(to: &Path, seed: u64, of: Combinations, n: usize) -> std::io::Result<()> {
    const AT_ONCE: usize = 1024;
    let open = |name| Ok::<_, std::io::Error>(BufWriter::new(File::create(to.join(name))?));
    let (mut tokens, mut views, mut pictures) = (open("tokens.u16")?, open("views.f32")?, open("pictures.u8")?);
    for first in (0..n).step_by(AT_ONCE) {
        for example in examples(seed, of, first as u64, AT_ONCE.min(n - first)) {
            example.tokens.iter().try_for_each(|t| tokens.write_all(&t.to_le_bytes()))?;
            example.views.iter().flatten().try_for_each(|v| views.write_all(&v.to_le_bytes()))?;
            pictures.write_all(&example.pictures)?;
        }
    }
    [tokens, views, pictures].iter_mut().try_for_each(Write::flush)
}
