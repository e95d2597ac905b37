//! Meshes of what is visible: the panel's values, the preview of a level, and the export, which are made on threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use retort_fields::compose::Subject;
use retort_fields::error::{Error, Result};
use retort_fields::mesh::export::{self, Options, Paint, Stage};
use retort_fields::mesh::grid::Grid;
use retort_fields::mesh::raster::{RasterOptions, draw};
use retort_fields::mesh::surface::surface;
use retort_shaders::Camera;

use super::background::Message;
use super::export::Export;
use super::name_of;
use super::state::State;
use crate::commands::made_by;
use crate::commands::mesh::lines;
use crate::commands::work::quoted;

/// Grid points along the longest edge of a preview.
const COARSE: u32 = 96;
/// The colour of a mesh that is not painted yet.
const CLAY: [f32; 3] = [0.72, 0.70, 0.66];

/// What the panel has.
#[derive(Default)]
pub struct MeshForm {
    /// How the mesh is made; no level means the one that fits best.
    pub options: Options,
    /// Whether lights shine on it.
    pub lit: bool,
    /// Whether the preview is shown.
    pub shown: bool,
    /// The last preview.
    pub preview: Option<Preview>,
    /// Densities of what was visible, with its number.
    grid: Option<(u64, Arc<Grid>)>,
    /// What the preview that is being made is of.
    asked: Option<Key>,
    /// What none could be made of.
    failed: Option<Key>,
    export: Export,
}

/// What a preview is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// What is visible.
    number: u64,
    /// The level.
    pub level: f32,
    camera: Camera,
}

/// A preview.
pub struct Preview {
    /// What it is of.
    pub key: Key,
    /// Its number; another one is another picture.
    pub number: u64,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Its pixels, RGBA.
    pub rgba: Vec<u8>,
    /// Triangles of the coarse surface.
    pub triangles: usize,
    /// The densities that it was made of.
    grid: Arc<Grid>,
}

impl MeshForm {
    /// What an export that is at work does, and which part of all that is; nothing where there is none.
    pub fn at_work(&self) -> Option<(&'static str, f32)> {
        let (stage, all) = self.export.at_work()?;
        let name = Stage::ALL.get(stage as usize).map_or("", |stage| stage.name());
        Some((name, stage as f32 / all as f32))
    }

    /// Ends an export after the part that it is at.
    pub fn cancel(&self) {
        self.export.cancel();
    }

    /// The level that the preview shows before one is chosen: where a coarse cell stops 40 % of the light.
    pub fn suggested(&self) -> f32 {
        let cell = self.grid.as_ref().map_or(0.02, |(_, grid)| grid.spacing().max_element());
        -(0.6_f32.ln()) / cell
    }
}

impl State {
    /// Sees to it that the preview is of what is visible, as it is seen and at the chosen level. Call it once a frame.
    pub fn follow_preview(&mut self) {
        if !self.mesh.shown || self.document().is_empty() || self.mesh.asked.is_some() {
            return;
        }
        let number = self.shown_key();
        let level = self.mesh.options.level.unwrap_or_else(|| self.mesh.suggested());
        let key = Key { number, level, camera: self.orbit.camera(320, 240) };
        let failed = self.mesh.failed.as_ref() == Some(&key);
        if failed || self.mesh.preview.as_ref().is_some_and(|preview| preview.key == key) {
            return;
        }
        let known = self.mesh.grid.as_ref().filter(|(of, _)| *of == number).map(|(_, grid)| Arc::clone(grid));
        let objects = self.visible();
        self.mesh.asked = Some(key.clone());
        self.background.start_unseen(move || {
            let grid = known.map_or_else(|| Ok(Arc::new(export::densities(&*Subject::of(objects)?, COARSE)?)), Ok);
            Ok(Message::MeshPreview(Box::new(grid.and_then(|grid| preview(key, grid)))))
        });
    }

