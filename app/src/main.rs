//! Retort, on the command line and in a window. This room only wires: what the verbs do lives in `retort-fields` and `retort-distill`.

mod cli;
mod commands;
mod film;
mod gui;
mod heatmap;
mod interrupt;
mod memory;
mod output;
mod pictures;
mod report;
mod views;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use retort_fields::error::Error;

use crate::cli::{Cli, Common};
use crate::commands::Stop;
use crate::report::Report;

fn main() -> ExitCode {
    memory::keep_large_buffers();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    quieten_panics(&cli.common);
    interrupt::listen(cli.common.json || cli.common.quiet);
    let mut report = Report::new(&cli.common);
    let run = catch_unwind(AssertUnwindSafe(|| commands::run(&cli, &mut report)));
    match run.unwrap_or_else(|panic| Err(Stop::Failed(retort_distill::job::panicked(&*panic)))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Failed(error)) => {
            report.error(&error);
            ExitCode::FAILURE
        }
        Err(Stop::Interrupted(at)) => {
            report.interrupted(&at);
            ExitCode::from(interrupt::STATUS)
        }
    }
}

/// A panic becomes one line like any error; its place and backtrace are for those who ask.
fn quieten_panics(common: &Common) {
    if common.verbose == 0 && std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
}

/// Help and version, or what is wrong with the line (exit status 2). A script that asked for JSON gets an object.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let wrong = error.use_stderr();
    if wrong && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let error = Error::new(report::one_line(what)).remedy("`retort --help` shows what there is");
        report::write_error(&error);
    } else {
        // Nobody is left to tell if even this cannot be written.
        let _ = error.print();
    }
    ExitCode::from(if wrong { 2 } else { 0 })
}
