//! What a mesh file refers to: other files beside it, or bytes written into its text; and pictures in either.
//!
//! Only plain files by relative paths are opened, and no more is read than is allowed. A picture's size is checked against
//! its bytes before it is decoded: deflate spends a bit on at most 129 bytes, JPEG some 6 bits on 256 pixels.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Component, Path};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::super::Texture;
use crate::error::{Error, Result};

/// The most bytes that are read from files beside.
const MAX_BYTES: u64 = 4 << 30;
/// The longest side of a picture.
const MAX_SIDE: u32 = 16384;
/// The most pixels of all pictures together: 400 MB.
const MAX_PIXELS: u64 = 1 << 27;

/// Where a file's references lead.
pub(super) struct Source<'a> {
    folder: Option<&'a Path>,
    bytes_left: u64,
    pixels_left: u64,
}

impl<'a> Source<'a> {
    /// References lead into `folder`; without one there must be none.
    pub(super) fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, bytes_left: MAX_BYTES, pixels_left: MAX_PIXELS }
    }

    /// What a reference of a glTF document means.
    ///
    /// # Errors
    /// When it leads nowhere or to more than is allowed.
    pub(super) fn uri(&mut self, uri: &str) -> Result<Vec<u8>> {
        match uri.strip_prefix("data:") {
            Some(data) => inline(data),
            None => self.file(&String::from_utf8_lossy(&percent_decoded(uri))),
        }
    }

    /// The bytes of a file beside.
    ///
    /// # Errors
    /// When the path is not relative, or there is no such plain file, or too much was read already.
    pub(super) fn file(&mut self, name: &str) -> Result<Vec<u8>> {
        let shown = shortened(name);
        let folder = self.folder.ok_or_else(|| Error::new(format!("it refers to another file, \"{shown}\"")))?;
        // Exporters on Windows write their own slashes.
        let name = name.replace('\\', "/");
        let relative = Path::new(&name).components().all(|c| !matches!(c, Component::RootDir | Component::Prefix(_)));
        if !relative || name.contains(':') || name.is_empty() {
            return Err(Error::new(format!("\"{shown}\" is not a file beside it"))
                .remedy("export it again with relative paths, or as .glb"));
        }
        let path = folder.join(name);
        let about = std::fs::metadata(&path).map_err(|e| Error::io(&path, &e))?;
        if !about.is_file() {
            return Err(Error::new("not a plain file").file(path));
        }
        if about.len() > self.bytes_left {
            return Err(Error::new("the files it refers to are larger than 4 GiB together").file(path));
        }
        let mut bytes = Vec::new();
        let mut file = File::open(&path).map_err(|e| Error::io(&path, &e))?.take(self.bytes_left);
        file.read_to_end(&mut bytes).map_err(|e| Error::io(&path, &e))?;
        self.bytes_left -= bytes.len() as u64;
        Ok(bytes)
    }

    /// Decodes a PNG or JPEG; alpha is dropped.
    ///
    /// # Errors
    /// When it is another format, damaged, or too large.
    pub(super) fn picture(&mut self, bytes: &[u8]) -> Result<Texture> {
        let broken = |what: &dyn std::fmt::Display| {
            Error::new(format!("a texture is not a readable picture: {what}")).remedy("use PNG or JPEG textures")
        };
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| broken(&e))?;
        let ratio = match reader.format() {
            Some(ImageFormat::Png) => 1100,
            Some(ImageFormat::Jpeg) if jpeg_is_whole(bytes) => 2100,
            Some(ImageFormat::Jpeg) => return Err(broken(&"it is cut short")),
            _ => return Err(broken(&"neither PNG nor JPEG")),
        };
        let decoder = reader.into_decoder().map_err(|e| broken(&e))?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || decoder.total_bytes() > bytes.len() as u64 * ratio {
            return Err(broken(&format!("it declares {width}x{height} pixels in {} bytes", bytes.len())));
        }
        if width > MAX_SIDE || height > MAX_SIDE || pixels > self.pixels_left {
            return Err(Error::new(format!(
                "a texture of {width}x{height} pixels is too large, or all of them together are"
            ))
            .remedy("export it with smaller textures"));
        }
        self.pixels_left -= pixels;
        let rgb = DynamicImage::from_decoder(decoder).map_err(|e| broken(&e))?.into_rgb8().into_raw();
        Ok(Texture { width, height, rgb })
    }
}