    pub(super) fn previewed(&mut self, preview: Result<Preview>) {
        let asked = self.mesh.asked.take();
        let mut preview = match preview {
            Ok(preview) => preview,
            Err(error) => {
                self.mesh.failed = asked;
                self.news = format!("no preview of the mesh: {error}");
                return;
            }
        };
        self.mesh.grid = Some((preview.key.number, Arc::clone(&preview.grid)));
        preview.number = self.mesh.preview.as_ref().map_or(0, |old| old.number) + 1;
        self.mesh.preview = Some(preview);
    }

    /// Makes a mesh of all that is visible and writes it.
    ///
    /// # Errors
    /// When nothing is visible, another export is at work, or the name means another format.
    pub(super) fn export_mesh(&mut self, path: &Path) -> Result<()> {
        let objects = self.visible();
        if objects.is_empty() {
            return Err(Error::new("nothing is visible").remedy("show an object first"));
        }
        if self.mesh.at_work().is_some() {
            return Err(Error::new("another mesh is being made").remedy("wait for it, or cancel it"));
        }
        let path = if path.extension().is_none() { path.with_extension("glb") } else { path.to_path_buf() };
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("glb")) {
            return Err(Error::new("meshes are written as .glb").file(path).remedy("let the name end in .glb"));
        }
        let work = self.mesh.export.begin(Stage::ALL.len() as u32);
        let (options, unlit, over) = (self.mesh.options.clone(), !self.mesh.lit, self.backdrop.colour());
        let title = format!("making {}", name_of(&path));
        self.background.start(&title.clone(), move || {
            let mut tell = |stage: Stage| work.tell(stage.index() as u32);
            let Some(made) = export::made(&*Subject::of(objects)?, &options, over, &mut tell)? else {
                return Ok(Message::CalledOff(title));
            };
            export::write(&made.mesh, unlit, &made_by(), &path)?;
            Ok(Message::Meshed(path, lines(&made)))
        });
        Ok(())
    }

    /// The command line that makes the same mesh. What is not saved yet is named as it would be.
    pub fn mesh_line(&self) -> String {
        let scene = self.scene_path.clone().unwrap_or_else(|| PathBuf::from("scene.toml"));
        let (default, options) = (Options::default(), &self.mesh.options);
        let mut line = format!("retort mesh {}", quoted(&scene.display().to_string()));
        let mut add = |differs: bool, flag: String| {
            if differs {
                line.push(' ');
                line.push_str(&flag);
            }
        };
        add(options.method != default.method, format!("--method {}", options.method.name()));
        add(options.level.is_some(), format!("--level {}", options.level.unwrap_or_default()));
        add(options.resolution != default.resolution, format!("--resolution {}", options.resolution));
        add(options.faces != default.faces, format!("--faces {}", options.faces));
        match options.paint {
            Paint::Texture(side) => add(options.paint != default.paint, format!("--texture {side}")),
            Paint::Vertices => add(true, "--vertex-colors".into()),
        }
        add(options.keep != default.keep, format!("--keep {}", options.keep));
        add(self.mesh.lit, "--lit".into());
        line
    }
}

/// Draws the surface in clay, lit from the camera.
fn preview(key: Key, grid: Arc<Grid>) -> Result<Preview> {
    let mut mesh = surface(&grid, key.level)?;
    mesh.colours = vec![CLAY; mesh.positions.len()];
    let options = RasterOptions { supersample: true, headlight: true, ..RasterOptions::default() };
    let pixels = draw(&mesh, &key.camera, &options)?.pixels;
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let straight = |p: &[f32]| {
        let alpha = p[3].max(1e-6);
        [byte(p[0] / alpha), byte(p[1] / alpha), byte(p[2] / alpha), byte(p[3])]
    };
    Ok(Preview {
        number: 0,
        size: [key.camera.width as usize, key.camera.height as usize],
        rgba: pixels.chunks_exact(5).flat_map(straight).collect(),
        triangles: mesh.triangles.len(),
        key,
        grid,
    })
}
