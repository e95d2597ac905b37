//! How right a made field is, by its own pictures against those of the scene that its prompt means: no learned judge.
//!
//! A field is held against the meant scene and against rivals that differ in one thing — another shape, another colour,
//! the things exchanged, the scene turned. What it is nearest to is what it shows.

use std::f32::consts::{FRAC_PI_2, TAU};

use retort_fields::registry::AnyField;
use serde::{Deserialize, Serialize};

use super::photograph;
use crate::prior::Look;
use crate::prior::world::picture::{camera, picture};
use crate::prior::world::words::{COLOURS, THINGS};
use crate::prior::world::{Description, Relation, Thing, build};

/// Side of the pictures that are compared.
const SIDE: u32 = 32;
/// Rays along each side of a pixel.
const FINER: u32 = 2;
/// Views around, at two heights in turn.
const VIEWS: usize = 8;
const HEIGHTS: [f32; 2] = [0.15, 0.55];
/// A turned scene that differs from the meant one by less (mean squared) has no front.
const FRONT: f32 = 2e-3;

/// What was found.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, counted apart")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean PSNR of RGBA against the meant scene in dB.
    pub psnr: f32,
    /// Mean share of the silhouettes' union that both cover.
    pub iou: f32,
    /// Whether every thing is the right one.
    pub things: bool,
    /// Whether every colour is.
    pub colours: bool,
    /// Whether the things stand as they should; true for one thing.
    pub relation: bool,
    /// Whether the front is in front; true for what has none.
    pub front: bool,
    /// The share of views that look most like another side of the scene, of scenes that have a front.
    pub janus: Option<f32>,
}

impl Score {
    /// Whether everything is right.
    pub fn right(&self) -> bool {
        self.things && self.colours && self.relation && self.front
    }
}

fn look(azimuth: f32, elevation: f32) -> Look {
    Look { camera: camera(azimuth, elevation, SIDE), azimuth, elevation }
}

fn looks() -> Vec<Look> {
    (0..VIEWS).map(|i| look(TAU * (i as f32 + 0.5) / VIEWS as f32, HEIGHTS[i % 2])).collect()
}

/// Premultiplied RGBA of each view, `[views][side²·4]`.
type Pictures = Vec<Vec<f32>>;

fn colours_of(pixels: &[f32]) -> Vec<f32> {
    pixels.chunks_exact(5).flat_map(|p| [p[0], p[1], p[2], p[3]]).collect()
}

/// The scene's pictures, seen as if it were turned by `turn` (so cameras go the other way).
fn truth(description: &Description, looks: &[Look], turn: f32) -> Pictures {
    let scene = build(description, None);
    looks.iter().map(|l| colours_of(&picture(&scene, &camera(l.azimuth - turn, l.elevation, SIDE)))).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32
}

fn between(a: &Pictures, b: &Pictures) -> f32 {
    a.iter().zip(b).map(|(a, b)| distance(a, b)).sum::<f32>() / a.len() as f32
}

/// Holds `field` against what `description` means.
pub fn score(field: &AnyField, description: &Description) -> Score {
    let looks = looks();
    let own = photograph(field, &looks, SIDE, FINER).iter().map(|p| colours_of(p)).collect();
    judge(&own, description, &looks)
}

fn judge(own: &Pictures, description: &Description, looks: &[Look]) -> Score {
    let meant = truth(description, looks, 0.0);
    let nearest = between(own, &meant);
    // Rivals that look the same as what is meant are no rivals.
    let beats = |rival: &Description| {
        let rival = truth(rival, looks, 0.0);
        between(&rival, &meant) < 1e-5 || nearest <= between(own, &rival)
    };
    let turned: Vec<Pictures> = (1..4).map(|i| truth(description, looks, i as f32 * FRAC_PI_2)).collect();
    let has_front = turned.iter().all(|t| between(t, &meant) > FRONT);
    let front = !has_front || turned.iter().all(|t| nearest <= between(own, t));
    Score {
        psnr: -10.0 * nearest.max(1e-10).log10(),
        iou: overlap(own, &meant),
        things: others(description, |t| (0..THINGS.len()).map(|thing| Thing { thing, ..t }).collect())
            .iter()
            .all(&beats),
        colours: others(description, |t| {
            let colours = (0..COLOURS.len()).map(|c| Thing { colour: Some(c), ..t });
            if t.colour.is_some() { colours.collect() } else { Vec::new() }
        })
        .iter()
        .all(&beats),
        relation: arrangements(description).iter().all(beats),
        front,
        janus: has_front.then(|| confused(own, &meant, &turned)),
    }
}

