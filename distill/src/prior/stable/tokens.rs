//! From words to numbers: CLIP's byte pairs, by the vocabulary that the folder holds.

use std::path::Path;

use retort_fields::error::{Error, Result};
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as Splitters;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

/// The words that stand before and behind a text.
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// How CLIP parts a text before its bytes are joined again: endings, letters, single digits, the rest.
const PARTS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The tokenizer.
pub struct Tokens {
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
    pad: u32,
    longest: usize,
}

/// A text as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Start, words, end, and what fills the rest.
    pub ids: Vec<u32>,
    /// Words that did not fit.
    pub cut: usize,
}

impl Tokens {
    /// The tokenizer of a folder with `vocab.json` and `merges.txt`, or with `tokenizer.json`, which newer programs write
    /// in their place; for texts of `longest` tokens.
    ///
    /// # Errors
    /// When a file is missing or not understood, or the vocabulary lacks the words that begin and end a text.
    pub fn open(folder: &Path, longest: usize) -> Result<Self> {
        let whole = folder.join("tokenizer.json");
        let plain = folder.join("vocab.json");
        let tokenizer = if !plain.is_file() && whole.is_file() {
            small_enough(&whole)?;
            Tokenizer::from_file(&whole).map_err(|e| odd(&e).file(&whole))?
        } else {
            of_words(&plain, &folder.join("merges.txt"))?
        };
        let word = |word: &str| {
            let found = tokenizer.token_to_id(word);
            found.ok_or_else(|| Error::new(format!("the vocabulary has no {word}")).file(folder))
        };
        let (start, end) = (word(START)?, word(END)?);
        let pad = word(&padding(folder)?)?;
        Ok(Self { tokenizer, start, end, pad, longest })
    }

    /// The largest number that it gives.
    pub fn largest(&self) -> u32 {
        self.tokenizer.get_vocab(true).values().copied().max().unwrap_or(0)
    }

    /// A text as numbers, cut where it is too long.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tell(&self, text: &str) -> Result<Told> {
        let words = self.tokenizer.encode(text, false).map_err(|e| odd(&e))?;
        let words = words.get_ids();
        let kept = words.len().min(self.longest.saturating_sub(2));
        let mut ids = vec![self.start];
        ids.extend(&words[..kept]);
        ids.push(self.end);
        ids.resize(self.longest, self.pad);
        Ok(Told { ids, cut: words.len() - kept })
    }
}

fn odd(error: &tokenizers::Error) -> Error {
    Error::new(format!("not understood: {error}"))
}

/// The files of CLIP are of 2.2, 1.1 and 0.5 MB.
fn small_enough(path: &Path) -> Result<()> {
    if std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len() > 64 << 20 {
        return Err(Error::new("this is more than a vocabulary has").file(path));
    }
    Ok(())
}

/// CLIP's way with a vocabulary and its merges.
fn of_words(vocab: &Path, merges: &Path) -> Result<Tokenizer> {
    small_enough(vocab)?;
    small_enough(merges)?;
    let odd = |e: tokenizers::Error| odd(&e).file(vocab);
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let model = BPE::from_file(&name(vocab), &name(merges));
    let model = model.end_of_word_suffix("</w>".into()).unk_token(END.into()).build().map_err(odd)?;
    let mut tokenizer = Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(odd)?;
    tokenizer.with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])));
    let split = Split::new(SplitPattern::Regex(PARTS.into()), SplitDelimiterBehavior::Removed, true).map_err(odd)?;
    let parts = Splitters::new(vec![split.into(), ByteLevel::new(false, true, true).into()]);
    tokenizer.with_pre_tokenizer(Some(parts));
    tokenizer.add_special_tokens(&[START, END].map(|t| AddedToken::from(t, true)));
    Ok(tokenizer)
}

/// The word that fills a text: Stable Diffusion 1 has the end's, 2 has "!".
fn padding(folder: &Path) -> Result<String> {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let table: Value = super::config::read(&path)?;
        let word = match &table["pad_token"] {
            Value::String(word) => Some(word),
            Value::Object(token) => match &token["content"] {
                Value::String(word) => Some(word),
                _ => None,
            },
            _ => None,
        };
        if let Some(word) = word {
            return Ok(word.clone());
        }
    }
    Ok(END.into())
}
