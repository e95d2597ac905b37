//! The verbs, a file each, and what several of them do.

mod bench;
mod convert;
mod demo;
mod eval;
mod info;
mod measure;
mod open;
mod presets;
mod render;
mod train;
mod work;

use retort_fields::error::Error;

use crate::cli::{Bench, Cli, Command, Demo};
use crate::report::Report;

/// The preset where none is named.
const PRESET: &str = "fast";
/// The background where nothing says otherwise, sRGB.
const WHITE: [f32; 3] = [1.0; 3];

/// Why a command ends before it is done.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong: exit status 1.
    Failed(Error),
    /// Somebody asked for it; the error says where things stand and how to go on: exit status 130.
    Interrupted(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// An interrupt that leaves nothing to go on from.
    fn interrupted() -> Self {
        Self::Interrupted(Error::new("interrupted"))
    }
}

/// Runs what the command line says.
///
/// # Errors
/// When the command fails or is interrupted.
pub fn run(cli: &Cli, report: &mut Report) -> Result<(), Stop> {
    let common = &cli.common;
    match &cli.command {
        None => {
            report.note("this version has no window yet: running `retort demo`");
            demo::run(&Demo::default(), common, report)
        }
        Some(Command::Train(args)) => train::run(args, common, report),
        Some(Command::Convert(args)) => convert::run(args, common, report),
        Some(Command::Render(args)) => render::run(args, common, report),
        Some(Command::Eval(args)) => eval::run(args, common, report),
        Some(Command::Info(args)) => Ok(info::run(args, report)?),
        Some(Command::Demo(args)) => demo::run(args, common, report),
        Some(Command::Bench(Bench::Pairs(args))) => bench::run(args, common, report),
        Some(Command::Presets(args)) => Ok(presets::run(args, report)?),
    }
}

/// What wrote a file, for its provenance.
fn made_by() -> String {
    format!("retort {}", env!("CARGO_PKG_VERSION"))
}

/// The last part of a path, for sentences.
fn name_of(path: &std::path::Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
