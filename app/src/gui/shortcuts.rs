//! What menus and keys do, each once: the menu, the keyboard and the sheet of keys read the same list.

use eframe::egui::{Context, Key, KeyboardShortcut, Modifiers};

use super::select::{BRUSHES, Tool};
use super::state::{Dialog, Purpose, State};

/// How much larger the next larger brush is.
const BRUSH_STEP: f32 = 1.25;

/// What a menu entry or a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks for a file to open.
    Open,
    /// Saves the scene.
    Save,
    /// Saves the scene under another name.
    SaveAs,
    /// Saves the selected object's field.
    SaveField,
    /// Saves a picture of the view.
    Export,
    /// Closes the window.
    Quit,
    /// A step back.
    Undo,
    /// A step forth again.
    Redo,
    /// Erases the selected part, or takes the selected object away.
    Delete,
    /// Copies the selected object.
    Duplicate,
    /// Hides or shows the selected object.
    Toggle,
    /// Shows every object.
    ShowAll,
    /// Looks at the selected object.
    Frame,
    /// Looks at the whole scene.
    Reset,
    /// Goes around or flies.
    Steering,
    /// Takes a tool; the one that is taken already is put away.
    Take(Tool),
    /// A smaller brush.
    SmallerBrush,
    /// A larger brush.
    LargerBrush,
    /// Selects all of the object.
    SelectAll,
    /// Selects nothing.
    SelectNone,
    /// Selects what was not selected.
    Invert,
    /// Puts the tool away, then selects nothing.
    Leave,
    /// Shows or hides the ground's grid.
    Grid,
    /// The panel of the camera's way.
    Timeline,
    /// Adds a key to the camera's way.
    AddKey,
    /// Takes the chosen key away.
    RemoveKey,
    /// Moves the camera along its way, or stops it.
    Play,
    /// The sheet of keys.
    Keys,
}

const CTRL: Modifiers = Modifiers::COMMAND;
const SHIFT: Modifiers = Modifiers::SHIFT;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);
const NONE: Modifiers = Modifiers::NONE;

/// Every action with its name and its keys, in the order of the sheet. Of two that share a key, the one with more
/// modifiers comes first: egui leaves out modifiers that were not asked for.
pub const ALL: &[(Action, &str, &[KeyboardShortcut])] = &[
    (Action::Open, "Open…", &[KeyboardShortcut::new(CTRL, Key::O)]),
    (Action::SaveAs, "Save scene as…", &[KeyboardShortcut::new(CTRL_SHIFT, Key::S)]),
    (Action::Save, "Save scene", &[KeyboardShortcut::new(CTRL, Key::S)]),
    (Action::SaveField, "Save field as…", &[]),
    (Action::Export, "Export picture…", &[KeyboardShortcut::new(CTRL, Key::E)]),
    (Action::Quit, "Quit", &[KeyboardShortcut::new(CTRL, Key::Q)]),
    (Action::Redo, "Redo", &[KeyboardShortcut::new(CTRL_SHIFT, Key::Z), KeyboardShortcut::new(CTRL, Key::Y)]),
    (Action::Undo, "Undo", &[KeyboardShortcut::new(CTRL, Key::Z)]),
    (Action::Duplicate, "Duplicate", &[KeyboardShortcut::new(CTRL, Key::D)]),
    (Action::Delete, "Delete", &[KeyboardShortcut::new(NONE, Key::Delete)]),
    (Action::ShowAll, "Show all", &[KeyboardShortcut::new(SHIFT, Key::H)]),
    (Action::Toggle, "Hide or show", &[KeyboardShortcut::new(NONE, Key::H)]),
    (Action::Reset, "Look at everything", &[KeyboardShortcut::new(SHIFT, Key::F)]),
    (Action::Frame, "Look at the selection", &[KeyboardShortcut::new(NONE, Key::F)]),
    (Action::Steering, "Orbit or fly", &[KeyboardShortcut::new(NONE, Key::V)]),
    (Action::Leave, "Put the tool away", &[KeyboardShortcut::new(NONE, Key::Escape)]),
    (Action::Take(Tool::Rectangle), "Select in a rectangle", &[KeyboardShortcut::new(NONE, Key::R)]),
    (Action::Take(Tool::Lasso), "Select in an outline", &[KeyboardShortcut::new(NONE, Key::L)]),
    (Action::Take(Tool::Brush), "Select with a brush", &[KeyboardShortcut::new(NONE, Key::B)]),
    (Action::Take(Tool::Sphere), "Select a ball", &[KeyboardShortcut::new(NONE, Key::O)]),
    (Action::Take(Tool::Box), "Select a cube", &[KeyboardShortcut::new(NONE, Key::X)]),
    (Action::SmallerBrush, "Smaller brush", &[KeyboardShortcut::new(NONE, Key::OpenBracket)]),
    (Action::LargerBrush, "Larger brush", &[KeyboardShortcut::new(NONE, Key::CloseBracket)]),
    (Action::SelectNone, "Select nothing", &[KeyboardShortcut::new(CTRL_SHIFT, Key::A)]),
    (Action::SelectAll, "Select all of the object", &[KeyboardShortcut::new(CTRL, Key::A)]),
    (Action::Invert, "Invert the selection", &[KeyboardShortcut::new(CTRL, Key::I)]),
    (Action::Take(Tool::Move), "Move the object", &[KeyboardShortcut::new(NONE, Key::Num1)]),
    (Action::Take(Tool::Turn), "Turn the object", &[KeyboardShortcut::new(NONE, Key::Num2)]),
    (Action::Take(Tool::Scale), "Scale the object", &[KeyboardShortcut::new(NONE, Key::Num3)]),
    (Action::Take(Tool::Measure), "Measure", &[KeyboardShortcut::new(NONE, Key::M)]),
    (Action::Grid, "Grid", &[KeyboardShortcut::new(NONE, Key::G)]),
    (Action::Timeline, "Timeline", &[KeyboardShortcut::new(NONE, Key::T)]),
    (Action::AddKey, "Add a camera key", &[KeyboardShortcut::new(NONE, Key::Enter)]),
    (Action::RemoveKey, "Remove the camera key", &[KeyboardShortcut::new(NONE, Key::Backspace)]),
    (Action::Play, "Play or pause the camera's way", &[KeyboardShortcut::new(NONE, Key::Space)]),
    (
        Action::Keys,
        "Keys and buttons",
        &[
            KeyboardShortcut::new(NONE, Key::Questionmark),
            KeyboardShortcut::new(SHIFT, Key::Slash),
            KeyboardShortcut::new(NONE, Key::F1),
        ],
    ),
];

