//! Gaussians of a file as a field, and a field's as a file's.
//!
//! The published files have no scale and no upright: a trainer writes what its photos' poses gave it. Common to them is that
//! −Y is up. Here a scene has +Z up and its content within `[-1, 1]³`, so a file's axes are turned
//! (`x_scene = scale · (x, z, −y) + shift`, harmonics with them) and [`Scene::scene_from_dataset`] remembers how; written
//! again without an edit, the numbers are the file's own but for rounding. A field that was trained here is written in the
//! units of its photos, upright as files have it.

use burn::tensor::Device;
use glam::{Quat, Vec3};
use rayon::prelude::*;
use retort_shaders::Aabb;

use super::splats::turn::turned;
use super::splats::{SH_MAX, Splats, rest_per_splat};
use crate::data::Similarity;
use crate::error::Result;
use crate::field::{Field, Scene, tensor, values};
use crate::kinds::gaussians::density::DensityConfig;
use crate::kinds::gaussians::{Gaussians, GaussiansConfig};
use crate::registry::AnyField;

/// The share of Gaussians that counts as the content: captures have a few far away, which would make all else tiny.
const CORE: f32 = 0.98;
/// The box of a scene reaches at most this many times as far as its content.
const FARTHEST: f32 = 4.0;
/// How far cameras stand around content of half-size 1 where none is known; density control measures its steps by it.
const EXTENT: f32 = 2.9;

/// From a file's axes (+Y down, +Z forward) to a scene's (+Z up).
fn upright() -> Quat {
    // Half of it by hand: `from_rotation_x(π/2)` would leave 4e-8 where 0 belongs, and files would not come back whole.
    Quat::from_xyzw(-std::f32::consts::FRAC_1_SQRT_2, 0.0, 0.0, std::f32::consts::FRAC_1_SQRT_2)
}

/// The configuration of Gaussians that came from a file.
pub fn config(count: usize, sh_degree: u32, antialias: bool) -> GaussiansConfig {
    GaussiansConfig {
        sh_degree: sh_degree.clamp(1, SH_MAX),
        initial: count.clamp(1, 20_000_000),
        antialias,
        density: DensityConfig::default(),
    }
}

/// The field, and what a person should know of it.
///
/// # Errors
/// When there is no room for so many.
pub fn to_field(splats: &Splats, device: &Device) -> Result<(AnyField, Vec<String>)> {
    let (scene, note) = scene_of(splats);
    let config = config(splats.len(), splats.sh_degree, splats.antialias);
    let placed = placed(splats, &scene.scene_from_dataset).with_degree(config.sh_degree);
    let n = placed.len();
    let flat = |rows: &[[f32; 3]]| rows.iter().flatten().copied().collect::<Vec<f32>>();
    let tensors = vec![
        tensor(flat(&placed.means), [n, 3], device),
        tensor(flat(&placed.log_scales), [n, 3], device),
        tensor(placed.rotations.iter().flatten().copied().collect(), [n, 4], device),
        tensor(placed.raw_opacity, [n, 1], device),
        tensor(flat(&placed.sh_dc), [n, 3], device),
        tensor(placed.sh_rest, [n, rest_per_splat(config.sh_degree)], device),
    ];
    let field = Gaussians::build(&config, &scene, tensors)?;
    let notes = splats.notes.iter().cloned().chain(note).collect();
    Ok((AnyField::Gaussians(field), notes))
}

