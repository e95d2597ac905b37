//! What the rasteriser is asked for: the camera and the flags ([`SplatSpec`]), the Gaussians ([`SplatParams`]), and
//! the gradients that come back ([`SplatGrads`]).

use crate::error::{Error, Result};

/// Coefficients of spherical harmonics up to `degree`: 1, 4, 9, 16.
#[must_use]
pub const fn sh_coefficients(degree: u32) -> usize {
    ((degree + 1) * (degree + 1)) as usize
}

/// The highest degree of spherical harmonics that colours can have.
pub const MAX_SH_DEGREE: u32 = 3;

/// A part of the picture, in pixels from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// One pinhole camera and how to draw through it.
#[derive(Clone, Debug, PartialEq)]
pub struct SplatSpec {
    /// Width of the whole picture in pixels.
    pub width: u32,
    /// Height of the whole picture in pixels.
    pub height: u32,
    /// The part that is drawn; `None` for all of it. A window's pixels equal those of the whole picture.
    pub window: Option<Window>,
    /// Rigid transform, rows of `[R | t]`; the camera looks along -Z with +Y up (OpenGL).
    pub camera_from_world: [[f32; 4]; 3],
    /// Focal lengths in pixels, x and y.
    pub focal: [f32; 2],
    /// Principal point in pixels of the whole picture, y down; pixel (i, j) has its centre at (i + 0.5, j + 0.5).
    pub centre: [f32; 2],
    /// Gaussians whose centre is nearer than this, in scene units along the view axis, are left out. Positive.
    pub near: f32,
    /// Degree of spherical harmonics in use, 0 to 3, at most `sh_stored`.
    pub sh_degree: u32,
    /// Degree of spherical harmonics that `sh_rest` has room for, 0 to 3.
    pub sh_stored: u32,
    /// Whether opacity is lowered by what the 0.3-pixel blur adds in area (Mip-Splatting, Yu et al. 2024).
    pub antialias: bool,
}

impl SplatSpec {
    /// The window that is drawn.
    #[must_use]
    pub fn drawn(&self) -> Window {
        self.window.unwrap_or(Window { x: 0, y: 0, width: self.width, height: self.height })
    }

    /// Pixels that are drawn; the image is `[pixels, 5]`.
    #[must_use]
    pub fn pixels(&self) -> usize {
        let window = self.drawn();
        window.width as usize * window.height as usize
    }

    /// Floats of `sh_rest` for each Gaussian: `((d + 1)² - 1) · 3`.
    #[must_use]
    pub fn rest_width(&self) -> usize {
        (sh_coefficients(self.sh_stored) - 1) * 3
    }

    /// Whether `params` fit this view.
    ///
    /// # Errors
    /// Where lengths disagree with the number of Gaussians, or the degrees or the near plane are out of range.
    pub fn check(&self, params: &SplatParams) -> Result<usize> {
        if self.sh_stored > MAX_SH_DEGREE || self.sh_degree > self.sh_stored {
            let what = format!(
                "spherical harmonics of degree {} out of {} stored: degrees go from 0 to {MAX_SH_DEGREE}",
                self.sh_degree, self.sh_stored
            );
            return Err(Error::new(what));
        }
        if self.near.is_nan() || self.near <= 0.0 {
            return Err(Error::new(format!(
                "the near plane lies at {}, which is not in front of the camera",
                self.near
            )));
        }
        let window = self.drawn();
        let inside = |start: u32, length: u32, end: u32| start.checked_add(length).is_some_and(|stop| stop <= end);
        if !inside(window.x, window.width, self.width) || !inside(window.y, window.height, self.height) {
            return Err(Error::new(format!("{window:?} is not inside a picture of {}x{}", self.width, self.height)));
        }
        let n = params.raw_opacity.len();
        let lengths = [
            ("means", params.means.len(), 3),
            ("log_scales", params.log_scales.len(), 3),
            ("rotations", params.rotations.len(), 4),
            ("sh_dc", params.sh_dc.len(), 3),
            ("sh_rest", params.sh_rest.len(), self.rest_width()),
        ];
        for (name, length, width) in lengths {
            if length != n * width {
                return Err(Error::new(format!("{name} has {length} values, not {n} x {width}")));
            }
        }
        Ok(n)
    }
}

/// The Gaussians, row-major.
#[derive(Clone, Copy, Debug)]
pub struct SplatParams<'a> {
    /// Centres in scene units, `[n, 3]`.
    pub means: &'a [f32],
    /// ln of the standard deviations along the axes, `[n, 3]`.
    pub log_scales: &'a [f32],
    /// Quaternions w, x, y, z of any length, `[n, 4]`.
    pub rotations: &'a [f32],
    /// Logits of the opacities, `[n]`.
    pub raw_opacity: &'a [f32],
    /// Constant coefficients, `[n, 3]`.
    pub sh_dc: &'a [f32],
    /// The other coefficients, `[n, ((d + 1)² - 1) · 3]`, coefficient-major, channel fastest.
    pub sh_rest: &'a [f32],
}

/// Where [`super::backward_into`] writes: slices shaped like the parameters, overwritten whole.
#[derive(Debug)]
pub struct SplatGradsMut<'a> {
    /// `[n, 3]`
    pub means: &'a mut [f32],
    /// `[n, 3]`
    pub log_scales: &'a mut [f32],
    /// `[n, 4]`
    pub rotations: &'a mut [f32],
    /// `[n]`
    pub raw_opacity: &'a mut [f32],
    /// `[n, 3]`
    pub sh_dc: &'a mut [f32],
    /// `[n, ((d + 1)² - 1) · 3]`
    pub sh_rest: &'a mut [f32],
    /// Gradient with respect to the projected centre in pixels, `[n, 2]`; what densification measures.
    pub mean2d: &'a mut [f32],
}

/// Gradients of the loss, shaped like the parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplatGrads {
    /// `[n, 3]`
    pub means: Vec<f32>,
    /// `[n, 3]`
    pub log_scales: Vec<f32>,
    /// `[n, 4]`
    pub rotations: Vec<f32>,
    /// `[n]`
    pub raw_opacity: Vec<f32>,
    /// `[n, 3]`
    pub sh_dc: Vec<f32>,
    /// `[n, ((d + 1)² - 1) · 3]`
    pub sh_rest: Vec<f32>,
    /// Gradient with respect to the projected centre in pixels, `[n, 2]`.
    pub mean2d: Vec<f32>,
}

impl SplatGrads {
    /// Zeros for `n` Gaussians with `rest_width` floats of `sh_rest` each.
    #[must_use]
    pub fn zeros(n: usize, rest_width: usize) -> Self {
        Self {
            means: vec![0.0; n * 3],
            log_scales: vec![0.0; n * 3],
            rotations: vec![0.0; n * 4],
            raw_opacity: vec![0.0; n],
            sh_dc: vec![0.0; n * 3],
            sh_rest: vec![0.0; n * rest_width],
            mean2d: vec![0.0; n * 2],
        }
    }

    /// The same as slices to write to.
    pub fn as_mut(&mut self) -> SplatGradsMut<'_> {
        SplatGradsMut {
            means: &mut self.means,
            log_scales: &mut self.log_scales,
            rotations: &mut self.rotations,
            raw_opacity: &mut self.raw_opacity,
            sh_dc: &mut self.sh_dc,
            sh_rest: &mut self.sh_rest,
            mean2d: &mut self.mean2d,
        }
    }
}
