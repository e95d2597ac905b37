//! Pictures in memory at the precision of their files: PNG (8 and 16 bits) and JPEG, turned upright by their EXIF
//! orientation. Nothing is decoded before its declared size has been compared with the length of its file.

use std::io::Cursor;
use std::path::Path;

use glam::DVec2;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::error::{Error, Result};

/// One picture, row-major from the top, channels interleaved, straight (not premultiplied), sRGB as in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// 8 bits a channel.
    U8 {
        /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        channels: usize,
        /// `[h * w * channels]`.
        data: Vec<u8>,
    },
    /// 16 bits a channel.
    U16 {
        /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        channels: usize,
        /// `[h * w * channels]`.
        data: Vec<u16>,
    },
}

impl Pixels {
    /// How many channels a pixel has: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
    pub fn channels(&self) -> usize {
        match self {
            Self::U8 { channels, .. } | Self::U16 { channels, .. } => *channels,
        }
    }

    /// How many pixels.
    pub fn len(&self) -> usize {
        match self {
            Self::U8 { channels, data } => data.len() / channels,
            Self::U16 { channels, data } => data.len() / channels,
        }
    }

    /// Whether there is no pixel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::U8 { data, .. } => data.len() as u64,
            Self::U16 { data, .. } => 2 * data.len() as u64,
        }
    }

    /// The `index`-th pixel, straight RGBA in `[0, 1]`; grey is spread to RGB, no alpha is 1.
    pub fn rgba(&self, index: usize) -> [f32; 4] {
        match self {
            Self::U8 { channels, data } => spread(&data[index * channels..][..*channels], |v| f32::from(v) / 255.0),
            Self::U16 { channels, data } => spread(&data[index * channels..][..*channels], |v| f32::from(v) / 65535.0),
        }
    }

    /// Blocks of `factor` pixels squared averaged into one; what is left over at the right and bottom is dropped.
    /// Colours are averaged by their alpha, as they would be if they were premultiplied.
    pub(super) fn reduced(&self, width: usize, factor: usize) -> Self {
        match self {
            Self::U8 { channels, data } => {
                let data = reduce(data, width, *channels, factor, |v| f64::from(*v), |v| v.round() as u8);
                Self::U8 { channels: *channels, data }
            }
            Self::U16 { channels, data } => {
                let data = reduce(data, width, *channels, factor, |v| f64::from(*v), |v| v.round() as u16);
                Self::U16 { channels: *channels, data }
            }
        }
    }

    /// The same kind of picture made of straight RGBA pixels in `[0, 1]`.
    pub(super) fn like(&self, rgba: &[[f32; 4]]) -> Self {
        let channels = self.channels();
        let pick = |p: &[f32; 4], c: usize| match (channels, c) {
            (2, 1) => p[3],
            _ => p[c],
        };
        let values = rgba.iter().flat_map(|p| (0..channels).map(move |c| pick(p, c)));
        match self {
            Self::U8 { .. } => Self::U8 { channels, data: values.map(|v| (v * 255.0).round() as u8).collect() },
            Self::U16 { .. } => Self::U16 { channels, data: values.map(|v| (v * 65535.0).round() as u16).collect() },
        }
    }
}

fn spread<T: Copy>(pixel: &[T], unit: impl Fn(T) -> f32) -> [f32; 4] {
    match *pixel {
        [l] => [unit(l), unit(l), unit(l), 1.0],
        [l, a] => [unit(l), unit(l), unit(l), unit(a)],
        [r, g, b] => [unit(r), unit(g), unit(b), 1.0],
        [r, g, b, a] => [unit(r), unit(g), unit(b), unit(a)],
        _ => [0.0; 4],
    }
}

fn reduce<T>(
    data: &[T],
    width: usize,
    channels: usize,
    factor: usize,
    value: impl Fn(&T) -> f64,
    back: impl Fn(f64) -> T,
) -> Vec<T> {
    let (w, h) = (width / factor, data.len() / (width * channels) / factor);
    let alpha = matches!(channels, 2 | 4).then_some(channels - 1);
    let mut out = Vec::with_capacity(w * h * channels);
    for y in 0..h {
        for x in 0..w {
            let (mut sum, mut weight) = ([0.0; 4], 0.0);
            for j in 0..factor {
                let start = ((y * factor + j) * width + x * factor) * channels;
                for pixel in data[start..][..factor * channels].chunks_exact(channels) {
                    let a = alpha.map_or(1.0, |c| value(&pixel[c]));
                    weight += a;
                    for (s, v) in sum.iter_mut().zip(pixel) {
                        *s += a * value(v);
                    }
                }
            }
            for (c, s) in sum.iter().enumerate().take(channels) {
                let mean = if alpha == Some(c) { weight / (factor * factor) as f64 } else { s / weight.max(1e-30) };
                out.push(back(mean));
            }
        }
    }
    out
}

/// What the head of a picture's file declares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header {
    /// Width and height after the EXIF orientation has been applied as [`Header::turn`] says.
    pub size: [u32; 2],
    /// The turn that makes the picture upright, or none where the dataset's camera describes it as stored.
    pub turn: Orientation,
    /// Bytes of the decoded picture.
    pub bytes: u64,
}

