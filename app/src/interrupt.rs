//! Ctrl-C (and a polite request to terminate). Once: the running step is finished, a checkpoint is written, and the
//! program says how to go on. Twice: it ends at once; what was on the disk stays whole, since files are only renamed
//! into place.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use retort_distill::job::Control;

/// The exit status of an interrupted run.
pub const STATUS: u8 = 130;

static TIMES: AtomicU32 = AtomicU32::new(0);
static SILENT: AtomicBool = AtomicBool::new(false);
static JOB: Mutex<Option<Control>> = Mutex::new(None);

/// Starts listening. `silent`: nothing is said when it happens.
pub fn listen(silent: bool) {
    SILENT.store(silent, Ordering::Relaxed);
    // Without a handler an interrupt simply ends the program, which is safe too.
    let _ = ctrlc::set_handler(heard);
}

/// Whether the run is to end.
pub fn requested() -> bool {
    TIMES.load(Ordering::SeqCst) > 0
}

/// Cancels `job` when an interrupt comes, or has come, until the watch is dropped.
pub fn watch(job: Control) -> Watch {
    *JOB.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    if requested() {
        cancel();
    }
    Watch
}

/// Holds the job that an interrupt cancels.
pub struct Watch;

impl Drop for Watch {
    fn drop(&mut self) {
        *JOB.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn heard() {
    if TIMES.fetch_add(1, Ordering::SeqCst) > 0 {
        leave();
    }
    if !SILENT.load(Ordering::Relaxed) {
        eprintln!("\ninterrupted: finishing what was begun (once more to leave at once)");
    }
    cancel();
}

fn cancel() {
    if let Some(job) = JOB.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        job.cancel();
    }
}

/// Ends the process from the listener's thread, whatever the others do.
#[expect(clippy::disallowed_methods, reason = "asked for twice: no destructor may hold this up")]
fn leave() -> ! {
    std::process::exit(i32::from(STATUS))
}