impl Action {
    /// Its name in menus.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(action, ..)| *action == self).map_or("", |(_, name, _)| name)
    }

    /// Its first keys, as menus show them.
    pub fn keys(self, ctx: &Context) -> String {
        let found = ALL.iter().find(|(action, ..)| *action == self).and_then(|(.., keys)| keys.first());
        found.map_or_else(String::new, |keys| ctx.format_shortcut(keys))
    }

    /// Whether it can do something now.
    pub fn is_possible(self, state: &State) -> bool {
        let free = state.selection().is_some_and(|(item, _)| !item.locked);
        match self {
            Self::Undo => state.history.undo_label().is_some(),
            Self::Redo => state.history.redo_label().is_some(),
            Self::Duplicate | Self::Toggle | Self::Frame | Self::SaveField => state.selection().is_some(),
            Self::Delete | Self::SelectAll | Self::Invert => free,
            Self::SelectNone => state.document().part().is_some(),
            Self::Save | Self::SaveAs | Self::Export => !state.document().is_empty(),
            Self::RemoveKey => state.chosen_key().is_some(),
            Self::Play => !state.document().path().is_empty(),
            _ => true,
        }
    }

    /// Does it. `aspect` is the viewport's width over its height.
    pub fn perform(self, state: &mut State, aspect: f32) {
        if !self.is_possible(state) {
            return;
        }
        match self {
            Self::Open => state.ask_name(Purpose::Open),
            Self::Save => state.save(),
            Self::SaveAs => state.ask_name(Purpose::SaveScene(None)),
            Self::SaveField => {
                if let Some(id) = state.selected {
                    state.ask_name(Purpose::SaveField(id));
                }
            }
            Self::Export => state.ask_picture(aspect),
            Self::Quit => state.request_close(),
            Self::Undo => state.undo(),
            Self::Redo => state.redo(),
            Self::Delete if state.part().is_some() => state.erase_part(),
            Self::Delete => state.remove_selected(),
            Self::Duplicate => state.duplicate_selected(),
            Self::Toggle => state.toggle_selected(),
            Self::ShowAll => state.show_all(),
            Self::Frame => state.frame_selected(),
            Self::Reset => state.reset_view(),
            Self::Steering => state.toggle_steering(),
            Self::Take(tool) => state.take(if state.tool == tool { Tool::Look } else { tool }),
            Self::SmallerBrush => state.brush = (state.brush / BRUSH_STEP).clamp(BRUSHES[0], BRUSHES[1]),
            Self::LargerBrush => state.brush = (state.brush * BRUSH_STEP).clamp(BRUSHES[0], BRUSHES[1]),
            Self::SelectAll => state.select_all(),
            Self::SelectNone => state.select_none(),
            Self::Invert => state.invert_part(),
            Self::Leave if state.tool == Tool::Look => state.select_none(),
            Self::Leave => state.take(Tool::Look),
            Self::Grid => state.overlays.grid = !state.overlays.grid,
            Self::Timeline => state.timeline.shown = !state.timeline.shown,
            Self::AddKey => state.add_key(),
            Self::RemoveKey => state.remove_key(),
            Self::Play => state.play_or_pause(),
            Self::Keys => state.dialog = Some(Dialog::Keys),
        }
    }
}

/// The actions whose keys were pressed. None while somebody types.
pub fn pressed(ctx: &Context) -> Vec<Action> {
    if ctx.text_edit_focused() {
        return Vec::new();
    }
    let hit = |keys: &&[KeyboardShortcut]| keys.iter().any(|key| ctx.input_mut(|input| input.consume_shortcut(key)));
    // A button that the keyboard has chosen is pressed by these.
    let free = ctx.memory(|memory| memory.focused().is_none());
    let taken = |action: Action| !free && matches!(action, Action::AddKey | Action::RemoveKey | Action::Play);
    ALL.iter().filter(|(action, _, keys)| !taken(*action) && hit(keys)).map(|(action, ..)| *action).collect()
}
