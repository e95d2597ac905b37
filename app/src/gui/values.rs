//! The values of a preset one by one: what is changed about them is a `key=value` line each, as `--set` has it.

use toml::{Table, Value};

/// Values that are one of a few words, by the last part of their key.
const WORDS: &[(&str, &[&str])] =
    &[("loss", &["mse", "huber", "l1", "norm"]), ("background", &["random", "white", "black"])];

/// The words that a value can be, where it is one of a few.
pub fn words(key: &str) -> Option<&'static [&'static str]> {
    let last = key.rsplit('.').next().unwrap_or(key);
    WORDS.iter().find(|(name, _)| *name == last).map(|(_, words)| *words)
}

/// The preset's values of the shape of a field and of `verb`, `convert` or `train`. What the kind is, is chosen elsewhere.
pub fn tree(text: &str, verb: &str) -> Table {
    let mut whole: Table = text.parse().unwrap_or_default();
    whole.retain(|key, _| key == "field" || key == verb);
    if let Some(Value::Table(field)) = whole.get_mut("field") {
        field.remove("kind");
    }
    whole
}

/// A value as a line has it: words bare, all else as TOML writes it.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(word) if is_bare(word) => word.clone(),
        other => other.to_string(),
    }
}

/// Whether text is read as a string without quotes.
fn is_bare(word: &str) -> bool {
    let letters = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    letters && !["true", "false", "inf", "nan"].contains(&word)
}

/// What the text of a line means where the preset has `like`.
pub fn parsed(text: &str, like: &Value) -> Value {
    let value = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match (value, like) {
        (Some(Value::Integer(whole)), Value::Float(_)) => Value::Float(whole as f64),
        (Some(value), _) => value,
        (None, _) => Value::String(text.into()),
    }
}

/// The key of a line, if it has one.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') { None } else { line.split_once('=').map(|(key, _)| key.trim()) }
}

/// What the lines `set` say of `key`, the last of them.
pub fn said<'a>(set: &'a str, key: &str) -> Option<&'a str> {
    let line = set.lines().rfind(|line| key_of(line) == Some(key))?;
    line.split_once('=').map(|(_, value)| value.trim())
}

/// Says `value` of `key` in the lines `set`, or nothing any more. The other lines stay as they are.
pub fn say(set: &mut String, key: &str, value: Option<&str>) {
    let mut lines: Vec<String> = set.lines().map(str::to_string).collect();
    let at = lines.iter().rposition(|line| key_of(line) == Some(key));
    match (value.map(|value| format!("{key}={value}")), at) {
        (Some(line), Some(at)) => lines[at] = line,
        (Some(line), None) => lines.push(line),
        (None, _) => lines.retain(|line| key_of(line) != Some(key)),
    }
    *set = lines.join("\n");
}

/// How many lines of `set` are about `key` or a value below it.
pub fn count_below(set: &str, key: &str) -> usize {
    let below = |k: &str| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    set.lines().filter_map(key_of).filter(|k| *k == key || below(k)).count()
}

#[cfg(test)]
mod tests {
    use retort_distill::preset::Preset;
    use retort_fields::registry::Kind;

    use super::*;
    use crate::gui::recipe::Recipe;

    #[test]
    fn lines_are_said_once_and_taken_back() {
        let mut set = "# mine\nconvert.rays = 512\n\nconvert.views=2".to_string();
        assert_eq!((said(&set, "convert.rays"), said(&set, "convert.ray")), (Some("512"), None));
        say(&mut set, "convert.rays", Some("1024"));
        say(&mut set, "field.levels", Some("8"));
        assert_eq!(set, "# mine\nconvert.rays=1024\n\nconvert.views=2\nfield.levels=8");
        assert_eq!((count_below(&set, "convert"), count_below(&set, "convert.ray")), (2, 0));
        say(&mut set, "convert.rays", None);
        say(&mut set, "nothing", None);
        assert_eq!(set, "# mine\n\nconvert.views=2\nfield.levels=8");
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for (value, text) in [
            (Value::String("huber".into()), "huber"),
            (Value::String("true".into()), "\"true\""),
            (Value::String("a b".into()), "\"a b\""),
            (Value::Integer(3), "3"),
            (Value::Boolean(true), "true"),
        ] {
            assert_eq!((text_of(&value).as_str(), parsed(text, &value)), (text, value));
        }
        assert_eq!(parsed("2", &Value::Float(0.5)), Value::Float(2.0));
        let list = parsed("[[0.0, 1e-2], [1.0, 5e-4]]", &Value::Float(0.0));
        assert_eq!(parsed(&text_of(&list), &list), list);
    }

    fn leaves(table: &Table, key: &str, found: &mut Vec<(String, Value)>) {
        for (name, value) in table {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            match value {
                Value::Table(below) => leaves(below, &key, found),
                value => found.push((key, value.clone())),
            }
        }
    }

    /// Every value of every preset can be said as it is, and the preset is the same.
    #[test]
    fn every_value_of_every_preset_is_a_line() {
        for kind in Kind::ALL {
            let recipe = Recipe::new(*kind);
            let plain = Preset::load(&recipe.preset, *kind, &[]).expect("a preset");
            for verb in ["train", "convert"] {
                let mut found = Vec::new();
                leaves(&tree(recipe.preset_text().expect("it comes with the program"), verb), "", &mut found);
                assert!(found.len() > 15 && found.iter().all(|(key, _)| key != "field.kind"), "{kind}: {found:?}");
                let mut recipe = recipe.clone();
                for (key, value) in &found {
                    say(&mut recipe.set, key, Some(&text_of(value)));
                    assert_eq!(parsed(&text_of(value), value), *value, "{kind}: {key}");
                    if let (Some(words), Value::String(word)) = (words(key), value) {
                        assert!(words.contains(&word.as_str()), "{kind}: {key} is {word}");
                        for word in words {
                            let one = [(key.clone(), (*word).to_string())];
                            assert!(Preset::load(&recipe.preset, *kind, &one).is_ok(), "{kind}: {key} is {word}");
                        }
                    }
                }
                let set = recipe.parse().expect("lines").set;
                assert_eq!(set.len(), found.len());
                assert_eq!(Preset::load(&recipe.preset, *kind, &set).expect("the same"), plain, "{kind}");
            }
        }
    }
}
