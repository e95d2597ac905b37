//! Checkpoints of nerfstudio (Tancik et al. 2023; `step-*.ckpt`): splatfacto's Gaussians.
//!
//! `pipeline` is a `state_dict` with `_model.gauss_params.{means, scales, quats, features_dc, features_rest, opacities}`, in old
//! versions `_model.{means, …}`: centres, ln of the standard deviations, quaternions w, x, y, z, harmonics `[n, K, 3]` and
//! logits, as [`Splats`] have them. With harmonics of degree 0, `features_dc` is the logit of the colour. nerfstudio's
//! world has +Z up.
//!
//! nerfacto is refused: it contracts space by its largest coordinate (`SceneContraction(order=inf)`), where a field of ours
//! does by its length, and scales its density and shifts its colour by numbers that are not in the file.

use glam::Quat;

use super::assembly::{ANY, Weights};
use super::torch::{Checkpoint, Value};
use crate::error::{Error, Result};
use crate::files::splats::turn::turned;
use crate::files::splats::{SH_MAX, Source, Splats, rest_per_splat};
use crate::parts::sh;

/// Whether a checkpoint is one of nerfstudio's.
pub(super) fn recognises(root: Value<'_>) -> bool {
    root.get("pipeline").is_some_and(|state| state.entries().any(|(name, _)| name.starts_with("_model.")))
}

/// The Gaussians, in the axes of the published files, and what a person should know of them.
///
/// # Errors
/// When the file is damaged, or of another method than splatfacto.
pub(super) fn read(file: &Checkpoint, source: &mut Source<'_>) -> Result<(Splats, Vec<String>)> {
    let state =
        file.root().get("pipeline").ok_or_else(|| Error::new("a checkpoint of nerfstudio without a pipeline"))?;
    let model =
        |name: &str| name.strip_prefix("_model.").map(|n| n.strip_prefix("gauss_params.").unwrap_or(n).to_string());
    let tensors = state.entries().filter_map(|(name, value)| Some((model(name)?, value.tensor()?))).collect();
    let mut weights = Weights { file, source, tensors };
    if !weights.has("means") {
        return Err(refused(&weights));
    }
    let mut splats = gaussians(&mut weights)?;
    let mut notes = vec!["Gaussians of nerfstudio's splatfacto".to_string()];
    notes.push("whether it was trained with rasterize_mode antialiased is not in the file: taken for classic".into());
    if weights.has("bil_grids.grids") {
        notes.push("its bilateral grids, which correct photos one by one, were left out".into());
    }
    turn(&mut splats);
    Ok((splats.settled()?, notes))
}

fn refused(weights: &Weights<'_, '_, '_>) -> Error {
    let is = |start: &str| weights.tensors.keys().any(|name| name.starts_with(start));
    if is("field.mlp_base") || is("field.embedding_appearance") {
        let what = "a nerfacto model: it contracts space in another way than fields here, and scales its density by a number \
                    that is not in the file";
        return Error::new(what).remedy("render its views with ns-render and train from those, or train splatfacto");
    }
    Error::new("a model of nerfstudio that is not splatfacto")
        .remedy("train splatfacto, or render its views and train from those")
}

fn gaussians(weights: &mut Weights<'_, '_, '_>) -> Result<Splats> {
    let rows = |values: Vec<f32>| values.as_chunks::<3>().0.to_vec();
    let means = rows(weights.take("means", &[ANY, 3])?);
    let n = means.len();
    // Before 2024 all coefficients were one tensor.
    let (dc, rest) = if weights.has("colors_all") {
        split(&weights.take("colors_all", &[n, ANY, 3])?, n)
    } else {
        (rows(weights.take("features_dc", &[n, 3])?), weights.take("features_rest", &[n, ANY, 3])?)
    };
    let degree = (0..=4).find(|degree| rest_per_splat(*degree) * n == rest.len()).ok_or_else(|| {
        Error::new(format!("its harmonics are {} values for {n} Gaussians", rest.len())).remedy("the file is damaged")
    })?;
    let log_scales = rows(weights.take("scales", &[n, 3])?);
    let rotations = weights.take("quats", &[n, 4])?.as_chunks::<4>().0.to_vec();
    let raw_opacity = weights.take("opacities", &[n, 1])?;
    let splats = Splats {
        means,
        log_scales,
        rotations,
        raw_opacity,
        sh_dc: if degree == 0 { dc.into_iter().map(|rgb| rgb.map(constant_of_logit)).collect() } else { dc },
        sh_rest: rest,
        sh_degree: degree,
        ..Splats::default()
    };
    Ok(splats.with_degree(degree.min(SH_MAX)))
}

