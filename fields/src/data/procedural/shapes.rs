//! What stands on the bench: each thing as a signed distance (scene units, negative inside) within a box.
//!
//! The distances are bounds rather than exact where a shape is tapered or twisted, and are scaled so that a step along a
//! ray by the distance never passes a surface (Hart 1996, "Sphere Tracing").

use std::f32::consts::TAU;

use glam::{Vec2, Vec3, vec2, vec3};

/// Height of the table top, and so of everything's foot.
pub const TABLE: f32 = -0.36;
/// Radius of the table.
pub const TABLE_RADIUS: f32 = 0.76;
/// Height of the liquid in the retort.
pub const LIQUID: f32 = 0.13;
/// Height of the liquid in the receiver.
pub const RECEIVED: f32 = -0.05;

/// The middle of the retort's bulb.
pub const BULB: Vec3 = vec3(-0.26, 0.04, 0.10);
/// The bulb's radius.
pub const BULB_RADIUS: f32 = 0.25;
/// The middle and radius of the polished ball.
pub const BALL: Vec3 = vec3(0.20, -0.44, TABLE + 0.17);
const BALL_RADIUS: f32 = 0.17;
/// The foot of the stack of discs.
pub const STACK: Vec3 = vec3(-0.38, -0.42, TABLE);
/// Height of one disc.
pub const DISC: f32 = 0.062;
const DISC_RADII: [f32; 6] = [0.19, 0.165, 0.18, 0.135, 0.11, 0.075];
/// The foot of the twisted column.
pub const COLUMN: Vec3 = vec3(-0.10, 0.50, TABLE);
const COLUMN_HEIGHT: f32 = 0.72;
/// The axis of the pedestal and of the receiver upon it.
pub const RECEIVER: Vec3 = vec3(0.545, 0.04, TABLE);
const PEDESTAL_HEIGHT: f32 = 0.20;
/// Height of the middle of the receiver's bulb.
pub const RECEIVER_BULB: f32 = TABLE + PEDESTAL_HEIGHT + 0.108;
/// The receiver's radius.
pub const RECEIVER_RADIUS: f32 = 0.112;
/// The foot of the book.
pub const BOOK: Vec3 = vec3(0.33, 0.45, TABLE);
/// Half the book's size.
pub const BOOK_HALF: Vec3 = vec3(0.19, 0.14, 0.05);
/// Cosine and sine of the book's turn.
const BOOK_TURN: Vec2 = vec2(0.866, -0.5);
/// The middle of the crystal on the book.
pub const CRYSTAL: Vec3 = vec3(0.34, 0.44, TABLE + 0.1 + 0.04);

/// Everything that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    Table,
    Retort,
    Tripod,
    Burner,
    Flame,
    Stack,
    Column,
    Ball,
    Pedestal,
    Receiver,
    Book,
    Crystal,
}

impl Thing {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Table,
        Self::Retort,
        Self::Tripod,
        Self::Burner,
        Self::Flame,
        Self::Stack,
        Self::Column,
        Self::Ball,
        Self::Pedestal,
        Self::Receiver,
        Self::Book,
        Self::Crystal,
    ];

    /// A box around it: its lowest and highest corner.
    pub fn bounds(self) -> (Vec3, Vec3) {
        let upright = |foot: Vec3, radius: f32, height: f32| {
            (foot - vec3(radius, radius, 0.0), foot + vec3(radius, radius, height))
        };
        match self {
            Self::Table => upright(vec3(0.0, 0.0, TABLE - 0.09), TABLE_RADIUS, 0.09),
            Self::Retort => (BULB - BULB_RADIUS, vec3(0.585, BULB.y + BULB_RADIUS, 0.60)),
            Self::Tripod => upright(BULB.with_z(TABLE), 0.30, 0.36),
            Self::Burner => upright(BULB.with_z(TABLE), 0.10, 0.09),
            Self::Flame => upright(BULB.with_z(TABLE + 0.08), 0.05, 0.15),
            Self::Stack => upright(STACK, 0.20, DISC * DISC_RADII.len() as f32),
            Self::Column => upright(COLUMN, 0.125, COLUMN_HEIGHT),
            Self::Ball => (BALL - BALL_RADIUS, BALL + BALL_RADIUS),
            Self::Pedestal => upright(RECEIVER, 0.14, PEDESTAL_HEIGHT),
            Self::Receiver => upright(RECEIVER.with_z(TABLE + PEDESTAL_HEIGHT), 0.13, 0.33),
            Self::Book => upright(BOOK, 0.24, 2.0 * BOOK_HALF.z),
            Self::Crystal => (CRYSTAL - vec3(0.1, 0.1, 0.14), CRYSTAL + vec3(0.1, 0.1, 0.14)),
        }
    }

    /// Signed distance from `p` to its surface, or less.
    pub fn distance(self, p: Vec3) -> f32 {
        match self {
            Self::Table => table(p),
            Self::Retort => 0.92 * retort(p - BULB),
            Self::Tripod => tripod(p - BULB.with_z(TABLE)),
            Self::Burner => burner(p - BULB.with_z(TABLE)),
            Self::Flame => flame(p - BULB.with_z(TABLE + 0.15)),
            Self::Stack => stack(p - STACK),
            Self::Column => column(p - COLUMN),
            Self::Ball => p.distance(BALL) - BALL_RADIUS,
            Self::Pedestal => pedestal(p - RECEIVER),
            Self::Receiver => receiver(p - RECEIVER.with_z(TABLE + PEDESTAL_HEIGHT)),
            Self::Book => book(p),
            Self::Crystal => crystal(p - CRYSTAL),
        }
    }

    /// The unit normal of its surface at `p`: the gradient of the distance by differences along a tetrahedron's corners.
    pub fn normal(self, p: Vec3) -> Vec3 {
        const CORNERS: [Vec3; 4] =
            [vec3(1.0, -1.0, -1.0), vec3(-1.0, 1.0, -1.0), vec3(-1.0, -1.0, 1.0), vec3(1.0, 1.0, 1.0)];
        let gradient: Vec3 = CORNERS.iter().map(|&e| e * self.distance(p + 5e-4 * e)).sum();
        gradient.normalize_or(Vec3::Z)
    }
}

