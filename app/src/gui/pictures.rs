//! The pictures of the viewport, drawn on a thread of their own so that the window never waits.
//!
//! The window says what it wants to see ([`View`]); the latest wish wins. A picture is drawn first as small as a few
//! hundredths of a second allow, then at twice the size again and again until it is whole or something else is wanted.
//! Another source of pictures needs only to take a [`View`] and give a [`Drawn`].

mod cells;
mod image;
mod marks;
mod normals;
mod pace;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glam::{Vec2, Vec3};
use retort_distill::job::panicked;
use retort_fields::compose::{Object, Subject};
use retort_fields::error::Error;
use retort_fields::field::{RenderOptions, Scene, values};
use retort_fields::parts::occupancy::Occupancy;
use retort_render::{Gpu, TextureFormat, Viewport};
use retort_shaders::Camera;

pub use image::{Image, Mode};
use image::{Seen, What, images};
pub use marks::Marked;
use pace::Pace;

/// How long the first picture of a view may take, seconds; about, because the scene decides.
const FIRST: f64 = 0.045;
/// The same for a student of which there is another picture of the same view already: better later than coarser.
const PATIENT: f64 = 0.5;
/// The longest that a picture of a student may take, seconds; about.
const LIVE: f32 = 2.0;
/// How long a person who moves on waits for a band of a larger picture, seconds.
const BAND: f64 = 0.1;
/// How long a larger picture is not begun after the first: who moves on would wait for its first band.
const REST: Duration = Duration::from_millis(60);
/// The longest side of the smallest picture, pixels.
const LEAST: u32 = 64;
/// As much as a program's first thread has.
const STACK_BYTES: usize = 8 << 20;
/// What is at least this opaque has a depth to show.
const SOLID: f32 = 0.5;

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
    /// What of it is coloured because it is selected.
    pub marked: Option<Marked>,
    /// Whether the scene changes by itself all the time, as a student does that is being taught.
    pub live: bool,
}

impl View {
    /// The numbers of its scenes.
    fn keys(&self) -> Vec<u64> {
        self.scenes.iter().map(|s| s.key).collect()
    }

    /// Whether it is the same place seen in the same way, whatever is there.
    fn is_as(&self, other: &Self) -> bool {
        (&self.camera, self.mode, self.background) == (&other.camera, other.mode, other.background)
    }
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.keys() == other.keys() && self.is_as(other) && self.marked == other.marked
    }
}

/// What was seen last, whole: other colours of the same are made of it without drawing.
#[derive(Debug)]
struct Kept {
    keys: Vec<u64>,
    camera: Camera,
    seen: Vec<Seen>,
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
        marks::seen(&camera, at.floor() + Vec2::splat(0.5), depth, image.along_axis)
    }
}

