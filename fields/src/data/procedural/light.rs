//! What a ray sees: the nearest thing, its colour, and light from a window (the key), a dim bluish side (the fill) and
//! all around (the ambient, dimmed where things crowd).
//!
//! Radiance is linear. Polished things mirror the surroundings (Schlick 1994 for how much, by the angle) but not one
//! another: a highlight that moves with the eye, and no mirror image that a small field could never hold.

use std::f32::consts::{FRAC_1_SQRT_2, TAU};

use glam::{Vec2, Vec3, vec2, vec3};

use super::shapes::{
    self, BALL, BULB, BULB_RADIUS, COLUMN, DISC, LIQUID, RECEIVED, RECEIVER, RECEIVER_BULB, RECEIVER_RADIUS, STACK,
    TABLE, Thing, smooth_step,
};
use retort_shaders::Ray;

/// Towards the window, and its colour.
const KEY: Vec3 = vec3(-0.6 * FRAC_1_SQRT_2, -0.8 * FRAC_1_SQRT_2, FRAC_1_SQRT_2);
const KEY_COLOUR: Vec3 = vec3(2.35, 2.12, 1.80);
/// Towards the other side of the room.
const FILL: Vec3 = vec3(0.742_781, 0.557_086, 0.371_391);
const FILL_COLOUR: Vec3 = vec3(0.26, 0.33, 0.46);
/// Ambient light from above and from below.
const SKY: Vec3 = vec3(0.46, 0.50, 0.57);
const GROUND: Vec3 = vec3(0.27, 0.22, 0.18);

/// What a place on a surface is made of.
struct Material {
    /// The share of light it scatters, linear.
    colour: Vec3,
    /// The share of light it mirrors, seen head-on.
    mirror: Vec3,
    /// How sharply it mirrors: 0 blurred all over, 1 clear.
    polish: f32,
    /// Light of its own.
    glow: Vec3,
    /// How much light passes through from behind.
    clear: f32,
}

/// A colour as one writes it (sRGB, `0xRRGGBB`), made linear by squaring, which is near enough for choosing colours.
const fn hex(rgb: u32) -> Vec3 {
    const fn channel(byte: u32) -> f32 {
        let c = (byte & 255) as f32 / 255.0;
        c * c
    }
    vec3(channel(rgb >> 16), channel(rgb >> 8), channel(rgb))
}

const fn matt(colour: Vec3) -> Material {
    Material { colour, mirror: Vec3::splat(0.025), polish: 0.25, glow: Vec3::ZERO, clear: 0.0 }
}

const fn glazed(colour: Vec3) -> Material {
    Material { colour, mirror: Vec3::splat(0.045), polish: 0.9, glow: Vec3::ZERO, clear: 0.0 }
}

const BRASS: Material =
    Material { colour: hex(0x7A_5A20), mirror: vec3(0.42, 0.29, 0.11), polish: 0.45, glow: Vec3::ZERO, clear: 0.0 };

const fn glass(colour: Vec3) -> Material {
    Material { colour, mirror: Vec3::splat(0.06), polish: 1.0, glow: Vec3::ZERO, clear: 0.8 }
}

/// The radiance along a ray, linear, or nothing where it passes everything by.
pub fn radiance(ray: &Ray) -> Option<Vec3> {
    let (t, thing) = nearest(ray)?;
    let p = ray.at(t);
    let normal = thing.normal(p);
    let material = material(thing, p, normal, ray.direction);
    Some(shade(p, normal, ray.direction, &material))
}

/// Whose surface a ray meets first.
#[cfg(test)]
pub fn thing_at(ray: &Ray) -> Option<Thing> {
    nearest(ray).map(|(_, thing)| thing)
}

/// The distances at which a ray enters and leaves a thing's box grown by `margin`.
fn through_box(ray: &Ray, inverse: Vec3, thing: Thing, margin: f32) -> Option<(f32, f32)> {
    let (low, high) = thing.bounds();
    let a = (low - margin - ray.origin) * inverse;
    let b = (high + margin - ray.origin) * inverse;
    let (near, far) = (a.min(b).max_element().max(0.0), a.max(b).min_element());
    (near < far).then_some((near, far))
}

