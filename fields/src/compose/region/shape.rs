//! The shapes that regions are made of, in scene units of the object that they select from.

use glam::{Vec2, Vec3};
use retort_shaders::Aabb;
use serde::{Deserialize, Serialize};

use super::{Cells, Meets};

/// The largest coordinate, scene units.
const FAR: f32 = 1e4;
/// The most points of an outline or a stroke.
const MAX_POINTS: usize = 4096;

/// A closed part of space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// A box along the axes.
    Box(Corners),
    /// A sphere.
    Sphere(Sphere),
    /// What a brush went over.
    Stroke(Stroke),
    /// What is seen within an outline.
    Outline(Outline),
    /// Cells of a grid.
    Cells(Cells),
}

/// A box by two opposite corners, in scene units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corners {
    /// The lower corner.
    pub min: [f32; 3],
    /// The upper corner.
    pub max: [f32; 3],
}

/// A sphere, in scene units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sphere {
    /// Its middle.
    pub centre: [f32; 3],
    /// Above 0.
    pub radius: f32,
}

/// What is nearer than `radius` to a line from point to point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StrokeText", into = "StrokeText")]
pub struct Stroke {
    points: Vec<Vec3>,
    radius: f32,
    /// Around all of it: most points asked are far away.
    around: Aabb,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StrokeText {
    points: Vec<[f32; 3]>,
    radius: f32,
}

impl From<StrokeText> for Stroke {
    fn from(text: StrokeText) -> Self {
        Self::new(text.points.into_iter().map(Vec3::from).collect(), text.radius)
    }
}

impl From<Stroke> for StrokeText {
    fn from(stroke: Stroke) -> Self {
        Self { points: stroke.points.into_iter().map(Vec3::into).collect(), radius: stroke.radius }
    }
}

/// All that an eye sees within an outline, however far: a pyramid whose faces go through the eye.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline {
    /// Where the eye is.
    pub eye: [f32; 3],
    /// To the right as it looks, length 1.
    pub right: [f32; 3],
    /// Upward as it looks, length 1 and at a right angle.
    pub up: [f32; 3],
    /// Corners: how far to the right and upward at distance 1, in order around. The last is joined to the first; where
    /// the line crosses itself, what is enclosed twice is outside.
    pub corners: Vec<[f32; 2]>,
}

fn near(values: &[f32]) -> bool {
    values.iter().all(|v| v.abs() <= FAR)
}

impl Corners {
    /// As a box.
    pub fn aabb(&self) -> Aabb {
        Aabb::new(self.min.into(), self.max.into())
    }

    /// What is wanted, unless there can be such a box.
    pub(in crate::compose) fn check(&self) -> Result<(), &'static str> {
        let rises = (0..3).all(|a| self.min[a] < self.max[a]);
        let sound = rises && near(&self.min) && near(&self.max);
        if sound { Ok(()) } else { Err("use min below max on every axis, within -10000 and 10000") }
    }

    /// How much of `part` is in it.
    pub fn meets(&self, part: Aabb) -> Meets {
        let own = self.aabb();
        if part.min.cmpgt(own.max).any() || part.max.cmplt(own.min).any() {
            Meets::Nowhere
        } else if own.contains(part.min) && own.contains(part.max) {
            Meets::Everywhere
        } else {
            Meets::Partly
        }
    }
}

impl Sphere {
    /// Whether `x` is in it.
    pub fn contains(&self, x: Vec3) -> bool {
        x.distance_squared(self.centre.into()) <= self.radius * self.radius
    }

    /// What is wanted, unless there can be such a sphere.
    pub(in crate::compose) fn check(&self) -> Result<(), &'static str> {
        let sound = self.radius > 0.0 && near(&self.centre) && near(&[self.radius]);
        if sound { Ok(()) } else { Err("use a radius above 0 and a centre within -10000 and 10000") }
    }

    /// How much of `part` is in it.
    pub fn meets(&self, part: Aabb) -> Meets {
        let centre = Vec3::from(self.centre);
        let farthest = (part.min - centre).abs().max((part.max - centre).abs());
        let nearest = centre.clamp(part.min, part.max) - centre;
        let squared = self.radius * self.radius;
        if farthest.length_squared() <= squared {
            Meets::Everywhere
        } else if nearest.length_squared() > squared {
            Meets::Nowhere
        } else {
            Meets::Partly
        }
    }
}

impl Stroke {
    /// A brush of `radius` along `points`, one or more.
    pub fn new(points: Vec<Vec3>, radius: f32) -> Self {
        let line = Aabb::around(points.iter().copied()).unwrap_or(Aabb::cube(0.0));
        Self { around: Aabb { min: line.min - radius, max: line.max + radius }, points, radius }
    }

    /// Where it begins and where each straight piece ends.
    fn pieces(&self) -> impl Iterator<Item = (Vec3, Vec3)> + '_ {
        let last = self.points.len().saturating_sub(1);
        self.points.iter().enumerate().map(move |(i, &a)| (a, self.points[(i + 1).min(last)]))
    }

    fn contains(&self, x: Vec3) -> bool {
        let squared = self.radius * self.radius;
        self.around.contains(x) && self.pieces().any(|(a, b)| squared_distance(x, a, b) <= squared)
    }

    fn meets(&self, part: Aabb) -> Meets {
        let corner = |i: usize| {
            let side = Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2 & 1) as f32);
            part.min + side * part.size()
        };
        let (squared, reach) = (self.radius * self.radius, self.radius + 0.5 * part.size().length());
        let mut meets = Meets::Nowhere;
        for (a, b) in self.pieces() {
            // What is around a straight piece is convex: with its corners the whole box is in it.
            if (0..8).all(|i| squared_distance(corner(i), a, b) <= squared) {
                return Meets::Everywhere;
            }
            if squared_distance(part.centre(), a, b) <= reach * reach {
                meets = Meets::Partly;
            }
        }
        meets
    }

    fn check(&self) -> Result<(), &'static str> {
        let many = (1..=MAX_POINTS).contains(&self.points.len());
        let sound = many && self.radius > 0.0 && near(&[self.radius]);
        let sound = sound && self.points.iter().all(|p| near(&p.to_array()));
        if sound { Ok(()) } else { Err("use a radius above 0 and 1 to 4096 points within -10000 and 10000") }
    }
}

