//! The words that the built-in prior knows, with their synonyms. An index into a table is a row of the prior's
//! embedding, so words are only ever added at the end of a table.

use super::Relation;

/// A word and what else means the same.
#[derive(Debug)]
pub struct Word {
    /// The word that lists show.
    pub name: &'static str,
    /// Others, which may be of several words.
    pub others: &'static [&'static str],
}

const fn word(name: &'static str, others: &'static [&'static str]) -> Word {
    Word { name, others }
}

/// What the surface of a material looks like besides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Nothing.
    Even,
    /// Rings of wood.
    Wood,
    /// Mottled.
    Stone,
    /// Stronger light and shade.
    Metal,
}

/// A colour or a material.
#[derive(Debug)]
pub struct Colour {
    /// Its word.
    pub word: Word,
    /// sRGB-encoded, 0 to 1, where the light falls fully.
    pub rgb: [f32; 3],
    /// What else it looks like.
    pub grain: Grain,
}

const fn colour(name: &'static str, others: &'static [&'static str], rgb: [f32; 3], grain: Grain) -> Colour {
    Colour { word: word(name, others), rgb, grain }
}

/// The last of the colours are materials: so many.
pub const MATERIALS: usize = 4;

/// Colours and materials.
pub const COLOURS: &[Colour] = &[
    colour("red", &["crimson", "scarlet"], [0.88, 0.13, 0.13], Grain::Even),
    colour("orange", &[], [0.98, 0.52, 0.08], Grain::Even),
    colour("yellow", &[], [0.98, 0.86, 0.14], Grain::Even),
    colour("green", &["emerald"], [0.16, 0.66, 0.22], Grain::Even),
    colour("cyan", &["turquoise", "teal", "aqua"], [0.12, 0.76, 0.80], Grain::Even),
    colour("blue", &["navy", "azure"], [0.14, 0.30, 0.88], Grain::Even),
    colour("purple", &["violet", "lilac"], [0.52, 0.18, 0.74], Grain::Even),
    colour("pink", &["rose", "magenta"], [0.98, 0.50, 0.72], Grain::Even),
    colour("brown", &[], [0.46, 0.27, 0.13], Grain::Even),
    colour("white", &["snowy"], [0.97, 0.97, 0.97], Grain::Even),
    colour("black", &[], [0.10, 0.10, 0.11], Grain::Even),
    colour("grey", &["gray"], [0.55, 0.55, 0.56], Grain::Even),
    colour("wooden", &["wood", "oak", "timber"], [0.72, 0.50, 0.28], Grain::Wood),
    colour("golden", &["gold"], [0.93, 0.72, 0.22], Grain::Metal),
    colour("silver", &["metal", "metallic", "steel", "iron"], [0.78, 0.80, 0.84], Grain::Metal),
    colour("stone", &["marble", "rocky", "concrete"], [0.66, 0.63, 0.58], Grain::Stone),
];

/// Patterns of two colours.
pub const PATTERNS: &[Word] = &[
    word("striped", &["stripy", "stripes", "banded"]),
    word("checkered", &["chequered", "checked", "checkerboard", "chequerboard"]),
    word("dotted", &["spotted", "dots", "spots", "polka dot", "polka dots", "polka dotted"]),
    word("two-tone", &["two tone", "half and half", "bicolour", "bicolor"]),
];

/// Sizes and proportions.
pub const SIZES: &[Word] = &[
    word("small", &["little", "tiny", "mini", "short"]),
    word("big", &["large", "huge", "giant"]),
    word("tall", &["high", "long", "thin", "slim"]),
    word("flat", &["wide", "low", "squat", "thick"]),
];

/// What can be asked for: plain shapes first, then things made of parts. [`super::things`] builds them by these names.
pub const THINGS: &[Word] = &[
    word("ball", &["sphere", "globe", "balls", "orb"]),
    word("cube", &["box", "block", "dice"]),
    word("cylinder", &["tube", "pipe", "drum"]),
    word("cone", &[]),
    word("pyramid", &[]),
    word("ring", &["torus", "donut", "doughnut", "tyre", "tire"]),
    word("egg", &["ellipsoid"]),
    word("capsule", &["pill"]),
    word("prism", &["wedge"]),
    word("hexagon", &["hexagonal prism", "hexagonal block"]),
    word("disc", &["disk", "coin", "plate"]),
    word("dome", &["hemisphere", "half ball", "half sphere"]),
    word("star", &[]),
    word("cross", &["plus"]),
    word("table", &["desk"]),
    word("chair", &[]),
    word("stool", &[]),
    word("bench", &[]),
    word("bed", &[]),
    word("sofa", &["couch", "armchair"]),
    word("mushroom", &["toadstool"]),
    word("snowman", &[]),
    word("rocket", &["spaceship"]),
    word("house", &["hut", "cottage", "home"]),
    word("tree", &[]),
    word("fir", &["pine", "pine tree", "fir tree", "christmas tree", "conifer"]),
    word("lamp", &["table lamp", "light"]),
    word("car", &["automobile"]),
    word("truck", &["lorry"]),
    word("bottle", &["vase", "flask"]),
    word("castle", &["fortress"]),
    word("lighthouse", &[]),
    word("mug", &["cup", "teacup"]),
    word("barrel", &["keg", "cask"]),
    word("robot", &["android"]),
    word("duck", &["bird", "chick"]),
    word("dog", &["puppy"]),
    word("cactus", &[]),
    word("candle", &[]),
    word("umbrella", &["parasol"]),
    word("television", &["tv", "monitor", "screen"]),
    word("boat", &["ship", "sailboat", "sailing boat"]),
    word("cake", &["birthday cake"]),
    word("flower", &["tulip", "daisy"]),
    word("tent", &[]),
    word("hat", &["top hat"]),
];

/// The number of plain shapes at the head of [`THINGS`].
pub const SHAPES: usize = 14;

/// Rows of the prior's table of words; those not yet taken are for words to come.
pub const ROWS: usize = 160;
/// The row of a slot of which nothing is said.
pub const NONE: u16 = 0;
/// The row that every slot has where there is no prompt at all.
pub const NULL: u16 = 1;

const FIRST_THING: usize = 8;
const FIRST_COLOUR: usize = 96;
const FIRST_PATTERN: usize = 128;
const FIRST_SIZE: usize = 140;
const FIRST_RELATION: usize = 152;

const _: () = assert!(FIRST_THING + THINGS.len() <= FIRST_COLOUR);
const _: () = assert!(FIRST_COLOUR + COLOURS.len() <= FIRST_PATTERN);
const _: () = assert!(FIRST_PATTERN + PATTERNS.len() <= FIRST_SIZE);
const _: () = assert!(FIRST_SIZE + SIZES.len() <= FIRST_RELATION);
const _: () = assert!(FIRST_RELATION + Relation::ALL.len() <= ROWS);

/// The row of `THINGS[index]`.
pub fn token_of_thing(index: usize) -> u16 {
    (FIRST_THING + index) as u16
}

/// The row of `COLOURS[index]`.
pub fn token_of_colour(index: usize) -> u16 {
    (FIRST_COLOUR + index) as u16
}

/// The row of `PATTERNS[index]`.
pub fn token_of_pattern(index: usize) -> u16 {
    (FIRST_PATTERN + index) as u16
}

/// The row of `SIZES[index]`.
pub fn token_of_size(index: usize) -> u16 {
    (FIRST_SIZE + index) as u16
}

/// The row of a relation.
pub fn token_of_relation(relation: Relation) -> u16 {
    FIRST_RELATION as u16 + relation as u16
}

/// The index of the thing called `name` in [`THINGS`], by its first name.
pub fn thing(name: &str) -> Option<usize> {
    THINGS.iter().position(|w| w.name == name)
}

/// The index of the colour called `name` in [`COLOURS`], by its first name.
pub fn colour_called(name: &str) -> Option<usize> {
    COLOURS.iter().position(|c| c.word.name == name)
}