/// The first surface along a ray: its distance, and whose it is.
fn nearest(ray: &Ray) -> Option<(f32, Thing)> {
    const NONE: (f32, f32, Thing) = (f32::INFINITY, f32::INFINITY, Thing::Table);
    let inverse = ray.direction.recip();
    let mut boxes = [NONE; Thing::ALL.len()];
    let mut count = 0;
    for thing in Thing::ALL {
        if let Some((near, far)) = through_box(ray, inverse, thing, 1e-3) {
            boxes[count] = (near, far, thing);
            count += 1;
        }
    }
    let boxes = &mut boxes[..count];
    boxes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut best: Option<(f32, Thing)> = None;
    for &(near, far, thing) in boxes.iter() {
        let end = best.map_or(far, |(t, _)| far.min(t));
        if let Some(t) = march(ray, thing, near, end) {
            best = Some((t, thing));
        }
    }
    best
}

/// Where a ray meets one thing between two distances.
fn march(ray: &Ray, thing: Thing, near: f32, far: f32) -> Option<f32> {
    let mut t = near;
    for _ in 0..96 {
        if t >= far {
            return None;
        }
        let d = thing.distance(ray.at(t));
        if d < 2e-4 {
            return Some(t);
        }
        t += d;
    }
    // So many short steps happen at grazing rays alone; whether they hit is a matter of 1e-3.
    (thing.distance(ray.at(t)) < 2e-3).then_some(t)
}

/// The share of the window that a point sees, 0 to 1: how near the ray to its middle comes to anything, as a share of
/// how wide the window is there.
fn sees_window(p: Vec3) -> f32 {
    const WIDTH: f32 = 0.11;
    let ray = Ray { origin: p, direction: KEY };
    let inverse = KEY.recip();
    let mut share = 1.0_f32;
    for thing in Thing::ALL {
        if matches!(thing, Thing::Table | Thing::Flame) {
            continue;
        }
        let Some((near, far)) = through_box(&ray, inverse, thing, 0.06) else { continue };
        let dim = if matches!(thing, Thing::Retort | Thing::Receiver) { 0.35 } else { 0.0 };
        let mut t = near.max(1e-3);
        for _ in 0..40 {
            let d = thing.distance(ray.at(t));
            // Half the window is seen where the ray touches.
            let seen = smooth_step(-1.0, 1.0, d / (WIDTH * t + 2e-3));
            share = share.min(dim + (1.0 - dim) * seen);
            t += d.abs().max(0.006);
            if t > far || share <= dim {
                break;
            }
        }
        if share < 0.01 {
            return 0.0;
        }
    }
    share
}

/// The share of the surroundings that a point sees, roughly: how far the nearest thing keeps away along the normal.
fn openness(p: Vec3, normal: Vec3) -> f32 {
    const REACH: [(f32, f32); 3] = [(0.03, 0.8), (0.09, 0.45), (0.20, 0.25)];
    let mut closed = 0.0;
    for (reach, weight) in REACH {
        closed += weight * (1.0 - any_distance(p + reach * normal, reach) / reach);
    }
    (1.0 - 0.62 * closed).clamp(0.08, 1.0)
}

/// The distance to the nearest thing, or `most` if that is less.
fn any_distance(p: Vec3, most: f32) -> f32 {
    Thing::ALL.iter().filter(|&&thing| thing != Thing::Flame).fold(most, |nearest, &thing| {
        let (low, high) = thing.bounds();
        let outside = (low - p).max(p - high).max(Vec3::ZERO).length_squared();
        if outside >= nearest * nearest { nearest } else { nearest.min(thing.distance(p).max(0.0)) }
    })
}

fn shade(p: Vec3, normal: Vec3, direction: Vec3, material: &Material) -> Vec3 {
    let open = openness(p, normal);
    let facing_key = normal.dot(KEY);
    let lit = if facing_key > 0.0 || material.clear > 0.0 { sees_window(p + 6e-3 * normal) } else { 0.0 };
    let ambient = open * GROUND.lerp(SKY, 0.5 + 0.5 * normal.z);
    let fill = open * normal.dot(FILL).max(0.0) * FILL_COLOUR;
    // Light through glass: what arrives from behind, gathered on the side away from the window.
    let through = material.clear * (0.18 + 0.30 * (-facing_key).max(0.0)) * KEY_COLOUR;
    let fire = firelight(p, normal);
    let scattered = material.colour * (lit * facing_key.max(0.0) * KEY_COLOUR + fill + ambient + through + fire);
    let cosine = (-normal.dot(direction)).clamp(0.0, 1.0);
    let grazing = (1.0 - cosine).powi(5) * material.polish;
    let mirror = material.mirror + (Vec3::ONE - material.mirror) * (0.6 * grazing);
    let towards = direction - 2.0 * direction.dot(normal) * normal;
    let sharp = surroundings(towards, material.polish);
    scattered + mirror * sharp * (0.35 + 0.65 * open) + material.glow
}

