//! Many views drawn one after the other: PNG files, or a film.
//!
//! A film is H.264 (4:2:0, eight bits, BT.709) in an MP4, which every player and browser knows. A film is small beside
//! the fields it shows, so it is put together in memory and written all at once: what ends early leaves nothing behind.

mod colour;

use std::path::{Path, PathBuf};

use muxide::api::{Muxer, MuxerBuilder, MuxerError, VideoCodec};
use retort_fields::compose::Subject;
use retort_fields::error::{Error, Result};
use retort_fields::field::RenderOptions;
use retort_fields::files::write_atomically;
use retort_shaders::Camera;
use rusty_h264_common::YuvFrame;
use rusty_h264_encoder::{EncodeError, Encoder, EncoderConfig};

use crate::pictures::Picture;

/// Pictures a second where nothing says otherwise.
pub const FPS: f32 = 24.0;
/// The quantiser, 0 to 51: at 18 a person sees no difference.
const QUALITY: u8 = 18;
/// Seconds between pictures that need no other: a player can jump to each.
const JUMP: f32 = 2.0;
/// The shortest side of a film, pixels: that of a block.
const LEAST: usize = 16;
/// The most blocks of 16 × 16 pixels of a picture that decoders take (level 5.1): 4096 × 2304 pixels.
const MAX_BLOCKS: usize = 36_864;
/// What helps against a size that films cannot have.
const SIZES: &str = "choose --size from 16x16 to 4096x2304";

/// Where pictures go.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A PNG for each view.
    Pictures(Vec<PathBuf>),
    /// All into one film, with so many pictures a second.
    Film(PathBuf, f32),
}

impl Place {
    /// A folder with a numbered PNG for each of `n` views.
    pub fn folder(folder: &Path, n: usize) -> Self {
        let digits = n.saturating_sub(1).to_string().len().max(3);
        Self::Pictures((0..n).map(|i| folder.join(format!("view_{i:0digits$}.png"))).collect())
    }

    /// Every file that is written.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Pictures(paths) => paths,
            Self::Film(path, _) => std::slice::from_ref(path),
        }
    }
}

/// The size of a film of these cameras, and what is cut off for it: its sides are even, because colours are told for
/// two by two pixels.
///
/// # Errors
/// When they are not all of one size, or it is too small or too large.
pub fn size_of(cameras: &[Camera]) -> Result<([u32; 2], Option<String>)> {
    let Some(Camera { width, height, .. }) = cameras.first() else {
        return Err(Error::new("there is no view to make a film of"));
    };
    if let Some(i) = cameras.iter().position(|c| (c.width, c.height) != (*width, *height)) {
        let what =
            format!("view {i} has {} x {} pixels, the first {width} x {height}", cameras[i].width, cameras[i].height);
        return Err(Error::new(what).remedy("give all one --size"));
    }
    let even = [width & !1, height & !1];
    check(even)?;
    let cut = even != [*width, *height];
    let note = format!("a film has even sides: {width} x {height} is cut to {} x {}", even[0], even[1]);
    Ok((even, cut.then_some(note)))
}

fn check(size: [u32; 2]) -> Result<()> {
    let [width, height] = size.map(|side| side as usize);
    if width.min(height) < LEAST || width.div_ceil(16) * height.div_ceil(16) > MAX_BLOCKS {
        return Err(Error::new(format!("a film cannot have {width} x {height} pixels")).remedy(SIZES));
    }
    Ok(())
}

