//! Lossless WebP pictures that hold numbers.

use std::io::Cursor;

use image_webp::{ColorType, EncoderParams, WebPDecoder, WebPEncoder};

use super::meta::damaged;
use crate::error::{Error, Result};

/// Pixels, row-major from the top left, of `channels` bytes each.
#[derive(Debug)]
pub struct Texture {
    pub width: usize,
    pub height: usize,
    /// 3 or 4.
    pub channels: usize,
    pub bytes: Vec<u8>,
}

impl Texture {
    /// A picture to be filled in.
    pub fn new(width: usize, height: usize, channels: usize) -> Self {
        Self { width, height, channels, bytes: vec![0; width * height * channels] }
    }

    /// Unpacks a picture of at least `least` and at most `most` pixels; its size is looked at first.
    ///
    /// # Errors
    /// When it is damaged, packed with loss, or of another size.
    pub fn unpacked(name: &str, file: &[u8], least: usize, most: usize) -> Result<Self> {
        let bad = |e: image_webp::DecodingError| damaged(&format!("{name}: {e}"));
        let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(bad)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        if width * height < least || width * height > most {
            return Err(damaged(&format!("{name} has {width} by {height} pixels for {least} values")));
        }
        if decoder.is_animated() || decoder.is_lossy() {
            let what = format!("{name} was packed with loss, which garbles what it holds");
            return Err(Error::new(what).remedy("export it again"));
        }
        let channels = if decoder.has_alpha() { 4 } else { 3 };
        let mut bytes = vec![0; width * height * channels];
        decoder.read_image(&mut bytes).map_err(bad)?;
        Ok(Self { width, height, channels, bytes })
    }

    /// The file of it. Which of the encoder's two ways is shorter is found by trying.
    ///
    /// # Errors
    /// When it is larger than WebP allows.
    pub fn packed(&self) -> Result<Vec<u8>> {
        let with = |predict: bool| -> Result<Vec<u8>> {
            let colour = if self.channels == 4 { ColorType::Rgba8 } else { ColorType::Rgb8 };
            let mut params = EncoderParams::default();
            params.use_predictor_transform = predict;
            let mut file = Vec::new();
            let mut encoder = WebPEncoder::new(&mut file);
            encoder.set_params(params);
            let packed = encoder.encode(&self.bytes, self.width as u32, self.height as u32, colour);
            packed.map_err(|e| Error::new(format!("WebP: {e}")))?;
            Ok(file)
        };
        let (a, b) = rayon::join(|| with(false), || with(true));
        let (a, b) = (a?, b?);
        Ok(if b.len() < a.len() { b } else { a })
    }

    /// A channel of a pixel; opaque where there is no fourth.
    pub fn at(&self, pixel: usize, channel: usize) -> u8 {
        if channel < self.channels { self.bytes[pixel * self.channels + channel] } else { 255 }
    }
}