/// The Gaussians of a field as files have them: in the units of its photos, −Y up.
pub fn from_field(field: &Gaussians) -> Splats {
    let parts: Vec<Vec<f32>> = field.params().into_iter().map(|p| values(p.tensor.clone())).collect();
    let rows = |part: usize| parts[part].as_chunks::<3>().0.to_vec();
    let own = Splats {
        means: rows(0),
        log_scales: rows(1),
        rotations: parts[2].as_chunks::<4>().0.to_vec(),
        raw_opacity: parts[3].clone(),
        sh_dc: rows(4),
        sh_rest: parts[5].clone(),
        sh_degree: field.config.sh_degree,
        antialias: field.config.antialias,
        notes: Vec::new(),
    };
    let from_scene = field.scene().scene_from_dataset;
    // `x_scene = s · (R x) + t`, and upright it is `R x` that a viewer wants: `x_file = U⁻¹ (x_scene − t) / s`.
    let back = upright().inverse();
    let file_from_scene = Similarity {
        scale: 1.0 / from_scene.scale,
        rotation: back,
        translation: back * (-from_scene.translation / from_scene.scale),
    };
    let placed = placed(&own, &file_from_scene);
    let degree = placed.needed_degree();
    placed.with_degree(degree)
}

/// The Gaussians after a similarity, harmonics turned with them.
fn placed(splats: &Splats, place: &Similarity) -> Splats {
    let mut placed = splats.clone();
    turned(&mut placed, place.rotation);
    let shift = place.scale.ln();
    let put = |m: &mut [f32; 3]| *m = (place.scale * Vec3::from(*m) + place.translation).into();
    placed.means.par_iter_mut().for_each(put);
    placed.log_scales.par_iter_mut().for_each(|row| *row = row.map(|v| v + shift));
    placed
}

/// The scene around a file's Gaussians: its content within `[-1, 1]³`, the box around all of it.
fn scene_of(splats: &Splats) -> (Scene, Option<String>) {
    let rotation = upright();
    let spans: Vec<[f32; 2]> = (0..3).map(|axis| core(splats, axis)).collect();
    let centre = Vec3::from_array([0, 1, 2].map(|a| 0.5 * (spans[a][0] + spans[a][1])));
    let half = spans.iter().map(|[low, high]| 0.5 * (high - low)).fold(0.0, f32::max);
    // One Gaussian alone, or several at one place: their own size is all there is.
    let own = splats.log_scales.iter().flatten().copied().fold(f32::MIN, f32::max).clamp(-20.0, 20.0).exp();
    let half = if half > 1e-12 { half } else { 3.0 * own };
    let scale = 1.0 / half;
    let frame = Similarity { scale, rotation, translation: -(scale * (rotation * centre)) };
    let reach = splats.means.par_iter().map(|m| frame.point(Vec3::from(*m)).abs()).reduce(|| Vec3::ZERO, Vec3::max);
    let side = reach.max_element().clamp(1.0, FARTHEST);
    let beyond = splats.means.par_iter().filter(|m| frame.point(Vec3::from(**m)).abs().max_element() > side).count();
    let note = (beyond > 0).then(|| {
        format!("{beyond} of its Gaussians lie far outside of the scene's box: they are drawn, and other kinds are not taught them")
    });
    let scene = Scene {
        bounds: Aabb::cube(side),
        scene_from_dataset: frame,
        extent: EXTENT,
        near_far: [0.02, 100.0],
        ..Scene::default()
    };
    (scene, note)
}

/// The span along an axis that holds [`CORE`] of the centres.
fn core(splats: &Splats, axis: usize) -> [f32; 2] {
    let mut along: Vec<f32> = splats.means.iter().map(|m| m[axis]).collect();
    let last = along.len() - 1;
    let rank = ((0.5 - 0.5 * CORE) * last as f32) as usize;
    let low = *along.select_nth_unstable_by(rank, f32::total_cmp).1;
    let high = *along.select_nth_unstable_by(last - rank, f32::total_cmp).1;
    // Slack, so that a scan of an object is inside as a whole.
    let slack = 0.05 * (high - low);
    [low - slack, high + slack]
}

#[cfg(test)]
mod tests {
    use super::super::splats::sample;
    use super::*;
    use crate::field::RenderOptions;
    use retort_shaders::Camera;

    fn device() -> Device {
        Device::flex()
    }

