//! The little world that the built-in prior was taught: plain shapes and things made of parts, in colours and materials,
//! with patterns and sizes, alone or two in a relation. A prompt becomes a [`Description`]; a description becomes a
//! [`Scene`] whose pictures are exact, so what the prior learned from and what its results are measured by is the same.
//!
//! Up is +Z, the front of a thing faces −Y, everything lies in the unit ball.

pub mod corpus;
pub mod picture;
pub mod prompt;
mod scene;
mod solids;
mod things;
pub mod words;

pub use scene::{Scene, Seen, build};

#[cfg(test)]
mod tests;

/// Slots of a described scene: thing, colour, pattern, second colour and size of each of two things, and their relation.
pub const SLOTS: usize = 11;

/// One thing of a scene. Everything is an index into its table of [`words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thing {
    /// What it is.
    pub thing: usize,
    /// Its colour or material; without one it has its natural colours.
    pub colour: Option<usize>,
    /// Its pattern and the pattern's second colour.
    pub pattern: Option<(usize, usize)>,
    /// Its size.
    pub size: Option<usize>,
}

/// What a prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Description {
    /// The thing, or the first of two.
    pub first: Thing,
    /// The relation in its canonical form and the second thing: the first is on, to the right of, or in front of it.
    pub second: Option<(Relation, Thing)>,
}

/// How the first thing stands to the second. Under, left of and behind are these with the things exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// On top of it.
    On,
    /// To its right as seen from the front, towards +X.
    RightOf,
    /// Nearer to who stands before the front, towards −Y.
    InFrontOf,
}

impl Relation {
    /// All, in the order of the prior's words.
    pub const ALL: [Self; 3] = [Self::On, Self::RightOf, Self::InFrontOf];

    /// Its words.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::RightOf => "to the right of",
            Self::InFrontOf => "in front of",
        }
    }
}

impl Thing {
    /// A thing with nothing said of it.
    pub fn plain(thing: usize) -> Self {
        Self { thing, colour: None, pattern: None, size: None }
    }

    /// Its words, with an article: `a small red and white striped ball`.
    fn words(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        said.extend(self.size.map(|s| words::SIZES[s].name.to_string()));
        said.extend(self.colour.map(|c| words::COLOURS[c].word.name.to_string()));
        if let Some((pattern, second)) = self.pattern {
            said.push(format!("and {}", words::COLOURS[second].word.name));
            said.push(words::PATTERNS[pattern].name.to_string());
        }
        said.push(words::THINGS[self.thing].name.to_string());
        let said = said.join(" ");
        let article = if said.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("{article} {said}")
    }

    /// Its five tokens.
    fn tokens(&self) -> [u16; 5] {
        let or_none = |index: Option<u16>| index.unwrap_or(words::NONE);
        let (pattern, second) = self.pattern.unzip();
        [
            words::token_of_thing(self.thing),
            or_none(self.colour.map(words::token_of_colour)),
            or_none(pattern.map(words::token_of_pattern)),
            or_none(second.map(words::token_of_colour)),
            or_none(self.size.map(words::token_of_size)),
        ]
    }
}

impl Description {
    /// The prompt in plain words, which reads back as this description.
    pub fn words(&self) -> String {
        match &self.second {
            None => self.first.words(),
            Some((relation, second)) => format!("{} {} {}", self.first.words(), relation.name(), second.words()),
        }
    }

    /// What the prior's network reads, one word a slot.
    pub fn tokens(&self) -> [u16; SLOTS] {
        let mut tokens = [words::NONE; SLOTS];
        tokens[..5].copy_from_slice(&self.first.tokens());
        if let Some((relation, second)) = &self.second {
            tokens[5] = words::token_of_relation(*relation);
            tokens[6..].copy_from_slice(&second.tokens());
        }
        tokens
    }
}