/// Warm light of the flame on what is near.
fn firelight(p: Vec3, normal: Vec3) -> Vec3 {
    const COLOUR: Vec3 = vec3(0.045, 0.019, 0.004);
    let to = BULB.with_z(TABLE + 0.14) - p;
    let squared = to.length_squared() + 0.008;
    COLOUR * ((to.dot(normal) / squared.sqrt()).max(0.0) + 0.1) / squared
}

/// What a mirror sees in a direction: a room, and a window of four panes; blurred unless `polish` is 1.
fn surroundings(d: Vec3, polish: f32) -> Vec3 {
    let room = GROUND.lerp(SKY, smooth_step(-0.6, 0.9, d.z)) + 0.25 * FILL_COLOUR * d.dot(FILL).max(0.0);
    let ahead = d.dot(KEY);
    if ahead <= 0.0 {
        return room;
    }
    // The window's own axes: across is level.
    const ACROSS: Vec3 = vec3(0.8, -0.6, 0.0);
    let up = KEY.cross(ACROSS);
    let on_wall = vec2(d.dot(ACROSS), d.dot(up)) / ahead;
    let blur = 0.025 + 0.5 * (1.0 - polish);
    let within = |x: f32, half: f32| smooth_step(half + blur, half - blur, x.abs());
    let bars =
        1.0 - polish * (1.0 - smooth_step(0.0, 0.05, on_wall.x.abs()).min(smooth_step(0.0, 0.05, on_wall.y.abs())));
    let window = within(on_wall.x, 0.34) * within(on_wall.y, 0.42) * bars;
    // A blurred window is as bright in all, and so dimmer everywhere.
    room + window * (2.0 + 7.0 * polish * polish) * vec3(1.0, 0.97, 0.90)
}

fn material(thing: Thing, p: Vec3, normal: Vec3, direction: Vec3) -> Material {
    match thing {
        Thing::Table => table(p),
        Thing::Retort => flask(p, normal, direction, &Filling { bulb: BULB, radius: BULB_RADIUS, level: LIQUID }),
        Thing::Receiver => flask(p, normal, direction, &DISTILLATE),
        Thing::Tripod | Thing::Burner => BRASS,
        Thing::Flame => {
            let height = smooth_step(TABLE + 0.09, TABLE + 0.21, p.z);
            let glow = vec3(2.6, 1.7, 0.55).lerp(vec3(2.2, 0.50, 0.05), height);
            Material { glow, ..matt(Vec3::ZERO) }
        }
        Thing::Stack => stack(p),
        Thing::Column => column(p),
        Thing::Ball => ball(p),
        Thing::Pedestal => pedestal(p),
        Thing::Book => book(p),
        Thing::Crystal => Material { clear: 0.5, ..glazed(hex(0x2F_B59A)) },
    }
}

/// What a flask holds.
struct Filling {
    bulb: Vec3,
    radius: f32,
    level: f32,
}

const DISTILLATE: Filling =
    Filling { bulb: vec3(RECEIVER.x, RECEIVER.y, RECEIVER_BULB), radius: RECEIVER_RADIUS, level: RECEIVED };

/// Glass that looks deeper where it is seen edge-on, with a ruby liquid below; from above one sees the liquid's surface
/// through the glass, as far as the light goes straight.
fn flask(p: Vec3, normal: Vec3, direction: Vec3, filling: &Filling) -> Material {
    const GLASS: Vec3 = hex(0x93_CCD0);
    const EDGE: Vec3 = hex(0x2E_7F8C);
    const RUBY: Vec3 = hex(0xC4_1040);
    const DEEP: Vec3 = hex(0x6E_0628);
    let &Filling { bulb, radius, level } = filling;
    let edge = 1.0 + normal.dot(direction);
    let mut colour = GLASS.lerp(EDGE, smooth_step(0.25, 1.0, edge));
    // Where the line of sight comes down to the liquid, and whether that is still inside the bulb.
    let surface = p + direction * ((level - p.z) / direction.z.min(-1e-4));
    let reach = (radius * radius - (level - bulb.z).powi(2)).max(0.0).sqrt();
    let off = vec2(surface.x - bulb.x, surface.y - bulb.y).length();
    let inside = smooth_step(reach, reach - 0.02, off) * smooth_step(1.5 * radius, 1.1 * radius, p.distance(bulb));
    colour = colour.lerp(hex(0xCF_3F63), 0.65 * inside * (1.0 - edge));
    let depth = smooth_step(level, bulb.z - radius, p.z);
    let filled = smooth_step(level + 0.004, level - 0.004, p.z);
    colour = colour.lerp(RUBY.lerp(DEEP, (0.55 * depth + 0.6 * edge * edge).min(1.0)), filled);
    let meniscus = (1.0 - (p.z - level).abs() / 0.008).max(0.0);
    glass(colour.lerp(hex(0xF4_A6B4), 0.6 * meniscus))
}

