//! Writes the photos of the demo scene, from which `assets/demo.safetensors` is trained:
//! `cargo run --release --example demo_scene -- FOLDER`. See `assets/README.md`.

use std::path::Path;

use anyhow::Context;
use retort_fields::data::procedural::write_dataset;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("name the folder to write to")?;
    write_dataset(Path::new(&folder), 256, 120, 20, 1)?;
    println!("{folder}: 120 photos to train on and 20 to test on, 256 x 256");
    Ok(())
}