    #[test]
    fn a_file_comes_back_from_a_field_as_it_was() {
        for degree in 0..=3 {
            let splats = sample(40, degree);
            let (field, notes) = to_field(&splats, &device()).expect("sound");
            assert!(notes.is_empty(), "{notes:?}");
            let AnyField::Gaussians(set) = &field else { panic!("Gaussians") };
            let back = from_field(set);
            assert_eq!((back.len(), back.sh_degree), (40, degree));
            let near = |a: &[f32], b: &[f32], what: &str| {
                a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 2e-5 * (1.0 + a.abs()), "{what}: {a} {b}"));
            };
            near(back.means.as_flattened(), splats.means.as_flattened(), "centres");
            near(back.log_scales.as_flattened(), splats.log_scales.as_flattened(), "scales");
            near(&back.raw_opacity, &splats.raw_opacity, "opacity");
            near(back.sh_dc.as_flattened(), splats.sh_dc.as_flattened(), "colour");
            near(&back.sh_rest, &splats.sh_rest, "harmonics");
            // A quaternion and its negative are one rotation.
            for (a, b) in back.rotations.iter().zip(&splats.rotations) {
                let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!(dot.abs() > 1.0 - 1e-5, "rotation: {a:?} {b:?}");
            }
        }
    }

    /// What is up in the file (−Y) is up in the scene (+Z), and a Gaussian seen from its red side is red.
    #[test]
    fn files_stand_upright_and_keep_their_colours() {
        let mut splats = Splats::zeros(3, 1);
        splats.means = vec![[0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]];
        splats.log_scales = vec![[-2.0; 3]; 3];
        splats.raw_opacity = vec![4.0; 3];
        // The top one: brighter in red towards +X of the file; basis 3 is −x.
        splats.sh_rest[6] = -0.8;
        let (field, _) = to_field(&splats, &device()).expect("sound");
        let frame = field.scene().scene_from_dataset;
        let [top, bottom] = [0, 1].map(|i| frame.point(Vec3::from(splats.means[i])));
        assert!(top.z > 0.8 && bottom.z < -0.8, "{top} {bottom}");
        let red_from = |side: Vec3| {
            let camera = Camera::look_at(top + 3.0 * side, top, Vec3::Z, 0.5, 33, 33);
            let frame = field.render(&camera, &RenderOptions::default());
            frame.rgb_over([0.0; 3])[3 * (16 * 33 + 16)]
        };
        // Light that leaves towards +X is seen by a camera there, whose rays go along −X.
        let (right, left) = (red_from(Vec3::X), red_from(Vec3::NEG_X));
        assert!((right - left).abs() > 0.2, "{right} {left}");
        let mut turned = splats.clone();
        turned.sh_rest[6] = 0.8;
        let (other, _) = to_field(&turned, &device()).expect("sound");
        let camera = Camera::look_at(top + 3.0 * Vec3::X, top, Vec3::Z, 0.5, 33, 33);
        let mirrored = other.render(&camera, &RenderOptions::default()).rgb_over([0.0; 3])[3 * (16 * 33 + 16)];
        assert!((mirrored - left).abs() < 1e-3, "{mirrored} {left}");
    }

    #[test]
    fn a_few_far_away_do_not_make_the_rest_tiny() {
        let mut splats = sample(1000, 0);
        splats.means[3] = [900.0, 0.0, 0.0];
        let (field, notes) = to_field(&splats, &device()).expect("sound");
        let scene = field.scene();
        assert_eq!(scene.bounds.max, Vec3::splat(FARTHEST));
        assert!(notes.iter().any(|n| n.starts_with("1 of its Gaussians")), "{notes:?}");
        assert!((0.4..0.6).contains(&scene.scene_from_dataset.scale), "{}", scene.scene_from_dataset.scale);
        let alone = Splats { notes: Vec::new(), ..Splats::zeros(1, 0) };
        let (field, notes) = to_field(&alone, &device()).expect("one Gaussian is a scene");
        assert!(notes.is_empty() && (field.scene().scene_from_dataset.scale - 1.0 / 3.0).abs() < 1e-6);
    }
}
