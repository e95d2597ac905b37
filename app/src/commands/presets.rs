//! `retort presets`: names and contents.

use retort_distill::generate::system;
use retort_distill::preset;
use retort_fields::error::{Error, Result};
use serde_json::json;

use crate::cli;
use crate::report::Report;

/// Runs the verb.
///
/// # Errors
/// When there is no preset of the name that was asked for.
pub fn run(args: &cli::Presets, report: &Report) -> Result<()> {
    // A preset is called by its kind and its name: "hash fast". Either picks, or both.
    let wanted = |name: &str| args.name.as_deref().is_none_or(|w| w == name || name.split(' ').any(|part| part == w));
    let systems = system::names().into_iter().map(|(name, text)| (format!("generate {name}"), text));
    let all: Vec<_> = preset::names().into_iter().chain(systems).collect();
    let chosen: Vec<_> = all.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("there is no preset \"{}\"", args.name.as_deref().unwrap_or_default());
        return Err(Error::new(what).remedy(format!("there are: {}", names.join(", "))));
    }
    for (name, text) in chosen {
        let shown = if report.is_quiet() { name.clone() } else { format!("# {name}\n{}\n", text.trim_end()) };
        report.answer(&json!({"name": name, "toml": text}), &shown);
    }
    Ok(())
}
