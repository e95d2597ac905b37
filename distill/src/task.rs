//! A piece of long work, one step at a time and without a thread: training from photos, conversion, later generation.
//!
//! Tests call [`Task::step`]; the command line and the app give a task to the runner in [`crate::job`].

use std::ops::ControlFlow;
use std::path::Path;

use retort_fields::error::Error;
use retort_fields::registry::AnyField;

/// What one step reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The stage, one word: `"photos"`, `"volume"`.
    pub stage: String,
    /// Steps done since the work began, over all stages and including those before a resumption; 1 after the first.
    pub step: u32,
    /// Steps that the whole work has, over all stages; it may shrink or grow while the work goes on.
    pub of: u32,
    /// The loss of this step, in the unit that the stage minimises.
    pub loss: f32,
    /// The newest PSNR in dB, where one was measured: on held-out photos, or against the teacher.
    pub psnr: Option<f32>,
    /// Something that a person should know, said once: a return to the last good checkpoint, for example.
    pub note: Option<String>,
}

/// How the work ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Steps done in all, those before a resumption included.
    pub steps: u32,
    /// The last PSNR in dB: training's on held-out photos, conversion's against the teacher.
    pub psnr: Option<f32>,
    /// What a person should know about the result, one line each.
    pub notes: Vec<String>,
}

/// A picture of what the work looks at, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What it is, in a few words.
    pub name: &'static str,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Its pixels row by row, 8 bits, premultiplied.
    pub rgba: Vec<u8>,
}

/// Long work that goes step by step.
pub trait Task: Send {
    /// Does one step, short enough that a person who cancels can wait for its end.
    ///
    /// # Errors
    /// When the work cannot go on: it diverged beyond repair, or a file could not be written.
    fn step(&mut self) -> Result<ControlFlow<Outcome, Progress>, Error>;

    /// The field as it is now, without gradients; cheap, because values are shared.
    fn current(&self) -> AnyField;

    /// Other fields that the work makes beside it; most make none.
    fn others(&self) -> Vec<AnyField> {
        Vec::new()
    }

    /// Writes everything that the work needs to go on bit for bit. The file at `path` is replaced at once or not at
    /// all, so that a cut of power leaves the last one whole.
    ///
    /// # Errors
    /// When it cannot be written; what was at `path` is unharmed then.
    fn save_checkpoint(&mut self, path: &Path) -> Result<(), Error>;

    /// What the last step looked at; nothing where that is no more than the field's own pictures. Made when asked for.
    fn sights(&self) -> Vec<Sight> {
        Vec::new()
    }

    /// What it does, for a sentence such as "training stopped at step 12": `"training"`, `"conversion"`.
    fn kind_of_work(&self) -> &'static str;
}

/// A field that costs next to nothing, to test what runs tasks.
#[cfg(test)]
pub(crate) mod fixture {
    use retort_fields::device;
    use retort_fields::field::Scene;
    use retort_fields::registry::AnyField;

    use crate::preset::Preset;

    /// A field that remembers a number below 2²⁴.
    pub fn tiny_field(number: u32) -> AnyField {
        let few = [("field.initial".to_string(), "4".to_string())];
        let preset = Preset::load("fast", "gaussians".parse().unwrap(), &few).unwrap();
        let scene = Scene { extent: 1.0 + number as f32, ..Scene::default() };
        preset.field.init(&scene, 0, &device::choose("cpu").unwrap()).unwrap()
    }

    /// The number.
    pub fn number_of(field: &AnyField) -> u32 {
        field.scene().extent as u32 - 1
    }
}
