//! The list of objects: select, hide, lock.

use eframe::egui::{ScrollArea, Ui};

use super::heading;
use crate::gui::state::State;

/// Shows it.
pub fn show(ui: &mut Ui, state: &mut State) {
    heading(ui, "Scene");
    if state.document().is_empty() {
        let opening = state.background.busy().next().is_some();
        ui.weak(if opening { "Opening…" } else { "Drop a field, a scene or a folder of photos here." });
    }
    ScrollArea::vertical().id_salt("objects").max_height(0.3 * ui.available_height()).auto_shrink([false, true]).show(
        ui,
        |ui| {
            let items: Vec<_> = state.document().items().cloned().collect();
            for item in items {
                ui.push_id(item.id, |ui| {
                    ui.horizontal(|ui| {
                        let (mut visible, mut locked) = (item.visible, item.locked);
                        ui.checkbox(&mut visible, "").on_hover_text(format!("{} is visible", item.name));
                        let label = state.assets.get(item.asset).map_or("", |asset| asset.field.kind().name());
                        let chosen = state.selected == Some(item.id);
                        if ui.selectable_label(chosen, &item.name).on_hover_text(label).clicked() {
                            state.selected = Some(item.id);
                        }
                        ui.weak(label);
                        let word = if locked { "locked" } else { "lock" };
                        ui.toggle_value(&mut locked, word)
                            .on_hover_text(format!("Protects {} from changes", item.name));
                        if (visible, locked) != (item.visible, item.locked) {
                            let label = match (visible != item.visible, visible, locked) {
                                (true, true, _) => "Show",
                                (true, false, _) => "Hide",
                                (false, _, true) => "Lock",
                                _ => "Unlock",
                            };
                            state.change(label, None, |document| {
                                if let Some(item) = document.get_mut(item.id) {
                                    (item.visible, item.locked) = (visible, locked);
                                }
                            });
                        }
                    });
                });
            }
        },
    );
}
