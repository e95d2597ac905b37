//! The line at the bottom: what is selected, what is being done, memory and device.

use eframe::egui::{Align, Layout, Ui};

use crate::gui::state::State;
use crate::report::size;

/// Shows it.
pub fn show(ui: &mut Ui, state: &State) {
    ui.horizontal(|ui| {
        if let Some((item, asset)) = state.selection() {
            ui.label(format!("{}: {}", item.name, asset.label()));
            ui.separator();
        }
        let n = state.document().len();
        ui.label(if n == 1 { "1 object".into() } else { format!("{n} objects") });
        if let Some(busy) = state.background.busy().next() {
            ui.separator();
            ui.spinner();
            ui.label(busy);
        } else if !state.news.is_empty() {
            ui.separator();
            ui.label(&state.news);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let device = if state.device == "auto" { "cpu" } else { &state.device };
            ui.label(if device == "cpu" { format!("cpu, {cores} threads") } else { device.into() });
            if let Some(bytes) = memory() {
                ui.separator();
                ui.label(size(bytes));
            }
            if let Some(drawn) = state.pictures.newest()
                && let Ok(images) = &drawn.images
                && let Some(image) = images.first()
            {
                ui.separator();
                let part = if drawn.whole { String::new() } else { format!(" of {}", drawn.view.camera.width) };
                ui.label(format!("{} x {}{part}, {:.0} ms", image.width, image.height, 1e3 * drawn.seconds));
            }
        });
    });
}

/// The memory that the process has in RAM, bytes; `None` where the system does not say.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
