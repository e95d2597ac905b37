//! The ground, z = 0: a grid whose lines are 1, 2 or 5 times a power of ten apart, and the axes. It fades outwards.

use eframe::egui::Color32;
use glam::{Vec2, Vec3, vec3};
use retort_render::orbit::Orbit;

use super::canvas::Canvas;

/// Lines on either side of the middle.
const LINES: i32 = 16;
/// Steps between opaque and gone: a line is as many strokes.
const SHADES: f32 = 12.0;
/// The opacity of a line and of every tenth.
const FAINT: [f32; 2] = [0.28, 0.5];
/// What is left of an axis behind a surface.
const BEHIND: f32 = 0.25;

/// The axes' colours: red, green, blue for x, y, z.
pub const COLOURS: [Color32; 3] =
    [Color32::from_rgb(226, 72, 72), Color32::from_rgb(96, 180, 70), Color32::from_rgb(78, 132, 236)];

/// The distance of two lines, scene units, where the camera is `distance` from what it looks at.
pub fn spacing(distance: f32) -> f32 {
    let about = (distance / 6.0).max(1e-6);
    let power = 10.0_f32.powf(about.log10().floor());
    let steps = [(1.5, 1.0), (3.5, 2.0), (7.5, 5.0), (f32::INFINITY, 10.0)];
    let step = steps.into_iter().find(|(below, _)| about / power < *below);
    power * step.map_or(1.0, |(_, step)| step)
}

/// A colour in one of few shades, so that a fading line is few strokes.
fn shade(colour: Color32, opacity: f32) -> Color32 {
    colour.gamma_multiply((opacity.clamp(0.0, 1.0) * SHADES).round() / SHADES)
}

/// Draws the grid around what `orbit` looks at.
pub fn draw(canvas: &Canvas, orbit: &Orbit) {
    let spacing = spacing(orbit.distance);
    let reach = spacing * LINES as f32;
    let middle = (orbit.target.truncate() / spacing).round() * spacing;
    for along in [Vec2::X, Vec2::Y] {
        let across = Vec2::ONE - along;
        for i in -LINES..=LINES {
            let at = middle + across * (i as f32 * spacing);
            let number = (at.dot(across) / spacing).round() as i64;
            let faint = FAINT[usize::from(number % 10 == 0)];
            let off = i as f32 / LINES as f32;
            let colour = |share: f32| {
                let radius = Vec2::new(off, 2.0 * share - 1.0).length();
                shade(Color32::from_gray(150), faint * (1.0 - radius).max(0.0))
            };
            let ends = [-1.0, 1.0].map(|side| (at + side * reach * along).extend(0.0));
            canvas.line(ends, 1.0, 0.0, colour);
        }
    }
}

/// Draws the axes from the origin, the positive halves alone.
pub fn axes(canvas: &Canvas, orbit: &Orbit) {
    let reach = 0.5 * spacing(orbit.distance) * LINES as f32;
    for (way, colour) in [Vec3::X, Vec3::Y, vec3(0.0, 0.0, 0.5)].into_iter().zip(COLOURS) {
        canvas.line([Vec3::ZERO, reach * way], 1.5, BEHIND, |share| shade(colour, 1.6 * (1.0 - share)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_a_sensible_distance_apart() {
        for (distance, apart) in [(3.0, 0.5), (6.0, 1.0), (10.0, 2.0), (30.0, 5.0), (60.0, 10.0), (0.006, 0.001)] {
            assert!((spacing(distance) / apart - 1.0).abs() < 1e-3, "{distance}: {}", spacing(distance));
        }
        // At every distance there are a few, not hundreds, and never none.
        for i in 0..200 {
            let distance = 1e-3 * 1.1_f32.powi(i);
            assert!((4.0..=10.6).contains(&(distance / spacing(distance))), "{distance}: {}", spacing(distance));
        }
    }
}
