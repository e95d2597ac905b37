//! The pictures of the viewport, drawn on a thread of their own so that the window never waits.
//!
//! The window says what it wants to see ([`View`]); the latest wish wins. A picture is drawn first as small as a few
//! hundredths of a second allow, then at twice the size again and again until it is whole or something else is wanted.
//! Another source of pictures needs only to take a [`View`] and give a [`Drawn`].

mod cells;
mod normals;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use glam::{Vec2, Vec3};
use retort_distill::job::panicked;
use retort_fields::compose::{Object, Subject};
use retort_fields::error::Error;
use retort_fields::field::{RenderOptions, Scene, values};
use retort_fields::parts::occupancy::Occupancy;
use retort_render::{Gpu, TextureFormat, Viewport};
use retort_shaders::Camera;

/// How long the first picture of a view may take, seconds; about, because the scene decides.
const FIRST: f32 = 0.05;
/// The same for a student of which there is another picture of the same view already: better later than coarser.
const PATIENT: f32 = 0.5;
/// The longest that a picture of a student may take, seconds; about.
const LIVE: f32 = 2.0;
/// How long a person who moves on waits for a band of a larger picture, seconds.
const BAND: f32 = 0.1;
/// Pixels a second before anything was measured.
const GUESS: f32 = 1.5e5;
/// The longest side of the smallest picture, pixels.
const LEAST: u32 = 64;
/// As much as a program's first thread has.
const STACK_BYTES: usize = 8 << 20;
/// How much differences are exaggerated.
const CONTRAST: f32 = 4.0;
/// What is at least this opaque has a depth to show.
const SOLID: f32 = 0.5;

/// What of a scene is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What an eye sees.
    #[default]
    Colour,
    /// Near is bright.
    Depth,
    /// Opaque is white.
    Opacity,
    /// Which way surfaces face: x is red, y green, z blue.
    Normals,
    /// The cells in which there is anything.
    Occupancy,
}

impl Mode {
    /// All of them, in the order of menus.
    pub const ALL: [Self; 5] = [Self::Colour, Self::Depth, Self::Opacity, Self::Normals, Self::Occupancy];

    /// Its name in menus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Colour => "Colour",
            Self::Depth => "Depth",
            Self::Opacity => "Opacity",
            Self::Normals => "Normals",
            Self::Occupancy => "Occupancy",
        }
    }
}

/// A scene to be drawn.
#[derive(Clone, Debug)]
pub struct Source {
    /// Another number where the objects are others.
    pub key: u64,
    /// Visible objects.
    pub objects: Vec<Object>,
}

/// What the window wants to see.
#[derive(Clone, Debug)]
pub struct View {
    /// One scene, or two from the same place.
    pub scenes: Vec<Source>,
    /// From where, and how large when it is whole.
    pub camera: Camera,
    /// What of it.
    pub mode: Mode,
    /// The colour behind it, sRGB.
    pub background: [f32; 3],
    /// Whether the scene changes by itself all the time, as a student does that is being taught.
    pub live: bool,
}

impl View {
    /// Whether it is the same place seen in the same way, whatever is there.
    fn is_as(&self, other: &Self) -> bool {
        (&self.camera, self.mode, self.background) == (&other.camera, other.mode, other.background)
    }
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        let keys = |view: &Self| view.scenes.iter().map(|s| s.key).collect::<Vec<_>>();
        keys(self) == keys(other) && self.is_as(other)
    }
}

/// A picture of one scene.
#[derive(Clone, Debug)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[h * w * 4]`, row-major from the top, opaque.
    pub rgba: Vec<u8>,
    /// `[h * w]`: distance in scene units, infinite where there is nothing to hit.
    depth: Vec<f32>,
    /// Whether distances are along the view axis, not along the ray.
    along_axis: bool,
}

/// Pictures of a view.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Rises with every picture.
    pub number: u64,
    /// What was wanted.
    pub view: View,
    /// One for each scene of the view, and for two a third of their difference; or what went wrong.
    pub images: Result<Vec<Image>, Problem>,
    /// The frame of the first scene.
    pub scene: Option<Scene>,
    /// Whether it is as large as it was wanted.
    pub whole: bool,
    /// How long the drawing took, seconds.
    pub seconds: f32,
}

