//! An export on a thread: how far it is, and calling it off. Films and meshes each have one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The last export of a panel, at work or over.
#[derive(Debug, Default)]
pub struct Export(Option<Arc<Progress>>);

#[derive(Debug)]
struct Progress {
    /// Parts that are done.
    done: AtomicU32,
    /// All of them.
    of: u32,
    stop: AtomicBool,
    over: AtomicBool,
}

/// The thread's side of an export. It is over when its thread lets go of this, however it ended.
pub struct Work(Arc<Progress>);

impl Export {
    /// Begins one of `of` parts; the last one is forgotten.
    pub fn begin(&mut self, of: u32) -> Work {
        let progress = Arc::new(Progress {
            done: AtomicU32::new(0),
            of,
            stop: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        self.0 = Some(Arc::clone(&progress));
        Work(progress)
    }

    /// Parts that are done, and all of them; nothing where none is at work.
    pub fn at_work(&self) -> Option<(u32, u32)> {
        let progress = self.0.as_ref().filter(|progress| !progress.over.load(Ordering::Relaxed))?;
        Some((progress.done.load(Ordering::Relaxed), progress.of))
    }

    /// Calls it off; it ends after the part that it is at.
    pub fn cancel(&self) {
        if let Some(progress) = &self.0 {
            progress.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Work {
    /// So many parts are done; whether to go on.
    pub fn tell(&self, done: u32) -> bool {
        self.0.done.store(done, Ordering::Relaxed);
        !self.0.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}
