//! Lines of the scene on the picture: clipped, cut into short pieces, and dim where a surface of the picture hides them.

use eframe::egui::{Color32, Painter, Pos2, Rect, Stroke, pos2};
use glam::{Affine3A, Vec2, Vec3};
use retort_shaders::Camera;

use crate::gui::pictures::Drawn;

/// What is nearer than this is not drawn, scene units along the axis.
const NEAR: f32 = 1e-3;
/// The length of a piece that is hidden or not, points.
const PIECE: f32 = 6.0;
/// The most pieces of a line.
const PIECES: f32 = 400.0;
/// A surface hides what lies this much behind it: a part of the distance, and scene units.
const BEHIND: [f32; 2] = [5e-3, 2e-3];

/// Where lines are drawn.
pub struct Canvas<'a> {
    painter: &'a Painter,
    /// The picture's place, points.
    pub rect: Rect,
    /// The picture's camera, a pixel a point.
    pub camera: Camera,
    camera_from_world: Affine3A,
    drawn: &'a Drawn,
}

/// A line's points in camera space, both in front of the camera, and what part of the line they are.
struct Front {
    ends: [Vec3; 2],
    part: [f32; 2],
}

impl<'a> Canvas<'a> {
    /// A canvas over the picture `drawn` in `rect`. Lines follow the picture, not the camera that is ahead of it.
    pub fn new(painter: &'a Painter, rect: Rect, drawn: &'a Drawn) -> Self {
        let [width, height] = [rect.width(), rect.height()].map(|side| side.max(1.0) as u32);
        let camera = drawn.view.camera.resized(width, height);
        let camera_from_world = camera.camera_from_world();
        Self { painter, rect, camera, camera_from_world, drawn }
    }

    fn place(&self, pixel: Vec2) -> Pos2 {
        self.rect.min + eframe::egui::vec2(pixel.x, pixel.y)
    }

    /// Where a point of the scene is on the screen, if it is in front of the camera.
    pub fn project(&self, x: Vec3) -> Option<Pos2> {
        self.camera.project(x).map(|(pixel, _)| self.place(pixel))
    }

    /// Whether a surface of the picture is before what is at `at`, `depth` along the axis.
    fn is_hidden(&self, at: Pos2, depth: f32) -> bool {
        let place = (at - self.rect.min) / self.rect.size();
        let surface = self.drawn.point(0, Vec2::new(place.x, place.y));
        surface.is_some_and(|point| {
            -self.camera_from_world.transform_point3(point).z < depth * (1.0 - BEHIND[0]) - BEHIND[1]
        })
    }

    /// Draws the line from `a` to `b`, `width` points thick. `colour` is asked with the share of the way from `a`; a hidden
    /// piece has the part `behind` of its opacity.
    pub fn line(&self, [a, b]: [Vec3; 2], width: f32, behind: f32, colour: impl Fn(f32) -> Color32) {
        let ends = [a, b].map(|x| self.camera_from_world.transform_point3(x));
        let Some(Front { ends, part }) = in_front(ends) else { return };
        let [Some(from), Some(to)] = ends.map(|p| self.camera.project_in_camera(p)) else { return };
        let [from, to] = [from, to].map(|pixel| self.place(pixel));
        let Some([first, last]) = inside(self.rect.expand(2.0), from, to) else { return };
        let pieces = ((last - first) * (to - from).length() / PIECE).ceil().clamp(1.0, PIECES);
        let depths = ends.map(|p| -p.z);
        let at = |piece: f32| first + (last - first) * piece / pieces;
        // Pieces of one colour are one stroke.
        let mut run: Option<(f32, Color32)> = None;
        let stroke = |begun: f32, ended: f32, colour: Color32| {
            self.painter.line_segment([from.lerp(to, begun), from.lerp(to, ended)], Stroke::new(width, colour));
        };
        for piece in 0..pieces as usize {
            let middle = at(piece as f32 + 0.5);
            // Depths are linear in their inverse along a line on the screen.
            let depth = ((1.0 - middle) / depths[0] + middle / depths[1]).recip();
            let share = part[0] + (part[1] - part[0]) * middle * depth / depths[1];
            let mut colour = colour(share);
            if colour.a() > 0 && self.is_hidden(from.lerp(to, middle), depth) {
                colour = colour.gamma_multiply(behind);
            }
            match run {
                Some((_, same)) if same == colour => {}
                other => {
                    if let Some((begun, before)) = other.filter(|(_, colour)| colour.a() > 0) {
                        stroke(begun, at(piece as f32), before);
                    }
                    run = Some((at(piece as f32), colour));
                }
            }
        }
        if let Some((begun, colour)) = run.filter(|(_, colour)| colour.a() > 0) {
            stroke(begun, last, colour);
        }
    }
}