/// Why a view cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What helps.
    pub remedy: String,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { what: error.what, remedy: error.remedy }
    }
}

impl Drawn {
    /// The point of scene `which` that is seen at `place`, from `(0, 0)` at the top left to `(1, 1)`.
    pub fn point(&self, which: usize, place: Vec2) -> Option<Vec3> {
        let image = self.images.as_ref().ok()?.get(which)?;
        let (width, height) = (image.width as f32, image.height as f32);
        let at = (place * Vec2::new(width, height)).clamp(Vec2::ZERO, Vec2::new(width - 1.0, height - 1.0));
        let depth = *image.depth.get(at.y as usize * image.width + at.x as usize)?;
        let camera = self.view.camera.resized(image.width as u32, image.height as u32);
        let ray = camera.ray(at.floor() + Vec2::splat(0.5));
        let along = if image.along_axis { depth / ray.direction.dot(camera.forward()).max(1e-3) } else { depth };
        along.is_finite().then(|| ray.at(along))
    }
}

/// The thread that draws.
pub struct Pictures {
    shared: Arc<Shared>,
}

struct Shared {
    wishes: Mutex<Wishes>,
    changed: Condvar,
    newest: Mutex<Option<Arc<Drawn>>>,
    /// Tells the window that there is something new.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Wishes {
    wanted: Option<View>,
    /// Counts wishes.
    number: u64,
    quit: bool,
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a wish other than number `done`; none when it is over.
    fn next(&self, done: u64) -> Option<(u64, View)> {
        let mut wishes = self.wishes();
        loop {
            if wishes.quit {
                return None;
            }
            match &wishes.wanted {
                Some(view) if wishes.number != done => return Some((wishes.number, view.clone())),
                _ => wishes = self.changed.wait(wishes).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Whether something else than `view` is wanted. A live scene is always another; only who moves is not kept waiting.
    fn is_stale(&self, number: u64, view: &View) -> bool {
        let wishes = self.wishes();
        let moved = || wishes.wanted.as_ref().is_none_or(|wanted| !(view.live && wanted.is_as(view)));
        wishes.quit || wishes.number != number && moved()
    }

    /// Whether there is a newer wish of whatever sort.
    fn is_old(&self, number: u64) -> bool {
        self.wishes().number != number
    }

    /// The view of the newest picture.
    fn last_view(&self) -> Option<View> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().filter(|drawn| drawn.images.is_ok()).map(|drawn| drawn.view.clone())
    }
}

impl Pictures {
    /// Starts the thread; `wake` is called whenever there is a new picture.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(wake: impl Fn() + Send + Sync + 'static) -> Result<Self, Error> {
        Self::start_on(|| Gpu::hardware().ok(), wake)
    }

    fn start_on(find_gpu: fn() -> Option<Gpu>, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            wishes: Mutex::default(),
            changed: Condvar::new(),
            newest: Mutex::default(),
            wake: Box::new(wake),
        });
        let painter = Painter { shared: Arc::clone(&shared), easels: Vec::new(), number: 0, find_gpu, gpu: None };
        std::thread::Builder::new()
            .name("pictures".into())
            .stack_size(STACK_BYTES)
            .spawn(move || painter.work())
            .map_err(|e| Error::new(format!("no thread could be started: {e}")))?;
        Ok(Self { shared })
    }

    /// Says what the window wants to see; the same again changes nothing.
    pub fn want(&self, view: View) {
        let mut wishes = self.shared.wishes();
        if wishes.wanted.as_ref() != Some(&view) {
            wishes.wanted = Some(view);
            wishes.number += 1;
            self.shared.changed.notify_all();
        }
    }

    /// The newest picture, if it is the whole of what is wanted.
    #[cfg(test)]
    pub fn settled(&self) -> Option<Arc<Drawn>> {
        let wishes = self.shared.wishes();
        self.newest().filter(|drawn| drawn.whole && Some(&drawn.view) == wishes.wanted.as_ref())
    }

    /// The newest picture, of whatever view.
    pub fn newest(&self) -> Option<Arc<Drawn>> {
        self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.shared.wishes().quit = true;
        self.shared.changed.notify_all();
    }
}

