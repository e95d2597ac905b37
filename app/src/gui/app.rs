//! The window's side of the state: a frame is reading what happened, keys, panels and dialogs, in this order.

use std::collections::HashSet;
use std::path::PathBuf;

use eframe::egui::{self, Context, Event, Key, Panel, TextureHandle, Ui, ViewportCommand};
use glam::Vec3;
use retort_fields::error::Result;

use super::state::State;
use super::{panels, shortcuts};
use crate::interrupt;

/// How often the window looks at a job at work, seconds.
const LOOK: f32 = 0.1;
/// How often it looks whether Ctrl-C was pressed where it was started, seconds.
const LISTEN: f32 = 1.0;
/// The longest time that a step of flying stands for, seconds: after a pause, nobody wants to be elsewhere.
const LONGEST: f32 = 0.1;

/// The window.
pub struct App {
    /// What it shows.
    pub state: State,
    /// What of the toolkit's it keeps.
    pub shown: Shown,
}

/// What the panels keep between frames.
#[derive(Default)]
pub struct Shown {
    /// The pictures of the viewport on the graphics card.
    pub textures: Vec<TextureHandle>,
    /// The number of the picture that they are.
    pub number: u64,
    /// The viewport's width over its height.
    pub aspect: f32,
    /// Its place in the window, points.
    pub picture: Option<egui::Rect>,
    /// Keys that are held, by their place on the keyboard.
    held: HashSet<Key>,
    /// The preview of the mesh on the graphics card, with its number.
    pub mesh: Option<(u64, TextureHandle)>,
    /// What the model of a generation sees, and what was generated, on the graphics card.
    pub sights: panels::generate::Textures,
    /// A tool at work.
    pub drag: panels::hands::Drag,
}

impl App {
    /// The window with `files` open, or with the demo scene. `settings` is where the list of last files is.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(ctx: &Context, device: String, settings: Option<PathBuf>, files: &[PathBuf]) -> Result<Self> {
        let for_wake = ctx.clone();
        let mut state = State::new(device, settings, move || for_wake.request_repaint())?;
        if files.is_empty() {
            state.open_demo();
        }
        files.iter().for_each(|file| state.open(file));
        Ok(Self { state, shown: Shown { aspect: 1.5, ..Shown::default() } })
    }

    /// Draws a frame and takes its input.
    pub fn frame(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        self.state.poll();
        self.take_files(&ctx);
        if self.state.dialog.is_none() && self.state.troubles.is_empty() {
            for action in shortcuts::pressed(&ctx) {
                action.perform(&mut self.state, self.shown.aspect);
            }
            self.fly(&ctx);
        }
        if self.state.play(ctx.input(|input| input.stable_dt).min(LONGEST)) {
            ctx.request_repaint();
        }
        let Self { state, shown } = self;
        Panel::top("menu").show(ui, |ui| panels::menu::show(ui, state, shown));
        Panel::bottom("status").show(ui, |ui| panels::status::show(ui, state));
        if !state.jobs.rows().is_empty() {
            Panel::bottom("jobs").resizable(true).default_size(160.0).size_range(90.0..=420.0).show(ui, |ui| {
                panels::jobs::show(ui, state);
            });
        }
        if state.timeline.shown {
            Panel::bottom("timeline").show(ui, |ui| panels::timeline::show(ui, state));
        }
        Panel::left("scene").default_size(270.0).size_range(200.0..=480.0).show(ui, |ui| {
            panels::outliner::show(ui, state);
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                panels::tools::options(ui, state);
                panels::tools::selection(ui, state);
                panels::properties::show(ui, state);
            });
        });
        Panel::right("learn").default_size(290.0).size_range(220.0..=520.0).show(ui, |ui| {
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                panels::generate::show(ui, state, &mut shown.sights);
                panels::convert::show(ui, state);
                panels::train::show(ui, state);
                panels::mesh::show(ui, state, &mut shown.mesh);
            });
        });
        egui::CentralPanel::default().frame(egui::Frame::NONE).show(ui, |ui| {
            panels::viewport::show(ui, state, shown);
        });
        panels::dialogs::show(&ctx, state, shown.aspect);
        self.close(&ctx);
        if self.state.jobs.is_busy() || self.state.timeline.is_busy() || self.state.mesh.at_work().is_some() {
            ctx.request_repaint_after_secs(LOOK);
        }
    }

    /// Files that were dropped onto the window.
    fn take_files(&mut self, ctx: &Context) {
        let dropped: Vec<PathBuf> =
            ctx.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        dropped.iter().for_each(|file| self.state.open(file));
    }

    /// Keys that are held move the camera.
    fn fly(&mut self, ctx: &Context) {
        let (modifiers, seconds) = (ctx.input(|input| input.modifiers), ctx.input(|input| input.stable_dt));
        let held = &mut self.shown.held;
        ctx.input(|input| {
            for event in &input.events {
                if let Event::Key { key, physical_key, pressed, .. } = event {
                    let key = physical_key.unwrap_or(*key);
                    if *pressed {
                        held.insert(key)
                    } else {
                        held.remove(&key)
                    };
                }
            }
            if !input.focused {
                held.clear();
            }
        });
        if ctx.text_edit_focused() || modifiers.command || modifiers.ctrl {
            held.clear();
        }
        let axis = |plus: Key, minus: Key| f32::from(held.contains(&plus)) - f32::from(held.contains(&minus));
        let way = Vec3::new(axis(Key::D, Key::A), axis(Key::E, Key::Q), axis(Key::W, Key::S));
        if way != Vec3::ZERO {
            let speed = if modifiers.shift { 4.0 } else { 1.0 } * if modifiers.alt { 0.25 } else { 1.0 };
            self.state.timeline.playing = false;
            self.state.orbit.fly(way, speed, seconds.min(LONGEST));
            ctx.request_repaint();
        }
    }

    /// Closing, asked for by the window's frame, by the menu or by Ctrl-C.
    fn close(&mut self, ctx: &Context) {
        if interrupt::requested() {
            // Nobody was asked whether to save.
            self.state.recovery.leave();
            self.state.close = true;
        }
        if ctx.input(|input| input.viewport().close_requested()) && !self.state.close {
            self.state.request_close();
            if !self.state.close {
                ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            }
        } else if self.state.close {
            self.state.end_jobs();
            ctx.send_viewport_cmd(ViewportCommand::Close);
        }
        ctx.request_repaint_after_secs(LISTEN);
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }
}