/// `[n, K, 3]` as the first coefficient and the others.
fn split(all: &[f32], n: usize) -> (Vec<[f32; 3]>, Vec<f32>) {
    let width = (all.len() / n.max(1)).max(3);
    let first = all.chunks_exact(width).map(|row| [row[0], row[1], row[2]]).collect();
    (first, all.chunks_exact(width).flat_map(|row| row[3..].iter().copied()).collect())
}

/// The coefficient of a colour that is stored as its logit.
fn constant_of_logit(logit: f32) -> f32 {
    (1.0 / (1.0 + (-logit).exp()) - 0.5) / sh::C0
}

/// From +Z up to the axes of the published files, −Y up: `(x, −z, y)`, harmonics with it.
fn turn(splats: &mut Splats) {
    // A quarter turn rounds no centre.
    let means = splats.means.iter().map(|m| [m[0], -m[2], m[1]]).collect();
    turned(splats, Quat::from_xyzw(std::f32::consts::FRAC_1_SQRT_2, 0.0, 0.0, std::f32::consts::FRAC_1_SQRT_2));
    splats.means = means;
}

#[cfg(test)]
mod tests {
    use glam::{Mat3, Vec3};

    use super::super::evaluated::{Toy, sigmoid, spoiled};
    use super::super::torch::written::{Py, checkpoint, dict};
    use super::super::{Held, pytorch};
    use super::*;
    use crate::parts::sh::eval_basis;
    use crate::rng::Rng;

    const N: usize = 9;

    fn toy(prefix: &str, degree: usize) -> Toy {
        let mut rng = Rng::new(degree as u64, "splatfacto");
        let mut toy = Toy::default();
        let rest = (degree + 1).pow(2) - 1;
        let parts: [(&str, &[usize]); 6] = [
            ("means", &[N, 3]),
            ("scales", &[N, 3]),
            ("quats", &[N, 4]),
            ("features_dc", &[N, 3]),
            ("features_rest", &[N, rest, 3]),
            ("opacities", &[N, 1]),
        ];
        parts.iter().for_each(|(name, shape)| toy.add(&mut rng, &format!("{prefix}{name}"), shape, 1.0));
        toy
    }

    fn read_toy(toy: &Toy) -> Result<(Splats, Vec<String>)> {
        let file = checkpoint(&dict([("step", Py::Int(5)), ("pipeline", toy.state())]));
        match pytorch::read(&mut Source::memory(&file))? {
            (Held::Gaussians(splats), notes) => Ok((splats, notes)),
            (Held::Field(_), _) => panic!("a field"),
        }
    }

    /// From the published axes to nerfstudio's.
    fn upright(v: Vec3) -> Vec3 {
        Vec3::new(v.x, v.z, -v.y)
    }

    fn axes(q: [f32; 4]) -> Mat3 {
        Mat3::from_quat(Quat::from_xyzw(q[1], q[2], q[3], q[0]).normalize())
    }