/// A scene that is ready to be drawn.
struct Easel {
    key: u64,
    subject: Result<Subject, Problem>,
    /// Where shaders draw it; elsewhere its tensors do.
    viewport: Option<Viewport>,
    /// The cells in which there is anything, once somebody wants to see them.
    grid: Option<Occupancy>,
    /// Pixels a second, as measured.
    speed: f32,
}

impl Easel {
    /// The occupied cells; nothing where the scene has none to show.
    fn cells(&mut self, camera: &Camera, view: &View) -> Option<Image> {
        let subject = self.subject.as_ref().ok()?;
        if self.grid.is_none() {
            self.grid = cells::grid_of(subject);
        }
        let (grid, begun) = (self.grid.as_ref()?, Instant::now());
        let (rgba, depth) = cells::drawn(grid, subject.scene().warp(), camera, view.background);
        self.speed = depth.len() as f32 / begun.elapsed().as_secs_f32().max(1e-4);
        let (width, height) = (camera.width as usize, camera.height as usize);
        Some(Image { width, height, rgba, depth, along_axis: false })
    }
}

/// What the thread holds.
struct Painter {
    shared: Arc<Shared>,
    easels: Vec<Easel>,
    number: u64,
    /// The graphics card, where there is one. It is looked for on this thread: drivers take their time.
    find_gpu: fn() -> Option<Gpu>,
    gpu: Option<Gpu>,
}

impl Painter {
    fn work(mut self) {
        self.gpu = (self.find_gpu)();
        let mut done = 0;
        while let Some((number, view)) = self.shared.next(done) {
            done = number;
            let drawing = catch_unwind(AssertUnwindSafe(|| self.draw(number, &view)));
            if let Err(panic) = drawing {
                self.easels.clear();
                self.publish(&view, Err(panicked(&*panic).into()), true, 0.0);
            }
        }
    }

    fn draw(&mut self, number: u64, view: &View) {
        if let Err(problem) = self.set_up(view) {
            return self.publish(view, Err(problem), true, 0.0);
        }
        let full = [view.camera.width.max(1), view.camera.height.max(1)];
        let speed = self.easels.iter().map(|easel| 1.0 / easel.speed.max(1.0)).sum::<f32>().recip();
        let patient = view.live && self.shared.last_view().is_some_and(|last| last.is_as(view) && last.live);
        let mut part = first_part(full, speed * if patient { PATIENT } else { FIRST });
        loop {
            let size = full.map(|side| ((side as f32 * part).round() as u32).max(1));
            let (begun, camera) = (Instant::now(), view.camera.resized(size[0], size[1]));
            // The first is finished whatever comes: who keeps moving wants to see something.
            let first = !patient && self.shared.last_view().as_ref() != Some(view);
            let images: Option<Vec<Image>> =
                (0..self.easels.len()).map(|i| self.paint(i, &camera, view, number, first)).collect();
            let Some(mut images) = images else { return };
            if let [a, b] = &images[..] {
                let difference = difference(a, b);
                images.push(difference);
            }
            let seconds = begun.elapsed().as_secs_f32();
            self.publish(view, Ok(images), part >= 1.0, seconds);
            // A student is another one soon; what cannot be drawn until then is not begun.
            let late = view.live && (self.shared.is_old(number) || 4.0 * seconds > LIVE);
            if part >= 1.0 || late || self.shared.is_stale(number, view) {
                return;
            }
            part = (2.0 * part).min(1.0);
        }
    }

    /// Puts the scenes of `view` together, those of the last view kept.
    fn set_up(&mut self, view: &View) -> Result<(), Problem> {
        let mut old = std::mem::take(&mut self.easels);
        for source in &view.scenes {
            let easel = if let Some(at) = old.iter().position(|easel| easel.key == source.key) {
                old.swap_remove(at)
            } else {
                let subject = Subject::of(source.objects.clone()).map_err(Problem::from);
                let speed = old.first().map_or(GUESS, |easel| easel.speed);
                // A student that learns is a new scene at every look: the shaders of the last one serve it as well.
                let used = old.iter_mut().find_map(|easel| easel.viewport.take());
                let viewport = subject.as_ref().ok().and_then(|subject| on_gpu(self.gpu.as_ref(), subject, used));
                Easel { key: source.key, subject, viewport, grid: None, speed }
            };
            self.easels.push(easel);
        }
        self.easels.iter().try_for_each(|easel| easel.subject.as_ref().map(drop).map_err(Clone::clone))
    }

