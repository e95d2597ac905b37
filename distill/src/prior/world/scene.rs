//! A description made into solids in their places, and what a ray sees of them: baked light, so that a colour is the same
//! from everywhere and a field without reflections can show it.

use glam::{Affine3A, Mat3A, Vec3, Vec3A, vec3};

use super::solids::Solid;
use super::things::{Model, Paint, model};
use super::words::{COLOURS, Grain, PATTERNS, SIZES, THINGS};
use super::{Description, Relation, Thing};
use crate::prior::world::words::colour_called;
use retort_fields::rng::Rng;

/// Half the diagonal of the box of a thing alone, and of each of two.
const ALONE: f32 = 0.8;
const OF_TWO: f32 = 0.56;
/// Everything lies within this radius.
const REACH: f32 = 1.0;
/// Between things side by side.
const GAP: f32 = 0.06;
/// Where the light comes from.
const LIGHT: Vec3 = vec3(-0.45, -0.55, 0.70);

/// A solid in its place.
struct Placed {
    solid: Solid,
    part_from_world: Affine3A,
    /// Normals of the part to world.
    normals: Mat3A,
    centre: Vec3,
    radius: f32,
    coat: usize,
}

/// A colour, perhaps a pattern, in the frame of a thing.
struct Coat {
    colour: usize,
    pattern: Option<(usize, usize)>,
    /// To the thing's frame, in which it fills about `[-1, 1]³`.
    thing_from_world: Affine3A,
    tint: Vec3,
}

/// Everything that a description asks for.
pub struct Scene {
    solids: Vec<Placed>,
    coats: Vec<Coat>,
}

/// What a ray sees.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Distance along the ray in scene units.
    pub t: f32,
    /// sRGB-encoded.
    pub rgb: Vec3,
}

/// A thing brought to its size: its parts, and the box that holds it.
struct Sized {
    model: Model,
    /// From the model's frame to one in which the box is around the origin.
    sized_from_model: Affine3A,
    half: Vec3,
    seat: Vec3,
}

fn size(thing: &Thing, diagonal: f32, vary: &mut dyn FnMut() -> f32) -> Sized {
    // The names are those of the tables, which a test walks; a word that nobody built would be an empty thing.
    let model = model(THINGS[thing.thing].name).unwrap_or(Model { parts: Vec::new(), natural: "grey", seat: None });
    let (mut low, mut high) = (Vec3::splat(f32::MAX), Vec3::splat(f32::MIN));
    for part in &model.parts {
        let middle: Vec3 = part.object_from_part.translation.into();
        let reach = Vec3::AXES.map(|axis| part.solid.reach(axis, &part.object_from_part));
        let back = Vec3::AXES.map(|axis| part.solid.reach(-axis, &part.object_from_part));
        high = high.max(middle + Vec3::from(reach));
        low = low.min(middle - Vec3::from(back));
    }
    let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
    let (mut stretch, mut whole) = (Vec3::ONE, 1.0);
    match thing.size.map(|s| SIZES[s].name) {
        Some("small") => whole = 0.62,
        Some("big") => whole = 1.35,
        Some("tall") => stretch = vec3(0.82, 0.82, 1.5),
        Some("flat") => stretch = vec3(1.15, 1.15, 0.5),
        _ => {}
    }
    let vary = vec3(1.0 + 0.05 * vary(), 1.0 + 0.05 * vary(), 1.0 + 0.05 * vary());
    let scale = stretch * vary * (whole * diagonal / half.length());
    let sized_from_model = Affine3A::from_scale(scale) * Affine3A::from_translation(-centre);
    let top = vec3(0.0, 0.0, half.z * scale.z);
    let seat = model.seat.map_or(top, |s| sized_from_model.transform_point3(s));
    Sized { model, sized_from_model, half: half * scale, seat }
}

/// The scene of `description`. With `chance`, proportions, tints and places vary a little, as they did in training;
/// without, it is the one that is meant.
pub fn build(description: &Description, chance: Option<&mut Rng>) -> Scene {
    let mut chance = chance;
    let mut vary = move || chance.as_mut().map_or(0.0, |rng| rng.range(-1.0, 1.0));
    let diagonal = if description.second.is_some() { OF_TWO } else { ALONE };
    let first = size(&description.first, diagonal, &mut vary);
    let mut things = vec![(first, Vec3::ZERO, &description.first)];
    if let Some((relation, second)) = &description.second {
        let other = size(second, diagonal, &mut vary);
        let offset = place(*relation, &things[0].0, &other);
        let shift = 0.03 * vec3(vary(), vary(), 0.0);
        things[0].1 = offset + shift;
        things.push((other, Vec3::ZERO, second));
    }
    // The middle of everything comes to the origin; what is too large is made smaller.
    let low = things.iter().map(|(s, at, _)| *at - s.half).fold(Vec3::splat(f32::MAX), Vec3::min);
    let high = things.iter().map(|(s, at, _)| *at + s.half).fold(Vec3::splat(f32::MIN), Vec3::max);
    let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
    let shrink = (REACH / half.length()).min(1.0);
    let mut scene = Scene { solids: Vec::new(), coats: Vec::new() };
    for (sized, at, thing) in things {
        let world_from_sized = Affine3A::from_scale(Vec3::splat(shrink)) * Affine3A::from_translation(at - centre);
        scene.add(&sized, world_from_sized, thing, &mut vary);
    }
    scene
}