/// A chequered top, inlaid in a rim of wood with rings of growth.
fn table(p: Vec3) -> Material {
    const SQUARE: f32 = 0.155;
    let radius = vec2(p.x, p.y).length();
    let grain = {
        let q = vec3(p.x + 0.35, p.y * 1.02 + 0.1, 0.35 * p.z);
        let wobble = 0.012 * (9.0 * p.x).sin() + 0.010 * (7.0 * p.y + 2.0).sin();
        0.5 + 0.5 * (TAU * 16.0 * (vec2(q.x, q.y).length() + wobble)).sin()
    };
    if p.z < TABLE - 2e-3 || radius > 0.655 {
        let inlay = p.z > TABLE - 2e-3 && radius < 0.672;
        return if inlay { BRASS } else { matt(hex(0x6E_3F20).lerp(hex(0x8C_5730), grain)) };
    }
    let square = vec2(p.x, p.y) / SQUARE;
    let even = (square.x.floor() + square.y.floor()).rem_euclid(2.0) < 0.5;
    let wood =
        if even { hex(0xDD_CBA6).lerp(hex(0xE9_DBBC), grain) } else { hex(0x2B_4448).lerp(hex(0x34_5257), grain) };
    Material { polish: 0.5, mirror: Vec3::splat(0.03), ..matt(wood) }
}

fn stack(p: Vec3) -> Material {
    const COLOURS: [Vec3; 6] =
        [hex(0x27_3E7A), hex(0x1F_8A8C), hex(0xE3_A92F), hex(0xD9_5233), hex(0xEF_E2C8), hex(0x7B_2F6B)];
    let index = ((p.z - STACK.z) / DISC).clamp(0.0, 5.5) as usize;
    glazed(COLOURS[index])
}

/// Faces in turn ivory and terracotta, so that the twist shows.
fn column(p: Vec3) -> Material {
    let q = p - COLUMN;
    let turned = shapes::in_column(q);
    let plain = !(0.05..0.67).contains(&q.z);
    let ivory = hex(0xE8_DCC0);
    if plain {
        return matt(hex(0xD8_C7A3));
    }
    let face = if turned.x.abs() > turned.y.abs() { ivory } else { hex(0xB6_5334) };
    // A dark line along the middle of each face.
    let across = if turned.x.abs() > turned.y.abs() { turned.y } else { turned.x };
    let line = smooth_step(0.010, 0.006, across.abs());
    matt(face.lerp(hex(0x3A_2C28), 0.8 * line))
}

/// Cobalt with a gold band.
fn ball(p: Vec3) -> Material {
    let height = (p - BALL).dot(vec3(0.48, 0.36, 0.8));
    let band = smooth_step(0.020, 0.016, (height - 0.02).abs());
    let blue = Material { mirror: Vec3::splat(0.09), ..glazed(hex(0x16_3C9E)) };
    if band > 0.5 { Material { polish: 0.8, ..BRASS } } else { blue }
}

/// Fine upright stripes between two mouldings.
fn pedestal(p: Vec3) -> Material {
    let q = p - RECEIVER;
    if !(0.038..0.168).contains(&q.z) {
        return matt(hex(0xE8_DCC0));
    }
    let turn = q.y.atan2(q.x) / TAU;
    let stripe = (turn * 36.0).rem_euclid(1.0) < 0.5;
    matt(if stripe { hex(0x23_4A6B) } else { hex(0xEA_E2D0) })
}

/// A cloth cover with a gold frame, and the edges of the pages.
fn book(p: Vec3) -> Material {
    let q = shapes::in_book(p);
    let half = shapes::BOOK_HALF;
    if q.z.abs() < half.z - 0.0125 && q.x > -half.x + 0.012 {
        let leaf = (q.z * 140.0).rem_euclid(1.0) < 0.32;
        return matt(if leaf { hex(0xA8_9468) } else { hex(0xF0_E6CC) });
    }
    let rim: Vec2 = vec2(half.x - q.x.abs(), half.y - q.y.abs());
    let frame = (0.018..0.026).contains(&rim.min_element()) && q.z.abs() > half.z - 4e-3;
    if frame { BRASS } else { matt(hex(0x7A_1E2C)) }
}