/// From `x` to the nearest point between `a` and `b`.
fn squared_distance(x: Vec3, a: Vec3, b: Vec3) -> f32 {
    let along = b - a;
    let share = (x - a).dot(along) / along.length_squared().max(1e-30);
    x.distance_squared(a + share.clamp(0.0, 1.0) * along)
}

impl Outline {
    /// Where `x` is seen, as corners are given; nothing behind the eye.
    fn seen(&self, x: Vec3) -> Option<Vec2> {
        let (right, up) = (Vec3::from(self.right), Vec3::from(self.up));
        let from_eye = x - Vec3::from(self.eye);
        let ahead = from_eye.dot(up.cross(right));
        (ahead > 0.0).then(|| Vec2::new(from_eye.dot(right), from_eye.dot(up)) / ahead)
    }

    fn edges(&self) -> impl Iterator<Item = (Vec2, Vec2)> + '_ {
        let n = self.corners.len();
        (0..n).map(move |i| (self.corners[i].into(), self.corners[(i + 1) % n].into()))
    }

    /// Whether a line to the right crosses the outline an odd number of times.
    fn encloses(&self, at: Vec2) -> bool {
        self.edges().fold(false, |inside, (a, b)| {
            let crosses = (a.y > at.y) != (b.y > at.y) && at.x < a.x + (at.y - a.y) / (b.y - a.y) * (b.x - a.x);
            inside != crosses
        })
    }

    fn contains(&self, x: Vec3) -> bool {
        self.seen(x).is_some_and(|at| self.encloses(at))
    }

    fn meets(&self, part: Aabb) -> Meets {
        let corner = |i: usize| {
            let side = Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2 & 1) as f32);
            self.seen(part.min + side * part.size())
        };
        let seen: Vec<Vec2> = (0..8).filter_map(corner).collect();
        if seen.is_empty() {
            return Meets::Nowhere;
        }
        if seen.len() < 8 {
            return Meets::Partly;
        }
        // The box is seen within the rectangle around its corners.
        let (low, high) = seen.iter().fold((seen[0], seen[0]), |(low, high), p| (low.min(*p), high.max(*p)));
        // Without the far corners of an unbounded scene nothing is known.
        let known = low.is_finite() && high.is_finite();
        if !known || self.edges().any(|(a, b)| crosses(a, b, low, high)) {
            return Meets::Partly;
        }
        if self.encloses(0.5 * (low + high)) { Meets::Everywhere } else { Meets::Nowhere }
    }

    fn check(&self) -> Result<(), &'static str> {
        let (right, up) = (Vec3::from(self.right), Vec3::from(self.up));
        let unit = |v: Vec3| (v.length_squared() - 1.0).abs() < 1e-3;
        let turned = unit(right) && unit(up) && right.dot(up).abs() < 1e-3;
        let corners = (3..=MAX_POINTS).contains(&self.corners.len()) && self.corners.iter().all(|c| near(c));
        let sound = turned && corners && near(&self.eye);
        if sound { Ok(()) } else { Err("use right and up of length 1 at a right angle, and 3 to 4096 corners") }
    }
}

/// Whether any of the line from `a` to `b` lies in a rectangle.
fn crosses(a: Vec2, b: Vec2, low: Vec2, high: Vec2) -> bool {
    let (mut from, mut to) = (0.0_f32, 1.0_f32);
    for axis in 0..2 {
        let (start, along) = (a[axis], b[axis] - a[axis]);
        if along == 0.0 {
            if start < low[axis] || start > high[axis] {
                return false;
            }
            continue;
        }
        let (s, t) = ((low[axis] - start) / along, (high[axis] - start) / along);
        (from, to) = (from.max(s.min(t)), to.min(s.max(t)));
    }
    from <= to
}

impl Shape {
    /// Whether `x` is in it.
    pub fn contains(&self, x: Vec3) -> bool {
        match self {
            Self::Box(corners) => corners.aabb().contains(x),
            Self::Sphere(sphere) => sphere.contains(x),
            Self::Stroke(stroke) => stroke.contains(x),
            Self::Outline(outline) => outline.contains(x),
            Self::Cells(cells) => cells.contains(x),
        }
    }

    /// How much of `part` is in it.
    pub fn meets(&self, part: Aabb) -> Meets {
        match self {
            Self::Box(corners) => corners.meets(part),
            Self::Sphere(sphere) => sphere.meets(part),
            Self::Stroke(stroke) => stroke.meets(part),
            Self::Outline(outline) => outline.meets(part),
            Self::Cells(cells) => cells.meets(part),
        }
    }

    /// What is wanted, unless there can be such a shape.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Box(corners) => corners.check(),
            Self::Sphere(sphere) => sphere.check(),
            Self::Stroke(stroke) => stroke.check(),
            Self::Outline(outline) => outline.check(),
            Self::Cells(cells) => cells.check(),
        }
    }
}
