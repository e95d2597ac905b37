//! From a prompt in plain words to a [`Description`]: words in any order, articles, synonyms, two things in a relation.
//!
//! A word about a thing belongs to the next thing of its clause, else to the one before it ("a ball that is red"); a
//! relation ends a clause. What the prior does not know is named, never guessed.

use std::fmt::Write as _;

use retort_fields::error::{Error, Result};

use super::words::{COLOURS, PATTERNS, SIZES, THINGS, Word};
use super::{Description, Relation, Thing};

/// The most characters of a prompt that are read.
pub const LONGEST: usize = 1000;
/// The most words of a phrase.
const PHRASE: usize = 5;

/// A prompt that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// What it asks for.
    pub description: Description,
    /// Words that the prior does not know, in their order, each once.
    pub unknown: Vec<String>,
    /// What else a person should know: more things than two, words that were not used.
    pub notes: Vec<String>,
}

/// What a phrase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Thing(usize),
    Colour(usize),
    Pattern(usize),
    Size(usize),
    Relation(Spoken),
    /// "it", which after a relation means the first thing.
    It,
    /// Nothing that matters.
    Filler,
}

/// A relation as it is spoken: its canonical form, and whether the things are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    relation: Relation,
    swapped: bool,
}

/// The spoken relations. In front of, behind, left and right are as seen from the front.
const RELATIONS: &[(&str, Relation, bool)] = &[
    ("on", Relation::On, false),
    ("on top of", Relation::On, false),
    ("atop", Relation::On, false),
    ("upon", Relation::On, false),
    ("above", Relation::On, false),
    ("over", Relation::On, false),
    ("under", Relation::On, true),
    ("below", Relation::On, true),
    ("beneath", Relation::On, true),
    ("underneath", Relation::On, true),
    ("right of", Relation::RightOf, false),
    ("to the right of", Relation::RightOf, false),
    ("on the right of", Relation::RightOf, false),
    ("left of", Relation::RightOf, true),
    ("to the left of", Relation::RightOf, true),
    ("on the left of", Relation::RightOf, true),
    // Who reads from left to right sees the first on the left.
    ("beside", Relation::RightOf, true),
    ("next to", Relation::RightOf, true),
    ("near", Relation::RightOf, true),
    ("by", Relation::RightOf, true),
    ("alongside", Relation::RightOf, true),
    ("adjacent to", Relation::RightOf, true),
    ("in front of", Relation::InFrontOf, false),
    ("before", Relation::InFrontOf, false),
    ("behind", Relation::InFrontOf, true),
    ("at the back of", Relation::InFrontOf, true),
];

const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "and",
    "with",
    "is",
    "are",
    "that",
    "which",
    "it's",
    "its",
    "one",
    "single",
    "there",
    "in",
    "to",
    "at",
    "has",
    "have",
    "very",
    "some",
    "this",
    "standing",
    "sitting",
    "lying",
    "placed",
    "put",
    "painted",
    "coloured",
    "colored",
    "made",
    "from",
    "out",
    "object",
    "shape",
    "shaped",
    "toy",
    "model",
    "photo",
    "picture",
    "image",
    "render",
    "rendering",
    "3d",
    "please",
    "make",
    "me",
    "i",
    "want",
    "show",
    "colour",
    "color",
    "pattern",
    "all",
    "whose",
];

/// The phrase of the words from `at` that means something, the longest first: its meaning and its length.
fn phrase(words: &[String], at: usize) -> Option<(Meaning, usize)> {
    (1..=PHRASE.min(words.len() - at)).rev().find_map(|n| {
        let text = words[at..at + n].join(" ");
        meaning(&text).or_else(|| singular(&text).and_then(|s| meaning(&s))).map(|m| (m, n))
    })
}

/// `tables` to `table`.
fn singular(text: &str) -> Option<String> {
    text.strip_suffix("es").filter(|s| s.ends_with(['x', 's', 'h'])).or(text.strip_suffix('s')).map(str::to_string)
}

fn meaning(text: &str) -> Option<Meaning> {
    let is = |word: &Word| word.name == text || word.others.contains(&text) || word.name.replace('-', " ") == text;
    if let Some(i) = THINGS.iter().position(is) {
        return Some(Meaning::Thing(i));
    }
    if let Some(i) = COLOURS.iter().position(|c| is(&c.word)) {
        return Some(Meaning::Colour(i));
    }
    if let Some(i) = PATTERNS.iter().position(is) {
        return Some(Meaning::Pattern(i));
    }
    if let Some(i) = SIZES.iter().position(is) {
        return Some(Meaning::Size(i));
    }
    if let Some(&(_, relation, swapped)) = RELATIONS.iter().find(|r| r.0 == text) {
        return Some(Meaning::Relation(Spoken { relation, swapped }));
    }
    match text {
        "it" | "them" => Some(Meaning::It),
        _ => FILLERS.contains(&text).then_some(Meaning::Filler),
    }
}

