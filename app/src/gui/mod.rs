//! The window: what is open as the viewport shows it, converted, trained and edited before one's eyes.
//!
//! [`state::State`] is everything without the toolkit; [`app::App`] draws it, a file a panel, and hands input to it.
//! Nothing that takes time happens on the window's thread: [`pictures`], [`jobs`] and [`background`] have their own.

mod app;
mod assets;
mod background;
mod document;
mod export;
mod files;
mod jobs;
mod learn;
mod measure;
mod meshing;
mod panels;
mod pictures;
mod recent;
mod recipe;
mod recovery;
mod select;
mod shortcuts;
mod state;
#[cfg(test)]
mod tests;
mod timeline;
mod values;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use eframe::egui;
use retort_fields::error::{Error, Result};

use crate::cli::Common;
use app::App;

/// The window's size in points where nothing else is known: it fits a laptop.
const SIZE: [f32; 2] = [1280.0, 800.0];

/// Whether a window can be expected to open here.
pub fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Opens the window with `files`, or with the demo scene, and waits until it is closed.
///
/// # Errors
/// When no window can be opened: no display, or no graphics driver.
pub fn start(files: &[PathBuf], common: &Common) -> Result<()> {
    const HELP: &str = "check the display and its driver, or use the command line";
    if !has_display() {
        return Err(Error::new("no window can be opened: there is no display").remedy(HELP));
    }
    let viewport = egui::ViewportBuilder::default()
        .with_title("Retort")
        .with_app_id("retort")
        .with_inner_size(SIZE)
        .with_min_inner_size([640.0, 420.0])
        .with_drag_and_drop(true);
    let options = eframe::NativeOptions { viewport, ..eframe::NativeOptions::default() };
    let (files, device) = (files.to_vec(), common.device.clone());
    let create: eframe::AppCreator<'_> =
        Box::new(move |cc| Ok(Box::new(App::new(&cc.egui_ctx, device, recent::folder(), &files)?)));
    // Drivers and display servers fail in ways that the toolkit does not always turn into errors.
    let run = catch_unwind(AssertUnwindSafe(|| eframe::run_native("retort", options, create)));
    let why = match run {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => retort_distill::job::panicked(&*panic).what,
    };
    Err(Error::new(format!("no window can be opened: {}", cause(&crate::report::one_line(&why)))).remedy(HELP))
}

/// What is left of the toolkit's message without the place in its source, which helps nobody.
fn cause(text: &str) -> &str {
    let after = text.rsplit_once(".rs:").map(|(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    after.map_or(text, |rest| rest.trim_start_matches(':').trim_start())
}

/// The last part of a path, for sentences.
fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