/// Where the first thing's middle is if the second's is the origin.
fn place(relation: Relation, first: &Sized, second: &Sized) -> Vec3 {
    // Side by side both stand on one ground.
    let ground = first.half.z - second.half.z;
    match relation {
        Relation::On => second.seat + vec3(0.0, 0.0, first.half.z),
        Relation::RightOf => vec3(first.half.x + second.half.x + GAP, 0.0, ground),
        Relation::InFrontOf => vec3(0.0, -(first.half.y + second.half.y + GAP), ground),
    }
}

impl Scene {
    fn add(&mut self, sized: &Sized, world_from_sized: Affine3A, thing: &Thing, vary: &mut dyn FnMut() -> f32) {
        let thing_from_world =
            (world_from_sized * Affine3A::from_scale(Vec3::splat(sized.half.max_element()))).inverse();
        let tint = 0.03 * vec3(vary(), vary(), vary());
        let natural = colour_called(sized.model.natural).unwrap_or_default();
        let first_coat = self.coats.len();
        self.coats.push(Coat {
            colour: thing.colour.unwrap_or(natural),
            pattern: thing.pattern,
            thing_from_world,
            tint,
        });
        for part in &sized.model.parts {
            let coat = match part.paint {
                Paint::Main => first_coat,
                Paint::Of(name) => {
                    let colour = colour_called(name).unwrap_or_default();
                    self.coats.push(Coat { colour, pattern: None, thing_from_world, tint: Vec3::ZERO });
                    self.coats.len() - 1
                }
            };
            let world_from_part = world_from_sized * sized.sized_from_model * part.object_from_part;
            let part_from_world = world_from_part.inverse();
            let spread = world_from_part.matrix3;
            // Every solid lies in the cube [-1, 1]³ of its frame; rounds and balls within less.
            let corner = if matches!(part.solid, Solid::Ball | Solid::Ring { .. }) { 1.0 } else { 3.0_f32.sqrt() };
            let radius = corner * spread.x_axis.length().max(spread.y_axis.length()).max(spread.z_axis.length());
            self.solids.push(Placed {
                solid: part.solid,
                part_from_world,
                normals: part_from_world.matrix3.transpose(),
                centre: world_from_part.translation.into(),
                radius,
                coat,
            });
        }
    }

    /// What the ray from `origin` along the unit vector `direction` sees.
    pub fn see(&self, origin: Vec3, direction: Vec3) -> Option<Seen> {
        let mut nearest: Option<(f32, Vec3, usize)> = None;
        for solid in &self.solids {
            let to = solid.centre - origin;
            let along = to.dot(direction);
            if to.length_squared() - along * along > solid.radius * solid.radius {
                continue;
            }
            let o = solid.part_from_world.transform_point3(origin);
            let d = solid.part_from_world.transform_vector3(direction);
            if let Some(hit) = solid.solid.hit(o, d)
                && nearest.is_none_or(|(t, ..)| hit.t < t)
            {
                let normal: Vec3 = (solid.normals * Vec3A::from(hit.normal)).normalize_or_zero().into();
                nearest = Some((hit.t, normal, solid.coat));
            }
        }
        let (t, normal, coat) = nearest?;
        let rgb = self.coats[coat].colour_at(origin + t * direction, normal);
        Some(Seen { t, rgb })
    }
}

impl Coat {
    fn colour_at(&self, world: Vec3, normal: Vec3) -> Vec3 {
        let p = self.thing_from_world.transform_point3(world);
        let index = match self.pattern {
            Some((pattern, second)) if is_second(PATTERNS[pattern].name, p) => second,
            _ => self.colour,
        };
        let colour = &COLOURS[index];
        let mut rgb = Vec3::from(colour.rgb) + self.tint;
        let light = normal.dot(LIGHT.normalize()).max(0.0);
        let sky = 0.5 + 0.5 * normal.z;
        let mut shade = 0.52 + 0.14 * sky + 0.36 * light;
        match colour.grain {
            Grain::Even => {}
            Grain::Wood => rgb *= 0.9 + 0.1 * (14.0 * (p.z + 0.15 * (5.0 * p.x).sin() + 0.1 * (4.0 * p.y).sin())).sin(),
            Grain::Stone => {
                let mottled = (9.0 * p.x + 2.0).sin() * (8.0 * p.y + 1.0).sin() * (10.0 * p.z).sin();
                rgb *= 0.94 + 0.14 * mottled;
            }
            Grain::Metal => shade = 0.35 + 0.1 * sky + 0.45 * light + 0.35 * light.powi(6),
        }
        (rgb * shade).clamp(Vec3::ZERO, Vec3::ONE)
    }
}

/// Whether the pattern has its second colour at a point of the thing's frame.
fn is_second(pattern: &str, p: Vec3) -> bool {
    match pattern {
        "striped" => (2.6 * (p.z + 0.35 * p.x) + 0.5).floor().rem_euclid(2.0) == 1.0,
        "checkered" => {
            let cell = (2.0 * p + 0.5).floor();
            (cell.x + cell.y + cell.z).rem_euclid(2.0) == 1.0
        }
        "dotted" => {
            let cell = 1.7 * p + 0.5;
            (cell - cell.floor() - 0.5).length() < 0.34
        }
        _ => p.z > 0.0,
    }
}