/// Reads the head of a PNG or JPEG.
///
/// Datasets differ in whether their cameras describe the picture as stored or as displayed. The declared size tells for
/// a quarter turn: when only the stored picture has its shape (a wide photo declared wide), the turn is left out.
///
/// # Errors
/// When it is no PNG or JPEG, is cut short, or declares more pixels than its length can hold.
pub fn header(path: &Path, declared: Option<DVec2>) -> Result<Header> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    let mut decoder = open(&bytes).map_err(|e| e.file(path))?;
    let turn = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (w, h) = decoder.dimensions();
    let turned = quarter(turn);
    let stored_only = turned && w != h && declared.is_some_and(|d| (d.x > d.y) == (w > h));
    let turn = if stored_only { Orientation::NoTransforms } else { turn };
    let size = if quarter(turn) { [h, w] } else { [w, h] };
    Ok(Header { size, turn, bytes: decoder.total_bytes() })
}

fn quarter(turn: Orientation) -> bool {
    use Orientation as O;
    matches!(turn, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

/// Decodes a picture, with the turn that its [`Header`] found.
///
/// # Errors
/// As [`header`], and when the data is damaged.
pub fn decode(path: &Path, turn: Orientation) -> Result<Pixels> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    let mut picture = decode_bytes(&bytes).map_err(|e| e.file(path))?;
    picture.apply_orientation(turn);
    let u8s = |channels, data| Ok(Pixels::U8 { channels, data });
    let u16s = |channels, data| Ok(Pixels::U16 { channels, data });
    match picture {
        DynamicImage::ImageLuma8(p) => u8s(1, p.into_raw()),
        DynamicImage::ImageLumaA8(p) => u8s(2, p.into_raw()),
        DynamicImage::ImageRgb8(p) => u8s(3, p.into_raw()),
        DynamicImage::ImageRgba8(p) => u8s(4, p.into_raw()),
        DynamicImage::ImageLuma16(p) => u16s(1, p.into_raw()),
        DynamicImage::ImageLumaA16(p) => u16s(2, p.into_raw()),
        DynamicImage::ImageRgb16(p) => u16s(3, p.into_raw()),
        DynamicImage::ImageRgba16(p) => u16s(4, p.into_raw()),
        other => {
            Err(Error::new(format!("pixels of kind {:?}", other.color())).file(path).remedy("save as PNG or JPEG"))
        }
    }
}

/// Decodes a mask to one byte a pixel for a photo of `size` after its `turn`: 0 where the mask is darker than half.
///
/// A mask of another size but the same shape is stretched by nearest pixel; one that fits the photo only before its
/// turn is turned with it.
///
/// # Errors
/// As [`decode`], and when the shapes differ.
pub fn decode_mask(path: &Path, size: [u32; 2], turn: Orientation) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    let mut picture = decode_bytes(&bytes).map_err(|e| e.file(path))?;
    if !same_shape([picture.width(), picture.height()], size) {
        picture.apply_orientation(turn);
    }
    let (w, h) = (picture.width(), picture.height());
    if !same_shape([w, h], size) {
        return Err(Error::new(format!("a mask of {w}x{h} for a photo of {}x{}", size[0], size[1]))
            .file(path)
            .remedy("make the mask as large as its photo"));
    }
    let grey = picture.into_luma8();
    let at = |i: u32, n: u32, of: u32| ((2 * u64::from(i) + 1) * u64::from(of) / (2 * u64::from(n))) as u32;
    let used = |x, y| u8::from(grey.get_pixel(at(x, size[0], w), at(y, size[1], h)).0[0] >= 128);
    Ok((0..size[1]).flat_map(|y| (0..size[0]).map(move |x| (x, y))).map(|(x, y)| used(x, y)).collect())
}

/// Whether two sizes are the same picture at different scales: within 1 % or one and a half pixels of each other.
pub(super) fn same_shape(a: [u32; 2], b: [u32; 2]) -> bool {
    let [aw, ah, bw, bh] = [a[0], a[1], b[0], b[1]].map(f64::from);
    let expected = ah * bw / aw;
    (expected - bh).abs() <= (0.01 * bh).max(1.5)
}

/// What is wrong with a picture, and what to do.
fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(format!("not a readable picture: {what}")).remedy("copy or export the photo again as PNG or JPEG")
}

fn open(bytes: &[u8]) -> Result<Box<dyn ImageDecoder + '_>> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(broken)?;
    // Neither code can say more with less: deflate spends a bit on at most 129 bytes, JPEG some 6 on 256 pixels.
    let ratio = match reader.format() {
        Some(ImageFormat::Png) => 1100,
        Some(ImageFormat::Jpeg) => {
            if !jpeg_is_whole(bytes) {
                return Err(broken("the file is cut short"));
            }
            2100
        }
        _ => return Err(broken("neither PNG nor JPEG")),
    };
    let decoder = reader.into_decoder().map_err(broken)?;
    let (w, h) = decoder.dimensions();
    if w == 0 || h == 0 || decoder.total_bytes() > bytes.len() as u64 * ratio {
        return Err(broken(format!("it declares {w}x{h} pixels in {} bytes of file", bytes.len())));
    }
    Ok(Box::new(decoder))
}

fn decode_bytes(bytes: &[u8]) -> Result<DynamicImage> {
    DynamicImage::from_decoder(open(bytes)?).map_err(broken)
}

/// Whether a JPEG has its end marker after the start of its scan. The decoder would fill what is missing with grey.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let [0xFF, marker, high, low] = bytes[at.min(bytes.len())..].iter().copied().take(4).collect::<Vec<_>>()[..] {
        if marker == 0xFF {
            at += 1;
        } else if marker == 0xDA {
            return bytes[at..].windows(2).any(|w| w == [0xFF, 0xD9]);
        } else {
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
    }
    false
}