/// The part of a line in camera space that is in front.
fn in_front([a, b]: [Vec3; 2]) -> Option<Front> {
    let (near_a, near_b) = (-a.z - NEAR, -b.z - NEAR);
    let cut = || near_a / (near_a - near_b);
    match (near_a >= 0.0, near_b >= 0.0) {
        (true, true) => Some(Front { ends: [a, b], part: [0.0, 1.0] }),
        (true, false) => Some(Front { ends: [a, a.lerp(b, cut())], part: [0.0, cut()] }),
        (false, true) => Some(Front { ends: [a.lerp(b, cut()), b], part: [cut(), 1.0] }),
        (false, false) => None,
    }
}

/// The shares of the way from `from` to `to` between which the line is in `rect` (Liang and Barsky 1984).
fn inside(rect: Rect, from: Pos2, to: Pos2) -> Option<[f32; 2]> {
    let way = to - from;
    let (mut first, mut last) = (0.0_f32, 1.0_f32);
    for (step, room) in [
        (-way.x, from.x - rect.min.x),
        (way.x, rect.max.x - from.x),
        (-way.y, from.y - rect.min.y),
        (way.y, rect.max.y - from.y),
    ] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            first = first.max(room / step);
        } else {
            last = last.min(room / step);
        }
    }
    (first < last).then_some([first, last])
}

/// How far `at` is from the line between `a` and `b`, points.
pub fn distance_to(at: Pos2, a: Pos2, b: Pos2) -> f32 {
    let (way, to) = (b - a, at - a);
    let share = if way.length_sq() > 0.0 { (to.dot(way) / way.length_sq()).clamp(0.0, 1.0) } else { 0.0 };
    at.distance(pos2(a.x + share * way.x, a.y + share * way.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_camera_and_at_the_edge() {
        let front = in_front([Vec3::new(0.0, 0.0, -1.0), Vec3::new(0.0, 1.0, 1.0)]).expect("its first half");
        assert!(front.part[0] == 0.0 && (front.part[1] - 0.5).abs() < 1e-2 && front.ends[1].z < 0.0);
        assert!(in_front([Vec3::Z, Vec3::X + Vec3::Z]).is_none());
        let rect = Rect::from_min_max(pos2(0.0, 0.0), pos2(10.0, 10.0));
        assert_eq!(inside(rect, pos2(-10.0, 5.0), pos2(30.0, 5.0)), Some([0.25, 0.5]));
        assert_eq!(inside(rect, pos2(1.0, 1.0), pos2(2.0, 9.0)), Some([0.0, 1.0]));
        assert_eq!(inside(rect, pos2(-1.0, 11.0), pos2(20.0, 12.0)), None);
        assert_eq!(distance_to(pos2(5.0, 3.0), pos2(0.0, 0.0), pos2(10.0, 0.0)), 3.0);
        assert_eq!(distance_to(pos2(-4.0, 3.0), pos2(0.0, 0.0), pos2(10.0, 0.0)), 5.0);
    }
}
