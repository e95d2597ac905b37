//! Solids of which things are made, and where a ray meets them. Each has its own frame, in which it fills `[-1, 1]³`;
//! rays are brought into it, so one formula serves every stretched, turned copy.

use std::f32::consts::TAU;

use glam::{Affine3A, Vec2, Vec3, vec2, vec3};

/// A solid in its own frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Solid {
    /// The unit ball.
    Ball,
    /// Around the z axis from `z = -1` with radius 1 to `z = 1` with radius `top`: a cylinder (1), a cone (0).
    Round {
        /// The radius at the top.
        top: f32,
    },
    /// The same with a regular polygon of so many sides, whose corners are at distance 1 (√2 for four sides, which then
    /// fill the square): a box, a pyramid, a prism.
    Edged {
        /// Sides.
        sides: u32,
        /// The share of its size that it has at the top.
        top: f32,
    },
    /// A ring around the z axis, of this thickness (the radius of its tube).
    Ring {
        /// The tube's radius; the ring reaches to 1.
        tube: f32,
    },
}

/// Where a ray meets a solid first.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// In lengths of the ray's direction.
    pub t: f32,
    /// The outward normal in the solid's frame, of any length.
    pub normal: Vec3,
}

impl Solid {
    /// Where the ray from `o` along `d` (any length) enters, ahead of its origin.
    pub fn hit(self, o: Vec3, d: Vec3) -> Option<Hit> {
        match self {
            Self::Ball => ball(o, d),
            Self::Round { top } => round(o, d, top),
            Self::Edged { sides, top } => edged(o, d, sides, top),
            Self::Ring { tube } => ring(o, d, tube),
        }
    }

    /// How far it reaches along `axis` (of the object's frame) from its middle, where `to_object` places it.
    pub fn reach(self, axis: Vec3, to_object: &Affine3A) -> f32 {
        let a: Vec3 = (to_object.matrix3.transpose() * glam::Vec3A::from(axis)).into();
        let flat = vec2(a.x, a.y).length();
        match self {
            Self::Ball => a.length(),
            Self::Round { top } => (flat - a.z).max(top * flat + a.z),
            Self::Edged { sides, top } => {
                let along = (0..sides).map(|i| corner(sides, i).dot(vec2(a.x, a.y))).fold(f32::MIN, f32::max);
                (along - a.z).max(top * along + a.z)
            }
            Self::Ring { tube } => (1.0 - tube) * flat + tube * a.length(),
        }
    }
}

/// A corner of the regular polygon; four sides fill the square `[-1, 1]²`.
fn corner(sides: u32, i: u32) -> Vec2 {
    let size = if sides == 4 { std::f32::consts::SQRT_2 } else { 1.0 };
    size * Vec2::from_angle(TAU * (i as f32 + 0.5) / sides as f32)
}

fn ball(o: Vec3, d: Vec3) -> Option<Hit> {
    let (a, b, c) = (d.dot(d), o.dot(d), o.dot(o) - 1.0);
    let root = b * b - a * c;
    if root < 0.0 {
        return None;
    }
    let t = (-b - root.sqrt()) / a;
    (t > 0.0).then(|| Hit { t, normal: o + t * d })
}

fn round(o: Vec3, d: Vec3, top: f32) -> Option<Hit> {
    // radius(z) = mean + slope z
    let (mean, slope) = (0.5 * (1.0 + top), 0.5 * (top - 1.0));
    let mut best: Option<Hit> = None;
    let mut keep = |t: f32, normal: Vec3| {
        if t > 0.0 && best.is_none_or(|h| t < h.t) {
            best = Some(Hit { t, normal });
        }
    };
    let (r0, r1) = (mean + slope * o.z, slope * d.z);
    let a = d.x * d.x + d.y * d.y - r1 * r1;
    let b = o.x * d.x + o.y * d.y - r0 * r1;
    let c = o.x * o.x + o.y * o.y - r0 * r0;
    let root = b * b - a * c;
    if root >= 0.0 && a.abs() > 1e-9 {
        for t in [(-b - root.sqrt()) / a, (-b + root.sqrt()) / a] {
            let p = o + t * d;
            let radius = mean + slope * p.z;
            // The other half of a double cone has a negative radius. Only the side that faces the ray is entered.
            let normal = vec3(p.x, p.y, -slope * radius);
            if p.z.abs() <= 1.0 && radius >= 0.0 && normal.dot(d) < 0.0 {
                keep(t, normal);
            }
        }
    }
    for (z, radius) in [(-1.0, 1.0), (1.0, top)] {
        if d.z * z < 0.0 {
            let t = (z - o.z) / d.z;
            let p = o + t * d;
            if p.x * p.x + p.y * p.y <= radius * radius {
                keep(t, vec3(0.0, 0.0, z));
            }
        }
    }
    best
}

/// A convex body as what lies behind all its planes.
fn edged(o: Vec3, d: Vec3, sides: u32, top: f32) -> Option<Hit> {
    let (mut enter, mut leave) = (f32::MIN, f32::MAX);
    let mut normal = Vec3::Z;
    let mut clip = |n: Vec3, offset: f32| {
        let (speed, height) = (n.dot(d), n.dot(o) - offset);
        if speed == 0.0 {
            if height > 0.0 {
                leave = f32::MIN;
            }
        } else {
            let t = -height / speed;
            if speed < 0.0 && t > enter {
                enter = t;
                normal = n;
            } else if speed > 0.0 && t < leave {
                leave = t;
            }
        }
    };
    clip(Vec3::Z, 1.0);
    clip(Vec3::NEG_Z, 1.0);
    let (mean, slope) = (0.5 * (1.0 + top), 0.5 * (top - 1.0));
    for i in 0..sides {
        let (p, q) = (corner(sides, i), corner(sides, i + 1));
        let middle = 0.5 * (p + q);
        let distance = middle.length();
        let outward = middle / distance;
        // outward · xy <= distance (mean + slope z)
        clip(outward.extend(-distance * slope), distance * mean);
    }
    (enter > 0.0 && enter < leave).then_some(Hit { t: enter, normal })
}

/// By steps of the distance (Hart 1996): a quartic is no quicker at so few rings, and less robust.
fn ring(o: Vec3, d: Vec3, tube: f32) -> Option<Hit> {
    let speed = d.length();
    let direction = d / speed;
    let major = 1.0 - tube;
    // The slab and the ball around it first.
    let middle = -o.dot(direction);
    let nearest = o + middle * direction;
    let inside = 1.0 - nearest.length_squared();
    if inside < 0.0 {
        return None;
    }
    let half = inside.sqrt();
    let mut t = (middle - half).max(0.0);
    let end = middle + half;
    for _ in 0..64 {
        let p = o + t * direction;
        let radial = vec2(p.x, p.y).length();
        let distance = vec2(radial - major, p.z).length() - tube;
        if distance < 1e-3 {
            let around = vec3(p.x, p.y, 0.0) * (major / radial.max(1e-6));
            return (t > 0.0).then_some(Hit { t: t / speed, normal: p - around });
        }
        t += distance;
        if t > end {
            break;
        }
    }
    None
}
