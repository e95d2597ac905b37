//! Writes what the built-in prior is taught: described things and their pictures.
//! `cargo run --release --example prior_corpus -- FOLDER SEED COUNT [held-out]`, the last for the combinations that it
//! is not taught. See `assets/prior/README.md`.

use std::path::Path;

use anyhow::Context;
use retort_distill::prior::world::corpus::{Combinations, write};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (args, of) = match &args[..] {
        [args @ .., last] if last == "held-out" => (args, Combinations::HeldOut),
        args => (args, Combinations::Taught),
    };
    let [folder, seed, count] = args else { anyhow::bail!("name a folder, a seed and a count") };
    let (seed, count) =
        (seed.parse().context("the seed is a number")?, count.parse().context("the count is a number")?);
    std::fs::create_dir_all(folder).with_context(|| folder.clone())?;
    write(Path::new(folder), seed, of, count)?;
    println!("{folder}: {count} things of seed {seed}");
    Ok(())
}