/// What `prompt` asks for.
///
/// # Errors
/// When it is empty, too long, or names nothing that the prior knows.
pub fn understand(prompt: &str) -> Result<Understood> {
    if prompt.chars().count() > LONGEST {
        return Err(
            Error::new(format!("the prompt is longer than {LONGEST} characters")).remedy("say it in fewer words")
        );
    }
    let lower = prompt.to_lowercase().replace('-', " ");
    let words: Vec<String> = lower
        .split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .filter(|w| !w.is_empty())
        .map(str::to_string)
        .collect();
    if words.is_empty() {
        return Err(Error::new("the prompt is empty").remedy("say what to make: \"a red mushroom on a green table\""));
    }
    let (mut meanings, mut unknown) = (Vec::new(), Vec::<String>::new());
    let mut at = 0;
    while at < words.len() {
        if let Some((meaning, n)) = phrase(&words, at) {
            meanings.push(meaning);
            at += n;
        } else {
            if !unknown.contains(&words[at]) {
                unknown.push(words[at].clone());
            }
            at += 1;
        }
    }
    read(&meanings, unknown)
}

/// A thing with the words that were said of it.
#[derive(Default)]
struct Said {
    thing: usize,
    colours: Vec<usize>,
    patterns: Vec<usize>,
    sizes: Vec<usize>,
}

impl Said {
    fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Colour(i) => self.colours.push(i),
            Meaning::Pattern(i) => self.patterns.push(i),
            Meaning::Size(i) => self.sizes.push(i),
            Meaning::Thing(_) | Meaning::Relation(_) | Meaning::It | Meaning::Filler => {}
        }
    }

    /// As the prior has it: two colours without a pattern are halves, a pattern without a second colour has white, or
    /// black on white.
    fn thing(&self, notes: &mut Vec<String>) -> Thing {
        let [white, black] = ["white", "black"].map(|c| super::words::colour_called(c).unwrap_or_default());
        let halves = PATTERNS.len() - 1;
        let name = THINGS[self.thing].name;
        let mut unused = |count: usize, most: usize, what: &str| {
            if count > most {
                notes.push(format!("only {most} {what} of the {name} is used"));
            }
        };
        unused(self.patterns.len(), 1, "pattern");
        unused(self.sizes.len(), 1, "size");
        unused(self.colours.len(), 2, "colours");
        let first = self.colours.first().copied();
        let pattern = match (self.patterns.first(), self.colours.get(1)) {
            (pattern, Some(&second)) => Some((pattern.copied().unwrap_or(halves), second)),
            (Some(&pattern), None) => Some((pattern, if first == Some(white) { black } else { white })),
            (None, None) => None,
        };
        // A pattern was always taught with a colour.
        let colour = if pattern.is_some() { first.or(Some(black)) } else { first };
        Thing { thing: self.thing, colour, pattern, size: self.sizes.first().copied() }
    }
}

fn read(meanings: &[Meaning], unknown: Vec<String>) -> Result<Understood> {
    let mut notes = Vec::new();
    let mut said: Vec<Said> = Vec::new();
    // A word waits for a thing of its clause; the end of the clause gives it to the last one.
    let (mut waiting, mut spoken) = (Vec::new(), None);
    let (mut before, mut it, mut clause) = (0, false, 0);
    for &meaning in meanings {
        match meaning {
            Meaning::Thing(thing) => {
                let mut new = Said { thing, ..Said::default() };
                waiting.drain(..).for_each(|m| new.add(m));
                said.push(new);
            }
            Meaning::Relation(relation) => {
                if said.len() > clause {
                    let last = said.len() - 1;
                    waiting.drain(..).for_each(|m| said[last].add(m));
                }
                clause = said.len();
                if spoken.is_none() {
                    spoken = Some(relation);
                    before = said.len();
                }
            }
            Meaning::It => it = true,
            Meaning::Filler => {}
            other => waiting.push(other),
        }
    }
    if let Some(last) = said.last_mut() {
        waiting.drain(..).for_each(|m| last.add(m));
    }
    if said.is_empty() {
        let mut text = String::from("the built-in prior knows nothing that this prompt names");
        if !unknown.is_empty() {
            let _ = write!(text, " (unknown: {})", unknown.join(", "));
        }
        let known = THINGS.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
        return Err(Error::new(text).remedy(format!("ask for one of: {known}")));
    }
    for extra in said.iter().skip(2) {
        notes
            .push(format!("the {} is left out: the built-in prior makes two things at most", THINGS[extra.thing].name));
    }
    let first = said[0].thing(&mut notes);
    let second = said.get(1).map(|s| s.thing(&mut notes));
    let description = match (second, spoken) {
        (None, spoken) => {
            if spoken.is_some() {
                notes.push("a relation needs two things that the prior knows; it is left out".to_string());
            }
            Description { first, second: None }
        }
        (Some(second), spoken) => {
            let spoken = spoken.unwrap_or(Spoken { relation: Relation::RightOf, swapped: true });
            // "on a table a mushroom" and "a table with a mushroom on it": the second is on the first.
            let turned = it || before == 0 && meanings.iter().any(|m| matches!(m, Meaning::Relation(_)));
            let (a, b) = if spoken.swapped == turned { (first, second) } else { (second, first) };
            Description { first: a, second: Some((spoken.relation, b)) }
        }
    };
    Ok(Understood { description, unknown, notes })
}