/// `p` in the book's own axes, from its middle.
pub fn in_book(p: Vec3) -> Vec3 {
    let q = p - BOOK - vec3(0.0, 0.0, BOOK_HALF.z);
    let Vec2 { x: c, y: s } = BOOK_TURN;
    vec3(c * q.x + s * q.y, c * q.y - s * q.x, q.z)
}

/// A point of the column, untwisted; the column is square there.
pub fn in_column(q: Vec3) -> Vec2 {
    Vec2::from_angle(-5.0 * q.z).rotate(vec2(q.x, q.y))
}

fn table(p: Vec3) -> f32 {
    let middle = TABLE - 0.045;
    let slab = cylinder(vec3(p.x, p.y, p.z - middle), TABLE_RADIUS, 0.045, 0.02);
    // A groove around the edge.
    slab.max(0.012 - ring(vec3(p.x, p.y, p.z - middle), TABLE_RADIUS + 0.004, 0.0))
}

/// The bulb runs over into a neck that rises, bends over and falls away along +X; `q` from the bulb's middle.
fn retort(q: Vec3) -> f32 {
    smooth_min(q.length() - BULB_RADIUS, neck(q), 0.11)
}

/// An arc of 120° and the tangent that continues it, with a radius that shrinks along the way.
fn neck(q: Vec3) -> f32 {
    const CENTRE: Vec2 = vec2(0.17, 0.22);
    const BEND: f32 = 0.17;
    const MIDDLE: Vec2 = vec2(-0.5, 0.866_025_4);
    const END: Vec2 = vec2(0.5, 0.866_025_4);
    const FALL: Vec2 = vec2(0.866_025_4, -0.5);
    const LENGTH: f32 = 0.60;
    let p = vec2(q.x, q.z);
    let towards = (p - CENTRE).normalize_or(MIDDLE);
    let on_arc = if towards.dot(MIDDLE) >= 0.5 {
        towards
    } else if towards.dot(Vec2::NEG_X) > towards.dot(END) {
        Vec2::NEG_X
    } else {
        END
    };
    // 0 at the beginning of the arc and 1 at its end: the cosine runs from 1 to -1/2.
    let along = (1.0 + on_arc.x) / 1.5;
    let arc = vec2(p.distance(CENTRE + BEND * on_arc), q.y).length() - (0.095 - 0.03 * along);
    let start = CENTRE + BEND * END;
    let run = (p - start).dot(FALL).clamp(0.0, LENGTH);
    let lip = 0.012 * smooth_step(LENGTH - 0.055, LENGTH - 0.008, run);
    let fall = vec2(p.distance(start + run * FALL), q.y).length() - (0.065 - 0.033 * run / LENGTH + lip);
    // The end is cut off flat.
    arc.min(fall.max((p - start).dot(FALL) - LENGTH))
}

fn tripod(q: Vec3) -> f32 {
    let hoop = ring(vec3(q.x, q.y, q.z - 0.315), 0.198, 0.017);
    // The three legs are one, folded over.
    let sector = TAU / 3.0;
    let angle = q.y.atan2(q.x);
    let turn = sector * (angle / sector).round();
    let leg = Vec2::from_angle(-turn).rotate(vec2(q.x, q.y));
    let leg = vec3(leg.x, leg.y, q.z);
    let rod = capsule(leg, vec3(0.20, 0.0, 0.315), vec3(0.262, 0.0, 0.012), 0.014, 0.014);
    let foot = leg.distance(vec3(0.264, 0.0, 0.022)) - 0.026;
    hoop.min(rod).min(foot)
}

fn burner(q: Vec3) -> f32 {
    let bowl = cylinder(vec3(q.x, q.y, q.z - 0.03), 0.085, 0.03, 0.02);
    let spout = cylinder(vec3(q.x, q.y, q.z - 0.06), 0.035, 0.025, 0.008);
    smooth_min(bowl, spout, 0.02)
}