/// The thread that draws.
pub struct Pictures {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
    /// The wish that is being drawn, or was last.
    begun: u64,
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
                Some(view) if wishes.number != done => {
                    let view = view.clone();
                    wishes.begun = wishes.number;
                    return Some((wishes.number, view));
                }
                _ => wishes = self.changed.wait(wishes).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Gives who moves the time to say so: returns early where there is another wish than `number`.
    fn rest(&self, number: u64, time: Duration) {
        let wishes = self.wishes();
        let same = |wishes: &mut Wishes| wishes.number == number && !wishes.quit;
        drop(self.changed.wait_timeout_while(wishes, time, same));
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
        let shared_too = Arc::clone(&shared);
        let painter = Painter { shared: shared_too, easels: Vec::new(), kept: None, number: 0, find_gpu, gpu: None };
        let thread = std::thread::Builder::new()
            .name("pictures".into())
            .stack_size(STACK_BYTES)
            .spawn(move || painter.work())
            .map_err(|e| Error::new(format!("no thread could be started: {e}")))?;
        Ok(Self { shared, thread: Some(thread) })
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

    /// The newest picture, if it is the whole of what is wanted and none of what was wanted before is still to come.
    #[cfg(test)]
    pub fn settled(&self) -> Option<Arc<Drawn>> {
        let wishes = self.shared.wishes();
        let is_wanted = |drawn: &Arc<Drawn>| drawn.whole && Some(&drawn.view) == wishes.wanted.as_ref();
        self.newest().filter(|drawn| wishes.begun == wishes.number && is_wanted(drawn))
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
        // A program that ends while a thread is inside a graphics driver, which then takes itself down, was seen to abort.
        // It is a band of a picture at most. A panic of the thread was told when it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A scene that is ready to be drawn.
struct Easel {
    key: u64,
    subject: Result<Subject, Problem>,
    /// Where shaders draw it; elsewhere its tensors do.
    viewport: Option<Viewport>,
    /// How long its pictures take.
    pace: Pace,
    /// The cells in which there is anything, once somebody wants to see them.
    grid: Option<Occupancy>,
}

impl Easel {
    /// The occupied cells; nothing where the scene has none to show.
    fn cells(&mut self, camera: &Camera, view: &View) -> Option<Seen> {
        let subject = self.subject.as_ref().ok()?;
        if self.grid.is_none() {
            self.grid = cells::grid_of(subject);
        }
        let (grid, begun) = (self.grid.as_ref()?, Instant::now());
        let (rgba, depth) = cells::drawn(grid, subject.scene().warp(), camera, view.background);
        self.pace.note(depth.len() as f64, begun.elapsed().as_secs_f64());
        let (width, height) = (camera.width as usize, camera.height as usize);
        Some(Seen { width, height, what: What::Cells(rgba), depth: Arc::new(depth), along_axis: false })
    }
}

/// What the thread holds.
struct Painter {
    shared: Arc<Shared>,
    easels: Vec<Easel>,
    kept: Option<Kept>,
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
        if let Some(kept) = self
            .kept
            .take()
            .filter(|k| !view.live && view.mode != Mode::Occupancy && k.keys == view.keys() && k.camera == view.camera)
        {
            self.publish(view, Ok(images(&kept.seen, view)), true, 0.0);
            self.kept = Some(kept);
            return;
        }
        let full = [view.camera.width.max(1), view.camera.height.max(1)];
        let pace = self.easels.iter().map(|easel| easel.pace).reduce(|a, b| a.and(&b)).unwrap_or_default();
        let patient = view.live && self.shared.last_view().is_some_and(|last| last.is_as(view) && last.live);
        let mut part = first_part(full, pace.pixels_in(if patient { PATIENT } else { FIRST }) as f32);
        loop {
            let size = full.map(|side| ((side as f32 * part).round() as u32).max(1));
            let (begun, camera) = (Instant::now(), view.camera.resized(size[0], size[1]));
            // The first is finished whatever comes: who keeps moving wants to see something.
            let first = !patient && self.shared.last_view().as_ref() != Some(view);
            let seen: Option<Vec<Seen>> =
                (0..self.easels.len()).map(|i| self.look(i, &camera, view, number, first)).collect();
            let Some(seen) = seen else { return };
            let seconds = begun.elapsed().as_secs_f32();
            self.publish(view, Ok(images(&seen, view)), part >= 1.0, seconds);
            if part >= 1.0 && view.mode != Mode::Occupancy {
                self.kept = Some(Kept { keys: view.keys(), camera: view.camera.clone(), seen });
            }
            // A student is another one soon; what cannot be drawn until then is not begun.
            let late = view.live && (self.shared.is_old(number) || 4.0 * seconds > LIVE);
            if first && part < 1.0 {
                self.shared.rest(number, REST);
            }
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
                let pace = old.first().map_or_else(Pace::default, |easel| easel.pace);
                // A student that learns is a new scene at every look: the shaders of the last one serve it as well.
                let used = old.iter_mut().find_map(|easel| easel.viewport.take());
                let viewport = subject.as_ref().ok().and_then(|subject| on_gpu(self.gpu.as_ref(), subject, used));
                Easel { key: source.key, subject, viewport, pace, grid: None }
            };
            self.easels.push(easel);
        }
        self.easels.iter().try_for_each(|easel| easel.subject.as_ref().map(drop).map_err(Clone::clone))
    }

    /// Looks at scene `i` in bands; nothing if it is not wanted any more.
    fn look(&mut self, i: usize, camera: &Camera, view: &View, number: u64, first: bool) -> Option<Seen> {
        let easel = &mut self.easels[i];
        if view.mode == Mode::Occupancy {
            return easel.cells(camera, view);
        }
        let Ok(subject) = &easel.subject else { return None };
        let (width, height) = (camera.width, camera.height);
        // Primitives are sorted anew for every band, and a card takes textures anew: one is best.
        let along_axis = subject.as_primitives().is_some();
        let mut pixels = Vec::with_capacity(5 * (width * height) as usize);
        let mut y = 0;
        while y < height {
            let begun = Instant::now();
            let rows = (easel.pace.pixels_in(BAND) as f32 / width as f32).max(4.0) as u32;
            let rows = if along_axis || first || easel.viewport.is_some() { height } else { rows.min(height - y) };
            let band = Camera { height: rows, centre: camera.centre - Vec2::new(0.0, y as f32), ..camera.clone() };
            pixels.extend(drawn(subject, &mut easel.viewport, &band));
            y += rows;
            easel.pace.note(f64::from(rows * width), begun.elapsed().as_secs_f64());
            if y < height && self.shared.is_stale(number, view) {
                return None;
            }
        }
        let depth = |p: &[f32]| if p[3] > SOLID { p[4] / p[3] } else { f32::INFINITY };
        let depth = Arc::new(pixels.chunks_exact(5).map(depth).collect());
        let what = What::Light(pixels);
        Some(Seen { width: width as usize, height: height as usize, what, depth, along_axis })
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

#[cfg(test)]
mod tests;
