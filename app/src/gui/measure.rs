//! Measuring the selected object against photos, as `retort eval` does, on a thread.

use std::path::Path;
use std::time::Instant;

use retort_distill::evaluate::{Scores, evaluate};
use retort_fields::compose::{Object, Subject};
use retort_fields::data::{self, LoadOptions, Similarity, Split};
use retort_fields::error::{Error, Result};

use super::background::Message;
use super::document::ItemId;
use super::state::{Dialog, Purpose, State};
use crate::commands::measure::{background, chosen, reframe, split_name};
use crate::commands::work::quoted;

/// How near an object came to photos.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was measured, against what: `"lego-hash on 50 test photos of lego"`.
    pub about: String,
    /// The quality, of each view as well.
    pub scores: Scores,
    /// How long it took.
    pub seconds: f32,
    /// The command line that does the same.
    pub line: String,
}

impl State {
    /// Asks against which photos the selected object is to be measured.
    pub fn ask_measure(&mut self) {
        let Some(id) = self.selected else { return };
        self.ask_name(Purpose::Measure(id));
        // The photos that were trained on last are likely.
        if let (Some(Dialog::Name(_, text)), false) = (&mut self.dialog, self.train.data.trim().is_empty()) {
            text.clone_from(&self.train.data);
        }
    }

    /// Measures an object, with its edits and where its photos had it, against the photos in `path`: those for testing, or
    /// those for training where there is no other.
    ///
    /// # Errors
    /// When the object is gone.
    pub(super) fn measure(&mut self, id: ItemId, path: &Path) -> Result<()> {
        let gone = || Error::new("the object is not there any more");
        let item = self.document().get(id).ok_or_else(gone)?;
        let asset = self.assets.get(item.asset).ok_or_else(gone)?;
        let (name, over, path) = (item.name.clone(), background(&asset.made), path.to_path_buf());
        let file = asset.path.clone().unwrap_or_else(|| format!("{}.safetensors", asset.name).into());
        let words = [file.display().to_string(), path.display().to_string()].map(|word| quoted(&word));
        let object = Object { transform: Similarity::default(), ..item.object(asset.field.clone()) };
        self.background.start(&format!("measuring {name}"), move || {
            let begun = Instant::now();
            let only = vec![Split::Test, Split::Train];
            let mut photos = data::load(&path, &LoadOptions { only, ..LoadOptions::default() })?;
            let subject = Subject::of(vec![object])?;
            reframe(&mut photos, subject.scene());
            let split = if photos.split(Split::Test).is_empty() { Split::Train } else { Split::Test };
            let photos_of = chosen(&photos, split)?;
            let scores = evaluate(&subject, &photos_of, over, &mut |_, _, _| true)?;
            let (n, split, [field, data]) = (photos_of.len(), split_name(split), words);
            Ok(Message::Measured(Box::new(Measured {
                about: format!("{name} on {n} {split} photos of {}", super::name_of(&path)),
                scores,
                seconds: begun.elapsed().as_secs_f32(),
                line: format!("retort eval {field} --data {data} --split {split}"),
            })))
        });
        Ok(())
    }

    pub(super) fn measured_photos(&mut self, measured: Measured) {
        let Scores { psnr, ssim, .. } = measured.scores;
        self.news = format!("{}: PSNR {psnr:.2} dB, SSIM {ssim:.4}", measured.about);
        self.dialog = Some(Dialog::Measured(Box::new(measured)));
    }
}
