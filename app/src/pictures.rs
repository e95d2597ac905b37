//! Pictures on their way to PNG files.

use std::io::Cursor;
use std::path::Path;

use image::{ExtendedColorType, ImageFormat};
use retort_fields::data::Photo;
use retort_fields::error::{Error, Result};
use retort_fields::field::Frame;
use retort_fields::files::write_atomically;

/// Pixels between pictures side by side.
const GAP: usize = 4;

/// An opaque picture, sRGB.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[h * w * 3]`, row-major from the top, in `[0, 1]`.
    pub rgb: Vec<f32>,
}

impl Picture {
    /// A rendered frame over a plain background.
    pub fn of_frame(frame: &Frame, background: [f32; 3]) -> Self {
        Self { width: frame.width as usize, height: frame.height as usize, rgb: frame.rgb_over(background) }
    }

    /// A photo over a plain background.
    pub fn of_photo(photo: &Photo, background: [f32; 3]) -> Self {
        let (width, height) = (photo.camera.width as usize, photo.camera.height as usize);
        Self { width, height, rgb: photo.rgb_over(background) }
    }

    /// Pictures from left to right on white, their tops aligned.
    pub fn side_by_side(pictures: &[Self]) -> Self {
        let height = pictures.iter().map(|p| p.height).max().unwrap_or(0);
        let width = pictures.iter().map(|p| p.width + GAP).sum::<usize>().saturating_sub(GAP);
        let mut rgb = vec![1.0; 3 * width * height];
        let mut left = 0;
        for picture in pictures {
            for (row, source) in picture.rgb.chunks_exact((3 * picture.width).max(1)).enumerate() {
                let start = 3 * (row * width + left);
                rgb[start..start + source.len()].copy_from_slice(source);
            }
            left += picture.width + GAP;
        }
        Self { width, height, rgb }
    }

    /// Writes an 8-bit PNG, all or nothing, and gives its size in bytes.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<u64> {
        let bytes: Vec<u8> = self.rgb.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        let mut png = Cursor::new(Vec::new());
        let (width, height) = (self.width as u32, self.height as u32);
        image::write_buffer_with_format(&mut png, &bytes, width, height, ExtendedColorType::Rgb8, ImageFormat::Png)
            .map_err(|e| Error::new(format!("the picture cannot be encoded: {e}")).file(path))?;
        write_atomically(path, png.get_ref())?;
        Ok(png.get_ref().len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Picture;

    fn plain(width: usize, height: usize, value: f32) -> Picture {
        Picture { width, height, rgb: vec![value; 3 * width * height] }
    }

    #[test]
    fn pictures_stand_side_by_side() {
        let both = Picture::side_by_side(&[plain(2, 1, 0.0), plain(1, 2, 0.5)]);
        assert_eq!((both.width, both.height), (7, 2));
        let row = |y: usize| both.rgb[21 * y..21 * (y + 1)].chunks(3).map(|p| p[0]).collect::<Vec<_>>();
        assert_eq!(row(0), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_eq!(row(1), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_eq!(Picture::side_by_side(&[]).rgb.len(), 0);
    }

    #[test]
    fn a_png_holds_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.png");
        let mut picture = plain(3, 2, 0.25);
        picture.rgb[0] = 7.0;
        let bytes = picture.write_png(&path).unwrap();
        assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
        let read = image::open(&path).unwrap().into_rgb8();
        assert_eq!((read.dimensions(), read.as_raw()[0], read.as_raw()[1]), ((3, 2), 255, 64));
        assert!(picture.write_png(&folder.path().join("none/p.png")).is_err());
    }
}
