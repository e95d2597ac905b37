//! The verbs, a file each, and what several of them do.

mod bench;
mod convert;
pub mod demo;
pub mod edit;
mod eval;
pub mod generate;
mod info;
pub mod measure;
pub mod mesh;
mod open;
mod presets;
mod prompts;
mod render;
mod rewrite;
mod train;
pub mod work;

use retort_fields::error::Error;

use crate::cli::{Bench, Cli, Command, Common, Demo};
use crate::gui;
use crate::report::{self, Report};

/// The preset where none is named.
pub const PRESET: &str = "fast";
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
        None => window_or_demo(common, report),
        Some(Command::Gui(args)) => Ok(gui::start(&args.files, common)?),
        Some(Command::Train(args)) => train::run(args, common, report),
        Some(Command::Convert(args)) => convert::run(args, common, report),
        Some(Command::Generate(args)) => generate::run(args, common, report),
        Some(Command::Edit(args)) => edit::run(args, common, report),
        Some(Command::Mesh(args)) => mesh::run(args, common, report),
        Some(Command::Render(args)) => render::run(args, common, report),
        Some(Command::Eval(args)) => eval::run(args, common, report),
        Some(Command::Info(args)) => Ok(info::run(args, report)?),
        Some(Command::Demo(args)) => demo::run(args, common, report),
        Some(Command::Bench(Bench::Pairs(args))) => bench::run(args, common, report),
        Some(Command::Bench(Bench::Prompts(args))) => prompts::run(args, common, report),
        Some(Command::Presets(args)) => Ok(presets::run(args, report)?),
    }
}

/// The window; where none can be opened, the demo on the command line.
fn window_or_demo(common: &Common, report: &mut Report) -> Result<(), Stop> {
    let why = if gui::has_display() {
        match gui::start(&[], common) {
            Ok(()) => return Ok(()),
            Err(error) => report::one_line(&error.to_string()),
        }
    } else {
        "there is no display for the window".into()
    };
    report.note(&format!("{why}: running `retort demo`"));
    demo::run(&Demo::default(), common, report)
}

/// What wrote a file, for its provenance.
pub fn made_by() -> String {
    format!("retort {}", env!("CARGO_PKG_VERSION"))
}

/// The last part of a path, for sentences.
fn name_of(path: &std::path::Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