    #[test]
    fn gaussians_are_those_that_the_trainer_has() {
        for (prefix, degree) in [("_model.gauss_params.", 3), ("_model.", 2), ("_model.gauss_params.", 0)] {
            let toy = toy(prefix, degree);
            let get = |name: &str| toy.get(&format!("{prefix}{name}"));
            let (splats, notes) = read_toy(&toy).unwrap();
            assert_eq!((splats.len(), splats.sh_degree as usize), (N, degree));
            assert!(notes.iter().any(|note| note.contains("antialiased")));
            let mut control = 0.0_f32;
            for i in 0..N {
                let mean = Vec3::from_slice(&get("means")[3 * i..]);
                assert!((upright(splats.means[i].into()) - mean).length() < 1e-6);
                assert_eq!(splats.log_scales[i], get("scales")[3 * i..][..3]);
                assert_eq!(splats.raw_opacity[i], get("opacities")[i]);
                let own = get("quats")[4 * i..].first_chunk().copied().unwrap();
                for axis in [Vec3::X, Vec3::Y, Vec3::Z] {
                    let turned = upright(axes(splats.rotations[i]) * axis);
                    assert!((turned - axes(own) * axis).length() < 1e-5);
                }
                let d = Vec3::new(0.3, -0.5 + 0.1 * i as f32, 0.7).normalize();
                let (basis, turned) = (eval_basis(3, d), eval_basis(3, Vec3::new(d.x, -d.z, d.y)));
                for c in 0..3 {
                    let dc = get("features_dc")[3 * i + c];
                    let rest = splats.rest(i).as_chunks::<3>().0;
                    let sum = |basis: &[f32]| rest.iter().zip(&basis[1..]).map(|(rgb, b)| rgb[c] * b).sum::<f32>();
                    let ours = 0.5 + sh::C0 * splats.sh_dc[i][c] + sum(&turned);
                    let width = 3 * rest.len();
                    let features = get("features_rest")[width * i..][..width].as_chunks::<3>().0;
                    let own = features.iter().zip(&basis[1..]).map(|(rgb, b)| rgb[c] * b).sum::<f32>();
                    let theirs = if degree == 0 { sigmoid(dc) } else { 0.5 + sh::C0 * dc + own };
                    assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
                    control = control.max((sum(&basis) - own).abs());
                }
            }
            assert!(degree == 0 || control > 0.1, "harmonics that were not turned look the same");
        }
    }

    #[test]
    fn the_oldest_files_have_all_coefficients_in_one() {
        let (mut old, new) = (toy("_model.", 1), toy("_model.", 1));
        old.tensors.retain(|(name, ..)| !name.contains("features"));
        let (dc, rest) = (new.get("_model.features_dc"), new.get("_model.features_rest"));
        let all = (0..N).flat_map(|i| [&dc[3 * i..][..3], &rest[9 * i..][..9]].concat()).collect();
        old.tensors.push(("_model.colors_all".into(), vec![N, 4, 3], all));
        assert_eq!(read_toy(&old).unwrap().0, read_toy(&new).unwrap().0);
    }

    #[test]
    fn other_methods_are_refused_by_name() {
        let mut rng = Rng::new(1, "nerfacto");
        let mut nerfacto = Toy::default();
        nerfacto.add(&mut rng, "_model.field.mlp_base.0.hash_table", &[8, 2], 1.0);
        assert!(read_toy(&nerfacto).is_err_and(|e| e.what.contains("nerfacto") && e.remedy.contains("ns-render")));
        let mut other = Toy::default();
        other.add(&mut rng, "_model.mlp.weight", &[8, 2], 1.0);
        assert!(read_toy(&other).is_err_and(|e| e.what.contains("not splatfacto")));
        let mut short = toy("_model.", 1);
        short.tensors.retain(|(name, ..)| !name.contains("opacities"));
        assert!(read_toy(&short).is_err_and(|e| e.what.contains("opacities")));
        let mut odd = toy("_model.", 1);
        odd.tensors[4].1 = vec![N, 1, 9];
        assert!(read_toy(&odd).is_err_and(|e| e.what.contains("features_rest")));
        let mut seven = toy("_model.", 1);
        seven.tensors[4] = ("_model.features_rest".into(), vec![N, 7, 3], vec![0.0; N * 21]);
        assert!(read_toy(&seven).is_err_and(|e| e.what.contains("harmonics")));
    }

    #[test]
    fn spoiled_files_never_panic() {
        let root = dict([("pipeline", toy("_model.gauss_params.", 2).state())]);
        let refused = spoiled(&checkpoint(&root), 300);
        assert!((50..300).contains(&refused), "{refused}");
    }
}