/// A drop whose tip points upward.
fn flame(q: Vec3) -> f32 {
    smooth_min(
        vec3(q.x, q.y, q.z + 0.02).length() - 0.034,
        capsule(q, Vec3::ZERO, vec3(0.0, 0.0, 0.06), 0.022, 0.004),
        0.03,
    )
}

fn stack(q: Vec3) -> f32 {
    DISC_RADII
        .iter()
        .enumerate()
        .map(|(i, &radius)| {
            // Each a little off the axis of the one below.
            let shift = 0.008 * Vec2::from_angle(2.4 * i as f32);
            let p = vec3(q.x - shift.x, q.y - shift.y, q.z - DISC * (i as f32 + 0.5));
            cylinder(p, radius, 0.5 * DISC, 0.014)
        })
        .fold(f32::INFINITY, f32::min)
}

fn column(q: Vec3) -> f32 {
    let base = cuboid(vec3(q.x, q.y, q.z - 0.025), vec3(0.115, 0.115, 0.025), 0.008);
    let capital = cuboid(vec3(q.x, q.y, q.z - COLUMN_HEIGHT + 0.025), vec3(0.105, 0.105, 0.025), 0.008);
    let turned = in_column(q);
    let middle = 0.5 * COLUMN_HEIGHT;
    let shaft = cuboid(vec3(turned.x, turned.y, q.z - middle), vec3(0.068, 0.068, middle - 0.03), 0.012);
    // The twist stretches space by up to sqrt(1 + (5 · 0.1)²).
    base.min(capital).min(0.85 * shaft)
}

fn pedestal(q: Vec3) -> f32 {
    let half = 0.5 * PEDESTAL_HEIGHT;
    let drum = cylinder(vec3(q.x, q.y, q.z - half), 0.118, half, 0.01);
    let plinth = cylinder(vec3(q.x, q.y, q.z - 0.018), 0.138, 0.018, 0.008);
    let top = cylinder(vec3(q.x, q.y, q.z - PEDESTAL_HEIGHT + 0.015), 0.13, 0.015, 0.008);
    drum.min(plinth).min(top)
}

/// A small round flask with a short neck, open upward; `q` from its foot.
fn receiver(q: Vec3) -> f32 {
    let bulb = vec3(q.x, q.y, q.z - 0.108).length() - RECEIVER_RADIUS;
    let neck = capsule(q, vec3(0.0, 0.0, 0.19), vec3(0.0, 0.0, 0.31), 0.042, 0.034);
    let lip = ring(vec3(q.x, q.y, q.z - 0.305), 0.036, 0.012);
    smooth_min(bulb, neck.max(q.z - 0.31), 0.05).max(-q.z).min(lip)
}

/// Two boards and the block of pages between them.
fn book(p: Vec3) -> f32 {
    let q = in_book(p);
    let cover = cuboid(q, BOOK_HALF, 0.006);
    // Pages stand back on three sides, the spine (-X) is closed.
    let hollow = cuboid(q - vec3(0.03, 0.0, 0.0), BOOK_HALF + vec3(0.02, 0.1, -0.012), 0.0);
    let pages = cuboid(q - vec3(-0.002, 0.0, 0.0), BOOK_HALF - vec3(0.010, 0.012, 0.004), 0.0);
    cover.max(-hollow).min(pages)
}

fn crystal(q: Vec3) -> f32 {
    let p = q.abs();
    // The length of the gradient of x + y + 0.72 z is 1.59.
    (p.x + p.y + 0.72 * p.z - 0.098) / 1.59
}

/// A capped cylinder around Z with edges rounded by `edge`.
fn cylinder(p: Vec3, radius: f32, half_height: f32, edge: f32) -> f32 {
    let d = vec2(vec2(p.x, p.y).length() - radius + edge, p.z.abs() - half_height + edge);
    d.max(Vec2::ZERO).length() + d.max_element().min(0.0) - edge
}

/// A box with edges rounded by `edge`.
fn cuboid(p: Vec3, half: Vec3, edge: f32) -> f32 {
    let d = p.abs() - half + edge;
    d.max(Vec3::ZERO).length() + d.max_element().min(0.0) - edge
}

/// A torus around Z.
fn ring(p: Vec3, radius: f32, thickness: f32) -> f32 {
    vec2(vec2(p.x, p.y).length() - radius, p.z).length() - thickness
}

/// A segment thickened by a radius that goes from `ra` at `a` to `rb` at `b`.
fn capsule(p: Vec3, a: Vec3, b: Vec3, ra: f32, rb: f32) -> f32 {
    let (pa, ba) = (p - a, b - a);
    let t = (pa.dot(ba) / ba.length_squared()).clamp(0.0, 1.0);
    (pa - t * ba).length() - (ra + t * (rb - ra))
}

/// The smaller of two, with the crease between them filled over a width of `k` (a quadratic that meets both lines).
fn smooth_min(a: f32, b: f32, k: f32) -> f32 {
    let overlap = (k - (a - b).abs()).max(0.0);
    a.min(b) - overlap * overlap / (4.0 * k)
}

/// 0 up to `low`, 1 from `high` on, a cubic between.
pub fn smooth_step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