    /// Draws scene `i` in bands; nothing if it is not wanted any more.
    fn paint(&mut self, i: usize, camera: &Camera, view: &View, number: u64, first: bool) -> Option<Image> {
        let easel = &mut self.easels[i];
        if view.mode == Mode::Occupancy {
            return easel.cells(camera, view);
        }
        let Ok(subject) = &easel.subject else { return None };
        let (width, height) = (camera.width, camera.height);
        // Primitives are sorted anew for every band, and a card takes textures anew: one is best.
        let along_axis = subject.as_primitives().is_some();
        let mut pixels = Vec::with_capacity(5 * (width * height) as usize);
        let (mut y, begun) = (0, Instant::now());
        while y < height {
            let rows = (easel.speed * BAND / width as f32).max(4.0) as u32;
            let rows = if along_axis || first || easel.viewport.is_some() { height } else { rows.min(height - y) };
            let band = Camera { height: rows, centre: camera.centre - Vec2::new(0.0, y as f32), ..camera.clone() };
            pixels.extend(drawn(subject, &mut easel.viewport, &band));
            y += rows;
            let seconds = begun.elapsed().as_secs_f32().max(1e-4);
            easel.speed += 0.5 * ((y * width) as f32 / seconds - easel.speed);
            if y < height && self.shared.is_stale(number, view) {
                return None;
            }
        }
        let depth = pixels.chunks_exact(5).map(|p| if p[3] > SOLID { p[4] / p[3] } else { f32::INFINITY }).collect();
        let rgba = match view.mode {
            Mode::Normals => normals::coloured(&normals::normals(&depth, along_axis, camera), view.background),
            _ => coloured(&pixels, &depth, view),
        };
        Some(Image { width: width as usize, height: height as usize, rgba, depth, along_axis })
    }

    fn publish(&mut self, view: &View, images: Result<Vec<Image>, Problem>, whole: bool, seconds: f32) {
        self.number += 1;
        let first = self.easels.first().and_then(|easel| easel.subject.as_ref().ok());
        let scene = first.map(|subject| subject.scene().clone());
        let drawn = Drawn { number: self.number, view: view.clone(), images, scene, whole, seconds };
        *self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(drawn));
        (self.shared.wake)();
    }
}

/// A viewport that draws `subject`, where there is a graphics card that holds it and shaders for it.
fn on_gpu(gpu: Option<&Gpu>, subject: &Subject, used: Option<Viewport>) -> Option<Viewport> {
    // Without a card nothing is copied: a student that learns comes here at every look.
    let gpu = gpu?;
    let snapshot = subject.snapshot()?;
    let mut viewport = used.or_else(|| Viewport::new(gpu, TextureFormat::Rgba8Unorm).ok())?;
    // What does not fit the card is drawn by its tensors.
    viewport.set(&snapshot).ok().map(|()| viewport)
}

/// Colour, alpha and depth `[h * w * 5]`: by the graphics card, or by tensors where there is none or it failed.
fn drawn(subject: &Subject, viewport: &mut Option<Viewport>, camera: &Camera) -> Vec<f32> {
    if let Some(card) = viewport {
        card.draw(camera);
        if let Ok(Some(pixels)) = card.pixels() {
            return pixels;
        }
        *viewport = None;
    }
    values(subject.render(camera, &RenderOptions::default()).pixels)
}

/// The part of the sides of `full` that has about this many pixels, at most 1 and not too small to recognise anything.
fn first_part([width, height]: [u32; 2], pixels: f32) -> f32 {
    let least = LEAST as f32 / width.max(height) as f32;
    let part = (pixels / (width as f32 * height as f32)).sqrt().max(least);
    // What is almost whole is not drawn twice.
    if part > 0.75 { 1.0 } else { part }
}

/// Where two pictures of one size differ: black where they do not, then red, yellow and white.
fn difference(a: &Image, b: &Image) -> Image {
    let heat = |(a, b): (&[u8], &[u8])| {
        let most = (0..3).map(|c| a[c].abs_diff(b[c])).max().unwrap_or(0);
        let v = CONTRAST * f32::from(most) / 255.0;
        [3.0 * v, 3.0 * v - 1.0, 3.0 * v - 2.0, 1.0].map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8)
    };
    let rgba = a.rgba.chunks_exact(4).zip(b.rgba.chunks_exact(4)).flat_map(heat).collect();
    Image { rgba, ..a.clone() }
}

