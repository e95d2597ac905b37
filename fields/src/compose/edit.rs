//! An edit: a small value that is evaluated where a field is sampled. Weights stay as they are.
//!
//! Places are masked: `sigma(x) = 0` where an edit hides `x`. Colours are multiplied by a matrix, `c' = M c` on the
//! sRGB-encoded values, and held to `[0, 1]` after the last edit. All is in the object's own scene units, before it is
//! moved.

use glam::{Mat3, Vec3};
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

use super::region::{Corners, Meets, Region, Sphere};
use crate::error::{Error, Result};

/// Shares of red, green and blue in the brightness that an eye sees (ITU-R BT.709).
const LUMA: Vec3 = Vec3::new(0.2126, 0.7152, 0.0722);
/// What the warmest temperature adds to red and takes from blue.
const WARMTH: f32 = 0.3;
/// The largest factor of a colour.
const MOST: f32 = 10.0;

/// A change of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Keeps what is inside a box.
    Crop(Corners),
    /// Removes what is inside a box.
    EraseBox(Corners),
    /// Removes what is inside a sphere.
    EraseSphere(Sphere),
    /// Removes a selected part.
    Erase(Region),
    /// Keeps a selected part alone.
    Keep(Region),
    /// Multiplies red, green and blue, each by 0 to 10.
    Tint([f32; 3]),
    /// Multiplies all three, by 0 to 10.
    Brightness(f32),
    /// The distance from grey: 0 is grey, 1 as it was, at most 10.
    Saturation(f32),
    /// From −1, cold, to 1, warm: red times `1 + 0.3 t`, blue times `1 − 0.3 t`.
    Temperature(f32),
}

impl Edit {
    /// Its name in scene files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crop(_) => "crop",
            Self::EraseBox(_) => "erase_box",
            Self::EraseSphere(_) => "erase_sphere",
            Self::Erase(_) => "erase",
            Self::Keep(_) => "keep",
            Self::Tint(_) => "tint",
            Self::Brightness(_) => "brightness",
            Self::Saturation(_) => "saturation",
            Self::Temperature(_) => "temperature",
        }
    }

    /// Whether there can be such an edit.
    ///
    /// # Errors
    /// When a value is out of its range; the message names the edit.
    pub fn check(&self) -> Result<()> {
        let factor = |v: &f32| (0.0..=MOST).contains(v);
        let within = |sound: bool, want| if sound { Ok(()) } else { Err(want) };
        let checked = match self {
            Self::Crop(b) | Self::EraseBox(b) => b.check(),
            Self::EraseSphere(s) => s.check(),
            Self::Erase(region) | Self::Keep(region) => region.check(),
            Self::Tint(rgb) => within(rgb.iter().all(factor), "use three factors from 0 to 10"),
            Self::Brightness(v) | Self::Saturation(v) => within(factor(v), "use a factor from 0 to 10"),
            Self::Temperature(v) => within((-1.0..=1.0).contains(v), "use -1 (cold) to 1 (warm)"),
        };
        checked.map_err(|want| Error::new(format!("edit {} is out of range", self.name())).remedy(want))
    }

    /// Whether `x` stays.
    fn shows(&self, x: Vec3) -> bool {
        match self {
            Self::Crop(b) => b.aabb().contains(x),
            Self::EraseBox(b) => !b.aabb().contains(x),
            Self::EraseSphere(s) => !s.contains(x),
            Self::Erase(region) => !region.contains(x),
            Self::Keep(region) => region.contains(x),
            _ => true,
        }
    }

    /// Whether nothing of `part` stays.
    fn hides(&self, part: Aabb) -> bool {
        match self {
            Self::Crop(b) => b.meets(part) == Meets::Nowhere,
            Self::EraseBox(b) => b.meets(part) == Meets::Everywhere,
            Self::EraseSphere(s) => s.meets(part) == Meets::Everywhere,
            Self::Erase(region) => region.meets(part) == Meets::Everywhere,
            Self::Keep(region) => region.meets(part) == Meets::Nowhere,
            _ => false,
        }
    }

    /// What colours are multiplied by.
    fn colour(&self) -> Mat3 {
        match self {
            Self::Tint(rgb) => Mat3::from_diagonal((*rgb).into()),
            Self::Brightness(v) => Mat3::from_diagonal(Vec3::splat(*v)),
            Self::Temperature(t) => Mat3::from_diagonal(Vec3::new(1.0 + WARMTH * t, 1.0, 1.0 - WARMTH * t)),
            Self::Saturation(s) => {
                let grey = Mat3::from_cols(Vec3::splat(LUMA.x), Vec3::splat(LUMA.y), Vec3::splat(LUMA.z));
                Mat3::IDENTITY * *s + grey * (1.0 - s)
            }
            _ => Mat3::IDENTITY,
        }
    }
}

