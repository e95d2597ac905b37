//! What is drawn over the picture: the ground's grid, the axes, the cameras of photos, the outlines of edits, and the
//! small cross in the corner. A file each; [`canvas`] draws their lines.

mod cameras;
mod canvas;
mod compass;
mod edits;
mod grid;

use eframe::egui::{Rect, Ui};
use retort_render::orbit::Orbit;

use crate::gui::pictures::Drawn;
use crate::gui::state::State;
use canvas::Canvas;

/// What of it is shown.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlays {
    /// The ground's grid.
    pub grid: bool,
    /// The axes and the cross in the corner.
    pub axes: bool,
    /// The cameras that the selected field was trained from.
    pub cameras: bool,
    /// The outlines of the selected object's edits.
    pub outlines: bool,
}

impl Default for Overlays {
    fn default() -> Self {
        Self { grid: true, axes: true, cameras: false, outlines: true }
    }
}

/// Draws over the picture `drawn` in `rect`.
pub fn show(ui: &Ui, rect: Rect, state: &mut State, drawn: &Drawn) {
    let painter = ui.painter_at(rect);
    let (canvas, overlays) = (Canvas::new(&painter, rect, drawn), state.overlays);
    if overlays.grid {
        grid::draw(&canvas, &state.orbit);
    }
    if overlays.axes {
        grid::axes(&canvas, &state.orbit);
    }
    let mut through = None;
    if let Some((item, asset)) = state.selection().filter(|(item, _)| item.visible && !drawn.view.live) {
        if overlays.cameras {
            let scene = asset.field.scene();
            let target = item.transform().point(scene.bounds.centre());
            through = cameras::show(ui, &canvas, scene, &item.transform()).map(|camera| (camera, target));
        }
        if overlays.outlines {
            let size = rect.size();
            let camera = state.orbit.camera(size.x.max(1.0) as u32, size.y.max(1.0) as u32);
            edits::draw(&painter, rect, &camera, item);
        }
    }
    if let Some((camera, target)) = through {
        state.orbit = Orbit { mode: state.orbit.mode, ..Orbit::looking(&camera, target) };
    }
    if overlays.axes
        && let Some(back) = compass::show(ui, rect, &canvas.camera)
    {
        state.orbit.look_from(back);
    }
}
