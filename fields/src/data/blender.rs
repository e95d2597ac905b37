//! The layout of `NeRF`'s synthetic scenes: `transforms_train.json`, `_test.json`, `_val.json`, each with one field of view
//! and photos named without extension (Mildenhall et al. 2020). Other tools write real scenes in the same three files;
//! those give focal lengths in pixels or an `aabb_scale`, and are treated like a single `transforms.json`.

use std::path::Path;

use super::raw::{Extent, Raw};
use super::{Layout, Split, transforms};
use crate::error::Result;

/// Reads the split files of `folder`; only `transforms_train.json` must be there.
///
/// # Errors
/// As [`super::load`].
pub fn read(folder: &Path) -> Result<Raw> {
    let first = folder.join("transforms_train.json");
    let train = transforms::parse(&first)?;
    let synthetic = train.lens.fl_x.is_none() && train.lens.camera_angle_x.is_some() && train.aabb_scale.is_none();
    let mut raw = Raw {
        layout: Layout::Blender,
        frames: Vec::new(),
        points: Vec::new(),
        skipped: Vec::new(),
        extent: if synthetic { Extent::Blender } else { transforms::extent(&train).map_err(|e| e.file(&first))? },
        level: false,
    };
    transforms::add_frames(&train, &first, Some(Split::Train), &mut raw)?;
    for (name, split) in [("transforms_test.json", Split::Test), ("transforms_val.json", Split::Val)] {
        let path = folder.join(name);
        if path.is_file() {
            transforms::add_frames(&transforms::parse(&path)?, &path, Some(split), &mut raw)?;
        }
    }
    Ok(raw)
}