/// Whether `x` stays after all `edits`.
pub fn shows(edits: &[Edit], x: Vec3) -> bool {
    edits.iter().all(|edit| edit.shows(x))
}

/// Whether one of `edits` leaves nothing of `part`.
pub fn hides(edits: &[Edit], part: Aabb) -> bool {
    edits.iter().any(|edit| edit.hides(part))
}

/// What colours are multiplied by, in the order of the edits.
pub fn colour(edits: &[Edit]) -> Mat3 {
    edits.iter().fold(Mat3::IDENTITY, |matrix, edit| edit.colour() * matrix)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::compose::region::Shape;
    use crate::rng::Rng;

    fn some() -> Vec<Edit> {
        let ball = Sphere { centre: [-0.2, 0.3, 0.1], radius: 0.45 };
        vec![
            Edit::Crop(Corners { min: [-0.5, -0.6, -0.7], max: [0.8, 0.7, 0.6] }),
            Edit::EraseBox(Corners { min: [-0.1, -0.2, -0.3], max: [0.5, 0.3, 0.4] }),
            Edit::EraseSphere(ball),
            Edit::Erase(Shape::Sphere(ball).into()),
            Edit::Keep(Region::from(Shape::Sphere(ball)).inverted()),
        ]
    }

    /// A part is called hidden only if no point of it is shown, and small parts deep inside are.
    #[test]
    fn what_is_hidden_as_a_whole_shows_nowhere() {
        let mut rng = Rng::new(1, "edits");
        let mut point = || Vec3::new(rng.range(-1.0, 1.0), rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
        for edit in some() {
            let (mut hidden, mut half) = (0, 0);
            for _ in 0..500 {
                let corner = point();
                let part = Aabb::new(corner, corner + 0.2 * point());
                let inside: Vec<Vec3> = (0..30).map(|_| part.min + part.size() * (0.5 * point() + 0.5)).collect();
                let shown = inside.iter().filter(|x| shows(slice::from_ref(&edit), **x)).count();
                if hides(slice::from_ref(&edit), part) {
                    hidden += 1;
                    assert_eq!(shown, 0, "{edit:?}: {part:?}");
                } else {
                    half += usize::from(shown > 0 && shown < 30);
                }
            }
            assert!(hidden > 5 && half > 5, "{edit:?}: {hidden} hidden, {half} in part");
        }
    }

    #[test]
    fn colours_change_as_they_are_named() {
        let c = Vec3::new(0.8, 0.4, 0.2);
        let after = |edit: Edit| colour(&[edit]) * c;
        assert_eq!(after(Edit::Brightness(0.5)), 0.5 * c);
        assert_eq!(after(Edit::Tint([1.0, 0.5, 2.0])), Vec3::new(0.8, 0.2, 0.4));
        let grey = after(Edit::Saturation(0.0));
        assert!((grey - Vec3::splat(LUMA.dot(c))).abs().max_element() < 1e-6, "{grey}");
        assert!((after(Edit::Saturation(1.0)) - c).abs().max_element() < 1e-6);
        let warm = after(Edit::Temperature(1.0));
        assert!(warm.x > c.x && warm.y == c.y && warm.z < c.z);
        // The order counts: grey then red is red, red then grey is grey.
        let red = Edit::Tint([1.0, 0.0, 0.0]);
        let (a, b) = (colour(&[Edit::Saturation(0.0), red.clone()]) * c, colour(&[red, Edit::Saturation(0.0)]) * c);
        assert!(a.y == 0.0 && (b.x - b.y).abs() < 1e-6 && b.y > 0.0);
    }

    #[test]
    fn impossible_edits_are_refused() {
        for edit in [
            Edit::Crop(Corners { min: [0.0; 3], max: [1.0, 0.0, 1.0] }),
            Edit::EraseBox(Corners { min: [f32::NAN; 3], max: [1.0; 3] }),
            Edit::EraseBox(Corners { min: [-1e30; 3], max: [1.0; 3] }),
            Edit::EraseSphere(Sphere { centre: [0.0; 3], radius: -1.0 }),
            Edit::EraseSphere(Sphere { centre: [f32::INFINITY, 0.0, 0.0], radius: 1.0 }),
            Edit::Erase(Shape::Sphere(Sphere { centre: [0.0; 3], radius: 0.0 }).into()),
            Edit::Tint([1.0, -0.1, 1.0]),
            Edit::Brightness(f32::NAN),
            Edit::Saturation(11.0),
            Edit::Temperature(1.5),
        ] {
            let error = edit.check().expect_err("out of range");
            assert!(error.what.contains(edit.name()) && !error.remedy.is_empty(), "{error}");
        }
        assert!(some().iter().all(|edit| edit.check().is_ok()));
    }
}
