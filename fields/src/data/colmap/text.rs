//! COLMAP's text files: `#` starts a comment line, fields are parted by blanks.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::str::FromStr;

use glam::DVec3;

use super::{Image, Lens, Model, Point};
use crate::error::{Error, Result};

/// The fields of one line, taken from the left.
struct Fields<'a> {
    left: &'a str,
}

impl<'a> Fields<'a> {
    fn text(&mut self) -> Result<&'a str> {
        let trimmed = self.left.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (field, rest) = trimmed.split_at(end);
        self.left = rest;
        if field.is_empty() { Err(Error::new("a field is missing")) } else { Ok(field) }
    }

    fn value<T: FromStr<Err: Display>>(&mut self) -> Result<T> {
        let text = self.text()?;
        text.parse().map_err(|e| Error::new(format!("{text:?}: {e}")))
    }

    fn values<T: FromStr<Err: Display> + Copy + Default, const N: usize>(&mut self) -> Result<[T; N]> {
        let mut out = [T::default(); N];
        for v in &mut out {
            *v = self.value()?;
        }
        Ok(out)
    }
}

/// Calls `record` for each line that holds one. `pairs`: each is followed by a second line, possibly empty, to pass over.
fn each_line(path: &Path, pairs: bool, mut record: impl FnMut(&mut Fields) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut second = false;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|e| Error::io(path, &e))?;
        let text = line.trim();
        if text.starts_with('#') || (text.is_empty() && !second) {
            continue;
        }
        if !second {
            record(&mut Fields { left: text }).map_err(|e| {
                Error { what: format!("line {}: {}", number + 1, e.what), ..e }
                    .file(path)
                    .remedy("the file is damaged: copy it or export it again")
            })?;
        }
        second = pairs && !second;
    }
    Ok(())
}

pub(super) fn cameras(path: &Path) -> Result<Vec<Lens>> {
    let mut out = Vec::new();
    each_line(path, false, |f| {
        let id = f.value()?;
        let model = Model::by_name(f.text()?)?;
        let (width, height) = (f.value()?, f.value()?);
        let params = (0..model.arity()).map(|_| f.value()).collect::<Result<_>>()?;
        out.push(Lens { id, model, width, height, params });
        Ok(())
    })?;
    Ok(out)
}

pub(super) fn images(path: &Path) -> Result<Vec<Image>> {
    let mut out = Vec::new();
    each_line(path, true, |f| {
        let _id: u32 = f.value()?;
        let (rotation, translation, camera) = (f.values()?, f.values()?, f.value()?);
        // What is left of the line: names may hold blanks.
        let name = f.left.trim().to_owned();
        if name.is_empty() {
            return Err(Error::new("an image without a name"));
        }
        out.push(Image { name, camera, rotation, translation });
        Ok(())
    })?;
    Ok(out)
}

pub(super) fn points(path: &Path) -> Result<Vec<Point>> {
    let mut out = Vec::new();
    each_line(path, false, |f| {
        let _id: u64 = f.value()?;
        let position = DVec3::from(f.values::<f64, 3>()?);
        let colour = f.values()?;
        if position.is_finite() {
            out.push((position, colour));
        }
        Ok(())
    })?;
    Ok(out)
}