/// What a screen shows of `pixels` `[n, 5]`.
fn coloured(pixels: &[f32], depth: &Vec<f32>, view: &View) -> Vec<u8> {
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let solid = || depth.iter().copied().filter(|d| d.is_finite());
    let (near, far) = (solid().fold(f32::INFINITY, f32::min), solid().fold(0.0, f32::max));
    let colour = |(p, d): (&[f32], &f32)| {
        let over = |c: usize| p[c] + (1.0 - p[3]) * view.background[c];
        let [r, g, b] = match view.mode {
            Mode::Colour | Mode::Normals | Mode::Occupancy => [over(0), over(1), over(2)],
            Mode::Opacity => [p[3]; 3],
            Mode::Depth if d.is_finite() => [1.0 - 0.85 * (d - near) / (far - near).max(1e-6); 3],
            Mode::Depth => [0.0; 3],
        };
        [byte(r), byte(g), byte(b), 255]
    };
    pixels.chunks_exact(5).zip(depth).flat_map(colour).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use retort_distill::preset::Preset;
    use retort_fields::compose::Edit;
    use retort_fields::compose::edit::Corners;
    use retort_fields::registry::Kind;

    use super::*;
    use crate::views;

    fn demo() -> Object {
        super::super::background::demo("cpu").expect("the built-in teacher").0.into()
    }

    fn view(object: &Object, key: u64, size: [u32; 2]) -> View {
        let camera = views::orbit(object.field.scene(), 1, size).remove(0);
        let scenes = vec![Source { key, objects: vec![object.clone()] }];
        View { scenes, camera, mode: Mode::Colour, background: [1.0; 3], live: false }
    }

    fn wait(pictures: &Pictures, done: impl Fn(&Drawn) -> bool) -> Arc<Drawn> {
        for _ in 0..40_000 {
            if let Some(drawn) = pictures.newest().filter(|drawn| done(drawn)) {
                return drawn;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no such picture within minutes");
    }

    #[test]
    fn the_whole_picture_is_what_render_draws() {
        let pictures = Pictures::start(|| ()).unwrap();
        let object = demo();
        let view = view(&object, 1, [200, 160]);
        pictures.want(view.clone());
        let drawn = wait(&pictures, |d| d.whole);
        let images = drawn.images.as_ref().expect("drawn");
        let frame = object.field.render(&view.camera, &RenderOptions::default()).rgb_over([1.0; 3]);
        let most = |other: &[f32]| {
            let bytes = images[0].rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]);
            bytes.zip(other).map(|(b, v)| (f32::from(b) / 255.0 - v).abs()).fold(0.0, f32::max)
        };
        assert!(most(&frame) < 0.01, "{}", most(&frame));
        let turned = views::orbit(object.field.scene(), 3, [200, 160]).remove(1);
        let other = object.field.render(&turned, &RenderOptions::default()).rgb_over([1.0; 3]);
        assert!(most(&other) > 0.2, "another view is another picture");
        // A point that is seen is projected to where it was seen.
        let seen = drawn.point(0, Vec2::splat(0.5)).expect("the middle is not empty");
        let (pixel, _) = view.camera.project(seen).expect("in front");
        assert!(pixel.distance(Vec2::new(100.5, 80.5)) < 0.1, "{pixel}");
        assert!(drawn.point(0, Vec2::ZERO).is_none(), "the corner is empty");
    }

    #[test]
    fn a_graphics_card_draws_what_tensors_draw() {
        // Any adapter serves here, a processor's as well.
        let pictures = Pictures::start_on(|| Gpu::headless().ok(), || ()).unwrap();
        let few = [("field.initial".to_string(), "400".to_string())];
        let preset = Preset::load("fast", Kind::Gaussians, &few).expect("sound values");
        let device = retort_fields::device::choose("cpu").expect("there is always a CPU");
        let field = preset.field.init(&Scene::default(), 1, &device).expect("sound values");
        assert!(on_gpu(Gpu::headless().ok().as_ref(), &Subject::from(&field), None).is_some());
        let object = Object::from(field);
        let view = view(&object, 1, [64, 48]);
        pictures.want(view.clone());
        let drawn = wait(&pictures, |d| d.whole);
        let seen = drawn.images.as_ref().expect("drawn")[0].rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]);
        let frame = object.field.render(&view.camera, &RenderOptions::default()).rgb_over([1.0; 3]);
        let off: Vec<f32> = seen.zip(&frame).map(|(b, v)| (f32::from(b) / 255.0 - v).abs()).collect();
        let mean = off.iter().sum::<f32>() / off.len() as f32;
        assert!(mean < 3e-3, "{mean}");
        assert!(frame.iter().any(|v| (v - frame[0]).abs() > 0.05), "there is something to see");
    }

    #[test]
    fn the_latest_wish_wins_and_errors_are_told() {
        let pictures = Pictures::start(|| ()).unwrap();
        let object = demo();
        for i in 0..20 {
            let mut next = view(&object, 1, [64, 48]);
            next.background = [i as f32 / 20.0; 3];
            pictures.want(next);
        }
        let drawn = wait(&pictures, |d| d.whole && d.view.background[0] > 0.9);
        assert!(drawn.number < 20 && drawn.images.is_ok(), "{} were drawn", drawn.number);
        let mut bad = object.clone();
        bad.edits = vec![Edit::Crop(Corners { min: [1.0; 3], max: [0.0; 3] })];
        pictures.want(view(&bad, 2, [64, 48]));
        let drawn = wait(&pictures, |d| d.view.scenes[0].key == 2);
        assert!(drawn.images.as_ref().is_err_and(|p| p.what.contains("crop") && !p.remedy.is_empty()));
        let mut depth = view(&object, 1, [64, 48]);
        depth.mode = Mode::Depth;
        pictures.want(depth);
        let drawn = wait(&pictures, |d| d.whole && d.view.mode == Mode::Depth);
        assert_eq!(drawn.images.as_ref().expect("drawn")[0].rgba[..3], [0; 3], "nothing is black");
        for mode in [Mode::Normals, Mode::Occupancy] {
            let mut other = view(&object, 1, [64, 48]);
            other.mode = mode;
            pictures.want(other);
            let drawn = wait(&pictures, |d| d.whole && d.view.mode == mode);
            let image = &drawn.images.as_ref().expect("drawn")[0];
            let colours: std::collections::HashSet<_> = image.rgba.chunks_exact(4).collect();
            assert!(colours.len() > 20 && drawn.point(0, Vec2::splat(0.5)).is_some(), "{mode:?}: {}", colours.len());
        }
    }

    #[test]
    fn two_scenes_are_compared() {
        let pictures = Pictures::start(|| ()).unwrap();
        let object = demo();
        let mut both = view(&object, 1, [64, 48]);
        let darker = Object { edits: vec![Edit::Brightness(0.5)], ..object.clone() };
        both.scenes.push(Source { key: 2, objects: vec![darker] });
        pictures.want(both.clone());
        let drawn = wait(&pictures, |d| d.whole);
        let [a, b, difference] = &drawn.images.as_ref().expect("drawn")[..] else { panic!("three") };
        let (middle, corner) = (4 * (24 * 64 + 32), 0);
        assert!(a.rgba[middle] > b.rgba[middle] && difference.rgba[middle] > 100);
        assert_eq!((difference.rgba[corner], a.rgba[corner]), (0, 255), "both show the background");
        both.scenes[1] = Source { key: 3, objects: vec![object] };
        pictures.want(both);
        let drawn = wait(&pictures, |d| d.whole && d.view.scenes[1].key == 3);
        let same = &drawn.images.as_ref().expect("drawn")[2];
        assert!(same.rgba.chunks_exact(4).all(|p| p[..3] == [0; 3]), "no difference");
    }

    #[test]
    fn first_pictures_are_small_but_not_too_small() {
        assert_eq!(first_part([640, 480], 1e9), 1.0);
        assert!((first_part([640, 480], 640.0 * 480.0 / 16.0) - 0.25).abs() < 1e-6);
        assert_eq!(first_part([640, 480], 1.0), 0.1);
    }
}