/// Draws `subject` from every camera over a plain background. `tell` hears how many are done and says whether to go on;
/// where it does not, nothing is given, and pictures that are written stay. Gives the bytes that were written.
///
/// # Errors
/// When a place cannot be written, or a film cannot be of this size.
pub fn draw(
    subject: &Subject,
    cameras: &[Camera],
    over: [f32; 3],
    place: &Place,
    tell: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<u64>> {
    let mut film = match place {
        Place::Film(_, fps) => Some(Film::new(size_of(cameras)?.0, *fps)?),
        Place::Pictures(_) => None,
    };
    let mut bytes = 0;
    for (i, camera) in cameras.iter().enumerate() {
        let picture = Picture::of_frame(&subject.render(camera, &RenderOptions::default()), over);
        match (&mut film, place) {
            (None, Place::Pictures(paths)) => bytes += paths.get(i).map_or(Ok(0), |path| picture.write_png(path))?,
            (Some(film), _) => film.push(&picture)?,
            (None, Place::Film(..)) => {}
        }
        if !tell(i + 1) {
            return Ok(None);
        }
    }
    if let (Some(film), Place::Film(path, _)) = (film, place) {
        let whole = film.finish().map_err(|e| e.file(path))?;
        write_atomically(path, &whole)?;
        bytes = whole.len() as u64;
    }
    Ok(Some(bytes))
}

/// A film that is being made.
pub struct Film {
    encoder: Encoder,
    muxer: Muxer<Vec<u8>>,
    size: [usize; 2],
    fps: f32,
    /// Pictures between two that need no other.
    group: u32,
    pushed: u32,
}

impl Film {
    /// An empty film of `size` pixels, even and from 16 × 16 to 4096 × 2304, with `fps` pictures a second.
    ///
    /// # Errors
    /// When it cannot be of this size.
    pub fn new(size: [u32; 2], fps: f32) -> Result<Self> {
        check(size)?;
        let [width, height] = size.map(|side| side as usize);
        let group = (JUMP * fps).round().max(1.0) as u32;
        let config = EncoderConfig {
            qp: QUALITY,
            framerate: fps,
            gop_size: group,
            min_keyint: 1,
            // Pictures come out one by one, and those that need no other where they are counted on.
            scenecut: 0,
            mbtree: false,
            ..EncoderConfig::new(width, height)
        };
        let encoder = Encoder::new(config).map_err(|e| encoding(&e))?;
        let muxer = MuxerBuilder::new(Vec::new()).video(VideoCodec::H264, size[0], size[1], f64::from(fps)).build();
        Ok(Self { encoder, muxer: muxer.map_err(|e| muxing(&e))?, size: [width, height], fps, group, pushed: 0 })
    }

    /// Adds a picture at least as large as the film; what is beyond it is cut off.
    ///
    /// # Errors
    /// When it is smaller.
    pub fn push(&mut self, picture: &Picture) -> Result<()> {
        let [width, height] = self.size;
        if picture.width < width || picture.height < height {
            return Err(Error::new(format!("a picture of {} x {} pixels is too small", picture.width, picture.height)));
        }
        let unit = self.encoder.try_encode(&frame(picture, width, height)).map_err(|e| encoding(&e))?;
        let (key, time) = (self.pushed.is_multiple_of(self.group), f64::from(self.pushed) / f64::from(self.fps));
        self.muxer.write_video(time, &colour::described(unit), key).map_err(|e| muxing(&e))?;
        self.pushed += 1;
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// When it holds no picture.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.muxer.finish_in_place().map_err(|e| muxing(&e))?;
        Ok(self.muxer.into_writer())
    }
}

fn encoding(error: &EncodeError) -> Error {
    Error::new(format!("the film cannot be encoded: {error}")).remedy(SIZES)
}

fn muxing(error: &MuxerError) -> Error {
    Error::new(format!("the film cannot be put together: {error}")).remedy("write PNG files: name a folder with -o")
}

/// The upper left `width` × `height` pixels, even, as brightness and two differences of colour (BT.709, 16 to 235 and
/// 16 to 240), the differences averaged over two by two pixels.
fn frame(picture: &Picture, width: usize, height: usize) -> YuvFrame {
    let pixel = |x: usize, y: usize| {
        let at = 3 * (y * picture.width + x);
        [0, 1, 2].map(|c| picture.rgb[at + c].clamp(0.0, 1.0))
    };
    let luma = |[r, g, b]: [f32; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let (mut y, mut u, mut v) = (Vec::with_capacity(width * height), Vec::new(), Vec::new());
    for row in 0..height {
        y.extend((0..width).map(|x| (16.0 + 219.0 * luma(pixel(x, row))).round() as u8));
    }
    for row in (0..height).step_by(2) {
        for x in (0..width).step_by(2) {
            let four = [pixel(x, row), pixel(x + 1, row), pixel(x, row + 1), pixel(x + 1, row + 1)];
            let mean = [0, 1, 2].map(|c| four.iter().map(|p| p[c]).sum::<f32>() / 4.0);
            let bright = luma(mean);
            u.push((128.0 + 224.0 * (mean[2] - bright) / 1.8556).round() as u8);
            v.push((128.0 + 224.0 * (mean[0] - bright) / 1.5748).round() as u8);
        }
    }
    YuvFrame { width, height, y, u, v }
}

#[cfg(test)]
mod tests;