/// Whether the last scan is followed by the end marker; the decoder would fill what is missing with grey. Neither marker can
/// occur within the data of a scan.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |marker| bytes.windows(2).rposition(|w| w == [0xFF, marker]);
    last(0xDA).is_some_and(|scan| last(0xD9).is_some_and(|end| end > scan))
}

/// Bytes written into the text: `[media type][;base64],DATA`.
fn inline(data: &str) -> Result<Vec<u8>> {
    let (about, data) = data.split_once(',').ok_or_else(|| Error::new("a data URI has no comma"))?;
    if !about.ends_with(";base64") {
        return Ok(percent_decoded(data).into_owned());
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config)
        .decode(data)
        .map_err(|e| Error::new(format!("a data URI is not base64: {e}")).remedy("export the file again"))
}

/// The bytes of a text with `%41` and the like replaced; what is no such code stays.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|c| *first == b'%' && c.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| u8::from_str_radix(c, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(bytes)
}

fn shortened(name: &str) -> String {
    let mut shown: String = name.chars().take(80).filter(|c| !c.is_control()).collect();
    if name.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_the_text_are_read() {
        let mut source = Source::new(None);
        assert_eq!(source.uri("data:application/octet-stream;base64,AAEC/w==").unwrap(), [0, 1, 2, 255]);
        assert_eq!(source.uri("data:;base64,AAEC/w").unwrap(), [0, 1, 2, 255]);
        assert_eq!(source.uri("data:,a%20b%zz").unwrap(), b"a b%zz");
        assert!(source.uri("data:;base64,A*").is_err() && source.uri("data:AA").is_err());
        assert!(source.uri("a.bin").unwrap_err().what.contains("another file"));
    }

    #[test]
    fn only_plain_files_beside_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep er")).unwrap();
        std::fs::write(folder.path().join("deep er/a.bin"), b"abc").unwrap();
        let mut source = Source::new(Some(folder.path()));
        assert_eq!(source.uri("deep%20er/a.bin").unwrap(), b"abc");
        assert_eq!(source.file("deep er\\a.bin").unwrap(), b"abc");
        let absolute = folder.path().join("deep er/a.bin");
        for wrong in ["deep er", "b.bin", "https://example.org/a.bin", "C:\\a.bin", "", absolute.to_str().unwrap()] {
            assert!(source.file(wrong).is_err(), "{wrong}");
        }
        source.bytes_left = 2;
        assert!(source.file("deep er/a.bin").is_err());
    }

    #[test]
    fn pictures_are_bounded() {
        let texture = Texture { width: 64, height: 48, rgb: (0..64 * 48 * 3).map(|k| (k * 7) as u8).collect() };
        let png = super::super::super::glb::to_png(&texture).unwrap();
        assert_eq!(Source::new(None).picture(&png).unwrap(), texture);
        let mut source = Source::new(None);
        source.pixels_left = 64 * 48;
        assert!(source.picture(&png).is_ok() && source.picture(&png).is_err(), "all together");
        // A width of two thousand million, its checksum made right, is not believed, nor one of sixteen thousand.
        let mut lying = png.clone();
        lying[16..20].copy_from_slice(&0x7FFF_0000_u32.to_be_bytes());
        let crc = |bytes: &[u8]| {
            !bytes.iter().fold(!0_u32, |sum, byte| {
                (0..8).fold(sum ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
            })
        };
        let sum = crc(&lying[12..29]);
        lying[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(Source::new(None).picture(&lying).is_err());
        lying[16..20].copy_from_slice(&0x4000_u32.to_be_bytes());
        let sum = crc(&lying[12..29]);
        lying[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(Source::new(None).picture(&lying).unwrap_err().what.contains("declares 16384x48"));
        for wrong in [&png[..png.len() / 2], b"GIF89a..........", &[]] {
            assert!(Source::new(None).picture(wrong).is_err());
        }
        let mut jpeg = Cursor::new(Vec::new());
        let picture = image::RgbImage::from_raw(64, 48, texture.rgb).unwrap();
        picture.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        assert!(Source::new(None).picture(&jpeg).is_ok());
        assert!(Source::new(None).picture(&jpeg[..jpeg.len() - 40]).unwrap_err().what.contains("cut short"));
    }
}