/// Descriptions with one of the things exchanged for each that `change` gives.
fn others(description: &Description, change: impl Fn(Thing) -> Vec<Thing>) -> Vec<Description> {
    let mut all: Vec<_> =
        change(description.first).into_iter().map(|first| Description { first, ..*description }).collect();
    if let Some((relation, second)) = description.second {
        all.extend(change(second).into_iter().map(|t| Description { second: Some((relation, t)), ..*description }));
    }
    all.retain(|other| other != description);
    all
}

/// The other relations, and the things exchanged.
fn arrangements(description: &Description) -> Vec<Description> {
    let Some((_, second)) = description.second else { return Vec::new() };
    let mut all = Vec::new();
    for relation in Relation::ALL {
        all.push(Description { first: description.first, second: Some((relation, second)) });
        all.push(Description { first: second, second: Some((relation, description.first)) });
    }
    all.retain(|other| other != description);
    all
}

fn overlap(a: &Pictures, b: &Pictures) -> f32 {
    let one = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        let (mut both, mut either) = (0, 0);
        for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
            both += usize::from(a[3] > 0.5 && b[3] > 0.5);
            either += usize::from(a[3] > 0.5 || b[3] > 0.5);
        }
        if either == 0 { 0.0 } else { both as f32 / either as f32 }
    };
    a.iter().zip(b).map(one).sum::<f32>() / a.len() as f32
}

/// The share of views that are nearer to what another side would show.
fn confused(own: &Pictures, meant: &Pictures, turned: &[Pictures]) -> f32 {
    let wrong = (0..own.len()).filter(|&i| {
        let right = distance(&own[i], &meant[i]);
        turned.iter().any(|t| distance(&own[i], &t[i]) < right)
    });
    wrong.count() as f32 / own.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::world::prompt::understand;

    fn meant(prompt: &str) -> Description {
        understand(prompt).expect("known words").description
    }

    fn judged(shown: &str, asked: &str, turn: f32) -> Score {
        let looks = looks();
        judge(&truth(&meant(shown), &looks, turn), &meant(asked), &looks)
    }

    #[test]
    fn what_was_asked_for_is_right() {
        for prompt in
            ["a red cube", "a blue robot", "a red mushroom on a green table", "a dog in front of a white house"]
        {
            let score = judged(prompt, prompt, 0.0);
            assert!(score.right() && score.iou == 1.0 && score.psnr > 90.0, "{prompt}: {score:?}");
            assert!(score.janus.is_none_or(|j| j == 0.0));
        }
    }

    #[test]
    fn each_mistake_is_seen() {
        let score = judged("a red ball", "a red cube", 0.0);
        assert!(!score.things && score.iou < 0.95, "{score:?}");
        let score = judged("a blue cube", "a red cube", 0.0);
        assert!(score.things && !score.colours, "{score:?}");
        let score = judged("a green table on a red mushroom", "a red mushroom on a green table", 0.0);
        assert!(!score.relation, "{score:?}");
        let score = judged("a red ball to the left of a blue cube", "a red ball to the right of a blue cube", 0.0);
        assert!(!score.relation, "{score:?}");
        let score = judged("a blue robot", "a blue robot", 2.0 * FRAC_PI_2);
        assert!(!score.front && score.janus.is_some_and(|j| j > 0.4), "{score:?}");
        // What has no front cannot stand the wrong way.
        let score = judged("a red ball", "a red ball", 2.0 * FRAC_PI_2);
        assert!(score.front && score.janus.is_none());
    }
}
