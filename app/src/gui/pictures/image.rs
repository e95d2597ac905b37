//! What was seen of a scene, and the picture that a screen shows of it: in colour or as one of the other views, with the
//! selection over it. Another view of what was seen costs no drawing.

use std::sync::Arc;

use super::{View, normals};

/// How much differences are exaggerated.
const CONTRAST: f32 = 4.0;

/// What of a scene is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What an eye sees.
    #[default]
    Colour,
    /// Near is bright.
    Depth,
    /// Opaque is white.
    Opacity,
    /// Which way surfaces face: x is red, y green, z blue.
    Normals,
    /// The cells in which there is anything.
    Occupancy,
}

impl Mode {
    /// All of them, in the order of menus.
    pub const ALL: [Self; 5] = [Self::Colour, Self::Depth, Self::Opacity, Self::Normals, Self::Occupancy];

    /// Its name in menus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Colour => "Colour",
            Self::Depth => "Depth",
            Self::Opacity => "Opacity",
            Self::Normals => "Normals",
            Self::Occupancy => "Occupancy",
        }
    }
}

/// What was seen of one scene.
#[derive(Debug)]
pub struct Seen {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What there is at each pixel.
    pub what: What,
    /// `[h * w]`: distance in scene units, infinite where there is nothing to hit.
    pub depth: Arc<Vec<f32>>,
    /// Whether distances are along the view axis, not along the ray.
    pub along_axis: bool,
}

/// What there is at the pixels.
#[derive(Debug)]
pub enum What {
    /// `[h * w * 5]`: red, green, blue, alpha, depth times alpha.
    Light(Vec<f32>),
    /// `[h * w * 4]`: occupied cells, as a screen shows them.
    Cells(Vec<u8>),
}

/// A picture of one scene.
#[derive(Clone, Debug)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[h * w * 4]`, row-major from the top, opaque.
    pub rgba: Vec<u8>,
    pub(super) depth: Arc<Vec<f32>>,
    pub(super) along_axis: bool,
}

impl Image {
    /// A picture without distances.
    #[cfg(test)]
    pub fn bare(width: usize, height: usize, rgba: Vec<u8>) -> Self {
        Self { width, height, rgba, depth: Arc::new(Vec::new()), along_axis: false }
    }

    /// What a screen shows of `seen`.
    fn of(seen: &Seen, view: &View) -> Self {
        let &Seen { width, height, ref what, ref depth, along_axis } = seen;
        let camera = view.camera.resized(width as u32, height as u32);
        let mut rgba = match (what, view.mode) {
            (What::Cells(rgba), _) => rgba.clone(),
            (What::Light(_), Mode::Normals) => {
                normals::coloured(&normals::normals(depth, along_axis, &camera), view.background)
            }
            (What::Light(pixels), _) => coloured(pixels, depth, view),
        };
        if let Some(marked) = &view.marked {
            marked.paint(&mut rgba, depth, &camera, along_axis);
        }
        Self { width, height, rgba, depth: Arc::clone(depth), along_axis }
    }
}

/// The pictures of scenes, and that of the difference of two.
pub fn images(seen: &[Seen], view: &View) -> Vec<Image> {
    let mut images: Vec<Image> = seen.iter().map(|seen| Image::of(seen, view)).collect();
    if let [a, b] = &images[..] {
        let difference = difference(a, b);
        images.push(difference);
    }
    images
}

/// Where two pictures of one size differ: black where they do not, then red, yellow and white.
fn difference(a: &Image, b: &Image) -> Image {
    let heat = |(a, b): (&[u8], &[u8])| {
        let most = (0..3).map(|c| a[c].abs_diff(b[c])).max().unwrap_or(0);
        let v = CONTRAST * f32::from(most) / 255.0;
        [3.0 * v, 3.0 * v - 1.0, 3.0 * v - 2.0, 1.0].map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8)
    };
    let rgba = a.rgba.chunks_exact(4).zip(b.rgba.chunks_exact(4)).flat_map(heat).collect();
    Image { rgba, ..a.clone() }
}

/// What a screen shows of `pixels` `[n, 5]`.
fn coloured(pixels: &[f32], depth: &[f32], view: &View) -> Vec<u8> {
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let solid = || depth.iter().copied().filter(|d| d.is_finite());
    let (near, far) = (solid().fold(f32::INFINITY, f32::min), solid().fold(0.0, f32::max));
    let colour = |(p, d): (&[f32], &f32)| {
        let over = |c: usize| p[c] + (1.0 - p[3]) * view.background[c];
        let [r, g, b] = match view.mode {
            Mode::Colour | Mode::Normals | Mode::Occupancy => [over(0), over(1), over(2)],
            Mode::Opacity => [p[3]; 3],
            Mode::Depth if d.is_finite() => [1.0 - 0.85 * (d - near) / (far - near).max(1e-6); 3],
            Mode::Depth => [0.0; 3],
        };
        [byte(r), byte(g), byte(b), 255]
    };
    pixels.chunks_exact(5).zip(depth).flat_map(colour).collect()
}
